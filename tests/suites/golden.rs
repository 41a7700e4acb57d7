//! The standard library against numpy (`golden/make.py`), in F32 and with tolerance stated per method.

use merge_runtime::{Options, rng};
use merge_tests::{Folder, Tensor, read_model, read_tensors, root, run_text};
use std::{collections::BTreeMap, os::unix::fs::symlink};

/// Elementwise methods: one rounding of each operation in f32.
const ELEMENTWISE: f64 = 2e-6;
/// Methods with angles computed per row in f32.
const ANGLES: f64 = 2e-5;

const HEAD: &str =
    "let base = checkpoint(\"base\")\nlet a = checkpoint(\"a\")\nlet b = checkpoint(\"b\")\nlet c = checkpoint(\"c\")\n";

/// The inputs beside a fresh folder for the output.
fn folder(name: &str) -> Folder {
    let folder = Folder::new(name);
    for input in ["base", "a", "b", "c", "statistics"] {
        symlink(root().join("tests/golden").join(input), folder.join(input)).expect("links can be made");
    }
    folder
}

fn merged(name: &str, uses: &str, lines: &str) -> BTreeMap<String, Tensor> {
    let folder = folder(name);
    let recipe = format!("{uses}\n{HEAD}{lines}\n");
    run_text(&folder, &recipe, &Options::default()).unwrap_or_else(|e| panic!("{name}: {}", e.message));
    read_model(&folder.join("out"))
}

fn close(name: &str, tolerance: f64, found: &BTreeMap<String, Tensor>) {
    let expected = read_tensors(&root().join("tests/golden/expected").join(format!("{name}.safetensors")));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{name}");
    for (tensor, want) in &expected {
        let got = &found[tensor];
        assert_eq!(got.shape, want.shape, "{name} {tensor}");
        // Relative to the size of the tensor's entries: a difference that cancels has no digits of its own.
        let scale = want.entries.iter().fold(0f64, |m, x| m.max(x.abs())).max(1e-30);
        for (i, (x, y)) in got.entries.iter().zip(&want.entries).enumerate() {
            assert!((x - y).abs() <= tolerance * scale, "{name} {tensor}[{i}]: {x} is not {y}");
        }
    }
}

macro_rules! golden {
    ($($test:ident: $name:literal, $tolerance:expr, $uses:literal, $lines:literal;)*) => {
        $(#[test]
        fn $test() {
            close($name, $tolerance, &merged($name, $uses, $lines));
        })*
    };
}

golden! {
    linear: "linear", ELEMENTWISE, "use std.merging.linear", "save linear([a, b, c], [1.0, 0.3, 0.5]) to \"out\"";
    linear_raw: "linear-raw", ELEMENTWISE, "use std.merging.linear",
        "save linear([a, b], [0.7, 0.3], normalize: false) to \"out\"";
    task_arithmetic: "task-arithmetic", ELEMENTWISE, "use std.merging.task_arithmetic",
        "save task_arithmetic(base, [a, b, c]) to \"out\"";
    slerp: "slerp", ELEMENTWISE, "use std.merging.slerp", "save slerp(a, b, t: 0.4) to \"out\"";
    nuslerp: "nuslerp", ELEMENTWISE, "use std.merging.nuslerp", "save nuslerp(a, c, 0.6, 0.2) to \"out\"";
    nuslerp_rows: "nuslerp-rows", ANGLES, "use std.merging.nuslerp",
        "save like base {\n _[] => nuslerp(a, c, 0.6, 0.2)\n _ => nuslerp(a, c, 0.6, 0.2, over: rows)\n} to \"out\"";
    ties: "ties", ELEMENTWISE, "use std.merging.ties", "save ties(base, [a, b, c]) to \"out\"";
    ties_half: "ties-half", ELEMENTWISE, "use std.merging.ties",
        "save ties(base, [a, b, c], density: 0.5, lambda: 1.5) to \"out\"";
    ties_paper: "ties-paper", ELEMENTWISE, "use std.merging.ties_paper", "save ties_paper(base, [a, b, c]) to \"out\"";
    ties_paper_whole: "ties-paper-whole", ELEMENTWISE, "use std.merging.ties_paper",
        "save whole ties_paper(base, [a, b, c]) to \"out\"";
    breadcrumbs: "breadcrumbs", ELEMENTWISE, "use std.merging.breadcrumbs",
        "save like base {\n _[] => base\n _ => breadcrumbs(base, [a, b, c])\n} to \"out\"";
    breadcrumbs_wide: "breadcrumbs-wide", ELEMENTWISE, "use std.merging.breadcrumbs",
        "save like base {\n _[] => base\n _ => breadcrumbs(base, [a, b, c], keep: 0.5, drop: 0.05, alpha: 1.0)\n} to \"out\"";
    model_stock: "model-stock", ELEMENTWISE, "use std.merging.model_stock", "save model_stock(base, [a, b, c]) to \"out\"";
    model_stock_rows: "model-stock-rows", ELEMENTWISE, "use std.merging.model_stock",
        "save like base {\n _[] => model_stock(base, [a, b, c])\n _ => model_stock(base, [a, b, c], over: rows)\n} to \"out\"";
    fisher_whole: "fisher-whole", ELEMENTWISE, "use std.merging.fisher",
        "let fa = tensors(\"statistics/fisher-a.safetensors\", on: a)\nlet fb = tensors(\"statistics/fisher-b.safetensors\", on: b)\nsave whole fisher([a, b], [fa, fb], coeffs: [0.7, 0.3]) to \"out\"";
}

#[test]
fn random_numbers_are_philox_as_the_language_says() {
    let expected = read_tensors(&root().join("tests/golden/expected/random.safetensors"));
    for (name, key) in [("uniform.1", 1), ("uniform.big", 0x0123_4567_89ab_cdef)] {
        for (i, want) in expected[name].entries.iter().enumerate() {
            assert_eq!(f64::from(rng::uniform(key, i as u64)), *want, "{name}[{i}]");
        }
    }
}
