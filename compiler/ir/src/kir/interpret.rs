//! Runs a kernel entry by entry, with exactly the results of compiled code.
//!
//! This is what compiled kernels are tested against: the same rounding after every operation, the same
//! sixteen lanes and the same tree of additions in reductions, the same conversions, and one NaN (the
//! positive quiet one without payload) for every NaN that is stored. Written to be read, not to be fast.

use super::{Compare, Inst, IntOp, Kernel, Val, expand};
use half::{bf16, f16};
use merge_abi::{Access, BinaryFn, DType, KernelArgs, LANES, ReduceFn, UnaryFn};

/// Runs `kernel` on `args`; functions without an exact instruction are expanded first.
///
/// # Safety
/// As for a compiled kernel: every pointer of `args` that the kernel's signature implies is valid for its
/// extent and aligned to its element, and stores overlap nothing.
pub unsafe fn interpret(kernel: &Kernel, args: &KernelArgs) {
    let kernel = expand(kernel.clone());
    let mut vals = vec![0u32; kernel.body.len()];
    for row in 0..args.rows {
        let mut lanes: Vec<[f64; LANES]> = kernel.reductions.iter().map(|(f, _)| [f.identity(); LANES]).collect();
        for col in 0..args.cols {
            let at = Place { row, col, entry: row * args.cols + col };
            for i in 0..kernel.body.len() {
                // SAFETY: the caller vouches for the pointers, and `at` lies within rows and columns.
                vals[i] = unsafe { eval(&kernel, args, &at, &vals, &kernel.body[i]) };
            }
            let value = |val: Val| f32::from_bits(vals[val.0 as usize]);
            for (i, (val, dtype)) in kernel.stores.iter().enumerate() {
                // SAFETY: as above.
                unsafe { store(*dtype, *args.stores.add(i), at.entry as usize, value(*val)) };
            }
            for (lanes, (f, val)) in lanes.iter_mut().zip(&kernel.reductions) {
                let lane = &mut lanes[col as usize % LANES];
                *lane = f.combine(*lane, f64::from(value(*val)));
            }
        }
        for (k, (lanes, (f, _))) in lanes.iter().zip(&kernel.reductions).enumerate() {
            let result = fold(*f, *lanes);
            let result = if result.is_nan() { f64::NAN } else { result };
            let at = row as usize * kernel.reductions.len() + k;
            // SAFETY: `partials` holds one f64 for each row and reduction.
            unsafe { args.partials.add(at).write(result) };
        }
    }
}

/// Where the loop is.
struct Place {
    row: u64,
    col: u64,
    /// Index in the dense buffers.
    entry: u64,
}

/// The lanes together: pairwise, halves first.
fn fold(f: ReduceFn, mut lanes: [f64; LANES]) -> f64 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for j in 0..width {
            lanes[j] = f.combine(lanes[j], lanes[j + width]);
        }
    }
    lanes[0]
}

