//! Values of real decisions that meet the conditions of a candidate, or the proof that there are none.
//!
//! Conditions are functions of settings in the candidate's graph. A box of values is looked at as a whole, by interval arithmetic (Moore
//! 1966): where a condition is false for all of it, it is left out; otherwise its middle and its corners are tried, and it is cut in two
//! along its widest side. Bounds are widened by more than rounding can do, so what is left out holds nothing.
//!
//! Invariant: a point that is found meets every condition as the runtime computes it; that there is none is proved.
//!
//! Not here: which candidates are asked about (`conflict`, `passes`).

use merge_abi::{BinaryFn, UnaryFn};
use merge_base::Span;
use merge_ir::tir::{Graph, NodeId, Op};
use merge_sema::space::{Answer, Decision, Domain, RealCondition};
use std::collections::{BTreeMap, HashMap};

/// The most boxes that are looked at.
const MOST_BOXES: usize = 20_000;

/// The most sides of a box whose corners are tried.
const MOST_CORNERS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Node {
    Const(f64),
    /// A value of the box.
    Side(usize),
    Unary(UnaryFn, usize),
    Binary(BinaryFn, usize, usize),
    Select(usize, usize, usize),
    /// What is known only at a run.
    Unknown,
}

/// What a value of the box stands for.
#[derive(Clone, Debug)]
enum Range {
    Between {
        low: f64,
        high: f64,
        log: bool,
    },
    /// One of these, ascending.
    Listed(Vec<f64>),
}

#[derive(Clone, Debug)]
struct Side {
    name: String,
    range: Range,
    /// What it is in the candidate at hand.
    now: f64,
}

/// The real conditions of one candidate.
#[derive(Debug, Default)]
pub(super) struct Reals {
    /// Operands first.
    nodes: Vec<Node>,
    sides: Vec<Side>,
    conditions: Vec<(Span, usize)>,
    /// Sides that add up to 1 at most.
    sums: Vec<Vec<usize>>,
}

/// The answer to a question.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// Settings with their values.
    Point(Vec<f64>),
    Never,
    Unsettled,
}

/// From, to; whether it may be no number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Interval {
    low: f64,
    high: f64,
    nan: bool,
}

const ANYTHING: Interval = Interval { low: f64::NEG_INFINITY, high: f64::INFINITY, nan: true };
const TRUTH: Interval = Interval { low: 0.0, high: 1.0, nan: false };

impl Interval {
    fn point(x: f64) -> Interval {
        if x.is_nan() { ANYTHING } else { Interval { low: x, high: x, nan: false } }
    }

    fn truth(can_be: bool, must_be: bool) -> Interval {
        Interval { low: f64::from(must_be), high: f64::from(can_be), nan: false }
    }

    /// A little more, for what rounding does.
    fn widened(low: f64, high: f64, nan: bool) -> Interval {
        if low.is_nan() || high.is_nan() {
            return ANYTHING;
        }
        let more = |x: f64| x.abs() * 1e-14 + f64::MIN_POSITIVE;
        Interval { low: low - more(low), high: high + more(high), nan }
    }

    fn is_false(self) -> bool {
        self.low == 0.0 && self.high == 0.0 && !self.nan
    }

    /// Whether it is other than 0 for certain. No number counts as true where a condition is asked.
    fn is_true(self) -> bool {
        !self.nan && (self.low > 0.0 || self.high < 0.0)
    }

    fn may_be_false(self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }

