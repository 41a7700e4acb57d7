//! What a decision may be answered with, and answers as text.

use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What a decision may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// The members of a list, or arms, by the text that `--set` knows them by. `ordered`: numbers in ascending or descending
    /// order, so that neighbours are alike.
    Members { labels: Arc<[String]>, ordered: bool },
    /// Both ends belong to it.
    Int { low: i64, high: i64, log: bool },
    /// Both ends belong to it.
    Real { low: f64, high: f64, log: bool },
    /// Every order of these.
    Order { labels: Arc<[String]> },
    /// Every part of these with `low` to `high` members.
    Subset { labels: Arc<[String]>, low: usize, high: usize },
    /// `n` numbers from 0 that add up to 1.
    Simplex { n: usize },
}

/// The value of a decision.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The place of a member or an arm.
    Member(usize),
    Int(i64),
    Real(f64),
    /// Places in their order.
    Order(Vec<usize>),
    /// Places, ascending.
    Subset(Vec<usize>),
    Simplex(Vec<f64>),
    /// Any value, as `--set` writes it: of a list that other decisions change, where a place means this in one candidate and that in another.
    Label(String),
}

/// How far the sum of a simplex may lie from 1: what six digits each leave over.
const SUM_TOLERANCE: f64 = 1e-5;

impl Domain {
    /// Whether a value is one of the domain's.
    pub fn holds(&self, answer: &Answer) -> bool {
        let distinct = |places: &[usize], n: usize| {
            let mut seen = vec![false; n];
            places.iter().all(|p| *p < n && !std::mem::replace(&mut seen[*p], true))
        };
        match (self, answer) {
            (Domain::Members { labels, .. }, Answer::Member(i)) => *i < labels.len(),
            (Domain::Int { low, high, .. }, Answer::Int(i)) => (low..=high).contains(&i),
            (Domain::Real { low, high, .. }, Answer::Real(x)) => (low..=high).contains(&x),
            (Domain::Order { labels }, Answer::Order(o)) => o.len() == labels.len() && distinct(o, labels.len()),
            (Domain::Subset { labels, low, high }, Answer::Subset(s)) => {
                (low..=high).contains(&&s.len()) && s.is_sorted() && distinct(s, labels.len())
            }
            (Domain::Simplex { n }, Answer::Simplex(w)) => {
                w.len() == *n && w.iter().all(|x| *x >= 0.0) && (w.iter().sum::<f64>() - 1.0).abs() <= SUM_TOLERANCE
            }
            (_, Answer::Label(text)) => self.parse(text).is_some(),
            _ => false,
        }
    }

    /// The value that stands for an open decision where any will do: the first, or the middle of real numbers.
    pub fn any(&self) -> Answer {
        match self {
            Domain::Members { .. } => Answer::Member(0),
            Domain::Int { low, .. } => Answer::Int(*low),
            Domain::Real { low, high, log: true } if *low > 0.0 => Answer::Real((low.sqrt() * high.sqrt()).clamp(*low, *high)),
            Domain::Real { low, high, .. } => Answer::Real(low / 2.0 + high / 2.0),
            Domain::Order { labels } => Answer::Order((0..labels.len()).collect()),
            Domain::Subset { low, .. } => Answer::Subset((0..*low).collect()),
            Domain::Simplex { n } => Answer::Simplex(vec![1.0 / *n as f64; *n]),
        }
    }

    /// Feeds a hasher with what tells the domain from others.
    pub fn fingerprint(&self, hasher: &mut impl Hasher) {
        match self {
            Domain::Members { labels, ordered } => (0, labels, ordered).hash(hasher),
            Domain::Int { low, high, log } => (1, low, high, log).hash(hasher),
            Domain::Real { low, high, log } => (2, low.to_bits(), high.to_bits(), log).hash(hasher),
            Domain::Order { labels } => (3, labels).hash(hasher),
            Domain::Subset { labels, low, high } => (4, labels, low, high).hash(hasher),
            Domain::Simplex { n } => (5, n).hash(hasher),
        }
    }

