//! The codes of what only the values of a run can show: routines that have no result for the entries they are given.
//!
//! Each has a page in `docs/errors`, like the compiler's diagnostics, which `mergec explain` prints. Errors of the world (files, disk,
//! memory) have none: their message is all there is to say.

/// A place that a tensor holds is no place of the axis.
pub const NO_SUCH_PLACE: &str = "E6001";
/// `scatter` is given a place twice.
pub const PLACE_TWICE: &str = "E6002";
/// A mask has more or fewer places than the recipe says.
pub const COUNTS_DIFFER: &str = "E6003";
/// A system of equations has no solution, or many.
pub const SINGULAR: &str = "E6004";
/// NaN or infinity where only finite numbers have a result, or an iteration that does not end.
pub const NO_RESULT: &str = "E6005";

/// Every code of this crate.
pub const ALL: &[&str] = &[NO_SUCH_PLACE, PLACE_TWICE, COUNTS_DIFFER, SINGULAR, NO_RESULT];
