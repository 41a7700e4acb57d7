//! `search`: the settings of the file and the flags made into a search, and candidates made into models for it.
//!
//! A candidate that differs from an earlier one in real numbers alone is run with the kernels and the plan of that one: nothing is
//! read, elaborated or compiled for it.

use crate::analyse::{Front, Request};
use crate::execute::internal;
use crate::space::OpenRecipe;
use merge_abi::Plan;
use merge_base::Diagnostic;
use merge_codegen::{Cpu, Jit};
use merge_runtime::{Error, progress::Silent};
use merge_search::engine::Job;
use merge_search::journal::Record;
use merge_search::objective::Evaluate;
use merge_search::run::{Happening, Model, Models, Options, Outcome, run_search};
use merge_search::settings::NAMES;
use merge_search::{Algorithm, Assignment, Goal};
use merge_sema::codes::spaces::BAD_SEARCH;
use merge_sema::hir::{Item, Plain, Program, Search};
use merge_sema::space::{Answer, Domain};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the command line says in place of the file.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Which of several searches.
    pub name: Option<String>,
    pub using: Option<String>,
    pub seed: Option<u64>,
    pub trials: Option<u64>,
    pub parallel: Option<usize>,
    pub resume: bool,
    /// Keep the model of every trial, not of the best alone.
    pub keep: bool,
}

/// What is wrong with the settings of the searches of a recipe.
pub(crate) fn check(program: &Program) -> Vec<Diagnostic> {
    let searches = program.items.iter().filter_map(|i| if let Item::Search(s) = i { Some(s) } else { None });
    searches.filter_map(|s| algorithm(s).err()).map(|d| *d).collect()
}

/// The algorithm that a search names, with its seed.
fn algorithm(search: &Search) -> Result<(Algorithm, u64), Box<Diagnostic>> {
    let Some(using) = search.settings.iter().find(|s| s.key == "using") else { return Ok((Algorithm::default(), 0)) };
    let (name, args) = match &using.value {
        Plain::Call(name, args) => (name.as_str(), args.as_slice()),
        Plain::Word(name) => (name.as_str(), &[][..]),
        _ => ("", &[][..]),
    };
    let mut seed = 0;
    let mut settings = Map::new();
    for (key, value) in args {
        match (key.as_deref(), value) {
            (Some("seed"), Plain::Int(n)) => seed = *n as u64,
            (Some(key), value) => drop(settings.insert(key.to_owned(), json(value))),
            (None, _) => {}
        }
    }
    if !NAMES.contains(&name) {
        let d = Diagnostic::new(BAD_SEARCH, format!("there is no algorithm `{name}`"), using.span, "unknown");
        return Err(Box::new(match merge_base::did_you_mean(name, NAMES.iter().copied()) {
            Some(close) => d.help(format!("did you mean `{close}`?")),
            None => d.help(format!("there are {}", merge_base::list_names(NAMES, NAMES.len()))),
        }));
    }
    match Algorithm::parse(name, settings) {
        Ok(algorithm) => Ok((algorithm, seed)),
        Err(fault) => Err(Box::new(Diagnostic::new(BAD_SEARCH, fault, using.span, ""))),
    }
}

fn json(value: &Plain) -> Json {
    match value {
        Plain::Int(i) => Json::from(*i),
        Plain::Float(f) => Json::from(*f),
        Plain::Bool(b) => Json::from(*b),
        Plain::Str(s) | Plain::Word(s) => Json::from(s.as_str()),
        Plain::List(l) => l.iter().map(json).collect(),
        Plain::Call(name, _) => Json::from(name.as_str()),
    }
}

/// A search that can be run.
pub struct Prepared {
    open: OpenRecipe,
    request: Request,
    pub name: String,
    pub options: Options,
    keep: bool,
    /// Where trials put their models.
    folder: PathBuf,
}

