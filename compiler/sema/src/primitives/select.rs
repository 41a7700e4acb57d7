//! Selection: the largest entries, single order statistics, places in the order.
//!
//! Of equal entries those with the lowest index come first; NaN counts as the largest. `k` may be a launch
//! scalar: the kernels round it down and hold it within the number of entries.

use super::elementwise::{apply, select};
use super::support::{Along, Made, boolean, constant, given, need, op, over, scalar, tensor, within, word};
use crate::codes::primitives as codes;
use crate::degree::Degree;
use crate::elaborate::Cx;
use crate::hir::BinaryOp;
use crate::value::{Args, Reported, TensorVal, Value};
use merge_abi::UnaryFn;
use merge_base::{Diagnostic, Span};
use merge_ir::tir::Op;

type Answer = Result<Value, Reported>;

/// The k-th largest entry of all, or of each row.
fn kth_of(cx: &mut Cx, t: &TensorVal, k: &TensorVal, over: Along, degree: Degree, span: Span) -> Made {
    if cx.is_scalar(t) {
        return Ok(TensorVal { degree, ..t.clone() });
    }
    over.apply(cx, t, span, |cx, t| {
        let shape = Cx::reduced(&cx.shape(t), over.over);
        Ok(TensorVal::new(cx.graph.add(Op::Kth { input: t.node, k: k.node, over: over.over }, shape, span), degree))
    })
}

/// `keep_top(x, density, tied:, over:)`: the `floor(density * n)` entries of largest magnitude.
pub fn keep_top(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, density) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    let t = tensor(cx, args.name, x)?;
    let d = scalar(cx, args.name, density)?;
    within(cx, args.name, "the density", &d, 0.0, 1.0, density.span)?;
    let tied = word(cx, args, 2, &["first", "all"])?;
    let shape = cx.shape(&t);
    let over = over(cx, args, 3, shape.len())?;
    let degree = Degree::function_of(args.name, [&t.degree, &d.degree], span);
    let n = over.entries(&cx.shape(&t));
    // Everything is kept, whichever entries are the largest.
    if n == 0 || constant(cx, &d) == Some(1.0) {
        return Ok(Value::Tensor(TensorVal { degree, ..t }));
    }
    if shape.is_empty() {
        // One entry is kept only by the density 1.
        let one = cx.number(1.0, span);
        let whole = op(cx, BinaryOp::Ge, (&d, density.span), (&one, span), span)?;
        let zero = cx.number(0.0, span);
        let kept = select(cx, (&whole, span), (&t, x.span), (&zero, span), span)?;
        return Ok(Value::Tensor(TensorVal { degree, ..kept }));
    }
    let (count, zero) = (cx.number(n as f64, span), cx.number(0.0, span));
    let k = op(cx, BinaryOp::Mul, (&d, density.span), (&count, span), span)?;
    let size = apply(cx, UnaryFn::Abs, &t, span);
    if tied == "first" {
        let mask = over.apply(cx, &size, span, |cx, t| {
            let op = Op::TopMask { input: t.node, k: k.node, over: over.over };
            Ok(TensorVal::new(cx.graph.add(op, cx.shape(t), span), Degree::delta()))
        })?;
        return cx.select((&mask, span), (&t, x.span), (&zero, span), degree, span).map(Value::Tensor);
    }
    // The threshold of k = 0 is infinite. Not below rather than at least, so that NaN is kept.
    let one = cx.number(1.0, span);
    let some = op(cx, BinaryOp::Ge, (&k, span), (&one, span), span)?;
    let least = kth_of(cx, &size, &k, over, degree.clone(), span)?;
    let never = cx.number(f64::INFINITY, span);
    let threshold = cx.select((&some, span), (&least, span), (&never, span), degree.clone(), span)?;
    let below = op(cx, BinaryOp::Lt, (&size, span), (&threshold, span), span)?;
    cx.select((&below, span), (&zero, span), (&t, x.span), degree, span).map(Value::Tensor)
}

