//! Settings: `choose` with a default, and what `--set` and `--model` say about them.

use super::context::Cx;
use super::expressions::Frame;
use super::types::show_range;
use crate::codes::{models as codes, names};
use crate::degree::{Degree, Frac};
use crate::hir::{Callee, Choose, Domain, Expr, ExprKind};
use crate::value::{RangeVal, Reported, TensorVal, Value};
use merge_abi::{BinaryFn, Setting, SettingId};
use merge_base::{Diagnostic, Span, did_you_mean, list_names};
use merge_ir::tir::Op;
use std::rc::Rc;

/// What a setting may be.
enum Choices {
    /// A launch scalar; both ends are allowed.
    Real(f64, f64),
    /// A launch scalar that is one of these.
    Reals(Vec<f64>),
    Ints(i64, i64),
    /// The members of a list, with the text `--set` knows them by.
    Members(Vec<(String, Value)>),
}

impl<'p> Cx<'p> {
    pub(super) fn choose(&mut self, c: &'p Choose, frame: &mut Frame) -> Value {
        if let Some(per) = &c.per {
            return self.not_there_yet("`per`", "leave it out: one decision for all", per.span);
        }
        let domain = match &c.domain {
            Domain::In(domain) => domain,
            Domain::Arms(_) => {
                return self.not_there_yet(
                    "`choose` with arms",
                    "write the arm you want in its place, or choose an int and use `if`",
                    c.name_span,
                );
            }
        };
        let Some(default) = &c.default else {
            return self.not_there_yet(
                "`choose` without a default",
                "give it one, which `--set` can change: `choose t in 0.0..=1.0 = 0.5`",
                c.name_span,
            );
        };
        let id = self.decision_id(&c.name);
        if self.symbolic {
            // A function is tried for any value: a number is an atom, anything else its default.
            let value = self.expr(default, frame);
            return match &value {
                Value::Tensor(_) => self.symbolic_scalar(&c.name, c.span).into(),
                _ => value,
            };
        }
        if let Some((_, value)) = self.chosen.iter().find(|(k, _)| *k == (c.span, id.clone())) {
            return value.clone();
        }
        if let Some(((other, _), _)) = self.chosen.iter().find(|((_, known), _)| *known == id) {
            // One `--set` would answer both.
            let d = Diagnostic::new(names::DEFINED_TWICE, format!("two decisions are called `{id}`"), c.name_span, "again here")
                .label(*other, "first here")
                .help("give one of them another name, or decide once: `choose` as a statement, and use its name");
            self.report(d);
            return Value::Poison;
        }
        let value: Value = self.decide(c, &id, domain, default, frame).into();
        self.chosen.push(((c.span, id), value.clone()));
        value
    }

    /// The path through lets and calls, then the captures and loop variables around.
    fn decision_id(&self, name: &str) -> String {
        let mut id = self.path.join(".");
        if !id.is_empty() {
            id.push('.');
        }
        id.push_str(name);
        if !self.keys.is_empty() {
            id.push_str(&format!("[{}]", self.keys.join(",")));
        }
        id
    }

    fn decide(
        &mut self,
        c: &'p Choose,
        id: &str,
        domain: &'p Expr,
        default: &'p Expr,
        frame: &mut Frame,
    ) -> Result<Value, Reported> {
        self.decisions.push(id.to_string());
        let choices = self.choices(domain, frame)?;
        let value = self.expr(default, frame);
        let answer = self.answers.set.iter().rev().find(|(n, _)| n == id).map(|(_, text)| text.clone());
        match choices {
            Choices::Real(low, high) => {
                let number = match &answer {
                    Some(text) => self.answered(text.trim().parse::<f64>().ok(), id, text, "a number", c.name_span)?,
                    None => self.known_number(&value, default.span)?,
                };
                if !(low..=high).contains(&number) {
                    return Err(self.outside(id, answer.as_deref(), &format!("in {low}..={high}"), c, default.span));
                }
                Ok(self.setting(id, number, Some((low, high)), c.span).into())
            }
            Choices::Reals(allowed) => {
                let number = match &answer {
                    Some(text) => self.answered(text.trim().parse::<f64>().ok(), id, text, "a number", c.name_span)?,
                    None => self.known_number(&value, default.span)?,
                };
                if !allowed.contains(&number) {
                    let listed: Vec<String> = allowed.iter().map(f64::to_string).collect();
                    return Err(self.outside(
                        id,
                        answer.as_deref(),
                        &format!("one of {}", list_names(&listed, 8)),
                        c,
                        default.span,
                    ));
                }
                let ends = allowed.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
                let scalar = self.setting(id, number, Some(ends), c.span);
                self.one_of(&scalar, &allowed, id, c.span)?;
                Ok(scalar.into())
            }
            Choices::Ints(low, high) => {
                let number = match (&answer, &value) {
                    (Some(text), _) => self.answered(text.trim().parse::<i64>().ok(), id, text, "an int", c.name_span)?,
                    (None, Value::Int(i)) => *i,
                    (None, Value::Poison) => return Err(Reported),
                    (None, other) => {
                        let message = format!("`{id}` is an int, and its default is {}", other.kind());
                        return Err(self.error(codes::BAD_ANSWER, message, default.span, ""));
                    }
                };
                if !(low..=high).contains(&number) {
                    return Err(self.outside(id, answer.as_deref(), &format!("in {low}..={high}"), c, default.span));
                }
                self.graph.structural.push((id.to_string(), number.to_string()));
                Ok(Value::Int(number))
            }
            Choices::Members(members) => {
                let found = match &answer {
                    Some(text) => {
                        // A string may be written as in the recipe, with its quotes.
                        let text = text.trim();
                        let bare = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
                        let fits = |(t, value): &(String, Value)| {
                            t == text || matches!(value, Value::Str(s) if bare.is_some_and(|b| **s == *b))
                        };
                        members.iter().position(fits)
                    }
                    None => {
                        let text = self.member_text(default, &value);
                        members.iter().position(|(t, _)| *t == text)
                    }
                };
                let Some(found) = found else {
                    let texts: Vec<&String> = members.iter().map(|m| &m.0).collect();
                    return Err(self.outside(
                        id,
                        answer.as_deref(),
                        &format!("one of {}", list_names(&texts, 8)),
                        c,
                        default.span,
                    ));
                };
                let (text, value) = members[found].clone();
                self.graph.structural.push((id.to_string(), text));
                Ok(value)
            }
        }
    }

