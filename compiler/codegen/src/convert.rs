//! Loads and stores: storage dtypes to f32 and back.
//!
//! Half-width floats are converted with integer operations where the machine has no exact instruction:
//! LLVM's own `fptrunc` would become a call into a support library, entry by entry. The bf16 instructions
//! of AVX-512 are never used, since they flush subnormals.

use crate::text::{Text, float_splat, int_splat};
use merge_abi::DType;

/// The element type in memory.
pub(crate) fn element(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "double",
        DType::F32 => "float",
        DType::I64 | DType::U64 => "i64",
        DType::I32 | DType::U32 => "i32",
        DType::F16 | DType::BF16 | DType::I16 | DType::U16 => "i16",
        DType::F8E4M3 | DType::F8E5M2 | DType::I8 | DType::U8 | DType::Bool => "i8",
    }
}

/// Loads a vector of entries from `ptr` as f32. `native_f16`: the machine converts f16 itself.
pub(crate) fn load(t: &mut Text, dtype: DType, ptr: &str, native_f16: bool) -> String {
    let (vf, vi) = (t.vf.clone(), t.vi.clone());
    let from = format!("<{} x {}>", t.width, element(dtype));
    let raw = t.op(format_args!("load {from}, ptr {ptr}, align {}", dtype.size()));
    match dtype {
        DType::F32 => raw,
        DType::F64 => t.op(format_args!("fptrunc {from} {raw} to {vf}")),
        DType::BF16 => {
            let wide = t.op(format_args!("zext {from} {raw} to {vi}"));
            let bits = t.op(format_args!("shl {vi} {wide}, {}", int_splat(16)));
            t.op(format_args!("bitcast {vi} {bits} to {vf}"))
        }
        DType::F16 if native_f16 => {
            let half = format!("<{} x half>", t.width);
            let halves = t.op(format_args!("bitcast {from} {raw} to {half}"));
            t.op(format_args!("fpext {half} {halves} to {vf}"))
        }
        DType::F16 => {
            let wide = t.op(format_args!("zext {from} {raw} to {vi}"));
            from_f16(t, &wide)
        }
        DType::F8E5M2 => {
            // e5m2 is f16 without its low mantissa bits.
            let wide = t.op(format_args!("zext {from} {raw} to {vi}"));
            let half = t.op(format_args!("shl {vi} {wide}, {}", int_splat(8)));
            from_f16(t, &half)
        }
        DType::F8E4M3 => {
            let wide = t.op(format_args!("zext {from} {raw} to {vi}"));
            from_e4m3(t, &wide)
        }
        DType::I64 | DType::I32 => t.op(format_args!("sitofp {from} {raw} to {vf}")),
        DType::U64 | DType::U32 => t.op(format_args!("uitofp {from} {raw} to {vf}")),
        DType::I16 | DType::I8 => {
            let wide = t.op(format_args!("sext {from} {raw} to {vi}"));
            t.op(format_args!("sitofp {vi} {wide} to {vf}"))
        }
        DType::U16 | DType::U8 => {
            let wide = t.op(format_args!("zext {from} {raw} to {vi}"));
            t.op(format_args!("sitofp {vi} {wide} to {vf}"))
        }
        DType::Bool => {
            let mask = t.op(format_args!("icmp ne {from} {raw}, zeroinitializer"));
            mask_to_f32(t, &mask)
        }
    }
}

/// 1 where the mask holds, else 0.
pub(crate) fn mask_to_f32(t: &mut Text, mask: &str) -> String {
    let (vf, vm) = (t.vf.clone(), t.vm.clone());
    t.op(format_args!("select {vm} {mask}, {vf} {}, {vf} {}", float_splat(1.0), float_splat(0.0)))
}

