//! What the networks of `examples/spaces` compute: symmetries, modules that change nothing at the start, and adapters that fold away.

use merge_driver::{Analysis, Request, Undecided};
use merge_interp::Interpreter;
use merge_ir::tir::Graph;
use merge_tests::{Folder, Random, Tensor, forward, read_model, root, write_backbone, write_checkpoint, write_stand_ins};
use std::collections::BTreeMap;

type Model = BTreeMap<String, Tensor>;

/// A folder with the checkpoints that examples read.
fn folder() -> Folder {
    let folder = Folder::new("shipped");
    write_stand_ins(folder.path());
    write_backbone(folder.path());
    folder
}

/// A candidate of an example, by its answers; what is not answered has its first value.
fn candidate(folder: &Folder, name: &str, answers: &[(&str, &str)]) -> Analysis {
    let text = std::fs::read_to_string(root().join("examples/spaces").join(format!("{name}.merge"))).unwrap();
    let file = folder.write(&format!("{name}.merge"), &text);
    let set = answers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let analysis = merge_driver::analyse(&Request { file, set, undecided: Undecided::First, ..Request::default() }).unwrap();
    let said: Vec<String> = analysis.diagnostics.iter().map(|d| format!("{}: {} {:?}", d.code, d.message, d.notes)).collect();
    assert!(!analysis.has_errors(), "{answers:?}: {}", said.join("\n"));
    analysis
}

fn normals(seed: u64, count: usize) -> Vec<f64> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.normal()).collect()
}

fn parameters(graph: &Graph) -> BTreeMap<String, Vec<usize>> {
    let shape = |s: &[u64]| s.iter().map(|n| *n as usize).collect();
    graph.parameters.iter().map(|p| (p.name.clone(), shape(&p.shape))).collect()
}

/// A name without the key behind it: `factor[2]` is a `factor`.
fn without_key(name: &str) -> &str {
    name.strip_suffix(']').and_then(|n| n.rsplit_once('[')).map_or(name, |(n, _)| n)
}

/// Parameters that are random numbers, in place of those whose names end so.
fn replaced(analysis: &Analysis, ends: &[&str]) -> Vec<(String, Vec<f64>)> {
    let all = parameters(&analysis.elaborated.graph);
    let chosen = all.iter().filter(|(name, _)| ends.iter().any(|end| without_key(name).ends_with(end)));
    let made = chosen.enumerate().map(|(k, (name, shape))| (name.clone(), normals(k as u64 + 50, shape.iter().product())));
    made.map(|(name, v)| (name, v.iter().map(|x| 0.3 * x).collect())).collect()
}

fn run(analysis: &Analysis, network: &str, inputs: &[(&str, Vec<f64>)], parameters: &[(String, Vec<f64>)]) -> Tensor {
    let parameters: Vec<(&str, Vec<f64>)> = parameters.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
    forward(analysis, network, inputs, &parameters)
}

/// The largest difference, over the largest entry.
fn apart(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len());
    let scale = y.iter().fold(1e-30f64, |m, v| m.max(v.abs()));
    x.iter().zip(y).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / scale
}

/// `n` points, turned about two axes, reflected and shifted.
fn moved(points: &[f64]) -> Vec<f64> {
    let (c, s) = (0.7f64.cos(), 0.7f64.sin());
    let turn = |p: &[f64]| {
        let (x, y, z) = (c * p[0] - s * p[1], s * p[0] + c * p[1], -p[2]);
        [x + 3.0, c * y - s * z - 1.0, s * y + c * z + 0.5]
    };
    points.chunks(3).flat_map(turn).collect()
}

