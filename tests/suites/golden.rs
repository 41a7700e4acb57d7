//! The standard library against numpy (`golden/make.py`), in F32 and with tolerance stated per method.
//!
//! A row is: test, file of expected values, tolerance, function, what is saved.

use merge_runtime::{Options, rng};
use merge_tests::{Folder, Tensor, read_model, read_tensors, root, run_text};
use std::{collections::BTreeMap, os::unix::fs::symlink};

/// Elementwise methods: one rounding of each operation in f32.
const ELEMENTWISE: f64 = 2e-6;
/// Methods with angles computed per row in f32.
const ANGLES: f64 = 2e-5;

/// Methods that decompose: numbers of f64 inside, rounded to f32 where a decomposition's results are used.
const DECOMPOSED: f64 = 1e-5;

const HEAD: &str =
    "let base = checkpoint(\"base\")\nlet a = checkpoint(\"a\")\nlet b = checkpoint(\"b\")\nlet c = checkpoint(\"c\")\n";

/// The inputs in `set`, a folder below `tests/golden` or empty for that itself, beside a fresh folder for the output.
fn folder(name: &str, set: &str) -> Folder {
    let folder = Folder::new(name);
    for input in [
        "base",
        "a",
        "b",
        "c",
        "p",
        "q",
        "x",
        "y",
        "statistics",
        "adapter.safetensors",
        "compacter.safetensors",
        "flora.safetensors",
        "matrices.safetensors",
        "orders.safetensors",
        "packed.safetensors",
    ] {
        let path = root().join("tests/golden").join(set).join(input);
        if path.exists() {
            symlink(path, folder.join(input)).expect("links can be made");
        }
    }
    folder
}

fn merged(name: &str, set: &str, function: &str, lines: &str) -> BTreeMap<String, Tensor> {
    let folder = folder(name, set);
    let recipe = format!("use std.{function}\n{HEAD}{lines}\n");
    run_text(&folder, &recipe, &Options::default()).unwrap_or_else(|e| panic!("{name}: {}", e.message));
    read_model(&folder.join("out"))
}

fn close(name: &str, set: &str, tolerance: f64, found: &BTreeMap<String, Tensor>) {
    let expected = read_tensors(&root().join("tests/golden").join(set).join("expected").join(format!("{name}.safetensors")));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{name}");
    for (tensor, want) in &expected {
        let got = &found[tensor];
        assert_eq!(got.shape, want.shape, "{name} {tensor}");
        // Relative to the size of the tensor's entries: a difference that cancels has no digits of its own.
        let scale = want.entries.iter().fold(0f64, |m, x| m.max(x.abs())).max(1e-30);
        for (i, (x, y)) in got.entries.iter().zip(&want.entries).enumerate() {
            assert!((x - y).abs() <= tolerance * scale, "{name} {tensor}[{i}]: {x} is not {y}");
        }
    }
}

macro_rules! golden {
    ($set:literal; $($test:ident: $name:literal, $tolerance:expr, $function:literal, $lines:literal;)*) => {
        $(#[test]
        fn $test() {
            close($name, $set, $tolerance, &merged($name, $set, $function, $lines));
        })*
    };
}

