//! Parzen estimators: what trials say about where good values lie, as a mixture of kernels, one for each trial and one that is the prior.
//!
//! A kernel is a density over whole candidates, the product of one factor for each decision, so that a mixture of them knows which
//! answers go together. A decision that a trial did not meet says nothing against a candidate that meets it: there the trial's factor is
//! the mixture of those that did.

use crate::encode::{decode, encode, width};
use crate::rng::Rng;
use crate::space::{Domain, Value};

/// The standard deviation of a kernel of one observation, as a part of the range.
const WIDTH: f64 = 0.15;
/// Ranges of integers up to this long have a probability for each.
const LISTED: u64 = 64;
/// No kernel is narrower than a range over this (Bergstra's clip).
const NARROWEST: f64 = 100.0;

/// The factors of one decision.
#[derive(Debug)]
pub struct Column {
    /// By trial; none where it did not meet the decision.
    factors: Vec<Option<Factor>>,
    prior: Factor,
}

#[derive(Debug)]
enum Factor {
    /// Of a list or a short range: probabilities and their logarithms, by rank.
    Table { shares: Vec<f64>, logs: Vec<f64> },
    /// Of each coordinate.
    Normals(Vec<Normal>),
}

/// A normal density cut off at the ends of `[0, 1]`.
#[derive(Clone, Copy, Debug)]
struct Normal {
    centre: f64,
    width: f64,
    /// The logarithm of its value at the centre.
    height: f64,
}

