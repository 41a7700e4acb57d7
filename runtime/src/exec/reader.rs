//! Entries of a tensor, wherever it lies.

use super::{
    buffer::Buffer,
    inputs::Inputs,
    launch::Setup,
    product::Product,
    temps::{Memory, Temps},
    view::{copy_view, read_view},
};
use crate::Error;
use merge_abi::{Access, DType, Operand, Origin, Plan, Read, Step, View};
use std::sync::Arc;

/// A [`Read`] made ready.
pub(crate) struct Reader {
    from: From,
    view: View,
    pub dtype: DType,
}

enum From {
    Source(usize),
    Temp(Arc<Memory>),
    Product(Product),
}

impl Reader {
    /// None while the temporary that is read is not complete.
    pub fn new(setup: &Setup<'_>, temps: &Temps<'_>, read: &Read) -> Option<Reader> {
        let from = match read.from {
            Origin::Source(source) => From::Source(source as usize),
            Origin::Temp(temp) => match temps.factors(temp) {
                Some(f) => From::Product(Product::new(f, temps.filled(f.left)?, temps.filled(f.right)?, &read.view)),
                None => From::Temp(temps.filled(temp)?),
            },
        };
        Some(Reader { from, view: read.view.simplified(), dtype: dtype(setup.plan, read.from) })
    }

    /// The source it reads, if it is one.
    pub fn source(&self) -> Option<usize> {
        match self.from {
            From::Source(source) => Some(source),
            From::Temp(_) | From::Product(_) => None,
        }
    }

    /// Reads entries from `start` on; gives the bytes that came from files.
    ///
    /// # Errors
    /// Of the world.
    pub fn read(&self, inputs: &Inputs, start: u64, out: &mut [u8], span: &mut Buffer) -> Result<u64, Error> {
        let size = self.dtype.size();
        match &self.from {
            From::Temp(memory) => {
                copy_view(&self.view, size, start, out, memory.bytes())?;
                Ok(0)
            }
            From::Product(product) => {
                // SAFETY: any bits are an f32.
                let (before, entries, after) = unsafe { out.align_to_mut::<f32>() };
                assert!(before.is_empty() && after.is_empty(), "a tile's buffers are aligned");
                product.read(start, entries);
                Ok(0)
            }
            From::Source(source) => {
                let source = &inputs.sources[*source];
                let mut bytes = 0;
                read_view(&self.view, size, start, out, span, &mut |entry, to| {
                    bytes += to.len() as u64;
                    inputs.checkpoints[source.checkpoint].read_at(source.file, source.offset + entry * size, to)
                })?;
                Ok(bytes)
            }
        }
    }
}

/// What a step reads by tiles, and how; a call takes whole temporaries instead.
pub(crate) fn reads<'p>(step: &'p Step) -> Vec<(&'p Read, Access)> {
    let parts = match step {
        Step::Copy { from, .. } => return vec![(from, Access::Dense)],
        Step::Call { .. } => return vec![],
        Step::Map { body, .. } => std::slice::from_ref(body),
        Step::Reduce { parts, .. } | Step::Select { parts, .. } => parts,
    };
    let read = |operand: &'p Operand| match operand {
        Operand::Dense(read) => Some((read, Access::Dense)),
        Operand::PerRow(read) => Some((read, Access::PerRow)),
        Operand::PerCol(read) => Some((read, Access::PerCol)),
        Operand::RowValue { .. } => None,
    };
    parts.iter().flat_map(|part| &part.operands).filter_map(read).collect()
}

/// What the entries are stored as.
pub(crate) fn dtype(plan: &Plan, from: Origin) -> DType {
    match from {
        Origin::Source(source) => plan.sources[source as usize].dtype,
        Origin::Temp(_) => DType::F32,
    }
}
