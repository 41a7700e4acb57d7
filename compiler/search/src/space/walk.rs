//! Walking a space: one decision after the other, each answered by the caller.

use super::{Branch, Decision, Domain, Node, Slot, Space, Value};
use std::fmt;

/// The answers of one candidate, in the order in which they are asked. It makes sense together with its [`Space`], which prints
/// and reads it as `{path: value}`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Assignment {
    entries: Vec<(Slot, Value)>,
}

/// Why an assignment is no candidate of a space.
#[derive(Clone, Debug, PartialEq)]
pub enum Misfit {
    NotAnObject,
    /// No candidate has a decision of this path.
    Unknown {
        path: String,
    },
    /// The path exists, but not in a candidate with these answers.
    Unused {
        path: String,
    },
    Missing {
        path: String,
        domain: String,
    },
    Outside {
        path: String,
        value: String,
        domain: String,
    },
}

impl Misfit {
    pub(super) fn outside(path: &str, domain: &Domain, value: String) -> Misfit {
        Misfit::Outside { path: path.into(), value, domain: domain.to_string() }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Misfit::NotAnObject => f.write_str("choices are one JSON object, from the path of each decision to its value"),
            Misfit::Unknown { path } => write!(f, "the space has no decision `{path}`"),
            Misfit::Unused { path } => write!(f, "`{path}` is decided only in an arm that was not taken"),
            Misfit::Missing { path, domain } => write!(f, "the decision `{path}` is not answered; it is one of {domain}"),
            Misfit::Outside { path, value, domain } => write!(f, "{value} is not a value of `{path}`, which is one of {domain}"),
        }
    }
}

impl std::error::Error for Misfit {}

impl Assignment {
    pub(crate) fn from_entries(entries: Vec<(Slot, Value)>) -> Assignment {
        Assignment { entries }
    }

    pub fn entries(&self) -> &[(Slot, Value)] {
        &self.entries
    }

    pub fn get(&self, slot: Slot) -> Option<&Value> {
        self.entries.iter().find(|(other, _)| *other == slot).map(|(_, value)| value)
    }

    /// Bytes that are equal exactly when the assignments are (-0.0 is 0.0).
    pub fn key(&self) -> Vec<u8> {
        let mut key = vec![];
        for (slot, value) in &self.entries {
            key.extend(slot.0.to_le_bytes());
            match value {
                Value::Member(i) => key.extend(i.to_le_bytes()),
                Value::Int(i) => key.extend(i.to_le_bytes()),
                Value::Real(x) => key.extend((x + 0.0).to_le_bytes()),
                Value::Order(items) | Value::Subset(items) => {
                    key.extend((items.len() as u32).to_le_bytes());
                    key.extend(items.iter().flat_map(|item| item.to_le_bytes()));
                }
                Value::Simplex(parts) => key.extend(parts.iter().flat_map(|part| (part + 0.0).to_le_bytes())),
            }
        }
        key
    }
}

impl Space {
    /// Asks each decision of one candidate in order and gives the candidate. A decision with a single value is answered without
    /// asking. An answer outside its domain is a mistake of the caller; it is replaced by the middle of the domain (and stops
    /// a debug build).
    pub fn walk(&self, answer: &mut dyn FnMut(&Decision) -> Value) -> Assignment {
        self.walk_all(&mut |decision| decision.domain.only().unwrap_or_else(|| answer(decision)))
    }

    /// [`Space::walk`] that asks about single values too.
    pub(crate) fn walk_all(&self, answer: &mut dyn FnMut(&Decision) -> Value) -> Assignment {
        let (mut work, mut entries) = (vec![self.root], vec![]);
        while let Some(node) = work.pop() {
            match &self.nodes[node as usize] {
                Node::Unit => {}
                Node::All(parts) => work.extend(parts.iter().rev()),
                Node::Decide { slot, domain, default, then } => {
                    let domain = &self.domains[*domain as usize];
                    let (path, structural) = (self.path(*slot), matches!(then, Branch::Each(_)));
                    let decision = Decision { slot: *slot, path, domain, default: default.as_ref(), structural };
                    let mut value = answer(&decision);
                    if !domain.contains(&value) {
                        debug_assert!(false, "{value:?} is not in {domain}");
                        value = domain.middle();
                    }
                    work.push(match then {
                        Branch::Same(next) => *next,
                        Branch::Each(branches) => match &value {
                            Value::Member(i) => branches[*i as usize],
                            value => branches[usize::try_from(domain.rank(value)).expect("a branch for each value")],
                        },
                    });
                    entries.push((*slot, value));
                }
            }
        }
        Assignment { entries }
    }

