//! `"module" as f(x: tensor[..t, d]) => expr`: modules of a base replaced by expressions in which they are still called `f`.
//!
//! What a rule gives is elaborated as a network: `x` is its input, `f(y)` a [`Layer::Module`]. Axes that the type of `x` leaves open
//! (`t`, `..t`) get stand-in lengths, and the rule is tried with two sets of them, so that it holds for any. Of the module only the
//! tensors of the model are known: a linear one (`weight[o, i]`) takes `i` channels and gives `o`, a convolution (`weight[o, i, ..]`)
//! `i` and `o` channels before the axes of an image, an embedding (`weight[v, d]`) ids, to which it adds an axis of `d`; any other gives
//! back the shape that it is given. A rule whose module is none of these says so: `as f(x: tensor[..t, d]) -> tensor[..t, e]`.
//!
//! Not here: which rule takes which module (`coverage`), what becomes of the networks (`save`).

use super::adapter::is_embedding;
use super::context::{Cx, show_shape};
use super::expressions::Frame;
use super::model::{Model, What};
use super::types::Asker;
use crate::codes::models::{CANNOT_SAVE, NAME_TWICE};
use crate::codes::types as codes;
use crate::coverage::ModuleShare;
use crate::degree::Degree;
use crate::hir::{Arg, Dim, Lhs, LocalId, ModuleLhs, Rule, Type, TypeName};
use crate::pattern::CaptureValue;
use crate::value::{Reported, TensorVal, Value};
use merge_base::{Diagnostic, Span};
use merge_ir::tir::{Layer, NodeId, Op};
use std::rc::Rc;

/// A module of a base that an expression stands for.
#[derive(Clone, Debug)]
pub struct Replaced {
    pub name: Rc<str>,
    /// The node of [`Layer::Input`].
    pub input: NodeId,
    pub output: NodeId,
    /// How many positions (tokens, pixels) the input has with the lengths that stand for open axes.
    pub positions: u64,
    /// Of the rule.
    pub span: Span,
}

impl Model {
    /// The modules that expressions stand for, in name order: a model made of others name by name has those of all of them.
    ///
    /// # Errors
    /// Two of the models that it is made of replace one module, or its tensors have other names than where the module was
    /// replaced; both are reported at `span`.
    pub(super) fn replaced(&self, cx: &mut Cx<'_>, span: Span) -> Result<Rc<[Replaced]>, Reported> {
        if let Some(own) = self.replaced.get() {
            return Ok(own.clone());
        }
        let mut parts: Vec<Rc<Model>> = Vec::new();
        let mut renamed = false;
        match &self.what {
            What::File(_) | What::Tensors { .. } => {}
            What::Lift(lift, _) => parts = lift.models().iter().map(|(m, _)| m.clone()).collect(),
            What::Parts(of) => {
                for (name, (model, inner)) in of {
                    renamed |= name != inner;
                    if !parts.iter().any(|p| Rc::ptr_eq(p, model)) {
                        parts.push(model.clone());
                    }
                }
            }
        }
        let mut all: Vec<Replaced> = Vec::new();
        for part in parts {
            for module in part.replaced(cx, span)?.iter() {
                match all.iter().find(|m| m.name == module.name) {
                    Some(known) if known.output != module.output => {
                        let message = format!("two models that meet here replace the module `{}`", module.name);
                        let d = Diagnostic::new(CANNOT_SAVE, message, span, "")
                            .label(known.span, "one replaces it here")
                            .label(module.span, "another here")
                            .help("combine the weights first, and replace modules in a `from` around the result");
                        return Err(cx.report(d));
                    }
                    Some(_) => {}
                    None => all.push(module.clone()),
                }
            }
        }
        if let (true, Some(module)) = (renamed, all.first()) {
            let message = format!("the module `{}` was replaced before its tensors got other names", module.name);
            let d = Diagnostic::new(CANNOT_SAVE, message, span, "")
                .label(module.span, "replaced here")
                .help("stack or rename first, and replace modules in a `from` around the result");
            return Err(cx.report(d));
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        // Kept, for a model may be met on many ways: in `d + d` on two, and on 2^60 after sixty turns of it.
        Ok(self.replaced.get_or_init(|| all.into()).clone())
    }
}

/// What `f` is in a rule.
#[derive(Clone)]
pub(super) struct Called<'p> {
    lhs: &'p ModuleLhs,
    name: Rc<str>,
    kind: Kind,
}

