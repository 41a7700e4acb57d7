//! A search in the world: proposals are made into models, scored side by side, and written down.

use crate::engine::{Engine, Job, Metrics, Next, scores};
use crate::journal::{Event, Header, Journal, JournalError, Record, Status, Story, Work};
use crate::objective::{Evaluate, Objective, Scored};
use crate::searcher::Trial;
use crate::settings::{Algorithm, Goal};
use crate::space::{Assignment, Space};
use serde_json::Value as Json;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What to search for and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is searched, by name; the journal keeps it.
    pub recipe: String,
    pub algorithm: Algorithm,
    pub seed: u64,
    pub goals: Vec<Goal>,
    /// Trials in all, those of the journal included.
    pub trials: u64,
    /// Trials side by side. Proposals depend on it (see `engine`), so a journal goes on with the number it began with.
    pub parallel: usize,
    pub evaluate: Evaluate,
    /// For one trial.
    pub timeout: Option<Duration>,
    /// Where commands run; the current folder if not given.
    pub directory: Option<PathBuf>,
    pub journal: PathBuf,
    /// Go on with the journal if it exists.
    pub resume: bool,
}

/// A candidate made real.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// What `{model}` stands for.
    pub path: PathBuf,
    /// Costs known without trying (`params`, `bytes`); goals may name them.
    pub costs: Metrics,
    /// What making it took, if anybody counted.
    pub work: Option<Work>,
}

/// What the caller knows of candidates. Called from several threads.
pub trait Models: Sync {
    /// Is the candidate excluded by a constraint, and by which? Cheap, and a function of the candidate alone.
    fn feasible(&self, _candidate: &Assignment) -> Result<(), String> {
        Ok(())
    }

    /// Makes the model of a trial. An error is a failure of that trial.
    fn materialise(&self, job: &Job) -> Result<Model, String>;

    /// The trial has ended. `best`: it is the best so far (or not dominated, with several goals), so that its model may be worth keeping.
    fn ended(&self, _record: &Record, _model: Option<&Model>, _best: bool) {}

    /// The journal has this trial; `best` as above, of those known up to it.
    fn known(&self, _record: &Record, _best: bool) {}
}

/// How far the search is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Ended trials, those that failed included.
    pub ended: u64,
    pub failed: u64,
    pub ruled_out: u64,
    pub of: u64,
    pub best: Option<Record>,
    pub elapsed: Duration,
    /// The time to the end, from the pace of this run.
    pub left: Option<Duration>,
}

/// What happens.
#[derive(Debug)]
pub enum Happening<'a> {
    /// The journal had results; these were not tried again.
    Resumed {
        trials: u64,
    },
    /// The recipe was edited since the journal was written. So many of its trials are candidates still and were kept; the others
    /// stay in the journal and count no more.
    Edited {
        kept: u64,
        dropped: u64,
        differences: &'a [String],
    },
    Ended {
        record: &'a Record,
        progress: &'a Progress,
    },
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub progress: Progress,
    pub end: End,
    /// Trials that no other trial beats in every goal, by number. With one goal: the best.
    pub front: Vec<Record>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All trials were made.
    Trials,
    /// Every candidate was tried.
    Exhausted,
    /// No candidate met the constraints for so long that none may.
    Stuck { tried: usize },
    /// It was told to stop.
    Stopped,
}

/// Why a search cannot start or go on.
#[derive(Debug)]
pub enum SearchError {
    /// The settings do not suit the space or each other.
    Settings(String),
    Journal(JournalError),
}

