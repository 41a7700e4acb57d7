//! Plans with temporaries and calls.

use super::{
    temps::{Memory, Temps},
    tests::{Count, flat, floats, info, options, out_tensor, output, target, tensor},
    *,
};
use crate::{Kind, progress::Silent, testing::Temp as Folder};
use merge_abi::*;
use std::fs;

/// Chains of the plan; every third matrix is empty, a row or a column.
const CHAINS: usize = 40;

fn shape(chain: usize) -> [u64; 2] {
    match chain % 7 {
        3 => [1, 513],
        4 => [257, 1],
        5 => [0, 5],
        6 => [1, 1],
        _ => [61 + chain as u64, 83 - chain as u64],
    }
}

fn entries(chain: usize) -> Vec<f32> {
    let [m, n] = shape(chain);
    (0..m * n).map(|i| ((i * 7919 + chain as u64 * 31) % 1009) as f32 / 64.0 - 7.0).collect()
}

// Twice its operand.
unsafe extern "C" fn twice(args: *const KernelArgs) {
    // SAFETY: the runtime calls kernels with valid arguments.
    unsafe {
        let args = &*args;
        let a = super::tests::operand::<f32>(args, 0, args.rows * args.cols);
        super::tests::store::<f32>(args, 0).iter_mut().zip(a).for_each(|(out, a)| *out = 2.0 * a);
    }
}

fn sources(folder: &Folder) -> Vec<Source> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::<u8>::new());
    let mut sources = Vec::new();
    for chain in 0..CHAINS {
        let begin = data.len();
        data.extend(entries(chain).iter().flat_map(|x| x.to_le_bytes()));
        let name = format!("t{chain}");
        let (shape, offsets) = (shape(chain), [begin, data.len()]);
        header.insert(name.clone(), serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": offsets }));
        sources.push(Source { checkpoint: 0, name, dtype: DType::F32, shape: shape.to_vec() });
    }
    folder.file("a.safetensors", crate::testing::raw(&serde_json::Value::from(header).to_string(), &data));
    sources
}

fn read(from: Origin, view: View) -> Operand {
    Operand::Dense(Read { from, view })
}

/// For each matrix: `x` doubled into a temporary in two parts (its first row, the rest), `x^T` copied into another, their
/// product by a call, the product transposed and doubled into the output, and as it is into another.
fn plan(folder: &Folder) -> Plan {
    let mut plan = Plan {
        checkpoints: vec![Checkpoint { name: "a".into(), path: "a.safetensors".into(), config: None }],
        sources: sources(folder),
        kernels: vec![info(&[(DType::F32, Access::Dense)], &[DType::F32], &[], 0, 0)],
        ..Plan::default()
    };
    let mut tensors = Vec::new();
    for chain in 0..CHAINS {
        let [m, n] = shape(chain);
        let (source, t) = (Origin::Source(chain as u32), plan.temps.len() as u32);
        plan.temps.extend([vec![m, n], vec![n, m], vec![m, m]].map(|shape| Temp { shape }));
        let to = |t: u32, view: View| Target { to: Sink::Temp(t), view };
        let first = m.min(1) * n;
        for (offset, len) in [(0, first), (first, m * n - first)] {
            let view = View { offset, dims: vec![(len, 1)] };
            plan.steps.push(Step::Map { body: flat(0, len, vec![read(source, view.clone())]), to: to(t, view) });
        }
        let turned = View { offset: 0, dims: vec![(n, 1), (m, n)] };
        plan.steps.push(Step::Copy { from: Read { from: source, view: turned }, to: to(t + 1, View::whole(m * n)) });
        plan.steps.push(Step::Call {
            routine: Routine::MatMul,
            inputs: vec![t, t + 1],
            results: vec![Some(t + 2)],
            place: "t.merge:1:1".into(),
        });
        let turned = View { offset: 0, dims: vec![(m, 1), (m, m)] };
        let product = Origin::Temp(t + 2);
        plan.steps.push(Step::Map { body: flat(0, m * m, vec![read(product, turned)]), to: target(2 * chain as u32, m * m) });
        plan.steps
            .push(Step::Copy { from: Read { from: product, view: View::whole(m * m) }, to: target(2 * chain as u32 + 1, m * m) });
        tensors.push(out_tensor(&format!("turned{chain}"), DType::F32, &[m, m]));
        tensors.push(out_tensor(&format!("plain{chain}"), DType::F32, &[m, m]));
    }
    plan.outputs = vec![output(tensors, None)];
    plan
}

