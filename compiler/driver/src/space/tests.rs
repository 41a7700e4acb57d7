use super::*;
use tempfile::TempDir;

/// A folder with a recipe and a checkpoint of four layers, as a text that stands in for it.
fn folder(name: &str, recipe: &str) -> TempDir {
    let place = tempfile::Builder::new().prefix(&format!("merge-space-{name}-")).tempdir().unwrap();
    let folder = place.path();
    for model in ["base", "math", "code"] {
        let mut text = String::from("# merge schema 1\n");
        for l in 0..4 {
            for part in ["self_attn.q_proj", "mlp.up_proj"] {
                text += &format!("model.layers.{l}.{part}.weight F32 [8, 8]\n");
            }
        }
        text += "model.norm.weight F32 [8]\n";
        std::fs::write(folder.join(format!("{model}.schema")), text).unwrap();
    }
    let head = "let base = checkpoint(\"base\")\nlet math = checkpoint(\"math\")\nlet code = checkpoint(\"code\")\n";
    std::fs::write(folder.join("recipe.merge"), format!("{head}{recipe}\n")).unwrap();
    place
}

/// The folder lives as long as it is held.
fn request(name: &str, recipe: &str) -> (TempDir, Request) {
    let folder = folder(name, recipe);
    let file = folder.path().join("recipe.merge");
    (folder, Request { file, ..Request::default() })
}

fn opened(name: &str, recipe: &str) -> OpenRecipe {
    let (_folder, request) = request(name, recipe);
    let result = open(&request, Checks::Tried).unwrap();
    match result {
        Ok(open) => open,
        Err(analysis) => panic!("{:#?}", analysis.diagnostics),
    }
}

fn faults(name: &str, recipe: &str) -> Vec<(&'static str, String)> {
    let (_folder, request) = request(name, recipe);
    let result = open(&request, Checks::Tried).unwrap();
    match result {
        Ok(_) => Vec::new(),
        Err(a) => a.diagnostics.iter().filter(|d| d.is_error()).map(|d| (d.code.0, d.notes.join(" "))).collect(),
    }
}

const MIXED: &str = "
let tasks = [math, code]
let candidate = like base {
    \"model.layers.{l}.{part: self_attn|mlp}.**\" => choose method per (div(l, 2), part) {
        task => base + sum([(choose w per (div(l, 2), m) in -1.0..=1.0 = 0.5) * (m - base) for m in tasks])
        pick => base + (choose s in [1, 2, 3]) * (math - base)
        keep => base
    } = keep
    _ => mean(tasks)
}
save candidate to \"out\"";

#[test]
fn independent_decisions_multiply_and_arms_add() {
    let open = opened("arms", MIXED);
    // Four decisions between 1, 3 and 1 candidates; the weights of a task are shared between its parts.
    assert_eq!(open.space.count().to_string(), "625");
    assert!(open.passes < 40, "{}", open.passes);
    assert_eq!(open.space.slots(), 4 + 4 + 4);
    let text = open.describe();
    assert!(text.contains("candidate.method[0, mlp]  [task, pick, keep] = keep"), "{text}");
    assert!(text.contains("candidate.method[1, self_attn].pick.s  [1, 2, 3]"), "{text}");
}

#[test]
fn what_depends_on_a_number_is_there_as_often_as_it_says() {
    let recipe = "
choose n in [1, 2, 4]
let picks = [{ choose k in 1..=3  choose extra in [true, false]  k * (if extra { choose more in [1, 2] } else { 1 }) } for i in 0..n]
save base * picks[0] / picks[0] to \"out\"";
    let open = opened("loops", recipe);
    // A turn has 3 x (2 + 1) candidates.
    let turn: u64 = 9;
    assert_eq!(open.space.count().to_string(), (turn + turn.pow(2) + turn.pow(4)).to_string());
    assert!(open.passes < 400, "{}", open.passes);
}

#[test]
fn what_a_loop_without_turns_would_decide_is_found() {
    let recipe = "
choose n in [0, 2]
choose first in [true, false]
let picks = [choose k in 1..=3 for i in 0..n]
let more = [{ choose m in 1..=5 } for i in 0..2 if first and i >= n]
save base * (1 + len(picks ++ more)) / (1 + len(picks ++ more)) to \"out\"";
    // Without turns two `m` or none, with two turns two `k`.
    assert_eq!(opened("no-turns", recipe).space.count().to_string(), (5 * 5 + 1 + 2 * 3 * 3).to_string());
}

