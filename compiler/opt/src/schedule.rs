//! Turns the dispatch graph into a plan: steps in order, the scalar graph, and only the sources they read.
//!
//! Establishes: what `verify_plan` checks.

use crate::cluster::{Kept, Param, Tensor};
use crate::fuse::{Dispatch, Goal, Group, Part, Place};
use crate::idle::Idle;
use crate::outline::{Call, Finds, Kernels, Outlined, Reads, Role, outline};
use merge_abi::{
    Access, Apart, Beside, BinaryFn, Constraint, Cut, Loop, Operand, Origin, OutTensor, Output, Plan, Read, Recipe, RowPhase,
    RowPhaseKind, RowPick, ScalarId, ScalarOp, Selection, Sink, StatId, Step, Target, Temp, View,
};
use merge_ir::tir::{Graph, NodeId, Op};
use rustc_hash::{FxHashMap, FxHashSet};

/// The plan of a dispatch graph, and its kernels.
pub(crate) fn schedule(graph: &Graph, dispatch: &Dispatch, recipe: Recipe) -> (Plan, Kernels) {
    let mut s = Scheduler {
        graph,
        dispatch,
        kernels: Kernels::default(),
        plan: Plan {
            recipe: Recipe { structural: structural(graph, &recipe), ..recipe },
            checkpoints: graph.checkpoints.clone(),
            settings: graph.settings.clone(),
            ..Plan::default()
        },
        sources: vec![None; graph.sources.len()],
        temps: FxHashMap::default(),
        stats: FxHashMap::default(),
        selected: vec![None; dispatch.selections.len()],
        scalars: FxHashMap::default(),
    };
    s.plan.outputs = graph.outputs.iter().map(|o| output(graph, o)).collect();
    for constraint in &graph.constraints {
        let scalar = s.node(constraint.node);
        s.plan.constraints.push(Constraint { scalar, message: constraint.message.clone(), place: constraint.place.clone() });
    }
    // Only turns of a fold that call routines are worth a look.
    let idle = (!dispatch.calls.is_empty()).then(|| Idle::of(graph));
    for group in &dispatch.groups {
        if let Some(idle) = &idle {
            let unless = s.unless(idle.conditions(dispatch, group));
            s.plan.unless.push(unless);
        }
        let step = s.step(group);
        s.plan.steps.push(step);
    }
    s.plan.kernels = s.kernels.list.iter().map(|k| k.info()).collect();
    (s.plan, s.kernels)
}

/// What the front end says about choices comes from the graph unless the recipe brings its own.
fn structural(graph: &Graph, recipe: &Recipe) -> Vec<(String, String)> {
    if recipe.structural.is_empty() { graph.structural.clone() } else { recipe.structural.clone() }
}

fn output(graph: &Graph, o: &merge_ir::tir::Output) -> Output {
    let tensor =
        |t: &merge_ir::tir::OutTensor| OutTensor { name: t.name.clone(), dtype: t.dtype, shape: graph.shape(t.node).to_vec() };
    Output {
        path: o.path.clone(),
        role: o.role,
        tensors: o.tensors.iter().map(tensor).collect(),
        shard: o.shard,
        like: o.like,
        tokenizer: o.tokenizer,
        config: o.config.clone(),
        adapter: o.adapter.clone(),
        beside: Beside { apart: apart(o), files: Vec::new() },
        place: o.place.clone(),
    }
}

/// Start values of parameters lie in a file of their own; factors named as PEFT wants them are the output itself.
fn apart(o: &merge_ir::tir::Output) -> Option<Apart> {
    let trained = o.trained.as_ref().filter(|_| o.adapter.is_none())?;
    Some(Apart { file: trained.file.clone(), tensors: u64::from(trained.starts) })
}

/// What a scalar of the plan stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Meaning {
    Node(NodeId),
    Stat(StatId),
    Const(u64),
    /// The scalar, but 1 where it is less.
    AtLeastOne(ScalarId),
    Either(ScalarId, ScalarId),
}

struct Scheduler<'a> {
    graph: &'a Graph,
    dispatch: &'a Dispatch,
    kernels: Kernels,
    plan: Plan,
    /// Where a source of the graph is in the plan, once some step reads it.
    sources: Vec<Option<u32>>,
    /// Where a kept value is in the plan, once some step fills it.
    temps: FxHashMap<Kept, u32>,
    /// Reductions that are scheduled.
    stats: FxHashMap<NodeId, StatId>,
    /// Selections that are scheduled: threshold and cut.
    selected: Vec<Option<(StatId, Option<StatId>)>>,
    scalars: FxHashMap<Meaning, ScalarId>,
}

