//! The least and the greatest value over all candidates of a sum whose terms each depend on few decisions.
//!
//! A walk over the space that keeps of what was answered only what later terms ask about. Two ways that come to the same place with the same
//! answers kept go on as one, with the better of their two sums so far; so the work grows with the number of answers kept at a time, not with
//! the number of candidates. A term is added as soon as its last decision is answered, or can no more be met. What no term asks about,
//! and brings nothing about that one does, is passed by.
//!
//! Not here: what the terms are (costs, in the driver), and what is done where the ways are too many.

use super::{Branch, Domain, Node, Slot, Space, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Several sums at once of terms that each depend on a few decisions.
pub trait Sum<const N: usize> {
    /// The decisions that each term depends on, each once.
    fn scopes(&self) -> &[Vec<Slot>];

    /// Of a term's decisions those that may say by themselves that it adds nothing.
    fn selection(&self, term: usize) -> &[Slot];

    /// Whether a term adds nothing, whatever its other decisions are, where those of its selection are answered so, as far as they are.
    fn adds_nothing(&self, term: usize, answers: &[Told]) -> bool;

    /// A number for a value, equal for equal values of one decision, whatever the domain that it is taken from.
    fn code(&self, slot: Slot, domain: &Domain, value: &Value) -> u32;

    /// What a term adds in a candidate that answers its decisions so, by their codes in the order of the scope; none for a decision that
    /// it does not have. None where that is not known, and then nothing is.
    fn value(&self, term: usize, answers: &[Option<u32>]) -> Option<[u64; N]>;
}

/// What is known of a decision on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is still to come, or will turn out not to be there.
    Open,
    /// What it was answered, by its code; none where it is not there.
    Is(Option<u32>),
}

/// The least and the greatest of each of the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<const N: usize> {
    pub low: [u64; N],
    pub high: [u64; N],
}

impl<const N: usize> Range<N> {
    fn add(&mut self, value: &[u64; N]) {
        for (own, more) in self.low.iter_mut().chain(&mut self.high).zip(value.iter().chain(value)) {
            *own = own.saturating_add(*more);
        }
    }

    /// The range of both.
    pub fn join(&mut self, other: &Range<N>) {
        for i in 0..N {
            self.low[i] = self.low[i].min(other.low[i]);
            self.high[i] = self.high[i].max(other.high[i]);
        }
    }
}

impl Space {
    /// The range of sums over all candidates. None where a term is not known, a decision that a term asks about has no end of values, or
    /// there are more than `most` steps to take.
    pub fn range<const N: usize>(&self, sum: &dyn Sum<N>, most: usize) -> Option<Range<N>> {
        let mut walk = Walk::new(self, sum);
        let start = walk.push(self.root, EMPTY);
        let mut range = Range { low: [0; N], high: [0; N] };
        for term in 0..sum.scopes().len() {
            if !walk.lists[start as usize].pending.contains(term) {
                range.add(&walk.term(term, &[])?);
            }
        }
        // By what is left to walk at most, so that all ways to a place are known before it is left.
        let mut open: BTreeMap<u64, FxHashMap<State, Range<N>>> = BTreeMap::new();
        open.entry(walk.lists[start as usize].size).or_default().insert((start, Rc::from([])), range);
        let mut steps = 0;
        loop {
            let (_, states) = open.pop_last()?;
            for ((list, held), so_far) in states {
                if list == EMPTY {
                    // Nothing else has this little left.
                    return Some(so_far);
                }
                for (next, added) in walk.choices(list)? {
                    steps += 1;
                    if steps > most {
                        return None;
                    }
                    let mut held = held.to_vec();
                    held.extend(added);
                    held.sort_unstable();
                    let mut range = so_far;
                    for term in walk.settled(list, next).iter() {
                        range.add(&walk.term(*term as usize, &held)?);
                    }
                    let kept = walk.kept(next, &held);
                    held.retain(|(slot, _)| kept.contains(*slot as usize));
                    let states = open.entry(walk.lists[next as usize].size).or_default();
                    states.entry((next, held.into())).and_modify(|known| known.join(&range)).or_insert(range);
                }
            }
        }
    }
}

/// What is left to walk, and the answers that are kept: by slot, ascending.
type State = (u32, Rc<[(u32, u32)]>);

/// A set of small numbers.
#[derive(Clone, Default, Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn insert(&mut self, i: usize) {
        if self.0.len() <= i / 64 {
            self.0.resize(i / 64 + 1, 0);
        }
        self.0[i / 64] |= 1 << (i % 64);
    }

    fn contains(&self, i: usize) -> bool {
        self.0.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 == 1)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn join(&mut self, other: &Bits) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(own, more)| *own |= more);
    }
}

