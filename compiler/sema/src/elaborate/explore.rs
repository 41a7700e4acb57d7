//! Watching decisions: on which of them what is computed depends.
//!
//! While it watches, an elaboration keeps for the expression at hand the set of structural decisions that were read for it, and
//! for the place at hand those that decide whether it is reached (conditions, lengths of lists, arms). Variables remember the set of
//! what they were given. A set may be larger than need be, and then a few more candidates are tried; it is never smaller.
//!
//! Of a tensor and a model only shapes and names can decide anything later, not entries: a function that declares the shape of its
//! result hands on what those dims depend on, `like` what its model's names depend on, and a layer what each axis depends on (`axes`).
//! Real decisions are arguments of kernels and decide nothing.
//!
//! What decides that a place is reached is kept apart from what is computed there: a fault in the fourth turn of a fold shows itself
//! whenever there are four turns, so no other combination of the number of turns with the rest need be tried.
//!
//! Not here: the tree that is made of this (the driver).

use super::bills::{Ledger, Maker};
use super::context::Cx;
use super::expressions::Frame;
use super::trace::{Trace, Tracing};
use crate::hir::walk::{Visit, walk_block, walk_expr};
use crate::hir::{Block, Callee, Choose, Expr, ExprKind, FnId, LocalId, Program};
use crate::space::{Axes, Condition, Exploration, Mention, RealCondition, Taint, Taints, TermId};
use crate::value::{Argument, TensorVal, Value};
use merge_base::Span;
use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// The state of a watching elaboration.
#[derive(Default)]
pub(super) struct Watch<'p> {
    pub(super) taints: Taints,
    /// Who made which node.
    pub(super) ledger: Ledger,
    /// What the expression at hand was computed from.
    pub(super) now: Taint,
    /// What members of a list at hand were computed from, each by itself.
    pub(super) gathered: Taint,
    /// What decided which of several values it is.
    selected: Taint,
    /// What decides whether the place at hand is reached.
    pub(super) control: Taint,
    /// What the variable that is bound next depends on.
    binding: Taint,
    /// Of arguments, by where they stand, as they were evaluated last.
    arguments: FxHashMap<Span, Taint>,
    /// The branches, turns and calls around, as one number.
    pub(super) around: u64,
    /// What was around where it was decided last whether the place at hand is reached: all that is computed since then is computed in
    /// the same candidates, as far as nothing is wrong.
    place: u64,
    /// What ints and truth values are in other candidates.
    pub(super) tracing: Tracing,
    /// All places that were reached.
    places: FxHashSet<u64>,
    /// What was computed from, what decides whether that is reached, and where.
    mentions: FxHashSet<(Taint, Taint, u64)>,
    /// Those of which claims do not say all.
    uncovered: FxHashSet<(Taint, Taint, u64)>,
    /// Places of which claims do not say where they are reached.
    unguarded: FxHashSet<u64>,
    /// What decides whether places are reached where something is decided.
    controls: FxHashSet<Taint>,
    /// Of lists that were made member by member: what the length depends on, and each member.
    lists: FxHashMap<*const Value, Members>,
    /// Functions in which, or in whose callees, something is decided.
    deciding: &'p [bool],
    /// Whether something is decided in a part of the program, by its address and whether it is a block.
    decides: RefCell<FxHashMap<(usize, bool), bool>>,
    depends: Vec<Taint>,
    conditions: Vec<Condition>,
    /// Conditions that real numbers settle.
    reals: Vec<RealCondition>,
}

/// A list, what its length depends on, and each of its members.
type Members = (Rc<[Value]>, Taint, Rc<[Taint]>);

/// What a lifted function needs to know when it is applied.
#[derive(Debug, Default)]
pub(super) struct Watched {
    control: Taint,
    place: u64,
    around: u64,
    arguments: Vec<(Span, Taint)>,
}

impl Watch<'_> {
    /// The expression at hand, where it costs what these decisions say.
    pub(super) fn maker(&self, decisions: Taint) -> Maker {
        Maker { decisions, control: self.control, place: self.place, around: self.around }
    }
}

impl<'p> Cx<'p> {
    pub(super) fn union(&mut self, a: Taint, b: Taint) -> Taint {
        match &mut self.watch {
            Some(w) => w.taints.union(a, b),
            None => Taint::NONE,
        }
    }

