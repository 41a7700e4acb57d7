//! Runs the `test` items of a recipe on the reference interpreter.

use crate::Analysis;
use merge_base::Span;
use merge_interp::{Interpreter, decode};
use merge_runtime::checkpoint::Checkpoint;
use std::path::Path;

/// How one `test` went.
#[derive(Clone, Debug)]
pub struct TestResult {
    pub title: String,
    pub span: Span,
    /// None where it holds; else what was found.
    pub failure: Option<String>,
}

/// Runs every `test` of the recipe. A test holds where its value is not 0 in any entry.
pub fn run_tests(analysis: &Analysis) -> Vec<TestResult> {
    let graph = &analysis.elaborated.graph;
    let read = |source: &merge_abi::Source| -> Result<Vec<f64>, String> {
        let path = &graph.checkpoints[source.checkpoint as usize].path;
        let checkpoint = Checkpoint::open(Path::new(path)).map_err(|e| e.message)?;
        let tensor = checkpoint.tensors.get(&source.name).ok_or_else(|| format!("`{path}` has no `{}`", source.name))?;
        let mut bytes = vec![0; tensor.bytes as usize];
        checkpoint.read_at(tensor.file, tensor.offset, &mut bytes).map_err(|e| e.message)?;
        Ok(decode(tensor.dtype, &bytes))
    };
    let settings = graph.settings.iter().map(|s| s.default).collect();
    let mut interpreter = Interpreter::new(graph, settings, 0, &read);
    let mut results = Vec::new();
    // A condition on models has a case for each tensor; together they are one test.
    for cases in analysis.elaborated.tests.chunk_by(|a, b| a.span == b.span) {
        let mut failures = cases.iter().filter_map(|case| {
            let of = case.tensor.as_ref().map(|t| format!(" of `{t}`")).unwrap_or_default();
            match interpreter.value(case.node) {
                Err(message) => Some(message),
                Ok(value) => {
                    let wrong = value.iter().filter(|v| **v == 0.0 || v.is_nan()).count();
                    (wrong > 0).then(|| format!("the condition fails in {wrong} of {} entries{of}", value.len()))
                }
            }
        });
        let first = failures.next();
        let more = failures.count();
        let failure = first.map(|f| if more > 0 { format!("{f}, and in {more} more tensors") } else { f });
        results.push(TestResult { title: cases[0].title.clone(), span: cases[0].span, failure });
    }
    results
}
