//! CMA-ES over the active reals: the (mu/mu_w, lambda) evolution strategy with covariance matrix adaptation of Hansen's tutorial
//! (arXiv 1604.00772), in the unit cube of the coordinates of reals, integers on which nothing depends, and simplices.
//!
//! All other decisions are the *skeleton*, which stays while one run lasts. A run ends when its distribution has collapsed or
//! gone flat, or, if the space has other skeletons, when it did not improve for [`PATIENCE`] generations; the next run has a
//! mutant of the best skeleton or a random one, and starts at the best known values of the decisions they share. Without
//! other skeletons a restart doubles the population (IPOP, Auger and Hansen 2005).
//!
//! With more than [`FULL`] coordinates only the diagonal of the covariance is adapted (Ros and Hansen 2008), which costs O(n).

use crate::encode::{decode, draw, encode, width};
use crate::rng::Rng;
use crate::searcher::{Known, Proposal, Searcher, Trial};
use crate::space::{Assignment, Decision, Domain, Space};
use crate::vary::{BySlot, mutate};

/// Generations without improvement after which a run gives way to another skeleton.
const PATIENCE: usize = 2;
/// Random proposals before the first run, where there are skeletons to choose from.
const STARTUP: usize = 12;
/// Candidates ruled out in a row after which a run is given up.
const HOPELESS: usize = 20;
/// Coordinates up to which covariances are adapted.
const FULL: usize = 64;

#[derive(Debug)]
pub struct CmaEs {
    rng: Rng,
    sigma: f64,
    population: Option<usize>,
    run: Option<Run>,
    best: Option<(Assignment, f64)>,
    restarts: u32,
}

/// One run: a skeleton and a distribution over its coordinates.
#[derive(Debug)]
struct Run {
    skeleton: Assignment,
    strategy: Strategy,
    asked: Vec<(Assignment, Vec<f64>)>,
    told: Vec<(Vec<f64>, f64)>,
    /// Of the current generation; asked and told since it began.
    begun: usize,
    best: f64,
    stale: usize,
    /// Candidates ruled out one after the other.
    ruled_out: usize,
}

/// Is the decision one of the coordinates?
fn is_coordinate(decision: &Decision) -> bool {
    let domain = decision.domain;
    domain.reals() > 0 || !decision.structural && matches!(domain, Domain::Int { .. })
}

/// The coordinates of an assignment, for the decisions that are coordinates.
fn coordinates(space: &Space, assignment: &Assignment) -> Vec<f64> {
    let given = BySlot::new(space, assignment);
    let mut point = vec![];
    space.walk(&mut |decision| {
        let value = given.get(decision).unwrap_or_else(|| decision.domain.middle());
        if is_coordinate(decision) {
            point.extend(encode(decision.domain, &value));
        }
        value
    });
    point
}

/// The skeleton with other coordinates.
fn place(space: &Space, skeleton: &Assignment, point: &[f64]) -> Assignment {
    let given = BySlot::new(space, skeleton);
    let mut next = 0;
    space.walk(&mut |decision| {
        if is_coordinate(decision) {
            let start = next;
            next += width(decision.domain);
            return decode(decision.domain, &point[start..next]);
        }
        given.get(decision).unwrap_or_else(|| decision.domain.middle())
    })
}

impl CmaEs {
    /// `sigma`: the first step size, as a part of each range. `population`: lambda, `4 + 3 ln n` if not given.
    pub fn new(sigma: f64, population: Option<usize>, seed: u64) -> CmaEs {
        CmaEs { rng: Rng::new(seed, "cmaes"), sigma, population, run: None, best: None, restarts: 0 }
    }

    /// A skeleton for the next run, with values to start from.
    fn next_skeleton(&mut self, known: &Known) -> (Assignment, bool) {
        let rng = &mut self.rng;
        let Some((best, _)) = &self.best else {
            let first = known.trials.iter().rev().find(|trial| trial.scores.is_some()).map(|trial| trial.assignment.clone());
            return (first.or_else(|| known.space.defaults()).unwrap_or_else(|| known.space.sample(rng)), true);
        };
        let values = BySlot::new(known.space, best);
        if rng.chance(0.5) {
            for _ in 0..20 {
                let mutant = BySlot::new(known.space, &mutate(known.space, best, false, rng));
                let mut other = false;
                let kept = known.space.walk(&mut |decision| {
                    let new = mutant.get(decision);
                    let old = values.get(decision);
                    other |= !is_coordinate(decision) && new != old;
                    let from = if is_coordinate(decision) { old.or(new) } else { new };
                    from.unwrap_or_else(|| decision.domain.middle())
                });
                if other {
                    return (kept, false);
                }
            }
        }
        let fresh = known.space.walk(&mut |decision| match values.get(decision) {
            Some(value) if is_coordinate(decision) => value,
            _ => draw(decision.domain, rng),
        });
        (fresh, false)
    }

