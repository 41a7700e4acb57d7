use super::{CaptureValue, Kind, Matches, Pattern, Place, is_pattern, parse};
use crate::hir::{Expr, ExprKind};
use merge_base::{Diagnostic, FileId, Span};
use merge_grammar::ast::Str;

fn string(text: &str) -> Str {
    Str { text: text.to_string(), span: Span::new(FileId(0), 100, 102 + text.len()) }
}

/// Expressions are `a..b`, an int list, or a name; that is enough to see what the parser does with them.
fn expr(text: &str, span: Span) -> Expr {
    let int = |t: &str| Expr { kind: ExprKind::Int(t.trim().parse().unwrap_or(0)), span };
    let kind = if text.contains("..") {
        ExprKind::Range { start: None, end: None, inclusive: false }
    } else if let Some(list) = text.strip_prefix('[') {
        ExprKind::List(list.trim_end_matches(']').split(',').map(int).collect())
    } else {
        ExprKind::Word(text.to_string())
    };
    Expr { kind, span }
}

fn read(text: &str, place: Place) -> Result<Pattern, Vec<Diagnostic>> {
    parse(&string(text), place, &mut expr)
}

fn rule(text: &str) -> Pattern {
    read(text, Place::Rule).unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
}

fn matches(pattern: &str, name: &str) -> Option<Vec<String>> {
    match rule(pattern).matches(name, &|_, _| true) {
        Matches::No => None,
        Matches::One(values) => Some(values.iter().map(ToString::to_string).collect()),
        Matches::Ambiguous(a, b) => panic!("{pattern} on {name}: {a:?} or {b:?}"),
    }
}

fn fault(text: &str) -> Diagnostic {
    read(text, Place::Rule).err().and_then(|f| f.into_iter().next()).unwrap_or_else(|| panic!("{text} should not be read"))
}

#[test]
fn text_matches_itself() {
    assert!(matches("model.norm.weight", "model.norm.weight").is_some());
    assert!(matches("model.norm", "model.norm.weight").is_none());
    assert!(matches("model.norm.weight", "xmodel.norm.weight").is_none());
}

#[test]
fn a_star_stays_in_its_segment() {
    assert!(matches("model.*.weight", "model.norm.weight").is_some());
    assert!(matches("model.*.weight", "model.a.b.weight").is_none());
    assert!(matches("*_proj", "_proj").is_none(), "one character at least");
    assert!(matches("*_proj", "q_proj").is_some());
    assert!(matches("a*c*e", "abcde").is_some());
}

#[test]
fn two_stars_are_whole_segments_or_none() {
    for name in ["mlp", "a.mlp", "a.b.mlp.c.d", "mlp.c"] {
        assert!(matches("**.mlp.**", name).is_some(), "{name}");
    }
    for name in ["amlp", "a.mlpb", "a.b"] {
        assert!(matches("**.mlp.**", name).is_none(), "{name}");
    }
    assert!(matches("**", "a.b").is_some());
    assert!(matches("a.**.b", "a.b").is_some());
    assert!(matches("a.**.b", "a.xb").is_none());
}

#[test]
fn captures_bind() {
    assert_eq!(matches("model.layers.{l}.self_attn.**", "model.layers.17.self_attn.q.weight"), Some(vec!["17".into()]));
    assert_eq!(matches("h.{l}", "h.x"), None);
    assert_eq!(matches("{p: q_proj|v_proj}.weight", "v_proj.weight"), Some(vec!["v_proj".into()]));
    assert_eq!(matches("language_model.{n: **}", "language_model.a.b"), Some(vec!["a.b".into()]));
    assert_eq!(matches("{n: **.o_proj}.weight", "l.0.o_proj.weight"), Some(vec!["l.0.o_proj".into()]));
    assert_eq!(matches("{n: **.o_proj}.weight", "o_proj.weight"), Some(vec!["o_proj".into()]));
    assert_eq!(matches("{b: **}.{m: qkv|proj}.weight", "a.b.proj.weight"), Some(vec!["a.b".into(), "proj".into()]));
    assert_eq!(matches("{b: **}.proj", "proj"), Some(vec![String::new()]));
    assert_eq!(matches("x.{part: **}", "x"), Some(vec![String::new()]));
    assert_eq!(matches("{n: *}.weight", "a.b.weight"), None);
    assert_eq!(matches("w{k}", "w12"), Some(vec!["12".into()]));
}

