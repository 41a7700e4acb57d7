//! Plans run with kernels written by hand.

use super::*;
use crate::{Kind, progress::Silent, select::tests::by_sorting, testing::Temp};
use merge_abi::*;
use std::{fs, path::Path};

/// Operand `i` of a kernel as entries.
///
/// # Safety
/// As for the kernel.
pub(super) unsafe fn operand<T>(args: &KernelArgs, i: usize, len: u64) -> &[T] {
    // SAFETY: the tests' plans give operands of these types and lengths.
    unsafe { std::slice::from_raw_parts((*args.operands.add(i)).cast(), len as usize) }
}

/// Store `i` of a kernel.
///
/// # Safety
/// As for the kernel.
#[allow(clippy::mut_from_ref)] // The memory is the store's, not the arguments'.
pub(super) unsafe fn store<T>(args: &KernelArgs, i: usize) -> &mut [T] {
    // SAFETY: the tests' plans give stores of these types.
    unsafe { std::slice::from_raw_parts_mut((*args.stores.add(i)).cast(), (args.rows * args.cols) as usize) }
}

macro_rules! kernel {
    ($name:ident, $args:ident, $body:block) => {
        unsafe extern "C" fn $name(args: *const KernelArgs) {
            // SAFETY: the runtime calls kernels with valid arguments.
            #[allow(unused_unsafe)]
            unsafe {
                let $args = &*args;
                $body
            }
        }
    };
}

fn bf16(x: u16) -> f32 {
    half::bf16::from_bits(x).to_f32()
}

kernel!(average, args, {
    let n = args.rows * args.cols;
    let (a, b) = (operand::<u16>(args, 0, n), operand::<u16>(args, 1, n));
    for (i, out) in store::<u16>(args, 0).iter_mut().enumerate() {
        *out = half::bf16::from_f32(0.5 * bf16(a[i]) + 0.5 * bf16(b[i])).to_bits();
    }
});

/// `|a - b|` and `a`.
fn two_keys(a: f32, b: f32) -> [f32; 2] {
    [(a - b).abs(), a]
}

kernel!(keys, args, {
    let n = args.rows * args.cols;
    let (a, b) = (operand::<u16>(args, 0, n), operand::<u16>(args, 1, n));
    for i in 0..n as usize {
        let [x, y] = two_keys(bf16(a[i]), bf16(b[i]));
        store::<f32>(args, 0)[i] = x;
        store::<f32>(args, 1)[i] = y;
    }
});

// 1 where the key `|a - b|` is selected by threshold `params[0]` and the cut, plus the sum `params[1]`.
kernel!(masked, args, {
    let n = args.rows * args.cols;
    let (a, b) = (operand::<u16>(args, 0, n), operand::<u16>(args, 1, n));
    let (threshold, sum, cut) = (*args.params, *args.params.add(1), *args.cuts);
    for (i, out) in store::<f32>(args, 0).iter_mut().enumerate() {
        let key = two_keys(bf16(a[i]), bf16(b[i]))[0];
        let chosen = key > threshold || key == threshold && (args.first + i as u64) as i64 <= cut;
        *out = f32::from(u8::from(chosen)) + sum;
    }
});

kernel!(sums, args, {
    let a = operand::<u16>(args, 0, args.rows * args.cols);
    for row in 0..args.rows as usize {
        let entries = &a[row * args.cols as usize..][..args.cols as usize];
        *args.partials.add(2 * row) = entries.iter().map(|x| f64::from(bf16(*x))).sum();
        *args.partials.add(2 * row + 1) = entries.iter().map(|x| f64::from(bf16(*x))).fold(f64::NEG_INFINITY, f64::max);
    }
});

kernel!(row_keys, args, {
    let a = operand::<u16>(args, 0, args.rows * args.cols);
    for (i, out) in store::<f32>(args, 0).iter_mut().enumerate() {
        *out = bf16(a[i]).abs();
    }
});

