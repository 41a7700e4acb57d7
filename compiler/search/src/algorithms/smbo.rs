//! Sequential model-based optimisation: a surrogate over path features proposes the candidate with the most expected improvement.
//!
//! Candidates come half from the space at random and half from the neighbourhood of the best ones known; from the most promising
//! of them a short local search goes on (as SMAC's does). One proposal in [`RANDOM`] is random, so that a wrong surrogate cannot keep the search from anything.

use crate::rng::Rng;
use crate::searcher::{Known, Proposal, Searcher, Trial};
use crate::space::Assignment;
use crate::surrogate::{Features, Forest, Ridge, expected_improvement};
use crate::vary::mutate;

/// One proposal in this many is random.
const RANDOM: usize = 10;
/// Candidates looked at for a proposal.
const LOOKED_AT: usize = 40;
/// Rounds of local search, and mutants looked at in each.
const ROUNDS: usize = 3;
const MUTANTS: usize = 8;
/// The best trials whose neighbourhood is looked at.
const ELITE: usize = 8;
/// Rows a forest is fitted to at most: the best half of them, and the newest.
const WINDOW: usize = 600;
const TREES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Surrogate {
    Ridge,
    Forest,
}

#[derive(Debug)]
pub struct Smbo {
    rng: Rng,
    features: Features,
    model: Model,
    startup: usize,
    proposals: usize,
    /// Told trials with a score.
    rows: Vec<Vec<f64>>,
    scores: Vec<f64>,
    /// The best, best first.
    elite: Vec<(Assignment, f64)>,
}

#[derive(Debug)]
enum Model {
    Ridge(Ridge),
    Forest { forest: Option<Forest>, fitted_to: usize },
}

impl Smbo {
    pub fn new(features: Features, surrogate: Surrogate, startup: usize, seed: u64) -> Smbo {
        let model = match surrogate {
            Surrogate::Ridge => Model::Ridge(Ridge::new(&features, 1.0)),
            Surrogate::Forest => Model::Forest { forest: None, fitted_to: 0 },
        };
        let rng = Rng::new(seed, "smbo");
        Smbo { rng, features, model, startup, proposals: 0, rows: vec![], scores: vec![], elite: vec![] }
    }

    fn fit(&mut self) {
        match &mut self.model {
            Model::Ridge(ridge) => ridge.solve(),
            // Refitted for each trial at first, later when there is a twentieth more.
            Model::Forest { forest, fitted_to } if self.rows.len() > *fitted_to + *fitted_to / 20 => {
                let mut order: Vec<usize> = (0..self.rows.len()).collect();
                if order.len() > WINDOW {
                    let newest = order.split_off(order.len() - WINDOW / 2);
                    order.sort_by(|a, b| self.scores[*b].total_cmp(&self.scores[*a]));
                    order.truncate(WINDOW / 2);
                    order.extend(newest);
                }
                let rows: Vec<&[f64]> = order.iter().map(|i| self.rows[*i].as_slice()).collect();
                let scores: Vec<f64> = order.iter().map(|i| self.scores[*i]).collect();
                *forest = Some(Forest::fit(&rows, &scores, TREES, &mut self.rng));
                *fitted_to = self.rows.len();
            }
            Model::Forest { .. } => {}
        }
    }

    fn value(&self, row: &[f64], best: f64) -> f64 {
        let (mean, deviation) = match &self.model {
            Model::Ridge(ridge) => ridge.predict(&ridge.expand(&self.features, row)),
            Model::Forest { forest: Some(forest), .. } => forest.predict(row),
            Model::Forest { forest: None, .. } => return 0.0,
        };
        expected_improvement(mean, deviation, best)
    }

    /// The candidate that promises most, of those that were not proposed.
    fn most_promising(&mut self, known: &Known) -> Option<Assignment> {
        self.fit();
        let best = self.elite.first()?.1;
        let mut rng = self.rng.clone();
        let mut chosen: Option<(f64, Assignment)> = None;
        let consider = |candidate: Assignment, chosen: &mut Option<(f64, Assignment)>| {
            if known.seen.contains(&candidate) {
                return;
            }
            let value = self.value(&self.features.vector(known.space, &candidate), best);
            if chosen.as_ref().is_none_or(|(most, _)| value > *most) {
                *chosen = Some((value, candidate));
            }
        };
        for i in 0..LOOKED_AT {
            let candidate = if i % 2 == 0 {
                known.space.sample(&mut rng)
            } else {
                let near = rng.chance(0.5);
                mutate(known.space, &rng.pick(&self.elite)?.0, near, &mut rng)
            };
            consider(candidate, &mut chosen);
        }
        for _ in 0..ROUNDS {
            let Some((_, from)) = chosen.clone() else { break };
            for _ in 0..MUTANTS {
                let near = rng.chance(0.7);
                consider(mutate(known.space, &from, near, &mut rng), &mut chosen);
            }
        }
        self.rng = rng;
        chosen.map(|(_, candidate)| candidate)
    }
}

impl Searcher for Smbo {
    fn propose(&mut self, known: &Known) -> Proposal {
        self.proposals += 1;
        // Trials of the recipe before it was edited stand for the random ones.
        let random = self.proposals.max(self.rows.len()) <= self.startup || self.proposals.is_multiple_of(RANDOM);
        let promising = if random || known.start.is_some() { None } else { self.most_promising(known) };
        match promising {
            Some(candidate) => Proposal::plain(candidate),
            None => known.fresh(&mut self.rng, |rng| known.space.sample(rng)),
        }
    }

    fn tell(&mut self, known: &Known, trial: &Trial) {
        let Some(score) = trial.score() else { return };
        let row = self.features.vector(known.space, &trial.assignment);
        if let Model::Ridge(ridge) = &mut self.model {
            ridge.add(&ridge.expand(&self.features, &row), score);
        }
        self.rows.push(row);
        self.scores.push(score);
        let place = self.elite.partition_point(|(_, other)| *other >= score);
        if place < ELITE {
            self.elite.insert(place, (trial.assignment.clone(), score));
            self.elite.truncate(ELITE);
        }
    }
}
