//! How tensors are made: nodes of elementwise operations, reductions, views and routines.
//!
//! Primitives and operators build their nodes through the methods here, which hold the graph's invariants: broadcasting
//! stretches axes of length 1 only, and a routine gives no more than can be counted.
//!
//! Not here: numbers, atoms and what they count for in a degree (`context`).

use super::context::Cx;
use crate::codes::primitives::BAD_SHAPE;
use crate::codes::types as codes;
use crate::degree::Degree;
use crate::value::{Reported, TensorVal};
use merge_abi::{BinaryFn, ReduceFn, Routine, UnaryFn};
use merge_base::{Diagnostic, Span};
use merge_ir::tir::{NodeId, Op, Over};
use rustc_hash::FxHashSet;
use std::rc::Rc;

/// The most entries of a tensor that a routine gives; above it, products of dims could overflow.
pub(super) const LARGEST: u64 = 1 << 48;

/// The longest axis whose places are entries: above it, f32 skips ints.
const MOST_PLACES: u64 = 1 << 24;

/// The length of the axis whose places a routine takes or gives; 0 if it has none.
fn places_of(routine: &Routine, inputs: &[&[u64]]) -> u64 {
    let first = inputs.first().copied().unwrap_or(&[]);
    match routine {
        Routine::SortIndex { .. } | Routine::Rank { .. } | Routine::ArgMax | Routine::TakeAlong | Routine::Indices { .. } => {
            first.last().copied().unwrap_or(0)
        }
        Routine::Take { axis } => first[*axis as usize],
        Routine::Scatter { len, .. } => *len,
        Routine::Permutation { n, .. } => *n,
        _ => 0,
    }
}

