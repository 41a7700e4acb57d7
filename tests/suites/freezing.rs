//! `freeze` on random recipes of every form that a decision has: the recipe that it prints has nothing open and is the candidate.

use merge_driver::{Analysis, Request, Undecided, space::Checks};
use merge_runtime::{Options, progress::Silent};
use merge_search::Rng;
use merge_tests::{Folder, forward, read_model, write_stand_ins};
use std::fmt::Write;
use std::path::Path;

/// Writes recipes; every decision has a name of its own.
struct Writer {
    rng: Rng,
    decisions: u32,
    /// The forms that were written.
    forms: std::collections::BTreeSet<&'static str>,
}

impl Writer {
    fn new(seed: u64, of: &str) -> Writer {
        Writer { rng: Rng::new(seed, of), decisions: 0, forms: Default::default() }
    }

    fn name(&mut self) -> String {
        self.decisions += 1;
        format!("d{}", self.decisions)
    }

    /// A default for some of the decisions.
    fn default(&mut self, value: &str) -> String {
        if self.rng.below(3) == 0 { format!(" = {value}") } else { String::new() }
    }

    /// `per KEY` for some of the decisions.
    fn key(&mut self, keys: &[&str]) -> String {
        if self.rng.below(2) == 0 { format!(" per {}", keys[self.rng.below(keys.len())]) } else { String::new() }
    }

    /// A number: an expression that decides something.
    fn number(&mut self, keys: &[&str]) -> String {
        let (name, per) = (self.name(), self.key(keys));
        let (form, domain, default) = [
            ("ints", "[1, 2, 3]", "2"),
            ("reals", "[0.25, 0.5, 1.5]", "0.5"),
            ("negative ints", "[-1, 2]", "-1"),
            ("range", "1..=4", "3"),
            ("open range", "0..3", "1"),
            ("log of ints", "log(1, 64)", "8"),
            ("real range", "-1.0..=1.0", "-0.5"),
            ("log of reals", "log(1e-3, 1e0)", "0.01"),
        ][self.rng.below(8)];
        self.forms.insert(form);
        let default = self.default(default);
        format!("(choose {name}{per} in {domain}{default})")
    }

    /// A blend of models.
    fn blend(&mut self, depth: u32, keys: &[&str]) -> String {
        let name = self.name();
        match self.rng.below(if depth < 2 { 12 } else { 6 }) {
            0 => format!("lerp(base, math, choose {name} in 0.0..=1.0{})", self.default("0.25")),
            1 => format!("base + {} * (math - base)", self.number(keys)),
            2 => {
                self.forms.insert("order");
                let default = self.default("[0.5, 0.25, 0.75]");
                format!(
                    "{{ choose {name} in order([0.25, 0.5, 0.75]){default}  base + {name}[0] * (math - base) + {name}[1] * (code - base) }}"
                )
            }
            3 => {
                self.forms.insert("simplex");
                format!("{{ choose {name} in simplex(3)  {name}[0] * base + {name}[1] * math + {name}[2] * code }}")
            }
            4 => {
                self.forms.insert("subset");
                let size = ["", ", size: 1", ", size: 0..=2"][self.rng.below(3)];
                let per = self.key(keys);
                format!("mean([base] ++ (choose {name}{per} in subset([math, code]{size})))")
            }
            5 => {
                self.forms.insert("models");
                let per = self.key(keys);
                format!("lerp(base, choose {name}{per} in [math, code]{}, 0.5)", self.default("code"))
            }
            6 => {
                self.forms.insert("bools");
                let (one, other) = (self.blend(depth + 1, keys), self.blend(depth + 1, keys));
                format!("(if choose {name} in [true, false] {{ {one} }} else {{ {other} }})")
            }
            7 | 8 => {
                self.forms.insert("arms");
                let per = if depth == 0 { self.key(keys) } else { String::new() };
                let (one, other) = (self.blend(depth + 1, keys), self.blend(depth + 1, keys));
                let default = self.default("keep");
                format!("choose {name}{per} {{ one => {one}  other => {other}  keep => base }}{default}")
            }
            9 => {
                self.forms.insert("statement of arms");
                let (one, other) = (self.blend(depth + 1, keys), self.blend(depth + 1, keys));
                format!("{{ choose {name} {{ one => {one}  other => {other} }}  0.5 * {name} + 0.5 * base }}")
            }
            10 => {
                self.forms.insert("call");
                format!("{{ let {name} = blended(base, math)  {name} }}")
            }
            _ => {
                self.forms.insert("loop");
                let inner = self.number(&["k", "0"]);
                format!("base + sum([{inner} * (m - base) for (k, m) in zip([0, 1], tasks)])")
            }
        }
    }

