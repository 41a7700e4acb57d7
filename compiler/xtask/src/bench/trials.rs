//! What a trial of a search costs beside a merge of its own: `cargo xtask bench --search trials`.
//!
//! Models of a fifth of a gigabyte. Each recipe is searched at random with an evaluator that does nothing, and the candidates of the
//! search are then run one by one with `mergec run`. What the first trial takes more than others (reading, planning, compiling)
//! is left out on the side of the search and is part of each run on the other.

use super::{measure, synthesise};
use crate::shell;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

const TRIALS: usize = 12;

struct Case {
    name: &'static str,
    uses: &'static str,
    /// What `blend` is.
    value: &'static str,
}

const CASES: [Case; 4] = [
    Case {
        name: "linear, one weight: every tensor changes",
        uses: "",
        value: "like base { _ => lerp(a, b, choose t in 0.0..=1.0) }",
    },
    Case {
        name: "task arithmetic of three, a weight each: every tensor changes",
        uses: "task_arithmetic",
        value: "like base { _ => task_arithmetic(base, [a, b, c], lambda: choose l in 0.0..=1.0) }",
    },
    Case {
        name: "TIES, density and lambda: every tensor changes",
        uses: "ties",
        value: "like base { _ => ties(base, [a, b, c], density: choose d in 0.1..=0.9, lambda: choose l in 0.5..=1.5) }",
    },
    Case {
        name: "TIES, lambda: every tensor changes, no threshold does",
        uses: "ties",
        value: "like base { _ => ties(base, [a, b, c], density: 0.5, lambda: choose l in 0.5..=1.5) }",
    },
];

/// Prints the table.
pub fn bench() -> Result<(), String> {
    let data = shell::target().join("bench-quick");
    synthesise::checkpoints(&data, true)?;
    shell::cargo(&["build", "--quiet", "--release", "-p", "mergec"])?;
    let mergec = shell::target().join("release/mergec");
    let place = place(&data)?;
    println!("A trial beside a merge of its own, medians of {TRIALS} runs and means of {TRIALS} trials");
    println!(
        "| recipe | merge: wall s, CPU s | trial: wall s, CPU s | ratio: wall, CPU | kernels compiled after the first trial |"
    );
    println!("|---|---|---|---|---|");
    for case in &CASES {
        let row = row(case, &mergec, &data, &place);
        let _ = std::fs::remove_dir_all(&place);
        println!("{}", row?);
    }
    Ok(())
}

/// Memory if it has room for the models that a search holds, else the disk.
fn place(data: &Path) -> Result<PathBuf, String> {
    let model = std::fs::metadata(data.join("base/model.safetensors")).map_err(|e| e.to_string())?.len();
    let tmpfs = Path::new("/dev/shm");
    let name = format!("merge-trials-{}", std::process::id());
    Ok(match measure::free_bytes(tmpfs) {
        Some(free) if free > model * 6 => tmpfs.join(name),
        _ => data.join(name),
    })
}

fn row(case: &Case, mergec: &Path, data: &Path, place: &Path) -> Result<String, String> {
    let text = |e: std::io::Error| e.to_string();
    std::fs::create_dir_all(place).map_err(text)?;
    let recipe = place.join("recipe.merge");
    let uses = if case.uses.is_empty() { String::new() } else { format!("use std.merging.{}\n", case.uses) };
    let inputs: String = ["base", "a", "b", "c"]
        .iter()
        .map(|i| format!("let {i} = checkpoint({:?})\n", data.join(i).display().to_string()))
        .collect();
    let search = "search blend { evaluate: command(\"echo 1 # {model}\"), maximize: \"score\", using: random(seed: 1) }";
    std::fs::write(&recipe, format!("{uses}{inputs}let blend = {}\nsave blend to \"out\"\n{search}\n", case.value))
        .map_err(text)?;
    let recipe = recipe.display().to_string();
    let journal = place.join("blend.trials.jsonl");
    let search = |trials: usize| {
        let _ = std::fs::remove_file(&journal);
        measure::measure(mergec, &["search".into(), recipe.clone(), "--trials".into(), trials.to_string()])
    };
    // The first run brings the inputs into memory.
    search(1)?;
    let first: Vec<measure::Measured> = (0..3).map(|_| search(1)).collect::<Result<_, _>>()?;
    let first = measure::Measured::median(&first);
    let all = search(TRIALS + 1)?;
    let (wall, cpu) = ((all.wall - first.wall) / TRIALS as f64, (all.cpu - first.cpu) / TRIALS as f64);

    let lines = std::fs::read_to_string(&journal).map_err(text)?;
    let records = lines.lines().skip(1).map(serde_json::from_str).collect::<Result<Vec<Json>, _>>().map_err(|e| e.to_string())?;
    let compiled: u64 = records[1..].iter().filter_map(|r| r["work"]["compiled"].as_u64()).sum();
    let runs = records[1..].iter().map(|record| {
        let choices = place.join("choices.json");
        std::fs::write(&choices, record["choices"].to_string()).map_err(|e| e.to_string())?;
        measure::measure(mergec, &["run".into(), recipe.clone(), "--with".into(), choices.display().to_string()])
    });
    let plain = measure::Measured::median(&runs.collect::<Result<Vec<_>, _>>()?);
    Ok(format!(
        "| {} | {:.3}, {:.3} | {wall:.3}, {cpu:.3} | {:.2}, {:.2} | {compiled} |",
        case.name,
        plain.wall,
        plain.cpu,
        wall / plain.wall,
        cpu / plain.cpu
    ))
}
