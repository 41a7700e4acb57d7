//! What a decision may be answered with: domains, values, their number and their order.

use num_bigint::BigUint;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::fmt;

/// What a decision may be answered with. The order of a finite domain's values is fixed: it is what ranks are counted in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// One of the labelled members: arms, models, strings, a list of numbers. `ordered`: neighbours in the list are alike
    /// (`[8, 16, 32]`), so that an algorithm may bisect or step. Labels are distinct.
    Members { labels: Vec<String>, ordered: bool },
    /// A whole number, both ends included. `log`: its logarithm is what is uniform.
    Int { low: i64, high: i64, log: bool },
    /// A real number, both ends included. `log`: its logarithm is what is uniform.
    Real { low: f64, high: f64, log: bool },
    /// An order of `n` things: a permutation of `0..n`.
    Order { n: u32 },
    /// A set of between `low` and `high` of `n` things, both included.
    Subset { n: u32, low: u32, high: u32 },
    /// `n` numbers that are not negative and sum to 1.
    Simplex { n: u32 },
}

/// The answer to a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// The position of the member in its domain.
    Member(u64),
    Int(i64),
    Real(f64),
    /// A permutation of `0..n`.
    Order(Vec<u32>),
    /// Ascending.
    Subset(Vec<u32>),
    Simplex(Vec<f64>),
}

/// How far the parts of a simplex may miss a sum of 1.
const SIMPLEX_TOLERANCE: f64 = 1e-6;

impl Domain {
    /// An unordered list of labels.
    pub fn members<S: Into<String>>(labels: impl IntoIterator<Item = S>) -> Domain {
        Domain::Members { labels: labels.into_iter().map(Into::into).collect(), ordered: false }
    }

    /// A list of labels whose neighbours are alike.
    pub fn ordered<S: Into<String>>(labels: impl IntoIterator<Item = S>) -> Domain {
        Domain::Members { labels: labels.into_iter().map(Into::into).collect(), ordered: true }
    }

    /// What is wrong with the domain itself, if anything.
    pub fn fault(&self) -> Option<String> {
        match self {
            Domain::Members { labels, .. } if labels.is_empty() => Some("its list is empty".into()),
            Domain::Members { labels, .. } => {
                let mut sorted: Vec<&String> = labels.iter().collect();
                sorted.sort();
                let twice = sorted.windows(2).find(|pair| pair[0] == pair[1])?;
                Some(format!("`{}` is in its list twice", twice[0]))
            }
            Domain::Int { low, high, .. } if low > high => Some(format!("its range {low}..={high} is empty")),
            Domain::Int { low, log: true, .. } if *low < 1 => Some(format!("a logarithmic range cannot start at {low}")),
            Domain::Real { low, high, .. } if !(low.is_finite() && high.is_finite()) => {
                Some(format!("its ends {low} and {high} must be finite"))
            }
            Domain::Real { low, high, .. } if low > high => Some(format!("its range {low}..={high} is empty")),
            Domain::Real { low, log: true, .. } if *low <= 0.0 => Some(format!("a logarithmic range cannot start at {low}")),
            Domain::Subset { n, low, high } if low > high || low > n => {
                Some(format!("no set of {low} to {high} of {n} things exists"))
            }
            Domain::Simplex { n: 0 } => Some("a simplex needs at least one part".into()),
            _ => None,
        }
    }

    /// How many real numbers a value holds beyond its finite part: what is counted apart in a [`super::Size`].
    pub fn reals(&self) -> usize {
        match self {
            Domain::Real { low, high, .. } => usize::from(low < high),
            Domain::Simplex { n } => *n as usize - 1,
            _ => 0,
        }
    }

