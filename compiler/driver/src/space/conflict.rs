//! Why a space is empty: a smallest set of conditions that exclude every candidate.
//!
//! Each candidate that was elaborated fails some conditions, and whatever excludes all candidates has one of these for each. So a
//! smallest set that meets all of them (a minimum hitting set) is proposed; if some candidate meets its conditions all the same, what that one
//! fails is noted, and a set is proposed anew. The first that excludes everything is a smallest one, since it is a smallest that meets
//! what was noted (implicit hitting sets: Ignatiev et al. 2015, *Smallest MUS extraction with minimal hitting set dualization*).
//!
//! Conditions of ints are decided by the tree, or as terms where many decisions have a say in them; those of real numbers by intervals, for
//! each of at most [`MOST_STRUCTURES`] structures.

use super::claims::Claims;
use super::passes::{Pass, Passes};
use super::reals::Found;
use super::start::MOST_STRUCTURES;
use super::{convert, tasks, tree};
use merge_base::{Diagnostic, Span};
use merge_sema::codes::spaces::EMPTY_SPACE;

/// The most conditions among which a smallest set is looked for.
const MOST: usize = 128;

/// The most sets that are proposed.
const MOST_ROUNDS: usize = 512;

/// The most steps to one hitting set.
const MOST_STEPS: usize = 2_000_000;

/// The report of an empty space.
pub(super) fn explain(passes: &mut Passes) -> Diagnostic {
    let conditions = failing(passes);
    let found = smallest(passes, &conditions);
    report(&found.unwrap_or_else(|| irreducible(passes, &conditions)))
}

/// The report of a space none of whose structures can meet all conditions; none if that is not proved. `all_tried`: each structure was.
pub(super) fn contradiction(passes: &mut Passes, all_tried: bool) -> Option<Diagnostic> {
    let conditions = failing(passes);
    match smallest(passes, &conditions) {
        Some(found) => Some(report(&found)),
        None => all_tried.then(|| report(&Contradiction { conditions, smallest: false })),
    }
}

/// Conditions that exclude every candidate.
struct Contradiction {
    conditions: Vec<Span>,
    /// Whether there is no smaller set.
    smallest: bool,
}

fn report(found: &Contradiction) -> Diagnostic {
    let (first, rest) = found.conditions.split_first().map_or((None, &[][..]), |(f, r)| (Some(f), r));
    let message = "no candidate is left: the conditions exclude every one";
    let Some(span) = first else { return Diagnostic::without_place(EMPTY_SPACE, message) };
    let mut d = Diagnostic::new(EMPTY_SPACE, message, *span, if rest.is_empty() { "this holds for none" } else { "this" });
    for span in rest {
        d = d.label(*span, "and this contradict each other");
    }
    if !found.smallest {
        d = d.note("there may be a smaller set of conditions that does so");
    }
    d.help("loosen one of them, or give the decisions more values")
}

/// The conditions that fail in some candidate, in the order of the text.
fn failing(passes: &Passes) -> Vec<Span> {
    let mut found: Vec<Span> = passes.all().iter().flat_map(|p| violated(p, None)).collect();
    found.sort_by_key(|s| (s.file, s.start, s.end));
    found.dedup();
    found
}

/// The conditions that a candidate fails, with its reals or others.
fn violated(pass: &Pass, point: Option<&[f64]>) -> Vec<Span> {
    let mut all: Vec<Span> = pass.exploration.conditions.iter().filter(|c| !c.holds).map(|c| c.span).collect();
    all.extend(pass.reals.failing(point));
    all
}

/// What is known of some conditions together.
enum Together {
    /// A candidate meets them. It fails these, of all conditions.
    Met(Vec<Span>),
    Never,
    Unknown,
}

/// A smallest set of conditions that exclude every candidate; of equal ones the first. None where it is not found.
fn smallest(passes: &mut Passes, conditions: &[Span]) -> Option<Contradiction> {
    if conditions.len() > MOST {
        return None;
    }
    let mut all = conditions.to_vec();
    let mut noted: Vec<u128> = Vec::new();
    for _ in 0..MOST_ROUNDS {
        let part = chosen(&all, smallest_hitting(&noted, all.len())?);
        match together(passes, &part) {
            Together::Never => return Some(Contradiction { conditions: part, smallest: true }),
            Together::Unknown => return None,
            Together::Met(failed) => {
                for span in &failed {
                    if !all.contains(span) {
                        all.push(*span);
                    }
                }
                if failed.is_empty() || all.len() > MOST {
                    return None;
                }
                let bits = all.iter().enumerate().filter(|(_, span)| failed.contains(span));
                noted.push(bits.fold(0, |set, (i, _)| set | 1 << i));
            }
        }
    }
    None
}

fn chosen(all: &[Span], set: u128) -> Vec<Span> {
    let mut part: Vec<Span> = all.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, s)| *s).collect();
    part.sort_by_key(|s| (s.file, s.start, s.end));
    part
}

