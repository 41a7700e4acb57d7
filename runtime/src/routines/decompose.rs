//! Decompositions of matrices: singular values, polar factor, eigenvalues, orthogonal and triangular factors.
//!
//! All of them by faer in f64, on one thread. Where few singular vectors are wanted, or only the polar factor, they come
//! from the eigenvectors of the smaller Gram matrix, which is three times as fast (1.6 s against 4.9 s for 5632 x 2048);
//! squaring loses digits of small values, so that way is left wherever a value that is used is too small for it.
//!
//! Signs are settled after the fact. Vectors of values that coincide are any basis of their space.

use super::{Array, Entry, Fault, Outcome, finite};
use faer::{
    Accum, Mat, MatRef, Par, Side,
    linalg::matmul::{
        matmul,
        triangular::{self, BlockStructure},
    },
};

/// Least value over the largest that the Gram matrix gives well enough: its error is the square of the inverse times that
/// of f64, 1e-9 or so, where f32 rounds at 6e-8.
const GRAM: f64 = 1e-3;
/// The Gram matrix is not worth it where the shorter side is no more than this.
const SMALL: usize = 32;
/// Entries of a vector count as equally large within this, so that rounding does not choose the sign of `[x, -x]`.
const TIE: f64 = 1e-5;

/// The nearest matrix of a rank: `u`, `s`, `v`, and the relative norm of the rest if the rank is not full.
pub(super) fn svd<T: Entry>(x: &Array<'_, T>, rank: u64) -> Result<Outcome<T>, Fault> {
    finite(x)?;
    let (rank, short) = (rank as usize, x.matrix().0.min(x.matrix().1));
    let a = matrix(x);
    let parts = if rank == 0 {
        Parts::none(a.nrows(), a.ncols())
    } else {
        let gram = if short > SMALL && 2 * rank <= short { Parts::by_gram(a.as_ref(), rank, GRAM)? } else { None };
        gram.map_or_else(|| Parts::direct(a.as_ref(), rank), Ok)?
    };
    let Parts { mut u, s, mut v } = parts;
    settle_signs(&mut u, Some(&mut v));
    let residual = (rank < short).then(|| {
        let all = a.norm_l2();
        if all == 0.0 { 0.0 } else { (1.0 - s.iter().map(|s| (s / all) * (s / all)).sum::<f64>()).max(0.0).sqrt() }
    });
    let results = vec![entries(u.as_ref()), s.iter().map(|s| T::from_f64(*s)).collect(), entries(v.as_ref())];
    Ok(Outcome { results, residual })
}

/// Square `u` and `v`, and all singular values.
pub(super) fn full_svd<T: Entry>(x: &Array<'_, T>) -> Result<Vec<Vec<T>>, Fault> {
    finite(x)?;
    let a = matrix(x);
    let (m, n) = (a.nrows(), a.ncols());
    let short = m.min(n);
    if short == 0 {
        let one = |n| entries(Mat::<f64>::identity(n, n).as_ref());
        return Ok(vec![one(m), vec![], one(n)]);
    }
    let svd = a.svd().map_err(|_| stuck())?;
    let (mut u, mut v) = (svd.U().to_owned(), svd.V().to_owned());
    let s = svd.S().column_vector().iter().map(|s| T::from_f64(*s)).collect();
    let (mut head_u, mut head_v) = (u.subcols(0, short).to_owned(), v.subcols(0, short).to_owned());
    settle_signs(&mut head_u, Some(&mut head_v));
    u.subcols_mut(0, short).copy_from(&head_u);
    v.subcols_mut(0, short).copy_from(&head_v);
    for all in [&mut u, &mut v] {
        let mut tail = all.subcols(short, all.ncols() - short).to_owned();
        settle_signs(&mut tail, None);
        all.subcols_mut(short, tail.ncols()).copy_from(&tail);
    }
    Ok(vec![entries(u.as_ref()), s, entries(v.as_ref())])
}

/// The nearest matrix with orthonormal columns or rows.
pub(super) fn polar<T: Entry>(x: &Array<'_, T>) -> Result<Vec<T>, Fault> {
    finite(x)?;
    let a = matrix(x);
    let (m, n) = (a.nrows(), a.ncols());
    let short = m.min(n);
    if short == 0 {
        return Ok(vec![]);
    }
    // What rounding the entries to f32 makes of a value that was 0 cannot be told from 0, in a run as in the interpreter.
    let noise = f64::from(f32::EPSILON) * a.norm_l2() * (1.0 / (m as f64).sqrt() + 1.0 / (n as f64).sqrt());
    if short > SMALL
        && let Some(p) = polar_by_gram(a.as_ref())?
    {
        return Ok(entries(p.as_ref()));
    }
    let parts = Parts::direct(a.as_ref(), short)?;
    let kept = parts.s.iter().take_while(|s| **s > noise).count();
    Ok(entries(times(parts.u.subcols(0, kept), parts.v.subcols(0, kept).transpose()).as_ref()))
}

/// Eigenvalues, rising, and eigenvectors of a symmetric matrix.
pub(super) fn eigh<T: Entry>(x: &Array<'_, T>) -> Result<Vec<Vec<T>>, Fault> {
    finite(x)?;
    let a = matrix(x);
    if a.nrows() == 0 {
        return Ok(vec![vec![], vec![]]);
    }
    let found = a.self_adjoint_eigen(Side::Lower).map_err(|_| stuck())?;
    let mut vectors = found.U().to_owned();
    settle_signs(&mut vectors, None);
    Ok(vec![found.S().column_vector().iter().map(|s| T::from_f64(*s)).collect(), entries(vectors.as_ref())])
}

