//! The arrows between crates are those that `docs/architecture.md` draws.

use merge_tests::root;
use serde_json::Value;
use std::{collections::BTreeMap, process::Command};

/// Who may know whom. A new arrow is a decision: write it here and in `docs/architecture.md`.
const ARROWS: &[(&str, &[&str])] = &[
    ("merge-base", &[]),
    ("merge-abi", &[]),
    ("merge-grammar", &["merge-base"]),
    ("merge-ir", &["merge-abi", "merge-base"]),
    ("merge-sema", &["merge-abi", "merge-base", "merge-grammar", "merge-ir"]),
    ("merge-opt", &["merge-abi", "merge-base", "merge-ir"]),
    ("merge-codegen", &["merge-abi", "merge-ir"]),
    ("merge-linalg", &[]),
    ("merge-runtime", &["merge-abi", "merge-linalg"]),
    ("merge-search", &[]),
    ("merge-interp", &["merge-abi", "merge-ir", "merge-runtime"]),
    ("merge-package", &["merge-abi", "merge-base", "merge-ir"]),
    (
        "merge-driver",
        &[
            "merge-abi",
            "merge-base",
            "merge-codegen",
            "merge-grammar",
            "merge-interp",
            "merge-ir",
            "merge-opt",
            "merge-package",
            "merge-runtime",
            "merge-search",
            "merge-sema",
        ],
    ),
    ("mergec", &["merge-abi", "merge-base", "merge-driver", "merge-runtime", "merge-search"]),
    ("merge-evaluate", &[]),
    ("xtask", &["merge-search"]),
];

#[test]
fn crates_know_only_whom_they_may() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&out.stdout).expect("cargo metadata prints JSON");
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if name == "merge-tests" {
            continue;
        }
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("the crate {name} is not in the picture"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            let ours = to.starts_with("merge");
            assert!(!ours || dependency["kind"] == "dev" || allowed.contains(&to), "{name} must not know {to}");
        }
        if name != "merge-codegen" {
            let llvm = package["dependencies"].as_array().unwrap().iter().any(|d| d["name"] == "inkwell");
            assert!(!llvm, "only merge-codegen sees LLVM, not {name}");
        }
    }
}