/// The value of one instruction, as bits; truth is 1 or 0.
///
/// # Safety
/// The pointers of `args` are valid for the kernel, and `at` is within its rows and columns.
unsafe fn eval(kernel: &Kernel, args: &KernelArgs, at: &Place, vals: &[u32], inst: &Inst) -> u32 {
    let bits = |v: Val| vals[v.0 as usize];
    let f = |v: Val| f32::from_bits(bits(v));
    let m = |v: Val| bits(v) != 0;
    let int = |v: Val| bits(v) as i32;
    let flat = args.first + at.entry;
    let float = match *inst {
        Inst::Load(n) => {
            let operand = kernel.operands[n as usize];
            let entry = match operand.access {
                Access::Dense => at.entry,
                Access::PerRow => at.row,
                Access::PerCol => at.col,
            };
            // SAFETY: the operand has an entry here.
            unsafe { load(operand.dtype, *args.operands.add(n as usize), entry as usize) }
        }
        // SAFETY: there is a value for each launch scalar of the kernel.
        Inst::Param(n) => unsafe { *args.params.add(n as usize) },
        Inst::Const(x) => x,
        Inst::Unary(g, a) => unary(g, f(a)),
        Inst::Binary(g, a, b) => binary(g, f(a), f(b)),
        Inst::Compare(c, a, b) => return compare(c, f(a).partial_cmp(&f(b))).into(),
        Inst::CompareInt(c, a, b) => return compare(c, Some(int(a).cmp(&int(b)))).into(),
        Inst::And(a, b) => return (m(a) && m(b)).into(),
        Inst::Or(a, b) => return (m(a) || m(b)).into(),
        Inst::Not(a) => return (!m(a)).into(),
        Inst::Select(c, a, b) => return if m(c) { bits(a) } else { bits(b) },
        Inst::MaskToF32(a) => f32::from(u8::from(m(a))),
        // SAFETY: there is a key for each random stream of the kernel.
        Inst::Uniform(n) => uniform(unsafe { *args.keys.add(n as usize) }, flat),
        Inst::Coord { stride, len } => ((flat / stride) % len) as f32,
        // SAFETY: there is a cut for each index test of the kernel.
        Inst::IndexLe(n) => return (flat as i64 <= unsafe { *args.cuts.add(n as usize) }).into(),
        Inst::Chosen { key, threshold, in_cut } => {
            let (key, threshold) = (f(key), f(threshold));
            let (above, equal) =
                if threshold.is_nan() { (false, key.is_nan()) } else { (key > threshold || key.is_nan(), key == threshold) };
            return (above || (equal && m(in_cut))).into();
        }
        Inst::ConstInt(x) => return x as u32,
        Inst::Int(op, a, b) => return int_op(op, int(a), int(b)) as u32,
        Inst::Bits(a) | Inst::FromBits(a) => return bits(a),
        Inst::ToInt(a) => return f(a).round_ties_even() as i32 as u32,
        Inst::FromInt(a) => int(a) as f32,
    };
    float.to_bits()
}

fn compare(c: Compare, order: Option<std::cmp::Ordering>) -> bool {
    match c {
        Compare::Eq => order.is_some_and(|o| o.is_eq()),
        Compare::Ne => order.is_none_or(|o| o.is_ne()),
        Compare::Lt => order.is_some_and(|o| o.is_lt()),
        Compare::Le => order.is_some_and(|o| o.is_le()),
        Compare::Gt => order.is_some_and(|o| o.is_gt()),
        Compare::Ge => order.is_some_and(|o| o.is_ge()),
    }
}

fn int_op(op: IntOp, a: i32, b: i32) -> i32 {
    match op {
        IntOp::Add => a.wrapping_add(b),
        IntOp::Sub => a.wrapping_sub(b),
        IntOp::And => a & b,
        IntOp::Or => a | b,
        IntOp::Xor => a ^ b,
        IntOp::Shl => a.wrapping_shl(b as u32),
        IntOp::Shr => a.wrapping_shr(b as u32),
        IntOp::ShrZero => (a as u32).wrapping_shr(b as u32) as i32,
    }
}

fn unary(f: UnaryFn, x: f32) -> f32 {
    match f {
        UnaryFn::Neg => -x,
        UnaryFn::Abs => x.abs(),
        UnaryFn::Sign if x > 0.0 => 1.0,
        UnaryFn::Sign if x < 0.0 => -1.0,
        UnaryFn::Sign => x + 0.0,
        UnaryFn::Sqrt => x.sqrt(),
        UnaryFn::Floor => x.floor(),
        UnaryFn::Ceil => x.ceil(),
        UnaryFn::Round => x.round_ties_even(),
        UnaryFn::Trunc => x.trunc(),
        // The rest was expanded, or is refused by the verifier.
        _ => f32::NAN,
    }
}

fn binary(f: BinaryFn, a: f32, b: f32) -> f32 {
    match f {
        BinaryFn::Add => a + b,
        BinaryFn::Sub => a - b,
        BinaryFn::Mul => a * b,
        BinaryFn::Div => a / b,
        // As in `combine`.
        BinaryFn::Min | BinaryFn::Max if a.is_nan() => a,
        BinaryFn::Min if a < b => a,
        BinaryFn::Max if a > b => a,
        BinaryFn::Min | BinaryFn::Max => b,
        // The rest was expanded, or is refused by the verifier.
        _ => f32::NAN,
    }
}

