//! HIR as text, for `mergec emit --ir hir`.
//!
//! Variables carry their number (`x%3`), those of the top level an `@` (`@base%0`), so that shadowing is visible.

use super::{
    Arg, Binding, Block, Callee, Choose, Dim, Domain, Entry, Expr, ExprKind, Fn, For, Item, Let, Lhs, Local, LocalId, ModelKind,
    Program, Role, Rule, RuleDim, Save, Setting, SettingValue, Stmt, Str, StrPart, Tail, Type, TypeName, UnaryOp,
};
use std::fmt::Write;

/// A whole program: functions in order of their numbers, then the items.
pub fn print_hir(program: &Program) -> String {
    let mut p = Printer { program, locals: &program.globals, out: String::new(), depth: 0 };
    for f in &program.fns {
        p.locals = &f.locals;
        p.function(f);
    }
    p.locals = &program.globals;
    for item in &program.items {
        p.item(item);
    }
    p.out
}

struct Printer<'p> {
    program: &'p Program,
    locals: &'p [Local],
    out: String,
    depth: usize,
}

impl<'p> Printer<'p> {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn line(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("    ", self.depth));
    }

    /// Parts between commas.
    fn list<T>(&mut self, parts: &'p [T], mut each: impl FnMut(&mut Self, &'p T)) {
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                self.put(", ");
            }
            each(self, part);
        }
    }

    fn local(&mut self, id: LocalId) {
        let name = self.locals.get(id.0 as usize).map_or("?", |l| l.name.as_str());
        let _ = write!(self.out, "{name}%{}", id.0);
    }

    fn function(&mut self, f: &'p Fn) {
        let _ = write!(self.out, "fn {}(", f.name);
        self.list(&f.params, |p, param| {
            p.local(param.local);
            p.put(": ");
            p.ty(&param.ty);
            p.after(" in ", param.range.as_ref());
            p.after(" = ", param.default.as_ref());
        });
        self.put(") -> ");
        self.ty(&f.result);
        self.after(" requires ", f.requires.as_ref());
        self.put(" ");
        self.block(&f.body);
        self.put("\n\n");
    }

    /// An expression that may be absent, behind its word.
    fn after(&mut self, word: &str, e: Option<&'p Expr>) {
        if let Some(e) = e {
            self.put(word);
            self.expr(e);
        }
    }

    fn item(&mut self, item: &'p Item) {
        match item {
            Item::Let(l) => self.let_(l),
            Item::Choose(c) => self.choose(c),
            Item::Save(s) => self.save(s),
            Item::Search(s) => {
                let _ = write!(self.out, "search {} {{ ", s.name);
                self.list(&s.settings, |p, s| {
                    let _ = write!(p.out, "{}: {:?}", s.key, s.value);
                });
                self.put(" }");
            }
            Item::Test(t) => {
                let _ = write!(self.out, "test {:?} ", t.title);
                self.locals = &t.locals;
                self.block(&t.body);
                self.locals = &self.program.globals;
            }
        }
        self.put("\n");
    }

    fn save(&mut self, s: &'p Save) {
        self.after("save ", Some(&s.value));
        self.after(" to ", Some(&s.to));
        if let Some((format, _)) = &s.format {
            let _ = write!(self.out, " as {format}");
        }
        if !s.settings.is_empty() {
            self.put(" ");
            self.settings(&s.settings);
        }
        self.clauses(&s.clauses);
    }

    fn settings(&mut self, settings: &'p [Setting]) {
        self.put("{ ");
        self.list(settings, |p, s| {
            let _ = write!(p.out, "{}: ", s.key);
            match &s.value {
                SettingValue::Expr(e) => p.expr(e),
                SettingValue::Nested(inner) => p.settings(inner),
            }
        });
        self.put(" }");
    }

    fn let_(&mut self, l: &'p Let) {
        self.put("let ");
        self.binding(&l.pattern);
        if let Some(ty) = &l.ty {
            self.put(": ");
            self.ty(ty);
        }
        self.after(" = ", Some(&l.value));
        self.after(" requires ", l.requires.as_ref());
    }

    fn binding(&mut self, binding: &'p Binding) {
        match binding {
            Binding::Local(id, _) => self.local(*id),
            Binding::Ignore(_) => self.put("_"),
            Binding::Tuple(parts, _) => {
                self.put("(");
                self.list(parts, Self::binding);
                self.put(")");
            }
        }
    }

    fn choose(&mut self, c: &'p Choose) {
        self.put("choose ");
        self.local(c.local);
        self.after(" per ", c.per.as_ref());
        match &c.domain {
            Domain::In(e) => self.after(" in ", Some(e)),
            Domain::Arms(arms) => {
                self.put(" { ");
                self.list(arms, |p, (name, _, value)| {
                    p.put(name);
                    p.after(" => ", Some(value));
                });
                self.put(" }");
            }
        }
        self.after(" = ", c.default.as_ref());
    }

    fn ty(&mut self, ty: &'p Type) {
        match ty {
            Type::Named { name, dims, .. } => {
                self.put(type_name(*name));
                if let Some(dims) = dims {
                    self.dims(dims);
                }
            }
            Type::List(inner, _) => {
                self.put("[");
                self.ty(inner);
                self.put("]");
            }
            Type::Tuple(parts, _) => {
                self.put("(");
                self.list(parts, Self::ty);
                self.put(")");
            }
            Type::Error => self.put("<error>"),
        }
    }

    /// Where a dim is bound it has a `!`.
    fn dims(&mut self, dims: &'p [Dim]) {
        self.put("[");
        self.list(dims, |p, dim| {
            if matches!(dim, Dim::BindRest(..) | Dim::Rest(..)) {
                p.put("..");
            }
            match dim {
                Dim::Bind(id, _) | Dim::BindRest(id, _) => {
                    p.local(*id);
                    p.put("!");
                }
                Dim::Rest(id, _) => p.local(*id),
                Dim::Expr(e) => p.expr(e),
            }
        });
        self.put("]");
    }

    fn block(&mut self, block: &'p Block) {
        self.put("{");
        self.depth += 1;
        self.stmts(&block.stmts);
        match &block.tail {
            Tail::Value(e) => {
                self.line();
                self.expr(e);
            }
            Tail::Entries(entries) => entries.iter().for_each(|e| self.entry(e)),
            Tail::Error => self.put(" <error>"),
        }
        self.depth -= 1;
        self.line();
        self.put("}");
    }

    fn entry(&mut self, entry: &'p Entry) {
        self.line();
        self.string(&entry.name);
        self.after(": ", Some(&entry.value));
        self.clauses(&entry.clauses);
    }

    fn stmts(&mut self, stmts: &'p [Stmt]) {
        for stmt in stmts {
            self.line();
            match stmt {
                Stmt::Let(l) => self.let_(l),
                Stmt::Choose(c) => self.choose(c),
                Stmt::New { local, shape, value, .. } => {
                    self.put("new ");
                    self.local(*local);
                    if let Some(dims) = shape {
                        self.dims(dims);
                    }
                    self.after(" = ", Some(value));
                }
            }
        }
    }

    fn clauses(&mut self, clauses: &'p [For]) {
        for c in clauses {
            self.put(" for ");
            self.binding(&c.binding);
            self.after(" in ", Some(&c.list));
            self.after(" if ", c.condition.as_ref());
        }
    }

    fn rule(&mut self, rule: &'p Rule) {
        self.line();
        match &rule.lhs {
            Lhs::Pattern { pattern, captures, optional } => {
                let _ = write!(self.out, "{:?}{}", pattern.text(), if *optional { "?" } else { "" });
                self.captures(captures);
            }
            Lhs::Module(m) => {
                let _ = write!(self.out, "{:?}", m.pattern.text());
                self.captures(&m.captures);
                self.put(" as ");
                self.local(m.function);
                self.put("(");
                self.local(m.argument);
                self.after_type(": ", m.ty.as_ref());
                self.put(")");
                self.after_type(" -> ", m.result.as_ref());
            }
            Lhs::Rest => self.put("_"),
            Lhs::Error => self.put("<error>"),
        }
        if let Some(dims) = &rule.shape {
            self.put("[");
            self.list(dims, |p, dim| match dim {
                RuleDim::Bind(id) => p.local(*id),
                RuleDim::Ignore => p.put("_"),
                RuleDim::Is(n) => p.put(&n.to_string()),
                RuleDim::Rest(id) => {
                    p.put("..");
                    p.local(*id);
                }
            });
            self.put("]");
        }
        self.after(" => ", Some(&rule.value));
    }

    fn after_type(&mut self, word: &str, ty: Option<&'p Type>) {
        if let Some(ty) = ty {
            self.put(word);
            self.ty(ty);
        }
    }

    fn captures(&mut self, captures: &'p [LocalId]) {
        if !captures.is_empty() {
            self.put(" |");
            self.list(captures, |p, id| p.local(*id));
            self.put("|");
        }
    }

    fn string(&mut self, s: &'p Str) {
        self.put("\"");
        for part in &s.parts {
            match part {
                StrPart::Text(t) => {
                    let escaped = t.escape_debug().to_string();
                    self.put(&escaped);
                }
                StrPart::Hole(e) => {
                    self.put("{");
                    self.expr(e);
                    self.put("}");
                }
            }
        }
        self.put("\"");
    }

    fn expr(&mut self, e: &'p Expr) {
        match &e.kind {
            ExprKind::Int(i) => self.put(&i.to_string()),
            ExprKind::Float(_, digits) => self.put(digits),
            ExprKind::Size(bytes) => {
                let _ = write!(self.out, "{bytes} bytes");
            }
            ExprKind::Bool(b) => self.put(if *b { "true" } else { "false" }),
            ExprKind::Str(s) => self.string(s),
            ExprKind::SubModel(pattern) => {
                let _ = write!(self.out, "pattern {:?}", pattern.text());
                self.list(pattern.holes(), |p, e| p.after(" with ", Some(e)));
            }
            ExprKind::Local(id) => self.local(*id),
            ExprKind::Global(id) => {
                let name = self.program.globals.get(id.0 as usize).map_or("?", |l| l.name.as_str());
                let _ = write!(self.out, "@{name}%{}", id.0);
            }
            ExprKind::Word(word) => {
                let _ = write!(self.out, "'{word}");
            }
            ExprKind::Tuple(parts) => {
                self.put("(");
                self.list(parts, Self::expr);
                self.put(")");
            }
            ExprKind::List(parts) => {
                self.put("[");
                self.list(parts, Self::expr);
                self.put("]");
            }
            ExprKind::Comprehension { value, clauses } => {
                self.after("[", Some(value));
                self.clauses(clauses);
                self.put("]");
            }
            ExprKind::Block(b) => self.block(b),
            ExprKind::Model { kind, of, stmts, rules } => {
                self.after(if *kind == ModelKind::Like { "like " } else { "from " }, Some(of));
                self.put(" {");
                self.depth += 1;
                self.stmts(stmts);
                rules.iter().for_each(|r| self.rule(r));
                self.depth -= 1;
                self.line();
                self.put("}");
            }
            ExprKind::If { condition, then, otherwise } => {
                self.after("if ", Some(condition));
                self.put(" ");
                self.block(then);
                self.after(" else ", Some(otherwise));
            }
            ExprKind::Fold { binding, start, item, list, until, body } => {
                self.put("fold ");
                self.binding(binding);
                self.after(" = ", Some(start));
                self.put(" for ");
                self.binding(item);
                self.after(" in ", Some(list));
                self.after(" until ", until.as_deref());
                self.put(" ");
                self.block(body);
            }
            ExprKind::Choose(c) => {
                self.put("(");
                self.choose(c);
                self.put(")");
            }
            ExprKind::Unary { op, value } => {
                self.after(if *op == UnaryOp::Neg { "(-" } else { "(not " }, Some(value));
                self.put(")");
            }
            ExprKind::Binary { op, left, right, .. } => {
                self.after("(", Some(left));
                self.put(&format!(" {} ", op.text()));
                self.expr(right);
                self.put(")");
            }
            ExprKind::Range { start, end, inclusive } => {
                self.after("", start.as_deref());
                self.put(if *inclusive { "..=" } else { ".." });
                self.after("", end.as_deref());
            }
            ExprKind::Whole(inner) => self.after("whole ", Some(inner)),
            ExprKind::Call { callee, args, .. } => self.call(*callee, args),
            ExprKind::Index { base, indices } => {
                self.expr(base);
                self.put("[");
                self.list(indices, Self::expr);
                self.put("]");
            }
            ExprKind::As { value, role, .. } => {
                self.after("(", Some(value));
                self.put(match role {
                    Role::Weight => " as weight)",
                    Role::Delta => " as delta)",
                    Role::Affine => " as affine)",
                });
            }
            ExprKind::Error => self.put("<error>"),
        }
    }

    /// A function of the recipe or of a library has its number; a primitive has none.
    fn call(&mut self, callee: Callee, args: &'p [Arg]) {
        match callee {
            Callee::Fn(id) => {
                let name = self.program.fns.get(id.0 as usize).map_or("?", |f| f.name.as_str());
                let _ = write!(self.out, "{name}#{}", id.0);
            }
            Callee::Primitive(name) => self.put(name),
            Callee::Module(local) => self.local(local),
        }
        self.put("(");
        self.list(args, |p, arg| {
            if let Some((name, _)) = &arg.name {
                let _ = write!(p.out, "{name}: ");
            }
            p.expr(&arg.value);
        });
        self.put(")");
    }
}

fn type_name(name: TypeName) -> &'static str {
    match name {
        TypeName::Weight => "weight",
        TypeName::Delta => "delta",
        TypeName::Tensor => "tensor",
        TypeName::Affine => "affine",
        TypeName::Model => "model",
        TypeName::Deltas => "deltas",
        TypeName::Tensors => "tensors",
        TypeName::F32 => "f32",
        TypeName::Int => "int",
        TypeName::Bool => "bool",
        TypeName::Str => "str",
        TypeName::Axis => "axis",
    }
}
