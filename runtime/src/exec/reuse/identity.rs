//! What everything of a plan is computed from, as a digest.
//!
//! The identity of a source is its file (by place, length and time of change) and its tensor's place in it; that of anything computed joins
//! the code of the kernel or the routine, its scalars and the identities of what it reads. A scalar that settings alone decide goes in by its
//! value, so that another setting with the same effect changes nothing. Only what cannot change a result is left out: names, numbers
//! of kernels and steps, places in the recipe.

use crate::{exec::Inputs, rng, scalars::Scalars, select};
use merge_abi::{
    Cut, Loop, Operand, Origin, Plan, RandomKey, Read, RowPhase, RowPhaseKind, RowPick, ScalarId, ScalarOp, Sink, StatId, Step,
    View,
};
use sha2::{Digest as _, Sha256};
use std::os::unix::fs::MetadataExt;

/// 128 bits of a SHA-256, which cannot collide by chance.
pub(crate) type Digest = [u8; 16];

/// The identities of one run.
pub(crate) struct Identities {
    /// By output and tensor.
    pub outputs: Vec<Vec<Digest>>,
    pub temps: Vec<Digest>,
    pub stats: Vec<Digest>,
    /// By step, whether it depends on settings.
    pub varies: Vec<bool>,
    /// By temporary, whether it depends on settings.
    pub temps_vary: Vec<bool>,
}

/// A digest in the making, and whether anything in it depends on settings.
#[derive(Clone)]
struct Maker {
    hash: Sha256,
    varies: bool,
}

/// An identity, and whether it depends on settings.
#[derive(Clone, Copy, Default)]
struct Known {
    digest: Digest,
    varies: bool,
}

impl Maker {
    fn new(kind: &str) -> Maker {
        Maker { hash: Sha256::new_with_prefix(kind.as_bytes()), varies: false }
    }

    fn number(&mut self, n: u64) {
        self.hash.update(n.to_le_bytes());
    }

    fn known(&mut self, known: Known) {
        self.hash.update(known.digest);
        self.varies |= known.varies;
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.hash.update(text.as_bytes());
    }

    fn view(&mut self, view: &View) {
        self.number(view.offset);
        self.number(view.dims.len() as u64);
        view.dims.iter().flat_map(|(len, stride)| [*len, *stride]).for_each(|n| self.number(n));
    }

    fn done(self) -> Known {
        let mut digest = Digest::default();
        digest.copy_from_slice(&self.hash.finalize()[..16]);
        Known { digest, varies: self.varies }
    }
}

/// The identities found so far, in the order of the plan.
struct Finder<'p> {
    plan: &'p Plan,
    /// By kernel.
    codes: &'p [Digest],
    seed: i64,
    sources: Vec<Known>,
    scalars: Vec<Option<Known>>,
    /// By scalar, its value where settings alone decide it.
    values: Vec<Option<f64>>,
    temps: Vec<Known>,
    stats: Vec<Known>,
}

impl Identities {
    /// `codes` tell kernels apart by what they compute, in the plan's order.
    pub fn of(plan: &Plan, codes: &[Digest], inputs: &Inputs, settings: &[f64], seed: i64) -> Identities {
        let mut values = Scalars::new(plan, settings.to_vec());
        let mut finder = Finder {
            plan,
            codes,
            seed,
            sources: sources(plan, inputs),
            scalars: vec![None; plan.scalars.len()],
            values: (0..plan.scalars.len()).map(|id| values.value(ScalarId(id as u32))).collect(),
            temps: vec![Known::default(); plan.temps.len()],
            stats: vec![Known::default(); plan.stats as usize],
        };
        let mut outputs: Vec<Vec<Digest>> = plan.outputs.iter().map(|o| vec![Digest::default(); o.tensors.len()]).collect();
        let mut varies = Vec::with_capacity(plan.steps.len());
        for (index, step) in plan.steps.iter().enumerate() {
            let known = finder.step(index, step);
            varies.push(known.varies);
            match step {
                Step::Copy { to, .. } | Step::Map { to, .. } => {
                    let before = match to.to {
                        Sink::Output { output, tensor } => outputs[output as usize][tensor as usize],
                        Sink::Temp(temp) => finder.temps[temp as usize].digest,
                    };
                    let mut made = Maker::new("tile");
                    made.hash.update(before);
                    made.known(known);
                    made.view(&to.view);
                    match to.to {
                        Sink::Output { output, tensor } => outputs[output as usize][tensor as usize] = made.done().digest,
                        Sink::Temp(temp) => {
                            made.varies |= finder.temps[temp as usize].varies;
                            finder.temps[temp as usize] = made.done();
                        }
                    }
                }
                Step::Reduce { results, .. } => {
                    results.iter().enumerate().for_each(|(k, stat)| finder.stat(*stat, known, k));
                }
                Step::Select { selections, .. } => {
                    for (k, selection) in selections.iter().enumerate() {
                        finder.stat(selection.threshold, known, 2 * k);
                        selection.cut.iter().for_each(|cut| finder.stat(*cut, known, 2 * k + 1));
                    }
                }
                Step::Call { results, .. } => {
                    for (k, temp) in results.iter().enumerate().filter_map(|(k, t)| Some((k, (*t)?))) {
                        finder.temps[temp as usize] = part(known, k);
                    }
                }
            }
        }
        Identities {
            outputs,
            temps: finder.temps.iter().map(|t| t.digest).collect(),
            stats: finder.stats.iter().map(|s| s.digest).collect(),
            varies,
            temps_vary: finder.temps.iter().map(|t| t.varies).collect(),
        }
    }
}

