//! Linear algebra: the product `@`, decompositions, systems of equations.
//!
//! Everything here is a routine on whole matrices in memory. Shapes are checked here, so that what a routine refuses at
//! the run is a matter of entries alone, such as a singular matrix. Signs and orders are those of `merge_abi::Routine`.

use super::shape::flipped;
use super::support::{Made, boolean, given, int, need, op, tensor};
use crate::codes::{primitives as codes, types};
use crate::degree::Degree;
use crate::elaborate::{Cx, factor_pair};
use crate::hir::BinaryOp;
use crate::value::{Args, Argument, Reported, TensorVal, Value};
use merge_abi::Routine;
use merge_base::{Diagnostic, Span};
use merge_ir::tir::Layer;

type Answer = Result<Value, Reported>;
type At<'a> = (&'a TensorVal, Span);

/// `a @ b`: `[.., m, k] @ [k, n]` gives `[.., m, n]`, `[.., m, k] @ [k]` gives `[.., m]`, `[k] @ [k, n]` gives `[n]`. In networks
/// also `[.., m, k] @ [.., k, n]` with the same leading axes, matrix by matrix.
pub fn matmul(cx: &mut Cx, (a, a_span): At<'_>, (b, b_span): At<'_>, span: Span) -> Made {
    let (left, right) = (cx.shape(a), cx.shape(b));
    for (shape, at) in [(&left, a_span), (&right, b_span)] {
        if shape.is_empty() {
            let d = Diagnostic::new(types::WRONG_KIND, "`@` multiplies matrices, and this is a number", at, "a number")
                .help("`*` scales a tensor");
            return Err(cx.report(d));
        }
    }
    if right.len() > 2 && cx.in_network() {
        return by_matrix(cx, (a, a_span), (b, b_span), span);
    }
    if right.len() > 2 {
        let message = format!("`@` takes a matrix or a vector on its right, and this has {}", cx.show_shape(&right));
        let d = Diagnostic::new(codes::BAD_SHAPE, message, b_span, format!("{} axes", right.len()))
            .help("`reshape` joins axes, and `unfold(x, axis)` all but one");
        return Err(cx.report(d));
    }
    if left.len() == 1 && right.len() == 1 {
        let d = Diagnostic::new(codes::BAD_SHAPE, "`@` of two vectors would be a number", span, "one axis each")
            .help("`dot(x, y)` is the sum of their products");
        return Err(cx.report(d));
    }
    let inner = left[left.len() - 1];
    if inner != right[0] {
        return Err(misfit(cx, (a, a_span), (b, b_span), span));
    }
    let degree = a.degree.product_by_tensor(&b.degree, span);
    let rows: u64 = left[..left.len() - 1].iter().product();
    let columns = right.get(1).copied().unwrap_or(1);
    let shape: Vec<u64> = left[..left.len() - 1].iter().chain(&right[1..]).copied().collect();
    // A delta that lacks a name counts as zero there.
    if cx.counts_as_zero(a) || cx.counts_as_zero(b) {
        let zeros = cx.zeros(&shape.into(), span);
        return Ok(TensorVal { degree, ..zeros });
    }
    let (a, b) = (cx.reshaped(a, &[rows, inner], a_span), cx.reshaped(b, &[inner, columns], b_span));
    let product = one(cx, Routine::MatMul, &[&a, &b], &degree, span)?;
    Ok(cx.reshaped(&product, &shape, span))
}

/// Products of the matrices that leading axes count.
fn by_matrix(cx: &mut Cx, (a, a_span): At<'_>, (b, b_span): At<'_>, span: Span) -> Made {
    let (left, right) = (cx.shape(a), cx.shape(b));
    let (batch, other) = (left.len().saturating_sub(2), right.len() - 2);
    if left.len() < 2 || left[..batch] != right[..other] {
        let message = "`@` of tensors takes those whose axes agree but for the last two";
        let d = Diagnostic::new(types::SHAPES_DISAGREE, message, b_span, format!("has {}", cx.show_shape(&right)))
            .label(a_span, format!("has {}", cx.show_shape(&left)))
            .help("a matrix on the right, `[k, n]`, goes with any tensor `[.., k]`");
        return Err(cx.report(d));
    }
    if left[batch + 1] != right[other] {
        return Err(misfit(cx, (a, a_span), (b, b_span), span));
    }
    cx.layer(Layer::MatMul, &[a, b], span)
}