/// The same with a second call that reads each product, so that it must be held.
fn held(mut plan: Plan) -> Plan {
    for chain in (0..CHAINS).rev() {
        let place = "t.merge:1:2".to_owned();
        let call = Step::Call { routine: Routine::CumSum, inputs: vec![3 * chain as u32 + 2], results: vec![None], place };
        plan.steps.insert(6 * chain + 4, call);
    }
    plan
}

#[test]
fn products_of_short_inner_length_are_not_held() {
    let folder = Folder::new("factors");
    let plan = plan(&folder);
    let temps = Temps::new(&plan, 0);
    for chain in 0..CHAINS {
        // Read twice, so 128 is the longest.
        let short = shape(chain)[1] <= 128;
        assert_eq!(temps.skips(6 * chain + 3), short, "{chain}");
        assert_eq!(temps.factors(3 * chain as u32 + 2).is_some(), short);
    }
    let held = held(plan);
    let temps = Temps::new(&held, 0);
    assert!((0..held.steps.len()).all(|step| !temps.skips(step)));
}

#[test]
fn chains_of_maps_and_calls_give_the_same_bytes_whatever_runs_them() {
    let folder = Folder::new("temps");
    let plan = plan(&folder);
    let out = folder.path().join("out");
    let mut first: Option<Vec<Vec<u8>>> = None;
    for (threads, memory) in [(1, 1 << 30), (2, 4 << 20), (7, 64 << 20), (7, 4 << 20)] {
        for plan in [&plan, &held(plan.clone())] {
            let count = Count::default();
            run(plan, &[twice as KernelFn], &options(&folder, threads, memory), &count).unwrap();
            count.is_complete();
            let all: Vec<Vec<u8>> = plan.outputs[0].tensors.iter().map(|t| tensor(&out, &t.name)).collect();
            assert!(*first.get_or_insert_with(|| all.clone()) == all, "{threads} {memory}");
            fs::remove_dir_all(&out).unwrap();
        }
    }
    let all: Vec<Vec<f32>> = first.unwrap().iter().map(|bytes| floats(bytes)).collect();
    for chain in 0..CHAINS {
        let [m, n] = shape(chain).map(|x| x as usize);
        let x = entries(chain);
        for (i, j) in (0..m).flat_map(|i| (0..m).map(move |j| (i, j))) {
            let want: f64 = (0..n).map(|k| 2.0 * f64::from(x[i * n + k]) * f64::from(x[j * n + k])).sum();
            let (plain, turned) = (all[2 * chain + 1][i * m + j], all[2 * chain][j * m + i]);
            assert!((f64::from(plain) - want).abs() <= 1e-5 * want.abs() + 1e-2, "{chain} {i} {j}: {plain} {want}");
            assert_eq!(turned, 2.0 * plain);
        }
    }
}

