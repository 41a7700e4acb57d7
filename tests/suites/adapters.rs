//! Adapters: each kind against numpy (`golden/adapters.py`, whose numbers `peers/adapters.py` holds against PEFT's),
//! their algebra, and `save .. as peft` read again.

use merge_abi::DType;
use merge_ir::tir::Op;
use merge_runtime::Options;
use merge_tests::{Folder, Tensor, analyse_text, read_model, read_tensors, root, run_text, write_adapter, write_checkpoint};
use std::{collections::BTreeMap, os::unix::fs::symlink, path::Path};

type Model = BTreeMap<String, Tensor>;

/// Products of small factors in f32: relative to the largest change of a tensor.
const PRODUCT: f64 = 2e-6;
/// What is a difference to the base has only the digits that the base leaves.
const DIFFERENCE: f64 = 1e-5;

const KINDS: [(&str, f64); 17] = [
    ("lora", PRODUCT),
    ("rslora", PRODUCT),
    ("other", PRODUCT),
    ("embedding", PRODUCT),
    ("convolution", PRODUCT),
    ("turned", PRODUCT),
    ("dora", DIFFERENCE),
    ("dora_embedding", DIFFERENCE),
    ("dora_turned", DIFFERENCE),
    ("adalora", PRODUCT),
    ("loha", PRODUCT),
    ("lokr", PRODUCT),
    ("lokr_whole", PRODUCT),
    ("ia3", DIFFERENCE),
    ("vera", PRODUCT),
    ("kohya", DIFFERENCE),
    ("kohya_dora", DIFFERENCE),
];

/// How a recipe opens the adapter of this kind.
fn opened(kind: &str) -> String {
    match kind {
        "kohya" => "adapter(\"kohya.safetensors\", on: base, part: \"lora_unet\")".into(),
        "kohya_dora" => "adapter(\"kohya_dora.safetensors\", on: base)".into(),
        kind => format!("adapter(\"{kind}\", on: base)"),
    }
}

fn golden() -> std::path::PathBuf {
    root().join("tests/golden/adapters")
}

/// A folder with the base and all adapters.
fn folder() -> Folder {
    let folder = Folder::new("adapters");
    for entry in std::fs::read_dir(golden()).expect("the goldens are there") {
        let entry = entry.expect("readable");
        symlink(entry.path(), folder.join(entry.file_name())).expect("links can be made");
    }
    folder
}

fn run(folder: &Folder, lines: &str) {
    let recipe = format!("let base = checkpoint(\"base\")\n{lines}\n");
    run_text(folder, &recipe, &Options::default()).unwrap_or_else(|e| panic!("{lines}: {}", e.message));
}

/// The codes of the diagnostics of a recipe.
fn faults(folder: &Folder, lines: &str) -> Vec<String> {
    let found = analyse_text(folder, &format!("let base = checkpoint(\"base\")\n{lines}\n")).diagnostics;
    found.iter().map(|d| d.code.0.to_string()).collect()
}

fn expected(kind: &str) -> Model {
    read_tensors(&golden().join(format!("expected/{kind}.safetensors")))
}

/// Both have the same names and shapes, and entries that differ by less than `tolerance` of the largest.
fn close(what: &str, got: &Model, want: &Model, tolerance: f64) {
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>(), "{what}");
    for (name, want) in want {
        let got = &got[name];
        assert_eq!(got.shape, want.shape, "{what}: {name}");
        let scale = want.entries.iter().fold(1e-6, |m: f64, x| m.max(x.abs()));
        for (k, (a, b)) in got.entries.iter().zip(&want.entries).enumerate() {
            assert!((a - b).abs() <= tolerance * scale, "{what}: {name}[{k}] is {a}, not {b}");
        }
    }
}

/// `sum of s x` over models, a name that one lacks counting as zero.
fn combined(parts: &[(f64, &Model)]) -> Model {
    let mut all: Model = BTreeMap::new();
    for (s, model) in parts {
        for (name, t) in *model {
            let sum = all.entry(name.clone()).or_insert_with(|| Tensor { entries: vec![0.0; t.entries.len()], ..t.clone() });
            sum.entries.iter_mut().zip(&t.entries).for_each(|(a, b)| *a += s * b);
        }
    }
    all
}

fn config(folder: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(folder.join("adapter_config.json")).expect("an adapter has a config");
    serde_json::from_str(&text).expect("which is JSON")
}

#[test]
fn every_kind_makes_the_change_that_numpy_finds() {
    let folder = folder();
    for (kind, tolerance) in KINDS {
        run(&folder, &format!("save {} to \"out-{kind}\" {{ dtype: f32 }}", opened(kind)));
        close(kind, &read_model(&folder.join(format!("out-{kind}"))), &expected(kind), tolerance);
    }
}