/// f16 bits in i32 lanes to f32: the exponent is moved, and infinities, NaN and subnormals mended.
fn from_f16(t: &mut Text, half: &str) -> String {
    let (vf, vi, vm) = (t.vf.clone(), t.vi.clone(), t.vm.clone());
    let magnitude = t.op(format_args!("and {vi} {half}, {}", int_splat(0x7fff)));
    let shifted = t.op(format_args!("shl {vi} {magnitude}, {}", int_splat(13)));
    let normal = t.op(format_args!("add {vi} {shifted}, {}", int_splat(112 << 23)));
    let special = t.op(format_args!("or {vi} {shifted}, {}", int_splat(0x7f80_0000)));
    let is_special = t.op(format_args!("icmp ugt {vi} {magnitude}, {}", int_splat(0x7bff)));
    let bits = t.op(format_args!("select {vm} {is_special}, {vi} {special}, {vi} {normal}"));
    let small = t.op(format_args!("sitofp {vi} {magnitude} to {vf}"));
    let small = t.op(format_args!("fmul {vf} {small}, {}", float_splat(1.0 / 16_777_216.0)));
    let small = t.op(format_args!("bitcast {vf} {small} to {vi}"));
    let is_small = t.op(format_args!("icmp ult {vi} {magnitude}, {}", int_splat(0x400)));
    let bits = t.op(format_args!("select {vm} {is_small}, {vi} {small}, {vi} {bits}"));
    let high = t.op(format_args!("shl {vi} {half}, {}", int_splat(16)));
    with_sign(t, &bits, &high)
}

/// e4m3 (the `fn` variant) in i32 lanes to f32.
fn from_e4m3(t: &mut Text, byte: &str) -> String {
    let (vf, vi, vm) = (t.vf.clone(), t.vi.clone(), t.vm.clone());
    let magnitude = t.op(format_args!("and {vi} {byte}, {}", int_splat(0x7f)));
    let shifted = t.op(format_args!("shl {vi} {magnitude}, {}", int_splat(20)));
    let normal = t.op(format_args!("add {vi} {shifted}, {}", int_splat(120 << 23)));
    let is_nan = t.op(format_args!("icmp eq {vi} {magnitude}, {}", int_splat(0x7f)));
    let bits = t.op(format_args!("select {vm} {is_nan}, {vi} {}, {vi} {normal}", int_splat(0x7fc0_0000)));
    let small = t.op(format_args!("sitofp {vi} {magnitude} to {vf}"));
    let small = t.op(format_args!("fmul {vf} {small}, {}", float_splat(1.0 / 512.0)));
    let small = t.op(format_args!("bitcast {vf} {small} to {vi}"));
    let is_small = t.op(format_args!("icmp ult {vi} {magnitude}, {}", int_splat(8)));
    let bits = t.op(format_args!("select {vm} {is_small}, {vi} {small}, {vi} {bits}"));
    let high = t.op(format_args!("shl {vi} {byte}, {}", int_splat(24)));
    with_sign(t, &bits, &high)
}

/// The bits of a magnitude with the sign bit of `high`, as f32.
fn with_sign(t: &mut Text, magnitude: &str, high: &str) -> String {
    let (vf, vi) = (t.vf.clone(), t.vi.clone());
    let sign = t.op(format_args!("and {vi} {high}, {}", int_splat(i32::MIN)));
    let bits = t.op(format_args!("or {vi} {magnitude}, {sign}"));
    t.op(format_args!("bitcast {vi} {bits} to {vf}"))
}

