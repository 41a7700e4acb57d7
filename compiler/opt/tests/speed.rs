//! A model of 70 billion parameters is planned in the time that a person does not notice.

mod common;

use common::{Build, compile};
use merge_abi::{BinaryFn, Recipe, ReduceFn, Routine};
use merge_ir::tir::{NodeId, Over};
use std::time::{Duration, Instant};

/// 80 layers of nine tensors, and three more.
fn tensors() -> Vec<(String, Vec<u64>)> {
    let mut out = vec![("model.embed_tokens.weight".to_owned(), vec![32000, 8192])];
    for l in 0..80 {
        for (name, shape) in [
            ("self_attn.q_proj", vec![8192, 8192]),
            ("self_attn.k_proj", vec![1024, 8192]),
            ("self_attn.v_proj", vec![1024, 8192]),
            ("self_attn.o_proj", vec![8192, 8192]),
            ("mlp.gate_proj", vec![28672, 8192]),
            ("mlp.up_proj", vec![28672, 8192]),
            ("mlp.down_proj", vec![8192, 28672]),
            ("input_layernorm", vec![8192]),
            ("post_attention_layernorm", vec![8192]),
        ] {
            out.push((format!("model.layers.{l}.{name}.weight"), shape));
        }
    }
    out.push(("model.norm.weight".to_owned(), vec![8192]));
    out.push(("lm_head.weight".to_owned(), vec![32000, 8192]));
    out
}

/// Several times what it takes on an idle machine; debug builds verify after every pass and are slow.
fn limit() -> Duration {
    if cfg!(debug_assertions) { Duration::from_secs(10) } else { Duration::from_millis(250) }
}

fn measure(what: &str, b: &Build, kernels: usize) {
    let compiled = compile(&b.graph);
    // The best of a few runs: other work on the machine only ever adds.
    let run = || {
        let start = Instant::now();
        let again = merge_opt::compile(&b.graph, Recipe::default());
        assert!(again.diagnostics.is_empty());
        start.elapsed()
    };
    let took = (0..5).map(|_| run()).min().unwrap();
    println!("{what}: {} nodes, {} steps, {took:?}", b.graph.len(), compiled.plan.steps.len());
    assert!(compiled.kernels.len() <= kernels, "{} kernels", compiled.kernels.len());
    assert!(took < limit(), "{took:?}");
}

#[test]
fn ties_per_tensor() {
    let mut b = Build::default();
    let (density, lambda) = (b.setting("density", 0.2), b.setting("lambda", 1.0));
    for (name, shape) in tensors() {
        let m: Vec<NodeId> = (0..4).map(|c| b.load(c, &name, &shape)).collect();
        let merged = b.ties(m[0], &m[1..], density, lambda);
        b.save(&name, merged);
    }
    measure("ties", &b, 2);
}

#[test]
fn whole_ties() {
    let mut b = Build::default();
    let (density, lambda) = (b.setting("density", 0.2), b.setting("lambda", 1.0));
    let vectors: Vec<NodeId> = (0..4)
        .map(|c| {
            let parts: Vec<NodeId> = tensors().iter().map(|(n, s)| b.load(c, n, s)).collect();
            b.flat(&parts)
        })
        .collect();
    let merged = b.ties(vectors[0], &vectors[1..], density, lambda);
    let mut start = 0;
    for (name, shape) in tensors() {
        let piece = b.unflat(merged, start, &shape);
        start += shape.iter().product::<u64>();
        b.save(&name, piece);
    }
    measure("whole ties", &b, 2);
}

/// Calls on every matrix, and statistics of columns, which are kept only once `push_views` has asked for them.
#[test]
fn calls_and_kept_statistics() {
    let mut b = Build::default();
    for (name, shape) in tensors() {
        let m: Vec<NodeId> = (0..4).map(|c| b.load(c, &name, &shape)).collect();
        let inside = shape.len() == 2 && name.contains("layers");
        let deltas = m[1..].iter().map(|m_k| b.bin(BinaryFn::Sub, *m_k, m[0])).collect::<Vec<_>>();
        let mut merged = m[0];
        for delta in deltas {
            if !inside {
                merged = b.bin(BinaryFn::Add, merged, delta);
                continue;
            }
            let svd = |b: &mut Build, result| b.call(Routine::Svd { rank: 64 }, result, &[delta]);
            let (u, s, v) = (svd(&mut b, 0), svd(&mut b, 1), svd(&mut b, 2));
            let row = b.reshape(s, &[1, 64]);
            let (us, vt) = (b.bin(BinaryFn::Mul, u, row), b.transpose(v));
            let low = b.call(Routine::MatMul, 0, &[us, vt]);
            let turned = b.transpose(low);
            let sums = b.reduce(ReduceFn::Max, Over::Rows, turned);
            let sums = b.transpose(sums);
            let scaled = b.bin(BinaryFn::Div, low, sums);
            merged = b.bin(BinaryFn::Add, merged, scaled);
        }
        b.save(&name, merged);
    }
    measure("calls and kept statistics", &b, 8);
}
