//! Clusters of rows: k-means, in f64.

use super::{Array, Entry, Fault, finite};
use crate::rng;

/// Rounds of Lloyd's iteration, which ends before unless it goes round in circles of rounding.
const ROUNDS: usize = 300;

/// The cluster of each row, and the centres.
pub(super) fn kmeans<T: Entry>(x: &Array<'_, T>, k: u64, key: u64) -> Result<Vec<Vec<T>>, Fault> {
    finite(x)?;
    let (n, d) = x.matrix();
    let entries: Vec<f64> = x.entries.iter().map(|x| x.to_f64()).collect();
    let rows = Rows { entries: &entries, n, d };
    let (clusters, centres) = in_order_of_first_rows(rows.cluster(k as usize, key), d);
    Ok(vec![clusters.into_iter().map(|c| T::from_f64(c as f64)).collect(), centres.into_iter().map(T::from_f64).collect()])
}

struct Rows<'a> {
    entries: &'a [f64],
    n: usize,
    d: usize,
}

impl Rows<'_> {
    fn row(&self, i: usize) -> &[f64] {
        &self.entries[i * self.d..][..self.d]
    }

    fn cluster(&self, k: usize, key: u64) -> (Vec<usize>, Vec<f64>) {
        let mut centres: Vec<f64> = self.starts(k, key).into_iter().flat_map(|i| self.row(i).iter().copied()).collect();
        let mut clusters = vec![usize::MAX; self.n];
        for _ in 0..ROUNDS {
            let distances = self.assign(&centres, &mut clusters);
            let refilled = fill_empty(&mut clusters, distances.1, k);
            centres = self.means(&clusters, k);
            if !distances.0 && !refilled {
                break;
            }
        }
        (clusters, centres)
    }

    /// Rows to start from (Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful seeding"): each is drawn
    /// in proportion to its squared distance from those before.
    fn starts(&self, k: usize, key: u64) -> Vec<usize> {
        let mut starts = vec![(rng::uniform_f64(key, 0) * self.n as f64) as usize];
        let mut nearest = vec![f64::INFINITY; self.n];
        while starts.len() < k {
            let last = self.row(*starts.last().expect("one at least"));
            for (i, nearest) in nearest.iter_mut().enumerate() {
                *nearest = nearest.min(squared_distance(self.row(i), last));
            }
            let wanted = rng::uniform_f64(key, starts.len() as u64) * nearest.iter().sum::<f64>();
            let mut sum = 0.0;
            let drawn = nearest.iter().position(|x| {
                sum += x;
                sum > wanted
            });
            // Where rounding or coincidence leaves none, the first that is not taken.
            let fallback = || (0..self.n).find(|i| !starts.contains(i)).expect("no more clusters than rows");
            let next = drawn.unwrap_or_else(fallback);
            starts.push(next);
        }
        starts
    }

    /// Moves every row to the nearest centre; one that is no nearer than its own leaves it there. Whether any moved, and
    /// the squared distances.
    fn assign(&self, centres: &[f64], clusters: &mut [usize]) -> (bool, Vec<f64>) {
        let mut moved = false;
        let distances = clusters.iter_mut().enumerate().map(|(i, cluster)| {
            let row = self.row(i);
            let to = |c: usize| squared_distance(row, &centres[c * self.d..][..self.d]);
            let k = centres.len().checked_div(self.d).unwrap_or(1);
            let (mut best, mut least) = match *cluster {
                usize::MAX => (0, to(0)),
                own => (own, to(own)),
            };
            for c in 0..k {
                let distance = to(c);
                if distance < least {
                    (best, least) = (c, distance);
                }
            }
            moved |= std::mem::replace(cluster, best) != best;
            least
        });
        let distances = distances.collect();
        (moved, distances)
    }

    fn means(&self, clusters: &[usize], k: usize) -> Vec<f64> {
        let mut sums = vec![0.0; k * self.d];
        let mut counts = vec![0.0; k];
        for (i, &c) in clusters.iter().enumerate() {
            counts[c] += 1.0;
            sums[c * self.d..][..self.d].iter_mut().zip(self.row(i)).for_each(|(sum, x)| *sum += x);
        }
        for (c, count) in counts.into_iter().enumerate() {
            sums[c * self.d..][..self.d].iter_mut().for_each(|sum| *sum /= count);
        }
        sums
    }
}

/// Gives every empty cluster the row that is farthest from its centre, out of clusters that have others.
fn fill_empty(clusters: &mut [usize], mut distances: Vec<f64>, k: usize) -> bool {
    let mut counts = vec![0; k];
    clusters.iter().for_each(|c| counts[*c] += 1);
    let mut any = false;
    for empty in 0..k {
        if counts[empty] > 0 {
            continue;
        }
        let mut farthest: Option<usize> = None;
        for i in 0..clusters.len() {
            if counts[clusters[i]] > 1 && farthest.is_none_or(|f| distances[i] > distances[f]) {
                farthest = Some(i);
            }
        }
        let row = farthest.expect("no more clusters than rows");
        counts[clusters[row]] -= 1;
        counts[empty] = 1;
        clusters[row] = empty;
        distances[row] = 0.0;
        any = true;
    }
    any
}

/// The same clusters, numbered in the order of their first rows.
fn in_order_of_first_rows((clusters, centres): (Vec<usize>, Vec<f64>), d: usize) -> (Vec<usize>, Vec<f64>) {
    let mut order: Vec<usize> = Vec::new();
    for c in &clusters {
        if !order.contains(c) {
            order.push(*c);
        }
    }
    let mut number = vec![0; order.len()];
    order.iter().enumerate().for_each(|(new, old)| number[*old] = new);
    let centres = order.iter().flat_map(|c| centres[c * d..][..d].iter().copied()).collect();
    (clusters.into_iter().map(|c| number[c]).collect(), centres)
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}
