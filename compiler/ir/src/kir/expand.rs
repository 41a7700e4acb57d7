//! Writes out functions that have no exact instruction.
//!
//! `exp`, `log`, `log2`, `sin`, `cos`, `tan`, `asin`, `acos`, `atan`, `tanh`, `sigmoid` and `pow` become
//! additions, multiplications, divisions, square roots and bit operations in f32, so that every back end
//! gives the same bits. The polynomials are those of Moshier's Cephes library (single precision, 1989 and
//! later), the reductions are written for arithmetic that is never contracted. Errors are below 2.5 ulp, but
//! for `tan` (4 ulp), on the ranges the tests state; zeros, infinities and NaN give the limits.
//!
//! `sin`, `cos` and `tan` give NaN beyond 100 000 in magnitude, where an f32 no longer tells angles apart.

#![allow(clippy::excessive_precision, reason = "coefficients are as published; the compiler rounds them")]

use super::{Compare, Inst, IntOp, Kernel, Val};
use merge_abi::{BinaryFn, UnaryFn};
use rustc_hash::FxHashMap;
use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, LOG2_E, PI};

/// Adding it to an f32 of magnitude below 2²² rounds to an integer, which stands in the sum's low bits.
const ROUNDER: f32 = 12_582_912.0;

/// The kernel with `exp`, `log`, … written out. Kernels without them come back as they are.
pub fn expand(kernel: Kernel) -> Kernel {
    let expands = |inst: &Inst| match inst {
        Inst::Unary(f, _) => is_expanded(*f),
        Inst::Binary(f, ..) => *f == BinaryFn::Pow,
        _ => false,
    };
    if !kernel.body.iter().any(expands) {
        return kernel;
    }
    let mut w = Writer::default();
    let mut new = Vec::with_capacity(kernel.body.len());
    for inst in &kernel.body {
        let at = |v: &Val| new[v.0 as usize];
        let val = match inst {
            Inst::Unary(f, a) if is_expanded(*f) => w.unary(*f, at(a)),
            Inst::Binary(BinaryFn::Pow, a, b) => w.pow(at(a), at(b)),
            inst => w.add_inst(renumber(*inst, &new)),
        };
        new.push(val);
    }
    Kernel {
        body: w.body,
        stores: kernel.stores.iter().map(|(v, dtype)| (new[v.0 as usize], *dtype)).collect(),
        reductions: kernel.reductions.iter().map(|(f, v)| (*f, new[v.0 as usize])).collect(),
        ..kernel
    }
}

fn is_expanded(f: UnaryFn) -> bool {
    use UnaryFn::*;
    matches!(f, Exp | Log | Log2 | Sin | Cos | Tan | Asin | Acos | Atan | Tanh | Sigmoid)
}

/// The instruction with its operands replaced by `new[operand]`.
fn renumber(inst: Inst, new: &[Val]) -> Inst {
    let at = |v: Val| new[v.0 as usize];
    match inst {
        Inst::Load(_) | Inst::Param(_) | Inst::Const(_) | Inst::Uniform(_) | Inst::Coord { .. } => inst,
        Inst::IndexLe(_) | Inst::ConstInt(_) => inst,
        Inst::Unary(f, a) => Inst::Unary(f, at(a)),
        Inst::Binary(f, a, b) => Inst::Binary(f, at(a), at(b)),
        Inst::Compare(c, a, b) => Inst::Compare(c, at(a), at(b)),
        Inst::CompareInt(c, a, b) => Inst::CompareInt(c, at(a), at(b)),
        Inst::And(a, b) => Inst::And(at(a), at(b)),
        Inst::Or(a, b) => Inst::Or(at(a), at(b)),
        Inst::Not(a) => Inst::Not(at(a)),
        Inst::Select(c, a, b) => Inst::Select(at(c), at(a), at(b)),
        Inst::MaskToF32(a) => Inst::MaskToF32(at(a)),
        Inst::Chosen { key, threshold, in_cut } => Inst::Chosen { key: at(key), threshold: at(threshold), in_cut: at(in_cut) },
        Inst::Int(op, a, b) => Inst::Int(op, at(a), at(b)),
        Inst::Bits(a) => Inst::Bits(at(a)),
        Inst::FromBits(a) => Inst::FromBits(at(a)),
        Inst::ToInt(a) => Inst::ToInt(at(a)),
        Inst::FromInt(a) => Inst::FromInt(at(a)),
    }
}

