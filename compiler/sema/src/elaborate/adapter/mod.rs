//! Adapters: `adapter(path, on: base)` as a model of deltas.
//!
//! A file of factors is read as headers and a config only. Each of its tensors is assigned to a module of the base
//! by name, and each module's change is built as nodes from the factors' loads, so that everything which can be
//! done with a delta can be done with an adapter, and nothing is computed that is not asked for.
//!
//! | file | job |
//! |---|---|
//! | `config` | `adapter_config.json` |
//! | `keys` | names of tensors taken apart |
//! | `delta`, `nodes` | the formulas of the kinds |
//! | `factors` | a delta as a product of two factors, read off its nodes |
//! | `peft` | `save .. as peft` |
//!
//! Invariants: every tensor of the file is used or complained about; a change has the shape of the weight it is
//! for; several faults of one file are one diagnostic for each sort of fault.
//!
//! Not here: adapters as methods with factors at hand (`std.adapters`).

mod config;
mod delta;
mod factors;
mod keys;
mod nodes;
mod peft;

pub(crate) use factors::{factor_pair, factors};
pub(super) use keys::is_factor;
pub(super) use peft::is_embedding;

use super::context::Cx;
use super::files::Opening;
use super::model::Model;
use super::names::NameId;
use crate::codes::{adapters as codes, types};
use crate::degree::Degree;
use crate::value::{Args, Argument, Reported, TensorVal, Value};
use config::{Config, ConfigFault};
use delta::{Adapter, Fault, Module};
use keys::{Key, Part, Style};
use merge_base::{Diagnostic, Span, did_you_mean, list_names};
use merge_ir::tir::NodeId;
use nodes::Nodes;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;
use std::rc::Rc;

/// What the file beside an adapter's tensors is called.
const CONFIG: &str = "adapter_config.json";

/// What is remembered of the adapters of a recipe, for what is saved of them.
#[derive(Default)]
pub(super) struct Adapters {
    /// By checkpoint.
    origins: FxHashMap<u32, Origin>,
    /// Tensors that some adapter treats as an embedding.
    embeddings: FxHashSet<NameId>,
    /// Tensors that some adapter takes to be stored `[in, out]`.
    turned: FxHashSet<NameId>,
}

/// What an adapter's config says of where it comes from.
#[derive(Clone, Default)]
struct Origin {
    /// `base_model_name_or_path`.
    base: Option<String>,
    task_type: Option<String>,
}

/// The tensors of an adapter by what they are for.
#[derive(Default)]
struct Sorted {
    /// By the module's name in the file.
    modules: BTreeMap<String, BTreeMap<Part, NodeId>>,
    shared: BTreeMap<Part, NodeId>,
    /// Whole tensors, by their name in the base.
    full: BTreeMap<String, NodeId>,
    /// Keys of no known form.
    unknown: Vec<String>,
}

/// What does not fit, gathered over the whole file.
#[derive(Default)]
struct Misfits {
    /// Keys or modules that the base has nothing for, with what they would be called there.
    homeless: Vec<(String, String)>,
    lacks: Vec<String>,
    shapes: Vec<String>,
    ranks: Vec<String>,
    kinds: Vec<String>,
    buffers: Vec<String>,
}

impl<'p> Cx<'p> {
    /// `adapter(path, on: m, part: prefix)`.
    pub(super) fn adapter(&mut self, args: &Args, span: Span) -> Value {
        self.read_adapter(args, span).map(Value::Model).into()
    }

    fn read_adapter(&mut self, args: &Args, span: Span) -> Result<Rc<Model>, Reported> {
        let index = self.opened_for(args, Opening::Adapter)?;
        let (Some(path), Some(on_arg)) = (args.get(0), args.get(1)) else { return Err(Reported) };
        let on = match &on_arg.value {
            Value::Model(m) => m.clone(),
            Value::Poison => return Err(Reported),
            other => {
                let message = format!("`on` wants the model that the adapter is for, and this is {}", other.kind());
                return Err(self.error(types::WRONG_KIND, message, on_arg.span, ""));
            }
        };
        let keys = self.keys_of(index, args.get(2), path.span)?;
        let style = keys::style_of(keys.iter().map(|k| &**self.names.text(*k)));
        let config = match style {
            Style::Kohya => None,
            Style::Peft => Some(self.config_of(index, path.span)?),
        };
        let sorted = self.sort_keys(index, &keys, style);
        let origin = config.as_ref().map(|c| Origin { base: c.base.clone(), task_type: c.task_type.clone() }).unwrap_or_default();
        self.adapters.origins.insert(index, origin);
        let mut misfits = Misfits::default();
        misfits.homeless.extend(sorted.unknown.iter().map(|k| (k.clone(), String::new())));
        let changes = self.changes(&sorted, style, config.as_ref(), &on, &mut misfits, span)?;
        self.report_misfits(&misfits, style, &on, path.span, on_arg.span)?;
        let tensors = changes.into_iter().map(|(name, node)| (name, Ok(TensorVal::new(node, Degree::delta())))).collect();
        Ok(Model::of_tensors(tensors, on.origin))
    }

