//! Monte Carlo tree search with UCT (Kocsis and Szepesvári 2006) as DeepArchitect uses it (arXiv 1704.08792), and its
//! variant with bisection of ordered domains, here with statistics shared by decision.
//!
//! A candidate is a path of steps from the root. In the plain tree a step is the answer to one decision; a domain too large to
//! list gets new children as its node is visited (progressive widening). With bisection an ordered domain of n values is
//! `ceil(log2 n)` steps, each taking one half, so that neighbours share what is learnt of them (a logarithmic range of integers is
//! halved at geometric means); a real range is halved down to one of [`CELLS`] cells and drawn from it. With sharing, the statistics of a
//! step are kept under the decision's path as well, for all nodes in which it is asked (all moves as first, Gelly and Silver 2007), and
//! weigh more where the node itself has few visits: a tree of 10^60 leaves is never visited twice below its top, but its decisions are.
//! Below the tree they also guide the rollout, which takes the best of random draws from what is believed of each option's mean
//! (Thompson 1933): bounds would move all decisions in step, and never find out which of them made a trial good.
//!
//! In the plain tree scores are mapped to `[0, 1]` by the smallest and largest so far. Shared statistics are those of few trials
//! that differ in everything, where one very bad score would hide all differences; there a trial counts by its place among all
//! trials, the better half steeply more ([`STEEP`]). A failed trial counts as the worst.

use crate::encode::draw;
use crate::rng::Rng;
use crate::searcher::{Known, Proposal, Searcher, Trial};
use crate::space::{Assignment, Domain, Slot, Value};
use rustc_hash::FxHashMap;

/// Cells of a real range: it is halved six times.
const CELLS: u64 = 64;
/// Times a list or a range of integers is halved at most; what is left then is drawn from.
const HALVINGS: u32 = 20;
/// Domains with more values get their children one by one.
const LISTED: u64 = 64;
/// Visits of a node at which its own statistics weigh as much as the shared ones.
const TRUST: f64 = 8.0;

/// The power of the part of trials that a trial is better than.
const STEEP: f64 = 3.0;

#[derive(Debug)]
pub struct Mcts {
    rng: Rng,
    exploration: f64,
    bisect: bool,
    shared: FxHashMap<StepKey, Stats>,
    nodes: Vec<TreeNode>,
    low: f64,
    high: f64,
    /// Scores told, ascending; with bisection only.
    places: Vec<f64>,
    /// Trials told when all were last counted by their places.
    counted: usize,
}

/// One move: what was to be decided, among how many, and what was taken.
#[derive(Clone, Debug, PartialEq)]
struct Step {
    slot: Slot,
    /// Which of the decision's lists, where it has several: they are different questions.
    list: u32,
    /// The halvings before this one: 1, then a bit for each.
    history: u64,
    /// None: too many to list.
    options: Option<u64>,
    taken: Taken,
}

#[derive(Clone, Debug, PartialEq)]
enum Taken {
    Option(u64),
    Value(Value),
}

type StepKey = (Slot, u32, u64, u64);

#[derive(Clone, Copy, Debug, Default)]
struct Stats {
    visits: f64,
    /// Visits whose result is known, and how many of them failed.
    told: f64,
    failed: f64,
    sum: f64,
}

#[derive(Debug, Default)]
struct TreeNode {
    stats: Stats,
    children: Vec<(Taken, usize)>,
    /// Every candidate below was proposed.
    done: bool,
}

/// `mean + c * sqrt(2 ln N / n)`; infinite where nothing was tried.
pub fn uct(mean: f64, visits: f64, parent: f64, exploration: f64) -> f64 {
    if visits == 0.0 { f64::INFINITY } else { mean + exploration * libm::sqrt(2.0 * libm::log(parent.max(1.0)) / visits) }
}

/// A draw of a mean after so many visits: normal, with the mean and variance of `u^`[`STEEP`] for uniform u as one visit's worth
/// of belief before the first.
fn believed(visits: f64, mean: f64, rng: &mut Rng) -> f64 {
    let before = 1.0 / (STEEP + 1.0);
    let variance = 1.0 / (2.0 * STEEP + 1.0) - before * before;
    (before + mean * visits) / (visits + 1.0) + libm::sqrt(variance / (visits + 1.0)) * rng.normal()
}

