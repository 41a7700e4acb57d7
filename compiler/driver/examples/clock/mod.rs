//! The clock of the examples that measure.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of this thread, so that what else the machine does is not counted.
pub fn cpu() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}
