//! Routines on whole tensors: their operands and results live in temporaries, which loops read like any tensor.

mod common;

use common::{Build, check};
use merge_abi::{BinaryFn, DType, Operand, Origin, Plan, ReduceFn, Routine, Sink, Step, UnaryFn};
use merge_ir::tir::Over;

const ORDER: Routine = Routine::SortIndex { largest_first: false };

/// A letter for each step; those that fill temporaries in capitals.
fn steps(plan: &Plan) -> String {
    let letter = |s: &Step| match s {
        Step::Copy { to, .. } if matches!(to.to, Sink::Temp(_)) => 'C',
        Step::Copy { .. } => 'c',
        Step::Map { to, .. } if matches!(to.to, Sink::Temp(_)) => 'M',
        Step::Map { .. } => 'm',
        Step::Reduce { .. } => 'r',
        Step::Select { .. } => 's',
        Step::Call { .. } => 'k',
    };
    plan.steps.iter().map(letter).collect()
}

#[test]
fn a_product_of_formulas_is_a_call_and_its_result_an_operand() {
    let mut b = Build::default();
    let (x, y, z) = (b.load(0, "x", &[4, 6]), b.load(1, "y", &[4, 6]), b.load(2, "z", &[4, 4]));
    let turned = b.transpose(y);
    let sum = b.bin(BinaryFn::Add, x, y);
    let product = b.call(Routine::MatMul, 0, &[sum, turned]);
    let out = b.bin(BinaryFn::Add, z, product);
    b.save("w", out);
    let compiled = check(&b.graph);
    assert_eq!(steps(&compiled.plan), "MCkm");
    assert_eq!(compiled.plan.temps.len(), 3);
}

#[test]
fn results_may_be_seen_through_views_and_chained() {
    let mut b = Build::default();
    let (x, y) = (b.load(0, "x", &[4, 6]), b.load(1, "y", &[6, 5]));
    let product = b.call(Routine::MatMul, 0, &[x, y]);
    let sorted = b.call(Routine::Sort { largest_first: true }, 0, &[product]);
    let turned = b.transpose(sorted);
    let part = b.slice(turned, &[1, 1], &[3, 2]);
    let joined = b.concat(0, &[part, part]);
    let flat = b.reshape(joined, &[12]);
    let last = b.load(2, "v", &[12]);
    let out = b.bin(BinaryFn::Sub, flat, last);
    b.save("w", out);
    b.save("raw", sorted);
    let compiled = check(&b.graph);
    assert_eq!(steps(&compiled.plan), "CCkkmmc");
}

#[test]
fn results_of_one_call_are_one_step_and_those_nobody_wants_are_none() {
    let mut b = Build::default();
    let x = b.load(0, "x", &[6, 2]);
    let rank = |b: &mut Build, result| b.call(Routine::Svd { rank: 2 }, result, &[x]);
    let (u, s) = (rank(&mut b, 0), rank(&mut b, 1));
    b.save("s", s);
    b.save("u", u);
    let compiled = common::compile(&b.graph);
    assert_eq!(steps(&compiled.plan), "Ckcc");
    let Step::Call { results, .. } = &compiled.plan.steps[1] else { panic!() };
    assert!(matches!(results[..], [Some(_), Some(_), None]), "{results:?}");
}

#[test]
fn statistics_of_results_and_results_of_statistics_wait_for_each_other() {
    let mut b = Build::default();
    let (x, y) = (b.load(0, "x", &[4, 6]), b.load(1, "y", &[6, 4]));
    let norm = b.dot(Over::All, x, x);
    let scaled = b.bin(BinaryFn::Div, x, norm);
    let product = b.call(Routine::MatMul, 0, &[scaled, y]);
    let total = b.reduce(ReduceFn::Sum, Over::All, product);
    let k = b.num(3.0);
    let top = b.top(Over::All, product, k);
    let kept = b.bin(BinaryFn::Mul, top, product);
    let again = b.bin(BinaryFn::Mul, kept, total);
    let square = b.call(Routine::MatMul, 0, &[again, product]);
    b.save("w", square);
    let compiled = check(&b.graph);
    assert_eq!(steps(&compiled.plan), "rMCkrsMkc");
}

