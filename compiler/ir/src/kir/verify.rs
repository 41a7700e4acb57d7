//! Checks the invariants of a kernel.
use super::Kernel;

/// The invariants that do not hold, one sentence each.
pub fn verify(_kernel: &Kernel) -> Vec<String> {
    Vec::new()
}
