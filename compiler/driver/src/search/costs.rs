//! What a candidate costs: metrics that are known without an evaluation.

use merge_abi::Plan;
use merge_package::MANIFEST;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;

/// `params`, `trainable`, `bytes` and `flops` of a network or adapter, as its manifest in the folder says; of weights, `params` and `bytes`. With
/// `--from`, `taken` is the share of entries that start from what was trained before.
pub(super) fn costs(plan: &Plan, folder: &Path) -> BTreeMap<String, f64> {
    of_manifest(folder).unwrap_or_else(|| of_weights(plan))
}

fn of_manifest(folder: &Path) -> Option<BTreeMap<String, f64>> {
    let text = std::fs::read_to_string(folder.join(MANIFEST)).ok()?;
    let manifest: Json = serde_json::from_str(&text).ok()?;
    let costs = manifest["costs"].as_object()?;
    let mut found: BTreeMap<String, f64> = costs.iter().filter_map(|(name, n)| Some((name.clone(), n.as_f64()?))).collect();
    if let (Some(entries), Some(params)) = (manifest["taken"]["entries"].as_f64(), found.get("params")) {
        found.insert("taken".to_owned(), entries / params.max(1.0));
    }
    Some(found)
}

fn of_weights(plan: &Plan) -> BTreeMap<String, f64> {
    let (mut params, mut bytes) = (0.0, 0.0);
    for t in plan.outputs.iter().flat_map(|o| &o.tensors) {
        let entries: u64 = t.shape.iter().product();
        params += entries as f64;
        bytes += (entries * t.dtype.size()) as f64;
    }
    [("params".to_owned(), params), ("bytes".to_owned(), bytes)].into_iter().collect()
}
