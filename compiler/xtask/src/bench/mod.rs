//! `cargo xtask bench`: mergec against the floor.
//!
//! The floor is a plain threaded loop that reads the same inputs, averages them and writes as many bytes to
//! the same place ([`floor`]). Both run as processes of their own, in turn; the figure to quote is the median
//! of the ratios of neighbouring runs. With `--peers` the rival is mergekit ([`peers`]); `--search` is about the algorithms of
//! `mergec search` ([`search`]).

mod decompose;
pub mod floor;
mod measure;
mod methods;
mod peers;
mod search;
mod synthesise;
mod trials;

use crate::{shell, toolchain};
use measure::{Measured, measure, median};
use std::path::{Path, PathBuf};

struct Options {
    quick: bool,
    disk: bool,
    /// Against mergekit, not the floor.
    peers: bool,
    runs: usize,
    only: Vec<String>,
}

impl Options {
    fn wants(&self, method: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|o| o == method)
    }
}

/// Runs the benchmark.
pub fn bench(arguments: &[&str]) -> Result<(), String> {
    if let Some(at) = arguments.iter().position(|a| *a == "--search") {
        return search::bench(&[&arguments[..at], &arguments[at + 1..]].concat());
    }
    let options = parse(arguments)?;
    toolchain::llvm()?;
    let data = shell::target().join(if options.quick { "bench-quick" } else { "bench-full" });
    if !options.peers || peers::PAIRS.iter().any(|p| options.wants(p.name)) {
        synthesise::checkpoints(&data, options.quick)?;
    }
    shell::cargo(&["build", "--quiet", "--release", "-p", "mergec", "-p", "merge-runtime", "-p", "xtask"])?;
    if options.peers {
        return peers::bench(&options, &data);
    }
    for (name, place) in &places(&options, &data)? {
        let done = table(&options, &data, name, place);
        let _ = std::fs::remove_dir_all(place);
        done?;
    }
    startup(&data)
}

/// Where outputs go: to memory if it has room, and to the disk if it has not or if asked for.
fn places(options: &Options, data: &Path) -> Result<Vec<(&'static str, PathBuf)>, String> {
    let model = std::fs::metadata(data.join("base/model.safetensors")).map_err(|e| e.to_string())?.len();
    let tmpfs = Path::new("/dev/shm");
    let mut places = Vec::new();
    match measure::free_bytes(tmpfs) {
        Some(free) if free > model * 3 / 2 => places.push(("tmpfs", tmpfs.join(format!("merge-bench-{}", std::process::id())))),
        _ => println!("no tmpfs with room for {} MB: output goes to the disk", model / 1_000_000),
    }
    if options.disk || places.is_empty() {
        places.push(("disk", data.join("out")));
    }
    Ok(places)
}

fn parse(arguments: &[&str]) -> Result<Options, String> {
    let peers = arguments.contains(&"--peers");
    let names: Vec<&str> = if peers {
        peers::PAIRS.iter().map(|p| p.name).chain(decompose::METHODS.iter().map(|m| m.name)).collect()
    } else {
        methods::METHODS.iter().map(|m| m.name).collect()
    };
    let mut options = Options { quick: false, disk: false, peers, runs: if peers { 1 } else { 5 }, only: Vec::new() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "--quick" => options.quick = true,
            "--disk" => options.disk = true,
            "--peers" => {}
            "--runs" => {
                let value = rest.next().and_then(|v| v.parse().ok()).filter(|n| *n > 0);
                options.runs = value.ok_or("--runs takes a number")?;
            }
            name if names.contains(&name) => options.only.push(name.to_owned()),
            other => return Err(format!("unknown method `{other}`; there are {}", names.join(", "))),
        }
    }
    Ok(options)
}

fn table(options: &Options, data: &Path, place_name: &str, place: &Path) -> Result<(), String> {
    let release = shell::target().join("release");
    std::fs::create_dir_all(place).map_err(|e| format!("cannot make {}: {e}", place.display()))?;
    println!("\noutput to {place_name}, {} runs each in turn with the floor, medians", options.runs);
    println!(
        "{:20} {:>9} {:>9} {:>7} {:>7} {:>9} {:>9} {:>8}",
        "method", "wall s", "floor s", "ratio", "target", "cpu s", "anon MB", "limit MB"
    );
    for method in methods::METHODS.iter().filter(|m| options.wants(m.name)) {
        let recipe = data.join(format!("{}.merge", method.name));
        std::fs::write(&recipe, method.recipe()).map_err(|e| e.to_string())?;
        let out = place.join(method.name);
        let ours = vec!["run".to_owned(), recipe.display().to_string(), "--out".to_owned(), out.display().to_string()];
        let floor_out = place.join("floor");
        let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();
        let inputs = method.inputs.iter().map(|i| data.join(i).join("model.safetensors").display().to_string());
        let floor: Vec<String> =
            ["floor".to_owned(), threads, floor_out.display().to_string()].into_iter().chain(inputs).collect();
        let mut pairs: Vec<(Measured, Measured)> = Vec::new();
        // The first pair warms the page cache and is not counted.
        for turn in 0..=options.runs {
            let a = measure(&release.join("mergec"), &ours)?;
            remove(&out);
            let b = measure(&release.join("xtask"), &floor)?;
            remove(&floor_out);
            if turn > 0 {
                pairs.push((a, b));
            }
        }
        let of = |f: &dyn Fn(&(Measured, Measured)) -> f64| median(pairs.iter().map(f).collect());
        let ratio = of(&|p| p.0.wall / p.1.wall);
        let anon = of(&|p| p.0.anonymous_mb);
        let miss = if ratio > method.ratio || anon > method.memory_mb { "  MISSED" } else { "" };
        println!(
            "{:20} {:9.3} {:9.3} {ratio:7.2} {:7.1} {:9.3} {anon:9.0} {:8.0}{miss}",
            method.name,
            of(&|p| p.0.wall),
            of(&|p| p.1.wall),
            method.ratio,
            of(&|p| p.0.cpu),
            method.memory_mb,
        );
    }
    Ok(())
}

fn remove(path: &Path) {
    // What is not there needs no removing; what stays shows up as a full disk at once.
    let _ = std::fs::remove_dir_all(path).or_else(|_| std::fs::remove_file(path));
}

/// Time to check a recipe over a 70B header, and until its run is about to write.
fn startup(data: &Path) -> Result<(), String> {
    let folder: PathBuf = data.join("70b");
    synthesise::headers_of_70b(&folder)?;
    let recipe = folder.join("ties.merge");
    std::fs::write(&recipe, methods::startup_recipe()).map_err(|e| e.to_string())?;
    let mergec = shell::target().join("release/mergec");
    let recipe = recipe.display().to_string();
    let time = |arguments: &[String]| -> Result<f64, String> {
        let runs: Result<Vec<f64>, String> = (0..9).map(|_| measure::wall_of(&mergec, arguments)).collect();
        Ok(median(runs?))
    };
    let check = time(&["check".to_owned(), recipe.clone()])?;
    println!("\nties over a 70B header (723 tensors, 4 models), medians of 9");
    println!("mergec check                    {:6.0} ms (target 100)", check * 1e3);
    let first = median((0..9).map(|_| measure::first_byte(&mergec, &recipe, &folder.join("out"))).collect::<Result<_, _>>()?);
    println!("mergec run until the first byte {:6.0} ms (target 300)", first * 1e3);
    Ok(())
}
