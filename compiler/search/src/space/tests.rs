//! Sizes against brute force and the numbers of the reference implementation; ranks as a bijection; identity.

use super::*;
use num_bigint::BigUint;
use std::collections::BTreeSet;

fn seq(b: &mut SpaceBuilder, parts: &[TreeId]) -> TreeId {
    b.all(parts.iter().copied())
}

fn list(b: &mut SpaceBuilder, name: &str, n: usize) -> TreeId {
    b.decide(name, Domain::ordered((0..n).map(|i| i.to_string())), None)
}

/// `inner` or nothing.
fn optional(b: &mut SpaceBuilder, name: &str, inner: TreeId) -> TreeId {
    let unit = b.unit();
    b.arms(name, [("off", unit), ("on", inner)], None)
}

/// `inner` as many times as one of the counts says, each with decisions of its own.
fn repeat(b: &mut SpaceBuilder, name: &str, inner: TreeId, counts: &[usize]) -> TreeId {
    let branches = counts
        .iter()
        .map(|count| {
            let copies: Vec<TreeId> = (0..*count).map(|i| b.scope(format!("{name}[{i}]"), inner)).collect();
            b.all(copies)
        })
        .collect();
    b.decide_then(name, Domain::ordered(counts.iter().map(usize::to_string)), None, Then::Each(branches))
}

/// DeepArchitect's `tfref_convnet_ss0`, `deepconv`, `resnet_ss0`, and FlexiBERT, as its papers' code has them.
pub(crate) fn resnet() -> Space {
    let mut b = SpaceBuilder::new();
    let conv = [list(&mut b, "filters", 6), list(&mut b, "len", 3)];
    let swap = list(&mut b, "swap", 2);
    let times = list(&mut b, "times", 3);
    let tied = seq(&mut b, &[times, conv[0], conv[1], swap]);
    let tied = b.scope("tied", tied);
    let tail = [list(&mut b, "filters", 6), list(&mut b, "len", 3), list(&mut b, "stride", 3)];
    let keep = list(&mut b, "keep", 2);
    let drop = optional(&mut b, "drop", keep);
    let block = seq(&mut b, &[tied, tail[0], tail[1], tail[2], drop]);
    let stage = repeat(&mut b, "block", block, &[1, 2, 4, 8]);
    let pool = list(&mut b, "pool", 2);
    let second = b.scope("second", stage);
    let second = seq(&mut b, &[pool, second]);
    let second = optional(&mut b, "more", second);
    let first = b.scope("first", stage);
    let root = seq(&mut b, &[first, second]);
    b.finish(root).unwrap()
}

fn brute_force(space: &Space) -> usize {
    let mut count = 0;
    let mut trail: Vec<(u64, u64)> = vec![];
    loop {
        let mut at = 0;
        space.walk(&mut |decision| {
            if at == trail.len() {
                trail.push((0, decision.domain.small_count().unwrap()));
            }
            at += 1;
            decision.domain.unrank(trail[at - 1].0.into())
        });
        count += 1;
        while trail.last().is_some_and(|(index, values)| index + 1 == *values) {
            trail.pop();
        }
        match trail.last_mut() {
            Some((index, _)) => *index += 1,
            None => return count,
        }
    }
}

/// Every rank gives another candidate, whose rank it is, and whose JSON leads back to it.
fn check_bijection(space: &Space) {
    let count = usize::try_from(space.count()).unwrap();
    assert_eq!(count, brute_force(space));
    let mut seen = BTreeSet::new();
    for rank in 0..count {
        let rank = BigUint::from(rank);
        let assignment = space.unrank(&rank).unwrap();
        assert_eq!(space.rank(&assignment), Ok(rank));
        let json = space.to_json(&assignment);
        assert_eq!(space.from_json(&json), Ok(assignment));
        seen.insert(json.to_string());
    }
    assert_eq!(seen.len(), count);
    assert_eq!(space.unrank(&count.into()), None);
}