    fn unary(f: UnaryFn, a: Interval) -> Interval {
        let monotonous = |low: f64, high: f64| Interval::widened(f.eval(low), f.eval(high), a.nan);
        match f {
            UnaryFn::Neg => Interval { low: -a.high, high: -a.low, nan: a.nan },
            UnaryFn::Abs if a.low >= 0.0 => a,
            UnaryFn::Abs => Interval { low: (-a.high).max(0.0), high: a.high.max(-a.low), nan: a.nan },
            UnaryFn::Not if !a.nan => Interval::truth(a.may_be_false(), a.is_false()),
            UnaryFn::Sign | UnaryFn::Floor | UnaryFn::Ceil | UnaryFn::Round | UnaryFn::Trunc if !a.nan => {
                Interval { low: f.eval(a.low), high: f.eval(a.high), nan: false }
            }
            UnaryFn::Exp | UnaryFn::Atan | UnaryFn::Tanh | UnaryFn::Sigmoid => monotonous(a.low, a.high),
            UnaryFn::Sqrt if a.low >= 0.0 => monotonous(a.low, a.high),
            UnaryFn::Log | UnaryFn::Log2 if a.low > 0.0 => monotonous(a.low, a.high),
            _ => ANYTHING,
        }
    }

    fn binary(f: BinaryFn, a: Interval, b: Interval) -> Interval {
        let nan = a.nan || b.nan;
        let of_ends = |ends: [f64; 4]| {
            let (low, high) = ends.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
            if ends.iter().any(|x| x.is_nan()) { ANYTHING } else { Interval::widened(low, high, nan) }
        };
        match f {
            BinaryFn::Add => Interval::widened(a.low + b.low, a.high + b.high, nan),
            BinaryFn::Sub => Interval::widened(a.low - b.high, a.high - b.low, nan),
            BinaryFn::Mul => of_ends([a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high]),
            BinaryFn::Div if b.low > 0.0 || b.high < 0.0 => {
                of_ends([a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high])
            }
            BinaryFn::Min if !nan => Interval { low: a.low.min(b.low), high: a.high.min(b.high), nan },
            BinaryFn::Max if !nan => Interval { low: a.low.max(b.low), high: a.high.max(b.high), nan },
            _ if nan && !matches!(f, BinaryFn::And | BinaryFn::Or) => {
                if matches!(f, BinaryFn::Eq | BinaryFn::Ne | BinaryFn::Lt | BinaryFn::Le | BinaryFn::Gt | BinaryFn::Ge) {
                    TRUTH
                } else {
                    ANYTHING
                }
            }
            BinaryFn::Eq => {
                Interval::truth(a.low <= b.high && b.low <= a.high, a.low == a.high && b.low == b.high && a.low == b.low)
            }
            BinaryFn::Ne => {
                Interval::truth(!(a.low == a.high && b.low == b.high && a.low == b.low), a.high < b.low || b.high < a.low)
            }
            BinaryFn::Lt => Interval::truth(a.low < b.high, a.high < b.low),
            BinaryFn::Le => Interval::truth(a.low <= b.high, a.high <= b.low),
            BinaryFn::Gt => Interval::truth(b.low < a.high, b.high < a.low),
            BinaryFn::Ge => Interval::truth(b.low <= a.high, b.high <= a.low),
            BinaryFn::And => Interval::truth(!a.is_false() && !b.is_false(), a.is_true() && b.is_true()),
            BinaryFn::Or => Interval::truth(!(a.is_false() && b.is_false()), a.is_true() || b.is_true()),
            _ => ANYTHING,
        }
    }
}

