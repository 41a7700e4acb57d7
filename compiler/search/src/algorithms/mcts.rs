//! Monte Carlo tree search with UCT (Kocsis and Szepesvári 2006) as DeepArchitect uses it (arXiv 1704.08792), and its
//! variant with bisection of ordered domains, here with statistics shared by decision.
//!
//! A candidate is a path of steps from the root. In the plain tree a step is the answer to one decision; a domain too large to
//! list gets new children as its node is visited (progressive widening). With bisection an ordered domain of n values is
//! `ceil(log2 n)` steps, each taking one half, so that neighbours share what is learnt of them; a real range is halved
//! [`HALVINGS`] times and drawn from what is left. With sharing, the statistics of a step are kept under the decision's path
//! as well, for all nodes in which it is asked (all moves as first, Gelly and Silver 2007), and weigh more where the node itself
//! has few visits: a tree of 10^60 leaves is never visited twice below its top, but its decisions are. Below the tree they
//! also guide the rollout, which takes the best of random draws from what is believed of each option's mean (Thompson 1933): bounds
//! would move all decisions in step, and never find out which of them made a trial good.
//!
//! In the plain tree scores are mapped to `[0, 1]` by the smallest and largest so far. Shared statistics are those of few trials
//! that differ in everything, where one very bad score would hide all differences; there a trial counts by its place among all
//! trials, the better half steeply more ([`STEEP`]). A failed trial counts as the worst.

use crate::encode::draw;
use crate::rng::Rng;
use crate::searcher::{Known, Proposal, Searcher, Trial};
use crate::space::{Assignment, Domain, Slot, Value};
use rustc_hash::FxHashMap;

/// Times a real range is halved: 64 cells.
const HALVINGS: u32 = 6;
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

/// The halves that lead to an index among `n`: 0 is `[l, mid)`, 1 is `[mid, r)` with `mid = (l + r) / 2`.
pub fn bisection(index: u64, n: u64) -> Vec<u64> {
    let (mut low, mut high, mut path) = (0, n, vec![]);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        path.push(u64::from(index >= middle));
        if index < middle {
            high = middle;
        } else {
            low = middle;
        }
    }
    path
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

    /// The number of equal cells a domain is halved into; none where it is not halved.
    fn cells(&self, domain: &Domain) -> Option<u64> {
        let halved = self.bisect && domain.is_ordered() && domain.only().is_none();
        halved.then(|| domain.small_count().unwrap_or(1 << HALVINGS).min(1 << 20))
    }

    /// The moves that lead to a candidate.
    fn steps(&self, known: &Known, assignment: &Assignment) -> Vec<Step> {
        let mut steps = vec![];
        let given = crate::vary::BySlot::new(known.space, assignment);
        known.space.walk(&mut |decision| {
            let (slot, domain, list) = (decision.slot, decision.domain, known.space.list_number(decision));
            let value = given.get(decision).unwrap_or_else(|| domain.middle());
            match self.cells(domain) {
                Some(cells) => {
                    let mut history = 1;
                    for half in bisection(cell(domain, &value, cells), cells) {
                        steps.push(Step { slot, list, history, options: Some(2), taken: Taken::Option(half) });
                        history = history * 2 + half;
                    }
                }
                None => {
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
        steps
    }

    /// Descends by UCT and gives the candidate at the end. `noise`: the chance of a random move, for when the best is known.
    fn descend(&self, known: &Known, noise: f64, rng: &mut Rng) -> Assignment {
        let mut node = Some(0);
        known.space.walk(&mut |decision| {
            let question = (decision.slot, known.space.list_number(decision));
            match self.cells(decision.domain) {
                Some(cells) => self.halve(decision.domain, question, cells, &mut node, noise, rng),
                None => self.list(decision.domain, question, &mut node, noise, rng),
            }
        })
    }

    fn halve(
        &self,
        domain: &Domain,
        question: (Slot, u32),
        cells: u64,
        node: &mut Option<usize>,
        noise: f64,
        rng: &mut Rng,
    ) -> Value {
        let (mut low, mut high, mut history) = (0, cells, 1);
        while high - low > 1 {
            let half = self.select(question, history, 2, *node, noise, rng);
            *node = node.and_then(|node| self.child(node, &Taken::Option(half)));
            history = history * 2 + half;
            let middle = low + (high - low) / 2;
            if half == 0 {
                high = middle;
            } else {
                low = middle;
            }
        }
        let within = if domain.small_count() == Some(cells) { 0.5 } else { rng.unit() };
        domain.at((low as f64 + within) / cells as f64).expect("an ordered domain is a line")
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

    /// Counts the visit along the path, and lets the tree grow by one node.
    fn visit(&mut self, steps: &[Step]) {
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
        if trail.len() == steps.len() + 1 {
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

fn cell(domain: &Domain, value: &Value, cells: u64) -> u64 {
    let there = (domain.position(value).unwrap_or(0.5).clamp(0.0, 1.0) * cells as f64) as u64;
    there.min(cells - 1)
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
        for step in self.steps(known, &trial.assignment) {
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
            let steps = self.steps(known, assignment);
            self.visit(&steps);
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

    #[test]
    fn bisection_and_bounds_are_those_of_the_reference() {
        let paths: Vec<Vec<u64>> = (0..6).map(|i| bisection(i, 6)).collect();
        let expected: [&[u64]; 6] = [&[0, 0], &[0, 1, 0], &[0, 1, 1], &[1, 0], &[1, 1, 0], &[1, 1, 1]];
        assert_eq!(paths, expected);
        assert_eq!((0..32).map(|i| bisection(i, 32).len()).max(), Some(5));
        assert_eq!(uct(0.0, 0.0, 10.0, 1.0), f64::INFINITY);
        // sum_r = 3, n = 4, N = 10, c = 0.5.
        assert!((uct(0.75, 4.0, 10.0, 0.5) - 1.286491506572).abs() < 1e-9);
    }
}
