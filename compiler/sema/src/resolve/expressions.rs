//! The walk over expressions.

use super::Resolver;
use super::modules::twice;
use crate::codes::names::{UNKNOWN_ROLE, WHOLE_WITHOUT_CALL};
use crate::hir::{self, Choose, Domain, Expr, ExprKind, For, Role};
use merge_base::{Diagnostic, did_you_mean};
use merge_grammar::ast;

impl Resolver<'_> {
    pub(super) fn boxed(&mut self, e: &ast::Expr) -> Box<Expr> {
        Box::new(self.expr(e))
    }

    pub(super) fn expr(&mut self, e: &ast::Expr) -> Expr {
        let kind = match &e.kind {
            ast::ExprKind::Int(i) => ExprKind::Int(*i),
            ast::ExprKind::Float(f, digits) => ExprKind::Float(*f, digits.clone()),
            ast::ExprKind::Size(s) => ExprKind::Size(*s),
            ast::ExprKind::Bool(b) => ExprKind::Bool(*b),
            ast::ExprKind::Str(s) => ExprKind::Str(self.string(s)),
            ast::ExprKind::Name(name) => self.value_name(name, e.span),
            ast::ExprKind::Tuple(parts) => ExprKind::Tuple(parts.iter().map(|p| self.expr(p)).collect()),
            ast::ExprKind::List(parts) => ExprKind::List(parts.iter().map(|p| self.expr(p)).collect()),
            ast::ExprKind::Comprehension { value, clauses } => self.scoped(|r| {
                let clauses = r.clauses(clauses);
                ExprKind::Comprehension { value: r.boxed(value), clauses }
            }),
            ast::ExprKind::Block(b) => ExprKind::Block(self.block(b)),
            ast::ExprKind::Model(m) => self.model(m),
            ast::ExprKind::If { condition, then, otherwise } => {
                ExprKind::If { condition: self.boxed(condition), then: self.block(then), otherwise: self.boxed(otherwise) }
            }
            ast::ExprKind::Fold { binding, start, item, list, until, body } => {
                let (start, list) = (self.boxed(start), self.boxed(list));
                self.scoped(|r| ExprKind::Fold {
                    start,
                    list,
                    binding: r.binding(binding, false),
                    item: r.binding(item, false),
                    until: until.as_ref().map(|u| r.boxed(u)),
                    body: r.block(body),
                })
            }
            ast::ExprKind::Choose(c) => {
                let choose = self.choose(c);
                ExprKind::Choose(Box::new(choose))
            }
            ast::ExprKind::Unary { op, value } => ExprKind::Unary { op: *op, value: self.boxed(value) },
            ast::ExprKind::Binary { op, op_span, left, right } => {
                ExprKind::Binary { op: *op, op_span: *op_span, left: self.boxed(left), right: self.boxed(right) }
            }
            ast::ExprKind::Range { start, end, inclusive } => ExprKind::Range {
                start: start.as_ref().map(|e| self.boxed(e)),
                end: end.as_ref().map(|e| self.boxed(e)),
                inclusive: *inclusive,
            },
            ast::ExprKind::Whole(inner) => self.whole(inner),
            ast::ExprKind::Call { callee, args } => self.call(callee, args),
            ast::ExprKind::Index { base, indices } => {
                let base = self.boxed(base);
                let indices = match indices.as_slice() {
                    [ast::Expr { kind: ast::ExprKind::Str(s), span }] => {
                        vec![Expr { kind: self.name_index(s), span: *span }]
                    }
                    all => all.iter().map(|i| self.expr(i)).collect(),
                };
                ExprKind::Index { base, indices }
            }
            ast::ExprKind::As { value, role } => self.as_(value, role),
            ast::ExprKind::Error => ExprKind::Error,
        };
        Expr { kind, span: e.span }
    }

    /// `for` clauses, each of which sees those before it. Their names live in the current scope.
    pub(super) fn clauses(&mut self, clauses: &[ast::For]) -> Vec<For> {
        let resolve = |c: &ast::For| {
            let list = self.expr(&c.list);
            let binding = self.binding(&c.binding, false);
            let condition = c.condition.as_ref().map(|e| self.expr(e));
            For { binding, list, condition, span: c.span }
        };
        clauses.iter().map(resolve).collect()
    }

    /// A decision without its variable in scope.
    pub(super) fn choose(&mut self, c: &ast::Choose) -> Choose {
        let per = c.per.as_ref().map(|e| self.expr(e));
        let domain = match &c.domain {
            ast::Domain::In(e) => Domain::In(self.domain(e)),
            ast::Domain::Arms(arms) => {
                for (i, arm) in arms.iter().enumerate() {
                    if let Some(first) = arms[..i].iter().find(|a| a.name.text == arm.name.text) {
                        self.report(twice("arm", &arm.name.text, arm.name.span, first.name.span));
                    }
                }
                Domain::Arms(arms.iter().map(|a| (a.name.text.clone(), a.name.span, self.expr(&a.value))).collect())
            }
        };
        let default = c.default.as_ref().map(|e| match (&e.kind, &domain) {
            (ast::ExprKind::Name(n), Domain::Arms(arms)) if arms.iter().any(|(a, ..)| a == n) => {
                Expr { kind: ExprKind::Word(n.clone()), span: e.span }
            }
            _ => self.expr(e),
        });
        let local = self.local(&c.name.text, c.name.span);
        let (name, name_span) = (c.name.text.clone(), c.name.span);
        Choose { name, name_span, local, per, domain, default, span: c.span }
    }

    fn whole(&mut self, inner: &ast::Expr) -> ExprKind {
        let value = self.expr(inner);
        if matches!(inner.kind, ast::ExprKind::Call { .. } | ast::ExprKind::Error) {
            return if matches!(value.kind, ExprKind::Error) { ExprKind::Error } else { ExprKind::Whole(Box::new(value)) };
        }
        let d = Diagnostic::new(WHOLE_WITHOUT_CALL, "`whole` stands before a call", inner.span, "not a call")
            .help("write `whole f(..)`: `f` is then applied once, to each model as one vector");
        self.report(d);
        ExprKind::Error
    }

    fn as_(&mut self, value: &ast::Expr, role: &ast::Name) -> ExprKind {
        let value = self.boxed(value);
        let kind = match role.text.as_str() {
            "weight" => Role::Weight,
            "delta" => Role::Delta,
            "affine" => Role::Affine,
            other => {
                let message = format!("`as {other}` promises nothing known");
                let help = match other {
                    "peft" => "the form of a file stands behind its path: `save .. to \"folder\" as peft`",
                    _ => "a value can be promised to be a `weight`, a `delta` or `affine`",
                };
                let mut d = Diagnostic::new(UNKNOWN_ROLE, message, role.span, "unknown").help(help);
                if let Some(close) = did_you_mean(other, ["weight", "delta", "affine"]) {
                    d = d.fix(format!("write `{close}`"), role.span, close);
                }
                self.report(d);
                return ExprKind::Error;
            }
        };
        ExprKind::As { value, role: kind, role_span: role.span }
    }

    /// A hole's or a capture's expression, whose text has its own parser run.
    pub(super) fn parsed(&mut self, text: &str, span: merge_base::Span) -> Expr {
        let (e, found) = merge_grammar::parse_expr(span.file, text, span.start as usize);
        let broken = found.iter().any(Diagnostic::is_error);
        self.found.extend(found);
        if broken { Expr { kind: hir::ExprKind::Error, span } } else { self.expr(&e) }
    }
}