/// Entry `i` of stream `key`: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
/// 2011), laid out as [`Inst::Uniform`] says.
pub fn uniform(key: u64, i: u64) -> f32 {
    let block = (i / 64) * 16 + i % 16;
    let word = philox([block as u32, (block >> 32) as u32, 0, 0], [key as u32, (key >> 32) as u32])[(i / 16) as usize % 4];
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let p = u64::from(c[0]) * 0xD251_1F53;
        let q = u64::from(c[2]) * 0xCD9E_8D57;
        c = [(q >> 32) as u32 ^ c[1] ^ k[0], q as u32, (p >> 32) as u32 ^ c[3] ^ k[1], p as u32];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

/// One entry as f32.
///
/// # Safety
/// `base` points at more than `i` entries of `dtype`, aligned.
unsafe fn load(dtype: DType, base: *const u8, i: usize) -> f32 {
    // SAFETY: the caller's promise, for each type that has the dtype's layout.
    unsafe {
        match dtype {
            DType::F64 => *base.cast::<f64>().add(i) as f32,
            DType::F32 => *base.cast::<f32>().add(i),
            DType::F16 => f16::from_bits(*base.cast::<u16>().add(i)).to_f32(),
            DType::BF16 => bf16::from_bits(*base.cast::<u16>().add(i)).to_f32(),
            DType::F8E4M3 => f8_e4m3(*base.add(i)),
            // e5m2 is f16 without its low mantissa bits.
            DType::F8E5M2 => f16::from_bits(u16::from(*base.add(i)) << 8).to_f32(),
            DType::I64 => *base.cast::<i64>().add(i) as f32,
            DType::I32 => *base.cast::<i32>().add(i) as f32,
            DType::I16 => f32::from(*base.cast::<i16>().add(i)),
            DType::I8 => f32::from(*base.cast::<i8>().add(i)),
            DType::U64 => *base.cast::<u64>().add(i) as f32,
            DType::U32 => *base.cast::<u32>().add(i) as f32,
            DType::U16 => f32::from(*base.cast::<u16>().add(i)),
            DType::U8 => f32::from(*base.add(i)),
            DType::Bool => f32::from(u8::from(*base.add(i) != 0)),
        }
    }
}

/// The `fn` variant: S.1111.111 is NaN and there is no infinity.
fn f8_e4m3(x: u8) -> f32 {
    let magnitude = match (x >> 3 & 15, x & 7) {
        (15, 7) => f32::NAN,
        (0, m) => f32::from(m) / 512.0,
        (e, m) => f32::from(8 + m) * 2f32.powi(i32::from(e) - 10),
    };
    if x & 0x80 != 0 { -magnitude } else { magnitude }
}

/// The byte whose value is nearest to `x`, of two equally near ones the even one. `beyond` is the first magnitude that there
/// would be above the finite ones, and its byte, which all larger ones share.
fn nearest_f8(x: f32, value: impl Fn(u8) -> f32, beyond: (f32, u8), nan: u8) -> u8 {
    if x.is_nan() {
        return nan;
    }
    let magnitude = f64::from(x.abs().min(beyond.0));
    let of = |byte: u8| f64::from(if byte == beyond.1 { beyond.0 } else { value(byte) });
    let distance = |byte: &u8| ((of(*byte) - magnitude).abs(), byte & 1);
    let nearest = (0..=beyond.1).min_by(|a, b| distance(a).partial_cmp(&distance(b)).expect("distances are no NaN"));
    nearest.unwrap_or(0) | if x.is_sign_negative() { 0x80 } else { 0 }
}

/// Stores an entry: as a float rounded to nearest even, any NaN as the same one; as an integer cut off towards 0 and held within
/// its range, NaN as 0; as a bool, true where it is not 0.
///
/// # Safety
/// `base` points at more than `i` entries of `dtype`, aligned and writable.
unsafe fn store(dtype: DType, base: *mut u8, i: usize, x: f32) {
    let x = if x.is_nan() { f32::NAN } else { x };
    // SAFETY: the caller's promise, for each type that has the dtype's layout.
    unsafe {
        match dtype {
            DType::F64 => base.cast::<f64>().add(i).write(f64::from(x)),
            DType::F32 => base.cast::<f32>().add(i).write(x),
            DType::F16 => base.cast::<u16>().add(i).write(f16::from_f32(x).to_bits()),
            DType::BF16 => base.cast::<u16>().add(i).write(bf16::from_f32(x).to_bits()),
            DType::F8E4M3 => base.add(i).write(nearest_f8(x, f8_e4m3, (480.0, 0x7f), 0x7f)),
            DType::F8E5M2 => {
                base.add(i).write(nearest_f8(x, |b| f16::from_bits(u16::from(b) << 8).to_f32(), (65536.0, 0x7c), 0x7f));
            }
            DType::I64 => base.cast::<i64>().add(i).write(x as i64),
            DType::I32 => base.cast::<i32>().add(i).write(x as i32),
            DType::I16 => base.cast::<i16>().add(i).write(x as i16),
            DType::I8 => base.cast::<i8>().add(i).write(x as i8),
            DType::U64 => base.cast::<u64>().add(i).write(x as u64),
            DType::U32 => base.cast::<u32>().add(i).write(x as u32),
            DType::U16 => base.cast::<u16>().add(i).write(x as u16),
            DType::U8 => base.add(i).write(x as u8),
            DType::Bool => base.add(i).write(u8::from(x != 0.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_known_answers() {
        // From the Random123 distribution.
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn f8_e4m3_values() {
        assert_eq!(f8_e4m3(0x7e), 448.0);
        assert_eq!(f8_e4m3(0x81), -1.0 / 512.0);
        assert_eq!(f8_e4m3(0x38), 1.0);
        assert!(f8_e4m3(0x7f).is_nan() && f8_e4m3(0xff).is_nan());
    }

    #[test]
    fn lanes_fold_halves_first() {
        let mut lanes = [0.0; LANES];
        (lanes[0], lanes[1], lanes[8]) = (1e16, 1.0, -1e16);
        assert_eq!(fold(ReduceFn::Sum, lanes), 1.0);
        lanes[3] = f64::NAN;
        assert!(fold(ReduceFn::Max, lanes).is_nan());
    }

    #[test]
    fn stores_and_reduces_rows() {
        let text = "kernel k\noperand 0: bf16 dense\noperand 1: f32 per row\nparams 1, keys 0, cuts 0\n\
            %0 = load 0\n%1 = load 1\n%2 = mul %0, %1\n%3 = param 0\n%4 = add %2, %3\nstore f32 %4\nreduce sum %4\nreduce min %0";
        let kernel = super::super::parse(text).unwrap();
        let x: Vec<u16> = [1.0, 2.0, 3.0, f32::NAN, 5.0, 6.0].map(|x| bf16::from_f32(x).to_bits()).to_vec();
        let scale = [10.0f32, 100.0];
        let (mut out, mut partials) = ([0.0f32; 6], [0.0f64; 4]);
        let operands = [x.as_ptr().cast(), scale.as_ptr().cast()];
        let stores = [out.as_mut_ptr().cast()];
        let args = KernelArgs {
            operands: operands.as_ptr(),
            stores: stores.as_ptr(),
            partials: partials.as_mut_ptr(),
            params: &0.5,
            keys: std::ptr::null(),
            cuts: std::ptr::null(),
            first: 0,
            rows: 2,
            cols: 3,
        };
        // SAFETY: two rows of three columns, and buffers to match.
        unsafe { interpret(&kernel, &args) };
        assert_eq!(out[..3], [10.5, 20.5, 30.5]);
        assert!(out[3].is_nan());
        assert_eq!(out[4..], [500.5, 600.5]);
        assert_eq!(partials[..2], [61.5, 1.0]);
        assert!(partials[2].is_nan() && partials[3].is_nan());
    }
}
