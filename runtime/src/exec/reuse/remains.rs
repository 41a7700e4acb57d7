//! The steps that are left to do when something is taken over from earlier runs.

use super::{
    identity::{Digest, Identities},
    store::{Found, Reuse},
};
use crate::exec::temps::Memory;
use merge_abi::{Loop, Operand, Origin, Plan, ScalarId, ScalarOp, Sink, Step};
use std::sync::Arc;

/// What one run does and what it takes over.
pub(crate) struct Remains {
    /// By step, whether it is done.
    pub steps: Vec<bool>,
    /// By output and tensor, where its bytes are taken from.
    pub tensors: Vec<Vec<Option<Found>>>,
    /// By statistic.
    pub stats: Vec<Option<f64>>,
    /// Temporaries that are there already and that some step reads.
    pub temps: Vec<(u32, Arc<Memory>)>,
    pub stat_identities: Vec<Digest>,
    pub temp_identities: Vec<Digest>,
    /// By temporary, whether other settings are likely to ask for the same one.
    pub likely: Vec<bool>,
}

impl Remains {
    /// Everything is to be done.
    pub fn all(plan: &Plan) -> Remains {
        Remains {
            steps: vec![true; plan.steps.len()],
            tensors: plan.outputs.iter().map(|o| vec![None; o.tensors.len()]).collect(),
            stats: vec![None; plan.stats as usize],
            temps: Vec::new(),
            stat_identities: Vec::new(),
            temp_identities: Vec::new(),
            likely: Vec::new(),
        }
    }

    /// What is left of a plan, given what `reuse` has.
    pub fn of(plan: &Plan, identities: Identities, reuse: &Reuse) -> Remains {
        let tensors = reuse.tensors(&identities.outputs);
        let stats = reuse.stats(&identities.stats);
        let held = reuse.temps(&identities.temps);
        let mut needs = Needs {
            plan,
            temps: vec![false; plan.temps.len()],
            stats: vec![false; plan.stats as usize],
            scalars: vec![false; plan.scalars.len()],
        };
        let mut steps = vec![false; plan.steps.len()];
        for (index, step) in plan.steps.iter().enumerate().rev() {
            let temp = |t: u32| needs.temps[t as usize] && held[t as usize].is_none();
            let stat = |s: merge_abi::StatId| needs.stats[s.0 as usize] && stats[s.0 as usize].is_none();
            steps[index] = match step {
                Step::Copy { to, .. } | Step::Map { to, .. } => match to.to {
                    Sink::Output { output, tensor } => tensors[output as usize][tensor as usize].is_none(),
                    Sink::Temp(t) => temp(t),
                },
                Step::Reduce { results, .. } => results.iter().any(|s| stat(*s)),
                Step::Select { selections, .. } => selections.iter().any(|s| stat(s.threshold) || s.cut.is_some_and(stat)),
                Step::Call { results, .. } => results.iter().flatten().any(|t| temp(*t)),
            };
            if steps[index] {
                plan.unless.get(index).copied().flatten().into_iter().for_each(|s| needs.scalar(s));
                needs.step(step);
            }
        }
        let temps: Vec<(u32, Arc<Memory>)> = held
            .into_iter()
            .enumerate()
            .filter(|(t, _)| needs.temps[*t])
            .filter_map(|(t, memory)| Some((t as u32, memory?)))
            .inspect(|(t, _)| reuse.used(&identities.temps[*t as usize]))
            .collect();
        let likely = likely(plan, &identities);
        let Identities { temps: temp_identities, stats: stat_identities, .. } = identities;
        Remains { steps, tensors, stats, temps, stat_identities, temp_identities, likely }
    }

    /// Tensors that are taken over.
    pub fn taken_over(&self) -> u64 {
        self.tensors.iter().flatten().flatten().count() as u64
    }
}

/// Temporaries that no setting touches and that a step reads which some setting does: the last that trials have in common.
fn likely(plan: &Plan, identities: &Identities) -> Vec<bool> {
    let mut likely = vec![false; plan.temps.len()];
    for (step, varies) in plan.steps.iter().zip(&identities.varies) {
        if *varies {
            let mut mark = |t: u32| likely[t as usize] |= !identities.temps_vary[t as usize];
            super::super::reader::reads(step)
                .into_iter()
                .filter_map(|(read, _)| if let Origin::Temp(t) = read.from { Some(t) } else { None })
                .for_each(&mut mark);
            if let Step::Call { inputs, .. } = step {
                inputs.iter().copied().for_each(&mut mark);
            }
        }
    }
    likely
}

/// What the steps that are done need, found from the last step to the first.
struct Needs<'p> {
    plan: &'p Plan,
    temps: Vec<bool>,
    stats: Vec<bool>,
    scalars: Vec<bool>,
}

impl Needs<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Copy { from, .. } => self.origin(from.from),
            Step::Map { body, .. } => self.body(body),
            Step::Reduce { parts, .. } => parts.iter().for_each(|part| self.body(part)),
            Step::Select { parts, selections } => {
                parts.iter().for_each(|part| self.body(part));
                selections.iter().for_each(|s| self.scalar(s.k));
            }
            Step::Call { inputs, .. } => inputs.iter().for_each(|t| self.temps[*t as usize] = true),
        }
    }

    fn body(&mut self, body: &Loop) {
        for operand in &body.operands {
            match operand {
                Operand::Dense(read) | Operand::PerRow(read) | Operand::PerCol(read) => self.origin(read.from),
                Operand::RowValue { .. } => {}
            }
        }
        body.params.iter().for_each(|s| self.scalar(*s));
        body.cuts.iter().for_each(|cut| self.stats[cut.stat.0 as usize] = true);
        for phase in &body.phases {
            phase.params.iter().for_each(|s| self.scalar(*s));
            if let merge_abi::RowPhaseKind::Select { picks } = &phase.kind {
                picks.iter().for_each(|pick| self.scalar(pick.k));
            }
        }
    }

    fn origin(&mut self, from: Origin) {
        if let Origin::Temp(t) = from {
            self.temps[t as usize] = true;
        }
    }

    fn scalar(&mut self, id: ScalarId) {
        let mut pending = vec![id];
        while let Some(at) = pending.pop() {
            if std::mem::replace(&mut self.scalars[at.0 as usize], true) {
                continue;
            }
            match self.plan.scalars[at.0 as usize] {
                ScalarOp::Const(_) | ScalarOp::Setting(_) => {}
                ScalarOp::Stat(stat) => self.stats[stat.0 as usize] = true,
                ScalarOp::Unary(_, a) => pending.push(a),
                ScalarOp::Binary(_, a, b) => pending.extend([a, b]),
                ScalarOp::Select(c, a, b) => pending.extend([c, a, b]),
            }
        }
    }
}
