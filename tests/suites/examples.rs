//! Every example runs, and what it writes is what the reference interpreter says.

use merge_driver::Request;
use merge_runtime::{Options, progress::Silent};
use merge_tests::{Folder, interpret_output, read_model, root, write_backbone, write_encoders, write_stand_ins};
use std::{os::unix::fs::symlink, path::Path};

/// What one stored value may differ: a rounding of the storage type and the kernel's f32.
const TOLERANCE: f64 = 5e-3;

#[test]
fn every_example_runs_and_agrees_with_the_interpreter() {
    let mut recipes = 0;
    for example in std::fs::read_dir(root().join("examples")).unwrap().map(|e| e.unwrap().path()) {
        let folder = Folder::new("example");
        for part in std::fs::read_dir(&example).unwrap().map(|e| e.unwrap()) {
            if part.file_name() != "out" {
                symlink(part.path(), folder.join(part.file_name())).unwrap();
            }
        }
        if example.ends_with("spaces") {
            write_stand_ins(folder.path());
            write_backbone(folder.path());
            write_encoders(folder.path());
        }
        for part in std::fs::read_dir(&example).unwrap().map(|e| e.unwrap().path()) {
            if part.extension().is_some_and(|e| e == "merge") {
                recipes += 1;
                check(&folder.join(part.file_name().unwrap()));
            }
        }
    }
    assert!(recipes >= 4, "only {recipes} recipes found");
}

fn check(recipe: &Path) {
    let analysis = merge_driver::analyse(&Request { file: recipe.to_owned(), ..Request::default() }).unwrap();
    let said: Vec<String> = analysis.diagnostics.iter().map(|d| format!("{}: {}", d.code, d.message)).collect();
    assert!(said.is_empty(), "{}\n{}", recipe.display(), said.join("\n"));
    // What leaves everything to a search saves nothing, or is the first of many networks, which `candidates` tests.
    if analysis.elaborated.graph.outputs.iter().all(|o| o.trained.is_some()) {
        return;
    }
    merge_driver::run(&analysis, &Options::default(), &Silent).unwrap_or_else(|e| panic!("{}: {}", recipe.display(), e.message));
    for (i, output) in analysis.elaborated.graph.outputs.iter().enumerate() {
        let got = read_model(Path::new(&output.path));
        for (name, want) in interpret_output(&analysis, i, 0) {
            let got = &got[&name];
            assert_eq!((&got.dtype, &got.shape), (&want.dtype, &want.shape), "{name}");
            let scale = want.entries.iter().fold(1e-6f64, |m, x| m.max(x.abs()));
            for (x, y) in got.entries.iter().zip(&want.entries) {
                assert!((x - y).abs() <= TOLERANCE * scale, "{}: {name}: {x} is not {y}", recipe.display());
            }
        }
    }
}
