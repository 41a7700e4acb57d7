//! Models: records of named tensors, made when they are asked for.

use super::context::Cx;
use super::explore::Watched;
use super::findings::CallSite;
use super::modules::Replaced;
use super::names::NameId;
use super::path::Path;
use crate::codes::models as codes;
use crate::hir::{BinaryOp, FnId, Role, UnaryOp};
use crate::space::Taint;
use crate::value::{Argument, Reported, TensorVal, Value};
use merge_base::{Diagnostic, Span, did_you_mean, list_names};
use rustc_hash::{FxHashMap, FxHashSet};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

/// Models with where they stand.
type Models = Rc<[(Rc<Model>, Span)]>;

/// A record of named tensors.
#[derive(Debug)]
pub struct Model {
    pub(super) what: What,
    /// The checkpoint whose small files and dtypes a model made from it takes over.
    pub origin: Option<u32>,
    /// On which decisions its names and shapes depend, once that is known.
    pub(super) structure: Cell<Option<Taint>>,
    /// The modules that the rules of its own literal replace, or once they are asked for, those of the models it is made of.
    pub(super) replaced: OnceCell<Rc<[Replaced]>>,
    names: OnceCell<Result<Rc<[NameId]>, Reported>>,
    partial: OnceCell<bool>,
    cache: RefCell<FxHashMap<NameId, Result<TensorVal, Reported>>>,
    has: RefCell<FxHashMap<NameId, bool>>,
    buffers: RefCell<FxHashMap<NameId, bool>>,
}

/// Where the tensors come from.
#[derive(Debug)]
pub(super) enum What {
    /// A checkpoint, by its index.
    File(u32),
    /// A part of the result of a function applied name by name; the path leads into tuples and lists.
    Lift(Rc<Lift>, Rc<[usize]>),
    /// Tensors at hand. A `block` was written as a block of names.
    Tensors { tensors: FxHashMap<NameId, Result<TensorVal, Reported>>, block: bool },
    /// Tensors of other models, under these names.
    Parts(FxHashMap<NameId, (Rc<Model>, NameId)>),
}

/// A function that is applied name by name.
#[derive(Debug)]
pub(super) struct Lift {
    pub op: LiftOp,
    pub args: Vec<Option<Argument>>,
    /// Arguments that are handed on as they are: models for parameters that want models.
    pub fixed: Vec<bool>,
    pub span: Span,
    /// Where it was written, for random keys and for diagnostics.
    pub turns: Vec<u32>,
    pub path: Path,
    pub keys: Vec<String>,
    pub calls: Option<Rc<CallSite>>,
    pub watched: Watched,
    pub results: RefCell<FxHashMap<NameId, Value>>,
    models: OnceCell<Models>,
}

#[derive(Clone, Debug)]
pub(super) enum LiftOp {
    Fn(FnId),
    Primitive(&'static str),
    Binary(BinaryOp),
    Unary(UnaryOp),
    Index,
    As { role: Role, role_span: Span, affine: Option<crate::degree::Degree>, warn: bool },
}

impl Model {
    pub(super) fn new(what: What, origin: Option<u32>) -> Rc<Model> {
        let (structure, replaced, names, partial, cache, has, buffers) = Default::default();
        Rc::new(Model { what, origin, structure, replaced, names, partial, cache, has, buffers })
    }

    /// A model of tensors at hand.
    pub fn of_tensors(tensors: FxHashMap<NameId, Result<TensorVal, Reported>>, origin: Option<u32>) -> Rc<Model> {
        Model::new(What::Tensors { tensors, block: false }, origin)
    }

    /// A model of tensors of other models, under new names.
    pub fn of_parts(parts: FxHashMap<NameId, (Rc<Model>, NameId)>, origin: Option<u32>) -> Rc<Model> {
        Model::new(What::Parts(parts), origin)
    }

    /// Whether it was written as a block of names.
    pub(super) fn is_block(&self) -> bool {
        matches!(self.what, What::Tensors { block: true, .. })
    }

