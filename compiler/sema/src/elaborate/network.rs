//! Networks: functions with `new` in them, looked at for their decisions, shapes and parameters.
//!
//! Not here: building one (the shapes of `new` tensors are known, their start values are only checked by name).

use super::context::{Cx, show_shape};
use super::expressions::Frame;
use crate::codes::names::NEW_LATER;
use crate::codes::spaces::BAD_SEARCH;
use crate::codes::types as codes;
use crate::degree::Degree;
use crate::hir::{Callee, Dim, Expr, ExprKind, FnId, Item, LocalId, Type, TypeName};
use crate::value::{Argument, Reported, TensorVal, Value};
use merge_abi::{DType, Source};
use merge_base::{Diagnostic, Span};
use merge_ir::tir::{NodeId, Op, SourceId};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// Start values that need no tensor.
const STARTS: &[&str] = &["kaiming", "xavier", "zeros", "ones", "constant", "normal", "uniform", "orthogonal", "dirac"];

/// What stands for an axis whose length a network leaves open, such as that of a sequence.
const OPEN_AXIS: u64 = 64;

impl<'p> Cx<'p> {
    /// Whether layers and `new` tensors mean something here.
    pub fn in_network(&self) -> bool {
        self.parameters.is_some() || self.symbolic
    }

    /// Counts parameters that a layer has by itself.
    pub fn add_parameters(&mut self, count: u64) {
        if let Some(all) = &mut self.parameters {
            *all = all.saturating_add(count);
        }
    }

    /// A tensor of which nothing is known but its shape.
    pub fn opaque(&mut self, name: &str, shape: &[u64], span: Span) -> NodeId {
        let source = SourceId(self.graph.sources.len() as u32);
        self.graph.sources.push(Source { checkpoint: 0, name: name.to_string(), dtype: DType::F32, shape: shape.to_vec() });
        self.graph.add(Op::Load(source), shape.into(), span)
    }

    /// The network of a file that neither saves nor searches: its last function, if something is decided in it.
    pub(super) fn lone_network(&self) -> Option<(FnId, Span)> {
        let program = self.program;
        if program.items.iter().any(|i| !matches!(i, Item::Let(_) | Item::Choose(_))) {
            return None;
        }
        let own = program.fns.iter().enumerate().filter(|(_, f)| Some(f.file) == program.entry);
        let (id, f) = own.max_by_key(|(_, f)| f.span.start)?;
        let id = FnId(id as u32);
        self.function_decides(id).then_some((id, f.span))
    }

    /// Looks at a network that is named at `at`.
    pub(super) fn network(&mut self, id: FnId, at: Span) {
        let f = self.function(id);
        let mut frame = Frame::of_function(f.locals.len(), false);
        let mut lengths: FxHashMap<LocalId, u64> = FxHashMap::default();
        let mut args = Vec::with_capacity(f.params.len());
        for p in &f.params {
            let dims = match &p.ty {
                Type::Named { name: TypeName::Tensor | TypeName::Weight | TypeName::Delta, dims: Some(dims), .. } => dims,
                _ if p.default.is_some() => {
                    args.push(None);
                    continue;
                }
                _ => {
                    let message = format!("nothing gives `{}` of `{}`", p.name, f.name);
                    let d = Diagnostic::new(BAD_SEARCH, message, at, "looked at as a network")
                        .label(p.span, "no tensor with dims, and no default")
                        .help("the parameters of a network are its inputs, `x: tensor[3, 32, 32]`; give others a default");
                    self.report(d);
                    return;
                }
            };
            let mut shape = Vec::new();
            for dim in dims {
                match dim {
                    Dim::Bind(local, _) => {
                        let n = *lengths.entry(*local).or_insert(OPEN_AXIS);
                        frame.locals[local.0 as usize] = Value::Int(n as i64);
                        shape.push(n);
                    }
                    Dim::BindRest(..) | Dim::Rest(..) => {}
                    Dim::Expr(e) => match self.expr(e, &mut frame) {
                        Value::Int(n @ 1..) => shape.push(n as u64),
                        _ => shape.push(1),
                    },
                }
            }
            args.push(Some((shape, p.name.as_str(), p.span)));
        }
        let parameters = self.on_scratch_graph(|cx| {
            cx.parameters = Some(0);
            let args = args
                .into_iter()
                .map(|arg| {
                    let (shape, name, span) = arg?;
                    let node = cx.opaque(name, &shape, span);
                    let value = TensorVal::new(node, Degree::delta()).into();
                    Some(Argument { value, span, parts: Rc::from([]) })
                })
                .collect();
            cx.call_fn(id, args, at);
            cx.parameters.take()
        });
        self.network_parameters = parameters;
    }

