//! `whole f(..)`: a function applied once, to each model's entries as one vector in name order.

use super::context::Cx;
use super::expressions::Frame;
use super::model::Model;
use super::names::NameId;
use crate::codes::models::CANNOT_SAVE;
use crate::codes::types as codes;
use crate::degree::Degree;
use crate::hir::{Expr, ExprKind};
use crate::value::{Argument, Reported, TensorVal, Value};
use merge_base::{Diagnostic, Span};
use merge_ir::tir::{NodeId, Op};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// How the vector is cut into tensors.
struct Layout {
    names: Rc<[NameId]>,
    shapes: Vec<Rc<[u64]>>,
    length: u64,
    origin: Option<u32>,
}

impl<'p> Cx<'p> {
    pub(super) fn whole(&mut self, inner: &'p Expr, span: Span, frame: &mut Frame) -> Value {
        let ExprKind::Call { callee, args, .. } = &inner.kind else {
            self.misused(span);
            return Value::Poison;
        };
        let given = self.evaluate(args, frame);
        let Ok(bound) = self.bind_arguments(*callee, args, given) else { return Value::Poison };
        if bound.iter().flatten().any(|a| a.value.is_poison()) {
            return Value::Poison;
        }
        // The names of all models together, as a function over them would have.
        let lift = self.lift(super::model::LiftOp::Index, bound.clone(), Vec::new(), inner.span);
        let models = lift.models();
        if models.is_empty() {
            self.misused(span);
            return Value::Poison;
        }
        if models.iter().any(|(model, at)| self.replaces_modules(model, *at)) {
            return Value::Poison;
        }
        let origin = self.origin_of(&models);
        let union = Model::new(super::model::What::Lift(lift, Rc::from([])), origin);
        let Ok(names) = union.names(self) else { return Value::Poison };
        let layout = match self.layout(names, &models, origin) {
            Ok(layout) => layout,
            Err(_) => return Value::Poison,
        };
        let mut flat = Vec::with_capacity(bound.len());
        for arg in bound {
            flat.push(match arg {
                None => None,
                Some(a) => match self.flatten(&a.value, a.span, &layout) {
                    Ok(value) => Some(Argument { value, ..a }),
                    Err(_) => return Value::Poison,
                },
            });
        }
        let tensor = self.tensor.take();
        let result = self.call_bound(*callee, flat, inner.span);
        self.tensor = tensor;
        self.unflatten(result, &layout, span)
    }

    fn misused(&mut self, span: Span) {
        self.report(
            Diagnostic::new(codes::WHOLE_MISUSED, "`whole` stands before a call that is given models", span, "")
                .help("`whole ties(base, [math, code])` measures the model, `ties(base, [math, code])` each tensor"),
        );
    }

    /// Whether a model has modules that are replaced, which no vector of entries can hold; that is reported.
    fn replaces_modules(&mut self, model: &Model, at: Span) -> bool {
        let Ok(replaced) = model.replaced(self, at) else { return true };
        let Some(module) = replaced.first() else { return false };
        let message = format!("`whole` sees the entries of a model, and the module `{}` is an expression", module.name);
        let d = Diagnostic::new(CANNOT_SAVE, message, at, "")
            .label(module.span, "replaced here")
            .help("apply the function to the weights first, and replace modules in a `from` around the result");
        self.report(d);
        true
    }

