//! A space for people: the tree as text, and the number of candidates.

use super::{OpenRecipe, convert};
use merge_search::{Assignment, Domain as Searched, Rng, Then, Tree, TreeId};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Lines of a tree that are printed in full.
const MOST_LINES: usize = 400;

/// A line of the tree: how deep it is, and its text.
struct Line {
    depth: usize,
    text: String,
}

impl OpenRecipe {
    /// The tree of decisions and its size. What is left to the candidates stands in [`OpenRecipe::notes`].
    pub fn describe(&self) -> String {
        let (_, root) = self.space.trees();
        let mut lines = Vec::new();
        self.lines(root, 0, &mut lines, &mut BTreeSet::new());
        let mut text = String::new();
        for line in lines.iter().take(MOST_LINES) {
            let _ = writeln!(text, "{}{}", "  ".repeat(line.depth), line.text);
        }
        if lines.len() > MOST_LINES {
            let _ = writeln!(text, "… and {} lines more", lines.len() - MOST_LINES);
        }
        let decisions = self.space.slots();
        let exact = if self.counted { "" } else { "at most " };
        let _ = writeln!(
            text,
            "{} decision{}, {exact}{} candidates",
            decisions,
            if decisions == 1 { "" } else { "s" },
            self.size_text()
        );
        text += &self.costs_text();
        text
    }

    /// A line for each cost that candidates have, after one that says of which candidates, where those are not all.
    fn costs_text(&self) -> String {
        let mut text = String::new();
        let Some(costs) = &self.costs else { return text };
        if let Some(count) = costs.looked_at {
            let _ = writeln!(text, "{count} candidates were looked at for what follows; others may cost less or more");
        }
        for (name, low, high) in costs.each() {
            let _ = match low == high {
                true => writeln!(text, "{name:<9}  {low}"),
                false => writeln!(text, "{name:<9}  {low} to {high}"),
            };
        }
        text
    }

    /// The number of candidates; `R^k` for k real numbers, with the decimal magnitude of long numbers.
    pub fn size_text(&self) -> String {
        let exact = self.space.size().to_string();
        let digits = self.space.count().to_string();
        if digits.len() <= 15 {
            return exact;
        }
        let (head, tail) = digits.split_at(1);
        format!("{exact} (about {head}.{}e{})", &tail[..2], digits.len() - 1)
    }

    fn lines(&self, id: TreeId, depth: usize, lines: &mut Vec<Line>, seen: &mut BTreeSet<TreeId>) {
        match self.space.tree(id) {
            Tree::Unit => {}
            Tree::All(parts) => parts.iter().for_each(|p| self.lines(*p, depth, lines, seen)),
            Tree::Scope { inner, .. } => self.lines(*inner, depth, lines, seen),
            Tree::Decide { name, domain, default, then } => {
                let default = default.as_ref().map(|d| format!(" = {}", value_text(self, name, domain, d))).unwrap_or_default();
                lines.push(Line { depth, text: format!("{name}  {}{default}", self.domain_text(name, domain)) });
                match then {
                    Then::Same(next) => self.lines(*next, depth, lines, seen),
                    Then::Each(branches) => {
                        for (rank, branch) in branches.iter().enumerate() {
                            if matches!(self.space.tree(*branch), Tree::Unit) {
                                continue;
                            }
                            let value = domain.unrank((rank as u64).into());
                            let repeated = !seen.insert(*branch);
                            let again = if repeated { "  (as above)" } else { "" };
                            lines.push(Line {
                                depth: depth + 1,
                                text: format!("{}:{again}", value_text(self, name, domain, &value)),
                            });
                            if !repeated {
                                self.lines(*branch, depth + 2, lines, seen);
                            }
                        }
                    }
                }
            }
        }
    }

    fn domain_text(&self, name: &str, domain: &Searched) -> String {
        match (domain, self.domains.get(name)) {
            (Searched::Members { labels, .. }, _) => format!("[{}]", labels.join(", ")),
            (Searched::Int { low, high, log }, _) => format!("{low}..={high}{}", if *log { " (log)" } else { "" }),
            (Searched::Real { low, high, log }, _) => format!("{low:?}..={high:?}{}", if *log { " (log)" } else { "" }),
            (_, Some(own)) => own.describe(),
            (other, None) => other.to_string(),
        }
    }

    /// A candidate as the text of a file of choices.
    pub fn choices_text(&self, candidate: &Assignment) -> String {
        convert::print(&self.to_choices(candidate))
    }

    /// Candidates drawn by a seed: decision by decision, or each of all candidates as likely as every other.
    pub fn sample(&self, count: u32, seed: u64, uniform: bool) -> Vec<Assignment> {
        let mut rng = Rng::new(seed, "sample");
        let space = &self.space;
        (0..count).map(|_| if uniform { space.sample_leaf(&mut rng) } else { space.sample(&mut rng) }).collect()
    }

    /// The candidate of a number, written out, from 0.
    pub fn unrank(&self, number: &str) -> Option<Assignment> {
        self.space.unrank(&number.parse().ok()?)
    }

    /// The number of a candidate.
    pub fn rank(&self, candidate: &Assignment) -> Option<String> {
        self.space.rank(candidate).ok().map(|r| r.to_string())
    }

    /// The number of numbers, for messages.
    pub fn count_text(&self) -> String {
        self.space.count().to_string()
    }
}

pub(super) fn value_text(open: &OpenRecipe, name: &str, domain: &Searched, value: &merge_search::Value) -> String {
    match (value, open.domains.get(name)) {
        (merge_search::Value::Order(_) | merge_search::Value::Subset(_), Some(own)) => own.text(&convert::answer(value)),
        _ => match domain.to_json(value) {
            serde_json::Value::String(s) => s,
            other => other.to_string(),
        },
    }
}