#[test]
fn alternatives_may_hold_dots_and_nest() {
    for name in ["model.embed_tokens.weight", "lm_head.weight"] {
        assert!(matches("{model.embed_tokens|lm_head}.weight", name).is_some(), "{name}");
    }
    assert!(matches("**.{embed_tokens|lm_head}.weight", "lm_head.weight").is_some());
    assert!(matches("{a|b.{c|d}}.w", "b.d.w").is_some());
    assert!(matches("x_{q|k}.w", "x_k.w").is_some());
}

#[test]
fn domains_are_asked() {
    let p = rule("features.{l in [0, 2, 5]}.*");
    assert_eq!(p.captures()[0].kind, Kind::Int);
    let in_list = |_: usize, v: &CaptureValue| matches!(v, CaptureValue::Int(0 | 2 | 5));
    assert_eq!(p.matches("features.2.bias", &in_list), Matches::One(vec![CaptureValue::Int(2)]));
    assert_eq!(p.matches("features.3.bias", &in_list), Matches::No);

    let p = rule("{n in picked}");
    assert_eq!(p.captures()[0].kind, Kind::Member);
    let picked = |_: usize, v: &CaptureValue| v.to_string() == "a.b";
    assert_eq!(p.matches("a.b", &picked), Matches::One(vec![CaptureValue::Str("a.b".into())]));
    assert_eq!(p.matches("a.c", &picked), Matches::No);
}

#[test]
fn two_ways_with_different_captures_are_reported() {
    let p = rule("**.{n: a|b}.**");
    assert!(matches!(p.matches("a.b", &|_, _| true), Matches::Ambiguous(..)));
    assert_eq!(p.matches("a.a", &|_, _| true), Matches::One(vec![CaptureValue::Str("a".into())]));
}

#[test]
fn expressions_stand_in_indices_only() {
    assert!(is_pattern("model.{l}.**") && is_pattern("{a|b}.w") && is_pattern("{l in 0..3}.w") && is_pattern("{n: *}"));
    assert!(!is_pattern("model.layers.{l + 8}.weight") && !is_pattern("model.norm") && !is_pattern("{a * b}.w"));
    let p = read("{n}.layers.{l + 8}.**", Place::Index).unwrap();
    assert_eq!(p.holes().len(), 2);
    assert!(p.with_holes(&["model".into(), "12".into()]).fits("model.layers.12.norm"));
    assert!(p.with_holes(&[String::new(), "12".into()]).fits("layers.12.norm"), "an empty text takes its dot along");
    assert!(fault("layers.{l + 8}.w").message.contains("cannot compute"));
}

#[test]
fn faults_say_where() {
    for (text, start, end) in [
        ("a.{b", 2, 3),
        ("a}.b", 1, 2),
        ("a..b", 2, 3),
        (".a", 0, 1),
        ("a.", 1, 2),
        ("a**.b", 1, 3),
        ("**a", 2, 3),
        ("{a|}.b", 3, 4),
        ("a.{}.b", 2, 4),
        ("{l}.{l}", 5, 6),
        ("{n: {m: a}}", 4, 10),
        ("", 0, 0),
    ] {
        let span = fault(text).primary_span().unwrap();
        assert_eq!((span.start - 101, span.end - 101), (start, end), "{text}");
    }
}

#[test]
fn written_out_segments_are_known_with_their_places() {
    let p = rule("model.layers.{l}.{p: q_proj|self_attn.k_proj}.*.weight_*");
    let names: Vec<_> = p.literals().iter().map(|(n, s)| (n.as_str(), s.start - 101)).collect();
    assert_eq!(names, [("model", 0), ("layers", 6), ("q_proj", 21), ("self_attn", 28), ("k_proj", 38)]);
}

#[test]
fn a_literal_segment_beside_a_wildcard_in_it_is_no_literal() {
    let p = rule("weight_{a|b}.x");
    assert_eq!(p.literals().iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["x", "a", "b"]);
}

#[test]
fn no_text_makes_it_panic() {
    let alphabet: Vec<char> = "ab.*{}|:é 1in_+".chars().collect();
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push(alphabet[(state >> 33) as usize % alphabet.len()]);
        }
        for place in [Place::Rule, Place::Index] {
            if let Ok(p) = read(&text, place) {
                p.with_holes(&vec!["a.b".to_string(); p.holes().len()]).matches("a.b.1.é.ab", &|_, _| true);
            }
        }
        is_pattern(&text);
    }
}
