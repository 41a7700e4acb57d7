//! Candidates elaborated while their decisions are watched; each is elaborated once.

use super::convert;
use super::price::CostRange;
use super::reals::{Found, Reals};
use crate::analyse::Front;
use merge_base::Diagnostic;
use merge_sema::Elaborated;
use merge_sema::space::{Answer, Decision, Domain, Exploration, Price};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hasher;
use std::rc::Rc;

/// Answers by decision; all others have their defaults, or their first values.
pub(super) type Answered = BTreeMap<String, Answer>;

/// What one elaboration said.
pub(super) struct Pass {
    pub answered: Answered,
    pub decisions: Vec<Decision>,
    pub exploration: Exploration,
    pub diagnostics: Vec<Diagnostic>,
    pub price: Option<Price>,
    /// By decision: a number that tells its domain from others, and how many values it has, if finitely many.
    domains: Vec<(u64, Option<u128>)>,
    /// The conditions that real decisions settle.
    pub reals: Reals,
    /// Values of real decisions that meet them, where those at hand do not.
    pub point: Answered,
    /// What is known of that.
    pub met: Met,
}

/// Whether real decisions can meet the conditions of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    Yes,
    Never,
    /// None were found.
    Unsettled,
}

pub(super) struct Passes<'f> {
    front: &'f mut Front,
    done: Vec<Rc<Pass>>,
    by_answers: BTreeMap<String, usize>,
    /// How many values a domain has, by its fingerprint.
    counts: HashMap<u64, Option<u128>>,
}

impl<'f> Passes<'f> {
    pub fn new(front: &'f mut Front) -> Passes<'f> {
        Passes { front, done: Vec::new(), by_answers: BTreeMap::new(), counts: HashMap::new() }
    }

    /// The elaboration of these answers.
    pub fn get(&mut self, answered: &Answered) -> Rc<Pass> {
        let key = format!("{answered:?}");
        if let Some(known) = self.by_answers.get(&key) {
            return self.done[*known].clone();
        }
        let (elaborated, reals, point, met) = self.meet(answered);
        let domains = elaborated.decisions.iter().map(|d| {
            let mut hasher = std::hash::DefaultHasher::new();
            d.domain.fingerprint(&mut hasher);
            let fingerprint = hasher.finish();
            let count = || convert::domain(&d.domain).small_count().map(u128::from);
            (fingerprint, *self.counts.entry(fingerprint).or_insert_with(count))
        });
        let mut pass = Pass {
            domains: domains.collect(),
            answered: answered.clone(),
            decisions: elaborated.decisions,
            exploration: elaborated.exploration.unwrap_or_default(),
            diagnostics: elaborated.diagnostics,
            price: elaborated.price,
            reals,
            point,
            met,
        };
        pass.slim();
        self.by_answers.insert(key, self.done.len());
        self.done.push(Rc::new(pass));
        self.done[self.done.len() - 1].clone()
    }

    /// Elaborates a candidate; once more with other reals where those at hand do not meet the conditions.
    fn meet(&mut self, answered: &Answered) -> (Elaborated, Reals, Answered, Met) {
        let elaborated = self.front.watch(answered);
        let of = |e: &Elaborated| match &e.exploration {
            Some(seen) if !seen.reals.is_empty() => Reals::of(&e.graph, &seen.reals, &e.decisions),
            _ => Reals::default(),
        };
        let reals = of(&elaborated);
        if reals.failing(None).is_empty() {
            return (elaborated, reals, Answered::new(), Met::Yes);
        }
        match reals.find(&|_| true) {
            Found::Point(point) => {
                let point = reals.answers(&point, &elaborated.decisions);
                let mut all = answered.clone();
                all.extend(point.clone());
                let elaborated = self.front.watch(&all);
                let reals = of(&elaborated);
                (elaborated, reals, point, Met::Yes)
            }
            Found::Never => (elaborated, reals, Answered::new(), Met::Never),
            Found::Unsettled => (elaborated, reals, Answered::new(), Met::Unsettled),
        }
    }

    pub fn count(&self) -> usize {
        self.done.len()
    }

    /// All that was elaborated so far, in order.
    pub fn all(&self) -> Vec<Rc<Pass>> {
        self.done.clone()
    }

    /// What the candidates cost that were looked at and that no condition excludes.
    pub fn costs(&self) -> Option<CostRange> {
        CostRange::of(self.done.iter().filter(|p| p.is_feasible() && !p.has_errors()).filter_map(|p| p.price))
    }

    /// The domain of each decision, as it was first seen; a list that depends on other decisions with the members that it has in any
    /// candidate.
    pub fn domains(&self) -> BTreeMap<String, Domain> {
        let mut found: BTreeMap<String, Domain> = BTreeMap::new();
        for decision in self.done.iter().flat_map(|p| &p.decisions) {
            match (found.get_mut(&decision.id), &decision.domain) {
                (None, domain) => {
                    found.insert(decision.id.clone(), domain.clone());
                }
                (Some(Domain::Members { labels: known, .. }), Domain::Members { labels, .. }) if known != labels => {
                    let new = labels.iter().filter(|l| !known.contains(l));
                    *known = known.iter().chain(new).cloned().collect();
                }
                _ => {}
            }
        }
        found
    }
}

impl Pass {
    /// The number of values of a decision, if it has finitely many.
    pub fn values(&self, decision: u32) -> Option<u128> {
        self.domains[decision as usize].1
    }

