//! Loops: the turns of `for` clauses and of `fold`, each of which is a copy of its body.
//!
//! A turn is a scope for the ids of decisions and parameters, told by its member, and for what is watched: a state of a fold depends on the turn
//! that gave it.

use super::context::Cx;
use super::expressions::Frame;
use super::model::{LiftOp, Model, What};
use crate::codes::types as codes;
use crate::hir::{Binding, Block, Expr, For};
use crate::primitives;
use crate::space::Taint;
use crate::value::{Argument, Reported, TensorVal, Value};
use merge_base::{Diagnostic, Span};
use std::rc::Rc;

/// The most members a list may have: a slip of the pen must not fill the memory.
const LONGEST_LIST: usize = 1_000_000;

/// The most turns of a fold, each of which is a copy of its body.
const LONGEST_FOLD: usize = 10_000;

impl<'p> Cx<'p> {
    /// Runs `body` for every turn of nested `for` clauses; false if a list could not be walked.
    pub(super) fn for_each(
        &mut self,
        clauses: &'p [For],
        depth: usize,
        decides: bool,
        frame: &mut Frame,
        body: &mut dyn FnMut(&mut Cx<'p>, &mut Frame),
    ) -> bool {
        let Some(clause) = clauses.get(depth) else {
            body(self, frame);
            return true;
        };
        let (list, taint) = self.apart_expr(&clause.list, frame);
        let length = self.length_taint(&list).unwrap_or(taint);
        self.select_by(length);
        self.note_control(length, decides);
        let Ok(members) = self.members(&list, clause.list.span) else {
            self.bind(&clause.binding, Value::Poison, frame);
            return false;
        };
        self.claim_length(&clause.list, LONGEST_LIST, members.len(), frame);
        let mut complete = true;
        for (turn, member) in members.iter().enumerate() {
            self.turns.push(turn as u32);
            self.keys.push(self.key_of(member, turn));
            let made = self.graph.len();
            let own = self.member_taint(&list, turn).unwrap_or(taint);
            self.trace_next_member(&clause.list, turn, frame);
            self.binding(own, |cx| cx.bind(&clause.binding, member.clone(), frame));
            let mut reached = self.length_taint(&list).unwrap_or(taint);
            let goes = match &clause.condition {
                None => true,
                Some(c) => {
                    let (value, taint) = self.apart_expr(c, frame);
                    self.count_member(clause, turn, frame);
                    self.select_by(taint);
                    reached = self.union(reached, taint);
                    self.note_control(reached, decides);
                    self.decided(&value, c.span).unwrap_or_else(|_| {
                        complete = false;
                        false
                    })
                }
            };
            if goes {
                self.guard_turn(&clause.list, turn, clause.condition.as_ref(), frame);
                complete &= self.under(reached, decides, (clause.list.span, turn), |cx| {
                    cx.for_each(clauses, depth + 1, decides, frame, body)
                });
            }
            self.end_scope(made);
            self.keys.pop();
            self.turns.pop();
        }
        complete
    }

    /// The members of a list or of a range of ints.
    pub(super) fn members(&mut self, list: &Value, span: Span) -> Result<Rc<[Value]>, Reported> {
        match list {
            Value::List(l) => Ok(l.clone()),
            Value::Poison => Err(Reported),
            Value::Range(r) => match (&r.start, &r.end) {
                (Some(Value::Int(a)), Some(Value::Int(b))) => {
                    let end = if r.inclusive { b.saturating_add(1) } else { *b };
                    if end.saturating_sub(*a) > LONGEST_LIST as i64 {
                        let message =
                            format!("a list has at most {LONGEST_LIST} members, and this has {}", end.saturating_sub(*a));
                        return Err(self.error(codes::OUT_OF_RANGE, message, span, ""));
                    }
                    Ok((*a..end).map(Value::Int).collect())
                }
                _ => Err(self.error(codes::WRONG_KIND, "only a range between two ints is a list: `0..32`", span, "")),
            },
            other => {
                let message = format!("a list is wanted here, and this is {}", other.kind());
                Err(self.error(codes::WRONG_KIND, message, span, ""))
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn fold(
        &mut self,
        binding: &'p Binding,
        (of_start, (start, mut taint)): (&'p Expr, (Value, Taint)),
        item: &'p Binding,
        list: &'p Expr,
        until: Option<&'p Expr>,
        body: &'p Block,
        frame: &mut Frame,
    ) -> Value {
        let mut trace = self.operand_trace(of_start, frame);
        let (values, length) = self.apart_expr(list, frame);
        let Ok(members) = self.members(&values, list.span) else { return Value::Poison };
        self.claim_length(list, LONGEST_FOLD, members.len(), frame);
        if members.len() > LONGEST_FOLD {
            let message = format!("a fold has at most {LONGEST_FOLD} turns, and this has {}", members.len());
            self.error(codes::OUT_OF_RANGE, message, list.span, "");
            return Value::Poison;
        }
        let mut state = start;
        let decides = self.watch.is_some() && self.block_decides(body);
        self.note_control(length, decides);
        // How often a turn that keeps the shape is taken decides no shape.
        let mut alike = true;
        let mut states = vec![(state.clone(), taint)];
        for (turn, member) in members.iter().enumerate() {
            self.turns.push(turn as u32);
            self.keys.push(self.key_of(member, turn));
            self.trace_next(trace.clone());
            let made = self.graph.len();
            self.binding(taint, |cx| cx.bind(binding, state.clone(), frame));
            self.trace_next_member(list, turn, frame);
            self.binding(length, |cx| cx.bind(item, member.clone(), frame));
            let stop = until.map(|u| (self.apart_expr(u, frame), u.span));
            let mut reached = length;
            let stop = stop.map(|((value, taint), span)| {
                reached = self.union(length, taint);
                self.note_control(reached, decides);
                self.select_by(taint);
                (value, span)
            });
            let next = match stop {
                Some((Value::Bool(true), _)) => None,
                None | Some((Value::Bool(false), _)) => {
                    let here = (body.span, turn);
                    match until {
                        None => self.guard_turn(list, turn, None, frame),
                        Some(_) => self.guard_unknown(),
                    }
                    let (next, of_turn) = self.apart(|cx| cx.under(reached, decides, here, |cx| cx.block(body, frame)));
                    // Where the axes tell, a state depends on the turn that gave it and no other.
                    taint = match &next {
                        Value::Tensor(t) if t.axes.is_some() => of_turn,
                        _ => self.union(taint, of_turn),
                    };
                    trace = self.trace_of_block(body);
                    alike &= self.same_shape(&state, &next);
                    states.push((next.clone(), taint));
                    Some(next)
                }
                Some((condition, span)) => match self.tensor(&condition, span) {
                    Ok(stop) if !self.is_scalar(&stop) => {
                        let label = format!("has {}", self.show_shape(&self.shape(&stop)));
                        let d = Diagnostic::new(codes::WRONG_SHAPE, "`until` takes one yes or no", span, label)
                            .help("`min(mask)` is 1 where a mask holds everywhere, `max(mask)` where it holds somewhere");
                        self.report(d);
                        Some(Value::Poison)
                    }
                    Ok(stop) => {
                        let next = self.block(body, frame);
                        states.clear();
                        Some(self.frozen((&stop, span), &state, &next, body.span))
                    }
                    Err(_) => Some(Value::Poison),
                },
            };
            self.end_scope(made);
            self.keys.pop();
            self.turns.pop();
            match next {
                Some(next) => state = next,
                None => break,
            }
            if state.is_poison() {
                return Value::Poison;
            }
        }
        if self.watch.is_some() {
            self.trace_fold((list, frame), until.is_some(), members.len(), trace, &state);
        }
        if self.watches_axes() && self.axes_of_fold(&states, length, &mut state) {
            return state;
        }
        for of_state in states.iter().map(|s| s.1).chain([taint]) {
            // The states of a network are handed on from turn to turn.
            if self.watches_axes() { self.gather(of_state) } else { self.read(of_state) }
        }
        if !alike {
            self.select_by(length);
        }
        state
    }

    /// Whether both are tensors of one shape.
    fn same_shape(&self, a: &Value, b: &Value) -> bool {
        matches!((a, b), (Value::Tensor(a), Value::Tensor(b)) if self.graph.shape(a.node) == self.graph.shape(b.node))
    }

    /// What tells a loop turn apart in the ids of decisions: the member, where it has a short text.
    fn key_of(&self, member: &Value, turn: usize) -> String {
        let known = match member {
            Value::Int(i) => Some(i.to_string()),
            Value::Str(s) => Some(s.to_string()),
            Value::Model(m) => self.name_of_model(m),
            _ => None,
        };
        known.unwrap_or_else(|| turn.to_string())
    }

    /// The name that a `let` gave to a model, or under which a checkpoint is known.
    pub(super) fn name_of_model(&self, model: &Rc<Model>) -> Option<String> {
        if let Some((_, name)) = self.model_names.get(&Rc::as_ptr(model)) {
            return Some(name.clone());
        }
        match model.what {
            What::File(index) => self.graph.checkpoints.get(index as usize).map(|c| c.name.clone()),
            _ => None,
        }
    }

    /// `old` where a condition that is known only at the run holds, else `new`, part by part.
    fn frozen(&mut self, stop: (&TensorVal, Span), old: &Value, new: &Value, span: Span) -> Value {
        match (old, new) {
            (Value::Poison, _) | (_, Value::Poison) => Value::Poison,
            (Value::Tuple(a), Value::Tuple(b)) if a.len() == b.len() => {
                Value::Tuple(a.iter().zip(b.iter()).map(|(a, b)| self.frozen(stop, a, b, span)).collect())
            }
            (Value::List(a), Value::List(b)) if a.len() == b.len() => {
                Value::List(a.iter().zip(b.iter()).map(|(a, b)| self.frozen(stop, a, b, span)).collect())
            }
            (Value::Tensor(_) | Value::Int(_) | Value::Bool(_), Value::Tensor(_) | Value::Int(_) | Value::Bool(_)) => {
                let (Ok(a), Ok(b)) = (self.tensor(old, span), self.tensor(new, span)) else { return Value::Poison };
                primitives::select(self, stop, (&a, span), (&b, span), span).into()
            }
            (Value::Model(_), _) | (_, Value::Model(_)) => {
                let argument = |value: Value, span| Some(Argument { value, span, parts: None });
                let stop = argument(stop.0.clone().into(), stop.1);
                let args = vec![stop, argument(old.clone(), span), argument(new.clone(), span)];
                self.lifted(LiftOp::Primitive("where"), args, span)
            }
            _ => self.not_there_yet(
                "`until` with a condition known only at the run and a state that is neither a number, a tensor nor a model",
                "keep what is known beforehand out of the state: `enumerate(list)` counts turns",
                span,
            ),
        }
    }
}
