//! Which decisions matter: permutation importance (Breiman 2001) of a forest fitted to the trials.
//!
//! The columns of one decision are exchanged between trials, and the rise of the forest's squared error is its importance, as a
//! share of all. Where a decision is not met in a trial, its absence is exchanged along with its values, so that the choice of an
//! arm and what is decided inside it share what they explain.

use crate::rng::Rng;
use crate::space::{Assignment, Slot, Space};
use crate::surrogate::{Features, Forest};

/// Trials below which nothing can be said.
const LEAST: usize = 8;
const TREES: usize = 64;
const ROUNDS: usize = 5;

/// Decisions with their shares, largest first; empty with too few trials, or if the forest explains nothing.
pub fn importance(space: &Space, trials: &[(Assignment, f64)]) -> Vec<(String, f64)> {
    if trials.len() < LEAST {
        return vec![];
    }
    let features = Features::new(space);
    let mut rng = Rng::new(0, "importance");
    let rows: Vec<Vec<f64>> = trials.iter().map(|(assignment, _)| features.vector(space, assignment)).collect();
    let scores: Vec<f64> = trials.iter().map(|(_, score)| *score).collect();
    let views: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
    let forest = Forest::fit(&views, &scores, TREES, &mut rng);
    let error =
        |rows: &[Vec<f64>]| -> f64 { rows.iter().zip(&scores).map(|(row, score)| (forest.predict(row).0 - score).powi(2)).sum() };
    let base = error(&rows);
    let mut shares: Vec<(String, f64)> = vec![];
    for slot in (0..space.slots() as u32).map(Slot) {
        let columns = features.of(slot);
        let varies = rows.iter().any(|row| row[columns.clone()] != rows[0][columns.clone()]);
        let mut rise = 0.0;
        for _ in 0..if varies { ROUNDS } else { 0 } {
            let mut order: Vec<usize> = (0..rows.len()).collect();
            rng.shuffle(&mut order);
            let mut mixed = rows.clone();
            for (row, from) in mixed.iter_mut().zip(order) {
                row[columns.clone()].copy_from_slice(&rows[from][columns.clone()]);
            }
            rise += (error(&mixed) - base).max(0.0);
        }
        shares.push((space.path(slot).to_owned(), rise));
    }
    let all: f64 = shares.iter().map(|(_, rise)| rise).sum();
    if all <= 0.0 {
        return vec![];
    }
    shares.iter_mut().for_each(|(_, rise)| *rise /= all);
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Domain, SpaceBuilder, Value};

    #[test]
    fn the_decision_that_makes_the_score_is_found() {
        let mut b = SpaceBuilder::new();
        let domain = Domain::Real { low: 0.0, high: 1.0, log: false };
        let all: Vec<_> = ["a", "b", "c"].iter().map(|name| b.decide(*name, domain.clone(), None)).collect();
        let root = b.all(all);
        let space = b.finish(root).unwrap();
        let mut rng = Rng::new(1, "test");
        let trials: Vec<(Assignment, f64)> = (0..60)
            .map(|_| {
                let assignment = space.sample(&mut rng);
                let x: Vec<f64> =
                    assignment.entries().iter().map(|(_, v)| if let Value::Real(x) = v { *x } else { 0.0 }).collect();
                (assignment, 3.0 * x[1] + 0.5 * x[0])
            })
            .collect();
        let shares = importance(&space, &trials);
        assert_eq!(shares[0].0, "b");
        assert!(shares[0].1 > 0.7 && shares[2].1 < 0.1, "{shares:?}");
        assert!(importance(&space, &trials[..4]).is_empty());
    }
}
