//! The place of each key of a row in the row's order, in O(n).
//!
//! A radix sort by the least significant digit first, which keeps the order of equal keys. It is made for rows of thousands of
//! keys in cache, whose keys are much alike: what all keys share is taken off before, so that keys of few significant bits, as
//! differences of numbers stored in 16 bits are, take few passes. Nothing of a key is moved but what later passes look at, with
//! the key's index beside it in one word.

use super::scan::for_best_cpu;

/// Buffers of [`places`], to be used again.
#[derive(Debug, Default)]
pub struct Scratch {
    narrow: [Vec<u32>; 2],
    wide: [Vec<u64>; 2],
    counts: Vec<u32>,
}

/// So few keys are best sorted by comparison.
const FEW: usize = 64;
/// Bits of a digit: its counters stay in the first cache.
const WIDEST: u32 = 11;
/// Bits of the first digit where that leaves a word half as wide.
const WIDEST_FIRST: u32 = 12;
/// Digits of a key of 32 bits, of the narrowest digits that [`Digits::of`] makes.
const MOST_DIGITS: usize = 5;

/// Puts in place of each key how many of the row come before it, the largest first and equal ones in order, as the bits of an f32.
///
/// # Panics
/// If there are more than 2^32 keys.
pub fn places(keys: &mut [u32], scratch: &mut Scratch) {
    let n = u32::try_from(keys.len()).expect("a row of at most 2^32 keys");
    if keys.len() <= FEW {
        return by_comparison(keys, &mut scratch.wide[0]);
    }
    let top = keys.iter().copied().max().unwrap_or(0);
    let differences = join_differences(keys, top);
    let Some(digits) = Digits::of(differences, n) else {
        // All are equal.
        return keys.iter_mut().zip(0u32..).for_each(|(key, i)| *key = place(i));
    };
    let Scratch { narrow, wide, counts } = scratch;
    count_digits(keys, top, &digits, counts);
    if digits.list().len() == 1 {
        let (mask, shift) = (digits.first().mask(), digits.shared);
        for key in keys {
            let next = &mut counts[((top - *key) >> shift & mask) as usize];
            *key = place(*next);
            *next += 1;
        }
    } else if digits.left_bits() <= u32::BITS {
        sort(keys, top, &digits, counts, narrow);
    } else {
        sort(keys, top, &digits, counts, wide);
    }
}

/// A place as the bits of an f32.
#[inline(always)]
fn place(index: u32) -> u32 {
    (index as f32).to_bits()
}

fn by_comparison(keys: &mut [u32], sorted: &mut Vec<u64>) {
    sorted.clear();
    sorted.extend(keys.iter().zip(0u64..).map(|(key, i)| u64::from(!key) << 32 | i));
    sorted.sort_unstable();
    for (at, key) in sorted.iter().zip(0..) {
        keys[*at as u32 as usize] = place(key);
    }
}

for_best_cpu!(join_differences, join_differences_body, (keys: &[u32], top: u32) -> u32);

/// The bits in which `top - key` is not 0 for some key.
#[inline(always)]
fn join_differences_body(keys: &[u32], top: u32) -> u32 {
    keys.iter().fold(0, |all, key| all | (top - key))
}

/// A few bits of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Digit {
    /// Bits below it, of those that keys do not share.
    below: u32,
    bits: u32,
}

impl Digit {
    fn mask(self) -> u32 {
        (1 << self.bits) - 1
    }
}

/// How a key's difference from the largest is cut up. Sorting the differences upwards sorts the keys downwards.
#[derive(Clone, Copy, Debug)]
struct Digits {
    /// Lowest bits that are 0 in all differences.
    shared: u32,
    /// Bits of the others.
    bits: u32,
    /// Bits of an index.
    index_bits: u32,
    digits: [Digit; MOST_DIGITS],
    count: usize,
}

impl Digits {
    /// For `n` differences with these bits among them; none where all are 0.
    fn of(differences: u32, n: u32) -> Option<Digits> {
        if differences == 0 {
            return None;
        }
        let shared = differences.trailing_zeros();
        let bits = u32::BITS - differences.leading_zeros() - shared;
        let index_bits = u32::BITS - (n - 1).leading_zeros();
        // More counters than keys cost more than another pass.
        let widest = index_bits.clamp(7, WIDEST);
        let count = bits.div_ceil(widest);
        let even = bits.div_ceil(count);
        let first = match (bits + index_bits).saturating_sub(u32::BITS) {
            wanted if count > 1 && (even..=WIDEST_FIRST).contains(&wanted) => wanted,
            _ => even,
        };
        let mut all = Digits { shared, bits, index_bits, digits: [Digit::default(); MOST_DIGITS], count: 0 };
        let mut below = 0;
        while below < bits {
            let left = count - all.count as u32;
            let width = if below == 0 { first } else { (bits - below).div_ceil(left) };
            all.digits[all.count] = Digit { below, bits: width };
            all.count += 1;
            below += width;
        }
        Some(all)
    }

    /// From the lowest.
    fn list(&self) -> &[Digit] {
        &self.digits[..self.count]
    }

    fn first(&self) -> Digit {
        self.digits[0]
    }

    /// Bits of what is moved: an index, and of a key all but its first digit.
    fn left_bits(&self) -> u32 {
        self.bits - self.first().bits + self.index_bits
    }
}