#[test]
fn applied_it_is_the_base_plus_a_multiple_of_the_change() {
    let folder = folder();
    let base = read_model(&golden().join("base"));
    for (kind, _) in KINDS {
        run(&folder, &format!("save base + 0.8 * {} to \"on-{kind}\"", opened(kind)));
        let want = combined(&[(1.0, &base), (0.8, &expected(kind))]);
        close(kind, &read_model(&folder.join(format!("on-{kind}"))), &want, 1e-6);
    }
}

/// The permanent promise: one adapter with weight 1 is its own change, entry by entry what f32 makes of the factors
/// in order of the rank, and saved as an adapter it gives the same again, bit for bit.
#[test]
fn one_adapter_with_weight_1_is_exactly_its_own_change() {
    let folder = folder();
    run(&folder, "let a = adapter(\"rslora\", on: base)\nsave without(a, \"**.bias\") to \"own\" { dtype: f32 }");
    let own = read_model(&folder.join("own"));
    let factors = read_model(&golden().join("rslora"));
    // alpha / sqrt(r) of this adapter.
    let scale = 1.5f32;
    for l in 0..2 {
        let module = format!("layers.{l}.attn.q_proj");
        let part = |p: &str| &factors[&format!("base_model.model.{module}.{p}.weight")];
        let (a, b, found) = (part("lora_A"), part("lora_B"), &own[&format!("{module}.weight")]);
        let (r, n) = (a.shape[0], a.shape[1]);
        for (k, got) in found.entries.iter().enumerate() {
            let (row, column) = (k / n, k % n);
            let exact: f64 = (0..r).map(|j| b.entries[row * r + j] * a.entries[j * n + column]).sum::<f64>() * f64::from(scale);
            let size: f64 = (0..r).map(|j| (b.entries[row * r + j] * a.entries[j * n + column]).abs()).sum::<f64>() * 1.5;
            // One rounding of f32 for each product and each sum, and one for the scale.
            let bound = (r as f64 + 1.0) * f64::from(f32::EPSILON) / 2.0 * size;
            assert!((got - exact).abs() <= bound, "{module}[{k}]: {got} is not {exact}");
        }
    }
    run(
        &folder,
        "let a = adapter(\"other\", on: base)\nsave 1.0 * a to \"first\" { dtype: f32 }\nsave 1.0 * a to \"again\" as peft",
    );
    run(&folder, "save adapter(\"again\", on: base) to \"second\" { dtype: f32 }");
    run(&folder, "save adapter(\"again\", on: base) to \"third\" as peft");
    run(&folder, "save adapter(\"third\", on: base) to \"fourth\" { dtype: f32 }");
    close("again", &read_model(&folder.join("second")), &read_model(&folder.join("first")), PRODUCT);
    assert_eq!(read_model(&folder.join("again")), read_model(&folder.join("third")), "a scale of 1 changes no factor");
    assert_eq!(read_model(&folder.join("second")), read_model(&folder.join("fourth")));
}

#[test]
fn sums_of_adapters_join_their_factors_along_the_rank() {
    let folder = folder();
    run(
        &folder,
        "let a = adapter(\"other\", on: base)\nlet b = without(adapter(\"rslora\", on: base), \"**.bias\")\n\
         choose s in 0.0..=2.0 = 0.7\n\
         save s * a - b / 4 + 0.25 * (-a) to \"sum\" as peft { dtype: f32 }",
    );
    let b: Model = expected("rslora").into_iter().filter(|(name, _)| name.ends_with("weight")).collect();
    let want = combined(&[(0.45, &expected("other")), (-0.25, &b)]);
    run(&folder, "save adapter(\"sum\", on: base) to \"sum-delta\" { dtype: f32 }");
    close("sum", &read_model(&folder.join("sum-delta")), &want, PRODUCT);
    let config = config(&folder.join("sum"));
    // Attention has both, 3 + 4; the mlp one alone.
    assert_eq!(config["rank_pattern"], serde_json::json!({"layers.0.mlp.up_proj": 3, "layers.1.mlp.up_proj": 3}));
    assert_eq!((&config["r"], &config["lora_alpha"]), (&7.into(), &7.into()));
    assert_eq!(config["target_modules"], serde_json::json!(["q_proj", "up_proj"]));
    assert_eq!(config["base_model_name_or_path"], "base");
}

