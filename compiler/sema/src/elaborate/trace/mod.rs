//! What ints and truth values are in all candidates at once, while decisions are watched.
//!
//! `explore` says on which decisions a value depends; here it is kept how, as a [`Term`](crate::space::Term), for ints, truth values, strings
//! that are compared, and lists and tuples of these. What may fail in some candidate states a [`Claim`]: that an int divides another, that a
//! place lies in a list, that a `requires` holds. Where everything that was done at a place has a term or cannot fail, the place is
//! *covered*: its claims say all about it, and no combination of its decisions need be tried.
//!
//! A trace goes with the value of an expression: it is noted when the expression was evaluated ([`Cx::trace`]), and goes on to the
//! variable that is bound next. Branches that are not taken are [`Term::Unknown`](crate::space::Term): other candidates tell.
//!
//! Invariants: a term is right in every candidate that reaches the place, wherever it is known there; a claim is true wherever nothing
//! fails. What is computed in rules and lifted functions, name by name, is not traced, and no such place is covered.
//!
//! Not here: how claims are decided (the driver), axes of tensors.

mod expressions;

use super::context::Cx;
use super::expressions::Frame;
use crate::hir::{Expr, ExprKind, Type, TypeName};
use crate::space::{Claim, Function, Taint, Term, TermId, Terms};
use crate::value::Value;
use merge_base::Span;
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// What is known of a value in all candidates.
#[derive(Clone, Debug, Default)]
pub(super) enum Trace {
    #[default]
    Opaque,
    /// It is the same in all of them.
    Fixed,
    /// An int, a truth value, or the number of a string.
    Int(TermId),
    /// Members of a list; none are a range of known start. There may be fewer or more of them in other candidates.
    List(TermId, Option<Rc<[Trace]>>),
    Tuple(Rc<[Trace]>),
}

/// The state of tracing.
#[derive(Debug, Default)]
pub(super) struct Tracing {
    terms: Terms,
    /// Of the expression that was evaluated last.
    last: Trace,
    /// Of expressions as they were evaluated last, with the ints that they were.
    of: FxHashMap<*const Expr, (Trace, Option<i64>)>,
    arguments: FxHashMap<Span, Trace>,
    globals: FxHashMap<u32, Trace>,
    /// For the variable that is bound next.
    bound: Option<Trace>,
    /// What a function gave back just now.
    returned: Trace,
    /// What holds at the place that is entered next, and here.
    entering: Option<TermId>,
    guard: Option<TermId>,
    /// The clauses whose conditions are noted, and these.
    counted: Option<*const crate::hir::For>,
    conditions: Vec<Option<TermId>>,
    strings: FxHashMap<Rc<str>, i64>,
    /// Whether something was done in the scope at hand that no claim speaks of.
    uncovered: bool,
    claims: FxHashMap<u64, (TermId, Span)>,
}

impl Tracing {
    /// The number by which a value is known in terms.
    fn code(&mut self, value: &Value) -> Option<i64> {
        match value {
            Value::Int(n) => Some(*n),
            Value::Bool(b) => Some(i64::from(*b)),
            Value::Str(s) => {
                let next = self.strings.len() as i64;
                Some(*self.strings.entry(s.clone()).or_insert(next))
            }
            _ => None,
        }
    }

    /// The term of an operand, if it has one.
    fn term(&mut self, (trace, known): &(Trace, Option<i64>)) -> Option<TermId> {
        match trace {
            Trace::Int(term) => Some(*term),
            Trace::Fixed => known.map(|n| self.terms.number(n)),
            _ => None,
        }
    }

    /// The same where a condition is as it is here, and unknown where it is not.
    fn guarded(&mut self, trace: Trace, value: &Value, condition: TermId, taken: bool) -> Trace {
        let select = |t: &mut Tracing, term: TermId| {
            let unknown = t.terms.unknown();
            let parts = if taken { [condition, term, unknown] } else { [condition, unknown, term] };
            t.terms.apply(Function::Select, &parts)
        };
        match (trace, value) {
            (Trace::Opaque, _) => Trace::Opaque,
            (Trace::Int(term), _) => Trace::Int(select(self, term)),
            (Trace::Fixed, Value::Int(_) | Value::Bool(_) | Value::Str(_)) => match self.code(value) {
                Some(n) => {
                    let term = self.terms.number(n);
                    Trace::Int(select(self, term))
                }
                None => Trace::Opaque,
            },
            (Trace::Fixed, Value::List(l)) => {
                let length = self.terms.number(l.len() as i64);
                let length = select(self, length);
                Trace::List(length, Some(l.iter().map(|v| self.guarded(Trace::Fixed, v, condition, taken)).collect()))
            }
            (Trace::List(length, Some(members)), Value::List(l)) if members.len() == l.len() => {
                let length = select(self, length);
                let members = members.iter().zip(l.iter()).map(|(m, v)| self.guarded(m.clone(), v, condition, taken));
                Trace::List(length, Some(members.collect()))
            }
            (Trace::Fixed, Value::Tuple(l)) => {
                Trace::Tuple(l.iter().map(|v| self.guarded(Trace::Fixed, v, condition, taken)).collect())
            }
            (Trace::Tuple(parts), Value::Tuple(l)) if parts.len() == l.len() => {
                Trace::Tuple(parts.iter().zip(l.iter()).map(|(p, v)| self.guarded(p.clone(), v, condition, taken)).collect())
            }
            _ => Trace::Opaque,
        }
    }

