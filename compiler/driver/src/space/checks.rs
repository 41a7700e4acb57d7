//! Candidates for the checks: every combination of the decisions that something is computed from together.

use super::passes::{Answered, Pass, Passes, values_of};
use merge_base::Diagnostic;
use merge_sema::space::{Answer, Domain};
use std::collections::{BTreeMap, BTreeSet};

/// The most faults whose candidates are looked into.
const MOST_FAULTS: usize = 8;

/// Decisions that are tried in every combination.
struct Set {
    ids: Vec<String>,
    values: Vec<Vec<Answer>>,
    /// Combinations still to be tried, by number; the last first.
    open: BTreeSet<u64>,
}

impl Set {
    fn combination(&self, mut number: u64) -> impl Iterator<Item = (&String, &Answer)> {
        self.ids.iter().zip(&self.values).map(move |(id, values)| {
            let value = &values[(number % values.len() as u64) as usize];
            number /= values.len() as u64;
            (id, value)
        })
    }

    /// The number of the combination that a candidate has, if it has all of these decisions.
    fn number(&self, answers: &BTreeMap<&str, &Answer>) -> Option<u64> {
        let (mut number, mut base) = (0, 1);
        for (id, values) in self.ids.iter().zip(&self.values) {
            let answer = answers.get(id.as_str())?;
            number += base * values.iter().position(|v| v == *answer)? as u64;
            base *= values.len() as u64;
        }
        Some(number)
    }
}

/// Elaborates candidates until every combination of decisions that meet in a computation was tried. What was left to the
/// candidates themselves comes back, as sentences.
pub(super) fn cover(passes: &mut Passes) -> Vec<String> {
    let mut sets: Vec<Set> = Vec::new();
    let mut known: BTreeSet<Vec<String>> = BTreeSet::new();
    let mut large: Vec<String> = Vec::new();
    let mut seen = 0;
    loop {
        for pass in passes.all().iter().skip(seen) {
            seen += 1;
            collect(pass, &mut sets, &mut known, &mut large);
            let answers: BTreeMap<&str, &Answer> = pass.decisions.iter().map(|d| (d.id.as_str(), &d.answer)).collect();
            for set in &mut sets {
                if let Some(number) = set.number(&answers) {
                    set.open.remove(&number);
                }
            }
        }
        if sets.iter().all(|s| s.open.is_empty()) {
            break;
        }
        if seen >= super::MOST_PASSES {
            large.push("the checks mention more combinations of decisions than can be tried beforehand".into());
            break;
        }
        // One combination of each set, where they do not contradict each other.
        let mut answered = Answered::new();
        for set in &mut sets {
            let fits = |number: &u64| set.combination(*number).all(|(id, v)| answered.get(id).is_none_or(|known| known == v));
            let next = set.open.iter().copied().take(256).find(fits);
            if let Some(number) = next {
                let chosen: Vec<(String, Answer)> = set.combination(number).map(|(id, v)| (id.clone(), v.clone())).collect();
                answered.extend(chosen);
                set.open.remove(&number);
            }
        }
        passes.get(&answered);
    }
    large
}

fn collect(pass: &Pass, sets: &mut Vec<Set>, known: &mut BTreeSet<Vec<String>>, large: &mut Vec<String>) {
    // A set inside another is tried with it.
    let mentions = &pass.exploration.mentions;
    let inside = |a: &[u32], b: &[u32]| a.len() < b.len() && a.iter().all(|d| b.contains(d));
    for mention in mentions {
        let ids: Vec<String> = mention.iter().map(|d| pass.decisions[*d as usize].id.clone()).collect();
        if known.contains(&ids)
            || mentions.len() < 400 && mentions.iter().any(|m| pass.combinations(m).is_some() && inside(mention, m))
        {
            continue;
        }
        known.insert(ids.clone());
        match pass.combinations(mention) {
            Some(count) => {
                let domain = |d: &u32| -> &Domain { &pass.decisions[*d as usize].domain };
                let values = mention.iter().map(|d| values_of(domain(d))).collect();
                sets.push(Set { ids, values, open: (0..count as u64).collect() });
            }
            None => {
                // The values of each are tried at least once.
                for d in mention {
                    let decision = &pass.decisions[*d as usize];
                    let alone = vec![decision.id.clone()];
                    if pass.combinations(&[*d]).is_some() && known.insert(alone.clone()) {
                        let values = vec![values_of(&decision.domain)];
                        let open = (0..values[0].len() as u64).collect();
                        sets.push(Set { ids: alone, values, open });
                    }
                }
                if large.is_empty() {
                    large.push(format!(
                        "some checks mention {} decisions at once, more than {} combinations: each candidate is checked before it is built",
                        mention.len(),
                        super::MOST_COMBINATIONS
                    ));
                }
            }
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

/// The answers without which a fault is gone.
fn needed(passes: &mut Passes, pass: &Pass, fault: &Diagnostic) -> Vec<String> {
    let same = |p: &Pass| {
        p.is_feasible() && p.diagnostics.iter().any(|d| d.code == fault.code && d.primary_span() == fault.primary_span())
    };
    let mut answered = pass.answered.clone();
    for id in pass.answered.keys() {
        let mut less = answered.clone();
        less.remove(id);
        if same(&passes.get(&less)) {
            answered = less;
        }
    }
    let text = |(id, a): (&String, &Answer)| {
        let own = pass.decisions.iter().find(|d| d.id == *id);
        own.map(|d| format!("`{id}` = {}", d.domain.text(a)))
    };
    answered.iter().filter_map(text).collect()
}
