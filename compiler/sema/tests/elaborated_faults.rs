//! Faulty recipes over small headers: which codes are given, and that one fault is one finding.

mod support;

use merge_sema::Answers;
use support::{run, small, stand_ins};

const ONE: &str = "let b = without(base, \"**.position_ids\")\n";
const WITHOUT_BUFFER: &str = "let b = without(base, \"**.position_ids\")\nlet m = without(math, \"**.position_ids\")\n";

#[test]
fn shapes_that_differ_are_one_finding_with_both_places() {
    let out = small("fn twice(a: weight[..s], b: weight[..s]) -> weight[..s] { lerp(a, b, 0.5) }\nsave like base {\n    \"**.mlp.**\" => twice(base, wide)\n    _ => base\n} to \"x\"")
        .fails_with(&["E2003"]);
    let d = &out.diagnostics[0];
    assert_eq!(d.labels.len(), 2, "{}", out.said());
    assert!(d.notes[0].starts_with("in 8 tensors, from model.layers.0.mlp"), "{}", out.said());
    assert!(d.labels.iter().any(|l| l.message.contains("`wide` has")), "{}", out.said());
}

#[test]
fn sums_of_weights_are_refused() {
    small(&format!("{WITHOUT_BUFFER}save b + m to \"x\"")).fails_with(&["E2101"]);
    small(&format!("{WITHOUT_BUFFER}save 0.5 * b + 0.6 * m to \"x\"")).fails_with(&["E2101"]);
    small(&format!("{WITHOUT_BUFFER}save 0.5 * b + 0.5 * m to \"x\"")).clean();
    small(&format!("{WITHOUT_BUFFER}save b + 0.5 * (m - b) to \"x\"")).clean();
}

#[test]
fn a_delta_in_a_blend_is_refused() {
    small("save like base {\n  \"**.position_ids\" => base\n  _ => math - base\n} to \"x\"").fails_with(&["E2102"]);
}

#[test]
fn settings_enter_degrees() {
    let head = "choose w in 0.0..=1.0 = 0.5\nchoose v in 0.0..=1.0 = 0.5\n";
    small(&format!("{head}{WITHOUT_BUFFER}save w * b + v * m to \"x\"")).fails_with(&["E2103"]);
    small(&format!("{head}{WITHOUT_BUFFER}save (w * b + v * m) / (w + v) to \"x\"")).clean();
    small(&format!("choose w in 0.0..=1.0 = 0.5\n{WITHOUT_BUFFER}save w * b + (1 - w) * m to \"x\"")).clean();
}

#[test]
fn branches_tensors_functions_and_statistics_have_their_codes() {
    small(&format!("{WITHOUT_BUFFER}save where(m - b > 0, m, 0) to \"x\"")).fails_with(&["E2104"]);
    small(&format!("{ONE}save exp(b) to \"x\"")).fails_with(&["E2106"]);
    small("let b = without(base, \"**.position_ids\")\nsave b + stats to \"x\"").fails_with(&["E2107"]);
}

#[test]
fn a_needless_promise_is_a_warning() {
    small(&format!("{WITHOUT_BUFFER}save mean([b, m]) as weight to \"x\"")).fails_with(&["W2108"]);
    small(&format!("{ONE}save exp(b) as weight to \"x\"")).clean();
}

#[test]
fn buffers_are_copied_and_never_blended() {
    let out = small("save mean([base, math]) to \"x\"");
    assert_eq!(out.codes(), ["E2010"], "{}", out.said());
    assert!(out.said().contains("model.position_ids"), "{}", out.said());
    small("save like base {\n  \"**.position_ids\" => base\n  _ => mean([base, math])\n} to \"x\"").clean();
    small("save base to \"x\"").clean();
}

