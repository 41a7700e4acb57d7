//! The `test` items of the library: each of them holds, and every public function is called by one in its file.

use merge_driver::{Request, analyse, run_tests};
use merge_tests::{library_functions, root};
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
            if f.tests.is_empty() {
                wrong.push(format!("{}: no `test` calls `{}`", file.display(), f.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn library() -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root().join("stdlib")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 6, "only {} files", files.len());
    files
}
