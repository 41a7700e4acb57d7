//! The codes of this crate's diagnostics; `docs/errors` has a page for each.
//!
//! | codes | about | file |
//! |---|---|---|
//! | E1xxx | names, patterns, coverage | `names.rs` |
//! | E20xx | types, shapes, values | `types.rs` |
//! | E21xx, W21xx | degrees | `degrees.rs` |
//! | E25xx | primitives | `primitives.rs` |
//! | E3xxx | models, rules, files, settings and `save` | `models.rs` |
//! | E33xx, W33xx | adapters | `adapters.rs` |
//! | E3104, E34xx | spaces of decisions, searches | `spaces.rs` |
//! | E4xxx | what the language has but this compiler does not do yet | `absent.rs` |

pub mod absent;
pub mod adapters;
pub mod degrees;
pub mod models;
pub mod names;
pub mod primitives;
pub mod spaces;
pub mod types;

use merge_base::Code;

const FILES: [&[Code]; 8] =
    [names::ALL, types::ALL, degrees::ALL, primitives::ALL, models::ALL, adapters::ALL, spaces::ALL, absent::ALL];

const COUNT: usize = {
    let (mut count, mut file) = (0, 0);
    while file < FILES.len() {
        count += FILES[file].len();
        file += 1;
    }
    count
};

const fn gather() -> [Code; COUNT] {
    let mut all = [Code(""); COUNT];
    let (mut at, mut file) = (0, 0);
    while file < FILES.len() {
        let mut i = 0;
        while i < FILES[file].len() {
            all[at] = FILES[file][i];
            at += 1;
            i += 1;
        }
        file += 1;
    }
    all
}

/// Every code of this crate.
pub const ALL: &[Code] = &gather();
