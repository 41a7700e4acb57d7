//! `choose`: identity, domains, arms, keys, answers.

mod support;

use merge_sema::space::{Answer, Domain};
use merge_sema::{Answers, Undecided};
use support::{Outcome, run, small, stand_ins};

fn ids(outcome: &Outcome) -> Vec<String> {
    outcome.elaborated.decisions.iter().map(|d| d.id.clone()).collect()
}

const HEAD: &str = "let base = checkpoint(\"base\")[\"**.weight\"]\nlet math = checkpoint(\"math\")[\"**.weight\"]\n\
                    let code = checkpoint(\"code\")[\"**.weight\"]\n";

fn answered(recipe: &str, set: &[(&str, &str)]) -> Outcome {
    let set = set.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    run(&format!("{HEAD}{recipe}"), stand_ins(), &Answers { set, ..Answers::default() })
}

const GENOME: &str = "
let tasks = [math, code]
fn trim(base: weight[..s], models: [weight[..s]], density: f32) -> weight[..s] {
    base + sum([keep_top(m - base, density) for m in models])
}
let candidate = like base {
    \"model.layers.{l}.{part: self_attn|mlp}.**\" => choose method per (div(l, 2), part) {
        task => base + sum([(choose w per (div(l, 2), m) in -1.0..=1.0 = 0.5) * (m - base) for m in tasks])
        ties => trim(base, tasks, density: choose d in 0.05..=1.0)
        keep => base
    }
    _ => mean(tasks)
}
save candidate to \"out\"
";

#[test]
fn ids_are_paths_with_keys() {
    let outcome = answered(GENOME, &[]);
    assert!(outcome.codes().is_empty(), "{}", outcome.said());
    assert_eq!(
        ids(&outcome),
        [
            "candidate.method[0, mlp]",
            "candidate.method.task.w[0, math]",
            "candidate.method.task.w[0, code]",
            "candidate.method[0, self_attn]",
            "candidate.method[1, mlp]",
            "candidate.method.task.w[1, math]",
            "candidate.method.task.w[1, code]",
            "candidate.method[1, self_attn]",
        ]
    );
    // What has no `per` of its own has the key of the arm's decision.
    let outcome = answered(GENOME, &[("candidate.method[1,mlp]", "ties")]);
    assert!(outcome.codes().is_empty(), "{}", outcome.said());
    assert!(ids(&outcome).contains(&"candidate.method[1, mlp].ties.d".to_string()), "{:?}", ids(&outcome));
}

#[test]
fn a_decision_keeps_its_id_when_something_else_is_edited() {
    let before = ids(&answered(GENOME, &[]));
    let edited = GENOME
        .replace("let tasks", "choose first in 1..=3\nlet more = base * first / first\nlet tasks")
        .replace("_ => mean(tasks)", "\"model.norm.weight\" => choose norm { a => base  b => more }\n _ => mean(tasks)");
    let after = ids(&answered(&edited, &[]));
    assert!(before.iter().all(|id| after.contains(id)), "{before:?} {after:?}");
}

