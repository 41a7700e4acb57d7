//! Diagnostics and errors as text or JSON.

use ariadne::{CharSet, Color, Config, IndexType, Label, Report, ReportKind};
use merge_base::{Diagnostic, Severity, Sources, Span};
use merge_runtime::Error;
use serde_json::json;
use std::io::{IsTerminal, Write};

/// Prints diagnostics for people to standard error, and a line that counts them.
pub fn human(diagnostics: &[Diagnostic], sources: &Sources) {
    let mut out = std::io::stderr().lock();
    for diagnostic in diagnostics {
        // A closed standard error leaves nobody to tell.
        let _ = write_human(&mut out, diagnostic, sources);
    }
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let parts: Vec<String> = [(count(Severity::Error), "error"), (count(Severity::Warning), "warning")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{n} {word}{}", if n == 1 { "" } else { "s" }))
        .collect();
    if !parts.is_empty() {
        let _ = writeln!(out, "{}", parts.join(", "));
    }
}

type Place = (String, std::ops::Range<usize>);

fn place(span: Span, sources: &Sources) -> Place {
    (sources.get(span.file).name.clone(), span.start as usize..span.end.max(span.start) as usize)
}

/// Bytes of the longest line that is drawn; of longer ones only the place is given.
const LONGEST_LINE: usize = 1000;

/// Whether the lines of a span are short enough to be drawn.
fn fits(span: Span, sources: &Sources) -> bool {
    let text = &sources.get(span.file).text;
    let start = text[..span.start as usize].rfind('\n').map_or(0, |i| i + 1);
    let rest = &text[start..];
    let end = (span.end.max(span.start) as usize - start).min(rest.len());
    let length = rest[end..].find('\n').map_or(rest.len(), |i| end + i);
    rest[..length].lines().all(|l| l.len() <= LONGEST_LINE)
}

fn write_human(out: &mut impl Write, diagnostic: &Diagnostic, sources: &Sources) -> std::io::Result<()> {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (kind, tint) = match diagnostic.severity {
        Severity::Error => (ReportKind::Error, Color::Red),
        Severity::Warning => (ReportKind::Warning, Color::Yellow),
    };
    let shown = diagnostic.primary_span().filter(|_| diagnostic.labels.iter().all(|l| fits(l.span, sources)));
    let Some(primary) = shown else {
        let word = if diagnostic.is_error() { "error" } else { "warning" };
        writeln!(out, "{word}[{}]: {}", diagnostic.code, diagnostic.message)?;
        for label in &diagnostic.labels {
            writeln!(out, "  {}: {}", sources.place(label.span), if label.message.is_empty() { "here" } else { &label.message })?;
        }
        let lines = diagnostic.notes.iter().map(|n| ("note", n)).chain(diagnostic.helps.iter().map(|h| ("help", h)));
        for (word, text) in lines {
            writeln!(out, "  {word}: {text}")?;
        }
        return Ok(());
    };
    let config = Config::default().with_color(colour).with_index_type(IndexType::Byte).with_char_set(CharSet::Unicode);
    let mut report = Report::build(kind, place(primary, sources))
        .with_config(config)
        .with_code(diagnostic.code)
        .with_message(&diagnostic.message);
    for label in &diagnostic.labels {
        let tint = if label.primary { tint } else { Color::Blue };
        let message = if label.message.is_empty() && label.primary { "here" } else { &label.message };
        report.add_label(Label::new(place(label.span, sources)).with_message(message).with_color(tint));
    }
    for note in &diagnostic.notes {
        report.add_note(note);
    }
    for help in &diagnostic.helps {
        report.add_help(help);
    }
    // A help mostly says what its fix does.
    for fix in diagnostic.fixes.iter().filter(|f| !diagnostic.helps.iter().any(|h| h.contains(f.replacement.trim()))) {
        let replacement = fix.replacement.trim();
        if replacement.is_empty() || fix.message.contains(replacement) {
            report.add_help(&fix.message);
        } else {
            report.add_help(format!("{}: `{replacement}`", fix.message));
        }
    }
    let cache = ariadne::sources(sources.iter().map(|(_, s)| (s.name.clone(), s.text.clone())));
    report.finish().write(cache, out)
}

/// Prints what is left to the candidates of a space to standard error.
pub fn notes(notes: &[String]) {
    let mut out = std::io::stderr().lock();
    for note in notes {
        let _ = writeln!(out, "note: {note}");
    }
}

/// Prints one JSON object a diagnostic or note to standard output. A note has neither code nor place.
pub fn json(diagnostics: &[Diagnostic], notes: &[String], sources: &Sources) {
    let mut out = std::io::stdout().lock();
    for d in diagnostics {
        let line = json!({
            "code": d.code.0,
            "severity": d.severity,
            "message": d.message,
            "file": d.primary_span().map(|s| sources.get(s.file).name.clone()),
            "span": d.primary_span().map(|s| span(s, sources)),
            "labels": d.labels.iter().map(|l| json!({
                "file": sources.get(l.span.file).name,
                "span": span(l.span, sources),
                "message": l.message,
                "primary": l.primary,
            })).collect::<Vec<_>>(),
            "notes": d.notes,
            "helps": d.helps,
            "fixes": d.fixes.iter().map(|f| json!({
                "message": f.message,
                "file": sources.get(f.span.file).name,
                "span": span(f.span, sources),
                "replacement": f.replacement,
            })).collect::<Vec<_>>(),
        });
        // A reader that stopped listening is no fault of the recipe.
        let _ = writeln!(out, "{line}");
    }
    for note in notes {
        let line = json!({
            "code": null, "severity": "note", "message": note, "file": null, "span": null,
            "labels": [], "notes": [], "helps": [], "fixes": [],
        });
        let _ = writeln!(out, "{line}");
    }
}

fn span(span: Span, sources: &Sources) -> serde_json::Value {
    let source = sources.get(span.file);
    let (start, end) = (source.line_column(span.start), source.line_column(span.end));
    json!({
        "byte_start": span.start,
        "byte_end": span.end,
        "line_start": start.line,
        "column_start": start.column,
        "line_end": end.line,
        "column_end": end.column,
    })
}

/// An error of the world or of the usage, as `miette` shows it.
#[derive(Debug)]
struct World<'a>(&'a Error);

impl std::fmt::Display for World<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for World<'_> {}

impl miette::Diagnostic for World<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.0.help.as_ref().map(|h| Box::new(h) as Box<dyn std::fmt::Display>)
    }
}

/// Prints an error to standard error and gives its exit code.
pub fn error(error: &Error) -> u8 {
    let theme = if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        miette::GraphicalTheme::unicode()
    } else {
        miette::GraphicalTheme::unicode_nocolor()
    };
    let mut text = String::new();
    let drawn = miette::GraphicalReportHandler::new_themed(theme).with_wrap_lines(false).render_report(&mut text, &World(error));
    if drawn.is_err() {
        text.clone_from(&error.message);
    }
    eprintln!("{}: {}", error.head(), text.trim());
    error.kind.exit_code()
}
