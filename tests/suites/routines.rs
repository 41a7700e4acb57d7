//! Recipes full of matrices, compiled and run, against the reference interpreter: products, decompositions, orders and
//! picking between formulas, reductions over any axis and changes of shape.
//!
//! The seed of a failing case is printed; set MERGE_TEST_SEED to try it alone.

use merge_abi::DType;
use merge_runtime::{Options, progress::Silent};
use merge_tests::{Folder, Random, Tensor, analyse_text, interpret_output, read_model, values, write_checkpoint};

/// Lengths of axes; a matrix of each two of them is stored as `x.M.N`, a vector as `v.N`.
const LENGTHS: [usize; 3] = [5, 8, 33];

/// An expression for a matrix `m x n`. Only steps that are continuous, or decided by stored numbers.
fn matrix(random: &mut Random, m: usize, n: usize, depth: usize) -> String {
    let (a, d) = (*random.pick(&["a", "b"]), depth.saturating_sub(1));
    if depth == 0 {
        return format!("{a}[\"x.{m}.{n}\"]");
    }
    let k = *random.pick(&LENGTHS);
    match random.below(22) {
        0 | 1 => format!("({} + {})", matrix(random, m, n, d), matrix(random, m, n, d)),
        2 => format!("({} - 0.5 * {})", matrix(random, m, n, d), matrix(random, m, n, d)),
        3 => format!("tanh({} * {})", matrix(random, m, n, d), matrix(random, m, n, d)),
        4..=6 => format!("({} @ {})", matrix(random, m, k, d), matrix(random, k, n, d)),
        7 | 8 => format!("transpose({})", matrix(random, n, m, d)),
        9 => format!("take({}, sort_index({a}[\"v.{m}\"]), axis: 0)", matrix(random, m, n, d)),
        10 => format!("scatter({}, sort_index({a}[\"v.{n}\"], largest_first: true), axis: 1)", matrix(random, m, n, d)),
        11 => format!("({} * reshape({}, [1, {n}]))", matrix(random, m, n, d), vector(random, n, d)),
        12 => format!("({} - mean({}, over: cols))", matrix(random, m, n, d), matrix(random, m, n, d)),
        13 => format!("({} + sum({}, over: rows))", matrix(random, m, n, d), matrix(random, m, n, d)),
        14 => format!("reshape(flatten({}), [{m}, {n}])", matrix(random, m, n, d)),
        15 => format!("concat([{x}[0..2, ..], {y}[2.., ..]], axis: 0)", x = matrix(random, m, n, d), y = matrix(random, m, n, d)),
        16 => format!("unfold(reshape({}, [{n}, {m}]), 1)", matrix(random, m, n, d)),
        17 => format!("(diag({}) @ {})", vector(random, m, d), matrix(random, m, n, d)),
        18 => format!("sort({}, over: {})", matrix(random, m, n, d), random.pick(&["rows", "cols", "all"])),
        19 => format!("cumsum({}, over: {})", matrix(random, m, n, d), random.pick(&["rows", "cols"])),
        20 => format!("where({a}[\"x.{m}.{n}\"] > 0, {}, {})", matrix(random, m, n, d), matrix(random, m, n, d)),
        _ => format!("solve(3 * eye({m}) + {a}[\"x.{m}.{m}\"] @ transpose({a}[\"x.{m}.{m}\"]), {})", matrix(random, m, n, d)),
    }
}

fn vector(random: &mut Random, n: usize, depth: usize) -> String {
    let (a, d) = (*random.pick(&["a", "b"]), depth.saturating_sub(1));
    if depth == 0 {
        return format!("{a}[\"v.{n}\"]");
    }
    let k = *random.pick(&LENGTHS);
    match random.below(8) {
        0 => format!("({} + {})", vector(random, n, d), vector(random, n, d)),
        1 | 2 => format!("({} @ {})", matrix(random, n, k, d), vector(random, k, d)),
        3 => format!("({} @ {})", vector(random, k, d), matrix(random, k, n, d)),
        4 => format!("diag({})", matrix(random, n, n, d)),
        5 => format!("take_along({}, argmax({a}[\"x.{n}.{k}\"], over: rows))[.., 0]", matrix(random, n, k, d)),
        6 => format!("flatten(norm({}, over: cols))", matrix(random, k, n, d)),
        _ => format!("sort({})", vector(random, n, d)),
    }
}

