//! A search as one page of HTML: its curve, its best trials, what mattered, and the Pareto front. SVG inside, no network, no script.

mod chart;
pub mod importance;

use crate::algorithms::fronts;
use crate::engine::scores;
use crate::journal::{Event, Header, Record, Status};
use crate::space::{Assignment, Space};
use chart::{Chart, Series, Steps};
use std::fmt::Write;

/// Rows of the table of the best, and bars of the importances.
const SHOWN: usize = 12;

/// The page for a journal of this space. Trials that the space does not know (of an edited recipe) are left out.
pub fn page(space: &Space, header: &Header, events: &[Event]) -> String {
    let records: Vec<&Record> =
        events.iter().filter_map(|event| if let Event::Trial(record) = event { Some(record) } else { None }).collect();
    let mut scored: Vec<Scored> = records
        .iter()
        .filter(|record| record.status == Status::Done)
        .filter_map(|record| {
            let scores = scores(&header.goals, &record.metrics).ok()?;
            Some(Scored { record, scores, assignment: space.from_earlier_json(&record.choices).ok()? })
        })
        .collect();
    scored.sort_by_key(|trial| trial.record.trial);

    let mut html = String::from(HEAD);
    let _ = write!(html, "<h1>{}</h1>", escape(&header.recipe));
    html.push_str(&summary(space, header, events, &records));
    if scored.is_empty() {
        html.push_str("<p>No trial has a score yet.</p>");
    } else {
        for goal in 0..header.goals.len() {
            html.push_str(&curve(header, &scored, goal));
        }
        // A score on a small budget does not compete with one on a large one.
        let largest = scored.iter().map(Scored::budget).fold(0.0, f64::max);
        let competing: Vec<&Scored> = scored.iter().filter(|trial| trial.budget() == largest).collect();
        if header.goals.len() > 1 {
            html.push_str(&front(header, &competing));
        }
        html.push_str(&best(header, &competing));
        html.push_str(&importances(space, header, &competing));
    }
    html.push_str(&failures(&records));
    html.push_str("</body></html>\n");
    html
}

struct Scored<'a> {
    record: &'a Record,
    scores: Vec<f64>,
    assignment: Assignment,
}

impl Scored<'_> {
    fn budget(&self) -> f64 {
        self.record.budget.unwrap_or(0.0)
    }
}

fn summary(space: &Space, header: &Header, events: &[Event], records: &[&Record]) -> String {
    let failed = records.iter().filter(|record| record.status == Status::Failed).count();
    let seconds: f64 = records.iter().map(|record| record.seconds).sum();
    let goals: Vec<String> = header
        .goals
        .iter()
        .map(|goal| format!("{} {}", if goal.maximize { "maximize" } else { "minimize" }, escape(&goal.metric)))
        .collect();
    let algorithm = serde_json::to_string(&header.algorithm).expect("plain data");
    let rows = [
        ("Goal", goals.join(", ")),
        ("Space", format!("{} candidates, {} decisions", space.size(), space.slots())),
        ("Algorithm", format!("<code>{}</code>, seed {}", escape(&algorithm), header.seed)),
        ("Trials", format!("{}, of which {failed} failed", records.len())),
        ("Ruled out", events.iter().filter(|event| matches!(event, Event::RuledOut { .. })).count().to_string()),
        ("Tensors computed", computed(records)),
        ("Time in trials", format!("{seconds:.1} s, {} side by side", header.window)),
    ];
    let rows = rows.iter().fold(String::new(), |all, (name, text)| all + &format!("<tr><th>{name}</th><td>{text}</td></tr>"));
    format!("<table class=\"plain\">{rows}</table>")
}

/// What making the models took, where it was counted.
fn computed(records: &[&Record]) -> String {
    let (mut tensors, mut computed, mut compiled) = (0, 0, 0);
    for work in records.iter().filter_map(|record| record.work) {
        tensors += work.tensors;
        computed += work.computed;
        compiled += work.compiled;
    }
    format!("{computed} of {tensors}, the others taken over from earlier trials; {compiled} kernels compiled")
}

