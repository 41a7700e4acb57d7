//! Routines on whole temporaries: one task each, done by one worker, so that no thread reaches their bytes.

use super::{
    job::World,
    launch::Setup,
    reader::reads,
    temps::{Memory, Temps},
};
use crate::{
    Error,
    routines::{self, Array},
};
use merge_abi::{Origin, Plan, Routine, Sink, Source, Step};
use std::sync::{Arc, Mutex, PoisonError};

/// A call made ready.
pub(crate) struct CallJob<'p> {
    routine: &'p Routine,
    inputs: Vec<(&'p [u64], Arc<Memory>)>,
    /// The temporaries that they are.
    temps: &'p [u32],
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
        from: &'p [u32],
        results: &'p [Option<u32>],
        place: &'p str,
    ) -> Option<CallJob<'p>> {
        let inputs =
            from.iter().map(|t| Some((&*setup.plan.temps[*t as usize].shape, temps.filled(*t)?))).collect::<Option<_>>()?;
        Some(CallJob { routine, inputs, temps: from, results, place, given: Mutex::new(Vec::new()) })
    }

    /// # Errors
    /// Of the recipe, where the routine has no result for these entries.
    pub fn run(&self, world: &World<'_>) -> Result<(), Error> {
        let inputs: Vec<Array<'_, f32>> =
            self.inputs.iter().map(|(shape, memory)| Array { shape, entries: memory.entries() }).collect();
        let outcome = routines::run(self.routine, &inputs, world.setup.seed).map_err(|fault| {
            let plan = world.setup.plan;
            let of = match self.temps.iter().find_map(|t| tensor(plan, *t)) {
                Some(source) => {
                    format!(" (for tensor `{}` of {})", source.name, plan.checkpoints[source.checkpoint as usize].name)
                }
                None => String::new(),
            };
            let error = Error::recipe(format!("{}: `{}` {}{of}", self.place, self.routine.name(), fault.what));
            error.with_code(fault.code).with_help(fault.help)
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

/// The first tensor of an input that a temporary is computed from: a place in the recipe covers many tensors.
fn tensor(plan: &Plan, temp: u32) -> Option<&Source> {
    let mut wanted = vec![temp];
    let mut seen = wanted.clone();
    while let Some(temp) = wanted.pop() {
        let writes = |step: &&Step| match step {
            Step::Copy { to, .. } | Step::Map { to, .. } => to.to == Sink::Temp(temp),
            Step::Call { results, .. } => results.contains(&Some(temp)),
            Step::Reduce { .. } | Step::Select { .. } => false,
        };
        for step in plan.steps.iter().filter(writes) {
            let mut from: Vec<Origin> = reads(step).into_iter().map(|(read, _)| read.from).collect();
            if let Step::Call { inputs, .. } = step {
                from.extend(inputs.iter().map(|t| Origin::Temp(*t)));
            }
            for from in from {
                match from {
                    Origin::Source(source) => return Some(&plan.sources[source as usize]),
                    Origin::Temp(t) if !seen.contains(&t) => {
                        seen.push(t);
                        wanted.push(t);
                    }
                    Origin::Temp(_) => {}
                }
            }
        }
    }
    None
}
