//! What a `choose` offers: its domain as data, beside the values that its members have here.

use super::context::Cx;
use super::expressions::Frame;
use super::types::show_range;
use crate::codes::models as codes;
use crate::hir::{Arg, Callee, Domain as Written, Expr, ExprKind, StrPart};
use crate::space::{Answer, Domain};
use crate::value::{RangeVal, Reported, Value};
use merge_base::Span;
use std::rc::Rc;
use std::sync::Arc;

/// A domain with the values of its members.
pub(super) struct Offer {
    pub domain: Domain,
    pub values: Values,
}

/// The values behind the labels of a domain.
pub(super) enum Values {
    /// The answer says it all: ranges and simplices. Arms are evaluated when one is taken.
    Own,
    /// Real numbers, which stay arguments of the kernels.
    Numbers(Vec<f64>),
    /// Known values, by label.
    Given(Rc<[Value]>),
}

impl Offer {
    /// Whether no value in it is a node of the graph at hand.
    pub fn is_of_no_graph(&self) -> bool {
        fn holds_node(value: &Value) -> bool {
            match value {
                Value::Tensor(_) | Value::Model(_) => true,
                Value::List(l) | Value::Tuple(l) => l.iter().any(holds_node),
                Value::Range(r) => [&r.start, &r.end].into_iter().flatten().any(holds_node),
                _ => false,
            }
        }
        match &self.values {
            Values::Own | Values::Numbers(_) => true,
            Values::Given(values) => !values.iter().any(holds_node),
        }
    }
}

/// Whether a domain is the same wherever it is met: nothing in it has to be looked up.
pub(super) fn is_written_out(domain: &Written) -> bool {
    fn is_literal(e: &Expr) -> bool {
        match &e.kind {
            ExprKind::Int(_) | ExprKind::Float(..) | ExprKind::Bool(_) | ExprKind::Word(_) => true,
            ExprKind::Str(s) => s.parts.iter().all(|p| matches!(p, StrPart::Text(_))),
            ExprKind::List(parts) | ExprKind::Tuple(parts) => parts.iter().all(is_literal),
            ExprKind::Range { start, end, .. } => [start, end].into_iter().flatten().all(|e| is_literal(e)),
            ExprKind::Unary { value, .. } => is_literal(value),
            ExprKind::Call { callee: Callee::Primitive("log" | "order" | "subset" | "simplex"), args, .. } => {
                args.iter().all(|a| is_literal(&a.value))
            }
            _ => false,
        }
    }
    match domain {
        Written::Arms(_) => true,
        Written::In(e) => is_literal(e),
    }
}

impl<'p> Cx<'p> {
    /// The domain behind `in`.
    pub(super) fn offer(&mut self, domain: &'p Expr, frame: &mut Frame) -> Result<Offer, Reported> {
        let offer = match &domain.kind {
            ExprKind::Call { callee: Callee::Primitive(name @ ("log" | "order" | "subset" | "simplex")), args, .. } => {
                self.special(name, args, domain.span, frame)?
            }
            _ => {
                let value = self.expr(domain, frame);
                self.plain(&value, domain)?
            }
        };
        match offer.domain.fault() {
            None => Ok(offer),
            Some(fault) => Err(self.error(codes::BAD_ANSWER, fault, domain.span, "")),
        }
    }

    fn special(&mut self, name: &str, args: &'p [Arg], span: Span, frame: &mut Frame) -> Result<Offer, Reported> {
        let own = |domain| Offer { domain, values: Values::Own };
        let named = |n: &str| args.iter().find(|a| a.name.as_ref().is_some_and(|(m, _)| m == n));
        let Some(first) = args.first() else { return Err(Reported) };
        let value = self.expr(&first.value, frame);
        match name {
            "log" => {
                let high_at = args.get(1).map_or(first, |a| a).value.span;
                let high = args.get(1).map_or(Value::Poison, |a| self.expr(&a.value, frame));
                if let (Value::Int(low), Value::Int(high)) = (&value, &high) {
                    return Ok(own(Domain::Int { low: *low, high: *high, log: true }));
                }
                let low = self.known_number(&value, first.value.span)?;
                let high = self.known_number(&high, high_at)?;
                Ok(own(Domain::Real { low, high, log: true }))
            }
            "simplex" => match value {
                Value::Int(n) if (1..=10_000).contains(&n) => Ok(own(Domain::Simplex { n: n as usize })),
                Value::Poison => Err(Reported),
                _ => {
                    let message = "`simplex(n)` wants the number of its parts, an int from 1 to 10000";
                    Err(self.error(codes::BAD_ANSWER, message, first.value.span, ""))
                }
            },
            _ => {
                let members = self.members(&value, first.value.span)?;
                let labels = self.labels(&members, &first.value)?;
                let n = labels.len();
                let domain = if name == "order" {
                    Domain::Order { labels }
                } else {
                    let (low, high) = match named("size") {
                        None => (0, n),
                        Some(size) => {
                            let value = self.expr(&size.value, frame);
                            self.size(&value, size.value.span)?
                        }
                    };
                    Domain::Subset { labels, low, high }
                };
                if n > 1000 {
                    return Err(self.error(codes::BAD_ANSWER, format!("`{name}` takes at most 1000 members"), span, ""));
                }
                Ok(Offer { domain, values: Values::Given(members) })
            }
        }
    }

