//! Whether terms can have wanted values together: exact, and without trying every combination of the decisions in them.
//!
//! The terms are computed one by one for all answers at once. What is kept between two steps is the set of the values that later steps
//! need, each with one way to it. Sums of many decisions have few values, so the set stays small where combinations are many; a decision
//! that several terms share stays among the values until the last of them is computed, which is to say that each of its answers is tried.
//!
//! | step | the set |
//! |---|---|
//! | a decision is needed for the first time | each of its members with each answer |
//! | a term whose operands are there | the same, with its value; operands that nothing needs any more are dropped |
//! | a wanted term | those where it is as wanted |
//!
//! Invariant: what is found is an answer to each decision of the terms with which all are as wanted; that there is none is proved.
//!
//! Not here: which terms are of interest (`claims`, `conflict`).

use merge_sema::space::{Exploration, Function, Term, TermId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

/// The most values that are kept between two steps.
const MOST_STATES: usize = 50_000;

/// The most values that are computed for one question.
const MOST_WORK: usize = 4_000_000;

/// Terms deeper than this are not put together from what several candidates tell.
const DEEPEST: u32 = 2000;

/// A term of the pool, by number.
pub(super) type Node = u32;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Unknown,
    Known(i64),
    /// A decision by number, and what each answer stands for.
    Decision(u32, Rc<[i64]>),
    Apply(Function, Rc<[Node]>),
}

/// Terms of several candidates, with decisions by name. Equal terms are one.
#[derive(Default)]
pub(super) struct Pool {
    nodes: Vec<Kind>,
    known: HashMap<Kind, Node>,
    /// The number of decisions below, roughly.
    weights: Vec<u32>,
    names: Vec<Rc<str>>,
    /// The answer of each decision that is taken where nothing asks for another.
    usual: Vec<usize>,
    numbers: HashMap<Rc<str>, u32>,
}

/// How a term shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Known to be 0.
    False,
    /// Not known to be other than 0.
    Unproved,
    /// Not known to be 0.
    Possible,
}

impl Want {
    fn fits(self, value: Option<i64>) -> bool {
        match self {
            Want::False => value == Some(0),
            Want::Unproved => value.is_none_or(|v| v == 0),
            Want::Possible => value != Some(0),
        }
    }
}

/// The answer to a question.
#[derive(Debug, PartialEq)]
pub(super) enum Reached {
    /// With these answers, by name and place among the values.
    With(BTreeMap<Rc<str>, usize>),
    Never,
    /// There are too many values to tell.
    Unsettled,
}

/// What a step computes, or asks.
enum Step {
    Branch(u32, usize),
    Compute(Node),
    Check(Node, Want),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Slot {
    Decision(u32),
    Node(Node),
}

impl Pool {
    fn add(&mut self, kind: Kind) -> Node {
        if let Some(known) = self.known.get(&kind) {
            return *known;
        }
        let weight = match &kind {
            Kind::Decision(..) => 1,
            Kind::Apply(_, of) => of.iter().fold(0u32, |sum, n| sum.saturating_add(self.weights[*n as usize])),
            Kind::Unknown | Kind::Known(_) => 0,
        };
        let node = self.nodes.len() as Node;
        self.nodes.push(kind.clone());
        self.weights.push(weight);
        self.known.insert(kind, node);
        node
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(known) = self.numbers.get(name) {
            return *known;
        }
        let (name, next): (Rc<str>, u32) = (name.into(), self.names.len() as u32);
        self.names.push(name.clone());
        self.usual.push(0);
        self.numbers.insert(name, next);
        next
    }

    /// The terms of a candidate, whose decisions have these names; by number there.
    pub fn import<'a>(&mut self, of: &Exploration, name: impl Fn(u32) -> &'a str) -> Vec<Node> {
        let mut made: Vec<Node> = Vec::with_capacity(of.terms.len());
        for term in &of.terms {
            let kind = match term {
                Term::Unknown => Kind::Unknown,
                Term::Known(n) => Kind::Known(*n),
                Term::Decision { decision, values } => Kind::Decision(self.number(name(*decision)), values.clone()),
                Term::Apply(f, of) => Kind::Apply(*f, of.iter().map(|t: &TermId| made[t.0 as usize]).collect()),
            };
            made.push(self.add(kind));
        }
        made
    }

