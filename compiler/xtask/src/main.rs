//! Project chores: demo, test, bench.
fn main() {}
