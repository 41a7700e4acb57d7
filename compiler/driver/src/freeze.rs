//! One candidate as a recipe: what was left open is written out.
//!
//! A `choose` that has one value in this candidate becomes that value, one with arms the arm that is taken; but where `new` tensors have the
//! arm in their names, the `choose` stays with that arm for its default, since what random ones start as goes by their names. Where captures and loops
//! give a `choose` several values, it keeps its place too and gets a table as its default, decision → value; such a recipe has no open
//! decision either. `search` goes; what it searched is saved. That of a network stays: `run` makes the one candidate that is left.

use crate::sites::{Site, sites};
use crate::{Analysis, Request};
use merge_base::Span;
use merge_runtime::Error;
use merge_sema::hir::{Choose, Domain as Members, Expr, ExprKind, Item};
use merge_sema::space::{Answer, Decision, Domain};
use std::fmt::Write;

/// The recipe of the candidate that the request's answers make; the analysis where it is wrong.
///
/// # Errors
/// Of the world, and a decision in another file than the recipe's own.
pub fn freeze(request: &Request) -> Result<Result<String, Analysis>, Error> {
    let analysis = crate::analyse(request)?;
    if analysis.has_errors() {
        return Ok(Err(analysis));
    }
    let all = sites(&analysis.hir);
    if let Some(d) = analysis.elaborated.decisions.iter().find(|d| !all.iter().any(|s| s.choose.span == d.span)) {
        let place = analysis.sources.place(d.span);
        return Err(Error::usage(format!(
            "`{}` is decided in another file, {place}, which freezing this one leaves as it is",
            d.id
        ))
        .with_help("give it to the function as an argument, with the `choose` in the recipe"));
    }
    let parameters = analysis.elaborated.graph.parameters.iter().map(|p| without_keys(&p.name)).collect();
    let mut freezer = Freezer { analysis: &analysis, sites: &all, parameters };
    let text = &analysis.sources.get(analysis.entry).text;
    let whole = Span { file: analysis.entry, start: 0, end: text.len() as u32 };
    Ok(Ok(freezer.render(whole)))
}

struct Freezer<'a> {
    analysis: &'a Analysis,
    sites: &'a [Site<'a>],
    /// The names of `new` tensors, without their keys.
    parameters: Vec<String>,
}

/// What a site becomes.
enum Written {
    /// Its one value.
    Value,
    /// The arm that all its decisions take, as a default.
    Arm(usize),
    /// A table of its decisions, as a default.
    Table,
}

