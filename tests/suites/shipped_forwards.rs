//! Networks of `examples/spaces` against computations written here with plain loops, from the papers' formulas: on random inputs, with random
//! numbers for all parameters.
//!
//! The recipes are those that are shipped, made narrower: a width of 768 says no more about a formula than one of 24. Matrices are f64 on both
//! sides, so results agree to rounding.

use merge_driver::{Analysis, Request, Undecided};
use merge_tests::{Folder, Random, forward, root};
use std::collections::BTreeMap;

/// A matrix, by rows.
#[derive(Clone, Debug, PartialEq)]
struct Matrix {
    rows: usize,
    cols: usize,
    entries: Vec<f64>,
}

impl Matrix {
    fn new(rows: usize, cols: usize, entry: impl Fn(usize, usize) -> f64) -> Matrix {
        let entries = (0..rows * cols).map(|i| entry(i / cols, i % cols)).collect();
        Matrix { rows, cols, entries }
    }

    fn random(rows: usize, cols: usize, seed: u64) -> Matrix {
        Matrix { rows, cols, entries: normals(seed, rows * cols) }
    }

    fn at(&self, r: usize, c: usize) -> f64 {
        assert!(r < self.rows && c < self.cols);
        self.entries[r * self.cols + c]
    }

    fn row(&self, r: usize) -> &[f64] {
        &self.entries[r * self.cols..(r + 1) * self.cols]
    }

    fn times(&self, other: &Matrix) -> Matrix {
        assert_eq!(self.cols, other.rows);
        Matrix::new(self.rows, other.cols, |r, c| (0..self.cols).map(|k| self.at(r, k) * other.at(k, c)).sum())
    }

    fn transposed(&self) -> Matrix {
        Matrix::new(self.cols, self.rows, |r, c| self.at(c, r))
    }

    /// Entry by entry with another, of which one row or column stands for all.
    fn with(&self, other: &Matrix, f: impl Fn(f64, f64) -> f64) -> Matrix {
        let place = |n: usize, i: usize| if n == 1 { 0 } else { i };
        let (rows, cols) = (self.rows.max(other.rows), self.cols.max(other.cols));
        Matrix::new(rows, cols, |r, c| {
            f(self.at(place(self.rows, r), place(self.cols, c)), other.at(place(other.rows, r), place(other.cols, c)))
        })
    }

    fn plus(&self, other: &Matrix) -> Matrix {
        self.with(other, |a, b| a + b)
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Matrix {
        Matrix::new(self.rows, self.cols, |r, c| f(self.at(r, c)))
    }

    fn columns(&self, from: usize, count: usize) -> Matrix {
        Matrix::new(self.rows, count, |r, c| self.at(r, from + c))
    }

    fn of_rows(rows: &[Vec<f64>]) -> Matrix {
        Matrix { rows: rows.len(), cols: rows[0].len(), entries: rows.concat() }
    }
}

/// Rows of mean 0 and deviation 1.
fn standardised(x: &Matrix, epsilon: f64) -> Matrix {
    let row = |r: usize| {
        let mean = x.row(r).iter().sum::<f64>() / x.cols as f64;
        let variance = x.row(r).iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.cols as f64;
        x.row(r).iter().map(|v| (v - mean) / (variance + epsilon).sqrt()).collect::<Vec<_>>()
    };
    Matrix::of_rows(&(0..x.rows).map(row).collect::<Vec<_>>())
}

fn softmax(x: &Matrix) -> Matrix {
    let row = |r: usize| {
        let largest = x.row(r).iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = x.row(r).iter().map(|v| (v - largest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.iter().map(|p| p / sum).collect::<Vec<_>>()
    };
    Matrix::of_rows(&(0..x.rows).map(row).collect::<Vec<_>>())
}

fn attention(q: &Matrix, k: &Matrix, v: &Matrix, heads: usize) -> Matrix {
    let (a, b) = (q.cols / heads, v.cols / heads);
    let of_head = |h: usize| {
        let scores = q.columns(a * h, a).times(&k.columns(a * h, a).transposed()).map(|s| s / (a as f64).sqrt());
        softmax(&scores).times(&v.columns(b * h, b))
    };
    let parts: Vec<Matrix> = (0..heads).map(of_head).collect();
    Matrix::new(q.rows, v.cols, |r, c| parts[c / b].at(r, c % b))
}

/// Hendrycks and Gimpel 2016, equation 2.
fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
}

fn relu(x: f64) -> f64 {
    x.max(0.0)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn normals(seed: u64, count: usize) -> Vec<f64> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.normal()).collect()
}

/// A candidate of a recipe that is shipped, with other numbers in it.
fn candidate(name: &str, changes: &[(&str, &str)], answers: &[(&str, &str)]) -> Analysis {
    let folder = Folder::new("forwards");
    let mut text = std::fs::read_to_string(root().join("examples/spaces").join(format!("{name}.merge"))).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name}.merge has no `{from}`");
        text = text.replace(from, to);
    }
    let file = folder.write(&format!("{name}.merge"), &text);
    let set = answers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let analysis = merge_driver::analyse(&Request { file, set, undecided: Undecided::Refused, ..Request::default() }).unwrap();
    let said: Vec<String> = analysis.diagnostics.iter().map(|d| format!("{}: {} {:?}", d.code, d.message, d.notes)).collect();
    assert!(!analysis.has_errors(), "{name} {answers:?}: {}", said.join("\n"));
    analysis
}