    /// All names, sorted.
    ///
    /// # Errors
    /// Models that were combined and do not have the same names are reported.
    pub fn names(&self, cx: &mut Cx<'_>) -> Result<Rc<[NameId]>, Reported> {
        if let Some(names) = self.names.get() {
            return names.clone();
        }
        let names = match &self.what {
            What::File(index) => Ok(cx.opened[*index as usize].names.clone()),
            What::Lift(lift, _) => cx.names_of_lift(lift),
            What::Tensors { tensors, .. } => Ok(cx.names.sorted(tensors.keys().copied().collect())),
            What::Parts(parts) => Ok(cx.names.sorted(parts.keys().copied().collect())),
        };
        self.names.get_or_init(|| names).clone()
    }

    /// Whether it has a tensor of this name, as far as can be told without demanding all names.
    pub fn has(&self, cx: &mut Cx<'_>, name: NameId) -> bool {
        match &self.what {
            What::File(index) => cx.opened[*index as usize].tensors.contains_key(&name),
            What::Lift(lift, _) => {
                if let Some(known) = self.has.borrow().get(&name) {
                    return *known;
                }
                let models = lift.models();
                let here: Vec<bool> = models.iter().map(|(m, _)| m.has(cx, name)).collect();
                // Where all agree, nobody needs to know which of them are deltas.
                let has = match (here.contains(&true), here.contains(&false)) {
                    (any, false) => any,
                    (false, true) => false,
                    (true, true) => models.iter().zip(here).all(|((m, _), here)| here || m.is_partial(cx)),
                };
                self.has.borrow_mut().insert(name, has);
                has
            }
            What::Tensors { tensors, .. } => tensors.contains_key(&name),
            What::Parts(parts) => parts.contains_key(&name),
        }
    }

    /// The tensor of a name; none if there is no such name.
    ///
    /// # Errors
    /// Whatever is wrong with the expression that makes it, which is reported.
    pub fn get(&self, cx: &mut Cx<'_>, name: NameId) -> Option<Result<TensorVal, Reported>> {
        match &self.what {
            What::File(index) => cx.load(*index, name).map(Ok),
            What::Tensors { tensors, .. } => tensors.get(&name).cloned(),
            What::Parts(parts) => parts.get(&name).and_then(|(model, inner)| model.get(cx, *inner)),
            What::Lift(lift, path) => {
                if let Some(known) = self.cache.borrow().get(&name) {
                    return Some(known.clone());
                }
                let value = cx.lift_at(lift, name, path)?;
                self.cache.borrow_mut().insert(name, value.clone());
                Some(value)
            }
        }
    }

    /// Whether it may lack names that a model beside it has, and counts as zero there: it holds deltas.
    pub fn is_partial(&self, cx: &mut Cx<'_>) -> bool {
        if let Some(known) = self.partial.get() {
            return *known;
        }
        let partial = match &self.what {
            What::File(index) => cx.opened[*index as usize].role == merge_abi::Role::Deltas,
            What::Lift(lift, _) if lift.models().iter().all(|(m, _)| m.is_partial(cx)) => true,
            _ => {
                // The first tensor of floats speaks for all; `save` looks at each.
                let names = self.names(cx).unwrap_or_else(|_| Rc::from([]));
                names.iter().find_map(|n| match if self.has_buffer(cx, *n) { None } else { self.get(cx, *n) } {
                    Some(Ok(t)) => Some(t.degree.is_delta()),
                    _ => None,
                }) == Some(true)
            }
        };
        *self.partial.get_or_init(|| partial)
    }

