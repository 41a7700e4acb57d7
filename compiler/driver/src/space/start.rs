//! A first candidate that all conditions allow: what is looked at where the recipe's own first values are excluded.
//!
//! Conditions that few decisions have a say in are in the tree already. Those of many are solved as terms (`reach`), those of real numbers by
//! intervals (`reals`), structure by structure.

use super::claims::Claims;
use super::complete::Completion;
use super::passes::{Met, Passes};
use super::{OpenRecipe, conflict};
use crate::analyse::Front;
use merge_base::Diagnostic;
use merge_search::Rng;
use merge_sema::space::Answer;
use std::collections::BTreeMap;

/// The most structures that are tried.
pub(super) const MOST_STRUCTURES: u64 = 64;

/// What was found.
pub(crate) enum Start {
    Candidate(BTreeMap<String, Answer>),
    /// Nothing: of so many structures tried.
    Unknown(u64),
    /// There is none, which is proved: why.
    Never(Box<Diagnostic>),
}

/// A candidate of a space that all conditions allow.
pub(crate) fn find(mut open: OpenRecipe) -> (Front, Start) {
    let mut passes = Passes::new(&mut open.front);
    let count = u64::try_from(open.space.count()).unwrap_or(u64::MAX);
    let mut rng = Rng::new(0, "start");
    let (mut never, mut asked) = (true, false);
    let mut start = None;
    let tried = count.min(MOST_STRUCTURES);
    let mut completion = Completion::new(&open.space);
    let mut claims = Claims::default();
    for number in 0..tried {
        let candidate = match number {
            0 => open.space.defaults().or(open.space.unrank(&0u8.into())),
            n if count <= MOST_STRUCTURES => open.space.unrank(&n.into()),
            _ => Some(open.space.sample(&mut rng)),
        };
        let Some(candidate) = candidate else { continue };
        let answers = super::convert::answers(&open.space, &candidate, &open.domains);
        let mut pass = passes.get(&answers);
        completion.look(&pass);
        if pass.exploration.conditions.iter().any(|c| !c.holds) {
            // Conditions that many decisions have a say in: solved as terms, all at once.
            never = false;
            if !std::mem::replace(&mut asked, true)
                && let Some(allowed) = claims.allowed(&mut passes, &completion)
            {
                pass = passes.get(&allowed);
            }
        }
        never &= pass.met == Met::Never;
        if pass.is_feasible() {
            let mut all = pass.answered.clone();
            all.extend(pass.point.clone());
            start = Some(all);
            break;
        }
    }
    // Each structure but the defaults' own was tried once.
    let all_tried = count <= MOST_STRUCTURES && never;
    let start = match start {
        Some(answers) => Start::Candidate(answers),
        None => match conflict::contradiction(&mut passes, all_tried) {
            Some(diagnostic) => Start::Never(Box::new(diagnostic)),
            None => Start::Unknown(tried),
        },
    };
    (open.front, start)
}
