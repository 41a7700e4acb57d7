//! What the language has and this version does not do yet: it is resolved, and then answered.

use super::Resolver;
use crate::codes::names::PRIMITIVE_LATER;
use crate::primitives::Primitive;
use merge_base::{Code, Diagnostic, Span};

impl Resolver<'_> {
    fn later(&mut self, code: Code, what: &str, span: Span, help: &str) {
        let d = Diagnostic::new(code, format!("{what} not there yet"), span, "this compiler cannot do it yet");
        self.report(d.help(help));
    }

    pub(super) fn later_primitive(&mut self, p: &Primitive, span: Span) {
        let general = "what this would give, made beforehand and read with `tensors(path)`, or numbers written out";
        let instead = if p.instead.is_empty() { general } else { p.instead };
        self.later(PRIMITIVE_LATER, &format!("`{}` is", p.name), span, &format!("what works: {instead}"));
    }
}