/// A body that is being written.
#[derive(Default)]
struct Writer {
    body: Vec<Inst>,
    /// Constants there are, by their bits and whether they are integers.
    constants: FxHashMap<(u32, bool), Val>,
}

impl Writer {
    fn add_inst(&mut self, inst: Inst) -> Val {
        self.body.push(inst);
        Val(self.body.len() as u32 - 1)
    }

    fn k(&mut self, x: f32) -> Val {
        let next = Val(self.body.len() as u32);
        let val = *self.constants.entry((x.to_bits(), false)).or_insert(next);
        if val == next {
            self.body.push(Inst::Const(x));
        }
        val
    }

    fn ki(&mut self, x: i32) -> Val {
        let next = Val(self.body.len() as u32);
        let val = *self.constants.entry((x as u32, true)).or_insert(next);
        if val == next {
            self.body.push(Inst::ConstInt(x));
        }
        val
    }

    fn add(&mut self, a: Val, b: Val) -> Val {
        self.add_inst(Inst::Binary(BinaryFn::Add, a, b))
    }

    fn sub(&mut self, a: Val, b: Val) -> Val {
        self.add_inst(Inst::Binary(BinaryFn::Sub, a, b))
    }

    fn mul(&mut self, a: Val, b: Val) -> Val {
        self.add_inst(Inst::Binary(BinaryFn::Mul, a, b))
    }

    fn div(&mut self, a: Val, b: Val) -> Val {
        self.add_inst(Inst::Binary(BinaryFn::Div, a, b))
    }

    fn addk(&mut self, a: Val, x: f32) -> Val {
        let x = self.k(x);
        self.add(a, x)
    }

    fn subk(&mut self, a: Val, x: f32) -> Val {
        let x = self.k(x);
        self.sub(a, x)
    }

    fn mulk(&mut self, a: Val, x: f32) -> Val {
        let x = self.k(x);
        self.mul(a, x)
    }

    fn exact(&mut self, f: UnaryFn, a: Val) -> Val {
        self.add_inst(Inst::Unary(f, a))
    }

    fn int(&mut self, op: IntOp, a: Val, b: i32) -> Val {
        let b = self.ki(b);
        self.add_inst(Inst::Int(op, a, b))
    }

    fn bits(&mut self, a: Val) -> Val {
        self.add_inst(Inst::Bits(a))
    }

    fn float_of(&mut self, a: Val) -> Val {
        self.add_inst(Inst::FromBits(a))
    }

    fn cmpk(&mut self, c: Compare, a: Val, x: f32) -> Val {
        let x = self.k(x);
        self.add_inst(Inst::Compare(c, a, x))
    }

    fn select(&mut self, mask: Val, a: Val, b: Val) -> Val {
        self.add_inst(Inst::Select(mask, a, b))
    }

    /// `x` where `mask` holds, else `b`.
    fn selectk(&mut self, mask: Val, x: f32, b: Val) -> Val {
        let x = self.k(x);
        self.select(mask, x, b)
    }

    /// `((c0 x + c1) x + …)`, highest power first.
    fn poly(&mut self, x: Val, coefficients: &[f32]) -> Val {
        let mut sum = self.k(coefficients[0]);
        for &c in &coefficients[1..] {
            let product = self.mul(sum, x);
            sum = self.addk(product, c);
        }
        sum
    }

    /// `magnitude` with its sign flipped where `sign_of` has the sign bit.
    fn flip_sign(&mut self, magnitude: Val, sign_of: Val) -> Val {
        let sign = self.bits(sign_of);
        let sign = self.int(IntOp::And, sign, i32::MIN);
        let bits = self.bits(magnitude);
        let bits = self.add_inst(Inst::Int(IntOp::Xor, bits, sign));
        self.float_of(bits)
    }

    /// The integer nearest to `x` (of magnitude below 2²²), as a number and in the low bits of an integer.
    fn nearest(&mut self, x: Val) -> (Val, Val) {
        let sum = self.addk(x, ROUNDER);
        let bits = self.bits(sum);
        let int = self.int(IntOp::Sub, bits, ROUNDER.to_bits() as i32);
        (self.subk(sum, ROUNDER), int)
    }

