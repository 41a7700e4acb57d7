//! Pushes views down to the loads: a value seen through a view becomes a [`Cluster`].
//!
//! Slices, reshapes, transposes and broadcasts compose into one affine view per load. A concatenation
//! disappears where the loop stays inside one part; where it does not, [`Stop::Split`] says how to cut the
//! loop so that each piece does, and the caller tries each piece. What a loop cannot look at in the way it is asked
//! to is an [`Obstacle`], which names the values to keep in temporaries, where they may be looked at in any way.
//!
//! Not here: which loops there are (`fuse`).

use crate::cluster::{At, Builder, Cluster, Expr, ExprId, Kept, Param, RowKind, RowStat, Tensor, ViewId};
use crate::keep::Keeping;
use crate::view::{Walk, broadcast, compose, decompose, follow, split_rows, strides};
use merge_abi::{BinaryFn, RandomKey, UnaryFn, View};
use merge_base::Span;
use merge_ir::tir::{Graph, NodeId, Op, Over};
use rustc_hash::FxHashMap;

/// Entries of a literal that a kernel may hold as a chain of choices.
pub(crate) const LONGEST_LITERAL: usize = 64;

/// Entries of a list that may be written in a recipe: that many kernels hold it, a piece each.
pub(crate) const LONGEST_LIST: usize = 64 * LONGEST_LITERAL;

/// Whole numbers up to here are exact in f32.
const EXACT: u64 = 1 << 24;

/// Pieces into which one loop may be cut.
const MOST_PIECES: usize = 100_000;

/// Why a cluster cannot be built as asked.
#[derive(Debug)]
pub(crate) enum Stop {
    /// These views of the loop, one after the other, can be; the node is the concatenation that they take apart.
    Split(Vec<View>, NodeId),
    Obstacle(Obstacle),
}

/// Something that a loop cannot compute where it is asked to.
#[derive(Debug)]
pub(crate) struct Obstacle {
    /// Each of these, kept, takes it away or moves it to a loop of its own; the first that can be is meant.
    pub keep: Vec<Kept>,
    /// What to say where none can be.
    pub refusal: Refusal,
}

/// What cannot be computed, where, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Refusal {
    pub span: Span,
    pub what: String,
    pub help: String,
}

/// Where the parts of each concatenation end along its axis, found once for all loops that look into it.
#[derive(Debug)]
pub(crate) struct Joints(FxHashMap<NodeId, Vec<u64>>);

impl Joints {
    /// Those of a graph.
    pub fn new(graph: &Graph) -> Joints {
        let ends = |axis: u32, inputs: &[NodeId]| {
            let add = |end: &mut u64, i: &NodeId| {
                *end += graph.shape(*i)[axis as usize];
                Some(*end)
            };
            inputs.iter().scan(0, add).collect()
        };
        Joints(
            graph
                .nodes()
                .filter_map(|(id, node)| match &node.op {
                    Op::Concat { axis, inputs } => Some((id, ends(*axis, inputs))),
                    _ => None,
                })
                .collect(),
        )
    }
}

/// What a loop is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purpose {
    /// The temporary that it fills: its value is computed, not read.
    pub filling: Option<Kept>,
    /// Whether a root without axes is looked into although it is a scalar.
    pub read_scalars: bool,
}

/// The cluster that computes each root at each index of its view; all views have the same length, which
/// is not 0.
pub(crate) fn push(
    graph: &Graph,
    joints: &Joints,
    keeping: &Keeping,
    roots: &[(NodeId, View)],
    purpose: Purpose,
) -> Result<Cluster, Stop> {
    let Purpose { filling, read_scalars } = purpose;
    let mut pusher = Pusher {
        graph,
        joints,
        keeping,
        filling,
        b: Builder::default(),
        memo: FxHashMap::default(),
        stack: Vec::new(),
        random: Vec::new(),
    };
    pusher.b.cluster.len = roots.first().map_or(1, |r| r.1.len());
    for (node, view) in roots {
        let view = pusher.b.view(view.clone());
        let root = pusher.root(*node, view, read_scalars)?;
        pusher.b.cluster.roots.push(root);
    }
    pusher.finish(roots[0].0)
}

