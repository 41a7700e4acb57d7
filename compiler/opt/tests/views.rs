//! Slices, reshapes, transposes, broadcasts and concatenations: pushed to loads and targets, or, where that cannot be,
//! looked at in a temporary.

mod common;

use common::{Build, check};
use merge_abi::{BinaryFn, DType, Operand, Recipe, ReduceFn, Routine, Step, UnaryFn};
use merge_ir::tir::{Graph, NodeId, Op, Over};

/// The message of the only finding.
fn refused(graph: &Graph) -> String {
    let compiled = merge_opt::compile(graph, Recipe::default());
    assert_eq!(compiled.diagnostics.len(), 1, "{:?}", compiled.diagnostics);
    let d = &compiled.diagnostics[0];
    assert_eq!(d.code.0, "E5001");
    assert!(!d.helps.is_empty() && compiled.plan.steps.is_empty());
    d.message.clone()
}

#[test]
fn a_tensor_that_is_only_moved_is_copied() {
    let mut b = Build::default();
    let x = b.load(0, "w", &[6, 8]);
    let slice = b.slice(x, &[2, 0], &[3, 8]);
    let turned = b.transpose(x);
    let ids = b.load_as(0, "ids", &[5], DType::I64);
    b.save("w", x);
    b.save("slice", slice);
    b.save("turned", turned);
    b.save("ids", ids);
    b.graph.outputs[0].tensors[3].dtype = DType::I64;
    let compiled = common::compile(&b.graph);
    assert!(compiled.plan.steps.iter().all(|s| matches!(s, Step::Copy { .. })), "{:?}", compiled.plan.steps);
    assert!(compiled.kernels.is_empty());
    let Step::Copy { from, .. } = &compiled.plan.steps[2] else { panic!() };
    assert_eq!(from.view.dims, [(8, 1), (6, 8)]);
}

#[test]
fn integers_are_copied_where_they_can_be_and_computed_where_they_must() {
    let mut b = Build::default();
    let ids = b.load_as(0, "ids", &[6], DType::I64);
    let less = b.un(UnaryFn::Neg, ids);
    b.save("ids", ids);
    b.save("less", less);
    b.graph.outputs[0].tensors.iter_mut().for_each(|t| t.dtype = DType::I64);
    let compiled = common::compile(&b.graph);
    assert!(matches!(compiled.plan.steps[..], [Step::Copy { .. }, Step::Map { .. }]));
    assert_eq!(compiled.plan.kernels[0].stores, [DType::I64]);
}

#[test]
fn a_longer_vocabulary_is_two_pieces() {
    // concat([mean([base, math[0..9, ..]]), math[9.., ..]], axis: 0)
    let mut b = Build::default();
    let base = b.load(0, "embed", &[9, 8]);
    let math = b.load(1, "embed", &[12, 8]);
    let common = b.slice(math, &[0, 0], &[9, 8]);
    let sum = b.sum(&[base, common]);
    let two = b.num(2.0);
    let mean = b.bin(BinaryFn::Div, sum, two);
    let rest = b.slice(math, &[9, 0], &[3, 8]);
    let union = b.concat(0, &[mean, rest]);
    b.save("embed", union);
    let compiled = check(&b.graph);
    assert!(matches!(compiled.plan.steps[..], [Step::Map { .. }, Step::Copy { .. }]));
}

#[test]
fn formulas_over_joined_tensors_are_cut_where_they_join() {
    for axis in [0, 1] {
        let mut b = Build::default();
        let (n, m) = if axis == 0 { ([4, 6], [5, 6]) } else { ([6, 4], [6, 5]) };
        let parts: Vec<NodeId> = [(0, n), (1, m)].iter().map(|(c, s)| b.load(*c, "w", s)).collect();
        let others: Vec<NodeId> = [(2, m), (3, n)].iter().map(|(c, s)| b.load(*c, "w", s)).collect();
        let (x, y) = (b.concat(axis, &parts), b.concat(axis, &others));
        let sum = b.bin(BinaryFn::Add, x, y);
        let total = b.dot(Over::All, x, y);
        let out = b.bin(BinaryFn::Mul, sum, total);
        b.save("w", out);
        let compiled = check(&b.graph);
        let Step::Reduce { parts, .. } = &compiled.plan.steps[0] else { panic!() };
        assert_eq!(parts.len(), 3, "axis {axis}");
    }
}

