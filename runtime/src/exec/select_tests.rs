//! Selections over tensors, of data that they find hard, against sorting.

use super::{
    Options, run,
    tests::{flat, floats, info, operand, options, out_tensor, output, store, target, tensor, whole},
};
use crate::{
    progress::Silent,
    routines,
    select::tests::{by_order, downwards, hard},
    testing::{Temp, raw},
};
use merge_abi::*;
use std::fs;

/// The f32 operand as keys.
unsafe extern "C" fn same(args: *const KernelArgs) {
    // SAFETY: the plans below give one f32 operand and one f32 store.
    unsafe {
        let args = &*args;
        store::<f32>(args, 0).copy_from_slice(operand::<f32>(args, 0, args.rows * args.cols));
    }
}

/// Both params, in turn.
unsafe extern "C" fn report(args: *const KernelArgs) {
    // SAFETY: the plans below give two params and one f32 store.
    unsafe {
        let args = &*args;
        for (i, out) in store::<f32>(args, 0).iter_mut().enumerate() {
            *out = *args.params.add((args.first as usize + i) % 2);
        }
    }
}

/// The largest of each row.
unsafe extern "C" fn largest(args: *const KernelArgs) {
    // SAFETY: the plans below give one f32 operand and one reduction.
    unsafe {
        let args = &*args;
        for row in 0..args.rows {
            let entries = &operand::<f32>(args, 0, args.rows * args.cols)[(row * args.cols) as usize..][..args.cols as usize];
            *args.partials.add(row as usize) = f64::from(entries.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}

/// How the keys come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// One step for each rank.
    Apart,
    /// All ranks in one step.
    Together,
    /// One step for each rank, of rows with statistics, for which there is no sample.
    Rows(u64),
    /// The keys themselves are asked for, and no cut.
    Kth,
}

/// Selects from two tensors, the first of `n` entries, at some shares of the whole, and compares.
fn check(name: &str, numbers: &[f32], order: &[usize], n: usize, form: Form, memory: u64) {
    let m = numbers.len() - n;
    let temp = Temp::new(&format!("select-{n}-{m}-{memory}-{form:?}"));
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let header = serde_json::json!({
        "x": { "dtype": "F32", "shape": [n], "data_offsets": [0, 4 * n] },
        "y": { "dtype": "F32", "shape": [m], "data_offsets": [4 * n, 4 * (n + m)] },
    });
    temp.file("a.safetensors", raw(&header.to_string(), &bytes));
    let ranks: Vec<u64> = [0.0, 0.01, 0.5, 0.999, 1.0].iter().map(|q| (q * (n + m) as f64) as u64).collect();
    let count = ranks.len() as u32;
    let wants_cut = form != Form::Kth;

    let part = |kernel: u32, source: u32, len: usize| {
        let len = len as u64;
        let dense = Operand::Dense(whole(source, len));
        match form {
            Form::Rows(cols) if len.is_multiple_of(cols) => Loop {
                rows: len / cols,
                cols,
                by_rows: true,
                operands: vec![dense, Operand::RowValue { phase: 0, value: 0 }],
                phases: vec![RowPhase { kernel: 3, operands: vec![0], params: vec![], keys: vec![], kind: RowPhaseKind::Reduce }],
                ..flat(2, len, vec![])
            },
            _ => flat(kernel, len, vec![dense]),
        }
    };
    let selection = |i: u32| Selection { k: ScalarId(i), threshold: StatId(2 * i), cut: wants_cut.then_some(StatId(2 * i + 1)) };
    let parts = |kernel| vec![part(kernel, 0, n), part(kernel, 1, m)];
    let mut steps: Vec<Step> = match form {
        Form::Together => vec![Step::Select { parts: parts(4), selections: (0..count).map(selection).collect() }],
        _ => (0..count).map(|i| Step::Select { parts: parts(0), selections: vec![selection(i)] }).collect(),
    };
    let mut scalars: Vec<ScalarOp> = ranks.iter().map(|k| ScalarOp::Const(*k as f64)).collect();
    scalars
        .extend((0..2 * count).map(|s| if wants_cut || s % 2 == 0 { ScalarOp::Stat(StatId(s)) } else { ScalarOp::Const(0.0) }));
    for i in 0..count {
        let params = vec![ScalarId(count + 2 * i), ScalarId(count + 2 * i + 1)];
        steps.push(Step::Map { body: Loop { params, ..flat(1, 2, vec![]) }, to: target(i, 2) });
    }
    let dense = (DType::F32, Access::Dense);
    let source = |name: &str, len: usize| Source { checkpoint: 0, name: name.into(), dtype: DType::F32, shape: vec![len as u64] };
    let plan = Plan {
        checkpoints: vec![Checkpoint { name: "a".into(), path: "a.safetensors".into(), config: None }],
        sources: vec![source("x", n), source("y", m)],
        scalars,
        kernels: vec![
            info(&[dense], &[DType::F32], &[], 0, 0),
            info(&[], &[DType::F32], &[], 2, 0),
            info(&[dense, (DType::F32, Access::PerRow)], &[DType::F32], &[], 0, 0),
            info(&[dense], &[], &[ReduceFn::Max], 0, 0),
            info(&[dense], &vec![DType::F32; ranks.len()], &[], 0, 0),
        ],
        steps,
        stats: 2 * count,
        outputs: vec![output((0..count).map(|i| out_tensor(&format!("t{i}"), DType::F32, &[2])).collect(), None)],
        ..Plan::default()
    };
    let options = Options { threads: Some(2), ..options(&temp, 2, memory) };
    run(&plan, &[same, report, same, largest, same_five_times], &options, &Silent).unwrap();
    for (i, &k) in ranks.iter().enumerate() {
        let found = floats(&tensor(&temp.path().join("out"), &format!("t{i}")));
        let (threshold, cut) = by_order(numbers, order, k);
        // Where all are meant, any threshold below them stands for the smallest.
        let below = wants_cut && k == numbers.len() as u64 && (threshold.is_nan() || found[0] <= threshold);
        let agrees = found[0] == threshold || found[0].is_nan() && threshold.is_nan() || below;
        let cut = if wants_cut { cut as f32 } else { 0.0 };
        assert!(agrees && found[1] == cut, "{name}, {form:?}, {memory}, {k} of {n}+{m}: {found:?} for {threshold} {cut}");
    }
    fs::remove_dir_all(temp.path().join("out")).unwrap();
}

/// As `same`, with a store for each rank.
unsafe extern "C" fn same_five_times(args: *const KernelArgs) {
    // SAFETY: the plans below give one f32 operand and five f32 stores.
    unsafe {
        let args = &*args;
        for s in 0..5 {
            store::<f32>(args, s).copy_from_slice(operand::<f32>(args, 0, args.rows * args.cols));
        }
    }
}

/// So little memory that few keys are held.
const LITTLE: u64 = 4 << 20;
const MUCH: u64 = 1 << 30;

#[test]
fn small_tensors() {
    for (n, m) in [(0, 1), (1, 0), (63, 65), (4096, 997)] {
        for (name, numbers) in hard(n + m) {
            let order = downwards(&numbers);
            for form in [Form::Apart, Form::Together, Form::Kth] {
                check(name, &numbers, &order, n, form, LITTLE);
            }
        }
    }
}

#[test]
fn tensors_of_many_tiles() {
    let (n, m) = (200_000, 100_003);
    for (name, numbers) in hard(n + m) {
        let order = downwards(&numbers);
        check(name, &numbers, &order, n, Form::Apart, LITTLE);
        check(name, &numbers, &order, n, Form::Together, LITTLE);
        check(name, &numbers, &order, n, Form::Rows(400), LITTLE);
        check(name, &numbers, &order, n, Form::Kth, LITTLE);
    }
}

#[test]
fn large_tensors() {
    let n = (1 << 20) + 77;
    for (name, numbers) in hard(n + 9_999).into_iter().filter(|d| ["forty values", "skewed"].contains(&d.0)) {
        let order = downwards(&numbers);
        check(name, &numbers, &order, n, Form::Apart, MUCH);
        check(name, &numbers, &order, n, Form::Apart, LITTLE);
    }
}

#[test]
fn a_sample_that_misleads_costs_passes_and_nothing_else() {
    let (n, pieces) = (300_000usize, 128);
    let (_, mut numbers) = hard(n).swap_remove(4);
    // Exactly what the sample will see is unlike the rest.
    for piece in 0..pieces {
        let at = (2 * piece + 1) * n / (2 * pieces) / 64 * 64;
        numbers[at..at + 64].fill(1.0e9);
    }
    let order = downwards(&numbers);
    check("sampled are large", &numbers, &order, n, Form::Apart, LITTLE);
    numbers.iter_mut().for_each(|x| *x = -*x);
    let order = downwards(&numbers);
    check("sampled are small", &numbers, &order, n, Form::Apart, LITTLE);
}

#[test]
fn places_in_rows_are_those_that_the_routine_gives() {
    let (rows, dense) = (47, (DType::F32, Access::Dense));
    for cols in [7, 300, 4099] {
        let n = rows * cols;
        // Rows of every kind of data, one after the other.
        let kinds = hard(cols as usize);
        let numbers: Vec<f32> = (0..rows as usize).flat_map(|r| kinds[r % kinds.len()].1.clone()).collect();
        let ranked = routines::Array { shape: &[rows, cols], entries: &numbers };
        let wanted = routines::run(&Routine::Rank { largest_first: true }, &[ranked], 0).unwrap().results.remove(0);

        let temp = Temp::new(&format!("places-{cols}"));
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let header = serde_json::json!({ "x": { "dtype": "F32", "shape": [rows, cols], "data_offsets": [0, 4 * n] } });
        temp.file("a.safetensors", raw(&header.to_string(), &bytes));
        let body = Loop {
            rows,
            cols,
            by_rows: true,
            operands: vec![Operand::RowValue { phase: 0, value: 0 }, Operand::Dense(whole(0, n))],
            phases: vec![RowPhase { kernel: 0, operands: vec![1], params: vec![], keys: vec![], kind: RowPhaseKind::Rank }],
            ..flat(0, n, vec![])
        };
        let mut plan = Plan {
            checkpoints: vec![Checkpoint { name: "a".into(), path: "a.safetensors".into(), config: None }],
            sources: vec![Source { checkpoint: 0, name: "x".into(), dtype: DType::F32, shape: vec![rows, cols] }],
            kernels: vec![info(&[dense], &[DType::F32], &[], 0, 0)],
            steps: vec![Step::Map { body, to: target(0, n) }],
            outputs: vec![output(vec![out_tensor("x", DType::F32, &[rows, cols])], None)],
            ..Plan::default()
        };
        for (threads, memory) in [(1, 4 << 20), (3, 4 << 20), (1, 1 << 30), (3, 1 << 30)] {
            run(&plan, &[same], &options(&temp, threads, memory), &Silent).unwrap();
            assert!(floats(&tensor(&temp.path().join("out"), "x")) == wanted, "{cols}, {threads}, {memory}");
        }
        // A kernel that takes places for values of rows.
        plan.kernels[0].operands[0].1 = Access::PerRow;
        assert!(run(&plan, &[same], &options(&temp, 1, 1 << 30), &Silent).is_err());
    }
}
