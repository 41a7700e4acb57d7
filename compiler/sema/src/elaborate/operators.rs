//! Operators: static arithmetic on ints, and tensor arithmetic with its degrees.

use super::context::Cx;
use super::model::LiftOp;
use crate::codes::types as codes;
use crate::degree::{Degree, Frac};
use crate::hir::{BinaryOp, Role, UnaryOp};
use crate::primitives::matmul;
use crate::value::{Argument, Reported, TensorVal, Value};
use merge_abi::{BinaryFn, UnaryFn};
use merge_base::{Diagnostic, Span};

/// A value with the place it comes from.
pub type At<'a> = (&'a Value, Span);

fn argument((value, span): At<'_>) -> Option<Argument> {
    Some(Argument { value: value.clone(), span, parts: None })
}

impl<'p> Cx<'p> {
    /// `left op right`.
    pub fn operator(&mut self, op: BinaryOp, left: At<'_>, right: At<'_>, span: Span) -> Value {
        let poison = |v: &Value| matches!(v, Value::Poison);
        if poison(left.0) || poison(right.0) {
            return Value::Poison;
        }
        match (op, left.0, right.0) {
            (BinaryOp::Join, l, r) => self.join_lists((l, left.1), (r, right.1)),
            (_, Value::Model(_), _) | (_, _, Value::Model(_)) => {
                self.lifted(LiftOp::Binary(op), vec![argument(left), argument(right)], span)
            }
            (_, Value::Int(a), Value::Int(b)) => self.int_operator(op, *a, *b, right.1, span),
            (BinaryOp::And, Value::Bool(a), Value::Bool(b)) => Value::Bool(*a && *b),
            (BinaryOp::Or, Value::Bool(a), Value::Bool(b)) => Value::Bool(*a || *b),
            (BinaryOp::Eq, a, b) if is_static(a) && is_static(b) => self.static_equality(a, b, true, span),
            (BinaryOp::Ne, a, b) if is_static(a) && is_static(b) => self.static_equality(a, b, false, span),
            (BinaryOp::MatMul, l, r) => {
                let (Ok(a), Ok(b)) = (self.tensor(l, left.1), self.tensor(r, right.1)) else { return Value::Poison };
                matmul(self, (&a, left.1), (&b, right.1), span).into()
            }
            _ => self.tensor_operator(op, left, right, span).into(),
        }
    }

    fn join_lists(&mut self, left: At<'_>, right: At<'_>) -> Value {
        match (left.0, right.0) {
            (Value::List(a), Value::List(b)) => Value::List(a.iter().chain(b.iter()).cloned().collect()),
            (l, r) => {
                let (wrong, at) = if matches!(l, Value::List(_)) { (r, right.1) } else { (l, left.1) };
                let message = format!("`++` joins lists, and this is {}", wrong.kind());
                let mut d = Diagnostic::new(codes::WRONG_KIND, message, at, "");
                if matches!(wrong, Value::Str(_)) {
                    d = d.help("strings are put together by holes: \"{a}{b}\"");
                }
                self.report(d);
                Value::Poison
            }
        }
    }

    fn static_equality(&mut self, a: &Value, b: &Value, wanted: bool, span: Span) -> Value {
        match (a, b) {
            (Value::Str(a) | Value::Word(a), Value::Str(b) | Value::Word(b)) => Value::Bool((a == b) == wanted),
            (Value::Bool(a), Value::Bool(b)) => Value::Bool((a == b) == wanted),
            (Value::Size(a), Value::Size(b)) => Value::Bool((a == b) == wanted),
            (a, b) => {
                let message = format!("{} and {} cannot be compared", a.kind(), b.kind());
                self.error(codes::WRONG_KIND, message, span, "");
                Value::Poison
            }
        }
    }

    fn int_operator(&mut self, op: BinaryOp, a: i64, b: i64, b_span: Span, span: Span) -> Value {
        let number = match op {
            BinaryOp::Add => a.checked_add(b),
            BinaryOp::Sub => a.checked_sub(b),
            BinaryOp::Mul => a.checked_mul(b),
            BinaryOp::Div if b == 0 => {
                self.error(codes::INT_ARITHMETIC, "division by zero", b_span, "this is 0");
                return Value::Poison;
            }
            BinaryOp::Div if a.checked_rem(b).is_some_and(|r| r != 0) => {
                self.report(
                    Diagnostic::new(codes::INT_ARITHMETIC, format!("{b} does not divide {a}"), span, "ints divide exactly")
                        .help("for an int rounded down, write `div(a, b)`")
                        .help(format!("for a number, make one side a number: `{a} / {b}.0`")),
                );
                return Value::Poison;
            }
            BinaryOp::Div => a.checked_div(b),
            BinaryOp::Eq => return Value::Bool(a == b),
            BinaryOp::Ne => return Value::Bool(a != b),
            BinaryOp::Lt => return Value::Bool(a < b),
            BinaryOp::Le => return Value::Bool(a <= b),
            BinaryOp::Gt => return Value::Bool(a > b),
            BinaryOp::Ge => return Value::Bool(a >= b),
            BinaryOp::And | BinaryOp::Or | BinaryOp::MatMul | BinaryOp::Join => {
                let message = format!("`{}` does not go with ints", op.text());
                self.error(codes::WRONG_KIND, message, span, "");
                return Value::Poison;
            }
        };
        match number {
            Some(n) => Value::Int(n),
            None => {
                self.error(codes::INT_ARITHMETIC, "this int does not fit 64 bits", span, "");
                Value::Poison
            }
        }
    }

