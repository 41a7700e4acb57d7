//! Passes over keys in cache: the inner loops of every selection.
//!
//! Each pass exists once as portable code that the compiler vectorises, compiled for the baseline and
//! for AVX2; the one that decides the speed also exists for AVX-512, whose compress instruction gathers
//! the keys of a bracket without a branch. All versions give the same results.

/// Values counted on their own, because many entries have them.
pub const HEAVY: usize = 8;

/// A bracket of keys and the values inside that occur too often to be collected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bracket {
    pub lo: u32,
    pub hi: u32,
    pub heavy: [u32; HEAVY],
    /// How many of `heavy` count.
    pub heavies: usize,
}

impl Bracket {
    /// The keys `lo..=hi`, none of them heavy.
    pub fn new(lo: u32, hi: u32) -> Bracket {
        Bracket { lo, hi, ..Bracket::default() }
    }

    /// One value, which is counted and not collected.
    pub fn value(key: u32) -> Bracket {
        let mut one = Bracket { lo: key, hi: key, heavies: 1, ..Bracket::default() };
        one.heavy[0] = key;
        one
    }
}

/// What a pass over keys counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys above the bracket.
    pub above: u64,
    /// Keys equal to each heavy value.
    pub heavy: [u64; HEAVY],
}

impl Counts {
    /// Adds the counts of another pass.
    pub fn add(&mut self, other: &Counts) {
        self.above += other.above;
        for (a, b) in self.heavy.iter_mut().zip(&other.heavy) {
            *a += b;
        }
    }
}

/// The key that orders like an f32, NaN above everything and -0 equal to 0.
#[inline(always)]
pub fn order_key(x: f32) -> u32 {
    // Adding 0 turns -0 into 0 and leaves every other number as it is.
    let bits = (x + 0.0).to_bits();
    let sign = (bits as i32 >> 31) as u32;
    let key = bits ^ (sign | 0x8000_0000);
    if x.is_nan() { u32::MAX } else { key }
}

/// The number with this key.
pub fn number(key: u32) -> f32 {
    if key == u32::MAX {
        return f32::NAN;
    }
    f32::from_bits(if key & 0x8000_0000 != 0 { key ^ 0x8000_0000 } else { !key })
}

/// Makes a function that runs `$body` compiled for the best instructions the processor has.
macro_rules! for_best_cpu {
    ($(#[$doc:meta])* $name:ident, $body:ident, ($($arg:ident: $ty:ty),*) $(-> $ret:ty)?) => {
        $(#[$doc])*
        pub fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    $body($($arg),*)
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi1,bmi2,popcnt")]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    $body($($arg),*)
                }
                if $crate::select::scan::has_avx512() {
                    // SAFETY: the processor has the features, as was just asked.
                    return unsafe { avx512($($arg),*) };
                }
                if $crate::select::scan::has_avx2() {
                    // SAFETY: the processor has the features, as was just asked.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body($($arg),*)
        }
    };
}
pub(crate) use for_best_cpu;

/// Whether AVX2 and its companions are there.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") && is_x86_feature_detected!("popcnt")
}

/// Whether the AVX-512 that servers and Zen 4 have is there.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && has_avx2()
}

/// Turns numbers into their keys, in place.
pub fn to_keys(numbers: &mut [f32]) -> &mut [u32] {
    // SAFETY: f32 and u32 have the same size and alignment, and any bits are a u32.
    let keys = unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), numbers.len()) };
    convert(keys);
    keys
}

for_best_cpu!(convert, convert_body, (bits: &mut [u32]));

#[inline(always)]
fn convert_body(bits: &mut [u32]) {
    for x in bits {
        *x = order_key(f32::from_bits(*x));
    }
}

for_best_cpu!(
    /// How many keys are above `pivot` and how many equal it.
    count,
    count_body,
    (keys: &[u32], pivot: u32) -> (usize, usize)
);

#[inline(always)]
fn count_body(keys: &[u32], pivot: u32) -> (usize, usize) {
    let (mut above, mut equal) = (0, 0);
    // Short runs let the sums stay in 32-bit lanes.
    for run in keys.chunks(1 << 16) {
        let (mut a, mut e) = (0u32, 0u32);
        for &key in run {
            a += u32::from(key > pivot);
            e += u32::from(key == pivot);
        }
        above += a as usize;
        equal += e as usize;
    }
    (above, equal)
}

/// How keys lie about a pivot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Keys not below the pivot, and the lowest of them.
    pub upper: usize,
    pub lowest_upper: u32,
    /// The highest key below the pivot.
    pub highest_lower: u32,
}

/// Splits keys, of which there are fewer than 2^32, at a pivot.
pub fn split(keys: &[u32], pivot: u32) -> Split {
    #[cfg(target_arch = "x86_64")]
    if has_avx512() {
        // SAFETY: the processor has the features, as was just asked.
        return unsafe { split_avx512(keys, pivot) };
    }
    split_body(keys, pivot)
}

