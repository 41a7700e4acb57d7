//! `search NAME { .. }`: what is searched, and settings that are plain data.

use super::Resolver;
use crate::codes::spaces::BAD_SEARCH;
use crate::hir::{Expr, ExprKind, Plain, Save, Search, SearchSetting, Str, StrPart};
use merge_base::{Diagnostic, did_you_mean, list_names};
use merge_grammar::ast;

/// What a search can be told.
const KEYS: [&str; 8] = ["evaluate", "maximize", "minimize", "using", "trials", "timeout", "parallel", "transfer"];

impl Resolver<'_> {
    /// A search; none where its target does not exist, which is reported.
    pub(super) fn search(&mut self, s: &ast::Search) -> Option<Search> {
        let mut settings: Vec<SearchSetting> = Vec::new();
        for entry in &s.settings.entries {
            let (key, key_span) = (&entry.key.text, entry.key.span);
            if !KEYS.contains(&key.as_str()) {
                let mut d = Diagnostic::new(BAD_SEARCH, format!("`search` has no setting `{key}`"), key_span, "unknown");
                d = match did_you_mean(key, KEYS) {
                    Some(close) => d.help(format!("did you mean `{close}`?")).fix(format!("write `{close}`"), key_span, close),
                    None => d.help(format!("it takes {}", list_names(&KEYS, KEYS.len()))),
                };
                self.report(d);
                continue;
            }
            if let Some(first) = settings.iter().find(|k| k.key == *key) {
                let d = Diagnostic::new(BAD_SEARCH, format!("`{key}` is given twice"), key_span, "again here")
                    .label(first.key_span, "first here");
                self.report(d.help("remove one of them"));
                continue;
            }
            let (value, span) = match &entry.value {
                ast::SettingValue::Expr(e) => (plain(e), e.span),
                ast::SettingValue::Nested(inner) => (None, inner.span.unwrap_or(key_span)),
            };
            let fits = value.filter(|v| fits(key, v));
            match fits {
                Some(value) => settings.push(SearchSetting { key: key.clone(), key_span, value, span }),
                None => {
                    let d = Diagnostic::new(BAD_SEARCH, format!("`{key}` cannot be this"), span, "").help(wanted(key));
                    self.report(d);
                }
            }
        }
        let has = |keys: &[&str]| s.settings.entries.iter().any(|e| keys.contains(&e.key.text.as_str()));
        if !has(&["evaluate"]) {
            let d = Diagnostic::new(BAD_SEARCH, "a search needs something that evaluates candidates", s.span, "no `evaluate`");
            self.report(d.help(wanted("evaluate")));
        }
        if !has(&["maximize", "minimize"]) {
            let d = Diagnostic::new(BAD_SEARCH, "a search needs an objective", s.span, "neither `maximize` nor `minimize`");
            self.report(d.help(wanted("maximize")));
        }
        let name_span = s.target.span;
        let network = self.function(&s.target.text).filter(|_| self.local_named(&s.target.text).is_none());
        let save = if network.is_some() {
            None
        } else {
            let kind = self.value_name(&s.target.text, name_span);
            if matches!(kind, ExprKind::Error) {
                return None;
            }
            let path = Str { parts: vec![StrPart::Text(format!("{}.search", s.target.text))], span: name_span };
            Some(Save {
                value: Expr { kind, span: name_span },
                to: Expr { kind: ExprKind::Str(path), span: name_span },
                format: None,
                settings: Vec::new(),
                clauses: Vec::new(),
                span: s.span,
            })
        };
        Some(Search { name: s.target.text.clone(), name_span, save, network, settings, span: s.span })
    }
}

fn fits(key: &str, value: &Plain) -> bool {
    let names = |v: &Plain| matches!(v, Plain::Str(_) | Plain::Word(_));
    match key {
        "evaluate" => {
            matches!(value, Plain::Call(name, args) if ["command", "process"].contains(&name.as_str())
                && matches!(args.as_slice(), [(None, Plain::Str(_))]))
        }
        "maximize" | "minimize" => match value {
            Plain::List(l) => !l.is_empty() && l.iter().all(names),
            one => names(one),
        },
        "using" => match value {
            Plain::Call(_, args) => args.iter().all(|(name, _)| name.is_some()),
            one => matches!(one, Plain::Word(_)),
        },
        "trials" | "parallel" => matches!(value, Plain::Int(1..)),
        "timeout" => matches!(value, Plain::Int(1..)) || matches!(value, Plain::Float(s) if *s > 0.0),
        "transfer" => matches!(value, Plain::Bool(_)),
        _ => false,
    }
}

fn wanted(key: &str) -> &'static str {
    match key {
        "evaluate" => {
            "write `evaluate: command(\"./score.sh {model}\")`, or `process(\"..\")` for one that stays and is asked line by line"
        }
        "maximize" | "minimize" => {
            "name a number that the evaluation prints, `maximize: \"accuracy\"`, or several: `[\"accuracy\", \"speed\"]`"
        }
        "using" => "write `using: tpe(seed: 1)`; the settings of an algorithm have their names in front",
        "timeout" => "a number of seconds: `timeout: 3600`",
        "transfer" => "`transfer: true` starts each trial from what an earlier one trained",
        _ => "a whole number from 1: `trials: 64`",
    }
}

/// An expression as plain data.
fn plain(e: &ast::Expr) -> Option<Plain> {
    Some(match &e.kind {
        ast::ExprKind::Int(i) => Plain::Int(*i),
        ast::ExprKind::Float(f, _) => Plain::Float(*f),
        ast::ExprKind::Bool(b) => Plain::Bool(*b),
        ast::ExprKind::Str(s) => Plain::Str(s.text.clone()),
        ast::ExprKind::Name(n) => Plain::Word(n.clone()),
        ast::ExprKind::List(l) => Plain::List(l.iter().map(plain).collect::<Option<_>>()?),
        ast::ExprKind::Unary { op: ast::UnaryOp::Neg, value } => match plain(value)? {
            Plain::Int(i) => Plain::Int(-i),
            Plain::Float(f) => Plain::Float(-f),
            _ => return None,
        },
        ast::ExprKind::Call { callee, args } => {
            let ast::ExprKind::Name(name) = &callee.kind else { return None };
            let args = args.iter().map(|a| Some((a.name.as_ref().map(|n| n.text.clone()), plain(&a.value)?)));
            Plain::Call(name.clone(), args.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}
