//! Parameters: `new` tensors, each under the path of lets, calls and arms that leads to it, as decisions are.

use super::super::context::Cx;
use super::super::expressions::Frame;
use super::super::findings::{CallSite, first_difference, same_calls};
use super::super::names::Places;
use super::super::path::push_with_keys;
use crate::codes::names::DEFINED_TWICE;
use crate::codes::types as codes;
use crate::hir::{Callee, Dim, Expr, ExprKind};
use crate::space::Taint;
use crate::value::{Reported, TensorVal, Value};
use merge_base::{Diagnostic, Span};
use merge_ir::tir::{Op, Parameter, ParameterId, Scope};

use std::rc::Rc;

/// A tensor to be trained, as it is asked for.
pub(crate) struct NewParameter {
    /// Its name, the path around in front.
    pub name: String,
    pub shape: Rc<[u64]>,
    /// What it starts as: of its shape, or a number.
    pub start: TensorVal,
    /// The start value as the recipe writes it.
    pub written: String,
    /// Whether training changes it by gradients.
    pub trainable: bool,
    pub span: Span,
}

/// How a parameter was reached: where it stands, and the calls around.
struct Reached {
    id: ParameterId,
    span: Span,
    calls: Option<Rc<CallSite>>,
}

/// The parameters of a graph, found by their names.
#[derive(Default)]
pub(in super::super) struct Known {
    all: Vec<Reached>,
    places: Places,
}

impl<'p> Cx<'p> {
    /// The parameter of this name and path, made now or known from when this place was reached before.
    ///
    /// # Errors
    /// Another place has a parameter of that name, or this place had one of another shape or start; both are reported.
    pub(crate) fn parameter(&mut self, new: NewParameter) -> Result<TensorVal, Reported> {
        self.parameters_asked += 1;
        let (id, degree) = (new.name, new.start.degree.clone());
        let known = &self.known_parameters;
        let found = known.places.find(&id, |i| &self.graph.parameters[known.all[i].id.0 as usize].name);
        if let (Ok(place), false) = (found, self.symbolic) {
            let known = &known.all[place];
            let (at, made) = (known.id, &self.graph.parameters[known.id.0 as usize]);
            if known.span != new.span || !same_calls(&known.calls, &self.calls) {
                let (first, differ) = (known.span, first_difference(&known.calls, &self.calls));
                return Err(self.two_parameters(&id, first, differ, new.span));
            }
            if made.shape != new.shape || made.start != new.start.node {
                let (before, now) = (self.show_shape(&made.shape), self.show_shape(&new.shape));
                let message = format!("the parameter `{id}` is made twice, with two shapes or start values");
                let d = Diagnostic::new(DEFINED_TWICE, message, new.span, format!("once {before}, once {now}"))
                    .help("what tells the two apart belongs into the name: a capture of the rule, or a `let` around each call");
                return Err(self.report(d));
            }
            let node = self.graph.add(Op::Parameter(at), new.shape, new.span);
            return Ok(TensorVal::new(node, degree));
        }
        let at = ParameterId(self.graph.parameters.len() as u32);
        let reached = Reached { id: at, span: new.span, calls: self.calls.clone() };
        match found {
            // Tried with other arguments, it is made anew.
            Ok(place) => self.known_parameters.all[place] = reached,
            Err(slot) => {
                self.known_parameters.places.put(slot, self.known_parameters.all.len());
                self.known_parameters.all.push(reached);
            }
        }
        self.graph.parameters.push(Parameter {
            name: id,
            shape: new.shape.clone(),
            start: new.start.node,
            written: new.written,
            trainable: new.trainable,
            span: new.span,
        });
        let node = self.graph.add(Op::Parameter(at), new.shape, new.span);
        Ok(TensorVal::new(node, degree))
    }

    /// The path of lets, calls and arms around, with its keys, and the name. In a rule, and where a function is applied to the
    /// tensors of a model one by one, the name of the tensor is a key, which stands for the captures of the rule.
    pub(crate) fn parameter_name(&self, name: &str) -> String {
        let Some(tensor) = self.tensor else { return self.decision_id(name, &self.keys, false) };
        let tensor = self.names.text(tensor).to_string();
        let (outer, of_rule) = match &self.rule_keys {
            Some((outer, keys)) if self.keys.is_empty() || self.keys.starts_with(keys) => (*outer, keys.as_slice()),
            _ => (0, &[][..]),
        };
        let suffix = format!("[{}]", of_rule.join(", "));
        let mut id = String::new();
        for segment in self.path.segments() {
            match segment.strip_suffix(&suffix).filter(|_| !of_rule.is_empty()) {
                Some(bare) => push_with_keys(&mut id, bare, &of_rule[..outer]),
                None => id.push_str(segment),
            }
            id.push('.');
        }
        let inner = self.keys.get(of_rule.len()..).unwrap_or_default();
        let before = if self.keys.is_empty() { &[][..] } else { &of_rule[..outer] };
        let keys: Vec<String> = before.iter().chain([&tensor]).chain(inner).cloned().collect();
        push_with_keys(&mut id, name, &keys);
        id
    }

    /// Notes that what was made since the graph had `made` nodes stands in the scope at hand, where nothing inside of it has one already.
    pub(in super::super) fn end_scope(&mut self, made: usize) {
        let trains = self.in_network || self.parameters_asked > 0;
        if !trains || self.symbolic || self.watch.is_some() || self.graph.len() == made {
            return;
        }
        // Without a name of its own, the path ends with a dot, in front of the keys.
        let name = self.parameter_name("").replace(".[", "[").trim_end_matches('.').to_owned();
        self.graph.scopes.push(Scope { nodes: made as u32..self.graph.len() as u32, name });
    }

