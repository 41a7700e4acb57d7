//! Orders along the last axis. NaN counts as larger than any number, and the two zeros as equal.

use super::{Array, Entry};

/// Indices that put a row in order; equal entries keep theirs.
fn indices<T: Entry>(row: &[T], largest_first: bool) -> impl Iterator<Item = u32> {
    let flip = if largest_first { u64::MAX } else { 0 };
    let mut order: Vec<(u64, u32)> = row.iter().zip(0..).map(|(x, i)| (x.order() ^ flip, i)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, i)| i)
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
    x.rows().flat_map(|row| indices(row, largest_first)).map(|i| T::from_f64(f64::from(i))).collect()
}

/// The place of each entry in its row's order.
pub(super) fn rank<T: Entry>(x: &Array<'_, T>, largest_first: bool) -> Vec<T> {
    let mut out = Vec::with_capacity(x.entries.len());
    for row in x.rows() {
        let start = out.len();
        out.resize(start + row.len(), T::default());
        for (place, i) in indices(row, largest_first).enumerate() {
            out[start + i as usize] = T::from_f64(place as f64);
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
