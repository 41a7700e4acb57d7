//! Fractions of polynomials: the field that degrees and scalar coefficients live in.

use super::polynomial::{Atom, Poly};
use super::rational::Rational;
use std::rc::Rc;

/// A fraction of two polynomials over atoms. Arithmetic is `None` where a number outgrows 128 bits or a
/// polynomial outgrows [`super::MAX_TERMS`] terms; a divisor that may be 0 counts as not 0.
#[derive(Clone, Debug)]
pub struct Frac(Repr);

#[derive(Clone, Debug)]
enum Repr {
    /// The usual case by far, kept free of allocation.
    Const(Rational),
    /// Numerator and denominator, neither of them 0, not proportional, without a common monomial.
    General(Rc<(Poly, Poly)>),
}

impl Frac {
    pub fn zero() -> Frac {
        Frac(Repr::Const(Rational::ZERO))
    }

    pub fn one() -> Frac {
        Frac(Repr::Const(Rational::ONE))
    }

    pub fn int(value: i64) -> Frac {
        Frac(Repr::Const(Rational::int(value)))
    }

    /// The exact value of a decimal as it stands in a recipe.
    pub fn decimal(text: &str) -> Option<Frac> {
        Rational::decimal(text).map(|r| Frac(Repr::Const(r)))
    }

    /// The exact value of the shortest decimal that reads as `value`: 7/10 for the double nearest to it.
    pub fn nearest_decimal(value: f64) -> Option<Frac> {
        value.is_finite().then(|| format!("{value:?}")).and_then(|text| Frac::decimal(&text))
    }

    pub fn atom(atom: Atom) -> Frac {
        Frac(Repr::General(Rc::new((Poly::atom(atom), Poly::constant(Rational::ONE)))))
    }

    fn of(num: Poly, den: Poly) -> Option<Frac> {
        if let (Some(n), Some(d)) = (num.as_constant(), den.as_constant()) {
            return Some(Frac(Repr::Const(n.div(d)?)));
        }
        if num.is_zero() {
            return Some(Frac::zero());
        }
        if let Some(d) = den.as_constant() {
            let num = num.scale(Rational::ONE.div(d)?)?;
            return Some(Frac(Repr::General(Rc::new((num, Poly::constant(Rational::ONE))))));
        }
        if let Some(k) = num.ratio(&den) {
            return Some(Frac(Repr::Const(k)));
        }
        let common = num.common_monomial(&den);
        let (num, den) = if common.is_empty() { (num, den) } else { (num.without(&common), den.without(&common)) };
        if den.as_constant().is_some() {
            return Frac::of(num, den);
        }
        let lead = Rational::ONE.div(den.leading())?;
        if lead.is_one() {
            return Some(Frac(Repr::General(Rc::new((num, den)))));
        }
        Some(Frac(Repr::General(Rc::new((num.scale(lead)?, den.scale(lead)?)))))
    }

    fn parts(&self) -> (Poly, Poly) {
        match &self.0 {
            Repr::Const(c) => (Poly::constant(*c), Poly::constant(Rational::ONE)),
            Repr::General(both) => (both.0.clone(), both.1.clone()),
        }
    }

    pub fn add(&self, other: &Frac) -> Option<Frac> {
        if self.is_zero() {
            return Some(other.clone());
        }
        if other.is_zero() {
            return Some(self.clone());
        }
        if let (Repr::Const(a), Repr::Const(b)) = (&self.0, &other.0) {
            return a.add(*b).map(|c| Frac(Repr::Const(c)));
        }
        let ((a, b), (c, d)) = (self.parts(), other.parts());
        if b == d {
            return Frac::of(a.add(&c)?, b);
        }
        Frac::of(a.mul(&d)?.add(&c.mul(&b)?)?, b.mul(&d)?)
    }

    pub fn sub(&self, other: &Frac) -> Option<Frac> {
        self.add(&other.neg()?)
    }

    pub fn neg(&self) -> Option<Frac> {
        match &self.0 {
            Repr::Const(c) => c.neg().map(|c| Frac(Repr::Const(c))),
            Repr::General(both) => Some(Frac(Repr::General(Rc::new((both.0.scale(Rational::int(-1))?, both.1.clone()))))),
        }
    }

    pub fn mul(&self, other: &Frac) -> Option<Frac> {
        if self.is_zero() || other.is_one() {
            return Some(self.clone());
        }
        if other.is_zero() || self.is_one() {
            return Some(other.clone());
        }
        if let (Repr::Const(a), Repr::Const(b)) = (&self.0, &other.0) {
            return a.mul(*b).map(|c| Frac(Repr::Const(c)));
        }
        let ((a, b), (c, d)) = (self.parts(), other.parts());
        Frac::of(a.mul(&c)?, b.mul(&d)?)
    }

    /// None where `other` is 0 too.
    pub fn div(&self, other: &Frac) -> Option<Frac> {
        if other.is_one() {
            return Some(self.clone());
        }
        if let (Repr::Const(a), Repr::Const(b)) = (&self.0, &other.0) {
            return a.div(*b).map(|c| Frac(Repr::Const(c)));
        }
        if other.is_zero() {
            return None;
        }
        let ((a, b), (c, d)) = (self.parts(), other.parts());
        Frac::of(a.mul(&d)?, b.mul(&c)?)
    }

    /// Whether both are the same for all values of the atoms; a product too large to tell counts as no.
    pub fn equals(&self, other: &Frac) -> bool {
        match (&self.0, &other.0) {
            (Repr::Const(a), Repr::Const(b)) => a == b,
            (Repr::General(a), Repr::General(b)) => {
                Rc::ptr_eq(a, b) || a == b || matches!((a.0.mul(&b.1), b.0.mul(&a.1)), (Some(l), Some(r)) if l == r)
            }
            // A general fraction whose parts are proportional was reduced to a number when it was made.
            _ => false,
        }
    }

