//! Compiled code against the reference interpreter, on generated recipes, dtypes and shapes.
//!
//! The seed of a failing case is printed; set MERGE_TEST_SEED to try it alone.

use merge_abi::DType;
use merge_runtime::{Options, progress::Silent};
use merge_tests::{Folder, Random, Tensor, analyse_text, interpret_output, read_model, values, write_checkpoint};

const SIZES: [usize; 9] = [0, 1, 2, 63, 64, 65, 127, 257, 4099];
const FLOATS: [DType; 6] = [DType::F64, DType::F32, DType::F16, DType::BF16, DType::F8E4M3, DType::F8E5M2];

/// An expression over the models `a`, `b`, `c` of one shape, with the shape `[..]` of a tensor. Only steps
/// that are continuous, so that f32 and f64 agree to rounding.
fn expression(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return (*random.pick(&["a", "b", "c", "a", "b", "0.5", "w"])).to_owned();
    }
    let mut sub = || expression(random, depth - 1);
    let (x, y) = (sub(), sub());
    match random.below(16) {
        0 | 1 => format!("({x} + {y})"),
        2 | 3 => format!("({x} - {y})"),
        4 => format!("({x} * {y})"),
        5 => format!("({x} / (abs({y}) + 1.0))"),
        6 => format!("abs({x})"),
        7 => format!("max({x}, {y})"),
        8 => format!("min({x}, {y})"),
        9 => format!("tanh({x})"),
        10 => format!("sqrt(abs({x}))"),
        11 => format!("exp(0.0 - abs({x}))"),
        12 => format!("lerp({x}, {y}, 0.25)"),
        13 => format!("({x} * norm(a - b))"),
        14 => format!("({x} + mean(c))"),
        _ => format!("clamp({x}, -0.75, 0.75)"),
    }
}

/// An expression over matrices `[o, i]`, most of whose steps need a tensor whole or out of order. Orders are only asked of what is
/// exact in f32.
fn matrix_expression(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return (*random.pick(&["a", "b", "c", "a", "b"])).to_owned();
    }
    let mut sub = || matrix_expression(random, depth - 1);
    let (x, y) = (sub(), sub());
    match random.below(18) {
        0 => format!("({x} + {y})"),
        1 => format!("({x} - {y})"),
        2 => format!("({x} / (1 + norm({y}, over: rows)))"),
        3 => format!("({x} / (1 + norm({y}, over: cols)))"),
        4 => format!("({x} - mean({y}, over: cols))"),
        5 => format!("transpose(transpose({x}) - mean(transpose({y}), over: rows))"),
        6 => format!("(({x} @ transpose({y}) @ c) / (1 + norm({x}) * norm({y})))"),
        7 => format!("sort({x}, over: rows)"),
        8 => format!("sort({x}, over: cols)"),
        9 => format!("(cumsum({x}) / (1 + norm({y})))"),
        10 => format!("({x} * (1 + rank(a, over: rows)) / 100)"),
        11 => format!("({x} * (1 + rank(b)) / 1000)"),
        12 => format!("reshape(transpose({x}), [o, i])"),
        13 => format!("concat([({x})[.., 0..div(i, 2)], ({y})[.., div(i, 2)..]], axis: 1)"),
        14 => format!("concat([({x})[0..div(o, 2), ..], ({y})[div(o, 2).., ..]], axis: 0)"),
        15 => format!("where(rank(c, over: cols) < 2, {x}, {y})"),
        16 => format!("take({x}, sort_index(reshape(a[0..1, ..], [i])), axis: 1)"),
        _ => format!("transpose(transpose({x}) - uniform(transpose({y}), seed: 3))"),
    }
}

#[test]
fn generated_recipes_agree_with_the_interpreter() {
    let shape = |random: &mut Random| match random.below(4) {
        0 => vec![*random.pick(&SIZES)],
        1 => vec![*random.pick(&[1, 3, 64, 65]), *random.pick(&SIZES)],
        2 => vec![2, *random.pick(&[1, 5]), *random.pick(&[1, 7, 64])],
        _ => vec![],
    };
    agree(40, shape, |random| format!("_ => {}", promised(&expression(random, 4))), 2e-5);
}

#[test]
fn generated_recipes_on_matrices_agree_with_the_interpreter() {
    let shape = |random: &mut Random| vec![*random.pick(&[1, 2, 3, 33, 64, 130]), *random.pick(&[1, 2, 5, 31, 64, 127])];
    agree(40, shape, |random| format!("_[o, i] => {}", promised(&matrix_expression(random, 3))), 1e-4);
}

/// A value of a rule, whatever its degree.
fn promised(value: &str) -> String {
    format!("(a + 0 * ({value})) + ({value}) - a as weight")
}

