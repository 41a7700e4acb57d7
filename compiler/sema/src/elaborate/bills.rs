//! What the costs of a candidate are sums of, while decisions are watched: for each place what was made there, and on which decisions
//! that depends.
//!
//! Costs are those of nodes, and what a node costs is settled by shapes. An expression that is evaluated by itself ([`Cx::apart`]) knows what
//! it was computed from, and so owns the nodes that it made. Two candidates that agree in what an expression was computed from, and both
//! reach its place, pay the same there: so the range of costs over a space of any size is found from some hundred candidates (the driver).
//!
//! That holds but for two things, which whoever adds the bills up has to see: what is made and then left out of the result by a choice
//! between equal shapes costs nothing, though its place is reached; and two places that make the same node pay once.

use super::context::Cx;
use crate::space::{Bill, Mention, Price, Taint, Taints};
use merge_base::Span;
use merge_ir::tir::{Costs, NodeId, costs, each_cost};
use rustc_hash::{FxHashMap, FxHasher};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;

/// An expression, in one turn and call.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Maker {
    /// What its shapes depend on.
    pub decisions: Taint,
    /// What decides whether it is reached.
    pub control: Taint,
    /// Where that was decided last.
    pub place: u64,
    /// The branches, turns and calls around.
    pub around: u64,
}

const NOBODY: u32 = u32::MAX;

/// Who made which node.
#[derive(Default)]
pub(super) struct Ledger {
    makers: Vec<Maker>,
    known: FxHashMap<Maker, u32>,
    /// By node of the graph at hand, as far as they are owned.
    owners: Vec<u32>,
    /// By owner, and the place in the text that a node is from.
    paid: BTreeMap<(u32, Span), Costs>,
}

impl Ledger {
    /// Gives the nodes in a range that nobody owns to an expression.
    pub fn claim(&mut self, nodes: Range<usize>, maker: Maker) {
        if nodes.is_empty() {
            return;
        }
        let next = self.makers.len() as u32;
        let owner = *self.known.entry(maker).or_insert_with(|| {
            self.makers.push(maker);
            next
        });
        if self.owners.len() < nodes.end {
            self.owners.resize(nodes.end, NOBODY);
        }
        self.owners[nodes].iter_mut().filter(|o| **o == NOBODY).for_each(|o| *o = owner);
    }

    /// The owners, for another graph to begin with none.
    pub fn set_owners(&mut self, owners: Vec<u32>) -> Vec<u32> {
        std::mem::replace(&mut self.owners, owners)
    }

    /// What was paid where, in a fixed order.
    pub fn bills(&self, taints: &Taints) -> Vec<Bill> {
        let list = |t: Taint| taints.members(t).to_vec();
        let bill = |((owner, span), costs): (&(u32, Span), &Costs)| {
            let maker = self.makers[*owner as usize];
            let mut hasher = FxHasher::default();
            (maker.around, span).hash(&mut hasher);
            let (decisions, reached_by) = (list(maker.decisions), list(maker.control));
            let mention = Mention { decisions, reached_by, place: maker.place, covered: false, guarded: false };
            Bill { mention, site: hasher.finish(), costs: *costs }
        };
        let mut bills: Vec<Bill> = self.paid.iter().map(bill).collect();
        bills.sort_by(|a, b| (&a.mention, a.site).cmp(&(&b.mention, b.site)));
        bills
    }
}

impl Cx<'_> {
    /// Gives what was made since the graph had `made` nodes to an expression that costs what these decisions say.
    pub(super) fn bill(&mut self, made: usize, decisions: Taint) {
        if let Some(w) = &mut self.watch {
            w.ledger.claim(made..self.graph.len(), w.maker(decisions));
        }
    }

    /// Notes what the candidate costs that ends at these nodes of the graph at hand, term by term where that is watched. The last one counts.
    pub(super) fn note_costs(&mut self, roots: &[NodeId]) -> Costs {
        let total = costs(&self.graph, roots);
        self.price = Some(Price { costs: total, trains: true });
        let Some(w) = &mut self.watch else { return total };
        // What no expression owns was made by what is around all of them.
        let now = w.taints.union(w.now, w.gathered);
        w.ledger.claim(0..self.graph.len(), w.maker(now));
        w.ledger.paid.clear();
        each_cost(&self.graph, roots, |id, own| {
            let span = self.graph.node(id).span;
            w.ledger.paid.entry((w.ledger.owners[id.0 as usize], span)).or_default().add(&own);
        });
        total
    }

    /// What the tensors of an output cost that starts with number `first`, if there is one and nothing else is known.
    pub(super) fn note_weights(&mut self, first: usize) {
        if self.price.is_some() || self.graph.outputs.len() <= first {
            return;
        }
        let mut costs = Costs::default();
        for tensor in self.graph.outputs[first..].iter().flat_map(|o| &o.tensors) {
            let entries: u64 = self.graph.shape(tensor.node).iter().product();
            costs.add(&Costs { params: entries, bytes: entries.saturating_mul(tensor.dtype.size()), ..Costs::default() });
        }
        self.price = Some(Price { costs, trains: false });
    }
}
