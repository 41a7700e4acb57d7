//! A walk over every expression of a tree.

use super::{Block, Choose, Domain, Expr, ExprKind, For, Let, Rule, Stmt, StrPart, Tail};

/// What a walk meets. Every method may look only; what is inside is walked by itself.
pub trait Visit<'p> {
    fn expr(&mut self, _e: &'p Expr) {}
    /// A `choose`, as a statement of a block or a model, or as an expression.
    fn choose(&mut self, _c: &'p Choose, _is_statement: bool) {}
}

/// Walks an expression, outer ones before those inside.
pub fn walk_expr<'p>(e: &'p Expr, visit: &mut dyn Visit<'p>) {
    visit.expr(e);
    match &e.kind {
        ExprKind::Str(s) => {
            for part in &s.parts {
                if let StrPart::Hole(e) = part {
                    walk_expr(e, visit);
                }
            }
        }
        ExprKind::Tuple(parts) | ExprKind::List(parts) => parts.iter().for_each(|e| walk_expr(e, visit)),
        ExprKind::Comprehension { value, clauses } => {
            walk_clauses(clauses, visit);
            walk_expr(value, visit);
        }
        ExprKind::Block(b) => walk_block(b, visit),
        ExprKind::Model { of, stmts, rules, .. } => {
            walk_expr(of, visit);
            walk_stmts(stmts, visit);
            rules.iter().for_each(|r: &Rule| walk_expr(&r.value, visit));
        }
        ExprKind::If { condition, then, otherwise } => {
            walk_expr(condition, visit);
            walk_block(then, visit);
            walk_expr(otherwise, visit);
        }
        ExprKind::Fold { start, list, until, body, .. } => {
            walk_expr(start, visit);
            walk_expr(list, visit);
            until.iter().for_each(|e| walk_expr(e, visit));
            walk_block(body, visit);
        }
        ExprKind::Choose(c) => walk_choose(c, false, visit),
        ExprKind::Unary { value, .. } | ExprKind::As { value, .. } | ExprKind::Whole(value) => walk_expr(value, visit),
        ExprKind::Binary { left, right, .. } => {
            walk_expr(left, visit);
            walk_expr(right, visit);
        }
        ExprKind::Range { start, end, .. } => start.iter().chain(end).for_each(|e| walk_expr(e, visit)),
        ExprKind::Call { args, .. } => args.iter().for_each(|a| walk_expr(&a.value, visit)),
        ExprKind::Index { base, indices } => {
            walk_expr(base, visit);
            indices.iter().for_each(|e| walk_expr(e, visit));
        }
        ExprKind::Int(_)
        | ExprKind::Float(..)
        | ExprKind::Size(_)
        | ExprKind::Bool(_)
        | ExprKind::SubModel(_)
        | ExprKind::Local(_)
        | ExprKind::Global(_)
        | ExprKind::Word(_)
        | ExprKind::Error => {}
    }
}

/// Walks a `choose`.
pub fn walk_choose<'p>(c: &'p Choose, is_statement: bool, visit: &mut dyn Visit<'p>) {
    visit.choose(c, is_statement);
    c.per.iter().for_each(|e| walk_expr(e, visit));
    match &c.domain {
        Domain::In(e) => walk_expr(e, visit),
        Domain::Arms(arms) => arms.iter().for_each(|(_, _, e)| walk_expr(e, visit)),
    }
    c.default.iter().for_each(|e| walk_expr(e, visit));
}

/// Walks a `let`.
pub fn walk_let<'p>(l: &'p Let, visit: &mut dyn Visit<'p>) {
    walk_expr(&l.value, visit);
    l.requires.iter().for_each(|e| walk_expr(e, visit));
}

/// Walks a block.
pub fn walk_block<'p>(b: &'p Block, visit: &mut dyn Visit<'p>) {
    walk_stmts(&b.stmts, visit);
    match &b.tail {
        Tail::Value(e) => walk_expr(e, visit),
        Tail::Entries(entries) => {
            for entry in entries {
                walk_clauses(&entry.clauses, visit);
                walk_expr(&entry.value, visit);
            }
        }
        Tail::Error => {}
    }
}

fn walk_stmts<'p>(stmts: &'p [Stmt], visit: &mut dyn Visit<'p>) {
    for stmt in stmts {
        match stmt {
            Stmt::Let(l) => walk_let(l, visit),
            Stmt::Choose(c) => walk_choose(c, true, visit),
            Stmt::New { value, .. } => walk_expr(value, visit),
        }
    }
}

/// Walks `for` clauses.
pub fn walk_clauses<'p>(clauses: &'p [For], visit: &mut dyn Visit<'p>) {
    for c in clauses {
        walk_expr(&c.list, visit);
        c.condition.iter().for_each(|e| walk_expr(e, visit));
    }
}
