//! NSGA-II (Deb et al. 2002): several goals, ranked by fronts and crowding.

use crate::rng::Rng;
use crate::searcher::{Known, Proposal, Searcher, Trial};
use crate::space::Assignment;
use crate::vary::{cross, mutate};

#[derive(Debug)]
pub struct Nsga2 {
    rng: Rng,
    population: usize,
    born: usize,
    /// Parents and the children told since they were selected.
    alive: Vec<Member>,
}

#[derive(Clone, Debug)]
struct Member {
    assignment: Assignment,
    scores: Vec<f64>,
    front: usize,
    crowding: f64,
}

impl Nsga2 {
    pub fn new(population: usize, seed: u64) -> Nsga2 {
        Nsga2 { rng: Rng::new(seed, "nsga2"), population: population.max(4), born: 0, alive: vec![] }
    }
}

/// Is `a` at least as good in every goal and better in one?
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a >= b) && a != b
}

/// The front each belongs to: 0 where nothing dominates it, then counting outwards.
pub fn fronts(scores: &[Vec<f64>]) -> Vec<usize> {
    let mut dominated_by = vec![0usize; scores.len()];
    let mut dominated: Vec<Vec<usize>> = vec![vec![]; scores.len()];
    for a in 0..scores.len() {
        for b in 0..scores.len() {
            if dominates(&scores[a], &scores[b]) {
                dominated[a].push(b);
                dominated_by[b] += 1;
            }
        }
    }
    let mut front = vec![0; scores.len()];
    let mut current: Vec<usize> = (0..scores.len()).filter(|i| dominated_by[*i] == 0).collect();
    let mut number = 0;
    while !current.is_empty() {
        let mut next = vec![];
        for &a in &current {
            front[a] = number;
            for &b in &dominated[a] {
                dominated_by[b] -= 1;
                if dominated_by[b] == 0 {
                    next.push(b);
                }
            }
        }
        next.sort_unstable();
        current = next;
        number += 1;
    }
    front
}

/// How lonely each is within its front: the sum over goals of the distance between its two neighbours.
fn crowding(scores: &[Vec<f64>], front: &[usize]) -> Vec<f64> {
    let mut distance = vec![0.0; scores.len()];
    let goals = scores.first().map_or(0, Vec::len);
    let columns: Vec<Vec<f64>> = (0..goals).map(|goal| scores.iter().map(|s| s[goal]).collect()).collect();
    for number in 0..=front.iter().copied().max().unwrap_or(0) {
        let mut members: Vec<usize> = (0..scores.len()).filter(|i| front[*i] == number).collect();
        for column in &columns {
            let of = |i: usize| column[i];
            members.sort_by(|a, b| of(*a).total_cmp(&of(*b)));
            let (Some(&low), Some(&high)) = (members.first(), members.last()) else { continue };
            let range = of(high) - of(low);
            distance[low] = f64::INFINITY;
            distance[high] = f64::INFINITY;
            if range > 0.0 {
                for three in members.windows(3) {
                    distance[three[1]] += (of(three[2]) - of(three[0])) / range;
                }
            }
        }
    }
    distance
}

impl Nsga2 {
    fn rank(&mut self) {
        let scores: Vec<Vec<f64>> = self.alive.iter().map(|member| member.scores.clone()).collect();
        let front = fronts(&scores);
        let crowding = crowding(&scores, &front);
        for ((member, front), crowding) in self.alive.iter_mut().zip(front).zip(crowding) {
            (member.front, member.crowding) = (front, crowding);
        }
    }
}

fn parent<'a>(alive: &'a [Member], rng: &mut Rng) -> &'a Assignment {
    let (a, b) = (&alive[rng.below(alive.len())], &alive[rng.below(alive.len())]);
    let better = a.front < b.front || a.front == b.front && a.crowding >= b.crowding;
    &(if better { a } else { b }).assignment
}

impl Searcher for Nsga2 {
    fn propose(&mut self, known: &Known) -> Proposal {
        let first = self.born < self.population || self.alive.is_empty();
        self.born += 1;
        let alive = &self.alive;
        known.fresh(&mut self.rng, |rng| {
            if first {
                return known.space.sample(rng);
            }
            let child = cross(known.space, parent(alive, rng), parent(alive, rng), rng);
            let near = rng.chance(0.5);
            mutate(known.space, &child, near, rng)
        })
    }

    fn tell(&mut self, _: &Known, trial: &Trial) {
        let Some(scores) = trial.scores.clone() else { return };
        self.alive.push(Member { assignment: trial.assignment.clone(), scores, front: 0, crowding: 0.0 });
        self.rank();
        // A generation is over when there are as many children as parents; till then all of them breed.
        if self.alive.len() >= 2 * self.population {
            self.alive.sort_by(|a, b| a.front.cmp(&b.front).then(b.crowding.total_cmp(&a.crowding)));
            self.alive.truncate(self.population);
            self.rank();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fronts_are_peeled_one_after_the_other() {
        let scores: Vec<Vec<f64>> =
            [[1.0, 5.0], [5.0, 1.0], [3.0, 3.0], [2.0, 2.0], [1.0, 1.0], [3.0, 3.0]].iter().map(|s| s.to_vec()).collect();
        assert_eq!(fronts(&scores), [0, 0, 0, 1, 2, 0]);
        let lonely = crowding(&scores, &fronts(&scores));
        assert!(lonely[0].is_infinite() && lonely[1].is_infinite() && lonely[2].is_finite());
    }
}