/// A smallest set with a member of each, of equal ones that with the first members; none where it takes too long.
fn smallest_hitting(sets: &[u128], count: usize) -> Option<u128> {
    let mut steps = 0;
    for size in 0..=count as u32 {
        if !hits(sets, 0, 0, size, &mut steps)? {
            continue;
        }
        // The first member that may be one, then the next.
        let (mut taken, mut barred) = (0u128, 0u128);
        for i in 0..count {
            if taken.count_ones() == size {
                break;
            }
            let with = taken | 1 << i;
            match hits(sets, with, barred, size - with.count_ones(), &mut steps)? {
                true => taken = with,
                false => barred |= 1 << i,
            }
        }
        return Some(taken);
    }
    Some(0)
}

/// Whether so many more members are enough.
fn hits(sets: &[u128], taken: u128, barred: u128, more: u32, steps: &mut usize) -> Option<bool> {
    *steps += 1;
    if *steps > MOST_STEPS {
        return None;
    }
    // Of the sets that nothing taken is in, that with the fewest members; sets apart from each other need a member each.
    let (mut narrowest, mut apart, mut used) = (None::<u128>, 0, 0u128);
    for set in sets.iter().filter(|s| *s & taken == 0) {
        let open = set & !barred;
        if narrowest.is_none_or(|n| open.count_ones() < n.count_ones()) {
            narrowest = Some(open);
        }
        if open & used == 0 {
            apart += 1;
            used |= open;
        }
    }
    let Some(mut open) = narrowest else { return Some(true) };
    if apart > more {
        return Some(false);
    }
    let mut barred = barred;
    while open != 0 {
        let member = open & open.wrapping_neg();
        if hits(sets, taken | member, barred, more - 1, steps)? {
            return Some(true);
        }
        barred |= member;
        open &= !member;
    }
    Some(false)
}

/// Whether some candidate meets all conditions of a part.
fn together(passes: &mut Passes, part: &[Span]) -> Together {
    let ignored: Vec<Span> = failing_of(passes).into_iter().filter(|s| !part.contains(s)).collect();
    let found = tasks::find(passes, &ignored);
    let space = match tree::assemble(&found) {
        None => return Together::Never,
        Some(Err(_)) => return Together::Unknown,
        Some(Ok(space)) => space,
    };
    let domains = passes.domains();
    let count = u64::try_from(space.count()).unwrap_or(u64::MAX);
    let mut never = count <= MOST_STRUCTURES;
    for number in 0..count.min(MOST_STRUCTURES) {
        let Some(candidate) = space.unrank(&number.into()) else { break };
        let pass = passes.get(&convert::answers(&space, &candidate, &domains));
        if pass.exploration.conditions.iter().any(|c| !c.holds && part.contains(&c.span)) {
            // Many decisions have a say in it, so it is not in the tree.
            never = false;
            break;
        }
        match pass.reals.find(&|span| part.contains(&span)) {
            Found::Point(point) => return Together::Met(violated(&pass, Some(&point))),
            Found::Never => {}
            Found::Unsettled => never = false,
        }
    }
    if never {
        return Together::Never;
    }
    match Claims::default().meet(passes, part) {
        Some(Some(pass)) => match pass.reals.find(&|span| part.contains(&span)) {
            Found::Point(point) => Together::Met(violated(&pass, Some(&point))),
            Found::Never | Found::Unsettled => Together::Unknown,
        },
        Some(None) => Together::Never,
        None => Together::Unknown,
    }
}

/// All conditions that were met or failed so far.
fn failing_of(passes: &Passes) -> Vec<Span> {
    let mut all: Vec<Span> = passes.all().iter().flat_map(|p| p.exploration.conditions.iter().map(|c| c.span)).collect();
    all.sort_by_key(|s| (s.file, s.start, s.end));
    all.dedup();
    all
}

/// Leaves out what is not needed, one by one.
fn irreducible(passes: &mut Passes, conditions: &[Span]) -> Contradiction {
    let mut needed = conditions.to_vec();
    for condition in conditions {
        let less: Vec<Span> = needed.iter().filter(|c| *c != condition).copied().collect();
        if matches!(together(passes, &less), Together::Never) {
            needed = less;
        }
    }
    Contradiction { conditions: needed, smallest: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use merge_search::Rng;

    #[test]
    fn hitting_sets_are_smallest_and_first() {
        let mut rng = Rng::new(2, "hitting");
        for _ in 0..300 {
            let count = 1 + rng.below(9);
            let sets: Vec<u128> = (0..rng.below(8)).map(|_| 1 + rng.below((1 << count) - 1) as u128).collect();
            let meets = |set: u128| sets.iter().all(|s| s & set != 0);
            let mut all: Vec<u128> = (0..1u128 << count).filter(|set| meets(*set)).collect();
            all.sort_by_key(|set| (set.count_ones(), std::cmp::Reverse(set.reverse_bits())));
            assert_eq!(smallest_hitting(&sets, count), all.first().copied(), "{sets:?}");
        }
    }
}
