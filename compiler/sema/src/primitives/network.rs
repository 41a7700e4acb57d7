//! Layers of networks: their shapes, and how many parameters those bring that have some of their own.
//!
//! A network is looked at, not computed: what a layer gives is a tensor that nothing is known of but its shape. So layers work
//! inside a function that `search` names, and while functions are tried as written; elsewhere they are answered by E1901.
//!
//! | layer | x | gives | parameters of its own |
//! |---|---|---|---|
//! | `conv2d(x, kernel)` | `[.., c, h, w]`, kernel `[f, c / groups, k, l]` | `[.., f, h', w']`; `same`: h' = ceil(h / stride), else floor((h - k) / stride) + 1 | |
//! | `conv1d(x, kernel)` | `[.., t, c]`, kernel `[f, c / groups, k]` or a width | `[.., t', f]`, for a width as `x` | c c k for a width |
//! | `max_pool`, `avg_pool` | `[.., c, h, w]` | `[.., c, h', w']` as above without padding | |
//! | `embedding(x, table)` | any shape, table `[v, d]` | `[.., d]` | |
//! | `self_attention(x, heads)` | `[.., t, d]`, heads divide d | as `x` | 4 d d |
//! | `ffn(x, hidden)` | `[.., d]` | as `x` | 2 d hidden + d + hidden |
//! | all others | any | as `x` | |

use super::support::{given, int, need, tensor, word};
use super::table::primitive;
use crate::codes::names::PRIMITIVE_LATER;
use crate::codes::primitives::BAD_SHAPE;
use crate::degree::Degree;
use crate::elaborate::{Cx, show_shape};
use crate::value::{Args, Argument, Reported, TensorVal, Value};
use merge_base::{Diagnostic, Span};

/// The layers.
pub const LAYERS: &[&str] = &[
    "conv1d",
    "conv2d",
    "embedding",
    "self_attention",
    "fourier",
    "ffn",
    "softmax",
    "layer_norm",
    "rms_norm",
    "batch_norm",
    "relu",
    "gelu",
    "silu",
    "max_pool",
    "avg_pool",
    "dropout",
];

/// Layers that give back the shape of their first argument, and check nothing.
pub const KEEPS_SHAPE: &[&str] =
    &["fourier", "softmax", "layer_norm", "rms_norm", "batch_norm", "relu", "gelu", "silu", "dropout"];

