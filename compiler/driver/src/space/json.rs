//! A space for programs: one JSON object, by `docs/schemas/space.schema.json`.

use super::OpenRecipe;
use merge_sema::space::{Answer, Domain};
use serde_json::{Map, Value as Json, json};

/// What the object says it is.
const FORMAT: &str = "merge.space/1";

impl OpenRecipe {
    /// Decisions with their domains, the number of candidates, and what they cost.
    pub fn to_json(&self) -> Json {
        let decisions: Vec<Json> = self.space.decisions().into_iter().map(|(path, _)| self.decision(path)).collect();
        json!({
            "format": FORMAT,
            "space": self.space.hash(),
            "decisions": decisions,
            "candidates": {
                "count": self.count_text(),
                "size": self.space.size().to_string(),
                "exact": self.counted,
            },
            "costs": self.costs_json(),
            "notes": self.notes,
        })
    }

    fn decision(&self, path: &str) -> Json {
        let mut entry = Map::new();
        entry.insert("path".into(), path.into());
        entry.insert("domain".into(), self.domains.get(path).map_or(Json::Null, domain));
        Json::Object(entry)
    }

    fn costs_json(&self) -> Json {
        let Some(costs) = &self.costs else { return Json::Null };
        let mut entry = Map::new();
        entry.insert("looked_at".into(), costs.looked_at.map_or("all".into(), Json::from));
        for (name, low, high) in costs.each() {
            entry.insert(name.into(), json!({ "low": low, "high": high }));
        }
        Json::Object(entry)
    }
}

fn domain(domain: &Domain) -> Json {
    let values = |labels: &[String]| -> Vec<Json> {
        let own = Domain::Members { labels: labels.into(), ordered: false };
        (0..labels.len()).map(|i| super::convert::to_json(&own, &Answer::Member(i))).collect()
    };
    match domain {
        Domain::Members { labels, ordered } => json!({ "kind": "member", "of": values(labels), "ordered": ordered }),
        Domain::Int { low, high, log } => json!({ "kind": "int", "low": low, "high": high, "log": log }),
        Domain::Real { low, high, log } => json!({ "kind": "real", "low": low, "high": high, "log": log }),
        Domain::Order { labels } => json!({ "kind": "order", "of": values(labels) }),
        Domain::Subset { labels, low, high } => json!({ "kind": "subset", "of": values(labels), "low": low, "high": high }),
        Domain::Simplex { n } => json!({ "kind": "simplex", "parts": n }),
    }
}
