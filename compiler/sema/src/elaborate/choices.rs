//! `choose`: which decision it is, what it is answered with, and what that gives.
//!
//! A decision is known by its path through lets, calls and arms, with its keys: the captures and loop variables around it, or
//! inside an arm those of the arm's own decision, or what `per` says instead of all of them.

use super::context::Cx;
use super::domains::{Offer, Values, is_written_out};
use super::expressions::Frame;
use super::findings::{CallSite, first_difference, same_calls};
use super::path::push_with_keys;
use super::trace::Trace;
use crate::codes::{models as codes, names};
use crate::degree::{Degree, Frac};
use crate::hir::{Choose, Domain as Written, Expr, ExprKind, StrPart, Tail};
use crate::space::{Answer, Decision, Domain, Taint, normalised};
use crate::value::{Reported, TensorVal, Value};
use merge_abi::{BinaryFn, Setting, SettingId};
use merge_base::{Diagnostic, Span, did_you_mean, list_names};
use merge_ir::tir::Op;
use std::rc::Rc;

/// What becomes of a decision without a default that nobody answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Undecided {
    /// Its first value stands for all: the recipe is looked at, not run.
    #[default]
    First,
    /// An error that names it.
    Refused,
}

/// A decision that was made, and how it was reached.
pub(super) struct Decided {
    pub decision: Decision,
    /// The calls around.
    calls: Option<Rc<CallSite>>,
    /// Launch scalars are made once.
    value: Option<Value>,
}

impl<'p> Cx<'p> {
    pub(super) fn choose(&mut self, c: &'p Choose, frame: &mut Frame) -> Value {
        if self.symbolic {
            return self.symbolic_choice(c, frame);
        }
        self.choose_checked(c, frame).into()
    }

    fn choose_checked(&mut self, c: &'p Choose, frame: &mut Frame) -> Result<Value, Reported> {
        self.set_last_trace(Trace::Opaque);
        // What the key and the domain depend on.
        let mut own = Taint::NONE;
        let per = match &c.per {
            None => None,
            Some(per) => {
                let (value, taint) = self.apart_expr(per, frame);
                own = taint;
                Some(self.per_keys(&value, per.span)?)
            }
        };
        let id = self.decision_id(&c.name, per.as_deref().unwrap_or(&self.keys), per.is_some());
        let (offer, taint) = self.offer_of(c, frame)?;
        own = self.union(own, taint);
        let index = self.decided_index(c, &id, &offer, frame)?;
        self.watch_decision(index, own);
        let taint = self.taint_of_decision(index);
        // Arms that all keep one shape leave nothing to select.
        if !self.arms_keep_one_shape(c, frame) {
            self.select_by(taint);
        }
        let answer = self.decided[index].decision.answer.clone();
        if let (Written::Arms(arms), Answer::Member(i)) = (&c.domain, &answer) {
            let decides = self.watch.is_some() && arms.iter().any(|(_, _, e)| self.decides(e));
            if own == Taint::NONE {
                self.guard_arm(index, *i);
            }
            let value = self.under(taint, decides, (arms[*i].1, 0), |cx| cx.arm(&arms[*i], &c.name, per.as_deref(), frame));
            match own == Taint::NONE {
                true => self.trace_arm(index, &value),
                false => self.set_last_trace(Trace::Opaque),
            }
            return Ok(value);
        }
        if let Some(value) = &self.decided[index].value {
            return Ok(value.clone());
        }
        let value = self.answered_value(&id, &offer, &answer, c.span)?;
        self.trace_choice(index, &offer, own == Taint::NONE);
        if !self.decided[index].decision.structural {
            self.decided[index].value = Some(value.clone());
        }
        Ok(value)
    }

    /// What a decision offers, and what that depends on. A list of what is written out is made once for all turns.
    fn offer_of(&mut self, c: &'p Choose, frame: &mut Frame) -> Result<(Rc<Offer>, Taint), Reported> {
        if let Some(known) = self.offers.get(&c.span).cloned() {
            // That something stands here is noted wherever it is reached.
            self.apart(|cx| {
                cx.uncover();
                Value::Bool(true)
            });
            return Ok((known, Taint::NONE));
        }
        let (offer, taint) = match &c.domain {
            Written::In(domain) => {
                let mut offer = Err(Reported);
                let (_, taint) = self.apart(|cx| {
                    cx.uncover();
                    offer = cx.offer(domain, frame);
                    Value::Bool(true)
                });
                (Rc::new(offer?), taint)
            }
            Written::Arms(arms) => {
                let labels = arms.iter().map(|(name, ..)| name.clone()).collect();
                (Rc::new(Offer { domain: Domain::Members { labels, ordered: false }, values: Values::Own }), Taint::NONE)
            }
        };
        if is_written_out(&c.domain) && offer.is_of_no_graph() {
            self.offers.insert(c.span, offer.clone());
        }
        Ok((offer, taint))
    }

