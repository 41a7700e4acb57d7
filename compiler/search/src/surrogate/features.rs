//! Candidates as vectors of numbers: columns belong to paths.

use crate::space::{Assignment, Domain, Slot, Space, Value};

/// The value of the columns of a decision that is not met. Met ones are in `[0, 1]`.
pub const ABSENT: f64 = -1.0;

/// Which columns belong to which decision.
#[derive(Clone, Debug)]
pub struct Features {
    /// By slot: the first column and the kind.
    columns: Vec<(usize, Kind)>,
    width: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// One column: the position along an ordered domain.
    Line,
    /// A column for each member (of all lists of the decision), place or part.
    Each,
}

impl Features {
    pub fn new(space: &Space) -> Features {
        let (mut columns, mut width) = (vec![], 0);
        for (slot, (_, domains)) in space.decisions().into_iter().enumerate() {
            let common = space.common_count(Slot(slot as u32));
            let line = common.map_or_else(|| domains.iter().all(|domain| domain.is_ordered()), |(_, ordered)| ordered);
            let needs = domains.iter().map(|domain| match domain {
                _ if line => 1,
                Domain::Members { labels, .. } => labels.len(),
                Domain::Order { n } | Domain::Subset { n, .. } | Domain::Simplex { n } => *n as usize,
                Domain::Int { .. } | Domain::Real { .. } => 1,
            });
            let needs = common.filter(|_| !line).map(|(count, _)| count).max(needs.max()).unwrap_or(0);
            columns.push((width, if line { Kind::Line } else { Kind::Each }));
            width += needs;
        }
        Features { columns, width }
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// The columns of a slot.
    pub fn of(&self, slot: Slot) -> std::ops::Range<usize> {
        let i = slot.0 as usize;
        self.columns[i].0..self.columns.get(i + 1).map_or(self.width, |next| next.0)
    }

    /// Is the slot's column a position, where squares make sense?
    pub fn is_line(&self, slot: Slot) -> bool {
        self.columns[slot.0 as usize].1 == Kind::Line
    }

    pub fn vector(&self, space: &Space, assignment: &Assignment) -> Vec<f64> {
        let mut vector = vec![ABSENT; self.width];
        let given = crate::vary::BySlot::new(space, assignment);
        space.walk_all(&mut |decision| {
            let value = given.get(decision).unwrap_or_else(|| decision.domain.middle());
            let range = self.of(decision.slot);
            let columns = &mut vector[range];
            if self.is_line(decision.slot) {
                columns[0] = match (space.common_count(decision.slot), space.common(decision.slot, decision.domain, &value)) {
                    (Some((count, _)), Value::Member(i)) => (i as f64 + 0.5) / count as f64,
                    _ => decision.domain.position(&value).unwrap_or(0.5),
                };
                return value;
            }
            columns.fill(0.0);
            match &space.common(decision.slot, decision.domain, &value) {
                Value::Member(i) => columns[*i as usize] = 1.0,
                Value::Order(order) => {
                    for (place, item) in order.iter().enumerate() {
                        columns[*item as usize] = (place as f64 + 0.5) / order.len() as f64;
                    }
                }
                Value::Subset(set) => set.iter().for_each(|item| columns[*item as usize] = 1.0),
                Value::Simplex(parts) => columns[..parts.len()].copy_from_slice(parts),
                Value::Int(_) | Value::Real(_) => columns[0] = decision.domain.position(&value).unwrap_or(0.5),
            }
            value
        });
        vector
    }
}
