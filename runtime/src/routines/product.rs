//! Products of matrices.
//!
//! Every entry is a sum in order of the inner index, in pieces of 256 that are added up in turn, wherever the entry lies and
//! whatever else is computed with it (`matrixmultiply`: its inner block has one length on all processors, and an
//! accumulator belongs to one entry). So a product computed in parts has the entries of the whole.

use super::{Array, Entry};

/// `a [m, k]` times `b [k, n]`.
pub(super) fn matmul<T: Entry>(a: &Array<'_, T>, b: &Array<'_, T>) -> Vec<T> {
    let ((m, k), (_, n)) = (a.matrix(), b.matrix());
    let mut c = vec![T::default(); m * n];
    Part { m, k, n, out: &mut c }.product((a.entries, 0, (k, 1)), (b.entries, 0, (n, 1)));
    c
}

/// A matrix in a slice: where its first entry lies, and how far rows and columns are apart.
pub(crate) type Strided<'a, T> = (&'a [T], usize, (usize, usize));

/// Some rows and columns of a product, which are written row-major.
pub(crate) struct Part<'a, T> {
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub out: &'a mut [T],
}

impl<T: Entry> Part<'_, T> {
    /// `a [m, k]` times `b [k, n]`.
    ///
    /// # Panics
    /// Where an entry lies outside its slice.
    pub fn product(self, a: Strided<'_, T>, b: Strided<'_, T>) {
        let Part { m, k, n, out } = self;
        if m == 0 || n == 0 {
            return;
        }
        if k == 0 {
            return out.fill(T::default());
        }
        let inside = |(all, first, (row, col)): Strided<'_, T>, rows: usize, cols: usize| {
            first + (rows - 1) * row + (cols - 1) * col < all.len()
        };
        assert!(inside(a, m, k) && inside(b, k, n) && out.len() == m * n, "matrices inside their slices");
        let strides = |s: (usize, usize)| (s.0 as isize, s.1 as isize);
        // SAFETY: the corners farthest from the first entries lie in the slices, as was just checked, and so everything does;
        // the result is borrowed mutably, so it overlaps no other.
        unsafe {
            let (at, bt) = (a.0.as_ptr().add(a.1), b.0.as_ptr().add(b.1));
            T::gemm((m, k, n), (at, strides(a.2)), (bt, strides(b.2)), out.as_mut_ptr());
        }
    }
}
