//! Kernels to native code through LLVM; the only crate that sees LLVM.
//!
//! Between `opt`, which makes kernels (KIR), and the driver, which runs the code or links it with the
//! runtime. A kernel is expanded, verified, written as LLVM assembly text, optimised and emitted as part of
//! one object, which [`Jit`] loads or the linker takes.
//!
//! Invariants: lanes are explicit, so a kernel's results do not depend on what LLVM's vectoriser would do;
//! arithmetic carries no fast-math flags and is never contracted, so every machine gives the same bits;
//! an object of kernels needs no symbol from anywhere else.
//!
//! Not here: decisions about what to compute (KIR has them all), calling the linker, caches (`driver`).

mod body;
mod convert;
mod jit;
mod lower;
mod object;
mod philox;
mod target;
mod text;

pub use jit::Jit;
pub use object::{assembly, compile, executable_object, llvm_ir};
pub(crate) use target::Shape;
pub use target::{Cpu, default_cpu};

/// Why there is no code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The CPU that was asked for is unknown or too old; a sentence for the user.
    Cpu(String),
    /// A fault of the compiler: a kernel that breaks an invariant, or LLVM refusing what was written.
    Internal(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Cpu(message) => f.write_str(message),
            Error::Internal(message) => write!(f, "code generation failed, which is a fault of mergec: {message}"),
        }
    }
}

impl std::error::Error for Error {}
