//! Types and their dims.

use super::Resolver;
use crate::codes::names::UNKNOWN_TYPE;
use crate::hir::{Dim, LocalId, Type, TypeName};
use merge_base::{Diagnostic, did_you_mean, list_names};
use merge_grammar::ast;
use rustc_hash::FxHashSet;

const TYPES: [(&str, TypeName); 12] = [
    ("weight", TypeName::Weight),
    ("delta", TypeName::Delta),
    ("tensor", TypeName::Tensor),
    ("affine", TypeName::Affine),
    ("model", TypeName::Model),
    ("deltas", TypeName::Deltas),
    ("tensors", TypeName::Tensors),
    ("f32", TypeName::F32),
    ("int", TypeName::Int),
    ("bool", TypeName::Bool),
    ("str", TypeName::Str),
    ("axis", TypeName::Axis),
];

/// Whether a type can be resolved.
pub(super) fn is_known(ty: &ast::Type) -> bool {
    match ty {
        ast::Type::Named { name, dims, .. } => {
            TYPES.iter().any(|(n, kind)| *n == name.text && (dims.is_none() || takes_dims(*kind)))
        }
        ast::Type::List(inner, _) => is_known(inner),
        ast::Type::Tuple(parts, _) => parts.iter().all(is_known),
        ast::Type::Error(_) => false,
    }
}

fn takes_dims(kind: TypeName) -> bool {
    matches!(kind, TypeName::Weight | TypeName::Delta | TypeName::Tensor | TypeName::Affine)
}

impl Resolver<'_> {
    /// Defines the dims that stand alone somewhere in these types and are no variables yet, so that an
    /// equation may come before the place that binds.
    pub(super) fn declare_dims(&mut self, types: &[&ast::Type]) {
        for ty in types {
            match ty {
                ast::Type::Named { dims, .. } => {
                    for dim in dims.iter().flatten() {
                        let (name, span) = match dim {
                            ast::Dim::Expr(ast::Expr { kind: ast::ExprKind::Name(n), span }) => (n, *span),
                            ast::Dim::Rest(n) => (&n.text, n.span),
                            ast::Dim::Expr(_) => continue,
                        };
                        if self.local_named(name).is_none() {
                            self.define(name, span);
                        }
                    }
                }
                ast::Type::List(inner, _) => self.declare_dims(&[inner]),
                ast::Type::Tuple(parts, _) => self.declare_dims(&parts.iter().collect::<Vec<_>>()),
                ast::Type::Error(_) => {}
            }
        }
    }

    /// A type. `bound` holds the dims that have been bound further left.
    pub(super) fn ty(&mut self, ty: &ast::Type, bound: &mut FxHashSet<LocalId>) -> Type {
        match ty {
            ast::Type::Named { name, dims, span } => {
                let Some((_, kind)) = TYPES.iter().find(|(n, _)| *n == name.text) else {
                    let d = Diagnostic::new(UNKNOWN_TYPE, format!("there is no type `{}`", name.text), name.span, "unknown type");
                    let d = match did_you_mean(&name.text, TYPES.iter().map(|(n, _)| *n)) {
                        Some(close) => {
                            d.help(format!("did you mean `{close}`?")).fix(format!("write `{close}`"), name.span, close)
                        }
                        None => d.help(format!("the types are {}", list_names(&TYPES.map(|(n, _)| n), TYPES.len()))),
                    };
                    self.report(d);
                    return Type::Error;
                };
                if dims.is_some() && !takes_dims(*kind) {
                    let message = format!("`{}` has no dims", name.text);
                    let d = Diagnostic::new(UNKNOWN_TYPE, message, *span, "dims are for tensors")
                        .help(format!("write `{}`; a list is `[{}]`", name.text, name.text))
                        .fix("leave the dims out", *span, name.text.clone());
                    self.report(d);
                    return Type::Error;
                }
                let mut rests = dims.iter().flatten().filter_map(|d| if let ast::Dim::Rest(n) = d { Some(n) } else { None });
                if let (Some(first), Some(second)) = (rests.next(), rests.next()) {
                    let message = "only one of these dims may stand for any number of axes";
                    let d = Diagnostic::new(UNKNOWN_TYPE, message, second.span, "")
                        .label(first.span, "here is one already")
                        .help("name the other axes one by one: `weight[..s, i]`");
                    self.report(d);
                    return Type::Error;
                }
                let dims = dims.as_ref().map(|dims| dims.iter().map(|d| self.dim(d, bound)).collect());
                Type::Named { name: *kind, dims, span: *span }
            }
            ast::Type::List(inner, span) => Type::List(Box::new(self.ty(inner, bound)), *span),
            ast::Type::Tuple(parts, span) => Type::Tuple(parts.iter().map(|p| self.ty(p, bound)).collect(), *span),
            ast::Type::Error(_) => Type::Error,
        }
    }

    fn dim(&mut self, dim: &ast::Dim, bound: &mut FxHashSet<LocalId>) -> Dim {
        match dim {
            ast::Dim::Rest(n) => match self.local_named(&n.text) {
                Some(id) if self.bind_dim(id, n.span, bound) => Dim::BindRest(id, n.span),
                Some(id) => Dim::Rest(id, n.span),
                None => Dim::BindRest(self.define(&n.text, n.span), n.span),
            },
            ast::Dim::Expr(e) => {
                if let ast::ExprKind::Name(n) = &e.kind
                    && let Some(id) = self.local_named(n)
                    && self.bind_dim(id, e.span, bound)
                {
                    return Dim::Bind(id, e.span);
                }
                Dim::Expr(self.expr(e))
            }
        }
    }

    /// Whether this is the place where a dim was defined: the first where it stands alone.
    fn bind_dim(&mut self, id: LocalId, span: merge_base::Span, bound: &mut FxHashSet<LocalId>) -> bool {
        self.body.locals[id.0 as usize].span == span && bound.insert(id)
    }
}
