//! Counts NaN and infinities in stored entries, by their bits.

use crate::select::scan::for_best_cpu;
use merge_abi::{DType, Operand, Origin, Plan, Read, Step};

/// For each copy and map the operands whose entries are looked through, so that a tensor that several steps read is counted once:
/// each step in turn, until all entries of the tensor have been seen.
pub(crate) fn first_looks(plan: &Plan) -> Vec<Vec<bool>> {
    let mut left: Vec<u64> = plan.sources.iter().map(|s| s.shape.iter().product()).collect();
    let mut look = |read: &Read| {
        let Origin::Source(source) = read.from else { return false };
        let Some(left) = left.get_mut(source as usize) else { return false };
        let seen: u64 = read.view.dims.iter().filter(|d| d.1 != 0).map(|d| d.0).product();
        let first = *left > 0;
        *left = left.saturating_sub(seen);
        first
    };
    let of = |step: &Step| match step {
        Step::Copy { from, .. } => vec![look(from)],
        Step::Map { body, .. } => body.operands.iter().map(|o| matches!(o, Operand::Dense(read) if look(read))).collect(),
        _ => Vec::new(),
    };
    plan.steps.iter().map(of).collect()
}

/// How many entries are NaN or infinite; integers and truth values never are.
pub(crate) fn count_non_finite(dtype: DType, bytes: &[u8]) -> u64 {
    match dtype {
        DType::BF16 => words16(bytes, 0x7f80),
        DType::F16 => words16(bytes, 0x7c00),
        DType::F32 => words32(bytes),
        DType::F64 => bytes.as_chunks::<8>().0.iter().filter(|b| !f64::from_le_bytes(**b).is_finite()).count() as u64,
        // E4M3 has no infinity, and its NaN has all bits but the sign.
        DType::F8E4M3 => bytes8(bytes, 0x7f),
        DType::F8E5M2 => bytes8(bytes, 0x7c),
        _ => 0,
    }
}

for_best_cpu!(words16, words16_body, (bytes: &[u8], exponent: u16) -> u64);
for_best_cpu!(words32, words32_body, (bytes: &[u8]) -> u64);
for_best_cpu!(bytes8, bytes8_body, (bytes: &[u8], exponent: u8) -> u64);

#[inline(always)]
fn words16_body(bytes: &[u8], exponent: u16) -> u64 {
    // Runs are short enough for 16-bit sums.
    bytes
        .as_chunks::<2>()
        .0
        .chunks(1 << 14)
        .map(|run| u64::from(run.iter().map(|b| u16::from(u16::from_le_bytes(*b) & exponent == exponent)).sum::<u16>()))
        .sum()
}

#[inline(always)]
fn words32_body(bytes: &[u8]) -> u64 {
    const EXPONENT: u32 = 0x7f80_0000;
    bytes
        .as_chunks::<4>()
        .0
        .chunks(1 << 20)
        .map(|run| u64::from(run.iter().map(|b| u32::from(u32::from_le_bytes(*b) & EXPONENT == EXPONENT)).sum::<u32>()))
        .sum()
}

#[inline(always)]
fn bytes8_body(bytes: &[u8], exponent: u8) -> u64 {
    bytes.chunks(128).map(|run| u64::from(run.iter().map(|b| u8::from(b & exponent == exponent)).sum::<u8>())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use merge_abi::{Sink, Source, Target, View};

    #[test]
    fn a_tensor_that_is_read_twice_is_looked_through_once() {
        let view = |offset, len| View { offset, dims: vec![(len, 1)] };
        let copy = |offset, len| Step::Copy {
            from: Read { from: Origin::Source(0), view: view(offset, len) },
            to: Target { to: Sink::Output { output: 0, tensor: 0 }, view: view(0, len) },
        };
        let plan = Plan {
            sources: vec![Source { checkpoint: 0, name: "x".into(), dtype: DType::F32, shape: vec![2, 5] }],
            steps: vec![copy(0, 4), copy(4, 6), copy(0, 10), copy(2, 3)],
            ..Plan::default()
        };
        assert_eq!(first_looks(&plan), [[true], [true], [false], [false]]);
    }

    #[test]
    fn every_float_counts() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 0.0, -1.0];
        let f32s: Vec<u8> = odd.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(count_non_finite(DType::F32, &f32s), 3);
        let f64s: Vec<u8> = odd.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect();
        assert_eq!(count_non_finite(DType::F64, &f64s), 3);
        let bf16s: Vec<u8> = odd.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect();
        // The largest f32 rounds to infinity.
        assert_eq!(count_non_finite(DType::BF16, &bf16s), 4);
        let f16s: Vec<u8> = odd.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect();
        assert_eq!(count_non_finite(DType::F16, &f16s), 4);
        assert_eq!(count_non_finite(DType::F8E4M3, &[0x7f, 0xff, 0x7e, 0x00]), 2);
        assert_eq!(count_non_finite(DType::F8E5M2, &[0x7c, 0xfc, 0x7d, 0x7b]), 3);
        assert_eq!(count_non_finite(DType::I32, &f32s), 0);
        let many: Vec<u8> = [0x80, 0x7f].repeat(100_000);
        assert_eq!(count_non_finite(DType::BF16, &many), 100_000);
    }
}
