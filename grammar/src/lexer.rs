//! From text to tokens.
//!
//! The lexer is total: whatever it cannot read becomes a diagnostic and is left out or replaced by what was
//! meant, so that the parser always has tokens to work on. It also decides what needs the space around a
//! token: brackets that touch a name call or index it, and a minus may be a sign.

use crate::ast::BinaryOp;
use crate::codes;
use crate::sink::Sink;
use crate::token::{Lexeme, RESERVED, Tok};
use logos::Logos;
use merge_base::Diagnostic;

/// What logos tells apart; the rest is decided from the text.
#[derive(Logos, Clone, Copy, Debug, PartialEq)]
#[logos(skip r"[ \t\r\f\n\u{feff}]+")]
enum Raw {
    #[regex(r"///[^\n]*", allow_greedy = true)]
    Doc,
    #[regex(r"//![^\n]*", allow_greedy = true)]
    FileDoc,
    #[regex(r"//([^/!\n][^\n]*)?", allow_greedy = true)]
    Comment,
    #[regex(r"////[^\n]*", priority = 20, allow_greedy = true)]
    Rule,
    #[regex(r"#[^\n]*", allow_greedy = true)]
    Hash,
    #[token("/*", block_comment)]
    BlockComment,
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*")]
    Word,
    #[regex(r"[0-9]([0-9A-Za-z_]|[eE][+-][0-9])*(\.[0-9]([0-9A-Za-z_]|[eE][+-][0-9])*)?")]
    Number,
    #[regex(r#""([^"\\\n]|\\[^\n])*""#)]
    Str,
    #[regex(r#""([^"\\\n]|\\[^\n])*\\?"#)]
    OpenStr,
    #[regex(r"'[^'\n]*'")]
    SingleQuoted,
    #[token("(")]
    LParen,
    #[token(")")]
    RParen,
    #[token("[")]
    LBracket,
    #[token("]")]
    RBracket,
    #[token("{")]
    LBrace,
    #[token("}")]
    RBrace,
    #[token("->")]
    Arrow,
    #[token("=>")]
    FatArrow,
    #[token("==")]
    Eq,
    #[token("!=")]
    Ne,
    #[token("<=")]
    Le,
    #[token(">=")]
    Ge,
    #[token("<")]
    Lt,
    #[token(">")]
    Gt,
    #[token("=")]
    Assign,
    #[token("++")]
    Join,
    #[token("+")]
    Plus,
    #[token("-")]
    Minus,
    #[token("*")]
    Star,
    #[token("/")]
    Slash,
    #[token("@")]
    At,
    #[token("..=")]
    DotDotEq,
    #[token("..")]
    DotDot,
    #[token(".")]
    Dot,
    #[token(",")]
    Comma,
    #[token(":")]
    Colon,
    #[token("?")]
    Question,
    #[token(";")]
    Semicolon,
    #[regex(r"&&?")]
    ForeignAnd,
    #[regex(r"\|\|?")]
    ForeignOr,
    #[token("!")]
    ForeignNot,
    #[token("%")]
    ForeignMod,
    #[token("^")]
    #[token("**")]
    ForeignPower,
    #[regex(r"\+=|-=|\*=|/=|:=")]
    ForeignAssign,
}

/// Takes a `/* … */` comment to its end, or to the end of the text.
fn block_comment(lexer: &mut logos::Lexer<'_, Raw>) {
    let rest = lexer.remainder();
    lexer.bump(rest.find("*/").map_or(rest.len(), |at| at + 2));
}

/// The tokens of a text and its `//!` comment.
pub struct Lexed {
    pub tokens: Vec<Lexeme>,
    pub docs: String,
}

/// Reads all tokens of `text`. Findings go to `sink`.
pub fn lex(text: &str, sink: &mut Sink) -> Lexed {
    let mut reader = Reader { text, sink, tokens: Vec::new(), docs: Vec::new(), line: 0, counted: 0, bad: None };
    let mut file_docs: Vec<&str> = Vec::new();
    let mut lexer = Raw::lexer(text);
    while let Some(raw) = lexer.next() {
        let span = lexer.span();
        match raw {
            Ok(Raw::FileDoc) if reader.tokens.is_empty() => file_docs.push(doc_text(&text[span])),
            Ok(raw) => reader.read(raw, span.start, span.end),
            Err(()) => reader.bad(span.start, span.end),
        }
    }
    reader.flush_bad();
    Lexed { tokens: reader.tokens, docs: file_docs.join("\n") }
}

/// The text of a doc comment line, without its sign and one space.
fn doc_text(line: &str) -> &str {
    let text = line[3..].trim_end();
    text.strip_prefix(' ').unwrap_or(text)
}