    /// Whether the tensor of this name is, or would be made of, a buffer of ints: arithmetic on it is an
    /// error that only those who ask for it should meet.
    fn has_buffer(&self, cx: &mut Cx<'_>, name: NameId) -> bool {
        match &self.what {
            What::File(index) => cx.load(*index, name).is_some_and(|t| t.buffer.is_some()),
            What::Lift(lift, _) => {
                if let Some(known) = self.buffers.borrow().get(&name) {
                    return *known;
                }
                // A mask may be of bools, and what it picks from need not.
                let any = match lift.op {
                    LiftOp::Primitive("where" | "unpack") => {
                        lift.args[1..].iter().flatten().any(|a| buffer_in(&a.value, cx, name))
                    }
                    _ => lift.models().iter().any(|(m, _)| m.has_buffer(cx, name)),
                };
                self.buffers.borrow_mut().insert(name, any);
                any
            }
            What::Tensors { tensors, .. } => matches!(tensors.get(&name), Some(Ok(t)) if t.buffer.is_some()),
            What::Parts(parts) => parts.get(&name).is_some_and(|(model, inner)| model.has_buffer(cx, *inner)),
        }
    }
}

/// Whether a value has a model in it whose tensor of this name is a buffer.
fn buffer_in(value: &Value, cx: &mut Cx<'_>, name: NameId) -> bool {
    match value {
        Value::Model(m) => m.has_buffer(cx, name),
        Value::List(l) | Value::Tuple(l) => l.iter().any(|v| buffer_in(v, cx, name)),
        _ => false,
    }
}

impl Lift {
    /// The models among the arguments, with where they stand.
    pub fn models(&self) -> Models {
        self.models.get_or_init(|| self.collect_models()).clone()
    }

    fn collect_models(&self) -> Models {
        fn collect(value: &Value, span: Span, into: &mut Vec<(Rc<Model>, Span)>) {
            match value {
                Value::Model(m) => into.push((m.clone(), span)),
                Value::List(l) | Value::Tuple(l) => l.iter().for_each(|v| collect(v, span, into)),
                _ => {}
            }
        }
        let mut models = Vec::new();
        for (i, arg) in self.args.iter().enumerate() {
            if let (Some(a), false) = (arg, self.is_fixed(i)) {
                match &a.value {
                    Value::List(l) => l.iter().enumerate().for_each(|(k, v)| collect(v, a.part(k), &mut models)),
                    other => collect(other, a.span, &mut models),
                }
            }
        }
        models.into()
    }
}

impl Lift {
    fn is_fixed(&self, index: usize) -> bool {
        self.fixed.get(index).copied().unwrap_or(false)
    }
}

impl<'p> Cx<'p> {
    /// A function to be applied name by name to the models among `args`.
    pub(super) fn lift(&mut self, op: LiftOp, args: Vec<Option<Argument>>, fixed: Vec<bool>, span: Span) -> Rc<Lift> {
        let watched = self.watched(&args);
        Rc::new(Lift {
            op,
            args,
            fixed,
            span,
            turns: self.turns.clone(),
            path: self.path.clone(),
            keys: self.keys.clone(),
            calls: self.calls.clone(),
            watched,
            results: RefCell::default(),
            models: OnceCell::new(),
        })
    }

    /// The model that a lifted function gives.
    pub(super) fn lifted(&mut self, op: LiftOp, args: Vec<Option<Argument>>, span: Span) -> Value {
        let lift = self.lift(op, args, Vec::new(), span);
        let models = lift.models();
        let origin = self.origin_of(&models);
        Value::Model(Model::new(What::Lift(lift, Rc::from([])), origin))
    }

    /// The checkpoint that a model made of these takes its small files from: the first that has one.
    pub(super) fn origin_of(&mut self, models: &[(Rc<Model>, Span)]) -> Option<u32> {
        let weights =
            models.iter().find(|(m, _)| m.origin.is_some_and(|o| self.opened[o as usize].role == merge_abi::Role::Weights));
        weights.or(models.iter().find(|(m, _)| m.origin.is_some())).and_then(|(m, _)| m.origin)
    }