/// Says that the inner axes of a product differ.
fn misfit(cx: &mut Cx, a: At<'_>, b: At<'_>, span: Span) -> Reported {
    let (left, right) = (cx.shape(a.0), cx.shape(b.0));
    let (inner, outer) = (left[left.len() - 1], right[right.len().saturating_sub(2)]);
    let lengths = format!("{} and {}", cx.show_length(inner), cx.show_length(outer));
    let message = format!("`@` joins the last axis on its left with the first on its right, and these are {lengths}");
    let mut d = Diagnostic::without_place(types::SHAPES_DISAGREE, message);
    for (shape, at) in [(&left, a.1), (&right, b.1)] {
        let message = format!("{} has {}", cx.describe(at), cx.show_shape(shape));
        d.labels.push(merge_base::Label { span: at, message, primary: d.labels.is_empty() });
    }
    if a.1 == b.1 {
        d = Diagnostic::new(
            types::SHAPES_DISAGREE,
            d.message,
            span,
            format!("these are {} and {}", cx.show_shape(&left), cx.show_shape(&right)),
        );
    }
    let d = match (&*left, &*right) {
        (_, [_, last]) if *last == inner => d.help("`x @ transpose(y)` would fit"),
        ([first, _], _) if *first == outer => d.help("`transpose(x) @ y` would fit"),
        _ => d,
    };
    cx.report(d)
}

/// `svd(x, rank:, full:)`: the tuple `(u, s, v)` with `x = (u * s) @ transpose(v)`, `s` falling.
pub fn svd(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let (t, m, n) = matrix(cx, args.name, x)?;
    let full = match given(args, 2)? {
        Some(arg) => boolean(cx, args.name, arg)?,
        None => false,
    };
    let rank = match given(args, 1)? {
        Some(arg) if full => {
            let d =
                Diagnostic::new(types::WRONG_ARGUMENTS, "`svd` is either full or of a rank", arg.span, "leave one of them out")
                    .help("`full: true` gives square `u` and `v`, `rank: r` their first `r` columns");
            return Err(cx.report(d));
        }
        Some(arg) => rank_of(cx, args.name, arg, (m, n))?,
        None => m.min(n),
    };
    let degree = Degree::function_of(args.name, [&t.degree], span);
    let routine = if full { Routine::FullSvd } else { Routine::Svd { rank } };
    tuple(cx, routine, &[&t], &degree, span)
}

/// `low_rank(x, rank:)`: the nearest matrix of at most a rank, as the product of its two factors.
pub fn low_rank(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let (t, m, n) = matrix(cx, args.name, x)?;
    let arg = need(cx, args, 1, span)?;
    let rank = rank_of(cx, args.name, arg, (m, n))?;
    let degree = Degree::function_of(args.name, [&t.degree], span);
    // Of a product of thin factors, as adapters are, all that counts is in a matrix of its inner size.
    let product = match factor_pair(cx, &t, span) {
        Some((b, _)) if cx.shape(&b)[1] <= rank => return Ok(Value::Tensor(TensorVal { degree, ..t })),
        Some((b, a)) if 2 * cx.shape(&b)[1] <= m.min(n) => {
            let right = flipped(cx, &a, span);
            let (b, a) = (cx.routine(Routine::Qr, &[&b], &degree, span)?, cx.routine(Routine::Qr, &[&right], &degree, span)?);
            let ([q, r], [p, s]) = (b.as_slice(), a.as_slice()) else { return Err(Reported) };
            let turned = flipped(cx, s, span);
            let core = matmul(cx, (r, span), (&turned, span), span)?;
            let (left, right) = nearest(cx, &core, rank, &degree, span)?;
            let left = matmul(cx, (q, span), (&left, span), span)?;
            let turned = flipped(cx, p, span);
            let right = matmul(cx, (&right, span), (&turned, span), span)?;
            matmul(cx, (&left, span), (&right, span), span)?
        }
        _ => {
            let (left, right) = nearest(cx, &t, rank, &degree, span)?;
            matmul(cx, (&left, span), (&right, span), span)?
        }
    };
    Ok(Value::Tensor(TensorVal { degree, ..product }))
}

/// The factors of the nearest matrix of a rank, singular values in the first.
fn nearest(cx: &mut Cx, x: &TensorVal, rank: u64, degree: &Degree, span: Span) -> Result<(TensorVal, TensorVal), Reported> {
    let parts = cx.routine(Routine::Svd { rank }, &[x], degree, span)?;
    let [u, s, v] = parts.as_slice() else { return Err(Reported) };
    let row = cx.reshaped(s, &[1, rank], span);
    Ok((op(cx, BinaryOp::Mul, (u, span), (&row, span), span)?, flipped(cx, v, span)))
}

/// `qr(x)`: the tuple `(q, r)` with `x = q @ r`.
pub fn qr(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let (t, ..) = matrix(cx, args.name, x)?;
    let degree = Degree::function_of(args.name, [&t.degree], span);
    tuple(cx, Routine::Qr, &[&t], &degree, span)
}

/// `eigh(x)`: the tuple `(values, vectors)` of a symmetric matrix, the values rising, the vectors in columns.
pub fn eigh(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let t = square(cx, args.name, x, "`svd` and `qr` take a matrix of any shape")?;
    let degree = Degree::function_of(args.name, [&t.degree], span);
    tuple(cx, Routine::Eigh, &[&t], &degree, span)
}

/// `polar(x)`: the nearest matrix with orthonormal columns, or rows where there are fewer.
pub fn polar(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let (t, ..) = matrix(cx, args.name, x)?;
    let degree = Degree::function_of(args.name, [&t.degree], span);
    one(cx, Routine::Polar, &[&t], &degree, span).map(Value::Tensor)
}

