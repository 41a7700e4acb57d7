//! Which rule replaces which module, decided by listing.
//!
//! A module is what stands before a dot in the name of some tensor: `model.layers.0` and `model.layers.0.mlp` for
//! `model.layers.0.mlp.up_proj.weight`. The first rule that fits one replaces it; modules that no rule fits stay as they are,
//! and their tensors go to the other rules either way.

use super::{Subject, never_reached, two_ways};
use crate::codes::names::MATCHES_NOTHING;
use crate::hir::{Lhs, Rule};
use crate::pattern::{CaptureValue, Matches, Pattern};
use merge_base::{Diagnostic, did_you_mean, list_names};
use std::collections::BTreeSet;

/// A module with the rule that replaces it, and what the captures of that rule matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleShare {
    pub name: String,
    pub rule: usize,
    pub captures: Vec<CaptureValue>,
}

/// The paths of all modules of a model, sorted.
fn modules<'a>(subject: &Subject<'a>) -> BTreeSet<&'a str> {
    subject.tensors.iter().flat_map(|(name, _)| name.match_indices('.').map(|(at, _)| &name[..at])).collect()
}

/// Gives each module to the first rule about modules that fits it; sorted by name.
///
/// `in_domain(rule, capture, value)` says whether `value` is in the list behind the `in` of a capture.
pub fn cover_modules(
    rules: &[Rule],
    subject: &Subject<'_>,
    in_domain: &dyn Fn(usize, usize, &CaptureValue) -> bool,
) -> (Vec<ModuleShare>, Vec<Diagnostic>) {
    let of_modules: Vec<(usize, &Rule, &Pattern)> = rules
        .iter()
        .enumerate()
        .filter_map(|(i, rule)| if let Lhs::Module(m) = &rule.lhs { Some((i, rule, &m.pattern)) } else { None })
        .collect();
    let (mut shares, mut found) = (Vec::new(), Vec::new());
    if of_modules.is_empty() {
        return (shares, found);
    }
    let modules = modules(subject);
    let mut taken = vec![vec![0_usize; rules.len()]; rules.len()];
    let mut ambiguous = BTreeSet::new();
    for name in &modules {
        let mut by = None;
        for (i, rule, pattern) in &of_modules {
            let matched = pattern.matches(name, &|c, v| in_domain(*i, c, v));
            let captures = match matched {
                Matches::No => continue,
                Matches::One(captures) => captures,
                Matches::Ambiguous(one, other) => {
                    if by.is_none() && ambiguous.insert(*i) {
                        found.push(two_ways(rule, name, &one, &other));
                    }
                    one
                }
            };
            let first = *by.get_or_insert(*i);
            taken[*i][first] += 1;
            if first == *i {
                shares.push(ModuleShare { name: (*name).to_owned(), rule: *i, captures });
            }
        }
    }
    if !subject.tensors.is_empty() {
        for (i, rule, pattern) in &of_modules {
            match taken[*i].iter().sum::<usize>() {
                0 => found.push(matches_nothing(rule, pattern, subject, &modules)),
                _ if taken[*i][*i] > 0 => {}
                n => found.push(
                    never_reached(rules, rule, &taken[*i], &count(n), &modules_of)
                        .help("move it up: the first rule that matches wins"),
                ),
            }
        }
    }
    (shares, found)
}

fn modules_of(n: usize) -> String {
    if n == 1 { "1 module".to_string() } else { format!("{n} modules") }
}

fn count(n: usize) -> String {
    if n == 1 { "the one module".to_string() } else { format!("all {n} modules") }
}

fn matches_nothing(rule: &Rule, pattern: &Pattern, subject: &Subject<'_>, modules: &BTreeSet<&str>) -> Diagnostic {
    let message = format!("no module of `{}` matches this pattern", subject.name);
    let mut d = Diagnostic::new(MATCHES_NOTHING, message, rule.lhs_span, "matches nothing");
    if let Some((tensor, _)) = subject.tensors.iter().find(|(n, _)| pattern.fits(n)) {
        let (module, last) = tensor.rsplit_once('.').unwrap_or((tensor, ""));
        d = d.note(format!("`{tensor}` is a tensor, and a module is what stands before a dot in such a name"));
        return match module.is_empty() {
            true => d,
            false => d.help(format!("leave out `.{last}`, or give the tensor a rule of its own, without `as`")),
        };
    }
    let segments: BTreeSet<&str> = modules.iter().flat_map(|m| m.split('.')).collect();
    for (literal, span) in pattern.literals().iter().filter(|(l, _)| !segments.contains(l.as_str())) {
        d = d.note(format!("no module of `{}` has a segment `{literal}`", subject.name));
        if let Some(close) = did_you_mean(literal, segments.iter().copied()) {
            d = d.help(format!("did you mean `{close}`?")).fix(format!("write `{close}`"), *span, close);
        }
    }
    // The deepest path shows most of how they look.
    let deepest = modules.iter().max_by_key(|m| m.matches('.').count()).copied();
    match deepest {
        Some(path) => d.help(format!("paths of modules look like {}", list_names(&[path], 1))),
        None => d.help(format!("`{}` has no modules: no name of a tensor has a dot in it", subject.name)),
    }
}
