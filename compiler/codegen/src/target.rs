//! Which machine code is made for.

use crate::Error;
use inkwell::OptimizationLevel;
use inkwell::targets::{CodeModel, InitializationConfig, RelocMode, Target, TargetMachine};
use std::sync::Once;

/// The CPU that code is made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cpu {
    /// The one this runs on, with everything it can do.
    Host,
    /// LLVM's name for one of this machine's architecture: `x86-64-v3`, `neoverse-n1`.
    Named(String),
}

/// The CPU of built executables where nobody names one: old enough to run nearly everywhere.
pub fn default_cpu() -> Cpu {
    Cpu::Named(if cfg!(target_arch = "x86_64") { "x86-64-v2" } else { "generic" }.into())
}

/// What lowering needs to know of a CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Lanes of a vector: 16 where registers hold that many f32, else 8.
    pub width: u32,
    /// Whether it converts f16 itself.
    pub native_f16: bool,
}

const NARROW: Shape = Shape { width: 8, native_f16: false };
const NARROW_F16: Shape = Shape { width: 8, native_f16: true };
const WIDE: Shape = Shape { width: 16, native_f16: true };

/// x86-64 CPUs with SSE4.1, whose rounding instructions `floor`, `ceil`, `round` and `trunc` need.
#[rustfmt::skip]
const X86: &[(Shape, &[&str])] = &[
    (NARROW, &[
        "x86-64-v2", "nehalem", "westmere", "penryn", "sandybridge", "silvermont", "goldmont", "goldmont-plus", "tremont",
        "btver2", "bdver1",
    ]),
    (NARROW_F16, &[
        "x86-64-v3", "ivybridge", "haswell", "broadwell", "skylake", "alderlake", "raptorlake", "meteorlake", "arrowlake",
        "lunarlake", "gracemont", "sierraforest", "grandridge", "bdver2", "bdver3", "bdver4", "znver1", "znver2", "znver3",
    ]),
    (WIDE, &[
        "x86-64-v4", "skylake-avx512", "cascadelake", "cooperlake", "cannonlake", "icelake-client", "icelake-server",
        "tigerlake", "rocketlake", "sapphirerapids", "emeraldrapids", "graniterapids", "znver4", "znver5",
    ]),
];

#[rustfmt::skip]
const AARCH64: &[(Shape, &[&str])] = &[
    (NARROW_F16, &[
        "generic", "cortex-a53", "cortex-a55", "cortex-a57", "cortex-a72", "cortex-a73", "cortex-a75", "cortex-a76", "cortex-a78",
        "cortex-x1", "neoverse-n1", "neoverse-n2", "neoverse-v1", "neoverse-v2", "ampere1", "ampere1a", "apple-m1",
        "apple-m2", "apple-m3", "apple-m4",
    ]),
];

/// The machine, and the shape of code for it.
pub(crate) fn machine(cpu: &Cpu) -> Result<(TargetMachine, Shape), Error> {
    static START: Once = Once::new();
    START.call_once(|| {
        // Fails only where LLVM was built without the machine's own architecture; `from_triple` says so.
        let _ = Target::initialize_native(&InitializationConfig::default());
    });
    let (name, features, shape) = match cpu {
        Cpu::Host => {
            let features = TargetMachine::get_host_cpu_features().to_string();
            if cfg!(target_arch = "x86_64") && !features.split(',').any(|f| f == "+sse4.1") {
                return Err(Error::Cpu("this computer's CPU lacks SSE4.1, which kernels need; use a newer one".into()));
            }
            let shape = host_shape(&features);
            (TargetMachine::get_host_cpu_name().to_string(), features, shape)
        }
        Cpu::Named(name) => (name.clone(), String::new(), named_shape(name)?),
    };
    let triple = TargetMachine::get_default_triple();
    let target = Target::from_triple(&triple).map_err(|e| Error::Internal(e.to_string()))?;
    let machine = target
        .create_target_machine(&triple, &name, &features, OptimizationLevel::Default, RelocMode::PIC, CodeModel::Default)
        .ok_or_else(|| Error::Internal(format!("LLVM has no machine for {triple}")))?;
    Ok((machine, shape))
}

fn host_shape(features: &str) -> Shape {
    let has = |wanted: &str| features.split(',').any(|f| f == wanted);
    if ["+avx512f", "+avx512bw", "+avx512vl", "+avx512dq"].into_iter().all(has) {
        WIDE
    } else if cfg!(target_arch = "aarch64") || has("+f16c") {
        NARROW_F16
    } else {
        NARROW
    }
}

fn named_shape(name: &str) -> Result<Shape, Error> {
    let table = if cfg!(target_arch = "aarch64") { AARCH64 } else { X86 };
    table.iter().find(|(_, names)| names.contains(&name)).map(|(shape, _)| *shape).ok_or_else(|| {
        let known: Vec<&str> = table.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        Error::Cpu(format!("`{name}` is not a CPU that kernels can be compiled for; known are {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_old_cpus_are_refused() {
        for name in ["x86-64", "8086", ""] {
            let error = machine(&Cpu::Named(name.into())).err();
            assert!(matches!(&error, Some(Error::Cpu(m)) if m.contains(name)), "{error:?}");
        }
        assert!(machine(&default_cpu()).is_ok());
    }

    /// LLVM only warns about names it does not know.
    #[test]
    fn named_cpus_are_known_to_llvm() {
        let table = if cfg!(target_arch = "aarch64") { AARCH64 } else { X86 };
        for name in table.iter().flat_map(|(_, names)| *names) {
            let (machine, _) = machine(&Cpu::Named((*name).into())).unwrap();
            assert_eq!(machine.get_cpu().to_str(), Ok(*name));
        }
    }
}
