//! Shapes and coordinates: `concat`, `reshape`, `transpose`, `unfold`, `flatten`, `diag`, `index`, `eye`, `iota`, `dim`,
//! `numel`, `tensor`.
//!
//! None of these moves an entry's value, so the degree stays. Slices are next door, in `elaborate`.

use super::support::{constant, describe, empty_list, given, int, list, movable, need, resolve_axis, tensor, wrong_kind};
use crate::codes::{primitives as codes, types};
use crate::degree::Degree;
use crate::elaborate::Cx;
use crate::value::{Args, Argument, Reported, TensorVal, Value};
use merge_abi::{BinaryFn, ReduceFn};
use merge_base::{Diagnostic, Span};
use merge_ir::tir::{Op, Over};
use std::rc::Rc;

type Answer = Result<Value, Reported>;

/// The largest tensor that may be written out in a recipe.
const MAX_LITERAL: usize = 1 << 20;

/// `concat(list, axis)`.
pub fn concat(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, axis) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    let members = list(cx, args.name, x)?;
    if members.is_empty() {
        return Err(empty_list(cx, args.name, x.span));
    }
    let mut parts = Vec::with_capacity(members.len());
    for (k, member) in members.iter().enumerate() {
        let one = Argument { value: member.clone(), span: x.part(k), parts: None };
        parts.push((movable(cx, args.name, &one)?, one.span));
    }
    // Ints stay among themselves.
    if parts.iter().any(|(t, _)| t.buffer != parts[0].0.buffer) {
        for (t, at) in &mut parts {
            *t = cx.float(t, *at)?;
        }
    }
    let axis_arg = int(cx, args.name, axis)?;
    let shape = cx.shape(&parts[0].0);
    let axis = resolve_axis(cx, args.name, axis_arg, shape.len(), axis.span)?;
    let mut joined = shape.to_vec();
    joined[axis] = 0;
    for (t, _) in &parts {
        let next = cx.shape(t);
        let fits = next.len() == shape.len() && next.iter().zip(shape.iter()).enumerate().all(|(k, (a, b))| k == axis || a == b);
        let length = if fits { joined[axis].checked_add(next[axis]) } else { None };
        let Some(length) = length else {
            let operands: Vec<(&TensorVal, Span)> = parts.iter().map(|(t, at)| (t, *at)).collect();
            return Err(cx.shapes_disagree(&operands, span));
        };
        joined[axis] = length;
    }
    let degrees: Vec<(Span, Degree)> = parts.iter().map(|(t, at)| (*at, t.degree.clone())).collect();
    let degree = Degree::join(&degrees, span);
    if parts.len() == 1 {
        return Ok(Value::Tensor(TensorVal { degree, ..parts[0].0.clone() }));
    }
    let inputs = parts.iter().map(|(t, _)| t.node).collect();
    let node = cx.graph.add(Op::Concat { axis: axis as u32, inputs }, joined.into(), span);
    Ok(Value::Tensor(TensorVal { buffer: parts[0].0.buffer, ..TensorVal::new(node, degree) }))
}

/// `reshape(x, dims)`.
pub fn reshape(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, dims) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    let t = movable(cx, args.name, x)?;
    let mut shape = Vec::new();
    for (k, dim) in list(cx, args.name, dims)?.iter().enumerate() {
        let one = Argument { value: dim.clone(), span: dims.part(k), parts: None };
        let n = int(cx, args.name, &one)?;
        let Ok(n) = u64::try_from(n) else {
            return Err(cx.error(codes::BAD_SHAPE, format!("an axis cannot have length {n}"), one.span, "below 0"));
        };
        shape.push(n);
    }
    let before = cx.shape(&t);
    let (have, want) = (before.iter().product::<u64>(), shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d)));
    if want != Some(have) {
        let message = match want {
            Some(want) => format!("{} has {have} entries, {} would have {want}", cx.show_shape(&before), cx.show_shape(&shape)),
            None => format!("{} is larger than any tensor", cx.show_shape(&shape)),
        };
        let d = Diagnostic::new(codes::BAD_SHAPE, message, dims.span, format!("for {have} entries"))
            .help("`reshape` keeps every entry; `numel(x)` is their number");
        return Err(cx.report(d));
    }
    Ok(Value::Tensor(cx.reshaped(&t, &shape, span)))
}

/// `transpose(x)`: the last two axes exchanged.
pub fn transpose(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let t = movable(cx, args.name, x)?;
    let shape = cx.shape(&t);
    if shape.len() < 2 {
        let message = format!("`transpose` exchanges the last two axes, and this has {}", cx.show_shape(&shape));
        let d = Diagnostic::new(codes::BAD_SHAPE, message, x.span, "fewer than two axes")
            .help("a rule can be for matrices only: `_[o, i] => ..`");
        return Err(cx.report(d));
    }
    Ok(Value::Tensor(flipped(cx, &t, span)))
}

