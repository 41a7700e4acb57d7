//! Static costs of models: what shapes and dtypes alone decide.

use super::adapter::is_embedding;
use super::context::Cx;
use super::model::Model;
use super::modules::Replaced;
use super::names::NameId;
use crate::codes::types as codes;
use crate::value::{Args, Reported, Value};
use merge_abi::DType;
use merge_base::{Diagnostic, Span};
use merge_ir::tir::{NodeId, PARAMETER_DTYPE, costs};

impl Cx<'_> {
    /// `params(m)`: the entries of its tensors; `bytes(m)`: what they take in the dtype of the file they come from, or in F32. Of what a
    /// network computes, and `trainable(m)` and `flops(y)`: what [`merge_ir::tir::costs`] says.
    pub(super) fn cost(&mut self, args: &Args, span: Span) -> Result<Value, Reported> {
        let model = match args.get(0).map(|a| (&a.value, a.span)) {
            Some((Value::Tensor(t), _)) if self.in_network || self.symbolic && args.name == "flops" => {
                let node = t.node;
                return self.cost_of(args.name, &[node], span);
            }
            Some((Value::Model(m), _)) => m.clone(),
            Some((_, at)) if args.name == "flops" => {
                let message = "`flops` counts one pass of a network or of a model";
                let d = Diagnostic::new(codes::WRONG_KIND, message, at, "no network computes this")
                    .help("it is given a model, or inside a function that `search` names what the network computes");
                return Err(self.report(d));
            }
            Some((Value::Tensor(t), _)) if args.name == "trainable" => {
                let node = t.node;
                return self.cost_of(args.name, &[node], span);
            }
            Some((Value::Tensor(t), _)) => return self.count(self.graph.shape(t.node).iter().product(), span),
            Some((other, at)) => {
                let message = format!("`{}` wants a model, and this is {}", args.name, other.kind());
                return Err(self.error(codes::WRONG_KIND, message, at, ""));
            }
            None => return Err(Reported),
        };
        let at = args.get(0).map_or(span, |a| a.span);
        let replaced = model.replaced(self, at)?;
        let names = model.names(self)?;
        if let "trainable" | "flops" = args.name {
            return self.cost_of_training(args.name, &model, &names, &replaced, span);
        }
        let mut total = self.entries_in_modules(&model, &names, &replaced);
        if args.name == "bytes" {
            total = total.saturating_mul(PARAMETER_DTYPE.size());
        }
        for name in names.iter() {
            let Some(Ok(t)) = model.get(self, *name) else { continue };
            let entries: u64 = self.shape(&t).iter().product();
            let stored = model.origin.and_then(|o| self.opened[o as usize].tensors.get(name)).map(|t| t.0);
            let size = if args.name == "bytes" { t.buffer.or(stored).unwrap_or(DType::F32).size() } else { 1 };
            total = total.saturating_add(entries.saturating_mul(size));
        }
        self.count(total, span)
    }

    /// Entries of `new` tensors that only replaced modules have: the others are part of the model's own tensors.
    fn entries_in_modules(&mut self, model: &Model, names: &[NameId], replaced: &[Replaced]) -> u64 {
        if replaced.is_empty() {
            return 0;
        }
        let own = self.nodes_of(model, names);
        let all: Vec<NodeId> = own.iter().copied().chain(replaced.iter().map(|m| m.output)).collect();
        costs(&self.graph, &all).params - costs(&self.graph, &own).params
    }

    fn nodes_of(&mut self, model: &Model, names: &[NameId]) -> Vec<NodeId> {
        names.iter().filter_map(|n| model.get(self, *n)?.ok()).map(|t| t.node).collect()
    }

    /// `trainable(m)`: the entries of `new` tensors, each once; `flops(m)`: operations of a forward pass at one position (token, pixel),
    /// a multiplication and its addition being 2: 2 for each entry of every matrix and kernel but tables of embeddings, and what the
    /// expressions in the places of modules do besides these. What attention does between positions is not in the weights, and not
    /// counted.
    fn cost_of_training(
        &mut self,
        which: &str,
        model: &Model,
        names: &[NameId],
        replaced: &[Replaced],
        span: Span,
    ) -> Result<Value, Reported> {
        let outputs: Vec<NodeId> = replaced.iter().map(|m| m.output).collect();
        if which == "trainable" {
            let roots: Vec<NodeId> = self.nodes_of(model, names).into_iter().chain(outputs).collect();
            return self.cost_of(which, &roots, span);
        }
        let mut total = 0u64;
        for name in names {
            let Some(Ok(t)) = model.get(self, *name) else { continue };
            let text = self.names.text(*name).clone();
            let shape = self.shape(&t);
            let table = text.strip_suffix(".weight").is_some_and(is_embedding);
            if t.buffer.is_none() && shape.len() >= 2 && !table {
                total = total.saturating_add(shape.iter().fold(2u64, |n, d| n.saturating_mul(*d)));
            }
        }
        for module in replaced {
            total = total.saturating_add(costs(&self.graph, &[module.output]).flops / module.positions.max(1));
        }
        self.count(total, span)
    }

    /// `within(names, model, params: n)`: in their order, each name whose tensor still fits into what is left of `n` entries; one
    /// that does not is passed over, and those after it may. Whole tensors under a budget, as Su et al. 2023 (arXiv
    /// 2306.02320) draw them.
    pub(super) fn within(&mut self, args: &Args, span: Span) -> Result<Value, Reported> {
        let (Some(names), Some(model), Some(budget)) = (args.get(0), args.get(1), args.get(2)) else { return Err(Reported) };
        let members = self.members(&names.value, names.span)?;
        let model = match &model.value {
            Value::Model(m) => m.clone(),
            other => {
                let message = format!("`within` wants a model, and this is {}", other.kind());
                return Err(self.error(codes::WRONG_KIND, message, model.span, ""));
            }
        };
        let mut left = match &budget.value {
            Value::Int(n) => u64::try_from(*n).unwrap_or(0),
            other => {
                let message = format!("a budget is an int, and this is {}", other.kind());
                let d = Diagnostic::new(codes::WRONG_KIND, message, budget.span, "");
                return Err(self.report(d.help("as a share of a model: `params: div(params(base), 100)`")));
            }
        };
        let mut taken = Vec::new();
        for member in members.iter() {
            let Value::Str(text) = member else {
                let message = format!("`within` wants names of tensors, and this list holds {}", member.kind());
                let d = Diagnostic::new(codes::WRONG_KIND, message, names.span, "");
                return Err(self.report(d.help("`names(base, \"**\")` lists them")));
            };
            let name = self.names.id(text);
            let entries: u64 = match model.get(self, name) {
                Some(t) => self.shape(&t?).iter().product(),
                None => return Err(self.no_such_tensor(&model, name, span)),
            };
            if entries <= left {
                left -= entries;
                taken.push(member.clone());
            }
        }
        Ok(Value::List(taken.into()))
    }

    /// What tensors cost that depend on parameters. Every decision before may have a say in which those are.
    fn cost_of(&mut self, which: &str, roots: &[NodeId], span: Span) -> Result<Value, Reported> {
        if self.watch.is_some() {
            for index in 0..self.decided.len() {
                let taint = self.taint_of_decision(index);
                self.read(taint);
            }
        }
        let costs = costs(&self.graph, roots);
        let n = match which {
            "params" => costs.params,
            "trainable" => costs.trainable,
            "bytes" => costs.bytes,
            _ => costs.flops,
        };
        self.count(n, span)
    }

    fn count(&mut self, n: u64, span: Span) -> Result<Value, Reported> {
        match i64::try_from(n) {
            Ok(n) => Ok(Value::Int(n)),
            Err(_) => Err(self.error(codes::INT_ARITHMETIC, "this is more than an int can count", span, "")),
        }
    }
}
