//! Kernels as data.

use merge_abi::{Access, BinaryFn, DType, KernelInfo, ReduceFn, UnaryFn};

/// A value of a body: the result of the instruction with this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Val(pub u32);

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ty {
    F32,
    /// A truth value.
    Mask,
    /// A 32-bit integer, only between the bit operations of [`super::expand`].
    I32,
}

/// A comparison; any of them is false if a side is NaN, but [`Compare::Ne`], which is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// Operations on [`Ty::I32`], wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntOp {
    Add,
    Sub,
    And,
    Or,
    Xor,
    Shl,
    /// Shift right, filling with the sign.
    Shr,
    /// Shift right, filling with zeros.
    ShrZero,
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Inst {
    /// The operand's entry, converted to f32 (exact but for F64, which is rounded to nearest even).
    Load(u32),
    /// A launch scalar.
    Param(u32),
    Const(f32),
    /// A function of an f32. `Not` does not occur. `Abs`, `Neg`, `Sqrt`, `Floor`, `Ceil`, `Round`,
    /// `Trunc`, `Sign` stay; the others are for [`super::expand`].
    Unary(UnaryFn, Val),
    /// `Add`, `Sub`, `Mul`, `Div`, `Min`, `Max` stay (the last two give NaN if either side is);
    /// `Pow` is for [`super::expand`]; comparisons and logic do not occur.
    Binary(BinaryFn, Val, Val),
    Compare(Compare, Val, Val),
    And(Val, Val),
    Or(Val, Val),
    Not(Val),
    /// The second where the mask holds, else the third; both f32, or both i32, or both masks.
    Select(Val, Val, Val),
    /// 1 where the mask holds, else 0.
    MaskToF32(Val),
    /// Uniform in `[0, 1)`: the upper 24 bits of the entry's Philox4x32-10 word, under key `n`.
    /// Entry `i` (the flat index) is word `(i / 16) % 4` of block `(i / 64) * 16 + i % 16`; the block is
    /// the counter's low 64 bits, the high 64 are 0.
    Uniform(u32),
    /// `(flat index / stride) % len` as f32.
    Coord {
        stride: u64,
        len: u64,
    },
    /// Whether the flat index is not above cut `n`.
    IndexLe(u32),
    /// Whether a key is among those selected: not below or equal to the threshold, or equal to it while
    /// `in_cut` holds. A NaN key is selected. A NaN threshold means that not even all NaN keys are
    /// selected: those are where `in_cut` holds, and no other key is.
    Chosen {
        key: Val,
        threshold: Val,
        in_cut: Val,
    },
    ConstInt(i32),
    Int(IntOp, Val, Val),
    /// The bits of an f32.
    Bits(Val),
    /// An f32 of these bits.
    FromBits(Val),
    /// The nearest integer, ties to even; only used within the range of i32.
    ToInt(Val),
    FromInt(Val),
    CompareInt(Compare, Val, Val),
}

/// An operand: how it is stored and how the loop steps through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operand {
    pub dtype: DType,
    pub access: Access,
}

/// One kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    pub name: String,
    pub operands: Vec<Operand>,
    pub params: u32,
    pub keys: u32,
    pub cuts: u32,
    pub body: Vec<Inst>,
    /// Values written densely, in this dtype (F64, F32, F16 or BF16), rounded to nearest even. Any NaN is
    /// stored as the positive quiet one without payload.
    pub stores: Vec<(Val, DType)>,
    /// Values accumulated per row, in f64.
    pub reductions: Vec<(ReduceFn, Val)>,
}

impl Kernel {
    /// Its signature in a plan.
    pub fn info(&self) -> KernelInfo {
        KernelInfo {
            symbol: self.name.clone(),
            operands: self.operands.iter().map(|o| (o.dtype, o.access)).collect(),
            stores: self.stores.iter().map(|s| s.1).collect(),
            reductions: self.reductions.iter().map(|r| r.0).collect(),
            params: self.params,
            keys: self.keys,
            cuts: self.cuts,
        }
    }

    /// The type of the value an instruction defines.
    pub fn ty(&self, val: Val) -> Ty {
        match self.body[val.0 as usize] {
            Inst::Load(_) | Inst::Param(_) | Inst::Const(_) | Inst::Unary(..) | Inst::Binary(..) => Ty::F32,
            Inst::MaskToF32(_) | Inst::Uniform(_) | Inst::Coord { .. } | Inst::FromBits(_) | Inst::FromInt(_) => Ty::F32,
            Inst::Compare(..) | Inst::And(..) | Inst::Or(..) | Inst::Not(_) => Ty::Mask,
            Inst::IndexLe(_) | Inst::Chosen { .. } | Inst::CompareInt(..) => Ty::Mask,
            Inst::ConstInt(_) | Inst::Int(..) | Inst::Bits(_) | Inst::ToInt(_) => Ty::I32,
            Inst::Select(_, a, _) => self.ty(a),
        }
    }
}
