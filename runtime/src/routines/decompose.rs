//! Decompositions of matrices and systems of equations: entries to f64 and back, and what to say where there is none.

use super::{Array, Entry, Fault, Outcome, finite};
use crate::codes;
use merge_linalg::{Matrix, Trouble};

/// The nearest matrix of a rank: `u`, `s`, `v`, and the relative norm of the rest if the rank is not full.
pub(super) fn svd<T: Entry>(x: &Array<'_, T>, rank: u64) -> Result<Outcome<T>, Fault> {
    let found = merge_linalg::svd(&matrix(x)?, rank as usize).map_err(fault)?;
    let (m, n) = x.matrix();
    let residual = ((rank as usize) < m.min(n)).then_some(found.residual);
    Ok(Outcome { results: vec![entries(&found.u.entries), entries(&found.s), entries(&found.v.entries)], residual })
}

/// Square `u` and `v`, and all singular values.
pub(super) fn full_svd<T: Entry>(x: &Array<'_, T>) -> Result<Vec<Vec<T>>, Fault> {
    let found = merge_linalg::full_svd(&matrix(x)?).map_err(fault)?;
    Ok(vec![entries(&found.u.entries), entries(&found.s), entries(&found.v.entries)])
}

/// The nearest matrix with orthonormal columns or rows.
pub(super) fn polar<T: Entry>(x: &Array<'_, T>) -> Result<Vec<T>, Fault> {
    Ok(entries(&merge_linalg::polar(&matrix(x)?).map_err(fault)?.entries))
}

/// Eigenvalues, rising, and eigenvectors of a symmetric matrix.
pub(super) fn eigh<T: Entry>(x: &Array<'_, T>) -> Result<Vec<Vec<T>>, Fault> {
    let (values, vectors) = merge_linalg::eigh(&matrix(x)?).map_err(fault)?;
    Ok(vec![entries(&values), entries(&vectors.entries)])
}

/// Orthonormal columns and an upper triangle.
pub(super) fn qr<T: Entry>(x: &Array<'_, T>) -> Result<Vec<Vec<T>>, Fault> {
    let (q, r) = merge_linalg::qr(&matrix(x)?);
    Ok(vec![entries(&q.entries), entries(&r.entries)])
}

/// `x` with `a x = b`.
pub(super) fn solve<T: Entry>(a: &Array<'_, T>, b: &Array<'_, T>) -> Result<Vec<T>, Fault> {
    Ok(entries(&merge_linalg::solve(&matrix(a)?, &matrix(b)?).map_err(fault)?.entries))
}

/// A matrix in f64.
fn matrix<T: Entry>(x: &Array<'_, T>) -> Result<Matrix, Fault> {
    finite(x)?;
    let (rows, cols) = x.matrix();
    Ok(Matrix { rows, cols, entries: x.entries.iter().map(|x| x.to_f64()).collect() })
}

fn entries<T: Entry>(all: &[f64]) -> Vec<T> {
    all.iter().map(|x| T::from_f64(*x)).collect()
}

fn fault(trouble: Trouble) -> Fault {
    match trouble {
        Trouble::Stuck => {
            Fault::new(codes::NO_RESULT, "did not converge for this matrix", "scale the matrix so that its entries are near 1")
        }
        Trouble::Singular => Fault::new(
            codes::SINGULAR,
            "is given a matrix that is singular to working precision",
            "add a little to its diagonal, or lower the weight of what is off the diagonal",
        ),
    }
}
