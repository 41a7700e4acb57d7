//! Methods as graphs: what their plans look like, and that running them gives what the graph means.

mod common;

use common::{Build, check, compile};
use merge_abi::{BinaryFn, Plan, ReduceFn, Step, UnaryFn};
use merge_ir::tir::{NodeId, Over};

/// Shapes whose numbers of entries are the awkward ones.
const SHAPES: [&[u64]; 10] = [&[0], &[], &[1], &[63], &[8, 8], &[5, 13], &[4097], &[3, 1], &[1, 7], &[2, 3, 4]];

/// One letter a step: copy, map, reduce, select.
fn steps(plan: &Plan) -> String {
    let letter = |s: &Step| match s {
        Step::Copy { .. } => 'c',
        Step::Map { .. } => 'm',
        Step::Reduce { .. } => 'r',
        Step::Select { .. } => 's',
        Step::Call { .. } => 'x',
    };
    plan.steps.iter().map(letter).collect()
}

fn models(b: &mut Build, n: u32, name: &str, shape: &[u64]) -> Vec<NodeId> {
    (0..n).map(|c| b.load(c, name, shape)).collect()
}

#[test]
fn ties_is_one_selection_and_one_map_for_each_tensor_and_layers_share_kernels() {
    let mut b = Build::default();
    let (density, lambda) = (b.setting("density", 0.3), b.setting("lambda", 0.7));
    for layer in 0..5 {
        let name = format!("layers.{layer}");
        let m = models(&mut b, 4, &name, &[6, 11]);
        let merged = b.ties(m[0], &m[1..], density, lambda);
        b.save(&name, merged);
    }
    let compiled = check(&b.graph);
    assert_eq!(steps(&compiled.plan), "smsmsmsmsm");
    assert_eq!(compiled.kernels.len(), 2);
    let Step::Select { parts, selections } = &compiled.plan.steps[0] else { panic!() };
    assert_eq!((parts.len(), parts[0].operands.len(), selections.len()), (1, 4, 3));
    assert!(selections.iter().all(|s| s.cut.is_some()));
}

#[test]
fn ties_of_every_size() {
    for shape in SHAPES {
        for density in [0.0, 0.1, 0.5, 1.0] {
            let mut b = Build::default();
            let (density, lambda) = (b.setting("density", density), b.num(1.0));
            let m = models(&mut b, 3, "w", shape);
            let merged = b.ties(m[0], &m[1..], density, lambda);
            b.save("w", merged);
            check(&b.graph);
        }
    }
}

#[test]
fn whole_ties_selects_once_over_all_tensors() {
    let mut b = Build::default();
    let shapes: [(&str, &[u64]); 4] = [("a", &[5, 7]), ("b", &[64]), ("c", &[0]), ("d", &[3, 3, 3])];
    let (density, lambda) = (b.setting("density", 0.25), b.setting("lambda", 1.0));
    let vectors: Vec<NodeId> = (0..3)
        .map(|c| {
            let tensors: Vec<NodeId> = shapes.iter().map(|(n, s)| b.load(c, n, s)).collect();
            b.flat(&tensors)
        })
        .collect();
    let merged = b.ties(vectors[0], &vectors[1..], density, lambda);
    let mut start = 0;
    for (name, shape) in shapes {
        let piece = b.unflat(merged, start, shape);
        start += shape.iter().product::<u64>();
        b.save(name, piece);
    }
    let compiled = check(&b.graph);
    assert_eq!(steps(&compiled.plan), "smmm");
    let Step::Select { parts, .. } = &compiled.plan.steps[0] else { panic!() };
    assert_eq!(parts.len(), 3);
    // The parts and the maps are of one structure each.
    assert_eq!(compiled.kernels.len(), 2);
}

