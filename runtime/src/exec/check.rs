//! Whether a plan fits its kernels. Compiled code trusts its arguments, so this is what makes calling it sound.

use super::{inputs::Inputs, reader::dtype, temps::Uses, tile::kinds};
use crate::Error;
use merge_abi::{Access, DType, KernelFn, Loop, Operand, Origin, Plan, Read, Routine, RowPhaseKind, Sink, Step, Target, View};

/// Compares every step with the signatures of its kernels and with the tensors it reads and writes.
///
/// # Errors
/// Internal: a plan that the compiler made is never wrong here.
pub(crate) fn check(plan: &Plan, kernels: &[KernelFn], inputs: &Inputs) -> Result<(), Error> {
    if kernels.len() != plan.kernels.len() {
        return Err(Error::internal(format!("the plan has {} kernels, and {} were compiled", plan.kernels.len(), kernels.len())));
    }
    for (index, step) in plan.steps.iter().enumerate() {
        check_step(plan, inputs, step).map_err(|what| Error::internal(format!("step {index} of the plan: {what}")))?;
    }
    if plan.unless.iter().flatten().any(|s| s.0 as usize >= plan.scalars.len()) {
        return Err(Error::internal("the plan has a scalar out of range"));
    }
    check_temps(plan).map_err(|what| Error::internal(format!("the plan's temporaries: {what}")))
}

/// Whether every temporary is complete before it is read: written as often as it has entries, by steps that come earlier.
/// That the parts of several maps are disjoint is the promise of the plan's verifier.
fn check_temps(plan: &Plan) -> Result<(), String> {
    let mut missing: Vec<u64> = plan.temps.iter().map(merge_abi::Temp::len).collect();
    for (index, step) in plan.steps.iter().enumerate() {
        let uses = Uses::of(plan, step);
        if let Some(t) = uses.reads.iter().find(|t| missing[**t as usize] > 0) {
            return Err(format!("step {index} reads temporary {t} before it is complete"));
        }
        let lens = match step {
            Step::Copy { to, .. } | Step::Map { to, .. } => vec![(to.to, to.view.len())],
            Step::Call { results, .. } => {
                results.iter().flatten().map(|t| (Sink::Temp(*t), plan.temps[*t as usize].len())).collect()
            }
            Step::Reduce { .. } | Step::Select { .. } => vec![],
        };
        for (to, len) in lens {
            let Sink::Temp(t) = to else { continue };
            let left = &mut missing[t as usize];
            *left = left.checked_sub(len).ok_or_else(|| format!("step {index} writes more of temporary {t} than there is"))?;
        }
    }
    match missing.iter().position(|m| *m > 0) {
        Some(t) => Err(format!("temporary {t} is never complete")),
        None => Ok(()),
    }
}

fn check_call(plan: &Plan, routine: &Routine, inputs: &[u32], results: &[Option<u32>]) -> Result<(), String> {
    let temp = |t: &u32| plan.temps.get(*t as usize).map(|t| &*t.shape).ok_or_else(|| "a temporary out of range".to_owned());
    let shapes = inputs.iter().map(temp).collect::<Result<Vec<_>, String>>()?;
    let given = routine.results(&shapes)?;
    if given.len() != results.len() {
        return Err(format!("`{}` gives {} results, and the step takes {}", routine.name(), given.len(), results.len()));
    }
    for (shape, result) in given.iter().zip(results) {
        if let Some(t) = result
            && temp(t)? != shape
        {
            return Err(format!("`{}` gives {shape:?}, and temporary {t} is not", routine.name()));
        }
    }
    Ok(())
}