    pub fn is_zero(&self) -> bool {
        matches!(&self.0, Repr::Const(c) if c.is_zero())
    }

    pub fn is_one(&self) -> bool {
        matches!(&self.0, Repr::Const(c) if c.is_one())
    }

    /// The value, if it depends on no atom.
    pub fn as_constant(&self) -> Option<f64> {
        match &self.0 {
            Repr::Const(c) => Some(c.to_f64()),
            Repr::General(_) => None,
        }
    }

    /// Whether the denominator is a number, so that [`Frac::text`] reads like a formula a person would write.
    pub fn is_polynomial(&self) -> bool {
        match &self.0 {
            Repr::Const(_) => true,
            Repr::General(both) => both.1.as_constant().is_some(),
        }
    }

    /// The atoms that occur, each once.
    pub fn atoms(&self) -> Vec<Atom> {
        match &self.0 {
            Repr::Const(_) => vec![],
            Repr::General(both) => {
                let mut atoms = both.0.atoms();
                atoms.extend(both.1.atoms());
                atoms.sort_unstable();
                atoms.dedup();
                atoms
            }
        }
    }

    /// `1.3`, `w + v`, `(w + v)/(1 + w)`.
    pub fn text(&self, name: &dyn Fn(Atom) -> String) -> String {
        match &self.0 {
            Repr::Const(c) => c.text(),
            Repr::General(both) => {
                let (num, den) = (&both.0, &both.1);
                if den.as_constant().is_some() {
                    return num.text(name);
                }
                let wrap = |p: &Poly| if p.len() == 1 { p.text(name) } else { format!("({})", p.text(name)) };
                format!("{}/{}", wrap(num), wrap(den))
            }
        }
    }
}

impl PartialEq for Frac {
    fn eq(&self, other: &Frac) -> bool {
        self.equals(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(a: Atom) -> String {
        ["w", "v", "u"][a.0 as usize].to_string()
    }

    fn w() -> Frac {
        Frac::atom(Atom(0))
    }

    fn v() -> Frac {
        Frac::atom(Atom(1))
    }

    fn u() -> Frac {
        Frac::atom(Atom(2))
    }

    #[test]
    fn a_weight_and_its_complement_add_to_one() {
        let rest = Frac::one().sub(&w()).unwrap();
        assert!(w().add(&rest).unwrap().is_one());
    }

    #[test]
    fn a_normalised_sum_is_one_however_it_is_written() {
        let sum = w().add(&v()).unwrap().add(&u()).unwrap();
        assert!(sum.div(&sum).unwrap().is_one());
        let each = [w(), v(), u()].iter().map(|x| x.div(&sum).unwrap()).reduce(|a, b| a.add(&b).unwrap()).unwrap();
        assert!(each.is_one());
    }

    #[test]
    fn fractions_with_different_denominators_are_compared_by_cross_multiplication() {
        // w/(w+v) + v/(v+w) with the second brought over another denominator first.
        let sum = w().add(&v()).unwrap();
        let twice = sum.mul(&Frac::int(2)).unwrap();
        let a = w().div(&sum).unwrap();
        let b = v().mul(&Frac::int(2)).unwrap().div(&twice).unwrap();
        assert!(a.add(&b).unwrap().is_one());
        // (w^2 - v^2)/(w - v) = w + v, which no gcd has reduced.
        let squares = w().mul(&w()).unwrap().sub(&v().mul(&v()).unwrap()).unwrap();
        let quotient = squares.div(&w().sub(&v()).unwrap()).unwrap();
        assert!(quotient.equals(&sum));
    }

    #[test]
    fn one_over_keep_times_keep_is_one() {
        assert!(Frac::one().div(&w()).unwrap().mul(&w()).unwrap().is_one());
        assert!(w().mul(&v()).unwrap().div(&w()).unwrap().equals(&v()));
    }

    #[test]
    fn text_reads_like_a_formula() {
        assert_eq!(w().add(&v()).unwrap().text(&name), "w + v");
        assert_eq!(Frac::one().add(&w()).unwrap().text(&name), "1 + w");
        assert_eq!(Frac::int(2).mul(&w()).unwrap().sub(&v()).unwrap().text(&name), "2*w - v");
        assert_eq!(w().div(&w().add(&v()).unwrap()).unwrap().text(&name), "w/(w + v)");
        assert_eq!(Frac::decimal("1.3").unwrap().text(&name), "1.3");
    }

    #[test]
    fn division_by_zero_is_none() {
        assert!(w().div(&Frac::zero()).is_none());
        assert!(Frac::one().div(&w().sub(&w()).unwrap()).is_none());
    }

    #[test]
    fn a_product_beyond_the_cap_is_none_and_quickly_so() {
        let sum = (0..200).map(|k| Frac::atom(Atom(k))).reduce(|a, b| a.add(&b).unwrap()).unwrap();
        let square = sum.mul(&sum);
        assert!(square.is_none());
    }

    #[test]
    fn doubles_are_read_as_the_decimal_a_person_wrote() {
        assert!(Frac::nearest_decimal(0.7).unwrap().add(&Frac::nearest_decimal(0.3).unwrap()).unwrap().is_one());
        assert!(Frac::nearest_decimal(f64::NAN).is_none());
        assert!(Frac::nearest_decimal(1e-12).is_some());
    }
}
