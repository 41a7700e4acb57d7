//! The change that the factors of one module make in its weight, kind by kind.
//!
//! The formulas are those of PEFT's `get_delta_weight` and, for kohya's files, of LyCORIS; each is checked against
//! numpy in `tests/golden/adapters.py`. Matrices are `[out, in]` unless the config says `fan_in_fan_out`.

use super::config::{Config, Kind};
use super::keys::Part;
use super::nodes::Nodes;
use crate::elaborate::show_shape;
use merge_ir::tir::NodeId;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Why the tensors of a module make no change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// One of several tensors that belong together is missing.
    Lacks { has: Part, lacks: &'static str },
    /// They fit neither each other nor the base.
    Shape(String),
    /// They are of another rank than the config says.
    Rank(String),
    /// They are of another kind than the config says, or of two kinds.
    Kind(Part),
}

type Made = Result<NodeId, Fault>;

/// What is known of an adapter besides the tensors of a module.
pub(super) struct Adapter<'a> {
    /// None for kohya's files, which carry their scales themselves.
    pub config: Option<&'a Config>,
    /// Tensors that all modules share.
    pub shared: &'a BTreeMap<Part, NodeId>,
}

/// The tensors of one module.
pub(super) struct Module<'a> {
    pub name: &'a str,
    pub parts: &'a BTreeMap<Part, NodeId>,
}

impl Module<'_> {
    fn get(&self, part: Part) -> Option<NodeId> {
        self.parts.get(part).copied()
    }

    fn need(&self, lacks: Part, has: Part) -> Made {
        self.get(lacks).ok_or(Fault::Lacks { has, lacks })
    }

    /// The kind that its tensors speak of, with the part that says so.
    fn kind(&self) -> Result<(Kind, Part), Fault> {
        let mut found: Option<(Kind, Part)> = None;
        for part in self.parts.keys().copied() {
            let kind = match part {
                "lora_E" | "ranknum" => Kind::AdaLora,
                "lora_A" | "lora_B" | "lora_embedding_A" | "lora_embedding_B" | "lora_mid" | "lora_B.bias" => Kind::Lora,
                p if p.starts_with("hada_") => Kind::LoHa,
                p if p.starts_with("lokr_") => Kind::LoKr,
                "ia3_l" => Kind::Ia3,
                "vera_lambda_b" | "vera_lambda_d" => Kind::Vera,
                _ => continue,
            };
            found = match found {
                None => Some((kind, part)),
                Some((before, _)) if before == kind => found,
                Some((Kind::Lora | Kind::AdaLora, _)) if matches!(kind, Kind::Lora | Kind::AdaLora) => {
                    Some((Kind::AdaLora, part))
                }
                Some(_) => return Err(Fault::Kind(part)),
            };
        }
        let any = self.parts.keys().next().copied().unwrap_or_default();
        found.ok_or(Fault::Lacks { has: any, lacks: "any factor" })
    }
}

impl Nodes<'_, '_> {
    /// The change of `weight`, in its shape.
    pub fn change(&mut self, m: &Module, adapter: &Adapter, weight: NodeId) -> Made {
        if let Some(diff) = m.get("diff") {
            return self.fitting(m, diff, weight);
        }
        let (kind, part) = m.kind()?;
        if adapter.config.is_some_and(|c| c.kind != kind) {
            return Err(match adapter.config.map(|c| c.kind) {
                Some(Kind::AdaLora) if kind == Kind::Lora => Fault::Lacks { has: part, lacks: "lora_E" },
                _ => Fault::Kind(part),
            });
        }
        match kind {
            Kind::Lora | Kind::AdaLora => self.lora(m, adapter, weight),
            Kind::LoHa => self.loha(m, adapter, weight),
            Kind::LoKr => self.lokr(m, adapter, weight),
            Kind::Ia3 => self.ia3(m, adapter, weight),
            Kind::Vera => self.vera(m, adapter, weight),
        }
    }

