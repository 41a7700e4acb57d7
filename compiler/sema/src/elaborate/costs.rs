//! Static costs of models: what shapes and dtypes alone decide.

use super::context::Cx;
use crate::codes::types as codes;
use crate::value::{Args, Reported, Value};
use merge_abi::DType;
use merge_base::{Diagnostic, Span};
use merge_ir::tir::NodeId;

impl Cx<'_> {
    /// `params(m)`: the entries of its tensors; `bytes(m)`: what they take in the dtype of the file they come from, or in F32. Of what a
    /// network computes, and `trainable(m)` and `flops(y)`: what [`merge_ir::tir::costs`] says.
    pub(super) fn cost(&mut self, args: &Args, span: Span) -> Result<Value, Reported> {
        let model = match args.get(0).map(|a| (&a.value, a.span)) {
            Some((Value::Tensor(t), _)) if self.in_network || self.symbolic && args.name == "flops" => {
                let node = t.node;
                return self.cost_of(args.name, &[node], span);
            }
            Some((_, at)) if args.name == "flops" => {
                let d =
                    Diagnostic::new(codes::WRONG_KIND, "`flops` counts one pass of a network", at, "no network computes this")
                        .help("it stands inside a function that `search` names, and is given what the network computes");
                return Err(self.report(d));
            }
            Some((Value::Model(m), _)) => m.clone(),
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
        if args.name == "trainable" {
            let names = model.names(self)?;
            let mut roots: Vec<_> = names.iter().filter_map(|n| model.get(self, *n)).flatten().map(|t| t.node).collect();
            roots.extend(model.replaced(self, span)?.iter().map(|module| module.output));
            return self.cost_of(args.name, &roots, span);
        }
        let names = model.names(self)?;
        let mut total = 0u64;
        for name in names.iter() {
            let Some(Ok(t)) = model.get(self, *name) else { continue };
            let entries: u64 = self.shape(&t).iter().product();
            let stored = model.origin.and_then(|o| self.opened[o as usize].tensors.get(name)).map(|t| t.0);
            let size = if args.name == "bytes" { t.buffer.or(stored).unwrap_or(DType::F32).size() } else { 1 };
            total = total.saturating_add(entries.saturating_mul(size));
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
        let costs = merge_ir::tir::costs(&self.graph, roots);
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
