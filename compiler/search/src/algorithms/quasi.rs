//! A quasi-random sequence: the points of a scrambled Halton sequence, a dimension for each coordinate of each decision.
//!
//! Halton (1960) with a random permutation of the digits of each base and place (the nested uniform scrambling of Owen, with
//! one permutation per place instead of one per node), since plain Halton is badly correlated beyond a dozen dimensions. Past
//! the first [`DIMENSIONS`] coordinates, where the bases exceed the number of trials by far, coordinates are plain random.

use crate::encode::{decode, width};
use crate::rng::Rng;
use crate::searcher::{Known, Proposal, Searcher, Trial};
use crate::space::Space;

/// Coordinates that get a base of their own.
const DIMENSIONS: usize = 64;

/// The first index used: the first points of a Halton sequence are the most regular.
const SKIP: u64 = 1;

#[derive(Debug)]
pub struct Quasi {
    rng: Rng,
    /// By slot, the first of its coordinates.
    first: Vec<usize>,
    digits: Vec<Digits>,
    next: u64,
}

/// A base and its permutations, one for each place.
#[derive(Debug)]
struct Digits {
    base: u64,
    places: Vec<Vec<u64>>,
}

impl Digits {
    fn new(base: u64, rng: &mut Rng) -> Digits {
        // As many places as f64 has digits of this base.
        let count = (53.0 * std::f64::consts::LN_2 / libm::log(base as f64)).ceil() as usize;
        let places = (0..count).map(|_| {
            let mut digits: Vec<u64> = (0..base).collect();
            rng.shuffle(&mut digits);
            digits
        });
        Digits { base, places: places.collect() }
    }

    fn at(&self, mut index: u64) -> f64 {
        let (mut x, mut scale) = (0.0, 1.0 / self.base as f64);
        for place in &self.places {
            x += place[(index % self.base) as usize] as f64 * scale;
            index /= self.base;
            scale /= self.base as f64;
        }
        x.min(1.0 - f64::EPSILON)
    }
}

impl Quasi {
    pub fn new(space: &Space, seed: u64) -> Quasi {
        let mut rng = Rng::new(seed, "quasi");
        let mut first = vec![];
        let mut dimensions = 0;
        for (_, domains) in space.decisions() {
            first.push(dimensions);
            dimensions += domains.iter().map(|domain| width(domain)).max().unwrap_or(0);
        }
        let primes = (2u64..).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0));
        let digits = primes.take(dimensions.min(DIMENSIONS)).map(|base| Digits::new(base, &mut rng)).collect();
        Quasi { rng, first, digits, next: SKIP }
    }
}

impl Searcher for Quasi {
    fn propose(&mut self, known: &Known) -> Proposal {
        let (digits, first, next) = (&self.digits, &self.first, &mut self.next);
        known.fresh(&mut self.rng, |rng| {
            let index = *next;
            *next += 1;
            known.space.walk(&mut |decision| {
                let start = first[decision.slot.0 as usize];
                let point: Vec<f64> = (start..start + width(decision.domain))
                    .map(|dimension| digits.get(dimension).map_or_else(|| rng.unit(), |digits| digits.at(index)))
                    .collect();
                decode(decision.domain, &point)
            })
        })
    }

    fn tell(&mut self, _: &Known, _: &Trial) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interval_of_a_base_gets_one_point_of_each_round() {
        for seed in 0..5 {
            let digits = Digits::new(5, &mut Rng::new(seed, "halton"));
            let mut cells: Vec<u64> = (25..50).map(|i| (digits.at(i) * 25.0) as u64).collect();
            cells.sort_unstable();
            assert_eq!(cells, (0..25).collect::<Vec<u64>>());
        }
    }
}
