//! Networks and adapters as files for trainers.
//!
//! | file | what |
//! |---|---|
//! | `graph.json` | all nodes of the networks and reweighted tensors of one output, by `docs/schemas/graph.schema.json` |
//! | `trainable.json` | which tensors there are to train, what they start as, choices, costs, by `docs/schemas/trainable.schema.json` |
//! | `model.onnx`, `MODULE.onnx` | one model for each network and replaced module; weights are external data in the file of start values |
//!
//! The start values themselves are tensors of the plan, which the runtime computes and writes. Files here are known when the plan is
//! made, but for values of settings and places in files: those are pieces ([`FilePiece`]) that the runtime fills in. So they are
//! part of an executable that `mergec build` makes, and trials that differ in real numbers alone share them.
//!
//! Invariants: files are functions of the graph and [`About`]; no path of a machine is in them.
//!
//! Not here: reading and writing files, ONNX beyond the messages that are written (`onnx::proto`), layouts of PEFT (`sema`).

#![deny(clippy::disallowed_methods)]

mod json;
mod manifest;
mod onnx;
mod pieces;

pub use json::FORMAT as GRAPH_FORMAT;
pub use manifest::FORMAT as MANIFEST_FORMAT;

use merge_abi::{FilePiece, OutFile};
use merge_base::Span;
use merge_ir::tir::{Costs, Graph, Network, NodeId, Op, Output, ParameterId, Reweighted, costs, parameters};

/// The file of the computational graph.
pub const GRAPH: &str = "graph.json";
/// The file that says what is trained.
pub const MANIFEST: &str = "trainable.json";
/// The file of start values of a network.
pub const STARTS: &str = "start.safetensors";

/// The name of the checkpoint that start values are taken from where a candidate takes over what another was trained to. It is a
/// word of the language, so no recipe has a checkpoint of that name.
pub const TAKEN_FROM: &str = "from";

/// How many start values are trained ones of another candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub tensors: u64,
    pub of_tensors: u64,
    pub entries: u64,
    pub of_entries: u64,
}

/// What an output takes over; none where nothing was asked for.
pub fn taken(graph: &Graph, output: &Output) -> Option<Taken> {
    let starts = output.trained.as_ref()?.starts as usize;
    graph.checkpoints.iter().find(|c| c.name == TAKEN_FROM)?;
    let mut taken = Taken::default();
    for tensor in &output.tensors[output.tensors.len().saturating_sub(starts)..] {
        let entries = graph.shape(tensor.node).iter().product::<u64>();
        let is = u64::from(is_taken(graph, tensor.node));
        taken.tensors += is;
        taken.of_tensors += 1;
        taken.entries += is * entries;
        taken.of_entries += entries;
    }
    Some(taken)
}

/// Whether a start value comes from another candidate.
pub(crate) fn is_taken(graph: &Graph, start: NodeId) -> bool {
    match graph.node(start).op {
        Op::Load(source) => graph.checkpoints[graph.sources[source.0 as usize].checkpoint as usize].name == TAKEN_FROM,
        _ => false,
    }
}

/// What the graph does not know of a candidate.
#[derive(Clone, Copy)]
pub struct About<'a> {
    /// The hash of the space that it is a point of, where that is known.
    pub space: Option<&'a str>,
    /// `recipe.merge:3:14` of a span.
    pub place: &'a dyn Fn(Span) -> String,
}

/// One output of a graph and the networks in it.
pub(crate) struct Package<'a> {
    pub graph: &'a Graph,
    pub output: &'a Output,
    pub networks: &'a [Network],
    pub reweighted: &'a [Reweighted],
    /// What the networks and reweighted tensors end at.
    pub roots: Vec<NodeId>,
    pub parameters: Vec<ParameterId>,
    /// The file that the start values lie in.
    pub file: &'a str,
    pub costs: Costs,
    pub about: About<'a>,
}

/// The files that lie beside the tensors of an output; none where nothing in it is trained.
pub fn files(graph: &Graph, output: &Output, about: About<'_>) -> Vec<OutFile> {
    let Some(trained) = &output.trained else { return Vec::new() };
    let of = |range: &std::ops::Range<u32>| range.start as usize..range.end as usize;
    let networks = graph.networks.get(of(&trained.networks)).unwrap_or_default();
    let reweighted = graph.reweighted.get(of(&trained.reweighted)).unwrap_or_default();
    let roots: Vec<NodeId> = networks.iter().map(|n| n.output).chain(reweighted.iter().map(|r| r.node)).collect();
    let package = Package {
        graph,
        output,
        networks,
        reweighted,
        parameters: parameters(graph, &roots),
        costs: costs(graph, &roots),
        roots,
        file: &trained.file,
        about,
    };
    let models = onnx::models(&package);
    let mut files = vec![json::file(&package), manifest::file(&package, &models)];
    files.extend(models.into_iter().filter_map(|m| m.pieces.ok().map(|pieces| OutFile { name: m.file, pieces })));
    files
}

impl Package<'_> {
    /// The tensor of the output that a parameter starts as, where it has one under its own name.
    pub fn tensor(&self, parameter: ParameterId) -> Option<u32> {
        let name = &self.graph.parameters[parameter.0 as usize].name;
        let starts = self.output.trained.as_ref().map_or(0, |t| t.starts as usize);
        let first = self.output.tensors.len().saturating_sub(starts);
        let found = self.output.tensors[first..].iter().position(|t| t.name == *name);
        found.map(|at| (first + at) as u32)
    }
}

/// The bytes of pieces that no value has to be filled into.
pub(crate) fn plain(bytes: Vec<u8>) -> FilePiece {
    FilePiece::Bytes(bytes)
}
