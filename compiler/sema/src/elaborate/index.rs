//! Indexing: members of lists and strings, tensors and parts of models, slices of tensors.

use super::context::Cx;
use super::expressions::Frame;
use super::model::{LiftOp, Model};
use crate::codes::{models, types as codes};
use crate::hir::Expr;
use crate::pattern::{CaptureValue, Matches, Pattern};
use crate::value::{Argument, RangeVal, Reported, TensorVal, Value};
use merge_base::{Diagnostic, Span, did_you_mean};
use merge_ir::tir::Op;
use rustc_hash::FxHashMap;
use std::rc::Rc;

impl<'p> Cx<'p> {
    /// `args[0][args[1], …]`.
    pub(super) fn index(&mut self, args: Vec<Option<Argument>>, span: Span) -> Value {
        let mut given = args.iter().flatten();
        let Some(base) = given.next().cloned() else { return Value::Poison };
        let indices: Vec<Argument> = given.cloned().collect();
        if base.value.is_poison() && !matches!(base.value, Value::List(_)) || indices.iter().any(|i| i.value.is_poison()) {
            return Value::Poison;
        }
        match (&base.value, indices.as_slice()) {
            (Value::Model(m), [Argument { value: Value::Str(name), span: at, .. }]) => {
                let id = self.names.id(name);
                match m.get(self, id) {
                    Some(t) => t.into(),
                    None => {
                        self.no_tensor_at(m, name, base.span, *at);
                        Value::Poison
                    }
                }
            }
            (Value::Model(_), _) => self.lifted(LiftOp::Index, args, span),
            (Value::Tensor(t), _) => self.slice(t, base.span, &indices, span).into(),
            (Value::List(l), [i]) => self.member(l, i).into(),
            (Value::Str(s), [i]) => {
                let letters: Rc<[Value]> = s.chars().map(|c| Value::Str(c.to_string().into())).collect();
                match self.member(&letters, i) {
                    Ok(Value::List(l)) => {
                        let text: String =
                            l.iter().filter_map(|v| if let Value::Str(s) = v { Some(&**s) } else { None }).collect();
                        Value::Str(text.into())
                    }
                    other => other.into(),
                }
            }
            (Value::List(_) | Value::Str(_), _) => {
                self.error(codes::WRONG_KIND, "a list has one index", span, "");
                Value::Poison
            }
            (other, _) => {
                let mut d = Diagnostic::new(codes::WRONG_KIND, format!("{} cannot be indexed", other.kind()), base.span, "");
                if matches!(other, Value::Tuple(_)) {
                    d = d.help("name its parts: `let (a, b) = …`");
                }
                self.report(d);
                Value::Poison
            }
        }
    }

    fn member(&mut self, list: &Rc<[Value]>, index: &Argument) -> Result<Value, Reported> {
        let len = list.len() as i64;
        match &index.value {
            Value::Int(i) => match usize::try_from(*i).ok().and_then(|i| list.get(i)) {
                Some(v) => Ok(v.clone()),
                None => {
                    let label = if len == 0 { "the list is empty".into() } else { format!("the last member is {}", len - 1) };
                    Err(self.error(codes::OUT_OF_RANGE, format!("no member {i} in a list of {len}"), index.span, label))
                }
            },
            Value::Range(r) => {
                let (a, b) = self.bounds(r, list.len() as u64, index.span)?;
                Ok(Value::List(list[a as usize..b as usize].into()))
            }
            other => {
                let message = format!("a list is indexed by an int or a range of ints, and this is {}", other.kind());
                Err(self.error(codes::WRONG_KIND, message, index.span, ""))
            }
        }
    }

    /// The ints of `a..b` within `0..len`.
    fn bounds(&mut self, range: &RangeVal, len: u64, span: Span) -> Result<(u64, u64), Reported> {
        let mut bound = |v: &Option<Value>, default: i64| match v {
            None => Ok(default),
            Some(Value::Int(i)) => Ok(*i),
            Some(Value::Poison) => Err(Reported),
            Some(other) => {
                let message = format!("a slice goes from an int to an int, and this is {}", other.kind());
                Err(self.report(
                    Diagnostic::new(codes::NOT_STATIC, message, span, "")
                        .help("how many entries are taken must be known before the recipe runs"),
                ))
            }
        };
        let start = bound(&range.start, 0)?;
        let end = bound(&range.end, len as i64)?;
        let end = if range.inclusive && range.end.is_some() { end.saturating_add(1) } else { end };
        if start < 0 || end < start || end > len as i64 {
            let label = format!("there are {len}, from 0 to {}", len as i64 - 1);
            return Err(self.error(codes::OUT_OF_RANGE, format!("the slice {start}..{end} lies outside"), span, label));
        }
        Ok((start as u64, end as u64))
    }

