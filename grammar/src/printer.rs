//! A tree as source text in its one canonical layout.
//!
//! Comments are not in the tree, so they are not printed; doc comments are. What fits on a line stands on one
//! line, except models and blocks with statements.

use crate::ast::*;
use crate::layout::{Level, binary_level, is_small, level, next, quoted, size_text};
use std::fmt::Write;

/// Width beyond which calls, lists and blocks are broken up.
const WIDTH: usize = 110;

/// The text of a file. Parsing it gives the same tree up to spans; an `Error` node, for which there is no text,
/// is printed as a comment or a `_`.
pub fn print(file: &File) -> String {
    let mut out = String::new();
    for line in doc_lines(&file.docs) {
        let _ = writeln!(out, "{}", format!("//! {line}").trim_end());
    }
    let mut previous: Option<&Item> = None;
    for item in &file.items {
        let together = previous.is_some_and(|p| {
            std::mem::discriminant(p) == std::mem::discriminant(item)
                && matches!(item, Item::Use(_) | Item::Let(_) | Item::Save(_) | Item::Choose(_))
        });
        if !(out.is_empty() || together && !out.ends_with("}\n")) {
            out.push('\n');
        }
        let mut printer = Printer { out, indent: 0, flat: false };
        printer.item(item);
        out = printer.out;
        out.push('\n');
        previous = Some(item);
    }
    out
}

fn doc_lines(docs: &str) -> impl Iterator<Item = &str> {
    docs.split('\n').filter(move |_| !docs.is_empty())
}

struct Printer {
    out: String,
    indent: usize,
    /// Whether a part is printed to see how long it is, so that nothing is broken up.
    flat: bool,
}

