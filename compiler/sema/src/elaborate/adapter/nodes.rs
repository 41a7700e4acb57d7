//! Nodes that adapters are made of. Their shapes were checked before.

use crate::elaborate::Cx;
use merge_abi::{BinaryFn, ReduceFn, Routine, UnaryFn};
use merge_base::Span;
use merge_ir::tir::{NodeId, Op, Over};
use std::rc::Rc;

/// Makes nodes on behalf of one place of the recipe.
pub(super) struct Nodes<'c, 'p> {
    pub cx: &'c mut Cx<'p>,
    pub span: Span,
}

impl Nodes<'_, '_> {
    pub fn shape(&self, x: NodeId) -> Rc<[u64]> {
        self.cx.graph.shape(x).clone()
    }

    fn add_node(&mut self, op: Op, shape: Rc<[u64]>) -> NodeId {
        self.cx.graph.add(op, shape, self.span)
    }

    pub fn constant(&mut self, value: f64) -> NodeId {
        self.cx.graph.constant(value, self.span)
    }

    /// Entry by entry; of shapes that differ, one has no axes or the longer axes count.
    fn binary(&mut self, f: BinaryFn, a: NodeId, b: NodeId) -> NodeId {
        let (x, y) = (self.shape(a), self.shape(b));
        let shape = match (x.len(), y.len()) {
            (_, 0) => x,
            (0, _) => y,
            _ => x.iter().zip(y.iter()).map(|(m, n)| if *m == 1 { *n } else { *m }).collect(),
        };
        self.add_node(Op::Binary(f, a, b), shape)
    }

    pub fn mul(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(BinaryFn::Mul, a, b)
    }

    pub fn div(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(BinaryFn::Div, a, b)
    }

    pub fn add(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(BinaryFn::Add, a, b)
    }

    pub fn sub(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(BinaryFn::Sub, a, b)
    }

    /// A multiple; a factor of 1 leaves no trace.
    pub fn scaled(&mut self, by: f64, x: NodeId) -> NodeId {
        if by == 1.0 {
            return x;
        }
        let by = self.constant(by);
        self.mul(by, x)
    }

    /// `b @ a`.
    pub fn product(&mut self, b: NodeId, a: NodeId) -> NodeId {
        let shape = Rc::from([self.shape(b)[0], self.shape(a)[1]]);
        let node = self.add_node(Op::Call { routine: Rc::new(Routine::MatMul), result: 0, inputs: Rc::from([b, a]) }, shape);
        let place = self.cx.place_in_recipe(self.span);
        self.cx.graph.places.entry(node).or_insert(place);
        node
    }

    pub fn reshaped(&mut self, x: NodeId, shape: &[u64]) -> NodeId {
        if *self.shape(x) == *shape {
            return x;
        }
        self.add_node(Op::Reshape { input: x }, shape.into())
    }

    pub fn permuted(&mut self, x: NodeId, perm: &[u32]) -> NodeId {
        let before = self.shape(x);
        let shape = perm.iter().map(|axis| before[*axis as usize]).collect();
        self.add_node(Op::Transpose { input: x, perm: perm.into() }, shape)
    }

    /// A matrix with its axes exchanged.
    pub fn transposed(&mut self, x: NodeId) -> NodeId {
        self.permuted(x, &[1, 0])
    }

    /// The first `len` slices along an axis.
    pub fn first(&mut self, x: NodeId, axis: usize, len: u64) -> NodeId {
        let mut shape = self.shape(x).to_vec();
        if shape[axis] == len {
            return x;
        }
        shape[axis] = len;
        let start = vec![0; shape.len()].into();
        self.add_node(Op::Slice { input: x, start }, shape.into())
    }

    /// Side by side along an axis.
    pub fn joined(&mut self, axis: u32, parts: &[NodeId]) -> NodeId {
        if let [one] = parts {
            return *one;
        }
        let mut shape = self.shape(parts[0]).to_vec();
        shape[axis as usize] = parts.iter().map(|p| self.shape(*p)[axis as usize]).sum();
        self.add_node(Op::Concat { axis, inputs: parts.into() }, shape.into())
    }

    /// The length of each row of a matrix, `[rows, 1]`; 1 for a row of zeros, which has no direction.
    pub fn lengths_of_rows(&mut self, x: NodeId) -> NodeId {
        let square = self.mul(x, x);
        let shape: Rc<[u64]> = Rc::from([self.shape(x)[0], 1]);
        let sum = self.add_node(Op::Reduce { f: ReduceFn::Sum, over: Over::Rows, input: square }, shape.clone());
        let length = self.add_node(Op::Unary(UnaryFn::Sqrt, sum), shape.clone());
        let (zero, one) = (self.constant(0.0), self.constant(1.0));
        let flat = self.binary(BinaryFn::Eq, length, zero);
        self.add_node(Op::Select(flat, one, length), shape)
    }

    /// The Kronecker product of tensors with equally many axes, the first one outside.
    pub fn kronecker(&mut self, x: NodeId, y: NodeId) -> NodeId {
        let (a, b) = (self.shape(x), self.shape(y));
        let outer: Vec<u64> = a.iter().flat_map(|n| [*n, 1]).collect();
        let inner: Vec<u64> = b.iter().flat_map(|n| [1, *n]).collect();
        let joined: Vec<u64> = a.iter().zip(b.iter()).map(|(m, n)| m * n).collect();
        let (x, y) = (self.reshaped(x, &outer), self.reshaped(y, &inner));
        let product = self.mul(x, y);
        self.reshaped(product, &joined)
    }

    /// A Tucker core `[p, q, k..]` between `out [o, p]` and `into [q, i]`: `[o, i, k..]` with entry
    /// `sum_pq out[o, p] core[p, q, k..] into[q, i]`.
    pub fn tucker(&mut self, core: NodeId, out: NodeId, into: NodeId) -> NodeId {
        let shape = self.shape(core);
        let (p, q, kernel) = (shape[0], shape[1], shape[2..].iter().product::<u64>());
        let (o, i) = (self.shape(out)[0], self.shape(into)[1]);
        let core = self.reshaped(core, &[p, q * kernel]);
        let left = self.product(out, core);
        let left = self.reshaped(left, &[o, q, kernel]);
        let left = self.permuted(left, &[0, 2, 1]);
        let left = self.reshaped(left, &[o * kernel, q]);
        let all = self.product(left, into);
        let all = self.reshaped(all, &[o, kernel, i]);
        let all = self.permuted(all, &[0, 2, 1]);
        let full: Vec<u64> = [o, i].into_iter().chain(shape[2..].iter().copied()).collect();
        self.reshaped(all, &full)
    }
}
