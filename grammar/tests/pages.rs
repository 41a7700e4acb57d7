//! Each code of this crate has a page, whose failing example gives that code alone and whose fixed one none.

use merge_base::FileId;
use merge_grammar::{codes, parse};
use std::path::Path;

/// The first recipe under a heading of a page.
fn example<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let section = page.split_once(&format!("\n## {heading}\n"))?.1;
    let block = section.split_once("```merge\n")?.1;
    Some(block.split_once("```")?.0)
}

#[test]
fn every_code_has_a_page_whose_examples_do_what_it_says() {
    for code in codes::ALL {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/errors/{code}.md"));
        let page = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{code} has no page: {e}"));
        assert!(page.starts_with(&format!("# {code}: ")), "{code}: the title");
        let codes = |heading| {
            let text = example(&page, heading).unwrap_or_else(|| panic!("{code}: no example under {heading}"));
            parse(FileId(0), text).1.into_iter().map(|d| d.code).collect::<Vec<_>>()
        };
        assert_eq!(codes("Fails"), [*code], "{code}: the failing example");
        assert_eq!(codes("Fixed"), [], "{code}: the fixed example");
    }
}

#[test]
fn codes_are_unique() {
    for (i, code) in codes::ALL.iter().enumerate() {
        assert!(!codes::ALL[i + 1..].contains(code), "{code} stands twice");
    }
}