    fn both(&mut self, a: Option<TermId>, b: Option<TermId>) -> Option<TermId> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.terms.apply(Function::And, &[a, b])),
            (a, b) => a.or(b),
        }
    }

    /// The claims, the terms that they and these conditions are made of, operands first, and the strings in terms.
    pub fn finish(self, conditions: &mut [crate::space::Condition]) -> (Vec<Claim>, Vec<Term>, Vec<Rc<str>>) {
        let mut strings: Vec<(i64, Rc<str>)> = self.strings.into_iter().map(|(s, n)| (n, s)).collect();
        strings.sort();
        let mut claims: Vec<Claim> = self.claims.into_iter().map(|(place, (term, span))| Claim { place, term, span }).collect();
        claims.sort_by_key(|c| (c.span.file, c.span.start, c.place));
        let all = self.terms.into_all();
        let mut wanted = vec![false; all.len()];
        let roots = claims.iter().map(|c| c.term).chain(conditions.iter().filter_map(|c| c.term));
        roots.for_each(|t| wanted[t.0 as usize] = true);
        for i in (0..all.len()).rev() {
            if let (true, Term::Apply(_, of)) = (wanted[i], &all[i]) {
                of.iter().for_each(|t| wanted[t.0 as usize] = true);
            }
        }
        // Numbered anew, without what nothing is made of.
        let mut number = vec![TermId(0); all.len()];
        let mut kept = Vec::new();
        for (i, term) in all.into_iter().enumerate().filter(|(i, _)| wanted[*i]) {
            number[i] = TermId(kept.len() as u32);
            kept.push(match term {
                Term::Apply(f, of) => Term::Apply(f, of.iter().map(|t| number[t.0 as usize]).collect()),
                other => other,
            });
        }
        claims.iter_mut().for_each(|c| c.term = number[c.term.0 as usize]);
        conditions.iter_mut().for_each(|c| c.term = c.term.map(|t| number[t.0 as usize]));
        (claims, kept, strings.into_iter().map(|(_, s)| s).collect())
    }
}

impl<'p> Cx<'p> {
    fn tracing(&mut self) -> Option<&mut Tracing> {
        self.watch.as_mut().map(|w| &mut w.tracing)
    }

    /// Whether values are traced here: not name by name, where one place stands for many.
    pub(super) fn traces(&self) -> bool {
        self.watch.is_some() && self.tensor.is_none() && !self.symbolic
    }

    /// Begins a scope; what the one around was.
    pub(super) fn open_scope(&mut self) -> bool {
        self.tracing().is_some_and(|t| std::mem::take(&mut t.uncovered))
    }

    /// Ends a scope; whether claims speak of all that was done in it.
    pub(super) fn close_scope(&mut self, outer: bool) -> bool {
        self.tracing().is_some_and(|t| !std::mem::replace(&mut t.uncovered, outer))
    }

    /// Whether it is known in which candidates the place at hand is reached.
    pub(super) fn is_guarded(&self) -> bool {
        let known = |t: &Tracing| t.guard.is_none_or(|g| t.terms.is_known(g));
        self.traces() && self.watch.as_ref().is_some_and(|w| known(&w.tracing))
    }

    /// Says that something is done here that no claim speaks of.
    pub(super) fn uncover(&mut self) {
        if let Some(t) = self.tracing() {
            t.uncovered = true;
        }
    }

    /// [`Cx::uncover`], unless a type has no dims and no degrees to be checked.
    pub(super) fn uncover_type(&mut self, ty: &Type) {
        if !is_plain(ty) {
            self.uncover();
        }
    }

    /// What is known of an expression as it was evaluated last, and the int that it was.
    fn operand(&mut self, e: &'p Expr, frame: &Frame) -> (Trace, Option<i64>) {
        let (trace, value) = match &e.kind {
            ExprKind::Local(id) => (frame.trace(*id), frame.locals.get(id.0 as usize)),
            ExprKind::Global(id) => {
                let fixed = self.global_taints.get(id.0 as usize).is_some_and(|t| *t == Taint::NONE);
                let known = self.watch.as_ref().and_then(|w| w.tracing.globals.get(&id.0).cloned());
                let trace = known.unwrap_or(if fixed { Trace::Fixed } else { Trace::Opaque });
                (trace, self.globals.get(id.0 as usize))
            }
            _ => {
                let known = self.watch.as_ref().and_then(|w| w.tracing.of.get(&std::ptr::from_ref(e)).cloned());
                return known.unwrap_or_default();
            }
        };
        let value = value.cloned().unwrap_or(Value::Poison);
        let known = self.tracing().and_then(|t| t.code(&value));
        (trace, known)
    }

