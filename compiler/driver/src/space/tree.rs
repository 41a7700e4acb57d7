//! The tree of what was found.
//!
//! Orders and parts of a list that other decisions change become lists of all values: a place in the one list is nothing in the other.

use super::convert;
use super::passes::values_of;
use super::tasks::{Found, Item, label};
use merge_base::Diagnostic;
use merge_search::{Domain as Searched, Space, SpaceBuilder, SpaceError, Then, TreeId, Value};
use merge_sema::codes::models::BAD_ANSWER;
use merge_sema::space::{Answer, Decision, Domain};
use std::collections::{BTreeMap, BTreeSet};

struct Builder<'f> {
    found: &'f Found,
    trees: SpaceBuilder,
    /// Orders and parts of lists that differ between candidates.
    changing: BTreeSet<&'f str>,
}

/// The space; none where conditions exclude every candidate.
pub(super) fn assemble(found: &Found) -> Option<Result<Space, SpaceError>> {
    let changing = changing(found).into_keys().collect();
    let mut builder = Builder { found, trees: SpaceBuilder::new(), changing };
    let root = builder.branch(0)?;
    Some(builder.trees.finish(root))
}

/// What is wrong with orders and parts of lists that other decisions change: that they have too many values.
pub(super) fn too_many(found: &Found) -> Vec<Diagnostic> {
    let large =
        |d: &&Decision| convert::domain(&d.domain).small_count().is_none_or(|n| u128::from(n) > super::most_combinations());
    let fault = |d: &Decision| {
        let message = format!("`{}` has too many values for a list that other decisions change", d.id);
        Diagnostic::new(BAD_ANSWER, message, d.span, format!("more than {}", super::most_combinations()))
            .help("take one list for all candidates, or make one decision for each of the lists, in arms")
    };
    changing(found).into_values().filter(large).map(fault).collect()
}

fn changing(found: &Found) -> BTreeMap<&str, &Decision> {
    let (mut known, mut changing) = (BTreeMap::<&str, &Decision>::new(), BTreeMap::new());
    for decision in found.decisions() {
        let (Domain::Order { .. } | Domain::Subset { .. }) = decision.domain else { continue };
        let first = *known.entry(&decision.id).or_insert(decision);
        if first.domain != decision.domain {
            changing.insert(decision.id.as_str(), decision);
        }
    }
    changing
}

impl Builder<'_> {
    fn branch(&mut self, task: usize) -> Option<TreeId> {
        let mut trees = Vec::new();
        for item in self.found.items(task)? {
            trees.push(match item {
                Item::Free(d) => {
                    let (domain, default) = self.domain(d);
                    self.trees.decide(d.id.clone(), domain, default)
                }
                Item::Branch(d, tasks) => {
                    let branches: Vec<Option<TreeId>> = tasks.iter().map(|t| self.branch(*t)).collect();
                    self.decide(d, branches)?
                }
            });
        }
        Some(self.trees.all(trees))
    }

    /// The domain and the default as the search has them.
    fn domain(&self, d: &Decision) -> (Searched, Option<Value>) {
        match self.changing.contains(d.id.as_str()) {
            true => listed(d, values_of(&d.domain)),
            false => (convert::domain(&d.domain), d.default.as_ref().map(convert::value)),
        }
    }

    /// A decision with what follows from each value; values that nothing can follow are left out.
    fn decide(&mut self, d: &Decision, branches: Vec<Option<TreeId>>) -> Option<TreeId> {
        let ((domain, default), branches) = if branches.iter().all(Option::is_some) {
            (self.domain(d), branches.into_iter().flatten().collect::<Vec<_>>())
        } else {
            let kept = values_of(&d.domain).into_iter().zip(branches).filter_map(|(v, b)| Some((v, b?)));
            let (values, branches): (Vec<_>, Vec<_>) = kept.unzip();
            (listed(d, values), branches)
        };
        let first = *branches.first()?;
        let then = if branches.iter().all(|b| *b == first) { Then::Same(first) } else { Then::Each(branches) };
        Some(self.trees.decide_then(d.id.clone(), domain, default, then))
    }
}

/// A list of some values of a domain.
fn listed(d: &Decision, values: Vec<Answer>) -> (Searched, Option<Value>) {
    let place = d.default.as_ref().and_then(|default| values.iter().position(|v| v == default));
    let labels = values.iter().map(|v| label(&d.domain, v)).collect();
    let domain = Searched::Members { labels, ordered: convert::domain(&d.domain).is_ordered() };
    (domain, place.map(|p| Value::Member(p as u64)))
}