    /// A number that tells the domains of one decision apart.
    pub fn fingerprint(&self, decision: u32) -> u64 {
        self.domains[decision as usize].0
    }

    /// The combinations of some decisions; none where they are too many to be tried.
    pub fn combinations(&self, decisions: &[u32]) -> Option<u128> {
        let product = decisions.iter().try_fold(1u128, |n, d| n.checked_mul(self.values(*d)?))?;
        (product <= super::most_combinations()).then_some(product)
    }

    /// The answer of a decision. Where other decisions may change its list, by label: in another candidate a place may mean another
    /// value.
    pub fn answer(&self, decision: u32) -> Answer {
        let d = &self.decisions[decision as usize];
        self.by_label(decision, d.answer.clone())
    }

    /// The values of a finite domain, in their order, as [`Pass::answer`] has them.
    pub fn values_of(&self, decision: u32) -> Vec<Answer> {
        let values = values_of(&self.decisions[decision as usize].domain).into_iter();
        values.map(|value| self.by_label(decision, value)).collect()
    }

    fn by_label(&self, decision: u32, answer: Answer) -> Answer {
        let has_labels = matches!(answer, Answer::Member(_) | Answer::Order(_) | Answer::Subset(_));
        let waits = self.exploration.depends.get(decision as usize).is_some_and(|d| !d.is_empty());
        match has_labels && waits {
            true => Answer::Label(self.decisions[decision as usize].domain.text(&answer)),
            false => answer,
        }
    }

    /// By mention: whether no larger set at its place is tried, and this with it.
    pub fn tried(&self) -> Vec<bool> {
        let all = &self.exploration.mentions;
        let mut places: BTreeMap<(u64, &[u32]), Vec<&[u32]>> = BTreeMap::new();
        for m in all.iter().filter(|m| self.combinations(&m.decisions).is_some()) {
            places.entry((m.place, &m.reached_by)).or_default().push(&m.decisions);
        }
        let inside = |a: &[u32], b: &[u32]| a.len() < b.len() && a.iter().all(|d| b.binary_search(d).is_ok());
        let alone = all.iter().map(|m| match places.get(&(m.place, m.reached_by.as_slice())) {
            Some(others) => !others.iter().any(|o| inside(&m.decisions, o)),
            None => true,
        });
        alone.collect()
    }

    /// Forgets claims and terms that nobody asks for: where all combinations are few.
    fn slim(&mut self) {
        let all: Vec<u32> = (0..self.decisions.len() as u32).collect();
        if self.combinations(&all).is_some() {
            self.exploration.claims.clear();
            self.exploration.terms.clear();
            self.exploration.conditions.iter_mut().for_each(|c| c.term = None);
        }
    }

    /// Whether something is wrong with the candidate.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// Whether every condition of a `let` holds, or may with other real numbers.
    pub fn is_feasible(&self) -> bool {
        self.met == Met::Yes && self.exploration.conditions.iter().all(|c| c.holds)
    }
}

/// The values of a finite domain, in their order.
pub(super) fn values_of(domain: &Domain) -> Vec<Answer> {
    let searched = convert::domain(domain);
    let count = searched.small_count().unwrap_or(0);
    (0..count).map(|rank| convert::answer(&searched.unrank(rank.into()))).collect()
}
