//! What the tests of passes share: a direct evaluation of a graph, a tiny executor of plans that runs
//! kernels with the reference interpreter, and a builder of small graphs.

#![allow(dead_code, unused_imports, reason = "each suite uses some of it")]

mod build;
mod evaluate;
mod execute;

pub use build::Build;
pub use evaluate::evaluate;
pub use execute::execute;

use merge_abi::Recipe;
use merge_ir::tir::Graph;
use merge_opt::Compiled;

/// Compiles a graph that must be compiled without a finding.
pub fn compile(graph: &Graph) -> Compiled {
    let compiled = merge_opt::compile(graph, Recipe::default());
    assert_eq!(compiled.diagnostics, vec![], "{}", merge_ir::tir::print(graph));
    assert_eq!(merge_opt::verify_plan(&compiled.plan), Vec::<String>::new());
    compiled
}

/// Compiles and runs a graph, and holds every output against its direct evaluation.
pub fn check(graph: &Graph) -> Compiled {
    let compiled = compile(graph);
    let outputs = execute(&compiled);
    let values = evaluate(graph);
    for (o, output) in graph.outputs.iter().enumerate() {
        for (t, tensor) in output.tensors.iter().enumerate() {
            let wanted = &values[tensor.node.0 as usize];
            let got = &outputs[o][t];
            assert_eq!(got.len(), wanted.len(), "{}", tensor.name);
            for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
                let close = (f64::from(*got) - wanted).abs() <= 1e-5 * (1.0 + wanted.abs());
                let both_nan = got.is_nan() && wanted.is_nan();
                assert!(
                    close || both_nan || f64::from(*got) == *wanted,
                    "`{}` entry {i} of {}: {got}, not {wanted}\n{}\n{}",
                    tensor.name,
                    outputs[o][t].len(),
                    merge_opt::print_dispatch(&compiled.optimised),
                    merge_ir::tir::print(graph)
                );
            }
        }
    }
    compiled
}

/// The entries of a source: small multiples of 1/8, so that sums and differences are exact and many are
/// equal, with zeros of both signs among them.
pub fn source_data(name: &str, checkpoint: u32, len: u64) -> Vec<f32> {
    let seed = name.bytes().fold(u64::from(checkpoint) + 1, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
    (0..len)
        .map(|i| {
            let x = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed.wrapping_mul(0xbf58_476d_1ce4_e5b9));
            let x = (x ^ (x >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 40;
            if x % 17 == 0 { -0.0 } else { (x % 257) as f32 / 8.0 - 16.0 }
        })
        .collect()
}
