//! The table of `examples/architectures`: accuracies of 4,992 networks that were really trained.

use crate::Problem;
use merge_search::{Assignment, Domain, Space, SpaceBuilder, Then, Value};
use std::collections::HashMap;
use std::path::Path;

/// The space of `train.py`.
fn space() -> Space {
    let mut b = SpaceBuilder::new();
    let rate = b.decide("rate", Domain::ordered(["0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1.0", "3.0"]), None);
    let optimiser = b.decide("optimiser", Domain::members(["sgd", "momentum"]), None);
    let dropout = b.decide("dropout", Domain::members(["off", "on"]), None);
    let layer = [
        b.decide("width", Domain::ordered(["8", "16", "32", "64"]), None),
        b.decide("activation", Domain::members(["relu", "tanh", "sigmoid"]), None),
    ];
    let layer = b.all(layer);
    let layers = ["layer[0]", "layer[1]"].map(|name| b.scope(name, layer));
    let two = b.all(layers);
    let depth = b.decide_then("depth", Domain::ordered(["1", "2"]), None, Then::Each(vec![layers[0], two]));
    let root = b.all([rate, optimiser, dropout, depth]);
    b.finish(root).expect("a space")
}

/// The columns of the table, in the order in which a candidate is walked.
fn row(space: &Space, assignment: &Assignment) -> String {
    let text = |(path, value): (&str, &Value)| {
        let slot = space.slot(path).expect("a path of the space").0 as usize;
        let domain = space.decisions()[slot].1[0].clone();
        let json = domain.to_json(value);
        json.as_str().map_or_else(|| json.to_string(), str::to_owned)
    };
    space.named(assignment).map(text).collect::<Vec<_>>().join(",")
}

pub fn problem(table: &Path) -> Problem {
    let text = std::fs::read_to_string(table).expect("examples/architectures/train.py writes it");
    let accuracies: HashMap<String, f64> = text
        .lines()
        .skip(1)
        .map(|line| {
            let (columns, accuracy) = line.rsplit_once(',').expect("columns");
            (columns.trim_end_matches(',').to_owned(), 100.0 * accuracy.parse::<f64>().expect("a number"))
        })
        .collect();
    let space = space();
    assert_eq!(*space.count(), accuracies.len().into(), "a row for each candidate");
    let score = move |space: &Space, assignment: &Assignment| accuracies[&row(space, assignment)];
    Problem { name: "architectures", space, score: Box::new(score), reals: false }
}
