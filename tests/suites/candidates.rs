//! Candidates of networks as folders: what `run` and a search write, and what trainers make of it.
//!
//! Tests with Python run where `MERGE_TEST_PYTHON` names one with numpy, safetensors, onnx and jsonschema, which `cargo xtask test` prepares.

use merge_driver::Request;
use merge_ir::tir::{Layer, Op};
use merge_runtime::{Options, progress::Silent};
use merge_tests::{Folder, forward, interpret_output, mergec, read_tensors, root, write_encoders, write_stand_ins};
use serde_json::{Map, Value, json};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const NETWORK: &str = r#"
fn net(x: tensor[4, 6]) -> tensor[4, 3] {
    choose depth in [1, 2]
    choose keep in 0.5..=1.0
    let h = fold y = x for i in 0..depth { dropout(relu(dense(y, choose width in [5, 7])), keep) }
    dense(h, 3)
}
search net { evaluate: command("cat {model}/trainable.json | tr -d '\n' && echo && echo 1"), maximize: "score", minimize: ["flops", "trainable"], using: random(seed: 3), trials: 5 }
"#;
const CHOICES: &str = r#"{ "net.depth": 2, "net.keep": 0.75, "net.h.width[0]": 7, "net.h.width[1]": 5 }"#;

fn python() -> Option<PathBuf> {
    let python = std::env::var_os("MERGE_TEST_PYTHON").map(PathBuf::from);
    if python.is_none() {
        println!("no Python with numpy and onnx was prepared; `cargo xtask test` does that");
    }
    python
}

fn said(command: &mut Command) -> String {
    let out = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{text}");
    text
}

