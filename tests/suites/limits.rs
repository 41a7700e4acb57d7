//! The library at its limits: models that are equal, zero, constant or opposite, densities of 0 and 1, tensors smaller than
//! what is selected. Finite inputs never give a NaN or an infinity, and models that are all the base give the base.

use merge_abi::DType;
use merge_base::FileId;
use merge_grammar::ast::{Item, Type};
use merge_runtime::Options;
use merge_tests::{
    Folder, Random, Tensor, analyse_text, calls, library_functions, read_model, root, run_text, values, write_checkpoint,
};
use std::{collections::BTreeMap, fmt::Write, fs};

/// What the calls below take apart, and functions whose results stand in a tuple.
const LETS: &str = "
let (united, masks, scales) = emr(base, [a, b])
let (pooled, pooled_masks, pooled_scales) = emr(base, [b, a], pooled: true)
let taus = [(m - base)[\"{constant|matrix|none}\"] for m in [a, b]]
let (first, second) = pela(a[\"matrix\"], rank: 6)
let (down, up) = eora_factors(a[\"matrix\"], base[\"matrix\"], 0 * eye(8), rank: 2)
let (lego_down, lego_up) = lego([t[\"matrix\"][0..2, ..] for t in taus], [t[\"matrix\"][.., 0..2] for t in taus], k: 3)
let (one_down, one_up) = lego([t[\"matrix\"][0..2, ..] for t in taus], [t[\"matrix\"][.., 0..2] for t in taus], k: 1, largest: true)
";

/// Functions of rows take no tensor without axes, hence the rules.
const CALLS: &[&str] = &[
    "nearswap(a, b, 0.1)",
    "nearswap(a, b, 0.0)",
    "expo(a, b)",
    "multislerp([base, a, b], [0.5, 0.3, 0.2])",
    "multislerp([a, b], [1.0, 1.0])",
    "whole multislerp([a, b], [1.0, 1.0])",
    "karcher([base, a, b], [0.5, 0.3, 0.2])",
    "karcher([a, b], [1.0, 1.0])",
    "karcher([a, b], [1.0, 1.0], turns: 0)",
    "whole karcher([a, b], [1.0, 1.0])",
    "geometric_median([base, a, b])",
    "geometric_median([a])",
    "emr_model(base, united, masks[0], scales[0])",
    "emr_model(base, united, masks[1], scales[1])",
    "emr_model(base, pooled, pooled_masks[0], pooled_scales[0])",
    "base + tall_mask(base, a, b) * (a - base)",
    "consensus(base, [a, b])",
    "consensus(base, [a, b], lambdas: [0.0, 1.0])",
    "sara(base, [a, b], [1.0, 1.0])",
    "hft(base, a, [[\"matrix\"]], [[\"vector\", \"one\"]], [\"none\", \"constant\"])",
    "greedy_soup([a, b], [false, true])",
    "base + trimmed_mean([a - base, b - base], 0.0)",
    "base + trimmed_mean([a - base, b - base], 1.0)",
    "base + scaled_to_l1(a - base, b - base)",
    "base + drop_and_rescale(a - base, 0.001, match_l1: true)",
    "base + knots(taus, rank: 100)",
    "base + knots(taus, rank: 1, density: 0.0)",
    "opcm(base, [a, b], linear: names(base, \"{constant|matrix|none}\"))",
    "opcm(base, [a, b, a], linear: names(base, \"matrix\"), alpha: 0.0)",
    "opcm(base, [a, b, a], linear: names(base, \"matrix\"), alpha: 1.0)",
    "rebasin(base, a, [[(\"matrix\", 0)], [(\"matrix\", 1)], [(\"none\", 0)]], sweeps: 3)",
    "reordered(base, [[(\"one\", 0)]], [iota(1)])",
    "half_reset(base, a)",
    "linear([a, b], [0.0, 1.0]) as weight",
    "slerp(a, b, 0.3)",
    "slerp(a, b, 1.0)",
    "nuslerp(a, b, 0.5, 0.5)",
    "nuslerp(a, b, 1.0, -1.0)",
    "task_arithmetic(base, [a, b])",
    "ties(base, [a, b])",
    "ties(base, [a, b], density: 0.0)",
    "ties(base, [a, b], density: 1.0)",
    "ties_paper(base, [a, b], density: 0.0)",
    "whole ties_paper(base, [a, b])",
    "base + elect([a - base, b - base], [0.0, 0.0])",
    "base + trim(a - base, 0.0, extra: 1, least: 7)",
    "base + trim(a - base, 1.0, extra: 1, keep_tied: true)",
    "ties(base, [a, b], density: 0.5, keep_tied: true)",
    "whole ties_paper(base, [a, b], density: 1.0, extra: 1)",
    "ties_weighted(base, [a, b], [0.0, 1.0])",
    "ties_weighted(base, [a, b], [0.5, 1.0], density: 0.0, least: 1)",
    "base + drop_and_rescale(a - base, 0.001)",
    "dare(base, [a, b])",
    "dare_ties(base, [a, b], [1.0, 1.0])",
    "model_stock(base, [a, b])",
    "model_stock(base, [a, b], held: false)",
    "fisher([base, base], [a - a, b - b], [0.5, 0.5])",
    "fisher([base, base], [a - a, b - b], [0.5, 0.5], favour_first: false)",
    "fisher([a, b], [abs(a - base), abs(b - base)], [0.0, 1.0])",
    "base + signature(a, b, base)",
    "patch(base, [signature(a, base, b)], [0.0])",
    "base + quantise_linear(a - base)",
    "base + quantise_linear(a - base, levels: 2)",
    "base + quantise_log(a - base)",
    "sparse_soup([a, b])",
    "magnitude_prune(a, sparsity: 0.0)",
    "base + magnitude_mask(a, sparsity: 1.0) * (a - base)",
    "mos_ema([a])",
    "mos_ema([a, b, base], momentum: 0.0)",
    "mos_ema([a, b], momentum: 1.0)",
    "magmax(base, [a, b])",
    "ties_each(base, [a, b], [1.0, 0.5], [0.0, 1.0])",
    "ties_each(base, [a, b], [0.0, 0.0], [0.5, 0.5])",
    "dare_ties_each(base, [a, b], [1.0, 0.5], [0.001, 1.0])",
    "slerp_best([base, a, b], [0.5, 0.5, 0.5])",
    "dare_linear(base, [a, b], [1.0, 1.0])",
    "darex_q(base, [a, b], density: 0.0, q: 0.5)",
    "darex_q(base, [a, b], density: 1.0, q: 1.0)",
    "breadcrumbs_flat(base, [a, b], [1.0, 1.0], density: 0.0)",
    "breadcrumbs_flat(base, [a, b], [1.0, 1.0], density: 1.0)",
    "breadcrumbs_flat(base, [a, b], [1.0, 1.0], density: 0.0, gamma: 1.0)",
    "breadcrumbs_ties(base, [a, b], [0.0, 1.0], normalize: true)",
    "sce(base, [a, b])",
    "sce(base, [a, b], select: 0.0)",
    "sce(base, [a, b], select: 0.3)",
    "sce(base, [a, b], select: 0.3, least: 1e-6, unselected: true)",
    "ram(base, [a, b])",
    "ram_plus(base, [a, b])",
    "ram_plus(base, [a])",
    "pcb(base, [a, b])",
    "pcb(base, [a], ratio: 0.0)",
    "pcb(base, [a, b], ratio: 1.0, q: 0.5)",
    "pcb_pairs(base, [a, b], weights: [0.0, 1.3])",
    "whole pcb(base, [a, b])",
    "pcb_sum(base, [a, b])",
    "pcb_pairs(base, [a, b])",
    "like base { _[] => base  _[_, ..s] => breadcrumbs(base, [a, b]) }",
    "like base { _[] => base  _[_, ..s] => breadcrumbs(base, [a, b], keep: 1.0) }",
    "like base { _[] => base  _[_, ..s] => base + crumbs(a - base, 0.0, 1.0) }",
    "like base { _[] => base  _[_, ..s] => base + magprune(a - base, density: 0.0) }",
    "like base { _[] => base  _[_, ..s] => base + magprune(a - base, density: 1.0, match_l1: true) }",
    "like base { _[] => base  _[_, ..s] => della(base, [a, b], [1.0, 1.0]) }",
    "like base { _[] => base  _[_, ..s] => della_linear(base, [a, b], [1.0, 1.0], density: 0.5, epsilon: 0.5) }",
    "like base { _[] => base  _[_, ..s] => model_stock(base, [a, b], over: rows) }",
    "like base { _[] => base  _[_, ..s] => nuslerp(a, b, 0.5, 0.5, over: rows) }",
    "like base { _[] => base  _[_, ..s] => arcee_fusion(base, a) }",
    "like base { \"matrix\" => base + low_rank_delta((a - base)[\"matrix\"][.., 0..2], (b - base)[\"matrix\"][0..2, ..])  _ => base }",
    "like base { \"matrix\" => lora(base, (a - base)[\"matrix\"][.., 0..2], (b - base)[\"matrix\"][0..2, ..], 2.0)  _ => base }",
    "like base { \"matrix\" => dora(base, (a - base)[\"matrix\"][.., 0..2], (b - base)[\"matrix\"][0..2, ..], reshape(norm(base, over: rows), [6]), 2.0)  _ => base }",
    "like base { \"matrix\" => loha(base, (a - base)[\"matrix\"][.., 0..2], (b - base)[\"matrix\"][0..2, ..], (a - base)[\"matrix\"][.., 0..2], (b - base)[\"matrix\"][0..2, ..], 2.0)  _ => base }",
    "like base { \"matrix\" => lokr(base, (a - base)[\"matrix\"][0..2, 0..2], (b - base)[\"matrix\"][0..3, 0..4])  _ => base }",
    "like base { \"matrix\" => base + kronecker((a - base)[\"matrix\"][0..2, 0..2], (b - base)[\"matrix\"][0..3, 0..4])  _ => base }",
    "like base { \"matrix\" => adalora(base, (a - base)[\"matrix\"][.., 0..2], (b - base)[\"matrix\"][0..2, ..], (b - base)[\"matrix\"][0, 0..2])  _ => base }",
    "like base { \"matrix\" => flora(base, (a - base)[\"matrix\"][0..2, 0..3], transpose((b - base)[\"matrix\"])[.., 0..2], (b - base)[\"matrix\"][.., 0..3])  _ => base }",
    "like base { \"matrix\" => reshape(flora_conv(reshape(base, [6, 2, 2, 2]), reshape((a - base)[\"matrix\"][0, ..], [2, 2, 1, 2]), (b - base)[\"matrix\"][0..2, 0..2], (b - base)[\"matrix\"][.., 0..2], (b - base)[\"matrix\"][0..2, 0..1], (b - base)[\"matrix\"][0..2, 0..2]), [6, 8])  _ => base }",
    "like base { \"matrix\" => base + compacter(reshape((a - base)[\"matrix\"][0, ..], [2, 2, 2]), reshape((b - base)[\"matrix\"][1, ..], [2, 4, 1]), reshape((b - base)[\"matrix\"][.., 0], [2, 1, 3]))  _ => base }",
    "like base { \"matrix\" => vera(base, (a - base)[\"matrix\"][.., 0..2], (b - base)[\"matrix\"][0..2, ..], (a - base)[\"matrix\"][.., 0], (b - base)[\"matrix\"][0..2, 0])  _ => base }",
    "like base { \"matrix\" => ia3_inputs(ia3(base, tensor([1, 1, 1, 1, 1, 1])), tensor([1, 1, 1, 1, 1, 1, 1, 1]))  _ => base }",
    "like base { \"matrix\" => reshape(lora_conv(reshape(base, [6, 2, 2, 2]), (a - base)[\"matrix\"][.., 0..2], (b - base)[\"matrix\"][0..2, ..]), [6, 8])  _ => base }",
];

/// Functions of matrices.
const MATRICES: &[&str] = &[
    "tsv_m(base, [a, b])",
    "tsv_m(base, [a, b, a, b, a, b, a])",
    "iso_c(base, [a, b])",
    "iso_cts(base, [a, b])",
    "iso_cts(base, [a, b], common: 0)",
    "iso_cts(base, [a, b, a, b, a, b, a], common: 100)",
    "regmean([a, b], [eye(i), transpose(a) @ a])",
    "regmean([a, b], [eye(i), 0 * eye(i)], a: 0.0)",
    "eora(a, base, 0 * eye(i), rank: 2)",
    "eora(a, base, transpose(a) @ a, rank: 100)",
];

/// Functions of one matrix `[6, 8]` and its parts.
const MATRIX: &[&str] = &[
    "mask_lora(base, (a - base)[.., 0..2], (b - base)[0..2, ..])",
    "scale_lora(base, 0 * base[.., 0..1] + 1, 0 * base[0..1, ..] + 1)",
    "reprogrammed_conv(reshape(base, [6, 8, 1, 1]), reshape(iota(54) - 9 * floor(iota(54) / 9) == 4, [6, 1, 3, 3]))[.., .., 1, 1]",
    "reprogrammed_embedding(base, eye(6))",
    "companded(base, 10000.0, 10000.0)",
    "base + reshape(fastfood((a - base)[0, 0..3], 48, 1), [6, 8])",
    "intrinsic(base, (a - base)[0, 0..3], 1.0, 2)",
    "equivariant(base, [eye(8)], [eye(6)])",
    "{ let (left, right) = pissa(base, rank: 2)  pissa_rest(base, rank: 2) + (left @ right as delta) }",
    "{ let (left, right) = olora(base, rank: 6)  left @ right as weight }",
    "pruned(base, rows: 6, columns: 8) as weight",
    "leading(base, rows: 6, columns: 8) as weight",
    "take(base, kept_rows(a - base, 6), axis: 0)",
    "second @ first as weight",
    "base + up @ down",
    "base + lego_up @ lego_down",
    "base + one_up @ one_down",
    "rps_expand(reshape(base, [48]), 0 * base + 1, [2, 0, 0])",
    "zeroi2v_before(base, (a - base)[0..2, ..], transpose((b - base)[0..2, ..]))",
    "zeroi2v_after(base, transpose((a - base)[.., 0..2]), (b - base)[.., 0..2])",
    "base + reshape(zeroi2v_before_bias(base[.., 0], base, transpose((a - base)[0..2, ..]), (a - base)[0, 0..2], (b - base)[0, ..]), [6, 1]) - base[.., 0..1]",
    "base + reshape(zeroi2v_after_bias(base[.., 0], transpose((a - base)[.., 0..2]), (b - base)[.., 0..2], (a - base)[0, 0..2], (b - base)[.., 0]), [6, 1]) - base[.., 0..1]",
    "pat_producer(base, (a - base)[.., 0..2], transpose((b - base)[.., 0..2]), iota(6))",
    "pat_embedding(pat_consumer(base, iota(8)), transpose((a - base)[0..2, ..]), (b - base)[0..2, ..], iota(8))",
    "concat([reshape(pat_norm(base[.., 0], pat_kept(0 * base[.., 0] + 1, count: 6)), [6, 1]), base[.., 1..]], axis: 1)",
    "base + tucker((a - base)[0..2, 0..3], [(b - base)[.., 0..2], transpose(b - base)[.., 0..3]])",
    "flow_scales([1.0, 0.5])[1] * base / 0.5",
    "sara_packed(base, reshape(a, [48]), threshold: 1e30)",
    "base + kronecker((a - base)[0..2, 0..2], (b - base)[0..3, 0..4])",
    "adalora(base, (a - base)[.., 0..2], (b - base)[0..2, ..], (b - base)[0, 0..2])",
    "flora(base, (a - base)[0..2, 0..3], transpose((b - base)[0..2, ..]), (b - base)[.., 0..3])",
    "reshape(flora_conv(reshape(base, [6, 2, 2, 2]), reshape((a - base)[0..1, 0..1], [1, 1, 1, 1]), (b - base)[0..2, 0..1], (b - base)[.., 0..1], (b - base)[0..2, 0..1], (b - base)[0..2, 0..1]), [6, 8])",
    "base + compacter(reshape((a - base)[0, ..], [2, 2, 2]), reshape((b - base)[0, ..], [2, 4, 1]), reshape((b - base)[.., 0], [2, 1, 3]))",
];

/// Pairs of models `a`, `b` beside the base.
const PAIRS: [(&str, &str); 6] =
    [("base", "base"), ("near", "near"), ("zero", "zero"), ("shifted", "shifted"), ("opposite", "base"), ("huge", "opposite")];

fn write_models(folder: &Folder) {
    let shapes: [(&str, &[usize]); 6] =
        [("constant", &[3, 3]), ("matrix", &[6, 8]), ("none", &[4, 4]), ("number", &[]), ("one", &[1]), ("vector", &[5])];
    let mut random = Random::new(5);
    let mut noise = |scale: f64| -> BTreeMap<&str, Vec<f64>> {
        shapes.iter().map(|(n, s)| (*n, values(&mut random, s.iter().product()).iter().map(|x| x * scale).collect())).collect()
    };
    let mut base = noise(1.0);
    base.insert("constant", vec![0.25; 9]);
    base.insert("none", vec![0.0; 16]);
    let other = noise(0.1);
    // Each is `x * base + y * other + z`.
    let models = [
        ("base", 1.0, 0.0, 0.0),
        ("near", 1.0, 1.0, 0.0),
        ("zero", 0.0, 0.0, 0.0),
        ("shifted", 1.0, 0.0, 0.5),
        ("opposite", -1.0, 0.0, 0.0),
        ("huge", 1e12, 0.0, 0.0),
    ];
    for (name, x, y, z) in models {
        let tensors = shapes.iter().map(|(n, shape)| {
            let entries = base[n].iter().zip(&other[n]).map(|(b, o)| x * b + y * o + z).collect();
            (*n, Tensor { dtype: DType::F32, shape: shape.to_vec(), entries })
        });
        write_checkpoint(&folder.join(name), tensors, &[]);
    }
}

fn recipe(a: &str, b: &str, saved: &[String]) -> String {
    let mut text = format!("let base = checkpoint(\"base\")\nlet a = checkpoint(\"{a}\")\nlet b = checkpoint(\"{b}\")\n");
    for (file, functions) in library() {
        let _ = writeln!(text, "use std.{file}.{{{}}}", functions.join(", "));
    }
    text += LETS;
    for (i, call) in saved.iter().enumerate() {
        let _ = writeln!(text, "save {call} to \"out/{i}\"");
    }
    text
}

fn calls_of_all() -> Vec<String> {
    let everything = CALLS.iter().map(|call| (*call).to_owned());
    let matrices = MATRICES.iter().map(|call| format!("like base {{ _[o, i] => {call}  _ => base }}"));
    let matrix = MATRIX.iter().map(|call| format!("like base {{ \"matrix\" => {call}  _ => base }}"));
    everything.chain(matrices).chain(matrix).collect()
}

/// Files that merge nothing: start values and layers of networks, whose own tests say what they are.
const NO_MERGES: [&str; 4] = ["state_spaces", "modules", "networks", "tokens"];

/// The files of the library that merge, each with its functions.
fn library() -> Vec<(String, Vec<String>)> {
    let mut files: Vec<_> = fs::read_dir(root().join("stdlib")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let name = |f: &std::path::Path| f.file_stem().unwrap().to_string_lossy().into_owned();
    files.retain(|f| !NO_MERGES.contains(&&*name(f)));
    let functions = |f| library_functions(&fs::read_to_string(f).unwrap()).into_iter().map(|f| f.name).collect();
    files.iter().map(|f| (name(f), functions(f))).collect()
}

#[test]
fn finite_inputs_give_finite_outputs() {
    let folder = Folder::new("limits");
    write_models(&folder);
    let base = read_model(&folder.join("base"));
    let mut wrong = Vec::new();
    for (a, b) in PAIRS {
        run_text(&folder, &recipe(a, b, &calls_of_all()), &Options::default())
            .unwrap_or_else(|e| panic!("{a}, {b}: {}", e.message));
        for (i, call) in calls_of_all().iter().enumerate() {
            for (name, tensor) in read_model(&folder.join(format!("out/{i}"))) {
                if tensor.entries.iter().any(|x| !x.is_finite()) {
                    wrong.push(format!("{a}, {b}: {call}: `{name}` is not finite"));
                }
                let moved = tensor.entries.iter().zip(&base[&name].entries).any(|(x, y)| (x - y).abs() > 1e-6);
                if a == "base" && b == "base" && moved {
                    wrong.push(format!("{call} of the base moves `{name}`"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A parameter of a function of the library.
struct Parameter {
    name: String,
    /// Whether it is a list of models or of tensors.
    many: bool,
    /// Whether it is a fraction, from 0 to 1.
    fraction: bool,
}

/// The functions that merge, each with its parameters.
fn parameters() -> Vec<(String, Vec<Parameter>)> {
    const NO_TENSORS: [&str; 5] = ["f32", "int", "bool", "str", "axis"];
    let many = |ty: &Type| match ty {
        Type::List(member, _) => matches!(&**member, Type::Named { name, .. } if !NO_TENSORS.contains(&name.text.as_str())),
        _ => false,
    };
    let mut all = Vec::new();
    for (file, _) in library() {
        let text = fs::read_to_string(root().join(format!("stdlib/{file}.merge"))).unwrap();
        let part = |span: merge_base::Span| &text[span.start as usize..span.end as usize];
        for item in merge_grammar::parse(FileId(0), &text).0.items {
            let Item::Fn(f) = item else { continue };
            let parameter = |p: &merge_grammar::ast::Param| Parameter {
                name: p.name.text.clone(),
                many: many(&p.ty),
                fraction: p.range.as_ref().is_some_and(|r| part(r.span) == "0..=1"),
            };
            if !f.name.text.starts_with('_') {
                all.push((f.name.text.clone(), f.params.iter().map(parameter).collect()));
            }
        }
    }
    all
}

/// The first call of a function that the limits are tried with: what stands before its arguments, these, and the rest.
fn first_call(function: &str) -> (String, Vec<String>, String) {
    let lines: Vec<String> = LETS.lines().map(str::to_owned).chain(calls_of_all()).collect();
    let line = lines.iter().find(|line| calls(line, function)).expect("every function is called");
    let at =
        (0..line.len()).find(|at| line[*at..].starts_with(&format!("{function}(")) && calls(&line[*at..], function)).unwrap();
    let open = at + function.len() + 1;
    let (mut depth, mut start, mut arguments) = (0, open, Vec::new());
    for (i, c) in line[open..].char_indices().map(|(i, c)| (open + i, c)) {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => {
                arguments.push(line[start..i].trim().to_owned());
                return (line[..open].to_owned(), arguments, line[i..].to_owned());
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(line[start..i].trim().to_owned());
                start = i + 1;
            }
            _ => {}
        }
    }
    panic!("`{line}` closes what it opens");
}

/// The call with a parameter given another value.
fn with(function: &str, parameters: &[Parameter], change: &[(usize, &str)]) -> String {
    let (before, mut arguments, after) = first_call(function);
    for (place, value) in change {
        let name = format!("{}:", parameters[*place].name);
        match arguments.iter().position(|a| a.starts_with(&name)) {
            Some(given) => arguments[given] = format!("{name} {value}"),
            None if *place < arguments.len() && arguments[*place].split_once(": ").is_none() => {
                arguments[*place] = (*value).to_owned();
            }
            None => arguments.push(format!("{name} {value}")),
        }
    }
    format!("{before}{}{after}", arguments.join(", "))
}

/// A fraction of 0 or 1 is a limit with a value, or refused by a condition that names it.
#[test]
fn fractions_of_nothing_and_of_all_are_finite_or_refused() {
    let folder = Folder::new("fractions");
    write_models(&folder);
    let (mut fine, mut wrong) = (Vec::new(), Vec::new());
    for (function, parameters) in parameters() {
        for place in (0..parameters.len()).filter(|p| parameters[*p].fraction) {
            for value in ["0.0", "1.0"] {
                let call = with(&function, &parameters, &[(place, value)]);
                if call.starts_with("let ") {
                    wrong.push(format!("`{call}` is a limit that no call is made of"));
                    continue;
                }
                let found = analyse_text(&folder, &recipe("near", "shifted", std::slice::from_ref(&call))).diagnostics;
                let said: Vec<_> = found.iter().filter(|d| d.is_error()).collect();
                match said.as_slice() {
                    [] => fine.push(call),
                    [one] if one.code.0 == "E2009" && one.message.contains(&parameters[place].name) => {}
                    _ => wrong.push(format!("{call}: {said:?}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(fine.len() > 40, "only {} calls", fine.len());
    // Off-diagonal entries at full weight are no limit, and leave Gram matrices singular that are.
    fine.retain(|call| !(calls(call, "regmean") && call.contains("1.0")));
    for (a, b) in [("near", "zero"), ("huge", "opposite")] {
        run_text(&folder, &recipe(a, b, &fine), &Options::default()).unwrap_or_else(|e| panic!("{a}, {b}: {}", e.message));
        for (i, call) in fine.iter().enumerate() {
            let outputs = read_model(&folder.join(format!("out/{i}")));
            let odd = outputs.iter().filter(|(_, t)| t.entries.iter().any(|x| !x.is_finite()));
            wrong.extend(odd.map(|(name, _)| format!("{a}, {b}: {call}: `{name}` is not finite")));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A function of several models that is given none says so once, and in its own words.
#[test]
fn no_models_are_refused_by_the_function_that_wants_them() {
    let folder = Folder::new("none");
    write_models(&folder);
    let (mut tried, mut wrong) = (0, Vec::new());
    for (function, parameters) in parameters() {
        let lists: Vec<_> = (0..parameters.len()).filter(|p| parameters[*p].many).map(|p| (p, "[]")).collect();
        if lists.is_empty() {
            continue;
        }
        let call = with(&function, &parameters, &lists);
        let call = if call.starts_with("let ") { call } else { format!("save {call} to \"out\"") };
        let (base, _) = recipe("near", "shifted", &[]).split_once(LETS).map(|(b, a)| (b.to_owned(), a.to_owned())).unwrap();
        let taus = LETS.lines().filter(|l| l.starts_with("let taus")).collect::<String>();
        let found = analyse_text(&folder, &format!("{base}{taus}\n{call}\n")).diagnostics;
        let said: Vec<_> = found.iter().filter(|d| d.is_error()).collect();
        let own =
            |d: &&merge_base::Diagnostic| d.code.0 == "E2009" && d.message.starts_with(&format!("`{function}` requires len("));
        if said.len() != 1 || !said.iter().all(own) {
            wrong.push(format!("{call}: {:?}", said.iter().map(|d| format!("{} {}", d.code, d.message)).collect::<Vec<_>>()));
        }
        tried += 1;
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(tried > 35, "only {tried} functions");
}

#[test]
fn every_function_is_taken_to_its_limits() {
    let mut missing = Vec::new();
    let mut tried = calls_of_all();
    tried.push(LETS.to_owned());
    for function in library().into_iter().flat_map(|(_, functions)| functions) {
        if !tried.iter().any(|call| calls(call, &function)) {
            missing.push(function);
        }
    }
    assert!(missing.is_empty(), "no call here of {}", missing.join(", "));
}

/// What has no limit value says so: statistics that no layer can be found from, or of another layer.
#[test]
fn statistics_that_do_not_do_are_told() {
    let folder = Folder::new("limits");
    write_models(&folder);
    let recipe = |gram: &str| {
        format!(
            "use std.statistics.regmean\nlet base = checkpoint(\"base\")\nlet a = checkpoint(\"near\")\n\
             save like base {{ \"matrix\" => regmean([base, a], [{gram}, {gram}])  _ => base }} to \"out\"\n"
        )
    };
    let Err(error) = run_text(&folder, &recipe("0 * eye(8)"), &Options::default()) else {
        panic!("a system without a solution was solved");
    };
    assert!(error.message.contains("singular"), "{}", error.message);
    let analysis = merge_tests::analyse_text(&folder, &recipe("eye(6)"));
    let codes: Vec<_> = analysis.diagnostics.iter().map(|d| d.code.to_string()).collect();
    assert_eq!(codes, ["E2003"; 2], "one for each of the two");
}
