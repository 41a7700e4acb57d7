//! What a run starts from: opened checkpoints that fit the plan, and the values of its settings.

use super::Options;
use crate::{Error, checkpoint::Checkpoint, scalars::Scalars};
use merge_abi::{DType, Output, Plan, Source};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where a source of the plan lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePlace {
    /// Index into [`Inputs::checkpoints`].
    pub checkpoint: usize,
    /// Index into the checkpoint's files.
    pub file: usize,
    /// Position of its first byte in the file.
    pub offset: u64,
    pub dtype: DType,
}

/// The inputs of a run, opened and compared with the plan.
#[derive(Debug)]
pub struct Inputs {
    /// In the order of the plan.
    pub checkpoints: Vec<Checkpoint>,
    /// In the order of the plan's sources.
    pub sources: Vec<SourcePlace>,
}

/// Opens the checkpoints of a plan, or those that `options` puts in their place, and compares every tensor
/// that the plan reads: it must be there with the dtype and shape that the plan was made for.
///
/// # Errors
/// Of the usage, where `--model` names no checkpoint of the plan; else of the world.
pub fn prepare(plan: &Plan, options: &Options) -> Result<Inputs, Error> {
    for (name, _) in &options.models {
        if !plan.checkpoints.iter().any(|c| c.name == *name) {
            let known: Vec<&str> = plan.checkpoints.iter().map(|c| &*c.name).collect();
            return Err(unknown("checkpoint", name, &known));
        }
    }
    let mut checkpoints = Vec::with_capacity(plan.checkpoints.len());
    for checkpoint in &plan.checkpoints {
        let given = options.models.iter().rev().find(|m| m.0 == checkpoint.name);
        let path = given.map_or_else(|| options.resolve(&checkpoint.path), |m| m.1.clone());
        let opened = Checkpoint::open(&path).map_err(|e| match (given, &e.help) {
            (None, None) => e.with_help(format!("say where it is with `--model {}=PATH`", checkpoint.name)),
            _ => e,
        })?;
        if let (Some(config), Some(_)) = (&checkpoint.config, given) {
            same_adapter(config, &checkpoint.name, &path)?;
        }
        checkpoints.push(opened);
    }
    let mut sources = Vec::with_capacity(plan.sources.len());
    let mut wrong: Vec<Vec<String>> = vec![Vec::new(); plan.checkpoints.len()];
    for source in &plan.sources {
        let index = source.checkpoint as usize;
        match checkpoints[index].tensors.get(&source.name) {
            Some(t) if t.dtype == source.dtype && t.shape == source.shape => {
                sources.push(SourcePlace { checkpoint: index, file: t.file, offset: t.offset, dtype: t.dtype });
            }
            Some(t) => wrong[index].push(format!(
                "`{}` is {} {:?} and should be {} {:?}",
                source.name, t.dtype, t.shape, source.dtype, source.shape
            )),
            None => wrong[index].push(format!("`{}` ({} {:?}) is missing", source.name, source.dtype, source.shape)),
        }
    }
    match wrong.iter().position(|w| !w.is_empty()) {
        None => Ok(Inputs { checkpoints, sources }),
        Some(at) => Err(differs(&checkpoints[at].root, &plan.checkpoints[at].name, &wrong[at], &plan.sources, at)),
    }
}

/// Keys of an adapter's config that say nothing about what its factors do.
const ASIDE: [&str; 8] = [
    "base_model_name_or_path",
    "inference_mode",
    "lora_dropout",
    "modules_to_save",
    "peft_version",
    "revision",
    "target_modules",
    "task_type",
];

/// Checks that an adapter which takes another's place is scaled as that one was when the plan was made.
fn same_adapter(made_for: &str, name: &str, path: &Path) -> Result<(), Error> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let file = folder.join("adapter_config.json");
    let text = fs::read_to_string(&file).map_err(|e| Error::io("read", &file, &e))?;
    let read = |text: &str| -> Option<serde_json::Map<String, serde_json::Value>> {
        let mut map: serde_json::Map<_, _> = serde_json::from_str(text).ok()?;
        map.retain(|key, value| !value.is_null() && !ASIDE.contains(&&**key));
        Some(map)
    };
    if read(&text).is_some_and(|here| Some(here) == read(made_for)) {
        return Ok(());
    }
    Err(Error::usage(format!("`{}` scales its factors otherwise than the adapter `{name}` of the recipe", path.display()))
        .with_help("the scales are part of what was compiled: run or build the recipe with this adapter"))
}

fn differs(path: &Path, name: &str, wrong: &[String], sources: &[Source], at: usize) -> Error {
    const SHOWN: usize = 5;
    let of = sources.iter().filter(|s| s.checkpoint as usize == at).count();
    let more = if wrong.len() > SHOWN { format!("; and {} more", wrong.len() - SHOWN) } else { String::new() };
    Error::world(format!(
        "`{}` is not what the recipe was compiled for: {} of the {of} tensors it reads as `{name}` differ: {}{more}",
        path.display(),
        wrong.len(),
        wrong[..wrong.len().min(SHOWN)].join("; "),
    ))
    .with_help("give a checkpoint with the same tensor names, shapes and dtypes, or compile the recipe for this one")
}

