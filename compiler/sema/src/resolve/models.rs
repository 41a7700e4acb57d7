//! `like m { .. }` and `from m { .. }`.

use super::Resolver;
use crate::codes::names::{BAD_PATTERN, REST_NOT_LAST};
use crate::hir::{ExprKind, Lhs, LocalId, ModuleLhs, Rule, RuleDim};
use crate::pattern::{Pattern, Place, parse};
use merge_base::Diagnostic;
use merge_grammar::ast;
use rustc_hash::FxHashSet;

impl Resolver<'_> {
    pub(super) fn model(&mut self, m: &ast::Model) -> ExprKind {
        let of = self.boxed(&m.of);
        self.rest_comes_last(&m.rules);
        self.scoped(|r| {
            let stmts = r.stmts(&m.stmts);
            let rules = m.rules.iter().map(|rule| r.scoped(|r| r.rule(rule))).collect();
            ExprKind::Model { kind: m.kind, of, stmts, rules }
        })
    }

    /// A plain `_` takes all the rest of the tensors, so nothing but rules about modules may follow it.
    fn rest_comes_last(&mut self, rules: &[ast::Rule]) {
        let first = rules.iter().position(|r| matches!(r.lhs, ast::Lhs::Rest { shape: None, .. }));
        if let Some(at) = first
            && let Some(next) = rules[at + 1..].iter().find(|r| !matches!(r.lhs, ast::Lhs::Module { .. }))
        {
            let d = Diagnostic::new(
                REST_NOT_LAST,
                "`_` takes all the rest, so it stands last",
                rules[at].lhs.span(),
                "this takes every tensor",
            )
            .label(next.lhs.span(), "and leaves nothing for this rule")
            .help("move `_` to the end");
            self.report(d);
        }
    }

    fn rule(&mut self, rule: &ast::Rule) -> Rule {
        let lhs_span = rule.lhs.span();
        let dims = |r: &mut Self, shape: &Option<ast::RuleShape>| match shape {
            Some(shape) => r.rule_shape(shape).map(Some),
            None => Some(None),
        };
        let (lhs, shape) = match &rule.lhs {
            ast::Lhs::Pattern { pattern, optional, shape, .. } => {
                let lhs = match self.rule_pattern(pattern) {
                    Some((pattern, captures)) => Lhs::Pattern { pattern, captures, optional: *optional },
                    None => Lhs::Error,
                };
                dims(self, shape).map_or((Lhs::Error, None), |dims| (lhs, dims))
            }
            ast::Lhs::Rest { shape, .. } => dims(self, shape).map_or((Lhs::Error, None), |dims| (Lhs::Rest, dims)),
            ast::Lhs::Module { pattern, function, argument, ty, result, .. } => {
                (self.module_lhs(pattern, function, argument, ty.as_ref(), result.as_ref()), None)
            }
            ast::Lhs::Error(_) => (Lhs::Error, None),
        };
        if matches!(lhs, Lhs::Error) {
            // Its captures are not known, so names that are missing on the right are no news.
            self.scope_is_broken();
        }
        Rule { lhs, shape, lhs_span, value: self.expr(&rule.value), span: rule.span }
    }

    /// `"module" as f(x: type) -> type`; `f`, `x` and the dims that are no variables yet are defined in the current scope.
    fn module_lhs(
        &mut self,
        pattern: &ast::Str,
        function: &ast::Name,
        argument: &ast::Name,
        ty: Option<&ast::Type>,
        result: Option<&ast::Type>,
    ) -> Lhs {
        let pattern = self.rule_pattern(pattern);
        let function = self.define_module(&function.text, function.span);
        let x = self.define(&argument.text, argument.span);
        let types: Vec<&ast::Type> = ty.into_iter().chain(result).collect();
        self.declare_dims(&types);
        let mut bound = FxHashSet::default();
        let ty = ty.map(|t| self.ty(t, &mut bound));
        let result = result.map(|t| self.ty(t, &mut bound));
        match pattern {
            Some((pattern, captures)) => {
                let argument_name = argument.text.clone();
                Lhs::Module(Box::new(ModuleLhs { pattern, captures, function, argument: x, argument_name, ty, result }))
            }
            None => Lhs::Error,
        }
    }

    /// The pattern of a rule, its captures defined in the current scope.
    fn rule_pattern(&mut self, pattern: &ast::Str) -> Option<(Pattern, Vec<LocalId>)> {
        match parse(pattern, Place::Rule, &mut |text, span| self.parsed(text, span)) {
            Ok(p) => {
                let captures = p.captures().iter().map(|c| match c.name.as_str() {
                    "_" => self.local("_", c.span),
                    name => self.define(name, c.span),
                });
                let captures = captures.collect();
                Some((p, captures))
            }
            Err(found) => {
                self.found.extend(found);
                None
            }
        }
    }

    /// The dims behind a pattern, their names defined in the current scope; none where they were reported.
    fn rule_shape(&mut self, shape: &ast::RuleShape) -> Option<Vec<RuleDim>> {
        let rests: Vec<&ast::Name> =
            shape.dims.iter().filter_map(|d| if let ast::RuleDim::Rest(n) = d { Some(n) } else { None }).collect();
        if let [first, second, ..] = rests.as_slice() {
            let d = Diagnostic::new(BAD_PATTERN, "only one of these dims may stand for any number of axes", second.span, "")
                .label(first.span, "here is one already")
                .help("write names or `_` for the others: `[..s, i]`");
            self.report(d);
            return None;
        }
        let mut own: Vec<(String, LocalId)> = Vec::new();
        let dims = shape.dims.iter().map(|d| {
            let mut bind = |n: &ast::Name| match own.iter().find(|(known, _)| *known == n.text) {
                // The same name again: the lengths are equal.
                Some((_, id)) => *id,
                None => {
                    let id = self.define(&n.text, n.span);
                    own.push((n.text.clone(), id));
                    id
                }
            };
            match d {
                ast::RuleDim::Bind(n) => RuleDim::Bind(bind(n)),
                ast::RuleDim::Rest(n) => RuleDim::Rest(bind(n)),
                ast::RuleDim::Ignore(_) => RuleDim::Ignore,
                ast::RuleDim::Is(n, _) => RuleDim::Is(*n),
            }
        });
        Some(dims.collect())
    }
}