    /// The number of values; 1 for a domain of reals, which is counted apart.
    pub fn count(&self) -> BigUint {
        match self {
            Domain::Members { labels, .. } => labels.len().into(),
            Domain::Int { low, high, .. } => BigUint::from((i128::from(*high) - i128::from(*low) + 1) as u128),
            Domain::Real { .. } | Domain::Simplex { .. } => 1u32.into(),
            Domain::Order { n } => (1..=*n).map(BigUint::from).product(),
            Domain::Subset { n, low, high } => (*low..=(*high).min(*n)).map(|k| choose(*n, k)).sum(),
        }
    }

    /// [`Domain::count`] where it fits a machine word and the domain is finite.
    pub fn small_count(&self) -> Option<u64> {
        match self {
            Domain::Members { labels, .. } => Some(labels.len() as u64),
            Domain::Int { low, high, .. } => high.checked_sub(*low)?.checked_add(1).map(|n| n as u64),
            _ if self.reals() > 0 => None,
            _ => self.count().try_into().ok(),
        }
    }

    /// The value of a domain that has but one: no algorithm is asked about it.
    pub fn only(&self) -> Option<Value> {
        match self {
            Domain::Members { labels, .. } if labels.len() == 1 => Some(Value::Member(0)),
            Domain::Int { low, high, .. } if low == high => Some(Value::Int(*low)),
            Domain::Real { low, high, .. } if low == high => Some(Value::Real(*low)),
            Domain::Order { n } if *n <= 1 => Some(Value::Order((0..*n).collect())),
            Domain::Subset { n, low, high } if *high == 0 || low == n => {
                Some(Value::Subset(if *high == 0 { vec![] } else { (0..*n).collect() }))
            }
            Domain::Simplex { n: 1 } => Some(Value::Simplex(vec![1.0])),
            _ => None,
        }
    }

    /// Is the order of its values a likeness, so that neighbours may be stepped to and halves compared?
    pub fn is_ordered(&self) -> bool {
        matches!(self, Domain::Members { ordered: true, .. } | Domain::Int { .. } | Domain::Real { .. })
    }

    /// The value in the middle: where reals are put when only the finite part of a candidate is known.
    pub fn middle(&self) -> Value {
        match self {
            Domain::Members { labels, ordered } => Value::Member(if *ordered { (labels.len() as u64 - 1) / 2 } else { 0 }),
            Domain::Int { .. } | Domain::Real { .. } => self.at(0.5).expect("a range has a middle"),
            Domain::Order { n } => Value::Order((0..*n).collect()),
            Domain::Subset { low, .. } => Value::Subset((0..*low).collect()),
            Domain::Simplex { n } => Value::Simplex(vec![1.0 / f64::from(*n); *n as usize]),
        }
    }

    /// The value at a position in `[0, 1]` along an ordered or listed domain; none for orders, subsets, simplices. Every
    /// member and every integer covers an interval of the same width (integers of a logarithmic range: of its logarithm).
    pub fn at(&self, position: f64) -> Option<Value> {
        let t = position.clamp(0.0, 1.0);
        Some(match self {
            Domain::Members { labels, .. } => Value::Member(((t * labels.len() as f64) as u64).min(labels.len() as u64 - 1)),
            Domain::Int { low, high, log: false } => {
                let span = (i128::from(*high) - i128::from(*low) + 1) as f64;
                Value::Int((*low as f64 + (t * span).floor()).clamp(*low as f64, *high as f64) as i64)
            }
            Domain::Int { low, high, log: true } => {
                let (a, b) = (libm::log(*low as f64 - 0.5), libm::log(*high as f64 + 0.5));
                Value::Int(libm::exp(a + t * (b - a)).round().clamp(*low as f64, *high as f64) as i64)
            }
            Domain::Real { low, high, log: false } => Value::Real((low + t * (high - low)).clamp(*low, *high)),
            Domain::Real { low, high, log: true } => {
                let (a, b) = (libm::log(*low), libm::log(*high));
                Value::Real(libm::exp(a + t * (b - a)).clamp(*low, *high))
            }
            _ => return None,
        })
    }

