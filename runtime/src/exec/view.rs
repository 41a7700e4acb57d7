//! Reads and writes what an affine view shows of a tensor.
//!
//! A range of a view's row-major indices falls into a few boxes. A box is read with as few calls as
//! pay: where the entries that are wanted lie close together the span around them is read and they are
//! picked out in memory, otherwise the box is halved along its longest stride.

use super::buffer::Buffer;
use crate::Error;
use merge_abi::View;

/// Largest span that is read at once to pick entries from it, in bytes.
pub(crate) const SPAN: usize = 256 << 10;
/// Reading so many bytes costs about as much as another call.
const CALL: u64 = 4096;

/// Entries that a piece of a tensor must have for its call to be worth while, of the narrowest dtypes.
const RUN: u64 = CALL / 2;

/// Entries along a view across the rows of a tensor that must be read at once for each of its rows to give a piece that pays;
/// 0 where entries lie in order.
pub(crate) fn paying(view: &View) -> u64 {
    let dims = view.simplified().dims;
    match dims.iter().position(|d| d.1 == 1) {
        Some(at) if at + 1 < dims.len() => dims[at].0.min(RUN) * dims[at + 1..].iter().map(|d| d.0).product::<u64>(),
        _ => 0,
    }
}

/// One axis of a box: entries, their distance in the tensor, and in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    len: u64,
    far: u64,
    near: u64,
}

/// Fills a buffer from an entry of a tensor on.
pub(crate) type ReadAt<'f> = dyn FnMut(u64, &mut [u8]) -> Result<(), Error> + 'f;
/// Stores bytes from an entry of a tensor on.
pub(crate) type WriteAt<'f> = dyn FnMut(u64, &[u8]) -> Result<(), Error> + 'f;

/// Reads the entries `start..start + out.len() / size` of a view. `read` fills a buffer from an entry on.
pub(crate) fn read_view(
    view: &View,
    size: u64,
    start: u64,
    out: &mut [u8],
    span: &mut Buffer,
    read: &mut ReadAt<'_>,
) -> Result<(), Error> {
    let len = out.len() as u64 / size;
    boxes(&view.dims, start, len, view.offset, 0, &mut |far, near, axes| read_box(size, far, near, axes, out, span, read))
}

/// Copies the entries `start..start + out.len() / size` of a view of a tensor in memory.
pub(crate) fn copy_view(view: &View, size: u64, start: u64, out: &mut [u8], tensor: &[u8]) -> Result<(), Error> {
    let len = out.len() as u64 / size;
    boxes(&view.dims, start, len, view.offset, 0, &mut |far, near, axes| {
        move_box(size, &by_stride(axes), tensor, far, |a| a.far, out, near, |a| a.near);
        Ok(())
    })
}

/// Writes `data` to the entries of a view from `start` on. `write` stores bytes from an entry on.
pub(crate) fn write_view(
    view: &View,
    size: u64,
    start: u64,
    data: &[u8],
    span: &mut Buffer,
    write: &mut WriteAt<'_>,
) -> Result<(), Error> {
    let len = data.len() as u64 / size;
    boxes(&view.dims, start, len, view.offset, 0, &mut |far, near, axes| write_box(size, far, near, axes, data, span, write))
}

type OnBox<'f> = dyn FnMut(u64, u64, &[Axis]) -> Result<(), Error> + 'f;

/// Cuts `len` indices from `start` on into boxes: the rest of an outer index, whole outer indices, and
/// the beginning of another. `near` is where the first goes.
fn boxes(dims: &[(u64, u64)], start: u64, len: u64, far: u64, near: u64, found: &mut OnBox<'_>) -> Result<(), Error> {
    if len == 0 {
        return Ok(());
    }
    let Some((&(_, stride), inner)) = dims.split_first() else { return found(far, near, &[]) };
    let each: u64 = inner.iter().map(|d| d.0).product();
    let (mut first, within) = (start / each, start % each);
    let (mut near, mut left) = (near, len);
    if within != 0 {
        let head = left.min(each - within);
        boxes(inner, within, head, far + first * stride, near, found)?;
        first += 1;
        near += head;
        left -= head;
    }
    let whole = left / each;
    if whole > 0 {
        let mut axes = vec![Axis { len: whole, far: stride, near: each }];
        let mut below = each;
        for &(len, far) in inner {
            below /= len;
            axes.push(Axis { len, far, near: below });
        }
        found(far + first * stride, near, &axes)?;
    }
    boxes(inner, 0, left % each, far + (first + whole) * stride, near + whole * each, found)
}

/// The axes that matter, those close together in the tensor first.
fn by_stride(axes: &[Axis]) -> Vec<Axis> {
    let mut axes: Vec<Axis> = axes.iter().copied().filter(|a| a.len > 1).collect();
    axes.sort_by_key(|a| (a.far, a.near));
    axes
}

