//! The tree-structured Parzen estimator (Bergstra et al. 2011), conditional on the tree: a decision's densities are those of the
//! trials in which it was met, and a candidate is walked decision by decision.
//!
//! The good trials are the best `min(ceil(n / 10), 25)`, as Optuna has it, but at least two; l is the density of a decision's
//! values among them, g among the others. For each decision 24 values are drawn from l, and the one with the largest l / g is taken.

use crate::encode::{decode, draw, encode, width};
use crate::rng::Rng;
use crate::searcher::{Known, Proposal, Searcher, Trial};
use crate::space::{Assignment, Decision, Domain, Slot, Space, Value};
use rustc_hash::FxHashMap;

/// Values compared for a decision.
const DRAWS: usize = 24;
/// Of the trials that are not good, the newest are looked at, so that a proposal costs the same after ten thousand trials.
const OTHERS: usize = 40;
const MOST_GOOD: usize = 25;

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

impl Tpe {
    /// The first `startup` proposals are random.
    pub fn new(startup: usize, seed: u64) -> Tpe {
        Tpe { rng: Rng::new(seed, "tpe"), startup, proposals: 0, told: 0, best: vec![], newest: vec![] }
    }

    fn split(&self) -> (Vec<&Assignment>, Vec<&Assignment>) {
        let count = self.told.div_ceil(10).clamp(2, MOST_GOOD).min(self.best.len());
        let good: Vec<&Assignment> = self.best[..count].iter().map(|(assignment, _)| assignment).collect();
        let others = self.newest.iter().filter(|assignment| !good.contains(assignment));
        let others = others.collect();
        (good, others)
    }
}

/// The values of each decision among some trials, common to all of its lists.
fn by_slot(space: &Space, trials: &[&Assignment]) -> FxHashMap<Slot, Vec<Value>> {
    let mut values: FxHashMap<Slot, Vec<Value>> = FxHashMap::default();
    for (slot, value) in trials.iter().flat_map(|trial| space.common_entries(trial)) {
        values.entry(slot).or_default().push(value);
    }
    values
}

/// A density over the values of one decision: one kernel for each observation and one that is the prior.
enum Density {
    /// Of the options of a list.
    Table(Vec<f64>),
    /// Of each coordinate.
    Kernels(Vec<Kernels>),
}

/// Normal kernels cut off at the ends of `[0, 1]`, the prior last.
struct Kernels(Vec<Kernel>);

struct Kernel {
    centre: f64,
    width: f64,
    /// One over the width and the mass inside, so that the kernel is a density.
    height: f64,
}

impl Kernel {
    fn new(centre: f64, width: f64) -> Kernel {
        let below = |end: f64| 0.5 * libm::erfc(-(end - centre) / width / std::f64::consts::SQRT_2);
        Kernel { centre, width, height: 1.0 / width / (below(1.0) - below(0.0)).max(1e-12) }
    }
}

impl Kernels {
    fn new(mut centres: Vec<f64>) -> Kernels {
        centres.sort_by(f64::total_cmp);
        let count = centres.len();
        // As wide as the distance to the further neighbour, within bounds (Bergstra's magic clip).
        let least = 1.0 / (1.0 + count as f64).min(100.0);
        let mut kernels: Vec<Kernel> = (0..count)
            .map(|i| {
                let left = centres[i] - if i == 0 { 0.0 } else { centres[i - 1] };
                let right = if i + 1 == count { 1.0 } else { centres[i + 1] } - centres[i];
                Kernel::new(centres[i], left.max(right).clamp(least, 1.0))
            })
            .collect();
        kernels.push(Kernel::new(0.5, 1.0));
        Kernels(kernels)
    }

    fn draw(&self, rng: &mut Rng) -> f64 {
        let Kernel { centre, width, .. } = self.0[rng.below(self.0.len())];
        for _ in 0..20 {
            let x = centre + width * rng.normal();
            if (0.0..1.0).contains(&x) {
                return x;
            }
        }
        rng.unit()
    }