golden! {
    "";
    linear: "linear", ELEMENTWISE, "merging.linear", "save linear([a, b, c], [1.0, 0.3, 0.5]) to \"out\"";
    linear_raw: "linear-raw", ELEMENTWISE, "merging.linear",
        "save linear([a, b], [0.7, 0.3], normalize: false) to \"out\"";
    task_arithmetic: "task-arithmetic", ELEMENTWISE, "merging.task_arithmetic",
        "save task_arithmetic(base, [a, b, c]) to \"out\"";
    slerp: "slerp", ELEMENTWISE, "merging.slerp", "save slerp(a, b, t: 0.4) to \"out\"";
    nuslerp: "nuslerp", ELEMENTWISE, "merging.nuslerp", "save nuslerp(a, c, 0.6, 0.2) to \"out\"";
    nuslerp_rows: "nuslerp-rows", ANGLES, "merging.nuslerp",
        "save like base {\n _[] => nuslerp(a, c, 0.6, 0.2)\n _ => nuslerp(a, c, 0.6, 0.2, over: rows)\n} to \"out\"";
    ties: "ties", ELEMENTWISE, "merging.ties", "save ties(base, [a, b, c]) to \"out\"";
    ties_half: "ties-half", ELEMENTWISE, "merging.ties",
        "save ties(base, [a, b, c], density: 0.5, lambda: 1.5) to \"out\"";
    ties_paper: "ties-paper", ELEMENTWISE, "merging.ties_paper", "save ties_paper(base, [a, b, c]) to \"out\"";
    ties_paper_whole: "ties-paper-whole", ELEMENTWISE, "merging.ties_paper",
        "save whole ties_paper(base, [a, b, c]) to \"out\"";
    // 2148 of 10747 entries and one more.
    ties_paper_extra: "ties-paper-whole", ELEMENTWISE, "merging.ties_paper",
        "save whole ties_paper(base, [a, b, c], density: 0.19992, extra: 1) to \"out\"";
    breadcrumbs: "breadcrumbs", ELEMENTWISE, "merging.breadcrumbs",
        "save like base {\n _[] => base\n _ => breadcrumbs(base, [a, b, c])\n} to \"out\"";
    breadcrumbs_wide: "breadcrumbs-wide", ELEMENTWISE, "merging.breadcrumbs",
        "save like base {\n _[] => base\n _ => breadcrumbs(base, [a, b, c], keep: 0.5, drop: 0.05, alpha: 1.0)\n} to \"out\"";
    model_stock: "model-stock", ELEMENTWISE, "merging.model_stock", "save model_stock(base, [a, b, c]) to \"out\"";
    model_stock_rows: "model-stock-rows", ELEMENTWISE, "merging.model_stock",
        "save like base {\n _[] => model_stock(base, [a, b, c])\n _ => model_stock(base, [a, b, c], over: rows)\n} to \"out\"";
    fisher_whole: "fisher-whole", ELEMENTWISE, "merging.fisher",
        "let fa = tensors(\"statistics/fisher-a.safetensors\", on: a)\nlet fb = tensors(\"statistics/fisher-b.safetensors\", on: b)\nsave whole fisher([a, b], [fa, fb], coeffs: [0.7, 0.3]) to \"out\"";
}

