//! Lengths that stand for the dims of a function that is tried as written, and the words that messages have for them.
//!
//! Each dim gets a prime, far enough from the others that a sum, a product or a neighbour of one is taken for nothing
//! else; so the text of a length can be found from the length alone, and no shape has to remember its dims.

use crate::hir::LocalId;
use crate::value::Value;

/// Lengths of axes that no formula confuses.
const PRIMES: [u64; 16] = [101, 149, 223, 271, 347, 397, 521, 593, 643, 719, 769, 967, 1013, 1091, 1213, 1459];

/// Lengths below this are written as they are: they come from the recipe's own ints.
const SMALL: u64 = 64;

/// How far from a dim a length may be and still be told by it.
const NEAR: u64 = 8;

/// Dims are multiplied by less than this in a length that is told by them.
const MOST: u64 = 20;

/// The dims that have a length, in the order they were met.
#[derive(Default)]
pub(super) struct StandIns {
    dims: Vec<(LocalId, u64, String)>,
    rests: Vec<(LocalId, [u64; 2], String)>,
    given: usize,
}

impl StandIns {
    /// Gives a dim a length, unless it has one.
    pub fn name(&mut self, local: LocalId, text: &str) {
        if self.length(local).is_none() {
            let n = self.next();
            self.dims.push((local, n, text.to_string()));
        }
    }

    /// Gives the dims of a `..s` their lengths, unless they have some.
    pub fn name_rest(&mut self, local: LocalId, text: &str) {
        if self.rest(local).is_none() {
            let both = [self.next(), self.next()];
            self.rests.push((local, both, text.to_string()));
        }
    }

    pub fn length(&self, local: LocalId) -> Option<u64> {
        self.dims.iter().find(|d| d.0 == local).map(|d| d.1)
    }

    pub fn rest(&self, local: LocalId) -> Option<[u64; 2]> {
        self.rests.iter().find(|r| r.0 == local).map(|r| r.1)
    }

    /// Gives the dims their values among the locals of the function.
    pub fn bind(&self, locals: &mut [Value]) {
        for (local, n, _) in &self.dims {
            locals[local.0 as usize] = Value::Int(*n as i64);
        }
        for (local, both, _) in &self.rests {
            locals[local.0 as usize] = Value::List(both.iter().map(|n| Value::Int(*n as i64)).collect());
        }
    }

    /// Whether a length that a message shows may be one of these.
    pub fn is_empty(&self) -> bool {
        self.given == 0
    }

    /// `[..s, 2 * n]`.
    pub fn shape(&self, shape: &[u64], recipe: &str) -> String {
        let mut words = Vec::new();
        let mut at = 0;
        while at < shape.len() {
            match self.rests.iter().find(|r| shape[at..].starts_with(&r.1)) {
                Some((_, _, text)) => {
                    words.push(format!("..{text}"));
                    at += 2;
                }
                None => {
                    words.push(self.words(shape[at], recipe));
                    at += 1;
                }
            }
        }
        format!("[{}]", words.join(", "))
    }

    /// A length in terms of the dims: `n`, `2 * n`, `o * i`, `n - 1`, `o + i`; an int that stands in `recipe` as it is, and `…`
    /// for what has a longer story.
    pub fn words(&self, n: u64, recipe: &str) -> String {
        let written = n.to_string();
        let stands = || recipe.split(|c: char| !c.is_ascii_digit() && c != '_').any(|word| word.replace('_', "") == written);
        if n < SMALL || stands() {
            return written;
        }
        let atoms = self.atoms();
        if let Some(text) = product(n, &atoms) {
            return text;
        }
        for (p, a) in &atoms {
            if let Some(text) = n.checked_sub(*p).and_then(|rest| product(rest, &atoms)) {
                return format!("{a} + {text}");
            }
        }
        for by in 1..=NEAR {
            if let Some(text) = product(n + by, &atoms) {
                return format!("{text} - {by}");
            }
            if let Some(text) = product(n - by, &atoms) {
                return format!("{text} + {by}");
            }
        }
        "…".into()
    }

    /// Every length with its name.
    fn atoms(&self) -> Vec<(u64, String)> {
        let dims = self.dims.iter().map(|d| (d.1, d.2.clone()));
        let rests = self.rests.iter().flat_map(|(_, both, text)| (0..2).map(move |k| (both[k], format!("{text}[{k}]"))));
        dims.chain(rests).collect()
    }

    fn next(&mut self) -> u64 {
        self.given += 1;
        PRIMES[(self.given - 1) % PRIMES.len()]
    }
}

/// `n` as a product with at least one of the atoms in it.
fn product(n: u64, atoms: &[(u64, String)]) -> Option<String> {
    let (mut left, mut words) = (n, Vec::new());
    for (p, text) in atoms {
        while left > 0 && left.is_multiple_of(*p) {
            left /= p;
            words.push(text.clone());
        }
    }
    if words.is_empty() || left == 0 || left >= MOST {
        return None;
    }
    if left > 1 {
        words.insert(0, left.to_string());
    }
    Some(words.join(" * "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand_ins() -> StandIns {
        let mut all = StandIns::default();
        all.name(LocalId(0), "o");
        all.name(LocalId(1), "i");
        all.name_rest(LocalId(2), "s");
        all
    }

    #[test]
    fn lengths_are_told_by_the_dims() {
        let all = stand_ins();
        let (o, i) = (all.length(LocalId(0)).unwrap(), all.length(LocalId(1)).unwrap());
        let cases = [
            (o, "o"),
            (2 * i, "2 * i"),
            (o * i, "o * i"),
            (o * i * 3, "3 * o * i"),
            (i - 1, "i - 1"),
            (o + 2, "o + 2"),
            (o + i, "o + i"),
            (7, "7"),
            (512, "512"),
            (10_000, "…"),
        ];
        for (n, text) in cases {
            assert_eq!(all.words(n, "let k = 512"), text, "{n}");
        }
    }

    #[test]
    fn a_rest_is_one_word() {
        let all = stand_ins();
        let [a, b] = all.rest(LocalId(2)).unwrap();
        assert_eq!(all.shape(&[a, b, 3], ""), "[..s, 3]");
        assert_eq!(all.shape(&[b, a], ""), "[s[1], s[0]]");
    }

    #[test]
    fn no_dim_is_near_another_or_the_sum_of_two() {
        for (k, p) in PRIMES.iter().enumerate() {
            assert!(PRIMES[..k].iter().all(|q| p.abs_diff(*q) > 2 * NEAR), "{p}");
            for q in PRIMES {
                assert!(PRIMES.iter().all(|r| r.abs_diff(p + q) > NEAR), "{p} {q}");
            }
        }
    }
}
