//! `save .. as adapter`: what is to be trained, as an output.
//!
//! Its tensors are the start values of the model's `new` tensors, under their names, in `start.safetensors`. Where they are factors of
//! low rank, `base + s * b @ a` for a number `s`, they are named as PEFT does and come with its config, so that PEFT trains them. The
//! graph says besides which tensors are made anew of what ([`Reweighted`]) and which modules are replaced by what ([`Network`]). A
//! model that differs from its base in more than that is written whole, with start values beside it.
//!
//! Not here: the files of graph and manifest, which are made of the finished graph.

use super::context::Cx;
use super::model::Model;
use super::modules::Replaced;
use super::names::NameId;
use super::save::Options;
use crate::codes::models as codes;
use crate::degree::Degree;
use crate::hir::Save;
use crate::value::TensorVal;
use merge_abi::{BinaryFn, DType, Role, Routine};
use merge_base::{Diagnostic, Span};
use merge_ir::tir::{Network, NodeId, Op, OutTensor, Output, ParameterId, Reweighted, SourceId, Trained, parameters};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;

/// What PEFT puts in front of paths of modules.
pub(super) const PREFIX: &str = "base_model.model.";
/// The file of start values.
const STARTS: &str = "start.safetensors";
/// The file of factors, as PEFT calls it.
const FACTORS: &str = "adapter_model.safetensors";

/// A weight that is `base + scale * b @ a`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LowRank {
    module: String,
    pub a: ParameterId,
    pub b: ParameterId,
    scale: f64,
    rank: u64,
}

impl LowRank {
    /// As PEFT calls the first factor.
    pub fn name_of_a(&self) -> String {
        format!("{PREFIX}{}.lora_A.weight", self.module)
    }

    /// As PEFT calls the second factor.
    pub fn name_of_b(&self) -> String {
        format!("{PREFIX}{}.lora_B.weight", self.module)
    }
}

impl<'p> Cx<'p> {
    /// Whether a model has parts that weights cannot hold, or that are to be trained.
    pub(super) fn trains(&self, tensors: &[(NameId, TensorVal)], replaced: &[Replaced]) -> bool {
        let changed = self.changed_by_parameters();
        !replaced.is_empty() || tensors.iter().any(|(_, t)| changed[t.node.0 as usize])
    }

    /// By node: whether a parameter has a part in it.
    fn changed_by_parameters(&self) -> Vec<bool> {
        let mut changed = vec![false; self.graph.len()];
        if !self.graph.parameters.is_empty() {
            for (id, node) in self.graph.nodes() {
                let mut is = matches!(node.op, Op::Parameter(_));
                node.op.each_operand(|o| is |= changed[o.0 as usize]);
                changed[id.0 as usize] = is;
            }
        }
        changed
    }

    /// The nodes of `roots` where every parameter is what it starts as.
    pub(super) fn at_start(&mut self, roots: &[NodeId], span: Span) -> Vec<NodeId> {
        let mut instead = FxHashMap::default();
        if self.graph.parameters.is_empty() {
            return roots.to_vec();
        }
        for id in parameters(&self.graph, roots) {
            let (node, start) = self.start_of(id, span);
            instead.insert(node, start);
        }
        if instead.is_empty() { roots.to_vec() } else { self.graph.substitute(roots, &instead) }
    }

    /// The node of a parameter, and what it starts as, in its shape.
    fn start_of(&mut self, id: ParameterId, span: Span) -> (NodeId, NodeId) {
        let (shape, start) = {
            let p = &self.graph.parameters[id.0 as usize];
            (p.shape.clone(), p.start)
        };
        let node = self.graph.add(Op::Parameter(id), shape.clone(), span);
        let start = TensorVal::new(start, Degree::delta());
        (node, self.stretched(&start, &shape, span).node)
    }

