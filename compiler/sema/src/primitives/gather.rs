//! Entries picked and put by places that tensors hold: `take`, `take_along`, `scatter`, `indices`, `unpack`.
//!
//! How many places there are is static, always; which they are, a tensor says. Places that the recipe writes out
//! are checked here, those in tensors when the recipe runs.

use super::linear::one;
use super::support::{empty_list, given, int, list, mask_or_places, need, resolve_axis, tensor, wrong_kind};
use crate::codes::{primitives as codes, types};
use crate::degree::Degree;
use crate::elaborate::Cx;
use crate::value::{Args, Argument, Reported, TensorVal, Value};
use merge_abi::Routine;
use merge_base::{Diagnostic, Span};
use merge_ir::tir::Op;
use rustc_hash::FxHashSet;
use std::rc::Rc;

type Answer = Result<Value, Reported>;

/// `take(x, at, axis)`: the slices at these places, in their order. Of degree as `x`: an entry is moved, not changed.
pub fn take(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, at, axis) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?, need(cx, args, 2, span)?);
    let t = tensor(cx, args.name, x)?;
    let shape = cx.shape(&t);
    let n = int(cx, args.name, axis)?;
    let axis = resolve_axis(cx, args.name, n, shape.len(), axis.span)?;
    let places = places(cx, args.name, at, shape[axis])?;
    one(cx, Routine::Take { axis: axis as u32 }, &[&t, &places], &t.degree, span).map(Value::Tensor)
}

/// `scatter(x, at, axis, len:)`: the tensor whose slice at `at[i]` is slice `i` of `x`; `take` undone.
pub fn scatter(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, at, axis) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?, need(cx, args, 2, span)?);
    let t = tensor(cx, args.name, x)?;
    let shape = cx.shape(&t);
    let n = int(cx, args.name, axis)?;
    let axis = resolve_axis(cx, args.name, n, shape.len(), axis.span)?;
    let slices = shape[axis];
    let len = match given(args, 3)? {
        None => slices,
        Some(arg) => {
            let len = int(cx, args.name, arg)?;
            match u64::try_from(len) {
                Ok(len) if len >= slices => len,
                _ => {
                    let message = format!("`scatter` puts {slices} slices into an axis of length {len}");
                    let d = Diagnostic::new(codes::OUTSIDE_DOMAIN, message, arg.span, format!("less than {slices}"))
                        .help("`take` leaves slices out");
                    return Err(cx.report(d));
                }
            }
        }
    };
    let places = places(cx, args.name, at, len)?;
    let count = cx.shape(&places)[0];
    if count != slices {
        let (slices, count) = (cx.show_length(slices), cx.show_length(count));
        let message = format!("`scatter` takes one place for each slice: {slices} along axis {axis}, and {count} places");
        let d = Diagnostic::new(types::SHAPES_DISAGREE, message, at.span, format!("{count} places"))
            .label(x.span, format!("has {}", cx.show_shape(&shape)));
        return Err(cx.report(d));
    }
    // Where every place is named, an entry is only moved; elsewhere zeros come in.
    let degree = if len == slices { t.degree.clone() } else { Degree::function_of(args.name, [&t.degree], span) };
    one(cx, Routine::Scatter { axis: axis as u32, len }, &[&t, &places], &degree, span).map(Value::Tensor)
}

/// Places along an axis of length `len`: a tensor with one axis, or a list of ints.
fn places(cx: &mut Cx, who: &str, at: &Argument, len: u64) -> Result<TensorVal, Reported> {
    let Value::Tensor(_) = at.value else { return written_places(cx, who, at, len) };
    let t = mask_or_places(cx, who, at)?;
    let shape = cx.shape(&t);
    if shape.len() == 1 {
        return Ok(t);
    }
    let message = format!("`{who}` takes a list of places, one axis long, and this has {}", cx.show_shape(&shape));
    let help = match shape.len() {
        0 => "one place is a list too: `reshape(k, [1])`",
        _ => "`take_along(x, at)` picks an entry from each row, `flatten(at)` makes one axis",
    };
    let d = Diagnostic::new(codes::BAD_SHAPE, message, at.span, format!("has {}", cx.show_shape(&shape))).help(help);
    Err(cx.report(d))
}

fn written_places(cx: &mut Cx, who: &str, at: &Argument, len: u64) -> Result<TensorVal, Reported> {
    if !matches!(at.value, Value::List(_) | Value::Range(_)) {
        return Err(wrong_kind(cx, who, "takes places here, a tensor with one axis or a list of ints", at));
    }
    let members = list(cx, who, at)?;
    if members.is_empty() {
        return Err(empty_list(cx, who, at.span));
    }
    let mut bits = Vec::with_capacity(members.len());
    let mut seen = FxHashSet::default();
    for (k, member) in members.iter().enumerate() {
        let one = Argument { value: member.clone(), span: at.part(k), parts: None };
        let place = int(cx, who, &one)?;
        if place < 0 || place as u64 >= len {
            let message = format!("`{who}` names place {place} of an axis of length {len}");
            let d = Diagnostic::new(types::OUT_OF_RANGE, message, one.span, "no such place").help("places are counted from 0");
            return Err(cx.report(d));
        }
        if who == "scatter" && !seen.insert(place) {
            let message = format!("`scatter` puts two slices at place {place}");
            return Err(cx.error(codes::BAD_LIST, message, one.span, "named before"));
        }
        bits.push((place as f64).to_bits());
    }
    let shape: Rc<[u64]> = Rc::from([bits.len() as u64]);
    Ok(TensorVal::new(cx.graph.add(Op::Literal(bits.into()), shape, at.span), Degree::delta()))
}

