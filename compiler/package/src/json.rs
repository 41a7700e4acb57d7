//! `graph.json`: the computational graph, a node a line.
//!
//! Nodes are numbered anew, from 0, in an order in which operands stand before users; what a parameter starts as is not among
//! them, since its values are in a file. The schema is `docs/schemas/graph.schema.json`; a new op or attribute is no new format, a changed meaning is.

use crate::pieces::Pieces;
use crate::{Package, is_taken};
use merge_abi::{OutFile, RandomKey, ReduceFn, Routine, SettingId};
use merge_ir::tir::{Costs, Layer, NodeId, Op, Over, PARAMETER_DTYPE, ParameterId, needed};
use serde_json::{Map, Value, json};

/// What the file says it is.
pub const FORMAT: &str = "merge.graph/1";

pub(crate) fn file(package: &Package<'_>) -> OutFile {
    let needed = needed(package.graph, &package.roots);
    let mut numbers = vec![0; needed.len()];
    let mut count = 0u64;
    for (number, _) in numbers.iter_mut().zip(&needed).filter(|(_, needed)| **needed) {
        *number = count;
        count += 1;
    }
    // An input that nothing looks at still is one.
    let mut unread: Vec<NodeId> = package.networks.iter().flat_map(|n| &n.inputs).copied().collect();
    unread.retain(|i| !needed.get(i.0 as usize).is_some_and(|n| *n));
    unread.sort_unstable();
    unread.dedup();
    let number = |id: NodeId| match unread.binary_search(&id) {
        Ok(at) => count + at as u64,
        Err(_) => numbers[id.0 as usize],
    };

    let mut out = Pieces::default();
    out.text("{\n");
    out.entry("format", FORMAT, false);
    out.list("networks", package.networks.iter().map(|n| {
        let inputs: Vec<Value> = n.inputs.iter().map(|i| {
            json!({ "name": input_name(package, *i), "node": number(*i), "shape": shape(package, *i) })
        }).collect();
        let kind = if n.replaces { "module" } else { "network" };
        json!({ "name": n.name, "kind": kind, "inputs": inputs, "output": { "node": number(n.output), "shape": shape(package, n.output) } })
    }));
    out.list(
        "reweighted",
        package.reweighted.iter().map(|r| {
            let mut entry = json!({ "name": r.name, "node": number(r.node), "shape": shape(package, r.node) });
            if let Some(source) = r.source.and_then(|s| package.graph.sources.get(s.0 as usize)) {
                entry["of"] = json!({ "checkpoint": checkpoint(package, source.checkpoint), "tensor": source.name });
            }
            entry
        }),
    );
    out.list("parameters", package.parameters.iter().map(|p| parameter(package, *p)));
    out.text("  \"nodes\": [");
    let scopes = package.graph.scope_names();
    let nodes = package.graph.nodes().filter(|(id, _)| needed.get(id.0 as usize).is_some_and(|n| *n) || unread.contains(id));
    let mut ordered: Vec<_> = nodes.collect();
    ordered.sort_by_key(|(id, _)| number(*id));
    for (i, (id, node)) in ordered.into_iter().enumerate() {
        out.text(if i == 0 { "\n    " } else { ",\n    " });
        let (op, attributes) = described(package, &node.op);
        let operands: Vec<u64> = node.op.operands().into_iter().map(&number).collect();
        let mut entry = Map::new();
        entry.insert("id".into(), number(id).into());
        entry.insert("op".into(), op.into());
        entry.insert("inputs".into(), operands.into());
        entry.insert("shape".into(), json!(&node.shape[..]));
        entry.insert("place".into(), (package.about.place)(node.span).into());
        entry.insert("scope".into(), scopes[id.0 as usize].into());
        entry.insert("attributes".into(), attributes.into());
        let line = Value::Object(entry).to_string();
        match node.op {
            // The value comes last, and the runtime knows it.
            Op::Setting(id) => {
                out.text(line.trim_end_matches("null}}"));
                out.setting(id);
                out.text("}}");
            }
            _ => out.text(&line),
        }
    }
    out.text("\n  ],\n");
    out.entry("costs", costs(package.costs), true);
    out.text("}\n");
    OutFile { name: crate::GRAPH.into(), pieces: out.finish() }
}

