//! Which candidates must be looked at: the values of those decisions that others depend on, branch by branch.
//!
//! A task is a branch: some decisions answered, and the decisions that the answers bring about. It elaborates one candidate with
//! these answers, sorts the decisions of its branch into groups that depend on each other, and makes a task of each value of a
//! group's first decision. Tasks of different groups share an elaboration.
//!
//! What a branch brings about may depend on decisions outside of it, of which nothing was known when those were sorted: then the two are
//! linked, and all is sorted once more. Elaborations are kept, so that costs little.

use super::passes::{Answered, Pass, Passes};
use merge_base::Span;
use merge_sema::space::{Answer, Decision, Domain};
use std::collections::{BTreeMap, BTreeSet};

/// What one branch has.
pub(super) enum Item {
    /// Nothing depends on it.
    Free(Decision),
    /// One branch for each value, by task.
    Branch(Decision, Vec<usize>),
}

#[derive(Default)]
struct Task {
    answered: Answered,
    /// The decisions that the branch is about; none for all.
    about: Option<BTreeSet<String>>,
    items: Vec<Item>,
    /// Whether a condition excludes the branch.
    excluded: bool,
}

/// All branches.
#[derive(Default)]
pub(super) struct Found {
    tasks: Vec<Task>,
    pub late: Vec<String>,
    pub notes: Vec<String>,
    /// Decisions that meet in a branch of one of them: they are of one group wherever they are sorted.
    links: BTreeSet<BTreeSet<String>>,
}

impl Found {
    /// The decisions of all branches.
    pub fn decisions(&self) -> impl Iterator<Item = &Decision> {
        self.tasks.iter().filter(|t| !t.excluded).flat_map(|t| &t.items).map(|item| match item {
            Item::Free(d) | Item::Branch(d, _) => d,
        })
    }

    pub fn items(&self, task: usize) -> Option<&[Item]> {
        let task = &self.tasks[task];
        (!task.excluded).then_some(&task.items)
    }
}

/// The most tasks that share one elaboration.
const SHARED: usize = 512;

/// Follows every branch. Conditions at the spans in `ignored` exclude nothing.
pub(super) fn find(passes: &mut Passes, ignored: &[Span]) -> Found {
    let mut links = BTreeSet::new();
    loop {
        let known = links.len();
        let found = find_with(passes, ignored, links);
        if found.links.len() == known || passes.count() > super::MOST_PASSES {
            return found;
        }
        links = found.links;
    }
}

fn find_with(passes: &mut Passes, ignored: &[Span], links: BTreeSet<BTreeSet<String>>) -> Found {
    let mut found = Found { tasks: vec![Task::default()], links, ..Found::default() };
    let mut open = vec![0];
    while !open.is_empty() {
        if passes.count() > super::MOST_PASSES {
            found.notes.push("the decisions depend on each other in too many ways to follow them all".into());
            break;
        }
        // The first, with all others that fit beside it.
        let mut answered = found.tasks[open[0]].answered.clone();
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for task in open {
            let own = &found.tasks[task].answered;
            let fits = now.len() < SHARED && own.iter().all(|(id, a)| answered.get(id).is_none_or(|known| known == a));
            if fits {
                answered.extend(own.iter().map(|(id, a)| (id.clone(), a.clone())));
                now.push(task);
            } else {
                later.push(task);
            }
        }
        let pass = passes.get(&answered);
        // What is wrong with one task hides decisions of the others.
        let alone = now.len() > 1 && pass.has_errors();
        for task in now {
            let pass = if alone { passes.get(&found.tasks[task].answered) } else { pass.clone() };
            later.extend(found.sort(task, &pass, ignored));
        }
        open = later;
    }
    found
}

/// Sets that are joined.
struct Groups(Vec<usize>);

