//! Top-level items, bodies of functions and statements.

use super::Resolver;
use super::scope::{Body, Owner};
use crate::hir::{self, ExprKind, FnId, Item, SettingValue, Stmt, Tail};
use merge_base::Span;
use merge_grammar::ast;
use rustc_hash::FxHashSet;

impl Resolver<'_> {
    /// The bodies of all functions of all files.
    pub(super) fn bodies(&mut self) {
        let entry = self.files[0].ast.clone();
        for item in &entry.items {
            let names = match item {
                ast::Item::Let(l) => binding_names(&l.pattern),
                ast::Item::Choose(c) => vec![(c.name.text.clone(), c.name.span)],
                _ => Vec::new(),
            };
            self.top_names.extend(names);
        }
        self.remaining_bodies();
    }

    /// The bodies of functions that are not resolved yet; one may lead to a file that nothing used before.
    pub(super) fn remaining_bodies(&mut self) {
        let mut index = 0;
        while index < self.signatures.len() {
            let signature = &self.signatures[index];
            let (file, item) = (signature.file, signature.item);
            if self.fns[index].is_some() {
                index += 1;
                continue;
            }
            let ast = self.files[file].ast.clone();
            if let ast::Item::Fn(f) = &ast.items[item] {
                let body = Body::new(Owner::Fn(FnId(index as u32)), file);
                let outer = std::mem::replace(&mut self.body, body);
                let resolved = self.function_body(f);
                self.body = outer;
                self.fns[index] = Some(resolved);
            }
            index += 1;
        }
    }

    fn function_body(&mut self, f: &ast::Fn) -> hir::Fn {
        let locals: Vec<_> = f.params.iter().map(|p| self.define(&p.name.text, p.name.span)).collect();
        let types: Vec<&ast::Type> = f.params.iter().map(|p| &p.ty).chain([&f.result]).collect();
        self.declare_dims(&types);
        let mut bound = FxHashSet::default();
        let mut params = Vec::new();
        for (p, local) in f.params.iter().zip(locals) {
            let axis = matches!(&p.ty, ast::Type::Named { name, .. } if name.text == "axis");
            params.push(hir::Param {
                name: p.name.text.clone(),
                local,
                ty: self.ty(&p.ty, &mut bound),
                range: p.range.as_ref().map(|e| self.expr(e)),
                default: p.default.as_ref().map(|e| if axis { self.axis_argument(e) } else { self.expr(e) }),
                span: p.span,
            });
        }
        let result = self.ty(&f.result, &mut bound);
        let requires = f.requires.as_ref().map(|e| self.expr(e));
        let body = self.block(&f.body);
        hir::Fn {
            name: f.name.text.clone(),
            docs: f.docs.clone(),
            file: self.files[self.body.file].id,
            params,
            result,
            requires,
            body,
            locals: std::mem::take(&mut self.body.locals),
            span: f.name.span,
        }
    }

    /// The recipe's own items, in order.
    pub(super) fn top_level(&mut self, file: usize) -> Vec<Item> {
        let ast = self.files[file].ast.clone();
        let pending = ast.items.iter().flat_map(|item| match item {
            ast::Item::Let(l) => binding_names(&l.pattern),
            ast::Item::Choose(c) => vec![(c.name.text.clone(), c.name.span)],
            _ => Vec::new(),
        });
        self.announce(pending.collect());
        let mut items = Vec::new();
        for item in &ast.items {
            match item {
                ast::Item::Let(l) => items.push(Item::Let(self.let_(l))),
                ast::Item::Choose(c) => items.push(Item::Choose(self.choose_stmt(c))),
                ast::Item::Save(s) => items.push(Item::Save(self.save(s))),
                ast::Item::Search(s) => {
                    if let Some(search) = self.search(s) {
                        items.push(Item::Search(Box::new(search)));
                    }
                }
                ast::Item::Test(t) => items.push(Item::Test(self.test(t))),
                ast::Item::Use(_) | ast::Item::Fn(_) | ast::Item::Error(_) => {}
            }
        }
        self.close_top();
        items
    }

    fn test(&mut self, t: &ast::Test) -> hir::Test {
        let top = std::mem::replace(&mut self.body, Body::new(Owner::Test, 0));
        self.top = Some(top);
        let body = self.block(&t.body);
        let locals = std::mem::take(&mut self.body.locals);
        if let Some(top) = self.top.take() {
            self.body = top;
        }
        hir::Test { title: t.title.clone(), body, locals, span: t.span }
    }

    fn save(&mut self, s: &ast::Save) -> hir::Save {
        self.scoped(|r| {
            let clauses = r.clauses(&s.clauses);
            hir::Save {
                value: r.expr(&s.value),
                to: r.expr(&s.to),
                format: s.format.as_ref().map(|n| (n.text.clone(), n.span)),
                settings: r.settings(&s.settings),
                clauses,
                span: s.span,
            }
        })
    }

    /// Settings take bare words: `dtype: bf16`. A variable of that name goes first.
    fn settings(&mut self, settings: &ast::Settings) -> Vec<hir::Setting> {
        let entries = settings.entries.iter().map(|s| hir::Setting {
            key: s.key.text.clone(),
            key_span: s.key.span,
            value: match &s.value {
                ast::SettingValue::Nested(inner) => SettingValue::Nested(self.settings(inner)),
                ast::SettingValue::Expr(e) => SettingValue::Expr(self.expr_or_word(e)),
            },
        });
        entries.collect()
    }

    fn expr_or_word(&mut self, e: &ast::Expr) -> hir::Expr {
        if let ast::ExprKind::Name(name) = &e.kind {
            let kind = self.variable(name).unwrap_or_else(|| ExprKind::Word(name.clone()));
            return hir::Expr { kind, span: e.span };
        }
        // Lists in `config` may hold `null`.
        if let ast::ExprKind::List(members) = &e.kind {
            let members = members.iter().map(|m| self.expr_or_word(m)).collect();
            return hir::Expr { kind: ExprKind::List(members), span: e.span };
        }
        self.expr(e)
    }

    pub(super) fn let_(&mut self, l: &ast::Let) -> hir::Let {
        let axis = matches!(&l.ty, Some(ast::Type::Named { name, .. }) if name.text == "axis");
        let value = if axis { self.axis_argument(&l.value) } else { self.expr(&l.value) };
        let ty = l.ty.as_ref().map(|t| {
            self.declare_dims(&[t]);
            self.ty(t, &mut FxHashSet::default())
        });
        let pattern = self.binding(&l.pattern, true);
        let requires = l.requires.as_ref().map(|e| self.expr(e));
        hir::Let { pattern, ty, value, requires, span: l.span }
    }

    /// Defines the names of a binding; those of a `let` should be used.
    pub(super) fn binding(&mut self, binding: &ast::Binding, watched: bool) -> hir::Binding {
        match binding {
            ast::Binding::Name(n) => {
                let id = if watched { self.define_watched(&n.text, n.span) } else { self.define(&n.text, n.span) };
                hir::Binding::Local(id, n.span)
            }
            ast::Binding::Ignore(span) => hir::Binding::Ignore(*span),
            ast::Binding::Tuple(parts, span) => {
                hir::Binding::Tuple(parts.iter().map(|p| self.binding(p, watched)).collect(), *span)
            }
        }
    }

    pub(super) fn block(&mut self, block: &ast::Block) -> hir::Block {
        self.scoped(|r| {
            let stmts = r.stmts(&block.stmts);
            let tail = match &block.tail {
                ast::Tail::Value(e) => Tail::Value(Box::new(r.expr(e))),
                ast::Tail::Entries(entries) => Tail::Entries(entries.iter().map(|e| r.entry(e)).collect()),
                ast::Tail::Error(_) => Tail::Error,
            };
            hir::Block { stmts, tail, span: block.span }
        })
    }

    fn entry(&mut self, entry: &ast::Entry) -> hir::Entry {
        self.scoped(|r| {
            let clauses = r.clauses(&entry.clauses);
            let name = r.tensor_name(&entry.name);
            hir::Entry { name, value: r.expr(&entry.value), clauses, span: entry.span }
        })
    }

    pub(super) fn stmts(&mut self, stmts: &[ast::Stmt]) -> Vec<Stmt> {
        let pending = stmts.iter().flat_map(|s| match s {
            ast::Stmt::Let(l) => binding_names(&l.pattern),
            ast::Stmt::Choose(c) => vec![(c.name.text.clone(), c.name.span)],
            ast::Stmt::New(n) => vec![(n.name.text.clone(), n.name.span)],
            ast::Stmt::Error(_) => Vec::new(),
        });
        self.announce(pending.collect());
        if stmts.iter().any(|s| matches!(s, ast::Stmt::Error(_))) {
            self.scope_is_broken();
        }
        let mut resolved = Vec::new();
        for stmt in stmts {
            match stmt {
                ast::Stmt::Let(l) => resolved.push(Stmt::Let(self.let_(l))),
                ast::Stmt::Choose(c) => resolved.push(Stmt::Choose(self.choose_stmt(c))),
                ast::Stmt::New(n) => resolved.push(self.new_stmt(n)),
                ast::Stmt::Error(_) => {}
            }
        }
        resolved
    }

    fn choose_stmt(&mut self, c: &ast::Choose) -> hir::Choose {
        let mut choose = self.choose(c);
        choose.local = self.define_watched(&c.name.text, c.name.span);
        choose
    }

    fn new_stmt(&mut self, n: &ast::New) -> Stmt {
        let shape = n.shape.as_ref().map(|dims| {
            let dim = |d: &ast::Dim| match d {
                ast::Dim::Expr(e) => hir::Dim::Expr(self.expr(e)),
                ast::Dim::Rest(name) => match self.value_name(&name.text, name.span) {
                    ExprKind::Local(id) => hir::Dim::Rest(id, name.span),
                    kind => hir::Dim::Expr(hir::Expr { kind, span: name.span }),
                },
            };
            dims.iter().map(dim).collect()
        });
        let value = self.expr(&n.value);
        let local = self.define_watched(&n.name.text, n.name.span);
        Stmt::New { name: n.name.text.clone(), local, shape, value, span: n.span }
    }
}

fn binding_names(binding: &ast::Binding) -> Vec<(String, Span)> {
    match binding {
        ast::Binding::Name(n) => vec![(n.text.clone(), n.span)],
        ast::Binding::Ignore(_) => Vec::new(),
        ast::Binding::Tuple(parts, _) => parts.iter().flat_map(binding_names).collect(),
    }
}
