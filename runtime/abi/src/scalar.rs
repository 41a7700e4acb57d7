//! Scalars of a plan: settings, constants, statistics and formulas over them.
//!
//! A tensor without axes is a scalar. Scalars are computed on the host in f64, by one evaluator on every
//! machine, and rounded to f32 where they enter a kernel.

use serde::{Deserialize, Serialize};

/// Index into [`crate::Plan::scalars`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ScalarId(pub u32);

/// Index into [`crate::Plan::settings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SettingId(pub u32);

/// Index of a value that a step of the plan produces: a reduction, a threshold, a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StatId(pub u32);

/// One node of the scalar graph; operands have smaller indices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum ScalarOp {
    Const(f64),
    Setting(SettingId),
    Stat(StatId),
    Unary(UnaryFn, ScalarId),
    Binary(BinaryFn, ScalarId, ScalarId),
    /// The second where the first is not 0, else the third.
    Select(ScalarId, ScalarId, ScalarId),
}

/// Functions of one number. Truth is 1, falsehood 0. `Sign(0)` is 0. `Round` goes to even.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum UnaryFn {
    Neg,
    Abs,
    Sign,
    Not,
    Sqrt,
    Exp,
    Log,
    Log2,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Tanh,
    Sigmoid,
    Floor,
    Ceil,
    Round,
    Trunc,
}

/// Functions of two numbers. Comparisons give 1 or 0. `Min` and `Max` give NaN if either is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BinaryFn {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
}

impl UnaryFn {
    /// Every function, in the order of the text form.
    pub const ALL: [UnaryFn; 20] = [
        UnaryFn::Neg,
        UnaryFn::Abs,
        UnaryFn::Sign,
        UnaryFn::Not,
        UnaryFn::Sqrt,
        UnaryFn::Exp,
        UnaryFn::Log,
        UnaryFn::Log2,
        UnaryFn::Sin,
        UnaryFn::Cos,
        UnaryFn::Tan,
        UnaryFn::Asin,
        UnaryFn::Acos,
        UnaryFn::Atan,
        UnaryFn::Tanh,
        UnaryFn::Sigmoid,
        UnaryFn::Floor,
        UnaryFn::Ceil,
        UnaryFn::Round,
        UnaryFn::Trunc,
    ];

    /// The name in recipes and text forms.
    pub const fn name(self) -> &'static str {
        match self {
            UnaryFn::Neg => "neg",
            UnaryFn::Abs => "abs",
            UnaryFn::Sign => "sign",
            UnaryFn::Not => "not",
            UnaryFn::Sqrt => "sqrt",
            UnaryFn::Exp => "exp",
            UnaryFn::Log => "log",
            UnaryFn::Log2 => "log2",
            UnaryFn::Sin => "sin",
            UnaryFn::Cos => "cos",
            UnaryFn::Tan => "tan",
            UnaryFn::Asin => "asin",
            UnaryFn::Acos => "acos",
            UnaryFn::Atan => "atan",
            UnaryFn::Tanh => "tanh",
            UnaryFn::Sigmoid => "sigmoid",
            UnaryFn::Floor => "floor",
            UnaryFn::Ceil => "ceil",
            UnaryFn::Round => "round",
            UnaryFn::Trunc => "trunc",
        }
    }
}

impl BinaryFn {
    /// Every function, in the order of the text form.
    pub const ALL: [BinaryFn; 15] = [
        BinaryFn::Add,
        BinaryFn::Sub,
        BinaryFn::Mul,
        BinaryFn::Div,
        BinaryFn::Pow,
        BinaryFn::Min,
        BinaryFn::Max,
        BinaryFn::Eq,
        BinaryFn::Ne,
        BinaryFn::Lt,
        BinaryFn::Le,
        BinaryFn::Gt,
        BinaryFn::Ge,
        BinaryFn::And,
        BinaryFn::Or,
    ];

    /// The name in text forms.
    pub const fn name(self) -> &'static str {
        match self {
            BinaryFn::Add => "add",
            BinaryFn::Sub => "sub",
            BinaryFn::Mul => "mul",
            BinaryFn::Div => "div",
            BinaryFn::Pow => "pow",
            BinaryFn::Min => "min",
            BinaryFn::Max => "max",
            BinaryFn::Eq => "eq",
            BinaryFn::Ne => "ne",
            BinaryFn::Lt => "lt",
            BinaryFn::Le => "le",
            BinaryFn::Gt => "gt",
            BinaryFn::Ge => "ge",
            BinaryFn::And => "and",
            BinaryFn::Or => "or",
        }
    }

    /// Whether the result is a truth value.
    pub const fn is_truth(self) -> bool {
        matches!(
            self,
            BinaryFn::Eq
                | BinaryFn::Ne
                | BinaryFn::Lt
                | BinaryFn::Le
                | BinaryFn::Gt
                | BinaryFn::Ge
                | BinaryFn::And
                | BinaryFn::Or
        )
    }
}

impl UnaryFn {
    /// The value in f64. `libm` is used, not the platform's library, so that every machine agrees.
    pub fn eval(self, x: f64) -> f64 {
        match self {
            UnaryFn::Neg => -x,
            UnaryFn::Abs => x.abs(),
            UnaryFn::Sign if x > 0.0 => 1.0,
            UnaryFn::Sign if x < 0.0 => -1.0,
            UnaryFn::Sign if x == 0.0 => 0.0,
            UnaryFn::Sign => f64::NAN,
            UnaryFn::Not => f64::from(x == 0.0),
            UnaryFn::Sqrt => x.sqrt(),
            UnaryFn::Exp => libm::exp(x),
            UnaryFn::Log => libm::log(x),
            UnaryFn::Log2 => libm::log2(x),
            UnaryFn::Sin => libm::sin(x),
            UnaryFn::Cos => libm::cos(x),
            UnaryFn::Tan => libm::tan(x),
            UnaryFn::Asin => libm::asin(x),
            UnaryFn::Acos => libm::acos(x),
            UnaryFn::Atan => libm::atan(x),
            UnaryFn::Tanh => libm::tanh(x),
            UnaryFn::Sigmoid => 1.0 / (1.0 + libm::exp(-x)),
            UnaryFn::Floor => x.floor(),
            UnaryFn::Ceil => x.ceil(),
            UnaryFn::Round => x.round_ties_even(),
            UnaryFn::Trunc => x.trunc(),
        }
    }
}

impl BinaryFn {
    /// The value in f64.
    pub fn eval(self, a: f64, b: f64) -> f64 {
        match self {
            BinaryFn::Add => a + b,
            BinaryFn::Sub => a - b,
            BinaryFn::Mul => a * b,
            BinaryFn::Div => a / b,
            BinaryFn::Pow => libm::pow(a, b),
            BinaryFn::Min if a.is_nan() || b.is_nan() => f64::NAN,
            BinaryFn::Max if a.is_nan() || b.is_nan() => f64::NAN,
            // `f64::min` leaves the sign of a zero to the machine; of two equal ones the second is taken.
            BinaryFn::Min if a < b => a,
            BinaryFn::Max if a > b => a,
            BinaryFn::Min | BinaryFn::Max => b,
            BinaryFn::Eq => f64::from(a == b),
            BinaryFn::Ne => f64::from(a != b),
            BinaryFn::Lt => f64::from(a < b),
            BinaryFn::Le => f64::from(a <= b),
            BinaryFn::Gt => f64::from(a > b),
            BinaryFn::Ge => f64::from(a >= b),
            BinaryFn::And => f64::from(a != 0.0 && b != 0.0),
            BinaryFn::Or => f64::from(a != 0.0 || b != 0.0),
        }
    }
}
