//! ONNX: one model for each network and each replaced module.
//!
//! Parameters are initializers whose data lie in the file of start values (external data: location, offset, length), so that nothing is
//! stored twice. Tensors of a base model are inputs under their names, after the network's own. A module of the base that a
//! replacement calls is a node of the domain `merge.base`, type `Module`, with its name as attribute. Networks are written as they compute
//! once trained: dropout is gone, norms use running statistics. All values are f32, truth is 1 or 0.
//!
//! Reweighted tensors are not written here: they are weights, and `graph.json` has them.

mod lower;
mod operators;
mod proto;

use crate::{Package, plain};
use lower::{Initial, Lowered, lower};
use merge_abi::FilePiece;
use merge_ir::tir::PARAMETER_DTYPE;
use prost::Message;
use std::collections::BTreeSet;

/// One network as ONNX.
pub(crate) struct Model {
    /// What the recipe calls it.
    pub network: String,
    pub file: String,
    /// The file, or why there is none.
    pub pieces: Result<Vec<FilePiece>, String>,
}

/// A model for each network of the package.
pub(crate) fn models(package: &Package<'_>) -> Vec<Model> {
    let mut taken = BTreeSet::new();
    let alone = package.networks.len() == 1 && !package.networks[0].replaces;
    let mut found = Vec::with_capacity(package.networks.len());
    for network in package.networks {
        let stem = if alone { "model".to_owned() } else { file_stem(&network.name) };
        let mut file = format!("{stem}.onnx");
        let mut more = 2;
        while !taken.insert(file.clone()) {
            file = format!("{stem}-{more}.onnx");
            more += 1;
        }
        let pieces = lower(package, network).map(|lowered| assemble(package, &network.name, &lowered));
        found.push(Model { network: network.name.clone(), file, pieces });
    }
    found
}

/// A name as the name of a file: paths of modules are dotted words.
fn file_stem(name: &str) -> String {
    let allowed = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let stem: String = name.chars().map(allowed).collect();
    if stem.starts_with('.') || stem.is_empty() { format!("_{stem}") } else { stem }
}

/// The bytes of a model, cut where values have to be filled in: those places are where two encodings differ whose
/// placeholders do.
fn assemble(package: &Package<'_>, name: &str, lowered: &Lowered) -> Vec<FilePiece> {
    let (low, high) = (encode(package, name, lowered, 0), encode(package, name, lowered, 1));
    let mut pieces = Vec::new();
    let (mut from, mut at) = (0, 0);
    for piece in lowered.initial.iter().filter_map(|(_, _, initial)| placeholder(initial)) {
        while low[at] == high[at] {
            at += 1;
        }
        pieces.push(plain(low[from..at].to_vec()));
        at += match piece {
            FilePiece::Offset { .. } => FilePiece::OFFSET_DIGITS,
            _ => size_of::<f32>(),
        };
        from = at;
        pieces.push(piece);
    }
    pieces.push(plain(low[from..].to_vec()));
    pieces
}

/// What the runtime fills in for an initializer.
fn placeholder(initial: &Initial) -> Option<FilePiece> {
    match initial {
        Initial::Parameter { tensor } => Some(FilePiece::Offset { tensor: *tensor }),
        Initial::Setting(id) => Some(FilePiece::SettingBytes(*id)),
        Initial::Floats(_) | Initial::Ints(_) => None,
    }
}

/// The model with all placeholders filled by one digit or one byte.
fn encode(package: &Package<'_>, name: &str, lowered: &Lowered, filler: u8) -> Vec<u8> {
    let initializer = lowered.initial.iter().map(|(name, shape, initial)| tensor(package, name, shape, initial, filler));
    let graph = proto::Graph {
        node: lowered.nodes.clone(),
        name: Some(name.to_owned()),
        initializer: initializer.collect(),
        input: lowered.inputs.iter().map(|(name, shape)| value(name, shape)).collect(),
        output: vec![value(&lowered.output.0, &lowered.output.1)],
    };
    let set = |domain: &str, version| proto::OperatorSet { domain: Some(domain.to_owned()), version: Some(version) };
    let mut opset_import = vec![set("", proto::OPSET)];
    if lowered.nodes.iter().any(|n| n.domain.is_some()) {
        opset_import.push(set(proto::DOMAIN, 1));
    }
    let model = proto::Model {
        ir_version: Some(proto::IR_VERSION),
        producer_name: Some("mergec".to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        graph: Some(graph),
        opset_import,
    };
    model.encode_to_vec()
}

fn tensor(package: &Package<'_>, name: &str, shape: &[u64], initial: &Initial, filler: u8) -> proto::Tensor {
    let mut tensor = proto::Tensor { dims: signed(shape), name: Some(name.to_owned()), ..proto::Tensor::default() };
    tensor.data_type = Some(proto::data::FLOAT);
    match initial {
        Initial::Floats(values) => tensor.raw_data = Some(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        Initial::Ints(values) => {
            tensor.data_type = Some(proto::data::INT64);
            tensor.raw_data = Some(values.iter().flat_map(|v| v.to_le_bytes()).collect());
        }
        Initial::Setting(_) => tensor.raw_data = Some(vec![filler; size_of::<f32>()]),
        Initial::Parameter { .. } => {
            let entry = |key: &str, value: String| proto::Entry { key: Some(key.to_owned()), value: Some(value) };
            let digits = char::from(b'0' + filler).to_string().repeat(FilePiece::OFFSET_DIGITS);
            let bytes = shape.iter().product::<u64>() * PARAMETER_DTYPE.size();
            tensor.data_location = Some(1);
            tensor.external_data =
                vec![entry("location", package.file.to_owned()), entry("offset", digits), entry("length", bytes.to_string())];
        }
    }
    tensor
}

fn value(name: &str, shape: &[u64]) -> proto::ValueInfo {
    let dim = shape.iter().map(|n| proto::Dimension { value: Some(*n as i64) }).collect();
    let tensor = proto::TensorType { elements: Some(proto::data::FLOAT), shape: Some(proto::Shape { dim }) };
    proto::ValueInfo { name: Some(name.to_owned()), kind: Some(proto::Type { tensor: Some(tensor) }) }
}

/// Lengths as ONNX has them.
fn signed(shape: &[u64]) -> Vec<i64> {
    shape.iter().map(|n| *n as i64).collect()
}
