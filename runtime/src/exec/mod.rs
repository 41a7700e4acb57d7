//! Runs a plan: tiles are read, computed and written by all cores at once.
//!
//! Each worker takes one tile at a time through all of its stages, with buffers that it uses again, so that
//! reading, computing and writing overlap between workers and a tile stays in the cache of one core.
//! Invariants: the bytes written do not depend on the number of workers, the size of tiles or the memory;
//! buffers stay within [`Options::memory`]; nothing has its final name before everything is written.
//!
//! Deliberately not here: file formats (`checkpoint`, `output`), what a kernel computes (compiled code).

mod buffer;
mod call;
mod check;
mod estimate;
mod finite;
mod inputs;
mod job;
mod launch;
mod notes;
mod product;
mod reader;
mod reuse;
mod schedule;
mod select;
mod temps;
mod tile;
mod view;
mod work;

#[cfg(test)]
mod select_tests;
#[cfg(test)]
mod temps_tests;
#[cfg(test)]
mod tests;

use crate::{
    Error,
    output::{Provenance, Writer, Written},
    progress::Progress,
    scalars::Scalars,
};
pub use estimate::{Estimate, StepEstimate, estimate};
pub use inputs::{Inputs, SourcePlace, prepare, settings};
use job::World;
use launch::Setup;
use merge_abi::{KernelFn, Plan, StatId};
pub use reuse::Reuse;
use reuse::{Copies, Digest, Identities, Remains};
use schedule::{Schedule, Traffic};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use temps::Temps;
use work::Totals;

/// What a user may say about one run of a plan.
#[derive(Clone, Debug)]
pub struct Options {
    /// Values of settings, by name; later ones win.
    pub settings: Vec<(String, f64)>,
    /// Other places for checkpoints, by name.
    pub models: Vec<(String, PathBuf)>,
    /// Where to save, if the plan has one output.
    pub out: Option<PathBuf>,
    /// All cores if absent.
    pub threads: Option<usize>,
    /// Bytes of buffers and collected keys, of all threads together; and of temporaries, before more of them are begun
    /// than the next results need.
    pub memory: u64,
    /// Added to the seeds of the recipe's random numbers.
    pub seed: i64,
    /// What relative paths of the plan start from; the working directory if absent.
    pub base_dir: Option<PathBuf>,
    /// Raised by others to end the run, besides Ctrl-C.
    pub stop: Option<Arc<AtomicBool>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            settings: Vec::new(),
            models: Vec::new(),
            out: None,
            threads: None,
            memory: 1 << 30,
            seed: 0,
            base_dir: None,
            stop: None,
        }
    }
}

/// What a run did.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub bytes_read: u64,
    /// Of tensor data.
    pub bytes_written: u64,
    /// Input tensors with NaN or infinities: `checkpoint: tensor` and how many entries.
    pub non_finite: Vec<(String, u64)>,
    /// Tensors written.
    pub tensors: u64,
    /// Those of them that were taken over from an earlier run.
    pub reused: u64,
    pub seconds: f64,
    /// What routines have to say, such as how much a decomposition of low rank left out; one line each.
    pub notes: Vec<String>,
    pub outputs: Vec<Written>,
}

impl Summary {
    /// A few lines for people.
    pub fn text(&self) -> String {
        use crate::output::human;
        let mut lines = Vec::new();
        for output in &self.outputs {
            lines.push(format!("wrote {} ({})", output.path.display(), human(output.bytes)));
            lines.extend(output.notes.iter().map(|n| format!("note: {n}")));
        }
        lines.push(format!(
            "{} tensors, {} read, {} written, {:.1} s",
            self.tensors,
            human(self.bytes_read),
            human(self.bytes_written),
            self.seconds
        ));
        if !self.non_finite.is_empty() {
            let entries: u64 = self.non_finite.iter().map(|n| n.1).sum();
            let shown: Vec<String> = self.non_finite.iter().take(3).map(|(name, n)| format!("{name} ({n})")).collect();
            let more = self.non_finite.len() - shown.len();
            let more = if more > 0 { format!(" and {more} more tensors") } else { String::new() };
            lines.push(format!("note: {entries} input entries are NaN or infinite: {}{more}", shown.join(", ")));
        }
        lines.extend(self.notes.iter().map(|n| format!("note: {n}")));
        lines.join("\n")
    }
}

