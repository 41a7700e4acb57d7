//! The reference interpreter of tensor IR: f64, naive, obviously right.
//!
//! Everything compiled is tested against it, and `test` items of recipes run on it. It reads tensors
//! through a closure, so that the caller decides where they come from.
//! Invariant: one function a kind of operation, each the textbook definition.
//! Not here: speed, streaming, dtypes (entries are f64 from load to result).

mod evaluate;

pub use evaluate::{Interpreter, decode};
