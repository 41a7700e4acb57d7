//! Calls: which function, which argument goes where, and the words that some arguments take.

use super::Resolver;
use super::scope::Owner;
use crate::codes::names::{
    ARGUMENT_TWICE, ARGUMENT_WANTS_NAME, MISSING_ARGUMENT, NOT_A_VALUE, TOO_MANY_ARGUMENTS, UNKNOWN_ARGUMENT, UNKNOWN_NAME,
    UNKNOWN_WORD,
};
use crate::hir::{Arg, Callee, Expr, ExprKind, FnId, LocalId};
use crate::primitives::{AXIS_WORDS, PRIMITIVES, Primitive, primitive};
use merge_base::{Diagnostic, Span, did_you_mean, list_names};
use merge_grammar::ast;

/// A parameter, of a function or of a primitive.
struct Slot {
    name: String,
    optional: bool,
    named_only: bool,
    words: &'static [&'static str],
    pattern: bool,
}

impl Resolver<'_> {
    /// The function that a name stands for in the file of the current body.
    pub(super) fn function(&self, name: &str) -> Option<FnId> {
        let file = &self.files[self.body.file];
        file.fns.get(name).or_else(|| file.imports.get(name)).copied()
    }

    pub(super) fn call(&mut self, callee: &ast::Expr, args: &[ast::Arg]) -> ExprKind {
        let ast::ExprKind::Name(name) = &callee.kind else {
            let value = self.expr(callee);
            if !matches!(value.kind, ExprKind::Error) {
                let d = Diagnostic::new(NOT_A_VALUE, "this is not a function", callee.span, "called here")
                    .help("only a function's name can be called");
                self.report(d);
            }
            return self.only_arguments(args);
        };
        if let Some(module) = self.module_named(name) {
            return self.call_module(module, name, callee.span, args);
        }
        if let Some(id) = self.function(name) {
            return self.call_function(id, callee.span, args);
        }
        if let Some(p) = primitive(name) {
            return self.call_primitive(p, callee.span, args);
        }
        if let Some(id) = self.prelude(name) {
            return self.call_function(id, callee.span, args);
        }
        self.unknown_function(name, callee.span);
        self.only_arguments(args)
    }

    /// Resolves the arguments of a call that cannot be made. Bare words are let through: nobody knows
    /// whether the function takes them.
    fn only_arguments(&mut self, args: &[ast::Arg]) -> ExprKind {
        for arg in args {
            match &arg.value.kind {
                ast::ExprKind::Name(n) if AXIS_WORDS.contains(&n.as_str()) => {}
                _ => {
                    self.expr(&arg.value);
                }
            }
        }
        ExprKind::Error
    }

    /// `f(x)` in a rule that replaces a module.
    fn call_module(&mut self, module: LocalId, name: &str, span: Span, args: &[ast::Arg]) -> ExprKind {
        let slots = [Slot { name: "x".into(), optional: false, named_only: false, words: &[], pattern: false }];
        match self.arguments(name, &format!("{name}(x)"), span, &slots, args) {
            Some(args) => ExprKind::Call { callee: Callee::Module(module), callee_span: span, args },
            None => ExprKind::Error,
        }
    }

    fn call_function(&mut self, id: FnId, span: Span, args: &[ast::Arg]) -> ExprKind {
        if let Owner::Fn(caller) = self.body.owner {
            self.edges[caller.0 as usize].push((id, span));
        }
        let signature = &self.signatures[id.0 as usize];
        let slot = |p: &super::ParamInfo| Slot {
            name: p.name.clone(),
            optional: p.optional,
            named_only: false,
            words: if p.axis { AXIS_WORDS } else { &[] },
            pattern: false,
        };
        let slots: Vec<Slot> = signature.params.iter().map(slot).collect();
        let shown: Vec<&str> = signature.params.iter().map(|p| p.name.as_str()).collect();
        let broken = signature.broken;
        let (name, shown) = (signature.name.clone(), format!("{}({})", signature.name, shown.join(", ")));
        match self.arguments(&name, &shown, span, &slots, args) {
            Some(args) if !broken => ExprKind::Call { callee: Callee::Fn(id), callee_span: span, args },
            _ => ExprKind::Error,
        }
    }

    fn call_primitive(&mut self, p: &'static Primitive, span: Span, args: &[ast::Arg]) -> ExprKind {
        let slot = |p: &crate::primitives::PrimParam| Slot {
            name: p.name.to_string(),
            optional: p.default,
            named_only: p.named_only,
            words: p.words,
            pattern: p.pattern,
        };
        let slots: Vec<Slot> = p.params.iter().map(slot).collect();
        match self.arguments(p.name, &p.signature(), span, &slots, args) {
            Some(args) => ExprKind::Call { callee: Callee::Primitive(p.name), callee_span: span, args },
            None => ExprKind::Error,
        }
    }

    /// The domain of a `choose`: `log(low, high)` means a range there, and `order`, `subset` and `simplex` have a meaning.
    pub(super) fn domain(&mut self, e: &ast::Expr) -> Expr {
        if let ast::ExprKind::Call { callee, args } = &e.kind
            && matches!(&callee.kind, ast::ExprKind::Name(n) if n == "log")
            && args.len() == 2
        {
            let args = args.iter().map(|a| Arg { name: None, value: self.expr(&a.value) }).collect();
            let kind = ExprKind::Call { callee: Callee::Primitive("log"), callee_span: callee.span, args };
            return Expr { kind, span: e.span };
        }
        if let ast::ExprKind::Call { callee, args } = &e.kind
            && let ast::ExprKind::Name(name) = &callee.kind
            && ["order", "subset", "simplex"].contains(&name.as_str())
            && self.function(name).is_none()
            && let Some(p) = primitive(name)
        {
            return Expr { kind: self.call_primitive(p, callee.span, args), span: e.span };
        }
        self.expr(e)
    }

    /// Binds arguments to parameters; `None` if something does not fit, which is reported.
    fn arguments(&mut self, name: &str, shown: &str, span: Span, slots: &[Slot], args: &[ast::Arg]) -> Option<Vec<Arg>> {
        let mut given: Vec<Option<Span>> = vec![None; slots.len()];
        let mut places = slots.iter().enumerate().filter(|(_, s)| !s.named_only).map(|(i, _)| i);
        let mut faults = Vec::new();
        let mut first_named: Option<Span> = None;
        let mut misplaced = false;
        let mut extra: Vec<Span> = Vec::new();
        let mut resolved = Vec::new();
        for arg in args {
            let at = arg.value.span;
            let slot = match &arg.name {
                Some(n) => {
                    first_named.get_or_insert(n.span);
                    let found = slots.iter().position(|s| s.name == n.text);
                    if found.is_none() {
                        faults.push(unknown_argument(name, shown, slots, n));
                    }
                    found
                }
                None => match (places.next(), first_named) {
                    (Some(_), Some(_)) if misplaced => None,
                    (Some(_), Some(named)) => {
                        misplaced = true;
                        let d = Diagnostic::new(
                            ARGUMENT_WANTS_NAME,
                            "an argument without a name stands behind one with a name",
                            at,
                            "no name",
                        )
                        .label(named, "from here on arguments have names")
                        .help(format!("`{shown}`: name it, or put it first"));
                        faults.push(d);
                        None
                    }
                    (None, _) => {
                        extra.push(at);
                        None
                    }
                    (slot, _) => slot,
                },
            };
            if let Some(i) = slot {
                match given[i] {
                    Some(first) => faults.push(
                        Diagnostic::new(ARGUMENT_TWICE, format!("`{}` is given twice", slots[i].name), at, "again here")
                            .label(first, "first here")
                            .help("leave one of them out"),
                    ),
                    None => given[i] = Some(at),
                }
            }
            let value = match slot {
                Some(i) => self.argument(name, &slots[i], &arg.value),
                None => self.expr_unless_word(&arg.value),
            };
            resolved.push(Arg { name: arg.name.as_ref().map(|n| (n.text.clone(), n.span)), value });
        }
        if let Some(first) = extra.first() {
            faults.push(too_many(name, shown, slots, &given, *first, args.len()));
        }
        let missing: Vec<&str> =
            slots.iter().zip(&given).filter(|(s, g)| !s.optional && g.is_none()).map(|(s, _)| s.name.as_str()).collect();
        if !missing.is_empty() && faults.is_empty() {
            let message = format!("`{name}` needs {}", list_names(&missing, 4));
            faults
                .push(Diagnostic::new(MISSING_ARGUMENT, message, span, "called here").help(format!("it is called as `{shown}`")));
        }
        let fits = faults.is_empty();
        self.found.append(&mut faults);
        fits.then_some(resolved)
    }

    fn argument(&mut self, function: &str, slot: &Slot, e: &ast::Expr) -> Expr {
        match &e.kind {
            ast::ExprKind::Name(word) if !slot.words.is_empty() => self.word(function, slot, word, e.span),
            ast::ExprKind::Str(s) if slot.pattern => Expr { kind: self.pattern_argument(s), span: e.span },
            _ => self.expr(e),
        }
    }

    fn expr_unless_word(&mut self, e: &ast::Expr) -> Expr {
        match &e.kind {
            ast::ExprKind::Name(n) if self.local_named(n).is_none() => Expr { kind: ExprKind::Word(n.clone()), span: e.span },
            _ => self.expr(e),
        }
    }

    /// A name where a parameter takes words: a variable, else one of the words.
    fn word(&mut self, function: &str, slot: &Slot, word: &str, span: Span) -> Expr {
        if let Some(kind) = self.variable(word) {
            return Expr { kind, span };
        }
        if slot.words.contains(&word) {
            return Expr { kind: ExprKind::Word(word.to_string()), span };
        }
        if !self.may_be_missing(word) {
            let message = format!("`{}` of `{function}` cannot be `{word}`", slot.name);
            let mut d = Diagnostic::new(UNKNOWN_WORD, message, span, "unknown word");
            d = match did_you_mean(word, slot.words.iter().copied()) {
                Some(close) => d.help(format!("did you mean `{close}`?")).fix(format!("write `{close}`"), span, close),
                None => d.help(format!("it takes {}", list_names(slot.words, 8))),
            };
            self.report(d);
        }
        Expr { kind: ExprKind::Error, span }
    }

    /// A value of type `axis`.
    pub(super) fn axis_argument(&mut self, e: &ast::Expr) -> Expr {
        let slot = Slot { name: "axis".into(), optional: false, named_only: false, words: AXIS_WORDS, pattern: false };
        self.argument("this parameter", &slot, e)
    }

    fn unknown_function(&mut self, name: &str, span: Span) {
        if self.local_named(name).is_some() || (self.body.owner != Owner::Top && self.top_names.contains_key(name)) {
            self.variable(name);
            let message = format!("`{name}` is a value, not a function");
            self.report(Diagnostic::new(NOT_A_VALUE, message, span, "called here").help("only functions can be called"));
            return;
        }
        if self.may_be_missing(name) {
            return;
        }
        let mut d = Diagnostic::new(UNKNOWN_NAME, format!("unknown function `{name}`"), span, "not defined here");
        if let Some(file) = self.module_with(name) {
            d = d.help(format!("add `use {file}.{name}`"));
            if let Some((at, before, after)) = self.place_for_use(self.body.file) {
                d = d.fix(format!("add `use {file}.{name}`"), at, format!("{before}use {file}.{name}{after}"));
            }
            self.report(d);
            return;
        }
        let file = &self.files[self.body.file];
        let mut own: Vec<&str> = file.fns.keys().chain(file.imports.keys()).map(String::as_str).collect();
        own.extend(self.prelude_names());
        own.sort_unstable();
        own.dedup();
        let all = own.into_iter().chain(PRIMITIVES.iter().map(|p| p.name));
        d = match did_you_mean(name, all) {
            Some(close) => d.help(format!("did you mean `{close}`?")).fix(format!("write `{close}`"), span, close),
            None => d.help(format!("define it: `fn {name}(..) -> .. {{ .. }}`, or take it from a file: `use ..{name}`")),
        };
        self.report(d);
    }
}