// `a` times the column's `b` where the row's selection holds, less the row's sum; operands `a`, `b` per
// column, `c` per row, threshold, cut, sum.
kernel!(by_row, args, {
    let (rows, cols) = (args.rows as usize, args.cols as usize);
    let a = operand::<u16>(args, 0, args.rows * args.cols);
    let b = operand::<u16>(args, 1, args.cols);
    let per_row = |i| operand::<f32>(args, i, args.rows);
    let (c, threshold, cut, sum) = (per_row(2), per_row(3), per_row(4), per_row(5));
    for r in 0..rows {
        for j in 0..cols {
            let x = bf16(a[r * cols + j]);
            let chosen = x.abs() > threshold[r] || x.abs() == threshold[r] && j as f32 <= cut[r];
            let kept = if chosen { x * bf16(b[j]) } else { 0.0 };
            store::<f32>(args, 0)[r * cols + j] = kept + c[r] - sum[r];
        }
    }
});

fn entries(seed: u64, n: u64, coarse: bool) -> Vec<u16> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let x = (state >> 40) as f32 / 16_777_216.0 - 0.5;
            half::bf16::from_f32(if coarse { (x * 8.0).round() / 8.0 } else { x }).to_bits()
        })
        .collect()
}

fn write(temp: &Temp, name: &str, tensors: &[(&str, &[u64], &[u16])]) {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, shape, entries) in tensors {
        let begin = data.len();
        data.extend(entries.iter().flat_map(|x| x.to_le_bytes()));
        header
            .insert((*name).into(), serde_json::json!({ "dtype": "BF16", "shape": shape, "data_offsets": [begin, data.len()] }));
    }
    temp.file(&format!("{name}.safetensors"), crate::testing::raw(&serde_json::Value::from(header).to_string(), &data));
}

fn source(checkpoint: u32, name: &str, shape: &[u64]) -> Source {
    Source { checkpoint, name: name.into(), dtype: DType::BF16, shape: shape.to_vec() }
}

pub(super) fn whole(source: u32, n: u64) -> Read {
    Read { from: Origin::Source(source), view: View::whole(n) }
}

pub(super) fn info(
    operands: &[(DType, Access)],
    stores: &[DType],
    reductions: &[ReduceFn],
    params: u32,
    cuts: u32,
) -> KernelInfo {
    KernelInfo {
        symbol: "k".into(),
        operands: operands.to_vec(),
        stores: stores.to_vec(),
        reductions: reductions.to_vec(),
        params,
        keys: 0,
        cuts,
    }
}

pub(super) fn flat(kernel: u32, n: u64, operands: Vec<Operand>) -> Loop {
    Loop {
        kernel,
        rows: 1,
        cols: n,
        by_rows: false,
        operands,
        params: vec![],
        keys: vec![],
        cuts: vec![],
        first: 0,
        phases: vec![],
    }
}

pub(super) fn output(tensors: Vec<OutTensor>, shard: Option<u64>) -> Output {
    Output {
        path: "out".into(),
        role: Role::Weights,
        tensors,
        shard,
        like: None,
        tokenizer: None,
        config: vec![],
        adapter: None,
        beside: merge_abi::Beside::default(),
        place: "t.merge:1:1".into(),
    }
}

pub(super) fn target(tensor: u32, n: u64) -> Target {
    Target { to: Sink::Output { output: 0, tensor }, view: View::whole(n) }
}

pub(super) fn out_tensor(name: &str, dtype: DType, shape: &[u64]) -> OutTensor {
    OutTensor { name: name.into(), dtype, shape: shape.to_vec() }
}

const DENSE: (DType, Access) = (DType::BF16, Access::Dense);
/// Entries of `x` and of `y`.
const N: u64 = 700_001;
const ROWS: u64 = 97;
const COLS: u64 = 1031;

