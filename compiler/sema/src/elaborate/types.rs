//! Types: values checked against signatures, dims bound and compared.

use super::context::Cx;
use super::expressions::Frame;
use super::findings::CallSite;
use crate::codes::types as codes;
use crate::degree::explain::{Wanted, mismatch};
use crate::degree::{Degree, Frac};
use crate::hir::{Dim, Expr, ExprKind, Fn, LocalId, Type, TypeName};
use crate::space::Taint;
use crate::value::{Argument, RangeVal, Reported, TensorVal, Value};
use merge_abi::BinaryFn;
use merge_base::{Diagnostic, Label, Span};
use std::fmt;
use std::rc::Rc;

/// Who wants a value to be of a type, as messages say it: text is made of it only where there is one.
#[derive(Clone, Copy)]
pub(super) enum Asker<'a> {
    /// A parameter, by its name and its function's.
    Parameter(&'a str, &'a str),
    /// The result of a function.
    Result(&'a str),
    /// The variable of a `let`.
    Variable(&'a str),
    /// Words of its own.
    Said(&'a str),
}

impl fmt::Display for Asker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Asker::Parameter(name, function) => write!(f, "`{name}` of `{function}`"),
            Asker::Result(function) => write!(f, "the result of `{function}`"),
            Asker::Variable(name) => write!(f, "`{name}`"),
            Asker::Said(words) => f.write_str(words),
        }
    }
}

/// A dim that is an expression, to be compared once all names are bound.
struct Equation<'p> {
    dim: &'p Expr,
    actual: u64,
    span: Span,
    shape: Rc<[u64]>,
    /// What the length depends on, and whether that is all that has a part in it.
    taint: Taint,
    by_axis: bool,
}

impl<'p> Cx<'p> {
    /// Binds the parameters of a function and the dims in their types. Faults of the arguments are blamed
    /// on the caller, so the call is not entered yet; defaults are evaluated inside.
    pub(super) fn bind_parameters(
        &mut self,
        f: &'p Fn,
        args: Vec<Option<Argument>>,
        site: Option<&Rc<CallSite>>,
        span: Span,
        frame: &mut Frame,
    ) -> Result<(), Reported> {
        let mut equations = Vec::new();
        let mut fault = Ok(());
        let mut given = Vec::new();
        for (param, arg) in f.params.iter().zip(args) {
            let (arg, taint, trace) = match (arg, &param.default) {
                (Some(a), _) => {
                    let (taint, trace) = (self.argument_taint(a.span), self.argument_trace(a.span));
                    (a, taint, trace)
                }
                (None, Some(default)) => {
                    let caller = std::mem::replace(&mut self.calls, site.cloned());
                    let (value, taint) = self.apart_expr(default, frame);
                    self.calls = caller;
                    let trace = self.operand_trace(default, frame);
                    (Argument { value, span, parts: None }, taint, trace)
                }
                (None, None) => continue,
            };
            let asker = Asker::Parameter(&param.name, &f.name);
            match self.binding(taint, |cx| cx.conform(&param.ty, &arg, arg.span, asker, frame, &mut equations)) {
                Ok(value) => {
                    self.trace_next(trace);
                    self.binding(taint, |cx| cx.bind_local(param.local, value.clone(), frame));
                    if param.range.is_some() {
                        given.push((param, value, arg.span, taint));
                    }
                }
                Err(r) => fault = Err(r),
            }
        }
        fault?;
        self.solve(equations, frame)?;
        for (param, value, at, taint) in given {
            if let Some(range) = &param.range {
                let caller = std::mem::replace(&mut self.calls, site.cloned());
                let (range, of_range) = self.apart_expr(range, frame);
                self.calls = caller;
                let met = self.union(taint, of_range);
                self.mention(met);
                self.read(of_range);
                if let Value::Range(r) = &range {
                    self.hold_in_range(&value, r, Asker::Parameter(&param.name, &f.name), at)?;
                }
            }
        }
        Ok(())
    }

    /// A value checked against a type in one go.
    pub(super) fn check_against(&mut self, ty: &'p Type, value: Value, span: Span, asker: Asker<'_>, frame: &mut Frame) -> Value {
        if value.is_poison() {
            return value;
        }
        let mut equations = Vec::new();
        let arg = Argument { value, span, parts: None };
        let checked = self.conform(ty, &arg, span, asker, frame, &mut equations);
        match self.solve(equations, frame) {
            Ok(()) => checked.into(),
            Err(_) => Value::Poison,
        }
    }

