//! The spaces of merges and adapters in `examples/spaces`: their sizes, what they train against counts made by hand, and candidates that are written
//! against what a few lines here say.

use merge_driver::Request;
use merge_tests::{
    Tensor,
    shipped::{Answers, Shipped, set},
};
use std::collections::BTreeMap;

/// The largest difference of two tensors.
fn apart(x: &Tensor, y: &Tensor) -> f64 {
    assert_eq!(x.shape, y.shape);
    x.entries.iter().zip(&y.entries).fold(0.0, |m, (a, b)| m.max((a - b).abs()))
}

#[test]
fn merging_in_parameter_space_has_twelve_numbers() {
    let space = Shipped::new("parameter_space");
    assert_eq!(space.open.size_text(), "1 x R^12");
    let (math, base) = (space.model("math"), space.model("base"));
    let answers = |weight: &dyn Fn(&str) -> &'static str| -> Vec<(String, String)> {
        let names: Vec<String> = space.samples(1, 1)[0].iter().map(|(k, _)| k.clone()).collect();
        names.into_iter().map(|k| (k.clone(), if k.contains("density") { "1.0" } else { weight(&k) }.to_owned())).collect()
    };
    // Everything of one model and nothing of the other is that model, and nothing of both the base.
    for (name, tensor) in &space.written(&answers(&|k| if k.ends_with("math]") { "1.0" } else { "0.0" })) {
        assert!(apart(tensor, &math[name]) < 1e-6, "{name}");
    }
    // Of the second group of layers alone.
    for (name, tensor) in &space.written(&answers(&|k| if k.ends_with("weight[1, math]") { "1.0" } else { "0.0" })) {
        let of = if name.contains("layers.2.") || name.contains("layers.3.") { &math } else { &base };
        assert!(apart(tensor, &of[name]) < 1e-6, "{name}");
    }
}

#[test]
fn a_route_through_layers_is_an_ordinary_checkpoint() {
    let space = Shipped::new("data_flow");
    // Of 8 layers 4, 5 or 6, with a number between neighbours.
    assert_eq!(space.open.size_text(), "70 x R^3 + 56 x R^4 + 28 x R^5");
    let (math, code) = (space.model("math"), space.model("code"));
    for set in space.samples(6, 4) {
        let answers = Answers(set.iter().cloned().collect());
        let route: Vec<usize> = (0..8).filter(|t| answers.is(&format!("route.there[{t}]"), "true")).collect();
        let written = space.written(&set);
        let layers = written.keys().filter(|name| name.ends_with("down_proj.weight")).count();
        assert_eq!(layers, route.len());
        let mut scale = 1.0;
        for (k, slot) in route.iter().enumerate() {
            if k > 0 {
                scale *= answers.text(&format!("gains.gain[{}, {slot}]", route[k - 1])).parse::<f64>().unwrap();
            }
            let from = if *slot < 4 { &math } else { &code };
            let (here, there) = (format!("model.layers.{k}"), format!("model.layers.{}", slot % 4));
            for (part, by) in [("mlp.down_proj", scale), ("mlp.up_proj", 1.0), ("self_attn.q_proj", 1.0)] {
                let mut wanted = from[&format!("{there}.{part}.weight")].clone();
                wanted.entries.iter_mut().for_each(|v| *v /= by);
                assert!(apart(&written[&format!("{here}.{part}.weight")], &wanted) < 1e-6, "{set:?}: {here}.{part}");
            }
        }
    }
}

#[test]
fn the_genome_of_mergekit_evolve_is_a_space() {
    let space = Shipped::new("genome");
    // A number for each group, part and model, with a density or without; three methods have none. And three for the rest.
    let mut sizes: BTreeMap<u64, u64> = BTreeMap::new();
    for granularity in [1, 2, 4] {
        for (methods, numbers) in [(3, 1), (2, 2)] {
            *sizes.entry(4 / granularity * 9 * numbers + 3).or_default() += 2 * methods;
        }
    }
    let wanted: Vec<String> = sizes.iter().map(|(reals, structures)| format!("{structures} x R^{reals}")).collect();
    assert_eq!(space.open.size_text(), wanted.join(" + "));
    for set in space.samples(12, 5) {
        let answers = Answers(set.iter().cloned().collect());
        if !answers.is("method", "linear") || answers.is("smooth", "true") {
            space.candidate(&set);
            continue;
        }
        let (written, models) = (space.written(&set), ["math", "code", "base"].map(|m| (m, space.model(m))));
        let group = 2 / answers.int("granularity");
        let name = "model.layers.2.mlp.up_proj.weight";
        let weights = models
            .each_ref()
            .map(|(m, _)| answers.text(&format!("genome.weights.weight[{group}, mlp, {m}]")).parse::<f64>().unwrap());
        let total: f64 = weights.iter().sum();
        let mut wanted = written[name].clone();
        for (i, entry) in wanted.entries.iter_mut().enumerate() {
            *entry = models.iter().zip(weights).map(|((_, m), w)| w / total * m[name].entries[i]).sum();
        }
        assert!(apart(&written[name], &wanted) < 1e-6, "{set:?}");
    }
}