fn parsed(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

#[test]
fn run_makes_the_folder_of_one_candidate_and_the_frozen_recipe_the_same() {
    let folder = Folder::new("candidate");
    folder.write("r.merge", NETWORK);
    folder.write("c.json", CHOICES);
    said(&mut mergec(folder.path(), &["run", "r.merge", "--with", "c.json", "--out", "made"]));
    let made = folder.join("made");
    let manifest = parsed(&made.join("trainable.json"));
    assert_eq!(manifest["choices"], serde_json::from_str::<Value>(CHOICES).unwrap());
    let params = 6 * 7 + 7 + 7 * 5 + 5 + 5 * 3 + 3;
    // Products and sums of the three layers, and two activations.
    let flops = 2 * 4 * (6 * 7 + 7 * 5 + 5 * 3) + 4 * (2 * 7 + 2 * 5 + 3);
    assert_eq!(manifest["costs"], json!({ "params": params, "trainable": params, "bytes": 4 * params, "flops": flops }));
    let starts = read_tensors(&made.join("start.safetensors"));
    let listed: Vec<&str> = manifest["tensors"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(listed.len(), starts.len());
    assert!(listed.iter().all(|name| starts.contains_key(*name)), "{listed:?}");

    let frozen = said(&mut mergec(folder.path(), &["freeze", "r.merge", "--with", "c.json"]));
    folder.write("frozen.merge", &frozen);
    said(&mut mergec(folder.path(), &["run", "frozen.merge", "--out", "again"]));
    let again = read_tensors(&folder.join("again/start.safetensors"));
    for (name, tensor) in &starts {
        assert_eq!(tensor.entries, again[name].entries, "{name}");
    }
    assert_eq!(parsed(&folder.join("again/trainable.json"))["costs"], manifest["costs"]);
    let exe = ["build", "r.merge", "--with", "c.json", "-o", "exe"];
    said(&mut mergec(folder.path(), &exe));
    said(Command::new(folder.join("exe")).args(["--out", "built"]).current_dir(folder.path()));
    for file in ["graph.json", "trainable.json", "model.onnx", "start.safetensors"] {
        let read = |f: &str| std::fs::read(folder.join(f).join(file)).unwrap();
        assert!(read("made") == read("built"), "{file} differs");
    }
}

/// Every kind of decision: what the manifest says was chosen makes the same candidate again, through `freeze` and through `run`.
#[test]
fn the_choices_of_a_manifest_can_be_read_back() {
    let folder = Folder::new("candidate-choices");
    let text = r#"
fn net(x: tensor[4, 6]) -> tensor[4, 6] {
    choose ints in [1, 2, 3]
    choose words in ["1", "a, b", "true"]
    choose flags in [true, false]
    choose pairs in [(1, 2), (3, 4)]
    choose range in 2..=9
    choose log_range in log(1, 64)
    choose reals in [0.25, 0.5]
    choose real in -1.0..=1.0
    choose log_real in log(1e-3, 1.0)
    choose orders in order([1, 2, 3])
    choose tuples in subset([(1, 2), (3, 4), (5, 6)])
    choose numbers in subset([0.1, 0.2, 0.3], size: 2)
    choose parts in simplex(3)
    choose two in simplex(2)
    choose all in simplex(1)
    choose arms { one => x  two => { new own[1, 6] = ones()  own * x } }
    let (p, q) = pairs
    let word = if words == "a, b" { 2 } else { 3 }
    let sign = if flags { 1 } else { -1 }
    let some = sum([0] ++ [a * b for (a, b) in tuples])
    let y = parts[0] * x + parts[1] * arms + parts[2] * (x * real) + two[0] * x - two[1] * all[0] * log_real
    let z = dense(y, ints * 10 + orders[0]) * (reals + numbers[0] - numbers[1])
    dense(z, 6) * sign * word + p * q * some + range * log_range
}
search net { evaluate: command("true {model}"), maximize: "x" }
"#;
    folder.write("r.merge", text);
    for seed in ["1", "2", "3"] {
        let drawn = said(&mut mergec(folder.path(), &["space", "r.merge", "--sample", "1", "--seed", seed]));
        folder.write("drawn.json", &drawn);
        said(&mut mergec(folder.path(), &["run", "r.merge", "--with", "drawn.json", "--out", "made"]));
        let manifest = parsed(&folder.join("made/trainable.json"));
        folder.write("choices.json", &manifest["choices"].to_string());
        said(&mut mergec(folder.path(), &["run", "r.merge", "--with", "choices.json", "--out", "again"]));
        let read = |name: &str, file: &str| std::fs::read(folder.join(name).join(file)).unwrap();
        for file in ["trainable.json", "graph.json", "start.safetensors"] {
            assert!(read("made", file) == read("again", file), "{file}: {drawn}");
        }
        let frozen = [&drawn, &manifest["choices"].to_string()].map(|choices| {
            folder.write("choices.json", choices);
            said(&mut mergec(folder.path(), &["freeze", "r.merge", "--with", "choices.json"]))
        });
        assert_eq!(frozen[0], frozen[1]);
    }
}

#[test]
fn of_several_networks_one_is_named() {
    let folder = Folder::new("candidate-name");
    let search = |name: &str| format!("search {name} {{ evaluate: command(\"true {{model}}\"), maximize: \"x\" }}\n");
    let network = |name: &str, width: u32| {
        format!("fn {name}(x: tensor[2, 3]) -> tensor[2, {width}] {{ dense(x * (choose {name}_by in [1, 2]), {width}) }}\n")
    };
    folder.write("r.merge", &[network("one", 4), network("two", 5), search("one"), search("two")].concat());
    let run = |arguments: &[&str]| mergec(folder.path(), &[&["run", "r.merge"], arguments].concat()).output().unwrap();
    // The other network need not be decided.
    said(&mut mergec(folder.path(), &["run", "r.merge", "--name", "two", "--set", "two.two_by=2"]));
    assert_eq!(parsed(&folder.join("two/trainable.json"))["costs"]["params"], 3 * 5 + 5);
    assert!(!folder.join("one").exists());
    let error = |out: std::process::Output| (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned());
    let (code, text) = error(run(&["--set", "one.one_by=1", "--set", "two.two_by=2"]));
    assert!(code == Some(2) && text.contains("`--name one` or `--name two`"), "{text}");
    let (code, text) = error(run(&["--name", "three"]));
    assert!(code == Some(2) && text.contains("no search `three`") && text.contains("`one` and `two`"), "{text}");
}

#[test]
fn one_decision_is_set_once() {
    let folder = Folder::new("candidate-set");
    folder.write("r.merge", NETWORK);
    folder.write("c.json", CHOICES);
    let twice = ["run", "r.merge", "--with", "c.json", "--set", "net.keep=0.5", "--set", "net.keep=0.6"];
    let out = mergec(folder.path(), &twice).output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(2) && text.contains("`net.keep` twice: `0.5` and `0.6`"), "{text}");
    // A file is another matter: `--set` changes one of its answers.
    said(&mut mergec(folder.path(), &twice[..6]));
    assert_eq!(parsed(&folder.join("net/trainable.json"))["choices"]["net.keep"], 0.5);
}

#[test]
fn nodes_have_the_scopes_that_their_parameters_are_named_by() {
    let folder = Folder::new("candidate-scopes");
    folder.write("r.merge", NETWORK);
    folder.write("c.json", CHOICES);
    said(&mut mergec(folder.path(), &["run", "r.merge", "--with", "c.json", "--out", "made"]));
    let graph = parsed(&folder.join("made/graph.json"));
    let nodes = graph["nodes"].as_array().unwrap();
    let scope = |n: &Value| n["scope"].as_str().unwrap().to_owned();
    let mut parameters = 0;
    for node in nodes.iter().filter(|n| n["op"] == "parameter") {
        // The name has one more word, in front of the keys.
        let name = node["attributes"]["name"].as_str().unwrap();
        let (path, key) = name.split_at(name.find('[').unwrap_or(name.len()));
        assert_eq!(scope(node), format!("{}{key}", path.rsplit_once('.').unwrap().0));
        parameters += 1;
    }
    assert_eq!(parameters, 6);
    let turns: Vec<String> = nodes.iter().filter(|n| n["op"] == "dropout").map(scope).collect();
    assert_eq!(turns, ["net.h[0]", "net.h[1]"]);
    assert!(nodes.iter().filter(|n| n["op"] == "input").all(|n| scope(n).is_empty()));
}

#[test]
fn a_search_builds_folders_and_knows_their_costs() {
    let folder = Folder::new("candidate-search");
    folder.write("r.merge", NETWORK);
    let text = said(&mut mergec(folder.path(), &["search", "r.merge", "--keep"]));
    let journal = std::fs::read_to_string(folder.join("net.trials.jsonl")).unwrap();
    let lines: Vec<Value> = journal.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let trials: Vec<&Value> = lines.iter().filter(|l| l["event"] == "trial").collect();
    assert_eq!(trials.len(), 5, "{text}");
    for trial in trials {
        assert_eq!(trial["status"], "done", "{trial}");
        let manifest = parsed(&folder.join(format!("net.trials/{}/trainable.json", trial["trial"])));
        assert_eq!(manifest["space"], lines[0]["space"]);
        assert_eq!(manifest["choices"], trial["choices"]);
        for cost in ["params", "trainable", "bytes", "flops"] {
            assert_eq!(manifest["costs"][cost].as_f64(), trial["metrics"][cost].as_f64(), "{cost}");
        }
    }
}

#[test]
fn start_values_are_taken_from_a_folder_where_path_and_shape_agree() {
    let folder = Folder::new("candidate-from");
    folder.write("r.merge", NETWORK);
    folder.write("c.json", CHOICES);
    said(&mut mergec(folder.path(), &["run", "r.merge", "--with", "c.json", "--seed", "1", "--out", "first"]));
    std::fs::rename(folder.join("first/start.safetensors"), folder.join("trained.safetensors")).unwrap();
    let second =
        ["run", "r.merge", "--with", "c.json", "--set", "net.h.width[1]=7", "--out", "second", "--from", "trained.safetensors"];
    let text = said(&mut mergec(folder.path(), &second));
    // The first layer alone has the shapes it had, and the bias of the last.
    let (entries, of) = (6 * 7 + 7 + 3, 6 * 7 + 7 + 7 * 7 + 7 + 7 * 3 + 3);
    assert!(text.contains(&format!("3 of 6 parameters, {entries} of {of} entries")), "{text}");
    let (before, after) =
        (read_tensors(&folder.join("trained.safetensors")), read_tensors(&folder.join("second/start.safetensors")));
    let manifest = parsed(&folder.join("second/trainable.json"));
    assert_eq!(manifest["taken"], json!({ "tensors": 3, "entries": entries }));
    let mut random = 0;
    for tensor in manifest["tensors"].as_array().unwrap() {
        let name = tensor["name"].as_str().unwrap();
        let same_shape = before[name].shape == after[name].shape;
        assert_eq!(tensor["taken"] == true, same_shape, "{name}");
        assert!(!same_shape || before[name].entries == after[name].entries, "{name}");
        random += usize::from(!same_shape);
    }
    assert_eq!(random, 3);
    let missing = mergec(folder.path(), &["run", "r.merge", "--with", "c.json", "--from", "nowhere"]).output().unwrap();
    assert!(!missing.status.success() && String::from_utf8_lossy(&missing.stderr).contains("nowhere"));
}

/// Trains every entry to a number that tells the trial.
const TRAIN: &str = r#"#!/bin/sh
n=$(od -An -t u8 -N 8 "$1/start.safetensors" | tr -d ' ')
letter=$(printf "\\$(printf %o $((65 + MERGE_TRIAL)))")
head -c $((8 + n)) "$1/start.safetensors" > "$1/trained.safetensors"
tail -c +$((9 + n)) "$1/start.safetensors" | LC_ALL=C tr '\000-\377' "$letter" >> "$1/trained.safetensors"
echo "$MERGE_TRIAL"
"#;

#[test]
fn trials_start_from_what_the_nearest_trial_before_them_trained() {
    let recipe = "fn net(x: tensor[6]) -> tensor[3] {\n\
        choose depth in [1, 2, 3]\n\
        let h = fold y = x for i in 0..depth { relu(dense(y, choose width in [5, 7])) }\n\
        dense(h, 3)\n}\n\
        search net { evaluate: command(\"sh train.sh {model}\"), maximize: \"score\", using: random(seed: 5), trials: 10, transfer: true }";
    let searched = |name: &str, runs: &[&[&str]]| {
        let folder = Folder::new(name);
        folder.write("r.merge", recipe);
        folder.write("train.sh", TRAIN);
        for flags in runs {
            said(&mut mergec(folder.path(), &[&["search", "r.merge", "--keep"], *flags].concat()));
        }
        folder
    };
    let whole = searched("transfer", &[&[]]);
    let shapes = |folder: &Folder, trial: u64| -> Vec<(String, Value)> {
        let manifest = parsed(&folder.join(format!("net.trials/{trial}/trainable.json")));
        let tensors = manifest["tensors"].as_array().unwrap().iter();
        tensors.map(|t| (t["name"].as_str().unwrap().to_owned(), t["shape"].clone())).collect()
    };
    for (folder, window) in [(&whole, 1), (&searched("transfer-parallel", &[&["--parallel", "3"]]), 3)] {
        let mut taken = 0;
        for trial in 0..10_u64 {
            let own = shapes(folder, trial);
            let shared = |other: u64| -> u64 {
                let others = shapes(folder, other);
                let same = own.iter().filter(|t| others.contains(t));
                same.map(|(_, shape)| shape.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).product::<u64>()).sum()
            };
            let nearest = (0..10).filter(|other| other + window <= trial).max_by_key(|other| (shared(*other), *other));
            let starts = read_tensors(&folder.join(format!("net.trials/{trial}/start.safetensors")));
            let trained = nearest.map(|n| f64::from(f32::from_le_bytes([b'A' + n as u8; 4])));
            let inherited = nearest.map(|n| shapes(folder, n)).unwrap_or_default();
            for tensor in &own {
                let is = starts[&tensor.0].entries.iter().all(|x| Some(*x) == trained);
                assert_eq!(is, inherited.contains(tensor), "trial {trial}, {}, window {window}", tensor.0);
                taken += usize::from(is);
            }
        }
        assert!(taken > 10, "{taken} tensors were taken over");
    }
    let resumed = searched("transfer-resumed", &[&["--trials", "4"], &["--resume"]]);
    for trial in 0..10 {
        let starts = |folder: &Folder| std::fs::read(folder.join(format!("net.trials/{trial}/start.safetensors"))).unwrap();
        assert!(starts(&whole) == starts(&resumed), "trial {trial} starts as it does without a break");
    }
    // A search that trains nothing takes nothing from one that was here before it.
    std::fs::remove_file(whole.join("net.trials.jsonl")).unwrap();
    whole.write("train.sh", "echo 1\n");
    said(&mut mergec(whole.path(), &["search", "r.merge", "--keep"]));
    for trial in 0..10 {
        let manifest = parsed(&whole.join(format!("net.trials/{trial}/trainable.json")));
        assert_eq!(manifest.get("taken"), None, "trial {trial}");
    }
}

