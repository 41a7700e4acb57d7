//! Reads files, runs the passes, links executables: everything the command line and the tests ask for.
//!
//! The only crate of the compiler that touches the disk. [`analyse`] takes a recipe through every stage up
//! to the plan and gives all diagnostics; [`run`], [`build`] and [`run_tests`] go on from there.
//! Invariant: what is wrong with the recipe is a [`merge_base::Diagnostic`], what is wrong with the world a
//! [`merge_runtime::Error`].
//! Not here: printing and colours (the command line), protocols of editors.

mod analyse;
mod build;
mod choices;
mod describe;
mod embedded;
mod execute;
mod freeze;
mod modules;
mod schemas;
pub mod search;
mod sites;
pub mod space;
mod stages;
mod tests_in_recipes;
mod transfer;

pub use analyse::{Analysis, Request, analyse, analyse_all};
pub use build::build;
pub use choices::{parse_choices, read_choices, refuse_two_answers};
pub use describe::describe_plan;
pub use embedded::{error_page, error_pages, library};
pub use execute::{run, saves_nothing};
pub use freeze::freeze;
pub use stages::{Stage, emit};
pub use tests_in_recipes::{TestResult, run_tests};
pub use transfer::taken_over;

pub use merge_sema::{Undecided, on_large_stack};
