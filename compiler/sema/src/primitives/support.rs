//! What all primitives share: reading arguments, naming things in messages, scalars as coefficients.

use crate::codes::{absent, primitives as codes, types};
use crate::degree::Degree;
use crate::elaborate::Cx;
use crate::hir::BinaryOp;
use crate::value::{Args, Argument, Reported, TensorVal, Value};
use merge_abi::RandomKey;
use merge_base::{Diagnostic, Span};
use merge_ir::tir::Over;
use std::rc::Rc;

/// What a value is, for messages: `a tensor [8, 16]`, `a list of 3 tensors`, `the number 0.5`.
pub fn describe(cx: &Cx, value: &Value) -> String {
    match value {
        Value::Int(n) => format!("the int {}", u64::try_from(*n).map_or(n.to_string(), |n| cx.show_length(n))),
        Value::Bool(b) => format!("`{b}`"),
        Value::Str(s) => format!("the string \"{s}\""),
        Value::Word(w) => format!("the word `{w}`"),
        Value::Tensor(t) => match (constant(cx, t), cx.graph.shape(t.node).is_empty()) {
            (Some(v), _) => format!("the number {v}"),
            (None, true) => "a number".into(),
            (None, false) => format!("a tensor {}", cx.show_shape(cx.graph.shape(t.node))),
        },
        Value::List(l) if l.is_empty() => "an empty list".into(),
        Value::List(l) => {
            let member = &l[0];
            let noun = match member {
                Value::Int(_) => "int",
                Value::Bool(_) => "bool",
                Value::Str(_) => "string",
                Value::Tensor(t) if cx.graph.shape(t.node).is_empty() => "number",
                Value::Tensor(_) => "tensor",
                Value::Model(_) => "model",
                Value::Tuple(_) => "tuple",
                Value::List(_) => "list",
                _ => "value",
            };
            format!("a list of {} {noun}{}", l.len(), if l.len() == 1 { "" } else { "s" })
        }
        Value::Tuple(parts) => format!("a tuple of {}", parts.len()),
        other => other.kind().into(),
    }
}

/// The number a scalar is, where it depends on no setting and no tensor.
pub fn constant(cx: &Cx, t: &TensorVal) -> Option<f64> {
    cx.launch_value(t).filter(|_| !cx.uses_settings(t.node))
}

/// `left op right` on tensors.
pub fn op(cx: &mut Cx, f: BinaryOp, (a, a_span): (&TensorVal, Span), (b, b_span): (&TensorVal, Span), span: Span) -> Made {
    match cx.operator(f, (&Value::Tensor(a.clone()), a_span), (&Value::Tensor(b.clone()), b_span), span) {
        Value::Tensor(t) => Ok(t),
        _ => Err(Reported),
    }
}

/// A tensor, or word that what stopped it was reported.
pub type Made = Result<TensorVal, Reported>;

/// Says that a value is of the wrong kind. `wants` reads like "takes a tensor".
pub fn wrong_kind(cx: &mut Cx, who: &str, wants: &str, arg: &Argument) -> Reported {
    if arg.value.is_poison() {
        return Reported;
    }
    let found = describe(cx, &arg.value);
    let mut d = Diagnostic::new(types::WRONG_KIND, format!("`{who}` {wants}, this is {found}"), arg.span, found);
    if let (Value::List(_), true) = (&arg.value, wants.contains("tensor")) {
        d = d.help(format!("apply it to each member: `[{who}(x) for x in ..]`, or join them first with `sum` or `mean`"));
    }
    cx.report(d)
}

/// Says that something is not there yet.
pub fn not_there(cx: &mut Cx, message: impl Into<String>, span: Span, help: &str) -> Reported {
    let d = Diagnostic::new(absent::NOT_THERE_YET, message, span, "not there yet");
    cx.report(if help.is_empty() { d } else { d.help(help) })
}

/// A tensor for arithmetic: ints and truth values count as numbers, buffers are refused.
pub fn tensor(cx: &mut Cx, who: &str, arg: &Argument) -> Result<TensorVal, Reported> {
    match &arg.value {
        Value::Int(n) => Ok(cx.number(*n as f64, arg.span)),
        Value::Bool(b) => Ok(cx.number(f64::from(*b), arg.span)),
        Value::Tensor(t) => cx.float(t, arg.span),
        _ => Err(wrong_kind(cx, who, "takes a tensor", arg)),
    }
}

/// A tensor whose entries are only moved: ints and bools of a file too, which stay what they are.
pub fn movable(cx: &mut Cx, who: &str, arg: &Argument) -> Result<TensorVal, Reported> {
    match &arg.value {
        Value::Tensor(t) => Ok(t.clone()),
        _ => tensor(cx, who, arg),
    }
}