    /// The value of an arm, inside which decisions have its name in their paths, and the decision's keys; those around unless it has
    /// some of its own.
    fn arm(&mut self, (arm, _, value): &'p (String, Span, Expr), name: &str, own: Option<&[String]>, frame: &mut Frame) -> Value {
        let outer = std::mem::take(&mut self.keys);
        self.path.push_with(name, own.unwrap_or(&outer));
        self.path.push(arm);
        let made = self.graph.len();
        let value = self.expr(value, frame);
        self.end_scope(made);
        self.path.pop();
        self.path.pop();
        self.keys = outer;
        value
    }

    /// The decision of this id: made now, or known from where it was reached before.
    fn decided_index(&mut self, c: &'p Choose, id: &str, offer: &Offer, frame: &mut Frame) -> Result<usize, Reported> {
        let found = self.decided_by_id.find(id, |i| &self.decided[i].decision.id);
        if let Ok(index) = found {
            let known = &self.decided[index];
            if known.decision.span == c.span && same_calls(&known.calls, &self.calls) {
                if known.decision.domain != offer.domain {
                    let (first, here) = (known.decision.domain.describe(), offer.domain.describe());
                    let message = format!("the decision `{id}` is asked twice, with two domains");
                    let d = Diagnostic::new(codes::BAD_ANSWER, message, c.name_span, "")
                        .note(format!("once it must be {first}, and once {here}"))
                        .help("give each its own key: `per` with what the domain depends on");
                    return Err(self.report(d));
                }
                return Ok(index);
            }
            // One `--set` would answer both.
            let mut d =
                Diagnostic::new(names::DEFINED_TWICE, format!("two decisions are called `{id}`"), c.name_span, "again here");
            if known.decision.span == c.span {
                // One place, reached by two calls.
                d = Diagnostic::new(names::DEFINED_TWICE, format!("two decisions are called `{id}`"), c.name_span, "");
                if let Some((a, b)) = first_difference(&known.calls, &self.calls) {
                    d = d.label(a, "reached by this call").label(b, "and by this one");
                }
                d = d.help("give one of the calls a name, which becomes part of the path: `let second = …`");
            } else {
                d = d.label(known.decision.span, "first here").help(
                    "give one of them another name, or a `let` of its own around it, or decide once: `choose` as a statement",
                );
            }
            return Err(self.report(d));
        }
        let default = match c.default.as_ref().and_then(|e| in_table(e, id)) {
            None => None,
            Some(e) => Some(self.default_of(c, id, offer, e, frame)?),
        };
        let answer = self.answer_of(c, id, &offer.domain, default.as_ref())?;
        let pinned = self.given_to(id).is_some() && !self.answers.assigned.contains_key(id);
        let structural = !matches!(
            (&offer.domain, &offer.values),
            (Domain::Real { .. } | Domain::Simplex { .. }, _) | (_, Values::Numbers(_))
        );
        if structural {
            self.graph.structural.push((id.to_string(), offer.domain.text(&answer)));
        }
        let decision =
            Decision { id: id.to_string(), span: c.span, domain: offer.domain.clone(), default, answer, pinned, structural };
        let place = self.decided.len();
        self.decided.push(Decided { decision, calls: self.calls.clone(), value: None });
        // Evaluating a default decides nothing, so the slot is free still.
        if let Err(slot) = self.decided_by_id.find(id, |i| &self.decided[i].decision.id) {
            self.decided_by_id.put(slot, place);
        }
        Ok(place)
    }

    /// What `--set` says of a decision.
    fn given_to(&self, id: &str) -> Option<&String> {
        if self.given.is_empty() { None } else { self.given.get(&normalised(id)) }
    }