impl fmt::Display for SearchError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            SearchError::Settings(why) => f.write_str(why),
            SearchError::Journal(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SearchError {}

impl From<JournalError> for SearchError {
    fn from(error: JournalError) -> SearchError {
        SearchError::Journal(error)
    }
}

/// Searches, writes the journal, and tells `watch` what happens. Setting `stop` ends running trials without writing them down.
pub fn run_search(
    space: &Space,
    options: &Options,
    models: &dyn Models,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(Happening),
) -> Result<Outcome, SearchError> {
    let window = options.parallel.max(1);
    options.evaluate.check(options.algorithm.uses_budget()).map_err(SearchError::Settings)?;
    let mut engine =
        Engine::new(space, &options.algorithm, &options.goals, options.seed, window).map_err(SearchError::Settings)?;
    let header = Header::new(&options.recipe, space, &options.algorithm, options.seed, &options.goals, window);
    let (mut journal, story) = match options.resume {
        true => Journal::resume(&options.journal, &header)?,
        false => (Journal::create(&options.journal, &header)?, Story::default()),
    };
    let earlier = Earlier::new(space, &story.earlier, models);
    if let Some(differences) = &story.edited {
        if earlier.kept.is_empty() && !story.earlier.is_empty() {
            return Err(JournalError::OtherSpace { path: options.journal.clone(), differences: differences.clone() }.into());
        }
        journal.append(&Event::Edited { space: header.space.clone(), decisions: header.decisions.clone() })?;
        let kept = earlier.kept.len() as u64;
        watch(Happening::Edited { kept, dropped: story.earlier.len() as u64 - kept, differences });
    }
    let replay = Replay::new(space, story.events, &options.journal)?;
    let known = (replay.records.len() + earlier.kept.len()) as u64;
    if known > 0 {
        watch(Happening::Resumed { trials: known });
    }
    let ahead = replay.records.keys().next_back().map_or(0, |last| last + 1 - earlier.first);
    let trials = options.trials.max(ahead + earlier.kept.len() as u64);
    let mut tally = Tally::new(trials);
    let told = earlier.kept.iter().map(|(record, assignment)| {
        let scores = record_scores(&options.goals, record);
        models.known(record, tally.count(record, scores.clone()));
        Trial { number: record.trial, assignment: assignment.clone(), budget: record.budget, scores, feasible: true }
    });
    let told = told.collect();
    engine.begin_with(told, earlier.first);
    let last = trials - earlier.kept.len() as u64;
    let mut search = Search { space, options, models, engine, journal, replay, watch, tally, last, running: 0 };
    let (jobs, queue) = channel::<Job>();
    let (done, results) = channel::<Answer>();
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        for _ in 0..window {
            let (queue, done) = (&queue, done.clone());
            scope.spawn(move || work(space, options, models, stop, queue, done));
        }
        drop(done);
        // Dropping the sender at the end is what lets the workers go.
        search.steer(stop, jobs, &results)
    })
}

/// What a worker sends back.
struct Answer {
    job: Job,
    model: Option<Model>,
    scored: Scored,
    seconds: f64,
}

fn work(
    space: &Space,
    options: &Options,
    models: &dyn Models,
    stop: &AtomicBool,
    queue: &Mutex<Receiver<Job>>,
    done: Sender<Answer>,
) {
    let mut objective = Objective::new(&options.evaluate, options.timeout, options.directory.as_deref(), &options.goals, stop);
    loop {
        let next = queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).recv();
        let Ok(job) = next else { return };
        let begun = Instant::now();
        let made = match stop.load(Ordering::Relaxed) {
            true => Err("stopped".to_owned()),
            // A mistake in making one model must not end the search without a word.
            false => catch_unwind(AssertUnwindSafe(|| models.materialise(&job)))
                .unwrap_or_else(|_| Err("an internal error while the model was made".into())),
        };
        let (model, scored) = match made {
            Err(_) if stop.load(Ordering::Relaxed) => (None, Scored::Stopped),
            Err(reason) => (None, Scored::Failed(reason)),
            Ok(model) => {
                let scored = match objective.score(&job, &space.to_json(&job.assignment), &model.path) {
                    Scored::Metrics(mut metrics) => {
                        metrics.extend(model.costs.clone());
                        Scored::Metrics(metrics)
                    }
                    other => other,
                };
                (Some(model), scored)
            }
        };
        if done.send(Answer { job, model, scored, seconds: begun.elapsed().as_secs_f64() }).is_err() {
            return;
        }
    }
}

/// Trials of the space before it was edited, as far as they are candidates of it still.
struct Earlier {
    kept: Vec<(Record, Assignment)>,
    /// The number of the first trial after them.
    first: u64,
}

