//! Any stage of a recipe as text.

use crate::{Analysis, execute::internal};
use merge_codegen::Cpu;
use merge_runtime::Error;

/// What `mergec emit --ir` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Ast,
    Hir,
    Tir,
    Dispatch,
    Kir,
    Plan,
    Llvm,
    Asm,
}

/// The text of a stage; none where errors kept the recipe from reaching it.
///
/// # Errors
/// Where code generation fails, which is an internal error.
pub fn emit(analysis: &Analysis, stage: Stage) -> Result<Option<String>, Error> {
    match stage {
        Stage::Ast => return Ok(Some(merge_grammar::print(&analysis.ast))),
        Stage::Hir => return Ok(Some(merge_sema::hir::print_hir(&analysis.hir))),
        Stage::Tir => return Ok(Some(merge_ir::tir::print(&analysis.elaborated.graph))),
        _ => {}
    }
    let Some(compiled) = &analysis.compiled else { return Ok(None) };
    let kernels = &compiled.kernels;
    Ok(Some(match stage {
        Stage::Dispatch => merge_opt::print_dispatch(&compiled.optimised),
        Stage::Kir => kernels.iter().map(merge_ir::kir::print).collect::<Vec<_>>().join("\n"),
        Stage::Plan => merge_opt::print_plan(&compiled.plan),
        Stage::Llvm => merge_codegen::llvm_ir(kernels, &Cpu::Host).map_err(internal)?,
        _ => merge_codegen::assembly(kernels, &Cpu::Host).map_err(internal)?,
    }))
}
