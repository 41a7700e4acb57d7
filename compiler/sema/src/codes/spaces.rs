//! Spaces of decisions and searches.

use merge_base::Code;

/// Conditions exclude every candidate of a space.
pub const EMPTY_SPACE: Code = Code("E3104");

/// A setting of a search that does not exist, is missing, or has a value it cannot have.
pub const BAD_SEARCH: Code = Code("E3401");

/// Every code of this file.
pub const ALL: &[Code] = &[EMPTY_SPACE, BAD_SEARCH];
