//! Runs a plan in memory, with the reference interpreter of kernels and no tiles.

use super::evaluate::downwards;
use super::source_data;
use merge_abi::{
    Access, BLOCK, DType, KernelArgs, Loop, Operand, Origin, Plan, RandomKey, Read, ReduceFn, RowPhaseKind, ScalarId, ScalarOp,
    Sink, StatId, Step, Target, View,
};
use merge_ir::kir::{Inst, Kernel, Val, interpret};
use merge_opt::Compiled;
use merge_runtime::routines::{self, Array};

/// The f32 entries of every output tensor.
pub fn execute(compiled: &Compiled) -> Vec<Vec<Vec<f32>>> {
    let plan = &compiled.plan;
    let sources =
        plan.sources.iter().map(|s| source_data(&s.name, s.checkpoint, s.shape.iter().product())).collect::<Vec<Vec<f32>>>();
    let outputs = plan.outputs.iter().map(|o| o.tensors.iter().map(|t| vec![f32::NAN; (t.bytes() / 4) as usize]).collect());
    let mut e = Executor {
        plan,
        kernels: &compiled.kernels,
        sources,
        temps: plan.temps.iter().map(|t| vec![f32::NAN; t.len() as usize]).collect(),
        stats: vec![None; plan.stats as usize],
        outputs: outputs.collect(),
    };
    for step in &plan.steps {
        e.step(step);
    }
    e.outputs
}

struct Executor<'a> {
    plan: &'a Plan,
    kernels: &'a [Kernel],
    sources: Vec<Vec<f32>>,
    temps: Vec<Vec<f32>>,
    stats: Vec<Option<f64>>,
    outputs: Vec<Vec<Vec<f32>>>,
}

/// What a kernel gave.
struct Results {
    stores: Vec<Vec<f32>>,
    /// By row, then by reduction.
    partials: Vec<f64>,
}

