//! The space of a recipe: every decision it leaves open, which of them there are when, and how many candidates that makes.
//!
//! | file | job |
//! |---|---|
//! | `passes` | candidates elaborated while decisions are watched, each once |
//! | `tasks` | which candidates must be looked at, so that no decision is missed |
//! | `tree` | the tree of what was found, for the room that searches |
//! | `checks` | candidates for the checks that mention several decisions |
//! | `claims` | checks that mention too many decisions for that, decided by what they claim |
//! | `reach` | the values that terms can have together |
//! | `reals` | real numbers that meet conditions |
//! | `start` | a first candidate that all conditions allow |
//! | `complete` | candidates that the conditions allow, with some answers given |
//! | `conflict` | why a space is empty |
//! | `price` | what candidates cost, at least and at most |
//! | `describe`, `json`, `picture` | the tree as text, for programs, as a picture; candidates drawn and numbered |
//! | `convert` | domains and answers between the language and the search |
//!
//! A decision's existence, its domain and its key depend on a known few others (`merge_sema::space::Exploration`). So it is enough
//! to try the values of those few, and independent decisions are tried side by side: a space of 10^60 candidates takes some dozen
//! elaborations.
//!
//! Invariants: the order of a list of decisions is that of the recipe; the tree does not depend on how long anything takes.
//!
//! Not here: algorithms of search (`merge-search`), what a candidate is worth.

mod checks;
mod claims;
#[cfg(test)]
mod claims_tests;
mod complete;
mod conflict;
mod convert;
mod describe;
mod json;
#[cfg(test)]
mod networks_tests;
mod passes;
mod picture;
mod price;
mod reach;
mod reals;
mod start;
mod tasks;
#[cfg(test)]
mod tests;
mod tree;

use crate::analyse::{Front, Request, look};
pub(crate) use convert::answers;
use merge_base::Diagnostic;
use merge_runtime::Error;
use merge_search::Assignment;
use merge_sema::space::{Answer, Domain};
pub use price::CostRange;
pub(crate) use start::{Start, find as start};
use std::collections::BTreeMap;

/// More combinations than this are not tried one by one: claims are decided by what terms can be, the rest candidate by candidate.
#[cfg(not(test))]
pub(crate) fn most_combinations() -> u128 {
    10_000
}

#[cfg(test)]
thread_local! {
    /// Lowered where small spaces stand in for large ones.
    pub(crate) static MOST_COMBINATIONS: std::cell::Cell<u128> = const { std::cell::Cell::new(10_000) };
}

#[cfg(test)]
pub(crate) fn most_combinations() -> u128 {
    MOST_COMBINATIONS.get()
}

/// More elaborations than this are not spent on one space.
const MOST_PASSES: usize = 12_000;

/// A recipe with what it leaves open.
pub struct OpenRecipe {
    pub(crate) front: Front,
    pub space: merge_search::Space,
    /// The decisions by name, as the recipe declares them.
    pub(crate) domains: BTreeMap<String, Domain>,
    /// Decisions of which only the candidate knows whether it has them: too many others have a say.
    pub late: Vec<String>,
    /// Conditions and checks that are tried candidate by candidate, as sentences.
    pub notes: Vec<String>,
    /// Whether the size is exact: nothing but checks is left to the candidates.
    pub counted: bool,
    /// Elaborations it took.
    pub passes: usize,
    /// What candidates cost, as far as the recipe makes something that has a cost: of those that were looked at to find the decisions, until
    /// [`OpenRecipe::price`] is asked.
    pub costs: Option<CostRange>,
    /// What is wrong with some candidates.
    pub diagnostics: Vec<Diagnostic>,
}

/// Whether the checks that mention several decisions are tried for all of their combinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    Tried,
    /// Each candidate is checked when it is made. Enough to count, and much quicker for large spaces.
    Left,
}

