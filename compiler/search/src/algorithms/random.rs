//! Random search, by decision or over leaves, without repetition.

use crate::rng::Rng;
use crate::searcher::{Known, Proposal, Searcher, Trial};

/// By decision: each is uniform when it is met, so that an arm with a thousand candidates inside is as likely as one with a single
/// one. Over leaves: every candidate is as likely as every other.
#[derive(Debug)]
pub struct Random {
    leaves: bool,
    rng: Rng,
}

impl Random {
    pub fn new(leaves: bool, seed: u64) -> Random {
        Random { leaves, rng: Rng::new(seed, "random") }
    }
}

impl Searcher for Random {
    fn propose(&mut self, known: &Known) -> Proposal {
        let leaves = self.leaves;
        known.fresh(&mut self.rng, |rng| if leaves { known.space.sample_leaf(rng) } else { known.space.sample(rng) })
    }

    fn tell(&mut self, _: &Known, _: &Trial) {}
}
