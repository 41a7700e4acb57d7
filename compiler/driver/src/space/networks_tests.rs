//! The checks of networks against brute force: what is found by a few candidates is what is wrong with any of all.

use super::*;
use merge_search::Rng;
use std::fmt::Write;
use tempfile::TempDir;

const LAYERS: &str = "
fn same(x: tensor[c, h, w], f: int, k: int) -> tensor[f, h, w] {
    new kernel[f, c, k, k] = kaiming()
    conv2d(x, kernel, pad: same)
}
fn valid(x: tensor[c, h, w], k: int, stride: int = 1) -> tensor {
    new kernel[c, c, k, k] = kaiming()
    conv2d(x, kernel, stride: stride)
}
fn shifted(x: tensor[c, h, w], f: int) -> tensor {
    new bias[f, 1, 1] = zeros()
    x + bias
}
fn halves(x: tensor[c, h, w]) -> tensor[c, h / 2, w / 2] { max_pool(x, 2) }
";

/// A network that may be wrong for some of its candidates.
struct Generator {
    rng: Rng,
    text: String,
    decisions: u32,
}

impl Generator {
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.rng.below(of.len())]
    }

    /// `choose d3 in [..]`, in brackets.
    fn choose(&mut self, domains: &[&str]) -> String {
        self.decisions += 1;
        let domain = self.pick(domains);
        format!("(choose d{} in {domain})", self.decisions)
    }

    fn layer(&mut self, x: &str, depth: u32) -> String {
        let deep = depth < 2 && self.decisions < 5;
        match self.rng.below(if deep { 11 } else { 7 }) {
            0 => format!("same({x}, {}, 1)", self.choose(&["[2, 4]", "[4, 8]"])),
            1 => format!("same({x}, 4, {})", self.choose(&["[1, 3]"])),
            2 => format!("valid({x}, {})", self.choose(&["[1, 3]", "[2, 5]"])),
            3 => format!("halves({x})"),
            4 => format!("shifted({x}, {})", self.choose(&["[1, 4]", "[2, 4]"])),
            5 => format!("{x} + same({x}, {}, 1)", self.choose(&["[4]", "[2, 4]"])),
            6 => format!("dropout(relu({x}), {})", self.choose(&["[0.5, 0.9]"])),
            7 => {
                self.decisions += 1;
                let name = self.decisions;
                let (a, b) = (self.layer(x, depth + 1), self.layer(x, depth + 1));
                format!("choose d{name} {{ keep => gelu({x}), one => {a}, two => {b} }}")
            }
            8 => {
                let condition = self.choose(&["[true, false]"]);
                let (a, b) = (self.layer(x, depth + 1), self.layer(x, depth + 1));
                format!("if {condition} {{ {a} }} else {{ {b} }}")
            }
            9 => {
                let turns = self.choose(&["[0, 1, 2]", "[1, 3]"]);
                let inner = self.layer("y", depth + 1);
                format!("fold y = {x} for i in 0..{turns} {{ {inner} }}")
            }
            _ => {
                let inner = self.layer("z", depth + 1);
                format!("{{ let z = relu({x})  {inner} }}")
            }
        }
    }

    fn network(seed: u64) -> String {
        let mut g = Generator { rng: Rng::new(seed, "networks"), text: LAYERS.into(), decisions: 0 };
        let excludes = g.rng.below(3) == 0;
        g.text += "fn network(x0: tensor[4, 8, 8]) -> tensor {\n";
        if excludes {
            g.text +=
                "    choose p in [1, 2, 4]\n    choose q in [1, 2, 4]\n    let sum = p + q requires mod(q, p) == 0 and p > 1\n";
            g.text += "    let y0 = shifted(x0, q)\n";
        }
        let layers = 2 + g.rng.below(3);
        for i in 0..layers {
            let layer = g.layer(&format!("x{i}"), 0);
            let _ = writeln!(g.text, "    let x{} = {layer}", i + 1);
        }
        let last = if excludes { "div(sum, sum) * " } else { "" };
        let _ = writeln!(g.text, "    {last}x{layers}\n}}");
        g.text + "search network { evaluate: command(\"true {model}\"), maximize: \"x\" }\n"
    }
}

fn read(text: &str, name: &str) -> (TempDir, Front) {
    let folder = tempfile::Builder::new().prefix(&format!("merge-networks-{name}-")).tempdir().unwrap();
    let file = folder.path().join("network.merge");
    std::fs::write(&file, text).unwrap();
    let front = Front::read(&Request { file, ..Request::default() }).unwrap();
    assert!(!front.diagnostics.iter().any(Diagnostic::is_error), "{text}\n{:?}", front.diagnostics);
    (folder, front)
}

/// How many candidates there are, and whether one of them is wrong: each tried by itself.
fn brute_force(open: &mut OpenRecipe, text: &str) -> Option<(u64, bool)> {
    let count = u64::try_from(open.space.count()).ok().filter(|n| *n <= 150)?;
    let mut wrong = false;
    for rank in 0..count {
        let candidate = open.space.unrank(&rank.into()).unwrap();
        let answers = open.answers(&candidate);
        let elaborated = open.front.elaborate(&answers, false);
        if elaborated.diagnostics.iter().any(Diagnostic::is_error) {
            wrong = true;
        } else {
            let known = elaborated.decisions.iter().all(|d| answers.contains_key(&d.id));
            assert!(
                known,
                "not all decisions are in the tree: {answers:?} {:?}\n{text}",
                elaborated.decisions.iter().map(|d| &d.id).collect::<Vec<_>>()
            );
        }
    }
    Some((count, wrong))
}

