//! The text form of a graph: printed by `mergec emit --ir tir`, parsed by tests.
//!
//! One declaration or node a line; nodes keep their numbers, so that `parse(print(g))` prints the same
//! text again. Declarations that name nodes stand behind them. Spans are not part of the text.

use super::parse_text::Parser;
use super::{Graph, Layer, Node, NodeId, Op, Over};
use merge_abi::{RandomKey, ReduceFn, Role, Routine};
use std::fmt::Write;

/// The graph as text.
pub fn print(graph: &Graph) -> String {
    let mut out = String::new();
    for c in &graph.checkpoints {
        let _ = writeln!(out, "checkpoint {:?} {:?}", c.name, c.path);
    }
    for s in &graph.sources {
        let _ = writeln!(out, "source {} {:?} {} {}", s.checkpoint, s.name, s.dtype, list(&s.shape));
    }
    for s in &graph.settings {
        let range = s.range.map_or(String::new(), |(lo, hi)| format!(" in {lo:?} {hi:?}"));
        let _ = writeln!(out, "setting {:?} {:?}{range}", s.name, s.default);
    }
    for (name, value) in &graph.structural {
        let _ = writeln!(out, "choice {name:?} {value:?}");
    }
    for (id, node) in graph.nodes() {
        let _ = writeln!(out, "{}", line(id, node));
    }
    for c in &graph.constraints {
        let _ = writeln!(out, "require %{} {:?} at {:?}", c.node.0, c.message, c.place);
    }
    for p in &graph.parameters {
        let kind = if p.trainable { "trained" } else { "kept" };
        let _ = writeln!(out, "parameter {:?} {} %{} {kind} {:?}", p.name, list(&p.shape), p.start.0, p.written);
    }
    for n in &graph.networks {
        let inputs: Vec<String> = n.inputs.iter().map(|i| format!(" %{}", i.0)).collect();
        let word = if n.replaces { "module" } else { "network" };
        let _ = writeln!(out, "{word} {:?} %{} of{}", n.name, n.output.0, inputs.concat());
    }
    for r in &graph.reweighted {
        let source = r.source.map_or(String::new(), |s| format!(" of source {}", s.0));
        let _ = writeln!(out, "reweighted {:?} %{}{source}", r.name, r.node.0);
    }
    for o in &graph.outputs {
        let _ = write!(out, "output {:?} {} at {:?}", o.path, o.role.word(), o.place);
        for (word, value) in [("shard", o.shard), ("like", o.like.map(u64::from)), ("tokenizer", o.tokenizer.map(u64::from))] {
            if let Some(value) = value {
                let _ = write!(out, " {word} {value}");
            }
        }
        for (key, value) in &o.config {
            let _ = write!(out, " config {key:?} {value:?}");
        }
        if let Some(config) = &o.adapter {
            let _ = write!(out, " adapter {config:?}");
        }
        if let Some(t) = &o.trained {
            let _ = write!(out, " trained {} {}", t.networks.start, t.networks.end);
            let _ = write!(out, " {} {} {} {:?}", t.reweighted.start, t.reweighted.end, t.starts, t.file);
        }
        out.push('\n');
        for t in &o.tensors {
            let _ = writeln!(out, "  {:?} {} %{}", t.name, t.dtype, t.node.0);
        }
    }
    out
}

/// The graph that a text describes. Nodes must be numbered from 0 in order and all different, as
/// [`print`] writes them.
///
/// # Errors
/// One sentence that names the line.
pub fn parse(text: &str) -> Result<Graph, String> {
    Parser::default().graph(text)
}

