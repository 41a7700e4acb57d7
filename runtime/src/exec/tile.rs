//! How a loop is cut into tiles.

use super::view::paying;
use crate::select::place;
use merge_abi::{Access, BLOCK, DType, KernelInfo, Loop, Operand, Origin, Plan, Read, RowPhaseKind, Step};

/// A rectangle of a loop: whole rows, or a part of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub row: u64,
    pub rows: u64,
    pub col: u64,
    pub cols: u64,
}

impl Tile {
    /// Entries in it.
    pub fn len(&self) -> u64 {
        self.rows * self.cols
    }
}

/// How the kernels of a loop see each of its operands. Those that only a phase reads come after those of
/// the loop's own kernel.
pub(crate) fn kinds(body: &Loop, kernels: &[KernelInfo]) -> Vec<(DType, Access)> {
    let own = &kernels[body.kernel as usize].operands;
    let find = |index: usize| {
        let phase = body.phases.iter().find_map(|p| Some((p, p.operands.iter().position(|o| *o as usize == index)?)));
        phase.map(|(p, at)| kernels[p.kernel as usize].operands[at])
    };
    (0..body.operands.len()).map(|i| own.get(i).copied().or_else(|| find(i)).unwrap_or((DType::U8, Access::PerRow))).collect()
}

/// Bytes that a tile needs, by what they grow with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    pub per_entry: u64,
    pub per_row: u64,
    pub per_col: u64,
    /// Keys of one row while it is selected from.
    pub per_key: u64,
    /// For each entry of one row while it is ranked, beside the tile.
    pub per_ranked: u64,
}

impl Need {
    /// What a tile of a loop needs; a store only where it is written out and not consumed at once.
    pub fn of(body: &Loop, info: &KernelInfo, kernels: &[KernelInfo], stores: bool) -> Need {
        let mut need = Need::default();
        for (operand, (dtype, access)) in body.operands.iter().zip(kinds(body, kernels)) {
            match (operand, access) {
                (Operand::RowValue { .. }, _) => {}
                (_, Access::Dense) => need.per_entry += dtype.size(),
                (_, Access::PerRow) => need.per_row += 4,
                (_, Access::PerCol) => need.per_col += dtype.size(),
            }
        }
        if stores {
            need.per_entry += info.stores.iter().map(|d| d.size()).sum::<u64>();
        }
        for phase in &body.phases {
            let kernel = &kernels[phase.kernel as usize];
            let values = 4 * phase.kind.values(kernel) as u64;
            match phase.kind.access() {
                // Keys become places where they lie.
                Access::Dense => {
                    need.per_entry += values;
                    need.per_ranked = place::BYTES;
                }
                _ => need.per_row += values,
            }
            if let RowPhaseKind::Select { .. } = &phase.kind {
                need.per_key = need.per_key.max(4 * kernel.stores.len() as u64);
            }
        }
        need
    }

    /// Bytes of a tile of this size.
    pub fn bytes(&self, rows: u64, cols: u64) -> u64 {
        let keys = if self.per_key > 0 { self.per_key * cols.max(BLOCK) } else { 0 };
        self.per_entry * rows * cols + self.per_row * rows + (self.per_col + self.per_ranked) * cols + keys
    }
}

/// Bytes of the largest tile of a plan that is one row and cannot be cut.
pub(crate) fn longest_row(plan: &Plan) -> u64 {
    let of = |body: &Loop, stores: bool| {
        let info = &plan.kernels[body.kernel as usize];
        match body.by_rows && !(body.phases.is_empty() && info.reductions.is_empty()) {
            true => Need::of(body, info, &plan.kernels, stores).bytes(1, body.cols),
            false => 0,
        }
    };
    let of_step = |step: &Step| match step {
        Step::Map { body, .. } => of(body, true),
        Step::Reduce { parts, .. } | Step::Select { parts, .. } => parts.iter().map(|p| of(p, false)).max().unwrap_or(0),
        Step::Copy { .. } | Step::Call { .. } => 0,
    };
    plan.steps.iter().map(of_step).max().unwrap_or(0)
}

/// Entries that a copy moves at a time: about `wish` bytes, or more, up to `most`, as for [`Tiling::new`].
pub(crate) fn copied_at_once(from: &Read, size: u64, wish: u64, most: u64) -> u64 {
    let across = if matches!(from.from, Origin::Source(_)) { paying(&from.view) } else { 0 };
    (wish / size).max(across.min(most / size)).max(BLOCK)
}

/// The tiles of a loop, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tiling {
    pub rows: u64,
    pub cols: u64,
    pub tile_rows: u64,
    pub tile_cols: u64,
}

