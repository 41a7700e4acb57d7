//! Functions that call themselves.

use super::Resolver;
use crate::codes::names::RECURSION;
use crate::hir::{Fn, FnId, Tail};
use merge_base::{Diagnostic, Span};

#[derive(Clone, Copy, PartialEq)]
enum Seen {
    No,
    OnPath,
    Done,
}

impl Resolver<'_> {
    /// Reports each cycle once and empties the bodies of its functions, so that nobody follows it again.
    pub(super) fn break_cycles(&mut self, fns: &mut [Fn]) {
        let mut seen = vec![Seen::No; fns.len()];
        let mut cycles: Vec<(Vec<FnId>, Span)> = Vec::new();
        for start in 0..fns.len() {
            self.follow(FnId(start as u32), &mut Vec::new(), &mut seen, &mut cycles);
        }
        for (cycle, span) in cycles {
            let mut names: Vec<&str> = cycle.iter().map(|f| fns[f.0 as usize].name.as_str()).collect();
            names.push(names[0]);
            let message = match cycle.as_slice() {
                [only] => format!("`{}` calls itself", fns[only.0 as usize].name),
                _ => format!("these functions call each other in a circle: {}", names.join(" -> ")),
            };
            let d = Diagnostic::new(RECURSION, message, span, "this call closes the circle")
                .help("there is no recursion; `fold state = start for x in list { .. }` repeats");
            self.report(d);
            for f in cycle {
                fns[f.0 as usize].body.tail = Tail::Error;
                fns[f.0 as usize].body.stmts.clear();
            }
        }
    }

    fn follow(&self, at: FnId, path: &mut Vec<FnId>, seen: &mut [Seen], cycles: &mut Vec<(Vec<FnId>, Span)>) {
        if seen[at.0 as usize] != Seen::No {
            return;
        }
        seen[at.0 as usize] = Seen::OnPath;
        path.push(at);
        for (callee, span) in &self.edges[at.0 as usize] {
            if seen[callee.0 as usize] == Seen::OnPath {
                let from = path.iter().position(|f| f == callee).unwrap_or(0);
                cycles.push((path[from..].to_vec(), *span));
            } else {
                self.follow(*callee, path, seen, cycles);
            }
        }
        path.pop();
        seen[at.0 as usize] = Seen::Done;
    }
}
