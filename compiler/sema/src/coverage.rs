//! Which rule of a model literal covers which tensor, decided by listing.
//!
//! The names of a header are finite, so nothing is proved: every name is given to the first rule that fits
//! it, and what is left over, on either side, is an error. Called by elaboration once for each model
//! literal.
//!
//! Not here: `_` before other rules (`resolve` says so without a header), what the rules give.

mod fold;
mod modules;
#[cfg(test)]
mod tests;

pub use fold::fold_names;
pub use modules::{ModuleShare, cover_modules};

use crate::codes::names::{AMBIGUOUS_CAPTURE, MATCHES_NOTHING, NEVER_REACHED, NOT_COVERED};
use crate::hir::{Lhs, LocalId, Rule, RuleDim};
use crate::pattern::{CaptureValue, Matches, Pattern};
use merge_base::{Diagnostic, Span, did_you_mean, list_names};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

/// What is to be covered.
pub struct Subject<'a> {
    /// Names and shapes of the tensors, in name order.
    pub tensors: &'a [(&'a str, &'a [u64])],
    /// How messages call the model: `base`.
    pub name: &'a str,
    /// Where it stands after `like` or `from`.
    pub span: Span,
}

/// Who covers what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The rule of each tensor, by place in the list; `None` where no rule covers it, which was reported.
    pub rule_of: Vec<Option<usize>>,
    /// What the captures of that rule matched, in their order.
    pub captures: Vec<Vec<CaptureValue>>,
}

/// Gives each tensor to the first rule that fits it.
///
/// `in_domain(rule, capture, value)` says whether `value` is in the list behind the `in` of a capture. Rules
/// that replace a module cover nothing; where a rule could not be read, tensors that are left over are
/// not reported.
pub fn cover(
    rules: &[Rule],
    subject: &Subject<'_>,
    in_domain: &dyn Fn(usize, usize, &CaptureValue) -> bool,
) -> (Coverage, Vec<Diagnostic>) {
    let mut found = Vec::new();
    let mut coverage = Coverage::default();
    let mut share = vec![0_usize; rules.len()];
    let mut ambiguous: BTreeSet<usize> = BTreeSet::new();
    let mut left = Vec::new();
    for (name, shape) in subject.tensors {
        let hit = rules.iter().enumerate().find_map(|(i, rule)| match fit(rule, name, shape, &|c, v| in_domain(i, c, v)) {
            Matches::No => None,
            other => Some((i, other)),
        });
        let Some((rule, matched)) = hit else {
            left.push(*name);
            coverage.rule_of.push(None);
            coverage.captures.push(Vec::new());
            continue;
        };
        share[rule] += 1;
        let captures = match matched {
            Matches::Ambiguous(one, other) => {
                if ambiguous.insert(rule) {
                    found.push(two_ways(&rules[rule], name, &one, &other));
                }
                one
            }
            Matches::One(captures) => captures,
            Matches::No => Vec::new(),
        };
        coverage.rule_of.push(Some(rule));
        coverage.captures.push(captures);
    }
    let unread = rules.iter().any(|r| matches!(r.lhs, Lhs::Error));
    if !left.is_empty() && !unread {
        found.push(not_covered(&left, subject));
    }
    if !subject.tensors.is_empty() {
        for (i, rule) in rules.iter().enumerate().filter(|(i, _)| share[*i] == 0) {
            found.extend(empty_share(rules, i, rule, subject, &coverage, in_domain));
        }
    }
    (coverage, found)
}

/// Whether and how a rule fits a tensor.
fn fit(rule: &Rule, name: &str, shape: &[u64], in_domain: &dyn Fn(usize, &CaptureValue) -> bool) -> Matches {
    if !rule.shape.as_deref().is_none_or(|dims| shape_fits(dims, shape)) {
        return Matches::No;
    }
    match &rule.lhs {
        Lhs::Pattern { pattern, .. } => pattern.matches(name, in_domain),
        Lhs::Rest => Matches::One(Vec::new()),
        Lhs::Module(_) | Lhs::Error => Matches::No,
    }
}

/// Whether a shape fits the dims behind a pattern: the rank, lengths that are written out, and equal
/// lengths where one name stands twice.
fn shape_fits(dims: &[RuleDim], shape: &[u64]) -> bool {
    let rest = dims.iter().position(|d| matches!(d, RuleDim::Rest(_)));
    let fixed = dims.len() - usize::from(rest.is_some());
    if shape.len() < fixed || (rest.is_none() && shape.len() > fixed) {
        return false;
    }
    let mut bound: FxHashMap<LocalId, u64> = FxHashMap::default();
    dims.iter().enumerate().all(|(i, dim)| {
        // Dims behind `..s` are counted from the end.
        let at = if rest.is_some_and(|r| i > r) { shape.len() - (dims.len() - i) } else { i };
        match dim {
            RuleDim::Bind(local) => *bound.entry(*local).or_insert(shape[at]) == shape[at],
            RuleDim::Is(n) => u64::try_from(*n) == Ok(shape[at]),
            RuleDim::Ignore | RuleDim::Rest(_) => true,
        }
    })
}

fn tensors(n: usize) -> String {
    if n == 1 { "1 tensor".to_string() } else { format!("{n} tensors") }
}

