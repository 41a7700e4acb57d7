//! Exact selection of the k-th largest among keys in memory, in O(n) and without sorting.
//!
//! Keys are u32 that order like the f32 they come from ([`order_key`]). [`kth_largest`] is Floyd and
//! Rivest's idea (1975, "Expected time bounds for selection"): a small sample brackets the wanted key,
//! one vectorised pass counts what is above the bracket and keeps what is inside, and that repeats on
//! what is left. The result is exact whatever the sample says. Where keys do not fit into memory,
//! `exec::select` makes the same passes over tiles.

pub mod place;
pub mod scan;

use scan::Bracket;
pub use scan::{number, order_key, to_keys};

/// Where a selection falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The k-th largest key.
    pub key: u32,
    /// How many keys are above it.
    pub above: usize,
}

/// Buffers of [`kth_largest`], to be used again.
#[derive(Debug, Default)]
pub struct Scratch {
    near: Vec<u32>,
    next: Vec<u32>,
    sample: Vec<u32>,
    around: Vec<u32>,
}

/// So few keys are best bisected at once.
const FEW: usize = 256;

/// The `k`-th largest key.
///
/// # Panics
/// Unless `1 <= k <= keys.len()`, which callers see to.
pub fn kth_largest(keys: &[u32], k: usize, scratch: &mut Scratch) -> Found {
    assert!((1..=keys.len()).contains(&k), "rank {k} of {} keys", keys.len());
    let Scratch { near, next, sample, .. } = scratch;
    let (mut rank, mut above) = (k, 0);
    let mut first = true;
    let mut single = false;
    // Each turn leaves a fraction. Data made to defeat the sample end in bisection, which needs no luck.
    for _ in 0..32 {
        let left: &[u32] = if first { keys } else { near };
        if left.len() <= FEW {
            break;
        }
        let (lo, hi) = bracket(left, rank, single, sample);
        next.clear();
        let counted = scan::scan(left, &Bracket::new(lo, hi), next).above as usize;
        if rank <= counted {
            next.clear();
            scan::scan(left, &Bracket::new(hi + 1, u32::MAX), next);
            single = false;
        } else if rank <= counted + next.len() {
            rank -= counted;
            above += counted;
            if lo == hi {
                return Found { key: lo, above };
            }
            // A bracket of few distinct values hardly shrinks: ask for the one at the rank.
            single = next.len() * 2 > left.len();
        } else {
            rank -= counted + next.len();
            above += counted + next.len();
            next.clear();
            scan::scan(left, &Bracket::new(0, lo - 1), next);
            single = false;
        }
        std::mem::swap(near, next);
        first = false;
    }
    let found = bisect(if first { keys } else { near }, rank);
    Found { above: above + found.above, ..found }
}

/// The `rank`-th largest of few keys: each pass halves the range of values that are left, from one value
/// that occurs to another, so that equal keys cost no passes.
fn bisect(keys: &[u32], rank: usize) -> Found {
    let (mut lo, mut hi, mut above) = (0, u32::MAX, 0);
    while lo < hi {
        let pivot = lo + (hi - lo) / 2 + 1;
        let split = scan::split(keys, pivot);
        if split.upper >= rank {
            lo = split.lowest_upper;
        } else {
            hi = split.highest_lower;
            above = split.upper;
        }
    }
    Found { key: lo, above }
}

/// A range of keys that the `rank`-th largest is likely in; one key if `single`.
fn bracket(keys: &[u32], rank: usize, single: bool, sample: &mut Vec<u32>) -> (u32, u32) {
    let n = keys.len();
    let m = match n {
        0..=1024 => 64,
        1025..=8192 => 128,
        8193..=65536 => 512,
        _ => 2048,
    };
    sample.clear();
    sample.extend((0..m).map(|i| keys[(i * n + n / 2) / m]));
    let p = rank as f64 / n as f64;
    let at = p * m as f64;
    if single {
        let key = bisect(sample, (at as usize + 1).min(m)).key;
        return (key, key);
    }
    let margin = 2.0 * (m as f64 * p * (1.0 - p)).sqrt() + 1.0;
    let (first, last) = ((at - margin) as usize, (at + margin) as usize + 1);
    let hi = if at < margin { u32::MAX } else { bisect(sample, first + 1).key };
    let lo = if last > m { 0 } else { bisect(sample, last).key };
    (lo, hi)
}