impl Printer {
    fn word(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn line(&mut self) {
        while self.out.ends_with(' ') {
            self.out.pop();
        }
        self.out.push('\n');
        for _ in 0..self.indent {
            self.out.push_str("    ");
        }
    }

    fn column(&self) -> usize {
        self.out.len() - self.out.rfind('\n').map_or(0, |n| n + 1)
    }

    fn docs(&mut self, docs: &str) {
        for text in doc_lines(docs) {
            let line = format!("/// {text}");
            self.word(line.trim_end());
            self.line();
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Use(u) => self.use_item(u),
            Item::Let(l) => self.let_item(l),
            Item::Choose(c) => self.choose(c),
            Item::Fn(f) => self.function(f),
            Item::Save(s) => self.save(s),
            Item::Search(s) => {
                self.word("search ");
                self.word(&s.target.text);
                self.word(" ");
                self.settings(&s.settings);
            }
            Item::Test(t) => {
                self.docs(&t.docs);
                self.word("test ");
                self.string(&t.title);
                self.word(" ");
                self.block(&t.body);
            }
            Item::Error(_) => self.word("// an item that could not be read"),
        }
    }

    fn use_item(&mut self, u: &Use) {
        self.word("use ");
        let path: Vec<&str> = u.path.iter().map(|n| n.text.as_str()).collect();
        self.word(&path.join("."));
        if !u.names.is_empty() {
            let names: Vec<&str> = u.names.iter().map(|n| n.text.as_str()).collect();
            let _ = write!(self.out, ".{{{}}}", names.join(", "));
        }
    }

    fn let_item(&mut self, l: &Let) {
        self.docs(&l.docs);
        self.word("let ");
        self.binding(&l.pattern);
        if let Some(ty) = &l.ty {
            self.word(": ");
            self.ty(ty);
        }
        self.word(" = ");
        self.expr(&l.value, Level::Expr);
        if let Some(requires) = &l.requires {
            self.word(" requires ");
            self.expr(requires, Level::Expr);
        }
    }

    fn binding(&mut self, b: &Binding) {
        match b {
            Binding::Name(n) => self.word(&n.text),
            Binding::Ignore(_) => self.word("_"),
            Binding::Tuple(parts, _) => {
                self.word("(");
                for (i, part) in parts.iter().enumerate() {
                    self.word(if i == 0 { "" } else { ", " });
                    self.binding(part);
                }
                self.word(")");
            }
        }
    }

    fn choose(&mut self, c: &Choose) {
        self.docs(&c.docs);
        self.word("choose ");
        self.word(&c.name.text);
        if let Some(per) = &c.per {
            self.word(" per ");
            self.expr(per, Level::Postfix);
        }
        match &c.domain {
            Domain::In(domain) => {
                self.word(" in ");
                self.expr(domain, Level::Range);
            }
            Domain::Arms(arms) => {
                self.word(" {");
                self.indent += 1;
                let widest = arms.iter().map(|a| a.name.text.len()).max().unwrap_or(0);
                for arm in arms {
                    self.line();
                    let _ = write!(self.out, "{:widest$} => ", arm.name.text);
                    self.expr(&arm.value, Level::Expr);
                }
                self.indent -= 1;
                self.line();
                self.word("}");
            }
        }
        if let Some(default) = &c.default {
            self.word(" = ");
            self.expr(default, Level::Expr);
        }
    }

    fn function(&mut self, f: &Fn) {
        self.docs(&f.docs);
        self.word("fn ");
        self.word(&f.name.text);
        self.word("(");
        for (i, param) in f.params.iter().enumerate() {
            self.word(if i == 0 { "" } else { ", " });
            let _ = write!(self.out, "{}: ", param.name.text);
            self.ty(&param.ty);
            if let Some(range) = &param.range {
                self.word(" in ");
                self.expr(range, Level::Range);
            }
            if let Some(default) = &param.default {
                self.word(" = ");
                self.expr(default, Level::Expr);
            }
        }
        self.word(") -> ");
        self.ty(&f.result);
        if let Some(requires) = &f.requires {
            self.indent += 2;
            self.line();
            self.word("requires ");
            self.expr(requires, Level::Expr);
            self.indent -= 2;
        }
        self.word(" ");
        self.block(&f.body);
    }

    fn ty(&mut self, ty: &Type) {
        match ty {
            Type::Named { name, dims, .. } => {
                self.word(&name.text);
                if let Some(dims) = dims {
                    self.dims(dims);
                }
            }
            Type::List(t, _) => {
                self.word("[");
                self.ty(t);
                self.word("]");
            }
            Type::Tuple(parts, _) => {
                self.word("(");
                for (i, part) in parts.iter().enumerate() {
                    self.word(if i == 0 { "" } else { ", " });
                    self.ty(part);
                }
                self.word(")");
            }
            Type::Error(_) => self.word("_"),
        }
    }

    fn dims(&mut self, dims: &[Dim]) {
        self.word("[");
        for (i, dim) in dims.iter().enumerate() {
            self.word(if i == 0 { "" } else { ", " });
            match dim {
                Dim::Expr(e) => self.expr(e, Level::Add),
                Dim::Rest(n) => {
                    self.word("..");
                    self.word(&n.text);
                }
            }
        }
        self.word("]");
    }

    fn save(&mut self, s: &Save) {
        self.docs(&s.docs);
        self.word("save ");
        self.expr(&s.value, Level::Expr);
        self.word(" to ");
        self.expr(&s.to, Level::Postfix);
        if let Some(format) = &s.format {
            self.word(" as ");
            self.word(&format.text);
        }
        if s.settings.span.is_some() {
            self.word(" ");
            self.settings(&s.settings);
        }
        self.clauses(&s.clauses);
    }

    fn settings(&mut self, s: &Settings) {
        let flat = self.try_flat(|p| p.settings_in(s, false));
        match flat {
            Some(text) => self.word(&text),
            None => self.settings_in(s, true),
        }
    }

    fn settings_in(&mut self, s: &Settings, broken: bool) {
        if s.entries.is_empty() {
            return self.word("{}");
        }
        self.word("{");
        self.indent += 1;
        for (i, entry) in s.entries.iter().enumerate() {
            if broken {
                self.line();
            } else {
                self.word(if i == 0 { " " } else { ", " });
            }
            let _ = write!(self.out, "{}: ", entry.key.text);
            match &entry.value {
                SettingValue::Expr(e) => self.expr(e, Level::Expr),
                SettingValue::Nested(n) => self.settings_in(n, broken),
            }
        }
        self.indent -= 1;
        if broken {
            self.line();
        } else {
            self.word(" ");
        }
        self.word("}");
    }

    /// The text of a part on one line, if it fits into what is left of this one.
    fn try_flat(&self, part: impl FnOnce(&mut Printer)) -> Option<String> {
        let mut flat = Printer { out: String::new(), indent: 0, flat: true };
        part(&mut flat);
        (!flat.out.contains('\n') && self.column() + flat.out.len() <= WIDTH).then_some(flat.out)
    }

    fn block(&mut self, b: &Block) {
        if b.stmts.is_empty() {
            match &b.tail {
                Tail::Entries(entries) if entries.is_empty() => return self.word("{}"),
                Tail::Value(value) if is_small(value, 0) => {
                    self.word("{ ");
                    self.expr(value, Level::Expr);
                    return self.word(" }");
                }
                _ => {}
            }
        }
        self.word("{");
        self.indent += 1;
        self.stmts(&b.stmts);
        match &b.tail {
            Tail::Value(value) => {
                self.line();
                self.expr(value, Level::Expr);
            }
            Tail::Entries(entries) => {
                for entry in entries {
                    self.line();
                    self.string(&entry.name.text);
                    self.word(": ");
                    self.expr(&entry.value, Level::Expr);
                    self.clauses(&entry.clauses);
                }
            }
            Tail::Error(_) => {}
        }
        self.indent -= 1;
        self.line();
        self.word("}");
    }

    fn stmts(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            self.line();
            match stmt {
                Stmt::Let(l) => self.let_item(l),
                Stmt::Choose(c) => self.choose(c),
                Stmt::New(n) => {
                    self.word("new ");
                    self.word(&n.name.text);
                    if let Some(shape) = &n.shape {
                        self.dims(shape);
                    }
                    self.word(" = ");
                    self.expr(&n.value, Level::Expr);
                }
                Stmt::Error(_) => self.word("// a statement that could not be read"),
            }
        }
    }

