//! On which decisions each axis of a tensor depends, while decisions are watched.
//!
//! A network is a chain of layers, and without a closer look each would depend on all decisions before it: a convolution's filters on the
//! size of the kernels two layers up. But a layer takes the length of an axis from one axis of one operand, mostly. What is said
//! here for each layer keeps the sets small that checks mention, so that every combination of them can be tried.
//!
//! | what | length of an axis depends on |
//! |---|---|
//! | layers that keep a shape | that axis of `x` |
//! | `conv1d`, `conv2d` | filters: the kernel's first axis; along the window: that axis of `x`, stride, and without `pad: same` the kernel's |
//! | `max_pool`, `avg_pool` | that axis of `x`; along the window also size and stride |
//! | `embedding` | that axis of `x`; the table's second |
//! | `flatten` | all axes of `x` |
//! | `@` | the outer axes of its sides; leading ones of both |
//! | functions of one tensor, `max` and `min` with a number | that axis of `x` |
//! | reductions | that axis of `x`, but nothing for the axis that is reduced |
//! | `transpose` | the axis that comes to its place |
//! | other operators, `sum` and `mean` of a list | that axis of both sides, of all members |
//! | `concat` of a list | that axis of all members; along the axis the whole list |
//! | `x[.., a..b, i]` | that axis of `x`; the ends of the range |
//! | `new x[a, b]` | what the dim is computed from |
//! | a function with declared dims | the same; what `..s` is bound to, axis by axis |
//! | `fold` | that axis of the last state, and the number of turns, unless the axis depends on the same in all states and is as long |
//! | `if` and arms | if all keep the shape of one variable, that; else also what selects |
//!
//! Whatever is not in the table depends on all that it was computed from. Tensors outside of networks have no [`Axes`].
//!
//! Invariant: a set may be larger than need be, never smaller, whatever the answers of the candidate at hand. That two lengths
//! agree in it proves nothing.

use super::context::Cx;
use super::expressions::Frame;
use super::meet::{is_entrywise, place_of_over};
use crate::hir::{BinaryOp, Block, Callee, Choose, Dim, Domain, Expr, ExprKind, Fn, LocalId, Tail, Type, UnaryOp};
use crate::primitives::KEEPS_SHAPE;
use crate::space::{Axes, Taint};
use crate::value::{Argument, TensorVal, Value};
use std::rc::Rc;

impl<'p> Cx<'p> {
    /// Whether the axes of tensors are watched here.
    pub(super) fn watches_axes(&self) -> bool {
        self.watch.is_some() && self.in_network()
    }

    /// The axes of a value, of which all is known by one set if no more is; none for what is no tensor.
    pub(super) fn axes_or(&mut self, value: &Value, whole: Taint) -> Option<Axes> {
        let Value::Tensor(t) = value else { return None };
        Some(match &t.axes {
            Some(axes) => axes.clone(),
            None => Axes { rank: whole, each: vec![whole; self.shape(t).len()].into() },
        })
    }

    /// All that a shape depends on.
    pub(super) fn of_shape(&mut self, axes: &Axes) -> Taint {
        axes.each.iter().fold(axes.rank, |all, t| self.union(all, *t))
    }

    /// What the length of an axis depends on, where that is known better than for the tensor.
    pub(super) fn axis_taint(&mut self, t: &TensorVal, axis: usize) -> Option<Taint> {
        let axes = t.axes.as_ref()?;
        let (rank, own) = (axes.rank, *axes.each.get(axis)?);
        Some(self.union(rank, own))
    }

    /// Gives a tensor its axes, if they are as many as it has.
    fn set_axes(&mut self, value: &mut Value, axes: Option<Axes>) {
        if let Value::Tensor(t) = value {
            let rank = self.graph.shape(t.node).len();
            t.axes = axes.filter(|a| a.each.len() == rank);
        }
    }

    /// For what may have any axis of what it is made of.
    pub(super) fn forget_axes(&mut self, value: &mut Value) {
        if self.watches_axes() {
            self.set_axes(value, None);
        }
    }

    /// A result of the same shape.
    pub(super) fn axes_like(&mut self, of: &Value, result: &mut Value) {
        if self.watches_axes() {
            let axes = if let Value::Tensor(t) = of { t.axes.clone() } else { None };
            self.set_axes(result, axes);
        }
    }

