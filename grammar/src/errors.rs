//! What to say about a token that the parser did not expect.

use crate::codes;
use crate::sink::Sink;
use crate::token::{Lexeme, Tok};
use merge_base::{Diagnostic, Span};

/// The diagnostic for token `at` (or the end), where the parser could have gone on with `expected`.
pub fn explain(tokens: &[Lexeme], at: usize, expected: &[String], sink: &Sink) -> Diagnostic {
    let expects = |terminal: &str| expected.iter().any(|e| e.trim_matches('"') == terminal);
    let before = at.checked_sub(1).and_then(|b| tokens.get(b));
    let wanted = prose(expected);
    let Some(token) = tokens.get(at) else {
        let end = tokens.last().map_or(0, |t| t.end);
        if expected_only(expected, "else") {
            return no_else(sink.span(end, end));
        }
        let (span, after) = match before {
            Some(b) => (sink.span(b.start, b.end), format!(" after {}", b.token.describe())),
            None => (sink.span(0, 0), String::new()),
        };
        return Diagnostic::new(
            codes::UNEXPECTED,
            format!("this ends too early: {wanted} is expected{after}"),
            span,
            "nothing follows this",
        );
    };
    let span = sink.span(token.start, token.end);
    if let Some(d) = special(tokens, at, before, span, sink, &expects, expected) {
        return d;
    }
    let found = token.token.describe();
    let behind = before.map_or(String::new(), |b| format!(" after {}", b.token.describe()));
    let mut d =
        Diagnostic::new(codes::UNEXPECTED, format!("{found} cannot stand here"), span, format!("{wanted} is expected{behind}"));
    if let Some(help) = advice(tokens, at, &expects) {
        d = d.help(help);
    }
    d
}

/// Mistakes with a code of their own.
fn special(
    tokens: &[Lexeme],
    at: usize,
    before: Option<&Lexeme>,
    span: Span,
    sink: &Sink,
    expects: &dyn Fn(&str) -> bool,
    expected: &[String],
) -> Option<Diagnostic> {
    let token = &tokens[at];
    match &token.token {
        _ if expected_only(expected, "else") => {
            let end = before.map_or(token.start, |b| b.end);
            Some(no_else(sink.span(end, end)))
        }
        Tok::Sign if before.is_some_and(|b| b.token.ends_operand()) => Some(
            Diagnostic::new(codes::SIGN, "is this minus a sign or a difference?", span, "a space before it and none after")
                .help("to subtract, put a space on both sides: `a - b`")
                .fix("subtract", span, "- "),
        ),
        Tok::Comma | Tok::RParen | Tok::RBracket
            if before.is_some_and(|b| matches!(b.token, Tok::Like | Tok::From | Tok::Whole)) =>
        {
            before.map(|b| reserved(b, sink))
        }
        Tok::Colon if before.is_some_and(|b| b.token.word().is_some()) => before.map(|b| reserved(b, sink)),
        Tok::Assign | Tok::Arrow | Tok::Colon if expects("=>") => {
            let found = token.token.describe();
            Some(Diagnostic::new(codes::ARROW, format!("a rule or an arm has `=>`, not {found}"), span, "write `=>`").fix(
                "write `=>`",
                span,
                "=>",
            ))
        }
        Tok::FatArrow if expects("->") && !expects("=>") => {
            Some(Diagnostic::new(codes::ARROW, "the type of a result stands behind `->`, not `=>`", span, "write `->`").fix(
                "write `->`",
                span,
                "->",
            ))
        }
        Tok::Comma if !expects("NAME") && expects("STRING") || !expects("NAME") && expects("_") => Some(separator(span)),
        Tok::Comma if expects("let") => Some(separator(span)),
        word if word.word().is_some() && expects("NAME") => {
            let next = tokens.get(at + 1).map(|t| &t.token);
            let used = matches!(
                next,
                Some(Tok::Assign | Tok::Colon | Tok::Comma | Tok::RParen | Tok::RBracket | Tok::Call | Tok::Index | Tok::In)
            );
            // Where a value could stand too, a word at the start of a line more likely begins something else.
            (!expects("INT") || used && !token.first).then(|| reserved(token, sink))
        }
        _ => None,
    }
}

fn reserved(token: &Lexeme, sink: &Sink) -> Diagnostic {
    let word = token.token.word().unwrap_or_default();
    let span = sink.span(token.start, token.end);
    Diagnostic::new(codes::RESERVED, format!("`{word}` is a word of the language"), span, "it cannot be a name")
        .help(format!("choose another name, such as `{word}_`"))
}

fn separator(span: Span) -> Diagnostic {
    Diagnostic::new(codes::SEPARATOR, "no `,` is needed here", span, "remove this")
        .note("an item, a statement or a rule ends where the next one begins")
        .fix("remove the `,`", span, "")
}