/// The k-th result of a step.
fn part(step: Known, k: usize) -> Known {
    let mut made = Maker::new("part");
    made.known(step);
    made.number(k as u64);
    made.done()
}

fn sources(plan: &Plan, inputs: &Inputs) -> Vec<Known> {
    let files: Vec<Vec<Known>> = inputs
        .checkpoints
        .iter()
        .map(|checkpoint| {
            let file = |file: &crate::checkpoint::FileEntry| {
                let mut made = Maker::new("file");
                made.text(&file.path.display().to_string());
                made.number(file.size);
                if let Ok(found) = std::fs::metadata(&file.path) {
                    let changed = [found.dev(), found.ino(), found.mtime() as u64, found.mtime_nsec() as u64];
                    changed.into_iter().for_each(|n| made.number(n));
                }
                made.done()
            };
            checkpoint.files.iter().map(file).collect()
        })
        .collect();
    let source = |(index, place): (usize, &crate::exec::SourcePlace)| {
        let mut made = Maker::new("source");
        made.known(files[place.checkpoint][place.file]);
        made.number(place.offset);
        made.text(place.dtype.safetensors_name());
        plan.sources[index].shape.iter().for_each(|n| made.number(*n));
        made.done()
    };
    inputs.sources.iter().enumerate().map(source).collect()
}

