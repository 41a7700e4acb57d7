//! The text form of a kernel.
use super::Kernel;

/// The kernel as text, one instruction a line.
pub fn print(kernel: &Kernel) -> String {
    format!("{kernel:?}")
}
