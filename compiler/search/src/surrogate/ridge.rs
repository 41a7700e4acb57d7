//! Bayesian linear regression, updated trial by trial: ridge regression with the uncertainty that expected improvement needs.

use super::features::{ABSENT, Features};
use crate::space::Slot;

/// Columns the regression works in; more features than that share columns by a hash with random signs.
const COLUMNS: usize = 192;

/// `A = lambda I + sum x x'` by its inverse, and `b = sum x y`.
#[derive(Debug)]
pub struct Ridge {
    width: usize,
    inverse: Vec<f64>,
    with_scores: Vec<f64>,
    alone: Vec<f64>,
    count: f64,
    sum: f64,
    squares: f64,
    /// Made for the current data by [`Ridge::solve`].
    weights: Vec<f64>,
}

impl Ridge {
    pub fn new(features: &Features, lambda: f64) -> Ridge {
        // A constant, and for each column itself, its square, and that it is there.
        let width = (1 + 3 * features.width()).min(COLUMNS);
        let mut inverse = vec![0.0; width * width];
        for i in 0..width {
            inverse[i * width + i] = 1.0 / lambda;
        }
        let zeros = vec![0.0; width];
        let (with_scores, alone, weights) = (zeros.clone(), zeros.clone(), zeros);
        Ridge { width, inverse, with_scores, alone, count: 0.0, sum: 0.0, squares: 0.0, weights }
    }

    /// The features as the regression sees them: column and number, few of them.
    pub fn expand(&self, features: &Features, vector: &[f64]) -> Vec<(usize, f64)> {
        let mut sparse = vec![(0, 1.0)];
        let mut put = |feature: usize, x: f64| {
            if x == 0.0 {
                return;
            }
            if 3 * features.width() < COLUMNS {
                sparse.push((1 + feature, x));
            } else {
                // SplitMix64 as a hash.
                let mut h = (feature as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                h ^= h >> 27;
                let sign = if h & 1 == 0 { 1.0 } else { -1.0 };
                sparse.push((1 + (h >> 1) as usize % (COLUMNS - 1), sign * x));
            }
        };
        let slots = (0u32..).map(Slot).take_while(|slot| features.of(*slot).start < features.width());
        for slot in slots {
            let columns = features.of(slot);
            for column in columns.clone().filter(|column| vector[*column] != ABSENT) {
                if features.is_line(slot) {
                    let x = 2.0 * vector[column] - 1.0;
                    put(3 * column, 1.0);
                    put(3 * column + 1, x);
                    put(3 * column + 2, x * x);
                } else {
                    put(3 * column, vector[column]);
                }
            }
            if features.of(slot).end == features.width() {
                break;
            }
        }
        sparse
    }

    pub fn add(&mut self, x: &[(usize, f64)], y: f64) {
        // (A + x x')^-1 = A^-1 - (A^-1 x)(A^-1 x)' / (1 + x' A^-1 x).
        let u = self.times_inverse(x);
        let scale = 1.0 + x.iter().map(|(i, v)| u[*i] * v).sum::<f64>();
        for (row, a) in self.inverse.chunks_exact_mut(self.width).zip(&u) {
            let factor = a / scale;
            row.iter_mut().zip(&u).for_each(|(entry, b)| *entry -= factor * b);
        }
        for (i, v) in x {
            self.with_scores[*i] += v * y;
            self.alone[*i] += v;
        }
        self.count += 1.0;
        self.sum += y;
        self.squares += y * y;
    }

    fn times_inverse(&self, x: &[(usize, f64)]) -> Vec<f64> {
        let mut product = vec![0.0; self.width];
        for (i, v) in x {
            let row = &self.inverse[i * self.width..(i + 1) * self.width];
            product.iter_mut().zip(row).for_each(|(p, r)| *p += v * r);
        }
        product
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1.0)
    }

    fn deviation(&self) -> f64 {
        let variance = self.squares / self.count.max(1.0) - self.mean() * self.mean();
        libm::sqrt(variance.max(0.0)).max(1e-12)
    }

    /// To be called after [`Ridge::add`] and before [`Ridge::predict`].
    pub fn solve(&mut self) {
        let (mean, deviation) = (self.mean(), self.deviation());
        let target: Vec<f64> = self.with_scores.iter().zip(&self.alone).map(|(s, a)| (s - mean * a) / deviation).collect();
        let rows = self.inverse.chunks_exact(self.width);
        self.weights = rows.map(|row| row.iter().zip(&target).map(|(r, t)| r * t).sum()).collect();
    }

    /// Mean and standard deviation of the score.
    pub fn predict(&self, x: &[(usize, f64)]) -> (f64, f64) {
        let mean: f64 = x.iter().map(|(i, v)| self.weights[*i] * v).sum();
        let mut spread = 0.0;
        for (i, v) in x {
            let row = &self.inverse[i * self.width..(i + 1) * self.width];
            spread += v * x.iter().map(|(j, w)| row[*j] * w).sum::<f64>();
        }
        (self.mean() + self.deviation() * mean, self.deviation() * libm::sqrt(spread.max(0.0)))
    }
}