/// What is left of an ordered domain after some halvings: ranks of its values, or cells of a real range.
#[derive(Clone, Copy, Debug)]
struct Halves {
    low: u64,
    high: u64,
    /// A bit for each halving, after a 1.
    history: u64,
    /// The first value of a logarithmic range of integers, which is halved at the geometric mean of what is left.
    log_from: Option<i64>,
}

impl Halves {
    fn new(domain: &Domain) -> Halves {
        let log_from = if let Domain::Int { low, log: true, .. } = domain { Some(*low) } else { None };
        let count = if matches!(domain, Domain::Real { .. }) { CELLS } else { domain.small_count().unwrap_or(u64::MAX) };
        Halves { low: 0, high: count, history: 1, log_from }
    }

    /// The first of the upper half; none if there is nothing left to halve.
    fn middle(&self) -> Option<u64> {
        if self.high - self.low <= 1 || self.history >> HALVINGS > 0 {
            return None;
        }
        let half = (self.high - self.low) / 2;
        let Some(from) = self.log_from else { return Some(self.low + half) };
        let value = |rank: u64| from as f64 + rank as f64;
        let mean = libm::sqrt(value(self.low) * value(self.high)).round() - from as f64;
        Some((mean.max(0.0) as u64).clamp(self.low + 1, self.high - 1))
    }

    fn take(&mut self, middle: u64, half: u64) {
        if half == 0 {
            self.high = middle;
        } else {
            self.low = middle;
        }
        self.history = self.history * 2 + half;
    }

    /// A value of what is left.
    fn draw(&self, domain: &Domain, rng: &mut Rng) -> Value {
        if matches!(domain, Domain::Real { .. }) {
            return domain.at((self.low as f64 + rng.unit()) / CELLS as f64).expect("a range");
        }
        let rank = if self.high - self.low == 1 { self.low } else { self.low + rng.bits() % (self.high - self.low) };
        domain.unrank(rank.into())
    }

    /// Is one value left?
    fn is_value(&self, domain: &Domain) -> bool {
        self.high - self.low == 1 && !matches!(domain, Domain::Real { .. })
    }
}

/// The place of a value among what [`Halves`] halves.
fn place(domain: &Domain, value: &Value) -> u64 {
    match domain {
        Domain::Real { .. } => {
            let there = (domain.position(value).unwrap_or(0.5).clamp(0.0, 1.0) * CELLS as f64) as u64;
            there.min(CELLS - 1)
        }
        _ => u64::try_from(domain.rank(value)).unwrap_or(u64::MAX).min(u64::MAX - 1),
    }
}

impl Stats {
    /// The mean of the known results in `[0, 1]`; the middle where none is known.
    fn mean(&self, low: f64, high: f64) -> f64 {
        if self.told == 0.0 || high <= low {
            return 0.5;
        }
        let good = self.told - self.failed;
        (self.sum - good * low) / (high - low) / self.told
    }

    fn forget(&mut self) {
        (self.told, self.failed, self.sum) = (0.0, 0.0, 0.0);
    }

    fn tell(&mut self, score: Option<f64>) {
        self.told += 1.0;
        match score {
            Some(score) => self.sum += score,
            None => self.failed += 1.0,
        }
    }
}

impl Mcts {
    pub fn new(exploration: f64, bisect: bool, seed: u64) -> Mcts {
        let (low, high) = (f64::INFINITY, f64::NEG_INFINITY);
        let nodes = vec![TreeNode::default()];
        Mcts {
            rng: Rng::new(seed, "mcts"),
            exploration,
            bisect,
            shared: FxHashMap::default(),
            nodes,
            low,
            high,
            places: vec![],
            counted: 0,
        }
    }

    fn is_halved(&self, domain: &Domain) -> bool {
        self.bisect && domain.is_ordered() && domain.only().is_none()
    }

