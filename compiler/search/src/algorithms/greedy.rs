//! Greedy search: one decision after the other, in their order, takes the value that scored best while all others stay.
//!
//! It starts at the candidate of the defaults and goes round until nothing gets better, then starts again somewhere else. Where
//! decision k is whether model k joins a soup, and the defaults take the best model alone, the first round is the greedy soup of
//! Wortsman et al. 2022 (arXiv 2203.05482), recipe 1: one trial a model, kept if the score rose.

use crate::encode::draw;
use crate::rng::Rng;
use crate::searcher::{Known, Proposal, Searcher, Trial};
use crate::space::{Assignment, Domain, Slot, Space, Value};
use crate::vary::BySlot;
use std::collections::VecDeque;

#[derive(Debug)]
pub struct Greedy {
    rng: Rng,
    /// How many values of a range are tried.
    values: usize,
    /// Where this climb is, and the score there; nowhere until its first candidate is told.
    at: Option<(Assignment, f64)>,
    /// Decisions that had their turn in this round.
    varied: Vec<Slot>,
    /// Did the round get anywhere?
    better: bool,
    /// What differs from `at` in the decision whose turn it is, yet to be proposed.
    next: VecDeque<Assignment>,
    /// Proposed and not told.
    open: usize,
}

impl Greedy {
    /// Lists are tried member by member, ranges at so many evenly spaced `values`, at least 2.
    pub fn new(values: usize, seed: u64) -> Greedy {
        let rng = Rng::new(seed, "greedy");
        Greedy { rng, values: values.max(2), at: None, varied: vec![], better: false, next: VecDeque::new(), open: 0 }
    }

    /// Puts the next decision's candidates into `next`; none left in this round: false.
    fn turn(&mut self, space: &Space) -> bool {
        let Some((at, _)) = &self.at else { return false };
        let Some(slot) = at.entries().iter().map(|(slot, _)| *slot).find(|slot| !self.varied.contains(slot)) else {
            return false;
        };
        self.varied.push(slot);
        let given = BySlot::new(space, at);
        let mut values = vec![];
        space.walk(&mut |decision| {
            let value = given.get(decision).unwrap_or_else(|| decision.domain.middle());
            if decision.slot == slot {
                values = others(decision.domain, &value, self.values, &mut self.rng);
            }
            value
        });
        for value in values {
            // What another answer opens starts at its default.
            let changed = space.walk(&mut |decision| match given.get(decision) {
                Some(_) if decision.slot == slot => value.clone(),
                Some(known) => known,
                None => decision.default.cloned().unwrap_or_else(|| decision.domain.middle()),
            });
            self.next.push_back(changed);
        }
        true
    }
}

/// The other values of a domain, or `most` of them, in its order.
fn others(domain: &Domain, value: &Value, most: usize, rng: &mut Rng) -> Vec<Value> {
    let listed = matches!(domain, Domain::Members { .. });
    let all = match domain.small_count().filter(|n| listed || *n <= most as u64) {
        Some(n) => (0..n).map(|rank| domain.unrank(rank.into())).collect(),
        None => {
            let place = |k: usize| k as f64 / (most - 1) as f64;
            (0..most).map(|k| domain.at(place(k)).unwrap_or_else(|| draw(domain, rng))).collect::<Vec<_>>()
        }
    };
    let mut kept: Vec<Value> = vec![];
    for other in all {
        if other != *value && !kept.contains(&other) {
            kept.push(other);
        }
    }
    kept
}

impl Searcher for Greedy {
    fn propose(&mut self, known: &Known) -> Proposal {
        loop {
            if known.start.is_none()
                && let Some(candidate) = self.next.pop_front()
            {
                // What was tried is no better than where the climb is.
                if !known.seen.contains(&candidate) {
                    self.open += 1;
                    return Proposal::plain(candidate);
                }
            } else if known.start.is_none() && self.open > 0 {
                return Proposal::Wait;
            } else if self.at.is_none() || known.start.is_some() {
                let first = known.fresh(&mut self.rng, |rng| known.space.sample(rng));
                self.open += usize::from(matches!(first, Proposal::Try { .. }));
                return first;
            } else if !self.turn(known.space) {
                self.varied.clear();
                if !std::mem::take(&mut self.better) {
                    self.at = None;
                }
            }
        }
    }

    fn tell(&mut self, _: &Known, trial: &Trial) {
        self.open = self.open.saturating_sub(1);
        let Some(score) = trial.score() else { return };
        let first = self.at.is_none();
        if first || self.at.as_ref().is_some_and(|(_, best)| score > *best) {
            self.better = !first;
            self.at = Some((trial.assignment.clone(), score));
        }
    }
}
