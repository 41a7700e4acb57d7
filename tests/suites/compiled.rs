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

#[test]
fn generated_recipes_agree_with_the_interpreter() {
    let seeds: Vec<u64> = match std::env::var("MERGE_TEST_SEED").ok().and_then(|s| s.parse().ok()) {
        Some(seed) => vec![seed],
        None => (1..=40).collect(),
    };
    for seed in seeds {
        let mut random = Random::new(seed);
        let folder = Folder::new("compiled");
        let shapes: Vec<Vec<usize>> = (0..4)
            .map(|_| match random.below(4) {
                0 => vec![*random.pick(&SIZES)],
                1 => vec![*random.pick(&[1, 3, 64, 65]), *random.pick(&SIZES)],
                2 => vec![2, *random.pick(&[1, 5]), *random.pick(&[1, 7, 64])],
                _ => vec![],
            })
            .collect();
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
        let value = expression(&mut random, 4);
        let recipe = format!(
            "let a = checkpoint(\"a\")\nlet b = checkpoint(\"b\")\nlet c = checkpoint(\"c\")\nchoose w in 0.0..=1.0 = 0.3\n\
             save like a {{ _ => (a + 0 * ({value})) + ({value}) - a as weight }} to \"out\" {{ dtype: f32 }}\n"
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
                let near = (x - y).abs() <= 2e-5 * scale || (x.is_nan() && y.is_nan()) || x == y;
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