fn check_step(plan: &Plan, inputs: &Inputs, step: &Step) -> Result<(), String> {
    let stats = |ids: Vec<u32>| match ids.iter().any(|s| *s >= plan.stats) {
        true => Err("a statistic out of range".to_owned()),
        false => Ok(()),
    };
    match step {
        Step::Copy { from, to } => {
            check_read(plan, inputs, from)?;
            check_target(plan, to, dtype(plan, from.from), from.view.len())
        }
        Step::Map { body, to } => {
            check_loop(plan, inputs, body)?;
            let info = &plan.kernels[body.kernel as usize];
            let once = body.once_a_row(to);
            if once && (info.operands.iter().any(|o| o.1 != Access::PerRow) || info.keys + info.cuts > 0) {
                return Err(format!("kernel `{}` looks into rows where it runs once for each", info.symbol));
            }
            match (&info.stores[..], info.reductions.is_empty()) {
                ([dtype], true) => check_target(plan, to, *dtype, if once { body.rows } else { body.rows * body.cols }),
                _ => Err(format!("kernel `{}` does not have one store", info.symbol)),
            }
        }
        Step::Reduce { parts, results } => {
            stats(results.iter().map(|r| r.0).collect())?;
            let first = parts.first().map(|p| p.kernel as usize);
            for part in parts {
                check_loop(plan, inputs, part)?;
                let info = &plan.kernels[part.kernel as usize];
                let same = first.is_none_or(|f| plan.kernels[f].reductions == info.reductions);
                if !same || info.reductions.len() != results.len() || !info.stores.is_empty() {
                    return Err(format!("kernel `{}` does not reduce as the step does", info.symbol));
                }
            }
            if parts.is_empty() && !results.is_empty() { Err("a reduction of no parts".to_owned()) } else { Ok(()) }
        }
        Step::Select { parts, selections } => {
            stats(selections.iter().flat_map(|s| [Some(s.threshold), s.cut]).flatten().map(|s| s.0).collect())?;
            for part in parts {
                check_loop(plan, inputs, part)?;
                let info = &plan.kernels[part.kernel as usize];
                check_keys(&info.stores, selections.len(), &info.symbol)?;
                if !info.reductions.is_empty() {
                    return Err(format!("kernel `{}` reduces where keys are asked for", info.symbol));
                }
            }
            Ok(())
        }
        Step::Call { routine, inputs, results, .. } => check_call(plan, routine, inputs, results),
    }
}

fn check_keys(stores: &[DType], keys: usize, symbol: &str) -> Result<(), String> {
    match stores.len() == keys && stores.iter().all(|d| *d == DType::F32) {
        true => Ok(()),
        false => Err(format!("kernel `{symbol}` does not store {keys} f32 keys")),
    }
}

fn check_loop(plan: &Plan, inputs: &Inputs, body: &Loop) -> Result<(), String> {
    let info = plan.kernels.get(body.kernel as usize).ok_or("a kernel out of range")?;
    let symbol = &info.symbol;
    let counts = [
        ("params", info.params as usize, body.params.len()),
        ("keys", info.keys as usize, body.keys.len()),
        ("cuts", info.cuts as usize, body.cuts.len()),
    ];
    for (what, takes, given) in counts {
        if takes != given {
            return Err(format!("kernel `{symbol}` takes {takes} {what}, and the loop gives {given}"));
        }
    }
    if body.operands.len() < info.operands.len() {
        return Err(format!(
            "kernel `{symbol}` takes {} operands, and the loop gives {}",
            info.operands.len(),
            body.operands.len()
        ));
    }
    if !body.by_rows && body.rows > 1 {
        return Err("a loop without rows has several".to_owned());
    }
    for (p, phase) in body.phases.iter().enumerate() {
        let info = plan.kernels.get(phase.kernel as usize).ok_or("a kernel out of range")?;
        let fits = info.operands.len() == phase.operands.len()
            && phase.operands.iter().all(|o| (*o as usize) < body.operands.len())
            && info.params as usize == phase.params.len()
            && info.keys as usize == phase.keys.len()
            && info.cuts == 0
            && body.by_rows;
        if !fits {
            return Err(format!("phase kernel `{}` does not fit its phase", info.symbol));
        }
        match &phase.kind {
            RowPhaseKind::Select { picks } => {
                check_keys(&info.stores, info.stores.len(), &info.symbol)?;
                if picks.iter().any(|p| p.store as usize >= info.stores.len()) {
                    return Err(format!("a phase picks from keys that kernel `{}` does not store", info.symbol));
                }
            }
            RowPhaseKind::Rank => check_keys(&info.stores, info.stores.len(), &info.symbol)?,
            RowPhaseKind::Reduce if !info.stores.is_empty() => {
                return Err(format!("kernel `{}` stores where it reduces", info.symbol));
            }
            RowPhaseKind::Reduce => {}
        }
        let later = |o: &u32| matches!(body.operands[*o as usize], Operand::RowValue { phase, .. } if phase as usize >= p);
        if phase.operands.iter().any(later) {
            return Err(format!("phase kernel `{}` uses the value of a later phase", info.symbol));
        }
    }
    let kinds = kinds(body, &plan.kernels);
    for phase in &body.phases {
        for (o, kind) in phase.operands.iter().zip(&plan.kernels[phase.kernel as usize].operands) {
            if kinds[*o as usize] != *kind {
                return Err(format!(
                    "kernels `{symbol}` and `{}` see operand {o} differently",
                    plan.kernels[phase.kernel as usize].symbol
                ));
            }
        }
    }
    for (operand, (dtype, access)) in body.operands.iter().zip(kinds) {
        let (read, want, len) = match operand {
            Operand::Dense(read) => (read, Access::Dense, body.rows * body.cols),
            Operand::PerRow(read) => (read, Access::PerRow, body.rows),
            Operand::PerCol(read) => (read, Access::PerCol, body.cols),
            Operand::RowValue { phase, value } => {
                let phase = body.phases.get(*phase as usize).ok_or("a phase out of range")?;
                let values = phase.kind.values(&plan.kernels[phase.kernel as usize]);
                if (dtype, access) != (DType::F32, phase.kind.access()) || *value as usize >= values {
                    return Err(format!("kernel `{symbol}` does not take the row value it is given"));
                }
                continue;
            }
        };
        check_read(plan, inputs, read)?;
        if access != want || read.view.len() != len || want != Access::Dense && !body.by_rows {
            return Err(format!(
                "kernel `{symbol}` sees an operand as {access:?}, and it is {want:?} with {} entries",
                read.view.len()
            ));
        }
        if want != Access::PerRow && dtype != self::dtype(plan, read.from) {
            return Err(format!("kernel `{symbol}` takes {dtype}, and it is given {}", self::dtype(plan, read.from)));
        }
    }
    Ok(())
}

