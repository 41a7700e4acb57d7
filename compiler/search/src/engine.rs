//! The search without the world: proposals, results, what is told when.
//!
//! With a window of N trials side by side, proposal k is made when exactly the results of trials `0..=k-N` have been told, in
//! order, whatever has ended by then. So the proposals do not depend on how long trials take, and a journal of results is
//! enough to make the same proposals again. An algorithm that must know more (a round that has to end) waits.

use crate::searcher::{Known, Proposal, Searcher, Trial};
use crate::seen::Seen;
use crate::settings::{Algorithm, Goal};
use crate::space::{Assignment, Space};
use serde_json::Map;
use std::collections::{BTreeMap, VecDeque};

/// Metrics by name.
pub type Metrics = BTreeMap<String, f64>;

/// Candidates ruled out one after the other before the search gives up.
const PATIENCE: usize = 10_000;

/// What is to be tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub number: u64,
    pub assignment: Assignment,
    pub budget: Option<f64>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    Try(Job),
    /// A candidate was ruled out by a constraint; it is never proposed again, and uses up no trial.
    Infeasible {
        assignment: Assignment,
        reason: String,
    },
    /// No proposal before another result is in.
    Blocked,
    /// Everything was proposed.
    Done,
    /// So many candidates in a row were ruled out that there may be none that is not.
    Stuck {
        tried: usize,
    },
}

/// A search in progress.
pub struct Engine<'a> {
    space: &'a Space,
    goals: Vec<Goal>,
    searcher: Box<dyn Searcher>,
    window: usize,
    seen: Seen,
    told: Vec<Trial>,
    pending: VecDeque<(Job, Option<Option<Vec<f64>>>)>,
    start: Option<Assignment>,
    /// The number of the first proposal.
    first: u64,
    proposed: u64,
    ruled_out: usize,
}

impl<'a> Engine<'a> {
    /// `window`: the most trials side by side. The first proposal is the candidate of the defaults, where there are any.
    pub fn new(space: &'a Space, algorithm: &Algorithm, goals: &[Goal], seed: u64, window: usize) -> Result<Engine<'a>, String> {
        Ok(Engine {
            space,
            goals: goals.to_vec(),
            searcher: algorithm.start(space, goals, seed)?,
            window: window.max(1),
            seen: Seen::new(space),
            told: vec![],
            pending: VecDeque::new(),
            start: space.defaults(),
            first: 0,
            proposed: 0,
            ruled_out: 0,
        })
    }

    /// Makes known what was tried before the first proposal, which gets the number `first`; in an order that is always the same.
    pub fn begin_with(&mut self, earlier: Vec<Trial>, first: u64) {
        for trial in earlier {
            self.seen.insert(self.space, &trial.assignment);
            self.tell_now(trial);
        }
        self.start = self.start.take().filter(|start| !self.seen.contains(start));
        self.first = first;
    }

    /// The next proposal. `feasible` gives the reason against a candidate; it is asked once for each.
    pub fn next(&mut self, feasible: &mut dyn FnMut(&Assignment) -> Result<(), String>) -> Next {
        while self.pending.len() >= self.window {
            if !self.tell_first() {
                return Next::Blocked;
            }
        }
        loop {
            let start = self.start.take();
            let known = Known { space: self.space, seen: &self.seen, trials: &self.told, start: start.as_ref() };
            match self.searcher.propose(&known) {
                Proposal::Try { assignment, budget } => return self.proposal(assignment, budget, feasible),
                Proposal::Wait if self.tell_first() => {}
                Proposal::Wait if !self.pending.is_empty() => return Next::Blocked,
                Proposal::Wait | Proposal::Done => return Next::Done,
            }
        }
    }

    fn proposal(
        &mut self,
        assignment: Assignment,
        budget: Option<f64>,
        feasible: &mut dyn FnMut(&Assignment) -> Result<(), String>,
    ) -> Next {
        // A candidate that goes on with a larger budget was found feasible.
        let new = self.seen.insert(self.space, &assignment);
        if let (true, Err(reason)) = (new, if new { feasible(&assignment) } else { Ok(()) }) {
            self.ruled_out += 1;
            if self.ruled_out > PATIENCE {
                return Next::Stuck { tried: PATIENCE };
            }
            let (number, assignment_told) = (self.first + self.proposed, assignment.clone());
            self.tell_now(Trial { number, assignment: assignment_told, budget, scores: None, feasible: false });
            return Next::Infeasible { assignment, reason };
        }
        self.ruled_out = 0;
        let job = Job { number: self.first + self.proposed, assignment, budget };
        self.proposed += 1;
        self.pending.push_back((job.clone(), None));
        Next::Try(job)
    }

    /// The result of a trial: one number for each goal as [`Engine::scores`] makes them, or none if it failed.
    pub fn tell(&mut self, number: u64, scores: Option<Vec<f64>>) {
        if let Some((_, result)) = self.pending.iter_mut().find(|(job, _)| job.number == number) {
            *result = Some(scores);
        }
    }

    /// Tells the oldest pending trial if its result is in.
    fn tell_first(&mut self) -> bool {
        match self.pending.pop_front() {
            Some((job, Some(scores))) => {
                let Job { number, assignment, budget } = job;
                self.tell_now(Trial { number, assignment, budget, scores, feasible: true });
                true
            }
            Some(unknown) => {
                self.pending.push_front(unknown);
                false
            }
            None => false,
        }
    }

    fn tell_now(&mut self, trial: Trial) {
        let known = Known { space: self.space, seen: &self.seen, trials: &self.told, start: None };
        self.searcher.tell(&known, &trial);
        self.told.push(trial);
    }

    /// Trials proposed so far, earlier ones not counted.
    pub fn proposed(&self) -> u64 {
        self.proposed
    }

    /// Proposed trials without a result.
    pub fn open(&self) -> impl Iterator<Item = &Job> {
        self.pending.iter().filter(|(_, result)| result.is_none()).map(|(job, _)| job)
    }

    /// Metrics as scores, larger is better; or which goal has no finite number.
    pub fn scores(&self, metrics: &Metrics) -> Result<Vec<f64>, String> {
        scores(&self.goals, metrics)
    }
}

/// Metrics as scores, larger is better; or which goal has no finite number.
pub fn scores(goals: &[Goal], metrics: &Metrics) -> Result<Vec<f64>, String> {
    let score = |goal: &Goal| match metrics.get(&goal.metric) {
        Some(value) if value.is_finite() => Ok(if goal.maximize { *value } else { -value }),
        Some(value) => Err(format!("`{}` is {value}", goal.metric)),
        None => {
            let there: Vec<&str> = metrics.keys().map(String::as_str).collect();
            Err(format!("there is no `{}` among the metrics ({})", goal.metric, there.join(", ")))
        }
    };
    goals.iter().map(score).collect()
}

/// An algorithm by name with no settings of its own, for tests and benchmarks.
pub fn algorithm(name: &str) -> Algorithm {
    Algorithm::parse(name, Map::new()).expect("a name of the list")
}