    /// The file's keys, or those that start with `part`.
    fn keys_of(&mut self, index: u32, part: Option<&Argument>, path: Span) -> Result<Vec<NameId>, Reported> {
        let all = self.opened[index as usize].names.clone();
        let Some(part) = part else { return Ok(all.to_vec()) };
        let prefix = match &part.value {
            Value::Str(s) => s.clone(),
            Value::Poison => return Err(Reported),
            other => {
                let message = format!("`part` is the start of the keys to take, a string, and this is {}", other.kind());
                return Err(self.error(types::WRONG_KIND, message, part.span, ""));
            }
        };
        let kept: Vec<NameId> = all.iter().filter(|k| self.names.text(**k).starts_with(&*prefix)).copied().collect();
        if kept.is_empty() {
            let message = format!("no key of this adapter starts with `{prefix}`");
            let d = Diagnostic::new(codes::NOT_IN_BASE, message, part.span, "")
                .label(path, format!("it has {}", list_names(&self.names.texts(&all), 2)));
            return Err(self.report(d));
        }
        Ok(kept)
    }

    fn config_of(&mut self, index: u32, span: Span) -> Result<Config, Reported> {
        let path = self.opened[index as usize].path.clone();
        let text = match self.checkpoints.beside(&path, CONFIG) {
            Ok(Some(text)) => text,
            Ok(None) => {
                let message = format!("beside the tensors of `{path}` lies no `{CONFIG}`, which says how they are scaled");
                let d = Diagnostic::new(codes::BAD_CONFIG, message, span, "")
                    .help("name the folder that PEFT wrote, with both files in it");
                return Err(self.report(d));
            }
            Err(error) => return Err(self.error(codes::BAD_CONFIG, error.message, span, "")),
        };
        match Config::read(&text) {
            Ok(config) => {
                self.graph.checkpoints[index as usize].config = Some(text);
                if !config.unknown.is_empty() {
                    let message = format!(
                        "the `{CONFIG}` of `{path}` sets {}, which this version does not know",
                        list_names(&config.unknown, 3)
                    );
                    let d = Diagnostic::new(codes::UNKNOWN_CONFIG_KEY, message, span, "").help(
                        "the adapter is read as if that were not there; compare the result with PEFT's before you rely on it",
                    );
                    self.report(d);
                }
                Ok(config)
            }
            Err(ConfigFault::Broken(what)) => {
                let d =
                    Diagnostic::new(codes::BAD_CONFIG, format!("the `{CONFIG}` of `{path}` cannot be read: {what}"), span, "")
                        .help("get the file again from where the adapter comes from");
                Err(self.report(d))
            }
            Err(ConfigFault::Unsupported { message, help }) => {
                Err(self.report(Diagnostic::new(codes::UNKNOWN_KIND, message, span, "").help(help)))
            }
        }
    }

    fn sort_keys(&mut self, index: u32, keys: &[NameId], style: Style) -> Sorted {
        let mut sorted = Sorted::default();
        for key in keys {
            let text = self.names.text(*key).clone();
            let Some(tensor) = self.load(index, *key) else { continue };
            match keys::read(&text, style) {
                Key::Part { module, part } => {
                    sorted.modules.entry(module.to_string()).or_default().insert(part, tensor.node);
                }
                Key::Shared(part) => drop(sorted.shared.insert(part, tensor.node)),
                Key::Full(name) => drop(sorted.full.insert(name, tensor.node)),
                Key::Unknown => sorted.unknown.push(text.to_string()),
            }
        }
        sorted
    }

