//! `cargo xtask test`: the whole test suite.

use crate::{shell, toolchain};

/// Runs every test of the workspace, with the executables and the runtime library that they start built first.
pub fn run() -> Result<(), String> {
    toolchain::llvm()?;
    let python = toolchain::python();
    if let Some(python) = python {
        // SAFETY: xtask has one thread here.
        unsafe { std::env::set_var("MERGE_TEST_PYTHON", python) };
    }
    shell::cargo(&["build", "--quiet", "-p", "mergec", "-p", "merge-runtime", "-p", "merge-evaluate"])?;
    shell::cargo(&["test", "--quiet", "--workspace", "--no-fail-fast"])
}
