//! `save d to "folder" as peft`: deltas that are products of factors, as a LoRA that PEFT reads.
//!
//! Scales stand in the first factor and alpha is the rank, so that PEFT multiplies by 1. What has no factors is
//! refused here with a remedy, and nothing is rounded to a rank on the way.

use super::Origin;
use super::config::Pattern;
use super::factors::Pair;
use super::nodes::Nodes;
use crate::codes::{adapters as codes, models};
use crate::elaborate::{Cx, Model, NameId, show_shape};
use crate::value::{Reported, TensorVal};
use merge_base::{Diagnostic, Span, list_names};
use merge_ir::tir::{NodeId, Op};
use rustc_hash::FxHashSet;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Last parts of the paths of modules that PEFT takes for embeddings: their factors have other names and are turned.
const EMBEDDINGS: [&str; 11] = [
    "embed_tokens",
    "wte",
    "wpe",
    "word_embeddings",
    "position_embeddings",
    "token_type_embeddings",
    "tok_embeddings",
    "embed_positions",
    "embed_in",
    "word_embedding",
    "shared",
];

/// Whether PEFT takes a module for an embedding, by the last part of its path.
pub(in crate::elaborate) fn is_embedding(module: &str) -> bool {
    EMBEDDINGS.contains(&module.rsplit('.').next().unwrap_or(module))
}

/// Model types whose matrices are stored `[in, out]` (`Conv1D` of transformers).
const FAN_IN_FAN_OUT: [&str; 4] = ["gpt2", "imagegpt", "decision_transformer", "openai-gpt"];

/// Keys of `adapter_config.json` that the recipe may set; all others follow from the factors.
const SETTABLE: [&str; 5] = ["base_model_name_or_path", "task_type", "revision", "inference_mode", "auto_mapping"];

/// How the factors of a tensor are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Matrix,
    /// Stored `[in, out]`.
    Turned,
    Embedding,
    Kernel,
}

/// A LoRA to be written: its tensors, and the text of its config.
pub(in crate::elaborate) struct Peft {
    pub tensors: Vec<(String, NodeId)>,
    pub config: String,
}

impl<'p> Cx<'p> {
    /// The deltas of a model as factors under PEFT's names. `config` are keys that the recipe sets.
    pub(in crate::elaborate) fn as_peft(
        &mut self,
        model: &Model,
        deltas: &[(NameId, TensorVal)],
        config: &[(String, String)],
        span: Span,
    ) -> Result<Peft, Reported> {
        if let Some((key, _)) = config.iter().find(|(key, _)| !SETTABLE.contains(&&**key)) {
            let message = format!("`{key}` of an adapter's config follows from its factors");
            let d = Diagnostic::new(models::BAD_SAVE_SETTING, message, span, "");
            return Err(self.report(d.help(format!("what can be set is {}", list_names(&SETTABLE, 5)))));
        }
        let all_turned = self.is_fan_in_fan_out(model);
        let mut any_turned = false;
        let mut tensors = BTreeMap::new();
        let mut ranks = BTreeMap::new();
        let mut sources = FxHashSet::default();
        let mut faults = Vec::new();
        for (name, delta) in deltas {
            if self.counts_as_zero(delta) {
                continue;
            }
            let text = self.names.text(*name).clone();
            let shape = self.shape(delta);
            let pair = (Nodes { cx: self, span }).pair_of(delta.node);
            let (Some(module), Some(pair)) = (text.strip_suffix(".weight"), pair) else {
                faults.push((text.to_string(), show_shape(&shape), shape.len()));
                continue;
            };
            let form = match shape.len() {
                2 if self.adapters.embeddings.contains(name) || is_embedding(module) => Form::Embedding,
                2 if all_turned || self.adapters.turned.contains(name) => Form::Turned,
                2 => Form::Matrix,
                _ => Form::Kernel,
            };
            any_turned |= form == Form::Turned;
            self.write_pair(module, pair, &shape, form, &mut tensors, span);
            ranks.insert(module.to_string(), pair.rank);
            self.adapters_under(delta.node, &mut sources);
        }
        if !faults.is_empty() {
            return Err(self.not_factored(&faults, span));
        }
        if ranks.is_empty() {
            return Err(self.error(models::EMPTY_MODEL, "this adapter would change nothing", span, ""));
        }
        let origins: Vec<Origin> = sources.iter().filter_map(|c| self.adapters.origins.get(c).cloned()).collect();
        let config = self.peft_config(model, &ranks, &origins, any_turned, config);
        Ok(Peft { tensors: tensors.into_iter().collect(), config })
    }

