//! Streams checkpoints through compiled kernels to disk.
//!
//! The last room of the house: it takes a [`merge_abi::Plan`] and the kernels that the compiler made for it,
//! and reads, computes and writes. Built as a Rust library it is part of `mergec run`; as a static library
//! it is part of every executable that `mergec build` makes, which enters through [`standalone`].
//!
//! Invariants: the same bytes for any number of threads, memory and shard size; nothing under a final name
//! before all of it is written; errors are of the world ([`Kind::World`]) but for what only the values of
//! a run can show.
//!
//! Deliberately not here: anything of the language. The runtime knows plans, not recipes.

pub mod checkpoint;
pub mod codes;
mod config;
pub mod error;
mod exec;
mod fold;
pub mod header;
pub mod inspect;
pub mod interrupt;
pub mod output;
pub mod progress;
pub mod rng;
pub mod routines;
pub mod scalars;
pub mod schema_text;
pub mod select;
mod size;
pub mod standalone;
#[cfg(test)]
mod testing;

pub use error::{Error, Kind};
pub use exec::{
    Estimate, Inputs, Options, Reuse, SourcePlace, StepEstimate, Summary, estimate, prepare, run, run_reusing, settings,
};
pub use progress::Progress;
pub use size::parse_size;

/// The bytes of a plan that a built executable carries.
///
/// # Panics
/// Never: a plan holds nothing that the encoding refuses.
pub fn encode_plan(plan: &merge_abi::Plan) -> Vec<u8> {
    postcard::to_stdvec(plan).expect("every type of a plan can be encoded")
}

/// The plan in such bytes.
///
/// # Errors
/// Internal: bytes that another version of Merge wrote.
pub fn decode_plan(bytes: &[u8]) -> Result<merge_abi::Plan, Error> {
    postcard::from_bytes(bytes).map_err(|e| Error::internal(format!("the plan in this executable cannot be read: {e}")))
}
