//! Decompositions of matrices in f64, with signs and orders settled.
//!
//! What mathematics leaves open is settled here: singular values fall, eigenvalues rise, the largest entry of a
//! singular vector or eigenvector is positive, and so is the diagonal of a triangular factor. The numbers come from
//! faer, on one thread. Its sums are blocked by the size of the machine's caches and the width of its vectors, so that
//! machines agree to rounding in f64 and not to the last bit; results are meant to be rounded to f32.
//!
//! A crate of its own because faer is generic code that is compiled where it is used: here, once, and optimised even
//! in a debug build.
//!
//! Invariants: entries are finite (the caller looks: iterations may not end where they are not); any shape will do, also
//! one without rows or columns. Deliberately not here: tensors, f32, wording of faults (`merge_runtime::routines`).

#![forbid(unsafe_code)]

mod leading;
mod polar;
mod solve;
mod svd;

use faer::{Accum, Mat, MatRef, Par, Side, linalg::matmul::matmul};
pub use polar::polar;
pub use solve::solve;
pub use svd::{Svd, full_svd, svd};

/// A matrix, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    pub rows: usize,
    pub cols: usize,
    pub entries: Vec<f64>,
}

/// Why a matrix has no such decomposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// An iteration did not converge, which finite entries have not been seen to cause.
    Stuck,
    /// Singular to the precision of f64.
    Singular,
}

/// Entries of a vector count as equally large within this, so that rounding does not choose the sign of `[x, -x]`.
const TIE: f64 = 1e-5;

/// Eigenvalues, rising, and eigenvectors in columns of a symmetric matrix, of which the lower triangle is read.
///
/// # Errors
/// [`Trouble::Stuck`].
pub fn eigh(a: &Matrix) -> Result<(Vec<f64>, Matrix), Trouble> {
    if a.rows == 0 {
        return Ok((vec![], Matrix::default()));
    }
    let found = a.view().self_adjoint_eigen(Side::Lower).map_err(|_| Trouble::Stuck)?;
    let mut vectors = found.U().to_owned();
    settle_signs(&mut vectors, None);
    Ok((found.S().column_vector().iter().copied().collect(), Matrix::of(vectors.as_ref())))
}

/// `q [m, r]` with orthonormal columns and the upper triangle `r [r, n]`, `r = min(m, n)`, whose diagonal is not negative.
pub fn qr(a: &Matrix) -> (Matrix, Matrix) {
    if a.rows == 0 || a.cols == 0 {
        let empty = |rows, cols| Matrix { rows, cols, entries: vec![] };
        return (empty(a.rows, 0), empty(0, a.cols));
    }
    let found = a.view().qr();
    let (mut q, mut r) = (found.compute_thin_Q(), found.thin_R().to_owned());
    for i in 0..q.ncols() {
        // The lower triangle holds what the algorithm left there.
        (0..i).for_each(|j| r[(i, j)] = 0.0);
        if r[(i, i)] < 0.0 {
            q.col_mut(i).iter_mut().for_each(|x| *x = -*x);
            (i..r.ncols()).for_each(|j| r[(i, j)] = -r[(i, j)]);
        }
    }
    (Matrix::of(q.as_ref()), Matrix::of(r.as_ref()))
}

impl Matrix {
    fn view(&self) -> MatRef<'_, f64> {
        MatRef::from_row_major_slice(&self.entries, self.rows, self.cols)
    }

    fn of(a: MatRef<'_, f64>) -> Matrix {
        let mut entries = Vec::with_capacity(a.nrows() * a.ncols());
        (0..a.nrows()).for_each(|i| entries.extend(a.row(i).iter().copied()));
        Matrix { rows: a.nrows(), cols: a.ncols(), entries }
    }
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
