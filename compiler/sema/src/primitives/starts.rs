//! Start values of `new` tensors: what has no shape of its own takes that of the tensor that starts.
//!
//! | start | entries | source |
//! |---|---|---|
//! | `zeros()`, `ones()`, `constant(c)` | one number | |
//! | `normal(mean, std)`, `uniform(low, high)` | random, independent | |
//! | `kaiming()` | normal, of variance 2 / fan in | He et al. 2015, arXiv 1502.01852, equation 10 |
//! | `xavier()` | uniform within plus and minus sqrt(6 / (fan in + fan out)) | Glorot and Bengio 2010, equation 16 |
//! | `orthogonal()` | orthonormal rows or columns, uniformly among them | Saxe et al. 2013, arXiv 1312.6120; Mezzadri 2007 |
//! | `dirac()` | 1 where output channel and input channel are one and the size is at its middle; with `groups:` in each group of output channels | Zagoruyko and Komodakis 2017 |
//!
//! Fans are those of `Cx::fans`; `fan:` states the fan in. Random numbers are keyed by the seed and the parameter's name, so
//! no change elsewhere in a recipe changes them.

use super::elementwise::apply;
use super::shape::flipped;
use super::support::{given, int, need, op, scalar, seeded};
use crate::codes::primitives as codes;
use crate::codes::types::WRONG_KIND;
use crate::degree::Degree;
use crate::elaborate::Cx;
use crate::hir::BinaryOp;
use crate::value::{Args, Argument, Reported, TensorVal, Value};
use merge_abi::{BinaryFn, Routine, UnaryFn};
use merge_base::{Diagnostic, Span};
use merge_ir::tir::Op;
use std::rc::Rc;

type Answer = Result<Value, Reported>;

/// Start values that stand behind `new` alone.
pub const STARTS: &[&str] = &["zeros", "ones", "constant", "kaiming", "xavier", "orthogonal", "dirac"];

/// The value of a start for the tensor that starts.
pub fn start(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    match args.name {
        "constant" => {
            shape_of_start(cx, args, span)?;
            let arg = need(cx, args, 0, span)?;
            return scalar(cx, args.name, arg).map(Value::Tensor);
        }
        "zeros" | "ones" => {
            shape_of_start(cx, args, span)?;
            return Ok(cx.number(f64::from(args.name == "ones"), span).into());
        }
        _ => {}
    }
    let shape = shape_of_start(cx, args, span)?;
    match args.name {
        "kaiming" => {
            let fan = fan_in(cx, args, &shape)?;
            let key = seeded(cx, args, 1)?;
            let z = TensorVal::new(cx.graph.add(Op::Normal { key, first: 0 }, shape, span), Degree::delta());
            let deviation = cx.number((2.0 / fan as f64).sqrt(), span);
            op(cx, BinaryOp::Mul, (&z, span), (&deviation, span), span).map(Value::Tensor)
        }
        "xavier" => {
            let (fan_in, fan_out) = cx.fans(&shape);
            let key = seeded(cx, args, 0)?;
            let u = TensorVal::new(cx.graph.add(Op::Uniform { key, first: 0 }, shape, span), Degree::delta());
            let bound = (6.0 / (fan_in as f64 + fan_out as f64)).sqrt();
            let (width, low) = (cx.number(2.0 * bound, span), cx.number(-bound, span));
            let wide = op(cx, BinaryOp::Mul, (&u, span), (&width, span), span)?;
            op(cx, BinaryOp::Add, (&wide, span), (&low, span), span).map(Value::Tensor)
        }
        "orthogonal" => orthogonal(cx, args, &shape, span),
        _ => dirac(cx, args, &shape, span),
    }
}

/// The shape of random numbers, and the two numbers that say how they are spread.
pub struct Spread {
    pub shape: Rc<[u64]>,
    pub first: Option<Argument>,
    pub second: Option<Argument>,
}

/// `normal` and `uniform` behind `new`, where no tensor in front says which shape they have. None where one does.
pub fn spread_of_start(cx: &mut Cx, args: &Args, span: Span) -> Result<Option<Spread>, Reported> {
    let first = given(args, 0)?.cloned();
    let (second, third) = (given(args, 1)?.cloned(), given(args, 2)?.cloned());
    let is_number = |cx: &mut Cx, a: &Argument| match &a.value {
        Value::Int(_) => true,
        Value::Tensor(t) => cx.is_scalar(t),
        _ => false,
    };
    if let Some(x) = &first
        && !(cx.is_starting() && is_number(cx, x))
    {
        return Ok(None);
    }
    let shape = shape_of_start(cx, args, span)?;
    let (first, second) = match (first, second, third) {
        (None, a, b) | (a, b, None) | (a, None, b) => (a, b),
        (Some(_), Some(_), Some(last)) => {
            let message = format!("`{}` as a start value takes two numbers", args.name);
            return Err(cx.error(crate::codes::types::WRONG_ARGUMENTS, message, last.span, "one too many"));
        }
    };
    Ok(Some(Spread { shape, first, second }))
}