/// `solve(a, b)`: the `x` with `a @ x = b`, in the shape of `b`.
pub fn solve(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (a, b) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    let left =
        square(cx, args.name, a, "a system with more equations than unknowns: `solve(transpose(a) @ a, transpose(a) @ b)`")?;
    let right = tensor(cx, args.name, b)?;
    let shape = cx.shape(&right);
    let n = cx.shape(&left)[0];
    match *shape {
        [rows] | [rows, _] if rows == n => {}
        [_] | [_, _] => {
            let n = cx.show_length(n);
            let message = format!("`solve` of {n} equations with a right side {}", cx.show_shape(&shape));
            let d = Diagnostic::new(types::SHAPES_DISAGREE, message, b.span, format!("has {}", cx.show_shape(&shape)))
                .label(a.span, format!("has [{n}, {n}]"))
                .help(format!("the right side is a vector [{n}] or a matrix [{n}, m], one column for each system"));
            return Err(cx.report(d));
        }
        _ => {
            let message = format!("the right side of `solve` is a vector or a matrix, and this has {}", cx.show_shape(&shape));
            return Err(cx.error(codes::BAD_SHAPE, message, b.span, ""));
        }
    }
    let degree = Degree::function_of(args.name, [&left.degree, &right.degree], span);
    let columns = shape.get(1).copied().unwrap_or(1);
    let right = cx.reshaped(&right, &[n, columns], span);
    let x = one(cx, Routine::Solve, &[&left, &right], &degree, span)?;
    Ok(Value::Tensor(cx.reshaped(&x, &shape, span)))
}

/// The one result of a routine.
pub fn one(cx: &mut Cx, routine: Routine, inputs: &[&TensorVal], degree: &Degree, span: Span) -> Made {
    cx.routine(routine, inputs, degree, span)?.pop().ok_or(Reported)
}

/// The results of a routine as a tuple.
pub fn tuple(cx: &mut Cx, routine: Routine, inputs: &[&TensorVal], degree: &Degree, span: Span) -> Answer {
    let results = cx.routine(routine, inputs, degree, span)?;
    Ok(Value::Tuple(results.into_iter().map(Value::Tensor).collect()))
}

/// A matrix with entries, and its two lengths.
pub fn matrix(cx: &mut Cx, who: &str, arg: &Argument) -> Result<(TensorVal, u64, u64), Reported> {
    let t = tensor(cx, who, arg)?;
    match *cx.shape(&t) {
        [m, n] if m > 0 && n > 0 => Ok((t, m, n)),
        ref shape => {
            let (what, help) = match shape.len() {
                2 => (format!("`{who}` of a matrix without entries"), "leave it out by a rule of its own"),
                0 | 1 => (
                    format!("`{who}` takes a matrix, and this has {}", cx.show_shape(shape)),
                    "a rule can be for matrices only: `_[o, i] => ..`",
                ),
                _ => (
                    format!("`{who}` takes a matrix, and this has {}", cx.show_shape(shape)),
                    "`unfold(x, 0)` makes one of it, `reshape` any other",
                ),
            };
            let mut d = Diagnostic::new(codes::BAD_SHAPE, what, arg.span, format!("has {}", cx.show_shape(shape))).help(help);
            if let Some(text) = cx.model_at(arg.span) {
                d = d.help(format!("of a model, pick the matrices: `{text}[\"**.{{q_proj|v_proj}}.weight\"]`"));
            }
            Err(cx.report(d))
        }
    }
}

/// A square matrix. `otherwise` says what to do with another.
pub fn square(cx: &mut Cx, who: &str, arg: &Argument, otherwise: &str) -> Result<TensorVal, Reported> {
    let (t, m, n) = matrix(cx, who, arg)?;
    if m == n {
        return Ok(t);
    }
    let message = format!("`{who}` takes a square matrix, and this has [{m}, {n}]");
    Err(cx.report(Diagnostic::new(codes::BAD_SHAPE, message, arg.span, format!("has [{m}, {n}]")).help(otherwise)))
}

/// A rank that a matrix of this shape can have.
fn rank_of(cx: &mut Cx, who: &str, arg: &Argument, (m, n): (u64, u64)) -> Result<u64, Reported> {
    let wanted = int(cx, who, arg)?;
    match u64::try_from(wanted) {
        Ok(rank) if (1..=m.min(n)).contains(&rank) => Ok(rank),
        _ => {
            let most = m.min(n);
            let message = format!("a matrix [{m}, {n}] has a rank from 1 to {most}, and `{who}` is asked for {wanted}");
            let d = Diagnostic::new(codes::OUTSIDE_DOMAIN, message, arg.span, format!("{wanted}"));
            let help = match wanted {
                1.. => format!("where shapes differ, `min({wanted}, min(o, i))` under a rule `_[o, i] => ..`"),
                _ => "rank 0 is nothing at all: `0 * x`".into(),
            };
            Err(cx.report(d.help(help)))
        }
    }
}