/// Stores a vector of f32 at `ptr` in `dtype`. To a float it is rounded to nearest even, any NaN as the same one; to an integer it is
/// cut off towards 0 and held within its range, NaN as 0; as a bool, whatever is not 0 is true.
pub(crate) fn store(t: &mut Text, dtype: DType, ptr: &str, value: &str, native_f16: bool) {
    let (vf, vi, vm) = (t.vf.clone(), t.vi.clone(), t.vm.clone());
    let to = format!("<{} x {}>", t.width, element(dtype));
    let stored = match dtype {
        DType::Bool => {
            let mask = t.op(format_args!("fcmp une {vf} {value}, zeroinitializer"));
            t.op(format_args!("zext {vm} {mask} to {to}"))
        }
        DType::I64 | DType::I32 | DType::I16 | DType::I8 => to_integer(t, "fptosi", dtype, value, &to),
        DType::U64 | DType::U32 | DType::U16 | DType::U8 => to_integer(t, "fptoui", dtype, value, &to),
        DType::BF16 => {
            let is_nan = t.op(format_args!("fcmp uno {vf} {value}, zeroinitializer"));
            let bits = t.op(format_args!("bitcast {vf} {value} to {vi}"));
            let high = t.op(format_args!("lshr {vi} {bits}, {}", int_splat(16)));
            let odd = t.op(format_args!("and {vi} {high}, {}", int_splat(1)));
            let near = t.op(format_args!("add {vi} {bits}, {}", int_splat(0x7fff)));
            let near = t.op(format_args!("add {vi} {near}, {odd}"));
            let near = t.op(format_args!("lshr {vi} {near}, {}", int_splat(16)));
            let near = t.op(format_args!("select {vm} {is_nan}, {vi} {}, {vi} {near}", int_splat(0x7fc0)));
            t.op(format_args!("trunc {vi} {near} to {to}"))
        }
        DType::F64 | DType::F32 | DType::F16 | DType::F8E4M3 | DType::F8E5M2 => {
            let is_nan = t.op(format_args!("fcmp uno {vf} {value}, zeroinitializer"));
            let value = t.op(format_args!("select {vm} {is_nan}, {vf} {}, {vf} {value}", float_splat(f32::NAN)));
            match dtype {
                DType::F64 => t.op(format_args!("fpext {vf} {value} to {to}")),
                DType::F16 if native_f16 => {
                    let half = format!("<{} x half>", t.width);
                    let halves = t.op(format_args!("fptrunc {vf} {value} to {half}"));
                    t.op(format_args!("bitcast {half} {halves} to {to}"))
                }
                DType::F16 => to_narrow(t, &F16, &value, &to),
                DType::F8E4M3 => to_narrow(t, &F8_E4M3, &value, &to),
                DType::F8E5M2 => to_narrow(t, &F8_E5M2, &value, &to),
                _ => value,
            }
        }
    };
    t.line(format_args!("store {to} {stored}, ptr {ptr}, align {}", dtype.size()));
}

/// Cut off towards 0 and held within the range, NaN as 0. What does not fit is poison to LLVM's conversion, so it never sees it.
fn to_integer(t: &mut Text, convert: &str, dtype: DType, value: &str, to: &str) -> String {
    let (vf, vm) = (t.vf.clone(), t.vm.clone());
    let bits = 8 * dtype.size() as u32;
    let signed = convert == "fptosi";
    // Both are exact in f32: the least number, and the first that is too large.
    let least = if signed { -(2f32.powi(bits as i32 - 1)) } else { 0.0 };
    let beyond = 2f32.powi(bits as i32 - i32::from(signed));
    let (lowest, highest) = match (signed, bits) {
        (true, _) => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
        // All bits are set.
        (false, _) => (0, -1),
    };
    let fits_below = t.op(format_args!("fcmp oge {vf} {value}, {}", float_splat(least)));
    let fits_above = t.op(format_args!("fcmp olt {vf} {value}, {}", float_splat(beyond)));
    let fits = t.op(format_args!("and {vm} {fits_below}, {fits_above}"));
    let safe = t.op(format_args!("select {vm} {fits}, {vf} {value}, {vf} zeroinitializer"));
    let number = t.op(format_args!("{convert} {vf} {safe} to {to}"));
    let splat = |x: i128| format!("splat ({} {x})", element(dtype));
    let too_large = t.op(format_args!("fcmp oge {vf} {value}, {}", float_splat(beyond)));
    let number = t.op(format_args!("select {vm} {too_large}, {to} {}, {to} {number}", splat(highest)));
    let too_small = t.op(format_args!("fcmp olt {vf} {value}, {}", float_splat(least)));
    t.op(format_args!("select {vm} {too_small}, {to} {}, {to} {number}", splat(lowest)))
}

