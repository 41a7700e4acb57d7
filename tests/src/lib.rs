//! What the suites share: temporary folders, small checkpoints, and ways to run a recipe.
//!
//! A suite is a file in `suites/`; its data lie beside it (`ui/`, `golden/`, `programs/`, `ir/`).
//! Invariant: a suite needs nothing outside the repository, and leaves nothing behind.

mod checkpoints;
mod library;
mod recipes;
pub mod shipped;

pub use checkpoints::{
    Tensor, encode, read_model, read_tensors, values, write_adapter, write_backbone, write_checkpoint, write_encoders,
    write_stand_ins,
};
pub use library::{LibraryFunction, calls, library_functions};
pub use recipes::{analyse_text, cargo_binary, forward, forward_on, interpret_output, mergec, run_text};

use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the root").to_owned()
}

/// A temporary folder, removed when dropped.
pub struct Folder(TempDir);

impl Folder {
    /// A new, empty folder; `name` shows up in its path.
    pub fn new(name: &str) -> Folder {
        Folder(tempfile::Builder::new().prefix(&format!("merge-{name}-")).tempdir().expect("the temporary folder is writable"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a text file in it and gives its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("writable");
        std::fs::write(&path, text).expect("writable");
        path
    }
}

/// A small generator of random numbers for tests: xorshift64*. The seed is printed by tests that fail.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number in `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() >> 33) as usize % n
    }

    /// Roughly normal, standard deviation 1.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| (self.bits() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}
