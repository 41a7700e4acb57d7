//! Checks the invariants of a graph that the module comment of `tir` lists.

use super::{Graph, Node, NodeId, Op, Over};

/// The invariants that do not hold, one sentence each.
pub fn verify(graph: &Graph) -> Vec<String> {
    let mut problems = Vec::new();
    for (id, node) in graph.nodes() {
        if let Err(what) = check(graph, id, node) {
            problems.push(format!("%{}: {what}", id.0));
        }
    }
    for (n, source) in graph.sources.iter().enumerate() {
        if source.checkpoint as usize >= graph.checkpoints.len() {
            problems.push(format!("source {n} belongs to no checkpoint"));
        }
    }
    for constraint in &graph.constraints {
        if constraint.node.0 as usize >= graph.len() || !graph.shape(constraint.node).is_empty() {
            problems.push(format!("the constraint at {} is not about a scalar", constraint.place));
        }
    }
    for network in &graph.networks {
        if network.inputs.iter().chain([&network.output]).any(|n| n.0 as usize >= graph.len()) {
            problems.push(format!("`{}` has no node", network.name));
        }
    }
    for tensor in graph.reweighted.iter().filter(|t| t.node.0 as usize >= graph.len()) {
        problems.push(format!("`{}` has no node", tensor.name));
    }
    for parameter in graph.parameters.iter().filter(|p| p.start.0 as usize >= graph.len()) {
        problems.push(format!("`{}` has no start value", parameter.name));
    }
    for output in &graph.outputs {
        for tensor in output.tensors.iter().filter(|t| t.node.0 as usize >= graph.len()) {
            problems.push(format!("`{}` of {} has no node", tensor.name, output.path));
        }
        for checkpoint in output.like.iter().chain(&output.tokenizer) {
            if *checkpoint as usize >= graph.checkpoints.len() {
                problems.push(format!("{} names a checkpoint that is not there", output.path));
            }
        }
    }
    problems
}

fn check(graph: &Graph, id: NodeId, node: &Node) -> Result<(), String> {
    if let Some(late) = node.op.operands().iter().find(|o| **o >= id) {
        return Err(format!("its operand %{} is not defined before it", late.0));
    }
    let shape = &*node.shape;
    if shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).is_none() {
        return Err("it has more entries than can be counted".into());
    }
    let entries: u64 = shape.iter().product();
    let of = |n: NodeId| &**graph.shape(n);
    match &node.op {
        Op::Const(_) => demand(shape.is_empty(), "a constant has no axes"),
        Op::Setting(s) => {
            demand(shape.is_empty(), "a setting has no axes")?;
            demand((s.0 as usize) < graph.settings.len(), "there is no such setting")
        }
        Op::Literal(values) => demand(values.len() as u64 == entries, "the literal does not fill its shape"),
        Op::Load(s) => {
            let source = graph.sources.get(s.0 as usize).ok_or("there is no such source")?;
            demand(source.shape[..] == *shape, "it has another shape than its source")
        }
        Op::Unary(_, a) => stretches(of(*a), shape),
        Op::Binary(_, a, b) => stretches(of(*a), shape).and(stretches(of(*b), shape)),
        Op::Select(c, a, b) => [c, a, b].iter().try_for_each(|n| stretches(of(**n), shape)),
        Op::Coord { axis } => demand((*axis as usize) < shape.len(), "there is no such axis"),
        Op::Uniform { .. } | Op::Normal { .. } => Ok(()),
        Op::Reduce { over, input, .. } => reduced(of(*input), *over, shape),
        Op::Kth { input, k, over } => {
            demand(of(*k).is_empty(), "k is no scalar")?;
            reduced(of(*input), *over, shape)
        }
        Op::TopMask { input, k, over } => {
            demand(of(*k).is_empty(), "k is no scalar")?;
            ranked(of(*input), *over, shape)
        }
        Op::Rank { input, over } => ranked(of(*input), *over, shape),
        Op::Slice { input, start } => {
            let input = of(*input);
            demand(
                input.len() == shape.len() && start.len() == shape.len(),
                "the box has another rank than what it is cut from",
            )?;
            let inside =
                shape.iter().zip(input).zip(start.iter()).all(|((n, whole), s)| s.checked_add(*n).is_some_and(|e| e <= *whole));
            demand(inside, "the box reaches outside")
        }
        Op::Reshape { input } => demand(of(*input).iter().product::<u64>() == entries, "the number of entries changes"),
        Op::Transpose { input, perm } => {
            let input = of(*input);
            let mut axes = perm.to_vec();
            axes.sort_unstable();
            demand(axes.iter().enumerate().all(|(i, a)| i == *a as usize) && axes.len() == input.len(), "it is no permutation")?;
            demand(
                perm.len() == shape.len() && perm.iter().zip(shape).all(|(p, n)| input[*p as usize] == *n),
                "the shape is not permuted",
            )
        }
        Op::Concat { axis, inputs } => {
            let axis = *axis as usize;
            demand(axis < shape.len(), "there is no such axis")?;
            let fits = |part: &[u64]| part.len() == shape.len() && (0..shape.len()).all(|i| i == axis || part[i] == shape[i]);
            demand(inputs.iter().all(|i| fits(of(*i))), "the parts do not fit side by side")?;
            demand(inputs.iter().map(|i| of(*i)[axis]).sum::<u64>() == shape[axis], "the parts do not fill the axis")
        }
        Op::Call { routine, result, inputs } => {
            let shapes: Vec<&[u64]> = inputs.iter().map(|i| of(*i)).collect();
            let results = routine.results(&shapes)?;
            demand(results.get(*result as usize).is_some_and(|r| r[..] == *shape), "the routine gives another shape")
        }
        Op::Parameter(p) => {
            let parameter = graph.parameters.get(p.0 as usize).ok_or("there is no such parameter")?;
            demand(parameter.start < id, "its start value is not defined before it")?;
            demand(parameter.shape[..] == *shape, "it has another shape than its parameter")?;
            let start = of(parameter.start);
            demand(start.is_empty() || start == shape, "its start value has another shape")
        }
        Op::Layer { layer, inputs } => {
            let shapes: Vec<&[u64]> = inputs.iter().map(|i| of(*i)).collect();
            demand(layer.result(&shapes)?.is_none_or(|r| r[..] == *shape), "the layer gives another shape")
        }
    }
}

