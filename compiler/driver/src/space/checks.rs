//! Candidates for the checks: every combination of the decisions that something is computed from together.
//!
//! What is computed at a place depends on some decisions; whether the place is reached, on others. So a combination is tried
//! beside answers that lead to the place, and independent places share candidates: as many candidates are elaborated as the
//! largest of the sets has combinations, or a little more.
//!
//! Invariant: of a set of at most [`super::most_combinations`] combinations, each was seen at its place in a candidate that no
//! condition excludes, or there is none such: what a set depends on and what its place depends on are complete.

use super::claims::Claims;
use super::complete::Completion;
use super::passes::{Answered, Pass, Passes};
use merge_base::Diagnostic;
use merge_search::Space;
use merge_sema::space::{Answer, Mention};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

/// The most faults whose candidates are looked into.
const MOST_FAULTS: usize = 8;

/// The most decisions that a fault names because another value of theirs cures it.
const MOST_NAMED: usize = 8;

/// The most values that are tried in the place of others, of one fault.
const MOST_CURES: u128 = 256;

/// The most ways that are remembered to one place.
const MOST_WAYS: usize = 8;

/// The most combinations of one set that are looked through for one that goes with what a candidate has already.
const MOST_TRIES: u64 = 64;

/// Decisions that are tried in every combination, at one place.
struct Set {
    ids: Vec<Rc<str>>,
    values: Vec<Vec<Answer>>,
    /// Combinations still to be tried, by number.
    open: BTreeSet<u64>,
    /// Answers that lead to the place, as candidates had them.
    ways: Vec<Answered>,
}

impl Set {
    fn combination(&self, mut number: u64) -> impl Iterator<Item = (&str, &Answer)> {
        self.ids.iter().zip(&self.values).map(move |(id, values)| {
            let value = &values[(number % values.len() as u64) as usize];
            number /= values.len() as u64;
            (&**id, value)
        })
    }

    /// The combinations that a candidate has. Of a decision that it lacks it has every value.
    fn numbers(&self, answers: &HashMap<&str, Answer>) -> Option<Vec<u64>> {
        let (mut numbers, mut base) = (vec![0], 1);
        for (id, values) in self.ids.iter().zip(&self.values) {
            let places = match answers.get(&**id) {
                Some(answer) => {
                    let place = values.iter().position(|v| v == answer)? as u64;
                    place..place + 1
                }
                None => 0..values.len() as u64,
            };
            numbers = places.flat_map(|place| numbers.iter().map(move |n| n + base * place)).collect();
            base *= values.len() as u64;
        }
        Some(numbers)
    }

    /// One of the combinations that goes with what is answered already, if one is easily found.
    fn fitting(&self, numbers: &BTreeSet<u64>, answered: &Answered) -> Option<u64> {
        if !self.ids.iter().any(|id| answered.contains_key(&**id)) {
            return numbers.first().copied();
        }
        // The place of each value that is still possible, as a part of the number.
        let (mut parts, mut base) = (Vec::with_capacity(self.ids.len()), 1);
        for (id, values) in self.ids.iter().zip(&self.values) {
            let places = match answered.get(&**id) {
                None => 0..values.len() as u64,
                Some(a) => {
                    let place = values.iter().position(|v| v == a)? as u64;
                    place..place + 1
                }
            };
            parts.push((base, places));
            base *= values.len() as u64;
        }
        let count: u64 = parts.iter().map(|(_, p)| p.end - p.start).product();
        let mut possible = (0..count.min(MOST_TRIES)).map(|mut i| {
            let part = |(base, places): &(u64, std::ops::Range<u64>)| {
                let length = places.end - places.start;
                let own = base * (places.start + i % length);
                i /= length;
                own
            };
            parts.iter().map(part).sum::<u64>()
        });
        possible.find(|n| numbers.contains(n))
    }

