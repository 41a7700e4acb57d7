//! What networks have and recipes of weights do not: inputs, layers, parameters.
//!
//! A network is a part of a [`super::Graph`]: it begins at its inputs and at parameters, and ends at its output. Its
//! arithmetic is that of all tensors; [`Layer`] holds only what that cannot say. What a parameter starts as is a node of the same
//! graph, without layers in it, so start values are computed by the same passes as merged weights.
//!
//! Not here: composed layers (attention, feed-forward, norms), which are functions of the standard library.

use super::{NodeId, SourceId};
use merge_base::Span;
use std::rc::Rc;

/// A tensor that a network is trained with: index into [`super::Graph::parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParameterId(pub u32);

/// A `new` tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its path through lets, calls and arms with its keys, as of a decision; no two have the same.
    pub name: String,
    pub shape: Rc<[u64]>,
    /// What it starts as: a node of its shape, or a scalar that stretches.
    pub start: NodeId,
    /// The start value as the recipe writes it, such as `kaiming()`.
    pub written: String,
    /// Whether training changes it by gradients; running statistics of a norm are kept, not trained.
    pub trainable: bool,
    pub span: Span,
}

/// An operation of networks. Images are `[.., c, h, w]`, sequences `[.., t, c]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// What is given to the network, by name. No operands; the shape is declared.
    Input { name: String },
    /// `[.., m, k] @ [.., k, n]`, the leading axes being the same.
    MatMul,
    /// Convolution of `[.., c, spatial..]` with a kernel `[f, c / groups, sizes..]` over the last `strides.len()` axes. `pads` are zeros
    /// before and behind each.
    Conv { strides: Rc<[u64]>, pads: Rc<[(u64, u64)]>, groups: u64 },
    /// The largest entry, or the mean, in windows over the last two axes, without padding.
    Pool { max: bool, size: u64, stride: u64 },
    /// Operands: `x` of `[.., c, h, w]` (or `[c]` behind a batch), then scale, shift, running mean and running variance, `[c]` each. In training the batch's own
    /// mean and variance stand for the running ones.
    BatchNorm { epsilon: u64, axis: u32 },
    /// Operands: `x` and the share that is kept, a scalar. The identity once the network is trained.
    Dropout,
    /// Rows of a table `[v, d]` by the ints in `x`.
    Embedding,
    /// What a module of the base model gives for `x`: a network of which only the name is known, and the weights under that name.
    Module { name: String },
}

/// A network, or what replaces a module of a base model.
#[derive(Clone, Debug)]
pub struct Network {
    /// What the recipe calls it; for a replaced module, the module's name.
    pub name: String,
    /// Nodes of [`Layer::Input`], in the order of the function's parameters.
    pub inputs: Vec<NodeId>,
    pub output: NodeId,
    /// Whether it stands in the place of a module of the base.
    pub replaces: bool,
}

/// A tensor of a base model that is made anew from itself and parameters: `base + s * b @ a`.
#[derive(Clone, Debug)]
pub struct Reweighted {
    pub name: String,
    /// What it was made from, where that has the same name.
    pub source: Option<SourceId>,
    pub node: NodeId,
}

impl Layer {
    /// The word of text forms and of exported graphs.
    pub fn name(&self) -> &'static str {
        match self {
            Layer::Input { .. } => "input",
            Layer::MatMul => "batch_matmul",
            Layer::Conv { .. } => "conv",
            Layer::Pool { max: true, .. } => "max_pool",
            Layer::Pool { max: false, .. } => "avg_pool",
            Layer::BatchNorm { .. } => "batch_norm",
            Layer::Dropout => "dropout",
            Layer::Embedding => "embedding",
            Layer::Module { .. } => "module",
        }
    }

    /// The shape of what it gives for operands of these shapes; none where the graph declares it.
    ///
    /// # Errors
    /// One sentence: what does not fit.
    pub fn result(&self, inputs: &[&[u64]]) -> Result<Option<Vec<u64>>, String> {
        match (self, inputs) {
            (Layer::Input { .. }, []) | (Layer::Module { .. }, [_]) => Ok(None),
            (Layer::MatMul, [a, b]) => matmul(a, b).map(Some),
            (Layer::Conv { strides, pads, groups }, [x, kernel]) => convolved(x, kernel, strides, pads, *groups).map(Some),
            (Layer::Pool { size, stride, .. }, [x]) => pooled(x, *size, *stride).map(Some),
            (Layer::BatchNorm { axis, .. }, [x, rest @ ..]) if rest.len() == 4 => {
                let channels = x.get(*axis as usize).ok_or("there is no such axis")?;
                if rest.iter().all(|r| **r == [*channels]) {
                    Ok(Some(x.to_vec()))
                } else {
                    Err("scale, shift, mean and variance have an entry for each channel".into())
                }
            }
            (Layer::Dropout, [x, []]) => Ok(Some(x.to_vec())),
            (Layer::Embedding, [x, [_, d]]) => Ok(Some(x.iter().copied().chain([*d]).collect())),
            _ => Err(format!("`{}` does not take these operands", self.name())),
        }
    }
}

fn matmul(a: &[u64], b: &[u64]) -> Result<Vec<u64>, String> {
    match (a, b) {
        ([batch @ .., m, k], [other @ .., l, n]) if batch == other && k == l => {
            Ok(batch.iter().copied().chain([*m, *n]).collect())
        }
        _ => Err("the factors do not fit together".into()),
    }
}

fn convolved(x: &[u64], kernel: &[u64], strides: &[u64], pads: &[(u64, u64)], groups: u64) -> Result<Vec<u64>, String> {
    let axes = strides.len();
    if pads.len() != axes || kernel.len() != axes + 2 || x.len() < axes + 1 || groups == 0 {
        return Err("input, kernel, strides and pads have different numbers of axes".into());
    }
    let at = x.len() - axes - 1;
    if kernel[1].checked_mul(groups) != Some(x[at]) || !kernel[0].is_multiple_of(groups) {
        return Err("the kernel does not have the channels of the input".into());
    }
    let mut shape = x.to_vec();
    shape[at] = kernel[0];
    for axis in 0..axes {
        let (before, behind) = pads[axis];
        let padded = x[at + 1 + axis] + before + behind;
        shape[at + 1 + axis] = windows(padded, kernel[2 + axis], strides[axis])?;
    }
    Ok(shape)
}

fn pooled(x: &[u64], size: u64, stride: u64) -> Result<Vec<u64>, String> {
    let mut shape = x.to_vec();
    let [_, .., h, w] = shape.as_mut_slice() else { return Err("an image has at least three axes".into()) };
    *h = windows(*h, size, stride)?;
    *w = windows(*w, size, stride)?;
    Ok(shape)
}

/// How many windows of `size` fit, `stride` apart.
fn windows(length: u64, size: u64, stride: u64) -> Result<u64, String> {
    if size == 0 || stride == 0 || size > length {
        return Err(format!("a window of {size} does not fit an axis of {length}"));
    }
    Ok((length - size) / stride + 1)
}
