//! Which worker does what next.
//!
//! Workers take tasks in the order of the plan. A step becomes ready when the statistics it needs are
//! known and the temporaries it reads complete; while the last tasks of one still run, the others go on with the next within a bounded
//! look-ahead. Whoever ends a round draws its conclusions, publishes what the step found, and wakes the rest.

use super::{
    job::{Found, Job, Next, World},
    reader,
    reuse::{Remains, Reuse},
    select::SelectJob,
    temps::Temps,
    work::{Bench, Totals},
};
use crate::{Error, interrupt, progress::Progress, routines, scalars::Scalars};
use merge_abi::{Origin, Plan, Sink, StatId, Step, Target};
use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Bytes of memory that are moved, and multiply-adds of a product that are made, in about the time of a byte of a file.
const MEMORY: u64 = 4;
const OPERATIONS: u64 = 32;
/// Steps that may be begun before the first of them is done; small tensors need several at once to keep
/// all workers busy.
const LOOK_AHEAD: usize = 64;
/// Selections that may hold collected keys at the same time.
pub(crate) const LARGE_SELECTIONS: usize = 2;

/// The state of a run.
pub(crate) struct Schedule<'r> {
    plan: &'r Plan,
    world: &'r World<'r>,
    progress: &'r dyn Progress,
    /// Bytes of progress of each step.
    weights: Vec<u64>,
    stop: Option<&'r AtomicBool>,
    remains: &'r Remains,
    /// Where what is found is left for later runs.
    reuse: Option<&'r Reuse>,
    state: Mutex<State<'r>>,
    wake: Condvar,
}

struct State<'r> {
    scalars: Scalars<'r>,
    temps: Temps<'r>,
    steps: Vec<Stage<'r>>,
    /// The first step that is not done.
    front: usize,
    /// Grows whenever statistics become known or temporaries complete.
    published: u64,
    large_selections: usize,
    error: Option<Error>,
    /// A worker died; the others must not wait for it.
    broken: bool,
    /// How long workers had nothing to do but what there was no memory for, all of them together.
    held_back: Duration,
}

enum Stage<'r> {
    /// Not ready when so much had been published.
    Waiting(Option<u64>),
    Active(Active<'r>),
    Done,
}

struct Active<'r> {
    job: Arc<Job<'r>>,
    next: u64,
    done: u64,
    tasks: u64,
    /// Tasks of the first round, over which the progress is spread.
    first_tasks: u64,
    first_round: bool,
}