    /// The moves that lead to a candidate, and whether they lead to no other.
    fn steps(&self, known: &Known, assignment: &Assignment) -> (Vec<Step>, bool) {
        let (mut steps, mut alone) = (vec![], true);
        let given = crate::vary::BySlot::new(known.space, assignment);
        known.space.walk(&mut |decision| {
            let (slot, domain, list) = (decision.slot, decision.domain, known.space.list_number(decision));
            let value = given.get(decision).unwrap_or_else(|| domain.middle());
            match self.is_halved(domain) {
                true => {
                    let (place, mut left) = (place(domain, &value), Halves::new(domain));
                    while let Some(middle) = left.middle() {
                        let half = u64::from(place >= middle);
                        steps.push(Step { slot, list, history: left.history, options: Some(2), taken: Taken::Option(half) });
                        left.take(middle, half);
                    }
                    alone &= left.is_value(domain);
                }
                false => {
                    let options = listed(domain);
                    let taken = match options {
                        Some(_) => Taken::Option(u64::try_from(domain.rank(&value)).expect("listed")),
                        None => Taken::Value(value.clone()),
                    };
                    steps.push(Step { slot, list, history: 1, options, taken });
                }
            }
            value
        });
        (steps, alone)
    }

    /// Descends by UCT and gives the candidate at the end. `noise`: the chance of a random move, for when the best is known.
    fn descend(&self, known: &Known, noise: f64, rng: &mut Rng) -> Assignment {
        let mut node = Some(0);
        known.space.walk(&mut |decision| {
            let question = (decision.slot, known.space.list_number(decision));
            match self.is_halved(decision.domain) {
                true => self.halve(decision.domain, question, &mut node, noise, rng),
                false => self.list(decision.domain, question, &mut node, noise, rng),
            }
        })
    }

    fn halve(&self, domain: &Domain, question: (Slot, u32), node: &mut Option<usize>, noise: f64, rng: &mut Rng) -> Value {
        let mut left = Halves::new(domain);
        while let Some(middle) = left.middle() {
            let half = self.select(question, left.history, 2, *node, noise, rng);
            *node = node.and_then(|node| self.child(node, &Taken::Option(half)));
            left.take(middle, half);
        }
        left.draw(domain, rng)
    }

    fn list(&self, domain: &Domain, question: (Slot, u32), node: &mut Option<usize>, noise: f64, rng: &mut Rng) -> Value {
        let Some(options) = listed(domain) else { return self.widen(domain, node, rng) };
        let taken = self.select(question, 1, options, *node, noise, rng);
        *node = node.and_then(|node| self.child(node, &Taken::Option(taken)));
        domain.unrank(taken.into())
    }

    /// One of the values tried at this node, or a new one while they are few for its visits.
    fn widen(&self, domain: &Domain, node: &mut Option<usize>, rng: &mut Rng) -> Value {
        let here = node.map(|node| &self.nodes[node]);
        let wanted = here.map_or(0.0, |here| libm::sqrt(here.stats.visits).ceil());
        match here {
            Some(here) if here.children.len() as f64 >= wanted && !here.children.is_empty() => {
                let value = |child: usize| {
                    let stats = self.nodes[child].stats;
                    uct(stats.mean(self.low, self.high), stats.visits, here.stats.visits, self.exploration)
                };
                let best = here.children.iter().filter(|(_, child)| !self.nodes[*child].done);
                let best = best.max_by(|a, b| value(a.1).total_cmp(&value(b.1)));
                match best {
                    Some((Taken::Value(drawn), child)) => {
                        *node = Some(*child);
                        drawn.clone()
                    }
                    _ => {
                        *node = None;
                        draw(domain, rng)
                    }
                }
            }
            _ => {
                *node = None;
                draw(domain, rng)
            }
        }
    }

    fn child(&self, node: usize, taken: &Taken) -> Option<usize> {
        self.nodes[node].children.iter().find(|(other, _)| other == taken).map(|(_, child)| *child)
    }