struct Pusher<'g> {
    graph: &'g Graph,
    joints: &'g Joints,
    keeping: &'g Keeping,
    filling: Option<Kept>,
    b: Builder,
    memo: FxHashMap<(NodeId, ViewId), ExprId>,
    stack: Vec<(NodeId, ViewId)>,
    /// The random numbers that the loop draws.
    random: Vec<NodeId>,
}

impl Pusher<'_> {
    /// Works off a stack of what is needed first, since a sum over many models is many nodes deep.
    fn root(&mut self, node: NodeId, view: ViewId, read_scalars: bool) -> Result<ExprId, Stop> {
        if !read_scalars && let Some(done) = self.known(node, view) {
            return Ok(done);
        }
        self.stack.push((node, view));
        while let Some(&(node, view)) = self.stack.last() {
            let depth = self.stack.len();
            if self.memo.contains_key(&(node, view)) {
                self.stack.pop();
            } else if let Some(expr) = self.visit(node, view)? {
                self.memo.insert((node, view), expr);
                self.stack.truncate(depth - 1);
            } else {
                // Operands in the order in which they are written, which is that of the kernel's.
                self.stack[depth..].reverse();
            }
        }
        Ok(self.memo[&(node, view)])
    }

    fn finish(self, root: NodeId) -> Result<Cluster, Stop> {
        let (cluster, random) = (self.b.cluster, self.random);
        let Some(first) = cluster.first else { return Ok(cluster) };
        // The index of the loop counts from `first`; coordinates survive that only at whole turns.
        let turns = |(stride, len): (u64, u64)| first.is_multiple_of(stride * len);
        let coords_fit = cluster.exprs.iter().all(|e| !matches!(*e, Expr::Coord { stride, len } if !turns((stride, len))));
        let cuts_fit = cluster.exprs.iter().all(|e| !matches!(*e, Expr::Chosen { at: At::Shifted(at), .. } if at < first));
        if coords_fit && cuts_fit && cluster.row_len.is_none_or(|cols| first.is_multiple_of(cols)) {
            return Ok(cluster);
        }
        Err(obstacle(
            random.into_iter().map(Kept),
            self.graph.node(root).span,
            "random numbers that start in the middle of a tensor are combined with positions in it",
            "draw the random numbers for each tensor by itself, outside `whole`",
        ))
    }

    /// What is known of a node at once: scalars, and what has been visited.
    fn known(&mut self, node: NodeId, view: ViewId) -> Option<ExprId> {
        let n = self.graph.node(node);
        if !n.shape.is_empty() {
            return self.memo.get(&(node, view)).copied();
        }
        // Small numbers that belong to the structure of a formula stay in the kernel. All others are
        // arguments, so that layers that differ in a weight share the kernel.
        Some(self.b.expr(match n.op {
            Op::Const(bits) if [0.0, 1.0, -1.0, 0.5, 2.0].map(f64::to_bits).contains(&bits) => {
                Expr::Const((f64::from_bits(bits) as f32).to_bits())
            }
            _ => Expr::Param(Param::Scalar(node)),
        }))
    }

    /// The expression of a node, or none after putting it on the stack.
    fn get(&mut self, node: NodeId, view: ViewId) -> Option<ExprId> {
        let known = self.known(node, view);
        if known.is_none() {
            self.stack.push((node, view));
        }
        known
    }

    /// An operand of `user` that stretches to `shape`.
    fn operand(&mut self, user: NodeId, node: NodeId, shape: &[u64], view: ViewId) -> Result<Option<ExprId>, Stop> {
        let from = self.graph.shape(node).clone();
        let view = match from.is_empty() || *from == *shape {
            true => view,
            false => self.through(user, view, &broadcast(&from, shape))?,
        };
        Ok(self.get(node, view))
    }

    /// `view`, which `node` is seen through, then `next`.
    fn through(&mut self, node: NodeId, view: ViewId, next: &View) -> Result<ViewId, Stop> {
        match compose(self.b.cluster.view(view), next) {
            Some(v) => Ok(self.b.view(v)),
            None => Err(self.misfit(node)),
        }
    }

    fn misfit(&self, node: NodeId) -> Stop {
        obstacle(
            [Kept(node)],
            self.graph.node(node).span,
            "this is looked at through a change of shape that cuts across its rows",
            "change the shape of the tensors as they are stored, before other changes of shape, or save the intermediate model",
        )
    }

    fn walk(&self, node: NodeId, view: ViewId, lens: &[u64]) -> Result<Walk, Stop> {
        decompose(self.b.cluster.view(view), lens).ok_or_else(|| self.misfit(node))
    }

    /// The expression of a node whose operands are visited, or none after asking for those that are not.
    fn visit(&mut self, node: NodeId, view: ViewId) -> Result<Option<ExprId>, Stop> {
        let graph = self.graph;
        let n = graph.node(node);
        let shape = &n.shape;
        // A source is read where it lies, for what is only copied must not pass through f32.
        let source = matches!(n.op, Op::Load(_));
        if !source && let Some(kept) = self.keeping.read_for(node, self.filling) {
            return Ok(Some(self.b.expr(Expr::Load(Tensor::Kept(kept), view))));
        }
        Ok(match &n.op {
            Op::Const(_) | Op::Setting(_) => self.known(node, view),
            Op::Reduce { over: Over::All, .. } | Op::Kth { over: Over::All, .. } => self.known(node, view),
            Op::Load(source) => Some(self.b.expr(Expr::Load(Tensor::Source(*source), view))),
            Op::Literal(values) => Some(self.literal(node, values, view)?),
            Op::Unary(f, a) => self.operand(node, *a, shape, view)?.map(|a| self.b.expr(Expr::Unary(*f, a))),
            Op::Binary(f, a, b) => match (self.operand(node, *a, shape, view)?, self.operand(node, *b, shape, view)?) {
                (Some(a), Some(b)) => Some(self.b.binary(*f, a, b)),
                _ => None,
            },
            Op::Select(c, a, b) => {
                let parts = (
                    self.operand(node, *c, shape, view)?,
                    self.operand(node, *a, shape, view)?,
                    self.operand(node, *b, shape, view)?,
                );
                match parts {
                    (Some(c), Some(a), Some(b)) => Some(self.b.expr(Expr::Select(c, a, b))),
                    _ => None,
                }
            }
            Op::Coord { axis } => {
                let walk = self.walk(node, view, shape)?;
                Some(self.coordinate(&walk, &[(*axis as usize, 1)], 0))
            }
            Op::Uniform { key, first } => Some(self.uniform(node, *key, *first, view)?),
            Op::Normal { key, first } => Some(self.normal(node, *key, *first, view)?),
            Op::Reduce { f, over: Over::Rows, input } => {
                let rows = self.rows_of(node, *input, view)?;
                self.get(*input, rows).map(|key| self.row_value(*input, RowKind::Reduce(*f), key)).transpose()?
            }
            Op::Kth { input, k, over: Over::Rows } => {
                let rows = self.rows_of(node, *input, view)?;
                let kind = RowKind::Select { k: *k, at_least_one: true };
                self.get(*input, rows).map(|key| self.row_value(*input, kind, key)).transpose()?
            }
            Op::TopMask { input, k, over: Over::Rows } => {
                self.check_rows(node, *input, view)?;
                match self.get(*input, view) {
                    Some(key) => {
                        let kind = RowKind::Select { k: *k, at_least_one: false };
                        let stat = self.row_stat(*input, kind, key)?;
                        Some(self.b.expr(Expr::RowChosen { stat, key }))
                    }
                    None => None,
                }
            }
            Op::TopMask { input, over: Over::All, .. } => match self.get(*input, view) {
                Some(key) => Some(self.chosen(node, key, view)?),
                None => None,
            },
            Op::Rank { input, .. } => {
                self.check_rows(node, *input, view)?;
                self.check_once(node, *input, view)?;
                match self.get(*input, view) {
                    Some(key) => {
                        let stat = self.row_stat(*input, RowKind::Rank, key)?;
                        Some(self.b.expr(Expr::RowPlace(stat)))
                    }
                    None => None,
                }
            }
            Op::Slice { input, start } => {
                let steps = strides(graph.shape(*input));
                let offset = start.iter().zip(&steps).map(|(c, s)| c * s).sum();
                let dims = shape.iter().copied().zip(steps).collect();
                let view = self.through(node, view, &View { offset, dims })?;
                self.get(*input, view)
            }
            Op::Reshape { input } => self.get(*input, view),
            Op::Transpose { input, perm } => {
                let steps = strides(graph.shape(*input));
                let dims = shape.iter().zip(perm.iter()).map(|(n, p)| (*n, steps[*p as usize])).collect();
                let view = self.through(node, view, &View { offset: 0, dims })?;
                self.get(*input, view)
            }
            Op::Concat { axis, inputs } => {
                let (part, view) = self.part(node, *axis as usize, inputs, view)?;
                let view = self.b.view(view);
                self.get(part, view)
            }
            Op::Call { .. } => unreachable!("results of calls are kept, and no loop fills them"),
            Op::Parameter(_) | Op::Layer { .. } => unreachable!("what is saved depends on no parameter and no layer"),
        })
    }

    /// The part of a concatenation that the whole loop stays in, and its view of that part.
    fn part(&self, node: NodeId, axis: usize, inputs: &[NodeId], view: ViewId) -> Result<(NodeId, View), Stop> {
        let shape = self.graph.shape(node);
        let before: u64 = shape[..axis].iter().product();
        let after: u64 = shape[axis + 1..].iter().product();
        let walk = self.walk(node, view, &[before, shape[axis], after])?;
        let ends = &self.joints.0[&node];
        let part_at = |c: u64| ends.partition_point(|e| *e <= c);
        let (first, last) = (walk.start[1], walk.last(1));
        let part = part_at(first);
        if part_at(last) != part {
            return Err(self.split(node, &walk, |c| ends[part_at(c)]));
        }
        let start = if part == 0 { 0 } else { ends[part - 1] };
        let len = ends[part] - start;
        let mut inside = walk;
        inside.start[1] -= start;
        Ok((inputs[part], follow(&inside, 0, &[len * after, after, 1])))
    }

    /// How to cut the loop so that each piece stays in one part; `end_of` gives where the part at a
    /// coordinate ends.
    fn split(&self, node: NodeId, walk: &Walk, end_of: impl Fn(u64) -> u64) -> Stop {
        let lens: Vec<u64> = walk.steps.iter().map(|s| s.len).collect();
        let turns = strides(&lens);
        // The longest stride along the axis; the others move within a block of it.
        let along = |i: &usize| walk.steps[*i].along.filter(|a| a.0 == 1).map_or(0, |a| a.1);
        let Some(cut) = (0..lens.len()).max_by_key(|i| (along(i), std::cmp::Reverse(*i))) else { return self.misfit(node) };
        let step = along(&cut).max(1);
        let block = walk.reach(1) - (lens[cut] - 1) * step;
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < lens[cut] {
            let here = walk.start[1] + at * step;
            let end = end_of(here);
            // As many blocks as lie in this part, or one that crosses its end and is cut again later.
            let count = if here + block < end { (end - 1 - block - here) / step + 1 } else { 1 };
            let count = count.min(lens[cut] - at);
            let dims = (0..lens.len()).map(|i| (if i == cut { count } else { lens[i] }, turns[i])).collect();
            pieces.push(View { offset: at * turns[cut], dims }.simplified());
            at += count;
            if pieces.len() > MOST_PIECES {
                return self.misfit(node);
            }
        }
        Stop::Split(pieces, node)
    }

    /// `offset` plus the sum of coordinates of the walk times weights, as an expression over the loop's index.
    fn coordinate(&mut self, walk: &Walk, axes: &[(usize, u64)], offset: u64) -> ExprId {
        let lens: Vec<u64> = walk.steps.iter().map(|s| s.len).collect();
        let turns = strides(&lens);
        let start: u64 = offset + axes.iter().map(|(axis, weight)| walk.start[*axis] * weight).sum::<u64>();
        let mut sum = None;
        for (step, stride) in walk.steps.iter().zip(turns) {
            let Some((axis, by)) = step.along else { continue };
            let Some((_, weight)) = axes.iter().find(|a| a.0 == axis) else { continue };
            let mut term = self.b.expr(Expr::Coord { stride, len: step.len });
            if by * weight != 1 {
                let by = self.b.number((by * weight) as f32);
                term = self.b.binary(BinaryFn::Mul, term, by);
            }
            sum = Some(sum.map_or(term, |s| self.b.binary(BinaryFn::Add, s, term)));
        }
        match (sum, start) {
            (Some(sum), 0) => sum,
            (Some(sum), _) => {
                let start = self.b.number(start as f32);
                self.b.binary(BinaryFn::Add, sum, start)
            }
            (None, _) => self.b.number(start as f32),
        }
    }

    fn literal(&mut self, node: NodeId, values: &[u64], view: ViewId) -> Result<ExprId, Stop> {
        let value = |i: usize| f64::from_bits(values[i]) as f32;
        if values.iter().all(|v| *v == values[0]) {
            return Ok(self.b.number(value(0)));
        }
        if values.len() > LONGEST_LITERAL {
            return Err(obstacle(
                [],
                self.graph.node(node).span,
                format!("a list of {} numbers written in a recipe is too long to be a tensor", values.len()),
                format!("up to {LONGEST_LIST} are fine; put longer ones into a file and read them with `tensors(path)`"),
            ));
        }
        let walk = self.walk(node, view, &[values.len() as u64])?;
        let index = self.coordinate(&walk, &[(0, 1)], 0);
        let mut chain = self.b.number(value(values.len() - 1));
        for i in (0..values.len() - 1).rev() {
            let (place, value) = (self.b.number(i as f32), self.b.number(value(i)));
            let here = self.b.binary(BinaryFn::Eq, index, place);
            chain = self.b.expr(Expr::Select(here, value, chain));
        }
        Ok(chain)
    }

    fn uniform(&mut self, node: NodeId, key: RandomKey, first: u64, view: ViewId) -> Result<ExprId, Stop> {
        let view = self.b.cluster.view(view);
        let start = first + view.offset;
        let span = self.graph.node(node).span;
        self.random.push(node);
        if !view.is_contiguous() {
            return Err(obstacle(
                [Kept(node)],
                span,
                "these random numbers are looked at in another order than the one in which they are drawn",
                "draw them for the tensor as it is stored and slice or transpose the result of the formula",
            ));
        }
        match *self.b.cluster.first.get_or_insert(start) == start {
            true => Ok(self.b.expr(Expr::Uniform(key))),
            false => Err(obstacle(
                [Kept(node)],
                span,
                "random numbers that belong to different places of two tensors meet in one formula",
                "draw them for tensors of the same shape",
            )),
        }
    }

    /// By Box and Muller, from two streams of uniform numbers.
    fn normal(&mut self, node: NodeId, key: RandomKey, first: u64, view: ViewId) -> Result<ExprId, Stop> {
        let u = self.uniform(node, key, first, view)?;
        let v = self.uniform(node, key.second(), first, view)?;
        let (one, minus_two, turn) = (self.b.number(1.0), self.b.number(-2.0), self.b.number(std::f32::consts::TAU));
        let u = self.b.binary(BinaryFn::Sub, one, u);
        let log = self.b.expr(Expr::Unary(UnaryFn::Log, u));
        let square = self.b.binary(BinaryFn::Mul, minus_two, log);
        let radius = self.b.expr(Expr::Unary(UnaryFn::Sqrt, square));
        let angle = self.b.binary(BinaryFn::Mul, turn, v);
        let cos = self.b.expr(Expr::Unary(UnaryFn::Cos, angle));
        Ok(self.b.binary(BinaryFn::Mul, radius, cos))
    }

    /// A mask of the largest entries of a whole tensor.
    fn chosen(&mut self, node: NodeId, key: ExprId, view: ViewId) -> Result<ExprId, Stop> {
        let graph = self.graph;
        let v = self.b.cluster.view(view);
        let at = if v.is_contiguous() {
            At::Shifted(v.offset)
        } else {
            let entries: u64 = graph.shape(node).iter().product();
            if entries > EXACT {
                return Err(obstacle(
                    [Kept(node)],
                    graph.node(node).span,
                    "the largest entries of a tensor this large are looked at out of order",
                    "transpose or slice after the formula, not inside it",
                ));
            }
            let walk = self.walk(node, view, &[entries])?;
            At::Number(self.coordinate(&walk, &[(0, 1)], 0))
        };
        Ok(self.b.expr(Expr::Chosen { mask: node, key, at }))
    }

    /// A statistic of each row of `input`, which is `key` in this loop.
    fn row_stat(&mut self, input: NodeId, kind: RowKind, key: ExprId) -> Result<u32, Stop> {
        if self.b.asks_for_cut(key) {
            return Err(obstacle(
                [Kept(input)],
                self.graph.node(input).span,
                "a statistic of each row is asked of what was selected from the whole tensor",
                "select `over: rows` too, or save the selection first",
            ));
        }
        Ok(self.b.row_stat(RowStat { kind, input: key }))
    }

    fn row_value(&mut self, input: NodeId, kind: RowKind, key: ExprId) -> Result<ExprId, Stop> {
        let stat = self.row_stat(input, kind, key)?;
        Ok(self.b.expr(Expr::Row(stat)))
    }

    /// The view of `input` that goes along each row whose statistic `node` the loop sees through `view`. The loop
    /// must stay at one statistic for as long as a row of `input` is.
    fn rows_of(&mut self, node: NodeId, input: NodeId, view: ViewId) -> Result<ViewId, Stop> {
        let cols = self.graph.shape(input).last().copied().unwrap_or(1);
        // Along its rows it can always be computed, once its operand is there.
        let keep = [Kept(node), Kept(input)];
        self.claim_rows(node, cols, keep)?;
        let rows = match split_rows(self.b.cluster.view(view), cols) {
            Some((outer, inner)) if inner.dims.iter().all(|d| d.1 == 0) => outer,
            _ => return Err(self.rows_apart(node, keep)),
        };
        let mut dims: Vec<(u64, u64)> = rows.dims.iter().map(|(n, s)| (*n, s * cols)).collect();
        dims.push((cols, 1));
        Ok(self.b.view(View { offset: rows.offset * cols, dims }.simplified()))
    }

    /// Holds that the loop goes along whole rows of `node`, the mask of the largest of each row of `input`.
    fn check_rows(&mut self, node: NodeId, input: NodeId, view: ViewId) -> Result<(), Stop> {
        let cols = self.graph.shape(node).last().copied().unwrap_or(1);
        let keep = [Kept(node), Kept(input)];
        self.claim_rows(node, cols, keep)?;
        match split_rows(self.b.cluster.view(view), cols) {
            Some((outer, inner))
                if inner.dims[..] == [(cols, 1)]
                    && outer.offset.is_multiple_of(cols)
                    && outer.dims.iter().all(|d| d.1.is_multiple_of(cols)) =>
            {
                Ok(())
            }
            _ => Err(self.rows_apart(node, keep)),
        }
    }

    /// Holds that the loop goes along each row of `node`, the places in the rows of `input`, only once: they are not found anew
    /// for each repetition.
    fn check_once(&self, node: NodeId, input: NodeId, view: ViewId) -> Result<(), Stop> {
        match self.b.cluster.view(view).dims.iter().all(|d| d.0 == 1 || d.1 != 0) {
            true => Ok(()),
            false => Err(self.rows_apart(node, [Kept(node), Kept(input)])),
        }
    }

    fn claim_rows(&mut self, node: NodeId, cols: u64, keep: impl IntoIterator<Item = Kept>) -> Result<(), Stop> {
        if *self.b.cluster.row_len.get_or_insert(cols) == cols {
            return Ok(());
        }
        Err(obstacle(
            keep,
            self.graph.node(node).span,
            "statistics over rows of different lengths meet in one formula",
            "bring the tensors to one shape with slices, or save the intermediate model",
        ))
    }

    fn rows_apart(&self, node: NodeId, keep: impl IntoIterator<Item = Kept>) -> Stop {
        obstacle(
            keep,
            self.graph.node(node).span,
            "a statistic of each row is used here apart from its rows",
            "use it in a formula that gives a tensor with the same rows, or reduce over the whole tensor instead",
        )
    }
}

fn obstacle(keep: impl IntoIterator<Item = Kept>, span: Span, what: impl Into<String>, help: impl Into<String>) -> Stop {
    let refusal = Refusal { span, what: what.into(), help: help.into() };
    Stop::Obstacle(Obstacle { keep: keep.into_iter().collect(), refusal })
}
