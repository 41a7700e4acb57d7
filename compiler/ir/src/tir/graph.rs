//! The graph itself, built node by node.

use super::layer::{Layer, Network, Parameter, ParameterId, Reweighted};
use merge_abi::{BinaryFn, Checkpoint, DType, RandomKey, ReduceFn, Role, Routine, Setting, SettingId, Source, UnaryFn};
use merge_base::Span;
use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

/// A node of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// A tensor of a checkpoint: index into [`Graph::sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u32);

/// What a reduction or selection ranges over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Over {
    /// The whole tensor; the result has no axes.
    All,
    /// Each row, along the last axis, which stays with length 1.
    Rows,
}

/// An operation. Numbers are kept as bits so that operations can be compared and hashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A number, as the bits of an f64. No axes.
    Const(u64),
    /// A launch scalar. No axes.
    Setting(SettingId),
    /// Entries written out in the recipe, row-major, as bits of f64.
    Literal(Rc<[u64]>),
    /// An input tensor, whole.
    Load(SourceId),
    Unary(UnaryFn, NodeId),
    Binary(BinaryFn, NodeId, NodeId),
    /// The second where the first is not 0, else the third.
    Select(NodeId, NodeId, NodeId),
    /// Each entry's coordinate along an axis.
    Coord {
        axis: u32,
    },
    /// Uniform numbers in `[0, 1)`; `first` is added to the flat index.
    Uniform {
        key: RandomKey,
        first: u64,
    },
    /// Standard normal numbers.
    Normal {
        key: RandomKey,
        first: u64,
    },
    Reduce {
        f: ReduceFn,
        over: Over,
        input: NodeId,
    },
    /// The k-th largest entry of `input`; `k` is a scalar, rounded down, held within `1..=n`.
    Kth {
        input: NodeId,
        k: NodeId,
        over: Over,
    },
    /// 1 for the `k` largest entries of `input`, of equal ones those with the lowest index; else 0.
    /// NaN counts as the largest. `k` is a scalar, rounded down, held within `0..=n`.
    TopMask {
        input: NodeId,
        k: NodeId,
        over: Over,
    },
    /// Number of entries that precede each entry when sorted downwards; equal ones by index.
    Rank {
        input: NodeId,
        over: Over,
    },
    /// A box of `input` that starts at `start`; the node's shape is its size.
    Slice {
        input: NodeId,
        start: Rc<[u64]>,
    },
    /// The same entries in row-major order under another shape.
    Reshape {
        input: NodeId,
    },
    /// `perm[i]` is the axis of `input` that becomes axis `i`.
    Transpose {
        input: NodeId,
        perm: Rc<[u32]>,
    },
    Concat {
        axis: u32,
        inputs: Rc<[NodeId]>,
    },
    /// One result of a routine on whole tensors. Nodes that differ in `result` alone are one computation.
    Call {
        routine: Rc<Routine>,
        result: u32,
        inputs: Rc<[NodeId]>,
    },
    /// A tensor that a network is trained with.
    Parameter(ParameterId),
    /// An operation of networks; nothing that is saved as weights depends on one.
    Layer {
        layer: Rc<Layer>,
        inputs: Rc<[NodeId]>,
    },
}

/// An operation with the shape of its result.
#[derive(Clone, Debug)]
pub struct Node {
    pub op: Op,
    pub shape: Rc<[u64]>,
    /// Where in the recipe it was first asked for.
    pub span: Span,
}

/// Nodes that were made inside of something that has a name: a `let`, a call, an arm, a turn of a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub nodes: std::ops::Range<u32>,
    /// The path with its keys, as parameters inside have it in front of their names: `net.h.dense[0]`.
    pub name: String,
}

/// One `save`.
#[derive(Clone, Debug)]
pub struct Output {
    pub path: String,
    pub role: Role,
    /// In name order.
    pub tensors: Vec<OutTensor>,
    pub shard: Option<u64>,
    /// Index into [`Graph::checkpoints`].
    pub like: Option<u32>,
    /// Index into [`Graph::checkpoints`].
    pub tokenizer: Option<u32>,
    pub config: Vec<(String, String)>,
    /// Text of `adapter_config.json`, where the tensors are an adapter's factors.
    pub adapter: Option<String>,
    pub trained: Option<Trained>,
    pub place: String,
    pub span: Span,
}

