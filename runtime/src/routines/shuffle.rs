//! Random orders.

use super::Entry;
use crate::rng;

/// The numbers `0..n` in an order drawn by the key (Fisher and Yates).
pub(super) fn permutation<T: Entry>(n: u64, key: u64) -> Vec<T> {
    let mut all: Vec<u32> = (0..n as u32).collect();
    for i in (1..all.len()).rev() {
        let drawn = (u128::from(rng::word(key, i as u64)) * (i as u128 + 1)) >> 64;
        all.swap(i, drawn as usize);
    }
    all.into_iter().map(|i| T::from_f64(f64::from(i))).collect()
}