impl Executor<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Copy { from, to } => {
                let data = self.read(from);
                self.write(to, &data);
            }
            Step::Map { body, to } => {
                let results = self.body(body, false, body.once_a_row(to));
                self.write(to, &results.stores[0]);
            }
            Step::Reduce { parts, results } => {
                let functions = &self.kernels[parts[0].kernel as usize].reductions;
                let mut totals: Vec<Option<f64>> = vec![None; results.len()];
                for part in parts {
                    let got = self.body(part, true, false);
                    for (i, x) in got.partials.iter().enumerate() {
                        let k = i % results.len();
                        totals[k] = Some(totals[k].map_or(*x, |t| combine(functions[k].0, t, *x)));
                    }
                }
                for (r, total) in results.iter().zip(totals) {
                    self.stats[r.0 as usize] = total;
                }
            }
            Step::Select { parts, selections } => {
                let mut keys: Vec<Vec<f64>> = vec![Vec::new(); selections.len()];
                for part in parts {
                    let got = self.body(part, false, false);
                    keys.iter_mut().zip(got.stores).for_each(|(k, s)| k.extend(s.iter().map(|x| f64::from(*x))));
                }
                for (s, keys) in selections.iter().zip(keys) {
                    let (threshold, cut) = select(&keys, self.scalar(s.k));
                    self.stats[s.threshold.0 as usize] = Some(threshold);
                    if let Some(StatId(c)) = s.cut {
                        self.stats[c as usize] = Some(cut);
                    }
                }
            }
            Step::Call { routine, inputs, results, .. } => {
                let arrays: Vec<Array<f32>> = inputs
                    .iter()
                    .map(|t| Array { shape: &self.plan.temps[*t as usize].shape, entries: &self.temps[*t as usize] })
                    .collect();
                let outcome = routines::run(routine, &arrays, 0).unwrap();
                for (to, entries) in results.iter().zip(outcome.results) {
                    if let Some(to) = to {
                        self.temps[*to as usize] = entries;
                    }
                }
            }
        }
    }

    fn read(&self, read: &Read) -> Vec<f32> {
        let data = match read.from {
            Origin::Source(s) => &self.sources[s as usize],
            Origin::Temp(t) => &self.temps[t as usize],
        };
        indices(&read.view).iter().map(|i| data[*i as usize]).collect()
    }

    fn write(&mut self, to: &Target, data: &[f32]) {
        let out = match to.to {
            Sink::Output { output, tensor } => &mut self.outputs[output as usize][tensor as usize],
            Sink::Temp(t) => &mut self.temps[t as usize],
        };
        let at = indices(&to.view);
        assert_eq!(at.len(), data.len());
        at.iter().zip(data).for_each(|(i, x)| out[*i as usize] = *x);
    }

    fn scalar(&self, id: ScalarId) -> f64 {
        match self.plan.scalars[id.0 as usize] {
            ScalarOp::Const(x) => x,
            ScalarOp::Setting(s) => self.plan.setting(s).default,
            ScalarOp::Stat(s) => self.stats[s.0 as usize].expect("known before it is used"),
            ScalarOp::Unary(f, a) => f.eval(self.scalar(a)),
            ScalarOp::Binary(f, a, b) => f.eval(self.scalar(a), self.scalar(b)),
            ScalarOp::Select(c, a, b) => self.scalar(if self.scalar(c) != 0.0 { a } else { b }),
        }
    }

    /// Runs a loop; `blocks` cuts a loop without rows into rows of [`BLOCK`], `once` runs its kernel once a row.
    fn body(&self, l: &Loop, blocks: bool, once: bool) -> Results {
        let mut operands: Vec<Vec<f32>> = Vec::new();
        let mut values: Vec<Vec<Vec<f32>>> = Vec::new();
        // Row values are filled in as their phases run.
        for operand in &l.operands {
            operands.push(match operand {
                Operand::Dense(r) | Operand::PerRow(r) | Operand::PerCol(r) => self.read(r),
                Operand::RowValue { .. } => Vec::new(),
            });
        }
        for phase in &l.phases {
            let seen: Vec<Vec<f32>> =
                phase.operands.iter().map(|o| resolve(&l.operands[*o as usize], &operands[*o as usize], &values)).collect();
            let got = self.call(phase.kernel, &seen, &phase.params, &phase.keys, &[], l.first, l.rows, l.cols);
            let mut found: Vec<Vec<f32>> = Vec::new();
            match &phase.kind {
                RowPhaseKind::Reduce => {
                    let n = got.partials.len() / l.rows as usize;
                    for k in 0..n {
                        found.push((0..l.rows as usize).map(|r| got.partials[r * n + k] as f32).collect());
                    }
                }
                RowPhaseKind::Rank => {
                    for store in &got.stores {
                        let places = store.chunks(l.cols as usize).flat_map(|row| {
                            let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
                            let mut places = vec![0.0; row.len()];
                            downwards(&row).into_iter().zip(0u16..).for_each(|(i, place)| places[i] = f32::from(place));
                            places
                        });
                        found.push(places.collect());
                    }
                }
                RowPhaseKind::Select { picks } => {
                    for pick in picks {
                        let keys: Vec<f64> = got.stores[pick.store as usize].iter().map(|x| f64::from(*x)).collect();
                        let rows: Vec<(f64, f64)> =
                            keys.chunks(l.cols as usize).map(|row| select(row, self.scalar(pick.k))).collect();
                        found.push(rows.iter().map(|r| r.0 as f32).collect());
                        found.push(rows.iter().map(|r| r.1 as f32).collect());
                    }
                }
            }
            values.push(found);
        }
        let n = self.kernels[l.kernel as usize].operands.len();
        let seen: Vec<Vec<f32>> = (0..n).map(|i| resolve(&l.operands[i], &operands[i], &values)).collect();
        let cuts: Vec<i64> = l.cuts.iter().map(|c| self.stats[c.stat.0 as usize].unwrap() as i64 - c.minus as i64).collect();
        if !blocks || l.by_rows {
            let cols = if once { 1 } else { l.cols };
            return self.call(l.kernel, &seen, &l.params, &l.keys, &cuts, l.first, l.rows, cols);
        }
        let mut all = Results { stores: Vec::new(), partials: Vec::new() };
        let mut at = 0;
        while at < l.cols {
            let len = BLOCK.min(l.cols - at);
            let seen: Vec<Vec<f32>> = seen.iter().map(|o| o[at as usize..(at + len) as usize].to_vec()).collect();
            all.partials.extend(self.call(l.kernel, &seen, &l.params, &l.keys, &cuts, l.first + at, 1, len).partials);
            at += len;
        }
        all
    }

    #[allow(clippy::too_many_arguments, reason = "it is the calling convention of kernels")]
    fn call(
        &self,
        kernel: u32,
        operands: &[Vec<f32>],
        params: &[ScalarId],
        keys: &[RandomKey],
        cuts: &[i64],
        first: u64,
        rows: u64,
        cols: u64,
    ) -> Results {
        let kernel = &self.kernels[kernel as usize];
        for (operand, data) in kernel.operands.iter().zip(operands) {
            assert_eq!(operand.dtype, DType::F32);
            let wanted = match operand.access {
                Access::Dense => rows * cols,
                Access::PerRow => rows,
                Access::PerCol => cols,
            };
            assert_eq!(data.len() as u64, wanted);
        }
        let params: Vec<f32> = params.iter().map(|p| self.scalar(*p) as f32).collect();
        let keys: Vec<u64> = keys.iter().map(|k| philox_key(*k)).collect();
        let mut stores = vec![vec![0f32; (rows * cols) as usize]; kernel.stores.len()];
        let mut partials = vec![0f64; rows as usize * kernel.reductions.len()];
        let operand_pointers: Vec<*const u8> = operands.iter().map(|o| o.as_ptr().cast()).collect();
        let store_pointers: Vec<*mut u8> = stores.iter_mut().map(|s| s.as_mut_ptr().cast()).collect();
        let args = KernelArgs {
            operands: operand_pointers.as_ptr(),
            stores: store_pointers.as_ptr(),
            partials: partials.as_mut_ptr(),
            params: params.as_ptr(),
            keys: keys.as_ptr(),
            cuts: cuts.as_ptr(),
            first,
            rows,
            cols,
        };
        // SAFETY: operands have the lengths that their access implies, which was just asserted, stores and
        // partials are as large as rows and columns make them, and all are f32 or f64 vectors.
        unsafe { interpret(kernel, &args) };
        Results { stores, partials }
    }
}

