//! Many candidates on a small budget, the better part of them on a larger one: successive halving (Jamieson and Talwalkar 2016),
//! Hyperband (Li et al. 2018), and the asynchronous ASHA (Li et al. 2020). New candidates are random, by decision.

use crate::rng::Rng;
use crate::searcher::{Known, Proposal, Searcher, Trial};
use crate::space::Assignment;

/// Budgets of a multi-fidelity search.
#[derive(Clone, Copy, Debug)]
pub struct Budgets {
    pub min: f64,
    pub max: f64,
    /// One in `eta` goes on, with `eta` times the budget.
    pub eta: f64,
}

impl Budgets {
    /// The largest number of times a budget can grow: `floor(log_eta(max / min))`.
    fn steps(&self) -> usize {
        (libm::log(self.max / self.min) / libm::log(self.eta) + 1e-9) as usize
    }
}

/// A plan: how many candidates on which budget, round after round.
type Bracket = Vec<(usize, f64)>;

/// Hyperband's brackets, from many candidates to few. With `R = max / min`, bracket s of `s_max..=0` starts
/// `ceil((s_max + 1) / (s + 1) * eta^s)` candidates on `max * eta^-s`.
pub fn brackets(budgets: Budgets) -> Vec<Bracket> {
    let Budgets { max, eta, .. } = budgets;
    let steps = budgets.steps();
    (0..=steps)
        .rev()
        .map(|s| {
            let start = ((steps + 1) as f64 / (s + 1) as f64 * libm::pow(eta, s as f64) - 1e-9).ceil();
            (0..=s)
                .map(|i| {
                    let (count, budget) = (start * libm::pow(eta, -(i as f64)), libm::pow(eta, i as f64 - s as f64) * max);
                    ((count + 1e-9) as usize, budget)
                })
                .collect()
        })
        .collect()
}

/// Successive halving and Hyperband: brackets one after the other, and again from the first.
#[derive(Debug)]
pub struct Halving {
    rng: Rng,
    plans: Vec<Bracket>,
    bracket: usize,
    round: usize,
    /// Candidates of this round that are still to be proposed; empty slots are drawn.
    queue: Vec<Option<Assignment>>,
    waiting: Vec<Assignment>,
    told: Vec<(Assignment, f64)>,
}

impl Halving {
    /// One bracket, with `candidates` at its start.
    pub fn successive(candidates: usize, budgets: Budgets, seed: u64) -> Halving {
        let bracket = (0..=budgets.steps())
            .map(|i| {
                let grown = libm::pow(budgets.eta, i as f64);
                ((candidates as f64 / grown + 1e-9) as usize, (budgets.min * grown).min(budgets.max))
            })
            .take_while(|(count, _)| *count > 0)
            .collect();
        Halving::new(vec![bracket], seed)
    }

    pub fn hyperband(budgets: Budgets, seed: u64) -> Halving {
        Halving::new(brackets(budgets), seed)
    }

    fn new(plans: Vec<Bracket>, seed: u64) -> Halving {
        let queue = vec![None; plans[0][0].0];
        let rng = Rng::new(seed, "halving");
        Halving { rng, plans, bracket: 0, round: 0, queue, waiting: vec![], told: vec![] }
    }

    /// When a round is over: the best go on, or the next bracket starts.
    fn advance(&mut self) {
        if !self.queue.is_empty() || !self.waiting.is_empty() {
            return;
        }
        self.round += 1;
        let mut told = std::mem::take(&mut self.told);
        told.sort_by(|a, b| b.1.total_cmp(&a.1));
        match self.plans[self.bracket].get(self.round).filter(|_| !told.is_empty()) {
            Some((count, _)) => {
                let best = told.into_iter().take(*count);
                self.queue = best.rev().map(|(assignment, _)| Some(assignment)).collect();
            }
            None => {
                self.round = 0;
                self.bracket = (self.bracket + 1) % self.plans.len();
                self.queue = vec![None; self.plans[self.bracket][0].0];
            }
        }
    }
}

impl Searcher for Halving {
    fn propose(&mut self, known: &Known) -> Proposal {
        loop {
            self.advance();
            let Some(next) = self.queue.pop() else { return Proposal::Wait };
            let budget = Some(self.plans[self.bracket][self.round].1);
            let drawn = match next {
                Some(assignment) => Proposal::plain(assignment),
                None => known.fresh(&mut self.rng, |rng| known.space.sample(rng)),
            };
            match drawn {
                Proposal::Try { assignment, .. } => {
                    self.waiting.push(assignment.clone());
                    return Proposal::Try { assignment, budget };
                }
                // The space is used up: what is in the bracket is finished, nothing new begins.
                _ if self.waiting.is_empty() && self.told.is_empty() => return Proposal::Done,
                _ => self.queue.clear(),
            }
        }
    }

