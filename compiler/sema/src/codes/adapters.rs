//! Adapters: reading them on a base, and saving deltas as one.

use merge_base::Code;

/// A kind or variant of adapter that is not there.
pub const UNKNOWN_KIND: Code = Code("E3301");
/// `adapter_config.json` is missing or cannot be read.
pub const BAD_CONFIG: Code = Code("E3302");
/// A key of an adapter that the base has nothing for.
pub const NOT_IN_BASE: Code = Code("E3303");
/// Shapes of an adapter that fit neither each other nor the base.
pub const WRONG_SHAPES: Code = Code("E3304");
/// A factor without its partner, or one of another kind.
pub const INCOMPLETE: Code = Code("E3305");
/// A delta that is no product of factors.
pub const NOT_FACTORED: Code = Code("E3306");
/// A key of `adapter_config.json` that nobody knows.
pub const UNKNOWN_CONFIG_KEY: Code = Code("W3307");

/// Every code of this file.
pub const ALL: &[Code] = &[UNKNOWN_KIND, BAD_CONFIG, NOT_IN_BASE, WRONG_SHAPES, INCOMPLETE, NOT_FACTORED, UNKNOWN_CONFIG_KEY];
