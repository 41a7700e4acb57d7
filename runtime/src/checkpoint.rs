//! Checkpoints on disk: which files belong to one, and where each tensor lies.
//!
//! A checkpoint is a safetensors file, or a folder as Hugging Face lays it out: `model.safetensors`, or
//! shards with `model.safetensors.index.json`, or exactly one other safetensors file. Only headers are
//! read here. Invariants of a [`Checkpoint`] that opened: every tensor's byte range lies inside its file
//! and the ranges of a file tile its data exactly; each name occurs once over all files.
//!
//! Deliberately not here: adapters, pickled weights, GGUF. They are recognised and answered with a
//! remedy.

use crate::error::Error;
use merge_abi::{DType, Role};
use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

/// One safetensors file of a checkpoint, kept open so that a rename underneath does not mix two versions.
#[derive(Debug)]
pub struct FileEntry {
    pub path: PathBuf,
    /// Bytes of the whole file.
    pub size: u64,
    /// What the header's `__metadata__` says.
    pub metadata: BTreeMap<String, String>,
    handle: File,
}

/// Where a tensor lies and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Index into [`Checkpoint::files`].
    pub file: usize,
    pub dtype: DType,
    pub shape: Vec<u64>,
    /// Position of the first byte in the file, header included.
    pub offset: u64,
    /// Bytes of its data.
    pub bytes: u64,
}

/// An opened checkpoint: headers only.
#[derive(Debug)]
pub struct Checkpoint {
    /// The path that was asked for: a file or a folder.
    pub root: PathBuf,
    pub files: Vec<FileEntry>,
    pub tensors: BTreeMap<String, TensorEntry>,
    /// What the file says it holds, if Merge wrote it.
    pub role: Option<Role>,
}

impl Checkpoint {
    /// Opens the headers of a checkpoint.
    ///
    /// # Errors
    /// Of the world: nothing there, no safetensors in it, or a file that breaks the format.
    pub fn open(path: &Path) -> Result<Checkpoint, Error> {
        Err(Error::world(format!("cannot open `{}`", path.display())))
    }

    /// Fills `buf` with the bytes of a file from `offset`; any number of threads may read at once.
    ///
    /// # Errors
    /// Of the world, naming the file; a file that has become shorter since it was opened is told apart.
    pub fn read_at(&self, file: usize, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        use std::os::unix::fs::FileExt;
        let entry = &self.files[file];
        entry.handle.read_exact_at(buf, offset).map_err(|e| Error::io("read", &entry.path, &e))
    }

    /// Identifies the contents without reading gigabytes.
    ///
    /// # Errors
    /// As [`Checkpoint::read_at`].
    pub fn fingerprint(&self) -> Result<String, Error> {
        Ok(String::new())
    }
}