    /// A tensor whose dims are written here.
    pub(super) fn axes_of_new(&mut self, dims: Option<&'p [Dim]>, value: &mut Value, frame: &mut Frame) {
        if self.watches_axes() {
            let axes = dims.and_then(|dims| self.axes_of_dims(dims, frame));
            self.set_axes(value, axes);
        }
    }

    /// What dims depend on; none where their number is open and nothing gave it.
    fn axes_of_dims(&mut self, dims: &'p [Dim], frame: &mut Frame) -> Option<Axes> {
        let (mut rank, mut each) = (Taint::NONE, Vec::with_capacity(dims.len()));
        for dim in dims {
            match dim {
                Dim::Bind(local, _) => each.push(frame.taint(*local)),
                Dim::Expr(e) => each.push(self.apart_expr(e, frame).1),
                Dim::BindRest(local, _) | Dim::Rest(local, _) => {
                    let (_, axes) = frame.rests.iter().find(|(l, _)| l == local)?;
                    each.extend(axes.each.iter().copied());
                    let of_rest = axes.rank;
                    rank = self.union(rank, of_rest);
                }
            }
        }
        Some(Axes { rank, each: each.into() })
    }

    /// Remembers the axes that `..s` is bound to, of which `whole` is known if no more is.
    pub(super) fn note_rest(
        &mut self,
        local: LocalId,
        t: &TensorVal,
        axes: std::ops::Range<usize>,
        whole: Taint,
        frame: &mut Frame,
    ) {
        if self.watches_axes() {
            let each = axes.map(|axis| self.axis_taint(t, axis).unwrap_or(whole)).collect();
            let rank = t.axes.as_ref().map_or(whole, |a| a.rank);
            frame.rests.push((local, Axes { rank, each }));
        }
    }

    /// What the declared shape of a function's result depends on; `else_` where it does not say.
    pub(super) fn result_taint(&mut self, f: &'p Fn, value: &mut Value, frame: &mut Frame, else_: Taint) -> Taint {
        let Type::Named { dims: Some(dims), .. } = &f.result else { return else_ };
        if dims.iter().any(|d| matches!(d, Dim::Bind(..) | Dim::BindRest(..))) {
            // Where the result itself binds a dim, it may be anything.
            return else_;
        }
        if let (true, Some(axes)) = (self.watches_axes(), self.axes_of_dims(dims, frame)) {
            let all = self.of_shape(&axes);
            self.set_axes(value, Some(axes));
            return all;
        }
        self.forget_axes(value);
        let mut all = Taint::NONE;
        for dim in dims {
            let taint = match dim {
                Dim::Bind(local, _) | Dim::BindRest(local, _) | Dim::Rest(local, _) => frame.taint(*local),
                Dim::Expr(e) => self.apart_expr(e, frame).1,
            };
            all = self.union(all, taint);
        }
        all
    }

    /// The result of a primitive.
    pub(super) fn axes_of_call(&mut self, name: &str, given: &[Option<Argument>], result: &mut Value) {
        self.meet_in_call(name, given, result);
        let axes = self.call_axes(name, given);
        self.set_axes(result, axes);
    }