    fn layout(&mut self, names: Rc<[NameId]>, models: &[(Rc<Model>, Span)], origin: Option<u32>) -> Result<Layout, Reported> {
        let mut shapes = Vec::with_capacity(names.len());
        let mut fault = Ok(());
        let before = self.tensor;
        for name in names.iter() {
            self.tensor = Some(*name);
            let mut found: Vec<(TensorVal, Span)> = Vec::new();
            for (model, span) in models {
                let Some(t) = model.get(self, *name) else { continue };
                match t.and_then(|t| self.float(&t, *span)) {
                    Ok(t) => found.push((t, *span)),
                    // One fault of a name is enough.
                    Err(r) => {
                        fault = Err(r);
                        break;
                    }
                }
            }
            let shape = found.first().map(|(t, _)| self.shape(t)).unwrap_or_else(|| Rc::from([]));
            if found.iter().any(|(t, _)| *self.graph.shape(t.node) != shape) {
                let operands: Vec<(&TensorVal, Span)> = found.iter().map(|(t, s)| (t, *s)).collect();
                fault = Err(self.shapes_disagree(&operands, models[0].1));
            }
            shapes.push(shape);
        }
        self.tensor = before;
        fault?;
        let length = shapes.iter().map(|s| s.iter().product::<u64>()).sum();
        Ok(Layout { names, shapes, length, origin })
    }

    /// `value` with each model in it as one vector.
    fn flatten(&mut self, value: &Value, span: Span, layout: &Layout) -> Result<Value, Reported> {
        match value {
            Value::Model(m) => self.vector(m, span, layout).map(Value::Tensor),
            Value::List(l) => {
                let members: Result<Rc<[Value]>, Reported> = l.iter().map(|v| self.flatten(v, span, layout)).collect();
                members.map(Value::List)
            }
            Value::Tuple(l) => {
                let members: Result<Rc<[Value]>, Reported> = l.iter().map(|v| self.flatten(v, span, layout)).collect();
                members.map(Value::Tuple)
            }
            other => Ok(other.clone()),
        }
    }

    fn vector(&mut self, model: &Rc<Model>, span: Span, layout: &Layout) -> Result<TensorVal, Reported> {
        let mut pieces: Vec<NodeId> = Vec::with_capacity(layout.names.len());
        let mut degree: Option<Degree> = None;
        for (name, shape) in layout.names.iter().zip(&layout.shapes) {
            let t = match model.get(self, *name) {
                Some(t) => t?,
                None => self.zeros(shape, span),
            };
            degree = Some(match degree {
                None => t.degree.clone(),
                Some(d) if d.same(&t.degree) || d.known().is_none() => d,
                Some(d) => Degree::join(&[(span, d), (span, t.degree.clone())], span),
            });
            let entries: Rc<[u64]> = Rc::from([shape.iter().product::<u64>()]);
            let piece = if **shape == *entries { t.node } else { self.graph.add(Op::Reshape { input: t.node }, entries, span) };
            pieces.push(piece);
        }
        let node = match pieces.as_slice() {
            [only] => *only,
            _ => self.graph.add(Op::Concat { axis: 0, inputs: pieces.into() }, Rc::from([layout.length]), span),
        };
        Ok(TensorVal::new(node, degree.unwrap_or_else(Degree::delta)))
    }

    /// A result with vectors of the model's length in it as models again.
    fn unflatten(&mut self, value: Value, layout: &Layout, span: Span) -> Value {
        match value {
            Value::Tensor(t) if *self.shape(&t) == [layout.length] => {
                let mut tensors = FxHashMap::default();
                let mut start = 0;
                for (name, shape) in layout.names.iter().zip(&layout.shapes) {
                    let entries: u64 = shape.iter().product();
                    let mut node = t.node;
                    if entries != layout.length {
                        node = self.graph.add(Op::Slice { input: node, start: Rc::from([start]) }, Rc::from([entries]), span);
                    }
                    if **shape != [entries] {
                        node = self.graph.add(Op::Reshape { input: node }, shape.clone(), span);
                    }
                    tensors.insert(*name, Ok(TensorVal::new(node, t.degree.clone())));
                    start += entries;
                }
                Value::Model(Model::of_tensors(tensors, layout.origin))
            }
            Value::List(l) => Value::List(l.iter().map(|v| self.unflatten(v.clone(), layout, span)).collect()),
            Value::Tuple(l) => Value::Tuple(l.iter().map(|v| self.unflatten(v.clone(), layout, span)).collect()),
            other => other,
        }
    }
}
