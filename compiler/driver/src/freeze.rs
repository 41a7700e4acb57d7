//! One candidate as a recipe: what was left open is written out.
//!
//! A `choose` that has one value in this candidate becomes that value, one with arms the arm that is taken. Where captures and loops
//! give a `choose` several values, it keeps its place and gets a table as its default, decision → value; such a recipe has no open
//! decision either. `search` goes; what it searched is saved. That of a network stays: `run` makes the one candidate that is left.

use crate::sites::{Site, sites};
use crate::{Analysis, Request};
use merge_base::Span;
use merge_runtime::Error;
use merge_sema::hir::{Choose, Domain as Written, Expr, ExprKind, Item};
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
    let mut freezer = Freezer { analysis: &analysis, sites: &all };
    let text = &analysis.sources.get(analysis.entry).text;
    let whole = Span { file: analysis.entry, start: 0, end: text.len() as u32 };
    Ok(Ok(freezer.render(whole)))
}

struct Freezer<'a> {
    analysis: &'a Analysis,
    sites: &'a [Site<'a>],
}

impl<'a> Freezer<'a> {
    fn decisions(&self, c: &Choose) -> Vec<&'a Decision> {
        self.analysis.elaborated.decisions.iter().filter(|d| d.span == c.span).collect()
    }

    /// Whether all decisions of a site agree, and all those inside an arm that takes its place.
    fn is_one(&self, c: &Choose) -> bool {
        let all = self.decisions(c);
        let Some((first, rest)) = all.split_first() else { return false };
        if !rest.iter().all(|d| d.answer == first.answer && d.domain == first.domain) {
            return false;
        }
        match (&c.domain, &first.answer) {
            (Written::Arms(arms), Answer::Member(i)) => {
                let arm = arms[*i].2.span;
                // Without the arm around them, decisions inside would have other names.
                self.sites
                    .iter()
                    .map(|s| s.choose)
                    .filter(|c| inside(c.span, arm))
                    .all(|c| self.decisions(c).is_empty() || self.is_one(c))
            }
            _ => true,
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
            // A table is put into the text of what may have other decisions inside.
            if self.is_one(c) {
                edits.push((c.span, self.value(site)));
            } else {
                let (place, table) = self.table(c);
                edits.push((place, table));
            }
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
            (Written::Arms(arms), Answer::Member(i)) => {
                let arm = &arms[*i].2;
                let text = self.render(arm.span);
                if matches!(arm.kind, ExprKind::Block(_)) { text } else { format!("({text})") }
            }
            (Written::In(domain), answer) => self.member(domain, &decision.domain, answer),
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

    /// Where a table goes, and its text.
    fn table(&mut self, c: &'a Choose) -> (Span, String) {
        let mut text = String::from("{\n");
        for d in self.decisions(c) {
            let _ = writeln!(text, "    {:?}: {}", d.id, plain(&d.domain, &d.answer));
        }
        text.push('}');
        match &c.default {
            Some(default) => (default.span, text),
            None => (Span { start: c.span.end, ..c.span }, format!(" = {text}")),
        }
    }
}

/// An answer by its label, as the table of a default has it.
fn plain(domain: &Domain, answer: &Answer) -> String {
    let label = |labels: &[String], i: usize| format!("{:?}", labels.get(i).cloned().unwrap_or_default());
    match (domain, answer) {
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
