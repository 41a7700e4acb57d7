//! Reads files, runs the passes, links executables.