    /// Where in `[0, 1]` a value lies: the inverse of [`Domain::at`] (the middle of the interval of a member or integer).
    pub fn position(&self, value: &Value) -> Option<f64> {
        Some(match (self, value) {
            (Domain::Members { labels, .. }, Value::Member(i)) => (*i as f64 + 0.5) / labels.len() as f64,
            (Domain::Int { low, high, log: false }, Value::Int(v)) => {
                let span = (i128::from(*high) - i128::from(*low) + 1) as f64;
                ((i128::from(*v) - i128::from(*low)) as f64 + 0.5) / span
            }
            (Domain::Int { low, high, log: true }, Value::Int(v)) => {
                let (a, b) = (libm::log(*low as f64 - 0.5), libm::log(*high as f64 + 0.5));
                (libm::log(*v as f64) - a) / (b - a)
            }
            (Domain::Real { low, high, .. }, Value::Real(_)) if low == high => 0.5,
            (Domain::Real { low, high, log: false }, Value::Real(v)) => (v - low) / (high - low),
            (Domain::Real { low, high, log: true }, Value::Real(v)) => {
                let (a, b) = (libm::log(*low), libm::log(*high));
                (libm::log(*v) - a) / (b - a)
            }
            _ => return None,
        })
    }

    /// The position of a value among the values of a finite domain; 0 for reals. The value must be in the domain.
    pub fn rank(&self, value: &Value) -> BigUint {
        match (self, value) {
            (_, Value::Member(i)) => (*i).into(),
            (Domain::Int { low, .. }, Value::Int(v)) => BigUint::from((i128::from(*v) - i128::from(*low)) as u128),
            (_, Value::Order(order)) => {
                let mut left: Vec<u32> = (0..order.len() as u32).collect();
                order.iter().fold(BigUint::ZERO, |rank, item| {
                    let place = left.iter().position(|other| other == item).unwrap_or(0);
                    let base = left.len();
                    left.remove(place);
                    rank * base + place
                })
            }
            (Domain::Subset { n, low, .. }, Value::Subset(set)) => {
                let size = set.len() as u32;
                let smaller: BigUint = (*low..size).map(|k| choose(*n, k)).sum();
                let mut next = 0;
                set.iter().enumerate().fold(smaller, |mut rank, (i, &item)| {
                    // Sets that agree so far and hold a smaller item here come first.
                    for skipped in next..item {
                        rank += choose(n - skipped - 1, size - i as u32 - 1);
                    }
                    next = item + 1;
                    rank
                })
            }
            _ => BigUint::ZERO,
        }
    }

    /// The value of a rank below [`Domain::count`]; the middle for reals.
    pub fn unrank(&self, rank: BigUint) -> Value {
        let word = |rank: &BigUint| u64::try_from(rank).unwrap_or(u64::MAX);
        match self {
            Domain::Members { .. } => Value::Member(word(&rank)),
            Domain::Int { low, .. } => Value::Int((i128::from(*low) + i128::from(word(&rank))) as i64),
            Domain::Real { .. } | Domain::Simplex { .. } => self.middle(),
            Domain::Order { n } => {
                let (mut rank, mut digits) = (rank, vec![]);
                for base in 1..=*n {
                    digits.push(word(&(&rank % base)) as usize);
                    rank /= base;
                }
                let mut left: Vec<u32> = (0..*n).collect();
                Value::Order(digits.iter().rev().map(|&place| left.remove(place)).collect())
            }
            Domain::Subset { n, low, high } => {
                let (mut rank, mut size) = (rank, *low);
                while size < (*high).min(*n) && rank >= choose(*n, size) {
                    rank -= choose(*n, size);
                    size += 1;
                }
                let (mut set, mut item) = (vec![], 0);
                while (set.len() as u32) < size {
                    let with = choose(n - item - 1, size - set.len() as u32 - 1);
                    if rank < with {
                        set.push(item);
                    } else {
                        rank -= with;
                    }
                    item += 1;
                }
                Value::Subset(set)
            }
        }
    }

