//! Degrees: what is a weight, what a delta.

use merge_base::Code;

/// A number other than 1 (or 0 for a delta).
pub const WRONG_DEGREE: Code = Code("E2101");
/// A weight is wanted and a delta is there, or the other way round.
pub const WEIGHT_OR_DELTA: Code = Code("E2102");
/// The degree depends on settings.
pub const DEGREE_OF_SETTINGS: Code = Code("E2103");
/// Branches, members of a list, or arguments have different degrees.
pub const DEGREES_DIFFER: Code = Code("E2104");
/// A weight was multiplied by a tensor.
pub const WEIGHT_TIMES_TENSOR: Code = Code("E2105");
/// The degree cannot be proved: something that is not linear was done to a weight.
pub const DEGREE_UNPROVED: Code = Code("E2106");
/// Statistics were added to a weight.
pub const STATISTICS_AS_WEIGHT: Code = Code("E2107");
/// `as weight` where that is proved already.
pub const NEEDLESS_AS: Code = Code("W2108");

/// Every code of this file.
pub const ALL: &[Code] = &[
    WRONG_DEGREE,
    WEIGHT_OR_DELTA,
    DEGREE_OF_SETTINGS,
    DEGREES_DIFFER,
    WEIGHT_TIMES_TENSOR,
    DEGREE_UNPROVED,
    STATISTICS_AS_WEIGHT,
    NEEDLESS_AS,
];
