//! Reductions: of a list across its members, entry by entry; of a tensor, to a number or along its rows.
//!
//! A list is summed from the left, so the order of rounding is that of the list. Variances divide by n.

use super::elementwise::{apply, extreme, extreme_of, select};
use super::support::{Along, Made, empty_list, given, list, need, not_there, op, over, tensor, wrong_kind};
use crate::codes::primitives as codes;
use crate::degree::Degree;
use crate::elaborate::Cx;
use crate::hir::BinaryOp;
use crate::value::{Args, Argument, Reported, TensorVal, Value};
use merge_abi::{BinaryFn, ReduceFn, UnaryFn};
use merge_base::{Diagnostic, Span};
use std::rc::Rc;

type Answer = Result<Value, Reported>;

/// `sum(x, over:)`.
pub fn sum(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    if let Some(members) = members(cx, args, x, 1)? {
        if members.iter().all(|m| matches!(m, Value::Int(_) | Value::Bool(_))) {
            return sum_of_ints(cx, args.name, &members, span);
        }
        let tensors = tensors(cx, args.name, x, &members)?;
        return sum_of(cx, &tensors, span).map(Value::Tensor);
    }
    let t = tensor(cx, args.name, x)?;
    let over = over(cx, args, 1, cx.shape(&t).len())?;
    total(cx, args.name, ReduceFn::Sum, &t, over, span).map(Value::Tensor)
}

/// `mean(x, weight:, over:)`. Of a list: the common degree of its members, whatever the weights.
pub fn mean(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let weight = given(args, 1)?;
    let Some(members) = members(cx, args, x, 2)? else {
        if let Some(weight) = weight {
            let help = "`sum(w * x) / sum(w)` weights the entries of a tensor";
            return Err(not_there(cx, "`weight:` for the entries of a tensor is not there yet", weight.span, help));
        }
        let t = tensor(cx, args.name, x)?;
        let over = over(cx, args, 2, cx.shape(&t).len())?;
        let n = over.entries(&cx.shape(&t));
        let sum = total(cx, args.name, ReduceFn::Sum, &t, over, span)?;
        return divide(cx, &sum, n, span).map(Value::Tensor);
    };
    let tensors = tensors(cx, args.name, x, &members)?;
    let degree = common(&tensors, span);
    let result = match weight {
        None => {
            let sum = sum_of(cx, &tensors, span)?;
            divide(cx, &sum, tensors.len() as u64, span)?
        }
        Some(weight) => weighted(cx, args, &tensors, weight, span)?,
    };
    Ok(Value::Tensor(TensorVal { degree, ..result }))
}

/// `sum(w x) / sum(w)` over a list.
fn weighted(cx: &mut Cx, args: &Args, members: &[(TensorVal, Span)], weight: &Argument, span: Span) -> Made {
    let weights = list(cx, args.name, weight)?;
    if weights.len() != members.len() {
        let message = format!("`mean` of {} members with {} weights", members.len(), weights.len());
        let d = Diagnostic::new(codes::BAD_LIST, message, weight.span, format!("{} weights", weights.len()))
            .help("give one weight for each member");
        return Err(cx.report(d));
    }
    let weights = tensors(cx, args.name, weight, &weights)?;
    let mut parts = Vec::with_capacity(members.len());
    for ((x, x_span), (w, w_span)) in members.iter().zip(&weights) {
        parts.push((op(cx, BinaryOp::Mul, (w, *w_span), (x, *x_span), span)?, *x_span));
    }
    let sum = sum_of(cx, &parts, span)?;
    let by = sum_of(cx, &weights, span)?;
    if cx.launch_value(&by) == Some(0.0) {
        let d = Diagnostic::new(codes::OUTSIDE_DOMAIN, "the weights of this `mean` add up to 0", weight.span, "add up to 0")
            .help("a mean divides by the sum of its weights; for a plain sum write `sum([w * m for (w, m) in zip(ws, ms)])`");
        return Err(cx.report(d));
    }
    op(cx, BinaryOp::Div, (&sum, span), (&by, weight.span), span)
}

