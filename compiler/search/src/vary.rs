//! Candidates made from candidates: what evolution, surrogates and CMA-ES vary. Everything is kept by path and value, never by position.

use crate::encode::{another, draw, neighbour};
use crate::rng::Rng;
use crate::space::{Assignment, Decision, Slot, Space, Value};

/// An assignment by slot, so that a look-up costs nothing. Values are common to all lists of a decision.
pub struct BySlot<'s> {
    space: &'s Space,
    values: Vec<Option<Value>>,
}

impl<'s> BySlot<'s> {
    pub fn new(space: &'s Space, assignment: &Assignment) -> BySlot<'s> {
        let mut values = vec![None; space.slots()];
        for (slot, value) in space.common_entries(assignment) {
            values[slot.0 as usize] = Some(value);
        }
        BySlot { space, values }
    }

    /// The answer, if the decision was met and the answer is still one of its domain.
    pub fn get(&self, decision: &Decision) -> Option<Value> {
        let common = self.values[decision.slot.0 as usize].as_ref()?;
        self.space.own(decision, common)
    }

    #[cfg(test)]
    pub fn at(&self, slot: Slot) -> Option<&Value> {
        self.values[slot.0 as usize].as_ref()
    }
}

/// The slots of the decisions that have more than one value.
fn open(space: &Space, assignment: &Assignment) -> Vec<Slot> {
    let mut slots = vec![];
    let given = BySlot::new(space, assignment);
    space.walk(&mut |decision| {
        slots.push(decision.slot);
        given.get(decision).unwrap_or_else(|| decision.domain.middle())
    });
    slots
}

/// The same candidate with one decision changed; decisions that this opens are drawn, and so are those whose list has their value no
/// more; all others keep their answers. `near`: the change is a small step where the domain has an order.
pub fn mutate(space: &Space, parent: &Assignment, near: bool, rng: &mut Rng) -> Assignment {
    let slots = open(space, parent);
    let Some(chosen) = rng.pick(&slots).copied() else { return parent.clone() };
    let given = BySlot::new(space, parent);
    space.walk(&mut |decision| match given.get(decision) {
        Some(value) if decision.slot == chosen && near => neighbour(decision.domain, &value, rng),
        Some(value) if decision.slot == chosen => another(decision.domain, &value, rng),
        Some(value) => value,
        None => draw(decision.domain, rng),
    })
}

/// A child that takes each decision from one of two parents. Neighbouring decisions tend to come from the same one, and a
/// decision that only one of them has, from that one, so that an arm comes with what was decided inside it.
pub fn cross(space: &Space, one: &Assignment, other: &Assignment, rng: &mut Rng) -> Assignment {
    let parents = [BySlot::new(space, one), BySlot::new(space, other)];
    let mut from = rng.below(2);
    space.walk(&mut |decision| {
        if rng.chance(0.3) {
            from = 1 - from;
        }
        let value = parents[from].get(decision).or_else(|| parents[1 - from].get(decision));
        value.unwrap_or_else(|| draw(decision.domain, rng))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::tests::resnet;

    #[test]
    fn a_mutant_differs_in_one_decision_and_what_hangs_from_it() {
        let space = resnet();
        let mut rng = Rng::new(1, "vary");
        for _ in 0..200 {
            let parent = space.sample(&mut rng);
            let child = mutate(&space, &parent, rng.clone().chance(0.5), &mut rng);
            assert_eq!(space.validate(&child), Ok(()));
            let old = BySlot::new(&space, &parent);
            let changed: Vec<&str> = child
                .entries()
                .iter()
                .filter(|(slot, value)| old.at(*slot).is_some_and(|old| old != value))
                .map(|(slot, _)| space.path(*slot))
                .collect();
            assert_eq!(changed.len(), 1, "{changed:?}");
        }
    }

    #[test]
    fn what_is_kept_is_kept_by_value() {
        use crate::space::{Domain, SpaceBuilder, Then};
        let mut b = SpaceBuilder::new();
        let lists = [vec!["1", "2", "3"], vec!["3", "5"], vec!["9", "3", "1"]];
        let arms = lists.iter().map(|l| b.decide("n", Domain::members(l.clone()), None)).collect();
        let root = b.decide_then("which", Domain::members(["a", "b", "c"]), None, Then::Each(arms));
        let space = b.finish(root).unwrap();
        let mut rng = Rng::new(3, "vary");
        let mut kept = 0;
        for _ in 0..300 {
            let parent = space.sample(&mut rng);
            let child = mutate(&space, &parent, false, &mut rng);
            assert_eq!(space.validate(&child), Ok(()));
            let (before, after) = (space.to_json(&parent), space.to_json(&child));
            let other = lists["abc".find(after["which"].as_str().unwrap()).unwrap()].clone();
            if before["which"] != after["which"] && other.contains(&before["n"].to_string().as_str()) {
                assert_eq!(before["n"], after["n"]);
                kept += 1;
            }
            let crossed = cross(&space, &parent, &child, &mut rng);
            let crossed = space.to_json(&crossed);
            let fits = |n: &serde_json::Value| {
                lists["abc".find(crossed["which"].as_str().unwrap()).unwrap()].contains(&n.to_string().as_str())
            };
            if fits(&before["n"]) && fits(&after["n"]) {
                assert!([&before["n"], &after["n"]].contains(&&crossed["n"]));
            }
        }
        assert!(kept > 30, "{kept}");
    }

    #[test]
    fn a_child_takes_every_common_decision_from_a_parent() {
        let space = resnet();
        let mut rng = Rng::new(2, "vary");
        for _ in 0..200 {
            let parents = [space.sample(&mut rng), space.sample(&mut rng)];
            let child = cross(&space, &parents[0], &parents[1], &mut rng);
            assert_eq!(space.validate(&child), Ok(()));
            for (slot, value) in child.entries() {
                let from = parents.iter().filter_map(|parent| parent.get(*slot)).collect::<Vec<_>>();
                assert!(from.is_empty() || from.contains(&value), "{}", space.path(*slot));
            }
        }
    }
}