    fn slice(&mut self, t: &TensorVal, at: Span, indices: &[Argument], span: Span) -> Result<TensorVal, Reported> {
        let shape = self.shape(t);
        if indices.len() > shape.len() {
            let label = format!("this has {}", self.show_shape(&shape));
            let message = format!("{} indices for a tensor of {} axes", indices.len(), shape.len());
            return Err(self.error(codes::WRONG_SHAPE, message, at, label));
        }
        let (mut start, mut size, mut kept) = (vec![0; shape.len()], shape.to_vec(), Vec::new());
        for (axis, len) in shape.iter().enumerate() {
            match indices.get(axis).map(|i| (&i.value, i.span)) {
                None => kept.push(*len),
                Some((Value::Range(r), span)) => {
                    let (a, b) = self.bounds(r, *len, span)?;
                    (start[axis], size[axis]) = (a, b - a);
                    kept.push(b - a);
                }
                Some((Value::Int(i), span)) => {
                    if *i < 0 || *i as u64 >= *len {
                        let label = format!("axis {axis} has {len} entries");
                        return Err(self.error(codes::OUT_OF_RANGE, format!("no entry {i} along axis {axis}"), span, label));
                    }
                    (start[axis], size[axis]) = (*i as u64, 1);
                }
                Some((other, span)) => {
                    let message = format!("a tensor is indexed by ints and ranges of ints, and this is {}", other.kind());
                    let d = Diagnostic::new(codes::WRONG_KIND, message, span, "");
                    let help = format!("`take(x, at, axis: {axis})` takes the slices at the places in a list or a tensor");
                    return Err(self.report(if matches!(other, Value::Tensor(_) | Value::List(_)) { d.help(help) } else { d }));
                }
            }
        }
        let mut node = t.node;
        if *size != *shape {
            node = self.graph.add(Op::Slice { input: node, start: start.into() }, size.into(), span);
        }
        if kept.len() != shape.len() {
            node = self.graph.add(Op::Reshape { input: node }, kept.into(), span);
        }
        Ok(TensorVal { node, ..t.clone() })
    }

    /// Reports an index of a model by a name it lacks.
    fn no_tensor_at(&mut self, model: &Rc<Model>, name: &str, base: Span, at: Span) -> Reported {
        let Ok(names) = model.names(self) else { return Reported };
        let names = self.names.texts(&names);
        let mut d = Diagnostic::new(models::NO_SUCH_TENSOR, format!("{} has no tensor `{name}`", self.describe(base)), at, "");
        match did_you_mean(name, names.iter().map(String::as_str)) {
            Some(close) => d = d.help(format!("did you mean `{close}`?")),
            None => d = d.help("`mergec inspect CHECKPOINT` lists the names of a checkpoint"),
        }
        self.report(d)
    }

    /// A pattern with the expressions in it evaluated.
    pub(super) fn fill_pattern(&mut self, pattern: &'p Pattern, frame: &mut Frame) -> Result<Pattern, Reported> {
        if pattern.holes().is_empty() {
            return Ok(pattern.clone());
        }
        let mut texts = Vec::new();
        for hole in pattern.holes() {
            let value = self.expr(hole, frame);
            texts.push(self.hole_text(&value, hole.span)?);
        }
        Ok(pattern.with_holes(&texts))
    }

    /// The lists behind the `in` of a pattern's captures.
    pub(super) fn domains(&mut self, domains: Vec<Option<&'p Expr>>, frame: &mut Frame) -> Result<Domains, Reported> {
        let mut lists = Vec::new();
        for domain in domains {
            lists.push(match domain {
                None => None,
                Some(e) => {
                    let value = self.expr(e, frame);
                    Some(self.members(&value, e.span)?)
                }
            });
        }
        Ok(Domains(lists))
    }

    /// The part of a model whose names match.
    pub(super) fn sub_model(
        &mut self,
        model: &Rc<Model>,
        pattern: &'p Pattern,
        base: Span,
        at: Span,
        frame: &mut Frame,
    ) -> Value {
        let Ok(filled) = self.fill_pattern(pattern, frame) else { return Value::Poison };
        let captures = pattern.captures().iter().map(|c| c.domain.as_ref()).collect();
        let (Ok(domains), Ok(names)) = (self.domains(captures, frame), model.names(self)) else { return Value::Poison };
        let mut parts = FxHashMap::default();
        for name in names.iter() {
            if filled.matches(self.names.text(*name), &|c, v| domains.holds(c, v)) != Matches::No {
                parts.insert(*name, (model.clone(), *name));
            }
        }
        if parts.is_empty() {
            let message = format!("no tensor of {} matches this pattern", self.describe(base));
            let mut d = Diagnostic::new(models::NO_SUCH_TENSOR, message, at, "");
            let texts = self.names.texts(&names);
            if let Some(first) = texts.first() {
                d = d.note(format!("its names look like `{first}`"));
            }
            self.report(d);
            return Value::Poison;
        }
        Value::Model(Model::of_parts(parts, model.origin))
    }
}

/// The lists behind the `in` of captures, by capture.
pub(super) struct Domains(Vec<Option<Rc<[Value]>>>);

impl Domains {
    /// Whether a capture may have this value.
    pub fn holds(&self, capture: usize, value: &CaptureValue) -> bool {
        let Some(Some(list)) = self.0.get(capture) else { return true };
        list.iter().any(|member| match (member, value) {
            (Value::Int(a), CaptureValue::Int(b)) => a == b,
            (Value::Str(a), CaptureValue::Str(b)) => **a == **b,
            // Names such as `7` come as ints where the list may hold strings.
            (Value::Str(a), CaptureValue::Int(b)) => **a == b.to_string(),
            _ => false,
        })
    }
}
