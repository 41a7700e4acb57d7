//! Every recipe in the README, in the language's page and in the page for users of mergekit is what it claims to be: right, but for int buffers.

use merge_tests::{Folder, Tensor, analyse_text, read_model, root, write_checkpoint, write_stand_ins};
use std::{collections::BTreeMap, fs, path::Path};

/// The ```merge blocks of a page, with the line each starts on.
fn recipes(page: &str) -> Vec<(usize, String)> {
    let text = fs::read_to_string(root().join(page)).expect("the page is there");
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((i, line)) = lines.next() {
        if line == "```merge" {
            let block: Vec<&str> = lines.by_ref().map(|(_, l)| l).take_while(|l| *l != "```").collect();
            found.push((i + 2, block.join("\n") + "\n"));
        }
    }
    found
}

/// Stand-ins under the names that the pages use, with a mixture of experts among them.
fn write_models(folder: &Path, buffers: bool) {
    write_stand_ins(folder);
    let stands_for: [(&str, &[&str]); 3] = [
        ("base", &["base", "mistral-7b"]),
        ("math", &["math", "metamath-7b", "chat"]),
        ("code", &["code", "code-7b", "stranger"]),
    ];
    for (from, names) in stands_for {
        let mut tensors = read_model(&folder.join(from));
        tensors.retain(|_, t| buffers || t.dtype.is_float());
        for name in names {
            write(&folder.join(name), &tensors);
        }
    }
    let moe = ["blocks.0.mlp.router.weight".to_owned(), "embed.weight".to_owned()];
    let experts = (0..8).map(|e| format!("blocks.0.mlp.experts.{e}.up.weight"));
    let tensor = || Tensor { dtype: merge_abi::DType::F32, shape: vec![2, 2], entries: vec![1.0; 4] };
    write(&folder.join("moe"), &experts.chain(moe).map(|name| (name, tensor())).collect());
}

fn write(path: &Path, tensors: &BTreeMap<String, Tensor>) {
    write_checkpoint(path, tensors.iter().map(|(name, t)| (name.as_str(), t.clone())), &[]);
}

#[test]
fn recipes_of_the_pages_are_right() {
    for buffers in [false, true] {
        let folder = Folder::new("documents");
        write_models(folder.path(), buffers);
        let mut wrong = Vec::new();
        for (page, least) in [("README.md", 1), ("docs/language.md", 7), ("docs/spaces.md", 3), ("docs/mergekit.md", 20)] {
            let recipes = recipes(page);
            assert!(recipes.len() >= least, "{page} has {} recipes", recipes.len());
            for (line, recipe) in recipes {
                for d in analyse_text(&folder, &recipe).diagnostics {
                    // The pages say that buffers want a rule of their own; nothing else may be found.
                    if !(buffers && d.code.0 == "E2010" && d.helps.iter().any(|h| h.contains("position_ids"))) {
                        wrong.push(format!("{page}:{line}: {}: {}", d.code, d.message));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "buffers: {buffers}\n{}", wrong.join("\n"));
    }
}
