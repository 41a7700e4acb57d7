//! Networks: their graphs, names of parameters, start values, and what they compute.

use merge_driver::{Analysis, Request};
use merge_ir::tir::verify;
use merge_runtime::{Options, progress::Silent};
use merge_tests::{Folder, Tensor, analyse_text, forward, interpret_output, read_tensors, root, write_stand_ins};

const SEARCH: &str = "{ evaluate: command(\"true {model}\"), maximize: \"x\" }\n";

fn network(functions: &str, name: &str) -> Analysis {
    let folder = Folder::new("networks");
    write_stand_ins(folder.path());
    let analysis = analyse_text(&folder, &format!("{functions}\nsearch {name} {SEARCH}"));
    let said: Vec<String> = analysis.diagnostics.iter().map(|d| format!("{}: {} {:?}", d.code, d.message, d.helps)).collect();
    assert!(!analysis.has_errors(), "{functions}\n{}", said.join("\n"));
    assert_eq!(verify(&analysis.elaborated.graph), Vec::<String>::new());
    analysis
}

/// The only diagnostic of a network.
fn fault(functions: &str, name: &str) -> (String, String) {
    let folder = Folder::new("networks");
    let analysis = analyse_text(&folder, &format!("{functions}\nsearch {name} {SEARCH}"));
    let [d] = analysis.diagnostics.as_slice() else { panic!("{:?}", analysis.diagnostics) };
    (d.code.to_string(), format!("{} {:?} {:?}", d.message, d.labels.iter().map(|l| &l.message).collect::<Vec<_>>(), d.helps))
}

/// What the parameters of a `new` statement start as.
fn start(statement: &str) -> Tensor {
    let analysis = network(&format!("fn net(x: tensor[4]) -> tensor {{ {statement}  sum(w) * x }}"), "net");
    let graph = &analysis.elaborated.graph;
    assert_eq!(graph.parameters[0].name, "net.w");
    forward_of_parameter(&analysis)
}

fn forward_of_parameter(analysis: &Analysis) -> Tensor {
    let graph = &analysis.elaborated.graph;
    let read = |_: &merge_abi::Source| Err("nothing is read".to_string());
    let mut interpreter = merge_interp::Interpreter::new(graph, Vec::new(), 0, &read);
    let parameter = graph.nodes().find(|(_, n)| matches!(n.op, merge_ir::tir::Op::Parameter(_))).unwrap().0;
    let value = interpreter.value(parameter).unwrap();
    Tensor { dtype: merge_abi::DType::F64, shape: value.shape().to_vec(), entries: value.iter().copied().collect() }
}

fn deviation(t: &Tensor) -> f64 {
    let n = t.entries.len() as f64;
    let mean = t.entries.iter().sum::<f64>() / n;
    (t.entries.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / n).sqrt()
}

fn near(a: f64, b: f64, share: f64) -> bool {
    (a - b).abs() <= share * b.abs()
}

#[test]
fn a_dense_network_computes_what_its_parameters_say() {
    let analysis = network("fn net(x: tensor[2, 3]) -> tensor[2, 2] { let h = relu(dense(x, 2))  dense(h, 2) }", "net");
    let names: Vec<&str> = analysis.elaborated.graph.parameters.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["net.h.dense.weight", "net.h.dense.bias", "net.dense.weight", "net.dense.bias"]);
    assert_eq!(analysis.elaborated.parameters, Some(6 + 2 + 4 + 2));
    let parameters = [
        ("net.h.dense.weight", vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
        ("net.h.dense.bias", vec![0.0, -10.0]),
        ("net.dense.weight", vec![2.0, 0.0, 0.0, 3.0]),
        ("net.dense.bias", vec![0.5, 0.25]),
    ];
    let y = forward(&analysis, "net", &[("x", vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])], &parameters);
    // x @ w = [[4, 5], [10, 11]], minus 10 in the second column, the positive part, times 2 and 3.
    assert_eq!((y.shape.as_slice(), y.entries.as_slice()), ([2, 2].as_slice(), [8.5, 0.25, 20.5, 3.25].as_slice()));
}

