//! Names, patterns and coverage.

use merge_base::Code;

/// Every code of this file.
pub const ALL: &[Code] = &[];
