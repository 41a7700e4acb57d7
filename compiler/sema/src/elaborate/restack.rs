//! Models made of parts of others: `restack`, `without`; and `names`, which lists them.

use super::context::Cx;
use super::expressions::Frame;
use super::index::Domains;
use super::model::Model;
use super::names::NameId;
use crate::codes::{models as codes, types};
use crate::hir::{Arg, Callee, ExprKind};
use crate::pattern::{Matches, Pattern};
use crate::value::{Args, Argument, Reported, Value};
use merge_base::{Diagnostic, Span};
use rustc_hash::FxHashMap;
use std::rc::Rc;

impl<'p> Cx<'p> {
    /// `without(model, "pattern")` and `names(model, "pattern")`.
    pub(super) fn by_pattern(&mut self, name: &'static str, args: &'p [Arg], span: Span, frame: &mut Frame) -> Value {
        // The pattern is read as it is written; only its holes are evaluated.
        let pattern = args.iter().find_map(|a| match &a.value.kind {
            ExprKind::SubModel(p) => Some(p),
            _ => None,
        });
        let mut given = Vec::with_capacity(args.len());
        for arg in args {
            let value = match &arg.value.kind {
                ExprKind::SubModel(p) => Value::Str(p.text().into()),
                _ => self.expr(&arg.value, frame),
            };
            given.push(Argument { value, span: arg.value.span, parts: None });
        }
        let Ok(bound) = self.bind_arguments(Callee::Primitive(name), args, given) else { return Value::Poison };
        let Some(Some(model_arg)) = bound.first() else { return Value::Poison };
        let model = match &model_arg.value {
            Value::Model(m) => m.clone(),
            Value::Poison => return Value::Poison,
            other => {
                let message = format!("`{name}` wants a model, and this is {}", other.kind());
                self.error(types::WRONG_KIND, message, model_arg.span, "");
                return Value::Poison;
            }
        };
        let filled = match pattern {
            None => None,
            Some(p) => {
                let captures = p.captures().iter().map(|c| c.domain.as_ref()).collect();
                let (Ok(p), Ok(domains)) = (self.fill_pattern(p, frame), self.domains(captures, frame)) else {
                    return Value::Poison;
                };
                Some((p, domains))
            }
        };
        let exact = bound.get(1).and_then(Option::as_ref).map(|a| (a.value.clone(), a.span));
        let Ok(names) = model.names(self) else { return Value::Poison };
        let fits = |cx: &Cx<'p>, id: NameId| match (&filled, &exact) {
            (Some((p, domains)), _) => matches(p, domains, cx.names.text(id)),
            (None, Some((Value::Str(s), _))) => **s == **cx.names.text(id),
            (None, _) => true,
        };
        let chosen: Vec<NameId> = names.iter().copied().filter(|id| fits(self, *id)).collect();
        if name == "names" {
            return Value::List(chosen.iter().map(|id| Value::Str(self.names.text(*id).clone())).collect());
        }
        if chosen.is_empty() {
            let at = exact.map_or(span, |e| e.1);
            let message = format!("no tensor of {} matches this pattern", self.describe(model_arg.span));
            let mut d = Diagnostic::new(codes::NO_SUCH_TENSOR, message, at, "nothing is left out");
            if let Some(first) = names.first() {
                d = d.note(format!("its names look like `{}`", self.names.text(*first)));
            }
            self.report(d);
            return Value::Poison;
        }
        let parts: FxHashMap<_, _> = names.iter().filter(|id| !fits(self, **id)).map(|id| (*id, (model.clone(), *id))).collect();
        Value::Model(Model::of_parts(parts, model.origin))
    }

    /// `restack(prefix, layers, rest: model)`: the layers listed as (model, layer), numbered anew; every tensor
    /// outside the prefix from `rest`.
    pub(super) fn restack(&mut self, args: &Args, _span: Span) -> Value {
        let (Some(prefix), Some(layers), Some(rest)) = (args.get(0), args.get(1), args.get(2)) else { return Value::Poison };
        if [prefix, layers, rest].iter().any(|a| a.value.is_poison()) {
            return Value::Poison;
        }
        let (Value::Str(text), Value::List(list), Value::Model(rest_model)) = (&prefix.value, &layers.value, &rest.value) else {
            let message = "`restack` wants a prefix, a list of (model, layer) and the model for the rest";
            let d = Diagnostic::new(types::WRONG_KIND, message, layers.span, "")
                .help("restack(\"model.layers\", [(base, l) for l in 0..16], rest: base)");
            self.report(d);
            return Value::Poison;
        };
        let prefix_text = format!("{}.", text.trim_end_matches('.'));
        let mut parts = FxHashMap::default();
        // Tensors of each layer, by model: the name behind the number.
        let mut known: Vec<(Rc<Model>, Layers)> = Vec::new();
        for (new, member) in list.iter().enumerate() {
            let (model, layer) = match member {
                Value::Tuple(pair) => match pair.as_ref() {
                    [Value::Model(m), Value::Int(l)] => (m.clone(), *l),
                    _ => return self.not_a_layer(member, layers.part(new)),
                },
                _ => return self.not_a_layer(member, layers.part(new)),
            };
            let at = match known.iter().position(|(m, _)| Rc::ptr_eq(m, &model)) {
                Some(at) => at,
                None => match self.layers_of(&model, &prefix_text) {
                    Ok(found) => {
                        known.push((model.clone(), found));
                        known.len() - 1
                    }
                    Err(_) => return Value::Poison,
                },
            };
            let Some(tensors) = known[at].1.get(&layer).cloned() else {
                let last = known[at].1.keys().max().copied();
                let message = format!("there is no layer {layer} under `{}`", text);
                let mut d = Diagnostic::new(codes::NO_SUCH_TENSOR, message, layers.part(new), "");
                d = match last {
                    Some(last) => d.note(format!("the last layer is {last}")),
                    None => d
                        .note("this model has no layers there")
                        .help("the prefix is what stands before the number: `model.layers`"),
                };
                self.report(d);
                return Value::Poison;
            };
            for (suffix, old) in tensors {
                let name = self.names.id(&format!("{prefix_text}{new}.{suffix}"));
                parts.insert(name, (model.clone(), old));
            }
        }
        let Ok(names) = rest_model.names(self) else { return Value::Poison };
        for id in names.iter() {
            if layer_of(self.names.text(*id), &prefix_text).is_none() {
                parts.insert(*id, (rest_model.clone(), *id));
            }
        }
        Value::Model(Model::of_parts(parts, rest_model.origin))
    }

    fn not_a_layer(&mut self, member: &Value, span: Span) -> Value {
        if !member.is_poison() {
            let message = format!("a layer is a tuple of a model and an int, and this is {}", member.kind());
            self.error(types::WRONG_KIND, message, span, "");
        }
        Value::Poison
    }

    fn layers_of(&mut self, model: &Rc<Model>, prefix: &str) -> Result<Layers, Reported> {
        let mut layers = Layers::default();
        for id in model.names(self)?.iter() {
            if let Some((layer, suffix)) = layer_of(self.names.text(*id), prefix) {
                layers.entry(layer).or_default().push((suffix.to_string(), *id));
            }
        }
        Ok(layers)
    }
}

/// Tensors by layer, each with the name behind the layer's number.
type Layers = FxHashMap<i64, Vec<(String, NameId)>>;

/// The number behind `prefix` and what follows it.
fn layer_of<'a>(name: &'a str, prefix: &str) -> Option<(i64, &'a str)> {
    let (number, suffix) = name.strip_prefix(prefix)?.split_once('.')?;
    Some((number.parse().ok()?, suffix))
}

fn matches(pattern: &Pattern, domains: &Domains, name: &str) -> bool {
    pattern.matches(name, &|c, v| domains.holds(c, v)) != Matches::No
}