#[test]
fn sizes_are_those_of_the_reference() {
    let mut b = SpaceBuilder::new();
    let parts: Vec<TreeId> = [5, 3, 5, 3, 3, 3].iter().enumerate().map(|(i, n)| list(&mut b, &format!("d{i}"), *n)).collect();
    let root = seq(&mut b, &parts);
    assert_eq!(b.finish(root).unwrap().size().to_string(), "2025");

    let mut b = SpaceBuilder::new();
    let conv = [list(&mut b, "filters", 6), list(&mut b, "len", 3)];
    let keep = list(&mut b, "keep", 2);
    let drop = optional(&mut b, "drop", keep);
    let inner = [list(&mut b, "times", 6), list(&mut b, "f", 6), list(&mut b, "k", 2), list(&mut b, "swap", 2), drop];
    let module = seq(&mut b, &inner);
    let module = b.scope("module", module);
    let stage = seq(&mut b, &[conv[0], conv[1], module]);
    let stages = [b.scope("one", stage), b.scope("two", stage)];
    let net = seq(&mut b, &stages);
    let training = list(&mut b, "training", 4096);
    let whole = seq(&mut b, &[net, training]);
    assert_eq!(b.finish(whole).unwrap().size().skeletons(), BigUint::from(60_466_176u64 * 4096));

    let resnet = resnet().size().to_string();
    assert_eq!((resnet.len(), &resnet[..3]), (69, "154"), "1.54e68: {resnet}");

    let mut b = SpaceBuilder::new();
    let unit = b.unit();
    let two = |b: &mut SpaceBuilder, name: &str| list(b, name, 2);
    let arms = ["score", "basis", "width"].map(|name| two(&mut b, name));
    let op = b.arms("op", [("attention", arms[0]), ("linear", arms[1]), ("conv", arms[2])], None);
    let ffn = two(&mut b, "hidden");
    let stack = repeat(&mut b, "stack", ffn, &[1, 3]);
    let layer = [two(&mut b, "h"), two(&mut b, "heads"), op, stack, unit];
    let layer = seq(&mut b, &layer);
    let depth = repeat(&mut b, "layer", layer, &[2, 4]);
    assert_eq!(b.finish(depth).unwrap().size().to_string(), "3317817600");
}

#[test]
fn ranks_are_a_bijection() {
    let mut b = SpaceBuilder::new();
    let one = list(&mut b, "one", 2);
    let single = list(&mut b, "single", 1);
    let leaf = seq(&mut b, &[one, single]);
    let first = optional(&mut b, "first", leaf);
    let alone = list(&mut b, "alone", 1);
    let or = b.arms("or", [("a", one), ("b", alone)], None);
    let second = repeat(&mut b, "rep", or, &[1, 2]);
    let root = seq(&mut b, &[first, second]);
    let small = b.finish(root).unwrap();
    assert_eq!(small.size().to_string(), "36", "3 * (3 + 9), as in the reference");
    check_bijection(&small);

    let mut b = SpaceBuilder::new();
    let order = b.decide("order", Domain::Order { n: 3 }, None);
    let set = b.decide("set", Domain::Subset { n: 4, low: 1, high: 2 }, None);
    let branches = (0..3).map(|n| [b.unit(), order, set][n]).collect();
    let root = b.decide_then("n", Domain::Int { low: 7, high: 9, log: false }, None, Then::Each(branches));
    let each = b.finish(root).unwrap();
    assert_eq!(each.size().to_string(), (1 + 6 + 10).to_string());
    check_bijection(&each);
}

#[test]
fn a_decision_shared_between_arms_is_asked_once() {
    // method per (group, part), density per group: asked if either part takes ties.
    let groups = 20;
    let mut b = SpaceBuilder::new();
    let mut parts = vec![];
    for part in ["attn", "mlp"] {
        let inner: Vec<TreeId> = (0..groups)
            .map(|g| {
                let density = list(&mut b, &format!("density[{g}]"), 5);
                let unit = b.unit();
                let name = format!("method[{g}, {part}]");
                b.decide_then(name, Domain::members(["ties", "keep"]), None, Then::Each(vec![density, unit]))
            })
            .collect();
        parts.push(seq(&mut b, &inner));
    }
    let root = seq(&mut b, &parts);
    let space = b.finish(root).unwrap();
    assert_eq!(space.size().skeletons(), BigUint::from(16u32).pow(groups), "3 * 5 + 1 for each group");
    assert!(space.nodes.len() < 10 * groups as usize, "the groups stay apart: {}", space.nodes.len());
}

#[test]
fn what_depends_on_a_decision_in_two_places_follows_one_answer() {
    let mut b = SpaceBuilder::new();
    let unit = b.unit();
    let (x, y, z) = (list(&mut b, "x", 2), list(&mut b, "y", 3), list(&mut b, "z", 4));
    let yes = Domain::members(["yes", "no"]);
    // The same path three times: with a branch, with another branch, and with none; and once below itself.
    let first = b.decide_then("c", yes.clone(), None, Then::Each(vec![x, unit]));
    let below = b.decide_then("c", yes.clone(), None, Then::Each(vec![y, z]));
    let second = b.decide_then("c", yes.clone(), None, Then::Each(vec![unit, below]));
    let third = b.decide("c", yes.clone(), None);
    for order in [[first, second, third], [third, second, first]] {
        let mut b = SpaceBuilder { trees: b.trees.clone(), known: b.known.clone() };
        let root = b.add(Tree::All(order.to_vec()));
        let space = b.finish(root).unwrap();
        assert_eq!(space.size().to_string(), "6", "yes: x; no: z");
        check_bijection(&space);
    }
    let other = b.decide("c", Domain::members(["a", "b", "c"]), None);
    let root = b.add(Tree::All(vec![first, other]));
    let error = b.finish(root).unwrap_err();
    assert!(matches!(&error, SpaceError::TwoDomains { path, .. } if path == "c"), "{error}");
}

