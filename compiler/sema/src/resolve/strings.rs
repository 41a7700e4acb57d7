//! Strings: text with holes, and patterns.

use super::Resolver;
use crate::codes::names::{BAD_HOLE, WILDCARD_IN_NAME};
use crate::hir::{Expr, ExprKind, Str, StrPart};
use crate::pattern::{Piece, Place, hole_spans, is_pattern, parse, place_in};
use merge_base::Diagnostic;
use merge_grammar::ast;

impl Resolver<'_> {
    /// A string with holes: `"scale.{k}"`.
    pub(super) fn string(&mut self, s: &ast::Str) -> Str {
        let pieces = match hole_spans(&s.text) {
            Ok(pieces) => pieces,
            Err(at) => {
                let span = place_in(s, at..at + 1);
                let d = Diagnostic::new(BAD_HOLE, "this brace has no partner", span, "in this string")
                    .help("braces hold an expression: `\"layer.{l}\"`");
                self.report(d);
                return poison(s);
            }
        };
        let mut parts = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(r) => parts.push(StrPart::Text(s.text[r].to_string())),
                Piece::Hole(r) => {
                    let inner = s.text[r.clone()].trim();
                    let start = r.start + (s.text[r.clone()].len() - s.text[r.clone()].trim_start().len());
                    if inner.is_empty() {
                        let span = place_in(s, r.start - 1..r.end + 1);
                        let d = Diagnostic::new(BAD_HOLE, "there is nothing between these braces", span, "empty")
                            .help("braces hold an expression: `\"layer.{l}\"`");
                        self.report(d);
                        return poison(s);
                    }
                    let value = self.parsed(inner, place_in(s, start..start + inner.len()));
                    parts.push(StrPart::Hole(value));
                }
            }
        }
        Str { parts, span: s.span }
    }

    /// The only index of something: the name of a tensor, or a pattern that picks a sub-model.
    pub(super) fn name_index(&mut self, s: &ast::Str) -> ExprKind {
        if is_pattern(&s.text) { self.pattern_argument(s) } else { ExprKind::Str(self.string(s)) }
    }

    /// A pattern outside of a rule, in which `{l}` is an expression.
    pub(super) fn pattern_argument(&mut self, s: &ast::Str) -> ExprKind {
        match parse(s, Place::Index, &mut |text, span| self.parsed(text, span)) {
            Ok(pattern) => ExprKind::SubModel(pattern),
            Err(found) => {
                self.found.extend(found);
                ExprKind::Error
            }
        }
    }

    /// The name of a tensor that a block gives.
    pub(super) fn tensor_name(&mut self, s: &ast::Str) -> Str {
        if is_pattern(&s.text) {
            let d = Diagnostic::new(WILDCARD_IN_NAME, "a block gives tensors by their full names", s.span, "this is a pattern")
                .help("capture the part in the rule, `{part: **}`, and write it here: `\"mlp.{part}\"`");
            self.report(d);
            return poison(s);
        }
        self.string(s)
    }
}

/// A string about which something was reported.
fn poison(s: &ast::Str) -> Str {
    Str { parts: vec![StrPart::Hole(Expr { kind: ExprKind::Error, span: s.span })], span: s.span }
}