struct Reader<'a, 's> {
    text: &'a str,
    sink: &'s mut Sink,
    tokens: Vec<Lexeme>,
    /// Doc comment lines since the last token.
    docs: Vec<&'a str>,
    /// Line of byte `counted`.
    line: u32,
    counted: usize,
    /// A run of characters that mean nothing.
    bad: Option<(usize, usize)>,
}

impl Reader<'_, '_> {
    fn line_of(&mut self, at: usize) -> u32 {
        let newlines = self.text.as_bytes()[self.counted..at].iter().filter(|b| **b == b'\n').count();
        self.line += newlines as u32;
        self.counted = at;
        self.line
    }

    /// Remembers characters that mean nothing; neighbours make one diagnostic.
    fn bad(&mut self, start: usize, end: usize) {
        match &mut self.bad {
            Some((_, to)) if *to == start => *to = end,
            _ => {
                self.flush_bad();
                self.bad = Some((start, end));
            }
        }
    }

    fn flush_bad(&mut self) {
        let Some((start, end)) = self.bad.take() else { return };
        let line = self.line_of(start);
        let found: String = self.text[start..end].chars().take(20).collect();
        let span = self.sink.span(start, end);
        let printed = found.escape_debug().to_string();
        let mut d = Diagnostic::new(codes::BAD_CHARACTER, format!("`{printed}` means nothing in Merge"), span, "not a token");
        let first = found.chars().next().unwrap_or(' ');
        d = match first {
            '“' | '”' | '„' | '‘' | '’' | '`' | '\'' => {
                d.help("strings stand in straight double quotes: \"model.norm.weight\"")
            }
            '–' | '—' | '−' => d.help("a minus is the plain `-`").fix("write `-`", span, "-"),
            '×' | '·' => d.help("a product is `*`").fix("write `*`", span, "*"),
            '≤' | '≥' | '≠' => d.help("comparisons are `<`, `<=`, `>`, `>=`, `==` and `!=`"),
            '→' | '⇒' => d.help("the arrow of a rule is `=>`, that of a function's result `->`"),
            c if c.is_alphabetic() => d.help("names are made of the letters a to z, A to Z, digits and `_`"),
            c if c.is_whitespace() || c.is_control() => d.help("remove this invisible character").fix("remove it", span, ""),
            _ => d.help("remove it, or put it into a string"),
        };
        self.sink.broken(line, d);
    }

    fn push(&mut self, token: Tok, start: usize, end: usize) {
        let line = self.line_of(start);
        let first = self.tokens.last().is_none_or(|t| t.line != line);
        let margin = start == 0 || self.text.as_bytes()[start - 1] == b'\n';
        let docs = if self.docs.is_empty() { String::new() } else { std::mem::take(&mut self.docs).join("\n") };
        self.tokens.push(Lexeme { token, start, end, line, first, margin, docs });
    }

