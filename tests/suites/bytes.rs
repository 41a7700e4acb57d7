//! The bytes of an output do not depend on threads, memory or shards.

use merge_abi::DType;
use merge_runtime::Options;
use merge_tests::{Folder, Random, Tensor, encode, read_model, run_text, values, write_checkpoint};

const METHODS: &[(&str, &str)] = &[
    ("mean", "mean([base, a, b])"),
    ("slerp", "slerp(a, b, t: 0.3)"),
    ("ties", "ties(base, [a, b], density: 0.3)"),
    ("ties_whole", "whole ties_paper(base, [a, b], density: 0.3)"),
    ("dare", "dare(base, [a, b], density: 0.4, seed: 3)"),
    ("dare_ties", "dare_ties(base, [a, b], [0.6, 0.4], density: 0.4, seed: 3)"),
    ("breadcrumbs", "like base { _[] => base  _ => breadcrumbs(base, [a, b]) }"),
    ("stock_rows", "like base { _[] => base  _ => model_stock(base, [a, b], over: rows) }"),
];

fn inputs(folder: &Folder, dtype: DType) {
    for (seed, name) in ["base", "a", "b"].into_iter().enumerate() {
        let mut random = Random::new(77 + seed as u64);
        let shapes: [(&str, Vec<usize>); 6] = [
            ("x.0", vec![97, 211]),
            ("x.1", vec![70_001]),
            ("x.2", vec![3, 1000, 17]),
            ("x.3", vec![]),
            ("x.4", vec![4096]),
            ("x.5", vec![2, 65]),
        ];
        let tensors = shapes.map(|(n, shape)| {
            let entries = values(&mut random, shape.iter().product());
            (n, Tensor { dtype, shape, entries })
        });
        write_checkpoint(&folder.join(name), tensors, &[]);
    }
}

#[test]
fn threads_memory_and_shards_do_not_reach_the_output() {
    for dtype in [DType::F32, DType::BF16] {
        let folder = Folder::new("bytes");
        inputs(&folder, dtype);
        for (name, value) in METHODS {
            let mut first = None;
            for (threads, memory, shard) in
                [(1, 1u64 << 30, ""), (2, 1 << 30, ""), (5, 6 << 20, "shard: 100KB"), (3, 64 << 20, "shard: 30KB")]
            {
                let uses = "use std.merging.{slerp, ties, ties_paper, dare, dare_ties, breadcrumbs, model_stock}";
                let settings = if shard.is_empty() { String::new() } else { format!(" {{ {shard} }}") };
                let recipe = format!(
                    "{uses}\nlet base = checkpoint(\"base\")\nlet a = checkpoint(\"a\")\nlet b = checkpoint(\"b\")\nsave {value} to \"out\"{settings}\n"
                );
                let options = Options { threads: Some(threads), memory, ..Options::default() };
                run_text(&folder, &recipe, &options).unwrap_or_else(|e| panic!("{name}: {}", e.message));
                let bytes: Vec<(String, Vec<u8>)> =
                    read_model(&folder.join("out")).into_iter().map(|(n, t)| (n, encode(t.dtype, &t.entries))).collect();
                let first = first.get_or_insert_with(|| bytes.clone());
                assert!(*first == bytes, "{name} {dtype}: {threads} threads, {memory} bytes of memory, {settings}");
            }
        }
    }
}
