//! Domains and answers between the language, which has labels, and the search, which has places.

use merge_search::{Assignment, Domain as Searched, Space, Value};
use merge_sema::space::{Answer, Domain, normalised};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// A domain as the search has it.
pub(super) fn domain(domain: &Domain) -> Searched {
    match domain {
        Domain::Members { labels, ordered } => Searched::Members { labels: labels.to_vec(), ordered: *ordered },
        Domain::Int { low, high, log } => Searched::Int { low: *low, high: *high, log: *log },
        Domain::Real { low, high, log } => Searched::Real { low: *low, high: *high, log: *log },
        Domain::Order { labels } => Searched::Order { n: labels.len() as u32 },
        Domain::Subset { labels, low, high } => Searched::Subset { n: labels.len() as u32, low: *low as u32, high: *high as u32 },
        Domain::Simplex { n } => Searched::Simplex { n: *n as u32 },
    }
}

/// An answer as the search has it.
pub(super) fn value(answer: &Answer) -> Value {
    let places = |p: &[usize]| p.iter().map(|i| *i as u32).collect();
    match answer {
        Answer::Member(i) => Value::Member(*i as u64),
        Answer::Int(i) => Value::Int(*i),
        Answer::Real(x) => Value::Real(*x),
        Answer::Order(p) => Value::Order(places(p)),
        Answer::Subset(p) => Value::Subset(places(p)),
        Answer::Simplex(w) => Value::Simplex(w.clone()),
        // Which place it is, only a list can tell.
        Answer::Label(_) => Value::Member(u64::MAX),
    }
}

/// A value of the search, of a domain that is the recipe's own.
pub(super) fn answer(value: &Value) -> Answer {
    let places = |p: &[u32]| p.iter().map(|i| *i as usize).collect();
    match value {
        Value::Member(i) => Answer::Member(*i as usize),
        Value::Int(i) => Answer::Int(*i),
        Value::Real(x) => Answer::Real(*x),
        Value::Order(p) => Answer::Order(places(p)),
        Value::Subset(p) => Answer::Subset(places(p)),
        Value::Simplex(w) => Answer::Simplex(w.clone()),
    }
}

/// An answer as a file of choices has it: labels, numbers, lists of these.
pub(super) fn to_json(domain: &Domain, answer: &Answer) -> Json {
    let label = |labels: &[String], i: usize| plain(labels.get(i).cloned().unwrap_or_default());
    match (domain, answer) {
        (Domain::Members { labels, .. }, Answer::Member(i)) => label(labels, *i),
        (Domain::Order { labels }, Answer::Order(p)) | (Domain::Subset { labels, .. }, Answer::Subset(p)) => {
            p.iter().map(|i| label(labels, *i)).collect()
        }
        (_, Answer::Int(i)) => json!(i),
        (_, Answer::Real(x)) => json!(x),
        (_, Answer::Label(text)) => plain(text.clone()),
        (_, Answer::Simplex(w)) => json!(w),
        _ => Json::Null,
    }
}

/// A number is written as one, where nothing is lost.
fn plain(text: String) -> Json {
    match serde_json::from_str::<Json>(&text) {
        Ok(plain) if (plain.is_number() || plain.is_boolean()) && is_written(&plain, &text) => plain,
        _ => Json::String(text),
    }
}

/// A label that JSON may have written as a number or a truth value.
fn label_of(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}

fn is_written(json: &Json, text: &str) -> bool {
    serde_json::to_string(json).is_ok_and(|t| t == text)
}

/// The answers of a candidate. A member is known by its label: of the recipe's list the search may have a part.
pub(crate) fn answers(space: &Space, candidate: &Assignment, domains: &BTreeMap<String, Domain>) -> BTreeMap<String, Answer> {
    let mut found = BTreeMap::new();
    space.each_answer(candidate, &mut |decision, value| {
        let Some(own) = domains.get(decision.path) else { return };
        let answer = match (value, decision.domain) {
            (Value::Member(place), Searched::Members { labels, .. }) => {
                let (place, label) = (*place as usize, &labels[*place as usize]);
                match own {
                    // In another candidate its place may be that of another value.
                    _ if space.varies(decision.path) => Some(Answer::Label(label.clone())),
                    // Mostly the lists are the same.
                    Domain::Members { labels, .. } if labels.get(place) == Some(label) => Some(Answer::Member(place)),
                    _ => own.parse(label),
                }
            }
            _ => Some(answer(value)),
        };
        if let Some(answer) = answer {
            found.insert(decision.path.to_owned(), answer);
        }
    });
    found
}

/// The candidate with these choices, and defaults elsewhere.
pub(super) fn candidate(
    space: &Space,
    domains: &BTreeMap<String, Domain>,
    choices: &[(String, String)],
) -> Result<Assignment, String> {
    let given: BTreeMap<String, &str> = choices.iter().map(|(id, text)| (normalised(id), text.as_str())).collect();
    let mut used = std::collections::BTreeSet::new();
    let mut fault = None;
    let made = space.walk(&mut |decision| {
        let any = || decision.default.cloned().unwrap_or_else(|| decision.domain.middle());
        let path = normalised(decision.path);
        let Some(text) = given.get(&path) else { return any() };
        used.insert(path);
        let by_label = || match decision.domain {
            Searched::Members { .. } if space.varies(decision.path) => decision.domain.from_json(&plain((*text).to_owned())),
            _ => None,
        };
        let answer = domains.get(decision.path).and_then(|own| Some((own, own.parse(text)?)));
        let fits = answer.and_then(|(own, answer)| match decision.domain {
            Searched::Members { .. } => decision.domain.from_json(&json!(own.text(&answer))),
            _ => Some(value(&answer)).filter(|v| decision.domain.contains(v)),
        });
        by_label().or(fits).unwrap_or_else(|| {
            fault.get_or_insert(format!("`{}` cannot be {text} here: it is {}", decision.path, decision.domain));
            any()
        })
    });
    if let Some(fault) = fault {
        return Err(fault);
    }
    for (id, text) in choices {
        let id = normalised(id);
        // What has but one value is not asked about.
        let json = space.to_json(&made);
        let told = |path: &str, text: &str| {
            let own = domains.get(path)?;
            let label = json.get(path)?;
            Some(own.parse(text)? == own.parse(&label_of(label))?)
        };
        let single = space.named(&made).any(|(path, _)| normalised(path) == id && told(path, text) == Some(true));
        if !used.contains(&id) && !single {
            let known = domains.keys().any(|k| normalised(k) == id);
            return Err(match known {
                true => format!("this candidate has no decision `{id}`: it belongs to an arm that is not taken, or the like"),
                false => format!("there is no decision `{id}`"),
            });
        }
    }
    Ok(made)
}

/// Choices as JSON text, one decision a line.
pub(crate) fn print(choices: &Map<String, Json>) -> String {
    let lines: Vec<String> = choices.iter().map(|(id, value)| format!("  {}: {value}", json!(id))).collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}
