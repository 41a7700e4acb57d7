//! Routines on whole tensors: what [`merge_abi::Routine`] says, computed.
//!
//! The runtime calls them in f32 on temporaries; the compiler's reference interpreter calls the same in f64.
//! Decompositions are found in f64 in either case and rounded at the end, by code that runs on one thread,
//! so that results never depend on how many there are. Signs and orders that mathematics leaves open are settled as
//! `Routine` says.
//!
//! Deliberately not here: when a routine runs and where its tensors live (`exec`); what it is good for (the language).

mod assign;
mod cluster;
mod decompose;
mod gather;
mod order;
mod product;
mod shuffle;
#[cfg(test)]
mod tests;

use crate::{codes, rng, select::place};
use merge_abi::Routine;
pub(crate) use product::Part;

/// A tensor that a routine reads, row-major.
#[derive(Clone, Copy, Debug)]
pub struct Array<'a, T> {
    pub shape: &'a [u64],
    pub entries: &'a [T],
}

/// What a routine gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome<T> {
    /// Entries of each result, row-major; their shapes are those of [`Routine::results`].
    pub results: Vec<Vec<T>>,
    /// Of a [`Routine::Svd`] that keeps fewer directions than there are: the norm of what it leaves out over the norm
    /// of the matrix (0 for a zero matrix).
    pub residual: Option<f64>,
}

/// Why a routine has no result for these entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One of [`crate::codes`].
    pub code: &'static str,
    /// The end of a sentence that begins with the routine: `takes finite numbers, and 3 are not`.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

impl Fault {
    fn new(code: &'static str, what: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault { code, what: what.into(), help: help.into() }
    }
}

/// The first entry of a matrix, and how far rows and columns are apart.
type Strides<T> = (*const T, (isize, isize));

/// A number that routines compute with: f32 in a run, f64 in the reference interpreter.
pub trait Entry: Copy + Default + PartialOrd + std::ops::Add<Output = Self> + 'static {
    fn to_f64(self) -> f64;
    fn from_f64(x: f64) -> Self;
    /// A number in the order of entries: as IEEE 754's total order, but for the zeros, which are equal, and NaN, which
    /// comes last whatever its sign.
    fn order(self) -> u64;
    /// `c [m, n] = a [m, k] b [k, n]`, the first two with strides of rows and columns, `c` row-major.
    ///
    /// # Safety
    /// Every entry of `a` and `b` may be read and every entry of `c` be written, and `c` overlaps neither.
    unsafe fn gemm(size: (usize, usize, usize), a: Strides<Self>, b: Strides<Self>, c: *mut Self);
}

