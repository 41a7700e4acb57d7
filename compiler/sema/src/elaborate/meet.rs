//! What meets where tensors of a network are computed with, while decisions are watched.
//!
//! A check compares lengths of axes. Which ones, is known for what networks are mostly made of, so that a place mentions the decisions
//! behind two lengths that have to agree, and not those behind all axes of all operands:
//!
//! | what | compared |
//! |---|---|
//! | `@` | the inner axes; leading ones pairwise |
//! | other operators, `max` and `min` of two | axes pairwise, from the last |
//! | functions of one tensor, reductions, `transpose`, `flatten`, `batch_norm`, `dropout` | only how many axes there are |
//! | `conv1d`, `conv2d` | channels with those of the kernel; groups; along the window the length with the kernel's, without `pad: same` |
//! | `max_pool`, `avg_pool` | lengths along the window with its size |
//! | `x[..]` | each axis with its place |
//! | parameters of functions | what their dims say |
//!
//! What is not in the table compares all with all. Values are *handed on* where they are not looked at: what they depend on
//! belongs to the result, but meets nothing.
//!
//! Invariant: a set that is mentioned may be larger than need be, never smaller. The one exception is the number of entries of a
//! tensor, which no set bounds as long as it is below [`MOST_ENTRIES`] here: what is too large for any memory only in other
//! candidates is said there.

use super::context::Cx;
use crate::hir::{BinaryOp, Callee};
use crate::primitives::KEEPS_SHAPE;
use crate::space::{Axes, Taint};
use crate::value::{Argument, TensorVal, Value};
use merge_abi::UnaryFn;

/// Above this, all lengths of a tensor count as compared, with the limit of [`super::nodes::LARGEST`].
const MOST_ENTRIES: u64 = 1 << 32;

/// Reductions, with the place of `over` among their parameters.
const REDUCTIONS: &[(&str, usize)] = &[("sum", 1), ("var", 1), ("norm", 1), ("count", 1), ("mean", 2), ("min", 2), ("max", 2)];

/// Primitives whose checks are known axis by axis, beside the functions of one tensor.
const KNOWN: &[&str] = &["transpose", "flatten", "embedding", "conv1d", "conv2d", "max_pool", "avg_pool"];

/// The place of `over` among the parameters of a reduction.
pub(super) fn place_of_over(name: &str) -> Option<usize> {
    REDUCTIONS.iter().find(|r| r.0 == name).map(|r| r.1)
}

/// Whether this is a function of one tensor, entry by entry.
pub(super) fn is_entrywise(name: &str) -> bool {
    UnaryFn::ALL.into_iter().any(|f| f.name() == name && !matches!(f, UnaryFn::Neg | UnaryFn::Not))
}

/// The axes of a tensor, where each is known.
fn axes_of(value: &Value) -> Option<&Axes> {
    match value {
        Value::Tensor(TensorVal { axes, .. }) => axes.as_ref(),
        _ => None,
    }
}

impl<'p> Cx<'p> {
    /// Hands on a value that was not looked at: of a tensor whose axes are known, its shape meets nothing here.
    pub(super) fn hand_on(&mut self, value: &Value, taint: Taint) {
        match axes_of(value) {
            Some(_) => self.gather(taint),
            None => self.read(taint),
        }
    }

    /// Notes that the shape of a value is looked at as a whole.
    pub(super) fn read_shape(&mut self, value: &Value) {
        if let Some(axes) = axes_of(value) {
            let axes = axes.clone();
            let whole = self.of_shape(&axes);
            self.read(whole);
        }
    }

    /// Notes what the arguments of a call depend on, and what of that meets in the call.
    pub(super) fn note_arguments(&mut self, callee: Callee, given: &[Argument], taints: &[Taint]) {
        let keeps_first = matches!(callee, Callee::Primitive(name) if KEEPS_SHAPE.contains(&name));
        let by_axes = self.watches_axes() && !given.iter().any(|a| a.value.has_model());
        let is_known = match callee {
            Callee::Primitive(name) => by_axes && (KNOWN.contains(&name) || place_of_over(name).is_some() || is_entrywise(name)),
            _ => false,
        };
        for (i, (arg, taint)) in given.iter().zip(taints).enumerate() {
            let known = axes_of(&arg.value).map(|axes| axes.rank);
            match (callee, known) {
                // The body says what it computes from it.
                (Callee::Fn(_), Some(rank)) if by_axes => {
                    self.note_idle_argument(arg.span, *taint);
                    self.mention(rank);
                }
                (_, Some(rank)) if is_known || by_axes && keeps_first && i == 0 => {
                    self.note_idle_argument(arg.span, *taint);
                    self.mention(rank);
                    self.gather(*taint);
                }
                _ if keeps_first && i > 0 => self.note_idle_argument(arg.span, *taint),
                _ => self.note_argument(arg.span, *taint),
            }
        }
    }

