//! The trace of each kind of expression, from those of its parts.

use super::{Trace, Tracing, is_plain};
use crate::elaborate::context::Cx;
use crate::elaborate::domains::{Offer, Values};
use crate::elaborate::expressions::Frame;
use crate::hir::{Arg, BinaryOp, Block, Callee, Expr, ExprKind, For, StrPart, Tail, UnaryOp};
use crate::primitives::STARTS;
use crate::space::{Answer, Domain, Function, TermId};
use crate::value::Value;
use std::rc::Rc;

/// The most values of a decision that a term lists.
const MOST_VALUES: i64 = 4096;

/// The most members of a list one of which is picked by an int that decisions change.
const MOST_PICKED: usize = 64;

type Operand = (Trace, Option<i64>);

impl<'p> Cx<'p> {
    /// Notes what is known of an expression that was just evaluated, and what has to hold for it not to fail.
    pub(in super::super) fn trace(&mut self, e: &'p Expr, value: &Value, frame: &Frame) {
        if !self.traces() {
            self.uncover();
            self.set_last_trace(Trace::Opaque);
            return;
        }
        let trace = self.trace_of(e, value, frame);
        let Some(w) = &mut self.watch else { return };
        let t = &mut w.tracing;
        t.last = trace.clone();
        let known = t.code(value);
        match trace {
            Trace::Opaque => drop(t.of.remove(&std::ptr::from_ref(e))),
            trace => drop(t.of.insert(std::ptr::from_ref(e), (trace, known))),
        }
    }

    fn trace_of(&mut self, e: &'p Expr, value: &Value, frame: &Frame) -> Trace {
        match &e.kind {
            ExprKind::Int(_) | ExprKind::Float(..) | ExprKind::Size(_) | ExprKind::Bool(_) | ExprKind::Word(_) => Trace::Fixed,
            ExprKind::Local(_) | ExprKind::Global(_) => self.operand(e, frame).0,
            ExprKind::Str(s) => {
                let mut fixed = true;
                for part in &s.parts {
                    if let StrPart::Hole(hole) = part {
                        fixed &= matches!(self.operand(hole, frame).0, Trace::Fixed);
                    }
                }
                if fixed { Trace::Fixed } else { Trace::Opaque }
            }
            ExprKind::Tuple(parts) => {
                let parts: Vec<Trace> = parts.iter().map(|p| self.operand(p, frame).0).collect();
                if all_fixed(&parts) { Trace::Fixed } else { Trace::Tuple(parts.into()) }
            }
            ExprKind::List(parts) => {
                let parts: Vec<Trace> = parts.iter().map(|p| self.operand(p, frame).0).collect();
                if all_fixed(&parts) { Trace::Fixed } else { self.list_of(parts) }
            }
            ExprKind::Block(b) => self.trace_of_block(b),
            ExprKind::If { condition, .. } => {
                let condition = self.operand(condition, frame);
                let last = self.last_trace();
                if matches!(condition.0, Trace::Fixed) {
                    return last;
                }
                let term = self.watch.as_mut().and_then(|w| w.tracing.term(&condition));
                let (Some(term), Some(now)) = (term, condition.1) else {
                    self.uncover();
                    return Trace::Opaque;
                };
                self.claim_seen(e.span, 3, term, now != 0);
                let Some(w) = &mut self.watch else { return Trace::Opaque };
                w.tracing.guarded(last, value, term, now != 0)
            }
            // These note it themselves, at their end.
            ExprKind::Fold { .. } | ExprKind::Choose(_) | ExprKind::Comprehension { .. } => self.last_trace(),
            ExprKind::Unary { op, value: inner } => self.trace_unary(*op, e, inner, frame),
            ExprKind::Binary { op, left, right, .. } => self.trace_binary(*op, e, (left, right), value, frame),
            ExprKind::Range { start, end, inclusive } => {
                let mut end_of = |e: &'p Option<Box<Expr>>| e.as_ref().map(|e| self.operand(e, frame));
                let (start, end) = (end_of(start), end_of(end));
                self.trace_range(start, end, *inclusive)
            }
            ExprKind::Call { callee, args, .. } => self.trace_call(*callee, e, args, value, frame),
            ExprKind::Index { base, indices } => self.trace_index(e, base, indices, value, frame),
            _ => {
                self.uncover();
                Trace::Opaque
            }
        }
    }

