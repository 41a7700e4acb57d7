//! The tree-structured Parzen estimator (Bergstra et al. 2011) with joint densities (Falkner et al. 2018, as in BOHB and Optuna),
//! conditional on the tree.
//!
//! The good trials are the best `ceil(0.15 n)`, at most [`MOST_GOOD`]; l is the density of candidates among them, g among the others, both
//! mixtures of kernels over whole candidates ([`Column`]). A candidate is drawn by walking the tree with the kernel of one good trial: at
//! each decision, of [`OPTIONS`] values that this kernel gives, the one is taken with which the part decided so far has the largest l / g.
//! Of [`CANDIDATES`] candidates that were not proposed yet, the one with the largest l / g is.

use crate::rng::Rng;
use crate::searcher::{Known, Proposal, Searcher, Trial};
use crate::space::{Assignment, Decision, Slot, Space, Value};
use crate::surrogate::parzen::{Column, log_mean};
use crate::vary::BySlot;
use rustc_hash::FxHashMap;

/// Candidates compared for a proposal.
const CANDIDATES: usize = 8;
/// Values compared for a decision.
const OPTIONS: usize = 3;
/// Times that so many candidates are drawn before it is taken that l and g know nothing new.
const ROUNDS: usize = 4;
/// The part of the trials that is good.
const GOOD: f64 = 0.15;
const MOST_GOOD: usize = 25;
/// Of the trials that are not good, the newest are looked at, so that a proposal costs the same after ten thousand trials.
const OTHERS: usize = 64;

#[derive(Debug)]
pub struct Tpe {
    rng: Rng,
    startup: usize,
    proposals: usize,
    told: usize,
    /// Best first, at most [`MOST_GOOD`].
    best: Vec<(Assignment, f64)>,
    /// Newest last; the good ones are among them.
    newest: Vec<Assignment>,
}

/// The density of candidates among some trials.
struct Density<'s> {
    trials: Vec<BySlot<'s>>,
    /// The number of decisions of a trial, in the mean.
    decisions: usize,
    /// By decision, and by list where it has several; made when first asked for.
    columns: FxHashMap<(Slot, u32), Column>,
}

impl<'s> Density<'s> {
    fn new(space: &'s Space, trials: &[&Assignment]) -> Density<'s> {
        let decisions = trials.iter().map(|trial| trial.entries().len()).sum::<usize>() / trials.len().max(1);
        let trials = trials.iter().map(|trial| BySlot::new(space, trial)).collect();
        Density { trials, decisions, columns: FxHashMap::default() }
    }

    fn column(&mut self, space: &Space, decision: &Decision) -> &Column {
        let (trials, decisions) = (&self.trials, self.decisions);
        self.columns.entry((decision.slot, space.list_number(decision))).or_insert_with(|| {
            let values: Vec<Option<Value>> = trials.iter().map(|trial| trial.get(decision)).collect();
            Column::new(decision.domain, &values, decisions)
        })
    }

    /// Of a candidate of which nothing is decided yet, under each kernel, the prior's last; as logarithms.
    fn begin(&self) -> Vec<f64> {
        vec![0.0; self.trials.len() + 1]
    }
}

/// A candidate and the logarithm of l / g there.
type Promise = (f64, Assignment);

/// A candidate drawn from the good ones.
fn draw(space: &Space, good: &mut Density, others: &mut Density, rng: &mut Rng) -> Promise {
    let from = Some(rng.below(good.trials.len() + 1)).filter(|trial| *trial < good.trials.len());
    let (mut l, mut g) = (good.begin(), others.begin());
    let candidate = space.walk(&mut |decision| {
        let mut best: Option<(f64, Value, [Vec<f64>; 2])> = None;
        for _ in 0..OPTIONS {
            let column = good.column(space, decision);
            let value = column.draw(from, decision.domain, rng);
            if best.as_ref().is_some_and(|(_, other, _)| *other == value) {
                continue;
            }
            let mut weighed = [l.clone(), g.clone()];
            column.weigh(decision.domain, &value, &mut weighed[0]);
            others.column(space, decision).weigh(decision.domain, &value, &mut weighed[1]);
            let ratio = log_mean(&weighed[0]) - log_mean(&weighed[1]);
            if best.as_ref().is_none_or(|(most, ..)| ratio > *most) {
                best = Some((ratio, value, weighed));
            }
        }
        let (_, value, weighed) = best.expect("the first is taken");
        [l, g] = weighed;
        value
    });
    (log_mean(&l) - log_mean(&g), candidate)
}

impl Tpe {
    /// The first `startup` proposals are random.
    pub fn new(startup: usize, seed: u64) -> Tpe {
        Tpe { rng: Rng::new(seed, "tpe"), startup, proposals: 0, told: 0, best: vec![], newest: vec![] }
    }

    /// The good trials and the others.
    fn split(&self) -> (Vec<&Assignment>, Vec<&Assignment>) {
        let count = ((self.told as f64 * GOOD).ceil() as usize).clamp(1, MOST_GOOD).min(self.best.len());
        let good: Vec<&Assignment> = self.best[..count].iter().map(|(assignment, _)| assignment).collect();
        let others = self.newest.iter().filter(|assignment| !good.contains(assignment));
        let others = others.collect();
        (good, others)
    }

    /// The candidate with the largest l / g of some that were not proposed; none if there was none.
    fn most_promising(&self, known: &Known, rng: &mut Rng) -> Option<Assignment> {
        let (good, others) = self.split();
        let (mut good, mut others) = (Density::new(known.space, &good), Density::new(known.space, &others));
        for _ in 0..ROUNDS {
            let mut best: Option<Promise> = None;
            for _ in 0..CANDIDATES {
                let drawn = draw(known.space, &mut good, &mut others, rng);
                if best.as_ref().is_none_or(|best| drawn.0 > best.0) && !known.seen.contains(&drawn.1) {
                    best = Some(drawn);
                }
            }
            if let Some((_, candidate)) = best {
                return Some(candidate);
            }
        }
        None
    }
}

impl Searcher for Tpe {
    fn propose(&mut self, known: &Known) -> Proposal {
        self.proposals += 1;
        // Trials of the recipe before it was edited stand for the random ones.
        let random = self.proposals.max(self.told) <= self.startup || self.best.is_empty();
        let mut rng = self.rng.clone();
        let promising =
            if random || known.start.is_some() || known.seen.exhausted() { None } else { self.most_promising(known, &mut rng) };
        let proposal = match promising {
            Some(candidate) => Proposal::plain(candidate),
            None => known.fresh(&mut rng, |rng| known.space.sample(rng)),
        };
        self.rng = rng;
        proposal
    }

    fn tell(&mut self, _: &Known, trial: &Trial) {
        // A failed trial is none of the good ones.
        self.newest.push(trial.assignment.clone());
        if self.newest.len() > OTHERS + MOST_GOOD {
            self.newest.remove(0);
        }
        let Some(score) = trial.score() else { return };
        self.told += 1;
        let place = self.best.partition_point(|(_, other)| *other >= score);
        if place < MOST_GOOD {
            self.best.insert(place, (trial.assignment.clone(), score));
            self.best.truncate(MOST_GOOD);
        }
    }
}