fn two_ways(rule: &Rule, name: &str, one: &[CaptureValue], other: &[CaptureValue]) -> Diagnostic {
    let captures = match &rule.lhs {
        Lhs::Pattern { pattern, .. } => pattern.captures(),
        Lhs::Module(m) => m.pattern.captures(),
        _ => &[],
    };
    let show = |values: &[CaptureValue]| {
        let shown: Vec<String> = captures.iter().zip(values).map(|(c, v)| format!("{} = `{v}`", c.name)).collect();
        shown.join(", ")
    };
    Diagnostic::new(AMBIGUOUS_CAPTURE, format!("`{name}` fits this pattern in two ways"), rule.lhs_span, "this pattern")
        .note(format!("one way: {}", show(one)))
        .note(format!("another: {}", show(other)))
        .help("write out a segment beside the capture, so that only one way is left")
}

fn not_covered(left: &[&str], subject: &Subject<'_>) -> Diagnostic {
    let folded = fold_names(left.iter().copied());
    let mut d = Diagnostic::new(
        NOT_COVERED,
        format!("no rule covers {} of `{}`", tensors(left.len()), subject.name),
        subject.span,
        "every tensor needs a rule",
    )
    .note(format!("not covered: {}", list_names(&folded, 6)));
    if let [only] = left {
        d = d.help(format!("add a rule: \"{only}\" => .."));
    }
    d.help(format!("to take all the rest as it is, end with: _ => {}", subject.name))
}

/// The report about a rule that covers nothing, if it is a mistake.
fn empty_share(
    rules: &[Rule],
    index: usize,
    rule: &Rule,
    subject: &Subject<'_>,
    coverage: &Coverage,
    in_domain: &dyn Fn(usize, usize, &CaptureValue) -> bool,
) -> Option<Diagnostic> {
    let plain_rest = |r: &Rule| matches!(r.lhs, Lhs::Rest) && r.shape.is_none();
    if matches!(rule.lhs, Lhs::Module(_) | Lhs::Error) || rules[..index].iter().any(plain_rest) {
        return None;
    }
    // Tensors it would cover were it alone, by the rule that took them.
    let mut taken: Vec<usize> = vec![0; rules.len()];
    for ((name, shape), by) in subject.tensors.iter().zip(&coverage.rule_of) {
        if let Some(by) = by
            && fit(rule, name, shape, &|c, v| in_domain(index, c, v)) != Matches::No
        {
            taken[*by] += 1;
        }
    }
    let all: usize = taken.iter().sum();
    // `"**"?` and its like stand for the rest, if there is one: functions that take the rules' names as arguments need it.
    let rest_if_any = |optional: bool, pattern: &Pattern| optional && subject.tensors.iter().all(|(name, _)| pattern.fits(name));
    if matches!(&rule.lhs, Lhs::Pattern { optional, pattern, .. } if rest_if_any(*optional, pattern)) {
        return None;
    }
    if all > 0 {
        let d = never_reached(rules, rule, &taken, &format!("all {}", tensors(all)), &tensors);
        let help = if plain_rest(rule) {
            "remove it: every tensor has a rule already"
        } else {
            "move it up: the first rule that matches wins"
        };
        return Some(d.help(help));
    }
    match &rule.lhs {
        Lhs::Pattern { optional: true, .. } => None,
        Lhs::Pattern { pattern, .. } => Some(matches_nothing(rule, pattern, subject)),
        _ => {
            let message = format!("no tensor of `{}` has this shape", subject.name);
            Some(Diagnostic::new(MATCHES_NOTHING, message, rule.lhs_span, "matches nothing").help("remove the rule"))
        }
    }
}

/// A rule of which the rules above took `all`; `taken` counts by rule.
fn never_reached(rules: &[Rule], rule: &Rule, taken: &[usize], all: &str, shares: &dyn Fn(usize) -> String) -> Diagnostic {
    let mut d = Diagnostic::new(
        NEVER_REACHED,
        format!("this rule is never reached: the rules above take {all} that it matches"),
        rule.lhs_span,
        "nothing is left for it",
    );
    for (by, n) in taken.iter().enumerate().filter(|(_, n)| **n > 0).take(3) {
        d = d.label(rules[by].lhs_span, format!("takes {}", shares(*n)));
    }
    d
}

fn matches_nothing(rule: &Rule, pattern: &Pattern, subject: &Subject<'_>) -> Diagnostic {
    let message = format!("no tensor of `{}` matches this pattern", subject.name);
    let mut d = Diagnostic::new(MATCHES_NOTHING, message, rule.lhs_span, "matches nothing");
    let by_text: Vec<&(&str, &[u64])> = subject.tensors.iter().filter(|(n, _)| pattern.fits(n)).collect();
    if let Some((name, shape)) = by_text.first() {
        let other_shape = rule.shape.as_deref().is_some_and(|dims| by_text.iter().all(|(_, s)| !shape_fits(dims, s)));
        return if other_shape {
            d.note(format!("{} match by name, but not by shape: `{name}` has {shape:?}", tensors(by_text.len())))
                .help("change the dims in brackets, or leave them out")
        } else {
            d.note(format!("`{name}` fits, but for the list after `in`")).help("change the list after `in`")
        };
    }
    let segments: BTreeSet<&str> = subject.tensors.iter().flat_map(|(n, _)| n.split('.')).collect();
    for (literal, span) in pattern.literals().iter().filter(|(l, _)| !segments.contains(l.as_str())) {
        let close = did_you_mean(literal, segments.iter().copied());
        d = d.note(format!("no name of `{}` has a segment `{literal}`", subject.name));
        if let Some(close) = close {
            d = d.help(format!("did you mean `{close}`?")).fix(format!("write `{close}`"), *span, close);
        }
    }
    d.help(format!("names look like {}; write `\"..\"?` if the tensor may be absent", list_names(&[subject.tensors[0].0], 1)))
}