impl Groups {
    fn of(&self, mut i: usize) -> usize {
        while self.0[i] != i {
            i = self.0[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.of(a), self.of(b));
        // The first of a group stands for it.
        self.0[a.max(b)] = a.min(b);
    }
}

impl Found {
    /// Sorts the decisions of a branch; the branches that it has in turn.
    fn sort(&mut self, task: usize, pass: &Pass, ignored: &[Span]) -> Vec<usize> {
        let (answered, about) = (self.tasks[task].answered.clone(), self.tasks[task].about.clone());
        let id = |d: u32| &pass.decisions[d as usize].id;
        let is_answered = |d: u32| answered.contains_key(id(d));
        // What the branch is about, and what that brings about.
        let mut ours: BTreeSet<u32> = BTreeSet::new();
        for (i, depends) in pass.exploration.depends.iter().enumerate() {
            let i = i as u32;
            let own = match &about {
                None => true,
                Some(about) => {
                    about.contains(id(i))
                        || depends.iter().any(|d| ours.contains(d) || answered.contains_key(id(*d)) && about.contains(id(*d)))
                }
            };
            if own {
                ours.insert(i);
            }
        }
        let is_pinned = |d: u32| pass.decisions[d as usize].pinned;
        let members: Vec<u32> = ours.iter().copied().filter(|d| !is_answered(*d) && !is_pinned(*d)).collect();
        let place: BTreeMap<u32, usize> = members.iter().enumerate().map(|(i, d)| (*d, i)).collect();
        let mut groups = Groups((0..members.len()).collect());
        // Decisions that something waits for.
        let mut awaited: BTreeSet<u32> = BTreeSet::new();
        let mut waiting: BTreeSet<u32> = BTreeSet::new();
        for link in &self.links {
            let open: Vec<u32> = members.iter().copied().filter(|m| link.contains(id(*m))).collect();
            for other in open.iter().filter(|_| open.len() > 1) {
                groups.join(place[&open[0]], place[other]);
                awaited.insert(*other);
            }
        }
        // What a branch meets that is sorted elsewhere, as far as all can be tried.
        let outside = |depends: &[u32]| -> Option<BTreeSet<String>> {
            let open: Vec<u32> = depends.iter().copied().filter(|d| !is_pinned(*d)).collect();
            let known = |d: &u32| is_answered(*d) || place.contains_key(d);
            (about.is_some() && !open.iter().all(known) && pass.combinations(&open).is_some())
                .then(|| open.iter().map(|d| id(*d).clone()).collect())
        };
        let met: Vec<BTreeSet<String>> = {
            let of_members = members.iter().map(|m| &pass.exploration.depends[*m as usize]);
            let conditions = pass.exploration.conditions.iter().filter(|c| !ignored.contains(&c.span)).map(|c| &c.depends);
            let mine = |depends: &&Vec<u32>| depends.iter().any(|d| ours.contains(d));
            of_members.chain(pass.exploration.controls.iter().chain(conditions).filter(mine)).filter_map(|d| outside(d)).collect()
        };
        self.links.extend(met);
        for &member in &members {
            let open: Vec<u32> =
                pass.exploration.depends[member as usize].iter().copied().filter(|d| place.contains_key(d)).collect();
            if open.is_empty() {
                continue;
            }
            if pass.combinations(&open).is_none() {
                self.note_late(id(member), open.len());
                continue;
            }
            waiting.insert(member);
            for other in open {
                groups.join(place[&member], place[&other]);
                awaited.insert(other);
            }
        }
        for control in &pass.exploration.controls {
            let open: Vec<u32> = control.iter().copied().filter(|d| place.contains_key(d)).collect();
            let Some(first) = open.first() else { continue };
            if pass.combinations(&open).is_none() {
                self.note(format!(
                    "whether some decisions are there depends on {} others in more than {} ways: each candidate finds out before \
                     it is built, and the size counts those that were seen as if they were always there",
                    open.len(),
                    super::most_combinations()
                ));
                continue;
            }
            for other in &open {
                groups.join(place[first], place[other]);
                awaited.insert(*other);
            }
        }
        let mut excluded = false;
        for condition in pass.exploration.conditions.iter().filter(|c| !ignored.contains(&c.span)) {
            let mine = about.is_none() || condition.depends.iter().any(|d| ours.contains(d));
            let open: Vec<u32> = condition.depends.iter().copied().filter(|d| place.contains_key(d)).collect();
            if !mine {
                continue;
            }
            match open.as_slice() {
                [] => excluded |= !condition.holds && condition.depends.iter().all(|d| is_answered(*d)),
                [first, ..] => {
                    if pass.combinations(&open).is_none() {
                        self.note(format!(
                            "`requires {}` is tried for each candidate: {} decisions have a say in it",
                            condition.text,
                            open.len()
                        ));
                        continue;
                    }
                    for other in &open {
                        groups.join(place[first], place[other]);
                        awaited.insert(*other);
                    }
                }
            }
        }
        if excluded {
            self.tasks[task].excluded = true;
            return Vec::new();
        }
        let (mut items, mut branches) = (Vec::new(), Vec::new());
        for (i, &member) in members.iter().enumerate() {
            if groups.of(i) != i {
                continue;
            }
            let group: Vec<u32> = members.iter().enumerate().filter(|(k, _)| groups.of(*k) == i).map(|(_, d)| *d).collect();
            // The first that waits for nothing and that something waits for.
            let first = group.iter().copied().find(|d| awaited.contains(d) && !waiting.contains(d));
            let decision = |d: u32| pass.decisions[d as usize].clone();
            let values = |d: u32| pass.values_of(d);
            match first {
                Some(first) => {
                    let about: BTreeSet<String> = group.iter().map(|d| id(*d).clone()).collect();
                    let tasks = values(first)
                        .into_iter()
                        .map(|value| self.branch(&answered, id(first), value, &about))
                        .collect::<Vec<_>>();
                    branches.extend(&tasks);
                    items.push(Item::Branch(decision(first), tasks));
                }
                None => items.push(Item::Free(decision(member))),
            }
        }
        self.tasks[task].items = items;
        branches
    }

    fn branch(&mut self, answered: &Answered, id: &str, value: Answer, about: &BTreeSet<String>) -> usize {
        let mut answered = answered.clone();
        answered.insert(id.to_owned(), value);
        self.tasks.push(Task { answered, about: Some(about.clone()), ..Task::default() });
        self.tasks.len() - 1
    }

    fn note_late(&mut self, id: &str, others: usize) {
        if !self.late.iter().any(|l| l == id) {
            self.late.push(id.to_owned());
            if self.late.len() == 1 {
                self.note(format!(
                    "whether there is a decision `{id}` depends on {others} others in more than {} ways: each candidate finds out \
                     before it is built, and the size counts it as if it were always there",
                    super::most_combinations()
                ));
            }
        }
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// The label of a value, where the domain has to be cut down to some of its values.
pub(super) fn label(domain: &Domain, answer: &Answer) -> String {
    domain.text(answer)
}
