//! What compiled kernels, the compiler and the runtime agree on.
//!
//! Three agreements: storage types ([`DType`]), the calling convention of a kernel ([`KernelArgs`]), and
//! the wire format of a [`Plan`], which a built executable carries. The runtime knows nothing of the
//! compiler; this crate is all they share.
//!
//! Not here: kernels as loops (KIR, in `compiler/ir`), file formats (in `runtime`).

mod dtype;
mod kernel;
mod plan;
mod routine;
mod scalar;

pub use dtype::DType;
pub use kernel::{BLOCK, KernelArgs, KernelFn, LANES};
pub use plan::*;
pub use routine::Routine;
pub use scalar::{BinaryFn, ScalarId, ScalarOp, SettingId, StatId, UnaryFn};