    fn not_factored(&mut self, faults: &[(String, String, usize)], span: Span) -> Reported {
        let names: Vec<&str> = faults.iter().map(|f| &*f.0).collect();
        let of = if names.len() == 1 { "it" } else { "them" };
        let message = format!("{} cannot be saved as a LoRA: no factors are known of {of}", list_names(&names, 3));
        let mut d =
            Diagnostic::new(codes::NOT_FACTORED, message, span, "").note(format!("`{}` has {}", faults[0].0, faults[0].1));
        if faults.iter().any(|f| f.2 == 2) {
            d = d.help("`low_rank(x, rank: r)` gives the nearest product of rank `r`, and the run prints how near");
        }
        if faults.iter().any(|f| f.2 != 2) {
            d = d.help("leave out what is no matrix, `without(d, \"**.bias\")`, or pick the matrices: `d[\"**.{q_proj|v_proj}.weight\"]`");
        }
        self.report(d)
    }

    fn write_pair(
        &mut self,
        module: &str,
        pair: Pair,
        shape: &[u64],
        form: Form,
        tensors: &mut BTreeMap<String, NodeId>,
        span: Span,
    ) {
        let mut nodes = Nodes { cx: self, span };
        let (a, b) = match form {
            Form::Matrix => (pair.a, pair.b),
            // PEFT turns the product of these round.
            Form::Turned | Form::Embedding => (nodes.transposed(pair.b), nodes.transposed(pair.a)),
            Form::Kernel => {
                let inner: Vec<u64> = [pair.rank].into_iter().chain(shape[1..].iter().copied()).collect();
                let ones = vec![1; shape.len() - 2];
                let outer: Vec<u64> = [shape[0], pair.rank].into_iter().chain(ones).collect();
                (nodes.reshaped(pair.a, &inner), nodes.reshaped(pair.b, &outer))
            }
        };
        let (a_name, b_name) = match form {
            Form::Embedding => ("lora_embedding_A", "lora_embedding_B"),
            _ => ("lora_A.weight", "lora_B.weight"),
        };
        tensors.insert(format!("base_model.model.{module}.{a_name}"), a);
        tensors.insert(format!("base_model.model.{module}.{b_name}"), b);
    }

    /// The adapters that a delta is made of.
    fn adapters_under(&self, node: NodeId, found: &mut FxHashSet<u32>) {
        let (mut todo, mut seen) = (vec![node], FxHashSet::default());
        while let Some(n) = todo.pop() {
            if !seen.insert(n) {
                continue;
            }
            let op = &self.graph.node(n).op;
            if let Op::Load(source) = op {
                let checkpoint = self.graph.sources[source.0 as usize].checkpoint;
                if self.adapters.origins.contains_key(&checkpoint) {
                    found.insert(checkpoint);
                }
            }
            op.each_operand(|n| todo.push(n));
        }
    }

    /// Whether the matrices of the base are stored `[in, out]`, by what its config says it is.
    pub(in crate::elaborate) fn is_fan_in_fan_out(&mut self, model: &Model) -> bool {
        let Some(origin) = model.origin else { return false };
        let path = self.opened[origin as usize].path.clone();
        let Ok(Some(text)) = self.checkpoints.beside(&path, "config.json") else { return false };
        let config: Value = serde_json::from_str(&text).unwrap_or_default();
        config.get("model_type").and_then(Value::as_str).is_some_and(|t| FAN_IN_FAN_OUT.contains(&t))
    }

    fn peft_config(
        &mut self,
        model: &Model,
        ranks: &BTreeMap<String, u64>,
        origins: &[Origin],
        turned: bool,
        set: &[(String, String)],
    ) -> String {
        let agreed = |pick: fn(&Origin) -> &Option<String>| {
            let first = origins.first().and_then(|o| pick(o).clone());
            first.filter(|f| origins.iter().all(|o| pick(o).as_deref() == Some(f)))
        };
        let base = agreed(|o| &o.base).or_else(|| model.origin.map(|o| self.opened[o as usize].path.clone()));
        let (r, pattern) = rank_pattern(ranks);
        let mut config = json!({
            "peft_type": "LORA",
            "auto_mapping": null,
            "base_model_name_or_path": base,
            "bias": "none",
            "fan_in_fan_out": turned,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": r,
            "lora_dropout": 0.0,
            "modules_to_save": null,
            "r": r,
            "rank_pattern": pattern,
            "alpha_pattern": pattern,
            "revision": null,
            "target_modules": self.target_modules(model, ranks),
            "task_type": agreed(|o| &o.task_type),
            "use_dora": false,
            "use_rslora": false,
        });
        for (key, text) in set {
            config[key] = serde_json::from_str(text).unwrap_or(Value::Null);
        }
        format!("{config:#}\n")
    }