    fn clauses(&mut self, clauses: &[For]) {
        for clause in clauses {
            self.word(" for ");
            self.binding(&clause.binding);
            self.word(" in ");
            self.expr(&clause.list, Level::Expr);
            if let Some(condition) = &clause.condition {
                self.word(" if ");
                self.expr(condition, Level::Expr);
            }
        }
    }

    fn model(&mut self, m: &Model) {
        self.word(if m.kind == ModelKind::Like { "like " } else { "from " });
        self.expr(&m.of, Level::Postfix);
        self.word(" {");
        self.indent += 1;
        self.stmts(&m.stmts);
        let sides: Vec<String> = m.rules.iter().map(|r| lhs_text(&r.lhs)).collect();
        let widest = sides.iter().map(|s| s.chars().count()).filter(|n| *n <= 60).max().unwrap_or(0);
        for (rule, side) in m.rules.iter().zip(&sides) {
            self.line();
            if let Lhs::Error(_) = rule.lhs {
                self.word("// a rule that could not be read");
                continue;
            }
            let _ = write!(self.out, "{side:widest$} => ");
            self.expr(&rule.value, Level::Expr);
        }
        self.indent -= 1;
        self.line();
        self.word("}");
    }

    fn expr(&mut self, e: &Expr, at_least: Level) {
        if level(&e.kind) < at_least {
            self.word("(");
            self.expr(e, Level::Expr);
            return self.word(")");
        }
        match &e.kind {
            ExprKind::Int(n) => {
                let _ = write!(self.out, "{n}");
            }
            ExprKind::Float(_, digits) => self.word(digits),
            ExprKind::Size(bytes) => self.word(&size_text(*bytes)),
            ExprKind::Str(s) => self.string(&s.text),
            ExprKind::Bool(b) => self.word(if *b { "true" } else { "false" }),
            ExprKind::Name(n) => self.word(n),
            ExprKind::Tuple(parts) => self.listed("(", parts, ")"),
            ExprKind::List(parts) => self.listed("[", parts, "]"),
            ExprKind::Comprehension { value, clauses } => {
                self.word("[");
                self.expr(value, Level::Expr);
                self.clauses(clauses);
                self.word("]");
            }
            ExprKind::Block(b) => self.block(b),
            ExprKind::Model(m) => self.model(m),
            ExprKind::If { condition, then, otherwise } => {
                self.word("if ");
                self.expr(condition, Level::Expr);
                self.word(" ");
                self.block(then);
                self.word(" else ");
                self.expr(otherwise, Level::Primary);
            }
            ExprKind::Fold { binding, start, item, list, until, body } => {
                self.word("fold ");
                self.binding(binding);
                self.word(" = ");
                self.expr(start, Level::Expr);
                self.word(" for ");
                self.binding(item);
                self.word(" in ");
                self.expr(list, Level::Expr);
                if let Some(until) = until {
                    self.word(" until ");
                    self.expr(until, Level::Expr);
                }
                self.word(" ");
                self.block(body);
            }
            ExprKind::Choose(c) => self.choose(c),
            ExprKind::Unary { op: UnaryOp::Not, value } => {
                self.word("not ");
                self.expr(value, Level::Not);
            }
            ExprKind::Unary { op: UnaryOp::Neg, value } => {
                self.word("-");
                self.expr(value, Level::Unary);
            }
            ExprKind::Binary { op, left, right, .. } => {
                let own = binary_level(*op);
                // Comparisons do not chain, so neither side may be one.
                self.expr(left, if own == Level::Compare { next(own) } else { own });
                let _ = write!(self.out, " {} ", op.text());
                self.expr(right, next(own));
            }
            ExprKind::Range { start, end, inclusive } => {
                if let Some(start) = start {
                    self.expr(start, Level::Add);
                }
                self.word(if *inclusive { "..=" } else { ".." });
                if let Some(end) = end {
                    self.expr(end, Level::Add);
                }
            }
            ExprKind::Whole(value) => {
                self.word("whole ");
                self.expr(value, Level::Postfix);
            }
            ExprKind::Call { callee, args } => {
                self.expr(callee, Level::Postfix);
                self.args(args);
            }
            ExprKind::Index { base, indices } => {
                self.expr(base, Level::Postfix);
                self.listed("[", indices, "]");
            }
            ExprKind::As { value, role } => {
                self.expr(value, Level::Or);
                self.word(" as ");
                self.word(&role.text);
            }
            ExprKind::Error => self.word("_"),
        }
    }