/// Computes a routine. `seed` is the run's, which random numbers add to the stated one.
///
/// # Errors
/// Where the routine has no result for these entries.
///
/// # Panics
/// Where the shapes are not those that [`Routine::results`] accepts.
pub fn run<T: Entry>(routine: &Routine, inputs: &[Array<'_, T>], seed: i64) -> Result<Outcome<T>, Fault> {
    let all = |results: Vec<Vec<T>>| Ok(Outcome { results, residual: None });
    let one = |result: Vec<T>| all(vec![result]);
    countable(routine, inputs)?;
    match (routine, inputs) {
        (Routine::MatMul, [a, b]) => one(product::matmul(a, b)),
        (Routine::Svd { rank }, [x]) => decompose::svd(x, *rank),
        (Routine::FullSvd, [x]) => all(decompose::full_svd(x)?),
        (Routine::Polar, [x]) => one(decompose::polar(x)?),
        (Routine::Qr, [x]) => all(decompose::qr(x)?),
        (Routine::Eigh, [x]) => all(decompose::eigh(x)?),
        (Routine::Solve, [a, b]) => one(decompose::solve(a, b)?),
        (Routine::Assignment { maximize }, [costs]) => one(assign::assignment(costs, *maximize)?),
        (Routine::KMeans { k, key }, [x]) => all(cluster::kmeans(x, *k, rng::key(*key, seed))?),
        (Routine::Permutation { n, key }, []) => one(shuffle::permutation(*n, rng::key(*key, seed))),
        (Routine::Sort { largest_first }, [x]) => one(order::sort(x, *largest_first)),
        (Routine::SortIndex { largest_first }, [x]) => one(order::sort_index(x, *largest_first)),
        (Routine::Rank { largest_first }, [x]) => one(order::rank(x, *largest_first)),
        (Routine::CumSum, [x]) => one(order::cumsum(x)),
        (Routine::ArgMax, [x]) => one(order::argmax(x)),
        (Routine::Take { axis }, [x, at]) => one(gather::take(x, at, *axis)?),
        (Routine::TakeAlong, [x, at]) => one(gather::take_along(x, at)?),
        (Routine::Scatter { axis, len }, [x, at]) => one(gather::scatter(x, at, *axis, *len)?),
        (Routine::Indices { count }, [x]) => one(gather::indices(x, *count)?),
        (Routine::Unpack, [mask, values]) => one(gather::unpack(mask, values)?),
        _ => panic!("`{}` is given {} tensors", routine.name(), inputs.len()),
    }
}

/// Indices are entries like any other, and f32 holds them exactly up to 2^24.
fn countable<T>(routine: &Routine, inputs: &[Array<'_, T>]) -> Result<(), Fault> {
    let last = inputs.first().and_then(|x| x.shape.last().copied()).unwrap_or(0);
    let count = match routine {
        Routine::SortIndex { .. } | Routine::Rank { .. } | Routine::ArgMax | Routine::Indices { .. } => last,
        Routine::Permutation { n, .. } => *n,
        _ => 0,
    };
    if count <= 1 << 24 {
        return Ok(());
    }
    Err(Fault::new(
        codes::NO_SUCH_PLACE,
        format!("counts {count} places, and indices are exact up to 2^24 = 16777216"),
        "work on rows or blocks of the tensor instead of all of it",
    ))
}

/// Decompositions and assignments need finite numbers: iterations may not end where there are others.
fn finite<T: Entry>(x: &Array<'_, T>) -> Result<(), Fault> {
    let odd = x.entries.iter().filter(|x| !x.to_f64().is_finite()).count();
    if odd == 0 {
        return Ok(());
    }
    let (entries, are) = if odd == 1 { ("entry", "is") } else { ("entries", "are") };
    Err(Fault::new(
        codes::NO_RESULT,
        format!("takes finite numbers, and {odd} {entries} of its input {are} NaN or infinite"),
        "look for them in the input checkpoints, or for a division by 0 or a logarithm before it, and replace them with `where`",
    ))
}

/// About how long a routine takes, in multiply-adds of a product that take as long (as measured on 2048 x 2048 matrices).
pub fn work(routine: &Routine, inputs: &[&[u64]]) -> u64 {
    let entries: u64 = inputs.iter().map(|s| s.iter().product::<u64>()).sum();
    let cubic = |factor: u64| match inputs.first() {
        Some([m, n]) => factor * m * n * m.min(n),
        _ => entries,
    };
    match (routine, inputs) {
        (Routine::MatMul, [[m, k], [_, n]]) => m * k * n,
        (Routine::Svd { .. }, _) => cubic(16),
        (Routine::Polar, _) => cubic(10),
        (Routine::Eigh, _) => cubic(5),
        (Routine::Qr, _) => cubic(4),
        (Routine::FullSvd, [[m, n]]) => 16 * m.max(n) * m.max(n) * m.max(n),
        (Routine::Solve, [[n, _], [_, m]]) => n * n * (n + 2 * m),
        (Routine::Assignment { .. }, _) => cubic(1),
        (Routine::KMeans { k, .. }, [[n, d]]) => 400 * n * d * k,
        (Routine::Permutation { n, .. }, _) => 3000 * n,
        (Routine::Sort { .. } | Routine::SortIndex { .. } | Routine::Rank { .. }, _) => 1600 * entries,
        _ => 32 * entries,
    }
}

/// About how many bytes of memory a routine needs besides its inputs and results.
pub fn scratch(routine: &Routine, inputs: &[&[u64]]) -> u64 {
    let entries: u64 = inputs.iter().map(|s| s.iter().product::<u64>()).sum();
    let sides = |s: &[u64]| (s.iter().copied().min().unwrap_or(0), s.iter().copied().max().unwrap_or(0));
    // In f64: the matrix, what it is worked on in, its factors, and copies of them; counted where most of them live.
    8 * match (routine, inputs) {
        (Routine::Svd { .. } | Routine::Polar | Routine::Qr | Routine::Eigh, [x]) => {
            let (short, long) = sides(x);
            short * (4 * long + 6 * short)
        }
        (Routine::FullSvd, [x]) => {
            let (short, long) = sides(x);
            3 * long * long + short * (2 * long + 6 * short)
        }
        (Routine::Solve, _) => 3 * entries,
        (Routine::Assignment { .. } | Routine::KMeans { .. }, _) => entries,
        // A key and an index for each entry.
        (Routine::SortIndex { .. }, _) => 2 * entries,
        (Routine::Rank { .. }, _) => (place::BYTES * entries).div_ceil(8),
        _ => 0,
    }
}

macro_rules! entry {
    ($t:ident, $gemm:ident) => {
        impl Entry for $t {
            fn to_f64(self) -> f64 {
                self.into()
            }

            fn from_f64(x: f64) -> $t {
                x as $t
            }

            fn order(self) -> u64 {
                if self.is_nan() {
                    return u64::MAX;
                }
                // A sum of 0 and -0 is 0.
                let bits = (self + 0.0).to_bits();
                let sign = 1 << ($t::MAX_EXP.ilog2() + $t::MANTISSA_DIGITS);
                u64::from(if bits & sign == 0 { bits | sign } else { !bits })
            }

            unsafe fn gemm((m, k, n): (usize, usize, usize), a: Strides<$t>, b: Strides<$t>, c: *mut $t) {
                let ((a, (ra, ca)), (b, (rb, cb))) = (a, b);
                // SAFETY: the caller's promise.
                unsafe { matrixmultiply::$gemm(m, k, n, 1.0, a, ra, ca, b, rb, cb, 0.0, c, n as isize, 1) };
            }
        }
    };
}

entry!(f32, sgemm);
entry!(f64, dgemm);

impl<'a, T: Entry> Array<'a, T> {
    /// Rows and columns of a matrix.
    fn matrix(&self) -> (usize, usize) {
        (self.shape[0] as usize, self.shape[1] as usize)
    }

    /// The slices along the last axis.
    fn rows(&self) -> std::slice::ChunksExact<'a, T> {
        let n = self.shape.last().map_or(1, |n| *n as usize);
        // Where rows are empty there is nothing to visit, and a chunk must have a length.
        self.entries.chunks_exact(n.max(1))
    }
}