    /// A combination with what leads to the place, where that goes with what is answered already.
    fn next(&self, answered: &Answered) -> Option<(u64, Answered)> {
        self.ways.iter().find_map(|way| {
            let own = |id: &str| self.ids.iter().any(|own| **own == *id);
            let mut more: Answered = way.iter().filter(|(id, _)| !own(id)).map(|(id, a)| (id.clone(), a.clone())).collect();
            if !more.iter().all(|(id, a)| answered.get(id).is_none_or(|known| known == a)) {
                return None;
            }
            let number = self.fitting(&self.open, answered)?;
            more.extend(self.combination(number).map(|(id, a)| (id.to_owned(), a.clone())));
            Some((number, more))
        })
    }
}

/// Every candidate is there.
const NOWHERE: Mention = Mention { decisions: Vec::new(), reached_by: Vec::new(), place: 0, covered: false, guarded: false };

/// A place, and which decisions meet there, with which domains.
type Key = (u64, Vec<(Rc<str>, u64)>);

/// All sets that were found so far.
#[derive(Default)]
struct Cover {
    sets: Vec<Set>,
    /// The sets at each place.
    at: HashMap<u64, Vec<usize>>,
    known: HashMap<Key, usize>,
    names: HashMap<String, Rc<str>>,
    /// What is left to the candidates, as sentences.
    large: Vec<String>,
    /// Whether sets were left to claims.
    claimed: bool,
}

/// Elaborates candidates until every combination of decisions that meet in a computation was tried. What was left to the
/// candidates themselves comes back, as sentences.
pub(super) fn cover(passes: &mut Passes, space: &Space) -> Vec<String> {
    let mut cover = Cover::default();
    let mut completion = Completion::new(space);
    let mut claims = Claims::default();
    let mut seen = 0;
    loop {
        for pass in passes.all().into_iter().skip(seen) {
            seen += 1;
            let tried = pass.tried();
            let mentions = pass.exploration.mentions.iter().zip(tried).filter(|(_, tried)| *tried).map(|(m, _)| m.clone());
            cover.look(&pass, &mentions.collect::<Vec<_>>());
            completion.look(&pass);
        }
        if cover.sets.iter().all(|s| s.open.is_empty()) {
            if cover.claimed && claims.decide(passes, &completion) > 0 {
                cover.note_large("some checks mention more combinations of decisions than can be decided beforehand".into());
            }
            if seen == passes.count() {
                break;
            }
            continue;
        }
        if seen >= super::MOST_PASSES {
            cover.large.push("the checks mention more combinations of decisions than can be tried beforehand".into());
            break;
        }
        passes.get(&cover.candidate(&completion));
    }
    if !cover.large.is_empty() && *space.count() <= super::most_combinations().into() {
        // Decisions that exclude each other make fewer candidates than combinations.
        let all = (0..=u64::MAX).map_while(|rank| space.unrank(&rank.into()));
        all.for_each(|candidate| drop(passes.get(&completion.answers(&candidate))));
        return Vec::new();
    }
    cover.large
}

/// Elaborates candidates until every combination of the decisions was tried that `wanted` finds in one of them. False where that takes more
/// than `most`.
pub(super) fn cover_of(passes: &mut Passes, space: &Space, most: usize, wanted: &mut dyn FnMut(&Pass) -> Vec<Mention>) -> bool {
    let mut cover = Cover::default();
    cover.fill(passes, &mut Completion::new(space), most, wanted) && cover.large.is_empty()
}

impl Cover {
    /// Elaborates candidates until no combination is open. False where that takes more than `most`.
    fn fill(
        &mut self,
        passes: &mut Passes,
        completion: &mut Completion,
        most: usize,
        wanted: &mut dyn FnMut(&Pass) -> Vec<Mention>,
    ) -> bool {
        let mut seen = 0;
        loop {
            for pass in passes.all().into_iter().skip(seen) {
                seen += 1;
                self.look(&pass, &wanted(&pass));
                completion.look(&pass);
            }
            if self.sets.iter().all(|s| s.open.is_empty()) {
                return true;
            }
            if seen >= most {
                return false;
            }
            passes.get(&self.candidate(completion));
        }
    }