    /// Notes that the expression at hand is computed from this.
    pub(super) fn read(&mut self, taint: Taint) {
        if let Some(w) = &mut self.watch {
            w.now = w.taints.union(w.now, taint);
        }
    }

    /// Notes what a member of a list is computed from: the members do not meet.
    pub(super) fn gather(&mut self, taint: Taint) {
        if let Some(w) = &mut self.watch {
            w.gathered = w.taints.union(w.gathered, taint);
        }
    }

    /// Notes that this decides which value the expression at hand has.
    pub(super) fn select_by(&mut self, taint: Taint) {
        if let Some(w) = &mut self.watch {
            w.now = w.taints.union(w.now, taint);
            w.selected = w.taints.union(w.selected, taint);
        }
    }

    /// Evaluates something by itself: its value with what the value depends on, of which the expression around learns nothing.
    pub(super) fn apart(&mut self, body: impl FnOnce(&mut Cx<'p>) -> Value) -> (Value, Taint) {
        let Some(w) = &mut self.watch else { return (body(self), Taint::NONE) };
        let outer = (std::mem::take(&mut w.now), std::mem::take(&mut w.selected), std::mem::take(&mut w.gathered));
        let scope = self.open_scope();
        let made = self.graph.len();
        let mut value = body(self);
        let covered = self.close_scope(scope);
        let guarded = self.is_guarded();
        let Some(w) = &mut self.watch else { return (value, Taint::NONE) };
        let (now, selected, gathered) = (w.now, w.selected, w.gathered);
        (w.now, w.selected, w.gathered) = outer;
        let mention = (now, w.control, w.place);
        w.mentions.insert(mention);
        if !covered {
            w.uncovered.insert(mention);
        }
        if !guarded {
            w.unguarded.insert(w.place);
        }
        let now = w.taints.union(now, gathered);
        if selected != Taint::NONE {
            select_shapes(&mut value, selected, &mut w.taints);
            // Which list it is has a say in each of its members.
            if let Value::List(l) = &value
                && let Some((_, length, _)) = w.lists.get_mut(&l.as_ptr())
            {
                *length = w.taints.union(*length, selected);
            }
        }
        let taint = match &value {
            Value::Tensor(TensorVal { axes: Some(axes), .. }) => w.taints.of_shape(axes),
            Value::Model(m) => {
                let own = m.structure.get().unwrap_or(now);
                m.structure.set(Some(own));
                w.taints.union(own, selected)
            }
            _ => now,
        };
        let all = w.taints.union(now, taint);
        w.ledger.claim(made..self.graph.len(), w.maker(all));
        (value, taint)
    }

    /// [`Cx::apart`] of an expression. A variable alone is no computation in which decisions meet.
    pub(super) fn apart_expr(&mut self, e: &'p Expr, frame: &mut Frame) -> (Value, Taint) {
        if self.watch.is_some() {
            match e.kind {
                ExprKind::Local(id) => {
                    return (frame.locals.get(id.0 as usize).cloned().unwrap_or(Value::Poison), frame.taint(id));
                }
                ExprKind::Global(id) => {
                    let taint = self.global_taints.get(id.0 as usize).copied().unwrap_or_default();
                    return (self.globals.get(id.0 as usize).cloned().unwrap_or(Value::Poison), taint);
                }
                _ => {}
            }
        }
        self.apart(|cx| cx.expr(e, frame))
    }

    /// Runs `body` as another place: a call, a branch, a turn.
    pub(super) fn at_place<T>(&mut self, at: Span, turn: usize, body: impl FnOnce(&mut Cx<'p>) -> T) -> T {
        let Some(w) = &mut self.watch else { return body(self) };
        let mut hasher = FxHasher::default();
        (w.around, at, turn).hash(&mut hasher);
        let outer = std::mem::replace(&mut w.around, hasher.finish());
        let made = self.graph.len();
        let result = body(self);
        if let Some(w) = &mut self.watch {
            let now = w.taints.union(w.now, w.gathered);
            w.ledger.claim(made..self.graph.len(), w.maker(now));
            w.around = outer;
        }
        result
    }

    /// Runs `body` where this decides whether it is reached. `decides`: whether something is decided in what is reached so, or in
    /// what would be otherwise. `at` and `turn` tell the place from others.
    pub(super) fn under<T>(
        &mut self,
        taint: Taint,
        decides: bool,
        (at, turn): (Span, usize),
        body: impl FnOnce(&mut Cx<'p>) -> T,
    ) -> T {
        let Some(w) = &mut self.watch else { return body(self) };
        let outer = (w.control, w.place);
        w.control = w.taints.union(w.control, taint);
        self.note_control(taint, decides);
        let guard = self.enter(taint);
        let result = self.at_place(at, turn, |cx| {
            if let Some(w) = &mut cx.watch
                && taint != Taint::NONE
            {
                w.place = w.around;
                w.places.insert(w.place);
            }
            body(cx)
        });
        self.leave(guard);
        if let Some(w) = &mut self.watch {
            (w.control, w.place) = outer;
        }
        result
    }

    /// Notes that this decides whether something is reached, even where it is not reached here: a loop without turns.
    pub(super) fn note_control(&mut self, taint: Taint, decides: bool) {
        if let Some(w) = &mut self.watch
            && decides
            && taint != Taint::NONE
        {
            let all = w.taints.union(w.control, taint);
            w.controls.insert(all);
        }
    }

    /// Runs `body`, which binds variables to values that depend on this.
    pub(super) fn binding<T>(&mut self, taint: Taint, body: impl FnOnce(&mut Cx<'p>) -> T) -> T {
        let Some(w) = &mut self.watch else { return body(self) };
        let outer = std::mem::replace(&mut w.binding, taint);
        let result = body(self);
        if let Some(w) = &mut self.watch {
            w.binding = outer;
        }
        result
    }

    /// What the variable that is bound now depends on.
    pub(super) fn bound_taint(&self) -> Taint {
        self.watch.as_ref().map_or(Taint::NONE, |w| w.binding)
    }

    /// Notes that this meets in a check here, apart from what the expression at hand is computed from.
    pub(super) fn mention(&mut self, taint: Taint) {
        if let Some(w) = &mut self.watch {
            let mention = (taint, w.control, w.place);
            w.mentions.insert(mention);
            w.uncovered.insert(mention);
            w.unguarded.insert(w.place);
        }
    }

    /// Remembers what an argument depends on, for whoever binds it to a parameter.
    pub(super) fn note_argument(&mut self, span: Span, taint: Taint) {
        if let Some(w) = &mut self.watch {
            w.arguments.insert(span, taint);
            w.now = w.taints.union(w.now, taint);
        }
    }

    /// Remembers what an argument depends on that decides no shape and no check.
    pub(super) fn note_idle_argument(&mut self, span: Span, taint: Taint) {
        if let Some(w) = &mut self.watch {
            w.arguments.insert(span, taint);
        }
    }

    pub(super) fn argument_taint(&self, span: Span) -> Taint {
        self.watch.as_ref().and_then(|w| w.arguments.get(&span).copied()).unwrap_or_default()
    }

    /// What has to be known later of a function that is applied name by name.
    pub(super) fn watched(&self, args: &[Option<Argument>]) -> Watched {
        let Some(w) = &self.watch else { return Watched::default() };
        let arguments = args.iter().flatten().map(|a| (a.span, self.argument_taint(a.span))).collect();
        Watched { control: w.control, place: w.place, around: w.around, arguments }
    }

    /// Runs a lifted function where it was written.
    pub(super) fn as_watched(&mut self, watched: &Watched, body: impl FnOnce(&mut Cx<'p>) -> Value) -> Value {
        let Some(w) = &mut self.watch else { return body(self) };
        let outer = (w.control, w.place, w.around);
        (w.control, w.place, w.around) = (watched.control, watched.place, watched.around);
        w.arguments.extend(watched.arguments.iter().copied());
        let (value, _) = self.apart(body);
        if let Some(w) = &mut self.watch {
            (w.control, w.place, w.around) = outer;
        }
        value
    }

    /// Notes a decision with what its domain and its key depend on.
    pub(super) fn watch_decision(&mut self, index: usize, own: Taint) {
        if let Some(w) = &mut self.watch {
            let depends = w.taints.union(w.control, own);
            if w.depends.len() <= index {
                w.depends.resize(index + 1, Taint::NONE);
            }
            w.depends[index] = w.taints.union(w.depends[index], depends);
        }
    }

    /// The set of one structural decision.
    pub(super) fn taint_of_decision(&mut self, index: usize) -> Taint {
        let decision = &self.decided[index].decision;
        let structural = decision.structural && !decision.pinned;
        match &mut self.watch {
            Some(w) if structural => w.taints.one(index as u32),
            _ => Taint::NONE,
        }
    }

    /// Notes a condition of a `let`; whether it was taken care of. One that real numbers settle is tried for each candidate.
    pub(super) fn watch_condition(
        &mut self,
        value: &Value,
        taint: Taint,
        span: Span,
        (place, term): (u64, Option<TermId>),
    ) -> bool {
        let text = self.text(span).split_whitespace().collect::<Vec<_>>().join(" ");
        let Some(w) = &mut self.watch else { return false };
        match value {
            Value::Bool(holds) => {
                let all = w.taints.union(taint, w.control);
                let depends = w.taints.members(all).to_vec();
                w.conditions.push(Condition { span, text, holds: *holds, depends, place, term });
                true
            }
            Value::Tensor(t) => {
                w.reals.push(RealCondition { span, text, node: t.node });
                true
            }
            _ => false,
        }
    }

    /// Whether something is decided in an expression, or in a function that it calls.
    pub(super) fn decides(&self, e: &'p Expr) -> bool {
        self.decides_in((std::ptr::from_ref(e).addr(), false), &|visit| walk_expr(e, visit))
    }

    /// [`Cx::decides`] of a block.
    pub(super) fn block_decides(&self, b: &'p Block) -> bool {
        self.decides_in((std::ptr::from_ref(b).addr(), true), &|visit| walk_block(b, visit))
    }

    /// `place`: where the part of the program lies, which stays there.
    fn decides_in(&self, place: (usize, bool), walk: &dyn std::ops::Fn(&mut dyn Visit<'p>)) -> bool {
        let Some(w) = &self.watch else { return false };
        if let Some(known) = w.decides.borrow().get(&place) {
            return *known;
        }
        let mut found = Decides { deciding: w.deciding, found: false };
        walk(&mut found);
        w.decides.borrow_mut().insert(place, found.found);
        found.found
    }

    /// Finds the functions in which something is decided, once for all elaborations of a program.
    pub(super) fn find_deciding(&mut self) {
        let program = self.program;
        if let Some(w) = &mut self.watch {
            w.deciding = program.deciding.get_or_init(|| deciding(program));
        }
    }

    /// Whether something is decided in a function, while that is watched.
    pub(super) fn function_decides(&self, id: FnId) -> bool {
        self.watch.as_ref().is_some_and(|w| w.deciding.get(id.0 as usize).copied().unwrap_or(false))
    }

    /// Remembers what each member of a list depends on.
    pub(super) fn note_list(&mut self, list: &Rc<[Value]>, length: Taint, members: Vec<Taint>) {
        if let Some(w) = &mut self.watch
            && !list.is_empty()
        {
            w.lists.insert(list.as_ptr(), (list.clone(), length, members.into()));
        }
    }

    /// What the length of a list depends on, where that is known better than for the whole.
    pub(super) fn length_taint(&self, list: &Value) -> Option<Taint> {
        let Value::List(l) = list else { return None };
        self.watch.as_ref()?.lists.get(&l.as_ptr()).map(|(_, length, _)| *length)
    }

    /// What one member of a list depends on, where that is known better than for the whole.
    pub(super) fn member_taint(&mut self, list: &Value, index: usize) -> Option<Taint> {
        let Value::List(l) = list else { return None };
        let w = self.watch.as_mut()?;
        let (_, length, members) = w.lists.get(&l.as_ptr())?;
        let (length, member) = (*length, *members.get(index)?);
        Some(w.taints.union(length, member))
    }

    /// What was seen.
    pub(super) fn exploration(&mut self) -> Option<Exploration> {
        let w = self.watch.take()?;
        let list = |t: &Taint| w.taints.members(*t).to_vec();
        let mut depends: Vec<Vec<u32>> = w.depends.iter().map(list).collect();
        depends.resize(self.decided.len(), Vec::new());
        let mut mentions = maximal(&w.mentions, &w.uncovered, &w.taints);
        mentions.iter_mut().for_each(|m| m.guarded = !w.unguarded.contains(&m.place));
        let mut controls: Vec<Vec<u32>> = w.controls.iter().map(list).collect();
        controls.sort();
        let mut conditions = w.conditions;
        let (claims, terms, strings) = w.tracing.finish(&mut conditions);
        let bills = w.ledger.bills(&w.taints);
        let mut places: Vec<u64> = w.places.into_iter().collect();
        places.sort_unstable();
        Some(Exploration { depends, controls, conditions, reals: w.reals, mentions, claims, terms, strings, places, bills })
    }
}

/// By function: whether something is decided in it, or in what it calls. No function reaches itself.
fn deciding(program: &Program) -> Vec<bool> {
    let mut deciding = vec![false; program.fns.len()];
    loop {
        let mut found = false;
        for (i, f) in program.fns.iter().enumerate() {
            if deciding[i] {
                continue;
            }
            let mut visit = Decides { deciding: &deciding, found: false };
            f.params.iter().filter_map(|p| p.default.as_ref()).for_each(|e| walk_expr(e, &mut visit));
            walk_block(&f.body, &mut visit);
            if visit.found {
                deciding[i] = true;
                found = true;
            }
        }
        if !found {
            return deciding;
        }
    }
}

/// The sets at each place, of uncovered ones the largest: what is inside another is tried with it, or left with it. A covered one is neither
/// where it is decided by its claims.
fn maximal(
    mentions: &FxHashSet<(Taint, Taint, u64)>,
    uncovered: &FxHashSet<(Taint, Taint, u64)>,
    taints: &Taints,
) -> Vec<Mention> {
    // Decisions, and whether they are covered, of those at one place.
    type Sets<'a> = Vec<(&'a [u32], bool)>;
    let mut places: BTreeMap<(u64, &[u32]), Sets<'_>> = BTreeMap::new();
    for mention @ (decisions, reached_by, place) in mentions {
        let covered = !uncovered.contains(mention);
        places.entry((*place, taints.members(*reached_by))).or_default().push((taints.members(*decisions), covered));
    }
    let mut found = Vec::new();
    for ((place, reached_by), sets) in places {
        let inside = |a: &(&[u32], bool), b: &(&[u32], bool)| {
            a.0.len() < b.0.len() && !a.1 && !b.1 && a.0.iter().all(|d| b.0.binary_search(d).is_ok())
        };
        for set in sets.iter().filter(|a| !sets.iter().any(|b| inside(a, b))) {
            let (decisions, covered) = (set.0.to_vec(), set.1);
            found.push(Mention { decisions, reached_by: reached_by.to_vec(), place, covered, guarded: false });
        }
    }
    found.sort();
    found
}

/// Adds what decided which value it is to what the shapes in it depend on.
fn select_shapes(value: &mut Value, selected: Taint, taints: &mut Taints) {
    match value {
        Value::Tensor(t) => {
            if let Some(Axes { rank, .. }) = &mut t.axes {
                *rank = taints.union(*rank, selected);
            }
        }
        Value::List(l) | Value::Tuple(l) if l.iter().any(has_axes) => {
            let mut parts = l.to_vec();
            parts.iter_mut().for_each(|v| select_shapes(v, selected, taints));
            *l = parts.into();
        }
        _ => {}
    }
}

fn has_axes(value: &Value) -> bool {
    match value {
        Value::Tensor(t) => t.axes.is_some(),
        Value::List(l) | Value::Tuple(l) => l.iter().any(has_axes),
        _ => false,
    }
}

/// Whether a walk meets a decision.
struct Decides<'d> {
    deciding: &'d [bool],
    found: bool,
}

impl<'p> Visit<'p> for Decides<'_> {
    fn expr(&mut self, e: &'p Expr) {
        if let ExprKind::Call { callee: Callee::Fn(id), .. } = &e.kind {
            self.found |= self.deciding[id.0 as usize];
        }
    }

    fn choose(&mut self, _c: &'p Choose, _is_statement: bool) {
        self.found = true;
    }
}

impl Frame {
    /// What a variable depends on.
    pub(super) fn taint(&self, local: LocalId) -> Taint {
        self.taints.get(local.0 as usize).copied().unwrap_or_default()
    }

    /// What is known of a variable in all candidates.
    pub(super) fn trace(&self, local: LocalId) -> Trace {
        self.traces.get(local.0 as usize).cloned().unwrap_or_default()
    }
}
