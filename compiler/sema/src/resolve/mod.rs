//! Names: from the ASTs of a recipe and of the library files it uses to one [`hir::Program`].
//!
//! The first step of this crate. Names are looked up, strings split into text and holes, patterns parsed,
//! arguments held against signatures. Functions and variables have names of their own: `let ties =
//! ties(base, ..)` is fine. A function may have the name of a primitive and then stands for it in its file. Functions of
//! `std.networks` are seen without a `use`, behind all others; that file is read when one is called.
//!
//! | file | job |
//! |---|---|
//! | `modules` | files, `use`, functions of a file |
//! | `items` | top-level items, bodies of functions, statements |
//! | `scope` | variables: lookup, definition, unused ones |
//! | `expressions`, `models`, `types` | the walk over the tree |
//! | `calls` | functions by name, arguments, words |
//! | `strings` | holes and patterns |
//! | `search` | the settings of searches |
//! | `later` | what is not there yet |
//! | `cycles` | functions that call themselves |
//!
//! Invariants: what could not be resolved is an `Error` node and was reported; no function of the result reaches
//! itself; a construct that is not there yet is an `Error` node too, after what is inside it was resolved.
//!
//! Not here: reading files ([`Modules`] does), anything that needs a header.

mod calls;
mod cycles;
mod expressions;
mod items;
mod models;
mod modules;
mod scope;
mod search;
mod strings;
#[cfg(test)]
mod tests;
mod types;

use crate::hir::{self, FnId, LocalId};
use merge_base::{Diagnostic, FileId, Span};
use merge_grammar::ast;
use rustc_hash::{FxHashMap, FxHashSet};
use scope::Body;
use std::rc::Rc;

/// The door to library files and to the files beside the recipe.
pub trait Modules {
    /// The file of a path such as `["std", "merging"]`.
    ///
    /// # Errors
    /// There is no such file.
    fn module(&mut self, path: &[String]) -> Result<(FileId, Rc<ast::File>), ModuleMissing>;

    /// The text at a place: what could not be parsed may hold names that are then missing elsewhere.
    fn text(&self, _span: Span) -> String {
        String::new()
    }
}

/// There is no file of that path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleMissing {
    /// Paths that there are, such as `std.merging`.
    pub known: Vec<String>,
}

/// A recipe that uses no other file.
pub struct NoModules;

impl Modules for NoModules {
    fn module(&mut self, _path: &[String]) -> Result<(FileId, Rc<ast::File>), ModuleMissing> {
        Err(ModuleMissing::default())
    }
}

/// Resolves a recipe and what it uses. The diagnostics are in the order of the text.
pub fn resolve(entry: FileId, file: &ast::File, modules: &mut dyn Modules) -> (hir::Program, Vec<Diagnostic>) {
    let mut resolver = Resolver::new(modules);
    let index = resolver.add_file(entry, Rc::new(file.clone()));
    resolver.link_files();
    resolver.bodies();
    let items = resolver.top_level(index);
    let globals = std::mem::take(&mut resolver.body.locals);
    resolver.remaining_bodies();
    let fns = resolver.finish_fns();
    let mut found = resolver.found;
    found.sort_by_key(|d| d.primary_span().map(|s| (s.file, s.start, s.end)));
    (hir::Program { entry: Some(entry), fns, globals, items, ..hir::Program::default() }, found)
}

/// One file.
struct FileScope {
    id: FileId,
    ast: Rc<ast::File>,
    fns: FxHashMap<String, FnId>,
    imports: FxHashMap<String, FnId>,
    /// Names that stand in what could not be parsed or not be found: a use of one is not reported again.
    doubtful: FxHashSet<String>,
}

/// What a call needs to know of a function.
struct Signature {
    name: String,
    span: Span,
    file: usize,
    /// Place among the items of its file.
    item: usize,
    params: Vec<ParamInfo>,
    /// A type of it does not exist; calls of it are not followed.
    broken: bool,
}

struct ParamInfo {
    name: String,
    optional: bool,
    /// Takes `rows`, `cols` and `all`.
    axis: bool,
}

struct Resolver<'m> {
    modules: &'m mut dyn Modules,
    files: Vec<FileScope>,
    paths: FxHashMap<Vec<String>, Option<usize>>,
    signatures: Vec<Signature>,
    fns: Vec<Option<hir::Fn>>,
    /// Who calls whom, and where.
    edges: Vec<Vec<(FnId, Span)>>,
    /// Variables of the recipe's top level, for the message when a function uses one.
    top_names: FxHashMap<String, Span>,
    body: Body,
    /// The top level, while a `test` is resolved.
    top: Option<Body>,
    found: Vec<Diagnostic>,
}

impl<'m> Resolver<'m> {
    fn new(modules: &'m mut dyn Modules) -> Resolver<'m> {
        Resolver {
            modules,
            files: Vec::new(),
            paths: FxHashMap::default(),
            signatures: Vec::new(),
            fns: Vec::new(),
            edges: Vec::new(),
            top_names: FxHashMap::default(),
            body: Body::top(),
            top: None,
            found: Vec::new(),
        }
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    fn finish_fns(&mut self) -> Vec<hir::Fn> {
        let mut fns: Vec<hir::Fn> = std::mem::take(&mut self.fns).into_iter().flatten().collect();
        self.break_cycles(&mut fns);
        fns
    }

    fn local(&mut self, name: &str, span: Span) -> LocalId {
        self.body.add(name, span)
    }
}