/// Every kind of step: an average, a copy, a transposed copy, a selection over two tensors with a reduction, and row
/// statistics.
fn plan(shard: Option<u64>) -> (Plan, Vec<KernelFn>) {
    let kernels = vec![
        info(&[DENSE, DENSE], &[DType::BF16], &[], 0, 0),
        info(&[DENSE, DENSE], &[DType::F32, DType::F32], &[], 0, 0),
        info(&[DENSE, DENSE], &[DType::F32], &[], 2, 1),
        info(&[DENSE], &[], &[ReduceFn::Sum, ReduceFn::Max], 0, 0),
        info(&[DENSE], &[DType::F32], &[], 0, 0),
        info(
            &[DENSE, (DType::BF16, Access::PerCol), (DType::BF16, Access::PerRow), DENSE, DENSE, DENSE].map(|(d, a)| (d, a)),
            &[DType::F32],
            &[],
            0,
            0,
        ),
    ];
    let mut kernels = kernels;
    for operand in &mut kernels[5].operands[3..] {
        *operand = (DType::F32, Access::PerRow);
    }
    let m = ROWS * COLS;
    let pair = |s: u32, n: u64| vec![Operand::Dense(whole(s, n)), Operand::Dense(whole(s + 2, n))];
    let mask = |s: u32, n: u64, minus: u64| Loop {
        params: vec![ScalarId(1), ScalarId(2)],
        cuts: vec![Cut { stat: StatId(1), minus }],
        ..flat(2, n, pair(s, n))
    };
    let phases = vec![
        RowPhase {
            kernel: 4,
            operands: vec![0],
            params: vec![],
            keys: vec![],
            kind: RowPhaseKind::Select { picks: vec![RowPick { store: 0, k: ScalarId(3) }] },
        },
        RowPhase { kernel: 3, operands: vec![0], params: vec![], keys: vec![], kind: RowPhaseKind::Reduce },
    ];
    let value = |phase, value| Operand::RowValue { phase, value };
    let rows = Loop {
        kernel: 5,
        rows: ROWS,
        cols: COLS,
        by_rows: true,
        operands: vec![
            Operand::Dense(whole(1, m)),
            Operand::PerCol(Read { from: Origin::Source(0), view: View { offset: 5, dims: vec![(COLS, 3)] } }),
            Operand::PerRow(Read { from: Origin::Source(1), view: View { offset: 2, dims: vec![(ROWS, COLS)] } }),
            value(0, 0),
            value(0, 1),
            value(1, 0),
        ],
        phases,
        ..flat(5, 0, vec![])
    };
    let plan = Plan {
        checkpoints: ["a", "b"].map(|n| Checkpoint { name: n.into(), path: format!("{n}.safetensors"), config: None }).to_vec(),
        sources: vec![source(0, "x", &[N]), source(0, "y", &[ROWS, COLS]), source(1, "x", &[N]), source(1, "y", &[ROWS, COLS])],
        scalars: vec![
            ScalarOp::Const((N + m) as f64 * 0.3 + 0.5),
            ScalarOp::Stat(StatId(0)),
            ScalarOp::Stat(StatId(4)),
            ScalarOp::Const(100.0),
            ScalarOp::Const(17.0),
        ],
        kernels,
        steps: vec![
            Step::Copy { from: whole(0, N), to: target(0, N) },
            Step::Copy {
                from: Read { from: Origin::Source(1), view: View { offset: 0, dims: vec![(COLS, 1), (ROWS, COLS)] } },
                to: target(1, m),
            },
            Step::Select {
                parts: vec![flat(1, N, pair(0, N)), flat(1, m, pair(1, m))],
                selections: vec![
                    Selection { k: ScalarId(0), threshold: StatId(0), cut: Some(StatId(1)) },
                    Selection { k: ScalarId(4), threshold: StatId(2), cut: Some(StatId(3)) },
                ],
            },
            Step::Reduce {
                parts: vec![flat(3, N, vec![Operand::Dense(whole(0, N))]), flat(3, m, vec![Operand::Dense(whole(1, m))])],
                results: vec![StatId(4), StatId(5)],
            },
            Step::Map { body: flat(0, N, pair(0, N)), to: target(2, N) },
            Step::Map { body: mask(0, N, 0), to: target(3, N) },
            Step::Map {
                body: mask(1, m, N),
                to: Target {
                    to: Sink::Output { output: 0, tensor: 4 },
                    view: View { offset: 0, dims: vec![(ROWS, 1), (COLS, ROWS)] },
                },
            },
            Step::Map { body: rows, to: target(5, m) },
        ],
        stats: 6,
        outputs: vec![output(
            vec![
                out_tensor("copy", DType::BF16, &[N]),
                out_tensor("turned", DType::BF16, &[COLS, ROWS]),
                out_tensor("average", DType::BF16, &[N]),
                out_tensor("mask.x", DType::F32, &[N]),
                out_tensor("mask.y", DType::F32, &[COLS, ROWS]),
                out_tensor("rows", DType::F32, &[ROWS, COLS]),
            ],
            shard,
        )],
        ..Plan::default()
    };
    (plan, vec![average as KernelFn, keys, masked, sums, row_keys, by_row])
}

