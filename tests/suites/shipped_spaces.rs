//! The networks of `examples/spaces`: their sizes, candidates by name, and parameters against counts made by hand.
//!
//! A count here is written from the paper's formulas and the answers alone, never from what the compiler found.

use merge_driver::{Request, space::Checks};
use merge_tests::shipped::{Answers, Shipped, set};

/// A kernel with a norm of a batch behind it, which has four numbers a channel.
fn normed_conv(c: u64, f: u64, k: u64) -> u64 {
    c * f * k * k + 4 * f
}

#[test]
fn networks_of_deep_architect() {
    let conv_net = |a: &Answers| {
        let [f, k, g, m, hidden] = ["f", "k", "g", "m", "hidden"].map(|n| a.int(&format!("convnet.{n}")));
        f * k * k + g * f * m * m + 7 * 7 * g * hidden + hidden * 10
    };
    let space = Shipped::new("convnet");
    assert_eq!(space.size(), "2025");
    space.counts(conv_net);
    // The network by itself, and called by another beside the parameters of its training.
    for (name, network, size) in
        [("deepconv", "deepconv", 60_466_176_u64), ("deepconv_training", "trained.deepconv", 60_466_176 * 4096)]
    {
        let space = Shipped::new(name);
        assert_eq!(space.size(), size.to_string());
        space.counts(|a| {
            let (mut sum, mut c) = (0, 3);
            for (first, module) in [("one.first", "one.module"), ("half.first", "two.module")] {
                let int = |place: &str, name: &str| a.int(&format!("{network}.{place}.{name}"));
                let (f, k) = (int(first, "f"), int(first, "k"));
                let (g, l, n) = (int(module, "f"), int(module, "k"), int(module, "n"));
                // Biases everywhere, norms in the copies.
                sum += c * f * k * k + f + normed_conv(f, g, l) + g + (n - 1) * (normed_conv(g, g, l) + g);
                c = g;
            }
            sum + 8 * 8 * c * 10
        });
    }
    let space = Shipped::new("resnet");
    assert!(space.size().starts_with("154") && space.size().len() == 69, "{}", space.size());
    space.counts(|a| {
        let stage = |path: &str, mut c: u64| {
            let mut sum = 0;
            for i in 0..a.int(&format!("{path}.n")) {
                let [f, k, tied, g, size_in, size_out] =
                    ["f", "k", "tied", "g", "a", "b"].map(|n| a.int(&format!("{path}.block.{n}[{i}]")));
                sum +=
                    normed_conv(c, f, k) + (tied - 1) * normed_conv(f, f, k) + f * g * size_in.pow(2) + g * g * size_out.pow(2);
                c = g;
            }
            (sum, c)
        };
        let (mut sum, mut c) = stage("resnet.one.stage", 3);
        let mut pooled = 4;
        if a.is("resnet.last.second", "yes") {
            let (second, last) = stage("resnet.last.second.yes.stage", 64);
            sum += c * 64 * a.int("resnet.last.second.yes.k").pow(2) + second;
            (c, pooled) = (last, 1);
        }
        sum + pooled * c * 10
    });
}

#[test]
fn layers_of_flexibert_are_as_wide_as_each_says() {
    let space = Shipped::new("flexibert");
    assert_eq!(space.size(), (240u64.pow(2) + 240u64.pow(4)).to_string());
    space.counts(|a| {
        let (mut sum, mut d) = (0, 128);
        for i in 0..a.int("flexibert.depth") {
            let int = |name: &str| a.int(&format!("flexibert.layer.{name}"));
            let h = a.int(&format!("flexibert.h[{i}]"));
            let op = format!("flexibert.layer.mixed.op[{i}]");
            sum += if d == h { 0 } else { d * h } + 2 * h;
            sum += match a.text(&op) {
                "attention" if a.is(&format!("{op}.attention.score"), "wma") => {
                    4 * h * h + (h / int(&format!("heads[{i}]"))).pow(2)
                }
                "attention" => 4 * h * h,
                "conv" => h * h * a.int(&format!("{op}.conv.width")),
                _ => 0,
            };
            for j in 0..int(&format!("stack[{i}]")) {
                let hidden = int(&format!("hidden[{i}, {j}]"));
                sum += 2 * h * hidden + hidden + h;
            }
            d = h;
        }
        sum
    });
}