#[test]
fn onnx_of_the_example_spaces_computes_what_the_interpreter_does() {
    let Some(python) = python() else { return };
    let folder = Folder::new("candidate-onnx");
    type Choices = &'static [(&'static str, &'static str)];
    let cases: [(&str, &str, Choices); 4] = [
        ("spaces", "convnet", &[]),
        ("spaces", "flexibert", &[("flexibert.depth", "2")]),
        ("networks", "digits", &[("digits._rate", "0.01")]),
        (
            "networks",
            "digits",
            &[
                ("digits._rate", "0.01"),
                ("digits.depth", "2"),
                ("digits.h.layer.norm[1]", "layer"),
                ("digits.h.layer.act[0]", "silu"),
            ],
        ),
    ];
    let mut folders = Vec::new();
    for (at, name, set) in cases {
        let file = root().join("examples").join(at).join(format!("{name}.merge"));
        let set = set.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let analysis = merge_driver::analyse(&Request { file, set, ..Request::default() }).unwrap();
        let faults: Vec<String> = analysis.diagnostics.iter().map(|d| format!("{}: {}", d.code, d.message)).collect();
        assert!(faults.is_empty(), "{name}: {}", faults.join("\n"));
        let out = folder.join(format!("{name}-{}", folders.len()));
        let options = Options { out: Some(out.clone()), ..Options::default() };
        merge_driver::run(&analysis, &options, &Silent).unwrap_or_else(|e| panic!("{name}: {}", e.message));
        for (tensor, want) in interpret_output(&analysis, 0, 0) {
            let got = &read_tensors(&out.join("start.safetensors"))[&tensor];
            let near = got.entries.iter().zip(&want.entries).all(|(x, y)| (x - y).abs() <= 1e-5);
            assert!(near && got.shape == want.shape, "{name}: {tensor}");
        }
        case(&analysis, name, &out);
        folders.push(out);
    }
    let check = root().join("compiler/package/tests/check.py");
    let text = said(Command::new(python).arg(check).arg(root().join("docs/schemas")).args(&folders));
    assert_eq!(text.matches("checked ").count(), folders.len(), "{text}");
}

