//! What the runtime computes on whole tensors in memory, because it cannot be cut into tiles: products and
//! decompositions of matrices, orders, gathers, clusters.
//!
//! A routine takes tensors and gives one or several. Shapes follow from shapes alone, never from entries.
//! Results are a function of the entries and the routine: signs and orders that mathematics leaves open are
//! settled here, and no thread or block size reaches them.
//!
//! Not here: how they are computed (`merge_runtime::routines`).

use crate::RandomKey;
use serde::{Deserialize, Serialize};

/// A computation on whole tensors. Axes are counted from the outside; `m x n` is a matrix of m rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Routine {
    /// `[m, k]` and `[k, n]` give `[m, n]`. Products are added in order of `k`.
    MatMul,
    /// `m x n` gives `u [m, rank]`, `s [rank]`, `v [n, rank]` with `u diag(s) v^T` the nearest matrix of that
    /// rank; `rank <= min(m, n)`. `s` falls; the entry of largest magnitude in each column of `u` (the first
    /// of equal ones) is positive.
    Svd { rank: u64 },
    /// `m x n` gives square `u [m, m]`, `s [min(m, n)]`, square `v [n, n]`, by the conventions of [`Routine::Svd`];
    /// columns beyond `min(m, n)` complete the basis, their own largest entry positive.
    FullSvd,
    /// `m x n` gives `q [m, r]` with orthonormal columns and upper triangular `r [r, n]`, `r = min(m, n)`; the diagonal
    /// of the triangle is not negative.
    Qr,
    /// A symmetric matrix (its lower triangle is read) gives eigenvalues `[n]`, rising, and eigenvectors
    /// `[n, n]` in columns, signs as in [`Routine::Svd`].
    Eigh,
    /// `a [n, n]` and `b [n, m]` give `x [n, m]` with `a x = b`. An `a` that is singular to working precision is an error.
    Solve,
    /// `m x n` gives the nearest matrix with orthonormal columns (rows, if there are fewer), `u v^T` of its thin
    /// singular value decomposition; directions of singular value 0 are left out.
    Polar,
    /// Entries along the last axis in order.
    Sort { largest_first: bool },
    /// Indices along the last axis that put its entries in order; equal entries keep theirs.
    SortIndex { largest_first: bool },
    /// The place of each entry along the last axis when sorted, from 0; equal entries by index.
    Rank { largest_first: bool },
    /// Running sums along the last axis.
    CumSum,
    /// `[.., n]` gives `[.., 1]`: index of the largest entry along the last axis, the first of equal ones.
    ArgMax,
    /// `x` and `at [k]` give the slices of `x` at these places along the axis. A place outside is an error.
    Take { axis: u32 },
    /// `x [.., n]` and `at [..]` (without the last axis) give `[..]`: one entry of each row.
    TakeAlong,
    /// `x` and `at [k]`, k the length of the axis, give the tensor whose slice at `at[i]` is slice i of `x`;
    /// `len` is the axis's new length, and places that nobody names are 0. Naming one twice is an error.
    Scatter { axis: u32, len: u64 },
    /// `[n]` gives the `count` indices of its entries that are not 0, rising. Another number of them is an error.
    Indices { count: u64 },
    /// `mask` and `values` (one axis) give the shape of `mask`: the values in turn where it is not 0, else 0. Another
    /// number of values than places is an error.
    Unpack,
    /// `[n, n]` costs give `[n]`: the column for each row with the least (or greatest) sum; of equally good ones one, always the same.
    Assignment { maximize: bool },
    /// Rows `[n, d]` give for each its cluster `[n]`, by Lloyd's iterations from k-means++ starts, and the
    /// centres `[k, d]`; clusters in order of their first row.
    KMeans { k: u64, key: RandomKey },
    /// No input; the numbers `0..n` in an order drawn by the key.
    Permutation { n: u64, key: RandomKey },
}

