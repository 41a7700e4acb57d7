use super::explain::{Wanted, already_proved, mismatch};
use super::*;
use merge_base::FileId;

fn span(at: usize) -> Span {
    Span::new(FileId(0), at, at + 1)
}

fn name(a: Atom) -> String {
    ["w", "v", "u", "t"][a.0 as usize].to_string()
}

fn weight() -> Degree {
    Degree::weight()
}

fn delta() -> Degree {
    Degree::delta()
}

fn dec(text: &str) -> Frac {
    Frac::decimal(text).unwrap()
}

fn atom(k: u32) -> Frac {
    Frac::atom(Atom(k))
}

fn lost(d: &Degree) -> &Why {
    match d {
        Degree::Lost(l) => &l.why,
        Degree::Known(f) => panic!("known: {}", f.text(&name)),
    }
}

fn code_of(found: &Degree) -> String {
    mismatch(found, &Wanted::Weight, "`save`", span(9), &name).code.0.to_string()
}

#[test]
fn sums_and_differences_add_and_subtract() {
    assert!(weight().sub(&weight(), span(0)).is_delta());
    assert!(weight().add(&delta(), span(0)).is_weight());
    assert_eq!(weight().add(&weight(), span(0)).text(&name), "2");
    assert!(weight().neg(span(0)).same(&Degree::Known(Frac::int(-1))));
}

#[test]
fn decimal_coefficients_are_exact() {
    let mixed = weight().scale(&dec("0.7"), span(0)).add(&weight().scale(&dec("0.3"), span(0)), span(0));
    assert!(mixed.is_weight());
    let three = ["0.1", "0.2", "0.7"].iter().fold(delta(), |d, k| d.add(&weight().scale(&dec(k), span(0)), span(0)));
    assert!(three.is_weight());
}

#[test]
fn settings_are_polynomials() {
    let w = atom(0);
    let rest = Frac::one().sub(&w).unwrap();
    let mix = weight().scale(&w, span(0)).add(&weight().scale(&rest, span(0)), span(0));
    assert!(mix.is_weight());
    let sum = w.add(&atom(1)).unwrap();
    let normalised = weight().scale(&w, span(0)).add(&weight().scale(&atom(1), span(0)), span(0)).divide(&sum, span(0));
    assert!(normalised.is_weight());
}

#[test]
fn what_multiplies_a_delta_gives_a_delta() {
    assert!(weight().product_by_tensor(&delta(), span(0)).is_delta());
    assert!(delta().product_by_tensor(&Degree::statistics(span(1)), span(0)).is_delta());
    assert!(matches!(lost(&weight().product_by_tensor(&weight(), span(0))), Why::TensorProduct));
    assert!(matches!(lost(&weight().product_by_tensor(&Degree::statistics(span(1)), span(0))), Why::Statistics));
    assert!(delta().quotient_by_tensor(&weight(), span(0)).is_delta());
    assert!(matches!(lost(&weight().quotient_by_tensor(&delta(), span(0))), Why::TensorProduct));
}

#[test]
fn branches_have_the_common_degree_or_none() {
    assert!(Degree::join(&[(span(1), weight()), (span(2), weight())], span(0)).is_weight());
    assert!(Degree::join(&[], span(0)).is_delta());
    let differ = Degree::join(&[(span(1), weight()), (span(2), delta())], span(0));
    assert!(matches!(lost(&differ), Why::Branches(m) if m.len() == 2));
}

#[test]
fn functions_keep_zero_and_lose_the_rest() {
    assert!(Degree::function_of("sign", [&delta(), &delta()], span(0)).is_delta());
    assert!(Degree::function_of("norm", [], span(0)).is_delta());
    assert!(matches!(lost(&Degree::function_of("sign", [&weight()], span(0))), Why::Function("sign")));
    let kept = Degree::function_of("sign", [&weight(), &Degree::statistics(span(3))], span(0));
    assert!(matches!(lost(&kept), Why::Statistics));
}

#[test]
fn dividing_by_the_number_zero_has_no_degree() {
    assert!(matches!(lost(&weight().divide(&Frac::zero(), span(0))), Why::DividedByZero));
    assert!(delta().divide(&Frac::zero(), span(0)).is_delta());
}

