//! The nodes of a network as nodes of ONNX.

use super::operators::{Attribute, attribute};
use super::{proto, signed};
use crate::Package;
use crate::json::input_name;
use merge_abi::SettingId;
use merge_ir::tir::{Layer, Network, NodeId, Op, needed};
use std::collections::{BTreeMap, BTreeSet};

/// Where the entries of an initializer come from.
pub(super) enum Initial {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Setting(SettingId),
    /// A tensor of the output, in the file of start values.
    Parameter {
        tensor: u32,
    },
}

/// A network's parts in the order in which they are written.
pub(super) struct Lowered {
    pub nodes: Vec<proto::Node>,
    pub initial: Vec<(String, Vec<u64>, Initial)>,
    pub inputs: Vec<(String, Vec<u64>)>,
    pub output: (String, Vec<u64>),
}

/// A network while it is written.
pub(super) struct Lowering<'a> {
    pub package: &'a Package<'a>,
    nodes: Vec<proto::Node>,
    initial: Vec<(String, Vec<u64>, Initial)>,
    /// Constants that are there already, by their bytes and shape.
    shared: BTreeMap<(Vec<u8>, Vec<u64>), String>,
    names: BTreeMap<NodeId, String>,
    taken: BTreeSet<String>,
}

/// A network as ONNX.
///
/// # Errors
/// A sentence: what ONNX cannot say.
pub(super) fn lower(package: &Package<'_>, network: &Network) -> Result<Lowered, String> {
    let mut l = Lowering {
        package,
        nodes: Vec::new(),
        initial: Vec::new(),
        shared: BTreeMap::new(),
        names: BTreeMap::new(),
        taken: BTreeSet::new(),
    };
    let mut inputs = Vec::new();
    for id in &network.inputs {
        let name = l.fresh(input_name(package, *id));
        inputs.push((name.clone(), package.graph.shape(*id).to_vec()));
        l.names.insert(*id, name);
    }
    let needed = needed(package.graph, &[network.output]);
    for (id, node) in package.graph.nodes().take(needed.len()).filter(|(id, _)| needed[id.0 as usize]) {
        if l.names.contains_key(&id) {
            continue;
        }
        let name = match &node.op {
            Op::Load(source) => {
                let name = l.fresh(&package.graph.sources[source.0 as usize].name);
                inputs.push((name.clone(), node.shape.to_vec()));
                name
            }
            Op::Parameter(p) => {
                let parameter = &package.graph.parameters[p.0 as usize];
                let tensor = package
                    .tensor(*p)
                    .ok_or_else(|| format!("the start value of `{}` is stored in another layout", parameter.name))?;
                let name = l.fresh(&parameter.name);
                l.initial.push((name.clone(), node.shape.to_vec(), Initial::Parameter { tensor }));
                name
            }
            Op::Layer { layer, .. } if matches!(**layer, Layer::Input { .. }) => {
                return Err("it looks at the input of another network".to_owned());
            }
            _ => l.operation(id, node)?,
        };
        l.names.insert(id, name);
    }
    // What is given out has a name of its own, even where it is an input or a constant.
    let result = l.names[&network.output].clone();
    let output = l.node("Identity", &[&result], &[]);
    let shape = package.graph.shape(network.output).to_vec();
    Ok(Lowered { nodes: l.nodes, initial: l.initial, inputs, output: (output, shape) })
}

impl Lowering<'_> {
    /// The name of a node's value.
    pub fn name(&self, id: NodeId) -> &str {
        &self.names[&id]
    }

    /// A name that nothing has, made of this one.
    fn fresh(&mut self, wish: &str) -> String {
        let mut name = wish.to_owned();
        while name.is_empty() || !self.taken.insert(name.clone()) {
            name.push('\'');
        }
        name
    }

    /// An operator with one result, whose name is given back.
    pub fn node(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute<'_>)]) -> String {
        self.node_of(None, op, inputs, attributes, 1).swap_remove(0)
    }

    /// An operator of a domain with several results.
    pub fn node_of(
        &mut self,
        domain: Option<&str>,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute<'_>)],
        results: usize,
    ) -> Vec<String> {
        let number = self.nodes.len();
        let wish = |r: usize| if results == 1 { format!("%{number}") } else { format!("%{number}.{r}") };
        let output: Vec<String> = (0..results).map(|r| self.fresh(&wish(r))).collect();
        self.nodes.push(proto::Node {
            input: inputs.iter().map(|i| (*i).to_owned()).collect(),
            output: output.clone(),
            op_type: Some(op.to_owned()),
            attribute: attributes.iter().map(|(name, a)| attribute(name, a)).collect(),
            domain: domain.map(str::to_owned),
        });
        output
    }

    /// A constant tensor of floats.
    pub fn floats(&mut self, values: Vec<f32>, shape: &[u64]) -> String {
        let key = (values.iter().flat_map(|v| v.to_le_bytes()).collect(), shape.to_vec());
        self.constant(key, "number", |_| Initial::Floats(values))
    }

    /// A constant list of ints, as shapes and axes are given.
    pub fn ints(&mut self, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).chain([b'i']).collect();
        let values = values.to_vec();
        self.constant((bytes, vec![values.len() as u64]), "ints", |_| Initial::Ints(values))
    }

    /// The value of a setting.
    pub fn setting(&mut self, id: SettingId) -> String {
        let key = (format!("setting {}", id.0).into_bytes(), Vec::new());
        self.constant(key, "setting", |_| Initial::Setting(id))
    }

    fn constant(&mut self, key: (Vec<u8>, Vec<u64>), word: &str, make: impl FnOnce(&mut Self) -> Initial) -> String {
        if let Some(known) = self.shared.get(&key) {
            return known.clone();
        }
        let name = self.fresh(&format!("%{word}{}", self.initial.len()));
        let initial = make(self);
        self.initial.push((name.clone(), key.1.clone(), initial));
        self.shared.insert(key, name.clone());
        name
    }

    /// The value under another shape of as many entries.
    pub fn reshaped(&mut self, value: &str, shape: &[u64]) -> String {
        let shape = self.ints(&signed(shape));
        // A length of 0 would mean "as it was" without this.
        self.node("Reshape", &[value, &shape], &[("allowzero", Attribute::Int(1))])
    }
}
