//! Evaluates a graph node by node in f64, as its operations are defined.

use super::source_data;
use merge_abi::ReduceFn;
use merge_ir::tir::{Graph, NodeId, Op, Over};
use merge_runtime::routines::{self, Array};

/// The entries of every node. Random numbers are those of the kernel interpreter's generator.
pub fn evaluate(graph: &Graph) -> Vec<Vec<f64>> {
    let mut values: Vec<Vec<f64>> = Vec::new();
    for (_, node) in graph.nodes() {
        let value = |n: &NodeId| &values[n.0 as usize];
        let shape = &node.shape;
        let entries: u64 = shape.iter().product();
        let stretched = |n: &NodeId| -> Vec<f64> {
            let from = graph.shape(*n);
            indices(shape).map(|at| value(n)[if from.is_empty() { 0 } else { place(from, &at) }]).collect()
        };
        let scalar = |n: &NodeId| value(n)[0];
        let group = |n: &NodeId, over: &Over| match over {
            Over::All => value(n).len(),
            Over::Rows => *graph.shape(*n).last().unwrap() as usize,
        };
        let groups = |n: &NodeId, over: &Over, f: &dyn Fn(&[f64]) -> Vec<f64>| -> Vec<f64> {
            let len = group(n, over);
            if len == 0 { f(&[]) } else { value(n).chunks(len).flat_map(f).collect() }
        };
        let result: Vec<f64> = match &node.op {
            Op::Const(bits) => vec![f64::from_bits(*bits)],
            Op::Setting(s) => vec![graph.settings[s.0 as usize].default],
            Op::Literal(bits) => bits.iter().map(|b| f64::from_bits(*b)).collect(),
            Op::Load(s) => {
                let s = &graph.sources[s.0 as usize];
                source_data(&s.name, s.checkpoint, entries).iter().map(|x| f64::from(*x)).collect()
            }
            Op::Unary(f, a) => stretched(a).iter().map(|x| f.eval(*x)).collect(),
            Op::Binary(f, a, b) => stretched(a).iter().zip(stretched(b)).map(|(x, y)| f.eval(*x, y)).collect(),
            Op::Select(c, a, b) => {
                let (a, b) = (stretched(a), stretched(b));
                stretched(c).iter().enumerate().map(|(i, c)| if *c != 0.0 { a[i] } else { b[i] }).collect()
            }
            Op::Coord { axis } => indices(shape).map(|at| at[*axis as usize] as f64).collect(),
            Op::Uniform { key, first } => {
                let key = super::execute::philox_key(*key);
                (0..entries).map(|i| f64::from(super::execute::uniform(key, first + i))).collect()
            }
            Op::Normal { .. } => panic!("the tests of this crate draw no normal numbers"),
            Op::Reduce { f, over, input } => groups(input, over, &|g| vec![reduce(*f, g)]),
            Op::Kth { input, k, over } => {
                let k = scalar(k).floor().max(1.0) as usize;
                groups(input, over, &|g| vec![g[downwards(g)[k.min(g.len()) - 1]]])
            }
            Op::TopMask { input, k, over } => {
                let k = scalar(k).floor().max(0.0) as usize;
                groups(input, over, &|g| {
                    let mut mask = vec![0.0; g.len()];
                    downwards(g).into_iter().take(k).for_each(|i| mask[i] = 1.0);
                    mask
                })
            }
            Op::Rank { input, over } => groups(input, over, &|g| {
                let mut ranks = vec![0.0; g.len()];
                downwards(g).into_iter().enumerate().for_each(|(rank, i)| ranks[i] = rank as f64);
                ranks
            }),
            Op::Slice { input, start } => {
                let from = graph.shape(*input);
                indices(shape)
                    .map(|at| {
                        let at: Vec<u64> = at.iter().zip(start.iter()).map(|(i, s)| i + s).collect();
                        value(input)[place(from, &at)]
                    })
                    .collect()
            }
            Op::Reshape { input } => value(input).clone(),
            Op::Transpose { input, perm } => {
                let from = graph.shape(*input);
                indices(shape)
                    .map(|at| {
                        let mut source = vec![0; at.len()];
                        perm.iter().zip(&at).for_each(|(p, i)| source[*p as usize] = *i);
                        value(input)[place(from, &source)]
                    })
                    .collect()
            }
            Op::Concat { axis, inputs } => {
                let axis = *axis as usize;
                indices(shape)
                    .map(|mut at| {
                        let mut parts = inputs.iter();
                        loop {
                            let part = parts.next().unwrap();
                            let len = graph.shape(*part)[axis];
                            if at[axis] < len {
                                return value(part)[place(graph.shape(*part), &at)];
                            }
                            at[axis] -= len;
                        }
                    })
                    .collect()
            }
            Op::Parameter(_) | Op::Layer { .. } => unreachable!("what is saved depends on no parameter and no layer"),
            Op::Call { routine, result, inputs } => {
                let arrays: Vec<Array<f64>> =
                    inputs.iter().map(|i| Array { shape: graph.shape(*i), entries: value(i) }).collect();
                routines::run(routine, &arrays, 0).unwrap().results.swap_remove(*result as usize)
            }
        };
        assert_eq!(result.len() as u64, entries, "{node:?}");
        values.push(result);
    }
    values
}

/// Every index of a shape, row-major.
fn indices(shape: &[u64]) -> impl Iterator<Item = Vec<u64>> + '_ {
    (0..shape.iter().product::<u64>()).map(|mut i| {
        let mut at = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            at[axis] = i % shape[axis];
            i /= shape[axis];
        }
        at
    })
}

/// The flat index in a tensor whose axes of length 1 stretch.
fn place(shape: &[u64], at: &[u64]) -> usize {
    shape.iter().zip(at).fold(0, |flat, (n, i)| flat * n + if *n == 1 { 0 } else { *i }) as usize
}

fn reduce(f: ReduceFn, x: &[f64]) -> f64 {
    match f {
        ReduceFn::Sum => x.iter().sum(),
        _ if x.iter().any(|x| x.is_nan()) => f64::NAN,
        ReduceFn::Min => x.iter().copied().fold(f64::INFINITY, f64::min),
        ReduceFn::Max => x.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// Indices in the order of their entries, largest first, NaN before all, equal ones by index.
pub fn downwards(x: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|a, b| {
        let nan = x[*b].is_nan().cmp(&x[*a].is_nan());
        nan.then(x[*b].partial_cmp(&x[*a]).unwrap_or(std::cmp::Ordering::Equal)).then(a.cmp(b))
    });
    order
}
