//! Checkpoints: opened once per path, name and role; their tensors loaded as nodes when they are asked for.

use super::context::{Cx, show_shape};
use super::model::{Model, What};
use super::names::NameId;
use crate::codes::{models as codes, types};
use crate::degree::Degree;
use crate::value::{Args, Reported, TensorVal, Value};
use merge_abi::{Checkpoint, DType, Role, Source};
use merge_base::{Diagnostic, Span, list_names};
use merge_ir::tir::{NodeId, Op, SourceId};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// A checkpoint of the recipe.
pub(super) struct Opened {
    pub role: Role,
    pub path: String,
    /// Where the recipe opens it.
    pub span: Span,
    pub names: Rc<[NameId]>,
    pub tensors: FxHashMap<NameId, (DType, Rc<[u64]>)>,
    loads: FxHashMap<NameId, NodeId>,
}

/// What PEFT calls the file of an adapter's tensors.
const ADAPTER: &str = "adapter_model.safetensors";

/// As what a recipe opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Model(Role),
    Adapter,
}

impl Opening {
    /// What its tensors are.
    fn role(self) -> Role {
        match self {
            Opening::Model(role) => role,
            Opening::Adapter => Role::Deltas,
        }
    }
}

impl<'p> Cx<'p> {
    /// `checkpoint(path)`, `deltas(path, on: m)`, `tensors(path, on: m)`.
    pub(super) fn open(&mut self, args: &Args, span: Span) -> Value {
        let role = match args.name {
            "checkpoint" => Role::Weights,
            "deltas" => Role::Deltas,
            _ => Role::Statistics,
        };
        let Ok(index) = self.opened_for(args, Opening::Model(role)) else { return Value::Poison };
        let model = Model::new(What::File(index), Some(index));
        if let Some(on) = args.get(1)
            && self.check_on(&model, &on.value, on.span, span).is_err()
        {
            return Value::Poison;
        }
        Value::Model(model)
    }

    /// The checkpoint that the first argument names, opened once.
    pub(super) fn opened_for(&mut self, args: &Args, opening: Opening) -> Result<u32, Reported> {
        let role = opening.role();
        let bound_to = self.bound_to.take();
        let path = args.get(0).ok_or(Reported)?;
        let written = match &path.value {
            Value::Str(s) => s.to_string(),
            Value::Poison => return Err(Reported),
            other => {
                let message = format!("a path is a string, and this is {}", other.kind());
                return Err(self.error(types::WRONG_KIND, message, path.span, ""));
            }
        };
        let name = bound_to.unwrap_or_else(|| self.name_of_path(&written, role));
        let given = self.answers.models.iter().rev().find(|(n, _)| *n == name).map(|(_, p)| p.clone());
        let actual = given.unwrap_or(written);
        let same = |(o, c): (&Opened, &Checkpoint)| o.path == actual && o.role == role && c.name == name;
        match self.opened.iter().zip(&self.graph.checkpoints).position(same) {
            Some(index) => Ok(index as u32),
            None => self.open_new(name, actual, opening, path.span).map(|index| index as u32),
        }
    }

    /// What a file that no `let` names is called: the last part of its path, made unique.
    fn name_of_path(&self, path: &str, role: Role) -> String {
        let stem = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
        let stem = stem.strip_suffix(".safetensors").unwrap_or(stem).to_string();
        let taken = |name: &str| {
            let same = |(c, o): (&Checkpoint, &Opened)| c.name == name && !(o.path == path && o.role == role);
            self.graph.checkpoints.iter().zip(&self.opened).any(same)
        };
        (1..).map(|k| if k == 1 { stem.clone() } else { format!("{stem}-{k}") }).find(|n| !taken(n)).unwrap_or_default()
    }