/// Where the last of many alike selections fell. Rows of a tensor are distributed much alike, so the next
/// one is looked for there first; a wrong hint costs a pass and changes no result.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint {
    key: u32,
    /// Keys so far from `key` are looked at; 0 before the first selection.
    reach: u32,
}

/// The first reach: an eighth of the keys between two powers of two.
const FIRST_REACH: u32 = 1 << 20;

/// As [`kth_largest`], looking near the hint first, which is then moved to what was found.
fn kth_near(keys: &[u32], k: usize, scratch: &mut Scratch, hint: &mut Hint) -> Found {
    if keys.len() <= FEW {
        return kth_largest(keys, k, scratch);
    }
    if hint.reach > 0 {
        let around = Bracket::new(hint.key.saturating_sub(hint.reach), hint.key.saturating_add(hint.reach));
        let mut inside = std::mem::take(&mut scratch.around);
        inside.clear();
        let above = scan::scan(keys, &around, &mut inside).above as usize;
        let hit = (above + 1..=above + inside.len()).contains(&k);
        let found = hit.then(|| {
            let found = kth_largest(&inside, k - above, scratch);
            Found { above: above + found.above, ..found }
        });
        // So few that they are quickly bisected, so many that the wanted one is mostly among them.
        hint.reach = match inside.len() {
            _ if !hit => hint.reach.saturating_mul(2),
            n if n > FEW * 3 / 4 => hint.reach - hint.reach / 4,
            n if n < FEW * 3 / 8 => hint.reach.saturating_add(hint.reach / 4 + 1),
            _ => hint.reach,
        };
        scratch.around = inside;
        if let Some(found) = found {
            hint.key = found.key;
            return found;
        }
    }
    let found = kth_largest(keys, k, scratch);
    *hint = Hint { key: found.key, reach: if hint.reach == 0 { FIRST_REACH } else { hint.reach } };
    found
}

/// The threshold and the cut of a selection of `k` of `keys`, as `merge_abi::Selection` defines them;
/// the cut is an index into `keys`. `k` is held within `0..=n`.
pub fn threshold_and_cut(keys: &[u32], k: u64, scratch: &mut Scratch) -> (f32, i64) {
    threshold_and_cut_near(keys, k, scratch, &mut Hint::default())
}

/// As [`threshold_and_cut`], for one of many alike selections.
pub fn threshold_and_cut_near(keys: &[u32], k: u64, scratch: &mut Scratch, hint: &mut Hint) -> (f32, i64) {
    let n = keys.len();
    match clamp_rank(k, n as u64) {
        Rank::None => (f32::INFINITY, -1),
        // Whoever asks for the k-th key itself wants the smallest, not just something below all.
        Rank::All => (number(keys.iter().copied().min().unwrap_or(0)), n as i64 - 1),
        Rank::Some(k) => {
            let found = kth_near(keys, k as usize, scratch, hint);
            let cut = scan::nth_equal(keys, found.key, k as usize - found.above).expect("the k-th key is among the keys");
            (number(found.key), cut as i64)
        }
    }
}

/// How many of `n` a selection takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    None,
    Some(u64),
    All,
}

/// Holds `k` within `0..=n`. None of nothing is none.
pub fn clamp_rank(k: u64, n: u64) -> Rank {
    match k {
        0 => Rank::None,
        _ if n == 0 => Rank::None,
        k if k >= n => Rank::All,
        k => Rank::Some(k),
    }
}