    /// The trace of what is bound next.
    pub(super) fn trace_next(&mut self, trace: Trace) {
        if self.traces()
            && let Some(t) = self.tracing()
        {
            t.bound = Some(trace);
        }
    }

    /// What is bound next is this expression's value.
    pub(super) fn trace_next_of(&mut self, e: &'p Expr, frame: &Frame) {
        if self.traces() {
            let (trace, _) = self.operand(e, frame);
            self.trace_next(trace);
        }
    }

    /// What is bound next is what was evaluated last.
    pub(super) fn trace_next_last(&mut self) {
        let last = self.last_trace();
        self.trace_next(last);
    }

    /// The trace of what was evaluated last.
    pub(super) fn last_trace(&self) -> Trace {
        self.watch.as_ref().map(|w| w.tracing.last.clone()).unwrap_or_default()
    }

    pub(super) fn set_last_trace(&mut self, trace: Trace) {
        if let Some(t) = self.tracing() {
            t.last = trace;
        }
    }

    /// The parts of a tuple that is bound part by part.
    pub(super) fn bound_parts(&mut self) -> Option<Rc<[Trace]>> {
        match self.tracing()?.bound.take()? {
            Trace::Tuple(parts) => Some(parts),
            _ => None,
        }
    }

    /// Notes the trace of the variable that is bound now.
    pub(super) fn bind_trace(&mut self, index: usize, taint: Taint, frame: &mut Frame) {
        let bound = self.tracing().and_then(|t| t.bound.take());
        let trace = match bound {
            Some(trace) if !matches!(trace, Trace::Opaque) => trace,
            _ if taint == Taint::NONE => Trace::Fixed,
            _ => Trace::Opaque,
        };
        if let (true, Some(t)) = (frame.writes_globals, self.tracing()) {
            t.globals.insert(index as u32, trace.clone());
        }
        if index >= frame.traces.len() {
            frame.traces.resize(index + 1, Trace::Opaque);
        }
        frame.traces[index] = trace;
    }

    /// What is known of an expression as it was evaluated last.
    pub(super) fn operand_trace(&mut self, e: &'p Expr, frame: &Frame) -> Trace {
        if self.watch.is_some() { self.operand(e, frame).0 } else { Trace::Opaque }
    }

    /// Remembers an argument, for whoever binds it to a parameter.
    pub(super) fn note_argument_trace(&mut self, e: &'p Expr, frame: &Frame) {
        if self.watch.is_some() {
            let (trace, _) = if self.traces() { self.operand(e, frame) } else { Default::default() };
            if let Some(t) = self.tracing() {
                t.arguments.insert(e.span, trace);
            }
        }
    }

    pub(super) fn argument_trace(&self, span: Span) -> Trace {
        self.watch.as_ref().and_then(|w| w.tracing.arguments.get(&span).cloned()).unwrap_or_default()
    }

    /// Remembers what a function gives back.
    pub(super) fn trace_returned(&mut self, trace: Trace) {
        let traces = self.traces();
        if let Some(t) = self.tracing() {
            t.returned = if traces { trace } else { Trace::Opaque };
        }
    }

    /// The next place is reached where this expression is as it is now.
    pub(super) fn guard_by(&mut self, condition: &'p Expr, taken: bool, frame: &Frame) {
        if self.watch.is_none() {
            return;
        }
        let operand = self.operand(condition, frame);
        let Some(t) = self.tracing() else { return };
        let mut term = t.term(&operand).unwrap_or_else(|| t.terms.unknown());
        if !taken {
            term = t.terms.apply(Function::Not, &[term]);
        }
        t.entering = Some(term);
    }

    /// The next place is that of this turn of a loop over a list.
    pub(super) fn guard_turn(&mut self, list: &'p Expr, turn: usize, condition: Option<&'p Expr>, frame: &Frame) {
        if self.watch.is_none() {
            return;
        }
        let (of_list, _) = self.operand(list, frame);
        let condition = condition.map(|c| self.operand(c, frame));
        let Some(t) = self.tracing() else { return };
        let turn = t.terms.number(turn as i64);
        let reached = match of_list {
            Trace::Fixed => t.terms.number(1),
            Trace::List(length, _) => t.terms.apply(Function::Lt, &[turn, length]),
            _ => t.terms.unknown(),
        };
        let condition = condition.map(|c| t.term(&c).unwrap_or_else(|| t.terms.unknown()));
        t.entering = t.both(Some(reached), condition);
    }