#[test]
fn adapters_have_their_graph_beside_them() {
    let Some(python) = python() else { return };
    let folder = Folder::new("candidate-adapters");
    write_stand_ins(folder.path());
    write_encoders(folder.path());
    let mut folders = Vec::new();
    for recipe in std::fs::read_dir(root().join("examples/spaces")).unwrap().map(|e| e.unwrap().path()) {
        let text = std::fs::read_to_string(&recipe).unwrap();
        if !text.lines().any(|l| l.starts_with("save ") && l.contains(" as adapter")) {
            continue;
        }
        let file = folder.write(&recipe.file_name().unwrap().to_string_lossy(), &text);
        let analysis = merge_driver::analyse(&Request { file, ..Request::default() }).unwrap();
        assert!(!analysis.has_errors(), "{}: {:?}", recipe.display(), analysis.diagnostics);
        merge_driver::run(&analysis, &Options::default(), &Silent)
            .unwrap_or_else(|e| panic!("{}: {}", recipe.display(), e.message));
        let outputs = analysis.elaborated.graph.outputs.iter().filter(|o| o.trained.is_some());
        folders.extend(outputs.map(|o| PathBuf::from(&o.path)));
    }
    assert!(folders.len() >= 4, "{folders:?}");
    for made in &folders {
        let manifest = parsed(&made.join("trainable.json"));
        for tensor in manifest["tensors"].as_array().unwrap() {
            let Some(file) = tensor["file"].as_str() else { continue };
            let starts = read_tensors(&made.join(file));
            let shape: Vec<usize> = tensor["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
            assert_eq!(starts[tensor["name"].as_str().unwrap()].shape, shape, "{}", made.display());
        }
    }
    let check = root().join("compiler/package/tests/check.py");
    let text = said(Command::new(python).arg(check).arg(root().join("docs/schemas")).args(&folders));
    assert_eq!(text.matches("valid ").count(), folders.len(), "{text}");
}

/// Random inputs of a network and what the interpreter makes of them, as `check.py` reads it.
fn case(analysis: &merge_driver::Analysis, name: &str, out: &Path) {
    let graph = &analysis.elaborated.graph;
    let network = &graph.networks[0];
    let mut inputs = Map::new();
    let mut given = Vec::new();
    let mut state = 17u64;
    for id in &network.inputs {
        let Op::Layer { layer, .. } = &graph.node(*id).op else { panic!("an input is a layer") };
        let Layer::Input { name } = &**layer else { panic!("an input is a layer") };
        let shape = graph.shape(*id);
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
        };
        let entries: Vec<f64> = std::iter::repeat_with(next).take(shape.iter().product::<u64>() as usize).collect();
        inputs.insert(name.clone(), json!({ "shape": &shape[..], "entries": entries }));
        given.push((name.as_str(), entries));
    }
    let result = forward(analysis, name, &given, &[]);
    let outputs = json!({ name: { "shape": result.shape, "entries": result.entries } });
    std::fs::write(out.join("case.json"), json!({ "inputs": inputs, "outputs": outputs }).to_string()).unwrap();
}

