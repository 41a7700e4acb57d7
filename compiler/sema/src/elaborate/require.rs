//! Conditions: what `requires` states of a call or a `let`, and the ranges of parameters, now and at each run.
//!
//! A condition that joins others by `and` is decided one by one, so that a message names the one that fails, with its values.

use super::context::Cx;
use super::expressions::Frame;
use super::types::Asker;
use crate::codes::types as codes;
use crate::hir::walk::{Visit, walk_expr};
use crate::hir::{BinaryOp, Expr, ExprKind};
use crate::value::{TensorVal, Value};
use merge_base::{Diagnostic, Span};

/// The longest text of an expression whose value a message shows.
const LONGEST: usize = 60;

/// A number to so many digits that the rounding of a sum of decimals does not show.
fn shown(v: f64) -> String {
    format!("{v:.12e}").parse().map_or_else(|_| v.to_string(), |v: f64| v.to_string())
}

fn is_comparison(e: &Expr) -> bool {
    use BinaryOp::{And, Eq, Ge, Gt, Le, Lt, Ne, Or};
    matches!(&e.kind, ExprKind::Binary { op: Eq | Ne | Lt | Le | Gt | Ge | And | Or, .. })
}

/// Expressions whose values say why a condition fails.
#[derive(Default)]
struct Shown<'p> {
    all: Vec<&'p Expr>,
    /// Where variables may be those of a loop, which have many values.
    loops: Vec<Span>,
}

impl<'p> Visit<'p> for Shown<'p> {
    fn expr(&mut self, e: &'p Expr) {
        match e.kind {
            ExprKind::Comprehension { .. } | ExprKind::Block(_) | ExprKind::Fold { .. } | ExprKind::Model { .. } => {
                self.loops.push(e.span);
            }
            ExprKind::Local(_) | ExprKind::Global(_) => {
                let within = |l: &Span| l.file == e.span.file && l.start <= e.span.start && e.span.end <= l.end;
                if !self.loops.iter().any(within) {
                    self.all.push(e);
                }
            }
            _ => {}
        }
    }
}

impl<'p> Cx<'p> {
    /// Checks the condition of a `let`; while decisions are watched, it only excludes what does not hold.
    pub(super) fn require_of_let(&mut self, condition: &'p Expr, frame: &mut Frame) {
        if self.watch.is_none() {
            self.require(condition, Asker::Said("this `let`"), frame);
            return;
        }
        let (value, taint) = self.apart_expr(condition, frame);
        let term = self.condition_term(condition, frame);
        if !self.watch_condition(&value, taint, condition.span, term) && !value.is_poison() {
            self.require(condition, Asker::Said("this `let`"), frame);
        }
    }

    /// Checks a condition, each part that `and` joins by itself; false where one fails. What depends on settings is also
    /// tried before each run.
    pub(super) fn require(&mut self, condition: &'p Expr, of: Asker<'_>, frame: &mut Frame) -> bool {
        if let ExprKind::Binary { op: BinaryOp::And, left, right, .. } = &condition.kind {
            return self.require(left, of, frame) && self.require(right, of, frame);
        }
        let (value, _) = self.apart(|cx| {
            let value = cx.expr(condition, frame);
            cx.claim_condition(condition, &value, frame);
            value
        });
        let written = self.text(condition.span);
        let message = || format!("{of} requires {}", written.split_whitespace().collect::<Vec<_>>().join(" "));
        let holds = match &value {
            Value::Bool(holds) => *holds,
            Value::Tensor(t) if self.is_scalar(t) && self.launch_value(t) == Some(0.0) => self.symbolic,
            Value::Tensor(t) if self.is_scalar(t) => return self.constrain(t, message(), condition.span),
            Value::Poison => return false,
            other => {
                let message = format!("`requires` wants a condition, and this is {}", other.kind());
                self.error(codes::WRONG_KIND, message, condition.span, "");
                return false;
            }
        };
        if !holds {
            let label = self.why_not(condition, frame);
            self.error(codes::REQUIRES_FAILED, message(), condition.span, label);
        }
        holds
    }

    /// Says that a condition does not hold, with the values of what it compares and of the variables in that.
    fn why_not(&mut self, condition: &'p Expr, frame: &mut Frame) -> String {
        let mut found = Shown::default();
        match &condition.kind {
            ExprKind::Binary { left, right, .. } => {
                found.all.extend([&**left, &**right]);
                walk_expr(left, &mut found);
                walk_expr(right, &mut found);
            }
            _ => walk_expr(condition, &mut found),
        }
        let mut known: Vec<(&'p str, String)> = Vec::new();
        for e in found.all {
            let text = self.text(e.span);
            if text.len() > LONGEST || text.contains('\n') || known.iter().any(|k| k.0 == text) {
                continue;
            }
            let shown = match self.expr(e, frame) {
                Value::Int(n) => n.to_string(),
                Value::Bool(b) => b.to_string(),
                Value::Str(s) => format!("\"{s}\""),
                Value::Tensor(t) if self.is_scalar(&t) => match self.launch_value(&t) {
                    Some(v) if is_comparison(e) => (v != 0.0).to_string(),
                    Some(v) => shown(v),
                    None => continue,
                },
                _ => continue,
            };
            // A number or a string that is written out says its value itself.
            if shown != text && text.parse::<f64>().is_err() {
                known.push((text, shown));
            }
        }
        let values: Vec<String> = known.iter().map(|(text, shown)| format!("`{text}` is {shown}")).collect();
        if values.is_empty() { "this does not hold".into() } else { format!("this does not hold: {}", values.join(", ")) }
    }

    /// Demands that a scalar is not 0: now, if it is known, and at each run, if settings decide it.
    pub(super) fn constrain(&mut self, condition: &TensorVal, message: String, span: Span) -> bool {
        if self.symbolic {
            return true;
        }
        let place = self.sources.place(span);
        match self.launch_value(condition) {
            Some(0.0) => {
                self.error(codes::REQUIRES_FAILED, message, span, "this does not hold");
                return false;
            }
            Some(_) if self.uses_settings(condition.node) && self.constraints_seen.insert((condition.node, span)) => {
                self.graph.constraints.push(merge_ir::tir::Constraint { node: condition.node, message, place });
            }
            Some(_) => {}
            None => {
                self.report(
                    Diagnostic::new(
                        codes::NOT_STATIC,
                        "this depends on the contents of tensors, and must be decided before anything is read",
                        span,
                        "",
                    )
                    .help("a condition may use ints, strings, settings and numbers"),
                );
            }
        }
        true
    }
}