/// How memory is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    pub threads: usize,
    /// Bytes of a worker's tile that are best for its cache, and the most it may have.
    pub wish: u64,
    pub most: u64,
    /// Bytes of collected keys of a step.
    pub select: u64,
}

/// A tile that lives in the second cache of one core, with room for what passes through beside it.
const TILE: u64 = 1 << 20;
/// What a worker needs besides its tile: spans, keys, partial results, its stack.
const BESIDES: u64 = 512 << 10;
/// With less, not even one worker can do anything.
const LEAST: u64 = 4 << 20;

impl Shares {
    /// # Errors
    /// Of the usage, where the memory is too little for anything.
    pub fn new(plan: &Plan, memory: u64, threads: Option<usize>) -> Result<Shares, Error> {
        if memory < LEAST {
            return Err(Error::usage(format!("{memory} bytes of memory are too few")).with_help("give `--memory` at least 4MiB"));
        }
        let wanted = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        // A quarter for collected keys, of as many steps as may hold some.
        let selects = plan.steps.iter().any(|s| matches!(s, merge_abi::Step::Select { .. }));
        let select = if selects { memory / 4 / schedule::LARGE_SELECTIONS as u64 } else { 0 };
        let tiles = memory - select * schedule::LARGE_SELECTIONS as u64;
        // No more than have room for a row each, where rows must stay whole.
        let least = BESIDES + (TILE / 2).max(tile::longest_row(plan));
        let threads = wanted.clamp(1, 1024).min((tiles / least) as usize).max(1);
        let most = tiles / threads as u64 - BESIDES;
        Ok(Shares { threads, wish: TILE.min(most), most, select })
    }
}

/// Runs a plan with its compiled kernels, in the plan's order.
///
/// # Errors
/// Of the recipe or usage, where settings or flags do not fit, before anything is opened for writing;
/// of the world: files, disk, memory; interrupted. Nothing is then left under a final name.
pub fn run(plan: &Plan, kernels: &[KernelFn], options: &Options, progress: &dyn Progress) -> Result<Summary, Error> {
    perform(plan, kernels, options, progress, None)
}

/// [`run`] that takes over what `reuse` has from earlier runs and leaves there what later ones may want: tensors, temporaries and
/// statistics that are computed from the same by the same formulas, and so have the same bytes. `codes` tell kernels apart by what they
/// compute, in the plan's order.
///
/// Sources that are not read are not looked through for NaN, and routines that are not called say nothing, so
/// [`Summary::non_finite`] and [`Summary::notes`] tell of what was computed alone.
///
/// # Errors
/// As [`run`].
pub fn run_reusing(
    plan: &Plan,
    kernels: &[KernelFn],
    codes: &[[u8; 16]],
    options: &Options,
    progress: &dyn Progress,
    reuse: &Reuse,
) -> Result<Summary, Error> {
    if codes.len() != plan.kernels.len() {
        return Err(Error::internal("a plan's kernels and their identities differ in number"));
    }
    perform(plan, kernels, options, progress, Some((reuse, codes)))
}

