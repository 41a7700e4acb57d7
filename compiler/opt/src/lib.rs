//! From tensor IR to a plan and its kernels.
//!
//! The passes, in order, each with the fact it establishes:
//!
//! 1. `simplify` folds constants and exact identities, turns comparisons of ranks into masks of the
//!    largest entries, and drops what no output needs. *The graph computes the same bits with less.*
//! 2. `lower` turns ranks of rows too long for a tile into calls and long lists into short ones. *Some loop or routine computes each
//!    operation.*
//! 3. `fuse` decides which passes over the tensors there are: a statistic directly before the first
//!    tensor that needs it, statistics over the same entries together; `order` puts those that fill temporaries where few
//!    are in memory at once. For each it asks
//! 4. `push_views` for a cluster: slices, reshapes, transposes, broadcasts and concatenations become
//!    affine views at the loads, and loops are cut where a concatenation ends. What cannot be pushed goes to `keep`, which
//!    holds the operands and results of calls already, and `fuse` starts again. *Only what must be is materialised.*
//! 5. `outline` writes each cluster as a kernel, once per structure, with its numbers as arguments.
//!    *Layers share kernels; a new setting compiles nothing.* Functions without an instruction are
//!    expanded by `merge_ir::kir::expand`.
//! 6. `schedule` puts steps, scalars, sources and temporaries into the plan, and by `idle` when a step need not run. *What
//!    [`verify_plan`] checks holds.*
//!
//! What cannot be computed, mostly since it is too large to hold, is answered by E5001 at its place in the recipe.
//!
//! Not here: the meaning of the language (`sema`), machine code (`codegen`), tiles and threads (the
//! runtime), IO of any kind.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod cluster;
pub mod codes;
mod fuse;
mod idle;
mod keep;
mod lower;
mod order;
mod outline;
mod print_dispatch;
mod print_plan;
mod push_views;
mod schedule;
mod simplify;
mod verify_plan;
mod view;

pub use print_plan::print_plan;
pub use verify_plan::verify_plan;

use merge_abi::{Plan, Recipe};
use merge_base::Diagnostic;
use merge_ir::{kir, tir};

/// What [`compile`] makes of a graph.
#[derive(Debug, Default)]
pub struct Compiled {
    /// Empty where there are errors.
    pub plan: Plan,
    /// In the order of the plan's kernels, functions expanded.
    pub kernels: Vec<kir::Kernel>,
    pub diagnostics: Vec<Diagnostic>,
    /// The graph after `simplify`.
    pub optimised: tir::Graph,
}

/// Compiles a recipe's graph, which must be well formed (`merge_ir::tir::verify`).
pub fn compile(graph: &tir::Graph, recipe: Recipe) -> Compiled {
    check("the front end", || tir::verify(graph));
    let optimised = simplify::simplify(graph);
    check("simplify", || tir::verify(&optimised));
    let optimised = lower::lower(optimised);
    check("lower", || tir::verify(&optimised));
    let dispatch = fuse::fuse(&optimised);
    if !dispatch.diagnostics.is_empty() {
        return Compiled { diagnostics: dispatch.diagnostics, optimised, ..Compiled::default() };
    }
    let (plan, kernels) = schedule::schedule(&optimised, &dispatch, recipe);
    check("outline", || {
        kernels.list.iter().flat_map(|k| kir::verify(k).into_iter().map(|p| format!("{}: {p}", k.name))).collect()
    });
    check("schedule", || verify_plan(&plan));
    Compiled { plan, kernels: kernels.list, diagnostics: Vec::new(), optimised }
}

/// The dispatch graph of a simplified graph ([`Compiled::optimised`]) as text.
pub fn print_dispatch(optimised: &tir::Graph) -> String {
    print_dispatch::print_dispatch(optimised, &fuse::fuse(optimised))
}

/// In debug builds, stops at the pass that broke an invariant.
fn check(pass: &str, problems: impl FnOnce() -> Vec<String>) {
    if cfg!(debug_assertions) {
        let problems = problems();
        assert!(problems.is_empty(), "after {pass}: {}", problems.join("; "));
    }
}
