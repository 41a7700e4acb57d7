//! Algorithms against random search on equal budgets: what `cargo xtask bench --search` runs.
//!
//! Three problems of the repository's own: merging the networks of `examples/quadrants` with a method for each group of tensors,
//! the same with nothing but weights, and the table of `examples/architectures`. For each, 64 trials and 20 seeds; the best score
//! after the last trial, its median with a bootstrap interval, and how often it is above that of random search with the same
//! seed. Then what the algorithms and the journal cost.
//!
//! Settings were chosen with seeds 0 to 19 in view; what is reported is from others (`--seeds=FROM`).

mod architectures;
mod quadrants;

use merge_search::engine::{Engine, Job, Next};
use merge_search::journal::{Event, Header, Journal, Record, Status};
use merge_search::objective::Evaluate;
use merge_search::run::{Model, Models, Options, run_search};
use merge_search::{Algorithm, Assignment, Domain, Goal, Rng, Space, SpaceBuilder};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value as Json};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

const TRIALS: usize = 64;
const SEEDS: u64 = 20;

pub type Score = dyn Fn(&Space, &Assignment) -> f64;

/// A space with a score for each candidate.
pub struct Problem {
    pub name: &'static str,
    pub space: Space,
    pub score: Box<Score>,
    /// Has it nothing but reals, so that CMA-ES is at home?
    pub reals: bool,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str| words.iter().find_map(|word| word.strip_prefix(flag)).map(|n| n.parse().expect("a number"));
    let quick = if words.iter().any(|word| word == "--quick") { 5 } else { SEEDS };
    let (from, count) = (number("--seeds=").unwrap_or(0), number("--count=").unwrap_or(quick));
    let seeds = from..from + count;
    let wants = |name: &str| words.iter().all(|w| w.starts_with("--")) || words.iter().any(|w| name.contains(w.as_str()));
    let only = words.iter().find_map(|word| word.strip_prefix("--only=").map(str::to_owned));
    let examples = examples();
    let problems = [
        architectures::problem(&examples.join("architectures/accuracies.csv")),
        quadrants::methods(&examples.join("quadrants")),
        quadrants::weights(&examples.join("quadrants")),
    ];
    for problem in problems.iter().filter(|problem| wants(problem.name)) {
        compare(problem, seeds.clone(), only.as_deref());
    }
    if wants("cost") {
        cost();
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn algorithms() -> Vec<(&'static str, Algorithm)> {
    let parse = |name: &str, settings: Json| {
        let Json::Object(settings) = settings else { unreachable!("settings are objects") };
        Algorithm::parse(name, settings).expect("settings of this file")
    };
    let plain = |name: &str| parse(name, Json::Object(Map::new()));
    vec![
        ("random", plain("random")),
        ("quasi", plain("quasi")),
        ("mcts, no bisection", parse("mcts", serde_json::json!({"bisect": false}))),
        ("mcts", plain("mcts")),
        ("smbo, ridge", plain("smbo")),
        ("smbo, forest", parse("smbo", serde_json::json!({"surrogate": "forest"}))),
        ("tpe", plain("tpe")),
        ("evolution", plain("evolution")),
        ("cmaes", plain("cmaes")),
    ]
}

/// The best score of one search.
fn best(problem: &Problem, algorithm: &Algorithm, seed: u64) -> f64 {
    let goal = [Goal { metric: "score".into(), maximize: true }];
    let mut engine = Engine::new(&problem.space, algorithm, &goal, seed, 1).expect("the algorithm suits the space");
    let mut best = f64::NEG_INFINITY;
    for _ in 0..TRIALS {
        let Next::Try(job) = engine.next(&mut |_| Ok(())) else { break };
        let score = (problem.score)(&problem.space, &job.assignment);
        best = best.max(score);
        engine.tell(job.number, Some(vec![score]));
    }
    best
}

/// `only`: this algorithm alone, with random search to compare it with.
fn compare(problem: &Problem, seeds: Range<u64>, only: Option<&str>) {
    println!(
        "{} ({} candidates), best of {TRIALS} trials, seeds {} to {}",
        problem.name,
        problem.space.size(),
        seeds.start,
        seeds.end - 1
    );
    println!("| algorithm | median | 95 % interval | seeds better than random |");
    println!("|---|---|---|---|");
    let mut random: Vec<f64> = vec![];
    for (name, algorithm) in algorithms() {
        let left_out = only.is_some_and(|only| only != name && name != "random");
        if left_out || name == "cmaes" && !problem.reals {
            continue;
        }
        let found: Vec<f64> = seeds.clone().map(|seed| best(problem, &algorithm, seed)).collect();
        if name == "random" {
            random.clone_from(&found);
        }
        let better = found.iter().zip(&random).filter(|(a, b)| a > b).count();
        let (low, high) = interval(&found);
        let wins = if name == "random" { String::new() } else { format!("{better} of {}", found.len()) };
        println!("| {name} | {:.2} | {low:.2} to {high:.2} | {wins} |", median(&found));
    }
    println!();
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

/// The 95 % percentile interval of the median over bootstrap samples.
fn interval(values: &[f64]) -> (f64, f64) {
    const SAMPLES: usize = 2000;
    let mut rng = Rng::new(0, "bootstrap");
    let mut medians: Vec<f64> =
        (0..SAMPLES).map(|_| median(&(0..values.len()).map(|_| values[rng.below(values.len())]).collect::<Vec<_>>())).collect();
    medians.sort_by(f64::total_cmp);
    (medians[SAMPLES / 40], medians[SAMPLES - 1 - SAMPLES / 40])
}

/// Of this thread.
fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// What a trial costs besides its model and its score, over 10,000 trials: the algorithm with the check for repetitions, the line of the
/// journal, and what going on with such a journal takes.
fn cost() {
    let mut b = SpaceBuilder::new();
    let mut all = vec![];
    for group in 0..4 {
        let weight = b.decide("w", Domain::Real { low: 0.0, high: 1.0, log: false }, None);
        let rank = b.decide("r", Domain::ordered(["4", "8", "16", "32"]), None);
        let layers = b.decide("n", Domain::Int { low: 1, high: 64, log: true }, None);
        let both = b.all([weight, layers]);
        all.push(b.arms(format!("method[{group}]"), [("task", both), ("lora", rank)], None));
    }
    let root = b.all(all);
    let space = b.finish(root).expect("a space");
    println!("Bookkeeping over {MANY} trials of a space with {} decisions, microseconds of CPU a trial", space.slots());
    println!("| algorithm | proposing | and the journal | reading it again |");
    println!("|---|---|---|---|");
    let others = ["halving", "hyperband", "asha", "nsga2", "greedy"];
    let others = others.map(|name| (name, Algorithm::parse(name, Map::new()).expect("defaults")));
    let folder = std::env::temp_dir().join(format!("merge-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, algorithm) in algorithms().into_iter().chain(others) {
        let options = Options {
            recipe: "bench".into(),
            algorithm,
            seed: 1,
            goals: vec![Goal { metric: "score".into(), maximize: true }],
            trials: MANY,
            parallel: 1,
            evaluate: Evaluate::Command("echo {model} {budget}".into()),
            timeout: None,
            directory: None,
            journal: folder.join(format!("{}.jsonl", name.replace([' ', ','], "-"))),
            resume: true,
        };
        let proposing = propose(&space, &options, &mut |_| ());
        let header = Header::new("bench", &space, &options.algorithm, options.seed, &options.goals, 1);
        let mut journal = Journal::create(&options.journal, &header).expect("a journal");
        let written = propose(&space, &options, &mut |record| journal.append(&Event::Trial(record)).expect("a line"));
        drop(journal);
        let begun = cpu_seconds();
        let outcome = run_search(&space, &options, &Nothing, &AtomicBool::new(false), &mut |_| {}).expect("a search");
        assert_eq!(outcome.progress.ended, MANY, "nothing is tried again");
        let again = (cpu_seconds() - begun) * 1e6 / MANY as f64;
        println!("| {name} | {proposing:.0} | {written:.0} | {again:.0} |");
    }
    let _ = std::fs::remove_dir_all(&folder);
}

const MANY: u64 = 10_000;

/// Makes no models.
struct Nothing;

impl Models for Nothing {
    fn materialise(&self, job: &Job) -> Result<Model, String> {
        Err(format!("trial {} is in the journal", job.number))
    }
}

/// A whole search with made-up scores; microseconds of CPU a trial.
fn propose(space: &Space, options: &Options, ended: &mut dyn FnMut(Record)) -> f64 {
    let mut engine =
        Engine::new(space, &options.algorithm, &options.goals, options.seed, 1).expect("the algorithm suits the space");
    let begun = cpu_seconds();
    for _ in 0..MANY {
        let Next::Try(job) = engine.next(&mut |_| Ok(())) else { break };
        let score = job.assignment.key().iter().map(|byte| f64::from(*byte)).sum();
        engine.tell(job.number, Some(vec![score]));
        ended(Record {
            trial: job.number,
            choices: space.to_json(&job.assignment),
            budget: job.budget,
            status: Status::Done,
            metrics: [("score".to_owned(), score)].into_iter().collect(),
            reason: None,
            work: None,
            seconds: 0.0,
            ended: 0,
        });
    }
    (cpu_seconds() - begun) * 1e6 / MANY as f64
}
