//! `save`: what is written, as what, in which dtype.

use super::context::Cx;
use super::expressions::Frame;
use super::model::Model;
use super::modules::Replaced;
use super::names::NameId;
use crate::codes::{models as codes, types};
use crate::degree::explain::Wanted;
use crate::degree::{Degree, Why};
use crate::hir::{Save, Setting, SettingValue};
use crate::value::{Reported, TensorVal, Value};
use merge_abi::{DType, Role};
use merge_base::{Diagnostic, Span, did_you_mean, list_names};
use merge_ir::tir::{NodeId, Op, OutTensor, Output};

/// The format of deltas as PEFT reads them.
const PEFT: &str = "peft";
/// The format of what is to be trained.
const ADAPTER: &str = "adapter";

const KEYS: [&str; 4] = ["dtype", "shard", "config", "tokenizer"];

/// What stands in the braces behind a `save`.
#[derive(Default)]
pub(super) struct Options {
    pub dtype: Option<DType>,
    pub shard: Option<u64>,
    pub config: Vec<(String, String)>,
    pub tokenizer: Option<u32>,
}

impl<'p> Cx<'p> {
    pub(super) fn save(&mut self, s: &'p Save, frame: &mut Frame) {
        if let Some((format, span)) = s.format.as_ref().filter(|(format, _)| format != PEFT && format != ADAPTER) {
            self.not_there_yet(
                &format!("`as {format}`"),
                "`as peft` writes deltas for PEFT, `as adapter` what is to be trained; without `as`, whole tensors are written",
                *span,
            );
            return;
        }
        self.for_each(&s.clauses, 0, true, frame, &mut |cx, frame| cx.save_one(s, frame));
    }