    /// Notes what meets in a primitive whose arguments were handed on; `result` is what it gave.
    pub(super) fn meet_in_call(&mut self, name: &str, given: &[Option<Argument>], result: &Value) {
        let argument = |i: usize| given.get(i).and_then(Option::as_ref);
        let Some(x) = argument(0) else { return };
        let whole = self.argument_taint(x.span);
        let Some(axes) = self.axes_or(&x.value, whole) else { return };
        let of = |cx: &Cx, i: usize| argument(i).map_or(Taint::NONE, |a| cx.argument_taint(a.span));
        match name {
            "min" | "max" if argument(1).is_some() => {
                let (Some(y), second) = (argument(1), of(self, 1)) else { return };
                if let Some(other) = self.axes_or(&y.value, second) {
                    self.meet_pairwise(&axes, &other);
                }
            }
            "conv1d" | "conv2d" => {
                let (along, count) = (if name == "conv2d" { 2 } else { 1 }, axes.each.len());
                let (Some(second), of_second) = (argument(1), of(self, 1)) else { return };
                let kernel = self.axes_or(&second.value, of_second);
                let (stride, groups) = (of(self, 2), of(self, 4));
                let axis_of_kernel = |i: usize| kernel.as_ref().and_then(|k| k.each.get(i).copied()).unwrap_or(of_second);
                let ranks = match &kernel {
                    Some(k) => self.union(axes.rank, k.rank),
                    None => axes.rank,
                };
                if count < along + 1 {
                    return;
                }
                let (channels, first) = if along == 2 { (count - 3, count - 2) } else { (count - 1, count - 2) };
                self.mention_all(&[ranks, axes.each[channels], axis_of_kernel(1), groups]);
                self.mention_all(&[ranks, axis_of_kernel(0), groups]);
                // With padding every window fits.
                let padded = matches!(argument(3), Some(Argument { value: Value::Word(w), .. }) if &**w == "same");
                for i in 0..if padded { 0 } else { along } {
                    self.mention_all(&[ranks, axes.each[first + i], axis_of_kernel(2 + i), stride, of(self, 3)]);
                }
                self.meet_in_size(&[whole, of_second], result);
            }
            "max_pool" | "avg_pool" => {
                let (size, stride) = (of(self, 1), of(self, 2));
                for own in axes.each.iter().rev().take(2) {
                    self.mention_all(&[axes.rank, *own, size, stride]);
                }
            }
            "embedding" => self.meet_in_size(&[whole, of(self, 1)], result),
            _ => {
                if let Some(place) = place_of_over(name) {
                    self.mention_all(&[axes.rank, of(self, place)]);
                }
            }
        }
    }

    /// Notes what meets in an operator between tensors; whether that is known.
    pub(super) fn meet_in_operator(&mut self, op: BinaryOp, l: &Axes, r: &Axes, wholes: [Taint; 2], result: &Value) -> bool {
        if op != BinaryOp::MatMul {
            self.meet_pairwise(l, r);
            return true;
        }
        let rank = self.union(l.rank, r.rank);
        match (&*l.each, &*r.each) {
            ([.., inner], [other]) | ([.., inner], [other, _]) => self.mention_all(&[rank, *inner, *other]),
            ([lead @ .., _, inner], [batch @ .., other, _]) if lead.len() == batch.len() => {
                lead.iter().zip(batch).for_each(|(a, b)| self.mention_all(&[rank, *a, *b]));
                self.mention_all(&[rank, *inner, *other]);
            }
            _ => return false,
        }
        self.meet_in_size(&wholes, result);
        true
    }

    /// Axes that have to agree, from the last on.
    fn meet_pairwise(&mut self, l: &Axes, r: &Axes) {
        let rank = self.union(l.rank, r.rank);
        self.mention(rank);
        for (a, b) in l.each.iter().rev().zip(r.each.iter().rev()) {
            self.mention_all(&[rank, *a, *b]);
        }
    }

    /// Where a result is large, all that it depends on meets in its size.
    fn meet_in_size(&mut self, wholes: &[Taint], result: &Value) {
        let Value::Tensor(t) = result else { return };
        let entries = self.graph.shape(t.node).iter().try_fold(1u64, |n, d| n.checked_mul(*d));
        if entries.is_none_or(|n| n > MOST_ENTRIES) {
            wholes.iter().for_each(|t| self.read(*t));
        }
    }

    fn mention_all(&mut self, taints: &[Taint]) {
        let mut all = Taint::NONE;
        for t in taints {
            all = self.union(all, *t);
        }
        self.mention(all);
    }
}
