//! Values as points of a unit cube and back: what quasi-random sequences, CMA-ES and plain drawing have in common.

use crate::rng::Rng;
use crate::space::{Assignment, Decision, Domain, Space, Value};

/// The number of coordinates of a value.
pub fn width(domain: &Domain) -> usize {
    match domain {
        Domain::Members { .. } | Domain::Int { .. } | Domain::Real { .. } => 1,
        Domain::Order { n } | Domain::Simplex { n } => *n as usize,
        // The first chooses the size.
        Domain::Subset { n, .. } => *n as usize + 1,
    }
}

/// The value at a point of the cube. Uniform points give uniform values: of a list or an integer range each value, of a real
/// range its (logarithmic) length, of orders and subsets each one, of a simplex its area.
pub fn decode(domain: &Domain, point: &[f64]) -> Value {
    if let Some(value) = domain.only() {
        return value;
    }
    match domain {
        Domain::Members { .. } | Domain::Int { .. } | Domain::Real { .. } => domain.at(point[0]).expect("a line"),
        Domain::Order { .. } => Value::Order(ascending(point)),
        Domain::Subset { n, low, high } => {
            let counts: Vec<f64> = (0..=(*high).min(*n) - low).map(|k| binomial(*n, low + k)).collect();
            let mut left = point[0] * counts.iter().sum::<f64>();
            let mut size = *low as usize;
            for count in &counts[..counts.len() - 1] {
                if left < *count {
                    break;
                }
                left -= count;
                size += 1;
            }
            let mut set = ascending(&point[1..])[..size].to_vec();
            set.sort_unstable();
            Value::Subset(set)
        }
        Domain::Simplex { .. } => {
            // Exponential parts, divided by their sum, are uniform over the simplex.
            let parts: Vec<f64> = point.iter().map(|u| -libm::log((1.0 - u).max(1e-12)) + 1e-12).collect();
            let sum: f64 = parts.iter().sum();
            Value::Simplex(parts.iter().map(|part| part / sum).collect())
        }
    }
}

/// A point that [`decode`] leads back to the value from.
pub fn encode(domain: &Domain, value: &Value) -> Vec<f64> {
    match (domain, value) {
        (_, Value::Order(order)) => {
            let mut point = vec![0.0; order.len()];
            for (place, item) in order.iter().enumerate() {
                point[*item as usize] = (place as f64 + 0.5) / order.len() as f64;
            }
            point
        }
        (Domain::Subset { n, low, high }, Value::Subset(set)) => {
            let counts: Vec<f64> = (*low..=(*high).min(*n)).map(|k| binomial(*n, k)).collect();
            let at = set.len() - *low as usize;
            let before: f64 = counts[..at].iter().sum();
            let mut point = vec![0.75; *n as usize + 1];
            point[0] = (before + 0.5 * counts[at]) / counts.iter().sum::<f64>();
            for item in set {
                point[*item as usize + 1] = 0.25;
            }
            point
        }
        (_, Value::Simplex(parts)) => {
            // Any multiple of the parts leads back; this one keeps their mean where a uniform draw has it.
            let scale = parts.len() as f64;
            parts.iter().map(|part| 1.0 - libm::exp(-part * scale)).collect()
        }
        _ => vec![domain.position(value).unwrap_or(0.5)],
    }
}

/// A uniform value of the domain.
pub fn draw(domain: &Domain, rng: &mut Rng) -> Value {
    let point: Vec<f64> = (0..width(domain)).map(|_| rng.unit()).collect();
    decode(domain, &point)
}

/// A value near another: a step of an ordered domain, two places of an order exchanged, one thing of a subset exchanged, a
/// simplex moved. Of unordered lists any other value. Another value wherever the domain has one.
pub fn neighbour(domain: &Domain, value: &Value, rng: &mut Rng) -> Value {
    for _ in 0..8 {
        let next = step(domain, value, rng);
        if next != *value {
            return next;
        }
    }
    another(domain, value, rng)
}

/// Any other value, uniformly; the same if there is no other.
pub fn another(domain: &Domain, value: &Value, rng: &mut Rng) -> Value {
    if domain.only().is_some() {
        return value.clone();
    }
    loop {
        let next = draw(domain, rng);
        if next != *value {
            return next;
        }
    }
}

fn step(domain: &Domain, value: &Value, rng: &mut Rng) -> Value {
    /// The standard deviation of a step, as a part of the range.
    const STEP: f64 = 0.15;
    match (domain, value) {
        (Domain::Members { labels, ordered: true }, Value::Member(i)) => {
            let step = ((labels.len() as f64 * STEP * rng.normal()).abs().round() as u64).max(1);
            let up = rng.chance(0.5);
            let next = if up { i.saturating_add(step) } else { i.saturating_sub(step) };
            Value::Member(next.min(labels.len() as u64 - 1))
        }
        (Domain::Int { low, high, .. }, Value::Int(v)) => {
            let there = domain.position(value).expect("a line") + STEP * rng.normal();
            match domain.at(mirror(there)) {
                Some(Value::Int(next)) if next != *v => Value::Int(next),
                _ => Value::Int(if rng.chance(0.5) { v.saturating_add(1) } else { v.saturating_sub(1) }.clamp(*low, *high)),
            }
        }
        (Domain::Real { .. }, Value::Real(_)) => {
            let there = domain.position(value).expect("a line") + STEP * rng.normal();
            domain.at(mirror(there)).expect("a line")
        }
        (_, Value::Order(order)) if order.len() > 1 => {
            let mut order = order.clone();
            let (a, b) = (rng.below(order.len()), rng.below(order.len()));
            order.swap(a, b);
            Value::Order(order)
        }
        (Domain::Subset { n, low, high }, Value::Subset(set)) => {
            // Toggle one, and another if the size would leave its range.
            let mut inside: Vec<bool> = (0..*n).map(|item| set.contains(&item)).collect();
            let first = rng.below(*n as usize);
            inside[first] ^= true;
            let size = inside.iter().filter(|inside| **inside).count() as u32;
            if size < *low || size > *high {
                let others: Vec<usize> = (0..*n as usize).filter(|i| *i != first && inside[*i] == inside[first]).collect();
                if let Some(other) = rng.pick(&others) {
                    inside[*other] ^= true;
                }
            }
            let set: Vec<u32> = (0..*n).filter(|item| inside[*item as usize]).collect();
            let next = Value::Subset(set);
            if domain.contains(&next) { next } else { value.clone() }
        }
        (Domain::Simplex { .. }, Value::Simplex(_)) => {
            let point: Vec<f64> = encode(domain, value).iter().map(|x| mirror(x + STEP * rng.normal()).clamp(0.0, 1.0)).collect();
            decode(domain, &point)
        }
        _ => another(domain, value, rng),
    }
}

