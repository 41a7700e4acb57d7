//! Broken text gives one precise error for each mistake, and the rest of the tree.

use merge_base::{Diagnostic, FileId};
use merge_grammar::ast::{ExprKind, Item, Lhs, Stmt, Tail};
use merge_grammar::{MAX_DEPTH, parse, parse_expr};

/// `code@line` of every finding.
fn found(text: &str) -> Vec<String> {
    parse(FileId(0), text).1.iter().map(|d| at(text, d)).collect()
}

fn at(text: &str, d: &Diagnostic) -> String {
    let start = d.primary_span().expect("it has a place").start as usize;
    format!("{}@{}", d.code, text[..start].matches('\n').count() + 1)
}

/// The only finding of a text.
fn only(text: &str) -> Diagnostic {
    let (_, mut all) = parse(FileId(0), text);
    assert_eq!(all.len(), 1, "{text}: {all:#?}");
    all.remove(0)
}

/// Applies the first fix of the only finding.
fn fixed(text: &str) -> String {
    let d = only(text);
    let fix = d.fixes.first().unwrap_or_else(|| panic!("{text}: no fix in {d:#?}"));
    let out = format!("{}{}{}", &text[..fix.span.start as usize], fix.replacement, &text[fix.span.end as usize..]);
    assert_eq!(found(&out), Vec::<String>::new(), "{text} became {out}");
    out
}

#[test]
fn every_broken_item_has_its_own_error_and_the_others_are_there() {
    let text = "\
let a = checkpoint(\"a\")
let b = = 3
fn f(x: weight[..s] -> weight[..s] { x }
let c = a +
save c to \"out\" { dtype bf16 }
savee c to \"out\"
let d = mean([a, c])
";
    assert_eq!(found(text), ["E0002@2", "E0006@3", "E0002@4", "E0002@5", "E0012@6"]);
    let (tree, _) = parse(FileId(0), text);
    let kinds: Vec<&str> = tree
        .items
        .iter()
        .map(|i| match i {
            Item::Let(_) => "let",
            Item::Fn(_) => "fn",
            Item::Save(_) => "save",
            Item::Error(_) => "error",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["let", "error", "fn", "error", "save", "error", "let"]);
}

#[test]
fn every_broken_rule_and_statement_has_its_own_error() {
    let text = "\
let m = like base {
    let x = * 3
    \"a.**\" = mean([a, b])
    \"b.**\" => mean([a b])
    \"c.**\" => ties(base, [a, b], density: )
    \"d.**\" => base
    _       => slerp(a, b, t 0.5)
}
";
    assert_eq!(found(text), ["E0002@2", "E0015@3", "E0002@4", "E0002@5", "E0002@7"]);
    let (tree, _) = parse(FileId(0), text);
    let Item::Let(item) = &tree.items[0] else { panic!("{tree:#?}") };
    let ExprKind::Model(model) = &item.value.kind else { panic!("{item:#?}") };
    let kept: Vec<&str> = model
        .rules
        .iter()
        .filter_map(|r| if let Lhs::Pattern { pattern, .. } = &r.lhs { Some(pattern.text.as_str()) } else { None })
        .collect();
    assert!(kept.contains(&"d.**"), "{kept:?}");
    assert!(kept.contains(&"c.**"), "{kept:?}");
}

#[test]
fn a_broken_statement_leaves_the_others_of_its_body() {
    let text = "\
fn f(x: weight[..s]) -> weight[..s] {
    let a = norm(x
    let b = a *
    let c = x
    c + c )
    let d = 4 4
    c
}
let z = 1
";
    assert_eq!(found(text), ["E0006@2", "E0002@4", "E0007@5", "E0018@6"]);
    let (tree, _) = parse(FileId(0), text);
    assert_eq!(tree.items.len(), 2);
    let Item::Fn(f) = &tree.items[0] else { panic!("{tree:#?}") };
    assert!(
        f.body
            .stmts
            .iter()
            .any(|s| matches!(s, Stmt::Let(l) if matches!(&l.pattern, merge_grammar::ast::Binding::Name(n) if n.text == "a")))
    );
}

#[test]
fn an_unclosed_brace_ends_at_the_next_item_of_the_first_column() {
    let text = "fn f(x: f32) -> f32 {\n    x\n\nlet a = 1\nlet b = a\nsave b to \"c\"\n";
    assert_eq!(found(text), ["E0006@1"]);
    let (tree, diagnostics) = parse(FileId(0), text);
    assert_eq!(tree.items.len(), 4);
    assert_eq!(diagnostics[0].labels[0].span.start, 20);
    let Item::Fn(f) = &tree.items[0] else { panic!("{tree:#?}") };
    assert!(matches!(f.body.tail, Tail::Value(_)));
}

#[test]
fn unclosed_brackets_point_at_the_opener_and_at_the_place_to_close() {
    let d = only("let a = f(b, [1, 2)\nlet c = 3\n");
    assert_eq!((d.code.0, d.labels[0].span.start, d.labels[1].span.start), ("E0006", 13, 18));
    assert_eq!(
        fixed("let a = mean([b, c])\nlet c = f(x, g(y)\nlet d = 3"),
        "let a = mean([b, c])\nlet c = f(x, g(y))\nlet d = 3"
    );
    assert_eq!(fixed("let a = f(b, 3]"), "let a = f(b, 3)");
    assert_eq!(fixed("let a = f(b))"), "let a = f(b)");
}

