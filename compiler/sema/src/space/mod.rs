//! Decisions as data: what a recipe leaves open, and what can be answered.
//!
//! Elaboration records a [`Decision`] for each `choose` that it reaches. A candidate is the recipe with an [`Answer`] to each of
//! them. An elaboration that watches ([`Exploration`]) also says which decisions depend on which: so a space is made from a few
//! candidates, and none of its others need be tried. The room that searches has types of its own for the same things; the driver translates.
//!
//! Invariants: a decision is known by its path alone ([`Decision::id`]); the order of a list's labels is that of the recipe.
//!
//! Not here: the evaluation of `choose` (`elaborate::choices`), trees of decisions (the driver, `merge-search`).

mod domain;
mod taint;
mod term;

pub use domain::{Answer, Domain};
pub use taint::{Axes, Taint, Taints};
pub use term::{Function, Term, TermId, Terms};

use merge_base::Span;
use merge_ir::tir::Costs;
use std::rc::Rc;

/// One `choose`, for one value of its key, as it was reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The path through lets, calls and arms with its keys: `candidate.method[2, mlp].ties.d`.
    pub id: String,
    pub span: Span,
    pub domain: Domain,
    /// What `run` takes without an answer; a decision without one is open.
    pub default: Option<Answer>,
    /// What it was in this elaboration.
    pub answer: Answer,
    /// Whether `--set` answered it: then it is open no more.
    pub pinned: bool,
    /// Whether the value specialises the graph; if not, it is an argument of the compiled kernels.
    pub structural: bool,
}

/// The parts of a decision's path without the spaces that people put behind commas.
pub fn normalised(id: &str) -> String {
    id.replace(", ", ",")
}

/// What an elaboration that watches its decisions has seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exploration {
    /// For each of the decisions reached (in [`crate::Elaborated::decisions`]): those before it on whose values it depends that
    /// it is reached, and its domain and key.
    pub depends: Vec<Vec<u32>>,
    /// Sets of decisions that decide together whether a place is reached where something is decided, seen or not.
    pub controls: Vec<Vec<u32>>,
    /// The conditions behind the `requires` of `let`s that decisions and ints settle.
    pub conditions: Vec<Condition>,
    /// The conditions that real numbers have a part in: scalars of the graph, to be known when a candidate is.
    pub reals: Vec<RealCondition>,
    /// What a check may mention.
    pub mentions: Vec<Mention>,
    /// What has to hold at covered places.
    pub claims: Vec<Claim>,
    /// What claims and conditions are made of, operands first. Decisions are those of this candidate, by number.
    pub terms: Vec<Term>,
    /// The strings that numbers in terms stand for, in order.
    pub strings: Vec<Rc<str>>,
    /// All places that were reached: branches, turns and calls.
    pub places: Vec<u64>,
    /// What the candidate's costs are the sum of; of a model without `new` tensors nothing.
    pub bills: Vec<Bill>,
}

/// What was paid at one place: the same in all candidates that reach it with the same answers to its decisions.
#[derive(Clone, Debug, PartialEq)]
pub struct Bill {
    pub mention: Mention,
    /// The place, and where in the text. What a candidate depends on there may be less than what others do: it stopped at the first turn.
    pub site: u64,
    pub costs: Costs,
}

/// What a candidate costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    pub costs: Costs,
    /// Whether something in it is trained: else `trainable` and `flops` say nothing.
    pub trains: bool,
}

/// Decisions that something was computed from together at one place, by number, ascending.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mention {
    pub decisions: Vec<u32>,
    /// Decisions that decide whether the place is reached. What is computed there does not depend on them otherwise.
    pub reached_by: Vec<u32>,
    /// The branches and turns around that decisions have a say in. A candidate that mentions a place, with whatever decisions, and in
    /// which nothing is wrong, has no faults there.
    pub place: u64,
    /// Whether claims say of all that is done there where it fails.
    pub covered: bool,
    /// Whether claims say where it is reached.
    pub guarded: bool,
}

/// What has to hold somewhere, in every candidate, or it is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Tells the place from others, in all candidates. What different candidates claim of one place is the same, known of as many of them
    /// as each can tell.
    pub place: u64,
    /// Not 0 where it holds.
    pub term: TermId,
    pub span: Span,
}

/// A `requires` of a `let` that real numbers settle.
#[derive(Clone, Debug, PartialEq)]
pub struct RealCondition {
    pub span: Span,
    /// As it is written.
    pub text: String,
    /// In the graph: other than 0 where it holds.
    pub node: merge_ir::tir::NodeId,
}

/// A `requires` of a `let`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub span: Span,
    /// As it is written.
    pub text: String,
    pub holds: bool,
    /// The decisions it depends on, by number.
    pub depends: Vec<u32>,
    /// Tells the place from others, in all candidates.
    pub place: u64,
    /// What it is in every candidate, as far as this one can tell.
    pub term: Option<TermId>,
}
