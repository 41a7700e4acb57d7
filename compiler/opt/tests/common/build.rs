//! Builds small graphs.

use merge_abi::{BinaryFn, Checkpoint, DType, RandomKey, ReduceFn, Role, Routine, Setting, SettingId, Source, UnaryFn};
use merge_base::{FileId, Span};
use merge_ir::tir::{Graph, NodeId, Op, OutTensor, Output, Over, SourceId};

/// A graph in the making. Checkpoint 0 is `base`; all tensors are F32.
pub struct Build {
    pub graph: Graph,
}

fn here() -> Span {
    Span::new(FileId(0), 0, 1)
}

impl Default for Build {
    fn default() -> Build {
        let mut graph = Graph::default();
        for name in ["base", "math", "code", "chat"] {
            graph.checkpoints.push(Checkpoint { name: name.into(), path: name.into(), config: None });
        }
        graph.outputs.push(Output {
            path: "out".into(),
            role: Role::Weights,
            tensors: Vec::new(),
            shard: None,
            like: Some(0),
            tokenizer: None,
            config: Vec::new(),
            adapter: None,
            trained: None,
            place: "test.merge:1:1".into(),
            span: here(),
        });
        Build { graph }
    }
}

impl Build {
    pub fn add(&mut self, op: Op, shape: &[u64]) -> NodeId {
        self.graph.add(op, shape.into(), here())
    }

    pub fn load(&mut self, checkpoint: u32, name: &str, shape: &[u64]) -> NodeId {
        self.load_as(checkpoint, name, shape, DType::F32)
    }

    pub fn load_as(&mut self, checkpoint: u32, name: &str, shape: &[u64], dtype: DType) -> NodeId {
        let source = Source { checkpoint, name: name.into(), dtype, shape: shape.to_vec() };
        let id = match self.graph.sources.iter().position(|s| *s == source) {
            Some(id) => id,
            None => {
                self.graph.sources.push(source);
                self.graph.sources.len() - 1
            }
        };
        self.add(Op::Load(SourceId(id as u32)), shape)
    }

    pub fn save(&mut self, name: &str, node: NodeId) {
        self.graph.outputs[0].tensors.push(OutTensor { name: name.into(), node, dtype: DType::F32 });
    }

    pub fn num(&mut self, x: f64) -> NodeId {
        self.graph.constant(x, here())
    }

    pub fn setting(&mut self, name: &str, default: f64) -> NodeId {
        self.graph.settings.push(Setting { name: name.into(), default, range: None });
        self.add(Op::Setting(SettingId(self.graph.settings.len() as u32 - 1)), &[])
    }

    pub fn un(&mut self, f: UnaryFn, a: NodeId) -> NodeId {
        let shape = self.graph.shape(a).clone();
        self.add(Op::Unary(f, a), &shape)
    }

    pub fn bin(&mut self, f: BinaryFn, a: NodeId, b: NodeId) -> NodeId {
        let shape = self.joint(&[a, b]);
        self.add(Op::Binary(f, a, b), &shape)
    }

    pub fn select(&mut self, c: NodeId, a: NodeId, b: NodeId) -> NodeId {
        let shape = self.joint(&[c, a, b]);
        self.add(Op::Select(c, a, b), &shape)
    }

    fn joint(&self, nodes: &[NodeId]) -> Vec<u64> {
        let rank = nodes.iter().map(|n| self.graph.shape(*n).len()).max().unwrap_or(0);
        let of = |i: usize| nodes.iter().filter_map(|n| self.graph.shape(*n).get(i).copied()).find(|d| *d != 1).unwrap_or(1);
        (0..rank).map(of).collect()
    }

    pub fn reduce(&mut self, f: ReduceFn, over: Over, input: NodeId) -> NodeId {
        let shape = self.reduced(over, input);
        self.add(Op::Reduce { f, over, input }, &shape)
    }

    pub fn kth(&mut self, over: Over, input: NodeId, k: NodeId) -> NodeId {
        let shape = self.reduced(over, input);
        self.add(Op::Kth { input, k, over }, &shape)
    }

    fn reduced(&self, over: Over, input: NodeId) -> Vec<u64> {
        let mut shape = self.graph.shape(input).to_vec();
        match over {
            Over::All => return Vec::new(),
            Over::Rows => *shape.last_mut().unwrap() = 1,
        }
        shape
    }

    pub fn top(&mut self, over: Over, input: NodeId, k: NodeId) -> NodeId {
        let shape = self.graph.shape(input).clone();
        self.add(Op::TopMask { input, k, over }, &shape)
    }

    pub fn rank(&mut self, over: Over, input: NodeId) -> NodeId {
        let shape = self.graph.shape(input).clone();
        self.add(Op::Rank { input, over }, &shape)
    }