    fn start(&mut self, known: &Known) {
        let single = *known.space.count() == 1u32.into() || !has_skeleton(known.space);
        let (skeleton, first) = self.next_skeleton(known);
        let mut mean = coordinates(known.space, &skeleton);
        if single && !first {
            mean.iter_mut().for_each(|x| *x = self.rng.unit());
        } else if single && known.trials.is_empty() {
            // Nothing is known: the middle of the cube.
            mean.fill(0.5);
        }
        let grown = if single { self.restarts.min(6) } else { 0 };
        let lambda = self.population.unwrap_or(4 + (3.0 * libm::log(mean.len().max(1) as f64)) as usize) << grown;
        let strategy = Strategy::new(mean, self.sigma, lambda.max(2));
        self.restarts += 1;
        let best = f64::NEG_INFINITY;
        self.run = Some(Run { skeleton, strategy, asked: vec![], told: vec![], begun: 0, best, stale: 0, ruled_out: 0 });
    }
}

/// Has the space decisions that are no coordinates?
fn has_skeleton(space: &Space) -> bool {
    let mut any = false;
    space.walk(&mut |decision| {
        any |= !is_coordinate(decision);
        decision.domain.middle()
    });
    any
}

impl Searcher for CmaEs {
    fn propose(&mut self, known: &Known) -> Proposal {
        if let Some(start) = known.start {
            return Proposal::plain(start.clone());
        }
        if known.seen.exhausted() {
            return Proposal::Done;
        }
        if known.seen.len() < STARTUP && has_skeleton(known.space) {
            return known.fresh(&mut self.rng, |rng| known.space.sample(rng));
        }
        if self.run.is_none() {
            self.start(known);
        }
        let run = self.run.as_mut().expect("started");
        if run.begun >= run.strategy.lambda && !run.asked.is_empty() {
            return Proposal::Wait;
        }
        let mut point = run.strategy.ask(&mut self.rng);
        let mut candidate = place(known.space, &run.skeleton, &point);
        for _ in 0..20 {
            if !known.seen.contains(&candidate) {
                break;
            }
            point = run.strategy.ask(&mut self.rng);
            candidate = place(known.space, &run.skeleton, &point);
        }
        run.begun += 1;
        if known.seen.contains(&candidate) {
            // Nothing new here (integers only, or no coordinate at all): another skeleton.
            if run.asked.is_empty() {
                self.run = None;
            }
            return known.fresh(&mut self.rng, |rng| known.space.sample(rng));
        }
        run.asked.push((candidate.clone(), point));
        Proposal::plain(candidate)
    }

    fn tell(&mut self, known: &Known, trial: &Trial) {
        let score = trial.score();
        if let Some(score) = score
            && self.best.as_ref().is_none_or(|(_, best)| score > *best)
        {
            self.best = Some((trial.assignment.clone(), score));
        }
        let Some(run) = &mut self.run else { return };
        let Some(at) = run.asked.iter().position(|(asked, _)| *asked == trial.assignment) else { return };
        let (_, point) = run.asked.remove(at);
        if trial.feasible {
            run.told.push((point, score.unwrap_or(f64::NEG_INFINITY)));
            run.ruled_out = 0;
        } else {
            // Drawn again, as Hansen advises for constraints; but not for ever, for the skeleton itself may break one.
            run.begun -= 1;
            run.ruled_out += 1;
            if run.ruled_out >= HOPELESS {
                self.run = None;
                return;
            }
        }
        if run.told.len() < run.strategy.lambda {
            return;
        }
        let mut told = std::mem::take(&mut run.told);
        run.begun = 0;
        told.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (best, worst) = (told[0].1, told[told.len() - 1].1);
        run.stale = if best > run.best { 0 } else { run.stale + 1 };
        run.best = run.best.max(best);
        run.strategy.tell(&told.into_iter().map(|(point, _)| point).collect::<Vec<_>>());
        let others = has_skeleton(known.space);
        let patience = if others { PATIENCE } else { 10 + 30 * run.strategy.n / run.strategy.lambda };
        if run.strategy.collapsed() || best == worst || run.stale >= patience {
            self.run = None;
        }
    }
}