struct Data {
    a: [Vec<u16>; 2],
    b: [Vec<u16>; 2],
}

fn inputs(temp: &Temp, coarse: bool) -> Data {
    let m = ROWS * COLS;
    let data = Data { a: [entries(1, N, coarse), entries(2, m, coarse)], b: [entries(3, N, coarse), entries(4, m, coarse)] };
    write(temp, "a", &[("x", &[N], &data.a[0]), ("y", &[ROWS, COLS], &data.a[1])]);
    write(temp, "b", &[("x", &[N], &data.b[0]), ("y", &[ROWS, COLS], &data.b[1])]);
    data
}

pub(super) fn options(temp: &Temp, threads: usize, memory: u64) -> Options {
    Options { threads: Some(threads), memory, base_dir: Some(temp.path().to_owned()), ..Options::default() }
}

pub(super) fn tensor(folder: &Path, name: &str) -> Vec<u8> {
    let opened = crate::checkpoint::Checkpoint::open(folder).unwrap();
    let entry = &opened.tensors[name];
    let mut bytes = vec![0; entry.bytes as usize];
    opened.read_at(entry.file, entry.offset, &mut bytes).unwrap();
    bytes
}

pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect()
}

#[test]
fn every_kind_of_step_gives_what_it_should() {
    for coarse in [false, true] {
        let temp = Temp::new(&format!("steps-{coarse}"));
        let data = inputs(&temp, coarse);
        let (plan, kernels) = plan(None);
        let summary = run(&plan, &kernels, &options(&temp, 3, 1 << 30), &Silent).unwrap();
        assert_eq!((summary.tensors, summary.non_finite.len()), (6, 0));
        let out = temp.path().join("out");
        let (rows, cols) = (ROWS as usize, COLS as usize);

        assert_eq!(words(&tensor(&out, "copy")), data.a[0]);
        let turned = words(&tensor(&out, "turned"));
        assert!((0..rows * cols).all(|i| turned[i] == data.a[1][i % rows * cols + i / rows]));
        let average = words(&tensor(&out, "average"));
        assert!(
            (0..N as usize)
                .all(|i| bf16(average[i]) == half::bf16::from_f32((bf16(data.a[0][i]) + bf16(data.b[0][i])) / 2.0).to_f32())
        );

        let all_a: Vec<f32> = data.a.iter().flatten().map(|x| bf16(*x)).collect();
        let all_b: Vec<f32> = data.b.iter().flatten().map(|x| bf16(*x)).collect();
        let keys: Vec<f32> = all_a.iter().zip(&all_b).map(|(a, b)| two_keys(*a, *b)[0]).collect();
        let (threshold, cut) = by_sorting(&keys, (keys.len() as f64 * 0.3 + 0.5) as u64);
        // The tree of additions is that of blocks: tensor by tensor.
        let blocks =
            |t: &[u16]| t.chunks(BLOCK as usize).map(|c| c.iter().map(|x| f64::from(bf16(*x))).sum()).collect::<Vec<f64>>();
        let sum = data.a.iter().flat_map(|t| blocks(t)).fold(0.0, |a, b| a + b) as f32;
        let want = |i: usize| {
            let chosen = keys[i] > threshold || keys[i] == threshold && i as i64 <= cut;
            f32::from(u8::from(chosen)) + sum
        };
        let mask_x = floats(&tensor(&out, "mask.x"));
        assert!((0..N as usize).all(|i| mask_x[i] == want(i)), "{coarse}");
        let mask_y = floats(&tensor(&out, "mask.y"));
        assert!((0..rows * cols).all(|i| mask_y[i % cols * rows + i / cols] == want(N as usize + i)), "{coarse}");

        let got = floats(&tensor(&out, "rows"));
        for r in 0..rows {
            let row: Vec<f32> = data.a[1][r * cols..][..cols].iter().map(|x| bf16(*x)).collect();
            let keys: Vec<f32> = row.iter().map(|x| x.abs()).collect();
            let (threshold, cut) = by_sorting(&keys, 100);
            let sum = row.iter().map(|x| f64::from(*x)).sum::<f64>() as f32;
            let c = bf16(data.a[1][2 + r * cols]);
            for j in 0..cols {
                let chosen = keys[j] > threshold || keys[j] == threshold && j as i64 <= cut;
                let kept = if chosen { row[j] * bf16(data.a[0][5 + 3 * j]) } else { 0.0 };
                assert_eq!(got[r * cols + j], kept + c - sum, "row {r}, column {j}");
            }
        }
    }
}