    /// Is the value one of the domain's?
    pub fn contains(&self, value: &Value) -> bool {
        match (self, value) {
            (Domain::Members { labels, .. }, Value::Member(i)) => *i < labels.len() as u64,
            (Domain::Int { low, high, .. }, Value::Int(v)) => low <= v && v <= high,
            (Domain::Real { low, high, .. }, Value::Real(v)) => low <= v && v <= high,
            (Domain::Order { n }, Value::Order(order)) => {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                sorted.into_iter().eq(0..*n)
            }
            (Domain::Subset { n, low, high }, Value::Subset(set)) => {
                let size = set.len() as u32;
                *low <= size
                    && size <= *high
                    && set.windows(2).all(|pair| pair[0] < pair[1])
                    && set.last().is_none_or(|last| last < n)
            }
            (Domain::Simplex { n }, Value::Simplex(parts)) => {
                parts.len() == *n as usize
                    && parts.iter().all(|part| *part >= 0.0)
                    && (parts.iter().sum::<f64>() - 1.0).abs() <= SIMPLEX_TOLERANCE
            }
            _ => false,
        }
    }

    /// How a value is written: a member by its label (as a number or truth value where the label is one).
    pub fn to_json(&self, value: &Value) -> Json {
        match (self, value) {
            (Domain::Members { labels, .. }, Value::Member(i)) => label_json(&labels[*i as usize]),
            (_, Value::Member(i)) => json!(i),
            (_, Value::Int(v)) => json!(v),
            (_, Value::Real(v)) => json!(v),
            (_, Value::Order(items) | Value::Subset(items)) => json!(items),
            (_, Value::Simplex(parts)) => json!(parts),
        }
    }

    /// Reads what [`Domain::to_json`] writes, and what a person would write: a member by label, a real as an integer. None
    /// where it is not a value of this domain.
    pub fn from_json(&self, json: &Json) -> Option<Value> {
        let items = || {
            let list = json.as_array()?.iter();
            list.map(|item| item.as_u64().and_then(|i| u32::try_from(i).ok())).collect::<Option<Vec<u32>>>()
        };
        let value = match self {
            Domain::Members { labels, .. } => {
                let label = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
                let by_number = |l: &String| json.is_number() && l.parse::<f64>().ok() == json.as_f64();
                let place = labels.iter().position(|l| *l == label).or_else(|| labels.iter().position(by_number))?;
                Value::Member(place as u64)
            }
            Domain::Int { .. } => Value::Int(json.as_i64()?),
            Domain::Real { .. } => Value::Real(json.as_f64()?),
            Domain::Order { .. } => Value::Order(items()?),
            Domain::Subset { .. } => {
                let mut set = items()?;
                set.sort_unstable();
                Value::Subset(set)
            }
            Domain::Simplex { .. } => Value::Simplex(json.as_array()?.iter().map(Json::as_f64).collect::<Option<_>>()?),
        };
        self.contains(&value).then_some(value)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Domain::Members { labels, .. } => write!(f, "[{}]", labels.join(", ")),
            Domain::Int { low, high, log: false } => write!(f, "{low}..={high}"),
            Domain::Real { low, high, log: false } => write!(f, "{low:?}..={high:?}"),
            Domain::Int { low, high, .. } => write!(f, "log({low}, {high})"),
            Domain::Real { low, high, .. } => write!(f, "log({low:?}, {high:?})"),
            Domain::Order { n } => write!(f, "an order of {n}"),
            Domain::Subset { n, low, high } if low == high => write!(f, "{low} of {n}"),
            Domain::Subset { n, low, high } => write!(f, "{low} to {high} of {n}"),
            Domain::Simplex { n } => write!(f, "simplex({n})"),
        }
    }
}

/// Numbers and truth values are written as such, but only where reading gives the same label again.
fn label_json(label: &str) -> Json {
    match serde_json::from_str::<Json>(label) {
        Ok(json @ (Json::Number(_) | Json::Bool(_))) if format!("{json}") == label => json,
        _ => json!(label),
    }
}

