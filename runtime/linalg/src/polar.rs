//! The orthogonal polar factor.

use crate::{
    Matrix, Trouble,
    svd::{GRAM, Parts, SMALL, gram},
    times,
};
use faer::{Mat, MatRef, Side};

/// The nearest matrix with orthonormal columns (rows, if there are fewer): `u v^T`. Directions of singular value 0 are
/// left out, and those count as 0 that rounding the entries to f32 alone makes of it.
///
/// # Errors
/// [`Trouble::Stuck`].
pub fn polar(a: &Matrix) -> Result<Matrix, Trouble> {
    let short = a.rows.min(a.cols);
    let Matrix { rows, cols, .. } = *a;
    if short == 0 {
        return Ok(Matrix { rows, cols, entries: vec![] });
    }
    let a = a.view();
    if short > SMALL
        && let Some(factor) = by_gram(a)?
    {
        return Ok(Matrix::of(factor.as_ref()));
    }
    let Parts { u, s, v } = Parts::direct(a, short)?;
    let noise = noise(a);
    let kept = s.iter().take_while(|s| **s > noise).count();
    Ok(Matrix::of(times(u.subcols(0, kept), v.subcols(0, kept).transpose()).as_ref()))
}

/// The largest singular value of what rounding to f32 adds: independent errors of the size of the typical entry's.
fn noise(a: MatRef<'_, f64>) -> f64 {
    f64::from(f32::EPSILON) * a.norm_l2() * (1.0 / (a.nrows() as f64).sqrt() + 1.0 / (a.ncols() as f64).sqrt())
}

/// `a (a^T a)^(-1/2)`, or the same from the other side; none where the matrix is too near to a smaller rank.
fn by_gram(a: MatRef<'_, f64>) -> Result<Option<Mat<f64>>, Trouble> {
    if a.nrows() < a.ncols() {
        return Ok(by_gram(a.transpose())?.map(|p| p.transpose().to_owned()));
    }
    let found = gram(a).self_adjoint_eigen(Side::Lower).map_err(|_| Trouble::Stuck)?;
    let values = found.S().column_vector();
    let n = a.ncols();
    if values[0] <= GRAM * GRAM * values[n - 1] {
        return Ok(None);
    }
    let scaled = Mat::from_fn(n, n, |i, j| found.U()[(i, j)] / values[j].sqrt());
    Ok(Some(times(a, times(scaled.as_ref(), found.U().transpose()).as_ref())))
}
