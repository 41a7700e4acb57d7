//! Degrees: how far a tensor moves when all checkpoints move together.
//!
//! Move every checkpoint by the same `c`, holding coefficients still: an expression of degree `d` moves
//! by `d * c`. Degree 1 is a weight, degree 0 a delta. A degree is a [`Frac`], an exact fraction of
//! polynomials over scalar [`Atom`]s, or [`Degree::Lost`] with the place and the reason.
//!
//! Used by `elaborate` and `primitives` for every node they make; [`explain`] turns a degree that is not
//! the wanted one into a diagnostic (E2101 to E2107, W2108).
//!
//! Invariants: a known degree is exact; what cannot be proved, overflows or grows beyond
//! [`MAX_TERMS`] terms is lost, never guessed. A lost degree keeps its first cause.
//!
//! Not here: which atom stands for which scalar (the elaborator knows), degrees of types as written.

pub mod explain;
mod fraction;
mod polynomial;
mod rational;

pub use fraction::Frac;
pub use polynomial::{Atom, MAX_TERMS};

use merge_base::Span;
use std::rc::Rc;

/// The degree of a value.
#[derive(Clone, Debug)]
pub enum Degree {
    Known(Frac),
    Lost(Rc<Lost>),
}

/// Where and why a degree got lost.
#[derive(Clone, Debug)]
pub struct Lost {
    pub span: Span,
    pub why: Why,
}

/// Why a degree got lost.
#[derive(Clone, Debug)]
pub enum Why {
    /// It came out of a statistics file.
    Statistics,
    /// A weight times a tensor, a matrix product with one, a quotient by one.
    TensorProduct,
    /// A function that is not linear, by its name in recipes.
    Function(&'static str),
    /// Branches, or members of a mean, that differ.
    Branches(Vec<(Span, Degree)>),
    /// A division by the number 0.
    DividedByZero,
    /// The proof outgrew 128-bit numbers or [`MAX_TERMS`] terms.
    TooLarge,
}

impl Degree {
    /// Degree 1: a checkpoint.
    pub fn weight() -> Degree {
        Degree::Known(Frac::one())
    }

    /// Degree 0: a number, a random tensor, a delta.
    pub fn delta() -> Degree {
        Degree::Known(Frac::zero())
    }

    /// No degree, for the reason given.
    pub fn lost(span: Span, why: Why) -> Degree {
        Degree::Lost(Rc::new(Lost { span, why }))
    }

    /// No degree: it came out of a statistics file.
    pub fn statistics(span: Span) -> Degree {
        Degree::lost(span, Why::Statistics)
    }

    fn proved(result: Option<Frac>, span: Span) -> Degree {
        match result {
            Some(frac) => Degree::Known(frac),
            None => Degree::lost(span, Why::TooLarge),
        }
    }

    /// The fraction, unless it is lost.
    pub fn known(&self) -> Option<&Frac> {
        match self {
            Degree::Known(frac) => Some(frac),
            Degree::Lost(_) => None,
        }
    }

    /// Whether it is proved to be 0.
    pub fn is_delta(&self) -> bool {
        self.known().is_some_and(Frac::is_zero)
    }

    /// Whether it is proved to be 1.
    pub fn is_weight(&self) -> bool {
        self.known().is_some_and(Frac::is_one)
    }

    /// Whether both are known and equal for all values of the atoms.
    pub fn same(&self, other: &Degree) -> bool {
        matches!((self, other), (Degree::Known(a), Degree::Known(b)) if a.equals(b))
    }

    /// As [`Degree::same`], counting two lost degrees as agreeing: what branches and folds need.
    pub fn agrees(&self, other: &Degree) -> bool {
        self.same(other) || (self.known().is_none() && other.known().is_none())
    }

    /// Of `self + other`.
    pub fn add(&self, other: &Degree, span: Span) -> Degree {
        match (self, other) {
            (Degree::Known(a), Degree::Known(b)) => Degree::proved(a.add(b), span),
            (Degree::Lost(_), _) => self.clone(),
            (_, Degree::Lost(_)) => other.clone(),
        }
    }