    /// The trace of a block's value, when that was evaluated last.
    pub(in super::super) fn trace_of_block(&self, b: &Block) -> Trace {
        if let Tail::Value(_) = b.tail { self.last_trace() } else { Trace::Opaque }
    }

    fn list_of(&mut self, members: Vec<Trace>) -> Trace {
        let Some(w) = &mut self.watch else { return Trace::Opaque };
        let length = w.tracing.terms.number(members.len() as i64);
        Trace::List(length, Some(members.into()))
    }

    /// States that an int fits 64 bits, if that is not plain.
    fn claim_fits(&mut self, e: &Expr, term: TermId) {
        let Some(w) = &mut self.watch else { return };
        if !w.tracing.terms.is_known(term) {
            let fits = w.tracing.terms.apply(Function::Fits, &[term]);
            self.claim(e.span, 1, fits);
        }
    }

    fn trace_unary(&mut self, op: UnaryOp, e: &'p Expr, inner: &'p Expr, frame: &Frame) -> Trace {
        let operand = self.operand(inner, frame);
        let Some(w) = &mut self.watch else { return Trace::Opaque };
        let t = &mut w.tracing;
        match (&operand.0, t.term(&operand)) {
            (Trace::Fixed, _) => Trace::Fixed,
            (_, Some(term)) => {
                let function = if op == UnaryOp::Neg { Function::Neg } else { Function::Not };
                let term = t.terms.apply(function, &[term]);
                self.claim_fits(e, term);
                Trace::Int(term)
            }
            _ => {
                self.uncover();
                Trace::Opaque
            }
        }
    }

    fn trace_binary(
        &mut self,
        op: BinaryOp,
        e: &'p Expr,
        (left, right): (&'p Expr, &'p Expr),
        value: &Value,
        frame: &Frame,
    ) -> Trace {
        let l = self.operand(left, frame);
        // The right side of what the left has decided was not evaluated.
        let settled = matches!((op, l.1), (BinaryOp::And, Some(0)) | (BinaryOp::Or, Some(1)));
        if settled && matches!(l.0, Trace::Fixed) {
            return Trace::Fixed;
        }
        let r = if settled { Operand::default() } else { self.operand(right, frame) };
        if matches!((&l.0, &r.0), (Trace::Fixed, Trace::Fixed)) {
            return Trace::Fixed;
        }
        let Some(w) = &mut self.watch else { return Trace::Opaque };
        let t = &mut w.tracing;
        if let (BinaryOp::And | BinaryOp::Or, Value::Bool(_)) = (op, value) {
            let sides = [t.term(&l).unwrap_or_else(|| t.terms.unknown()), t.term(&r).unwrap_or_else(|| t.terms.unknown())];
            let function = if op == BinaryOp::And { Function::And } else { Function::Or };
            let both = t.terms.apply(function, &sides);
            match settled {
                // The right side was not looked at: it is where the left is otherwise.
                true => self.claim_seen(e.span, 4, sides[0], op == BinaryOp::Or),
                false => {
                    let seen = t.terms.number(1);
                    self.state(e.span, 4, seen);
                }
            }
            return Trace::Int(both);
        }
        let (Some(a), Some(b)) = (t.term(&l), t.term(&r)) else {
            self.uncover();
            return Trace::Opaque;
        };
        let term = match op {
            BinaryOp::Add => t.terms.apply(Function::Add, &[a, b]),
            BinaryOp::Sub => {
                let less = t.terms.apply(Function::Neg, &[b]);
                t.terms.apply(Function::Add, &[a, less])
            }
            BinaryOp::Mul => t.terms.apply(Function::Mul, &[a, b]),
            BinaryOp::Div => t.terms.apply(Function::Div, &[a, b]),
            BinaryOp::Eq => t.terms.apply(Function::Eq, &[a, b]),
            BinaryOp::Ne => {
                let same = t.terms.apply(Function::Eq, &[a, b]);
                t.terms.apply(Function::Not, &[same])
            }
            BinaryOp::Lt => t.terms.apply(Function::Lt, &[a, b]),
            BinaryOp::Le => t.terms.apply(Function::Le, &[a, b]),
            BinaryOp::Gt => t.terms.apply(Function::Lt, &[b, a]),
            BinaryOp::Ge => t.terms.apply(Function::Le, &[b, a]),
            BinaryOp::And | BinaryOp::Or | BinaryOp::MatMul | BinaryOp::Join => {
                self.uncover();
                return Trace::Opaque;
            }
        };
        match op {
            BinaryOp::Div => {
                let divides = t.terms.apply(Function::Divides, &[b, a]);
                self.claim(e.span, 0, divides);
            }
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul => self.claim_fits(e, term),
            _ => {}
        }
        Trace::Int(term)
    }

