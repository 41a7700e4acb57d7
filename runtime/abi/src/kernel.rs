//! The calling convention of a compiled kernel.
//!
//! A kernel visits `rows × cols` entries. Dense operands and stores are contiguous over that extent, row
//! after row, so a kernel without rows (a plain elementwise one) is called with one row. What is *reduced*
//! gives one f64 per row and reduction: for a reduction over a whole tensor the runtime cuts the tensor
//! into rows of [`BLOCK`] entries, so the tree of additions depends on the tensor alone and never on
//! tiles or threads.

/// Entries that a kernel handles side by side, on every machine. Lane `j` of a row accumulates entries
/// `j, j + LANES, …`; the lanes are then added pairwise, halves first (`0+8, 1+9, …`, then `0+4, …`).
pub const LANES: usize = 16;

/// Entries of one partial result of a reduction over a whole tensor.
pub const BLOCK: u64 = 4096;

/// A compiled kernel.
pub type KernelFn = unsafe extern "C" fn(*const KernelArgs);

/// What a kernel is called with. All pointers are valid for the extents the kernel's signature implies
/// and aligned to their element; dense buffers do not overlap.
#[repr(C)]
#[derive(Debug)]
pub struct KernelArgs {
    /// One pointer per operand. Dense: `rows * cols` entries in the operand's dtype. Per row: `rows`
    /// f32. Per column: `cols` entries in the operand's dtype.
    pub operands: *const *const u8,
    /// One pointer per store, dense.
    pub stores: *const *mut u8,
    /// Results of reductions: `partials[row * reductions + k]`.
    pub partials: *mut f64,
    /// Launch scalars.
    pub params: *const f32,
    /// Philox keys, one per random stream.
    pub keys: *const u64,
    /// Cut positions, one per `index_le` of the kernel; flat indices of the tensor (inclusive).
    pub cuts: *const i64,
    /// Flat index, within the tensor, of the first entry.
    pub first: u64,
    pub rows: u64,
    pub cols: u64,
}