    /// One combination of each set, where they do not contradict each other; the largest sets first.
    fn candidate(&mut self, completion: &Completion) -> Answered {
        let mut order: Vec<usize> = (0..self.sets.len()).filter(|i| !self.sets[*i].open.is_empty()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(self.sets[*i].open.len()));
        let mut answered = Answered::new();
        for i in order {
            let set = &mut self.sets[i];
            while let Some((number, more)) = set.next(&answered) {
                let mut all = answered.clone();
                all.extend(more);
                let allowed = completion.allows(&all);
                if allowed || answered.is_empty() {
                    // What no candidate has, need not be tried.
                    set.open.remove(&number);
                }
                if allowed {
                    answered = all;
                }
                if allowed || !answered.is_empty() {
                    break;
                }
            }
        }
        completion.complete(answered)
    }

    /// Notes the sets of a candidate, and which combinations it has at the places that it reaches.
    fn look(&mut self, pass: &Rc<Pass>, mentions: &[Mention]) {
        let mut reached: HashSet<&[u32]> = HashSet::new();
        for mention in mentions {
            if mention.covered && pass.combinations(&mention.decisions).is_none() {
                self.claimed = true;
                self.add_each(pass, &mention.decisions);
            } else if mention.decisions.iter().all(|d| mention.reached_by.contains(d)) {
                // What leads to the place is all that is looked at there.
                if !mention.covered && pass.combinations(&mention.reached_by).is_none() {
                    self.leave(pass, &mention.reached_by);
                }
            } else if mention.decisions.iter().any(|d| mention.reached_by.contains(d)) {
                // Some values may lead to the place only beside others of what leads there too.
                let both: BTreeSet<u32> = mention.decisions.iter().chain(&mention.reached_by).copied().collect();
                let both: Vec<u32> = both.into_iter().collect();
                if mention.covered && mention.guarded && pass.combinations(&both).is_none() {
                    self.claimed = true;
                    self.add_each(pass, &both);
                } else {
                    self.add(pass, &both, mention);
                }
            } else {
                self.add(pass, &mention.decisions, mention);
            }
            // Whether the place is reached is tried for itself, unless claims find the candidates that reach places nobody saw.
            if mention.guarded && pass.combinations(&mention.reached_by).is_none() {
                self.claimed = true;
                self.add_each(pass, &mention.reached_by);
            } else if reached.insert(&mention.reached_by) {
                self.add(pass, &mention.reached_by, &NOWHERE);
            }
        }
        if !pass.is_feasible() {
            return;
        }
        let answers: HashMap<&str, Answer> =
            (0u32..).zip(&pass.decisions).map(|(i, d)| (d.id.as_str(), pass.answer(i))).collect();
        let places: BTreeSet<u64> = pass.exploration.places.iter().copied().chain([NOWHERE.place]).collect();
        for index in places.iter().filter_map(|p| self.at.get(p)).flatten() {
            let set = &mut self.sets[*index];
            for number in set.numbers(&answers).into_iter().flatten() {
                set.open.remove(&number);
            }
        }
    }

    /// Notes that these decisions meet at a place.
    fn add(&mut self, pass: &Rc<Pass>, decisions: &[u32], mention: &Mention) {
        if decisions.is_empty() {
            return;
        }
        if pass.combinations(decisions).is_none() {
            self.leave(pass, decisions);
            return;
        }
        let of = |d: &u32| &pass.decisions[*d as usize];
        let name = |names: &mut HashMap<String, Rc<str>>, d: &u32| {
            let id = &of(d).id;
            names.entry(id.clone()).or_insert_with(|| id.as_str().into()).clone()
        };
        let ids: Vec<Rc<str>> = decisions.iter().map(|d| name(&mut self.names, d)).collect();
        let key: Key = (mention.place, ids.iter().cloned().zip(decisions.iter().map(|d| pass.fingerprint(*d))).collect());
        // What the decisions wait for, and what leads to the place.
        let waits_for = decisions.iter().flat_map(|d| &pass.exploration.depends[*d as usize]);
        let needed: BTreeSet<u32> = mention.reached_by.iter().chain(waits_for).copied().collect();
        let way = || needed.iter().map(|d| (of(d).id.clone(), pass.answer(*d))).collect();
        if let Some(known) = self.known.get(&key) {
            let set = &mut self.sets[*known];
            let is_of_use = !needed.is_empty() && set.ways.len() < MOST_WAYS && !set.open.is_empty();
            if is_of_use {
                let way = way();
                if !set.ways.contains(&way) {
                    set.ways.push(way);
                }
            }
            return;
        }
        let values: Vec<Vec<Answer>> = decisions.iter().map(|d| pass.values_of(*d)).collect();
        let open = (0..values.iter().map(|v| v.len() as u64).product()).collect();
        self.known.insert(key, self.sets.len());
        self.at.entry(mention.place).or_default().push(self.sets.len());
        self.sets.push(Set { ids, values, open, ways: vec![way()] });
    }

