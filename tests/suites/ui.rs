//! Annotated recipes: every `//~ CODE text` must be answered by that diagnostic on its line, and no other
//! diagnostic may appear. `//~^` speaks of the line above, `//~^^` of the one before it.

use merge_tests::{Folder, analyse_text, root, write_stand_ins};
use std::fs;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    line: u32,
    code: String,
    text: String,
}

fn annotations(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let Some((_, note)) = line.split_once("//~") else { continue };
        let up = note.chars().take_while(|c| *c == '^').count();
        let (code, text) = note[up..].trim().split_once(' ').unwrap_or((note[up..].trim(), ""));
        found.push(Finding { line: (i + 1 - up) as u32, code: code.to_owned(), text: text.trim().to_owned() });
    }
    found
}

#[test]
fn every_diagnostic_is_expected_and_every_expectation_met() {
    let folder = Folder::new("ui");
    write_stand_ins(folder.path());
    let mut wrong = Vec::new();
    let mut files: Vec<_> = fs::read_dir(root().join("tests/ui")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10, "the folder of annotated recipes is nearly empty");
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        let mut expected = annotations(&text);
        let analysis = analyse_text(&folder, &text);
        for d in &analysis.diagnostics {
            let source = d.primary_span().map(|s| analysis.sources.get(s.file).line_column(s.start).line);
            let line = source.unwrap_or(0);
            let said =
                [vec![d.message.clone()], d.labels.iter().map(|l| l.message.clone()).collect(), d.notes.clone(), d.helps.clone()]
                    .concat()
                    .join(" · ");
            match expected.iter().position(|e| e.line == line && e.code == d.code.0 && said.contains(&e.text)) {
                Some(i) => drop(expected.remove(i)),
                None => wrong.push(format!("{name}:{line}: not expected: {}: {said}", d.code)),
            }
        }
        wrong.extend(expected.iter().map(|e| format!("{name}:{}: missing: {} {}", e.line, e.code, e.text)));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