impl Earlier {
    fn new(space: &Space, records: &[Record], models: &dyn Models) -> Earlier {
        let mut seen = HashSet::new();
        let kept = records.iter().filter_map(|record| {
            let assignment = space.from_earlier_json(&record.choices).ok()?;
            // A new condition may exclude it.
            models.feasible(&assignment).ok()?;
            // Two that differed in a decision that is gone are one now: the first stands.
            let budget = record.budget.map(f64::to_bits);
            seen.insert((assignment.key(), budget)).then(|| (record.clone(), assignment))
        });
        Earlier { kept: kept.collect(), first: records.last().map_or(0, |last| last.trial + 1) }
    }
}

/// The scores of a trial, if it has any.
fn record_scores(goals: &[Goal], record: &Record) -> Option<Vec<f64>> {
    match record.status {
        Status::Done => scores(goals, &record.metrics).ok(),
        Status::Failed => None,
    }
}

/// The results of the journal, by trial; and the candidates that were ruled out.
struct Replay {
    records: BTreeMap<u64, (Record, Assignment)>,
    ruled_out: HashMap<Vec<u8>, String>,
}

impl Replay {
    fn new(space: &Space, events: Vec<Event>, path: &Path) -> Result<Replay, JournalError> {
        let mut replay = Replay { records: BTreeMap::new(), ruled_out: HashMap::new() };
        for (number, event) in events.into_iter().enumerate() {
            let read = |choices: &Json| {
                space.from_json(choices).map_err(|misfit| JournalError::Corrupt {
                    path: path.into(),
                    line: number + 2,
                    why: misfit.to_string(),
                })
            };
            match event {
                Event::Trial(record) => {
                    let assignment = read(&record.choices)?;
                    replay.records.insert(record.trial, (record, assignment));
                }
                // `Journal::resume` has dealt with them.
                Event::Edited { .. } => {}
                Event::RuledOut { choices, reason } => {
                    replay.ruled_out.insert(read(&choices)?.key(), reason);
                }
            }
        }
        Ok(replay)
    }
}

enum Step {
    Start(Job),
    /// Nothing to wait for: on to the next proposal.
    Again,
    /// No proposal before another result is in.
    Wait,
    End(End),
}

struct Search<'a, 'w> {
    space: &'a Space,
    options: &'a Options,
    models: &'a dyn Models,
    engine: Engine<'a>,
    journal: Journal,
    replay: Replay,
    watch: &'w mut dyn FnMut(Happening),
    tally: Tally,
    /// Proposals that this space gets, those of the journal included.
    last: u64,
    running: usize,
}