#[inline(always)]
fn split_body(keys: &[u32], pivot: u32) -> Split {
    let (mut upper, mut lowest, mut highest) = (0u32, u32::MAX, 0);
    for &key in keys {
        let is_upper = key >= pivot;
        upper += u32::from(is_upper);
        lowest = lowest.min(if is_upper { key } else { u32::MAX });
        highest = highest.max(if is_upper { 0 } else { key });
    }
    Split { upper: upper as usize, lowest_upper: lowest, highest_lower: highest }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi1,bmi2,popcnt")]
fn split_avx512(keys: &[u32], pivot: u32) -> Split {
    use std::arch::x86_64::*;
    let pivot = _mm512_set1_epi32(pivot as i32);
    let (mut lowest, mut highest) = (_mm512_set1_epi32(-1), _mm512_setzero_si512());
    let mut upper = 0;
    let mut step = |valid: u16, v: __m512i| {
        let above = _mm512_mask_cmpge_epu32_mask(valid, v, pivot);
        upper += above.count_ones() as usize;
        lowest = _mm512_mask_min_epu32(lowest, above, lowest, v);
        highest = _mm512_mask_max_epu32(highest, valid & !above, highest, v);
    };
    let (runs, rest) = keys.as_chunks::<16>();
    for run in runs {
        // SAFETY: a run has 16 keys.
        step(u16::MAX, unsafe { _mm512_loadu_si512(run.as_ptr().cast()) });
    }
    if !rest.is_empty() {
        let valid = (1u16 << rest.len()) - 1;
        // SAFETY: the mask covers the keys that are left.
        step(valid, unsafe { _mm512_maskz_loadu_epi32(valid, rest.as_ptr().cast()) });
    }
    Split { upper, lowest_upper: _mm512_reduce_min_epu32(lowest), highest_lower: _mm512_reduce_max_epu32(highest) }
}

/// The place of the `nth` (from 1) key that equals `value`.
pub fn nth_equal(keys: &[u32], value: u32, nth: usize) -> Option<usize> {
    let mut left = nth;
    for (i, run) in keys.chunks(512).enumerate() {
        let (_, equal) = count(run, value);
        if equal >= left {
            let inside = run.iter().enumerate().filter(|(_, k)| **k == value).nth(left.checked_sub(1)?)?.0;
            return Some(i * 512 + inside);
        }
        left -= equal;
    }
    None
}

/// Counts keys above the bracket and keys of each heavy value, and appends the bracket's others to
/// `inside`, in order.
pub fn scan(keys: &[u32], bracket: &Bracket, inside: &mut Vec<u32>) -> Counts {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
        fn avx2(keys: &[u32], bracket: &Bracket, inside: &mut Vec<u32>) -> Counts {
            scan_body(keys, bracket, inside)
        }
        if has_avx512() {
            // SAFETY: the processor has the features, as was just asked.
            return unsafe {
                match bracket.heavies {
                    0 => scan_avx512::<false>(keys, bracket, inside),
                    _ => scan_avx512::<true>(keys, bracket, inside),
                }
            };
        }
        if has_avx2() {
            // SAFETY: the processor has the features, as was just asked.
            return unsafe { avx2(keys, bracket, inside) };
        }
    }
    scan_body(keys, bracket, inside)
}