/// For each digit in turn, where in the order of that digit the keys with each of its values begin.
fn count_digits(keys: &[u32], top: u32, digits: &Digits, counts: &mut Vec<u32>) {
    counts.clear();
    counts.resize(digits.list().iter().map(|d| 1 << d.bits).sum(), 0);
    let mut rest = &mut counts[..];
    // Two digits at a time: their counters do not wait for each other.
    for pair in digits.list().chunks(2) {
        let (low, others) = rest.split_at_mut(1 << pair[0].bits);
        let (shift, mask) = (digits.shared + pair[0].below, pair[0].mask());
        rest = others;
        if let [_, second] = pair {
            let (high, others) = rest.split_at_mut(1 << second.bits);
            let (second_shift, second_mask) = (digits.shared + second.below, second.mask());
            rest = others;
            for key in keys {
                let difference = top - key;
                low[(difference >> shift & mask) as usize] += 1;
                high[(difference >> second_shift & second_mask) as usize] += 1;
            }
            begin(high);
        } else {
            keys.iter().for_each(|key| low[((top - key) >> shift & mask) as usize] += 1);
        }
        begin(low);
    }
}

/// From how many there are of each to where each begins.
fn begin(counts: &mut [u32]) {
    let mut sum = 0;
    for count in counts {
        sum += std::mem::replace(count, sum);
    }
}

/// A word that is moved while keys are sorted: what is left of a key above its index.
trait Word: Copy + Default {
    fn new(left: u32, index: u32, index_bits: u32) -> Self;
    fn index(self, index_bits: u32) -> usize;
    /// The bits of the key from `below` on.
    fn left(self, index_bits: u32, below: u32) -> u32;
}

macro_rules! word {
    ($t:ident) => {
        impl Word for $t {
            #[inline(always)]
            fn new(left: u32, index: u32, index_bits: u32) -> $t {
                $t::from(left) << index_bits | $t::from(index)
            }

            #[inline(always)]
            fn index(self, index_bits: u32) -> usize {
                (self & ((1 << index_bits) - 1)) as usize
            }

            #[inline(always)]
            fn left(self, index_bits: u32, below: u32) -> u32 {
                (self >> (index_bits + below)) as u32
            }
        }
    };
}

word!(u32);
word!(u64);

/// Sorts by two digits or more and replaces the keys by their places.
fn sort<W: Word>(keys: &mut [u32], top: u32, digits: &Digits, counts: &mut [u32], [from, to]: &mut [Vec<W>; 2]) {
    let (first, index_bits, n) = (digits.first(), digits.index_bits, keys.len());
    for words in [&mut *from, &mut *to] {
        if words.len() < n {
            words.resize(n, W::default());
        }
    }
    let (mut from, mut to) = (&mut from[..n], &mut to[..n]);
    let (next, mut rest) = counts.split_at_mut(1 << first.bits);
    for (key, index) in keys.iter().zip(0..) {
        let difference = (top - key) >> digits.shared;
        let at = &mut next[(difference & first.mask()) as usize];
        from[*at as usize] = W::new(difference >> first.bits, index, index_bits);
        *at += 1;
    }
    for (number, digit) in digits.list().iter().enumerate().skip(1) {
        let (next, others) = rest.split_at_mut(1 << digit.bits);
        rest = others;
        let (below, mask) = (digit.below - first.bits, digit.mask());
        if number + 1 == digits.count {
            for word in &*from {
                let at = &mut next[(word.left(index_bits, below) & mask) as usize];
                keys[word.index(index_bits)] = place(*at);
                *at += 1;
            }
        } else {
            for word in &*from {
                let at = &mut next[(word.left(index_bits, below) & mask) as usize];
                to[*at as usize] = *word;
                *at += 1;
            }
            std::mem::swap(&mut from, &mut to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::{
        tests::{downwards, hard},
        to_keys,
    };

    #[test]
    fn places_are_those_of_a_stable_sort() {
        let mut scratch = Scratch::default();
        for n in [0, 1, 2, 64, 65, 128, 2048, 5632, 40_001] {
            let mut all = hard(n);
            // Of every width, so that a key has from one digit to the most.
            for bits in [1, 8, 12, 15, 23, 29] {
                let number = |i: usize| f32::from_bits((i as u32).wrapping_mul(2_654_435_769) >> (32 - bits));
                all.push(("of few bits", (0..n).map(number).collect()));
            }
            for (name, numbers) in all {
                let mut wanted = vec![0.0; n];
                downwards(&numbers).into_iter().enumerate().for_each(|(place, i)| wanted[i] = place as f32);
                let mut keys = numbers.clone();
                let keys = to_keys(&mut keys);
                places(keys, &mut scratch);
                let got: Vec<f32> = keys.iter().map(|k| f32::from_bits(*k)).collect();
                assert!(got == wanted, "{name}, {n}");
            }
        }
    }

    #[test]
    fn digits_cover_what_keys_do_not_share() {
        for n in [65, 100, 2048, 5632, 1 << 15, 1 << 24, u32::MAX] {
            for high in 0..32 {
                for low in 0..=high {
                    let digits = Digits::of(1 << high | 1 << low, n).unwrap();
                    assert_eq!((digits.shared, digits.bits), (low, high - low + 1));
                    let mut below = 0;
                    for digit in digits.list() {
                        assert!(digit.below == below && (1..=WIDEST_FIRST).contains(&digit.bits), "{n} {high} {low} {digits:?}");
                        below += digit.bits;
                    }
                    assert_eq!(below, digits.bits);
                }
            }
        }
        assert!(Digits::of(0, 100).is_none());
    }
}
