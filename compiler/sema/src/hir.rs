//! HIR: the recipe with its names resolved and its sugar gone.
//!
//! Made by `resolve` from the ASTs of the recipe and of the library files it uses; read by `elaborate`.
//! Invariants: every [`Expr::kind`] name is a local, an item, a function, a primitive or a word, or the
//! node is [`ExprKind::Error`] and a diagnostic was given; locals are numbered per body; strings are
//! split into text and holes; patterns are parsed.
//! Not here: types and shapes (those are found by elaboration against the checkpoints' headers).

mod print;
pub mod walk;

pub use print::print_hir;

use crate::pattern::Pattern;
use merge_base::{FileId, Span};
pub use merge_grammar::ast::{BinaryOp, ModelKind, UnaryOp};
use std::sync::OnceLock;

/// A function, from the recipe or from a library file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FnId(pub u32);

/// A variable of one body: a parameter, a `let`, a capture, a loop variable. Numbered from 0 per body;
/// all top-level `let`s and settings of the recipe are the locals of one body, [`Program::globals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalId(pub u32);

/// A whole recipe.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The recipe's own file.
    pub entry: Option<FileId>,
    pub fns: Vec<Fn>,
    /// Variables of the top level, by [`LocalId`].
    pub globals: Vec<Local>,
    /// `let`, `choose`, `save`, `search` and `test` in source order.
    pub items: Vec<Item>,
    /// By function: whether something is decided in it or in what it calls, once an elaboration has asked.
    pub(crate) deciding: OnceLock<Vec<bool>>,
}

