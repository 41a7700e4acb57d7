//! What was proposed: nothing is proposed twice while anything is left.

use crate::rng::Rng;
use crate::space::{Assignment, Space};
use num_bigint::BigUint;
use rustc_hash::FxHashSet;
use sha2::{Digest, Sha256};

/// The candidates proposed so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// Of candidates; 128 bits of a digest cannot collide by chance.
    keys: FxHashSet<u128>,
    /// Ranks, where the space is finite and its size fits a word.
    ranks: Option<FxHashSet<u64>>,
    size: u64,
}

impl Seen {
    pub fn new(space: &Space) -> Seen {
        let size = u64::try_from(space.count()).ok().filter(|_| space.is_finite());
        Seen { ranks: size.map(|_| FxHashSet::default()), size: size.unwrap_or(0), ..Seen::default() }
    }

    fn key(assignment: &Assignment) -> u128 {
        let digest = Sha256::digest(assignment.key());
        u128::from_le_bytes(digest[..16].try_into().expect("a digest has 32 bytes"))
    }

    /// False if it was there.
    pub fn insert(&mut self, space: &Space, assignment: &Assignment) -> bool {
        let new = self.keys.insert(Seen::key(assignment));
        if let (true, Some(ranks)) = (new, &mut self.ranks) {
            let rank = space.rank(assignment).ok().and_then(|rank| u64::try_from(rank).ok());
            ranks.extend(rank);
        }
        new
    }

    pub fn contains(&self, assignment: &Assignment) -> bool {
        self.keys.contains(&Seen::key(assignment))
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Was every candidate of the space proposed?
    pub fn exhausted(&self) -> bool {
        self.ranks.as_ref().is_some_and(|ranks| ranks.len() as u64 == self.size)
    }

    /// A candidate that was not proposed; none if there is none left. The first unseen one from a random place on.
    pub fn unseen(&self, space: &Space, rng: &mut Rng) -> Option<Assignment> {
        if let Some(ranks) = &self.ranks {
            if self.exhausted() {
                return None;
            }
            let start = rng.below(self.size as usize) as u64;
            let rank = (0..self.size).map(|i| ((u128::from(start) + u128::from(i)) % u128::from(self.size)) as u64);
            let rank = rank.into_iter().find(|rank| !ranks.contains(rank))?;
            return space.unrank(&BigUint::from(rank));
        }
        // More candidates than a word can count: a draw is new.
        (0..1000).map(|_| space.sample_leaf(rng)).find(|drawn| !self.contains(drawn))
    }
}
