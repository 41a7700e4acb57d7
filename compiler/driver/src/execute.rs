//! Compiles a plan's kernels in memory and runs it.

use crate::Analysis;
use merge_codegen::{Cpu, Jit};
use merge_runtime::{Error, Options, Progress, Summary};

/// Runs the plan of an analysis that has no errors.
///
/// # Errors
/// Of the world: files, memory, an interrupt; or an internal error of code generation.
pub fn run(analysis: &Analysis, options: &Options, progress: &dyn Progress) -> Result<Summary, Error> {
    let compiled = analysis.compiled.as_ref().ok_or_else(|| Error::internal("the recipe has errors and no plan"))?;
    if analysis.without_weights {
        return Err(Error::world("a checkpoint of this recipe is a `.schema` text, which has no weights")
            .with_help("`mergec check` and `mergec plan` work on it; to run, give the weights with `--model name=PATH`"));
    }
    let jit = Jit::compile(&compiled.kernels, &Cpu::Host).map_err(internal)?;
    let kernels = compiled
        .kernels
        .iter()
        .map(|k| jit.kernel(&k.name).ok_or_else(|| Error::internal(format!("kernel `{}` was not compiled", k.name))))
        .collect::<Result<Vec<_>, _>>()?;
    merge_runtime::run(&compiled.plan, &kernels, options, progress)
}

/// That a recipe has nothing to run, with what to do about it.
pub fn saves_nothing(analysis: &Analysis) -> Error {
    let error = Error::usage("the recipe saves nothing");
    match crate::analyse::searches(&analysis.hir).as_slice() {
        [] => error.with_help("add `save NAME to \"folder\"`"),
        names => {
            let flags: Vec<String> = names.iter().map(|n| format!("`--name {n}`")).collect();
            error.with_help(format!("say whose candidate is meant: {}", flags.join(" or ")))
        }
    }
}

pub(crate) fn internal(error: impl std::fmt::Display) -> Error {
    Error::internal(error.to_string())
}
