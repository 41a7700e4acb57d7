//! What the language has but this compiler does not do yet.

use merge_base::Code;

/// A construct that is parsed and checked for names, but not there yet.
pub const NOT_THERE_YET: Code = Code("E4001");

/// Every code of this file.
pub const ALL: &[Code] = &[NOT_THERE_YET];
