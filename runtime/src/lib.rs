//! Streams checkpoints through compiled kernels to disk.

pub mod checkpoint;
mod config;
pub mod error;
mod fold;
pub mod header;
pub mod inspect;
pub mod output;
pub mod rng;
pub mod scalars;
pub mod select;
pub mod schema_text;
#[cfg(test)]
mod testing;

pub use error::{Error, Kind};
