//! Spans, sources and diagnostics as plain data.
//!
//! Every stage of the compiler reports through [`Diagnostic`]; only the command line turns one into
//! text. A front-end function returns its result *and* its diagnostics, never a `Result`, so that one
//! mistake does not hide the others.
//!
//! Invariants: spans are byte offsets into the text registered under their [`FileId`]; a diagnostic has
//! at least one primary label unless the fault lies in no file.
//!
//! Not here: rendering (the command line), the list of codes (each crate owns its codes in `codes.rs`).

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod diagnostic;
mod source;
mod suggest;

pub use diagnostic::{Code, Diagnostic, Fix, Label, Severity};
pub use source::{FileId, LineColumn, Source, Sources, Span};
pub use suggest::{did_you_mean, list_names};
