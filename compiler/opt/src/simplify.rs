//! Rewrites the graph node by node into a smaller one that computes the same bits.
//!
//! Establishes: scalars of constants are constants; a comparison of a rank with a scalar is a
//! [`Op::TopMask`]; a statistic over the rows of a tensor with one row is one over everything; nothing
//! that no output needs is left. Identities are used only where they hold for every f32, so `x + 0` stays
//! (it turns -0 into 0) and `x * 1` goes. Calls of routines stay as they are, on simplified operands.
//!
//! Not here: anything about views or loops.

use merge_abi::{BinaryFn, ReduceFn, UnaryFn};
use merge_base::Span;
use merge_ir::tir::{Constraint, Graph, NodeId, Op, OutTensor, Output, Over};
use std::rc::Rc;

/// The same recipe, simplified.
pub(crate) fn simplify(graph: &Graph) -> Graph {
    let simple = rebuild(graph, rewrite);
    // Rewriting may leave nodes that only what was rewritten needed.
    if live(&simple).iter().all(|l| *l) { simple } else { prune(&simple) }
}

/// The graph without the nodes that nothing needs.
fn prune(graph: &Graph) -> Graph {
    rebuild(graph, |to, op, shape, span| to.add(op, shape, span))
}

/// Builds the live part of a graph anew, each node by `make`, whose operands are already made.
pub(crate) fn rebuild(from: &Graph, make: impl Fn(&mut Graph, Op, Rc<[u64]>, Span) -> NodeId) -> Graph {
    let mut to = Graph::default();
    to.checkpoints = from.checkpoints.clone();
    to.sources = from.sources.clone();
    to.settings = from.settings.clone();
    to.structural = from.structural.clone();
    to.reserve(from.len());
    let live = live(from);
    let mut made = vec![NodeId(u32::MAX); from.len()];
    for (id, node) in from.nodes().filter(|(id, _)| live[id.0 as usize]) {
        let op = node.op.map_operands(|o| made[o.0 as usize]);
        let new = make(&mut to, op, node.shape.clone(), node.span);
        if let Some(place) = from.places.get(&id) {
            to.places.entry(new).or_insert_with(|| place.clone());
        }
        made[id.0 as usize] = new;
    }
    let made = |n: NodeId| made[n.0 as usize];
    to.constraints = from.constraints.iter().map(|c| Constraint { node: made(c.node), ..c.clone() }).collect();
    to.outputs = from
        .outputs
        .iter()
        .map(|o| {
            let tensors = o.tensors.iter().map(|t| OutTensor { node: made(t.node), ..t.clone() }).collect();
            Output { tensors, ..o.clone() }
        })
        .collect();
    to
}

fn live(graph: &Graph) -> Vec<bool> {
    let mut live = vec![false; graph.len()];
    let roots = graph.outputs.iter().flat_map(|o| o.tensors.iter().map(|t| t.node));
    for root in roots.chain(graph.constraints.iter().map(|c| c.node)) {
        live[root.0 as usize] = true;
    }
    for id in (0..graph.len()).rev() {
        if live[id] {
            graph.node(NodeId(id as u32)).op.each_operand(|o| live[o.0 as usize] = true);
        }
    }
    live
}

