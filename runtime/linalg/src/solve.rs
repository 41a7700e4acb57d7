//! Systems of linear equations: by Cholesky where the matrix is symmetric and positive definite, else by an LU
//! decomposition with rows exchanged.

use crate::{Matrix, Trouble};
use faer::{Mat, Side, prelude::Solve};

/// `x` with `a x = b`.
///
/// # Errors
/// [`Trouble::Singular`].
pub fn solve(a: &Matrix, b: &Matrix) -> Result<Matrix, Trouble> {
    if a.rows == 0 || b.cols == 0 {
        return Ok(Matrix { rows: a.rows, cols: b.cols, entries: vec![] });
    }
    let (a, b) = (a.view().to_owned(), b.view().to_owned());
    let x = match by_cholesky(&a, &b) {
        Some(x) => x,
        None => by_lu(a, b)?,
    };
    Ok(Matrix::of(x.as_ref()))
}

/// What is left of a number of size 1 by rounding alone.
fn noise(n: usize) -> f64 {
    n as f64 * f64::EPSILON
}

/// None where the matrix is not symmetric and positive definite, or nearly singular.
fn by_cholesky(a: &Mat<f64>, b: &Mat<f64>) -> Option<Mat<f64>> {
    let n = a.nrows();
    if !(0..n).all(|j| (0..j).all(|i| a[(i, j)] == a[(j, i)])) {
        return None;
    }
    let found = a.llt(Side::Lower).ok()?;
    let left = |i: usize| found.L()[(i, i)] * found.L()[(i, i)] / a[(i, i)];
    (0..n).all(|i| left(i) > noise(n)).then(|| found.solve(b))
}

/// Rows, then columns, are scaled to largest entries of 1, so that a pivot says how near to singular the matrix is.
fn by_lu(mut a: Mat<f64>, mut b: Mat<f64>) -> Result<Mat<f64>, Trouble> {
    let n = a.nrows();
    for i in 0..n {
        let scale = largest(a.row(i).iter()).ok_or(Trouble::Singular)?;
        a.row_mut(i).iter_mut().for_each(|x| *x /= scale);
        b.row_mut(i).iter_mut().for_each(|x| *x /= scale);
    }
    let mut columns = Vec::with_capacity(n);
    for j in 0..n {
        let scale = largest(a.col(j).iter()).ok_or(Trouble::Singular)?;
        a.col_mut(j).iter_mut().for_each(|x| *x /= scale);
        columns.push(scale);
    }
    let found = a.partial_piv_lu();
    if (0..n).any(|i| found.U()[(i, i)].abs() <= noise(n)) {
        return Err(Trouble::Singular);
    }
    let mut x = found.solve(&b);
    for (i, scale) in columns.into_iter().enumerate() {
        x.row_mut(i).iter_mut().for_each(|x| *x /= scale);
    }
    Ok(x)
}

/// The largest magnitude, if it is not 0.
fn largest<'a>(all: impl Iterator<Item = &'a f64>) -> Option<f64> {
    let largest = all.fold(0.0, |m: f64, x| m.max(x.abs()));
    (largest > 0.0).then_some(largest)
}