#[test]
fn what_is_wrong_with_any_candidate_is_found_by_few() {
    let (mut sound, mut faulty, mut saved) = (0, 0, 0);
    for seed in 0..120 {
        let text = Generator::network(seed);
        let (_folder, mut front) = read(&text, &seed.to_string());
        if front.elaborate(&BTreeMap::new(), false).diagnostics.iter().any(|d| d.is_error() && d.code.0 != "E2009") {
            // What the defaults show, needs no search.
            continue;
        }
        let found = explore(front, Checks::Tried).unwrap();
        let Ok(mut open) = found else { panic!("{text}: a space is empty") };
        let Some((count, wrong)) = brute_force(&mut open, &text) else { continue };
        let said: Vec<&str> = open.diagnostics.iter().map(|d| d.message.as_str()).collect();
        assert_eq!(!said.is_empty(), wrong, "seed {seed}, {count} candidates, {said:?}\n{text}");
        assert!(open.notes.is_empty(), "{text}: {:?}", open.notes);
        if wrong {
            faulty += 1
        } else {
            sound += 1
        }
        saved += u32::from((open.passes as u64) * 2 < count);
    }
    assert!(sound >= 10 && faulty >= 20 && saved >= 5, "{sound} sound, {faulty} faulty, {saved} quicker than one by one");
}

/// The range that a sum of terms has against that of all candidates, one by one.
#[test]
fn the_range_of_costs_is_that_of_all_candidates() {
    let (mut exact, mut unknown, mut quicker) = (0, 0, 0);
    for seed in 0..160 {
        let text = Generator::network(seed);
        let (folder, front) = read(&text, &format!("costs-{seed}"));
        let found = explore(front, Checks::Left).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        let Ok(mut open) = found else { panic!("{text}: a space is empty") };
        let Some(count) = u64::try_from(open.space.count()).ok().filter(|n| (2..=400).contains(n)) else { continue };
        let all: Vec<Assignment> = (0..count).map(|n| open.space.unrank(&n.into()).unwrap()).collect();
        if all.iter().any(|c| open.elaborate(c).is_err()) {
            continue;
        }
        let wanted = price::CostRange::of(open.prices(&all)).unwrap();
        match open.range_of_sum(1_000) {
            Some((range, passes)) => {
                assert_eq!((price::costs(range.low), price::costs(range.high)), (wanted.low, wanted.high), "seed {seed}\n{text}");
                exact += 1;
                quicker += u32::from((passes as u64) * 2 < count);
            }
            None => unknown += 1,
        }
    }
    assert!(exact >= 30 && quicker >= 10 && unknown * 10 <= exact, "{exact} exact, {quicker} quicker, {unknown} unknown");
}

fn faults_of(text: &str, name: &str) -> Vec<String> {
    let text = format!("{LAYERS}{text}\nsearch network {{ evaluate: command(\"true {{model}}\"), maximize: \"x\" }}\n");
    let (_folder, front) = read(&text, name);
    let found = explore(front, Checks::Tried).unwrap();
    let Ok(open) = found else { panic!("a space is empty") };
    assert!(open.notes.is_empty(), "{:?}", open.notes);
    open.diagnostics.iter().map(|d| format!("{} {}", d.message, d.notes.join(" "))).collect()
}

#[test]
fn a_turn_that_is_one_too_many_is_named() {
    // 16 is halved four times, but not five times.
    let text = "fn network(x: tensor[4, 16, 16]) -> tensor {
        choose f in [2, 4, 8]
        choose n in [1, 2, 5]
        fold y = same(x, f, 3) for i in 0..n { halves(y) }
    }";
    let found = faults_of(text, "turns");
    assert!(!found.is_empty() && found.iter().all(|f| f.ends_with("in candidates with `network.n` = 5")), "{found:?}");
    assert!(faults_of(&text.replace("[1, 2, 5]", "[1, 2, 4]"), "turns").is_empty());
}

#[test]
fn how_often_an_axis_is_halved_meets_what_it_is_added_to() {
    let halved = |name: &str| format!("let {name} = fold y = x for i in 0..(choose n_{name} in [1, 2, 3]) {{ halves(y) }}\n");
    let network = |sum: &str| {
        format!("fn network(x: tensor[4, 16, 16]) -> tensor {{ {}{}{}{sum} }}", halved("a"), halved("b"), halved("c"))
    };
    let found = faults_of(&network("a + b"), "halved");
    assert!(
        !found.is_empty() && found.iter().all(|f| f.contains("`network.a.n_a` = ") || f.contains("`network.b.n_b` = ")),
        "{found:?}"
    );
    assert!(
        faults_of(
            &network("flatten(mean(mean(a, over: rows), over: cols)) + flatten(mean(mean(c, over: rows), over: cols))"),
            "halved"
        )
        .is_empty()
    );
}

#[test]
fn decisions_far_apart_meet_where_their_axes_do() {
    // Twelve layers of eight values each are 8^12 networks; the sum at the end fits if two of the decisions agree.
    let mut text =
        "fn network(x: tensor[4, 8, 8]) -> tensor {\n    choose f in [2, 3, 4]\n    let y0 = same(x, f, 3)\n".to_owned();
    for i in 0..12 {
        let _ = writeln!(text, "    let y{} = same(y{i}, choose f{i} in [2, 3, 4, 5, 6, 7, 8, 9], 1)", i + 1);
    }
    text += "    same(y12, choose g in [2, 3, 4], 1) + y0\n}";
    let found = faults_of(&text, "apart");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("network.g") && !found[0].contains("network.f3"), "{found:?}");
    let agreed = text.replace("choose g in [2, 3, 4]", "f");
    assert!(faults_of(&agreed, "apart").is_empty());
}