    fn unary(&mut self, f: UnaryFn, x: Val) -> Val {
        match f {
            UnaryFn::Exp => self.exp(x),
            UnaryFn::Log => self.log(x),
            UnaryFn::Log2 => self.log2(x),
            UnaryFn::Sin => self.sin_cos(x).0,
            UnaryFn::Cos => self.sin_cos(x).1,
            UnaryFn::Tan => {
                let (sin, cos) = self.sin_cos(x);
                self.div(sin, cos)
            }
            UnaryFn::Asin => self.asin(x),
            UnaryFn::Acos => self.acos(x),
            UnaryFn::Atan => self.atan(x),
            UnaryFn::Tanh => self.tanh(x),
            UnaryFn::Sigmoid => self.sigmoid(x),
            _ => self.exact(f, x),
        }
    }

    /// `y * 2^n` for `n` within -250..=250: in two halves, so that each is a normal number and a subnormal
    /// result is rounded once.
    fn scale(&mut self, y: Val, n: Val) -> Val {
        let half = self.int(IntOp::Shr, n, 1);
        let rest = self.add_inst(Inst::Int(IntOp::Sub, n, half));
        let mut y = y;
        for part in [half, rest] {
            let biased = self.int(IntOp::Add, part, 127);
            let bits = self.int(IntOp::Shl, biased, 23);
            let power = self.float_of(bits);
            y = self.mul(y, power);
        }
        y
    }

    /// `x` held within `low..=high`; NaN stays.
    fn clamp(&mut self, x: Val, low: f32, high: f32) -> Val {
        let below = self.cmpk(Compare::Lt, x, low);
        let x = self.selectk(below, low, x);
        let above = self.cmpk(Compare::Gt, x, high);
        self.selectk(above, high, x)
    }

    fn exp(&mut self, x: Val) -> Val {
        // Beyond these the result is 0 or infinity whatever the argument.
        let x = self.clamp(x, -104.0, 89.0);
        let scaled = self.mulk(x, LOG2_E);
        let (n, int) = self.nearest(scaled);
        // ln 2 in two parts; the first has so few digits that its product with n is exact.
        let high = self.mulk(n, 0.693_359_4);
        let r = self.sub(x, high);
        let low = self.mulk(n, -2.121_944_4e-4);
        let r = self.sub(r, low);
        let p = self.poly(r, &[1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5]);
        let square = self.mul(r, r);
        let tail = self.mul(p, square);
        let y = self.add(tail, r);
        let y = self.addk(y, 1.0);
        self.scale(y, int)
    }

    /// `x = m * 2^e` with `m` within √½..√2, for positive finite `x`: `m - 1`, and `e` as a number.
    fn split(&mut self, x: Val) -> (Val, Val) {
        let tiny = self.cmpk(Compare::Lt, x, f32::MIN_POSITIVE);
        let raised = self.mulk(x, 8_388_608.0);
        let x = self.select(tiny, raised, x);
        let lowered = self.k(-23.0);
        let zero = self.k(0.0);
        let correction = self.select(tiny, lowered, zero);
        let bits = self.bits(x);
        let offset = self.int(IntOp::Sub, bits, std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32);
        let e = self.int(IntOp::Shr, offset, 23);
        let shifted = self.int(IntOp::Shl, e, 23);
        let bits = self.add_inst(Inst::Int(IntOp::Sub, bits, shifted));
        let m = self.float_of(bits);
        let e = self.add_inst(Inst::FromInt(e));
        let e = self.add(e, correction);
        (self.subk(m, 1.0), e)
    }

    /// `ln(1 + f) - f + f²/2` for `1 + f` within √½..√2.
    fn log_tail(&mut self, f: Val, square: Val) -> Val {
        let p = self.poly(
            f,
            &[
                7.037_684e-2,
                -1.151_461e-1,
                1.167_699_9e-1,
                -1.242_014_1e-1,
                1.424_932_3e-1,
                -1.666_805_8e-1,
                2.000_071_5e-1,
                -2.499_999_4e-1,
                3.333_333e-1,
            ],
        );
        let p = self.mul(p, f);
        self.mul(p, square)
    }

    /// The logarithm `y` of `x` with its limits put in: of 0, infinity, negative numbers and NaN.
    fn log_limits(&mut self, x: Val, y: Val) -> Val {
        let nan = self.k(f32::NAN);
        let below = self.cmpk(Compare::Lt, x, f32::INFINITY);
        let y = self.select(below, y, x);
        let zero = self.cmpk(Compare::Eq, x, 0.0);
        let y = self.selectk(zero, f32::NEG_INFINITY, y);
        let negative = self.cmpk(Compare::Lt, x, 0.0);
        self.select(negative, nan, y)
    }