fn slerp(b: &mut Build, x: NodeId, y: NodeId, t: NodeId) -> NodeId {
    let dot = b.dot(Over::All, x, y);
    let (xx, yy) = (b.dot(Over::All, x, x), b.dot(Over::All, y, y));
    let (nx, ny) = (b.un(UnaryFn::Sqrt, xx), b.un(UnaryFn::Sqrt, yy));
    let norms = b.bin(BinaryFn::Mul, nx, ny);
    let c = b.bin(BinaryFn::Div, dot, norms);
    let (one, minus) = (b.num(1.0), b.num(-1.0));
    let low = b.bin(BinaryFn::Max, c, minus);
    let clamped = b.bin(BinaryFn::Min, low, one);
    let w = b.un(UnaryFn::Acos, clamped);
    let rest = b.bin(BinaryFn::Sub, one, t);
    let (wx, wy) = (b.bin(BinaryFn::Mul, rest, w), b.bin(BinaryFn::Mul, t, w));
    let (sx, sy, s) = (b.un(UnaryFn::Sin, wx), b.un(UnaryFn::Sin, wy), b.un(UnaryFn::Sin, w));
    let (ax, ay) = (b.bin(BinaryFn::Mul, sx, x), b.bin(BinaryFn::Mul, sy, y));
    let sum = b.bin(BinaryFn::Add, ax, ay);
    let arc = b.bin(BinaryFn::Div, sum, s);
    let limit = b.num(0.9995);
    let size = b.un(UnaryFn::Abs, c);
    let straight = b.bin(BinaryFn::Gt, size, limit);
    let (lx, ly) = (b.bin(BinaryFn::Mul, rest, x), b.bin(BinaryFn::Mul, t, y));
    let line = b.bin(BinaryFn::Add, lx, ly);
    b.select(straight, line, arc)
}

#[test]
fn slerp_is_one_reduction_and_one_map_and_layers_differ_in_numbers_alone() {
    let mut b = Build::default();
    for (layer, t) in [(0, 0.13), (1, 0.5), (2, 0.77)] {
        let name = format!("layers.{layer}");
        let m = models(&mut b, 2, &name, &[90, 91]);
        let t = if layer == 1 { b.setting("t", t) } else { b.num(t) };
        let merged = slerp(&mut b, m[0], m[1], t);
        b.save(&name, merged);
    }
    let compiled = check(&b.graph);
    assert_eq!(steps(&compiled.plan), "rmrmrm");
    assert_eq!(compiled.kernels.len(), 2);
    let Step::Reduce { results, .. } = &compiled.plan.steps[0] else { panic!() };
    assert_eq!(results.len(), 3);
}

fn model_stock(b: &mut Build, base: NodeId, models: &[NodeId], over: Over) -> NodeId {
    let deltas: Vec<NodeId> = models.iter().map(|m| b.bin(BinaryFn::Sub, *m, base)).collect();
    let mut cosines = Vec::new();
    for i in 0..deltas.len() {
        for j in i + 1..deltas.len() {
            let dot = b.dot(over, deltas[i], deltas[j]);
            let (x, y) = (b.dot(over, deltas[i], deltas[i]), b.dot(over, deltas[j], deltas[j]));
            let (x, y) = (b.un(UnaryFn::Sqrt, x), b.un(UnaryFn::Sqrt, y));
            let norms = b.bin(BinaryFn::Mul, x, y);
            cosines.push(b.bin(BinaryFn::Div, dot, norms));
        }
    }
    let (count, n) = (b.num(cosines.len() as f64), b.num(models.len() as f64));
    let total = b.sum(&cosines);
    let c = b.bin(BinaryFn::Div, total, count);
    let (one, zero) = (b.num(1.0), b.num(0.0));
    let top = b.bin(BinaryFn::Mul, n, c);
    let less = b.bin(BinaryFn::Sub, n, one);
    let rest = b.bin(BinaryFn::Mul, less, c);
    let under = b.bin(BinaryFn::Add, one, rest);
    let t = b.bin(BinaryFn::Div, top, under);
    let t = b.bin(BinaryFn::Max, t, zero);
    let t = b.bin(BinaryFn::Min, t, one);
    let sum = b.sum(models);
    let mean = b.bin(BinaryFn::Div, sum, n);
    let step = b.bin(BinaryFn::Sub, mean, base);
    let step = b.bin(BinaryFn::Mul, t, step);
    b.bin(BinaryFn::Add, base, step)
}

#[test]
fn model_stock_is_one_reduction_and_one_map_or_by_rows_one_map() {
    for (over, shape, wanted) in [
        (Over::All, &[7, 9][..], "rm"),
        (Over::Rows, &[7, 9], "m"),
        (Over::Rows, &[1, 65], "rm"),
        (Over::Rows, &[2, 3, 5], "m"),
        (Over::Rows, &[64], "rm"),
    ] {
        let mut b = Build::default();
        let m = models(&mut b, 4, "w", shape);
        let merged = model_stock(&mut b, m[0], &m[1..], over);
        b.save("w", merged);
        let compiled = check(&b.graph);
        assert_eq!(steps(&compiled.plan), wanted, "{over:?} {shape:?}");
        if let [Step::Map { body, .. }] = &compiled.plan.steps[..] {
            assert_eq!((body.by_rows, body.phases.len(), body.cols), (true, 1, shape[shape.len() - 1]));
        }
    }
}