/// `kth(x, k, over:)`: the k-th largest, counted from 1.
pub fn kth(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, k) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    let t = tensor(cx, args.name, x)?;
    let over = over(cx, args, 2, cx.shape(&t).len())?;
    let n = over.entries(&cx.shape(&t));
    let k_value = scalar(cx, args.name, k)?;
    if let Some(v) = cx.launch_value(&k_value)
        && (v < 1.0 || v >= n as f64 + 1.0)
    {
        let message = format!("`kth` counts from 1 to the number of entries, here {n}; this is {v}");
        let d = Diagnostic::new(codes::OUTSIDE_DOMAIN, message, k.span, format!("{v}"))
            .help("1 is the largest; `quantile(x, q)` picks by a fraction instead");
        return Err(cx.report(d));
    }
    let degree = Degree::function_of(args.name, [&t.degree, &k_value.degree], span);
    kth_of(cx, &t, &k_value, over, degree, span).map(Value::Tensor)
}

/// `quantile(x, q, rule:, over:)`, by numpy's rules: position `q (n - 1)` in ascending order, and
/// between two entries `linear` (the default), `lower`, `higher`, `nearest` or `midpoint`.
pub fn quantile(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, q) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    let t = tensor(cx, args.name, x)?;
    let fraction = scalar(cx, args.name, q)?;
    within(cx, args.name, "the fraction `q`", &fraction, 0.0, 1.0, q.span)?;
    let rule = word(cx, args, 2, &["linear", "lower", "higher", "nearest", "midpoint"])?;
    let over = over(cx, args, 3, cx.shape(&t).len())?;
    let n = over.entries(&cx.shape(&t));
    if n == 0 {
        return Err(cx.error(codes::BAD_SHAPE, "`quantile` of a tensor without entries", x.span, "has no entries"));
    }
    let degree = Degree::function_of(args.name, [&t.degree, &fraction.degree], span);
    let last = cx.number((n - 1) as f64, span);
    let place = op(cx, BinaryOp::Mul, (&fraction, q.span), (&last, span), span)?;
    let at = |cx: &mut Cx, rounding: UnaryFn| -> Made {
        // Ascending place i is the (n - i)-th largest.
        let i = apply(cx, rounding, &place, span);
        let n = cx.number(n as f64, span);
        let k = op(cx, BinaryOp::Sub, (&n, span), (&i, span), span)?;
        kth_of(cx, &t, &k, over, degree.clone(), span)
    };
    let result = match rule {
        "lower" => at(cx, UnaryFn::Floor)?,
        "higher" => at(cx, UnaryFn::Ceil)?,
        "nearest" => at(cx, UnaryFn::Round)?,
        // At a whole place there is nothing to mix.
        _ if constant(cx, &place).is_some_and(|p| p.fract() == 0.0) => at(cx, UnaryFn::Floor)?,
        rule => {
            let (low, high) = (at(cx, UnaryFn::Floor)?, at(cx, UnaryFn::Ceil)?);
            let part = if rule == "midpoint" {
                cx.number(0.5, span)
            } else {
                let floor = apply(cx, UnaryFn::Floor, &place, span);
                op(cx, BinaryOp::Sub, (&place, span), (&floor, span), span)?
            };
            let gap = op(cx, BinaryOp::Sub, (&high, span), (&low, span), span)?;
            let step = op(cx, BinaryOp::Mul, (&part, span), (&gap, span), span)?;
            op(cx, BinaryOp::Add, (&low, span), (&step, span), span)?
        }
    };
    Ok(Value::Tensor(TensorVal { degree, ..result }))
}

/// `rank(x, largest_first:, over:)`: each entry's place in ascending (or descending) order, from 0.
pub fn rank(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let t = tensor(cx, args.name, x)?;
    let descending = match given(args, 1)? {
        Some(arg) => boolean(cx, args.name, arg)?,
        None => false,
    };
    let shape = cx.shape(&t);
    let over = over(cx, args, 2, shape.len())?;
    let degree = Degree::function_of(args.name, [&t.degree], span);
    if shape.is_empty() {
        return Ok(Value::Tensor(TensorVal { degree, ..cx.number(0.0, span) }));
    }
    let input = if descending { t.node } else { cx.unary(UnaryFn::Neg, &t, degree.clone(), span).node };
    let input = TensorVal::new(input, degree.clone());
    let ranked = over.apply(cx, &input, span, |cx, t| {
        Ok(TensorVal::new(cx.graph.add(Op::Rank { input: t.node, over: over.over }, cx.shape(t), span), degree))
    });
    ranked.map(Value::Tensor)
}
