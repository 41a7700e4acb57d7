//! Which values live in temporaries.
//!
//! Loops compute entries as they stream by; a routine wants whole tensors. So the operands of each call and its
//! results are kept: a temporary holds them from the step that fills it to the last that reads it. So is whatever
//! else a loop cannot look at in the way it is asked to (`push_views` says what); kept, it may be looked at in
//! any order.
//!
//! Not here: when temporaries are filled (`fuse`), which number each has (`schedule`).

use crate::cluster::Kept;
use crate::push_views::Refusal;
use merge_abi::Routine;
use merge_ir::tir::{Graph, NodeId, Op, Over};
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;

/// Bytes of the largest tensor that a routine may be called on or give.
const MOST_OF_A_CALL: u64 = 4 << 31;

/// A routine on kept values, with all results that anybody asks for.
#[derive(Debug)]
pub(crate) struct Call {
    pub routine: Rc<Routine>,
    pub inputs: Rc<[NodeId]>,
    pub results: Vec<Option<NodeId>>,
    /// `recipe.merge:3:14`.
    pub place: String,
}

/// What is kept of a graph.
#[derive(Debug)]
pub(crate) struct Keeping {
    kept: FxHashSet<Kept>,
    /// By number.
    pub calls: Vec<Call>,
    call_of: FxHashMap<NodeId, u32>,
}

impl Keeping {
    /// The operands and results of all calls.
    pub fn new(graph: &Graph) -> Keeping {
        let mut keeping = Keeping { kept: FxHashSet::default(), calls: Vec::new(), call_of: FxHashMap::default() };
        let mut known = FxHashMap::default();
        for (id, node) in graph.nodes() {
            let Op::Call { routine, result, inputs } = &node.op else { continue };
            keeping.kept.extend(inputs.iter().chain([&id]).map(|n| Kept(*n)));
            let next = keeping.calls.len() as u32;
            let call = *known.entry((routine, inputs)).or_insert(next);
            if call == next {
                let shapes: Vec<&[u64]> = inputs.iter().map(|i| &**graph.shape(*i)).collect();
                let results = vec![None; routine.results(&shapes).map_or(0, |r| r.len())];
                let place = graph.places.get(&id).cloned().unwrap_or_default();
                keeping.calls.push(Call { routine: routine.clone(), inputs: inputs.clone(), results, place });
            }
            keeping.calls[call as usize].results[*result as usize] = Some(id);
            keeping.call_of.insert(id, call);
        }
        keeping
    }

    /// Keeps one more value.
    pub fn add(&mut self, kept: Kept) {
        self.kept.insert(kept);
    }

    /// The calls on or of more than can be held in memory.
    pub fn beyond(&self, graph: &Graph) -> Vec<(NodeId, Refusal)> {
        let mut out = Vec::new();
        for call in &self.calls {
            let Some(node) = call.results.iter().flatten().next() else { continue };
            let values = call.inputs.iter().chain(call.results.iter().flatten());
            let bytes = values.map(|n| 4 * graph.shape(*n).iter().product::<u64>()).max().unwrap_or(0);
            if bytes > MOST_OF_A_CALL {
                let (name, bytes, most) = (call.routine.name(), bytes as f64 / 1e9, MOST_OF_A_CALL as f64 / 1e9);
                let what = format!("`{name}` would hold a tensor of {bytes:.1} GB in memory, and {most:.1} GB is the most");
                let help = "apply it to each tensor or to each part of it instead of all at once".to_owned();
                out.push((*node, Refusal { span: graph.node(*node).span, what, help }));
            }
        }
        out
    }

    /// Whether this value is kept.
    pub fn has(&self, kept: Kept) -> bool {
        self.kept.contains(&kept)
    }

    /// What to read for `node` in a loop that fills `filling`, or none if the loop is to compute it.
    pub fn read_for(&self, node: NodeId, filling: Option<Kept>) -> Option<Kept> {
        let read = Kept(node);
        (filling != Some(read) && self.kept.contains(&read)).then_some(read)
    }

    /// The call that gives a node.
    pub fn call(&self, node: NodeId) -> Option<u32> {
        self.call_of.get(&node).copied()
    }
}

/// How many passes must come before a value can be had; see [`Levels::of`].
#[derive(Debug, Default)]
pub(crate) struct Levels {
    number: Vec<u32>,
    kept: Vec<u32>,
    value: Vec<u32>,
}

impl Levels {
    /// The level of a statistic or temporary is one above the levels of all it needs; that of another value is
    /// the highest of what it needs.
    pub fn of(graph: &Graph, keeping: &Keeping) -> Levels {
        let n = graph.len();
        let mut l = Levels { number: vec![0; n], kept: vec![0; n], value: vec![0; n] };
        for (id, node) in graph.nodes() {
            let at = id.0 as usize;
            let mut level = 0;
            node.op.each_operand(|o| level = level.max(l.value[o.0 as usize]));
            if over_all(&node.op) {
                level += 1;
                l.number[at] = level;
            }
            if keeping.has(Kept(id)) {
                level += 1;
                l.kept[at] = level;
            }
            if is_entry(graph, id) {
                level += 1;
            }
            if !over_all(&node.op) {
                l.number[at] = level;
            }
            l.value[at] = level;
        }
        l
    }

    /// Of a scalar, or of the selection of a mask.
    pub fn number(&self, node: NodeId) -> u32 {
        self.number[node.0 as usize]
    }

    /// Of a temporary.
    pub fn kept(&self, kept: Kept) -> u32 {
        self.kept[kept.0.0 as usize]
    }
}

fn over_all(op: &Op) -> bool {
    match op {
        Op::Reduce { over, .. } | Op::Kth { over, .. } | Op::TopMask { over, .. } => *over == Over::All,
        _ => false,
    }
}

/// Whether a scalar is an entry of a tensor rather than a formula or a statistic.
pub(crate) fn is_entry(graph: &Graph, node: NodeId) -> bool {
    let n = graph.node(node);
    let formula = matches!(n.op, Op::Const(_) | Op::Setting(_) | Op::Unary(..) | Op::Binary(..) | Op::Select(..));
    let statistic = matches!(n.op, Op::Reduce { over: Over::All, .. } | Op::Kth { over: Over::All, .. });
    n.shape.is_empty() && !formula && !statistic
}