/// Nodes that are left to walk, one behind the other.
struct List {
    /// A decision.
    head: u32,
    tail: u32,
    /// The most decisions that a way through it takes.
    size: u64,
    /// Slots that terms ask about, and that may still be met.
    reach: Bits,
    /// Terms that ask about one of those.
    pending: Bits,
}

/// The empty list.
const EMPTY: u32 = 0;

struct Walk<'a, const N: usize> {
    space: &'a Space,
    sum: &'a dyn Sum<N>,
    /// Slots that some term asks about.
    asked: Bits,
    /// Slots that some term asks about to know whether it adds anything.
    selecting: Bits,
    /// By node: which of these it may meet, and the most decisions of a way through it.
    reach: Vec<Bits>,
    sizes: Vec<u64>,
    lists: Vec<List>,
    known: FxHashMap<(u32, u32), u32>,
    settled: FxHashMap<(u32, u32), Rc<[u32]>>,
    /// By list and answers to what selects: slots to be kept.
    kept: FxHashMap<State, Rc<Bits>>,
}

impl<'a, const N: usize> Walk<'a, N> {
    fn new(space: &'a Space, sum: &'a dyn Sum<N>) -> Walk<'a, N> {
        let mut asked = Bits::default();
        sum.scopes().iter().flatten().for_each(|slot| asked.insert(slot.0 as usize));
        let mut selecting = Bits::default();
        (0..sum.scopes().len()).flat_map(|term| sum.selection(term)).for_each(|slot| selecting.insert(slot.0 as usize));
        let (mut reach, mut sizes): (Vec<Bits>, Vec<u64>) = (Vec::new(), Vec::new());
        for node in &space.nodes {
            let (mut own, mut size) = (Bits::default(), 0);
            let below: &[u32] = match node {
                Node::Unit => &[],
                Node::All(parts) | Node::Decide { then: Branch::Each(parts), .. } => parts,
                Node::Decide { then: Branch::Same(next), .. } => std::slice::from_ref(next),
            };
            below.iter().for_each(|next| own.join(&reach[*next as usize]));
            let of_parts = below.iter().map(|next| sizes[*next as usize]);
            match node {
                Node::Unit => {}
                Node::All(_) => size = of_parts.fold(0, u64::saturating_add),
                Node::Decide { slot, .. } => {
                    size = of_parts.max().unwrap_or(0).saturating_add(1);
                    if asked.contains(slot.0 as usize) {
                        own.insert(slot.0 as usize);
                    }
                }
            }
            reach.push(own);
            sizes.push(size);
        }
        let nothing = List { head: 0, tail: EMPTY, size: 0, reach: Bits::default(), pending: Bits::default() };
        let (known, settled, kept) = Default::default();
        Walk { space, sum, asked, selecting, reach, sizes, lists: vec![nothing], known, settled, kept }
    }

    /// A list with a node in front, as far as any term asks about what is in it.
    fn push(&mut self, node: u32, tail: u32) -> u32 {
        if self.reach[node as usize].is_empty() {
            return tail;
        }
        match &self.space.nodes[node as usize] {
            Node::Unit => return tail,
            Node::All(parts) => return parts.iter().rev().fold(tail, |tail, part| self.push(*part, tail)),
            Node::Decide { slot, then: Branch::Same(next), .. } if !self.asked.contains(slot.0 as usize) => {
                return self.push(*next, tail);
            }
            Node::Decide { .. } => {}
        }
        if let Some(known) = self.known.get(&(node, tail)) {
            return *known;
        }
        let behind = &self.lists[tail as usize];
        let size = self.sizes[node as usize].saturating_add(behind.size);
        let mut reach = self.reach[node as usize].clone();
        reach.join(&behind.reach);
        let mut pending = Bits::default();
        for (term, scope) in self.sum.scopes().iter().enumerate() {
            if scope.iter().any(|slot| reach.contains(slot.0 as usize)) {
                pending.insert(term);
            }
        }
        let list = self.lists.len() as u32;
        self.lists.push(List { head: node, tail, size, reach, pending });
        self.known.insert((node, tail), list);
        list
    }

    /// What may follow a list: what is left then, and the answer if a term asks about it. None where the answers have no end.
    #[allow(clippy::type_complexity)]
    fn choices(&mut self, list: u32) -> Option<Vec<(u32, Option<(u32, u32)>)>> {
        let List { head, tail, .. } = self.lists[list as usize];
        let Node::Decide { slot, domain, then, .. } = &self.space.nodes[head as usize] else { return None };
        let domain = &self.space.domains[*domain as usize];
        let count = domain.small_count()?;
        let mut found = Vec::new();
        let mut seen = FxHashSet::default();
        for rank in 0..count {
            let branch = match then {
                Branch::Same(next) => *next,
                Branch::Each(branches) => *branches.get(usize::try_from(rank).ok()?)?,
            };
            let answer = self.asked.contains(slot.0 as usize).then(|| {
                let value = domain.unrank(rank.into());
                (slot.0, self.sum.code(*slot, domain, &value))
            });
            // What nobody asks about, matters by what it leads to.
            if answer.is_some() || seen.insert(branch) {
                found.push((self.push(branch, tail), answer));
            }
        }
        Some(found)
    }

    /// The terms of which all is known once one list has become the other.
    fn settled(&mut self, from: u32, to: u32) -> Rc<[u32]> {
        if let Some(known) = self.settled.get(&(from, to)) {
            return known.clone();
        }
        let (from_terms, to_terms) = (&self.lists[from as usize].pending, &self.lists[to as usize].pending);
        let is = |term: &u32| from_terms.contains(*term as usize) && !to_terms.contains(*term as usize);
        let terms: Rc<[u32]> = (0..self.sum.scopes().len() as u32).filter(is).collect();
        self.settled.insert((from, to), terms.clone());
        terms
    }

    /// The slots that terms still ask about in front of a list; of a term that adds nothing, what says so.
    fn kept(&mut self, list: u32, held: &[(u32, u32)]) -> Rc<Bits> {
        let selected: Rc<[(u32, u32)]> =
            held.iter().filter(|(slot, _)| self.selecting.contains(*slot as usize)).copied().collect();
        let key = (list, selected);
        if let Some(known) = self.kept.get(&key) {
            return known.clone();
        }
        let List { reach, pending, .. } = &self.lists[list as usize];
        let mut kept = Bits::default();
        for (term, scope) in self.sum.scopes().iter().enumerate().filter(|(term, _)| pending.contains(*term)) {
            let selection = self.sum.selection(term);
            let told = selection.iter().map(|slot| match reach.contains(slot.0 as usize) {
                true => Told::Open,
                false => Told::Is(answer(slot, held)),
            });
            let nothing = !selection.is_empty() && self.sum.adds_nothing(term, &told.collect::<Vec<_>>());
            let asked = if nothing { selection } else { scope };
            asked.iter().for_each(|slot| kept.insert(slot.0 as usize));
        }
        let kept = Rc::new(kept);
        self.kept.insert(key, kept.clone());
        kept
    }

    /// What a term adds beside these answers.
    fn term(&self, term: usize, held: &[(u32, u32)]) -> Option<[u64; N]> {
        let selection = self.sum.selection(term);
        let told: Vec<Told> = selection.iter().map(|slot| Told::Is(answer(slot, held))).collect();
        if !selection.is_empty() && self.sum.adds_nothing(term, &told) {
            return Some([0; N]);
        }
        let answers: Vec<Option<u32>> = self.sum.scopes()[term].iter().map(|slot| answer(slot, held)).collect();
        self.sum.value(term, &answers)
    }
}