/// A mask, or places: what counts is whether entries are 0, or which ints they are. So tensors of bools and ints in a
/// file serve too, which arithmetic refuses.
pub fn mask_or_places(cx: &mut Cx, who: &str, arg: &Argument) -> Result<TensorVal, Reported> {
    match &arg.value {
        Value::Tensor(t) if t.buffer.is_some() => Ok(TensorVal::new(t.node, Degree::statistics(arg.span))),
        _ => tensor(cx, who, arg),
    }
}

/// A number, known or not: a tensor without axes, or an int.
pub fn scalar(cx: &mut Cx, who: &str, arg: &Argument) -> Result<TensorVal, Reported> {
    let t = match &arg.value {
        Value::Int(_) | Value::Tensor(_) => tensor(cx, who, arg)?,
        _ => return Err(wrong_kind(cx, who, "takes a number here", arg)),
    };
    if cx.is_scalar(&t) {
        return Ok(t);
    }
    Err(wrong_kind(cx, who, "takes a number here (a tensor without axes)", arg))
}

/// An int that is known now.
pub fn int(cx: &mut Cx, who: &str, arg: &Argument) -> Result<i64, Reported> {
    match &arg.value {
        Value::Int(n) => Ok(*n),
        Value::Tensor(_) => {
            let d = Diagnostic::new(
                types::NOT_STATIC,
                format!("`{who}` takes an int here, which is known when the recipe is compiled"),
                arg.span,
                describe(cx, &arg.value),
            )
            .help("write an int, or compute it from ints with `+ - *`, `div` and `mod`");
            Err(cx.report(d))
        }
        _ => Err(wrong_kind(cx, who, "takes an int here", arg)),
    }
}

/// A yes or no that is known now.
pub fn boolean(cx: &mut Cx, who: &str, arg: &Argument) -> Result<bool, Reported> {
    match &arg.value {
        Value::Bool(b) => Ok(*b),
        _ => Err(wrong_kind(cx, who, "takes `true` or `false` here", arg)),
    }
}

/// The members of a list or of a range of ints.
pub fn list(cx: &mut Cx, who: &str, arg: &Argument) -> Result<Rc<[Value]>, Reported> {
    match &arg.value {
        Value::List(l) => Ok(l.clone()),
        Value::Range(r) => match (&r.start, &r.end) {
            (Some(Value::Int(a)), Some(Value::Int(b))) => {
                let end = if r.inclusive { b.saturating_add(1) } else { *b };
                if end.saturating_sub(*a) > 1_000_000 {
                    let d = Diagnostic::new(codes::BAD_LIST, format!("`{who}` is given a range of over a million"), arg.span, "")
                        .help("ranges are written out when the recipe is compiled; a shorter one will do");
                    return Err(cx.report(d));
                }
                Ok((*a..end).map(Value::Int).collect())
            }
            _ => Err(wrong_kind(cx, who, "takes a list, or a range of two ints", arg)),
        },
        _ => Err(wrong_kind(cx, who, "takes a list", arg)),
    }
}

/// Says that a list has no members.
pub fn empty_list(cx: &mut Cx, who: &str, span: Span) -> Reported {
    let d = Diagnostic::new(codes::BAD_LIST, format!("`{who}` of an empty list"), span, "no members")
        .help("give it at least one member; `if len(list) == 0 { .. } else { .. }` treats the empty case");
    cx.report(d)
}

/// The argument for a parameter that the table says must be given.
pub fn need<'a>(cx: &mut Cx, args: &'a Args, index: usize, span: Span) -> Result<&'a Argument, Reported> {
    match args.get(index) {
        Some(a) if a.value.is_poison() => Err(Reported),
        Some(a) => Ok(a),
        None => {
            let message = format!("`{}` lacks an argument", args.name);
            let mut d = Diagnostic::new(types::WRONG_ARGUMENTS, message, span, "");
            if let Some(p) = super::primitive(args.name) {
                d = d.help(format!("it is `{}`", p.signature()));
            }
            Err(cx.report(d))
        }
    }
}

/// An argument that may be left out; what an error left behind counts as reported.
pub fn given(args: &Args, index: usize) -> Result<Option<&Argument>, Reported> {
    match args.get(index) {
        Some(a) if a.value.is_poison() => Err(Reported),
        other => Ok(other),
    }
}

/// The key of a random stream, from the `seed:` argument at `index`; without one, the run's `--seed` counts.
pub fn seeded(cx: &mut Cx, args: &Args, index: usize) -> Result<RandomKey, Reported> {
    let seed = match given(args, index)? {
        Some(seed) => Some(int(cx, args.name, seed)?),
        None => None,
    };
    Ok(cx.random_key(seed))
}