/// The search of a recipe whose space is known.
///
/// # Errors
/// Of the usage: no such search, flags that fit nothing.
pub fn prepare(request: &Request, open: OpenRecipe, flags: &Flags) -> Result<Prepared, Error> {
    let searches = open.front.hir.items.iter().filter_map(|i| if let Item::Search(s) = i { Some(s) } else { None });
    let all: Vec<&Search> = searches.map(|s| &**s).collect();
    let search = match (&flags.name, all.as_slice()) {
        (_, []) => {
            return Err(Error::usage("the recipe has no `search`")
                .with_help("add one: search candidate { evaluate: command(\"./score.sh {model}\"), maximize: \"accuracy\" }"));
        }
        (Some(name), all) => {
            all.iter().find(|s| s.name == *name).ok_or_else(|| Error::usage(format!("the recipe has no search `{name}`")))?
        }
        (None, [one]) => one,
        (None, all) => {
            let names: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
            return Err(Error::usage(format!("the recipe has {} searches", all.len()))
                .with_help(format!("say which: `--name {}`", names.join("` or `--name "))));
        }
    };
    if search.save.is_none() {
        return Err(Error::usage(format!("`{}` is a network, and candidates of networks cannot be built yet", search.name))
            .with_help("`mergec space` counts them, and prints candidates with `--sample` and `--unrank`"));
    }
    let setting = |key: &str| search.settings.iter().find(|s| s.key == key).map(|s| &s.value);
    let names = |key: &str, maximize: bool| -> Vec<Goal> {
        let list = match setting(key) {
            Some(Plain::List(l)) => l.clone(),
            Some(one) => vec![one.clone()],
            None => Vec::new(),
        };
        let name = |v: Plain| match v {
            Plain::Str(metric) | Plain::Word(metric) => Some(Goal { metric, maximize }),
            _ => None,
        };
        list.into_iter().filter_map(name).collect()
    };
    let evaluate = match setting("evaluate") {
        Some(Plain::Call(kind, args)) => match args.as_slice() {
            [(None, Plain::Str(text))] if kind == "process" => Evaluate::Process(text.clone()),
            [(None, Plain::Str(text))] => Evaluate::Command(text.clone()),
            _ => return Err(Error::internal("an evaluation that was checked has no text")),
        },
        _ => return Err(Error::internal("a search that was checked has no evaluation")),
    };
    let (mut algorithm, mut seed) = algorithm(search).map_err(|d| Error::usage(d.message))?;
    if let Some(name) = &flags.using {
        algorithm = Algorithm::parse(name, Map::new()).map_err(Error::usage)?;
    }
    seed = flags.seed.unwrap_or(seed);
    let count = |key: &str| match setting(key) {
        Some(Plain::Int(n)) => Some(*n as u64),
        _ => None,
    };
    let timeout = match setting("timeout") {
        Some(Plain::Int(s)) => Some(Duration::from_secs(*s as u64)),
        Some(Plain::Float(s)) => Some(Duration::from_secs_f64(*s)),
        _ => None,
    };
    let absolute = std::path::absolute(&request.file).unwrap_or(request.file.clone());
    let directory = absolute.parent().map(Path::to_owned).unwrap_or_default();
    let name = search.name.clone();
    let mut goals = names("maximize", true);
    goals.extend(names("minimize", false));
    let options = Options {
        recipe: name.clone(),
        algorithm,
        seed,
        goals,
        trials: flags.trials.or(count("trials")).unwrap_or(64),
        parallel: flags.parallel.or(count("parallel").map(|n| n as usize)).unwrap_or(1),
        evaluate,
        timeout,
        journal: directory.join(format!("{name}.trials.jsonl")),
        directory: Some(directory.clone()),
        resume: flags.resume,
    };
    let folder = directory.join(format!("{name}.trials"));
    Ok(Prepared { open, request: request.clone(), name, options, keep: flags.keep, folder })
}

impl Prepared {
    /// Runs the search and tells `watch` what happens.
    ///
    /// # Errors
    /// Of the settings, or of the journal.
    pub fn run(&self, stop: &AtomicBool, watch: &mut dyn FnMut(Happening)) -> Result<Outcome, Error> {
        std::fs::create_dir_all(&self.folder)
            .map_err(|e| Error::world(format!("cannot make the folder `{}`: {e}", self.folder.display())))?;
        let candidates = Candidates {
            space: &self.open.space,
            domains: &self.open.domains,
            request: &self.request,
            name: &self.name,
            folder: &self.folder,
            keep: self.keep,
            asks: !self.open.counted,
            threads: std::thread::available_parallelism().map_or(1, usize::from).div_ceil(self.options.parallel.max(1)),
            compiled: Mutex::default(),
            best: Mutex::default(),
        };
        run_search(&self.open.space, &self.options, &candidates, stop, watch).map_err(|e| Error::usage(e.to_string()))
    }

    /// The space that is searched.
    pub fn open(&self) -> &OpenRecipe {
        &self.open
    }

    /// The choices of a trial as a file that `--with` takes; the journal counts the members of lists, such a file names them.
    pub fn choices_text(&self, choices: &Json) -> String {
        match self.open.space.from_json(choices) {
            Ok(candidate) => self.open.choices_text(&candidate),
            Err(_) => choices.to_string(),
        }
    }

    /// The page of the journal, as HTML.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn report(&self) -> Result<String, Error> {
        let (header, events) = merge_search::journal::read(&self.options.journal).map_err(|e| Error::world(e.to_string()))?;
        Ok(merge_search::report::page(&self.open.space, &header, &events))
    }
}

/// A structure with its kernels.
struct Compiled {
    plan: Plan,
    jit: Jit,
    kernels: Vec<String>,
}

struct Candidates<'a> {
    space: &'a merge_search::Space,
    domains: &'a BTreeMap<String, Domain>,
    request: &'a Request,
    name: &'a str,
    folder: &'a Path,
    keep: bool,
    /// Whether candidates have to be asked whether they are any.
    asks: bool,
    threads: usize,
    /// By the answers that shape the graph.
    compiled: Mutex<BTreeMap<String, Arc<Compiled>>>,
    best: Mutex<Option<PathBuf>>,
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
