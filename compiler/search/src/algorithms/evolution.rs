//! Regularised evolution (Real et al., arXiv 1802.01548): the parent is the best of a sample, the oldest dies, good or not.
//!
//! A child is a mutant, or the mutant of a cross of two parents. Both work on paths: what a mutation does not touch keeps its
//! answers, and what it opens is drawn (`vary`).

use crate::rng::Rng;
use crate::searcher::{Known, Proposal, Searcher, Trial};
use crate::space::Assignment;
use crate::vary::{cross, mutate};
use std::collections::VecDeque;

#[derive(Debug)]
pub struct Evolution {
    rng: Rng,
    population: usize,
    tournament: usize,
    crossover: f64,
    /// Oldest first.
    alive: VecDeque<(Assignment, f64)>,
    born: usize,
}

impl Evolution {
    /// `tournament` of `population` candidates compete to be the parent; a child has two parents with probability `crossover`.
    pub fn new(population: usize, tournament: usize, crossover: f64, seed: u64) -> Evolution {
        let rng = Rng::new(seed, "evolution");
        let population = population.max(2);
        Evolution { rng, population, tournament: tournament.max(1), crossover, alive: VecDeque::new(), born: 0 }
    }
}

fn parent<'a>(alive: &'a VecDeque<(Assignment, f64)>, tournament: usize, rng: &mut Rng) -> &'a Assignment {
    let drawn = (0..tournament).map(|_| &alive[rng.below(alive.len())]);
    &drawn.max_by(|a, b| a.1.total_cmp(&b.1)).expect("a tournament has members").0
}

impl Searcher for Evolution {
    fn propose(&mut self, known: &Known) -> Proposal {
        let first = self.born < self.population || self.alive.is_empty();
        self.born += 1;
        let (alive, tournament, crossover) = (&self.alive, self.tournament, self.crossover);
        known.fresh(&mut self.rng, |rng| {
            if first {
                return known.space.sample(rng);
            }
            let one = parent(alive, tournament, rng);
            let near = rng.chance(0.5);
            if !rng.chance(crossover) {
                return mutate(known.space, one, near, rng);
            }
            let child = cross(known.space, one, parent(alive, tournament, rng), rng);
            if known.seen.contains(&child) { mutate(known.space, &child, near, rng) } else { child }
        })
    }

    fn tell(&mut self, _: &Known, trial: &Trial) {
        let Some(score) = trial.score() else { return };
        self.alive.push_back((trial.assignment.clone(), score));
        if self.alive.len() > self.population {
            self.alive.pop_front();
        }
    }
}