    fn args(&mut self, args: &[Arg]) {
        let inline = |p: &mut Printer, separator: &dyn std::ops::Fn(&mut Printer, usize)| {
            for (i, arg) in args.iter().enumerate() {
                separator(p, i);
                if let Some(name) = &arg.name {
                    let _ = write!(p.out, "{}: ", name.text);
                }
                p.expr(&arg.value, Level::Expr);
            }
        };
        let comma = |p: &mut Printer, i: usize| p.word(if i == 0 { "" } else { ", " });
        let wide = !self.flat && args.len() > 1 && {
            let mut flat = Printer { out: String::new(), indent: 0, flat: true };
            inline(&mut flat, &comma);
            !flat.out.contains('\n') && self.column() + flat.out.len() > WIDTH
        };
        self.word("(");
        if wide {
            self.indent += 1;
            inline(self, &|p, i| {
                p.word(if i == 0 { "" } else { "," });
                p.line();
            });
            self.indent -= 1;
            self.line();
        } else {
            inline(self, &comma);
        }
        self.word(")");
    }

    fn listed(&mut self, open: &str, parts: &[Expr], close: &str) {
        self.word(open);
        for (i, part) in parts.iter().enumerate() {
            self.word(if i == 0 { "" } else { ", " });
            self.expr(part, Level::Expr);
        }
        self.word(close);
    }

    fn string(&mut self, text: &str) {
        self.out.push_str(&quoted(text));
    }
}

fn lhs_text(lhs: &Lhs) -> String {
    let mut p = Printer { out: String::new(), indent: 0, flat: true };
    match lhs {
        Lhs::Pattern { pattern, optional, shape, .. } => {
            p.string(&pattern.text);
            p.word(if *optional { "?" } else { "" });
            rule_shape(&mut p, shape);
        }
        Lhs::Rest { shape, .. } => {
            p.word("_");
            rule_shape(&mut p, shape);
        }
        Lhs::Module { pattern, function, argument, ty, result, .. } => {
            p.string(&pattern.text);
            let _ = write!(p.out, " as {}({}", function.text, argument.text);
            if let Some(ty) = ty {
                p.word(": ");
                p.ty(ty);
            }
            p.word(")");
            if let Some(result) = result {
                p.word(" -> ");
                p.ty(result);
            }
        }
        Lhs::Error(_) => {}
    }
    p.out
}

fn rule_shape(p: &mut Printer, shape: &Option<RuleShape>) {
    let Some(shape) = shape else { return };
    let dims: Vec<String> = shape
        .dims
        .iter()
        .map(|d| match d {
            RuleDim::Bind(n) => n.text.clone(),
            RuleDim::Ignore(_) => "_".into(),
            RuleDim::Is(n, _) => n.to_string(),
            RuleDim::Rest(n) => format!("..{}", n.text),
        })
        .collect();
    let _ = write!(p.out, "[{}]", dims.join(", "));
}
