//! Groups the graph into the dispatch graph: which passes over the tensors there are.
//!
//! The roots are the pieces of output tensors and the statistics over whole tensors. Statistics that an
//! output needs at the same time over equally many entries are found in one pass, so each input is read a
//! small fixed number of times: `ties` of any number of models is one selection and one map per tensor.
//! A statistic stands directly before the first tensor that needs it, while its inputs are in memory.
//!
//! Establishes: groups are in an order in which they can run; each has clusters that compute it.

use crate::cluster::{Cluster, Expr, Kept, Need, Tensor};
use crate::codes::NOT_YET;
use crate::keep::{Call, Keeping, Levels, is_entry};
use crate::order;
use crate::push_views::{Joints, Obstacle, Purpose, Refusal, Stop, push};
use crate::view::{compose, split_rows};
use merge_abi::{DType, ReduceFn, View};
use merge_base::Diagnostic;
use merge_ir::tir::{Graph, NodeId, Op, Over};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;

/// Bytes of the largest value that is kept although the recipe calls no routine on it. Every matrix inside the layers of a
/// model of 70 billion parameters is smaller; an embedding of that model, or the model as one vector, is not.
const MOST_UNASKED: u64 = 4 << 28;

/// The groups, in the order they run, and what could not be grouped.
#[derive(Debug, Default)]
pub(crate) struct Dispatch {
    pub groups: Vec<Group>,
    /// Nodes computed by a selection: which one, by index into [`Dispatch::selections`].
    pub selection_of: FxHashMap<NodeId, u32>,
    pub selections: Vec<Selection>,
    pub calls: Vec<Call>,
    pub diagnostics: Vec<Diagnostic>,
}

/// The k largest entries of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Selection {
    pub input: NodeId,
    pub k: NodeId,
    /// Whether k is held above 0: there is a k-th largest entry, but not always a largest 0.
    pub at_least_one: bool,
    /// Whether it is asked which of equal entries are meant.
    pub cut: bool,
}

/// What a pass writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Goal {
    Output { output: u32, tensor: u32 },
    Temp(Kept),
}

/// A piece of it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub goal: Goal,
    pub view: View,
}

/// One pass.
#[derive(Debug)]
pub(crate) enum Group {
    Copy {
        from: (Tensor, View),
        to: Place,
    },
    Map {
        cluster: Cluster,
        dtype: DType,
        to: Place,
    },
    Reduce {
        stats: Vec<(ReduceFn, NodeId)>,
        parts: Vec<Part>,
    },
    /// The selections are indices into [`Dispatch::selections`].
    Select {
        selections: Vec<u32>,
        parts: Vec<Part>,
    },
    /// Index into [`Dispatch::calls`].
    Call(u32),
}

/// A piece of the vector that a statistic ranges over.
#[derive(Debug)]
pub(crate) struct Part {
    pub cluster: Cluster,
    /// Index of its first entry.
    pub start: u64,
}

/// Groups everything the outputs need. What a loop cannot look at is kept; since that changes what all other loops
/// read, they are built anew then. As a run goes on after what it finds, a second run is nearly always the last.
pub(crate) fn fuse(graph: &Graph) -> Dispatch {
    let joints = Joints::new(graph);
    let mut keeping = Keeping::new(graph);
    loop {
        let mut f = Fuser {
            graph,
            joints: &joints,
            levels: Levels::of(graph, &keeping),
            keeping,
            stale: false,
            seen: vec![false; graph.len()],
            made: FxHashSet::default(),
            waiting: BTreeMap::new(),
            known: FxHashMap::default(),
            refused: Vec::new(),
            d: Dispatch::default(),
        };
        f.recipe();
        if !f.stale {
            f.report();
            f.d.calls = f.keeping.calls;
            return f.d;
        }
        keeping = f.keeping;
    }
}

/// Statistics by how many entries they range over.
type ByEntries<T> = Vec<(u64, Vec<T>)>;

struct Fuser<'g> {
    graph: &'g Graph,
    joints: &'g Joints,
    keeping: Keeping,
    /// Whether something is kept that was not when the run began.
    stale: bool,
    levels: Levels,
    /// Scalars and masks whose statistics are scheduled or waiting.
    seen: Vec<bool>,
    /// Temporaries that are scheduled or waiting.
    made: FxHashSet<Kept>,
    /// What to schedule before the current tensor, by level.
    waiting: BTreeMap<u32, Vec<Need>>,
    known: FxHashMap<(NodeId, NodeId, bool), u32>,
    /// What was refused, and the names of the tensors in which.
    refused: Vec<(Refusal, Vec<String>)>,
    d: Dispatch,
}