impl Tiling {
    /// Tiles of about `wish` bytes; more, up to `most`, where rows must stay whole, or where the loop reads across the rows of a
    /// tensor in a file and would read a few bytes from each.
    ///
    /// # Errors
    /// The bytes that one row needs, where that is more than `most`.
    pub fn new(body: &Loop, info: &KernelInfo, need: Need, wish: u64, most: u64) -> Result<Tiling, u64> {
        let wish = wish.min(most);
        if !body.by_rows {
            let cols = body.rows * body.cols;
            let wish = wish.max((across(body) * need.per_entry).min(most));
            return Ok(Tiling { rows: 1, cols, tile_rows: 1, tile_cols: blocks(wish, need.per_entry, cols) });
        }
        let (rows, cols) = (body.rows, body.cols);
        let one = need.bytes(1, cols);
        if one > wish && body.phases.is_empty() && info.reductions.is_empty() {
            // Nothing ranges over the row, so that it can be cut.
            return Ok(Tiling { rows, cols, tile_rows: 1, tile_cols: blocks(wish, need.per_entry + need.per_col, cols) });
        }
        if one > most {
            return Err(one);
        }
        let more = need.per_entry * cols + need.per_row;
        let rows_in = |bytes: u64| 1 + bytes.saturating_sub(one) / more.max(1);
        let paying = across(body).div_ceil(cols.max(1)).min(rows_in(most));
        let tile_rows = rows_in(wish).max(paying).clamp(1, rows.max(1));
        Ok(Tiling { rows, cols, tile_rows, tile_cols: cols })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        if self.rows == 0 || self.cols == 0 {
            return 0;
        }
        self.rows.div_ceil(self.tile_rows) * self.cols.div_ceil(self.tile_cols)
    }

    /// The `index`-th.
    pub fn tile(&self, index: u64) -> Tile {
        let across = self.cols.div_ceil(self.tile_cols);
        let (row, col) = (index / across * self.tile_rows, index % across * self.tile_cols);
        Tile { row, rows: self.tile_rows.min(self.rows - row), col, cols: self.tile_cols.min(self.cols - col) }
    }

    /// Flat index of a tile's first entry.
    pub fn first(&self, tile: &Tile) -> u64 {
        tile.row * self.cols + tile.col
    }
}

/// Entries of a tile that a loop should have at least for the sake of what it reads across the rows of files.
fn across(body: &Loop) -> u64 {
    let of = |o: &Operand| match o {
        Operand::Dense(Read { from: Origin::Source(_), view }) => paying(view),
        _ => 0,
    };
    body.operands.iter().map(of).max().unwrap_or(0)
}

/// Columns of a tile: whole blocks, at least one, at most all.
fn blocks(bytes: u64, per_entry: u64, cols: u64) -> u64 {
    let blocks = (bytes / per_entry.max(1) / BLOCK).clamp(1, 1 << 20);
    (blocks * BLOCK).min(cols.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> KernelInfo {
        let operands = vec![(DType::BF16, Access::Dense); 2];
        KernelInfo { symbol: "k".into(), operands, stores: vec![DType::BF16], reductions: vec![], params: 0, keys: 0, cuts: 0 }
    }

    fn body(rows: u64, cols: u64, by_rows: bool) -> Loop {
        Loop {
            kernel: 0,
            rows,
            cols,
            by_rows,
            operands: vec![],
            params: vec![],
            keys: vec![],
            cuts: vec![],
            first: 0,
            phases: vec![],
        }
    }

    #[test]
    fn tiles_cover_a_loop_once() {
        let need = Need { per_entry: 6, per_row: 4, per_col: 2, per_key: 0, per_ranked: 0 };
        for (rows, cols, by_rows) in [
            (1, 1, false),
            (1, 4096, false),
            (1, 1_000_003, false),
            (70, 301, true),
            (3, 100_000, true),
            (0, 5, true),
            (5, 0, true),
        ] {
            for wish in [1, 100_000, 1 << 20] {
                let tiling = Tiling::new(&body(rows, cols, by_rows), &info(), need, wish, 1 << 20).unwrap();
                let mut next = 0;
                for i in 0..tiling.count() {
                    let tile = tiling.tile(i);
                    assert_eq!(tiling.first(&tile), next);
                    assert!(tile.rows == 1 || tile.cols == cols);
                    assert!(tile.len() > 0);
                    next += tile.len();
                    assert!(by_rows || tile.len().is_multiple_of(BLOCK) || next == cols);
                }
                assert_eq!(next, rows * cols, "{rows} {cols}");
            }
        }
    }

    #[test]
    fn a_loop_across_the_rows_of_a_file_has_tiles_that_read_enough_of_each() {
        let need = Need { per_entry: 2, ..Need::default() };
        let rows_at_once = |from, most| {
            let view = merge_abi::View { offset: 0, dims: vec![(8192, 1), (4096, 8192)] };
            let body = Loop { operands: vec![Operand::Dense(Read { from, view })], ..body(8192, 4096, true) };
            Tiling::new(&body, &info(), need, 1 << 20, most).unwrap().tile_rows
        };
        assert_eq!(rows_at_once(Origin::Source(0), 1 << 30), 2048);
        assert_eq!(rows_at_once(Origin::Source(0), 4 << 20), 512);
        assert_eq!(rows_at_once(Origin::Temp(0), 1 << 30), 128);
    }

    #[test]
    fn a_row_that_must_stay_whole_and_does_not_fit_is_told() {
        let mut info = info();
        info.reductions.push(merge_abi::ReduceFn::Sum);
        let need = Need { per_entry: 4, ..Need::default() };
        assert_eq!(Tiling::new(&body(2, 1_000_000, true), &info, need, 1 << 20, 1 << 20), Err(4_000_000));
        assert!(Tiling::new(&body(2, 1_000_000, true), &info, need, 1 << 20, 1 << 23).is_ok());
    }
}
