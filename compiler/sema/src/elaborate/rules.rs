//! `like m { .. }` and `from m { .. }`: rules tried on every name of a model.

use super::RuleShare;
use super::context::{Cx, show_shape};
use super::expressions::Frame;
use super::model::Model;
use super::names::NameId;
use crate::codes::{models as codes, types};
use crate::coverage::{Subject, cover, cover_modules};
use crate::degree::Degree;
use crate::degree::explain::Wanted;
use crate::hir::{Expr, Lhs, ModelKind, Rule, RuleDim, Stmt};
use crate::pattern::CaptureValue;
use crate::space::Taint;
use crate::value::{Reported, TensorVal, Value};
use merge_base::{Diagnostic, Span};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// A rule, and how it matches: its captures, and the shape where it binds dims.
type Way<'a> = (usize, &'a [CaptureValue], Option<&'a [u64]>);

type Tensors = FxHashMap<NameId, Result<TensorVal, Reported>>;

impl<'p> Cx<'p> {
    pub(super) fn model_literal(
        &mut self,
        kind: ModelKind,
        of: &'p Expr,
        stmts: &'p [Stmt],
        rules: &'p [Rule],
        _span: Span,
        frame: &mut Frame,
    ) -> Value {
        let (value, names_by) = self.apart_expr(of, frame);
        for stmt in stmts {
            self.stmt(stmt, frame);
        }
        let word = if kind == ModelKind::Like { "like" } else { "from" };
        let model = match value {
            Value::Model(m) => m,
            Value::Poison => return Value::Poison,
            other => {
                let message = format!("`{word}` wants a model, and this is {}", other.kind());
                self.error(types::WRONG_KIND, message, of.span, "");
                return Value::Poison;
            }
        };
        let Ok(names) = model.names(self) else { return Value::Poison };
        // Tensors that could not be made were reported, and no rule is asked for them.
        let mut subjects: Vec<(NameId, TensorVal, Rc<[u64]>)> = Vec::with_capacity(names.len());
        for name in names.iter() {
            if let Some(Ok(t)) = model.get(self, *name) {
                let shape = self.shape(&t);
                subjects.push((*name, t, shape));
            }
        }
        // What decides which tensors a rule is asked for, and what the names and shapes of the result depend on.
        let (mut reached, mut structure) = (names_by, names_by);
        let mut domains = Vec::with_capacity(rules.len());
        for rule in rules {
            let captures = match &rule.lhs {
                Lhs::Pattern { pattern, .. } => pattern.captures().iter().map(|c| c.domain.as_ref()).collect(),
                Lhs::Module(m) => m.pattern.captures().iter().map(|c| c.domain.as_ref()).collect(),
                Lhs::Rest | Lhs::Error => Vec::new(),
            };
            let mut lists = Err(Reported);
            let (_, taint) = self.apart(|cx| {
                lists = cx.domains(captures, frame);
                Value::Bool(true)
            });
            reached = self.union(reached, taint);
            let Ok(lists) = lists else { return Value::Poison };
            domains.push(lists);
        }
        let texts: Vec<Rc<str>> = subjects.iter().map(|(n, ..)| self.names.text(*n).clone()).collect();
        let listed: Vec<(&str, &[u64])> = texts.iter().zip(&subjects).map(|(t, (_, _, s))| (&**t, &**s)).collect();
        let called = self.text(of.span).trim();
        let called = if called.len() > 40 || called.contains('\n') { "the model" } else { called };
        let subject = Subject { tensors: &listed, name: called, span: of.span };
        let in_domain = |rule: usize, capture: usize, value: &CaptureValue| domains[rule].holds(capture, value);
        let (coverage, found) = cover(rules, &subject, &in_domain);
        let (shares, of_modules) = cover_modules(rules, &subject, &in_domain);
        for (i, rule) in rules.iter().enumerate() {
            let tensors =
                coverage.rule_of.iter().filter(|r| **r == Some(i)).count() + shares.iter().filter(|s| s.rule == i).count();
            self.rules.push(RuleShare { span: rule.span, tensors });
        }
        let mut of_rules = vec![Taint::NONE; rules.len()];
        let (outer, outer_keys) = (self.tensor.take(), self.rule_keys.take());
        for d in found.into_iter().chain(of_modules) {
            self.report(d);
        }
        let mut tensors = Tensors::default();
        let mut given_by: FxHashMap<NameId, Span> = FxHashMap::default();
        // A rule gives the same model for all names that it matches in one way.
        let mut models: FxHashMap<Way<'_>, Rc<Model>> = FxHashMap::default();
        for (i, (name, original, shape)) in subjects.iter().enumerate() {
            let Some(rule_index) = coverage.rule_of[i] else { continue };
            let rule = &rules[rule_index];
            let captures = coverage.captures[i].as_slice();
            self.tensor = Some(*name);
            let key = (rule_index, captures, rule.shape.as_ref().map(|_| &**shape));
            let value = match models.get(&key) {
                Some(m) => Value::Model(m.clone()),
                None => {
                    self.binding(reached, |cx| cx.bind_rule(rule, captures, shape, frame));
                    let (keys, asked) = (self.keys.len(), self.parameters_asked);
                    self.keys.extend(captures.iter().map(|c| c.to_string()));
                    self.rule_keys = Some((keys, self.keys.clone()));
                    let decides = self.watch.is_some() && rules.iter().any(|r| self.decides(&r.value));
                    let made = self.graph.len();
                    let (value, taint) =
                        self.apart(|cx| cx.under(reached, decides, (rule.value.span, 0), |cx| cx.expr(&rule.value, frame)));
                    self.end_scope(made);
                    self.keys.truncate(keys);
                    of_rules[rule_index] = self.union(of_rules[rule_index], taint);
                    if let Value::Model(m) = &value
                        && !m.is_block()
                        && asked == self.parameters_asked
                    {
                        models.insert(key, m.clone());
                    }
                    value
                }
            };
            if let Value::Model(m) = &value
                && m.is_block()
            {
                if kind == ModelKind::Like {
                    self.block_in_like(rule.value.span);
                    continue;
                }
                structure = self.union(structure, of_rules[rule_index]);
                let Ok(inner) = m.names(self) else { continue };
                for new in inner.iter() {
                    let tensor = m.get(self, *new).unwrap_or(Err(Reported));
                    self.give(*new, tensor, rule, &mut tensors, &mut given_by);
                }
                continue;
            }
            let tensor = self.rule_tensor(&value, *name, rule.value.span);
            let tensor = match (kind, tensor) {
                (ModelKind::Like, Ok(t)) => self.fits(&t, original, shape, called, rule.value.span),
                (_, t) => t,
            };
            if tensor.as_ref().is_ok_and(|t| self.graph.shape(t.node) != shape) {
                structure = self.union(structure, of_rules[rule_index]);
            }
            self.give(*name, tensor, rule, &mut tensors, &mut given_by);
        }
        let replaced = self.binding(reached, |cx| cx.replaced_modules(&model, rules, &shares, frame));
        self.tensor = outer;
        self.rule_keys = outer_keys;
        // Where the rules themselves are broken, that the model is empty is no news.
        if tensors.is_empty() && coverage.rule_of.contains(&None) {
            return Value::Poison;
        }
        let Ok(replaced) = replaced.and_then(|own| self.with_inherited(&model, own, of.span)) else { return Value::Poison };
        let made = Model::of_tensors(tensors, model.origin);
        let _ = made.replaced.set(replaced);
        structure = self.union(structure, reached);
        made.structure.set(Some(structure));
        self.read(structure);
        Value::Model(made)
    }

