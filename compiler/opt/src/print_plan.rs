//! A plan for people: what is read, computed and written, equal steps folded into one line.

use merge_abi::{Loop, Operand, Origin, Plan, Read, RowPhaseKind, Sink, Step};
use rustc_hash::FxHashMap;
use std::fmt::Write;

/// The plan as text. Steps that differ only in the tensors they are about share a line, which says how
/// many there are and names the first.
pub fn print_plan(plan: &Plan) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "plan of {}", plan.recipe.name);
    for c in &plan.checkpoints {
        let _ = writeln!(out, "  input  {} = {}", c.name, c.path);
    }
    for s in &plan.settings {
        let _ = writeln!(out, "  setting {} = {}", s.name, s.default);
    }
    for o in &plan.outputs {
        let bytes: u64 = o.tensors.iter().map(|t| t.bytes()).sum();
        let _ =
            writeln!(out, "  output {}: {} of {}, {}", o.path, o.role.word(), counted(o.tensors.len(), "tensor"), size(bytes));
    }
    let read: u64 = plan.steps.iter().map(|s| read_by(plan, s)).sum();
    let (scalars, stats) = (plan.scalars.len(), plan.stats as usize);
    let _ = writeln!(
        out,
        "  {}, {}, {}, {}; at least {} read",
        counted(plan.steps.len(), "step"),
        counted(plan.kernels.len(), "kernel"),
        counted(scalars, "scalar"),
        counted(stats, "statistic"),
        size(read)
    );
    if !plan.temps.is_empty() {
        let bytes = plan.temps.iter().map(|t| t.bytes()).max().unwrap_or(0);
        let _ = writeln!(out, "  {}, {} the largest", counted(plan.temps.len(), "temporary"), size(bytes));
    }
    let mut lines: Vec<(String, usize, usize)> = Vec::new();
    let mut known: FxHashMap<String, usize> = FxHashMap::default();
    for (i, step) in plan.steps.iter().enumerate() {
        let may_idle = plan.unless.get(i).is_some_and(Option::is_some);
        let line = format!("{}{}", kind(plan, step), if may_idle { ", unless stopped before" } else { "" });
        let next = lines.len();
        let at = *known.entry(line.clone()).or_insert(next);
        if at == next {
            lines.push((line, 0, i));
        }
        lines[at].1 += 1;
    }
    out.push_str("steps\n");
    for (line, count, first) in lines {
        let times = if count == 1 { String::new() } else { format!("{count} × ") };
        let _ = writeln!(out, "  {times}{line}, from step {first}: {}", about(plan, &plan.steps[first]));
    }
    out.push_str("kernels\n");
    for k in &plan.kernels {
        let operands: Vec<String> = k.operands.iter().map(|(d, a)| format!("{d} {a:?}").to_lowercase()).collect();
        let mut gives: Vec<String> = k.stores.iter().map(|d| format!("stores {}", d.word())).collect();
        gives.extend(k.reductions.iter().map(|r| format!("reduces {r:?}").to_lowercase()));
        let _ = writeln!(out, "  {}({}) {}", k.symbol, operands.join(", "), gives.join(", "));
    }
    out
}

/// What a step does, without the names of tensors.
fn kind(plan: &Plan, step: &Step) -> String {
    match step {
        Step::Copy { from, .. } => {
            let whole = if from.view.is_contiguous() { "" } else { " in another order" };
            format!("copy{whole}")
        }
        Step::Map { body, .. } => format!("map {}", of_loop(plan, body)),
        Step::Reduce { parts, results } => {
            format!(
                "reduce {} over {} by {}",
                counted(results.len(), "value"),
                counted(parts.len(), "part"),
                of_parts(plan, parts)
            )
        }
        Step::Select { parts, selections } => {
            format!(
                "select {} over {} by {}",
                counted(selections.len(), "key"),
                counted(parts.len(), "part"),
                of_parts(plan, parts)
            )
        }
        Step::Call { routine, inputs, .. } => {
            let shapes: Vec<String> = inputs.iter().map(|t| format!("{:?}", plan.temps[*t as usize].shape)).collect();
            format!("call {} of {}", routine.name(), shapes.join(" and "))
        }
    }
}

fn of_parts(plan: &Plan, parts: &[Loop]) -> String {
    let mut kinds: Vec<String> = Vec::new();
    for part in parts {
        let kind = of_loop(plan, part);
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.join("; ")
}

fn of_loop(plan: &Plan, l: &Loop) -> String {
    let name = |k: u32| plan.kernels.get(k as usize).map_or("?", |k| &k.symbol);
    let mut text = name(l.kernel).to_owned();
    if l.by_rows {
        text.push_str(" by rows");
    }
    for phase in &l.phases {
        let what = match &phase.kind {
            RowPhaseKind::Reduce => "reducing".to_owned(),
            RowPhaseKind::Select { picks } => format!("selecting {}", counted(picks.len(), "key")),
            RowPhaseKind::Rank => "ranking".to_owned(),
        };
        let _ = write!(text, " after {what} rows by {}", name(phase.kernel));
    }
    let inputs = l.operands.iter().filter(|o| !matches!(o, Operand::RowValue { .. })).count();
    let _ = write!(text, " of {}", counted(inputs, "input"));
    text
}

/// The tensors a step is about.
fn about(plan: &Plan, step: &Step) -> String {
    let temp = |t: u32| format!("temporary {t} {:?}", plan.temps[t as usize].shape);
    match step {
        Step::Copy { to, .. } | Step::Map { to, .. } => match to.to {
            Sink::Output { output, tensor } => plan.outputs[output as usize].tensors[tensor as usize].name.clone(),
            Sink::Temp(t) => temp(t),
        },
        Step::Reduce { parts, .. } | Step::Select { parts, .. } => {
            let read = parts.iter().flat_map(|p| &p.operands).find_map(reads);
            read.map_or_else(
                || "no input".into(),
                |r| match r.from {
                    Origin::Source(s) => plan.sources[s as usize].name.clone(),
                    Origin::Temp(t) => temp(t),
                },
            )
        }
        Step::Call { results, .. } => results.iter().flatten().map(|t| temp(*t)).collect::<Vec<_>>().join(", "),
    }
}

fn reads(operand: &Operand) -> Option<&Read> {
    match operand {
        Operand::Dense(r) | Operand::PerRow(r) | Operand::PerCol(r) => Some(r),
        Operand::RowValue { .. } => None,
    }
}

fn read_by(plan: &Plan, step: &Step) -> u64 {
    let bytes = |r: &Read| {
        // What repeats is read once.
        let entries: u64 = r.view.dims.iter().filter(|d| d.1 != 0).map(|d| d.0).product();
        match r.from {
            Origin::Source(s) => entries * plan.sources[s as usize].dtype.size(),
            Origin::Temp(_) => 0,
        }
    };
    let of = |l: &Loop| l.operands.iter().filter_map(reads).map(bytes).sum::<u64>();
    match step {
        Step::Copy { from, .. } => bytes(from),
        Step::Map { body, .. } => of(body),
        Step::Reduce { parts, .. } | Step::Select { parts, .. } => parts.iter().map(of).sum(),
        Step::Call { .. } => 0,
    }
}

fn counted(n: usize, word: &str) -> String {
    match word.strip_suffix('y') {
        _ if n == 1 => format!("1 {word}"),
        Some(stem) if word.ends_with("ary") => format!("{n} {stem}ies"),
        _ => format!("{n} {word}s"),
    }
}

fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit < 4 {
        value /= 1000.0;
        unit += 1;
    }
    let unit = ["B", "kB", "MB", "GB", "TB"][unit];
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}
