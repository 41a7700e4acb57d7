//! Writes clusters as kernels, and each kernel once.
//!
//! Operands, launch scalars, keys and cuts are numbered in the order of their first use and named by number
//! alone, so clusters of the same structure give the same kernel: the layers of a model share it. Truth
//! values stay masks for as long as nobody counts with them.
//!
//! Not here: which statistic a launch scalar is (`schedule`).

use crate::cluster::{At, Cluster, Expr, ExprId, Param, RowKind, Tensor, ViewId};
use crate::view::{is_constant, split_rows};
use merge_abi::{Access, BinaryFn, DType, RandomKey, ReduceFn, UnaryFn, View};
use merge_ir::kir::{self, Compare, Inst, Kernel, Operand, Val};
use merge_ir::tir::{Graph, NodeId};
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::{Hash, Hasher};

/// Entries of the longest row that a tile may be asked to hold for the sake of a stretched operand.
const LONGEST_ROW: u64 = 1 << 20;

/// What becomes of the roots of a cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role<'a> {
    Store(DType),
    Reduce(&'a [ReduceFn]),
    /// The roots are keys of selections.
    Keys,
}

/// A loop: its kernel and what that is called with.
#[derive(Debug)]
pub(crate) struct Outlined {
    pub kernel: u32,
    pub rows: u64,
    pub cols: u64,
    pub by_rows: bool,
    /// Those of the kernel, then those that only phases read.
    pub operands: Vec<Reads>,
    pub call: Call,
    pub first: u64,
    pub phases: Vec<Phase>,
}

/// What an operand reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reads {
    Tensor(Tensor, View, Access),
    Row { phase: u32, value: u32 },
}

/// The numbers a kernel is called with.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub params: Vec<Param>,
    pub keys: Vec<RandomKey>,
    /// Masks, and where the loop starts in them.
    pub cuts: Vec<(NodeId, u64)>,
}

/// A kernel over the rows of a tile.
#[derive(Debug)]
pub(crate) struct Phase {
    pub kernel: u32,
    /// Indices into [`Outlined::operands`].
    pub operands: Vec<u32>,
    pub call: Call,
    pub finds: Finds,
}

/// What a phase finds in each row.
#[derive(Debug)]
pub(crate) enum Finds {
    Reductions(Vec<ReduceFn>),
    Picks(Vec<Pick>),
    /// By the keys of each store.
    Places,
}

/// A selection within each row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick {
    /// The kernel's store with the keys.
    pub store: u32,
    pub k: NodeId,
    /// Whether `k` is held above 0.
    pub at_least_one: bool,
}

/// All kernels of a plan.
#[derive(Debug, Default)]
pub(crate) struct Kernels {
    pub list: Vec<Kernel>,
    /// As outlined, before functions are expanded.
    plain: Vec<Kernel>,
    known: FxHashMap<u64, Vec<u32>>,
}

impl Kernels {
    /// The number of a kernel, whose name is a stem that a number is added to.
    fn intern(&mut self, mut kernel: Kernel) -> u32 {
        let known = self.known.entry(fingerprint(&kernel)).or_default();
        let stem = std::mem::take(&mut kernel.name);
        if let Some(same) = known.iter().find(|k| self.plain[**k as usize] == kernel) {
            return *same;
        }
        let id = self.list.len() as u32;
        known.push(id);
        self.plain.push(kernel.clone());
        kernel.name = format!("{stem}_{id}");
        self.list.push(kir::expand(kernel));
        id
    }
}

fn fingerprint(kernel: &Kernel) -> u64 {
    let mut h = FxHasher::default();
    kernel.name.hash(&mut h);
    kernel.operands.hash(&mut h);
    (kernel.params, kernel.keys, kernel.cuts).hash(&mut h);
    for inst in &kernel.body {
        std::mem::discriminant(inst).hash(&mut h);
        match *inst {
            Inst::Const(x) => x.to_bits().hash(&mut h),
            Inst::Load(n) | Inst::Param(n) | Inst::Uniform(n) | Inst::IndexLe(n) => n.hash(&mut h),
            Inst::Unary(f, a) => (f, a).hash(&mut h),
            Inst::Binary(f, a, b) => (f, a, b).hash(&mut h),
            Inst::Compare(c, a, b) => (c, a, b).hash(&mut h),
            Inst::And(a, b) | Inst::Or(a, b) => (a, b).hash(&mut h),
            Inst::Not(a) | Inst::MaskToF32(a) => a.hash(&mut h),
            Inst::Select(c, a, b) => (c, a, b).hash(&mut h),
            Inst::Coord { stride, len } => (stride, len).hash(&mut h),
            Inst::Chosen { key, threshold, in_cut } => (key, threshold, in_cut).hash(&mut h),
            // Only expansion makes the others.
            _ => {}
        }
    }
    kernel.stores.hash(&mut h);
    kernel.reductions.iter().for_each(|(f, v)| (*f as u8, v).hash(&mut h));
    h.finish()
}