    /// Captures and dims of a rule get the values they have for this tensor.
    fn bind_rule(&mut self, rule: &Rule, captures: &[CaptureValue], shape: &[u64], frame: &mut Frame) {
        if let Lhs::Pattern { captures: locals, .. } = &rule.lhs {
            for (local, value) in locals.iter().zip(captures) {
                let value = match value {
                    CaptureValue::Int(i) => Value::Int(*i),
                    CaptureValue::Str(s) => Value::Str(s.as_str().into()),
                };
                self.bind_local(*local, value, frame);
            }
        }
        let Some(dims) = &rule.shape else { return };
        let rest = dims.iter().position(|d| matches!(d, RuleDim::Rest(_)));
        for (i, dim) in dims.iter().enumerate() {
            let at = if rest.is_some_and(|r| i > r) { shape.len() - (dims.len() - i) } else { i };
            match dim {
                RuleDim::Bind(local) => self.bind_local(*local, Value::Int(shape[at] as i64), frame),
                RuleDim::Rest(local) => {
                    let own = &shape[at..at + shape.len() + 1 - dims.len()];
                    self.bind_local(*local, Value::List(own.iter().map(|n| Value::Int(*n as i64)).collect()), frame);
                }
                RuleDim::Ignore | RuleDim::Is(_) => {}
            }
        }
    }