/// `var(x, over:)`: the mean of the squared distances from the mean.
pub fn var(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    if let Some(members) = members(cx, args, x, 1)? {
        let tensors = tensors(cx, args.name, x, &members)?;
        let n = tensors.len() as u64;
        let sum = sum_of(cx, &tensors, span)?;
        let middle = divide(cx, &sum, n, span)?;
        let mut squares = Vec::with_capacity(tensors.len());
        for (t, at) in &tensors {
            let d = op(cx, BinaryOp::Sub, (t, *at), (&middle, span), span)?;
            squares.push((op(cx, BinaryOp::Mul, (&d, *at), (&d, *at), span)?, *at));
        }
        let degree = Degree::function_of("var", tensors.iter().map(|t| &t.0.degree), span);
        let sum = sum_of(cx, &squares, span)?;
        let result = divide(cx, &sum, n, span)?;
        return Ok(Value::Tensor(TensorVal { degree, ..result }));
    }
    let t = tensor(cx, args.name, x)?;
    let over = over(cx, args, 1, cx.shape(&t).len())?;
    let n = over.entries(&cx.shape(&t));
    let sum = total(cx, args.name, ReduceFn::Sum, &t, over, span)?;
    let middle = divide(cx, &sum, n, span)?;
    let d = op(cx, BinaryOp::Sub, (&t, x.span), (&middle, span), span)?;
    let square = op(cx, BinaryOp::Mul, (&d, span), (&d, span), span)?;
    let sum = total(cx, args.name, ReduceFn::Sum, &square, over, span)?;
    let result = divide(cx, &sum, n, span)?;
    let degree = Degree::function_of("var", [&t.degree], span);
    Ok(Value::Tensor(TensorVal { degree, ..result }))
}

/// `min` and `max`: of two values, of a list, or of a tensor's entries.
pub fn min_max(cx: &mut Cx, f: BinaryFn, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    if let Some(y) = given(args, 1)? {
        if let Some(over) = given(args, 2)? {
            let message = format!("`{}` of two values compares them entry by entry; `over:` has no meaning there", args.name);
            return Err(cx.error(crate::codes::types::WRONG_ARGUMENTS, message, over.span, "leave this out"));
        }
        return extreme(cx, f, args.name, x, y, span);
    }
    if let Some(members) = members(cx, args, x, 2)? {
        if members.iter().all(|m| matches!(m, Value::Int(_))) {
            let ints = members.iter().filter_map(|m| if let Value::Int(n) = m { Some(*n) } else { None });
            let best = if f == BinaryFn::Min { ints.min() } else { ints.max() };
            return best.map(Value::Int).ok_or(Reported);
        }
        let tensors = tensors(cx, args.name, x, &members)?;
        let degree = common(&tensors, span);
        let mut rest = tensors.into_iter();
        let Some(mut best) = rest.next() else { return Err(Reported) };
        for next in rest {
            best = (extreme_of(cx, f, (&best.0, best.1), (&next.0, next.1), span)?, next.1);
        }
        return Ok(Value::Tensor(TensorVal { degree, ..best.0 }));
    }
    let t = tensor(cx, args.name, x)?;
    let shape = cx.shape(&t);
    let over = over(cx, args, 2, shape.len())?;
    if over.entries(&shape) == 0 {
        let message = format!("`{}` of a tensor without entries", args.name);
        return Err(cx.error(codes::BAD_SHAPE, message, x.span, "has no entries"));
    }
    let reduce = if f == BinaryFn::Min { ReduceFn::Min } else { ReduceFn::Max };
    total(cx, args.name, reduce, &t, over, span).map(Value::Tensor)
}

/// `norm(x, over:)`, Euclidean.
pub fn norm(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let t = tensor(cx, args.name, x)?;
    let over = over(cx, args, 1, cx.shape(&t).len())?;
    norm_of(cx, &t, over, span).map(Value::Tensor)
}