/// Writes `cluster` as a loop.
pub(crate) fn outline(graph: &Graph, cluster: &Cluster, role: Role, kernels: &mut Kernels) -> Outlined {
    let cols = row_length(cluster, role);
    let rows = cols.map_or(1, |c| cluster.len / c);
    let places = phase_places(cluster);
    let writer = |stem: &str| Writer {
        graph,
        cluster,
        cols,
        places: &places,
        kernel: Kernel {
            name: stem.to_owned(),
            operands: Vec::new(),
            params: 0,
            keys: 0,
            cuts: 0,
            body: Vec::new(),
            stores: Vec::new(),
            reductions: Vec::new(),
        },
        reads: Vec::new(),
        call: Call::default(),
        vals: vec![None; cluster.exprs.len()],
        converted: FxHashMap::default(),
        once: FxHashMap::default(),
    };
    let main = writer(match role {
        Role::Store(_) => "map",
        Role::Reduce(_) => "reduce",
        Role::Keys => "keys",
    });
    let (kernel, mut operands, call) = main.write(&cluster.roots, role);
    let kernel = kernels.intern(kernel);
    let count = places.iter().map(|p| p.phase + 1).max().unwrap_or(0);
    let phases = (0..count)
        .map(|phase| {
            let stats: Vec<usize> = (0..places.len()).filter(|s| places[*s].phase == phase).collect();
            let (roots, finds) = wanted(cluster, &stats);
            let (role, stem) = match &finds {
                Finds::Reductions(functions) => (Role::Reduce(functions), "row_reduce"),
                Finds::Picks(_) | Finds::Places => (Role::Keys, "row_keys"),
            };
            let (kernel, reads, call) = writer(stem).write(&roots, role);
            let place = |r: Reads| match operands.iter().position(|o| *o == r) {
                Some(i) => i as u32,
                None => {
                    operands.push(r);
                    operands.len() as u32 - 1
                }
            };
            let operands = reads.into_iter().map(place).collect();
            Phase { kernel: kernels.intern(kernel), operands, call, finds }
        })
        .collect();
    Outlined {
        kernel,
        rows,
        cols: cols.unwrap_or(cluster.len),
        by_rows: cols.is_some(),
        operands,
        call,
        first: cluster.first.unwrap_or(0),
        phases,
    }
}

/// What a phase that finds these statistics, all of one kind, computes, and what it makes of that.
fn wanted(cluster: &Cluster, stats: &[usize]) -> (Vec<ExprId>, Finds) {
    let mut roots: Vec<ExprId> = Vec::new();
    let mut functions = Vec::new();
    let mut picks = Vec::new();
    for stat in stats.iter().map(|s| &cluster.row_stats[*s]) {
        match stat.kind {
            RowKind::Reduce(f) => functions.push(f),
            RowKind::Rank => {}
            RowKind::Select { k, at_least_one } => {
                // Selections among the same keys share one store of them.
                let store = roots.iter().position(|r| *r == stat.input).unwrap_or(roots.len());
                picks.push(Pick { store: store as u32, k, at_least_one });
                if store < roots.len() {
                    continue;
                }
            }
        }
        roots.push(stat.input);
    }
    let finds = match (functions.is_empty(), picks.is_empty()) {
        (false, _) => Finds::Reductions(functions),
        (_, false) => Finds::Picks(picks),
        _ => Finds::Places,
    };
    (roots, finds)
}

/// Where a row statistic is found.
#[derive(Clone, Copy, Debug)]
struct PhasePlace {
    phase: u32,
    /// Of its phase's reductions, selections or stores.
    index: u32,
}

