//! How many candidates a space has, and the bijection between them and `0..size`.
//!
//! Real decisions are counted apart: a size is a polynomial in R, the number of reals, and ranks count candidates that differ in
//! more than their reals. Of independent parts the last varies fastest, of a decision's values the first come first.

use super::walk::{Assignment, Misfit, Walker};
use super::{Branch, Decision, Node, Space, Value};
use num_bigint::BigUint;
use rustc_hash::FxHashSet;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;

/// The number of candidates: `terms[k]` of them hold k real numbers. `{0: 6, 2: 5}` is printed `6 + 5 x R^2`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Size {
    pub terms: BTreeMap<usize, BigUint>,
}

impl Size {
    fn one() -> Size {
        Size { terms: BTreeMap::from([(0, 1u32.into())]) }
    }

    /// The number of candidates that differ in more than their reals.
    pub fn skeletons(&self) -> BigUint {
        self.terms.values().sum()
    }

    /// Has no candidate a real decision?
    pub fn is_finite(&self) -> bool {
        self.terms.keys().all(|reals| *reals == 0)
    }

    fn add(&mut self, other: &Size) {
        for (reals, count) in &other.terms {
            *self.terms.entry(*reals).or_default() += count;
        }
    }

    fn times(&self, other: &Size) -> Size {
        let mut product = Size::default();
        for (a, m) in &self.terms {
            for (b, n) in &other.terms {
                *product.terms.entry(a + b).or_default() += m * n;
            }
        }
        product
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let term = |(reals, count): (&usize, &BigUint)| match (reals, count) {
            (0, count) => count.to_string(),
            (1, count) => format!("{count} x R"),
            (reals, count) => format!("{count} x R^{reals}"),
        };
        f.write_str(&self.terms.iter().map(term).collect::<Vec<_>>().join(" + "))
    }
}

/// By node, reals counted as one value.
pub(super) fn counts(space: &Space) -> Vec<BigUint> {
    let mut counts: Vec<BigUint> = vec![];
    for node in &space.nodes {
        let count = match node {
            Node::Unit => 1u32.into(),
            Node::All(parts) => parts.iter().map(|part| &counts[*part as usize]).product(),
            Node::Decide { domain, then: Branch::Same(next), .. } => {
                space.domains[*domain as usize].count() * &counts[*next as usize]
            }
            Node::Decide { then: Branch::Each(next), .. } => next.iter().map(|next| &counts[*next as usize]).sum(),
        };
        counts.push(count);
    }
    counts
}

impl Space {
    /// The number of candidates, exactly.
    pub fn size(&self) -> Size {
        let mut sizes: Vec<Size> = vec![];
        for node in &self.nodes {
            let size = match node {
                Node::Unit => Size::one(),
                Node::All(parts) => parts.iter().fold(Size::one(), |size, part| size.times(&sizes[*part as usize])),
                Node::Decide { domain, then: Branch::Same(next), .. } => {
                    let domain = &self.domains[*domain as usize];
                    Size { terms: BTreeMap::from([(domain.reals(), domain.count())]) }.times(&sizes[*next as usize])
                }
                Node::Decide { then: Branch::Each(next), .. } => next.iter().fold(Size::default(), |mut size, next| {
                    size.add(&sizes[*next as usize]);
                    size
                }),
            };
            sizes.push(size);
        }
        sizes.swap_remove(self.root as usize)
    }

    /// The number of candidates that differ in more than their reals: ranks are below it.
    pub fn count(&self) -> &BigUint {
        &self.counts[self.root as usize]
    }

    /// Has no candidate a real decision?
    pub fn is_finite(&self) -> bool {
        self.domains.iter().all(|domain| domain.reals() == 0)
    }

    /// The candidate of a rank below [`Space::count`], its reals at their defaults, or else in the middle. `None` beyond.
    pub fn unrank(&self, rank: &BigUint) -> Option<Assignment> {
        self.unrank_with(rank, &mut |decision| match decision.default {
            Some(value) => value.clone(),
            None => decision.domain.middle(),
        })
    }

    /// The candidate of a rank, its reals as `reals` says.
    pub fn unrank_with(&self, rank: &BigUint, reals: &mut dyn FnMut(&Decision) -> Value) -> Option<Assignment> {
        if rank >= self.count() {
            return None;
        }
        // Work left: nodes with the rank of their part.
        let mut work = vec![(self.root, rank.clone())];
        let mut entries = vec![];
        while let Some((node, mut rank)) = work.pop() {
            match &self.nodes[node as usize] {
                Node::Unit => {}
                Node::All(parts) => {
                    for part in parts.iter().rev() {
                        let base = &self.counts[*part as usize];
                        work.push((*part, &rank % base));
                        rank /= base;
                    }
                }
                Node::Decide { slot, domain, default, then } => {
                    let (path, domain) = (self.path(*slot), &self.domains[*domain as usize]);
                    let structural = matches!(then, Branch::Each(_));
                    let decision = Decision { slot: *slot, path, domain, default: default.as_ref(), structural };
                    let (value, next) = match then {
                        Branch::Same(next) => {
                            let base = &self.counts[*next as usize];
                            let (value, inner) = (&rank / base, &rank % base);
                            let real = domain.reals() > 0;
                            (if real { reals(&decision) } else { domain.unrank(value) }, (*next, inner))
                        }
                        Branch::Each(branches) => {
                            let mut index = 0;
                            while rank >= self.counts[branches[index] as usize] {
                                rank -= &self.counts[branches[index] as usize];
                                index += 1;
                            }
                            (domain.unrank(index.into()), (branches[index], rank))
                        }
                    };
                    entries.push((*slot, value));
                    work.push(next);
                }
            }
        }
        Some(Assignment::from_entries(entries))
    }