/// `k` as a number of entries: rounded down, not below 0; NaN is 0.
pub fn entries(k: f64) -> u64 {
    k.floor() as u64
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Data that selections find hard, of `n` entries each.
    pub(crate) fn hard(n: usize) -> Vec<(&'static str, Vec<f32>)> {
        let mut state = 88_172_645_463_325_252u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 16_777_216.0
        };
        let mut make = |f: &mut dyn FnMut(usize, f32) -> f32| (0..n).map(|i| f(i, random())).collect::<Vec<f32>>();
        vec![
            ("equal", make(&mut |_, _| 1.5)),
            ("zeros of both signs", make(&mut |i, _| if i % 2 == 0 { 0.0 } else { -0.0 })),
            ("three values", make(&mut |_, r| (r * 3.0).floor())),
            ("forty values", make(&mut |_, r| (r * 40.0).floor() * 0.25 - 3.0)),
            ("uniform", make(&mut |_, r| r)),
            ("skewed", make(&mut |_, r| (-(r + 1e-9).ln()).powi(3))),
            ("signed", make(&mut |_, r| r - 0.5)),
            ("rising", make(&mut |i, _| i as f32)),
            ("falling", make(&mut |i, _| -(i as f32))),
            ("one apart", make(&mut |i, _| if i == n / 3 { 7.0 } else { 0.0 })),
            ("mostly zero", make(&mut |_, r| if r < 0.9 { 0.0 } else { r })),
            ("not finite", {
                let mut odd = |_: usize, r: f32| match (r * 10.0) as u32 {
                    0 => f32::NAN,
                    1 => f32::INFINITY,
                    2 => f32::NEG_INFINITY,
                    3 => -f32::NAN,
                    _ => r,
                };
                make(&mut odd)
            }),
            ("all NaN", make(&mut |_, _| f32::NAN)),
        ]
    }

    /// Indices from the largest to the smallest, NaN first, equal ones in order.
    pub(crate) fn downwards(numbers: &[f32]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..numbers.len()).collect();
        order.sort_by(|a, b| {
            let (a, b) = (numbers[*a], numbers[*b]);
            b.is_nan().cmp(&a.is_nan()).then(b.partial_cmp(&a).unwrap_or(std::cmp::Ordering::Equal))
        });
        order
    }

    /// The definition in `merge_abi::Selection`, by an order that [`downwards`] gave.
    pub(crate) fn by_order(numbers: &[f32], order: &[usize], k: u64) -> (f32, i64) {
        let n = numbers.len() as u64;
        match k.min(n) {
            0 => (f32::INFINITY, -1),
            k if k == n => (numbers[order[n as usize - 1]], n as i64 - 1),
            k => (numbers[order[k as usize - 1]], order[k as usize - 1] as i64),
        }
    }

    /// The definition in `merge_abi::Selection`, by sorting.
    pub(crate) fn by_sorting(numbers: &[f32], k: u64) -> (f32, i64) {
        by_order(numbers, &downwards(numbers), k)
    }

    pub(crate) fn same(a: (f32, i64), b: (f32, i64)) -> bool {
        a.1 == b.1 && (a.0 == b.0 || a.0.is_nan() && b.0.is_nan())
    }

    #[test]
    fn selection_agrees_with_sorting() {
        let mut scratch = Scratch::default();
        for n in [0, 1, 2, 63, 64, 65, 191, 193, 997, 4099, 70_001] {
            for (name, numbers) in hard(n) {
                let order = downwards(&numbers);
                let mut keys = numbers.clone();
                let keys = to_keys(&mut keys);
                let n = n as u64;
                for k in [0, 1, 2, n / 10, n / 2, n - n / 10, n.saturating_sub(1), n, n + 5] {
                    let found = threshold_and_cut(keys, k, &mut scratch);
                    let sorted = by_order(&numbers, &order, k);
                    assert!(same(found, sorted), "{name}, {k} of {n}: {found:?} for {sorted:?}");
                }
            }
        }
    }

    #[test]
    fn hints_change_no_result() {
        let (mut scratch, mut hint) = (Scratch::default(), Hint::default());
        for n in [1, 300, 997, 4099] {
            for (name, numbers) in hard(n) {
                for shift in [0, n / 2, n / 3] {
                    let mut row = [&numbers[shift..], &numbers[..shift]].concat();
                    let k = (n / 3) as u64;
                    let sorted = by_sorting(&row, k);
                    let found = threshold_and_cut_near(to_keys(&mut row), k, &mut scratch, &mut hint);
                    assert!(same(found, sorted), "{name}, {k} of {n}: {found:?} for {sorted:?}");
                }
            }
        }
    }

    #[test]
    fn ranks_from_scalars() {
        assert_eq!(entries(f64::NAN), 0);
        assert_eq!(entries(-3.0), 0);
        assert_eq!(entries(2.99), 2);
        assert_eq!(entries(f64::INFINITY), u64::MAX);
    }
}
