//! The walk over expressions, statements and blocks.

use super::context::Cx;
use super::model::{Model, What};
use super::trace::Trace;
use super::types::Asker;
use crate::codes::{models, types as codes};
use crate::degree::Degree;
use crate::hir::{BinaryOp, Binding, Block, Callee, Entry, Expr, ExprKind, Let, LocalId, Stmt, Str, StrPart, Tail};
use crate::space::{Axes, Taint};
use crate::value::{Argument, RangeVal, Reported, TensorVal, Value};
use merge_base::{Diagnostic, Span};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// The variables of one body.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub locals: Vec<Value>,
    /// What each depends on.
    pub taints: Vec<Taint>,
    /// What is known of each in all candidates.
    pub traces: Vec<Trace>,
    /// Which locals are dims that are bound, by which argument and of which shape.
    pub dims: Vec<(LocalId, Span, Rc<[u64]>)>,
    /// What the axes depend on that each `..s` is bound to, while that is watched.
    pub rests: Vec<(LocalId, Axes)>,
    /// What `affine` stands for in the signature.
    pub affine: Option<Degree>,
    /// At the top level, where locals are the globals.
    pub writes_globals: bool,
    /// Whether `as` may be told that it is not needed: not at the uses of a function, which differ.
    pub warns: bool,
}

impl Frame {
    /// The frame of the top level or of a test.
    pub fn top(locals: usize) -> Frame {
        Frame::new(locals, true, true)
    }

    /// The frame of a function's body.
    pub fn of_function(locals: usize, warns: bool) -> Frame {
        Frame::new(locals, false, warns)
    }

    fn new(locals: usize, writes_globals: bool, warns: bool) -> Frame {
        let taints = vec![Taint::NONE; locals];
        Frame {
            locals: vec![Value::Poison; locals],
            taints,
            traces: Vec::new(),
            dims: Vec::new(),
            rests: Vec::new(),
            affine: None,
            writes_globals,
            warns,
        }
    }
}

impl<'p> Cx<'p> {
    /// Gives a variable its value.
    pub(super) fn bind_local(&mut self, local: LocalId, value: Value, frame: &mut Frame) {
        let index = local.0 as usize;
        let taint = match &value {
            Value::Tensor(TensorVal { axes: Some(axes), .. }) => self.of_shape(axes),
            _ => self.bound_taint(),
        };
        if frame.writes_globals
            && let Some(slot) = self.globals.get_mut(index)
        {
            *slot = value.clone();
            self.global_taints[index] = taint;
        }
        if index >= frame.locals.len() {
            frame.locals.resize(index + 1, Value::Poison);
        }
        if index >= frame.taints.len() {
            frame.taints.resize(index + 1, Taint::NONE);
        }
        frame.locals[index] = value;
        frame.taints[index] = taint;
        if self.watch.is_some() {
            self.bind_trace(index, taint, frame);
        }
    }

    /// Gives the variables of a binding their values; a tuple must have as many parts.
    pub(super) fn bind(&mut self, binding: &Binding, value: Value, frame: &mut Frame) {
        match (binding, value) {
            (Binding::Ignore(_), _) => {}
            (Binding::Local(local, _), value) => self.bind_local(*local, value, frame),
            (Binding::Tuple(parts, span), Value::Tuple(values)) => {
                let traces = self.bound_parts();
                if parts.len() != values.len() {
                    let message = format!("{} names for a tuple of {}", parts.len(), values.len());
                    self.error(codes::WRONG_KIND, message, *span, "");
                    parts.iter().for_each(|p| self.bind(p, Value::Poison, frame));
                    return;
                }
                for (i, (part, value)) in parts.iter().zip(values.iter()).enumerate() {
                    self.trace_next(traces.as_ref().and_then(|t| t.get(i).cloned()).unwrap_or_default());
                    self.bind(part, value.clone(), frame);
                }
            }
            (Binding::Tuple(parts, span), value) => {
                if !value.is_poison() {
                    let message = format!("a tuple of {} is wanted here, and this is {}", parts.len(), value.kind());
                    self.error(codes::WRONG_KIND, message, *span, "");
                }
                parts.iter().for_each(|p| self.bind(p, Value::Poison, frame));
            }
        }
    }