fn norm_of(cx: &mut Cx, t: &TensorVal, over: Along, span: Span) -> Made {
    let square = op(cx, BinaryOp::Mul, (t, span), (t, span), span)?;
    let degree = Degree::function_of("norm", [&t.degree], span);
    let sum = total(cx, "norm", ReduceFn::Sum, &square, over, span)?;
    Ok(TensorVal { degree, ..apply(cx, UnaryFn::Sqrt, &sum, span) })
}

/// `dot(x, y, over:)`.
pub fn dot(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (a, b, over) = two(cx, args, span)?;
    dot_of(cx, args.name, &a, &b, over, span).map(Value::Tensor)
}

fn dot_of(cx: &mut Cx, who: &'static str, a: &(TensorVal, Span), b: &(TensorVal, Span), over: Along, span: Span) -> Made {
    let degree = Degree::function_of(who, [&a.0.degree, &b.0.degree], span);
    let product = op(cx, BinaryOp::Mul, (&a.0, a.1), (&b.0, b.1), span)?;
    Ok(TensorVal { degree, ..total(cx, who, ReduceFn::Sum, &product, over, span)? })
}

/// `cosine(x, y, over:)`; 0 where one of the two is all zeros, which has no direction.
pub fn cosine(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (a, b, over) = two(cx, args, span)?;
    let dot = dot_of(cx, args.name, &a, &b, over, span)?;
    let (x, y) = (norm_of(cx, &a.0, over, span)?, norm_of(cx, &b.0, over, span)?);
    let size = op(cx, BinaryOp::Mul, (&x, span), (&y, span), span)?;
    let zero = cx.number(0.0, span);
    let flat = op(cx, BinaryOp::Eq, (&size, span), (&zero, span), span)?;
    let quotient = op(cx, BinaryOp::Div, (&dot, span), (&size, span), span)?;
    let result = select(cx, (&flat, span), (&zero, span), (&quotient, span), span)?;
    let degree = Degree::function_of(args.name, [&a.0.degree, &b.0.degree], span);
    Ok(Value::Tensor(TensorVal { degree, ..result }))
}

type Two = ((TensorVal, Span), (TensorVal, Span), Along);

/// Two tensors of one shape, and what to range over.
fn two(cx: &mut Cx, args: &Args, span: Span) -> Result<Two, Reported> {
    let (a, b) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    let (x, y) = (tensor(cx, args.name, a)?, tensor(cx, args.name, b)?);
    if cx.shape(&x) != cx.shape(&y) {
        return Err(cx.shapes_disagree(&[(&x, a.span), (&y, b.span)], span));
    }
    let over = over(cx, args, 2, cx.shape(&x).len())?;
    Ok(((x, a.span), (y, b.span), over))
}

/// `count(x, over:)`: how many are not 0.
pub fn count(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    if let Value::List(l) = &x.value
        && l.iter().all(|m| matches!(m, Value::Int(_) | Value::Bool(_)))
    {
        let n = l.iter().filter(|m| !matches!(m, Value::Int(0) | Value::Bool(false))).count();
        return Ok(Value::Int(n as i64));
    }
    if let Some(members) = members(cx, args, x, 1)? {
        let mut masks = Vec::with_capacity(members.len());
        for (t, at) in tensors(cx, args.name, x, &members)? {
            masks.push((not_zero(cx, &t, at, span)?, at));
        }
        return sum_of(cx, &masks, span).map(Value::Tensor);
    }
    let t = tensor(cx, args.name, x)?;
    let over = over(cx, args, 1, cx.shape(&t).len())?;
    let mask = not_zero(cx, &t, x.span, span)?;
    let degree = Degree::function_of(args.name, [&t.degree], span);
    Ok(Value::Tensor(TensorVal { degree, ..total(cx, args.name, ReduceFn::Sum, &mask, over, span)? }))
}