#[test]
fn reals_are_counted_apart() {
    let mut b = SpaceBuilder::new();
    let unit = b.unit();
    let real = b.decide("w", Domain::Real { low: 0.0, high: 1.0, log: false }, Some(Value::Real(0.25)));
    let simplex = b.decide("s", Domain::Simplex { n: 3 }, None);
    let both = seq(&mut b, &[real, simplex]);
    let list = list(&mut b, "l", 4);
    let root = b.arms("arm", [("none", unit), ("one", real), ("both", both), ("list", list)], None);
    let space = b.finish(root).unwrap();
    assert_eq!(space.size().to_string(), "5 + 1 x R + 1 x R^3");
    assert_eq!(*space.count(), 7u32.into());
    let one = space.unrank(&1u32.into()).unwrap();
    assert_eq!(space.to_json(&one).to_string(), r#"{"arm":"one","arm.one.w":0.25}"#);
    assert_eq!(space.rank(&one), Ok(1u32.into()));
}

#[test]
fn identity_is_the_path_and_not_how_the_tree_was_built() {
    let build = |dotted: bool, default: f64, extra: bool| {
        let mut b = SpaceBuilder::new();
        if extra {
            list(&mut b, "unused", 9);
        }
        let domain = Domain::Real { low: 0.0, high: 1.0, log: false };
        let name = if dotted { "candidate.w" } else { "w" };
        let mut root = b.decide(name, domain, Some(Value::Real(default)));
        if !dotted {
            root = b.scope("candidate", root);
        }
        b.finish(root).unwrap()
    };
    let space = build(false, 0.5, false);
    assert_eq!(space.hash(), build(true, 0.5, true).hash());
    assert_ne!(space.hash(), build(true, 0.25, true).hash());
    assert_eq!(space.hash().len(), 64);
    let json = serde_json::to_string(&resnet()).unwrap();
    let again: Space = serde_json::from_str(&json).unwrap();
    assert_eq!(again.hash(), resnet().hash());
}

#[test]
fn misfits_say_what_is_wrong() {
    let mut b = SpaceBuilder::new();
    let inner = list(&mut b, "d", 3);
    let root = optional(&mut b, "m", inner);
    let space = b.finish(root).unwrap();
    let read = |text: &str| space.from_json(&serde_json::from_str(text).unwrap()).map_err(|e| e.to_string());
    assert!(read(r#"{"m": "off"}"#).is_ok());
    assert!(read(r#"{"m": "on", "m.on.d": 2}"#).is_ok());
    assert!(read(r#"{"m": "on"}"#).unwrap_err().contains("`m.on.d` is not answered"));
    assert!(read(r#"{"m": "off", "m.on.d": 2}"#).unwrap_err().contains("not taken"));
    assert!(read(r#"{"m": "offf"}"#).unwrap_err().contains("[off, on]"));
    assert!(read(r#"{"m": "off", "q": 1}"#).unwrap_err().contains("no decision `q`"));
    assert!(read("3").unwrap_err().contains("JSON object"));
}

#[test]
fn spaces_that_make_no_sense_are_refused() {
    let finish = |domain: Domain, default: Option<Value>, branches: usize| {
        let mut b = SpaceBuilder::new();
        let unit = b.unit();
        let root = b.decide_then("d", domain, default, Then::Each(vec![unit; branches]));
        b.finish(root).unwrap_err().to_string()
    };
    assert!(finish(Domain::members::<String>([]), None, 0).contains("empty"));
    assert!(finish(Domain::members(["a"]), None, 2).contains("1 values but 2"));
    assert!(finish(Domain::members(["a"]), Some(Value::Member(1)), 1).contains("default"));
    assert!(finish(Domain::Real { low: 0.0, high: 1.0, log: false }, None, 1).contains("infinitely many"));
    let circle = r#"{"trees": [{"scope": {"segment": "a", "inner": 0}}], "root": 0}"#;
    assert!(serde_json::from_str::<Space>(circle).unwrap_err().to_string().contains("tree 0"));
}

#[test]
fn a_walk_of_a_very_large_space_is_quick() {
    let space = resnet();
    let start = std::time::Instant::now();
    for i in 0..100u32 {
        let rank = space.count() * i / 100u32;
        assert_eq!(space.rank(&space.unrank(&rank).unwrap()), Ok(rank));
    }
    let per_walk = start.elapsed() / 200;
    assert!(per_walk.as_millis() < 20, "unoptimised: {per_walk:?}");
}

/// One candidate in the first arm, ten in the second.
pub(crate) fn skewed() -> Space {
    let mut b = SpaceBuilder::new();
    let (unit, ten) = (b.unit(), list(&mut b, "ten", 10));
    let root = b.arms("arm", [("one", unit), ("ten", ten)], None);
    b.finish(root).unwrap()
}