/// The matrices of the encoder's four layers, `[out, in]`.
const LINEAR: [(&str, u64, u64); 6] = [
    ("self_attn.q_proj", 16, 16),
    ("self_attn.k_proj", 16, 16),
    ("self_attn.v_proj", 16, 16),
    ("self_attn.o_proj", 16, 16),
    ("mlp.up_proj", 32, 16),
    ("mlp.down_proj", 16, 32),
];
/// All biases: of the linear layers, two norms a layer and the last one.
const BIASES: u64 = 4 * (4 * 16 + 32 + 16 + 2 * 16) + 16;

#[test]
fn mam_is_a_point_of_the_unified_view() {
    let space = Shipped::new("petl");
    // Sizes and scales, times the ways to train something at one of three places.
    assert_eq!(space.size(), (4 * 2 * 3 * (4 * 4 * 2 - 1)).to_string());
    let count = |a: &Answers| {
        let (r, rows) = (a.int("petl.r"), a.int("petl.rows"));
        let attention = a.text("petl.attention");
        let prefix = if ["prefix", "both"].contains(&attention) { 2 * rows * 16 } else { 0 };
        let lora = if ["lora", "both"].contains(&attention) { 2 * 8 * (16 + 16) } else { 0 };
        let adapter = if a.is("petl.place", "none") { 0 } else { 2 * r * 16 };
        4 * (prefix + lora + adapter) + if a.is("petl.biases", "true") { BIASES } else { 0 }
    };
    space.trains(count);
    let defaults = Request { file: space.file.clone(), ..Request::default() };
    let graph = merge_driver::analyse(&defaults).unwrap().elaborated.graph;
    let trained: u64 = graph.parameters.iter().map(|p| p.shape.iter().product::<u64>()).sum();
    assert_eq!(trained, 4 * (2 * 30 * 16 + 2 * 512 * 16), "prefixes of 30 rows, adapters of 512");
}

#[test]
fn autopeft_has_the_papers_configurations() {
    let space = Shipped::new("autopeft");
    assert_eq!(space.size(), ((11u64.pow(3) - 1) * (2u64.pow(4) - 1)).to_string());
    space.trains(|a| {
        let size = |name: &str| a.int(&format!("autopeft.{name}"));
        let used = a.text("autopeft.adapted").split(',').count() as u64;
        used * 2 * 16 * (size("serial") + size("parallel") + size("prefix"))
    });
}

#[test]
fn apet_keeps_to_its_budget_with_whole_tensors() {
    let space = Shipped::new("apet");
    assert_eq!(space.size(), "400");
    let (mut seen, encoder) = (std::collections::BTreeSet::new(), space.model("encoder"));
    for set in space.samples(12, 3) {
        let budget = Answers(set.iter().cloned().collect()).int("budget");
        let graph = space.candidate(&set).elaborated.graph;
        let (mut own, mut lora) = (0, 0);
        for p in &graph.parameters {
            let size: u64 = p.shape.iter().product();
            if p.name.ends_with("tuned") || p.name.contains("tuned[") {
                own += size;
                let shape: Vec<usize> = p.shape.iter().map(|n| *n as usize).collect();
                assert!(encoder.values().any(|t| t.shape == shape), "{} is no tensor of the base", p.name);
            } else {
                lora += size;
            }
        }
        // A half each, of which at most what the smallest tensor needs is left.
        assert!(own <= budget / 2 && lora <= budget / 2 && budget / 2 - own < 16, "{set:?}: {own} and {lora}");
        assert_eq!(lora, (8 * 4 * (16 + 16)).min(budget / 2 / 128 * 128).min(lora), "pairs of 128 numbers");
        seen.insert((own, lora));
    }
    assert!(seen.len() > 4, "{seen:?}");
}