impl Reals {
    /// The conditions of a candidate, as functions of the decisions that are open in it.
    pub fn of(graph: &Graph, conditions: &[RealCondition], decisions: &[Decision]) -> Reals {
        let mut made = Reals::default();
        let mut sides: HashMap<String, usize> = HashMap::new();
        for d in decisions.iter().filter(|d| !d.pinned) {
            let mut side = |name: String, range: Range, now: f64| {
                sides.insert(name.clone(), made.sides.len());
                made.sides.push(Side { name, range, now });
                made.sides.len() - 1
            };
            match (&d.domain, &d.answer) {
                (Domain::Real { low, high, log }, Answer::Real(x)) => {
                    side(d.id.clone(), Range::Between { low: *low, high: *high, log: *log }, *x);
                }
                (Domain::Members { labels, .. }, Answer::Member(i)) if !d.structural => {
                    let numbers: Vec<f64> = labels.iter().filter_map(|l| l.parse().ok()).collect();
                    let now = numbers.get(*i).copied().unwrap_or(0.0);
                    let mut sorted = numbers;
                    sorted.sort_by(f64::total_cmp);
                    side(d.id.clone(), Range::Listed(sorted), now);
                }
                (Domain::Simplex { .. }, Answer::Simplex(parts)) => {
                    let free = parts.split_last().map_or(&[][..], |(_, free)| free).iter().enumerate();
                    let whole = || Range::Between { low: 0.0, high: 1.0, log: false };
                    let own = free.map(|(i, w)| side(format!("{}.{i}", d.id), whole(), *w)).collect();
                    made.sums.push(own);
                }
                _ => {}
            }
        }
        let mut known: HashMap<NodeId, usize> = HashMap::new();
        for c in conditions {
            let node = made.add(graph, c.node, &sides, &mut known);
            made.conditions.push((c.span, node));
        }
        made
    }

    fn add(&mut self, graph: &Graph, root: NodeId, sides: &HashMap<String, usize>, known: &mut HashMap<NodeId, usize>) -> usize {
        let mut work = vec![(root, false)];
        while let Some((id, ready)) = work.pop() {
            if known.contains_key(&id) {
                continue;
            }
            let node = graph.node(id);
            let is_scalar = graph.shape(id).is_empty();
            if !ready && is_scalar {
                work.push((id, true));
                work.extend(node.op.operands().iter().map(|o| (*o, false)));
                continue;
            }
            let at = |n: &NodeId| known.get(n).copied();
            let made = match &node.op {
                _ if !is_scalar => None,
                Op::Const(bits) => Some(Node::Const(f64::from_bits(*bits))),
                Op::Setting(s) => graph.settings.get(s.0 as usize).map(|setting| match sides.get(&setting.name) {
                    Some(side) => Node::Side(*side),
                    None => Node::Const(setting.default),
                }),
                Op::Unary(f, a) => at(a).map(|a| Node::Unary(*f, a)),
                Op::Binary(f, a, b) => at(a).zip(at(b)).map(|(a, b)| Node::Binary(*f, a, b)),
                Op::Select(c, a, b) => at(c).zip(at(a)).zip(at(b)).map(|((c, a), b)| Node::Select(c, a, b)),
                _ => None,
            };
            known.insert(id, self.nodes.len());
            self.nodes.push(made.unwrap_or(Node::Unknown));
        }
        known.get(&root).copied().unwrap_or_default()
    }

    /// The conditions that fail in the candidate at hand, or at a point.
    pub fn failing(&self, point: Option<&[f64]>) -> Vec<Span> {
        let now: Vec<f64> = self.sides.iter().map(|s| s.now).collect();
        let values = self.values(point.unwrap_or(&now));
        self.conditions.iter().filter(|(_, node)| values[*node] == Some(0.0)).map(|(span, _)| *span).collect()
    }

