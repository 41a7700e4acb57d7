//! Every candidate, in the order of ranks.

use crate::searcher::{Known, Proposal, Searcher, Trial};
use num_bigint::BigUint;

/// Ranks 0, 1, 2 and so on of a finite space.
#[derive(Debug, Default)]
pub struct Exhaustive {
    next: BigUint,
}

impl Searcher for Exhaustive {
    fn propose(&mut self, known: &Known) -> Proposal {
        loop {
            let Some(candidate) = known.space.unrank(&self.next) else { return Proposal::Done };
            self.next += 1u32;
            // Of a search before the recipe was edited.
            if !known.seen.contains(&candidate) {
                return Proposal::plain(candidate);
            }
        }
    }

    fn tell(&mut self, _: &Known, _: &Trial) {}
}
