//! The text form of a kernel, and its reader.
//!
//! ```text
//! kernel k0
//! operand 0: bf16 dense
//! operand 1: f32 per row
//! params 1, keys 0, cuts 0
//!   %0 = load 0
//!   %1 = param 0
//!   %2 = mul %0, %1
//!   store bf16 %2
//!   reduce sum %2
//! ```
//!
//! Constants print with the fewest digits that read back as the same f32; what has no such digits (NaN,
//! infinities) prints as bits. Blank lines and `//` comments are skipped by the reader.

use super::{Compare, Inst, IntOp, Kernel, Operand, Val};
use merge_abi::{Access, BinaryFn, DType, ReduceFn, UnaryFn};
use std::fmt::Write;

const COMPARES: [(Compare, &str); 6] = [
    (Compare::Eq, "eq"),
    (Compare::Ne, "ne"),
    (Compare::Lt, "lt"),
    (Compare::Le, "le"),
    (Compare::Gt, "gt"),
    (Compare::Ge, "ge"),
];

const INT_OPS: [(IntOp, &str); 8] = [
    (IntOp::Add, "add"),
    (IntOp::Sub, "sub"),
    (IntOp::And, "and"),
    (IntOp::Or, "or"),
    (IntOp::Xor, "xor"),
    (IntOp::Shl, "shl"),
    (IntOp::Shr, "shr"),
    (IntOp::ShrZero, "shr_zero"),
];

const REDUCTIONS: [(ReduceFn, &str); 3] = [(ReduceFn::Sum, "sum"), (ReduceFn::Min, "min"), (ReduceFn::Max, "max")];

const ACCESSES: [(Access, &str); 3] = [(Access::Dense, "dense"), (Access::PerRow, "per row"), (Access::PerCol, "per column")];

