//! Routines on whole tensors, from recipe text to shapes and numbers, and the faults they report.

use super::tests::{elaborated, evaluated, fails, number, numbers, tensor};
use merge_ir::tir::Op;

const X: &str = "tensor([[3, -1, 2], [-4, 0, 2]])";

/// The shape of an expression.
fn shape(expr: &str) -> Vec<u64> {
    let done = elaborated(&format!("save {{ \"y\": {expr} }} to \"out\""));
    assert!(done.diagnostics.iter().all(|d| !d.is_error()), "{expr}: {:?}", done.diagnostics);
    let problems = merge_ir::tir::verify(&done.graph);
    assert!(problems.is_empty(), "{expr}: {problems:?}");
    done.graph.shape(done.graph.outputs[0].tensors[0].node).to_vec()
}

#[test]
fn products_take_matrices_vectors_and_leading_axes() {
    assert_eq!(tensor(&format!("{X} @ transpose({X})")), (vec![2, 2], vec![14.0, -8.0, -8.0, 20.0]));
    assert_eq!(tensor(&format!("{X} @ tensor([1, 1, 2])")), (vec![2], vec![6.0, 0.0]));
    assert_eq!(tensor(&format!("tensor([1, 2]) @ {X}")), (vec![3], vec![-5.0, -1.0, 6.0]));
    assert_eq!(tensor("reshape(iota(8), [2, 2, 2]) @ tensor([[1], [1]])"), (vec![2, 2, 1], vec![1.0, 5.0, 9.0, 13.0]));
    assert_eq!(shape("reshape(iota(24), [2, 3, 4]) @ tensor([1, 1, 1, 1])"), [2, 3]);
}

#[test]
fn products_say_what_does_not_fit() {
    fails(&format!("{X} @ {X}"), "E2003", "these are 3 and 2");
    fails("base[\"m\"] @ math[\"m\"]", "E2003", "these are 3 and 2");
    fails("base[\"v\"] @ math[\"v\"]", "E2503", "two vectors");
    fails("2.0 @ base[\"m\"]", "E2001", "this is a number");
    fails("base[\"m\"] @ w", "E2001", "this is a number");
    fails("base[\"m\"] @ reshape(iota(24), [3, 4, 2])", "E2503", "a matrix or a vector on its right");
    fails("base[\"m\"] @ base[\"ids\"]", "E2010", "not floats");
    fails("(1 @ 2) * 1.0", "E2001", "`@` does not go with ints");
    fails("[base[\"m\"]] @ base[\"m\"]", "E2001", "a list");
}

#[test]
fn calls_know_their_place() {
    let done = elaborated("save { \"y\": base[\"m\"] @ tensor([1, 1, 1]) } to \"out\"");
    let call = done.graph.nodes().find(|(_, n)| matches!(n.op, Op::Call { .. })).unwrap().0;
    assert_eq!(done.graph.places[&call], "recipe.merge:5:13");
}

#[test]
fn decompositions_have_the_shapes_of_their_factors() {
    let part = |call: &str, names: &str, which: &str| shape(&format!("{{ let {names} = {call} {which} }}"));
    for (call, wanted) in [
        ("svd(base[\"m\"])", [vec![2, 2], vec![2], vec![3, 2]]),
        ("svd(base[\"m\"], rank: 1)", [vec![2, 1], vec![1], vec![3, 1]]),
        ("svd(base[\"m\"], full: true)", [vec![2, 2], vec![2], vec![3, 3]]),
        ("svd(base[\"m\"], full: false)", [vec![2, 2], vec![2], vec![3, 2]]),
    ] {
        assert_eq!(["u", "s", "v"].map(|n| part(call, "(u, s, v)", n)), wanted, "{call}");
    }
    assert_eq!(["q", "r"].map(|n| part("qr(base[\"m\"])", "(q, r)", n)), [[2, 2], [2, 3]]);
    assert_eq!(["a", "b"].map(|n| part("eigh(eye(4))", "(a, b)", n)), [vec![4], vec![4, 4]]);
    assert_eq!(["c", "z"].map(|n| part("kmeans(base[\"m\"], 2)", "(c, z)", n)), [vec![2], vec![2, 3]]);
    assert_eq!(shape("polar(base[\"m\"])"), [2, 3]);
    assert_eq!(shape("low_rank(base[\"m\"], rank: 1)"), [2, 3]);
    assert_eq!(shape("solve(eye(2), base[\"m\"])"), [2, 3]);
    assert_eq!(shape("solve(eye(4), base[\"v\"])"), [4]);
}

