//! Exact rational numbers in lowest terms, on `i128`. What does not fit is `None`, never wrong.

use std::cmp::Ordering;

/// A rational number in lowest terms with a positive denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rational {
    num: i128,
    den: i128,
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Rational {
    pub const ZERO: Rational = Rational { num: 0, den: 1 };
    pub const ONE: Rational = Rational { num: 1, den: 1 };

    /// A whole number.
    pub fn int(value: i64) -> Rational {
        Rational { num: i128::from(value), den: 1 }
    }

    /// `num / den` in lowest terms; none if `den` is 0 or a part does not fit.
    pub fn new(num: i128, den: i128) -> Option<Rational> {
        if den == 0 {
            return None;
        }
        let g = gcd(num.unsigned_abs(), den.unsigned_abs());
        let g = i128::try_from(g).ok()?;
        let (num, den) = (num / g, den / g);
        if den < 0 { Some(Rational { num: num.checked_neg()?, den: den.checked_neg()? }) } else { Some(Rational { num, den }) }
    }

    /// The exact value of a decimal such as `0.35`, `-2`, `1e-6` or `5_000`; none if it is not a number
    /// or needs more than 128 bits.
    pub fn decimal(text: &str) -> Option<Rational> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (digits, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (mut num, mut places, mut point, mut any) = (0i128, 0i32, false, false);
        for c in digits.chars() {
            match c {
                '.' if !point => point = true,
                '_' => {}
                _ => {
                    let digit = c.to_digit(10)?;
                    num = num.checked_mul(10)?.checked_add(i128::from(digit))?;
                    places += i32::from(point);
                    any = true;
                }
            }
        }
        if !any {
            return None;
        }
        let power = exponent.checked_sub(places)?;
        let scale = 10i128.checked_pow(power.unsigned_abs())?;
        let num = if negative { -num } else { num };
        if power >= 0 { Rational::new(num.checked_mul(scale)?, 1) } else { Rational::new(num, scale) }
    }

    pub fn is_zero(self) -> bool {
        self.num == 0
    }

    pub fn is_one(self) -> bool {
        self.num == 1 && self.den == 1
    }

    pub fn is_negative(self) -> bool {
        self.num < 0
    }

    pub fn add(self, other: Rational) -> Option<Rational> {
        if self.den == 1 && other.den == 1 {
            return Some(Rational { num: self.num.checked_add(other.num)?, den: 1 });
        }
        let left = self.num.checked_mul(other.den)?;
        let right = other.num.checked_mul(self.den)?;
        Rational::new(left.checked_add(right)?, self.den.checked_mul(other.den)?)
    }

    pub fn neg(self) -> Option<Rational> {
        Some(Rational { num: self.num.checked_neg()?, den: self.den })
    }

    pub fn mul(self, other: Rational) -> Option<Rational> {
        Rational::new(self.num.checked_mul(other.num)?, self.den.checked_mul(other.den)?)
    }

    pub fn div(self, other: Rational) -> Option<Rational> {
        Rational::new(self.num.checked_mul(other.den)?, self.den.checked_mul(other.num)?)
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        self.num as f64 / self.den as f64
    }

    /// `1.3` where that is exact, else `4/3`.
    pub fn text(self) -> String {
        let mut den = self.den;
        let mut places = 0u32;
        for prime in [2, 5] {
            let mut used = 0;
            while den % prime == 0 {
                den /= prime;
                used += 1;
            }
            places = places.max(used);
        }
        let scaled = 10i128.checked_pow(places).and_then(|scale| (scale / self.den).checked_mul(self.num));
        match scaled {
            Some(whole) if den == 1 && places <= 12 => {
                let sign = if whole < 0 { "-" } else { "" };
                let digits = format!("{:0width$}", whole.unsigned_abs(), width = places as usize + 1);
                let (int, fraction) = digits.split_at(digits.len() - places as usize);
                if places == 0 { format!("{sign}{int}") } else { format!("{sign}{int}.{fraction}") }
            }
            _ => format!("{}/{}", self.num, self.den),
        }
    }
}

impl PartialOrd for Rational {
    /// Only the order of numbers whose cross products fit is known.
    fn partial_cmp(&self, other: &Rational) -> Option<Ordering> {
        Some(self.num.checked_mul(other.den)?.cmp(&other.num.checked_mul(self.den)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        let sum = Rational::decimal("0.1").unwrap().add(Rational::decimal("0.2").unwrap()).unwrap();
        assert_eq!(sum, Rational::decimal("0.3").unwrap());
        assert_eq!(Rational::decimal("1e-6").unwrap(), Rational::new(1, 1_000_000).unwrap());
        assert_eq!(Rational::decimal("-2.50").unwrap(), Rational::new(-5, 2).unwrap());
        assert_eq!(Rational::decimal("1e60"), None);
        assert_eq!(Rational::decimal("."), None);
        assert_eq!(Rational::decimal("nan"), None);
    }

    #[test]
    fn text_is_a_decimal_where_one_exists() {
        assert_eq!(Rational::decimal("1.3").unwrap().text(), "1.3");
        assert_eq!(Rational::decimal("-0.05").unwrap().text(), "-0.05");
        assert_eq!(Rational::int(7).text(), "7");
        assert_eq!(Rational::new(1, 3).unwrap().text(), "1/3");
    }

    #[test]
    fn what_does_not_fit_is_none() {
        let big = Rational::new(i128::MAX, 1).unwrap();
        assert_eq!(big.add(Rational::ONE), None);
        assert_eq!(big.mul(Rational::int(2)), None);
        assert_eq!(Rational::ONE.div(Rational::ZERO), None);
        assert_eq!(Rational::new(i128::MIN, 1).unwrap().neg(), None);
    }
}
