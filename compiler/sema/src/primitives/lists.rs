//! Lists and ints, which are all known when the recipe is compiled: `len zip enumerate pairs shuffle replace div
//! mod ramp`.

use super::support::{empty_list, int, list, need, op, scalar, seeded, wrong_kind};
use crate::codes::{primitives as codes, types};
use crate::degree::Frac;
use crate::elaborate::Cx;
use crate::hir::BinaryOp;
use crate::value::{Args, Argument, Reported, Value};
use merge_base::{Diagnostic, Span};
use std::rc::Rc;

type Answer = Result<Value, Reported>;

/// `len(list)`.
pub fn len(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    // Faulty members do not change the length.
    match args.get(0).map(|a| &a.value) {
        Some(Value::List(l)) => return Ok(Value::Int(l.len() as i64)),
        Some(Value::Str(s)) => return Ok(Value::Int(s.chars().count() as i64)),
        _ => {}
    }
    let arg = need(cx, args, 0, span)?;
    Ok(Value::Int(list(cx, args.name, arg)?.len() as i64))
}

/// `zip(a, b, c, d)`.
pub fn zip(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let mut lists: Vec<(Rc<[Value]>, Span)> = Vec::new();
    for index in 0..args.given.len() {
        let Some(arg) = args.get(index) else { continue };
        if matches!(arg.value, Value::Poison) {
            return Err(Reported);
        }
        lists.push((list(cx, args.name, arg)?, arg.span));
    }
    let Some((first, _)) = lists.first().cloned() else { return Err(Reported) };
    if lists.iter().any(|(l, _)| l.len() != first.len()) {
        let d =
            lists.iter().fold(Diagnostic::new(codes::BAD_LIST, "`zip` pairs lists of equal length", span, ""), |d, (l, at)| {
                d.label(*at, format!("{} member{}", l.len(), if l.len() == 1 { "" } else { "s" }))
            });
        return Err(cx.report(d.help("give every model its own weight; `[0.5 for m in models]` repeats a value")));
    }
    Ok(Value::List((0..first.len()).map(|k| Value::Tuple(lists.iter().map(|(l, _)| l[k].clone()).collect())).collect()))
}

/// `enumerate(list)`.
pub fn enumerate(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let members = whole_list(cx, args, span)?;
    let pairs = members.iter().enumerate().map(|(k, v)| Value::Tuple(Rc::from([Value::Int(k as i64), v.clone()])));
    Ok(Value::List(pairs.collect()))
}

/// `pairs(list)`: (0, 1), (0, 2), .. (1, 2), ..
pub fn pairs(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let members = whole_list(cx, args, span)?;
    if members.len() > 1000 {
        let message = format!("`pairs` of {} members makes over a million pairs", members.len());
        return Err(cx.error(codes::BAD_LIST, message, span, ""));
    }
    let mut all = Vec::new();
    for (k, a) in members.iter().enumerate() {
        all.extend(members[k + 1..].iter().map(|b| Value::Tuple(Rc::from([a.clone(), b.clone()]))));
    }
    Ok(Value::List(all.into()))
}

/// `shuffle(list, seed:)`: in an order drawn by the seed as the recipe is compiled, by Fisher and Yates' method with
/// the random numbers of the language. The seed of a run comes too late to reach it.
pub fn shuffle(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let mut members = whole_list(cx, args, span)?.to_vec();
    let key = seeded(cx, args, 1)?.keyed(0);
    for last in (1..members.len()).rev() {
        let other = merge_ir::kir::uniform(key, last as u64) * (last + 1) as f32;
        members.swap(last, (other as usize).min(last));
    }
    Ok(Value::List(members.into()))
}

/// `replace(list, at, value)`.
pub fn replace(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let mut members = whole_list(cx, args, span)?.to_vec();
    let (at, value) = (need(cx, args, 1, span)?, need(cx, args, 2, span)?);
    let place = int(cx, args.name, at)?;
    let count = members.len();
    let Some(member) = usize::try_from(place).ok().and_then(|p| members.get_mut(p)) else {
        let label = if count == 0 { "the list is empty".into() } else { format!("the last member is {}", count - 1) };
        return Err(cx.error(types::OUT_OF_RANGE, format!("no member {place} in a list of {count}"), at.span, label));
    };
    *member = value.value.clone();
    Ok(Value::List(members.into()))
}

