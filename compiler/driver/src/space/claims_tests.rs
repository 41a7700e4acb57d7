//! Claims against brute force: small spaces, with the limit so low that they count as large.

use super::*;
use merge_search::Rng;
use std::path::PathBuf;

fn read(text: &str, name: &str) -> (PathBuf, Front) {
    let folder = std::env::temp_dir().join(format!("merge-claims-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("recipe.merge");
    std::fs::write(folder.join("base.schema"), "# merge schema 1\nw.weight F32 [8, 8]\n").unwrap();
    std::fs::write(&file, format!("let base = checkpoint(\"base\")\n{text}")).unwrap();
    let front = Front::read(&Request { file, ..Request::default() }).unwrap();
    assert!(!front.diagnostics.iter().any(Diagnostic::is_error), "{text}\n{:?}", front.diagnostics);
    (folder, front)
}

/// The space of a recipe, with a limit.
fn opened(text: &str, name: &str, limit: u128) -> Option<OpenRecipe> {
    MOST_COMBINATIONS.set(limit);
    let (folder, front) = read(text, name);
    let found = explore(front, Checks::Tried).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    MOST_COMBINATIONS.set(10_000);
    found.ok()
}

/// What is said of a recipe: faults with the candidates that have them, and what is left open.
fn said(text: &str, name: &str) -> (Vec<String>, Vec<String>, usize) {
    let open = opened(text, name, 10_000).expect("it has candidates");
    let faults = open.diagnostics.iter().map(|d| format!("{} {} {}", d.code.0, d.message, d.notes.join(" "))).collect();
    (faults, open.notes, open.passes)
}

const WIDTHS: &str = "let widths = [choose w in [64, 128, 256] for i in 0..40]\n";

fn saved(n: &str) -> String {
    format!("save base * ({n} + 1) / ({n} + 1) to \"out\"\n")
}

#[test]
fn a_sum_of_forty_widths_is_divided() {
    let sums = [
        "let total = fold s = 0 for w in widths { s + w }",
        "let total = sum(widths)",
        "fn all(l: [int]) -> int { fold s = 0 for w in l { s + w } }\nlet total = all(widths)",
        "let total = sum([widths[i] + 64 * i for i in 0..40])",
    ];
    for (i, sum) in sums.iter().enumerate() {
        let good = format!("{WIDTHS}{sum}\nlet heads = total / 64\n{}", saved("heads"));
        let (faults, notes, passes) = said(&good, &format!("sum-{i}"));
        assert!(faults.is_empty() && notes.is_empty() && passes < 200, "{sum}: {faults:?} {notes:?} {passes}");
        let bad = format!("{WIDTHS}{sum}\nlet heads = total / 128\n{}", saved("heads"));
        let (faults, notes, _) = said(&bad, &format!("sum-{i}"));
        assert!(faults.len() == 1 && notes.is_empty(), "{sum}: {faults:?} {notes:?}");
        assert!(faults[0].starts_with("E2006") && faults[0].contains("in candidates with `widths.w"), "{faults:?}");
    }
}

#[test]
fn what_a_condition_excludes_is_no_failure() {
    let text = format!(
        "{WIDTHS}let total = sum(widths)\nlet even = total requires mod(total, 128) == 0\nlet heads = even / 128\n{}",
        saved("heads")
    );
    let (faults, notes, _) = said(&text, "excluded");
    assert!(faults.is_empty(), "{faults:?}");
    // The size cannot be exact: the condition is tried for each candidate.
    assert!(notes.iter().all(|n| n.contains("`requires mod(total, 128) == 0`")), "{notes:?}");
    let weaker = text.replace("requires mod(total, 128) == 0", "requires mod(total, 64) == 0 and total > 5000");
    let (faults, ..) = said(&weaker, "weaker");
    assert!(faults.len() == 1 && faults[0].starts_with("E2006"), "{faults:?}");
}

#[test]
fn optional_parts_are_put_together_from_what_candidates_show() {
    let text = "let parts = [{ choose on in [true, false]  if on { choose r in [8, 16, 24] } else { 0 } } for i in 0..24]
let kinds = [choose kind { small => 8  large => choose extra in [64, 72] } for i in 0..12]
let total = sum(parts) + sum(kinds)
let heads = total / 8\n"
        .to_owned()
        + &saved("heads");
    let (faults, notes, passes) = said(&text, "parts");
    assert!(faults.is_empty() && notes.is_empty() && passes < 400, "{faults:?} {notes:?} {passes}");
    let (faults, ..) = said(&text.replace("[64, 72]", "[64, 68]"), "parts-bad");
    assert!(faults.len() == 1 && faults[0].contains("extra"), "{faults:?}");
}

#[test]
fn a_function_may_require_of_sums() {
    let text = format!(
        "fn split(n: int, by: int) -> int requires mod(n, by) == 0 and n > 0 {{ n / by }}\n{WIDTHS}let n = split(sum(widths), 32)\n{}",
        saved("n")
    );
    let (faults, notes, _) = said(&text, "require");
    assert!(faults.is_empty() && notes.is_empty(), "{faults:?} {notes:?}");
    let (faults, ..) = said(&text.replace(", 32)", ", 96)"), "require-bad");
    assert!(faults.len() == 1 && faults[0].starts_with("E2009"), "{faults:?}");
}

#[test]
fn branches_that_hang_on_sums_are_looked_into() {
    let text = format!(
        "{WIDTHS}let total = sum(widths)
let heads = if total > 9000 {{ total / 64 }} else {{ if total < 2700 {{ (total + 64) / 64 }} else {{ total / 32 }} }}
{}",
        saved("heads")
    );
    let (faults, notes, _) = said(&text, "branches");
    assert!(faults.is_empty() && notes.is_empty(), "{faults:?} {notes:?}");
    let (faults, ..) = said(&text.replace("(total + 64) / 64", "(total + 64) / 128"), "branches-bad");
    assert!(faults.len() == 1 && faults[0].starts_with("E2006"), "{faults:?}");
}

/// Recipes of ints that may be wrong for some of their candidates.
struct Generator {
    rng: Rng,
    decisions: usize,
    arms: usize,
}

impl Generator {
    fn int(&mut self, depth: u32) -> String {
        if depth == 0 {
            return match self.rng.below(4) {
                0 => ["1", "2", "3", "4"][self.rng.below(4)].to_owned(),
                _ if self.decisions > 0 && self.rng.below(2) == 0 => format!("d{}", self.rng.below(self.decisions)),
                _ => format!("xs[{}]", self.rng.below(3)),
            };
        }
        let (a, b) = (self.int(depth - 1), self.int(depth - 1));
        match self.rng.below(18) {
            0..=2 => format!("({a} + {b})"),
            3 => format!("({a} * {b})"),
            4 => format!("({a} - {b})"),
            5 => format!("({a} / {b})"),
            6 => format!("mod({a}, {b})"),
            7 => format!("div({a}, {b})"),
            8 => format!("max({a}, {b})"),
            9 => format!("(if {} {{ {a} }} else {{ {b} }})", self.truth()),
            10 => format!("sum([{a} for x in xs if {}])", self.truth()),
            11 => format!("(fold s = {a} for i in 0..d{} {{ s + xs[i] }})", self.rng.below(self.decisions)),
            12 => format!("(fold s = {a} for x in xs {{ if {} {{ s * x }} else {{ s + {b} }} }})", self.truth()),
            13 => {
                self.arms += 1;
                let (name, c) = (self.arms, self.int(0));
                format!("(choose arm{name} {{ one => {a}  two => {b}  three => {c} }} = two)")
            }
            14 => format!("len([x for x in xs if x > {a}])"),
            15 => format!("sum([x * {a} for (i, x) in enumerate(xs)])"),
            16 => format!("[{a}, {b}, 3][mod({a}, 3)]"),
            _ => format!("halved({a})"),
        }
    }

    fn truth(&mut self) -> String {
        let (a, b) = (self.int(0), self.int(0));
        match self.rng.below(5) {
            0 => format!("{a} < {b}"),
            1 => format!("({a} == {b} or {b} > 2)"),
            2 => format!("({b} != 0 and mod({a}, {b}) == 0)"),
            3 => format!("not ({a} >= {b})"),
            _ => format!("{a} <= {b}"),
        }
    }

    fn recipe(seed: u64) -> String {
        let mut g = Generator { rng: Rng::new(seed, "claims"), decisions: 0, arms: 0 };
        let mut text = "fn halved(n: int) -> int requires n >= 0 { if mod(n, 2) == 0 { n / 2 } else { n } }\n".to_owned();
        text += "let xs = [choose x in [1, 2, 4] = 4 for i in 0..3]\n";
        for i in 0..3 {
            let domain = ["1..=3 = 2", "[2, 4] = 4", "[0, 1] = 1"][g.rng.below(3)];
            text += &format!("choose d{i} in {domain}\n");
            g.decisions += 1;
        }
        if g.rng.below(2) == 0 {
            text += &format!("let allowed = 1 requires {} or d0 == 2\n", g.truth());
        }
        for i in 0..2 + g.rng.below(2) {
            let value = g.int(2);
            text += &format!("let v{i} = {value}\n");
        }
        text + "save base * (v0 + v1 + 1000000) / (v0 + v1 + 1000000) to \"out\"\n"
    }
}

#[test]
fn claims_say_what_brute_force_says() {
    let (mut sound, mut faulty, mut decided, mut left) = (0, 0, 0, 0);
    for seed in 0..120 {
        let text = Generator::recipe(seed);
        let (folder, mut front) = read(&text, &seed.to_string());
        let first = front.elaborate(&BTreeMap::new(), false);
        std::fs::remove_dir_all(folder).unwrap();
        if first.diagnostics.iter().any(Diagnostic::is_error) {
            continue;
        }
        let Some(all) = opened(&text, &seed.to_string(), 10_000) else { continue };
        let Some(low) = opened(&text, &seed.to_string(), 12) else { panic!("seed {seed}: {text}") };
        let wrong = !all.diagnostics.is_empty();
        let said: Vec<&str> = low.diagnostics.iter().map(|d| d.message.as_str()).collect();
        if low.notes.iter().any(|n| n.starts_with("some checks")) {
            left += 1;
            assert!(wrong || said.is_empty(), "seed {seed}: {said:?}\n{text}");
            continue;
        }
        decided += 1;
        assert_eq!(!said.is_empty(), wrong, "seed {seed}: {said:?} {:?}\n{text}", all.diagnostics);
        if wrong { faulty += 1 } else { sound += 1 }
    }
    assert!(sound >= 10 && faulty >= 8 && decided > left, "{sound} sound, {faulty} faulty, {decided} decided, {left} left");
}