    pub fn uniform(&mut self, stream: u64, first: u64, shape: &[u64]) -> NodeId {
        self.add(Op::Uniform { key: RandomKey { seed: Some(7), stream }, first }, shape)
    }

    pub fn slice(&mut self, input: NodeId, start: &[u64], shape: &[u64]) -> NodeId {
        self.add(Op::Slice { input, start: start.into() }, shape)
    }

    pub fn reshape(&mut self, input: NodeId, shape: &[u64]) -> NodeId {
        self.add(Op::Reshape { input }, shape)
    }

    pub fn transpose(&mut self, input: NodeId) -> NodeId {
        let shape = self.graph.shape(input).clone();
        self.add(Op::Transpose { input, perm: [1, 0].into() }, &[shape[1], shape[0]])
    }

    pub fn concat(&mut self, axis: u32, inputs: &[NodeId]) -> NodeId {
        let mut shape = self.graph.shape(inputs[0]).to_vec();
        shape[axis as usize] = inputs.iter().map(|i| self.graph.shape(*i)[axis as usize]).sum();
        self.add(Op::Concat { axis, inputs: inputs.into() }, &shape)
    }

    /// One result of a routine.
    pub fn call(&mut self, routine: Routine, result: u32, inputs: &[NodeId]) -> NodeId {
        let shapes: Vec<&[u64]> = inputs.iter().map(|i| &**self.graph.shape(*i)).collect();
        let shape = routine.results(&shapes).unwrap().swap_remove(result as usize);
        self.add(Op::Call { routine: routine.into(), result, inputs: inputs.into() }, &shape)
    }

    /// Entries of a tensor joined to one vector.
    pub fn flat(&mut self, nodes: &[NodeId]) -> NodeId {
        let parts: Vec<NodeId> = nodes
            .iter()
            .map(|n| {
                let entries = self.graph.shape(*n).iter().product();
                self.reshape(*n, &[entries])
            })
            .collect();
        self.concat(0, &parts)
    }

    /// The piece of `whole` that belongs to a tensor of this shape.
    pub fn unflat(&mut self, whole: NodeId, start: u64, shape: &[u64]) -> NodeId {
        let piece = self.slice(whole, &[start], &[shape.iter().product()]);
        self.reshape(piece, shape)
    }

    pub fn sum(&mut self, nodes: &[NodeId]) -> NodeId {
        nodes[1..].iter().fold(nodes[0], |s, n| self.bin(BinaryFn::Add, s, *n))
    }

    /// `sum(a * b)`.
    pub fn dot(&mut self, over: Over, a: NodeId, b: NodeId) -> NodeId {
        let product = self.bin(BinaryFn::Mul, a, b);
        self.reduce(ReduceFn::Sum, over, product)
    }

    /// `keep_top(x, density)`.
    pub fn keep_top(&mut self, x: NodeId, density: NodeId) -> NodeId {
        let n = self.graph.shape(x).iter().product::<u64>() as f64;
        let n = self.num(n);
        let k = self.bin(BinaryFn::Mul, density, n);
        let k = self.un(UnaryFn::Floor, k);
        let key = self.un(UnaryFn::Abs, x);
        let mask = self.top(Over::All, key, k);
        let zero = self.num(0.0);
        self.select(mask, x, zero)
    }

    /// `ties` as the standard library has it.
    pub fn ties(&mut self, base: NodeId, models: &[NodeId], density: NodeId, lambda: NodeId) -> NodeId {
        let (zero, one) = (self.num(0.0), self.num(1.0));
        let kept: Vec<NodeId> = models
            .iter()
            .map(|m| {
                let delta = self.bin(BinaryFn::Sub, *m, base);
                self.keep_top(delta, density)
            })
            .collect();
        let total = self.sum(&kept);
        let elected = self.un(UnaryFn::Sign, total);
        let agreeing: Vec<NodeId> = kept
            .iter()
            .map(|t| {
                let sign = self.un(UnaryFn::Sign, *t);
                let same = self.bin(BinaryFn::Eq, sign, elected);
                self.select(same, *t, zero)
            })
            .collect();
        let used: Vec<NodeId> = agreeing.iter().map(|t| self.bin(BinaryFn::Ne, *t, zero)).collect();
        let (sum, count) = (self.sum(&agreeing), self.sum(&used));
        let count = self.bin(BinaryFn::Max, one, count);
        let scaled = self.bin(BinaryFn::Mul, lambda, sum);
        let mean = self.bin(BinaryFn::Div, scaled, count);
        self.bin(BinaryFn::Add, base, mean)
    }
}