/// The node for an operation on nodes that are simplified already.
fn rewrite(g: &mut Graph, op: Op, shape: Rc<[u64]>, span: Span) -> NodeId {
    // A scalar in the clothes of a tensor of one entry is taken as a scalar, which stretches to anything.
    let bare = |g: &Graph, n: NodeId| match g.node(n).op {
        Op::Reshape { input } if g.shape(input).is_empty() => input,
        _ => n,
    };
    let same = |g: &Graph, n: NodeId| *g.shape(n) == shape;
    match op {
        Op::Unary(f, a) => {
            let a = bare(g, a);
            match (f, &g.node(a).op) {
                (_, Op::Const(x)) if shape.is_empty() => return g.constant(f.eval(f64::from_bits(*x)), span),
                (UnaryFn::Neg, Op::Unary(UnaryFn::Neg, b)) if same(g, *b) => return *b,
                (UnaryFn::Abs, Op::Unary(UnaryFn::Abs, _)) if same(g, a) => return a,
                (UnaryFn::Abs, Op::Unary(UnaryFn::Neg, b)) => return rewrite(g, Op::Unary(f, *b), shape, span),
                (UnaryFn::Floor | UnaryFn::Ceil, Op::Unary(UnaryFn::Floor | UnaryFn::Ceil, _)) if same(g, a) => return a,
                _ => {}
            }
            g.add(Op::Unary(f, a), shape, span)
        }
        Op::Binary(f, a, b) => {
            let (a, b) = (bare(g, a), bare(g, b));
            if let (Some(x), Some(y), true) = (number(g, a), number(g, b), shape.is_empty()) {
                return g.constant(f.eval(x, y), span);
            }
            if let Some(mask) = rank_compared(g, f, a, b, &shape, span) {
                return mask;
            }
            let is = |n: Option<f64>, x: f64| n.is_some_and(|n| n.to_bits() == x.to_bits());
            let (x, y) = (number(g, a), number(g, b));
            let left = match f {
                BinaryFn::Mul | BinaryFn::Div => is(y, 1.0),
                BinaryFn::Add => is(y, -0.0),
                BinaryFn::Sub => is(y, 0.0),
                BinaryFn::Min | BinaryFn::Max => a == b,
                _ => false,
            };
            let right = matches!(f, BinaryFn::Mul if is(x, 1.0)) || matches!(f, BinaryFn::Add if is(x, -0.0));
            match (left && same(g, a), right && same(g, b)) {
                (true, _) => a,
                (_, true) => b,
                _ => g.add(Op::Binary(f, a, b), shape, span),
            }
        }
        Op::Select(c, a, b) => {
            let (c, a, b) = (bare(g, c), bare(g, a), bare(g, b));
            let taken = match number(g, c).or_else(|| mask_value(g, c)) {
                Some(x) => Some(if x != 0.0 { a } else { b }),
                None if a == b => Some(a),
                None => None,
            };
            match taken {
                Some(n) if same(g, n) => n,
                _ => g.add(Op::Select(c, a, b), shape, span),
            }
        }
        Op::Reduce { f, over, input } => reduce(g, f, over, input, shape, span),
        Op::Kth { input, k, over } => {
            let input_shape = g.shape(input).clone();
            match over {
                Over::All if input_shape.is_empty() => input,
                Over::All if input_shape.contains(&0) => g.constant(f64::NAN, span),
                Over::Rows if input_shape.last() == Some(&0) => repeated(g, f64::NAN, shape, span),
                Over::Rows if input_shape.last() == Some(&1) => input,
                Over::Rows if has_one_row(&input_shape) => {
                    let all = g.add(Op::Kth { input, k, over: Over::All }, Rc::from([]), span);
                    g.add(Op::Reshape { input: all }, shape, span)
                }
                _ => g.add(op, shape, span),
            }
        }
        Op::TopMask { input, k, over } => match lone(over, &shape) {
            // The only entry is among the largest k if k is at least 1.
            true => {
                let one = g.constant(1.0, span);
                rewrite(g, Op::Binary(BinaryFn::Ge, k, one), shape, span)
            }
            false => g.add(Op::TopMask { input, k, over: widest(over, &shape) }, shape, span),
        },
        Op::Rank { input, over } => match lone(over, &shape) {
            // The only entry is the first, everywhere.
            true => {
                let zero = g.constant(0.0, span);
                g.add(Op::Binary(BinaryFn::Add, zero, zero), shape, span)
            }
            false => g.add(Op::Rank { input, over: widest(over, &shape) }, shape, span),
        },
        Op::Slice { input, .. } if same(g, input) => input,
        Op::Reshape { input } if same(g, input) => input,
        Op::Reshape { input } => match g.node(input).op {
            Op::Reshape { input } => rewrite(g, Op::Reshape { input }, shape, span),
            _ => g.add(op, shape, span),
        },
        Op::Transpose { input, ref perm } if perm.iter().enumerate().all(|(i, p)| i == *p as usize) => input,
        Op::Transpose { input, ref perm } => match &g.node(input).op {
            Op::Transpose { input, perm: first } => {
                let perm = perm.iter().map(|p| first[*p as usize]).collect();
                rewrite(g, Op::Transpose { input: *input, perm }, shape, span)
            }
            _ => g.add(op, shape, span),
        },
        Op::Concat { axis, ref inputs } => {
            let filled: Vec<NodeId> = inputs.iter().copied().filter(|i| g.shape(*i)[axis as usize] != 0).collect();
            match filled[..] {
                [only] => only,
                [] => g.add(op, shape, span),
                _ => g.add(Op::Concat { axis, inputs: filled.into() }, shape, span),
            }
        }
        _ => g.add(op, shape, span),
    }
}

