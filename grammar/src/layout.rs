//! What the printer needs to know of single nodes: how tightly they bind, how numbers and strings are written.

use crate::ast::*;

/// How tightly the parts of an expression bind, loosest first.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub enum Level {
    Expr,
    Or,
    And,
    Not,
    Compare,
    Range,
    Add,
    Mul,
    Unary,
    Postfix,
    Primary,
}

/// How tightly an expression holds together.
pub fn level(kind: &ExprKind) -> Level {
    match kind {
        ExprKind::As { .. } | ExprKind::Choose(_) => Level::Expr,
        ExprKind::Unary { op: UnaryOp::Not, .. } => Level::Not,
        ExprKind::Unary { op: UnaryOp::Neg, .. } | ExprKind::Whole(_) => Level::Unary,
        ExprKind::Binary { op, .. } => binary_level(*op),
        ExprKind::Range { .. } => Level::Range,
        ExprKind::Call { .. } | ExprKind::Index { .. } => Level::Postfix,
        _ => Level::Primary,
    }
}

/// The level of an operator.
pub fn binary_level(op: BinaryOp) -> Level {
    match op {
        BinaryOp::Or => Level::Or,
        BinaryOp::And => Level::And,
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Join => Level::Add,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::MatMul => Level::Mul,
        _ => Level::Compare,
    }
}

/// The next tighter level.
pub fn next(level: Level) -> Level {
    match level {
        Level::Expr => Level::Or,
        Level::Or => Level::And,
        Level::And => Level::Not,
        Level::Not => Level::Compare,
        Level::Compare => Level::Range,
        Level::Range => Level::Add,
        Level::Add => Level::Mul,
        Level::Mul => Level::Unary,
        Level::Unary => Level::Postfix,
        Level::Postfix | Level::Primary => Level::Primary,
    }
}

/// Whether an expression is an ordinary formula without blocks, and not deeply nested.
pub fn is_small(e: &Expr, depth: usize) -> bool {
    if depth > 12 {
        return false;
    }
    let small = |e: &Expr| is_small(e, depth + 1);
    match &e.kind {
        ExprKind::Block(_) | ExprKind::Model(_) | ExprKind::If { .. } | ExprKind::Fold { .. } | ExprKind::Choose(_) => false,
        ExprKind::Tuple(parts) | ExprKind::List(parts) => parts.iter().all(small),
        ExprKind::Comprehension { value, clauses } => {
            small(value) && clauses.iter().all(|c| small(&c.list) && c.condition.as_ref().is_none_or(small))
        }
        ExprKind::Unary { value, .. } | ExprKind::Whole(value) | ExprKind::As { value, .. } => small(value),
        ExprKind::Binary { left, right, .. } => small(left) && small(right),
        ExprKind::Range { start, end, .. } => start.as_deref().is_none_or(small) && end.as_deref().is_none_or(small),
        ExprKind::Call { callee, args } => small(callee) && args.iter().all(|a| small(&a.value)),
        ExprKind::Index { base, indices } => small(base) && indices.iter().all(small),
        _ => true,
    }
}

/// A string as it is written, with quotes and escapes.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Bytes in the largest unit that says them exactly.
pub fn size_text(bytes: u64) -> String {
    const UNITS: [(u64, &str); 8] = [
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1_000_000, "MB"),
        (1 << 20, "MiB"),
        (1000, "KB"),
        (1 << 10, "KiB"),
    ];
    match UNITS.iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{}.{:03}KB", bytes / 1000, bytes % 1000),
    }
}
