//! Patterns of tensor names.
//!
//! A pattern is the left side of a rule or an index that picks a sub-model. Parsed by `resolve`, matched
//! during elaboration. Names are lists of segments joined by dots.
//!
//! Inside, every segment carries the dot before it, also the first: `**` is then simply any number of
//! `.segment`, and an empty `**` takes its dot along. Names get the same dot in front when they are matched.
//!
//! Invariants: [`Node::Digits`], [`Node::Any`] and capturing groups stand at the top level only, so that a match
//! sets every capture; `**` starts and ends at segment borders.
//!
//! Not here: what an expression in a hole means; the caller of [`parse`] resolves it.

mod matching;
mod parse;

pub(crate) use parse::place_in;
pub use parse::{Piece, Place, hole_spans, is_pattern, parse};

use crate::hir::Expr;
use merge_base::Span;

/// A pattern. Made by [`parse`].
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    span: Span,
    nodes: Vec<Node>,
    captures: Vec<Capture>,
    holes: Vec<Expr>,
    literals: Vec<(String, Span)>,
}

/// A named part of a pattern.
#[derive(Clone, Debug)]
pub struct Capture {
    pub name: String,
    pub kind: Kind,
    /// The list after `in`; the caller of [`Pattern::matches`] decides whether a value is in it.
    pub domain: Option<Expr>,
    pub span: Span,
}

/// What a capture binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `{l}`, `{l in 0..24}`, `{l in [0, 2]}`: digits, as an int.
    Int,
    /// `{n: **.o_proj}`: the matched text.
    Str,
    /// `{n in list}`: any text, dots too, that is in the list; an int if the list has ints.
    Member,
}

/// What a capture matched. For [`Kind::Member`] it is an int where the text is one (`7`, not `07`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CaptureValue {
    Int(i64),
    Str(String),
}

impl std::fmt::Display for CaptureValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CaptureValue::Int(i) => write!(f, "{i}"),
            CaptureValue::Str(s) => f.write_str(s),
        }
    }
}

/// Whether and how a name matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matches {
    No,
    /// One way, with the captures in order.
    One(Vec<CaptureValue>),
    /// Two ways with different captures.
    Ambiguous(Vec<CaptureValue>, Vec<CaptureValue>),
}

/// A part of a pattern; see the module's comment for the dots.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    /// `*`: one or more characters of a segment.
    Star,
    /// `**`: zero or more whole segments.
    Segments,
    /// `{l}`.
    Digits(usize),
    /// `{n in list}`.
    Any(usize),
    /// `{a|b}`, `{n: a|b}`.
    Group {
        capture: Option<usize>,
        alternatives: Vec<Vec<Node>>,
    },
    /// An expression; `starts` where it opens a segment, so that its dot goes with an empty text.
    Hole {
        hole: usize,
        starts: bool,
    },
}

impl Pattern {
    /// As written, without the quotes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The string token.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The named parts, in order.
    pub fn captures(&self) -> &[Capture] {
        &self.captures
    }

    /// The expressions inside, in order; only patterns in an index have any. They must be filled by
    /// [`Pattern::with_holes`] before matching.
    pub fn holes(&self) -> &[Expr] {
        &self.holes
    }

    /// Segments that are written out, with their places; for suggestions.
    pub fn literals(&self) -> &[(String, Span)] {
        &self.literals
    }

    /// The pattern with the texts of its expressions in place, one for each of [`Pattern::holes`].
    pub fn with_holes(&self, texts: &[String]) -> Pattern {
        let nodes = self
            .nodes
            .iter()
            .map(|n| match n {
                Node::Hole { hole, starts } => match texts.get(*hole) {
                    Some(t) if *starts && !t.is_empty() => Node::Text(format!(".{t}")),
                    Some(t) => Node::Text(t.clone()),
                    None => n.clone(),
                },
                other => other.clone(),
            })
            .collect();
        Pattern { nodes, holes: Vec::new(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests;
