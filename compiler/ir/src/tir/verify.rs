//! Checks the invariants of a graph.
use super::Graph;

/// The invariants that do not hold, one sentence each.
pub fn verify(_graph: &Graph) -> Vec<String> {
    Vec::new()
}
