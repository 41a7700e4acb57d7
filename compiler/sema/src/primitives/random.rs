//! Random tensors: `bernoulli`, `uniform`, `normal`.
//!
//! Each takes the shape of its first argument. The numbers depend on the seed, the turns of the loops around
//! the call, the name of the tensor that is made, and the entry's index, so no thread count, tile or
//! shard changes them, and two models of a list get different ones. Seed, turns and name become one Philox key
//! (`Cx::random_key`, a 64-bit FNV-1a hash); the index is its counter. Two calls with one seed in one turn
//! give the same numbers: that is what makes a mask reproducible, and why unrelated draws take two seeds.

use super::starts::{Spread, spread_of_start};
use super::support::{Made, given, need, op, scalar, seeded, within};
use crate::codes::primitives as codes;
use crate::degree::Degree;
use crate::elaborate::Cx;
use crate::hir::BinaryOp;
use crate::value::{Args, Argument, Reported, TensorVal, Value};
use merge_base::Span;
use merge_ir::tir::Op;
use std::rc::Rc;

type Answer = Result<Value, Reported>;

/// The node whose shape the numbers take; a buffer has a shape like any other tensor.
fn shape_of(cx: &mut Cx, args: &Args, span: Span) -> Result<Rc<[u64]>, Reported> {
    let x = need(cx, args, 0, span)?;
    match &x.value {
        Value::Tensor(t) => Ok(cx.shape(t)),
        _ => Err(super::support::wrong_kind(cx, args.name, "takes a tensor first, whose shape the numbers have", x)),
    }
}

fn uniform_of(cx: &mut Cx, key: merge_abi::RandomKey, shape: Rc<[u64]>, span: Span) -> TensorVal {
    TensorVal::new(cx.graph.add(Op::Uniform { key, first: 0 }, shape, span), Degree::delta())
}

/// `bernoulli(x, p:, seed:)`: 1 with probability `p`, else 0.
pub fn bernoulli(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let shape = shape_of(cx, args, span)?;
    let p = need(cx, args, 1, span)?;
    let chance = scalar(cx, args.name, p)?;
    within(cx, args.name, "the probability `p`", &chance, 0.0, 1.0, p.span)?;
    let key = seeded(cx, args, 2)?;
    let u = uniform_of(cx, key, shape, span);
    let mask = op(cx, BinaryOp::Lt, (&u, span), (&chance, p.span), span)?;
    Ok(Value::Tensor(TensorVal { degree: Degree::delta(), ..mask }))
}

/// `uniform(x, low:, high:, seed:)`: from `low` (0) up to, but not, `high` (1).
pub fn uniform(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let Numbers { shape, first: low, second: high } = numbers(cx, args, span)?;
    let key = seeded(cx, args, 3)?;
    let u = uniform_of(cx, key, shape, span);
    let result = match (low, high) {
        (None, None) => u,
        (low, high) => {
            let low = low.unwrap_or_else(|| cx.number(0.0, span));
            let high = high.unwrap_or_else(|| cx.number(1.0, span));
            if let (Some(a), Some(b)) = (cx.launch_value(&low), cx.launch_value(&high))
                && a > b
            {
                let message = format!("`uniform` between {a} and {b}: the lower bound is above the upper");
                return Err(cx.error(codes::OUTSIDE_DOMAIN, message, span, ""));
            }
            let width = op(cx, BinaryOp::Sub, (&high, span), (&low, span), span)?;
            scaled(cx, &u, &width, &low, span)?
        }
    };
    Ok(Value::Tensor(TensorVal { degree: Degree::delta(), ..result }))
}

/// `normal(x, mean, std, seed:)`.
pub fn normal(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    let Numbers { shape, first: mean, second: std } = numbers(cx, args, span)?;
    if let Some(std) = &std {
        within(cx, args.name, "the deviation", std, 0.0, f64::INFINITY, span)?;
    }
    let key = seeded(cx, args, 3)?;
    let z = TensorVal::new(cx.graph.add(Op::Normal { key, first: 0 }, shape, span), Degree::delta());
    let result = match (mean, std) {
        (None, None) => z,
        (mean, std) => {
            let mean = mean.unwrap_or_else(|| cx.number(0.0, span));
            let std = std.unwrap_or_else(|| cx.number(1.0, span));
            scaled(cx, &z, &std, &mean, span)?
        }
    };
    Ok(Value::Tensor(TensorVal { degree: Degree::delta(), ..result }))
}

fn scaled(cx: &mut Cx, x: &TensorVal, by: &TensorVal, plus: &TensorVal, span: Span) -> Made {
    let wide = op(cx, BinaryOp::Mul, (x, span), (by, span), span)?;
    op(cx, BinaryOp::Add, (&wide, span), (plus, span), span)
}

/// What random numbers are spread by: their shape, bounds or mean and deviation.
struct Numbers {
    shape: Rc<[u64]>,
    first: Option<TensorVal>,
    second: Option<TensorVal>,
}

fn numbers(cx: &mut Cx, args: &Args, span: Span) -> Result<Numbers, Reported> {
    let Spread { shape, first, second } = match spread_of_start(cx, args, span)? {
        Some(of_start) => of_start,
        None => Spread { shape: shape_of(cx, args, span)?, first: given(args, 1)?.cloned(), second: given(args, 2)?.cloned() },
    };
    let mut number = |arg: Option<Argument>| arg.map(|a| scalar(cx, args.name, &a)).transpose();
    Ok(Numbers { shape, first: number(first)?, second: number(second)? })
}
