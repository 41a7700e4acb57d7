//! From a degree that is not the wanted one to a diagnostic: E2101 to E2107, and W2108.

use super::{Atom, Degree, Frac, Why};
use merge_base::{Code, Diagnostic, Span};

/// Not a weight (or delta): the degree is known and another one.
pub const E2101: Code = Code("E2101");
/// A delta where a weight is needed, or the other way round.
pub const E2102: Code = Code("E2102");
/// The degree is right only for some values of the settings.
pub const E2103: Code = Code("E2103");
/// Branches, or members of a mean, differ in degree.
pub const E2104: Code = Code("E2104");
/// A weight times a tensor has no degree.
pub const E2105: Code = Code("E2105");
/// The degree cannot be proved: a function that is not linear.
pub const E2106: Code = Code("E2106");
/// Statistics where a weight or a delta is needed.
pub const E2107: Code = Code("E2107");
/// `as` where the degree is already proved.
pub const W2108: Code = Code("W2108");

/// What a place asks for.
#[derive(Clone, Debug)]
pub enum Wanted {
    Weight,
    Delta,
    /// The degree of another `affine` of the same signature.
    Same(Frac),
}

impl Wanted {
    /// Whether `found` is it.
    pub fn is_met_by(&self, found: &Degree) -> bool {
        match self {
            Wanted::Weight => found.is_weight(),
            Wanted::Delta => found.is_delta(),
            Wanted::Same(frac) => found.known().is_some_and(|f| f.equals(frac)),
        }
    }

    fn noun(&self) -> &'static str {
        match self {
            Wanted::Weight => "a weight",
            Wanted::Delta => "a delta",
            Wanted::Same(_) => "of the degree of the other `affine` arguments",
        }
    }

    fn degree(&self) -> Frac {
        match self {
            Wanted::Weight => Frac::one(),
            Wanted::Delta => Frac::zero(),
            Wanted::Same(frac) => frac.clone(),
        }
    }
}

/// The diagnostic for a value at `span` whose degree is not the wanted one. `asker` says who wants it
/// ("a rule of `like base`", "`base` of `ties`"); `name` spells atoms.
pub fn mismatch(found: &Degree, wanted: &Wanted, asker: &str, span: Span, name: &dyn Fn(Atom) -> String) -> Diagnostic {
    match found {
        Degree::Known(degree) => known(degree, wanted, asker, span, name),
        Degree::Lost(lost) => {
            let noun = wanted.noun();
            match &lost.why {
                Why::Statistics => at(
                    E2107,
                    format!("{asker} needs {noun}; this is made from statistics, which have no degree"),
                    span,
                    lost.span,
                    "this holds statistics",
                )
                .help("statistics weigh a mean: `mean([a, b], weight: [fisher_a, fisher_b])`")
                .help("if the file holds differences of weights, open it with `deltas(..)`; if it holds weights, with `checkpoint(..)`"),
                Why::TensorProduct => at(
                    E2105,
                    format!("{asker} needs {noun}; a weight times (or divided by) a tensor has no degree"),
                    span,
                    lost.span,
                    "the product is made here",
                )
                .help("`lerp(a, b, t)` mixes two weights by a tensor `t` and stays a weight; `mean(list, weight: tensors)` does for many")
                .help("a tensor may multiply a difference freely: `base + t * (a - base)`")
                .help("if merging a model with itself gives it back, promise it: `.. as weight`"),
                Why::Branches(members) => {
                    let mut d = Diagnostic::new(
                        E2104,
                        format!("{asker} needs {noun}; the parts chosen or averaged here differ in degree"),
                        span,
                        "",
                    );
                    for (place, degree) in members {
                        d = d.label(*place, describe(degree, name));
                    }
                    d.help("choose between values of one kind: `where(mask, math, base)` rather than `where(mask, math, 0)`")
                }
                Why::Function(function) => at(
                    E2106,
                    format!("{asker} needs {noun}; that cannot be proved behind `{function}`, which is not linear"),
                    span,
                    lost.span,
                    &format!("`{function}` of something that moves with the checkpoints"),
                )
                .help(promise(wanted))
                .help(format!("or use `{function}` on differences, such as `m - base`, and add the result to a weight")),
                Why::DividedByZero => at(
                    E2106,
                    format!("{asker} needs {noun}; this is divided by 0"),
                    span,
                    lost.span,
                    "the divisor is 0",
                )
                .help("divide by something that is not 0"),
                Why::TooLarge => at(
                    E2106,
                    format!("{asker} needs {noun}; the formula of its degree is too long to be checked"),
                    span,
                    lost.span,
                    "it outgrew the checker here",
                )
                .help("`mean(list, weight: weights)` normalises without a long formula")
                .help(promise(wanted)),
            }
        }
    }
}

