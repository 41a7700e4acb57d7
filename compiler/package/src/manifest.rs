//! `trainable.json`: what there is to train, which candidate this is, and what it costs.

use crate::json::{choices, costs, parameter};
use crate::onnx::Model;
use crate::pieces::Pieces;
use crate::{MANIFEST, Package, taken};
use merge_abi::OutFile;
use serde_json::{Value, json};

/// What the file says it is.
pub const FORMAT: &str = "merge.trainable/1";

pub(crate) fn file(package: &Package<'_>, models: &[Model]) -> OutFile {
    let mut out = Pieces::default();
    out.text("{\n");
    out.entry("format", FORMAT, false);
    out.entry("graph", crate::GRAPH, false);
    out.entry("space", package.about.space.map_or(Value::Null, Value::from), false);
    choices(package, &mut out);
    out.list("tensors", package.parameters.iter().map(|p| parameter(package, *p)));
    let onnx = models.iter().map(|m| match &m.pieces {
        Ok(_) => json!({ "network": m.network, "file": m.file }),
        Err(reason) => json!({ "network": m.network, "file": null, "reason": reason }),
    });
    out.list("onnx", onnx);
    if let Some(taken) = taken(package.graph, package.output) {
        out.entry("taken", json!({ "tensors": taken.tensors, "entries": taken.entries }), false);
    }
    out.entry("costs", costs(package.costs), true);
    out.text("}\n");
    OutFile { name: MANIFEST.into(), pieces: out.finish() }
}
