//! Primitives: arguments they cannot work with.

use merge_base::Code;

/// A list that is empty, too short, too long, or not as long as another.
pub const BAD_LIST: Code = Code("E2501");
/// A number outside what a primitive is defined for, such as a density above 1.
pub const OUTSIDE_DOMAIN: Code = Code("E2502");
/// A shape that a primitive cannot give or take.
pub const BAD_SHAPE: Code = Code("E2503");

/// Every code of this file.
pub const ALL: &[Code] = &[BAD_LIST, OUTSIDE_DOMAIN, BAD_SHAPE];