    pub(super) fn let_(&mut self, l: &'p Let, frame: &mut Frame) {
        let name = match &l.pattern {
            Binding::Local(_, span) => Some(self.text(*span)),
            _ => None,
        };
        if let (Some(name), ExprKind::Call { callee: Callee::Primitive("checkpoint" | "deltas" | "tensors" | "adapter"), .. }) =
            (name, &l.value.kind)
        {
            self.bound_to = Some(name.to_string());
        }
        let (mut value, taint) = match name {
            None => self.apart_expr(&l.value, frame),
            Some(name) => {
                self.path.push(name);
                let made = self.graph.len();
                let value = self.apart_expr(&l.value, frame);
                self.end_scope(made);
                self.path.pop();
                value
            }
        };
        self.bound_to = None;
        if let Some(ty) = &l.ty {
            let asker = name.map_or(Asker::Said("this `let`"), Asker::Variable);
            value = self.check_against(ty, value, l.value.span, asker, frame);
            self.uncover_type(ty);
        }
        if let (Some(name), Value::Model(m)) = (name, &value) {
            self.model_names.entry(Rc::as_ptr(m)).or_insert_with(|| (m.clone(), name.to_string()));
        }
        self.trace_next_of(&l.value, frame);
        self.binding(taint, |cx| cx.bind(&l.pattern, value, frame));
        if let Some(condition) = &l.requires {
            self.require_of_let(condition, frame);
        }
    }

    pub(super) fn stmt(&mut self, stmt: &'p Stmt, frame: &mut Frame) {
        match stmt {
            Stmt::Let(l) => self.let_(l, frame),
            Stmt::Choose(c) => {
                let (value, taint) = self.apart(|cx| cx.choose(c, frame));
                self.trace_next_last();
                self.binding(taint, |cx| cx.bind_local(c.local, value, frame));
            }
            Stmt::New { name, local, shape, value, span } => {
                let (mut value, taint) = self.apart(|cx| {
                    cx.uncover();
                    cx.new_tensor(name, shape.as_deref(), value, *span, frame).into()
                });
                self.axes_of_new(shape.as_deref(), &mut value, frame);
                self.binding(taint, |cx| cx.bind_local(*local, value, frame));
            }
        }
    }

    pub(super) fn block(&mut self, block: &'p Block, frame: &mut Frame) -> Value {
        for stmt in &block.stmts {
            self.stmt(stmt, frame);
        }
        match &block.tail {
            Tail::Value(e) => self.expr(e, frame),
            Tail::Entries(entries) => self.entries(entries, frame),
            Tail::Error => Value::Poison,
        }
    }

    /// A block of names.
    fn entries(&mut self, entries: &'p [Entry], frame: &mut Frame) -> Value {
        let mut tensors = FxHashMap::default();
        let mut origins = Vec::new();
        for entry in entries {
            self.for_each(&entry.clauses, 0, true, frame, &mut |cx, frame| {
                let Ok(text) = cx.string(&entry.name, frame) else { return };
                let name = cx.names.id(&text);
                let value = cx.expr(&entry.value, frame);
                cx.read_shape(&value);
                let tensor = cx.entry_tensor(&value, name, entry.value.span, &mut origins);
                if tensors.insert(name, tensor).is_some() {
                    let message = format!("the name `{text}` is given twice");
                    cx.error(models::NAME_TWICE, message, entry.name.span, "");
                }
            });
        }
        let origin = self.origin_of(&origins);
        Value::Model(Model::new(What::Tensors { tensors, block: true }, origin))
    }

    /// The tensor behind a name of a block: the value itself, or (inside a rule) the tensor that the rule matched.
    fn entry_tensor(
        &mut self,
        value: &Value,
        name: super::NameId,
        span: Span,
        origins: &mut Vec<(Rc<Model>, Span)>,
    ) -> Result<TensorVal, Reported> {
        match value {
            Value::Model(m) => {
                origins.push((m.clone(), span));
                let wanted = self.tensor.unwrap_or(name);
                match m.get(self, wanted) {
                    Some(t) => t,
                    None => Err(self.no_such_tensor(m, wanted, span)),
                }
            }
            Value::Tensor(t) => Ok(t.clone()),
            other => self.tensor(other, span),
        }
    }

    /// The text of a string with its holes filled.
    pub(super) fn string(&mut self, s: &'p Str, frame: &mut Frame) -> Result<Rc<str>, Reported> {
        if let [StrPart::Text(t)] = s.parts.as_slice() {
            return Ok(t.as_str().into());
        }
        let mut text = String::new();
        let mut fault = None;
        for part in &s.parts {
            match part {
                StrPart::Text(t) => text.push_str(t),
                StrPart::Hole(e) => {
                    let value = self.expr(e, frame);
                    match self.hole_text(&value, e.span) {
                        Ok(t) => text.push_str(&t),
                        Err(r) => fault = Some(r),
                    }
                }
            }
        }
        fault.map_or(Ok(text.into()), Err)
    }

