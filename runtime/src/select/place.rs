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
use std::ops::Range;

/// Buffers of [`places`], to be used again.
#[derive(Debug, Default)]
pub struct Scratch {
    bucket: Vec<u16>,
    short: Counted<u16>,
    long: Counted<u32>,
    dealt: Dealt,
}

/// Keys counted by bucket, in numbers as narrow as the row's length allows: so a row's buffers stay in the first cache.
#[derive(Debug, Default)]
pub struct Counted<N> {
    /// How many keys of its bucket are before each.
    earlier: Vec<N>,
    /// Where each bucket begins.
    begins: Vec<N>,
}

/// Keys dealt out.
#[derive(Debug, Default)]
pub struct Dealt {
    /// By bucket, those of a bucket in order of the row, then some that come after all.
    keys: Vec<u32>,
    /// The same with their indices.
    words: Vec<u64>,
}

/// A number of keys of a row.
pub trait Number: Copy + Default {
    fn of(n: u32) -> Self;
    fn get(self) -> u32;
}

impl Number for u16 {
    #[inline(always)]
    fn of(n: u32) -> u16 {
        debug_assert!(n <= u16::MAX.into());
        n as u16
    }

    #[inline(always)]
    fn get(self) -> u32 {
        self.into()
    }
}

impl Number for u32 {
    #[inline(always)]
    fn of(n: u32) -> u32 {
        n
    }

    #[inline(always)]
    fn get(self) -> u32 {
        self
    }
}

/// Bytes of a [`Scratch`] for each key of the longest row: bucket, numbers of 32 bits, and a key dealt out twice.
pub const BYTES: u64 = 2 + 3 * 4 + 8;

/// So few keys are best sorted at once.
const FEW: usize = 32;
/// Moves for each key that are cheaper than to look for the buckets that need sorting.
const MOST_MOVES: usize = 8;
/// Keys that are compared with each, where no bucket holds more.
const SEEN: usize = 16;
/// Words that are looked at together, whether they are in order.
const CHUNK: usize = 16;
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
    let Scratch { bucket, short, long, dealt } = scratch;
    if n <= FEW {
        dealt.words.clear();
        dealt.words.extend(keys.iter().zip(0..).map(|(key, i)| word(*key, i)));
        dealt.words.sort_unstable();
        return put_in_order(keys, &dealt.words);
    }
    let buckets = n.min(MOST_BUCKETS);
    let (lo, hi) = range(keys);
    // Of rows without a range, and of those whose range is not a number of f32, all come into the first or last bucket.
    let scale = buckets as f32 / (number(hi) - number(lo));
    bucket.resize(n, 0);
    deal(keys, bucket, number(hi), scale, (buckets - 1) as f32);
    match u16::try_from(n) {
        Ok(_) => place_short(keys, bucket, buckets, short, dealt),
        Err(_) => place_long(keys, bucket, buckets, long, dealt),
    }
}

for_best_cpu!(
    place_short,
    place,
    (keys: &mut [u32], bucket: &[u16], buckets: usize, counted: &mut Counted<u16>, dealt: &mut Dealt)
);
for_best_cpu!(
    place_long,
    place,
    (keys: &mut [u32], bucket: &[u16], buckets: usize, counted: &mut Counted<u32>, dealt: &mut Dealt)
);

/// The places of keys whose buckets are known.
#[inline(always)]
fn place<N: Number>(keys: &mut [u32], bucket: &[u16], buckets: usize, counted: &mut Counted<N>, dealt: &mut Dealt) {
    let n = keys.len();
    let fullest = counted.count(bucket, buckets) as usize;
    if fullest <= SEEN {
        dealt.keys.resize(n + SEEN, 0);
        dealt.keys[n..].fill(0);
        deal_out(bucket, &counted.earlier, &counted.begins, keys.iter().copied(), &mut dealt.keys[..n]);
        return look(keys, bucket, counted, &dealt.keys);
    }
    let words = &mut dealt.words;
    words.resize(n, 0);
    deal_out(bucket, &counted.earlier, &counted.begins, keys.iter().zip(0..).map(|(key, i)| word(*key, i)), words);
    if !insert(words, MOST_MOVES * n) {
        counted.sort_full(words);
        insert(words, usize::MAX);
    }
    put_in_order(keys, words);
}

impl<N: Number> Counted<N> {
    /// Counts the keys of each bucket before each key and finds where each bucket begins; gives how many are in the fullest.
    ///
    #[inline(always)]
    fn count(&mut self, bucket: &[u16], buckets: usize) -> u32 {
        let Counted { earlier, begins } = self;
        begins.clear();
        begins.resize(buckets, N::default());
        earlier.resize(bucket.len(), N::default());
        let (fours, rest) = bucket.as_chunks();
        let (earlier, last) = earlier.as_chunks_mut();
        for (four, earlier) in fours.iter().zip(earlier) {
            *earlier = count_some::<N, 4>(four, begins);
        }
        for (one, earlier) in rest.iter().zip(last) {
            [*earlier] = count_some(&[*one], begins);
        }
        let fullest = begins.iter().fold(0, |most, count| count.get().max(most));
        let mut begin = 0;
        let (fours, rest) = begins.as_chunks_mut::<4>();
        // One after the other they would wait for each other.
        for four in fours {
            let [a, b, c, d] = four.map(Number::get);
            *four = [begin, begin + a, begin + a + b, begin + (a + b + c)].map(N::of);
            begin += (a + b) + (c + d);
        }
        for count in rest {
            begin += std::mem::replace(count, N::of(begin)).get();
        }
        fullest
    }

