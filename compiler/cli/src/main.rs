//! The command line of the Merge compiler.
fn main() {}