    fn save_one(&mut self, s: &'p Save, frame: &mut Frame) {
        let value = self.expr(&s.value, frame);
        let to = self.expr(&s.to, frame);
        let options = self.options(&s.settings, frame);
        let path = match &to {
            Value::Str(path) => path.to_string(),
            Value::Poison => return,
            other => {
                let message = format!("a path is a string, and this is {}", other.kind());
                self.error(types::WRONG_KIND, message, s.to.span, "");
                return;
            }
        };
        if let Some((problem, help)) = fault_of_path(&path) {
            let d = Diagnostic::new(
                codes::CANNOT_SAVE,
                format!("`{}` cannot be the name of an output: {problem}", path.escape_debug()),
                s.to.span,
                "",
            );
            self.report(d.help(help));
            return;
        }
        if let (true, Ok(Options { shard: Some(_), .. })) = (path.ends_with(".safetensors"), &options) {
            let message = format!("`{path}` is a single file, which cannot be cut into shards");
            let d = Diagnostic::new(codes::BAD_SAVE_SETTING, message, s.to.span, "");
            self.report(d.help("name a folder, without `.safetensors` at the end, or leave out `shard`"));
            return;
        }
        let here = steps_of(&path);
        let earlier = self.graph.outputs.iter().find(|o| {
            let there = steps_of(&o.path);
            here.starts_with(&there) || there.starts_with(&here)
        });
        if let Some(earlier) = earlier {
            let message = match steps_of(&earlier.path).len() == here.len() {
                true => format!("two models are saved to `{path}`"),
                false => format!("of `{}` and `{path}` one would lie in the other", earlier.path),
            };
            let d = Diagnostic::new(codes::SAVED_TWICE, message, s.to.span, "")
                .label(earlier.span, "the first is saved here")
                .help("give each its own path");
            self.report(d);
            return;
        }
        let model = match value {
            Value::Model(m) => m,
            Value::Poison => return,
            other => {
                let message = format!("`save` writes a model, and this is {}", other.kind());
                let mut d = Diagnostic::new(codes::CANNOT_SAVE, message, s.value.span, "");
                d = match other {
                    Value::Tensor(_) | Value::Int(_) => d.help("give it a name: `save { \"name\": x } to …`"),
                    Value::List(_) => d.help("save each member: `save ms[k] to \"out-{k}\" for k in 0..len(ms)`"),
                    _ => d,
                };
                self.report(d);
                return;
            }
        };
        let (Ok(options), Ok(names)) = (options, model.names(self)) else { return };
        if names.is_empty() {
            self.error(codes::EMPTY_MODEL, "this model has no tensors", s.value.span, "");
            return;
        }
        let mut tensors: Vec<(NameId, TensorVal)> = Vec::with_capacity(names.len());
        let mut complete = true;
        for name in names.iter() {
            let text = self.names.text(*name).clone();
            if text.is_empty() || &*text == "__metadata__" {
                let message = format!("a file cannot hold a tensor named `{text}`");
                let d = Diagnostic::new(codes::CANNOT_SAVE, message, s.value.span, "the model has one")
                    .help("give it another name in a block: `{ \"name\": x }`");
                self.report(d);
                return;
            }
            match model.get(self, *name) {
                Some(Ok(t)) => tensors.push((*name, t)),
                _ => complete = false,
            }
        }
        // Masks and counts are statistics, whatever they were found in.
        let role = match options.dtype {
            Some(d) if !d.is_float() => Ok(Role::Statistics),
            _ => self.role_of(&tensors, model.origin, s.value.span),
        };
        let Ok(role) = role else { return };
        if !complete {
            return;
        }
        let Ok(replaced) = model.replaced(self, s.value.span) else { return };
        let as_adapter = s.format.as_ref().is_some_and(|(format, _)| format == ADAPTER);
        if as_adapter || (self.of_search && self.trains(&tensors, &replaced)) {
            self.save_trained(s, path, &model, &tensors, &replaced, options);
            return;
        }
        if let Some(module) = replaced.first() {
            self.replaced_in_weights(module, replaced.len(), s.value.span);
            return;
        }
        let nodes: Vec<NodeId> = tensors.iter().map(|(_, t)| t.node).collect();
        let tensors: Vec<(NameId, TensorVal)> = self
            .at_start(&nodes, s.value.span)
            .into_iter()
            .zip(tensors)
            .map(|(node, (name, t))| (name, TensorVal { node, ..t }))
            .collect();
        let origin = model.origin;
        if s.format.is_some() {
            self.save_adapter(s, path, role, &model, &tensors, options);
            return;
        }
        self.note_dtypes();
        let tensors = tensors
            .into_iter()
            .map(|(name, t)| OutTensor {
                name: self.names.text(name).to_string(),
                node: t.node,
                dtype: self.dtype_of(name, &t, origin, options.dtype),
            })
            .collect();
        let like = origin.filter(|o| role == Role::Weights && self.opened[*o as usize].role == Role::Weights);
        self.graph.outputs.push(Output {
            path,
            role,
            tensors,
            shard: options.shard,
            like,
            tokenizer: options.tokenizer,
            config: options.config,
            adapter: None,
            trained: None,
            place: self.sources.place(s.span),
            span: s.span,
        });
    }

    /// Weights cannot say that a module is replaced.
    fn replaced_in_weights(&mut self, module: &Replaced, count: usize, span: Span) {
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let message = format!("weights alone cannot say that `{}`{more} is replaced", module.name);
        let d = Diagnostic::new(codes::CANNOT_SAVE, message, span, "this model has more than weights")
            .label(module.span, "replaced here")
            .help("`save .. as adapter` writes what a trainer needs: the graph of what replaces it, and start values");
        self.report(d);
    }

