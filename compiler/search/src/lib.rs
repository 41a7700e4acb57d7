//! Search: spaces as data, and the algorithms that search them.
//!
//! This room knows nothing of the language: a [`space::Space`] is a tree of named decisions with their domains, a candidate is
//! an [`space::Assignment`] of values to paths, and what a candidate *is* (a merged model, a folder for a trainer) is the
//! caller's business, reached through a callback. The compiler makes the space; `mergec search` runs it.
//!
//! Invariants: what is proposed is a function of the space, the settings, the seed and the results so far, and of nothing
//! else (no clock, no thread, no map order), which is what makes a journal enough to go on from.

pub mod algorithms;
mod encode;
pub mod engine;
pub mod journal;
pub mod objective;
pub mod report;
mod rng;
pub mod run;
pub mod searcher;
mod seen;
pub mod settings;
pub mod space;
pub mod surrogate;
mod vary;

pub use rng::Rng;
pub use searcher::{Known, Proposal, Searcher, Trial};
pub use seen::Seen;
pub use settings::{Algorithm, Goal};
pub use space::{Assignment, Decision, Domain, Misfit, Size, Slot, Space, SpaceBuilder, SpaceError, Then, Tree, TreeId, Value};
