//! A forest of randomised regression trees: means and deviations for expected improvement (as in SMAC, Hutter et al. 2011), and
//! the importance of decisions.
//!
//! Trees are extremely randomised (Geurts et al. 2006): of a few random columns, each cut at a random place, the one that lowers
//! the variance most is taken.

use crate::rng::Rng;

/// Rows a leaf keeps at least on each side of a cut.
const LEAF: usize = 2;

#[derive(Debug)]
pub struct Forest {
    trees: Vec<Vec<Node>>,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    Leaf {
        mean: f64,
        variance: f64,
    },
    /// Rows with less in the column go to the first child, the others to the second.
    Cut {
        column: u32,
        at: f64,
        children: [u32; 2],
    },
}

impl Forest {
    /// `rows` and `scores` are of the same, positive length.
    pub fn fit(rows: &[&[f64]], scores: &[f64], trees: usize, rng: &mut Rng) -> Forest {
        let width = rows.first().map_or(0, |row| row.len());
        // Columns that never vary cannot be cut.
        let varying: Vec<usize> = (0..width).filter(|c| rows.iter().any(|row| row[*c] != rows[0][*c])).collect();
        let grow = |_| {
            let mut members: Vec<usize> = (0..rows.len()).collect();
            let mut nodes = vec![];
            Grow { rows, scores, varying: &varying, nodes: &mut nodes }.grow(&mut members, rng);
            nodes
        };
        Forest { trees: (0..trees).map(grow).collect() }
    }

    /// Mean and standard deviation: of the trees' means, and of the scores inside their leaves.
    pub fn predict(&self, row: &[f64]) -> (f64, f64) {
        let count = self.trees.len() as f64;
        let (mut sum, mut squares, mut within) = (0.0, 0.0, 0.0);
        for tree in &self.trees {
            let (mean, variance) = leaf(tree, row);
            sum += mean;
            squares += mean * mean;
            within += variance;
        }
        let mean = sum / count;
        (mean, libm::sqrt((squares / count - mean * mean + within / count).max(0.0)))
    }
}

fn leaf(tree: &[Node], row: &[f64]) -> (f64, f64) {
    let mut at = 0;
    loop {
        match tree[at] {
            Node::Leaf { mean, variance } => return (mean, variance),
            Node::Cut { column, at: cut, children } => {
                at = children[usize::from(row[column as usize] >= cut)] as usize;
            }
        }
    }
}

struct Grow<'a> {
    rows: &'a [&'a [f64]],
    scores: &'a [f64],
    varying: &'a [usize],
    nodes: &'a mut Vec<Node>,
}

impl Grow<'_> {
    fn grow(&mut self, members: &mut [usize], rng: &mut Rng) -> u32 {
        let id = self.nodes.len();
        let (mean, variance) = moments(members.iter().map(|m| self.scores[*m]));
        self.nodes.push(Node::Leaf { mean, variance });
        if members.len() < 2 * LEAF || variance <= 0.0 {
            return id as u32;
        }
        if let Some((column, at)) = self.cut(members, rng) {
            let middle = partition(members, |m| self.rows[m][column] < at);
            let (low, high) = members.split_at_mut(middle);
            let children = [self.grow(low, rng), self.grow(high, rng)];
            self.nodes[id] = Node::Cut { column: column as u32, at, children };
        }
        id as u32
    }

    /// The best of random cuts.
    fn cut(&self, members: &[usize], rng: &mut Rng) -> Option<(usize, f64)> {
        let tries = (self.varying.len() / 2).clamp(3, 24);
        let mut best: Option<(f64, usize, f64)> = None;
        for _ in 0..tries {
            let column = *rng.pick(self.varying)?;
            let values = members.iter().map(|m| self.rows[*m][column]);
            let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
            if low >= high {
                continue;
            }
            let at = low + (high - low) * rng.unit().max(1e-9);
            let (mut counts, mut sums) = ([0.0; 2], [0.0; 2]);
            for m in members {
                let side = usize::from(self.rows[*m][column] >= at);
                counts[side] += 1.0;
                sums[side] += self.scores[*m];
            }
            if counts.iter().any(|count| *count < LEAF as f64) {
                continue;
            }
            // The variance within is least where the squares between are most.
            let between = sums[0] * sums[0] / counts[0] + sums[1] * sums[1] / counts[1];
            if best.is_none_or(|(most, ..)| between > most) {
                best = Some((between, column, at));
            }
        }
        best.map(|(_, column, at)| (column, at))
    }
}

fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let (count, sum) = values.clone().fold((0.0, 0.0), |(n, s), x| (n + 1.0, s + x));
    let mean = sum / f64::max(count, 1.0);
    (mean, values.map(|x| (x - mean) * (x - mean)).sum::<f64>() / f64::max(count, 1.0))
}

/// Members that hold first, order kept among neither; the number of those that hold.
fn partition(members: &mut [usize], holds: impl Fn(usize) -> bool) -> usize {
    let mut next = 0;
    for i in 0..members.len() {
        if holds(members[i]) {
            members.swap(next, i);
            next += 1;
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forest_learns_a_step_and_doubts_where_it_saw_nothing() {
        let mut rng = Rng::new(1, "forest");
        let rows: Vec<Vec<f64>> = (0..200).map(|_| (0..5).map(|_| rng.unit()).collect()).collect();
        let scores: Vec<f64> = rows.iter().map(|r| if r[2] > 0.4 { 3.0 } else { 1.0 } + 0.5 * r[0]).collect();
        let views: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        let forest = Forest::fit(&views, &scores, 20, &mut rng);
        let (low, _) = forest.predict(&[0.5, 0.5, 0.1, 0.5, 0.5]);
        let (high, _) = forest.predict(&[0.5, 0.5, 0.9, 0.5, 0.5]);
        assert!((low - 1.25).abs() < 0.3 && (high - 3.25).abs() < 0.3, "{low} {high}");
        let (_, sure) = forest.predict(&[0.5, 0.5, 0.9, 0.5, 0.5]);
        let (_, unsure) = forest.predict(&[0.5, 0.5, 0.4, 0.5, 0.5]);
        assert!(unsure > sure, "{unsure} {sure}");
    }
}