fn number(g: &Graph, n: NodeId) -> Option<f64> {
    match g.node(n).op {
        Op::Const(bits) => Some(f64::from_bits(bits)),
        _ => None,
    }
}

/// The value of a mask that selects everything or nothing.
fn mask_value(g: &Graph, n: NodeId) -> Option<f64> {
    let Op::TopMask { input, k, over } = g.node(n).op else { return None };
    let shape = g.shape(input);
    let entries = match over {
        Over::All => shape.iter().product::<u64>(),
        Over::Rows => shape.last().copied().unwrap_or(1),
    };
    match number(g, k)? {
        k if k >= entries as f64 => Some(1.0),
        k if k < 1.0 => Some(0.0),
        _ => None,
    }
}

fn has_one_row(shape: &[u64]) -> bool {
    shape.split_last().is_some_and(|(_, front)| front.iter().all(|n| *n == 1))
}

fn widest(over: Over, shape: &[u64]) -> Over {
    if has_one_row(shape) { Over::All } else { over }
}

/// Whether each selection is among one entry.
fn lone(over: Over, shape: &[u64]) -> bool {
    match over {
        Over::All => shape.iter().all(|n| *n == 1),
        Over::Rows => shape.last() == Some(&1),
    }
}

/// The same number in each entry.
fn repeated(g: &mut Graph, x: f64, shape: Rc<[u64]>, span: Span) -> NodeId {
    let entries = shape.iter().product::<u64>() as usize;
    g.add(Op::Literal(vec![x.to_bits(); entries].into()), shape, span)
}

fn reduce(g: &mut Graph, f: ReduceFn, over: Over, input: NodeId, shape: Rc<[u64]>, span: Span) -> NodeId {
    let from = g.shape(input).clone();
    match over {
        Over::All if from.is_empty() => input,
        // Of no entries at all: what a reduction starts from.
        Over::All if from.contains(&0) => g.constant(f.identity(), span),
        Over::Rows if from.last() == Some(&1) => input,
        Over::Rows if from.last() == Some(&0) => repeated(g, f.identity(), shape, span),
        Over::Rows if has_one_row(&from) => {
            let all = reduce(g, f, Over::All, input, Rc::from([]), span);
            g.add(Op::Reshape { input: all }, shape, span)
        }
        _ => g.add(Op::Reduce { f, over, input }, shape, span),
    }
}

/// `rank < k` and its kin as a mask of the largest entries, where one side is a rank and the other a scalar.
fn rank_compared(g: &mut Graph, f: BinaryFn, a: NodeId, b: NodeId, shape: &Rc<[u64]>, span: Span) -> Option<NodeId> {
    let rank = |g: &Graph, n: NodeId| match g.node(n).op {
        Op::Rank { input, over } if *g.shape(n) == *shape => Some((input, over)),
        _ => None,
    };
    let (f, (input, over), k) = match (rank(g, a), rank(g, b)) {
        (Some(r), None) => (f, r, b),
        (None, Some(r)) => (mirrored(f)?, r, a),
        _ => return None,
    };
    if !g.shape(k).is_empty() {
        return None;
    }
    // Ranks are whole numbers: r < k means that r is below the next whole number from k upwards, and
    // r <= k that it is below the whole number after k.
    let (up, wanted) = match f {
        BinaryFn::Lt => (true, true),
        BinaryFn::Ge => (true, false),
        BinaryFn::Le => (false, true),
        BinaryFn::Gt => (false, false),
        _ => return None,
    };
    let k = if up {
        rewrite(g, Op::Unary(UnaryFn::Ceil, k), Rc::from([]), span)
    } else {
        let floor = rewrite(g, Op::Unary(UnaryFn::Floor, k), Rc::from([]), span);
        let one = g.constant(1.0, span);
        rewrite(g, Op::Binary(BinaryFn::Add, floor, one), Rc::from([]), span)
    };
    let mask = rewrite(g, Op::TopMask { input, k, over }, shape.clone(), span);
    Some(if wanted { mask } else { g.add(Op::Unary(UnaryFn::Not, mask), shape.clone(), span) })
}

