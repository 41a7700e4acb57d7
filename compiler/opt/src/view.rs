//! Affine views and how they compose.
//!
//! A view maps the row-major index of a loop to the row-major index of a tensor: start at an offset and
//! step along dims of a length and a stride. Slices, transposes, broadcasts and pieces of loops are all
//! views, so pushing them through a graph is composing them. A composition of two affine maps is not
//! always affine (a walk that wraps round at the end of an axis in the middle of a dim is not); then
//! [`decompose`] answers `None` and the caller says so to the user.
//!
//! Not here: which operation gives which view (`push_views`).

use merge_abi::View;

/// A walk through a tensor, split into steps that each stay on one axis.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Where it starts, one coordinate per axis.
    pub start: Vec<u64>,
    /// From the outermost to the innermost.
    pub steps: Vec<Step>,
}

/// A dim of a [`Walk`]: its length, and which axis it moves along by how much, if it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub len: u64,
    pub along: Option<(usize, u64)>,
}

impl Walk {
    /// The highest coordinate that it reaches on `axis`.
    pub fn last(&self, axis: usize) -> u64 {
        self.start[axis] + self.reach(axis)
    }

    /// How far it moves along `axis`.
    pub fn reach(&self, axis: usize) -> u64 {
        self.steps.iter().filter_map(|s| s.along.filter(|a| a.0 == axis).map(|a| (s.len - 1) * a.1)).sum()
    }
}

/// The walk that `view` takes through a tensor of shape `lens`, if each of its steps stays on one axis.
/// Neither may be empty.
pub(crate) fn decompose(view: &View, lens: &[u64]) -> Option<Walk> {
    // Axes of length 1 never move; leaving them out makes the axis of a stride unique.
    let axes: Vec<usize> = (0..lens.len()).filter(|a| lens[*a] != 1).collect();
    let mut place = vec![1; axes.len()];
    for i in (0..axes.len().saturating_sub(1)).rev() {
        place[i] = place[i + 1] * lens[axes[i + 1]];
    }
    let mut start = vec![0; lens.len()];
    let mut rest = view.offset;
    for (i, axis) in axes.iter().enumerate() {
        start[*axis] = rest / place[i];
        rest %= place[i];
    }
    if rest != 0 {
        return None;
    }
    let mut steps = Vec::with_capacity(view.dims.len());
    for &(len, stride) in view.dims.iter().rev() {
        let (mut len, mut stride) = (len, stride);
        while len != 1 && stride != 0 {
            let i = place.iter().position(|p| *p <= stride)?;
            if !stride.is_multiple_of(place[i]) {
                return None;
            }
            let (step, axis) = (stride / place[i], axes[i]);
            if i == 0 || (len - 1) * step < lens[axis] {
                steps.push(Step { len, along: Some((axis, step)) });
                len = 1;
            } else {
                let within = lens[axis] / step;
                if !lens[axis].is_multiple_of(step) || !len.is_multiple_of(within) {
                    return None;
                }
                steps.push(Step { len: within, along: Some((axis, step)) });
                len /= within;
                stride *= within;
            }
        }
        if len != 1 {
            steps.push(Step { len, along: None });
        }
    }
    steps.reverse();
    let walk = Walk { start, steps };
    lens.iter().enumerate().all(|(axis, len)| walk.last(axis) < *len).then_some(walk)
}

/// The view that goes through `outer` first and from where that leads through `inner`: `inner` of `outer`.
pub(crate) fn compose(outer: &View, inner: &View) -> Option<View> {
    let inner = inner.simplified();
    if inner.offset == 0 && matches!(inner.dims[..], [(_, 1)]) {
        return Some(outer.clone());
    }
    let lens: Vec<u64> = inner.dims.iter().map(|d| d.0).collect();
    let walk = decompose(outer, &lens)?;
    Some(follow(&walk, inner.offset, &inner.dims.iter().map(|d| d.1).collect::<Vec<_>>()))
}

/// The view along `walk` through entries that lie `strides[axis]` apart, from `offset` on.
pub(crate) fn follow(walk: &Walk, offset: u64, strides: &[u64]) -> View {
    let dims = walk.steps.iter().map(|s| (s.len, s.along.map_or(0, |(axis, step)| step * strides[axis]))).collect();
    let start: u64 = walk.start.iter().zip(strides).map(|(c, s)| c * s).sum();
    View { offset: offset + start, dims }.simplified()
}

/// Distances between neighbours along each axis of a tensor of this shape.
pub(crate) fn strides(shape: &[u64]) -> Vec<u64> {
    let mut out = vec![1; shape.len()];
    for i in (0..shape.len().saturating_sub(1)).rev() {
        out[i] = out[i + 1] * shape[i + 1];
    }
    out
}