    /// Sorts the words of each bucket of more than a few.
    fn sort_full(&self, words: &mut [u64]) {
        let ends = self.begins[1..].iter().map(|b| b.get() as usize).chain([words.len()]);
        let mut begin = 0;
        for end in ends {
            if end - begin > FEW {
                words[begin..end].sort_unstable();
            }
            begin = end;
        }
    }
}

/// Puts the values of the row's keys where their buckets are, those of a bucket in order of the row.
#[inline(always)]
fn deal_out<N: Number, V>(bucket: &[u16], earlier: &[N], begins: &[N], values: impl Iterator<Item = V>, out: &mut [V]) {
    for ((b, earlier), value) in bucket.iter().zip(earlier).zip(values) {
        // SAFETY: `count` met these buckets, so each has a beginning.
        let begin = unsafe { begins.get_unchecked(*b as usize) };
        let at = (begin.get() + earlier.get()) as usize;
        debug_assert!(at < out.len());
        // SAFETY: keys that begin at their bucket's place and follow each other inside of it fill a row of their number.
        unsafe { *out.get_unchecked_mut(at) = value };
    }
}

/// Counts keys; gives how many of its bucket were before each.
#[inline(always)]
fn count_some<N: Number, const K: usize>(bucket: &[u16; K], counts: &mut [N]) -> [N; K] {
    bucket.map(|b| {
        debug_assert!((b as usize) < counts.len());
        // SAFETY: `deal` gives no bucket that there is not.
        let count = unsafe { counts.get_unchecked_mut(b as usize) };
        std::mem::replace(count, N::of(count.get() + 1))
    })
}

/// Sorts words that are in order but for few places' distance, or gives up where they are not: after so many moves.
#[inline(always)]
fn insert(words: &mut [u64], most: usize) -> bool {
    let (mut left, mut at) = (most, 1);
    while at < words.len() {
        let end = words.len().min(at + CHUNK);
        // Mostly all of them are in order already, which vectors see at once.
        let in_order = match words[at - 1..end].first_chunk() {
            Some(chunk) => are_in_order::<{ CHUNK + 1 }>(chunk),
            None => false,
        };
        if !in_order && !insert_some(words, at..end, &mut left) {
            return false;
        }
        at = end;
    }
    true
}

#[inline(always)]
fn are_in_order<const K: usize>(words: &[u64; K]) -> bool {
    (1..K).fold(true, |all, i| all & (words[i - 1] <= words[i]))
}

/// Inserts some words among those before them, which are sorted; false after so many moves.
fn insert_some(words: &mut [u64], some: Range<usize>, left: &mut usize) -> bool {
    let mut last = words[some.start - 1];
    for i in some {
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
            Some(rest) => *left = rest,
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
#[inline(always)]
fn put_in_order(keys: &mut [u32], words: &[u64]) {
    for (word, place) in words.iter().zip(0u32..) {
        debug_assert!((*word as u32 as usize) < keys.len());
        // SAFETY: a word has the index of a key in it.
        unsafe { *keys.get_unchecked_mut(*word as u32 as usize) = (place as f32).to_bits() };
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

/// The place of each key, where no bucket holds more than [`SEEN`].
fn look<N: Number>(keys: &mut [u32], bucket: &[u16], counted: &Counted<N>, dealt: &[u32]) {
    #[cfg(target_arch = "x86_64")]
    if super::scan::has_avx512() {
        // SAFETY: the processor has the features, as was just asked.
        return unsafe { look_avx512(keys, bucket, counted, dealt) };
    }
    look_body(keys, bucket, counted, dealt);
}

#[inline(always)]
fn look_body<N: Number>(keys: &mut [u32], bucket: &[u16], counted: &Counted<N>, dealt: &[u32]) {
    for ((key, b), earlier) in keys.iter_mut().zip(bucket).zip(&counted.earlier) {
        let begin = counted.begins[*b as usize].get();
        // What is in later buckets is smaller.
        let seen: &[u32; SEEN] = dealt[begin as usize..].first_chunk().expect("as many follow the last key");
        let mut before = 0;
        for (other, i) in seen.iter().zip(0..) {
            before += u32::from(other > key) + u32::from((other == key) & (i < earlier.get()));
        }
        *key = ((begin + before) as f32).to_bits();
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi1,bmi2,popcnt")]
fn look_avx512<N: Number>(keys: &mut [u32], bucket: &[u16], counted: &Counted<N>, dealt: &[u32]) {
    use std::arch::x86_64::*;
    for ((key, b), earlier) in keys.iter_mut().zip(bucket).zip(&counted.earlier) {
        let begin = counted.begins[*b as usize].get();
        let this = _mm512_set1_epi32(*key as i32);
        let seen: &[u32; SEEN] = dealt[begin as usize..].first_chunk().expect("as many follow the last key");
        // SAFETY: there are 16 keys.
        let seen = unsafe { _mm512_loadu_si512(seen.as_ptr().cast()) };
        let larger = u32::from(_mm512_cmpgt_epu32_mask(seen, this));
        let equal = _bzhi_u32(_mm512_cmpeq_epu32_mask(seen, this).into(), earlier.get());
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
        for n in [0, 1, 2, 32, 33, 100, 2048, 5632, 40_001, 65_536] {
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
            let (mut bucket, mut earlier, mut dealt) = (vec![0; n], vec![0_u32; n], Vec::new());
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
            let counted = Counted { earlier, begins: (0..n as u32 / 10).map(|b| b * 10).collect() };
            let all = [look::<u32>, look_body].map(|look| {
                let mut keys = keys.to_vec();
                look(&mut keys, &bucket, &counted, &dealt);
                keys
            });
            for (place, i) in order.iter().enumerate() {
                assert!(all.iter().all(|keys| f32::from_bits(keys[*i]) == place as f32), "{name}");
            }
        }
    }
}