    /// The change of a module's bias, if it has one.
    pub fn change_of_bias(&mut self, m: &Module, adapter: &Adapter, bias: NodeId) -> Result<Option<NodeId>, Fault> {
        if let Some(diff) = m.get("diff_b") {
            return self.fitting(m, diff, bias).map(Some);
        }
        if let Some(change) = m.get("lora_B.bias") {
            let a = m.need("lora_A", "lora_B.bias")?;
            let r = self.shape(a)[0] as f64;
            let change = self.fitting(m, change, bias)?;
            let scale = adapter.config.map_or(1.0, |c| c.scale(m.name, r));
            return Ok(Some(self.scaled(scale, change)));
        }
        if let (Some(scales), Some(config)) = (m.get("ia3_l"), adapter.config) {
            let shape = self.shape(scales);
            let of_inputs = if shape.len() == 2 { shape[0] == 1 && shape[1] != 1 } else { config.is_feedforward(m.name) };
            if of_inputs {
                return Ok(None);
            }
            let flat = self.fitting(m, scales, bias)?;
            let scaled = self.mul(flat, bias);
            return Ok(Some(self.sub(scaled, bias)));
        }
        Ok(None)
    }

    /// A tensor of as many entries as `like`, in its shape.
    fn fitting(&mut self, m: &Module, x: NodeId, like: NodeId) -> Made {
        let (ours, theirs) = (self.shape(x), self.shape(like));
        let significant = |s: &[u64]| s.iter().copied().filter(|n| *n != 1).collect::<Vec<u64>>();
        if significant(&ours) == significant(&theirs) || same_kernel(&ours, &theirs) {
            return Ok(self.reshaped(x, &theirs));
        }
        Err(misfit(m, &[ours], &theirs))
    }

    /// LoRA with its kin: `s B A`, of a kernel or an embedding, with AdaLoRA's singular values and DoRA's lengths.
    /// Hu et al. 2021, arXiv 2106.09685; Zhang et al. 2023, arXiv 2303.10512; Liu et al. 2024, arXiv 2402.09353.
    fn lora(&mut self, m: &Module, adapter: &Adapter, weight: NodeId) -> Made {
        let embedding = m.get("lora_embedding_A").or(m.get("lora_embedding_B")).is_some();
        let (a_part, b_part) = if embedding { ("lora_embedding_A", "lora_embedding_B") } else { ("lora_A", "lora_B") };
        let (a, b) = match (m.get(a_part), m.get(b_part)) {
            (Some(a), Some(b)) => (a, b),
            (Some(_), None) => return Err(Fault::Lacks { has: a_part, lacks: b_part }),
            (None, Some(_)) => return Err(Fault::Lacks { has: b_part, lacks: a_part }),
            (None, None) => return Err(Fault::Lacks { has: m.kind()?.1, lacks: a_part }),
        };
        let (a_shape, b_shape, w_shape) = (self.shape(a), self.shape(b), self.shape(weight));
        let wrong = || misfit(m, &[b_shape.clone(), a_shape.clone()], &w_shape);
        if a_shape.len() < 2 || b_shape.len() < 2 || b_shape[2..].iter().any(|n| *n != 1) {
            return Err(wrong());
        }
        let (o, inner, r) = (b_shape[0], b_shape[1], a_shape[0]);
        let mid = m.get("lora_mid").map(|mid| self.shape(mid));
        let kernel = mid.iter().flat_map(|s| s.iter().skip(2)).chain(&a_shape[1..]);
        if entries([o].iter().chain(kernel)) != entries(w_shape.iter()) {
            return Err(wrong());
        }
        if let Some(config) = adapter.config.filter(|c| c.kind == Kind::Lora)
            && let Some(rank) = config.rank(m.name).filter(|rank| *rank != r as f64)
        {
            return Err(Fault::Rank(format!("`{}` has factors of rank {r}, and the config says {rank}", m.name)));
        }
        // AdaLoRA may leave a module no rank at all.
        if r == 0 && inner == 0 {
            return Ok(self.cx.zeros(&w_shape, self.span).node);
        }
        let b = self.reshaped(b, &[o, inner]);
        let change = if let (Some(mid), Some(core)) = (m.get("lora_mid"), mid) {
            if core.len() < 2 || core[0] != inner || core[1] != r || a_shape[2..].iter().any(|n| *n != 1) {
                return Err(misfit(m, &[b_shape, core, a_shape], &w_shape));
            }
            let a = self.reshaped(a, &[r, a_shape[1]]);
            self.tucker(mid, b, a)
        } else {
            if inner != r {
                return Err(wrong());
            }
            let mut a = self.reshaped(a, &[r, entries(a_shape[1..].iter())]);
            if adapter.config.is_some_and(|c| c.kind == Kind::AdaLora) || m.get("lora_E").is_some() {
                let values = m.need("lora_E", a_part)?;
                if *self.shape(values) != [r, 1] {
                    return Err(misfit(m, &[self.shape(values), a_shape], &w_shape));
                }
                a = self.mul(a, values);
            }
            self.product(b, a)
        };
        let scaled = self.by_scale(m, adapter, r, change)?;
        let turned = embedding || adapter.config.is_some_and(|c| c.fan_in_fan_out && w_shape.len() == 2);
        let change = if turned { self.transposed(scaled) } else { scaled };
        if self.shape(change)[..] != w_shape[..] && !same_kernel(&self.shape(change), &w_shape) {
            return Err(wrong());
        }
        let change = self.reshaped(change, &w_shape);
        match (m.get("lora_magnitude_vector"), m.get("dora_scale")) {
            (Some(lengths), _) => self.dora(m, weight, change, lengths, turned),
            (None, Some(lengths)) => {
                // LyCORIS keeps the axis along which the lengths lie.
                let along_inputs = self.shape(lengths).first() == Some(&1) && w_shape[0] != 1;
                self.dora(m, weight, change, lengths, along_inputs)
            }
            (None, None) if adapter.config.is_some_and(|c| c.dora) => {
                Err(Fault::Lacks { has: a_part, lacks: "lora_magnitude_vector" })
            }
            (None, None) => Ok(change),
        }
    }

