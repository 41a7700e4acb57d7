//! The reference interpreter of tensor IR: f64, naive, obviously right.
//!
//! Everything compiled is tested against it, and `test` items of recipes run on it; so do forward passes of networks, whose
//! inputs (and modules of a base model) are assumed by the caller. It reads tensors through a closure, so that the caller decides
//! where they come from. Networks compute as they do once trained.
//! Invariant: one function a kind of operation, each the textbook definition.
//! Not here: speed, streaming, dtypes (entries are f64 from load to result).

mod evaluate;
mod layers;

pub use evaluate::{Interpreter, decode};