    fn log(&mut self, x: Val) -> Val {
        let (f, e) = self.split(x);
        let square = self.mul(f, f);
        let tail = self.log_tail(f, square);
        let low = self.mulk(e, -2.121_944_4e-4);
        let y = self.add(tail, low);
        let half = self.mulk(square, 0.5);
        let y = self.sub(y, half);
        let y = self.add(f, y);
        let high = self.mulk(e, 0.693_359_4);
        let y = self.add(y, high);
        self.log_limits(x, y)
    }

    fn log2(&mut self, x: Val) -> Val {
        let (f, e) = self.split(x);
        let square = self.mul(f, f);
        let tail = self.log_tail(f, square);
        let half = self.mulk(square, 0.5);
        let y = self.sub(tail, half);
        // Times log₂ e, as 1 + 0.4427, so that the large part is exact.
        let a = self.mulk(y, LOG2_E - 1.0);
        let b = self.mulk(f, LOG2_E - 1.0);
        let z = self.add(a, b);
        let z = self.add(z, y);
        let z = self.add(z, f);
        let z = self.add(z, e);
        self.log_limits(x, z)
    }

    fn sin_cos(&mut self, x: Val) -> (Val, Val) {
        let scaled = self.mulk(x, std::f32::consts::FRAC_2_PI);
        let (n, quadrant) = self.nearest(scaled);
        // π/2 in parts of eight digits, so that products with n below 2¹⁶ are exact.
        let mut r = x;
        let mut rest = std::f64::consts::FRAC_PI_2;
        for i in 0..4 {
            let part = if i < 3 { f32::from_bits((rest as f32).to_bits() & 0xffff_0000) } else { rest as f32 };
            rest -= f64::from(part);
            let product = self.mulk(n, part);
            r = self.sub(r, product);
        }
        let z = self.mul(r, r);
        let p = self.poly(z, &[-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1]);
        let p = self.mul(p, z);
        let p = self.mul(p, r);
        let sin = self.add(p, r);
        let p = self.poly(z, &[2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2]);
        let p = self.mul(p, z);
        let p = self.mul(p, z);
        let half = self.mulk(z, 0.5);
        let p = self.sub(p, half);
        let cos = self.addk(p, 1.0);

        let odd = self.int(IntOp::And, quadrant, 1);
        let zero = self.ki(0);
        let odd = self.add_inst(Inst::CompareInt(Compare::Ne, odd, zero));
        let size = self.exact(UnaryFn::Abs, x);
        let small = self.cmpk(Compare::Le, size, 100_000.0);
        let nan = self.k(f32::NAN);
        // cos x = sin (x + π/2): one quadrant further.
        let next = self.int(IntOp::Add, quadrant, 1);
        let [sine, cosine] = [(cos, sin, quadrant), (sin, cos, next)].map(|(a, b, quadrant)| {
            let value = self.select(odd, a, b);
            // Bit 1 of the quadrant says whether the sign turns.
            let sign = self.int(IntOp::Shl, quadrant, 30);
            let sign = self.float_of(sign);
            let value = self.flip_sign(value, sign);
            self.select(small, value, nan)
        });
        (sine, cosine)
    }

    /// `asin(s) - s` over `s`, given `s²` of at most ¼.
    fn asin_tail(&mut self, z: Val) -> Val {
        let p = self.poly(z, &[4.216_32e-2, 2.418_131_1e-2, 4.547_002_6e-2, 7.495_300e-2, 1.666_675_2e-1]);
        self.mul(p, z)
    }

    /// For `|x|` up to ½: `x` and its square; beyond: `√((1 - |x|) / 2)` and its square.
    fn asin_reduced(&mut self, x: Val) -> (Val, Val, Val) {
        let a = self.exact(UnaryFn::Abs, x);
        let large = self.cmpk(Compare::Gt, a, 0.5);
        let one = self.k(1.0);
        let rest = self.sub(one, a);
        let rest = self.mulk(rest, 0.5);
        let square = self.mul(a, a);
        let z = self.select(large, rest, square);
        let root = self.exact(UnaryFn::Sqrt, rest);
        let s = self.select(large, root, a);
        let tail = self.asin_tail(z);
        let tail = self.mul(tail, s);
        (large, s, tail)
    }

