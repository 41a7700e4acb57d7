//! What a checkpoint's header says: names, shapes and dtypes, never data.
//!
//! The elaborator asks for headers through [`Checkpoints`], which the driver implements over files (or over
//! `.schema` texts); this crate does no IO itself.

use merge_abi::{DType, Role};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    pub dtype: DType,
    pub shape: Vec<u64>,
}

/// The header of one checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    pub tensors: BTreeMap<String, TensorInfo>,
    /// What the file says that it holds; files that Merge did not write say nothing.
    pub role: Option<Role>,
}

impl Schema {
    /// The header that lists these tensors.
    pub fn new(tensors: impl IntoIterator<Item = (String, DType, Vec<u64>)>, role: Option<Role>) -> Schema {
        let tensors = tensors.into_iter().map(|(name, dtype, shape)| (name, TensorInfo { dtype, shape })).collect();
        Schema { tensors, role }
    }
}

/// Why a checkpoint could not be opened, for the diagnostic at the place that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    pub message: String,
    pub help: Option<String>,
}

/// The door to checkpoint files.
pub trait Checkpoints {
    /// The header of the checkpoint at `path`, as the recipe (or `--model`) writes it.
    fn open(&mut self, path: &str) -> Result<Arc<Schema>, OpenError>;

    /// The text of a small file that lies beside the tensors of a checkpoint (in its folder, or in the folder of its
    /// file); none if there is no such file.
    fn beside(&mut self, _path: &str, _file: &str) -> Result<Option<String>, OpenError> {
        Ok(None)
    }
}