    /// A tensor to be trained: its shape, and what it starts as.
    pub(super) fn new_tensor(
        &mut self,
        name: &str,
        dims: Option<&'p [Dim]>,
        start: &'p Expr,
        span: Span,
        frame: &mut Frame,
    ) -> Result<Value, Reported> {
        if !self.in_network() {
            let d = Diagnostic::new(
                NEW_LATER,
                "`new` in a recipe of weights is not there yet",
                span,
                "this compiler cannot do it yet",
            );
            let help = "what works: `new` in a function that `search` names; tensors that some file holds, by `tensors(path)`";
            return Err(self.report(d.help(help)));
        }
        let mut shape = Vec::new();
        for dim in dims.iter().copied().flatten() {
            match dim {
                Dim::Expr(e) => match self.expr(e, frame) {
                    Value::Int(n @ 1..) => shape.push(n as u64),
                    Value::Poison => return Err(Reported),
                    other => {
                        let message = match other {
                            Value::Int(n) => format!("an axis has a length from 1, and this is {n}"),
                            other => format!("the length of an axis is an int, and this is {}", other.kind()),
                        };
                        return Err(self.error(codes::WRONG_KIND, message, e.span, ""));
                    }
                },
                Dim::Rest(local, _) | Dim::BindRest(local, _) => {
                    self.read(frame.taint(*local));
                    if let Some(Value::List(l)) = frame.locals.get(local.0 as usize) {
                        shape.extend(l.iter().filter_map(|v| if let Value::Int(n) = v { Some(*n as u64) } else { None }));
                    }
                }
                Dim::Bind(local, _) => {
                    self.read(frame.taint(*local));
                    if let Some(Value::Int(n)) = frame.locals.get(local.0 as usize) {
                        shape.push(*n as u64);
                    }
                }
            }
        }
        let mut degree = Degree::delta();
        match &start.kind {
            ExprKind::Call { callee: Callee::Primitive(which), args, .. } if STARTS.contains(which) => {
                for arg in args {
                    let value = self.expr(&arg.value, frame);
                    self.tensor(&value, arg.value.span)?;
                }
                if dims.is_none() {
                    let message = format!("`new {name}` needs its dims: `{which}` has no shape of its own");
                    return Err(self.error(codes::WRONG_SHAPE, message, span, ""));
                }
            }
            _ => {
                let value = self.expr(start, frame);
                let t = self.tensor(&value, start.span)?;
                let own = self.shape(&t);
                if dims.is_some() && !own.is_empty() && *own != *shape {
                    let message = format!("`new {name}` and its start value have different shapes");
                    let label = format!("this has {}, `{name}` has {}", show_shape(&own), show_shape(&shape));
                    return Err(self.error(codes::WRONG_SHAPE, message, start.span, label));
                }
                if dims.is_none() {
                    shape = own.to_vec();
                }
                degree = t.degree;
            }
        }
        self.add_parameters(shape.iter().product());
        let node = self.opaque(name, &shape, span);
        Ok(TensorVal::new(node, degree).into())
    }
}
