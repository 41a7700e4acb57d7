//! A cluster: everything one loop computes, as expressions over loads.
//!
//! Views are gone from between the operations: a load knows which entry of its tensor each index of the
//! loop reads. Equal expressions are one expression, and operands come before their users.
//!
//! Not here: instructions and operands (`outline`).

use merge_abi::{BinaryFn, RandomKey, ReduceFn, UnaryFn, View};
use merge_ir::tir::{NodeId, SourceId};
use rustc_hash::FxHashMap;

/// Index into [`Cluster::exprs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ExprId(pub u32);

/// Index into [`Cluster::views`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ViewId(pub u32);

/// A number that is the same for all entries and known when the loop starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Param {
    /// A node without axes.
    Scalar(NodeId),
    /// The threshold of this [`merge_ir::tir::Op::TopMask`].
    Threshold(NodeId),
    /// Its cut, as a number.
    Cut(NodeId),
}

/// A tensor that a loop reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tensor {
    Source(SourceId),
    Kept(Kept),
}

/// A value that lives in a temporary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Kept(pub NodeId);

/// What must be there before a loop can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    /// A scalar, or what a mask needs to be known.
    Number(NodeId),
    Temp(Kept),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Expr {
    /// The bits of an f32.
    Const(u32),
    Param(Param),
    Load(Tensor, ViewId),
    Uniform(RandomKey),
    /// `(index of the loop / stride) % len`.
    Coord {
        stride: u64,
        len: u64,
    },
    Unary(UnaryFn, ExprId),
    Binary(BinaryFn, ExprId, ExprId),
    Select(ExprId, ExprId, ExprId),
    /// Whether the key is among those that the mask selects.
    Chosen {
        mask: NodeId,
        key: ExprId,
        at: At,
    },
    /// A value of each row.
    Row(u32),
    /// The place of the entry in its row.
    RowPlace(u32),
    /// Whether the key is among those selected in its row.
    RowChosen {
        stat: u32,
        key: ExprId,
    },
}

/// Where an entry lies in the tensor that a selection ranges over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    /// At this much more than the index of the loop.
    Shifted(u64),
    /// At the number this expression gives, exactly.
    Number(ExprId),
}

/// A statistic of each row of the loop, or the places in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RowStat {
    pub kind: RowKind,
    pub input: ExprId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RowKind {
    Reduce(ReduceFn),
    /// The k-th largest; with the flag, k is at least 1.
    Select {
        k: NodeId,
        at_least_one: bool,
    },
    /// How many entries of the row come before each, the largest first.
    Rank,
}

/// What one loop computes.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// Entries of the loop.
    pub len: u64,
    pub exprs: Vec<Expr>,
    pub views: Vec<View>,
    pub roots: Vec<ExprId>,
    pub row_stats: Vec<RowStat>,
    /// Each row statistic's level: 1 if it needs no other, else one above those it needs.
    pub row_levels: Vec<u32>,
    /// Length of the rows that the row statistics range over.
    pub row_len: Option<u64>,
    /// Where the random numbers of the loop start in their stream.
    pub first: Option<u64>,
}

impl Cluster {
    pub fn expr(&self, id: ExprId) -> &Expr {
        &self.exprs[id.0 as usize]
    }

    pub fn view(&self, id: ViewId) -> &View {
        &self.views[id.0 as usize]
    }

    /// The params, masks and temporaries that it needs; a temporary once for each view of it.
    pub fn needs(&self) -> impl Iterator<Item = Need> + '_ {
        let from_exprs = self.exprs.iter().filter_map(|e| match e {
            Expr::Param(Param::Scalar(n)) => Some(Need::Number(*n)),
            Expr::Chosen { mask, .. } => Some(Need::Number(*mask)),
            Expr::Load(Tensor::Kept(kept), _) => Some(Need::Temp(*kept)),
            _ => None,
        });
        let from_rows = self.row_stats.iter().filter_map(|s| match s.kind {
            RowKind::Select { k, .. } => Some(Need::Number(k)),
            RowKind::Reduce(_) | RowKind::Rank => None,
        });
        from_exprs.chain(from_rows)
    }
}

/// Builds a cluster, giving equal things equal numbers.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    pub cluster: Cluster,
    exprs: FxHashMap<Expr, ExprId>,
    views: FxHashMap<View, ViewId>,
    rows: FxHashMap<RowStat, u32>,
    /// For each expression, the highest level of the row statistics in it.
    levels: Vec<u32>,
    /// For each expression, whether it asks which of equal entries of a whole tensor are meant.
    cuts: Vec<bool>,
}

impl Builder {
    pub fn view(&mut self, view: View) -> ViewId {
        let next = ViewId(self.cluster.views.len() as u32);
        *self.views.entry(view.simplified()).or_insert_with_key(|view| {
            self.cluster.views.push(view.clone());
            next
        })
    }

    pub fn expr(&mut self, expr: Expr) -> ExprId {
        let next = ExprId(self.cluster.exprs.len() as u32);
        let id = *self.exprs.entry(expr).or_insert(next);
        if id == next {
            let (mut level, mut cut) = (0, matches!(expr, Expr::Chosen { .. }));
            expr.each_operand(|o| {
                level = level.max(self.levels[o.0 as usize]);
                cut |= self.cuts[o.0 as usize];
            });
            if let Expr::Row(stat) | Expr::RowPlace(stat) | Expr::RowChosen { stat, .. } = expr {
                level = level.max(self.cluster.row_levels[stat as usize]);
            }
            self.cluster.exprs.push(expr);
            self.levels.push(level);
            self.cuts.push(cut);
        }
        id
    }

    pub fn number(&mut self, value: f32) -> ExprId {
        self.expr(Expr::Const(value.to_bits()))
    }

    pub fn binary(&mut self, f: BinaryFn, a: ExprId, b: ExprId) -> ExprId {
        self.expr(Expr::Binary(f, a, b))
    }

    pub fn row_stat(&mut self, stat: RowStat) -> u32 {
        let next = self.cluster.row_stats.len() as u32;
        let id = *self.rows.entry(stat).or_insert(next);
        if id == next {
            self.cluster.row_stats.push(stat);
            self.cluster.row_levels.push(self.levels[stat.input.0 as usize] + 1);
        }
        id
    }

    /// Whether `expr` asks which of equal entries of a whole tensor are meant.
    pub fn asks_for_cut(&self, expr: ExprId) -> bool {
        self.cuts[expr.0 as usize]
    }
}

impl Expr {
    /// Calls `f` for each expression it reads, in order.
    pub fn each_operand(&self, mut f: impl FnMut(ExprId)) {
        match self {
            Expr::Const(_)
            | Expr::Param(_)
            | Expr::Load(..)
            | Expr::Uniform(_)
            | Expr::Coord { .. }
            | Expr::Row(_)
            | Expr::RowPlace(_) => {}
            Expr::Unary(_, a) => f(*a),
            Expr::Binary(_, a, b) => {
                f(*a);
                f(*b);
            }
            Expr::Select(c, a, b) => {
                f(*c);
                f(*a);
                f(*b);
            }
            Expr::Chosen { key, at, .. } => {
                f(*key);
                if let At::Number(n) = at {
                    f(*n);
                }
            }
            Expr::RowChosen { key, .. } => f(*key),
        }
    }
}
