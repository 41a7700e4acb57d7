//! Every diagnostic has a page, and the examples on it do what the page says.

use merge_driver::{Analysis, Request, Undecided};
use merge_runtime::Options;
use merge_tests::{Folder, write_stand_ins};

/// The codes that a recipe gives: those of its diagnostics, and if there are none and `runs`, that of its run.
fn said(folder: &Folder, text: &str, code: &str, runs: bool) -> Vec<String> {
    let analysis = analyse_as(folder, text, code);
    let found: Vec<String> = analysis.diagnostics.iter().map(|d| format!("{}: {}", d.code, d.message)).collect();
    if !runs || !found.is_empty() {
        return found;
    }
    let run = merge_driver::run(&analysis, &Options::default(), &merge_runtime::progress::Silent);
    run.err().map(|e| format!("{}: {}", e.code.unwrap_or("no code"), e.message)).into_iter().collect()
}

/// The ```merge block under a heading.
fn block<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let section = page.split_once(&format!("\n## {heading}\n"))?.1;
    let section = section.split("\n## ").next()?;
    Some(section.split_once("```merge\n")?.1.split_once("```")?.0)
}

/// One code is said by `run` and `build` alone.
fn analyse_as(folder: &Folder, text: &str, code: &str) -> Analysis {
    let undecided = if code == "E3102" { Undecided::Refused } else { Undecided::First };
    let file = folder.write("recipe.merge", text);
    merge_driver::analyse(&Request { file, undecided, ..Request::default() }).expect("the recipe was just written")
}

fn codes() -> Vec<&'static str> {
    let all = [merge_grammar::codes::ALL, merge_sema::codes::ALL, merge_opt::codes::ALL].concat();
    all.into_iter().map(|c| c.0).chain(merge_runtime::codes::ALL.iter().copied()).collect()
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let mut codes = codes();
    codes.sort_unstable();
    let doubled: Vec<_> = codes.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0]).collect();
    assert!(doubled.is_empty(), "codes given twice: {doubled:?}");
    let pages: Vec<&str> = merge_driver::error_pages().iter().map(|(code, _)| *code).collect();
    let missing: Vec<_> = codes.iter().filter(|c| !pages.contains(c)).collect();
    let idle: Vec<_> = pages.iter().filter(|p| !codes.contains(p)).collect();
    assert!(missing.is_empty() && idle.is_empty(), "codes without a page: {missing:?}; pages without a code: {idle:?}");
}

#[test]
fn the_failing_example_fails_with_this_code_and_the_fixed_one_is_fine() {
    let folder = Folder::new("pages");
    write_stand_ins(folder.path());
    let mut wrong = Vec::new();
    for (code, page) in merge_driver::error_pages() {
        if !page.starts_with(&format!("# {code}: ")) {
            wrong.push(format!("{code}: the page does not start with `# {code}: `"));
        }
        let runs = merge_runtime::codes::ALL.contains(code);
        match block(page, "Fails") {
            None => wrong.push(format!("{code}: no failing example")),
            Some(text) => {
                let got = said(&folder, text, code, runs);
                if got.is_empty() || !got.iter().all(|c| c.starts_with(code)) {
                    wrong.push(format!("{code}: the failing example gives {got:?}, not this code alone"));
                }
            }
        }
        match block(page, "Fixed") {
            None => wrong.push(format!("{code}: no fixed example")),
            Some(text) => {
                let got = said(&folder, text, "", runs);
                wrong.extend(got.iter().map(|found| format!("{code}: the fixed example gives {found}")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