#[test]
fn breadcrumbs_by_rows_is_one_map_with_one_selection_phase() {
    for (rows, cols) in [(6, 64), (3, 65), (1, 63), (5, 1), (2, 4097)] {
        let mut b = Build::default();
        let m = models(&mut b, 3, "w", &[rows, cols]);
        let (keep, drop) = (b.setting("keep", 0.3), b.setting("drop", 0.1));
        let (n, zero, alpha) = (b.num(cols as f64), b.num(0.0), b.num(0.4));
        let mut crumbs = Vec::new();
        for model in &m[1..] {
            let delta = b.bin(BinaryFn::Sub, *model, m[0]);
            let key = b.un(UnaryFn::Abs, delta);
            let rank = b.rank(Over::Rows, key);
            let low = b.bin(BinaryFn::Mul, drop, n);
            let low = b.un(UnaryFn::Floor, low);
            let kept = b.bin(BinaryFn::Mul, keep, n);
            let kept = b.un(UnaryFn::Floor, kept);
            let high = b.bin(BinaryFn::Add, low, kept);
            let (above, below) = (b.bin(BinaryFn::Ge, rank, low), b.bin(BinaryFn::Lt, rank, high));
            let both = b.bin(BinaryFn::And, above, below);
            crumbs.push(b.select(both, delta, zero));
        }
        let sum = b.sum(&crumbs);
        let sum = b.bin(BinaryFn::Mul, alpha, sum);
        let merged = b.bin(BinaryFn::Add, m[0], sum);
        b.save("w", merged);
        let compiled = check(&b.graph);
        if rows > 1 && cols > 1 {
            assert_eq!(steps(&compiled.plan), "m");
            let Step::Map { body, .. } = &compiled.plan.steps[0] else { panic!() };
            assert_eq!((body.phases.len(), body.rows), (1, rows));
        }
    }
}

#[test]
fn dare_ties_reads_everything_once() {
    let mut b = Build::default();
    let (p, w) = (b.setting("p", 0.4), b.setting("w", 0.6));
    let (zero, one, minus) = (b.num(0.0), b.num(1.0), b.num(-1.0));
    let m = models(&mut b, 3, "w", &[9, 31]);
    let mut taus = Vec::new();
    for (i, model) in m[1..].iter().enumerate() {
        let delta = b.bin(BinaryFn::Sub, *model, m[0]);
        let u = b.uniform(i as u64 + 100, 0, &[9, 31]);
        let mask = b.bin(BinaryFn::Lt, u, p);
        let kept = b.bin(BinaryFn::Mul, delta, mask);
        let scaled = b.bin(BinaryFn::Div, kept, p);
        taus.push(b.bin(BinaryFn::Mul, w, scaled));
    }
    let sums = b.sum(&taus);
    let positive = b.bin(BinaryFn::Ge, sums, zero);
    let sign = b.select(positive, one, minus);
    let mut used = Vec::new();
    let mut parts = Vec::new();
    for t in &taus {
        let s = b.un(UnaryFn::Sign, *t);
        let mask = b.bin(BinaryFn::Eq, s, sign);
        used.push(b.bin(BinaryFn::Mul, w, mask));
        parts.push(b.select(mask, *t, zero));
    }
    let (used, parts) = (b.sum(&used), b.sum(&parts));
    let none = b.bin(BinaryFn::Eq, used, zero);
    let used = b.select(none, one, used);
    let step = b.bin(BinaryFn::Div, parts, used);
    let merged = b.bin(BinaryFn::Add, m[0], step);
    b.save("w", merged);
    let compiled = check(&b.graph);
    assert_eq!(steps(&compiled.plan), "m");
    assert_eq!(compiled.kernels[0].keys, 2);
}