    /// The product times the scale that the config or the file states.
    fn by_scale(&mut self, m: &Module, adapter: &Adapter, r: u64, change: NodeId) -> Made {
        let Some(config) = adapter.config else {
            // Where a file of kohya's says nothing, alpha is the rank.
            let Some(alpha) = m.get("alpha") else { return Ok(change) };
            let alpha = self.number(m, alpha)?;
            let r = self.constant(r as f64);
            let scale = self.div(alpha, r);
            return Ok(self.mul(scale, change));
        };
        if let (Kind::AdaLora, Some(divisor)) = (config.kind, m.get("ranknum")) {
            let divisor = self.number(m, divisor)?;
            let (alpha, guard) = (self.constant(config.adalora_alpha(r as f64)), self.constant(1e-5));
            let divisor = self.add(divisor, guard);
            let scale = self.div(alpha, divisor);
            return Ok(self.mul(scale, change));
        }
        Ok(self.scaled(config.scale(m.name, r as f64), change))
    }

    /// A stored number, which may have axes of length 1.
    fn number(&mut self, m: &Module, x: NodeId) -> Made {
        let shape = self.shape(x);
        if shape.iter().any(|n| *n != 1) {
            let shown = show_shape(&shape);
            return Err(Fault::Shape(format!("`{}` has {shown} where a number is wanted", m.name)));
        }
        Ok(self.reshaped(x, &[]))
    }

    /// `m (W + D) / |W + D| - W`, lengths taken of rows, or of columns where `turned`. A row of zeros stays one.
    fn dora(&mut self, m: &Module, weight: NodeId, change: NodeId, lengths: NodeId, turned: bool) -> Made {
        let shape = self.shape(weight);
        let axis = if turned { 1 } else { 0 };
        let count = shape.get(axis).copied().unwrap_or(0);
        if shape.len() < 2 || entries(self.shape(lengths).iter()) != count {
            return Err(misfit(m, &[self.shape(lengths)], &shape));
        }
        // The axis of the lengths first, all others as one row, so that each row is resized while it is at hand.
        let mut perm: Vec<u32> = (0..shape.len() as u32).collect();
        perm.swap(0, axis);
        let front = |nodes: &mut Self, x| if turned { nodes.permuted(x, &perm) } else { x };
        let moved: Vec<u64> = perm.iter().map(|a| shape[*a as usize]).collect();
        let flat = [count, entries(shape.iter()) / count.max(1)];
        let (weight, change) = (front(self, weight), front(self, change));
        let (weight, change) = (self.reshaped(weight, &flat), self.reshaped(change, &flat));
        let sum = self.add(weight, change);
        let sizes = self.lengths_of_rows(sum);
        let lengths = self.reshaped(lengths, &[count, 1]);
        let factors = self.div(lengths, sizes);
        let resized = self.mul(factors, sum);
        let result = self.sub(resized, weight);
        let result = self.reshaped(result, &moved);
        Ok(if turned { self.permuted(result, &perm) } else { result })
    }