    fn log_density(&self, x: f64) -> f64 {
        let mut sum = 0.0;
        for kernel in &self.0 {
            let z = (x - kernel.centre) / kernel.width;
            sum += libm::exp(-0.5 * z * z) * kernel.height;
        }
        libm::log(sum / self.0.len() as f64)
    }
}

impl Density {
    fn new(domain: &Domain, values: &[Value]) -> Density {
        if let Domain::Members { labels, ordered: false } = domain {
            let mut table = vec![1.0 / labels.len() as f64; labels.len()];
            for value in values {
                if let Value::Member(i) = value {
                    table[*i as usize] += 1.0;
                }
            }
            let sum: f64 = table.iter().sum();
            return Density::Table(table.into_iter().map(|weight| weight / sum).collect());
        }
        let points: Vec<Vec<f64>> = values.iter().map(|value| encode(domain, value)).collect();
        let coordinate = |i: usize| Kernels::new(points.iter().map(|point| point[i]).collect());
        Density::Kernels((0..width(domain)).map(coordinate).collect())
    }

    fn draw(&self, domain: &Domain, rng: &mut Rng) -> Value {
        match self {
            Density::Table(table) => {
                let mut left = rng.unit();
                let place = table.iter().position(|weight| {
                    left -= weight;
                    left < 0.0
                });
                Value::Member(place.unwrap_or(table.len() - 1) as u64)
            }
            Density::Kernels(kernels) => decode(domain, &kernels.iter().map(|k| k.draw(rng)).collect::<Vec<f64>>()),
        }
    }

    fn log_density(&self, domain: &Domain, value: &Value) -> f64 {
        match (self, value) {
            (Density::Table(table), Value::Member(i)) => libm::log(table[*i as usize]),
            (Density::Kernels(kernels), value) => {
                encode(domain, value).iter().zip(kernels).map(|(x, kernels)| kernels.log_density(*x)).sum()
            }
            _ => 0.0,
        }
    }
}

fn decide(space: &Space, decision: &Decision, good: Option<&Vec<Value>>, others: Option<&Vec<Value>>, rng: &mut Rng) -> Value {
    let domain = decision.domain;
    let Some(good) = good else { return draw(domain, rng) };
    let own = |values: &Vec<Value>| values.iter().filter_map(|value| space.own(decision, value)).collect::<Vec<_>>();
    let l = Density::new(domain, &own(good));
    let g = Density::new(domain, &others.map(own).unwrap_or_default());
    let mut best: Option<(f64, Value)> = None;
    for _ in 0..DRAWS {
        let value = l.draw(domain, rng);
        if best.as_ref().is_some_and(|(_, other)| *other == value) {
            continue;
        }
        let ratio = l.log_density(domain, &value) - g.log_density(domain, &value);
        if best.as_ref().is_none_or(|(most, _)| ratio > *most) {
            best = Some((ratio, value));
        }
    }
    best.map_or_else(|| draw(domain, rng), |(_, value)| value)
}

impl Searcher for Tpe {
    fn propose(&mut self, known: &Known) -> Proposal {
        self.proposals += 1;
        // Trials of the recipe before it was edited stand for the random ones.
        let random = self.proposals.max(self.told) <= self.startup || self.best.is_empty();
        let mut rng = self.rng.clone();
        let proposal = if random || known.start.is_some() {
            known.fresh(&mut rng, |rng| known.space.sample(rng))
        } else {
            let (good, others) = self.split();
            let (good, others) = (by_slot(known.space, &good), by_slot(known.space, &others));
            let mut tries = 0;
            known.fresh(&mut rng, |rng| {
                // What l and g agree on is proposed again and again: decisions are then drawn at random, more with each try.
                let noise = f64::from(tries) * 0.05;
                tries += 1;
                known.space.walk(&mut |decision| {
                    if rng.chance(noise) {
                        return draw(decision.domain, rng);
                    }
                    decide(known.space, decision, good.get(&decision.slot), others.get(&decision.slot), rng)
                })
            })
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
