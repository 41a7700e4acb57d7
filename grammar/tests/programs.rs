//! Every program of the repository parses without a diagnostic, and printing it changes nothing.

use merge_base::FileId;
use merge_grammar::{ast, parse, print};
use std::path::{Path, PathBuf};

/// All recipes under `tests/programs`, the library and the pieces of the design's tour, with their names.
fn programs() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths: Vec<PathBuf> = ["tests/programs", "stdlib", "grammar/tests/tour"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).expect("the folder is there"))
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "merge"))
        .collect();
    paths.sort();
    paths.into_iter().map(|p| (p.display().to_string(), std::fs::read_to_string(&p).expect("the file can be read"))).collect()
}

/// The ` ```merge ` blocks of a document.
fn blocks(document: &str) -> Vec<String> {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document)).expect("the document is there");
    text.split("```merge\n").skip(1).map(|b| b.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// A tree as text without its spans.
fn without_spans(file: &ast::File) -> String {
    let text = format!("{file:?}");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("Span {") {
        out.push_str(&rest[..at]);
        out.push('_');
        let end = rest[at..].find("end: ").map_or(rest.len(), |e| at + e);
        rest = rest[end..].split_once('}').map_or("", |(_, r)| r);
    }
    out.push_str(rest);
    out.replace("span: Some(_)", "span: None")
}

fn must_round_trip(name: &str, text: &str) {
    let (tree, diagnostics) = parse(FileId(0), text);
    assert!(diagnostics.is_empty(), "{name}: {diagnostics:#?}");
    let printed = print(&tree);
    let (again, diagnostics) = parse(FileId(0), &printed);
    assert!(diagnostics.is_empty(), "{name}, printed: {diagnostics:#?}\n{printed}");
    assert_eq!(without_spans(&tree), without_spans(&again), "{name}, printed:\n{printed}");
    assert_eq!(print(&again), printed, "{name}: printing is not stable");
}

#[test]
fn the_thirty_programs_and_the_library_parse_and_print() {
    let programs = programs();
    for number in 1..=30 {
        assert!(programs.iter().any(|(n, _)| n.contains(&format!("/{number:02}-"))), "program {number} is missing");
    }
    for (name, text) in &programs {
        must_round_trip(name, text);
    }
}

#[test]
fn the_examples_of_the_language_reference_parse_and_print() {
    for (i, text) in blocks("docs/language.md").iter().enumerate() {
        must_round_trip(&format!("block {} of the reference", i + 1), text);
    }
}

#[test]
fn corners_of_the_syntax_print_as_they_parse() {
    for text in [
        "let x = -(-a) - -b",
        "let x = (a + b) * (c - (d - e)) / (f / g) @ -h",
        "let x = not (a and (b or not c)) == (d < e)",
        "let x = (a == b) == c",
        "let x = (choose a in [1, 2] = 1) * 2 + (y as weight)",
        "let x = choose a { p => 1, q => choose b in [1] = 1 } = p",
        "let x = m[.., 0..3, 4.., ..5, ..=6, 7..=8][\"a.{l + 1}.b\"]",
        "let (a, (_, c)): (f32, (model, [int])) = f((1, 2))(3)",
        "let s = \"quote \\\" slash \\\\ tab \\t line \\n\"",
        "let s = [5GB, 512MB, 16KB, 1KiB, 2MiB, 3GiB, 1.5KB, 0.001KB, 0KB]",
        "let s = [1e-6, 0.50, 2e3, 100, 1_000]",
        "let x = whole (whole f(x))(y)",
        "let x = if a { 1 } else if b { 2 } else { let c = 3 c }",
        "let x = (if a { 1 } else { 2 }) + { \"a\": b, \"c\": d for k in 0..3 if k > 1 }",
        "fn f(x: weight[..s, 3, n * 2] in 0..=1 = 1, y: [(str, int)]) -> (model, tensor[]) requires x > 1 { x }",
        "save a to \"b\" as peft { dtype: bf16, config: { n: 1, m: { k: 2 } } } for k in 0..3 if k > 1",
        "save {} to \"b\" {}",
        "let e = from m { let d = 1 choose c in [1] \"a\"?[o, _, 3, ..s] => {} \"b\" as f(x) => f(x) _[] => m }",
        "/// doc one\n///\n///   indented\nlet a = { /// inner\n let b = 1 b }",
        "//! top\n//!\n//! more\nuse std.merging\nuse std.a.{b, c}",
        "test \"it holds\" { let test = 1 test == 1 }",
        "let t = { let a = b\n -c }",
        "let r = (0..3) ++ [1..2]",
        "let i = 1 - 2-3",
    ] {
        must_round_trip(text, text);
    }
}
