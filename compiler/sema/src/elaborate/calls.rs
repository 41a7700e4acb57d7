//! Calls: arguments bound to parameters, lifting over models, bodies evaluated.

use super::context::Cx;
use super::expressions::Frame;
use super::findings::CallSite;
use super::model::{Lift, LiftOp, Model, What};
use super::types::Asker;
use crate::hir::{Arg, Callee, Expr, ExprKind, Fn, FnId, Tail, Type, TypeName};
use crate::primitives;
use crate::value::{Args, Argument, Reported, Value};
use merge_base::Span;
use std::rc::Rc;

/// Calls may nest this deep; names cannot recurse, so only generated code comes near.
const DEEPEST_CALL: u32 = 100;

/// Primitives that take a model, or a list of models, as it is. All others are applied name by name.
const OF_MODELS: &[&str] = &[
    "checkpoint",
    "deltas",
    "tensors",
    "adapter",
    "tensor",
    "names",
    "dim",
    "numel",
    "len",
    "div",
    "mod",
    "zip",
    "enumerate",
    "pairs",
    "ramp",
    "shuffle",
    "replace",
    "restack",
    "without",
    "fill",
    "params",
    "trainable",
    "bytes",
    "flops",
    "within",
];

/// Primitives whose result is a tuple of so many tensors.
const GIVE_TUPLES: &[(&str, usize)] = &[("svd", 3), ("qr", 2), ("eigh", 2), ("kmeans", 2), ("factors", 2)];

/// How the result of a function falls into parts.
#[derive(Clone)]
enum Parts {
    One,
    Tuple(Vec<Parts>),
    /// A list, whose length no type states.
    List,
}

impl Parts {
    fn of_type(ty: &Type) -> Parts {
        match ty {
            Type::List(..) => Parts::List,
            Type::Tuple(types, _) => Parts::Tuple(types.iter().map(Parts::of_type).collect()),
            Type::Named { .. } | Type::Error => Parts::One,
        }
    }

    /// A model for each part; none where there is a list among them.
    fn models(&self, lift: &Rc<Lift>, path: &mut Vec<usize>, origin: Option<u32>) -> Option<Value> {
        match self {
            Parts::One => Some(Value::Model(Model::new(What::Lift(lift.clone(), path.as_slice().into()), origin))),
            Parts::List => None,
            Parts::Tuple(parts) => {
                let mut members = Vec::with_capacity(parts.len());
                for (i, part) in parts.iter().enumerate() {
                    path.push(i);
                    members.push(part.models(lift, path, origin));
                    path.pop();
                }
                members.into_iter().collect::<Option<Rc<[Value]>>>().map(Value::Tuple)
            }
        }
    }
}

impl<'p> Cx<'p> {
    pub(super) fn call(&mut self, callee: Callee, args: &'p [Arg], span: Span, frame: &mut Frame) -> Value {
        if let Callee::Primitive(name @ ("without" | "names")) = callee {
            return self.by_pattern(name, args, span, frame);
        }
        if let Callee::Module(function) = callee {
            return self.call_module(function, args, span, frame).into();
        }
        let given = self.evaluate_for(callee, args, frame);
        match self.bind_arguments(callee, args, given) {
            Ok(bound) => self.call_bound(callee, bound, span),
            Err(_) => Value::Poison,
        }
    }

