//! The orthogonal polar factor: from the eigenvectors of the Gram matrix, refined where squaring lost digits, and from singular
//! vectors where it lost too many (2048 x 2048 of random entries: 2.6 s against 6 s).

use crate::{
    Matrix, Trouble,
    svd::{GRAM, Parts, SMALL, gram},
    times,
};
use faer::{Mat, MatRef, Side};

/// Least singular value over the largest for which the way by the Gram matrix is tried.
const LEAST: f64 = 1e-6;
/// Norm of what is of first order, so that its square is below the rounding of f32.
const FIRST_ORDER: f64 = 5e-5;

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
    if values[0] <= LEAST * LEAST * values[n - 1] {
        return Ok(None);
    }
    let scaled = Mat::from_fn(n, n, |i, j| found.U()[(i, j)] / values[j].sqrt());
    if values[0] > GRAM * GRAM * values[n - 1] {
        return Ok(Some(times(a, times(scaled.as_ref(), found.U().transpose()).as_ref())));
    }
    let sizes: Vec<f64> = values.iter().map(|x| x.sqrt()).collect();
    let c = times(a, scaled.as_ref());
    drop(scaled);
    Ok(refined(c, &sizes, found.U()))
}

/// `u v^T` from approximate vectors: `a = c diag(s) v^T` with columns of `c` that are orthonormal but for `f = c^T c - 1`,
/// which shows what squaring lost. The nearest orthogonal matrix is `c (1 - f / 2 + w) v^T` with the antisymmetric
/// `w_ij = f_ij (s_j - s_i) / (2 (s_i + s_j))`, but for terms of the order of `f^2`; none where those show.
///
/// To first order in `f`: `c = u' (1 + f / 2)` with `u'` orthonormal, and `(1 + f / 2) diag(s)` has the polar factor `1 + w`.
fn refined(c: Mat<f64>, s: &[f64], v: MatRef<'_, f64>) -> Option<Mat<f64>> {
    let mut f = gram(c.as_ref());
    let n = s.len();
    for j in 0..n {
        f[(j, j)] -= 1.0;
        (0..j).for_each(|i| f[(i, j)] = f[(j, i)]);
    }
    if f.norm_l2() > FIRST_ORDER {
        return None;
    }
    let inner = Mat::from_fn(n, n, |i, j| {
        let w = f[(i, j)] * (s[j] - s[i]) / (2.0 * (s[i] + s[j]));
        f64::from(i == j) - f[(i, j)] / 2.0 + w
    });
    Some(times(c.as_ref(), times(inner.as_ref(), v.transpose()).as_ref()))
}
