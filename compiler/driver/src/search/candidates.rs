//! Candidates of a recipe of weights made into models.
//!
//! A candidate that differs from an earlier one in real numbers alone is run with the kernels and the plan of that one: nothing is
//! read, elaborated or compiled for it.

use crate::analyse::{Front, Request};
use crate::execute::internal;
use merge_abi::Plan;
use merge_base::Diagnostic;
use merge_codegen::{Cpu, Jit};
use merge_runtime::progress::Silent;
use merge_search::Assignment;
use merge_search::engine::Job;
use merge_search::journal::Record;
use merge_search::run::{Model, Models};
use merge_sema::space::{Answer, Domain};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A structure with its kernels.
pub(super) struct Compiled {
    plan: Plan,
    jit: Jit,
    kernels: Vec<String>,
}

pub(super) struct Candidates<'a> {
    pub(super) space: &'a merge_search::Space,
    pub(super) domains: &'a BTreeMap<String, Domain>,
    pub(super) request: &'a Request,
    pub(super) name: &'a str,
    pub(super) folder: &'a Path,
    pub(super) keep: bool,
    /// Whether candidates have to be asked whether they are any.
    pub(super) asks: bool,
    pub(super) threads: usize,
    /// By the answers that shape the graph.
    pub(super) compiled: Mutex<BTreeMap<String, Arc<Compiled>>>,
    pub(super) best: Mutex<Option<PathBuf>>,
}

/// Compiled structures that are kept.
const MOST_COMPILED: usize = 32;

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

    fn structure(&self, answers: &BTreeMap<String, Answer>) -> Result<Arc<Compiled>, String> {
        let shape: BTreeMap<&String, &Answer> =
            answers.iter().filter(|(_, a)| !matches!(a, Answer::Real(_) | Answer::Simplex(_))).collect();
        let key = format!("{shape:?}");
        if let Some(known) = self.compiled.lock().unwrap_or_else(|p| p.into_inner()).get(&key) {
            return Ok(known.clone());
        }
        let mut front = Front::read(self.request).map_err(|e| e.message)?;
        front.search(self.name);
        let elaborated = front.elaborate(answers, false);
        let fault = |found: &[Diagnostic]| found.iter().find(|d| d.is_error()).map(|d| d.message.clone());
        if let Some(message) = fault(&elaborated.diagnostics) {
            return Err(message);
        }
        let compiled = front.plan(&elaborated);
        if let Some(message) = fault(&compiled.diagnostics) {
            return Err(message);
        }
        let jit = Jit::compile(&compiled.kernels, &Cpu::Host).map_err(|e| internal(e).message)?;
        let kernels = compiled.kernels.iter().map(|k| k.name.clone()).collect();
        let made = Arc::new(Compiled { plan: compiled.plan, jit, kernels });
        let mut all = self.compiled.lock().unwrap_or_else(|p| p.into_inner());
        if all.len() >= MOST_COMPILED {
            all.pop_first();
        }
        all.insert(key, made.clone());
        Ok(made)
    }
}

impl Models for Candidates<'_> {
    fn feasible(&self, candidate: &Assignment) -> Result<(), String> {
        if !self.asks {
            return Ok(());
        }
        let mut front = Front::read(self.request).map_err(|e| e.message)?;
        let elaborated = front.elaborate(&self.answers(candidate), false);
        match elaborated.diagnostics.iter().find(|d| d.is_error()) {
            Some(d) => Err(d.message.clone()),
            None => Ok(()),
        }
    }

    fn materialise(&self, job: &Job) -> Result<Model, String> {
        let answers = self.answers(&job.assignment);
        let compiled = self.structure(&answers)?;
        let path = self.folder.join(job.number.to_string());
        let known: Vec<&str> = compiled.plan.settings.iter().map(|s| s.name.as_str()).collect();
        let mut settings = self.settings(&answers);
        settings.retain(|(name, _)| known.contains(&name.as_str()));
        let options = merge_runtime::Options {
            settings,
            out: Some(path.clone()),
            threads: Some(self.threads),
            ..merge_runtime::Options::default()
        };
        let kernel = |name: &String| compiled.jit.kernel(name).ok_or_else(|| format!("kernel `{name}` was not compiled"));
        let kernels = compiled.kernels.iter().map(kernel).collect::<Result<Vec<_>, _>>()?;
        merge_runtime::run(&compiled.plan, &kernels, &options, &Silent).map_err(|e| e.message)?;
        let tensors = compiled.plan.outputs.iter().flat_map(|o| &o.tensors);
        let (mut params, mut bytes) = (0.0, 0.0);
        for t in tensors {
            let entries: u64 = t.shape.iter().product();
            params += entries as f64;
            bytes += (entries * t.dtype.size()) as f64;
        }
        let costs = [("params".to_owned(), params), ("bytes".to_owned(), bytes)].into_iter().collect();
        Ok(Model { path, costs })
    }

    fn ended(&self, _record: &Record, model: Option<&Model>, best: bool) {
        let Some(model) = model else { return };
        if self.keep {
            return;
        }
        // The best model stays, as `NAME.trials/K`; the one before it goes.
        let mut kept = self.best.lock().unwrap_or_else(|p| p.into_inner());
        let gone = if best { kept.replace(model.path.clone()) } else { Some(model.path.clone()) };
        if let Some(gone) = gone {
            let _ = std::fs::remove_dir_all(&gone);
            let _ = std::fs::remove_file(&gone);
        }
    }
}
