//! Checks the invariants of a kernel.
//!
//! A kernel is well formed where: values are defined before they are used and have the type their user
//! wants; operands, launch scalars, keys and cuts are in range; per-row operands are f32; stores are in a
//! floating-point dtype of at least 16 bits; it stores or reduces at least one f32; its name is a linker
//! symbol that needs no quoting.

use super::{Inst, Kernel, Ty, Val};
use merge_abi::{Access, BinaryFn, DType, UnaryFn};

/// The invariants that do not hold, one sentence each.
pub fn verify(kernel: &Kernel) -> Vec<String> {
    let mut v = Verifier { types: Vec::with_capacity(kernel.body.len()), faults: Vec::new(), at: String::new() };
    if kernel.name.is_empty() || !kernel.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.') {
        v.faults.push(format!("the name `{}` is not a plain symbol", kernel.name));
    }
    for (i, operand) in kernel.operands.iter().enumerate() {
        if operand.access == Access::PerRow && operand.dtype != DType::F32 {
            v.faults.push(format!("operand {i} is per row and {}, not F32", operand.dtype));
        }
    }
    for (i, inst) in kernel.body.iter().enumerate() {
        v.at = format!("%{i}");
        let ty = v.inst(kernel, inst);
        v.types.push(ty);
    }
    for (i, (val, _)) in kernel.stores.iter().enumerate() {
        v.at = format!("store {i}");
        v.want(*val, Ty::F32);
    }
    for (i, (_, val)) in kernel.reductions.iter().enumerate() {
        v.at = format!("reduction {i}");
        v.want(*val, Ty::F32);
    }
    if kernel.stores.is_empty() && kernel.reductions.is_empty() {
        v.faults.push("it neither stores nor reduces anything".into());
    }
    v.faults
}

struct Verifier {
    types: Vec<Ty>,
    faults: Vec<String>,
    /// The place that is looked at.
    at: String,
}

impl Verifier {
    fn fault(&mut self, what: String) {
        self.faults.push(format!("{}: {what}", self.at));
    }

    /// The type of an operand, if it is defined before this place.
    fn ty(&mut self, val: Val) -> Option<Ty> {
        let ty = self.types.get(val.0 as usize).copied();
        if ty.is_none() {
            self.fault(format!("uses %{} before it is defined", val.0));
        }
        ty
    }

    fn want(&mut self, val: Val, want: Ty) {
        if let Some(ty) = self.ty(val)
            && ty != want
        {
            self.fault(format!("wants %{} to be {want:?}, but it is {ty:?}", val.0));
        }
    }

    fn range(&mut self, what: &str, n: u32, count: usize) {
        if n as usize >= count {
            self.fault(format!("uses {what} {n} of {count}"));
        }
    }

    /// Checks one instruction; its type.
    fn inst(&mut self, kernel: &Kernel, inst: &Inst) -> Ty {
        match *inst {
            Inst::Load(n) => self.range("operand", n, kernel.operands.len()),
            Inst::Param(n) => self.range("launch scalar", n, kernel.params as usize),
            Inst::Uniform(n) => self.range("key", n, kernel.keys as usize),
            Inst::Coord { stride, len } if stride == 0 || len == 0 => self.fault("divides by zero".into()),
            Inst::Const(_) | Inst::Coord { .. } => {}
            Inst::Unary(f, a) => {
                self.want(a, Ty::F32);
                if f == UnaryFn::Not {
                    self.fault("`not` belongs to masks".into());
                }
            }
            Inst::Binary(f, a, b) => {
                self.want(a, Ty::F32);
                self.want(b, Ty::F32);
                if f.is_truth() || matches!(f, BinaryFn::And | BinaryFn::Or) {
                    self.fault(format!("`{}` belongs to masks", f.name()));
                }
            }
            Inst::FromBits(a) | Inst::FromInt(a) => self.want(a, Ty::I32),
            Inst::MaskToF32(a) => self.want(a, Ty::Mask),
            Inst::Compare(_, a, b) => {
                self.want(a, Ty::F32);
                self.want(b, Ty::F32);
                return Ty::Mask;
            }
            Inst::CompareInt(_, a, b) => {
                self.want(a, Ty::I32);
                self.want(b, Ty::I32);
                return Ty::Mask;
            }
            Inst::And(a, b) | Inst::Or(a, b) => {
                self.want(a, Ty::Mask);
                self.want(b, Ty::Mask);
                return Ty::Mask;
            }
            Inst::Not(a) => {
                self.want(a, Ty::Mask);
                return Ty::Mask;
            }
            Inst::IndexLe(n) => {
                self.range("cut", n, kernel.cuts as usize);
                return Ty::Mask;
            }
            Inst::Chosen { key, threshold, in_cut } => {
                self.want(key, Ty::F32);
                self.want(threshold, Ty::F32);
                self.want(in_cut, Ty::Mask);
                return Ty::Mask;
            }
            Inst::ConstInt(_) => return Ty::I32,
            Inst::Int(_, a, b) => {
                self.want(a, Ty::I32);
                self.want(b, Ty::I32);
                return Ty::I32;
            }
            Inst::Bits(a) | Inst::ToInt(a) => {
                self.want(a, Ty::F32);
                return Ty::I32;
            }
            Inst::Select(mask, a, b) => {
                self.want(mask, Ty::Mask);
                let ty = self.ty(a);
                if let Some(ty) = ty {
                    self.want(b, ty);
                }
                return ty.unwrap_or(Ty::F32);
            }
        }
        Ty::F32
    }
}

#[cfg(test)]
mod tests {
    use super::super::{parse, verify};

    fn faults(text: &str) -> Vec<String> {
        verify(&parse(text).unwrap())
    }

    #[test]
    fn finds_each_fault() {
        let head = "kernel k\noperand 0: f32 dense\nparams 0, keys 0, cuts 0\n";
        assert_eq!(faults(&format!("{head}%0 = load 0\nstore f32 %0")), Vec::<String>::new());
        assert_eq!(faults(&format!("{head}%0 = load 0")), ["it neither stores nor reduces anything"]);
        assert_eq!(faults(&format!("{head}%0 = load 1\nstore f32 %0")), ["%0: uses operand 1 of 1"]);
        assert_eq!(faults(&format!("{head}%0 = abs %0\nstore f32 %0")), ["%0: uses %0 before it is defined"]);
        assert_eq!(
            faults(&format!("{head}%0 = load 0\n%1 = bits %0\nstore f32 %1")),
            ["store 0: wants %1 to be F32, but it is I32"]
        );
        assert_eq!(faults(&format!("{head}%0 = coord 0 1\nstore f32 %0")), ["%0: divides by zero"]);
        assert_eq!(
            faults("kernel a-b\noperand 0: bf16 per row\n%0 = load 0\nreduce sum %0"),
            ["the name `a-b` is not a plain symbol", "operand 0 is per row and BF16, not F32"]
        );
    }
}