    /// The names that a lifted function has a value for: those of the weights, which must agree; where all
    /// are deltas, those of any.
    fn names_of_lift(&mut self, lift: &Rc<Lift>) -> Result<Rc<[NameId]>, Reported> {
        let models = lift.models();
        let mut full: Vec<(Rc<[NameId]>, Span)> = Vec::new();
        let mut deltas: Vec<(Rc<[NameId]>, Span)> = Vec::new();
        for (model, span) in models.iter() {
            let names = model.names(self)?;
            let list = if model.is_partial(self) { &mut deltas } else { &mut full };
            list.push((names, *span));
        }
        let Some((first, first_span)) = full.first().cloned() else {
            if let [(only, _)] = deltas.as_slice() {
                return Ok(only.clone());
            }
            let all: FxHashSet<NameId> = deltas.iter().flat_map(|(n, _)| n.iter().copied()).collect();
            return Ok(self.names.sorted(all.into_iter().collect()));
        };
        for (names, span) in &full[1..] {
            if Rc::ptr_eq(names, &first) || *names == first {
                continue;
            }
            let (here, there): (FxHashSet<_>, FxHashSet<_>) = (first.iter().collect(), names.iter().collect());
            let lacks: Vec<NameId> = first.iter().filter(|n| !there.contains(n)).copied().collect();
            let more: Vec<NameId> = names.iter().filter(|n| !here.contains(n)).copied().collect();
            return Err(self.names_disagree(lift, (first_span, lacks.len()), (*span, more.len()), &lacks, &more));
        }
        for (names, span) in &deltas {
            let here: FxHashSet<_> = first.iter().collect();
            let more: Vec<NameId> = names.iter().filter(|n| !here.contains(n)).copied().collect();
            if !more.is_empty() {
                let calls = std::mem::replace(&mut self.calls, lift.calls.clone());
                let d = Diagnostic::new(
                    codes::NAMES_DISAGREE,
                    "these differences have tensors that the model lacks",
                    *span,
                    format!("has {}", list_names(&self.names.texts(&more), 3)),
                )
                .label(first_span, "has no such tensor")
                .help(
                    "leave them out with `without(d, \"pattern\")`, or pick the names that are meant: `d[\"model.layers.**\"]`",
                );
                let reported = self.report_without_tensor(d);
                self.calls = calls;
                return Err(reported);
            }
        }
        Ok(first)
    }

    fn names_disagree(
        &mut self,
        lift: &Rc<Lift>,
        (a, lacking): (Span, usize),
        (b, adding): (Span, usize),
        lacks: &[NameId],
        more: &[NameId],
    ) -> Reported {
        let (a_name, b_name) = (self.describe(a), self.describe(b));
        let mut d = Diagnostic::without_place(codes::NAMES_DISAGREE, "models do not have the same tensors");
        let one_place = a == b;
        let a_text = match adding {
            0 => format!("{a_name} has {lacking} that {b_name} lacks"),
            _ => format!("{a_name} lacks {}", list_names(&self.names.texts(more), 3)),
        };
        let b_text = match lacking {
            0 => format!("{b_name} has {adding} that {a_name} lacks"),
            _ => format!("{b_name} lacks {}", list_names(&self.names.texts(lacks), 3)),
        };
        if one_place {
            d.labels.push(merge_base::Label { span: a, message: "of these models".into(), primary: true });
            let list = |names: &[NameId]| list_names(&self.names.texts(names), 3);
            if !lacks.is_empty() {
                d = d.note(format!("one has {}, another has not", list(lacks)));
            }
            if !more.is_empty() {
                d = d.note(format!("another has {}, the first has not", list(more)));
            }
        } else {
            d.labels.push(merge_base::Label { span: b, message: b_text, primary: true });
            d = d.label(a, a_text);
        }
        d = d
            .help("blend the names they share in rules of `like`, or leave tensors out with `without(m, \"pattern\")`")
            .help("`mergec inspect A B` lists what differs");
        let calls = std::mem::replace(&mut self.calls, lift.calls.clone());
        let reported = self.report_without_tensor(d);
        self.calls = calls;
        reported
    }

    fn report_without_tensor(&mut self, d: Diagnostic) -> Reported {
        let tensor = self.tensor.take();
        let reported = self.report(d);
        self.tensor = tensor;
        reported
    }

