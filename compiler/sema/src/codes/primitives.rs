//! Primitives.

use merge_base::Code;

/// Every code of this file.
pub const ALL: &[Code] = &[];
