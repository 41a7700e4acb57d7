//! What a worker does with a tile: reads its operands, finds the values of its rows, calls kernels.

use super::{
    buffer::Buffer,
    inputs::Inputs,
    launch::{Arguments, Finds, Launch, Place, Stride},
    notes::Notes,
    tile::Tile,
};
use crate::{Error, select};
use merge_abi::{Access, BLOCK, DType, KernelArgs, KernelFn};
use std::sync::atomic::{AtomicU64, Ordering};

/// Keys held at a time while rows are selected from: short rows share a call, so that its cost is spread.
pub(crate) fn keys_at_once(cols: u64) -> u64 {
    cols.max(BLOCK)
}

/// What a worker owns, used again for every tile.
#[derive(Default)]
pub(crate) struct Bench {
    /// Operands, row values, stores, row keys.
    pub tile: Buffer,
    /// Spans of scattered reads and writes.
    pub span: Buffer,
    /// Keys of a selection over tensors.
    pub keys: Buffer,
    pub partials: Vec<f64>,
    pub select: select::Scratch,
    pub places: select::place::Scratch,
    /// By pick of a phase.
    pub hints: Vec<select::Hint>,
    /// Keys inside brackets, by selection.
    pub inside: Vec<Vec<u32>>,
    pub sample: Vec<u32>,
    /// Bytes read since somebody last asked.
    pub read: u64,
}

impl Bench {
    /// Fills the tile's memory with its operands and finds the values of its rows.
    pub fn load(&mut self, inputs: &Inputs, launch: &Launch<'_>, tile: &Tile) -> Result<(), Error> {
        self.tile.reserve(launch.bytes);
        for place in &launch.places {
            let Place::Tensor { read, access, at } = place else { continue };
            let (start, len) = match access {
                Access::Dense => (launch.tiling.first(tile), tile.len()),
                Access::PerRow => (tile.row, tile.rows),
                Access::PerCol => (tile.col, tile.cols),
            };
            let size = read.dtype.size();
            if *access == Access::PerRow {
                let mut raw = vec![0; (len * size) as usize];
                self.read += read.read(inputs, start, &mut raw, &mut self.span)?;
                to_floats(read.dtype, &raw, self.tile.floats_mut(*at, len as usize));
            } else {
                let out = self.tile.bytes_mut(*at, (len * size) as usize);
                self.read += read.read(inputs, start, out, &mut self.span)?;
            }
        }
        if !launch.phases.is_empty() {
            self.find_row_values(launch, tile);
        }
        Ok(())
    }

    /// Runs the phases over a few rows at a time, so that their keys stay in the first cache.
    fn find_row_values(&mut self, launch: &Launch<'_>, tile: &Tile) {
        let at_once = (keys_at_once(tile.cols) / tile.cols.max(1)).max(1);
        let mut row = 0;
        while row < tile.rows {
            let rows = at_once.min(tile.rows - row);
            for index in 0..launch.phases.len() {
                self.phase(launch, tile, index, row, rows);
            }
            row += rows;
        }
    }

    fn phase(&mut self, launch: &Launch<'_>, tile: &Tile, index: usize, row: u64, rows: u64) {
        let phase = &launch.phases[index];
        let base = self.tile.as_mut_ptr();
        let entry = row * tile.cols;
        let operands: Vec<*const u8> = phase
            .operands
            .iter()
            .zip(&phase.strides)
            .map(|(o, stride)| address(base, &launch.places[*o as usize], *stride, entry, tile.cols))
            .collect();
        let reductions = phase.info.reductions.len();
        self.partials.clear();
        self.partials.resize(reductions * rows as usize, 0.0);
        let len = (rows * tile.cols) as usize;
        let key_place = |store: usize| match phase.finds {
            Finds::Places => phase.values[store] + 4 * entry as usize,
            Finds::Picks(_) | Finds::Reductions => launch.keys + store * 4 * len,
        };
        // SAFETY: the launch carved room for `keys_at_once(cols)` keys of each store, and rows are taken so that they fit; and for
        // as many places as the tile has entries, of which these are some.
        let stores: Vec<*mut u8> = (0..phase.info.stores.len()).map(|s| unsafe { base.add(key_place(s)) }).collect();
        let first = launch.body.first + launch.tiling.first(tile) + entry;
        // SAFETY: operands and stores were carved for the tile's extent, of which this is a part, and
        // partials have one number per row and reduction. `check` compared the signature.
        unsafe { call(phase.code, &operands, &stores, &mut self.partials, &phase.arguments, first, rows, tile.cols) };

        for store in 0..phase.info.stores.len() {
            select::to_keys(self.tile.floats_mut(key_place(store), len));
        }
        let cols = (tile.cols as usize).max(1);
        let picks = match &phase.finds {
            Finds::Picks(picks) => picks,
            Finds::Reductions => {
                for (v, at) in phase.values.iter().enumerate() {
                    for r in 0..rows as usize {
                        let value = self.partials[r * reductions + v] as f32;
                        self.tile.floats_mut(*at, tile.rows as usize)[row as usize + r] = value;
                    }
                }
                return;
            }
            Finds::Places => {
                for store in 0..phase.info.stores.len() {
                    let rows = self.tile.keys_mut(key_place(store), len).chunks_exact_mut(cols);
                    rows.for_each(|keys| select::place::places(keys, &mut self.places));
                }
                return;
            }
        };
        if self.hints.len() < picks.len() {
            self.hints.resize(picks.len(), select::Hint::default());
        }
        for (p, (store, k)) in picks.iter().enumerate() {
            let keys = self.tile.keys(launch.keys + store * 4 * len, len);
            let found: Vec<(f32, i64)> = keys
                .chunks_exact(cols)
                .map(|keys| select::threshold_and_cut_near(keys, *k, &mut self.select, &mut self.hints[p]))
                .collect();
            for (r, (threshold, cut)) in found.into_iter().enumerate() {
                self.tile.floats_mut(phase.values[2 * p], tile.rows as usize)[row as usize + r] = threshold;
                self.tile.floats_mut(phase.values[2 * p + 1], tile.rows as usize)[row as usize + r] = cut as f32;
            }
        }
    }

