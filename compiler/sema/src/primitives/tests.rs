//! Primitives from recipe text to numbers, by the reference interpreter, and the faults they report.

use crate::elaborate::{Answers, Elaborated, elaborate};
use crate::resolve::{NoModules, resolve};
use crate::schema::{Checkpoints, OpenError, Schema, TensorInfo};
use merge_abi::DType;
use merge_base::Sources;
use merge_interp::Interpreter;
use merge_ir::tir::{Graph, NodeId};
use std::sync::Arc;

/// `base`, `math` and `code`: `m` [2, 3], `v` [4], `s` [] of floats and `ids` [4] of ints; `fisher` without `ids`.
struct Files;

impl Checkpoints for Files {
    fn open(&mut self, path: &str) -> Result<Arc<Schema>, OpenError> {
        let mut schema = Schema::default();
        let floats: [(&str, &[u64]); 3] = [("m", &[2, 3]), ("v", &[4]), ("s", &[])];
        for (name, shape) in floats {
            schema.tensors.insert(name.into(), TensorInfo { dtype: DType::F32, shape: shape.to_vec() });
        }
        if path != "fisher" {
            schema.tensors.insert("ids".into(), TensorInfo { dtype: DType::I64, shape: vec![4] });
        }
        Ok(Arc::new(schema))
    }
}

/// Entries of the checkpoints: those of `base` are 1, 2, .. and the others are 10 and 20 times that.
fn entries(checkpoint: &str, shape: &[u64]) -> Vec<f64> {
    let factor = match checkpoint {
        "base" => 1.0,
        "math" => 10.0,
        _ => 20.0,
    };
    (1..=shape.iter().product::<u64>()).map(|k| k as f64 * factor).collect()
}

