//! The text form of a graph.
use super::Graph;

/// The graph as text, one node a line.
pub fn print(graph: &Graph) -> String {
    graph.nodes().map(|(id, n)| format!("%{} = {:?} : {:?}\n", id.0, n.op, n.shape)).collect()
}
