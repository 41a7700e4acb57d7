//! Checks the invariants of a plan that `merge_abi::plan` lists.

use merge_abi::{
    Access, Cut, DType, KernelInfo, Loop, Operand, Origin, Plan, Read, RowPhaseKind, ScalarId, ScalarOp, SettingId, Sink, StatId,
    Step, Target, View,
};

/// Entries of the largest tensor whose tiling by pieces that are not contiguous is checked entry by entry.
const COUNTED: u64 = 1 << 16;

/// The invariants that do not hold, one sentence each.
pub fn verify_plan(plan: &Plan) -> Vec<String> {
    let mut v = Verifier {
        plan,
        problems: Vec::new(),
        at: String::new(),
        known: vec![false; plan.stats as usize],
        filled: vec![0; plan.temps.len()],
    };
    v.plan();
    v.problems
}

struct Verifier<'a> {
    plan: &'a Plan,
    problems: Vec<String>,
    at: String,
    /// Statistics of the steps so far.
    known: Vec<bool>,
    /// How many entries of each temporary the steps so far have written.
    filled: Vec<u64>,
}

impl Verifier<'_> {
    fn hold(&mut self, holds: bool, otherwise: &str) {
        if !holds {
            self.problems.push(format!("{}: {otherwise}", self.at));
        }
    }

    fn plan(&mut self) {
        let plan = self.plan;
        for (i, op) in plan.scalars.iter().enumerate() {
            self.at = format!("scalar {i}");
            let before = |s: &ScalarId| (s.0 as usize) < i;
            let fine = match op {
                ScalarOp::Const(_) => true,
                ScalarOp::Setting(SettingId(s)) => (*s as usize) < plan.settings.len(),
                ScalarOp::Stat(StatId(s)) => *s < plan.stats,
                ScalarOp::Unary(_, a) => before(a),
                ScalarOp::Binary(_, a, b) => before(a) && before(b),
                ScalarOp::Select(c, a, b) => before(c) && before(a) && before(b),
            };
            self.hold(fine, "it refers to something that is not there or comes later");
        }
        for (i, source) in plan.sources.iter().enumerate() {
            self.at = format!("source {i}");
            self.hold((source.checkpoint as usize) < plan.checkpoints.len(), "it belongs to no checkpoint");
        }
        let ready = self.ready();
        self.at = "constraints".into();
        for c in &plan.constraints {
            self.hold(ready.get(c.scalar.0 as usize) == Some(&0), "one depends on tensors");
        }
        let mut targets: Vec<Vec<Vec<&View>>> = plan.outputs.iter().map(|o| vec![Vec::new(); o.tensors.len()]).collect();
        let mut temps: Vec<Vec<&View>> = vec![Vec::new(); plan.temps.len()];
        for (i, step) in plan.steps.iter().enumerate() {
            self.at = format!("step {i}");
            self.step(step, i, &ready);
            if let Some(Some(unless)) = plan.unless.get(i) {
                let known = ready.get(unless.0 as usize).is_some_and(|when| *when <= i);
                self.hold(known, "it may stand idle for a reason that no step before it finds");
                let shown = matches!(step, Step::Copy { to, .. } | Step::Map { to, .. } if matches!(to.to, Sink::Output { .. }));
                self.hold(!shown, "it may stand idle, and writes an output");
            }
            let (Step::Copy { to, .. } | Step::Map { to, .. }) = step else { continue };
            let views = match to.to {
                Sink::Output { output, tensor } => targets.get_mut(output as usize).and_then(|o| o.get_mut(tensor as usize)),
                Sink::Temp(t) => temps.get_mut(t as usize),
            };
            views.into_iter().for_each(|v| v.push(&to.view));
        }
        self.at = "steps".into();
        self.hold(plan.unless.len() <= plan.steps.len(), "more may stand idle than there are");
        self.at = "statistics".into();
        let all = self.known.iter().all(|k| *k);
        self.hold(all, "one is never produced");
        for (o, output) in targets.iter().enumerate() {
            for (t, views) in output.iter().enumerate() {
                let tensor = &plan.outputs[o].tensors[t];
                self.at = format!("`{}` of {}", tensor.name, plan.outputs[o].path);
                self.hold(tiles(views, tensor.shape.iter().product()), "the steps do not write each entry exactly once");
            }
        }
        for (t, views) in temps.iter().enumerate() {
            self.at = format!("temporary {t}");
            let called = views.is_empty() && self.filled[t] == plan.temps[t].len();
            self.hold(called || tiles(views, self.filled[t]), "the steps do not write each entry exactly once");
            self.hold(self.filled[t] == plan.temps[t].len(), "it is not filled exactly once");
        }
    }

    /// For each scalar, the number of steps that must have run before it is known.
    fn ready(&self) -> Vec<usize> {
        let mut produced = vec![usize::MAX; self.plan.stats as usize];
        let mut put = |stat: StatId, step: usize| {
            if let Some(p) = produced.get_mut(stat.0 as usize) {
                *p = step + 1;
            }
        };
        for (i, step) in self.plan.steps.iter().enumerate() {
            match step {
                Step::Reduce { results, .. } => results.iter().for_each(|r| put(*r, i)),
                Step::Select { selections, .. } => selections.iter().for_each(|s| {
                    put(s.threshold, i);
                    s.cut.into_iter().for_each(|c| put(c, i));
                }),
                _ => {}
            }
        }
        let mut ready: Vec<usize> = Vec::with_capacity(self.plan.scalars.len());
        for op in &self.plan.scalars {
            let at = |s: &ScalarId| ready.get(s.0 as usize).copied().unwrap_or(usize::MAX);
            let when = match op {
                ScalarOp::Const(_) | ScalarOp::Setting(_) => 0,
                ScalarOp::Stat(s) => produced.get(s.0 as usize).copied().unwrap_or(usize::MAX),
                ScalarOp::Unary(_, a) => at(a),
                ScalarOp::Binary(_, a, b) => at(a).max(at(b)),
                ScalarOp::Select(c, a, b) => at(c).max(at(a)).max(at(b)),
            };
            ready.push(when);
        }
        ready
    }

    fn step(&mut self, step: &Step, i: usize, ready: &[usize]) {
        match step {
            Step::Copy { from, to } => {
                self.read(from, from.view.len());
                self.target(to, from.view.len());
                let same = self.stored(from) == self.dtype(to);
                self.hold(same, "a copy changes the dtype");
                self.fill(to);
            }
            Step::Map { body, to } => {
                self.body(body, i, ready);
                let once = body.once_a_row(to);
                self.target(to, if once { body.rows } else { body.rows * body.cols });
                if once && let Some(k) = self.kernel(body.kernel) {
                    let apart = k.operands.iter().all(|o| o.1 == Access::PerRow) && k.keys == 0 && k.cuts == 0;
                    self.hold(apart, "its kernel looks into rows, but runs once for each");
                }
                let stores = self.kernel(body.kernel).map(|k| k.stores.clone());
                self.hold(stores == self.dtype(to).map(|d| vec![d]), "its kernel does not store what the target holds");
                self.fill(to);
            }
            Step::Reduce { parts, results } => {
                for part in parts {
                    self.body(part, i, ready);
                    let reductions = self.kernel(part.kernel).map(|k| k.reductions.len());
                    self.hold(reductions == Some(results.len()), "its kernel reduces something else");
                }
                results.iter().for_each(|r| self.produce(*r));
            }
            Step::Select { parts, selections } => {
                for part in parts {
                    self.body(part, i, ready);
                    let stores = self.kernel(part.kernel).map(|k| k.stores.len());
                    self.hold(stores == Some(selections.len()), "its kernel stores another number of keys");
                }
                for s in selections {
                    self.scalar(s.k, i, ready);
                    self.produce(s.threshold);
                    s.cut.into_iter().for_each(|c| self.produce(c));
                }
            }
            Step::Call { routine, inputs, results, .. } => {
                for input in inputs {
                    self.full(*input);
                }
                let shape = |t: &u32| self.plan.temps.get(*t as usize).map(|t| &t.shape[..]);
                let shapes: Option<Vec<&[u64]>> = inputs.iter().map(shape).collect();
                let gives = shapes.and_then(|s| routine.results(&s).ok());
                let fits = gives.is_some_and(|gives| {
                    let fits = |(r, gives): (&Option<u32>, &Vec<u64>)| r.as_ref().is_none_or(|t| shape(t) == Some(gives));
                    gives.len() == results.len() && results.iter().zip(&gives).all(fits)
                });
                self.hold(fits, "its temporaries are not those of its routine");
                for result in results.iter().flatten() {
                    self.write(*result, self.plan.temps.get(*result as usize).map_or(0, |t| t.len()));
                }
            }
        }
    }

    /// Counts what a step writes to a temporary.
    fn fill(&mut self, to: &Target) {
        if let Sink::Temp(t) = to.to {
            self.write(t, to.view.len());
        }
    }

    fn write(&mut self, temp: u32, entries: u64) {
        if let Some(filled) = self.filled.get_mut(temp as usize) {
            *filled += entries;
        }
    }

    fn full(&mut self, temp: u32) {
        let full = self.plan.temps.get(temp as usize).is_some_and(|t| t.len() == self.filled[temp as usize]);
        self.hold(full, "it reads a temporary that is not filled yet");
    }

    fn dtype(&self, to: &Target) -> Option<DType> {
        match to.to {
            Sink::Output { output, tensor } => {
                self.plan.outputs.get(output as usize)?.tensors.get(tensor as usize).map(|t| t.dtype)
            }
            Sink::Temp(t) => self.plan.temps.get(t as usize).map(|_| DType::F32),
        }
    }

    fn kernel(&self, kernel: u32) -> Option<&KernelInfo> {
        self.plan.kernels.get(kernel as usize)
    }

    fn produce(&mut self, stat: StatId) {
        let new = self.known.get(stat.0 as usize) == Some(&false);
        self.hold(new, "it produces a statistic that is known or does not exist");
        if let Some(k) = self.known.get_mut(stat.0 as usize) {
            *k = true;
        }
    }

    fn scalar(&mut self, scalar: ScalarId, step: usize, ready: &[usize]) {
        let known = ready.get(scalar.0 as usize).is_some_and(|r| *r <= step);
        self.hold(known, "it uses a scalar before its statistics are known");
    }

    fn body(&mut self, l: &Loop, step: usize, ready: &[usize]) {
        self.hold(l.by_rows || l.rows == 1, "a loop that is not by rows has several");
        let entries = l.rows * l.cols;
        for (i, operand) in l.operands.iter().enumerate() {
            match operand {
                Operand::Dense(read) => self.read(read, entries),
                Operand::PerRow(read) => self.read(read, l.rows),
                Operand::PerCol(read) => self.read(read, l.cols),
                Operand::RowValue { phase, value } => {
                    let values = l.phases.get(*phase as usize).and_then(|p| self.kernel(p.kernel).map(|k| p.kind.values(k)));
                    self.hold(
                        values.is_some_and(|n| (*value as usize) < n),
                        &format!("operand {i} is a row value that is not there"),
                    );
                }
            }
            let rows = !matches!(operand, Operand::Dense(_));
            self.hold(l.by_rows || !rows, "an operand goes by rows, but the loop does not");
        }
        let all: Vec<u32> = (0..l.operands.len() as u32).collect();
        self.call(l, l.kernel, &all, (l.params.len(), l.keys.len(), l.cuts.len()), true);
        l.params.iter().for_each(|p| self.scalar(*p, step, ready));
        for Cut { stat, .. } in &l.cuts {
            let known = self.known.get(stat.0 as usize) == Some(&true);
            self.hold(known, "it uses a cut before it is known");
        }
        for (n, phase) in l.phases.iter().enumerate() {
            self.call(l, phase.kernel, &phase.operands, (phase.params.len(), phase.keys.len(), 0), false);
            phase.params.iter().for_each(|p| self.scalar(*p, step, ready));
            for o in &phase.operands {
                let later = matches!(l.operands.get(*o as usize), Some(Operand::RowValue { phase, .. }) if *phase as usize >= n);
                self.hold(!later, "a phase uses a value of its own or of a later one");
            }
            let stores_keys = !matches!(phase.kind, RowPhaseKind::Reduce);
            let fits = self
                .kernel(phase.kernel)
                .is_none_or(|k| k.reductions.is_empty() == stores_keys && k.stores.is_empty() != stores_keys);
            self.hold(fits, "the kernel of a phase does not give what the phase makes something of");
            if let RowPhaseKind::Select { picks } = &phase.kind {
                picks.iter().for_each(|p| self.scalar(p.k, step, ready));
                let stores = self.kernel(phase.kernel).map_or(0, |k| k.stores.len());
                let there = picks.iter().all(|p| (p.store as usize) < stores);
                self.hold(there, "a phase picks from keys that its kernel does not store");
            }
        }
        self.hold(l.phases.is_empty() || l.by_rows, "it has phases but does not go by rows");
    }

    /// That the operands and numbers of a call are what the kernel wants; with `more`, operands beyond
    /// those of the kernel are for phases.
    fn call(&mut self, l: &Loop, kernel: u32, operands: &[u32], numbers: (usize, usize, usize), more: bool) {
        let Some(info) = self.kernel(kernel).cloned() else { return self.hold(false, "there is no such kernel") };
        let counted = (info.params as usize, info.keys as usize, info.cuts as usize);
        self.hold(counted == numbers, "its launch scalars, keys or cuts are not those of its kernel");
        let enough = if more { operands.len() >= info.operands.len() } else { operands.len() == info.operands.len() };
        self.hold(enough, "its operands are not those of its kernel");
        for ((dtype, access), o) in info.operands.iter().zip(operands) {
            let fits = match l.operands.get(*o as usize) {
                Some(Operand::Dense(r)) => *access == Access::Dense && self.stored(r) == Some(*dtype),
                Some(Operand::PerCol(r)) => *access == Access::PerCol && self.stored(r) == Some(*dtype),
                Some(Operand::PerRow(_)) => *access == Access::PerRow,
                // Whether there is such a phase is asked elsewhere.
                Some(Operand::RowValue { phase, .. }) => {
                    *dtype == DType::F32 && l.phases.get(*phase as usize).is_none_or(|p| *access == p.kind.access())
                }
                None => false,
            };
            self.hold(fits, "an operand is not what its kernel wants");
        }
    }

    fn stored(&self, read: &Read) -> Option<DType> {
        match read.from {
            Origin::Source(s) => self.plan.sources.get(s as usize).map(|s| s.dtype),
            Origin::Temp(t) => self.plan.temps.get(t as usize).map(|_| DType::F32),
        }
    }

    fn read(&mut self, read: &Read, entries: u64) {
        let there = match read.from {
            Origin::Source(s) => self.plan.sources.get(s as usize).map(|s| s.shape.iter().product()),
            Origin::Temp(t) => {
                self.full(t);
                self.plan.temps.get(t as usize).map(|t| t.len())
            }
        };
        let Some(there) = there else { return self.hold(false, "there is no such tensor") };
        self.hold(read.view.len() == entries, "it reads another number of entries than the loop has");
        self.hold(inside(&read.view, there), "it reads outside a tensor");
    }

    fn target(&mut self, to: &Target, entries: u64) {
        let there = match to.to {
            Sink::Output { output, tensor } => {
                let tensor = self.plan.outputs.get(output as usize).and_then(|o| o.tensors.get(tensor as usize));
                tensor.map(|t| t.shape.iter().product())
            }
            Sink::Temp(t) => self.plan.temps.get(t as usize).map(|t| t.len()),
        };
        let Some(there) = there else { return self.hold(false, "there is no such target") };
        self.hold(to.view.len() == entries, "it writes another number of entries than the loop has");
        self.hold(inside(&to.view, there), "it writes outside a tensor");
    }
}

fn inside(view: &View, entries: u64) -> bool {
    view.is_empty() || view.offset + view.dims.iter().map(|d| (d.0 - 1) * d.1).sum::<u64>() < entries
}

/// Whether the views, which stay inside, visit each of so many entries exactly once.
fn tiles(views: &[&View], entries: u64) -> bool {
    if views.iter().map(|v| v.len()).sum::<u64>() != entries {
        return false;
    }
    if views.iter().all(|v| v.is_contiguous()) {
        let mut starts: Vec<(u64, u64)> = views.iter().map(|v| (v.offset, v.len())).collect();
        starts.sort_unstable();
        return starts.iter().scan(0, |end, (at, len)| Some(std::mem::replace(end, at + len) == *at)).all(|follows| follows);
    }
    if entries > COUNTED {
        return true;
    }
    let mut seen = vec![false; entries as usize];
    views.iter().all(|v| {
        let mut at = vec![v.offset];
        for (len, stride) in &v.dims {
            at = at.iter().flat_map(|a| (0..*len).map(move |i| a + i * stride)).collect();
        }
        at.iter().all(|i| seen.get_mut(*i as usize).is_some_and(|s| !std::mem::replace(s, true)))
    })
}