    /// `size: 2` or `size: 1..=3`.
    fn size(&mut self, value: &Value, span: Span) -> Result<(usize, usize), Reported> {
        let int = |v: &Option<Value>| match v {
            Some(Value::Int(i)) => usize::try_from(*i).ok(),
            _ => None,
        };
        let bounds = match value {
            Value::Int(k) => usize::try_from(*k).ok().map(|k| (k, k)),
            Value::Range(r) => match (int(&r.start), int(&r.end)) {
                (Some(a), Some(b)) if r.inclusive => Some((a, b)),
                (Some(a), Some(b)) if b > 0 => Some((a, b - 1)),
                _ => None,
            },
            Value::Poison => return Err(Reported),
            _ => None,
        };
        bounds.ok_or_else(|| self.error(codes::BAD_ANSWER, "`size` is an int or a range of ints: `size: 1..=3`", span, ""))
    }

    fn plain(&mut self, value: &Value, domain: &'p Expr) -> Result<Offer, Reported> {
        let span = domain.span;
        let own = |domain| Offer { domain, values: Values::Own };
        match value {
            Value::Poison => Err(Reported),
            Value::Range(r) => match (&r.start, &r.end) {
                (Some(Value::Int(a)), Some(Value::Int(b))) => {
                    let high = if r.inclusive { *b } else { b.saturating_sub(1) };
                    Ok(own(Domain::Int { low: *a, high, log: false }))
                }
                (Some(a), Some(b)) => {
                    let low = self.known_number(a, span)?;
                    let high = self.known_number(b, span)?;
                    let high = if r.inclusive { high } else { high.next_down() };
                    Ok(own(Domain::Real { low, high, log: false }))
                }
                _ => Err(self.error(codes::BAD_ANSWER, "a range to choose from has two ends", span, "")),
            },
            Value::List(l) => {
                let is_number = |v: &Value| matches!(v, Value::Tensor(t) if self.is_scalar(t) && self.launch_value(t).is_some());
                if l.iter().any(&is_number) && l.iter().all(|v| matches!(v, Value::Int(_)) || is_number(v)) {
                    let numbers: Result<Vec<f64>, Reported> = l.iter().map(|v| self.known_number(v, span)).collect();
                    let numbers = numbers?;
                    let labels = numbers.iter().map(f64::to_string).collect();
                    let domain = Domain::Members { labels, ordered: is_monotonous(&numbers) };
                    return Ok(Offer { domain, values: Values::Numbers(numbers) });
                }
                let labels = self.labels(l, domain)?;
                let ints: Option<Vec<f64>> =
                    l.iter().map(|v| if let Value::Int(i) = v { Some(*i as f64) } else { None }).collect();
                let ordered = ints.is_some_and(|i| is_monotonous(&i));
                Ok(Offer { domain: Domain::Members { labels, ordered }, values: Values::Given(l.clone()) })
            }
            other => {
                let message = format!("a domain is a range or a list, and this is {}", other.kind());
                Err(self.error(codes::BAD_ANSWER, message, span, ""))
            }
        }
    }

