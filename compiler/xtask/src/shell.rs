//! Starting other programs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("xtask lies two folders deep").to_owned()
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs a program in the root; its output goes where ours goes.
pub fn run(program: impl AsRef<Path>, arguments: &[&str]) -> Result<(), String> {
    let program = program.as_ref();
    let shown = format!("{} {}", program.display(), arguments.join(" "));
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .status()
        .map_err(|e| format!("cannot start `{}`: {e}", program.display()))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed ({status})")) }
}

/// Runs a program and gives what it printed to standard output.
pub fn output(program: impl AsRef<Path>, arguments: &[&str]) -> Result<String, String> {
    let program = program.as_ref();
    let out = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|e| format!("cannot start `{}`: {e}", program.display()))?;
    if !out.status.success() {
        return Err(format!("`{} {}` failed ({})", program.display(), arguments.join(" "), out.status));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Whether a program can be started and says it is fine.
pub fn works(program: impl AsRef<Path>, arguments: &[&str]) -> bool {
    Command::new(program.as_ref()).args(arguments).output().is_ok_and(|o| o.status.success())
}

/// Runs cargo.
pub fn cargo(arguments: &[&str]) -> Result<(), String> {
    run(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()), arguments)
}