/// `e as weight` where that is proved already.
pub fn already_proved(role: &str, span: Span, role_span: Span) -> Diagnostic {
    Diagnostic::new(
        W2108,
        format!("this is proved to be a {role} already; `as` would hide later mistakes"),
        role_span,
        "not needed",
    )
    .label(span, format!("its degree is that of a {role}"))
    .help(format!("remove `as {role}`"))
}

fn known(degree: &Frac, wanted: &Wanted, asker: &str, span: Span, name: &dyn Fn(Atom) -> String) -> Diagnostic {
    let text = degree.text(name);
    match wanted {
        Wanted::Weight if degree.is_zero() => {
            return Diagnostic::new(
                E2102,
                format!("{asker} needs a weight; this is a delta"),
                span,
                "degree 0: a difference of weights",
            )
            .help("add it to a weight: `base + (math - base)`")
            .help("a delta may be saved on its own: `save math - base to \"difference\"`");
        }
        Wanted::Delta if degree.is_one() => {
            return Diagnostic::new(E2102, format!("{asker} needs a delta; this is a weight"), span, "degree 1: a weight")
                .help("subtract what it was tuned from: `math - base`");
        }
        _ => {}
    }
    let (noun, target) = (wanted.noun(), wanted.degree().text(name));
    if let Some(value) = degree.as_constant() {
        let d = Diagnostic::new(
            E2101,
            match wanted {
                Wanted::Same(_) => format!("{asker}: this has degree {text}, the other `affine` arguments have {target}"),
                _ => format!("{asker} needs {noun}, which has degree {target}; this has degree {text}"),
            },
            span,
            format!("degree {text}"),
        );
        return match wanted {
            Wanted::Weight if value == 2.0 => d.help("average: `mean([a, b])`").help("or add a difference: `a + (b - base)`"),
            Wanted::Weight if value == -1.0 => d.help("a difference goes with a weight: `base + (base - a)`"),
            Wanted::Weight => d
                .help("add differences, `target + 0.3 * (chat - base)`: a difference has degree 0")
                .help("or let the coefficients add to 1: `0.7 * target + 0.3 * chat`"),
            Wanted::Delta => d.help("a difference of two weights is a delta: `math - base`"),
            Wanted::Same(_) => d.help("pass weights only, or differences only"),
        };
    }
    if !degree.is_polynomial() {
        return Diagnostic::new(
            E2106,
            format!("{asker} needs {noun}; that cannot be proved: its degree is {text}"),
            span,
            format!("degree {text}"),
        )
        .help(promise(wanted))
        .help("coefficients that are divided by their sum, `w / (w + v)`, are proved");
    }
    let offset = degree.sub(&wanted.degree()).map(|rest| rest.text(name)).unwrap_or_default();
    if text.starts_with("1 + ") && matches!(wanted, Wanted::Weight) {
        return Diagnostic::new(
            E2101,
            format!("{asker} needs a weight, which has degree 1; this has degree {text}"),
            span,
            format!("{offset} too much"),
        )
        .help("weights are added to a weight here; add differences: `base + w * (m - base)`");
    }
    Diagnostic::new(
        E2103,
        format!("{asker} needs {noun}; this has degree {text}, which is {target} only for some settings"),
        span,
        format!("degree {text}"),
    )
    .help("`lerp(a, b, t)` is a weight for every `t`")
    .help(format!("or divide by the sum of the coefficients: `(..) / ({text})`"))
}

fn at(code: Code, message: String, span: Span, cause: Span, why: &str) -> Diagnostic {
    if cause == span {
        return Diagnostic::new(code, message, span, why);
    }
    Diagnostic::new(code, message, span, "").label(cause, why)
}

fn promise(wanted: &Wanted) -> String {
    let role = match wanted {
        Wanted::Weight => "weight",
        Wanted::Delta => "delta",
        Wanted::Same(_) => "affine",
    };
    match wanted {
        Wanted::Delta => "if it is 0 when all models are the same, promise it: `.. as delta`".to_string(),
        _ => format!("if merging a model with itself gives it back, promise it: `.. as {role}`"),
    }
}

/// `a weight (degree 1)`, `degree 0.3`, `no degree`.
fn describe(degree: &Degree, name: &dyn Fn(Atom) -> String) -> String {
    match degree {
        Degree::Known(f) if f.is_one() => "degree 1, a weight".into(),
        Degree::Known(f) if f.is_zero() => "degree 0, a number or a delta".into(),
        Degree::Known(f) => format!("degree {}", f.text(name)),
        Degree::Lost(_) => "no degree".into(),
    }
}