    /// States which answer of a decision is the usual one.
    pub fn set_usual(&mut self, name: &str, place: usize) {
        let number = self.number(name);
        self.usual[number as usize] = place;
    }

    /// Those of some terms that have to do with others of them and with these, by the decisions that they share.
    pub fn related(&self, with: &[Node], others: Vec<Node>) -> Vec<Node> {
        let mut known: BTreeSet<u32> = with.iter().flat_map(|n| self.decisions(*n)).collect();
        let mut left: Vec<(Node, BTreeSet<u32>)> = others.into_iter().map(|n| (n, self.decisions(n))).collect();
        let mut found = Vec::new();
        loop {
            let (near, far): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, own)| !own.is_disjoint(&known));
            if near.is_empty() {
                return found;
            }
            for (node, own) in near {
                found.push(node);
                known.extend(own);
            }
            left = far;
        }
    }

    fn decisions(&self, node: Node) -> BTreeSet<u32> {
        let (mut open, mut seen, mut found) = (vec![node], HashSet::new(), BTreeSet::new());
        while let Some(node) = open.pop() {
            if !seen.insert(node) {
                continue;
            }
            match &self.nodes[node as usize] {
                Kind::Decision(which, _) => drop(found.insert(*which)),
                Kind::Apply(_, of) => open.extend(of.iter()),
                Kind::Unknown | Kind::Known(_) => {}
            }
        }
        found
    }

    /// That not all of these decisions have these of so many answers each.
    pub fn other_than(&mut self, answers: &[(&str, usize, usize)]) -> Node {
        let mut all = self.add(Kind::Known(1));
        for (name, count, place) in answers {
            let (which, places) = (self.number(name), (0..*count as i64).collect());
            let (which, place) = (self.add(Kind::Decision(which, places)), self.add(Kind::Known(*place as i64)));
            let same = self.add(Kind::Apply(Function::Eq, Rc::from([which, place])));
            all = self.add(Kind::Apply(Function::And, Rc::from([all, same])));
        }
        self.add(Kind::Apply(Function::Not, Rc::from([all])))
    }

    /// One term that knows what both do of one and the same thing; none where they are made in two ways.
    pub fn fill(&mut self, a: Node, b: Node) -> Option<Node> {
        self.fill_at(a, b, &mut HashMap::new(), 0)
    }

    fn fill_at(&mut self, a: Node, b: Node, done: &mut HashMap<(Node, Node), Option<Node>>, depth: u32) -> Option<Node> {
        if a == b {
            return Some(a);
        }
        if let Some(known) = done.get(&(a, b)) {
            return *known;
        }
        let filled = match (self.nodes[a as usize].clone(), self.nodes[b as usize].clone()) {
            (Kind::Unknown, _) => Some(b),
            (_, Kind::Unknown) => Some(a),
            _ if depth > DEEPEST => None,
            (Kind::Apply(Function::Select, x), Kind::Apply(Function::Select, y)) if x[0] != y[0] => {
                // Two cases of one value: where the first is none, the second may tell.
                let rest = self.fill_at(x[2], b, done, depth + 1);
                rest.map(|rest| self.add(Kind::Apply(Function::Select, Rc::from([x[0], x[1], rest]))))
            }
            (Kind::Apply(f, x), Kind::Apply(g, y)) if f == g && x.len() == y.len() => {
                let parts: Option<Rc<[Node]>> =
                    x.iter().zip(y.iter()).map(|(x, y)| self.fill_at(*x, *y, done, depth + 1)).collect();
                parts.map(|parts| self.add(Kind::Apply(f, parts)))
            }
            _ => None,
        };
        done.insert((a, b), filled);
        filled
    }

    /// Whether all of these can be as wanted.
    pub fn reach(&self, wanted: &[(Node, Want)]) -> Reached {
        let steps = self.plan(wanted);
        Search::new(self, &steps).run()
    }

    /// What is computed in turn: the operand that most decisions have a part in first, so that little is kept meanwhile.
    fn plan(&self, wanted: &[(Node, Want)]) -> Vec<Step> {
        let mut steps = Vec::new();
        let (mut done, mut asked) = (vec![false; self.nodes.len()], vec![false; self.names.len()]);
        for (node, want) in wanted {
            // Nodes, and whether their operands are there.
            let mut work = vec![(*node, false)];
            while let Some((node, ready)) = work.pop() {
                if done[node as usize] {
                    continue;
                }
                match &self.nodes[node as usize] {
                    Kind::Apply(_, of) if !ready => {
                        work.push((node, true));
                        let mut of: Vec<Node> = of.to_vec();
                        of.sort_by_key(|n| self.weights[*n as usize]);
                        work.extend(of.into_iter().map(|n| (n, false)));
                        continue;
                    }
                    Kind::Decision(which, values) if !std::mem::replace(&mut asked[*which as usize], true) => {
                        steps.push(Step::Branch(*which, values.len()));
                    }
                    _ => {}
                }
                done[node as usize] = true;
                steps.push(Step::Compute(node));
            }
            steps.push(Step::Check(*node, *want));
        }
        steps
    }
}

