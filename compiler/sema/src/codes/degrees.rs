//! Degrees: what is a weight, what a delta. The codes stand beside their messages, in `degree::explain`.

use crate::degree::explain;
use merge_base::Code;

/// Every code of this file.
pub const ALL: &[Code] = &[
    explain::E2101,
    explain::E2102,
    explain::E2103,
    explain::E2104,
    explain::E2105,
    explain::E2106,
    explain::E2107,
    explain::W2108,
];
