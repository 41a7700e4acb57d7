//! Ints and truth values as functions of decisions: what a check says of every candidate at once.
//!
//! An elaboration that watches keeps, beside the value of an expression, the [`Term`] that gives it in any candidate. So a check that
//! mentions too many decisions to try them all can still be decided (the driver's `reach`).
//!
//! Invariants: operands stand before what is made of them; equal terms are one; a truth value is 1 or 0.
//!
//! Not here: which expressions have a term (`elaborate::trace`), how checks are decided (the driver).

use rustc_hash::FxHashMap;
use std::rc::Rc;

/// A term of [`Terms`], by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TermId(pub u32);

/// An int or a truth value as a function of decisions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Term {
    /// It is something else in other candidates, and this one does not tell what.
    Unknown,
    Known(i64),
    /// What each answer of a decision stands for, in the order of its values.
    Decision {
        decision: u32,
        values: Rc<[i64]>,
    },
    Apply(Function, Rc<[TermId]>),
}

/// How a term is made of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Function {
    Add,
    Mul,
    Neg,
    /// Rounded down.
    Div,
    /// With the sign of the divisor.
    Mod,
    Min,
    Max,
    Eq,
    Lt,
    Le,
    And,
    Or,
    Not,
    /// The second where the first holds, else the third.
    Select,
    /// Whether the first divides the second, and is not 0.
    Divides,
    /// Whether it fits 64 bits.
    Fits,
}

impl Function {
    /// The value for known operands; none where an int does not fit, or something is divided by 0. `None` operands are not known.
    pub fn apply(self, of: &[Option<i64>]) -> Option<i64> {
        use Function as F;
        let truth = |b: bool| Some(i64::from(b));
        match (self, of) {
            (F::And, [Some(0), _] | [_, Some(0)]) => Some(0),
            (F::Or, [Some(1), _] | [_, Some(1)]) => Some(1),
            (F::Select, [Some(c), a, b]) => {
                if *c != 0 {
                    *a
                } else {
                    *b
                }
            }
            (F::Select, [None, a, b]) if a == b => *a,
            (F::Fits, [Some(_)]) => Some(1),
            (F::Neg, [Some(a)]) => a.checked_neg(),
            (F::Not, [Some(a)]) => truth(*a == 0),
            (_, [Some(a), Some(b)]) => match self {
                F::Add => a.checked_add(*b),
                F::Mul => a.checked_mul(*b),
                F::Div => a.checked_div(*b).map(|q| if a % b != 0 && (*a < 0) != (*b < 0) { q - 1 } else { q }),
                F::Mod => a.checked_rem(*b).map(|r| if r != 0 && (r < 0) != (*b < 0) { r + b } else { r }),
                F::Min => Some(*a.min(b)),
                F::Max => Some(*a.max(b)),
                F::Eq => truth(a == b),
                F::Lt => truth(a < b),
                F::Le => truth(a <= b),
                F::And => truth(*a != 0 && *b != 0),
                F::Or => truth(*a != 0 || *b != 0),
                F::Divides => truth(*a != 0 && b.checked_rem(*a).is_none_or(|r| r == 0)),
                F::Neg | F::Not | F::Select | F::Fits => None,
            },
            _ => None,
        }
    }
}

/// All terms of one elaboration.
#[derive(Debug, Default)]
pub struct Terms {
    all: Vec<Term>,
    /// The least and the largest value, where both are known.
    bounds: Vec<Option<(i64, i64)>>,
    known: FxHashMap<Term, TermId>,
}

impl Terms {
    fn add(&mut self, term: Term) -> TermId {
        if let Some(known) = self.known.get(&term) {
            return *known;
        }
        let id = TermId(self.all.len() as u32);
        self.bounds.push(self.bounds_of(&term));
        self.known.insert(term.clone(), id);
        self.all.push(term);
        id
    }

    pub fn unknown(&mut self) -> TermId {
        self.add(Term::Unknown)
    }

    pub fn number(&mut self, n: i64) -> TermId {
        self.add(Term::Known(n))
    }

    /// What a decision stands for.
    pub fn decision(&mut self, decision: u32, values: Rc<[i64]>) -> TermId {
        self.add(Term::Decision { decision, values })
    }

    /// A function of terms, computed where they are known.
    pub fn apply(&mut self, function: Function, of: &[TermId]) -> TermId {
        let operands: Vec<Option<i64>> = of.iter().map(|t| self.value(*t)).collect();
        if let Some(n) = function.apply(&operands) {
            return self.number(n);
        }
        match (function, of) {
            (Function::Eq | Function::Le, [a, b]) if a == b && self.is_known(*a) => return self.number(1),
            (Function::Select, [c, a, b]) => match self.value(*c) {
                Some(c) => return if c != 0 { *a } else { *b },
                None if a == b => return *a,
                None => {}
            },
            (Function::And, [a, b]) | (Function::Or, [a, b]) => {
                // What is left of the one is the other: 1 of `and`, 0 of `or`.
                let neutral = i64::from(function == Function::And);
                match (self.value(*a), self.value(*b)) {
                    (Some(n), _) if n == neutral => return *b,
                    (_, Some(n)) if n == neutral => return *a,
                    _ if a == b => return *a,
                    _ => {}
                }
            }
            _ if of.iter().all(|t| self.all[t.0 as usize] == Term::Unknown) => return self.unknown(),
            _ => {}
        }
        self.add(Term::Apply(function, of.into()))
    }