    fn choices(&mut self, domain: &'p Expr, frame: &mut Frame) -> Result<Choices, Reported> {
        if let ExprKind::Call { callee: Callee::Primitive("log"), args, .. } = &domain.kind
            && let [low, high] = args.as_slice()
        {
            let (low_value, high_value) = (self.expr(&low.value, frame), self.expr(&high.value, frame));
            let low = self.known_number(&low_value, low.value.span)?;
            let high = self.known_number(&high_value, high.value.span)?;
            return self.real_choices(low, high, domain.span);
        }
        let value = self.expr(domain, frame);
        match &value {
            Value::Poison => Err(Reported),
            Value::Range(r) => match (&r.start, &r.end) {
                (Some(Value::Int(a)), Some(Value::Int(b))) => {
                    let high = if r.inclusive { *b } else { b.saturating_sub(1) };
                    if *a > high {
                        return Err(self.empty_domain(domain.span));
                    }
                    Ok(Choices::Ints(*a, high))
                }
                (Some(a), Some(b)) => {
                    let low = self.known_number(a, domain.span)?;
                    let high = self.known_number(b, domain.span)?;
                    self.real_choices(low, if r.inclusive { high } else { high.next_down() }, domain.span)
                }
                _ => Err(self.error(codes::BAD_ANSWER, "a range to choose from has two ends", domain.span, "")),
            },
            Value::List(l) if l.is_empty() => Err(self.empty_domain(domain.span)),
            Value::List(l) => {
                if l.iter().any(Value::is_poison) {
                    return Err(Reported);
                }
                let is_number = |v: &Value| matches!(v, Value::Tensor(t) if self.is_scalar(t) && self.launch_value(t).is_some());
                if l.iter().any(&is_number) && l.iter().all(|v| matches!(v, Value::Int(_)) || is_number(v)) {
                    let numbers: Result<Vec<f64>, Reported> = l.iter().map(|v| self.known_number(v, domain.span)).collect();
                    return Ok(Choices::Reals(numbers?));
                }
                let written: Vec<Option<&'p Expr>> = match &domain.kind {
                    ExprKind::List(parts) => parts.iter().map(Some).collect(),
                    _ => vec![None; l.len()],
                };
                let mut members = Vec::with_capacity(l.len());
                for (i, (value, written)) in l.iter().zip(written).enumerate() {
                    let text = match written {
                        Some(e) => self.member_text(e, value),
                        None => static_text(value).unwrap_or_else(|| i.to_string()),
                    };
                    members.push((text, value.clone()));
                }
                Ok(Choices::Members(members))
            }
            other => {
                let message = format!("a domain is a range or a list, and this is {}", other.kind());
                Err(self.error(codes::BAD_ANSWER, message, domain.span, ""))
            }
        }
    }

    fn real_choices(&mut self, low: f64, high: f64, span: Span) -> Result<Choices, Reported> {
        if low <= high { Ok(Choices::Real(low, high)) } else { Err(self.empty_domain(span)) }
    }

    fn empty_domain(&mut self, span: Span) -> Reported {
        self.error(codes::BAD_ANSWER, "there is nothing to choose from here", span, "")
    }

    /// What `--set` calls a member of a list: its value if it is known, else its text in the recipe.
    fn member_text(&self, e: &Expr, value: &Value) -> String {
        static_text(value).unwrap_or_else(|| self.text(e.span).trim().to_string())
    }

    /// A number that does not depend on tensors or settings.
    fn known_number(&mut self, value: &Value, span: Span) -> Result<f64, Reported> {
        let t = self.tensor(value, span)?;
        let known = if self.is_scalar(&t) && !self.uses_settings(t.node) { self.launch_value(&t) } else { None };
        known.ok_or_else(|| self.error(codes::BAD_ANSWER, "a number known before the recipe runs is wanted here", span, ""))
    }

    fn answered<T>(&mut self, parsed: Option<T>, id: &str, text: &str, what: &str, span: Span) -> Result<T, Reported> {
        parsed.ok_or_else(|| {
            let message = format!("`--set {id}={text}`: {what} is wanted");
            self.error(codes::BAD_ANSWER, message, span, "declared here")
        })
    }

    fn outside(&mut self, id: &str, answer: Option<&str>, allowed: &str, c: &Choose, default: Span) -> Reported {
        match answer {
            Some(text) => {
                let message = format!("`--set {id}={text}`: it must be {allowed}");
                self.error(codes::BAD_ANSWER, message, c.name_span, "declared here")
            }
            None => {
                let message = format!("the default of `{id}` is not {allowed}");
                self.error(codes::BAD_ANSWER, message, default, "")
            }
        }
    }

    /// A launch scalar.
    fn setting(&mut self, name: &str, value: f64, range: Option<(f64, f64)>, span: Span) -> TensorVal {
        let id = SettingId(self.graph.settings.len() as u32);
        self.graph.settings.push(Setting { name: name.to_string(), default: value, range });
        self.setting_values.push(value);
        let node = self.graph.add(Op::Setting(id), Rc::from([]), span);
        let scalar = TensorVal::new(node, Degree::delta());
        let atom = self.new_atom(name);
        self.set_frac(&scalar, Frac::atom(atom));
        scalar
    }

    /// A scalar that stands for any number while a function is tried.
    pub(super) fn symbolic_scalar(&mut self, name: &str, span: Span) -> TensorVal {
        self.setting(name, f64::NAN, None, span)
    }

    fn one_of(&mut self, scalar: &TensorVal, allowed: &[f64], id: &str, span: Span) -> Result<(), Reported> {
        let mut any: Option<TensorVal> = None;
        for value in allowed {
            let number = self.number(*value, span);
            let same = self.binary(BinaryFn::Eq, (scalar, span), (&number, span), Degree::delta(), span)?;
            any = Some(match any {
                None => same,
                Some(a) => self.binary(BinaryFn::Or, (&a, span), (&same, span), Degree::delta(), span)?,
            });
        }
        if let Some(any) = any {
            let listed: Vec<String> = allowed.iter().map(f64::to_string).collect();
            self.constrain(&any, format!("`{id}` is one of {}", list_names(&listed, 8)), span);
        }
        Ok(())
    }

    /// Reports `--set` and `--model` that fit nothing in the recipe.
    pub(super) fn check_answers(&mut self) {
        for (name, _) in &self.answers.set {
            if !self.decisions.contains(name) {
                self.unknown_answer("--set", "setting", name, &self.decisions.clone());
            }
        }
        for (name, _) in &self.answers.models {
            let known: Vec<String> = self.graph.checkpoints.iter().map(|c| c.name.clone()).collect();
            // A checkpoint that could not be opened is not listed; then the name may well be right.
            if !known.contains(name) && !self.findings.has_errors() {
                self.unknown_answer("--model", "checkpoint", name, &known);
            }
        }
    }

    fn unknown_answer(&mut self, flag: &str, what: &str, name: &str, known: &[String]) {
        let mut d = Diagnostic::without_place(codes::BAD_ANSWER, format!("`{flag} {name}=…`: the recipe has no {what} `{name}`"));
        if let Some(close) = did_you_mean(name, known.iter().map(String::as_str)) {
            d = d.help(format!("did you mean `{close}`?"));
        } else if known.is_empty() {
            d = d.note(format!("it has no {what} at all"));
        } else {
            d = d.note(format!("it has {}", list_names(known, 8)));
        }
        self.report(d);
    }
}

fn static_text(value: &Value) -> Option<String> {
    match value {
        Value::Int(i) => Some(i.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        Value::Str(s) | Value::Word(s) => Some(s.to_string()),
        Value::Range(r) => Some(range_text(r)),
        _ => None,
    }
}

fn range_text(r: &RangeVal) -> String {
    show_range(r, &|v| static_text(v).unwrap_or_default())
}
