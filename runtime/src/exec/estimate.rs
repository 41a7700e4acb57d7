//! What a run would take, from the plan alone.

use super::{
    Shares, reader,
    schedule::{LARGE_SELECTIONS, Traffic},
    select, temps,
    tile::{Need, Tiling, copied_at_once},
    view::SPAN,
    work::keys_at_once,
};
use crate::Error;
use merge_abi::{Loop, Plan, Step};

/// What a run would take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Most bytes of buffers and collected keys at any time.
    pub peak_memory: u64,
    /// Most bytes of temporaries and of what routines need besides, at any time; not part of `peak_memory`.
    pub temporaries: u64,
    /// In one pass of each step; a selection whose sample misleads it makes more.
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub threads: usize,
    /// In the order of the plan.
    pub steps: Vec<StepEstimate>,
}

/// What one step would take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepEstimate {
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub tiles: u64,
    /// Memory of a tile, operands and stores together.
    pub tile_bytes: u64,
}

/// What a run of the plan would take with this memory and so many threads (all cores if absent).
///
/// # Errors
/// Of the usage, where the memory is too little for anything. A row too long for it is told when the plan runs.
pub fn estimate(plan: &Plan, memory: u64, threads: Option<usize>) -> Result<Estimate, Error> {
    let shares = Shares::new(plan, memory, threads)?;
    let mut all = Estimate { threads: shares.threads, ..Estimate::default() };
    let (mut worker, mut collected) = (0, 0);
    for step in &plan.steps {
        let Traffic { read: bytes_read, written: bytes_written, .. } = Traffic::of(plan, step);
        let (mut tiles, mut tile_bytes, mut beside) = (0, 0, 0);
        let mut visit = |body: &Loop, stores: bool| {
            let info = &plan.kernels[body.kernel as usize];
            let need = Need::of(body, info, &plan.kernels, stores);
            match Tiling::new(body, info, need, shares.wish, shares.most) {
                Ok(tiling) => {
                    tiles += tiling.count();
                    let (rows, cols) = (tiling.tile_rows, tiling.tile_cols);
                    let keys = if need.per_key > 0 { need.per_key * keys_at_once(cols) } else { 0 };
                    tile_bytes = tile_bytes.max(Need { per_key: 0, ..need }.bytes(rows, cols) + keys);
                }
                Err(bytes) => tile_bytes = tile_bytes.max(bytes),
            }
        };
        match step {
            Step::Copy { from, .. } => {
                let size = reader::dtype(plan, from.from).size();
                let each = copied_at_once(from, size, shares.wish, shares.most).min(from.view.len());
                tile_bytes = each * size;
                tiles = from.view.len().div_ceil(each.max(1));
            }
            Step::Map { body, .. } => visit(body, true),
            // Its inputs and results are temporaries.
            Step::Call { .. } => tiles = 1,
            Step::Reduce { parts, .. } => parts.iter().for_each(|p| visit(p, false)),
            Step::Select { parts, selections } => {
                parts.iter().for_each(|p| visit(p, false));
                let each = selections.len().max(1) as u64;
                let keys = parts.iter().map(|p| p.rows * p.cols).sum::<u64>() * each;
                beside = 4 * each * select::chunk(selections.len());
                if keys <= select::direct_keys(shares.most) {
                    beside += 4 * keys;
                } else {
                    // About one key in twenty, the room to grow counted in.
                    collected = collected.max((keys / 20 * 4).min(shares.select));
                }
            }
        }
        worker = worker.max(tile_bytes + beside);
        all.bytes_read += bytes_read;
        all.bytes_written += bytes_written;
        all.steps.push(StepEstimate { bytes_read, bytes_written, tiles, tile_bytes });
    }
    all.temporaries = temps::peak(plan, shares.threads as u64, memory);
    if !plan.steps.is_empty() {
        all.peak_memory = shares.threads as u64 * (worker + SPAN as u64) + LARGE_SELECTIONS as u64 * collected;
    }
    Ok(all)
}