/// What the tensors of a module tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Linear {
        gives: u64,
        takes: u64,
    },
    /// Channels stand before so many axes.
    Conv {
        gives: u64,
        takes: u64,
        axes: usize,
    },
    Embedding {
        gives: u64,
    },
    Other,
}

/// Lengths of open axes: of those with a name, and of those that `..t` stands for.
struct StandIn {
    one: u64,
    rest: &'static [u64],
}

/// Two sets that have no length in common.
const STAND_INS: [StandIn; 2] = [StandIn { one: 64, rest: &[64] }, StandIn { one: 61, rest: &[3, 59] }];

impl<'p> Cx<'p> {
    /// The modules that the rules of a model literal replace, in name order.
    pub(super) fn replaced_modules(
        &mut self,
        model: &Model,
        rules: &'p [Rule],
        shares: &[ModuleShare],
        frame: &mut Frame,
    ) -> Result<Vec<Replaced>, Reported> {
        let (mut replaced, mut fault) = (Vec::new(), Ok(()));
        for share in shares {
            let rule = &rules[share.rule];
            let Lhs::Module(lhs) = &rule.lhs else { continue };
            let keys = self.keys.len();
            self.keys.extend(share.captures.iter().map(|c| c.to_string()));
            self.rule_keys = Some((keys, self.keys.clone()));
            let outer = self.tensor.replace(self.names.id(&share.name));
            match self.replaced_module(model, rule, lhs, share, frame) {
                Ok(found) => replaced.extend(found),
                Err(r) => fault = Err(r),
            }
            self.tensor = outer;
            self.keys.truncate(keys);
        }
        fault.map(|()| replaced)
    }

    /// The modules that a model literal replaces, and those that its model had replaced already.
    pub(super) fn with_inherited(
        &mut self,
        model: &Model,
        mut own: Vec<Replaced>,
        span: Span,
    ) -> Result<Rc<[Replaced]>, Reported> {
        for before in model.replaced(self, span)?.iter() {
            match own.iter().find(|m| m.name == before.name) {
                None => own.push(before.clone()),
                Some(again) => {
                    let message = format!("the module `{}` is replaced twice", before.name);
                    let d = Diagnostic::new(NAME_TWICE, message, again.span, "again here")
                        .label(before.span, "first here")
                        .help("say it in one rule: `f` is the module of the base in either");
                    return Err(self.report(d));
                }
            }
        }
        own.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(own.into())
    }

    /// The module with what stands for it; none if that is the module itself.
    fn replaced_module(
        &mut self,
        model: &Model,
        rule: &'p Rule,
        lhs: &'p ModuleLhs,
        share: &ModuleShare,
        frame: &mut Frame,
    ) -> Result<Option<Replaced>, Reported> {
        for (local, value) in lhs.captures.iter().zip(&share.captures) {
            let value = match value {
                CaptureValue::Int(i) => Value::Int(*i),
                CaptureValue::Str(s) => Value::Str(s.as_str().into()),
            };
            self.bind_local(*local, value, frame);
        }
        let name: Rc<str> = share.name.as_str().into();
        let module = Called { lhs, kind: self.kind_of_module(model, &name), name: name.clone() };
        self.called.push(module.clone());
        // A candidate of a search was tried in both ways when its space was looked at.
        let sets = if self.answers.search.is_some() || !lhs.ty.as_ref().is_none_or(is_open) { 1 } else { STAND_INS.len() };
        let made: Result<Vec<(NodeId, NodeId)>, Reported> =
            STAND_INS[..sets].iter().map(|s| self.module_network(rule, &module, s, frame)).collect();
        self.called.pop();
        let (input, output) = made?[0];
        let itself = match &self.graph.node(output).op {
            Op::Layer { layer, inputs } => **layer == Layer::Module { name: name.to_string() } && **inputs == [input],
            _ => false,
        };
        let channels = match module.kind {
            Kind::Linear { takes, .. } | Kind::Conv { takes, .. } => takes,
            Kind::Embedding { .. } => 1,
            Kind::Other => self.graph.shape(input).last().copied().unwrap_or(1),
        };
        let positions = self.graph.shape(input).iter().product::<u64>() / channels.max(1);
        Ok((!itself).then_some(Replaced { name, input, output, positions, span: rule.span }))
    }

