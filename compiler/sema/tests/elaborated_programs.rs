//! The worked programs of the design over suitable headers: they elaborate without a word.

mod support;

use merge_abi::{DType, Role};
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