#[test]
fn the_largest_of_tensors_joined_inside_are_selected_from_memory() {
    for axis in [0, 1] {
        let mut b = Build::default();
        let parts: Vec<NodeId> = (0..2).map(|c| b.load(c, "w", &[6, 6])).collect();
        let (x, k) = (b.concat(axis, &parts), b.num(10.0));
        let mask = b.top(Over::All, x, k);
        let out = b.bin(BinaryFn::Mul, mask, x);
        b.save("w", out);
        assert_eq!(check(&b.graph).plan.temps.len(), axis as usize);
    }
}

#[test]
fn a_mask_may_be_turned_round() {
    let mut b = Build::default();
    let (x, k) = (b.load(0, "w", &[6, 7]), b.num(17.0));
    let mask = b.top(Over::All, x, k);
    let kept = b.bin(BinaryFn::Mul, mask, x);
    let turned = b.transpose(kept);
    let corner = b.slice(turned, &[1, 2], &[5, 3]);
    b.save("w", turned);
    b.save("corner", corner);
    check(&b.graph);
}

#[test]
fn stretched_operands_go_by_rows_and_by_columns() {
    let mut b = Build::default();
    let x = b.load(0, "w", &[7, 5]);
    let (row, col, one) = (b.load(0, "row", &[7, 1]), b.load(0, "col", &[1, 5]), b.load(0, "one", &[1, 1]));
    let sum = b.sum(&[x, row, col, one]);
    b.save("w", sum);
    let compiled = check(&b.graph);
    let Step::Map { body, .. } = &compiled.plan.steps[0] else { panic!() };
    assert!(body.by_rows && (body.rows, body.cols) == (7, 5));
    assert!(matches!(body.operands[..], [Operand::Dense(_), Operand::PerRow(_), Operand::PerCol(_), Operand::PerRow(_)]));
}

#[test]
fn coordinates_and_short_lists_follow_their_entries() {
    let mut b = Build::default();
    let x = b.load(0, "w", &[5, 4]);
    let (i, j) = (b.add(Op::Coord { axis: 0 }, &[5, 4]), b.add(Op::Coord { axis: 1 }, &[5, 4]));
    let weights = b.add(Op::Literal([0.5f64, 2.0, -1.0, 0.25].iter().map(|x| x.to_bits()).collect()), &[1, 4]);
    let eye = b.bin(BinaryFn::Eq, i, j);
    let mixed = b.sum(&[x, eye, weights, i]);
    let turned = b.transpose(mixed);
    let part = b.slice(turned, &[1, 2], &[3, 2]);
    b.save("turned", turned);
    b.save("part", part);
    check(&b.graph);
}

#[test]
fn rows_may_be_cut_and_their_statistics_stay() {
    let mut b = Build::default();
    let x = b.load(0, "w", &[9, 6]);
    let peak = b.reduce(ReduceFn::Max, Over::Rows, x);
    let k = b.num(2.0);
    let mask = b.top(Over::Rows, x, k);
    let scaled = b.bin(BinaryFn::Sub, x, peak);
    let kept = b.bin(BinaryFn::Mul, mask, scaled);
    let rows = b.slice(kept, &[3, 0], &[4, 6]);
    let one = b.slice(kept, &[8, 0], &[1, 6]);
    let flat = b.reshape(kept, &[54]);
    b.save("rows", rows);
    b.save("one", one);
    b.save("flat", flat);
    check(&b.graph);
}

/// How many temporaries a graph of one output needs, which is as it should be.
fn temps(make: impl FnOnce(&mut Build) -> NodeId) -> usize {
    let mut b = Build::default();
    let out = make(&mut b);
    b.save("w", out);
    check(&b.graph).plan.temps.len()
}

#[test]
fn ranks_are_numbers() {
    for over in [Over::All, Over::Rows] {
        let made = temps(|b| {
            let x = b.load(0, "w", &[6, 8]);
            let rank = b.rank(over, x);
            b.bin(BinaryFn::Mul, rank, x)
        });
        assert_eq!(made, 0);
    }
    // With other statistics of the same rows and of the ranks; of what a statistic of the rows was taken from.
    let made = temps(|b| {
        let x = b.load(0, "w", &[6, 8]);
        let sum = b.reduce(ReduceFn::Sum, Over::Rows, x);
        let apart = b.bin(BinaryFn::Sub, x, sum);
        let (first, second) = (b.rank(Over::Rows, apart), b.rank(Over::Rows, x));
        let product = b.bin(BinaryFn::Mul, first, second);
        let most = b.reduce(ReduceFn::Max, Over::Rows, product);
        let third = b.rank(Over::Rows, product);
        let parts = b.bin(BinaryFn::Div, third, most);
        b.bin(BinaryFn::Add, parts, x)
    });
    assert_eq!(made, 0);
    // Over all of a matrix and over its rows: one of the two loops.
    let made = temps(|b| {
        let x = b.load(0, "w", &[6, 8]);
        let (rows, all) = (b.rank(Over::Rows, x), b.rank(Over::All, x));
        b.bin(BinaryFn::Mul, rows, all)
    });
    assert_eq!(made, 1);
}