    fn call_axes(&mut self, name: &str, given: &[Option<Argument>]) -> Option<Axes> {
        let argument = |i: usize| given.get(i).and_then(Option::as_ref);
        let x = argument(0)?;
        let whole = self.argument_taint(x.span);
        if let Value::List(members) = &x.value {
            return self.list_axes(name, members, whole, argument(1));
        }
        let mut axes = self.axes_or(&x.value, whole)?;
        let mut each = axes.each.to_vec();
        let taint = |cx: &Cx, i: usize| argument(i).map_or(Taint::NONE, |a| cx.argument_taint(a.span));
        match name {
            _ if KEEPS_SHAPE.contains(&name) || is_entrywise(name) => return Some(axes),
            "transpose" => {
                let rank = each.len();
                (rank >= 2).then(|| each.swap(rank - 2, rank - 1))?;
            }
            "min" | "max" if argument(1).is_some() => {
                let y = argument(1)?;
                let of_second = self.argument_taint(y.span);
                return Some(match self.axes_or(&y.value, of_second) {
                    Some(other) => self.stretched_axes(&axes, &other),
                    None => axes,
                });
            }
            "sum" | "mean" | "var" | "norm" | "count" | "min" | "max" => {
                let over = argument(place_of_over(name)?);
                match over.map(|a| &a.value) {
                    None => return Some(Axes { rank: Taint::NONE, each: Rc::from([]) }),
                    Some(Value::Word(w)) if &**w == "all" => return Some(Axes { rank: Taint::NONE, each: Rc::from([]) }),
                    // The axis stays, with length 1.
                    Some(Value::Word(w)) if &**w == "rows" => *each.last_mut()? = Taint::NONE,
                    _ => return None,
                }
            }
            "flatten" => {
                let all = self.of_shape(&axes);
                return Some(Axes { rank: Taint::NONE, each: Rc::from([all]) });
            }
            "conv2d" | "conv1d" => {
                let (along, rank) = (if name == "conv2d" { 2 } else { 1 }, each.len());
                if rank < along + 1 {
                    return None;
                }
                let second = argument(1)?;
                let of_second = self.argument_taint(second.span);
                let kernel = self.axes_or(&second.value, of_second);
                let same = matches!(argument(3), Some(Argument { value: Value::Word(w), .. }) if &**w == "same");
                let (stride, pad) = (taint(self, 2), taint(self, 3));
                let window = self.union(stride, pad);
                let (channels, first) = if along == 2 { (rank - 3, rank - 2) } else { (rank - 1, rank - 2) };
                for i in 0..along {
                    let size = match &kernel {
                        _ if same => Taint::NONE,
                        Some(k) => k.each.get(2 + i).copied().unwrap_or(of_second),
                        None => of_second,
                    };
                    let own = self.union(window, size);
                    each[first + i] = self.union(each[first + i], own);
                }
                // An int in place of a kernel keeps the channels.
                if let Some(kernel) = kernel {
                    each[channels] = kernel.each.first().copied().unwrap_or(of_second);
                    axes.rank = self.union(axes.rank, kernel.rank);
                }
            }
            "max_pool" | "avg_pool" => {
                let (size, stride) = (taint(self, 1), taint(self, 2));
                let window = self.union(size, stride);
                for own in each.iter_mut().rev().take(2) {
                    *own = self.union(*own, window);
                }
            }
            "embedding" => {
                let table = argument(1)?;
                let whole = self.argument_taint(table.span);
                let table = self.axes_or(&table.value, whole)?;
                axes.rank = self.union(axes.rank, table.rank);
                each.push(*table.each.get(1)?);
            }
            _ => return None,
        }
        Some(Axes { rank: axes.rank, each: each.into() })
    }

    /// What the members of a list make together.
    fn list_axes(&mut self, name: &str, members: &[Value], whole: Taint, second: Option<&Argument>) -> Option<Axes> {
        let mut all = members.iter().map(|m| self.axes_or(m, whole)).collect::<Option<Vec<_>>>()?;
        let mut made = all.pop()?;
        if all.iter().any(|a| a.each.len() != made.each.len()) {
            return None;
        }
        for other in &all {
            made = self.stretched_axes(&made, other);
        }
        match (name, second.map(|a| &a.value)) {
            ("sum" | "mean", None) => Some(made),
            ("concat", Some(Value::Int(axis))) => {
                let mut each = made.each.to_vec();
                *each.get_mut(*axis as usize)? = whole;
                Some(Axes { each: each.into(), ..made })
            }
            _ => None,
        }
    }

    /// A part of a tensor, by ranges and places.
    pub(super) fn axes_of_part(&mut self, of: &Value, indices: &[(Value, Taint)], part: &mut Value) {
        if !self.watches_axes() {
            return;
        }
        let axes = match of {
            Value::Tensor(TensorVal { axes: Some(axes), .. }) if axes.each.len() == indices.len() => {
                let mut each = Vec::with_capacity(indices.len());
                let mut known = true;
                for ((index, taint), own) in indices.iter().zip(axes.each.iter()) {
                    let met = self.union(*taint, *own);
                    let met = self.union(met, axes.rank);
                    self.mention(met);
                    match index {
                        Value::Range(r) if r.start.is_none() && r.end.is_none() => each.push(*own),
                        Value::Range(r) if r.start.is_some() && r.end.is_some() => each.push(*taint),
                        Value::Range(_) => each.push(self.union(*taint, *own)),
                        Value::Int(_) => {}
                        _ => known = false,
                    }
                }
                known.then(|| Axes { rank: axes.rank, each: each.into() })
            }
            _ => None,
        };
        self.set_axes(part, axes);
    }

    /// A side of an operator, with what it depends on. What of a tensor meets in the operator, [`Cx::axes_of_operator`] says.
    pub(super) fn side(&mut self, e: &'p Expr, frame: &mut Frame) -> (Value, Taint) {
        if !self.watches_axes() {
            return (self.expr(e, frame), Taint::NONE);
        }
        let (value, taint) = self.apart_expr(e, frame);
        self.hand_on(&value, taint);
        (value, taint)
    }

