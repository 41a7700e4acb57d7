//! Routines on whole temporaries: one task each, done by one worker, so that no thread reaches their bytes.

use super::{
    job::World,
    launch::Setup,
    temps::{Memory, Temps},
};
use crate::{
    Error,
    routines::{self, Array},
};
use merge_abi::Routine;
use std::sync::{Arc, Mutex, PoisonError};

/// A call made ready.
pub(crate) struct CallJob<'p> {
    routine: &'p Routine,
    inputs: Vec<(&'p [u64], Arc<Memory>)>,
    results: &'p [Option<u32>],
    place: &'p str,
    given: Mutex<Vec<(u32, Vec<f32>)>>,
}

impl<'p> CallJob<'p> {
    /// None while an input is incomplete.
    pub fn new(
        setup: &Setup<'p>,
        temps: &Temps<'_>,
        routine: &'p Routine,
        inputs: &[u32],
        results: &'p [Option<u32>],
        place: &'p str,
    ) -> Option<CallJob<'p>> {
        let inputs =
            inputs.iter().map(|t| Some((&*setup.plan.temps[*t as usize].shape, temps.filled(*t)?))).collect::<Option<_>>()?;
        Some(CallJob { routine, inputs, results, place, given: Mutex::new(Vec::new()) })
    }

    /// # Errors
    /// Of the recipe, where the routine has no result for these entries.
    pub fn run(&self, world: &World<'_>) -> Result<(), Error> {
        let inputs: Vec<Array<'_, f32>> =
            self.inputs.iter().map(|(shape, memory)| Array { shape, entries: memory.entries() }).collect();
        let outcome = routines::run(self.routine, &inputs, world.setup.seed).map_err(|fault| {
            let error = Error::recipe(format!("{}: `{}` {}", self.place, self.routine.name(), fault.what));
            error.with_help(fault.help)
        })?;
        world.totals.notes.add(self.place, self.routine, &inputs, &outcome);
        let wanted = self.results.iter().zip(outcome.results).filter_map(|(temp, entries)| Some(((*temp)?, entries)));
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = wanted.collect();
        Ok(())
    }

    /// What it gave, by temporary.
    pub fn results(&self) -> Vec<(u32, Vec<f32>)> {
        std::mem::take(&mut self.given.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
