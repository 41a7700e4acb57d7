//! Sets of decisions, interned: on which decisions a value, or that something is done at all, depends.

use rustc_hash::FxHashMap;
use std::rc::Rc;

/// A set of decisions, by number in [`Taints`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Taint(u32);

impl Taint {
    /// Depends on nothing.
    pub const NONE: Taint = Taint(0);
}

/// On which decisions the shape of a tensor depends.
#[derive(Clone, Debug, PartialEq)]
pub struct Axes {
    /// How many axes there are, and which of several tensors it is: part of what each length depends on.
    pub rank: Taint,
    /// Each length.
    pub each: Rc<[Taint]>,
}

/// All sets of one elaboration. Equal sets have equal numbers.
#[derive(Debug)]
pub struct Taints {
    sets: Vec<Rc<[u32]>>,
    known: FxHashMap<Rc<[u32]>, Taint>,
    unions: FxHashMap<(Taint, Taint), Taint>,
}

impl Default for Taints {
    fn default() -> Taints {
        let mut taints = Taints { sets: Vec::new(), known: FxHashMap::default(), unions: FxHashMap::default() };
        taints.set(Rc::from([]));
        taints
    }
}

impl Taints {
    fn set(&mut self, members: Rc<[u32]>) -> Taint {
        let next = Taint(self.sets.len() as u32);
        *self.known.entry(members.clone()).or_insert_with(|| {
            self.sets.push(members);
            next
        })
    }

    /// The set of one decision.
    pub fn one(&mut self, decision: u32) -> Taint {
        self.set(Rc::from([decision]))
    }

    /// The members, ascending.
    pub fn members(&self, taint: Taint) -> &[u32] {
        &self.sets[taint.0 as usize]
    }

    /// All that a shape depends on.
    pub fn of_shape(&mut self, axes: &Axes) -> Taint {
        axes.each.iter().fold(axes.rank, |all, t| self.union(all, *t))
    }

    /// What is in either.
    pub fn union(&mut self, a: Taint, b: Taint) -> Taint {
        if a == b || b == Taint::NONE {
            return a;
        }
        if a == Taint::NONE {
            return b;
        }
        let key = (a.min(b), a.max(b));
        if let Some(known) = self.unions.get(&key) {
            return *known;
        }
        let mut members: Vec<u32> = self.members(a).iter().chain(self.members(b)).copied().collect();
        members.sort_unstable();
        members.dedup();
        let union = self.set(members.into());
        self.unions.insert(key, union);
        union
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_one() {
        let mut t = Taints::default();
        let (a, b, c) = (t.one(1), t.one(2), t.one(3));
        let (ab, bc) = (t.union(a, b), t.union(c, b));
        let (left, right) = (t.union(ab, c), t.union(a, bc));
        assert_eq!(left, right);
        assert_eq!(t.members(left), [1, 2, 3]);
        assert_eq!(t.union(left, Taint::NONE), left);
        assert!(t.members(Taint::NONE).is_empty());
    }
}
