//! `mergec search`.

use crate::commands::{FINE, RECIPE_WRONG, exit_code};
use crate::render;
use merge_driver::search::{Flags, prepare};
use merge_driver::{Request, space::Checks};
use merge_runtime::Error;
use merge_search::run::{End, Happening, Progress};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Searches, or writes the page of an earlier search.
pub fn search(request: Result<Request, Error>, flags: &Flags, report: Option<&Path>) -> Result<u8, Error> {
    let request = request?;
    let open = match merge_driver::space::open(&request, Checks::Tried)? {
        Ok(open) => open,
        Err(analysis) => {
            render::human(&analysis.diagnostics, &analysis.sources);
            return Ok(exit_code(&analysis).max(RECIPE_WRONG));
        }
    };
    render::notes(&open.notes);
    let prepared = prepare(&request, open, flags)?;
    if let Some(to) = report {
        let page = prepared.report()?;
        std::fs::write(to, page).map_err(|e| Error::world(format!("cannot write `{}`: {e}", to.display())))?;
        println!("wrote {}", to.display());
        return Ok(FINE);
    }
    println!(
        "{}: {} candidates, {} trials with {}",
        prepared.name,
        prepared.open().size_text(),
        prepared.options.trials,
        prepared.options.algorithm.name()
    );
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    let _ = ctrlc::set_handler(move || raised.store(true, Ordering::Relaxed));
    let outcome = prepared.run(&stop, &mut |happening| match happening {
        Happening::Resumed { trials } => println!("going on after {trials} trials of {}", prepared.options.journal.display()),
        Happening::Ended { record, progress } => {
            let metrics: Vec<String> = record.metrics.iter().map(|(k, v)| format!("{k} {v}")).collect();
            let said = match &record.reason {
                Some(reason) => format!("failed: {}", reason.lines().next().unwrap_or_default()),
                None => metrics.join(", "),
            };
            println!("trial {}  {said}  [{}]", record.trial, tally(progress));
        }
    })?;
    match outcome.end {
        End::Trials => println!("all trials are made"),
        End::Exhausted => println!("every candidate was tried"),
        End::Stuck { tried } => println!("no candidate met the conditions in {tried} attempts"),
        End::Stopped => println!("stopped; `--resume` goes on"),
    }
    for best in &outcome.front {
        println!("best: trial {}\n{}", best.trial, prepared.choices_text(&best.choices));
    }
    println!("journal: {}", prepared.options.journal.display());
    Ok(if outcome.front.is_empty() && outcome.end != End::Stopped { RECIPE_WRONG } else { FINE })
}

fn tally(p: &Progress) -> String {
    let best = p.best.as_ref().map(|b| format!(", best is trial {}", b.trial)).unwrap_or_default();
    let left = p.left.map(|l| format!(", {} s left", l.as_secs())).unwrap_or_default();
    format!("{} of {}, {} failed{best}{left}", p.ended, p.of, p.failed)
}