fn not_zero(cx: &mut Cx, t: &TensorVal, at: Span, span: Span) -> Made {
    let zero = cx.number(0.0, span);
    op(cx, BinaryOp::Ne, (t, at), (&zero, span), span)
}

/// The members, if the argument is a list; an empty one is refused, and so is `over:` beside a list.
fn members(cx: &mut Cx, args: &Args, x: &Argument, over: usize) -> Result<Option<Rc<[Value]>>, Reported> {
    if !matches!(x.value, Value::List(_) | Value::Range(_)) {
        return Ok(None);
    }
    let members = list(cx, args.name, x)?;
    if members.is_empty() {
        return Err(empty_list(cx, args.name, x.span));
    }
    if let Some(over) = given(args, over)? {
        let message = format!("`{}` of a list goes across its members; `over:` is for a tensor", args.name);
        let d = Diagnostic::new(crate::codes::types::WRONG_ARGUMENTS, message, over.span, "leave this out")
            .help(format!("for the entries of each member: `[{}(x, over: ..) for x in list]`", args.name));
        return Err(cx.report(d));
    }
    Ok(Some(members))
}

/// The members as tensors, each with its place.
fn tensors(cx: &mut Cx, who: &str, arg: &Argument, members: &[Value]) -> Result<Vec<(TensorVal, Span)>, Reported> {
    let mut all = Vec::with_capacity(members.len());
    for (k, member) in members.iter().enumerate() {
        let at = arg.part(k);
        all.push(match member {
            Value::Int(_) | Value::Bool(_) | Value::Tensor(_) => {
                (tensor(cx, who, &Argument { value: member.clone(), span: at, parts: None })?, at)
            }
            Value::Poison => return Err(Reported),
            other => {
                let one = Argument { value: other.clone(), span: at, parts: None };
                return Err(wrong_kind(cx, who, "takes a list of tensors or numbers", &one));
            }
        });
    }
    Ok(all)
}

/// The sum from the left.
fn sum_of(cx: &mut Cx, members: &[(TensorVal, Span)], span: Span) -> Made {
    let Some(((first, first_span), rest)) = members.split_first().map(|(f, r)| ((&f.0, f.1), r)) else { return Err(Reported) };
    let (mut sum, mut at) = (first.clone(), first_span);
    for (next, next_span) in rest {
        sum = op(cx, BinaryOp::Add, (&sum, at), (next, *next_span), span)?;
        at = *next_span;
    }
    Ok(sum)
}

fn sum_of_ints(cx: &mut Cx, who: &str, members: &[Value], span: Span) -> Answer {
    let ints = members.iter().map(|m| match m {
        Value::Int(n) => *n,
        Value::Bool(b) => i64::from(*b),
        _ => 0,
    });
    match ints.into_iter().try_fold(0i64, i64::checked_add) {
        Some(n) => Ok(Value::Int(n)),
        None => {
            Err(cx.error(crate::codes::types::INT_ARITHMETIC, format!("`{who}` of these ints does not fit 64 bits"), span, ""))
        }
    }
}

fn common(members: &[(TensorVal, Span)], span: Span) -> Degree {
    let degrees: Vec<(Span, Degree)> = members.iter().map(|(t, at)| (*at, t.degree.clone())).collect();
    Degree::join(&degrees, span)
}

fn total(cx: &mut Cx, who: &'static str, f: ReduceFn, t: &TensorVal, over: Along, span: Span) -> Made {
    let degree = Degree::function_of(who, [&t.degree], span);
    // A number is its own sum, least and greatest.
    if cx.is_scalar(t) {
        return Ok(TensorVal { degree, ..t.clone() });
    }
    over.apply(cx, t, span, |cx, t| Ok(cx.reduce(f, over.over, t, degree, span)))
}

fn divide(cx: &mut Cx, t: &TensorVal, n: u64, span: Span) -> Made {
    if n == 1 {
        return Ok(t.clone());
    }
    let n = cx.number(n as f64, span);
    op(cx, BinaryOp::Div, (t, span), (&n, span), span)
}