#[test]
fn convolutions_pad_as_they_say() {
    // The sums of windows of a row 1, 2, 3, 4, 5; `same` at stride 2 pads one in front and one behind.
    let text = "fn net(x: tensor[5, 1]) -> tensor { new w[1, 1, 3] = ones()  conv1d(x, w, stride: 2) }";
    let y = forward(&network(text, "net"), "net", &[("x", vec![1.0, 2.0, 3.0, 4.0, 5.0])], &[]);
    assert_eq!((y.shape.as_slice(), y.entries.as_slice()), ([3, 1].as_slice(), [3.0, 9.0, 9.0].as_slice()));
    let text = "fn net(x: tensor[4, 1]) -> tensor { new w[1, 1, 2] = ones()  conv1d(x, w) }";
    let y = forward(&network(text, "net"), "net", &[("x", vec![1.0, 2.0, 3.0, 4.0])], &[]);
    assert_eq!(y.entries, [3.0, 5.0, 7.0, 4.0]);
    let text = "fn net(x: tensor[2, 3, 3]) -> tensor { new w[2, 1, 2, 2] = ones()  conv2d(x, w, pad: none, groups: 2) }";
    let x: Vec<f64> = (0..18).map(f64::from).collect();
    let y = forward(&network(text, "net"), "net", &[("x", x)], &[]);
    assert_eq!(
        (y.shape.as_slice(), y.entries.as_slice()),
        ([2, 2, 2].as_slice(), [8.0, 12.0, 20.0, 24.0, 44.0, 48.0, 56.0, 60.0].as_slice())
    );
}

#[test]
fn a_norm_of_a_batch_has_four_parameters_of_which_two_are_trained() {
    let analysis = network("fn net(x: tensor[2, 1, 2]) -> tensor { dropout(batch_norm(x), 0.5) }", "net");
    let graph = &analysis.elaborated.graph;
    let told: Vec<(&str, bool)> = graph.parameters.iter().map(|p| (p.name.as_str(), p.trainable)).collect();
    let path = |name: &str| format!("net.batch_norm.{name}");
    let wanted = [("scale", true), ("shift", true), ("mean", false), ("variance", false)].map(|(n, t)| (path(n), t));
    assert_eq!(told, wanted.iter().map(|(n, t)| (n.as_str(), *t)).collect::<Vec<_>>());
    let y = forward(
        &analysis,
        "net",
        &[("x", vec![1.0, 3.0, 5.0, 7.0])],
        &[
            ("net.batch_norm.mean", vec![1.0, 5.0]),
            ("net.batch_norm.variance", vec![4.0, 1.0]),
            ("net.batch_norm.scale", vec![2.0, 1.0]),
        ],
    );
    for (found, wanted) in y.entries.iter().zip([0.0, 2.0, 0.0, 2.0]) {
        assert!((found - wanted).abs() < 1e-4, "{:?}", y.entries);
    }
}

#[test]
fn embeddings_and_positions_make_a_classifier_of_words() {
    let text =
        "fn net(x: tensor[3]) -> tensor[2] { new table[5, 2] = normal(0.0, 0.02)  mean(embedding(x, table), over: cols)[0, ..] }";
    let table: Vec<f64> = (0..10).map(f64::from).collect();
    let y = forward(&network(text, "net"), "net", &[("x", vec![4.0, 0.0, 2.0])], &[("net.table", table)]);
    assert_eq!(y.entries, [4.0, 5.0]);
}