fn no_else(span: Span) -> Diagnostic {
    Diagnostic::new(codes::NO_ELSE, "an `if` needs an `else`", span, "`else { .. }` is expected here")
        .note("an `if` is a value, so it must have one in both cases")
}

fn expected_only(expected: &[String], terminal: &str) -> bool {
    expected.len() == 1 && expected[0].trim_matches('"') == terminal
}

/// A remedy for common slips that have no code of their own.
fn advice(tokens: &[Lexeme], at: usize, expects: &dyn Fn(&str) -> bool) -> Option<String> {
    let token = &tokens[at].token;
    let before = at.checked_sub(1).map(|b| &tokens[b].token);
    if let Some(Tok::Str(text)) = before
        && text.matches('{').count() > text.matches('}').count()
    {
        return Some(
            "a string cannot stand inside a string: give it a name first, `let part = \"..\"`, then write `{part}`".into(),
        );
    }
    match token {
        Tok::Slash | Tok::Dot if at >= 2 && tokens[at - 2].token == Tok::To => {
            Some("a path is a string: `to \"folder/name\"`".into())
        }
        Tok::Compare(_) => Some("comparisons do not chain: write `a < b and b < c`".into()),
        Tok::Star if before == Some(&Tok::Star) => Some("there is no operator `**`: a power is `pow(x, 2)`".into()),
        Tok::Slash if before == Some(&Tok::Slash) => Some("the quotient of ints, rounded down, is `div(a, b)`".into()),
        Tok::Dot => {
            Some("there are no fields and no methods: functions are called as `f(x)`, tensors are read as `m[\"name\"]`".into())
        }
        Tok::RParen | Tok::Comma if expects(":") && matches!(before, Some(Tok::Name(_))) => {
            Some("a parameter states its type: `x: weight[..s]`".into())
        }
        Tok::Assign if expects("COMPARE") => Some("to compare, write `==`".into()),
        Tok::Assign if expects(":") => Some("named arguments and settings have `:`, as in `density: 0.5`".into()),
        Tok::LBrace if expects("->") => {
            Some("a function states the type of its result: `fn f(x: weight[..s]) -> weight[..s] { .. }`".into())
        }
        Tok::Name(_) | Tok::Int(_) | Tok::Float(..) | Tok::Str(_) if expects(",") => {
            Some("is a `,` or an operator missing before this?".into())
        }
        Tok::Arrow | Tok::FatArrow if !expects("=>") && !expects("->") => {
            Some("there are no anonymous functions; a rule starts with a pattern string or `_`".into())
        }
        _ => None,
    }
}

/// The terminals in words: `a value`, `` `,` or `)` ``.
fn prose(expected: &[String]) -> String {
    let has = |terminal: &str| expected.iter().any(|e| e.trim_matches('"') == terminal);
    let mut words: Vec<String> = Vec::new();
    let value = has("INT") && has("NAME") && has("(");
    let operators = has("+") && has("*");
    // What may follow almost every value is worth a word only where nothing else may.
    let usual = ["HOLE", "and", "or", "as", "requires", "CALL", "INDEX"];
    let only_these = expected.iter().all(|e| usual.contains(&e.trim_matches('"')));
    let statement = has("let") && has("new");
    if statement {
        words.push("a statement".into());
    }
    if value {
        words.push("a value".into());
    }
    if statement && !value && has("STRING") {
        words.push("a rule".into());
    }
    for e in expected {
        let word = match e.trim_matches('"') {
            "HOLE" | "and" | "or" | "as" | "requires" | "CALL" | "INDEX" if !only_these => continue,
            "NAME" if value => continue,
            "NAME" => "a name".into(),
            "STRING" if value || statement => continue,
            "STRING" => "a string".into(),
            "INT" if value => continue,
            "INT" => "a number".into(),
            "_" if statement => continue,
            "let" | "new" | "choose" if statement => continue,
            "FLOAT" | "SIZE" | "SIGN" | "true" | "false" | "[" | "(" | "{" | "like" | "from" | "if" | "fold" | "not"
            | "whole" | "choose"
                if value =>
            {
                continue;
            }
            "+" | "-" | "*" | "/" | "@" | "++" | "COMPARE" | "and" | "or" | ".." | "..=" | "CALL" | "INDEX" | "as"
                if operators =>
            {
                continue;
            }
            "for" | "if" if operators && has(",") => continue,
            "CALL" => "`(` that touches the name".into(),
            "INDEX" => "`[` that touches what stands before".into(),
            "COMPARE" => "a comparison".into(),
            "SIGN" => "`-`".into(),
            "FLOAT" | "SIZE" => continue,
            other => format!("`{other}`"),
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    if words.is_empty() {
        return if operators { "an operator or the end of this item".into() } else { "the end of this item".into() };
    }
    words.truncate(6);
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
