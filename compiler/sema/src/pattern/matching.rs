//! Matching by backtracking: patterns are short, and a pattern's first literal text turns most names away.

use super::{CaptureValue, Kind, Matches, Node, Pattern};

/// What comes after the alternatives of a group.
struct Rest<'p> {
    nodes: &'p [Node],
    /// The group's capture and where it starts.
    capture: Option<(usize, usize)>,
    then: Option<&'p Rest<'p>>,
}

struct Search<'a> {
    pattern: &'a Pattern,
    /// The name with a dot in front.
    name: &'a str,
    domain: &'a dyn Fn(usize, &CaptureValue) -> bool,
    /// Where each capture lies in `name`.
    at: Vec<(usize, usize)>,
    found: Matches,
}

impl Pattern {
    /// Matches a whole name. `domain(i, value)` says whether `value` is in the list behind the `in` of
    /// capture `i`; it is asked only about captures that have one.
    pub fn matches(&self, name: &str, domain: &dyn Fn(usize, &CaptureValue) -> bool) -> Matches {
        if let Some(Node::Text(t)) = self.nodes.first()
            && let Some(t) = t.strip_prefix('.')
            && !name.starts_with(t)
        {
            return Matches::No;
        }
        let name = format!(".{name}");
        let mut search = Search { pattern: self, name: &name, domain, at: vec![(0, 0); self.captures.len()], found: Matches::No };
        search.step(&self.nodes, 0, None);
        search.found
    }

    /// Whether a whole name matches; patterns without `in` only.
    pub fn fits(&self, name: &str) -> bool {
        self.matches(name, &|_, _| true) != Matches::No
    }
}

impl Search<'_> {
    /// Tries all ways to match `nodes` and what follows from `at`; true once there is no need to go on.
    fn step(&mut self, nodes: &[Node], at: usize, then: Option<&Rest<'_>>) -> bool {
        let Some((node, rest)) = nodes.split_first() else {
            return match then {
                None => at == self.name.len() && self.accept(),
                Some(group) => {
                    if let Some((capture, start)) = group.capture {
                        self.at[capture] = (start, at);
                    }
                    self.step(group.nodes, at, group.then)
                }
            };
        };
        let tail = &self.name[at..];
        match node {
            Node::Text(t) => tail.starts_with(t.as_str()) && self.step(rest, at + t.len(), then),
            Node::Star => {
                let longest = tail.find('.').unwrap_or(tail.len());
                (1..=longest).any(|n| tail.is_char_boundary(n) && self.step(rest, at + n, then))
            }
            Node::Segments => {
                let mut end = at;
                loop {
                    if self.step(rest, end, then) {
                        return true;
                    }
                    let Some(segment) = self.name[end..].strip_prefix('.') else { return false };
                    end += 1 + segment.find('.').unwrap_or(segment.len());
                }
            }
            Node::Digits(capture) => {
                let longest = tail.bytes().take_while(u8::is_ascii_digit).count();
                (1..=longest).any(|n| self.capture(*capture, at, at + n, rest, then))
            }
            Node::Any(capture) => {
                (1..=tail.len()).any(|n| tail.is_char_boundary(n) && self.capture(*capture, at, at + n, rest, then))
            }
            Node::Group { capture, alternatives } => {
                let after = Rest { nodes: rest, capture: capture.map(|c| (c, at)), then };
                alternatives.iter().any(|a| self.step(a, at, Some(&after)))
            }
            // A pattern whose expressions are not filled in matches nothing.
            Node::Hole { .. } => false,
        }
    }

    fn capture(&mut self, capture: usize, start: usize, end: usize, rest: &[Node], then: Option<&Rest<'_>>) -> bool {
        self.at[capture] = (start, end);
        self.step(rest, end, then)
    }

    /// Notes a match; true if the search can stop.
    fn accept(&mut self) -> bool {
        let Some(values) = self.values() else { return false };
        match std::mem::replace(&mut self.found, Matches::No) {
            Matches::No => self.found = Matches::One(values),
            Matches::One(first) if first != values => self.found = Matches::Ambiguous(first, values),
            known => self.found = known,
        }
        self.pattern.captures.is_empty() || matches!(self.found, Matches::Ambiguous(..))
    }

    /// The captures, unless one of them is outside its domain or no int that fits.
    fn values(&self) -> Option<Vec<CaptureValue>> {
        let captures = self.pattern.captures.iter().zip(&self.at).enumerate();
        captures
            .map(|(i, (capture, (start, end)))| {
                let text = &self.name[*start..*end];
                let value = match capture.kind {
                    Kind::Int => CaptureValue::Int(text.parse().ok()?),
                    Kind::Str => CaptureValue::Str(text.strip_prefix('.').unwrap_or(text).to_string()),
                    Kind::Member => match text.parse::<i64>() {
                        Ok(i) if i.to_string() == text => CaptureValue::Int(i),
                        _ => CaptureValue::Str(text.to_string()),
                    },
                };
                (capture.domain.is_none() || (self.domain)(i, &value)).then_some(value)
            })
            .collect()
    }
}