/// A factor of a matrix, which one step shows in full: decompositions of what is stored alone, so that their own
/// sensitivity does not count as disagreement.
fn decomposed(random: &mut Random, m: usize, n: usize, depth: usize) -> String {
    let (a, least) = (*random.pick(&["a", "b"]), m.min(n));
    let x = format!("{a}[\"x.{m}.{n}\"]");
    let inner = matrix(random, m, n, depth);
    match random.below(6) {
        0 => format!("(low_rank({x}, rank: {}) + {inner})", 1 + random.below(least)),
        1 => format!("(polar({x}) - {inner})"),
        2 => format!("{{ let (q, r) = qr({x})\n q @ (r + transpose(q) @ {inner}) }}"),
        3 => format!("{{ let (u, s, v) = svd({x})\n u @ diag(cumsum(s) / sum(s)) @ transpose(v) * {inner} }}"),
        4 => format!("{{ let (u, s, v) = svd({x}, full: true)\n u @ (transpose(u) @ {inner} @ v) @ transpose(v) }}"),
        _ => format!(
            "{{ let (l, v) = eigh({a}[\"x.{m}.{m}\"] + transpose({a}[\"x.{m}.{m}\"]))\n (v * reshape(tanh(l), [1, {m}])) @ transpose(v) @ {inner} }}"
        ),
    }
}