    /// Input and output of what a rule gives for these lengths of open axes.
    fn module_network(
        &mut self,
        rule: &'p Rule,
        module: &Called<'p>,
        stand_in: &StandIn,
        frame: &mut Frame,
    ) -> Result<(NodeId, NodeId), Reported> {
        let (lhs, bound) = (module.lhs, frame.dims.len());
        let shape = self.input_shape(module, stand_in, rule.lhs_span, frame)?;
        let layer = Rc::new(Layer::Input { name: lhs.argument_name.clone() });
        let input = self.graph.add(Op::Layer { layer, inputs: Rc::from([]) }, shape.into(), rule.lhs_span);
        let x = TensorVal::new(input, Degree::delta());
        self.bind_local(lhs.argument, x.clone().into(), frame);
        let own = self.module_result(module, &x, rule.lhs_span, frame);
        let value = own.and_then(|own| {
            let outer = std::mem::replace(&mut self.in_network, true);
            let value = self.expr(&rule.value, frame);
            self.read_shape(&value);
            self.in_network = outer;
            Ok((own, self.tensor(&value, rule.value.span)?))
        });
        frame.dims.truncate(bound);
        let (own, t) = value?;
        let given = self.shape(&t);
        if !takes_the_place(&own, &given, module.kind) {
            let message = format!("what replaces `{}` gives another shape than the module", module.name);
            let label = format!("this has {}, the module gives {}", show_shape(&given), show_shape(&own));
            let d = Diagnostic::new(codes::WRONG_SHAPE, message, rule.value.span, label)
                .help("only axes that the type of the input leaves open, such as those of tokens, may become longer or shorter");
            return Err(self.report(d));
        }
        Ok((input, t.node))
    }

    /// The shape of `x`, open axes having these lengths.
    fn input_shape(
        &mut self,
        module: &Called<'p>,
        stand_in: &StandIn,
        span: Span,
        frame: &mut Frame,
    ) -> Result<Vec<u64>, Reported> {
        let lhs = module.lhs;
        let dims = match (&lhs.ty, module.kind) {
            (Some(Type::Named { name: TypeName::Tensor, dims: Some(dims), .. }), _) => dims,
            (Some(Type::Error), _) => return Err(Reported),
            (None, Kind::Linear { takes, .. }) => return Ok(stand_in.rest.iter().copied().chain([takes]).collect()),
            (None, Kind::Conv { takes, axes, .. }) => {
                return Ok([takes].into_iter().chain(std::iter::repeat_n(stand_in.one, axes)).collect());
            }
            (None, Kind::Embedding { .. }) => return Ok(stand_in.rest.to_vec()),
            _ => {
                let message = format!("what goes into `{}` has to be said: its shape", module.name);
                let d = Diagnostic::new(codes::WRONG_KIND, message, span, "no dims here").help(format!(
                    "`as f({}: tensor[..t, d])`, where `d` is an int known above: `let d = dim(base[\"model.norm.weight\"], 0)`",
                    lhs.argument_name
                ));
                return Err(self.report(d));
            }
        };
        let mut shape = Vec::new();
        for (i, dim) in dims.iter().enumerate() {
            match dim {
                Dim::Bind(local, at) => {
                    let from_end = dims.len() - 1 - i;
                    let known = match module.kind {
                        Kind::Linear { takes, .. } if from_end == 0 => Some(takes),
                        Kind::Conv { takes, axes, .. } if from_end == axes => Some(takes),
                        _ => None,
                    };
                    let n = match known {
                        Some(n) => n,
                        // The channels of a module decide the shapes of what is put beside it.
                        None if from_end == 0 && module.kind == Kind::Other => {
                            let name = self.text(*at);
                            let message = format!(
                                "how many channels go into `{}` is not known: `{name}` stands for any number",
                                module.name
                            );
                            let d = Diagnostic::new(codes::WRONG_SHAPE, message, *at, "the last axis").help(format!(
                                "give `{name}` its length above the rules: `let {name} = dim(base[\"model.norm.weight\"], 0)`"
                            ));
                            return Err(self.report(d));
                        }
                        None => stand_in.one,
                    };
                    self.bind_local(*local, Value::Int(n as i64), frame);
                    shape.push(n);
                }
                Dim::BindRest(local, _) => {
                    shape.extend(stand_in.rest);
                    let list = stand_in.rest.iter().map(|n| Value::Int(*n as i64)).collect();
                    self.bind_local(*local, Value::List(list), frame);
                }
                other => shape.extend(self.axes_of(other, frame)?),
            }
        }
        Ok(shape)
    }

