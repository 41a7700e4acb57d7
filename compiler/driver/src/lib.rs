//! Reads files, runs the passes, links executables: everything the command line and the tests ask for.
//!
//! The only crate of the compiler that touches the disk. [`analyse`] takes a recipe through every stage up
//! to the plan and gives all diagnostics; [`run`], [`build`] and [`run_tests`] go on from there.
//! Invariant: what is wrong with the recipe is a [`merge_base::Diagnostic`], what is wrong with the world a
//! [`merge_runtime::Error`].
//! Not here: printing and colours (the command line), protocols of editors.

mod analyse;
mod build;
mod describe;
mod embedded;
mod execute;
mod modules;
mod schemas;
mod stages;
mod tests_in_recipes;

pub use analyse::{Analysis, Request, analyse};
pub use build::build;
pub use describe::describe_plan;
pub use embedded::{error_page, error_pages, library};
pub use execute::run;
pub use stages::{Stage, emit};
pub use tests_in_recipes::{TestResult, run_tests};