    fn conform(
        &mut self,
        ty: &'p Type,
        arg: &Argument,
        span: Span,
        asker: Asker<'_>,
        frame: &mut Frame,
        equations: &mut Vec<Equation<'p>>,
    ) -> Result<Value, Reported> {
        match (ty, &arg.value) {
            (_, Value::Poison) => Err(Reported),
            (Type::Error, v) => Ok(v.clone()),
            (Type::List(member, _), Value::List(l)) => {
                let mut fault = Ok(());
                let mut members = Vec::with_capacity(l.len());
                for (i, value) in l.iter().enumerate() {
                    let at = arg.part(i);
                    let member_arg = Argument { value: value.clone(), span: at, parts: None };
                    match self.conform(member, &member_arg, at, asker, frame, equations) {
                        Ok(v) => members.push(v),
                        Err(r) => fault = Err(r),
                    }
                }
                fault.map(|()| Value::List(members.into()))
            }
            (Type::List(..), Value::Range(_)) => {
                let members = self.members(&arg.value, span)?;
                let list = Argument { value: Value::List(members), span, parts: None };
                self.conform(ty, &list, span, asker, frame, equations)
            }
            (Type::Tuple(types, _), Value::Tuple(l)) if types.len() == l.len() => {
                let mut parts = Vec::with_capacity(l.len());
                for (ty, value) in types.iter().zip(l.iter()) {
                    let part = Argument { value: value.clone(), span, parts: None };
                    parts.push(self.conform(ty, &part, span, asker, frame, equations)?);
                }
                Ok(Value::Tuple(parts.into()))
            }
            (Type::Named { name, dims, .. }, value) => {
                self.conform_named(*name, dims.as_deref(), value, span, asker, frame, equations)
            }
            (ty, value) => Err(self.wrong_kind(asker, &show_type(ty), value, span)),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn conform_named(
        &mut self,
        name: TypeName,
        dims: Option<&'p [Dim]>,
        value: &Value,
        span: Span,
        asker: Asker<'_>,
        frame: &mut Frame,
        equations: &mut Vec<Equation<'p>>,
    ) -> Result<Value, Reported> {
        let is_number = matches!(value, Value::Tensor(_) | Value::Int(_) | Value::Bool(_));
        match (name, value) {
            (TypeName::Int, Value::Int(_)) | (TypeName::Bool, Value::Bool(_)) | (TypeName::Str, Value::Str(_)) => {
                Ok(value.clone())
            }
            (TypeName::Int, Value::Tensor(_)) => Err(self.report(
                Diagnostic::new(
                    codes::NOT_STATIC,
                    format!("{asker} is an int, known before the recipe runs"),
                    span,
                    "this is a number",
                )
                .help("write an int; `div` rounds down"),
            )),
            (TypeName::Axis, Value::Int(_)) => Ok(value.clone()),
            (TypeName::Axis, Value::Word(w)) if ["all", "rows", "cols"].contains(&&**w) => Ok(value.clone()),
            (TypeName::F32, _) if is_number => {
                let t = self.tensor(value, span)?;
                if self.is_scalar(&t) {
                    return Ok(Value::Tensor(t));
                }
                let label = format!("this has {}", self.show_shape(&self.shape(&t)));
                Err(self.error(codes::WRONG_SHAPE, format!("{asker} is one number"), span, label))
            }
            // Masks and places of a file: `where` and `take` have a use for them.
            (TypeName::Tensor, Value::Tensor(t)) if t.buffer.is_some() => {
                if let Some(dims) = dims {
                    self.bind_dims(dims, t, span, asker, frame, equations)?;
                }
                Ok(value.clone())
            }
            (TypeName::Weight | TypeName::Delta | TypeName::Tensor | TypeName::Affine, _) if is_number => {
                let t = self.tensor(value, span)?;
                if let Some(dims) = dims {
                    self.bind_dims(dims, &t, span, asker, frame, equations)?;
                }
                self.check_degree(name, &t, span, asker, frame)?;
                Ok(Value::Tensor(t))
            }
            (TypeName::Tensors, Value::Model(_)) => Ok(value.clone()),
            (TypeName::Model | TypeName::Deltas, Value::Model(m)) => {
                let names = m.names(self)?;
                let first = names.iter().find_map(|n| match m.get(self, *n) {
                    Some(Ok(t)) if t.buffer.is_none() => Some(t),
                    _ => None,
                });
                if let Some(t) = first {
                    let as_tensor = if name == TypeName::Model { TypeName::Weight } else { TypeName::Delta };
                    self.check_degree(as_tensor, &t, span, asker, frame)?;
                }
                Ok(value.clone())
            }
            _ => Err(self.wrong_kind(asker, type_word(name), value, span)),
        }
    }

    fn wrong_kind(&mut self, asker: Asker<'_>, wanted: &str, value: &Value, span: Span) -> Reported {
        if value.is_poison() {
            return Reported;
        }
        let message = format!("{asker} wants {wanted}, and this is {}", value.kind());
        let mut d = Diagnostic::new(codes::WRONG_KIND, message, span, "");
        if wanted.starts_with("a list") && matches!(value, Value::Model(_) | Value::Tensor(_)) {
            d = d.help("put it in brackets: `[x]`");
        }
        self.report(d)
    }

    fn check_degree(
        &mut self,
        ty: TypeName,
        t: &TensorVal,
        span: Span,
        asker: Asker<'_>,
        frame: &mut Frame,
    ) -> Result<(), Reported> {
        let wanted = match ty {
            TypeName::Weight => Wanted::Weight,
            TypeName::Delta => Wanted::Delta,
            TypeName::Affine => match (&frame.affine, &t.degree) {
                (None, Degree::Known(_)) => {
                    frame.affine = Some(t.degree.clone());
                    return Ok(());
                }
                (Some(Degree::Known(frac)), _) => Wanted::Same(frac.clone()),
                _ => Wanted::Same(Frac::one()),
            },
            _ => return Ok(()),
        };
        if wanted.is_met_by(&t.degree) {
            return Ok(());
        }
        Err(self.degree_mismatch(&t.degree, &wanted, &asker.to_string(), span))
    }

    /// Reports that a degree is not the wanted one. Of a sum, each term is shown with its share.
    pub(super) fn degree_mismatch(&mut self, found: &Degree, wanted: &Wanted, asker: &str, span: Span) -> Reported {
        let atoms = std::mem::take(&mut self.atoms);
        let name = |a: crate::degree::Atom| atoms[a.0 as usize].clone();
        let mut d = mismatch(found, wanted, asker, span, &name);
        let mut terms = Vec::new();
        self.terms_of(span, false, &mut terms);
        if terms.len() > 1 && d.labels.len() == 1 && found.known().is_some() {
            let label = |(i, (span, minus, degree)): (usize, &(Span, bool, Degree))| {
                let message = format!("degree {}{}", if *minus { "-" } else { "" }, degree.text(&name));
                Label { span: *span, message, primary: i == 0 }
            };
            d.labels = terms.iter().enumerate().map(label).collect();
        }
        self.atoms = atoms;
        self.report(d)
    }

    /// The terms of the sum that stands at `span`, in order, with whether they are taken away.
    fn terms_of(&self, span: Span, minus: bool, into: &mut Vec<(Span, bool, Degree)>) {
        let Some((subtracts, parts)) = self.sums.get(&span) else { return };
        for (i, (part, degree)) in parts.iter().enumerate() {
            let taken = minus ^ (*subtracts && i == 1);
            let before = into.len();
            self.terms_of(*part, taken, into);
            if into.len() == before {
                into.push((*part, taken, degree.clone()));
            }
        }
    }

    /// Binds the names among dims to a tensor's axes; equations are kept for later.
    fn bind_dims(
        &mut self,
        dims: &'p [Dim],
        t: &TensorVal,
        span: Span,
        asker: Asker<'_>,
        frame: &mut Frame,
        equations: &mut Vec<Equation<'p>>,
    ) -> Result<(), Reported> {
        let shape = self.shape(t);
        let rest = dims.iter().position(|d| matches!(d, Dim::BindRest(..) | Dim::Rest(..)));
        let fixed = dims.len() - usize::from(rest.is_some());
        if shape.len() < fixed || (rest.is_none() && shape.len() != fixed) {
            let at_least = if rest.is_some() { "at least " } else { "" };
            let axes = if fixed == 1 { "axis" } else { "axes" };
            let message = format!("{asker} wants a tensor of {at_least}{fixed} {axes}");
            let label = format!("{} has {}", self.describe(span), self.show_shape(&shape));
            let mut d = Diagnostic::new(codes::WRONG_SHAPE, message, span, label);
            if fixed > 0 && !self.symbolic {
                let axes = vec!["_"; fixed].join(", ") + if rest.is_some() { ", ..s" } else { "" };
                d = d.help(format!("a rule can be for such tensors alone: `_[{axes}] => ..`, and `_ => ..` for all others"));
            }
            return Err(self.report(d));
        }
        let (whole, by_axis) = (self.bound_taint(), t.axes.is_some());
        if let Some(axes) = &t.axes {
            self.mention(axes.rank);
        }
        for (i, dim) in dims.iter().enumerate() {
            let at = if rest.is_some_and(|r| i > r) { shape.len() - (dims.len() - i) } else { i };
            match dim {
                Dim::Bind(local, place) => match frame.locals.get(local.0 as usize) {
                    // The members of a list share one type, so a name may be met again where it is bound.
                    Some(Value::Int(known)) if is_bound(frame, *local) => {
                        let known = *known;
                        self.meet_dims(t, at..at + 1, whole, frame.taint(*local));
                        if known as u64 != shape[at] {
                            return Err(self.dims_disagree(*local, &shape, span, Some((*place, shape[at])), frame));
                        }
                    }
                    _ => {
                        frame.dims.push((*local, span, shape.clone()));
                        let taint = self.axis_taint(t, at).unwrap_or(whole);
                        self.binding(taint, |cx| cx.bind_local(*local, Value::Int(shape[at] as i64), frame));
                    }
                },
                Dim::BindRest(local, _) | Dim::Rest(local, _) => {
                    let own = &shape[at..at + shape.len() - fixed];
                    match frame.locals.get(local.0 as usize) {
                        Some(Value::List(known)) if is_bound(frame, *local) => {
                            self.meet_dims(t, at..at + own.len(), whole, frame.taint(*local));
                            let same = known.len() == own.len()
                                && known.iter().zip(own).all(|(k, n)| matches!(k, Value::Int(k) if *k as u64 == *n));
                            if !same {
                                return Err(self.dims_disagree(*local, &shape, span, None, frame));
                            }
                        }
                        _ => {
                            let list: Rc<[Value]> = own.iter().map(|n| Value::Int(*n as i64)).collect();
                            frame.dims.push((*local, span, shape.clone()));
                            self.note_rest(*local, t, at..at + own.len(), whole, frame);
                            self.bind_local(*local, Value::List(list), frame);
                        }
                    }
                }
                Dim::Expr(dim) => {
                    let taint = self.axis_taint(t, at).unwrap_or(whole);
                    equations.push(Equation { dim, actual: shape[at], span, shape: shape.clone(), taint, by_axis });
                }
            }
        }
        Ok(())
    }

    /// Notes that axes are held against what a dim is bound to.
    fn meet_dims(&mut self, t: &TensorVal, axes: std::ops::Range<usize>, whole: Taint, bound: Taint) {
        if !self.watches_axes() {
            return;
        }
        for axis in axes {
            let own = self.axis_taint(t, axis).unwrap_or(whole);
            let met = self.union(own, bound);
            self.mention(met);
        }
        if t.axes.is_none() {
            self.read(bound);
        }
    }

    /// Reports that a dim is bound already, by another shape. `dim`: where its name stands in the type, and what it is here.
    fn dims_disagree(
        &mut self,
        local: LocalId,
        shape: &Rc<[u64]>,
        span: Span,
        dim: Option<(Span, u64)>,
        frame: &Frame,
    ) -> Reported {
        let known = frame.locals.get(local.0 as usize);
        let (mut now, mut before) = (String::new(), String::new());
        if let (Some((place, actual)), Some(Value::Int(known)), false) = (dim, known, self.symbolic) {
            let name = self.text(place);
            (now, before) = (format!(", where `{name}` is {actual}"), format!(", so `{name}` is {known}"));
        }
        let here = format!("{} has {} here{now}", self.describe(span), self.show_shape(shape));
        let mut d = Diagnostic::new(codes::SHAPES_DISAGREE, "tensor shapes do not agree", span, here);
        if let Some((_, other, other_shape)) = frame.dims.iter().find(|(l, ..)| *l == local) {
            let label = format!("{} has {} here{before}", self.describe(*other), self.show_shape(other_shape));
            if *other == span {
                d.labels[0] = Label {
                    span,
                    message: format!("here are {} and {}", self.show_shape(other_shape), self.show_shape(shape)),
                    primary: true,
                };
            } else {
                d = d.label(*other, label);
            }
        }
        // A function that is tried as written has no checkpoints.
        if !self.symbolic {
            d = d.help("`mergec inspect A B` lists the tensors in which two checkpoints differ");
        }
        self.report(d)
    }

    /// Compares computed dims with what is there, now that all names are bound.
    fn solve(&mut self, equations: Vec<Equation<'p>>, frame: &mut Frame) -> Result<(), Reported> {
        let mut fault = Ok(());
        for e in equations {
            let value = match self.watches_axes() {
                false => self.expr(e.dim, frame),
                true => {
                    let (value, taint) = self.apart_expr(e.dim, frame);
                    let met = self.union(taint, e.taint);
                    self.mention(met);
                    if !e.by_axis {
                        self.read(taint);
                    }
                    value
                }
            };
            match value {
                Value::Int(n) if n >= 0 && n as u64 == e.actual => {}
                Value::Int(n) => {
                    fault = Err(match &e.dim.kind {
                        ExprKind::Local(local) if is_bound(frame, *local) => {
                            self.dims_disagree(*local, &e.shape, e.span, Some((e.dim.span, e.actual)), frame)
                        }
                        _ => {
                            let text = self.text(e.dim.span);
                            let message = format!("an axis has {} entries where `{text}` = {n} is wanted", e.actual);
                            let label = format!("{} has {}", self.describe(e.span), self.show_shape(&e.shape));
                            self.report(Diagnostic::new(codes::WRONG_SHAPE, message, e.span, label))
                        }
                    });
                }
                Value::Poison => fault = Err(Reported),
                other => {
                    let message = format!("a dim is an int, and this is {}", other.kind());
                    fault = Err(self.error(codes::WRONG_KIND, message, e.dim.span, ""));
                }
            }
        }
        fault
    }

    /// Holds a value within `low..=high`: now, and before each run if settings decide.
    pub(super) fn hold_in_range(
        &mut self,
        value: &Value,
        range: &RangeVal,
        asker: Asker<'_>,
        span: Span,
    ) -> Result<(), Reported> {
        if self.symbolic {
            return Ok(());
        }
        if let Value::List(l) = value {
            return l.iter().try_for_each(|v| self.hold_in_range(v, range, asker, span));
        }
        let t = self.tensor(value, span)?;
        let ends = [(&range.start, BinaryFn::Ge), (&range.end, if range.inclusive { BinaryFn::Le } else { BinaryFn::Lt })];
        for (end, f) in ends {
            let Some(end) = end else { continue };
            let end = self.tensor(end, span)?;
            if let (Some(v), Some(limit)) = (self.launch_value(&t), self.launch_value(&end)) {
                if f.eval(v, limit) == 0.0 {
                    let shown = show_range(range, &|v| match v {
                        Value::Int(i) => i.to_string(),
                        Value::Tensor(t) => self.launch_value(t).map_or("…".into(), |v| v.to_string()),
                        _ => "…".into(),
                    });
                    let message = format!("{asker} lies in {shown}, and this is {v}");
                    return Err(self.error(codes::OUTSIDE_RANGE, message, span, ""));
                }
                if self.uses_settings(t.node) || self.uses_settings(end.node) {
                    let condition = self.binary(f, (&t, span), (&end, span), Degree::delta(), span)?;
                    let message = format!("{asker} is out of its range");
                    self.constrain(&condition, message, span);
                }
            }
        }
        Ok(())
    }
}

fn is_bound(frame: &Frame, local: LocalId) -> bool {
    frame.dims.iter().any(|(l, ..)| *l == local)
}

/// `0..=1`.
pub(super) fn show_range(range: &RangeVal, show: &dyn std::ops::Fn(&Value) -> String) -> String {
    let end = |v: &Option<Value>| v.as_ref().map(show).unwrap_or_default();
    format!("{}{}{}", end(&range.start), if range.inclusive { "..=" } else { ".." }, end(&range.end))
}

fn type_word(name: TypeName) -> &'static str {
    match name {
        TypeName::Weight => "a weight",
        TypeName::Delta => "a delta",
        TypeName::Tensor | TypeName::Affine => "a tensor",
        TypeName::Model => "a model",
        TypeName::Deltas => "a model of deltas",
        TypeName::Tensors => "a model of tensors",
        TypeName::F32 => "a number",
        TypeName::Int => "an int",
        TypeName::Bool => "a bool",
        TypeName::Str => "a string",
        TypeName::Axis => "an axis (`all`, `rows`, `cols` or an int)",
    }
}

fn show_type(ty: &Type) -> String {
    match ty {
        Type::Named { name, .. } => type_word(*name).into(),
        Type::List(..) => "a list".into(),
        Type::Tuple(parts, _) => format!("a tuple of {}", parts.len()),
        Type::Error => "something".into(),
    }
}
