//! Variables: where they are seen, how they are found, and which of them nothing uses.

use super::Resolver;
use super::modules::twice;
use crate::codes::names::{NOT_A_VALUE, NOT_SEEN_IN_FUNCTION, UNKNOWN_NAME, UNUSED, USED_TOO_EARLY};
use crate::hir::{ExprKind, FnId, Local, LocalId};
use crate::primitives::primitive;
use merge_base::{Diagnostic, Span, did_you_mean};

/// Whose variables they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Top,
    Test,
    Fn(FnId),
}

/// The variables of one body.
pub(super) struct Body {
    pub owner: Owner,
    /// Index of its file.
    pub file: usize,
    pub locals: Vec<Local>,
    used: Vec<bool>,
    /// Definitions that something above them wanted to use.
    wanted: Vec<Span>,
    scopes: Vec<Scope>,
}

#[derive(Default)]
struct Scope {
    names: Vec<(String, LocalId)>,
    /// Names that are defined further down.
    pending: Vec<(String, Span)>,
    /// Modules bound by `as f(x)`, which are called like functions.
    modules: Vec<(String, LocalId)>,
    /// Variables that should be used.
    watched: Vec<LocalId>,
    /// Something in it could not be parsed.
    broken: bool,
}

impl Body {
    pub(super) fn new(owner: Owner, file: usize) -> Body {
        Body { owner, file, locals: Vec::new(), used: Vec::new(), wanted: Vec::new(), scopes: vec![Scope::default()] }
    }

    pub(super) fn top() -> Body {
        Body::new(Owner::Top, 0)
    }

    /// A variable that no scope has yet.
    pub(super) fn add(&mut self, name: &str, span: Span) -> LocalId {
        self.locals.push(Local { name: name.to_string(), span });
        self.used.push(false);
        LocalId(self.locals.len() as u32 - 1)
    }

    /// The innermost variable of this name, and how deep its scope lies.
    fn find(&self, name: &str) -> Option<(usize, LocalId)> {
        let in_scope = |s: &Scope| s.names.iter().rev().find(|(n, _)| n == name).map(|(_, id)| *id);
        self.scopes.iter().enumerate().rev().find_map(|(depth, s)| in_scope(s).map(|id| (depth, id)))
    }

    fn use_(&mut self, id: LocalId) {
        self.used[id.0 as usize] = true;
    }
}