    /// The candidate of the defaults; decisions without one stay in the middle of their domain. None where no decision has one.
    pub fn defaults(&self) -> Option<Assignment> {
        let mut any = false;
        let assignment = self.walk(&mut |decision| match decision.default {
            Some(value) => {
                any = true;
                value.clone()
            }
            None => decision.domain.middle(),
        });
        any.then_some(assignment)
    }

    /// A candidate with the wanted answers, if there is one; what is not wanted has its default, or the first value that goes
    /// with the rest. Wanted answers to decisions that the candidate lacks count for nothing; one that is not in the domain is in no candidate.
    pub fn with(&self, wanted: &dyn Fn(&str, &Domain) -> Option<Value>) -> Option<Assignment> {
        // By node, children first: the answer if it is a decision, and whether there is a candidate below.
        let mut chosen: Vec<(Option<Value>, bool)> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let found = match node {
                Node::Unit => (None, true),
                Node::All(parts) => (None, parts.iter().all(|p| chosen[*p as usize].1)),
                Node::Decide { slot, domain, default, then } => {
                    let domain = &self.domains[*domain as usize];
                    let leads = |value: &Value| match then {
                        Branch::Same(next) => chosen[*next as usize].1,
                        Branch::Each(branches) => {
                            let rank = usize::try_from(domain.rank(value)).ok();
                            rank.and_then(|r| branches.get(r)).is_some_and(|next| chosen[*next as usize].1)
                        }
                    };
                    let first = || match then {
                        Branch::Same(_) => Some(domain.middle()).filter(leads),
                        Branch::Each(branches) => (0..branches.len() as u64).map(|rank| domain.unrank(rank.into())).find(leads),
                    };
                    let value = match wanted(self.path(*slot), domain) {
                        Some(value) => Some(value).filter(|v| domain.contains(v) && leads(v)),
                        None => default.clone().filter(leads).or_else(first),
                    };
                    let holds = value.is_some();
                    (value, holds)
                }
            };
            chosen.push(found);
        }
        if !chosen[self.root as usize].1 {
            return None;
        }
        // The same way down, with the answers that were found.
        let (mut work, mut entries) = (vec![self.root], vec![]);
        while let Some(node) = work.pop() {
            match &self.nodes[node as usize] {
                Node::Unit => {}
                Node::All(parts) => work.extend(parts.iter().rev()),
                Node::Decide { slot, domain, then, .. } => {
                    let value = chosen[node as usize].0.clone()?;
                    work.push(match then {
                        Branch::Same(next) => *next,
                        Branch::Each(branches) => {
                            let rank = self.domains[*domain as usize].rank(&value);
                            *branches.get(usize::try_from(rank).ok()?)?
                        }
                    });
                    entries.push((*slot, value));
                }
            }
        }
        Some(Assignment { entries })
    }

    /// The decisions of a candidate with their values, in order.
    pub fn named<'a>(&'a self, assignment: &'a Assignment) -> impl Iterator<Item = (&'a str, &'a Value)> {
        assignment.entries.iter().map(|(slot, value)| (self.path(*slot), value))
    }
}

/// Takes the answers of an assignment one by one, wherever in it they stand.
pub(super) struct Walker<'a> {
    space: &'a Space,
    assignment: &'a Assignment,
    /// Where the next answer stands if the assignment is in order.
    next: usize,
    taken: usize,
}

impl<'a> Walker<'a> {
    pub fn new(space: &'a Space, assignment: &'a Assignment) -> Walker<'a> {
        Walker { space, assignment, next: 0, taken: 0 }
    }

    pub fn take(&mut self, slot: Slot, domain: &Domain) -> Result<Value, Misfit> {
        let path = || self.space.path(slot);
        let value = match self.assignment.entries.get(self.next) {
            Some((at, value)) if *at == slot => Some(value),
            _ => self.assignment.get(slot),
        };
        self.next += 1;
        let Some(value) = value else {
            return Err(Misfit::Missing { path: path().into(), domain: domain.to_string() });
        };
        self.taken += 1;
        if !domain.contains(value) {
            return Err(Misfit::outside(path(), domain, format!("{value:?}")));
        }
        Ok(value.clone())
    }

    pub fn finish(self) -> Result<(), Misfit> {
        if self.taken == self.assignment.entries.len() {
            return Ok(());
        }
        let met = self.space.walk(&mut |d| self.assignment.get(d.slot).cloned().unwrap_or_else(|| d.domain.middle()));
        let extra = self.assignment.entries.iter().find(|(slot, _)| met.get(*slot).is_none());
        match extra {
            Some((slot, _)) => Err(Misfit::Unused { path: self.space.path(*slot).into() }),
            None => Ok(()),
        }
    }
}