#[test]
fn spaces_of_any_size_are_counted_quickly() {
    let recipe = "
let on = [choose keep in [true, false] for t in 0..200]
let count = len([t for t in 0..200 if on[t]])
save base * (count + 1) / (count + 1) to \"out\"";
    let open = opened("large", recipe);
    assert_eq!(open.space.size().skeletons(), num(2).pow(200));
    // What the length is in each candidate is known without trying them.
    assert!(open.notes.is_empty(), "{:?}", open.notes);
    assert!(open.passes < 10, "{}", open.passes);
}

fn num(n: u32) -> num_bigint::BigUint {
    n.into()
}

#[test]
fn conditions_exclude_combinations_exactly() {
    let recipe = "
choose a in 1..=4
choose b in 1..=4
choose c in 1..=4
let sum = a + b requires sum <= 5 and mod(a, 2) == 0
save base * sum * c / sum / c to \"out\"";
    let open = opened("conditions", recipe);
    // (2, 1..=3) and (4, 1), each with 4 values of c.
    assert_eq!(open.space.count().to_string(), "16");
    for rank in 0..16u32 {
        let candidate = open.space.unrank(&rank.into()).unwrap();
        let choices = open.to_choices(&candidate);
        assert!(choices["a"].as_i64().unwrap() + choices["b"].as_i64().unwrap() <= 5);
        let set: Vec<(String, String)> = choices.iter().map(|(k, v)| (k.clone(), v.to_string())).collect();
        assert_eq!(open.candidate(&set), Ok(candidate));
    }
    assert!(open.candidate(&[("a".into(), "3".into())]).is_err());
    assert!(open.candidate(&[("nothing".into(), "3".into())]).is_err());
}

#[test]
fn contradictory_conditions_are_named() {
    let recipe = "
choose a in 1..=3
choose b in 1..=3
let first = a requires a <= 3
let sum = a + b requires sum <= 3
let product = a * b requires product >= 4
save base * product * sum * first / product / sum / first to \"out\"";
    let (_folder, request) = request("conflict", recipe);
    let Ok(Err(analysis)) = open(&request, Checks::Tried) else { panic!("the space is empty") };
    assert!(analysis.diagnostics.iter().filter(|d| d.is_error()).all(|d| d.code.0 == "E3104"));
    let Err(Empty { diagnostic: d, .. }) = explore(Front::read(&request).unwrap(), Checks::Tried).unwrap() else {
        panic!("the space is empty")
    };
    assert_eq!((d.code.0, d.labels.len()), ("E3104", 2));
}

/// The text under each label of the report of an empty space.
fn conflict(name: &str, recipe: &str) -> Vec<String> {
    let (_folder, request) = request(name, recipe);
    let explored = explore(Front::read(&request).unwrap(), Checks::Tried).unwrap();
    let Err(Empty { diagnostic: d, front }) = explored else { panic!("the space is empty") };
    assert_eq!(d.code.0, "E3104");
    d.labels.iter().map(|l| front.sources.slice(l.span).to_owned()).collect()
}

#[test]
fn the_smallest_set_of_conditions_in_conflict_is_named() {
    // Any two of the first three go together; the last alone excludes everything.
    let three = "
choose a in [true, false]
choose b in [true, false]
choose c in [1, 2, 3]
let one = c requires a or c < 0
let two = c requires b or c < 0
let other = c requires c <= 2
let three = c requires not (a and b)
save base * one * two * three * other / one / two / three / other to \"out\"";
    assert_eq!(conflict("three", three), ["a or c < 0", "b or c < 0", "not (a and b)"]);
    let alone = three.replace("requires c <= 2", "requires c * c == 2");
    assert_eq!(conflict("alone", &alone), ["c * c == 2"]);
}

#[test]
fn of_many_conditions_none_is_named_that_is_not_needed() {
    let mut recipe = "\nchoose n in 1..=20\n".to_owned();
    for i in 1..=14 {
        recipe += &format!("let v{i} = n requires n != {i}\n");
    }
    recipe += "let low = n requires n <= 2\nsave base * n / n to \"out\"";
    assert_eq!(conflict("many", &recipe), ["n != 1", "n != 2", "n <= 2"]);
}

