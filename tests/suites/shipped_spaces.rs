//! The spaces of `examples/spaces`: their sizes, candidates by name, and the parameters of networks against counts made by hand. Of spaces of
//! merges, candidates are written and compared with what a few lines here say.
//!
//! A count here is written from the paper's formulas and the answers alone, never from what the compiler found.

use merge_abi::DType;
use merge_driver::{Analysis, Request, Undecided, space::Checks};
use merge_runtime::{Options, progress::Silent};
use merge_tests::{
    Folder, Random, Tensor, read_model, root, values, write_backbone, write_checkpoint, write_encoders, write_stand_ins,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The answers of one candidate, by decision.
struct Answers(BTreeMap<String, String>);

impl Answers {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no `{name}` among {:?}", self.0.keys()))
    }

    fn int(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap()
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.0.get(name).is_some_and(|v| v == value)
    }
}

type Model = BTreeMap<String, Tensor>;

/// A space in a folder of its own, with checkpoints beside it.
struct Shipped {
    file: PathBuf,
    open: merge_driver::space::OpenRecipe,
    folder: Folder,
}

impl Shipped {
    fn new(name: &str) -> Shipped {
        let folder = Folder::new("shipped");
        write_stand_ins(folder.path());
        write_backbone(folder.path());
        write_encoders(folder.path());
        Shipped::within(folder, name)
    }

    fn within(folder: Folder, name: &str) -> Shipped {
        let text = std::fs::read_to_string(root().join("examples/spaces").join(format!("{name}.merge"))).unwrap();
        let file = folder.write(&format!("{name}.merge"), &text);
        let request = Request { file: file.clone(), ..Request::default() };
        let open = match merge_driver::space::open(&request, Checks::Left).unwrap() {
            Ok(open) => open,
            Err(analysis) => panic!("{name}: {}", said(&analysis)),
        };
        assert!(open.counted, "{name}: {:?}", open.notes);
        // The page and the file's own comment tell the size; real numbers, and what has too many digits, have words of their own in each.
        let page = std::fs::read_to_string(root().join("docs/spaces.md")).unwrap();
        assert!(page.contains(&format!("| `{name}` |")), "docs/spaces.md lacks `{name}`");
        if !open.size_text().contains("R^") && open.count_text().len() < 20 {
            let grouped = grouped(&open.count_text());
            assert!(text.contains(&grouped), "{name}.merge does not say that there are {grouped} candidates");
            assert!(
                page.contains(&format!("| `{name}` | {grouped} |")),
                "docs/spaces.md does not say that there are {grouped} of `{name}`"
            );
        }
        Shipped { file, open, folder }
    }

    fn size(&self) -> String {
        self.open.count_text()
    }

    /// Some candidates, by their answers.
    fn samples(&self, number: u32, seed: u64) -> Vec<Vec<(String, String)>> {
        let answers = |c| self.open.to_choices(c).iter().map(|(k, v)| (k.clone(), text(v))).collect();
        self.open.sample(number, seed, false).iter().map(answers).collect()
    }

    /// The model that a candidate is, written by the recipe that it freezes into.
    fn written(&self, set: &[(String, String)]) -> Model {
        let request = Request { file: self.file.clone(), set: set.to_vec(), undecided: Undecided::Refused, ..Request::default() };
        let frozen = match merge_driver::freeze(&request).unwrap() {
            Ok(text) => text,
            Err(analysis) => panic!("{set:?}: {}", said(&analysis)),
        };
        let file = self.folder.write("frozen.merge", &frozen);
        let analysis = merge_driver::analyse(&Request { file, ..Request::default() }).unwrap();
        assert!(!analysis.has_errors(), "{frozen}\n{}", said(&analysis));
        merge_driver::run(&analysis, &Options::default(), &Silent).unwrap_or_else(|e| panic!("{}", e.message));
        read_model(Path::new(&analysis.elaborated.graph.outputs[0].path))
    }

    fn model(&self, name: &str) -> Model {
        read_model(&self.folder.join(name))
    }

    fn candidate(&self, set: &[(String, String)]) -> Analysis {
        let request = Request { file: self.file.clone(), set: set.to_vec(), undecided: Undecided::Refused, ..Request::default() };
        let analysis = merge_driver::analyse(&request).unwrap();
        assert!(!analysis.has_errors(), "{set:?}: {}", said(&analysis));
        analysis
    }

