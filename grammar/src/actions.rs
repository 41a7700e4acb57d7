//! What the grammar's actions need: spans from token indices, doc comments, and the parts of a tree that are
//! told apart only when they are complete.

use crate::ast::*;
use crate::codes;
use crate::errors;
use crate::sink::Sink;
use crate::token::{Lexeme, Tok};
use lalrpop_util::{ErrorRecovery, ParseError};
use merge_base::{Diagnostic, Span};
use std::cell::RefCell;

/// What one run of the parser gives.
#[allow(clippy::large_enum_variant)] // Lives for one step of the parser.
pub enum Root {
    Item(Item),
    Expr(Expr),
}

/// One part of a block.
#[allow(clippy::large_enum_variant)] // Lives for one step of the parser.
pub enum Element {
    Stmt(Stmt),
    Value(Expr),
}

/// One part of a model literal.
pub enum Part {
    Stmt(Stmt),
    Rule(Rule),
}

/// First and last place of an operator.
pub struct Tok2(pub usize, pub usize);

/// The tokens being parsed, and where findings go.
pub struct Context<'a> {
    tokens: &'a [Lexeme],
    sink: RefCell<&'a mut Sink>,
    ends: Vec<usize>,
    /// Errors up to this token echo an earlier one: it lies in brackets that the parser has left.
    echo: RefCell<usize>,
}

