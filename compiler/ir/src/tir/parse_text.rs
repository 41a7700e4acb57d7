//! Reads the text form of a graph back.

use super::text::{reduce_name, role};
use super::{
    Constraint, Graph, Layer, Network, NodeId, Op, OutTensor, Output, Over, Parameter, ParameterId, Reweighted, SourceId, Trained,
};
use merge_abi::{BinaryFn, Checkpoint, DType, RandomKey, ReduceFn, Routine, Setting, SettingId, Source, UnaryFn};
use merge_base::{FileId, Span};

type Parsed<T> = Result<T, String>;

/// The words of a line: names, numbers and punctuation as they stand, strings unescaped.
#[derive(Default)]
pub(super) struct Parser {
    words: Vec<String>,
    next: usize,
}

impl Parser {
    pub(super) fn graph(mut self, text: &str) -> Parsed<Graph> {
        let mut graph = Graph::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with("//") {
                continue;
            }
            self.words = words(line).map_err(|e| format!("line {}: {e}", number + 1))?;
            self.next = 0;
            let quoted = line.starts_with('"');
            self.line(&mut graph, quoted).map_err(|e| format!("line {}: {e}", number + 1))?;
        }
        Ok(graph)
    }

    /// One line; a quoted first word is the name of a tensor, whatever it says.
    fn line(&mut self, graph: &mut Graph, quoted: bool) -> Parsed<()> {
        let first = self.word()?;
        match first.as_str() {
            _ if quoted => {
                let tensor = OutTensor { name: first, dtype: self.dtype()?, node: self.node()? };
                graph.outputs.last_mut().ok_or("a tensor outside an output")?.tensors.push(tensor);
            }
            "checkpoint" => graph.checkpoints.push(Checkpoint { name: self.word()?, path: self.word()?, config: None }),
            "source" => {
                let (checkpoint, name, dtype) = (self.number()?, self.word()?, self.dtype()?);
                graph.sources.push(Source { checkpoint, name, dtype, shape: self.list()? });
            }
            "setting" => {
                let (name, default) = (self.word()?, self.number()?);
                let range = if self.take("in") { Some((self.number()?, self.number()?)) } else { None };
                graph.settings.push(Setting { name, default, range });
            }
            "choice" => graph.structural.push((self.word()?, self.word()?)),
            "require" => {
                let (node, message) = (self.node()?, self.word()?);
                self.expect("at")?;
                graph.constraints.push(Constraint { node, message, place: self.word()? });
            }
            "output" => {
                let output = self.output()?;
                graph.outputs.push(output);
            }
            "parameter" => {
                let parameter = self.parameter()?;
                graph.parameters.push(parameter);
            }
            "network" | "module" => {
                let network = self.network(first == "module")?;
                graph.networks.push(network);
            }
            "reweighted" => {
                let (name, node) = (self.word()?, self.node()?);
                let source = if self.take("of") { Some(self.source()?) } else { None };
                graph.reweighted.push(Reweighted { name, source, node });
            }
            word if word.starts_with('%') => self.definition(graph, &first)?,
            word => return Err(format!("`{word}` begins no line")),
        }
        match self.words.get(self.next) {
            Some(w) => Err(format!("unexpected `{w}`")),
            None => Ok(()),
        }
    }

    fn output(&mut self) -> Parsed<Output> {
        let path = self.word()?;
        let word = self.word()?;
        let role = role(&word).ok_or_else(|| format!("`{word}` is no role"))?;
        self.expect("at")?;
        let mut output = Output {
            path,
            role,
            tensors: Vec::new(),
            shard: None,
            like: None,
            tokenizer: None,
            config: Vec::new(),
            adapter: None,
            trained: None,
            place: self.word()?,
            span: nowhere(),
        };
        while self.next < self.words.len() {
            match self.word()?.as_str() {
                "shard" => output.shard = Some(self.number()?),
                "like" => output.like = Some(self.number()?),
                "tokenizer" => output.tokenizer = Some(self.number()?),
                "config" => output.config.push((self.word()?, self.word()?)),
                "adapter" => output.adapter = Some(self.word()?),
                "trained" => {
                    output.trained = Some(Trained {
                        networks: self.number()?..self.number()?,
                        reweighted: self.number()?..self.number()?,
                        starts: self.number()?,
                        file: self.word()?,
                    });
                }
                w => return Err(format!("unexpected `{w}`")),
            }
        }
        Ok(output)
    }

    fn source(&mut self) -> Parsed<SourceId> {
        self.expect("source")?;
        Ok(SourceId(self.number()?))
    }

    fn parameter(&mut self) -> Parsed<Parameter> {
        let (name, shape, start) = (self.word()?, self.list()?, self.node()?);
        let trainable = self.either("trained", "kept")?;
        Ok(Parameter { name, shape: shape.into(), start, written: self.word()?, trainable, span: nowhere() })
    }

    fn network(&mut self, replaces: bool) -> Parsed<Network> {
        let (name, output) = (self.word()?, self.node()?);
        self.expect("of")?;
        Ok(Network { name, inputs: self.nodes()?, output, replaces })
    }

    fn definition(&mut self, graph: &mut Graph, name: &str) -> Parsed<()> {
        self.expect("=")?;
        let word = self.word()?;
        let op = match word.as_str() {
            "const" => Op::Const(self.number::<f64>()?.to_bits()),
            "setting" => Op::Setting(SettingId(self.number()?)),
            "literal" => Op::Literal(self.list::<f64>()?.iter().map(|v| v.to_bits()).collect()),
            "load" => Op::Load(SourceId(self.number()?)),
            "select" => Op::Select(self.node()?, self.node()?, self.node()?),
            "coord" => Op::Coord { axis: self.number()? },
            "uniform" => Op::Uniform { key: self.random()?, first: self.number()? },
            "normal" => Op::Normal { key: self.random()?, first: self.number()? },
            "reduce" => {
                let name = self.word()?;
                let f = [ReduceFn::Sum, ReduceFn::Min, ReduceFn::Max].into_iter().find(|f| reduce_name(*f) == name);
                let f = f.ok_or_else(|| format!("`{name}` is no reduction"))?;
                Op::Reduce { f, over: self.over()?, input: self.node()? }
            }
            "kth" => {
                let (over, input, k) = (self.over()?, self.node()?, self.node()?);
                Op::Kth { input, k, over }
            }
            "topmask" => {
                let (over, input, k) = (self.over()?, self.node()?, self.node()?);
                Op::TopMask { input, k, over }
            }
            "rank" => {
                let over = self.over()?;
                Op::Rank { input: self.node()?, over }
            }
            "slice" => Op::Slice { input: self.node()?, start: self.list()?.into() },
            "reshape" => Op::Reshape { input: self.node()? },
            "transpose" => Op::Transpose { input: self.node()?, perm: self.list()?.into() },
            "concat" => {
                let axis = self.number()?;
                Op::Concat { axis, inputs: self.nodes()?.into() }
            }
            "call" => {
                let (routine, result) = (self.routine()?.into(), self.number()?);
                Op::Call { routine, result, inputs: self.nodes()?.into() }
            }
            "parameter" => Op::Parameter(ParameterId(self.number()?)),
            "layer" => {
                let layer = self.layer()?.into();
                Op::Layer { layer, inputs: self.nodes()?.into() }
            }
            name => {
                if let Some(f) = UnaryFn::ALL.into_iter().find(|f| f.name() == name) {
                    Op::Unary(f, self.node()?)
                } else if let Some(f) = BinaryFn::ALL.into_iter().find(|f| f.name() == name) {
                    Op::Binary(f, self.node()?, self.node()?)
                } else {
                    return Err(format!("`{name}` is no operation"));
                }
            }
        };
        self.expect(":")?;
        if op.operands().iter().any(|o| o.0 as usize >= graph.len()) {
            return Err("an operand is defined later".into());
        }
        let shape: Vec<u64> = self.list()?;
        let id = graph.add(op, shape.into(), nowhere());
        if format!("%{}", id.0) != name { Err(format!("this node is %{}, not {name}", id.0)) } else { Ok(()) }
    }

    /// A routine with what the recipe settles about it.
    fn routine(&mut self) -> Parsed<Routine> {
        let name = self.word()?;
        Ok(match name.as_str() {
            "matmul" => Routine::MatMul,
            "svd" => Routine::Svd { rank: self.number()? },
            "full_svd" => Routine::FullSvd,
            "qr" => Routine::Qr,
            "eigh" => Routine::Eigh,
            "solve" => Routine::Solve,
            "polar" => Routine::Polar,
            "sort" => Routine::Sort { largest_first: self.either("down", "up")? },
            "sort_index" => Routine::SortIndex { largest_first: self.either("down", "up")? },
            "rank" => Routine::Rank { largest_first: self.either("down", "up")? },
            "cumsum" => Routine::CumSum,
            "argmax" => Routine::ArgMax,
            "take" => Routine::Take { axis: self.number()? },
            "take_along" => Routine::TakeAlong,
            "scatter" => Routine::Scatter { axis: self.number()?, len: self.number()? },
            "indices" => Routine::Indices { count: self.number()? },
            "unpack" => Routine::Unpack,
            "assignment" => Routine::Assignment { maximize: self.either("most", "least")? },
            "kmeans" => Routine::KMeans { k: self.number()?, key: self.random()? },
            "permutation" => Routine::Permutation { n: self.number()?, key: self.random()? },
            _ => return Err(format!("`{name}` is no routine")),
        })
    }

    /// A layer with what the recipe settles about it.
    fn layer(&mut self) -> Parsed<Layer> {
        let name = self.word()?;
        Ok(match name.as_str() {
            "input" => Layer::Input { name: self.word()? },
            "batch_matmul" => Layer::MatMul,
            "conv" => {
                let (strides, flat, groups) = (self.list()?.into(), self.list::<u64>()?, self.number()?);
                if flat.len() % 2 != 0 {
                    return Err("pads come in pairs".into());
                }
                Layer::Conv { strides, pads: flat.chunks(2).map(|p| (p[0], p[1])).collect(), groups }
            }
            "max_pool" | "avg_pool" => Layer::Pool { max: name == "max_pool", size: self.number()?, stride: self.number()? },
            "batch_norm" => Layer::BatchNorm { epsilon: self.number::<f64>()?.to_bits(), axis: self.number()? },
            "dropout" => Layer::Dropout,
            "embedding" => Layer::Embedding,
            "module" => Layer::Module { name: self.word()? },
            _ => return Err(format!("`{name}` is no layer")),
        })
    }

    /// Whether the next word is the first of two.
    fn either(&mut self, yes: &str, no: &str) -> Parsed<bool> {
        match self.word()? {
            w if w == yes => Ok(true),
            w if w == no => Ok(false),
            w => Err(format!("`{w}` is neither `{yes}` nor `{no}`")),
        }
    }

    /// Nodes up to the next word that is none.
    fn nodes(&mut self) -> Parsed<Vec<NodeId>> {
        let mut nodes = Vec::new();
        while self.words.get(self.next).is_some_and(|w| w.starts_with('%')) {
            nodes.push(self.node()?);
        }
        Ok(nodes)
    }

    fn word(&mut self) -> Parsed<String> {
        self.next += 1;
        self.words.get(self.next - 1).cloned().ok_or_else(|| "the line ends too early".into())
    }

    fn take(&mut self, word: &str) -> bool {
        let here = self.words.get(self.next).is_some_and(|w| w == word);
        self.next += usize::from(here);
        here
    }

    fn expect(&mut self, word: &str) -> Parsed<()> {
        if self.take(word) { Ok(()) } else { Err(format!("`{word}` expected")) }
    }

    fn number<T: std::str::FromStr>(&mut self) -> Parsed<T> {
        let word = self.word()?;
        word.parse().map_err(|_| format!("`{word}` is not the number expected"))
    }

    fn node(&mut self) -> Parsed<NodeId> {
        let word = self.word()?;
        let number = word.strip_prefix('%').and_then(|n| n.parse().ok());
        number.map(NodeId).ok_or_else(|| format!("`{word}` is no node"))
    }

    fn over(&mut self) -> Parsed<Over> {
        match self.word()?.as_str() {
            "all" => Ok(Over::All),
            "rows" => Ok(Over::Rows),
            w => Err(format!("`{w}` is neither `all` nor `rows`")),
        }
    }

    fn dtype(&mut self) -> Parsed<DType> {
        let word = self.word()?;
        DType::from_safetensors(&word).ok_or_else(|| format!("`{word}` is no dtype"))
    }

    fn random(&mut self) -> Parsed<RandomKey> {
        let seed = if self.take("run") { None } else { Some(self.number()?) };
        Ok(RandomKey { seed, stream: self.number()? })
    }

    fn list<T: std::str::FromStr>(&mut self) -> Parsed<Vec<T>> {
        self.expect("[")?;
        let mut items = Vec::new();
        while !self.take("]") {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(self.number()?);
        }
        Ok(items)
    }
}

fn nowhere() -> Span {
    Span::new(FileId(0), 0, 0)
}

fn words(line: &str) -> Parsed<Vec<String>> {
    let mut out = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(&c) = chars.peek() {
        match c {
            ' ' | '\t' => drop(chars.next()),
            '[' | ']' | ',' => {
                chars.next();
                out.push(c.to_string());
            }
            '"' => {
                chars.next();
                out.push(string(&mut chars)?);
            }
            _ => {
                let mut word = String::new();
                while let Some(c) = chars.next_if(|c| !" \t[],\"".contains(*c)) {
                    word.push(c);
                }
                out.push(word);
            }
        }
    }
    Ok(out)
}

/// The rest of a string after its opening quote, with the escapes that Rust's `{:?}` writes.
fn string(chars: &mut impl Iterator<Item = char>) -> Parsed<String> {
    let mut out = String::new();
    loop {
        match chars.next().ok_or("a string has no end")? {
            '"' => return Ok(out),
            '\\' => match chars.next().ok_or("a string has no end")? {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                '0' => out.push('\0'),
                'u' => {
                    let digits: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                    out.push(code.ok_or("a bad escape in a string")?);
                }
                c => out.push(c),
            },
            c => out.push(c),
        }
    }
}