    /// The texts by which the members of a list are known.
    fn labels(&mut self, members: &Rc<[Value]>, list: &'p Expr) -> Result<Arc<[String]>, Reported> {
        if members.iter().any(Value::is_poison) {
            return Err(Reported);
        }
        let written: &'p [Expr] = match &list.kind {
            ExprKind::List(parts) if parts.len() == members.len() => parts,
            _ => &[],
        };
        let label = |(i, value): (usize, &Value)| match written.get(i) {
            Some(e) => self.member_text(e, value),
            None => self.known_text(value).unwrap_or_else(|| i.to_string()),
        };
        Ok(members.iter().enumerate().map(label).collect())
    }

    /// What `--set` calls a member of a list: its value if it is known, else its text in the recipe.
    pub(super) fn member_text(&self, e: &Expr, value: &Value) -> String {
        self.known_text(value).unwrap_or_else(|| self.text(e.span).trim().to_string())
    }

    /// The text of a value that is known, and the name of a model that has one.
    pub(super) fn known_text(&self, value: &Value) -> Option<String> {
        let all = |l: &Rc<[Value]>| l.iter().map(|v| self.known_text(v)).collect::<Option<Vec<String>>>();
        match value {
            Value::Int(i) => Some(i.to_string()),
            Value::Bool(b) => Some(b.to_string()),
            Value::Str(s) | Value::Word(s) => Some(s.to_string()),
            Value::Range(r) => Some(self.range_text(r)),
            Value::Tensor(t) if self.is_scalar(t) && !self.uses_settings(t.node) => self.launch_value(t).map(|x| x.to_string()),
            Value::Model(m) => self.name_of_model(m),
            Value::Tuple(l) => Some(format!("({})", all(l)?.join(", "))),
            Value::List(l) => Some(format!("[{}]", all(l)?.join(", "))),
            _ => None,
        }
    }

    fn range_text(&self, r: &RangeVal) -> String {
        show_range(r, &|v| self.known_text(v).unwrap_or_default())
    }

    /// The answer that a default stands for.
    pub(super) fn default_answer(
        &mut self,
        offer: &Offer,
        id: &str,
        default: &'p Expr,
        frame: &mut Frame,
    ) -> Result<Answer, Reported> {
        let value = self.expr(default, frame);
        if value.is_poison() {
            return Err(Reported);
        }
        let answer = match (&offer.domain, &offer.values, &value) {
            (Domain::Real { .. }, ..) => Some(Answer::Real(self.known_number(&value, default.span)?)),
            (Domain::Int { .. }, _, Value::Int(i)) => Some(Answer::Int(*i)),
            (Domain::Int { .. }, _, other) => {
                let message = format!("`{id}` is an int, and its default is {}", other.kind());
                return Err(self.error(codes::BAD_ANSWER, message, default.span, ""));
            }
            (Domain::Members { .. }, Values::Numbers(numbers), _) => {
                let number = self.known_number(&value, default.span)?;
                numbers.iter().position(|n| *n == number).map(Answer::Member)
            }
            (Domain::Members { labels, .. }, ..) => {
                let text = self.member_text(default, &value);
                labels.iter().position(|l| *l == text).map(Answer::Member)
            }
            (Domain::Order { labels }, _, Value::List(l)) | (Domain::Subset { labels, .. }, _, Value::List(l)) => {
                let place = |v: &Value| self.known_text(v).and_then(|t| labels.iter().position(|l| *l == t));
                let places: Option<Vec<usize>> = l.iter().map(place).collect();
                places.map(|mut p| match &offer.domain {
                    Domain::Order { .. } => Answer::Order(p),
                    _ => {
                        p.sort_unstable();
                        Answer::Subset(p)
                    }
                })
            }
            (Domain::Simplex { .. }, _, Value::List(l)) => {
                let parts: Result<Vec<f64>, Reported> = l.iter().map(|v| self.known_number(v, default.span)).collect();
                Some(Answer::Simplex(parts?))
            }
            _ => None,
        };
        answer.filter(|a| offer.domain.holds(a)).ok_or_else(|| {
            let message = format!("the default of `{id}` is not {}", offer.domain.describe());
            self.error(codes::BAD_ANSWER, message, default.span, "")
        })
    }

    /// A number that does not depend on tensors or settings.
    pub(super) fn known_number(&mut self, value: &Value, span: Span) -> Result<f64, Reported> {
        let t = self.tensor(value, span)?;
        let known = if self.is_scalar(&t) && !self.uses_settings(t.node) { self.launch_value(&t) } else { None };
        known.ok_or_else(|| self.error(codes::BAD_ANSWER, "a number known before the recipe runs is wanted here", span, ""))
    }
}

/// Whether numbers only rise or only fall.
fn is_monotonous(numbers: &[f64]) -> bool {
    numbers.windows(2).all(|w| w[0] < w[1]) || numbers.windows(2).all(|w| w[0] > w[1])
}
