//! Candidates of a recipe of weights made into models.
//!
//! A candidate that differs from an earlier one in arguments alone is run with the kernels and the plan of that one: nothing is
//! read, elaborated or compiled for it (`structures`). And of its tensors those alone are computed that no earlier model has
//! (`merge_runtime::Reuse`).

use super::costs::costs;
use super::heritage::{Heritage, LEFT};
use super::structures::{Structure, Structures};
use merge_runtime::{Reuse, progress::Silent};
use merge_search::Assignment;
use merge_search::engine::Job;
use merge_search::journal::{Record, Status, Work};
use merge_search::run::{Model, Models};
use merge_sema::space::{Answer, Domain};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Bytes of temporaries that are kept between trials.
pub(super) const KEPT_MEMORY: u64 = 1 << 30;

pub(super) struct Candidates<'a> {
    pub(super) space: &'a merge_search::Space,
    pub(super) domains: &'a BTreeMap<String, Domain>,
    pub(super) folder: &'a Path,
    pub(super) keep: bool,
    /// Whether an earlier process may have left something.
    pub(super) resumed: bool,
    pub(super) threads: usize,
    pub(super) structures: Structures<'a>,
    /// What trials leave to later ones.
    pub(super) reuse: Reuse,
    /// What trials trained, where later ones shall start from it.
    pub(super) heritage: Option<Heritage>,
    pub(super) best: Mutex<Option<PathBuf>>,
}

impl Candidates<'_> {
    fn answers(&self, candidate: &Assignment) -> BTreeMap<String, Answer> {
        crate::space::answers(self.space, candidate, self.domains)
    }

    /// The launch scalars among answers, by the names of their settings.
    fn settings(&self, answers: &BTreeMap<String, Answer>) -> Vec<(String, f64)> {
        let mut found = Vec::new();
        for (id, answer) in answers {
            match (answer, self.domains.get(id)) {
                (Answer::Real(x), _) => found.push((id.clone(), *x)),
                (Answer::Simplex(w), _) => {
                    let (_, free) = w.split_last().unwrap_or((&0.0, &[]));
                    found.extend(free.iter().enumerate().map(|(i, x)| (format!("{id}.{i}"), *x)));
                }
                (Answer::Label(text), _) => found.extend(text.parse().ok().map(|x| (id.clone(), x))),
                (Answer::Member(i), Some(Domain::Members { labels, .. })) => {
                    // Only where the member is a number that stays an argument; others are no settings of the plan.
                    if let Some(x) = labels.get(*i).and_then(|l| l.parse().ok()) {
                        found.push((id.clone(), x));
                    }
                }
                _ => {}
            }
        }
        found
    }
}

impl Candidates<'_> {
    /// What a candidate says to the plan of its structure.
    fn options(&self, structure: &Structure, answers: &BTreeMap<String, Answer>) -> merge_runtime::Options {
        let known = |name: &String| structure.plan.settings.iter().any(|s| s.name == *name);
        let settings = self.settings(answers).into_iter().filter(|(name, _)| known(name)).collect();
        merge_runtime::Options { settings, threads: Some(self.threads), ..merge_runtime::Options::default() }
    }
}

impl Models for Candidates<'_> {
    fn feasible(&self, candidate: &Assignment) -> Result<(), String> {
        let answers = self.answers(candidate);
        // Conditions that reals are in are part of the plan: a candidate whose structure is known is not elaborated.
        let structure = self.structures.of(&answers)?;
        merge_runtime::settings(&structure.plan, &self.options(&structure, &answers)).map(drop).map_err(|e| e.message)
    }

    fn materialise(&self, job: &Job) -> Result<Model, String> {
        let answers = self.answers(&job.assignment);
        let structure = self.to_make(job.number, &answers)?;
        let (kernels, compiled) = self.structures.load(&structure)?;
        let plan = &structure.plan;
        let path = self.folder.join(job.number.to_string());
        if self.resumed {
            self.clear(job.number);
        }
        let options = merge_runtime::Options { out: Some(path.clone()), ..self.options(&structure, &answers) };
        let run = merge_runtime::run_reusing(plan, &kernels, &structure.codes, &options, &Silent, &self.reuse);
        let summary = run.map_err(|e| e.message)?;
        let costs = costs(plan, &path);
        let work = Work { tensors: summary.tensors, computed: summary.tensors - summary.reused, compiled };
        Ok(Model { path, costs, work: Some(work) })
    }

    fn ended(&self, record: &Record, model: Option<&Model>, best: bool) {
        if let Some(model) = model {
            if let (Some(heritage), Status::Done) = (&self.heritage, record.status) {
                heritage.keep(record.trial, &model.path);
            }
            self.settle(model.path.clone(), best);
        }
    }

    /// What a search that was killed left behind is put in order: of the models that are still there the best stays.
    fn known(&self, record: &Record, best: bool) {
        let path = self.folder.join(record.trial.to_string());
        if let (Some(heritage), Status::Done) = (&self.heritage, record.status) {
            // The process may have been killed before it kept what the journal has.
            match path.join(LEFT).is_file() {
                true => heritage.keep(record.trial, &path),
                false => heritage.remember(record.trial),
            }
        }
        if path.exists() {
            self.settle(path, best);
        }
    }
}

impl Candidates<'_> {
    /// The structure of a trial: of its candidate, started from what the nearest of the trials before it trained.
    fn to_make(&self, trial: u64, answers: &BTreeMap<String, Answer>) -> Result<Arc<Structure>, String> {
        let plain = self.structures.of(answers)?;
        match self.heritage.as_ref().and_then(|h| h.nearest(trial, &plain.plan)) {
            Some(trained) => self.structures.starting_from(trained, answers).map(Arc::new),
            None => Ok(plain),
        }
    }

    /// The best model stays, as `NAME.trials/K`; the one before it goes.
    fn settle(&self, model: PathBuf, best: bool) {
        if self.keep {
            return;
        }
        let mut kept = self.best.lock().unwrap_or_else(|p| p.into_inner());
        let gone = if best { kept.replace(model) } else { Some(model) };
        if let Some(gone) = gone {
            let _ = std::fs::remove_dir_all(&gone);
            let _ = std::fs::remove_file(&gone);
        }
    }

    /// Removes what a run of this trial left unfinished when it was killed.
    fn clear(&self, trial: u64) {
        let begun = format!(".{trial}.partial-");
        for entry in std::fs::read_dir(self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&begun) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}