    /// `f(y)`: what the module of the base gives.
    pub(super) fn call_module(
        &mut self,
        function: LocalId,
        args: &'p [Arg],
        span: Span,
        frame: &mut Frame,
    ) -> Result<Value, Reported> {
        let [arg] = args else { return Err(Reported) };
        let value = self.expr(&arg.value, frame);
        self.read_shape(&value);
        let y = self.tensor(&value, arg.value.span)?;
        let module = self.called.iter().rev().find(|c| c.lhs.function == function).cloned().ok_or(Reported)?;
        let shape = self.module_result(&module, &y, arg.value.span, frame)?;
        let layer = Rc::new(Layer::Module { name: module.name.to_string() });
        let node = self.graph.add(Op::Layer { layer, inputs: Rc::from([y.node]) }, shape.into(), span);
        Ok(TensorVal::new(node, Degree::delta()).into())
    }

    /// The shape of what a module gives for `y`, which must be what it takes.
    fn module_result(&mut self, module: &Called<'p>, y: &TensorVal, at: Span, frame: &mut Frame) -> Result<Vec<u64>, Reported> {
        let shape = self.shape(y).to_vec();
        let (wanted, channel) = match module.kind {
            Kind::Linear { takes, .. } => (Some(takes), shape.len().checked_sub(1)),
            Kind::Conv { takes, axes, .. } => (Some(takes), shape.len().checked_sub(axes + 1)),
            Kind::Embedding { .. } | Kind::Other => (None, None),
        };
        if let Some(wanted) = wanted
            && channel.is_none_or(|c| shape[c] != wanted)
        {
            let message = format!("`{}` takes {wanted} channels", module.name);
            let weight = format!("{}.weight", module.name);
            let d = Diagnostic::new(codes::WRONG_SHAPE, message, at, format!("this has {}", show_shape(&shape)))
                .note(format!("that is what `{weight}` says"));
            return Err(self.report(d));
        }
        // The types of the rule, for this input: its dims are bound anew, and what they were comes back.
        let (bound, locals) = (frame.dims.len(), frame.locals.clone());
        let result = self.result_by_types(module, y, at, frame);
        frame.dims.truncate(bound);
        frame.locals = locals;
        if let Some(declared) = result? {
            return Ok(declared);
        }
        Ok(match (module.kind, channel) {
            (Kind::Linear { gives, .. } | Kind::Conv { gives, .. }, Some(c)) => {
                let mut shape = shape;
                shape[c] = gives;
                shape
            }
            (Kind::Embedding { gives }, _) => shape.into_iter().chain([gives]).collect(),
            _ => shape,
        })
    }

