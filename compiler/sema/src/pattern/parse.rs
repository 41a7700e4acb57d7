//! Reading a pattern out of a string token.

use super::{Capture, Kind, Node, Pattern};
use crate::codes::names::{BAD_PATTERN, DEFINED_TWICE};
use crate::hir::{Expr, ExprKind};
use merge_base::{Diagnostic, Span};
use merge_grammar::ast;
use std::ops::Range;

/// Where a pattern stands; it decides what `{l}` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Left side of a rule: `{l}` captures digits, expressions are not allowed.
    Rule,
    /// Index of a model: `{l}` and `{l + 8}` are expressions.
    Index,
}

/// A part of a string: text, or what stands between braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(Range<usize>),
    Hole(Range<usize>),
}

/// Splits a string at its braces, which nest.
///
/// # Errors
/// The offset of a brace without its partner.
pub fn hole_spans(text: &str) -> Result<Vec<Piece>, usize> {
    let (mut pieces, mut from, mut open) = (Vec::new(), 0, Vec::new());
    for (i, c) in text.char_indices() {
        match c {
            '{' => {
                if open.is_empty() {
                    if from < i {
                        pieces.push(Piece::Text(from..i));
                    }
                    from = i + 1;
                }
                open.push(i);
            }
            '}' => {
                open.pop().ok_or(i)?;
                if open.is_empty() {
                    pieces.push(Piece::Hole(from..i));
                    from = i + 1;
                }
            }
            _ => {}
        }
    }
    if let Some(first) = open.first() {
        return Err(*first);
    }
    if from < text.len() {
        pieces.push(Piece::Text(from..text.len()));
    }
    Ok(pieces)
}

/// Whether a string in an index picks a sub-model: it has `*`, `{a|b}`, `{p: ..}` or `{l in ..}`.
pub fn is_pattern(text: &str) -> bool {
    hole_spans(text).unwrap_or_default().into_iter().any(|piece| match piece {
        Piece::Text(r) => text[r].contains('*'),
        Piece::Hole(r) => !matches!(hole(&text[r]), Hole::Bare(_) | Hole::Other),
    })
}

/// The place of a range of a string's contents. Escapes move offsets; then the whole token stands for it.
pub(crate) fn place_in(string: &ast::Str, range: Range<usize>) -> Span {
    if (string.span.end - string.span.start) as usize == string.text.len() + 2 {
        let start = string.span.start as usize + 1;
        Span::new(string.span.file, start + range.start, start + range.end)
    } else {
        string.span
    }
}

/// What stands between braces, by its looks.
enum Hole<'t> {
    /// `l`
    Bare(&'t str),
    /// `l in list`
    In(&'t str, &'t str),
    /// `p: inner`
    Named(&'t str, &'t str),
    /// `a|b`
    Inner(&'t str),
    /// An expression, or nothing at all.
    Other,
}

fn hole(text: &str) -> Hole<'_> {
    let trimmed = text.trim();
    let name = trimmed.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(trimmed.len());
    let (name, rest) = trimmed.split_at(name);
    let is_name = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let after = rest.trim_start();
    if is_name && rest.is_empty() {
        Hole::Bare(name)
    } else if is_name && after.starts_with(':') {
        Hole::Named(name, &after[1..])
    } else if is_name && rest.starts_with(char::is_whitespace) && after.strip_prefix("in").is_some_and(word_ends) {
        Hole::In(name, &after[2..])
    } else if trimmed.contains('|') {
        Hole::Inner(text)
    } else {
        Hole::Other
    }
}

fn word_ends(rest: &str) -> bool {
    !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

fn is_literal(c: char) -> bool {
    c == '.' || c == '-' || c == '_' || c.is_alphanumeric()
}

/// Reads a pattern. `expr` turns the text of an expression into a resolved one (an error node where it
/// cannot, after telling the user).
///
/// # Errors
/// What is wrong with a pattern that cannot be read.
pub fn parse(string: &ast::Str, place: Place, expr: &mut dyn FnMut(&str, Span) -> Expr) -> Result<Pattern, Vec<Diagnostic>> {
    let mut parser =
        Parser { string, place, expr, captures: Vec::new(), holes: Vec::new(), literals: Vec::new(), faults: Vec::new() };
    let text = string.text.as_str();
    let mut nodes = Vec::new();
    let mut state = State { starts: true, after_segments: false };
    if text.is_empty() {
        parser.fault(0..0, "a pattern cannot be empty", "write `**` for all names");
    }
    match hole_spans(text) {
        Err(at) => parser.fault(at..at + 1, "this brace has no partner", "write `{name}` with both braces"),
        Ok(pieces) => {
            for piece in pieces {
                match piece {
                    Piece::Text(range) => parser.text(range, &mut state, &mut nodes),
                    Piece::Hole(range) => parser.hole(range, &mut state, &mut nodes),
                }
            }
            if state.starts && !text.is_empty() {
                parser.fault(text.len() - 1..text.len(), "a pattern cannot end in a dot", "did you mean `.**`?");
            }
        }
    }
    parser.note_literals();
    if !parser.faults.is_empty() {
        return Err(parser.faults);
    }
    Ok(Pattern {
        text: text.to_string(),
        span: string.span,
        nodes: joined(nodes),
        captures: parser.captures,
        holes: parser.holes,
        literals: parser.literals,
    })
}

/// Where in a segment the parser is.
#[derive(Clone, Copy, PartialEq)]
struct State {
    /// A segment begins here, and its dot has not been written yet.
    starts: bool,
    /// `**` has just ended: only a dot or the end may follow.
    after_segments: bool,
}

struct Parser<'a> {
    string: &'a ast::Str,
    place: Place,
    expr: &'a mut dyn FnMut(&str, Span) -> Expr,
    captures: Vec<Capture>,
    holes: Vec<Expr>,
    literals: Vec<(String, Span)>,
    faults: Vec<Diagnostic>,
}