    /// The tensor that a lifted function gives for a name; none if no model has the name.
    fn lift_at(&mut self, lift: &Rc<Lift>, name: NameId, path: &[usize]) -> Option<Result<TensorVal, Reported>> {
        let value = if path.is_empty() {
            self.lift_value(lift, name)?
        } else {
            let known = lift.results.borrow().get(&name).cloned();
            let whole = match known {
                Some(v) => v,
                None => {
                    let v = self.lift_value(lift, name)?;
                    lift.results.borrow_mut().insert(name, v.clone());
                    v
                }
            };
            path.iter().fold(whole, |v, i| match v {
                Value::Tuple(l) | Value::List(l) => l.get(*i).cloned().unwrap_or(Value::Poison),
                _ => Value::Poison,
            })
        };
        let before = self.tensor.replace(name);
        let calls = std::mem::replace(&mut self.calls, lift.calls.clone());
        let tensor = match &value {
            // A copied buffer stays one.
            Value::Tensor(t) => Ok(t.clone()),
            other => self.tensor(other, lift.span),
        };
        self.calls = calls;
        self.tensor = before;
        Some(tensor)
    }

    /// The value that a lifted function gives for a name.
    pub(super) fn lift_value(&mut self, lift: &Rc<Lift>, name: NameId) -> Option<Value> {
        let models = lift.models();
        let mut any = false;
        let mut missing = None;
        for (model, span) in models.iter() {
            if model.has(self, name) {
                any = true;
            } else if missing.is_none() && !model.is_partial(self) {
                missing = Some((model.clone(), *span));
            }
        }
        if !any {
            return None;
        }
        let before = self.tensor.replace(name);
        let turns = std::mem::replace(&mut self.turns, lift.turns.clone());
        let path = std::mem::replace(&mut self.path, lift.path.clone());
        let keys = std::mem::replace(&mut self.keys, lift.keys.clone());
        let calls = std::mem::replace(&mut self.calls, lift.calls.clone());
        let value = if let Some((model, span)) = missing {
            self.no_such_tensor(&model, name, span);
            Value::Poison
        } else {
            let args: Vec<Option<Argument>> = lift
                .args
                .iter()
                .enumerate()
                .map(|(i, a)| {
                    let a = a.as_ref()?;
                    if lift.is_fixed(i) {
                        return Some(a.clone());
                    }
                    let value = self.value_at(&a.value, a.span, name, &models);
                    Some(Argument { value, span: a.span, parts: a.parts.clone() })
                })
                .collect();
            self.as_watched(&lift.watched, |cx| cx.apply_lifted(&lift.op, args, lift.span))
        };
        self.tensor = before;
        self.turns = turns;
        self.path = path;
        self.keys = keys;
        self.calls = calls;
        Some(value)
    }

    /// `value` with each model in it replaced by its tensor of `name`, or by zeros where a delta has none.
    fn value_at(&mut self, value: &Value, span: Span, name: NameId, models: &[(Rc<Model>, Span)]) -> Value {
        match value {
            Value::Model(m) => match m.get(self, name) {
                Some(t) => t.into(),
                None => {
                    let shape = models.iter().find_map(|(other, _)| other.get(self, name));
                    match shape {
                        Some(Ok(t)) => {
                            let shape = self.shape(&t);
                            self.zeros(&shape, span).into()
                        }
                        _ => Value::Poison,
                    }
                }
            },
            Value::List(l) => Value::List(l.iter().map(|v| self.value_at(v, span, name, models)).collect()),
            Value::Tuple(l) => Value::Tuple(l.iter().map(|v| self.value_at(v, span, name, models)).collect()),
            other => other.clone(),
        }
    }

    /// Reports that a model lacks a name.
    pub(super) fn no_such_tensor(&mut self, model: &Rc<Model>, name: NameId, span: Span) -> Reported {
        let text = self.names.text(name).to_string();
        let names = model.names(self).map(|n| self.names.texts(&n)).unwrap_or_default();
        let message = format!("{} has no tensor `{text}`", self.describe(span));
        let mut d = Diagnostic::new(codes::NO_SUCH_TENSOR, message, span, "");
        if let Some(close) = did_you_mean(&text, names.iter().map(String::as_str)) {
            d = d.help(format!("did you mean `{close}`?"));
        } else {
            d = d.help("`mergec inspect CHECKPOINT` lists the names of a checkpoint");
        }
        self.report(d)
    }
}