impl Fuser<'_> {
    fn recipe(&mut self) {
        let graph = self.graph;
        for constraint in &graph.constraints {
            if self.levels.number(constraint.node) == 0 {
                continue;
            }
            let what = "a condition on the numbers in tensors is not there yet".to_owned();
            let help = "conditions may speak of settings, which are known before anything is read".to_owned();
            self.refuse(Refusal { span: graph.node(constraint.node).span, what, help }, &constraint.place);
        }
        for (node, refusal) in self.keeping.beyond(graph) {
            let place = graph.places.get(&node).cloned().unwrap_or_default();
            self.refuse(refusal, &place);
        }
        for (o, output) in graph.outputs.iter().enumerate() {
            for (t, tensor) in output.tensors.iter().enumerate() {
                let goal = Goal::Output { output: o as u32, tensor: t as u32 };
                self.output(tensor.node, tensor.dtype, goal, &tensor.name);
            }
        }
    }

    fn output(&mut self, node: NodeId, dtype: DType, goal: Goal, name: &str) {
        let entries: u64 = self.graph.shape(node).iter().product();
        if entries == 0 {
            return;
        }
        let purpose = Purpose { filling: None, read_scalars: is_entry(self.graph, node) };
        let pieces = match self.pieces_anyhow(&[node], View::whole(entries), purpose) {
            Ok(pieces) => pieces,
            Err(refusal) => return self.refuse(refusal, name),
        };
        let is_temp = |n: &Need| matches!(n, Need::Temp(_));
        if pieces.len() > 1 && pieces.iter().any(|(_, cluster)| cluster.needs().any(|n| is_temp(&n))) {
            // Numbers of all pieces together; but what one piece keeps is used before the next keeps anything.
            pieces.iter().flat_map(|(_, cluster)| cluster.needs()).filter(|n| !is_temp(n)).for_each(|n| self.need(n));
            let numbers = self.before(&[]);
            let done = pieces.into_iter().fold(numbers, |so_far, piece| so_far.and(self.last(vec![piece], dtype, goal)));
            return done.unwrap_or_else(|refusal| self.refuse(refusal, name));
        }
        if let Err(refusal) = self.last(pieces, dtype, goal) {
            self.refuse(refusal, name);
        }
    }

    /// Schedules some pieces of an output, and what they need before them.
    fn last(&mut self, pieces: Vec<(View, Cluster)>, dtype: DType, goal: Goal) -> Result<(), Refusal> {
        for (_, cluster) in &pieces {
            cluster.needs().for_each(|n| self.need(n));
        }
        self.before(&pieces)?;
        let maps = self.maps(pieces, dtype, goal);
        self.d.groups.extend(maps);
        Ok(())
    }

    fn maps(&self, pieces: Vec<(View, Cluster)>, dtype: DType, goal: Goal) -> Vec<Group> {
        let map = |(view, cluster): (View, Cluster)| {
            let to = Place { goal, view };
            match copied(self.graph, &cluster, dtype) {
                Some(from) => Group::Copy { from, to },
                None => Group::Map { cluster, dtype, to },
            }
        };
        pieces.into_iter().map(map).collect()
    }

    fn need(&mut self, need: Need) {
        match need {
            Need::Number(node) => self.need_number(node),
            Need::Temp(kept) => self.need_temp(kept),
        }
    }

    /// Puts a temporary in the queue; the results of a call go together.
    fn need_temp(&mut self, kept: Kept) {
        if !self.made.insert(kept) {
            return;
        }
        if let Some(call) = self.keeping.call(kept.0) {
            let results = self.keeping.calls[call as usize].results.iter().flatten();
            self.made.extend(results.map(|n| Kept(*n)));
        }
        self.waiting.entry(self.levels.kept(kept)).or_default().push(Need::Temp(kept));
    }

    /// Puts the statistics that a scalar or mask depends on in the queue.
    fn need_number(&mut self, node: NodeId) {
        let mut stack = vec![node];
        while let Some(node) = stack.pop() {
            if std::mem::replace(&mut self.seen[node.0 as usize], true) {
                continue;
            }
            let op = &self.graph.node(node).op;
            match op {
                Op::Const(_) | Op::Setting(_) => continue,
                Op::Unary(..) | Op::Binary(..) | Op::Select(..) => {
                    op.each_operand(|o| stack.push(o));
                    continue;
                }
                Op::Kth { k, .. } | Op::TopMask { k, .. } => stack.push(*k),
                _ => {}
            }
            self.waiting.entry(self.levels.number(node)).or_default().push(Need::Number(node));
        }
    }

    /// Schedules what waits for `last`, and what that needs in turn, which always has a lower level.
    fn before(&mut self, last: &[(View, Cluster)]) -> Result<(), Refusal> {
        let mut steps: Vec<Vec<Group>> = Vec::new();
        let mut first_refusal = None;
        while let Some((_, needs)) = self.waiting.pop_last() {
            let mut built = self.statistics(&needs);
            for need in &needs {
                if let Need::Temp(kept) = need {
                    match self.fill(*kept) {
                        Ok(groups) => built.extend(groups.into_iter().map(Ok)),
                        Err(refusal) => built.push(Err(refusal)),
                    }
                }
            }
            let mut groups = Vec::new();
            for result in built {
                match result {
                    Ok(group) => {
                        order::needs(&self.d, &self.keeping, &group).into_iter().for_each(|n| self.need(n));
                        groups.push(group);
                    }
                    Err(refusal) => drop(first_refusal.get_or_insert(refusal)),
                }
            }
            steps.push(groups);
        }
        let groups = steps.into_iter().rev().flatten().collect();
        let last = last.iter().map(|(_, cluster)| cluster);
        let groups = order::order(self.graph, &self.d, &self.keeping, groups, last);
        self.d.groups.extend(groups);
        first_refusal.map_or(Ok(()), Err)
    }

    /// The passes that fill a temporary.
    fn fill(&mut self, kept: Kept) -> Result<Vec<Group>, Refusal> {
        if let Some(call) = self.keeping.call(kept.0) {
            return Ok(vec![Group::Call(call)]);
        }
        let (node, entries) = (kept.0, self.entries(kept.0));
        if entries == 0 {
            return Ok(Vec::new());
        }
        let purpose = Purpose { filling: Some(kept), read_scalars: is_entry(self.graph, node) };
        let pieces = match self.graph.node(node).op {
            Op::Reduce { over: Over::Rows, input, .. } | Op::Kth { over: Over::Rows, input, .. } => {
                self.anyhow(|f| f.rows(node, input, purpose))?
            }
            _ => self.pieces_anyhow(&[node], View::whole(entries), purpose)?,
        };
        Ok(self.maps(pieces, DType::F32, Goal::Temp(kept)))
    }

    /// The clusters of a statistic of rows. Their loops go over the entries of `input`; the views are those of the rows.
    fn rows(&self, node: NodeId, input: NodeId, purpose: Purpose) -> Result<Vec<(View, Cluster)>, Obstacle> {
        let (rows, cols) = (self.entries(node), self.entries(input) / self.entries(node));
        let along = View { offset: 0, dims: vec![(rows, 1), (cols, 0)] };
        let of_rows = |(view, cluster): (View, Cluster)| match split_rows(&view, cols) {
            Some((outer, inner)) if inner.dims[..] == [(cols, 1)] && outer.dims.iter().all(|d| d.1 % cols == 0) => {
                let dims = outer.dims.iter().map(|(n, s)| (*n, s / cols)).collect();
                Ok((View { offset: outer.offset / cols, dims }, cluster))
            }
            _ => Err(joined_across(self.graph, input)),
        };
        self.pieces(&[node], along, purpose)?.into_iter().map(of_rows).collect()
    }

    /// The passes that find the statistics among `needs`, those over equally many entries together.
    fn statistics(&mut self, needs: &[Need]) -> Vec<Result<Group, Refusal>> {
        // By number of entries: function, input and node; and selections.
        let mut reductions: ByEntries<(ReduceFn, NodeId, NodeId)> = Vec::new();
        let mut selections: ByEntries<u32> = Vec::new();
        for need in needs {
            let Need::Number(node) = *need else { continue };
            match &self.graph.node(node).op {
                Op::Kth { input, k, .. } => self.selection(node, *input, *k, true, &mut selections),
                Op::TopMask { input, k, .. } => self.selection(node, *input, *k, false, &mut selections),
                Op::Reduce { f, input, .. } => join(&mut reductions, self.entries(*input), (*f, *input, node)),
                // The value of a tensor without axes: the largest of its one entry.
                _ => join(&mut reductions, 1, (ReduceFn::Max, node, node)),
            }
        }
        let mut groups = Vec::new();
        for (entries, stats) in reductions {
            let inputs: Vec<NodeId> = stats.iter().map(|s| s.1).collect();
            let group = |parts, which: &[usize]| {
                let stats = which.iter().map(|i| (stats[*i].0, stats[*i].2)).collect();
                Group::Reduce { stats, parts }
            };
            groups.extend(self.parts(&inputs, entries, false, group));
        }
        for (entries, which) in selections {
            let inputs: Vec<NodeId> = which.iter().map(|s| self.d.selections[*s as usize].input).collect();
            let cut = which.iter().any(|s| self.d.selections[*s as usize].cut);
            let group = |parts, chosen: &[usize]| Group::Select { selections: chosen.iter().map(|i| which[*i]).collect(), parts };
            groups.extend(self.parts(&inputs, entries, cut, group));
        }
        groups
    }

    fn entries(&self, node: NodeId) -> u64 {
        self.graph.shape(node).iter().product()
    }

    fn selection(&mut self, node: NodeId, input: NodeId, k: NodeId, kth: bool, new: &mut ByEntries<u32>) {
        // A constant k that selects some entries but not all asks the same of both.
        let some = 1.0..self.entries(input) as f64;
        let safe = matches!(self.graph.node(k).op, Op::Const(bits) if some.contains(&f64::from_bits(bits)));
        let at_least_one = kth && !safe;
        let next = self.d.selections.len() as u32;
        let id = *self.known.entry((input, k, at_least_one)).or_insert(next);
        if id == next {
            self.d.selections.push(Selection { input, k, at_least_one, cut: false });
            join(new, self.entries(input), id);
        }
        self.d.selections[id as usize].cut |= !kth;
        self.d.selection_of.insert(node, id);
    }

    /// One group for all inputs together or, where that cannot be, one for each. With `in_order`, the parts must follow
    /// the entries.
    fn parts(
        &mut self,
        inputs: &[NodeId],
        entries: u64,
        in_order: bool,
        group: impl Fn(Vec<Part>, &[usize]) -> Group,
    ) -> Vec<Result<Group, Refusal>> {
        let build = |fuser: &Fuser, which: &[usize]| {
            let nodes: Vec<NodeId> = which.iter().map(|i| inputs[*i]).collect();
            let purpose = Purpose { filling: None, read_scalars: nodes.iter().any(|n| is_entry(fuser.graph, *n)) };
            let pieces = fuser.pieces(&nodes, View::whole(entries), purpose)?;
            if in_order && !follow_each_other(&pieces) {
                return Err(out_of_order(fuser.graph, nodes[0]));
            }
            let mut start = 0;
            let part = |(_, cluster): (View, Cluster)| {
                start += cluster.len;
                Part { start: start - cluster.len, cluster }
            };
            Ok(group(pieces.into_iter().map(part).collect(), which))
        };
        let all: Vec<usize> = (0..inputs.len()).collect();
        match build(self, &all) {
            Err(_) if inputs.len() > 1 => all.iter().map(|i| self.anyhow(|f| build(f, &[*i]))).collect(),
            Err(obstacle) => vec![self.keep(obstacle).and_then(|()| self.anyhow(|f| build(f, &all)))],
            Ok(built) => vec![Ok(built)],
        }
    }

    fn pieces_anyhow(&mut self, roots: &[NodeId], whole: View, purpose: Purpose) -> Result<Vec<(View, Cluster)>, Refusal> {
        self.anyhow(|f| f.pieces(roots, whole.clone(), purpose))
    }

    /// Builds something, keeping what stands in the way.
    fn anyhow<T>(&mut self, build: impl Fn(&Self) -> Result<T, Obstacle>) -> Result<T, Refusal> {
        loop {
            match build(self) {
                Ok(built) => return Ok(built),
                Err(obstacle) => self.keep(obstacle)?,
            }
        }
    }

    /// Keeps the first value that takes an obstacle away.
    fn keep(&mut self, obstacle: Obstacle) -> Result<(), Refusal> {
        let mut refusal = obstacle.refusal;
        for kept in obstacle.keep {
            let helps = !matches!(self.graph.node(kept.0).op, Op::Load(_)) && !self.keeping.has(kept);
            let bytes = 4 * self.entries(kept.0);
            if helps && bytes <= MOST_UNASKED {
                self.keeping.add(kept);
                self.stale = true;
                return Ok(());
            }
            if helps {
                let (bytes, most) = (bytes as f64 / 1e9, MOST_UNASKED as f64 / 1e9);
                refusal.what = format!(
                    "{}; to hold it in memory whole would take {bytes:.1} GB, more than the {most:.1} GB that are taken unasked",
                    refusal.what
                );
                break;
            }
        }
        Err(refusal)
    }

    /// The clusters of `roots`, all seen through `whole`, one for each piece into which concatenations cut them.
    fn pieces(&self, roots: &[NodeId], whole: View, purpose: Purpose) -> Result<Vec<(View, Cluster)>, Obstacle> {
        // With the concatenation that a piece was cut at; the root stands for none.
        let mut todo = vec![(View::whole(whole.len()), roots[0])];
        let mut done = Vec::new();
        while let Some((view, joined)) = todo.pop() {
            let through = compose(&view, &whole).ok_or_else(|| joined_across(self.graph, joined))?;
            let seen: Vec<(NodeId, View)> = roots.iter().map(|r| (*r, through.clone())).collect();
            match push(self.graph, self.joints, &self.keeping, &seen, purpose) {
                Ok(cluster) => done.push((view, cluster)),
                Err(Stop::Obstacle(mut obstacle)) => {
                    // A piece may be what is in the way of what the whole would have passed.
                    obstacle.keep.extend((joined != roots[0]).then_some(Kept(joined)));
                    return Err(obstacle);
                }
                Err(Stop::Split(pieces, joined)) => {
                    for piece in pieces.iter().rev() {
                        todo.push((compose(piece, &view).ok_or_else(|| joined_across(self.graph, joined))?, joined));
                    }
                }
            }
        }
        Ok(done)
    }

    fn refuse(&mut self, refusal: Refusal, name: &str) {
        match self.refused.iter_mut().find(|r| r.0 == refusal) {
            Some((_, names)) => names.push(name.to_owned()),
            None => self.refused.push((refusal, vec![name.to_owned()])),
        }
    }

    fn report(&mut self) {
        for (refusal, names) in self.refused.drain(..) {
            let place = match names.len() {
                1 => format!("in `{}`", names[0]),
                n => format!("in {n} tensors, from `{}`", names[0]),
            };
            self.d.diagnostics.push(Diagnostic::new(NOT_YET, refusal.what, refusal.span, "").note(place).help(refusal.help));
        }
    }
}

