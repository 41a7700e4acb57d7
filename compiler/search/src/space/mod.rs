//! A search space as data: a tree of decisions, hash-consed, with an identity of its own.
//!
//! A decision is known by its path, `candidate.method[2, mlp].ties.d`: the segments of the scopes around it and its name,
//! joined by dots. The same path in two places is one decision: it is asked once, and what depends on it in either place
//! follows the one answer. The tree may be written without thought for that; [`SpaceBuilder::finish`] makes it exact
//! (see `expand`).

pub mod count;
pub mod domain;
mod expand;
mod lists;
pub mod range;
#[cfg(test)]
pub(crate) mod tests;
pub mod walk;

pub use count::Size;
pub use domain::{Domain, Value};
pub use walk::{Assignment, Misfit};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;

/// A tree of a [`SpaceBuilder`], by number; children have smaller numbers than their parents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TreeId(pub(crate) u32);

/// A space as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tree {
    /// Nothing to decide.
    Unit,
    /// All of them, in this order.
    All(Vec<TreeId>),
    /// The decisions inside have the segment in their paths.
    Scope { segment: String, inner: TreeId },
    /// A decision, then what follows from it.
    Decide { name: String, domain: Domain, default: Option<Value>, then: Then },
}

/// What follows a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The same, whatever the answer.
    Same(TreeId),
    /// One tree for each value of a finite domain, in its order: [`Domain::rank`] is the index.
    Each(Vec<TreeId>),
}

/// A decision of a space, by number: one number for each path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// A node of the space with scopes resolved and repeated decisions asked once.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Unit,
    All(Vec<u32>),
    Decide { slot: Slot, domain: u32, default: Option<Value>, then: Branch },
}

#[derive(Clone, Debug)]
pub(crate) enum Branch {
    Same(u32),
    Each(Vec<u32>),
}

/// A decision as a walk meets it. The domain and the default belong to the place: what was decided before may narrow them.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    pub slot: Slot,
    pub path: &'a str,
    pub domain: &'a Domain,
    pub default: Option<&'a Value>,
    /// Does it depend on the answer what is asked next?
    pub structural: bool,
}

/// A search space. Made by [`SpaceBuilder::finish`] or read by serde, which checks it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct Space {
    written: Written,
    /// Children before parents.
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: u32,
    /// By slot, in the order of a walk that takes every branch.
    paths: Vec<Arc<str>>,
    pub(crate) domains: Vec<Domain>,
    /// By node: the number of candidates, reals counted as one.
    pub(crate) counts: Vec<num_bigint::BigUint>,
    by_path: FxHashMap<Arc<str>, Slot>,
    /// By slot.
    lists: Vec<Option<lists::Lists>>,
    hash: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Written {
    trees: Vec<Tree>,
    root: TreeId,
}

/// Why trees are no space.
#[derive(Clone, Debug, PartialEq)]
pub enum SpaceError {
    /// The domain is empty or its bounds make no sense.
    Domain { path: String, fault: String },
    /// The default is not in the domain.
    Default { path: String, domain: String },
    /// The number of branches is not the number of values.
    Branches { path: String, values: String, branches: usize },
    /// One decision is asked twice along one candidate with two domains.
    TwoDomains { path: String, first: String, second: String },
    /// Decisions shared between arms multiply to more nodes than can be held.
    Entangled { limit: usize },
    /// A child that is not there, or comes after its parent (of a file that was edited).
    Broken { tree: u32 },
}

impl fmt::Display for SpaceError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            SpaceError::Domain { path, fault } => write!(f, "the decision `{path}` has nothing to choose from: {fault}"),
            SpaceError::Default { path, domain } => write!(f, "the default of the decision `{path}` is not in {domain}"),
            SpaceError::Branches { path, values, branches } => {
                write!(f, "the decision `{path}` has {values} values but {branches} branches")
            }
            SpaceError::TwoDomains { path, first, second } => {
                write!(f, "the decision `{path}` is asked twice in one candidate, from {first} and from {second}")
            }
            SpaceError::Entangled { limit } => {
                write!(f, "decisions shared between arms make more than {limit} cases; ask them before the arms part")
            }
            SpaceError::Broken { tree } => write!(f, "tree {tree} of the space refers to a tree that does not come before it"),
        }
    }
}

impl std::error::Error for SpaceError {}

/// Builds trees from the leaves up; equal trees are one.
#[derive(Default, Debug)]
pub struct SpaceBuilder {
    trees: Vec<Tree>,
    known: FxHashMap<Vec<u8>, TreeId>,
}

impl SpaceBuilder {
    pub fn new() -> SpaceBuilder {
        SpaceBuilder::default()
    }

    pub fn unit(&mut self) -> TreeId {
        self.add(Tree::Unit)
    }

    /// All of the trees, in order; units vanish and one alone stands for itself.
    pub fn all(&mut self, trees: impl IntoIterator<Item = TreeId>) -> TreeId {
        let trees: Vec<TreeId> = trees.into_iter().filter(|tree| self.trees[tree.0 as usize] != Tree::Unit).collect();
        match trees.as_slice() {
            [] => self.unit(),
            [one] => *one,
            _ => self.add(Tree::All(trees)),
        }
    }