    fn trace_range(&mut self, start: Option<Operand>, end: Option<Operand>, inclusive: bool) -> Trace {
        let fixed = |o: &Option<Operand>| o.as_ref().is_none_or(|o| matches!(o.0, Trace::Fixed));
        if fixed(&start) && fixed(&end) {
            return Trace::Fixed;
        }
        let Some(w) = &mut self.watch else { return Trace::Opaque };
        let t = &mut w.tracing;
        match (start, end) {
            (Some((Trace::Fixed, Some(start))), Some(end)) if start.checked_neg().is_some() => {
                let Some(end) = t.term(&end) else { return Trace::Opaque };
                let (less, zero) = (t.terms.number(i64::from(inclusive).saturating_sub(start)), t.terms.number(0));
                let length = t.terms.apply(Function::Add, &[end, less]);
                Trace::List(t.terms.apply(Function::Max, &[length, zero]), None)
            }
            _ => Trace::Opaque,
        }
    }

    fn trace_index(&mut self, e: &'p Expr, base: &'p Expr, indices: &'p [Expr], value: &Value, frame: &Frame) -> Trace {
        let of = self.operand(base, frame).0;
        let places: Vec<Operand> = indices.iter().map(|i| self.operand(i, frame)).collect();
        if matches!(of, Trace::Fixed) && places.iter().all(|p| matches!(p.0, Trace::Fixed)) {
            return Trace::Fixed;
        }
        let is_list = matches!(value, Value::Int(_) | Value::Bool(_) | Value::Str(_) | Value::List(_) | Value::Tuple(_));
        if let (Trace::List(length, Some(members)), [place], true) = (of, places.as_slice(), is_list)
            && let Some(w) = &mut self.watch
            && let Some(index) = w.tracing.term(place)
        {
            let t = &mut w.tracing;
            let zero = t.terms.number(0);
            let (low, high) = (t.terms.apply(Function::Le, &[zero, index]), t.terms.apply(Function::Lt, &[index, length]));
            let picked = t.picked(index, place, &members);
            let inside = t.terms.apply(Function::And, &[low, high]);
            self.claim(e.span, 0, inside);
            return picked;
        }
        self.uncover();
        Trace::Opaque
    }

    fn trace_call(&mut self, callee: Callee, e: &'p Expr, args: &'p [Arg], value: &Value, frame: &Frame) -> Trace {
        let given: Vec<Operand> = args.iter().map(|a| self.operand(&a.value, frame)).collect();
        let fixed = given.iter().all(|g| matches!(g.0, Trace::Fixed));
        match callee {
            Callee::Fn(id) => {
                let f = self.function(id);
                let simple = f.params.iter().all(|p| is_plain(&p.ty) && p.range.is_none());
                if !simple && !fixed {
                    self.uncover();
                }
                let returned = self.watch.as_mut().map(|w| std::mem::take(&mut w.tracing.returned)).unwrap_or_default();
                let is_plain = matches!(value, Value::Int(_) | Value::Bool(_) | Value::Str(_) | Value::List(_) | Value::Tuple(_));
                if is_plain { returned } else { Trace::Opaque }
            }
            // A start value takes its shape from what it stands behind.
            Callee::Primitive(name) if fixed && !STARTS.contains(&name) && !self.is_starting() => Trace::Fixed,
            Callee::Primitive(name) => self.trace_primitive(name, e, &given, value),
            Callee::Module(_) => {
                self.uncover();
                Trace::Opaque
            }
        }
    }

