//! Polynomials with rational coefficients over scalar atoms.
//!
//! Invariants: terms are sorted by monomial, each monomial stands once, no coefficient is 0; factors of a
//! monomial are sorted by atom with exponents above 0. Arithmetic that overflows, or gives more than
//! [`MAX_TERMS`] terms, is `None`.

use super::rational::Rational;
use std::cmp::Ordering;

/// A scalar the compiler does not know the value of: a setting, a norm, a sine of one.
/// Equal scalars have equal atoms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Atom(pub u32);

/// The most terms a polynomial may have; beyond, a degree counts as lost.
pub const MAX_TERMS: usize = 10_000;

/// A product of powers of atoms; empty for 1.
pub(super) type Monomial = Vec<(Atom, u32)>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Poly {
    terms: Vec<(Monomial, Rational)>,
}

impl Poly {
    pub fn constant(value: Rational) -> Poly {
        Poly { terms: if value.is_zero() { vec![] } else { vec![(vec![], value)] } }
    }

    pub fn atom(atom: Atom) -> Poly {
        Poly { terms: vec![(vec![(atom, 1)], Rational::ONE)] }
    }

    pub fn is_zero(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value, if no atom occurs.
    pub fn as_constant(&self) -> Option<Rational> {
        match self.terms.as_slice() {
            [] => Some(Rational::ZERO),
            [(monomial, value)] if monomial.is_empty() => Some(*value),
            _ => None,
        }
    }

    pub fn add(&self, other: &Poly) -> Option<Poly> {
        let mut terms = Vec::with_capacity(self.terms.len() + other.terms.len());
        let (mut left, mut right) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (Some(l), Some(r)) => l.0.cmp(&r.0),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            match order {
                Ordering::Less => terms.extend(left.next().cloned()),
                Ordering::Greater => terms.extend(right.next().cloned()),
                Ordering::Equal => {
                    if let (Some((monomial, a)), Some((_, b))) = (left.next(), right.next()) {
                        let sum = a.add(*b)?;
                        if !sum.is_zero() {
                            terms.push((monomial.clone(), sum));
                        }
                    }
                }
            }
        }
        (terms.len() <= MAX_TERMS).then_some(Poly { terms })
    }

    pub fn scale(&self, by: Rational) -> Option<Poly> {
        if by.is_zero() {
            return Some(Poly { terms: vec![] });
        }
        let terms = self.terms.iter().map(|(m, c)| Some((m.clone(), c.mul(by)?))).collect::<Option<_>>()?;
        Some(Poly { terms })
    }

    pub fn mul(&self, other: &Poly) -> Option<Poly> {
        if let Some(value) = other.as_constant() {
            return self.scale(value);
        }
        if let Some(value) = self.as_constant() {
            return other.scale(value);
        }
        // A product of two long sums is refused before it is multiplied out: it would take long, and then be too long.
        if self.terms.len().checked_mul(other.terms.len())? > 10 * MAX_TERMS {
            return None;
        }
        let mut products = std::collections::BTreeMap::<Monomial, Rational>::new();
        for (m, a) in &self.terms {
            for (n, b) in &other.terms {
                let product = a.mul(*b)?;
                match products.entry(multiply(m, n)?) {
                    std::collections::btree_map::Entry::Vacant(slot) => {
                        slot.insert(product);
                    }
                    std::collections::btree_map::Entry::Occupied(mut slot) => {
                        let sum = slot.get().add(product)?;
                        *slot.get_mut() = sum;
                    }
                }
            }
            if products.len() > 2 * MAX_TERMS {
                return None;
            }
        }
        let terms: Vec<_> = products.into_iter().filter(|(_, c)| !c.is_zero()).collect();
        (terms.len() <= MAX_TERMS).then_some(Poly { terms })
    }

    /// `k` where `self = k * other`.
    pub fn ratio(&self, other: &Poly) -> Option<Rational> {
        if self.terms.len() != other.terms.len() {
            return None;
        }
        let k = self.terms.first()?.1.div(other.terms.first()?.1)?;
        let proportional = self.terms.iter().zip(&other.terms).all(|((m, a), (n, b))| m == n && b.mul(k) == Some(*a));
        proportional.then_some(k)
    }

    /// The coefficient of the first term, for bringing fractions into one form.
    pub fn leading(&self) -> Rational {
        self.terms.first().map_or(Rational::ONE, |t| t.1)
    }

    /// The largest monomial that divides every term of both.
    pub fn common_monomial(&self, other: &Poly) -> Monomial {
        let mut all = self.terms.iter().chain(&other.terms).map(|t| &t.0);
        let Some(mut common) = all.next().cloned() else { return vec![] };
        for monomial in all {
            common.retain_mut(|(atom, power)| {
                let here = monomial.iter().find(|f| f.0 == *atom).map_or(0, |f| f.1);
                *power = (*power).min(here);
                *power > 0
            });
            if common.is_empty() {
                break;
            }
        }
        common
    }

    /// Divides every term by a monomial that divides it.
    pub fn without(&self, by: &Monomial) -> Poly {
        let mut terms: Vec<_> = self
            .terms
            .iter()
            .map(|(monomial, c)| {
                let rest = monomial
                    .iter()
                    .map(|&(atom, power)| (atom, power - by.iter().find(|f| f.0 == atom).map_or(0, |f| f.1)))
                    .filter(|f| f.1 > 0)
                    .collect::<Monomial>();
                (rest, *c)
            })
            .collect();
        terms.sort_by(|a, b| a.0.cmp(&b.0));
        Poly { terms }
    }

    /// The atoms that occur.
    pub fn atoms(&self) -> Vec<Atom> {
        let mut atoms: Vec<Atom> = self.terms.iter().flat_map(|t| t.0.iter().map(|f| f.0)).collect();
        atoms.sort_unstable();
        atoms.dedup();
        atoms
    }

    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// `1 + 2*w*v - w^2`. At most six terms are spelt out.
    pub fn text(&self, name: &dyn Fn(Atom) -> String) -> String {
        if self.terms.is_empty() {
            return "0".into();
        }
        let mut out = String::new();
        for (k, (monomial, c)) in self.terms.iter().enumerate() {
            if k == 6 {
                out.push_str(" + ..");
                break;
            }
            let shown = if c.is_negative() { c.neg().unwrap_or(*c) } else { *c };
            match (k, c.is_negative()) {
                (0, true) => out.push('-'),
                (0, false) => {}
                (_, true) => out.push_str(" - "),
                (_, false) => out.push_str(" + "),
            }
            let mut factors: Vec<String> = Vec::new();
            if monomial.is_empty() || !shown.is_one() {
                factors.push(shown.text());
            }
            for &(atom, power) in monomial {
                factors.push(if power == 1 { name(atom) } else { format!("{}^{power}", name(atom)) });
            }
            out.push_str(&factors.join("*"));
        }
        out
    }
}

fn multiply(a: &Monomial, b: &Monomial) -> Option<Monomial> {
    let mut product = Monomial::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) if x.0 == y.0 => {
                product.push((x.0, x.1.checked_add(y.1)?));
                (i, j) = (i + 1, j + 1);
            }
            (Some(x), Some(y)) if x.0 < y.0 => {
                product.push(*x);
                i += 1;
            }
            (_, Some(y)) => {
                product.push(*y);
                j += 1;
            }
            (Some(x), None) => {
                product.push(*x);
                i += 1;
            }
            (None, None) => break,
        }
    }
    Some(product)
}
