//! The examples on the pages of this crate's codes from E2001 on do what the pages say.

mod support;

use merge_sema::Answers;
use support::{run, stand_ins};

fn block<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let section = page.split_once(&format!("\n## {heading}\n"))?.1.split("\n## ").next()?;
    Some(section.split_once("```merge\n")?.1.split_once("```")?.0)
}

#[test]
fn failing_examples_fail_with_their_code_and_fixed_ones_are_clean() {
    let mut wrong = Vec::new();
    for code in merge_sema::codes::ALL.iter().map(|c| c.0).filter(|c| !c.starts_with("E1") && !c.starts_with("W1")) {
        let path = format!("{}/../../docs/errors/{code}.md", env!("CARGO_MANIFEST_DIR"));
        let Ok(page) = std::fs::read_to_string(&path) else {
            wrong.push(format!("{code}: no page"));
            continue;
        };
        let (Some(fails), Some(fixed)) = (block(&page, "Fails"), block(&page, "Fixed")) else {
            wrong.push(format!("{code}: no examples"));
            continue;
        };
        let out = run(fails, stand_ins(), &Answers::default());
        if out.codes() != [code] {
            wrong.push(format!("{code}, Fails gives {:?}\n{}", out.codes(), out.said()));
        }
        let out = run(fixed, stand_ins(), &Answers::default());
        if !out.diagnostics.is_empty() {
            wrong.push(format!("{code}, Fixed gives\n{}", out.said()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