    /// Calls the loop's kernel over all rows of a loaded tile, on all their columns or once a row; its dense stores are then in
    /// the tile's memory.
    pub fn run(&mut self, launch: &Launch<'_>, tile: &Tile, cols: u64) {
        let base = self.tile.as_mut_ptr();
        // SAFETY: the launch carved each store for the tile's extent.
        let stores: Vec<*mut u8> = launch.stores.iter().map(|at| unsafe { base.add(*at) }).collect();
        // SAFETY: as above, and the kernel has no reductions that would need partials.
        unsafe { self.kernel(launch, tile, 0, tile.rows, cols, &stores, &mut []) };
    }

    /// Calls the loop's kernel over a loaded tile for its reductions: one row of partials per row, or per
    /// block where the loop has no rows. They are in `partials` afterwards.
    pub fn reduce(&mut self, launch: &Launch<'_>, tile: &Tile) {
        let count = launch.info.reductions.len();
        let mut partials = std::mem::take(&mut self.partials);
        partials.clear();
        let (rows, cols) = if launch.body.by_rows { (tile.rows, tile.cols) } else { (tile.len() / BLOCK, BLOCK) };
        let rest = tile.len() - rows * cols;
        partials.resize((rows as usize + usize::from(rest > 0)) * count, 0.0);
        let (whole, last) = partials.split_at_mut(rows as usize * count);
        if rows > 0 {
            // SAFETY: there are no stores, and the partials were just made.
            unsafe { self.kernel(launch, tile, 0, rows, cols, &[], whole) };
        }
        if rest > 0 {
            // SAFETY: as above.
            unsafe { self.kernel(launch, tile, rows * cols, 1, rest, &[], last) };
        }
        self.partials = partials;
    }

    /// Calls the loop's kernel over `rows * cols` entries of a loaded tile from `entry` on, the keys of
    /// selection `s` going to `stores[s]`.
    ///
    /// # Safety
    /// `stores` must be the kernel's and have room, `partials` must have one number per row and reduction.
    #[allow(clippy::too_many_arguments)] // They are the kernel's.
    pub unsafe fn kernel(
        &self,
        launch: &Launch<'_>,
        tile: &Tile,
        entry: u64,
        rows: u64,
        cols: u64,
        stores: &[*mut u8],
        partials: &mut [f64],
    ) {
        let base = self.tile.as_ptr();
        let operands: Vec<*const u8> = launch
            .places
            .iter()
            .zip(&launch.strides)
            .map(|(place, stride)| address(base, place, *stride, entry, tile.cols))
            .collect();
        let first = launch.body.first + launch.tiling.first(tile) + entry;
        // SAFETY: operands were carved for the tile, of which this is a part; the rest is the caller's.
        unsafe { call(launch.code, &operands, stores, partials, &launch.arguments, first, rows, cols) }
    }
}

/// The address of an operand at an entry of a tile.
fn address(base: *const u8, place: &Place, stride: Stride, entry: u64, cols: u64) -> *const u8 {
    let at = match place {
        Place::Tensor { at, .. } | Place::Value { at } => *at,
    };
    let cols = cols.max(1);
    let offset = match stride {
        Stride::Entry(size) => entry as usize * size,
        Stride::Row(size) => (entry / cols) as usize * size,
        Stride::Col(size) => (entry % cols) as usize * size,
    };
    // Plain address arithmetic; whether it may be read is the concern of those who call the kernel.
    base.wrapping_add(at + offset)
}

