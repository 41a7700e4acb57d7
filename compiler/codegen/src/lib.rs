//! Kernels to native code through LLVM; the only crate that sees LLVM.