/// The strategy itself; larger is better is the caller's business.
#[derive(Debug)]
pub struct Strategy {
    n: usize,
    pub lambda: usize,
    weights: Vec<f64>,
    mu_eff: f64,
    c_sigma: f64,
    d_sigma: f64,
    c_c: f64,
    c_1: f64,
    c_mu: f64,
    chi_n: f64,
    mean: Vec<f64>,
    sigma: f64,
    path_sigma: Vec<f64>,
    path_c: Vec<f64>,
    /// Row by row; only the diagonal is used beyond [`FULL`] coordinates.
    c: Vec<f64>,
    /// Eigenvectors as columns, and square roots of eigenvalues.
    b: Vec<f64>,
    d: Vec<f64>,
    full: bool,
    generation: usize,
    decomposed: usize,
}

impl Strategy {
    pub fn new(mean: Vec<f64>, sigma: f64, lambda: usize) -> Strategy {
        let n = mean.len();
        let nf = n.max(1) as f64;
        // Weights by rank; those of the worse half are negative (active CMA, eq. 49 to 53).
        let raw: Vec<f64> = (1..=lambda).map(|i| libm::log((lambda as f64 + 1.0) / 2.0) - libm::log(i as f64)).collect();
        let (better, worse): (Vec<f64>, Vec<f64>) = raw.iter().partition(|w| **w > 0.0);
        let sum = |weights: &[f64]| weights.iter().map(|w| w.abs()).sum::<f64>();
        let squares = |weights: &[f64]| weights.iter().map(|w| w * w).sum::<f64>();
        let mu_eff = sum(&better) * sum(&better) / squares(&better);
        let mu_eff_worse = sum(&worse) * sum(&worse) / squares(&worse).max(1e-300);
        let c_sigma = (mu_eff + 2.0) / (nf + mu_eff + 5.0);
        let d_sigma = 1.0 + 2.0 * f64::max(0.0, libm::sqrt((mu_eff - 1.0) / (nf + 1.0)) - 1.0) + c_sigma;
        let c_c = (4.0 + mu_eff / nf) / (nf + 4.0 + 2.0 * mu_eff / nf);
        let full = n <= FULL;
        // The diagonal alone has fewer numbers to learn and may learn faster (Ros and Hansen, eq. 5).
        let faster = if full { 1.0 } else { (nf + 2.0) / 3.0 };
        let c_1 = (2.0 / ((nf + 1.3) * (nf + 1.3) + mu_eff) * faster).min(0.5);
        let c_mu = 2.0 * (0.25 + mu_eff + 1.0 / mu_eff - 2.0) / ((nf + 2.0) * (nf + 2.0) + mu_eff) * faster;
        let c_mu = c_mu.min(1.0 - c_1);
        let bounds = [1.0 + c_1 / c_mu, 1.0 + 2.0 * mu_eff_worse / (mu_eff + 2.0), (1.0 - c_1 - c_mu) / (nf * c_mu)];
        let most = bounds.into_iter().fold(f64::INFINITY, f64::min) / sum(&worse).max(1e-300);
        let weights = raw.iter().map(|w| if *w > 0.0 { w / sum(&better) } else { w * most }).collect();
        let size = if full { n * n } else { n };
        let mut c = vec![0.0; size];
        for i in 0..n {
            c[if full { i * n + i } else { i }] = 1.0;
        }
        Strategy {
            n,
            lambda,
            weights,
            mu_eff,
            c_sigma,
            d_sigma,
            c_c,
            c_1,
            c_mu,
            chi_n: libm::sqrt(nf) * (1.0 - 1.0 / (4.0 * nf) + 1.0 / (21.0 * nf * nf)),
            mean,
            sigma,
            path_sigma: vec![0.0; n],
            path_c: vec![0.0; n],
            b: if full { c.clone() } else { vec![] },
            c,
            d: vec![1.0; n],
            full,
            generation: 0,
            decomposed: 0,
        }
    }

    /// `B D z`.
    fn stretch(&self, z: &[f64]) -> Vec<f64> {
        if !self.full {
            return z.iter().zip(&self.d).map(|(z, d)| z * d).collect();
        }
        let scaled: Vec<f64> = z.iter().zip(&self.d).map(|(z, d)| z * d).collect();
        (0..self.n).map(|i| (0..self.n).map(|j| self.b[i * self.n + j] * scaled[j]).sum()).collect()
    }