    fn values(&self, point: &[f64]) -> Vec<Option<f64>> {
        let mut values: Vec<Option<f64>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            values.push(match *node {
                Node::Const(x) => Some(x),
                Node::Side(i) => point.get(i).copied(),
                Node::Unary(f, a) => values[a].map(|a| f.eval(a)),
                Node::Binary(f, a, b) => values[a].zip(values[b]).map(|(a, b)| f.eval(a, b)),
                Node::Select(c, a, b) => values[c].and_then(|c| if c != 0.0 { values[a] } else { values[b] }),
                Node::Unknown => None,
            });
        }
        values
    }

    /// A point at which the conditions at these places hold; of those that are known.
    pub fn find(&self, wanted: &dyn Fn(Span) -> bool) -> Found {
        let wanted: Vec<usize> = self.conditions.iter().filter(|(span, _)| wanted(*span)).map(|(_, node)| *node).collect();
        let holds = |point: &[f64]| {
            let values = self.values(point);
            let sums = self.sums.iter().all(|own| own.iter().map(|i| point[*i]).sum::<f64>() <= 1.0);
            sums && wanted.iter().all(|node| values[*node].is_none_or(|v| v != 0.0))
        };
        let now: Vec<f64> = self.sides.iter().map(|s| s.now).collect();
        if holds(&now) {
            return Found::Point(now);
        }
        // Sides that no condition reads stay as they are.
        let read = self.read_by(&wanted);
        let mut boxes = std::collections::VecDeque::from([self.whole(&read)]);
        let mut looked_at = 0;
        while let Some(sides) = boxes.pop_front() {
            looked_at += 1;
            if looked_at > MOST_BOXES {
                return Found::Unsettled;
            }
            if self.is_excluded(&sides, &wanted) {
                continue;
            }
            if let Some(point) = points(&sides, &read).into_iter().find(|p| holds(p)) {
                return Found::Point(point);
            }
            match cut(&sides, &read, &self.whole(&read)) {
                Some((a, b)) => boxes.extend([a, b]),
                // Too small to cut, and not excluded: at the edge of what can be told.
                None => return Found::Unsettled,
            }
        }
        Found::Never
    }

    fn read_by(&self, wanted: &[usize]) -> Vec<usize> {
        let mut needed = vec![false; self.nodes.len()];
        wanted.iter().for_each(|n| needed[*n] = true);
        let mut read = vec![false; self.sides.len()];
        for i in (0..self.nodes.len()).rev().filter(|i| *i < self.nodes.len()) {
            if !needed[i] {
                continue;
            }
            match self.nodes[i] {
                Node::Side(side) => read[side] = true,
                Node::Unary(_, a) => needed[a] = true,
                Node::Binary(_, a, b) => [a, b].iter().for_each(|n| needed[*n] = true),
                Node::Select(a, b, c) => [a, b, c].iter().for_each(|n| needed[*n] = true),
                Node::Const(_) | Node::Unknown => {}
            }
        }
        // Parts of a simplex move together.
        for own in &self.sums {
            if own.iter().any(|i| read[*i]) {
                own.iter().for_each(|i| read[*i] = true);
            }
        }
        (0..read.len()).filter(|i| read[*i]).collect()
    }

    fn whole(&self, read: &[usize]) -> Vec<Range> {
        let range = |(i, side): (usize, &Side)| match read.contains(&i) {
            true => side.range.clone(),
            false => Range::Listed(vec![side.now]),
        };
        self.sides.iter().enumerate().map(range).collect()
    }

    fn is_excluded(&self, sides: &[Range], wanted: &[usize]) -> bool {
        let of_side = |range: &Range| match range {
            Range::Between { low, high, .. } => Interval { low: *low, high: *high, nan: false },
            Range::Listed(all) => match (all.first(), all.last()) {
                (Some(low), Some(high)) => Interval { low: *low, high: *high, nan: false },
                _ => ANYTHING,
            },
        };
        if self.sums.iter().any(|own| own.iter().map(|i| of_side(&sides[*i]).low).sum::<f64>() > 1.0 + 1e-9) {
            return true;
        }
        let mut values: Vec<Interval> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            values.push(match *node {
                Node::Const(x) => Interval::point(x),
                Node::Side(i) => of_side(&sides[i]),
                Node::Unary(f, a) => Interval::unary(f, values[a]),
                Node::Binary(f, a, b) => Interval::binary(f, values[a], values[b]),
                Node::Select(c, a, b) if values[c].is_true() => {
                    let _ = b;
                    values[a]
                }
                Node::Select(c, _, b) if values[c].is_false() => values[b],
                Node::Select(_, a, b) => {
                    let (a, b) = (values[a], values[b]);
                    Interval { low: a.low.min(b.low), high: a.high.max(b.high), nan: a.nan || b.nan }
                }
                Node::Unknown => ANYTHING,
            });
        }
        wanted.iter().any(|node| values[*node].is_false())
    }

    /// The answers that a point stands for.
    pub fn answers(&self, point: &[f64], decisions: &[Decision]) -> BTreeMap<String, Answer> {
        let at = |name: &str| self.sides.iter().position(|s| s.name == name).and_then(|i| point.get(i)).copied();
        let mut found = BTreeMap::new();
        for d in decisions {
            let answer = match &d.domain {
                Domain::Real { .. } => at(&d.id).map(Answer::Real),
                Domain::Members { labels, .. } if !d.structural => {
                    at(&d.id).and_then(|x| labels.iter().position(|l| l.parse() == Ok(x))).map(Answer::Member)
                }
                Domain::Simplex { n } => {
                    let free: Option<Vec<f64>> = (0..n.saturating_sub(1)).map(|i| at(&format!("{}.{i}", d.id))).collect();
                    free.map(|mut parts| {
                        parts.push((1.0 - parts.iter().sum::<f64>()).max(0.0));
                        Answer::Simplex(parts)
                    })
                }
                _ => None,
            };
            if let Some(answer) = answer {
                found.insert(d.id.clone(), answer);
            }
        }
        found
    }
}