    /// The default, where an arm may be named by its bare word.
    fn default_of(
        &mut self,
        c: &'p Choose,
        id: &str,
        offer: &Offer,
        default: &'p Expr,
        frame: &mut Frame,
    ) -> Result<Answer, Reported> {
        if let (Written::Arms(arms), ExprKind::Word(word)) = (&c.domain, &default.kind)
            && let Some(place) = arms.iter().position(|(name, ..)| name == word)
        {
            return Ok(Answer::Member(place));
        }
        self.default_answer(offer, id, default, frame)
    }

    /// What the command line, the search or the recipe says.
    fn answer_of(&mut self, c: &Choose, id: &str, domain: &Domain, default: Option<&Answer>) -> Result<Answer, Reported> {
        if let Some(answer) = self.answers.assigned.get(id).and_then(|answer| domain.settle(answer)) {
            return Ok(answer);
        }
        if let Some(text) = self.given_to(id).cloned() {
            self.used.insert(normalised(id));
            return match domain.parse(&text) {
                Some(answer) => Ok(answer),
                None => {
                    let wanted = match domain {
                        Domain::Int { .. } if text.trim().parse::<i64>().is_err() => "an int is wanted".to_string(),
                        Domain::Real { .. } if text.trim().parse::<f64>().is_err() => "a number is wanted".to_string(),
                        _ => format!("it must be {}", domain.describe()),
                    };
                    let message = format!("`--set {id}={text}`: {wanted}");
                    Err(self.error(codes::BAD_ANSWER, message, c.name_span, "declared here"))
                }
            };
        }
        if let Some(default) = default {
            return Ok(default.clone());
        }
        if let Domain::Simplex { n: 1 } = domain {
            // There is nothing to decide.
            return Ok(domain.any());
        }
        if self.answers.undecided == Undecided::Refused {
            let d = Diagnostic::new(codes::OPEN_DECISION, format!("nothing decides `{id}`"), c.name_span, "has no default")
                .note(format!("it must be {}", domain.describe()))
                .help(format!("answer it: `--set '{id}={}'`", domain.text(&domain.any())))
                .help("or answer all at once: `mergec space FILE --sample 1` prints a candidate, which `--with` of `run` takes");
            return Err(self.report(d));
        }
        Ok(domain.any())
    }

    /// The path through lets, calls and arms, then the name and the keys. What has keys of its own by `per` leaves those of
    /// the arms around it out.
    pub(super) fn decision_id(&self, name: &str, keys: &[String], own_keys: bool) -> String {
        let mut id = String::with_capacity(self.path.text().len() + name.len() + 8 * keys.len());
        if own_keys {
            for segment in self.path.segments() {
                id.push_str(segment.split('[').next().unwrap_or_default());
                id.push('.');
            }
        } else {
            id.push_str(self.path.text());
        }
        push_with_keys(&mut id, name, keys);
        id
    }

