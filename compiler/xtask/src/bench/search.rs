//! `cargo xtask bench --search`: the algorithms of `mergec search` against random search, and with `--peers` beside Optuna's.
//!
//! The comparison is an example of `merge-search`, which needs no LLVM; Optuna's side is `tests/peers/search.py`, on the same
//! problems. `trials` and `elaboration` are what a candidate costs (`trials`, examples of `merge-driver`). The figures of
//! `docs/search.md` are from here.

use super::trials;
use crate::{shell, toolchain};
use std::path::{Path, PathBuf};

/// What Optuna's side needs.
const PACKAGES: [&str; 5] = ["optuna==5.0.0", "cma==4.5.0", "cmaes==0.13.1", "numpy==2.4.6", "safetensors==0.8.0"];

/// The shipped spaces that can be looked at without a checkpoint beside them.
const WITHOUT_CHECKPOINTS: [&str; 13] = [
    "clr",
    "compacter",
    "convnet",
    "deepconv",
    "deepconv_training",
    "flexibert",
    "frame_averaging",
    "hypernetwork",
    "moment_probing",
    "pyra",
    "resnet",
    "unified_petl",
    "widenet",
];

/// Prints the tables; names leave only the problems whose name has one of them in it.
pub fn bench(arguments: &[&str]) -> Result<(), String> {
    let (options, names): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|a| a.starts_with('-'));
    let known = |o: &str| ["--quick", "--peers"].contains(&o) || o.starts_with("--seeds=") || o.starts_with("--count=");
    if let Some(other) = options.iter().find(|o| !known(o)) {
        return Err(format!(
            "`bench --search` takes --quick, --peers, --seeds=FROM, --count=N and names of problems, no `{other}`"
        ));
    }
    let passed: Vec<&str> = options.iter().copied().filter(|o| *o != "--peers").collect();
    let example = ["run", "--quiet", "--release", "-p", "merge-search", "--example", "bench", "--"];
    let all = names.is_empty();
    let wants = |name: &str| all || names.contains(&name);
    if wants("trials") {
        toolchain::llvm()?;
        trials::bench()?;
    }
    if wants("elaboration") {
        toolchain::llvm()?;
        elaborate("candidates", &["resnet", "flexibert", "deepconv"])?;
        elaborate("checks", &WITHOUT_CHECKPOINTS)?;
    }
    let names: Vec<&str> = names.into_iter().filter(|n| !["trials", "elaboration"].contains(n)).collect();
    if names.is_empty() && !all {
        return Ok(());
    }
    shell::cargo(&[&example[..], &passed, &names].concat())?;
    if options.contains(&"--peers") {
        let python = environment()?;
        shell::run(python, &[&["tests/peers/search.py", "examples"][..], &names, &passed].concat())?;
    }
    Ok(())
}

/// Runs an example of the driver on shipped spaces.
fn elaborate(example: &str, names: &[&str]) -> Result<(), String> {
    let files: Vec<String> = names.iter().map(|name| format!("examples/spaces/{name}.merge")).collect();
    let run = ["run", "--quiet", "--release", "-p", "merge-driver", "--example", example, "--"];
    shell::cargo(&run.into_iter().chain(files.iter().map(String::as_str)).collect::<Vec<_>>())
}

/// The Python of a virtual environment with Optuna, made where it is not there.
fn environment() -> Result<PathBuf, String> {
    let folder = shell::target().join("optuna-venv");
    let python = folder.join("bin/python");
    let ready = |python: &Path| shell::works(python, &["-c", "import optuna, cma, cmaes, safetensors"]);
    if ready(&python) {
        return Ok(python);
    }
    println!("installing Optuna into {}", folder.display());
    shell::run("python3", &["-m", "venv", &folder.display().to_string()])?;
    shell::run(&python, &[&["-m", "pip", "install", "--quiet"], &PACKAGES[..]].concat())?;
    if ready(&python) { Ok(python) } else { Err(format!("Optuna cannot be imported by {}", python.display())) }
}