/// What an output has that is to be trained, or that weights cannot hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// Its part of [`Graph::networks`].
    pub networks: std::ops::Range<u32>,
    /// Its part of [`Graph::reweighted`].
    pub reweighted: std::ops::Range<u32>,
    /// How many of the output's tensors, the last ones, are start values of parameters.
    pub starts: u32,
    /// The file of its own that these lie in.
    pub file: String,
}

#[derive(Clone, Debug)]
pub struct OutTensor {
    pub name: String,
    pub node: NodeId,
    pub dtype: DType,
}

/// A condition on launch scalars.
#[derive(Clone, Debug)]
pub struct Constraint {
    pub node: NodeId,
    pub message: String,
    pub place: String,
}

/// A whole recipe.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    known: FxHashMap<(Op, Rc<[u64]>), NodeId>,
    /// The shape of all numbers.
    no_axes: Rc<[u64]>,
    pub checkpoints: Vec<Checkpoint>,
    pub sources: Vec<Source>,
    pub settings: Vec<Setting>,
    /// Choices that shaped the graph: name and value.
    pub structural: Vec<(String, String)>,
    pub constraints: Vec<Constraint>,
    pub outputs: Vec<Output>,
    pub parameters: Vec<Parameter>,
    /// Networks, and modules of a base model that are replaced; in the order of their names within one recipe item.
    pub networks: Vec<Network>,
    /// Tensors of a base model that parameters change, in name order.
    pub reweighted: Vec<Reweighted>,
    /// `recipe.merge:3:14` of each [`Op::Call`], for what it has to say when it runs.
    pub places: FxHashMap<NodeId, String>,
    /// Named parts of networks and adapters, the inner before those around them.
    pub scopes: Vec<Scope>,
}

impl Graph {
    /// The node for `op` with result shape `shape`, new or known.
    pub fn add(&mut self, op: Op, shape: Rc<[u64]>, span: Span) -> NodeId {
        match self.known.entry((op, shape)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let id = NodeId(self.nodes.len() as u32);
                let (op, shape) = new.key().clone();
                new.insert(id);
                self.nodes.push(Node { op, shape, span });
                id
            }
        }
    }

    /// By node: the name of the innermost scope that it was made in; empty outside of all.
    pub fn scope_names(&self) -> Vec<&str> {
        let mut names: Vec<Option<&str>> = vec![None; self.nodes.len()];
        for scope in &self.scopes {
            let nodes = scope.nodes.start as usize..(scope.nodes.end as usize).min(self.nodes.len());
            names[nodes].iter_mut().filter(|name| name.is_none()).for_each(|name| *name = Some(&scope.name));
        }
        names.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// Makes room for so many more nodes at once.
    pub fn reserve(&mut self, nodes: usize) {
        self.nodes.reserve(nodes);
        self.known.reserve(nodes);
    }

    /// The node for a number.
    pub fn constant(&mut self, value: f64, span: Span) -> NodeId {
        self.add(Op::Const(value.to_bits()), self.no_axes.clone(), span)
    }

    /// The shape of a number.
    pub fn no_axes(&self) -> Rc<[u64]> {
        self.no_axes.clone()
    }

    /// The node under `id`.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The shape of `id`.
    pub fn shape(&self, id: NodeId) -> &Rc<[u64]> {
        &self.nodes[id.0 as usize].shape
    }

    /// All nodes with their ids, operands before users.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(i, n)| (NodeId(i as u32), n))
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The value of a scalar that depends on constants and settings alone, the settings being at
    /// `values` (by [`SettingId`]); none if it depends on a tensor.
    pub fn launch_value(&self, id: NodeId, values: &[f64]) -> Option<f64> {
        let at = |n: NodeId| self.launch_value(n, values);
        Some(match &self.node(id).op {
            Op::Const(bits) => f64::from_bits(*bits),
            Op::Setting(s) => values[s.0 as usize],
            Op::Unary(f, a) if self.shape(id).is_empty() => f.eval(at(*a)?),
            Op::Binary(f, a, b) if self.shape(id).is_empty() => f.eval(at(*a)?, at(*b)?),
            Op::Select(c, a, b) if self.shape(id).is_empty() => {
                if at(*c)? != 0.0 {
                    at(*a)?
                } else {
                    at(*b)?
                }
            }
            _ => return None,
        })
    }
}