    /// The keys that `per` gives.
    fn per_keys(&mut self, value: &Value, span: Span) -> Result<Vec<String>, Reported> {
        let parts: &[Value] = match value {
            Value::Tuple(parts) => parts,
            one => std::slice::from_ref(one),
        };
        let mut keys = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Value::Poison => return Err(Reported),
                Value::Int(_) | Value::Bool(_) | Value::Str(_) | Value::Model(_) => match self.known_text(part) {
                    Some(key) => keys.push(key),
                    None => {
                        let message = "a model that stands for a key needs a name of its own";
                        let d = Diagnostic::new(codes::BAD_KEY, message, span, "").help("bind it first: `let tuned = …`");
                        return Err(self.report(d));
                    }
                },
                other => {
                    let message = format!("a key is an int, a string, a bool, a model or a tuple of these, not {}", other.kind());
                    return Err(self.error(codes::BAD_KEY, message, span, ""));
                }
            }
        }
        Ok(keys)
    }

    /// A function is tried for any value: a number is an atom, anything else its default or its first value; every arm is
    /// looked at.
    fn symbolic_choice(&mut self, c: &'p Choose, frame: &mut Frame) -> Value {
        match &c.domain {
            Written::Arms(arms) => {
                let mut values: Vec<Value> = arms.iter().map(|a| self.arm(a, &c.name, Some(&[]), frame)).collect();
                let taken = match c.default.as_ref().map(|d| &d.kind) {
                    Some(ExprKind::Word(word)) => arms.iter().position(|(name, ..)| name == word),
                    _ => None,
                };
                if values.iter().any(Value::is_poison) { Value::Poison } else { values.swap_remove(taken.unwrap_or(0)) }
            }
            Written::In(domain) => {
                // A table has names of decisions, and here there are none.
                if let Some(default) = c.default.as_ref().and_then(|d| in_table(d, "")) {
                    let value = self.expr(default, frame);
                    return match &value {
                        Value::Tensor(_) => self.symbolic_scalar(&c.name, c.span).into(),
                        _ => value,
                    };
                }
                let Ok(offer) = self.offer(domain, frame) else { return Value::Poison };
                match (&offer.domain, &offer.values) {
                    (Domain::Real { .. }, _) | (_, Values::Numbers(_)) => self.symbolic_scalar(&c.name, c.span).into(),
                    (domain, _) => self.answered_value(&c.name, &offer, &domain.any(), c.span).into(),
                }
            }
        }
    }

    /// The value that an answer stands for.
    fn answered_value(&mut self, id: &str, offer: &Offer, answer: &Answer, span: Span) -> Result<Value, Reported> {
        let pick = |values: &Rc<[Value]>, places: &[usize]| {
            places.iter().map(|i| values.get(*i).cloned().unwrap_or(Value::Poison)).collect()
        };
        Ok(match (&offer.domain, &offer.values, answer) {
            (_, _, Answer::Int(i)) => Value::Int(*i),
            (Domain::Real { low, high, .. }, _, Answer::Real(x)) => self.setting(id, *x, Some((*low, *high)), span).into(),
            (_, Values::Numbers(numbers), Answer::Member(i)) => {
                let ends = numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
                let scalar = self.setting(id, numbers[*i], Some(ends), span);
                self.one_of(&scalar, numbers, id, span)?;
                scalar.into()
            }
            (_, Values::Given(values), Answer::Member(i)) => values.get(*i).cloned().unwrap_or(Value::Poison),
            (_, Values::Given(values), Answer::Order(p) | Answer::Subset(p)) => Value::List(pick(values, p)),
            (Domain::Simplex { .. }, _, Answer::Simplex(parts)) => self.simplex(id, parts, span)?,
            _ => Value::Poison,
        })
    }

    /// Numbers that add up to 1: all but the last are settings, and the last is what they leave.
    fn simplex(&mut self, id: &str, parts: &[f64], span: Span) -> Result<Value, Reported> {
        let Some((_, first)) = parts.split_last() else { return Err(Reported) };
        let free: Vec<TensorVal> =
            first.iter().enumerate().map(|(i, w)| self.setting(&format!("{id}.{i}"), *w, Some((0.0, 1.0)), span)).collect();
        let mut left = self.number(1.0, span);
        let mut frac = Frac::one();
        for w in &free {
            let own = self.frac(w);
            left = self.binary(BinaryFn::Sub, (&left, span), (w, span), Degree::delta(), span)?;
            frac = frac.sub(&own).unwrap_or_else(|| own.clone());
        }
        if !free.is_empty() {
            self.set_frac(&left, frac);
            // What was written with six digits may leave a little less than nothing.
            let least = self.number(-1e-5, span);
            let holds = self.binary(BinaryFn::Ge, (&left, span), (&least, span), Degree::delta(), span)?;
            self.constrain(&holds, format!("the numbers of `{id}` add up to 1"), span);
        }
        Ok(Value::List(free.into_iter().chain([left]).map(Value::Tensor).collect()))
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
        // One candidate of many need not have what is answered.
        if self.watch.is_some() || self.answers.set.is_empty() && self.answers.models.is_empty() {
            return;
        }
        let known: Vec<String> = self.decided.iter().map(|d| d.decision.id.clone()).collect();
        for (name, _) in &self.answers.set {
            if !self.used.contains(&normalised(name)) && !known.iter().any(|k| normalised(k) == normalised(name)) {
                self.unknown_answer("--set", "setting", name, &known);
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

/// The default itself, or the entry of a table of defaults, `{ "w[0]": 0.5  "w[1]": 0.2 }`, for this decision.
fn in_table<'p>(default: &'p Expr, id: &str) -> Option<&'p Expr> {
    let ExprKind::Block(crate::hir::Block { stmts, tail: Tail::Entries(entries), .. }) = &default.kind else {
        return Some(default);
    };
    if !stmts.is_empty() || entries.iter().any(|e| !e.clauses.is_empty()) {
        return Some(default);
    }
    let named = |e: &&'p crate::hir::Entry| match e.name.parts.as_slice() {
        [StrPart::Text(text)] => normalised(text) == normalised(id),
        _ => false,
    };
    entries.iter().find(named).map(|e| &e.value)
}