/// Numbers for all parameters of a candidate.
struct Given(BTreeMap<String, (Vec<usize>, Vec<f64>)>);

impl Given {
    /// Random ones, so large that a layer keeps the size of what goes through it.
    fn random(analysis: &Analysis) -> Given {
        let parameters = &analysis.elaborated.graph.parameters;
        let numbers = |(i, p): (usize, &merge_ir::tir::Parameter)| {
            let shape: Vec<usize> = p.shape.iter().map(|n| *n as usize).collect();
            let scale = 1.0 / (shape.iter().rev().nth(1).copied().unwrap_or(1).max(2) as f64).sqrt();
            let entries = normals(100 + i as u64, shape.iter().product()).into_iter().map(|v| v * scale).collect();
            (p.name.clone(), (shape, entries))
        };
        Given(parameters.iter().enumerate().map(numbers).collect())
    }

    fn entries(&self, name: &str) -> &(Vec<usize>, Vec<f64>) {
        self.0.get(name).unwrap_or_else(|| panic!("no `{name}` among {:?}", self.0.keys()))
    }

    /// A parameter as a matrix; of one with three axes the part `k`, and one with one axis as a row.
    fn part(&self, name: &str, k: usize) -> Matrix {
        let (shape, entries) = self.entries(name);
        let [.., rows, cols] = [&[1, 1], shape.as_slice()].concat()[..] else { unreachable!() };
        Matrix { rows, cols, entries: entries[k * rows * cols..(k + 1) * rows * cols].to_vec() }
    }

    fn of(&self, name: &str) -> Matrix {
        let matrix = self.part(name, 0);
        assert_eq!(matrix.entries.len(), self.entries(name).1.len(), "{name}");
        matrix
    }

    fn forward(&self, analysis: &Analysis, network: &str, inputs: &[(&str, &Matrix)]) -> Vec<f64> {
        let inputs: Vec<(&str, Vec<f64>)> = inputs.iter().map(|(n, m)| (*n, m.entries.clone())).collect();
        let given: Vec<(&str, Vec<f64>)> = self.0.iter().map(|(n, (_, v))| (n.as_str(), v.clone())).collect();
        forward(analysis, network, &inputs, &given).entries
    }
}

#[track_caller]
fn agree(found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len());
    let scale = wanted.iter().fold(1e-30f64, |m, v| m.max(v.abs()));
    let apart = found.iter().zip(wanted).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / scale;
    assert!(apart < 1e-9, "{apart}");
    assert!(found.iter().any(|v| (v - found[0]).abs() > 1e-3 * scale), "one number everywhere says nothing");
}

const PYRA: &[(&str, &str)] = &[
    ("3072", "32"),
    ("768", "24"),
    ("heads: 12", "heads: 2"),
    ("k[.., 64 * h..64 * h + 64] for h in 0..12", "k[.., 12 * h..12 * h + 12] for h in 0..2"),
];

