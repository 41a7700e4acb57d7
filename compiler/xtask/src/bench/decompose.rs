//! The part of `bench --peers` about methods in singular vectors: mergec against the decompositions alone, by LAPACK.
//!
//! mergekit has none of these methods, so the rival is the part of the work that nobody can leave out: the singular value
//! decompositions of the same shapes, at the same thread count, by torch. mergec decomposes in f64; LAPACK's time in f32 is
//! shown too.

use super::{
    Options,
    measure::{Measured, measure, median},
    remove,
};
use crate::shell;
use std::path::Path;

/// mergec's wall time over that of the decompositions in f64, at most.
const TARGET: f64 = 1.5;
/// Fine-tunes that are merged.
const MODELS: u64 = 3;

type Shape = (u64, u64);

/// A method, and what must be decomposed for one matrix of a shape.
pub struct Method {
    pub name: &'static str,
    decomposed: fn(Shape) -> Vec<Shape>,
}

pub const METHODS: &[Method] = &[
    Method { name: "tsv_m", decomposed: tsv_m },
    Method { name: "iso_c", decomposed: |shape| vec![shape] },
    Method { name: "iso_cts", decomposed: iso_cts },
];

/// Each task vector, then the joined left and the joined right vectors.
fn tsv_m((o, i): Shape) -> Vec<Shape> {
    let kept = (o.min(i) / MODELS).max(1) * MODELS;
    [vec![(o, i); MODELS as usize], vec![(o, kept), (i, kept)]].concat()
}

/// The sum, what the common directions leave of each task vector, then the joined vectors.
fn iso_cts((o, i): Shape) -> Vec<Shape> {
    let all = o.min(i);
    [vec![(o, i); MODELS as usize + 1], vec![(o, all), (i, all)]].concat()
}

impl Method {
    fn recipe(&self) -> String {
        let lets: String = ["base", "a", "b", "c"].map(|n| format!("let {n} = checkpoint(\"{n}\")\n")).concat();
        format!(
            "use std.subspaces.{0}\n{lets}save like base {{\n    \"model.layers.**\"[o, i] => {0}(base, [a, b, c])\n    _ => base\n}} \
             to \"out\"\n",
            self.name
        )
    }
}

/// Prints the table; `matrices` are the shapes in the layers of the models in `data`. Gives the names that missed.
pub fn table(
    options: &Options,
    data: &Path,
    matrices: &[Shape],
    [mergec, python]: [&Path; 2],
    place: &Path,
    threads: &str,
) -> Result<Vec<&'static str>, String> {
    let wanted: Vec<&Method> = METHODS.iter().filter(|m| options.wants(m.name)).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    println!(
        "\nmethods in singular vectors against the decompositions alone (LAPACK by torch), one layer of {} matrices",
        matrices.len()
    );
    println!(
        "{:18}|{:>8} {:>8} {:>8} |{:>8} {:>8} |{:>8} {:>7} {:>8}",
        "", "wall s", "cpu s", "anon MB", "f64 s", "f32 s", "over f64", "target", "over f32"
    );
    let mut missed = Vec::new();
    for method in wanted {
        let recipe = data.join(format!("{}.merge", method.name));
        std::fs::write(&recipe, method.recipe()).map_err(|e| e.to_string())?;
        shell::output(mergec, &["check", &recipe.display().to_string()])?;
        let out = place.join(method.name);
        let ours =
            ["run", &recipe.display().to_string(), "--out", &out.display().to_string(), "--threads", threads].map(str::to_owned);
        let shapes = matrices.iter().flat_map(|m| (method.decomposed)(*m)).map(|(o, i)| format!("{o}x{i}"));
        let theirs: Vec<String> =
            ["tests/peers/decompositions.py".to_owned(), threads.to_owned()].into_iter().chain(shapes).collect();
        let theirs: Vec<&str> = theirs.iter().map(String::as_str).collect();
        let mut runs: Vec<(Measured, f64, f64)> = Vec::new();
        for _ in 0..options.runs {
            let merged = measure(mergec, &ours)?;
            remove(&out);
            let printed = shell::output(python, &theirs)?;
            let seconds: Vec<f64> = printed.split_whitespace().filter_map(|w| w.parse().ok()).collect();
            let [double, single] = seconds[..] else { return Err(format!("the decompositions printed `{printed}`")) };
            runs.push((merged, double, single));
        }
        let middle = |f: &dyn Fn(&(Measured, f64, f64)) -> f64| median(runs.iter().map(f).collect());
        let ratio = middle(&|r| r.0.wall / r.1);
        println!(
            "{:18}|{:8.2} {:8.2} {:8.0} |{:8.2} {:8.2} |{ratio:8.2} {TARGET:7.1} {:8.2}{}",
            method.name,
            middle(&|r| r.0.wall),
            middle(&|r| r.0.cpu),
            middle(&|r| r.0.anonymous_mb),
            middle(&|r| r.1),
            middle(&|r| r.2),
            middle(&|r| r.0.wall / r.2),
            if ratio > TARGET { "  MISSED" } else { "" },
        );
        if ratio > TARGET {
            missed.push(method.name);
        }
    }
    Ok(missed)
}
