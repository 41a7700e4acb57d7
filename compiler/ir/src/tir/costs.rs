//! Static costs of networks and adapters: what shapes alone decide.
//!
//! Conventions, which `docs/spaces.md` states for users. A floating-point operation (flop) is one addition, multiplication or
//! function of one entry, so a multiply-add is 2:
//!
//! | node | flops |
//! |---|---|
//! | elementwise function | 1 for each entry of the result |
//! | reduction, running sum | 1 for each entry of the input |
//! | product of matrices `[m, k] @ [k, n]` | 2 m k n, for each matrix of a batch |
//! | convolution | 2 for each entry of the result and each entry of the kernel that meets it |
//! | pooling | the entries of the window, for each entry of the result |
//! | batch norm | 2 for each entry: once trained it is a scale and a shift |
//! | views, gathers, embeddings, sorting, selection, random numbers, dropout | 0 |
//! | decompositions | the leading terms of Golub and Van Loan, *Matrix Computations*, for the methods usual |
//!
//! What depends on no input and no parameter is computed once, before the network runs, and costs nothing; so does what a
//! parameter starts as. Modules of a base model cost what the base costs, which is not known here: 0.
//!
//! Counts that 64 bits cannot hold stay at the largest that they can.

use super::{Graph, Layer, Node, NodeId, Op, ParameterId};
use merge_abi::{DType, Routine};
use rustc_hash::FxHashSet;

/// The dtype that start values of parameters are saved in.
pub const PARAMETER_DTYPE: DType = DType::F32;

/// What a network or adapter costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// Entries of parameters, each parameter once.
    pub params: u64,
    /// Of these, the entries that training changes by gradients.
    pub trainable: u64,
    /// What the parameters take in a file, in bytes.
    pub bytes: u64,
    /// Floating-point operations of one pass from the inputs as they are declared to the roots.
    pub flops: u64,
}

impl Costs {
    /// Adds what something else costs.
    pub fn add(&mut self, other: &Costs) {
        self.params = self.params.saturating_add(other.params);
        self.trainable = self.trainable.saturating_add(other.trainable);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.flops = self.flops.saturating_add(other.flops);
    }
}

/// The costs of everything that `roots` depend on, each node once however many roots share it.
pub fn costs(graph: &Graph, roots: &[NodeId]) -> Costs {
    let mut total = Costs::default();
    each_cost(graph, roots, |_, own| total.add(&own));
    total
}

/// [`costs`] node by node: calls `each` with every node that costs something, and what it costs.
pub fn each_cost(graph: &Graph, roots: &[NodeId], mut each: impl FnMut(NodeId, Costs)) {
    let live = live(graph, roots);
    // Nodes that differ in the result alone are one computation.
    let (mut called, mut counted) = (FxHashSet::default(), FxHashSet::default());
    for (id, node) in graph.nodes().take(live.len()).filter(|(id, _)| live[id.0 as usize]) {
        let own = match &node.op {
            Op::Call { routine, inputs, .. } if !called.insert((routine, inputs)) => continue,
            Op::Parameter(p) if !counted.insert(*p) => continue,
            Op::Parameter(p) => of_parameter(graph, *p),
            _ => Costs { flops: flops(graph, node), ..Costs::default() },
        };
        if own != Costs::default() {
            each(id, own);
        }
    }
}

fn of_parameter(graph: &Graph, id: ParameterId) -> Costs {
    let p = &graph.parameters[id.0 as usize];
    let n = entries(&p.shape);
    Costs { params: n, trainable: if p.trainable { n } else { 0 }, bytes: n.saturating_mul(PARAMETER_DTYPE.size()), flops: 0 }
}

/// The parameters that `roots` depend on, in their order in the graph.
pub fn parameters(graph: &Graph, roots: &[NodeId]) -> Vec<ParameterId> {
    parameters_among(graph, &needed(graph, roots))
}

fn parameters_among(graph: &Graph, needed: &[bool]) -> Vec<ParameterId> {
    let parameter = |(id, node): (NodeId, &Node)| match node.op {
        Op::Parameter(p) if needed[id.0 as usize] => Some(p),
        _ => None,
    };
    let mut found: Vec<ParameterId> = graph.nodes().take(needed.len()).filter_map(parameter).collect();
    found.sort_unstable();
    found
}

/// By node: whether `roots` depend on it. As long as the largest root asks for.
pub fn needed(graph: &Graph, roots: &[NodeId]) -> Vec<bool> {
    let mut needed = vec![false; roots.iter().max().map_or(0, |last| last.0 as usize + 1)];
    roots.iter().for_each(|r| needed[r.0 as usize] = true);
    for at in (0..needed.len()).rev() {
        if needed[at] {
            graph.node(NodeId(at as u32)).op.each_operand(|o| needed[o.0 as usize] = true);
        }
    }
    needed
}

/// By node: whether `roots` depend on it, and it on an input or a parameter, so that every pass computes it.
pub fn live(graph: &Graph, roots: &[NodeId]) -> Vec<bool> {
    let mut live = needed(graph, roots);
    // What a needed node reads is needed, and was looked at before.
    for (id, node) in graph.nodes().take(live.len()) {
        if live[id.0 as usize] {
            let mut is = matches!(&node.op, Op::Parameter(_));
            is |= matches!(&node.op, Op::Layer { layer, .. } if matches!(**layer, Layer::Input { .. }));
            node.op.each_operand(|o| is |= live[o.0 as usize]);
            live[id.0 as usize] = is;
        }
    }
    live
}

fn entries(shape: &[u64]) -> u64 {
    shape.iter().fold(1, |n, d| n.saturating_mul(*d))
}

