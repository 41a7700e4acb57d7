//! Puts the brackets of one item in order, so that the parser sees every bracket closed.
//!
//! A missing bracket is put in where it most likely belongs, at the end of the line for a round or a square
//! one, and one that closes nothing is left out; each is reported. Here too the depth of an item is limited,
//! since every later stage follows its tree by recursion.

use crate::codes;
use crate::sink::Sink;
use crate::token::{Bracket, Lexeme, Tok};
use merge_base::Diagnostic;

/// How deep brackets, operators and branches may nest.
pub const MAX_DEPTH: usize = 256;

/// The tokens with all brackets matching.
pub fn repair(tokens: &[Lexeme], sink: &mut Sink) -> Vec<Lexeme> {
    let mut out: Vec<Lexeme> = Vec::with_capacity(tokens.len());
    // Places in `out` of the brackets that are open.
    let mut open: Vec<(usize, Bracket)> = Vec::new();
    for at in 0..tokens.len() {
        let mut token = tokens[at].clone();
        if token.first && begins_part(&tokens[at..]) {
            while let Some((opener, kind)) = open.pop_if(|(_, k)| *k != Bracket::Curly) {
                close(&mut out, opener, kind, None, sink);
            }
        }
        if let Some(kind) = token.token.opens() {
            open.push((out.len(), kind));
        } else if let Some(kind) = token.token.closes() {
            match open.iter().rposition(|(_, k)| *k == kind) {
                Some(at) => {
                    let below = open.split_off(at + 1);
                    for (opener, kind) in below.into_iter().rev() {
                        close(&mut out, opener, kind, Some(&token), sink);
                    }
                    open.pop();
                }
                None => {
                    let wrong = open.last().copied().filter(|(_, k)| *k != Bracket::Curly && kind != Bracket::Curly);
                    let span = sink.span(token.start, token.end);
                    let Some((opener, other)) = wrong else {
                        let message = format!("this `{}` closes nothing", kind.close());
                        let d = Diagnostic::new(codes::MISMATCHED, message, span, "no bracket is open here");
                        sink.unless_broken(token.line, d.fix("remove it", span, ""));
                        continue;
                    };
                    let from = sink.span(out[opener].start, out[opener].end);
                    let message = format!("a `{}` is closed by `{}`", other.open(), kind.close());
                    let d = Diagnostic::new(codes::MISMATCHED, message, span, format!("`{}` is expected", other.close()))
                        .label(from, "opened here")
                        .fix(format!("write `{}`", other.close()), span, other.close().to_string());
                    sink.unless_broken(token.line, d);
                    token.token = other.closer();
                    open.pop();
                }
            }
        }
        out.push(token);
    }
    for (opener, kind) in open.into_iter().rev() {
        close(&mut out, opener, kind, None, sink);
    }
    out
}

/// Whether a line with these tokens begins a statement, a rule or an arm, so that no round or square bracket can
/// be open before it.
fn begins_part(tokens: &[Lexeme]) -> bool {
    match tokens[0].token {
        Tok::Let | Tok::New => true,
        Tok::Str(_) | Tok::Underscore | Tok::Name(_) => {
            let mut depth = 0usize;
            for token in tokens.iter().take_while(|t| t.line == tokens[0].line) {
                if token.token.opens().is_some() {
                    depth += 1;
                } else if token.token.closes().is_some() {
                    let Some(outer) = depth.checked_sub(1) else { return false };
                    depth = outer;
                } else if token.token == Tok::FatArrow && depth == 0 {
                    return true;
                } else if token.token == Tok::Choose {
                    return false;
                }
            }
            false
        }
        _ => false,
    }
}