fn middle(range: &Range) -> f64 {
    match range {
        Range::Between { low, high, log: true } => (low * high).sqrt().clamp(*low, *high),
        Range::Between { low, high, .. } => low + (high - low) / 2.0,
        Range::Listed(all) => all.get(all.len() / 2).copied().unwrap_or(0.0),
    }
}

/// The middle of a box, and its corners where they are few.
fn points(sides: &[Range], read: &[usize]) -> Vec<Vec<f64>> {
    let centre: Vec<f64> = sides.iter().map(middle).collect();
    let mut all = vec![centre.clone()];
    if read.len() <= MOST_CORNERS {
        for corner in 0..1usize << read.len() {
            let mut point = centre.clone();
            for (bit, side) in read.iter().enumerate() {
                let ends = match &sides[*side] {
                    Range::Between { low, high, .. } => (*low, *high),
                    Range::Listed(l) => (l.first().copied().unwrap_or(0.0), l.last().copied().unwrap_or(0.0)),
                };
                point[*side] = if corner >> bit & 1 == 1 { ends.1 } else { ends.0 };
            }
            all.push(point);
        }
    }
    all
}

/// Two halves, along the side that is the largest part of what it was.
fn cut(sides: &[Range], read: &[usize], whole: &[Range]) -> Option<(Vec<Range>, Vec<Range>)> {
    let size = |range: &Range| match range {
        Range::Between { low, high, log: true } => high.ln() - low.ln(),
        Range::Between { low, high, .. } => high - low,
        Range::Listed(all) => all.len() as f64 - 1.0,
    };
    let part = |i: &usize| if size(&whole[*i]) > 0.0 { size(&sides[*i]) / size(&whole[*i]) } else { 0.0 };
    let widest = read.iter().copied().max_by(|a, b| part(a).total_cmp(&part(b)).then(b.cmp(a)))?;
    let halves = match &sides[widest] {
        Range::Listed(all) if all.len() > 1 => {
            let (a, b) = all.split_at(all.len() / 2);
            (Range::Listed(a.to_vec()), Range::Listed(b.to_vec()))
        }
        Range::Between { low, high, log } if part(&widest) > 1e-12 => {
            let at = middle(&sides[widest]);
            (Range::Between { low: *low, high: at, log: *log }, Range::Between { low: at, high: *high, log: *log })
        }
        _ => return None,
    };
    let with = |range: Range| {
        let mut own = sides.to_vec();
        own[widest] = range;
        own
    };
    Some((with(halves.0), with(halves.1)))
}
