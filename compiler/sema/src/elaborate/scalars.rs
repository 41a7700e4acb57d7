//! Which scalars are known before the recipe runs, and which settings decide.
//!
//! Facts are kept per node and found in node order, so that scalars which share parts cost no more than
//! their nodes.

use super::context::Cx;
use crate::value::TensorVal;
use merge_ir::tir::{Graph, NodeId, Op};

/// Facts about the nodes of a graph, as far as they were asked for.
#[derive(Default)]
pub(super) struct Scalars(Vec<Fact>);

#[derive(Clone, Copy)]
struct Fact {
    value: Option<f64>,
    uses_settings: bool,
    of_network: bool,
}

impl Scalars {
    fn of(&mut self, graph: &Graph, node: NodeId, settings: &[f64]) -> Fact {
        for id in (self.0.len() as u32..=node.0).map(NodeId) {
            let n = graph.node(id);
            let fact = |n: &NodeId| self.0[n.0 as usize];
            let value = match &n.op {
                _ if !graph.shape(id).is_empty() => None,
                Op::Const(bits) => Some(f64::from_bits(*bits)),
                Op::Setting(s) => settings.get(s.0 as usize).copied(),
                Op::Unary(f, a) => fact(a).value.map(|a| f.eval(a)),
                Op::Binary(f, a, b) => fact(a).value.zip(fact(b).value).map(|(a, b)| f.eval(a, b)),
                Op::Select(c, a, b) => match fact(c).value {
                    Some(c) => fact(if c != 0.0 { a } else { b }).value,
                    None => None,
                },
                _ => None,
            };
            let mut uses_settings = matches!(n.op, Op::Setting(_));
            n.op.each_operand(|n| uses_settings |= fact(&n).uses_settings);
            let mut of_network = matches!(n.op, Op::Parameter(_) | Op::Layer { .. });
            n.op.each_operand(|n| of_network |= fact(&n).of_network);
            self.0.push(Fact { value, uses_settings, of_network });
        }
        self.0[node.0 as usize]
    }
}

impl Cx<'_> {
    /// The value of a scalar that depends on numbers and settings alone, at the settings' present values.
    pub fn launch_value(&self, scalar: &TensorVal) -> Option<f64> {
        self.scalars.borrow_mut().of(&self.graph, scalar.node, &self.setting_values).value
    }

    /// Whether an input, a layer or a parameter has a part in a value.
    pub(super) fn depends_on_network(&self, node: NodeId) -> bool {
        self.scalars.borrow_mut().of(&self.graph, node, &self.setting_values).of_network
    }

    /// Whether a setting has a part in a value.
    pub(crate) fn uses_settings(&self, node: NodeId) -> bool {
        self.scalars.borrow_mut().of(&self.graph, node, &self.setting_values).uses_settings
    }
}