    /// `C^-1/2 y = B D^-1 B' y`.
    fn whiten(&self, y: &[f64]) -> Vec<f64> {
        let n = self.n;
        if !self.full {
            return y.iter().zip(&self.d).map(|(y, d)| y / d).collect();
        }
        let turned: Vec<f64> = (0..n).map(|j| (0..n).map(|i| self.b[i * n + j] * y[i]).sum::<f64>() / self.d[j]).collect();
        (0..n).map(|i| (0..n).map(|j| self.b[i * n + j] * turned[j]).sum()).collect()
    }

    /// A point of the cube: drawn again while it falls outside, and put on the border if it keeps doing so.
    pub fn ask(&self, rng: &mut Rng) -> Vec<f64> {
        let mut point = vec![];
        for _ in 0..10 {
            let z: Vec<f64> = (0..self.n).map(|_| rng.normal()).collect();
            point = self.mean.iter().zip(self.stretch(&z)).map(|(m, y)| m + self.sigma * y).collect();
            if point.iter().all(|x| (0.0..=1.0).contains(x)) {
                return point;
            }
        }
        point.into_iter().map(|x: f64| x.clamp(0.0, 1.0)).collect()
    }

    /// The points of a generation, best first.
    pub fn tell(&mut self, points: &[Vec<f64>]) {
        let n = self.n;
        if n == 0 {
            return;
        }
        self.generation += 1;
        let steps: Vec<Vec<f64>> =
            points.iter().map(|point| point.iter().zip(&self.mean).map(|(x, m)| (x - m) / self.sigma).collect()).collect();
        let mean_step: Vec<f64> =
            (0..n).map(|i| steps.iter().zip(&self.weights).map(|(step, w)| w.max(0.0) * step[i]).sum()).collect();
        self.mean.iter_mut().zip(&mean_step).for_each(|(m, y)| *m += self.sigma * y);

        let white = self.whiten(&mean_step);
        let keep = 1.0 - self.c_sigma;
        let gain = libm::sqrt(self.c_sigma * (2.0 - self.c_sigma) * self.mu_eff);
        self.path_sigma.iter_mut().zip(&white).for_each(|(p, w)| *p = keep * *p + gain * w);
        let length = libm::sqrt(self.path_sigma.iter().map(|p| p * p).sum());
        let settled = libm::sqrt(1.0 - libm::pow(keep, 2.0 * self.generation as f64));
        let moving = length / settled < (1.4 + 2.0 / (n as f64 + 1.0)) * self.chi_n;
        let gain = libm::sqrt(self.c_c * (2.0 - self.c_c) * self.mu_eff) * f64::from(u8::from(moving));
        self.path_c.iter_mut().zip(&mean_step).for_each(|(p, y)| *p = (1.0 - self.c_c) * *p + gain * y);

        let lost = if moving { 0.0 } else { self.c_1 * self.c_c * (2.0 - self.c_c) };
        let keep = 1.0 - self.c_1 - self.c_mu * self.weights.iter().sum::<f64>() + lost;
        // A bad step counts by its direction alone, which keeps the matrix positive definite.
        let weights: Vec<f64> = steps
            .iter()
            .zip(&self.weights)
            .map(|(step, w)| {
                let length = self.whiten(step).iter().map(|x| x * x).sum::<f64>();
                if *w < 0.0 { w * n as f64 / length.max(1e-20) } else { *w }
            })
            .collect();
        let entries = if self.full { n * n } else { n };
        for entry in 0..entries {
            let (i, j) = if self.full { (entry / n, entry % n) } else { (entry, entry) };
            let rank_mu: f64 = steps.iter().zip(&weights).map(|(step, w)| w * step[i] * step[j]).sum();
            self.c[entry] = keep * self.c[entry] + self.c_1 * self.path_c[i] * self.path_c[j] + self.c_mu * rank_mu;
        }
        self.sigma *= libm::exp((self.c_sigma / self.d_sigma * (length / self.chi_n - 1.0)).min(1.0));
        self.sigma = self.sigma.min(1.0);
        self.decompose();
    }

    fn decompose(&mut self) {
        if !self.full {
            self.d.iter_mut().zip(&self.c).for_each(|(d, c)| *d = libm::sqrt(c.max(1e-20)));
            return;
        }
        // As often as keeps its cost below that of sampling.
        let every = (1.0 / (self.c_1 + self.c_mu) / self.n as f64 / 10.0).max(1.0) as usize;
        if self.generation < self.decomposed + every {
            return;
        }
        self.decomposed = self.generation;
        let (values, vectors) = eigen(&self.c, self.n);
        self.b = vectors;
        self.d = values.iter().map(|value| libm::sqrt(value.max(1e-20))).collect();
    }