/// Each trial, and the best up to it on the largest budget up to it.
fn curve(header: &Header, scored: &[Scored], goal: usize) -> String {
    let (metric, maximize) = (&header.goals[goal].metric, header.goals[goal].maximize);
    let points: Vec<(f64, f64)> = scored.iter().map(|trial| (trial.record.trial as f64, trial.record.metrics[metric])).collect();
    let mut best: Vec<(f64, f64)> = vec![];
    let mut budget = 0.0;
    for (trial, (x, y)) in scored.iter().zip(&points) {
        let last = match best.last() {
            Some((_, last)) if trial.budget() == budget => {
                if maximize {
                    last.max(*y)
                } else {
                    last.min(*y)
                }
            }
            Some((_, last)) if trial.budget() < budget => *last,
            _ => *y,
        };
        budget = trial.budget().max(budget);
        best.push((*x, last));
    }
    let chart = Chart {
        x: "trial".into(),
        y: metric.clone(),
        series: vec![
            Series { name: "trials".into(), points, steps: None, dots: true },
            Series { name: "best so far".into(), points: best, steps: Some(Steps::Holds), dots: false },
        ],
    };
    format!("<h2>Search curve: {}</h2>{}", escape(metric), chart.svg())
}

fn front(header: &Header, scored: &[&Scored]) -> String {
    let all: Vec<Vec<f64>> = scored.iter().map(|trial| trial.scores.clone()).collect();
    let first = fronts(&all);
    let metrics = [&header.goals[0].metric, &header.goals[1].metric];
    let point = |trial: &Scored| (trial.record.metrics[metrics[0]], trial.record.metrics[metrics[1]]);
    let mut chosen: Vec<(f64, f64)> =
        scored.iter().zip(&first).filter(|(_, front)| **front == 0).map(|(trial, _)| point(trial)).collect();
    chosen.sort_by(|a, b| a.0.total_cmp(&b.0));
    let others = scored.iter().zip(&first).filter(|(_, front)| **front > 0).map(|(trial, _)| point(trial)).collect();
    let steps = if header.goals[0].maximize { Steps::Begins } else { Steps::Holds };
    let chart = Chart {
        x: metrics[0].clone(),
        y: metrics[1].clone(),
        series: vec![
            Series { name: "dominated".into(), points: others, steps: None, dots: true },
            // Of more than two goals two are drawn, in which the front is no line.
            Series {
                name: "Pareto front".into(),
                points: chosen,
                steps: Some(steps).filter(|_| header.goals.len() == 2),
                dots: true,
            },
        ],
    };
    format!("<h2>Pareto front</h2>{}", chart.svg())
}

fn best(header: &Header, scored: &[&Scored]) -> String {
    let all: Vec<Vec<f64>> = scored.iter().map(|trial| trial.scores.clone()).collect();
    let front = fronts_of_small(&all);
    let mut order: Vec<usize> = (0..scored.len()).collect();
    order.sort_by(|a, b| front[*a].cmp(&front[*b]).then(all[*b][0].total_cmp(&all[*a][0])));
    let mut html = String::from("<h2>Best trials</h2><table><tr><th>trial</th>");
    for goal in &header.goals {
        let _ = write!(html, "<th>{}</th>", escape(&goal.metric));
    }
    html.push_str("<th>budget</th><th>seconds</th><th>choices</th></tr>");
    for i in order.into_iter().take(SHOWN) {
        let record = scored[i].record;
        let _ = write!(html, "<tr><td>{}</td>", record.trial);
        for goal in &header.goals {
            let _ = write!(html, "<td>{}</td>", number(record.metrics[&goal.metric]));
        }
        let budget = record.budget.map_or(String::new(), number);
        let choices: Vec<String> = record
            .choices
            .as_object()
            .map(|object| object.iter().map(|(path, value)| format!("{path} = {value}")).collect())
            .unwrap_or_default();
        let choices = escape(&choices.join("\n"));
        let _ = write!(html, "<td>{budget}</td><td>{:.1}</td><td><pre>{choices}</pre></td></tr>", record.seconds);
    }
    html + "</table>"
}

/// Fronts are quadratic in the number of trials; with one goal an order is enough.
fn fronts_of_small(scores: &[Vec<f64>]) -> Vec<usize> {
    if scores.first().is_some_and(|first| first.len() > 1) { fronts(scores) } else { vec![0; scores.len()] }
}

