//! Objects as files: what they need from elsewhere, and that executables link and find their plan.

use merge_codegen::{Cpu, Error, assembly, compile, default_cpu, executable_object, llvm_ir};
use merge_ir::kir::{Kernel, parse};
use std::process::Command;

/// Kernels that use everything which could become a call into a library.
fn kernels() -> Vec<Kernel> {
    let functions = ["exp", "log", "sin", "tan", "acos", "tanh", "floor", "round", "sqrt", "trunc", "ceil"];
    let mut body = String::from("%0 = load 0\n");
    for (i, f) in functions.iter().enumerate() {
        body += &format!("%{} = {f} %{i}\n", i + 1);
    }
    let n = functions.len();
    let mut kernels = Vec::new();
    for (i, dtype) in ["f16", "bf16", "f8_e4m3", "f8_e5m2", "u64", "i64", "bool", "f64"].iter().enumerate() {
        let text = format!(
            "kernel k{i}\noperand 0: {dtype} dense\nparams 1, keys 2, cuts 1\n{body}%{} = uniform 1\n%{} = pow %{n}, %{}\n\
             %{} = coord 12345678901 7\n%{} = add %{}, %{}\nstore f16 %{}\nstore bf16 %{}\nreduce sum %{}\nreduce max %{n}",
            n + 1,
            n + 2,
            n + 1,
            n + 3,
            n + 4,
            n + 3,
            n + 2,
            n + 4,
            n + 4,
            n + 4
        );
        kernels.push(parse(&text).unwrap());
    }
    kernels
}

/// The undefined and the defined global symbols of a 64-bit little-endian ELF file.
fn symbols(object: &[u8]) -> (Vec<String>, Vec<String>) {
    let number = |at: usize, len: usize| object[at..at + len].iter().rev().fold(0usize, |n, b| n << 8 | usize::from(*b));
    assert_eq!(&object[..6], b"\x7fELF\x02\x01");
    let (sections, count) = (number(40, 8), number(60, 2));
    let section = |n: usize| sections + 64 * n;
    let table = (0..count).map(section).find(|s| number(s + 4, 4) == 2).expect("a symbol table");
    let strings = number(section(number(table + 40, 4)) + 24, 8);
    let (mut undefined, mut defined) = (Vec::new(), Vec::new());
    for symbol in (number(table + 24, 8)..).step_by(24).take(number(table + 32, 8) / 24) {
        let name = object[strings + number(symbol, 4)..].split(|b| *b == 0).next().unwrap();
        let name = String::from_utf8(name.to_vec()).unwrap();
        if object[symbol + 4] >> 4 != 0 {
            if number(symbol + 6, 2) == 0 { undefined.push(name) } else { defined.push(name) }
        }
    }
    (undefined, defined)
}

#[test]
#[cfg(target_os = "linux")]
fn kernels_need_no_symbol() {
    for cpu in [Cpu::Host, default_cpu()] {
        let kernels = kernels();
        let (undefined, defined) = symbols(&compile(&kernels, &cpu).unwrap());
        assert_eq!(undefined, Vec::<String>::new(), "{cpu:?}");
        assert_eq!(defined, kernels.iter().map(|k| k.name.clone()).collect::<Vec<_>>(), "{cpu:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn executables_link_and_run() {
    // Stands in for the runtime: checks the plan and calls the second kernel.
    const RUNTIME: &str = r#"
        #include <stdio.h>
        #include <string.h>
        #include <stdint.h>
        struct args { const void *const *operands; void *const *stores; double *partials; const float *params;
                      const uint64_t *keys; const int64_t *cuts; uint64_t first, rows, cols; };
        int merge_main(int argc, char **argv, const unsigned char *plan, size_t plan_len,
                       void (*const *kernels)(const struct args *), size_t count) {
            float in[3] = {1, 2, 3}, out[3];
            const void *operands[1] = {in};
            void *stores[1] = {out};
            struct args args = {operands, stores, 0, 0, 0, 0, 0, 1, 3};
            kernels[1](&args);
            int same = plan_len == 6 && !memcmp(plan, "p\0\"\\\xff ", 6);
            printf("%d %d %zu %g %g %g", argc, same, count, out[0], out[1], out[2]);
            return 7;
        }"#;
    let kernel =
        |name: &str, f: &str| parse(&format!("kernel {name}\noperand 0: f32 dense\n%0 = load 0\n%1 = {f} %0\nstore f32 %1"));
    // Named like functions of the C library, which must not matter.
    let kernels = [kernel("memcpy", "abs").unwrap(), kernel("printf", "neg").unwrap()];
    let object = executable_object(&kernels, b"p\0\"\\\xff ", &default_cpu()).unwrap();
    let (undefined, defined) = symbols(&object);
    assert_eq!((undefined, defined), (vec!["merge_main".to_string()], vec!["main".to_string()]));

    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::write(folder.join("kernels.o"), &object).unwrap();
    std::fs::write(folder.join("runtime.c"), RUNTIME).unwrap();
    let built =
        Command::new("cc").current_dir(folder).args(["-pie", "-fPIE", "runtime.c", "kernels.o", "-o", "exe"]).output().unwrap();
    assert!(built.status.success() && built.stderr.is_empty(), "{}", String::from_utf8_lossy(&built.stderr));
    let run = Command::new(folder.join("exe")).arg("x").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout), "2 1 2 -1 -2 -3");
    assert_eq!(run.status.code(), Some(7));
}

#[test]
fn text_forms() {
    let kernel = parse("kernel k\noperand 0: f16 dense\n%0 = load 0\nstore f16 %0\nreduce sum %0").unwrap();
    let kernels = [kernel];
    let text = llvm_ir(&kernels, &default_cpu()).unwrap();
    assert!(text.contains("void @k(ptr"), "{text}");
    // Arithmetic is bound to the order that is written.
    for word in [" fast ", "contract", "reassoc", "nnan", "nsz"] {
        assert!(!text.contains(word), "{word}");
    }
    if cfg!(target_arch = "x86_64") {
        assert!(!text.contains("half"), "f16 is converted with integers: {text}");
    }
    assert!(assembly(&kernels, &Cpu::Host).unwrap().contains("k:"));
}

#[test]
fn broken_kernels_are_refused() {
    let kernel = parse("kernel k\n%0 = load 3\nstore f32 %0").unwrap();
    let error = compile(&[kernel], &Cpu::Host).unwrap_err();
    assert!(matches!(&error, Error::Internal(m) if m.contains("uses operand 3 of 0")), "{error}");
    assert!(compile(&[], &Cpu::Named("pdp-11".into())).is_err());
}

#[test]
fn the_loader_finds_kernels_only() {
    let kernels = kernels();
    let jit = merge_codegen::Jit::compile(&kernels, &Cpu::Host).unwrap();
    assert!(kernels.iter().all(|k| jit.kernel(&k.name).is_some()));
    assert!(jit.kernel("k99").is_none() && jit.kernel("").is_none() && jit.kernel("a\0b").is_none());
    assert!(merge_codegen::Jit::load(b"not an object").is_err());
}