    /// `save .. as peft`: the factors of the deltas, with a config that says how they are used.
    fn save_adapter(
        &mut self,
        s: &Save,
        path: String,
        role: Role,
        model: &Model,
        deltas: &[(NameId, TensorVal)],
        options: Options,
    ) {
        let span = s.value.span;
        if role != Role::Deltas {
            let d = Diagnostic::new(codes::CANNOT_SAVE, "an adapter holds differences, and these are whole tensors", span, "")
                .help("take the base away: `save low_rank(tuned - base, rank: 16) to \"..\" as peft`");
            self.report(d);
            return;
        }
        let wrong = match () {
            () if path.ends_with(".safetensors") => Some("an adapter is a folder: its factors and their config"),
            () if options.shard.is_some() => Some("an adapter is one file, which cannot be cut into shards"),
            () if options.tokenizer.is_some() => Some("an adapter has no tokenizer of its own"),
            () => None,
        };
        if let Some(message) = wrong {
            let d = Diagnostic::new(codes::BAD_SAVE_SETTING, message, s.to.span, "");
            self.report(d.help("`save d to \"folder\" as peft { dtype: f32 }` has all that can be said"));
            return;
        }
        let Ok(peft) = self.as_peft(model, deltas, &options.config, span) else { return };
        self.note_dtypes();
        let dtype = |node: NodeId| options.dtype.or(self.dtypes[node.0 as usize]).unwrap_or(DType::F32);
        let tensors = peft.tensors.into_iter().map(|(name, node)| OutTensor { name, node, dtype: dtype(node) }).collect();
        self.graph.outputs.push(Output {
            path,
            role,
            tensors,
            shard: None,
            like: None,
            tokenizer: None,
            config: Vec::new(),
            adapter: Some(peft.config),
            trained: None,
            place: self.sources.place(s.span),
            span: s.span,
        });
    }

    /// Whether these are weights, deltas or statistics.
    fn role_of(&mut self, tensors: &[(NameId, TensorVal)], origin: Option<u32>, span: Span) -> Result<Role, Reported> {
        let statistics = origin.is_none_or(|o| self.opened[o as usize].role == Role::Statistics);
        let (mut weights, mut deltas, mut others) = (Vec::new(), Vec::new(), 0);
        let mut fault = Ok(());
        let outer = self.tensor;
        for (name, t) in tensors.iter().filter(|(_, t)| t.buffer.is_none()) {
            self.tensor = Some(*name);
            match &t.degree {
                d if d.is_weight() => weights.push(*name),
                d if d.is_delta() => deltas.push(*name),
                Degree::Lost(lost) if statistics && !matches!(lost.why, Why::TooLarge) => others += 1,
                d => fault = Err(self.degree_mismatch(d, &Wanted::Weight, "`save`", span)),
            }
        }
        self.tensor = outer;
        fault?;
        match (weights.is_empty(), deltas.is_empty(), others) {
            (true, false, 0) => Ok(Role::Deltas),
            (true, true, 0) | (false, true, 0) => Ok(Role::Weights),
            (true, _, _) => Ok(Role::Statistics),
            _ => {
                let mut d = Diagnostic::new(codes::MIXED_ROLES, "this model holds both weights and differences", span, "")
                    .note(format!("weights: {}", list_names(&self.names.texts(&weights), 3)));
                if !deltas.is_empty() {
                    d = d.note(format!("differences: {}", list_names(&self.names.texts(&deltas), 3)));
                }
                Err(self.report(d.help("add the differences to weights, or save the two apart: `save m[\"pattern\"] to …`")))
            }
        }
    }