impl Cx<'_> {
    /// The common shape of operands of an elementwise operation.
    ///
    /// # Errors
    /// Axes that neither agree nor have length 1 are reported at the operands.
    pub fn broadcast(&mut self, operands: &[(&TensorVal, Span)], span: Span) -> Result<Rc<[u64]>, Reported> {
        let mut shape: Option<Rc<[u64]>> = None;
        let mut fits = true;
        for (t, _) in operands {
            let next = self.shape(t);
            shape = Some(match shape {
                None => next,
                Some(s) if s == next || next.is_empty() => s,
                Some(s) if s.is_empty() => next,
                Some(s) if s.len() == next.len() => {
                    fits &= s.iter().zip(&*next).all(|(a, b)| a == b || *a == 1 || *b == 1);
                    s.iter().zip(&*next).map(|(a, b)| if *a == 1 { *b } else { *a }).collect()
                }
                Some(s) => {
                    fits = false;
                    s
                }
            });
        }
        if fits {
            return Ok(shape.unwrap_or_else(|| Rc::from([])));
        }
        Err(self.shapes_disagree(operands, span))
    }

    /// Reports that the shapes of `operands` do not go together.
    pub fn shapes_disagree(&mut self, operands: &[(&TensorVal, Span)], span: Span) -> Reported {
        let mut d = Diagnostic::without_place(codes::SHAPES_DISAGREE, "tensor shapes do not agree");
        let mut seen = FxHashSet::default();
        let mut shapes = Vec::new();
        for (t, at) in operands.iter().filter(|(t, _)| !self.graph.shape(t.node).is_empty()) {
            let shape = self.shape(t);
            if seen.insert(*at) {
                let message = format!("{} has {} here", self.describe(*at), self.show_shape(&shape));
                d.labels.push(merge_base::Label { span: *at, message, primary: d.labels.is_empty() });
            }
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        if d.labels.len() < 2 {
            let listed: Vec<String> = shapes.iter().map(|s| self.show_shape(s)).collect();
            d = Diagnostic::new(
                codes::SHAPES_DISAGREE,
                "tensor shapes do not agree",
                span,
                format!("these are {}", listed.join(" and ")),
            );
        }
        if let [a, b] = shapes.as_slice()
            && a.len() != b.len()
        {
            d = d.note("only axes of length 1 stretch, and the number of axes must be the same");
            if matches!((a.len(), b.len()), (1, 2) | (2, 1)) {
                d = d.help(
                    "`reshape(x, [1, numel(x)])` is a number for each column, `reshape(x, [numel(x), 1])` one for each row",
                );
            }
        }
        self.report(d)
    }

    /// A function of one tensor, entry by entry.
    pub fn unary(&mut self, f: UnaryFn, x: &TensorVal, degree: Degree, span: Span) -> TensorVal {
        let shape = self.shape(x);
        let node = self.graph.add(Op::Unary(f, x.node), shape, span);
        TensorVal::new(node, degree)
    }

    /// A function of two tensors, entry by entry, with broadcasting.
    ///
    /// # Errors
    /// Shapes that do not agree are reported at the operands.
    pub fn binary(
        &mut self,
        f: BinaryFn,
        (a, a_span): (&TensorVal, Span),
        (b, b_span): (&TensorVal, Span),
        degree: Degree,
        span: Span,
    ) -> Result<TensorVal, Reported> {
        let shape = self.broadcast(&[(a, a_span), (b, b_span)], span)?;
        // A delta that lacks a name counts as zero there, and adding it copies the other side bit for bit.
        if matches!(f, BinaryFn::Add | BinaryFn::Sub) && self.is_zeros(b.node) && *self.graph.shape(a.node) == shape {
            return Ok(TensorVal::new(a.node, degree));
        }
        if f == BinaryFn::Add && self.is_zeros(a.node) && *self.graph.shape(b.node) == shape {
            return Ok(TensorVal::new(b.node, degree));
        }
        Ok(TensorVal::new(self.graph.add(Op::Binary(f, a.node, b.node), shape, span), degree))
    }

    /// `x` where `mask` is not 0, else `y`.
    ///
    /// # Errors
    /// Shapes that do not agree are reported at the operands.
    pub fn select(
        &mut self,
        (mask, mask_span): (&TensorVal, Span),
        (x, x_span): (&TensorVal, Span),
        (y, y_span): (&TensorVal, Span),
        degree: Degree,
        span: Span,
    ) -> Result<TensorVal, Reported> {
        let shape = self.broadcast(&[(mask, mask_span), (x, x_span), (y, y_span)], span)?;
        Ok(TensorVal::new(self.graph.add(Op::Select(mask.node, x.node, y.node), shape, span), degree))
    }

    /// The shape that a reduction of `shape` over `over` has.
    pub fn reduced(shape: &[u64], over: Over) -> Rc<[u64]> {
        match over {
            Over::All => Rc::from([]),
            Over::Rows => {
                let mut s = shape.to_vec();
                if let Some(last) = s.last_mut() {
                    *last = 1;
                }
                s.into()
            }
        }
    }

    /// A reduction of a tensor.
    pub fn reduce(&mut self, f: ReduceFn, over: Over, x: &TensorVal, degree: Degree, span: Span) -> TensorVal {
        let shape = Cx::reduced(&self.shape(x), over);
        let node = self.graph.add(Op::Reduce { f, over, input: x.node }, shape, span);
        TensorVal::new(node, degree)
    }

    /// `t` under another shape with as many entries.
    pub fn reshaped(&mut self, t: &TensorVal, shape: &[u64], span: Span) -> TensorVal {
        if **self.graph.shape(t.node) == *shape {
            return t.clone();
        }
        let node = self.graph.add(Op::Reshape { input: t.node }, shape.into(), span);
        TensorVal { node, ..t.clone() }
    }

    /// `t` with its axes in another order: `perm[i]` is the axis that becomes axis `i`.
    pub fn transposed(&mut self, t: &TensorVal, perm: &[u32], span: Span) -> TensorVal {
        if perm.is_sorted() {
            return t.clone();
        }
        let before = self.shape(t);
        let shape: Rc<[u64]> = perm.iter().map(|p| before[*p as usize]).collect();
        let node = self.graph.add(Op::Transpose { input: t.node, perm: perm.into() }, shape, span);
        TensorVal { node, ..t.clone() }
    }

    /// The results of a routine on whole tensors, all of one degree.
    ///
    /// # Errors
    /// Shapes that the routine does not take are reported; callers check first and say it better.
    pub fn routine(
        &mut self,
        routine: Routine,
        inputs: &[&TensorVal],
        degree: &Degree,
        span: Span,
    ) -> Result<Vec<TensorVal>, Reported> {
        let shapes: Vec<Rc<[u64]>> = inputs.iter().map(|t| self.shape(t)).collect();
        let borrowed: Vec<&[u64]> = shapes.iter().map(|s| &**s).collect();
        let results = match routine.results(&borrowed) {
            Ok(results) => results,
            Err(misfit) => return Err(self.error(BAD_SHAPE, misfit, span, "")),
        };
        let places = places_of(&routine, &borrowed);
        if places > MOST_PLACES {
            let message =
                format!("`{}` counts {places} places, and entries are exact up to {MOST_PLACES} = 2^24", routine.name());
            let d = Diagnostic::new(BAD_SHAPE, message, span, format!("{places} places"))
                .help("go through rows or blocks of the tensor instead of all of it: `over: rows`, `x[0..n, ..]`");
            return Err(self.report(d));
        }
        if results.iter().any(|s| s.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).is_none_or(|n| n > LARGEST)) {
            let message = format!("`{}` would make a tensor larger than any memory", routine.name());
            return Err(self.error(BAD_SHAPE, message, span, ""));
        }
        let (routine, place) = (Rc::new(routine), self.place_in_recipe(span));
        let inputs: Rc<[NodeId]> = inputs.iter().map(|t| t.node).collect();
        let made = results.into_iter().enumerate().map(|(k, shape)| {
            let op = Op::Call { routine: routine.clone(), result: k as u32, inputs: inputs.clone() };
            let node = self.graph.add(op, shape.into(), span);
            self.graph.places.entry(node).or_insert_with(|| place.clone());
            TensorVal::new(node, degree.clone())
        });
        Ok(made.collect())
    }
}
