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
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// One product of a sum: `scale * b @ a`, a scale of 1 being none. Kernels count as matrices of one row for each entry
/// of their first axis.
#[derive(Clone, Copy, Debug)]
struct Term {
    scale: Option<NodeId>,
    b: NodeId,
    a: NodeId,
}

/// The products whose sum a tensor is, no two of the same factors; none if it is no such sum.
type Terms = Option<Rc<[Term]>>;

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
        let terms = self.terms(x, &mut FxHashMap::default())?;
        if terms.is_empty() {
            return None;
        }
        let (mut left, mut right) = (Vec::with_capacity(terms.len()), Vec::with_capacity(terms.len()));
        for term in terms.iter() {
            left.push(match term.scale {
                Some(scale) => self.mul(scale, term.b),
                None => term.b,
            });
            right.push(term.a);
        }
        let (b, a) = (self.joined(1, &left), self.joined(0, &right));
        Some(Pair { b, a, rank: self.shape(a)[0] })
    }

    /// What a tensor is the sum of. Nodes are shared, so each is looked at once.
    fn terms(&mut self, x: NodeId, known: &mut FxHashMap<NodeId, Terms>) -> Terms {
        if let Some(terms) = known.get(&x) {
            return terms.clone();
        }
        let terms = self.terms_of(x, known);
        known.insert(x, terms.clone());
        terms
    }

    fn terms_of(&mut self, x: NodeId, known: &mut FxHashMap<NodeId, Terms>) -> Terms {
        if self.cx.is_zeros(x) {
            return Some(Rc::from([]));
        }
        let number = |nodes: &Self, n: NodeId| nodes.shape(n).is_empty();
        let op = self.cx.graph.node(x).op.clone();
        match op {
            Op::Call { routine, inputs, .. } if *routine == Routine::MatMul => {
                Some(Rc::from([Term { scale: None, b: inputs[0], a: inputs[1] }]))
            }
            Op::Unary(UnaryFn::Neg, y) => {
                let minus = self.constant(-1.0);
                self.multiplied(y, minus, known)
            }
            Op::Binary(BinaryFn::Mul, s, y) | Op::Binary(BinaryFn::Mul, y, s) if number(self, s) => self.multiplied(y, s, known),
            Op::Binary(BinaryFn::Div, y, s) if number(self, s) => {
                let one = self.constant(1.0);
                let scale = self.div(one, s);
                self.multiplied(y, scale, known)
            }
            Op::Binary(f @ (BinaryFn::Add | BinaryFn::Sub), y, z) if self.shape(y) == self.shape(z) => {
                let first = self.terms(y, known)?;
                let minus = self.constant(-1.0);
                let second = if f == BinaryFn::Sub { self.multiplied(z, minus, known)? } else { self.terms(z, known)? };
                Some(self.summed(&first, &second))
            }
            Op::Transpose { input, .. } if self.shape(x).len() == 2 => {
                let terms = self.terms(input, known)?;
                let turned = |t: &Term| Term { scale: t.scale, b: self.transposed(t.a), a: self.transposed(t.b) };
                Some(terms.iter().map(turned).collect())
            }
            // A matrix as a kernel, or back.
            Op::Reshape { input } => {
                let (before, after) = (self.shape(input), self.shape(x));
                let fits = before.len() >= 2 && after.len() >= 2 && before[0] == after[0];
                if fits { self.terms(input, known) } else { None }
            }
            _ => None,
        }
    }

    fn multiplied(&mut self, y: NodeId, by: NodeId, known: &mut FxHashMap<NodeId, Terms>) -> Terms {
        let terms = self.terms(y, known)?;
        let one = self.constant(1.0);
        let times = |t: &Term| Term { scale: self.both(t.scale, by, one), ..*t };
        Some(terms.iter().map(times).collect())
    }

    /// The product of two scales; of known numbers it is known.
    fn both(&mut self, scale: Option<NodeId>, by: NodeId, one: NodeId) -> Option<NodeId> {
        let product = match scale {
            None => by,
            Some(scale) => match (self.cx.constant_of(scale), self.cx.constant_of(by)) {
                (Some(a), Some(b)) => self.constant(a * b),
                _ => self.mul(scale, by),
            },
        };
        (product != one).then_some(product)
    }

    /// Both lists as one; products of the same factors are one product.
    fn summed(&mut self, first: &[Term], second: &[Term]) -> Rc<[Term]> {
        let one = self.constant(1.0);
        let mut all = first.to_vec();
        for t in second {
            match all.iter_mut().find(|known| (known.b, known.a) == (t.b, t.a)) {
                Some(known) => {
                    let (s, t) = (known.scale.unwrap_or(one), t.scale.unwrap_or(one));
                    let sum = match (self.cx.constant_of(s), self.cx.constant_of(t)) {
                        (Some(a), Some(b)) => self.constant(a + b),
                        _ => self.add(s, t),
                    };
                    known.scale = (sum != one).then_some(sum);
                }
                None => all.push(*t),
            }
        }
        all.into()
    }
}
