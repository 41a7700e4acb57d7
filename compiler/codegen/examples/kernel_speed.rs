//! How fast kernels are made and how fast they run, on a tile that stays in the second-level cache:
//! `cargo run --release --package merge-codegen --example kernel_speed [CPU]`.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Call, Rng};
use merge_codegen::{Cpu, Jit, compile};
use merge_ir::kir::{Kernel, parse};
use std::time::Instant;

/// Entries of a tile.
const TILE: usize = 1 << 16;

fn header(name: &str, dense: usize, params: usize, keys: usize, cuts: usize) -> String {
    let operands: String = (0..dense).map(|i| format!("operand {i}: bf16 dense\n")).collect();
    format!("kernel {name}\n{operands}params {params}, keys {keys}, cuts {cuts}\n")
}

/// A body that is written line by line; each line is the next value.
#[derive(Default)]
struct Body(Vec<String>);

impl Body {
    fn add(&mut self, line: impl Into<String>) -> usize {
        self.0.push(format!("%{} = {}\n", self.0.len(), line.into()));
        self.0.len() - 1
    }
}

fn kernels() -> Vec<Kernel> {
    let mut texts = vec![
        header("average2", 2, 1, 0, 0)
            + "%0 = load 0\n%1 = load 1\n%2 = add %0, %1\n%3 = param 0\n%4 = mul %2, %3\nstore bf16 %4",
        header("average3", 3, 3, 0, 0)
            + "%0 = load 0\n%1 = load 1\n%2 = load 2\n%3 = param 0\n%4 = param 1\n%5 = param 2\n%6 = mul %0, %3\n\
            %7 = mul %1, %4\n%8 = mul %2, %5\n%9 = add %6, %7\n%10 = add %9, %8\nstore bf16 %10",
        header("key", 2, 0, 0, 0) + "%0 = load 0\n%1 = load 1\n%2 = sub %0, %1\n%3 = abs %2\nstore f32 %3",
        header("dot_norms", 2, 0, 0, 0)
            + "%0 = load 0\n%1 = load 1\n%2 = mul %0, %1\n%3 = mul %0, %0\n%4 = mul %1, %1\n\
            reduce sum %2\nreduce sum %3\nreduce sum %4",
        header("softmax_like", 1, 0, 0, 0) + "%0 = load 0\n%1 = exp %0\nstore bf16 %1\nreduce sum %1",
    ];
    // ties: keep the largest differences from the base, elect a sign, average those that agree.
    let mut b = Body::default();
    let base = b.add("load 0");
    let mut kept = Vec::new();
    for i in 0..3 {
        let x = b.add(format!("load {}", i + 1));
        let delta = b.add(format!("sub %{x}, %{base}"));
        let key = b.add(format!("abs %{delta}"));
        let threshold = b.add(format!("param {i}"));
        let cut = b.add(format!("index_le {i}"));
        let chosen = b.add(format!("chosen %{key}, %{threshold}, %{cut}"));
        let zero = b.add("const 0.0");
        kept.push(b.add(format!("select %{chosen}, %{delta}, %{zero}")));
    }
    let sum = b.add(format!("add %{}, %{}", kept[0], kept[1]));
    let sum = b.add(format!("add %{sum}, %{}", kept[2]));
    let sign = b.add(format!("sign %{sum}"));
    let zero = b.add("const 0.0");
    let (mut total, mut count) = (zero, zero);
    for k in kept {
        let product = b.add(format!("mul %{k}, %{sign}"));
        let agrees = b.add(format!("cmp.gt %{product}, %{zero}"));
        let part = b.add(format!("select %{agrees}, %{k}, %{zero}"));
        total = b.add(format!("add %{total}, %{part}"));
        let one = b.add(format!("mask.f32 %{agrees}"));
        count = b.add(format!("add %{count}, %{one}"));
    }
    let one = b.add("const 1.0");
    let count = b.add(format!("max %{count}, %{one}"));
    let mean = b.add(format!("div %{total}, %{count}"));
    let weight = b.add("param 3");
    let step = b.add(format!("mul %{mean}, %{weight}"));
    let out = b.add(format!("add %{base}, %{step}"));
    texts.push(header("ties3", 4, 4, 0, 3) + &b.0.concat() + &format!("store bf16 %{out}"));
    // dare: drop differences at random, scale the others up.
    let mut b = Body::default();
    let base = b.add("load 0");
    let density = b.add("param 0");
    let scale = b.add("param 1");
    let zero = b.add("const 0.0");
    let mut sum = zero;
    for i in 0..3 {
        let x = b.add(format!("load {}", i + 1));
        let delta = b.add(format!("sub %{x}, %{base}"));
        let u = b.add(format!("uniform {i}"));
        let keep = b.add(format!("cmp.lt %{u}, %{density}"));
        let part = b.add(format!("select %{keep}, %{delta}, %{zero}"));
        sum = b.add(format!("add %{sum}, %{part}"));
    }
    let step = b.add(format!("mul %{sum}, %{scale}"));
    let out = b.add(format!("add %{base}, %{step}"));
    texts.push(header("dare3", 4, 2, 3, 0) + &b.0.concat() + &format!("store bf16 %{out}"));
    texts.iter().map(|t| parse(t).unwrap_or_else(|e| panic!("{e}\n{t}"))).collect()
}

/// A call on numbers like those of models: special ones, which some CPUs are slow at, are for the tests.
fn ordinary_call(kernel: &Kernel) -> Call {
    let mut rng = Rng(1);
    let mut call = Call::random(&mut rng, kernel, 1, TILE, 0);
    for operand in &mut call.operands {
        for i in 0..TILE {
            let x = ((rng.next() >> 40) as f32 / 16_777_216.0 - 0.5) * 0.1;
            operand.put(2 * i, &half::bf16::from_f32(x).to_ne_bytes());
        }
    }
    call.params.fill(0.03);
    call.cuts.fill(TILE as i64 / 2);
    call
}

fn main() {
    let cpu = std::env::args().nth(1).map_or(Cpu::Host, Cpu::Named);
    let kernels = kernels();
    let start = Instant::now();
    drop(compile(&kernels[..1], &cpu).expect("a kernel compiles"));
    println!("first kernel: {:.1} ms, with LLVM's start", start.elapsed().as_secs_f64() * 1e3);
    for kernel in &kernels {
        let start = Instant::now();
        let object = compile(std::slice::from_ref(kernel), &cpu).expect("a kernel compiles");
        println!("{:14} {:5.1} ms, {} bytes", kernel.name, start.elapsed().as_secs_f64() * 1e3, object.len());
    }
    let start = Instant::now();
    let jit = Jit::compile(&kernels, &cpu).expect("kernels compile");
    let functions: Vec<_> = kernels.iter().map(|k| jit.kernel(&k.name).expect("the kernel is there")).collect();
    println!("all, on several threads, loaded: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    for (kernel, f) in kernels.iter().zip(functions) {
        let call = ordinary_call(kernel);
        call.run(kernel, |args| {
            let mut best = f64::INFINITY;
            for _ in 0..200 {
                let start = Instant::now();
                // SAFETY: the buffers are those of the call.
                unsafe { f(args) };
                best = best.min(start.elapsed().as_secs_f64());
            }
            println!("{:14} {:.3} ns an entry", kernel.name, best * 1e9 / TILE as f64);
        });
    }
}