/// The shape of the tensor that starts.
fn shape_of_start(cx: &mut Cx, args: &Args, span: Span) -> Result<Rc<[u64]>, Reported> {
    if let Some(shape) = cx.start_shape() {
        return Ok(shape);
    }
    if cx.is_starting() {
        let message = format!("`{}` has no shape of its own: `new` needs its dims", args.name);
        let d = Diagnostic::new(crate::codes::types::WRONG_SHAPE, message, span, "")
            .help("write the lengths behind the name: `new w[64, 10] = ..`");
        return Err(cx.report(d));
    }
    // A function that makes start values has its shape where it is called.
    if cx.is_symbolic() {
        return Err(Reported);
    }
    if STARTS.contains(&args.name) {
        let message = format!("`{}` is a start value: it stands behind `new x[..] =`", args.name);
        return Err(cx.error(WRONG_KIND, message, span, ""));
    }
    let message = format!("`{}` takes a tensor first, whose shape the numbers have", args.name);
    let d = Diagnostic::new(WRONG_KIND, message, span, "no tensor")
        .help("behind `new x[..] =` it may be left out: then they have the shape of `x`");
    Err(cx.report(d))
}

/// What `fan:` says, else what the shape does.
fn fan_in(cx: &mut Cx, args: &Args, shape: &[u64]) -> Result<u64, Reported> {
    let Some(arg) = given(args, 0)? else { return Ok(cx.fans(shape).0) };
    match int(cx, args.name, arg)? {
        n @ 1.. => Ok(n as u64),
        n => Err(cx.error(codes::OUTSIDE_DOMAIN, format!("a fan is an int from 1, and this is {n}"), arg.span, "")),
    }
}

/// Of a tensor taken as a matrix whose rows are its slices along the first axis: the orthonormal factor of a normal one. The
/// triangle beside it has no negative number in its diagonal, and so it is uniform among all of its kind.
fn orthogonal(cx: &mut Cx, args: &Args, shape: &Rc<[u64]>, span: Span) -> Answer {
    let (rows, columns) = matrix_of(cx, args, shape, span)?;
    let key = seeded(cx, args, 0)?;
    let (long, short) = (rows.max(columns), rows.min(columns));
    let z = TensorVal::new(cx.graph.add(Op::Normal { key, first: 0 }, Rc::from([long, short]), span), Degree::delta());
    let q = cx.routine(Routine::Qr, &[&z], &Degree::delta(), span)?.swap_remove(0);
    let q = if rows < columns { flipped(cx, &q, span) } else { q };
    Ok(cx.reshaped(&q, shape, span).into())
}

fn dirac(cx: &mut Cx, args: &Args, shape: &Rc<[u64]>, span: Span) -> Answer {
    matrix_of(cx, args, shape, span)?;
    let coordinate = |cx: &mut Cx, axis: usize| {
        TensorVal::new(cx.graph.add(Op::Coord { axis: axis as u32 }, shape.clone(), span), Degree::delta())
    };
    let (mut filter, channel) = (coordinate(cx, 0), coordinate(cx, 1));
    if let Some(arg) = given(args, 0)? {
        let groups = int(cx, args.name, arg)?;
        if groups < 1 || !shape[0].is_multiple_of(groups as u64) {
            let message = format!("{} filters do not fall into {groups} equal groups", shape[0]);
            return Err(cx.error(codes::OUTSIDE_DOMAIN, message, arg.span, "the number of groups divides the first axis"));
        }
        // The place within the group.
        let each = cx.number((shape[0] / groups as u64) as f64, span);
        let group = cx.binary(BinaryFn::Div, (&filter, span), (&each, span), Degree::delta(), span)?;
        let group = apply(cx, UnaryFn::Floor, &group, span);
        let before = cx.binary(BinaryFn::Mul, (&group, span), (&each, span), Degree::delta(), span)?;
        filter = cx.binary(BinaryFn::Sub, (&filter, span), (&before, span), Degree::delta(), span)?;
    }
    let mut hit = cx.binary(BinaryFn::Eq, (&filter, span), (&channel, span), Degree::delta(), span)?;
    for (axis, size) in shape.iter().enumerate().skip(2) {
        let (at, middle) = (coordinate(cx, axis), cx.number((size / 2) as f64, span));
        let inside = cx.binary(BinaryFn::Eq, (&at, span), (&middle, span), Degree::delta(), span)?;
        hit = cx.binary(BinaryFn::And, (&hit, span), (&inside, span), Degree::delta(), span)?;
    }
    Ok(hit.into())
}

/// The lengths of a tensor taken as a matrix.
fn matrix_of(cx: &mut Cx, args: &Args, shape: &[u64], span: Span) -> Result<(u64, u64), Reported> {
    match shape {
        [rows, rest @ ..] if !rest.is_empty() => Ok((*rows, rest.iter().fold(1, |n: u64, d| n.saturating_mul(*d)))),
        _ => {
            let message = format!("`{}` is for tensors of at least two axes, and this has {}", args.name, cx.show_shape(shape));
            Err(cx.error(codes::BAD_SHAPE, message, span, ""))
        }
    }
}