#[test]
fn start_values_have_the_deviations_of_their_papers() {
    assert_eq!(start("new w[2, 3] = zeros()").entries, [0.0; 6]);
    assert_eq!(start("new w[2] = constant(0.5)").entries, [0.5; 2]);
    assert_eq!(start("new w = 3.5").entries, [3.5]);
    // A matrix of a network is applied as x @ w: its fan in is its first axis.
    assert!(near(deviation(&start("new w[200, 50] = kaiming()")), (2.0f64 / 200.0).sqrt(), 0.03));
    assert!(near(deviation(&start("new w[200, 50] = kaiming(fan: 50)")), (2.0f64 / 50.0).sqrt(), 0.03));
    assert!(near(deviation(&start("new w[50, 20, 3, 3] = kaiming()")), (2.0f64 / 180.0).sqrt(), 0.03));
    let xavier = start("new w[100, 50] = xavier()");
    let bound = (6.0f64 / 150.0).sqrt();
    assert!(near(deviation(&xavier), bound / 3.0f64.sqrt(), 0.03) && xavier.entries.iter().all(|e| e.abs() <= bound));
    assert!(near(deviation(&start("new w[100, 100] = normal(0.0, 0.02)")), 0.02, 0.03));
    assert!(near(deviation(&start("new w[100, 100] = normal(std: 0.5)")), 0.5, 0.03));
    let uniform = start("new w[1000] = uniform(2, 3)");
    assert!(uniform.entries.iter().all(|e| (2.0..3.0).contains(e)));
}

#[test]
fn orthogonal_starts_are_and_dirac_passes_its_input_through() {
    for (statement, rows, columns) in
        [("new w[3, 8] = orthogonal()", 3, 8), ("new w[8, 3] = orthogonal()", 8, 3), ("new w[4, 3, 2] = orthogonal()", 4, 6)]
    {
        let w = start(statement).entries;
        let by_rows = rows <= columns;
        let (count, along) = if by_rows { (rows, columns) } else { (columns, rows) };
        let at = |i: usize, k: usize| if by_rows { w[i * columns + k] } else { w[k * columns + i] };
        for i in 0..count {
            for j in 0..count {
                let product: f64 = (0..along).map(|k| at(i, k) * at(j, k)).sum();
                assert!((product - f64::from(i == j)).abs() < 1e-9, "{statement}: {i} {j} {product}");
            }
        }
    }
    let text = "fn net(x: tensor[2, 3, 3]) -> tensor { new w[3, 2, 3, 3] = dirac()  conv2d(x, w) }";
    let x: Vec<f64> = (1..=18).map(f64::from).collect();
    let y = forward(&network(text, "net"), "net", &[("x", x.clone())], &[]);
    assert_eq!(
        (y.shape.as_slice(), &y.entries[..18], &y.entries[18..]),
        ([3, 3, 3].as_slice(), x.as_slice(), [0.0; 9].as_slice())
    );
    let text = "fn net(x: tensor[2, 3, 3]) -> tensor { new w[4, 1, 3, 3] = dirac(groups: 2)  conv2d(x, w, groups: 2) }";
    let y = forward(&network(text, "net"), "net", &[("x", x.clone())], &[]);
    assert_eq!((&y.entries[..9], &y.entries[9..18], &y.entries[18..27]), (&x[..9], &[0.0; 9][..], &x[9..]));
    let (code, _) = fault("fn net(x: tensor[4]) -> tensor { new w[3, 1] = dirac(groups: 2)  x * sum(w) }", "net");
    assert_eq!(code, "E2502");
}

#[test]
fn random_starts_follow_the_name_and_nothing_else() {
    let one = network("fn net(x: tensor[4]) -> tensor { new w[4] = normal()  x * w }", "net");
    let two =
        network("fn net(x: tensor[4]) -> tensor { new a[2] = normal()  let y = sum(a) * x  new w[4] = normal()  y * w }", "net");
    let of = |analysis: &Analysis, name: &str| {
        let set: Vec<(&str, Vec<f64>)> = if name == "net.w" { vec![] } else { vec![("net.a", vec![1.0, 0.0])] };
        forward(analysis, "net", &[("x", vec![1.0; 4])], &set).entries
    };
    assert_eq!(of(&one, "net.w"), of(&two, "net.a"));
    let apart = network("fn net(x: tensor[4]) -> tensor { fold y = x for i in 0..2 { new w[4] = normal()  y * w } }", "net");
    let names: Vec<&str> = apart.elaborated.graph.parameters.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["net.w[0]", "net.w[1]"]);
    let [a, b] = [0, 1].map(|i| apart.elaborated.graph.parameters[i].start);
    assert_ne!(a, b);
}