    /// LoHa: `(w1a w1b) * (w2a w2b)`, with Tucker cores where the file has them.
    /// Hyeon-Woo et al. 2021, arXiv 2108.06098; Yeh et al. 2023, LyCORIS, arXiv 2309.14859.
    fn loha(&mut self, m: &Module, adapter: &Adapter, weight: NodeId) -> Made {
        let has = m.kind()?.1;
        let half = |nodes: &mut Self, a: Part, b: Part, t: Part| -> Result<(NodeId, u64), Fault> {
            let (a, b) = (m.need(a, has)?, m.need(b, has)?);
            nodes.pair(m, a, b, m.get(t), weight)
        };
        let (left, r) = half(self, "hada_w1_a", "hada_w1_b", "hada_t1")?;
        let (right, _) = half(self, "hada_w2_a", "hada_w2_b", "hada_t2")?;
        if self.shape(left) != self.shape(right) {
            return Err(misfit(m, &[self.shape(left), self.shape(right)], &self.shape(weight)));
        }
        let product = self.mul(left, right);
        let change = self.fitting(m, product, weight)?;
        self.expect_rank(m, adapter, r)?;
        self.by_scale(m, adapter, r, change)
    }

    /// `a b`, or with a core `sum_pq a[p, o] core[p, q, k..] b[q, i]`; and the rank.
    fn pair(&mut self, m: &Module, a: NodeId, b: NodeId, core: Option<NodeId>, weight: NodeId) -> Result<(NodeId, u64), Fault> {
        let (x, y) = (self.shape(a), self.shape(b));
        let wrong = misfit(m, &[x.clone(), y.clone()], &self.shape(weight));
        let (&[a0, a1], &[b0, b1]) = (&x[..], &y[..]) else { return Err(wrong) };
        let largest = entries(self.shape(weight).iter());
        let Some(core) = core else {
            let fits = a1 == b0 && entries([a0, b1].iter()) <= largest;
            return if fits { Ok((self.product(a, b), b0)) } else { Err(wrong) };
        };
        let inner = self.shape(core);
        let fits = inner.len() >= 2 && inner[0] == a0 && inner[1] == b0;
        if !fits || entries([a1, b1].iter().chain(&inner[2..])) > largest {
            return Err(misfit(m, &[x, inner, y], &self.shape(weight)));
        }
        let out = self.transposed(a);
        Ok((self.tucker(core, out, b), b0))
    }

    fn expect_rank(&self, m: &Module, adapter: &Adapter, r: u64) -> Result<(), Fault> {
        match adapter.config.and_then(|c| c.rank(m.name)) {
            Some(rank) if rank != r as f64 => {
                Err(Fault::Rank(format!("`{}` has factors of rank {r}, and the config says {rank}", m.name)))
            }
            _ => Ok(()),
        }
    }

    /// LoKr: the Kronecker product of two matrices, each whole or as a product.
    /// Yeh et al. 2023, LyCORIS, arXiv 2309.14859.
    fn lokr(&mut self, m: &Module, adapter: &Adapter, weight: NodeId) -> Made {
        let has = m.kind()?.1;
        let mut rank = None;
        let mut side = |nodes: &mut Self, whole: Part, a: Part, b: Part, core: Option<Part>| -> Made {
            if let Some(whole) = m.get(whole) {
                return Ok(whole);
            }
            let (a, b) = (m.need(a, has)?, m.need(b, has)?);
            let (product, r) = nodes.pair(m, a, b, core.and_then(|t| m.get(t)), weight)?;
            rank = Some(r);
            Ok(product)
        };
        let left = side(self, "lokr_w1", "lokr_w1_a", "lokr_w1_b", None)?;
        let right = side(self, "lokr_w2", "lokr_w2_a", "lokr_w2_b", Some("lokr_t2"))?;
        let (x, y) = (self.shape(left), self.shape(right));
        let fits = entries(x.iter().chain(y.iter())) == entries(self.shape(weight).iter());
        if x.len() != 2 || y.len() < 2 || !fits {
            return Err(misfit(m, &[x, y], &self.shape(weight)));
        }
        // PEFT multiplies a kernel of one axis as `torch.kron` does, from the last axis on; LyCORIS and PEFT's
        // other kernels from the first.
        let ones = vec![1; y.len() - 2];
        let from_last = adapter.config.is_some() && y.len() == 3;
        let grown: Vec<u64> = if from_last { [&ones[..], &x[..]].concat() } else { [&x[..], &ones[..]].concat() };
        let left = self.reshaped(left, &grown);
        let product = self.kronecker(left, right);
        let (ours, theirs) = (self.shape(product), self.shape(weight));
        if !from_last && ours[0] != theirs[0] {
            return Err(misfit(m, &[x, y], &theirs));
        }
        let change = self.reshaped(product, &theirs);
        match (adapter.config, rank) {
            (Some(config), _) => Ok(self.scaled(config.scale(m.name, config.rank(m.name).unwrap_or(1.0)), change)),
            // LyCORIS does not scale what is stored whole.
            (None, Some(r)) => self.by_scale(m, adapter, r, change),
            (None, None) => Ok(change),
        }
    }