/// A float of at most 16 bits.
struct Narrow {
    /// Bits of mantissa that f32 has more.
    cut: i32,
    /// How much less its exponents are biased.
    rebias: i32,
    /// The least normal magnitude, as bits of f32.
    normal: i32,
    /// A number whose last place is the last place of subnormal ones, as bits of f32.
    subnormal: i32,
    /// Magnitudes from here on, as bits of f32, become `large`.
    limit: i32,
    large: i32,
    nan: i32,
    /// How far its sign is from that of f32.
    sign: i32,
}

const F16: Narrow = Narrow {
    cut: 13,
    rebias: 112,
    normal: 113 << 23,
    subnormal: 126 << 23,
    limit: 143 << 23,
    large: 0x7c00,
    nan: 0x7e00,
    sign: 16,
};

/// Has no infinity: what would be above 448 is NaN.
const F8_E4M3: Narrow =
    Narrow { cut: 20, rebias: 120, normal: 121 << 23, subnormal: 141 << 23, limit: 1087 << 20, large: 0x7f, nan: 0x7f, sign: 24 };

const F8_E5M2: Narrow =
    Narrow { cut: 21, rebias: 112, normal: 113 << 23, subnormal: 134 << 23, limit: 143 << 23, large: 0x7c, nan: 0x7f, sign: 24 };

/// f32 without NaN payloads to the bits of a narrower float: small ones are rounded by adding a number whose last place is theirs,
/// the others by their remainder.
fn to_narrow(t: &mut Text, n: &Narrow, value: &str, to: &str) -> String {
    let (vf, vi, vm) = (t.vf.clone(), t.vi.clone(), t.vm.clone());
    let bits = t.op(format_args!("bitcast {vf} {value} to {vi}"));
    let magnitude = t.op(format_args!("and {vi} {bits}, {}", int_splat(i32::MAX)));
    let odd = t.op(format_args!("lshr {vi} {magnitude}, {}", int_splat(n.cut)));
    let odd = t.op(format_args!("and {vi} {odd}, {}", int_splat(1)));
    let near = t.op(format_args!("add {vi} {magnitude}, {}", int_splat((1 << (n.cut - 1)) - 1 - (n.rebias << 23))));
    let near = t.op(format_args!("add {vi} {near}, {odd}"));
    let near = t.op(format_args!("lshr {vi} {near}, {}", int_splat(n.cut)));
    let number = t.op(format_args!("bitcast {vi} {magnitude} to {vf}"));
    let small = t.op(format_args!("fadd {vf} {number}, {}", float_splat(f32::from_bits(n.subnormal as u32))));
    let small = t.op(format_args!("bitcast {vf} {small} to {vi}"));
    let small = t.op(format_args!("sub {vi} {small}, {}", int_splat(n.subnormal)));
    let is_small = t.op(format_args!("icmp ult {vi} {magnitude}, {}", int_splat(n.normal)));
    let result = t.op(format_args!("select {vm} {is_small}, {vi} {small}, {vi} {near}"));
    let is_large = t.op(format_args!("icmp uge {vi} {magnitude}, {}", int_splat(n.limit)));
    let result = t.op(format_args!("select {vm} {is_large}, {vi} {}, {vi} {result}", int_splat(n.large)));
    let is_nan = t.op(format_args!("icmp ugt {vi} {magnitude}, {}", int_splat(0x7f80_0000)));
    let result = t.op(format_args!("select {vm} {is_nan}, {vi} {}, {vi} {result}", int_splat(n.nan)));
    let sign = t.op(format_args!("lshr {vi} {bits}, {}", int_splat(n.sign)));
    let sign = t.op(format_args!("and {vi} {sign}, {}", int_splat(i32::MIN.unsigned_abs().wrapping_shr(n.sign as u32) as i32)));
    let result = t.op(format_args!("or {vi} {result}, {sign}"));
    t.op(format_args!("trunc {vi} {result} to {to}"))
}
