//! The journal: one append-only file of JSON lines that is all a search leaves behind, and all it needs to go on.
//!
//! The first line says what is searched and how; each further line is a trial that ended or a candidate that was ruled out. A line is
//! written whole when its trial ends. Since proposals follow from results, what was running when the search was killed is
//! simply proposed again. A last line without its end (the machine stopped while it was written) is dropped.
//!
//! When the recipe is edited, its space changes, and with it all proposals. The search then goes on as one of the new space that knows
//! the earlier trials which are candidates of it still; a line says from where on.

use crate::engine::Metrics;
use crate::settings::{Algorithm, Goal};
use crate::space::Space;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The version of the format.
const VERSION: u32 = 1;

/// How long a lock is waited for. A process just started shares the locks of the one that starts it until it has
/// become its own program, so that a journal that was closed a moment ago may seem busy.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub merge_journal: u32,
    /// What is searched, by name.
    pub recipe: String,
    /// The hash of the space.
    pub space: String,
    pub algorithm: Algorithm,
    pub seed: u64,
    pub goals: Vec<Goal>,
    /// Trials side by side: proposal k knows the results of trials `0..=k-window`.
    pub window: usize,
    /// Each decision with its domains, so that two spaces can be compared.
    pub decisions: BTreeMap<String, String>,
}

impl Header {
    pub fn new(recipe: &str, space: &Space, algorithm: &Algorithm, seed: u64, goals: &[Goal], window: usize) -> Header {
        let decisions = space.decisions().into_iter().map(|(path, domains)| {
            let domains: Vec<String> = domains.iter().map(|domain| domain.to_string()).collect();
            (path.to_owned(), domains.join(" or "))
        });
        Header {
            merge_journal: VERSION,
            recipe: recipe.into(),
            space: space.hash().into(),
            algorithm: algorithm.clone(),
            seed,
            goals: goals.to_vec(),
            window,
            decisions: decisions.collect(),
        }
    }
}

/// A further line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Trial(Record),
    /// A constraint excludes the candidate.
    RuledOut {
        choices: Json,
        reason: String,
    },
    /// The recipe was edited: what comes after is a search of this space, to which the trials before it are known as far as
    /// they are candidates of it.
    Edited {
        space: String,
        decisions: BTreeMap<String, String>,
    },
}

/// What a journal says to a search that goes on with it.
#[derive(Debug, Default)]
pub struct Story {
    /// Trials of other spaces, in order: the recipe was edited after them.
    pub earlier: Vec<Record>,
    /// Of the space at hand.
    pub events: Vec<Event>,
    /// Whether it was edited just now, and in what the space differs from the last one.
    pub edited: Option<Vec<String>>,
}

/// A trial that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub trial: u64,
    /// From the path of each decision to its value.
    pub choices: Json,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    pub status: Status,
    /// What the objective printed, and the costs known without trying. May be there for a failed trial too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: Metrics,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What making its model took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    /// Seconds from the proposal's start to its end.
    pub seconds: f64,
    /// When it ended, in seconds since 1970.
    pub ended: u64,
}

/// What making a model took, where others before it had left something to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Tensors of the model.
    pub tensors: u64,
    /// Those that were computed; the others came from models of earlier trials.
    pub computed: u64,
    /// Kernels that were compiled.
    pub compiled: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Done,
    Failed,
}