#[test]
fn decompositions_say_what_does_not_fit() {
    fails("{ let (u, s, v) = svd(base[\"m\"], rank: 3) u }", "E2502", "a rank from 1 to 2, and `svd` is asked for 3");
    fails("{ let (u, s, v) = svd(base[\"m\"], rank: 0) u }", "E2502", "asked for 0");
    fails("{ let (u, s, v) = svd(base[\"m\"], rank: w) u }", "E2007", "known when the recipe is compiled");
    fails("{ let (u, s, v) = svd(base[\"m\"], rank: 1, full: true) u }", "E2002", "either full or of a rank");
    fails("{ let (u, s, v) = svd(base[\"v\"]) u }", "E2503", "takes a matrix, and this has [4]");
    fails("{ let (q, r) = qr(base[\"ids\"]) q }", "E2010", "not floats");
    fails("{ let (q, r) = qr(3) q }", "E2503", "no axes");
    fails("{ let (l, v) = eigh(base[\"m\"]) v }", "E2503", "square matrix, and this has [2, 3]");
    fails("low_rank(base[\"m\"], rank: 3)", "E2502", "`low_rank` is asked for 3");
    fails("low_rank(base[\"v\"], rank: 1)", "E2503", "takes a matrix");
    fails("polar(reshape(iota(0), [0, 3]))", "E2503", "without entries");
    fails("polar([base[\"m\"]])", "E2001", "a list of 1 tensor");
    fails("solve(base[\"m\"], base[\"v\"])", "E2503", "square matrix");
    fails("solve(eye(3), base[\"v\"])", "E2003", "3 equations with a right side [4]");
    fails("solve(eye(8), reshape(iota(8), [2, 2, 2]))", "E2503", "a vector or a matrix");
    fails("{ let (c, z) = kmeans(base[\"m\"], 3) c }", "E2502", "2 rows make 1 to 2 clusters");
    fails("{ let (c, z) = kmeans(base[\"m\"], 0) c }", "E2502", "`k` is 0");
    fails("assignment(base[\"m\"])", "E2503", "square matrix");
    fails("assignment(eye(2), maximize: 1)", "E2001", "`true` or `false`");
    fails("permutation(0)", "E2502", "0 numbers");
}

#[test]
fn orders() {
    assert_eq!(numbers("sort(tensor([3, 1, 2]))"), [1.0, 2.0, 3.0]);
    assert_eq!(numbers("sort(tensor([3, 1, 2]), largest_first: true)"), [3.0, 2.0, 1.0]);
    assert_eq!(numbers("sort_index(tensor([3, 1, 3, 2]))"), [1.0, 3.0, 0.0, 2.0]);
    assert_eq!(numbers("sort_index(tensor([3, 1, 3, 2]), largest_first: true)"), [0.0, 2.0, 3.0, 1.0]);
    assert_eq!(tensor(&format!("sort({X})")), (vec![2, 3], vec![-4.0, -1.0, 0.0, 2.0, 2.0, 3.0]));
    assert_eq!(tensor(&format!("sort({X}, over: rows)")), (vec![2, 3], vec![-1.0, 2.0, 3.0, -4.0, 0.0, 2.0]));
    assert_eq!(tensor(&format!("sort({X}, over: cols)")), (vec![2, 3], vec![-4.0, -1.0, 2.0, 3.0, 0.0, 2.0]));
    assert_eq!(tensor(&format!("cumsum({X}, over: cols)")), (vec![2, 3], vec![3.0, -1.0, 2.0, -1.0, -1.0, 4.0]));
    assert_eq!(tensor(&format!("cumsum({X})")).1, [3.0, 2.0, 4.0, 0.0, 0.0, 2.0]);
    assert_eq!(number(&format!("argmax({X})")), 0.0);
    assert_eq!(number("argmax(tensor([1, 5, 5]))"), 1.0);
    assert_eq!(tensor(&format!("argmax({X}, over: rows)")), (vec![2, 1], vec![0.0, 2.0]));
    assert_eq!(tensor(&format!("argmax({X}, over: cols)")), (vec![1, 3], vec![0.0, 1.0, 0.0]));
    assert_eq!(number("argmax(w) + sort(3.0) + sort_index(w) + cumsum(4)"), 7.0);
    fails("argmax(reshape(iota(0), [0]))", "E2503", "without entries");
    fails("argmax(iota(16777217))", "E2503", "`argmax` counts 16777217 places");
    fails("take(iota(16777217), [0], axis: 0)", "E2503", "exact up to 16777216");
    fails("scatter(iota(2), [0, 1], axis: 0, len: 16777217)", "E2503", "16777217 places");
    fails("permutation(16777217)", "E2503", "16777217 places");
    fails("sort(base[\"m\"], largest_first: 1)", "E2001", "`true` or `false`");
    fails("cumsum([base[\"v\"]])", "E2001", "a list of 1 tensor");
}