enum Turn<'r> {
    Task(usize, u64, Arc<Job<'r>>),
    /// A step that has no tasks.
    Empty(usize, Arc<Job<'r>>),
    /// A step that need not run is done.
    Idle,
    /// Until something changes; `held_back` is whether a step could be begun but for the memory.
    Nothing {
        held_back: bool,
    },
}

impl<'r> Schedule<'r> {
    #[allow(clippy::too_many_arguments)] // They are what a run consists of.
    pub fn new(
        world: &'r World<'r>,
        scalars: Scalars<'r>,
        temps: Temps<'r>,
        progress: &'r dyn Progress,
        weights: Vec<u64>,
        stop: Option<&'r AtomicBool>,
        remains: &'r Remains,
        reuse: Option<&'r Reuse>,
    ) -> Schedule<'r> {
        let plan = world.setup.plan;
        let steps = remains.steps.iter().map(|done| if *done { Stage::Waiting(None) } else { Stage::Done }).collect();
        let front = remains.steps.iter().position(|done| *done).unwrap_or(plan.steps.len());
        let state = State {
            scalars,
            temps,
            steps,
            front,
            published: 0,
            large_selections: 0,
            error: None,
            broken: false,
            held_back: Duration::ZERO,
        };
        Schedule { plan, world, progress, weights, stop, remains, reuse, state: Mutex::new(state), wake: Condvar::new() }
    }

    /// Works until nothing is left. Run by every worker.
    pub fn work(&self) {
        let _alarm = Alarm(self);
        let mut bench = Bench::default();
        let mut state = self.lock();
        loop {
            if state.error.is_some() || state.broken || state.front == state.steps.len() {
                return;
            }
            if interrupt::requested() || self.stop.is_some_and(|s| s.load(Ordering::Relaxed)) {
                self.fail(&mut state, Error::interrupted());
                return;
            }
            match self.next(&mut state) {
                Ok(Turn::Task(step, task, job)) => {
                    drop(state);
                    let done = job.run(self.world, &mut bench, task);
                    Totals::add(&self.world.totals.read, std::mem::take(&mut bench.read));
                    state = self.lock();
                    match done {
                        Ok(()) => state = self.task_done(state, step, task, &mut bench),
                        Err(error) => self.fail(&mut state, error),
                    }
                }
                Ok(Turn::Empty(step, job)) => {
                    drop(state);
                    state = self.round_done(step, &job, &mut bench);
                }
                Ok(Turn::Idle) => self.wake.notify_all(),
                Ok(Turn::Nothing { held_back }) => {
                    let began = Instant::now();
                    state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.held_back += if held_back { began.elapsed() } else { Duration::ZERO };
                }
                Err(error) => self.fail(&mut state, error),
            }
        }
    }

    /// How long workers were held back for want of memory, all of them together; or what ended the run, if it did not end well.
    pub fn outcome(self) -> Result<Duration, Error> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match state.error {
            Some(error) => Err(error),
            None if state.front == state.steps.len() => Ok(state.held_back),
            None => Err(Error::internal("the run ended before its plan")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<'r>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, state: &mut State<'r>, error: Error) {
        state.error.get_or_insert(error);
        self.wake.notify_all();
    }

    /// The next task in the order of the plan.
    fn next(&self, state: &mut State<'r>) -> Result<Turn<'r>, Error> {
        let mut waiting_alone = true;
        let mut held_back = false;
        for step in state.front..state.steps.len().min(state.front + LOOK_AHEAD) {
            if let Stage::Waiting(tried) = state.steps[step] {
                if tried == Some(state.published) {
                    continue;
                }
                let large = SelectJob::is_large(&self.plan.steps[step], self.world.setup.most);
                if large && state.large_selections >= LARGE_SELECTIONS {
                    waiting_alone = false;
                    continue;
                }
                if !state.temps.ready(step) {
                    state.steps[step] = Stage::Waiting(Some(state.published));
                    continue;
                }
                match self.plan.unless.get(step).copied().flatten().map(|s| state.scalars.value(s)) {
                    None | Some(Some(0.0)) => {}
                    Some(None) => {
                        state.steps[step] = Stage::Waiting(Some(state.published));
                        continue;
                    }
                    Some(Some(_)) => {
                        self.stand_idle(state, step)?;
                        return Ok(Turn::Idle);
                    }
                }
                // The front goes on whatever lives, so this cannot keep everybody waiting.
                if step > state.front && !state.temps.may_look_ahead(step) {
                    held_back = true;
                    continue;
                }
                let State { scalars, temps, .. } = &mut *state;
                let Some(job) = Job::new(self.world.setup, step, scalars, temps)? else {
                    state.steps[step] = Stage::Waiting(Some(state.published));
                    continue;
                };
                state.large_selections += usize::from(large);
                let job = Arc::new(job);
                let tasks = job.tasks();
                state.steps[step] =
                    Stage::Active(Active { job: job.clone(), next: 0, done: 0, tasks, first_tasks: tasks, first_round: true });
                if tasks == 0 {
                    return Ok(Turn::Empty(step, job));
                }
            }
            if let Stage::Active(active) = &mut state.steps[step] {
                waiting_alone = false;
                if active.next < active.tasks {
                    active.next += 1;
                    return Ok(Turn::Task(step, active.next - 1, active.job.clone()));
                }
            }
        }
        if waiting_alone {
            return Err(Error::internal("a step of the plan waits for what no step before it finds"));
        }
        Ok(Turn::Nothing { held_back })
    }

    fn task_done<'g>(
        &'g self,
        mut state: MutexGuard<'g, State<'r>>,
        step: usize,
        task: u64,
        bench: &mut Bench,
    ) -> MutexGuard<'g, State<'r>> {
        let Stage::Active(active) = &mut state.steps[step] else { return state };
        active.done += 1;
        if active.first_round {
            // Whole bytes, which add up to the step's.
            let upto = |t: u64| (u128::from(self.weights[step]) * u128::from(t) / u128::from(active.first_tasks)) as u64;
            self.progress.advance(upto(task + 1) - upto(task));
        }
        if active.done < active.tasks {
            return state;
        }
        let job = active.job.clone();
        drop(state);
        self.round_done(step, &job, bench)
    }

    /// Ends a round; no other worker has a task of this step now.
    fn round_done(&self, step: usize, job: &Job<'r>, bench: &mut Bench) -> MutexGuard<'_, State<'r>> {
        let next = job.finish(self.world, bench);
        Totals::add(&self.world.totals.read, std::mem::take(&mut bench.read));
        let mut state = self.lock();
        match next {
            Err(error) => self.fail(&mut state, error),
            Ok(Next::Round(tasks)) => {
                if let Stage::Active(active) = &mut state.steps[step] {
                    (active.next, active.done, active.tasks, active.first_round) = (0, 0, tasks, false);
                }
            }
            Ok(Next::Done(found)) => self.step_done(&mut state, step, found),
        }
        self.wake.notify_all();
        state
    }

    /// Ends a step that need not run: its temporaries and statistics are 0.
    fn stand_idle(&self, state: &mut State<'r>, step: usize) -> Result<(), Error> {
        state.temps.stand_idle(step)?;
        let stats: Vec<StatId> = match &self.plan.steps[step] {
            Step::Reduce { results, .. } => results.clone(),
            Step::Select { selections, .. } => selections.iter().flat_map(|s| [Some(s.threshold), s.cut]).flatten().collect(),
            Step::Copy { .. } | Step::Map { .. } | Step::Call { .. } => Vec::new(),
        };
        self.progress.advance(self.weights[step]);
        self.publish(state, step, Found { stats: stats.into_iter().map(|s| (s, 0.0)).collect(), ..Found::default() });
        Ok(())
    }

    fn step_done(&self, state: &mut State<'r>, step: usize, found: Found) {
        state.large_selections -= usize::from(SelectJob::is_large(&self.plan.steps[step], self.world.setup.most));
        self.publish(state, step, found);
    }

    /// Makes known what a step found, which is done by that.
    fn publish(&self, state: &mut State<'r>, step: usize, found: Found) {
        state.published += u64::from(!found.stats.is_empty());
        for (stat, value) in found.stats {
            state.scalars.publish(stat, value);
            if let Some(reuse) = self.reuse {
                reuse.keep_stat(self.remains.stat_identities[stat.0 as usize], value);
            }
        }
        let complete = state.temps.end_telling(step, found.temps, &|temp, memory| {
            if let Some(reuse) = self.reuse {
                let temp = temp as usize;
                reuse.keep_temp(self.remains.temp_identities[temp], memory, self.remains.likely[temp]);
            }
        });
        state.published += u64::from(complete);
        state.steps[step] = Stage::Done;
        while matches!(state.steps.get(state.front), Some(Stage::Done)) {
            state.front += 1;
        }
    }
}

/// Wakes the others when a worker panics, so that nobody waits for ever.
struct Alarm<'s, 'r>(&'s Schedule<'r>);

impl Drop for Alarm<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().broken = true;
            self.0.wake.notify_all();
        }
    }
}

