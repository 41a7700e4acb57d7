//! What would run, for people.

use crate::Analysis;
use merge_opt::Compiled;
use merge_runtime::{Error, Options, output::human};
use std::fmt::Write;

/// The plan with its cost: what each rule covers, steps and kernels, bytes, peak memory.
///
/// # Errors
/// Of the usage, where the memory of `options` is too little for anything.
pub fn describe_plan(analysis: &Analysis, compiled: &Compiled, options: &Options) -> Result<String, Error> {
    let estimate = merge_runtime::estimate(&compiled.plan, options.memory, options.threads)?;
    let mut text = String::new();
    for share in &analysis.elaborated.rules {
        let line = analysis.sources.slice(share.span).split("=>").next().unwrap_or_default().trim().to_owned();
        let _ = writeln!(text, "{}: {} tensors by rule {line}", analysis.sources.place(share.span), share.tensors);
    }
    text += &merge_opt::print_plan(&compiled.plan);
    let _ = writeln!(
        text,
        "cost\n  read {}, write {}, peak memory {} of {}{}, {} threads",
        human(estimate.bytes_read),
        human(estimate.bytes_written),
        human(estimate.peak_memory),
        human(options.memory),
        match estimate.temporaries {
            0 => String::new(),
            bytes => format!(" besides {} of tensors held whole", human(bytes)),
        },
        estimate.threads
    );
    Ok(text)
}