#[test]
fn picking() {
    let p = "tensor([2, 0])";
    assert_eq!(tensor(&format!("take({X}, {p}, axis: 1)")), (vec![2, 2], vec![2.0, 3.0, 2.0, -4.0]));
    assert_eq!(tensor(&format!("take({X}, [2, 0], axis: -1)")), (vec![2, 2], vec![2.0, 3.0, 2.0, -4.0]));
    assert_eq!(tensor(&format!("take({X}, 0..1, axis: 0)")), (vec![1, 3], vec![3.0, -1.0, 2.0]));
    assert_eq!(tensor(&format!("take_along({X}, tensor([1, 0]))")), (vec![2], vec![-1.0, -4.0]));
    assert_eq!(tensor(&format!("take_along({X}, argmax({X}, over: rows))")), (vec![2, 1], vec![3.0, 2.0]));
    assert_eq!(number("take_along(tensor([5, 6]), 1.0)"), 6.0);
    assert_eq!(numbers("scatter(tensor([5, 6, 7]), tensor([2, 0, 1]), axis: 0)"), [6.0, 7.0, 5.0]);
    assert_eq!(numbers("scatter(tensor([5, 6]), [3, 1], axis: 0, len: 4)"), [0.0, 6.0, 0.0, 5.0]);
    assert_eq!(numbers("indices(tensor([0, 1, 0, 7]), count: 2)"), [1.0, 3.0]);
    assert_eq!(tensor("unpack(tensor([[0, 1], [1, 0]]), tensor([5, 6]))"), (vec![2, 2], vec![0.0, 5.0, 6.0, 0.0]));
}

#[test]
fn picking_says_what_does_not_fit() {
    fails("take(base[\"m\"], tensor([0]), axis: 2)", "E2005", "axis 2");
    fails("take(base[\"m\"], [0, 3], axis: 1)", "E2005", "place 3 of an axis of length 3");
    fails("take(base[\"m\"], [-1], axis: 1)", "E2005", "place -1");
    fails("take(base[\"m\"], [], axis: 1)", "E2501", "empty list");
    fails("take(base[\"m\"], 1, axis: 1)", "E2001", "takes places here");
    fails("take(base[\"m\"], 1.0, axis: 1)", "E2503", "no axes");
    fails("take(base[\"m\"], base[\"m\"], axis: 1)", "E2503", "one axis long");
    fails("take(base[\"ids\"], [0], axis: 0)", "E2010", "not floats");
    fails("take_along(base[\"m\"], base[\"v\"])", "E2003", "one place for each row");
    fails("take_along(w, w)", "E2001", "at least one axis");
    fails("scatter(base[\"v\"], [0, 1], axis: 0)", "E2003", "one place for each slice");
    fails("scatter(base[\"v\"], [0, 1, 2, 2], axis: 0)", "E2501", "two slices at place 2");
    fails("scatter(base[\"v\"], base[\"v\"], axis: 0, len: 3)", "E2502", "length 3");
    fails("indices(base[\"v\"], count: 5)", "E2502", "`count` is 5");
    fails("indices(base[\"v\"], count: 0)", "E2502", "`count` is 0");
    fails("indices(base[\"m\"], count: 2)", "E2503", "one axis");
    fails("unpack(base[\"v\"], tensor([1, 2, 3, 4, 5]))", "E2003", "5 values into a mask of 4");
    fails("unpack(base[\"v\"], base[\"m\"])", "E2503", "packed along one axis");
}