    /// Writes what is to be trained.
    pub(super) fn save_trained(
        &mut self,
        s: &Save,
        path: String,
        model: &Model,
        tensors: &[(NameId, TensorVal)],
        replaced: &[Replaced],
        options: Options,
    ) {
        if path.ends_with(".safetensors") {
            let message = "an adapter is a folder: start values, and files that say what they are for";
            let d = Diagnostic::new(codes::BAD_SAVE_SETTING, message, s.to.span, "");
            self.report(d.help("name a folder: `save m to \"folder\" as adapter`"));
            return;
        }
        let nodes: Vec<NodeId> = tensors.iter().map(|(_, t)| t.node).collect();
        let roots: Vec<NodeId> = nodes.iter().copied().chain(replaced.iter().map(|m| m.output)).collect();
        let wanted = parameters(&self.graph, &roots);
        if wanted.is_empty() && replaced.is_empty() {
            let d = Diagnostic::new(codes::CANNOT_SAVE, "nothing in this model is to be trained", s.value.span, "")
                .help("`new x[dims] = start` in a rule makes a tensor to be trained; deltas are saved `as peft`");
            self.report(d);
            return;
        }
        let (names, values): (Vec<NameId>, Vec<TensorVal>) = tensors.iter().cloned().unzip();
        let factors = if replaced.is_empty() { self.low_rank_changes(model, &names, &values, &wanted) } else { None };
        let plain =
            options.dtype.is_none() && options.config.is_empty() && options.tokenizer.is_none() && options.shard.is_none();
        let whole = !plain || !self.is_base_but_for_parameters(model, tensors);
        let trained = self.note_trained(model, tensors, replaced);
        let (mut out, role) = match whole {
            true => (self.whole_at_start(model, tensors, &nodes, &options, s.value.span), Role::Weights),
            false => (Vec::new(), Role::Statistics),
        };
        let factors = factors.filter(|_| !whole);
        let config = factors.as_ref().map(|f| self.config_of_factors(model, f));
        let mut starts: Vec<(String, ParameterId)> = match &factors {
            Some(f) => f.iter().flat_map(|c| [(c.name_of_a(), c.a), (c.name_of_b(), c.b)]).collect(),
            None => wanted.iter().map(|p| (self.graph.parameters[p.0 as usize].name.clone(), *p)).collect(),
        };
        starts.sort();
        for (name, id) in &starts {
            let (_, node) = self.start_of(*id, s.value.span);
            out.push(OutTensor { name: name.clone(), node, dtype: DType::F32 });
        }
        let (networks, reweighted) = trained;
        let roots = self.graph.networks[networks.start as usize..networks.end as usize].iter().map(|n| n.output);
        let reweighting = self.graph.reweighted[reweighted.start as usize..reweighted.end as usize].iter().map(|r| r.node);
        let roots: Vec<NodeId> = roots.chain(reweighting).collect();
        self.note_costs(&roots);
        let file = if config.is_some() { FACTORS } else { STARTS }.to_string();
        let like = model.origin.filter(|o| whole && self.is_of_weights(*o));
        self.graph.outputs.push(Output {
            path,
            role: if config.is_some() { Role::Deltas } else { role },
            tensors: out,
            shard: options.shard,
            like,
            tokenizer: options.tokenizer,
            config: options.config,
            adapter: config,
            trained: Some(Trained { networks, reweighted, starts: starts.len() as u32, file }),
            place: self.sources.place(s.span),
            span: s.span,
        });
    }

    /// Puts the replaced modules and the tensors that parameters change into the graph; where they stand there.
    fn note_trained(
        &mut self,
        model: &Model,
        tensors: &[(NameId, TensorVal)],
        replaced: &[Replaced],
    ) -> (std::ops::Range<u32>, std::ops::Range<u32>) {
        let first = self.graph.networks.len() as u32;
        for m in replaced {
            let network = Network { name: m.name.to_string(), inputs: vec![m.input], output: m.output, replaces: true };
            self.graph.networks.push(network);
        }
        let first_tensor = self.graph.reweighted.len() as u32;
        let changed = self.changed_by_parameters();
        for (name, t) in tensors.iter().filter(|(_, t)| changed[t.node.0 as usize]) {
            let source = self.source_under(model, *name, t.node);
            self.graph.reweighted.push(Reweighted { name: self.names.text(*name).to_string(), source, node: t.node });
        }
        (first..self.graph.networks.len() as u32, first_tensor..self.graph.reweighted.len() as u32)
    }

    /// The tensor of the same name that a node reads, of the base where it reads that.
    fn source_under(&self, model: &Model, name: NameId, node: NodeId) -> Option<SourceId> {
        let text = self.names.text(name);
        let (mut found, mut open, mut seen) = (None, vec![node], FxHashSet::default());
        while let Some(next) = open.pop() {
            if !seen.insert(next) {
                continue;
            }
            let op = &self.graph.node(next).op;
            if let Op::Load(source) = op {
                let s = &self.graph.sources[source.0 as usize];
                if s.name == **text && (found.is_none() || Some(s.checkpoint) == model.origin) {
                    found = Some(*source);
                }
            }
            op.each_operand(|o| open.push(o));
        }
        found
    }

    /// Whether all tensors that no parameter changes are those of the base, and none is left out.
    fn is_base_but_for_parameters(&mut self, model: &Model, tensors: &[(NameId, TensorVal)]) -> bool {
        let Some(origin) = model.origin.filter(|o| self.is_of_weights(*o)) else { return false };
        let changed = self.changed_by_parameters();
        let same_names = self.opened[origin as usize].names.len() == tensors.len();
        same_names
            && tensors.iter().all(|(name, t)| {
                let is_own = match self.graph.node(t.node).op {
                    Op::Load(source) => {
                        let s = &self.graph.sources[source.0 as usize];
                        s.checkpoint == origin && s.name == **self.names.text(*name)
                    }
                    _ => false,
                };
                is_own || changed[t.node.0 as usize]
            })
    }

