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

/// Stores a vector of f32 at `ptr` in `dtype`, rounded to nearest even, any NaN as the same one. As a bool, whatever is
/// not 0 is true.
pub(crate) fn store(t: &mut Text, dtype: DType, ptr: &str, value: &str, native_f16: bool) {
    let (vf, vi, vm) = (t.vf.clone(), t.vi.clone(), t.vm.clone());
    let to = format!("<{} x {}>", t.width, element(dtype));
    if dtype == DType::Bool {
        let mask = t.op(format_args!("fcmp une {vf} {value}, zeroinitializer"));
        let stored = t.op(format_args!("zext {vm} {mask} to {to}"));
        t.line(format_args!("store {to} {stored}, ptr {ptr}, align 1"));
        return;
    }
    let is_nan = t.op(format_args!("fcmp uno {vf} {value}, zeroinitializer"));
    let stored = if dtype == DType::BF16 {
        let bits = t.op(format_args!("bitcast {vf} {value} to {vi}"));
        let high = t.op(format_args!("lshr {vi} {bits}, {}", int_splat(16)));
        let odd = t.op(format_args!("and {vi} {high}, {}", int_splat(1)));
        let near = t.op(format_args!("add {vi} {bits}, {}", int_splat(0x7fff)));
        let near = t.op(format_args!("add {vi} {near}, {odd}"));
        let near = t.op(format_args!("lshr {vi} {near}, {}", int_splat(16)));
        let near = t.op(format_args!("select {vm} {is_nan}, {vi} {}, {vi} {near}", int_splat(0x7fc0)));
        t.op(format_args!("trunc {vi} {near} to {to}"))
    } else {
        let value = t.op(format_args!("select {vm} {is_nan}, {vf} {}, {vf} {value}", float_splat(f32::NAN)));
        match dtype {
            DType::F64 => t.op(format_args!("fpext {vf} {value} to {to}")),
            DType::F16 if native_f16 => {
                let half = format!("<{} x half>", t.width);
                let halves = t.op(format_args!("fptrunc {vf} {value} to {half}"));
                t.op(format_args!("bitcast {half} {halves} to {to}"))
            }
            DType::F16 => to_f16(t, &value, &to),
            // The verifier admits no dtype but these; f32 goes over as it is.
            _ => value,
        }
    };
    t.line(format_args!("store {to} {stored}, ptr {ptr}, align {}", dtype.size()));
}

/// f32 without NaN payloads to f16 bits: large values become infinite, small ones are rounded by adding a
/// number whose last place is the last place of subnormal f16, the others by their remainder.
fn to_f16(t: &mut Text, value: &str, to: &str) -> String {
    let (vf, vi, vm) = (t.vf.clone(), t.vi.clone(), t.vm.clone());
    let bits = t.op(format_args!("bitcast {vf} {value} to {vi}"));
    let magnitude = t.op(format_args!("and {vi} {bits}, {}", int_splat(i32::MAX)));
    let odd = t.op(format_args!("lshr {vi} {magnitude}, {}", int_splat(13)));
    let odd = t.op(format_args!("and {vi} {odd}, {}", int_splat(1)));
    let near = t.op(format_args!("add {vi} {magnitude}, {}", int_splat(0xfff - (112 << 23))));
    let near = t.op(format_args!("add {vi} {near}, {odd}"));
    let near = t.op(format_args!("lshr {vi} {near}, {}", int_splat(13)));
    let number = t.op(format_args!("bitcast {vi} {magnitude} to {vf}"));
    let small = t.op(format_args!("fadd {vf} {number}, {}", float_splat(0.5)));
    let small = t.op(format_args!("bitcast {vf} {small} to {vi}"));
    let small = t.op(format_args!("sub {vi} {small}, {}", int_splat(0.5f32.to_bits() as i32)));
    let is_small = t.op(format_args!("icmp ult {vi} {magnitude}, {}", int_splat(113 << 23)));
    let result = t.op(format_args!("select {vm} {is_small}, {vi} {small}, {vi} {near}"));
    let is_large = t.op(format_args!("icmp uge {vi} {magnitude}, {}", int_splat(143 << 23)));
    let result = t.op(format_args!("select {vm} {is_large}, {vi} {}, {vi} {result}", int_splat(0x7c00)));
    let is_nan = t.op(format_args!("icmp ugt {vi} {magnitude}, {}", int_splat(0x7f80_0000)));
    let result = t.op(format_args!("select {vm} {is_nan}, {vi} {}, {vi} {result}", int_splat(0x7e00)));
    let sign = t.op(format_args!("lshr {vi} {bits}, {}", int_splat(16)));
    let sign = t.op(format_args!("and {vi} {sign}, {}", int_splat(0x8000)));
    let result = t.op(format_args!("or {vi} {result}, {sign}"));
    t.op(format_args!("trunc {vi} {result} to {to}"))
}