#[test]
fn lost_degrees_agree_with_each_other_only() {
    let stat = Degree::statistics(span(0));
    assert!(stat.agrees(&stat) && !stat.same(&stat) && !stat.agrees(&weight()));
}

// The ten messages of the design, in its order.

#[test]
fn message_1_two_weights_added() {
    let d = mismatch(&weight().add(&weight(), span(0)), &Wanted::Weight, "`save`", span(0), &name);
    assert_eq!((d.code.0, d.message.as_str()), ("E2101", "`save` needs a weight, which has degree 1; this has degree 2"));
    assert!(d.helps[0].contains("mean([a, b])") && d.helps[1].contains("a + (b - base)"));
}

#[test]
fn message_2_a_delta_where_a_weight_is_needed() {
    let d = mismatch(&weight().sub(&weight(), span(0)), &Wanted::Weight, "a rule of `like base`", span(0), &name);
    assert_eq!((d.code.0, d.message.as_str()), ("E2102", "a rule of `like base` needs a weight; this is a delta"));
    assert_eq!(mismatch(&weight(), &Wanted::Delta, "`x`", span(0), &name).code.0, "E2102");
}

#[test]
fn message_3_coefficients_that_do_not_add_to_one() {
    let d = weight().scale(&dec("0.5"), span(0)).add(&weight().scale(&dec("0.6"), span(0)), span(0));
    assert_eq!(d.text(&name), "1.1");
    assert_eq!(code_of(&d), "E2101");
}

#[test]
fn message_4_right_for_some_settings_only() {
    let d = weight().scale(&atom(0), span(0)).add(&weight().scale(&atom(1), span(0)), span(0));
    let said = mismatch(&d, &Wanted::Weight, "`save`", span(0), &name);
    assert_eq!(said.code.0, "E2103");
    assert!(said.message.contains("degree w + v, which is 1 only for some settings"), "{}", said.message);
    assert!(said.helps[1].contains("(w + v)"));
}

#[test]
fn message_5_weights_added_to_a_weight() {
    let d = weight().add(&weight().scale(&atom(0), span(0)), span(0)).add(&weight().scale(&atom(1), span(0)), span(0));
    let said = mismatch(&d, &Wanted::Weight, "`save`", span(0), &name);
    assert_eq!((said.code.0, said.labels[0].message.as_str()), ("E2101", "w + v too much"));
    assert!(said.helps[0].contains("m - base"));
}

#[test]
fn message_6_branches_that_differ() {
    let d = Degree::join(&[(span(1), weight()), (span(2), delta())], span(0));
    let said = mismatch(&d, &Wanted::Weight, "`save`", span(9), &name);
    assert_eq!(said.code.0, "E2104");
    assert_eq!(said.labels[1].message, "degree 1, a weight");
    assert_eq!(said.labels[2].message, "degree 0, a number or a delta");
}

#[test]
fn message_7_a_weight_times_a_tensor() {
    let t = Degree::function_of("cosine", [&weight()], span(4));
    let product = weight().product_by_tensor(&weight(), span(0));
    assert_eq!(code_of(&product), "E2105");
    // The factor's own cause comes first where it has none.
    assert_eq!(code_of(&weight().product_by_tensor(&t, span(0))), "E2106");
}

#[test]
fn message_8_slerp_without_a_promise() {
    let arc = weight().scale(&atom(0), span(0)).add(&weight().scale(&atom(1), span(0)), span(0)).divide(&atom(2), span(0));
    assert_eq!(arc.text(&name), "(w + v)/u");
    let said = mismatch(&arc, &Wanted::Same(Frac::one()), "the result of `slerp`", span(0), &name);
    assert_eq!(said.code.0, "E2106");
    assert!(said.helps[0].contains("as affine"));
}

#[test]
fn message_9_statistics_added_to_a_weight() {
    let d = weight().add(&Degree::statistics(span(3)), span(0));
    let said = mismatch(&d, &Wanted::Weight, "`save`", span(0), &name);
    assert_eq!(said.code.0, "E2107");
    assert!(said.helps[0].contains("mean("));
}

#[test]
fn message_10_a_promise_that_is_not_needed() {
    let d = already_proved("weight", span(0), span(1));
    assert!(!d.is_error());
    assert_eq!(d.code.0, "W2108");
}
