//! The leading eigenvectors of a positive semidefinite matrix by block Krylov iteration, where that gets there.
//!
//! A random block is multiplied by the matrix again and again, everything kept orthonormal, and the eigenvectors of
//! the matrix as seen from the subspace that this spans are taken (Saad 2011, "Numerical Methods for Large Eigenvalue Problems",
//! section 6). Each is accepted by its own residual, so that what is returned is as good as what the direct way gives in f32;
//! where the values hardly fall the subspace would have to be too large, and the direct way is left to the caller.

use crate::times;
use faer::{Accum, Mat, MatRef, Par, Side, linalg::matmul::matmul};

/// Largest residual of an eigenvector over the distance to the next eigenvalue, which bounds the angle that it is off by.
const ANGLE: f64 = 1e-9;
/// The same over the eigenvalue, where others are so near that rounding turns the vector anyway.
const RESIDUAL: f64 = 1e-13;
/// Products with the matrix that are worth a try.
const ROUNDS: usize = 4;

/// The `rank` largest eigenvalues of the symmetric `g`, falling, and their vectors in columns; none where the iteration
/// does not get there within a subspace of a quarter of the matrix.
pub(crate) fn leading(g: MatRef<'_, f64>, rank: usize) -> Option<(Vec<f64>, Mat<f64>)> {
    let n = g.nrows();
    let block = rank + 8 + rank / 2;
    let rounds = n / 4 / block;
    if rounds < ROUNDS {
        return None;
    }
    let mut basis = Mat::zeros(n, rounds * block);
    let mut image = Mat::zeros(n, rounds * block);
    let mut next = random(n, block, 0).qr().compute_thin_Q();
    for round in 0..rounds {
        let done = round * block;
        basis.subcols_mut(done, block).copy_from(&next);
        let product = times(g, next.as_ref());
        image.subcols_mut(done, block).copy_from(&product);
        let width = done + block;
        // Half way many are there already.
        if round + 1 == rounds / 2 || round + 1 == rounds {
            let (basis, image) = (basis.subcols(0, width), image.subcols(0, width));
            if let Some(found) = settled(basis, image, rank) {
                return Some(found);
            }
        }
        // Twice, and made of length 1 between: what is left of a direction that is exhausted is rounding.
        next = product;
        for _ in 0..2 {
            let known = basis.subcols(0, width);
            let along = times(known.transpose(), next.as_ref());
            matmul(next.as_mut(), Accum::Add, known, along.as_ref(), -1.0, Par::Seq);
            next = next.qr().compute_thin_Q();
        }
    }
    None
}

/// Eigenpairs as seen from a subspace, if all of them are good.
fn settled(basis: MatRef<'_, f64>, image: MatRef<'_, f64>, rank: usize) -> Option<(Vec<f64>, Mat<f64>)> {
    let seen = times(basis.transpose(), image).self_adjoint_eigen(Side::Lower).ok()?;
    let width = basis.ncols();
    let values: Vec<f64> = seen.S().column_vector().iter().rev().copied().collect();
    let inner = Mat::from_fn(width, rank, |i, j| seen.U()[(i, width - 1 - j)]);
    let (vectors, mut rest) = (times(basis, inner.as_ref()), times(image, inner.as_ref()));
    for (j, value) in values.iter().enumerate().take(rank) {
        let above = if j == 0 { f64::INFINITY } else { values[j - 1] - value };
        let gap = above.min(value - values[j + 1]);
        rest.col_mut(j).iter_mut().zip(vectors.col(j).iter()).for_each(|(x, v)| *x -= value * v);
        // Also where the value is 0 or not a number.
        let good = rest.col(j).norm_l2() <= (ANGLE * gap).max(RESIDUAL * value) && *value > 0.0;
        if !good {
            return None;
        }
    }
    Some((values[..rank].to_vec(), vectors))
}

/// Numbers from -1 to 1 that are always the same (splitmix64).
fn random(rows: usize, cols: usize, seed: u64) -> Mat<f64> {
    let mut state = seed;
    Mat::from_fn(rows, cols, |_, _| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / f64::from(1 << 26) / f64::from(1 << 26) - 1.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A symmetric matrix with these eigenvalues.
    fn with(values: &[f64]) -> Mat<f64> {
        let n = values.len();
        let q = random(n, n, 1).qr().compute_thin_Q();
        let scaled = Mat::from_fn(n, n, |i, j| q[(i, j)] * values[j]);
        times(scaled.as_ref(), q.transpose())
    }

    #[test]
    fn eigenvectors_are_found_where_values_fall() {
        let n = 400;
        let cases: [(&str, Vec<f64>); 4] = [
            ("a power", (0..n).map(|i| 1.0 / (1.0 + f64::from(i))).collect()),
            ("geometric", (0..n).map(|i| 0.8f64.powi(i)).collect()),
            ("of rank 3", (0..n).map(|i| if i < 3 { 2.0 - f64::from(i) / 3.0 } else { 0.0 }).collect()),
            ("twice each", (0..n).map(|i| 0.6f64.powi(i / 2)).collect()),
        ];
        for (name, values) in cases {
            let g = with(&values);
            for rank in [1, 2, 3] {
                let (found, vectors) = leading(g.as_ref(), rank).unwrap_or_else(|| panic!("{name}, rank {rank}"));
                for (j, value) in found.iter().enumerate() {
                    assert!((value - values[j]).abs() <= 1e-12 * values[0], "{name}: {value} and {}", values[j]);
                    let mut rest = times(g.as_ref(), vectors.subcols(j, 1));
                    rest.col_mut(0).iter_mut().zip(vectors.col(j).iter()).for_each(|(x, v)| *x -= value * v);
                    assert!(rest.norm_l2() <= 1e-9 * value, "{name}");
                }
                let square = times(vectors.transpose(), vectors.as_ref());
                assert!((square - Mat::<f64>::identity(rank, rank)).norm_max() < 1e-13, "{name}");
            }
        }
    }

    #[test]
    fn where_they_do_not_it_says_so() {
        let flat: Vec<f64> = (0..400).map(|i| 2.0 - f64::from(i) * 1e-3).collect();
        assert!(leading(with(&flat).as_ref(), 3).is_none());
        assert!(leading(Mat::zeros(400, 400).as_ref(), 1).is_none());
        assert!(leading(with(&[1.0; 50]).as_ref(), 1).is_none(), "too small to be worth it");
        // Rank 3, and 4 are asked for.
        let low: Vec<f64> = (0..400).map(|i| f64::from(u8::from(i < 3))).collect();
        assert!(leading(with(&low).as_ref(), 4).is_none());
    }
}
