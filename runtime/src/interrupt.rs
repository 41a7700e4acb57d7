//! Ctrl-C: a flag that a signal handler raises and the workers look at between tiles.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Installs the handler for the interrupt, hang-up and termination signals. A second signal ends the
/// process at once, for the case that a disk hangs. Called by whoever owns the process, once.
pub fn listen() {
    // A handler that is there already belongs to the host program, which then stops runs in its own way.
    let _ = ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
}

/// Whether somebody asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