/// Entries in one piece of the tensor, and how many such pieces; repeats not counted.
fn pieces(sorted: &[Axis]) -> (u64, u64) {
    let (mut run, mut pieces) = (1, 1);
    for axis in sorted.iter().filter(|a| a.far > 0) {
        if axis.far == run && pieces == 1 {
            run *= axis.len;
        } else {
            pieces *= axis.len;
        }
    }
    (run, pieces)
}

fn halves(sorted: &[Axis], at: usize) -> ([Vec<Axis>; 2], u64) {
    let first = sorted[at].len / 2;
    let (mut a, mut b) = (sorted.to_vec(), sorted.to_vec());
    a[at].len = first;
    b[at].len -= first;
    ([a, b], first)
}

fn read_box(
    size: u64,
    far: u64,
    near: u64,
    axes: &[Axis],
    out: &mut [u8],
    span: &mut Buffer,
    read: &mut ReadAt<'_>,
) -> Result<(), Error> {
    let sorted = by_stride(axes);
    // Contiguous here and there: no detour.
    let mut run = 1;
    if sorted.iter().all(|a| {
        let fits = a.far == run && a.near == run;
        run *= a.len;
        fits
    }) {
        return read(far, &mut out[(near * size) as usize..((near + run) * size) as usize]);
    }
    let entries = 1 + sorted.iter().map(|a| (a.len - 1) * a.far).sum::<u64>();
    let bytes = entries * size;
    let (_, pieces) = pieces(&sorted);
    if bytes <= SPAN as u64 && (pieces == 1 || bytes <= pieces * CALL) {
        span.reserve(bytes as usize);
        read(far, span.bytes_mut(0, bytes as usize))?;
        move_box(size, &sorted, span.bytes(0, bytes as usize), 0, |a| a.far, out, near, |a| a.near);
        return Ok(());
    }
    let widest = sorted.len() - 1;
    let ([a, b], first) = halves(&sorted, widest);
    let axis = sorted[widest];
    read_box(size, far, near, &a, out, span, read)?;
    read_box(size, far + first * axis.far, near + first * axis.near, &b, out, span, read)
}

fn write_box(
    size: u64,
    far: u64,
    near: u64,
    axes: &[Axis],
    data: &[u8],
    span: &mut Buffer,
    write: &mut WriteAt<'_>,
) -> Result<(), Error> {
    let sorted = by_stride(axes);
    let (run, pieces) = pieces(&sorted);
    let entries: u64 = sorted.iter().map(|a| a.len).product();
    let bytes = run * size;
    // Only whole pieces are written: what lies between belongs to others.
    if pieces == 1 && run == entries {
        let mut step = 1;
        let plain = sorted.iter().all(|a| {
            let fits = a.near == step;
            step *= a.len;
            fits
        });
        if plain {
            return write(far, &data[(near * size) as usize..(near * size + bytes) as usize]);
        }
        if bytes <= SPAN as u64 {
            span.reserve(bytes as usize);
            move_box(size, &sorted, data, near, |a| a.near, span.bytes_mut(0, bytes as usize), 0, |a| a.far);
            return write(far, span.bytes(0, bytes as usize));
        }
    }
    let widest = sorted.len() - 1;
    let ([a, b], first) = halves(&sorted, widest);
    let axis = sorted[widest];
    write_box(size, far, near, &a, data, span, write)?;
    write_box(size, far + first * axis.far, near + first * axis.near, &b, data, span, write)
}

/// Copies the entries of a box between two layouts in memory.
#[allow(clippy::too_many_arguments)] // Two sides of four things each; a struct for them would not say more.
fn move_box(
    size: u64,
    axes: &[Axis],
    from: &[u8],
    from_at: u64,
    from_stride: impl Fn(&Axis) -> u64,
    to: &mut [u8],
    to_at: u64,
    to_stride: impl Fn(&Axis) -> u64,
) {
    let mut steps: Vec<(usize, usize, usize)> =
        axes.iter().map(|a| (a.len as usize, from_stride(a) as usize, to_stride(a) as usize)).collect();
    // The innermost loop writes in order.
    steps.sort_by_key(|s| std::cmp::Reverse(s.2));
    let (f, t) = (from_at as usize, to_at as usize);
    match size {
        1 => move_entries::<1>(&steps, from.as_chunks().0, f, to.as_chunks_mut().0, t),
        2 => move_entries::<2>(&steps, from.as_chunks().0, f, to.as_chunks_mut().0, t),
        4 => move_entries::<4>(&steps, from.as_chunks().0, f, to.as_chunks_mut().0, t),
        _ => move_entries::<8>(&steps, from.as_chunks().0, f, to.as_chunks_mut().0, t),
    }
}