impl Routine {
    /// The name by which recipes and texts know it.
    pub fn name(&self) -> &'static str {
        match self {
            Routine::MatMul => "matmul",
            Routine::Svd { .. } => "svd",
            Routine::FullSvd => "full_svd",
            Routine::Qr => "qr",
            Routine::Eigh => "eigh",
            Routine::Solve => "solve",
            Routine::Polar => "polar",
            Routine::Sort { .. } => "sort",
            Routine::SortIndex { .. } => "sort_index",
            Routine::Rank { .. } => "rank",
            Routine::CumSum => "cumsum",
            Routine::ArgMax => "argmax",
            Routine::Take { .. } => "take",
            Routine::TakeAlong => "take_along",
            Routine::Scatter { .. } => "scatter",
            Routine::Indices { .. } => "indices",
            Routine::Unpack => "unpack",
            Routine::Assignment { .. } => "assignment",
            Routine::KMeans { .. } => "kmeans",
            Routine::Permutation { .. } => "permutation",
        }
    }

    /// Shapes of the results for inputs of these shapes.
    ///
    /// # Errors
    /// A sentence that says what does not fit.
    pub fn results(&self, inputs: &[&[u64]]) -> Result<Vec<Vec<u64>>, String> {
        let shown = || inputs.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(" and ");
        let misfit = |wanted: &str| Err(format!("`{}` takes {wanted}, and this is {}", self.name(), shown()));
        Ok(match (self, inputs) {
            (Routine::MatMul, [[m, k], [l, n]]) if k == l => vec![vec![*m, *n]],
            (Routine::MatMul, _) => return misfit("matrices `[m, k]` and `[k, n]`"),
            (Routine::Svd { rank }, [[m, n]]) if rank <= m.min(n) => vec![vec![*m, *rank], vec![*rank], vec![*n, *rank]],
            (Routine::Svd { .. }, _) => return misfit("a matrix and a rank that its shorter side allows"),
            (Routine::FullSvd, [[m, n]]) => vec![vec![*m, *m], vec![*m.min(n)], vec![*n, *n]],
            (Routine::Qr, [[m, n]]) => vec![vec![*m, *m.min(n)], vec![*m.min(n), *n]],
            (Routine::Polar, [[m, n]]) => vec![vec![*m, *n]],
            (Routine::FullSvd | Routine::Qr | Routine::Polar, _) => return misfit("a matrix"),
            (Routine::Eigh, [[n, m]]) if n == m => vec![vec![*n], vec![*n, *n]],
            (Routine::Eigh, _) => return misfit("a square matrix"),
            (Routine::Solve, [[n, k], [l, m]]) if n == k && n == l => vec![vec![*n, *m]],
            (Routine::Solve, _) => return misfit("a square matrix `[n, n]` and a right side `[n, m]`"),
            (Routine::Sort { .. } | Routine::SortIndex { .. } | Routine::Rank { .. } | Routine::CumSum, [shape])
                if !shape.is_empty() =>
            {
                vec![shape.to_vec()]
            }
            (Routine::ArgMax, [[front @ .., n]]) if *n > 0 => vec![front.iter().copied().chain([1]).collect()],
            (Routine::Take { axis }, [shape, [k]]) if (*axis as usize) < shape.len() => vec![with_axis(shape, *axis, *k)],
            (Routine::Take { .. }, _) => return misfit("a tensor with that axis and a list of places `[k]`"),
            (Routine::TakeAlong, [[front @ .., _], at]) if front == *at => vec![at.to_vec()],
            (Routine::TakeAlong, _) => return misfit("a tensor and one place for each of its rows"),
            (Routine::Scatter { axis, len }, [shape, [k]]) if shape.get(*axis as usize) == Some(k) && k <= len => {
                vec![with_axis(shape, *axis, *len)]
            }
            (Routine::Scatter { .. }, _) => return misfit("a tensor and one place for each of its slices"),
            (Routine::Indices { count }, [[n]]) if count <= n => vec![vec![*count]],
            (Routine::Indices { .. }, _) => return misfit("a mask with one axis that is not shorter than the count"),
            (Routine::Unpack, [mask, [_]]) => vec![mask.to_vec()],
            (Routine::Unpack, _) => return misfit("a mask and a list of values"),
            (Routine::Assignment { .. }, [[n, m]]) if n == m => vec![vec![*n]],
            (Routine::Assignment { .. }, _) => return misfit("a square matrix of costs"),
            (Routine::KMeans { k, .. }, [[n, d]]) if *k > 0 && k <= n => vec![vec![*n], vec![*k, *d]],
            (Routine::KMeans { .. }, _) => return misfit("a matrix with at least as many rows as there are clusters"),
            (Routine::Permutation { n, .. }, []) => vec![vec![*n]],
            (Routine::Permutation { .. }, _) => return misfit("no tensor"),
            _ => return misfit("a tensor with at least one axis"),
        })
    }
}

fn with_axis(shape: &[u64], axis: u32, len: u64) -> Vec<u64> {
    let mut out = shape.to_vec();
    out[axis as usize] = len;
    out
}
