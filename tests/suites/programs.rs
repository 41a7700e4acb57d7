//! The worked programs: all thirty parse; those of this stage run on small checkpoints and agree with the
//! reference interpreter.

use merge_abi::DType;
use merge_base::Sources;
use merge_driver::Request;
use merge_runtime::{Options, progress::Silent};
use merge_tests::{Folder, Random, Tensor, interpret_output, read_model, root, values, write_adapter, write_checkpoint};
use std::path::PathBuf;

fn program(start: &str) -> PathBuf {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join("tests/programs")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .find(|f| f.file_name().unwrap().to_string_lossy().starts_with(&format!("{start}-")))
        .unwrap_or_else(|| panic!("no program {start}"))
}

#[test]
fn all_thirty_parse() {
    let mut numbers = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(root().join("tests/programs")).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        numbers.insert(name[..2].to_owned());
        let text = std::fs::read_to_string(&file).unwrap();
        let mut sources = Sources::default();
        let id = sources.add(name.clone(), text.clone());
        let (_, diagnostics) = merge_grammar::parse(id, &text);
        assert!(diagnostics.is_empty(), "{name}: {:?}", diagnostics.iter().map(|d| &d.message).collect::<Vec<_>>());
    }
    assert_eq!(numbers.len(), 30);
}