/// Reports the bracket at `opener` as unclosed and closes it in `out`.
fn close(out: &mut Vec<Lexeme>, opener: usize, kind: Bracket, before: Option<&Lexeme>, sink: &mut Sink) {
    let at = end_of_unclosed(out, opener, kind, before);
    let after = &out[at - 1];
    let bracket = Lexeme {
        token: kind.closer(),
        start: after.end,
        end: after.end,
        line: after.line,
        first: false,
        margin: false,
        docs: String::new(),
    };
    let start = &out[opener];
    let (span, here) = (sink.span(start.start, start.end), sink.span(bracket.start, bracket.end));
    let message = format!("this `{}` is never closed", kind.open());
    let mut d = Diagnostic::new(codes::UNCLOSED, message, span, "opened here");
    if kind == Bracket::Curly {
        d = d.note("the item ends before it is closed");
    } else {
        d = d.label(here, format!("a `{}` may be missing here", kind.close())).fix("close it", here, kind.close().to_string());
    }
    let line = start.line;
    if !sink.is_broken(line) {
        sink.broken(line, d);
        sink.mark(bracket.line);
    }
    out.insert(at, bracket);
}

/// Where an unclosed bracket most likely ends: a brace at the end, others behind the first line that looks complete.
fn end_of_unclosed(out: &[Lexeme], opener: usize, kind: Bracket, before: Option<&Lexeme>) -> usize {
    if kind == Bracket::Curly || before.is_some_and(|b| b.line == out[opener].line) {
        return out.len();
    }
    let mut depth = 0usize;
    for at in opener + 1..out.len() {
        let (token, previous) = (&out[at], &out[at - 1]);
        if depth == 0 && matches!(token.token, Tok::Arrow | Tok::To | Tok::Requires) {
            return at;
        }
        if depth == 0 && token.line != previous.line && previous.token.ends_operand() && !token.token.continues_operand() {
            return at;
        }
        if token.token.opens().is_some() {
            depth += 1;
        } else if token.token.closes().is_some() {
            depth = depth.saturating_sub(1);
        }
    }
    out.len()
}

/// Whether the tree of these tokens, whose brackets match, stays within [`MAX_DEPTH`]. What each open bracket
/// adds is counted from above: itself and the operators since the last separator. Reports where it does not.
pub fn shallow(tokens: &[Lexeme], sink: &mut Sink) -> bool {
    // Depth outside each open bracket, and before the current chain.
    let mut outer: Vec<(usize, usize)> = Vec::new();
    let (mut base, mut depth) = (0usize, 0usize);
    for (at, token) in tokens.iter().enumerate() {
        let goes_on =
            token.token.continues_operand() || matches!(token.token, Tok::Else | Tok::Until | Tok::Requires | Tok::Sign);
        if token.first && !goes_on && at > 0 && tokens[at - 1].token.ends_operand() {
            depth = base;
        }
        match &token.token {
            t if t.opens().is_some() => {
                // A call or index deepens the chain it stands in; what is in the bracket is deeper still.
                depth += 1;
                outer.push((base, depth));
                base = depth;
            }
            t if t.closes().is_some() => {
                if let Some((b, d)) = outer.pop() {
                    (base, depth) = (b, d);
                }
            }
            Tok::Comma | Tok::Let | Tok::New | Tok::FatArrow | Tok::Colon => depth = base,
            Tok::Plus | Tok::Minus | Tok::Star | Tok::Slash | Tok::At | Tok::Join | Tok::Sign | Tok::Compare(_) => depth += 1,
            Tok::And | Tok::Or | Tok::Not | Tok::Else | Tok::Choose | Tok::Like | Tok::From | Tok::Whole | Tok::As => depth += 1,
            Tok::If | Tok::Fold | Tok::DotDot | Tok::DotDotEq => depth += 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            let d = Diagnostic::new(
                codes::TOO_DEEP,
                format!("this is nested more than {MAX_DEPTH} levels deep"),
                sink.span(token.start, token.end),
                "too deep from here",
            )
            .note("brackets, operators in a row and branches count as levels")
            .help("give parts of it a name with `let`, or add up a list with `sum([..])`");
            sink.broken(token.line, d);
            return false;
        }
    }
    true
}
