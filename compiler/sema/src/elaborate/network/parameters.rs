//! Parameters: `new` tensors, each under the path of lets, calls and arms that leads to it, as decisions are.

use super::super::choices::with_keys;
use super::super::context::Cx;
use super::super::expressions::Frame;
use crate::codes::names::DEFINED_TWICE;
use crate::codes::types as codes;
use crate::hir::{Dim, Expr};
use crate::value::{Reported, TensorVal, Value};
use merge_base::{Diagnostic, Span};
use merge_ir::tir::{NodeId, Op, Parameter, ParameterId};
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;

/// A tensor to be trained, as it is asked for.
pub(crate) struct NewParameter<'a> {
    /// Its own name, to which the path around is put in front.
    pub name: &'a str,
    pub shape: Rc<[u64]>,
    /// What it starts as: of its shape, or a number.
    pub start: TensorVal,
    /// The start value as the recipe writes it.
    pub written: String,
    /// Whether training changes it by gradients.
    pub trainable: bool,
    pub span: Span,
}

/// How a parameter was reached: where it stands, and the calls around, outermost last.
pub(in super::super) struct Reached {
    id: ParameterId,
    span: Span,
    chain: Vec<Span>,
}

/// The parameters of a graph by their names.
pub(in super::super) type Known = FxHashMap<String, Reached>;

impl<'p> Cx<'p> {
    /// The parameter of this name and path, made now or known from when this place was reached before.
    ///
    /// # Errors
    /// Another place has a parameter of that name, or this place had one of another shape or start; both are reported.
    pub(crate) fn parameter(&mut self, new: NewParameter<'_>) -> Result<TensorVal, Reported> {
        self.parameters_asked += 1;
        let id = self.parameter_name(new.name);
        let chain = self.call_spans();
        let degree = new.start.degree.clone();
        let known = self.known_parameters.get(&id).filter(|_| !self.symbolic);
        if let Some(known) = known {
            let (at, made) = (known.id, &self.graph.parameters[known.id.0 as usize]);
            if known.span != new.span || known.chain != chain {
                let (first, other) = (known.span, known.chain.clone());
                return Err(self.two_parameters(&id, (first, &other), (new.span, &chain)));
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
        self.known_parameters.insert(id.clone(), Reached { id: at, span: new.span, chain });
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
        for segment in &self.path {
            match segment.strip_suffix(&suffix).filter(|_| !of_rule.is_empty()) {
                Some(bare) => id.push_str(&with_keys(bare, &of_rule[..outer])),
                None => id.push_str(segment),
            }
            id.push('.');
        }
        let inner = self.keys.get(of_rule.len()..).unwrap_or_default();
        let before = if self.keys.is_empty() { &[][..] } else { &of_rule[..outer] };
        let keys: Vec<String> = before.iter().chain([&tensor]).chain(inner).cloned().collect();
        id.push_str(&with_keys(name, &keys));
        id
    }

    fn call_spans(&self) -> Vec<Span> {
        let sites = std::iter::successors(self.calls.as_deref(), |site| site.caller.as_deref());
        sites.map(|site| site.span).collect()
    }

    /// Reports two parameters of one name, by the places and calls that lead to them.
    fn two_parameters(&mut self, id: &str, (first, known): (Span, &[Span]), (second, chain): (Span, &[Span])) -> Reported {
        let message = format!("two parameters are called `{id}`");
        if first != second {
            let d = Diagnostic::new(DEFINED_TWICE, message, second, "again here").label(first, "first here");
            return self.report(d.help("give one of them another name, or put a `let` of its own around it"));
        }
        let differ = known.iter().rev().zip(chain.iter().rev()).find(|(a, b)| a != b);
        let d = match differ {
            Some((a, b)) => {
                Diagnostic::new(DEFINED_TWICE, message, *b, "reached by this call").label(*a, "and before by this one")
            }
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
            Some(dims) => Some(self.lengths(dims, frame)?.into()),
            None => None,
        };
        let value = self.starting_as(name, shape.clone(), |cx| cx.expr(start, frame));
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
        let written = self.text(start.span).split_whitespace().collect::<Vec<_>>().join(" ");
        let shape = shape.unwrap_or(own);
        Ok(self.parameter(NewParameter { name, shape, start: value, written, trainable: true, span })?.into())
    }

    /// The lengths of the axes that a `new` tensor declares.
    fn lengths(&mut self, dims: &'p [Dim], frame: &mut Frame) -> Result<Vec<u64>, Reported> {
        let mut shape = Vec::with_capacity(dims.len());
        for dim in dims {
            match dim {
                Dim::Expr(e) => match self.expr(e, frame) {
                    Value::Int(n @ 1..) => shape.push(n as u64),
                    Value::Poison => return Err(Reported),
                    other => {
                        let message = match other {
                            Value::Int(n) => format!("an axis has a length from 1, and this is {n}"),
                            other => format!("the length of an axis is an int, and this is {}", other.kind()),
                        };
                        return Err(self.error(codes::WRONG_KIND, message, e.span, ""));
                    }
                },
                Dim::Rest(local, _) | Dim::BindRest(local, _) => {
                    self.read(frame.taint(*local));
                    if let Some(Value::List(l)) = frame.locals.get(local.0 as usize) {
                        shape.extend(l.iter().filter_map(|v| if let Value::Int(n) = v { Some(*n as u64) } else { None }));
                    }
                }
                Dim::Bind(local, _) => {
                    self.read(frame.taint(*local));
                    if let Some(Value::Int(n)) = frame.locals.get(local.0 as usize) {
                        shape.push(*n as u64);
                    }
                }
            }
        }
        Ok(shape)
    }

    /// Whether an input, a layer or a parameter has a part in a node.
    fn depends_on_network(&self, node: NodeId) -> bool {
        let mut open = vec![node];
        let mut seen = FxHashSet::default();
        while let Some(next) = open.pop() {
            match &self.graph.node(next).op {
                Op::Parameter(_) | Op::Layer { .. } => return true,
                op => op.each_operand(|o| {
                    if seen.insert(o) {
                        open.push(o);
                    }
                }),
            }
        }
        false
    }
}