#[test]
fn tensors_of_any_kind_start_parameters() {
    let text = "use std.state_spaces.s4d_lin\nfn net(x: tensor[4]) -> tensor { let (re, im) = s4d_lin(8)  new a = re  new b = im  x * a * b }";
    let analysis = network(text, "net");
    let parameters = &analysis.elaborated.graph.parameters;
    assert_eq!((&*parameters[1].name, &*parameters[1].shape, &*parameters[1].written), ("net.b", [4].as_slice(), "im"));
}

#[test]
fn what_cannot_be_a_parameter_is_said() {
    let (code, text) = fault("fn net(x: tensor[4]) -> tensor { relu(dense(dense(x, 4), 4)) }", "net");
    assert!(code == "E1002" && text.contains("net.dense.weight") && text.contains("reached by this call"), "{text}");
    let (code, text) = fault("fn net(x: tensor[4]) -> tensor { new w = x  x * w }", "net");
    assert!(code == "E2007" && text.contains("starts from what the network computes"), "{code} {text}");
    let (_, text) = fault("fn net(x: tensor[4]) -> tensor { new w = kaiming()  x * w }", "net");
    assert!(text.contains("`new` needs its dims"), "{text}");
    let (_, text) = fault("fn net(x: tensor[4]) -> tensor { new w[3] = iota(4)  x * sum(w) }", "net");
    assert!(text.contains("different shapes"), "{text}");
    let (_, text) = fault("fn net(x: tensor[4]) -> tensor { new w[3] = orthogonal()  x * sum(w) }", "net");
    assert!(text.contains("two axes"), "{text}");
}

#[test]
fn the_examples_become_graphs_whose_starts_can_be_computed() {
    for name in ["convnet", "deepconv", "deepconv_training", "flexibert", "resnet"] {
        let file = root().join("examples/spaces").join(format!("{name}.merge"));
        let analysis = merge_driver::analyse(&Request { file, ..Request::default() }).unwrap();
        assert!(!analysis.has_errors(), "{name}: {:?}", analysis.diagnostics);
        let graph = &analysis.elaborated.graph;
        assert_eq!(verify(graph), Vec::<String>::new());
        assert_eq!((graph.networks.len(), graph.outputs.len()), (1, 1), "the network, and its start values");
        assert!(graph.parameters.len() > 2 && graph.networks[0].inputs.len() == 1);
    }
}

#[test]
fn costs_of_what_a_network_computes_can_be_required() {
    let text = "fn net(x: tensor[4]) -> tensor[4] {\n\
        choose width in [2, 4, 8, 16]\n\
        choose normed in [true, false]\n\
        let h = dense(x, width)\n\
        let y = batch_norm(dense(relu(h), 4)) requires params(y) <= 100 and trainable(y) == params(y) - 8 and bytes(y) == 4 * params(y)\n\
        if normed { layer_norm(y) } else { y }\n}";
    // 5 h + 4 h + 4 entries and 16 of the norm: 38, 56, 92 and 164.
    let folder = Folder::new("networks");
    let file = folder.write("recipe.merge", &format!("{text}\nsearch net {SEARCH}"));
    let request = Request { file, ..Request::default() };
    let Ok(Ok(open)) = merge_driver::space::open(&request, merge_driver::space::Checks::Tried) else { panic!("it has a space") };
    assert_eq!((open.count_text().as_str(), open.costs.map(|c| (c.low.params, c.high.params))), ("6", Some((38, 100))));
    let exact = |flops: u64| {
        let text = format!(
            "fn net(x: tensor[2, 3]) -> tensor {{ let y = dense(x, 5) requires flops(y) == {flops}  y }}\nsearch net {SEARCH}"
        );
        analyse_text(&folder, &text).diagnostics.iter().map(|d| d.code.to_string()).collect::<Vec<_>>()
    };
    // 2 * 2 * 3 * 5 for the product and 10 sums.
    assert!(exact(70).is_empty() && !exact(71).is_empty(), "{:?}", exact(70));
}