    fn tensor_operator(&mut self, op: BinaryOp, left: At<'_>, right: At<'_>, span: Span) -> Result<TensorVal, Reported> {
        // A buffer beside a delta that lacks its name is copied, as other tensors are.
        match (op, left.0, right.0) {
            (BinaryOp::Add | BinaryOp::Sub, Value::Tensor(t), Value::Tensor(none))
            | (BinaryOp::Add, Value::Tensor(none), Value::Tensor(t))
                if t.buffer.is_some() && self.counts_as_zero(none) =>
            {
                return Ok(t.clone());
            }
            _ => {}
        }
        let a = self.tensor(left.0, left.1)?;
        let b = self.tensor(right.0, right.1)?;
        let degree = self.degree_of(op, &a, &b, span);
        if matches!(op, BinaryOp::Add | BinaryOp::Sub) && !degree.is_weight() && !degree.is_delta() {
            let parts = [(left.1, a.degree.clone()), (right.1, b.degree.clone())];
            self.sums.insert(span, (op == BinaryOp::Sub, parts));
        }
        let f = function(op);
        let result = self.binary(f, (&a, left.1), (&b, right.1), degree, span)?;
        if self.is_scalar(&result) && matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div) {
            let (x, y) = (self.frac(&a), self.frac(&b));
            let frac = match op {
                BinaryOp::Add => x.add(&y),
                BinaryOp::Sub => x.sub(&y),
                BinaryOp::Mul => x.mul(&y),
                _ => x.div(&y),
            };
            if let Some(frac) = frac {
                self.set_frac(&result, frac);
            }
        }
        Ok(result)
    }

    fn degree_of(&mut self, op: BinaryOp, a: &TensorVal, b: &TensorVal, span: Span) -> Degree {
        match op {
            BinaryOp::Add => a.degree.add(&b.degree, span),
            BinaryOp::Sub => a.degree.sub(&b.degree, span),
            BinaryOp::Mul => self.degree_of_product(a, b, span),
            BinaryOp::Div => {
                if self.is_coefficient(b) {
                    let by = self.frac(b);
                    a.degree.divide(&by, span)
                } else {
                    a.degree.quotient_by_tensor(&b.degree, span)
                }
            }
            other => Degree::function_of(other.text(), [&a.degree, &b.degree], span),
        }
    }

    /// Of `a * b`: a scalar is a coefficient, any other factor a tensor.
    pub fn degree_of_product(&mut self, a: &TensorVal, b: &TensorVal, span: Span) -> Degree {
        let (a_fits, b_fits) = (self.is_coefficient(a), self.is_coefficient(b));
        // What multiplies a delta gives a delta, also where neither has axes; a known number is no delta.
        if a_fits && b_fits && [a, b].iter().any(|t| t.degree.is_delta() && self.launch_value(t).is_none()) {
            return Degree::delta();
        }
        // Of two scalars, the one that stays put is the coefficient of the other.
        if a_fits && (a.degree.is_delta() || !b_fits) {
            let s = self.frac(a);
            return b.degree.scale(&s, span);
        }
        if b_fits {
            let s = self.frac(b);
            return a.degree.scale(&s, span);
        }
        a.degree.product_by_tensor(&b.degree, span)
    }

    /// Whether a value is a scalar that is held still when the checkpoints move: anything without axes but
    /// a weight of its own, such as a learnt temperature.
    fn is_coefficient(&self, t: &TensorVal) -> bool {
        self.is_scalar(t) && t.degree.known().is_none_or(Frac::is_zero)
    }

    /// `-value`, `not value`.
    pub(super) fn unary_operator(&mut self, op: UnaryOp, value: At<'_>, span: Span) -> Value {
        match (op, value.0) {
            (_, Value::Poison) => Value::Poison,
            (_, Value::Model(_)) => self.lifted(LiftOp::Unary(op), vec![argument(value)], span),
            (UnaryOp::Neg, Value::Int(i)) => match i.checked_neg() {
                Some(n) => Value::Int(n),
                None => {
                    self.error(codes::INT_ARITHMETIC, "this int does not fit 64 bits", span, "");
                    Value::Poison
                }
            },
            (UnaryOp::Not, Value::Bool(b)) => Value::Bool(!b),
            (op, v) => self.unary_tensor(op, v, value.1, span).into(),
        }
    }

    fn unary_tensor(&mut self, op: UnaryOp, value: &Value, at: Span, span: Span) -> Result<TensorVal, Reported> {
        let x = self.tensor(value, at)?;
        match op {
            UnaryOp::Neg => {
                let degree = x.degree.neg(span);
                let result = self.unary(UnaryFn::Neg, &x, degree, span);
                if self.is_scalar(&x)
                    && let Some(frac) = self.frac(&x).neg()
                {
                    self.set_frac(&result, frac);
                }
                Ok(result)
            }
            UnaryOp::Not => {
                let degree = Degree::function_of("not", [&x.degree], span);
                Ok(self.unary(UnaryFn::Not, &x, degree, span))
            }
        }
    }

    /// `value as role`. `affine` is the degree that `affine` stands for in the signature around.
    pub(super) fn promise(
        &mut self,
        value: At<'_>,
        (role, role_span): (Role, Span),
        affine: Option<&Degree>,
        warn: bool,
        span: Span,
    ) -> Value {
        if let Value::Model(_) = value.0 {
            let op = LiftOp::As { role, role_span, affine: affine.cloned(), warn };
            return self.lifted(op, vec![argument(value)], span);
        }
        let t = match value.0 {
            // A buffer is copied under any promise.
            Value::Tensor(t) if t.buffer.is_some() => return Value::Tensor(t.clone()),
            v => match self.tensor(v, value.1) {
                Ok(t) => t,
                Err(_) => return Value::Poison,
            },
        };
        let degree = match (role, affine) {
            (Role::Weight, _) => Degree::weight(),
            (Role::Delta, _) => Degree::delta(),
            (Role::Affine, Some(d)) => d.clone(),
            (Role::Affine, None) => {
                self.report(
                    Diagnostic::new(
                        codes::WRONG_KIND,
                        "`as affine` stands for the degree of the `affine` parameters, and there are none here",
                        role_span,
                        "",
                    )
                    .help("say `as weight` or `as delta`"),
                );
                return Value::Poison;
            }
        };
        if warn {
            let proved = t.degree.same(&degree);
            *self.promises.entry(role_span).or_insert(true) &= proved;
            self.promise_values.entry(role_span).or_insert((span, role));
        }
        Value::Tensor(TensorVal { degree, ..t })
    }

    /// Warns of promises that were proved wherever they were reached.
    pub(super) fn report_promises(&mut self) {
        let mut needless: Vec<(Span, (Span, Role))> =
            self.promise_values.iter().filter(|(s, _)| self.promises.get(s) == Some(&true)).map(|(s, v)| (*s, *v)).collect();
        needless.sort_by_key(|n| n.0);
        for (role_span, (span, role)) in needless {
            let word = match role {
                Role::Weight => "weight",
                Role::Delta => "delta",
                Role::Affine => "affine",
            };
            let d = crate::degree::explain::already_proved(word, span, role_span);
            self.findings.add(d, None);
        }
    }

    /// Reports that a construct of the language is not there yet.
    pub fn not_there_yet(&mut self, what: &str, help: &str, span: Span) -> Value {
        let mut d = Diagnostic::new(crate::codes::absent::NOT_THERE_YET, format!("{what} is not there yet"), span, "");
        if !help.is_empty() {
            d = d.help(help);
        }
        self.report(d);
        Value::Poison
    }
}

fn is_static(v: &Value) -> bool {
    matches!(v, Value::Str(_) | Value::Word(_) | Value::Bool(_) | Value::Size(_))
}

fn function(op: BinaryOp) -> BinaryFn {
    match op {
        BinaryOp::Add => BinaryFn::Add,
        BinaryOp::Sub => BinaryFn::Sub,
        BinaryOp::Mul => BinaryFn::Mul,
        BinaryOp::Div => BinaryFn::Div,
        BinaryOp::Eq => BinaryFn::Eq,
        BinaryOp::Ne => BinaryFn::Ne,
        BinaryOp::Lt => BinaryFn::Lt,
        BinaryOp::Le => BinaryFn::Le,
        BinaryOp::Gt => BinaryFn::Gt,
        BinaryOp::Ge => BinaryFn::Ge,
        BinaryOp::And => BinaryFn::And,
        BinaryOp::Or => BinaryFn::Or,
        BinaryOp::MatMul | BinaryOp::Join => unreachable!("answered before"),
    }
}
