//! Products of matrices that are never held: computed where they are read, tile by tile.
//!
//! An adapter's `b a` has the size of the weight and an inner length of 8 or 16. To hold it would take as much memory as the
//! weight in f32, and to write and read it as long as the merge itself; to compute the part that a tile needs
//! takes next to nothing. So where a call's product has a short inner length and is only read by kernels, in order
//! or transposed, the call is not made and its readers keep the factors. An entry's sum has the same order either
//! way (`routines`), so that nobody can tell.

use super::{reader::reads, temps::Memory};
use crate::routines;
use merge_abi::{Access, Origin, Plan, Routine, Step, View};
use std::sync::Arc;

/// Multiplications for each entry that is read, over all readers, beyond which the product is held.
const LONG: u64 = 256;

/// The factors of a temporary that is not held: `[rows, inner]` and `[inner, cols]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Factors {
    pub left: u32,
    pub right: u32,
    rows: u64,
    inner: u64,
    cols: u64,
}

impl Factors {
    /// Of each temporary of a plan that is not to be held.
    pub fn find(plan: &Plan) -> Vec<Option<Factors>> {
        let mut found = vec![None; plan.temps.len()];
        for step in &plan.steps {
            let Step::Call { routine: Routine::MatMul, inputs, results, .. } = step else { continue };
            let ([left, right], [Some(temp)]) = (&inputs[..], &results[..]) else { continue };
            let (a, b) = (&plan.temps[*left as usize].shape, &plan.temps[*right as usize].shape);
            if let ([rows, inner], [_, cols]) = (&a[..], &b[..]) {
                found[*temp as usize] = Some(Factors { left: *left, right: *right, rows: *rows, inner: *inner, cols: *cols });
            }
        }
        let mut readings = vec![0; plan.temps.len()];
        for step in &plan.steps {
            for (read, access) in reads(step) {
                let Origin::Temp(t) = read.from else { continue };
                readings[t as usize] += 1;
                let seen = |f: &Factors| access == Access::Dense && Seen::new(f, &read.view).is_some();
                found[t as usize] = found[t as usize].filter(seen);
            }
            if let Step::Call { inputs, .. } = step {
                inputs.iter().for_each(|t| found[*t as usize] = None);
            }
        }
        let short = |(f, n): (&mut Option<Factors>, u64)| *f = f.filter(|f| f.inner * n <= LONG);
        found.iter_mut().zip(readings).for_each(short);
        found
    }
}

/// How a view sees a product: in order from an entry on, or transposed from its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    transposed: bool,
    /// Entries of a row as seen.
    cols: u64,
    offset: u64,
}

impl Seen {
    fn new(factors: &Factors, view: &View) -> Option<Seen> {
        let view = view.simplified();
        let Factors { rows, cols, .. } = *factors;
        if view.is_contiguous() {
            return Some(Seen { transposed: false, cols: cols.max(1), offset: view.offset });
        }
        let transposed = view.offset == 0 && view.dims == [(cols, 1), (rows, cols)];
        transposed.then_some(Seen { transposed: true, cols: rows, offset: 0 })
    }
}

/// A product made ready to be read.
pub(crate) struct Product {
    left: Arc<Memory>,
    right: Arc<Memory>,
    factors: Factors,
    seen: Seen,
}

impl Product {
    /// # Panics
    /// Where the view is not one that [`Factors::find`] allows.
    pub fn new(factors: Factors, left: Arc<Memory>, right: Arc<Memory>, view: &View) -> Product {
        let seen = Seen::new(&factors, view).expect("a view of a product that is not held");
        Product { left, right, factors, seen }
    }

    /// Computes the entries from `start` on.
    pub fn read(&self, start: u64, out: &mut [f32]) {
        let Factors { inner, rows, cols, .. } = self.factors;
        let Seen { transposed, cols: across, offset } = self.seen;
        let (left, right) = (self.left.entries(), self.right.entries());
        let (mut at, mut out) = (offset + start, out);
        while !out.is_empty() {
            let (row, col) = (at / across, at % across);
            // The rest of a row, whole rows, the beginning of one.
            let (tall, wide) = match out.len() as u64 {
                len if col == 0 && len >= across => (len / across, across),
                len => (1, len.min(across - col)),
            };
            let (part, rest) = out.split_at_mut((tall * wide) as usize);
            let [i, j, m, k, n] = [row, col, tall, inner, wide].map(|x| x as usize);
            let part = routines::Part { m, k, n, out: part };
            if transposed {
                // Row `i` as seen is column `i` of the product.
                part.product((right, i, (1, cols as usize)), (left, j * k, (1, k)));
            } else {
                part.product((left, i * k, (k, 1)), (right, j, (cols as usize, 1)));
            }
            debug_assert!(row + tall <= if transposed { cols } else { rows }, "inside the product");
            out = rest;
            at += tall * wide;
        }
    }
}