    /// Too small a step, or too long a distribution, to find anything new.
    fn collapsed(&self) -> bool {
        let (low, high) = self.d.iter().fold((f64::INFINITY, 0.0), |(l, h): (f64, f64), d| (l.min(*d), h.max(*d)));
        self.n > 0 && (self.sigma * high < 1e-9 || high / low > 1e7 || !self.sigma.is_finite())
    }
}

/// Eigenvalues and eigenvectors (as columns) of a symmetric matrix, by cyclic Jacobi rotations: the same bits on every machine,
/// which a blocked or vectorised routine does not promise.
fn eigen(matrix: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = matrix.to_vec();
    let mut v = vec![0.0; n * n];
    (0..n).for_each(|i| v[i * n + i] = 1.0);
    for _ in 0..60 {
        let off: f64 = (0..n * n).filter(|e| e / n != e % n).map(|e| a[e] * a[e]).sum();
        let all: f64 = a.iter().map(|x| x * x).sum();
        if off <= 1e-26 * all {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[p * n + q] == 0.0 {
                    continue;
                }
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * a[p * n + q]);
                let t = theta.signum() / (theta.abs() + libm::sqrt(theta * theta + 1.0));
                let t = if theta == 0.0 { 1.0 } else { t };
                let c = 1.0 / libm::sqrt(t * t + 1.0);
                let s = t * c;
                for k in 0..n {
                    let (x, y) = (a[k * n + p], a[k * n + q]);
                    (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
                }
                for k in 0..n {
                    let (x, y) = (a[p * n + k], a[q * n + k]);
                    (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y);
                    let (x, y) = (v[k * n + p], v[k * n + q]);
                    (v[k * n + p], v[k * n + q]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvectors_rebuild_the_matrix() {
        let n = 7;
        let mut rng = Rng::new(1, "eigen");
        let half: Vec<f64> = (0..n * n).map(|_| rng.normal()).collect();
        let matrix: Vec<f64> = (0..n * n).map(|e| (0..n).map(|k| half[e / n * n + k] * half[e % n * n + k]).sum()).collect();
        let (values, v) = eigen(&matrix, n);
        for (e, entry) in matrix.iter().enumerate() {
            let (i, j) = (e / n, e % n);
            let rebuilt: f64 = (0..n).map(|k| v[i * n + k] * values[k] * v[j * n + k]).sum();
            assert!((rebuilt - entry).abs() < 1e-10);
        }
    }

    /// As quick as `cma` 4.5 from PyPI, whose evaluations to 1e-8 `tests/peers/search.py` prints (median of 5 seeds).
    #[test]
    fn it_needs_as_many_evaluations_as_the_reference() {
        type Function = fn(&[f64]) -> f64;
        let sphere: Function = |x| x.iter().map(|x| (x - 0.3) * (x - 0.3)).sum();
        let ellipsoid: Function =
            |x| x.iter().enumerate().map(|(i, x)| libm::pow(1e4, i as f64 / 9.0) * (x - 0.6) * (x - 0.6)).sum();
        let rosenbrock: Function = |x| {
            let y: Vec<f64> = x.iter().map(|x| 4.0 * x - 2.0).collect();
            y.windows(2).map(|p| 100.0 * (p[1] - p[0] * p[0]).powi(2) + (1.0 - p[0]).powi(2)).sum()
        };
        for (name, f, reference) in [("sphere", sphere, 1181), ("ellipsoid", ellipsoid, 2461), ("rosenbrock", rosenbrock, 5131)] {
            let mut needed: Vec<usize> = (0..5)
                .map(|seed| {
                    let mut rng = Rng::new(seed, "cmaes test");
                    let mut strategy = Strategy::new(vec![0.5; 10], 0.2, 10);
                    for generation in 1..2000 {
                        let mut points: Vec<Vec<f64>> = (0..10).map(|_| strategy.ask(&mut rng)).collect();
                        points.sort_by(|a, b| f(a).total_cmp(&f(b)));
                        if f(&points[0]) < 1e-8 {
                            return 10 * generation;
                        }
                        strategy.tell(&points);
                    }
                    20_000
                })
                .collect();
            needed.sort_unstable();
            println!("{name}: {needed:?}, reference {reference}");
            assert!(needed[2] * 10 <= reference * 12, "{name}: {needed:?}, reference {reference}");
        }
    }
}