/// Tokens with their sizes after `r` pairs became one each, PYRA's modulation before that: Bolya et al. 2022, section 3; Xiong et al. 2024.
fn merged(x: &Matrix, sizes: &[f64], keys: &Matrix, r: usize, down: &Matrix, across: &Matrix) -> (Matrix, Vec<f64>) {
    let cosine = |a: usize, b: usize| {
        let dot = |i: usize, j: usize| keys.row(i).iter().zip(keys.row(j)).map(|(p, q)| p * q).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    // Even places but the class token's each name the odd place that they are most like.
    let mut edges: Vec<(f64, usize, usize)> = (2..x.rows)
        .step_by(2)
        .map(|even| {
            let best = (1..x.rows)
                .step_by(2)
                .map(|odd| (cosine(even, odd), odd))
                .fold((f64::MIN, 0), |m, e| if e.0 > m.0 { e } else { m });
            (best.0, even, best.1)
        })
        .collect();
    edges.sort_by(|a, b| b.0.total_cmp(&a.0));
    edges.truncate(r);
    let whole = Matrix::new(x.rows, x.cols, |t, c| x.at(t, c) * sizes[t]);
    let pick = |rows: Vec<usize>| Matrix::new(r, x.cols, |i, c| whole.at(rows[i], c));
    let (source, target) = (pick(edges.iter().map(|e| e.1).collect()), pick(edges.iter().map(|e| e.2).collect()));
    let pairs = standardised(&source.plus(&target), 1e-6);
    let channels = down.transposed().times(&pairs).map(|v| 2.0 * sigmoid(v));
    let tokens = pairs.times(&across.transposed()).map(|v| 2.0 * sigmoid(v) - 1.0);
    let given = source.plus(&source.with(&channels, |a, b| a * b).with(&tokens, |a, b| a * b));
    let (mut rows, mut left) = (Vec::new(), Vec::new());
    let stays = |t: &usize| !edges.iter().any(|e| e.1 == *t);
    for t in (0..x.rows).step_by(2).filter(stays).chain((1..x.rows).step_by(2)) {
        let (mut sum, mut size) = (whole.row(t).to_vec(), sizes[t]);
        for (i, (_, from, _)) in edges.iter().enumerate().filter(|(_, e)| e.2 == t) {
            sum.iter_mut().zip(given.row(i)).for_each(|(s, g)| *s += g);
            size += sizes[*from];
        }
        rows.push(sum.iter().map(|s| s / size).collect());
        left.push(size);
    }
    (Matrix::of_rows(&rows), left)
}

fn pyra_by_hand(given: &Given, x: &Matrix, schedule: &[usize; 12], rank: usize) -> Vec<f64> {
    let (mut y, mut sizes) = (x.clone(), vec![1.0; x.rows]);
    for (l, r) in schedule.iter().enumerate() {
        let of = |name: &str| given.of(&format!("vit.{name}[{l}]"));
        let a = standardised(&y, 1e-6);
        let adapted = |side: &str, y: Matrix| match rank {
            0 => y,
            _ => y.plus(&a.times(&of(&format!("{side}.adapted.a"))).times(&of(&format!("{side}.adapted.b")))),
        };
        let (q, v) = (adapted("q", a.times(&of("query"))), adapted("v", a.times(&of("value"))));
        let k = a.times(&of("key"));
        let z = y.plus(&attention(&q, &k, &v, 2).times(&of("out")));
        let keys = k.columns(0, 12).plus(&k.columns(12, 12)).map(|s| s / 2.0);
        let w = if *r == 0 {
            z
        } else {
            let (w, left) = merged(&z, &sizes, &keys, *r, &of("fewer.down"), &of("fewer.across"));
            sizes = left;
            w
        };
        let inner = standardised(&w, 1e-6).times(&of("wide")).map(gelu);
        y = w.plus(&inner.times(&of("narrow")));
    }
    let class = Matrix::of_rows(&[standardised(&y, 1e-6).row(0).to_vec()]);
    class.times(&given.of("vit.head")).entries
}

#[test]
fn pyra_merges_tokens_and_its_lora_folds() {
    let own = [
        ("vit.schedule", "own"),
        ("vit.schedule.own.early", "24"),
        ("vit.schedule.own.middle", "8"),
        ("vit.schedule.own.late", "2"),
    ];
    let x = Matrix::random(197, 24, 1);
    let schedule = [24, 24, 24, 24, 8, 8, 8, 8, 2, 2, 2, 2];
    let analysis = candidate("pyra", PYRA, &[&own[..], &[("vit.rank", "4")]].concat());
    let given = Given::random(&analysis);
    let beside = given.forward(&analysis, "vit", &[("x", &x)]);
    agree(&beside, &pyra_by_hand(&given, &x, &schedule, 4));
    // The same network without LoRA, whose projections have the products added.
    let plain = candidate("pyra", PYRA, &[&own[..], &[("vit.rank", "0")]].concat());
    let mut folded = Given(given.0.clone());
    for l in 0..12 {
        for (weight, side) in [("query", "q"), ("value", "v")] {
            let of = |name: &str| given.of(&format!("vit.{side}.adapted.{name}[{l}]"));
            let delta = of("a").times(&of("b")).entries;
            let (_, entries) = folded.0.get_mut(&format!("vit.{weight}[{l}]")).unwrap();
            entries.iter_mut().zip(delta).for_each(|(w, d)| *w += d);
        }
    }
    folded.0.retain(|name, _| !name.contains("adapted"));
    agree(&folded.forward(&plain, "vit", &[("x", &x)]), &beside);
    let low = candidate("pyra", PYRA, &[("vit.schedule", "low"), ("vit.rank", "0")]);
    let given = Given::random(&low);
    let schedule = [16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 10];
    agree(&given.forward(&low, "vit", &[("x", &x)]), &pyra_by_hand(&given, &x, &schedule, 0));
}

#[test]
fn adapters_of_compacter_are_sums_of_kronecker_products() {
    let changes = [
        ("[8, 16, 24, 32, 48, 64]", "[2, 4, 6, 8]"),
        ("3072", "40"),
        ("768", "48"),
        ("heads: 12", "heads: 4"),
        ("0..12", "0..2"),
        ("tensor[128,", "tensor[10,"),
    ];
    for (n, rank, places) in [(2, 1, "attention and ffn"), (4, 2, "ffn"), (3, 2, "attention")] {
        let answers = [
            ("encoder.n", n.to_string()),
            ("encoder.reduction", "4".to_owned()),
            ("encoder.rank", rank.to_string()),
            ("encoder.places", places.to_owned()),
        ];
        let analysis = candidate("compacter", &changes, &answers.each_ref().map(|(k, v)| (*k, v.as_str())));
        let given = Given::random(&analysis);
        let x = Matrix::random(10, 48, 2);
        // The matrix of a layer, inputs by outputs: the sum over rules of their Kronecker products with thin products.
        let phm = |rules: &str, left: &str, right: &str| {
            let thin: Vec<Matrix> = (0..n).map(|k| given.part(left, k).times(&given.part(right, k))).collect();
            let (inputs, outputs) = (thin[0].rows, thin[0].cols);
            let rule = |k: usize| given.part(rules, k);
            Matrix::new(n * inputs, n * outputs, |r, c| {
                (0..n).map(|k| rule(k).at(r / inputs, c / outputs) * thin[k].at(r % inputs, c % outputs)).sum()
            })
        };
        let adapter = |x: &Matrix, place: &str, l: usize| {
            let name = |own: &str| format!("encoder.y.{place}.adapter.{own}[{l}]");
            let down = phm("encoder.down", &name("left"), &name("right"));
            let up = phm("encoder.up", &name("up_left"), &name("up_right"));
            let z = x.times(&down).plus(&given.of(&name("offset"))).map(gelu);
            x.plus(&z.times(&up)).plus(&given.of(&name("up_offset")))
        };
        let mut y = x.clone();
        for l in 0..2 {
            let of = |name: &str| given.of(&format!("encoder.y.{name}[{l}]"));
            let (q, k, v) = (y.times(&of("query")), y.times(&of("key")), y.times(&of("value")));
            let seen = attention(&q, &k, &v, 4).times(&of("out"));
            let seen = if places == "ffn" { seen } else { adapter(&seen, "attention", l) };
            let z = standardised(&y.plus(&seen), 1e-5);
            let made = z.times(&of("wide")).map(gelu).times(&of("narrow"));
            let made = if places == "attention" { made } else { adapter(&made, "ffn", l) };
            y = standardised(&z.plus(&made), 1e-5);
        }
        let wanted = Matrix::of_rows(&[y.row(0).to_vec()]).times(&given.of("encoder.head")).entries;
        agree(&given.forward(&analysis, "encoder", &[("x", &x)]), &wanted);
    }
}

#[test]
fn all_blocks_of_widenet_are_one_with_norms_of_their_own() {
    let changes = [
        ("[2048, 3072, 4096]", "[10, 14, 18]"),
        ("[8, 12, 16]", "[2, 3, 4]"),
        ("768", "12"),
        ("1000", "7"),
        ("tensor[196,", "tensor[9,"),
    ];
    for (depth, heads, experts, k) in [(6, 3, 4, 2), (12, 4, 2, 1), (6, 2, 8, 1)] {
        let answers = [
            ("widenet.depth", depth.to_string()),
            ("widenet.heads", heads.to_string()),
            ("widenet.experts", experts.to_string()),
            ("widenet.k", k.to_string()),
            ("widenet.hidden", "14".to_owned()),
        ];
        let analysis = candidate("widenet", &changes, &answers.each_ref().map(|(k, v)| (*k, v.as_str())));
        let given = Given::random(&analysis);
        let x = Matrix::random(9, 12, 3);
        let of = |name: &str| given.of(&format!("widenet.{name}"));
        let normed = |x: &Matrix, before: &str, key: &str| {
            let [scale, shift] = ["scale", "shift"].map(|own| of(&format!("{before}normed.{own}{key}")));
            standardised(x, 1e-6).with(&scale, |a, b| a * b).plus(&shift)
        };
        let mut y = x.clone();
        for i in 0..depth {
            let a = normed(&y, "y.a.", &format!("[{i}]"));
            let seen = attention(&a.times(&of("query")), &a.times(&of("key")), &a.times(&of("value")), heads);
            let z = y.plus(&seen.times(&of("joined")));
            let b = normed(&z, "y.b.", &format!("[{i}]"));
            let gates = softmax(&b.times(&of("router")));
            let mut sum = z.clone();
            for e in 0..experts {
                let made = b.times(&given.part("widenet.wide", e)).map(gelu).times(&given.part("widenet.narrow", e));
                // An expert sees the tokens of which it has one of the `k` largest gates.
                let gate = Matrix::new(9, 1, |t, _| {
                    let larger = gates.row(t).iter().filter(|g| **g > gates.at(t, e)).count();
                    if larger < k { gates.at(t, e) } else { 0.0 }
                });
                sum = sum.plus(&made.with(&gate, |m, g| m * g));
            }
            y = sum;
        }
        let last = normed(&y, "", "");
        let mean = Matrix::new(1, 12, |_, c| (0..9).map(|t| last.at(t, c)).sum::<f64>() / 9.0);
        agree(&given.forward(&analysis, "widenet", &[("x", &x)]), &mean.times(&of("head")).entries);
    }
}

#[test]
fn moments_of_heads_are_classified_beside_the_class_token() {
    let changes = [
        ("[256, 512, 768]", "[32, 64, 96]"),
        ("[8, 16, 32, 64]", "[3, 5]"),
        ("768", "16"),
        ("196", "20"),
        ("x[1..197, ..]", "x[1..21, ..]"),
        ("100", "6"),
    ];
    let plus = "probe.x.features.plus";
    for recalibrated in [false, true] {
        let mut answers = vec![("probe.moments.width", "64"), ("probe.moments.heads", "4"), ("probe.moments.size", "3")];
        let (times, reduction) = (format!("{plus}.yes.times"), format!("{plus}.yes.reduction"));
        answers.push((plus, if recalibrated { "yes" } else { "no" }));
        if recalibrated {
            answers.extend([(times.as_str(), "6"), (reduction.as_str(), "5")]);
        }
        let analysis = candidate("moment_probing", &changes, &answers);
        let given = Given::random(&analysis);
        let (class, tokens) = (Matrix::random(1, 16, 4), Matrix::random(20, 16, 5));
        let mut x = Matrix { rows: 21, cols: 16, entries: [class.entries.clone(), tokens.entries.clone()].concat() };
        for l in 0..if recalibrated { 6 } else { 0 } {
            let of = |name: &str| given.of(&format!("{plus}.yes.{name}[{l}]"));
            let z = x.times(&of("down")).map(relu);
            let scaled = z.times(&of("scale")).map(|s| 1.0 + s).with(&x, |a, b| a * b);
            x = z.times(&of("shift")).plus(&scaled);
        }
        let of = |name: &str| given.of(&format!("probe.moments.{name}"));
        let others = Matrix::new(20, 16, |r, c| x.at(r + 1, c));
        let z = others.times(&of("proj")).plus(&of("offset"));
        let parts: Vec<Matrix> = (0..4)
            .map(|h| {
                let p = standardised(&z.columns(16 * h, 16), 1e-5).with(&of("scale"), |a, b| a * b).plus(&of("shift"));
                let mean = p.entries.iter().sum::<f64>() / p.entries.len() as f64;
                p.map(|v| v - mean)
            })
            .collect();
        let images: Vec<Matrix> = (0..3)
            .map(|i| {
                let moments = parts[i].transposed().times(&parts[i + 1]).map(|v| v / 20.0);
                let long = Matrix::new(16, 1, |r, _| moments.row(r).iter().map(|v| v * v).sum::<f64>().sqrt());
                moments.with(&long, |a, b| a / b)
            })
            .collect();
        let small =
            convolved(&convolved(&images, given.entries("probe.moments.one")).map_all(gelu), given.entries("probe.moments.two"));
        let flat = Matrix {
            rows: 1,
            cols: small.len() * small[0].entries.len(),
            entries: small.iter().flat_map(|m| m.entries.clone()).collect(),
        };
        let of_moments = flat.times(&of("out")).plus(&of("bias"));
        let first = Matrix::of_rows(&[x.row(0).to_vec()]);
        let of_class = first.times(&given.of("probe.linear")).plus(&given.of("probe.bias"));
        let wanted = of_class.plus(&of_moments).map(|v| v / 2.0).entries;
        agree(&given.forward(&analysis, "probe", &[("class", &class), ("tokens", &tokens)]), &wanted);
    }
}

/// Channels.
trait Channels {
    fn map_all(&self, f: fn(f64) -> f64) -> Vec<Matrix>;
}

impl Channels for Vec<Matrix> {
    fn map_all(&self, f: fn(f64) -> f64) -> Vec<Matrix> {
        self.iter().map(|m| m.map(f)).collect()
    }
}

/// A convolution of stride 2 without padding, by a kernel `[filters, channels, size, size]`.
fn convolved(x: &[Matrix], (shape, kernel): &(Vec<usize>, Vec<f64>)) -> Vec<Matrix> {
    let [filters, channels, size, _] = shape[..] else { panic!("{shape:?}") };
    let shrunk = (x[0].rows - size) / 2 + 1;
    let entry = |f: usize, r: usize, c: usize| {
        let mut sum = 0.0;
        for (i, channel) in x.iter().enumerate().take(channels) {
            for a in 0..size {
                for b in 0..size {
                    sum += kernel[((f * channels + i) * size + a) * size + b] * channel.at(2 * r + a, 2 * c + b);
                }
            }
        }
        sum
    };
    (0..filters).map(|f| Matrix::new(shrunk, shrunk, |r, c| entry(f, r, c))).collect()
}

#[test]
fn a_hypernetwork_computes_what_the_weights_that_it_makes_do() {
    for (encoded, residual, made_of) in
        [("true", "true", "all"), ("false", "false", "first"), ("true", "false", "second"), ("false", "true", "bias")]
    {
        let answers = [
            ("network.encoded", encoded),
            ("network.residual", residual),
            ("network.hidden", "16"),
            ("network.depth", "2"),
            ("network.width", "16"),
            ("network.made_of", made_of),
        ];
        let analysis = candidate("hypernetwork", &[("784", "20")], &answers);
        let given = Given::random(&analysis);
        let (x, setting) = (Matrix::random(1, 20, 6), Matrix::new(1, 2, |_, c| [0.3, 0.8][c]));
        let quarter = std::f64::consts::FRAC_PI_2;
        let start = if encoded == "true" {
            let turns = [setting.map(|v| (v * quarter).cos()), setting.map(|v| (v * quarter).sin())];
            Matrix { rows: 1, cols: 4, entries: turns.map(|t| t.entries).concat() }
        } else {
            setting.clone()
        };
        let mut trunk = start;
        for l in 0..2 {
            let of = |name: &str| given.of(&format!("network.trunk.layer.{name}[{l}]"));
            trunk = trunk.times(&of("weight")).plus(&of("bias")).map(relu);
        }
        let made = |name: &str, rows: usize, cols: usize| {
            let mut m = trunk.times(&given.of(&format!("network.{name}.made.last")));
            if residual == "true" {
                m = m.plus(&given.of(&format!("network.{name}.made.own")));
            }
            Matrix { rows, cols, entries: m.entries }
        };
        let is_made = |name: &str| made_of == "all" || made_of == name;
        let first = if is_made("first") { made("first", 20, 16) } else { given.of("network.first.first_own") };
        let second = if is_made("second") { made("second", 16, 10) } else { given.of("network.second.second_own") };
        let wanted = x.times(&first).plus(&made("bias", 1, 16)).map(relu).times(&second).entries;
        agree(&given.forward(&analysis, "network", &[("x", &x), ("setting", &setting)]), &wanted);
    }
}
