//! `cargo xtask demo`: the main job on real input, from an empty machine.

use crate::{shell, toolchain};
use serde_json::Value;
use std::path::Path;

const INPUTS: [&str; 5] = ["base", "nw", "ne", "sw", "se"];
const QUADRANTS: [&str; 4] = ["nw", "ne", "sw", "se"];

/// Builds `mergec`, merges the four fine-tunes of `examples/quadrants` twice and prints all accuracies.
pub fn demo() -> Result<(), String> {
    toolchain::llvm()?;
    println!("building mergec (a few minutes the first time)");
    shell::cargo(&["build", "--quiet", "--release", "-p", "mergec", "-p", "merge-runtime", "-p", "merge-evaluate"])?;
    let release = shell::target().join("release");
    let folder = Path::new("examples/quadrants");
    for recipe in ["average.merge", "quadrants.merge"] {
        let recipe = folder.join(recipe).display().to_string();
        println!("\n$ mergec run {recipe}");
        shell::run(release.join("mergec"), &["run", &recipe])?;
    }
    println!("\nAccuracy in per cent, digits in each quadrant of the canvas (2000 test images):\n");
    let rows = INPUTS
        .iter()
        .map(|m| (*m, folder.join(m)))
        .chain([("plain average", folder.join("out/average")), ("ties, density 0.2, lambda 1.5", folder.join("out/ties"))]);
    let (names, models): (Vec<&str>, Vec<String>) = rows.map(|(name, path)| (name, path.display().to_string())).unzip();
    let data = folder.join("data/test.safetensors").display().to_string();
    let arguments: Vec<&str> = [data.as_str()].into_iter().chain(models.iter().map(String::as_str)).collect();
    let lines = shell::output(release.join("merge-evaluate"), &arguments)?;
    println!("{:30} {:>6} {:>6} {:>6} {:>6} {:>7}", "", "nw", "ne", "sw", "se", "mean");
    for (name, line) in names.iter().zip(lines.lines()) {
        let row: Value = serde_json::from_str(line).map_err(|e| format!("the evaluator printed `{line}`: {e}"))?;
        let cell = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
        let cells: String = QUADRANTS.iter().map(|q| format!(" {:6.2}", cell(q))).collect();
        println!("{name:30}{cells} {:7.2}", cell("mean"));
    }
    println!(
        "\nEach fine-tune is best in its own quadrant and worse than the base elsewhere. The average helps a little;\n\
         TIES keeps what each of them learnt. Try: {} run examples/quadrants/quadrants.merge --set density=0.5",
        release.join("mergec").display()
    );
    Ok(())
}