impl Scheduler<'_> {
    fn step(&mut self, group: &Group) -> Step {
        match group {
            Group::Copy { from, to } => Step::Copy { from: self.read(from.0, &from.1), to: self.target(to) },
            Group::Map { cluster, dtype, to } => {
                let outlined = outline(self.graph, cluster, Role::Store(*dtype), &mut self.kernels);
                Step::Map { body: self.body(outlined), to: self.target(to) }
            }
            Group::Reduce { stats, parts } => {
                let functions: Vec<_> = stats.iter().map(|s| s.0).collect();
                let parts = self.parts(parts, Role::Reduce(&functions));
                let results: Vec<StatId> = stats.iter().map(|_| self.stat()).collect();
                self.stats.extend(stats.iter().map(|s| s.1).zip(results.iter().copied()));
                Step::Reduce { parts, results }
            }
            Group::Select { selections, parts } => {
                let parts = self.parts(parts, Role::Keys);
                let mut out = Vec::new();
                for id in selections {
                    let s = self.dispatch.selections[*id as usize];
                    let k = self.count(s.k, s.at_least_one);
                    let threshold = self.stat();
                    let cut = s.cut.then(|| self.stat());
                    self.selected[*id as usize] = Some((threshold, cut));
                    out.push(Selection { k, threshold, cut });
                }
                Step::Select { parts, selections: out }
            }
            Group::Call(call) => {
                let call = &self.dispatch.calls[*call as usize];
                Step::Call {
                    routine: (*call.routine).clone(),
                    inputs: call.inputs.iter().map(|i| self.temp(Kept(*i))).collect(),
                    results: call.results.iter().map(|r| r.map(|n| self.temp(Kept(n)))).collect(),
                    place: call.place.clone(),
                }
            }
        }
    }

    fn parts(&mut self, parts: &[Part], role: Role) -> Vec<Loop> {
        parts
            .iter()
            .map(|part| {
                let outlined = outline(self.graph, &part.cluster, role, &mut self.kernels);
                self.body(outlined)
            })
            .collect()
    }

    fn body(&mut self, o: Outlined) -> Loop {
        let Loop { params, keys, cuts, .. } = self.call(&o.call, o.first);
        let operands = o.operands.iter().map(|r| self.operand(r)).collect();
        let phases = o.phases.iter().map(|p| self.phase(p)).collect();
        Loop {
            kernel: o.kernel,
            rows: o.rows,
            cols: o.cols,
            by_rows: o.by_rows,
            operands,
            params,
            keys,
            cuts,
            first: o.first,
            phases,
        }
    }

    /// A loop that has only what a kernel is called with.
    fn call(&mut self, call: &Call, first: u64) -> Loop {
        let params = call.params.iter().map(|p| self.param(*p)).collect();
        let cuts = call.cuts.iter().map(|(mask, minus)| Cut { stat: self.cut(*mask), minus: *minus }).collect();
        let keys = call.keys.clone();
        Loop { kernel: 0, rows: 0, cols: 0, by_rows: false, operands: Vec::new(), params, keys, cuts, first, phases: Vec::new() }
    }

    fn phase(&mut self, p: &crate::outline::Phase) -> RowPhase {
        let Loop { params, keys, .. } = self.call(&p.call, 0);
        let kind = match &p.finds {
            Finds::Reductions(_) => RowPhaseKind::Reduce,
            Finds::Places => RowPhaseKind::Rank,
            Finds::Picks(picks) => RowPhaseKind::Select {
                picks: picks.iter().map(|p| RowPick { store: p.store, k: self.count(p.k, p.at_least_one) }).collect(),
            },
        };
        RowPhase { kernel: p.kernel, operands: p.operands.clone(), params, keys, kind }
    }

    fn operand(&mut self, reads: &Reads) -> Operand {
        match reads {
            Reads::Row { phase, value } => Operand::RowValue { phase: *phase, value: *value },
            Reads::Tensor(tensor, view, access) => {
                let read = self.read(*tensor, view);
                match access {
                    Access::Dense => Operand::Dense(read),
                    Access::PerRow => Operand::PerRow(read),
                    Access::PerCol => Operand::PerCol(read),
                }
            }
        }
    }

    fn read(&mut self, tensor: Tensor, view: &View) -> Read {
        let from = match tensor {
            Tensor::Kept(kept) => Origin::Temp(self.temp(kept)),
            Tensor::Source(source) => {
                let next = self.plan.sources.len() as u32;
                let id = *self.sources[source.0 as usize].get_or_insert(next);
                if id == next {
                    self.plan.sources.push(self.graph.sources[source.0 as usize].clone());
                }
                Origin::Source(id)
            }
        };
        Read { from, view: view.clone() }
    }

    fn temp(&mut self, kept: Kept) -> u32 {
        let next = self.plan.temps.len() as u32;
        let id = *self.temps.entry(kept).or_insert(next);
        if id == next {
            self.plan.temps.push(Temp { shape: self.graph.shape(kept.0).to_vec() });
        }
        id
    }

    fn target(&mut self, place: &Place) -> Target {
        let to = match place.goal {
            Goal::Output { output, tensor } => Sink::Output { output, tensor },
            Goal::Temp(kept) => Sink::Temp(self.temp(kept)),
        };
        Target { to, view: place.view.clone() }
    }

    fn stat(&mut self) -> StatId {
        self.plan.stats += 1;
        StatId(self.plan.stats - 1)
    }

    fn param(&mut self, param: Param) -> ScalarId {
        match param {
            Param::Scalar(node) => self.node(node),
            Param::Threshold(mask) => {
                let stat = self.selection(mask).0;
                self.scalar(Meaning::Stat(stat), ScalarOp::Stat(stat))
            }
            Param::Cut(mask) => {
                let stat = self.cut(mask);
                self.scalar(Meaning::Stat(stat), ScalarOp::Stat(stat))
            }
        }
    }

    /// Threshold and cut of the selection that computes a node, which an earlier group holds.
    fn selection(&self, node: NodeId) -> (StatId, Option<StatId>) {
        let id = self.dispatch.selection_of[&node];
        self.selected[id as usize].expect("selections are scheduled before they are used")
    }

    fn cut(&self, mask: NodeId) -> StatId {
        self.selection(mask).1.expect("a selection that a mask needs has a cut")
    }

    fn scalar(&mut self, meaning: Meaning, op: ScalarOp) -> ScalarId {
        let next = ScalarId(self.plan.scalars.len() as u32);
        let id = *self.scalars.entry(meaning).or_insert(next);
        if id == next {
            self.plan.scalars.push(op);
        }
        id
    }

    /// Not 0 where one of these holds; of those that the steps so far decide.
    fn unless(&mut self, conditions: Vec<NodeId>) -> Option<ScalarId> {
        let mut any: Option<ScalarId> = None;
        for condition in conditions {
            if self.is_known(condition) {
                let next = self.node(condition);
                any = Some(match any {
                    None => next,
                    Some(any) => self.scalar(Meaning::Either(any, next), ScalarOp::Binary(BinaryFn::Or, any, next)),
                });
            }
        }
        any
    }

    /// Whether the steps so far find all statistics that a scalar needs.
    fn is_known(&self, node: NodeId) -> bool {
        let mut stack = vec![node];
        let mut seen = FxHashSet::default();
        while let Some(node) = stack.pop() {
            if self.scalars.contains_key(&Meaning::Node(node)) || !seen.insert(node) {
                continue;
            }
            match &self.graph.node(node).op {
                Op::Const(_) | Op::Setting(_) => {}
                op @ (Op::Unary(..) | Op::Binary(..) | Op::Select(..)) => stack.extend(op.operands()),
                Op::Kth { .. } => {
                    let id = self.dispatch.selection_of.get(&node);
                    if id.is_none_or(|id| self.selected[*id as usize].is_none()) {
                        return false;
                    }
                }
                _ if self.stats.contains_key(&node) => {}
                _ => return false,
            }
        }
        true
    }

    /// A number of entries.
    fn count(&mut self, k: NodeId, at_least_one: bool) -> ScalarId {
        let k = self.node(k);
        if !at_least_one {
            return k;
        }
        let one = self.scalar(Meaning::Const(1.0f64.to_bits()), ScalarOp::Const(1.0));
        self.scalar(Meaning::AtLeastOne(k), ScalarOp::Binary(BinaryFn::Max, k, one))
    }

    /// The scalar that computes a node, and before it those that the node needs.
    fn node(&mut self, node: NodeId) -> ScalarId {
        let graph = self.graph;
        let mut stack = vec![node];
        while let Some(&node) = stack.last() {
            if self.scalars.contains_key(&Meaning::Node(node)) {
                stack.pop();
                continue;
            }
            let depth = stack.len();
            let mut get = |n: NodeId| match self.scalars.get(&Meaning::Node(n)) {
                Some(id) => *id,
                None => {
                    stack.push(n);
                    ScalarId(u32::MAX)
                }
            };
            let op = match &graph.node(node).op {
                Op::Const(bits) => ScalarOp::Const(f64::from_bits(*bits)),
                Op::Setting(s) => ScalarOp::Setting(*s),
                Op::Unary(f, a) => ScalarOp::Unary(*f, get(*a)),
                Op::Binary(f, a, b) => ScalarOp::Binary(*f, get(*a), get(*b)),
                Op::Select(c, a, b) => ScalarOp::Select(get(*c), get(*a), get(*b)),
                Op::Kth { .. } => ScalarOp::Stat(self.selection(node).0),
                _ => ScalarOp::Stat(*self.stats.get(&node).expect("statistics are scheduled before they are used")),
            };
            if stack.len() == depth {
                stack.pop();
                self.scalar(Meaning::Node(node), op);
            }
        }
        self.scalars[&Meaning::Node(node)]
    }
}