    pub fn scope(&mut self, segment: impl Into<String>, inner: TreeId) -> TreeId {
        if self.trees[inner.0 as usize] == Tree::Unit {
            return inner;
        }
        self.add(Tree::Scope { segment: segment.into(), inner })
    }

    /// A decision after which nothing depends on the answer.
    pub fn decide(&mut self, name: impl Into<String>, domain: Domain, default: Option<Value>) -> TreeId {
        let unit = self.unit();
        self.decide_then(name, domain, default, Then::Same(unit))
    }

    pub fn decide_then(&mut self, name: impl Into<String>, domain: Domain, default: Option<Value>, then: Then) -> TreeId {
        self.add(Tree::Decide { name: name.into(), domain, default, then })
    }

    /// A choice among arms: the label of each and what is decided inside, whose paths get the label as a segment.
    pub fn arms<S: Into<String>>(
        &mut self,
        name: impl Into<String>,
        arms: impl IntoIterator<Item = (S, TreeId)>,
        default: Option<Value>,
    ) -> TreeId {
        let name = name.into();
        let arms: Vec<(String, TreeId)> = arms.into_iter().map(|(label, inner)| (label.into(), inner)).collect();
        let inner = |builder: &mut SpaceBuilder, (label, inner): &(String, TreeId)| {
            let arm = builder.scope(label.clone(), *inner);
            builder.scope(name.clone(), arm)
        };
        let branches = arms.iter().map(|arm| inner(self, arm)).collect();
        let domain = Domain::members(arms.iter().map(|(label, _)| label.clone()));
        self.decide_then(name, domain, default, Then::Each(branches))
    }

    pub fn add(&mut self, tree: Tree) -> TreeId {
        let key = serde_json::to_vec(&tree).expect("a tree is plain data");
        let next = TreeId(self.trees.len() as u32);
        *self.known.entry(key).or_insert_with(|| {
            self.trees.push(tree);
            next
        })
    }

    /// The space with this root, checked: domains, defaults, branches, and decisions that are asked more than once.
    pub fn finish(self, root: TreeId) -> Result<Space, SpaceError> {
        Space::check(Written { trees: self.trees, root })
    }
}

impl Space {
    /// The number of slots: of different paths over all candidates.
    pub fn slots(&self) -> usize {
        self.paths.len()
    }

    /// The path of a slot.
    pub fn path(&self, slot: Slot) -> &str {
        &self.paths[slot.0 as usize]
    }

    /// The slot of a path.
    pub fn slot(&self, path: &str) -> Option<Slot> {
        self.by_path.get(path).copied()
    }

    /// The trees as they were given and the root among them.
    pub fn trees(&self) -> (&[Tree], TreeId) {
        (&self.written.trees, self.written.root)
    }

    pub fn tree(&self, id: TreeId) -> &Tree {
        &self.written.trees[id.0 as usize]
    }

    /// SHA-256, in hex, over paths, domains, defaults and what depends on what. It does not depend on how the tree was built,
    /// on the machine, or on the order in which trees were added.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Every decision at every place it can be met, with each of its domains, in the order of a walk that takes every branch.
    pub fn decisions(&self) -> Vec<(&str, Vec<&Domain>)> {
        let mut domains: Vec<Vec<&Domain>> = vec![vec![]; self.paths.len()];
        for node in &self.nodes {
            if let Node::Decide { slot, domain, .. } = node {
                let (domains, domain) = (&mut domains[slot.0 as usize], &self.domains[*domain as usize]);
                if !domains.contains(&domain) {
                    domains.push(domain);
                }
            }
        }
        self.paths.iter().map(|path| &**path).zip(domains).collect()
    }

    fn check(written: Written) -> Result<Space, SpaceError> {
        let expanded = expand::expand(&written.trees, written.root)?;
        let mut space = Space {
            written,
            by_path: expanded.paths.iter().enumerate().map(|(i, p)| (p.clone(), Slot(i as u32))).collect(),
            nodes: expanded.nodes,
            root: expanded.root,
            paths: expanded.paths,
            domains: expanded.domains,
            lists: vec![],
            counts: vec![],
            hash: String::new(),
        };
        space.lists = lists::lists(&space.nodes, &space.domains, space.paths.len());
        space.counts = count::counts(&space);
        space.hash = space.digest();
        Ok(space)
    }

    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"merge space 1\n");
        let mut line = |json: serde_json::Value| {
            hash.update(json.to_string().as_bytes());
            hash.update(b"\n");
        };
        line(self.root.into());
        for node in &self.nodes {
            line(match node {
                Node::Unit => serde_json::json!(["unit"]),
                Node::All(children) => serde_json::json!(["all", children]),
                Node::Decide { slot, domain, default, then } => {
                    let (path, domain) = (self.path(*slot), &self.domains[*domain as usize]);
                    match then {
                        Branch::Same(next) => serde_json::json!(["decide", path, domain, default, "same", next]),
                        Branch::Each(next) => serde_json::json!(["decide", path, domain, default, "each", next]),
                    }
                }
            });
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl From<Space> for Written {
    fn from(space: Space) -> Written {
        space.written
    }
}

impl TryFrom<Written> for Space {
    type Error = SpaceError;

    fn try_from(written: Written) -> Result<Space, SpaceError> {
        Space::check(written)
    }
}
