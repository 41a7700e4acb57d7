//! Orders along the last axis. NaN counts as larger than any number, and the two zeros as equal.

use super::{Array, Entry};
use crate::select::place;

/// The key of an entry of 32 bits. Numbers end below, so that NaN has the last key to itself.
fn key<T: Entry>(x: &T) -> u32 {
    u32::try_from(x.order()).unwrap_or(u32::MAX)
}

/// Finds the order of one row after the other, in the same memory.
#[derive(Default)]
struct Sorter {
    /// Key and index in one number, where a key has 32 bits: half the memory to move, and one comparison.
    packed: Vec<u64>,
    pairs: Vec<(u64, u32)>,
    indices: Vec<u32>,
}

impl Sorter {
    /// Indices that put a row in order; equal entries keep theirs.
    fn order<T: Entry>(&mut self, row: &[T], largest_first: bool) -> &[u32] {
        self.indices.clear();
        if size_of::<T>() == 4 {
            let flip = if largest_first { u32::MAX } else { 0 };
            self.packed.clear();
            self.packed.extend(row.iter().zip(0u64..).map(|(x, i)| u64::from(key(x) ^ flip) << 32 | i));
            self.packed.sort_unstable();
            self.indices.extend(self.packed.iter().map(|p| *p as u32));
        } else {
            let flip = if largest_first { u64::MAX } else { 0 };
            self.pairs.clear();
            self.pairs.extend(row.iter().zip(0..).map(|(x, i)| (x.order() ^ flip, i)));
            self.pairs.sort_unstable();
            self.indices.extend(self.pairs.iter().map(|(_, i)| *i));
        }
        &self.indices
    }
}

/// Each row in order.
pub(super) fn sort<T: Entry>(x: &Array<'_, T>, largest_first: bool) -> Vec<T> {
    let mut out = x.entries.to_vec();
    let len = x.shape.last().map_or(1, |n| *n as usize).max(1);
    for row in out.chunks_exact_mut(len) {
        // Stable: zeros of both signs keep their order.
        let flip = if largest_first { u64::MAX } else { 0 };
        row.sort_by_key(|x| x.order() ^ flip);
    }
    out
}

/// The indices that put each row in order.
pub(super) fn sort_index<T: Entry>(x: &Array<'_, T>, largest_first: bool) -> Vec<T> {
    let mut sorter = Sorter::default();
    let mut out = Vec::with_capacity(x.entries.len());
    for row in x.rows() {
        out.extend(sorter.order(row, largest_first).iter().map(|i| T::from_f64(f64::from(*i))));
    }
    out
}

/// The place of each entry in its row's order.
pub(super) fn rank<T: Entry>(x: &Array<'_, T>, largest_first: bool) -> Vec<T> {
    let mut out = Vec::with_capacity(x.entries.len());
    if size_of::<T>() == 4 {
        // As tiles rank their rows, with the same places.
        let (mut keys, mut scratch) = (Vec::new(), place::Scratch::default());
        for row in x.rows() {
            keys.clear();
            keys.extend(row.iter().map(|x| key(x) ^ if largest_first { 0 } else { u32::MAX }));
            place::places(&mut keys, &mut scratch);
            out.extend(keys.iter().map(|place| T::from_f64(f32::from_bits(*place).into())));
        }
        return out;
    }
    let mut sorter = Sorter::default();
    for row in x.rows() {
        let start = out.len();
        out.resize(start + row.len(), T::default());
        for (place, i) in sorter.order(row, largest_first).iter().enumerate() {
            out[start + *i as usize] = T::from_f64(place as f64);
        }
    }
    out
}

/// Running sums of each row, added in f64.
pub(super) fn cumsum<T: Entry>(x: &Array<'_, T>) -> Vec<T> {
    x.rows()
        .flat_map(|row| {
            row.iter().scan(0.0, |sum, x| {
                *sum += x.to_f64();
                Some(T::from_f64(*sum))
            })
        })
        .collect()
}

/// The index of the largest entry of each row, the first of equal ones.
pub(super) fn argmax<T: Entry>(x: &Array<'_, T>) -> Vec<T> {
    let first_largest = |row: &[T]| {
        let larger = |best: usize, i: usize| if row[i].order() > row[best].order() { i } else { best };
        (1..row.len()).fold(0, larger)
    };
    x.rows().map(|row| T::from_f64(first_largest(row) as f64)).collect()
}