#[test]
fn the_unified_view_has_each_method_as_a_point() {
    let space = Shipped::new("unified_petl");
    // Four places: at the heads 13 ways and 3 widths, elsewhere 8 and 3, or nothing.
    assert_eq!(space.size(), ((1 + 3 * 13) * 25u64.pow(3)).to_string());
    let (d, f) = (768, 3072);
    let backbone = 4 * d * d + 2 * d * f;
    let (projections, heads, attention, ffn) = (
        "petl.layer.projections.modified.use_it",
        "petl.layer.attention.modified_heads.use_it",
        "petl.layer.y.modified.use_it",
        "petl.layer.modified.use_it",
    );
    space.counts(|a| {
        let at = |place: &str, per_channel: u64| {
            if a.is(place, "yes") { per_channel * a.int(&format!("{place}.yes.r")) } else { 0 }
        };
        backbone + at(projections, 2 * 2 * d) + at(heads, 2 * d) + at(attention, 2 * d) + at(ffn, 2 * d)
    });
    let point = |on: &[(&str, &[(&str, &str)])]| {
        let mut answers = Vec::new();
        for place in [projections, heads, attention, ffn] {
            let here = on.iter().find(|(p, _)| *p == place);
            answers.push((place.to_owned(), if here.is_some() { "yes" } else { "no" }.to_owned()));
            let own = here.iter().flat_map(|(_, own)| own.iter());
            answers.extend(own.map(|(k, v)| (format!("{place}.yes.{k}"), (*v).to_owned())));
        }
        assert!(space.open.candidate(&answers).is_ok(), "{answers:?}: {:?}", space.open.candidate(&answers));
        space.candidate(&answers).elaborated.parameters.unwrap() - backbone
    };
    let (relu, linear) = (("form", "relu"), ("form", "linear"));
    let (input, output) = (("reads", "input"), ("reads", "output"));
    let prefix: (&str, &[(&str, &str)]) = (heads, &[("form", "softmax"), input, ("r", "30"), ("form.softmax.way", "gated")]);
    let scaled: (&str, &[(&str, &str)]) = (ffn, &[relu, input, ("r", "512"), ("s", "4")]);
    assert_eq!(point(&[prefix]), 2 * 30 * d, "prefix tuning");
    assert_eq!(point(&[(ffn, &[relu, output, ("r", "8"), ("s", "1")])]), 2 * 8 * d, "adapter");
    assert_eq!(point(&[(projections, &[linear, input, ("r", "8"), ("s", "4")])]), 2 * 2 * 8 * d, "LoRA of queries and values");
    assert_eq!(point(&[(attention, &[relu, input, ("r", "8"), ("s", "1")])]), 2 * 8 * d, "parallel adapter");
    let heads_parallel: (&str, &[(&str, &str)]) = (heads, &[relu, input, ("r", "8"), ("form.relu.s", "1")]);
    assert_eq!(point(&[heads_parallel]), 2 * 8 * d, "multi-head parallel adapter");
    assert_eq!(point(&[scaled]), 2 * 512 * d, "scaled parallel adapter");
    assert_eq!(point(&[prefix, scaled]), 2 * 30 * d + 2 * 512 * d, "MAM");
    // A gate needs the heads' own queries: what reads the output has none.
    let gated = set(&[
        (projections, "no"),
        (heads, "yes"),
        (&format!("{heads}.yes.r"), "8"),
        (&format!("{heads}.yes.reads"), "output"),
        (&format!("{heads}.yes.form"), "softmax"),
        (&format!("{heads}.yes.form.softmax.way"), "gated"),
        (attention, "no"),
        (ffn, "no"),
    ]);
    assert!(space.open.candidate(&gated).is_err());
}

#[test]
fn all_blocks_of_widenet_share_attention_and_experts() {
    let space = Shipped::new("widenet");
    assert_eq!(space.size(), (3u64.pow(4) * 2).to_string());
    space.counts(|a| {
        let (depth, experts, hidden) = (a.int("widenet.depth"), a.int("widenet.experts"), a.int("widenet.hidden"));
        let shared = 4 * 768 * 768 + 768 * experts + experts * 2 * 768 * hidden;
        // Two norms a block, and one at the end.
        shared + (2 * depth + 1) * 2 * 768 + 768 * 1000
    });
}

