//! The surface syntax of Merge: lexer, parser, AST and printer.
//!
//! The first stage of the compiler: [`parse`] turns the text of a file into [`ast::File`], and [`print`] turns
//! a tree back into text. A text is read in four steps: `lexer` makes tokens, `split` deals them out to
//! items, `brackets` sees to it that brackets match, and the LALR parser of `merge.lalrpop` builds the tree.
//!
//! Invariants: no text makes it panic; each `Error` node of a tree has a diagnostic; a line has at most one
//! fault of the syntax reported; a tree is at most a few hundred levels deep, so later stages may follow it by
//! recursion; printing a tree and parsing the text gives the same tree but for spans.
//!
//! Not here: names, patterns and holes inside strings (`sema`, which calls [`parse_expr`] for the holes);
//! reading files.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod actions;
pub mod ast;
mod brackets;
pub mod codes;
mod errors;
mod layout;
mod lexer;
mod parser;
mod printer;
mod sink;
mod split;
mod token;

#[allow(clippy::all, clippy::pedantic, unused, unreachable_pub)]
mod grammar {
    lalrpop_util::lalrpop_mod!(inner, "/merge.rs");
    pub use inner::RootParser;
}

pub use brackets::MAX_DEPTH;
pub use parser::{parse, parse_expr};
pub use printer::print;
pub use token::reserved_words;