impl Finder<'_> {
    fn stat(&mut self, stat: StatId, step: Known, k: usize) {
        self.stats[stat.0 as usize] = part(step, k);
    }

    /// The identity of a scalar. Those that it needs are found first, and no others: a step reads only statistics of steps
    /// before it, but a scalar of a smaller number may wait for later ones.
    fn scalar_known(&mut self, id: ScalarId) -> Known {
        // Recursion would overflow the stack on long sums.
        let mut pending = vec![id];
        while let Some(&at) = pending.last() {
            let before = pending.len();
            if self.scalars[at.0 as usize].is_none() {
                let operands = match self.plan.scalars[at.0 as usize] {
                    ScalarOp::Const(_) | ScalarOp::Setting(_) | ScalarOp::Stat(_) => vec![],
                    ScalarOp::Unary(_, a) => vec![a],
                    ScalarOp::Binary(_, a, b) => vec![a, b],
                    ScalarOp::Select(c, a, b) => vec![c, a, b],
                };
                pending.extend(operands.into_iter().filter(|o| self.scalars[o.0 as usize].is_none()));
            }
            if pending.len() == before {
                pending.pop();
                if self.scalars[at.0 as usize].is_none() {
                    self.scalars[at.0 as usize] = Some(self.scalar_at(at.0 as usize));
                }
            }
        }
        self.scalars[id.0 as usize].unwrap_or_default()
    }

    /// The same, where its operands are known.
    fn scalar_at(&self, at: usize) -> Known {
        let of = |id: ScalarId| self.scalars[id.0 as usize].unwrap_or_default();
        let mut made = Maker::new("scalar");
        match self.plan.scalars[at] {
            ScalarOp::Const(_) => {}
            ScalarOp::Setting(_) => made.varies = true,
            ScalarOp::Stat(stat) => made.known(self.stats[stat.0 as usize]),
            ScalarOp::Unary(f, a) => {
                made.text(&format!("{f:?}"));
                made.known(of(a));
            }
            ScalarOp::Binary(f, a, b) => {
                made.text(&format!("{f:?}"));
                [a, b].into_iter().for_each(|x| made.known(of(x)));
            }
            ScalarOp::Select(c, a, b) => {
                made.text("select");
                [c, a, b].into_iter().for_each(|x| made.known(of(x)));
            }
        }
        let Some(value) = self.values[at] else { return made.done() };
        let mut plain = Maker::new("value");
        plain.number(value.to_bits());
        plain.varies = made.varies;
        plain.done()
    }

    fn scalar(&mut self, made: &mut Maker, id: ScalarId) {
        let known = self.scalar_known(id);
        made.known(known);
    }

    /// A number of entries to select: whole, so that other shares with the same number are the same.
    fn count(&mut self, made: &mut Maker, id: ScalarId) {
        let known = self.scalar_known(id);
        match self.values[id.0 as usize] {
            Some(k) => {
                made.number(select::entries(k));
                made.varies |= known.varies;
            }
            None => made.known(known),
        }
    }

    fn step(&mut self, index: usize, step: &Step) -> Known {
        let mut made = Maker::new("step");
        if let Some(unless) = self.plan.unless.get(index).copied().flatten() {
            self.scalar(&mut made, unless);
        }
        match step {
            Step::Copy { from, to: _ } => {
                made.text("copy");
                self.read(&mut made, from);
            }
            Step::Map { body, to } => {
                made.text(if body.once_a_row(to) { "once a row" } else { "map" });
                self.body(&mut made, body);
            }
            Step::Reduce { parts, results: _ } => {
                made.text("reduce");
                parts.iter().for_each(|part| self.body(&mut made, part));
            }
            Step::Select { parts, selections } => {
                made.text("select");
                parts.iter().for_each(|part| self.body(&mut made, part));
                for selection in selections {
                    self.count(&mut made, selection.k);
                    made.number(u64::from(selection.cut.is_some()));
                }
            }
            Step::Call { routine, inputs, results: _, place: _ } => {
                // The text of a routine says all of it but for the seed that its random numbers add.
                made.text(&format!("{routine:?}"));
                made.number(self.seed as u64);
                for temp in inputs {
                    self.plan.temps[*temp as usize].shape.iter().for_each(|n| made.number(*n));
                    made.known(self.temps[*temp as usize]);
                }
            }
        }
        made.done()
    }

    fn read(&self, made: &mut Maker, read: &Read) {
        made.known(match read.from {
            Origin::Source(source) => self.sources[source as usize],
            Origin::Temp(temp) => self.temps[temp as usize],
        });
        made.view(&read.view);
    }

    fn keys(&self, made: &mut Maker, keys: &[RandomKey]) {
        made.number(keys.len() as u64);
        keys.iter().for_each(|key| made.number(rng::key(*key, self.seed)));
    }

    fn body(&mut self, made: &mut Maker, body: &Loop) {
        // All fields by name, so that a new one cannot be forgotten.
        let Loop { kernel, rows, cols, by_rows, operands, params, keys, cuts, first, phases } = body;
        made.hash.update(self.codes[*kernel as usize]);
        [*rows, *cols, u64::from(*by_rows), *first].into_iter().for_each(|n| made.number(n));
        made.number(operands.len() as u64);
        for operand in operands {
            match operand {
                Operand::Dense(read) | Operand::PerRow(read) | Operand::PerCol(read) => self.read(made, read),
                Operand::RowValue { phase, value } => {
                    made.text("value");
                    made.number((*phase).into());
                    made.number((*value).into());
                }
            }
        }
        params.iter().for_each(|id| self.scalar(made, *id));
        self.keys(made, keys);
        for Cut { stat, minus } in cuts {
            made.known(self.stats[stat.0 as usize]);
            made.number(*minus);
        }
        for RowPhase { kernel, operands, params, keys, kind } in phases {
            made.text("phase");
            made.hash.update(self.codes[*kernel as usize]);
            operands.iter().for_each(|o| made.number((*o).into()));
            params.iter().for_each(|id| self.scalar(made, *id));
            self.keys(made, keys);
            match kind {
                RowPhaseKind::Reduce => made.text("reduce"),
                RowPhaseKind::Rank => made.text("rank"),
                RowPhaseKind::Select { picks } => {
                    made.text("select");
                    for RowPick { store, k } in picks {
                        made.number((*store).into());
                        self.count(made, *k);
                    }
                }
            }
        }
    }
}
