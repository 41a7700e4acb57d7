//! One vector of entries through the body of a kernel.

use crate::text::{Text, float_splat, int_splat};
use crate::{convert, philox};
use merge_abi::{Access, BinaryFn, UnaryFn};
use merge_ir::kir::{Compare, Inst, IntOp, Kernel, Ty};

/// What a body reads that does not change from entry to entry.
pub(crate) struct Hoisted {
    /// Launch scalars, in every lane.
    pub params: Vec<String>,
    pub keys: Vec<philox::RoundKeys>,
    /// Cut positions, i64.
    pub cuts: Vec<String>,
    /// By operand: the value of the row in every lane, or empty.
    pub row_values: Vec<String>,
}

/// Where a vector begins.
pub(crate) struct Place<'a> {
    /// By operand: where the block begins that the vector belongs to; empty for per-row operands.
    pub operands: &'a [String],
    /// First entry of the vector within the block.
    pub offset: u32,
    /// Flat index of the first entry, i64.
    pub flat: &'a str,
    /// By key: the uniform numbers.
    pub uniforms: &'a [String],
}

/// Address of entry `offset` after `ptr`.
pub(crate) fn advance(t: &mut Text, element: &str, ptr: &str, offset: u32) -> String {
    if offset == 0 { ptr.into() } else { t.op(format_args!("getelementptr inbounds {element}, ptr {ptr}, i64 {offset}")) }
}

/// Writes the body once; the name of each instruction's value.
pub(crate) fn emit(t: &mut Text, kernel: &Kernel, native_f16: bool, hoisted: &Hoisted, place: &Place) -> Vec<String> {
    let mut vals: Vec<String> = Vec::with_capacity(kernel.body.len());
    for inst in &kernel.body {
        let val = match inst {
            Inst::Load(n) => {
                let operand = kernel.operands[*n as usize];
                if operand.access == Access::PerRow {
                    hoisted.row_values[*n as usize].clone()
                } else {
                    let ptr = advance(t, convert::element(operand.dtype), &place.operands[*n as usize], place.offset);
                    convert::load(t, operand.dtype, &ptr, native_f16)
                }
            }
            Inst::Param(n) => hoisted.params[*n as usize].clone(),
            Inst::Uniform(n) => place.uniforms[*n as usize].clone(),
            Inst::IndexLe(n) => index_le(t, &hoisted.cuts[*n as usize], place.flat),
            Inst::Coord { stride, len } => coordinate(t, *stride, *len, place.flat),
            inst => arithmetic(t, kernel, &vals, inst),
        };
        vals.push(val);
    }
    vals
}