    /// The rank of a candidate, whatever its reals.
    pub fn rank(&self, assignment: &Assignment) -> Result<BigUint, Misfit> {
        // Ranks are put together along the walk: `rank = before + digit * width`, innermost last. A part of several is worth
        // the product of the parts after it.
        let mut rank = BigUint::ZERO;
        let mut work = vec![(self.root, BigUint::from(1u32))];
        let mut given = Walker::new(self, assignment);
        while let Some((node, width)) = work.pop() {
            match &self.nodes[node as usize] {
                Node::Unit => {}
                Node::All(parts) => {
                    let mut width = width;
                    let mut inner = vec![];
                    for part in parts.iter().rev() {
                        inner.push((*part, width.clone()));
                        width *= &self.counts[*part as usize];
                    }
                    work.extend(inner);
                }
                Node::Decide { slot, domain, then, .. } => {
                    let domain = &self.domains[*domain as usize];
                    let value = given.take(*slot, domain)?;
                    let digit = domain.rank(&value);
                    match then {
                        Branch::Same(next) => {
                            rank += digit * &self.counts[*next as usize] * &width;
                            work.push((*next, width));
                        }
                        Branch::Each(branches) => {
                            let index = usize::try_from(&digit).expect("as many values as branches");
                            let before: BigUint = branches[..index].iter().map(|b| &self.counts[*b as usize]).sum();
                            rank += before * &width;
                            work.push((branches[index], width));
                        }
                    }
                }
            }
        }
        given.finish()?;
        Ok(rank)
    }

    /// Is the assignment a candidate of this space: every decision it meets answered from its domain, and no other?
    pub fn contains(&self, assignment: &Assignment) -> bool {
        self.rank(assignment).is_ok()
    }

    /// [`Space::contains`] with the reason.
    pub fn validate(&self, assignment: &Assignment) -> Result<(), Misfit> {
        self.rank(assignment).map(|_| ())
    }

    /// A candidate as `{path: value}`, in the order in which it is asked.
    pub fn to_json(&self, assignment: &Assignment) -> Json {
        let mut object = serde_json::Map::new();
        self.each_answer(assignment, &mut |decision, value| {
            object.insert(decision.path.to_owned(), decision.domain.to_json(value));
        });
        Json::Object(object)
    }

    /// Shows each decision of a candidate, in order, with its domain there and its answer.
    pub fn each_answer(&self, assignment: &Assignment, show: &mut dyn FnMut(&Decision, &Value)) {
        let mut given = Walker::new(self, assignment);
        self.walk_all(&mut |decision| {
            let value = given.take(decision.slot, decision.domain).unwrap_or_else(|_| decision.domain.middle());
            show(decision, &value);
            value
        });
    }

    /// Reads `{path: value}`: every decision that is met must be there (but for those with a single value), and nothing else.
    pub fn from_json(&self, json: &Json) -> Result<Assignment, Misfit> {
        self.read_json(json, false)
    }

    /// The same where decisions that are not there have their defaults: for choices of a space before it was edited.
    pub fn from_earlier_json(&self, json: &Json) -> Result<Assignment, Misfit> {
        self.read_json(json, true)
    }

    fn read_json(&self, json: &Json, defaults: bool) -> Result<Assignment, Misfit> {
        let object = json.as_object().ok_or(Misfit::NotAnObject)?;
        let mut misfit = None;
        let mut met = FxHashSet::default();
        let assignment = self.walk_all(&mut |decision| {
            met.insert(decision.slot);
            let given = object.get(decision.path);
            let read = match given {
                Some(json) => decision.domain.from_json(json),
                None => decision.domain.only().or_else(|| decision.default.filter(|_| defaults).cloned()),
            };
            read.unwrap_or_else(|| {
                misfit.get_or_insert_with(|| match given {
                    None => Misfit::Missing { path: decision.path.into(), domain: decision.domain.to_string() },
                    Some(json) => Misfit::outside(decision.path, decision.domain, json.to_string()),
                });
                decision.domain.middle()
            })
        });
        if let Some(misfit) = misfit {
            return Err(misfit);
        }
        for path in object.keys() {
            match self.slot(path) {
                None => return Err(Misfit::Unknown { path: path.into() }),
                Some(slot) if !met.contains(&slot) => return Err(Misfit::Unused { path: path.into() }),
                Some(_) => {}
            }
        }
        Ok(assignment)
    }
}