    /// The next place is reached by something of which nothing is known.
    pub(super) fn guard_unknown(&mut self) {
        if let Some(t) = self.tracing() {
            t.entering = Some(t.terms.unknown());
        }
    }

    /// Enters the next place; the guard around.
    pub(super) fn enter(&mut self, taint: Taint) -> Option<TermId> {
        let t = self.tracing()?;
        let outer = t.guard;
        let own = t.entering.take().or_else(|| (taint != Taint::NONE).then(|| t.terms.unknown()));
        t.guard = t.both(outer, own);
        outer
    }

    pub(super) fn leave(&mut self, outer: Option<TermId>) {
        if let Some(t) = self.tracing() {
            t.guard = outer;
        }
    }

    /// The right side of `and` and `or` is reached where the left leaves it open.
    pub(super) fn enter_right(&mut self, op: crate::hir::BinaryOp, left: &'p Expr, frame: &Frame) -> Option<TermId> {
        use crate::hir::BinaryOp;
        self.watch.as_ref()?;
        match op {
            BinaryOp::And => self.guard_by(left, true, frame),
            BinaryOp::Or => self.guard_by(left, false, frame),
            _ => return self.watch.as_ref().and_then(|w| w.tracing.guard),
        }
        self.enter(Taint::NONE)
    }

    /// States what has to hold here, as a number that is not 0. `what` tells apart what is stated of one expression.
    fn claim(&mut self, span: Span, what: u8, fact: TermId) {
        if self.watch.as_ref().is_some_and(|w| !w.tracing.terms.holds(fact)) {
            self.state(span, what, fact);
        }
    }

    /// States that what follows from a condition was looked at, where the condition is as it is here.
    fn claim_seen(&mut self, span: Span, what: u8, condition: TermId, taken: bool) {
        let Some(w) = &mut self.watch else { return };
        let t = &mut w.tracing;
        let (seen, unknown) = (t.terms.number(1), t.terms.unknown());
        let parts = if taken { [condition, seen, unknown] } else { [condition, unknown, seen] };
        let fact = t.terms.apply(Function::Select, &parts);
        self.state(span, what, fact);
    }

    fn state(&mut self, span: Span, what: u8, fact: TermId) {
        let Some(w) = &mut self.watch else { return };
        let mut hasher = FxHasher::default();
        (w.around, span, what, &self.turns).hash(&mut hasher);
        let t = &mut w.tracing;
        let stated = match t.guard {
            Some(guard) => {
                let elsewhere = t.terms.apply(Function::Not, &[guard]);
                t.terms.apply(Function::Or, &[elsewhere, fact])
            }
            None => fact,
        };
        let place = hasher.finish();
        match t.claims.get(&place) {
            None => drop(t.claims.insert(place, (stated, span))),
            Some((other, _)) if *other == stated => {}
            // One place, two things: neither may pass for the other.
            Some(_) => {
                t.uncovered = true;
                let unknown = t.terms.unknown();
                t.claims.insert(place, (unknown, span));
            }
        }
    }

    /// States that a condition holds.
    pub(super) fn claim_condition(&mut self, condition: &'p Expr, value: &Value, frame: &Frame) {
        if self.watch.is_none() {
            return;
        }
        let operand = self.operand(condition, frame);
        match (value, self.tracing().and_then(|t| t.term(&operand))) {
            (Value::Bool(_), Some(term)) if self.traces() => self.claim(condition.span, 0, term),
            _ => self.uncover(),
        }
    }

    /// A condition that excludes candidates: what it is in each, and a number for its place.
    pub(super) fn condition_term(&mut self, condition: &'p Expr, frame: &Frame) -> (u64, Option<TermId>) {
        let mut hasher = FxHasher::default();
        let Some(w) = &self.watch else { return (0, None) };
        (w.around, condition.span, &self.turns).hash(&mut hasher);
        if !self.traces() {
            return (hasher.finish(), None);
        }
        let operand = self.operand(condition, frame);
        let term = self.tracing().and_then(|t| {
            let term = t.term(&operand)?;
            Some(match t.guard {
                Some(guard) => {
                    let elsewhere = t.terms.apply(Function::Not, &[guard]);
                    t.terms.apply(Function::Or, &[elsewhere, term])
                }
                None => term,
            })
        });
        (hasher.finish(), term)
    }
}

/// Whether only the kind of a value is checked against the type.
fn is_plain(ty: &Type) -> bool {
    match ty {
        Type::Named { name: TypeName::Int | TypeName::Bool | TypeName::Str, dims: None, .. } => true,
        Type::List(member, _) => is_plain(member),
        Type::Tuple(parts, _) => parts.iter().all(is_plain),
        _ => false,
    }
}
