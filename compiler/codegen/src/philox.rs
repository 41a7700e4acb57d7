//! Uniform random numbers: Philox4x32-10 over vectors of counters.
//!
//! One evaluation gives four words for each counter; the order of words (see `merge_ir::kir::Inst`) makes
//! them four consecutive vectors of sixteen entries. Words are kept in the low halves of 64-bit lanes, where
//! one multiplication gives both halves of the product; the upper halves hold rubbish between rounds.

use crate::text::{Text, float_splat};

const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u64; 2] = [0x9E37_79B9, 0xBB67_AE85];
const LOW: &str = "splat (i64 4294967295)";

const ROUNDS: u64 = 10;

/// The keys of the rounds: an array on the stack, two i64 for each.
pub(crate) struct RoundKeys(String);

/// Prepares the key, an i64 scalar.
pub(crate) fn round_keys(t: &mut Text, key: &str) -> RoundKeys {
    let low = t.op(format_args!("and i64 {key}, 4294967295"));
    let high = t.op(format_args!("lshr i64 {key}, 32"));
    let array = t.op(format_args!("alloca [{} x i64], align 16", 2 * ROUNDS));
    for round in 0..ROUNDS {
        for (half, part, step) in [(0, &low, WEYL[0]), (1, &high, WEYL[1])] {
            // The upper half of the sum is rubbish too.
            let sum = t.op(format_args!("add i64 {part}, {}", step * round));
            let ptr = t.op(format_args!("getelementptr inbounds i64, ptr {array}, i64 {}", 2 * round + half));
            t.line(format_args!("store i64 {sum}, ptr {ptr}, align 8"));
        }
    }
    RoundKeys(array)
}

/// The four words of the counters in `block` (a vector of i64), in the low halves of i64 lanes. Writes a
/// loop, since ten rounds side by side take LLVM several times longer and run no faster; ends in a new block.
pub(crate) fn words(t: &mut Text, keys: &RoundKeys, block: &str) -> [String; 4] {
    let vl = t.vl.clone();
    let high = t.op(format_args!("lshr {vl} {block}, splat (i64 32)"));
    let start = [block, &high, "zeroinitializer", "zeroinitializer"];
    let from = t.block.clone();
    let id = t.name();
    let label = format!("rounds.{}", &id[1..]);
    t.line(format_args!("br label %{label}"));
    t.label(&label);
    t.define(&format!("{id}.n"), format_args!("phi i64 [ 0, %{from} ], [ {id}.next, %{label} ]"));
    let mut c: [String; 4] = std::array::from_fn(|w| format!("{id}.c{w}"));
    for w in 0..4 {
        t.define(&c[w], format_args!("phi {vl} [ {}, %{from} ], [ {id}.d{w}, %{label} ]", start[w]));
    }
    for round in 0..2 {
        let mut mixed = Vec::with_capacity(2);
        let products = [(&c[0], MULTIPLIERS[0]), (&c[2], MULTIPLIERS[1])].map(|(word, factor)| {
            let word = t.op(format_args!("and {vl} {word}, {LOW}"));
            t.op(format_args!("mul nuw {vl} {word}, splat (i64 {factor})"))
        });
        for half in 0..2 {
            let at = t.op(format_args!("add i64 {id}.n, {}", 2 * round + half));
            let ptr = t.op(format_args!("getelementptr inbounds i64, ptr {}, i64 {at}", keys.0));
            let key = t.op(format_args!("load i64, ptr {ptr}, align 8"));
            let key = t.splat("i64", &key);
            let high = t.op(format_args!("lshr {vl} {}, splat (i64 32)", products[1 - half]));
            let both = t.op(format_args!("xor {vl} {high}, {}", c[2 * half + 1]));
            mixed.push(t.op(format_args!("xor {vl} {both}, {key}")));
        }
        let [p, q] = products;
        let odd = mixed.swap_remove(1);
        c = [mixed.swap_remove(0), q, odd, p];
    }
    for (w, c) in c.iter().enumerate() {
        // A name for the phi; LLVM removes the addition.
        t.define(&format!("{id}.d{w}"), format_args!("add {vl} {c}, zeroinitializer"));
    }
    t.define(&format!("{id}.next"), format_args!("add i64 {id}.n, 4"));
    t.define(&format!("{id}.more"), format_args!("icmp ult i64 {id}.next, {}", 2 * ROUNDS));
    let done = format!("{label}.done");
    t.line(format_args!("br i1 {id}.more, label %{label}, label %{done}"));
    t.label(&done);
    std::array::from_fn(|w| format!("{id}.d{w}"))
}

/// A word's upper 24 bits as a number in `[0, 1)`.
pub(crate) fn to_uniform(t: &mut Text, word: &str) -> String {
    let (vf, vi, vl) = (t.vf.clone(), t.vi.clone(), t.vl.clone());
    let word = t.op(format_args!("trunc {vl} {word} to {vi}"));
    let bits = t.op(format_args!("lshr {vi} {word}, splat (i32 8)"));
    let number = t.op(format_args!("sitofp {vi} {bits} to {vf}"));
    t.op(format_args!("fmul {vf} {number}, {}", float_splat(1.0 / 16_777_216.0)))
}

/// The counters of the vector whose first flat index, a multiple of 64 plus `offset` below 16, is `flat`
/// (without the offset).
pub(crate) fn aligned_blocks(t: &mut Text, flat: &str, offset: u32) -> String {
    let vl = t.vl.clone();
    let group = t.op(format_args!("lshr i64 {flat}, 2"));
    let first = t.splat("i64", &group);
    let lanes = t.lane_numbers("i64", offset);
    t.op(format_args!("add {vl} {first}, {lanes}"))
}

/// The uniform numbers of the vector that begins at any flat index: every lane finds its counter and word.
pub(crate) fn anywhere(t: &mut Text, keys: &RoundKeys, flat: &str) -> String {
    let (vl, vm) = (t.vl.clone(), t.vm.clone());
    let first = t.splat("i64", flat);
    let lanes = t.lane_numbers("i64", 0);
    let index = t.op(format_args!("add {vl} {first}, {lanes}"));
    let group = t.op(format_args!("lshr {vl} {index}, splat (i64 6)"));
    let group = t.op(format_args!("shl {vl} {group}, splat (i64 4)"));
    let place = t.op(format_args!("and {vl} {index}, splat (i64 15)"));
    let block = t.op(format_args!("or {vl} {group}, {place}"));
    let words = words(t, keys, &block);
    let which = t.op(format_args!("lshr {vl} {index}, splat (i64 4)"));
    let which = t.op(format_args!("and {vl} {which}, splat (i64 3)"));
    let mut word = words[0].clone();
    for (n, other) in words.iter().enumerate().skip(1) {
        let here = t.op(format_args!("icmp eq {vl} {which}, splat (i64 {n})"));
        word = t.op(format_args!("select {vm} {here}, {vl} {other}, {vl} {word}"));
    }
    to_uniform(t, &word)
}