    /// The text of the config of factors to be trained: `alphas` are the scales times the ranks.
    pub(in crate::elaborate) fn peft_config_to_train(
        &mut self,
        model: &Model,
        ranks: &BTreeMap<String, u64>,
        alphas: &BTreeMap<String, f64>,
    ) -> String {
        let text = self.peft_config(model, ranks, &[], false, &[]);
        let mut config: Value = serde_json::from_str(&text).unwrap_or_default();
        let (alpha, pattern) = alpha_pattern(alphas);
        config["lora_alpha"] = number(alpha);
        config["alpha_pattern"] = Value::Object(pattern);
        config["inference_mode"] = json!(false);
        format!("{config:#}\n")
    }

    /// Last parts of paths where these name all modules of the base that end so; else whole paths.
    fn target_modules(&mut self, model: &Model, ranks: &BTreeMap<String, u64>) -> Vec<String> {
        let last = |path: &str| path.rsplit('.').next().unwrap_or(path).to_string();
        let whole: Vec<String> = ranks.keys().cloned().collect();
        let Some(origin) = model.origin else { return whole };
        let mut short: Vec<String> = ranks.keys().map(|m| last(m)).collect();
        short.sort();
        short.dedup();
        let names = self.opened[origin as usize].names.clone();
        let more = names
            .iter()
            .filter_map(|n| self.names.text(*n).strip_suffix(".weight"))
            .any(|module| short.binary_search(&last(module)).is_ok() && !ranks.contains_key(module));
        if more { whole } else { short }
    }
}

/// The commonest rank (of equally common ones the largest), and the ranks of all modules that PEFT would not give it.
///
/// PEFT reads a pattern as an expression that may fit the end of other paths too, and takes the first that fits:
/// so long paths come first, and a module that another's pattern fits is listed even if its rank is the common one.
fn rank_pattern(ranks: &BTreeMap<String, u64>) -> (u64, Map<String, Value>) {
    let as_numbers = ranks.iter().map(|(m, r)| (m.clone(), *r as f64)).collect();
    let (common, pattern) = alpha_pattern(&as_numbers);
    (common as u64, pattern)
}

/// A number as JSON, an int where it is one.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 { json!(x as i64) } else { json!(x) }
}

/// The same of any positive numbers.
fn alpha_pattern(ranks: &BTreeMap<String, f64>) -> (f64, Map<String, Value>) {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    // The bits of positive numbers are in their order.
    ranks.values().for_each(|r| *counts.entry(r.to_bits()).or_default() += 1);
    let common = counts.iter().max_by_key(|(rank, count)| (**count, **rank)).map_or(1.0, |(rank, _)| f64::from_bits(*rank));
    let dots = |path: &str| path.matches('.').count();
    let order = |a: &&String, b: &&String| b.len().cmp(&a.len()).then(dots(a).cmp(&dots(b))).then(a.cmp(b));
    let mut listed: Vec<&String> = ranks.iter().filter(|(_, r)| **r != common).map(|(m, _)| m).collect();
    loop {
        listed.sort_by(order);
        let patterns: Vec<Pattern> = listed.iter().filter_map(|m| Pattern::new(m, ranks[*m])).collect();
        let wrong = |(module, rank): &(&String, &f64)| Pattern::first(&patterns, module).unwrap_or(common) != **rank;
        match ranks.iter().find(|entry| wrong(entry) && !listed.contains(&entry.0)) {
            Some((module, _)) => listed.push(module),
            None => break,
        }
    }
    (common, listed.into_iter().map(|m| (m.clone(), number(ranks[m]))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_that_differ_are_listed_and_their_patterns_fit_no_other_module() {
        let ranks = |list: &[(&str, u64)]| list.iter().map(|(m, r)| (m.to_string(), *r)).collect::<BTreeMap<_, _>>();
        let (r, pattern) = rank_pattern(&ranks(&[("l.0.q", 8), ("l.1.q", 8), ("l.2.q", 4)]));
        assert_eq!((r, Value::Object(pattern)), (8, json!({"l.2.q": 4})));
        let (r, pattern) = rank_pattern(&ranks(&[("a.q", 8), ("b.a.q", 2), ("c.a.q", 2)]));
        assert_eq!(r, 2);
        let keys: Vec<&str> = pattern.keys().map(String::as_str).collect();
        assert_eq!(keys, ["b.a.q", "c.a.q", "a.q"], "the pattern `a.q` fits all three, so the others come first");
        let (r, pattern) = rank_pattern(&ranks(&[("q", 4), ("k", 2)]));
        assert_eq!((r, Value::Object(pattern)), (4, json!({"k": 2})), "of equally common ranks the largest");
    }
}