const HEAD: &str = "let base = checkpoint(\"base\") let math = checkpoint(\"math\") let code = checkpoint(\"code\")
let fisher = tensors(\"fisher\")
choose w in 0.0..=1.0 = 0.25
choose u in 0.0..=1.0 = 0.5
";

pub(super) fn elaborated(text: &str) -> Elaborated {
    let text = format!("{HEAD}{text}");
    let mut sources = Sources::default();
    let id = sources.add("recipe.merge", text.clone());
    let (file, found) = merge_grammar::parse(id, &text);
    assert!(found.is_empty(), "{text}: {found:?}");
    let (program, mut found) = resolve(id, &file, &mut NoModules);
    found.retain(|d| d.is_error());
    assert!(found.is_empty(), "{text}: {found:?}");
    elaborate(&program, &sources, &mut Files, &Answers::default())
}

/// Shape and entries of an expression.
pub(super) fn tensor(expr: &str) -> (Vec<usize>, Vec<f64>) {
    let done = elaborated(&format!("save {{ \"y\": {expr} }} to \"out\""));
    let wrong: Vec<_> = done.diagnostics.iter().filter(|d| d.is_error()).collect();
    assert!(wrong.is_empty(), "{expr}: {wrong:?}");
    let problems = merge_ir::tir::verify(&done.graph);
    assert!(problems.is_empty(), "{expr}: {problems:?}");
    evaluated(&done.graph, done.graph.outputs[0].tensors[0].node).unwrap()
}

/// A node's shape and entries, by the reference interpreter.
pub(super) fn evaluated(graph: &Graph, node: NodeId) -> Result<(Vec<usize>, Vec<f64>), String> {
    let read = |s: &merge_abi::Source| Ok(entries(&graph.checkpoints[s.checkpoint as usize].path, &s.shape));
    let settings = graph.settings.iter().map(|s| s.default).collect();
    let value = Interpreter::new(graph, settings, 0, &read).value(node)?;
    Ok((value.shape().to_vec(), value.iter().copied().collect()))
}

pub(super) fn numbers(expr: &str) -> Vec<f64> {
    tensor(expr).1
}

pub(super) fn number(expr: &str) -> f64 {
    let (shape, value) = tensor(expr);
    assert!(shape.is_empty(), "{expr} has shape {shape:?}");
    value[0]
}

fn close(expr: &str, wanted: f64) {
    let got = number(expr);
    assert!((got - wanted).abs() < 1e-9, "{expr} is {got}, not {wanted}");
}

/// The codes and messages of a statement's findings.
fn said(text: &str) -> Vec<(String, String)> {
    elaborated(text).diagnostics.iter().map(|d| (d.code.to_string(), d.message.clone())).collect()
}

/// The one finding about an expression, as code and message.
fn fault(expr: &str) -> (String, String) {
    let all = said(&format!("save {{ \"y\": {expr} }} to \"out\""));
    assert_eq!(all.len(), 1, "{expr}: {all:?}");
    all.into_iter().next().unwrap()
}

pub(super) fn fails(expr: &str, code: &str, message: &str) {
    let (got, text) = fault(expr);
    assert!(got == code && text.contains(message), "{expr}: {got}: {text}");
}

/// What `save like base { "ids" => base, _ => .. }` says about the degree of `expr`.
fn as_weight(expr: &str) -> Vec<String> {
    let all = said(&format!("save like base {{ \"ids\" => base   _ => {expr} }} to \"out\""));
    all.into_iter().map(|f| f.0).collect()
}

fn weighs(expr: &str) {
    let all = said(&format!("save like base {{ \"ids\" => base   _ => {expr} }} to \"out\""));
    assert!(all.is_empty(), "{expr}: {all:?}");
}

const X: &str = "tensor([[3, -1, 2], [-4, 0, 2]])";

#[test]
fn reductions_of_a_tensor() {
    close(&format!("sum({X})"), 2.0);
    close(&format!("mean({X})"), 1.0 / 3.0);
    close(&format!("min({X})"), -4.0);
    close(&format!("max({X})"), 3.0);
    close(&format!("norm({X})"), 34f64.sqrt());
    close(&format!("count({X})"), 5.0);
    close(&format!("dot({X}, {X})"), 34.0);
    close("var(tensor([1, 2, 3, 4]))", 1.25);
    close("cosine(tensor([1, 0]), tensor([1, 1]))", 0.5f64.sqrt());
    close("cosine(tensor([0, 0]), tensor([1, 1]))", 0.0);
    close("norm(tensor(-3.0))", 3.0);
}

#[test]
fn reductions_of_rows_keep_the_axis() {
    assert_eq!(tensor(&format!("sum({X}, over: rows)")), (vec![2, 1], vec![4.0, -2.0]));
    assert_eq!(tensor(&format!("max({X}, over: 1)")), (vec![2, 1], vec![3.0, 2.0]));
    assert_eq!(tensor(&format!("mean({X}, over: -1)")).0, [2, 1]);
    assert_eq!(tensor("sum(tensor([1, 2]), over: rows)"), (vec![1], vec![3.0]));
    fails(&format!("sum({X}, over: 2)"), "E2005", "axis 2");
}

#[test]
fn columns_and_other_axes_are_ranged_over_alike() {
    for over in ["cols", "0", "-2"] {
        assert_eq!(tensor(&format!("sum({X}, over: {over})")), (vec![1, 3], vec![-1.0, -1.0, 4.0]));
        assert_eq!(numbers(&format!("rank({X}, over: {over})")), [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
        assert_eq!(numbers(&format!("keep_top({X}, 0.5, over: {over})")), [0.0, -1.0, 2.0, -4.0, 0.0, 0.0]);
        assert_eq!(numbers(&format!("keep_top({X}, 0.5, tied: all, over: {over})")), [0.0, -1.0, 2.0, -4.0, 0.0, 2.0]);
    }
    assert_eq!(tensor(&format!("max({X}, over: cols)")), (vec![1, 3], vec![3.0, 0.0, 2.0]));
    assert_eq!(tensor(&format!("mean({X}, over: cols)")).1, [-0.5, -0.5, 2.0]);
    assert_eq!(tensor(&format!("var({X}, over: cols)")).1, [12.25, 0.25, 0.0]);
    assert_eq!(tensor(&format!("kth({X}, 2, over: cols)")).1, [-4.0, -1.0, 2.0]);
    assert_eq!(tensor(&format!("quantile({X}, 0.5, over: cols)")).1, [-0.5, -0.5, 2.0]);
    assert_eq!(tensor(&format!("dot({X}, {X}, over: cols)")).1, [25.0, 1.0, 8.0]);
    assert_eq!(tensor("sum(reshape(iota(8), [2, 2, 2]), over: 0)"), (vec![1, 2, 2], vec![4.0, 6.0, 8.0, 10.0]));
    fails("sum(tensor([1, 2]), over: cols)", "E2005", "one axis, which is one row");
    fails("sum(w, over: cols)", "E2005", "no axes");
}

#[test]
fn reductions_of_a_list_go_across_it() {
    assert_eq!(numbers("sum([tensor([1, 2]), tensor([10, 20]), 100])"), [111.0, 122.0]);
    assert_eq!(numbers("mean([tensor([1, 2]), tensor([3, 4])])"), [2.0, 3.0]);
    assert_eq!(numbers("max([tensor([1, 5]), tensor([3, 4])])"), [3.0, 5.0]);
    assert_eq!(numbers("min([tensor([1, 5]), tensor([3, 4])])"), [1.0, 4.0]);
    assert_eq!(numbers("var([tensor([1, 5]), tensor([3, 5])])"), [1.0, 0.0]);
    assert_eq!(numbers("count([tensor([1, 0]), tensor([3, 0])])"), [2.0, 0.0]);
    assert_eq!(numbers("mean([tensor([1, 2]), tensor([3, 4])], weight: [tensor([1, 0]), tensor([1, 2])])"), [2.0, 4.0]);
    assert_eq!(numbers("sum([t != 0 for t in [tensor([1, 0]), tensor([2, 3])]])"), [2.0, 1.0]);
    assert_eq!(numbers("max(1, sum([t != 0 for t in [tensor([1, 0]), tensor([2, 0])]]))"), [2.0, 1.0]);
    assert_eq!(number("1.0 * sum([1, 2, 3])"), 6.0);
    assert_eq!(number("1.0 * count([true, false, true])"), 2.0);
    assert_eq!(number("1.0 * max([1, 7, 3])"), 7.0);
    fails("sum([])", "E2501", "empty list");
    fails("norm([base[\"m\"], math[\"m\"]])", "E2001", "`norm` takes a tensor, this is a list of 2 tensors");
    fails("sum([tensor([1, 2]), tensor([3, 4])], over: rows)", "E2002", "across its members");
    fails("mean([tensor([1]), tensor([2])], weight: [1.0])", "E2501", "2 members with 1 weights");
    fails("mean([tensor([1]), tensor([2])], weight: [1.0, -1.0])", "E2502", "add up to 0");
}

#[test]
fn entry_by_entry() {
    assert_eq!(numbers("sign(tensor([-2, 0, 5]))"), [-1.0, 0.0, 1.0]);
    assert_eq!(numbers("clamp(tensor([-2, 0, 5]), -1.0, 1)"), [-1.0, 0.0, 1.0]);
    assert_eq!(numbers("where(tensor([1, 0]), tensor([5, 6]), 7)"), [5.0, 7.0]);
    assert_eq!(numbers("where(true, tensor([5, 6]), tensor([1, 2]))"), [5.0, 6.0]);
    assert_eq!(numbers("where(false, 3.0, tensor([1, 2]))"), [1.0, 2.0]);
    assert_eq!(numbers("where(true, 3.0, tensor([1, 2]))"), [3.0, 3.0]);
    assert_eq!(numbers("pow(tensor([2, 3]), 2)"), [4.0, 9.0]);
    assert_eq!(numbers("not tensor([2, 0])"), [0.0, 1.0]);
    assert_eq!(numbers("max(tensor([[1, 5]]), tensor([[3], [4]]))"), [3.0, 5.0, 4.0, 5.0]);
    assert_eq!(number("1.0 * where(1 < 2, 3, 4)"), 3.0);
    assert_eq!(number("1.0 * abs(-3)"), 3.0);
    assert_eq!(number("floor(2.7)"), 2.0);
    fails("sqrt(-1.0)", "E2502", "-1");
    fails("acos(1.5)", "E2502", "1.5");
    fails("clamp(tensor([1]), 1.0, 0.0)", "E2502", "lower bound");
    fails("tensor([1, 2]) + tensor([1, 2, 3])", "E2003", "do not agree");
    fails("where(3, 1.0, 2.0)", "E2001", "condition");
}

#[test]
fn lerp_is_exact_at_both_ends() {
    for (t, wanted) in [("0", [0.1, 3.0]), ("1", [0.7, 1e9]), ("0.5", [0.4, 500_000_001.5])] {
        let got = numbers(&format!("lerp(tensor([0.1, 3]), tensor([0.7, 1e9]), {t})"));
        assert!(got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{t}: {got:?}");
    }
    assert_eq!(numbers("lerp(tensor([1, 2]), tensor([3, 4]), tensor([0, 0.75]))"), [1.0, 3.5]);
}

#[test]
fn selection() {
    assert_eq!(numbers("keep_top(tensor([1, -3, 2, 3]), 0.5)"), [0.0, -3.0, 0.0, 3.0]);
    assert_eq!(numbers("keep_top(tensor([1, -3, 2, 3]), 0.25)"), [0.0, -3.0, 0.0, 0.0]);
    assert_eq!(numbers("keep_top(tensor([1, -3, 2, 3]), 0.25, tied: all)"), [0.0, -3.0, 0.0, 3.0]);
    assert_eq!(numbers("keep_top(tensor([1, -3, 2, 3]), 0.2, tied: all)"), [0.0; 4]);
    assert_eq!(numbers("keep_top(tensor([1, -3, 2, 3]), 0)"), [0.0; 4]);
    assert_eq!(numbers("keep_top(tensor([1, -3, 2, 3]), 1)"), [1.0, -3.0, 2.0, 3.0]);
    assert_eq!(numbers("keep_top(tensor([1, -3, 2, 3]), w)"), [0.0, -3.0, 0.0, 0.0]);
    assert_eq!(numbers("keep_top(tensor([[1, 2], [4, 3]]), 0.5, over: rows)"), [0.0, 2.0, 4.0, 0.0]);
    assert_eq!(number("keep_top(tensor(5.0), 0.9)"), 0.0);
    assert_eq!(number("kth(tensor([1, 9, 5]), 2)"), 5.0);
    assert_eq!(tensor("kth(tensor([[1, 9, 5], [2, 0, 1]]), 1, over: rows)"), (vec![2, 1], vec![9.0, 2.0]));
    assert_eq!(numbers("rank(tensor([3, 1, 2]))"), [2.0, 0.0, 1.0]);
    assert_eq!(numbers("rank(tensor([3, 1, 2]), largest_first: true)"), [0.0, 2.0, 1.0]);
    assert_eq!(numbers("rank(tensor([1, 1, 1]))"), [0.0, 1.0, 2.0]);
    fails("keep_top(tensor([1, 2]), 20)", "E2502", "within 0..=1");
    fails("kth(tensor([1, 2]), 3)", "E2502", "from 1");
    fails("kth(tensor([1, 2]), 0)", "E2502", "from 1");
    fails("keep_top([tensor([1]), tensor([2])], 0.5)", "E2001", "a list of 2 tensors");
}

#[test]
fn quantiles_follow_numpys_rules() {
    let x = "tensor([40, 10, 30, 20])";
    for (q, rule, wanted) in [
        ("0.5", "linear", 25.0),
        ("0.5", "lower", 20.0),
        ("0.5", "higher", 30.0),
        ("0.5", "midpoint", 25.0),
        ("0.4", "linear", 22.0),
        ("0.4", "nearest", 20.0),
        ("0", "linear", 10.0),
        ("1", "linear", 40.0),
        ("w", "linear", 17.5),
        ("u", "lower", 20.0),
    ] {
        close(&format!("quantile({x}, {q}, rule: {rule})"), wanted);
    }
    close(&format!("quantile({x}, 0.5)"), 25.0);
    fails(&format!("quantile({x}, 1.5)"), "E2502", "within 0..=1");
}

#[test]
fn shapes() {
    assert_eq!(tensor("transpose(tensor([[1, 2, 3]]))"), (vec![3, 1], vec![1.0, 2.0, 3.0]));
    assert_eq!(tensor("reshape(tensor([[1, 2], [3, 4]]), [4])"), (vec![4], vec![1.0, 2.0, 3.0, 4.0]));
    assert_eq!(tensor("concat([tensor([[1], [2]]), tensor([[3], [4]])], axis: 1)"), (vec![2, 2], vec![1.0, 3.0, 2.0, 4.0]));
    assert_eq!(tensor("index(tensor([[0, 0], [0, 0]]), axis: 1)"), (vec![2, 2], vec![0.0, 1.0, 0.0, 1.0]));
    assert_eq!(tensor("eye(2)"), (vec![2, 2], vec![1.0, 0.0, 0.0, 1.0]));
    assert_eq!(tensor("iota(3)"), (vec![3], vec![0.0, 1.0, 2.0]));
    assert_eq!(tensor("diag(tensor([5, -6]))"), (vec![2, 2], vec![5.0, 0.0, 0.0, -6.0]));
    assert_eq!(tensor("diag(tensor([[1, 2, 3], [4, 5, 6]]))"), (vec![2], vec![1.0, 5.0]));
    assert_eq!(tensor("diag(tensor([[1, 2], [3, 4], [5, 6]]))"), (vec![2], vec![1.0, 4.0]));
    assert_eq!(tensor("flatten(base[\"m\"])"), (vec![6], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    assert_eq!(tensor("flatten(base[\"s\"])").0, [1]);
    assert_eq!(tensor("unfold(base[\"m\"], 1)"), (vec![3, 2], vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
    assert_eq!(tensor("unfold(base[\"v\"], 0)").0, [4, 1]);
    assert_eq!(
        tensor("unfold(reshape(iota(8), [2, 2, 2]), axis: -1)"),
        (vec![2, 4], vec![0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0])
    );
    assert_eq!(number("1.0 * dim(base[\"m\"], 1)"), 3.0);
    assert_eq!(number("1.0 * numel(base[\"ids\"])"), 4.0);
    fails("reshape(tensor([1, 2, 3]), [2, 2])", "E2503", "3 entries");
    fails("transpose(tensor([1, 2]))", "E2503", "two axes");
    fails("tensor([[1, 2], [3]])", "E2503", "differ in length");
    fails("tensor([w])", "E2001", "written out");
    fails("concat([tensor([[1]]), tensor([1])], axis: 0)", "E2003", "do not agree");
    fails("concat([tensor([1])], axis: 1)", "E2005", "axis 1");
    fails("unfold(tensor([1]), 1)", "E2005", "axis 1");
    fails("diag(reshape(iota(8), [2, 2, 2]))", "E2503", "a vector or a matrix");
    fails("diag(w)", "E2503", "no axes");
    fails("iota(-1)", "E2503", "length -1");
}

#[test]
fn lists() {
    assert_eq!(number("1.0 * len([1, 2, 3])"), 3.0);
    assert_eq!(number("1.0 * div(-7, 2)"), -4.0);
    assert_eq!(number("1.0 * mod(-7, 2)"), 1.0);
    assert_eq!(number("1.0 * sum([a * b for (a, b) in zip([1, 2], [3, 4])])"), 11.0);
    assert_eq!(number("1.0 * sum([k * x for (k, x) in enumerate([5, 7])])"), 7.0);
    assert_eq!(number("1.0 * sum([a * b for (a, b) in pairs([1, 2, 3])])"), 11.0);
    assert_eq!(number("1.0 * replace([1, 2, 3], 1, 7)[1] + replace([1, 2, 3], 1, 7)[2]"), 10.0);
    let order = |seed: u32| numbers(&format!("concat([tensor([k]) for k in shuffle(0..20, seed: {seed})], axis: 0)"));
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    let mut all = order(1);
    all.sort_by(f64::total_cmp);
    assert_eq!(all, (0..20).map(f64::from).collect::<Vec<_>>());
    assert_eq!(number("1.0 * len(shuffle([]))"), 0.0);
    fails("replace([1, 2], 2, 0)[0] * 1.0", "E2005", "no member 2");
    fails("shuffle(3)[0] * 1.0", "E2001", "takes a list");
    fails("1.0 * div(1, 0)", "E2006", "zero");
    fails("sum([a * b for (a, b) in zip([1, 2], [3])])", "E2501", "equal length");
    fails("len(3)", "E2001", "takes a list");
}

#[test]
fn ramps_are_mergekits_gradients() {
    for (at, wanted) in [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.4), (4, 0.3), (8, 1.0)] {
        close(&format!("1.0 * ramp([0, 0.5, 0.3, 0.65, 1], at: {at}, of: 9)"), wanted);
    }
    close("1.0 * ramp([0, 1], at: 1, of: 4)", 1.0 / 3.0);
    close("1.0 * ramp([0.2, 1], at: 0, of: 1)", 0.2);
    close("ramp([w, u], at: 1, of: 3)", 0.375);
    fails("ramp([0.5], at: 0, of: 3)", "E2501", "one");
    fails("ramp([], at: 0, of: 3)", "E2501", "empty");
    fails("ramp([0, 1], at: 3, of: 3)", "E2502", "place 3");
    fails("ramp([0, 1], at: 0, of: 0)", "E2502", "0 places");
}

#[test]
fn random_tensors_differ_by_turn_and_repeat_by_seed() {
    let [a, b] = ["bernoulli(base[\"m\"], p: 0.5, seed: 7)", "bernoulli(math[\"m\"], p: 0.5, seed: 7)"].map(numbers);
    assert_eq!(a, b);
    assert!(a.iter().all(|x| *x == 0.0 || *x == 1.0));
    let two = numbers("concat([uniform(x, seed: 7) for x in [base[\"v\"], base[\"v\"]]], axis: 0)");
    assert_ne!(two[..4], two[4..]);
    assert!(two.iter().all(|x| (0.0..1.0).contains(x)));
    assert_eq!(numbers("bernoulli(base[\"m\"], p: 1, seed: 7)"), [1.0; 6]);
    assert_eq!(numbers("bernoulli(base[\"m\"], p: 0, seed: 7)"), [0.0; 6]);
    let wide = numbers("uniform(base[\"m\"], low: 5, high: 6.0, seed: 1)");
    assert!(wide.iter().all(|x| (5.0..6.0).contains(x)));
    assert_eq!(numbers("normal(base[\"m\"], 3.0, 0.0, seed: 1)"), [3.0; 6]);
    assert_ne!(numbers("normal(base[\"m\"], seed: 1)"), numbers("normal(base[\"m\"], seed: 2)"));
    fails("bernoulli(base[\"m\"], p: 1.5)", "E2502", "probability");
    fails("normal(base[\"m\"], 0.0, -1.0)", "E2502", "deviation");
}

#[test]
fn primitives_are_lifted_over_models() {
    weighs("mean([base, math, code])");
    weighs("base + keep_top(math - base, 0.5)");
    weighs("base + where(abs(base) < 0.5, math - base, 0)");
    weighs("mean([math, code], weight: [0.3, 0.9])");
    weighs("lerp(base, math, w)");
}

#[test]
fn degrees_follow_the_rules() {
    weighs("w * base + (1 - w) * math");
    weighs("sum([s * m for (s, m) in zip([w, u, 0.3], [base, math, code])]) / sum([w, u, 0.3])");
    weighs("0.7 * base + 0.3 * math");
    weighs("(0.1 + 0.2) * base + 0.7 * math");
    weighs("ramp([w, u], at: 1, of: 4) * base + (1 - ramp([w, u], at: 1, of: 4)) * math");
    weighs("mean([base, math]) + norm(math - base) * (code - base)");
    assert_eq!(as_weight("math + code"), ["E2101"]);
    assert_eq!(as_weight("math - base"), ["E2102"]);
    assert_eq!(as_weight("w * base + u * math"), ["E2103"]);
    assert_eq!(as_weight("where(math > 0, math, 0)"), ["E2104"]);
    // Where a tensor has no axes, the factor counts as a coefficient.
    assert_eq!(as_weight("base * abs(math)"), ["E2106", "E2103"]);
    assert_eq!(as_weight("base * math"), ["E2105"]);
    assert_eq!(as_weight("clamp(base, 0.0, 1.0)"), ["E2106"]);
    assert_eq!(as_weight("base + base + w * (base - math)"), ["E2101"]);
}

#[test]
fn scalars_that_share_parts_stay_cheap() {
    let twice = |turns: u32| format!("fold y = w for k in 0..{turns} {{ y + y }}");
    assert_eq!(number(&format!("floor({}) * 0.0", twice(60))), 0.0);
    assert_eq!(numbers(&format!("keep_top(tensor([1, 2]), clamp({}, 0.0, 1.0))", twice(60))), [1.0, 2.0]);
    // A formula that grows too long becomes a name of its own.
    assert_eq!(as_weight("(fold y = w for k in 0..12 { y * (y + u) }) * base"), ["E2103"]);
}

#[test]
fn statistics_have_no_degree_but_weigh() {
    assert_eq!(as_weight("base + fisher"), ["E2107"]);
    weighs("mean([base, math], weight: [fisher, 1.0])");
    weighs("base + fisher * (math - base)");
}

#[test]
fn folds_stop_at_what_the_run_finds() {
    // 8 4 2 1: the state of the first turn after which it holds stays.
    let halved = "fold x = tensor([8, 0]) for k in 0..9 until max(x) < 2";
    assert_eq!(numbers(&format!("{halved} {{ x / 2 }}")), [1.0, 0.0]);
    assert_eq!(
        numbers(
            "{ let (xs, n) = fold (xs, n) = ([tensor([8]), tensor([1, 1])], 0.0) for k in 0..9 until n >= 2 {
            ([x * (k + 2) for x in xs], n + max(xs[0]) / 16) } xs[1] }"
        ),
        [24.0, 24.0]
    );
    // What is known beforehand costs nothing.
    let done = elaborated("save { \"y\": fold x = base[\"v\"] for k in 0..3 until 1.0 < 0.5 { x + 1 } } to \"out\"");
    assert!(!done.graph.nodes().any(|(_, n)| matches!(n.op, merge_ir::tir::Op::Select(..))));
    fails(&format!("{} {{ x / 2 }}", halved.replace("max(x)", "x")), "E2004", "one yes or no");
    fails("fold x = base[\"v\"] for k in 0..3 until \"a\" { x }", "E2001", "a string");
    fails("{ let (x, s) = fold (x, s) = (w, \"a\") for k in 0..3 until x < sum(base[\"v\"]) { (x, s) } x }", "E4001", "`until`");
}

#[test]
fn ints_of_a_file_are_masks_and_places() {
    assert_eq!(numbers("where(base[\"ids\"], base[\"v\"], 0)"), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(numbers("take(tensor([5, 6, 7, 8, 9]), base[\"ids\"], axis: 0)"), [6.0, 7.0, 8.0, 9.0]);
    assert_eq!(numbers("unpack(base[\"ids\"], tensor([1, 2, 3, 9]))"), [1.0, 2.0, 3.0, 9.0]);
    fails("where(base[\"v\"], base[\"ids\"], 0)", "E2010", "not floats");
    fails("unpack(base[\"v\"], base[\"ids\"])", "E2010", "not floats");
    weighs("base + where(base, math - base, 0)");
    // Moved, they stay what they are.
    assert_eq!(numbers("where(reshape(base[\"ids\"], [2, 2])[0, ..], 1, 0)"), [1.0, 1.0]);
    assert_eq!(numbers("concat([base[\"ids\"], math[\"ids\"]], axis: 0)").len(), 8);
    fails("concat([base[\"ids\"], base[\"v\"]], axis: 0)", "E2010", "not floats");
    fails("flatten(base[\"ids\"]) + 1", "E2010", "not floats");
}

#[test]
fn buffers_are_not_blended() {
    let all = said("save like base { _ => mean([base, math]) } to \"out\"");
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].0 == "E2010" && all[0].1.contains("ids"), "{all:?}");
}
