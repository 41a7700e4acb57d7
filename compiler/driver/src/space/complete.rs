//! Candidates that the conditions allow, with some answers given.
//!
//! Not here: which answers are wanted (`checks`).

use super::convert;
use super::passes::{Answered, Pass};
use merge_search::{Assignment, Domain as Searched, Space, Value};
use merge_sema::space::{Answer, Domain};
use std::collections::BTreeMap;

/// A space with the domains of its decisions, as far as they were seen.
pub(super) struct Completion<'s> {
    space: &'s Space,
    domains: BTreeMap<String, Domain>,
    /// Whether a condition excluded anything yet; if none does, every combination is a candidate.
    excludes: bool,
}

impl<'s> Completion<'s> {
    pub fn new(space: &'s Space) -> Completion<'s> {
        Completion { space, domains: BTreeMap::new(), excludes: false }
    }

    /// Takes note of a candidate.
    pub fn look(&mut self, pass: &Pass) {
        self.excludes |= !pass.is_feasible();
        for d in &pass.decisions {
            if !self.domains.contains_key(&d.id) {
                self.domains.insert(d.id.clone(), d.domain.clone());
            }
        }
    }

    /// Whether some candidate has these answers. Those to decisions that it lacks count for nothing.
    pub fn allows(&self, answered: &Answered) -> bool {
        !self.excludes || self.find(answered).is_some()
    }

    /// All answers of such a candidate, so that one candidate has one text; the given ones where there is none.
    pub fn complete(&self, answered: Answered) -> Answered {
        match self.find(&answered) {
            Some(found) => self.answers(&found),
            None => answered,
        }
    }

    /// A candidate as the recipe has it.
    pub fn answers(&self, candidate: &Assignment) -> Answered {
        convert::answers(self.space, candidate, &self.domains)
    }

    fn find(&self, answered: &Answered) -> Option<Assignment> {
        self.space.with(&|path, domain| {
            let answer = answered.get(path)?;
            self.wanted(path, domain, answer)
        })
    }

    /// The value of the space; of a value that no candidate has, one outside of the domain.
    fn wanted(&self, path: &str, domain: &Searched, answer: &Answer) -> Option<Value> {
        match domain {
            // Of the recipe's list the space may have a part.
            Searched::Members { labels, .. } => {
                let text = match answer {
                    Answer::Label(text) => text.clone(),
                    other => self.domains.get(path)?.text(other),
                };
                let place = labels.iter().position(|l| *l == text);
                Some(Value::Member(place.map_or(u64::MAX, |p| p as u64)))
            }
            _ => {
                let own = self.domains.get(path).filter(|_| matches!(answer, Answer::Label(_))).and_then(|d| d.settle(answer));
                Some(convert::value(own.as_ref().unwrap_or(answer)))
            }
        }
    }
}