/// From the index of a tensor of shape `to` to that of one of shape `from`, which stretches to it.
pub(crate) fn broadcast(from: &[u64], to: &[u64]) -> View {
    let steps = strides(from);
    let dim = |i: usize| (to[i], if from.get(i).is_none_or(|n| *n == 1) { 0 } else { steps[i] });
    View { offset: 0, dims: (0..to.len()).map(dim).collect() }
}

/// Splits a view into what its outer part and its inner part of `cols` indices do: the start and the
/// dims of the outer part, and the dims of the inner.
pub(crate) fn split_rows(view: &View, cols: u64) -> Option<(View, View)> {
    let (mut inner, mut outer, mut have) = (Vec::new(), Vec::new(), 1);
    for &(len, stride) in view.dims.iter().rev() {
        if have == cols {
            outer.push((len, stride));
        } else if cols.is_multiple_of(have * len) {
            inner.push((len, stride));
            have *= len;
        } else {
            let take = cols / have;
            if !cols.is_multiple_of(have) || !len.is_multiple_of(take) {
                return None;
            }
            inner.push((take, stride));
            outer.push((len / take, stride * take));
            have = cols;
        }
    }
    outer.reverse();
    inner.reverse();
    (have == cols).then(|| (View { offset: view.offset, dims: outer }.simplified(), View { offset: 0, dims: inner }.simplified()))
}

/// Whether every index leads to the same entry.
pub(crate) fn is_constant(view: &View) -> bool {
    view.dims.iter().all(|d| d.0 == 1 || d.1 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(offset: u64, dims: &[(u64, u64)]) -> View {
        View { offset, dims: dims.to_vec() }
    }

    fn indices(v: &View) -> Vec<u64> {
        v.dims.iter().fold(vec![v.offset], |at, (n, s)| at.iter().flat_map(|a| (0..*n).map(move |i| a + i * s)).collect())
    }

    #[test]
    fn a_composition_visits_what_the_two_visit_in_turn() {
        let walks = [
            view(0, &[(24, 1)]),
            view(6, &[(3, 6), (6, 1)]),
            view(0, &[(6, 1), (4, 6)]),
            view(1, &[(2, 12), (3, 2)]),
            view(0, &[(5, 0), (24, 1)]),
            view(0, &[(4, 6), (3, 0), (2, 3), (3, 1)]),
            view(5, &[(1, 1)]),
            view(23, &[]),
        ];
        let maps = [
            view(0, &[(24, 1)]),
            view(3, &[(24, 2)]),
            view(0, &[(4, 1), (6, 4)]),
            view(2, &[(4, 10), (6, 1)]),
            view(0, &[(4, 1), (6, 0)]),
            view(0, &[(2, 100), (2, 0), (6, 7)]),
        ];
        let mut composed = 0;
        for walk in &walks {
            for map in &maps {
                let through = indices(map);
                let wanted: Vec<u64> = indices(walk).iter().map(|i| through[*i as usize]).collect();
                if let Some(got) = compose(walk, map) {
                    assert_eq!(indices(&got), wanted, "{walk:?} then {map:?}");
                    composed += 1;
                }
            }
        }
        assert!(composed > 40, "only {composed} were found to compose");
    }

    #[test]
    fn a_walk_that_wraps_round_is_refused() {
        assert_eq!(compose(&view(3, &[(4, 1)]), &view(0, &[(3, 10), (5, 1)])), None);
        assert_eq!(decompose(&view(0, &[(6, 1)]), &[3, 4]), None);
    }

    #[test]
    fn rows_and_columns_come_apart() {
        let (outer, inner) = split_rows(&view(7, &[(12, 1)]), 4).unwrap();
        assert_eq!((outer, inner), (view(7, &[(3, 4)]), view(0, &[(4, 1)])));
        let (outer, inner) = split_rows(&view(0, &[(3, 1), (2, 0), (2, 0)]), 4).unwrap();
        assert_eq!((outer, inner), (view(0, &[(3, 1)]), view(0, &[(4, 0)])));
        assert_eq!(split_rows(&view(0, &[(9, 1)]), 4), None);
    }

    #[test]
    fn stretched_axes_do_not_move() {
        assert_eq!(broadcast(&[3, 1], &[3, 4]), view(0, &[(3, 1), (4, 0)]));
        assert_eq!(broadcast(&[], &[3, 4]), view(0, &[(3, 0), (4, 0)]));
    }
}
