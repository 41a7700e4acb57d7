//! The abstract syntax tree: one file, close to the source.
//!
//! Every node has a span. What could not be parsed is an `Error` node, about which a diagnostic has
//! already been given; later stages skip it in silence.

use merge_base::Span;

/// A name with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    pub text: String,
    pub span: Span,
}

/// One source file.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// Text of the `//!` comment at the top.
    pub docs: String,
    pub items: Vec<Item>,
}

/// A top-level item.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Use(Use),
    Let(Let),
    Choose(Choose),
    Fn(Fn),
    Save(Save),
    Search(Search),
    Test(Test),
    Error(Span),
}

/// `use std.merging.{ties, slerp}`. Without braces the last segment is the name brought in.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    pub path: Vec<Name>,
    pub names: Vec<Name>,
    pub span: Span,
}

/// `let pattern: type = value requires condition`.
#[derive(Clone, Debug, PartialEq)]
pub struct Let {
    pub docs: String,
    pub pattern: Binding,
    pub ty: Option<Type>,
    pub value: Expr,
    pub requires: Option<Expr>,
    pub span: Span,
}

/// What a `let`, `for` or `fold` binds: a name, nothing, or the parts of a tuple.
#[derive(Clone, Debug, PartialEq)]
pub enum Binding {
    Name(Name),
    Ignore(Span),
    Tuple(Vec<Binding>, Span),
}

/// `choose name per key in domain = default`, or with arms instead of a domain.
#[derive(Clone, Debug, PartialEq)]
pub struct Choose {
    pub docs: String,
    pub name: Name,
    pub per: Option<Box<Expr>>,
    pub domain: Domain,
    pub default: Option<Box<Expr>>,
    pub span: Span,
}

/// What a decision ranges over.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    In(Box<Expr>),
    Arms(Vec<Arm>),
}

/// `name => value` of a `choose`.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    pub name: Name,
    pub value: Expr,
}

/// `fn name(params) -> type requires condition { body }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fn {
    pub docs: String,
    pub name: Name,
    pub params: Vec<Param>,
    pub result: Type,
    pub requires: Option<Expr>,
    pub body: Block,
    pub span: Span,
}

/// `name: type in range = default`.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub name: Name,
    pub ty: Type,
    pub range: Option<Expr>,
    pub default: Option<Expr>,
    pub span: Span,
}

/// `save value to "path" as format { settings } for x in list`.
#[derive(Clone, Debug, PartialEq)]
pub struct Save {
    pub docs: String,
    pub value: Expr,
    pub to: Expr,
    pub format: Option<Name>,
    pub settings: Settings,
    pub clauses: Vec<For>,
    pub span: Span,
}

/// `search name { settings }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    pub target: Name,
    pub settings: Settings,
    pub span: Span,
}

/// `test "what must hold" { statements condition }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    pub docs: String,
    pub title: String,
    pub title_span: Span,
    pub body: Block,
    pub span: Span,
}

/// `{ key: value … }` after `save` and `search`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub entries: Vec<Setting>,
    pub span: Option<Span>,
}

/// One entry of [`Settings`].
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub key: Name,
    pub value: SettingValue,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SettingValue {
    Expr(Expr),
    Nested(Settings),
}

/// `{ statements value }`, `{ statements "name": value … }` or `{}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub stmts: Vec<Stmt>,
    pub tail: Tail,
    pub span: Span,
}

/// What a block gives: a value, named tensors, or (`{}`) no tensors at all.
#[derive(Clone, Debug, PartialEq)]
pub enum Tail {
    Value(Box<Expr>),
    Entries(Vec<Entry>),
    Error(Span),
}

/// `"name": value for x in list`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub name: Str,
    pub value: Expr,
    pub clauses: Vec<For>,
    pub span: Span,
}

/// A statement of a block or of the head of a model literal.
#[allow(clippy::large_enum_variant)] // Most statements are a `let`, the largest.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    Let(Let),
    Choose(Choose),
    New(New),
    Error(Span),
}

/// `new name[dims] = start`.
#[derive(Clone, Debug, PartialEq)]
pub struct New {
    pub name: Name,
    pub shape: Option<Vec<Dim>>,
    pub value: Expr,
    pub span: Span,
}

