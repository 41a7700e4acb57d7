//! Checks that mention too many decisions to try them all, decided by what they claim (`merge_sema::space::Claim`).
//!
//! A claim is proved if no answers make it false or unknown that the conditions allow (`reach`). Otherwise the answers that were found are
//! elaborated: that candidate is wrong, and the fault is reported as any other; or a condition excludes it, or it takes a branch that was not
//! known so far, and says more. So each question is asked again with what was learnt, until it is settled.
//!
//! Invariant: what is called proved holds in every candidate; what is reported fails in a candidate that was elaborated.

use super::complete::Completion;
use super::passes::{Answered, Pass, Passes};
use super::reach::{Node, Pool, Reached, Want};
use merge_base::Span;
use merge_sema::space::Answer;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The most candidates that are elaborated for one claim.
const MOST_TRIES: usize = 48;

/// The most terms that are kept for one claim or condition.
const MOST_VERSIONS: usize = 12;

/// What candidates claim of one place.
struct Stated {
    span: Span,
    /// Each is right wherever it is known.
    versions: Vec<Node>,
    settled: bool,
}

/// All claims and conditions that were seen.
#[derive(Default)]
pub(super) struct Claims {
    pool: Pool,
    claims: BTreeMap<u64, Stated>,
    conditions: BTreeMap<u64, Vec<Node>>,
    /// Where the conditions stand.
    spans: BTreeMap<u64, Span>,
    /// Combinations that conditions without a term exclude.
    excluded: Vec<Node>,
    /// The values of each decision in terms.
    values: BTreeMap<String, Vec<Answer>>,
    /// The strings of the first candidate: numbers of another's are not comparable.
    strings: Option<Vec<Rc<str>>>,
    /// Candidates that were looked at.
    seen: usize,
}

impl Claims {
    /// Takes note of what a candidate claims.
    fn look(&mut self, pass: &Pass) {
        let seen = &pass.exploration;
        if seen.terms.is_empty() {
            return;
        }
        let name = |d: u32| pass.decisions[d as usize].id.as_str();
        let nodes = self.pool.import(seen, name);
        for term in &seen.terms {
            if let merge_sema::space::Term::Decision { decision, .. } = term
                && !self.values.contains_key(name(*decision))
            {
                let d = &pass.decisions[*decision as usize];
                let usual = super::passes::values_of(&d.domain).iter().position(|v| Some(v) == d.default.as_ref());
                self.pool.set_usual(&d.id, usual.unwrap_or(0));
                self.values.insert(d.id.clone(), pass.values_of(*decision));
            }
        }
        let comparable = *self.strings.get_or_insert_with(|| seen.strings.clone()) == seen.strings;
        for claim in &seen.claims {
            let node = nodes[claim.term.0 as usize];
            let stated = self.claims.entry(claim.place);
            let stated = stated.or_insert_with(|| Stated { span: claim.span, versions: Vec::new(), settled: false });
            note(&mut self.pool, &mut stated.versions, node, comparable);
        }
        for condition in &seen.conditions {
            if let Some(term) = condition.term {
                self.spans.insert(condition.place, condition.span);
                let versions = self.conditions.entry(condition.place).or_default();
                note(&mut self.pool, versions, nodes[term.0 as usize], comparable);
            }
        }
    }

    /// Settles the claims that are open. Those that cannot be are counted.
    pub fn decide(&mut self, passes: &mut Passes, completion: &Completion) -> usize {
        self.look_at_all(passes);
        let mut left = 0;
        let mut open: Vec<(Span, u64)> = self.claims.iter().filter(|(_, c)| !c.settled).map(|(k, c)| (c.span, *k)).collect();
        open.sort_by_key(|(span, place)| (span.file, span.start, *place));
        for (_, place) in open {
            if !self.settle(place, passes, completion) {
                left += 1;
            }
            if let Some(claim) = self.claims.get_mut(&place) {
                claim.settled = true;
            }
        }
        left
    }

    /// Whether a claim is proved, or was shown to fail.
    fn settle(&mut self, place: u64, passes: &mut Passes, completion: &Completion) -> bool {
        let mut tried: BTreeSet<Vec<(Rc<str>, usize)>> = BTreeSet::new();
        for _ in 0..MOST_TRIES {
            let answers = match self.counterexample(place) {
                Reached::Never => return true,
                Reached::Unsettled => return false,
                Reached::With(answers) => answers,
            };
            if !tried.insert(answers.iter().map(|(name, i)| (name.clone(), *i)).collect()) {
                return false;
            }
            let pass = passes.get(&completion.complete(self.answered(&answers)));
            self.look(&pass);
            if pass.is_feasible() && pass.has_errors() {
                return true;
            }
            self.exclude(&pass);
        }
        false
    }