fn unknown_argument(function: &str, shown: &str, slots: &[Slot], name: &ast::Name) -> Diagnostic {
    let message = format!("`{function}` has no argument `{}`", name.text);
    let d = Diagnostic::new(UNKNOWN_ARGUMENT, message, name.span, "unknown");
    match did_you_mean(&name.text, slots.iter().map(|s| s.name.as_str())) {
        Some(close) => d.help(format!("did you mean `{close}`?")).fix(format!("write `{close}`"), name.span, close),
        None => d.help(format!("it is called as `{shown}`")),
    }
}

fn too_many(function: &str, shown: &str, slots: &[Slot], given: &[Option<Span>], at: Span, count: usize) -> Diagnostic {
    let named = slots.iter().zip(given).find(|(s, g)| s.named_only && g.is_none());
    if let Some((slot, _)) = named {
        let message = format!("further arguments of `{function}` have their names in front");
        return Diagnostic::new(ARGUMENT_WANTS_NAME, message, at, "which one is this?")
            .help(format!("write `{}: ..`; it is called as `{shown}`", slot.name));
    }
    let most = slots.len();
    let message = format!("`{function}` takes {most} argument{}, and {count} are given", if most == 1 { "" } else { "s" });
    Diagnostic::new(TOO_MANY_ARGUMENTS, message, at, "one too many").help(format!("it is called as `{shown}`"))
}
