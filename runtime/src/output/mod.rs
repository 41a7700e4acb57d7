//! Writing outputs.

use crate::{checkpoint::Checkpoint, error::Error};
use merge_abi::Output;
use std::path::PathBuf;

/// What is recorded in the metadata of every file written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provenance {
    /// The text of the recipe.
    pub recipe: String,
    /// Settings, structural choices and the seed, in order; written as one JSON object.
    pub parameters: Vec<(String, serde_json::Value)>,
    /// Name and fingerprint of each input.
    pub inputs: Vec<(String, String)>,
}

/// An output that is complete under its final name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub path: PathBuf,
    /// Bytes of all files.
    pub bytes: u64,
    /// What the user should know, such as a config key that no longer fits.
    pub notes: Vec<String>,
}

/// The outputs of a run while they are written under temporary names.
#[derive(Debug)]
pub struct Writer {}

impl Writer {
    /// Checks paths and free space, then makes the temporary files with their headers.
    /// `checkpoints` are those of the plan, in its order.
    ///
    /// # Errors
    /// Of the world, or of the recipe where an output cannot be what it asks for. Nothing is left behind.
    pub fn create(_outputs: &[Output], _checkpoints: &[Checkpoint], _provenance: &Provenance) -> Result<Writer, Error> {
        Ok(Writer {})
    }

    /// Writes bytes of a tensor's data, `byte_offset` counted from its first byte. Thread-safe.
    ///
    /// # Errors
    /// Of the world: a full disk is told apart.
    pub fn write_at(&self, _output: usize, _tensor: usize, _byte_offset: u64, _data: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    /// Adds the small files and moves everything to its final name.
    ///
    /// # Errors
    /// Of the world; nothing is then left under a final name that was not there before.
    pub fn finish(self) -> Result<Vec<Written>, Error> {
        Ok(Vec::new())
    }
}