fn arithmetic(t: &mut Text, kernel: &Kernel, vals: &[String], inst: &Inst) -> String {
    let at = |v: &merge_ir::kir::Val| vals[v.0 as usize].as_str();
    let (vf, vi, vm) = (t.vf.clone(), t.vi.clone(), t.vm.clone());
    let width = t.width;
    match inst {
        Inst::Const(x) => float_splat(*x),
        Inst::ConstInt(x) => int_splat(*x),
        Inst::Unary(f, a) => unary(t, *f, at(a)),
        Inst::Binary(f, a, b) => binary(t, *f, at(a), at(b)),
        Inst::Compare(c, a, b) => {
            let c = match c {
                Compare::Eq => "oeq",
                Compare::Ne => "une",
                Compare::Lt => "olt",
                Compare::Le => "ole",
                Compare::Gt => "ogt",
                Compare::Ge => "oge",
            };
            t.op(format_args!("fcmp {c} {vf} {}, {}", at(a), at(b)))
        }
        Inst::CompareInt(c, a, b) => {
            let c = match c {
                Compare::Eq => "eq",
                Compare::Ne => "ne",
                Compare::Lt => "slt",
                Compare::Le => "sle",
                Compare::Gt => "sgt",
                Compare::Ge => "sge",
            };
            t.op(format_args!("icmp {c} {vi} {}, {}", at(a), at(b)))
        }
        Inst::And(a, b) => t.op(format_args!("and {vm} {}, {}", at(a), at(b))),
        Inst::Or(a, b) => t.op(format_args!("or {vm} {}, {}", at(a), at(b))),
        Inst::Not(a) => t.op(format_args!("xor {vm} {}, splat (i1 true)", at(a))),
        Inst::Select(c, a, b) => {
            let ty = match kernel.ty(*a) {
                Ty::F32 => &vf,
                Ty::I32 => &vi,
                Ty::Mask => &vm,
            };
            t.op(format_args!("select {vm} {}, {ty} {}, {ty} {}", at(c), at(a), at(b)))
        }
        Inst::MaskToF32(a) => convert::mask_to_f32(t, at(a)),
        Inst::Chosen { key, threshold, in_cut } => {
            // Above: false for a NaN threshold, true for a NaN key below one.
            let (key, threshold) = (at(key), at(threshold));
            let known = t.op(format_args!("fcmp ord {vf} {threshold}, zeroinitializer"));
            let above = t.op(format_args!("fcmp ugt {vf} {key}, {threshold}"));
            let equal = t.op(format_args!("fcmp ueq {vf} {key}, {threshold}"));
            let nan = t.op(format_args!("fcmp uno {vf} {key}, zeroinitializer"));
            let equal = t.op(format_args!("select {vm} {known}, {vm} {equal}, {vm} {nan}"));
            let equal = t.op(format_args!("and {vm} {equal}, {}", at(in_cut)));
            let above = t.op(format_args!("and {vm} {above}, {known}"));
            t.op(format_args!("or {vm} {above}, {equal}"))
        }
        Inst::Int(op, a, b) => {
            let (a, b) = (at(a), at(b));
            let op = match op {
                IntOp::Add => "add",
                IntOp::Sub => "sub",
                IntOp::And => "and",
                IntOp::Or => "or",
                IntOp::Xor => "xor",
                IntOp::Shl | IntOp::Shr | IntOp::ShrZero => {
                    // Amounts wrap; for constants LLVM folds this away.
                    let amount = t.op(format_args!("and {vi} {b}, {}", int_splat(31)));
                    let op = match op {
                        IntOp::Shl => "shl",
                        IntOp::Shr => "ashr",
                        _ => "lshr",
                    };
                    return t.op(format_args!("{op} {vi} {a}, {amount}"));
                }
            };
            t.op(format_args!("{op} {vi} {a}, {b}"))
        }
        Inst::Bits(a) => t.op(format_args!("bitcast {vf} {} to {vi}", at(a))),
        Inst::FromBits(a) => t.op(format_args!("bitcast {vi} {} to {vf}", at(a))),
        Inst::ToInt(a) => {
            let near = t.op(format_args!("call {vf} @llvm.roundeven.v{width}f32({vf} {})", at(a)));
            t.op(format_args!("fptosi {vf} {near} to {vi}"))
        }
        Inst::FromInt(a) => t.op(format_args!("sitofp {vi} {} to {vf}", at(a))),
        // The others are taken care of in `emit`.
        Inst::Load(_) | Inst::Param(_) | Inst::Uniform(_) | Inst::Coord { .. } | Inst::IndexLe(_) => unreachable!(),
    }
}

fn unary(t: &mut Text, f: UnaryFn, a: &str) -> String {
    let (vf, vm) = (t.vf.clone(), t.vm.clone());
    let intrinsic = match f {
        UnaryFn::Neg => return t.op(format_args!("fneg {vf} {a}")),
        UnaryFn::Sign => {
            // Adding 0 makes -0 positive and keeps NaN.
            let zero = t.op(format_args!("fadd {vf} {a}, {}", float_splat(0.0)));
            let below = t.op(format_args!("fcmp olt {vf} {a}, zeroinitializer"));
            let sign = t.op(format_args!("select {vm} {below}, {vf} {}, {vf} {zero}", float_splat(-1.0)));
            let above = t.op(format_args!("fcmp ogt {vf} {a}, zeroinitializer"));
            return t.op(format_args!("select {vm} {above}, {vf} {}, {vf} {sign}", float_splat(1.0)));
        }
        UnaryFn::Abs => "fabs",
        UnaryFn::Sqrt => "sqrt",
        UnaryFn::Floor => "floor",
        UnaryFn::Ceil => "ceil",
        UnaryFn::Round => "roundeven",
        UnaryFn::Trunc => "trunc",
        // `compile` expands these and verifies that `not` does not occur.
        _ => unreachable!("{} has no instruction", f.name()),
    };
    let width = t.width;
    t.op(format_args!("call {vf} @llvm.{intrinsic}.v{width}f32({vf} {a})"))
}

fn binary(t: &mut Text, f: BinaryFn, a: &str, b: &str) -> String {
    let vf = t.vf.clone();
    let name = match f {
        BinaryFn::Add => "fadd",
        BinaryFn::Sub => "fsub",
        BinaryFn::Mul => "fmul",
        BinaryFn::Div => "fdiv",
        BinaryFn::Min => return extreme(t, "olt", &vf, a, b),
        BinaryFn::Max => return extreme(t, "ogt", &vf, a, b),
        // As in `unary`.
        _ => unreachable!("{} has no instruction", f.name()),
    };
    t.op(format_args!("{name} {vf} {a}, {b}"))
}