/// Calls compiled code.
///
/// # Safety
/// The pointers must be valid for what the kernel's signature implies; see [`KernelArgs`].
#[allow(clippy::too_many_arguments)]
unsafe fn call(
    code: KernelFn,
    operands: &[*const u8],
    stores: &[*mut u8],
    partials: &mut [f64],
    arguments: &Arguments,
    first: u64,
    rows: u64,
    cols: u64,
) {
    let args = KernelArgs {
        operands: operands.as_ptr(),
        stores: stores.as_ptr(),
        partials: partials.as_mut_ptr(),
        params: arguments.params.as_ptr(),
        keys: arguments.keys.as_ptr(),
        cuts: arguments.cuts.as_ptr(),
        first,
        rows,
        cols,
    };
    // SAFETY: the caller's promise.
    unsafe { code(&args) }
}

/// Counters that all workers add to.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub read: AtomicU64,
    pub written: AtomicU64,
    /// By source.
    pub non_finite: Vec<AtomicU64>,
    pub notes: Notes,
}

impl Totals {
    pub fn add(counter: &AtomicU64, more: u64) {
        if more > 0 {
            counter.fetch_add(more, Ordering::Relaxed);
        }
    }
}

/// Stored entries as f32.
fn to_floats(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    macro_rules! each {
        ($n:literal, $f:expr) => {
            for (x, b) in out.iter_mut().zip(bytes.as_chunks::<$n>().0) {
                *x = $f(*b);
            }
        };
    }
    match dtype {
        DType::F64 => each!(8, |b| f64::from_le_bytes(b) as f32),
        DType::F32 => each!(4, f32::from_le_bytes),
        DType::F16 => each!(2, |b| half::f16::from_le_bytes(b).to_f32()),
        DType::BF16 => each!(2, |b| half::bf16::from_le_bytes(b).to_f32()),
        DType::F8E4M3 => each!(1, |b: [u8; 1]| f8(b[0], 3, 7, false)),
        DType::F8E5M2 => each!(1, |b: [u8; 1]| f8(b[0], 2, 15, true)),
        DType::I64 => each!(8, |b| i64::from_le_bytes(b) as f32),
        DType::I32 => each!(4, |b| i32::from_le_bytes(b) as f32),
        DType::I16 => each!(2, |b| f32::from(i16::from_le_bytes(b))),
        DType::I8 => each!(1, |b| f32::from(i8::from_le_bytes(b))),
        DType::U64 => each!(8, |b| u64::from_le_bytes(b) as f32),
        DType::U32 => each!(4, |b| u32::from_le_bytes(b) as f32),
        DType::U16 => each!(2, |b| f32::from(u16::from_le_bytes(b))),
        DType::U8 | DType::Bool => each!(1, |b: [u8; 1]| f32::from(b[0])),
    }
}

/// An 8-bit float with `mantissa` bits and this bias. E4M3 has no infinity and one NaN of each sign.
fn f8(bits: u8, mantissa: u32, bias: i32, infinity: bool) -> f32 {
    let sign = if bits & 0x80 != 0 { -1.0 } else { 1.0 };
    let exponent = i32::from((bits & 0x7f) >> mantissa);
    let fraction = f32::from(bits & ((1 << mantissa) - 1)) / f32::from(1u8 << mantissa);
    let top = (1 << (7 - mantissa)) - 1;
    if !infinity && bits & 0x7f == 0x7f {
        return f32::NAN;
    }
    let scale = |e: i32| f32::from_bits(((e + 127) as u32) << 23);
    match exponent {
        e if infinity && e == top => {
            if fraction == 0.0 {
                sign * f32::INFINITY
            } else {
                f32::NAN
            }
        }
        0 => sign * fraction * scale(1 - bias),
        e => sign * (1.0 + fraction) * scale(e - bias),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_floats() {
        let mut x = [0.0; 5];
        to_floats(DType::F8E4M3, &[0x38, 0x7e, 0x01, 0xff, 0xb8], &mut x);
        assert_eq!((x[0], x[1], x[2], x[4]), (1.0, 448.0, 2f32.powi(-9), -1.0));
        assert!(x[3].is_nan());
        to_floats(DType::F8E5M2, &[0x3c, 0x7b, 0x01, 0x7c, 0x7d], &mut x);
        assert_eq!((x[0], x[1], x[2], x[3]), (1.0, 57344.0, 2f32.powi(-16), f32::INFINITY));
        assert!(x[4].is_nan());
    }
}
