//! Why a space is empty: the smallest set of conditions that exclude every candidate.

use super::passes::Passes;
use super::{tasks, tree};
use merge_base::{Diagnostic, Span};
use merge_sema::codes::spaces::EMPTY_SPACE;

/// Conditions beyond this number are not tried in every combination: what is left then cannot do without any of its members, but
/// there may be a smaller set.
const MOST: usize = 12;

/// The report of an empty space.
pub(super) fn explain(passes: &mut Passes) -> Diagnostic {
    let mut conditions: Vec<(Span, String)> = Vec::new();
    for pass in passes.all() {
        for c in pass.exploration.conditions.iter().filter(|c| !c.holds) {
            if !conditions.iter().any(|(span, _)| *span == c.span) {
                conditions.push((c.span, c.text.clone()));
            }
        }
    }
    conditions.sort_by_key(|(s, _)| (s.file, s.start));
    let smallest = smallest(passes, &conditions);
    let (first, rest) = smallest.split_first().map_or((None, &[][..]), |(f, r)| (Some(f), r));
    let message = "no candidate is left: the conditions exclude every one";
    let Some((span, _)) = first else { return Diagnostic::without_place(EMPTY_SPACE, message) };
    let mut d = Diagnostic::new(EMPTY_SPACE, message, *span, if rest.is_empty() { "this holds for none" } else { "this" });
    for (span, _) in rest {
        d = d.label(*span, "and this contradict each other");
    }
    d.help("loosen one of them, or give the decisions more values")
}

/// The smallest of the sets of conditions that are enough; of equal ones the first.
fn smallest(passes: &mut Passes, conditions: &[(Span, String)]) -> Vec<(Span, String)> {
    if conditions.len() > MOST {
        return irreducible(passes, conditions);
    }
    let mut sets: Vec<u32> = (1..1u32 << conditions.len()).collect();
    // Of equal ones the first in the text: its bits are the lowest.
    sets.sort_by_key(|set| (set.count_ones(), std::cmp::Reverse(set.reverse_bits())));
    for set in sets {
        let chosen = |i: usize| set >> i & 1 == 1;
        let part: Vec<_> = conditions.iter().enumerate().filter(|(i, _)| chosen(*i)).map(|(_, c)| c.clone()).collect();
        if exclude_all(passes, conditions, &part) {
            return part;
        }
    }
    conditions.to_vec()
}

/// Leaves out what is not needed, one by one.
fn irreducible(passes: &mut Passes, conditions: &[(Span, String)]) -> Vec<(Span, String)> {
    let mut needed = conditions.to_vec();
    for condition in conditions {
        let less: Vec<_> = needed.iter().filter(|c| *c != condition).cloned().collect();
        if exclude_all(passes, conditions, &less) {
            needed = less;
        }
    }
    needed
}

/// Whether no candidate meets all conditions of a part.
fn exclude_all(passes: &mut Passes, all: &[(Span, String)], part: &[(Span, String)]) -> bool {
    let ignored: Vec<Span> = all.iter().filter(|c| !part.contains(c)).map(|c| c.0).collect();
    tree::assemble(&tasks::find(passes, &ignored)).is_none()
}
