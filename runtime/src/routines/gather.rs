//! Slices taken from places and put to places.

use super::{Array, Entry, Fault};
use crate::codes;

/// Entries before, along and after an axis: `[outer, len, inner]`.
fn around(shape: &[u64], axis: u32) -> (usize, usize, usize) {
    let axis = axis as usize;
    let product = |s: &[u64]| s.iter().product::<u64>() as usize;
    (product(&shape[..axis]), shape[axis] as usize, product(&shape[axis + 1..]))
}

/// An entry as an index below `len`.
fn place<T: Entry>(x: T, len: usize) -> Result<usize, Fault> {
    let at = x.to_f64();
    if at >= 0.0 && at < len as f64 && at.fract() == 0.0 {
        return Ok(at as usize);
    }
    Err(Fault::new(
        codes::NO_SUCH_PLACE,
        format!("is given the place {at}, and there are {len}, counted from 0"),
        "take places from `sort_index`, `indices`, `assignment` or `permutation`, or round and clamp them",
    ))
}

/// The slices of `x` at places along an axis.
pub(super) fn take<T: Entry>(x: &Array<'_, T>, at: &Array<'_, T>, axis: u32) -> Result<Vec<T>, Fault> {
    let (outer, len, inner) = around(x.shape, axis);
    let places = at.entries.iter().map(|p| place(*p, len)).collect::<Result<Vec<_>, _>>()?;
    let mut out = Vec::with_capacity(outer * places.len() * inner);
    for o in 0..outer {
        let block = &x.entries[o * len * inner..][..len * inner];
        if inner == 1 {
            out.extend(places.iter().map(|p| block[*p]));
        } else {
            places.iter().for_each(|p| out.extend_from_slice(&block[p * inner..][..inner]));
        }
    }
    Ok(out)
}

/// One entry of each row.
pub(super) fn take_along<T: Entry>(x: &Array<'_, T>, at: &Array<'_, T>) -> Result<Vec<T>, Fault> {
    let n = *x.shape.last().expect("an axis") as usize;
    at.entries.iter().enumerate().map(|(row, p)| Ok(x.entries[row * n + place(*p, n)?])).collect()
}

/// The slices of `x` put to places along an axis of length `len`; zeros elsewhere.
pub(super) fn scatter<T: Entry>(x: &Array<'_, T>, at: &Array<'_, T>, axis: u32, len: u64) -> Result<Vec<T>, Fault> {
    let (outer, count, inner) = around(x.shape, axis);
    let len = len as usize;
    let places = at.entries.iter().map(|p| place(*p, len)).collect::<Result<Vec<_>, _>>()?;
    let mut taken = vec![false; len];
    for p in &places {
        if std::mem::replace(&mut taken[*p], true) {
            let what = format!("is given the place {p} twice");
            return Err(Fault::new(codes::PLACE_TWICE, what, "give each slice a place of its own"));
        }
    }
    let mut out = vec![T::default(); outer * len * inner];
    for o in 0..outer {
        for (i, p) in places.iter().enumerate() {
            let from = &x.entries[(o * count + i) * inner..][..inner];
            out[(o * len + p) * inner..][..inner].copy_from_slice(from);
        }
    }
    Ok(out)
}

/// The indices of the entries that are not 0, rising.
pub(super) fn indices<T: Entry>(x: &Array<'_, T>, count: u64) -> Result<Vec<T>, Fault> {
    let zero = T::default();
    let found: Vec<T> = x.entries.iter().enumerate().filter(|(_, x)| **x != zero).map(|(i, _)| T::from_f64(i as f64)).collect();
    if found.len() as u64 == count {
        return Ok(found);
    }
    Err(Fault::new(
        codes::COUNTS_DIFFER,
        format!("is to find {count} entries that are not 0, and there are {}", found.len()),
        "the count must be that of the mask; `rank(x, largest_first: true) < n` holds at exactly `n` places",
    ))
}

/// The values in turn where a mask is not 0, and 0 elsewhere.
pub(super) fn unpack<T: Entry>(mask: &Array<'_, T>, values: &Array<'_, T>) -> Result<Vec<T>, Fault> {
    let zero = T::default();
    let wanted = mask.entries.iter().filter(|m| **m != zero).count();
    if wanted != values.entries.len() {
        return Err(Fault::new(
            codes::COUNTS_DIFFER,
            format!("is given {} values for {wanted} places of the mask", values.entries.len()),
            "the values must come from the same mask that they are unpacked by",
        ));
    }
    let mut values = values.entries.iter();
    let mut next = |m: &T| if *m == zero { zero } else { *values.next().expect("as many as places") };
    Ok(mask.entries.iter().map(&mut next).collect())
}
