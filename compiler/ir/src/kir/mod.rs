//! KIR: a loop-level kernel, the same for every back end.
//!
//! A kernel is one straight-line body, run for each entry of a loop of rows and columns (see
//! `merge_abi::KernelArgs`). Made by `opt::outline`, lowered by `codegen`.
//!
//! Invariants: values are numbered in order of definition and typed ([`Ty`]); arithmetic is f32, rounded
//! after every operation, never contracted; storage dtypes occur at loads and stores alone; a kernel
//! stores or reduces at least one value. Functions without an exact instruction (`exp`, `sin`, …) are
//! expanded by [`expand`] into operations that have one, so that every back end agrees to the bit.
//!
//! Not here: tiles, threads, addresses (the plan and the runtime), vector widths (the back end, within
//! the lane order that `merge_abi::LANES` fixes).

mod expand;
mod interpret;
mod kernel;
mod text;
mod verify;

pub use expand::expand;
pub use interpret::{interpret, uniform};
pub use kernel::{Compare, Inst, IntOp, Kernel, Operand, Ty, Val};
pub use text::{parse, print};
pub use verify::verify;
