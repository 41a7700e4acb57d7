//! The order of the passes before a tensor.
//!
//! Without temporaries it is that of the levels. With temporaries, each pass comes directly before the first that
//! needs it, depth first, so that few of them are in memory at once.
//!
//! Establishes: a pass comes after all whose results it uses.

use crate::cluster::{Cluster, Kept, Need, Tensor};
use crate::fuse::{Dispatch, Goal, Group};
use crate::keep::Keeping;
use merge_ir::tir::{Graph, NodeId, Op};
use rustc_hash::{FxHashMap, FxHashSet};

/// What a pass gives to others.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Gift {
    Statistic(NodeId),
    Selection(u32),
    Temp(Kept),
}

/// The passes that give something, by index.
type Givers = FxHashMap<Gift, Vec<usize>>;

/// Orders `groups`, which are in some order in which they can run, for the sake of `last`.
pub(crate) fn order<'c>(
    graph: &Graph,
    dispatch: &Dispatch,
    keeping: &Keeping,
    groups: Vec<Group>,
    last: impl Iterator<Item = &'c Cluster>,
) -> Vec<Group> {
    if !groups.iter().any(|g| matches!(g, Group::Call(_) | Group::Map { .. } | Group::Copy { .. })) {
        return groups;
    }
    let mut givers = Givers::default();
    for (i, group) in groups.iter().enumerate() {
        gifts(keeping, group).into_iter().for_each(|g| givers.entry(g).or_default().push(i));
    }
    let before = |needs: &[Need]| -> Vec<usize> {
        let mut out = Vec::new();
        needs.iter().for_each(|n| wanted(graph, dispatch, *n, &mut |gift| out.extend(givers.get(&gift).into_iter().flatten())));
        out
    };
    let last: Vec<Need> = last.flat_map(|c| c.needs()).collect();
    // A group is put down once all it needs is; its second visit does that.
    let mut opened = vec![false; groups.len()];
    let mut out = Vec::with_capacity(groups.len());
    let mut stack: Vec<(usize, bool)> = before(&last).into_iter().chain(0..groups.len()).map(|i| (i, false)).collect();
    stack.reverse();
    while let Some((at, ready)) = stack.pop() {
        if ready {
            out.push(at);
        } else if !std::mem::replace(&mut opened[at], true) {
            stack.push((at, true));
            stack.extend(before(&needs(dispatch, keeping, &groups[at])).into_iter().rev().map(|b| (b, false)));
        }
    }
    let mut groups: Vec<Option<Group>> = groups.into_iter().map(Some).collect();
    out.into_iter().filter_map(|i| groups[i].take()).collect()
}

fn gifts(keeping: &Keeping, group: &Group) -> Vec<Gift> {
    match group {
        Group::Copy { to, .. } | Group::Map { to, .. } => match to.goal {
            Goal::Temp(kept) => vec![Gift::Temp(kept)],
            Goal::Output { .. } => Vec::new(),
        },
        Group::Reduce { stats, .. } => stats.iter().map(|s| Gift::Statistic(s.1)).collect(),
        Group::Select { selections, .. } => selections.iter().map(|s| Gift::Selection(*s)).collect(),
        Group::Call(call) => keeping.calls[*call as usize].results.iter().flatten().map(|n| Gift::Temp(Kept(*n))).collect(),
    }
}

/// What a pass needs.
pub(crate) fn needs(dispatch: &Dispatch, keeping: &Keeping, group: &Group) -> Vec<Need> {
    match group {
        Group::Reduce { parts, .. } => parts.iter().flat_map(|p| p.cluster.needs()).collect(),
        Group::Select { parts, selections } => {
            let counts = selections.iter().map(|s| Need::Number(dispatch.selections[*s as usize].k));
            parts.iter().flat_map(|p| p.cluster.needs()).chain(counts).collect()
        }
        Group::Map { cluster, .. } => cluster.needs().collect(),
        Group::Copy { from: (Tensor::Kept(kept), _), .. } => vec![Need::Temp(*kept)],
        Group::Copy { from: (Tensor::Source(_), _), .. } => Vec::new(),
        Group::Call(call) => keeping.calls[*call as usize].inputs.iter().map(|i| Need::Temp(Kept(*i))).collect(),
    }
}

/// Calls `give` for each gift that a need comes down to. Scalars share parts, so each node is looked at once.
fn wanted(graph: &Graph, dispatch: &Dispatch, need: Need, give: &mut impl FnMut(Gift)) {
    let mut stack = match need {
        Need::Temp(kept) => return give(Gift::Temp(kept)),
        Need::Number(node) => vec![node],
    };
    let mut seen = FxHashSet::default();
    while let Some(node) = stack.pop() {
        if !seen.insert(node) {
            continue;
        }
        match &graph.node(node).op {
            Op::Const(_) | Op::Setting(_) => {}
            // The first on top: what stops a fold is found before its next turn.
            op @ (Op::Unary(..) | Op::Binary(..) | Op::Select(..)) => stack.extend(op.operands().into_iter().rev()),
            Op::Kth { k, .. } | Op::TopMask { k, .. } => {
                stack.push(*k);
                dispatch.selection_of.get(&node).into_iter().for_each(|s| give(Gift::Selection(*s)));
            }
            _ => give(Gift::Statistic(node)),
        }
    }
}