/// However often a recipe adds the same adapter, it has one product of its factors.
#[test]
fn the_same_factors_are_one_product() {
    let folder = folder();
    run(
        &folder,
        "let a = adapter(\"other\", on: base)\n\
         let grown = fold d = a for k in 0..60 { 0.5 * (d + d) - (a - a) / 3 }\nsave grown + 0.5 * a to \"grown\" as peft",
    );
    run(&folder, "save adapter(\"grown\", on: base) to \"grown-delta\" { dtype: f32 }");
    close("grown", &read_model(&folder.join("grown-delta")), &combined(&[(1.5, &expected("other"))]), PRODUCT);
    assert_eq!(config(&folder.join("grown"))["r"], 3);
}

#[test]
fn embeddings_kernels_and_turned_weights_keep_their_form() {
    let folder = folder();
    for kind in ["embedding", "convolution", "turned", "lora", "adalora", "vera", "rslora"] {
        let matrices = match kind {
            "lora" | "rslora" => format!("without({}, \"**.{{head.weight|bias}}\")", opened(kind)),
            _ => opened(kind),
        };
        run(&folder, &format!("save {matrices} to \"as-{kind}\" as peft"));
        run(&folder, &format!("save adapter(\"as-{kind}\", on: base) to \"d-{kind}\" {{ dtype: f32 }}"));
        // A module that AdaLoRA left no rank is not in it.
        let mut want = expected(kind);
        want.retain(|n, t| !n.ends_with("bias") && n != "head.weight" && t.entries.iter().any(|x| *x != 0.0));
        close(kind, &read_model(&folder.join(format!("d-{kind}"))), &want, PRODUCT);
    }
    assert_eq!(config(&folder.join("as-lora"))["task_type"], "CAUSAL_LM", "of one source, the task is kept");
    assert_eq!(config(&folder.join("as-turned"))["fan_in_fan_out"], true);
    let names: Vec<String> = read_model(&folder.join("as-embedding")).into_keys().collect();
    assert_eq!(names, ["base_model.model.embed_tokens.lora_embedding_A", "base_model.model.embed_tokens.lora_embedding_B"]);
    let kernel = read_model(&folder.join("as-convolution"));
    assert_eq!(kernel["base_model.model.conv.lora_A.weight"].shape, [2, 4, 3, 3]);
    assert_eq!(kernel["base_model.model.conv.lora_B.weight"].shape, [6, 2, 1, 1]);
}

#[test]
fn a_delta_is_extracted_by_its_singular_values() {
    let folder = folder();
    run(&folder, "save base + adapter(\"other\", on: base) to \"tuned\"");
    run(
        &folder,
        "let tuned = checkpoint(\"tuned\")\nsave low_rank((tuned - base)[\"**.q_proj.weight\"], rank: 3) to \"found\" as peft",
    );
    run(&folder, "save adapter(\"found\", on: base) to \"delta\" { dtype: f32 }");
    let want = expected("other").into_iter().filter(|(n, _)| n.contains("q_proj")).collect();
    close("found", &read_model(&folder.join("delta")), &want, 1e-5);
    assert_eq!(config(&folder.join("found"))["r"], 3);
}

/// Of thin factors only these are decomposed; the result is that of the whole matrix.
#[test]
fn an_adapter_is_made_thinner_by_its_factors() {
    let folder = folder();
    run(
        &folder,
        "fn direct(x: delta[o, i]) -> delta[o, i] {\n let (u, s, v) = svd(x, rank: 2)\n u * reshape(s, [1, 2]) @ transpose(v)\n}\n\
         let a = adapter(\"other\", on: base)\n\
         save low_rank(2 * a, rank: 2) to \"thin\" as peft { dtype: f32 }\nsave direct(2 * a) to \"direct\" { dtype: f32 }\n\
         save low_rank(a, rank: 5) to \"same\" as peft { dtype: f32 }\nsave a to \"plain\" as peft { dtype: f32 }",
    );
    run(&folder, "save adapter(\"thin\", on: base) to \"thin-delta\" { dtype: f32 }");
    close("thin", &read_model(&folder.join("thin-delta")), &read_model(&folder.join("direct")), 1e-5);
    assert_eq!(config(&folder.join("thin"))["r"], 2);
    assert_eq!(read_model(&folder.join("same")), read_model(&folder.join("plain")), "a rank of 3 is at most 5");
    let plan = analyse_text(
        &folder,
        "let base = checkpoint(\"base\")\nsave low_rank(adapter(\"other\", on: base), rank: 2) to \"x\" as peft\n",
    );
    let graph = &plan.elaborated.graph;
    let decomposed: Vec<Vec<u64>> = graph
        .nodes()
        .filter_map(|(_, node)| match &node.op {
            Op::Call { routine, inputs, .. } if routine.name() == "svd" => Some(graph.shape(inputs[0]).to_vec()),
            _ => None,
        })
        .collect();
    assert!(!decomposed.is_empty() && decomposed.iter().all(|s| *s == [3, 3]), "{decomposed:?}");
}

