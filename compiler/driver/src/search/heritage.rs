//! Weight transfer from trial to trial: what an evaluation trained and left in its candidate's folder is where later candidates start,
//! as far as names and shapes agree (FlexiBERT, Tuli et al. 2022, arXiv 2205.11656, section 3.6).
//!
//! Which trial another one starts from is a function of the journal: only trials that every order of events has ended by then are
//! looked at, and of those the one that most entries can be taken from; of equal ones the latest.

use crate::analyse::{Trained, trained};
use merge_abi::Plan;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The file in a candidate's folder that an evaluation leaves.
pub(super) const LEFT: &str = "trained.safetensors";

pub(super) struct Heritage {
    /// What trials left, `K.safetensors` for each that left something.
    folder: PathBuf,
    /// Trials side by side.
    window: u64,
    known: Mutex<BTreeMap<u64, Trained>>,
}

impl Heritage {
    pub fn new(folder: PathBuf, window: usize) -> Heritage {
        Heritage { folder, window: window.max(1) as u64, known: Mutex::default() }
    }

    /// Keeps what a trial that is done has left in its folder, in place of what a trial of an earlier search with this number left. A trial
    /// that left nothing, or nothing that can be read, is none to start from.
    pub fn keep(&self, trial: u64, model: &Path) {
        let (left, kept) = (model.join(LEFT), self.kept(trial));
        let _ = std::fs::remove_file(&kept);
        if left.is_file() {
            // The folder of the best trial stays, with the file in it; a second name costs nothing where the file system has them. What
            // cannot be kept is none to start from.
            let _ = std::fs::create_dir_all(&self.folder)
                .and_then(|()| std::fs::hard_link(&left, &kept).or_else(|_| std::fs::copy(&left, &kept).map(drop)));
        }
        self.remember(trial);
    }

    /// Takes note of what was kept of a trial.
    pub fn remember(&self, trial: u64) {
        if let Ok(header) = trained(&self.kept(trial)) {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(trial, header);
        }
    }

    fn kept(&self, trial: u64) -> PathBuf {
        self.folder.join(format!("{trial}.safetensors"))
    }

    /// What a trial starts from: of the trials that have ended when it is proposed, the one with most entries in common.
    pub fn nearest(&self, trial: u64, plan: &Plan) -> Option<Trained> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = known.iter().filter(|(number, _)| **number + self.window <= trial);
        let shared = ended.map(|(number, trained)| (shared_entries(plan, trained), number, trained));
        let (entries, _, nearest) = shared.max_by_key(|(entries, number, _)| (*entries, **number))?;
        (entries > 0).then(|| nearest.clone())
    }
}

/// The entries of tensors that a plan writes and that have the same name and shape in a checkpoint.
fn shared_entries(plan: &Plan, (_, schema): &Trained) -> u64 {
    let written = plan.outputs.iter().flat_map(|o| &o.tensors);
    let same = written.filter(|t| schema.tensors.get(&t.name).is_some_and(|k| k.shape[..] == t.shape[..] && k.dtype.is_float()));
    same.map(|t| t.shape.iter().product::<u64>()).sum()
}
