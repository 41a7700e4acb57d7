//! Random numbers that mean the same on every machine and in every version of this program.
//!
//! Only the stream of bits is another crate's (ChaCha8, which is fixed by its definition); what is made of the bits is here, since
//! crates of distributions change theirs between versions. Logarithms and cosines are libm's, not the platform's.

use num_bigint::BigUint;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};
use sha2::{Digest, Sha256};

/// A stream of random numbers, named so that two users of one seed do not draw the same.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    pub fn new(seed: u64, name: &str) -> Rng {
        let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name.as_bytes()).finalize();
        Rng(ChaCha8Rng::from_seed(digest.into()))
    }

    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `0..n`, without bias (Lemire's method); 0 for `n = 0`.
    pub fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        loop {
            let product = u128::from(self.bits()) * u128::from(n);
            // The few low products are dropped of which one interval has one more than another.
            if product as u64 >= n.wrapping_neg() % n.max(1) {
                return (product >> 64) as usize;
            }
        }
    }

    /// Uniform in `0..n`; 0 for `n = 0`.
    pub fn below_big(&mut self, n: &BigUint) -> BigUint {
        let bits = n.bits();
        if bits == 0 {
            return BigUint::ZERO;
        }
        loop {
            let words: Vec<u32> = (0..bits.div_ceil(32)).map(|_| (self.bits() >> 32) as u32).collect();
            let drawn = BigUint::from_slice(&words) >> (words.len() as u64 * 32 - bits);
            if drawn < *n {
                return drawn;
            }
        }
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Normal with mean 0 and variance 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(2.0 * std::f64::consts::PI * self.unit())
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.below(items.len())) }
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_never_changes() {
        let mut rng = Rng::new(7, "test");
        let drawn: Vec<u64> = (0..3).map(|_| rng.bits()).collect();
        let expected = [10_784_424_237_160_269_094, 11_196_605_027_370_470_819, 11_767_441_696_723_128_159];
        assert_eq!(drawn, expected, "journals depend on it");
    }

    #[test]
    fn draws_are_uniform() {
        let mut rng = Rng::new(1, "uniform");
        let mut counts = [0f64; 7];
        let mut big = [0f64; 7];
        for _ in 0..70_000 {
            counts[rng.below(7)] += 1.0;
            big[usize::try_from(rng.below_big(&7u32.into())).unwrap()] += 1.0;
        }
        for counts in [counts, big] {
            let chi2: f64 = counts.iter().map(|n| (n - 10_000.0) * (n - 10_000.0) / 10_000.0).sum();
            assert!(chi2 < 22.5, "p = 0.001 at 6 degrees: {chi2}");
        }
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..100_000 {
            let z = rng.normal();
            sum += z;
            squares += z * z;
        }
        assert!((sum / 1e5).abs() < 0.02 && (squares / 1e5 - 1.0).abs() < 0.02);
    }
}