fn perform(
    plan: &Plan,
    kernels: &[KernelFn],
    options: &Options,
    progress: &dyn Progress,
    reuse: Option<(&Reuse, &[Digest])>,
) -> Result<Summary, Error> {
    let began = Instant::now();
    let settings = settings(plan, options)?;
    let outputs = inputs::outputs(plan, options)?;
    let inputs = prepare(plan, options)?;
    check::check(plan, kernels, &inputs)?;
    let shares = Shares::new(plan, options.memory, options.threads)?;
    let provenance = provenance(plan, options, &inputs, &settings)?;
    let writer = Writer::create(&outputs, &inputs.checkpoints, &settings, &provenance)?;

    let totals = Totals { non_finite: plan.sources.iter().map(|_| AtomicU64::new(0)).collect(), ..Totals::default() };
    let setup = Setup {
        plan,
        kernels,
        inputs: &inputs,
        seed: options.seed,
        wish: shares.wish,
        most: shares.most,
        select_bytes: shares.select,
        looks: finite::first_looks(plan),
    };
    let mut made: Vec<Vec<Digest>> = Vec::new();
    let remains = match reuse {
        Some((reuse, codes)) => {
            reuse.begin();
            let identities = Identities::of(plan, codes, &inputs, &settings, options.seed);
            made.clone_from(&identities.outputs);
            Remains::of(plan, identities, reuse)
        }
        None => Remains::all(plan),
    };
    let world = World { setup: &setup, writer: &writer, totals: &totals };
    if !plan.temps.is_empty() {
        temps::return_large_blocks();
    }
    let mut temps = Temps::new(plan, options.memory);
    let weight = |(index, step)| if temps.skips(index) || !remains.steps[index] { 0 } else { Traffic::of(plan, step).weight };
    let weights: Vec<u64> = plan.steps.iter().enumerate().map(weight).collect();
    progress.start(weights.iter().sum());
    temps.leave_out(&remains.steps, &remains.temps);
    let mut scalars = Scalars::new(plan, settings);
    for (stat, value) in remains.stats.iter().enumerate() {
        value.iter().for_each(|value| scalars.publish(StatId(stat as u32), *value));
    }
    let copies = Copies::new(&remains.tensors, &writer);
    let kept = reuse.map(|(reuse, _)| reuse);
    let schedule = Schedule::new(&world, scalars, temps, progress, weights, options.stop.as_deref(), &remains, kept);
    let work = || {
        copies.work();
        schedule.work();
    };
    std::thread::scope(|scope| {
        for _ in 1..shares.threads {
            scope.spawn(work);
        }
        work();
    });
    progress.finish();
    let held_back = schedule.outcome()?;
    copies.outcome()?;
    let mut notes = totals.notes.lines();
    notes.extend(more_memory(plan, &shares, held_back, began.elapsed()));

    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let non_finite = plan
        .sources
        .iter()
        .zip(&totals.non_finite)
        .map(|(s, n)| (format!("{}: {}", plan.checkpoints[s.checkpoint as usize].name, s.name), load(n)))
        .filter(|(_, n)| *n > 0)
        .collect();
    let (bytes_read, bytes_written) = (load(&totals.read), load(&totals.written));
    if let Some(reuse) = kept {
        writer.leave(reuse, &made);
    }
    let outputs = writer.finish()?;
    Ok(Summary {
        bytes_read,
        bytes_written,
        non_finite,
        tensors: plan.outputs.iter().map(|o| o.tensors.len() as u64).sum(),
        reused: remains.taken_over(),
        seconds: began.elapsed().as_secs_f64(),
        notes,
        outputs,
    })
}

/// A hint where workers stood idle for want of memory for a good part of a run.
fn more_memory(plan: &Plan, shares: &Shares, held_back: Duration, all: Duration) -> Option<String> {
    let part = held_back.as_secs_f64() / (all.as_secs_f64() * shares.threads as f64);
    if part < 0.1 || held_back < Duration::from_secs(2) {
        return None;
    }
    let enough = temps::peak(plan, shares.threads as u64, u64::MAX).div_ceil(1_000_000_000);
    let share = (100.0 * part).round();
    Some(format!(
        "threads stood idle {share} % of the time because `--memory` holds no more tensors at once; \
         with `--memory {enough}GB` all would work"
    ))
}

/// What the outputs' metadata say of how they were made.
fn provenance(plan: &Plan, options: &Options, inputs: &Inputs, settings: &[f64]) -> Result<Provenance, Error> {
    let mut parameters: Vec<(String, serde_json::Value)> =
        plan.settings.iter().zip(settings).map(|(s, value)| (s.name.clone(), (*value).into())).collect();
    parameters.extend(plan.recipe.structural.iter().map(|(name, value)| (name.clone(), value.clone().into())));
    parameters.push(("seed".to_owned(), options.seed.into()));
    let inputs = plan
        .checkpoints
        .iter()
        .zip(&inputs.checkpoints)
        .map(|(c, opened)| Ok((c.name.clone(), opened.fingerprint()?)))
        .collect::<Result<_, Error>>()?;
    Ok(Provenance { recipe: plan.recipe.text.clone(), parameters, inputs })
}