#[test]
fn threads_memory_and_shards_do_not_reach_the_bytes() {
    for coarse in [false, true] {
        let temp = Temp::new(&format!("same-{coarse}"));
        inputs(&temp, coarse);
        let mut first: Option<Vec<Vec<u8>>> = None;
        for (threads, memory, shard) in
            [(1, 1 << 30, None), (2, 4 << 20, None), (5, 64 << 20, Some(1_000_000)), (5, 6 << 20, Some(100_000))]
        {
            let (plan, kernels) = plan(shard);
            run(&plan, &kernels, &options(&temp, threads, memory), &Silent).unwrap();
            let out = temp.path().join("out");
            let all: Vec<Vec<u8>> = plan.outputs[0].tensors.iter().map(|t| tensor(&out, &t.name)).collect();
            assert!(*first.get_or_insert_with(|| all.clone()) == all, "{threads} {memory} {shard:?}");
            fs::remove_dir_all(out).unwrap();
        }
    }
}

#[test]
fn not_finite_inputs_are_counted() {
    let temp = Temp::new("finite");
    let mut data = inputs(&temp, false);
    for at in [0, 5000, 600_000] {
        data.b[0][at] = 0x7f80 + u16::try_from(at % 2).unwrap();
    }
    write(&temp, "b", &[("x", &[N], &data.b[0]), ("y", &[ROWS, COLS], &data.b[1])]);
    let (mut plan, kernels) = plan(None);
    plan.steps.truncate(5);
    plan.outputs[0].tensors.truncate(3);
    let summary = run(&plan, &kernels, &options(&temp, 2, 1 << 30), &Silent).unwrap();
    assert_eq!(summary.non_finite, [("b: x".to_owned(), 3)]);
    assert!(summary.text().contains("3 input entries are NaN or infinite"));
}

/// Raises the flag after some bytes.
struct StopAfter(Arc<AtomicBool>, AtomicU64);

