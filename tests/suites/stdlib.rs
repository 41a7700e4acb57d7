//! The `test` items of the library: each of them holds, and every public function is called by one in its file.

use merge_driver::{Request, analyse, run_tests};
use merge_tests::{Folder, analyse_text, calls, library_functions, root, write_stand_ins};
use std::fs;

#[test]
fn the_tests_of_the_library_hold() {
    let mut wrong = Vec::new();
    for file in library() {
        let name = file.display();
        let analysis = analyse(&Request { file: file.clone(), ..Request::default() }).unwrap();
        wrong.extend(analysis.diagnostics.iter().map(|d| format!("{name}: {}: {}", d.code, d.message)));
        for result in run_tests(&analysis) {
            wrong.extend(result.failure.map(|f| format!("{name}: {}: {f}", result.title)));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Examples about the models `base`, `math` and `code` alone pass the checks; others name tensors of files.
#[test]
fn examples_of_models_are_fine() {
    let folder = Folder::new("examples");
    write_stand_ins(folder.path());
    let (mut checked, mut wrong) = (0, Vec::new());
    for file in library() {
        let module = file.file_stem().unwrap().to_string_lossy().into_owned();
        for f in library_functions(&fs::read_to_string(&file).unwrap()) {
            let other = ["[\"", "(\"", "emr(", "united", "robust", "clean", "up.weight", "attn", "w,", "merged"];
            if !f.example.contains("math") || other.iter().any(|name| f.example.contains(name)) {
                continue;
            }
            let models: String = ["base", "math", "code"]
                .map(|m| format!("let {m} = without(checkpoint(\"{m}\"), \"**.position_ids\")\n"))
                .concat();
            let recipe =
                format!("use std.{module}.{}\n{models}let _all = [base, math, code]\nsave {} to \"out\"\n", f.name, f.example);
            let found = analyse_text(&folder, &recipe).diagnostics;
            wrong.extend(found.iter().map(|d| format!("{}: {}: {}", f.example, d.code, d.message)));
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(checked > 40, "only {checked} examples");
}

#[test]
fn every_function_of_the_library_is_documented_and_tested() {
    let mut wrong = Vec::new();
    for file in library() {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} does not say what it is for", file.display());
        for f in library_functions(&text) {
            if f.summary.is_empty() || f.source.is_empty() {
                wrong.push(format!("{}: `{}` does not say what it does and where it is from", file.display(), f.name));
            }
            if !calls(&f.example, &f.name) || !parses(&f.example) {
                wrong.push(format!("{}: the doc comment of `{}` has no example that calls it", file.display(), f.name));
            }
            if f.tests.is_empty() {
                wrong.push(format!("{}: no `test` calls `{}`", file.display(), f.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn parses(expression: &str) -> bool {
    merge_grammar::parse(merge_base::FileId(0), &format!("let _x = {expression}\n")).1.is_empty()
}

fn library() -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root().join("stdlib")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 6, "only {} files", files.len());
    files
}
