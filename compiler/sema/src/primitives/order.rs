//! Orders along an axis, or of all entries: `sort`, `sort_index`, `cumsum`, `argmax`.
//!
//! Over the whole tensor, entries count in row-major order. Equal entries keep their order, whichever way it
//! goes; NaN counts as the largest.

use super::linear::one;
use super::support::{Made, boolean, given, need, over, tensor};
use crate::codes::primitives as codes;
use crate::degree::Degree;
use crate::elaborate::Cx;
use crate::value::{Args, Reported, TensorVal, Value};
use merge_abi::Routine;
use merge_base::Span;
use merge_ir::tir::Over;

type Answer = Result<Value, Reported>;

/// `sort(x, largest_first:, over:)`.
pub fn sort(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let largest_first = descending(cx, args, 1)?;
    along(cx, args, 2, Routine::Sort { largest_first }, span)
}

/// `sort_index(x, largest_first:, over:)`: the places of the entries in order; over the whole tensor, flat ones.
pub fn sort_index(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let largest_first = descending(cx, args, 1)?;
    along(cx, args, 2, Routine::SortIndex { largest_first }, span)
}

/// `cumsum(x, over:)`.
pub fn cumsum(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    along(cx, args, 1, Routine::CumSum, span)
}

/// `argmax(x, over:)`: an index into the flat tensor, or one for each row.
pub fn argmax(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    along(cx, args, 1, Routine::ArgMax, span)
}

fn descending(cx: &mut Cx, args: &Args, index: usize) -> Result<bool, Reported> {
    match given(args, index)? {
        Some(arg) => boolean(cx, args.name, arg),
        None => Ok(false),
    }
}

/// A routine that works along the last axis, over what `over:` says.
fn along(cx: &mut Cx, args: &Args, over_index: usize, routine: Routine, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let t = tensor(cx, args.name, x)?;
    let shape = cx.shape(&t);
    let over = over(cx, args, over_index, shape.len())?;
    let degree = Degree::function_of(args.name, [&t.degree], span);
    let is_argmax = routine == Routine::ArgMax;
    if is_argmax && over.entries(&shape) == 0 {
        return Err(cx.error(codes::BAD_SHAPE, "`argmax` of a tensor without entries", x.span, "has no entries"));
    }
    if shape.is_empty() {
        // A number is in order, and is its own running sum.
        let at_first = matches!(routine, Routine::SortIndex { .. } | Routine::ArgMax);
        let result = if at_first { cx.number(0.0, span) } else { t };
        return Ok(Value::Tensor(TensorVal { degree, ..result }));
    }
    let result: Made = match over.over {
        Over::Rows => over.apply(cx, &t, span, |cx, t| one(cx, routine, &[t], &degree, span)),
        Over::All => {
            let flat = cx.reshaped(&t, &[shape.iter().product()], span);
            let result = one(cx, routine, &[&flat], &degree, span)?;
            Ok(cx.reshaped(&result, if is_argmax { &[] } else { &shape }, span))
        }
    };
    result.map(Value::Tensor)
}
