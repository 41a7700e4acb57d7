//! Functions of single entries: one-argument functions, `pow`, `where`, `lerp`, `clamp`, and `min` and `max` of two.
//!
//! Ints that are known stay known. The operators of the language are next door, in `elaborate`.

use super::support::{Made, constant, mask_or_places, need, op, tensor, wrong_kind};
use crate::codes::{primitives as codes, types};
use crate::degree::Degree;
use crate::elaborate::Cx;
use crate::hir::BinaryOp;
use crate::value::{Args, Argument, Reported, TensorVal, Value};
use merge_abi::{BinaryFn, UnaryFn};
use merge_base::{Diagnostic, Span};

type Answer = Result<Value, Reported>;

/// A function of one value.
pub fn unary(cx: &mut Cx, f: UnaryFn, args: &Args, span: Span) -> Answer {
    let arg = need(cx, args, 0, span)?;
    match (&arg.value, f) {
        (Value::Int(n), UnaryFn::Abs) => {
            return n.checked_abs().map(Value::Int).ok_or_else(|| too_large(cx, args.name, span));
        }
        (Value::Int(n), UnaryFn::Sign) => return Ok(Value::Int(n.signum())),
        (Value::Int(_), UnaryFn::Floor | UnaryFn::Ceil | UnaryFn::Round | UnaryFn::Trunc) => return Ok(arg.value.clone()),
        _ => {}
    }
    let t = tensor(cx, args.name, arg)?;
    if let Some(v) = constant(cx, &t) {
        let outside = match f {
            UnaryFn::Sqrt => v < 0.0,
            UnaryFn::Log | UnaryFn::Log2 => v <= 0.0,
            UnaryFn::Asin | UnaryFn::Acos => !(-1.0..=1.0).contains(&v),
            _ => false,
        };
        if outside {
            let message = format!("`{}` of {v} is not a finite number", args.name);
            let d = Diagnostic::new(codes::OUTSIDE_DOMAIN, message, arg.span, format!("{v}"))
                .help("`clamp(x, low, high)` holds a value within a range, `max(x, low)` above a bound");
            return Err(cx.report(d));
        }
    }
    Ok(Value::Tensor(apply(cx, f, &t, span)))
}

/// A function of one tensor; not for `Neg`, which is an operator.
pub fn apply(cx: &mut Cx, f: UnaryFn, t: &TensorVal, span: Span) -> TensorVal {
    let degree = Degree::function_of(f.name(), [&t.degree], span);
    cx.unary(f, t, degree, span)
}

fn too_large(cx: &mut Cx, who: &str, span: Span) -> Reported {
    let d = Diagnostic::new(types::INT_ARITHMETIC, format!("`{who}` of these ints does not fit 64 bits"), span, "")
        .help("write a point for a number of any size: `2.0`");
    cx.report(d)
}

/// `pow(x, y)`.
pub fn pow(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, y) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    if let (Value::Int(a), Value::Int(b)) = (&x.value, &y.value)
        && let Ok(power) = u32::try_from(*b)
    {
        return a.checked_pow(power).map(Value::Int).ok_or_else(|| too_large(cx, args.name, span));
    }
    let (a, b) = (tensor(cx, args.name, x)?, tensor(cx, args.name, y)?);
    let degree = Degree::function_of("pow", [&a.degree, &b.degree], span);
    cx.binary(BinaryFn::Pow, (&a, x.span), (&b, y.span), degree, span).map(Value::Tensor)
}

/// `min` or `max` of two: the common degree.
pub fn extreme(cx: &mut Cx, f: BinaryFn, who: &str, x: &Argument, y: &Argument, span: Span) -> Answer {
    if let (Value::Int(a), Value::Int(b)) = (&x.value, &y.value) {
        return Ok(Value::Int(if f == BinaryFn::Min { *a.min(b) } else { *a.max(b) }));
    }
    let (a, b) = (tensor(cx, who, x)?, tensor(cx, who, y)?);
    extreme_of(cx, f, (&a, x.span), (&b, y.span), span).map(Value::Tensor)
}

/// As [`extreme`], of tensors.
pub fn extreme_of(cx: &mut Cx, f: BinaryFn, a: (&TensorVal, Span), b: (&TensorVal, Span), span: Span) -> Made {
    let degree = Degree::join(&[(a.1, a.0.degree.clone()), (b.1, b.0.degree.clone())], span);
    cx.binary(f, a, b, degree, span)
}

