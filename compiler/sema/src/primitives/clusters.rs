//! `assignment`, `kmeans` and `permutation`: groups and orders of rows.

use super::linear::{matrix, one, square, tuple};
use super::support::{boolean, given, int, need, seeded};
use crate::codes::primitives as codes;
use crate::degree::Degree;
use crate::elaborate::Cx;
use crate::value::{Args, Reported, Value};
use merge_abi::Routine;
use merge_base::{Diagnostic, Span};

type Answer = Result<Value, Reported>;

/// `assignment(cost, maximize:)`: the column for each row, all different, with the least sum of costs.
pub fn assignment(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let x = need(cx, args, 0, span)?;
    let cost = square(cx, args.name, x, "`concat` with a large cost fills up what is missing")?;
    let maximize = match given(args, 1)? {
        Some(arg) => boolean(cx, args.name, arg)?,
        None => false,
    };
    let degree = Degree::function_of(args.name, [&cost.degree], span);
    one(cx, Routine::Assignment { maximize }, &[&cost], &degree, span).map(Value::Tensor)
}

/// `kmeans(x, k, seed:)`: the tuple (cluster of each row, centres), by Lloyd's iterations from k-means++ starts
/// (Arthur and Vassilvitskii 2007).
pub fn kmeans(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let (x, arg) = (need(cx, args, 0, span)?, need(cx, args, 1, span)?);
    let (t, rows, _) = matrix(cx, args.name, x)?;
    let k = int(cx, args.name, arg)?;
    let Some(k) = u64::try_from(k).ok().filter(|k| (1..=rows).contains(k)) else {
        let message = format!("{rows} rows make 1 to {rows} clusters, and `k` is {k}");
        let d = Diagnostic::new(codes::OUTSIDE_DOMAIN, message, arg.span, format!("{k}"))
            .label(x.span, format!("has {rows} rows"))
            .help("the rows of a matrix are clustered; `transpose(x)` clusters its columns");
        return Err(cx.report(d));
    };
    let key = seeded(cx, args, 2)?;
    let degree = Degree::function_of(args.name, [&t.degree], span);
    tuple(cx, Routine::KMeans { k, key }, &[&t], &degree, span)
}

/// `permutation(n, seed:)`: the numbers 0 to n - 1 in an order drawn by the seed.
pub fn permutation(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let arg = need(cx, args, 0, span)?;
    let n = int(cx, args.name, arg)?;
    let Some(n) = u64::try_from(n).ok().filter(|n| *n > 0) else {
        let message = format!("a permutation of {n} numbers");
        let d = Diagnostic::new(codes::OUTSIDE_DOMAIN, message, arg.span, "below 1").help("`dim(x, 0)` is the length of an axis");
        return Err(cx.report(d));
    };
    let key = seeded(cx, args, 1)?;
    one(cx, Routine::Permutation { n, key }, &[], &Degree::delta(), span).map(Value::Tensor)
}