#[test]
fn factors_of_a_delta_are_at_hand() {
    let folder = folder();
    run(&folder, "let (b, a) = factors(0.5 * adapter(\"other\", on: base))\nsave b @ a to \"product\" { dtype: f32 }");
    close("product", &read_model(&folder.join("product")), &combined(&[(0.5, &expected("other"))]), PRODUCT);
}

#[test]
fn what_has_no_factors_is_refused_with_a_remedy() {
    let folder = folder();
    for (lines, code) in [
        ("save adapter(\"dora\", on: base) to \"x\" as peft", "E3306"),
        ("save adapter(\"rslora\", on: base) to \"x\" as peft", "E3306"),
        ("let (b, a) = factors(adapter(\"ia3\", on: base))\nsave b @ a to \"x\"", "E3306"),
        ("save base to \"x\" as peft", "E3201"),
        ("save adapter(\"other\", on: base) to \"x.safetensors\" as peft", "E3202"),
        ("save adapter(\"other\", on: base) to \"x\" as peft { shard: 1KB }", "E3202"),
        ("save adapter(\"other\", on: base) to \"x\" as peft { config: { r: 3 } }", "E3202"),
        ("save adapter(\"kohya.safetensors\", on: base) to \"x\"", "E3303"),
        ("save adapter(\"kohya.safetensors\", on: base, part: \"unet\") to \"x\"", "E3303"),
        ("save adapter(\"expected/lora.safetensors\", on: base) to \"x\"", "E3302"),
        ("save base + checkpoint(\"lora\") to \"x\"", "E3004"),
    ] {
        assert_eq!(faults(&folder, lines), [code], "{lines}");
    }
}

/// Scales are compiled into a plan, so an adapter that takes another's place must have the same.
#[test]
fn an_adapter_is_replaced_by_one_of_the_same_scales_only() {
    let folder = folder();
    let text = std::fs::read_to_string(golden().join("other/adapter_config.json")).expect("readable");
    for (name, text) in [("same", text.replace("\"q_proj\"", "\"proj\"")), ("louder", text.replace("5", "6"))] {
        folder.write(&format!("{name}/adapter_config.json"), &text);
        symlink(golden().join("other/adapter_model.safetensors"), folder.join(format!("{name}/adapter_model.safetensors")))
            .expect("links can be made");
    }
    let recipe = "let base = checkpoint(\"base\")\nlet lora = adapter(\"other\", on: base)\nsave base + lora to \"out\"\n";
    let with = |name: &str| {
        run_text(&folder, recipe, &Options { models: vec![("lora".into(), folder.join(name))], ..Options::default() })
    };
    assert!(with("same").is_ok());
    let error = with("louder").expect_err("another alpha");
    assert!(error.message.contains("scales its factors otherwise"), "{}", error.message);
}

/// The base streams by: what is held are factors, never a weight.
#[test]
fn applying_an_adapter_holds_its_factors_alone() {
    const SIDE: usize = 256;
    let folder = Folder::new("streamed");
    let names: Vec<String> = (0..4).map(|l| format!("layers.{l}.q")).collect();
    let weight = Tensor { dtype: DType::F32, shape: vec![SIDE, SIDE], entries: vec![0.5; SIDE * SIDE] };
    let weights: Vec<(String, Tensor)> = names.iter().map(|n| (format!("{n}.weight"), weight.clone())).collect();
    write_checkpoint(&folder.join("base"), weights.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
    let factors = names.iter().flat_map(|n| {
        let part = |part: &str, shape: [usize; 2]| (format!("base_model.model.{n}.lora_{part}.weight"), shape.to_vec());
        [part("A", [2, SIDE]), part("B", [SIDE, 2])]
    });
    let config = "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"target_modules\": [\"q\"]}";
    write_adapter(&folder.join("lora"), config, &factors.collect::<Vec<_>>());
    let recipe =
        "let base = checkpoint(\"base\")\nlet lora = adapter(\"lora\", on: base)\nsave base + 0.8 * lora - 0.1 * lora to \"x\"\n";
    let analysis = analyse_text(&folder, recipe);
    let plan = &analysis.compiled.as_ref().expect("a recipe that is fine").plan;
    let held = merge_runtime::estimate(plan, 1 << 30, Some(1)).expect("enough memory").temporaries;
    let factors = 4 * 2 * 2 * SIDE as u64;
    assert!(held > 0 && held <= 2 * factors, "{held} bytes held, where the factors of a weight have {factors}");
}