/// A checkpoint of a few names and shapes; every model of a program gets its own values.
fn model(folder: &Folder, path: &str, seed: u64, shapes: &[(&str, &[usize])]) {
    let mut random = Random::new(seed);
    let tensors: Vec<(String, Tensor)> = shapes
        .iter()
        .flat_map(|(name, shape)| expand(name).into_iter().map(move |n| (n, shape.to_vec())))
        .map(|(name, shape)| {
            let entries = values(&mut random, shape.iter().product());
            (name, Tensor { dtype: DType::F32, shape, entries })
        })
        .collect();
    write_checkpoint(&folder.join(path), tensors.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
}

/// `layers.{0..3}.x` as three names.
fn expand(name: &str) -> Vec<String> {
    let Some((head, rest)) = name.split_once('{') else { return vec![name.to_owned()] };
    let (range, tail) = rest.split_once('}').unwrap();
    let (from, to) = range.split_once("..").unwrap();
    (from.parse::<u32>().unwrap()..to.parse().unwrap()).flat_map(|i| expand(&format!("{head}{i}{tail}"))).collect()
}

/// Runs a program and compares every output with the interpreter; the number of outputs.
fn run(start: &str, folder: &Folder, tolerance: f64) -> usize {
    let file = program(start);
    let copy = folder.write("program.merge", &std::fs::read_to_string(&file).unwrap());
    let analysis = merge_driver::analyse(&Request { file: copy, ..Request::default() }).unwrap();
    let said: Vec<String> = analysis
        .diagnostics
        .iter()
        .filter(|d| d.is_error())
        .map(|d| format!("{}: {} {:?}", d.code, d.message, d.notes))
        .collect();
    assert!(said.is_empty(), "program {start}\n{}", said.join("\n"));
    merge_driver::run(&analysis, &Options::default(), &Silent).unwrap_or_else(|e| panic!("program {start}: {}", e.message));
    let outputs = &analysis.elaborated.graph.outputs;
    for (i, output) in outputs.iter().enumerate() {
        let got = read_model(std::path::Path::new(&output.path));
        let want = interpret_output(&analysis, i, 0);
        assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
        for (name, want) in want {
            assert_eq!(got[&name].shape, want.shape, "program {start} {name}");
            for (x, y) in got[&name].entries.iter().zip(&want.entries) {
                assert!((x - y).abs() <= tolerance * y.abs().max(1.0), "program {start}: {name}: {x} is not {y}");
            }
        }
    }
    outputs.len()
}

const LLAMA: &[(&str, &[usize])] = &[
    ("model.embed_tokens.weight", &[24, 8]),
    ("model.layers.{0..4}.self_attn.q_proj.weight", &[8, 8]),
    ("model.layers.{0..4}.self_attn.o_proj.weight", &[8, 8]),
    ("model.layers.{0..4}.mlp.up_proj.weight", &[16, 8]),
    ("model.layers.{0..4}.mlp.down_proj.weight", &[8, 16]),
    ("model.layers.{0..4}.input_layernorm.weight", &[8]),
    ("model.norm.weight", &[8]),
    ("lm_head.weight", &[24, 8]),
    ("logit_scale", &[]),
];

macro_rules! llama_programs {
    ($($test:ident: $start:literal, $tolerance:expr, [$($path:literal),*];)*) => {
        $(#[test]
        fn $test() {
            let folder = Folder::new("program");
            for (seed, path) in [$($path),*].into_iter().enumerate() {
                model(&folder, path, seed as u64 + 1, LLAMA);
            }
            assert!(run($start, &folder, $tolerance) > 0, "the program saves nothing");
        })*
    };
}

llama_programs! {
    program_1_linear_soup: "01", 1e-3, ["orca-13b", "wizardlm-13b", "platypus-13b"];
    program_2_gradient_slerp: "02", 1e-5, ["orca-13b", "platypus-13b"];
    program_3_ties: "03", 1e-5, ["base", "math", "code", "chat"];
    program_4_dare_ties: "04", 1e-5, ["base", "math", "code"];
    program_5_breadcrumbs: "05", 1e-5, ["base", "math", "code", "chat"];
    program_8_model_stock: "08", 1e-5, ["base", "math", "code", "chat"];
    program_23_chat_vector: "23", 1e-5, ["ja-7b", "base", "chat"];
}

#[test]
fn program_9_fisher() {
    let folder = Folder::new("program");
    let shapes: &[(&str, &[usize])] =
        &[("body.{0..3}.weight", &[9, 7]), ("classifier.weight", &[3, 7]), ("classifier.bias", &[3])];
    for (seed, path) in ["math", "code", "math-fisher.safetensors", "code-fisher.safetensors"].into_iter().enumerate() {
        model(&folder, path, seed as u64 + 11, shapes);
    }
    assert!(run("09", &folder, 2e-3) > 0);
}

#[test]
fn program_13_adapters() {
    let folder = Folder::new("program");
    let names = ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.o_proj"];
    let weights: &[(&str, &[usize])] = &[
        ("model.layers.0.self_attn.q_proj.weight", &[36, 40]),
        ("model.layers.1.self_attn.o_proj.weight", &[36, 40]),
        ("model.norm.weight", &[40]),
    ];
    for (seed, path) in ["base", "math"].into_iter().enumerate() {
        model(&folder, path, seed as u64 + 31, weights);
    }
    for (path, r, dora) in [("my-lora", 12, false), ("my-dora", 3, true), ("other", 8, false)] {
        let config = format!("{{\"peft_type\": \"LORA\", \"r\": {r}, \"lora_alpha\": 6, \"use_dora\": {dora}}}");
        let factors = |n: &&str| {
            let mut all = vec![(format!("base_model.model.{n}.lora_A.weight"), vec![r, 40])];
            all.push((format!("base_model.model.{n}.lora_B.weight"), vec![36, r]));
            all.extend(dora.then(|| (format!("base_model.model.{n}.lora_magnitude_vector"), vec![36])));
            all
        };
        write_adapter(&folder.join(path), &config, &names.iter().flat_map(factors).collect::<Vec<_>>());
    }
    assert_eq!(run("13", &folder, 1e-4), 5);
}

#[test]
fn program_15_experts_weights_averaging() {
    let folder = Folder::new("program");
    let shapes: &[(&str, &[usize])] = &[
        ("blocks.{0..2}.attn.qkv.weight", &[12, 4]),
        ("blocks.{0..2}.mlp.experts.{0..8}.fc1.weight", &[8, 4]),
        ("blocks.{0..2}.mlp.experts.{0..8}.fc1.bias", &[8]),
        ("head.weight", &[5, 4]),
    ];
    model(&folder, "vit-ewa", 3, shapes);
    assert_eq!(run("15", &folder, 1e-5), 1);
    let names: Vec<String> = read_model(&folder.join("vit")).into_keys().collect();
    assert!(names.contains(&"blocks.1.mlp.fc1.bias".to_owned()) && names.iter().all(|n| !n.contains("experts")), "{names:?}");
}

#[test]
fn program_20_frankenmerge() {
    let folder = Folder::new("program");
    let shapes: &[(&str, &[usize])] = &[
        ("model.embed_tokens.weight", &[6, 4]),
        ("model.layers.{0..32}.self_attn.o_proj.weight", &[4, 4]),
        ("model.layers.{0..32}.mlp.up_proj.weight", &[8, 4]),
        ("model.norm.weight", &[4]),
    ];
    for (seed, path) in ["base", "math"].into_iter().enumerate() {
        model(&folder, path, seed as u64 + 5, shapes);
    }
    assert_eq!(run("20", &folder, 1e-5), 2);
    let layers = read_model(&folder.join("tall")).keys().filter(|n| n.ends_with("up_proj.weight")).count();
    assert_eq!(layers, 48);
}

#[test]
fn program_21_text_tower() {
    let folder = Folder::new("program");
    let text: &[(&str, &[usize])] = &[("model.layers.{0..2}.mlp.weight", &[8, 8]), ("model.norm.weight", &[8])];
    let vlm: &[(&str, &[usize])] = &[
        ("language_model.model.layers.{0..2}.mlp.weight", &[8, 8]),
        ("language_model.model.norm.weight", &[8]),
        ("vision_tower.patch.weight", &[3, 2, 2]),
    ];
    model(&folder, "gemma-3-27b-it", 1, vlm);
    model(&folder, "big-tiger-27b", 2, text);
    assert!(run("21", &folder, 1e-5) > 0);
}

#[test]
fn program_22_vocabulary_mismatch() {
    let folder = Folder::new("program");
    let shapes = |rows: usize| -> Vec<(&str, Vec<usize>)> {
        vec![("model.embed_tokens.weight", vec![rows, 2]), ("lm_head.weight", vec![rows, 2]), ("model.norm.weight", vec![2])]
    };
    for (seed, (path, rows)) in [("base", 32000), ("math", 32016)].into_iter().enumerate() {
        let shapes = shapes(rows);
        let shapes: Vec<(&str, &[usize])> = shapes.iter().map(|(n, s)| (*n, s.as_slice())).collect();
        model(&folder, path, seed as u64 + 9, &shapes);
    }
    assert!(run("22", &folder, 1e-5) > 0);
}