/// The tensor that a layer gives.
pub fn layer(cx: &mut Cx, args: &Args, span: Span) -> Result<Value, Reported> {
    let who = args.name;
    if !cx.in_network() {
        let help = primitive(who).map_or("", |p| p.instead);
        let d =
            Diagnostic::new(PRIMITIVE_LATER, format!("`{who}` is not there yet"), span, "this compiler cannot compute it yet");
        let help =
            if help.is_empty() { "a network that `search` names can use it".to_string() } else { format!("what works: {help}") };
        return Err(cx.report(d.help(help)));
    }
    let input = need(cx, args, 0, span)?;
    let x = tensor(cx, who, input)?;
    let mut shape = cx.shape(&x).to_vec();
    match who {
        "conv2d" | "conv1d" => {
            let axes = if who == "conv2d" { 2 } else { 1 };
            let second = need(cx, args, 1, span)?.clone();
            let stride = whole(cx, who, args, 2, 1)?;
            let same = word(cx, args, 3, &["same", "none"])? != "none";
            let groups = whole(cx, who, args, 4, 1)?;
            if shape.len() < axes + 1 {
                return Err(rank(cx, who, axes + 1, &shape, span));
            }
            // Channels stand before the axes of an image, and behind the time of a sequence.
            let at = if axes == 2 { shape.len() - 3 } else { shape.len() - 1 };
            let along = shape.len() - 2;
            let channels = shape[at];
            let kernel: Vec<u64> = match &second.value {
                Value::Int(width) if axes == 1 && *width > 0 => {
                    cx.add_parameters(channels * channels * *width as u64);
                    vec![channels, channels / groups.max(1), *width as u64]
                }
                _ => {
                    let k = tensor(cx, who, &second)?;
                    cx.shape(&k).to_vec()
                }
            };
            if kernel.len() != axes + 2 || kernel[1] * groups != channels || !kernel[0].is_multiple_of(groups) {
                let message = format!("the kernel of `{who}` does not fit its input");
                let label =
                    format!("{} here, {} channels in {} group{} there", show_shape(&kernel), channels, groups, plural(groups));
                let d = Diagnostic::new(BAD_SHAPE, message, second.span, label)
                    .help("a kernel has the axes [filters, channels / groups, sizes..]");
                return Err(cx.report(d));
            }
            for axis in 0..axes {
                shape[along + axis] = strided(cx, who, shape[along + axis], kernel[2 + axis], stride, same, span)?;
            }
            shape[at] = kernel[0];
        }
        "max_pool" | "avg_pool" => {
            let size = whole(cx, who, args, 1, 1)?;
            let stride = whole(cx, who, args, 2, size)?;
            if shape.len() < 3 {
                return Err(rank(cx, who, 3, &shape, span));
            }
            let last = shape.len() - 1;
            for axis in [last - 1, last] {
                shape[axis] = strided(cx, who, shape[axis], size, stride, false, span)?;
            }
        }
        "embedding" => {
            let at = need(cx, args, 1, span)?.clone();
            let table = tensor(cx, who, &at)?;
            match &*cx.shape(&table) {
                [_, d] => shape.push(*d),
                other => {
                    let other = other.to_vec();
                    return Err(rank(cx, "the table of `embedding`", 2, &other, at.span));
                }
            }
        }
        "self_attention" => {
            let heads = whole(cx, who, args, 1, 1)?;
            let Some(d) = shape.last().copied().filter(|_| shape.len() >= 2) else { return Err(rank(cx, who, 2, &shape, span)) };
            if !d.is_multiple_of(heads) {
                let message = format!("{heads} heads cannot share {d} channels");
                return Err(cx.error(BAD_SHAPE, message, span, "the number of heads divides the last axis"));
            }
            cx.add_parameters(4 * d * d);
        }
        "ffn" => {
            let hidden = whole(cx, who, args, 1, 1)?;
            let Some(d) = shape.last().copied() else { return Err(rank(cx, who, 1, &shape, span)) };
            cx.add_parameters(2 * d * hidden + d + hidden);
        }
        _ => {}
    }
    let node = cx.opaque(who, &shape, span);
    Ok(TensorVal::new(node, Degree::delta()).into())
}

fn plural(n: u64) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// An int from 1, or its default.
fn whole(cx: &mut Cx, who: &str, args: &Args, index: usize, default: u64) -> Result<u64, Reported> {
    let Some(arg) = given(args, index)? else { return Ok(default) };
    let arg: Argument = arg.clone();
    match int(cx, who, &arg)? {
        n @ 1.. => Ok(n as u64),
        n => Err(cx.error(BAD_SHAPE, format!("`{who}` wants an int from 1 here, and this is {n}"), arg.span, "")),
    }
}

fn rank(cx: &mut Cx, who: &str, axes: usize, shape: &[u64], span: Span) -> Reported {
    let message = format!("`{who}` wants at least {axes} axes");
    cx.error(BAD_SHAPE, message, span, format!("this has {}", show_shape(shape)))
}

/// How long an axis is behind a window that moves by `stride`.
fn strided(cx: &mut Cx, who: &str, length: u64, window: u64, stride: u64, same: bool, span: Span) -> Result<u64, Reported> {
    if same {
        return Ok(length.div_ceil(stride));
    }
    if window > length {
        let message = format!("a window of {window} does not fit an axis of {length} in `{who}`");
        return Err(cx.error(BAD_SHAPE, message, span, ""));
    }
    Ok((length - window) / stride + 1)
}
