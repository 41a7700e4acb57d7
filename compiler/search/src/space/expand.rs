//! From trees with scopes to nodes with slots; a decision met twice along one candidate is asked once.
//!
//! Two arms that lead to the same path (a density keyed by the group but not by the part) make branches depend on each other,
//! so that sizes no longer multiply. Where that happens, and only there, the parts concerned are put one after the other:
//! what follows an answer is repeated under each value of it, with the answers so far known. Parts that share nothing stay
//! side by side, so that an ordinary space keeps its size.

use super::{Branch, Domain, Node, Slot, SpaceError, Then, Tree, TreeId, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;
use std::sync::Arc;

pub(super) struct Expanded {
    pub nodes: Vec<Node>,
    pub root: u32,
    pub paths: Vec<Arc<str>>,
    pub domains: Vec<Domain>,
}

/// More nodes than that come only from decisions entangled between arms.
const LIMIT: usize = 4_000_000;

/// A tree under a prefix of scopes.
type Place = (TreeId, u32);

/// What a place can ask.
struct Reach {
    /// Ascending.
    slots: Vec<u32>,
    /// Does some candidate meet a slot twice inside?
    repeats: bool,
}

struct Expand<'a> {
    trees: &'a [Tree],
    prefixes: Vec<Arc<str>>,
    prefix_ids: FxHashMap<Arc<str>, u32>,
    paths: Vec<Arc<str>>,
    slots: FxHashMap<Arc<str>, u32>,
    domains: Vec<Domain>,
    domain_ids: FxHashMap<Vec<u8>, u32>,
    reach: FxHashMap<Place, Rc<Reach>>,
    /// Of slots asked more than once: does something depend on the answer?
    repeated: FxHashMap<u32, bool>,
    nodes: Vec<Node>,
    node_ids: FxHashMap<Vec<u8>, u32>,
    plain: FxHashMap<Place, u32>,
    chained: FxHashMap<(Vec<Place>, Known), u32>,
}

/// Answers on the way here to decisions that may come again, ascending by slot: the domain they were asked from, and the index
/// of the value where something depends on it.
type Known = Vec<(u32, u32, Option<usize>)>;

pub(super) fn expand(trees: &[Tree], root: TreeId) -> Result<Expanded, SpaceError> {
    check_order(trees, root)?;
    let mut e = Expand {
        trees,
        prefixes: vec!["".into()],
        prefix_ids: FxHashMap::from_iter([("".into(), 0)]),
        paths: vec![],
        slots: FxHashMap::default(),
        domains: vec![],
        domain_ids: FxHashMap::default(),
        reach: FxHashMap::default(),
        repeated: FxHashMap::default(),
        nodes: vec![],
        node_ids: FxHashMap::default(),
        plain: FxHashMap::default(),
        chained: FxHashMap::default(),
    };
    e.add(Node::Unit)?;
    e.reach((root, 0))?;
    e.find_dependants((root, 0), &mut FxHashSet::default());
    let root = e.place((root, 0))?;
    Ok(Expanded { nodes: e.nodes, root, paths: e.paths, domains: e.domains })
}

/// A file may have been edited: children come before their parents, so that no walk runs in circles.
fn check_order(trees: &[Tree], root: TreeId) -> Result<(), SpaceError> {
    if root.0 as usize >= trees.len() {
        return Err(SpaceError::Broken { tree: root.0 });
    }
    for (i, tree) in trees.iter().enumerate() {
        let children: &[TreeId] = match tree {
            Tree::Unit => &[],
            Tree::All(children) | Tree::Decide { then: Then::Each(children), .. } => children,
            Tree::Scope { inner, .. } | Tree::Decide { then: Then::Same(inner), .. } => std::slice::from_ref(inner),
        };
        if children.iter().any(|child| child.0 as usize >= i) {
            return Err(SpaceError::Broken { tree: i as u32 });
        }
    }
    Ok(())
}