/// Counts as JSON.
pub(crate) fn costs(costs: Costs) -> Value {
    json!({ "params": costs.params, "trainable": costs.trainable, "bytes": costs.bytes, "flops": costs.flops })
}

/// A parameter as both files list it.
pub(crate) fn parameter(package: &Package<'_>, id: ParameterId) -> Value {
    let p = &package.graph.parameters[id.0 as usize];
    let mut entry = json!({
        "name": p.name,
        "shape": &p.shape[..],
        "dtype": PARAMETER_DTYPE.safetensors_name(),
        "trainable": p.trainable,
        "start": p.written,
    });
    if let Some(tensor) = package.tensor(id) {
        entry["file"] = package.file.into();
        if is_taken(package.graph, package.output.tensors[tensor as usize].node) {
            entry["taken"] = true.into();
        }
    }
    entry
}

/// The choices that shaped the graph and the values of settings, by name.
pub(crate) fn choices(package: &Package<'_>, out: &mut Pieces) {
    out.text("  \"choices\": {");
    let structural = package.graph.structural.iter().map(|(name, value)| (name.as_str(), Choice::Settled(value)));
    for (i, (name, value)) in structural.chain(of_settings(package)).enumerate() {
        out.text(if i == 0 { "\n    " } else { ",\n    " });
        out.text(&format!("{}: ", Value::from(name)));
        match value {
            Choice::Settled(text) => out.text(&word(text).to_string()),
            Choice::Number(setting) => out.setting(setting),
            Choice::Simplex(parts) => {
                out.text("[");
                for part in &parts {
                    out.setting(*part);
                    out.text(", ");
                }
                out.rest(parts);
                out.text("]");
            }
        }
    }
    out.text("\n  },\n");
}

/// What a decision was answered with.
enum Choice<'a> {
    Settled(&'a str),
    Number(SettingId),
    /// All parts but the last, which they leave.
    Simplex(Vec<SettingId>),
}

/// Settings by their decisions. Those of a simplex are called `w.0`, `w.1` .., one behind the other, and no name has a number for its last word
/// otherwise.
fn of_settings<'a>(package: &Package<'a>) -> Vec<(&'a str, Choice<'a>)> {
    let mut found: Vec<(&'a str, Choice<'a>)> = Vec::new();
    for (i, setting) in package.graph.settings.iter().enumerate() {
        let id = SettingId(i as u32);
        let part = setting.name.rsplit_once('.').filter(|(_, last)| last.bytes().all(|b| b.is_ascii_digit()));
        match (part, found.last_mut()) {
            (Some((name, _)), Some((known, Choice::Simplex(parts)))) if *known == name => parts.push(id),
            (Some((name, _)), _) => found.push((name, Choice::Simplex(vec![id]))),
            (None, _) => found.push((&setting.name, Choice::Number(id))),
        }
    }
    found
}

/// A choice as JSON: numbers, truth values and lists of them as such, all else as text.
fn word(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::Array(_))) => value,
        _ => text.into(),
    }
}

fn shape<'a>(package: &Package<'a>, id: NodeId) -> &'a [u64] {
    package.graph.shape(id)
}

fn checkpoint<'a>(package: &Package<'a>, index: u32) -> &'a str {
    package.graph.checkpoints.get(index as usize).map_or("", |c| &c.name)
}

/// What an input is called.
pub(crate) fn input_name<'a>(package: &Package<'a>, id: NodeId) -> &'a str {
    match &package.graph.node(id).op {
        Op::Layer { layer, .. } => match &**layer {
            Layer::Input { name } => name,
            _ => "",
        },
        _ => "",
    }
}

/// A number that JSON may not be able to say.
fn number(bits: u64) -> Value {
    let x = f64::from_bits(bits);
    if x.is_finite() { x.into() } else { format!("{x}").into() }
}