    fn options(&mut self, settings: &'p [Setting], frame: &mut Frame) -> Result<Options, Reported> {
        let mut options = Options::default();
        let mut fault = Ok(());
        for (i, setting) in settings.iter().enumerate() {
            if let Some(first) = settings[..i].iter().find(|s| s.key == setting.key) {
                let message = format!("`{}` is given twice", setting.key);
                let d = Diagnostic::new(codes::BAD_SAVE_SETTING, message, setting.key_span, "again here")
                    .label(first.key_span, "first here")
                    .help("remove one of them");
                fault = Err(self.report(d));
                continue;
            }
            match (setting.key.as_str(), &setting.value) {
                ("config", SettingValue::Nested(inner)) => match self.config(inner, frame) {
                    Ok(config) => options.config = config,
                    Err(r) => fault = Err(r),
                },
                ("dtype" | "shard" | "tokenizer", SettingValue::Expr(e)) => {
                    let value = self.expr(e, frame);
                    if let Err(r) = self.option(&mut options, &setting.key, &value, e.span) {
                        fault = Err(r);
                    }
                }
                (key, _) if KEYS.contains(&key) => {
                    let help = if key == "config" {
                        "config: { hidden_size: 3072 }"
                    } else {
                        "dtype: bf16, shard: 5GB, tokenizer: base"
                    };
                    let d = Diagnostic::new(codes::BAD_SAVE_SETTING, format!("`{key}` has another form"), setting.key_span, "")
                        .help(format!("for example `{help}`"));
                    fault = Err(self.report(d));
                }
                (key, _) => {
                    let mut d =
                        Diagnostic::new(codes::BAD_SAVE_SETTING, format!("`save` has no setting `{key}`"), setting.key_span, "");
                    d = match did_you_mean(key, KEYS) {
                        Some(close) => d.help(format!("did you mean `{close}`?")).fix(format!("write `{close}`"), setting.key_span, close),
                        None => d.help("there are `dtype`, `shard`, `config` and `tokenizer`; keys of config.json stand inside `config: { .. }`"),
                    };
                    fault = Err(self.report(d));
                }
            }
        }
        fault.map(|()| options)
    }

    fn option(&mut self, options: &mut Options, key: &str, value: &Value, span: Span) -> Result<(), Reported> {
        match (key, value) {
            (_, Value::Poison) => Err(Reported),
            ("dtype", Value::Word(w) | Value::Str(w)) => match DType::from_word(w) {
                Some(d) => {
                    options.dtype = Some(d);
                    Ok(())
                }
                None => {
                    let words: Vec<String> = DType::ALL.iter().map(|d| d.word()).collect();
                    let mut d = Diagnostic::new(codes::BAD_SAVE_SETTING, format!("there is no dtype `{w}`"), span, "");
                    d = match did_you_mean(w, words.iter().map(String::as_str)) {
                        Some(close) => d.help(format!("did you mean `{close}`?")),
                        None => d.help(format!("there are {}", words.join(", "))),
                    };
                    Err(self.report(d))
                }
            },
            ("shard", Value::Size(bytes)) if *bytes > 0 => {
                options.shard = Some(*bytes);
                Ok(())
            }
            ("shard", Value::Int(bytes)) if *bytes > 0 => {
                options.shard = Some(*bytes as u64);
                Ok(())
            }
            ("tokenizer", Value::Model(m)) if m.origin.is_some() => {
                options.tokenizer = m.origin;
                Ok(())
            }
            _ => {
                let wanted = match key {
                    "dtype" => "a dtype, such as `bf16`",
                    "shard" => "a size, such as `5GB`",
                    _ => "a model whose files are copied",
                };
                let found = match value {
                    Value::Size(_) | Value::Int(_) if key == "shard" => "not above 0",
                    // Made of named tensors alone.
                    Value::Model(_) if key == "tokenizer" => "of no checkpoint",
                    _ => value.kind(),
                };
                let message = format!("`{key}` wants {wanted}, and this is {found}");
                Err(self.error(codes::BAD_SAVE_SETTING, message, span, ""))
            }
        }
    }

    /// Keys of `config.json` with their JSON text.
    fn config(&mut self, settings: &'p [Setting], frame: &mut Frame) -> Result<Vec<(String, String)>, Reported> {
        let mut config: Vec<(String, String)> = Vec::new();
        for setting in settings {
            let json = match &setting.value {
                SettingValue::Nested(inner) => {
                    let inner = self.config(inner, frame)?;
                    let fields: Vec<String> = inner.iter().map(|(k, v)| format!("{}: {v}", json_string(k))).collect();
                    format!("{{{}}}", fields.join(", "))
                }
                SettingValue::Expr(e) => {
                    let value = self.expr(e, frame);
                    self.json(&value, e.span)?
                }
            };
            if config.iter().any(|(k, _)| *k == setting.key) {
                let message = format!("`{}` is given twice", setting.key);
                return Err(self.error(codes::BAD_SAVE_SETTING, message, setting.key_span, ""));
            }
            config.push((setting.key.clone(), json));
        }
        Ok(config)
    }

