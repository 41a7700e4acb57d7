//! `cargo xtask bench --peers`: mergec against mergekit, both as processes, on the same files, in turn.
//!
//! Both get as many threads as there are cores, write to the same place, and are sampled alike: processor time by `wait4`,
//! memory as the peak of anonymous resident pages, so that mapped files count for neither. mergekit spends seconds on its
//! imports before it reads a weight; the ratio to quote is that of whole processes, the one without them stands beside it.

use super::{
    Options, decompose,
    measure::{self, Measured, measure, median},
    places, remove, synthesise,
};
use crate::{peers, shell};
use std::path::Path;

// DARE and DELLA are scaled as in their papers, by the chance to stay. mergekit's ratio of L1 norms (`match_l1`) takes a pass
// more, in which DELLA ranks the rows again.

/// Anonymous memory of a merge that decomposes nothing, in MB at most.
const MEMORY_MB: f64 = 600.0;

/// One row of the table: the same merge for both.
pub struct Pair {
    pub name: &'static str,
    /// What the recipe brings in, and its value, of `base`, `a`, `b` and `c`.
    uses: &'static str,
    value: &'static str,
    /// The models of the YAML with their parameters, and the parameters of the merge.
    models: &'static [(&'static str, &'static str)],
    parameters: &'static str,
    /// The YAML's `base_model`, empty for none.
    base: &'static str,
    /// How many times as fast as mergekit, at least.
    pub target: f64,
}

macro_rules! pairs {
    ($($name:literal $target:literal : $uses:literal => $value:literal, $base:literal [$($model:literal $with:literal),*] $parameters:literal;)*) => {
        &[$(Pair {
            name: $name, uses: $uses, value: $value, base: $base, target: $target,
            models: &[$(($model, $with)),*], parameters: $parameters,
        }),*]
    };
}