fn demand(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn stretches(operand: &[u64], shape: &[u64]) -> Result<(), String> {
    let fits = operand.is_empty() || (operand.len() == shape.len() && operand.iter().zip(shape).all(|(a, b)| a == b || *a == 1));
    if fits { Ok(()) } else { Err(format!("an operand of shape {operand:?} does not stretch to {shape:?}")) }
}

fn reduced(input: &[u64], over: Over, shape: &[u64]) -> Result<(), String> {
    match over {
        Over::All => demand(shape.is_empty(), "a reduction over everything gives a scalar"),
        Over::Rows => {
            let (_, front) = input.split_last().ok_or("a scalar has no rows")?;
            let fits = shape.split_last().is_some_and(|(n, rest)| *n == 1 && rest == front);
            demand(fits, "a reduction over rows keeps the last axis with length 1")
        }
    }
}

fn ranked(input: &[u64], over: Over, shape: &[u64]) -> Result<(), String> {
    demand(over == Over::All || !input.is_empty(), "a scalar has no rows")?;
    demand(input == shape, "its shape differs from its input's")
}

#[cfg(test)]
mod tests {
    use super::super::{parse, print};
    use super::*;

    const SMALL: &str = r#"checkpoint "base" "models/base"
source 0 "w" BF16 [2, 4]
setting "t" 0.5 in 0.0 1.0
choice "method" "a \"b\""
%0 = load 0 : [2, 4]
%1 = setting 0 : []
%2 = mul %1 %0 : [2, 4]
%3 = reduce sum rows %2 : [2, 1]
%4 = add %2 %3 : [2, 4]
%5 = const 3.0 : []
%6 = topmask all %4 %5 : [2, 4]
%7 = uniform run 17 0 : [2, 4]
%8 = select %6 %7 %4 : [2, 4]
%9 = slice %8 [0, 1] : [2, 2]
%10 = transpose %9 [1, 0] : [2, 2]
%11 = concat 0 %10 %9 : [4, 2]
%12 = reshape %11 : [8]
require %1 "t is not 0" at "r.merge:1:1"
output "out" deltas at "r.merge:2:1" shard 100 like 0 config "a" "1"
  "w" F32 %12
"#;

    #[test]
    fn a_printed_graph_parses_to_the_same_text() {
        let graph = parse(SMALL).unwrap();
        assert_eq!(verify(&graph), Vec::<String>::new());
        assert_eq!(print(&graph), SMALL);
    }

    #[test]
    fn every_routine_is_read_as_it_is_printed() {
        let text = "\
%0 = literal [4.0, 1.0, 2.0, 3.0] : [2, 2]
%1 = literal [1.0, 0.0] : [2]
%2 = call matmul 0 %0 %0 : [2, 2]
%3 = call svd 2 1 %0 : [2]
%4 = call full_svd 2 %0 : [2, 2]
%5 = call qr 1 %0 : [2, 2]
%6 = call eigh 0 %0 : [2]
%7 = call solve 0 %0 %0 : [2, 2]
%8 = call polar 0 %0 : [2, 2]
%9 = call sort down 0 %0 : [2, 2]
%10 = call sort_index up 0 %0 : [2, 2]
%11 = call rank down 0 %0 : [2, 2]
%12 = call cumsum 0 %0 : [2, 2]
%13 = call argmax 0 %0 : [2, 1]
%14 = call take 1 0 %0 %1 : [2, 2]
%15 = call take_along 0 %0 %1 : [2]
%16 = call scatter 0 3 0 %0 %1 : [3, 2]
%17 = call indices 1 0 %1 : [1]
%18 = call unpack 0 %0 %17 : [2, 2]
%19 = call assignment most 0 %0 : [2]
%20 = call assignment least 0 %0 : [2]
%21 = call kmeans 2 run 17 1 %0 : [2, 2]
%22 = call permutation 5 3 17 0 : [5]
";
        let graph = parse(text).unwrap();
        assert_eq!(verify(&graph), Vec::<String>::new());
        assert_eq!(print(&graph), text);
        assert!(parse("%0 = call frobnicate 0 : []").unwrap_err().contains("frobnicate"));
        assert!(parse("%0 = call sort sideways 0 : []").unwrap_err().contains("sideways"));
    }

    #[test]
    fn every_layer_is_read_as_it_is_printed() {
        let text = r#"checkpoint "base" "models/base"
source 0 "w" F32 [8, 4]
%0 = layer input "x" : [2, 3, 6, 6]
%1 = normal 7 17 0 : [8, 3, 3, 3]
%2 = parameter 0 : [8, 3, 3, 3]
%3 = layer conv [2, 2] [1, 1, 0, 1] 1 %0 %2 : [2, 8, 3, 3]
%4 = layer max_pool 2 1 %3 : [2, 8, 2, 2]
%5 = layer avg_pool 2 2 %4 : [2, 8, 1, 1]
%6 = const 0.0 : []
%7 = parameter 1 : [8]
%8 = layer batch_norm 1e-5 1 %5 %7 %7 %7 %7 : [2, 8, 1, 1]
%9 = const 0.9 : []
%10 = layer dropout %8 %9 : [2, 8, 1, 1]
%11 = reshape %10 : [2, 8]
%12 = load 0 : [8, 4]
%13 = layer batch_matmul %11 %12 : [2, 4]
%14 = layer input "tokens" : [5]
%15 = layer embedding %14 %12 : [5, 4]
%16 = layer module "model.layers.0.mlp" %15 : [5, 4]
parameter "kernel[0]" [8, 3, 3, 3] %1 trained "normal(0.02)"
parameter "mean" [8] %6 kept "zeros"
network "net" %13 of %0
module "model.layers.0.mlp" %16 of %14
reweighted "w" %12 of source 0
reweighted "made \"anew\"" %12
output "out" weights at "r.merge:2:1" trained 0 2 0 2 1 "start.safetensors"
  "network" F32 %12
"#;
        let graph = parse(text).unwrap();
        assert_eq!(verify(&graph), Vec::<String>::new());
        assert_eq!(print(&graph), text);
        assert!(parse("%0 = layer frobnicate : []").unwrap_err().contains("frobnicate"));
        assert!(parse("%0 = layer conv [1] [1] 1 : []").unwrap_err().contains("pairs"));
        let broken = parse("%0 = const 1.0 : []\nnetwork \"n\" %3 of %0\nreweighted \"w\" %9\n").unwrap();
        assert_eq!(verify(&broken), ["`n` has no node", "`w` has no node"]);
    }

    #[test]
    fn wrong_shapes_are_named() {
        let graph = parse("%0 = literal [1.0, 2.0] : [2]\n%1 = reshape %0 : [3]\n%2 = reduce sum all %0 : [1]").unwrap();
        let problems = verify(&graph);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("%1") && problems[1].contains("%2"));
    }

    #[test]
    fn a_broken_text_names_the_line() {
        assert!(parse("%0 = const x : []").unwrap_err().starts_with("line 1"));
        assert!(parse("%0 = frob %1 : []").unwrap_err().contains("frob"));
        assert!(parse("%0 = abs %0 : []").unwrap_err().contains("later"));
    }
}
