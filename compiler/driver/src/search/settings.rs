//! The `search` of a recipe and the flags of the command line, made into the options of a search.

use super::{Flags, Prepared};
use crate::analyse::Request;
use crate::space::OpenRecipe;
use merge_base::Diagnostic;
use merge_runtime::Error;
use merge_search::objective::Evaluate;
use merge_search::run::Options;
use merge_search::settings::NAMES;
use merge_search::{Algorithm, Goal};
use merge_sema::codes::spaces::BAD_SEARCH;
use merge_sema::hir::{Item, Plain, Program, Search};
use serde_json::{Map, Value as Json};
use std::path::Path;
use std::time::Duration;

/// What is wrong with the settings of the searches of a recipe.
pub(crate) fn check(program: &Program) -> Vec<Diagnostic> {
    let searches = program.items.iter().filter_map(|i| if let Item::Search(s) = i { Some(s) } else { None });
    searches.filter_map(|s| check_one(s).err()).map(|d| *d).collect()
}

fn check_one(search: &Search) -> Result<(), Box<Diagnostic>> {
    let (algorithm, _) = algorithm(search)?;
    let Some(setting) = search.settings.iter().find(|s| s.key == "evaluate") else { return Ok(()) };
    let fault = evaluation(&setting.value).and_then(|evaluate| evaluate.check(algorithm.uses_budget()).err());
    fault.map_or(Ok(()), |fault| Err(Box::new(Diagnostic::new(BAD_SEARCH, fault, setting.span, ""))))
}

/// What scores candidates.
fn evaluation(value: &Plain) -> Option<Evaluate> {
    match value {
        Plain::Call(kind, args) => match args.as_slice() {
            [(None, Plain::Str(text))] if kind == "process" => Some(Evaluate::Process(text.clone())),
            [(None, Plain::Str(text))] => Some(Evaluate::Command(text.clone())),
            _ => None,
        },
        _ => None,
    }
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
    let evaluate =
        setting("evaluate").and_then(evaluation).ok_or_else(|| Error::internal("a search that was checked has no evaluation"))?;
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
    let request = Request { space: Some(open.space.hash().to_owned()), ..request.clone() };
    let transfer = setting("transfer") == Some(&Plain::Bool(true));
    if transfer && open.costs.is_none_or(|costs| !costs.trains) {
        return Err(Error::usage(format!("`transfer` starts from what trials trained, and `{name}` has nothing to be trained"))
            .with_help("remove `transfer: true`, or search a network or an adapter with `new` tensors"));
    }
    Ok(Prepared { open, request, name, options, keep: flags.keep, transfer, folder })
}