/// Why a journal cannot be used.
#[derive(Debug)]
pub enum JournalError {
    Io {
        path: PathBuf,
        error: io::Error,
    },
    /// There is one, and it was not asked to go on with it.
    Exists {
        path: PathBuf,
    },
    /// Another process writes to it.
    Busy {
        path: PathBuf,
    },
    NotAJournal {
        path: PathBuf,
    },
    Version {
        path: PathBuf,
        found: u32,
    },
    /// None of its trials is a candidate: the decisions that differ, in words.
    OtherSpace {
        path: PathBuf,
        differences: Vec<String>,
    },
    /// It is of another search.
    OtherSettings {
        path: PathBuf,
        setting: &'static str,
        there: String,
        here: String,
    },
    Corrupt {
        path: PathBuf,
        line: usize,
        why: String,
    },
    /// A trial is not the one that is proposed at its place.
    Diverged {
        path: PathBuf,
        trial: u64,
    },
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            JournalError::Io { path, error } => write!(f, "the journal {}: {error}", path.display()),
            JournalError::Exists { path } => {
                write!(
                    f,
                    "the journal {} exists; --resume goes on with it, and a search starts anew where it is moved away",
                    path.display()
                )
            }
            JournalError::Busy { path } => write!(f, "another search is writing to the journal {}", path.display()),
            JournalError::NotAJournal { path } => write!(f, "{} is not a journal of a search", path.display()),
            JournalError::Version { path, found } => {
                write!(f, "the journal {} has format {found}; this program reads {VERSION}", path.display())
            }
            JournalError::OtherSpace { path, differences } => write!(
                f,
                "the journal {} is of another space, none of its trials is a candidate of this one: {}; a search starts anew where the \
                 journal is moved away",
                path.display(),
                differences.join("; ")
            ),
            JournalError::OtherSettings { path, setting, there, here } => {
                let path = path.display();
                write!(
                    f,
                    "the journal {path} is of another search: {setting} is {there} there and {here} here; it goes on with what it began \
                     with, and a search starts anew where the journal is moved away"
                )
            }
            JournalError::Corrupt { path, line, why } => write!(f, "{}:{line}: {why}", path.display()),
            JournalError::Diverged { path, trial } => write!(
                f,
                "the journal {}: trial {trial} is not the candidate that is proposed there; the journal was edited, or \
                 written by another version",
                path.display()
            ),
        }
    }
}

impl std::error::Error for JournalError {}

/// A journal open for appending; no other process can open it so meanwhile.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// A new journal. `path` must not exist, or be empty.
    pub fn create(path: &Path, header: &Header) -> Result<Journal, JournalError> {
        let mut journal = Journal::open(path)?;
        if journal.file.metadata().map_err(|error| journal.io(error))?.len() > 0 {
            return Err(JournalError::Exists { path: path.into() });
        }
        journal.line(header)?;
        Ok(journal)
    }

    /// Goes on with a journal of the same search, and gives what is in it; makes one where there is none. Where the space has
    /// changed ([`Story::edited`]), the caller says so in the journal if anything is kept.
    pub fn resume(path: &Path, header: &Header) -> Result<(Journal, Story), JournalError> {
        let mut journal = Journal::open(path)?;
        let mut bytes = vec![];
        journal.file.read_to_end(&mut bytes).map_err(|error| journal.io(error))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if whole == 0 {
            // Nothing, or a header cut short: it must at least have begun as one.
            if !bytes.is_empty() && !bytes.starts_with(b"{") {
                return Err(JournalError::NotAJournal { path: path.into() });
            }
            journal.truncate(0)?;
            journal.line(header)?;
            return Ok((journal, Story::default()));
        }
        let (found, events) = parse(path, &bytes[..whole])?;
        let story = compare(path, &found, events, header)?;
        journal.truncate(whole as u64)?;
        Ok((journal, story))
    }

    fn open(path: &Path) -> Result<Journal, JournalError> {
        let io = |error| JournalError::Io { path: path.into(), error };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(io)?;
        let patience = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if Instant::now() < patience => std::thread::sleep(Duration::from_millis(20)),
                Err(TryLockError::WouldBlock) => return Err(JournalError::Busy { path: path.into() }),
                // A file system without locks is no reason not to search.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Journal { path: path.into(), file }),
            }
        }
    }

    fn io(&self, error: io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), error }
    }

    fn truncate(&mut self, length: u64) -> Result<(), JournalError> {
        self.file.set_len(length).map_err(|error| self.io(error))?;
        self.file.seek(SeekFrom::End(0)).map(|_| ()).map_err(|error| self.io(error))
    }

    pub fn append(&mut self, event: &Event) -> Result<(), JournalError> {
        self.line(event)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn line<T: Serialize>(&mut self, value: &T) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(value).expect("plain data");
        line.push(b'\n');
        self.file.write_all(&line).map_err(|error| self.io(error))
    }
}

