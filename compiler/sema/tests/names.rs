//! The thirty programs, the examples and the standard library: all names resolve.

use merge_base::{Diagnostic, FileId, Sources};
use merge_grammar::ast;
use merge_sema::hir::Program;
use merge_sema::resolve::{ModuleMissing, Modules, resolve};
use std::path::{Path, PathBuf};
use std::rc::Rc;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

struct Library {
    sources: Sources,
}

impl Modules for Library {
    fn module(&mut self, path: &[String]) -> Result<(FileId, Rc<ast::File>), ModuleMissing> {
        let missing = ModuleMissing { known: vec!["std.merging".to_string()] };
        let file = match path {
            [std, name] if std == "std" => root().join("stdlib").join(format!("{name}.merge")),
            _ => return Err(missing),
        };
        let text = std::fs::read_to_string(file).map_err(|_| missing)?;
        let id = self.sources.add(path.join("."), text.clone());
        Ok((id, Rc::new(merge_grammar::parse(id, &text).0)))
    }
}

fn resolved(path: &Path) -> (Sources, Program, Vec<Diagnostic>) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut library = Library { sources: Sources::default() };
    let id = library.sources.add(path.file_name().unwrap().to_string_lossy(), text.clone());
    let (file, mut found) = merge_grammar::parse(id, &text);
    let (program, more) = resolve(id, &file, &mut library);
    found.extend(more);
    (library.sources, program, found)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "merge") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no programs under {folder}");
    found
}

fn check(folders: &[&str], allowed: fn(&str) -> bool) {
    let mut faults = String::new();
    for path in folders.iter().flat_map(|f| files(f)) {
        let (sources, _, found) = resolved(&path);
        for d in found.iter().filter(|d| !allowed(d.code.0)) {
            let place = d.primary_span().map_or_else(|| path.display().to_string(), |s| sources.place(s));
            faults.push_str(&format!("{place}: {} {} {:?}\n", d.code, d.message, d.helps));
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn the_programs_resolve_but_for_what_is_not_there_yet() {
    check(&["tests/programs"], |code| code.starts_with("E19") || code == "W1020");
}

#[test]
fn the_library_and_the_examples_resolve_without_a_word() {
    check(&["stdlib", "examples"], |_| false);
}
