//! Networks: functions with `new` in them, that a `search` names.
//!
//! | file | job |
//! |---|---|
//! | `mod` | a function called on inputs, which makes a network of the graph |
//! | `parameters` | `new`: names, shapes, parameters of the graph |
//! | `starts` | what start values need to know of the tensor that starts |
//!
//! A network becomes a part of the recipe's graph: nodes from its inputs and parameters to its output. While decisions are watched,
//! and while a function is tried as written, that happens on a graph of its own, of which only the findings stay.
//!
//! Invariants: no two parameters of a graph have one name; what a parameter starts as depends on no parameter and no layer.
//!
//! Not here: what layers and start values compute (`primitives`).

mod parameters;
mod starts;

pub(super) use parameters::Known;
pub(crate) use parameters::NewParameter;
pub(super) use starts::Starting;

use super::context::Cx;
use super::expressions::Frame;
use super::nodes::LARGEST;
use crate::codes::primitives::BAD_SHAPE;
use crate::codes::spaces::BAD_SEARCH;
use crate::degree::Degree;
use crate::hir::{Dim, FnId, Item, LocalId, Type, TypeName};
use crate::value::{Argument, Reported, TensorVal, Value};
use merge_abi::{BinaryFn, DType, Role};
use merge_base::{Diagnostic, Span};
use merge_ir::tir::{Layer, Network, NodeId, Op, OutTensor, Output, Trained, parameters};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// What stands for an axis whose length a network leaves open, such as that of a sequence.
const OPEN_AXIS: u64 = 64;

impl<'p> Cx<'p> {
    /// Whether layers and `new` tensors mean something here.
    pub fn in_network(&self) -> bool {
        self.in_network || self.symbolic
    }

