//! The codes of this crate's diagnostics; `docs/errors` has a page for each.
//!
//! | codes | about | file |
//! |---|---|---|
//! | E1xxx | names, patterns, coverage | `names.rs` |
//! | E20xx | types, shapes, values | `types.rs` |
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

use merge_base::Code;

/// The codes of each file.
pub const FILES: [&[Code]; 6] = [names::ALL, types::ALL, degrees::ALL, primitives::ALL, models::ALL, absent::ALL];

use merge_base::Code;

const PARTS: [&[Code]; 6] = [names::ALL, types::ALL, degrees::ALL, primitives::ALL, models::ALL, absent::ALL];

const COUNT: usize = {
    let (mut n, mut part) = (0, 0);
    while part < PARTS.len() {
        n += PARTS[part].len();
        part += 1;
    }
    n
};

const JOINED: [Code; COUNT] = {
    let mut all = [Code(""); COUNT];
    let (mut n, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut k = 0;
        while k < PARTS[part].len() {
            all[n] = PARTS[part][k];
            n += 1;
            k += 1;
        }
        part += 1;
    }
    all
};

/// Every code of this crate.
pub const ALL: &[Code] = &JOINED;
