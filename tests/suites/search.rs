//! Searches of recipes of weights: what trials share, and that it does not show.

use merge_driver::search::Flags;
use merge_driver::{Request, Undecided, space::Checks};
use merge_runtime::{Options, progress::Silent};
use merge_search::journal::Record;
use merge_search::run::Happening;
use merge_tests::{Folder, write_stand_ins};
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn search(file: &Path, flags: &Flags) -> Vec<Record> {
    let request = Request { file: file.to_owned(), undecided: Undecided::First, ..Request::default() };
    let open = match merge_driver::space::open(&request, Checks::Left).unwrap() {
        Ok(open) => open,
        Err(analysis) => panic!("{:?}", analysis.diagnostics),
    };
    let prepared = merge_driver::search::prepare(&request, open, flags).unwrap();
    let mut records = Vec::new();
    let never = AtomicBool::new(false);
    let ran = prepared.run(&never, &mut |happening| {
        if let Happening::Ended { record, .. } = happening {
            records.push(record.clone());
        }
    });
    ran.unwrap();
    records
}

fn bytes(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// Runs the recipe with the choices of a trial, all of it anew.
fn plainly(file: &Path, choices: &serde_json::Value, out: &Path) {
    let text = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let set = choices.as_object().unwrap().iter().map(|(id, v)| (id.clone(), text(v))).collect();
    let request = Request { file: file.to_owned(), set, undecided: Undecided::Refused, ..Request::default() };
    let analysis = merge_driver::analyse(&request).unwrap();
    assert!(!analysis.has_errors(), "{:?}", analysis.diagnostics);
    let options = Options { out: Some(out.to_owned()), ..Options::default() };
    merge_driver::run(&analysis, &options, &Silent).unwrap_or_else(|e| panic!("{}", e.message));
}

/// Statistics over whole models and tensors, temporaries, random numbers, arms and settings of some tensors alone.
const MIXED: &str = r#"
use std.merging.ties
use std.task_vectors.dare_linear

let base = checkpoint("base")["**.weight"]
let math = checkpoint("math")["**.weight"]
let code = checkpoint("code")["**.weight"]

let candidate = like base {
    "model.layers.{l}.self_attn.**" => choose method per l {
        ties => ties(base, [math, code], density: choose d in [0.25, 0.5, 0.75], lambda: choose lambda in 0.5..=1.5)
        dare => dare_linear(base, [math, code], weights: [1.0, 0.5], density: 0.5, seed: 7)
        near => lerp(base, math, choose t in 0.0..=1.0)
    } = near
    "model.layers.{l}.mlp.**" => {
        let (u, s, v) = svd(code - base, rank: 4)
        base + (choose gain in 0.0..=2.0 = 1.0) * (u * reshape(s, [1, 4])) @ transpose(v)
    }
    "model.norm.**" => base * (norm(math) / norm(base)) * (choose scale in 0.9..=1.1 = 1.0) as weight
    _ => math
}
save candidate to "out"

search candidate {
    evaluate: command("test -e {model} && echo 1"), maximize: "score", trials: 40
}
"#;

#[test]
fn what_trials_take_over_has_the_bytes_of_a_run_of_its_own() {
    for (using, parallel) in [("evolution", 1), ("random", 3)] {
        let folder = Folder::new("search-reuse");
        write_stand_ins(folder.path());
        let file = folder.write("recipe.merge", MIXED);
        let flags = Flags {
            using: Some(using.into()),
            seed: Some(5),
            parallel: Some(parallel),
            trials: Some(if parallel == 1 { 40 } else { 20 }),
            keep: true,
            ..Flags::default()
        };
        let records = search(&file, &flags);
        let mut taken_over = 0;
        for record in &records {
            assert_eq!(record.reason, None);
            let plain = folder.join("plain");
            plainly(&file, &record.choices, &plain);
            let made = folder.join("candidate.trials").join(record.trial.to_string());
            assert!(bytes(&made) == bytes(&plain), "trial {}: {}", record.trial, record.choices);
            let work = record.work.unwrap();
            taken_over += work.tensors - work.computed;
        }
        assert!(taken_over > 100, "{using}: {taken_over} tensors");
        if parallel == 1 {
            assert!(records[0].work.unwrap().compiled > 0);
            // Later structures are of kernels that are there.
            assert!(records[20..].iter().all(|r| r.work.unwrap().compiled == 0), "{records:?}");
        }
    }
}

#[test]
fn only_what_changed_is_computed_and_arguments_compile_nothing() {
    let folder = Folder::new("search-changed");
    write_stand_ins(folder.path());
    let text = "let base = checkpoint(\"base\")[\"**.weight\"]\nlet math = checkpoint(\"math\")[\"**.weight\"]\n\
        choose t in [0.25, 0.5, 0.75]\nlet blend = like base {\n\
        \"model.layers.{l}.mlp.**\" => lerp(base, math, t)\n\
        _ => lerp(base, math, 0.5)\n}\n\
        search blend { evaluate: command(\"echo 1 {model}\"), maximize: \"score\", using: exhaustive() }\n";
    let file = folder.write("recipe.merge", text);
    let records = search(&file, &Flags::default());
    let work: Vec<_> = records.iter().map(|r| r.work.unwrap()).collect();
    let mlp = work[1].computed;
    assert!(mlp == 8 && mlp < work[0].tensors, "{work:?}");
    assert!(work[0].computed == work[0].tensors && work[0].compiled > 0, "{work:?}");
    assert_eq!(work[1..].iter().map(|w| (w.computed, w.compiled)).collect::<Vec<_>>(), [(mlp, 0), (mlp, 0)]);
}

#[test]
fn a_model_that_its_evaluator_changed_is_not_taken_over() {
    let folder = Folder::new("search-spoilt");
    write_stand_ins(folder.path());
    let text = "let base = checkpoint(\"base\")[\"**.weight\"]\nlet math = checkpoint(\"math\")[\"**.weight\"]\n\
        choose t in [0.25, 0.5, 0.75]\nlet blend = like base {\n\
        \"model.layers.{l}.mlp.**\" => lerp(base, math, t)\n\
        _ => lerp(base, math, 0.5)\n}\n\
        search blend { evaluate: command(\"sleep 0.1; for f in {model}/*.safetensors; do printf x | dd of=$f bs=1 seek=4000 conv=notrunc 2>/dev/null; done; echo 1\"), maximize: \"score\", using: exhaustive() }\n";
    let file = folder.write("recipe.merge", text);
    let records = search(&file, &Flags::default());
    assert!(records.iter().all(|r| r.work.is_some_and(|w| w.computed == w.tensors)), "{records:?}");
}

#[test]
fn conditions_on_reals_rule_candidates_out_and_cost_no_trial() {
    let folder = Folder::new("search-conditions");
    write_stand_ins(folder.path());
    let text = "let base = checkpoint(\"base\")[\"**.weight\"]\nlet math = checkpoint(\"math\")[\"**.weight\"]\n\
        let blend = {\nchoose t in 0.0..=1.0 = 0.9\nchoose kind in [\"a\", \"b\"]\n\
        let x = t requires t > 0.5\nlike base { _ => if kind == \"a\" { lerp(base, math, x) } else { lerp(math, base, x) } }\n}\n\
        search blend { evaluate: command(\"echo 1 # {model}\"), maximize: \"score\", using: random(seed: 1), trials: 12 }\n";
    let file = folder.write("recipe.merge", text);
    let records = search(&file, &Flags::default());
    assert_eq!(records.len(), 12);
    assert!(records.iter().all(|r| r.reason.is_none() && r.choices["blend.t"].as_f64().unwrap() > 0.5), "{records:?}");
    let journal = std::fs::read_to_string(folder.join("blend.trials.jsonl")).unwrap();
    let ruled_out: Vec<&str> = journal.lines().filter(|line| line.contains("\"ruled_out\"")).collect();
    assert!(ruled_out.len() > 3 && ruled_out.iter().all(|line| line.contains("t > 0.5")), "{journal}");
}