/// What one node costs, its operands being there.
fn flops(graph: &Graph, node: &Node) -> u64 {
    let own = entries(&node.shape);
    let of = |n: &NodeId| &**graph.shape(*n);
    match &node.op {
        Op::Unary(..) | Op::Binary(..) | Op::Select(..) => own,
        Op::Reduce { input, .. } => entries(of(input)),
        Op::Call { routine, inputs, .. } => routine_flops(routine, &inputs.iter().map(of).collect::<Vec<_>>()),
        Op::Layer { layer, inputs } => match (&**layer, &inputs[..]) {
            (Layer::MatMul, [a, _]) => own.saturating_mul(2).saturating_mul(of(a).last().copied().unwrap_or(1)),
            (Layer::Conv { .. }, [_, kernel]) => own.saturating_mul(2).saturating_mul(entries(&of(kernel)[1..])),
            (Layer::Pool { size, .. }, _) => own.saturating_mul(size.saturating_mul(*size)),
            (Layer::BatchNorm { .. }, _) => own.saturating_mul(2),
            _ => 0,
        },
        _ => 0,
    }
}

/// Golub and Van Loan, 4th edition: QR 5.2, SVD 8.6 (R-SVD with U1 and V), symmetric eigenproblem 8.3, solving 3.4.
fn routine_flops(routine: &Routine, shapes: &[&[u64]]) -> u64 {
    let rows_and_columns = |shape: &[u64]| match *shape {
        [.., m, n] => (m.max(n), m.min(n)),
        _ => (entries(shape), 1),
    };
    let product = |factors: &[u64]| factors.iter().fold(1u64, |n, f| n.saturating_mul(*f));
    match (routine, shapes) {
        (Routine::MatMul, [a, b]) => product(&[2, entries(a), b.last().copied().unwrap_or(1)]),
        (Routine::CumSum, [x]) => entries(x),
        (Routine::Qr, [x]) => {
            let (m, n) = rows_and_columns(x);
            // R, and Q written out.
            product(&[4, m, n, n]).saturating_sub(product(&[4, n, n, n]) / 3)
        }
        (Routine::Svd { .. } | Routine::FullSvd | Routine::Polar, [x]) => {
            let (m, n) = rows_and_columns(x);
            let svd = product(&[6, m, n, n]).saturating_add(product(&[20, n, n, n]));
            // The polar factor is the product of the singular vectors.
            if matches!(routine, Routine::Polar) { svd.saturating_add(product(&[2, m, n, n])) } else { svd }
        }
        (Routine::Eigh, [x]) => product(&[9, rows_and_columns(x).1, rows_and_columns(x).1, rows_and_columns(x).1]),
        (Routine::Solve, [a, b]) => {
            let n = rows_and_columns(a).1;
            (product(&[2, n, n, n]) / 3).saturating_add(product(&[2, n, entries(b)]))
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const NET: &str = r#"%0 = layer input "x" : [3, 8, 8]
%1 = normal 7 17 0 : [4, 3, 3, 3]
%2 = parameter 0 : [4, 3, 3, 3]
%3 = layer conv [1, 1] [1, 1, 1, 1] 1 %0 %2 : [4, 8, 8]
%4 = const 0.0 : []
%5 = max %3 %4 : [4, 8, 8]
%6 = layer max_pool 2 2 %5 : [4, 4, 4]
%7 = parameter 1 : [4]
%8 = layer batch_norm 1e-5 0 %6 %7 %7 %7 %7 : [4, 4, 4]
%9 = reshape %8 : [1, 64]
%10 = parameter 2 : [64, 10]
%11 = call matmul 0 %9 %10 : [1, 10]
%12 = sqrt %4 : []
%13 = mul %11 %12 : [1, 10]
parameter "kernel" [4, 3, 3, 3] %1 trained "normal()"
parameter "mean" [4] %4 kept "zeros()"
parameter "out" [64, 10] %4 trained "zeros()"
parameter "unused" [99] %4 trained "zeros()"
network "net" %13 of %0
"#;

    #[test]
    fn a_network_costs_what_its_shapes_say() {
        let graph = parse(NET).unwrap();
        let found = costs(&graph, &[NodeId(13)]);
        let params = 4 * 27 + 4 + 640;
        // conv + relu + pool + norm + product + the last elementwise product; the square root of a constant is free.
        let flops = 2 * 256 * 27 + 256 + 64 * 4 + 64 * 2 + 2 * 640 + 10;
        assert_eq!(found, Costs { params, trainable: params - 4, bytes: 4 * params, flops });
    }

    #[test]
    fn what_roots_share_counts_once_and_what_none_needs_not_at_all() {
        let graph = parse(NET).unwrap();
        let conv = costs(&graph, &[NodeId(3)]);
        assert_eq!((conv.params, conv.flops), (108, 2 * 256 * 27));
        assert_eq!(costs(&graph, &[NodeId(3), NodeId(3)]), conv);
        assert_eq!(costs(&graph, &[NodeId(3), NodeId(13)]), costs(&graph, &[NodeId(13)]));
        assert_eq!(costs(&graph, &[]), Costs::default());
    }

    #[test]
    fn the_results_of_one_routine_cost_once() {
        let text = "%0 = const 0.0 : []\n%1 = parameter 0 : [6, 4]\n%2 = call qr 0 %1 : [6, 4]\n%3 = call qr 1 %1 : [4, 4]\n\
                    %4 = call matmul 0 %2 %3 : [6, 4]\nparameter \"w\" [6, 4] %0 trained \"zeros()\"\n";
        let graph = parse(text).unwrap();
        let qr = 4 * 6 * 16 - 4 * 64 / 3;
        assert_eq!(costs(&graph, &[NodeId(4)]).flops, qr + 2 * 6 * 4 * 4);
        assert_eq!(costs(&graph, &[NodeId(3)]).flops, qr);
    }
}