/// The values of a plan's settings: its defaults and what `options` says instead, each within its range, with
/// the plan's constraints tried.
///
/// # Errors
/// Of the usage, where a name is unknown; of the recipe, where it does not allow the value.
pub fn settings(plan: &Plan, options: &Options) -> Result<Vec<f64>, Error> {
    let mut values: Vec<f64> = plan.settings.iter().map(|s| s.default).collect();
    for (name, value) in &options.settings {
        let Some(at) = plan.settings.iter().position(|s| s.name == *name) else {
            if let Some((_, fixed)) = plan.recipe.structural.iter().find(|s| s.0 == *name) {
                return Err(Error::usage(format!("`{name}` was fixed at {fixed} when the recipe was compiled"))
                    .with_help(format!("it shapes the model: compile again with `--set {name}=VALUE`")));
            }
            let known: Vec<&str> = plan.settings.iter().map(|s| &*s.name).collect();
            return Err(unknown("setting", name, &known));
        };
        if !value.is_finite() {
            return Err(Error::recipe(format!("`{name}` must be a finite number, and it is {value}")));
        }
        if let Some((low, high)) = plan.settings[at].range
            && !(low..=high).contains(value)
        {
            return Err(Error::recipe(format!("`{name}` is {value}, and the recipe allows {low} to {high}"))
                .with_help(format!("its default is {}", plan.settings[at].default)));
        }
        values[at] = *value;
    }
    let mut scalars = Scalars::new(plan, values.clone());
    for constraint in &plan.constraints {
        if scalars.value(constraint.scalar) == Some(0.0) {
            let said = if constraint.message.is_empty() { "a condition does not hold" } else { &*constraint.message };
            let values: Vec<String> = plan.settings.iter().zip(&values).map(|(s, v)| format!("{}={v}", s.name)).collect();
            return Err(Error::recipe(format!("{}: {said}", constraint.place))
                .with_help(format!("the settings are {}", values.join(", "))));
        }
    }
    Ok(values)
}

/// The outputs, at the places that `options` says.
///
/// # Errors
/// Of the usage, where `--out` could mean several.
pub(crate) fn outputs(plan: &Plan, options: &Options) -> Result<Vec<Output>, Error> {
    let mut outputs = plan.outputs.clone();
    match (&options.out, &mut outputs[..]) {
        (Some(out), [one]) => one.path = out.display().to_string(),
        (Some(_), all) => {
            return Err(Error::usage(format!("`--out` names one output, and the recipe saves {}", all.len()))
                .with_help("leave `--out` out: each `save` says where it goes"));
        }
        (None, all) => {
            for output in all {
                output.path = options.resolve(&output.path).display().to_string();
            }
        }
    }
    Ok(outputs)
}

fn unknown(what: &str, name: &str, known: &[&str]) -> Error {
    let near = known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(&k.to_lowercase(), &name.to_lowercase()), k))
        .filter(|(distance, k)| *distance <= k.len().max(name.len()) / 3 + 1)
        .min();
    let error = Error::usage(format!("the recipe has no {what} `{name}`"));
    match (near, known) {
        (Some((_, near)), _) => error.with_help(format!("did you mean `{near}`?")),
        (None, []) => error.with_help(format!("it has no {what} at all")),
        (None, known) => {
            error.with_help(format!("it has {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")))
        }
    }
}

impl Options {
    /// A path of the plan.
    fn resolve(&self, path: &str) -> PathBuf {
        match &self.base_dir {
            Some(base) => base.join(path),
            None => PathBuf::from(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use merge_abi::{BinaryFn, Constraint, Recipe, ScalarId, ScalarOp, Setting, SettingId};

    fn plan() -> Plan {
        Plan {
            recipe: Recipe { structural: vec![("method".into(), "ties".into())], ..Recipe::default() },
            settings: vec![
                Setting { name: "density".into(), default: 0.5, range: Some((0.0, 1.0)) },
                Setting { name: "epsilon".into(), default: 0.1, range: None },
            ],
            scalars: vec![
                ScalarOp::Setting(SettingId(0)),
                ScalarOp::Setting(SettingId(1)),
                ScalarOp::Binary(BinaryFn::Gt, ScalarId(0), ScalarId(1)),
            ],
            constraints: vec![Constraint {
                scalar: ScalarId(2),
                message: "density must be above epsilon".into(),
                place: "a.merge:3:4".into(),
            }],
            ..Plan::default()
        }
    }

    fn set(all: &[(&str, f64)]) -> Result<Vec<f64>, Error> {
        let settings = all.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
        settings_of(&Options { settings, ..Options::default() })
    }

    fn settings_of(options: &Options) -> Result<Vec<f64>, Error> {
        super::settings(&plan(), options)
    }

    #[test]
    fn settings_are_checked() {
        assert_eq!(set(&[]), Ok(vec![0.5, 0.1]));
        assert_eq!(set(&[("density", 0.2), ("density", 0.3)]), Ok(vec![0.3, 0.1]));
        let error = set(&[("densty", 0.2)]).unwrap_err();
        assert_eq!((error.kind, error.help.as_deref()), (Kind::Usage, Some("did you mean `density`?")));
        let error = set(&[("density", 1.5)]).unwrap_err();
        assert_eq!(error.kind, Kind::Recipe);
        assert_eq!(error.message, "`density` is 1.5, and the recipe allows 0 to 1");
        assert_eq!(set(&[("density", f64::NAN)]).unwrap_err().kind, Kind::Recipe);
        let error = set(&[("epsilon", 0.7)]).unwrap_err();
        assert_eq!(error.message, "a.merge:3:4: density must be above epsilon");
        assert!(set(&[("method", 1.0)]).unwrap_err().message.contains("fixed at ties"));
    }
}
