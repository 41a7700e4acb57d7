//! Runs a kernel entry by entry.
use super::Kernel;
use merge_abi::KernelArgs;

/// Runs `kernel` on `args`.
///
/// # Safety
/// As for a compiled kernel.
pub unsafe fn interpret(_kernel: &Kernel, _args: &KernelArgs) {}