    /// What a primitive made costs what the shapes say that it was given, and that it has.
    pub(super) fn bill_call(&mut self, name: &str, given: &[Option<Argument>], result: &Value, made: usize) {
        let mut all = match result {
            Value::Tensor(TensorVal { axes: Some(axes), .. }) => self.of_shape(&axes.clone()),
            _ => Taint::NONE,
        };
        for (i, argument) in given.iter().enumerate() {
            let Some(argument) = argument else { continue };
            let whole = self.argument_taint(argument.span);
            let own = match self.axes_or(&argument.value, whole) {
                Some(axes) => self.of_shape(&axes),
                // Of `dropout(x, keep)` only `x` has a shape to keep.
                None if i > 0 && KEEPS_SHAPE.contains(&name) => Taint::NONE,
                None => whole,
            };
            all = self.union(all, own);
        }
        self.bill(made, all);
    }

    /// The result of an operator, of which nodes since `made` are parts, and what meets in it.
    pub(super) fn axes_of_operator(
        &mut self,
        op: BinaryOp,
        left: (&Value, Taint),
        right: (&Value, Taint),
        result: &mut Value,
        made: usize,
    ) {
        if !self.watches_axes() {
            return;
        }
        let mut known = false;
        if matches!(result, Value::Tensor(_)) {
            let (l, r) = (self.axes_or(left.0, left.1), self.axes_or(right.0, right.1));
            let axes = match (op, &l, &r) {
                (BinaryOp::MatMul, Some(l), Some(r)) => self.product_axes(l, r),
                (BinaryOp::MatMul, ..) => None,
                (_, Some(l), Some(r)) => Some(self.stretched_axes(l, r)),
                // A number stretches to any shape.
                (_, Some(one), None) | (_, None, Some(one)) => Some(one.clone()),
                (_, None, None) => None,
            };
            known = match (&l, &r) {
                (Some(l), Some(r)) => self.meet_in_operator(op, l, r, [left.1, right.1], result),
                _ => op != BinaryOp::MatMul,
            };
            let of_sides = self.union(left.1, right.1);
            let shapes = match &axes {
                // The axis that a product sums over is none of the result.
                Some(axes) if op != BinaryOp::MatMul => self.of_shape(axes),
                _ => of_sides,
            };
            self.bill(made, shapes);
            self.set_axes(result, axes);
        }
        if !known {
            self.read(left.1);
            self.read(right.1);
        }
    }

    fn product_axes(&mut self, l: &Axes, r: &Axes) -> Option<Axes> {
        let rank = self.union(l.rank, r.rank);
        let each = match (&*l.each, &*r.each) {
            ([_], [_, n]) => vec![*n],
            ([lead @ .., _], [_]) => lead.to_vec(),
            ([lead @ .., _], [_, n]) => lead.iter().chain([n]).copied().collect(),
            ([lead @ .., m, _], [batch @ .., _, n]) if lead.len() == batch.len() => {
                let mut each: Vec<Taint> = lead.iter().zip(batch).map(|(a, b)| self.union(*a, *b)).collect();
                each.extend([*m, *n]);
                each
            }
            _ => return None,
        };
        Some(Axes { rank, each: each.into() })
    }

    /// Axes that meet from the last on.
    fn stretched_axes(&mut self, l: &Axes, r: &Axes) -> Axes {
        let (long, short) = if l.each.len() < r.each.len() { (r, l) } else { (l, r) };
        let mut each = long.each.to_vec();
        let skipped = each.len() - short.each.len();
        for (own, other) in each[skipped..].iter_mut().zip(short.each.iter()) {
            *own = self.union(*own, *other);
        }
        Axes { rank: self.union(l.rank, r.rank), each: each.into() }
    }

    /// The last of the states of a fold, which its length has selected. False where they are no tensors.
    pub(super) fn axes_of_fold(&mut self, states: &[(Value, Taint)], length: Taint, last: &mut Value) -> bool {
        let axes = self.axes_of_last(states, length);
        let of_shape = axes.as_ref().map(|axes| self.of_shape(axes));
        self.set_axes(last, axes);
        let Some(of_shape) = of_shape else { return false };
        self.gather(of_shape);
        true
    }