#[test]
fn statistics_of_rows_may_leave_their_rows() {
    // The sums themselves; as a row; sorted; in another tensor's columns; under a slice across rows.
    let sums = |b: &mut Build| {
        let x = b.load(0, "w", &[6, 8]);
        b.reduce(ReduceFn::Sum, Over::Rows, x)
    };
    assert_eq!(temps(sums), 1);
    temps(|b| {
        let s = sums(b);
        let row = b.transpose(s);
        let y = b.load(1, "y", &[5, 6]);
        b.bin(BinaryFn::Mul, row, y)
    });
    temps(|b| {
        let s = sums(b);
        let flat = b.reshape(s, &[6]);
        b.call(Routine::Sort { largest_first: false }, 0, &[flat])
    });
    temps(|b| {
        let (x, s) = (b.load(0, "w", &[6, 8]), sums(b));
        let scaled = b.bin(BinaryFn::Sub, x, s);
        b.slice(scaled, &[1, 2], &[4, 3])
    });
    temps(|b| {
        let k = b.num(3.0);
        let x = b.load(0, "w", &[6, 8]);
        let kth = b.kth(Over::Rows, x, k);
        b.reshape(kth, &[2, 3])
    });
}

#[test]
fn statistics_over_columns_are_those_of_the_rows_of_the_transposed() {
    temps(|b| {
        let x = b.load(0, "w", &[6, 8]);
        let turned = b.transpose(x);
        let sums = b.reduce(ReduceFn::Sum, Over::Rows, turned);
        let row = b.transpose(sums);
        b.bin(BinaryFn::Div, x, row)
    });
    temps(|b| {
        let (x, k) = (b.load(0, "w", &[6, 8]), b.num(2.0));
        let turned = b.transpose(x);
        let mask = b.top(Over::Rows, turned, k);
        let mask = b.transpose(mask);
        b.bin(BinaryFn::Mul, x, mask)
    });
}

#[test]
fn rows_of_different_lengths_meet() {
    temps(|b| {
        let x = b.load(0, "w", &[6, 8]);
        let wide = b.reshape(x, &[12, 4]);
        let (s, t) = (b.reduce(ReduceFn::Sum, Over::Rows, x), b.reduce(ReduceFn::Max, Over::Rows, wide));
        let one = b.bin(BinaryFn::Sub, x, s);
        let two = b.bin(BinaryFn::Sub, wide, t);
        let two = b.reshape(two, &[6, 8]);
        b.bin(BinaryFn::Add, one, two)
    });
    // Rows of what a mask of rows of another length leaves.
    temps(|b| {
        let (x, k) = (b.load(0, "w", &[6, 8]), b.num(2.0));
        let wide = b.reshape(x, &[12, 4]);
        let mask = b.top(Over::Rows, wide, k);
        let kept = b.bin(BinaryFn::Mul, mask, wide);
        let back = b.reshape(kept, &[6, 8]);
        let s = b.reduce(ReduceFn::Sum, Over::Rows, back);
        b.bin(BinaryFn::Sub, back, s)
    });
}

#[test]
fn rows_may_be_joined_from_several_tensors() {
    let made = temps(|b| {
        let parts: Vec<NodeId> = (0..2).map(|c| b.load(c, "w", &[6, 4])).collect();
        let x = b.concat(1, &parts);
        let s = b.reduce(ReduceFn::Max, Over::Rows, x);
        b.bin(BinaryFn::Sub, x, s)
    });
    assert!(made > 0);
}

#[test]
fn rows_of_what_was_selected_from_the_whole_tensor() {
    let made = temps(|b| {
        let (x, k) = (b.load(0, "w", &[6, 8]), b.num(20.0));
        let mask = b.top(Over::All, x, k);
        let kept = b.bin(BinaryFn::Mul, mask, x);
        let s = b.reduce(ReduceFn::Sum, Over::Rows, kept);
        b.bin(BinaryFn::Sub, kept, s)
    });
    assert_eq!(made, 1);
}

