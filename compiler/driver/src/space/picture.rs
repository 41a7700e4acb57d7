//! A space as a picture: SVG, light or dark as the reader's page is.
//!
//! A box for each decision, with its path and the values it may have; the default is filled. What a value brings about stands under the decision,
//! further in, behind the values that do. What was drawn before is not drawn again: a line says what stands there and where it was.
//!
//! Every text is as long as its box was made for (`textLength`), whatever font the reader has; nothing is cut off, and boxes with many values
//! go on in the next line. Decisions that do not fit a page of [`MOST_ROWS`] are counted in the last line.

use super::OpenRecipe;
use super::describe::value_text;
use merge_search::{Domain, Then, Tree, TreeId};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Boxes of a picture.
const MOST_ROWS: usize = 1_000;
/// The width of a letter: 0.6 of a monospace font's size.
const LETTER: usize = 8;
const LINE: usize = 24;
const INDENT: usize = 28;
const MARGIN: usize = 16;
/// A box goes on in its next line at this width, if the value alone is not wider.
const WIDEST: usize = 760;

const STYLE: &str = "<style>
text{font:13.3px monospace;fill:#1b2430}
.page{fill:#ffffff}
.box{fill:#f3f6fa;stroke:#9fb0c3}
.value{fill:#ffffff;stroke:#b9c5d3}
.default{fill:#cfe3ff;stroke:#4a7fc1}
.when{fill:#fff3d6;stroke:#c9a24a}
.path{font-weight:bold}
.quiet{fill:#5b6878}
.line{fill:none;stroke:#9fb0c3;stroke-width:1.5}
@media (prefers-color-scheme:dark){
text{fill:#e6ebf2}
.page{fill:#14181f}
.box{fill:#1e2530;stroke:#4d5c70}
.value{fill:#14181f;stroke:#4d5c70}
.default{fill:#1f4a80;stroke:#7fb0ee}
.when{fill:#4a3a12;stroke:#c9a24a}
.quiet{fill:#9aa8b8}
.line{stroke:#4d5c70}
}
</style>
";

/// A part of a row.
enum Part {
    /// Words and how they look.
    Text(String, &'static str),
    /// A value and how its box looks.
    Value(String, &'static str),
}

impl Part {
    fn width(&self) -> usize {
        match self {
            Part::Text(text, _) => LETTER * letters(text),
            Part::Value(text, _) => LETTER * letters(text) + 12,
        }
    }
}

struct Row {
    depth: usize,
    parts: Vec<Part>,
    /// Whether it is a decision.
    boxed: bool,
}

/// Where a row was drawn.
struct Drawn {
    depth: usize,
    x: usize,
    bottom: usize,
}

#[derive(Default)]
struct Rows {
    rows: Vec<Row>,
    /// Where the decisions of a tree were drawn: after which values.
    seen: BTreeMap<TreeId, String>,
    left_out: usize,
}

impl OpenRecipe {
    /// The tree as a picture.
    pub fn svg(&self) -> String {
        let (_, root) = self.space.trees();
        let mut rows = Rows::default();
        self.rows(root, 0, "", &mut rows);
        let mut body = String::new();
        let (mut y, mut width) = (MARGIN, 0);
        for line in self.headline() {
            width = width.max(MARGIN + LETTER * letters(&line));
            text(&mut body, &line, "quiet", MARGIN, y + 16);
            y += LINE;
        }
        y += 8;
        let mut above: Vec<Drawn> = Vec::new();
        for row in &rows.rows {
            above.retain(|d| d.depth < row.depth);
            let x = MARGIN + row.depth * INDENT;
            let (right, bottom) = row.draw(x, y, above.last(), &mut body);
            width = width.max(right);
            above.push(Drawn { depth: row.depth, x, bottom });
            y = bottom + 6;
        }
        if rows.left_out > 0 {
            let line = format!("and {} lines more", rows.left_out);
            text(&mut body, &line, "quiet", MARGIN, y + 16);
            y += LINE;
        }
        let (width, height) = (width + MARGIN, y + MARGIN);
        let title = escaped(&self.headline().join(", "));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
             <title>{title}</title>\n{STYLE}<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n{body}</svg>\n"
        )
    }

    fn headline(&self) -> Vec<String> {
        let decisions = self.space.slots();
        let size = self.space.size().to_string();
        let digits = self.count_text();
        let size = match size.len() {
            0..=60 => size,
            _ => format!("about {}.{}e{}", &digits[..1], &digits[1..3], digits.len() - 1),
        };
        let exact = if self.counted { "" } else { "at most " };
        let mut lines = vec![format!("{decisions} decision{}, {exact}{size} candidates", if decisions == 1 { "" } else { "s" })];
        if self.space.trees().0.iter().any(|t| matches!(t, Tree::Decide { default: Some(_), .. })) {
            lines.push("filled: the default".to_owned());
        }
        lines
    }

    /// The rows of a tree that stands behind these values.
    fn rows(&self, id: TreeId, depth: usize, behind: &str, rows: &mut Rows) {
        match self.space.tree(id) {
            Tree::Unit => {}
            Tree::Scope { inner, .. } => self.rows(*inner, depth, behind, rows),
            Tree::All(parts) => {
                let mut again: Vec<TreeId> = Vec::new();
                for part in parts {
                    if rows.seen.contains_key(part) {
                        again.push(*part);
                        continue;
                    }
                    self.again(&std::mem::take(&mut again), depth, rows);
                    self.rows(*part, depth, behind, rows);
                }
                self.again(&again, depth, rows);
            }
            Tree::Decide { .. } if rows.seen.contains_key(&id) => self.again(&[id], depth, rows),
            Tree::Decide { name, domain, default, then } => {
                if !behind.is_empty() {
                    rows.seen.insert(id, behind.to_owned());
                }
                let default = default.as_ref().map(|d| value_text(self, name, domain, d));
                let mut parts = vec![Part::Text(name.clone(), "path")];
                parts.extend(self.values(name, domain, default));
                rows.push(Row { depth, parts, boxed: true });
                match then {
                    Then::Same(next) => self.rows(*next, depth, behind, rows),
                    Then::Each(branches) => self.branches(name, domain, branches, depth, rows),
                }
            }
        }
    }

    /// What follows each value; values that the same follows stand side by side.
    fn branches(&self, name: &str, domain: &Domain, branches: &[TreeId], depth: usize, rows: &mut Rows) {
        let mut done: Vec<TreeId> = Vec::new();
        for branch in branches {
            if done.contains(branch) || matches!(self.space.tree(*branch), Tree::Unit) {
                continue;
            }
            done.push(*branch);
            let ranks = branches.iter().enumerate().filter(|(_, b)| *b == branch).map(|(rank, _)| rank as u64);
            let values: Vec<String> = ranks.map(|rank| value_text(self, name, domain, &domain.unrank(rank.into()))).collect();
            let behind = format!("{name} = {}", values.join(", "));
            let parts = values.into_iter().map(|v| Part::Value(v, "when")).collect();
            rows.push(Row { depth: depth + 1, parts, boxed: false });
            self.rows(*branch, depth + 2, &behind, rows);
        }
    }

    /// A line for trees that were drawn before.
    fn again(&self, trees: &[TreeId], depth: usize, rows: &mut Rows) {
        let (Some(first), Some(last)) = (trees.first(), trees.last()) else { return };
        let (Some(from), Some(to)) = (self.name_of(*first), self.name_of(*last)) else { return };
        let behind = |tree: &TreeId| rows.seen.get(tree).map(String::as_str).unwrap_or_default();
        let place = match trees.iter().all(|t| behind(t) == behind(first)) {
            true => format!("under {}", behind(first)),
            false => "above".to_owned(),
        };
        let what = match trees.len() {
            1 => from.to_owned(),
            2 => format!("{from} and {to}"),
            n => format!("{n} decisions, {from} to {to},"),
        };
        let words = format!("{what} as {place}");
        rows.push(Row { depth, parts: vec![Part::Text(words, "quiet")], boxed: false });
    }

    fn name_of(&self, id: TreeId) -> Option<&str> {
        match self.space.tree(id) {
            Tree::Unit => None,
            Tree::Scope { inner, .. } => self.name_of(*inner),
            Tree::All(parts) => parts.iter().find_map(|p| self.name_of(*p)),
            Tree::Decide { name, .. } => Some(name),
        }
    }

    /// The values of a domain.
    fn values(&self, name: &str, domain: &Domain, default: Option<String>) -> Vec<Part> {
        let word = |text: &str| Part::Text(text.to_owned(), "quiet");
        let value = |text: String, is_default: bool| Part::Value(text, if is_default { "default" } else { "value" });
        let with_default = |mut parts: Vec<Part>| {
            parts.extend(default.clone().map(|d| value(d, true)));
            parts
        };
        let range = |ends: String, log: bool| {
            let scale = if log { Some(word("log")) } else { None };
            with_default(std::iter::once(value(ends, false)).chain(scale).collect())
        };
        let labels = || match self.domains.get(name) {
            Some(merge_sema::space::Domain::Order { labels } | merge_sema::space::Domain::Subset { labels, .. }) => {
                labels.iter().map(|l| value(l.clone(), false)).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        };
        match domain {
            Domain::Members { labels, .. } => labels.iter().map(|l| value(l.clone(), default.as_ref() == Some(l))).collect(),
            Domain::Int { low, high, log } => range(format!("{low} .. {high}"), *log),
            Domain::Real { low, high, log } => range(format!("{low:?} .. {high:?}"), *log),
            Domain::Order { .. } => with_default(std::iter::once(word("an order of")).chain(labels()).collect()),
            Domain::Subset { low, high, .. } => {
                let count = if low == high { format!("{low} of") } else { format!("{low} to {high} of") };
                with_default(std::iter::once(word(&count)).chain(labels()).collect())
            }
            Domain::Simplex { n } => with_default(vec![value(format!("{n} parts of 1"), false)]),
        }
    }
}

impl Rows {
    fn push(&mut self, row: Row) {
        match self.rows.len() < MOST_ROWS {
            true => self.rows.push(row),
            false => self.left_out += 1,
        }
    }
}

impl Row {
    /// Draws it with a line from what it hangs on; its right and lower end.
    fn draw(&self, x: usize, y: usize, parent: Option<&Drawn>, out: &mut String) -> (usize, usize) {
        let inset = if self.boxed { 10 } else { 0 };
        let (mut line, mut at, mut right) = (0, x + inset, x);
        let mut placed = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let starts = if line == 0 { x + inset } else { x + inset + INDENT };
            if at + part.width() > x + WIDEST && at > starts {
                line += 1;
                at = x + inset + INDENT;
            }
            placed.push((part, at, y + 3 + line * LINE));
            at += part.width() + 8;
            right = right.max(at - 8 + inset);
        }
        let bottom = y + (line + 1) * LINE + 2;
        if let Some(parent) = parent {
            let _ = writeln!(out, "<path class=\"line\" d=\"M{} {}V{}H{x}\"/>", parent.x + 12, parent.bottom, y + 13);
        }
        if self.boxed {
            let _ = writeln!(
                out,
                "<rect class=\"box\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"6\"/>",
                right - x,
                bottom - y
            );
        }
        for (part, x, y) in placed {
            match part {
                Part::Text(words, class) => text(out, words, class, x, y + 15),
                Part::Value(words, class) => {
                    let width = part.width();
                    let _ =
                        writeln!(out, "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"20\" rx=\"10\"/>");
                    text(out, words, "", x + 6, y + 15);
                }
            }
        }
        (right, bottom)
    }
}

fn text(out: &mut String, words: &str, class: &str, x: usize, y: usize) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let length = LETTER * letters(words);
    let _ = writeln!(
        out,
        "<text{class} x=\"{x}\" y=\"{y}\" textLength=\"{length}\" lengthAdjust=\"spacingAndGlyphs\">{}</text>",
        escaped(words)
    );
}

/// How many letters wide a text is; those of East Asian scripts and pictures are two.
fn letters(text: &str) -> usize {
    text.chars().map(|c| if (c as u32) < 0x1100 { 1 } else { 2 }).sum::<usize>().max(1)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
