//! Every algorithm: better than random, resumable after any prefix, no repetition, cheap.

use crate::engine::{Engine, Next};
use crate::rng::Rng;
use crate::settings::{Algorithm, Goal, NAMES};
use crate::space::tests::resnet;
use crate::space::{Assignment, Domain, Space, SpaceBuilder, Then, Value};
use crate::vary::BySlot;
use serde_json::{Map, json};
use std::time::Instant;

fn goals(count: usize) -> Vec<Goal> {
    (0..count).map(|i| Goal { metric: format!("g{i}"), maximize: true }).collect()
}

fn parse(text: &str) -> Algorithm {
    let (name, settings) = text.split_once(' ').unwrap_or((text, "{}"));
    Algorithm::parse(name, serde_json::from_str(settings).unwrap()).unwrap()
}

type Objective = fn(&Space, &Assignment) -> f64;

/// The best score after so many trials.
fn search(space: &Space, algorithm: &Algorithm, f: Objective, seed: u64, trials: usize) -> f64 {
    let mut engine = Engine::new(space, algorithm, &goals(1), seed, 1).unwrap();
    let mut best = f64::NEG_INFINITY;
    for _ in 0..trials {
        let Next::Try(job) = engine.next(&mut |_| Ok(())) else { break };
        let score = f(space, &job.assignment);
        best = best.max(score);
        engine.tell(job.number, Some(vec![score]));
    }
    best
}

/// A merge: a method and a part for each of four groups, some with numbers of their own.
fn merge_space() -> Space {
    let mut b = SpaceBuilder::new();
    let mut all = vec![];
    for group in 0..4 {
        let unit = b.unit();
        let w = b.decide("w", Domain::Real { low: -1.0, high: 1.0, log: false }, None);
        let d = b.decide("d", Domain::Real { low: 0.05, high: 1.0, log: false }, None);
        let k = b.decide("k", Domain::ordered(["1", "2", "4", "8", "16", "32"]), None);
        let both = b.all([w, k]);
        all.push(b.arms(format!("method[{group}]"), [("task", both), ("ties", d), ("keep", unit)], None));
    }
    let root = b.all(all);
    b.finish(root).unwrap()
}

fn merge_score(space: &Space, assignment: &Assignment) -> f64 {
    let mut score = 0.0;
    for (path, value) in space.named(assignment) {
        let group = path.as_bytes()[7] - b'0';
        let t = f64::from(group);
        score += match (path.rsplit('.').next().unwrap(), value) {
            ("w", Value::Real(w)) => 2.0 - 3.0 * (w - 0.2 * t).powi(2),
            ("d", Value::Real(d)) => 1.5 - 4.0 * (d - 0.3).powi(2),
            ("k", Value::Member(k)) => 1.0 - 0.25 * (*k as f64 - 3.0).powi(2),
            (_, Value::Member(2)) => 0.5,
            _ => 0.0,
        };
    }
    score
}

/// Training: ordered lists, integers and a logarithmic rate.
fn training_space() -> Space {
    let mut b = SpaceBuilder::new();
    let rate = b.decide("rate", Domain::Real { low: 1e-5, high: 1e-1, log: true }, None);
    let decay = b.decide("decay", Domain::Int { low: 0, high: 31, log: false }, None);
    let width = b.decide("width", Domain::ordered((0..16).map(|i| i.to_string())), None);
    let act = b.decide("act", Domain::members(["relu", "gelu", "tanh", "none"]), None);
    let momentum = b.decide("momentum", Domain::Real { low: 0.5, high: 0.99, log: false }, None);
    let unit = b.unit();
    let opt = b.arms("opt", [("adam", unit), ("sgd", momentum)], None);
    let drop = b.decide("drop", Domain::ordered((0..8).map(|i| i.to_string())), None);
    let root = b.all([opt, rate, decay, width, act, drop]);
    b.finish(root).unwrap()
}

fn training_score(space: &Space, assignment: &Assignment) -> f64 {
    let mut score = 0.0;
    for (path, value) in space.named(assignment) {
        score -= match (path, value) {
            ("rate", Value::Real(x)) => (x.log10() + 2.7).powi(2),
            ("decay", Value::Int(i)) => ((*i as f64 - 20.0) / 8.0).powi(2),
            ("width", Value::Member(i)) => ((*i as f64 - 11.0) / 4.0).powi(2),
            ("act", Value::Member(i)) => [0.5, 0.0, 0.7, 2.0][*i as usize],
            ("opt", Value::Member(i)) => 0.3 * *i as f64,
            ("opt.sgd.momentum", Value::Real(m)) => 10.0 * (m - 0.9).powi(2),
            ("drop", Value::Member(i)) => ((*i as f64 - 2.0) / 3.0).powi(2),
            _ => 0.0,
        };
    }
    score
}

/// Sixteen weights, coupled.
fn weights_space() -> Space {
    let mut b = SpaceBuilder::new();
    let domain = Domain::Real { low: -1.0, high: 1.0, log: false };
    let all: Vec<_> = (0..8).map(|i| b.decide(format!("w[{i}]"), domain.clone(), None)).collect();
    let root = b.all(all);
    b.finish(root).unwrap()
}

fn weights_score(_: &Space, assignment: &Assignment) -> f64 {
    let w: Vec<f64> = assignment.entries().iter().map(|(_, v)| if let Value::Real(x) = v { *x } else { 0.0 }).collect();
    let mean = w.iter().sum::<f64>() / w.len() as f64;
    let each: f64 = w.iter().enumerate().map(|(i, x)| (x - 0.1 * i as f64 + 0.2).powi(2)).sum();
    -each - 4.0 * (mean - 0.2).powi(2)
}

fn deep_score(space: &Space, assignment: &Assignment) -> f64 {
    let mut score = 0.0;
    for (path, value) in space.named(assignment) {
        let Value::Member(i) = value else { continue };
        let i = *i as f64;
        score += match path.rsplit('.').next().unwrap() {
            "block" => [0.0, 1.0, 2.0, 0.5][i as usize],
            "filters" => -0.1 * (i - 3.0).powi(2),
            "len" => -0.1 * (i - 1.0).powi(2),
            "drop" => 0.3 * i,
            _ => 0.0,
        };
    }
    score
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}

#[test]
fn guided_search_beats_random_search() {
    let (merge, training, weights, deep) = (merge_space(), training_space(), weights_space(), resnet());
    let problems: [(&str, &Space, Objective); 4] = [
        ("merge", &merge, merge_score),
        ("training", &training, training_score),
        ("weights", &weights, weights_score),
        ("deep", &deep, deep_score),
    ];
    let tree = ["mcts", "smbo", r#"smbo {"surrogate": "ridge"}"#, "tpe", "evolution"];
    let mut misses = vec![];
    for (name, space, f) in problems {
        let run = |algorithm: &str| median((0..20).map(|seed| search(space, &parse(algorithm), f, seed, 64)).collect());
        let random = run("random");
        let reals = name == "weights" || name == "merge";
        for algorithm in tree.iter().copied().chain(reals.then_some("cmaes")) {
            let found = run(algorithm);
            println!("{name:>10} {algorithm:>35} {found:8.3} random {random:8.3}");
            if found <= random {
                misses.push(format!("{name} {algorithm}"));
            }
        }
    }
    assert!(misses.is_empty(), "no better than random: {misses:?}");
}