    /// Too many combinations: the values of each decision are tried at least once.
    fn leave(&mut self, pass: &Rc<Pass>, decisions: &[u32]) {
        self.add_each(pass, decisions);
        let count = decisions.len();
        self.note_large(format!(
            "some checks mention {count} decisions at once, more than {} combinations",
            super::most_combinations()
        ));
    }

    fn add_each(&mut self, pass: &Rc<Pass>, decisions: &[u32]) {
        for d in decisions.iter().filter(|d| pass.combinations(&[**d]).is_some()) {
            self.add(pass, &[*d], &NOWHERE);
        }
    }

    fn note_large(&mut self, what: String) {
        if self.large.is_empty() {
            self.large.push(format!("{what}: each candidate is checked before it is built"));
        }
    }
}

/// What is wrong with candidates that no condition excludes, each fault once, with the answers that it needs.
pub(super) fn faults(passes: &mut Passes) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut told: Vec<(merge_base::Code, Option<merge_base::Span>)> = Vec::new();
    for pass in passes.all() {
        if !pass.is_feasible() {
            continue;
        }
        for d in pass.diagnostics.iter().filter(|d| d.is_error()) {
            if told.contains(&(d.code, d.primary_span())) || found.len() >= MOST_FAULTS {
                continue;
            }
            told.push((d.code, d.primary_span()));
            let needed = needed(passes, &pass, d);
            let mut d = d.clone();
            if !needed.is_empty() {
                d.notes.push(format!("in candidates with {}", needed.join(", ")));
                d = d.help("a `requires` behind the `let` of these decisions can exclude such candidates");
            }
            found.push(d);
        }
    }
    found
}

/// The answers that a fault is due to: those without which it is gone, where all others are as they stand in for the rest, and those of which
/// another value cures it.
fn needed(passes: &mut Passes, pass: &Pass, fault: &Diagnostic) -> Vec<String> {
    let same = |p: &Pass| p.diagnostics.iter().any(|d| d.code == fault.code && d.primary_span() == fault.primary_span());
    let mut answered = pass.answered.clone();
    for id in pass.answered.keys() {
        let mut less = answered.clone();
        less.remove(id);
        let other = passes.get(&less);
        if other.is_feasible() && same(&other) {
            answered = less;
        }
    }
    let all = |d: &u32| pass.answered.contains_key(&pass.decisions[*d as usize].id);
    let (first, then): (Vec<u32>, Vec<u32>) = (0..pass.decisions.len() as u32).partition(all);
    let (mut left, mut cured) = (MOST_CURES, Vec::new());
    for d in first.into_iter().chain(then) {
        let id = &pass.decisions[d as usize].id;
        if answered.contains_key(id) || pass.values(d).is_none_or(|values| values > left) {
            continue;
        }
        let own = pass.answer(d);
        let cures = pass.values_of(d).into_iter().filter(|value| *value != own).any(|value| {
            left -= 1;
            let other =
                passes.get(&pass.answered.iter().map(|(id, a)| (id.clone(), a.clone())).chain([(id.clone(), value)]).collect());
            other.is_feasible() && !same(&other)
        });
        if cures {
            cured.push((id.clone(), own));
        }
    }
    // Of a sum of many, each would do.
    let others = if cured.len() > MOST_NAMED { cured.len() } else { 0 };
    if others == 0 {
        answered.extend(cured);
    }
    let text = |(id, a): (&String, &Answer)| {
        let own = pass.decisions.iter().find(|d| d.id == *id);
        own.map(|d| format!("`{id}` = {}", d.domain.text(a)))
    };
    let mut told: Vec<String> = answered.iter().filter_map(text).collect();
    if others > 0 {
        told.push(format!("and {others} others as they are"));
    }
    told
}