    /// The value of a term that is the same in all candidates.
    pub fn value(&self, term: TermId) -> Option<i64> {
        if let Term::Known(n) = self.all[term.0 as usize] { Some(n) } else { None }
    }

    /// Whether it is known in every candidate, and fits.
    pub fn is_known(&self, term: TermId) -> bool {
        self.bounds[term.0 as usize].is_some()
    }

    /// Whether a truth value is true in every candidate, as far as the bounds of its parts tell.
    pub fn holds(&self, term: TermId) -> bool {
        self.bounds[term.0 as usize].is_some_and(|(low, _)| low > 0)
    }

    fn bounds_of(&self, term: &Term) -> Option<(i64, i64)> {
        use Function as F;
        let (function, of) = match term {
            Term::Unknown => return None,
            Term::Known(n) => return Some((*n, *n)),
            Term::Decision { values, .. } => return values.iter().min().copied().zip(values.iter().max().copied()),
            Term::Apply(function, of) => (*function, of),
        };
        let at = |i: usize| of.get(i).and_then(|t| self.bounds[t.0 as usize]);
        match function {
            F::Add => {
                let ((a, b), (c, d)) = (at(0)?, at(1)?);
                a.checked_add(c).zip(b.checked_add(d))
            }
            F::Mul => {
                let ((a, b), (c, d)) = (at(0)?, at(1)?);
                let ends = [a.checked_mul(c)?, a.checked_mul(d)?, b.checked_mul(c)?, b.checked_mul(d)?];
                ends.iter().min().copied().zip(ends.iter().max().copied())
            }
            F::Neg => {
                let (a, b) = at(0)?;
                b.checked_neg().zip(a.checked_neg())
            }
            F::Min | F::Max => {
                let ((a, b), (c, d)) = (at(0)?, at(1)?);
                Some(if function == F::Min { (a.min(c), b.min(d)) } else { (a.max(c), b.max(d)) })
            }
            // By a positive int: as small as it is large.
            F::Div => {
                let ((a, b), (c, d)) = (at(0)?, at(1)?);
                let ends = [a.div_euclid(c.max(1)), a.div_euclid(d.max(1)), b.div_euclid(c.max(1)), b.div_euclid(d.max(1))];
                (c > 0).then(|| ends.iter().min().copied().zip(ends.iter().max().copied()))?
            }
            F::Mod => {
                let (_, (c, d)) = (at(0)?, at(1)?);
                (c > 0).then_some((0, d - 1))
            }
            F::Select => {
                let (_, (a, b), (c, d)) = (at(0)?, at(1)?, at(2)?);
                Some((a.min(c), b.max(d)))
            }
            F::Le => {
                let ((a, b), (c, d)) = (at(0)?, at(1)?);
                Some((i64::from(b <= c), i64::from(a <= d)))
            }
            F::Lt => {
                let ((a, b), (c, d)) = (at(0)?, at(1)?);
                Some((i64::from(b < c), i64::from(a < d)))
            }
            F::Fits => at(0).map(|_| (1, 1)),
            F::Not => {
                let (low, high) = at(0)?;
                Some((i64::from(high == 0), i64::from(low == 0)))
            }
            F::Eq | F::Divides => at(0).and(at(1)).map(|_| (0, 1)),
            F::And => {
                let ((a, b), (c, d)) = (at(0)?, at(1)?);
                Some((a.min(c), b.min(d)))
            }
            F::Or => {
                let ((a, b), (c, d)) = (at(0)?, at(1)?);
                Some((a.max(c), b.max(d)))
            }
        }
    }

    /// All of them, operands first.
    pub fn into_all(self) -> Vec<Term> {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_computed_and_bounds_hold() {
        let mut t = Terms::default();
        let (a, b) = (t.decision(0, Rc::from([2, 4, 6])), t.decision(1, Rc::from([-1, 3])));
        let (two, zero) = (t.number(2), t.number(0));
        let four = t.apply(Function::Add, &[two, two]);
        assert_eq!(t.value(four), Some(4));
        let product = t.apply(Function::Mul, &[a, b]);
        assert_eq!(t.bounds[product.0 as usize], Some((-6, 18)));
        let positive = t.apply(Function::Lt, &[zero, a]);
        assert!(t.holds(positive));
        let same = t.apply(Function::Eq, &[product, product]);
        assert_eq!(t.value(same), Some(1));
        let unknown = t.unknown();
        let either = t.apply(Function::Or, &[positive, unknown]);
        assert!(!t.is_known(unknown) && !t.holds(either));
        let chosen = t.apply(Function::Select, &[b, a, unknown]);
        assert!(!t.is_known(chosen));
    }

    #[test]
    fn division_rounds_down_and_nothing_is_divided_by_nothing() {
        let at = |f: Function, a: i64, b: i64| f.apply(&[Some(a), Some(b)]);
        assert_eq!((at(Function::Div, -7, 2), at(Function::Mod, -7, 2)), (Some(-4), Some(1)));
        assert_eq!((at(Function::Div, 7, -2), at(Function::Mod, 7, -2)), (Some(-4), Some(-1)));
        assert_eq!(
            (at(Function::Div, 7, 0), at(Function::Divides, 0, 7), at(Function::Divides, -7, 14)),
            (None, Some(0), Some(1))
        );
        assert_eq!(Function::And.apply(&[None, Some(0)]), Some(0));
        assert_eq!(Function::Select.apply(&[Some(1), Some(5), None]), Some(5));
        assert_eq!(at(Function::Add, i64::MAX, 1), None);
    }
}
