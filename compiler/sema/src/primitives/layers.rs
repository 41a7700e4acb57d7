//! Layers of networks that are no arithmetic of tensors: convolutions, pools, batch norm, dropout, embeddings.
//!
//! They are there inside a function that `search` names, and while functions are tried as written; elsewhere they are answered
//! by E1901. Everything composed of arithmetic (attention, feed-forward, norms of rows) is Merge, in `std.networks`.
//!
//! | layer | x | gives | parameters of its own |
//! |---|---|---|---|
//! | `conv2d(x, kernel)` | `[.., c, h, w]`, kernel `[f, c / groups, k, l]` | `[.., f, h', w']`; `same`: h' = ceil(h / stride), else floor((h - k) / stride) + 1 | |
//! | `conv1d(x, kernel)` | `[.., t, c]`, kernel `[f, c / groups, k]` or a width | `[.., t', f]`, for a width as `x` | `kernel` for a width |
//! | `max_pool`, `avg_pool` | `[.., c, h, w]` | `[.., c, h', w']` as above without padding | |
//! | `embedding(x, table)` | places, any shape; table `[v, d]` | `[.., d]` | |
//! | `batch_norm(x)` | `[.., c, h, w]`, `[.., t, c]`, `[c]` | as `x` | `scale`, `shift`, `mean`, `variance`, the last two not trained |
//! | `dropout(x, keep)` | any | as `x` | |
//!
//! `same` pads with as many zeros in front as behind, and with the odd one behind.

use super::support::{given, int, need, scalar, tensor, within, word};
use crate::codes::names::PRIMITIVE_LATER;
use crate::codes::primitives::BAD_SHAPE;
use crate::elaborate::{Cx, NewParameter};
use crate::value::{Args, Argument, Reported, TensorVal, Value};
use merge_base::{Diagnostic, Span};
use merge_ir::tir::Layer;
use std::rc::Rc;

/// The layers.
pub const LAYERS: &[&str] = &["conv1d", "conv2d", "embedding", "batch_norm", "max_pool", "avg_pool", "dropout"];

/// Layers that give back the shape of their first argument.
pub const KEEPS_SHAPE: &[&str] = &["batch_norm", "dropout"];

/// What is added to a variance before its root is taken.
const EPSILON: f64 = 1e-5;

type Answer = Result<Value, Reported>;

/// The tensor that a layer gives.
pub fn layer(cx: &mut Cx, args: &Args, span: Span) -> Answer {
    if !cx.in_network() {
        let d = Diagnostic::new(
            PRIMITIVE_LATER,
            format!("`{}` is a layer of networks, and this is a recipe of weights", args.name),
            span,
            "not inside a network",
        );
        let help = super::primitive(args.name).map_or("", |p| p.instead);
        let help = if help.is_empty() {
            "a function that `search` names is a network, and so are the functions that it calls".to_string()
        } else {
            format!("what works: {help}")
        };
        return Err(cx.report(d.help(help)));
    }
    let input = need(cx, args, 0, span)?;
    let x = tensor(cx, args.name, input)?;
    match args.name {
        "conv1d" => conv1d(cx, args, &x, span),
        "conv2d" => {
            let kernel = need(cx, args, 1, span)?;
            let kernel = (tensor(cx, args.name, kernel)?, kernel.span);
            convolved(cx, args, &x, kernel, 2, span).map(Value::Tensor)
        }
        "max_pool" | "avg_pool" => pooled(cx, args, &x, span),
        "embedding" => {
            let table = need(cx, args, 1, span)?;
            let rows = tensor(cx, args.name, table)?;
            if cx.shape(&rows).len() != 2 {
                let shape = cx.shape(&rows);
                let message = format!("the table of `embedding` is a matrix, and this has {}", cx.show_shape(&shape));
                return Err(cx.error(BAD_SHAPE, message, table.span, ""));
            }
            cx.layer(Layer::Embedding, &[&x, &rows], span).map(Value::Tensor)
        }
        "batch_norm" => batch_norm(cx, &x, span),
        _ => {
            let keep = need(cx, args, 1, span)?;
            let share = scalar(cx, args.name, keep)?;
            within(cx, args.name, "the share that is kept", &share, 0.0, 1.0, keep.span)?;
            cx.layer(Layer::Dropout, &[&x, &share], span).map(Value::Tensor)
        }
    }
}

/// Along the axis before the last, by a kernel or, for a width, by one that is made here.
fn conv1d(cx: &mut Cx, args: &Args, x: &TensorVal, span: Span) -> Answer {
    let second = need(cx, args, 1, span)?.clone();
    let shape = cx.shape(x);
    let axes = shape.len();
    if axes < 2 {
        return Err(rank(cx, args.name, 2, &shape, span));
    }
    let kernel = match &second.value {
        Value::Int(_) => {
            let width = from_one(cx, args.name, &second)?;
            let (channels, groups) = (shape[axes - 1], whole(cx, args, 4, 1)?);
            let shape = [channels, channels / groups.max(1), width];
            cx.kernel_of_width(&shape, second.span)?
        }
        _ => tensor(cx, args.name, &second)?,
    };
    let mut perm: Vec<u32> = (0..axes as u32).collect();
    perm.swap(axes - 2, axes - 1);
    let turned = cx.transposed(x, &perm, span);
    let result = convolved(cx, args, &turned, (kernel, second.span), 1, span)?;
    Ok(cx.transposed(&result, &perm, span).into())
}

