//! What routines have to say of a run: how much a decomposition of low rank left out.

use crate::routines::{Array, Outcome};
use merge_abi::Routine;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Remarks of all calls, joined by their place in the recipe.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    by_place: Mutex<BTreeMap<String, Truncated>>,
}

/// Decompositions that kept fewer directions than there are.
#[derive(Clone, Copy, Debug)]
struct Truncated {
    tensors: u64,
    /// Least and most directions kept, and that there were.
    kept: (u64, u64),
    of: (u64, u64),
    residual: f64,
}

impl Notes {
    /// Records a call that is done.
    pub fn add(&self, place: &str, routine: &Routine, inputs: &[Array<'_, f32>], outcome: &Outcome<f32>) {
        let (Some(residual), Routine::Svd { rank }) = (outcome.residual, routine) else { return };
        let of = inputs[0].shape.iter().copied().min().unwrap_or(0);
        let mut by_place = self.by_place.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Truncated { tensors: 0, kept: (*rank, *rank), of: (of, of), residual };
        let note = by_place.entry(place.to_owned()).or_insert(fresh);
        note.tensors += 1;
        note.kept = (note.kept.0.min(*rank), note.kept.1.max(*rank));
        note.of = (note.of.0.min(of), note.of.1.max(of));
        note.residual = note.residual.max(residual);
    }

    /// A line for each place, in the order of their names.
    pub fn lines(&self) -> Vec<String> {
        let by_place = self.by_place.lock().unwrap_or_else(PoisonError::into_inner);
        by_place.iter().map(|(place, note)| note.line(place)).collect()
    }
}

impl Truncated {
    fn line(&self, place: &str) -> String {
        let range = |(low, high): (u64, u64)| if low == high { low.to_string() } else { format!("{low} to {high}") };
        let of = match self.tensors {
            1 => "a matrix".to_owned(),
            n => format!("{n} matrices"),
        };
        let residual = match self.residual {
            0.0 => "0".to_owned(),
            small if small < 0.001 => format!("{small:.1e}"),
            other => format!("{other:.3}"),
        };
        format!("{place} keeps {} of {} directions of {of}; largest residual {residual}", range(self.kept), range(self.of))
    }
}