    fn trace_primitive(&mut self, name: &str, e: &'p Expr, given: &[Operand], value: &Value) -> Trace {
        let Some(w) = &mut self.watch else { return Trace::Opaque };
        let t = &mut w.tracing;
        let is_int = matches!(value, Value::Int(_));
        match (name, given) {
            // It cannot fail.
            ("len", [(Trace::List(length, _), _)]) => return Trace::Int(*length),
            ("len", [_]) if is_int => return Trace::Opaque,
            ("div" | "mod", [a, b]) => {
                if let (Some(a), Some(b)) = (t.term(a), t.term(b)) {
                    let function = if name == "div" { Function::Div } else { Function::Mod };
                    let term = t.terms.apply(function, &[a, b]);
                    let zero = t.terms.number(0);
                    let nothing = t.terms.apply(Function::Eq, &[b, zero]);
                    let divided = t.terms.apply(Function::Not, &[nothing]);
                    self.claim(e.span, 0, divided);
                    self.claim_fits(e, term);
                    return Trace::Int(term);
                }
            }
            ("min" | "max", [a, b]) if is_int => {
                if let (Some(a), Some(b)) = (t.term(a), t.term(b)) {
                    return Trace::Int(t.terms.apply(if name == "min" { Function::Min } else { Function::Max }, &[a, b]));
                }
            }
            ("min" | "max" | "sum", [(Trace::List(length, Some(members)), _)]) if is_int => {
                let function = match name {
                    "min" => Function::Min,
                    "max" => Function::Max,
                    _ => Function::Add,
                };
                let terms: Option<Vec<TermId>> =
                    members.iter().map(|m| if let Trace::Int(term) = m { Some(*term) } else { None }).collect();
                if let (Some(terms), Some(_)) = (terms, t.terms.value(*length))
                    && let Some(all) = terms.into_iter().reduce(|a, b| t.terms.apply(function, &[a, b]))
                {
                    self.claim_fits(e, all);
                    return Trace::Int(all);
                }
            }
            ("enumerate", [(Trace::List(length, Some(members)), _)]) => {
                let pairs = members.iter().map(|m| Trace::Tuple(Rc::from([Trace::Fixed, m.clone()]))).collect();
                return Trace::List(*length, Some(pairs));
            }
            _ => {}
        }
        self.uncover();
        Trace::Opaque
    }

    /// Notes what an answer stands for. `free`: what is offered depends on nothing.
    pub(in super::super) fn trace_choice(&mut self, decision: usize, offer: &Offer, free: bool) {
        let made = &self.decided[decision].decision;
        let (pinned, structural) = (made.pinned, made.structural);
        if !free || !structural || !self.traces() {
            self.set_last_trace(if free && pinned && structural { Trace::Fixed } else { Trace::Opaque });
            return;
        }
        let Some(w) = &mut self.watch else { return };
        let t = &mut w.tracing;
        t.last = match (&offer.domain, &offer.values) {
            _ if pinned => Trace::Fixed,
            (Domain::Int { low, high, .. }, _) if high.checked_sub(*low).is_some_and(|n| n < MOST_VALUES) => {
                Trace::Int(t.terms.decision(decision as u32, (*low..=*high).collect()))
            }
            (Domain::Members { .. }, Values::Given(values)) => t.one_of(decision as u32, values),
            _ => Trace::Opaque,
        };
    }

    /// Notes the value of an arm, which was evaluated last, as that of the decision.
    pub(in super::super) fn trace_arm(&mut self, decision: usize, value: &Value) {
        let made = &self.decided[decision].decision;
        let (pinned, answer, span) = (made.pinned, made.answer.clone(), made.span);
        let Domain::Members { labels, .. } = &made.domain else { return };
        let arms: Rc<[i64]> = (0..labels.len() as i64).collect();
        if let (false, Answer::Member(i), Some(w)) = (pinned, answer, &mut self.watch) {
            let t = &mut w.tracing;
            let (taken, which) = (t.terms.number(i as i64), t.terms.decision(decision as u32, arms));
            let same = t.terms.apply(Function::Eq, &[which, taken]);
            let last = std::mem::take(&mut t.last);
            t.last = t.guarded(last, value, same, true);
            self.claim_seen(span, 3, same, true);
        }
    }

