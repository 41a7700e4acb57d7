//! The place of each key of a row in the row's order, in O(n) for most rows.
//!
//! Keys are dealt out to about as many buckets as there are keys, which share the row's range evenly. Where all buckets hold few,
//! a key's place is where its bucket begins plus how many of the next few keys come before it: a comparison of vectors, and no
//! branch that data decides. Where some hold more, mostly since many keys are equal, as differences of numbers stored in 16 bits
//! are, the keys are nearly in order when they are dealt out, and insertion puts the others right; where some lie far apart
//! from all others it would take long, and what is in fuller buckets is sorted.
//!
//! The result does not depend on the buckets, whose bounds are rounded.

use super::scan::{for_best_cpu, number, order_key};

/// Buffers of [`places`], to be used again.
#[derive(Debug, Default)]
pub struct Scratch {
    bucket: Vec<u16>,
    /// How many keys of its bucket are before each.
    earlier: Vec<u32>,
    /// Where each bucket begins.
    begins: Vec<u32>,
    /// The keys by bucket, those of a bucket in order, then some that come after all.
    dealt: Vec<u32>,
    words: Vec<u64>,
}

/// Bytes of a [`Scratch`] for each key of the longest row.
pub const BYTES: u64 = 2 + 3 * 4 + 8;

/// So few keys are best sorted at once.
const FEW: usize = 32;
/// Moves for each key that are cheaper than to look for the buckets that need sorting.
const MOST_MOVES: usize = 8;
/// Keys that are compared with each, where no bucket holds more.
const SEEN: usize = 16;
/// Buckets at most: their counters stay in the first cache.
const MOST_BUCKETS: usize = 1 << 13;

/// Puts in place of each key how many of the row come before it, as the bits of an f32: the largest come first, and equal ones in
/// order.
///
/// # Panics
/// If there are more than 2^32 keys.
pub fn places(keys: &mut [u32], scratch: &mut Scratch) {
    let n = keys.len();
    assert!(u32::try_from(n).is_ok(), "{n} keys in a row");
    let Scratch { bucket, earlier, begins, dealt, words } = scratch;
    if n <= FEW {
        words.clear();
        words.extend(keys.iter().zip(0..).map(|(key, i)| word(*key, i)));
        words.sort_unstable();
        return put_in_order(keys, words);
    }
    let buckets = n.min(MOST_BUCKETS);
    let (lo, hi) = range(keys);
    // Of rows without a range, and of those whose range is not a number of f32, all come into the first or last bucket.
    let scale = buckets as f32 / (number(hi) - number(lo));
    bucket.resize(n, 0);
    deal(keys, bucket, number(hi), scale, (buckets - 1) as f32);
    let fullest = count(bucket, earlier, begins, buckets) as usize;
    let at = |b: u16, earlier: u32| (begins[b as usize] + earlier) as usize;
    let dealt_out = keys.iter().zip(&*bucket).zip(&*earlier).map(|((key, b), earlier)| (*key, at(*b, *earlier)));
    if fullest > SEEN {
        words.resize(n, 0);
        dealt_out.zip(0..).for_each(|((key, at), i)| words[at] = word(key, i));
        if !insert(words, MOST_MOVES * n) {
            sort_full(words, begins);
            insert(words, usize::MAX);
        }
        return put_in_order(keys, words);
    }
    dealt.resize(n + SEEN, 0);
    dealt[n..].fill(0);
    dealt_out.for_each(|(key, at)| dealt[at] = key);
    look(keys, bucket, earlier, begins, dealt);
}

/// Sorts the words of each bucket of more than a few.
fn sort_full(words: &mut [u64], begins: &[u32]) {
    let ends = begins[1..].iter().map(|b| *b as usize).chain([words.len()]);
    let mut begin = 0;
    for end in ends {
        if end - begin > FEW {
            words[begin..end].sort_unstable();
        }
        begin = end;
    }
}

