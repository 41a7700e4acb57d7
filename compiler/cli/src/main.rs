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
    end_where_nobody_reads();
    ExitCode::from(merge_driver::on_large_stack(|| commands::perform(arguments.command)))
}

/// `println!` panics where its text cannot be written. If the reader is gone (`mergec space recipe.merge | head`), that is an end and no
/// mistake; anything else is the world's.
fn end_where_nobody_reads() {
    const THE_WORLD: i32 = 3;
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
        match said.strip_prefix("failed printing to stdout: ") {
            Some(why) if why.starts_with("Broken pipe") => std::process::exit(THE_WORLD),
            Some(why) => {
                eprintln!("error: nothing can be written to the standard output: {why}");
                std::process::exit(THE_WORLD)
            }
            None => usual(panic),
        }
    }));
}