#[test]
fn random_numbers_may_be_looked_at_in_any_order() {
    temps(|b| {
        let (x, u) = (b.load(0, "w", &[6, 8]), b.uniform(1, 0, &[8, 6]));
        let u = b.transpose(u);
        b.bin(BinaryFn::Mul, u, x)
    });
    temps(|b| {
        let (u, v) = (b.uniform(1, 0, &[8, 6]), b.uniform(2, 5, &[8, 6]));
        b.bin(BinaryFn::Sub, u, v)
    });
    // Numbers that start inside a vector over the model meet coordinates and rows.
    temps(|b| {
        let (x, u) = (b.load(0, "w", &[6, 8]), b.uniform(1, 3, &[6, 8]));
        let sum = b.bin(BinaryFn::Add, x, u);
        let peak = b.reduce(ReduceFn::Max, Over::Rows, sum);
        b.bin(BinaryFn::Sub, sum, peak)
    });
}

#[test]
fn a_change_of_shape_may_cut_across_rows() {
    let made = temps(|b| {
        let (x, row) = (b.load(0, "w", &[6, 8]), b.load(0, "row", &[6, 1]));
        let sum = b.bin(BinaryFn::Add, x, row);
        let flat = b.reshape(sum, &[48]);
        b.slice(flat, &[3], &[20])
    });
    assert_eq!(made, 1);
}

#[test]
fn lists_of_numbers_may_be_longer_than_a_kernel() {
    let list = |n: u64| (0..n).map(|i| (i as f64 / 4.0).to_bits()).collect();
    temps(|b| {
        let (x, v) = (b.load(0, "v", &[200]), b.add(Op::Literal(list(200)), &[200]));
        b.bin(BinaryFn::Add, x, v)
    });
    let mut b = Build::default();
    let v = b.add(Op::Literal(list(5000)), &[5000]);
    b.save("v", v);
    assert!(refused(&b.graph).contains("list of 5000 numbers"));
}

#[test]
fn what_is_too_large_to_hold_is_refused() {
    let mut b = Build::default();
    let u = b.uniform(1, 0, &[1 << 15, 1 << 14]);
    let turned = b.transpose(u);
    b.save("w", turned);
    assert!(refused(&b.graph).contains("2.1 GB"), "{}", refused(&b.graph));

    let mut b = Build::default();
    let x = b.load(0, "w", &[1 << 17, 1 << 16]);
    let sorted = b.call(Routine::Sort { largest_first: true }, 0, &[x]);
    b.save("w", sorted);
    assert!(refused(&b.graph).contains("`sort` would hold"));
}

#[test]
fn one_finding_stands_for_all_tensors_with_the_same_fault() {
    let mut b = Build::default();
    let list = b.add(Op::Literal((0..5000).map(|i| f64::from(i).to_bits()).collect()), &[5000]);
    for layer in 0..32 {
        let x = b.load(0, &format!("layers.{layer}"), &[5000]);
        let sum = b.bin(BinaryFn::Add, x, list);
        b.save(&format!("layers.{layer}"), sum);
    }
    let compiled = merge_opt::compile(&b.graph, Recipe::default());
    assert_eq!(compiled.diagnostics.len(), 1);
    assert_eq!(compiled.diagnostics[0].notes, ["in 32 tensors, from `layers.0`"]);
}