    fn tell(&mut self, _: &Known, trial: &Trial) {
        if let Some(at) = self.waiting.iter().position(|waiting| *waiting == trial.assignment) {
            let assignment = self.waiting.remove(at);
            self.told.extend(trial.score().map(|score| (assignment, score)));
            // One that could not be tried makes room for another.
            if !trial.feasible && self.round == 0 {
                self.queue.push(None);
            }
        }
    }
}

/// Promotes whenever a candidate is among the best `1 / eta` of its rung, and else starts a new one, so that no worker waits.
#[derive(Debug)]
pub struct Asha {
    rng: Rng,
    budgets: Budgets,
    /// By rung: candidates with scores and whether they were promoted.
    rungs: Vec<Vec<(Assignment, f64, bool)>>,
    waiting: Vec<(Assignment, usize)>,
}

impl Asha {
    pub fn new(budgets: Budgets, seed: u64) -> Asha {
        let rungs = vec![vec![]; budgets.steps() + 1];
        Asha { rng: Rng::new(seed, "asha"), budgets, rungs, waiting: vec![] }
    }

    fn budget(&self, rung: usize) -> f64 {
        (self.budgets.min * libm::pow(self.budgets.eta, rung as f64)).min(self.budgets.max)
    }

    fn promotion(&mut self) -> Option<(Assignment, usize)> {
        for rung in (0..self.rungs.len() - 1).rev() {
            let members = &mut self.rungs[rung];
            let promotable = (members.len() as f64 / self.budgets.eta + 1e-9) as usize;
            // Kept best first, so the promotable are a prefix.
            if let Some(best) = members[..promotable].iter_mut().find(|(_, _, promoted)| !promoted) {
                best.2 = true;
                return Some((best.0.clone(), rung + 1));
            }
        }
        None
    }
}

impl Searcher for Asha {
    fn propose(&mut self, known: &Known) -> Proposal {
        let next = match self.promotion() {
            Some((assignment, rung)) => Some((assignment, rung)),
            None => match known.fresh(&mut self.rng, |rng| known.space.sample(rng)) {
                Proposal::Try { assignment, .. } => Some((assignment, 0)),
                _ => None,
            },
        };
        match next {
            Some((assignment, rung)) => {
                self.waiting.push((assignment.clone(), rung));
                Proposal::Try { assignment, budget: Some(self.budget(rung)) }
            }
            None if self.waiting.is_empty() => Proposal::Done,
            None => Proposal::Wait,
        }
    }

    fn tell(&mut self, _: &Known, trial: &Trial) {
        let (assignment, rung) = match self.waiting.iter().position(|(waiting, _)| *waiting == trial.assignment) {
            Some(at) => self.waiting.remove(at),
            // Of a search before the recipe was edited: it stands where its budget puts it, and no more on the rung below.
            None => {
                let Some(rung) = (0..self.rungs.len()).find(|r| trial.budget == Some(self.budget(*r))) else { return };
                let below = self.rungs[..rung].last_mut().and_then(|r| r.iter_mut().find(|m| m.0 == trial.assignment));
                below.into_iter().for_each(|member| member.2 = true);
                (trial.assignment.clone(), rung)
            }
        };
        if let Some(score) = trial.score() {
            let members = &mut self.rungs[rung];
            let place = members.partition_point(|member| member.1 >= score);
            members.insert(place, (assignment, score, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_those_of_the_paper() {
        let plan: Vec<Vec<(usize, f64)>> = brackets(Budgets { min: 1.0, max: 81.0, eta: 3.0 })
            .into_iter()
            .map(|b| b.into_iter().map(|(n, r)| (n, r.round())).collect())
            .collect();
        let expected: Vec<Vec<(usize, f64)>> = vec![
            vec![(81, 1.0), (27, 3.0), (9, 9.0), (3, 27.0), (1, 81.0)],
            vec![(34, 3.0), (11, 9.0), (3, 27.0), (1, 81.0)],
            vec![(15, 9.0), (5, 27.0), (1, 81.0)],
            vec![(8, 27.0), (2, 81.0)],
            vec![(5, 81.0)],
        ];
        assert_eq!(plan, expected);
    }
}