#[test]
fn moment_probing_classifies_2883_moments() {
    let space = Shipped::new("moment_probing");
    assert_eq!(space.size(), (27 * 13).to_string());
    let moments = |width: u64, heads: u64, size: u64| {
        let shrunk = |n: u64| (n - size) / 2 + 1;
        (heads - 1) * shrunk(shrunk(width / heads)).pow(2)
    };
    assert_eq!(moments(512, 4, 3), 2883);
    let count = |a: &Answers| {
        let (width, heads, size) = (a.int("probe.moments.width"), a.int("probe.moments.heads"), a.int("probe.moments.size"));
        let plus = "probe.x.features.plus";
        let recalibration = if a.is(plus, "yes") {
            a.int(&format!("{plus}.yes.times")) * 3 * 768 * a.int(&format!("{plus}.yes.reduction"))
        } else {
            0
        };
        let (projection, norm) = (768 * width + width, 2 * width / heads);
        let convolutions = 2 * ((heads - 1) * size).pow(2);
        let heads_of_classes = 100 * (768 + 1) + 100 * (moments(width, heads, size) + 1);
        recalibration + projection + norm + convolutions + heads_of_classes
    };
    space.counts(count);
    let paper = set(&[
        ("probe.x.features.plus", "no"),
        ("probe.moments.width", "512"),
        ("probe.moments.heads", "4"),
        ("probe.moments.size", "3"),
    ]);
    assert_eq!(
        space.candidate(&paper).elaborated.parameters,
        Some(769 * 512 + 256 + 2 * 81 + 769 * 100 + 2884 * 100),
        "as the paper has it"
    );
}

#[test]
fn a_hypernetwork_makes_the_weights_it_is_asked_for() {
    let space = Shipped::new("hypernetwork");
    assert_eq!(space.size(), (2 * 2 * 27 * 4).to_string());
    space.counts(|a| {
        let int = |name: &str| a.int(&format!("network.{name}"));
        let (hidden, depth, width) = (int("hidden"), int("depth"), int("width"));
        let inputs = if a.is("network.encoded", "true") { 4 } else { 2 };
        let trunk = (inputs + 1) * hidden + (depth - 1) * (hidden + 1) * hidden;
        // What is made costs a head, and with residual output a tensor of its own too; the rest is a tensor.
        let tensor = |size: u64, made: bool| match (made, a.is("network.residual", "true")) {
            (true, true) => (hidden + 1) * size,
            (true, false) => hidden * size,
            (false, _) => size,
        };
        let made = |part: &str| a.is("network.made_of", "all") || a.is("network.made_of", part);
        trunk + tensor(784 * width, made("first")) + tensor(width, true) + tensor(10 * width, made("second"))
    });
}

#[test]
fn frames_share_their_weights() {
    let space = Shipped::new("frame_averaging");
    assert_eq!(space.size(), (4 * 5 * 2 * 3).to_string());
    space.counts(|a| {
        let (width, depth) = (a.int("cloud.width"), a.int("cloud.depth"));
        let last = if a.is("cloud.kind", "invariant") { 40 } else { 3 };
        3 * width + (depth - 1) * width * width + width * last
    });
}

#[test]
fn tokens_of_pyra_grow_fewer_with_depth() {
    const LOW: [u64; 12] = [16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 10];
    const HIGH: [u64; 12] = [40, 34, 30, 24, 18, 14, 10, 8, 4, 4, 3, 3];
    let own = |early: u64, middle: u64, late: u64| -> [u64; 12] { std::array::from_fn(|l| [early, middle, late][l / 4]) };
    // The tokens that are left, if every merge leaves more than half.
    let left = |schedule: &[u64; 12]| schedule.iter().try_fold(197u64, |t, r| (2 * r < t).then_some(t - r));
    assert_eq!((left(&LOW), left(&HIGH)), (Some(11), Some(5)));
    let mut schedules = 2;
    for early in [0, 8, 16, 24, 32] {
        for middle in [0, 4, 8, 12, 16] {
            schedules += [0, 2, 4].iter().filter(|late| left(&own(early, middle, **late)).is_some()).count();
        }
    }
    let space = Shipped::new("pyra");
    assert_eq!(space.size(), (5 * schedules).to_string());
    space.counts(|a| {
        let third = |name: &str| a.int(&format!("vit.schedule.own.{name}"));
        let schedule = match a.text("vit.schedule") {
            "low" => LOW,
            "high" => HIGH,
            _ => own(third("early"), third("middle"), third("late")),
        };
        let merges: u64 = schedule.iter().filter(|r| **r > 0).map(|r| r + 768).sum();
        let layer = 4 * 768 * 768 + 2 * 768 * 3072 + 2 * 2 * 768 * a.int("vit.rank");
        12 * layer + merges + 768 * 100
    });
}

#[test]
fn compacter_shares_its_rules_and_divides() {
    let sizes = [2, 3, 4, 8, 12, 16, 32u64];
    let fitting: usize = sizes.iter().map(|n| [8, 16, 24, 32, 48, 64].iter().filter(|r| (768 / *r) % n == 0).count()).sum();
    let space = Shipped::new("compacter");
    assert_eq!(space.size(), (fitting * 2 * 3).to_string());
    space.counts(|a| {
        let (n, rank, small) = (a.int("encoder.n"), a.int("encoder.rank"), 768 / a.int("encoder.reduction"));
        let adapters = if a.is("encoder.places", "attention and ffn") { 24 } else { 12 };
        let adapter = 2 * rank * (768 + small) + 768 + small;
        12 * (4 * 768 * 768 + 2 * 768 * 3072) + 2 * n.pow(3) + adapters * adapter + 768 * 2
    });
}

