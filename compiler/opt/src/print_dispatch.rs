//! The dispatch graph as text, for `mergec emit --ir dispatch`.

use crate::cluster::{At, Cluster, Expr, Kept, Param, RowKind, Tensor};
use crate::fuse::{Dispatch, Goal, Group, Part, Place};
use merge_abi::View;
use merge_ir::tir::{Graph, NodeId};
use std::fmt::Write;

/// One paragraph per group: what it gives, then its expressions.
pub(crate) fn print_dispatch(graph: &Graph, dispatch: &Dispatch) -> String {
    let mut p = Printer { graph, out: String::new() };
    for (i, group) in dispatch.groups.iter().enumerate() {
        let _ = write!(p.out, "group {i}: ");
        match group {
            Group::Copy { from, to } => {
                let (from, to) = (format!("{}{}", p.tensor(from.0), view(&from.1)), p.place(to));
                let _ = writeln!(p.out, "copy {from} to {to}");
            }
            Group::Map { cluster, dtype, to } => {
                let to = p.place(to);
                let _ = writeln!(p.out, "map to {to} as {}", dtype.word());
                p.cluster(cluster);
            }
            Group::Reduce { stats, parts } => {
                let stats: Vec<String> = stats.iter().map(|(f, n)| format!("%{} = {f:?}", n.0).to_lowercase()).collect();
                let _ = writeln!(p.out, "reduce {}", stats.join(", "));
                p.parts(parts);
            }
            Group::Select { selections, parts } => {
                let of = |s: &u32| {
                    let s = dispatch.selections[*s as usize];
                    let cut = if s.cut { " with cut" } else { "" };
                    format!("the %{} largest of %{}{cut}", s.k.0, s.input.0)
                };
                let _ = writeln!(p.out, "select {}", selections.iter().map(of).collect::<Vec<_>>().join(", "));
                p.parts(parts);
            }
            Group::Call(call) => {
                let call = &dispatch.calls[*call as usize];
                let results: Vec<String> =
                    call.results.iter().map(|r| r.map_or("nothing".to_owned(), |n| format!("temp %{}", n.0))).collect();
                let inputs: Vec<String> = call.inputs.iter().map(|i| format!("temp %{}", i.0)).collect();
                let _ = writeln!(p.out, "{} = {} of {}", results.join(", "), call.routine.name(), inputs.join(", "));
            }
        }
    }
    p.out
}

struct Printer<'a> {
    graph: &'a Graph,
    out: String,
}

impl Printer<'_> {
    fn tensor(&self, tensor: Tensor) -> String {
        match tensor {
            Tensor::Source(source) => {
                let s = &self.graph.sources[source.0 as usize];
                format!("{}[{}]", self.graph.checkpoints[s.checkpoint as usize].name, s.name)
            }
            Tensor::Kept(kept) => temp(kept),
        }
    }

    fn place(&self, to: &Place) -> String {
        let name = match to.goal {
            Goal::Output { output, tensor } => self.graph.outputs[output as usize].tensors[tensor as usize].name.clone(),
            Goal::Temp(kept) => temp(kept),
        };
        format!("{name}{}", view(&to.view))
    }

    fn parts(&mut self, parts: &[Part]) {
        for part in parts {
            let _ = writeln!(self.out, "  part at {}", part.start);
            self.cluster(&part.cluster);
        }
    }

    fn cluster(&mut self, c: &Cluster) {
        let rows = c.row_len.map_or(String::new(), |n| format!(" in rows of {n}"));
        let _ = writeln!(self.out, "  loop of {}{rows}", c.len);
        for (i, expr) in c.exprs.iter().enumerate() {
            let text = match *expr {
                Expr::Const(bits) => format!("{:?}", f32::from_bits(bits)),
                Expr::Param(p) => param(p),
                Expr::Load(tensor, v) => format!("{}{}", self.tensor(tensor), view(c.view(v))),
                Expr::Uniform(key) => format!("uniform {:x}", key.stream),
                Expr::Coord { stride, len } => format!("index / {stride} % {len}"),
                Expr::Unary(f, a) => format!("{} {}", f.name(), a.0),
                Expr::Binary(f, a, b) => format!("{} {} {}", f.name(), a.0, b.0),
                Expr::Select(m, a, b) => format!("select {} {} {}", m.0, a.0, b.0),
                Expr::Chosen { mask, key, at } => {
                    let at = match at {
                        At::Shifted(n) => format!("index + {n}"),
                        At::Number(e) => e.0.to_string(),
                    };
                    format!("chosen by %{} {} at {at}", mask.0, key.0)
                }
                Expr::Row(stat) => format!("row {stat}"),
                Expr::RowPlace(stat) => format!("place by row {stat}"),
                Expr::RowChosen { stat, key } => format!("chosen by row {stat} {}", key.0),
            };
            let _ = writeln!(self.out, "    {i} = {text}");
        }
        for (i, stat) in c.row_stats.iter().enumerate() {
            let what = match stat.kind {
                RowKind::Reduce(f) => format!("{f:?}").to_lowercase(),
                RowKind::Rank => "the places".to_owned(),
                RowKind::Select { k, .. } => format!("the %{} largest", k.0),
            };
            let _ = writeln!(self.out, "    row {i} = {what} of {}", stat.input.0);
        }
        let roots: Vec<String> = c.roots.iter().map(|r| r.0.to_string()).collect();
        let _ = writeln!(self.out, "    gives {}", roots.join(" "));
    }
}

fn temp(kept: Kept) -> String {
    format!("temp %{}", kept.0.0)
}

fn param(p: Param) -> String {
    let of = |n: NodeId| format!("%{}", n.0);
    match p {
        Param::Scalar(n) => of(n),
        Param::Threshold(n) => format!("threshold of {}", of(n)),
        Param::Cut(n) => format!("cut of {}", of(n)),
    }
}

/// Nothing for a whole tensor in order, else where it starts and its dims.
fn view(v: &View) -> String {
    if v.offset == 0 && v.is_contiguous() {
        return String::new();
    }
    let dims: Vec<String> = v.dims.iter().map(|(n, s)| format!("{n}:{s}")).collect();
    format!(" from {} by ({})", v.offset, dims.join(", "))
}