    fn asin(&mut self, x: Val) -> Val {
        let (large, s, tail) = self.asin_reduced(x);
        let p = self.add(s, tail);
        let twice = self.add(p, p);
        let quarter = self.k(FRAC_PI_2);
        let other = self.sub(quarter, twice);
        let p = self.select(large, other, p);
        self.flip_sign(p, x)
    }

    fn acos(&mut self, x: Val) -> Val {
        let (large, s, tail) = self.asin_reduced(x);
        let p = self.add(s, tail);
        let twice = self.add(p, p);
        let pi = self.k(PI);
        let other = self.sub(pi, twice);
        let negative = self.cmpk(Compare::Lt, x, 0.0);
        let outer = self.select(negative, other, twice);
        let signed = self.flip_sign(p, x);
        let quarter = self.k(FRAC_PI_2);
        let inner = self.sub(quarter, signed);
        self.select(large, outer, inner)
    }

    fn atan(&mut self, x: Val) -> Val {
        let a = self.exact(UnaryFn::Abs, x);
        let far = self.cmpk(Compare::Gt, a, 2.414_213_7);
        let middle = self.cmpk(Compare::Gt, a, 0.414_213_57);
        let minus_one = self.k(-1.0);
        let inverse = self.div(minus_one, a);
        let below = self.subk(a, 1.0);
        let above = self.addk(a, 1.0);
        let turned = self.div(below, above);
        let r = self.select(middle, turned, a);
        let r = self.select(far, inverse, r);
        let zero = self.k(0.0);
        let start = self.selectk(middle, FRAC_PI_4, zero);
        let start = self.selectk(far, FRAC_PI_2, start);
        let z = self.mul(r, r);
        let p = self.poly(z, &[8.053_745e-2, -1.387_768_6e-1, 1.997_771_1e-1, -3.333_295e-1]);
        let p = self.mul(p, z);
        let p = self.mul(p, r);
        let y = self.add(p, r);
        let y = self.add(start, y);
        self.flip_sign(y, x)
    }

    fn tanh(&mut self, x: Val) -> Val {
        let a = self.exact(UnaryFn::Abs, x);
        let twice = self.add(a, a);
        let e = self.exp(twice);
        let e = self.addk(e, 1.0);
        let two = self.k(2.0);
        let part = self.div(two, e);
        let one = self.k(1.0);
        let outer = self.sub(one, part);
        let outer = self.flip_sign(outer, x);
        let z = self.mul(x, x);
        let p = self.poly(z, &[-5.704_988_7e-3, 2.063_908_9e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1]);
        let p = self.mul(p, z);
        let p = self.mul(p, x);
        let inner = self.add(p, x);
        let small = self.cmpk(Compare::Lt, a, 0.625);
        self.select(small, inner, outer)
    }

    fn sigmoid(&mut self, x: Val) -> Val {
        let a = self.exact(UnaryFn::Abs, x);
        let minus = self.exact(UnaryFn::Neg, a);
        let e = self.exp(minus);
        let below = self.addk(e, 1.0);
        let negative = self.cmpk(Compare::Lt, x, 0.0);
        let one = self.k(1.0);
        let above = self.select(negative, e, one);
        self.div(above, below)
    }

    /// `a` with its low 12 digits cut off: products of such numbers are exact.
    fn high_part(&mut self, a: Val) -> Val {
        let bits = self.bits(a);
        let bits = self.int(IntOp::And, bits, !0xfff);
        self.float_of(bits)
    }

    /// `a * b` rounded, and what the rounding lost (Dekker, "A floating-point technique for extending the
    /// available precision", 1971, with cut instead of rounded halves).
    fn product(&mut self, a: Val, b: Val) -> (Val, Val) {
        let (a_high, b_high) = (self.high_part(a), self.high_part(b));
        let (a_low, b_low) = (self.sub(a, a_high), self.sub(b, b_high));
        let p = self.mul(a, b);
        let hh = self.mul(a_high, b_high);
        let hl = self.mul(a_high, b_low);
        let lh = self.mul(a_low, b_high);
        let ll = self.mul(a_low, b_low);
        let error = self.sub(hh, p);
        let error = self.add(error, hl);
        let error = self.add(error, lh);
        (p, self.add(error, ll))
    }

    /// `a + b` as a sum of two, for `|a| ≥ |b|` or `a = 0`.
    fn renormal(&mut self, a: Val, b: Val) -> (Val, Val) {
        let sum = self.add(a, b);
        let back = self.sub(sum, a);
        (sum, self.sub(b, back))
    }