/// `x` of the next test, and its weights: `((7 i + k) mod 5 - 2) / 4`.
fn sequence() -> (Vec<f64>, impl Fn(usize, usize) -> Vec<f64>) {
    let weight = |k: usize, count: usize| (0..count).map(|i| (((7 * i + k) % 5) as f64 - 2.0) / 4.0).collect();
    ((0..12).map(|i| f64::from(i) / 8.0 - 0.5).collect(), weight)
}

fn is_near(found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len());
    for (a, b) in found.iter().zip(wanted) {
        assert!((a - b).abs() < 1e-8, "{found:?} is not {wanted:?}");
    }
}

/// Wanted are what numpy gives for the formulas of the papers: `softmax(q k^T / sqrt(2)) v`, `softmax(q mix k^T) v` head by head, `fft2(x).real`,
/// DCT-II along both axes, `gelu(x w1 + b1) w2 + b2`, a norm of layers.
#[test]
fn composed_layers_compute_what_numpy_does() {
    let (x, weight) = sequence();
    let run = |body: &str, parameters: &[(&str, Vec<f64>)]| {
        let analysis = network(&format!("fn net(x: tensor[3, 4]) -> tensor[3, 4] {{ {body} }}"), "net");
        forward(&analysis, "net", &[("x", x.clone())], parameters).entries
    };
    let path = |name: &str| format!("net.self_attention.{name}");
    let (query, key, value, output, mix) = (path("query"), path("key"), path("value"), path("output"), path("mix"));
    let projections: Vec<(&str, Vec<f64>)> =
        [&query, &key, &value, &output].iter().enumerate().map(|(k, n)| (n.as_str(), weight(k, 16))).collect();
    is_near(
        &run("self_attention(x, 2)", &projections),
        &[
            -0.07898814,
            0.118626067,
            -0.039637927,
            0.037911647,
            -0.077146961,
            0.116324632,
            -0.039177671,
            0.043435342,
            -0.075309036,
            0.114028247,
            -0.038719211,
            0.048953201,
        ],
    );
    let mixed = [projections, vec![(mix.as_str(), vec![1.0, 0.5, 0.0, -1.0])]].concat();
    is_near(
        &run("self_attention(x, 2, kind: \"wma\")", &mixed),
        &[
            -0.076497965,
            0.1151539,
            -0.038655935,
            0.043944381,
            -0.078450529,
            0.11678073,
            -0.038330202,
            0.034831192,
            -0.080399881,
            0.118404291,
            -0.03800441,
            0.025730618,
        ],
    );
    is_near(&run("fourier(x)", &[]), &[2.25, -0.75, -0.75, -0.75, -3.0, 0.0, 0.0, 0.0, -3.0, 0.0, 0.0, 0.0]);
    is_near(
        &run("fourier(x, kind: \"dct\")", &[]),
        &[9.0, -4.731483045, 0.0, -0.336256147, -13.856406461, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
    let first: Vec<f64> = weight(0, 16).chunks(4).flat_map(|row| row[..2].to_vec()).collect();
    let parameters = [
        ("net.ffn.up.dense.weight", first),
        ("net.ffn.up.dense.bias", vec![0.1; 2]),
        ("net.ffn.down.dense.weight", weight(1, 8)),
        ("net.ffn.down.dense.bias", vec![-0.2; 4]),
    ];
    is_near(
        &run("ffn(x, 2)", &parameters),
        &[
            -0.161491018,
            -0.2,
            -0.238508982,
            -0.277017963,
            -0.23693869,
            -0.162276164,
            -0.276232817,
            -0.201570292,
            -0.287711966,
            -0.136889526,
            -0.301619455,
            -0.150797015,
        ],
    );
    let parameters = [("net.layer_norm.scale", vec![1.0, 2.0, 3.0, 4.0]), ("net.layer_norm.shift", vec![0.5; 4])];
    is_near(
        &run("layer_norm(x)", &parameters),
        &[
            -0.841297458,
            -0.394198306,
            1.841297458,
            5.865189833,
            -0.841297458,
            -0.394198306,
            1.841297458,
            5.865189833,
            -0.841297458,
            -0.394198306,
            1.841297458,
            5.865189833,
        ],
    );
}

/// The runtime computes in f32 what the interpreter computes in f64: every kind of start value, those from weights included.
#[test]
fn a_run_makes_the_start_values_that_the_interpreter_does() {
    let text = r#"
use std.starts.{olora, pissa, pruned}
use std.state_spaces.{hippo_fout, hippo_legs, hippo_legt, s4_steps, s4d_inv, s4d_legs, s4d_lin, s4d_quad, s4d_real}

fn net(x: tensor[4]) -> tensor {
    let base = checkpoint("base")["**.q_proj.weight"]
    let w = base["model.layers.0.self_attn.q_proj.weight"]
    new plain[3, 4] = constant(0.25)
    new ones[4] = ones()
    new normals[4, 8] = normal(1.0, 0.5)
    new uniforms[8] = uniform(-1.0, 1.0)
    new he[6, 3] = kaiming()
    new glorot[5, 2, 3] = xavier(seed: 7)
    new turned[3, 6] = orthogonal()
    new passing[2, 3, 3] = dirac()
    let (b, a) = pissa(w, rank: 2)
    new principal = b
    new other = a
    let (q, r) = olora(w, rank: 2)
    new columns = q
    new rows = r
    new less = pruned(w, rows: 3, columns: 4)
    new tuned = w
    let (legs, input, _) = hippo_legs(4)
    new hippo = legs
    new hippo_input = input
    let (legt, _) = hippo_legt(4)
    new window = legt
    let (fout, _) = hippo_fout(4)
    new waves = fout
    new lin = imaginary(s4d_lin(8))
    new inverse = imaginary(s4d_inv(8))
    new quadratic = imaginary(s4d_quad(8))
    new real = imaginary(s4d_real(8))
    new diagonal = imaginary(s4d_legs(8))
    new steps = s4_steps(5)
    let all = [sum(t) for t in [plain, ones, normals, uniforms, he, glorot, turned, passing, principal, other, columns, rows, less, tuned,
        hippo, hippo_input, window, waves, lin, inverse, quadratic, real, diagonal, steps]]
    x * sum(all)
}

fn imaginary(parts: (tensor[n], tensor[n])) -> tensor[n] {
    let (_, turns) = parts
    turns
}
"#;
    let folder = Folder::new("networks");
    write_stand_ins(folder.path());
    let analysis = analyse_text(&folder, &format!("{text}\nsearch net {SEARCH}"));
    let said: Vec<String> = analysis.diagnostics.iter().map(|d| format!("{}: {} {:?}", d.code, d.message, d.helps)).collect();
    assert!(!analysis.has_errors(), "{}", said.join("\n"));
    merge_driver::run(&analysis, &Options::default(), &Silent).unwrap_or_else(|e| panic!("{}", e.message));
    let (made, wanted) = (read_tensors(&folder.join("net/start.safetensors")), interpret_output(&analysis, 0, 0));
    assert_eq!((made.len(), wanted.len()), (24, 24));
    for (name, tensor) in &wanted {
        let made = &made[name];
        assert_eq!(made.shape, tensor.shape, "{name}");
        for (a, b) in made.entries.iter().zip(&tensor.entries) {
            assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{name}: {a} is not {b}");
        }
    }
}