#[test]
fn scalars_go_in_and_come_out() {
    let mut b = Build::default();
    let x = b.load(0, "x", &[9]);
    let best = b.call(Routine::ArgMax, 0, &[x]);
    let best = b.reshape(best, &[]);
    // One place for each of no rows: the entry at the place, which has no axes either.
    let two = b.setting("two", 2.0);
    let place = b.bin(BinaryFn::Min, best, two);
    let entry = b.call(Routine::TakeAlong, 0, &[x, place]);
    let sum = b.bin(BinaryFn::Add, best, entry);
    let out = b.bin(BinaryFn::Mul, x, sum);
    b.save("w", out);
    b.save("best", best);
    check(&b.graph);
}

#[test]
fn a_permutation_serves_several_tensors_and_is_found_once() {
    let mut b = Build::default();
    let x = b.load(0, "x", &[5]);
    let order = b.call(ORDER, 0, &[x]);
    for name in ["a", "b", "c"] {
        let w = b.load(1, name, &[5, 3]);
        let taken = b.call(Routine::Take { axis: 0 }, 0, &[w, order]);
        let out = b.un(UnaryFn::Neg, taken);
        b.save(name, out);
    }
    let compiled = check(&b.graph);
    assert_eq!(steps(&compiled.plan), "CCkkmCkmCkm");
    let calls = compiled.plan.steps.iter().filter(|s| matches!(s, Step::Call { routine: Routine::SortIndex { .. }, .. })).count();
    assert_eq!(calls, 1);
}

#[test]
fn a_source_that_a_routine_wants_is_still_copied_as_it_is() {
    let mut b = Build::default();
    let (x, ids) = (b.load(0, "x", &[9, 2]), b.load_as(0, "ids", &[4], DType::I64));
    let taken = b.call(Routine::Take { axis: 0 }, 0, &[x, ids]);
    let sum = b.bin(BinaryFn::Add, x, x);
    b.save("ids", ids);
    b.save("taken", taken);
    b.save("sum", sum);
    b.graph.outputs[0].tensors[0].dtype = DType::I64;
    let compiled = common::compile(&b.graph);
    assert_eq!(steps(&compiled.plan), "cCMkcm");
    let from_file = |s: &Step| match s {
        Step::Copy { from, .. } => matches!(from.from, Origin::Source(_)),
        Step::Map { body, .. } => {
            body.operands.iter().all(|o| matches!(o, Operand::Dense(r) if matches!(r.from, Origin::Source(_))))
        }
        _ => false,
    };
    let kinds: Vec<bool> = compiled.plan.steps.iter().map(from_file).collect();
    assert_eq!(kinds, [true, true, true, false, false, true]);
}

#[test]
fn temporaries_die_before_the_next_branch_fills_its_own() {
    // The sum of two chains: the first chain is down to its end before the second begins.
    let mut b = Build::default();
    let chain = |b: &mut Build, c: u32| {
        let (x, y) = (b.load(c, "x", &[4, 8]), b.load(c, "y", &[8, 4]));
        let product = b.call(Routine::MatMul, 0, &[x, y]);
        let sorted = b.call(Routine::Sort { largest_first: true }, 0, &[product]);
        b.call(Routine::CumSum, 0, &[sorted])
    };
    let (one, two) = (chain(&mut b, 0), chain(&mut b, 1));
    let sum = b.bin(BinaryFn::Add, one, two);
    b.save("w", sum);
    let compiled = check(&b.graph);
    assert_eq!(steps(&compiled.plan), "CCkkkCCkkkm");
    let Some(Step::Map { body, .. }) = compiled.plan.steps.last() else { panic!() };
    let temps = body.operands.iter().filter(|o| matches!(o, merge_abi::Operand::Dense(r) if matches!(r.from, Origin::Temp(_))));
    assert_eq!(temps.count(), 2);
}

