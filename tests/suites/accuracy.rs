//! Methods reach the accuracies on trained networks that the same merges reach in numpy, or whose table of figures
//! was made with torch; methods with random masks lie in the range of such masks.

use merge_tests::{Folder, cargo_binary, mergec, root};
use std::{
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

/// A folder with links to everything in an example but what it wrote.
fn example(name: &str) -> Folder {
    let folder = Folder::new("accuracy");
    for part in std::fs::read_dir(root().join("examples").join(name)).unwrap().map(|e| e.unwrap()) {
        if part.file_name() != "out" {
            symlink(part.path(), folder.join(part.file_name())).unwrap();
        }
    }
    folder
}

fn run(folder: &Folder, recipe: &str) {
    let run = mergec(folder.path(), &["run", recipe]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

/// What the evaluator prints of each model.
fn evaluated(data: &str, folder: &Path, models: &[&str]) -> Vec<serde_json::Value> {
    let Output { stdout, stderr, status } = Command::new(cargo_binary("merge-evaluate"))
        .arg(root().join("examples").join(data))
        .args(models.iter().map(|m| folder.join(m)))
        .output()
        .unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Fails where a model's mean accuracy over the four quadrants leaves its range.
fn quadrants(merges: &[(&str, std::ops::RangeInclusive<f64>)]) {
    let folder = example("quadrants");
    let mut recipe = String::from(
        "use std.merging.{task_arithmetic, ties, ties_paper, dare, model_stock, breadcrumbs}\nuse std.subspaces.{tsv_m, iso_c}\n\
         use std.task_vectors.{magmax, darex_q, pcb, pcb_sum}\nuse std.masks.{emr, emr_model}\nlet base = checkpoint(\"base\")\n\
         let tasks = [checkpoint(\"{q}\") for q in [\"nw\", \"ne\", \"sw\", \"se\"]]\n",
    );
    for (k, (merge, _)) in merges.iter().enumerate() {
        recipe += &format!("save {merge} to \"out/{k}\"\n");
    }
    // Imports that a part of the merges does not need are no errors.
    folder.write("all.merge", &recipe);
    run(&folder, "all.merge");
    let names: Vec<String> = (0..merges.len()).map(|k| format!("out/{k}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut wrong = Vec::new();
    for ((merge, range), found) in merges.iter().zip(evaluated("quadrants/data/test.safetensors", folder.path(), &names)) {
        let mean = found["mean"].as_f64().unwrap();
        if !range.contains(&mean) {
            wrong.push(format!("{merge}: {mean} is not in {range:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Within a tenth of a per cent of the figure that numpy reached.
macro_rules! about {
    ($figure:literal) => {
        $figure - 0.1..=$figure + 0.1
    };
}

#[test]
fn averages_and_task_vectors_are_as_good_as_in_numpy() {
    quadrants(&[
        ("mean(tasks)", about!(86.737)),
        ("task_arithmetic(base, tasks, lambda: 0.7)", about!(88.812)),
        ("model_stock(base, tasks)", about!(83.7)),
        ("magmax(base, tasks)", about!(90.487)),
        ("breadcrumbs(base, tasks, keep: 0.85, drop: 0.01, alpha: 1.0)", about!(88.575)),
    ]);
}

#[test]
fn whole_model_methods_are_as_good_as_in_numpy() {
    quadrants(&[
        ("whole ties_paper(base, tasks, lambda: 1.5)", about!(90.762)),
        ("whole pcb(base, tasks, ratio: 0.1)", about!(88.75)),
        ("whole pcb_sum(base, tasks, ratio: 0.1, lambda: 1.2)", about!(88.288)),
    ]);
}

/// The masks of another seed move these by a point or more; the order of the methods is the papers'.
#[test]
fn dare_collapses_where_darex_does_not() {
    quadrants(&[
        ("dare(base, tasks, density: 0.5, seed: 1)", 87.0..=90.0),
        ("dare(base, tasks, density: 0.1, seed: 1)", 78.0..=86.0),
        ("dare(base, tasks, density: 0.01, seed: 1)", 20.0..=55.0),
        ("darex_q(base, tasks, density: 0.01, q: 0.1, seed: 1)", 83.0..=86.0),
    ]);
}

#[test]
fn subspaces_are_as_good_as_in_numpy() {
    quadrants(&[
        ("like base {\n _[o, i] => tsv_m(base, tasks)\n _ => mean(tasks)\n}", about!(89.688)),
        ("like base {\n _[o, i] => iso_c(base, tasks)\n _ => mean(tasks)\n}", about!(86.925)),
    ]);
}

/// Each of the four networks makes the soup better, and the base does not: what is left is their average.
#[test]
fn a_greedy_soup_takes_up_who_makes_it_better() {
    let folder = example("quadrants");
    let recipe = std::fs::read_to_string(root().join("examples/quadrants/soup.merge")).unwrap();
    let evaluator = cargo_binary("merge-evaluate");
    let recipe = recipe.replace("cargo run --quiet --release -p merge-evaluate --", evaluator.to_str().unwrap());
    folder.write("greedy.merge", &recipe);
    let search = mergec(folder.path(), &["search", "greedy.merge"]).output().unwrap();
    assert!(search.status.success(), "{}", String::from_utf8_lossy(&search.stderr));
    let journal = std::fs::read_to_string(folder.join("soup.trials.jsonl")).unwrap();
    let trials: Vec<serde_json::Value> = journal.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let tried: Vec<(String, f64)> = trials
        .iter()
        .filter(|t| t["event"] == "trial")
        .map(|t| {
            let taken = (0..4).map(|k| if t["choices"][format!("soup.accept[{k}]")] == true { '1' } else { '0' });
            (taken.collect(), t["metrics"]["mean"].as_f64().unwrap())
        })
        .collect();
    assert_eq!(tried.iter().map(|t| t.0.as_str()).collect::<Vec<_>>(), ["0000", "1000", "1100", "1110", "1111"]);
    assert!((tried[3].1 - 86.737).abs() < 0.15 && tried[4].1 < tried[3].1, "{tried:?}");
}

/// The share of digits read right by what an example's recipe writes.
fn of_example(name: &str, recipe: &str, data: &str, out: &str, key: &str) -> f64 {
    let folder = example(name);
    run(&folder, recipe);
    evaluated(data, folder.path(), &[out])[0][key].as_f64().unwrap()
}

const DIGITS: &str = "digits/test.safetensors";

#[test]
fn the_examples_with_quadrants_are_as_good_as_in_numpy() {
    for (recipe, out, figure) in [("average", "average", 86.737), ("quadrants", "ties", 91.075), ("fisher", "fisher", 90.3)] {
        let found =
            of_example("quadrants", &format!("{recipe}.merge"), "quadrants/data/test.safetensors", &format!("out/{out}"), "mean");
        assert!((found - figure).abs() < 0.15, "{recipe}: {found}");
    }
}

#[test]
fn permuted_networks_average_as_well_as_in_numpy() {
    let folder = example("permutations");
    run(&folder, "permutations.merge");
    let found: Vec<f64> = evaluated(DIGITS, folder.path(), &["a", "b", "out/naive", "out/aligned"])
        .iter()
        .map(|line| line["plain"].as_f64().unwrap())
        .collect();
    // The order in which layers are matched is drawn, and moves the last figure by a digit or two.
    for (found, figure, tolerance) in
        [(found[0], 98.1, 0.01), (found[1], 97.7, 0.01), (found[2], 90.0, 0.1), (found[3], 97.9, 0.3)]
    {
        assert!((found - figure).abs() <= tolerance, "{found} is not {figure}");
    }
}

#[test]
fn averaged_experts_are_as_good_as_in_torch() {
    let found = of_example("moe_to_dense", "moe_to_dense.merge", DIGITS, "out/dense", "plain");
    assert!((found - 94.6).abs() < 0.05, "{found}");
}

#[test]
fn regmean_is_as_good_as_in_numpy() {
    let folder = example("vision_transformers");
    run(&folder, "regmean.merge");
    let found = &evaluated(DIGITS, folder.path(), &["out/regmean"])[0];
    for (domain, figure) in [("plain", 87.7), ("rot90", 84.8)] {
        let found = found[domain].as_f64().unwrap();
        assert!((found - figure).abs() < 0.15, "{domain}: {found} is not {figure}");
    }
}

/// One adapter applied, and three added that were saved as one, against the merges of the training script.
#[test]
fn adapters_are_as_good_as_in_torch() {
    let folder = example("vision_transformers");
    let head = "let base = checkpoint(\"base_sharded\")\n";
    let adapters = ["plain", "rot90", "stripes"].map(|n| format!("let {n} = adapter(\"lora_{n}\", on: base)\n")).concat();
    let sum = "save base + plain to \"out/one\"\nsave 0.5 * (plain + rot90 + stripes) to \"out/sum\" as peft\n";
    folder.write("sum.merge", &format!("{head}{adapters}{sum}"));
    folder.write("three.merge", &format!("{head}save base + adapter(\"out/sum\", on: base) to \"out/three\"\n"));
    run(&folder, "sum.merge");
    run(&folder, "three.merge");
    let found = evaluated(DIGITS, folder.path(), &["out/one", "out/three"]);
    for (line, figures) in found.iter().zip([[90.4, 38.2, 59.4], [78.9, 67.5, 57.4]]) {
        for (domain, figure) in ["plain", "rot90", "flip"].into_iter().zip(figures) {
            let found = line[domain].as_f64().unwrap();
            // A digit of the thousand may lie on the edge.
            assert!((found - figure).abs() < 0.15, "{domain}: {found} is not {figure}");
        }
    }
}
