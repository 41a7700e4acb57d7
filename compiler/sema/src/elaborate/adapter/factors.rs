//! A delta as the product of two factors, read off the nodes that make it.
//!
//! A product of matrices is a pair of factors; multiples, sums, differences and transpositions of such are one
//! again, exactly: a scale goes into the first factor, and a sum joins the factors along the rank. Whatever else is done to a
//! delta leaves no factors behind, and `low_rank` finds some anew.

use super::nodes::Nodes;
use crate::codes::adapters as codes;
use crate::degree::Degree;
use crate::elaborate::{Cx, show_shape};
use crate::value::{Args, Reported, TensorVal, Value};
use merge_abi::{BinaryFn, Routine, UnaryFn};
use merge_base::{Diagnostic, Span};
use merge_ir::tir::{NodeId, Op};
use std::rc::Rc;

/// One product of a sum: `by * b @ a`, negative where `minus` says so. Kernels count as matrices of one row for each
/// entry of their first axis.
#[derive(Clone, Debug)]
struct Term {
    by: Vec<Scale>,
    minus: bool,
    b: NodeId,
    a: NodeId,
}

/// A number that a product is multiplied or divided by.
#[derive(Clone, Copy, Debug)]
enum Scale {
    Times(NodeId),
    Over(NodeId),
}

/// The factors of a delta: `b [o, r]` and `a [r, i]`, `i` standing for all axes but the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub b: NodeId,
    pub a: NodeId,
    pub rank: u64,
}

/// The factors `b` and `a` of a tensor that is known to be their product; none for weights and statistics, whose
/// nodes are not asked.
pub(crate) fn factor_pair(cx: &mut Cx, x: &TensorVal, span: Span) -> Option<(TensorVal, TensorVal)> {
    if !x.degree.is_delta() {
        return None;
    }
    let pair = (Nodes { cx, span }).pair_of(x.node).filter(|pair| pair.rank > 0)?;
    let part = |node| TensorVal::new(node, Degree::delta());
    Some((part(pair.b), part(pair.a)))
}

/// `factors(x)`: the tuple `(b, a)` with `x = b @ a`.
pub(crate) fn factors(cx: &mut Cx, args: &Args, span: Span) -> Result<Value, Reported> {
    let Some(arg) = args.get(0) else { return Err(Reported) };
    let x = cx.tensor(&arg.value, arg.span)?;
    match (Nodes { cx, span }).pair_of(x.node) {
        Some(pair) => {
            let part = |node| Value::Tensor(TensorVal::new(node, Degree::delta()));
            Ok(Value::Tuple(Rc::from([part(pair.b), part(pair.a)])))
        }
        None => {
            let shown = show_shape(&cx.shape(&x));
            let message = format!("this delta of {shown} is not known to be a product of two factors");
            let d = Diagnostic::new(codes::NOT_FACTORED, message, arg.span, "");
            Err(cx.report(d.help("`low_rank(x, rank: r)` gives the nearest product of rank `r`")))
        }
    }
}

impl Nodes<'_, '_> {
    /// The factors of a delta, if its nodes say that it has some.
    pub fn pair_of(&mut self, x: NodeId) -> Option<Pair> {
        let terms = self.terms(x)?;
        if terms.is_empty() {
            return None;
        }
        let (mut left, mut right) = (Vec::with_capacity(terms.len()), Vec::with_capacity(terms.len()));
        for term in terms {
            left.push(self.scaled_factor(&term));
            right.push(term.a);
        }
        let (b, a) = (self.joined(1, &left), self.joined(0, &right));
        Some(Pair { b, a, rank: self.shape(a)[0] })
    }

    /// The first factor of a term with the term's scale in it.
    fn scaled_factor(&mut self, term: &Term) -> NodeId {
        let one = self.constant(1.0);
        let mut scale = one;
        for by in &term.by {
            scale = match *by {
                Scale::Times(n) if scale == one => n,
                Scale::Times(n) => self.mul(scale, n),
                Scale::Over(n) => self.div(scale, n),
            };
        }
        if term.minus {
            scale = self.neg(scale);
        }
        if scale == one { term.b } else { self.mul(scale, term.b) }
    }

    /// The products whose sum a tensor is; none if it is no such sum.
    fn terms(&mut self, x: NodeId) -> Option<Vec<Term>> {
        if self.cx.is_zeros(x) {
            return Some(Vec::new());
        }
        let op = self.cx.graph.node(x).op.clone();
        match op {
            Op::Call { routine, inputs, .. } if *routine == Routine::MatMul => {
                Some(vec![Term { by: Vec::new(), minus: false, b: inputs[0], a: inputs[1] }])
            }
            Op::Unary(UnaryFn::Neg, y) => self.changed(y, |t| t.minus = !t.minus),
            Op::Binary(BinaryFn::Mul, s, y) if self.shape(s).is_empty() => self.changed(y, |t| t.by.push(Scale::Times(s))),
            Op::Binary(BinaryFn::Mul, y, s) if self.shape(s).is_empty() => self.changed(y, |t| t.by.push(Scale::Times(s))),
            Op::Binary(BinaryFn::Div, y, s) if self.shape(s).is_empty() => self.changed(y, |t| t.by.push(Scale::Over(s))),
            Op::Binary(f @ (BinaryFn::Add | BinaryFn::Sub), y, z) if self.shape(y) == self.shape(z) => {
                let mut all = self.terms(y)?;
                all.extend(self.changed(z, |t| t.minus ^= f == BinaryFn::Sub)?);
                Some(all)
            }
            Op::Transpose { input, .. } if self.shape(x).len() == 2 => {
                let terms = self.terms(input)?;
                let turned = |nodes: &mut Self, t: Term| {
                    let (b, a) = (nodes.transposed(t.a), nodes.transposed(t.b));
                    Term { b, a, ..t }
                };
                Some(terms.into_iter().map(|t| turned(self, t)).collect())
            }
            // A matrix as a kernel, or back.
            Op::Reshape { input } => {
                let (before, after) = (self.shape(input), self.shape(x));
                let fits = before.len() >= 2 && after.len() >= 2 && before[0] == after[0];
                if fits { self.terms(input) } else { None }
            }
            _ => None,
        }
    }

    fn changed(&mut self, y: NodeId, change: impl Fn(&mut Term)) -> Option<Vec<Term>> {
        let mut terms = self.terms(y)?;
        terms.iter_mut().for_each(change);
        Some(terms)
    }
}