fn resolve(operand: &Operand, data: &[f32], values: &[Vec<Vec<f32>>]) -> Vec<f32> {
    match operand {
        Operand::RowValue { phase, value } => values[*phase as usize][*value as usize].clone(),
        _ => data.to_vec(),
    }
}

/// Threshold and cut, as `merge_abi::Selection` defines them.
fn select(keys: &[f64], k: f64) -> (f64, f64) {
    let k = (k.floor().max(0.0) as usize).min(keys.len());
    if k == 0 {
        return (f64::INFINITY, -1.0);
    }
    let last = downwards(keys)[k - 1];
    (keys[last], last as f64)
}

fn combine(f: ReduceFn, a: f64, b: f64) -> f64 {
    match f {
        ReduceFn::Sum => a + b,
        _ if a.is_nan() || b.is_nan() => f64::NAN,
        ReduceFn::Min => a.min(b),
        ReduceFn::Max => a.max(b),
    }
}

fn indices(view: &View) -> Vec<u64> {
    view.dims.iter().fold(vec![view.offset], |at, (n, s)| at.iter().flat_map(|a| (0..*n).map(move |i| a + i * s)).collect())
}

/// Any map from streams to keys does, as long as both sides of a test use it.
pub fn philox_key(key: RandomKey) -> u64 {
    key.stream ^ key.seed.unwrap_or(0) as u64
}

/// One uniform number, by the interpreter of kernels itself.
pub fn uniform(key: u64, index: u64) -> f32 {
    let kernel = Kernel {
        name: "uniform".into(),
        operands: Vec::new(),
        params: 0,
        keys: 1,
        cuts: 0,
        body: vec![Inst::Uniform(0)],
        stores: vec![(Val(0), DType::F32)],
        reductions: Vec::new(),
    };
    let mut out = [0f32];
    let stores = [out.as_mut_ptr().cast::<u8>()];
    let keys = [key];
    let args = KernelArgs {
        operands: std::ptr::null(),
        stores: stores.as_ptr(),
        partials: std::ptr::null_mut(),
        params: std::ptr::null(),
        keys: keys.as_ptr(),
        cuts: std::ptr::null(),
        first: index,
        rows: 1,
        cols: 1,
    };
    // SAFETY: the kernel has no operands, launch scalars, cuts or reductions; its one store and key are there.
    unsafe { interpret(&kernel, &args) };
    out[0]
}