fn mirrored(f: BinaryFn) -> Option<BinaryFn> {
    match f {
        BinaryFn::Lt => Some(BinaryFn::Gt),
        BinaryFn::Le => Some(BinaryFn::Ge),
        BinaryFn::Gt => Some(BinaryFn::Lt),
        BinaryFn::Ge => Some(BinaryFn::Le),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use merge_ir::tir::{parse, print, verify};

    fn simplified(nodes: &str, root: u32) -> String {
        let text = format!(
            "checkpoint \"c\" \"c\"\nsource 0 \"x\" F32 [2, 3]\nsource 0 \"v\" F32 [3]\nsetting \"t\" 0.5\n{nodes}\noutput \"o\" weights at \"r\"\n  \"x\" F32 %{root}"
        );
        let graph = parse(&text).unwrap();
        assert_eq!(verify(&graph), Vec::<String>::new());
        let out = simplify(&graph);
        assert_eq!(verify(&out), Vec::<String>::new());
        print(&out).lines().filter(|l| l.starts_with('%')).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn only_exact_identities_are_used() {
        let one = simplified("%0 = load 0 : [2, 3]\n%1 = const 1.0 : []\n%2 = mul %1 %0 : [2, 3]", 2);
        assert_eq!(one, "%0 = load 0 : [2, 3]");
        let zero = "%0 = load 0 : [2, 3]\n%1 = const 0.0 : []\n%2 = add %0 %1 : [2, 3]";
        assert_eq!(simplified(zero, 2), zero);
    }

    #[test]
    fn scalars_of_constants_are_folded() {
        let text = "%0 = const 3.0 : []\n%1 = sqrt %0 : []\n%2 = mul %1 %1 : []\n%3 = load 0 : [2, 3]\n%4 = mul %2 %3 : [2, 3]";
        assert_eq!(simplified(text, 4), "%0 = const 2.9999999999999996 : []\n%1 = load 0 : [2, 3]\n%2 = mul %0 %1 : [2, 3]");
    }

    #[test]
    fn a_rank_below_a_number_is_a_mask_of_the_largest() {
        let text = "%0 = load 0 : [2, 3]\n%1 = rank rows %0 : [2, 3]\n%2 = const 1.5 : []\n%3 = lt %1 %2 : [2, 3]\n%4 = le %2 %1 : [2, 3]\n%5 = and %3 %4 : [2, 3]";
        assert_eq!(
            simplified(text, 5),
            "%0 = load 0 : [2, 3]\n%1 = const 2.0 : []\n%2 = topmask rows %0 %1 : [2, 3]\n%3 = not %2 : [2, 3]\n%4 = and %2 %3 : [2, 3]"
        );
    }

    #[test]
    fn an_entry_alone_in_its_row_is_the_first() {
        let text = "%0 = load 0 : [2, 3]\n%1 = reshape %0 : [6, 1]\n%2 = rank rows %1 : [6, 1]";
        assert_eq!(simplified(text, 2), "%0 = const 0.0 : []\n%1 = add %0 %0 : [6, 1]");
    }

    #[test]
    fn keeping_everything_needs_no_selection() {
        let text = "%0 = load 0 : [2, 3]\n%1 = const 6.0 : []\n%2 = topmask all %0 %1 : [2, 3]\n%3 = const 0.0 : []\n%4 = select %2 %0 %3 : [2, 3]";
        assert_eq!(simplified(text, 4), "%0 = load 0 : [2, 3]");
    }

    #[test]
    fn two_transpositions_are_one_or_none() {
        let text = "%0 = load 0 : [2, 3]\n%1 = transpose %0 [1, 0] : [3, 2]\n%2 = transpose %1 [1, 0] : [2, 3]";
        assert_eq!(simplified(text, 2), "%0 = load 0 : [2, 3]");
        let text = "%0 = literal [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] : [1, 2, 3]\n%1 = transpose %0 [2, 0, 1] : [3, 1, 2]\n\
                    %2 = transpose %1 [2, 0, 1] : [2, 3, 1]";
        assert_eq!(simplified(text, 2), format!("{}\n%1 = transpose %0 [1, 2, 0] : [2, 3, 1]", text.lines().next().unwrap()));
    }

    #[test]
    fn the_only_row_is_everything() {
        let text = "%0 = load 1 : [3]\n%1 = reduce sum rows %0 : [1]\n%2 = div %0 %1 : [3]";
        assert_eq!(simplified(text, 2), "%0 = load 1 : [3]\n%1 = reduce sum all %0 : []\n%2 = div %0 %1 : [3]");
    }
}