    /// `log₂` of a positive number, as a sum of two numbers with about 32 correct digits.
    fn log2_pair(&mut self, x: Val) -> (Val, Val) {
        let (f, e) = self.split(x);
        // ln(1 + f) = 2 atanh s with s = f / (2 + f); s as a pair.
        let m = self.addk(f, 1.0);
        let d = self.addk(m, 1.0);
        let back = self.subk(d, 1.0);
        let d_low = self.sub(m, back);
        let s = self.div(f, d);
        let (sd, sd_low) = self.product(s, d);
        let r = self.sub(f, sd);
        let r = self.sub(r, sd_low);
        let s_d_low = self.mul(s, d_low);
        let r = self.sub(r, s_d_low);
        let s_low = self.div(r, d);
        let z = self.mul(s, s);
        let p = self.poly(z, &[1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0]);
        let p = self.mul(p, z);
        let p = self.mul(p, s);
        let low = self.add(s_low, p);
        let (high, low) = self.renormal(s, low);
        // Times 2 / ln 2, a pair too.
        let c = std::f64::consts::LOG2_E * 2.0;
        let c_high = c as f32;
        let c_low = (c - f64::from(c_high)) as f32;
        let factor = self.k(c_high);
        let (t, t_low) = self.product(high, factor);
        let a = self.mulk(high, c_low);
        let b = self.mul(low, factor);
        let ab = self.add(a, b);
        let t_low = self.add(t_low, ab);
        let (sum, sum_low) = self.renormal(e, t);
        let low = self.add(sum_low, t_low);
        self.renormal(sum, low)
    }

    fn pow(&mut self, x: Val, y: Val) -> Val {
        let a = self.exact(UnaryFn::Abs, x);
        let (l, l_low) = self.log2_pair(a);
        // The logarithms of 0, infinity and NaN, which the pair does not know.
        let l = self.log_limits(a, l);
        let (p, p_low) = self.product(l, y);
        let more = self.mul(l_low, y);
        let p_low = self.add(p_low, more);
        // Far out the low part is meaningless, and may be NaN.
        let size = self.exact(UnaryFn::Abs, p);
        let near = self.cmpk(Compare::Lt, size, 200.0);
        let none = self.k(0.0);
        let p_low = self.select(near, p_low, none);
        let p = self.clamp(p, -200.0, 200.0);
        let (n, int) = self.nearest(p);
        let r = self.sub(p, n);
        let r = self.add(r, p_low);
        let q =
            self.poly(r, &[1.535_336_2e-4, 1.339_887_4e-3, 9.618_437e-3, 5.550_332_5e-2, 2.402_264_8e-1, std::f32::consts::LN_2]);
        let q = self.mul(q, r);
        let q = self.addk(q, 1.0);
        let result = self.scale(q, int);

        // 1 to any power, even an infinite one.
        let one = self.cmpk(Compare::Eq, a, 1.0);
        let result = self.selectk(one, 1.0, result);
        let y_nan = self.add_inst(Inst::Compare(Compare::Ne, y, y));
        let result = self.select(y_nan, y, result);
        // Negative bases: odd powers are negative, powers that are not whole are undefined.
        let floor = self.exact(UnaryFn::Floor, y);
        let broken = self.add_inst(Inst::Compare(Compare::Ne, floor, y));
        let half = self.mulk(y, 0.5);
        let half_floor = self.exact(UnaryFn::Floor, half);
        let half_broken = self.add_inst(Inst::Compare(Compare::Ne, half_floor, half));
        let flipped = self.flip_sign(result, x);
        let even_or_broken = self.add_inst(Inst::Not(half_broken));
        let even_or_broken = self.add_inst(Inst::Or(even_or_broken, broken));
        let result = self.select(even_or_broken, result, flipped);
        let negative = self.cmpk(Compare::Lt, x, 0.0);
        let finite = self.cmpk(Compare::Gt, x, f32::NEG_INFINITY);
        let undefined = self.add_inst(Inst::And(negative, broken));
        let undefined = self.add_inst(Inst::And(undefined, finite));
        let nan = self.k(f32::NAN);
        let result = self.select(undefined, nan, result);
        let one = self.cmpk(Compare::Eq, x, 1.0);
        let result = self.selectk(one, 1.0, result);
        let zero = self.cmpk(Compare::Eq, y, 0.0);
        self.selectk(zero, 1.0, result)
    }
}

#[cfg(test)]
mod tests;
