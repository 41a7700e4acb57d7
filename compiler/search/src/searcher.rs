//! What every algorithm is: it proposes candidates and is told their scores.

use crate::rng::Rng;
use crate::seen::Seen;
use crate::space::{Assignment, Space};

/// A candidate that was tried, as algorithms see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    pub number: u64,
    pub assignment: Assignment,
    /// What the objective was given to spend, where the algorithm deals out budgets.
    pub budget: Option<f64>,
    /// One for each goal, larger is better, never NaN. None: failed, or not feasible.
    pub scores: Option<Vec<f64>>,
    /// False: ruled out by a constraint before it was tried.
    pub feasible: bool,
}

impl Trial {
    /// The score of a search with one goal.
    pub fn score(&self) -> Option<f64> {
        self.scores.as_ref().map(|scores| scores[0])
    }
}

/// What is known when a proposal is made.
#[derive(Debug)]
pub struct Known<'a> {
    pub space: &'a Space,
    /// Everything proposed so far, told or not.
    pub seen: &'a Seen,
    /// The trials told so far, in the order in which they were told.
    pub trials: &'a [Trial],
    /// Where the search starts: the candidate of the defaults, until it was proposed.
    pub start: Option<&'a Assignment>,
}

/// The answer of an algorithm.
#[derive(Clone, Debug, PartialEq)]
pub enum Proposal {
    Try {
        assignment: Assignment,
        budget: Option<f64>,
    },
    /// Nothing before another result is told.
    Wait,
    /// Every candidate was proposed, or the algorithm's plan is done.
    Done,
}

/// An algorithm. Both methods are functions of the settings, the seed and the calls before; so a journal is all there is to
/// restore.
pub trait Searcher: Send {
    fn propose(&mut self, known: &Known) -> Proposal;

    /// A proposed trial has ended. Trials are told once each, in the order of their numbers; a candidate that is not feasible is
    /// told at once, with the number of the trial it would have been.
    fn tell(&mut self, known: &Known, trial: &Trial);
}

impl Known<'_> {
    /// A candidate that was not proposed, made by `make`; drawn if `make` knows only old ones; `Done` if none is left. The
    /// very first is the candidate of the defaults.
    pub fn fresh(&self, rng: &mut Rng, mut make: impl FnMut(&mut Rng) -> Assignment) -> Proposal {
        /// Tries before it is taken that nothing new comes.
        const TRIES: usize = 30;
        if let Some(start) = self.start {
            return Proposal::plain(start.clone());
        }
        if self.seen.exhausted() {
            return Proposal::Done;
        }
        for _ in 0..TRIES {
            let made = make(rng);
            if !self.seen.contains(&made) {
                return Proposal::plain(made);
            }
        }
        for _ in 0..TRIES {
            let drawn = self.space.sample(rng);
            if !self.seen.contains(&drawn) {
                return Proposal::plain(drawn);
            }
        }
        self.seen.unseen(self.space, rng).map_or(Proposal::Done, Proposal::plain)
    }

    /// The told trials with a score, best first; earlier ones first among equals.
    pub fn best_first(&self) -> Vec<&Trial> {
        let mut scored: Vec<&Trial> = self.trials.iter().filter(|trial| trial.scores.is_some()).collect();
        scored.sort_by(|a, b| b.score().unwrap_or(f64::NAN).total_cmp(&a.score().unwrap_or(f64::NAN)));
        scored
    }
}

impl Proposal {
    pub fn plain(assignment: Assignment) -> Proposal {
        Proposal::Try { assignment, budget: None }
    }
}
