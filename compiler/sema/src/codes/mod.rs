//! The codes of this crate's diagnostics; `docs/errors` has a page for each.
//!
//! | codes | about | file |
//! |---|---|---|
//! | E1xxx | names, patterns, coverage | `names.rs` |
//! | E20xx, E22xx | types, shapes, values | `types.rs` |
//! | E21xx, W21xx | degrees | `degrees.rs` |
//! | E25xx | primitives | `primitives.rs` |
//! | E3xxx | models, rules, files, settings and `save` | `models.rs` |
//! | E4xxx | what the language has but this compiler does not do yet | `absent.rs` |

pub mod absent;
pub mod degrees;
pub mod models;
pub mod names;
pub mod primitives;
pub mod types;
