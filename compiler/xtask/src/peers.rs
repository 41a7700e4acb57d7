//! `cargo xtask peers`: Merge against mergekit and PEFT, number by number.
//!
//! The comparison itself is Python (`tests/peers`), since both peers are. This makes the virtual environment and `mergec`.
//! Not part of the test suite: the peers are large, and come from the network.

use crate::{shell, toolchain};
use std::path::{Path, PathBuf};

const REQUIREMENTS: &str = "tests/peers/requirements.txt";

/// Builds mergec and starts the comparison; names leave only the comparisons whose title has one of them in it.
pub fn peers(names: &[&str]) -> Result<(), String> {
    if let Some(option) = names.iter().find(|n| n.starts_with('-')) {
        return Err(format!("`cargo xtask peers` takes names of comparisons, no option `{option}`"));
    }
    toolchain::llvm()?;
    let python = environment()?;
    shell::cargo(&["build", "--quiet", "--release", "-p", "mergec", "-p", "merge-runtime"])?;
    let mergec = shell::target().join("release/mergec").display().to_string();
    let work = shell::target().join("peers");
    let shown = work.display().to_string();
    let fixed = ["tests/peers/main.py", "--mergec", &mergec, "--page", "docs/mergekit.md", "--work", &shown];
    let done = shell::run(python, &[&fixed, names].concat());
    // Small models and their merges, made anew each time.
    let _ = std::fs::remove_dir_all(work);
    done.map_err(|_| "some comparisons did not come out as docs/mergekit.md has it".to_owned())
}

/// The Python of a virtual environment with the peers, which `MERGE_PEERS_VENV` may name; made where it is not there.
pub fn environment() -> Result<PathBuf, String> {
    let folder = std::env::var_os("MERGE_PEERS_VENV").map_or_else(|| shell::target().join("peers-venv"), PathBuf::from);
    let python = folder.join("bin/python");
    if ready(&python) {
        return Ok(python);
    }
    if !shell::works("python3", &["--version"]) {
        return Err("the peers are Python packages, and `python3` is not there: install Python 3.11 or newer".to_owned());
    }
    println!("installing mergekit and PEFT into {} (some gigabytes, with torch)", folder.display());
    shell::run("python3", &["-m", "venv", &folder.display().to_string()]).map_err(|e| {
        format!("{e}\nPython's `venv` module makes the environment; Debian and Ubuntu have it in the package python3-venv")
    })?;
    shell::run(&python, &["-m", "pip", "install", "--quiet", "-r", REQUIREMENTS])
        .map_err(|e| format!("{e}\npip could not install what {REQUIREMENTS} names"))?;
    if ready(&python) { Ok(python) } else { Err(format!("mergekit and PEFT cannot be imported by {}", python.display())) }
}

fn ready(python: &Path) -> bool {
    shell::works(python, &["-c", "import mergekit.merge, peft, safetensors.torch"])
}
