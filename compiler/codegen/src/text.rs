//! Writes LLVM assembly text, one function at a time.

use std::fmt::{Display, Write};

/// The text of a function that is being written, and the vector types it works in.
pub(crate) struct Text {
    out: String,
    next: u32,
    /// The block that is being written.
    pub block: String,
    /// Lanes of a vector: 8 or 16.
    pub width: u32,
    /// Vectors of f32, i32, i64, f64 and truth values.
    pub vf: String,
    pub vi: String,
    pub vl: String,
    pub vd: String,
    pub vm: String,
}

impl Text {
    pub fn new(width: u32) -> Text {
        let vector = |element: &str| format!("<{width} x {element}>");
        Text {
            out: String::with_capacity(1 << 14),
            next: 0,
            block: String::new(),
            width,
            vf: vector("float"),
            vi: vector("i32"),
            vl: vector("i64"),
            vd: vector("double"),
            vm: vector("i1"),
        }
    }

    pub fn finish(self) -> String {
        self.out
    }

    /// A line that defines no value.
    pub fn line(&mut self, line: impl Display) {
        let _ = writeln!(self.out, "  {line}");
    }

    /// Begins the block `name`.
    pub fn label(&mut self, name: &str) {
        self.block = name.into();
        let _ = writeln!(self.out, "{name}:");
    }

    /// A line without indentation.
    pub fn outside(&mut self, line: impl Display) {
        let _ = writeln!(self.out, "{line}");
    }

    /// A fresh name for a value.
    pub fn name(&mut self) -> String {
        self.next += 1;
        format!("%v{}", self.next)
    }

    /// An instruction under a fresh name.
    pub fn op(&mut self, instruction: impl Display) -> String {
        let name = self.name();
        self.define(&name, instruction);
        name
    }

    /// An instruction under a name that was used before, in a phi.
    pub fn define(&mut self, name: &str, instruction: impl Display) {
        let _ = writeln!(self.out, "  {name} = {instruction}");
    }

    /// A scalar of type `element` in every lane.
    pub fn splat(&mut self, element: &str, scalar: &str) -> String {
        let width = self.width;
        let one = self.op(format_args!("insertelement <{width} x {element}> poison, {element} {scalar}, i64 0"));
        let mask = format!("<{width} x i32> zeroinitializer");
        self.op(format_args!("shufflevector <{width} x {element}> {one}, <{width} x {element}> poison, {mask}"))
    }

    /// `0, 1, 2, …` as a constant vector of `element` (an integer type), with `offset` added.
    pub fn lane_numbers(&self, element: &str, offset: u32) -> String {
        let items: Vec<String> = (0..self.width).map(|j| format!("{element} {}", j + offset)).collect();
        format!("<{}>", items.join(", "))
    }
}

/// A constant vector of one f32.
pub(crate) fn float_splat(x: f32) -> String {
    // LLVM writes f32 constants as the f64 of the same value.
    format!("splat (float 0x{:016X})", f64::from(x).to_bits())
}

/// A constant vector of one i32.
pub(crate) fn int_splat(x: i32) -> String {
    format!("splat (i32 {x})")
}