impl Parser<'_> {
    fn fault(&mut self, range: Range<usize>, message: &str, help: &str) {
        let span = place_in(self.string, range);
        self.faults.push(Diagnostic::new(BAD_PATTERN, message, span, "in this pattern").help(help));
    }

    /// Offset of a part of the string's text.
    fn offset(&self, part: &str) -> usize {
        part.as_ptr() as usize - self.string.text.as_ptr() as usize
    }

    /// Text with `*`, `**` and dots in it.
    fn text(&mut self, range: Range<usize>, state: &mut State, nodes: &mut Vec<Node>) {
        let string = self.string;
        let text = &string.text[range.clone()];
        let mut chars = text.char_indices().peekable();
        while let Some((i, c)) = chars.next() {
            let at = range.start + i;
            if state.after_segments && c != '.' {
                self.fault(at..at + c.len_utf8(), "`**` stands alone in its segment", "write `**.` or `*`");
            }
            match c {
                '.' if state.starts => {
                    self.fault(at..at + 1, "there is nothing before this dot", "segments have at least one character");
                }
                '.' => *state = State { starts: true, after_segments: false },
                '*' if chars.next_if(|(_, c)| *c == '*').is_some() => {
                    if !state.starts {
                        self.fault(at..at + 2, "`**` stands alone in its segment", "write `.**` or `*`");
                    }
                    nodes.push(Node::Segments);
                    *state = State { starts: false, after_segments: true };
                }
                _ => {
                    let mut literal = String::from(if state.starts { "." } else { "" });
                    let node = if c == '*' {
                        if state.starts {
                            nodes.push(Node::Text(literal));
                        }
                        Node::Star
                    } else {
                        literal.push(c);
                        Node::Text(literal)
                    };
                    nodes.push(node);
                    *state = State { starts: false, after_segments: false };
                }
            }
        }
    }

    /// What stands between braces.
    fn hole(&mut self, range: Range<usize>, state: &mut State, nodes: &mut Vec<Node>) {
        if state.after_segments {
            self.fault(range.start - 1..range.end + 1, "`**` stands alone in its segment", "write a dot between them");
        }
        let string = self.string;
        let content = &string.text[range.clone()];
        match (hole(content), self.place) {
            (Hole::Bare(name), Place::Rule) => {
                let capture = self.capture(name, Kind::Int, None);
                self.open_segment(state, nodes);
                nodes.push(Node::Digits(capture));
            }
            (Hole::In(name, list), _) => {
                let start = self.offset(list.trim());
                let list = list.trim();
                let domain = (self.expr)(list, place_in(string, start..start + list.len()));
                let kind = if lists_ints(&domain) { Kind::Int } else { Kind::Member };
                let capture = self.capture(name, kind, Some(domain));
                self.open_segment(state, nodes);
                nodes.push(if kind == Kind::Int { Node::Digits(capture) } else { Node::Any(capture) });
            }
            (Hole::Named(name, inner), _) => {
                let capture = self.capture(name, Kind::Str, None);
                self.group(inner, Some(capture), state, nodes);
            }
            (Hole::Inner(inner), _) => self.group(inner, None, state, nodes),
            (Hole::Bare(_) | Hole::Other, Place::Index) if !content.trim().is_empty() => {
                let inner = content.trim();
                let start = self.offset(inner);
                let value = (self.expr)(inner, place_in(string, start..start + inner.len()));
                nodes.push(Node::Hole { hole: self.holes.len(), starts: state.starts });
                self.holes.push(value);
                *state = State { starts: false, after_segments: false };
            }
            (Hole::Other, _) if content.trim().is_empty() => {
                *state = State { starts: false, after_segments: false };
                self.fault(range.start - 1..range.end + 1, "there is nothing between these braces", "write `{l}` or `{a|b}`");
            }
            _ => {
                *state = State { starts: false, after_segments: false };
                let wide = range.start - 1..range.end + 1;
                self.fault(
                    wide,
                    "a pattern cannot compute",
                    "braces hold a name (`{l}`, digits), `{l in 0..24}`, `{n: **}`, or alternatives (`{a|b}`)",
                );
            }
        }
    }

    /// Writes the dot of a segment that begins here.
    fn open_segment(&mut self, state: &mut State, nodes: &mut Vec<Node>) {
        if state.starts {
            nodes.push(Node::Text(".".to_string()));
        }
        *state = State { starts: false, after_segments: false };
    }

    fn capture(&mut self, name: &str, kind: Kind, domain: Option<Expr>) -> usize {
        let start = self.offset(name);
        let span = place_in(self.string, start..start + name.len());
        if let Some(first) = self.captures.iter().find(|c| c.name == name && name != "_") {
            self.faults.push(
                Diagnostic::new(DEFINED_TWICE, format!("`{name}` is captured twice"), span, "again here")
                    .label(first.span, "first here")
                    .help("give the second one another name"),
            );
        }
        self.captures.push(Capture { name: name.to_string(), kind, domain, span });
        self.captures.len() - 1
    }

    /// Alternatives between `|`.
    fn group(&mut self, inner: &str, capture: Option<usize>, state: &mut State, nodes: &mut Vec<Node>) {
        let begin = *state;
        let mut ends = State { starts: false, after_segments: false };
        let mut alternatives = Vec::new();
        for part in split_alternatives(inner) {
            let trimmed = part.trim();
            let start = self.offset(part) + (part.len() - part.trim_start().len());
            let (mut at, mut alternative) = (begin, Vec::new());
            if trimmed.is_empty() {
                self.fault(start..start + 1, "an alternative is empty", "every alternative has at least one character");
                continue;
            }
            for piece in hole_spans(trimmed).unwrap_or_default() {
                match piece {
                    Piece::Text(r) => self.text(start + r.start..start + r.end, &mut at, &mut alternative),
                    Piece::Hole(r) => match hole(&trimmed[r.clone()]) {
                        Hole::Inner(nested) => self.group(nested, None, &mut at, &mut alternative),
                        _ => self.fault(
                            start + r.start - 1..start + r.end + 1,
                            "a capture cannot stand inside another",
                            "only `{a|b}` may stand here",
                        ),
                    },
                }
            }
            if at.starts {
                let end = start + trimmed.len();
                self.fault(end - 1..end, "an alternative cannot end in a dot", "put the dot behind the brace");
            }
            ends.after_segments |= at.after_segments;
            alternatives.push(joined(alternative));
        }
        nodes.push(Node::Group { capture, alternatives });
        *state = ends;
    }

    /// Notes the segments that are written out.
    fn note_literals(&mut self) {
        let string = self.string;
        let mut plain = string.text.clone().into_bytes();
        let mut inner = Vec::new();
        for piece in hole_spans(&string.text).unwrap_or_default() {
            if let Piece::Hole(r) = piece {
                plain[r.start - 1..r.end + 1].fill(b'*');
                let content = &string.text[r];
                if let Hole::Named(_, part) | Hole::Inner(part) = hole(content) {
                    inner.extend(split_alternatives(part));
                }
            }
        }
        let mut found = Vec::new();
        let plain = String::from_utf8(plain).unwrap_or_default();
        let mut note = |text: &str, offset: usize| {
            let mut at = offset;
            for segment in text.split('.') {
                let trimmed = segment.trim();
                if !trimmed.is_empty() && trimmed.chars().all(is_literal) {
                    let start = at + (segment.len() - segment.trim_start().len());
                    found.push((trimmed.to_string(), place_in(string, start..start + trimmed.len())));
                }
                at += segment.len() + 1;
            }
        };
        note(&plain, 0);
        for part in inner {
            note(part, self.offset(part));
        }
        self.literals = found;
    }
}

/// Splits at `|` outside of braces.
fn split_alternatives(inner: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    inner
        .split(|c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == '|' && depth == 0
        })
        .collect()
}

/// Whether a list is of ints by its looks: a range, or a list that begins with an int.
fn lists_ints(list: &Expr) -> bool {
    match &list.kind {
        ExprKind::Range { .. } => true,
        ExprKind::List(items) => items.first().is_some_and(|i| matches!(i.kind, ExprKind::Int(_))),
        _ => false,
    }
}

/// Neighbouring texts made one.
fn joined(nodes: Vec<Node>) -> Vec<Node> {
    let mut result: Vec<Node> = Vec::with_capacity(nodes.len());
    for node in nodes {
        match (result.last_mut(), node) {
            (Some(Node::Text(before)), Node::Text(text)) => before.push_str(&text),
            (_, node) => result.push(node),
        }
    }
    result
}
