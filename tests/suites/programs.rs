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
        .find(|f| f.file_name().unwrap().to_string_lossy().starts_with(start))
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
    run_with(start, folder, tolerance, &[])
}

/// The same for a program with other widths, by pairs of texts: what it is written for would make a test slow.
fn run_with(start: &str, folder: &Folder, tolerance: f64, widths: &[(&str, &str)]) -> usize {
    let text = std::fs::read_to_string(program(start)).unwrap();
    let copy = folder.write("program.merge", &widths.iter().fold(text, |text, (from, to)| text.replace(from, to)));
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
    program_6_pcb: "06", 1e-4, ["base", "math", "code", "chat"];
    program_7_opcm: "07", 1e-4, ["base", "math", "code", "chat"];
    program_8_model_stock: "08", 1e-5, ["base", "math", "code", "chat"];
    program_11_emr: "11", 1e-5, ["base", "math", "code", "chat"];
    program_12_tsv: "12", 1e-4, ["base", "math", "code", "chat"];
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

/// `x^T x` of random rows for each layer of [`LLAMA`], under the layer's name.
fn grams(folder: &Folder, path: &str, seed: u64) {
    let mut random = Random::new(seed);
    let layers = LLAMA.iter().filter(|(name, _)| name.contains("_proj"));
    let gram = |(name, n): (String, usize)| {
        let rows = values(&mut random, 3 * n * n);
        let product = |i: usize, j: usize| (0..3 * n).map(|k| rows[k * n + i] * rows[k * n + j]).sum::<f64>();
        let entries = (0..n * n).map(|at| product(at / n, at % n)).collect();
        (name.trim_end_matches(".weight").to_owned(), Tensor { dtype: DType::F32, shape: vec![n, n], entries })
    };
    let tensors: Vec<_> = layers.flat_map(|(name, shape)| expand(name).into_iter().map(|n| (n, shape[1]))).map(gram).collect();
    write_checkpoint(&folder.join(path), tensors.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
}

#[test]
fn program_10_regmean() {
    let folder = Folder::new("program");
    for (seed, path) in ["base", "math", "code"].into_iter().enumerate() {
        model(&folder, path, seed as u64 + 21, LLAMA);
    }
    grams(&folder, "math-gram.safetensors", 5);
    grams(&folder, "code-gram.safetensors", 6);
    assert_eq!(run("10", &folder, 1e-4), 1);
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
fn program_14_robust_weight_signatures() {
    let folder = Folder::new("program");
    let convolutions: Vec<String> = [0, 2, 5, 7, 10, 12, 14].iter().map(|l| format!("features.{l}.weight")).collect();
    let mut shapes: Vec<(&str, &[usize])> = convolutions.iter().map(|n| (n.as_str(), &[8usize, 4, 3, 3][..])).collect();
    model(&folder, "rws-snow", 50, &shapes);
    shapes.push(("classifier.weight", &[10, 8]));
    for (seed, path) in ["vgg16-clean", "vgg16-fog", "vgg16"].into_iter().enumerate() {
        model(&folder, path, seed as u64 + 41, &shapes);
    }
    assert_eq!(run("14-rws-sign", &folder, 1e-5), 1);
    assert_eq!(read_model(&folder.join("rws-fog")).len(), 7);
    assert_eq!(run("14-rws-patch", &folder, 1e-5), 1);
}

#[test]
fn program_16_pat() {
    let folder = Folder::new("program");
    let (hidden, kept) = (8, 5);
    let square: &[usize] = &[hidden, hidden];
    model(
        &folder,
        "llama-2-7b",
        61,
        &[
            ("model.embed_tokens.weight", &[24, hidden]),
            ("model.layers.{0..2}.self_attn.q_proj.weight", square),
            ("model.layers.{0..2}.self_attn.k_proj.weight", square),
            ("model.layers.{0..2}.self_attn.v_proj.weight", square),
            ("model.layers.{0..2}.self_attn.o_proj.weight", square),
            ("model.layers.{0..2}.mlp.up_proj.weight", &[16, hidden]),
            ("model.layers.{0..2}.mlp.gate_proj.weight", &[16, hidden]),
            ("model.layers.{0..2}.mlp.down_proj.weight", &[hidden, 16]),
            ("model.layers.{0..2}.input_layernorm.weight", &[hidden]),
            ("model.layers.{0..2}.post_attention_layernorm.weight", &[hidden]),
            ("model.norm.weight", &[hidden]),
            ("lm_head.weight", &[24, hidden]),
        ],
    );
    let lora = |n: &str| {
        let name = format!("base_model.model.model.layers.{n}.self_attn.q_proj");
        [(format!("{name}.lora_A.weight"), vec![2, hidden]), (format!("{name}.lora_B.weight"), vec![hidden, 2])]
    };
    write_adapter(
        &folder.join("pat/lora"),
        "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4}",
        &[lora("0"), lora("1")].concat(),
    );
    let mut random = Random::new(62);
    let mut modules = vec!["embed".to_owned()];
    modules.extend((0..2).flat_map(|l| ["self_attn.o_proj", "mlp.down_proj"].map(|p| format!("model.layers.{l}.{p}"))));
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    for module in modules {
        for (part, shape) in [("l1", vec![hidden, 2]), ("l0", vec![2, hidden])] {
            let entries = values(&mut random, 2 * hidden);
            tensors.push((format!("{module}.{part}"), Tensor { dtype: DType::F32, shape, entries }));
        }
    }
    let mask = [0.3, -0.1, 0.0, 0.2, 0.5, -0.4, 0.01, 0.6];
    assert_eq!(mask.iter().filter(|m| **m > 0.0).count(), kept);
    tensors.push(("mask".into(), Tensor { dtype: DType::F32, shape: vec![hidden], entries: mask.to_vec() }));
    write_checkpoint(&folder.join("pat/hsm.safetensors"), tensors.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
    assert_eq!(run_with("16", &folder, 1e-4, &[("3072", "5")]), 1);
    assert_eq!(read_model(&folder.join("llama-pat"))["model.layers.1.mlp.down_proj.weight"].shape, [kept, 16]);
}

#[test]
fn program_17_pela() {
    let folder = Folder::new("program");
    let shapes: &[(&str, &[usize])] = &[
        ("blocks.{0..2}.attn.qkv.weight", &[36, 12]),
        ("blocks.{0..2}.attn.qkv.bias", &[36]),
        ("blocks.{0..2}.mlp.fc1.weight", &[24, 12]),
        ("blocks.{0..2}.norm.weight", &[12]),
    ];
    model(&folder, "vit-b", 71, shapes);
    assert_eq!(run("17", &folder, 1e-4), 1);
    let slim = read_model(&folder.join("pela"));
    assert_eq!(slim["blocks.1.attn.qkv.0.weight"].shape, [36 * 12 / (2 * 48), 12]);
    assert!(slim.contains_key("blocks.0.attn.qkv.1.bias") && !slim.contains_key("blocks.0.attn.qkv.weight"));
}

/// Networks of twelve layers whose hidden units have orders of their own.
const PERCEPTRON: &[(&str, &[usize])] = &[
    ("layers.{0..12}.fc1.weight", &[8, 4]),
    ("layers.{0..12}.fc1.bias", &[8]),
    ("layers.{0..12}.fc2.weight", &[4, 8]),
    ("norm.weight", &[4]),
];

#[test]
fn program_18_git_rebasin() {
    let folder = Folder::new("program");
    model(&folder, "math", 81, PERCEPTRON);
    model(&folder, "code", 82, PERCEPTRON);
    assert_eq!(run("18", &folder, 1e-5), 1);
}

#[test]
fn program_19_pleas() {
    let folder = Folder::new("program");
    model(&folder, "math", 83, PERCEPTRON);
    model(&folder, "code", 84, PERCEPTRON);
    assert_eq!(run_with("19", &folder, 1e-5, &[("2048", "5"), ("4096", "11")]), 1);
    assert_eq!(read_model(&folder.join("pleas"))["layers.3.fc2.weight"].shape, [4, 11]);
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

#[test]
fn program_24_sara() {
    let folder = Folder::new("program");
    let shapes: &[(&str, &[usize])] = &[("layers.{0..2}.weight", &[64, 64])];
    for (seed, path) in ["base", "math", "code"].into_iter().enumerate() {
        model(&folder, path, seed as u64 + 91, shapes);
    }
    let mut random = Random::new(94);
    let packed = |(name, base): (String, Tensor)| {
        let count = base.entries.iter().filter(|x| (x.abs() as f32) < 2e-3).count();
        (name, Tensor { dtype: DType::F32, shape: vec![count], entries: values(&mut random, count) })
    };
    let tensors: Vec<_> = read_model(&folder.join("base")).into_iter().map(packed).collect();
    write_checkpoint(&folder.join("sara.safetensors"), tensors.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
    assert_eq!(run("24", &folder, 1e-5), 2);
}

/// A model with the parts that programs 27 to 29 speak of.
const ADAPTED: &[(&str, &[usize])] = &[
    ("model.embed_tokens.weight", &[24, 8]),
    ("model.layers.{0..4}.self_attn.{q_proj|k_proj|v_proj}.weight", &[8, 8]),
    ("model.layers.{0..4}.mlp.up_proj.weight", &[16, 8]),
    ("model.layers.{0..4}.mlp.down_proj.weight", &[8, 16]),
    ("model.layers.{0..4}.input_layernorm.bias", &[8]),
    ("model.norm.weight", &[8]),
];

fn adapted(folder: &Folder, path: &str, seed: u64) {
    let parts = ["q_proj", "k_proj", "v_proj"];
    let names: Vec<(String, &[usize])> = ADAPTED
        .iter()
        .flat_map(|(n, s)| match n.split_once("{q_proj|k_proj|v_proj}") {
            Some((head, tail)) => parts.map(|p| (format!("{head}{p}{tail}"), *s)).to_vec(),
            None => vec![(n.to_string(), *s)],
        })
        .collect();
    let shapes: Vec<(&str, &[usize])> = names.iter().map(|(n, s)| (n.as_str(), *s)).collect();
    model(folder, path, seed, &shapes);
}

fn analysed(start: &str, folder: &Folder, widths: &[(&str, &str)]) -> merge_driver::Analysis {
    let text = std::fs::read_to_string(program(start)).unwrap();
    let copy = folder.write("program.merge", &widths.iter().fold(text, |text, (from, to)| text.replace(from, to)));
    let analysis = merge_driver::analyse(&Request { file: copy, ..Request::default() }).unwrap();
    let said: Vec<&String> = analysis.diagnostics.iter().filter(|d| d.is_error()).map(|d| &d.message).collect();
    assert!(said.is_empty(), "program {start}: {said:?}");
    assert_eq!(merge_ir::tir::verify(&analysis.elaborated.graph), Vec::<String>::new());
    analysis
}

/// The start values that a program wrote, compared with the interpreter's.
fn started(folder: &Folder, path: &str, analysis: &merge_driver::Analysis) -> std::collections::BTreeMap<String, Tensor> {
    merge_driver::run(analysis, &Options::default(), &Silent).unwrap();
    let got = merge_tests::read_tensors(&folder.join(path).join("start.safetensors"));
    let want = interpret_output(analysis, 0, 0);
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    for (name, want) in want {
        assert_eq!(got[&name].shape, want.shape, "{name}");
        for (x, y) in got[&name].entries.iter().zip(&want.entries) {
            assert!((x - y).abs() <= 1e-5 * y.abs().max(1.0), "{name}: {x} is not {y}");
        }
    }
    got
}

#[test]
fn program_27_unified_petl() {
    let folder = Folder::new("program");
    adapted(&folder, "base", 101);
    // What is 0.067 of a real model is more than a small one has.
    let widths = [("[30, 64, 200, 512] = 512", "[2, 3] = 2"), ("[10, 30] = 30", "[1, 3] = 3"), ("0.067", "0.2")];
    let analysis = analysed("27", &folder, &widths);
    let start = started(&folder, "mam", &analysis);
    let entries: usize = start.values().map(|t| t.entries.len()).sum();
    assert_eq!(entries, 4 * (2 * 3 * 8 + 2 * 8 * 2), "prefixes of keys and values, and a bottleneck, in each layer");
    let graph = &analysis.elaborated.graph;
    let modules: Vec<&str> = graph.networks.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(modules.len(), 12);
    let key = &graph.networks[modules.iter().position(|m| m.ends_with("0.self_attn.k_proj")).unwrap()];
    assert_eq!(graph.shape(key.output)[0], graph.shape(key.inputs[0])[0] + 3, "rows in front");
}

#[test]
fn program_28_apet() {
    let folder = Folder::new("program");
    adapted(&folder, "base", 102);
    let start = started(&folder, "apet", &analysed("28", &folder, &[("150000", "300")]));
    let entries: usize = start.values().map(|t| t.entries.len()).sum();
    assert!((200..=300).contains(&entries), "{entries}");
    let base = read_model(&folder.join("base"));
    for (name, tensor) in start {
        let of = name.strip_prefix("apet.tuned[").and_then(|n| n.strip_suffix(']')).unwrap();
        assert_eq!(tensor.entries, base[of].entries, "{name}");
    }
}

#[test]
fn program_29_evolutionary_merging() {
    let folder = Folder::new("program");
    for (seed, path) in ["base", "math", "code"].into_iter().enumerate() {
        adapted(&folder, path, seed as u64 + 103);
    }
    let widths = [("0..96", "0..6"), ("mod(t, 32)", "mod(t, 4)"), (">= 32", ">= 4"), ("<= 48", "<= 6")];
    let analysis = analysed("29", &folder, &widths);
    let graph = &analysis.elaborated.graph;
    // Each layer of the stack is the module of the stacked model on a scaled input.
    assert_eq!(graph.networks.len(), 6);
    let gains = graph.settings.iter().filter(|s| s.name.starts_with("dfs.gain[")).count();
    assert_eq!(gains, 6);
}
