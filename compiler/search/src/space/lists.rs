//! Decisions whose list depends on other decisions: a member is the same in every list that has it, wherever it stands there.
//!
//! A [`Value::Member`] is a place in the list of one candidate. What is kept from candidate to candidate (parents, densities, columns of
//! features) is kept as a place in all lists of the decision put together, which is *common* to them.

use super::{Assignment, Decision, Domain, Node, Slot, Space, Value};

/// All lists of a decision that has several.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    /// By number in [`Space::domains`].
    domains: Vec<u32>,
    /// Every member of any: numbers of ordered lists ascending, others in the order of the first list that has it.
    labels: Vec<String>,
    ordered: bool,
}

impl Lists {
    /// Lists of numbers in order are parts of one such list.
    fn settled(mut self) -> Lists {
        let number = |label: &String| label.parse::<f64>().ok().filter(|x| x.is_finite());
        self.ordered &= self.labels.iter().all(|l| number(l).is_some());
        if self.ordered {
            self.labels.sort_by(|a, b| number(a).unwrap_or(0.0).total_cmp(&number(b).unwrap_or(0.0)));
        }
        self
    }
}

/// By slot: none where all candidates have one domain, or where a value says all by itself.
pub(super) fn lists(nodes: &[Node], domains: &[Domain], slots: usize) -> Vec<Option<Lists>> {
    let mut found: Vec<Lists> = vec![Lists { domains: vec![], labels: vec![], ordered: true }; slots];
    for node in nodes {
        let Node::Decide { slot, domain, .. } = node else { continue };
        let lists = &mut found[slot.0 as usize];
        if let Domain::Members { labels, ordered } = &domains[*domain as usize]
            && !lists.domains.contains(domain)
        {
            lists.domains.push(*domain);
            lists.ordered &= *ordered;
            let new: Vec<&String> = labels.iter().filter(|l| !lists.labels.contains(l)).collect();
            lists.labels.extend(new.into_iter().cloned());
        }
    }
    found.into_iter().map(|lists| Some(lists.settled()).filter(|l| l.domains.len() > 1)).collect()
}

impl Space {
    fn lists_of(&self, slot: Slot) -> Option<&Lists> {
        self.lists[slot.0 as usize].as_ref()
    }

    /// Whether the list of some decision depends on others.
    pub(crate) fn has_lists(&self) -> bool {
        self.lists.iter().any(Option::is_some)
    }

    /// Whether candidates differ in the list that this decision is answered from.
    pub fn varies(&self, path: &str) -> bool {
        self.slot(path).is_some_and(|slot| self.lists_of(slot).is_some())
    }

    /// The number of members of all lists of a decision together, where it has several, and whether they are in order.
    pub(crate) fn common_count(&self, slot: Slot) -> Option<(usize, bool)> {
        self.lists_of(slot).map(|lists| (lists.labels.len(), lists.ordered))
    }

    /// The list at hand among those of its decision, from 1; 0 where there is but one.
    pub(crate) fn list_number(&self, decision: &Decision) -> u32 {
        let Some(lists) = self.lists_of(decision.slot) else { return 0 };
        let place = lists.domains.iter().position(|d| self.domains[*d as usize] == *decision.domain);
        place.map_or(0, |place| place as u32 + 1)
    }

    /// A value of one list as all of its decision's lists know it.
    pub(crate) fn common(&self, slot: Slot, domain: &Domain, value: &Value) -> Value {
        match (self.lists_of(slot), domain, value) {
            (Some(lists), Domain::Members { labels, .. }, Value::Member(i)) => {
                let label = labels.get(*i as usize);
                let place = label.and_then(|label| lists.labels.iter().position(|l| l == label));
                Value::Member(place.map_or(u64::MAX, |place| place as u64))
            }
            _ => value.clone(),
        }
    }

    /// The answers of a candidate, with values that are common to all lists of their decisions.
    pub(crate) fn common_entries(&self, assignment: &Assignment) -> Vec<(Slot, Value)> {
        if !self.has_lists() {
            return assignment.entries().to_vec();
        }
        let mut given: Vec<Option<&Value>> = vec![None; self.slots()];
        for (slot, value) in assignment.entries() {
            given[slot.0 as usize] = Some(value);
        }
        let mut found = Vec::with_capacity(assignment.entries().len());
        self.walk_all(&mut |decision| {
            let own = given[decision.slot.0 as usize].filter(|value| decision.domain.contains(value));
            let Some(value) = own else { return decision.domain.middle() };
            found.push((decision.slot, self.common(decision.slot, decision.domain, value)));
            value.clone()
        });
        found
    }

    /// The same value in the list at hand, if it is there.
    pub(crate) fn own(&self, decision: &Decision, common: &Value) -> Option<Value> {
        match (self.lists_of(decision.slot), decision.domain, common) {
            (Some(lists), Domain::Members { labels, .. }, Value::Member(i)) => {
                let label = lists.labels.get(*i as usize)?;
                labels.iter().position(|l| l == label).map(|place| Value::Member(place as u64))
            }
            _ => Some(common.clone()).filter(|value| decision.domain.contains(value)),
        }
    }
}
