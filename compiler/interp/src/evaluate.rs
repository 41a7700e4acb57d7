//! Evaluates nodes of a graph, with memory of what was evaluated.

use crate::layers;
use merge_abi::{DType, ReduceFn, Routine, Source};
use merge_ir::tir::{Graph, NodeId, Op, Over};
use merge_runtime::rng;
use merge_runtime::routines::{self, Array, Fault};
use ndarray::{ArrayD, Axis, IxDyn, Slice, Zip};
use std::collections::HashMap;

/// Entries of a source, row-major.
type Reader<'a> = dyn Fn(&Source) -> Result<Vec<f64>, String> + 'a;

/// Evaluates nodes of one graph.
pub struct Interpreter<'a> {
    graph: &'a Graph,
    settings: Vec<f64>,
    seed: i64,
    read: &'a Reader<'a>,
    known: HashMap<NodeId, ArrayD<f64>>,
}

impl<'a> Interpreter<'a> {
    /// `settings` by [`merge_abi::SettingId`]; `seed` as for a run.
    pub fn new(graph: &'a Graph, settings: Vec<f64>, seed: i64, read: &'a Reader<'a>) -> Interpreter<'a> {
        Interpreter { graph, settings, seed, read, known: HashMap::new() }
    }

    /// Says what a node is, such as an input of a network or a trained parameter.
    pub fn assume(&mut self, id: NodeId, value: ArrayD<f64>) {
        self.known.insert(id, value);
    }

    /// [`Interpreter::assume`] by the entries in row-major order.
    ///
    /// # Errors
    /// They are more or fewer than the shape has.
    pub fn assume_entries(&mut self, id: NodeId, entries: Vec<f64>) -> Result<(), String> {
        let dims: Vec<usize> = self.graph.shape(id).iter().map(|d| *d as usize).collect();
        self.assume(id, ArrayD::from_shape_vec(IxDyn(&dims), entries).map_err(|e| e.to_string())?);
        Ok(())
    }

    /// The value of a node.
    ///
    /// # Errors
    /// What reading a source gives.
    pub fn value(&mut self, id: NodeId) -> Result<ArrayD<f64>, String> {
        // Operands have smaller ids than their users, so one walk downwards finds all that is needed.
        let mut needed = vec![false; id.0 as usize + 1];
        needed[id.0 as usize] = true;
        for at in (0..=id.0).rev().filter(|at| !self.known.contains_key(&NodeId(*at))) {
            if needed[at as usize] {
                let op = &self.graph.node(NodeId(at)).op;
                let start = match op {
                    Op::Parameter(p) => Some(self.graph.parameters[p.0 as usize].start),
                    _ => None,
                };
                for operand in op.operands().into_iter().chain(start) {
                    needed[operand.0 as usize] = true;
                }
            }
        }
        for at in (0..=id.0).filter(|at| needed[*at as usize]).map(NodeId) {
            if !self.known.contains_key(&at) {
                let value = self.evaluate(at)?;
                self.known.insert(at, value);
            }
        }
        Ok(self.known[&id].clone())
    }

    fn evaluate(&self, id: NodeId) -> Result<ArrayD<f64>, String> {
        let node = self.graph.node(id);
        let dims: Vec<usize> = node.shape.iter().map(|d| *d as usize).collect();
        let shape = IxDyn(&dims);
        let at = |n: &NodeId| &self.known[n];
        Ok(match &node.op {
            Op::Const(bits) => ArrayD::from_elem(shape, f64::from_bits(*bits)),
            Op::Setting(s) => ArrayD::from_elem(shape, self.settings[s.0 as usize]),
            Op::Literal(bits) => from_entries(&dims, bits.iter().map(|b| f64::from_bits(*b)).collect()),
            Op::Load(s) => from_entries(&dims, (self.read)(&self.graph.sources[s.0 as usize])?),
            Op::Unary(f, a) => at(a).mapv(|x| f.eval(x)),
            Op::Binary(f, a, b) => {
                let (a, b) = (stretch(at(a), &shape), stretch(at(b), &shape));
                Zip::from(&a).and(&b).map_collect(|x, y| f.eval(*x, *y))
            }
            Op::Select(c, a, b) => {
                let (c, a, b) = (stretch(at(c), &shape), stretch(at(a), &shape), stretch(at(b), &shape));
                Zip::from(&c).and(&a).and(&b).map_collect(|c, x, y| if *c != 0.0 { *x } else { *y })
            }
            Op::Coord { axis } => ArrayD::from_shape_fn(shape, |i| i[*axis as usize] as f64),
            Op::Uniform { key, first } => {
                let key = rng::key(*key, self.seed);
                let entries = dims.iter().product::<usize>() as u64;
                from_entries(&dims, (0..entries).map(|i| f64::from(rng::uniform(key, first + i))).collect())
            }
            Op::Normal { key, first } => {
                let key = rng::key(*key, self.seed);
                let entries = dims.iter().product::<usize>() as u64;
                from_entries(&dims, (0..entries).map(|i| f64::from(rng::normal(key, first + i))).collect())
            }
            Op::Reduce { f, over, input } => per_group(at(input), *over, &dims, |group| vec![reduce(*f, group)]),
            Op::Kth { input, k, over } => {
                let k = scalar(at(k));
                per_group(at(input), *over, &dims, |group| {
                    let order = downwards(group);
                    vec![order.get((k.floor().max(1.0) as usize).min(order.len()) - 1).map_or(f64::NAN, |i| group[*i])]
                })
            }
            Op::TopMask { input, k, over } => {
                let k = scalar(at(k));
                per_group(at(input), *over, &dims, |group| {
                    let mut mask = vec![0.0; group.len()];
                    for i in downwards(group).into_iter().take(k.floor().max(0.0) as usize) {
                        mask[i] = 1.0;
                    }
                    mask
                })
            }
            Op::Rank { input, over } => per_group(at(input), *over, &dims, |group| {
                let mut ranks = vec![0.0; group.len()];
                for (place, i) in downwards(group).into_iter().enumerate() {
                    ranks[i] = place as f64;
                }
                ranks
            }),
            Op::Slice { input, start } => {
                let mut view = at(input).view();
                for (axis, (start, len)) in start.iter().zip(&dims).enumerate() {
                    let start = *start as isize;
                    view.slice_axis_inplace(Axis(axis), Slice::from(start..start + *len as isize));
                }
                view.to_owned()
            }
            Op::Reshape { input } => from_entries(&dims, at(input).iter().copied().collect()),
            Op::Transpose { input, perm } => {
                let perm: Vec<usize> = perm.iter().map(|p| *p as usize).collect();
                at(input).view().permuted_axes(IxDyn(&perm)).to_owned()
            }
            Op::Concat { axis, inputs } => {
                let parts: Vec<_> = inputs.iter().map(|i| at(i).view()).collect();
                ndarray::concatenate(Axis(*axis as usize), &parts).map_err(|e| e.to_string())?
            }
            Op::Call { routine, result, inputs } => from_entries(&dims, self.call(id, routine, *result, inputs)?),
            Op::Parameter(p) => stretch(at(&self.graph.parameters[p.0 as usize].start), &shape).to_owned(),
            Op::Layer { layer, inputs } => {
                let operands: Vec<&ArrayD<f64>> = inputs.iter().map(at).collect();
                layers::layer(layer, &operands, &dims)?
            }
        })
    }

    /// A result of a routine, the same that a run calls, on f64.
    fn call(&self, id: NodeId, routine: &Routine, result: u32, inputs: &[NodeId]) -> Result<Vec<f64>, String> {
        let entries: Vec<Vec<f64>> = inputs.iter().map(|i| self.known[i].iter().copied().collect()).collect();
        let shapes = inputs.iter().map(|i| &**self.graph.shape(*i));
        let arrays: Vec<Array<f64>> = shapes.zip(&entries).map(|(shape, entries)| Array { shape, entries }).collect();
        let fault = |f: Fault| {
            let place = self.graph.places.get(&id).map_or(String::new(), |p| format!(" at {p}"));
            format!("{}: `{}`{place} {}; {}", f.code, routine.name(), f.what, f.help)
        };
        Ok(routines::run(routine, &arrays, self.seed).map_err(fault)?.results.swap_remove(result as usize))
    }
}

fn from_entries(dims: &[usize], entries: Vec<f64>) -> ArrayD<f64> {
    ArrayD::from_shape_vec(IxDyn(dims), entries).expect("as many entries as the shape says: the graph was verified")
}

/// A tensor without axes stretches to any shape, axes of length 1 to any length.
fn stretch<'t>(x: &'t ArrayD<f64>, shape: &IxDyn) -> ndarray::ArrayViewD<'t, f64> {
    x.broadcast(shape.clone()).expect("operands broadcast: the graph was verified")
}

