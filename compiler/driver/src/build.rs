//! Links a native executable of one recipe.

use crate::{Analysis, execute::internal};
use merge_codegen::Cpu;
use merge_runtime::Error;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

const RUNTIME: &str = "libmerge_runtime.a";

/// Writes the executable of an analysis that has no errors to `to`. `cpu` names a processor as LLVM does;
/// by default the executable runs on any 64-bit machine of this kind from the last fifteen years.
///
/// # Errors
/// Where the runtime library or the C compiler that links is missing, or the file cannot be written.
pub fn build(analysis: &Analysis, to: &Path, cpu: Option<&str>) -> Result<(), Error> {
    let compiled = analysis.compiled.as_ref().ok_or_else(|| Error::internal("the recipe has errors and no plan"))?;
    let cpu = match cpu {
        Some("native") => Cpu::Host,
        Some(name) => Cpu::Named(name.to_owned()),
        None => merge_codegen::default_cpu(),
    };
    let mut plan = compiled.plan.clone();
    // The recipe's paths count from its folder, wherever the executable is run.
    plan.checkpoints.iter_mut().for_each(|c| c.path = absolute(&c.path));
    plan.outputs.iter_mut().for_each(|o| o.path = absolute(&o.path));
    let plan = merge_runtime::encode_plan(&plan);
    let object = merge_codegen::executable_object(&compiled.kernels, &plan, &cpu).map_err(|e| match e {
        merge_codegen::Error::Cpu(message) => Error::usage(message),
        merge_codegen::Error::Internal(_) => internal(e),
    })?;

    let object_file = beside(to, "o");
    std::fs::write(&object_file, object).map_err(|e| Error::world(format!("cannot write `{}`: {e}", object_file.display())))?;
    let linked = link(&object_file, to);
    let _ = std::fs::remove_file(&object_file);
    linked
}

fn absolute(path: &str) -> String {
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |p| p.display().to_string())
}

/// Links through a sibling name, so that a failed link leaves nothing under the final one.
fn link(object: &Path, to: &Path) -> Result<(), Error> {
    let runtime = find_runtime()?;
    let partial = beside(to, "partial");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let output = Command::new(&compiler)
        .arg("-o")
        .arg(&partial)
        .args([object, &runtime])
        .args(["-Wl,--gc-sections", "-Wl,-s", "-static-libgcc", "-lpthread", "-ldl", "-lm", "-lgcc_eh", "-lgcc", "-lc"])
        .output()
        .map_err(|e| {
            Error::world(format!("cannot start the linker `{compiler}`: {e}"))
                .with_help("install a C compiler (Debian: apt install gcc), or name one in CC")
        })?;
    if !output.status.success() {
        let _ = std::fs::remove_file(&partial);
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::world(format!("`{compiler}` could not link `{}`: {text}", to.display())));
    }
    std::fs::rename(&partial, to).map_err(|e| {
        let _ = std::fs::remove_file(&partial);
        Error::world(format!("cannot write `{}`: {e}", to.display()))
    })
}

/// `MERGE_RUNTIME`, or the library beside `mergec`, or in `../lib` of an installed one.
fn find_runtime() -> Result<PathBuf, Error> {
    let mut tried = Vec::new();
    if let Some(path) = std::env::var_os("MERGE_RUNTIME") {
        tried.push(PathBuf::from(path));
    }
    if let Ok(mergec) = std::env::current_exe()
        && let Some(folder) = mergec.parent()
    {
        tried.push(folder.join(RUNTIME));
        tried.push(folder.join("../lib").join(RUNTIME));
        // Test binaries live one folder below the libraries.
        tried.push(folder.join("..").join(RUNTIME));
    }
    tried.iter().find(|p| p.is_file()).cloned().ok_or_else(|| {
        let places = tried.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
        Error::world(format!("the runtime library `{RUNTIME}` was not found; looked at {places}"))
            .with_help("build it with `cargo build --release -p merge-runtime`, or set MERGE_RUNTIME to its path")
    })
}

fn beside(to: &Path, extension: &str) -> PathBuf {
    let name = to.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    to.with_file_name(format!(".{name}.{}.{extension}", std::process::id()))
}
