//! Project chores: `cargo xtask demo`, `test`, `bench`, `peers`.
//!
//! Each installs what it needs first (LLVM's development package), so that a fresh machine with git and
//! Rust is enough. Depends on nothing of the product, so that it builds before LLVM is there.
//! Not here: anything a user of `mergec` needs.

mod bench;
mod demo;
mod peers;
mod shell;
mod suite;
mod toolchain;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask demo              build mergec and merge four trained networks, with their accuracies
cargo xtask test              run the whole test suite
cargo xtask bench [--quick] [--disk] [--runs N] [METHOD...]
                              time mergec against a plain read-average-write loop
cargo xtask bench --peers [--quick] [--disk] [--runs N] [METHOD...]
                              time mergec against mergekit, which is installed for it
cargo xtask bench --search [--quick] [--peers] [PROBLEM...]
                              the algorithms of mergec search against random search, and beside Optuna's
cargo xtask peers [NAME...]   compare with mergekit and PEFT, which are installed for it";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["demo"] => demo::demo(),
        ["test"] => suite::run(),
        ["bench", options @ ..] => bench::bench(options),
        ["peers", names @ ..] => peers::peers(names),
        // The loop that `bench` measures, as a process of its own.
        ["floor", threads, output, inputs @ ..] => bench::floor::run(threads, output, inputs),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        other => Err(format!("unknown task `{}`\n{HELP}", other.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
