//! Every algorithm: better than random, resumable after any prefix, no repetition, cheap.

use crate::engine::{Engine, Next};
use crate::rng::Rng;
use crate::settings::{Algorithm, Goal, NAMES};
use crate::space::tests::resnet;
use crate::space::{Assignment, Domain, Space, SpaceBuilder, Value};
use crate::vary::BySlot;
use serde_json::{Map, json};

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
    let tree = ["mcts", "smbo", r#"smbo {"surrogate": "forest"}"#, "tpe", "evolution"];
    let mut misses = vec![];
    for (name, space, f) in problems {
        let run = |algorithm: &str| median((0..20).map(|seed| search(space, &parse(algorithm), f, seed, 64)).collect());
        let random = run("random");
        let reals = name == "weights";
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

/// Proposals of a search whose results come in the order `turn` gives, as text.
fn proposals(algorithm: &Algorithm, space: &Space, window: usize, count: usize, order: u64) -> Vec<String> {
    let goals = goals(if algorithm.name() == "nsga2" { 2 } else { 1 });
    let mut engine = Engine::new(space, algorithm, &goals, 11, window).unwrap();
    let mut rng = Rng::new(order, "order of results");
    let (mut made, mut open) = (vec![], vec![]);
    while made.len() < count {
        // One candidate in seven is ruled out, one trial in five fails.
        let mut feasible = |a: &Assignment| if a.key().len() % 7 == 3 { Err("no".to_owned()) } else { Ok(()) };
        match engine.next(&mut feasible) {
            Next::Try(job) => {
                made.push(format!("{} {:?} {}", job.number, job.budget, space.to_json(&job.assignment)));
                open.push(job);
            }
            Next::Infeasible { assignment, .. } => made.push(format!("no {}", space.to_json(&assignment))),
            Next::Blocked => {
                let job: crate::engine::Job = open.remove(rng.below(open.len()));
                let score = merge_score(space, &job.assignment);
                let failed = job.number % 5 == 4;
                engine.tell(job.number, (!failed).then(|| vec![score, -score * score][..goals.len()].to_vec()));
            }
            Next::Done | Next::Stuck { .. } => break,
        }
    }
    made
}

fn all() -> impl Iterator<Item = Algorithm> {
    let variants = [r#"random {"leaves": true}"#, r#"mcts {"bisect": false}"#, r#"smbo {"surrogate": "forest"}"#];
    NAMES.iter().copied().chain(variants).map(parse)
}

#[test]
fn proposals_do_not_depend_on_when_results_come_and_repeat_nothing() {
    let space = merge_space();
    for algorithm in all().filter(|algorithm| algorithm.name() != "exhaustive") {
        for window in [1, 4] {
            let first = proposals(&algorithm, &space, window, 120, 1);
            let second = proposals(&algorithm, &space, window, 120, 2);
            assert_eq!(first, second, "{algorithm:?}");
            assert_eq!(first.len(), 120);
            let different: std::collections::BTreeSet<&str> = first.iter().map(|line| line.split_once(' ').unwrap().1).collect();
            assert_eq!(different.len(), first.len(), "{algorithm:?}");
        }
    }
}

#[test]
fn a_finite_space_is_proposed_to_the_last_candidate_and_then_the_search_is_done() {
    let mut b = SpaceBuilder::new();
    let (unit, ten) = (b.unit(), b.decide("n", Domain::Int { low: 1, high: 10, log: false }, Some(Value::Int(4))));
    let set = b.decide("s", Domain::Subset { n: 4, low: 1, high: 3 }, None);
    let both = b.all([ten, set]);
    let root = b.arms("arm", [("a", unit), ("b", both)], Some(Value::Member(1)));
    let space = b.finish(root).unwrap();
    assert_eq!(space.size().to_string(), "141");
    for algorithm in all() {
        let goals = goals(1);
        let mut engine = Engine::new(&space, &algorithm, &goals, 5, 1).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        let mut first = None;
        let end = loop {
            match engine.next(&mut |_| Ok(())) {
                Next::Try(job) => {
                    let text = space.to_json(&job.assignment).to_string();
                    first.get_or_insert(text.clone());
                    assert!(seen.insert(text) || job.budget > Some(1.0), "{algorithm:?}");
                    engine.tell(job.number, Some(vec![seen.len() as f64 % 13.0]));
                }
                end => break end,
            }
        };
        assert_eq!((end, seen.len()), (Next::Done, 141), "{algorithm:?}");
        if algorithm.name() != "exhaustive" {
            let defaults = r#"{"arm":"b","arm.b.n":4,"arm.b.s":[0]}"#;
            assert_eq!(first.as_deref(), Some(defaults), "the search starts at the defaults: {algorithm:?}");
        }
    }
}

#[test]
fn constraints_that_nothing_meets_end_the_search() {
    let space = merge_space();
    let mut engine = Engine::new(&space, &parse("tpe"), &goals(1), 1, 1).unwrap();
    let end = loop {
        match engine.next(&mut |_| Err("too large".into())) {
            Next::Infeasible { reason, .. } => assert_eq!(reason, "too large"),
            end => break end,
        }
    };
    assert!(matches!(end, Next::Stuck { tried: 10_000 }));
}

#[test]
fn budgets_go_to_the_better_candidates() {
    let space = merge_space();
    for name in ["halving", "hyperband", "asha"] {
        let mut engine = Engine::new(&space, &parse(name), &goals(1), 3, 4).unwrap();
        let mut by_budget: std::collections::BTreeMap<u64, Vec<f64>> = Default::default();
        let (mut open, mut count) = (vec![], 0);
        while count < 300 {
            match engine.next(&mut |_| Ok(())) {
                Next::Try(job) => open.push(job),
                Next::Blocked => {
                    let job = open.remove(0);
                    let score = merge_score(&space, &job.assignment);
                    by_budget.entry(job.budget.unwrap().round() as u64).or_default().push(score);
                    engine.tell(job.number, Some(vec![score]));
                    count += 1;
                }
                end => panic!("{name}: {end:?}"),
            }
        }
        assert_eq!(by_budget.keys().copied().collect::<Vec<_>>(), [1, 3, 9, 27], "{name}");
        let [small, large] = [1, 27].map(|budget| median(by_budget[&budget].clone()));
        assert!(large > small, "{name}: {large} against {small}");
        assert!(by_budget[&1].len() > by_budget[&27].len(), "{name}");
    }
}

#[test]
fn nsga2_covers_more_than_random_search() {
    let space = training_space();
    // Quality against size.
    let two = |assignment: &Assignment| {
        let width = BySlot::new(&space, assignment).at(space.slot("width").unwrap()).cloned();
        let Some(Value::Member(width)) = width else { panic!() };
        vec![training_score(&space, assignment), -(width as f64)]
    };
    let covered = |name: &str, seed: u64| {
        let mut engine = Engine::new(&space, &parse(name), &goals(2), seed, 1).unwrap();
        let mut points = vec![];
        for _ in 0..200 {
            let Next::Try(job) = engine.next(&mut |_| Ok(())) else { panic!() };
            let scores = two(&job.assignment);
            points.push(scores.clone());
            engine.tell(job.number, Some(scores));
        }
        // The area above (-10, -16), column by column.
        (0..16)
            .map(|width| {
                let at_least = points.iter().filter(|p| -p[1] <= f64::from(width)).map(|p| p[0] + 10.0);
                at_least.fold(0.0, f64::max)
            })
            .sum::<f64>()
    };
    let run = |name: &str| median((0..10).map(|seed| covered(name, seed)).collect());
    let (found, random) = (run("nsga2"), run("random"));
    assert!(found > random, "{found} against {random}");
}

/// Whether a model joins a soup is a decision; the first is always in it.
#[test]
fn greedy_search_is_the_greedy_soup_of_the_models_in_order() {
    let mut b = SpaceBuilder::new();
    let accept = |k: usize| format!("soup.accept[{k}]");
    let all: Vec<_> = (0..4).map(|k| b.decide(accept(k), Domain::members(["true", "false"]), Some(Value::Member(1)))).collect();
    let root = b.all(all);
    let space = b.finish(root).unwrap();
    let taken = |a: &Assignment| -> Vec<usize> {
        a.entries().iter().enumerate().filter(|(_, (_, v))| *v == Value::Member(0)).map(|(k, _)| k).collect()
    };
    // The second model helps, the third changes nothing, the fourth helps beside the second only.
    let score = |models: &[usize]| {
        let has = |k: usize| f64::from(u8::from(models.contains(&k)));
        0.5 - 0.1 * has(0) + 0.2 * has(1) + 0.1 * has(1) * has(3)
    };
    let mut engine = Engine::new(&space, &parse("greedy"), &goals(1), 3, 1).unwrap();
    let mut tried = vec![];
    for _ in 0..5 {
        let Next::Try(job) = engine.next(&mut |_| Ok(())) else { panic!("a trial a model") };
        let models = taken(&job.assignment);
        engine.tell(job.number, Some(vec![score(&models)]));
        tried.push(models);
    }
    assert_eq!(tried, [vec![], vec![0], vec![1], vec![1, 2], vec![1, 3]]);
    // A second round asks about each again, beside those that were accepted after it.
    let Next::Try(job) = engine.next(&mut |_| Ok(())) else { panic!("more candidates are left") };
    assert_eq!(taken(&job.assignment), [0, 1, 3]);
}

/// Of this thread, so that other tests do not count.
fn cpu_seconds() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

#[test]
fn bookkeeping_stays_cheap() {
    let space = training_space();
    for algorithm in all().filter(|algorithm| algorithm.name() != "exhaustive") {
        let mut engine = Engine::new(&space, &algorithm, &goals(1), 3, 1).unwrap();
        let (start, trials) = (cpu_seconds(), 4000);
        for _ in 0..trials {
            let Next::Try(job) = engine.next(&mut |_| Ok(())) else { break };
            engine.tell(job.number, Some(vec![training_score(&space, &job.assignment)]));
        }
        let each = 1000.0 * (cpu_seconds() - start) / f64::from(trials);
        println!("{:>10} {each:.3} ms a trial", algorithm.name());
        assert!(each < 3.0, "{algorithm:?}: {each} ms a trial; 1 ms is meant, of a release build");
    }
}

#[test]
fn settings_are_checked() {
    let wrong = |name: &str, settings: serde_json::Value| {
        let serde_json::Value::Object(settings) = settings else { panic!() };
        Algorithm::parse(name, settings).unwrap_err()
    };
    assert!(wrong("tpee", json!({})).contains("no algorithm `tpee`"));
    assert!(wrong("tpe", json!({"sigma": 1})).contains("sigma"));
    assert!(wrong("cmaes", json!({"sigma": 0})).contains("sigma"));
    assert!(wrong("greedy", json!({"values": 1})).contains("at least 2"));
    assert!(wrong("smbo", json!({"surrogate": "svm"})).contains("svm"));
    assert!(wrong("hyperband", json!({"min": 3, "max": 1})).contains("min <= max"));
    let refused = |name: &str, space: &Space, count: usize| {
        Algorithm::parse(name, Map::new()).unwrap().start(space, &goals(count), 1).err().unwrap()
    };
    assert!(refused("exhaustive", &weights_space(), 1).contains("`w[0]`"));
    assert!(refused("tpe", &weights_space(), 2).contains("nsga2"));
    assert!(refused("cmaes", &resnet(), 1).contains("real"));
}
