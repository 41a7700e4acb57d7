//! From the tokens of a file to those of its items.
//!
//! Each item is parsed on its own, so that a mistake in one never eats the next. An item begins at a
//! top-level word outside brackets. Where the brackets of the file do not match, an item word in the first
//! column begins an item too, whatever is open before it.

use crate::token::{Lexeme, Tok};

/// The tokens of one item.
pub struct Chunk {
    pub tokens: Vec<Lexeme>,
    /// Whether it starts with a word that starts an item.
    pub item: bool,
}

/// Splits `tokens` before each item.
pub fn split(mut tokens: Vec<Lexeme>) -> Vec<Chunk> {
    let matched = brackets_match(&tokens);
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut depth = 0i64;
    for at in 0..tokens.len() {
        let open = depth > 0 && (matched || !tokens[at].margin);
        let previous = at.checked_sub(1).map(|p| &tokens[p]);
        let starts = !open && starts_item(&tokens[at], previous, tokens.get(at + 1));
        // A name that starts a line behind a complete item can only be the start of something broken.
        let strays = !open && !starts && chunks.last().is_none_or(|c| c.item) && strays(&tokens[at], previous);
        if starts || strays {
            depth = 0;
            chunks.push(Chunk { tokens: Vec::new(), item: starts });
        }
        let token = &mut tokens[at];
        if starts && matches!(token.token, Tok::Name(_)) {
            token.token = Tok::Test;
        }
        if token.token.opens().is_some() {
            depth += 1;
        } else if token.token.closes().is_some() {
            depth = (depth - 1).max(0);
        }
        let token = token.clone();
        match chunks.last_mut() {
            Some(chunk) => chunk.tokens.push(token),
            None => chunks.push(Chunk { tokens: vec![token], item: false }),
        }
    }
    chunks
}

/// Whether `token` begins an item, brackets aside.
fn starts_item(token: &Lexeme, previous: Option<&Lexeme>, next: Option<&Lexeme>) -> bool {
    let operand_wanted = previous.is_some_and(|p| wants_operand(&p.token));
    match &token.token {
        Tok::Use | Tok::Let | Tok::Fn | Tok::Save | Tok::Search => true,
        // A decision may stand wherever a value may.
        Tok::Choose => token.margin || !operand_wanted,
        Tok::Name(name) => name == "test" && !operand_wanted && next.is_some_and(|n| matches!(n.token, Tok::Str(_))),
        _ => false,
    }
}

/// Whether `token` can belong to nothing before it.
fn strays(token: &Lexeme, previous: Option<&Lexeme>) -> bool {
    let operand = matches!(token.token, Tok::Name(_) | Tok::Int(_) | Tok::Float(..) | Tok::Size(_) | Tok::Str(_));
    operand && token.first && previous.is_none_or(|p| p.token.ends_operand())
}

/// Whether a value must follow `token`.
fn wants_operand(token: &Tok) -> bool {
    match token {
        Tok::Save | Tok::Like | Tok::From | Tok::Whole | Tok::In | Tok::If | Tok::Until | Tok::Per | Tok::Requires => true,
        Tok::To | Tok::And | Tok::Or | Tok::Not | Tok::Sign | Tok::Minus | Tok::Plus | Tok::Join | Tok::Star => true,
        Tok::Slash | Tok::At | Tok::Compare(_) | Tok::Assign | Tok::FatArrow | Tok::DotDot | Tok::DotDotEq => true,
        _ => token.opens().is_some(),
    }
}

fn brackets_match(tokens: &[Lexeme]) -> bool {
    let mut open = Vec::new();
    for token in tokens {
        if let Some(kind) = token.token.opens() {
            open.push(kind);
        } else if let Some(kind) = token.token.closes()
            && open.pop() != Some(kind)
        {
            return false;
        }
    }
    open.is_empty()
}
