//! Functions of the recipe tried as written: dims are distinct primes (`stand_ins`), numbers are symbols, lists have one, two and
//! three members. A fault found so is the function's own, and is reported once, where it stands.

use super::context::Cx;
use super::expressions::Frame;
use super::findings::Findings;
use super::stand_ins::StandIns;
use crate::degree::{Degree, Frac};
use crate::hir::{Dim, Fn, Type, TypeName};
use crate::value::{Argument, TensorVal, Value};
use merge_abi::{DType, Source};
use merge_base::Span;
use merge_ir::tir::{Op, SourceId};
use std::rc::Rc;

/// What stands for the degree of a `tensor`.
#[derive(Clone, Copy, PartialEq)]
enum Unstated {
    Statistics,
    Zero,
}

/// Arguments in the making.
struct Trial {
    members: usize,
    unstated: Unstated,
    affine: Degree,
}

impl<'p> Cx<'p> {
    /// Tries every function of the recipe's own file whose parameters can be made up.
    pub(super) fn check_definitions(&mut self) {
        for f in &self.program.fns {
            if Some(f.file) == self.program.entry {
                self.try_function(f);
            }
        }
    }

    /// Whether that found nothing, and no promise that later uses have a say in.
    pub(super) fn definitions_are_fine(&self) -> bool {
        self.findings.is_empty() && self.broken.is_empty() && self.promises.is_empty()
    }

    fn try_function(&mut self, f: &'p Fn) {
        let lists = f.params.iter().any(|p| matches!(p.ty, Type::List(..)));
        let has_tensor = f.params.iter().any(|p| mentions_tensor(&p.ty));
        let before = std::mem::take(&mut self.findings);
        self.symbolic = true;
        let mut first: Option<Findings> = None;
        let attempts: &[Unstated] = if has_tensor { &[Unstated::Statistics, Unstated::Zero] } else { &[Unstated::Zero] };
        for unstated in attempts {
            let broken = self.broken.clone();
            let found = self.on_scratch_graph(|cx| {
                for members in 1..=if lists { 3 } else { 1 } {
                    cx.try_once(f, members, *unstated);
                    if cx.findings.has_errors() {
                        break;
                    }
                }
                std::mem::take(&mut cx.findings)
            });
            // A `tensor` has the degree that each use gives it: one that works is enough.
            if !found.has_errors() {
                self.broken = broken;
                first = None;
                break;
            }
            first = first.or(Some(found));
        }
        self.symbolic = false;
        self.stand_ins = StandIns::default();
        self.findings = before;
        if let Some(found) = first {
            self.findings.append(found);
        }
    }

    fn try_once(&mut self, f: &'p Fn, members: usize, unstated: Unstated) {
        let affine = Degree::Known(Frac::atom(self.new_atom("the degree of `affine`")));
        let trial = Trial { members, unstated, affine };
        let mut frame = Frame::of_function(f.locals.len(), true);
        self.stand_ins = StandIns::default();
        f.params.iter().for_each(|p| self.name_dims(&p.ty));
        self.stand_ins.bind(&mut frame.locals);
        let mut args = Vec::with_capacity(f.params.len());
        for p in &f.params {
            let arg = match self.made_up(&p.ty, &p.name, p.span, &trial, &mut frame) {
                Some(value) => Some(Argument { value, span: p.span, parts: None }),
                None if p.default.is_some() => None,
                None => return,
            };
            args.push(arg);
        }
        let mut frame = Frame::of_function(f.locals.len(), true);
        if self.bind_parameters(f, args, None, f.span, &mut frame).is_ok() {
            self.body(f, &mut frame);
        }
    }

    /// Gives each name among the dims of a type its lengths.
    fn name_dims(&mut self, ty: &Type) {
        match ty {
            Type::Named { dims: Some(dims), .. } => {
                for dim in dims {
                    match dim {
                        Dim::Bind(local, span) => self.stand_ins.name(*local, self.text(*span)),
                        Dim::BindRest(local, span) => self.stand_ins.name_rest(*local, self.text(*span)),
                        _ => {}
                    }
                }
            }
            Type::List(member, _) => self.name_dims(member),
            Type::Tuple(parts, _) => parts.iter().for_each(|p| self.name_dims(p)),
            _ => {}
        }
    }

    /// A value of a type, if one can be made up.
    fn made_up(&mut self, ty: &'p Type, name: &str, span: Span, trial: &Trial, frame: &mut Frame) -> Option<Value> {
        match ty {
            Type::Named { name: TypeName::F32, .. } => Some(self.symbolic_scalar(name, span).into()),
            Type::Named { name: kind, dims: Some(dims), .. } => {
                let degree = match kind {
                    TypeName::Weight => Degree::weight(),
                    TypeName::Delta => Degree::delta(),
                    TypeName::Affine => trial.affine.clone(),
                    TypeName::Tensor if trial.unstated == Unstated::Zero => Degree::delta(),
                    TypeName::Tensor => Degree::statistics(span),
                    _ => return None,
                };
                let mut shape = Vec::new();
                for dim in dims {
                    match dim {
                        Dim::Bind(local, _) => shape.push(self.stand_ins.length(*local)?),
                        Dim::BindRest(local, _) | Dim::Rest(local, _) => shape.extend(self.stand_ins.rest(*local)?),
                        Dim::Expr(e) => match self.expr(e, frame) {
                            Value::Int(n) => shape.push(u64::try_from(n).ok()?),
                            _ => return None,
                        },
                    }
                }
                let source = SourceId(self.graph.sources.len() as u32);
                let shape: Rc<[u64]> = shape.into();
                let (name, dtype) = (name.to_string(), DType::F32);
                self.graph.sources.push(Source { checkpoint: 0, name, dtype, shape: shape.to_vec() });
                let node = self.graph.add(Op::Load(source), shape, span);
                Some(TensorVal::new(node, degree).into())
            }
            Type::List(member, _) => {
                let members: Option<Vec<Value>> =
                    (0..trial.members).map(|k| self.made_up(member, &format!("{name}[{k}]"), span, trial, frame)).collect();
                members.map(|m| Value::List(m.into()))
            }
            _ => None,
        }
    }
}

fn mentions_tensor(ty: &Type) -> bool {
    match ty {
        Type::Named { name, .. } => *name == TypeName::Tensor,
        Type::List(member, _) => mentions_tensor(member),
        Type::Tuple(parts, _) => parts.iter().any(mentions_tensor),
        Type::Error => false,
    }
}