/// Values, the trail to them, and how many answers on it are unusual.
type State = (Box<[Option<i64>]>, u32, u32);

/// One way to a set of values: the last answer, and the way before it.
type Trail = Vec<(u32, u32, u32)>;

/// The end of all trails.
const START: u32 = u32::MAX;

/// The state of one question.
struct Search<'p> {
    pool: &'p Pool,
    steps: &'p [Step],
    /// The step after which a slot is needed no more.
    last: HashMap<Slot, usize>,
    /// What a state has values of.
    slots: Vec<Slot>,
    /// Values with the trail to them, and how many answers on it are not the usual ones: the fewest.
    states: Vec<State>,
    trail: Trail,
    work: usize,
}

impl<'p> Search<'p> {
    fn new(pool: &'p Pool, steps: &'p [Step]) -> Search<'p> {
        let mut last = HashMap::new();
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Branch(which, _) => last.extend([(Slot::Decision(*which), at)]),
                Step::Check(node, _) => last.extend([(Slot::Node(*node), at)]),
                Step::Compute(node) => {
                    last.insert(Slot::Node(*node), at);
                    match &pool.nodes[*node as usize] {
                        Kind::Decision(which, _) => last.extend([(Slot::Decision(*which), at)]),
                        Kind::Apply(_, of) => last.extend(of.iter().map(|n| (Slot::Node(*n), at))),
                        Kind::Unknown | Kind::Known(_) => {}
                    }
                }
            }
        }
        let states = vec![(Box::from([]), START, 0)];
        Search { pool, steps, last, slots: Vec::new(), states, trail: Vec::new(), work: 0 }
    }

    fn run(mut self) -> Reached {
        for at in 0..self.steps.len() {
            match &self.steps[at] {
                Step::Branch(which, count) => self.branch(*which, *count),
                Step::Compute(node) => self.compute(*node),
                Step::Check(node, want) => {
                    let place = self.place(Slot::Node(*node));
                    self.states.retain(|(values, ..)| want.fits(place.and_then(|p| values[p])));
                }
            }
            self.drop_dead(at);
            self.work += self.states.len();
            if self.states.is_empty() {
                return Reached::Never;
            }
            if self.states.len() > MOST_STATES || self.work > MOST_WORK {
                return Reached::Unsettled;
            }
        }
        let mut answers = BTreeMap::new();
        let mut next = self.states.iter().min_by_key(|s| s.2).map_or(START, |s| s.1);
        while let Some((which, place, before)) = self.trail.get(next as usize) {
            answers.insert(self.pool.names[*which as usize].clone(), *place as usize);
            next = *before;
        }
        Reached::With(answers)
    }

    fn place(&self, slot: Slot) -> Option<usize> {
        self.slots.iter().position(|s| *s == slot)
    }

    fn branch(&mut self, which: u32, count: usize) {
        let mut states = Vec::with_capacity(self.states.len() * count);
        let usual = self.pool.usual[which as usize];
        for (values, trail, unusual) in self.states.drain(..) {
            for place in 0..count {
                let more: Box<[Option<i64>]> = values.iter().copied().chain([Some(place as i64)]).collect();
                states.push((more, self.trail.len() as u32, unusual + u32::from(place != usual)));
                self.trail.push((which, place as u32, trail));
            }
            if states.len() > MOST_STATES {
                // The others are not looked at, so nothing can be said.
                self.work = MOST_WORK;
                break;
            }
        }
        self.states = states;
        self.slots.push(Slot::Decision(which));
    }

    fn compute(&mut self, node: Node) {
        let kind = &self.pool.nodes[node as usize];
        let places: Vec<Option<usize>> = match kind {
            Kind::Unknown | Kind::Known(_) => Vec::new(),
            Kind::Decision(which, _) => vec![self.place(Slot::Decision(*which))],
            Kind::Apply(_, of) => of.iter().map(|n| self.place(Slot::Node(*n))).collect(),
        };
        for (values, ..) in &mut self.states {
            let of: Vec<Option<i64>> = places.iter().map(|p| p.and_then(|p| values[p])).collect();
            let own = match kind {
                Kind::Unknown => None,
                Kind::Known(n) => Some(*n),
                Kind::Decision(_, all) => of[0].and_then(|place| all.get(place as usize).copied()),
                Kind::Apply(f, _) => f.apply(&of),
            };
            *values = values.iter().copied().chain([own]).collect();
        }
        self.slots.push(Slot::Node(node));
    }

    /// Forgets what later steps do not need; states that are then equal are one.
    fn drop_dead(&mut self, at: usize) {
        let kept: Vec<usize> =
            (0..self.slots.len()).filter(|i| self.last.get(&self.slots[*i]).is_some_and(|l| *l > at)).collect();
        if kept.len() == self.slots.len() {
            return;
        }
        self.slots = kept.iter().map(|i| self.slots[*i]).collect();
        let mut known: HashMap<Box<[Option<i64>]>, usize> = HashMap::new();
        let mut states: Vec<State> = Vec::new();
        for (values, trail, unusual) in self.states.drain(..) {
            let values: Box<[Option<i64>]> = kept.iter().map(|i| values[*i]).collect();
            match known.get(&values) {
                None => {
                    known.insert(values.clone(), states.len());
                    states.push((values, trail, unusual));
                }
                Some(at) if states[*at].2 > unusual => (states[*at].1, states[*at].2) = (trail, unusual),
                Some(_) => {}
            }
        }
        self.states = states;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use merge_search::Rng;

    /// A term over five decisions, made by chance.
    fn made(pool: &mut Pool, rng: &mut Rng, depth: u32) -> Node {
        if depth == 0 || rng.below(6) == 0 {
            let which = rng.below(5);
            return match rng.below(6) {
                0 => pool.add(Kind::Known(rng.below(7) as i64 - 2)),
                1 => pool.add(Kind::Unknown),
                _ => {
                    let number = pool.number(&format!("d{which}"));
                    let values = (0..3).map(|i| (which as i64 + 1) * (i + 1) - 4).collect();
                    pool.add(Kind::Decision(number, values))
                }
            };
        }
        use Function as F;
        let functions = [F::Add, F::Mul, F::Div, F::Mod, F::Min, F::Max, F::Eq, F::Lt, F::Le, F::And, F::Or, F::Divides];
        let of: Vec<Node> = (0..3).map(|_| made(pool, rng, depth - 1)).collect();
        match rng.below(functions.len() + 3) {
            0 => pool.add(Kind::Apply(F::Select, of.into())),
            1 => pool.add(Kind::Apply(F::Not, Rc::from([of[0]]))),
            2 => pool.add(Kind::Apply(F::Neg, Rc::from([of[0]]))),
            k => pool.add(Kind::Apply(functions[k - 3], Rc::from([of[0], of[1]]))),
        }
    }

    fn value(pool: &Pool, node: Node, answers: &dyn Fn(&str) -> usize) -> Option<i64> {
        match &pool.nodes[node as usize] {
            Kind::Unknown => None,
            Kind::Known(n) => Some(*n),
            Kind::Decision(which, values) => Some(values[answers(&pool.names[*which as usize])]),
            Kind::Apply(f, of) => f.apply(&of.iter().map(|n| value(pool, *n, answers)).collect::<Vec<_>>()),
        }
    }

    #[test]
    fn what_is_reached_is_what_brute_force_reaches() {
        let mut rng = Rng::new(11, "reach");
        let (mut never, mut found) = (0, 0);
        for _ in 0..600 {
            let mut pool = Pool::default();
            let wants = [Want::False, Want::Unproved, Want::Possible];
            let wanted: Vec<(Node, Want)> =
                (0..1 + rng.below(3)).map(|_| (made(&mut pool, &mut rng, 4), wants[rng.below(3)])).collect();
            let all = |answers: &dyn Fn(&str) -> usize| wanted.iter().all(|(n, w)| w.fits(value(&pool, *n, answers)));
            let possible = (0..3usize.pow(5)).any(|k| all(&|name| k / 3usize.pow(name[1..].parse().unwrap()) % 3));
            match pool.reach(&wanted) {
                Reached::Never => {
                    never += 1;
                    assert!(!possible);
                }
                Reached::With(answers) => {
                    found += 1;
                    assert!(all(&|name| answers.get(name).copied().unwrap_or(0)));
                }
                Reached::Unsettled => panic!("three answers to five decisions are few"),
            }
        }
        assert!(never > 50 && found > 200, "{never} never, {found} found");
    }

    #[test]
    fn a_sum_of_forty_is_decided() {
        let mut pool = Pool::default();
        let mut sum = pool.add(Kind::Known(0));
        for i in 0..40 {
            let which = pool.number(&format!("w{i}"));
            let width = pool.add(Kind::Decision(which, Rc::from([64, 128, 256])));
            sum = pool.add(Kind::Apply(Function::Add, Rc::from([sum, width])));
        }
        let divides = |pool: &mut Pool, n: i64| {
            let n = pool.add(Kind::Known(n));
            pool.add(Kind::Apply(Function::Divides, Rc::from([n, sum])))
        };
        let (by_64, by_128) = (divides(&mut pool, 64), divides(&mut pool, 128));
        assert_eq!(pool.reach(&[(by_64, Want::Unproved)]), Reached::Never);
        let Reached::With(answers) = pool.reach(&[(by_128, Want::False)]) else { panic!("one width of 64 is enough") };
        assert_eq!(answers.values().filter(|place| **place == 0).count() % 2, 1);
        // The sum is shared: what one term says of it the other knows.
        assert_eq!(pool.reach(&[(by_64, Want::Possible), (by_128, Want::Possible), (by_128, Want::False)]), Reached::Never);
    }

    #[test]
    fn what_two_candidates_tell_is_put_together() {
        let mut pool = Pool::default();
        let (which, arms) = (pool.number("arm"), Rc::from([0, 1, 2]));
        let arm = pool.add(Kind::Decision(which, arms));
        let unknown = pool.add(Kind::Unknown);
        let case = |pool: &mut Pool, i: i64, n: i64| {
            let (i, n) = (pool.add(Kind::Known(i)), pool.add(Kind::Known(n)));
            let taken = pool.add(Kind::Apply(Function::Eq, Rc::from([arm, i])));
            pool.add(Kind::Apply(Function::Select, Rc::from([taken, n, unknown])))
        };
        let (a, b, c) = (case(&mut pool, 0, 8), case(&mut pool, 1, 16), case(&mut pool, 2, 24));
        let ab = pool.fill(a, b).unwrap();
        let all = pool.fill(ab, c).unwrap();
        let eight = pool.add(Kind::Known(8));
        let divides = |pool: &mut Pool, n: Node| pool.add(Kind::Apply(Function::Divides, Rc::from([eight, n])));
        let (partly, wholly) = (divides(&mut pool, ab), divides(&mut pool, all));
        assert!(matches!(pool.reach(&[(partly, Want::Unproved)]), Reached::With(a) if a[&Rc::from("arm")] == 2));
        assert_eq!(pool.reach(&[(wholly, Want::Unproved)]), Reached::Never);
    }
}
