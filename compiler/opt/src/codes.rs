//! The codes of this crate's diagnostics.

use merge_base::Code;

/// The recipe is right, but this compiler cannot compute it: it would hold too much in memory, or has no way yet.
pub const NOT_YET: Code = Code("E5001");

/// All of them.
pub const ALL: &[Code] = &[NOT_YET];