/// One of some words; the first is the default.
pub fn word(cx: &mut Cx, args: &Args, index: usize, allowed: &[&'static str]) -> Result<&'static str, Reported> {
    let Some(arg) = given(args, index)? else { return Ok(allowed[0]) };
    if let Value::Word(w) = &arg.value
        && let Some(found) = allowed.iter().find(|a| **a == &**w)
    {
        return Ok(found);
    }
    let list: Vec<String> = allowed.iter().map(|w| format!("`{w}`")).collect();
    Err(wrong_kind(cx, args.name, &format!("takes one of the words {} here", list.join(", ")), arg))
}

/// What a primitive ranges over: all entries, or those along one axis.
#[derive(Clone, Copy, Debug)]
pub struct Along {
    pub over: Over,
    /// The axis, where it is not the last.
    axis: Option<usize>,
}

impl Along {
    /// How many entries of a tensor of this shape belong together.
    pub fn entries(self, shape: &[u64]) -> u64 {
        match (self.over, self.axis) {
            (Over::All, _) => shape.iter().product(),
            (Over::Rows, Some(axis)) => shape[axis],
            (Over::Rows, None) => shape.last().copied().unwrap_or(1),
        }
    }

    /// What `f` gives for `t` with the axis in last place, turned back; `f` keeps the number of axes.
    pub fn apply(self, cx: &mut Cx, t: &TensorVal, span: Span, f: impl FnOnce(&mut Cx, &TensorVal) -> Made) -> Made {
        let rank = cx.shape(t).len();
        let Some(axis) = self.axis.filter(|a| a + 1 < rank) else { return f(cx, t) };
        let mut perm: Vec<u32> = (0..rank as u32).collect();
        perm.swap(axis, rank - 1);
        let turned = cx.transposed(t, &perm, span);
        let result = f(cx, &turned)?;
        Ok(cx.transposed(&result, &perm, span))
    }
}

/// What a reduction or selection of a tensor with so many axes ranges over.
pub fn over(cx: &mut Cx, args: &Args, index: usize, rank: usize) -> Result<Along, Reported> {
    let all = Along { over: Over::All, axis: None };
    let rows = Along { over: Over::Rows, axis: None };
    let Some(arg) = given(args, index)? else { return Ok(all) };
    match &arg.value {
        Value::Word(w) if &**w == "all" => Ok(all),
        // A tensor with one axis is one row; a number is all there is.
        Value::Word(w) if &**w == "rows" => Ok(if rank == 0 { all } else { rows }),
        Value::Word(w) if &**w == "cols" && rank >= 2 => Ok(Along { axis: Some(rank - 2), ..rows }),
        Value::Word(w) if &**w == "cols" => {
            let what = if rank == 0 { "a number, which has no axes" } else { "a tensor with one axis, which is one row" };
            let d = Diagnostic::new(types::OUT_OF_RANGE, format!("`{}` over the columns of {what}", args.name), arg.span, "")
                .help("a rule can be for matrices only: `_[o, i] => ..`");
            Err(cx.report(d))
        }
        Value::Int(axis) => {
            let axis = resolve_axis(cx, args.name, *axis, rank, arg.span)?;
            Ok(Along { axis: Some(axis), ..rows })
        }
        _ => Err(wrong_kind(cx, args.name, "ranges over `all`, `rows`, `cols` or the number of an axis", arg)),
    }
}

/// An axis counted from the front, or with a negative number from the end.
pub fn resolve_axis(cx: &mut Cx, who: &str, axis: i64, rank: usize, span: Span) -> Result<usize, Reported> {
    let from_front = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    if (0..rank as i64).contains(&from_front) {
        return Ok(from_front as usize);
    }
    let message = match rank {
        0 => format!("`{who}` asks for axis {axis} of a number, which has no axes"),
        1 => format!("`{who}` asks for axis {axis} of a tensor with one axis"),
        _ => format!("`{who}` asks for axis {axis} of a tensor with {rank} axes"),
    };
    let d = Diagnostic::new(types::OUT_OF_RANGE, message, span, "no such axis").help("axes are counted from 0; -1 is the last");
    Err(cx.report(d))
}

/// Checks a number (settings count as they stand now) against a range, both ends allowed.
pub fn within(cx: &mut Cx, who: &str, what: &str, t: &TensorVal, low: f64, high: f64, span: Span) -> Result<(), Reported> {
    match cx.launch_value(t) {
        Some(v) if !(low..=high).contains(&v) => {
            let d = Diagnostic::new(
                codes::OUTSIDE_DOMAIN,
                format!("{what} of `{who}` is {v}; it lies within {low}..={high}"),
                span,
                format!("{v}"),
            );
            let d = if low == 0.0 && high == 1.0 && v > 1.0 && v <= 100.0 {
                d.help(format!("it is a fraction, not a percentage: {}", v / 100.0))
            } else {
                d
            };
            Err(cx.report(d))
        }
        _ => Ok(()),
    }
}
