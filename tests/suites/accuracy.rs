//! The examples reach the accuracies that the same merges reach in numpy.

use merge_tests::{Folder, cargo_binary, mergec, root};
use std::{os::unix::fs::symlink, process::Command};

/// Mean accuracy over the four quadrants of what `recipe` writes to `out`.
fn accuracy(recipe: &str, out: &str) -> f64 {
    let folder = Folder::new("accuracy");
    let example = root().join("examples/quadrants");
    for part in ["base", "nw", "ne", "sw", "se", recipe] {
        symlink(example.join(part), folder.join(part)).unwrap();
    }
    let run = mergec(folder.path(), &["run", recipe]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let printed = Command::new(cargo_binary("merge-evaluate"))
        .args([example.join("data/test.safetensors"), folder.join(out)])
        .output()
        .unwrap();
    let line: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    line["mean"].as_f64().unwrap()
}

#[test]
fn the_average_is_as_good_as_in_numpy() {
    let found = accuracy("average.merge", "out/average");
    assert!((found - 86.737).abs() < 0.1, "{found}");
}

#[test]
fn ties_is_as_good_as_in_numpy() {
    let found = accuracy("quadrants.merge", "out/ties");
    assert!((found - 91.075).abs() < 0.1, "{found}");
}
