//! The stages of a few recipes as text, compared with files. `MERGE_BLESS=1` writes the files anew; read the
//! difference before you commit it.

use merge_driver::{Stage, emit};
use merge_tests::{Folder, analyse_text, root, write_stand_ins};

const STAGES: [(&str, Stage); 4] =
    [("tir", Stage::Tir), ("dispatch", Stage::Dispatch), ("kir", Stage::Kir), ("plan", Stage::Plan)];

#[test]
fn stages_print_what_the_files_say() {
    let bless = std::env::var_os("MERGE_BLESS").is_some();
    let folder = Folder::new("ir");
    write_stand_ins(folder.path());
    let mut wrong = Vec::new();
    let mut recipes: Vec<_> = std::fs::read_dir(root().join("tests/ir")).unwrap().map(|e| e.unwrap().path()).collect();
    recipes.retain(|p| p.extension().is_some_and(|e| e == "merge"));
    recipes.sort();
    assert!(recipes.len() >= 4);
    for recipe in recipes {
        let analysis = analyse_text(&folder, &std::fs::read_to_string(&recipe).unwrap());
        let said: Vec<String> = analysis.diagnostics.iter().map(|d| format!("{}: {}", d.code, d.message)).collect();
        assert!(said.is_empty(), "{}\n{}", recipe.display(), said.join("\n"));
        for (name, stage) in STAGES {
            let text = emit(&analysis, stage).unwrap().expect("no errors, so every stage is there");
            let text = text.replace(&folder.path().display().to_string(), ".");
            let file = recipe.with_extension(format!("{name}.txt"));
            if bless {
                std::fs::write(&file, &text).unwrap();
            } else if std::fs::read_to_string(&file).unwrap_or_default() != text {
                wrong.push(format!("{}\n{text}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "differs from\n{}", wrong.join("\n"));
}
