//! What an expression of a recipe evaluates to while the recipe is elaborated.
//!
//! Ints, bools, strings, lists and tuples are known; a tensor is a node of the graph with what the type
//! system knows about it; a model is a record of tensors that are made when they are asked for.
//! Cloning any value is cheap.

use crate::degree::Degree;
use crate::elaborate::Model;
use crate::space::Axes;
use merge_abi::DType;
use merge_base::Span;
use merge_ir::tir::NodeId;
use std::rc::Rc;

/// Says that a diagnostic about the fault was already given, so that whoever depends on it stays silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported;

/// A tensor, or (without axes) a scalar.
#[derive(Clone, Debug)]
pub struct TensorVal {
    pub node: NodeId,
    pub degree: Degree,
    /// Set for tensors of ints and bools, which are copied and never blended.
    pub buffer: Option<DType>,
    /// On which decisions the length of each axis depends, where that is known better than for the whole; only in networks, and
    /// only while decisions are watched.
    pub axes: Option<Axes>,
}

impl TensorVal {
    /// A tensor of floats.
    pub fn new(node: NodeId, degree: Degree) -> TensorVal {
        TensorVal { node, degree, buffer: None, axes: None }
    }
}

/// `a..b`; bounds are ints or scalars.
#[derive(Clone, Debug)]
pub struct RangeVal {
    pub start: Option<Value>,
    pub end: Option<Value>,
    pub inclusive: bool,
}

#[derive(Clone, Debug)]
pub enum Value {
    Int(i64),
    Bool(bool),
    Str(Rc<str>),
    /// A number of bytes, `5GB`.
    Size(u64),
    /// A bare word: `rows`, `all`, `bf16`.
    Word(Rc<str>),
    Tensor(TensorVal),
    Model(Rc<Model>),
    List(Rc<[Value]>),
    Tuple(Rc<[Value]>),
    Range(Rc<RangeVal>),
    /// What an error leaves behind. Everything done to it gives it again, in silence.
    Poison,
}

impl From<TensorVal> for Value {
    fn from(t: TensorVal) -> Value {
        Value::Tensor(t)
    }
}

impl From<Result<TensorVal, Reported>> for Value {
    fn from(t: Result<TensorVal, Reported>) -> Value {
        t.map_or(Value::Poison, Value::Tensor)
    }
}

impl From<Result<Value, Reported>> for Value {
    fn from(v: Result<Value, Reported>) -> Value {
        v.unwrap_or(Value::Poison)
    }
}

impl Value {
    /// What kind of thing it is, with its article, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Int(_) => "an int",
            Value::Bool(_) => "a bool",
            Value::Str(_) => "a string",
            Value::Size(_) => "a size in bytes",
            Value::Word(_) => "a word",
            Value::Tensor(_) => "a tensor",
            Value::Model(_) => "a model",
            Value::List(_) => "a list",
            Value::Tuple(_) => "a tuple",
            Value::Range(_) => "a range",
            Value::Poison => "a faulty value",
        }
    }

    /// Whether it is, or holds at any depth, what an error left behind.
    pub fn is_poison(&self) -> bool {
        match self {
            Value::Poison => true,
            Value::List(l) | Value::Tuple(l) => l.iter().any(Value::is_poison),
            _ => false,
        }
    }

    /// Whether it is a model, or a list or tuple that holds one at any depth.
    pub fn has_model(&self) -> bool {
        match self {
            Value::Model(_) => true,
            Value::List(l) | Value::Tuple(l) => l.iter().any(Value::has_model),
            _ => false,
        }
    }
}

/// One argument of a call of a primitive.
#[derive(Clone, Debug)]
pub struct Argument {
    pub value: Value,
    pub span: Span,
    /// Where the members stand, where the argument is written as a list.
    pub parts: Option<Rc<[Span]>>,
}

impl Argument {
    /// Where member `index` of a list argument stands, as closely as is known.
    pub fn part(&self, index: usize) -> Span {
        self.parts.as_ref().and_then(|p| p.get(index)).copied().unwrap_or(self.span)
    }
}

/// The arguments of a primitive in the order of its parameters in the table; what was not given is absent.
#[derive(Clone, Debug)]
pub struct Args {
    pub name: &'static str,
    pub given: Vec<Option<Argument>>,
}

impl Args {
    /// The argument for the parameter at `index`, if it was given.
    pub fn get(&self, index: usize) -> Option<&Argument> {
        self.given.get(index).and_then(Option::as_ref)
    }
}