fn importances(space: &Space, header: &Header, scored: &[&Scored]) -> String {
    let mut html = String::from("<h2>Importance of decisions</h2>");
    for (i, goal) in header.goals.iter().enumerate() {
        let trials: Vec<(Assignment, f64)> = scored.iter().map(|t| (t.assignment.clone(), t.scores[i])).collect();
        let shares = importance::importance(space, &trials);
        if shares.is_empty() {
            let _ = write!(html, "<p>Too few trials to tell what matters for {}.</p>", escape(&goal.metric));
            continue;
        }
        let _ = write!(
            html,
            "<p>For {}: the rise of a random forest's squared error when a decision's values are exchanged between trials, \
             as a share of all.</p>",
            escape(&goal.metric)
        );
        html.push_str(&chart::bars(&shares[..shares.len().min(SHOWN)]));
    }
    html
}

fn failures(records: &[&Record]) -> String {
    let failed: Vec<&&Record> = records.iter().filter(|record| record.status == Status::Failed).collect();
    if failed.is_empty() {
        return String::new();
    }
    let mut html = String::from("<h2>Failed trials</h2><table><tr><th>trial</th><th>reason</th></tr>");
    for record in failed.iter().take(4 * SHOWN) {
        let reason = escape(record.reason.as_deref().unwrap_or("no reason"));
        let _ = write!(html, "<tr><td>{}</td><td>{reason}</td></tr>", record.trial);
    }
    html + "</table>"
}

/// Six digits, which is what a reader can use.
fn number(x: f64) -> String {
    let short = format!("{x:.6}");
    let short = if short.contains('.') { short.trim_end_matches('0').trim_end_matches('.') } else { &short };
    if x != 0.0 && (x.abs() < 1e-4 || x.abs() >= 1e9) { format!("{x:.4e}") } else { short.to_owned() }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Search</title><style>\
body{font:15px/1.5 system-ui,sans-serif;color:#1d2530;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse}\
th,td{border-bottom:1px solid #d8dee6;padding:.3rem .7rem;text-align:left;vertical-align:top}\
.plain th{font-weight:600;color:#5b6675}pre{margin:0;font-size:12px;white-space:pre-wrap}svg{max-width:100%;height:auto}\
</style></head><body>";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Algorithm, Goal};
    use crate::space::{Domain, SpaceBuilder};
    use serde_json::{Map, json};

    #[test]
    fn the_page_shows_curve_front_importance_and_failures_and_loads_nothing() {
        let mut b = SpaceBuilder::new();
        let w = b.decide("w<script>", Domain::Real { low: 0.0, high: 1.0, log: false }, None);
        let k = b.decide("k", Domain::ordered(["4", "8"]), None);
        let root = b.all([w, k]);
        let space = b.finish(root).unwrap();
        let goal = |metric: &str, maximize| Goal { metric: metric.into(), maximize };
        let goals = [goal("accuracy", true), goal("params", false)];
        let algorithm = Algorithm::parse("nsga2", Map::new()).unwrap();
        let header = Header::new("a & b", &space, &algorithm, 3, &goals, 1);
        let events: Vec<Event> = (0..20u64)
            .map(|trial| {
                let w = trial as f64 / 20.0;
                let failed = trial == 7;
                Event::Trial(Record {
                    trial,
                    choices: json!({"w<script>": w, "k": if trial % 2 == 0 { 4 } else { 8 }}),
                    budget: None,
                    status: if failed { Status::Failed } else { Status::Done },
                    metrics: [("accuracy".to_owned(), w), ("params".to_owned(), 100.0 * w)].into_iter().collect(),
                    reason: failed.then(|| "exit code 3".to_owned()),
                    work: None,
                    seconds: 1.0,
                    ended: 0,
                })
            })
            .collect();
        let html = page(&space, &header, &events);
        for part in
            ["a &amp; b", "Search curve: accuracy", "Pareto front", "Importance", "exit code 3", "w&lt;script&gt;", "<svg"]
        {
            assert!(html.contains(part), "{part}");
        }
        for banned in ["http:", "https:", "<script", "src=", "@import", "url("] {
            assert!(!html.replace("http://www.w3.org/2000/svg", "").contains(banned), "{banned}");
        }
        assert!(page(&space, &header, &[]).contains("No trial has a score yet"));
        assert_eq!([0.5, 12.0, 1e-7, 0.0, 100.0].map(number), ["0.5", "12", "1.0000e-7", "0", "100"]);
    }
}