/// Reads a journal without opening it for writing: for reports.
pub fn read(path: &Path) -> Result<(Header, Vec<Event>), JournalError> {
    let bytes = std::fs::read(path).map_err(|error| JournalError::Io { path: path.into(), error })?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    parse(path, &bytes[..whole])
}

fn parse(path: &Path, bytes: &[u8]) -> Result<(Header, Vec<Event>), JournalError> {
    let mut lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    let not = || JournalError::NotAJournal { path: path.into() };
    let (_, first) = lines.next().ok_or_else(not)?;
    let first: Json = serde_json::from_slice(first).map_err(|_| not())?;
    let found = first.get("merge_journal").and_then(Json::as_u64).ok_or_else(not)?;
    if found != u64::from(VERSION) {
        return Err(JournalError::Version { path: path.into(), found: found as u32 });
    }
    let corrupt = |line: usize, why: String| JournalError::Corrupt { path: path.into(), line: line + 1, why };
    let header: Header = serde_json::from_value(first).map_err(|error| corrupt(0, error.to_string()))?;
    let mut events = vec![];
    let mut trials = std::collections::BTreeSet::new();
    for (number, line) in lines {
        let event = serde_json::from_slice(line).map_err(|error| corrupt(number, error.to_string()))?;
        if let Event::Trial(record) = &event
            && !trials.insert(record.trial)
        {
            return Err(corrupt(number, format!("trial {} is there twice", record.trial)));
        }
        events.push(event);
    }
    Ok((header, events))
}

/// Whether a journal is of the search at hand, but for edits of its recipe; and what is in it.
fn compare(path: &Path, there: &Header, events: Vec<Event>, here: &Header) -> Result<Story, JournalError> {
    let other = |setting, there: String, here: String| {
        if there == here {
            return Ok(());
        }
        Err(JournalError::OtherSettings { path: path.into(), setting, there, here })
    };
    let text = |algorithm: &Algorithm| serde_json::to_string(algorithm).expect("plain data");
    let goals = |header: &Header| serde_json::to_string(&header.goals).expect("plain data");
    other("what is searched", there.recipe.clone(), here.recipe.clone())?;
    other("the algorithm", text(&there.algorithm), text(&here.algorithm))?;
    other("the seed", there.seed.to_string(), here.seed.to_string())?;
    other("what is maximized or minimized", goals(there), goals(here))?;
    other("the number of trials side by side (--parallel)", there.window.to_string(), here.window.to_string())?;

    let mut story = Story::default();
    let (mut space, mut decisions) = (there.space.clone(), there.decisions.clone());
    for event in events {
        match event {
            Event::Edited { space: s, decisions: d } => {
                (space, decisions) = (s, d);
                // A condition that ruled a candidate out may be gone.
                let trials = story.events.drain(..).filter_map(|e| if let Event::Trial(r) = e { Some(r) } else { None });
                story.earlier.extend(trials);
            }
            event => story.events.push(event),
        }
    }
    if space != here.space {
        let trials = story.events.drain(..).filter_map(|e| if let Event::Trial(r) = e { Some(r) } else { None });
        story.earlier.extend(trials);
        story.edited = Some(differences(&decisions, &here.decisions));
    }
    story.earlier.sort_by_key(|record| record.trial);
    Ok(story)
}

/// The decisions in which two spaces differ, in words.
fn differences(there: &BTreeMap<String, String>, here: &BTreeMap<String, String>) -> Vec<String> {
    const SHOWN: usize = 8;
    let mut found = vec![];
    for (path, domain) in there {
        match here.get(path) {
            None => found.push(format!("`{path}` is only in the journal")),
            Some(now) if now != domain => found.push(format!("`{path}` was {domain} and is {now}")),
            Some(_) => {}
        }
    }
    found.extend(here.keys().filter(|path| !there.contains_key(*path)).map(|path| format!("`{path}` is new")));
    if found.is_empty() {
        return vec!["its decisions are the same, but their defaults or what depends on them differ".into()];
    }
    let more = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    found
}