    fn axes_of_last(&mut self, states: &[(Value, Taint)], length: Taint) -> Option<Axes> {
        let mut all = Vec::with_capacity(states.len());
        for (state, whole) in states {
            all.push(self.axes_or(state, *whole)?);
        }
        let last = all.last()?.clone();
        let as_long = |i: usize| {
            let mut lengths = states.iter().map(|(state, _)| match state {
                Value::Tensor(t) => self.graph.shape(t.node).get(i).copied(),
                _ => None,
            });
            let first = lengths.next();
            lengths.all(|length| Some(length) == first)
        };
        let as_long: Vec<bool> = (0..last.each.len()).map(as_long).collect();
        let same_rank = all.iter().all(|a| a.rank == last.rank && a.each.len() == last.each.len());
        let rank = if same_rank { last.rank } else { self.union(last.rank, length) };
        let mut each = Vec::with_capacity(last.each.len());
        for (i, own) in last.each.iter().enumerate() {
            let same = same_rank && as_long[i] && all.iter().all(|a| a.each[i] == *own);
            each.push(if same { *own } else { self.union(*own, length) });
        }
        Some(Axes { rank, each: each.into() })
    }

    /// Whether both branches give back the shape of one variable that is a tensor.
    pub(super) fn branches_keep_one_shape(&self, then: &'p Block, otherwise: &'p Expr, frame: &Frame) -> bool {
        let kept = |local: LocalId| self.kept_of(otherwise) == Some(local) && is_tensor(local, frame);
        self.watches_axes() && self.kept_of_block(then).is_some_and(kept)
    }

    /// Whether all arms do.
    pub(super) fn arms_keep_one_shape(&self, c: &Choose, frame: &Frame) -> bool {
        self.watches_axes() && self.kept_of_arms(c).is_some_and(|kept| is_tensor(kept, frame))
    }

    /// The variable whose shape an expression gives back, where that can be read off it.
    fn kept_of(&self, e: &Expr) -> Option<LocalId> {
        match &e.kind {
            ExprKind::Local(id) => Some(*id),
            ExprKind::Block(b) => self.kept_of_block(b),
            ExprKind::Call { callee, args, .. } if self.keeps_shape(*callee) => {
                args.first().filter(|a| a.name.is_none()).and_then(|a| self.kept_of(&a.value))
            }
            ExprKind::If { then, otherwise, .. } => {
                self.kept_of_block(then).filter(|kept| self.kept_of(otherwise) == Some(*kept))
            }
            ExprKind::Choose(c) => self.kept_of_arms(c),
            ExprKind::Unary { op: UnaryOp::Neg, value } | ExprKind::As { value, .. } => self.kept_of(value),
            ExprKind::Binary { op: BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div, left, right, .. } => {
                match (&left.kind, &right.kind) {
                    (ExprKind::Int(_) | ExprKind::Float(..), _) => self.kept_of(right),
                    (_, ExprKind::Int(_) | ExprKind::Float(..)) => self.kept_of(left),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn kept_of_block(&self, b: &Block) -> Option<LocalId> {
        match &b.tail {
            Tail::Value(e) => self.kept_of(e),
            Tail::Entries(_) | Tail::Error => None,
        }
    }

    fn kept_of_arms(&self, c: &Choose) -> Option<LocalId> {
        let Domain::Arms(arms) = &c.domain else { return None };
        let (first, rest) = arms.split_first()?;
        self.kept_of(&first.2).filter(|kept| rest.iter().all(|a| self.kept_of(&a.2) == Some(*kept)))
    }

    /// Whether a call gives back the shape of its first argument, by its name or by what the function declares.
    fn keeps_shape(&self, callee: Callee) -> bool {
        let f = match callee {
            Callee::Primitive(name) => return KEEPS_SHAPE.contains(&name),
            Callee::Fn(id) => self.function(id),
            _ => return false,
        };
        let dims = |ty: &'p Type| if let Type::Named { dims, .. } = ty { dims.as_deref() } else { None };
        let (Some(given), Some(result)) = (f.params.first().and_then(|p| dims(&p.ty)), dims(&f.result)) else { return false };
        let same = |(a, b): (&Dim, &Dim)| match (a, b) {
            (Dim::Bind(a, _), Dim::Expr(Expr { kind: ExprKind::Local(b), .. })) => a == b,
            (Dim::BindRest(a, _), Dim::Rest(b, _)) => a == b,
            _ => false,
        };
        given.len() == result.len() && given.iter().zip(result).all(same)
    }
}

fn is_tensor(local: LocalId, frame: &Frame) -> bool {
    matches!(frame.locals.get(local.0 as usize), Some(Value::Tensor(_)))
}