/// Sorts words that are in order but for few places' distance, or gives up where they are not: after so many moves.
fn insert(words: &mut [u64], most: usize) -> bool {
    let Some((first, _)) = words.split_first() else { return true };
    let (mut last, mut left) = (*first, most);
    for i in 1..words.len() {
        let word = words[i];
        if word >= last {
            last = word;
            continue;
        }
        let mut at = i;
        while at > 0 && words[at - 1] > word {
            words[at] = words[at - 1];
            at -= 1;
        }
        words[at] = word;
        match left.checked_sub(i - at) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}

/// What orders as places do: the key upside down, and below it the index.
#[inline(always)]
fn word(key: u32, index: u32) -> u64 {
    u64::from(!key) << 32 | u64::from(index)
}

/// Writes the places of words in order.
fn put_in_order(keys: &mut [u32], words: &[u64]) {
    for (word, place) in words.iter().zip(0u32..) {
        keys[*word as u32 as usize] = (place as f32).to_bits();
    }
}

for_best_cpu!(range, range_body, (keys: &[u32]) -> (u32, u32));

/// The lowest and the highest key of a finite number.
#[inline(always)]
fn range_body(keys: &[u32]) -> (u32, u32) {
    let (least, most) = (order_key(f32::MIN), order_key(f32::MAX));
    let (mut lo, mut hi) = (most, least);
    for &key in keys {
        lo = lo.min(if key < least { most } else { key });
        hi = hi.max(if key > most { least } else { key });
    }
    (lo, hi)
}

for_best_cpu!(deal, deal_body, (keys: &[u32], bucket: &mut [u16], hi: f32, scale: f32, last: f32));

/// The bucket of each key. Every step is monotone, also where it rounds, so that a smaller number is never in an earlier bucket;
/// NaN, and what is above the range, is in the first.
#[inline(always)]
fn deal_body(keys: &[u32], bucket: &mut [u16], hi: f32, scale: f32, last: f32) {
    for (key, b) in keys.iter().zip(bucket) {
        let at = (hi - number(*key)) * scale;
        let at = if at > 0.0 { at } else { 0.0 };
        let at = if at < last { at } else { last };
        // SAFETY: between 0 and `last`, and no NaN: that was not above 0.
        *b = unsafe { at.to_int_unchecked::<i32>() } as u16;
    }
}

/// Counts the keys of each bucket before each key and finds where each bucket begins; gives how many are in the fullest.
fn count(bucket: &[u16], earlier: &mut Vec<u32>, begins: &mut Vec<u32>, buckets: usize) -> u32 {
    begins.clear();
    begins.resize(buckets, 0);
    earlier.resize(bucket.len(), 0);
    for (b, earlier) in bucket.iter().zip(earlier) {
        let count = &mut begins[*b as usize];
        *earlier = *count;
        *count += 1;
    }
    let fullest = largest(begins);
    let mut begin = 0;
    for count in begins {
        begin += std::mem::replace(count, begin);
    }
    fullest
}

for_best_cpu!(largest, largest_body, (counts: &[u32]) -> u32);

#[inline(always)]
fn largest_body(counts: &[u32]) -> u32 {
    counts.iter().fold(0, |most, count| most.max(*count))
}

/// The place of each key, where no bucket holds more than [`SEEN`].
fn look(keys: &mut [u32], bucket: &[u16], earlier: &[u32], begins: &[u32], dealt: &[u32]) {
    #[cfg(target_arch = "x86_64")]
    if super::scan::has_avx512() {
        // SAFETY: the processor has the features, as was just asked.
        return unsafe { look_avx512(keys, bucket, earlier, begins, dealt) };
    }
    look_body(keys, bucket, earlier, begins, dealt);
}

#[inline(always)]
fn look_body(keys: &mut [u32], bucket: &[u16], earlier: &[u32], begins: &[u32], dealt: &[u32]) {
    for ((key, b), earlier) in keys.iter_mut().zip(bucket).zip(earlier) {
        let begin = begins[*b as usize];
        // What is in later buckets is smaller.
        let seen: &[u32; SEEN] = dealt[begin as usize..].first_chunk().expect("as many follow the last key");
        let mut before = 0;
        for (other, i) in seen.iter().zip(0..) {
            before += u32::from(other > key) + u32::from((other == key) & (i < *earlier));
        }
        *key = ((begin + before) as f32).to_bits();
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi1,bmi2,popcnt")]
fn look_avx512(keys: &mut [u32], bucket: &[u16], earlier: &[u32], begins: &[u32], dealt: &[u32]) {
    use std::arch::x86_64::*;
    for ((key, b), earlier) in keys.iter_mut().zip(bucket).zip(earlier) {
        let begin = begins[*b as usize];
        let this = _mm512_set1_epi32(*key as i32);
        let seen: &[u32; SEEN] = dealt[begin as usize..].first_chunk().expect("as many follow the last key");
        // SAFETY: there are 16 keys.
        let seen = unsafe { _mm512_loadu_si512(seen.as_ptr().cast()) };
        let larger = u32::from(_mm512_cmpgt_epu32_mask(seen, this));
        let equal = _bzhi_u32(_mm512_cmpeq_epu32_mask(seen, this).into(), *earlier);
        *key = ((begin + (larger | equal).count_ones()) as f32).to_bits();
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
        for n in [0, 1, 2, 32, 33, 100, 2048, 5632, 40_001] {
            let mut all = hard(n);
            let ends = [f32::MAX, f32::MIN, 1e-45, -1e-45, 0.0, f32::INFINITY];
            let only = [f32::INFINITY, f32::NAN, f32::NEG_INFINITY];
            all.push(("as far apart as can be", (0..n).map(|i| ends[i * 7 % 5]).collect()));
            all.push(("farther", (0..n).map(|i| ends[i * 7 % 6]).collect()));
            all.push(("closest", (0..n).map(|i| f32::from_bits(i as u32 % 3)).collect()));
            all.push(("without a finite one", (0..n).map(|i| only[i % 3]).collect()));
            all.push(("twenty of each", (0..n).map(|i| (i * 7 % n / 20) as f32).collect()));
            for (name, mut numbers) in all {
                let mut wanted = vec![0.0; n];
                downwards(&numbers).into_iter().enumerate().for_each(|(place, i)| wanted[i] = place as f32);
                let keys = to_keys(&mut numbers);
                places(keys, &mut scratch);
                assert!(keys.iter().zip(wanted).all(|(k, w)| f32::from_bits(*k) == w), "{name}, {n}");
            }
        }
    }

    #[test]
    fn all_versions_of_a_look_agree() {
        let n = 1000;
        for (name, mut numbers) in hard(n) {
            let order = downwards(&numbers);
            let keys = to_keys(&mut numbers);
            // Buckets of ten.
            let (mut bucket, mut earlier, mut dealt) = (vec![0; n], vec![0; n], Vec::new());
            for (place, i) in order.iter().enumerate() {
                bucket[*i] = (place / 10) as u16;
                earlier[*i] = order[place / 10 * 10..][..10].iter().filter(|other| *other < i).count() as u32;
            }
            for members in order.chunks(10) {
                let mut members = members.to_vec();
                members.sort_unstable();
                dealt.extend(members.iter().map(|i| keys[*i]));
            }
            dealt.extend([0; SEEN]);
            let begins: Vec<u32> = (0..n as u32 / 10).map(|b| b * 10).collect();
            let all = [look, look_body].map(|look| {
                let mut keys = keys.to_vec();
                look(&mut keys, &bucket, &earlier, &begins, &dealt);
                keys
            });
            for (place, i) in order.iter().enumerate() {
                assert!(all.iter().all(|keys| f32::from_bits(keys[*i]) == place as f32), "{name}");
            }
        }
    }
}