fn models(random: &mut Random, folder: &Folder, dtype: DType) {
    for name in ["a", "b"] {
        let mut tensors = Vec::new();
        let mut add = |name: String, shape: Vec<usize>| {
            let entries = values(random, shape.iter().product());
            tensors.push((name, Tensor { dtype, shape, entries }));
        };
        for m in LENGTHS {
            add(format!("v.{m}"), vec![m]);
            LENGTHS.iter().for_each(|n| add(format!("x.{m}.{n}"), vec![m, *n]));
        }
        write_checkpoint(&folder.join(name), tensors.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
    }
}

#[test]
fn recipes_full_of_matrices_agree_with_the_interpreter() {
    let seeds: Vec<u64> = match std::env::var("MERGE_TEST_SEED").ok().and_then(|s| s.parse().ok()) {
        Some(seed) => vec![seed],
        None => (1..=40).collect(),
    };
    for seed in seeds {
        let mut random = Random::new(seed);
        let folder = Folder::new("routines");
        let dtype = *random.pick(&[DType::F32, DType::F32, DType::BF16]);
        models(&mut random, &folder, dtype);
        let mut entries = String::new();
        for k in 0..4 {
            let (m, n) = (*random.pick(&LENGTHS), *random.pick(&LENGTHS));
            let value = if k % 2 == 0 { matrix(&mut random, m, n, 3) } else { decomposed(&mut random, m, n, 2) };
            entries.push_str(&format!("    \"y.{k}\": {value}\n"));
        }
        let recipe =
            format!("let a = tensors(\"a\")\nlet b = tensors(\"b\")\nsave {{\n{entries}}} to \"out\" {{ dtype: f32 }}\n");
        let analysis = analyse_text(&folder, &recipe);
        let said: Vec<String> =
            analysis.diagnostics.iter().filter(|d| d.is_error()).map(|d| format!("{}: {}", d.code, d.message)).collect();
        assert!(said.is_empty(), "seed {seed}: {recipe}{}", said.join("\n"));
        merge_driver::run(&analysis, &Options::default(), &Silent)
            .unwrap_or_else(|e| panic!("seed {seed}: {}\n{recipe}", e.message));
        let got = read_model(&folder.join("out"));
        for (name, want) in interpret_output(&analysis, 0, 0) {
            let got = &got[&name];
            assert_eq!(got.shape, want.shape, "seed {seed}: {name}\n{recipe}");
            let scale = want.entries.iter().fold(1f64, |m, x| m.max(x.abs()));
            for (i, (x, y)) in got.entries.iter().zip(&want.entries).enumerate() {
                assert!((x - y).abs() <= 1e-4 * scale, "seed {seed}: {name}[{i}]: compiled {x}, interpreted {y}\n{recipe}");
            }
        }
    }
}

/// Layers whose permutations meet in one tensor, so that each sweep builds on the last: a hundred of them are planned
/// without delay, and undo what was permuted.
#[test]
fn git_rebasin_undoes_permutations_that_meet() {
    const WIDTHS: [usize; 5] = [6, 24, 24, 24, 3];
    let program = std::fs::read_to_string(merge_tests::root().join("tests/programs/18-git-rebasin.merge")).unwrap();
    let (functions, _) = program.split_once("fn mlp_groups").unwrap();
    let recipe = format!(
        "{functions}let chain = [[(\"fc{{l}}.weight\", 0), (\"fc{{l}}.bias\", 0), (\"fc{{l + 1}}.weight\", 1)] for l in 0..3]\n\
         save rebasin(math, code, groups: chain) to \"out\"\n"
    );
    let mut random = Random::new(11);
    let folder = Folder::new("rebasin");
    let (mut math, mut code) = (Vec::new(), Vec::new());
    let mut before: Vec<usize> = (0..WIDTHS[0]).collect();
    for (l, pair) in WIDTHS.windows(2).enumerate() {
        let (i, o) = (pair[0], pair[1]);
        let mut after: Vec<usize> = (0..o).collect();
        // The last layer's outputs have names, and stay.
        for k in (1..o).rev().filter(|_| l + 2 < WIDTHS.len()) {
            after.swap(k, random.below(k + 1));
        }
        let exact = |x: &f64| f64::from(*x as f32);
        let weight: Vec<f64> = values(&mut random, o * i).iter().map(exact).collect();
        let bias: Vec<f64> = values(&mut random, o).iter().map(exact).collect();
        let moved = (0..o * i).map(|k| weight[after[k / i] * i + before[k % i]]).collect();
        let tensor = |shape: Vec<usize>, entries: Vec<f64>| Tensor { dtype: DType::F32, shape, entries };
        code.push((format!("fc{l}.weight"), tensor(vec![o, i], moved)));
        code.push((format!("fc{l}.bias"), tensor(vec![o], after.iter().map(|k| bias[*k]).collect())));
        math.push((format!("fc{l}.weight"), tensor(vec![o, i], weight)));
        math.push((format!("fc{l}.bias"), tensor(vec![o], bias)));
        before = after;
    }
    for (name, tensors) in [("math", &math), ("code", &code)] {
        write_checkpoint(&folder.join(name), tensors.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
    }
    let analysis = analyse_text(&folder, &recipe);
    assert!(analysis.diagnostics.is_empty(), "{:?}", analysis.diagnostics);
    merge_driver::run(&analysis, &Options::default(), &Silent).unwrap_or_else(|e| panic!("{}", e.message));
    let got = read_model(&folder.join("out"));
    for (name, want) in math {
        assert!(got[&name].entries == want.entries, "{name}");
    }
}

/// The turns of a fold after it has stopped stand idle: they take no time, and cannot fail.
#[test]
fn turns_that_nobody_looks_at_do_not_run() {
    let folder = Folder::new("idle");
    let x = Tensor { dtype: DType::F32, shape: vec![1, 1], entries: vec![2.0] };
    write_checkpoint(&folder.join("a"), [("x", x)], &[]);
    let recipe = |until: &str| {
        format!(
            "let a = tensors(\"a\")\nsave {{ \"y\": {{\n let (y, _) = fold (y, n) = (a[\"x\"], 0.0) for k in 0..3 until n >= {until} {{\n  \
             (solve((1 - k) * a[\"x\"], y), n + sum(a[\"x\"]))\n }}\n y\n}} }} to \"out\"\n"
        )
    };
    let analysis = analyse_text(&folder, &recipe("1"));
    assert!(analysis.diagnostics.is_empty(), "{:?}", analysis.diagnostics);
    merge_driver::run(&analysis, &Options::default(), &Silent).unwrap_or_else(|e| panic!("{}", e.message));
    assert_eq!(read_model(&folder.join("out"))["y"].entries, [1.0]);
    // The same turn, looked at, meets a singular matrix.
    let error = merge_driver::run(&analyse_text(&folder, &recipe("4")), &Options::default(), &Silent).unwrap_err();
    assert!(error.message.contains("singular"), "{}", error.message);
}