#[test]
fn frame_averages_do_not_see_how_a_cloud_lies() {
    let folder = folder();
    // Unlike lengths along the axes, so that these are determined.
    let cloud: Vec<f64> = normals(1, 256 * 3).chunks(3).flat_map(|p| [p[0], 2.0 * p[1], 4.0 * p[2] + p[0]]).collect();
    for pool in ["mean", "max"] {
        let answers = [("cloud.kind", "invariant"), ("cloud.kind.invariant.pool", pool), ("cloud.depth", "2")];
        let analysis = candidate(&folder, "frame_averaging", &answers);
        let [one, two] = [&cloud, &moved(&cloud)].map(|x| run(&analysis, "cloud", &[("x", x.clone())], &[]));
        assert_eq!(one.shape, [1, 40]);
        assert!(apart(&two.entries, &one.entries) < 1e-9, "{pool}");
        let other: Vec<f64> = cloud.iter().map(|v| 1.1 * v).collect();
        assert!(apart(&run(&analysis, "cloud", &[("x", other)], &[]).entries, &one.entries) > 1e-3);
    }
    let analysis = candidate(&folder, "frame_averaging", &[("cloud.kind", "equivariant"), ("cloud.bend", "tanh")]);
    let [one, two] = [&cloud, &moved(&cloud)].map(|x| run(&analysis, "cloud", &[("x", x.clone())], &[]));
    assert_eq!(one.shape, [256, 3]);
    assert!(apart(&two.entries, &moved(&one.entries)) < 1e-9);
}

/// What is added to the layer of `unified_petl` has up-projections of zeros, so that it changes nothing before it is trained; but a prefix does.
#[test]
fn what_the_unified_view_adds_changes_nothing_at_the_start() {
    let folder = folder();
    let places = ["projections.modified", "attention.modified_heads", "y.modified", "modified"];
    let x = [("x", normals(2, 128 * 768))];
    let run_with = |on: &[(usize, &[(&str, &str)])]| {
        let mut answers: Vec<(String, String)> = Vec::new();
        for (i, place) in places.iter().enumerate() {
            let here = on.iter().find(|(k, _)| *k == i);
            let place = format!("petl.layer.{place}.use_it");
            answers.push((place.clone(), if here.is_some() { "yes" } else { "no" }.to_owned()));
            answers.extend(here.iter().flat_map(|(_, a)| a.iter()).map(|(k, v)| (format!("{place}.yes.{k}"), (*v).to_owned())));
        }
        let answers: Vec<(&str, &str)> = answers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let analysis = candidate(&folder, "unified_petl", &answers);
        let start = run(&analysis, "petl", &x, &[]);
        let trained = run(&analysis, "petl", &x, &replaced(&analysis, &["up"]));
        (start.entries, trained.entries)
    };
    let (plain, _) = run_with(&[]);
    let (start, trained) =
        run_with(&[(0, &[("form", "linear")]), (1, &[("form", "relu")]), (2, &[("reads", "output")]), (3, &[("s", "4")])]);
    assert!(apart(&start, &plain) < 1e-12 && apart(&trained, &plain) > 1e-3);
    let (prefix, _) = run_with(&[(1, &[("form", "softmax"), ("form.softmax.way", "gated"), ("r", "30")])]);
    assert!(apart(&prefix, &plain) > 1e-6);
}

#[test]
fn channelwise_kernels_start_as_the_identity() {
    let folder = folder();
    let x = [("x", normals(3, 3 * 32 * 32))];
    let names: Vec<String> = (0..4)
        .flat_map(|i| ["one", "two"].map(|h| format!("reprogrammed.y.block.{h}.conv.reprogrammed[{i}]")))
        .chain(["reprogrammed.stem.conv.reprogrammed".to_owned()])
        .collect();
    let [(off, off_given), (on, on_given)] = ["no", "yes"].map(|answer| {
        let answers: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), answer)).collect();
        let analysis = candidate(&folder, "clr", &answers);
        let given = replaced(&analysis, &["head"]);
        (analysis, given)
    });
    let plain = run(&off, "reprogrammed", &x, &off_given).entries;
    assert!(plain.iter().any(|v| v.abs() > 1e-3));
    assert!(apart(&run(&on, "reprogrammed", &x, &on_given).entries, &plain) < 1e-12);
    let kernels = [replaced(&on, &["own"]), on_given].concat();
    assert_eq!(kernels.len(), 9 + 1);
    assert!(apart(&run(&on, "reprogrammed", &x, &kernels).entries, &plain) > 1e-3);
}