#[test]
fn temporaries_live_from_their_first_writer_to_their_last_reader() {
    let folder = Folder::new("lives");
    let plan = held(plan(&folder));
    let [m, n] = shape(0);
    let bytes = |entries: u64| 4 * entries;
    let mut temps = Temps::new(&plan, bytes(2 * m * n));
    assert!(temps.ready(0) && !temps.ready(3) && temps.may_look_ahead(0));
    temps.filling(0).unwrap();
    assert!(!temps.end(0, vec![]), "a part of it is not all of it");
    assert!(!temps.ready(3) && temps.filled(0).is_none());
    assert!(temps.may_look_ahead(1) && temps.may_look_ahead(2), "the first is there, and the second fits");
    temps.filling(0).unwrap();
    assert!(temps.end(1, vec![]));
    temps.filling(1).unwrap();
    assert!(temps.end(2, vec![]) && temps.ready(3) && !temps.ready(4));
    assert!(!temps.may_look_ahead(3) && !temps.may_look_ahead(7), "the limit is reached");
    temps.begin_call(3);
    assert!(temps.end(3, vec![(2, vec![0.0; (m * m) as usize])]));
    assert!(temps.filled(0).is_none() && temps.filled(1).is_none(), "their last reader is done");
    assert!(temps.ready(4) && temps.ready(5) && temps.ready(6));
    assert!(!temps.end(6, vec![]) && !temps.end(4, vec![]) && temps.filled(2).is_some());
    assert!(!temps.end(5, vec![]) && temps.filled(2).is_none());
    assert!(temps.may_look_ahead(7));
}

#[test]
fn memory_is_zero_until_written_and_keeps_what_is() {
    let mut plan = Plan { temps: vec![Temp { shape: vec![3, 5] }], ..Plan::default() };
    plan.steps.push(Step::Copy {
        from: Read { from: Origin::Source(0), view: View::whole(15) },
        to: Target { to: Sink::Temp(0), view: View::whole(15) },
    });
    let mut temps = Temps::new(&plan, 0);
    let memory: Arc<Memory> = temps.filling(0).unwrap();
    let bytes: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    // SAFETY: nobody else has it.
    unsafe { memory.write(13, &bytes) };
    assert_eq!(memory.entries()[..14], [[0.0; 13].as_slice(), &[1.5]].concat());
    assert_eq!(memory.bytes()[56..], bytes[4..]);
}

#[test]
fn a_plan_whose_temporaries_are_wrong_is_refused() {
    let folder = Folder::new("wrong-temps");
    let good = plan(&folder);
    let refused = |change: &dyn Fn(&mut Plan)| {
        let mut plan = good.clone();
        change(&mut plan);
        let error = run(&plan, &[twice as KernelFn], &options(&folder, 1, 1 << 30), &Silent).unwrap_err();
        assert_eq!(error.kind, Kind::Internal, "{error}");
        error.message
    };
    assert!(refused(&|p| p.steps.swap(2, 3)).contains("before it is complete"));
    assert!(refused(&|p| drop(p.steps.remove(0))).contains("before it is complete"));
    assert!(refused(&|p| p.steps.insert(0, p.steps[0].clone())).contains("more of temporary 0"));
    assert!(refused(&|p| p.temps.push(Temp { shape: vec![2] })).contains("never complete"));
    assert!(refused(&|p| p.temps[2].shape.push(1)).contains("gives"));
    assert!(refused(&|p| p.temps[1].shape.reverse()).contains("matmul"));
    assert!(
        refused(&|p| if let Step::Call { results, .. } = &mut p.steps[3] {
            results.push(None);
        })
        .contains("results")
    );
    assert!(
        refused(&|p| if let Step::Copy { to, .. } = &mut p.steps[2] {
            to.view = View { offset: 0, dims: vec![(to.view.len(), 0)] };
        })
        .contains("twice")
    );
}

#[test]
fn a_fault_of_a_routine_names_its_place_and_leaves_nothing() {
    let folder = Folder::new("fault");
    let mut plan = plan(&folder);
    // Its entries are no places.
    let (m, n) = (plan.temps[0].shape[0], plan.temps[0].shape[1]);
    plan.temps[1].shape = vec![m * n];
    plan.temps[2].shape = vec![m * n, n];
    plan.steps[3] = Step::Call {
        routine: Routine::Take { axis: 0 },
        inputs: vec![0, 1],
        results: vec![Some(2)],
        place: "t.merge:7:3".into(),
    };
    plan.steps.truncate(4);
    plan.temps.truncate(3);
    plan.outputs[0].tensors.clear();
    let error = run(&plan, &[twice as KernelFn], &options(&folder, 3, 1 << 30), &Silent).unwrap_err();
    assert_eq!(error.kind, Kind::Recipe);
    assert!(error.message.starts_with("t.merge:7:3: `take` is given the place"), "{error}");
    assert!(error.message.ends_with("(for tensor `t0` of a)"), "{error}");
    assert!(error.help.is_some() && !folder.path().join("out").exists());
}