#[test]
fn degrees_of_routines() {
    // `m` is a matrix, which the other tensors of the model are not.
    let kinds = |expr: &str| -> Vec<String> {
        let done = elaborated(&format!("save like base {{ \"m\" => {expr}   _ => base }} to \"out\""));
        done.diagnostics.iter().map(|d| d.code.to_string()).collect()
    };
    for fine in [
        "base + low_rank(math - base, rank: 1)",
        "base + polar(math - base)",
        "base + base @ (transpose(math - base) @ base)",
        "take(base, [1, 0], axis: 0)",
        "scatter(base, tensor([1, 0]), axis: 0)",
        "base + sort(math - base)",
        "base + unpack(base > 0, flatten(math - base))",
        "reshape(unfold(base, 0), [2, 3])",
    ] {
        assert_eq!(kinds(fine), Vec::<String>::new(), "{fine}");
    }
    for (expr, code) in [
        ("low_rank(base, rank: 1)", "E2106"),
        ("base @ (transpose(base) @ base)", "E2105"),
        ("sort(base)", "E2106"),
        ("base + base @ fisher[\"m\"]", "E2003"),
        ("fisher[\"m\"] @ transpose(fisher[\"m\"]) @ base", "E2107"),
        ("scatter(base[.., 0..2], [0, 2], axis: 1, len: 3)", "E2106"),
    ] {
        assert_eq!(kinds(expr), [code], "{expr}");
    }
}
#[test]
fn decompositions_give_back_what_they_took() {
    let back = |names: &str, call: &str, product: &str| format!("{{ let {names} = {call}\n {product} - {X} }}");
    near(&back("(u, s, v)", &format!("svd({X})"), "(u * reshape(s, [1, 2])) @ transpose(v)"), &[0.0; 6]);
    near(
        &back(
            "(u, s, v)",
            &format!("svd({X}, full: true)"),
            "u @ concat([diag(s), 0 * tensor([[1], [1]])], axis: 1) @ transpose(v)",
        ),
        &[0.0; 6],
    );
    near(&back("(q, r)", &format!("qr({X})"), "q @ r"), &[0.0; 6]);
    near("{ let (l, v) = eigh(tensor([[2, 1], [1, 2]])) l }", &[1.0, 3.0]);
    near("{ let (l, v) = eigh(tensor([[2, 1], [1, 2]])) v @ diag(l) @ transpose(v) }", &[2.0, 1.0, 1.0, 2.0]);
    near("solve(tensor([[2, 0], [0, 4]]), tensor([2, 2]))", &[1.0, 0.5]);
    near("polar(tensor([[3, 0], [0, 5]]))", &[1.0, 0.0, 0.0, 1.0]);
    near("low_rank(tensor([[3, 0], [0, 5]]), rank: 1)", &[0.0, 0.0, 0.0, 5.0]);
    near("low_rank(tensor([[3, 0], [0, 5]]), rank: 2)", &[3.0, 0.0, 0.0, 5.0]);
}

#[test]
fn clusters_and_assignments() {
    assert_eq!(numbers("assignment(tensor([[4, 1, 3], [2, 0, 5], [3, 2, 2]]))"), [1.0, 0.0, 2.0]);
    assert_eq!(numbers("assignment(tensor([[1, 9], [2, 3]]), maximize: true)"), [1.0, 0.0]);
    let mut drawn = numbers("permutation(9, seed: 3)");
    drawn.sort_by(f64::total_cmp);
    assert_eq!(drawn, (0..9).map(f64::from).collect::<Vec<_>>());
    assert_eq!(numbers("{ let (c, z) = kmeans(tensor([[0], [9], [1], [10]]), 2, seed: 1) c }"), [0.0, 1.0, 0.0, 1.0]);
}

fn near(expr: &str, wanted: &[f64]) {
    let got = numbers(expr);
    let fits = got.len() == wanted.len() && got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(fits, "{expr} is {got:?}, not {wanted:?}");
}

#[test]
fn tensors_without_entries_pass_through() {
    let none = "reshape(base[\"m\"][.., 0..0], [0, 4])";
    let empty = (vec![0, 4], vec![]);
    for call in
        ["sort({})", "sort_index({}, over: rows)", "cumsum({})", "cumsum({}, over: rows)", "cumsum({}, over: cols)", "rank({})"]
    {
        assert_eq!(tensor(&call.replace("{}", none)), empty, "{call}");
    }
    let flat = format!("flatten({none})");
    assert_eq!(tensor(&format!("sort({flat})")).0, [0]);
    assert_eq!(tensor(&format!("transpose({none}) @ {none}")), (vec![4, 4], vec![0.0; 16]));
    assert_eq!(tensor(&format!("{none} @ eye(4)")), empty);
    assert_eq!(tensor(&format!("take({none}, [1, 0], axis: 1)")).0, [0, 2]);
    assert_eq!(tensor(&format!("take(eye(4), {flat}, axis: 1)")).0, [4, 0]);
    assert_eq!(tensor(&format!("take_along({none}, {flat})")).0, [0]);
    assert_eq!(tensor(&format!("scatter({none}, {flat}, axis: 0, len: 2)")), (vec![2, 4], vec![0.0; 8]));
    assert_eq!(tensor(&format!("unpack(tensor([0, 0]), {flat})")).1, [0.0, 0.0]);
    assert_eq!(tensor(&format!("solve(eye(4), transpose({none}))")).0, [4, 0]);
    assert_eq!(tensor(&format!("diag({flat})")).0, [0, 0]);
    assert_eq!(tensor(&format!("unfold({none}, 0)")).0, [0, 4]);
    assert_eq!(tensor("iota(0)").0, [0]);
}

