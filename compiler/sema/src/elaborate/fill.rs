//! `fill(model, tensors)`: trained tensors in the places of the `new` ones.
//!
//! The model stays what the recipe says it is, with each parameter replaced by the tensor of its name: `base + s * b @ a` is computed of
//! the trained `b` and `a`. A file in PEFT's layout names factors by module, and is taken where `save .. as adapter` would write it so.

use super::context::{Cx, show_shape};
use super::model::Model;
use super::modules::Replaced;
use super::names::NameId;
use crate::codes::adapters::{NOT_IN_BASE, WRONG_SHAPES};
use crate::codes::types as codes;
use crate::value::{Args, Reported, TensorVal, Value};
use merge_base::{Diagnostic, Span, list_names};
use merge_ir::tir::{NodeId, Op, ParameterId, parameters};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::rc::Rc;

impl Cx<'_> {
    pub(super) fn fill(&mut self, args: &Args, span: Span) -> Result<Value, Reported> {
        let [Some(model), Some(file)] = [args.get(0), args.get(1)] else { return Err(Reported) };
        let mut both = Vec::with_capacity(2);
        for arg in [model, file] {
            match &arg.value {
                Value::Model(m) => both.push(m.clone()),
                other => {
                    let message = format!("`fill` wants a model here, and this is {}", other.kind());
                    return Err(self.error(codes::WRONG_KIND, message, arg.span, ""));
                }
            }
        }
        let (names, tensors) = self.tensors_of(&both[0])?;
        let replaced = both[0].replaced(self, model.span)?;
        let roots: Vec<NodeId> = tensors.iter().map(|t| t.node).chain(replaced.iter().map(|m| m.output)).collect();
        let wanted = parameters(&self.graph, &roots);
        if wanted.is_empty() {
            let d = Diagnostic::new(codes::WRONG_KIND, "this model has no `new` tensors that could be filled", model.span, "")
                .help("`fill(m, tensors(..))` is for models whose rules make tensors by `new`");
            return Err(self.report(d));
        }
        let instead = self.trained_tensors(&both[0], &wanted, &names, &tensors, (&both[1], file.span), span)?;
        let made = self.graph.substitute(&roots, &instead);
        let filled = tensors.into_iter().zip(&made).map(|(t, node)| Ok(TensorVal { node: *node, ..t }));
        let of = Model::of_tensors(names.iter().copied().zip(filled).collect(), both[0].origin);
        let modules = replaced.iter().zip(&made[names.len()..]).map(|(m, node)| Replaced { output: *node, ..m.clone() });
        let _ = of.replaced.set(modules.collect());
        Ok(Value::Model(of))
    }

    /// All tensors of a model, in name order.
    pub(super) fn tensors_of(&mut self, model: &Model) -> Result<(Rc<[NameId]>, Vec<TensorVal>), Reported> {
        let names = model.names(self)?;
        let mut tensors = Vec::with_capacity(names.len());
        for name in names.iter() {
            tensors.push(model.get(self, *name).unwrap_or(Err(Reported))?);
        }
        Ok((names, tensors))
    }

    /// By the node of each parameter, the tensor of the file that takes its place.
    #[allow(clippy::too_many_arguments)]
    fn trained_tensors(
        &mut self,
        model: &Model,
        wanted: &[ParameterId],
        names: &[NameId],
        tensors: &[TensorVal],
        (file, at): (&Rc<Model>, Span),
        span: Span,
    ) -> Result<FxHashMap<NodeId, NodeId>, Reported> {
        let held = file.names(self)?;
        let mut by_name: BTreeMap<String, ParameterId> = BTreeMap::new();
        let as_peft = held.first().is_some_and(|n| self.names.text(*n).starts_with(super::save_adapter::PREFIX));
        let factors = if as_peft { self.low_rank_changes(model, names, tensors, wanted) } else { None };
        match factors {
            Some(factors) => {
                for change in factors {
                    by_name.insert(change.name_of_a(), change.a);
                    by_name.insert(change.name_of_b(), change.b);
                }
            }
            None => by_name.extend(wanted.iter().map(|p| (self.graph.parameters[p.0 as usize].name.clone(), *p))),
        }
        let extra: Vec<String> =
            held.iter().map(|n| self.names.text(*n).to_string()).filter(|n| !by_name.contains_key(n)).collect();
        let mut missing = Vec::new();
        let mut wrong = Vec::new();
        let mut instead = FxHashMap::default();
        for (name, parameter) in &by_name {
            let id = self.names.id(name);
            let Some(tensor) = file.get(self, id) else {
                missing.push(name.clone());
                continue;
            };
            let tensor = self.float(&tensor?, at)?;
            let shape = self.graph.parameters[parameter.0 as usize].shape.clone();
            let own = self.shape(&tensor);
            if own != shape {
                wrong.push(format!("`{name}` has {}, and {} is wanted", show_shape(&own), show_shape(&shape)));
            }
            let node = self.graph.add(Op::Parameter(*parameter), shape, span);
            instead.insert(node, tensor.node);
        }
        if !missing.is_empty() || !extra.is_empty() {
            let mut d = Diagnostic::new(NOT_IN_BASE, "this file does not hold the `new` tensors of the model", at, "");
            if !missing.is_empty() {
                d = d.note(format!("missing: {}", list_names(&missing, 3)));
            }
            if !extra.is_empty() {
                d = d.note(format!("not of the model: {}", list_names(&extra, 3)));
            }
            let help = "`save .. as adapter` writes start values under the names that are wanted; choices must be those it was trained with";
            return Err(self.report(d.help(help)));
        }
        if let Some(first) = wrong.first() {
            let message = format!(
                "{} of the trained tensors has another shape than its `new` tensor",
                if wrong.len() == 1 { "one".into() } else { wrong.len().to_string() }
            );
            let mut d = Diagnostic::new(WRONG_SHAPES, message, at, "").note(first.clone());
            d = d.help("choices must be those that the adapter was trained with: `--set`, or `--with` a file of choices");
            return Err(self.report(d));
        }
        Ok(instead)
    }
}
