//! Diagnostics as they are found: folded, blamed on the call that leads to them, sorted.

use super::names::{NameId, Names};
use crate::hir::FnId;
use merge_base::{Code, Diagnostic, Span};
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;

/// A call that is being elaborated, and the one it stands in.
#[derive(Debug)]
pub struct CallSite {
    pub caller: Option<Rc<CallSite>>,
    pub function: FnId,
    pub span: Span,
    pub depth: u32,
}

impl CallSite {
    /// The call in the recipe's own text that led here.
    pub fn outermost(&self) -> &CallSite {
        let mut site = self;
        while let Some(caller) = &site.caller {
            site = caller;
        }
        site
    }
}

/// Whether two places were reached by the same calls.
pub fn same_calls(a: &Option<Rc<CallSite>>, b: &Option<Rc<CallSite>>) -> bool {
    let (mut a, mut b) = (a.as_ref(), b.as_ref());
    loop {
        match (a, b) {
            (None, None) => return true,
            (Some(x), Some(y)) if Rc::ptr_eq(x, y) => return true,
            (Some(x), Some(y)) if x.span == y.span => (a, b) = (x.caller.as_ref(), y.caller.as_ref()),
            _ => return false,
        }
    }
}

/// Where the ways to two places part: the outermost calls that differ.
pub fn first_difference(a: &Option<Rc<CallSite>>, b: &Option<Rc<CallSite>>) -> Option<(Span, Span)> {
    let spans = |site: &Option<Rc<CallSite>>| -> Vec<Span> {
        std::iter::successors(site.as_deref(), |s| s.caller.as_deref()).map(|s| s.span).collect()
    };
    let (a, b) = (spans(a), spans(b));
    a.into_iter().rev().zip(b.into_iter().rev()).find(|(a, b)| a != b)
}

struct Finding {
    diagnostic: Diagnostic,
    tensors: FxHashSet<NameId>,
    first: Option<NameId>,
}

/// All findings so far. One fault in many tensors is one finding.
#[derive(Default)]
pub struct Findings {
    found: Vec<Finding>,
    known: FxHashMap<(Code, Vec<Span>), usize>,
}

impl Findings {
    /// Adds a finding that concerns `tensor`, or notes that a known one concerns it too.
    pub fn add(&mut self, diagnostic: Diagnostic, tensor: Option<NameId>) {
        let spans: Vec<Span> = diagnostic.labels.iter().map(|l| l.span).collect();
        let index = if spans.is_empty() {
            self.found.iter().position(|f| f.diagnostic == diagnostic).unwrap_or(self.found.len())
        } else {
            *self.known.entry((diagnostic.code, spans)).or_insert(self.found.len())
        };
        if index == self.found.len() {
            self.found.push(Finding { diagnostic, tensors: FxHashSet::default(), first: tensor });
        }
        self.found[index].tensors.extend(tensor);
    }

    /// Takes over what was found apart.
    pub fn append(&mut self, other: Findings) {
        for f in other.found {
            self.add(f.diagnostic, f.first);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether any finding is an error.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|f| f.diagnostic.is_error())
    }

    /// The findings in the order of the text.
    pub fn finish(self, names: &Names) -> Vec<Diagnostic> {
        let mut all: Vec<Diagnostic> = self
            .found
            .into_iter()
            .map(|f| match (f.first, f.tensors.len()) {
                (Some(first), 2..) => {
                    f.diagnostic.note_first(format!("in {} tensors, from {}", f.tensors.len(), names.text(first)))
                }
                (Some(first), 1) => f.diagnostic.note_first(format!("in {}", names.text(first))),
                _ => f.diagnostic,
            })
            .collect();
        all.sort_by_key(|d| d.primary_span().map(|s| (s.file, s.start, s.end)));
        all
    }
}

trait NoteFirst {
    fn note_first(self, note: String) -> Diagnostic;
}

impl NoteFirst for Diagnostic {
    fn note_first(mut self, note: String) -> Diagnostic {
        self.notes.insert(0, note);
        self
    }
}
