//! The functions of a library file, as its text documents and tests them.

use merge_base::FileId;
use merge_grammar::{ast::Item, parse};

/// A public function of a library file.
#[derive(Debug)]
pub struct LibraryFunction {
    pub name: String,
    /// From the name to the type of the result, on one line.
    pub signature: String,
    /// What it does, in a sentence or two.
    pub summary: String,
    /// Where it comes from: a paper or a tool.
    pub source: String,
    /// What it reads besides models, if the doc comment says so.
    pub needs: String,
    /// A call, as its doc comment shows it.
    pub example: String,
    /// Titles of the file's tests that call it.
    pub tests: Vec<String>,
}

/// The public functions of `text`, in order.
///
/// The first paragraph of a doc comment is a summary, which ends with the first line that ends in a full stop, and
/// then the source. A later paragraph that starts with "Needs" says what is read besides models.
///
/// # Panics
/// If `text` has errors of syntax.
pub fn library_functions(text: &str) -> Vec<LibraryFunction> {
    let (file, errors) = parse(FileId(0), text);
    assert!(errors.is_empty(), "{errors:?}");
    let part = |span: merge_base::Span| &text[span.start as usize..span.end as usize];
    let mut found = Vec::new();
    for item in &file.items {
        let Item::Fn(f) = item else { continue };
        if f.name.text.starts_with('_') {
            continue;
        }
        let head = part(f.span).trim_start_matches("fn").split('{').next().unwrap_or_default();
        let head = head.split_whitespace().collect::<Vec<_>>().join(" ");
        let signature = head.split(" requires ").next().unwrap_or_default().to_owned();
        let paragraphs: Vec<&str> = f.docs.split("\n\n").collect();
        let first = paragraphs[0].replace("\n ", "\n");
        let (summary, source) = first.split_once(".\n").unwrap_or((first.trim_end_matches('.'), ""));
        let one_line = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ");
        let needs = paragraphs[1..].iter().find_map(|p| p.trim_start().strip_prefix("Needs ")).unwrap_or_default();
        let example = paragraphs[1..].iter().find_map(|p| p.trim_start().strip_prefix("Example: ")).unwrap_or_default();
        let tests = file.items.iter().filter_map(|item| match item {
            Item::Test(t) if calls(part(t.span), &f.name.text) => Some(t.title.clone()),
            _ => None,
        });
        found.push(LibraryFunction {
            name: f.name.text.clone(),
            signature,
            summary: one_line(summary),
            source: one_line(source.trim_end().trim_end_matches('.')),
            needs: one_line(needs.split(". ").next().unwrap_or_default().trim_end().trim_end_matches('.')),
            example: one_line(example.trim_end().trim_end_matches('.').trim_matches('`')),
            tests: tests.collect(),
        });
    }
    found
}

/// Whether `text` calls `function`.
pub fn calls(text: &str, function: &str) -> bool {
    text.match_indices(&format!("{function}("))
        .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}