/// Random graphs: each gives what it means. The seed is printed with a failure.
#[test]
fn random_graphs_give_what_they_mean() {
    let mut kept = 0;
    for seed in 0..1500u64 {
        let mut b = Build::default();
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let out = random_graph(&mut b, &mut rng);
        b.save("w", out);
        let graph = b.graph;
        match std::panic::catch_unwind(|| check(&graph).plan.temps.len()) {
            Ok(temps) => kept += u32::from(temps > 0),
            Err(_) => panic!("seed {seed}\n{}", merge_ir::tir::print(&graph)),
        }
    }
    // Ranks need none.
    assert!(kept > 150, "only {kept} needed memory");
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

fn random_graph(b: &mut Build, rng: &mut Rng) -> NodeId {
    let shapes: [&[u64]; 6] = [&[4, 6], &[6, 4], &[24], &[1, 6], &[4, 1], &[]];
    let mut nodes: Vec<NodeId> = (0..4).map(|c| b.load(c, "w", shapes[c as usize % 3])).collect();
    nodes.push(b.load(0, "r", shapes[3]));
    nodes.push(b.load(0, "c", shapes[4]));
    nodes.push(b.setting("s", 0.75));
    for _ in 0..3 + rng.below(10) {
        let a = nodes[rng.below(nodes.len() as u64) as usize];
        let shape = b.graph.shape(a).to_vec();
        let n: u64 = shape.iter().product();
        let new = match rng.below(16) {
            0 => b.un([UnaryFn::Abs, UnaryFn::Neg, UnaryFn::Sign, UnaryFn::Not][rng.below(4) as usize], a),
            1 | 2 => {
                let fits: Vec<NodeId> = nodes.iter().copied().filter(|n| fits(b.graph.shape(*n), &shape)).collect();
                let other = fits[rng.below(fits.len() as u64) as usize];
                let f = [BinaryFn::Add, BinaryFn::Sub, BinaryFn::Max, BinaryFn::Lt, BinaryFn::Eq, BinaryFn::Or]
                    [rng.below(6) as usize];
                b.bin(f, a, other)
            }
            3 => {
                let same: Vec<NodeId> = nodes.iter().copied().filter(|n| b.graph.shape(*n)[..] == shape).collect();
                let (x, y) = (same[rng.below(same.len() as u64) as usize], same[rng.below(same.len() as u64) as usize]);
                let zero = b.num(0.0);
                let mask = b.bin(BinaryFn::Gt, x, zero);
                b.select(mask, a, y)
            }
            4 if shape.len() == 2 => b.transpose(a),
            5 if n == 24 => b.reshape(a, shapes[rng.below(3) as usize]),
            6 if shape.len() == 2 => {
                let start = [rng.below(shape[0]), rng.below(shape[1])];
                let size = [1 + rng.below(shape[0] - start[0]), 1 + rng.below(shape[1] - start[1])];
                b.slice(a, &start, &size)
            }
            7 if !shape.is_empty() => {
                let same: Vec<NodeId> = nodes.iter().copied().filter(|n| b.graph.shape(*n)[..] == shape).collect();
                let other = same[rng.below(same.len() as u64) as usize];
                let axis = rng.below(shape.len() as u64);
                let joined = b.concat(axis as u32, &[a, other]);
                let mut start = vec![0; shape.len()];
                start[axis as usize] = rng.below(shape[axis as usize] + 1);
                b.slice(joined, &start, &shape)
            }
            8 => b.reduce([ReduceFn::Sum, ReduceFn::Max, ReduceFn::Min][rng.below(3) as usize], Over::All, a),
            9 if !shape.is_empty() => b.reduce([ReduceFn::Sum, ReduceFn::Max][rng.below(2) as usize], Over::Rows, a),
            10 => {
                let k = b.num(rng.below(n + 2) as f64);
                let over = if rng.below(2) == 0 || shape.is_empty() { Over::All } else { Over::Rows };
                b.top(over, a, k)
            }
            11 if !shape.is_empty() => {
                let k = b.setting(&format!("k{}", nodes.len()), rng.below(n + 2) as f64);
                let over = if rng.below(2) == 0 { Over::All } else { Over::Rows };
                b.kth(over, a, k)
            }
            12 => b.rank(if rng.below(2) == 0 || shape.is_empty() { Over::All } else { Over::Rows }, a),
            13 => b.uniform(rng.below(3), rng.below(3) * 7, &shape),
            14 if !shape.is_empty() => b.add(Op::Coord { axis: rng.below(shape.len() as u64) as u32 }, &shape),
            15 if shape.len() == 2 => {
                let fits: Vec<NodeId> =
                    nodes.iter().copied().filter(|n| matches!(b.graph.shape(*n)[..], [k, _] if k == shape[1])).collect();
                match fits[..] {
                    [] => b.call(Routine::Sort { largest_first: true }, 0, &[a]),
                    _ => b.call(Routine::MatMul, 0, &[a, fits[rng.below(fits.len() as u64) as usize]]),
                }
            }
            _ => continue,
        };
        nodes.push(new);
    }
    nodes[nodes.len() - 1]
}

fn fits(from: &[u64], to: &[u64]) -> bool {
    from.is_empty() || (from.len() == to.len() && from.iter().zip(to).all(|(a, b)| a == b || *a == 1))
}
