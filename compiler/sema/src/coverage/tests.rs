use super::{Coverage, Subject, cover, fold_names};
use crate::hir::{Expr, ExprKind, Lhs, LocalId, Rule, RuleDim};
use crate::pattern::{CaptureValue, Place, parse};
use merge_base::{Diagnostic, FileId, Span};
use merge_grammar::ast::Str;

fn span(start: usize, end: usize) -> Span {
    Span::new(FileId(0), start, end)
}

/// `pattern`, `pattern?` or `_`; rule `i` stands at byte `1000 * i`.
fn rules(patterns: &[(&str, Option<Vec<RuleDim>>)]) -> Vec<Rule> {
    let make = |(i, (text, shape)): (usize, &(&str, Option<Vec<RuleDim>>))| {
        let at = 1000 * i;
        let pattern = text.trim_end_matches('?');
        let string = Str { text: pattern.to_string(), span: span(at, at + pattern.len() + 2) };
        let mut word = |t: &str, span: Span| Expr { kind: ExprKind::Word(t.to_string()), span };
        let lhs = if *text == "_" {
            Lhs::Rest
        } else {
            let pattern = parse(&string, Place::Rule, &mut word).unwrap();
            let captures = (0..pattern.captures().len()).map(|c| LocalId(c as u32)).collect();
            Lhs::Pattern { pattern, captures, optional: text.ends_with('?') }
        };
        let value = Expr { kind: ExprKind::Error, span: string.span };
        Rule { lhs, shape: shape.clone(), lhs_span: string.span, value, span: string.span }
    };
    patterns.iter().enumerate().map(make).collect()
}

const TENSORS: &[(&str, &[u64])] = &[
    ("model.embed.weight", &[12, 8]),
    ("model.layers.0.attn.q.weight", &[8, 8]),
    ("model.layers.0.mlp.up.weight", &[16, 8]),
    ("model.layers.1.attn.q.weight", &[8, 8]),
    ("model.layers.1.mlp.up.weight", &[16, 8]),
    ("model.norm.weight", &[8]),
];

fn covered(patterns: &[(&str, Option<Vec<RuleDim>>)]) -> (Coverage, Vec<Diagnostic>) {
    let subject = Subject { tensors: TENSORS, name: "base", span: span(9000, 9004) };
    let in_domain = |_: usize, _: usize, v: &CaptureValue| *v == CaptureValue::Int(0);
    cover(&rules(patterns), &subject, &in_domain)
}

fn codes(found: &[Diagnostic]) -> Vec<&str> {
    found.iter().map(|d| d.code.0).collect()
}

#[test]
fn the_first_rule_that_fits_wins() {
    let (coverage, found) = covered(&[("model.layers.{l}.mlp.**", None), ("**.layers.**", None), ("_", None)]);
    assert_eq!(codes(&found), [""; 0]);
    assert_eq!(coverage.rule_of, [Some(2), Some(1), Some(0), Some(1), Some(0), Some(2)]);
    assert_eq!(coverage.captures[4], [CaptureValue::Int(1)]);
}

#[test]
fn shapes_choose_too() {
    let dims = |ids: &[u32]| Some(ids.iter().map(|i| RuleDim::Bind(LocalId(*i))).collect::<Vec<_>>());
    let (coverage, found) = covered(&[("_", dims(&[0, 0])), ("_", dims(&[0, 1])), ("_", None)]);
    assert_eq!(codes(&found), [""; 0]);
    assert_eq!(coverage.rule_of, [Some(1), Some(0), Some(1), Some(0), Some(1), Some(2)]);
    let last = Some(vec![RuleDim::Rest(LocalId(0)), RuleDim::Is(8)]);
    assert_eq!(covered(&[("**", last)]).0.rule_of, [Some(0); 6]);
    assert_eq!(codes(&covered(&[("_", Some(vec![])), ("_", None)]).1), ["E1302"]);
}

#[test]
fn what_is_left_over_is_listed_folded() {
    let (_, found) = covered(&[("**.mlp.**", None)]);
    assert_eq!(codes(&found), ["E1304"]);
    assert_eq!(found[0].message, "no rule covers 4 tensors of `base`");
    assert_eq!(found[0].notes, ["not covered: `model.layers.0..1.attn.q.weight` and `model.{embed|norm}.weight`"]);
}

#[test]
fn a_rule_that_matches_nothing_is_an_error_with_a_suggestion() {
    let (_, found) = covered(&[("model.layer.{l}.mlp.**", None), ("_", None)]);
    assert_eq!(codes(&found), ["E1302"]);
    assert_eq!(found[0].fixes[0].replacement, "layers");
    assert_eq!(found[0].fixes[0].span, span(7, 12));
    assert_eq!(codes(&covered(&[("**.bias?", None), ("_", None)]).1), [""; 0]);
}

#[test]
fn the_rest_if_any_may_be_nothing() {
    assert_eq!(codes(&covered(&[("model.**", None), ("**", None)]).1).len(), 1);
    assert_eq!(codes(&covered(&[("model.**", None), ("**?", None)]).1), [""; 0]);
    assert_eq!(codes(&covered(&[("**.norm.weight", None), ("**.norm.*?", None), ("_", None)]).1).len(), 1);
}

#[test]
fn a_rule_behind_others_is_never_reached() {
    let (_, found) = covered(&[("**.mlp.**", None), ("model.layers.**", None), ("**.up.weight", None), ("_", None)]);
    assert_eq!(codes(&found), ["E1303"]);
    assert_eq!(found[0].primary_span(), Some(span(2000, 2014)));
    assert_eq!(found[0].labels[1].span, span(0, 11));
    assert_eq!(codes(&covered(&[("**", None), ("_", None)]).1), ["E1303"]);
}

#[test]
fn two_captures_for_one_name_are_an_error() {
    let (_, found) = covered(&[("{a: **}.{b: **}", None)]);
    assert_eq!(codes(&found), ["E1305"]);
}

#[test]
fn lists_after_in_restrict() {
    let (coverage, found) = covered(&[("model.layers.{l in xs}.mlp.**", None), ("_", None)]);
    assert_eq!(codes(&found), [""; 0]);
    assert_eq!((coverage.rule_of[2], coverage.rule_of[4]), (Some(0), Some(1)));
}

#[test]
fn names_fold() {
    let fold = |names: &[&str]| fold_names(names.iter().copied());
    assert_eq!(fold(&["a.0.w", "a.1.w", "a.2.w", "a.5.w"]), ["a.{0..2, 5}.w"]);
    assert_eq!(fold(&["a.0.e.0.w", "a.0.e.1.w", "a.1.e.0.w", "a.1.e.1.w"]), ["a.0..1.e.0..1.w"]);
    assert_eq!(fold(&["a.0.e.0.w", "a.0.e.1.w", "a.1.e.0.w"]), ["a.0.e.0..1.w", "a.1.e.0.w"]);
    assert_eq!(fold(&["m.q.w", "m.q.b", "m.k.w", "m.k.b"]), ["m.{k|q}.{b|w}"]);
    assert_eq!(fold(&["m.a", "m.b", "m.c", "m.d", "m.e"]), ["m.*"]);
    assert_eq!(fold(&["x"]), ["x"]);
    assert!(fold(&[]).is_empty());
}