    /// The arm that is entered next is this one.
    pub(in super::super) fn guard_arm(&mut self, decision: usize, arm: usize) {
        let made = &self.decided[decision].decision;
        let (pinned, Domain::Members { labels, .. }) = (made.pinned, &made.domain) else { return };
        let arms: Rc<[i64]> = (0..labels.len() as i64).collect();
        if let Some(w) = &mut self.watch {
            let t = &mut w.tracing;
            let (taken, which) = (t.terms.number(arm as i64), t.terms.decision(decision as u32, arms));
            let same = t.terms.apply(Function::Eq, &[which, taken]);
            t.entering = Some(if pinned { t.terms.number(1) } else { same });
        }
    }

    /// The member of a list that is bound next.
    pub(in super::super) fn trace_next_member(&mut self, list: &'p Expr, turn: usize, frame: &Frame) {
        if !self.traces() {
            return;
        }
        let trace = match self.operand(list, frame).0 {
            Trace::List(_, Some(members)) => members.get(turn).cloned().unwrap_or_default(),
            Trace::Fixed | Trace::List(_, None) => Trace::Fixed,
            _ => Trace::Opaque,
        };
        self.trace_next(trace);
    }

    /// Begins to count the members of a comprehension; what was counted around.
    pub(in super::super) fn count_members(&mut self, clauses: &'p [For]) -> Option<(Option<*const For>, usize)> {
        let t = &mut self.watch.as_mut()?.tracing;
        Some((t.counted.replace(clauses.as_ptr()), t.conditions.len()))
    }

    /// Notes whether the member of a turn is there.
    pub(in super::super) fn count_member(&mut self, clause: &'p For, turn: usize, frame: &Frame) {
        let (Some(condition), Some(_)) = (&clause.condition, &self.watch) else { return };
        let (operand, of_list) = (self.operand(condition, frame), self.operand(&clause.list, frame).0);
        let Some(w) = &mut self.watch else { return };
        let t = &mut w.tracing;
        let term = t.term(&operand);
        if t.counted == Some(std::ptr::from_ref(clause)) {
            t.conditions.push(term);
        }
        match (operand, term) {
            ((Trace::Fixed, _), _) => {}
            ((_, Some(now)), Some(mut there)) => {
                if let Trace::List(length, _) = of_list {
                    let turn = t.terms.number(turn as i64);
                    let reached = t.terms.apply(Function::Lt, &[turn, length]);
                    there = t.terms.apply(Function::And, &[reached, there]);
                }
                match now {
                    0 => self.claim_seen(condition.span, 5, there, false),
                    _ => {
                        let seen = t.terms.number(1);
                        self.state(condition.span, 5, seen);
                    }
                }
            }
            _ => self.uncover(),
        }
    }

    /// The list that a comprehension made, of members with these traces.
    pub(in super::super) fn trace_comprehension(
        &mut self,
        outer: Option<(Option<*const For>, usize)>,
        clauses: &'p [For],
        members: Vec<Trace>,
        frame: &Frame,
    ) {
        let lists: Vec<Trace> = clauses.iter().map(|c| self.operand(&c.list, frame).0).collect();
        let traces = self.traces();
        let Some(w) = &mut self.watch else { return };
        let t = &mut w.tracing;
        let Some((around, before)) = outer else { return };
        t.counted = around;
        let conditions: Vec<Option<TermId>> = t.conditions.drain(before..).collect();
        let number = t.terms.number(members.len() as i64);
        t.last = match (lists.as_slice(), clauses) {
            _ if !traces => Trace::Opaque,
            // Which members there are does not change.
            (lists, clauses) if clauses.iter().all(|c| c.condition.is_none()) && all_fixed(lists) => {
                if all_fixed(&members) {
                    Trace::Fixed
                } else {
                    Trace::List(number, Some(members.into()))
                }
            }
            ([Trace::List(length, _)], [For { condition: None, .. }]) => Trace::List(*length, Some(members.into())),
            ([of], [For { condition: Some(_), .. }]) if matches!(of, Trace::Fixed) || t.is_constant(of) => {
                // So many as meet the condition; which ones, differs.
                match conditions.into_iter().collect::<Option<Vec<TermId>>>() {
                    Some(all) => {
                        let zero = t.terms.number(0);
                        let length = all.into_iter().fold(zero, |sum, c| t.terms.apply(Function::Add, &[sum, c]));
                        match t.terms.value(length) {
                            Some(_) => Trace::List(length, Some(members.into())),
                            None => Trace::List(length, Some(members.iter().map(|_| Trace::Opaque).collect())),
                        }
                    }
                    None => Trace::Opaque,
                }
            }
            _ => Trace::Opaque,
        };
    }