fn scalar(x: &ArrayD<f64>) -> f64 {
    x.first().copied().unwrap_or(f64::NAN)
}

/// Applies `f` to the whole tensor or to each row; the results, joined, have the shape `dims`.
fn per_group(x: &ArrayD<f64>, over: Over, dims: &[usize], f: impl Fn(&[f64]) -> Vec<f64>) -> ArrayD<f64> {
    let entries: Vec<f64> = x.iter().copied().collect();
    let row = match over {
        Over::All => entries.len(),
        Over::Rows => x.shape().last().copied().unwrap_or(1),
    };
    let rows = if over == Over::All { 1 } else { x.shape().iter().rev().skip(1).product() };
    let results = (0..rows).flat_map(|r| f(&entries[r * row..(r + 1) * row])).collect();
    from_entries(dims, results)
}

fn reduce(f: ReduceFn, group: &[f64]) -> f64 {
    let nan = group.iter().any(|x| x.is_nan());
    match f {
        ReduceFn::Sum => group.iter().sum(),
        ReduceFn::Min | ReduceFn::Max if nan => f64::NAN,
        ReduceFn::Min => group.iter().copied().fold(f64::INFINITY, f64::min),
        ReduceFn::Max => group.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// Indices from the largest entry to the smallest, NaN first, equal ones by index.
fn downwards(group: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..group.len()).collect();
    let key = |i: &usize| group[*i];
    order.sort_by(|i, j| {
        let (a, b) = (key(i), key(j));
        b.is_nan().cmp(&a.is_nan()).then(b.partial_cmp(&a).unwrap_or(std::cmp::Ordering::Equal))
    });
    order
}

/// Entries of stored bytes as f64; integers and truth values too.
pub fn decode(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    macro_rules! entries {
        ($t:ty) => {
            bytes.chunks_exact(size_of::<$t>()).map(|b| <$t>::from_le_bytes(b.try_into().expect("exact chunk")) as f64).collect()
        };
    }
    match dtype {
        DType::F64 => entries!(f64),
        DType::F32 => entries!(f32),
        DType::F16 => bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f64()).collect(),
        DType::BF16 => bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f64()).collect(),
        DType::F8E4M3 => bytes.iter().map(|b| f8(*b, 3, 7, false)).collect(),
        DType::F8E5M2 => bytes.iter().map(|b| f8(*b, 2, 15, true)).collect(),
        DType::I64 => entries!(i64),
        DType::I32 => entries!(i32),
        DType::I16 => entries!(i16),
        DType::I8 => entries!(i8),
        DType::U64 => entries!(u64),
        DType::U32 => entries!(u32),
        DType::U16 => entries!(u16),
        DType::U8 | DType::Bool => entries!(u8),
    }
}

/// An 8-bit float with `mantissa` bits and this bias; E4M3 has no infinity and one NaN a sign.
fn f8(bits: u8, mantissa: u32, bias: i32, infinity: bool) -> f64 {
    let sign = if bits & 0x80 != 0 { -1.0 } else { 1.0 };
    let exponent = i32::from((bits & 0x7f) >> mantissa);
    let fraction = f64::from(bits & ((1 << mantissa) - 1)) / f64::from(1 << mantissa);
    let top = (1 << (7 - mantissa)) - 1;
    if infinity && exponent == top {
        return if fraction == 0.0 { sign * f64::INFINITY } else { f64::NAN };
    }
    if !infinity && bits & 0x7f == 0x7f {
        return f64::NAN;
    }
    if exponent == 0 { sign * fraction * 2f64.powi(1 - bias) } else { sign * (1.0 + fraction) * 2f64.powi(exponent - bias) }
}
