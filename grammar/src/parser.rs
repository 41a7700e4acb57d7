//! The ways in: a file, or one expression.

use crate::actions::{Context, Root};
use crate::ast::{Expr, ExprKind, File, Item};
use crate::brackets;
use crate::codes;
use crate::grammar::RootParser;
use crate::lexer::lex;
use crate::sink::Sink;
use crate::split::split;
use crate::token::{Lexeme, RESERVED, Tok};
use merge_base::{Diagnostic, FileId, did_you_mean};

/// Parses the text of `file`. The tree holds whatever could be read; for the rest it has `Error` nodes, each
/// with a diagnostic.
pub fn parse(file: FileId, text: &str) -> (File, Vec<Diagnostic>) {
    let mut sink = Sink::new(file, 0);
    let lexed = lex(text, &mut sink);
    let mut items = Vec::new();
    for chunk in split(lexed.tokens) {
        let (Some(first), Some(last)) = (chunk.tokens.first(), chunk.tokens.last()) else { continue };
        let span = sink.span(first.start, last.end);
        if chunk.item {
            items.push(match run(chunk.tokens, &mut sink) {
                Some(Root::Item(item)) => item,
                _ => Item::Error(span),
            });
        } else {
            not_an_item(&chunk.tokens, &mut sink);
            items.push(Item::Error(span));
        }
    }
    let mut diagnostics = sink.diagnostics;
    diagnostics.sort_by_key(|d| d.primary_span().map(|s| s.start));
    (File { docs: lexed.docs, items }, diagnostics)
}

/// Parses one expression, such as a hole of a string, whose text starts at byte `offset` of `file`.
pub fn parse_expr(file: FileId, text: &str, offset: usize) -> (Expr, Vec<Diagnostic>) {
    let mut sink = Sink::new(file, offset);
    let lexed = lex(text, &mut sink);
    let span = sink.span(0, text.len());
    let error = Expr { kind: ExprKind::Error, span };
    if lexed.tokens.is_empty() {
        if sink.diagnostics.is_empty() {
            sink.mended(Diagnostic::new(codes::UNEXPECTED, "a value is expected here", span, "nothing stands here"));
        }
        return (error, sink.diagnostics);
    }
    let mut tokens = lexed.tokens;
    let hole = Lexeme { token: Tok::Hole, start: 0, end: 0, line: 0, first: true, margin: false, docs: String::new() };
    tokens.insert(0, hole);
    let expr = match run(tokens, &mut sink) {
        Some(Root::Expr(expr)) => expr,
        _ => error,
    };
    (expr, sink.diagnostics)
}

/// Runs the parser over the tokens of one item or expression.
fn run(tokens: Vec<Lexeme>, sink: &mut Sink) -> Option<Root> {
    // Checked first so that thousands of open brackets are not repaired one by one, and again because repair may
    // leave out closing ones.
    if !brackets::shallow(&tokens, sink) {
        return None;
    }
    let tokens = brackets::repair(&tokens, sink);
    if !brackets::shallow(&tokens, sink) {
        return None;
    }
    let cx = Context::new(&tokens, sink);
    let stream = tokens.iter().enumerate().map(|(i, t)| Ok::<_, ()>((i, t.token.clone(), i + 1)));
    match RootParser::new().parse(&cx, stream) {
        Ok(root) => Some(root),
        Err(error) => {
            cx.report(error);
            None
        }
    }
}

/// Says what is wrong with text at the top level that starts no item.
fn not_an_item(tokens: &[Lexeme], sink: &mut Sink) {
    let first = &tokens[0];
    let next = tokens.get(1).map(|t| &t.token);
    let span = sink.span(first.start, first.end);
    let name = if let Tok::Name(name) = &first.token { name.as_str() } else { "" };
    let mut d = Diagnostic::new(
        codes::ITEM_EXPECTED,
        format!("{} starts no item", first.token.describe()),
        span,
        "an item is expected here",
    )
    .note("an item starts with `use`, `let`, `choose`, `fn`, `save`, `search` or `test \"..\"`");
    let instead = match name {
        "import" | "include" | "require" => Some("`use std.merging.{ties}` brings in what other files define"),
        "def" | "func" | "function" | "define" => Some("a function is `fn name(x: weight[..s]) -> weight[..s] { .. }`"),
        "var" | "const" | "model" | "auto" | "val" => Some("a name gets its value by `let name = value`"),
        "param" | "parameter" | "setting" => Some("a setting is `choose name in 0.0..=1.0 = 0.5`"),
        "test" => Some("a test has a title: `test \"what must hold\" { condition }`"),
        "return" | "output" | "print" => Some("a result is written by `save value to \"folder\"`"),
        _ => None,
    };
    let keywords = RESERVED.iter().take(6).map(|(w, _)| *w).chain(["test"]);
    if let Some(help) = instead {
        d = d.help(help);
    } else if !name.is_empty() && next == Some(&Tok::Assign) {
        d = d.help(format!("to name a value, write `let {name} = ..`")).fix(
            "add `let`",
            sink.span(first.start, first.start),
            "let ",
        );
    } else if !name.is_empty() && next == Some(&Tok::Colon) || matches!(first.token, Tok::Sign | Tok::Minus) {
        d = d.help(
            "this looks like YAML; a recipe is written as `let base = checkpoint(\"path\")` and `save value to \"folder\"`",
        );
    } else if let Some(word) = did_you_mean(name, keywords).filter(|_| name.len() > 1) {
        d = d.help(format!("did you mean `{word}`?")).fix(format!("write `{word}`"), span, word);
    } else if !name.is_empty() && matches!(next, Some(Tok::Name(_))) {
        d = d.help("to name a value, write `let name = value`");
    } else if first.token.ends_operand() {
        d = d.help("a value is named by `let name = value` and written by `save value to \"folder\"`");
    }
    sink.unless_broken(first.line, d);
}