    fn read(&mut self, raw: Raw, start: usize, end: usize) {
        self.flush_bad();
        let slice = &self.text[start..end];
        let span = self.sink.span(start, end);
        let token = match raw {
            Raw::Doc => return self.docs.push(doc_text(slice)),
            Raw::FileDoc | Raw::Comment | Raw::Rule => return,
            Raw::Hash => {
                let d = Diagnostic::new(codes::FOREIGN_COMMENT, "comments start with `//`", span, "`#` does not start a comment")
                    .fix("write `//`", self.sink.span(start, start + 1), "//");
                return self.sink.mended(d);
            }
            Raw::BlockComment => {
                let d =
                    Diagnostic::new(codes::FOREIGN_COMMENT, "comments start with `//`", span, "there are no `/* */` comments")
                        .help("begin each line of the comment with `//`");
                return self.sink.mended(d);
            }
            Raw::Semicolon => {
                let d = Diagnostic::new(codes::SEPARATOR, "no `;` is needed here", span, "remove this")
                    .note("an item, a statement or a rule ends where the next one begins")
                    .fix("remove the `;`", span, "");
                return self.sink.mended(d);
            }
            Raw::ForeignAnd => self.foreign(start, end, "and", Tok::And),
            Raw::ForeignOr => self.foreign(start, end, "or", Tok::Or),
            Raw::ForeignNot => self.foreign(start, end, "not", Tok::Not),
            Raw::ForeignMod => {
                let d = Diagnostic::new(codes::FOREIGN_OPERATOR, "there is no operator `%`", span, "not an operator")
                    .help("the remainder is a function: `mod(a, b)`");
                let line = self.line_of(start);
                self.sink.broken(line, d);
                Tok::Slash
            }
            Raw::ForeignPower => {
                let d =
                    Diagnostic::new(codes::FOREIGN_OPERATOR, format!("there is no operator `{slice}`"), span, "not an operator")
                        .help("a power is a function: `pow(x, 2)`; a square is also `x * x`");
                let line = self.line_of(start);
                self.sink.broken(line, d);
                Tok::Star
            }
            Raw::ForeignAssign => {
                let d =
                    Diagnostic::new(codes::FOREIGN_OPERATOR, format!("there is no operator `{slice}`"), span, "not an operator")
                        .note("nothing is ever changed in Merge: a name keeps its value")
                        .help("bind a new name with `let name = value`, or loop with `fold`");
                let line = self.line_of(start);
                self.sink.broken(line, d);
                Tok::Assign
            }
            Raw::Word if slice == "_" => Tok::Underscore,
            Raw::Word => match RESERVED.iter().find(|(word, _)| *word == slice) {
                Some((_, token)) => token.clone(),
                None => Tok::Name(slice.to_owned()),
            },
            Raw::Number => self.number(start, end),
            Raw::Str => Tok::Str(self.unescape(start + 1, end - 1)),
            Raw::OpenStr => {
                let d = Diagnostic::new(codes::UNTERMINATED_STRING, "this string has no closing quote", span, "starts here")
                    .note("a string ends on the line it starts on");
                let line = self.line_of(start);
                self.sink.broken(line, d);
                Tok::Str(slice[1..].trim_end().to_owned())
            }
            Raw::SingleQuoted => {
                let inner = &slice[1..slice.len() - 1];
                let d =
                    Diagnostic::new(codes::BAD_CHARACTER, "strings stand in double quotes", span, "single quotes mean nothing")
                        .fix("use double quotes", span, format!("\"{}\"", inner.replace('"', "\\\"")));
                self.sink.mended(d);
                Tok::Str(inner.to_owned())
            }
            Raw::LParen => self.bracket(start, end, Tok::LParen, Tok::Call),
            Raw::LBracket => self.bracket(start, end, Tok::LBracket, Tok::Index),
            Raw::Minus => self.minus(start, end),
            Raw::RParen => Tok::RParen,
            Raw::RBracket => Tok::RBracket,
            Raw::LBrace => Tok::LBrace,
            Raw::RBrace => Tok::RBrace,
            Raw::Arrow => Tok::Arrow,
            Raw::FatArrow => Tok::FatArrow,
            Raw::Eq => Tok::Compare(BinaryOp::Eq),
            Raw::Ne => Tok::Compare(BinaryOp::Ne),
            Raw::Le => Tok::Compare(BinaryOp::Le),
            Raw::Ge => Tok::Compare(BinaryOp::Ge),
            Raw::Lt => Tok::Compare(BinaryOp::Lt),
            Raw::Gt => Tok::Compare(BinaryOp::Gt),
            Raw::Assign => Tok::Assign,
            Raw::Join => Tok::Join,
            Raw::Plus => Tok::Plus,
            Raw::Star => Tok::Star,
            Raw::Slash => Tok::Slash,
            Raw::At => Tok::At,
            Raw::DotDotEq => Tok::DotDotEq,
            Raw::DotDot => Tok::DotDot,
            Raw::Dot => Tok::Dot,
            Raw::Comma => Tok::Comma,
            Raw::Colon => Tok::Colon,
            Raw::Question => Tok::Question,
        };
        self.push(token, start, end);
    }

    /// Reports a sign for which Merge has a word, and reads it as that word.
    fn foreign(&mut self, start: usize, end: usize, word: &str, token: Tok) -> Tok {
        let found = &self.text[start..end];
        let span = self.sink.span(start, end);
        let d =
            Diagnostic::new(codes::FOREIGN_OPERATOR, format!("there is no operator `{found}`"), span, format!("write `{word}`"))
                .fix(format!("write `{word}`"), span, format!(" {word} "));
        let line = self.line_of(start);
        self.sink.unless_broken(line, d);
        token
    }

    /// A bracket calls or indexes what it touches. With a space between it is most likely a slip, because what
    /// would follow on the same line without an operator is rare.
    fn bracket(&mut self, start: usize, end: usize, alone: Tok, touching: Tok) -> Tok {
        let line = self.line_of(start);
        let Some(before) = self.tokens.last().filter(|t| t.token.takes_bracket()) else { return alone };
        if before.end == start {
            return touching;
        }
        if before.line != line || self.text[before.end..start].contains(|c: char| !c.is_whitespace()) {
            return alone;
        }
        let sign = &self.text[start..end];
        let does = if sign == "(" { "calls" } else { "indexes" };
        let (space, this) = (self.sink.span(before.end, start), self.sink.span(start, end));
        let d = Diagnostic::new(
            codes::SPACE_BEFORE_BRACKET,
            format!("a `{sign}` that {does} something touches it"),
            this,
            "there is a space before this",
        )
        .help("remove the space, or start a new line if this is a value of its own")
        .fix("remove the space", space, "");
        self.sink.mended(d);
        touching
    }