impl Graph {
    /// The nodes that stand for `roots` once the nodes in `instead` are replaced: all that depend on one are made anew.
    pub fn substitute(&mut self, roots: &[NodeId], instead: &FxHashMap<NodeId, NodeId>) -> Vec<NodeId> {
        let Some(last) = roots.iter().max() else { return Vec::new() };
        let mut needed = vec![false; last.0 as usize + 1];
        roots.iter().for_each(|r| needed[r.0 as usize] = true);
        for id in (0..needed.len()).rev().filter(|id| !instead.contains_key(&NodeId(*id as u32))) {
            if needed[id] {
                self.nodes[id].op.each_operand(|o| needed[o.0 as usize] = true);
            }
        }
        let mut made: Vec<NodeId> = (0..needed.len() as u32).map(NodeId).collect();
        for id in (0..needed.len()).filter(|id| needed[*id]) {
            let old = NodeId(id as u32);
            made[id] = match instead.get(&old) {
                Some(new) => *new,
                None => {
                    let Node { op, shape, span } = self.node(old).clone();
                    let op = op.map_operands(|o| made[o.0 as usize]);
                    let new = self.add(op, shape, span);
                    if let Some(place) = self.places.get(&old).cloned() {
                        self.places.entry(new).or_insert(place);
                    }
                    new
                }
            };
        }
        roots.iter().map(|r| made[r.0 as usize]).collect()
    }
}

impl Op {
    /// The nodes it reads, in order.
    pub fn operands(&self) -> Vec<NodeId> {
        let mut all = Vec::new();
        self.each_operand(|n| all.push(n));
        all
    }

    /// Calls `f` for each node it reads, in order.
    pub fn each_operand(&self, mut f: impl FnMut(NodeId)) {
        match self {
            Op::Const(_) | Op::Setting(_) | Op::Literal(_) | Op::Load(_) => {}
            Op::Coord { .. } | Op::Uniform { .. } | Op::Normal { .. } | Op::Parameter(_) => {}
            Op::Unary(_, a) => f(*a),
            Op::Binary(_, a, b) => [*a, *b].into_iter().for_each(f),
            Op::Select(c, a, b) => [*c, *a, *b].into_iter().for_each(f),
            Op::Reduce { input, .. } | Op::Rank { input, .. } => f(*input),
            Op::Kth { input, k, .. } | Op::TopMask { input, k, .. } => [*input, *k].into_iter().for_each(f),
            Op::Slice { input, .. } | Op::Reshape { input } | Op::Transpose { input, .. } => f(*input),
            Op::Concat { inputs, .. } | Op::Call { inputs, .. } | Op::Layer { inputs, .. } => inputs.iter().copied().for_each(f),
        }
    }

    /// The same operation on other nodes.
    pub fn map_operands(&self, mut f: impl FnMut(NodeId) -> NodeId) -> Op {
        match self {
            Op::Const(_) | Op::Setting(_) | Op::Literal(_) | Op::Load(_) => self.clone(),
            Op::Coord { .. } | Op::Uniform { .. } | Op::Normal { .. } | Op::Parameter(_) => self.clone(),
            Op::Unary(g, a) => Op::Unary(*g, f(*a)),
            Op::Binary(g, a, b) => Op::Binary(*g, f(*a), f(*b)),
            Op::Select(c, a, b) => Op::Select(f(*c), f(*a), f(*b)),
            Op::Reduce { f: g, over, input } => Op::Reduce { f: *g, over: *over, input: f(*input) },
            Op::Kth { input, k, over } => Op::Kth { input: f(*input), k: f(*k), over: *over },
            Op::TopMask { input, k, over } => Op::TopMask { input: f(*input), k: f(*k), over: *over },
            Op::Rank { input, over } => Op::Rank { input: f(*input), over: *over },
            Op::Slice { input, start } => Op::Slice { input: f(*input), start: start.clone() },
            Op::Reshape { input } => Op::Reshape { input: f(*input) },
            Op::Transpose { input, perm } => Op::Transpose { input: f(*input), perm: perm.clone() },
            Op::Concat { axis, inputs } => Op::Concat { axis: *axis, inputs: inputs.iter().map(|n| f(*n)).collect() },
            Op::Call { routine, result, inputs } => {
                Op::Call { routine: routine.clone(), result: *result, inputs: inputs.iter().map(|n| f(*n)).collect() }
            }
            Op::Layer { layer, inputs } => Op::Layer { layer: layer.clone(), inputs: inputs.iter().map(|n| f(*n)).collect() },
        }
    }
}