    /// Arguments of which all is looked at.
    pub(super) fn evaluate(&mut self, args: &'p [Arg], frame: &mut Frame) -> Vec<Argument> {
        let mut one = |a: &'p Arg| {
            let (value, taint) = self.apart_expr(&a.value, frame);
            self.note_argument_trace(&a.value, frame);
            self.note_argument(a.value.span, taint);
            Argument { value, span: a.value.span, parts: parts_of(&a.value) }
        };
        args.iter().map(&mut one).collect()
    }

    /// The arguments of a call, with what of them meets in it.
    fn evaluate_for(&mut self, callee: Callee, args: &'p [Arg], frame: &mut Frame) -> Vec<Argument> {
        let mut taints = Vec::new();
        let mut one = |a: &'p Arg| {
            let (value, taint) = self.apart_expr(&a.value, frame);
            if self.watch.is_some() {
                self.note_argument_trace(&a.value, frame);
                taints.push(taint);
            }
            Argument { value, span: a.value.span, parts: parts_of(&a.value) }
        };
        let given: Vec<Argument> = args.iter().map(&mut one).collect();
        if self.watch.is_some() {
            self.note_arguments(callee, &given, &taints);
        }
        given
    }

    /// The arguments in the order of the parameters; `resolve` has seen to it that they fit.
    pub(super) fn bind_arguments(
        &mut self,
        callee: Callee,
        args: &'p [Arg],
        given: Vec<Argument>,
    ) -> Result<Vec<Option<Argument>>, Reported> {
        match callee {
            Callee::Fn(id) => {
                let params = &self.function(id).params;
                in_order(args, given, params.len(), |i| (&params[i].name, true))
            }
            Callee::Primitive(name) => {
                let params = primitives::primitive(name).ok_or(Reported)?.params;
                in_order(args, given, params.len(), |i| (params[i].name, !params[i].named_only))
            }
            Callee::Module(_) => in_order(args, given, 1, |_| ("x", true)),
        }
    }

    /// A call with its arguments in the order of the parameters, lifted if models stand where tensors are wanted.
    pub(super) fn call_bound(&mut self, callee: Callee, bound: Vec<Option<Argument>>, span: Span) -> Value {
        match callee {
            Callee::Primitive(name) => {
                let models = bound.iter().flatten().any(|a| a.value.has_model());
                if let (true, Some((_, parts))) = (models, GIVE_TUPLES.iter().find(|t| t.0 == name)) {
                    let lift = self.lift(LiftOp::Primitive(name), bound, Vec::new(), span);
                    return self.lifted_parts(&lift, &Parts::Tuple(vec![Parts::One; *parts]));
                }
                if models && !OF_MODELS.contains(&name) {
                    return self.lifted(LiftOp::Primitive(name), bound, span);
                }
                self.call_primitive(name, bound, span)
            }
            // Called where it stands, by `call_module`.
            Callee::Module(_) => Value::Poison,
            Callee::Fn(id) => {
                let f = self.function(id);
                let lifts: Vec<bool> =
                    f.params.iter().zip(&bound).map(|(p, b)| b.as_ref().is_some_and(|b| lifts(&p.ty, &b.value))).collect();
                if !lifts.contains(&true) {
                    return self.call_fn(id, bound, span);
                }
                if bound.iter().flatten().any(|a| a.value.is_poison()) {
                    return Value::Poison;
                }
                let fixed = lifts.iter().map(|l| !l).collect();
                let lift = self.lift(LiftOp::Fn(id), bound, fixed, span);
                if let Type::List(..) | Type::Tuple(..) = &f.result {
                    return self.lifted_parts(&lift, &Parts::of_type(&f.result));
                }
                let models = lift.models();
                let origin = self.origin_of(&models);
                Value::Model(Model::new(What::Lift(lift, Rc::from([])), origin))
            }
        }
    }

    /// The models that a lifted function with several results gives, by the shape of its result.
    fn lifted_parts(&mut self, lift: &Rc<Lift>, parts: &Parts) -> Value {
        let models = lift.models();
        let origin = self.origin_of(&models);
        if let Some(value) = parts.models(lift, &mut Vec::new(), origin) {
            return value;
        }
        // How long the lists in it are, a name tells: the one at hand, else the first.
        let Ok(names) = models.first().map_or(Err(Reported), |(m, _)| m.names(self)) else { return Value::Poison };
        let name = self.tensor.filter(|n| names.contains(n)).or(names.first().copied());
        let Some(first) = name.and_then(|n| self.lift_value(lift, n)) else { return Value::Poison };
        parts_as_models(lift, &first, &mut Vec::new(), origin)
    }

    pub(super) fn call_primitive(&mut self, name: &'static str, given: Vec<Option<Argument>>, span: Span) -> Value {
        if given.iter().flatten().any(|a| matches!(a.value, Value::Poison)) {
            return Value::Poison;
        }
        let args = Args { name, given };
        let watched = self.watches_axes().then(|| args.given.clone());
        let made = self.graph.len();
        let mut value = match name {
            "checkpoint" | "deltas" | "tensors" => self.open(&args, span),
            "adapter" => self.adapter(&args, span),
            "restack" => self.restack(&args, span),
            "params" | "bytes" | "trainable" | "flops" => self.cost(&args, span).into(),
            "fill" => self.fill(&args, span).into(),
            "within" => self.within(&args, span).into(),
            _ => primitives::call_primitive(self, name, args, span),
        };
        if let Some(given) = watched {
            self.axes_of_call(name, &given, &mut value);
            self.bill_call(name, &given, &value, made);
        }
        value
    }

    /// Applies what was lifted to the tensors of one name.
    pub(super) fn apply_lifted(&mut self, op: &LiftOp, args: Vec<Option<Argument>>, span: Span) -> Value {
        let arg = |i: usize| args.get(i).and_then(Option::as_ref);
        match (op, arg(0), arg(1)) {
            (LiftOp::Fn(id), ..) => self.call_fn(*id, args, span),
            (LiftOp::Primitive(name), ..) => self.call_primitive(name, args, span),
            (LiftOp::Binary(op), Some(a), Some(b)) => self.operator(*op, (&a.value, a.span), (&b.value, b.span), span),
            (LiftOp::Unary(op), Some(a), _) => self.unary_operator(*op, (&a.value, a.span), span),
            (LiftOp::Index, ..) => self.index(args, span),
            (LiftOp::As { role, role_span, affine, warn }, Some(a), _) => {
                self.promise((&a.value, a.span), (*role, *role_span), affine.as_ref(), *warn, span)
            }
            _ => Value::Poison,
        }
    }

    /// Evaluates a function's body for these arguments.
    pub(super) fn call_fn(&mut self, id: FnId, args: Vec<Option<Argument>>, span: Span) -> Value {
        let f: &'p Fn = self.function(id);
        if args.iter().flatten().any(|a| a.value.is_poison()) {
            return Value::Poison;
        }
        let depth = self.calls.as_ref().map_or(0, |c| c.depth) + 1;
        if depth > DEEPEST_CALL {
            return self.not_there_yet(
                &format!("nesting calls more than {DEEPEST_CALL} deep"),
                "put what the innermost do into one function",
                span,
            );
        }
        let mut frame = Frame::of_function(f.locals.len(), false);
        let site = Rc::new(CallSite { caller: self.calls.clone(), function: id, span, depth });
        let Ok(()) = self.bind_parameters(f, args, Some(&site), span, &mut frame) else { return Value::Poison };
        let caller = self.calls.replace(site);
        self.path.push(&f.name);
        let made = self.graph.len();
        let (mut value, mut taint) = self.at_place(span, 0, |cx| cx.apart(|cx| cx.body(f, &mut frame)));
        if self.watch.is_some() {
            taint = self.result_taint(f, &mut value, &mut frame, taint);
        }
        self.hand_on(&value, taint);
        self.end_scope(made);
        self.path.pop();
        self.calls = caller;
        value
    }

    /// The body of a function whose parameters are bound, checked against the declared result.
    pub(super) fn body(&mut self, f: &'p Fn, frame: &mut Frame) -> Value {
        if let Some(condition) = &f.requires
            && !self.require(condition, Asker::Variable(&f.name), frame)
        {
            return Value::Poison;
        }
        let value = self.block(&f.body, frame);
        let trace = self.trace_of_block(&f.body);
        let span = match &f.body.tail {
            Tail::Value(e) => e.span,
            _ => f.body.span,
        };
        let value = self.check_against(&f.result, value, span, Asker::Result(&f.name), frame);
        self.uncover_type(&f.result);
        self.trace_returned(trace);
        value
    }
}