    /// All tensors of the model, parameters being what they start as.
    fn whole_at_start(
        &mut self,
        model: &Model,
        tensors: &[(NameId, TensorVal)],
        nodes: &[NodeId],
        options: &Options,
        span: Span,
    ) -> Vec<OutTensor> {
        let made = self.at_start(nodes, span);
        self.note_dtypes();
        let tensors = tensors.iter().zip(made).map(|((name, t), node)| {
            let t = TensorVal { node, ..t.clone() };
            let dtype = self.dtype_of(*name, &t, model.origin, options.dtype);
            OutTensor { name: self.names.text(*name).to_string(), node, dtype }
        });
        tensors.collect()
    }

    fn is_of_weights(&self, origin: u32) -> bool {
        self.opened[origin as usize].role == Role::Weights
    }

    /// The changes that parameters make, where each is a product of two factors of its own times a number, of a matrix that PEFT keeps
    /// as it lies in the file; none where any is something else.
    pub(super) fn low_rank_changes(
        &mut self,
        model: &Model,
        names: &[NameId],
        tensors: &[TensorVal],
        wanted: &[ParameterId],
    ) -> Option<Vec<LowRank>> {
        if self.is_fan_in_fan_out(model) {
            return None;
        }
        let mut changes = Vec::new();
        let mut used: FxHashSet<ParameterId> = FxHashSet::default();
        let changed = self.changed_by_parameters();
        for (name, t) in names.iter().zip(tensors).filter(|(_, t)| changed[t.node.0 as usize]) {
            let text = self.names.text(*name).clone();
            let module = text.strip_suffix(".weight")?;
            if super::adapter::is_embedding(module) {
                return None;
            }
            let change = self.low_rank_change(module, &text, t.node)?;
            if !used.insert(change.a) || !used.insert(change.b) {
                return None;
            }
            changes.push(change);
        }
        (!changes.is_empty() && wanted.iter().all(|p| used.contains(p))).then_some(changes)
    }

    fn low_rank_change(&self, module: &str, name: &str, node: NodeId) -> Option<LowRank> {
        let Op::Binary(BinaryFn::Add, x, y) = self.graph.node(node).op else { return None };
        let is_base = |n: NodeId| matches!(self.graph.node(n).op, Op::Load(s) if self.graph.sources[s.0 as usize].name == name);
        let delta = if is_base(x) {
            y
        } else if is_base(y) {
            x
        } else {
            return None;
        };
        let (outer, product) = self.unscaled(delta)?;
        let Op::Call { routine, inputs, .. } = &self.graph.node(product).op else { return None };
        let (Routine::MatMul, [b, a]) = (&**routine, &inputs[..]) else { return None };
        let ((of_b, b), (of_a, a)) = (self.unscaled(*b)?, self.unscaled(*a)?);
        let rank = *self.graph.shape(a).first()?;
        let (Op::Parameter(a), Op::Parameter(b)) = (&self.graph.node(a).op, &self.graph.node(b).op) else { return None };
        Some(LowRank { module: module.to_string(), a: *a, b: *b, scale: outer * of_b * of_a, rank })
    }

    /// A node as a number times another; none where the number is known only at the run.
    fn unscaled(&self, node: NodeId) -> Option<(f64, NodeId)> {
        let number = |n: NodeId| match self.graph.shape(n).is_empty() && !self.uses_settings(n) {
            true => self.graph.launch_value(n, &[]),
            false => None,
        };
        let scalar = |n: NodeId| self.graph.shape(n).is_empty();
        match self.graph.node(node).op {
            Op::Binary(BinaryFn::Mul, x, y) if scalar(x) != scalar(y) => {
                let (factor, rest) = if scalar(x) { (x, y) } else { (y, x) };
                let (inner, core) = self.unscaled(rest)?;
                Some((number(factor)? * inner, core))
            }
            Op::Binary(BinaryFn::Div, x, y) if scalar(y) && !scalar(x) => {
                let (inner, core) = self.unscaled(x)?;
                Some((inner / number(y)?, core))
            }
            _ => Some((1.0, node)),
        }
    }

    /// The text of `adapter_config.json` for factors to be trained.
    fn config_of_factors(&mut self, model: &Model, changes: &[LowRank]) -> String {
        let ranks: BTreeMap<String, u64> = changes.iter().map(|c| (c.module.clone(), c.rank)).collect();
        let alphas: BTreeMap<String, f64> = changes.iter().map(|c| (c.module.clone(), c.scale * c.rank as f64)).collect();
        self.peft_config_to_train(model, &ranks, &alphas)
    }
}