/// Folds the line onto `[0, 1]`, so that a step over an end comes back.
pub fn mirror(x: f64) -> f64 {
    let turned = (x.abs()) % 2.0;
    if turned > 1.0 { 2.0 - turned } else { turned }
}

impl Space {
    /// A candidate, each decision drawn uniformly from its domain when it is met.
    pub fn sample(&self, rng: &mut Rng) -> Assignment {
        self.walk(&mut |decision: &Decision| draw(decision.domain, rng))
    }

    /// A candidate drawn uniformly from all that differ in more than their reals; its reals are uniform in their ranges.
    pub fn sample_leaf(&self, rng: &mut Rng) -> Assignment {
        let rank = rng.below_big(self.count());
        let drawn = self.unrank_with(&rank, &mut |decision| draw(decision.domain, rng));
        drawn.expect("a rank below the count")
    }
}

/// Indices by ascending coordinate; ties by index.
fn ascending(point: &[f64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..point.len() as u32).collect();
    order.sort_by(|a, b| point[*a as usize].total_cmp(&point[*b as usize]));
    order
}

fn binomial(n: u32, k: u32) -> f64 {
    (0..k.min(n - k)).fold(1.0, |product, i| product * f64::from(n - i) / f64::from(i + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains() -> Vec<Domain> {
        vec![
            Domain::members(["a", "b", "c"]),
            Domain::ordered(["1", "2", "4", "8"]),
            Domain::Int { low: -3, high: 3, log: false },
            Domain::Int { low: 1, high: 64, log: true },
            Domain::Real { low: -1.0, high: 1.0, log: false },
            Domain::Real { low: 1e-5, high: 1e-1, log: true },
            Domain::Order { n: 4 },
            Domain::Subset { n: 5, low: 1, high: 3 },
            Domain::Subset { n: 5, low: 2, high: 2 },
            Domain::Simplex { n: 3 },
        ]
    }

    #[test]
    fn drawn_values_and_neighbours_are_in_the_domain_and_lead_back() {
        let mut rng = Rng::new(3, "encode");
        for domain in domains() {
            for _ in 0..300 {
                let value = draw(&domain, &mut rng);
                assert!(domain.contains(&value), "{domain}: {value:?}");
                let back = decode(&domain, &encode(&domain, &value));
                match (&value, &back) {
                    (Value::Real(a), Value::Real(b)) => assert!((a - b).abs() < 1e-12),
                    (Value::Simplex(a), Value::Simplex(b)) => {
                        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?} {b:?}")
                    }
                    _ => assert_eq!(value, back),
                }
                let near = neighbour(&domain, &value, &mut rng);
                assert!(domain.contains(&near) && near != value, "{domain}: {value:?} {near:?}");
            }
        }
    }

    #[test]
    fn draws_of_finite_domains_are_uniform() {
        let mut rng = Rng::new(4, "chi-square");
        for domain in domains() {
            let Some(count) = domain.small_count() else { continue };
            if matches!(domain, Domain::Int { log: true, .. }) {
                continue;
            }
            let mut seen = vec![0f64; count as usize];
            for _ in 0..1000 * count {
                seen[usize::try_from(domain.rank(&draw(&domain, &mut rng))).unwrap()] += 1.0;
            }
            let chi2: f64 = seen.iter().map(|n| (n - 1000.0) * (n - 1000.0) / 1000.0).sum();
            let (mean, deviation) = (count as f64 - 1.0, (2.0 * (count as f64 - 1.0)).sqrt());
            assert!(chi2 < mean + 5.0 * deviation, "{domain}: {chi2}");
        }
    }

    #[test]
    fn leaves_are_uniform_and_decisions_are_uniform() {
        let space = crate::space::tests::skewed();
        let mut rng = Rng::new(5, "leaves");
        let (mut leaves, mut arms) = (vec![0f64; 11], [0f64; 2]);
        for _ in 0..11_000 {
            leaves[usize::try_from(space.rank(&space.sample_leaf(&mut rng)).unwrap()).unwrap()] += 1.0;
            let first = space.sample(&mut rng).entries()[0].1.clone();
            arms[usize::from(first == Value::Member(1))] += 1.0;
        }
        let chi2: f64 = leaves.iter().map(|n| (n - 1000.0) * (n - 1000.0) / 1000.0).sum();
        assert!(chi2 < 29.6, "p = 0.001 at 10 degrees: {chi2}");
        assert!((arms[0] - 5500.0).abs() < 200.0, "{arms:?}");
    }
}