impl Resolver<'_> {
    /// Runs `f` inside a scope of its own.
    pub(super) fn scoped<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        self.body.scopes.push(Scope::default());
        let result = f(self);
        if let Some(scope) = self.body.scopes.pop() {
            self.warn_unused(&scope);
        }
        result
    }

    /// Says which names the current scope is going to define.
    pub(super) fn announce(&mut self, names: Vec<(String, Span)>) {
        if let Some(scope) = self.body.scopes.last_mut() {
            scope.pending = names;
        }
    }

    /// Notes that something in the current scope could not be parsed.
    pub(super) fn scope_is_broken(&mut self) {
        if let Some(scope) = self.body.scopes.last_mut() {
            scope.broken = true;
        }
    }

    /// Ends the top level: warns of what nothing uses.
    pub(super) fn close_top(&mut self) {
        let scopes = std::mem::take(&mut self.body.scopes);
        for scope in &scopes {
            self.warn_unused(scope);
        }
    }

    fn warn_unused(&mut self, scope: &Scope) {
        if scope.broken {
            return;
        }
        for id in &scope.watched {
            let local = &self.body.locals[id.0 as usize];
            if self.files[self.body.file].doubtful.contains(&local.name) {
                continue;
            }
            if !self.body.used[id.0 as usize] && !local.name.starts_with('_') {
                let d = Diagnostic::new(UNUSED, format!("nothing uses `{}`", local.name), local.span, "unused").fix(
                    format!("remove it, or call it `_{}`", local.name),
                    local.span,
                    format!("_{}", local.name),
                );
                self.report(d);
            }
        }
    }

    /// Defines a variable in the current scope.
    pub(super) fn define(&mut self, name: &str, span: Span) -> LocalId {
        let id = self.local(name, span);
        if self.body.wanted.contains(&span) {
            self.body.use_(id);
        }
        let mut first = None;
        if let Some(scope) = self.body.scopes.last_mut() {
            first = scope.names.iter().find(|(n, _)| n == name).map(|(_, id)| *id);
            if let Some(at) = scope.pending.iter().position(|(n, s)| n == name && *s == span) {
                scope.pending.remove(at);
            }
            scope.names.push((name.to_string(), id));
        }
        if let Some(first) = first {
            // Which of the two was meant is not known, so neither is called unused.
            self.body.use_(first);
            self.body.use_(id);
            let first = self.body.locals[first.0 as usize].span;
            self.report(twice("variable", name, span, first));
        }
        id
    }

    /// Defines a variable that should be used.
    pub(super) fn define_watched(&mut self, name: &str, span: Span) -> LocalId {
        let id = self.define(name, span);
        if let Some(scope) = self.body.scopes.last_mut() {
            scope.watched.push(id);
        }
        id
    }

    /// Whether a name is a variable here; it then counts as used.
    pub(super) fn variable(&mut self, name: &str) -> Option<ExprKind> {
        if let Some((depth, id)) = self.body.find(name) {
            self.body.use_(id);
            let global = self.body.owner == Owner::Top && depth == 0;
            return Some(if global { ExprKind::Global(id) } else { ExprKind::Local(id) });
        }
        if self.body.owner == Owner::Test
            && let Some(top) = &mut self.top
            && let Some((_, id)) = top.find(name)
        {
            top.use_(id);
            return Some(ExprKind::Global(id));
        }
        None
    }

    /// The variable of this name as a local of the body, without counting it as used.
    pub(super) fn local_named(&self, name: &str) -> Option<LocalId> {
        self.body.find(name).map(|(_, id)| id)
    }

    /// Binds the module of a rule, which is called like a function.
    pub(super) fn define_module(&mut self, name: &str, span: Span) -> LocalId {
        let id = self.local(name, span);
        if let Some(scope) = self.body.scopes.last_mut() {
            scope.modules.push((name.to_string(), id));
        }
        id
    }

    /// The module of this name that the rule around replaces.
    pub(super) fn module_named(&self, name: &str) -> Option<LocalId> {
        let in_scope = |s: &Scope| s.modules.iter().find(|(m, _)| m == name).map(|(_, id)| *id);
        self.body.scopes.iter().rev().find_map(in_scope)
    }

    /// A name where a value is wanted.
    pub(super) fn value_name(&mut self, name: &str, span: Span) -> ExprKind {
        if let Some(kind) = self.variable(name) {
            return kind;
        }
        self.unknown_variable(name, span);
        ExprKind::Error
    }

    fn unknown_variable(&mut self, name: &str, span: Span) {
        if let Some((_, later)) = self.pending(name) {
            let inside = later == span;
            let message = format!("`{name}` is used before it is defined");
            let d =
                Diagnostic::new(USED_TOO_EARLY, message, span, if inside { "inside its own definition" } else { "used here" });
            let d = if inside { d } else { d.label(later, "defined here") };
            self.body.wanted.push(later);
            self.report(d.help("a `let` sees only what stands above it; move the definition up"));
            return;
        }
        if self.module_named(name).is_some() {
            let d = Diagnostic::new(NOT_A_VALUE, format!("`{name}` is a module, not a value"), span, "a module")
                .help(format!("call it: `{name}(x)`"));
            self.report(d);
            return;
        }
        if let Some(id) = self.function(name) {
            let params: Vec<&str> = self.signatures[id.0 as usize].params.iter().map(|p| p.name.as_str()).collect();
            let help = format!("call it: `{name}({})`", params.join(", "));
            self.report(
                Diagnostic::new(NOT_A_VALUE, format!("`{name}` is a function, not a value"), span, "a function").help(help),
            );
            return;
        }
        if let Some(p) = primitive(name) {
            let help = format!("call it: `{}`", p.signature());
            self.report(
                Diagnostic::new(NOT_A_VALUE, format!("`{name}` is a function, not a value"), span, "a function").help(help),
            );
            return;
        }
        if let (Owner::Fn(_), true) = (self.body.owner, self.body.file == 0)
            && let Some(top) = self.top_names.get(name)
        {
            let d = Diagnostic::new(
                NOT_SEEN_IN_FUNCTION,
                format!("a function does not see `{name}` of the recipe"),
                span,
                "used in a function",
            )
            .label(*top, "defined at the top level")
            .help(format!("make `{name}` a parameter of the function, and pass it at the call"));
            self.report(d);
            return;
        }
        if self.may_be_missing(name) {
            return;
        }
        let d = Diagnostic::new(UNKNOWN_NAME, format!("unknown name `{name}`"), span, "not defined here");
        let visible = self.visible_variables();
        let close = did_you_mean(name, visible.iter().map(String::as_str));
        if let Some(close) = close {
            // What was probably meant is not unused.
            self.variable(close);
        }
        let d = match close {
            Some(close) => d.help(format!("did you mean `{close}`?")).fix(format!("write `{close}`"), span, close),
            None => d.help(format!("define it above: `let {name} = ..`")),
        };
        self.report(d);
    }

    /// Whether a name that is not found may stand in a part that could not be parsed.
    pub(super) fn may_be_missing(&self, name: &str) -> bool {
        let broken = |b: &Body| b.scopes.iter().any(|s| s.broken);
        self.files[self.body.file].doubtful.contains(name) || broken(&self.body) || self.top.as_ref().is_some_and(broken)
    }

    /// The later definition of a name, in the innermost scope that has one.
    fn pending(&self, name: &str) -> Option<(String, Span)> {
        let top = self.top.as_ref().map(|t| t.scopes.as_slice()).unwrap_or_default();
        let scopes = top.iter().chain(&self.body.scopes).rev();
        scopes.flat_map(|s| &s.pending).find(|(n, _)| n == name).cloned()
    }

    fn visible_variables(&self) -> Vec<String> {
        let top = self.top.as_ref().map(|t| t.scopes.as_slice()).unwrap_or_default();
        let scopes = top.iter().chain(&self.body.scopes).rev();
        scopes.flat_map(|s| s.names.iter().rev().map(|(n, _)| n.clone())).collect()
    }
}