/// Orthonormal columns and an upper triangle whose diagonal is not negative.
pub(super) fn qr<T: Entry>(x: &Array<'_, T>) -> Result<Vec<Vec<T>>, Fault> {
    finite(x)?;
    let a = matrix(x);
    if a.nrows() == 0 || a.ncols() == 0 {
        return Ok(vec![vec![], vec![]]);
    }
    let found = a.qr();
    let (mut q, mut r) = (found.compute_thin_Q(), found.thin_R().to_owned());
    for i in 0..q.ncols() {
        // The lower triangle holds what the algorithm left there.
        (0..i).for_each(|j| r[(i, j)] = 0.0);
        if r[(i, i)] < 0.0 {
            q.col_mut(i).iter_mut().for_each(|x| *x = -*x);
            (i..r.ncols()).for_each(|j| r[(i, j)] = -r[(i, j)]);
        }
    }
    Ok(vec![entries(q.as_ref()), entries(r.as_ref())])
}

/// Leading singular vectors and values.
struct Parts {
    u: Mat<f64>,
    s: Vec<f64>,
    v: Mat<f64>,
}

impl Parts {
    fn none(m: usize, n: usize) -> Parts {
        Parts { u: Mat::zeros(m, 0), s: vec![], v: Mat::zeros(n, 0) }
    }

    /// By a singular value decomposition of all of it.
    fn direct(a: MatRef<'_, f64>, rank: usize) -> Result<Parts, Fault> {
        let svd = a.thin_svd().map_err(|_| stuck())?;
        let leading = |all: MatRef<'_, f64>| all.subcols(0, rank).to_owned();
        Ok(Parts { u: leading(svd.U()), s: svd.S().column_vector().iter().take(rank).copied().collect(), v: leading(svd.V()) })
    }

    /// By the eigenvectors of the smaller Gram matrix; none where a value is less than `least` of the largest.
    fn by_gram(a: MatRef<'_, f64>, rank: usize, least: f64) -> Result<Option<Parts>, Fault> {
        if a.nrows() < a.ncols() {
            let turned = Parts::by_gram(a.transpose(), rank, least)?;
            return Ok(turned.map(|Parts { u, s, v }| Parts { u: v, s, v: u }));
        }
        let found = gram(a).self_adjoint_eigen(Side::Lower).map_err(|_| stuck())?;
        let values = found.S().column_vector();
        let n = a.ncols();
        let largest = values[n - 1].max(0.0).sqrt();
        let s: Vec<f64> = (0..rank).map(|i| values[n - 1 - i].max(0.0).sqrt()).collect();
        if s[rank - 1] <= least * largest {
            return Ok(None);
        }
        let v = Mat::from_fn(n, rank, |i, j| found.U()[(i, n - 1 - j)]);
        let mut u = times(a, v.as_ref());
        for (j, s) in s.iter().enumerate() {
            u.col_mut(j).iter_mut().for_each(|x| *x /= s);
        }
        Ok(Some(Parts { u, s, v }))
    }
}

/// `a (a^T a)^(-1/2)`, or the same from the other side; none where the matrix is too near to a smaller rank.
fn polar_by_gram(a: MatRef<'_, f64>) -> Result<Option<Mat<f64>>, Fault> {
    if a.nrows() < a.ncols() {
        return Ok(polar_by_gram(a.transpose())?.map(|p| p.transpose().to_owned()));
    }
    let found = gram(a).self_adjoint_eigen(Side::Lower).map_err(|_| stuck())?;
    let values = found.S().column_vector();
    let n = a.ncols();
    if values[0] <= GRAM * GRAM * values[n - 1] {
        return Ok(None);
    }
    let scaled = Mat::from_fn(n, n, |i, j| found.U()[(i, j)] / values[j].sqrt());
    Ok(Some(times(a, times(scaled.as_ref(), found.U().transpose()).as_ref())))
}

/// The lower triangle of `a^T a`.
fn gram(a: MatRef<'_, f64>) -> Mat<f64> {
    let n = a.ncols();
    let mut g = Mat::zeros(n, n);
    let (lower, whole) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
    triangular::matmul(g.as_mut(), lower, Accum::Replace, a.transpose(), whole, a, whole, 1.0, Par::Seq);
    g
}

fn times(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut c = Mat::zeros(a.nrows(), b.ncols());
    matmul(c.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    c
}

/// Makes the largest entry of each column of `u` positive, the first of equal ones, together with the column of `v`.
fn settle_signs(u: &mut Mat<f64>, mut v: Option<&mut Mat<f64>>) {
    for j in 0..u.ncols() {
        let column = u.col(j);
        let largest = column.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        let negative = column.iter().find(|x| x.abs() >= largest * (1.0 - TIE)).is_some_and(|x| *x < 0.0);
        if negative {
            u.col_mut(j).iter_mut().for_each(|x| *x = -*x);
            if let Some(v) = &mut v {
                v.col_mut(j).iter_mut().for_each(|x| *x = -*x);
            }
        }
    }
}

/// A matrix of entries in f64.
pub(super) fn matrix<T: Entry>(x: &Array<'_, T>) -> Mat<f64> {
    let (m, n) = x.matrix();
    Mat::from_fn(m, n, |i, j| x.entries[i * n + j].to_f64())
}

/// Entries of a matrix, row-major.
pub(super) fn entries<T: Entry>(a: MatRef<'_, f64>) -> Vec<T> {
    let mut out = Vec::with_capacity(a.nrows() * a.ncols());
    for i in 0..a.nrows() {
        out.extend(a.row(i).iter().map(|x| T::from_f64(*x)));
    }
    out
}

/// An iteration that does not end, which finite entries have not been seen to cause.
fn stuck() -> Fault {
    Fault::new(
        "did not converge for this matrix",
        "scale the matrix so that its entries are near 1, and report it with the recipe",
    )
}