/// The last two axes exchanged; for tensors that have them.
pub fn flipped(cx: &mut Cx, t: &TensorVal, span: Span) -> TensorVal {
    let rank = cx.shape(t).len();
    let mut perm: Vec<u32> = (0..rank as u32).collect();
    perm.swap(rank - 2, rank - 1);
    cx.transposed(t, &perm, span)
}

/// `unfold(x, axis)`: a matrix whose rows are the slices along an axis, in row-major order of the other axes.
pub fn unfold(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, axis) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    let t = movable(cx, args.name, x)?;
    let shape = cx.shape(&t);
    let n = int(cx, args.name, axis)?;
    let front = resolve_axis(cx, args.name, n, shape.len(), axis.span)?;
    let perm: Vec<u32> = std::iter::once(front).chain((0..shape.len()).filter(|a| *a != front)).map(|a| a as u32).collect();
    let turned = cx.transposed(&t, &perm, span);
    let rest = shape.iter().enumerate().filter(|(a, _)| *a != front).map(|(_, n)| n).product();
    Ok(Value::Tensor(cx.reshaped(&turned, &[shape[front], rest], span)))
}

/// `flatten(x)`: all entries along one axis, in row-major order.
pub fn flatten(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let t = movable(cx, args.name, x)?;
    let n = cx.shape(&t).iter().product();
    Ok(Value::Tensor(cx.reshaped(&t, &[n], span)))
}

/// `iota(n)`: the numbers 0 to n - 1.
pub fn iota(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let arg = need(cx, args, 0, span)?;
    let n = int(cx, args.name, arg)?;
    let Ok(n) = u64::try_from(n) else {
        return Err(cx.error(codes::BAD_SHAPE, format!("an axis cannot have length {n}"), arg.span, "below 0"));
    };
    Ok(Value::Tensor(TensorVal::new(cx.graph.add(Op::Coord { axis: 0 }, Rc::from([n]), span), Degree::delta())))
}

/// `index(x, axis)`: each entry's coordinate.
pub fn index(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let Value::Tensor(t) = &x.value else { return Err(wrong_kind(cx, args.name, "takes a tensor", x)) };
    let shape = cx.shape(t);
    let axis = match given(args, 1)? {
        Some(arg) => {
            let axis = int(cx, args.name, arg)?;
            resolve_axis(cx, args.name, axis, shape.len(), arg.span)?
        }
        None if shape.len() == 1 => 0,
        None => {
            let message = format!("`index` of {} needs `axis:`", describe(cx, &x.value));
            let d = Diagnostic::new(types::WRONG_ARGUMENTS, message, span, "")
                .help("`index(x, axis: 0)` numbers the rows of a matrix");
            return Err(cx.report(d));
        }
    };
    let node = cx.graph.add(Op::Coord { axis: axis as u32 }, shape, span);
    Ok(Value::Tensor(TensorVal::new(node, Degree::delta())))
}

/// `eye(n)`.
pub fn eye(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let arg = need(cx, args, 0, span)?;
    let n = int(cx, args.name, arg)?;
    let Some(n) = u64::try_from(n).ok().filter(|n| n.checked_mul(*n).is_some()) else {
        return Err(cx.error(codes::BAD_SHAPE, format!("there is no identity matrix of size {n}"), arg.span, ""));
    };
    Ok(Value::Tensor(on_diagonal(cx, n, n, span)))
}

/// 1 on the diagonal of an `m x n` matrix, else 0.
fn on_diagonal(cx: &mut Cx, m: u64, n: u64, span: Span) -> TensorVal {
    let shape: Rc<[u64]> = Rc::from([m, n]);
    let row = cx.graph.add(Op::Coord { axis: 0 }, shape.clone(), span);
    let col = cx.graph.add(Op::Coord { axis: 1 }, shape.clone(), span);
    TensorVal::new(cx.graph.add(Op::Binary(BinaryFn::Eq, row, col), shape, span), Degree::delta())
}

