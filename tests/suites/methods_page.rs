//! `docs/methods.md` lists the library as its doc comments say; `MERGE_BLESS=1` writes the generated part anew.
//! Its recipes pass the checks.

use merge_abi::DType;
use merge_tests::{Folder, Tensor, analyse_text, calls, library_functions, read_model, root, write_checkpoint, write_stand_ins};
use std::{fmt::Write, fs};

const START: &str = "<!-- generated from stdlib/ by tests/suites/methods_page.rs -->\n";
const END: &str = "<!-- end of the generated part -->\n";

#[test]
fn the_page_lists_every_function_of_the_library() {
    let path = root().join("docs/methods.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(START).expect("the start of the generated part is marked");
    let (found, after) = rest.split_once(END).expect("the end of the generated part is marked");
    let wanted = tables();
    if std::env::var_os("MERGE_BLESS").is_some() {
        fs::write(&path, format!("{before}{START}{wanted}{END}{after}")).unwrap();
    } else {
        assert!(found == wanted, "docs/methods.md is stale: run this test with MERGE_BLESS=1");
    }
}

/// What a user may look for, each with the function that has a row, or the words that start its paragraph.
#[rustfmt::skip]
const METHODS: &[(&str, &str)] = &[
    ("Breadcrumbs, per row", "breadcrumbs"), ("Breadcrumbs, per tensor", "breadcrumbs_flat"), ("PCB, vision", "pcb"),
    ("PCB, root script", "pcb_sum"), ("PCB, evolution strategy", "pcb_pairs"), ("OPCM", "opcm"), ("DARE", "dare"),
    ("DAREx-q", "darex_q"), ("Fisher", "fisher"), ("RegMean", "regmean"), ("RWS, extract and remove", "signature"),
    ("RWS, patch, scale and compose", "patch"), ("RWS, linear quantisation", "quantise_linear"),
    ("RWS, log quantisation", "quantise_log"), ("EWA", "**Experts Weights Averaging**"), ("Sparse model soups", "sparse_soup"),
    ("global magnitude masks", "magnitude_mask"), ("HFT, half of each category", "hft"), ("HFT, by rules", "**Half-reset by category**"),
    ("half-reset", "half_reset"), ("MOS", "mos_ema"), ("SaRA, delta merge", "sara"), ("SaRA, packed file", "sara_packed"),
    ("ZeroI2V, before", "zeroi2v_before"), ("ZeroI2V, after", "zeroi2v_after"), ("ZeroI2V, bias before", "zeroi2v_before_bias"),
    ("ZeroI2V, bias after", "zeroi2v_after_bias"), ("PAT, mask", "pat_kept"), ("PAT, producers", "pat_producer"),
    ("PAT, consumers", "pat_consumer"), ("PAT, embedding", "pat_embedding"), ("PAT, norm", "pat_norm"), ("EoRA", "eora"),
    ("EoRA, factors", "eora_factors"), ("PELA", "pela"), ("STABLE-RPS", "rps_expand"), ("My3DGen", "lora_conv"), ("LoRA-LEGO", "lego"),
    ("linear soup", "linear"), ("weighted soup", "**Weighted soup.**"), ("greedy soup", "greedy_soup"),
    ("task arithmetic", "task_arithmetic"), ("weights, negation", "**Task arithmetic with a weight for each model**"), ("TIES", "ties"),
    ("TIES, global", "ties_paper"), ("TIES, weights", "ties_weighted"), ("DARE, linear", "dare_linear"), ("DARE, TIES", "dare_ties"),
    ("DELLA", "della"), ("DELLA, linear", "della_linear"), ("MAGPRUNE", "magprune"), ("SLERP", "slerp"), ("NuSLERP", "nuslerp"),
    ("multi-SLERP", "multislerp"), ("Karcher mean", "karcher"), ("model stock", "model_stock"), ("SCE", "sce"),
    ("arcee fusion", "arcee_fusion"), ("nearswap", "nearswap"), ("RAM", "ram"), ("RAM+", "ram_plus"), ("MagMax", "magmax"),
    ("TALL masks", "tall_mask"), ("consensus", "consensus"), ("EMR", "emr"), ("EMR, a model again", "emr_model"), ("TSV-M", "tsv_m"),
    ("Iso-C", "iso_c"), ("Iso-CTS", "iso_cts"), ("KnOTS", "knots"), ("Git Re-Basin", "rebasin"), ("ExPO", "expo"),
    ("geometric median", "geometric_median"), ("LoRA, rsLoRA", "lora"), ("DoRA", "dora"), ("LoHa", "loha"), ("LoKr", "lokr"),
    ("IA3", "ia3"), ("VeRA", "vera"), ("AdaLoRA", "adalora"), ("FLoRA", "flora"), ("Compacter", "compacter"),
    ("files of adapters", "**Adapters by their format**"), ("adapters, sums, ranks, extraction", "**Adapters as algebra**"),
];

#[test]
fn no_method_is_missing() {
    let page = fs::read_to_string(root().join("docs/methods.md")).unwrap();
    let found =
        |place: &str| if place.starts_with("**") { page.contains(place) } else { page.contains(&format!("\n| `{place}(")) };
    let missing: Vec<_> = METHODS.iter().filter(|(_, place)| !found(place)).map(|(method, _)| method).collect();
    assert!(missing.is_empty(), "docs/methods.md says nothing about {missing:?}");
}

/// A row of a method has its signature, what it is, a call, a source, what it reads, and tests: in its file and against numpy.
#[test]
fn every_method_says_what_it_reads_and_how_it_is_tested() {
    let page = fs::read_to_string(root().join("docs/methods.md")).unwrap();
    let mut wrong = Vec::new();
    for (method, place) in METHODS.iter().filter(|(_, place)| !place.starts_with("**")) {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{place}("))).expect("listed, as another test says");
        let row = row.replace("\\|", "or");
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [signature, what, example, paper, reads, tests] = cells.as_slice() else {
            wrong.push(format!("{method}: {} cells", cells.len()));
            continue;
        };
        let in_file = tests.split(' ').next().and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
        let full =
            signature.contains(") -> ") && what.len() > 20 && calls(example, place) && paper.len() > 10 && !reads.is_empty();
        // Who takes factors or statistics gets them from a file, or says in its signature how they come from models.
        let files = ["tensor[", "[tensor"].iter().any(|t| signature.split(") -> ").next().is_some_and(|s| s.contains(t)))
            && *reads == "models";
        if !full || in_file == 0 || !tests.contains("golden: ") || files && !FROM_MODELS.contains(place) {
            wrong.push(format!("{method}: {row}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    for (_, place) in METHODS.iter().filter(|(_, place)| place.starts_with("**")) {
        let (_, after) = page.split_once(place).expect("there, as another test says");
        let paragraph = after.split("\n\n**").next().unwrap_or_default();
        assert!(paragraph.contains("```merge") || paragraph.contains('`'), "{place} shows no recipe");
    }
}

/// Functions of any tensors, for which models do.
const FROM_MODELS: &[&str] = &["magnitude_mask"];

/// `reads` of the tables is a paragraph of the doc comment; within another it would be overlooked.
#[test]
fn what_a_function_needs_is_a_paragraph() {
    for file in fs::read_dir(root().join("stdlib")).unwrap() {
        let file = file.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        let mut before = "";
        for line in text.lines() {
            let fits = !line.starts_with("/// Needs") || (before == "///" && line.starts_with("/// Needs "));
            assert!(fits, "{}: `{line}` does not start a paragraph", file.display());
            before = line;
        }
    }
}

#[test]
fn the_recipes_on_the_page_are_fine() {
    let folder = Folder::new("methods");
    write_stand_ins(folder.path());
    for model in ["base", "math", "code"] {
        // Buffers would need a rule in every recipe.
        let tensors = read_model(&folder.join(model));
        let kept = tensors.iter().filter(|(name, _)| !name.ends_with("position_ids"));
        write_checkpoint(&folder.join(model), kept.map(|(name, tensor)| (name.as_str(), tensor.clone())), &[]);
    }
    let factors = (0..4).flat_map(|l| {
        let name = format!("base_model.model.model.layers.{l}.self_attn.q_proj");
        let factor = |shape: &[usize]| Tensor { dtype: DType::F32, shape: shape.to_vec(), entries: vec![0.5; 16] };
        [(format!("{name}.lora_A.weight"), factor(&[2, 8])), (format!("{name}.lora_B.weight"), factor(&[8, 2]))]
    });
    let factors: Vec<_> = factors.collect();
    write_checkpoint(&folder.join("adapter"), factors.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
    fs::rename(folder.join("adapter/model.safetensors"), folder.join("adapter.safetensors")).unwrap();
    write_factors(&folder);
    let page = fs::read_to_string(root().join("docs/methods.md")).unwrap();
    let recipes: Vec<&str> = page.split("```merge\n").skip(1).map(|p| p.split("```").next().unwrap_or_default()).collect();
    assert!(!recipes.is_empty());
    for recipe in recipes {
        let found = analyse_text(&folder, recipe).diagnostics;
        let said: Vec<String> = found.iter().map(|d| format!("{}: {}", d.code, d.message)).collect();
        assert!(said.is_empty(), "{recipe}\n{}", said.join("\n"));
    }
}

/// Files of FLoRA and of Compacter, under the names of their authors' code.
fn write_factors(folder: &Folder) {
    let tensor =
        |shape: &[usize]| Tensor { dtype: DType::F32, shape: shape.to_vec(), entries: vec![0.5; shape.iter().product()] };
    let flora = (0..4).flat_map(|l| {
        let name = format!("model.layers.{l}.self_attn.q_proj.flora_layer.param");
        [("G", [2, 3]), ("0", [8, 2]), ("1", [8, 3])].map(|(part, shape)| (format!("{name}_{part}"), tensor(&shape)))
    });
    let compacter = ["down_sampler", "up_sampler"].into_iter().flat_map(|side| {
        let parts = [("phm_rule", vec![2, 2, 2]), ("W_left", vec![2, 4, 1]), ("W_right", vec![2, 1, 4]), ("b", vec![8])];
        parts.map(|(part, shape)| (format!("layer.0.adapter.{side}.{part}"), tensor(&shape)))
    });
    for (name, tensors) in [("flora", flora.collect::<Vec<_>>()), ("compacter", compacter.collect())] {
        write_checkpoint(&folder.join(name), tensors.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
        fs::rename(folder.join(name).join("model.safetensors"), folder.join(format!("{name}.safetensors"))).unwrap();
    }
}

/// A table for each file of the library.
fn tables() -> String {
    let goldens = goldens();
    let mut page = String::new();
    let mut files: Vec<_> = fs::read_dir(root().join("stdlib")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let module = file.file_stem().unwrap().to_string_lossy().into_owned();
        let about = text.lines().next().unwrap().trim_start_matches("//! ");
        let _ = writeln!(page, "\n### std.{module}\n\n{about}\n");
        page += "| function | what it does | example | paper | reads | tests |\n|---|---|---|---|---|---|\n";
        for f in library_functions(&text) {
            let reads = if f.needs.is_empty() { "models" } else { &f.needs };
            let mut tests = vec![format!("{} in the file", f.tests.len())];
            let rows: Vec<&str> = goldens.iter().filter(|(_, row)| calls(row, &f.name)).map(|(name, _)| name.as_str()).collect();
            if !rows.is_empty() {
                tests.push(format!("golden: {}", rows.join(", ")));
            }
            let what = [
                format!("`{}`", f.signature),
                f.summary,
                format!("`{}`", f.example),
                linked(&f.source),
                reads.to_owned(),
                tests.join("; "),
            ];
            let _ = writeln!(page, "| {} |", what.map(|cell| cell.replace('|', "\\|")).join(" | "));
        }
    }
    page.push('\n');
    page
}

/// Numbers of papers become links.
fn linked(source: &str) -> String {
    let mut parts = source.split("arXiv ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_at(part.len().min("2311.03099".len()));
        let _ = write!(text, "[arXiv {number}](https://arxiv.org/abs/{number}){rest}");
    }
    text
}

/// The names of the golden tests, each with its row.
fn goldens() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("tests/suites/golden.rs")).unwrap();
    let mut rows = Vec::new();
    for block in text.split("\ngolden! {\n").skip(1) {
        for row in block.split("\n}\n").next().unwrap_or_default().split(";\n").skip(1) {
            if let Some((name, rest)) = row.split_once(": ") {
                rows.push((name.trim().to_owned(), rest.to_owned()));
            }
        }
    }
    rows
}