    fn merge(&mut self) -> String {
        let mut text = String::from(
            "let base = checkpoint(\"base\")[\"**.weight\"]\nlet math = checkpoint(\"math\")[\"**.weight\"]\n\
             let code = checkpoint(\"code\")[\"**.weight\"]\nlet tasks = [math, code]\n",
        );
        let (t, by, how, mixed) = (self.number(&["0"]), self.number(&["0"]), self.name(), self.number(&["0"]));
        let _ = write!(
            text,
            "fn blended(a: weight[..s], b: weight[..s]) -> weight[..s] {{\n    choose how {{ near => a + {t} * (b - a)  far => b }}\n    \
             0.5 * how + 0.5 * (a + {by} * (b - a))\n}}\nchoose {how} in [1, 2]\nlet scale = {how} * {mixed}\n"
        );
        let layer = self.blend(0, &["div(l, 2)", "part", "(l, part)", "0"]);
        let rest = self.blend(0, &["0"]);
        let _ = write!(
            text,
            "let out = like base {{\n    \"model.layers.{{l}}.{{part: self_attn|mlp}}.**\" => {layer}\n    _ => base + scale * ({rest} - base)\n}}\n"
        );
        if self.rng.below(2) == 0 {
            self.forms.insert("search");
            text + "search out { evaluate: command(\"true {model}\"), maximize: \"x\" }\n"
        } else {
            text + "save out to \"out\"\n"
        }
    }

    /// A layer of a network; `x` is `[4, 6]`, and so is what it gives.
    fn layer(&mut self, x: &str, depth: u32) -> String {
        let name = self.name();
        match self.rng.below(if depth < 2 { 11 } else { 5 }) {
            0 => format!(
                "{{ let {name}_in = dense({x}, choose {name} in [3, 5]{})  let {name}_out = dense(relu({name}_in), 6)  {name}_out }}",
                self.default("5")
            ),
            1 => format!("dropout({x}, choose {name} in 0.5..=1.0{})", self.default("0.75")),
            2 => format!("{x} * {}", self.number(&["0"])),
            3 => {
                self.forms.insert("subset of a network");
                format!("sum([{x}] ++ [{x} * k for k in choose {name} in subset([2, 3, 5], size: 1..=2)])")
            }
            4 => {
                self.forms.insert("simplex of a network");
                format!("{{ choose {name} in simplex(2)  {name}[0] * {x} + {name}[1] * relu({x}) }}")
            }
            5 | 6 => {
                self.forms.insert("arms of a network");
                let (one, other) = (self.layer(x, depth + 1), self.layer(x, depth + 1));
                let default = self.default("keep");
                format!(
                    "choose {name} {{ one => {one}  made => {{ new own[6, 6] = kaiming()  let part = {other}  part @ own }}  keep => {x} }}{default}"
                )
            }
            7 => {
                self.forms.insert("statement of arms of a network");
                let one = self.layer(x, depth + 1);
                format!(
                    "{{ choose {name} {{ wide => {{ new own[1, 6] = normal()  let part = {one}  own + part }}  keep => {x} }}  {name} + {x} }}"
                )
            }
            8 | 9 => {
                self.forms.insert("fold");
                let (turns, inner) = (self.name(), self.layer("y", depth + 1));
                format!("{{ let {name} = fold y = {x} for i in 0..(choose {turns} in [1, 2, 3]) {{ {inner} }}  {name} }}")
            }
            _ => {
                self.forms.insert("call of a network");
                format!("{{ let {name} = block({x})  {name} }}")
            }
        }
    }

    fn network(&mut self) -> String {
        let mut text = String::new();
        let (act, inner) = (self.name(), self.layer("x", 2));
        let _ = write!(
            text,
            "fn block(x: tensor[4, 6]) -> tensor[4, 6] {{\n    choose {act} {{ relu => relu(x)  own => {{ new scale[1, 6] = uniform()  scale * x }} }}\n    \
             let part = {inner}\n    {act} + part\n}}\nfn net(x0: tensor[4, 6]) -> tensor[4, 6] {{\n    choose _rate in log(1e-4, 1e-1)\n"
        );
        let layers = 1 + self.rng.below(3);
        for i in 0..layers {
            let layer = self.layer(&format!("x{i}"), 0);
            let _ = writeln!(text, "    let x{} = {layer}", i + 1);
        }
        let _ = write!(text, "    dense(x{layers}, 6)\n}}\n");
        text + "search net { evaluate: command(\"true {model}\"), maximize: \"x\" }\n"
    }
}