/// `diag(x)`: the diagonal matrix of a vector, or the diagonal of a matrix as a vector.
pub fn diag(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let t = tensor(cx, args.name, x)?;
    let zero = cx.number(0.0, span);
    match *cx.shape(&t) {
        [n] => {
            let degree = Degree::function_of(args.name, [&t.degree], span);
            let (mask, row) = (on_diagonal(cx, n, n, span), cx.reshaped(&t, &[1, n], span));
            cx.select((&mask, span), (&row, x.span), (&zero, span), degree, span).map(Value::Tensor)
        }
        [m, n] => {
            // Everything else is masked out, so that the sum of a row is its entry on the diagonal.
            let (mask, degree) = (on_diagonal(cx, m, n, span), t.degree.clone());
            let alone = cx.select((&mask, span), (&t, x.span), (&zero, span), degree.clone(), span)?;
            let sums = cx.reduce(ReduceFn::Sum, Over::Rows, &alone, degree.clone(), span);
            let column = cx.reshaped(&sums, &[m], span);
            if m <= n {
                return Ok(Value::Tensor(column));
            }
            let node = cx.graph.add(Op::Slice { input: column.node, start: Rc::from([0]) }, Rc::from([n]), span);
            Ok(Value::Tensor(TensorVal::new(node, degree)))
        }
        ref shape => {
            let message = format!("`diag` takes a vector or a matrix, and this has {}", cx.show_shape(shape));
            let d = Diagnostic::new(codes::BAD_SHAPE, message, x.span, "neither one nor two axes")
                .help("`flatten(x)` makes a vector of any tensor, `unfold(x, 0)` a matrix");
            Err(cx.report(d))
        }
    }
}

/// `dim(x, axis)`.
pub fn dim(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, axis) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    let Some(t) = cx.tensor_of_rule(&x.value) else { return Err(wrong_kind(cx, args.name, "takes a tensor", x)) };
    let t = t?;
    let shape = cx.shape(&t);
    let n = int(cx, args.name, axis)?;
    let k = resolve_axis(cx, args.name, n, shape.len(), axis.span)?;
    Ok(Value::Int(i64::try_from(shape[k]).unwrap_or(i64::MAX)))
}

/// `numel(x)`.
pub fn numel(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let Some(t) = cx.tensor_of_rule(&x.value) else { return Err(wrong_kind(cx, args.name, "takes a tensor", x)) };
    let t = t?;
    let n: u64 = cx.shape(&t).iter().product();
    Ok(Value::Int(i64::try_from(n).unwrap_or(i64::MAX)))
}

/// `tensor(values)`: nested lists of numbers, written out.
pub fn literal(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let values = need(cx, args, 0, span)?;
    let mut shape = Vec::new();
    let mut entries = Vec::new();
    collect(cx, &values.value, values.span, 0, &mut shape, &mut entries)?;
    if shape.is_empty() {
        return Ok(Value::Tensor(cx.number(entries.first().copied().unwrap_or(0.0), span)));
    }
    let bits: Rc<[u64]> = entries.iter().map(|v| v.to_bits()).collect();
    let node = cx.graph.add(Op::Literal(bits), shape.into(), span);
    Ok(Value::Tensor(TensorVal::new(node, Degree::delta())))
}

fn collect(
    cx: &mut Cx,
    value: &Value,
    span: Span,
    depth: usize,
    shape: &mut Vec<u64>,
    out: &mut Vec<f64>,
) -> Result<(), Reported> {
    let single = match value {
        Value::List(members) => {
            // The first list at each depth says how long all of them are.
            if out.is_empty() && shape.len() == depth {
                shape.push(members.len() as u64);
            }
            if shape.get(depth) != Some(&(members.len() as u64)) {
                let d = Diagnostic::new(codes::BAD_SHAPE, "the lists of this tensor differ in length or depth", span, "")
                    .help("a matrix is a list of rows of one length: `tensor([[1, 2], [3, 4]])`");
                return Err(cx.report(d));
            }
            for member in members.iter() {
                collect(cx, member, span, depth + 1, shape, out)?;
            }
            return Ok(());
        }
        Value::Int(n) => Some(*n as f64),
        Value::Bool(b) => Some(f64::from(*b)),
        Value::Tensor(t) => constant(cx, t),
        Value::Poison => return Err(Reported),
        _ => None,
    };
    match single {
        Some(v) if depth == shape.len() && out.len() < MAX_LITERAL => {
            out.push(v);
            Ok(())
        }
        Some(_) if depth == shape.len() => {
            let d = Diagnostic::new(codes::BAD_SHAPE, "a tensor with over a million entries is written out here", span, "")
                .help("keep it in a file and read it with `tensors(path)`");
            Err(cx.report(d))
        }
        Some(_) => {
            let d = Diagnostic::new(codes::BAD_SHAPE, "the lists of this tensor differ in length or depth", span, "")
                .help("a matrix is a list of rows of one length: `tensor([[1, 2], [3, 4]])`");
            Err(cx.report(d))
        }
        None => {
            let found = describe(cx, value);
            let d = Diagnostic::new(
                types::WRONG_KIND,
                format!("`tensor` takes numbers that are written out, and this holds {found}"),
                span,
                "",
            )
            .help("a setting scales a tensor instead: `s * tensor([1, 2])`");
            Err(cx.report(d))
        }
    }
}