impl<'a> Context<'a> {
    /// A context for one item.
    pub fn new(tokens: &'a [Lexeme], sink: &'a mut Sink) -> Context<'a> {
        Context { tokens, sink: RefCell::new(sink), ends: ends_of_brackets(tokens), echo: RefCell::new(0) }
    }

    /// The place of tokens `left..right`; of nothing, the place before token `left`.
    pub fn span(&self, left: usize, right: usize) -> Span {
        let sink = self.sink.borrow();
        let Some(last) = self.tokens.len().checked_sub(1) else { return sink.span(0, 0) };
        let start = self.tokens[left.min(last)].start;
        if right <= left {
            return sink.span(start, start);
        }
        sink.span(start, self.tokens[(right - 1).min(last)].end.max(start))
    }

    /// The doc comment before token `left`.
    pub fn docs(&self, left: usize) -> String {
        self.tokens.get(left).map_or_else(String::new, |t| t.docs.clone())
    }

    pub fn expr(&self, left: usize, kind: ExprKind, right: usize) -> Expr {
        Expr { kind, span: self.span(left, right) }
    }

    /// An expression that could not be parsed.
    pub fn error(&self, left: usize, right: usize) -> Expr {
        self.expr(left, ExprKind::Error, right)
    }

    pub fn binary(&self, left: Expr, op: BinaryOp, at: Tok2, right: Expr) -> Expr {
        let span = left.span.to(right.span);
        let op_span = self.span(at.0, at.1);
        Expr { kind: ExprKind::Binary { op, op_span, left: Box::new(left), right: Box::new(right) }, span }
    }

    pub fn range(&self, left: usize, start: Option<Expr>, end: Option<Expr>, inclusive: bool, right: usize) -> Expr {
        let kind = ExprKind::Range { start: start.map(Box::new), end: end.map(Box::new), inclusive };
        self.expr(left, kind, right)
    }

    /// A named tensor that could not be parsed.
    pub fn error_entry(&self, left: usize, right: usize) -> Entry {
        let span = self.span(left, right);
        Entry { name: Str { text: String::new(), span }, value: self.error(left, right), clauses: Vec::new(), span }
    }

    /// A rule that could not be parsed.
    pub fn error_rule(&self, left: usize, right: usize) -> Part {
        let span = self.span(left, right);
        Part::Rule(Rule { lhs: Lhs::Error(span), value: self.error(left, right), span })
    }

    /// Sorts the parts of a block into statements and what it gives.
    pub fn block(&self, left: usize, elements: Vec<Element>, entries: Vec<Entry>, right: usize) -> Block {
        let span = self.span(left, right);
        let broken = elements.iter().any(|e| matches!(e, Element::Stmt(Stmt::Error(_))));
        let mut stmts = Vec::new();
        let mut value: Option<Expr> = None;
        // Values behind an error, up to the next statement, may be scraps of something larger.
        let mut ended_broken = false;
        for element in elements {
            if let Some(unused) = value.take() {
                self.not_last(unused, &mut stmts, ended_broken);
            }
            match element {
                Element::Stmt(stmt) => {
                    ended_broken = matches!(stmt, Stmt::Error(_));
                    stmts.push(stmt);
                }
                Element::Value(v) => value = Some(v),
            }
        }
        let tail = match value {
            Some(v) if ended_broken => Tail::Error(v.span),
            Some(v) if entries.is_empty() => Tail::Value(Box::new(v)),
            other => {
                if let Some(unused) = other {
                    self.not_last(unused, &mut stmts, ended_broken);
                }
                if stmts.is_empty() || !entries.is_empty() {
                    Tail::Entries(entries)
                } else {
                    if !broken {
                        self.no_value(&stmts, right);
                        // Marks the block as incomplete, so that nobody wonders why its names are not used.
                        stmts.push(Stmt::Error(span));
                    }
                    Tail::Error(span)
                }
            }
        };
        Block { stmts, tail, span }
    }

    /// A value that is not the last thing in its block: a decision binds its name, anything else is lost.
    fn not_last(&self, value: Expr, stmts: &mut Vec<Stmt>, scrap: bool) {
        match value.kind {
            ExprKind::Choose(choose) => stmts.push(Stmt::Choose(*choose)),
            _ => {
                if !scrap {
                    let mut sink = self.sink.borrow_mut();
                    let line = self.line_of(value.span, &sink);
                    let d = Diagnostic::new(
                        codes::UNUSED_VALUE,
                        "this value is not used",
                        value.span,
                        "something else follows in this block",
                    )
                    .note("a block gives its last value, or the tensors that are named at its end")
                    .help(match &value.kind {
                        ExprKind::Name(name) if name == "return" => "the last value needs no word before it: remove `return`",
                        _ => "give it a name with `let`, or remove it",
                    });
                    sink.unless_broken(line, d);
                }
                stmts.push(Stmt::Error(value.span));
            }
        }
    }

    fn no_value(&self, stmts: &[Stmt], right: usize) {
        let span = self.span(right.saturating_sub(1), right);
        let mut d = Diagnostic::new(codes::NO_VALUE, "this block gives no value", span, "a value is expected before this");
        d = match stmts.last() {
            Some(Stmt::Let(Let { pattern: Binding::Name(name), .. })) => {
                d.help(format!("end the block with what it gives, such as `{}`", name.text))
            }
            _ => d.help("end the block with what it gives"),
        };
        let mut sink = self.sink.borrow_mut();
        let line = self.line_of(span, &sink);
        sink.unless_broken(line, d);
    }

    fn line_of(&self, span: Span, sink: &Sink) -> u32 {
        let at = self.tokens.partition_point(|t| sink.span(t.start, t.end).start < span.start);
        self.tokens.get(at).map_or(0, |t| t.line)
    }

    /// Sorts the parts of a model literal.
    pub fn model(&self, left: usize, kind: ModelKind, of: Expr, parts: Vec<Part>, right: usize) -> Expr {
        let (mut stmts, mut rules) = (Vec::new(), Vec::new());
        for part in parts {
            match part {
                Part::Rule(rule) => rules.push(rule),
                Part::Stmt(stmt) => {
                    let span = stmt_span(&stmt);
                    if !rules.is_empty() {
                        let d = Diagnostic::new(
                            codes::STATEMENT_AFTER_RULE,
                            "statements come before the rules",
                            span,
                            "a rule comes before this",
                        )
                        .note("a statement of a model holds for all of its rules")
                        .help("move it up to the start of the model, or into braces behind the `=>` of the rule that needs it");
                        let mut sink = self.sink.borrow_mut();
                        let line = self.line_of(span, &sink);
                        sink.unless_broken(line, d);
                    }
                    stmts.push(stmt);
                }
            }
        }
        let span = self.span(left, right);
        Expr { kind: ExprKind::Model(Model { kind, of: Box::new(of), stmts, rules, span }), span }
    }

    /// Reports an error from which the parser went on.
    pub fn recover(&self, recovery: ErrorRecovery<usize, Tok, ()>) {
        self.report(recovery.error);
    }

    /// Reports an error of the parser, unless it echoes an earlier one.
    pub fn report(&self, error: ParseError<usize, Tok, ()>) {
        let (at, expected) = match error {
            ParseError::UnrecognizedToken { token, expected } => (token.0, expected),
            ParseError::UnrecognizedEof { expected, .. } => (self.tokens.len(), expected),
            ParseError::ExtraToken { token } => (token.0, Vec::new()),
            ParseError::InvalidToken { location } => (location, Vec::new()),
            ParseError::User { error: () } => return,
        };
        let mut sink = self.sink.borrow_mut();
        let line = match self.tokens.get(at).or(self.tokens.last()) {
            Some(token) => token.line,
            None => 0,
        };
        let before = at.checked_sub(1).and_then(|b| self.tokens.get(b));
        let echo = at < *self.echo.borrow()
            || sink.is_broken(line)
            || (self.tokens.get(at).is_some_and(|t| t.first) && before.is_some_and(|b| sink.is_broken(b.line)));
        let end = self.ends.get(at).copied().unwrap_or(at);
        let mut until = self.echo.borrow_mut();
        *until = (*until).max(end);
        if echo {
            sink.mark(line);
        } else {
            let d = errors::explain(self.tokens, at, &expected, &sink);
            sink.broken(line, d);
        }
    }
}

/// For each token the end of the outermost round or square brackets around it that lie in the same braces; for a
/// token in none, itself. The brackets match.
fn ends_of_brackets(tokens: &[Lexeme]) -> Vec<usize> {
    // The outermost opening bracket per token, and the end per opening bracket.
    let mut outermost: Vec<Option<usize>> = Vec::with_capacity(tokens.len());
    let mut end = vec![0; tokens.len()];
    let mut open: Vec<(usize, Option<usize>)> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let current = open.last().and_then(|(_, o)| *o);
        outermost.push(current);
        if token.token == Tok::LBrace {
            open.push((at, None));
        } else if token.token.opens().is_some() {
            open.push((at, Some(current.unwrap_or(at))));
        } else if token.token.closes().is_some()
            && let Some((opener, _)) = open.pop()
        {
            end[opener] = at + 1;
        }
    }
    outermost.into_iter().enumerate().map(|(at, o)| o.map_or(at, |o| end[o].max(at))).collect()
}

/// Where a statement stands.
fn stmt_span(stmt: &Stmt) -> Span {
    match stmt {
        Stmt::Let(s) => s.span,
        Stmt::Choose(s) => s.span,
        Stmt::New(s) => s.span,
        Stmt::Error(span) => *span,
    }
}