#[test]
fn a_fault_of_a_function_is_reported_where_it_is_defined() {
    let out = small("fn f(a: weight[..s], b: weight[..s]) -> weight[..s] { a + b }\nsave like base {\n  \"**.position_ids\" => base\n  _ => f(base, math)\n} to \"x\"")
        .fails_with(&["E2101"]);
    assert_eq!(out.sources.slice(out.diagnostics[0].labels[1].span), "b", "{}", out.said());
    // Nothing calls this one.
    small("fn f(a: weight[o, i], b: weight[o, k]) -> weight[o, i] { lerp(a, b, 0.5) }\nsave base to \"x\"")
        .fails_with(&["E2003"]);
}

#[test]
fn a_fault_of_one_use_is_blamed_on_the_call() {
    let text = "fn top(x: weight[o, i], n: int) -> weight[n, i] { x[0..n, ..] }\nsave from base {\n  \"model.embed_tokens.weight\" => top(base, 20)\n  _ => base\n} to \"x\"";
    let out = small(text).fails_with(&["E2005"]);
    assert_eq!(out.sources.slice(out.diagnostics[0].primary_span().expect("placed")), "top(base, 20)");
}

#[test]
fn good_definitions_pass() {
    small("fn a(x: weight[..s], f: tensor[..s]) -> weight[..s] { mean([x, x], weight: [f, f]) }\nfn b(base: weight[..s], t: tensor[..s]) -> weight[..s] { base + t }\nfn c(ms: [weight[..s]], ws: [f32]) -> weight[..s] requires len(ws) == len(ms) { sum([w * m for (w, m) in zip(ws, ms)]) / sum(ws) }\nsave base to \"x\"")
        .clean();
}

#[test]
fn ints_are_exact_and_static() {
    small("let n = 7 / 2\nsave base to \"out-{n}\"").fails_with(&["E2006"]);
    small("let n = 8 / 2\nsave base to \"out-{n}\"").clean();
    small("choose t in 0.0..=1.0 = 0.5\nlet m = if t > 0.5 { base } else { math }\nsave m to \"x\"").fails_with(&["E2007"]);
    small("choose t in 0.0..=1.0 = 0.5\nsave base to \"out-{t}\"").fails_with(&["E2001"]);
}

#[test]
fn models_that_differ_in_names_are_listed() {
    let files = stand_ins().with("part", None, &[("model.norm.weight", merge_abi::DType::F32, &[8])]);
    let text = "let base = checkpoint(\"base\")\nlet part = checkpoint(\"part\")\nsave mean([base, part]) to \"x\"";
    let out = run(text, files, &Answers::default()).fails_with(&["E3001"]);
    assert!(out.said().contains("`model.embed_tokens.weight`"), "{}", out.said());
}

#[test]
fn deltas_may_cover_fewer_names() {
    let small_file: &[(&str, merge_abi::DType, &[u64])] = &[("model.norm.weight", merge_abi::DType::F32, &[8])];
    let role = Some(merge_abi::Role::Deltas);
    let text =
        "let base = checkpoint(\"base\")\nlet d = deltas(\"d\")\nsave without(base, \"**.position_ids\") + 0.5 * d to \"x\"";
    let done = run(text, stand_ins().with("d", role, small_file), &Answers::default()).clean();
    let output = &done.graph.outputs[0];
    assert_eq!(output.tensors.len(), 18);
    let copied = output.tensors.iter().filter(|t| matches!(done.graph.node(t.node).op, merge_ir::tir::Op::Load(_))).count();
    assert_eq!(copied, 17);
    run("let d = checkpoint(\"d\")\nsave d to \"x\"", stand_ins().with("d", role, small_file), &Answers::default())
        .fails_with(&["E3004"]);
    let text =
        "let base = checkpoint(\"base\")\nlet d = deltas(\"d\", on: base)\nsave without(base, \"**.position_ids\") + d to \"x\"";
    run(text, stand_ins().with("d", role, small_file), &Answers::default()).fails_with(&["E3001"]);
}

#[test]
fn names_that_are_missing_are_said_once() {
    small("save like base {\n  _ => math[\"model.layers.{l}.x\"]\n} to \"x\"").fails_with(&["E1001"]);
    let out = small("save like base {\n  \"model.layers.{l}.mlp.up_proj.weight\" => math[\"model.layers.{l + 4}.mlp.up_proj.weight\"]\n  _ => base\n} to \"x\"")
        .fails_with(&["E3002"]);
    assert!(out.said().contains("in 4 tensors"), "{}", out.said());
}