    /// States that a list is no longer than may be, and that so many turns of a loop over it were looked at.
    pub(in super::super) fn claim_length(&mut self, list: &'p Expr, most: usize, turns: usize, frame: &Frame) {
        if self.watch.is_none() {
            return;
        }
        match self.operand(list, frame).0 {
            Trace::Fixed => {}
            Trace::List(length, _) => {
                let Some(w) = &mut self.watch else { return };
                let most = w.tracing.terms.number(most as i64);
                let turns = w.tracing.terms.number(turns as i64);
                let fits = w.tracing.terms.apply(Function::Le, &[length, most]);
                let looked_at = w.tracing.terms.apply(Function::Le, &[length, turns]);
                self.claim(list.span, 2, fits);
                self.claim_seen(list.span, 6, looked_at, true);
            }
            _ => self.uncover(),
        }
    }

    /// The state of a fold after as many turns as the list has here, as that of the fold.
    pub(in super::super) fn trace_fold(
        &mut self,
        (list, frame): (&'p Expr, &Frame),
        until: bool,
        turns: usize,
        state: Trace,
        value: &Value,
    ) {
        if until {
            self.uncover();
        }
        let of_list = self.operand(list, frame).0;
        let traces = self.traces();
        let Some(w) = &mut self.watch else { return };
        let t = &mut w.tracing;
        t.last = match of_list {
            _ if until || !traces => Trace::Opaque,
            Trace::Fixed => state,
            Trace::List(length, _) => {
                let turns = t.terms.number(turns as i64);
                let same = t.terms.apply(Function::Eq, &[length, turns]);
                if t.terms.holds(same) { state } else { t.guarded(state, value, same, true) }
            }
            _ => Trace::Opaque,
        };
    }
}

impl Tracing {
    fn is_constant(&self, list: &Trace) -> bool {
        matches!(list, Trace::List(length, _) if self.terms.value(*length).is_some())
    }

    /// One of known values, part by part where all are lists or tuples of one length.
    fn one_of(&mut self, decision: u32, values: &[Value]) -> Trace {
        if let Some(codes) = values.iter().map(|v| self.code(v)).collect::<Option<Vec<i64>>>() {
            return Trace::Int(self.terms.decision(decision, codes.into()));
        }
        let parts = |v: &Value| match v {
            Value::List(l) | Value::Tuple(l) => Some(l.clone()),
            _ => None,
        };
        let Some(all) = values.iter().map(parts).collect::<Option<Vec<_>>>() else { return Trace::Opaque };
        let Some(first) = all.first().filter(|f| all.iter().all(|l| l.len() == f.len())) else { return Trace::Opaque };
        let part = |t: &mut Tracing, i: usize| {
            let column: Vec<Value> = all.iter().map(|l| l[i].clone()).collect();
            t.one_of(decision, &column)
        };
        let parts: Rc<[Trace]> = (0..first.len()).map(|i| part(self, i)).collect();
        if values.iter().all(|v| matches!(v, Value::Tuple(_))) {
            return Trace::Tuple(parts);
        }
        let length = self.terms.number(first.len() as i64);
        Trace::List(length, Some(parts))
    }

    /// The member of a list at a place.
    fn picked(&mut self, index: TermId, place: &Operand, members: &[Trace]) -> Trace {
        if let (Trace::Fixed, Some(i)) = place {
            return usize::try_from(*i).ok().and_then(|i| members.get(i)).cloned().unwrap_or_default();
        }
        if members.len() > MOST_PICKED {
            return Trace::Opaque;
        }
        let mut all = self.terms.unknown();
        for (i, member) in members.iter().enumerate().rev() {
            let Trace::Int(member) = member else { return Trace::Opaque };
            let here = self.terms.number(i as i64);
            let same = self.terms.apply(Function::Eq, &[index, here]);
            all = self.terms.apply(Function::Select, &[same, *member, all]);
        }
        Trace::Int(all)
    }
}

fn all_fixed(traces: &[Trace]) -> bool {
    traces.iter().all(|t| matches!(t, Trace::Fixed))
}
