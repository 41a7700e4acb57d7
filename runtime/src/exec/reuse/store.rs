//! What earlier runs left: values by identity, bounded in memory and on disk.

use super::identity::Digest;
use crate::exec::temps::Memory;
use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Statistics that are kept; each takes some dozen bytes.
const MOST_STATS: usize = 1 << 20;
/// Runs after the last use of a temporary during which it does not make room for others. So many different ones may be in
/// turn without pushing each other out again and again.
const PATIENCE: u64 = 16;

/// What runs of one process leave for later ones, see [`crate::run_reusing`]. Runs side by side may share one.
///
/// Kept are statistics, temporaries that a later run is likely to ask for (within a number of bytes), and the open files of the
/// models last used. A model whose folder is removed keeps its place on the disk until it falls out of these.
pub struct Reuse {
    /// Bytes of temporaries.
    memory: u64,
    /// Models.
    models: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Runs begun so far.
    run: u64,
    stats: HashMap<Digest, f64>,
    temps: HashMap<Digest, Temp>,
    temp_bytes: u64,
    /// Temporaries that an earlier run had to compute though they depend on settings: the second time they are kept.
    asked: HashMap<Digest, u64>,
    models: Vec<Model>,
}

struct Temp {
    memory: Arc<Memory>,
    used: u64,
}

/// A model that a run wrote.
struct Model {
    files: Vec<Kept>,
    tensors: HashMap<Digest, (usize, u64)>,
    used: u64,
}

struct Kept {
    file: Arc<File>,
    /// Length and time of change when it was complete. A program that scores models may write to them.
    state: Option<(u64, i64, i64)>,
}

/// Bytes of a tensor in the file of an earlier model.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub file: Arc<File>,
    pub offset: u64,
}

fn state_of(file: &File) -> Option<(u64, i64, i64)> {
    file.metadata().ok().map(|found| (found.len(), found.mtime(), found.mtime_nsec()))
}

impl Reuse {
    /// Nothing is known yet. `memory` is in bytes; at most so many `models` are held open.
    pub fn new(memory: u64, models: usize) -> Reuse {
        Reuse { memory, models, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run begins.
    pub(crate) fn begin(&self) {
        let mut state = self.lock();
        state.run += 1;
        let run = state.run;
        state.asked.retain(|_, last| *last + PATIENCE >= run);
    }

    /// Where the tensors of these identities lie in one earlier model or another.
    pub(crate) fn tensors(&self, wanted: &[Vec<Digest>]) -> Vec<Vec<Option<Found>>> {
        let mut state = self.lock();
        let run = state.run;
        // Those whose files were changed since are of no use.
        state.models.retain(|m| m.files.iter().all(|f| f.state.is_some() && state_of(&f.file) == f.state));
        let mut find = |digest: &Digest| {
            let model = state.models.iter_mut().rev().find(|m| m.tensors.contains_key(digest))?;
            model.used = run;
            let (file, offset) = model.tensors[digest];
            Some(Found { file: model.files[file].file.clone(), offset })
        };
        wanted.iter().map(|tensors| tensors.iter().map(&mut find).collect()).collect()
    }

    /// A statistic.
    pub(crate) fn stats(&self, wanted: &[Digest]) -> Vec<Option<f64>> {
        let state = self.lock();
        wanted.iter().map(|digest| state.stats.get(digest).copied()).collect()
    }

    /// The temporaries of these identities that are held.
    pub(crate) fn temps(&self, wanted: &[Digest]) -> Vec<Option<Arc<Memory>>> {
        let state = self.lock();
        wanted.iter().map(|digest| state.temps.get(digest).map(|t| t.memory.clone())).collect()
    }

    /// Says that a temporary that is held was of use.
    pub(crate) fn used(&self, temp: &Digest) {
        let mut state = self.lock();
        let run = state.run;
        if let Some(temp) = state.temps.get_mut(temp) {
            temp.used = run;
        }
    }

    pub(crate) fn keep_stat(&self, digest: Digest, value: f64) {
        let mut state = self.lock();
        if state.stats.len() >= MOST_STATS {
            state.stats.clear();
        }
        state.stats.insert(digest, value);
    }

    /// Keeps a temporary that a run computed, if it is `likely` to be wanted again or was computed before, and there is room.
    pub(crate) fn keep_temp(&self, digest: Digest, memory: &Arc<Memory>, likely: bool) {
        let mut state = self.lock();
        let run = state.run;
        let again = state.asked.insert(digest, run).is_some();
        let bytes = memory.bytes().len() as u64;
        if !(likely || again) || bytes > self.memory || state.temps.contains_key(&digest) {
            return;
        }
        while state.temp_bytes + bytes > self.memory {
            let old = state.temps.iter().filter(|(_, t)| t.used + PATIENCE < run);
            let Some(oldest) = old.min_by_key(|(digest, t)| (t.used, **digest)).map(|(digest, _)| *digest) else { return };
            if let Some(gone) = state.temps.remove(&oldest) {
                state.temp_bytes -= gone.memory.bytes().len() as u64;
            }
        }
        state.temp_bytes += bytes;
        state.temps.insert(digest, Temp { memory: memory.clone(), used: run });
    }

    /// Keeps the files of a model that is complete; `places` are the file and the offset of each tensor.
    pub(crate) fn keep_model(&self, files: Vec<Arc<File>>, places: impl Iterator<Item = (Digest, (usize, u64))>) {
        if self.models == 0 {
            return;
        }
        let mut state = self.lock();
        while state.models.len() >= self.models {
            let oldest = state.models.iter().enumerate().min_by_key(|(_, m)| m.used).map(|(at, _)| at);
            oldest.map(|at| state.models.remove(at));
        }
        let used = state.run;
        let files = files.into_iter().map(|file| Kept { state: state_of(&file), file }).collect();
        state.models.push(Model { files, tensors: places.collect(), used });
    }
}