/// Random calls, nested: whatever is asked for is answered, by a diagnostic or by a tensor of the promised shape.
#[test]
fn random_calls_are_answered() {
    let mut random = merge_random(7);
    let (mut fine, mut faulty) = (0, 0);
    for round in 0..1500 {
        let expr = random_expr(&mut random, 1 + round % 4);
        let done = elaborated(&format!("save {{ \"y\": {expr} }} to \"out\""));
        if done.diagnostics.iter().any(|d| d.is_error()) {
            faulty += 1;
            continue;
        }
        fine += 1;
        let problems = merge_ir::tir::verify(&done.graph);
        assert!(problems.is_empty(), "{expr}: {problems:?}");
        let node = done.graph.outputs[0].tensors[0].node;
        // A routine may refuse entries, such as a singular matrix.
        if let Ok((shape, _)) = evaluated(&done.graph, node) {
            let shape: Vec<u64> = shape.into_iter().map(|n| n as u64).collect();
            assert_eq!(shape, **done.graph.shape(node), "{expr}");
        }
    }
    assert!(fine > 200 && faulty > 200, "{fine} of the recipes are fine, {faulty} are not");
}

/// Numbers below a bound, by xorshift64* (Vigna 2016).
fn merge_random(mut state: u64) -> impl FnMut(usize) -> usize {
    move |n| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
}

fn random_expr(random: &mut impl FnMut(usize) -> usize, depth: usize) -> String {
    const LEAVES: [&str; 12] = [
        "base[\"m\"]",
        "math[\"m\"]",
        "base[\"v\"]",
        "(math[\"v\"] - base[\"v\"])",
        "base[\"s\"]",
        "base[\"ids\"]",
        "transpose(code[\"m\"])",
        "eye(3)",
        "tensor([[2, 1], [1, 3]])",
        "iota(4)",
        "reshape(iota(8), [2, 2, 2])",
        "w",
    ];
    const CALLS: [&str; 34] = [
        "({} @ {})",
        "({} @ {})",
        "({} + {})",
        "transpose({})",
        "flatten({})",
        "unfold({}, #)",
        "diag({})",
        "sort({}, over: %)",
        "sort_index({}, over: %, largest_first: true)",
        "rank({}, over: %)",
        "cumsum({}, over: %)",
        "argmax({}, over: %)",
        "sum({}, over: %)",
        "norm({}, over: %)",
        "quantile({}, 0.5, over: %)",
        "keep_top({}, 0.5, over: %)",
        "take({}, [0, #], axis: #)",
        "take({}, sort_index({}), axis: #)",
        "take_along({}, {} * 0)",
        "take_along({}, argmax({}, over: rows))",
        "scatter({}, sort_index({}), axis: #)",
        "scatter({}, [0, #], axis: #, len: 5)",
        "indices({}, count: #)",
        "unpack({}, {})",
        "polar({})",
        "low_rank({}, rank: #)",
        "solve({}, {})",
        "assignment({}, maximize: true)",
        "permutation(#)",
        "{ let (u, s, v) = svd({})\n u @ diag(s) }",
        "{ let (u, _, v) = svd({}, full: true)\n v }",
        "{ let (q, r) = qr({})\n r }",
        "{ let (l, v) = eigh({})\n v @ diag(l) }",
        "{ let (c, z) = kmeans({}, #)\n take(z, c, axis: 0) }",
    ];
    if depth == 0 {
        return LEAVES[random(LEAVES.len())].into();
    }
    let mut text = String::new();
    for c in CALLS[random(CALLS.len())].chars() {
        match c {
            '#' => text.push_str(&random(4).to_string()),
            '%' => text.push_str(["all", "rows", "cols", "0", "-1"][random(5)]),
            '}' if text.ends_with('{') => {
                text.pop();
                text.push_str(&random_expr(random, depth - 1));
            }
            c => text.push(c),
        }
    }
    text
}
