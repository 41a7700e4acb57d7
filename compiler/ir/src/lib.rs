//! The intermediate representations between the front end and the back ends.
//!
//! [`tir`]: the whole recipe as one hash-consed graph of pure tensor operations with concrete shapes,
//! made by `sema`. [`kir`]: a loop-level kernel, made by `opt`, the same for every back end. Both print
//! as text and have a verifier that runs after every pass in debug builds and in the tests.
//!
//! Not here: the plan (`merge-abi`, since the runtime reads it), passes (`merge-opt`).

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod kir;
pub mod tir;