    /// A candidate that all conditions allow, as far as they have terms.
    pub fn allowed(&mut self, passes: &mut Passes, completion: &Completion) -> Option<Answered> {
        for _ in 0..MOST_TRIES {
            self.look_at_all(passes);
            let conditions = self.conditions.values().flatten().chain(&self.excluded);
            let wanted: Vec<(Node, Want)> = conditions.map(|c| (*c, Want::Possible)).collect();
            let Reached::With(answers) = self.pool.reach(&wanted) else { return None };
            let allowed = completion.complete(self.answered(&answers));
            let pass = passes.get(&allowed);
            if pass.exploration.conditions.iter().all(|c| c.holds) {
                return Some(allowed);
            }
            self.look_at_all(passes);
            self.exclude(&pass);
        }
        None
    }

    /// A candidate that meets the conditions at these places, `Some(None)` if it is proved that there is none.
    pub fn meet(&mut self, passes: &mut Passes, part: &[Span]) -> Option<Option<Rc<Pass>>> {
        for _ in 0..MOST_TRIES {
            self.look_at_all(passes);
            let of_part = self.conditions.iter().filter(|(place, _)| self.spans.get(place).is_some_and(|s| part.contains(s)));
            let wanted: Vec<(Node, Want)> = of_part.flat_map(|(_, all)| all).map(|c| (*c, Want::Possible)).collect();
            match self.pool.reach(&wanted) {
                Reached::Never => return Some(None),
                Reached::Unsettled => return None,
                Reached::With(answers) => {
                    let pass = passes.get(&self.answered(&answers));
                    if pass.exploration.conditions.iter().all(|c| c.holds || !part.contains(&c.span)) {
                        return Some(Some(pass));
                    }
                    if pass.exploration.conditions.iter().any(|c| !c.holds && part.contains(&c.span) && c.term.is_none()) {
                        return None;
                    }
                }
            }
        }
        None
    }

    fn look_at_all(&mut self, passes: &Passes) {
        for pass in passes.all().into_iter().skip(self.seen) {
            self.seen += 1;
            self.look(&pass);
        }
    }

    /// Answers by name and place, as the recipe has them.
    fn answered(&self, answers: &BTreeMap<Rc<str>, usize>) -> Answered {
        let value = |(name, place): (&Rc<str>, &usize)| Some((name.to_string(), self.values.get(&**name)?.get(*place)?.clone()));
        answers.iter().filter_map(value).collect()
    }

    /// Answers with which a claim fails, or may fail, and no condition is known to.
    fn counterexample(&self, place: u64) -> Reached {
        let claims = self.claims.get(&place).map(|c| c.versions.as_slice()).unwrap_or_default();
        let conditions = self.conditions.values().flatten().chain(&self.excluded).copied().collect();
        let conditions = self.pool.related(claims, conditions);
        let with = |want: Want| {
            let mut wanted: Vec<(Node, Want)> = claims.iter().map(|c| (*c, want)).collect();
            wanted.extend(conditions.iter().map(|c| (*c, Want::Possible)));
            self.pool.reach(&wanted)
        };
        match with(Want::Unproved) {
            // One that fails for certain needs no more than one candidate.
            Reached::With(answers) => match with(Want::False) {
                Reached::With(answers) => Reached::With(answers),
                Reached::Never | Reached::Unsettled => Reached::With(answers),
            },
            other => other,
        }
    }

    /// Leaves out what conditions without a term exclude, as this candidate shows.
    fn exclude(&mut self, pass: &Pass) {
        for condition in pass.exploration.conditions.iter().filter(|c| !c.holds && c.term.is_none()) {
            let place = |d: &u32| {
                let values = pass.values_of(*d);
                let answer = pass.answer(*d);
                Some((pass.decisions[*d as usize].id.as_str(), values.len(), values.iter().position(|v| *v == answer)?))
            };
            if let Some(answers) = condition.depends.iter().map(place).collect::<Option<Vec<_>>>() {
                let other = self.pool.other_than(&answers);
                self.excluded.push(other);
            }
        }
    }
}

/// Adds what one more candidate knows.
fn note(pool: &mut Pool, versions: &mut Vec<Node>, node: Node, comparable: bool) {
    if versions.contains(&node) {
        return;
    }
    if comparable {
        for version in versions.iter_mut() {
            if let Some(filled) = pool.fill(*version, node) {
                *version = filled;
                return;
            }
        }
    }
    if versions.len() < MOST_VERSIONS {
        versions.push(node);
    }
}
