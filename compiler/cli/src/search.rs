//! `mergec search`.

use crate::commands::{FINE, RECIPE_WRONG, exit_code};
use crate::render;
use merge_driver::search::{Flags, prepare};
use merge_driver::{Request, space::Checks};
use merge_runtime::Error;
use merge_search::Goal;
use merge_search::journal::{Record, Work};
use merge_search::run::{End, Happening, Progress};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
    let stop = Arc::new(AtomicBool::new(false));
    // Where nobody reads on (`| head`), the search stops as if it were told to: trials under way end, and the journal is whole.
    let say = |text: String| {
        if writeln!(std::io::stdout(), "{text}").is_err() {
            stop.store(true, Ordering::Relaxed);
        }
    };
    say(format!(
        "{}: {} candidates, {} trials with {}",
        prepared.name,
        prepared.open().size_text(),
        prepared.options.trials,
        prepared.options.algorithm.name()
    ));
    let raised = stop.clone();
    let _ = ctrlc::set_handler(move || raised.store(true, Ordering::Relaxed));
    let outcome = prepared.run(&stop, &mut |happening| match happening {
        Happening::Resumed { trials } => say(format!("going on after {trials} trials of {}", prepared.options.journal.display())),
        Happening::Edited { kept, dropped, differences } => {
            say(format!("the recipe was edited since: {}", differences.join("; ")));
            say(format!("{kept} of its {} trials are candidates still and are kept", kept + dropped));
        }
        Happening::Ended { record, progress } => {
            let metrics: Vec<String> = record.metrics.iter().map(|(k, v)| format!("{k} {v}")).collect();
            let said = match &record.reason {
                Some(reason) => format!("failed: {}", reason.lines().next().unwrap_or_default()),
                None => metrics.join(", "),
            };
            let work = record.work.map(|w| work_text(&w)).unwrap_or_default();
            say(format!("trial {}  {said}{work}  [{}]", record.trial, tally(progress, &prepared.options.goals)));
        }
    })?;
    say(match outcome.end {
        End::Trials => "all trials are made".to_owned(),
        End::Exhausted => "every candidate was tried".to_owned(),
        End::Stuck { tried } => format!("no candidate met the conditions in {tried} attempts"),
        End::Stopped => "stopped; `--resume` goes on".to_owned(),
    });
    for best in &outcome.front {
        say(format!("best: trial {}\n{}", best.trial, prepared.choices_text(&best.choices)));
    }
    say(format!("journal: {}", prepared.options.journal.display()));
    Ok(if outcome.front.is_empty() && outcome.end != End::Stopped { RECIPE_WRONG } else { FINE })
}

/// What making a model took, where that is less than all of it.
fn work_text(work: &Work) -> String {
    let computed = match work.computed == work.tensors {
        true => String::new(),
        false => format!(", {} of {} tensors computed", work.computed, work.tensors),
    };
    let compiled = match work.compiled {
        0 => String::new(),
        1 => ", 1 kernel compiled".to_owned(),
        n => format!(", {n} kernels compiled"),
    };
    format!("{computed}{compiled}")
}

fn tally(p: &Progress, goals: &[Goal]) -> String {
    let score = |best: &Record| goals.first().and_then(|goal| best.metrics.get(&goal.metric)).map(|score| format!(" {score}"));
    let best =
        p.best.as_ref().map(|b| format!(", best{} in trial {}", score(b).unwrap_or_default(), b.trial)).unwrap_or_default();
    let left = p.left.filter(|_| p.ended < p.of).map(|left| format!(", {} left", duration(left))).unwrap_or_default();
    format!("{} of {}, {} failed{best}{left}", p.ended, p.of, p.failed)
}

/// `40 s`, `3 min 20 s`, `5 h 12 min`.
fn duration(of: Duration) -> String {
    match of.as_secs() {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}