/// The channels of the residual stream are chosen once: all side layers read and write the same ones, in order.
#[test]
fn a_pruned_side_network_is_a_part_of_the_backbone() {
    let folder = folder();
    let mut answers = vec![("ladder.r", "4"), ("ladder.start", "pruned")];
    let steps: Vec<String> = (0..4).map(|l| format!("ladder.state.use_it[{l}]")).collect();
    answers.extend(steps.iter().map(|s| (s.as_str(), "step")));
    let analysis = candidate(&folder, "lst", &answers);
    let graph = &analysis.elaborated.graph;
    let backbone = read_model(&folder.join("backbone"));
    let read = |source: &merge_abi::Source| Ok(backbone[&source.name].entries.clone());
    let mut interpreter = Interpreter::new(graph, Vec::new(), 0, &read);
    let mut stream = Vec::new();
    for l in 0..4 {
        let mut start = |part: &str| {
            let name = format!("ladder.state.use_it[{l}].step.own_{part}");
            let found = graph.parameters.iter().find(|p| p.name == name);
            let p = found.unwrap_or_else(|| panic!("no `{name}` in {:?}", parameters(graph).keys()));
            let value = interpreter.value(p.start).unwrap();
            (value.shape().to_vec(), value.iter().copied().collect::<Vec<f64>>())
        };
        let (q, k, o, up, down) = (start("q"), start("k"), start("o"), start("up"), start("down"));
        assert_eq!((&*q.0, &*o.0, &*up.0, &*down.0), (&[16, 16][..], &[16, 16][..], &[32, 16][..], &[16, 32][..]));
        // Where each row and column of a part comes from: no two entries of the backbone are equal.
        let places = |part: &str, (shape, entries): &(Vec<usize>, Vec<f64>)| {
            let whole = &backbone[&format!("layers.{l}.{part}.weight")];
            let columns = whole.shape[1];
            let place = |v: f64| whole.entries.iter().position(|w| *w == v).expect("an entry of the backbone");
            let rows: Vec<usize> = (0..shape[0]).map(|r| place(entries[r * shape[1]]) / columns).collect();
            let cols: Vec<usize> = (0..shape[1]).map(|c| place(entries[c]) % columns).collect();
            for (i, v) in entries.iter().enumerate() {
                assert_eq!(*v, whole.entries[rows[i / shape[1]] * columns + cols[i % shape[1]]], "{part} of layer {l}");
            }
            (rows, cols)
        };
        let ((q_rows, q_cols), (k_rows, _), (o_rows, o_cols)) = (places("q", &q), places("k", &k), places("o", &o));
        let ((up_rows, up_cols), (down_rows, down_cols)) = (places("up", &up), places("down", &down));
        // Rows kept of what is written are the columns of what reads it, and heads keep four channels each.
        assert_eq!((&q_rows, &up_rows), (&k_rows, &down_cols));
        assert_eq!(q_rows, o_cols);
        assert!((0..4).all(|h| q_rows.iter().filter(|r| **r / 16 == h).count() == 4));
        stream.extend([q_cols, o_rows, up_cols, down_rows]);
    }
    assert!(stream.iter().all(|s| *s == stream[0]) && stream[0].is_sorted());
    // The channels are those of the largest sums, counted here by loops.
    let mut scores = vec![0.0; 64];
    for l in 0..4 {
        for (out, inner) in [("o", "v"), ("down", "up")] {
            let (a, b) = (&backbone[&format!("layers.{l}.{out}.weight")], &backbone[&format!("layers.{l}.{inner}.weight")]);
            for (r, score) in scores.iter_mut().enumerate() {
                for m in 0..a.shape[1] {
                    let row: f64 = (0..64).map(|c| b.entries[m * 64 + c].abs()).sum();
                    *score += a.entries[r * a.shape[1] + m].abs() * row;
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..64).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut best = order[..16].to_vec();
    best.sort_unstable();
    assert_eq!(stream[0], best);
}

/// A network whose weights have FLoRA's products added computes the same as one with the adapter.
#[test]
fn flora_folds_into_the_backbone() {
    let folder = folder();
    let answers = [
        ("network.one.adapted.flora", "yes"),
        ("network.one.adapted.flora.yes.ranks", "[8, 3, 3, 3]"),
        ("network.two.adapted.flora", "yes"),
        ("network.two.adapted.flora.yes.ranks", "[16, 3, 2, 2]"),
        ("network.head.adapted.flora", "yes"),
        ("network.head.adapted.flora.yes.ranks", "[10, 8]"),
    ];
    let analysis = candidate(&folder, "flora", &answers);
    let x = [("x", normals(4, 3 * 32 * 32))];
    let plain = run(&candidate(&folder, "flora", &[]), "network", &x, &[]);
    assert!(apart(&run(&analysis, "network", &x, &[]).entries, &plain.entries) < 1e-12, "cores start as zeros");
    let trained = replaced(&analysis, &["core", "factor"]);
    let beside = run(&analysis, "network", &x, &trained);
    assert!(apart(&beside.entries, &plain.entries) > 1e-2);
    // w[i..] += 0.4 * the sum over cores of core[a..] * u0[i0, a0] * u1[i1, a1] ..
    let mut backbone: Model = read_model(&folder.join("backbone"));
    let shapes = parameters(&analysis.elaborated.graph);
    for part in ["one", "two", "head"] {
        let of = |name: &str| {
            let (name, entries) =
                trained.iter().find(|(n, _)| n.starts_with(&format!("network.{part}.")) && n.ends_with(name)).unwrap();
            (shapes[name].clone(), entries.clone())
        };
        let (ranks, core) = of("core");
        let weight = backbone.get_mut(&format!("{part}.weight")).unwrap();
        let shape = weight.shape.clone();
        let mut factors: Vec<(Vec<usize>, Vec<f64>)> = Vec::new();
        for (name, entries) in trained.iter().filter(|(n, _)| n.starts_with(&format!("network.{part}.")) && n.contains(".factor"))
        {
            factors.push((shapes[name].clone(), entries.clone()));
        }
        assert_eq!(
            factors.iter().map(|(s, _)| s.clone()).collect::<Vec<_>>(),
            shape.iter().zip(&ranks).map(|(d, r)| vec![*d, *r]).collect::<Vec<_>>()
        );
        let places = |shape: &[usize]| -> Vec<Vec<usize>> {
            (0..shape.iter().product::<usize>())
                .map(|mut n| {
                    let mut at = vec![0; shape.len()];
                    for axis in (0..shape.len()).rev() {
                        at[axis] = n % shape[axis];
                        n /= shape[axis];
                    }
                    at
                })
                .collect()
        };
        let cores = places(&ranks);
        for (at, entry) in places(&shape).iter().zip(weight.entries.iter_mut()) {
            let sum: f64 = cores
                .iter()
                .zip(&core)
                .map(|(a, c)| c * factors.iter().enumerate().map(|(k, (s, u))| u[at[k] * s[1] + a[k]]).product::<f64>())
                .sum();
            *entry += 0.4 * sum;
        }
        weight.dtype = merge_abi::DType::F64;
    }
    write_checkpoint(&folder.join("backbone"), backbone.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
    let folded = run(&candidate(&folder, "flora", &[]), "network", &x, &[]);
    assert!(apart(&folded.entries, &beside.entries) < 1e-9);
}