/// Row statistics of one level and kind are one phase; phases go by level.
fn phase_places(cluster: &Cluster) -> Vec<PhasePlace> {
    let kind = |s: usize| {
        let order = match cluster.row_stats[s].kind {
            RowKind::Reduce(_) => 0,
            RowKind::Select { .. } => 1,
            RowKind::Rank => 2,
        };
        (cluster.row_levels[s], order)
    };
    let mut kinds: Vec<(u32, u32)> = (0..cluster.row_stats.len()).map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut used = vec![0; kinds.len()];
    (0..cluster.row_stats.len())
        .map(|s| {
            let phase = kinds.iter().position(|k| *k == kind(s)).unwrap_or(0);
            used[phase] += 1;
            PhasePlace { phase: phase as u32, index: used[phase] - 1 }
        })
        .collect()
}

/// Length of the rows if the loop goes by rows: where there are row statistics, or an operand is the same
/// along rows or from row to row.
fn row_length(cluster: &Cluster, role: Role) -> Option<u64> {
    // The partial sums of a whole tensor are those of its blocks, whatever the operands look like.
    if cluster.row_len.is_some() || matches!(role, Role::Reduce(_)) {
        return cluster.row_len;
    }
    let mut views = cluster.exprs.iter().filter_map(|e| match e {
        Expr::Load(_, v) => Some(cluster.view(*v).simplified()),
        _ => None,
    });
    views.find_map(|view| {
        if is_constant(&view) || view.dims.len() < 2 {
            return None;
        }
        let (first, last) = (view.dims[0], view.dims[view.dims.len() - 1]);
        let cols = if last.1 == 0 {
            last.0
        } else if first.1 == 0 {
            cluster.len / first.0
        } else {
            return None;
        };
        (cols <= LONGEST_ROW).then_some(cols)
    })
}

struct Writer<'a> {
    graph: &'a Graph,
    cluster: &'a Cluster,
    cols: Option<u64>,
    places: &'a [PhasePlace],
    kernel: Kernel,
    reads: Vec<Reads>,
    call: Call,
    vals: Vec<Option<Value>>,
    /// The other form of a value, once asked for.
    converted: FxHashMap<ExprId, Val>,
    /// Loads, launch scalars, constants: by what they are.
    once: FxHashMap<Leaf, Val>,
}

#[derive(Clone, Copy, Debug)]
struct Value {
    val: Val,
    mask: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Leaf {
    Load(Tensor, ViewId),
    Row(u32, u32),
    Place(u32, u32),
    Param(Param),
    Const(u32),
    Uniform(RandomKey),
    Coord(u64, u64),
    Cut(NodeId, u64),
}

impl Writer<'_> {
    fn write(mut self, roots: &[ExprId], role: Role) -> (Kernel, Vec<Reads>, Call) {
        let mut live = vec![false; self.cluster.exprs.len()];
        roots.iter().for_each(|r| live[r.0 as usize] = true);
        for i in (0..live.len()).rev() {
            if live[i] {
                self.cluster.exprs[i].each_operand(|o| live[o.0 as usize] = true);
            }
        }
        for i in (0..live.len()).filter(|i| live[*i]) {
            self.vals[i] = self.value(&self.cluster.exprs[i]);
        }
        for (i, root) in roots.iter().enumerate() {
            let val = self.number(*root);
            match role {
                Role::Store(dtype) => self.kernel.stores.push((val, dtype)),
                Role::Reduce(f) => self.kernel.reductions.push((f[i], val)),
                Role::Keys => self.kernel.stores.push((val, DType::F32)),
            }
        }
        self.kernel.params = self.call.params.len() as u32;
        self.kernel.keys = self.call.keys.len() as u32;
        self.kernel.cuts = self.call.cuts.len() as u32;
        (self.kernel, self.reads, self.call)
    }

    fn push(&mut self, inst: Inst) -> Val {
        self.kernel.body.push(inst);
        Val(self.kernel.body.len() as u32 - 1)
    }

    fn leaf(&mut self, leaf: Leaf) -> Val {
        if let Some(val) = self.once.get(&leaf) {
            return *val;
        }
        let inst = match leaf {
            Leaf::Load(tensor, view) => {
                let view = self.cluster.view(view).simplified();
                let dtype = match tensor {
                    Tensor::Source(source) => self.graph.sources[source.0 as usize].dtype,
                    Tensor::Kept(_) => DType::F32,
                };
                self.operand(dtype, |cols| access(tensor, &view, cols))
            }
            Leaf::Row(phase, value) => self.operand(DType::F32, |_| (Reads::Row { phase, value }, Access::PerRow)),
            Leaf::Place(phase, value) => self.operand(DType::F32, |_| (Reads::Row { phase, value }, Access::Dense)),
            Leaf::Param(p) => Inst::Param(numbered(&mut self.call.params, p)),
            Leaf::Const(bits) => Inst::Const(f32::from_bits(bits)),
            Leaf::Uniform(key) => Inst::Uniform(numbered(&mut self.call.keys, key)),
            Leaf::Coord(stride, len) => Inst::Coord { stride, len },
            Leaf::Cut(mask, at) => Inst::IndexLe(numbered(&mut self.call.cuts, (mask, at))),
        };
        let val = self.push(inst);
        self.once.insert(leaf, val);
        val
    }

