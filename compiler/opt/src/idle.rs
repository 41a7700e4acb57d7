//! Which passes need not run: what they give is looked at only where a condition does not hold.
//!
//! A `fold` that stops at what the run finds computes every turn it may take and keeps the old state from some turn on. The
//! turns after it are looked at by nobody, and this finds out under which condition: each use leads through the side of a
//! choice that is not taken while the condition holds. A step that stands idle leaves zeros behind, which no result can tell.
//!
//! Establishes: where a pass may stand idle, so may every pass that reads what it gives, so that no routine meets
//! zeros for a reason that is not in the recipe.
//!
//! Not here: whether a condition is known before the pass (`schedule`), and standing idle (the runtime).

use crate::fuse::{Dispatch, Goal, Group};
use merge_abi::{BinaryFn, UnaryFn};
use merge_ir::tir::{Graph, NodeId, Op};
use std::rc::Rc;

/// For each node the conditions of which each by itself makes it needless, sorted; none for a node that nothing uses.
pub(crate) struct Idle(Vec<Option<Rc<[NodeId]>>>);

impl Idle {
    pub fn of(graph: &Graph) -> Idle {
        let never: Rc<[NodeId]> = Rc::from([]);
        let mut idle = Idle(vec![None; graph.len()]);
        graph.outputs.iter().flat_map(|o| &o.tensors).for_each(|t| idle.meet(t.node, &never));
        graph.constraints.iter().for_each(|c| idle.meet(c.node, &never));
        for at in (0..graph.len() as u32).rev().map(NodeId) {
            let Some(own) = idle.0[at.0 as usize].clone() else { continue };
            match &graph.node(at).op {
                Op::Select(c, old, new) if is_yes_or_no(graph, *c) => {
                    idle.meet(*c, &own);
                    idle.meet(*old, &own);
                    let mut more = own.to_vec();
                    if let Err(place) = more.binary_search(c) {
                        more.insert(place, *c);
                    }
                    idle.meet(*new, &more.into());
                }
                op => op.each_operand(|o| idle.meet(o, &own)),
            }
        }
        idle
    }

    /// One more use of a node, which is needless under these conditions.
    fn meet(&mut self, node: NodeId, under: &Rc<[NodeId]>) {
        let slot = &mut self.0[node.0 as usize];
        *slot = Some(match slot {
            None => under.clone(),
            Some(known) if known == under => return,
            Some(known) => known.iter().filter(|c| under.contains(c)).copied().collect(),
        });
    }

    /// The conditions under which nobody looks at what a pass gives.
    pub fn conditions(&self, dispatch: &Dispatch, group: &Group) -> Vec<NodeId> {
        let given: Vec<NodeId> = match group {
            Group::Copy { to, .. } | Group::Map { to, .. } => match to.goal {
                Goal::Output { .. } => return Vec::new(),
                Goal::Temp(kept) => vec![kept.0],
            },
            Group::Reduce { stats, .. } => stats.iter().map(|s| s.1).collect(),
            Group::Select { selections, .. } => {
                dispatch.selection_of.iter().filter(|(_, s)| selections.contains(s)).map(|(n, _)| *n).collect()
            }
            Group::Call(call) => dispatch.calls[*call as usize].results.iter().flatten().copied().collect(),
        };
        let of = |node: &NodeId| self.0[node.0 as usize].iter().flat_map(|c| c.iter().copied()).collect::<Vec<_>>();
        let Some((first, rest)) = given.split_first() else { return Vec::new() };
        of(first).into_iter().filter(|c| rest.iter().all(|n| of(n).contains(c))).collect()
    }
}

/// Whether a node is a number that is 1 or 0, so that kernels in f32 see it as the host does in f64.
fn is_yes_or_no(graph: &Graph, node: NodeId) -> bool {
    use BinaryFn::*;
    let yes_or_no = match &graph.node(node).op {
        Op::Binary(f, ..) => matches!(f, Eq | Ne | Lt | Le | Gt | Ge | And | Or),
        Op::Unary(f, _) => *f == UnaryFn::Not,
        _ => false,
    };
    yes_or_no && graph.shape(node).is_empty()
}