pub const PAIRS: &[Pair] = pairs! {
    "passthrough" 5.0: "" => "a", "" ["a" ""] "";
    "linear" 5.0: "merging.linear" => "linear([a, b, c], [0.5, 0.3, 0.2])",
        "" ["a" "weight: 0.5", "b" "weight: 0.3", "c" "weight: 0.2"] "";
    "slerp" 5.0: "merging.slerp" => "slerp(a, b, t: 0.4)", "a" ["a" "", "b" ""] "t: 0.4";
    "nuslerp" 5.0: "merging.nuslerp" => "nuslerp(a, b, 0.6, 0.4)", "" ["a" "weight: 0.6", "b" "weight: 0.4"] "";
    "multislerp" 5.0: "geometry.multislerp" => "multislerp([a, b, c], [0.5, 0.3, 0.2])",
        "" ["a" "weight: 0.5", "b" "weight: 0.3", "c" "weight: 0.2"] "";
    "karcher" 5.0: "geometry.karcher" => "karcher([a, b, c], [1.0, 1.0, 1.0])", "" ["a" "", "b" "", "c" ""] "";
    "model_stock" 5.0: "merging.model_stock" => "model_stock(base, [a, b, c])", "base" ["a" "", "b" "", "c" ""] "";
    "nearswap" 5.0: "geometry.nearswap" => "nearswap(base, a, t: 0.001)", "base" ["a" ""] "t: 0.001";
    "arcee_fusion" 5.0: "task_vectors.arcee_fusion" => "arcee_fusion(base, a)", "base" ["a" ""] "";
    "task_arithmetic" 5.0: "" => "base + 0.5 * (a - base) + 0.3 * (b - base) + 0.2 * (c - base)",
        "base" ["a" "weight: 0.5", "b" "weight: 0.3", "c" "weight: 0.2"] "";
    "ties" 40.0: "merging.ties_weighted" => "ties_weighted(base, [a, b, c], [0.5, 0.3, 0.2], density: 0.5)",
        "base" ["a" "weight: 0.5, density: 0.5", "b" "weight: 0.3, density: 0.5", "c" "weight: 0.2, density: 0.5"] "";
    "dare_linear" 5.0: "task_vectors.dare_linear" => "dare_linear(base, [a, b, c], [0.5, 0.3, 0.2], density: 0.5, seed: 7)",
        "base" ["a" "weight: 0.5, density: 0.5", "b" "weight: 0.3, density: 0.5", "c" "weight: 0.2, density: 0.5"] "";
    "dare_ties" 40.0: "merging.dare_ties" => "dare_ties(base, [a, b, c], [0.5, 0.3, 0.2], density: 0.5, seed: 7)",
        "base" ["a" "weight: 0.5, density: 0.5", "b" "weight: 0.3, density: 0.5", "c" "weight: 0.2, density: 0.5"]
        "normalize: true";
    "breadcrumbs" 40.0: "task_vectors.breadcrumbs_flat" => "breadcrumbs_flat(base, [a, b, c], [0.5, 0.3, 0.2], density: 0.5, gamma: 0.1)",
        "base" ["a" "weight: 0.5, density: 0.5, gamma: 0.1", "b" "weight: 0.3, density: 0.5, gamma: 0.1",
        "c" "weight: 0.2, density: 0.5, gamma: 0.1"] "";
    "breadcrumbs_ties" 5.0: "task_vectors.breadcrumbs_ties" => "breadcrumbs_ties(base, [a, b, c], [0.5, 0.3, 0.2], density: 0.5, gamma: 0.1)",
        "base" ["a" "weight: 0.5, density: 0.5, gamma: 0.1", "b" "weight: 0.3, density: 0.5, gamma: 0.1",
        "c" "weight: 0.2, density: 0.5, gamma: 0.1"] "";
    "della" 40.0: "task_vectors.della" =>
        "della(base, [a, b, c], [0.5, 0.3, 0.2], density: 0.5, epsilon: 0.15, lambda: 1.0, seed: 7)",
        "base" ["a" "weight: 0.5, density: 0.5, epsilon: 0.15", "b" "weight: 0.3, density: 0.5, epsilon: 0.15",
        "c" "weight: 0.2, density: 0.5, epsilon: 0.15"] "";
    "della_linear" 5.0: "task_vectors.della_linear" =>
        "della_linear(base, [a, b, c], [0.5, 0.3, 0.2], density: 0.5, epsilon: 0.15, seed: 7)",
        "base" ["a" "weight: 0.5, density: 0.5, epsilon: 0.15", "b" "weight: 0.3, density: 0.5, epsilon: 0.15",
        "c" "weight: 0.2, density: 0.5, epsilon: 0.15"] "";
    "sce" 40.0: "task_vectors.sce" => "sce(base, [a, b, c], select: 0.5)",
        "base" ["a" "", "b" "", "c" ""] "select_topk: 0.5";
    "ram" 5.0: "task_vectors.ram" => "ram(base, [a, b, c], least: 1e-5)", "base" ["a" "", "b" "", "c" ""] "epsilon: 1e-5";
    "ramplus_tl" 5.0: "task_vectors.ram_plus" => "ram_plus(base, [a, b, c], least: 1e-5)",
        "base" ["a" "", "b" "", "c" ""] "epsilon: 1e-5";
};

impl Pair {
    fn recipe(&self) -> String {
        let uses = if self.uses.is_empty() { String::new() } else { format!("use std.{}\n", self.uses) };
        let named = self.models.iter().map(|(name, _)| *name);
        let inputs = [self.base].into_iter().filter(|b| !b.is_empty() && !self.models.iter().any(|(n, _)| n == b)).chain(named);
        let lets: String = inputs.map(|i| format!("let {i} = checkpoint(\"{i}\")\n")).collect();
        format!("{uses}{lets}save {} to \"out\"\n", self.value)
    }

    fn yaml(&self, data: &Path) -> String {
        let path = |name: &str| data.join(name).display().to_string();
        let base = if self.base.is_empty() { String::new() } else { format!("base_model: {}\n", path(self.base)) };
        let models: String =
            self.models.iter().map(|(name, with)| format!("  - model: {}\n    parameters: {{{with}}}\n", path(name))).collect();
        format!("merge_method: {}\n{base}models:\n{models}parameters: {{{}}}\n", self.name, self.parameters)
    }
}

