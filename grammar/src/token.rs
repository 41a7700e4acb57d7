//! Tokens as the parser sees them.

use crate::ast::BinaryOp;

/// One token. Brackets that touch what they call or index are tokens of their own, as is a minus that is a sign.
#[derive(Clone, Debug, PartialEq)]
pub enum Tok {
    Name(String),
    Int(i64),
    /// The value and its digits, without `_`.
    Float(f64, String),
    /// In bytes.
    Size(u64),
    /// Contents with escapes resolved.
    Str(String),
    Use,
    Let,
    Fn,
    Choose,
    Save,
    Search,
    /// `test` at the start of an item, before a string; a name anywhere else.
    Test,
    New,
    Like,
    From,
    Whole,
    For,
    In,
    If,
    Else,
    Fold,
    Until,
    Per,
    Requires,
    As,
    To,
    And,
    Or,
    Not,
    True,
    False,
    Underscore,
    LParen,
    RParen,
    LBracket,
    RBracket,
    LBrace,
    RBrace,
    /// `(` that touches what it calls.
    Call,
    /// `[` that touches what it indexes.
    Index,
    /// A minus before an operand and behind none.
    Sign,
    Minus,
    Plus,
    Join,
    Star,
    Slash,
    At,
    Compare(BinaryOp),
    Assign,
    Arrow,
    FatArrow,
    Dot,
    DotDot,
    DotDotEq,
    Comma,
    Colon,
    Question,
    /// Stands before an expression that is parsed on its own, such as a hole of a string.
    Hole,
}

/// The reserved words, in the order of the language reference.
pub const RESERVED: [(&str, Tok); 25] = [
    ("use", Tok::Use),
    ("let", Tok::Let),
    ("fn", Tok::Fn),
    ("choose", Tok::Choose),
    ("save", Tok::Save),
    ("search", Tok::Search),
    ("new", Tok::New),
    ("like", Tok::Like),
    ("from", Tok::From),
    ("whole", Tok::Whole),
    ("for", Tok::For),
    ("in", Tok::In),
    ("if", Tok::If),
    ("else", Tok::Else),
    ("fold", Tok::Fold),
    ("until", Tok::Until),
    ("per", Tok::Per),
    ("requires", Tok::Requires),
    ("as", Tok::As),
    ("to", Tok::To),
    ("and", Tok::And),
    ("or", Tok::Or),
    ("not", Tok::Not),
    ("true", Tok::True),
    ("false", Tok::False),
];

impl Tok {
    /// The reserved word, if it is one.
    pub fn word(&self) -> Option<&'static str> {
        RESERVED.iter().find(|(_, t)| t == self).map(|(w, _)| *w)
    }

    /// Whether an expression can end with this token, so that an operator may follow.
    pub fn ends_operand(&self) -> bool {
        matches!(
            self,
            Tok::Name(_)
                | Tok::Int(_)
                | Tok::Float(..)
                | Tok::Size(_)
                | Tok::Str(_)
                | Tok::True
                | Tok::False
                | Tok::RParen
                | Tok::RBracket
                | Tok::RBrace
        )
    }

    /// Whether a bracket that touches this token calls or indexes it.
    pub fn takes_bracket(&self) -> bool {
        matches!(self, Tok::Name(_) | Tok::Str(_) | Tok::RParen | Tok::RBracket | Tok::Question | Tok::Underscore)
    }

    /// Whether an expression goes on with this token when it stands behind an operand.
    pub fn continues_operand(&self) -> bool {
        matches!(
            self,
            Tok::Minus
                | Tok::Plus
                | Tok::Join
                | Tok::Star
                | Tok::Slash
                | Tok::At
                | Tok::Compare(_)
                | Tok::DotDot
                | Tok::DotDotEq
                | Tok::Comma
                | Tok::Colon
                | Tok::And
                | Tok::Or
                | Tok::As
                | Tok::For
                | Tok::If
                | Tok::In
                | Tok::Assign
                | Tok::RParen
                | Tok::RBracket
                | Tok::RBrace
        )
    }

    /// The kind of bracket this token opens.
    pub fn opens(&self) -> Option<Bracket> {
        match self {
            Tok::LParen | Tok::Call => Some(Bracket::Round),
            Tok::LBracket | Tok::Index => Some(Bracket::Square),
            Tok::LBrace => Some(Bracket::Curly),
            _ => None,
        }
    }

    /// The kind of bracket this token closes.
    pub fn closes(&self) -> Option<Bracket> {
        match self {
            Tok::RParen => Some(Bracket::Round),
            Tok::RBracket => Some(Bracket::Square),
            Tok::RBrace => Some(Bracket::Curly),
            _ => None,
        }
    }

    /// The token for messages: `` `)` ``, `the number 3`, `a string`.
    pub fn describe(&self) -> String {
        if let Some(word) = self.word() {
            return format!("the word `{word}`");
        }
        let text = match self {
            Tok::Name(n) => return format!("the name `{n}`"),
            Tok::Int(i) => return format!("the number `{i}`"),
            Tok::Float(_, digits) => return format!("the number `{digits}`"),
            Tok::Size(_) => return "a size".into(),
            Tok::Str(_) => return "a string".into(),
            Tok::Test => "test",
            Tok::Underscore => "_",
            Tok::LParen | Tok::Call => "(",
            Tok::RParen => ")",
            Tok::LBracket | Tok::Index => "[",
            Tok::RBracket => "]",
            Tok::LBrace => "{",
            Tok::RBrace => "}",
            Tok::Sign | Tok::Minus => "-",
            Tok::Plus => "+",
            Tok::Join => "++",
            Tok::Star => "*",
            Tok::Slash => "/",
            Tok::At => "@",
            Tok::Compare(op) => op.text(),
            Tok::Assign => "=",
            Tok::Arrow => "->",
            Tok::FatArrow => "=>",
            Tok::Dot => ".",
            Tok::DotDot => "..",
            Tok::DotDotEq => "..=",
            Tok::Comma => ",",
            Tok::Colon => ":",
            Tok::Question => "?",
            _ => "",
        };
        format!("`{text}`")
    }
}

/// A kind of bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bracket {
    Round,
    Square,
    Curly,
}

impl Bracket {
    /// The opening character.
    pub fn open(self) -> char {
        match self {
            Bracket::Round => '(',
            Bracket::Square => '[',
            Bracket::Curly => '{',
        }
    }

    /// The closing character.
    pub fn close(self) -> char {
        match self {
            Bracket::Round => ')',
            Bracket::Square => ']',
            Bracket::Curly => '}',
        }
    }

    /// The closing token.
    pub fn closer(self) -> Tok {
        match self {
            Bracket::Round => Tok::RParen,
            Bracket::Square => Tok::RBracket,
            Bracket::Curly => Tok::RBrace,
        }
    }
}

/// A token with its place in the text.
#[derive(Clone, Debug)]
pub struct Lexeme {
    pub token: Tok,
    /// Bytes of the text; equal for a bracket that was put in.
    pub start: usize,
    pub end: usize,
    /// Line, from 0.
    pub line: u32,
    /// Whether it is the first token of its line.
    pub first: bool,
    /// Whether it stands at the very start of its line.
    pub margin: bool,
    /// The doc comment that stands right before it.
    pub docs: String,
}

/// The words that cannot be names.
pub fn reserved_words() -> impl Iterator<Item = &'static str> {
    RESERVED.iter().map(|(word, _)| *word)
}