    fn open_new(&mut self, name: String, path: String, opening: Opening, span: Span) -> Result<usize, Reported> {
        let role = opening.role();
        // A folder may hold an adapter and a model; without an adapter, what the folder holds is answered for.
        let factors = format!("{}/{ADAPTER}", path.trim_end_matches('/'));
        let inner = match opening {
            Opening::Adapter if !path.ends_with(".safetensors") => self.checkpoints.open(&factors).ok(),
            _ => None,
        };
        let file = if inner.is_some() { factors } else { path.clone() };
        let schema = match inner.map_or_else(|| self.checkpoints.open(&path), Ok) {
            Ok(schema) => schema,
            Err(error) => {
                let mut d = Diagnostic::new(codes::CANNOT_OPEN, error.message, span, "");
                // A folder without any tensors is told of by what a checkpoint has in it.
                let of_checkpoints = |help: &String| help.contains("index.json");
                match error.help {
                    Some(help) if opening == Opening::Adapter && of_checkpoints(&help) => {
                        d = d.help(format!("PEFT's folders hold `adapter_config.json` and `{ADAPTER}`"));
                        d = d.help(
                            "a file of kohya's scripts or LyCORIS is named itself: `adapter(\"lora.safetensors\", on: base)`",
                        );
                    }
                    Some(help) => d = d.help(help),
                    None => {}
                }
                return Err(self.report(d));
            }
        };
        match (role, schema.role) {
            (Role::Weights, Some(Role::Deltas)) | (Role::Deltas, Some(Role::Weights)) => {
                let (is, say) = match schema.role {
                    Some(Role::Deltas) => ("differences of weights", "deltas"),
                    _ => ("weights", "checkpoint"),
                };
                let d = Diagnostic::new(codes::WRONG_ROLE, format!("`{path}` holds {is}"), span, "")
                    .help(format!("open it with `{say}(\"{path}\")`"));
                return Err(self.report(d));
            }
            (Role::Weights | Role::Deltas, Some(Role::Statistics)) => {
                let d = Diagnostic::new(codes::WRONG_ROLE, format!("`{path}` holds statistics, not weights"), span, "")
                    .help(format!("open it with `tensors(\"{path}\")`"));
                return Err(self.report(d));
            }
            _ => {}
        }
        if role == Role::Weights && schema.tensors.keys().any(|name| super::adapter::is_factor(name)) {
            let d = Diagnostic::new(codes::WRONG_ROLE, format!("`{path}` holds an adapter, not a model"), span, "")
                .help(format!("open it on the model it was trained on: `adapter(\"{path}\", on: base)`"));
            return Err(self.report(d));
        }
        if schema.tensors.is_empty() {
            return Err(self.error(codes::EMPTY_MODEL, format!("`{path}` holds no tensors"), span, ""));
        }
        let mut names = Vec::with_capacity(schema.tensors.len());
        let mut tensors = FxHashMap::default();
        for (text, info) in &schema.tensors {
            let id = self.names.id(text);
            names.push(id);
            tensors.insert(id, (info.dtype, info.shape.as_slice().into()));
        }
        let index = self.opened.len();
        self.graph.checkpoints.push(Checkpoint { name, path: file, config: None });
        // The map of the schema is sorted by name already.
        self.opened.push(Opened { role, path, span, names: names.into(), tensors, loads: FxHashMap::default() });
        Ok(index)
    }

    /// `on: m` demands exactly the names and shapes of `m`, buffers aside.
    fn check_on(&mut self, file: &Rc<Model>, on: &Value, on_span: Span, span: Span) -> Result<(), Reported> {
        let on = match on {
            Value::Model(m) => m,
            Value::Poison => return Err(Reported),
            other => {
                let message = format!("`on` wants a model, and this is {}", other.kind());
                return Err(self.error(types::WRONG_KIND, message, on_span, ""));
            }
        };
        let (mut lacks, mut shapes) = (Vec::new(), Vec::new());
        let wanted = on.names(self)?;
        for name in wanted.iter() {
            let Some(Ok(theirs)) = on.get(self, *name) else { continue };
            match file.get(self, *name) {
                None if theirs.buffer.is_some() => {}
                None => lacks.push(*name),
                Some(Ok(ours)) if self.shape(&ours) != self.shape(&theirs) => {
                    let (a, b) = (show_shape(&self.shape(&ours)), show_shape(&self.shape(&theirs)));
                    shapes.push(format!("`{}` has {a} here and {b} there", self.names.text(*name)));
                }
                Some(_) => {}
            }
        }
        let there: rustc_hash::FxHashSet<NameId> = wanted.iter().copied().collect();
        let own = file.names(self)?;
        let more: Vec<NameId> = own.iter().filter(|n| !there.contains(n)).copied().collect();
        if lacks.is_empty() && more.is_empty() && shapes.is_empty() {
            return Ok(());
        }
        let message = format!("this file does not fit {}", self.describe(on_span));
        let mut d =
            Diagnostic::new(codes::NAMES_DISAGREE, message, span, "").label(on_span, "whose names and shapes are demanded");
        if !lacks.is_empty() {
            d = d.note(format!("it lacks {}", list_names(&self.names.texts(&lacks), 3)));
        }
        if !more.is_empty() {
            d = d.note(format!("only it has {}", list_names(&self.names.texts(&more), 3)));
        }
        if let Some(first) = shapes.first() {
            d = d.note(format!(
                "{first}{}",
                if shapes.len() > 1 { format!(", and {} more", shapes.len() - 1) } else { String::new() }
            ));
        }
        Err(self.report(d.help("`mergec inspect A B` lists what differs")))
    }

    /// The node of a checkpoint's tensor.
    pub(super) fn load(&mut self, checkpoint: u32, name: NameId) -> Option<TensorVal> {
        let opened = &self.opened[checkpoint as usize];
        let (dtype, shape) = opened.tensors.get(&name)?.clone();
        let (role, span) = (opened.role, opened.span);
        let node = match opened.loads.get(&name) {
            Some(node) => *node,
            None => {
                let source = SourceId(self.graph.sources.len() as u32);
                self.graph.sources.push(Source {
                    checkpoint,
                    name: self.names.text(name).to_string(),
                    dtype,
                    shape: shape.to_vec(),
                });
                let node = self.graph.add(Op::Load(source), shape, span);
                self.opened[checkpoint as usize].loads.insert(name, node);
                node
            }
        };
        let degree = match role {
            Role::Weights => Degree::weight(),
            Role::Deltas => Degree::delta(),
            Role::Statistics => Degree::statistics(span),
        };
        let mut t = TensorVal::new(node, degree);
        t.buffer = (!dtype.is_float()).then_some(dtype);
        Some(t)
    }
}