impl<'a> Freezer<'a> {
    fn decisions(&self, c: &Choose) -> Vec<&'a Decision> {
        self.analysis.elaborated.decisions.iter().filter(|d| d.span == c.span).collect()
    }

    /// What a site becomes: its value where all its decisions agree, and all those inside an arm that takes its place.
    fn written(&self, c: &Choose) -> Written {
        let all = self.decisions(c);
        let Some((first, rest)) = all.split_first() else { return Written::Table };
        if !rest.iter().all(|d| d.answer == first.answer && d.domain == first.domain) {
            return Written::Table;
        }
        let (Members::Arms(arms), Answer::Member(i)) = (&c.domain, &first.answer) else { return Written::Value };
        let arm = arms[*i].2.span;
        // Without the arm around them, decisions and parameters inside would have other names.
        let mut inner = self.sites.iter().map(|s| s.choose).filter(|c| inside(c.span, arm));
        let is_value = |c: &Choose| self.decisions(c).is_empty() || matches!(self.written(c), Written::Value);
        match all.iter().any(|d| self.names_parameters(d, &arms[*i].0)) || !inner.all(is_value) {
            true => Written::Arm(*i),
            false => Written::Value,
        }
    }

    /// Whether `new` tensors have an arm of this decision in their names.
    fn names_parameters(&self, d: &Decision, arm: &str) -> bool {
        let start = format!("{}.{arm}.", without_keys(&d.id));
        self.parameters.iter().any(|p| p.starts_with(&start))
    }

    /// The name of an arm, which its default may be.
    fn arm_name(&self, c: &Choose, arm: usize) -> String {
        match &c.domain {
            Members::Arms(arms) => arms[arm].0.clone(),
            Members::In(_) => String::new(),
        }
    }

    /// The text under a span with the decisions in it written out.
    fn render(&mut self, span: Span) -> String {
        let text = self.analysis.sources.get(span.file).text.as_str();
        let (mut out, mut at) = (String::new(), span.start);
        let mut edits: Vec<(Span, String)> = Vec::new();
        for site in self.sites.iter().filter(|s| inside(s.choose.span, span)) {
            let c = site.choose;
            if edits.iter().any(|(done, _)| inside(c.span, *done)) || self.decisions(c).is_empty() {
                continue;
            }
            // A default is put into the text of what may have other decisions inside.
            edits.push(match self.written(c) {
                Written::Value => (c.span, self.value(site)),
                Written::Arm(arm) => self.default(c, self.arm_name(c, arm)),
                Written::Table => self.default(c, self.table(c)),
            });
        }
        for item in &self.analysis.hir.items {
            if let Item::Search(search) = item
                && search.network.is_none()
                && inside(search.span, span)
            {
                edits.push((search.span, self.saved(&search.name)));
            }
        }
        edits.sort_by_key(|(s, _)| (s.start, s.end));
        for (place, new) in edits {
            out.push_str(&text[at as usize..place.start as usize]);
            out.push_str(&new);
            at = place.end;
        }
        out.push_str(&text[at as usize..span.end as usize]);
        out
    }

    /// What stands in place of `search NAME { .. }`.
    fn saved(&self, name: &str) -> String {
        let saved = |i: &Item| matches!(i, Item::Save(s) if self.analysis.sources.slice(s.value.span) == name);
        match self.analysis.hir.items.iter().any(saved) {
            true => String::new(),
            false => format!("save {name} to \"{name}\""),
        }
    }

    /// The text that takes the place of a `choose` with one value.
    fn value(&mut self, site: &Site<'a>) -> String {
        let c = site.choose;
        let decision = self.decisions(c)[0].clone();
        let value = match (&c.domain, &decision.answer) {
            (Members::Arms(arms), Answer::Member(i)) => {
                let arm = &arms[*i].2;
                let text = self.render(arm.span);
                if matches!(arm.kind, ExprKind::Block(_)) { text } else { format!("({text})") }
            }
            (Members::In(domain), answer) => self.member(domain, &decision.domain, answer),
            _ => String::new(),
        };
        if site.is_statement { format!("let {} = {value}", c.name) } else { value }
    }

    fn member(&self, written: &Expr, domain: &Domain, answer: &Answer) -> String {
        let slice = |e: &Expr| self.analysis.sources.slice(e.span).trim().to_owned();
        let list = match &written.kind {
            ExprKind::Call { args, .. } if !matches!(domain, Domain::Members { .. }) => args.first().map(|a| &a.value),
            _ => Some(written),
        };
        let pick = |i: usize| match list.map(|l| (&l.kind, l)) {
            Some((ExprKind::List(parts), _)) => parts.get(i).map(slice).unwrap_or_default(),
            Some((_, l)) => format!("({})[{i}]", slice(l)),
            None => String::new(),
        };
        match answer {
            Answer::Member(i) => format!("({})", pick(*i)),
            Answer::Int(i) => in_brackets(i.to_string()),
            Answer::Real(x) => in_brackets(format!("{x:?}")),
            Answer::Order(p) | Answer::Subset(p) => format!("[{}]", p.iter().map(|i| pick(*i)).collect::<Vec<_>>().join(", ")),
            Answer::Simplex(w) => {
                // The last is what the others leave, so that the sum is 1 to the last digit.
                let (_, first) = w.split_last().unwrap_or((&1.0, &[]));
                let mut parts: Vec<String> = first.iter().map(|x| format!("{x:?}")).collect();
                let left: String = parts.iter().map(|p| format!(" - {p}")).collect();
                parts.push(format!("1{left}"));
                format!("[{}]", parts.join(", "))
            }
            Answer::Label(text) => text.clone(),
        }
    }

    /// Where a default goes, and its text there.
    fn default(&self, c: &Choose, text: String) -> (Span, String) {
        match &c.default {
            Some(default) => (default.span, text),
            None => (Span { start: c.span.end, ..c.span }, format!(" = {text}")),
        }
    }

    /// The decisions of a site with their values.
    fn table(&self, c: &'a Choose) -> String {
        let mut text = String::from("{\n");
        for d in self.decisions(c) {
            let _ = writeln!(text, "    {:?}: {}", d.id, plain(d));
        }
        text.push('}');
        text
    }
}

/// A path without what stands in brackets: `petl.where[0, q].lora.a` is `petl.where.lora.a`.
fn without_keys(path: &str) -> String {
    let mut depth = 0usize;
    let mut kept = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => kept.push(c),
            _ => {}
        }
    }
    kept
}

/// An answer by its label, as the table of a default has it.
fn plain(Decision { domain, answer, structural, .. }: &Decision) -> String {
    let label = |labels: &[String], i: usize| format!("{:?}", labels.get(i).cloned().unwrap_or_default());
    match (domain, answer) {
        // One of several numbers that is an argument of the kernels.
        (Domain::Members { labels, .. }, Answer::Member(i)) if !structural => labels.get(*i).cloned().unwrap_or_default(),
        (Domain::Members { labels, .. }, Answer::Member(i)) => label(labels, *i),
        (Domain::Order { labels }, Answer::Order(p)) | (Domain::Subset { labels, .. }, Answer::Subset(p)) => {
            format!("[{}]", p.iter().map(|i| label(labels, *i)).collect::<Vec<_>>().join(", "))
        }
        (_, Answer::Int(i)) => i.to_string(),
        (_, Answer::Real(x)) => format!("{x:?}"),
        (_, Answer::Simplex(w)) => format!("[{}]", w.iter().map(|x| format!("{x:?}")).collect::<Vec<_>>().join(", ")),
        _ => String::new(),
    }
}

fn in_brackets(number: String) -> String {
    if number.starts_with('-') { format!("({number})") } else { number }
}

fn inside(inner: Span, outer: Span) -> bool {
    inner.file == outer.file && outer.start <= inner.start && inner.end <= outer.end
}