/// `take_along(x, at)`: entry `at[r]` of each row `r`. Where `at` keeps a last axis of length 1, so does the result.
pub fn take_along(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, at) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    let (t, places) = (tensor(cx, args.name, x)?, mask_or_places(cx, args.name, at)?);
    let (shape, wanted) = (cx.shape(&t), cx.shape(&places));
    let Some((_, front)) = shape.split_last() else {
        return Err(wrong_kind(cx, args.name, "takes a tensor with at least one axis", x));
    };
    let kept = wanted.len() == shape.len() && wanted.last() == Some(&1) && wanted[..front.len()] == *front;
    if *wanted != *front && !kept {
        let message =
            format!("`take_along` takes one place for each row: {} of them, and not {}", rows(cx, front), cx.show_shape(&wanted));
        let d = Diagnostic::new(types::SHAPES_DISAGREE, message, at.span, format!("has {}", cx.show_shape(&wanted)))
            .label(x.span, format!("has {}", cx.show_shape(&shape)))
            .help("`take(x, at, axis: n)` takes the same places of every row");
        return Err(cx.report(d));
    }
    let places = cx.reshaped(&places, front, span);
    let result = one(cx, Routine::TakeAlong, &[&t, &places], &t.degree, span)?;
    Ok(Value::Tensor(cx.reshaped(&result, &wanted, span)))
}

fn rows(cx: &Cx, front: &[u64]) -> String {
    if front.is_empty() { "one".into() } else { cx.show_shape(front) }
}

/// `indices(mask, count:)`: the places where a mask holds, rising; the run stops if they are not `count`.
pub fn indices(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, arg) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    let mask = mask_or_places(cx, args.name, x)?;
    let shape = cx.shape(&mask);
    let &[n] = &*shape else {
        let message = format!("`indices` takes a mask with one axis, and this has {}", cx.show_shape(&shape));
        let d = Diagnostic::new(codes::BAD_SHAPE, message, x.span, format!("has {}", cx.show_shape(&shape)))
            .help("`flatten(mask)` makes one axis of all entries");
        return Err(cx.report(d));
    };
    let count = int(cx, args.name, arg)?;
    let Some(count) = u64::try_from(count).ok().filter(|c| (1..=n).contains(c)) else {
        let message = format!("a mask of {n} entries holds at 1 to {n} places, and `count` is {count}");
        let d = Diagnostic::new(codes::OUTSIDE_DOMAIN, message, arg.span, format!("{count}"))
            .label(x.span, format!("has {}", cx.show_shape(&shape)))
            .help("`count:` states how many entries of the mask are not 0, since shapes are known before anything is read");
        return Err(cx.report(d));
    };
    let degree = Degree::function_of(args.name, [&mask.degree], span);
    one(cx, Routine::Indices { count }, &[&mask], &degree, span).map(Value::Tensor)
}

/// `unpack(mask, values)`: the values in turn where the mask is not 0, else 0, in the shape of the mask.
pub fn unpack(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, v) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    let (mask, values) = (mask_or_places(cx, args.name, x)?, tensor(cx, args.name, v)?);
    let (shape, packed) = (cx.shape(&mask), cx.shape(&values));
    let entries: u64 = shape.iter().product();
    match *packed {
        [n] if n <= entries => {}
        [n] => {
            let (n, entries) = (cx.show_length(n), cx.show_length(entries));
            let message = format!("`unpack` puts {n} values into a mask of {entries} entries");
            let d = Diagnostic::new(types::SHAPES_DISAGREE, message, v.span, format!("{n} values"))
                .label(x.span, format!("has {}", cx.show_shape(&shape)))
                .help("there are as many values as entries of the mask that are not 0");
            return Err(cx.report(d));
        }
        _ => {
            let message = format!("`unpack` takes values packed along one axis, and these have {}", cx.show_shape(&packed));
            let d = Diagnostic::new(codes::BAD_SHAPE, message, v.span, format!("has {}", cx.show_shape(&packed)))
                .help("values in the shape of the mask need no unpacking: `where(mask, x, 0)`");
            return Err(cx.report(d));
        }
    }
    // Linear in the values, which the mask picks places for.
    let degree = Degree::function_of(args.name, [&values.degree], span);
    one(cx, Routine::Unpack, &[&mask, &values], &degree, span).map(Value::Tensor)
}