fn check_read(plan: &Plan, inputs: &Inputs, read: &Read) -> Result<(), String> {
    match read.from {
        Origin::Source(source) => {
            let opened = (source as usize) < inputs.sources.len();
            let source = plan.sources.get(source as usize).filter(|_| opened).ok_or("a source out of range")?;
            check_view(&read.view, source.shape.iter().product(), &source.name)
        }
        Origin::Temp(temp) => {
            let entries = plan.temps.get(temp as usize).ok_or("a temporary out of range")?.len();
            check_view(&read.view, entries, "a temporary")
        }
    }
}

fn check_target(plan: &Plan, to: &Target, dtype: DType, len: u64) -> Result<(), String> {
    if !is_injective(&to.view) {
        return Err("a target visits an entry twice".to_owned());
    }
    let (output, tensor) = match to.to {
        Sink::Output { output, tensor } => (output, tensor),
        Sink::Temp(t) => {
            let temp = plan.temps.get(t as usize).ok_or("a temporary out of range")?;
            if dtype != DType::F32 || to.view.len() != len {
                return Err(format!("temporary {t} is written with {} entries of {dtype}", to.view.len()));
            }
            return check_view(&to.view, temp.len(), "a temporary");
        }
    };
    let output = plan.outputs.get(output as usize).ok_or("an output out of range")?;
    let tensor = output.tensors.get(tensor as usize).ok_or("an output tensor out of range")?;
    if tensor.dtype != dtype || to.view.len() != len {
        return Err(format!("`{}` is written with {} entries of {dtype}", tensor.name, to.view.len()));
    }
    check_view(&to.view, tensor.shape.iter().product(), &tensor.name)
}

fn check_view(view: &View, entries: u64, name: &str) -> Result<(), String> {
    if view.is_empty() {
        return Ok(());
    }
    let last = view.dims.iter().try_fold(view.offset, |last, (len, stride)| last.checked_add((len - 1).checked_mul(*stride)?));
    match last {
        Some(last) if last < entries => Ok(()),
        _ => Err(format!("a view leaves `{name}`")),
    }
}

/// Whether a view visits every entry at most once: each stride goes beyond all that smaller ones reach. (There are
/// injective views of other kinds; plans do not write through them.)
fn is_injective(view: &View) -> bool {
    let mut dims: Vec<(u64, u64)> = view.dims.iter().copied().filter(|d| d.0 > 1).collect();
    dims.sort_unstable_by_key(|d| d.1);
    let mut reach = 0u64;
    view.is_empty()
        || dims.into_iter().all(|(len, stride)| {
            let beyond = stride > reach;
            reach = reach.saturating_add((len - 1).saturating_mul(stride));
            beyond
        })
}
