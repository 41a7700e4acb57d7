//! The assignment problem: one column for each row with the least sum of costs.
//!
//! Shortest augmenting paths with potentials (Jonker and Volgenant 1987, "A shortest augmenting path algorithm for
//! dense and sparse linear assignment problems") after a reduction that matches most rows at once. At most
//! `n^3` steps of plain f64 arithmetic, so that every machine finds the same of several optima.

use super::{Array, Entry, Fault, finite};

const FREE: usize = usize::MAX;

/// The column of each row.
pub(super) fn assignment<T: Entry>(costs: &Array<'_, T>, maximize: bool) -> Result<Vec<T>, Fault> {
    finite(costs)?;
    let n = costs.matrix().0;
    let sign = if maximize { -1.0 } else { 1.0 };
    let costs: Vec<f64> = costs.entries.iter().map(|c| sign * c.to_f64()).collect();
    Ok(least(&costs, n).into_iter().map(|column| T::from_f64(column as f64)).collect())
}

/// The columns of an assignment of least cost.
fn least(costs: &[f64], n: usize) -> Vec<usize> {
    let row = |i: usize| &costs[i * n..(i + 1) * n];
    let mut matching = Matching { column_of: vec![FREE; n], row_of: vec![FREE; n], potential: vec![0.0; n] };
    matching.reduce(costs, n);
    // Of each column: the shortest way to it, the column before it on that way, and whether it is settled.
    let mut distance = vec![0.0; n];
    let mut before = vec![FREE; n];
    let mut settled = vec![false; n];
    for start in 0..n {
        if matching.column_of[start] != FREE {
            continue;
        }
        distance.fill(f64::INFINITY);
        before.fill(FREE);
        settled.fill(false);
        let (mut at, mut from, mut reached) = (start, FREE, 0.0);
        let end = loop {
            // The reduced cost of the edge by which a matched row was reached is 0, so its column gives its potential.
            let base = if from == FREE { 0.0 } else { row(at)[from] - matching.potential[from] };
            let (mut best, mut least) = (FREE, f64::INFINITY);
            for (j, cost) in row(at).iter().enumerate() {
                if settled[j] {
                    continue;
                }
                let through = reached + (cost - matching.potential[j] - base);
                if through < distance[j] {
                    distance[j] = through;
                    before[j] = from;
                }
                if distance[j] < least {
                    (best, least) = (j, distance[j]);
                }
            }
            settled[best] = true;
            reached = least;
            if matching.row_of[best] == FREE {
                break best;
            }
            (at, from) = (matching.row_of[best], best);
        };
        for j in 0..n {
            if settled[j] {
                matching.potential[j] += distance[j] - reached;
            }
        }
        matching.augment(start, end, &before);
    }
    matching.column_of
}

struct Matching {
    column_of: Vec<usize>,
    row_of: Vec<usize>,
    /// Of columns; those of rows follow.
    potential: Vec<f64>,
}

impl Matching {
    /// Column potentials, and rows matched to columns where that costs nothing.
    fn reduce(&mut self, costs: &[f64], n: usize) {
        // The least cost of each column, and the first row that has it.
        let mut least = vec![FREE; n];
        for i in 0..n {
            for j in 0..n {
                if least[j] == FREE || costs[i * n + j] < costs[least[j] * n + j] {
                    least[j] = i;
                }
            }
        }
        for j in 0..n {
            self.potential[j] = costs[least[j] * n + j];
        }
        for i in 0..n {
            let free = (0..n).filter(|j| self.row_of[*j] == FREE && least[*j] == i);
            if let Some(j) = free.min() {
                (self.column_of[i], self.row_of[j]) = (j, i);
            }
        }
    }

    /// Exchanges matched and free edges along the way from a row to a free column.
    fn augment(&mut self, start: usize, end: usize, before: &[usize]) {
        let mut column = end;
        loop {
            let row = match before[column] {
                FREE => start,
                previous => self.row_of[previous],
            };
            self.row_of[column] = row;
            self.column_of[row] = column;
            match before[column] {
                FREE => return,
                previous => column = previous,
            }
        }
    }
}
