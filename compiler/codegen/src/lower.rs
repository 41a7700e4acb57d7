//! A kernel as an LLVM function.
//!
//! For each row: a main loop over blocks of whole vectors, then a loop over what is left, sixteen entries
//! at a time. The latter goes through small buffers on the stack where fewer than sixteen are left, so that
//! nothing is read or written outside the operands, on machines with and without masked instructions.
//! Whatever does not change within a row or a call is computed before the loop it would stand in; memory
//! is therefore read and written by nothing but entries, and no alias facts are needed.

use crate::body::{self, Hoisted, Place};
use crate::text::Text;
use crate::{Shape, convert, philox};
use merge_abi::{Access, KernelArgs, LANES, ReduceFn};
use merge_ir::kir::{Inst, Kernel};
use std::mem::offset_of;

const LANES32: u32 = LANES as u32;

/// The function, defined with `linkage` (empty: visible to the linker). The kernel is expanded and verified.
pub(crate) fn lower(kernel: &Kernel, shape: &Shape, linkage: &str) -> String {
    let random = kernel.body.iter().any(|i| matches!(i, Inst::Uniform(_)));
    let unroll = match kernel.body.len() {
        _ if random => 4,
        0..=12 => 4,
        13..=40 => 2,
        _ => 1,
    };
    let mut f = Function {
        kernel,
        shape,
        t: Text::new(shape.width),
        random,
        block: unroll * LANES32,
        hoisted: Hoisted { params: vec![], keys: vec![], cuts: vec![], row_values: vec![] },
        operands: vec![],
        stores: vec![],
    };
    f.t.outside(format_args!(
        "define {linkage} void @{}(ptr nocapture noundef readonly %args) nounwind \"no-builtins\" {{",
        kernel.name
    ));
    f.entry();
    f.rows();
    f.t.outside("}\n");
    f.t.finish()
}

struct Function<'a> {
    kernel: &'a Kernel,
    shape: &'a Shape,
    t: Text,
    random: bool,
    /// Entries of one turn of the main loop.
    block: u32,
    hoisted: Hoisted,
    /// Base pointers.
    operands: Vec<String>,
    stores: Vec<String>,
}

/// Per reduction, its accumulators: `LANES / width` vectors of f64.
type Accumulators = Vec<Vec<String>>;