fn said(analysis: &Analysis) -> String {
    analysis.diagnostics.iter().map(|d| format!("{}: {} {:?}", d.code, d.message, d.notes)).collect::<Vec<_>>().join("\n")
}

/// A recipe with answers to all that is open.
fn settled(file: &Path, set: &[(String, String)], search: Option<&str>, what: &str) -> Analysis {
    let (file, set, search) = (file.to_owned(), set.to_vec(), search.map(str::to_owned));
    let request = Request { file, set, search, undecided: Undecided::Refused, ..Request::default() };
    let analysis = merge_driver::analyse(&request).unwrap();
    assert!(!analysis.has_errors(), "{what}\n{}", said(&analysis));
    analysis
}

/// Some candidates of a recipe, each with the recipe that it freezes into: `same` compares the two.
fn each_frozen(folder: &Folder, text: &str, seed: u64, same: &mut dyn FnMut(&Analysis, &Analysis, &str)) {
    let file = folder.write("recipe.merge", text);
    let request = Request { file: file.clone(), ..Request::default() };
    let open = match merge_driver::space::open(&request, Checks::Left).unwrap() {
        Ok(open) => open,
        Err(analysis) => panic!("{text}\n{}", said(&analysis)),
    };
    for candidate in [open.sample(1, seed, false), open.sample(1, seed, true)].concat() {
        // As a file of choices has them.
        let set = merge_driver::parse_choices(&open.choices_text(&candidate)).unwrap();
        let request = Request { file: file.clone(), set: set.clone(), undecided: Undecided::Refused, ..Request::default() };
        let frozen = match merge_driver::freeze(&request).unwrap() {
            Ok(text) => text,
            Err(analysis) => panic!("{text}\n{set:?}\n{}", said(&analysis)),
        };
        let plain = folder.write("frozen.merge", &frozen);
        let what = format!("{text}\n{set:?}\n{frozen}");
        let search = text.contains("search out").then_some("out");
        same(&settled(&file, &set, search, &what), &settled(&plain, &[], None, &what), &what);
    }
}

#[test]
fn frozen_merges_write_the_same_bytes() {
    let folder = Folder::new("freezing");
    write_stand_ins(folder.path());
    let mut forms = std::collections::BTreeSet::new();
    for seed in 0..14 {
        let mut writer = Writer::new(seed, "merges");
        let text = writer.merge();
        each_frozen(&folder, &text, seed, &mut |candidate, frozen, what| {
            let run = |analysis: &Analysis| {
                let options = Options { out: Some(folder.join("out")), ..Options::default() };
                merge_driver::run(analysis, &options, &Silent).unwrap_or_else(|e| panic!("{}\n{what}", e.message));
                read_model(&folder.join("out"))
            };
            assert!(run(candidate) == run(frozen), "{what}");
        });
        forms.extend(writer.forms);
    }
    assert_eq!(forms.len(), 18, "{forms:?}");
}

#[test]
fn frozen_networks_are_the_same_networks() {
    let folder = Folder::new("freezing");
    let mut forms = std::collections::BTreeSet::new();
    let x: Vec<f64> = (0..24).map(|i| f64::from(i * 7 % 11) / 5.0 - 1.0).collect();
    for seed in 0..40 {
        let mut writer = Writer::new(seed, "networks");
        let text = writer.network();
        each_frozen(&folder, &text, seed, &mut |candidate, frozen, what| {
            let trained = |a: &Analysis| {
                let of = |p: &merge_ir::tir::Parameter| (p.name.clone(), p.shape.to_vec(), p.written.clone());
                a.elaborated.graph.parameters.iter().map(of).collect::<Vec<_>>()
            };
            assert_eq!(trained(candidate), trained(frozen), "{what}");
            assert_eq!(candidate.elaborated.price, frozen.elaborated.price, "{what}");
            let [one, other] = [candidate, frozen].map(|a| forward(a, "net", &[("x0", x.clone())], &[]));
            assert!(one == other, "{what}");
        });
        forms.extend(writer.forms);
    }
    assert!(forms.len() >= 12, "{forms:?}");
}