/// What is known of a variable.
#[derive(Clone, Debug)]
pub struct Local {
    pub name: String,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Item {
    Let(Let),
    Choose(Choose),
    Save(Save),
    Search(Box<Search>),
    Test(Test),
}

#[derive(Clone, Debug)]
pub struct Let {
    pub pattern: Binding,
    pub ty: Option<Type>,
    pub value: Expr,
    pub requires: Option<Expr>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Binding {
    Local(LocalId, Span),
    Ignore(Span),
    Tuple(Vec<Binding>, Span),
}

/// A decision. Binds `local`.
#[derive(Clone, Debug)]
pub struct Choose {
    pub name: String,
    pub name_span: Span,
    pub local: LocalId,
    pub per: Option<Expr>,
    pub domain: Domain,
    pub default: Option<Expr>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Domain {
    In(Expr),
    /// Arm name, its span, its value. A default names an arm as a [`ExprKind::Word`].
    Arms(Vec<(String, Span, Expr)>),
}

#[derive(Clone, Debug)]
pub struct Fn {
    pub name: String,
    pub docs: String,
    pub file: FileId,
    pub params: Vec<Param>,
    /// Named dims of the signature (`o`, `s` of `..s`) are locals of the body: ints, and shapes as lists.
    pub result: Type,
    pub requires: Option<Expr>,
    pub body: Block,
    /// All variables of the body, parameters and dims first.
    pub locals: Vec<Local>,
    /// Span of the name.
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Param {
    pub name: String,
    pub local: LocalId,
    pub ty: Type,
    pub range: Option<Expr>,
    pub default: Option<Expr>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Save {
    pub value: Expr,
    pub to: Expr,
    pub format: Option<(String, Span)>,
    pub settings: Vec<Setting>,
    pub clauses: Vec<For>,
    pub span: Span,
}

/// `search NAME { .. }`. Its settings are plain data: nothing of the recipe is computed for them.
#[derive(Clone, Debug)]
pub struct Search {
    pub name: String,
    pub name_span: Span,
    /// The model, saved under its own name, as a trial does it; none for a function.
    pub save: Option<Save>,
    /// The function, a network.
    pub network: Option<FnId>,
    pub settings: Vec<SearchSetting>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct SearchSetting {
    pub key: String,
    pub key_span: Span,
    pub value: Plain,
    pub span: Span,
}

/// A value that is written out.
#[derive(Clone, Debug, PartialEq)]
pub enum Plain {
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(String),
    Word(String),
    List(Vec<Plain>),
    /// `mcts(seed: 7)`: the name, then arguments with theirs.
    Call(String, Vec<(Option<String>, Plain)>),
}

#[derive(Clone, Debug)]
pub struct Setting {
    pub key: String,
    pub key_span: Span,
    pub value: SettingValue,
}

#[derive(Clone, Debug)]
pub enum SettingValue {
    Expr(Expr),
    Nested(Vec<Setting>),
}

/// `test "title" { … }`; the body has its own locals.
#[derive(Clone, Debug)]
pub struct Test {
    pub title: String,
    pub body: Block,
    pub locals: Vec<Local>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Block {
    pub stmts: Vec<Stmt>,
    pub tail: Tail,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Tail {
    Value(Box<Expr>),
    Entries(Vec<Entry>),
    Error,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub name: Str,
    pub value: Expr,
    pub clauses: Vec<For>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Stmt {
    Let(Let),
    Choose(Choose),
    New { name: String, local: LocalId, shape: Option<Vec<Dim>>, value: Expr, span: Span },
}

#[derive(Clone, Debug)]
pub struct For {
    pub binding: Binding,
    pub list: Expr,
    pub condition: Option<Expr>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub lhs: Lhs,
    /// Dims bound by `[o, i]` behind the pattern.
    pub shape: Option<Vec<RuleDim>>,
    pub lhs_span: Span,
    pub value: Expr,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Lhs {
    /// A pattern; its captures bind `captures`, in the order of [`Pattern::captures`].
    Pattern {
        pattern: Pattern,
        captures: Vec<LocalId>,
        optional: bool,
    },
    Rest,
    /// `"module" as f(x: type) -> type`: the module of the base, and what goes into it.
    Module(Box<ModuleLhs>),
    Error,
}

/// The left side of a rule that replaces a module.
#[derive(Clone, Debug)]
pub struct ModuleLhs {
    /// Matched against paths of modules: what stands before a dot in some tensor's name.
    pub pattern: Pattern,
    pub captures: Vec<LocalId>,
    /// What calls of [`Callee::Module`] name.
    pub function: LocalId,
    pub argument: LocalId,
    pub argument_name: String,
    /// Of the argument; its open dims are locals.
    pub ty: Option<Type>,
    /// Of `f(x)`.
    pub result: Option<Type>,
}

#[derive(Clone, Debug)]
pub enum RuleDim {
    Bind(LocalId),
    Ignore,
    Is(i64),
    Rest(LocalId),
}

#[derive(Clone, Debug)]
pub enum Type {
    Named { name: TypeName, dims: Option<Vec<Dim>>, span: Span },
    List(Box<Type>, Span),
    Tuple(Vec<Type>, Span),
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TypeName {
    Weight,
    Delta,
    Tensor,
    Affine,
    Model,
    Deltas,
    Tensors,
    F32,
    Int,
    Bool,
    Str,
    /// `axis`: `all`, `rows`, `cols` or a number.
    Axis,
}

#[derive(Clone, Debug)]
pub enum Dim {
    /// A bare name where it first stands: binds the local.
    Bind(LocalId, Span),
    /// `..s` where it first stands.
    BindRest(LocalId, Span),
    /// `..s` again.
    Rest(LocalId, Span),
    /// Anything else, an equation to be checked.
    Expr(Expr),
}

/// A string with holes: `"scale.{k}"`.
#[derive(Clone, Debug)]
pub struct Str {
    pub parts: Vec<StrPart>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum StrPart {
    Text(String),
    Hole(Expr),
}

#[derive(Clone, Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum ExprKind {
    Int(i64),
    Float(f64, String),
    Size(u64),
    Bool(bool),
    Str(Str),
    /// A string in index position that has `*`, `**` or `{a|b}` in it: picks a sub-model.
    /// Holes with expressions are evaluated first; see [`Pattern`].
    SubModel(Pattern),
    Local(LocalId),
    /// A top-level variable, used inside the top level or a rule of it. Functions do not see them.
    Global(LocalId),
    /// A bare word that is no variable where a primitive's argument takes words: `rows`, `all`, `first`, `bf16`.
    Word(String),
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    Comprehension {
        value: Box<Expr>,
        clauses: Vec<For>,
    },
    Block(Block),
    Model {
        kind: ModelKind,
        of: Box<Expr>,
        stmts: Vec<Stmt>,
        rules: Vec<Rule>,
    },
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
    Range {
        start: Option<Box<Expr>>,
        end: Option<Box<Expr>>,
        inclusive: bool,
    },
    /// `whole f(..)`; the inner expression is a call.
    Whole(Box<Expr>),
    Call {
        callee: Callee,
        callee_span: Span,
        args: Vec<Arg>,
    },
    Index {
        base: Box<Expr>,
        indices: Vec<Expr>,
    },
    As {
        value: Box<Expr>,
        role: Role,
        role_span: Span,
    },
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Callee {
    Fn(FnId),
    /// A primitive of the language, by its entry in `primitives::PRIMITIVES`.
    Primitive(&'static str),
    /// The module that the rule around replaces.
    Module(LocalId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Weight,
    Delta,
    Affine,
}

#[derive(Clone, Debug)]
pub struct Arg {
    pub name: Option<(String, Span)>,
    pub value: Expr,
}