/// The first argument as a list; members that failed stay in it.
fn whole_list(cx: &mut Cx, args: &Args, span: Span) -> Result<Rc<[Value]>, Reported> {
    if let Some(Value::List(l)) = args.get(0).map(|a| &a.value) {
        return Ok(l.clone());
    }
    let arg = need(cx, args, 0, span)?;
    list(cx, args.name, arg)
}

/// `div(a, b)` rounds down, `mod(a, b)` has the sign of `b`.
pub fn div_mod(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (a, b) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    let (x, y) = (int(cx, args.name, a)?, int(cx, args.name, b)?);
    let result = if args.name == "div" {
        x.checked_div(y).map(|q| if x % y != 0 && (x < 0) != (y < 0) { q - 1 } else { q })
    } else {
        x.checked_rem(y).map(|r| if r != 0 && (r < 0) != (y < 0) { r + y } else { r })
    };
    result.map(Value::Int).ok_or_else(|| {
        let (message, label) = if y == 0 { ("division by zero", "this is 0") } else { ("this int does not fit 64 bits", "") };
        cx.error(types::INT_ARITHMETIC, message, b.span, label)
    })
}

/// `ramp(values, at:, of:)`: piecewise linear through `values`, spread evenly over the places `0` to `of - 1`,
/// taken at place `at`. These are mergekit's gradients, `at` being the layer and `of` the number of layers.
pub fn ramp(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (values, at, of) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?, need(cx, args, 2, span)?);
    let Value::List(_) = values.value else { return Err(wrong_kind(cx, args.name, "takes a list of numbers", values)) };
    let points = list(cx, args.name, values)?;
    if points.is_empty() {
        return Err(empty_list(cx, args.name, values.span));
    }
    if points.len() == 1 {
        let d =
            Diagnostic::new(codes::BAD_LIST, "a ramp leads from one value to another, and here is one", values.span, "one value")
                .help("write the value itself, without `ramp`");
        return Err(cx.report(d));
    }
    let (place, count) = (int(cx, args.name, at)?, int(cx, args.name, of)?);
    if count < 1 {
        let d = Diagnostic::new(codes::OUTSIDE_DOMAIN, format!("a ramp over {count} places"), of.span, "below 1")
            .help("`of:` is the number of layers");
        return Err(cx.report(d));
    }
    if !(0..count).contains(&place) {
        let message = format!("place {place} lies outside a ramp over {count} places, 0 to {}", count - 1);
        let d = Diagnostic::new(codes::OUTSIDE_DOMAIN, message, at.span, format!("{place}"))
            .label(of.span, "of so many")
            .help("`of:` is the number of layers, and layers count from 0");
        return Err(cx.report(d));
    }
    let point = |cx: &mut Cx, k: usize| {
        let one = Argument { value: points[k].clone(), span: values.part(k), parts: None };
        scalar(cx, args.name, &one)
    };
    let (steps, last) = ((points.len() - 1) as i128, i128::from((count - 1).max(1)));
    let along = i128::from(place) * steps;
    let (k, rest) = ((along / last) as usize, along % last);
    if rest == 0 {
        return point(cx, k).map(Value::Tensor);
    }
    let (a, b) = (point(cx, k)?, point(cx, k + 1)?);
    // Exact as fractions, so that a ramp over settings still proves `w a + (1 - w) b` a weight.
    let part = exact(cx, rest, last, span);
    let other = exact(cx, last - rest, last, span);
    let left = op(cx, BinaryOp::Mul, (&other, span), (&a, span), span)?;
    let right = op(cx, BinaryOp::Mul, (&part, span), (&b, span), span)?;
    op(cx, BinaryOp::Add, (&left, span), (&right, span), span).map(Value::Tensor)
}

fn exact(cx: &mut Cx, num: i128, den: i128, span: Span) -> crate::value::TensorVal {
    let value = cx.number(num as f64 / den as f64, span);
    let frac = i64::try_from(num).ok().zip(i64::try_from(den).ok()).and_then(|(n, d)| Frac::int(n).div(&Frac::int(d)));
    if let Some(frac) = frac {
        cx.set_frac(&value, frac);
    }
    value
}
