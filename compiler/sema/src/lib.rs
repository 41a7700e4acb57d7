//! Names, types, shapes, degrees: from AST to tensor IR.
//!
//! Two steps. `resolve` turns the ASTs of a recipe and of the library files it uses into one [`hir`]
//! program: names are looked up, strings split, patterns parsed. `elaborate` then evaluates that program
//! against the headers of the checkpoints: what is static (ints, names, dims, lists) is computed, what is
//! a tensor becomes a node of a [`merge_ir::tir::Graph`], and types, shapes, coverage and degrees are
//! checked on the way. Because names and shapes are known, one pass does it all, and no shape error is born
//! later.
//!
//! Invariants: no IO (headers come through [`schema::Checkpoints`]); both steps return a result *and*
//! diagnostics; an error is said once, and what depends on it is poison and stays silent.
//!
//! Not here: `search`, `new` tensors. They are answered by a diagnostic.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod codes;
pub mod coverage;
pub mod degree;
pub mod elaborate;
pub mod hir;
pub mod pattern;
pub mod primitives;
pub mod resolve;
pub mod schema;
pub mod space;
pub mod value;

pub use elaborate::{Answers, Elaborated, RuleShare, TestCase, Undecided, elaborate, on_large_stack};
pub use resolve::{ModuleMissing, Modules, NoModules, resolve};
pub use schema::{Checkpoints, OpenError, Schema, TensorInfo};
