//! TIR: the recipe as a graph of pure tensor operations.
//!
//! Made by `sema::elaborate`, rewritten and grouped by `opt`. Every value is a tensor of numbers; truth
//! is 1 or 0. A tensor without axes is a scalar.
//!
//! Invariants: shapes are concrete; operands have smaller ids than their users; equal operations on equal
//! operands are one node; elementwise operands have the shape of the result, or its rank with axes of
//! length 1 where they stretch, or no axes at all; reductions keep the axes they reduce with length 1,
//! except [`Over::All`], which gives a scalar.
//!
//! Not here: degrees and ranks of adapters (facts of the front end), dtypes of intermediates (arithmetic
//! is f32, scalars are f64).

mod costs;
mod graph;
mod layer;
mod parse_text;
mod text;
mod verify;

pub use costs::{Costs, PARAMETER_DTYPE, costs, each_cost, live, needed, parameters};
pub use graph::{Constraint, Graph, Node, NodeId, Op, OutTensor, Output, Over, Scope, SourceId, Trained};
pub use layer::{Layer, Network, Parameter, ParameterId, Reweighted};
pub use text::{line, parse, print};
pub use verify::verify;