#[test]
fn the_example_trains_what_it_searches() {
    let Some(python) = python() else { return };
    let folder = Folder::new("candidate-example");
    let example = folder.join("networks");
    std::fs::create_dir(&example).unwrap();
    symlink(root().join("examples/quadrants"), folder.join("quadrants")).unwrap();
    for file in ["digits.merge", "train.py"] {
        symlink(root().join("examples/networks").join(file), example.join(file)).unwrap();
    }
    let first = python.parent().unwrap().display().to_string();
    let path = format!("{first}:{}", std::env::var("PATH").unwrap_or_default());
    let text = said(mergec(&example, &["search", "digits.merge", "--trials", "4"]).env("PATH", path));
    let journal = std::fs::read_to_string(example.join("digits.trials.jsonl")).unwrap();
    let accuracies: Vec<f64> = journal
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).unwrap())
        .filter(|l| l["event"] == "trial")
        .map(|l| l["metrics"]["accuracy"].as_f64().unwrap_or_else(|| panic!("{l}")))
        .collect();
    assert_eq!(accuracies.len(), 4, "{text}");
    // Guessing is right one time in ten.
    assert!(accuracies.iter().all(|a| *a > 20.0) && accuracies.iter().any(|a| *a > 60.0), "{accuracies:?}");
}