    /// A value as `--set` writes it.
    pub fn text(&self, answer: &Answer) -> String {
        let label = |labels: &[String], i: usize| labels.get(i).cloned().unwrap_or_default();
        let list = |labels: &[String], places: &[usize]| {
            let parts: Vec<String> = places.iter().map(|i| label(labels, *i)).collect();
            format!("[{}]", parts.join(", "))
        };
        match (self, answer) {
            (Domain::Members { labels, .. }, Answer::Member(i)) => label(labels, *i),
            (Domain::Order { labels }, Answer::Order(p)) | (Domain::Subset { labels, .. }, Answer::Subset(p)) => list(labels, p),
            (_, Answer::Int(i)) => i.to_string(),
            (_, Answer::Real(x)) => x.to_string(),
            (_, Answer::Label(text)) => text.clone(),
            (_, Answer::Simplex(w)) => format!("[{}]", w.iter().map(f64::to_string).collect::<Vec<_>>().join(", ")),
            _ => String::new(),
        }
    }

    /// The answer by place, if it is one of the domain's.
    pub fn settle(&self, answer: &Answer) -> Option<Answer> {
        match answer {
            Answer::Label(text) => self.parse(text),
            other => self.holds(other).then(|| other.clone()),
        }
    }

    /// The value that a text names, if it is one of the domain's.
    pub fn parse(&self, text: &str) -> Option<Answer> {
        let text = text.trim();
        let place = |labels: &[String], text: &str| {
            let text = text.trim();
            let bare = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
            // `1.0` and `1` are one number.
            let number = |text: &str| text.parse::<f64>().ok();
            let same = |label: &String| number(label).is_some_and(|a| number(text) == Some(a));
            let by_text = labels.iter().position(|label| label == text || bare.is_some_and(|b| label == b));
            by_text.or_else(|| labels.iter().position(same))
        };
        let places = |labels: &[String]| parts(text)?.into_iter().map(|p| place(labels, p)).collect::<Option<Vec<usize>>>();
        let answer = match self {
            Domain::Members { labels, .. } => Answer::Member(place(labels, text)?),
            Domain::Int { .. } => Answer::Int(text.parse().ok()?),
            Domain::Real { .. } => Answer::Real(text.parse().ok()?),
            Domain::Order { labels } => Answer::Order(places(labels)?),
            Domain::Subset { labels, .. } => {
                let mut chosen = places(labels)?;
                chosen.sort_unstable();
                Answer::Subset(chosen)
            }
            Domain::Simplex { .. } => {
                Answer::Simplex(parts(text)?.into_iter().map(|p| p.trim().parse().ok()).collect::<Option<Vec<f64>>>()?)
            }
        };
        self.holds(&answer).then_some(answer)
    }

    /// What it may be, for messages: `one of "a" and "b"`, `in 0..=1`.
    pub fn describe(&self) -> String {
        match self {
            Domain::Members { labels, .. } => format!("one of {}", merge_base::list_names(labels, 8)),
            Domain::Int { low, high, .. } => format!("in {low}..={high}"),
            Domain::Real { low, high, .. } => format!("in {low}..={high}"),
            Domain::Order { labels } => format!("an order of [{}]", labels.join(", ")),
            Domain::Subset { labels, low, high } => {
                let mut text = String::new();
                let _ = match low == high {
                    true => write!(text, "{low}"),
                    false => write!(text, "{low} to {high}"),
                };
                format!("a list of {text} of [{}]", labels.join(", "))
            }
            Domain::Simplex { n } => format!("a list of {n} numbers from 0 that add up to 1"),
        }
    }