    fn json(&mut self, value: &Value, span: Span) -> Result<String, Reported> {
        match value {
            Value::Int(i) => Ok(i.to_string()),
            Value::Bool(b) => Ok(b.to_string()),
            Value::Str(s) => Ok(json_string(s)),
            Value::Word(w) if &**w == "null" => Ok("null".into()),
            Value::Size(bytes) => Ok(bytes.to_string()),
            Value::Poison => Err(Reported),
            Value::List(l) => {
                let members: Result<Vec<String>, Reported> = l.iter().map(|v| self.json(v, span)).collect();
                Ok(format!("[{}]", members?.join(", ")))
            }
            Value::Tensor(t) if self.is_scalar(t) => match self.launch_value(t) {
                Some(v) if v.is_finite() && !self.uses_settings(t.node) => Ok(format!("{v:?}")),
                _ => Err(self.error(types::NOT_STATIC, "a value of `config` must be known before the recipe runs", span, "")),
            },
            other => {
                let message =
                    format!("a value of `config` is a number, a string, a bool, a list or `null`, and this is {}", other.kind());
                Err(self.error(codes::BAD_SAVE_SETTING, message, span, ""))
            }
        }
    }

    /// The dtype a tensor is written in: a buffer's own, the one asked for, that of the model it replaces, or
    /// that of the first tensor it is made from.
    pub(super) fn dtype_of(&self, name: NameId, t: &TensorVal, origin: Option<u32>, asked: Option<DType>) -> DType {
        if let Some(buffer) = t.buffer {
            return buffer;
        }
        let of_origin = origin.and_then(|o| self.opened[o as usize].tensors.get(&name)).map(|t| t.0).filter(|d| d.is_float());
        asked.or(of_origin).or(self.dtypes[t.node.0 as usize]).unwrap_or(DType::F32)
    }

    /// Notes for each node the dtype of the first tensor that it reads.
    pub(super) fn note_dtypes(&mut self) {
        let known = self.dtypes.len();
        for (_, node) in self.graph.nodes().skip(known) {
            let dtype = match &node.op {
                Op::Load(source) => Some(self.graph.sources[source.0 as usize].dtype).filter(|d| d.is_float()),
                op => op.operands().iter().find_map(|n| self.dtypes[n.0 as usize]),
            };
            self.dtypes.push(dtype);
        }
    }
}

/// The folders that a path leads through, with `.` and `..` followed as far as they can be without the disk.
fn steps_of(path: &str) -> Vec<&str> {
    let mut steps = Vec::new();
    for (i, step) in path.split('/').enumerate() {
        match step {
            // The root is a step of its own.
            "" if i > 0 => {}
            "." => {}
            ".." if steps.last().is_some_and(|s| !matches!(*s, ".." | "")) => drop(steps.pop()),
            step => steps.push(step),
        }
    }
    steps
}

/// What is wrong with a path to save to, and what helps; whatever else is wrong with it only the disk knows.
fn fault_of_path(path: &str) -> Option<(&'static str, &'static str)> {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if path.contains(char::is_control) {
        Some(("it holds a line break or another control character", "name a folder in letters, such as `merged`"))
    } else if matches!(last, "" | "." | "..") {
        Some(("it names no folder of its own", "name a folder, such as `merged`"))
    } else if path == "~" || path.starts_with("~/") {
        Some(("`~` stands for no folder here", "write the path in full, or from the recipe's folder"))
    } else {
        None
    }
}

/// A string as JSON.
fn json_string(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
