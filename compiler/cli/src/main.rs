//! `mergec`, the command line of the Merge compiler.
//!
//! The only crate that prints. It turns arguments into requests to the driver, and diagnostics, errors of
//! the world and results into text or JSON lines.
//! Invariant: exit codes are 0 fine, 1 the recipe is wrong, 2 the usage is wrong, 3 the world is.
//! Not here: any decision about recipes.

mod arguments;
mod commands;
mod render;
mod search;
mod space;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // clap itself exits with 2 on wrong usage and with 0 after --help.
    let arguments = arguments::Arguments::parse();
    ExitCode::from(merge_driver::on_large_stack(|| commands::perform(arguments.command)))
}