    /// What is wrong with the domain itself, if anything.
    pub fn fault(&self) -> Option<String> {
        let labels = match self {
            Domain::Members { labels, .. } if labels.is_empty() => return Some("there is nothing to choose from here".into()),
            Domain::Int { low, high, .. } if low > high => return Some("there is nothing to choose from here".into()),
            Domain::Real { low, high, .. } if low > high => return Some("there is nothing to choose from here".into()),
            Domain::Real { low, high, .. } if !low.is_finite() || !high.is_finite() => {
                return Some("a range to choose from has two finite ends".into());
            }
            Domain::Int { low, log: true, .. } if *low < 1 => return Some(format!("a logarithmic range cannot start at {low}")),
            Domain::Real { low, log: true, .. } if *low <= 0.0 => {
                return Some(format!("a logarithmic range cannot start at {low}"));
            }
            Domain::Subset { labels, low, high } if low > high || *high > labels.len() => {
                return Some(format!("no part of {} things has {low} to {high} members", labels.len()));
            }
            Domain::Simplex { n: 0 } => return Some("a simplex has at least one number".into()),
            Domain::Members { labels, .. } | Domain::Order { labels } | Domain::Subset { labels, .. } => labels,
            _ => return None,
        };
        let twice = labels.iter().enumerate().find(|(i, l)| labels[..*i].contains(l))?;
        Some(format!("`{}` can be chosen here in two ways", twice.1))
    }
}

/// The parts of `[a, b, (c, d)]`: commas inside brackets and quotes do not count.
fn parts(text: &str) -> Option<Vec<&str>> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    if inner.trim().is_empty() {
        return Some(Vec::new());
    }
    let (mut found, mut depth, mut quoted, mut start) = (Vec::new(), 0i32, false, 0);
    for (i, c) in inner.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' | '[' if !quoted => depth += 1,
            ')' | ']' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                found.push(inner[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    found.push(inner[start..].trim());
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(all: &[&str]) -> Arc<[String]> {
        all.iter().map(|l| l.to_string()).collect()
    }

    #[test]
    fn text_and_parse_are_inverse() {
        let domains = [
            (Domain::Members { labels: labels(&["a", "(1, 2)", "0.5"]), ordered: false }, Answer::Member(1)),
            (Domain::Int { low: -3, high: 9, log: false }, Answer::Int(-3)),
            (Domain::Real { low: 0.0, high: 1.0, log: false }, Answer::Real(0.1)),
            (Domain::Order { labels: labels(&["x", "(1, 2)", "z"]) }, Answer::Order(vec![2, 1, 0])),
            (Domain::Subset { labels: labels(&["x", "y", "z"]), low: 0, high: 3 }, Answer::Subset(vec![0, 2])),
            (Domain::Subset { labels: labels(&["x", "y"]), low: 0, high: 1 }, Answer::Subset(vec![])),
            (Domain::Simplex { n: 3 }, Answer::Simplex(vec![0.25, 0.25, 0.5])),
        ];
        for (domain, answer) in domains {
            assert!(domain.fault().is_none() && domain.holds(&domain.any()));
            assert_eq!(domain.parse(&domain.text(&answer)), Some(answer), "{domain:?}");
        }
    }

    #[test]
    fn what_is_not_in_a_domain_is_not_read() {
        assert_eq!(Domain::Int { low: 0, high: 3, log: false }.parse("4"), None);
        assert_eq!(Domain::Order { labels: labels(&["a", "b"]) }.parse("[a, a]"), None);
        assert_eq!(Domain::Order { labels: labels(&["a", "b"]) }.parse("[a]"), None);
        assert_eq!(Domain::Subset { labels: labels(&["a", "b"]), low: 1, high: 1 }.parse("[a, b]"), None);
        assert_eq!(Domain::Simplex { n: 2 }.parse("[0.5, 0.6]"), None);
        assert_eq!(Domain::Members { labels: labels(&["a"]), ordered: false }.parse("\"a\""), Some(Answer::Member(0)));
        assert_eq!(Domain::Members { labels: labels(&["0.5", "1"]), ordered: true }.parse("1.0"), Some(Answer::Member(1)));
    }

    #[test]
    fn faults_are_named() {
        assert!(Domain::Members { labels: labels(&["a", "a"]), ordered: false }.fault().is_some());
        assert!(Domain::Int { low: 2, high: 1, log: false }.fault().is_some());
        assert!(Domain::Real { low: 0.0, high: 1.0, log: true }.fault().is_some());
        assert!(Domain::Subset { labels: labels(&["a"]), low: 0, high: 2 }.fault().is_some());
    }
}