/// The number of sets of `k` of `n` things.
fn choose(n: u32, k: u32) -> BigUint {
    if k > n {
        return BigUint::ZERO;
    }
    (0..k.min(n - k)).fold(BigUint::from(1u32), |product, i| product * (n - i) / (i + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finite() -> Vec<Domain> {
        vec![
            Domain::members(["a", "b", "c"]),
            Domain::Int { low: -2, high: 5, log: false },
            Domain::Order { n: 4 },
            Domain::Order { n: 0 },
            Domain::Subset { n: 5, low: 0, high: 5 },
            Domain::Subset { n: 6, low: 2, high: 4 },
            Domain::Subset { n: 3, low: 3, high: 9 },
        ]
    }

    #[test]
    fn rank_and_unrank_are_inverse_and_every_value_is_in_its_domain() {
        for domain in finite() {
            let count = domain.small_count().unwrap();
            let mut seen = std::collections::BTreeSet::new();
            for rank in 0..count {
                let value = domain.unrank(rank.into());
                assert!(domain.contains(&value), "{domain}: {value:?}");
                assert_eq!(domain.rank(&value), rank.into(), "{domain}: {value:?}");
                assert_eq!(domain.from_json(&domain.to_json(&value)), Some(value.clone()));
                seen.insert(format!("{value:?}"));
            }
            assert_eq!(seen.len() as u64, count, "{domain}");
        }
        assert_eq!(Domain::Order { n: 4 }.small_count(), Some(24));
        assert_eq!(Domain::Subset { n: 6, low: 2, high: 4 }.small_count(), Some(15 + 20 + 15));
    }

    #[test]
    fn positions_lie_inside_the_interval_that_leads_back() {
        let domains = [
            Domain::ordered(["1", "2", "4"]),
            Domain::Int { low: 3, high: 9, log: false },
            Domain::Int { low: 1, high: 1000, log: true },
            Domain::Int { low: i64::MIN, high: i64::MAX, log: false },
        ];
        for domain in &domains {
            for value in (0..=20).map(|i| domain.at(f64::from(i) / 20.0).unwrap()) {
                assert!(domain.contains(&value));
                if !matches!(domain, Domain::Int { low: i64::MIN, .. }) {
                    assert_eq!(domain.at(domain.position(&value).unwrap()), Some(value));
                }
            }
        }
        let log = Domain::Real { low: 1e-5, high: 1e-1, log: true };
        let Some(Value::Real(middle)) = log.at(0.5) else { panic!() };
        assert!((middle - 1e-3).abs() < 1e-15);
        assert_eq!(log.at(1.0), Some(Value::Real(1e-1)), "the end is hit exactly");
    }

    #[test]
    fn faults_are_named() {
        assert!(Domain::members::<String>([]).fault().unwrap().contains("empty"));
        assert!(Domain::members(["a", "b", "a"]).fault().unwrap().contains("`a`"));
        assert!(Domain::Int { low: 2, high: 1, log: false }.fault().is_some());
        assert!(Domain::Real { low: 0.0, high: 1.0, log: true }.fault().is_some());
        assert!(Domain::Real { low: f64::NAN, high: 1.0, log: false }.fault().is_some());
        assert!(Domain::Subset { n: 2, low: 3, high: 4 }.fault().is_some());
        assert!(finite().iter().all(|domain| domain.fault().is_none()));
    }

    #[test]
    fn labels_that_are_numbers_are_written_as_numbers() {
        let domain = Domain::members(["4", "007", "true", "x", "1.0"]);
        let written: Vec<String> = (0..5).map(|i| domain.to_json(&Value::Member(i)).to_string()).collect();
        assert_eq!(written, ["4", "\"007\"", "true", "\"x\"", "1.0"]);
        assert_eq!(domain.from_json(&json!(1)), Some(Value::Member(4)), "1 for 1.0");
        assert_eq!(domain.from_json(&json!(5)), None);
    }
}