#[test]
fn decompositions_of_low_rank_tell_what_they_leave_out() {
    let folder = Folder::new("residual");
    let mut plan = plan(&folder);
    plan.steps.truncate(0);
    plan.temps.clear();
    plan.outputs[0].tensors.truncate(0);
    for (chain, rank) in [(0u32, 2), (1, 3), (3, 1)] {
        let [m, n] = shape(chain as usize);
        let t = plan.temps.len() as u32;
        plan.temps.extend([vec![m, n], vec![rank]].map(|shape| Temp { shape }));
        plan.steps.push(Step::Copy {
            from: Read { from: Origin::Source(chain), view: View::whole(m * n) },
            to: Target { to: Sink::Temp(t), view: View::whole(m * n) },
        });
        plan.steps.push(Step::Call {
            routine: Routine::Svd { rank },
            inputs: vec![t],
            results: vec![None, Some(t + 1), None],
            place: "t.merge:3:14".into(),
        });
        plan.steps.push(Step::Copy {
            from: Read { from: Origin::Temp(t + 1), view: View::whole(rank) },
            to: target(plan.outputs[0].tensors.len() as u32, rank),
        });
        plan.outputs[0].tensors.push(out_tensor(&format!("s{chain}"), DType::F32, &[rank]));
    }
    let summary = run(&plan, &[twice as KernelFn], &options(&folder, 2, 1 << 30), &Silent).unwrap();
    // The row has full rank, and so nothing to tell.
    assert_eq!(summary.notes.len(), 1);
    let note = &summary.notes[0];
    assert!(note.starts_with("t.merge:3:14 keeps 2 to 3 of 61 to 62 directions of 2 matrices; largest residual "), "{note}");
    assert!(summary.text().contains(note));
    let s = floats(&tensor(&folder.path().join("out"), "s3"));
    let norm = entries(3).iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    assert!((f64::from(s[0]) - norm).abs() < 1e-6 * norm);
}

#[test]
fn idle_threads_are_told_what_memory_they_want() {
    let seconds = Duration::from_secs;
    let matrix = || Temp { shape: vec![10_000, 10_000] };
    let copy = |from: Origin, to: Sink| Step::Copy {
        from: Read { from, view: View::whole(100_000_000) },
        to: Target { to, view: View::whole(100_000_000) },
    };
    let plan = Plan {
        temps: vec![matrix()],
        steps: vec![copy(Origin::Source(0), Sink::Temp(0)), copy(Origin::Temp(0), Sink::Output { output: 0, tensor: 0 })],
        ..Plan::default()
    };
    let shares = Shares::new(&plan, 1 << 30, Some(6)).unwrap();
    let note = more_memory(&plan, &shares, seconds(150), seconds(100)).unwrap();
    assert!(note.contains("idle 25 %") && note.contains("--memory 3GB"), "{note}");
    assert_eq!(more_memory(&plan, &shares, seconds(30), seconds(100)), None);
    assert_eq!(more_memory(&plan, &shares, seconds(1), seconds(1)), None);
}

#[test]
fn the_estimate_tells_what_temporaries_take() {
    let folder = Folder::new("temps-estimate");
    let plan = held(plan(&folder));
    let one = |threads| estimate(&plan, 1 << 30, Some(threads)).unwrap().temporaries;
    let of = |c: usize| 4 * (2 * shape(c)[0] * shape(c)[1] + shape(c)[0] * shape(c)[0]);
    let largest = (0..CHAINS).map(of).max().unwrap();
    assert_eq!(one(1), largest);
    assert_eq!(one(3), 3 * largest);
    let tight = estimate(&plan, 4 << 20, Some(64)).unwrap();
    assert!(tight.temporaries <= (4 << 20) + largest && tight.peak_memory <= 4 << 20);
}