/// Prints the tables.
pub fn bench(options: &Options, data: &Path) -> Result<(), String> {
    let python = peers::environment()?;
    let mergec = shell::target().join("release/mergec");
    let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    // SAFETY: xtask has one thread here. mergekit would ask a hub about models that are folders.
    unsafe { std::env::set_var("HF_HUB_OFFLINE", "1") };
    let small = shell::target().join(if options.quick { "bench-layer-quick" } else { "bench-layer" });
    let matrices = synthesise::layer(&small, options.quick)?;
    let largest = if PAIRS.iter().any(|p| options.wants(p.name)) { data } else { &small };
    let (place_name, place) = places(options, largest)?.swap_remove(0);
    std::fs::create_dir_all(&place).map_err(|e| format!("cannot make {}: {e}", place.display()))?;
    let tables = || {
        println!("\noutput to {place_name}, {threads} threads, medians of {}", options.runs);
        let mergekit = python.with_file_name("mergekit-yaml");
        let mut missed = table(options, data, [&mergec, &mergekit], &place, &threads)?;
        missed.extend(decompose::table(options, &small, &matrices, [&mergec, &python], &place, &threads)?);
        println!("\nmissed: {}", if missed.is_empty() { "none".to_owned() } else { missed.join(", ") });
        Ok(())
    };
    let done = tables();
    remove(&place);
    done
}

fn table(
    options: &Options,
    data: &Path,
    [mergec, mergekit]: [&Path; 2],
    place: &Path,
    threads: &str,
) -> Result<Vec<&'static str>, String> {
    let wanted: Vec<&Pair> = PAIRS.iter().filter(|p| options.wants(p.name)).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    // A recipe that is wrong should not wait for its turn.
    for pair in &wanted {
        let recipe = data.join(format!("{}.merge", pair.name));
        std::fs::write(&recipe, pair.recipe()).map_err(|e| e.to_string())?;
        std::fs::write(recipe.with_extension("yaml"), pair.yaml(data)).map_err(|e| e.to_string())?;
        shell::output(mergec, &["check", &recipe.display().to_string()])?;
    }
    let imports = median((0..3).map(|_| measure::wall_of(mergekit, &["--help".to_owned()])).collect::<Result<_, _>>()?);
    println!("\nmergec, then mergekit, which needs {imports:.1} s to start: `bare` is the ratio without them");
    println!("limit of anonymous memory: {MEMORY_MB} MB");
    println!(
        "{:18}|{:>8} {:>8} {:>8} |{:>8} {:>8} {:>8} |{:>7} {:>7} {:>7} {:>7} {:>7}",
        "", "wall s", "cpu s", "anon MB", "wall s", "cpu s", "anon MB", "wall x", "target", "bare x", "cpu x", "anon x"
    );
    let mut missed = Vec::new();
    for pair in wanted {
        let (ours, theirs) = row(pair, options.runs, data, place, [mergec, mergekit], threads)?;
        let ratio = theirs.wall / ours.wall;
        let miss = ratio < pair.target || ours.anonymous_mb > MEMORY_MB;
        println!(
            "{:18}|{:8.2} {:8.2} {:8.0} |{:8.2} {:8.2} {:8.0} |{ratio:7.1} {:7.0} {:7.1} {:7.1} {:7.1}{}",
            pair.name,
            ours.wall,
            ours.cpu,
            ours.anonymous_mb,
            theirs.wall,
            theirs.cpu,
            theirs.anonymous_mb,
            pair.target,
            (theirs.wall - imports).max(0.0) / ours.wall,
            theirs.cpu / ours.cpu,
            theirs.anonymous_mb / ours.anonymous_mb,
            if miss { "  MISSED" } else { "" },
        );
        if miss {
            missed.push(pair.name);
        }
    }
    Ok(missed)
}

/// The medians of both sides.
fn row(
    pair: &Pair,
    runs: usize,
    data: &Path,
    place: &Path,
    [mergec, mergekit]: [&Path; 2],
    threads: &str,
) -> Result<(Measured, Measured), String> {
    let out = place.join(pair.name);
    let file = |extension: &str| data.join(format!("{}.{extension}", pair.name)).display().to_string();
    let (recipe, yaml, into) = (file("merge"), file("yaml"), out.display().to_string());
    let ours = ["run", &recipe, "--out", &into, "--threads", threads].map(str::to_owned);
    let theirs = [&yaml, &into, "--num-threads", threads, "--random-seed", "7", "--lazy-unpickle", "--quiet"].map(str::to_owned);
    let theirs = [&theirs[..], &["--no-copy-tokenizer", "--no-write-model-card"].map(str::to_owned)].concat();
    let mut pairs = Vec::new();
    // The first run of ours brings the inputs into the page cache, for both.
    for turn in 0..=runs {
        let a = measure(mergec, &ours)?;
        remove(&out);
        if turn > 0 {
            let b = measure(mergekit, &theirs)?;
            remove(&out);
            pairs.push((a, b));
        }
    }
    let (ours, theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    Ok((Measured::median(&ours), Measured::median(&theirs)))
}
