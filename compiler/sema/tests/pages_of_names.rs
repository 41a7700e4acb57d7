//! Each code about names, degrees and primitives has a page, whose failing example gives that code alone and whose fixed one none.

mod support;

use merge_sema::Answers;
use merge_sema::codes::{degrees, names, primitives};
use std::path::Path;

/// The first recipe under a heading of a page.
fn example<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let section = page.split_once(&format!("\n## {heading}\n"))?.1;
    let block = section.split_once("```merge\n")?.1;
    Some(block.split_once("```")?.0)
}

#[test]
fn every_code_has_a_page_whose_examples_do_what_it_says() {
    let mut faults = String::new();
    for code in [names::ALL, degrees::ALL, primitives::ALL].concat() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/errors/{code}.md"));
        let page = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{code} has no page: {e}"));
        assert!(page.starts_with(&format!("# {code}: ")), "{code}: the title");
        for (heading, expected) in [("Fails", vec![code]), ("Fixed", vec![])] {
            let text = example(&page, heading).unwrap_or_else(|| panic!("{code}: no example under {heading}"));
            let outcome = support::run(text, support::stand_ins(), &Answers::default());
            if outcome.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>() != expected {
                faults.push_str(&format!("{code} {heading}: {}\n", outcome.said()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn codes_are_unique() {
    for (i, code) in names::ALL.iter().enumerate() {
        assert!(!names::ALL[i + 1..].contains(code), "{code} stands twice");
    }
}