golden! {
    "small";
    nearswap: "nearswap", ELEMENTWISE, "geometry.nearswap", "save nearswap(a, b, 0.03) to \"out\"";
    expo: "expo", ELEMENTWISE, "geometry.expo", "save expo(base, a) to \"out\"";
    multislerp: "multislerp", ELEMENTWISE, "geometry.multislerp", "save multislerp([a, b, c], [0.5, 0.3, 0.2]) to \"out\"";
    multislerp_whole: "multislerp-whole", ELEMENTWISE, "geometry.multislerp",
        "save whole multislerp([a, b, c], [0.5, 0.3, 0.2]) to \"out\"";
    multislerp_base: "multislerp-base", ELEMENTWISE, "geometry.multislerp",
        "save base + whole multislerp([a - base, b - base, c - base], [5.0, 3.0, 2.0]) to \"out\"";
    karcher: "karcher", ELEMENTWISE, "geometry.karcher", "save karcher([a, b, c], [0.5, 0.3, 0.2]) to \"out\"";
    karcher_deltas: "karcher-deltas", ELEMENTWISE, "geometry.karcher",
        "save base + whole karcher([a - base, b - base, c - base], [0.5, 0.3, 0.2]) to \"out\"";
    geometric_median: "geometric-median", ELEMENTWISE, "geometry.geometric_median", "save geometric_median([a, b, c]) to \"out\"";
    geometric_median_whole: "geometric-median-whole", ELEMENTWISE, "geometry.geometric_median",
        "save whole geometric_median([a, b, c]) to \"out\"";
    magmax: "magmax", ELEMENTWISE, "task_vectors.magmax", "save magmax(base, [a, b, c]) to \"out\"";
    breadcrumbs_flat: "breadcrumbs-flat", ELEMENTWISE, "task_vectors.breadcrumbs_flat",
        "save breadcrumbs_flat(base, [a, b, c], [0.5, 0.3, 0.2], density: 0.5, gamma: 0.1) to \"out\"";
    breadcrumbs_flat_whole: "breadcrumbs-flat-whole", ELEMENTWISE, "task_vectors.breadcrumbs_flat",
        "save whole breadcrumbs_flat(base, [a, b, c], [0.5, 0.3, 0.2]) to \"out\"";
    ties_weighted: "ties-weighted", ELEMENTWISE, "merging.ties_weighted",
        "save ties_weighted(base, [a, b, c], [0.5, 0.3, 0.2], density: 0.4) to \"out\"";
    breadcrumbs_ties: "breadcrumbs-ties", ELEMENTWISE, "task_vectors.breadcrumbs_ties",
        "save breadcrumbs_ties(base, [a, b, c], [0.5, 0.3, 0.2], density: 0.6, gamma: 0.1) to \"out\"";
    sce: "sce", ELEMENTWISE, "task_vectors.sce", "save sce(base, [a, b, c]) to \"out\"";
    sce_select: "sce-select", ELEMENTWISE, "task_vectors.sce", "save sce(base, [a, b, c], select: 0.3) to \"out\"";
    ram: "ram", ELEMENTWISE, "task_vectors.ram", "save ram(base, [a, b, c]) to \"out\"";
    ram_plus: "ram-plus", ELEMENTWISE, "task_vectors.ram_plus", "save ram_plus(base, [a, b, c]) to \"out\"";
    ram_plus_whole: "ram-plus-whole", ELEMENTWISE, "task_vectors.ram_plus",
        "save whole ram_plus(base, [a, b, c], alpha: 5.0) to \"out\"";
    pcb: "pcb", ELEMENTWISE, "task_vectors.pcb", "save whole pcb(base, [a, b, c]) to \"out\"";
    pcb_sum: "pcb-sum", ELEMENTWISE, "task_vectors.pcb_sum", "save whole pcb_sum(base, [a, b, c]) to \"out\"";
    pcb_pairs: "pcb-pairs", ELEMENTWISE, "task_vectors.pcb_pairs", "save whole pcb_pairs(base, [a, b, c]) to \"out\"";
    arcee_fusion: "arcee-fusion", ELEMENTWISE, "task_vectors.arcee_fusion",
        "save like base {\n _[] => base\n _ => arcee_fusion(base, a)\n} to \"out\"";
    dare: "dare", ELEMENTWISE, "merging.dare", "save dare(base, [a, b, c], density: 0.3, lambda: 0.5, seed: 11) to \"out\"";
    dare_linear: "dare-linear", ELEMENTWISE, "task_vectors.dare_linear",
        "save dare_linear(base, [a, b, c], [0.5, 0.3, 0.2]) to \"out\"";
    darex_q: "darex-q", ELEMENTWISE, "task_vectors.darex_q",
        "save darex_q(base, [a, b, c], density: 0.2, q: 0.6, seed: 3) to \"out\"";
    dare_ties: "dare-ties", ELEMENTWISE, "merging.dare_ties", "save dare_ties(base, [a, b, c], [0.5, 0.3, 0.2]) to \"out\"";
    emr_united: "emr-united", ELEMENTWISE, "masks.emr",
        "let (united, _, _) = emr(base, [a, b, c])\nsave united to \"out\"";
    emr_mask: "emr-mask", ELEMENTWISE, "masks.emr", "let (_, masks, _) = emr(base, [a, b, c])\nsave masks[1] to \"out\"";
    emr_model: "emr-model", ELEMENTWISE, "masks.{emr, emr_model}",
        "let (united, masks, scales) = emr(base, [a, b, c])\nsave emr_model(base, united, masks[1], scales[1]) to \"out\"";
    tall_mask: "tall-mask", ELEMENTWISE, "masks.tall_mask",
        "save tall_mask(base, a, base + (a - base) + (b - base) + (c - base)) to \"out\"";
    consensus: "consensus", ELEMENTWISE, "masks.consensus", "save consensus(base, [a, b, c]) to \"out\"";
    sara: "sara", ELEMENTWISE, "masks.sara", "save sara(base, [a, b, c], [0.5, 0.3, 0.2], threshold: 0.1) to \"out\"";
    half_reset: "half-reset", ELEMENTWISE, "masks.half_reset", "save half_reset(base, a, seed: 5) to \"out\"";
    signature: "signature", ELEMENTWISE, "signatures.signature", "save base + signature(a, b, base) to \"out\"";
    patch: "patch", ELEMENTWISE, "signatures.{signature, patch}",
        "save patch(b, [signature(a, b, base), c - base], [0.7, -0.2]) to \"out\"";
    quantise_linear: "quantise-linear", ELEMENTWISE, "signatures.quantise_linear", "save quantise_linear(b - base) to \"out\"";
    quantise_log: "quantise-log", ELEMENTWISE, "signatures.quantise_log", "save quantise_log(b - base) to \"out\"";
    lora: "lora", ELEMENTWISE, "adapters.lora",
        "let f = deltas(\"adapter.safetensors\")\nsave like base {\n \"**.mlp.*\" => lora(base, f[\"b\"], f[\"a\"], alpha: 8.0)\n _ => base\n} to \"out\"";
    rslora: "rslora", ELEMENTWISE, "adapters.lora",
        "let f = deltas(\"adapter.safetensors\")\nsave like base {\n \"**.mlp.*\" => lora(base, f[\"b\"], f[\"a\"], alpha: 8.0, rank_stabilised: true)\n _ => base\n} to \"out\"";
    dora: "dora", ELEMENTWISE, "adapters.dora",
        "let f = deltas(\"adapter.safetensors\")\nsave like base {\n \"**.mlp.*\" => dora(base, f[\"b\"], f[\"a\"], f[\"rows\"], alpha: 8.0)\n _ => base\n} to \"out\"";
    loha: "loha", ELEMENTWISE, "adapters.loha",
        "let f = deltas(\"adapter.safetensors\")\nsave like base {\n \"**.mlp.*\" => loha(base, f[\"b\"], f[\"a\"], f[\"b2\"], f[\"a2\"], alpha: 8.0)\n _ => base\n} to \"out\"";
    lokr: "lokr", ELEMENTWISE, "adapters.lokr",
        "let f = deltas(\"adapter.safetensors\")\nsave like base {\n \"**.mlp.*\" => lokr(base, f[\"x\"], f[\"y\"], scale: 0.5)\n _ => base\n} to \"out\"";
    vera: "vera", ELEMENTWISE, "adapters.vera",
        "let f = deltas(\"adapter.safetensors\")\nsave like base {\n \"**.mlp.*\" => vera(base, f[\"b\"], f[\"a\"], f[\"rows\"], f[\"ranks\"])\n _ => base\n} to \"out\"";
    low_rank_delta: "low-rank-delta", ELEMENTWISE, "adapters.low_rank_delta",
        "let f = deltas(\"adapter.safetensors\")\nsave like base {\n \"**.mlp.*\" => base + 0.5 * low_rank_delta(f[\"b\"], f[\"a\"])\n _ => base\n} to \"out\"";
    ia3: "ia3-rows", ELEMENTWISE, "adapters.ia3",
        "let f = deltas(\"adapter.safetensors\")\nsave like base {\n \"**.mlp.*\" => ia3(base, f[\"rows\"])\n _ => base\n} to \"out\"";
    ia3_inputs: "ia3", ELEMENTWISE, "adapters.ia3_inputs",
        "let f = deltas(\"adapter.safetensors\")\nsave like base {\n \"**.mlp.*\" => ia3_inputs(base, f[\"columns\"])\n _ => base\n} to \"out\"";
    lora_conv: "lora-conv", ELEMENTWISE, "adapters.lora_conv",
        "let f = deltas(\"adapter.safetensors\")\nsave like base {\n \"**.conv.*\" => reshape(lora_conv(reshape(base, [5, 7, 3, 1]), f[\"kb\"], f[\"ka\"], scale: 0.5), [5, 7, 3])\n _ => base\n} to \"out\"";
    adalora: "adalora", ELEMENTWISE, "adapters.adalora",
        "let f = deltas(\"adapter.safetensors\")\nsave like base {\n \"**.mlp.*\" => adalora(base, f[\"b\"], f[\"a\"], f[\"values\"], scale: 0.5)\n _ => base\n} to \"out\"";
    flora: "flora", ELEMENTWISE, "adapters.flora",
        "let f = deltas(\"adapter.safetensors\")\nsave like base {\n \"**.mlp.*\" => flora(base, f[\"core\"], f[\"core.inputs\"], f[\"core.outputs\"], scale: 0.5)\n _ => base\n} to \"out\"";
    flora_conv: "flora-conv", ELEMENTWISE, "adapters.flora_conv",
        "let f = deltas(\"adapter.safetensors\")\nsave like base {\n \"**.conv.*\" => reshape(flora_conv(reshape(base, [5, 7, 3, 1]), f[\"kernel\"], f[\"kernel.inputs\"], f[\"kernel.outputs\"], f[\"kernel.rows\"], f[\"kernel.columns\"], scale: 0.5), [5, 7, 3])\n _ => base\n} to \"out\"";
    compacter: "compacter", ELEMENTWISE, "adapters.compacter",
        "let f = deltas(\"adapter.safetensors\")\nsave like base {\n \"**.mlp.*\" => base + compacter(f[\"rules\"], f[\"left\"], f[\"right\"])\n _ => base\n} to \"out\"";
    flora_file: "flora-file", ELEMENTWISE, "adapters.flora",
        "let f = deltas(\"flora.safetensors\")\nsave like base {\n \"{n: embed|layers.0.mlp}.weight\" => flora(base, f[\"{n}.flora_layer.param_G\"], f[\"{n}.flora_layer.param_0\"], f[\"{n}.flora_layer.param_1\"], scale: 0.5)\n _ => base\n} to \"out\"";
    compacter_file: "compacter-file", ELEMENTWISE, "adapters.compacter",
        "let f = deltas(\"compacter.safetensors\")\nsave from f {\n \"{n: **}.W_left\" => { \"{n}.weight\": compacter(f[\"{n}.phm_rule\"], f, f[\"{n}.W_right\"]) }\n \"{n: **}.b\" => { \"{n}.bias\": f }\n \"**.{phm_rule|W_right}\" => {}\n} to \"out\"";
    sparse_soup: "sparse-soup", ELEMENTWISE, "soups.sparse_soup",
        "save sparse_soup([checkpoint(\"x\"), checkpoint(\"y\")]) to \"out\"";
    magnitude_mask: "magnitude-mask", ELEMENTWISE, "soups.magnitude_mask",
        "save whole magnitude_mask(a, sparsity: 0.7) as delta to \"out\"";
    magnitude_prune: "magnitude-prune", ELEMENTWISE, "soups.magnitude_prune", "save whole magnitude_prune(a) to \"out\"";
    mos_ema: "mos-ema", ELEMENTWISE, "soups.mos_ema", "save mos_ema([a, b, c]) to \"out\"";
    elect: "elect", ELEMENTWISE, "merging.elect",
        "save base + elect([w * (m - base) for (w, m) in zip([0.5, 0.3, 0.2], [a, b, c])], [0.5, 0.3, 0.2]) to \"out\"";
    trimmed_mean: "trimmed-mean", ELEMENTWISE, "merging.trimmed_mean",
        "save trimmed_mean([m - base for m in [a, b, c]], density: 0.3) to \"out\"";
    crumbs: "crumbs", ELEMENTWISE, "merging.crumbs",
        "save like base {\n _[] => base\n _ => base + crumbs(a - base, keep: 0.3, drop: 0.1)\n} to \"out\"";
    drop_and_rescale: "drop-and-rescale", ELEMENTWISE, "merging.drop_and_rescale",
        "save base + drop_and_rescale(a - base, density: 0.3, seed: 7) to \"out\"";
    drop_l1: "drop-l1", ELEMENTWISE, "merging.drop_and_rescale",
        "save base + drop_and_rescale(a - base, density: 0.3, seed: 7, match_l1: true) to \"out\"";
    scaled_to_l1: "scaled-to-l1", ELEMENTWISE, "merging.scaled_to_l1",
        "save base + scaled_to_l1(keep_top(a - base, 0.3), b - base) to \"out\"";
    hft: "hft", ELEMENTWISE, "masks.hft",
        "save hft(base, a, attention: [[\"embed.weight\", \"layers.0.conv.weight\"]], feed_forward: [[\"layers.0.mlp.weight\"], [\"one.weight\"]], norms: [\"layers.0.norm.weight\", \"scale\"], seed: 4) to \"out\"";
}

