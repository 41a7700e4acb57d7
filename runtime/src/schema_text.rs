//! The `.schema` text of a checkpoint.