#[test]
fn random_numbers_of_a_whole_model_go_on_from_tensor_to_tensor() {
    let mut b = Build::default();
    let shapes: [(&str, &[u64]); 2] = [("a", &[5, 7]), ("b", &[64])];
    let tensors: Vec<NodeId> = shapes.iter().map(|(n, s)| b.load(1, n, s)).collect();
    let vector = b.flat(&tensors);
    let (u, half) = (b.uniform(5, 0, &[99]), b.num(0.5));
    let mask = b.bin(BinaryFn::Lt, u, half);
    let dropped = b.bin(BinaryFn::Mul, vector, mask);
    let kept = b.keep_top(dropped, half);
    for ((name, shape), start) in shapes.into_iter().zip([0, 35]) {
        let piece = b.unflat(kept, start, shape);
        b.save(name, piece);
    }
    let compiled = check(&b.graph);
    let Step::Map { body, .. } = &compiled.plan.steps[2] else { panic!() };
    assert_eq!((body.first, body.cuts[0].minus), (35, 0));
}

#[test]
fn statistics_of_statistics_run_in_order() {
    // The variance: a mean first, then the mean of squared differences; and a mask over what that scales.
    let mut b = Build::default();
    let x = b.load(0, "w", &[13, 5]);
    let n = b.num(65.0);
    let sum = b.reduce(ReduceFn::Sum, Over::All, x);
    let mean = b.bin(BinaryFn::Div, sum, n);
    let off = b.bin(BinaryFn::Sub, x, mean);
    let square = b.dot(Over::All, off, off);
    let var = b.bin(BinaryFn::Div, square, n);
    let scaled = b.bin(BinaryFn::Div, off, var);
    let k = b.num(20.0);
    let threshold = b.kth(Over::All, scaled, k);
    let above = b.bin(BinaryFn::Ge, scaled, threshold);
    let zero = b.num(0.0);
    let out = b.select(above, scaled, zero);
    b.save("w", out);
    assert_eq!(steps(&check(&b.graph).plan), "rrsm");
}

#[test]
fn rows_may_need_rows() {
    let mut b = Build::default();
    let x = b.load(0, "w", &[7, 10]);
    let n = b.num(10.0);
    let sum = b.reduce(ReduceFn::Sum, Over::Rows, x);
    let mean = b.bin(BinaryFn::Div, sum, n);
    let off = b.bin(BinaryFn::Sub, x, mean);
    let max = b.reduce(ReduceFn::Max, Over::Rows, off);
    let k = b.num(3.0);
    let third = b.kth(Over::Rows, off, k);
    let scaled = b.bin(BinaryFn::Div, third, max);
    let out = b.bin(BinaryFn::Add, x, scaled);
    b.save("w", out);
    let compiled = check(&b.graph);
    let Step::Map { body, .. } = &compiled.plan.steps[0] else { panic!() };
    assert_eq!(body.phases.len(), 3);
}

#[test]
fn an_average_of_rows_over_the_whole_tensor_is_found_where_the_rows_are() {
    let mut b = Build::default();
    let x = b.load(0, "w", &[7, 10]);
    let peak = b.reduce(ReduceFn::Max, Over::Rows, x);
    let scaled = b.bin(BinaryFn::Sub, x, peak);
    let total = b.reduce(ReduceFn::Sum, Over::All, scaled);
    let out = b.bin(BinaryFn::Div, x, total);
    b.save("w", out);
    assert_eq!(steps(&check(&b.graph).plan), "rm");
}

#[test]
fn numbers_are_computed_on_the_host_and_saved() {
    let mut b = Build::default();
    let x = b.load(0, "w", &[4, 3]);
    let scale = b.load(1, "scale", &[]);
    let total = b.reduce(ReduceFn::Sum, Over::All, x);
    let product = b.bin(BinaryFn::Mul, total, scale);
    let out = b.bin(BinaryFn::Mul, x, scale);
    b.save("total", product);
    b.save("scale", scale);
    b.save("w", out);
    let compiled = check(&b.graph);
    assert_eq!(steps(&compiled.plan), "rrmcm");
}

#[test]
fn a_plan_prints_compactly() {
    let mut b = Build::default();
    let t = b.num(0.3);
    for layer in 0..40 {
        let name = format!("layers.{layer}");
        let m = models(&mut b, 2, &name, &[16, 16]);
        let merged = slerp(&mut b, m[0], m[1], t);
        b.save(&name, merged);
    }
    let text = merge_opt::print_plan(&compile(&b.graph).plan);
    assert!(text.contains("40 × reduce 3 values over 1 part by reduce_0 of 2 inputs"), "{text}");
    assert!(text.contains("40 × map map_1 of 2 inputs, from step 1: layers.0"), "{text}");
    assert!(text.lines().count() < 20, "{text}");
}