    fn operand(&mut self, dtype: DType, reads: impl FnOnce(Option<u64>) -> (Reads, Access)) -> Inst {
        let (reads, access) = reads(self.cols);
        // What is the same along a row reaches the kernel as f32.
        let dtype = if access == Access::PerRow { DType::F32 } else { dtype };
        self.reads.push(reads);
        self.kernel.operands.push(Operand { dtype, access });
        Inst::Load(self.reads.len() as u32 - 1)
    }

    fn value(&mut self, expr: &Expr) -> Option<Value> {
        let number = |val| Some(Value { val, mask: false });
        let mask = |val| Some(Value { val, mask: true });
        match *expr {
            // A constant is written where a number is needed; a mask may not need it.
            Expr::Const(_) => None,
            Expr::Param(p) => number(self.leaf(Leaf::Param(p))),
            Expr::Load(tensor, view) => number(self.leaf(Leaf::Load(tensor, view))),
            Expr::Uniform(key) => number(self.leaf(Leaf::Uniform(key))),
            Expr::Coord { stride, len } => number(self.leaf(Leaf::Coord(stride, len))),
            Expr::Unary(UnaryFn::Not, a) => {
                let a = self.mask(a);
                mask(self.push(Inst::Not(a)))
            }
            Expr::Unary(f, a) => {
                let a = self.number(a);
                number(self.push(Inst::Unary(f, a)))
            }
            Expr::Binary(f, a, b) => self.binary(f, a, b),
            Expr::Select(c, a, b) => Some(self.select(c, a, b)),
            Expr::Chosen { mask: node, key, at } => {
                let key = self.number(key);
                let threshold = self.leaf(Leaf::Param(Param::Threshold(node)));
                let in_cut = match at {
                    At::Shifted(at) => self.leaf(Leaf::Cut(node, at - self.cluster.first.unwrap_or(0))),
                    At::Number(at) => {
                        let (at, cut) = (self.number(at), self.leaf(Leaf::Param(Param::Cut(node))));
                        self.push(Inst::Compare(Compare::Le, at, cut))
                    }
                };
                mask(self.push(Inst::Chosen { key, threshold, in_cut }))
            }
            Expr::Row(stat) => {
                let place = self.places[stat as usize];
                let value = match self.cluster.row_stats[stat as usize].kind {
                    RowKind::Reduce(_) | RowKind::Rank => place.index,
                    RowKind::Select { .. } => 2 * place.index,
                };
                number(self.leaf(Leaf::Row(place.phase, value)))
            }
            Expr::RowPlace(stat) => {
                let place = self.places[stat as usize];
                number(self.leaf(Leaf::Place(place.phase, place.index)))
            }
            Expr::RowChosen { stat, key } => {
                let place = self.places[stat as usize];
                let key = self.number(key);
                let threshold = self.leaf(Leaf::Row(place.phase, 2 * place.index));
                let cut = self.leaf(Leaf::Row(place.phase, 2 * place.index + 1));
                let column = self.leaf(Leaf::Coord(1, self.cols.unwrap_or(self.cluster.len)));
                let in_cut = self.push(Inst::Compare(Compare::Le, column, cut));
                mask(self.push(Inst::Chosen { key, threshold, in_cut }))
            }
        }
    }