#[test]
fn a_statistic_over_the_results_of_all_layers_reads_each_once() {
    let mut b = Build::default();
    let products: Vec<_> = (0..3)
        .map(|c| {
            let (x, y) = (b.load(c, "x", &[4, 4]), b.load(c, "y", &[4, 4]));
            b.call(Routine::MatMul, 0, &[x, y])
        })
        .collect();
    let all = b.flat(&products);
    let norm = b.dot(Over::All, all, all);
    for (c, product) in products.iter().enumerate() {
        let out = b.bin(BinaryFn::Div, *product, norm);
        b.save(&format!("w{c}"), out);
    }
    let compiled = check(&b.graph);
    assert_eq!(steps(&compiled.plan), "CCkCCkCCkrmmm");
}

#[test]
fn a_turn_stands_idle_where_nobody_looks_at_it() {
    let mut b = Build::default();
    let (x, y) = (b.load(0, "x", &[4, 4]), b.load(1, "y", &[4, 4]));
    let first = b.call(Routine::MatMul, 0, &[x, y]);
    let size = b.reduce(ReduceFn::Sum, Over::All, first);
    let one = b.num(1.0);
    let stop = b.bin(BinaryFn::Le, size, one);
    let second = b.call(Routine::MatMul, 0, &[first, y]);
    let third = b.call(Routine::MatMul, 0, &[second, y]);
    let shown = b.select(stop, first, third);
    b.save("w", shown);
    let compiled = check(&b.graph);
    let idle: Vec<bool> = compiled.plan.unless.iter().map(Option::is_some).collect();
    let calls: Vec<bool> = compiled.plan.steps.iter().map(|s| matches!(s, Step::Call { .. })).collect();
    // The first product decides, and the map of the output always runs.
    assert_eq!(idle.iter().zip(&calls).filter(|(i, c)| **i && **c).count(), 2, "{:?}", compiled.plan.steps);
    assert!(!idle[calls.iter().position(|c| *c).unwrap()] && idle.last() == Some(&false));
}

#[test]
fn ranks_of_rows_are_found_where_the_rows_pass_by() {
    let mut b = Build::default();
    let shape = [4096, 2048];
    let (x, y) = (b.load(0, "x", &shape), b.load(1, "y", &shape));
    let change = b.bin(BinaryFn::Sub, x, y);
    let rank = b.rank(Over::Rows, change);
    let out = b.bin(BinaryFn::Mul, rank, x);
    b.save("w", out);
    assert_eq!(steps(&common::compile(&b.graph).plan), "mm");
}

#[test]
fn ranks_that_leave_their_rows_are_kept_a_few_rows_at_a_time() {
    let mut b = Build::default();
    let (x, y) = (b.load(0, "x", &[4096, 2048]), b.load(1, "y", &[2048, 4096]));
    let rank = b.rank(Over::Rows, x);
    let turned = b.transpose(rank);
    let out = b.bin(BinaryFn::Mul, turned, y);
    b.save("w", out);
    let compiled = common::compile(&b.graph);
    assert_eq!(steps(&compiled.plan), "MmMm");
    assert!(compiled.plan.temps.iter().all(|t| t.shape[..] == [2048, 2048]));
}

#[test]
fn ranks_of_a_row_too_long_for_a_tile_are_a_call() {
    let mut b = Build::default();
    let x = b.load(0, "x", &[2, 40_000]);
    let rank = b.rank(Over::Rows, x);
    let out = b.bin(BinaryFn::Mul, rank, x);
    b.save("w", out);
    assert_eq!(steps(&common::compile(&b.graph).plan), "Ckm");
}

#[test]
fn a_row_that_many_rows_share_is_ranked_once() {
    let mut b = Build::default();
    let (x, v) = (b.load(0, "x", &[300, 50]), b.load(1, "v", &[1, 50]));
    let rank = b.rank(Over::All, v);
    let out = b.bin(BinaryFn::Mul, rank, x);
    b.save("w", out);
    assert_eq!(steps(&check(&b.graph).plan), "Mm");
}
