//! What the language has and this version does not do yet: it is resolved, and then answered.

use super::Resolver;
use crate::codes::names::{
    ARMS_LATER, MODULE_RULE_LATER, NEW_LATER, OPEN_CHOICE_LATER, PER_LATER, PRIMITIVE_LATER, SEARCH_LATER,
};
use crate::hir::{Choose, Domain};
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

    /// Whether a decision is one that can be answered: real or structural, from a list or a range, with a
    /// default. If not, it is reported.
    pub(super) fn choice_works(&mut self, c: &Choose) -> bool {
        let name = &c.name;
        if let Domain::Arms(arms) = &c.domain {
            let names: Vec<String> = arms.iter().map(|(n, ..)| format!("\"{n}\"")).collect();
            let first = arms.first().map_or("", |(n, ..)| n.as_str());
            let help = format!(
                "what works: `choose {name} in [{}] = \"{first}\"`, then `if {name} == \"{first}\" {{ .. }} else {{ .. }}`",
                names.join(", ")
            );
            self.later(ARMS_LATER, "`choose` between arms is", c.name_span, &help);
            return false;
        }
        if let Some(per) = &c.per {
            let help = format!("what works: one setting for all, `choose {name} in .. = ..`");
            self.later(PER_LATER, "`per` is", per.span, &help);
            return false;
        }
        if c.default.is_none() {
            let help = format!("what works: give it a default, `choose {name} in .. = ..`, and set it with `--set {name}=..`");
            self.later(OPEN_CHOICE_LATER, "`choose` without a default is", c.name_span, &help);
            return false;
        }
        true
    }

    pub(super) fn later_search(&mut self, span: Span) {
        let help = "what works: `save` with settings, and `mergec run --set name=value` for each trial";
        self.later(SEARCH_LATER, "`search` is", span, help);
    }

    pub(super) fn later_new(&mut self, span: Span) {
        self.later(NEW_LATER, "`new` is", span, "what works: tensors that some file holds, by `tensors(path)`");
    }

    pub(super) fn later_module(&mut self, span: Span) {
        let help = "what works: rules about the module's tensors, such as `\"model.layers.{l}.mlp.**\" => ..`";
        self.later(MODULE_RULE_LATER, "a rule that replaces a module (`as f(x)`) is", span, help);
    }
}
