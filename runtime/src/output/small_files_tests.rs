//! Which small files are copied, and when `config.json` changes.

use super::*;
use crate::{
    output::{Provenance, Writer},
    testing::{Temp, good},
};
use merge_abi::Role;

const CONFIG: &str =
    "{\n    \"model_type\": \"x\",\n    \"num_hidden_layers\": 4,\n    \"eps\": 1e-05,\n    \"torch_dtype\": \"bfloat16\"\n}";

fn names(layers: u64) -> Vec<String> {
    let mut all: Vec<String> = (0..layers).map(|l| format!("model.layers.{l}.w")).collect();
    all.push("head".into());
    all
}

/// A checkpoint folder of so many layers with these files.
fn model(temp: &Temp, name: &str, layers: u64, files: &[(&str, &str)]) -> Checkpoint {
    let names = names(layers);
    let tensors: Vec<(&str, DType, &[u64])> = names.iter().map(|n| (n.as_str(), DType::BF16, &[2u64][..])).collect();
    temp.file(&format!("{name}/model.safetensors"), good(&tensors, &[]));
    files.iter().for_each(|(file, text)| drop(temp.file(&format!("{name}/{file}"), text)));
    Checkpoint::open(&temp.path().join(name)).expect("good")
}

fn output(temp: &Temp, layers: u64, dtype: DType) -> Output {
    Output {
        path: temp.path().join("out").display().to_string(),
        role: Role::Weights,
        tensors: names(layers).into_iter().map(|name| OutTensor { name, dtype, shape: vec![2] }).collect(),
        shard: None,
        like: Some(0),
        tokenizer: None,
        config: Vec::new(),
        adapter: None,
        beside: merge_abi::Beside::default(),
        place: "recipe.merge:9:1".into(),
    }
}

fn written(temp: &Temp, output: &Output, checkpoints: &[Checkpoint]) -> (Vec<String>, String, Vec<String>) {
    let writer = Writer::create(std::slice::from_ref(output), checkpoints, &[], &Provenance::default()).expect("made");
    let notes = writer.finish().expect("moved").remove(0).notes;
    let files = temp.listing().into_iter().filter_map(|p| p.strip_prefix("out/").map(str::to_owned)).collect();
    (files, fs::read_to_string(temp.path().join("out/config.json")).unwrap_or_default(), notes)
}

#[test]
fn files_are_copied_byte_for_byte_and_code_and_weights_are_not() {
    let temp = Temp::new("small-copy");
    let kept = [
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "vocab.json",
        "merges.txt",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.jinja",
    ];
    let dropped =
        ["README.md", "modeling_x.py", "pytorch_model.bin", "training_args.bin", ".gitattributes", "trainer_state.json"];
    let files: Vec<(&str, &str)> =
        kept.iter().chain(&dropped).map(|n| (*n, if *n == "config.json" { CONFIG } else { n })).collect();
    let base = model(&temp, "base", 4, &files);
    let (found, config, notes) = written(&temp, &output(&temp, 4, DType::BF16), &[base]);
    let mut expected: Vec<&str> = kept.into_iter().chain(["model.safetensors"]).collect();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(config, CONFIG, "nothing changed, so no byte did");
    assert_eq!(fs::read_to_string(temp.path().join("out/merges.txt")).expect("there"), "merges.txt");
    assert_eq!(notes, Vec::<String>::new());
}

#[test]
fn a_tokenizer_comes_from_one_checkpoint_only() {
    let temp = Temp::new("small-tokenizer");
    let base = model(&temp, "base", 1, &[("config.json", "{}"), ("tokenizer.json", "base"), ("merges.txt", "base")]);
    let chat =
        model(&temp, "chat", 1, &[("config.json", "{\"not\": 1}"), ("tokenizer.json", "chat"), ("chat_template.jinja", "chat")]);
    let (found, config, _) = written(&temp, &Output { tokenizer: Some(1), ..output(&temp, 1, DType::BF16) }, &[base, chat]);
    assert_eq!(found, ["chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(fs::read_to_string(temp.path().join("out/tokenizer.json")).expect("there"), "chat");
    assert_eq!(config, "{}");
}

#[test]
fn dtype_and_layers_follow_what_was_written() {
    let temp = Temp::new("small-edit");
    let base = || model(&temp, "base", 4, &[("config.json", CONFIG)]);
    let (_, config, _) = written(&temp, &output(&temp, 4, DType::F16), &[base()]);
    assert_eq!(config, CONFIG.replace("bfloat16", "float16"));
    let (_, config, _) = written(&temp, &output(&temp, 6, DType::BF16), &[base()]);
    assert_eq!(config, CONFIG.replace(": 4", ": 6"));
    let set = vec![("eps".into(), "0.5".into()), ("new".into(), "[1]".into()), ("num_hidden_layers".into(), "9".into())];
    let (_, config, _) = written(&temp, &Output { config: set, ..output(&temp, 6, DType::BF16) }, &[base()]);
    assert_eq!(
        config,
        CONFIG.replace(": 4", ": 9").replace("1e-05", "0.5").replace("16\"\n", "16\",\n    \"new\": [1]\n"),
        "the recipe has the last word"
    );
}

#[test]
fn keys_may_lie_in_a_section_and_a_missing_dtype_is_added_only_when_it_changed() {
    let temp = Temp::new("small-section");
    let text = "{\"text_config\": {\"n_layer\": 4, \"layer_types\": [1, 2, 3, 4]}}";
    let base = || model(&temp, "base", 4, &[("config.json", text)]);
    let (_, config, notes) = written(&temp, &output(&temp, 2, DType::BF16), &[base()]);
    assert_eq!(config, text.replace(": 4,", ": 2,"));
    assert!(
        notes.iter().any(|n| n.contains("`layer_types`") && n.contains("4 layers") && n.contains("2 were written")),
        "{notes:?}"
    );
    let (_, config, _) = written(&temp, &output(&temp, 4, DType::F32), &[base()]);
    assert_eq!(config, text.replace("]}}", "]}, \"torch_dtype\": \"float32\"}").replace("}, \"torch", "},\"torch"));
}

#[test]
fn a_config_that_is_not_json_is_named_and_one_that_is_not_there_is_made_on_request() {
    let temp = Temp::new("small-bad");
    let base = model(&temp, "base", 1, &[("config.json", "{oops")]);
    let error = Writer::create(&[output(&temp, 1, DType::BF16)], &[base], &[], &Provenance::default()).expect_err("bad config");
    assert!(error.message.contains("base/config.json") && error.message.contains("not valid JSON"), "{error}");
    assert!(!temp.path().join("out").exists());
    let bare = || model(&temp, "bare", 1, &[]);
    let (found, ..) = written(&temp, &output(&temp, 1, DType::BF16), &[bare()]);
    assert_eq!(found, ["model.safetensors"]);
    let set = vec![("hidden_size".into(), "3072".into())];
    let (_, config, _) = written(&temp, &Output { config: set, ..output(&temp, 1, DType::BF16) }, &[bare()]);
    assert_eq!(config, "{\n  \"hidden_size\": 3072\n}\n");
}

#[test]
fn code_of_the_models_own_is_mentioned() {
    let temp = Temp::new("small-code");
    let base = model(&temp, "base", 1, &[("config.json", "{\"auto_map\": {}}")]);
    let (_, _, notes) = written(&temp, &output(&temp, 1, DType::BF16), &[base]);
    assert!(notes[0].contains("auto_map"), "{notes:?}");
}
