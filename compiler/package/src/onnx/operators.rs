//! Which operators of ONNX each operation is.

use super::lower::Lowering;
use super::proto;
use merge_abi::{BinaryFn, ReduceFn, Routine, UnaryFn};
use merge_ir::tir::{Layer, Node, NodeId, Op, Over};

/// The value of an attribute.
pub(super) enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Text(&'a str),
    Ints(Vec<i64>),
}

/// A named attribute.
pub(super) fn attribute(name: &str, value: &Attribute<'_>) -> proto::Attribute {
    let mut a = proto::Attribute { name: Some(name.to_owned()), ..proto::Attribute::default() };
    match value {
        Attribute::Float(f) => (a.f, a.kind) = (Some(*f), Some(1)),
        Attribute::Int(i) => (a.i, a.kind) = (Some(*i), Some(2)),
        Attribute::Text(s) => (a.s, a.kind) = (Some(s.as_bytes().to_vec()), Some(3)),
        Attribute::Ints(list) => (a.ints, a.kind) = (list.clone(), Some(7)),
    }
    a
}

type Named = Result<String, String>;

impl Lowering<'_> {
    /// The name of what an operation gives.
    pub(super) fn operation(&mut self, id: NodeId, node: &Node) -> Named {
        let shape = &node.shape[..];
        Ok(match &node.op {
            Op::Const(bits) => self.floats(vec![f64::from_bits(*bits) as f32], &[]),
            Op::Setting(s) => self.setting(*s),
            Op::Literal(bits) => self.floats(bits.iter().map(|b| f64::from_bits(*b) as f32).collect(), shape),
            Op::Unary(f, a) => {
                let value = self.unary(*f, *a);
                self.stretched(value, &[*a], shape)
            }
            Op::Binary(f, a, b) => {
                let value = self.binary(*f, *a, *b);
                self.stretched(value, &[*a, *b], shape)
            }
            Op::Select(c, a, b) => {
                let truth = self.truth(*c);
                let (x, y) = (self.name(*a).to_owned(), self.name(*b).to_owned());
                let value = self.node("Where", &[&truth, &x, &y], &[]);
                self.stretched(value, &[*c, *a, *b], shape)
            }
            Op::Coord { axis } => {
                let axis = *axis as usize;
                let mut lengths = vec![1; shape.len()];
                lengths[axis] = shape[axis];
                let places = self.floats((0..shape[axis]).map(|i| i as f32).collect(), &lengths);
                self.expanded(&places, shape)
            }
            Op::Reduce { f, over, input } => self.reduction(*f, *over, *input),
            Op::Slice { input, start } => {
                let x = self.name(*input).to_owned();
                let starts: Vec<i64> = start.iter().map(|s| *s as i64).collect();
                let ends: Vec<i64> = start.iter().zip(shape).map(|(s, n)| (s + n) as i64).collect();
                let axes: Vec<i64> = (0..shape.len() as i64).collect();
                let (starts, ends, axes) = (self.ints(&starts), self.ints(&ends), self.ints(&axes));
                self.node("Slice", &[&x, &starts, &ends, &axes], &[])
            }
            Op::Reshape { input } => {
                let x = self.name(*input).to_owned();
                self.reshaped(&x, shape)
            }
            Op::Transpose { input, perm } => {
                let x = self.name(*input).to_owned();
                let perm = perm.iter().map(|p| i64::from(*p)).collect();
                self.node("Transpose", &[&x], &[("perm", Attribute::Ints(perm))])
            }
            Op::Concat { axis, inputs } => {
                let parts: Vec<String> = inputs.iter().map(|i| self.name(*i).to_owned()).collect();
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                self.node("Concat", &parts, &[("axis", Attribute::Int(i64::from(*axis)))])
            }
            Op::Call { routine, result, inputs } => self.routine(routine, *result, inputs)?,
            Op::Layer { layer, inputs } => self.layer(layer, inputs, shape)?,
            Op::Uniform { .. } | Op::Normal { .. } => {
                return Err("it draws random numbers, and those of ONNX are others".to_owned());
            }
            Op::Kth { .. } => return Err(without("kth")),
            Op::TopMask { .. } => return Err(without("top")),
            Op::Rank { .. } => return Err(without("rank")),
            Op::Load(_) | Op::Parameter(_) => return Err(format!("%{} is no operation", id.0)),
        })
    }

    /// `value` stretched to `shape`, unless its operands do that already.
    fn stretched(&mut self, value: String, operands: &[NodeId], shape: &[u64]) -> String {
        let fills =
            |axis: usize| operands.iter().any(|o| self.package.graph.shape(*o).get(axis).is_some_and(|n| *n == shape[axis]));
        let ranked = shape.is_empty() || operands.iter().any(|o| !self.package.graph.shape(*o).is_empty());
        if ranked && (0..shape.len()).all(fills) { value } else { self.expanded(&value, shape) }
    }

    fn expanded(&mut self, value: &str, shape: &[u64]) -> String {
        let shape = self.ints(&super::signed(shape));
        self.node("Expand", &[value, &shape], &[])
    }

    fn cast(&mut self, value: &str, to: i32) -> String {
        self.node("Cast", &[value], &[("to", Attribute::Int(i64::from(to)))])
    }

    /// A tensor as truth values: all but 0 are true.
    fn truth(&mut self, id: NodeId) -> String {
        let value = self.name(id).to_owned();
        self.cast(&value, proto::data::BOOL)
    }

    fn unary(&mut self, f: UnaryFn, a: NodeId) -> String {
        let x = self.name(a).to_owned();
        let op = match f {
            UnaryFn::Neg => "Neg",
            UnaryFn::Abs => "Abs",
            UnaryFn::Sign => "Sign",
            UnaryFn::Sqrt => "Sqrt",
            UnaryFn::Exp => "Exp",
            UnaryFn::Log => "Log",
            UnaryFn::Sin => "Sin",
            UnaryFn::Cos => "Cos",
            UnaryFn::Tan => "Tan",
            UnaryFn::Asin => "Asin",
            UnaryFn::Acos => "Acos",
            UnaryFn::Atan => "Atan",
            UnaryFn::Tanh => "Tanh",
            UnaryFn::Sigmoid => "Sigmoid",
            UnaryFn::Floor => "Floor",
            UnaryFn::Ceil => "Ceil",
            // Halves go to the even neighbour in both.
            UnaryFn::Round => "Round",
            UnaryFn::Not => {
                let truth = self.truth(a);
                let not = self.node("Not", &[&truth], &[]);
                return self.cast(&not, proto::data::FLOAT);
            }
            UnaryFn::Log2 => {
                let log = self.node("Log", &[&x], &[]);
                let scale = self.floats(vec![std::f32::consts::LOG2_E], &[]);
                return self.node("Mul", &[&log, &scale], &[]);
            }
            UnaryFn::Trunc => {
                let size = self.node("Abs", &[&x], &[]);
                let (size, sign) = (self.node("Floor", &[&size], &[]), self.node("Sign", &[&x], &[]));
                return self.node("Mul", &[&size, &sign], &[]);
            }
        };
        self.node(op, &[&x], &[])
    }

    fn binary(&mut self, f: BinaryFn, a: NodeId, b: NodeId) -> String {
        let (x, y) = (self.name(a).to_owned(), self.name(b).to_owned());
        let truth = match f {
            BinaryFn::Add => return self.node("Add", &[&x, &y], &[]),
            BinaryFn::Sub => return self.node("Sub", &[&x, &y], &[]),
            BinaryFn::Mul => return self.node("Mul", &[&x, &y], &[]),
            BinaryFn::Div => return self.node("Div", &[&x, &y], &[]),
            BinaryFn::Pow => return self.node("Pow", &[&x, &y], &[]),
            BinaryFn::Min => return self.node("Min", &[&x, &y], &[]),
            BinaryFn::Max => return self.node("Max", &[&x, &y], &[]),
            BinaryFn::Eq => self.node("Equal", &[&x, &y], &[]),
            BinaryFn::Lt => self.node("Less", &[&x, &y], &[]),
            BinaryFn::Le => self.node("LessOrEqual", &[&x, &y], &[]),
            BinaryFn::Gt => self.node("Greater", &[&x, &y], &[]),
            BinaryFn::Ge => self.node("GreaterOrEqual", &[&x, &y], &[]),
            BinaryFn::Ne => {
                let equal = self.node("Equal", &[&x, &y], &[]);
                self.node("Not", &[&equal], &[])
            }
            BinaryFn::And | BinaryFn::Or => {
                let (p, q) = (self.truth(a), self.truth(b));
                self.node(if f == BinaryFn::And { "And" } else { "Or" }, &[&p, &q], &[])
            }
        };
        self.cast(&truth, proto::data::FLOAT)
    }

    fn reduction(&mut self, f: ReduceFn, over: Over, input: NodeId) -> String {
        let x = self.name(input).to_owned();
        let keep = ("keepdims", Attribute::Int(i64::from(over == Over::Rows)));
        let op = match f {
            // The axes of a sum are an input since opset 13, those of the others an attribute until 18.
            ReduceFn::Sum => {
                let axes = (over == Over::Rows).then(|| self.ints(&[-1]));
                let inputs: Vec<&str> = [&x].into_iter().chain(&axes).map(String::as_str).collect();
                return self.node("ReduceSum", &inputs, &[keep]);
            }
            ReduceFn::Min => "ReduceMin",
            ReduceFn::Max => "ReduceMax",
        };
        match over {
            Over::All => self.node(op, &[&x], &[keep]),
            Over::Rows => self.node(op, &[&x], &[("axes", Attribute::Ints(vec![-1])), keep]),
        }
    }

    fn routine(&mut self, routine: &Routine, result: u32, inputs: &[NodeId]) -> Named {
        let names: Vec<String> = inputs.iter().map(|i| self.name(*i).to_owned()).collect();
        Ok(match (routine, &names[..]) {
            (Routine::MatMul, [a, b]) => self.node("MatMul", &[a, b], &[]),
            (Routine::CumSum, [x]) => {
                let axis = self.ints(&[-1]);
                // The axis is a number, not a list.
                let axis = self.reshaped(&axis, &[]);
                self.node("CumSum", &[x, &axis], &[])
            }
            (Routine::ArgMax, [x]) => {
                let attributes = [("axis", Attribute::Int(-1)), ("keepdims", Attribute::Int(1))];
                let place = self.node("ArgMax", &[x], &attributes);
                self.cast(&place, proto::data::FLOAT)
            }
            (Routine::Sort { largest_first } | Routine::SortIndex { largest_first }, [x]) => {
                let length = self.package.graph.shape(inputs[0]).last().copied().unwrap_or(1);
                let k = self.ints(&[length as i64]);
                let attributes = [("axis", Attribute::Int(-1)), ("largest", Attribute::Int(i64::from(*largest_first)))];
                let mut found = self.node_of(None, "TopK", &[x, &k], &attributes, 2);
                match routine {
                    Routine::Sort { .. } => found.swap_remove(0),
                    _ => self.cast(&found[1], proto::data::FLOAT),
                }
            }
            (Routine::Take { axis }, [x, at]) => {
                let at = self.cast(at, proto::data::INT64);
                self.node("Gather", &[x, &at], &[("axis", Attribute::Int(i64::from(*axis)))])
            }
            (Routine::TakeAlong, [x, at]) => {
                let shape = self.package.graph.shape(inputs[1]).to_vec();
                let at = self.cast(at, proto::data::INT64);
                let column: Vec<u64> = shape.iter().copied().chain([1]).collect();
                let at = self.reshaped(&at, &column);
                let taken = self.node("GatherElements", &[x, &at], &[("axis", Attribute::Int(shape.len() as i64))]);
                self.reshaped(&taken, &shape)
            }
            _ => return Err(format!("{} (result {result})", without(routine.name()))),
        })
    }

    fn layer(&mut self, layer: &Layer, inputs: &[NodeId], shape: &[u64]) -> Named {
        let names: Vec<String> = inputs.iter().map(|i| self.name(*i).to_owned()).collect();
        let of = |n: usize| self.package.graph.shape(inputs[n]).to_vec();
        Ok(match (layer, &names[..]) {
            (Layer::MatMul, [a, b]) => self.node("MatMul", &[a, b], &[]),
            (Layer::Conv { strides, pads, groups }, [x, kernel]) => {
                let (from, window) = (of(0), of(1));
                let flat = batched(&from, strides.len() + 1);
                let x = self.reshaped(x, &flat);
                let pads = pads.iter().map(|p| p.0).chain(pads.iter().map(|p| p.1)).map(|n| n as i64);
                let attributes = [
                    ("kernel_shape", Attribute::Ints(super::signed(&window[2..]))),
                    ("strides", Attribute::Ints(super::signed(strides))),
                    ("pads", Attribute::Ints(pads.collect())),
                    ("group", Attribute::Int(*groups as i64)),
                ];
                let made = self.node("Conv", &[&x, kernel], &attributes);
                self.reshaped(&made, shape)
            }
            (Layer::Pool { max, size, stride }, [x]) => {
                let flat = batched(&of(0), 3);
                let x = self.reshaped(x, &flat);
                let square = |n: u64| Attribute::Ints(vec![n as i64; 2]);
                let op = if *max { "MaxPool" } else { "AveragePool" };
                let made = self.node(op, &[&x], &[("kernel_shape", square(*size)), ("strides", square(*stride))]);
                self.reshaped(&made, shape)
            }
            (Layer::BatchNorm { epsilon, axis }, [x, scale, shift, mean, variance]) => {
                let at = *axis as usize;
                let product = |part: &[u64]| part.iter().product::<u64>();
                let x = self.reshaped(x, &[product(&shape[..at]), shape[at], product(&shape[at + 1..])]);
                let attributes = [("epsilon", Attribute::Float(f64::from_bits(*epsilon) as f32))];
                let made = self.node("BatchNormalization", &[&x, scale, shift, mean, variance], &attributes);
                self.reshaped(&made, shape)
            }
            // Once trained, nothing is dropped.
            (Layer::Dropout, [x, _]) => self.node("Identity", &[x], &[]),
            (Layer::Embedding, [x, table]) => {
                let at = self.cast(x, proto::data::INT64);
                self.node("Gather", &[table, &at], &[("axis", Attribute::Int(0))])
            }
            (Layer::Module { name }, [x]) => {
                let attributes = [("name", Attribute::Text(name))];
                self.node_of(Some(proto::DOMAIN), "Module", &[x], &attributes, 1).swap_remove(0)
            }
            _ => return Err(without(layer.name())),
        })
    }
}

/// A shape whose leading axes are joined to one, so that `inner` axes stand behind it.
fn batched(shape: &[u64], inner: usize) -> Vec<u64> {
    let (front, inner) = shape.split_at(shape.len().saturating_sub(inner));
    std::iter::once(front.iter().product()).chain(inner.iter().copied()).collect()
}

fn without(op: &str) -> String {
    format!("ONNX has no operator for `{op}`")
}
