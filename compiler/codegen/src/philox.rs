//! Uniform random numbers: Philox4x32-10 over vectors of counters.
//!
//! One evaluation gives four words for each counter; the order of words (see `merge_ir::kir::Inst`) makes
//! them four consecutive vectors of sixteen entries. Words are kept in the low halves of 64-bit lanes, where
//! one multiplication gives both halves of the product; the upper halves hold rubbish between rounds.

use crate::text::{Text, float_splat};

const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u64; 2] = [0x9E37_79B9, 0xBB67_AE85];
const LOW: &str = "splat (i64 4294967295)";

/// The keys of ten rounds, in every lane.
pub(crate) struct RoundKeys(Vec<[String; 2]>);

/// Prepares the key, an i64 scalar.
pub(crate) fn round_keys(t: &mut Text, key: &str) -> RoundKeys {
    let low = t.op(format_args!("and i64 {key}, 4294967295"));
    let high = t.op(format_args!("lshr i64 {key}, 32"));
    let mut rounds = Vec::with_capacity(10);
    for round in 0..10u64 {
        rounds.push([(&low, WEYL[0]), (&high, WEYL[1])].map(|(part, step)| {
            let sum = t.op(format_args!("add i64 {part}, {}", step.wrapping_mul(round) & 0xffff_ffff));
            t.splat("i64", &sum)
        }));
    }
    RoundKeys(rounds)
}

/// The four words of the counters in `block` (a vector of i64), in the low halves of i64 lanes.
pub(crate) fn words(t: &mut Text, keys: &RoundKeys, block: &str) -> [String; 4] {
    let vl = t.vl.clone();
    let high = t.op(format_args!("lshr {vl} {block}, splat (i64 32)"));
    let zero = "zeroinitializer".to_string();
    let mut c = [block.to_string(), high, zero.clone(), zero];
    for round in &keys.0 {
        let [p, q] = [(&c[0], MULTIPLIERS[0]), (&c[2], MULTIPLIERS[1])].map(|(word, factor)| {
            let word = t.op(format_args!("and {vl} {word}, {LOW}"));
            t.op(format_args!("mul nuw {vl} {word}, splat (i64 {factor})"))
        });
        let [even, odd] = [(&q, &c[1], &round[0]), (&p, &c[3], &round[1])].map(|(product, word, key)| {
            let high = t.op(format_args!("lshr {vl} {product}, splat (i64 32)"));
            let mixed = t.op(format_args!("xor {vl} {high}, {word}"));
            t.op(format_args!("xor {vl} {mixed}, {key}"))
        });
        c = [even, q, odd, p];
    }
    c
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
