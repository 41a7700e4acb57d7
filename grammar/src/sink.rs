//! Where diagnostics of one text are gathered, at most one fault of the syntax per line.

use merge_base::{Diagnostic, FileId, Span};
use std::collections::HashSet;

/// Diagnostics of one text. What the parser says about a line that is already known to be broken is
/// usually an echo, so it is left out.
pub struct Sink {
    file: FileId,
    offset: usize,
    pub diagnostics: Vec<Diagnostic>,
    broken: HashSet<u32>,
}

impl Sink {
    /// A sink for a text that starts at byte `offset` of `file`.
    pub fn new(file: FileId, offset: usize) -> Sink {
        Sink { file, offset, diagnostics: Vec::new(), broken: HashSet::new() }
    }

    /// The place of bytes `start..end` of the text.
    pub fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, start + self.offset, end + self.offset)
    }

    /// A finding after which the line still reads as it was meant.
    pub fn mended(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// A finding that leaves the line broken.
    pub fn broken(&mut self, line: u32, diagnostic: Diagnostic) {
        self.broken.insert(line);
        self.diagnostics.push(diagnostic);
    }

    /// A finding that is left out where the line is known to be broken.
    pub fn unless_broken(&mut self, line: u32, diagnostic: Diagnostic) {
        if self.broken.insert(line) {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Takes it that the line is broken, without a finding of its own.
    pub fn mark(&mut self, line: u32) {
        self.broken.insert(line);
    }

    /// Whether a fault of this line was already reported.
    pub fn is_broken(&self, line: u32) -> bool {
        self.broken.contains(&line)
    }
}