    /// The option with the largest bound, the first ones tried in random order.
    fn select(
        &self,
        (slot, list): (Slot, u32),
        history: u64,
        options: u64,
        node: Option<usize>,
        noise: f64,
        rng: &mut Rng,
    ) -> u64 {
        let mut open: Vec<u64> = (0..options)
            .filter(|option| {
                let child = node.and_then(|node| self.child(node, &Taken::Option(*option)));
                child.is_none_or(|child| !self.nodes[child].done)
            })
            .collect();
        if open.is_empty() {
            open = (0..options).collect();
        }
        let alone = node.is_none() && !self.bisect;
        if alone || rng.chance(noise) {
            return open[rng.below(open.len())];
        }
        let stats = open.iter().map(|option| self.known_of((slot, list, history, *option), node, *option));
        let stats: Vec<(f64, f64)> = stats.collect();
        let bounds: Vec<f64> = match node {
            // No visit of this node: a draw of each mean, as far as it is known.
            None => stats.iter().map(|(visits, mean)| believed(*visits, *mean, rng)).collect(),
            Some(_) => {
                let total: f64 = stats.iter().map(|(visits, _)| visits).sum();
                stats.iter().map(|(visits, mean)| uct(*mean, *visits, total, self.exploration)).collect()
            }
        };
        let best = bounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let ties: Vec<u64> = open.iter().zip(&bounds).filter(|(_, bound)| **bound == best).map(|(o, _)| *o).collect();
        ties[rng.below(ties.len())]
    }

    /// Visits and mean of an option: of the node, mixed with those of the decision where they are shared.
    fn known_of(&self, key: StepKey, node: Option<usize>, option: u64) -> (f64, f64) {
        let own = node.and_then(|node| self.child(node, &Taken::Option(option)));
        let own = own.map_or(Stats::default(), |child| self.nodes[child].stats);
        if !self.bisect {
            return (own.visits, own.mean(self.low, self.high));
        }
        let all = self.shared.get(&key).copied().unwrap_or_default();
        if all.told == 0.0 {
            return (own.visits.max(all.visits), own.mean(self.low, self.high));
        }
        let trust = own.told / (own.told + TRUST);
        let mean = trust * own.mean(self.low, self.high) + (1.0 - trust) * all.mean(self.low, self.high);
        (trust * own.visits + (1.0 - trust) * all.visits, mean)
    }

    /// Counts the visit along the path, and lets the tree grow by one node. `alone`: the path leads to one candidate.
    fn visit(&mut self, steps: &[Step], alone: bool) {
        let (mut node, mut trail) = (0, vec![0]);
        let mut inside = true;
        self.nodes[0].stats.visits += 1.0;
        for step in steps {
            if let Taken::Option(option) = step.taken
                && self.bisect
            {
                self.shared.entry((step.slot, step.list, step.history, option)).or_default().visits += 1.0;
            }
            if !inside {
                continue;
            }
            node = match self.child(node, &step.taken) {
                Some(child) => child,
                None => {
                    inside = false;
                    let child = self.nodes.len();
                    self.nodes.push(TreeNode::default());
                    self.nodes[node].children.push((step.taken.clone(), child));
                    child
                }
            };
            self.nodes[node].stats.visits += 1.0;
            trail.push(node);
        }
        // A path that lies in the tree to its end is used up, and so is a node all of whose options are.
        if alone && trail.len() == steps.len() + 1 {
            self.nodes[node].done = true;
            for (step, node) in steps.iter().zip(&trail).rev() {
                let children = &self.nodes[*node].children;
                let all = step.options.is_some_and(|options| children.len() as u64 == options);
                if !all || children.iter().any(|(_, child)| !self.nodes[*child].done) {
                    break;
                }
                self.nodes[*node].done = true;
            }
        }
    }
}

/// The number of values where they are few enough to be listed.
fn listed(domain: &Domain) -> Option<u64> {
    domain.small_count().filter(|count| *count <= LISTED || matches!(domain, Domain::Members { .. }))
}

impl Mcts {
    /// What a score counts: the part of the trials it is at least as good as, raised.
    fn place(&self, score: f64) -> f64 {
        let below = self.places.partition_point(|other| *other < score);
        libm::pow((below as f64 + 0.5) / self.places.len() as f64, STEEP)
    }

    fn count(&mut self, known: &Known, trial: &Trial, score: Option<f64>) {
        let mut node = Some(0);
        self.nodes[0].stats.tell(score);
        for step in self.steps(known, &trial.assignment).0 {
            if let Taken::Option(option) = step.taken
                && self.bisect
            {
                self.shared.entry((step.slot, step.list, step.history, option)).or_default().tell(score);
            }
            node = node.and_then(|node| self.child(node, &step.taken));
            if let Some(node) = node {
                self.nodes[node].stats.tell(score);
            }
        }
    }
}

