//! The bytes of an output do not depend on threads, memory or shards, and memory not on the number of models.

use merge_abi::DType;
use merge_runtime::Options;
use merge_tests::{Folder, Random, Tensor, analyse_text, encode, read_model, run_text, values, write_checkpoint};

const METHODS: &[(&str, &str)] = &[
    ("mean", "mean([base, a, b])"),
    ("slerp", "slerp(a, b, t: 0.3)"),
    ("ties", "ties(base, [a, b], density: 0.3)"),
    ("ties_whole", "whole ties_paper(base, [a, b], density: 0.3)"),
    ("dare", "dare(base, [a, b], density: 0.4, seed: 3)"),
    ("dare_ties", "dare_ties(base, [a, b], [0.6, 0.4], density: 0.4, seed: 3)"),
    ("breadcrumbs", "like base { _[] => base  _ => breadcrumbs(base, [a, b]) }"),
    ("stock_rows", "like base { _[] => base  _ => model_stock(base, [a, b], over: rows) }"),
    ("della", "like base { _[] => base  _ => della(base, [a, b], [0.6, 0.4], density: 0.4, seed: 3, match_l1: true) }"),
    ("karcher", "whole karcher([base, a, b], [1.0, 1.0, 1.0])"),
    // Decompositions: thin, of few directions, full, polar; a system; an assignment.
    ("tsv", "like base { \"x.0\" => tsv_m(base, [a, b])  _ => base }"),
    ("few", "like base { \"x.0\" => base + low_rank(a - base, rank: 3)  _ => base }"),
    ("opcm", "opcm(base, [a, b], linear: [\"x.0\", \"x.5\"])"),
    ("regmean", "like base { \"x.0\"[o, i] => regmean([base, a], [transpose(a) @ a + eye(i), eye(i)])  _ => base }"),
    ("rebasin", "mean([a, rebasin(a, b, [[(\"x.0\", 0)], [(\"x.0\", 1)]], sweeps: 2)])"),
];

const USES: &str = "use std.merging.{slerp, ties, ties_paper, dare, dare_ties, breadcrumbs, model_stock}
use std.task_vectors.della
use std.geometry.karcher
use std.subspaces.{tsv_m, opcm}
use std.statistics.regmean
use std.permutations.rebasin";

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
                let settings = if shard.is_empty() { String::new() } else { format!(" {{ {shard} }}") };
                let recipe = format!(
                    "{USES}\nlet base = checkpoint(\"base\")\nlet a = checkpoint(\"a\")\nlet b = checkpoint(\"b\")\nsave {value} to \"out\"{settings}\n"
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

/// Bytes of the tensors that a merge holds whole, of so many models.
fn held(folder: &Folder, value: &str, models: usize) -> u64 {
    let names: Vec<&str> = ["a", "b"].into_iter().cycle().take(models).collect();
    let value = value.replace("MODELS", &names.join(", "));
    let recipe = format!(
        "{USES}\nlet base = checkpoint(\"base\")\nlet a = checkpoint(\"a\")\nlet b = checkpoint(\"b\")\nlet _b = b\nsave {value} to \"out\"\n"
    );
    let analysis = analyse_text(folder, &recipe);
    let compiled = analysis.compiled.as_ref().expect("a recipe that is fine");
    merge_runtime::estimate(&compiled.plan, 1 << 30, Some(2)).expect("enough memory").temporaries
}

/// What works entry by entry or on statistics streams, and OPCM folds over its models with one merge as its state.
#[test]
fn what_is_held_does_not_grow_with_the_number_of_models() {
    let folder = Folder::new("models");
    inputs(&folder, DType::F32);
    for method in
        ["ties(base, [MODELS])", "whole ties_paper(base, [MODELS])", "dare(base, [MODELS])", "model_stock(base, [MODELS])"]
    {
        assert_eq!(held(&folder, method, 8), 0, "{method}");
    }
    let opcm = "opcm(base, [MODELS], linear: [\"x.0\", \"x.5\"])";
    assert!(held(&folder, opcm, 5) > 0);
    assert_eq!(held(&folder, opcm, 20), held(&folder, opcm, 5));
}