#[test]
fn answers_reach_every_kind_of_domain() {
    let recipe = "
choose n in 1..=4
choose k in log(1, 100) = 10
choose t in 0.0..=1.0
choose s in [0.5, 1.0]
choose name in [\"a\", \"b\"]
choose flag in [true, false]
choose which in [math, code] = code
choose pair in [(1, 2), (3, 4)]
choose turn in order([math, code])
choose some in subset([1, 2, 3], size: 2) = [3, 1]
choose w in simplex(3)
let (a, b) = pair
let shown = { \"{name}.{flag}.{a}.{b}.{n}.{k}.{len(some)}.{some[0]}\": which[\"model.norm.weight\"] * s + t * turn[0][\"model.norm.weight\"]
              + w[0] * (math - base)[\"model.norm.weight\"] + w[2] * (code - base)[\"model.norm.weight\"] + w[1] }
save shown to \"out\"
";
    let plain = answered(recipe, &[]);
    // The mixture has no degree that a file could hold, which is not the matter here.
    let tensors =
        |o: &Outcome| o.elaborated.decisions.iter().map(|d| (d.id.clone(), d.domain.text(&d.answer))).collect::<Vec<_>>();
    let first: Vec<(String, String)> = tensors(&plain);
    let expected = [
        ("n", "1"),
        ("k", "10"),
        ("t", "0.5"),
        ("s", "0.5"),
        ("name", "a"),
        ("flag", "true"),
        ("which", "code"),
        ("pair", "(1, 2)"),
        ("turn", "[math, code]"),
        ("some", "[1, 3]"),
    ];
    for (i, (id, text)) in expected.iter().enumerate() {
        assert_eq!(first[i], (id.to_string(), text.to_string()), "{}", plain.said());
    }
    let set = [
        ("n", "4"),
        ("k", "7"),
        ("t", "0.25"),
        ("s", "1"),
        ("name", "\"b\""),
        ("flag", "false"),
        ("which", "math"),
        ("pair", "(3, 4)"),
        ("turn", "[code, math]"),
        ("some", "[2, 3]"),
        ("w", "[0.5, 0.25, 0.25]"),
    ];
    let outcome = answered(recipe, &set);
    for (i, (id, text)) in set.iter().enumerate() {
        assert_eq!(tensors(&outcome)[i], (id.to_string(), text.trim_matches('"').to_string()), "{}", outcome.said());
    }
    let settings: Vec<&str> = outcome.elaborated.graph.settings.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(settings, ["t", "s", "w.0", "w.1"]);
    assert_eq!(outcome.elaborated.decisions[1].domain, Domain::Int { low: 1, high: 100, log: true });
}

#[test]
fn the_numbers_of_a_simplex_make_a_weight() {
    let recipe = "
choose w in simplex(3) = [0.2, 0.3, 0.5]
let m = like base { _ => w[0] * base + w[1] * math + w[2] * code }
save m to \"out\"
";
    answered(recipe, &[]).clean();
    let outcome = answered(recipe, &[("w", "[0.2, 0.3, 0.4]")]);
    assert_eq!(outcome.codes(), ["E3101"], "{}", outcome.said());
}

#[test]
fn an_open_decision_is_an_error_of_a_run_only() {
    let recipe = format!("{HEAD}choose t in 0.0..=1.0\nsave like base {{ _ => lerp(mean([base, code]), math, t) }} to \"out\"");
    let look = run(&recipe, stand_ins(), &Answers::default());
    assert!(look.codes().is_empty(), "{}", look.said());
    let refused = Answers { undecided: Undecided::Refused, ..Answers::default() };
    let outcome = run(&recipe, stand_ins(), &refused).fails_with(&["E3102"]);
    assert!(outcome.said().contains("--set 't=0.5'"), "{}", outcome.said());
    let assigned = [("t".to_string(), Answer::Real(0.75))].into_iter().collect();
    let outcome = run(&recipe, stand_ins(), &Answers { assigned, ..refused });
    assert!(outcome.codes().is_empty(), "{}", outcome.said());
    assert_eq!(outcome.elaborated.graph.settings[0].default, 0.75);
}

#[test]
fn two_calls_that_decide_alike_ask_for_a_name() {
    let text = "
fn soft(a: weight[..s], b: weight[..s]) -> weight[..s] { lerp(a, b, choose t in 0.0..=1.0 = 0.5) }
let m = soft(soft(base, math), code)
save m to \"out\"
";
    let outcome = answered(text, &[]).fails_with(&["E1002"]);
    assert!(outcome.said().contains("let second"), "{}", outcome.said());
    let named = text.replace("let m = soft(soft(base, math), code)", "let first = soft(base, math)\nlet m = soft(first, code)");
    assert_eq!(ids(&answered(&named, &[])), ["first.soft.t", "m.soft.t"]);
}

#[test]
fn faults_of_decisions() {
    small("choose a in []\nsave base * a to \"out\"").fails_with(&["E3101"]);
    small("choose a in [1, 1]\nsave base * a to \"out\"").fails_with(&["E3101"]);
    small("choose a in log(0.0, 1.0)\nsave base * a to \"out\"").fails_with(&["E3101"]);
    small("choose a in subset([1, 2], size: 3)\nsave base * a[0] to \"out\"").fails_with(&["E3101"]);
    small("choose a in simplex(0)\nsave base * a[0] to \"out\"").fails_with(&["E3101"]);
    small("choose a { x => base, x => math }\nsave a to \"out\"").fails_with(&["E1002"]);
    small("choose a { x => base, y => math } = z\nsave a to \"out\"").fails_with(&["E1001"]);
    small("choose a per (base * 2) in [1, 2] = 1\nsave base / a to \"out\"").fails_with(&["E3103"]);
    small("let a = order([1, 2])\nsave base / a[0] to \"out\"").fails_with(&["E2001"]);
    small("save like base { \"model.layers.{l}.**\" => base * (choose a per 0 in [1, l + 2] = 1)  _ => base } to \"out\"")
        .fails_with(&["E3101"]);
}