/// Arguments in the order of so many parameters, of which each has a name and may be given by place or not.
fn in_order<'a>(
    args: &[Arg],
    given: Vec<Argument>,
    count: usize,
    param: impl std::ops::Fn(usize) -> (&'a str, bool),
) -> Result<Vec<Option<Argument>>, Reported> {
    let mut bound: Vec<Option<Argument>> = vec![None; count];
    let mut places = (0..count).filter(|i| param(*i).1);
    for (arg, value) in args.iter().zip(given) {
        let place = match &arg.name {
            Some((name, _)) => (0..count).find(|i| param(*i).0 == name),
            None => places.next(),
        };
        bound[place.ok_or(Reported)?] = Some(value);
    }
    Ok(bound)
}

/// Where the members of a list stand, if it is written out.
fn parts_of(e: &Expr) -> Option<Rc<[Span]>> {
    match &e.kind {
        ExprKind::List(parts) => Some(parts.iter().map(|p| p.span).collect()),
        _ => None,
    }
}

/// Whether a parameter of this type wants tensors where the value has models.
fn lifts(ty: &Type, value: &Value) -> bool {
    match (ty, value) {
        (Type::Named { name, .. }, Value::Model(_)) => !matches!(
            name,
            TypeName::Model | TypeName::Deltas | TypeName::Tensors | TypeName::Int | TypeName::Bool | TypeName::Str
        ),
        (Type::List(member, _), Value::List(l)) => l.iter().any(|v| lifts(member, v)),
        (Type::Tuple(types, _), Value::Tuple(l)) => types.iter().zip(l.iter()).any(|(t, v)| lifts(t, v)),
        _ => false,
    }
}

/// A result with several parts, each part a model.
fn parts_as_models(lift: &Rc<Lift>, value: &Value, path: &mut Vec<usize>, origin: Option<u32>) -> Value {
    let mut parts = |l: &Rc<[Value]>| -> Rc<[Value]> {
        l.iter()
            .enumerate()
            .map(|(i, v)| {
                path.push(i);
                let part = parts_as_models(lift, v, path, origin);
                path.pop();
                part
            })
            .collect()
    };
    match value {
        Value::Tuple(l) => Value::Tuple(parts(l)),
        Value::List(l) => Value::List(parts(l)),
        Value::Poison => Value::Poison,
        _ => Value::Model(Model::new(What::Lift(lift.clone(), path.as_slice().into()), origin)),
    }
}
