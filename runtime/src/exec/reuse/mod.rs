//! What a run takes over from earlier runs of this process: tensors of their models, temporaries, statistics.
//!
//! | file | job |
//! |---|---|
//! | `identity` | what everything of a plan is computed from, as a digest |
//! | `store` | what earlier runs left: values by digest |
//! | `remains` | the steps that are left to do, and what is taken over instead of the others |
//! | `copies` | bytes of earlier models brought into a new one |
//!
//! Two things with one identity have the same bytes, whichever plan they are from, since a run's bytes are a function of
//! sources, formulas and scalars alone. So a run that takes over gives the bytes that it would have computed, and trials of a
//! search share what their choices leave alone even where their structures differ.
//!
//! Deliberately not here: reuse between processes, and the compiled code of kernels (the driver keeps it by content).

mod copies;
mod identity;
mod remains;
mod store;

pub(super) use copies::Copies;
pub(super) use identity::{Digest, Identities};
pub(super) use remains::Remains;
pub use store::Reuse;