    /// A minus behind an operand subtracts; anywhere else it is a sign. `a -b` could be either, so it is neither.
    fn minus(&mut self, start: usize, end: usize) -> Tok {
        let line = self.line_of(start);
        let Some(before) = self.tokens.last().filter(|t| t.token.ends_operand()) else { return Tok::Sign };
        let space_before = before.end < start;
        let space_after = self.text[end..].chars().next().is_none_or(char::is_whitespace);
        if !space_before || space_after {
            return Tok::Minus;
        }
        if before.line != line {
            return Tok::Sign;
        }
        let span = self.sink.span(start, end);
        let d = Diagnostic::new(codes::SIGN, "is this minus a sign or a difference?", span, "a space before it and none after")
            .help("to subtract, put a space on both sides: `a - b`")
            .fix("subtract", span, "- ");
        self.sink.mended(d);
        Tok::Minus
    }

    fn number(&mut self, start: usize, end: usize) -> Tok {
        let slice = &self.text[start..end];
        let span = self.sink.span(start, end);
        let plain = slice.replace('_', "");
        let split = plain.find(|c: char| c.is_ascii_alphabetic() && c != 'e' && c != 'E').unwrap_or(plain.len());
        let (digits, unit) = plain.split_at(split);
        let problem = if !unit.is_empty() {
            match size(digits, unit) {
                Ok(bytes) => return Tok::Size(bytes),
                Err(message) => message,
            }
        } else if digits.bytes().all(|b| b.is_ascii_digit()) {
            match digits.parse() {
                Ok(i) => return Tok::Int(i),
                Err(_) => "an int goes up to 9223372036854775807; with a point, `1.0`, it is a real number".to_owned(),
            }
        } else {
            match digits.parse::<f64>() {
                Ok(f) if f.is_finite() => return Tok::Float(f, digits.to_owned()),
                Ok(_) => "it is larger than any real number the language knows".to_owned(),
                Err(_) => "write a real number as `0.5` or `1e-6`".to_owned(),
            }
        };
        let d = Diagnostic::new(codes::BAD_NUMBER, format!("`{slice}` is not a number"), span, "cannot be read").help(problem);
        self.sink.mended(d);
        Tok::Int(1)
    }

    /// The text between two quotes with its escapes resolved.
    fn unescape(&mut self, start: usize, end: usize) -> String {
        let slice = &self.text[start..end];
        if !slice.contains('\\') {
            return slice.to_owned();
        }
        let mut out = String::with_capacity(slice.len());
        let mut chars = slice.char_indices();
        while let Some((at, c)) = chars.next() {
            if c != '\\' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some((_, '"')) => out.push('"'),
                Some((_, '\\')) => out.push('\\'),
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, other)) => {
                    let span = self.sink.span(start + at, start + at + 1 + other.len_utf8());
                    let d = Diagnostic::new(codes::BAD_ESCAPE, format!("`\\{other}` is not an escape"), span, "unknown escape")
                        .help("the escapes are `\\\"`, `\\\\`, `\\n` and `\\t`; a `\\` itself is written `\\\\`")
                        .fix("write a `\\`", self.sink.span(start + at, start + at + 1), "\\\\");
                    self.sink.mended(d);
                    out.push(other);
                }
                None => out.push('\\'),
            }
        }
        out
    }
}

/// Bytes of `5GB`, or what is wrong with it.
fn size(digits: &str, unit: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 8] = [
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    let Some((_, bytes)) = UNITS.iter().find(|(u, _)| *u == unit) else {
        let meant = UNITS.iter().find(|(u, _)| u.eq_ignore_ascii_case(unit) || u[..1].eq_ignore_ascii_case(unit));
        return Err(match meant {
            Some((u, _)) => format!("if this is a size, write `{digits}{u}`"),
            None => "a name cannot start with a digit; the units of sizes are KB, MB, GB, TB, KiB, MiB, GiB and TiB".to_owned(),
        });
    };
    // Exact: the digits behind the point are counted in powers of ten.
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let scaled =
        format!("{whole}{part}").parse::<u128>().ok().filter(|_| part.len() <= 12).and_then(|n| n.checked_mul(*bytes as u128));
    let scale = 10u128.pow(part.len().min(12) as u32);
    match scaled {
        Some(n) if n % scale == 0 => u64::try_from(n / scale).map_err(|_| "it is more bytes than any file has".to_owned()),
        Some(_) => Err("a size is a whole number of bytes".to_owned()),
        None => Err("write a size as `5GB` or `1.5GB`".to_owned()),
    }
}