    /// What stands for a value inside a string.
    pub(super) fn hole_text(&mut self, value: &Value, span: Span) -> Result<String, Reported> {
        match value {
            Value::Int(i) => Ok(i.to_string()),
            Value::Bool(b) => Ok(b.to_string()),
            Value::Str(s) | Value::Word(s) => Ok(s.to_string()),
            Value::Poison => Err(Reported),
            other => {
                let message = format!("a string takes ints, bools and strings in its holes, and this is {}", other.kind());
                Err(self.error(codes::WRONG_KIND, message, span, ""))
            }
        }
    }

    pub(super) fn expr(&mut self, e: &'p Expr, frame: &mut Frame) -> Value {
        let value = self.expr_of(e, frame);
        if self.watch.is_some() {
            self.trace(e, &value, frame);
        }
        value
    }

    fn expr_of(&mut self, e: &'p Expr, frame: &mut Frame) -> Value {
        let span = e.span;
        match &e.kind {
            ExprKind::Int(i) => Value::Int(*i),
            ExprKind::Float(f, text) => {
                let number = self.number(*f, span);
                if let Some(frac) = crate::degree::Frac::decimal(text) {
                    self.set_frac(&number, frac);
                }
                Value::Tensor(number)
            }
            ExprKind::Size(bytes) => Value::Size(*bytes),
            ExprKind::Bool(b) => Value::Bool(*b),
            ExprKind::Str(s) => self.string(s, frame).map(Value::Str).into(),
            ExprKind::SubModel(p) => {
                let message = "a pattern stands in the index of a model: `m[\"**.mlp.**\"]`";
                self.error(codes::WRONG_KIND, message, p.span(), "");
                Value::Poison
            }
            ExprKind::Local(id) => {
                let value = frame.locals.get(id.0 as usize).cloned().unwrap_or(Value::Poison);
                self.hand_on(&value, frame.taint(*id));
                value
            }
            ExprKind::Global(id) => {
                self.read(self.global_taints.get(id.0 as usize).copied().unwrap_or_default());
                self.globals.get(id.0 as usize).cloned().unwrap_or(Value::Poison)
            }
            ExprKind::Word(w) => Value::Word(w.as_str().into()),
            ExprKind::Tuple(parts) => Value::Tuple(parts.iter().map(|p| self.expr(p, frame)).collect()),
            ExprKind::List(parts) => {
                let mut taints = Vec::new();
                let mut part = |p: &'p Expr| {
                    let (value, taint) = self.apart_expr(p, frame);
                    self.gather(taint);
                    taints.push(taint);
                    value
                };
                let list: Rc<[Value]> = parts.iter().map(&mut part).collect();
                self.note_list(&list, Taint::NONE, taints);
                Value::List(list)
            }
            ExprKind::Comprehension { value, clauses } => {
                let (mut members, mut taints, mut traces) = (Vec::new(), Vec::new(), Vec::new());
                let outer = self.count_members(clauses);
                let mut complete = false;
                let decides = self.watch.is_some() && self.decides(value);
                // By itself: what the length depends on.
                let (_, length) = self.apart(|cx| {
                    complete = cx.for_each(clauses, 0, decides, frame, &mut |cx, frame| {
                        let (member, taint) = cx.apart_expr(value, frame);
                        members.push(member);
                        taints.push(taint);
                        traces.push(cx.operand_trace(value, frame));
                    });
                    Value::Bool(complete)
                });
                match self.watches_axes() {
                    // Which members there are says nothing of the shape of one.
                    true => self.read(length),
                    false => self.select_by(length),
                }
                taints.iter().for_each(|t| self.gather(*t));
                let members: Rc<[Value]> = members.into();
                self.note_list(&members, length, taints);
                self.trace_comprehension(outer, clauses, traces, frame);
                if complete { Value::List(members) } else { Value::Poison }
            }
            ExprKind::Block(b) => self.block(b, frame),
            ExprKind::Model { kind, of, stmts, rules } => self.model_literal(*kind, of, stmts, rules, span, frame),
            ExprKind::If { condition, then, otherwise } => {
                let (value, taint) = self.apart_expr(condition, frame);
                // Branches that keep one shape leave nothing to select.
                if !self.branches_keep_one_shape(then, otherwise, frame) {
                    self.select_by(taint);
                }
                let decides = self.watch.is_some() && (self.block_decides(then) || self.decides(otherwise));
                match self.decided(&value, condition.span) {
                    Ok(true) => {
                        self.guard_by(condition, true, frame);
                        self.under(taint, decides, (then.span, 0), |cx| cx.block(then, frame))
                    }
                    Ok(false) => {
                        self.guard_by(condition, false, frame);
                        self.under(taint, decides, (otherwise.span, 1), |cx| cx.expr(otherwise, frame))
                    }
                    Err(_) => Value::Poison,
                }
            }
            ExprKind::Fold { binding, start, item, list, until, body } => {
                let first = self.apart_expr(start, frame);
                self.fold(binding, (start, first), item, list, until.as_deref(), body, frame)
            }
            ExprKind::Choose(c) => {
                let (value, taint) = self.apart(|cx| cx.choose(c, frame));
                self.trace_next_last();
                self.binding(taint, |cx| cx.bind_local(c.local, value.clone(), frame));
                match &value {
                    // What selects it stands in its axes.
                    Value::Tensor(t) if t.axes.is_some() => self.gather(taint),
                    _ => self.select_by(taint),
                }
                value
            }
            ExprKind::Unary { op, value } => {
                let v = self.expr(value, frame);
                let mut result = self.unary_operator(*op, (&v, value.span), span);
                self.axes_like(&v, &mut result);
                result
            }
            ExprKind::Binary { op, left, right, .. } => {
                let (l, of_left) = self.side(left, frame);
                match (op, &l) {
                    (BinaryOp::And, Value::Bool(false)) | (BinaryOp::Or, Value::Bool(true)) => return l,
                    _ => {}
                }
                let guard = self.enter_right(*op, left, frame);
                let (r, of_right) = self.side(right, frame);
                self.leave(guard);
                let made = self.graph.len();
                let mut result = self.operator(*op, (&l, left.span), (&r, right.span), span);
                self.axes_of_operator(*op, (&l, of_left), (&r, of_right), &mut result, made);
                result
            }
            ExprKind::Range { start, end, inclusive } => {
                let mut bound = |e: &'p Option<Box<Expr>>| e.as_ref().map(|e| self.expr(e, frame));
                let (start, end) = (bound(start), bound(end));
                if [&start, &end].iter().any(|b| matches!(b, Some(Value::Poison))) {
                    return Value::Poison;
                }
                Value::Range(Rc::new(RangeVal { start, end, inclusive: *inclusive }))
            }
            ExprKind::Whole(inner) => self.whole(inner, span, frame),
            ExprKind::Call { callee, args, .. } => self.call(*callee, args, span, frame),
            ExprKind::Index { base, indices } => {
                let (value, of_base) = self.apart_expr(base, frame);
                let member = match indices.as_slice() {
                    [Expr { kind: ExprKind::Range { .. } | ExprKind::SubModel(_), .. }] => None,
                    [index] if self.watch.is_some() && matches!(value, Value::List(_)) => {
                        let (i, taint) = self.apart_expr(index, frame);
                        self.select_by(taint);
                        if let Value::Int(i) = i { self.member_taint(&value, i as usize) } else { None }
                    }
                    _ => None,
                };
                match &value {
                    // Which places there are, each axis says.
                    Value::Tensor(t) if t.axes.as_ref().is_some_and(|a| a.each.len() == indices.len()) => self.gather(of_base),
                    _ => self.select_by(member.unwrap_or(of_base)),
                }
                if let (Value::Model(m), [Expr { kind: ExprKind::SubModel(p), span: at }]) = (&value, indices.as_slice()) {
                    return self.sub_model(m, p, base.span, *at, frame);
                }
                if matches!(value, Value::Poison) {
                    return Value::Poison;
                }
                let mut args = vec![Some(Argument { value, span: base.span, parts: None })];
                let mut places = Vec::with_capacity(indices.len());
                for i in indices {
                    let (place, taint) = self.side(i, frame);
                    places.push((place.clone(), taint));
                    args.push(Some(Argument { value: place, span: i.span, parts: None }));
                }
                let of = args[0].as_ref().map_or(Value::Poison, |a| a.value.clone());
                let mut member = self.index(args, span);
                self.axes_of_part(&of, &places, &mut member);
                member
            }
            ExprKind::As { value, role, role_span } => {
                let v = self.expr(value, frame);
                let affine = frame.affine.clone();
                self.promise((&v, value.span), (*role, *role_span), affine.as_ref(), frame.warns, span)
            }
            ExprKind::Error => Value::Poison,
        }
    }

    /// A yes or no that is known now.
    pub(super) fn decided(&mut self, value: &Value, span: Span) -> Result<bool, Reported> {
        match value {
            Value::Bool(b) => Ok(*b),
            Value::Poison => Err(Reported),
            Value::Tensor(_) | Value::Model(_) => Err(self.report(
                Diagnostic::new(
                    codes::NOT_STATIC,
                    "this condition is known only when the recipe runs, and `if` decides before",
                    span,
                    "",
                )
                .help("choose between two values entry by entry: `where(condition, a, b)`"),
            )),
            other => {
                let message = format!("a condition is wanted here, and this is {}", other.kind());
                Err(self.error(codes::WRONG_KIND, message, span, ""))
            }
        }
    }
}