fn answer(slot: &Slot, held: &[(u32, u32)]) -> Option<u32> {
    held.binary_search_by_key(&slot.0, |(s, _)| *s).ok().map(|i| held[i].1)
}

#[cfg(test)]
mod tests {
    use super::super::{SpaceBuilder, Then};
    use super::*;
    use crate::Rng;

    /// Terms with a value for each combination of answers, made by hashing: a decision that is not there counts too. With some answers to its
    /// first decision a term adds nothing.
    struct Hashed {
        scopes: Vec<Vec<Slot>>,
    }

    impl Sum<2> for Hashed {
        fn scopes(&self) -> &[Vec<Slot>] {
            &self.scopes
        }

        fn selection(&self, term: usize) -> &[Slot] {
            let scope = &self.scopes[term];
            &scope[..usize::from(scope.len() > 1)]
        }

        fn adds_nothing(&self, _term: usize, answers: &[Told]) -> bool {
            matches!(answers, [Told::Is(None | Some(1))])
        }

        fn code(&self, _slot: Slot, domain: &Domain, value: &Value) -> u32 {
            u32::try_from(domain.rank(value)).unwrap()
        }

        fn value(&self, term: usize, answers: &[Option<u32>]) -> Option<[u64; 2]> {
            if answers.len() > 1 && self.adds_nothing(term, &[Told::Is(answers[0])]) {
                return Some([0; 2]);
            }
            let mut hash = term as u64 + 1;
            for answer in answers {
                hash = (hash ^ answer.map_or(77, u64::from)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
            }
            Some([hash % 1000, hash / 1000 % 50])
        }
    }