#[inline(always)]
fn scan_body(keys: &[u32], bracket: &Bracket, inside: &mut Vec<u32>) -> Counts {
    let mut counts = Counts::default();
    let span = bracket.hi.wrapping_sub(bracket.lo);
    for run in keys.chunks(16) {
        let (mut above, mut within) = (0u32, 0u32);
        for &key in run {
            above += u32::from(key > bracket.hi);
            within += u32::from(key.wrapping_sub(bracket.lo) <= span);
        }
        counts.above += u64::from(above);
        // Brackets are narrow, so most runs end here.
        if within == 0 {
            continue;
        }
        for &key in run {
            if key.wrapping_sub(bracket.lo) <= span {
                match bracket.heavy[..bracket.heavies].iter().position(|h| *h == key) {
                    Some(h) => counts.heavy[h] += 1,
                    None => inside.push(key),
                }
            }
        }
    }
    counts
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi1,bmi2,popcnt")]
fn scan_avx512<const HEAVIES: bool>(keys: &[u32], bracket: &Bracket, inside: &mut Vec<u32>) -> Counts {
    use std::arch::x86_64::*;
    let mut counts = Counts::default();
    let hi = _mm512_set1_epi32(bracket.hi as i32);
    let lo = _mm512_set1_epi32(bracket.lo as i32);
    let span = _mm512_set1_epi32(bracket.hi.wrapping_sub(bracket.lo) as i32);
    let heavy: [__m512i; HEAVY] = bracket.heavy.map(|h| _mm512_set1_epi32(h as i32));
    let heavy = &heavy[..bracket.heavies];
    // Room for every key, and for the whole register that is stored after the last.
    inside.reserve(keys.len() + 16);
    let mut out = inside.spare_capacity_mut().as_mut_ptr().cast::<u32>();
    let mut above = 0;
    let mut step = |valid: u16, v: __m512i| {
        above += u64::from(_mm512_mask_cmpgt_epu32_mask(valid, v, hi).count_ones());
        let mut within = _mm512_mask_cmple_epu32_mask(valid, _mm512_sub_epi32(v, lo), span);
        if HEAVIES {
            for (count, value) in counts.heavy.iter_mut().zip(heavy) {
                let equal = _mm512_mask_cmpeq_epi32_mask(within, v, *value);
                *count += u64::from(equal.count_ones());
                within &= !equal;
            }
        }
        // SAFETY: at most as many keys as were visited are kept, so the register stays within what was
        // reserved. The store is of all of it because a masked compress to memory is far slower.
        unsafe {
            _mm512_storeu_si512(out.cast(), _mm512_maskz_compress_epi32(within, v));
            out = out.add(within.count_ones() as usize);
        }
    };
    let (runs, rest) = keys.as_chunks::<16>();
    for run in runs {
        // SAFETY: a run has 16 keys.
        step(u16::MAX, unsafe { _mm512_loadu_si512(run.as_ptr().cast()) });
    }
    if !rest.is_empty() {
        let valid = (1u16 << rest.len()) - 1;
        // SAFETY: the mask covers the keys that are left.
        step(valid, unsafe { _mm512_maskz_loadu_epi32(valid, rest.as_ptr().cast()) });
    }
    counts.above = above;
    // SAFETY: `out` started at the vector's end, and the keys before it were written.
    unsafe { inside.set_len(out.offset_from(inside.as_ptr()) as usize) };
    counts
}

/// Bins of [`histogram`].
pub const BINS: usize = 4096;

/// How far keys of `lo..=hi` are shifted to fall into [`BINS`] bins.
pub fn shift(lo: u32, hi: u32) -> u32 {
    (32 - (hi - lo).leading_zeros()).saturating_sub(BINS.ilog2())
}

/// Adds the keys of `lo..=hi` to bins of equal width and counts those above.
pub fn histogram(keys: &[u32], lo: u32, hi: u32, bins: &mut [u32; BINS]) -> u64 {
    let (shift, span) = (shift(lo, hi), hi - lo);
    let mut above = 0;
    for &key in keys {
        let place = key.wrapping_sub(lo);
        if place <= span {
            bins[(place >> shift) as usize & (BINS - 1)] += 1;
        }
        above += u64::from(key > hi);
    }
    above
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_like_numbers() {
        let sorted = [f32::NEG_INFINITY, -3.0, -1.0e-40, -0.0, 1.0e-40, 2.0, f32::MAX, f32::INFINITY, f32::NAN].map(order_key);
        assert!(sorted.is_sorted() && sorted.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(order_key(-0.0), order_key(0.0));
        assert_eq!(order_key(-f32::NAN), u32::MAX);
        for x in [f32::NEG_INFINITY, -3.5, 0.0, 1.0e-40, f32::INFINITY] {
            assert_eq!(number(order_key(x)), x);
        }
        assert!(number(u32::MAX).is_nan());
    }

    #[test]
    fn all_versions_of_a_scan_agree() {
        let mut state = 1u32;
        for n in [0, 1, 15, 16, 17, 63, 64, 65, 1009] {
            let keys: Vec<u32> = (0..n)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state >> 24
                })
                .collect();
            let mut bracket = Bracket::new(40, 90);
            bracket.heavy[..2].copy_from_slice(&[50, 77]);
            bracket.heavies = 2;
            let (mut a, mut b) = (vec![7], vec![7]);
            assert_eq!(scan(&keys, &bracket, &mut a), scan_body(&keys, &bracket, &mut b));
            assert_eq!(a, b);
            let mut bins = [0; BINS];
            let above = histogram(&keys, 40, 90, &mut bins);
            assert_eq!(above as usize, keys.iter().filter(|k| **k > 90).count());
            assert_eq!(bins[10] as usize, keys.iter().filter(|k| **k == 50).count());
            assert_eq!(count(&keys, 50), count_body(&keys, 50));
            assert_eq!(split(&keys, 50), split_body(&keys, 50));
        }
    }

    #[test]
    fn equal_keys_are_found_in_order() {
        let keys: Vec<u32> = (0..2000).map(|i| i % 7).collect();
        assert_eq!(nth_equal(&keys, 3, 1), Some(3));
        assert_eq!(nth_equal(&keys, 3, 200), Some(3 + 7 * 199));
        assert_eq!(nth_equal(&keys, 9, 1), None);
    }

    #[test]
    fn a_histogram_covers_its_range() {
        for (lo, hi) in [(0, u32::MAX), (5, 5), (0, 4095), (0, 4096), (u32::MAX - 9000, u32::MAX)] {
            let last = (hi - lo) >> shift(lo, hi);
            assert!((last as usize) < BINS && (last > 0 || lo == hi), "{lo} {hi}");
        }
    }
}