fn move_entries<const N: usize>(steps: &[(usize, usize, usize)], from: &[[u8; N]], f: usize, to: &mut [[u8; N]], t: usize) {
    match *steps {
        [] => to[t] = from[f],
        [(len, 1, 1)] => to[t..t + len].copy_from_slice(&from[f..f + len]),
        [(len, 0, 1)] => to[t..t + len].fill(from[f]),
        [(len, df, dt)] => {
            for i in 0..len {
                to[t + i * dt] = from[f + i * df];
            }
        }
        [(len, df, dt), ..] => {
            for i in 0..len {
                move_entries(&steps[1..], from, f + i * df, to, t + i * dt);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(view: &View, mut i: u64) -> u64 {
        let mut at = view.offset;
        for &(len, stride) in view.dims.iter().rev() {
            at += i % len * stride;
            i /= len;
        }
        at
    }

    fn views() -> Vec<View> {
        let view = |offset, dims: &[(u64, u64)]| View { offset, dims: dims.to_vec() };
        vec![
            view(3, &[]),
            view(0, &[(5000, 1)]),
            view(7, &[(20, 100), (50, 1)]),
            view(0, &[(64, 1), (70, 64)]),
            view(2, &[(3, 1), (5, 900), (7, 11)]),
            view(1, &[(300, 17)]),
            view(9, &[(4, 0), (6, 10), (3, 0), (2, 1)]),
            view(0, &[(3, 30_000), (2, 1), (500, 40)]),
            view(0, &[(2, 0), (40, 2000)]),
        ]
    }

    #[test]
    fn reading_a_view_gives_its_entries() {
        for size in [1u64, 2, 4, 8] {
            let tensor: Vec<u8> = (0..100_000 * size).map(|i| (i * 7 + i / 251) as u8).collect();
            for view in views() {
                let n = view.len();
                for (start, len) in [(0, n), (n / 3, n / 2), (1, n.saturating_sub(2)), (n - 1, 1)] {
                    let mut out = vec![0; (len * size) as usize];
                    read_view(&view, size, start, &mut out, &mut Buffer::default(), &mut |at, to| {
                        to.copy_from_slice(&tensor[(at * size) as usize..][..to.len()]);
                        Ok(())
                    })
                    .unwrap();
                    let mut copied = vec![0; out.len()];
                    copy_view(&view, size, start, &mut copied, &tensor).unwrap();
                    assert_eq!(copied, out);
                    for i in 0..len {
                        let at = (index(&view, start + i) * size) as usize;
                        assert_eq!(out[(i * size) as usize..][..size as usize], tensor[at..at + size as usize], "{view:?} {i}");
                    }
                }
            }
        }
    }

    #[test]
    fn writing_a_view_touches_its_entries_alone() {
        for size in [1u64, 2, 8] {
            for view in views().into_iter().filter(|v| v.dims.iter().all(|d| d.1 > 0)) {
                let n = view.len();
                let data: Vec<u8> = (0..n * size).map(|i| (i * 13 + i / 251) as u8 | 1).collect();
                let mut tensor = vec![0; (100_000 * size) as usize];
                for (start, end) in [(0, n / 3), (n / 3, n)] {
                    let piece = &data[(start * size) as usize..(end * size) as usize];
                    write_view(&view, size, start, piece, &mut Buffer::default(), &mut |at, from| {
                        tensor[(at * size) as usize..][..from.len()].copy_from_slice(from);
                        Ok(())
                    })
                    .unwrap();
                }
                for i in 0..n {
                    let at = (index(&view, i) * size) as usize;
                    assert_eq!(tensor[at..at + size as usize], data[(i * size) as usize..][..size as usize], "{view:?} {i}");
                }
                let touched = tensor.iter().filter(|b| **b != 0).count() as u64;
                assert!(touched <= n * size);
            }
        }
    }

    #[test]
    fn close_entries_share_a_call_and_far_ones_do_not() {
        let calls = |view: &View| {
            let mut calls = 0;
            let mut out = vec![0; view.len() as usize * 2];
            read_view(view, 2, 0, &mut out, &mut Buffer::default(), &mut |_, _| {
                calls += 1;
                Ok(())
            })
            .unwrap();
            calls
        };
        assert_eq!(calls(&View { offset: 0, dims: vec![(30, 100), (50, 1)] }), 1);
        assert_eq!(calls(&View { offset: 0, dims: vec![(30, 100_000), (5000, 1)] }), 30);
        assert_eq!(calls(&View { offset: 0, dims: vec![(64, 1), (64, 64)] }), 1);
    }
}