golden! {
    "small";
    tsv_m: "tsv-m", DECOMPOSED, "subspaces.tsv_m",
        "save like base {\n _[o, i] => tsv_m(base, [a, b, c], lambda: 0.8)\n _ => mean([a, b, c])\n} to \"out\"";
    iso_c: "iso-c", DECOMPOSED, "subspaces.iso_c",
        "save like base {\n _[o, i] => iso_c(base, [a, b, c])\n _ => mean([a, b, c])\n} to \"out\"";
    iso_cts: "iso-cts", DECOMPOSED, "subspaces.iso_cts",
        "save like base {\n _[o, i] => iso_cts(base, [a, b, c], lambda: 1.5)\n _ => mean([a, b, c])\n} to \"out\"";
    opcm: "opcm", DECOMPOSED, "subspaces.opcm",
        "save opcm(base, [a, b, c], linear: [\"embed.weight\", \"layers.0.mlp.weight\"]) to \"out\"";
    knots: "knots", DECOMPOSED, "lora_merging.knots",
        "let taus = [(m - base)[\"{embed|layers.0.mlp}.weight\"] for m in [a, b, c]]\nsave base + 0.6 * knots(taus, rank: 60) to \"out\"";
    lego: "lego", DECOMPOSED, "lora_merging.lego",
        "let f = deltas(\"matrices.safetensors\")\nlet (down, up) = lego([f[\"one.down\"], f[\"two.down\"]], [f[\"one.up\"], f[\"two.up\"]], k: 4)\nsave like base {\n \"**.mlp.*\" => base + up @ down\n _ => base\n} to \"out\"";
    lego_largest: "lego-largest", DECOMPOSED, "lora_merging.lego",
        "let f = deltas(\"matrices.safetensors\")\nlet (down, up) = lego([f[\"one.down\"], f[\"two.down\"]], [f[\"one.up\"], f[\"two.up\"]], k: 4, largest: true)\nsave like base {\n \"**.mlp.*\" => base + up @ down\n _ => base\n} to \"out\"";
    regmean: "regmean", DECOMPOSED, "statistics.regmean",
        "let f = tensors(\"matrices.safetensors\")\nsave like base {\n \"{n: **}\"[o, i] => regmean([a, b, c], [f[\"gram.a.{n}\"], f[\"gram.b.{n}\"], f[\"gram.c.{n}\"]])\n _ => mean([a, b, c])\n} to \"out\"";
    eora: "eora", DECOMPOSED, "statistics.eora",
        "let f = tensors(\"matrices.safetensors\")\nsave like base {\n \"{n: **}\"[o, i] => eora(a, base, f[\"gram.a.{n}\"], rank: 4)\n _ => base\n} to \"out\"";
    eora_factors: "eora-factors", DECOMPOSED, "statistics.eora_factors",
        "let w = \"layers.0.mlp.weight\"\nlet (down, up) = eora_factors(a[\"{w}\"], base[\"{w}\"], tensors(\"matrices.safetensors\")[\"gram.a.{w}\"], rank: 4)\nsave { \"down\": down, \"up\": up } to \"out\"";
    pela: "pela", DECOMPOSED, "compression.pela",
        "let (first, second) = pela(base[\"layers.0.mlp.weight\"], rank: 4)\nsave { \"first\": first, \"second\": second } to \"out\"";
    rps: "rps", ELEMENTWISE, "compression.rps_expand",
        "let f = tensors(\"matrices.safetensors\")\nsave { \"expanded\": rps_expand(f[\"store\"], f[\"signs\"], [2027, 90001, 1733], scale: 0.7, first: 50) } to \"out\"";
    zeroi2v: "zeroi2v", ELEMENTWISE, "folding.{zeroi2v_before, zeroi2v_before_bias, zeroi2v_after, zeroi2v_after_bias}",
        "let f = deltas(\"matrices.safetensors\")\nlet w = base[\"layers.0.mlp.weight\"]\nlet bias = f[\"bias\"] as weight\nsave {\n \"before\": zeroi2v_before(w, f[\"before.down\"], f[\"before.up\"]),\n \"before.bias\": zeroi2v_before_bias(bias, w, f[\"before.up\"], f[\"rank.bias\"], f[\"in.bias\"]),\n \"after\": zeroi2v_after(w, f[\"after.down\"], f[\"after.up\"], s: 0.3),\n \"after.bias\": zeroi2v_after_bias(bias, f[\"after.down\"], f[\"after.up\"], f[\"rank.bias\"], f[\"out.bias\"], s: 0.3)\n} to \"out\"";
    pat: "pat", ELEMENTWISE, "folding.{pat_kept, pat_producer, pat_consumer, pat_embedding, pat_norm}",
        "let f = tensors(\"matrices.safetensors\")\nlet w = base[\"layers.0.mlp.weight\"]\nlet kept = pat_kept(f[\"mask\"], count: 10)\nsave {\n \"producer\": pat_producer(w, f[\"l1\"], f[\"l0\"], kept),\n \"consumer\": pat_consumer(transpose(w), kept),\n \"embedding\": pat_embedding(transpose(w), f[\"l1\"], f[\"l0\"], kept),\n \"norm\": pat_norm(f[\"bias\"] as weight, kept)\n} to \"out\"";
    sara_packed: "sara-packed", ELEMENTWISE, "masks.sara_packed",
        "let values = tensors(\"packed.safetensors\")\nsave like base {\n _[o, i] => sara_packed(base, values, threshold: 0.1)\n _ => base\n} to \"out\"";
    della: "della", ELEMENTWISE, "task_vectors.della",
        "save like base {\n _[] => base\n _ => della(base, [a, b, c], [0.5, 0.3, 0.2])\n} to \"out\"";
    della_linear: "della-linear", ELEMENTWISE, "task_vectors.della_linear",
        "save like base {\n _[] => base\n _ => della_linear(base, [a, b, c], [0.5, 0.3, 0.2], density: 0.5, epsilon: 0.15, seed: 4)\n} to \"out\"";
    della_l1: "della-l1", ELEMENTWISE, "task_vectors.della_linear",
        "save like base {\n _[] => base\n _ => della_linear(base, [a, b, c], [0.5, 0.3, 0.2], density: 0.5, epsilon: 0.15, match_l1: true)\n} to \"out\"";
    magprune: "magprune", ELEMENTWISE, "task_vectors.magprune",
        "save like base {\n _[] => base\n _ => base + magprune(a - base, density: 0.6, epsilon: 0.2, seed: 9)\n} to \"out\"";
    greedy_soup: "greedy-soup", ELEMENTWISE, "soups.greedy_soup", "save greedy_soup([a, b, c], [true, false, true]) to \"out\"";
    reordered: "reordered", ELEMENTWISE, "permutations.reordered",
        "let (q, o) = (checkpoint(\"q\"), tensors(\"orders.safetensors\"))\nlet groups = [[(\"{l}.weight\", 0), (\"{l}.bias\", 0), (\"{l + 1}.weight\", 1)] for l in 0..2]\nsave reordered(q, groups, [o[\"{l}\"] for l in 0..2]) to \"out\"";
    rebasin: "rebasin", ELEMENTWISE, "permutations.rebasin",
        "let (p, q) = (checkpoint(\"p\"), checkpoint(\"q\"))\nlet groups = [[(\"{l}.weight\", 0), (\"{l}.bias\", 0), (\"{l + 1}.weight\", 1)] for l in 0..2]\nsave mean([p, rebasin(p, q, groups)]) to \"out\"";
}

#[test]
fn random_numbers_are_philox_as_the_language_says() {
    let expected = read_tensors(&root().join("tests/golden/expected/random.safetensors"));
    for (name, key) in [("uniform.1", 1), ("uniform.big", 0x0123_4567_89ab_cdef)] {
        for (i, want) in expected[name].entries.iter().enumerate() {
            assert_eq!(f64::from(rng::uniform(key, i as u64)), *want, "{name}[{i}]");
        }
    }
}