    /// Sampled candidates of an adapter train as many numbers as `count` says, and not all the same number.
    fn trains(&self, count: impl Fn(&Answers) -> u64) {
        let mut seen = std::collections::BTreeSet::new();
        for set in [self.samples(12, 1), self.samples(12, 2)].concat() {
            let graph = self.candidate(&set).elaborated.graph;
            let sizes = graph.parameters.iter().filter(|p| p.trainable).map(|p| p.shape.iter().product::<u64>());
            let (found, wanted) = (sizes.sum::<u64>(), count(&Answers(set.iter().cloned().collect())));
            assert_eq!(found, wanted, "{set:?}");
            seen.insert(found);
        }
        assert!(seen.len() > 2, "{seen:?}");
    }

    /// A candidate with random numbers for what it trains, folded: the model, and the numbers by name.
    fn folded(&self, set: &[(String, String)], name: &str) -> (Model, Model) {
        let graph = self.candidate(set).elaborated.graph;
        let mut random = Random::new(21);
        let trained: Model = graph
            .parameters
            .iter()
            .map(|p| {
                let shape: Vec<usize> = p.shape.iter().map(|n| *n as usize).collect();
                let entries = values(&mut random, shape.iter().product());
                (p.name.clone(), Tensor { dtype: DType::F32, shape, entries })
            })
            .collect();
        let file = self.folder.join("trained.safetensors");
        write_checkpoint(&file, trained.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
        let text = std::fs::read_to_string(&self.file).unwrap();
        let (before, _) = text.rsplit_once("save ").expect("it saves the adapter");
        let file = self
            .folder
            .write("folded.merge", &format!("{before}save fill({name}, tensors(\"trained.safetensors\")) to \"folded\"\n"));
        let request = Request { file, set: set.to_vec(), undecided: Undecided::Refused, ..Request::default() };
        let analysis = merge_driver::analyse(&request).unwrap();
        assert!(!analysis.has_errors(), "{}", said(&analysis));
        merge_driver::run(&analysis, &Options::default(), &Silent).unwrap_or_else(|e| panic!("{}", e.message));
        (self.model("folded"), trained)
    }

    /// Candidates drawn by decision and uniformly have as many parameters as `count` says, and not all the same number.
    fn counts(&self, count: impl Fn(&Answers) -> u64) {
        let mut seen = std::collections::BTreeSet::new();
        for candidate in [self.open.sample(10, 1, false), self.open.sample(10, 2, true)].concat() {
            let set: Vec<(String, String)> = self.open.to_choices(&candidate).iter().map(|(k, v)| (k.clone(), text(v))).collect();
            assert_eq!(self.open.candidate(&set).as_ref(), Ok(&candidate));
            let found = self.candidate(&set).elaborated.parameters.expect("it is a network");
            let wanted = count(&Answers(set.iter().cloned().collect()));
            assert_eq!(found, wanted, "{set:?}");
            seen.insert(found);
        }
        assert!(seen.len() > 2, "{seen:?}");
    }
}

fn said(analysis: &Analysis) -> String {
    analysis.diagnostics.iter().map(|d| format!("{}: {} {:?}", d.code, d.message, d.notes)).collect::<Vec<_>>().join("\n")
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// 1234567 as 1,234,567.
fn grouped(digits: &str) -> String {
    let start = digits.len() % 3;
    let mut parts: Vec<&str> = if start > 0 { vec![&digits[..start]] } else { Vec::new() };
    parts.extend((start..digits.len()).step_by(3).map(|at| &digits[at..at + 3]));
    parts.join(",")
}

fn set(answers: &[(&str, &str)]) -> Vec<(String, String)> {
    answers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

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
    for (name, size) in [("convnet", 2025), ("deepconv_training", 2025 * 4096)] {
        let space = Shipped::new(name);
        assert_eq!(space.size(), size.to_string());
        space.counts(conv_net);
    }
    let space = Shipped::new("deepconv");
    assert_eq!(space.size(), "60466176");
    space.counts(|a| {
        let (mut sum, mut c) = (0, 3);
        for (first, module) in [("one.first", "one.module"), ("half.first", "two.module")] {
            let int = |place: &str, name: &str| a.int(&format!("deepconv.{place}.{name}"));
            let (f, k) = (int(first, "f"), int(first, "k"));
            let (g, l, n) = (int(module, "f"), int(module, "k"), int(module, "n"));
            // Biases everywhere, norms in the copies.
            sum += c * f * k * k + f + normed_conv(f, g, l) + g + (n - 1) * (normed_conv(g, g, l) + g);
            c = g;
        }
        sum + 8 * 8 * c * 10
    });
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