#[test]
fn fixes_cure_what_they_belong_to() {
    for (broken, cured) in [
        ("let a = b -c", "let a = b - c"),
        ("let a = { let x = b -c\n x }", "let a = { let x = b - c\n x }"),
        ("let a = f (b)", "let a = f(b)"),
        ("let a = m [\"x\"]", "let a = m[\"x\"]"),
        ("let a = b; let c = b", "let a = b let c = b"),
        ("# hello\nlet a = b", "// hello\nlet a = b"),
        ("a = b", "let a = b"),
        ("let a = like b { _ = b }", "let a = like b { _ => b }"),
        ("let a = like b { \"x\" => b, _ => c }", "let a = like b { \"x\" => b _ => c }"),
        ("let a = 'text'", "let a = \"text\""),
        ("let a = \"b\\d\"", "let a = \"b\\\\d\""),
        ("let a = b && c", "let a = b  and  c"),
        ("let a = not b || !c", ""),
        ("sav b to \"c\"", "save b to \"c\""),
        ("let a = 3 − 2", ""),
    ] {
        if cured.is_empty() {
            assert!(!found(broken).is_empty());
        } else {
            assert_eq!(fixed(broken), cured);
        }
    }
}

#[test]
fn each_mistake_has_its_code() {
    for (text, code) in [
        ("let a = §", "E0001"),
        ("let a = f(1 2)", "E0002"),
        ("let a = a < b < c", "E0002"),
        ("let a = \"abc", "E0003"),
        ("let a = \"\\q\"", "E0004"),
        ("let a = 99999999999999999999", "E0005"),
        ("let a = 5gb", "E0005"),
        ("let a = 12abc", "E0005"),
        ("let a = 1e999", "E0005"),
        ("let a = 1.5.2", "E0002"),
        ("let a = (b", "E0006"),
        ("let a = b}", "E0007"),
        ("let a = b\n    -c", "E0008"),
        ("let a = mean ([b])", "E0009"),
        ("let to = 3", "E0010"),
        ("let a = f(from: 3)", "E0010"),
        ("fn f(in: f32) -> f32 { 1 }", "E0010"),
        ("merge_method: ties\nmodels:\n  - model: a\n", "E0012"),
        ("/* a */ let b = c", "E0013"),
        ("let a = f(b);", "E0014"),
        ("let a = from b { \"x\" -> b _ => c }", "E0015"),
        ("let a = b ^ 2", "E0016"),
        ("let a = b ** 2", "E0016"),
        ("let a = b % 2", "E0016"),
        ("fn f(x: f32) -> f32 { let y = x }", "E0017"),
        ("fn f(x: f32) -> f32 { x x }", "E0018"),
        ("let a = if b { c }", "E0019"),
        ("let a = { let x = if b { c } x }", "E0019"),
        ("let a = like b { _ => c let d = 1 }", "E0020"),
    ] {
        assert_eq!(only(text).code.0, code, "{text}");
    }
}

#[test]
fn messages_say_what_was_found_and_what_is_expected() {
    let d = only("let a = f(1 2)");
    assert_eq!(d.message, "the number `2` cannot stand here");
    assert_eq!(d.labels[0].message, "`)` or `,` is expected after the number `1`");
    assert_eq!(only("let a = ").message, "this ends too early: a value is expected after `=`");
    assert_eq!(only("let a b").labels[0].message, "`=` or `:` is expected after the name `a`");
    assert_eq!(only("fn f(x: f32) { x }").labels[0].message, "`->` is expected after `)`");
}

#[test]
fn very_deep_text_is_refused_without_a_crash() {
    let deep = |open: &str, close: &str| format!("let a = {}b{}", open.repeat(20_000), close.repeat(20_000));
    for text in [
        deep("(", ")"),
        deep("[", "]"),
        deep("{ ", " }"),
        deep("f(", ")"),
        deep("- ", ""),
        deep("not ", ""),
        deep("1 + ", ""),
        deep("", "[0]"),
        deep("if a { b } else ", ""),
        deep("choose a in b = ", ""),
        deep("like ", " { _ => a }"),
        deep("fold a = b for c in ", ""),
        deep("fold a = b\nfor c in ", ""),
        deep("(", ""),
        deep("", ")"),
    ] {
        let (tree, diagnostics) = parse(FileId(0), &text);
        assert!(!diagnostics.is_empty() && diagnostics.len() < 10, "{} findings", diagnostics.len());
        drop(tree);
    }
    let fine = format!("let a = {}b{}", "(".repeat(MAX_DEPTH - 10), ")".repeat(MAX_DEPTH - 10));
    assert_eq!(found(&fine), Vec::<String>::new());
    let long: String = (0..2000).map(|i| format!("    choose c{i} in [a + b, -c]\n")).collect();
    assert_eq!(found(&format!("let a = {{\n{long}    c1\n}}\n")), Vec::<String>::new());
}

#[test]
fn the_place_of_a_hole_is_that_in_the_file() {
    let (expr, diagnostics) = parse_expr(FileId(0), "l + 8", 100);
    assert!(diagnostics.is_empty());
    assert_eq!((expr.span.start, expr.span.end), (100, 105));
    let (expr, diagnostics) = parse_expr(FileId(0), "l + ", 100);
    assert_eq!(expr.kind, ExprKind::Error);
    assert_eq!(diagnostics[0].primary_span().map(|s| s.start), Some(102));
    let (expr, diagnostics) = parse_expr(FileId(0), " ", 7);
    assert_eq!((expr.kind, diagnostics.len()), (ExprKind::Error, 1));
    let (_, diagnostics) = parse_expr(FileId(0), "l let x = 3", 0);
    assert_eq!(diagnostics.len(), 1);
}
