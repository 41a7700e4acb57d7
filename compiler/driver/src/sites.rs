//! Every `choose` of a recipe's own file.

use merge_sema::hir::walk::{Visit, walk_block, walk_choose, walk_clauses, walk_expr, walk_let};
use merge_sema::hir::{Choose, Item, Program};

/// A `choose`, and whether it is a statement, whose name is seen behind it.
#[derive(Clone, Copy)]
pub(crate) struct Site<'p> {
    pub choose: &'p Choose,
    pub is_statement: bool,
}

#[derive(Default)]
struct Sites<'p>(Vec<Site<'p>>);

impl<'p> Visit<'p> for Sites<'p> {
    fn choose(&mut self, choose: &'p Choose, is_statement: bool) {
        self.0.push(Site { choose, is_statement });
    }
}

/// The `choose`s in the order of the text, outer ones before those inside.
pub(crate) fn sites(program: &Program) -> Vec<Site<'_>> {
    let mut found = Sites::default();
    for f in program.fns.iter().filter(|f| Some(f.file) == program.entry) {
        f.params.iter().filter_map(|p| p.default.as_ref()).for_each(|e| walk_expr(e, &mut found));
        walk_block(&f.body, &mut found);
    }
    for item in &program.items {
        match item {
            Item::Let(l) => walk_let(l, &mut found),
            Item::Choose(c) => walk_choose(c, true, &mut found),
            Item::Save(s) => {
                walk_expr(&s.value, &mut found);
                walk_expr(&s.to, &mut found);
                walk_clauses(&s.clauses, &mut found);
            }
            Item::Search(_) => {}
            Item::Test(t) => walk_block(&t.body, &mut found),
        }
    }
    found.0.sort_by_key(|s| (s.choose.span.start, std::cmp::Reverse(s.choose.span.end)));
    found.0
}