fn word<T: Copy + PartialEq>(table: &[(T, &'static str)], item: T) -> &'static str {
    table.iter().find(|(t, _)| *t == item).map_or("?", |(_, w)| w)
}

fn lookup<T: Copy>(table: &[(T, &'static str)], name: &str) -> Option<T> {
    table.iter().find(|(_, w)| *w == name).map(|(t, _)| *t)
}

/// The kernel as text, one instruction a line.
pub fn print(kernel: &Kernel) -> String {
    let mut out = format!("kernel {}\n", kernel.name);
    for (i, operand) in kernel.operands.iter().enumerate() {
        let _ = writeln!(out, "operand {i}: {} {}", operand.dtype.word(), word(&ACCESSES, operand.access));
    }
    let _ = writeln!(out, "params {}, keys {}, cuts {}", kernel.params, kernel.keys, kernel.cuts);
    for (i, inst) in kernel.body.iter().enumerate() {
        let _ = writeln!(out, "  %{i} = {}", print_inst(inst));
    }
    for (val, dtype) in &kernel.stores {
        let _ = writeln!(out, "  store {} %{}", dtype.word(), val.0);
    }
    for (f, val) in &kernel.reductions {
        let _ = writeln!(out, "  reduce {} %{}", word(&REDUCTIONS, *f), val.0);
    }
    out
}

fn print_inst(inst: &Inst) -> String {
    let one = |name: &str, a: Val| format!("{name} %{}", a.0);
    let two = |name: &str, a: Val, b: Val| format!("{name} %{}, %{}", a.0, b.0);
    let three = |name: &str, a: Val, b: Val, c: Val| format!("{name} %{}, %{}, %{}", a.0, b.0, c.0);
    match *inst {
        Inst::Load(n) => format!("load {n}"),
        Inst::Param(n) => format!("param {n}"),
        Inst::Const(x) if x.is_finite() => format!("const {x:?}"),
        Inst::Const(x) => format!("const 0x{:08x}", x.to_bits()),
        Inst::Unary(f, a) => one(f.name(), a),
        Inst::Binary(f, a, b) => two(f.name(), a, b),
        Inst::Compare(c, a, b) => two(&format!("cmp.{}", word(&COMPARES, c)), a, b),
        Inst::And(a, b) => two("mask.and", a, b),
        Inst::Or(a, b) => two("mask.or", a, b),
        Inst::Not(a) => one("mask.not", a),
        Inst::Select(c, a, b) => three("select", c, a, b),
        Inst::MaskToF32(a) => one("mask.f32", a),
        Inst::Uniform(n) => format!("uniform {n}"),
        Inst::Coord { stride, len } => format!("coord {stride} {len}"),
        Inst::IndexLe(n) => format!("index_le {n}"),
        Inst::Chosen { key, threshold, in_cut } => three("chosen", key, threshold, in_cut),
        Inst::ConstInt(x) => format!("int.const {x}"),
        Inst::Int(op, a, b) => two(&format!("int.{}", word(&INT_OPS, op)), a, b),
        Inst::Bits(a) => one("bits", a),
        Inst::FromBits(a) => one("from_bits", a),
        Inst::ToInt(a) => one("to_int", a),
        Inst::FromInt(a) => one("from_int", a),
        Inst::CompareInt(c, a, b) => two(&format!("int.cmp.{}", word(&COMPARES, c)), a, b),
    }
}

/// Reads what [`print`] writes. The error names the line; the invariants are for [`super::verify`].
pub fn parse(text: &str) -> Result<Kernel, String> {
    let mut kernel = Kernel {
        name: String::new(),
        operands: Vec::new(),
        params: 0,
        keys: 0,
        cuts: 0,
        body: Vec::new(),
        stores: Vec::new(),
        reductions: Vec::new(),
    };
    for (number, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default().trim();
        if !line.is_empty() {
            parse_line(&mut kernel, line).ok_or_else(|| format!("line {}: cannot read `{line}`", number + 1))?;
        }
    }
    if kernel.name.is_empty() {
        return Err("the text does not begin with `kernel NAME`".into());
    }
    Ok(kernel)
}

fn parse_line(kernel: &mut Kernel, line: &str) -> Option<()> {
    if let Some(rest) = line.strip_prefix('%') {
        let (number, inst) = rest.split_once('=')?;
        if number.trim().parse::<usize>().ok()? != kernel.body.len() {
            return None;
        }
        kernel.body.push(parse_inst(inst.trim())?);
        return Some(());
    }
    let (head, rest) = line.split_once(' ')?;
    match head {
        "kernel" => kernel.name = rest.trim().into(),
        "operand" => {
            let (number, kind) = rest.split_once(':')?;
            let (dtype, access) = kind.trim().split_once(' ')?;
            if number.trim().parse::<usize>().ok()? != kernel.operands.len() {
                return None;
            }
            kernel.operands.push(Operand { dtype: DType::from_word(dtype)?, access: lookup(&ACCESSES, access.trim())? });
        }
        "params" => {
            for item in line.split(',') {
                let (what, count) = item.trim().split_once(' ')?;
                let count = count.parse().ok()?;
                match what {
                    "params" => kernel.params = count,
                    "keys" => kernel.keys = count,
                    "cuts" => kernel.cuts = count,
                    _ => return None,
                }
            }
        }
        "store" => {
            let (dtype, val) = rest.split_once(' ')?;
            kernel.stores.push((parse_val(val)?, DType::from_word(dtype)?));
        }
        "reduce" => {
            let (f, val) = rest.split_once(' ')?;
            kernel.reductions.push((lookup(&REDUCTIONS, f)?, parse_val(val)?));
        }
        _ => return None,
    }
    Some(())
}

fn parse_val(text: &str) -> Option<Val> {
    text.trim().strip_prefix('%')?.parse().ok().map(Val)
}

fn parse_inst(text: &str) -> Option<Inst> {
    let (head, rest) = text.split_once(' ')?;
    let rest = rest.trim();
    let vals = || rest.split(',').map(parse_val).collect::<Option<Vec<_>>>();
    let one = || <[Val; 1]>::try_from(vals()?).ok().map(|[a]| a);
    let two = || <[Val; 2]>::try_from(vals()?).ok();
    let three = || <[Val; 3]>::try_from(vals()?).ok();
    let number = || rest.parse::<u32>().ok();
    Some(match head {
        "load" => Inst::Load(number()?),
        "param" => Inst::Param(number()?),
        "uniform" => Inst::Uniform(number()?),
        "index_le" => Inst::IndexLe(number()?),
        "const" => Inst::Const(match rest.strip_prefix("0x") {
            Some(bits) => f32::from_bits(u32::from_str_radix(bits, 16).ok()?),
            None => rest.parse().ok()?,
        }),
        "int.const" => Inst::ConstInt(rest.parse().ok()?),
        "coord" => {
            let (stride, len) = rest.split_once(' ')?;
            Inst::Coord { stride: stride.parse().ok()?, len: len.trim().parse().ok()? }
        }
        "mask.and" => two().map(|[a, b]| Inst::And(a, b))?,
        "mask.or" => two().map(|[a, b]| Inst::Or(a, b))?,
        "mask.not" => Inst::Not(one()?),
        "mask.f32" => Inst::MaskToF32(one()?),
        "select" => three().map(|[c, a, b]| Inst::Select(c, a, b))?,
        "chosen" => three().map(|[key, threshold, in_cut]| Inst::Chosen { key, threshold, in_cut })?,
        "bits" => Inst::Bits(one()?),
        "from_bits" => Inst::FromBits(one()?),
        "to_int" => Inst::ToInt(one()?),
        "from_int" => Inst::FromInt(one()?),
        _ => {
            if let Some(compare) = head.strip_prefix("int.cmp.") {
                two().and_then(|[a, b]| Some(Inst::CompareInt(lookup(&COMPARES, compare)?, a, b)))?
            } else if let Some(compare) = head.strip_prefix("cmp.") {
                two().and_then(|[a, b]| Some(Inst::Compare(lookup(&COMPARES, compare)?, a, b)))?
            } else if let Some(op) = head.strip_prefix("int.") {
                two().and_then(|[a, b]| Some(Inst::Int(lookup(&INT_OPS, op)?, a, b)))?
            } else if let Some(f) = UnaryFn::ALL.into_iter().find(|f| f.name() == head) {
                Inst::Unary(f, one()?)
            } else {
                let f = BinaryFn::ALL.into_iter().find(|f| f.name() == head)?;
                two().map(|[a, b]| Inst::Binary(f, a, b))?
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with every instruction; it is not meant to make sense, only to be well typed.
    const EVERYTHING: &str = "\
kernel everything
operand 0: bf16 dense
operand 1: f32 per row
operand 2: f8_e4m3 per column
params 1, keys 1, cuts 1
  %0 = load 0
  %1 = load 1
  %2 = load 2
  %3 = param 0
  %4 = const -1.5e-9
  %5 = const 0x7f800000
  %6 = neg %0
  %7 = pow %0, %6
  %8 = cmp.le %0, %7
  %9 = cmp.ne %0, %7
  %10 = mask.and %8, %9
  %11 = mask.or %10, %9
  %12 = mask.not %11
  %13 = select %12, %0, %1
  %14 = mask.f32 %12
  %15 = uniform 0
  %16 = coord 64 3
  %17 = index_le 0
  %18 = chosen %0, %3, %17
  %19 = int.const -8
  %20 = bits %0
  %21 = int.shr_zero %20, %19
  %22 = int.xor %21, %20
  %23 = from_bits %22
  %24 = to_int %23
  %25 = from_int %24
  %26 = int.cmp.gt %24, %22
  %27 = select %26, %24, %22
  %28 = sigmoid %25
  %29 = const 0.1
  store bf16 %23
  store f32 %28
  reduce sum %13
  reduce max %16
";

    #[test]
    fn round_trip() {
        let kernel = parse(EVERYTHING).unwrap();
        assert_eq!(print(&kernel), EVERYTHING);
        assert_eq!(super::super::verify(&kernel), Vec::<String>::new());
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(parse("kernel k\n\n  %1 = load 0").unwrap_err(), "line 3: cannot read `%1 = load 0`");
        assert!(parse("").is_err());
        assert!(parse("kernel k\n %0 = shuffle %1").is_err());
        assert!(parse("kernel k\n %0 = add %1").is_err());
    }
}
