//! Products of matrices.

use super::{Array, Entry};

/// `a [m, k]` times `b [k, n]`.
pub(super) fn matmul<T: Entry>(a: &Array<'_, T>, b: &Array<'_, T>) -> Vec<T> {
    let ((m, k), (_, n)) = (a.matrix(), b.matrix());
    let mut c = vec![T::default(); m * n];
    T::matmul(m, k, n, a.entries, b.entries, &mut c);
    c
}