/// An operation's word and its attributes; that of a setting ends with a value to be filled in.
fn described(package: &Package<'_>, op: &Op) -> (&'static str, Map<String, Value>) {
    let none = json!({});
    let (word, attributes) = match op {
        Op::Const(bits) => ("const", json!({ "value": number(*bits) })),
        Op::Setting(id) => {
            let name = package.graph.settings.get(id.0 as usize).map_or("", |s| &s.name);
            ("const", json!({ "setting": name, "value": null }))
        }
        Op::Literal(bits) => ("literal", json!({ "values": bits.iter().map(|b| number(*b)).collect::<Vec<_>>() })),
        Op::Load(id) => {
            let s = &package.graph.sources[id.0 as usize];
            let from = checkpoint(package, s.checkpoint);
            ("load", json!({ "checkpoint": from, "tensor": s.name, "dtype": s.dtype.safetensors_name() }))
        }
        Op::Unary(f, _) => (f.name(), none),
        Op::Binary(f, ..) => (f.name(), none),
        Op::Select(..) => ("select", none),
        Op::Coord { axis } => ("coord", json!({ "axis": axis })),
        Op::Uniform { key, first } => ("uniform", random(key, Some(*first))),
        Op::Normal { key, first } => ("normal", random(key, Some(*first))),
        Op::Reduce { f, over, .. } => {
            let word = match f {
                ReduceFn::Sum => "reduce_sum",
                ReduceFn::Min => "reduce_min",
                ReduceFn::Max => "reduce_max",
            };
            (word, ranged(*over))
        }
        Op::Kth { over, .. } => ("kth", ranged(*over)),
        Op::TopMask { over, .. } => ("topmask", ranged(*over)),
        Op::Rank { over, .. } => ("rank", ranged(*over)),
        Op::Slice { start, .. } => ("slice", json!({ "start": &start[..] })),
        Op::Reshape { .. } => ("reshape", none),
        Op::Transpose { perm, .. } => ("transpose", json!({ "perm": &perm[..] })),
        Op::Concat { axis, .. } => ("concat", json!({ "axis": axis })),
        Op::Call { routine, result, .. } => {
            let mut attributes = settled(routine);
            attributes["routine"] = routine.name().into();
            attributes["result"] = (*result).into();
            ("call", attributes)
        }
        Op::Parameter(id) => ("parameter", json!({ "name": package.graph.parameters[id.0 as usize].name })),
        Op::Layer { layer, .. } => (layer.name(), layer_attributes(layer)),
    };
    match attributes {
        Value::Object(map) => (word, map),
        _ => (word, Map::new()),
    }
}

fn ranged(over: Over) -> Value {
    json!({ "over": match over { Over::All => "all", Over::Rows => "rows" } })
}

fn random(key: &RandomKey, first: Option<u64>) -> Value {
    let mut entry = json!({ "seed": key.seed, "stream": key.stream });
    if let Some(first) = first {
        entry["first"] = first.into();
    }
    entry
}

/// What the recipe settles about a routine.
fn settled(routine: &Routine) -> Value {
    match routine {
        Routine::Svd { rank } => json!({ "rank": rank }),
        Routine::Sort { largest_first } | Routine::SortIndex { largest_first } | Routine::Rank { largest_first } => {
            json!({ "largest_first": largest_first })
        }
        Routine::Take { axis } => json!({ "axis": axis }),
        Routine::Scatter { axis, len } => json!({ "axis": axis, "len": len }),
        Routine::Indices { count } => json!({ "count": count }),
        Routine::Assignment { maximize } => json!({ "maximize": maximize }),
        Routine::KMeans { k, key } => json!({ "k": k, "key": random(key, None) }),
        Routine::Permutation { n, key } => json!({ "n": n, "key": random(key, None) }),
        _ => json!({}),
    }
}

fn layer_attributes(layer: &Layer) -> Value {
    match layer {
        Layer::Input { name } | Layer::Module { name } => json!({ "name": name }),
        Layer::Conv { strides, pads, groups } => {
            let pads: Vec<[u64; 2]> = pads.iter().map(|(before, behind)| [*before, *behind]).collect();
            json!({ "strides": &strides[..], "pads": pads, "groups": groups })
        }
        Layer::Pool { size, stride, .. } => json!({ "size": size, "stride": stride }),
        Layer::BatchNorm { epsilon, axis } => json!({ "epsilon": number(*epsilon), "axis": axis }),
        Layer::MatMul | Layer::Dropout | Layer::Embedding => json!({}),
    }
}
