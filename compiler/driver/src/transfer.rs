//! Weight transfer: what parameters start as, taken from a checkpoint of trained ones where name and shape agree.
//!
//! Names are paths through lets, calls and arms with their keys, so a candidate takes over what it has in common with another: FlexiBERT's
//! transfer between neighbours (Tuli et al. 2022, arXiv 2205.11656, section 3.6) for whole tensors. Elaboration knows nothing of it: start
//! values that are taken become loads of one more checkpoint.

use merge_abi::{Checkpoint, Source};
use merge_ir::tir::{Graph, Op, SourceId};
use merge_package::{TAKEN_FROM, Taken};
use merge_sema::Schema;
use std::rc::Rc;

/// Takes start values of the parameters that the graph's outputs hold from a checkpoint of this header, which lies at `path`.
pub(crate) fn take_over(graph: &mut Graph, schema: &Schema, path: String) {
    let checkpoint = graph.checkpoints.len() as u32;
    graph.checkpoints.push(Checkpoint { name: TAKEN_FROM.to_owned(), path, config: None });
    let mut outputs = std::mem::take(&mut graph.outputs);
    for output in &mut outputs {
        let starts = output.trained.as_ref().map_or(0, |t| t.starts as usize);
        let first = output.tensors.len().saturating_sub(starts);
        for tensor in &mut output.tensors[first..] {
            let Some(known) = schema.tensors.get(&tensor.name) else { continue };
            let shape = graph.shape(tensor.node).clone();
            if known.shape[..] != *shape || !known.dtype.is_float() {
                continue;
            }
            let source = SourceId(graph.sources.len() as u32);
            let (name, shape) = (tensor.name.clone(), known.shape.clone());
            graph.sources.push(Source { checkpoint, name, dtype: known.dtype, shape: shape.clone() });
            tensor.node = graph.add(Op::Load(source), Rc::from(shape), output.span);
        }
    }
    graph.outputs = outputs;
}

/// How much was taken over, in a sentence; none where nothing was asked for.
pub fn taken_over(graph: &Graph) -> Option<String> {
    let mut all: Option<Taken> = None;
    for taken in graph.outputs.iter().filter_map(|o| merge_package::taken(graph, o)) {
        let sum = all.get_or_insert_default();
        sum.tensors += taken.tensors;
        sum.of_tensors += taken.of_tensors;
        sum.entries += taken.entries;
        sum.of_entries += taken.of_entries;
    }
    let Taken { tensors, of_tensors, entries, of_entries } = all?;
    Some(format!("{tensors} of {of_tensors} parameters, {entries} of {of_entries} entries, start from what was trained before"))
}
