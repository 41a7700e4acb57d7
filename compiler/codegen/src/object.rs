//! From kernels to an object file: expand, verify, lower, optimise, emit.

use crate::lower::lower;
use crate::target::machine;
use crate::{Cpu, Error, Shape};
use inkwell::context::Context;
use inkwell::memory_buffer::MemoryBuffer;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::FileType;
use merge_ir::kir::{Kernel, expand, verify};
use std::fmt::Write;

/// Lowering already writes vectors, hoists and unrolls; what is left is to fold constants, to join equal
/// computations and to move out of loops what depends on launch scalars alone. The standard pipelines take
/// several times longer and give the same loops.
const PASSES: &str = "function(early-cse,instcombine<no-verify-fixpoint>,loop-mssa(licm),early-cse,instcombine<no-verify-fixpoint>,\
    simplifycfg)";

/// An object file with one global function for each kernel, under its name. Needs no other symbol.
pub fn compile(kernels: &[Kernel], cpu: &Cpu) -> Result<Vec<u8>, Error> {
    emit(kernels, cpu, "", "", FileType::Object)
}

/// The kernels as assembly for `cpu`.
pub fn assembly(kernels: &[Kernel], cpu: &Cpu) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&emit(kernels, cpu, "", "", FileType::Assembly)?).into_owned())
}

/// The kernels as LLVM assembly, before LLVM's own passes, as it is written for `cpu`.
pub fn llvm_ir(kernels: &[Kernel], cpu: &Cpu) -> Result<String, Error> {
    let (_, shape) = machine(cpu)?;
    module_text(kernels, &shape, "")
}

/// An object file for an executable: the kernels, a table of them in the order given (which is the plan's),
/// the encoded plan, and a `main` that hands everything over to the runtime's
/// `merge_main(argc, argv, plan, plan_len, kernels, count)`. Position independent.
pub fn executable_object(kernels: &[Kernel], plan: &[u8], cpu: &Cpu) -> Result<Vec<u8>, Error> {
    let mut extra = String::with_capacity(plan.len() * 3 + 1000);
    extra.push_str(&format!("@merge.plan = private unnamed_addr constant [{} x i8] c\"", plan.len()));
    for byte in plan {
        match byte {
            b' '..=b'~' if *byte != b'"' && *byte != b'\\' => extra.push(char::from(*byte)),
            _ => {
                let _ = write!(extra, "\\{byte:02X}");
            }
        }
    }
    extra.push_str("\", align 16\n");
    let table: Vec<String> = kernels.iter().map(|k| format!("ptr @{}", k.name)).collect();
    let count = kernels.len();
    let _ = write!(
        extra,
        "@merge.kernels = private unnamed_addr constant [{count} x ptr] [{}], align 8\n\
         declare i32 @merge_main(i32, ptr, ptr, i64, ptr, i64)\n\
         define i32 @main(i32 %argc, ptr %argv) nounwind {{\n  \
           %code = call i32 @merge_main(i32 %argc, ptr %argv, ptr @merge.plan, i64 {}, ptr @merge.kernels, i64 {count})\n  \
           ret i32 %code\n}}\n",
        table.join(", "),
        plan.len(),
    );
    // Internal, so that no name of a kernel meets one of the runtime's or the C library's.
    emit(kernels, cpu, "internal", &extra, FileType::Object)
}

fn module_text(kernels: &[Kernel], shape: &Shape, linkage: &str) -> Result<String, Error> {
    let mut text = String::new();
    for kernel in kernels {
        let faults = verify(kernel);
        if !faults.is_empty() {
            return Err(Error::Internal(format!("kernel {}: {}", kernel.name, faults.join("; "))));
        }
        text.push_str(&lower(&expand(kernel.clone()), shape, linkage));
    }
    Ok(text)
}

fn emit(kernels: &[Kernel], cpu: &Cpu, linkage: &str, extra: &str, kind: FileType) -> Result<Vec<u8>, Error> {
    let internal = |e: inkwell::support::LLVMString| Error::Internal(e.to_string());
    let (machine, shape) = machine(cpu)?;
    let mut text = module_text(kernels, &shape, linkage)?;
    text.push_str(extra);
    let context = Context::create();
    let module = context
        .create_module_from_ir(MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), "kernels"))
        .map_err(internal)?;
    module.set_triple(&machine.get_triple());
    module.set_data_layout(&machine.get_target_data().get_data_layout());
    module.run_passes(PASSES, &machine, PassBuilderOptions::create()).map_err(internal)?;
    let buffer = machine.write_to_memory_buffer(&module, kind).map_err(internal)?;
    Ok(buffer.as_slice().to_vec())
}