impl Search<'_, '_> {
    fn steer(&mut self, stop: &AtomicBool, jobs: Sender<Job>, results: &Receiver<Answer>) -> Result<Outcome, SearchError> {
        let mut end = None;
        loop {
            while end.is_none() && self.engine.proposed() < self.last && !stop.load(Ordering::Relaxed) {
                match self.step()? {
                    Step::Start(job) => {
                        self.running += 1;
                        jobs.send(job).expect("workers wait for jobs");
                    }
                    Step::Again => {}
                    Step::Wait => break,
                    Step::End(why) => end = Some(why),
                }
            }
            if stop.load(Ordering::Relaxed) {
                end = Some(End::Stopped);
            }
            if self.running == 0 {
                break;
            }
            match results.recv_timeout(Duration::from_millis(100)) {
                Ok(answer) => self.ended(answer)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        drop(jobs);
        let end = end.unwrap_or(End::Trials);
        Ok(Outcome { progress: self.tally.progress(), end, front: self.tally.front() })
    }

    /// One proposal: tried, or known from the journal, or ruled out.
    fn step(&mut self) -> Result<Step, SearchError> {
        let (models, ruled_out) = (self.models, &self.replay.ruled_out);
        let mut known = false;
        let next = self.engine.next(&mut |candidate| match ruled_out.get(&candidate.key()) {
            Some(reason) => {
                known = true;
                Err(reason.clone())
            }
            None => models.feasible(candidate),
        });
        Ok(match next {
            Next::Try(job) => match self.replay.records.remove(&job.number) {
                Some((_, assignment)) if assignment != job.assignment => {
                    let path = self.options.journal.clone();
                    return Err(JournalError::Diverged { path, trial: job.number }.into());
                }
                Some((record, _)) => {
                    let best = self.count(&record);
                    self.models.known(&record, best);
                    Step::Again
                }
                None => Step::Start(job),
            },
            Next::Infeasible { assignment, reason } => {
                self.tally.progress.ruled_out += 1;
                if !known {
                    let choices = self.space.to_json(&assignment);
                    self.journal.append(&Event::RuledOut { choices, reason })?;
                }
                Step::Again
            }
            Next::Blocked => Step::Wait,
            Next::Done => Step::End(End::Exhausted),
            Next::Stuck { tried } => Step::End(End::Stuck { tried }),
        })
    }

    /// Takes a result into account; true if it is the best so far.
    fn count(&mut self, record: &Record) -> bool {
        let found = record_scores(&self.options.goals, record);
        self.engine.tell(record.trial, found.clone());
        self.tally.count(record, found)
    }

    fn ended(&mut self, answer: Answer) -> Result<(), SearchError> {
        self.running -= 1;
        let Answer { job, model, scored, seconds } = answer;
        let (status, metrics, reason) = match scored {
            // Not ended: it is proposed again when the search goes on.
            Scored::Stopped => return Ok(()),
            Scored::Failed(reason) => (Status::Failed, Metrics::new(), Some(reason)),
            Scored::Metrics(metrics) => match scores(&self.options.goals, &metrics) {
                Ok(_) => (Status::Done, metrics, None),
                Err(reason) => (Status::Failed, metrics, Some(reason)),
            },
        };
        let ended = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let choices = self.space.to_json(&job.assignment);
        let work = model.as_ref().and_then(|model| model.work);
        let record = Record { trial: job.number, choices, budget: job.budget, status, metrics, reason, work, seconds, ended };
        self.journal.append(&Event::Trial(record.clone()))?;
        self.tally.here += 1;
        let best = self.count(&record);
        self.models.ended(&record, model.as_ref(), best);
        (self.watch)(Happening::Ended { record: &record, progress: &self.tally.progress() });
        Ok(())
    }
}

/// Counts of trials, and the best of them.
pub(crate) struct Tally {
    progress: Progress,
    /// Trials ended in this run.
    here: u64,
    begun: Instant,
    front: Vec<(Record, Vec<f64>)>,
}

impl Tally {
    pub fn new(of: u64) -> Tally {
        let elapsed = Duration::ZERO;
        let progress = Progress { ended: 0, failed: 0, ruled_out: 0, of, best: None, elapsed, left: None };
        Tally { progress, here: 0, begun: Instant::now(), front: vec![] }
    }

    pub fn count(&mut self, record: &Record, scores: Option<Vec<f64>>) -> bool {
        self.progress.ended += 1;
        let Some(scores) = scores else {
            self.progress.failed += 1;
            return false;
        };
        // Scores on a small budget do not compete with those on a large one.
        let budget = |record: &Record| record.budget.unwrap_or(0.0);
        if self.front.iter().any(|(other, _)| budget(other) > budget(record)) {
            return false;
        }
        self.front.retain(|(other, _)| budget(other) == budget(record));
        let better = |a: &[f64], b: &[f64]| crate::algorithms::dominates(a, b);
        if self.front.iter().any(|(_, other)| better(other, &scores) || *other == scores) {
            return false;
        }
        self.front.retain(|(_, other)| !better(&scores, other));
        self.front.push((record.clone(), scores));
        self.front.sort_by_key(|(record, _)| record.trial);
        self.progress.best = self.front.iter().max_by(|a, b| a.1[0].total_cmp(&b.1[0])).map(|(r, _)| r.clone());
        true
    }

    fn progress(&self) -> Progress {
        let elapsed = self.begun.elapsed();
        let left = (self.here > 0)
            .then(|| elapsed.mul_f64((self.progress.of - self.progress.ended.min(self.progress.of)) as f64 / self.here as f64));
        Progress { elapsed, left, ..self.progress.clone() }
    }

    pub fn front(&self) -> Vec<Record> {
        self.front.iter().map(|(record, _)| record.clone()).collect()
    }
}