#[test]
fn rules_keep_shapes_in_like_and_names_apart_in_from() {
    small("save like base {\n  \"model.embed_tokens.weight\" => base[\"model.norm.weight\"]\n  _ => base\n} to \"x\"")
        .fails_with(&["E2004"]);
    small("save like base {\n  \"model.norm.weight\" => { \"other\": base }\n  _ => base\n} to \"x\"").fails_with(&["E3005"]);
    small("save from base {\n  \"model.layers.{l}.**\" => { \"same\": base }\n  _ => base\n} to \"x\"").fails_with(&["E3006"]);
}

#[test]
fn saves_are_checked() {
    small("save base to \"x\"\nsave math to \"x\"").fails_with(&["E3203"]);
    small("save base to \"x\" { dtyp: bf16 }").fails_with(&["E3202"]);
    small("save base[\"model.norm.weight\"] to \"x\"").fails_with(&["E3201"]);
    small("save [base, math] to \"x\"").fails_with(&["E3201"]);
    small("save from base {\n  \"model.norm.weight\" => base - math\n  _ => base\n} to \"x\"").fails_with(&["E3204"]);
    let done = small(
        "save base to \"out-{k}\" { dtype: bf16, shard: 5GB, config: { a: \"q\\\"\", b: [1, 2], c: { d: true } } } for k in 0..2",
    )
    .clean();
    assert_eq!(done.graph.outputs.len(), 2);
    assert_eq!(done.graph.outputs[1].shard, Some(5_000_000_000));
    assert_eq!(done.graph.outputs[1].config[2], ("c".to_string(), "{\"d\": true}".to_string()));
}

#[test]
fn ranges_and_requirements_hold_now_and_later() {
    let f = "fn f(x: weight[..s], d: f32 in 0..=1, e: f32 = 0.0) -> weight[..s] requires d + e < 1 { lerp(x, x, d + e) }\n";
    small(&format!("{f}let b = without(base, \"**.position_ids\")\nsave f(b, 1.5) to \"x\"")).fails_with(&["E2008"]);
    small(&format!("{f}let b = without(base, \"**.position_ids\")\nsave f(b, 0.5, 0.6) to \"x\"")).fails_with(&["E2009"]);
    let done =
        small(&format!("choose d in 0.0..=2.0 = 0.5\n{f}let b = without(base, \"**.position_ids\")\nsave f(b, d) to \"x\""))
            .clean();
    assert_eq!(done.graph.settings.len(), 1);
    assert_eq!(done.graph.constraints.len(), 3);
}

#[test]
fn answers_are_checked_against_the_domain() {
    let text = "let base = checkpoint(\"base\")\nlet math = checkpoint(\"math\")\nchoose density in 0.0..=1.0 = 0.5\nchoose k in 1..=4 = 2\nchoose which in [base, math] = base\nlet m = if k == 2 { base } else { which }\nsave from m {\n  \"**.position_ids\" => m\n  _ => density * m + (1 - density) * math\n} to \"x\"";
    let set = |pairs: &[(&str, &str)]| Answers {
        set: pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
        ..Answers::default()
    };
    let done = run(text, stand_ins(), &set(&[("density", "0.25"), ("k", "3"), ("which", "math")])).clean();
    assert_eq!(done.graph.settings[0].default, 0.25);
    assert_eq!(done.graph.structural, [("k".to_string(), "3".to_string()), ("which".to_string(), "math".to_string())]);
    run(text, stand_ins(), &set(&[("density", "2")])).fails_with(&["E3101"]);
    run(text, stand_ins(), &set(&[("k", "9")])).fails_with(&["E3101"]);
    run(text, stand_ins(), &set(&[("k", "x")])).fails_with(&["E3101"]);
    let out = run(text, stand_ins(), &set(&[("densty", "0.2")])).fails_with(&["E3101"]);
    assert!(out.said().contains("did you mean `density`?"), "{}", out.said());
    let answers = Answers { models: vec![("math".into(), "code".into())], ..Answers::default() };
    let done = run(text, stand_ins(), &answers).clean();
    assert_eq!(done.graph.checkpoints[1].path, "code");
    let answers = Answers { models: vec![("mat".into(), "code".into())], ..Answers::default() };
    run(text, stand_ins(), &answers).fails_with(&["E3101"]);
}