    /// The change of each tensor that the adapter touches, and what does not fit.
    fn changes(
        &mut self,
        sorted: &Sorted,
        style: Style,
        config: Option<&Config>,
        on: &Rc<Model>,
        misfits: &mut Misfits,
        span: Span,
    ) -> Result<FxHashMap<NameId, NodeId>, Reported> {
        let names = on.names(self)?;
        let homes = Homes::new(self, &names, style);
        let adapter = Adapter { config, shared: &sorted.shared };
        let mut changes = FxHashMap::default();
        // Whole tensors come first: what else the adapter does to them, it does to these.
        let mut whole = FxHashMap::default();
        for (text, node) in &sorted.full {
            let Some(name) = homes.tensor(self, text) else {
                misfits.homeless.push((text.clone(), text.clone()));
                continue;
            };
            let Some(base) = self.base_tensor(on, name, misfits)? else { continue };
            let (ours, theirs) = (self.graph.shape(*node).clone(), self.graph.shape(base).clone());
            if ours != theirs {
                let (ours, theirs) = (super::show_shape(&ours), super::show_shape(&theirs));
                misfits.shapes.push(format!("`{text}` has {ours} here, and the base has {theirs}"));
                continue;
            }
            whole.insert(name, *node);
            let change = Nodes { cx: self, span }.sub(*node, base);
            changes.insert(name, change);
        }
        for (module, parts) in &sorted.modules {
            let m = Module { name: module, parts };
            let touches_bias = parts.keys().any(|p| matches!(*p, "lora_B.bias" | "diff_b"));
            let only_bias = parts.keys().all(|p| *p == "diff_b");
            let Some((weight, bias)) = homes.module(self, module, style) else {
                let wanted = if style == Style::Peft { format!("{module}.weight") } else { String::new() };
                misfits.homeless.push((module.clone(), wanted));
                continue;
            };
            if let Some(name) = weight.filter(|_| !only_bias) {
                let Some(base) = self.base_tensor(on, name, misfits)? else { continue };
                let start = whole.get(&name).copied().unwrap_or(base);
                if parts.contains_key("lora_embedding_A") {
                    self.adapters.embeddings.insert(name);
                } else if config.is_some_and(|c| c.fan_in_fan_out) {
                    self.adapters.turned.insert(name);
                }
                match (Nodes { cx: self, span }).change(&m, &adapter, start) {
                    Ok(change) => self.add_change(&mut changes, name, change, span),
                    Err(fault) => {
                        misfits.add(&m, fault);
                        continue;
                    }
                }
            }
            match bias {
                Some(name) => {
                    let Some(base) = self.base_tensor(on, name, misfits)? else { continue };
                    let start = whole.get(&name).copied().unwrap_or(base);
                    match (Nodes { cx: self, span }).change_of_bias(&m, &adapter, start) {
                        Ok(Some(change)) => self.add_change(&mut changes, name, change, span),
                        Ok(None) => {}
                        Err(fault) => misfits.add(&m, fault),
                    }
                }
                None if touches_bias => misfits.homeless.push((module.clone(), format!("{module}.bias"))),
                None => {}
            }
        }
        Ok(changes)
    }

    fn add_change(&mut self, changes: &mut FxHashMap<NameId, NodeId>, name: NameId, change: NodeId, span: Span) {
        let all = match changes.get(&name) {
            Some(before) => Nodes { cx: self, span }.add(*before, change),
            None => change,
        };
        changes.insert(name, all);
    }

    /// The base's tensor of a name; none if no arithmetic can be done on it.
    fn base_tensor(&mut self, on: &Rc<Model>, name: NameId, misfits: &mut Misfits) -> Result<Option<NodeId>, Reported> {
        match on.get(self, name) {
            Some(Ok(t)) if t.buffer.is_some() => {
                misfits.buffers.push(self.names.text(name).to_string());
                Ok(None)
            }
            Some(Ok(t)) => Ok(Some(t.node)),
            _ => Err(Reported),
        }
    }