impl Function<'_> {
    /// A field of the arguments.
    fn field(&mut self, ty: &str, offset: usize) -> String {
        let ptr = self.t.op(format_args!("getelementptr inbounds i8, ptr %args, i64 {offset}"));
        self.t.op(format_args!("load {ty}, ptr {ptr}, align 8"))
    }

    /// Element `n` of an array of `ty`.
    fn item(&mut self, ty: &str, align: u32, array: &str, n: usize) -> String {
        let ptr = self.t.op(format_args!("getelementptr inbounds {ty}, ptr {array}, i64 {n}"));
        self.t.op(format_args!("load {ty}, ptr {ptr}, align {align}"))
    }

    /// Everything that is read once per call.
    fn entry(&mut self) {
        let kernel = self.kernel;
        self.t.label("entry");
        let array = self.field("ptr", offset_of!(KernelArgs, operands));
        for (n, operand) in kernel.operands.iter().enumerate() {
            let ptr = self.item("ptr", 8, &array, n);
            self.operands.push(ptr);
            if operand.access != Access::PerRow {
                self.buffer(&format!("%in{n}"), convert::element(operand.dtype));
            }
        }
        let array = self.field("ptr", offset_of!(KernelArgs, stores));
        for (n, (_, dtype)) in kernel.stores.iter().enumerate() {
            let ptr = self.item("ptr", 8, &array, n);
            self.stores.push(ptr);
            self.buffer(&format!("%out{n}"), convert::element(*dtype));
        }
        let array = self.field("ptr", offset_of!(KernelArgs, params));
        for n in 0..kernel.params as usize {
            let value = self.item("float", 4, &array, n);
            let value = self.t.splat("float", &value);
            self.hoisted.params.push(value);
        }
        let array = self.field("ptr", offset_of!(KernelArgs, keys));
        for n in 0..kernel.keys as usize {
            let key = self.item("i64", 8, &array, n);
            let keys = philox::round_keys(&mut self.t, &key);
            self.hoisted.keys.push(keys);
        }
        let array = self.field("ptr", offset_of!(KernelArgs, cuts));
        for n in 0..kernel.cuts as usize {
            let cut = self.item("i64", 8, &array, n);
            self.hoisted.cuts.push(cut);
        }
        for (name, offset) in [
            ("%first", offset_of!(KernelArgs, first)),
            ("%rows", offset_of!(KernelArgs, rows)),
            ("%cols", offset_of!(KernelArgs, cols)),
        ] {
            let ptr = self.t.op(format_args!("getelementptr inbounds i8, ptr %args, i64 {offset}"));
            self.t.define(name, format_args!("load i64, ptr {ptr}, align 8"));
        }
        let partials = self.field("ptr", offset_of!(KernelArgs, partials));
        self.t.define("%partials", format_args!("getelementptr inbounds i8, ptr {partials}, i64 0"));
        self.t.define("%whole", format_args!("and i64 %cols, {}", -i64::from(self.block)));
        self.t.define("%none", "icmp eq i64 %rows, 0");
        self.t.line("br i1 %none, label %exit, label %row");
    }

    /// A zeroed buffer on the stack for one sixteen of entries.
    fn buffer(&mut self, name: &str, element: &str) {
        self.t.define(name, format_args!("alloca [{LANES} x {element}], align 64"));
        self.t.line(format_args!("store [{LANES} x {element}] zeroinitializer, ptr {name}, align 64"));
    }

    fn rows(&mut self) {
        let kernel = self.kernel;
        self.t.label("row");
        self.t.define("%r", "phi i64 [ 0, %entry ], [ %r.next, %done ]");
        self.t.define("%row.first", "mul i64 %r, %cols");
        self.t.define("%row.flat", "add i64 %first, %row.first");
        // Where the row begins, and the row's own values.
        let mut in_ptrs = Vec::new();
        self.hoisted.row_values.clear();
        for (n, operand) in kernel.operands.iter().enumerate() {
            let element = convert::element(operand.dtype);
            let base = &self.operands[n];
            let (ptr, value) = match operand.access {
                Access::Dense => {
                    (self.t.op(format_args!("getelementptr inbounds {element}, ptr {base}, i64 %row.first")), String::new())
                }
                Access::PerCol => (base.clone(), String::new()),
                Access::PerRow => {
                    let ptr = self.t.op(format_args!("getelementptr inbounds float, ptr {base}, i64 %r"));
                    let value = self.t.op(format_args!("load float, ptr {ptr}, align 4"));
                    (String::new(), self.t.splat("float", &value))
                }
            };
            in_ptrs.push(ptr);
            self.hoisted.row_values.push(value);
        }
        let mut out_ptrs = Vec::new();
        for (n, (_, dtype)) in kernel.stores.iter().enumerate() {
            let (element, base) = (convert::element(*dtype), &self.stores[n]);
            out_ptrs.push(self.t.op(format_args!("getelementptr inbounds {element}, ptr {base}, i64 %row.first")));
        }
        if self.random {
            // Whole groups of random words only where rows begin with one.
            self.t.define("%inside", "and i64 %row.flat, 63");
            self.t.define("%aligned", "icmp eq i64 %inside, 0");
            self.t.define("%end", "select i1 %aligned, i64 %whole, i64 0");
        } else {
            self.t.define("%end", "add i64 %whole, 0");
        }
        self.t.define("%has.main", "icmp ne i64 %end, 0");
        self.t.line("br i1 %has.main, label %main, label %rest.head");
        let after_main = self.main_loop(&in_ptrs, &out_ptrs);
        let after_rest = self.rest_loop(&in_ptrs, &out_ptrs, &after_main);
        self.finish_row(&after_rest);
        self.t.define("%r.next", "add i64 %r, 1");
        self.t.define("%more.rows", "icmp ult i64 %r.next, %rows");
        self.t.line("br i1 %more.rows, label %row, label %exit");
        self.t.label("exit");
        self.t.line("ret void");
    }

    /// Names for every accumulator.
    fn accumulators(&mut self) -> Accumulators {
        let parts = LANES32 / self.t.width;
        let t = &mut self.t;
        self.kernel.reductions.iter().map(|_| (0..parts).map(|_| t.name()).collect()).collect()
    }

    /// Phis that define `into`: the identity, or what `from` holds, on the way from `first`; `next` from `latch`.
    fn phis(&mut self, into: &Accumulators, from: Option<&Accumulators>, first: &str, next: &Accumulators, latch: &str) {
        let vd = self.t.vd.clone();
        for (k, parts) in into.iter().enumerate() {
            for (p, name) in parts.iter().enumerate() {
                let start = from.map_or(identity(self.kernel.reductions[k].0), |from| from[k][p].as_str());
                self.t.define(name, format_args!("phi {vd} [ {start}, %{first} ], [ {}, %{latch} ]", next[k][p]));
            }
        }
    }

    /// Pointers moved on by `index` entries; per-row operands have none.
    fn moved(&mut self, ptrs: &[String], elements: &[&str], index: &str) -> Vec<String> {
        let t = &mut self.t;
        let step = |(ptr, element): (&String, &&str)| {
            if ptr.is_empty() {
                String::new()
            } else {
                t.op(format_args!("getelementptr inbounds {element}, ptr {ptr}, i64 {index}"))
            }
        };
        ptrs.iter().zip(elements).map(step).collect()
    }

    fn elements(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        (
            self.kernel.operands.iter().map(|o| convert::element(o.dtype)).collect(),
            self.kernel.stores.iter().map(|s| convert::element(s.1)).collect(),
        )
    }

    /// Blocks of whole vectors, no entry missing; the accumulators after the last.
    fn main_loop(&mut self, in_ptrs: &[String], out_ptrs: &[String]) -> Accumulators {
        let (in_elements, out_elements) = self.elements();
        let (before, mut after) = (self.accumulators(), self.accumulators());
        self.t.label("main");
        self.t.define("%i", "phi i64 [ 0, %row ], [ %i.next, %main.latch ]");
        self.phis(&before, None, "row", &after, "main.latch");
        let ins = self.moved(in_ptrs, &in_elements, "%i");
        let outs = self.moved(out_ptrs, &out_elements, "%i");
        self.t.define("%i.flat", "add i64 %row.flat, %i");
        let mut state = before;
        let width = self.t.width;
        if self.random {
            for lane in (0..LANES32).step_by(width as usize) {
                let t = &mut self.t;
                let block = philox::aligned_blocks(t, "%i.flat", lane);
                let words: Vec<_> = self.hoisted.keys.iter().map(|keys| philox::words(t, keys, &block)).collect();
                for turn in 0..4 {
                    let uniforms: Vec<_> = words.iter().map(|w| philox::to_uniform(&mut self.t, &w[turn])).collect();
                    self.vector(&ins, &outs, turn as u32 * LANES32 + lane, "%i.flat", Some(&uniforms), &mut state, None);
                }
            }
        } else {
            for offset in (0..self.block).step_by(width as usize) {
                self.vector(&ins, &outs, offset, "%i.flat", None, &mut state, None);
            }
        }
        self.name_final(&mut after, &state);
        self.t.line("br label %main.latch");
        self.t.label("main.latch");
        self.t.define("%i.next", format_args!("add nuw i64 %i, {}", self.block));
        self.t.define("%i.more", "icmp ult i64 %i.next, %end");
        self.t.line("br i1 %i.more, label %main, label %rest.head");
        after
    }

    /// Defines the names that a phi before expected for the state at the end of a loop's body.
    fn name_final(&mut self, names: &mut Accumulators, state: &Accumulators) {
        let vd = self.t.vd.clone();
        let mask = self.t.lane_numbers("i32", 0);
        let width = self.t.width;
        for (names, state) in names.iter().zip(state) {
            for (name, value) in names.iter().zip(state) {
                self.t.define(name, format_args!("shufflevector {vd} {value}, {vd} poison, <{width} x i32> {mask}"));
            }
        }
    }

    /// One vector: the body, its stores and its reductions. `flat` is the flat index of the block; `left`
    /// says how many entries of the block there are (i32), where it may not be full.
    #[allow(clippy::too_many_arguments)]
    fn vector(
        &mut self,
        ins: &[String],
        outs: &[String],
        offset: u32,
        flat: &str,
        uniforms: Option<&[String]>,
        state: &mut Accumulators,
        left: Option<&str>,
    ) {
        let kernel = self.kernel;
        let t = &mut self.t;
        let flat = t.op(format_args!("add i64 {flat}, {offset}"));
        let anywhere: Vec<String>;
        let uniforms = match uniforms {
            Some(uniforms) => uniforms,
            None => {
                anywhere = self.hoisted.keys.iter().map(|keys| philox::anywhere(t, keys, &flat)).collect();
                &anywhere
            }
        };
        let place = Place { operands: ins, offset, flat: &flat, uniforms };
        let vals = body::emit(t, kernel, self.shape.native_f16, &self.hoisted, &place);
        for ((val, dtype), ptr) in kernel.stores.iter().zip(outs) {
            let ptr = body::advance(t, convert::element(*dtype), ptr, offset);
            convert::store(t, *dtype, &ptr, &vals[val.0 as usize], self.shape.native_f16);
        }
        if kernel.reductions.is_empty() {
            return;
        }
        let (vf, vi, vd, vm) = (t.vf.clone(), t.vi.clone(), t.vd.clone(), t.vm.clone());
        let valid = left.map(|left| {
            let lanes = t.lane_numbers("i32", offset);
            let left = t.splat("i32", left);
            t.op(format_args!("icmp ult {vi} {lanes}, {left}"))
        });
        let part = (offset % LANES32 / t.width) as usize;
        for (k, (f, val)) in kernel.reductions.iter().enumerate() {
            let wide = t.op(format_args!("fpext {vf} {} to {vd}", vals[val.0 as usize]));
            let old = state[k][part].clone();
            let sum = combine(t, *f, &vd, &old, &wide);
            state[k][part] = match &valid {
                None => sum,
                Some(valid) => t.op(format_args!("select {vm} {valid}, {vd} {sum}, {vd} {old}")),
            };
        }
    }

    /// What the main loop left, sixteen entries at a time, the last through buffers.
    fn rest_loop(&mut self, in_ptrs: &[String], out_ptrs: &[String], after_main: &Accumulators) -> Accumulators {
        let (in_elements, out_elements) = self.elements();
        let vd = self.t.vd.clone();
        let (start, before) = (self.accumulators(), self.accumulators());
        let (mut after, end) = (self.accumulators(), self.accumulators());
        self.t.label("rest.head");
        self.t.define("%j.first", "phi i64 [ 0, %row ], [ %end, %main.latch ]");
        self.phis(&start, None, "row", after_main, "main.latch");
        self.t.define("%has.rest", "icmp ult i64 %j.first, %cols");
        self.t.line("br i1 %has.rest, label %rest, label %done");

        self.t.label("rest");
        self.t.define("%j", "phi i64 [ %j.first, %rest.head ], [ %j.next, %rest.latch ]");
        self.phis(&before, Some(&start), "rest.head", &after, "rest.latch");
        self.t.define("%left", "sub i64 %cols, %j");
        self.t.define("%count", format_args!("call i64 @llvm.umin.i64(i64 %left, i64 {LANES})"));
        self.t.define("%count32", "trunc i64 %count to i32");
        self.t.define("%full", format_args!("icmp eq i64 %count, {LANES}"));
        let ins = self.moved(in_ptrs, &in_elements, "%j");
        let outs = self.moved(out_ptrs, &out_elements, "%j");
        self.t.line("br i1 %full, label %rest.body, label %copy.in");
        let pairs: Vec<_> =
            (0..ins.len()).filter(|n| !ins[*n].is_empty()).map(|n| (ins[n].clone(), format!("%in{n}"), in_elements[n])).collect();
        self.copy_loop("copy.in", "rest", "rest.body", &pairs);

        self.t.label("rest.body");
        let choose = |t: &mut Text, ptr: &String, buffer: String| {
            if ptr.is_empty() { String::new() } else { t.op(format_args!("phi ptr [ {ptr}, %rest ], [ {buffer}, %copy.in ]")) }
        };
        let here_in: Vec<_> = ins.iter().enumerate().map(|(n, ptr)| choose(&mut self.t, ptr, format!("%in{n}"))).collect();
        let here_out: Vec<_> = outs.iter().enumerate().map(|(n, ptr)| choose(&mut self.t, ptr, format!("%out{n}"))).collect();
        self.t.define("%j.flat", "add i64 %row.flat, %j");
        let mut state = before;
        for offset in (0..LANES32).step_by(self.t.width as usize) {
            self.vector(&here_in, &here_out, offset, "%j.flat", None, &mut state, Some("%count32"));
        }
        self.name_final(&mut after, &state);
        self.t.line("br i1 %full, label %rest.latch, label %copy.out");
        let last = self.t.block.clone();
        let pairs: Vec<_> = (0..outs.len()).map(|n| (format!("%out{n}"), outs[n].clone(), out_elements[n])).collect();
        self.copy_loop("copy.out", &last, "rest.latch", &pairs);

        self.t.label("rest.latch");
        self.t.define("%j.next", format_args!("add i64 %j, {LANES}"));
        self.t.define("%j.more", "icmp ult i64 %j.next, %cols");
        self.t.line("br i1 %j.more, label %rest, label %done");

        self.t.label("done");
        for (k, parts) in end.iter().enumerate() {
            for (p, name) in parts.iter().enumerate() {
                let (a, b) = (&start[k][p], &after[k][p]);
                self.t.define(name, format_args!("phi {vd} [ {a}, %rest.head ], [ {b}, %rest.latch ]"));
            }
        }
        end
    }

    /// A loop that copies `%count` entries (at least one) from each pair's first to its second.
    fn copy_loop(&mut self, name: &str, from: &str, to: &str, pairs: &[(String, String, &str)]) {
        let t = &mut self.t;
        t.label(name);
        t.define(&format!("%{name}.n"), format_args!("phi i64 [ 0, %{from} ], [ %{name}.next, %{name} ]"));
        for (source, target, element) in pairs {
            let source = t.op(format_args!("getelementptr inbounds {element}, ptr {source}, i64 %{name}.n"));
            let target = t.op(format_args!("getelementptr inbounds {element}, ptr {target}, i64 %{name}.n"));
            let value = t.op(format_args!("load {element}, ptr {source}"));
            t.line(format_args!("store {element} {value}, ptr {target}"));
        }
        t.define(&format!("%{name}.next"), format_args!("add i64 %{name}.n, 1"));
        t.define(&format!("%{name}.more"), format_args!("icmp ult i64 %{name}.next, %count"));
        t.line(format_args!("br i1 %{name}.more, label %{name}, label %{to}"));
    }

    /// Adds the lanes up and writes the row's results.
    fn finish_row(&mut self, end: &Accumulators) {
        let count = self.kernel.reductions.len();
        for (k, (f, _)) in self.kernel.reductions.iter().enumerate() {
            let t = &mut self.t;
            let mut parts = end[k].clone();
            let vd = t.vd.clone();
            while parts.len() > 1 {
                let half = parts.len() / 2;
                parts = (0..half).map(|p| combine(t, *f, &vd, &parts[p], &parts[p + half])).collect();
            }
            let mut value = parts.swap_remove(0);
            let mut width = t.width;
            while width > 1 {
                let half = width / 2;
                let [low, high] = [0, half].map(|from| {
                    let lanes: Vec<String> = (from..from + half).map(|j| format!("i32 {j}")).collect();
                    let mask = lanes.join(", ");
                    let wide = format!("<{width} x double>");
                    t.op(format_args!("shufflevector {wide} {value}, {wide} poison, <{half} x i32> <{mask}>"))
                });
                value = combine(t, *f, &format!("<{half} x double>"), &low, &high);
                width = half;
            }
            let value = t.op(format_args!("extractelement <1 x double> {value}, i64 0"));
            let nan = t.op(format_args!("fcmp uno double {value}, {value}"));
            let value = t.op(format_args!("select i1 {nan}, double 0x7FF8000000000000, double {value}"));
            let at = t.op(format_args!("mul i64 %r, {count}"));
            let at = t.op(format_args!("add i64 {at}, {k}"));
            let ptr = t.op(format_args!("getelementptr inbounds double, ptr %partials, i64 {at}"));
            t.line(format_args!("store double {value}, ptr {ptr}, align 8"));
        }
    }
}

/// What a reduction starts from, as a constant vector.
fn identity(f: ReduceFn) -> &'static str {
    match f {
        ReduceFn::Sum => "zeroinitializer",
        ReduceFn::Min => "splat (double 0x7FF0000000000000)",
        ReduceFn::Max => "splat (double 0xFFF0000000000000)",
    }
}

fn combine(t: &mut Text, f: ReduceFn, ty: &str, a: &str, b: &str) -> String {
    match f {
        ReduceFn::Sum => t.op(format_args!("fadd {ty} {a}, {b}")),
        ReduceFn::Min => body::extreme(t, "olt", ty, a, b),
        ReduceFn::Max => body::extreme(t, "ogt", ty, a, b),
    }
}