    /// A random space of a few decisions, of which some bring others about, and two arms may share one.
    fn space(rng: &mut Rng) -> Space {
        let mut builder = SpaceBuilder::new();
        let mut number = 0;
        let root = part(rng, &mut builder, 3, &mut number);
        let shared = builder.decide("shared", Domain::ordered(["a", "b", "c"]), None);
        let root = builder.all([root, shared]);
        builder.finish(root).unwrap()
    }

    fn part(rng: &mut Rng, builder: &mut SpaceBuilder, depth: u32, number: &mut u32) -> crate::TreeId {
        *number += 1;
        let name = format!("d{number}");
        match rng.below(if depth == 0 { 2 } else { 5 }) {
            0 => builder.decide(name, Domain::Int { low: 1, high: 3, log: false }, None),
            1 => builder.decide("shared", Domain::ordered(["a", "b", "c"]), None),
            2 | 3 => {
                let parts: Vec<_> = (0..2 + rng.below(2)).map(|_| part(rng, builder, depth - 1, number)).collect();
                builder.all(parts)
            }
            _ => {
                let mut branches: Vec<_> = (0..2).map(|_| part(rng, builder, depth - 1, number)).collect();
                branches.push(builder.unit());
                builder.decide_then(name, Domain::members(["x", "y", "z"]), None, Then::Each(branches))
            }
        }
    }

    #[test]
    fn ranges_are_those_of_all_candidates() {
        let mut tried = 0;
        for seed in 0..300 {
            let mut rng = Rng::new(seed, "ranges");
            let space = space(&mut rng);
            let count = u64::try_from(space.count()).unwrap();
            if count > 3000 {
                continue;
            }
            let slots = space.slots();
            let scope = |rng: &mut Rng| {
                let mut scope: Vec<Slot> = (0..rng.below(4)).map(|_| Slot(rng.below(slots) as u32)).collect();
                scope.sort();
                scope.dedup();
                scope
            };
            let sum = Hashed { scopes: (0..2 + rng.below(6)).map(|_| scope(&mut rng)).collect() };
            let mut wanted: Option<Range<2>> = None;
            for rank in 0..count {
                let candidate = space.unrank(&rank.into()).unwrap();
                let mut range = Range { low: [0; 2], high: [0; 2] };
                // The same domain everywhere, so ranks are codes.
                let domains = space.decisions();
                for (term, scope) in sum.scopes.iter().enumerate() {
                    let code = |slot: &Slot| candidate.get(*slot).map(|v| sum.code(*slot, domains[slot.0 as usize].1[0], v));
                    range.add(&sum.value(term, &scope.iter().map(code).collect::<Vec<_>>()).unwrap());
                }
                match &mut wanted {
                    Some(known) => known.join(&range),
                    None => wanted = Some(range),
                }
            }
            assert_eq!(space.range(&sum, 1_000_000), wanted, "seed {seed}");
            tried += 1;
        }
        assert!(tried > 200, "{tried}");
    }

    #[test]
    fn a_chain_of_any_length_takes_few_steps() {
        let mut builder = SpaceBuilder::new();
        let all: Vec<_> =
            (0..200).map(|i| builder.decide(format!("d{i}"), Domain::Int { low: 1, high: 9, log: false }, None)).collect();
        let root = builder.all(all);
        let space = builder.finish(root).unwrap();
        struct Products(Vec<Vec<Slot>>);
        impl Sum<1> for Products {
            fn scopes(&self) -> &[Vec<Slot>] {
                &self.0
            }
            fn selection(&self, _: usize) -> &[Slot] {
                &[]
            }
            fn adds_nothing(&self, _: usize, _: &[Told]) -> bool {
                false
            }
            fn code(&self, _: Slot, _: &Domain, value: &Value) -> u32 {
                if let Value::Int(i) = value { *i as u32 } else { 0 }
            }
            fn value(&self, _: usize, answers: &[Option<u32>]) -> Option<[u64; 1]> {
                Some([answers.iter().map(|a| u64::from(a.unwrap())).product()])
            }
        }
        let sum = Products((1..200).map(|i| vec![Slot(i - 1), Slot(i)]).collect());
        let found = space.range(&sum, 200 * 81).unwrap();
        assert_eq!((found.low, found.high), ([199], [199 * 81]));
        assert_eq!(space.range(&sum, 1000), None);
    }
}