    /// One diagnostic for each sort of fault.
    fn report_misfits(
        &mut self,
        misfits: &Misfits,
        style: Style,
        on: &Rc<Model>,
        path: Span,
        on_span: Span,
    ) -> Result<(), Reported> {
        let base = self.describe(on_span);
        let mut result = Ok(());
        if let Some((first, wanted)) = misfits.homeless.first() {
            let all: Vec<&str> = misfits.homeless.iter().map(|(key, _)| &**key).collect();
            let what = if all.len() == 1 { "a module" } else { "modules" };
            let message = format!("this adapter changes {what} that {base} lacks: {}", list_names(&all, 3));
            let mut d = Diagnostic::new(codes::NOT_IN_BASE, message, path, "").label(on_span, "has none of that name");
            let names = on.names(self).map(|n| self.names.texts(&n)).unwrap_or_default();
            if let Some(close) = did_you_mean(wanted, names.iter().map(String::as_str)) {
                d = d.note(format!("`{first}` would be `{wanted}` there; the closest name is `{close}`"));
            } else if !wanted.is_empty() {
                d = d.note(format!("`{first}` would be `{wanted}` there"));
            }
            d = match style {
                Style::Kohya => d.help("a file for several models is applied to each in turn: `part: \"lora_unet\"` takes the keys that start so"),
                Style::Peft => d.help("name the base that the adapter was trained on, or give its tensors these names first: `from base { \"{n: **}\" => { \"model.{n}\": base } }`"),
            };
            result = Err(self.report(d));
        }
        for (code, lines, message) in [
            (codes::INCOMPLETE, &misfits.lacks, "tensors of this adapter are missing"),
            (codes::WRONG_SHAPES, &misfits.shapes, "the shapes of this adapter do not fit"),
            (codes::WRONG_SHAPES, &misfits.ranks, "the factors of this adapter do not fit its config"),
            (codes::UNKNOWN_KIND, &misfits.kinds, "this adapter holds tensors of another kind than its config says"),
        ] {
            if lines.is_empty() {
                continue;
            }
            let mut d = Diagnostic::new(code, message, path, "");
            let of_config = std::ptr::eq(lines, &misfits.ranks);
            if code == codes::WRONG_SHAPES && !of_config {
                d = d.label(on_span, "is the base it is applied to");
            }
            for line in lines.iter().take(3) {
                d = d.note(line.clone());
            }
            if lines.len() > 3 {
                d = d.note(format!("and {} more", lines.len() - 3));
            }
            d = match code {
                codes::WRONG_SHAPES if of_config => d.help(
                    "take both files from one `save_pretrained`; ranks of single modules stand in the config's `rank_pattern`",
                ),
                codes::WRONG_SHAPES => d.help("name the base that the adapter was trained on; `mergec inspect` lists the shapes of both"),
                _ if lines.iter().any(|l| l.contains("vera_A")) => d.help(
                    "the factors that all modules share were not saved: save the adapter again with `save_projection=True` in its VeraConfig",
                ),
                _ => d.help("get the adapter again from where it comes from, or save it again with PEFT's `save_pretrained`"),
            };
            result = Err(self.report(d));
        }
        if !misfits.buffers.is_empty() {
            let message = format!("this adapter changes {}, which holds no floats in {base}", list_names(&misfits.buffers, 3));
            let d = Diagnostic::new(codes::WRONG_SHAPES, message, path, "").help("a quantised base must be dequantised first");
            result = Err(self.report(d));
        }
        result
    }
}

impl Misfits {
    fn add(&mut self, m: &Module, fault: Fault) {
        match fault {
            Fault::Lacks { has, lacks } => self.lacks.push(format!("`{}` has `{has}`, but not `{lacks}`", m.name)),
            Fault::Shape(line) => self.shapes.push(line),
            Fault::Rank(line) => self.ranks.push(line),
            Fault::Kind(part) => self.kinds.push(format!("`{}` has `{part}`", m.name)),
        }
    }
}

/// Where the modules of an adapter are in the base.
struct Homes {
    names: FxHashSet<NameId>,
    /// Modules by their path with underscores for dots, as kohya's keys write it; none where two look the same.
    flat: FxHashMap<String, Option<String>>,
}

impl Homes {
    fn new(cx: &Cx, names: &[NameId], style: Style) -> Homes {
        let mut flat: FxHashMap<String, Option<String>> = FxHashMap::default();
        if style == Style::Kohya {
            for name in names {
                let text = cx.names.text(*name);
                let Some(module) = text.strip_suffix(".weight") else { continue };
                flat.entry(module.replace('.', "_"))
                    .and_modify(|known| *known = None)
                    .or_insert_with(|| Some(module.to_string()));
            }
        }
        Homes { names: names.iter().copied().collect(), flat }
    }

    fn tensor(&self, cx: &mut Cx, text: &str) -> Option<NameId> {
        Some(cx.names.id(text)).filter(|id| self.names.contains(id))
    }

    /// Weight and bias of a module; none if the base has no weight for it.
    fn module(&self, cx: &mut Cx, module: &str, style: Style) -> Option<(Option<NameId>, Option<NameId>)> {
        let path = match style {
            Style::Peft => module.to_string(),
            Style::Kohya => self.unflattened(module)?,
        };
        let weight = self.tensor(cx, &format!("{path}.weight"))?;
        Some((Some(weight), self.tensor(cx, &format!("{path}.bias"))))
    }

    /// The module that a key of kohya's means: `lora_unet_down_blocks_0` is `down_blocks.0`, whatever the words in front.
    fn unflattened(&self, key: &str) -> Option<String> {
        let mut rest = key;
        loop {
            if let Some(found) = self.flat.get(rest) {
                return found.clone();
            }
            // Only words that scripts put in front may be left out.
            let (word, behind) = rest.split_once('_')?;
            if !PREFIXES.contains(&word) {
                return None;
            }
            rest = behind;
        }
    }
}

/// First words of kohya's and LyCORIS' keys.
const PREFIXES: [&str; 9] = ["lora", "lycoris", "unet", "te", "te1", "te2", "te3", "transformer", "prior"];