impl Progress for StopAfter {
    fn start(&self, _total: u64) {}
    fn advance(&self, bytes: u64) {
        if self.1.fetch_add(bytes, Ordering::Relaxed) > 1_000_000 {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    fn finish(&self) {}
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    let temp = Temp::new("interrupted");
    inputs(&temp, false);
    let (plan, kernels) = plan(None);
    let stop = Arc::new(AtomicBool::new(false));
    let options = Options { stop: Some(stop.clone()), ..options(&temp, 2, 1 << 30) };
    let before = temp.listing();
    let error = run(&plan, &kernels, &options, &StopAfter(stop, AtomicU64::new(0))).unwrap_err();
    assert_eq!(error.kind, Kind::Interrupted);
    assert_eq!(temp.listing(), before);
}

#[test]
fn progress_reaches_its_total() {
    let temp = Temp::new("progress");
    inputs(&temp, false);
    let (plan, kernels) = plan(None);
    let count = Count::default();
    run(&plan, &kernels, &options(&temp, 2, 1 << 30), &count).unwrap();
    count.is_complete();
}

/// What was announced, and what was told.
#[derive(Default)]
pub(super) struct Count(AtomicU64, AtomicU64);

impl Progress for Count {
    fn start(&self, total: u64) {
        self.0.store(total, Ordering::Relaxed);
    }
    fn advance(&self, bytes: u64) {
        self.1.fetch_add(bytes, Ordering::Relaxed);
    }
    fn finish(&self) {}
}

impl Count {
    pub fn is_complete(&self) {
        assert!(self.0.load(Ordering::Relaxed) > 0);
        assert_eq!(self.0.load(Ordering::Relaxed), self.1.load(Ordering::Relaxed));
    }
}

#[test]
fn another_checkpoint_must_fit() {
    let temp = Temp::new("another");
    let data = inputs(&temp, false);
    write(&temp, "c", &[("x", &[N], &data.b[0])]);
    write(&temp, "d", &[("x", &[N], &data.b[0]), ("y", &[COLS, ROWS], &data.b[1]), ("z", &[0], &[])]);
    let (plan, kernels) = plan(None);
    let with = |name: &str, file: &str| {
        let models = vec![(name.to_owned(), temp.path().join(file))];
        run(&plan, &kernels, &Options { models, ..options(&temp, 1, 1 << 30) }, &Silent)
    };
    assert!(with("b", "a.safetensors").is_ok());
    assert!(with("b", "c.safetensors").unwrap_err().message.contains("`y` (BF16 [97, 1031]) is missing"));
    assert!(with("b", "d.safetensors").unwrap_err().message.contains("`y` is BF16 [1031, 97] and should be BF16 [97, 1031]"));
    let error = with("basse", "a.safetensors").unwrap_err();
    assert_eq!((error.kind, error.help.as_deref()), (Kind::Usage, Some("it has `a`, `b`")));
}

// The row's greatest entry less its sum, once a row.
kernel!(greatest_less_sum, args, {
    assert_eq!(args.cols, 1);
    let (greatest, sum) = (operand::<f32>(args, 0, args.rows), operand::<f32>(args, 1, args.rows));
    for (r, out) in store::<f32>(args, 0).iter_mut().enumerate() {
        *out = greatest[r] - sum[r];
    }
});

#[test]
fn a_target_with_an_entry_for_each_row_gets_one() {
    let temp = Temp::new("once");
    let data = inputs(&temp, false);
    let row = (DType::F32, Access::PerRow);
    let (mut plan, _) = plan(None);
    plan.kernels = vec![info(&[row, row], &[DType::F32], &[], 0, 0), info(&[DENSE], &[], &[ReduceFn::Sum, ReduceFn::Max], 0, 0)];
    let phase = RowPhase { kernel: 1, operands: vec![2], params: vec![], keys: vec![], kind: RowPhaseKind::Reduce };
    let value = |value| Operand::RowValue { phase: 0, value };
    let body = Loop {
        rows: ROWS,
        cols: COLS,
        by_rows: true,
        operands: vec![value(1), value(0), Operand::Dense(whole(1, ROWS * COLS))],
        phases: vec![phase],
        ..flat(0, 0, vec![])
    };
    (plan.stats, plan.scalars) = (0, vec![]);
    plan.steps = vec![Step::Map { body, to: target(0, ROWS) }];
    plan.outputs = vec![output(vec![out_tensor("rows", DType::F32, &[ROWS])], None)];
    let kernels = [greatest_less_sum as KernelFn, sums];
    for (threads, memory) in [(1, 1 << 30), (3, 4 << 20)] {
        run(&plan, &kernels, &options(&temp, threads, memory), &Silent).unwrap();
        let got = floats(&tensor(&temp.path().join("out"), "rows"));
        for (row, got) in data.a[1].chunks(COLS as usize).zip(got) {
            let sum: f64 = row.iter().map(|x| f64::from(bf16(*x))).sum();
            let greatest = row.iter().map(|x| bf16(*x)).fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(got, greatest - sum as f32);
        }
    }
    plan.kernels[0].keys = 1;
    assert_eq!(run(&plan, &kernels, &options(&temp, 1, 1 << 30), &Silent).unwrap_err().kind, Kind::Internal);
}

#[test]
fn a_row_that_does_not_fit_says_so() {
    let temp = Temp::new("row");
    let n = 3_000_000;
    let big = entries(1, n, false);
    write(&temp, "a", &[("x", &[1, n], &big)]);
    let kernels =
        vec![info(&[DENSE, (DType::F32, Access::PerRow)], &[DType::F32], &[], 0, 0), info(&[DENSE], &[], &[ReduceFn::Sum], 0, 0)];
    let phase = RowPhase { kernel: 1, operands: vec![0], params: vec![], keys: vec![], kind: RowPhaseKind::Reduce };
    let body = Loop {
        by_rows: true,
        operands: vec![Operand::Dense(whole(0, n)), Operand::RowValue { phase: 0, value: 0 }],
        phases: vec![phase],
        ..flat(0, n, vec![])
    };
    let plan = Plan {
        checkpoints: vec![Checkpoint { name: "a".into(), path: "a.safetensors".into(), config: None }],
        sources: vec![source(0, "x", &[1, n])],
        kernels,
        steps: vec![Step::Map { body, to: target(0, n) }],
        outputs: vec![output(vec![out_tensor("x", DType::F32, &[1, n])], None)],
        ..Plan::default()
    };
    let error = run(&plan, &[row_keys, sums], &options(&temp, 1, 8 << 20), &Silent).unwrap_err();
    assert_eq!(error.kind, Kind::World);
    assert!(error.message.contains("tensor `x`") && error.help.unwrap().contains("--memory"));
    // Where it fits, as many threads as have room for it work.
    for (memory, threads) in [(20 << 20, 1), (40 << 20, 2), (1 << 30, 8)] {
        let estimate = estimate(&plan, memory, Some(8)).unwrap();
        assert!(estimate.threads == threads && estimate.peak_memory <= memory, "{estimate:?}");
    }
}

#[test]
fn a_plan_that_does_not_fit_its_kernels_is_refused() {
    let temp = Temp::new("unfit");
    inputs(&temp, false);
    let (good, kernels) = plan(None);
    let refused = |change: &dyn Fn(&mut Plan)| {
        let mut plan = good.clone();
        change(&mut plan);
        run(&plan, &kernels, &options(&temp, 1, 1 << 30), &Silent).unwrap_err().kind == Kind::Internal
    };
    assert!(refused(&|p| p.kernels[0].operands.truncate(1)) || refused(&|p| p.kernels[0].operands.push(DENSE)));
    assert!(refused(&|p| p.kernels[2].params = 3));
    assert!(refused(&|p| p.kernels[1].stores[1] = DType::BF16));
    assert!(refused(&|p| if let Step::Copy { from, .. } = &mut p.steps[0] {
        from.view.offset = 1
    }));
    assert!(refused(&|p| p.steps.swap_remove(3).clone_into(&mut p.steps[2])));
}

#[test]
fn the_estimate_stays_within_the_memory() {
    let (plan, _) = plan(None);
    for memory in [4 << 20, 16 << 20, 1 << 30] {
        for threads in [1, 2, 16, 200] {
            let estimate = estimate(&plan, memory, Some(threads)).unwrap();
            assert!(estimate.peak_memory <= memory && estimate.threads >= 1, "{memory} {threads} {estimate:?}");
        }
    }
    let all = estimate(&plan, 1 << 30, Some(2)).unwrap();
    assert_eq!(all.bytes_written, plan.outputs[0].tensors.iter().map(OutTensor::bytes).sum::<u64>());
    assert_eq!(all.steps[0].bytes_read, 2 * N);
    assert_eq!(estimate(&plan, 1000, None).unwrap_err().kind, Kind::Usage);
}