#[test]
fn a_combination_that_fails_is_named_unless_it_is_excluded() {
    let recipe = "
choose rows in [2, 4, 8] = 8
choose parts in [1, 2, 3] = 2
let size = rows / parts
save base[\"**.q_proj.weight\"][0..size, ..] to \"out\" { config: { x: 1 } }";
    let found = faults("holes", recipe);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.contains("`parts` = 3") && !found[0].1.contains("rows"), "{found:?}");
    let fixed = recipe.replace(
        "let size = rows / parts",
        "let n = rows requires mod(rows, parts) == 0\nlet size = if mod(n, parts) == 0 { n / parts } else { 1 }",
    );
    assert_eq!(faults("no-holes", &fixed), []);
}

#[test]
fn a_budget_excludes_what_is_too_large() {
    let recipe = "
choose n in 1..=4
let deep = restack(\"model.layers\", [(math, l) for l in 0..n], rest: math) requires params(deep) <= 300 and bytes(deep) <= 1200
save deep to \"out\"";
    // A layer has 128 parameters, the rest 8.
    let open = opened("budget", recipe);
    assert_eq!(open.space.count().to_string(), "2");
    assert!(open.counted);
}

/// The independent parts of a recipe with decisions of every form, as its lines may stand in any order.
const PARTS: &[&str] = &[
    "choose scale in 0.5..=2.0 = 1.0",
    "choose order_of in order([0.25, 0.5, 0.75])",
    "let picks = [{ choose k in 1..=3  choose extra in [true, false]  k * (if extra { choose more in [1, 2] } else { 1 }) } for i in 0..2]",
    "fn soft(a: weight[..s], b: weight[..s]) -> weight[..s] { lerp(a, b, choose t in 0.0..=1.0 = 0.5) }",
    "fn twice(a: weight[..s], b: weight[..s]) -> weight[..s] { let once = soft(a, b)  soft(once, b) }",
    "let mixed = twice(base, math)",
    "let candidate = like base { \"model.layers.{l}.{part: self_attn|mlp}.**\" => choose method per (div(l, 2), part) { \
        task => base + scale * (choose w per l in [1, 2]) * (math - base)  keep => base }  _ => order_of[0] * math + (1 - order_of[0]) * code }",
];

/// Recipes that differ from [`PARTS`] in what no decision's path has in it.
fn edited(rng: &mut merge_search::Rng) -> String {
    let mut parts: Vec<String> = PARTS.iter().map(|p| p.to_string()).collect();
    // What is at the end uses what stands before it; the rest is independent.
    let (mut free, bound): (Vec<_>, Vec<_>) = parts.drain(..).partition(|p| !p.starts_with("let candidate"));
    rng.shuffle(&mut free);
    let mut lines = Vec::new();
    for (i, part) in free.into_iter().chain(bound).enumerate() {
        match rng.below(5) {
            0 => lines.push(format!("let between_{i} = {i} * (3 + len([base]))")),
            1 => lines.push(format!("fn unused_{i}(x: weight[..s]) -> weight[..s] {{ x * (choose other in [1, 2] = 1) }}")),
            2 => lines.push("// A remark, and an empty line.\n".into()),
            3 => lines.push(format!("choose early_{i} in [1, 2, 3] = 2")),
            _ => {}
        }
        lines.push(part);
    }
    let saved = "save like base { _ => 0.5 * candidate + 0.5 * mixed * picks[0] / picks[0] } to \"out\"";
    format!("{}\n{saved}", lines.join("\n"))
}

#[test]
fn an_edit_elsewhere_renames_no_decision() {
    let plain = PARTS.join("\n") + "\nsave like base { _ => 0.5 * candidate + 0.5 * mixed * picks[0] / picks[0] } to \"out\"";
    let open = opened("plain", &plain);
    let names = |open: &OpenRecipe| {
        let all = open.space.decisions().into_iter().map(|(path, _)| path.to_owned());
        all.filter(|path| !path.starts_with("early_")).collect::<std::collections::BTreeSet<_>>()
    };
    let wanted = names(&open);
    assert!(wanted.contains("mixed.twice.once.soft.t") && wanted.contains("mixed.twice.soft.t"), "{wanted:?}");
    assert!(wanted.contains("candidate.method.task.w[3]"), "{wanted:?}");
    let mut rng = merge_search::Rng::new(7, "edits");
    for i in 0..24 {
        let text = edited(&mut rng);
        let other = opened(&format!("edit-{i}"), &text);
        assert_eq!(names(&other), wanted, "{text}");
        // Choices that were saved are read again.
        let candidate = open.sample(1, i, false).remove(0);
        let saved: Vec<(String, String)> = open
            .to_choices(&candidate)
            .iter()
            .map(|(k, v)| (k.clone(), v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
            .collect();
        let read = other.candidate(&saved).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert!(open.to_choices(&candidate).iter().all(|(k, v)| other.to_choices(&read).get(k) == Some(v)));
    }
}

#[test]
fn what_is_set_is_open_no_more() {
    let (_folder, mut request) = request("pinned", MIXED);
    request.set = vec![("candidate.method[0, mlp]".into(), "pick".into())];
    let open = open(&request, Checks::Tried).unwrap();
    let Ok(open) = open else { panic!("it has a space") };
    // Of four decisions between 1, 3 and 1 candidates one is made, and leaves 3.
    assert_eq!(open.space.count().to_string(), (3 * 125).to_string());
    assert!(!open.describe().contains("method[0, mlp]  "), "{}", open.describe());
}

/// Candidates of a space, each elaborated: the value of every decision as the recipe met it.
fn met(open: &mut OpenRecipe) -> Vec<BTreeMap<String, String>> {
    let count = u64::try_from(open.space.count()).unwrap();
    let all = (0..count).map(|rank| {
        let candidate = open.space.unrank(&rank.into()).unwrap();
        let elaborated = open.front.elaborate(&open.answers(&candidate), false);
        let found: BTreeMap<_, _> = elaborated.decisions.iter().map(|d| (d.id.clone(), d.domain.text(&d.answer))).collect();
        let text = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        let choices = open.to_choices(&candidate);
        let told: BTreeMap<String, String> = choices.iter().map(|(k, v)| (k.clone(), text(v))).collect();
        assert_eq!(found, told, "what the search says is not what the recipe does");
        let set: Vec<(String, String)> = told.into_iter().collect();
        assert_eq!(open.candidate(&set), Ok(candidate), "{set:?}");
        found
    });
    all.collect()
}

#[test]
fn a_list_that_other_decisions_change_is_answered_by_value() {
    let recipe = "
choose wide in [true, false]
choose n in if wide { [1, 2, 3] } else { [3, 5] }
choose w in if wide { [0.5, 0.25] } else { [1.0, 0.5] }
save base * (w * n) / (w * n) to \"out\"";
    let mut open = opened("lists", recipe);
    assert_eq!(open.space.count().to_string(), "10");
    assert!(open.space.varies("n") && open.space.varies("w") && !open.space.varies("wide"));
    let all = met(&mut open);
    assert_eq!(all.iter().filter(|c| c["n"] == "3").count(), 4);
}

#[test]
fn orders_and_parts_of_lists_that_change_are_answered_by_value() {
    let recipe = "
choose wide in [true, false]
choose picked in subset(if wide { [1, 2, 3] } else { [3, 4, 5] }, size: 1..=2)
choose first in order(if wide { [1, 2] } else { [2, 3] })
save base * (len(picked) + first[0] + picked[0]) / (len(picked) + first[0] + picked[0]) to \"out\"";
    let mut open = opened("parts", recipe);
    assert_eq!(open.space.count().to_string(), (2 * 6 * 2).to_string());
    let all = met(&mut open);
    assert!(all.iter().any(|c| c["picked"] == "[4, 5]") && all.iter().any(|c| c["first"] == "[3, 2]"));
}

#[test]
fn of_many_conditions_a_smallest_set_is_named() {
    // The first three exclude everything, and so do the twenty others; leaving out one by one would come to the twenty.
    let mut recipe = "
choose n in 1..=20
choose m in [1, 2]
let a = n requires n <= 10 or m == 1
let b = n requires n > 10 or m == 1
let c = m requires m != 1
"
    .to_owned();
    for i in 1..=20 {
        recipe += &format!("let v{i} = n requires n != {i}\n");
    }
    recipe += "save base * (n * m) / (n * m) to \"out\"";
    assert_eq!(conflict("smallest", &recipe), ["n <= 10 or m == 1", "n > 10 or m == 1", "m != 1"]);
}

#[test]
fn the_smallest_set_is_that_of_brute_force() {
    let mut rng = merge_search::Rng::new(9, "conflicts");
    let mut found = 0;
    for i in 0..24 {
        // `x + k y` is not c modulo 5.
        let conditions: Vec<(i64, i64)> = (0..14).map(|_| (rng.below(4) as i64, rng.below(5) as i64)).collect();
        let fails = |(k, c): &(i64, i64), x: i64, y: i64| (x + k * y) % 5 == *c;
        let all: Vec<(i64, i64)> = (0..5).flat_map(|x| (0..5).map(move |y| (x, y))).collect();
        if all.iter().any(|(x, y)| !conditions.iter().any(|c| fails(c, *x, *y))) {
            continue;
        }
        found += 1;
        let excludes =
            |set: u32| all.iter().all(|(x, y)| conditions.iter().enumerate().any(|(i, c)| set >> i & 1 == 1 && fails(c, *x, *y)));
        let least = (1..1u32 << conditions.len()).filter(|set| excludes(*set)).map(u32::count_ones).min().unwrap();
        let mut recipe = "\nchoose x in 0..=4\nchoose y in 0..=4\n".to_owned();
        for (i, (k, c)) in conditions.iter().enumerate() {
            recipe += &format!("let v{i} = x requires mod(x + {k} * y, 5) != {c}\n");
        }
        recipe += "save base * (x + y + 1) / (x + y + 1) to \"out\"";
        assert_eq!(conflict(&format!("brute-{i}"), &recipe).len() as u32, least, "{recipe}");
    }
    assert!(found >= 4, "{found}");
}

/// What a recipe's first candidate is, and what is wrong if there is none.
fn first(name: &str, recipe: &str) -> crate::Analysis {
    let (_folder, request) = request(name, recipe);
    crate::analyse_all(&request).unwrap()
}

fn errors(analysis: &crate::Analysis) -> Vec<(&'static str, Vec<String>, String)> {
    let text = |d: &Diagnostic| d.labels.iter().map(|l| analysis.sources.slice(l.span).to_owned()).collect();
    let errors = analysis.diagnostics.iter().filter(|d| d.is_error());
    errors.map(|d| (d.code.0, text(d), d.notes.join(" "))).collect()
}

#[test]
fn real_numbers_that_meet_the_conditions_are_found() {
    let narrow = "
choose a in 0.0..=1.0
choose b in log(0.001, 1.0)
choose s in [0.5, 1.0, 4.0]
choose w in simplex(3)
choose n in [1, 2]
let sum = a + b requires abs(a + b - 1.25) < 0.002 and a > 0.9
let scale = s requires s > 2.0
let first = w[0] requires w[0] > 0.8 and n == 2
fn half(x: f32) -> f32 requires x > 0.8 { x / 2.0 }
save base * (sum * scale * half(first)) / (sum * scale * half(first)) to \"out\"";
    let analysis = first("narrow", narrow);
    assert_eq!(errors(&analysis), []);
    assert!(opened("narrow", narrow).space.count() > &num(1));
    // Conditions of a half open space cannot be met by what is no number.
    let apart = "
choose t in 0.0..=1.0
let high = t requires t > 0.9
let other = t requires t < 0.95
let low = t requires t * t < 0.25
save base * (high * low * other) / (high * low * other) to \"out\"";
    let found = errors(&first("apart", apart));
    assert_eq!(found, [("E3104", vec!["t > 0.9".to_owned(), "t * t < 0.25".to_owned()], String::new())]);
    let exact = apart.replace("t * t < 0.25", "t * t == 0.85");
    let found = errors(&first("exact", &exact));
    assert!(
        found.len() == 2 && found.iter().all(|f| f.0 == "E2009" && f.2.contains("were found (structures tried: 1)")),
        "{found:?}"
    );
}

#[test]
fn conditions_of_many_decisions_may_contradict_each_other() {
    let text = "
let widths = [choose w in [64, 128] for i in 0..40]
let total = sum(widths)
let a = total requires mod(total, 128) == 64
let b = total requires total > 3000
let c = total requires mod(total, 256) < 64
save base * (a * b * c) / (a * b * c) to \"out\"";
    let found = errors(&first("many", text));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].1, ["mod(total, 128) == 64", "mod(total, 256) < 64"]);
    assert_eq!(errors(&first("many", &text.replace("< 64", "< 70"))), []);
}
