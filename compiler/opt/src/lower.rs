//! Rewrites what no loop computes into what some can.
//!
//! Establishes: there is no [`Op::Rank`] (ranks that count as numbers are calls of the routine, a few rows at a time),
//! and a literal of more entries than a kernel holds is a concatenation of shorter ones.
//!
//! Not here: ranks that are only compared with a number, which `simplify` has turned into masks before.

use crate::push_views::{LONGEST_LIST, LONGEST_LITERAL};
use crate::simplify::rebuild;
use merge_abi::Routine;
use merge_base::Span;
use merge_ir::tir::{Graph, NodeId, Op, Over};
use std::rc::Rc;

/// Entries that one call ranks, if there are rows to part them by: what is ranked and its ranks are in memory until
/// they are used, and a loop over the result is cut where such a part ends.
const RANKED_AT_ONCE: u64 = 1 << 22;

/// The same recipe without the operations that no loop computes.
pub(crate) fn lower(graph: Graph) -> Graph {
    let concerned = graph.nodes().any(|(_, n)| match &n.op {
        Op::Rank { .. } => true,
        Op::Literal(values) => is_long(values),
        _ => false,
    });
    if concerned { rebuild(&graph, rewrite) } else { graph }
}

fn rewrite(g: &mut Graph, op: Op, shape: Rc<[u64]>, span: Span) -> NodeId {
    match op {
        Op::Rank { input, over } => {
            // The routine goes along the last axis.
            let row = if over == Over::All { shape.iter().product() } else { shape.last().copied().unwrap_or(1) };
            let rows = shape.iter().product::<u64>() / row.max(1);
            let at_once = (RANKED_AT_ONCE / row.max(1)).max(1);
            if rows <= at_once {
                let input = if over == Over::All { reshaped(g, input, &[row], span) } else { input };
                let ranks = ranks(g, input, span);
                return reshaped(g, ranks, &shape, span);
            }
            let input = reshaped(g, input, &[rows, row], span);
            let parts = (0..rows).step_by(at_once as usize).map(|start| {
                let size = [at_once.min(rows - start), row];
                let part = g.add(Op::Slice { input, start: [start, 0].into() }, size.into(), span);
                ranks(g, part, span)
            });
            let inputs: Rc<[NodeId]> = parts.collect();
            let joined = g.add(Op::Concat { axis: 0, inputs }, [rows, row].into(), span);
            reshaped(g, joined, &shape, span)
        }
        Op::Literal(values) if is_long(&values) => {
            let piece = |v: &[u64]| g.add(Op::Literal(v.into()), [v.len() as u64].into(), span);
            let inputs: Rc<[NodeId]> = values.chunks(LONGEST_LITERAL).map(piece).collect();
            let joined = g.add(Op::Concat { axis: 0, inputs }, [values.len() as u64].into(), span);
            reshaped(g, joined, &shape, span)
        }
        _ => g.add(op, shape, span),
    }
}

/// The place of each entry in its row, as a call.
fn ranks(g: &mut Graph, input: NodeId, span: Span) -> NodeId {
    let (routine, shape) = (Rc::new(Routine::Rank { largest_first: true }), g.shape(input).clone());
    g.add(Op::Call { routine, result: 0, inputs: [input].into() }, shape, span)
}

/// Whether a literal is too long for one kernel, and short enough for several. The same number over and over is
/// never too long.
fn is_long(values: &[u64]) -> bool {
    (LONGEST_LITERAL + 1..=LONGEST_LIST).contains(&values.len()) && values.iter().any(|v| *v != values[0])
}

fn reshaped(g: &mut Graph, input: NodeId, shape: &[u64], span: Span) -> NodeId {
    if g.shape(input)[..] == *shape { input } else { g.add(Op::Reshape { input }, shape.into(), span) }
}
