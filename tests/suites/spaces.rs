//! Spaces: their sizes, frozen candidates that run like the recipes they come from, and a search.

use merge_driver::{Request, Undecided, space::Checks};
use merge_runtime::{Options, progress::Silent};
use merge_tests::{Folder, read_model, root, write_stand_ins};
use std::path::Path;

fn opened(file: &Path) -> merge_driver::space::OpenRecipe {
    let request = Request { file: file.to_owned(), ..Request::default() };
    match merge_driver::space::open(&request, Checks::Left).unwrap() {
        Ok(open) => open,
        Err(analysis) => {
            let said: Vec<String> =
                analysis.diagnostics.iter().map(|d| format!("{}: {} {:?}", d.code, d.message, d.notes)).collect();
            panic!("{}\n{}", file.display(), said.join("\n"));
        }
    }
}

/// The size of a space of `examples/spaces`, with every sampled candidate of the right shape.
fn example(name: &str) -> String {
    let file = root().join("examples/spaces").join(format!("{name}.merge"));
    let open = opened(&file);
    assert!(open.counted, "{:?}", open.notes);
    for candidate in open.sample(8, 1, false) {
        let set: Vec<(String, String)> = open.to_choices(&candidate).iter().map(|(k, v)| (k.clone(), text(v))).collect();
        assert_eq!(open.candidate(&set).as_ref(), Ok(&candidate));
        let analysis =
            merge_driver::analyse(&Request { file: file.clone(), set, undecided: Undecided::Refused, ..Request::default() });
        let analysis = analysis.unwrap();
        assert!(!analysis.has_errors(), "{:?}", analysis.diagnostics);
        assert!(analysis.elaborated.parameters.is_some_and(|n| n > 0));
    }
    open.count_text()
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn the_sizes_of_the_examples_are_those_of_their_papers() {
    assert_eq!(example("deepconv"), "60466176");
    assert_eq!(example("convnet"), "2025");
    assert_eq!(example("deepconv_training"), (60_466_176_u64 * 4096).to_string());
    assert_eq!(example("flexibert"), "3317817600");
    let resnet = example("resnet");
    assert!(resnet.starts_with("154") && resnet.len() == 69, "{resnet}");
}

/// What an arm has to decide may depend on a decision outside of it: by its domain, or by a condition.
#[test]
fn arms_depend_on_decisions_outside_of_them() {
    let folder = Folder::new("spaces");
    let size = |inside: &str| {
        let text = format!(
            "fn f(x: tensor[4]) -> tensor {{\n choose a in [1, 2, 3]\n choose form {{ no => x\n yes => {{ {inside} }} }}\n}}\n\
             search f {{ evaluate: command(\"true {{model}}\"), maximize: \"x\" }}\n"
        );
        opened(&folder.write("recipe.merge", &text)).count_text()
    };
    // One without the arm for each `a`, and in the arm as many as the domain has: 2, 2 and 3.
    assert_eq!(size("let all = if a < 3 { [1, 2] } else { [1, 2, 3] }\n choose b in all\n b * x"), "10");
    // Whichever list was seen first, every candidate is found by its answers.
    let open = opened(&folder.join("recipe.merge"));
    for candidate in open.sample(30, 1, true) {
        let choices: Vec<(String, String)> = open.to_choices(&candidate).iter().map(|(k, v)| (k.clone(), text(v))).collect();
        assert_eq!(open.candidate(&choices).as_ref(), Ok(&candidate), "{choices:?}");
    }
    assert_eq!(size("choose b in [1, 2]\n let n = a requires a != b\n n * x"), (3 + 1 + 1 + 2).to_string());
    assert_eq!(
        size("choose deep { one => x\n two => { choose b in [1, 2, 3]\n let n = b requires b <= a\n n * x } }"),
        (3 + 3 + 6).to_string()
    );
}

const RECIPE: &str = r#"
let base = checkpoint("base")["**.weight"]
let math = checkpoint("math")["**.weight"]
let code = checkpoint("code")["**.weight"]
let tasks = [math, code]
choose scale in 0.5..=2.0 = 1.0
choose order_of in order([0.25, 0.5, 0.75])
choose parts in simplex(2)
let candidate = like base {
    "model.layers.{l}.{part: self_attn|mlp}.**" => choose method per (div(l, 2), part) {
        task => base + scale * sum([(choose w per (div(l, 2), m) in -1.0..=1.0 = 0.5) * (m - base) for m in tasks])
        pick => lerp(base, choose which in tasks, order_of[choose place in 0..=2])
        keep => base
    } = keep
    _ => parts[0] * math + parts[1] * code
}
save candidate to "out"
"#;

#[test]
fn a_frozen_candidate_writes_the_same_bytes() {
    let folder = Folder::new("spaces");
    write_stand_ins(folder.path());
    let file = folder.write("recipe.merge", RECIPE);
    let open = opened(&file);
    let run = |file: &Path, set: &[(String, String)]| {
        let request = Request { file: file.to_owned(), set: set.to_vec(), undecided: Undecided::Refused, ..Request::default() };
        let analysis = merge_driver::analyse(&request).unwrap();
        let said: Vec<String> = analysis.diagnostics.iter().map(|d| format!("{}: {} {:?}", d.code, d.message, d.helps)).collect();
        assert!(!analysis.has_errors(), "{}\n{}", said.join("\n"), std::fs::read_to_string(file).unwrap());
        merge_driver::run(&analysis, &Options::default(), &Silent).unwrap_or_else(|e| panic!("{}", e.message));
        read_model(&folder.join("out"))
    };
    for candidate in open.sample(6, 3, false) {
        let set: Vec<(String, String)> =
            merge_driver::parse_choices(&open.choices_text(&candidate)).expect("what is printed can be read");
        let wanted = run(&file, &set);
        let request = Request { file: file.clone(), set, undecided: Undecided::Refused, ..Request::default() };
        let frozen = match merge_driver::freeze(&request).unwrap() {
            Ok(text) => text,
            Err(analysis) => panic!("{:?}", analysis.diagnostics),
        };
        let plain = folder.write("frozen.merge", &frozen);
        assert_eq!(run(&plain, &[]), wanted, "{frozen}");
    }
}

#[test]
fn a_recipe_with_a_search_freezes_into_one_that_saves() {
    let folder = Folder::new("spaces");
    write_stand_ins(folder.path());
    let text = "let base = checkpoint(\"base\")[\"**.weight\"]\nlet math = checkpoint(\"math\")[\"**.weight\"]\n\
        let blend = like base { _ => lerp(base, math, choose t in 0.0..=1.0) }\n\
        search blend { evaluate: command(\"true {model}\"), maximize: \"x\" }\n";
    let file = folder.write("recipe.merge", text);
    let request =
        Request { file, set: vec![("blend.t".into(), "0.25".into())], undecided: Undecided::Refused, ..Request::default() };
    let Ok(Ok(frozen)) = merge_driver::freeze(&request) else { panic!("it can be frozen") };
    assert!(frozen.contains("lerp(base, math, 0.25)") && frozen.contains("save blend to \"blend\""), "{frozen}");
    assert!(!frozen.contains("choose") && !frozen.contains("search"), "{frozen}");
}

#[test]
fn a_search_tries_candidates_and_compiles_a_structure_once() {
    let folder = Folder::new("spaces");
    write_stand_ins(folder.path());
    // The score is the number of the trial's folder name; the models are there while it runs.
    let text = "let base = checkpoint(\"base\")[\"**.weight\"]\nlet math = checkpoint(\"math\")[\"**.weight\"]\n\
        let blend = like base { _ => lerp(base, math, choose t in 0.0..=1.0) }\n\
        search blend { evaluate: command(\"test -e {model} && basename {model}\"), maximize: \"n\", using: random(seed: 1), trials: 5 }\n";
    let file = folder.write("recipe.merge", text);
    let request = Request { file: file.clone(), ..Request::default() };
    let prepared = merge_driver::search::prepare(&request, opened(&file), &Default::default()).unwrap();
    let mut scores = Vec::new();
    let outcome = prepared
        .run(&std::sync::atomic::AtomicBool::new(false), &mut |happening| {
            if let merge_search::run::Happening::Ended { record, .. } = happening {
                scores.push((record.reason.clone(), record.metrics.get("n").copied()));
            }
        })
        .unwrap();
    assert_eq!(scores, [0.0, 1.0, 2.0, 3.0, 4.0].map(|n| (None, Some(n))));
    assert_eq!(outcome.front[0].trial, 4);
    // The best model stays, the others are gone.
    let kept: Vec<String> =
        std::fs::read_dir(folder.join("blend.trials")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(kept, ["4"]);
    assert!(prepared.report().unwrap().contains("<svg"));
}

#[test]
fn the_costs_of_a_small_space_are_those_of_all_candidates() {
    let folder = Folder::new("spaces");
    let text = "fn net(x: tensor[4]) -> tensor[2] {\n    choose width in [3, 8, 5]\n    choose deep in [false, true]\n    \
        new first[4, width] = kaiming()\n    let h = relu(x @ first)\n    \
        let y = if deep { new inner[width, width] = kaiming()  relu(h @ inner) } else { h }\n    new last[width, 2] = kaiming()\n    y @ last\n}\n\
        search net { evaluate: command(\"true {model}\"), maximize: \"x\" }\n";
    let file = folder.write("net.merge", text);
    // 4 w + 2 w, and w w more: the largest differs from every other candidate in two decisions.
    let mut open = opened(&file);
    open.price();
    let said = open.describe();
    // Two products and an activation; three and two.
    let wanted = "\nparams     18 to 112\ntrainable  18 to 112\nbytes      72 to 448\nflops      39 to 240\n";
    assert!(said.ends_with(wanted), "{said}");
    let json = open.to_json();
    assert_eq!(json["costs"]["params"], serde_json::json!({ "low": 18, "high": 112 }));
    assert_eq!((&json["costs"]["looked_at"], &json["candidates"]["count"]), (&"all".into(), &"6".into()));
    assert_eq!(json["decisions"][0]["path"], "net.width");
    assert_eq!(json["decisions"][0]["domain"], serde_json::json!({ "kind": "member", "of": [3, 8, 5], "ordered": false }));
}

/// Of merged weights: what is written.
#[test]
fn costs_that_are_not_known_of_all_candidates_say_so() {
    let folder = Folder::new("spaces");
    write_stand_ins(folder.path());
    let text = "let base = checkpoint(\"base\")[\"**.weight\"]\nlet math = checkpoint(\"math\")[\"**.weight\"]\n\
        let blend = like base { _ => lerp(base, math, choose t in 0.0..=1.0) }\nsave blend to \"blend\"\n";
    let mut open = opened(&folder.write("merge.merge", text));
    open.price();
    let of_merge = open.costs.expect("weights have entries");
    assert_eq!(of_merge.each().iter().map(|(name, ..)| *name).collect::<Vec<_>>(), ["params", "bytes"]);
    assert!(of_merge.low == of_merge.high && of_merge.low.params > 0 && of_merge.looked_at.is_none());
    // One length is the sum of two decisions, in more combinations than can be tried.
    let text = "fn net(x: tensor[4]) -> tensor[4] {\n    choose a in 1..=400\n    choose b in 1..=400\n    new w[4, a + b] = kaiming()\n    \
        new v[a + b, 4] = kaiming()\n    relu(x @ w) @ v\n}\nsearch net { evaluate: command(\"true {model}\"), maximize: \"x\" }\n";
    let mut open = opened(&folder.write("net.merge", text));
    open.price();
    let of_some = open.costs.expect("a network costs something");
    assert!(of_some.looked_at.is_some_and(|n| n > 200), "{of_some:?}");
    assert!(open.describe().contains(" candidates were looked at for what follows; others may cost less or more\n"));
}

#[test]
fn programs_25_and_26_of_the_design_are_counted() {
    let size = |name: &str| opened(&root().join("tests/programs").join(name)).count_text();
    // Of program 25 the dropouts are untied: 3^n for n copies.
    let copies: u128 = [1, 2, 4, 8, 16, 32].map(|n| 3u128.pow(n)).iter().sum();
    assert_eq!(size("25-deepconv.merge"), (2 * (6 * 3 * copies) * (4 * 3 * copies)).to_string());
    assert_eq!(size("26-flexibert.merge"), "3317817600");
}

#[test]
fn program_30_of_the_design_has_a_space() {
    let folder = Folder::new("spaces");
    write_stand_ins(folder.path());
    std::fs::create_dir(folder.join("chat")).unwrap();
    for part in std::fs::read_dir(folder.join("math")).unwrap().map(|e| e.unwrap()) {
        std::fs::copy(part.path(), folder.join("chat").join(part.file_name())).unwrap();
    }
    let program = std::fs::read_to_string(root().join("tests/programs/30-genome.merge")).unwrap();
    // The stand-ins have a buffer, which blends leave out.
    let program = program.replace("let genome = like base {", "let genome = like base {\n    \"**.position_ids\" => base");
    let file = folder.write("genome.merge", &program);
    let open = opened(&file);
    // Two halves of two layers each, two parts, three models, a weight and a density; and three weights for the rest.
    assert_eq!(open.size_text(), "1 x R^15");
    assert!(open.counted && open.passes < 5);
}

/// DeepArchitect's combinators: the names in the table of `docs/spaces.md`, what a network says instead, and the size that DeepArchitect's
/// algebra gives: `Concat` multiplies, `Or` adds, `Repeat` is the sum of |b|^k, `RepeatTied` |ks| |b|, `Optional` 1 + |b|, `MaybeSwap` 2 |a| |b|.
/// `f` has 2 x 3 candidates and keeps the channels, `g` has 3.
const COMBINATORS: &[(&[&str], &str, u64)] = &[
    (&["Empty", "identity"], "x", 1),
    (&["Concat", "siso_sequential"], "g(f(x))", 6 * 3),
    (&["Or", "siso_or"], "choose which { one => f(x)  two => g(x) }", 6 + 3),
    (&["Repeat", "siso_repeat"], "choose n in [1, 2, 4]  fold y = x for i in 0..n { f(y) }", 6 + 36 + 1296),
    (
        &["RepeatTied"],
        "choose k in [1, 3]  choose half in [1, 2, 3]  choose n in [1, 2, 4]  fold y = x for i in 0..n { conv(y, 4, k) * half }",
        3 * 6,
    ),
    (&["Optional"], "choose maybe { without => x  with => f(x) }", 1 + 6),
    (
        &["MaybeSwap", "siso_permutation"],
        "choose first in [true, false]  if first { let one = f(x)  g(one) } else { let two = g(x)  f(two) }",
        2 * 6 * 3,
    ),
    (&["Residual", "siso_residual"], "x + f(x)", 6),
    (&["siso_nested_repeat"], "choose n in [1, 2]  fold y = g(x) for i in 1..n { f(y) }", 3 + 3 * 6),
    (&["siso_split_combine", "mimo_or"], "choose k in [2, 3]  concat([f(x) for i in 0..k], axis: 0)", 36 + 216),
    (&["dense_block"], "choose n in [1, 2]  fold y = x for i in 0..n { concat([y, f(x)], axis: 0) }", 6 + 36),
    (&["UserHyperparams"], "choose rate in [0.1, 0.01]  f(x) * rate", 2 * 6),
    (&["HyperparameterSharer"], "choose units in [2, 4, 8]  let one = conv(x, units, 1)  conv(one, units, 3)", 3),
    (&["DependentHyperparameter"], "choose units in [2, 4, 8]  let one = conv(x, units, 1)  conv(one, 2 * units, 3)", 3),
];

const BASIC: &str = "fn conv(x: tensor[c, h, w], f: int, k: int) -> tensor[f, h, w] {
    new kernel[f, c, k, k] = kaiming()
    conv2d(x, kernel, pad: same)
}
fn f(x: tensor[c, h, w]) -> tensor[c, h, w] { conv(x, c, choose k in [1, 3]) * (choose s in [1, 2, 3]) }
fn g(x: tensor[c, h, w]) -> tensor[c, h, w] { conv(x, c, choose k in [1, 3, 5]) }
";

#[test]
fn deeparchitects_combinators_have_their_sizes() {
    let folder = Folder::new("combinators");
    for (names, said, size) in COMBINATORS {
        let text = format!(
            "{BASIC}fn network(x: tensor[4, 8, 8]) -> tensor {{ {said} }}\nsearch network {{ evaluate: command(\"true {{model}}\"), maximize: \"x\" }}\n"
        );
        let file = folder.write("network.merge", &text);
        let request = Request { file, ..Request::default() };
        let open = match merge_driver::space::open(&request, Checks::Tried).unwrap() {
            Ok(open) => open,
            Err(analysis) => panic!("{names:?}: {:?}", analysis.diagnostics),
        };
        assert_eq!(open.count_text(), size.to_string(), "{names:?}\n{}", open.describe());
        assert!(open.notes.is_empty());
    }
    // The table has these and no others, but for what is no combinator of spaces.
    let page = std::fs::read_to_string(root().join("docs/spaces.md")).unwrap();
    let table = page.split("| DeepArchitect | here |").nth(1).unwrap().split("\n\n").next().unwrap();
    let first = table.lines().skip(2).filter_map(|line| line.split('|').nth(1));
    let named: Vec<&str> =
        first.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|n| *n != "ChoiceBisection").collect();
    let tested: Vec<&str> = COMBINATORS.iter().flat_map(|(names, ..)| names.iter().copied()).collect();
    assert!(named.iter().all(|n| tested.contains(n)), "{named:?}");
    assert!(tested.iter().all(|n| named.contains(n)), "{named:?}");
}