    /// A tensor where one is wanted now: itself, or of a model in a rule the tensor of the matched name; none if it is neither.
    pub fn tensor_of_rule(&mut self, value: &Value) -> Option<Result<TensorVal, Reported>> {
        match value {
            Value::Tensor(t) => Some(Ok(t.clone())),
            Value::Model(m) => {
                let name = self.tensor?;
                m.get(self, name)
            }
            _ => None,
        }
    }

    /// The tensor a rule gives: a model's tensor of the matched name, or the tensor itself.
    fn rule_tensor(&mut self, value: &Value, name: NameId, span: Span) -> Result<TensorVal, Reported> {
        match value {
            Value::Model(m) => match m.get(self, name) {
                Some(t) => t,
                None => Err(self.no_such_tensor(m, name, span)),
            },
            Value::Tensor(t) => Ok(t.clone()),
            other => self.tensor(other, span),
        }
    }

    /// Whether a tensor can replace another in `like`.
    fn fits(
        &mut self,
        t: &TensorVal,
        original: &TensorVal,
        shape: &Rc<[u64]>,
        called: &str,
        span: Span,
    ) -> Result<TensorVal, Reported> {
        let own = self.shape(t);
        if own != *shape {
            let message = format!("a rule of `like {called}` keeps the shape");
            let label = format!("this has {}, `{called}` has {}", show_shape(&own), show_shape(shape));
            let d = Diagnostic::new(types::WRONG_SHAPE, message, span, label)
                .help(format!("`from {called} {{ .. }}` may change shapes"));
            return Err(self.report(d));
        }
        match (original.buffer, t.buffer) {
            (None, None) => {}
            (Some(a), Some(b)) if a == b => return Ok(t.clone()),
            (Some(a), _) => {
                let message = format!("`{called}` holds {a} here, and this rule gives something else");
                let d = Diagnostic::new(types::BUFFER_ARITHMETIC, message, span, "")
                    .help(format!("copy it by a rule before this one: \"**.{}\" => {called}", self.last_segment()));
                return Err(self.report(d));
            }
            (None, Some(b)) => {
                let message = format!("`{called}` holds floats here, and this rule gives {b}");
                return Err(self.error(types::BUFFER_ARITHMETIC, message, span, ""));
            }
        }
        let wanted = match &original.degree {
            Degree::Known(f) if f.is_one() => Wanted::Weight,
            Degree::Known(f) if f.is_zero() => Wanted::Delta,
            Degree::Known(f) => Wanted::Same(f.clone()),
            Degree::Lost(_) => return Ok(t.clone()),
        };
        if !wanted.is_met_by(&t.degree) {
            let asker = format!("a rule of `like {called}`");
            return Err(self.degree_mismatch(&t.degree, &wanted, &asker, span));
        }
        Ok(t.clone())
    }

    fn last_segment(&self) -> String {
        let name = self.tensor.map(|n| self.names.text(n).clone());
        name.and_then(|n| n.rsplit('.').next().map(str::to_string)).unwrap_or_default()
    }

    fn block_in_like(&mut self, span: Span) {
        let d = Diagnostic::new(
            codes::LIKE_GIVES_NAMES,
            "a rule of `like` gives one tensor under the name it matched",
            span,
            "this is a block of names",
        )
        .help("`from` renames, splits and drops tensors: `from base { .. }`");
        self.report(d);
    }

    fn give(
        &mut self,
        name: NameId,
        tensor: Result<TensorVal, Reported>,
        rule: &Rule,
        tensors: &mut Tensors,
        given_by: &mut FxHashMap<NameId, Span>,
    ) {
        if let Some(other) = given_by.insert(name, rule.span) {
            let message = format!("the name `{}` is given twice", self.names.text(name));
            let mut d = Diagnostic::new(codes::NAME_TWICE, message, rule.value.span, "");
            if other != rule.span {
                d = d.label(other, "given here too");
            }
            self.report(d.help("names that a rule gives must differ for each tensor it matches: use its captures"));
            return;
        }
        tensors.insert(name, tensor);
    }
}