/// Reads a recipe and finds its space.
///
/// # Errors
/// Of the world; and where the recipe itself is wrong, what is wrong with it comes back inside `Ok(Err(..))`.
pub fn open(request: &Request, checks: Checks) -> Result<Result<OpenRecipe, crate::Analysis>, Error> {
    let (front, mut seen) = look(Front::read(request)?)?;
    if seen.has_errors() {
        return Ok(Err(seen.into_analysis(front)));
    }
    let front = match explore(front, checks)? {
        Ok(found) if !found.diagnostics.iter().any(Diagnostic::is_error) => return Ok(Ok(found)),
        Ok(found) => {
            seen.diagnostics.extend(found.diagnostics);
            found.front
        }
        Err(empty) => {
            seen.diagnostics.push(empty.diagnostic);
            empty.front
        }
    };
    Ok(Err(seen.into_analysis(front)))
}

/// A recipe whose conditions exclude every candidate.
pub(crate) struct Empty {
    pub front: Front,
    /// Which conditions do.
    pub diagnostic: Diagnostic,
}

/// Finds the space of a recipe that is right for its defaults. What is wrong with some candidates is among what was found.
pub(crate) fn explore(mut front: Front, checks: Checks) -> Result<Result<OpenRecipe, Empty>, Error> {
    let mut passes = passes::Passes::new(&mut front);
    let found = tasks::find(&mut passes, &[]);
    let space = match tree::assemble(&found) {
        None => {
            let diagnostic = conflict::explain(&mut passes);
            return Ok(Err(Empty { front, diagnostic }));
        }
        Some(Err(fault)) => return Err(Error::internal(format!("the tree of decisions does not hold together: {fault}"))),
        Some(Ok(space)) => space,
    };
    let counted = found.notes.is_empty();
    let too_many = tree::too_many(&found);
    let mut notes = found.notes;
    if checks == Checks::Tried {
        notes.extend(checks::cover(&mut passes, &space));
    }
    let mut diagnostics = checks::faults(&mut passes);
    diagnostics.extend(too_many);
    let (domains, costs, passes) = (passes.domains(), passes.costs(), passes.count());
    Ok(Ok(OpenRecipe { front, space, domains, late: found.late, notes, counted, passes, costs, diagnostics }))
}

impl OpenRecipe {
    /// The answers of a candidate, as the language has them.
    pub fn answers(&self, candidate: &Assignment) -> BTreeMap<String, Answer> {
        convert::answers(&self.space, candidate, &self.domains)
    }

    /// A candidate as a file of choices: decision → value, in the order of the recipe.
    pub fn to_choices(&self, candidate: &Assignment) -> serde_json::Map<String, serde_json::Value> {
        let answers = self.answers(candidate);
        let order = self.space.named(candidate).map(|(path, _)| path.to_owned());
        order.filter_map(|path| Some((path.clone(), convert::to_json(self.domains.get(&path)?, answers.get(&path)?)))).collect()
    }

    /// The candidate of a file of choices. Decisions that are not there have their defaults.
    ///
    /// # Errors
    /// A sentence: which decision does not fit, and why.
    pub fn candidate(&self, choices: &[(String, String)]) -> Result<Assignment, String> {
        convert::candidate(&self.space, &self.domains, choices)
    }

    /// Elaborates a candidate.
    ///
    /// # Errors
    /// A sentence: why it is no candidate.
    pub fn elaborate(&mut self, candidate: &Assignment) -> Result<merge_sema::Elaborated, String> {
        let answers = self.answers(candidate);
        let elaborated = self.front.elaborate_answered(answers.into_iter(), false);
        match elaborated.diagnostics.iter().find(|d| d.is_error()) {
            Some(d) => Err(d.message.clone()),
            None => Ok(elaborated),
        }
    }

    /// What the recipe's messages stand on.
    pub fn sources(&self) -> &merge_base::Sources {
        &self.front.sources
    }
}
