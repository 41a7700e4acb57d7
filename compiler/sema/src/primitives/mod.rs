//! The functions of the language itself.

pub mod table;

pub use table::{AXIS_WORDS, PRIMITIVES, PrimParam, Primitive, primitive};