    /// The declared shape of `f(y)`, if there is one; `y` is held against the declared type of the input.
    fn result_by_types(
        &mut self,
        module: &Called<'p>,
        y: &TensorVal,
        at: Span,
        frame: &mut Frame,
    ) -> Result<Option<Vec<u64>>, Reported> {
        if let Some(ty) = &module.lhs.ty {
            let asker = format!("the input of `{}`", module.name);
            if self.check_against(ty, y.clone().into(), at, Asker::Said(&asker), frame).is_poison() {
                return Err(Reported);
            }
        }
        let dims = match &module.lhs.result {
            None => return Ok(None),
            Some(Type::Named { name: TypeName::Tensor, dims: Some(dims), .. }) => dims,
            Some(_) => {
                let message = "what a module gives is a tensor with dims: `-> tensor[..t, d]`";
                return Err(self.error(codes::WRONG_KIND, message, at, ""));
            }
        };
        let mut shape = Vec::new();
        for dim in dims {
            shape.extend(self.axes_of(dim, frame)?);
        }
        Ok(Some(shape))
    }

    /// The axes that a dim stands for, all names in it being bound.
    pub(super) fn axes_of(&mut self, dim: &'p Dim, frame: &mut Frame) -> Result<Vec<u64>, Reported> {
        match dim {
            Dim::Expr(e) => match self.expr(e, frame) {
                Value::Int(n @ 1..) => Ok(vec![n as u64]),
                Value::Poison => Err(Reported),
                other => {
                    let message = match other {
                        Value::Int(n) => format!("an axis has a length from 1, and this is {n}"),
                        other => format!("the length of an axis is an int, and this is {}", other.kind()),
                    };
                    Err(self.error(codes::WRONG_KIND, message, e.span, ""))
                }
            },
            Dim::Bind(local, at) | Dim::Rest(local, at) | Dim::BindRest(local, at) => {
                self.read(frame.taint(*local));
                match frame.locals.get(local.0 as usize) {
                    Some(Value::Int(n)) => Ok(vec![*n as u64]),
                    Some(Value::List(l)) => {
                        Ok(l.iter().filter_map(|v| if let Value::Int(n) = v { Some(*n as u64) } else { None }).collect())
                    }
                    _ => {
                        let message = format!("nothing says how long `{}` is", self.text(*at));
                        Err(self.error(codes::WRONG_SHAPE, message, *at, "bound nowhere"))
                    }
                }
            }
        }
    }

    /// What the tensors of a module tell of it.
    fn kind_of_module(&mut self, model: &Model, name: &str) -> Kind {
        let weight = self.names.id(&format!("{name}.weight"));
        let Some(Ok(weight)) = model.get(self, weight) else { return Kind::Other };
        match *self.shape(&weight) {
            [_, gives] if is_embedding(name) => Kind::Embedding { gives },
            // GPT-2 and its kin store `[in, out]`.
            [takes, gives] if self.is_fan_in_fan_out(model) => Kind::Linear { gives, takes },
            [gives, takes] => Kind::Linear { gives, takes },
            [gives, takes, ref axes @ ..] if !axes.is_empty() => Kind::Conv { gives, takes, axes: axes.len() },
            _ => Kind::Other,
        }
    }
}

/// Whether a type leaves axes open.
fn is_open(ty: &Type) -> bool {
    let Type::Named { dims: Some(dims), .. } = ty else { return false };
    dims.iter().any(|d| matches!(d, Dim::Bind(..) | Dim::BindRest(..)))
}

/// Whether a tensor of this shape can stand where the module's own result stood: the channels stay.
fn takes_the_place(own: &[u64], given: &[u64], kind: Kind) -> bool {
    let channel = match kind {
        Kind::Conv { axes, .. } => own.len().checked_sub(axes + 1),
        _ => own.len().checked_sub(1),
    };
    own.len() == given.len() && channel.is_none_or(|c| own[c] == given[c])
}
