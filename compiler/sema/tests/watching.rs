//! What an elaboration that watches says about dependence.

mod support;

use merge_sema::Answers;
use merge_sema::space::{Answer, Exploration};
use std::collections::BTreeMap;
use support::{Outcome, run, stand_ins};

const HEAD: &str = "let base = checkpoint(\"base\")[\"**.weight\"]\nlet math = checkpoint(\"math\")[\"**.weight\"]\n\
                    let code = checkpoint(\"code\")[\"**.weight\"]\n";

fn watched(recipe: &str, assigned: &[(&str, Answer)]) -> Outcome {
    let assigned = assigned.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
    let outcome = run(&format!("{HEAD}{recipe}"), stand_ins(), &Answers { assigned, watch: true, ..Answers::default() });
    assert!(outcome.codes().iter().all(|c| *c == "W1020"), "{}", outcome.said());
    outcome
}

fn exploration(outcome: &Outcome) -> &Exploration {
    outcome.elaborated.exploration.as_ref().unwrap()
}

/// By id, the ids it depends on.
fn depends(outcome: &Outcome) -> BTreeMap<String, Vec<String>> {
    let id = |i: u32| outcome.elaborated.decisions[i as usize].id.clone();
    let all = exploration(outcome).depends.iter().enumerate();
    all.map(|(i, d)| (id(i as u32), d.iter().map(|d| id(*d)).collect())).collect()
}

#[track_caller]
fn check(recipe: &str, assigned: &[(&str, Answer)], expected: &[(&str, &[&str])]) {
    let found = depends(&watched(recipe, assigned));
    for (id, on) in expected {
        assert_eq!(found.get(*id), Some(&on.iter().map(|s| s.to_string()).collect()), "{id}: {found:#?}");
    }
}

#[test]
fn independent_decisions_depend_on_nothing() {
    let recipe = "
choose a in 1..=3
choose b in [true, false]
choose t in 0.0..=1.0
let m = like base { \"model.layers.{l}.**\" => lerp(base * a / a, math, choose w in 0.0..=1.0)
    _ => if b { base } else { lerp(base, code, t) } }
let n = like m { \"model.layers.{l}.**\" => choose which in [m, code]  _ => m }
save n to \"out\"
";
    check(recipe, &[], &[("a", &[]), ("b", &[]), ("m.w[0]", &[]), ("m.w[3]", &[]), ("n.which[2]", &[])]);
}

#[test]
fn conditions_lists_arms_and_domains_are_followed() {
    let recipe = "
choose n in 1..=3 = 2
choose most in 2..=4
choose flag in [true, false]
let ws = [choose w in 0.0..=1.0 for i in 0..n]
let inner = if flag { choose deep in 1..=most } else { 1 }
let m = like base {
    \"model.layers.{l}.mlp.**\" => choose method per l {
        mix => lerp(base, math, choose t in 0.0..=1.0)
        far => base + (choose s in 0.0..=2.0) * (math - base) * inner
    }
    _ => lerp(base, code, sum(ws))
}
save m to \"out\"
";
    let mix: &[(&str, &[&str])] = &[
        ("ws.w[0]", &["n"]),
        ("ws.w[1]", &["n"]),
        ("inner.deep", &["most", "flag"]),
        ("m.method[1]", &[]),
        ("m.method[1].mix.t", &["m.method[1]"]),
    ];
    check(recipe, &[], mix);
    check(recipe, &[("m.method[1]", Answer::Member(1))], &[("m.method[1].far.s", &["m.method[1]"])]);
}

#[test]
fn parameters_keep_arguments_apart_and_signatures_say_what_shapes_depend_on() {
    let recipe = "
fn cut(x: weight[..s], n: int) -> weight[..s] { if n > 1 { x } else { x * n } }
fn two(x: weight[..s], list: [int], other: int) -> weight[..s] {
    choose f in list
    lerp(x * f / f, x, other * (choose w in 0.0..=1.0))
}
choose a in 1..=2
choose b in 1..=2
let m = cut(base, a)
let out = two(m, [1, 2], b)
let deep = restack(\"model.layers\", [(math, l) for l in 0..a], rest: math)
let last = from deep { \"model.layers.{k}.**\" => lerp(deep, deep, choose g per k in 0.0..=1.0)  _ => deep }
save out to \"out\"
save last to \"last\"
";
    check(recipe, &[], &[("out.two.f", &[]), ("out.two.w", &[]), ("last.g[0]", &["a"])]);
}

#[test]
fn conditions_of_lets_are_noted_with_what_they_mention() {
    let recipe = "
choose a in 1..=3
choose b in 1..=3
let n = a + b requires n <= 4
save base * n / n to \"out\"
";
    let outcome = watched(recipe, &[("a", Answer::Int(3)), ("b", Answer::Int(2))]);
    let [condition] = exploration(&outcome).conditions.as_slice() else { panic!() };
    assert!(!condition.holds && condition.text == "n <= 4" && condition.depends == [0, 1], "{condition:?}");
    assert!(exploration(&outcome).mentions.iter().any(|m| m.decisions == [0, 1]));
}