/// `x` where `mask` is not 0, else `y`. The degree is the common one of `x` and `y`.
pub fn select(cx: &mut Cx, mask: (&TensorVal, Span), x: (&TensorVal, Span), y: (&TensorVal, Span), span: Span) -> Made {
    let degree = Degree::join(&[(x.1, x.0.degree.clone()), (y.1, y.0.degree.clone())], span);
    if let Some(m) = constant(cx, mask.0) {
        let chosen = if m != 0.0 { x.0 } else { y.0 };
        let shape = cx.broadcast(&[mask, x, y], span)?;
        if cx.shape(chosen) == shape {
            return Ok(TensorVal { degree, ..chosen.clone() });
        }
    }
    cx.select(mask, x, y, degree, span)
}

/// `where(mask, x, y)`.
pub fn where_(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (mask, x, y) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?, need(cx, args, 2, span)?);
    match (&mask.value, &x.value, &y.value) {
        (Value::Bool(m), Value::Int(_), Value::Int(_)) => return Ok(if *m { x.value.clone() } else { y.value.clone() }),
        (Value::Int(_), ..) => return Err(wrong_kind(cx, args.name, "takes a condition first, such as `x > 0`", mask)),
        _ => {}
    }
    let (m, a, b) = (mask_or_places(cx, args.name, mask)?, tensor(cx, args.name, x)?, tensor(cx, args.name, y)?);
    select(cx, (&m, mask.span), (&a, x.span), (&b, y.span), span).map(Value::Tensor)
}

/// `lerp(a, b, t)`: exactly `a` at 0, exactly `b` at 1, and `a` for every `t` where both are equal.
///
/// The two formulas are those of torch: `a + t (b - a)` below one half, `b - (1 - t) (b - a)` above.
pub fn lerp(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (a, b, t) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?, need(cx, args, 2, span)?);
    let (x, y, s) = (tensor(cx, args.name, a)?, tensor(cx, args.name, b)?, tensor(cx, args.name, t)?);
    cx.broadcast(&[(&x, a.span), (&y, b.span), (&s, t.span)], span)?;
    let degree = Degree::join(&[(a.span, x.degree.clone()), (b.span, y.degree.clone())], span);
    let (one, half) = (cx.number(1.0, span), cx.number(0.5, span));
    let low = op(cx, BinaryOp::Lt, (&s, span), (&half, span), span)?;
    let past = op(cx, BinaryOp::Sub, (&s, span), (&one, span), span)?;
    let start = select(cx, (&low, span), (&x, span), (&y, span), span)?;
    let step = select(cx, (&low, span), (&s, span), (&past, span), span)?;
    let way = op(cx, BinaryOp::Sub, (&y, span), (&x, span), span)?;
    let moved = op(cx, BinaryOp::Mul, (&step, span), (&way, span), span)?;
    let result = op(cx, BinaryOp::Add, (&start, span), (&moved, span), span)?;
    Ok(Value::Tensor(TensorVal { degree, ..result }))
}

/// `clamp(x, low, high)`; NaN stays NaN.
pub fn clamp(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, low, high) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?, need(cx, args, 2, span)?);
    if let (Value::Int(v), Value::Int(l), Value::Int(h)) = (&x.value, &low.value, &high.value)
        && l <= h
    {
        return Ok(Value::Int(*v.clamp(l, h)));
    }
    let (v, l, h) = (tensor(cx, args.name, x)?, tensor(cx, args.name, low)?, tensor(cx, args.name, high)?);
    if let (Some(a), Some(b)) = (constant(cx, &l), constant(cx, &h))
        && a > b
    {
        let message = format!("`clamp` between {a} and {b}: the lower bound is above the upper");
        let d = Diagnostic::new(codes::OUTSIDE_DOMAIN, message, high.span, format!("below {a}"))
            .label(low.span, format!("above {b}"))
            .help(format!("`clamp(x, {b}, {a})`"));
        return Err(cx.report(d));
    }
    let degree = Degree::function_of("clamp", [&v.degree, &l.degree, &h.degree], span);
    let above = cx.binary(BinaryFn::Max, (&v, x.span), (&l, low.span), degree.clone(), span)?;
    cx.binary(BinaryFn::Min, (&above, x.span), (&h, high.span), degree, span).map(Value::Tensor)
}
