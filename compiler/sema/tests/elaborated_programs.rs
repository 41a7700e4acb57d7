//! The worked programs of the design over suitable headers: they elaborate without a word.

mod support;

use merge_abi::{DType, Role};
use merge_ir::tir::Op;
use merge_sema::{Answers, Schema};
use support::{Fake, run, transformer};

fn program(name: &str) -> String {
    let folder = format!("{}/../../tests/programs", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(format!("{folder}/{name}.merge")).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn model() -> Schema {
    transformer(4, 8, 16, DType::BF16)
}

#[test]
fn linear_soup() {
    let files = Fake::default().and("orca-13b", &model()).and("wizardlm-13b", &model()).and("platypus-13b", &model());
    let done = run(&program("01-linear-soup"), files, &Answers::default()).clean();
    assert_eq!(done.graph.outputs.len(), 1);
    assert_eq!(done.graph.outputs[0].role, Role::Weights);
    assert!(done.graph.outputs[0].tensors.iter().all(|t| t.dtype == DType::F16));
}

#[test]
fn gradient_slerp() {
    let schema = transformer(40, 8, 16, DType::F32);
    let files = Fake::default().and("orca-13b", &schema).and("platypus-13b", &schema);
    run(&program("02-gradient-slerp"), files, &Answers::default()).clean();
}

fn four() -> Fake {
    ["base", "math", "code", "chat"].iter().fold(Fake::default(), |f, n| f.and(n, &model()))
}

#[test]
fn ties() {
    let done = run(&program("03-ties"), four(), &Answers::default()).clean();
    assert_eq!(done.graph.outputs.len(), 3);
}

#[test]
fn dare_ties() {
    run(&program("04-dare-ties"), four(), &Answers::default()).clean();
}

#[test]
fn breadcrumbs() {
    let mut schema = model();
    let info = |dtype, shape: &[u64]| merge_sema::TensorInfo { dtype, shape: shape.to_vec() };
    schema.tensors.insert("model.scale".into(), info(DType::F32, &[]));
    schema.tensors.insert("model.position_ids".into(), info(DType::I64, &[4]));
    let files = ["base", "math", "code", "chat"].iter().fold(Fake::default(), |f, n| f.and(n, &schema));
    run(&program("05-breadcrumbs"), files, &Answers::default()).clean();
}

#[test]
fn model_stock() {
    run(&program("08-model-stock"), four(), &Answers::default()).clean();
}

#[test]
fn fisher() {
    let mut schema = model();
    schema.tensors.insert("classifier.weight".into(), merge_sema::TensorInfo { dtype: DType::F32, shape: vec![3, 8] });
    let mut statistics = schema.clone();
    statistics.role = Some(Role::Statistics);
    let files = Fake::default()
        .and("math", &schema)
        .and("code", &schema)
        .and("math-fisher.safetensors", &statistics)
        .and("code-fisher.safetensors", &statistics);
    run(&program("09-fisher"), files, &Answers::default()).clean();
}

#[test]
fn pcb() {
    let done = run(&program("06-pcb"), four(), &Answers::default()).clean();
    assert_eq!(done.graph.outputs[0].tensors.len(), model().tensors.len());
}

#[test]
fn opcm() {
    let done = run(&program("07-opcm"), four(), &Answers::default()).clean();
    assert!(calls(&done).contains(&"full_svd"));
}

/// The routines of a graph, each once, in name order.
fn calls(done: &merge_sema::Elaborated) -> Vec<&'static str> {
    let routine = |op: &Op| if let Op::Call { routine, .. } = op { Some(routine.name()) } else { None };
    let mut names: Vec<_> = done.graph.nodes().filter_map(|(_, n)| routine(&n.op)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A Gram matrix for each linear layer of [`model`], under the layer's name.
fn grams() -> Schema {
    let mut tensors = Vec::new();
    for (name, info) in &model().tensors {
        if let (Some(layer), [_, i]) = (name.strip_suffix("_proj.weight"), info.shape.as_slice()) {
            tensors.push((format!("{layer}_proj"), DType::F32, vec![*i, *i]));
        }
    }
    Schema::new(tensors, Some(Role::Statistics))
}

#[test]
fn regmean() {
    let files = four().and("math-gram.safetensors", &grams()).and("code-gram.safetensors", &grams());
    let done = run(&program("10-regmean"), files, &Answers::default()).clean();
    assert_eq!(calls(&done), ["matmul", "solve"]);
}

#[test]
fn regmean_compares_grams_with_the_layers_they_are_for() {
    let mut wrong = grams();
    wrong.tensors.get_mut("model.layers.2.mlp.down_proj").expect("there").shape = vec![8, 8];
    let files = four().and("math-gram.safetensors", &grams()).and("code-gram.safetensors", &wrong);
    let outcome = run(&program("10-regmean"), files, &Answers::default()).fails_with(&["E2003"]);
    assert!(outcome.said().contains("[8, 8]"), "{}", outcome.said());
}

#[test]
fn emr() {
    let done = run(&program("11-emr"), four(), &Answers::default()).clean();
    let roles: Vec<Role> = done.graph.outputs.iter().map(|o| o.role).collect();
    assert_eq!(roles, [Role::Deltas, Role::Statistics, Role::Statistics, Role::Statistics, Role::Deltas, Role::Weights]);
    assert!(done.graph.outputs[2].tensors.iter().all(|t| t.dtype == DType::Bool));
    assert_eq!(done.graph.outputs[4].tensors.len(), 3);
}

#[test]
fn tsv() {
    let done = run(&program("12-tsv"), four(), &Answers::default()).clean();
    assert_eq!(calls(&done), ["matmul", "polar", "svd"]);
    assert_eq!(done.graph.settings.len(), 1);
}

/// A network of two convolutions at places that program 14 knows.
fn vgg() -> Schema {
    let mut tensors = vec![("classifier.weight".to_string(), DType::F32, vec![10, 8])];
    for l in [0, 2, 5, 7, 10, 12, 14] {
        tensors.push((format!("features.{l}.weight"), DType::F32, vec![8, 4, 3, 3]));
        tensors.push((format!("features.{l}.bias"), DType::F32, vec![8]));
    }
    Schema::new(tensors, None)
}

#[test]
fn robust_weight_signatures() {
    let files = ["vgg16-clean", "vgg16-fog", "vgg16"].iter().fold(Fake::default(), |f, n| f.and(n, &vgg()));
    let done = run(&program("14-rws-sign"), files, &Answers::default()).clean();
    assert_eq!((done.graph.outputs[0].role, done.graph.outputs[0].tensors.len()), (Role::Deltas, 14));
    let mut signature = vgg();
    signature.tensors.remove("classifier.weight");
    signature.role = Some(Role::Deltas);
    let files = Fake::default().and("vgg16-clean", &vgg()).and("rws-fog", &signature).and("rws-snow", &signature);
    let done = run(&program("14-rws-patch"), files, &Answers::default()).clean();
    assert_eq!(done.graph.outputs[0].tensors.len(), 15);
}

#[test]
fn pat() {
    let (hidden, inner, rank) = (4096, 8, 2);
    let model = transformer(2, hidden, inner, DType::F16);
    let mut tensors = vec![("mask".to_string(), DType::F32, vec![hidden])];
    let sites = (0..2).flat_map(|l| ["self_attn.o_proj", "mlp.down_proj"].map(|m| format!("model.layers.{l}.{m}")));
    for site in sites.chain(["embed".to_string()]) {
        tensors.push((format!("{site}.l1"), DType::F32, vec![hidden, rank]));
        tensors.push((format!("{site}.l0"), DType::F32, vec![rank, hidden]));
    }
    let files = Fake::default().and("llama-2-7b", &model).and("pat/hsm.safetensors", &Schema::new(tensors, None));
    // The adapter is beside the point here; and this model has a tied head.
    let text = program("16-pat")
        .replace("base + adapter(\"pat/lora\", on: base)", "base")
        .replace("\"lm_head.weight\" ", "\"lm_head.weight\"? ");
    let done = run(&text, files, &Answers::default()).clean();
    assert_eq!(calls(&done), ["indices", "matmul", "take"]);
    let shapes: Vec<Vec<u64>> = done.graph.outputs[0].tensors.iter().map(|t| done.graph.shape(t.node).to_vec()).collect();
    assert!(shapes.iter().all(|s| s.contains(&3072)), "{shapes:?}");
}

#[test]
fn pela() {
    let mut tensors = vec![("patch_embed.weight".to_string(), DType::F32, vec![8, 3, 4, 4])];
    for l in 0..2 {
        for (name, o, i) in [("attn.qkv", 24, 8), ("attn.proj", 8, 8), ("mlp.fc1", 32, 8), ("mlp.fc2", 8, 32)] {
            tensors.push((format!("blocks.{l}.{name}.weight"), DType::F32, vec![o, i]));
            tensors.push((format!("blocks.{l}.{name}.bias"), DType::F32, vec![o]));
        }
    }
    let files = Fake::default().and("vit-b", &Schema::new(tensors, None));
    let done = run(&program("17-pela"), files, &Answers::default()).clean();
    let shape = |name: &str| {
        let t = done.graph.outputs[0].tensors.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no {name}"));
        done.graph.shape(t.node).to_vec()
    };
    assert_eq!(shape("blocks.1.attn.qkv.0.weight"), [3, 8]);
    assert_eq!(shape("blocks.1.attn.qkv.1.weight"), [24, 3]);
    assert_eq!(shape("blocks.1.attn.qkv.1.bias"), [24]);
    assert_eq!(shape("patch_embed.weight"), [8, 3, 4, 4]);
}

/// Layers of a perceptron, as programs 18 and 19 know them.
fn perceptron(layers: usize, hidden: u64) -> Schema {
    let mut tensors = Vec::new();
    for l in 0..layers {
        tensors.push((format!("layers.{l}.fc1.weight"), DType::F32, vec![hidden, 8]));
        tensors.push((format!("layers.{l}.fc1.bias"), DType::F32, vec![hidden]));
        tensors.push((format!("layers.{l}.fc2.weight"), DType::F32, vec![8, hidden]));
        tensors.push((format!("layers.{l}.fc2.bias"), DType::F32, vec![8]));
    }
    Schema::new(tensors, None)
}

#[test]
fn git_rebasin() {
    let files = Fake::default().and("math", &perceptron(12, 16)).and("code", &perceptron(12, 16));
    let done = run(&program("18-git-rebasin"), files, &Answers::default()).clean();
    assert_eq!(calls(&done), ["assignment", "matmul", "take", "take_along"]);
}

#[test]
fn git_rebasin_undoes_a_permutation() {
    let (layers, hidden) = (12, 5);
    let files = Fake::default().and("math", &perceptron(layers, hidden)).and("code", &perceptron(layers, hidden));
    let text = program("18-git-rebasin").replace("save mean([math, aligned])", "save aligned");
    let done = run(&text, files, &Answers::default()).clean();
    // Hidden unit j of `math` is unit 2 j + l of `code`, modulo 5.
    let entry = |name: &str, unit: usize, other: usize| {
        let seed = name.bytes().fold(unit * 31 + other * 7 + 3, |h, b| h * 33 % 65_521 + usize::from(b));
        (seed * 40_503 % 65_521) as f64 / 65_521.0 - 0.5
    };
    let entries = |s: &merge_abi::Source| {
        let moved = done.graph.checkpoints[s.checkpoint as usize].name == "code";
        let layer: usize = s.name.split('.').nth(1).and_then(|l| l.parse().ok()).expect("a layer");
        let unit = |j: usize| if moved { (0..5).find(|i| (2 * i + layer) % 5 == j).expect("a permutation") } else { j };
        let shape: Vec<usize> = s.shape.iter().map(|n| *n as usize).collect();
        let (rows, columns) = (shape[0], shape.get(1).copied().unwrap_or(1));
        let at = |r: usize, c: usize| match s.name.rsplit_once("fc").map(|p| p.1) {
            Some("1.weight" | "1.bias") => entry(&s.name, unit(r), c),
            Some("2.weight") => entry(&s.name, unit(c), r),
            _ => entry(&s.name, r, c),
        };
        (0..rows * columns).map(|k| at(k / columns, k % columns)).collect::<Vec<f64>>()
    };
    let read = |s: &merge_abi::Source| Ok(entries(s));
    let mut interpreter = merge_interp::Interpreter::new(&done.graph, vec![], 0, &read);
    for t in &done.graph.outputs[0].tensors {
        let shape = done.graph.shape(t.node).to_vec();
        let wanted = entries(&merge_abi::Source { checkpoint: 0, name: t.name.clone(), dtype: DType::F32, shape });
        assert_eq!(done.graph.checkpoints[0].name, "math");
        let got: Vec<f64> = interpreter.value(t.node).expect("runs").iter().copied().collect();
        assert_eq!(got, wanted, "{}", t.name);
    }
}

#[test]
fn pleas() {
    let files = Fake::default().and("math", &perceptron(12, 3072)).and("code", &perceptron(12, 3072));
    let done = run(&program("19-pleas"), files, &Answers::default()).clean();
    let fc1 = done.graph.outputs[0].tensors.iter().find(|t| t.name == "layers.3.fc1.weight").expect("kept");
    assert_eq!(**done.graph.shape(fc1.node), [4096, 8]);
}

#[test]
fn sara() {
    let packed: Vec<_> = model().tensors.keys().map(|n| (n.clone(), DType::F32, vec![3])).collect();
    let files = four().and("sara.safetensors", &Schema::new(packed, None));
    let done = run(&program("24-sara"), files, &Answers::default()).clean();
    assert_eq!(calls(&done), ["unpack"]);
}

#[test]
fn experts_to_dense() {
    let mut tensors = vec![("norm.weight".to_string(), DType::F32, vec![8])];
    for l in 0..2 {
        for e in 0..8 {
            tensors.push((format!("blocks.{l}.mlp.experts.{e}.fc1.weight"), DType::F32, vec![16, 8]));
            tensors.push((format!("blocks.{l}.mlp.experts.{e}.fc1.bias"), DType::F32, vec![16]));
        }
    }
    let files = Fake::default().and("vit-ewa", &Schema::new(tensors, None));
    let done = run(&program("15-ewa"), files, &Answers::default()).clean();
    let names: Vec<&str> = done.graph.outputs[0].tensors.iter().map(|t| t.name.as_str()).collect();
    let expected =
        ["blocks.0.mlp.fc1.bias", "blocks.0.mlp.fc1.weight", "blocks.1.mlp.fc1.bias", "blocks.1.mlp.fc1.weight", "norm.weight"];
    assert_eq!(names, expected);
    assert_eq!(done.graph.outputs[0].config, [("num_experts".to_string(), "1".to_string())]);
}

#[test]
fn frankenmerge() {
    let schema = transformer(32, 8, 16, DType::F32);
    let files = Fake::default().and("base", &schema).and("math", &schema);
    let done = run(&program("20-frankenmerge"), files, &Answers::default()).clean();
    let layers = done.graph.outputs[0].tensors.iter().filter(|t| t.name.ends_with("q_proj.weight")).count();
    assert_eq!(layers, 48);
}

#[test]
fn text_tower() {
    let text = model();
    let mut vlm = Schema::default();
    for (name, info) in &text.tensors {
        vlm.tensors.insert(format!("language_model.{name}"), info.clone());
    }
    vlm.tensors.insert("vision.weight".into(), merge_sema::TensorInfo { dtype: DType::BF16, shape: vec![4, 4] });
    let files = Fake::default().and("gemma-3-27b-it", &vlm).and("big-tiger-27b", &text);
    run(&program("21-vlm-text-tower"), files, &Answers::default()).clean();
}

#[test]
fn vocabulary() {
    let rows = |n: u64| {
        let mut schema = model();
        let shape = vec![n, 8];
        schema
            .tensors
            .insert("model.embed_tokens.weight".into(), merge_sema::TensorInfo { dtype: DType::F32, shape: shape.clone() });
        schema.tensors.insert("lm_head.weight".into(), merge_sema::TensorInfo { dtype: DType::F32, shape });
        schema
    };
    let files = Fake::default().and("base", &rows(32000)).and("math", &rows(32016));
    let done = run(&program("22-vocabulary"), files, &Answers::default()).clean();
    let output = &done.graph.outputs[1];
    assert_eq!((output.like, output.tokenizer), (Some(1), Some(1)));
    let head = output.tensors.iter().find(|t| t.name == "lm_head.weight").expect("kept");
    assert_eq!(**done.graph.shape(head.node), [32016, 8]);
}

#[test]
fn chat_vector() {
    let files = ["base", "chat", "ja-7b"].iter().fold(Fake::default(), |f, n| f.and(n, &model()));
    let done = run(&program("23-chat-vector"), files, &Answers::default()).clean();
    assert_eq!(done.graph.outputs[0].like, done.graph.checkpoints.iter().position(|c| c.name == "tuned_ja").map(|i| i as u32));
}