fn join<T>(groups: &mut ByEntries<T>, entries: u64, item: T) {
    match groups.iter_mut().find(|g| g.0 == entries) {
        Some((_, items)) => items.push(item),
        None => groups.push((entries, vec![item])),
    }
}

/// Whether the pieces go through the entries in order.
fn follow_each_other(pieces: &[(View, Cluster)]) -> bool {
    let mut at = 0;
    pieces.iter().all(|(v, _)| {
        let here = v.is_contiguous() && v.offset == at;
        at += v.len();
        here
    })
}

fn joined_across(graph: &Graph, joined: NodeId) -> Obstacle {
    Obstacle {
        keep: vec![Kept(joined)],
        refusal: Refusal {
            span: graph.node(joined).span,
            what: "these tensors are joined and then looked at through a change of shape that cuts across their joints".into(),
            help: "join the tensors last, or save the intermediate model".into(),
        },
    }
}

fn out_of_order(graph: &Graph, node: NodeId) -> Obstacle {
    Obstacle {
        keep: vec![Kept(node)],
        refusal: Refusal {
            span: graph.node(node).span,
            what: "the largest entries are asked of tensors joined along an inner axis".into(),
            help: "join them along the first axis, or select before joining".into(),
        },
    }
}

/// What a cluster only copies, if it is stored in this dtype already.
fn copied(graph: &Graph, cluster: &Cluster, dtype: DType) -> Option<(Tensor, View)> {
    let Expr::Load(tensor, v) = *cluster.expr(cluster.roots[0]) else { return None };
    let stored = match tensor {
        Tensor::Source(source) => graph.sources[source.0 as usize].dtype,
        Tensor::Kept(_) => DType::F32,
    };
    (stored == dtype).then(|| (tensor, cluster.view(v).clone()))
}