/// A node as its line in the text form.
pub fn line(id: NodeId, node: &Node) -> String {
    let body = match &node.op {
        Op::Const(bits) => format!("const {:?}", f64::from_bits(*bits)),
        Op::Setting(s) => format!("setting {}", s.0),
        Op::Literal(bits) => {
            let words: Vec<String> = bits.iter().map(|b| format!("{:?}", f64::from_bits(*b))).collect();
            format!("literal [{}]", words.join(", "))
        }
        Op::Load(s) => format!("load {}", s.0),
        Op::Unary(f, a) => format!("{} %{}", f.name(), a.0),
        Op::Binary(f, a, b) => format!("{} %{} %{}", f.name(), a.0, b.0),
        Op::Select(c, a, b) => format!("select %{} %{} %{}", c.0, a.0, b.0),
        Op::Coord { axis } => format!("coord {axis}"),
        Op::Uniform { key, first } => format!("uniform {} {first}", random(key)),
        Op::Normal { key, first } => format!("normal {} {first}", random(key)),
        Op::Reduce { f, over, input } => format!("reduce {} {} %{}", reduce_name(*f), over_name(*over), input.0),
        Op::Kth { input, k, over } => format!("kth {} %{} %{}", over_name(*over), input.0, k.0),
        Op::TopMask { input, k, over } => format!("topmask {} %{} %{}", over_name(*over), input.0, k.0),
        Op::Rank { input, over } => format!("rank {} %{}", over_name(*over), input.0),
        Op::Slice { input, start } => format!("slice %{} {}", input.0, list(start)),
        Op::Reshape { input } => format!("reshape %{}", input.0),
        Op::Transpose { input, perm } => format!("transpose %{} {}", input.0, list(perm)),
        Op::Concat { axis, inputs } => {
            let words: Vec<String> = inputs.iter().map(|i| format!("%{}", i.0)).collect();
            format!("concat {axis} {}", words.join(" "))
        }
        Op::Call { routine, result, inputs } => {
            let mut words = vec![format!("call {}", settled(routine)), result.to_string()];
            words.extend(inputs.iter().map(|i| format!("%{}", i.0)));
            words.join(" ")
        }
        Op::Parameter(p) => format!("parameter {}", p.0),
        Op::Layer { layer, inputs } => {
            let mut words = vec![format!("layer {}", layer_words(layer))];
            words.extend(inputs.iter().map(|i| format!("%{}", i.0)));
            words.join(" ")
        }
    };
    format!("%{} = {body} : {}", id.0, list(&node.shape))
}

/// A layer with what the recipe settles about it.
fn layer_words(layer: &Layer) -> String {
    let name = layer.name();
    match layer {
        Layer::Input { name: which } | Layer::Module { name: which } => format!("{name} {which:?}"),
        Layer::Conv { strides, pads, groups } => {
            let flat: Vec<u64> = pads.iter().flat_map(|(a, b)| [*a, *b]).collect();
            format!("{name} {} {} {groups}", list(strides), list(&flat))
        }
        Layer::Pool { size, stride, .. } => format!("{name} {size} {stride}"),
        Layer::BatchNorm { epsilon, axis } => format!("{name} {:?} {axis}", f64::from_bits(*epsilon)),
        Layer::MatMul | Layer::Dropout | Layer::Embedding => name.to_owned(),
    }
}

/// A routine with what the recipe settles about it.
fn settled(routine: &Routine) -> String {
    let name = routine.name();
    match routine {
        Routine::Svd { rank } => format!("{name} {rank}"),
        Routine::Sort { largest_first } | Routine::SortIndex { largest_first } | Routine::Rank { largest_first } => {
            format!("{name} {}", if *largest_first { "down" } else { "up" })
        }
        Routine::Take { axis } => format!("{name} {axis}"),
        Routine::Scatter { axis, len } => format!("{name} {axis} {len}"),
        Routine::Indices { count } => format!("{name} {count}"),
        Routine::Assignment { maximize } => format!("{name} {}", if *maximize { "most" } else { "least" }),
        Routine::KMeans { k, key } => format!("{name} {k} {}", random(key)),
        Routine::Permutation { n, key } => format!("{name} {n} {}", random(key)),
        _ => name.to_owned(),
    }
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let words: Vec<String> = items.iter().map(|i| i.to_string()).collect();
    format!("[{}]", words.join(", "))
}

fn random(key: &RandomKey) -> String {
    format!("{} {}", key.seed.map_or("run".to_owned(), |s| s.to_string()), key.stream)
}

/// The word of a reduction in text forms.
pub(super) const fn reduce_name(f: ReduceFn) -> &'static str {
    match f {
        ReduceFn::Sum => "sum",
        ReduceFn::Min => "min",
        ReduceFn::Max => "max",
    }
}

const fn over_name(over: Over) -> &'static str {
    match over {
        Over::All => "all",
        Over::Rows => "rows",
    }
}

/// The role that a word names.
pub(super) fn role(word: &str) -> Option<Role> {
    [Role::Weights, Role::Deltas, Role::Statistics].into_iter().find(|r| r.word() == word)
}