impl Searcher for Mcts {
    fn propose(&mut self, known: &Known) -> Proposal {
        let mut rng = self.rng.clone();
        let mut tries = 0;
        let proposal = known.fresh(&mut rng, |rng| {
            tries += 1;
            self.descend(known, f64::from(tries - 1) * 0.05, rng)
        });
        self.rng = rng;
        if let Proposal::Try { assignment, .. } = &proposal {
            let (steps, alone) = self.steps(known, assignment);
            self.visit(&steps, alone);
        }
        proposal
    }

    fn tell(&mut self, known: &Known, trial: &Trial) {
        if !self.bisect {
            if let Some(score) = trial.score() {
                (self.low, self.high) = (self.low.min(score), self.high.max(score));
            }
            return self.count(known, trial, trial.score());
        }
        (self.low, self.high) = (0.0, 1.0);
        if let Some(score) = trial.score() {
            let place = self.places.partition_point(|other| *other < score);
            self.places.insert(place, score);
        }
        // Places shift as trials come in; now and then all are counted anew.
        let told = known.trials.len() + 1;
        if told > self.counted + self.counted / 8 {
            self.counted = told;
            self.shared.values_mut().for_each(Stats::forget);
            self.nodes.iter_mut().for_each(|node| node.stats.forget());
            for trial in known.trials {
                self.count(known, trial, trial.score().map(|score| self.place(score)));
            }
        }
        self.count(known, trial, trial.score().map(|score| self.place(score)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceBuilder;

    fn integers(n: i64, log: bool) -> Domain {
        Domain::Int { low: 1, high: n, log }
    }

    /// The halves that lead to a rank.
    fn bisection(rank: u64, domain: &Domain) -> Vec<u64> {
        let (mut left, mut path) = (Halves::new(domain), vec![]);
        while let Some(middle) = left.middle() {
            let half = u64::from(rank >= middle);
            left.take(middle, half);
            path.push(half);
        }
        assert!(left.is_value(domain) && left.low == rank, "{left:?}");
        path
    }

    #[test]
    fn every_integer_of_a_logarithmic_range_has_a_path_of_its_own() {
        let domain = integers(100, true);
        let paths: std::collections::BTreeSet<Vec<u64>> = (0..100).map(|i| bisection(i, &domain)).collect();
        assert_eq!(paths.len(), 100);
        // 1 to 9, then 10 to 100; small integers need few halvings.
        assert_eq!((bisection(8, &domain)[0], bisection(9, &domain)[0]), (0, 1));
        assert!(bisection(0, &domain).len() < bisection(99, &domain).len());
    }

    #[test]
    fn a_cell_of_a_real_range_is_looked_into_again() {
        let mut b = SpaceBuilder::new();
        let x = b.decide("x", Domain::Real { low: 0.0, high: 1.0, log: false }, None);
        let space = b.finish(x).unwrap();
        let goals = [crate::Goal { metric: "g".into(), maximize: true }];
        let algorithm = crate::engine::algorithm("mcts");
        let mut engine = crate::engine::Engine::new(&space, &algorithm, &goals, 1, 1).unwrap();
        let mut near = 0;
        for _ in 0..64 {
            let crate::engine::Next::Try(job) = engine.next(&mut |_| Ok(())) else { panic!() };
            let (_, Value::Real(x)) = &job.assignment.entries()[0] else { panic!() };
            near += u32::from((x - 0.3).abs() < 0.05);
            engine.tell(job.number, Some(vec![-(x - 0.3).abs()]));
        }
        // Evenly, six or seven of them would be.
        assert!(near > 20, "{near}");
    }

    #[test]
    fn bisection_and_bounds_are_those_of_the_reference() {
        let paths: Vec<Vec<u64>> = (0..6).map(|i| bisection(i, &integers(6, false))).collect();
        let expected: [&[u64]; 6] = [&[0, 0], &[0, 1, 0], &[0, 1, 1], &[1, 0], &[1, 1, 0], &[1, 1, 1]];
        assert_eq!(paths, expected);
        assert_eq!((0..32).map(|i| bisection(i, &integers(32, false)).len()).max(), Some(5));
        assert_eq!(uct(0.0, 0.0, 10.0, 1.0), f64::INFINITY);
        // sum_r = 3, n = 4, N = 10, c = 0.5.
        assert!((uct(0.75, 4.0, 10.0, 0.5) - 1.286491506572).abs() < 1e-9);
    }
}