/// Runs recipes of one rule on four tensors and holds them against the interpreter.
fn agree(count: u64, shape: impl Fn(&mut Random) -> Vec<usize>, rule: impl Fn(&mut Random) -> String, tolerance: f64) {
    let seeds: Vec<u64> = match std::env::var("MERGE_TEST_SEED").ok().and_then(|s| s.parse().ok()) {
        Some(seed) => vec![seed],
        None => (1..=count).collect(),
    };
    for seed in seeds {
        let mut random = Random::new(seed);
        let folder = Folder::new("compiled");
        let shapes: Vec<Vec<usize>> = (0..4).map(|_| shape(&mut random)).collect();
        let dtypes: Vec<DType> = (0..4).map(|_| *random.pick(&FLOATS)).collect();
        for name in ["a", "b", "c"] {
            let tensors: Vec<(String, Tensor)> = shapes
                .iter()
                .zip(&dtypes)
                .enumerate()
                .map(|(i, (shape, dtype))| {
                    let entries = values(&mut random, shape.iter().product());
                    (format!("t.{i}"), Tensor { dtype: *dtype, shape: shape.clone(), entries })
                })
                .collect();
            write_checkpoint(&folder.join(name), tensors.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
        }
        let rule = rule(&mut random);
        let recipe = format!(
            "let a = checkpoint(\"a\")\nlet b = checkpoint(\"b\")\nlet c = checkpoint(\"c\")\nchoose w in 0.0..=1.0 = 0.3\n\
             save like a {{ {rule} }} to \"out\" {{ dtype: f32 }}\n"
        );
        let analysis = analyse_text(&folder, &recipe);
        let said: Vec<String> =
            analysis.diagnostics.iter().filter(|d| d.is_error()).map(|d| format!("{}: {}", d.code, d.message)).collect();
        assert!(said.is_empty(), "seed {seed}: {recipe}{}", said.join("\n"));
        merge_driver::run(&analysis, &Options::default(), &Silent).unwrap_or_else(|e| panic!("seed {seed}: {}", e.message));
        let got = read_model(&folder.join("out"));
        for (name, want) in interpret_output(&analysis, 0, 0) {
            let got = &got[&name];
            let scale = want.entries.iter().filter(|x| x.is_finite()).fold(1f64, |m, x| m.max(x.abs()));
            for (i, (x, y)) in got.entries.iter().zip(&want.entries).enumerate() {
                let near = (x - y).abs() <= tolerance * scale || (x.is_nan() && y.is_nan()) || x == y;
                assert!(near, "seed {seed}: {name}[{i}]: compiled {x}, interpreted {y}\n{recipe}");
            }
        }
    }
}

/// Selections are exact: the same entries as the interpreter's stable sort, on inputs that are exact in f32.
#[test]
fn selections_take_the_same_entries() {
    for seed in 1..=12 {
        let mut random = Random::new(1000 + seed);
        let folder = Folder::new("selections");
        let few = random.below(2) == 0;
        let shapes = [vec![*random.pick(&SIZES)], vec![7, 65], vec![3, 4099], vec![100_003], vec![2, 3, 64]];
        let tensors: Vec<(String, Tensor)> = shapes
            .iter()
            .enumerate()
            .map(|(i, shape)| {
                let count: usize = shape.iter().product();
                let entries = (0..count)
                    .map(|_| if few { random.below(5) as f64 - 2.0 } else { f64::from(random.normal() as f32) })
                    .collect();
                (format!("t.{i}"), Tensor { dtype: DType::F32, shape: shape.clone(), entries })
            })
            .collect();
        write_checkpoint(&folder.join("a"), tensors.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
        for value in [
            "keep_top(a, 0.3)",
            "keep_top(a, 0.5, tied: all)",
            "whole keep_top(a, 0.2)",
            "where(rank(abs(a), over: rows, largest_first: true) < 3, a, 0)",
            "where(rank(a, over: rows, largest_first: false) >= 2, a, 0)",
            "where(a >= quantile(a, 0.75, rule: lower), a, 0)",
            "keep_top(a, 0)",
            "keep_top(a, 1)",
        ] {
            if value.contains("quantile") && shapes.iter().any(|s| s.contains(&0)) {
                // No quantile of nothing: an error of its own.
                continue;
            }
            let recipe = format!("let a = checkpoint(\"a\")\nsave {value} as delta to \"out\"\n");
            let analysis = analyse_text(&folder, &recipe);
            let said: Vec<String> =
                analysis.diagnostics.iter().filter(|d| d.is_error()).map(|d| format!("{}: {}", d.code, d.message)).collect();
            assert!(said.is_empty(), "{recipe}{}", said.join("\n"));
            merge_driver::run(&analysis, &Options::default(), &Silent)
                .unwrap_or_else(|e| panic!("seed {seed} {value}: {}", e.message));
            let got = read_model(&folder.join("out"));
            for (name, want) in interpret_output(&analysis, 0, 0) {
                assert!(got[&name].entries == want.entries, "seed {seed}: {value}: {name} {:?}", want.shape);
            }
        }
    }
}