    /// Of `self - other`.
    pub fn sub(&self, other: &Degree, span: Span) -> Degree {
        match (self, other) {
            (Degree::Known(a), Degree::Known(b)) => Degree::proved(a.sub(b), span),
            (Degree::Lost(_), _) => self.clone(),
            (_, Degree::Lost(_)) => other.clone(),
        }
    }

    /// Of `-self`.
    pub fn neg(&self, span: Span) -> Degree {
        match self {
            Degree::Known(a) => Degree::proved(a.neg(), span),
            Degree::Lost(_) => self.clone(),
        }
    }

    /// Of `s * self`, `s` a scalar whose value is `scalar`.
    pub fn scale(&self, scalar: &Frac, span: Span) -> Degree {
        match self {
            Degree::Known(a) => Degree::proved(a.mul(scalar), span),
            Degree::Lost(_) => self.clone(),
        }
    }

    /// Of `self / s`, `s` a scalar whose value is `scalar`.
    pub fn divide(&self, scalar: &Frac, span: Span) -> Degree {
        match self {
            Degree::Known(a) if a.is_zero() => self.clone(),
            Degree::Known(_) if scalar.is_zero() => Degree::lost(span, Why::DividedByZero),
            Degree::Known(a) => Degree::proved(a.div(scalar), span),
            Degree::Lost(_) => self.clone(),
        }
    }

    /// Of a product of two tensors, entry by entry or as matrices: what multiplies a delta is a delta.
    pub fn product_by_tensor(&self, other: &Degree, span: Span) -> Degree {
        if self.is_delta() || other.is_delta() {
            return Degree::delta();
        }
        match (self, other) {
            (Degree::Lost(_), _) => self.clone(),
            (_, Degree::Lost(_)) => other.clone(),
            _ => Degree::lost(span, Why::TensorProduct),
        }
    }

    /// Of a tensor divided by a tensor: a delta divided by anything is a delta.
    pub fn quotient_by_tensor(&self, by: &Degree, span: Span) -> Degree {
        match (self, by) {
            (Degree::Known(a), _) if a.is_zero() => Degree::delta(),
            (Degree::Lost(_), _) => self.clone(),
            (_, Degree::Lost(_)) => by.clone(),
            _ => Degree::lost(span, Why::TensorProduct),
        }
    }

    /// Of a mean, a choice by a mask, `lerp`, list `min` and `max`, `concat`, branches: the common one.
    /// An empty list has degree 0.
    pub fn join(members: &[(Span, Degree)], span: Span) -> Degree {
        let Some((_, first)) = members.first() else { return Degree::delta() };
        if let Some((_, lost)) = members.iter().find(|m| m.1.known().is_none()) {
            return lost.clone();
        }
        if members[1..].iter().all(|m| m.1.same(first)) {
            return first.clone();
        }
        Degree::lost(span, Why::Branches(members.to_vec()))
    }

    /// Of a function that is not linear: 0 if all its arguments have 0. `name` is its name in recipes.
    pub fn function_of<'a>(name: &'static str, args: impl IntoIterator<Item = &'a Degree>, span: Span) -> Degree {
        let mut lost = None;
        let mut moves = false;
        for degree in args {
            match degree {
                Degree::Known(a) => moves |= !a.is_zero(),
                Degree::Lost(_) => lost = lost.or(Some(degree)),
            }
        }
        match lost {
            Some(degree) => degree.clone(),
            None if moves => Degree::lost(span, Why::Function(name)),
            None => Degree::delta(),
        }
    }

    /// `1`, `0.3`, `w + v`, or `none`.
    pub fn text(&self, name: &dyn Fn(Atom) -> String) -> String {
        match self {
            Degree::Known(frac) => frac.text(name),
            Degree::Lost(_) => "none".into(),
        }
    }
}

#[cfg(test)]
mod tests;
