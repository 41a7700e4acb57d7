//! Which file of an output holds which tensor, and the header of each file.
//!
//! Everything is known before the first byte is computed, so headers are written once and tensors go
//! straight to their places, from any thread. Inside a file, tensors with larger entries come first (as
//! the safetensors library does), otherwise they keep their order: then each tensor is aligned to its
//! entries, which readers that map files need.

use super::Provenance;
use crate::{
    checkpoint::{ADAPTER, INDEX, ROLE_KEY, SINGLE},
    error::Error,
    header::{MAX_HEADER, METADATA, PREFIX},
};
use merge_abi::Output;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The metadata key of the recipe's text. A file that has it was written by Merge.
pub(crate) const RECIPE_KEY: &str = "merge.recipe";
/// The metadata key of the list of small files written beside the weights.
pub(crate) const FILES_KEY: &str = "merge.files";

/// The files of one output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub files: Vec<LayoutFile>,
    /// Place of each tensor, in the order of [`Output::tensors`].
    pub places: Vec<Place>,
    /// The index of the shards, where there are several.
    pub index: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayoutFile {
    pub name: String,
    /// Length, JSON and padding.
    pub header: Vec<u8>,
    /// Bytes of the whole file.
    pub size: u64,
}

/// Where a tensor's data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub file: usize,
    /// Position of the first byte in the file.
    pub offset: u64,
    pub bytes: u64,
}

/// Lays out an output: the model's tensors in one file or in shards, those apart in another; `small` are the names of the files that go beside the weights.
///
/// # Errors
/// Of the recipe: names or sizes that the format cannot hold.
pub(crate) fn lay_out(output: &Output, provenance: &Provenance, small: &[String]) -> Result<Layout, Error> {
    let wrong = |what: String| Error::recipe(format!("{}: the output `{}` {what}", output.place, output.path));
    let mut seen = std::collections::HashSet::new();
    let mut total = 0u64;
    let mut sizes = Vec::with_capacity(output.tensors.len());
    let apart = output.beside.apart.as_ref().map_or(0, |a| (a.tensors as usize).min(output.tensors.len()));
    let models = output.tensors.len() - apart;
    for (i, t) in output.tensors.iter().enumerate() {
        if t.name.is_empty() || t.name == METADATA || !seen.insert((i < models, &t.name)) {
            return Err(wrong(format!("cannot hold a tensor named `{}`", t.name)).with_help("names must differ and not be empty"));
        }
        let bytes = t.shape.iter().try_fold(t.dtype.size(), |n, d| n.checked_mul(*d));
        let sum = bytes.and_then(|b| total.checked_add(b));
        let (Some(bytes), Some(sum)) = (bytes, sum) else {
            return Err(wrong(format!("is too large to count in 64 bits, from tensor `{}` {:?} on", t.name, t.shape)));
        };
        sizes.push(bytes);
        total = sum;
    }

    let mut shards = if apart > 0 && models == 0 { Vec::new() } else { cut(&sizes[..models], output.shard) };
    let mut names: Vec<String> = match shards.len() {
        0 => Vec::new(),
        1 if output.adapter.is_some() => vec![ADAPTER.to_owned()],
        1 => vec![SINGLE.to_owned()],
        n => (1..=n).map(|i| format!("model-{i:05}-of-{n:05}.safetensors")).collect(),
    };
    let several = shards.len() > 1;
    if let Some(a) = output.beside.apart.as_ref().filter(|_| apart > 0) {
        shards.push((models..output.tensors.len()).collect());
        names.push(a.file.clone());
    }
    let metadata = metadata(output, provenance, small);
    let mut places = vec![Place { file: 0, offset: 0, bytes: 0 }; sizes.len()];
    let mut files = Vec::with_capacity(shards.len());
    for (file, (mut tensors, name)) in shards.into_iter().zip(names).enumerate() {
        tensors.sort_by_key(|&t| std::cmp::Reverse(output.tensors[t].dtype.size()));
        let mut entries = Map::new();
        entries.insert(METADATA.into(), metadata.clone());
        let mut end = 0;
        for &t in &tensors {
            let (tensor, begin) = (&output.tensors[t], end);
            end += sizes[t];
            let entry = json!({ "dtype": tensor.dtype.safetensors_name(), "shape": tensor.shape, "data_offsets": [begin, end] });
            entries.insert(tensor.name.clone(), entry);
            places[t] = Place { file, offset: begin, bytes: sizes[t] };
        }
        let mut text = Value::Object(entries).to_string();
        text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
        if text.len() as u64 > MAX_HEADER {
            return Err(wrong(format!("would have a header of {} bytes; readers take at most {MAX_HEADER}", text.len()))
                .with_help("save it in shards, such as `{ shard: 5GB }`"));
        }
        let data_start = PREFIX + text.len() as u64;
        tensors.iter().for_each(|&t| places[t].offset += data_start);
        let header = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        files.push(LayoutFile { name, header, size: data_start + end });
    }
    let index = several.then(|| index(output, models, &places, &files, total));
    Ok(Layout { files, places, index })
}

/// Cuts tensors, in order, into shards of at most `most` bytes, though at least one tensor each.
fn cut(sizes: &[u64], most: Option<u64>) -> Vec<Vec<usize>> {
    let mut shards = vec![Vec::new()];
    let mut filled = 0u64;
    for (t, &bytes) in sizes.iter().enumerate() {
        if most.is_some_and(|most| filled.saturating_add(bytes) > most) && shards.last().is_some_and(|s: &Vec<_>| !s.is_empty()) {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += bytes;
        if let Some(shard) = shards.last_mut() {
            shard.push(t);
        }
    }
    shards
}

/// Where the file comes from. `format` is what the transformers library asks for.
fn metadata(output: &Output, provenance: &Provenance, small: &[String]) -> Value {
    let parameters: Map<String, Value> = provenance.parameters.iter().cloned().collect();
    let inputs: Map<String, Value> = provenance.inputs.iter().map(|(n, f)| (n.clone(), f.as_str().into())).collect();
    json!({
        "format": "pt",
        RECIPE_KEY: provenance.recipe,
        "merge.parameters": Value::Object(parameters).to_string(),
        "merge.inputs": Value::Object(inputs).to_string(),
        ROLE_KEY: output.role.word(),
        FILES_KEY: Value::from(small).to_string(),
    })
}

/// The index as Hugging Face's libraries write it: sorted, two spaces.
fn index(output: &Output, models: usize, places: &[Place], files: &[LayoutFile], total: u64) -> String {
    let map: BTreeMap<&str, &str> =
        output.tensors[..models].iter().zip(places).map(|(t, p)| (t.name.as_str(), files[p.file].name.as_str())).collect();
    let value = json!({ "metadata": { "total_size": total }, "weight_map": map });
    // `{:#}` prints JSON with two spaces and cannot fail.
    format!("{value:#}\n")
}

/// The name of the index, if this layout has one.
pub(crate) fn index_name(layout: &Layout) -> Option<&'static str> {
    layout.index.as_ref().map(|_| INDEX)
}