/// `[.., c, spatial..]` with a kernel over the last `axes` axes.
fn convolved(
    cx: &mut Cx,
    args: &Args,
    x: &TensorVal,
    (kernel, at): (TensorVal, Span),
    axes: usize,
    span: Span,
) -> Result<TensorVal, Reported> {
    let (shape, sizes) = (cx.shape(x), cx.shape(&kernel));
    let stride = whole(cx, args, 2, 1)?;
    let same = word(cx, args, 3, &["same", "none"])? != "none";
    let groups = whole(cx, args, 4, 1)?;
    if shape.len() < axes + 1 {
        return Err(rank(cx, args.name, axes + 1, &shape, span));
    }
    let channels = shape[shape.len() - axes - 1];
    let fits = sizes.len() == axes + 2 && sizes[1].checked_mul(groups) == Some(channels) && sizes[0].is_multiple_of(groups);
    if !fits {
        let message = format!("the kernel of `{}` does not fit its input", args.name);
        let plural = if groups == 1 { "" } else { "s" };
        let label = format!("{} here, {channels} channels in {groups} group{plural} there", cx.show_shape(&sizes));
        let d =
            Diagnostic::new(BAD_SHAPE, message, at, label).help("a kernel has the axes [filters, channels / groups, sizes..]");
        return Err(cx.report(d));
    }
    let mut pads = Vec::with_capacity(axes);
    for axis in 0..axes {
        let (length, window) = (shape[shape.len() - axes + axis], sizes[2 + axis]);
        if same {
            let last = (length.div_ceil(stride).max(1) - 1).saturating_mul(stride);
            let missing = last.saturating_add(window).saturating_sub(length);
            pads.push((missing / 2, missing - missing / 2));
        } else {
            fits_window(cx, args.name, length, window, span)?;
            pads.push((0, 0));
        }
    }
    cx.layer(Layer::Conv { strides: vec![stride; axes].into(), pads: pads.into(), groups }, &[x, &kernel], span)
}

fn pooled(cx: &mut Cx, args: &Args, x: &TensorVal, span: Span) -> Answer {
    let size = whole(cx, args, 1, 1)?;
    let stride = whole(cx, args, 2, size)?;
    let shape = cx.shape(x);
    if shape.len() < 3 {
        return Err(rank(cx, args.name, 3, &shape, span));
    }
    for length in &shape[shape.len() - 2..] {
        fits_window(cx, args.name, *length, size, span)?;
    }
    cx.layer(Layer::Pool { max: args.name == "max_pool", size, stride }, &[x], span).map(Value::Tensor)
}

/// With its four parameters, which the layer's name leads to.
fn batch_norm(cx: &mut Cx, x: &TensorVal, span: Span) -> Answer {
    let shape = cx.shape(x);
    let axis = match shape.len() {
        0 => return Err(rank(cx, "batch_norm", 1, &shape, span)),
        axes @ 1..=2 => axes - 1,
        axes => axes - 3,
    };
    let parameters = cx.statistics_of_channels(shape[axis], span)?;
    let operands: Vec<&TensorVal> = [x].into_iter().chain(&parameters).collect();
    cx.layer(Layer::BatchNorm { epsilon: EPSILON.to_bits(), axis: axis as u32 }, &operands, span).map(Value::Tensor)
}

impl Cx<'_> {
    /// The kernel of a `conv1d` of which only the width is given.
    fn kernel_of_width(&mut self, shape: &[u64; 3], span: Span) -> Result<TensorVal, Reported> {
        self.within_layer("conv1d", |cx| {
            let kaiming = Args { name: "kaiming", given: vec![None, None] };
            cx.started("kernel", &kaiming, shape, true, span)
        })
    }

    /// Scale, shift, running mean and running variance.
    fn statistics_of_channels(&mut self, channels: u64, span: Span) -> Result<[TensorVal; 4], Reported> {
        self.within_layer("batch_norm", |cx| {
            let mut make = |name: &str, start: &'static str, trainable: bool| {
                cx.started(name, &Args { name: start, given: Vec::new() }, &[channels], trainable, span)
            };
            Ok([
                make("scale", "ones", true)?,
                make("shift", "zeros", true)?,
                make("mean", "zeros", false)?,
                make("variance", "ones", false)?,
            ])
        })
    }

    /// A parameter that starts as a primitive says.
    fn started(&mut self, name: &str, start: &Args, shape: &[u64], trainable: bool, span: Span) -> Result<TensorVal, Reported> {
        let shape: Rc<[u64]> = shape.into();
        let (value, name) = self.starting(name, shape.clone(), |cx| super::starts::start(cx, start, span));
        let Value::Tensor(value) = value? else { return Err(Reported) };
        let written = format!("{}()", start.name);
        self.parameter(NewParameter { name, shape, start: value, written, trainable, span })
    }
}

/// An int from 1, or its default.
fn whole(cx: &mut Cx, args: &Args, index: usize, default: u64) -> Result<u64, Reported> {
    match given(args, index)? {
        Some(arg) => from_one(cx, args.name, arg),
        None => Ok(default),
    }
}

fn from_one(cx: &mut Cx, who: &str, arg: &Argument) -> Result<u64, Reported> {
    match int(cx, who, arg)? {
        n @ 1.. => Ok(n as u64),
        n => Err(cx.error(BAD_SHAPE, format!("`{who}` wants an int from 1 here, and this is {n}"), arg.span, "")),
    }
}

fn rank(cx: &mut Cx, who: &str, axes: usize, shape: &[u64], span: Span) -> Reported {
    let message = format!("`{who}` wants at least {axes} ax{}s", if axes == 1 { "i" } else { "e" });
    cx.error(BAD_SHAPE, message, span, format!("this has {}", cx.show_shape(shape)))
}

fn fits_window(cx: &mut Cx, who: &str, length: u64, window: u64, span: Span) -> Result<(), Reported> {
    if window <= length && window > 0 {
        return Ok(());
    }
    let message = format!("a window of {window} does not fit an axis of {length} in `{who}`");
    Err(cx.error(BAD_SHAPE, message, span, ""))
}
