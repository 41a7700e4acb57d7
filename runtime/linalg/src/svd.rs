//! Singular values and vectors.
//!
//! Where few vectors are wanted they come from the eigenvectors of the smaller Gram matrix, three times as fast (1.7 s
//! against 4.9 s for 5632 x 2048), and where very few are wanted and the values fall, from a subspace (0.6 s). Squaring loses digits of small values, so that way is left wherever a value that is
//! wanted is too small for it.

use crate::{Matrix, Trouble, leading::leading, settle_signs, times};
use faer::{
    Accum, Mat, MatRef, Par, Side,
    linalg::matmul::triangular::{self, BlockStructure},
};

/// Least value over the largest that the Gram matrix gives well enough: it errs by the square of the inverse times f64's
/// rounding, 1e-9 or so, where f32 rounds at 6e-8.
pub(crate) const GRAM: f64 = 1e-3;
/// The Gram matrix is not worth it where the shorter side is no more than this.
pub(crate) const SMALL: usize = 32;

/// Singular values, falling, and vectors in columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Svd {
    pub u: Matrix,
    pub s: Vec<f64>,
    pub v: Matrix,
    /// The norm of what is left out over that of the matrix.
    pub residual: f64,
}

/// The `rank` leading singular vectors and values; `rank` is not more than the shorter side.
///
/// # Errors
/// [`Trouble::Stuck`].
pub fn svd(a: &Matrix, rank: usize) -> Result<Svd, Trouble> {
    let short = a.rows.min(a.cols);
    let a = a.view();
    let Parts { mut u, s, mut v } = if rank == 0 {
        Parts { u: Mat::zeros(a.nrows(), 0), s: vec![], v: Mat::zeros(a.ncols(), 0) }
    } else {
        let by_gram = if short > SMALL && 2 * rank <= short { Parts::by_gram(a, rank)? } else { None };
        by_gram.map_or_else(|| Parts::direct(a, rank), Ok)?
    };
    settle_signs(&mut u, Some(&mut v));
    let all = a.norm_l2();
    let kept = if all == 0.0 || rank == short { 1.0 } else { s.iter().map(|s| (s / all) * (s / all)).sum() };
    Ok(Svd { u: Matrix::of(u.as_ref()), s, v: Matrix::of(v.as_ref()), residual: (1.0 - kept).max(0.0).sqrt() })
}

/// All singular values, and square `u` and `v`: columns beyond the shorter side complete the bases.
///
/// # Errors
/// [`Trouble::Stuck`].
pub fn full_svd(a: &Matrix) -> Result<Svd, Trouble> {
    let short = a.rows.min(a.cols);
    if short == 0 {
        let one = |n| Matrix::of(Mat::identity(n, n).as_ref());
        return Ok(Svd { u: one(a.rows), s: vec![], v: one(a.cols), residual: 0.0 });
    }
    let svd = a.view().svd().map_err(|_| Trouble::Stuck)?;
    let (mut u, mut v) = (svd.U().subcols(0, short).to_owned(), svd.V().subcols(0, short).to_owned());
    settle_signs(&mut u, Some(&mut v));
    let completed = |head: Mat<f64>, all: MatRef<'_, f64>| {
        let mut tail = all.subcols(short, all.ncols() - short).to_owned();
        settle_signs(&mut tail, None);
        let column = |i, j| if j < short { head[(i, j)] } else { tail[(i, j - short)] };
        Matrix::of(Mat::from_fn(all.nrows(), all.ncols(), column).as_ref())
    };
    let s = svd.S().column_vector().iter().copied().collect();
    Ok(Svd { u: completed(u, svd.U()), s, v: completed(v, svd.V()), residual: 0.0 })
}

/// Leading singular vectors and values; signs are not settled.
pub(crate) struct Parts {
    pub u: Mat<f64>,
    pub s: Vec<f64>,
    pub v: Mat<f64>,
}

impl Parts {
    /// By a singular value decomposition of all of it.
    pub fn direct(a: MatRef<'_, f64>, rank: usize) -> Result<Parts, Trouble> {
        let svd = a.thin_svd().map_err(|_| Trouble::Stuck)?;
        let leading = |all: MatRef<'_, f64>| all.subcols(0, rank).to_owned();
        Ok(Parts { u: leading(svd.U()), s: svd.S().column_vector().iter().take(rank).copied().collect(), v: leading(svd.V()) })
    }

    /// By the eigenvectors of the smaller Gram matrix; none where a value is too small for that.
    fn by_gram(a: MatRef<'_, f64>, rank: usize) -> Result<Option<Parts>, Trouble> {
        if a.nrows() < a.ncols() {
            let turned = Parts::by_gram(a.transpose(), rank)?;
            return Ok(turned.map(|Parts { u, s, v }| Parts { u: v, s, v: u }));
        }
        let mut g = gram(a);
        let n = a.ncols();
        (0..n).for_each(|j| (0..j).for_each(|i| g[(i, j)] = g[(j, i)]));
        let (values, v) = match leading(g.as_ref(), rank) {
            Some(found) => found,
            None => {
                let found = g.self_adjoint_eigen(Side::Lower).map_err(|_| Trouble::Stuck)?;
                let values = (0..rank).map(|i| found.S().column_vector()[n - 1 - i]).collect();
                (values, Mat::from_fn(n, rank, |i, j| found.U()[(i, n - 1 - j)]))
            }
        };
        let s: Vec<f64> = values.iter().map(|x: &f64| x.max(0.0).sqrt()).collect();
        if s[rank - 1] <= GRAM * s[0] {
            return Ok(None);
        }
        let mut u = times(a, v.as_ref());
        for (j, s) in s.iter().enumerate() {
            u.col_mut(j).iter_mut().for_each(|x| *x /= s);
        }
        Ok(Some(Parts { u, s, v }))
    }
}

/// The lower triangle of `a^T a`.
pub(crate) fn gram(a: MatRef<'_, f64>) -> Mat<f64> {
    let n = a.ncols();
    let mut g = Mat::zeros(n, n);
    let (lower, whole) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
    triangular::matmul(g.as_mut(), lower, Accum::Replace, a.transpose(), whole, a, whole, 1.0, Par::Seq);
    g
}