#[test]
fn whole_measures_the_model() {
    let done = small(&format!("{WITHOUT_BUFFER}save b + (m - b) / whole norm(m - b) to \"x\"")).clean();
    assert_eq!(done.graph.outputs[0].tensors.len(), 18);
    small("let n = whole norm(3)\nsave n * base to \"x\"").fails_with(&["E2011"]);
    small("save base + 0.5 * (whole keep_top(math - base, 0.2)) to \"x\"").fails_with(&["E2010"]);
}

#[test]
fn tests_become_nodes() {
    let done = small(
        "test \"a merge of one is itself\" {\n    let x = tensor([1.0, 2.0])\n    mean([x, x]) == x\n}\nsave base to \"x\"",
    )
    .clean();
    assert_eq!(done.tests.len(), 1);
}

#[test]
fn loops_fold_and_stop() {
    let done = small(&format!("{WITHOUT_BUFFER}let (merged, n) = fold (d, n) = (m - b, 0) for k in 0..5 until n == 3 {{ (0.5 * d, n + 1) }}\nsave b + merged to \"out-{{n}}\"")).clean();
    assert_eq!(done.graph.outputs[0].path, "out-3");
}

#[test]
fn faults_that_are_independent_are_all_reported() {
    let out = small(
        "let a = 7 / 2\nlet b = base[\"model.nrm.weight\"]\nsave math + code to \"x\"\nsave a to \"y\"\nsave { \"b\": b } to \"z\"",
    );
    assert_eq!(out.codes(), ["E2006", "E3002", "E2010", "E2101"], "{}", out.said());
}

#[test]
fn a_model_of_hundreds_of_tensors_is_quick() {
    let schema = support::transformer(144, 64, 128, merge_abi::DType::BF16);
    let files = ["base", "math", "code"].iter().fold(support::Fake::default(), |f, n| f.and(n, &schema));
    let text =
        std::fs::read_to_string(format!("{}/../../tests/programs/03-ties.merge", env!("CARGO_MANIFEST_DIR"))).expect("there");
    let text = text.replace("let chat  = checkpoint(\"chat\")\n", "").replace(", chat]", "]");
    let start = std::time::Instant::now();
    let done = run(&text, files, &Answers::default()).clean();
    println!("{} nodes in {:?}", done.graph.len(), start.elapsed());
    assert!(done.graph.outputs.iter().all(|o| o.tensors.len() == 722));
}

#[test]
fn long_loops_over_models_and_numbers_end() {
    let text = format!("{WITHOUT_BUFFER}save b + (fold d = m - b for k in 0..2000 {{ 0.5 * d + (m - b) }}) to \"x\"");
    small(&text).clean();
    let text = "let x = fold x = 1.0 for k in 0..300 { x + x }\nlet b = without(base, \"**.position_ids\")\nsave b + (1 / x) * (b - b) to \"x\"";
    let out = small(text);
    assert!(!out.diagnostics.iter().any(|d| d.is_error()), "{}", out.said());
}

#[test]
fn the_terms_of_a_sum_are_shown_with_their_degrees() {
    let out = small(&format!("{WITHOUT_BUFFER}save b + (m - b) + 0.3 * m to \"x\"")).fails_with(&["E2101"]);
    let shown: Vec<(&str, &str)> =
        out.diagnostics[0].labels.iter().map(|l| (out.sources.slice(l.span), l.message.as_str())).collect();
    assert_eq!(shown, [("b + (m - b)", "degree 1"), ("0.3 * m", "degree 0.3")]);
}