    /// Reports two parameters of one name, by their places and by the calls that lead to them, where those differ.
    fn two_parameters(&mut self, id: &str, first: Span, differ: Option<(Span, Span)>, second: Span) -> Reported {
        let message = format!("two parameters are called `{id}`");
        if first != second {
            let d = Diagnostic::new(DEFINED_TWICE, message, second, "again here").label(first, "first here");
            return self.report(d.help("give one of them another name, or put a `let` of its own around it"));
        }
        let d = match differ {
            Some((a, b)) => Diagnostic::new(DEFINED_TWICE, message, b, "reached by this call").label(a, "and before by this one"),
            None => Diagnostic::new(DEFINED_TWICE, message, second, "reached by two calls"),
        };
        // The parameters of one layer come in twos and threes: one report is enough.
        let at = d.primary_span().unwrap_or(second);
        if self.broken.contains(&(DEFINED_TWICE, at)) {
            return Reported;
        }
        let reported = self.report(d.help("give one of the calls a name, which becomes part of the path: `let second = …`"));
        self.broken.insert((DEFINED_TWICE, at));
        reported
    }

    /// `new name[dims] = start`.
    pub(in super::super) fn new_tensor(
        &mut self,
        name: &str,
        dims: Option<&'p [Dim]>,
        start: &'p Expr,
        span: Span,
        frame: &mut Frame,
    ) -> Result<Value, Reported> {
        let shape: Option<Rc<[u64]>> = match dims {
            Some(dims) => Some(self.lengths(dims, looks_at_no_length(start), frame)?.into()),
            None => None,
        };
        let (value, id) = self.starting_as(name, shape.clone(), |cx| cx.expr(start, frame));
        self.read_shape(&value);
        let value = match self.tensor_of_rule(&value) {
            Some(tensor) => {
                let tensor = tensor?;
                self.float(&tensor, start.span)?
            }
            None => self.tensor(&value, start.span)?,
        };
        let own = self.shape(&value);
        if let Some(shape) = shape.as_ref().filter(|s| !own.is_empty() && own != **s) {
            let message = format!("`new {name}` and its start value have different shapes");
            let label = format!("this has {}, `{name}` has {}", self.show_shape(&own), self.show_shape(shape));
            return Err(self.error(codes::WRONG_SHAPE, message, start.span, label));
        }
        if !self.symbolic && self.depends_on_network(value.node) {
            let message = format!("`new {name}` starts from what the network computes");
            let d = Diagnostic::new(codes::NOT_STATIC, message, start.span, "this needs an input or a trained tensor")
                .help("a start value is made before training: of numbers, random ones, and tensors of checkpoints");
            return Err(self.report(d));
        }
        let written = in_one_line(self.text(start.span));
        let shape = shape.unwrap_or(own);
        Ok(self.parameter(NewParameter { name: id, shape, start: value, written, trainable: true, span })?.into())
    }

    /// The lengths of the axes that a `new` tensor declares. `apart`: whether nothing looks at several of them.
    fn lengths(&mut self, dims: &'p [Dim], apart: bool, frame: &mut Frame) -> Result<Vec<u64>, Reported> {
        let mut shape = Vec::with_capacity(dims.len());
        let note = |cx: &mut Self, taint: Taint| match apart && cx.watches_axes() {
            true => {
                cx.mention(taint);
                cx.gather(taint);
            }
            false => cx.read(taint),
        };
        for dim in dims {
            match dim {
                Dim::Expr(e) => {
                    let (value, taint) = self.apart_expr(e, frame);
                    note(self, taint);
                    match value {
                        Value::Int(n @ 1..) => shape.push(n as u64),
                        Value::Poison => return Err(Reported),
                        other => {
                            let message = match other {
                                Value::Int(n) => format!("an axis has a length from 1, and this is {n}"),
                                other => format!("the length of an axis is an int, and this is {}", other.kind()),
                            };
                            return Err(self.error(codes::WRONG_KIND, message, e.span, ""));
                        }
                    }
                }
                Dim::Rest(local, _) | Dim::BindRest(local, _) => {
                    note(self, frame.taint(*local));
                    if let Some(Value::List(l)) = frame.locals.get(local.0 as usize) {
                        shape.extend(l.iter().filter_map(|v| if let Value::Int(n) = v { Some(*n as u64) } else { None }));
                    }
                }
                Dim::Bind(local, _) => {
                    note(self, frame.taint(*local));
                    if let Some(Value::Int(n)) = frame.locals.get(local.0 as usize) {
                        shape.push(*n as u64);
                    }
                }
            }
        }
        Ok(shape)
    }
}

/// Whether a start value is the same however long the axes are.
fn looks_at_no_length(start: &Expr) -> bool {
    const STARTS: &[&str] = &["zeros", "ones", "constant", "kaiming", "xavier", "normal", "uniform"];
    let is_number = |e: &Expr| match &e.kind {
        ExprKind::Unary { value, .. } => matches!(value.kind, ExprKind::Int(_) | ExprKind::Float(..)),
        kind => matches!(kind, ExprKind::Int(_) | ExprKind::Float(..)),
    };
    match &start.kind {
        ExprKind::Call { callee: Callee::Primitive(name), args, .. } => {
            STARTS.contains(name) && args.iter().all(|a| is_number(&a.value))
        }
        _ => is_number(start),
    }
}

/// A text of the recipe without breaks between lines.
fn in_one_line(text: &str) -> String {
    let is_plain = !text.contains(['\n', '\t', '\r']) && !text.contains("  ") && text.trim().len() == text.len();
    if is_plain { text.to_owned() } else { text.split_whitespace().collect::<Vec<_>>().join(" ") }
}
