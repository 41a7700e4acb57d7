//! Files and what they take from each other.

use super::{FileScope, ParamInfo, Resolver, Signature, types};
use crate::codes::names::{DEFINED_TWICE, NOT_IN_MODULE, PRIVATE, UNKNOWN_MODULE};
use crate::hir::FnId;
use merge_base::{Diagnostic, FileId, Span, did_you_mean, list_names};
use merge_grammar::ast::{self, Item, Type};
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;

/// The file whose functions need no `use`.
const PRELUDE: [&str; 2] = ["std", "networks"];

impl Resolver<'_> {
    /// Registers a file and its functions.
    pub(super) fn add_file(&mut self, id: FileId, ast: Rc<ast::File>) -> usize {
        let index = self.files.len();
        let mut doubtful = FxHashSet::default();
        for item in &ast.items {
            if let Item::Error(span) = item {
                let text = self.modules.text(*span);
                doubtful.extend(text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_string));
            }
        }
        let mut fns: FxHashMap<String, FnId> = FxHashMap::default();
        for (at, item) in ast.items.iter().enumerate() {
            let Item::Fn(f) = item else { continue };
            let fn_id = FnId(self.signatures.len() as u32);
            let params = f.params.iter().map(|p| ParamInfo {
                name: p.name.text.clone(),
                optional: p.default.is_some(),
                axis: matches!(&p.ty, Type::Named { name, .. } if name.text == "axis"),
            });
            self.signatures.push(Signature {
                name: f.name.text.clone(),
                span: f.name.span,
                file: index,
                item: at,
                params: params.collect(),
                broken: f.params.iter().map(|p| &p.ty).chain([&f.result]).any(|t| !types::is_known(t)),
            });
            self.fns.push(None);
            self.edges.push(Vec::new());
            if let Some(first) = fns.get(&f.name.text) {
                let first = self.signatures[first.0 as usize].span;
                self.report(twice("function", &f.name.text, f.name.span, first));
            } else {
                fns.insert(f.name.text.clone(), fn_id);
            }
        }
        self.files.push(FileScope { id, ast, fns, imports: FxHashMap::default(), doubtful });
        index
    }

    /// Follows the `use`s of every file, and of the files they lead to.
    pub(super) fn link_files(&mut self) {
        self.link_from(0);
    }

    /// A function that every file sees without a `use`, behind its own and the primitives.
    pub(super) fn prelude(&mut self, name: &str) -> Option<FnId> {
        if name.starts_with('_') {
            return None;
        }
        let path = PRELUDE.map(str::to_string).to_vec();
        let file = match self.paths.get(&path) {
            Some(known) => *known,
            None => {
                let found = self.modules.module(&path).ok().map(|(id, ast)| self.known_or_added(id, ast));
                self.paths.insert(path, found);
                found
            }
        };
        self.files[file?].fns.get(name).copied()
    }

    /// The names of functions that every file sees, as far as one was looked for.
    pub(super) fn prelude_names(&self) -> impl Iterator<Item = &str> {
        let file = self.paths.get(PRELUDE.map(str::to_string).as_slice()).copied().flatten();
        let names = file.into_iter().flat_map(|f| self.files[f].fns.keys().map(String::as_str));
        names.filter(|n| !n.starts_with('_'))
    }

    fn known_or_added(&mut self, id: FileId, ast: Rc<ast::File>) -> usize {
        match self.files.iter().position(|f| f.id == id) {
            Some(index) => index,
            None => {
                let index = self.add_file(id, ast);
                self.link_from(index);
                index
            }
        }
    }

    fn link_from(&mut self, mut index: usize) {
        while index < self.files.len() {
            let ast = self.files[index].ast.clone();
            let mut places: FxHashMap<String, Span> = FxHashMap::default();
            for item in &ast.items {
                if let Item::Use(u) = item {
                    self.link(index, u, &mut places);
                }
            }
            index += 1;
        }
    }

    fn link(&mut self, file: usize, u: &ast::Use, places: &mut FxHashMap<String, Span>) {
        let (path, names) = match u.path.split_last() {
            Some((last, path)) if u.names.is_empty() => (path, std::slice::from_ref(last)),
            _ => (u.path.as_slice(), u.names.as_slice()),
        };
        let texts: Vec<String> = path.iter().map(|n| n.text.clone()).collect();
        let span = path.iter().map(|n| n.span).reduce(Span::to).unwrap_or(u.span);
        let Some(target) = self.file_of(&texts, span, u) else {
            // Whatever it would have brought in is not reported again where it is used.
            self.files[file].doubtful.extend(names.iter().map(|n| n.text.clone()));
            return;
        };
        for name in names {
            if let Some(first) = places.insert(name.text.clone(), name.span) {
                self.report(twice("function", &name.text, name.span, first));
                continue;
            }
            if let Some(own) = self.files[file].fns.get(&name.text) {
                let own = self.signatures[own.0 as usize].span;
                self.report(twice("function", &name.text, name.span, own));
                continue;
            }
            match self.exported(target, &texts, name) {
                Some(id) => {
                    self.files[file].imports.insert(name.text.clone(), id);
                }
                None => {
                    self.files[file].doubtful.insert(name.text.clone());
                }
            }
        }
    }

    /// The file of a path, read once.
    fn file_of(&mut self, path: &[String], span: Span, u: &ast::Use) -> Option<usize> {
        if let Some(known) = self.paths.get(path) {
            return *known;
        }
        let found = match self.modules.module(path) {
            Ok((id, ast)) => match self.files.iter().position(|f| f.id == id) {
                Some(index) => Some(index),
                None => Some(self.add_file(id, ast)),
            },
            Err(missing) => {
                let dotted = path.join(".");
                let mut d = if path.is_empty() {
                    let name = u.path.first().map_or("", |n| n.text.as_str());
                    Diagnostic::new(UNKNOWN_MODULE, format!("`use {name}` names no file"), u.span, "a path is wanted here")
                        .help(format!("write the file in front, such as `use std.merging.{name}`"))
                } else {
                    Diagnostic::new(UNKNOWN_MODULE, format!("there is no file for `{dotted}`"), span, "not found")
                };
                match did_you_mean(&dotted, missing.known.iter().map(String::as_str)) {
                    Some(close) => d = d.help(format!("did you mean `{close}`?")).fix(format!("write `{close}`"), span, close),
                    None if !missing.known.is_empty() => d = d.help(format!("there are {}", list_names(&missing.known, 6))),
                    None => {}
                }
                self.report(d);
                None
            }
        };
        self.paths.insert(path.to_vec(), found);
        found
    }

    /// A function of another file, if it may be used.
    fn exported(&mut self, target: usize, path: &[String], name: &ast::Name) -> Option<FnId> {
        let dotted = path.join(".");
        if name.text.starts_with('_') {
            let message = format!("`{}` stays in its file: its name starts with `_`", name.text);
            let d = Diagnostic::new(PRIVATE, message, name.span, "private").help("use a function without `_`, or copy this one");
            self.report(d);
            return None;
        }
        let scope = &self.files[target];
        if let Some(id) = scope.fns.get(&name.text) {
            return Some(*id);
        }
        if scope.doubtful.contains(&name.text) {
            return None;
        }
        let is_value = scope.ast.items.iter().any(|i| match i {
            Item::Let(l) => matches!(&l.pattern, ast::Binding::Name(n) if n.text == name.text),
            Item::Choose(c) => c.name.text == name.text,
            _ => false,
        });
        let mut public: Vec<&str> = scope.fns.keys().map(String::as_str).filter(|n| !n.starts_with('_')).collect();
        public.sort_unstable();
        let message = format!("`{dotted}` has no function `{}`", name.text);
        let mut d = Diagnostic::new(NOT_IN_MODULE, message, name.span, "not found there");
        if is_value {
            d = d.note(format!("`{}` is a variable of that file, and only functions can be used elsewhere", name.text));
        } else if let Some(close) = did_you_mean(&name.text, public.iter().copied()) {
            d = d.help(format!("did you mean `{close}`?")).fix(format!("write `{close}`"), name.span, close);
        } else if !public.is_empty() {
            d = d.help(format!("it has {}", list_names(&public, 8)));
        }
        self.report(d);
        None
    }

    /// The library file that has a function of this name, if the recipe could use it.
    pub(super) fn module_with(&mut self, name: &str) -> Option<String> {
        let known = match self.modules.module(&["std".to_string()]) {
            Err(missing) => missing.known,
            Ok(_) => Vec::new(),
        };
        known.into_iter().filter(|k| k.starts_with("std.")).find(|k| {
            let path: Vec<String> = k.split('.').map(str::to_string).collect();
            self.modules.module(&path).is_ok_and(|(_, ast)| {
                !name.starts_with('_') && ast.items.iter().any(|i| matches!(i, Item::Fn(f) if f.name.text == name))
            })
        })
    }

    /// Where a `use` can be put into a file, and the text around it.
    pub(super) fn place_for_use(&self, file: usize) -> Option<(Span, &'static str, &'static str)> {
        let items = &self.files[file].ast.items;
        let last_use = items.iter().filter_map(|i| if let Item::Use(u) = i { Some(u.span) } else { None }).next_back();
        if let Some(span) = last_use {
            return Some((Span { start: span.end, ..span }, "\n", ""));
        }
        let (span, documented) = match items.first()? {
            Item::Let(l) => (l.span, !l.docs.is_empty()),
            Item::Choose(c) => (c.span, !c.docs.is_empty()),
            Item::Fn(f) => (f.span, !f.docs.is_empty()),
            Item::Save(s) => (s.span, !s.docs.is_empty()),
            Item::Search(s) => (s.span, false),
            Item::Test(t) => (t.span, !t.docs.is_empty()),
            Item::Use(_) | Item::Error(_) => return None,
        };
        // In front of the first item, but not between a doc comment and what it describes.
        if documented {
            Some((Span { start: span.end, ..span }, "\n\n", ""))
        } else {
            Some((Span { end: span.start, ..span }, "", "\n\n"))
        }
    }
}

/// The report about two things of one name.
pub(super) fn twice(what: &str, name: &str, again: Span, first: Span) -> Diagnostic {
    let d = Diagnostic::new(DEFINED_TWICE, format!("there are two {what}s called `{name}`"), again, "again here");
    let d = if first.file == again.file { d.label(first, "first here") } else { d };
    d.help("give one of them another name")
}