    fn binary(&mut self, f: BinaryFn, a: ExprId, b: ExprId) -> Option<Value> {
        let compare = match f {
            BinaryFn::Eq => Compare::Eq,
            BinaryFn::Ne => Compare::Ne,
            BinaryFn::Lt => Compare::Lt,
            BinaryFn::Le => Compare::Le,
            BinaryFn::Gt => Compare::Gt,
            BinaryFn::Ge => Compare::Ge,
            BinaryFn::And | BinaryFn::Or => {
                let (a, b) = (self.mask(a), self.mask(b));
                let val = self.push(if f == BinaryFn::And { Inst::And(a, b) } else { Inst::Or(a, b) });
                return Some(Value { val, mask: true });
            }
            _ => {
                let (a, b) = (self.number(a), self.number(b));
                let val = self.push(Inst::Binary(f, a, b));
                return Some(Value { val, mask: false });
            }
        };
        // A truth value compared with a truth value written out is itself or its opposite.
        for (side, other) in [(a, b), (b, a)] {
            if let (Some(truth), Some(word)) = (self.is_mask(side), self.truth(other))
                && matches!(f, BinaryFn::Eq | BinaryFn::Ne)
            {
                let val = if word == (f == BinaryFn::Eq) { truth } else { self.push(Inst::Not(truth)) };
                return Some(Value { val, mask: true });
            }
        }
        let (a, b) = (self.number(a), self.number(b));
        let val = self.push(Inst::Compare(compare, a, b));
        Some(Value { val, mask: true })
    }

    fn select(&mut self, c: ExprId, a: ExprId, b: ExprId) -> Value {
        let c = self.mask(c);
        let inst = match (self.is_mask(a), self.truth(a), self.is_mask(b), self.truth(b)) {
            (_, Some(true), _, Some(false)) => return Value { val: c, mask: true },
            (_, Some(false), _, Some(true)) => Inst::Not(c),
            (Some(a), _, Some(b), _) => Inst::Select(c, a, b),
            (Some(a), _, _, Some(false)) => Inst::And(c, a),
            (_, Some(true), Some(b), _) => Inst::Or(c, b),
            (Some(a), _, _, Some(true)) => Inst::Or(self.push(Inst::Not(c)), a),
            (_, Some(false), Some(b), _) => Inst::And(self.push(Inst::Not(c)), b),
            _ => {
                let (a, b) = (self.number(a), self.number(b));
                return Value { val: self.push(Inst::Select(c, a, b)), mask: false };
            }
        };
        Value { val: self.push(inst), mask: true }
    }

    fn is_mask(&self, expr: ExprId) -> Option<Val> {
        self.vals[expr.0 as usize].filter(|v| v.mask).map(|v| v.val)
    }

    /// The truth value that is written out as 1 or 0.
    fn truth(&self, expr: ExprId) -> Option<bool> {
        match self.cluster.expr(expr) {
            Expr::Const(bits) if *bits == 1.0f32.to_bits() => Some(true),
            Expr::Const(bits) if *bits == 0.0f32.to_bits() => Some(false),
            _ => None,
        }
    }

    fn number(&mut self, expr: ExprId) -> Val {
        match (self.vals[expr.0 as usize], self.cluster.expr(expr)) {
            (Some(Value { val, mask: false }), _) => val,
            (Some(Value { val, mask: true }), _) => self.convert(expr, Inst::MaskToF32(val)),
            (None, Expr::Const(bits)) => self.leaf(Leaf::Const(*bits)),
            (None, _) => unreachable!("operands come before their users"),
        }
    }

    fn mask(&mut self, expr: ExprId) -> Val {
        if let Some(mask) = self.is_mask(expr) {
            return mask;
        }
        let val = self.number(expr);
        let zero = self.leaf(Leaf::Const(0.0f32.to_bits()));
        self.convert(expr, Inst::Compare(Compare::Ne, val, zero))
    }

    fn convert(&mut self, expr: ExprId, inst: Inst) -> Val {
        if let Some(val) = self.converted.get(&expr) {
            return *val;
        }
        let val = self.push(inst);
        self.converted.insert(expr, val);
        val
    }
}

fn numbered<T: PartialEq>(items: &mut Vec<T>, item: T) -> u32 {
    match items.iter().position(|i| *i == item) {
        Some(i) => i as u32,
        None => {
            items.push(item);
            items.len() as u32 - 1
        }
    }
}

fn access(tensor: Tensor, view: &View, cols: Option<u64>) -> (Reads, Access) {
    let (view, access) = match cols.and_then(|c| split_rows(view, c)) {
        Some((rows, inner)) if inner.dims.iter().all(|d| d.1 == 0) => (rows, Access::PerRow),
        Some((rows, inner)) if rows.dims.iter().all(|d| d.1 == 0) && !rows.dims.is_empty() => {
            (View { offset: rows.offset, dims: inner.dims }, Access::PerCol)
        }
        _ => (view.clone(), Access::Dense),
    };
    (Reads::Tensor(tensor, view, access), access)
}