/// What a step moves in its one planned pass.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    /// Bytes from and to files.
    pub read: u64,
    pub written: u64,
    /// How long it takes, in bytes of files that take as long.
    pub weight: u64,
}

impl Traffic {
    pub fn of(plan: &Plan, step: &Step) -> Traffic {
        let mut all = Traffic::default();
        for (read, _) in reader::reads(step) {
            let bytes = read.view.len() * reader::dtype(plan, read.from).size();
            match read.from {
                Origin::Source(_) => all.read += bytes,
                Origin::Temp(_) => all.weight += bytes / MEMORY,
            }
        }
        match step {
            Step::Copy { from, to } => all.write(to, from.view.len() * reader::dtype(plan, from.from).size()),
            Step::Map { body, to } => {
                let size = plan.kernels[body.kernel as usize].stores.first().map_or(0, |d| d.size());
                all.write(to, to.view.len() * size);
            }
            Step::Reduce { .. } | Step::Select { .. } => {}
            Step::Call { routine, inputs, .. } => {
                let shapes: Vec<&[u64]> = inputs.iter().map(|t| &*plan.temps[*t as usize].shape).collect();
                all.weight = routines::work(routine, &shapes) / OPERATIONS;
            }
        }
        all.weight += all.read + all.written;
        all
    }

    fn write(&mut self, to: &Target, bytes: u64) {
        match to.to {
            Sink::Output { .. } => self.written += bytes,
            Sink::Temp(_) => self.weight += bytes / MEMORY,
        }
    }
}
