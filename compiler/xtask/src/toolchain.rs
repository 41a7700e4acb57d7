//! What the build and the tests need beside Rust: LLVM, and Python for the tests that read outputs back.

use crate::shell;
use std::path::{Path, PathBuf};

/// The one place that names the LLVM release; `Cargo.toml` has inkwell's feature for the same.
const LLVM: &str = "19";

/// Makes sure that LLVM's development files are there.
pub fn llvm() -> Result<(), String> {
    let prefix = std::env::var("LLVM_SYS_191_PREFIX").unwrap_or_else(|_| format!("/usr/lib/llvm-{LLVM}"));
    if shell::works(Path::new(&prefix).join("bin/llvm-config"), &["--version"])
        && Path::new(&prefix).join("include/llvm-c").exists()
    {
        return Ok(());
    }
    println!("installing LLVM {LLVM}");
    apt(&[&format!("llvm-{LLVM}-dev")]).map_err(|e| {
        format!(
            "LLVM {LLVM} was not found in {prefix}, and could not be installed ({e}).\n\
             Install LLVM {LLVM} with its headers and set LLVM_SYS_191_PREFIX to its folder."
        )
    })
}

/// What tests read outputs with.
const PYTHON_PACKAGES: [&str; 4] = ["numpy", "safetensors", "onnx", "jsonschema"];

/// A Python with numpy, safetensors, onnx and jsonschema, in a virtual environment below the target folder; none, with a line
/// that says so, where there is no Python to be had.
pub fn python() -> Option<PathBuf> {
    let venv = shell::target().join("python");
    let python = venv.join("bin/python");
    let ready = |p: &Path| shell::works(p, &["-c", "import numpy, safetensors, onnx, jsonschema"]);
    if ready(&python) {
        return Some(python);
    }
    let made = || shell::works("python3", &["-m", "venv", &venv.display().to_string()]);
    let installed = (made() || (apt(&["python3", "python3-venv"]).is_ok() && made()))
        && shell::works(&python, &[&["-m", "pip", "install", "--quiet"], &PYTHON_PACKAGES[..]].concat());
    if installed && ready(&python) {
        return Some(python);
    }
    println!("no Python with {}: the tests that read outputs with them are left out", PYTHON_PACKAGES.join(", "));
    None
}

fn apt(packages: &[&str]) -> Result<(), String> {
    if !shell::works("apt-get", &["--version"]) {
        return Err("this system has no apt-get".to_owned());
    }
    let root = shell::output("id", &["-u"])?.trim() == "0";
    let install = |arguments: &[&str]| {
        if root { shell::run("apt-get", arguments) } else { shell::run("sudo", &[&["apt-get"], arguments].concat()) }
    };
    install(&["update", "-qq"])?;
    install(&[&["install", "-y", "-qq", "--no-install-recommends"], packages].concat())
}