#[test]
fn reprogramming_costs_nine_numbers_a_channel() {
    let space = Shipped::new("clr");
    assert_eq!(space.size(), (4 * 2u64.pow(9)).to_string());
    space.counts(|a| {
        let w = a.int("reprogrammed.width");
        let widths = [w, w, 2 * w, 4 * w];
        let on = |place: String, channels: u64| if a.is(&place, "yes") { 9 * channels } else { 0 };
        // A norm of a batch has four numbers a channel: scale, shift, and the running mean and variance.
        let mut sum = 3 * w * 9 + 4 * w + on("reprogrammed.stem.conv.reprogrammed".into(), w) + 4 * w * 10 + 10;
        let mut before = w;
        for (i, f) in widths.into_iter().enumerate() {
            sum += 9 * (before * f + f * f) + 2 * 4 * f + if i < 2 { 0 } else { before * f };
            for half in ["one", "two"] {
                sum += on(format!("reprogrammed.y.block.{half}.conv.reprogrammed[{i}]"), f);
            }
            before = f;
        }
        sum
    });
}

#[test]
fn a_ladder_is_counted_without_its_backbone() {
    let space = Shipped::new("lst");
    assert_eq!(space.size(), (3 * 2 * 2 * 2u64.pow(4)).to_string());
    space.counts(|a| {
        let narrow = 64 / a.int("ladder.r");
        let steps = (0..4).filter(|l| a.is(&format!("ladder.state.use_it[{l}]"), "step")).count() as u64;
        let block = 4 * narrow * narrow + 2 * narrow * (128 * narrow / 64);
        2 * 64 * narrow + steps * (64 * narrow + 1 + block)
    });
}

#[test]
fn a_tuple_of_ranks_fits_the_rank_of_the_tensor() {
    let shapes: [(&str, &[usize]); 3] =
        [("one.weight", &[16, 3, 3, 3]), ("two.weight", &[32, 16, 3, 3]), ("head.weight", &[10, 32])];
    let space = Shipped::new("flora");
    assert_eq!(space.size(), 7u64.pow(3).to_string());
    space.counts(|a| {
        let of = |(name, shape): &(&str, &[usize])| {
            let place = format!("network.{}.adapted.flora", name.split('.').next().unwrap());
            if a.is(&place, "no") {
                return 0;
            }
            let ranks = a.text(&format!("{place}.yes.ranks")).trim_matches(['[', ']']).split(", ");
            let ranks: Vec<u64> = ranks.map(|r| r.parse().unwrap()).collect();
            assert_eq!(ranks.len(), shape.len());
            ranks.iter().product::<u64>() + ranks.iter().zip(*shape).map(|(r, d)| r * *d as u64).sum::<u64>()
        };
        shapes.iter().map(of).sum()
    });
}

/// How many elaborations a check of each space takes at most: what makes it quick, and does not depend on the machine. A change that
/// takes more has to say why here.
const ELABORATIONS: &[(&str, usize)] = &[
    ("apet", 510),
    ("autopeft", 450),
    ("cema", 10),
    ("clr", 2050),
    ("compacter", 155),
    ("convnet", 6),
    ("data_flow", 515),
    ("deepconv", 75),
    ("deepconv_training", 75),
    ("flexibert", 105),
    ("flora", 32),
    ("frame_averaging", 125),
    ("genome", 70),
    ("hypernetwork", 30),
    ("intrinsic_dimension", 26),
    ("lst", 100),
    ("moment_probing", 31),
    ("parameter_space", 2),
    ("perp", 105),
    ("petl", 100),
    ("pyra", 195),
    ("reprogbert", 14),
    ("resnet", 115),
    ("unified_petl", 290),
    ("widenet", 20),
];

#[test]
fn a_check_looks_at_few_of_the_candidates() {
    let mut faults = Vec::new();
    for entry in std::fs::read_dir(merge_tests::root().join("examples/spaces")).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "merge") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let space = Shipped::new(&name);
        let request = Request { file: space.file.clone(), ..Request::default() };
        let Ok(open) = merge_driver::space::open(&request, Checks::Tried).unwrap() else { panic!("{name} is wrong") };
        let most = ELABORATIONS.iter().find(|e| e.0 == name).map_or(0, |e| e.1);
        if open.passes > most {
            faults.push(format!("(\"{name}\", {}), of at most {most}", open.passes));
        }
    }
    faults.sort();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