    /// Evaluates a `test`, in which layers and `new` tensors stand for what they start as; its title leads to their names.
    pub(super) fn in_test<T>(&mut self, title: &str, body: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.in_network, true);
        let value = self.within_layer(title, body);
        self.in_network = outer;
        value
    }

    /// What a layer gives for operands that fit it.
    ///
    /// # Errors
    /// Shapes that the layer does not take are reported; callers check first and say it better.
    pub fn layer(&mut self, layer: Layer, operands: &[&TensorVal], span: Span) -> Result<TensorVal, Reported> {
        let shapes: Vec<&[u64]> = operands.iter().map(|t| &**self.graph.shape(t.node)).collect();
        let shape = match layer.result(&shapes) {
            Ok(Some(shape)) => shape,
            Ok(None) => return Err(Reported),
            Err(misfit) => return Err(self.error(BAD_SHAPE, misfit, span, "")),
        };
        if shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).is_none_or(|n| n > LARGEST) {
            let message = format!("`{}` would make a tensor larger than any memory", layer.name());
            return Err(self.error(BAD_SHAPE, message, span, ""));
        }
        let inputs = operands.iter().map(|t| t.node).collect();
        let node = self.graph.add(Op::Layer { layer: Rc::new(layer), inputs }, shape.into(), span);
        Ok(TensorVal::new(node, Degree::delta()))
    }

    /// An input of a network.
    fn input(&mut self, name: &str, shape: &[u64], span: Span) -> NodeId {
        let layer = Rc::new(Layer::Input { name: name.to_string() });
        self.graph.add(Op::Layer { layer, inputs: Rc::from([]) }, shape.into(), span)
    }

    /// The network of a file that neither saves nor searches: its last function, if something is decided in it.
    pub(super) fn lone_network(&self) -> Option<(FnId, Span)> {
        let program = self.program;
        if program.items.iter().any(|i| !matches!(i, Item::Let(_) | Item::Choose(_))) {
            return None;
        }
        let own = program.fns.iter().enumerate().filter(|(_, f)| Some(f.file) == program.entry);
        let (id, f) = own.max_by_key(|(_, f)| f.span.start)?;
        let id = FnId(id as u32);
        self.function_decides(id).then_some((id, f.span))
    }

    /// Makes a network of a function that is named at `at`. With `starts`, what its parameters start as is saved under that path.
    pub(super) fn network(&mut self, id: FnId, at: Span, starts: Option<&str>) {
        let Some(inputs) = self.inputs_of(id, at) else { return };
        let parameters = if self.watch.is_some() {
            self.on_scratch_graph(|cx| cx.network_on(id, inputs, at).map(|output| cx.note_costs(&[output]).params))
        } else {
            let output = self.network_on(id, inputs, at);
            if let (Some(output), Some(path)) = (output, starts) {
                self.save_starts(output, path, at);
            }
            output.map(|output| self.note_costs(&[output]).params)
        };
        self.network_parameters = parameters.or(self.network_parameters);
    }

    /// The inputs of a network: shape, name and place of each parameter; none where its default serves.
    fn inputs_of(&mut self, id: FnId, at: Span) -> Option<Vec<Option<NetworkInput<'p>>>> {
        let f = self.function(id);
        let mut frame = Frame::of_function(f.locals.len(), false);
        let mut lengths: FxHashMap<LocalId, u64> = FxHashMap::default();
        let mut inputs = Vec::with_capacity(f.params.len());
        for p in &f.params {
            let dims = match &p.ty {
                Type::Named { name: TypeName::Tensor | TypeName::Weight | TypeName::Delta, dims: Some(dims), .. } => dims,
                _ if p.default.is_some() => {
                    inputs.push(None);
                    continue;
                }
                _ => {
                    let message = format!("nothing gives `{}` of `{}`", p.name, f.name);
                    let d = Diagnostic::new(BAD_SEARCH, message, at, "looked at as a network")
                        .label(p.span, "no tensor with dims, and no default")
                        .help("the parameters of a network are its inputs, `x: tensor[3, 32, 32]`; give others a default");
                    self.report(d);
                    return None;
                }
            };
            let mut shape = Vec::new();
            for dim in dims {
                match dim {
                    Dim::Bind(local, _) => {
                        let n = *lengths.entry(*local).or_insert(OPEN_AXIS);
                        frame.locals[local.0 as usize] = Value::Int(n as i64);
                        shape.push(n);
                    }
                    Dim::BindRest(..) | Dim::Rest(..) => {}
                    Dim::Expr(e) => match self.expr(e, &mut frame) {
                        Value::Int(n @ 1..) => shape.push(n as u64),
                        _ => shape.push(1),
                    },
                }
            }
            inputs.push(Some(NetworkInput { shape, name: &p.name, span: p.span }));
        }
        Some(inputs)
    }

    /// The network on the graph at hand: its output, if it has one.
    fn network_on(&mut self, id: FnId, inputs: Vec<Option<NetworkInput<'p>>>, at: Span) -> Option<NodeId> {
        let outer = std::mem::replace(&mut self.in_network, true);
        let mut nodes = Vec::new();
        let mut args = Vec::with_capacity(inputs.len());
        for input in inputs {
            args.push(input.map(|NetworkInput { shape, name, span }| {
                let node = self.input(name, &shape, span);
                nodes.push(node);
                Argument { value: TensorVal::new(node, Degree::delta()).into(), span, parts: None }
            }));
        }
        let value = self.call_fn(id, args, at);
        self.in_network = outer;
        match value {
            Value::Tensor(t) => {
                let name = self.function(id).name.clone();
                self.graph.networks.push(Network { name, inputs: nodes, output: t.node, replaces: false });
                Some(t.node)
            }
            Value::Poison => None,
            other => {
                let message = format!("a network gives a tensor, and `{}` gives {}", self.function(id).name, other.kind());
                self.error(BAD_SEARCH, message, at, "looked at as a network");
                None
            }
        }
    }

    /// Makes what the parameters of a network start as an output of the recipe.
    fn save_starts(&mut self, output: NodeId, path: &str, at: Span) {
        let mut tensors = Vec::new();
        for id in parameters(&self.graph, &[output]) {
            let (name, shape, start) = {
                let p = &self.graph.parameters[id.0 as usize];
                (p.name.clone(), p.shape.clone(), p.start)
            };
            let start = TensorVal::new(start, Degree::delta());
            let node = self.stretched(&start, &shape, at).node;
            tensors.push(OutTensor { name, node, dtype: DType::F32 });
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let network = self.graph.networks.len() as u32;
        let trained = Trained {
            networks: network.saturating_sub(1)..network,
            reweighted: 0..0,
            starts: tensors.len() as u32,
            file: STARTS.to_owned(),
        };
        self.graph.outputs.push(Output {
            path: path.to_string(),
            role: Role::Weights,
            tensors,
            shard: None,
            like: None,
            tokenizer: None,
            config: Vec::new(),
            adapter: None,
            trained: Some(trained),
            place: self.sources.place(at),
            span: at,
        });
    }

    /// A number as a tensor of this shape; a tensor of that shape as it is.
    pub fn stretched(&mut self, t: &TensorVal, shape: &Rc<[u64]>, span: Span) -> TensorVal {
        if self.graph.shape(t.node) == shape {
            return t.clone();
        }
        let zero = self.graph.constant(0.0, span);
        let coordinate = self.graph.add(Op::Coord { axis: 0 }, shape.clone(), span);
        let zeros = self.graph.add(Op::Binary(BinaryFn::Mul, coordinate, zero), shape.clone(), span);
        let node = self.graph.add(Op::Binary(BinaryFn::Add, zeros, t.node), shape.clone(), span);
        TensorVal { node, ..t.clone() }
    }
}

/// The file of start values of a network.
const STARTS: &str = "start.safetensors";

/// An input as the function declares it.
struct NetworkInput<'p> {
    shape: Vec<u64>,
    name: &'p str,
    span: Span,
}