impl<'a> Expand<'a> {
    fn tree(&self, place: Place) -> &'a Tree {
        &self.trees[place.0.0 as usize]
    }

    fn join(&self, prefix: u32, name: &str) -> Arc<str> {
        match &*self.prefixes[prefix as usize] {
            "" => name.into(),
            prefix => format!("{prefix}.{name}").into(),
        }
    }

    fn enter(&mut self, prefix: u32, segment: &str) -> u32 {
        let joined = self.join(prefix, segment);
        let next = self.prefixes.len() as u32;
        *self.prefix_ids.entry(joined).or_insert_with_key(|joined| {
            self.prefixes.push(joined.clone());
            next
        })
    }

    fn slot(&mut self, prefix: u32, name: &str) -> u32 {
        let path = self.join(prefix, name);
        let next = self.paths.len() as u32;
        *self.slots.entry(path).or_insert_with_key(|path| {
            self.paths.push(path.clone());
            next
        })
    }

    fn domain(&mut self, domain: &Domain) -> u32 {
        let next = self.domains.len() as u32;
        *self.domain_ids.entry(key(domain)).or_insert_with(|| {
            self.domains.push(domain.clone());
            next
        })
    }

    /// Checks every decision once and finds what each place can ask.
    fn reach(&mut self, place: Place) -> Result<Rc<Reach>, SpaceError> {
        if let Some(known) = self.reach.get(&place) {
            return Ok(known.clone());
        }
        let reach = stacker::maybe_grow(64 << 10, 1 << 20, || self.find_reach(place))?;
        self.reach.insert(place, reach.clone());
        Ok(reach)
    }

    fn find_reach(&mut self, place: Place) -> Result<Rc<Reach>, SpaceError> {
        Ok(match self.tree(place) {
            Tree::Unit => Rc::new(Reach { slots: vec![], repeats: false }),
            Tree::Scope { segment, inner } => {
                let prefix = self.enter(place.1, segment);
                self.reach((*inner, prefix))?
            }
            Tree::All(children) => {
                let parts = children.iter().map(|child| self.reach((*child, place.1))).collect::<Result<Vec<_>, _>>()?;
                let mut slots: Vec<u32> = parts.iter().flat_map(|part| part.slots.iter().copied()).collect();
                let shared = sort_and_take_repeated(&mut slots);
                let repeats = !shared.is_empty() || parts.iter().any(|part| part.repeats);
                self.repeated.extend(shared.into_iter().map(|slot| (slot, false)));
                Rc::new(Reach { slots, repeats })
            }
            Tree::Decide { name, domain, default, then } => {
                let slot = self.slot(place.1, name);
                self.check(slot, domain, default.as_ref(), then)?;
                let branches: Vec<TreeId> = match then {
                    Then::Same(next) => vec![*next],
                    Then::Each(branches) => branches.clone(),
                };
                let (mut slots, mut repeats) = (vec![], false);
                for branch in branches {
                    let part = self.reach((branch, place.1))?;
                    slots.extend_from_slice(&part.slots);
                    repeats |= part.repeats;
                }
                slots.sort_unstable();
                slots.dedup();
                match slots.binary_search(&slot) {
                    Ok(_) => {
                        repeats = true;
                        self.repeated.insert(slot, false);
                    }
                    Err(at) => slots.insert(at, slot),
                }
                Rc::new(Reach { slots, repeats })
            }
        })
    }

    fn check(&self, slot: u32, domain: &Domain, default: Option<&Value>, then: &Then) -> Result<(), SpaceError> {
        let path = || self.paths[slot as usize].to_string();
        if let Some(fault) = domain.fault() {
            return Err(SpaceError::Domain { path: path(), fault });
        }
        if default.is_some_and(|value| !domain.contains(value)) {
            return Err(SpaceError::Default { path: path(), domain: domain.to_string() });
        }
        match then {
            Then::Each(branches) if domain.reals() > 0 || domain.count() != branches.len().into() => {
                let values = if domain.reals() > 0 { "infinitely many".into() } else { domain.count().to_string() };
                Err(SpaceError::Branches { path: path(), values, branches: branches.len() })
            }
            _ => Ok(()),
        }
    }

    /// Marks the repeated slots on whose answer something depends, wherever it is asked.
    fn find_dependants(&mut self, place: Place, seen: &mut FxHashSet<Place>) {
        if self.repeated.is_empty() || !seen.insert(place) {
            return;
        }
        let children: Vec<Place> = match self.tree(place) {
            Tree::Unit => vec![],
            Tree::Scope { segment, inner } => vec![(*inner, self.enter(place.1, segment))],
            Tree::All(children) => children.iter().map(|child| (*child, place.1)).collect(),
            Tree::Decide { then: Then::Same(next), .. } => vec![(*next, place.1)],
            Tree::Decide { name, then: Then::Each(branches), .. } => {
                let slot = self.slot(place.1, name);
                self.repeated.entry(slot).and_modify(|depends| *depends = true);
                branches.iter().map(|branch| (*branch, place.1)).collect()
            }
        };
        for child in children {
            stacker::maybe_grow(64 << 10, 1 << 20, || self.find_dependants(child, seen));
        }
    }

    fn add(&mut self, node: Node) -> Result<u32, SpaceError> {
        let next = self.nodes.len() as u32;
        let id = *self.node_ids.entry(node_key(&node)).or_insert(next);
        if id == next {
            if self.nodes.len() >= LIMIT {
                return Err(SpaceError::Entangled { limit: LIMIT });
            }
            self.nodes.push(node);
        }
        Ok(id)
    }

    fn all(&mut self, mut parts: Vec<u32>) -> Result<u32, SpaceError> {
        parts.retain(|part| !matches!(self.nodes[*part as usize], Node::Unit));
        match parts.as_slice() {
            [] => self.add(Node::Unit),
            [one] => Ok(*one),
            _ => self.add(Node::All(parts)),
        }
    }

    /// The node of a place before which nothing was answered that it asks.
    fn place(&mut self, place: Place) -> Result<u32, SpaceError> {
        if let Some(node) = self.plain.get(&place) {
            return Ok(*node);
        }
        let node = stacker::maybe_grow(64 << 10, 1 << 20, || self.find_place(place))?;
        self.plain.insert(place, node);
        Ok(node)
    }

    fn find_place(&mut self, place: Place) -> Result<u32, SpaceError> {
        let repeats = self.reach[&place].repeats;
        match self.tree(place) {
            Tree::Unit => self.add(Node::Unit),
            Tree::Scope { segment, inner } => {
                let prefix = self.enter(place.1, segment);
                self.place((*inner, prefix))
            }
            Tree::All(_) | Tree::Decide { .. } if repeats => self.chain(vec![place], vec![]),
            Tree::All(children) => {
                let parts: Result<Vec<u32>, SpaceError> = children.iter().map(|child| self.place((*child, place.1))).collect();
                self.all(parts?)
            }
            Tree::Decide { name, domain, default, then } => {
                let (slot, domain) = (Slot(self.slot(place.1, name)), self.domain(domain));
                let then = match then {
                    Then::Same(next) => Branch::Same(self.place((*next, place.1))?),
                    Then::Each(branches) => {
                        Branch::Each(branches.iter().map(|branch| self.place((*branch, place.1))).collect::<Result<_, _>>()?)
                    }
                };
                self.add(Node::Decide { slot, domain, default: default.clone(), then })
            }
        }
    }

    /// The places with answers known: what shares an open decision goes one after the other, the rest side by side.
    fn chain(&mut self, places: Vec<Place>, known: Known) -> Result<u32, SpaceError> {
        let mut flat = vec![];
        for place in places {
            self.flatten(place, &known, &mut flat)?;
        }
        let mut parts = vec![];
        for group in self.groups(flat, &known) {
            let reaches = |slot: u32| group.iter().any(|place| self.reach[place].slots.binary_search(&slot).is_ok());
            let known: Known = known.iter().copied().filter(|(slot, ..)| reaches(*slot)).collect();
            let state = (group, known);
            let node = match self.chained.get(&state) {
                Some(node) => *node,
                None => {
                    let node = stacker::maybe_grow(64 << 10, 1 << 20, || self.find_chain(&state.0, &state.1))?;
                    self.chained.insert(state, node);
                    node
                }
            };
            parts.push(node);
        }
        self.all(parts)
    }

    /// The open decisions a place starts with: scopes entered, parts side by side, known answers followed.
    fn flatten(&mut self, place: Place, known: &Known, into: &mut Vec<Place>) -> Result<(), SpaceError> {
        let mut work = vec![place];
        while let Some(place) = work.pop() {
            match self.tree(place) {
                Tree::Unit => {}
                Tree::Scope { segment, inner } => {
                    let prefix = self.enter(place.1, segment);
                    work.push((*inner, prefix));
                }
                Tree::All(children) => work.extend(children.iter().rev().map(|child| (*child, place.1))),
                Tree::Decide { name, domain, then, .. } => {
                    let (slot, domain) = (self.slot(place.1, name), self.domain(domain));
                    let Some((_, asked, index)) = known.iter().find(|(known, ..)| *known == slot) else {
                        into.push(place);
                        continue;
                    };
                    if *asked != domain {
                        let [first, second] = [*asked, domain].map(|id| self.domains[id as usize].to_string());
                        return Err(SpaceError::TwoDomains { path: self.paths[slot as usize].to_string(), first, second });
                    }
                    let next = match then {
                        Then::Same(next) => *next,
                        Then::Each(branches) => branches[index.expect("indexed where something depends on it")],
                    };
                    work.push((next, place.1));
                }
            }
        }
        Ok(())
    }

    /// The places in groups that share no open decision, in order of their first members.
    fn groups(&self, places: Vec<Place>, known: &Known) -> Vec<Vec<Place>> {
        let mut leader: Vec<usize> = (0..places.len()).collect();
        let find = |leader: &[usize], mut i: usize| {
            while leader[i] != i {
                i = leader[i];
            }
            i
        };
        let mut owner: FxHashMap<u32, usize> = FxHashMap::default();
        for (i, place) in places.iter().enumerate() {
            for slot in &self.reach[place].slots {
                if !self.repeated.contains_key(slot) || known.iter().any(|(known, ..)| known == slot) {
                    continue;
                }
                let (a, b) = (find(&leader, i), find(&leader, *owner.entry(*slot).or_insert(i)));
                leader[a.max(b)] = a.min(b);
            }
        }
        let mut groups: Vec<Vec<Place>> = vec![vec![]; places.len()];
        for (i, place) in places.into_iter().enumerate() {
            groups[find(&leader, i)].push(place);
        }
        groups.retain(|group| !group.is_empty());
        groups
    }

    /// A group whose members share open decisions: the first member's decision, and under each answer all that is left.
    fn find_chain(&mut self, group: &[Place], known: &Known) -> Result<u32, SpaceError> {
        let place = group[0];
        if group.len() == 1 && known.is_empty() && !self.reach[&place].repeats {
            return self.place(place);
        }
        let Tree::Decide { name, domain, default, then } = self.tree(place) else { unreachable!("groups are of open decisions") };
        let (slot, domain_id) = (self.slot(place.1, name), self.domain(domain));
        let depends = self.repeated.get(&slot).copied();
        let values = match then {
            Then::Each(branches) => Some(branches.len()),
            Then::Same(_) if depends == Some(true) => {
                let count = domain.small_count().map(|count| count as usize);
                Some(count.filter(|count| *count <= LIMIT).ok_or(SpaceError::Entangled { limit: LIMIT })?)
            }
            Then::Same(_) => None,
        };
        let mut branch = |index: Option<usize>| {
            let next = match then {
                Then::Same(next) => *next,
                Then::Each(branches) => branches[index.expect("each value has its branch")],
            };
            let mut known = known.clone();
            if let Some(depends) = depends {
                known.push((slot, domain_id, index.filter(|_| depends)));
                known.sort_unstable();
            }
            self.chain([&[(next, place.1)], &group[1..]].concat(), known)
        };
        let then = match values {
            None => Branch::Same(branch(None)?),
            Some(values) => {
                let nodes: Vec<u32> = (0..values).map(|index| branch(Some(index))).collect::<Result<_, _>>()?;
                match nodes.windows(2).all(|pair| pair[0] == pair[1]) {
                    true => Branch::Same(nodes[0]),
                    false => Branch::Each(nodes),
                }
            }
        };
        self.add(Node::Decide { slot: Slot(slot), domain: domain_id, default: default.clone(), then })
    }
}

/// Sorts, drops repetitions, and returns what was there more than once.
fn sort_and_take_repeated(slots: &mut Vec<u32>) -> Vec<u32> {
    slots.sort_unstable();
    let mut repeated: Vec<u32> = slots.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    repeated.dedup();
    slots.dedup();
    repeated
}

fn key<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data")
}

fn node_key(node: &Node) -> Vec<u8> {
    match node {
        Node::Unit => key(&()),
        Node::All(parts) => key(parts),
        Node::Decide { slot, domain, default, then: Branch::Same(next) } => key(&(slot.0, domain, default, next)),
        Node::Decide { slot, domain, default, then: Branch::Each(next) } => key(&(slot.0, domain, default, next)),
    }
}