    /// IA3: rows scaled, or columns where the file's shape (of kernels: the config) says so; as a change, `W l - W`.
    /// Liu et al. 2022, arXiv 2205.05638.
    fn ia3(&mut self, m: &Module, adapter: &Adapter, weight: NodeId) -> Made {
        let scales = m.need("ia3_l", "ia3_l")?;
        let (given, shape) = (self.shape(scales), self.shape(weight));
        let wrong = misfit(m, std::slice::from_ref(&given), &shape);
        let turned = adapter.config.is_some_and(|c| c.fan_in_fan_out) && shape.len() == 2;
        let of_inputs = match given.len() {
            2 => given[0] == 1,
            _ => adapter.config.is_some_and(|c| c.is_feedforward(m.name)),
        };
        let axis = usize::from(of_inputs != turned);
        let count = entries(given.iter());
        if shape.len() < 2 || shape[axis] != count {
            return Err(wrong);
        }
        let mut place = vec![1; shape.len()];
        place[axis] = count;
        let scales = self.reshaped(scales, &place);
        let scaled = self.mul(weight, scales);
        Ok(self.sub(scaled, weight))
    }

    /// VeRA: `(b * B) (d * A)`, of factors that all modules share and that are cut to size.
    /// Kopiczko et al. 2023, arXiv 2310.11454.
    fn vera(&mut self, m: &Module, adapter: &Adapter, weight: NodeId) -> Made {
        let rows = m.need("vera_lambda_b", "vera_lambda_d")?;
        let ranks = m.need("vera_lambda_d", "vera_lambda_b")?;
        let lacks = |lacks| Fault::Lacks { has: "vera_lambda_b", lacks };
        let a = adapter.shared.get("vera_A").copied().ok_or(lacks("vera_A"))?;
        let b = adapter.shared.get("vera_B").copied().ok_or(lacks("vera_B"))?;
        let turned = adapter.config.is_some_and(|c| c.fan_in_fan_out);
        let shape = self.shape(weight);
        let (o, i) = match (&shape[..], turned) {
            ([o, i], false) | ([i, o], true) => (*o, *i),
            _ => return Err(misfit(m, &[self.shape(rows)], &shape)),
        };
        let (a_shape, b_shape) = (self.shape(a), self.shape(b));
        let r = entries(self.shape(ranks).iter());
        let fits = match (&a_shape[..], &b_shape[..]) {
            ([ar, ai], [bo, br]) => ar == br && *ar == r && *ai >= i && *bo >= o,
            _ => false,
        };
        if !fits || entries(self.shape(rows).iter()) != o {
            return Err(misfit(m, &[b_shape, a_shape, self.shape(rows)], &shape));
        }
        let (a, b) = (self.first(a, 1, i), self.first(b, 0, o));
        let (rows, ranks) = (self.reshaped(rows, &[o, 1]), self.reshaped(ranks, &[r, 1]));
        let (b, a) = (self.mul(rows, b), self.mul(ranks, a));
        let change = self.product(b, a);
        Ok(if turned { self.transposed(change) } else { change })
    }
}

/// How many entries a tensor of these axes has; more than any tensor where that cannot be counted.
fn entries<'a>(axes: impl Iterator<Item = &'a u64>) -> u64 {
    axes.fold(1, |n: u64, axis| n.saturating_mul(*axis))
}

/// Whether a product has the entries of a kernel, in its order: the first axis, and all others as one or apart.
fn same_kernel(product: &[u64], kernel: &[u64]) -> bool {
    let rest = |s: &[u64]| entries(s.iter().skip(1));
    kernel.len() > 2 && product.first() == kernel.first() && rest(product) == rest(kernel)
}

fn misfit(m: &Module, factors: &[Rc<[u64]>], weight: &[u64]) -> Fault {
    let listed: Vec<String> = factors.iter().map(|s| show_shape(s)).collect();
    Fault::Shape(format!("`{}` has {} here, and the base has {}", m.name, listed.join(" and "), show_shape(weight)))
}