/// `for binding in list if condition`.
#[derive(Clone, Debug, PartialEq)]
pub struct For {
    pub binding: Binding,
    pub list: Expr,
    pub condition: Option<Expr>,
    pub span: Span,
}

/// `like m { … }` or `from m { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub kind: ModelKind,
    pub of: Box<Expr>,
    pub stmts: Vec<Stmt>,
    pub rules: Vec<Rule>,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelKind {
    Like,
    From,
}

/// `pattern => value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub lhs: Lhs,
    pub value: Expr,
    pub span: Span,
}

/// The left side of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Lhs {
    /// `"pattern"?[o, i]`.
    Pattern {
        pattern: Str,
        optional: bool,
        shape: Option<RuleShape>,
        span: Span,
    },
    /// `_` or `_[o, i]`: all the rest.
    Rest {
        shape: Option<RuleShape>,
        span: Span,
    },
    /// `"module" as f(x: type) -> type`; the second type is that of `f(x)`.
    Module {
        pattern: Str,
        function: Name,
        argument: Name,
        ty: Option<Type>,
        result: Option<Type>,
        span: Span,
    },
    Error(Span),
}

impl Lhs {
    /// Where the left side stands.
    pub fn span(&self) -> Span {
        match self {
            Lhs::Pattern { span, .. } | Lhs::Rest { span, .. } | Lhs::Module { span, .. } | Lhs::Error(span) => *span,
        }
    }
}

/// `[o, i]`, `[]`, `[..s, n]` behind a pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleShape {
    pub dims: Vec<RuleDim>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum RuleDim {
    Bind(Name),
    Ignore(Span),
    Is(i64, Span),
    Rest(Name),
}

/// A type.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// `weight[o, i]`, `model`, `f32`; the dims are absent where none were written.
    Named {
        name: Name,
        dims: Option<Vec<Dim>>,
        span: Span,
    },
    List(Box<Type>, Span),
    Tuple(Vec<Type>, Span),
    Error(Span),
}

/// A dim of a type: an int expression, or `..s`.
#[derive(Clone, Debug, PartialEq)]
pub enum Dim {
    Expr(Expr),
    Rest(Name),
}

/// A string as written, with the spans inside it still reachable.
#[derive(Clone, Debug, PartialEq)]
pub struct Str {
    /// Contents with escapes resolved.
    pub text: String,
    /// The token, quotes included.
    pub span: Span,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    Int(i64),
    /// The number and its digits, which degrees read as an exact decimal.
    Float(f64, String),
    /// `5GB`, in bytes.
    Size(u64),
    Str(Str),
    Bool(bool),
    Name(String),
    /// `(a, b)`, at least two.
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    /// `[value for x in list if condition …]`.
    Comprehension {
        value: Box<Expr>,
        clauses: Vec<For>,
    },
    Block(Block),
    Model(Model),
    If {
        condition: Box<Expr>,
        then: Block,
        otherwise: Box<Expr>,
    },
    Fold {
        binding: Binding,
        start: Box<Expr>,
        item: Binding,
        list: Box<Expr>,
        until: Option<Box<Expr>>,
        body: Block,
    },
    Choose(Box<Choose>),
    Unary {
        op: UnaryOp,
        value: Box<Expr>,
    },
    Binary {
        op: BinaryOp,
        op_span: Span,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `a..b` (or `..=`); either end may be absent inside an index.
    Range {
        start: Option<Box<Expr>>,
        end: Option<Box<Expr>>,
        inclusive: bool,
    },
    Whole(Box<Expr>),
    Call {
        callee: Box<Expr>,
        args: Vec<Arg>,
    },
    Index {
        base: Box<Expr>,
        indices: Vec<Expr>,
    },
    /// `value as weight`.
    As {
        value: Box<Expr>,
        role: Name,
    },
    Error,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    pub name: Option<Name>,
    pub value: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    Neg,
    Not,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    MatMul,
    /// `++`, joining lists.
    Join,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
}

impl BinaryOp {
    /// The operator as written.
    pub fn text(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::MatMul => "@",
            BinaryOp::Join => "++",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
        }
    }
}
