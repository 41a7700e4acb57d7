//! Rewrites what no loop computes into what some can.
//!
//! Establishes: every [`Op::Rank`] is over the rows of a matrix, a few rows at a time and rows that a tile holds (others are calls
//! of the routine), and a literal of more entries than a kernel holds is a concatenation of shorter ones.
//!
//! Not here: ranks that are only compared with a number, which `simplify` has turned into masks before.

use crate::push_views::{LONGEST_LIST, LONGEST_LITERAL};
use crate::simplify::rebuild;
use merge_abi::Routine;
use merge_base::Span;
use merge_ir::tir::{Graph, NodeId, Op, Over};
use std::rc::Rc;

/// Entries that are ranked by one operation, if there are rows to part them by. Where they must be kept, what is ranked and its
/// ranks are in memory until they are used, and a loop over the result is cut where such a part ends.
const RANKED_AT_ONCE: u64 = 1 << 22;

/// Entries of the longest row that is ranked in a tile: what a formula over some models needs for each fits into the memory of
/// a thread, even where that is little.
const LONGEST_RANKED_ROW: u64 = 1 << 15;

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
            let entries = shape.iter().product::<u64>();
            // The only row, and the last axis otherwise.
            let row = if over == Over::All { entries } else { shape.last().copied().unwrap_or(1) };
            let rows = entries / row.max(1);
            let at_once = (RANKED_AT_ONCE / row.max(1)).max(1);
            let input = reshaped(g, input, &[rows, row], span);
            if rows <= at_once {
                let ranks = ranks(g, input, span);
                return reshaped(g, ranks, &shape, span);
            }
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

/// The place of each entry of a matrix in its row: found by the loop that has the row in memory or, where a row is too long
/// for that, by the routine.
fn ranks(g: &mut Graph, input: NodeId, span: Span) -> NodeId {
    let shape = g.shape(input).clone();
    let op = match shape[1] <= LONGEST_RANKED_ROW {
        true => Op::Rank { input, over: Over::Rows },
        false => Op::Call { routine: Rc::new(Routine::Rank { largest_first: true }), result: 0, inputs: [input].into() },
    };
    g.add(op, shape, span)
}

/// Whether a literal is too long for one kernel, and short enough for several. The same number over and over is
/// never too long.
fn is_long(values: &[u64]) -> bool {
    (LONGEST_LITERAL + 1..=LONGEST_LIST).contains(&values.len()) && values.iter().any(|v| *v != values[0])
}

fn reshaped(g: &mut Graph, input: NodeId, shape: &[u64], span: Span) -> NodeId {
    if g.shape(input)[..] == *shape { input } else { g.add(Op::Reshape { input }, shape.into(), span) }
}