/// The lesser (`olt`) or greater (`ogt`) of two vectors of type `ty`, NaN if either is. The inner choice is
/// one x86 instruction, which gives the second where either is NaN.
pub(crate) fn extreme(t: &mut Text, compare: &str, ty: &str, a: &str, b: &str) -> String {
    let mask = match ty.split_once(' ') {
        Some((width, _)) => format!("{width} x i1>"),
        None => "i1".into(),
    };
    let wins = t.op(format_args!("fcmp {compare} {ty} {a}, {b}"));
    let chosen = t.op(format_args!("select {mask} {wins}, {ty} {a}, {ty} {b}"));
    let nan = t.op(format_args!("fcmp uno {ty} {a}, {a}"));
    t.op(format_args!("select {mask} {nan}, {ty} {a}, {ty} {chosen}"))
}

/// Whether `flat + lane` is not above `cut`: the distance is held within the vector, so that lanes compare
/// in 32 bits.
fn index_le(t: &mut Text, cut: &str, flat: &str) -> String {
    let (vi, width) = (t.vi.clone(), t.width);
    let distance = t.op(format_args!("sub i64 {cut}, {flat}"));
    let distance = t.op(format_args!("call i64 @llvm.smax.i64(i64 {distance}, i64 -1)"));
    let distance = t.op(format_args!("call i64 @llvm.smin.i64(i64 {distance}, i64 {width})"));
    let distance = t.op(format_args!("trunc i64 {distance} to i32"));
    let distance = t.splat("i32", &distance);
    let lanes = t.lane_numbers("i32", 0);
    t.op(format_args!("icmp sle {vi} {lanes}, {distance}"))
}

/// `((flat + lane) / stride) % len` as f32. The first lane is divided as a scalar; the others are less than
/// a vector away, so that small numbers tell how far each has gone on.
fn coordinate(t: &mut Text, stride: u64, len: u64, flat: &str) -> String {
    let (vf, vi, vl, vm) = (t.vf.clone(), t.vi.clone(), t.vl.clone(), t.vm.clone());
    let width = u64::from(t.width);
    let lanes = t.lane_numbers("i32", 0);
    let quotient = t.op(format_args!("udiv i64 {flat}, {stride}"));
    let first = t.op(format_args!("urem i64 {quotient}, {len}"));
    let steps = if stride == 1 {
        lanes
    } else {
        let rest = t.op(format_args!("urem i64 {flat}, {stride}"));
        if stride >= width {
            // At most one step, where the rest of the stride is used up.
            let left = t.op(format_args!("sub i64 {stride}, {rest}"));
            let left = t.op(format_args!("call i64 @llvm.umin.i64(i64 {left}, i64 {width})"));
            let left = t.op(format_args!("trunc i64 {left} to i32"));
            let left = t.splat("i32", &left);
            let beyond = t.op(format_args!("icmp uge {vi} {lanes}, {left}"));
            t.op(format_args!("zext {vm} {beyond} to {vi}"))
        } else {
            let rest = t.op(format_args!("trunc i64 {rest} to i32"));
            let rest = t.splat("i32", &rest);
            let sum = t.op(format_args!("add {vi} {rest}, {lanes}"));
            t.op(format_args!("udiv {vi} {sum}, splat (i32 {stride})"))
        }
    };
    if len > 1 << 30 {
        let first = t.splat("i64", &first);
        let steps = t.op(format_args!("zext {vi} {steps} to {vl}"));
        let sum = t.op(format_args!("add {vl} {first}, {steps}"));
        let wrapped = t.op(format_args!("sub {vl} {sum}, splat (i64 {len})"));
        let over = t.op(format_args!("icmp uge {vl} {sum}, splat (i64 {len})"));
        let sum = t.op(format_args!("select {vm} {over}, {vl} {wrapped}, {vl} {sum}"));
        return t.op(format_args!("uitofp {vl} {sum} to {vf}"));
    }
    let first = t.op(format_args!("trunc i64 {first} to i32"));
    let first = t.splat("i32", &first);
    let sum = t.op(format_args!("add {vi} {first}, {steps}"));
    let sum = if len >= width {
        let wrapped = t.op(format_args!("sub {vi} {sum}, splat (i32 {len})"));
        let over = t.op(format_args!("icmp uge {vi} {sum}, splat (i32 {len})"));
        t.op(format_args!("select {vm} {over}, {vi} {wrapped}, {vi} {sum}"))
    } else {
        t.op(format_args!("urem {vi} {sum}, splat (i32 {len})"))
    };
    t.op(format_args!("sitofp {vi} {sum} to {vf}"))
}