#[test]
fn perp_trains_subsets_and_folds() {
    let space = Shipped::new("perp");
    assert_eq!(space.size(), (2 * 2 * 3 * 7 - 1).to_string());
    let linear: u64 = 4 * LINEAR.iter().map(|(_, o, i)| o + i).sum::<u64>();
    space.trains(|a| {
        let rank = |place: &str| {
            ["lora", "mask", "scale"].iter().filter(|k| a.is(place, k)).map(|k| a.int(&format!("{place}.{k}.rank"))).sum::<u64>()
        };
        let on = |name: &str, size: u64| if a.is(&format!("perp.{name}"), "true") { size } else { 0 };
        on("biases", BIASES) + on("norms", 9 * 16) + rank("perp.head") * (20 + 16) + rank("perp.linear") * linear
    });
    let base = space.model("pruned");
    for kind in ["lora", "mask", "scale"] {
        let rank = format!("perp.linear.{kind}.rank");
        let answers = [
            ("perp.biases", "false"),
            ("perp.norms", "false"),
            ("perp.head", "frozen"),
            ("perp.linear", kind),
            (rank.as_str(), "2"),
        ];
        let (folded, trained) = space.folded(&set(&answers), "perp");
        let mut checked = 0;
        for (name, weight) in folded.iter().filter(|(name, _)| name.contains("_proj.weight")) {
            let of = |factor: &str| &trained[&format!("perp.{factor}[{name}]")];
            let (a, b, w) = (of("a"), of("b"), &base[name]);
            let columns = w.shape[1];
            for (n, entry) in weight.entries.iter().enumerate() {
                let (i, j) = (n / columns, n % columns);
                let product: f64 = (0..2).map(|r| b.entries[i * 2 + r] * a.entries[r * columns + j]).sum();
                let old = w.entries[n];
                let wanted = match kind {
                    "lora" => old + 2.0 * product,
                    "mask" if old == 0.0 => 0.0,
                    "mask" => old + 2.0 * product,
                    _ => old * product,
                };
                assert!((entry - wanted).abs() < 1e-5, "{kind}: {name}: {entry} is not {wanted}");
            }
            checked += 1;
        }
        assert_eq!(checked, 24);
    }
}

#[test]
fn cema_adapts_norms_alone() {
    let space = Shipped::new("cema");
    assert_eq!(space.size(), "16");
    space.trains(|a| {
        let parts = if a.is("cema.parts", "scales") { 1 } else { 2 };
        16 * parts * (2 * a.int("cema.last") + u64::from(a.is("cema.final", "true")))
    });
}

#[test]
fn all_matrices_move_in_one_subspace() {
    let space = Shipped::new("intrinsic_dimension");
    assert_eq!(space.size(), "24");
    // The coordinates, and a length for each matrix.
    space.trains(|a| a.int("d") + 24);
    // Nothing moves where the coordinates are zeros; moves are as long as coordinates times lengths, about, and differ from tensor to tensor.
    let (folded, trained) = space.folded(&set(&[("d", "128"), ("seed", "3")]), "said");
    let base = space.model("encoder");
    let long = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let coordinates = long(&trained.iter().find(|(n, _)| n.ends_with("coordinates")).unwrap().1.entries);
    let mut moves = Vec::new();
    for (name, tensor) in &folded {
        let change: Vec<f64> = tensor.entries.iter().zip(&base[name].entries).map(|(a, b)| a - b).collect();
        if name.contains("_proj.weight") {
            moves.push(change);
        } else {
            assert_eq!(long(&change), 0.0, "{name}");
        }
    }
    let lengths: Vec<f64> = trained.iter().filter(|(n, _)| n.contains("length")).map(|(_, t)| t.entries[0].abs()).collect();
    let (sum, wanted) = (moves.iter().map(|m| long(m)).sum::<f64>(), lengths.iter().sum::<f64>() * coordinates);
    assert!((sum / wanted - 1.0).abs() < 0.1, "{sum} {wanted}");
    let cosine = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(a, b)| a * b).sum::<f64>() / (long(x) * long(y));
    assert!(cosine(&moves[2], &moves[3]).abs() < 0.5, "each matrix has directions of its own");
}

#[test]
fn a_reprogrammed_vocabulary_folds() {
    let space = Shipped::new("reprogbert");
    assert_eq!(space.size(), "12");
    space.trains(|a| a.int("reprogrammed.tokens") * 20 * if a.is("reprogrammed.tied", "true") { 1 } else { 2 });
    let answers = [("reprogrammed.tokens", "25"), ("reprogrammed.start", "mean"), ("reprogrammed.tied", "false")];
    let (folded, trained) = space.folded(&set(&answers), "reprogrammed");
    let base = space.model("encoder");
    for (name, mixture) in [("model.embed_tokens.weight", "shared"), ("lm_head.weight", "decoder")] {
        let mixture = trained.iter().find(|(n, _)| n.contains(mixture)).unwrap().1;
        assert_eq!((&folded[name].shape, &mixture.shape), (&vec![25, 16], &vec![25, 20]));
        for (n, entry) in folded[name].entries.iter().enumerate() {
            let wanted: f64 = (0..20).map(|v| mixture.entries[n / 16 * 20 + v] * base[name].entries[v * 16 + n % 16]).sum();
            assert!((entry - wanted).abs() < 1e-5, "{name}");
        }
    }
}