/// The standard normal distribution function.
fn below(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

impl Normal {
    fn new(centre: f64, width: f64) -> Normal {
        let inside = (below((1.0 - centre) / width) - below(-centre / width)).max(1e-12);
        Normal { centre, width, height: -libm::log(width * inside * libm::sqrt(2.0 * std::f64::consts::PI)) }
    }

    fn draw(&self, rng: &mut Rng) -> f64 {
        let mut drawn = (0..20).map(|_| self.centre + self.width * rng.normal());
        drawn.find(|x| (0.0..1.0).contains(x)).unwrap_or(self.centre.clamp(0.0, 1.0))
    }

    fn log_density(&self, x: f64) -> f64 {
        let z = (x - self.centre) / self.width;
        self.height - 0.5 * z * z
    }
}

impl Factor {
    fn table(shares: Vec<f64>) -> Factor {
        let logs = shares.iter().map(|share| libm::log(share.max(1e-12))).collect();
        Factor::Table { shares, logs }
    }

    /// Of an ordered list of `count` values: the share of each value's interval in a normal density.
    fn steps(centre: f64, width: f64, count: u64) -> Factor {
        let ends: Vec<f64> = (0..=count).map(|i| below((i as f64 / count as f64 - centre) / width)).collect();
        let all = (ends[count as usize] - ends[0]).max(1e-12);
        Factor::table(ends.windows(2).map(|pair| (pair[1] - pair[0]) / all).collect())
    }

    fn draw(&self, domain: &Domain, rng: &mut Rng) -> Value {
        match self {
            Factor::Table { shares, .. } => {
                let mut left = rng.unit();
                let place = shares.iter().position(|share| {
                    left -= share;
                    left < 0.0
                });
                domain.unrank(place.unwrap_or(shares.len() - 1).into())
            }
            Factor::Normals(normals) => decode(domain, &normals.iter().map(|normal| normal.draw(rng)).collect::<Vec<f64>>()),
        }
    }

    fn log_density(&self, at: &At) -> f64 {
        match (self, at) {
            (Factor::Table { logs, .. }, At::Rank(rank)) => logs[*rank],
            (Factor::Normals(normals), At::Point(point)) => normals.iter().zip(point).map(|(n, x)| n.log_density(*x)).sum(),
            _ => unreachable!("all factors of a column are of one kind"),
        }
    }
}

/// A value as factors see it.
enum At {
    Rank(usize),
    Point(Vec<f64>),
}

/// The number of values where each has a probability of its own.
fn listed(domain: &Domain) -> Option<u64> {
    match domain {
        Domain::Members { labels, .. } => Some(labels.len() as u64),
        Domain::Int { log: false, .. } => domain.small_count().filter(|count| *count <= LISTED),
        _ => None,
    }
}

impl Column {
    /// The values of a decision among trials, each in the domain; none where it was not met. `decisions`: how many a trial
    /// answers, on which Scott's rule for the width of kernels depends (1992): `n^(-1 / (d + 4))`.
    pub fn new(domain: &Domain, values: &[Option<Value>], decisions: usize) -> Column {
        let kernels = 1.0 + values.iter().flatten().count() as f64;
        let scott = libm::pow(f64::max(kernels - 1.0, 1.0), -1.0 / (decisions as f64 + 4.0));
        let deviation = (WIDTH * scott).max(1.0 / (1.0 + kernels).min(NARROWEST));
        let factor = |value: &Value| match (listed(domain), domain.is_ordered()) {
            // The more kernels there are, the surer each is of its own member.
            (Some(count), false) => {
                let (rank, other) = (rank(domain, value), 1.0 / kernels);
                let sum = 1.0 + count as f64 * other;
                Factor::table((0..count as usize).map(|i| (f64::from(u8::from(i == rank)) + other) / sum).collect())
            }
            (Some(count), true) => Factor::steps(domain.position(value).unwrap_or(0.5), deviation, count),
            (None, _) => Factor::Normals(encode(domain, value).iter().map(|x| Normal::new(*x, deviation)).collect()),
        };
        let prior = match listed(domain) {
            Some(count) => Factor::table(vec![1.0 / count as f64; count as usize]),
            None => Factor::Normals(vec![Normal::new(0.5, 1.0); width(domain)]),
        };
        Column { factors: values.iter().map(|value| value.as_ref().map(factor)).collect(), prior }
    }

    /// A value from the kernel of a trial, or of the prior; from those of all that met the decision where the trial did not.
    pub fn draw(&self, from: Option<usize>, domain: &Domain, rng: &mut Rng) -> Value {
        let own = from.map_or(Some(&self.prior), |trial| self.factors[trial].as_ref());
        let factor = own.unwrap_or_else(|| {
            let met: Vec<&Factor> = self.factors.iter().flatten().chain([&self.prior]).collect();
            met[rng.below(met.len())]
        });
        factor.draw(domain, rng)
    }

    /// Multiplies the densities of candidates under each kernel, given as logarithms, the prior's last, by those of this value.
    pub fn weigh(&self, domain: &Domain, value: &Value, logs: &mut [f64]) {
        let at = match self.prior {
            Factor::Table { .. } => At::Rank(rank(domain, value)),
            Factor::Normals(_) => At::Point(encode(domain, value)),
        };
        let (mut sum, mut met) = (0.0, 0.0);
        let factors = self.factors.iter().map(Option::as_ref).chain([Some(&self.prior)]);
        let any_missing = self.factors.iter().any(Option::is_none);
        for (log, factor) in logs.iter_mut().zip(factors) {
            if let Some(density) = factor.map(|factor| factor.log_density(&at)) {
                *log += density;
                if any_missing {
                    sum += libm::exp(density);
                    met += 1.0;
                }
            }
        }
        if any_missing {
            let mixture = libm::log(f64::max(sum / met, 1e-300));
            logs.iter_mut().zip(&self.factors).filter(|(_, factor)| factor.is_none()).for_each(|(log, _)| *log += mixture);
        }
    }
}

fn rank(domain: &Domain, value: &Value) -> usize {
    usize::try_from(domain.rank(value)).expect("listed")
}

/// The logarithm of the mean of numbers given as logarithms.
pub fn log_mean(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + libm::log(logs.iter().map(|log| libm::exp(log - most)).sum::<f64>() / logs.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mixture of a column at a value.
    fn density(column: &Column, domain: &Domain, value: &Value) -> f64 {
        let mut logs = vec![0.0; column.factors.len() + 1];
        column.weigh(domain, value, &mut logs);
        libm::exp(log_mean(&logs))
    }

    #[test]
    fn densities_sum_to_one_and_lie_where_the_values_are() {
        let mut rng = Rng::new(1, "parzen");
        for domain in [
            Domain::members(["a", "b", "c"]),
            Domain::ordered(["1", "2", "4", "8"]),
            Domain::Int { low: -3, high: 9, log: false },
        ] {
            let count = domain.small_count().unwrap();
            let values = vec![Some(domain.unrank(1u32.into())), None, Some(domain.unrank(1u32.into()))];
            let column = Column::new(&domain, &values, 3);
            let all: Vec<f64> = (0..count).map(|i| density(&column, &domain, &domain.unrank(i.into()))).collect();
            assert!((all.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{domain}: {all:?}");
            assert!(all.iter().all(|p| *p > 0.0 && *p <= all[1]), "{domain}: {all:?}");
            let drawn = (0..3000).filter(|_| column.draw(Some(1), &domain, &mut rng) == domain.unrank(1u32.into())).count();
            assert!((drawn as f64 / 3000.0 - all[1]).abs() < 0.04, "{domain}: {drawn} {all:?}");
        }
        let domain = Domain::Real { low: 2.0, high: 4.0, log: false };
        let column = Column::new(&domain, &[Some(Value::Real(2.2)), Some(Value::Real(2.4))], 2);
        let at = |x: f64| density(&column, &domain, &Value::Real(x));
        let sum: f64 = (0..1000).map(|i| at(2.0 + (f64::from(i) + 0.5) / 500.0)).sum();
        assert!((sum / 1000.0 - 1.0).abs() < 1e-3 && at(2.3) > 3.0 * at(3.5), "{sum}");
    }

    #[test]
    fn a_mixture_of_products_knows_what_goes_together() {
        let domain = Domain::members(["a", "b"]);
        let (a, b) = (Value::Member(0), Value::Member(1));
        let values = [vec![Some(a.clone()), Some(b.clone())], vec![Some(a.clone()), Some(b.clone())]];
        let columns = values.each_ref().map(|values| Column::new(&domain, values, 2));
        let together = |one: &Value, other: &Value| {
            let mut logs = vec![0.0; 3];
            columns[0].weigh(&domain, one, &mut logs);
            columns[1].weigh(&domain, other, &mut logs);
            log_mean(&logs)
        };
        assert!(together(&a, &a) > together(&a, &b) && together(&b, &b) > together(&b, &a));
    }
}
