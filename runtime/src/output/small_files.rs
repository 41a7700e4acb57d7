//! The small files beside the weights: which are taken from where, and what changes in `config.json`.
//!
//! Everything is copied byte for byte. `config.json` alone is edited, and only where it would be wrong:
//! the dtype, the number of layers, and what the recipe sets. Code (`*.py`) is never copied: a merge should
//! not carry programs along.

use crate::{
    checkpoint::{Checkpoint, TensorEntry},
    config::Document,
    error::Error,
};
use merge_abi::{DType, OutTensor, Output};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const CONFIG: &str = "config.json";
const ADAPTER_CONFIG: &str = "adapter_config.json";
/// Objects of a config that may hold a language model's own keys; the outermost first.
const SECTIONS: [&[&str]; 4] = [&[], &["text_config"], &["llm_config"], &["language_config"]];
const LAYER_KEYS: [&str; 4] = ["num_hidden_layers", "n_layer", "n_layers", "num_layers"];
const DTYPE_KEYS: [&str; 2] = ["torch_dtype", "dtype"];

/// A file to be put beside the weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SmallFile {
    pub name: String,
    pub contents: Contents,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    CopyOf(PathBuf),
    Bytes(Vec<u8>),
}

/// What is taken from elsewhere to go beside the weights of an output, and what the user should know about it.
///
/// # Errors
/// Of the world: a folder that cannot be listed, a `config.json` that is not JSON.
pub(crate) fn choose(output: &Output, checkpoints: &[Checkpoint]) -> Result<(Vec<SmallFile>, Vec<String>), Error> {
    if let Some(text) = &output.adapter {
        let config = SmallFile { name: ADAPTER_CONFIG.to_owned(), contents: Contents::Bytes(text.clone().into_bytes()) };
        return Ok((vec![config], Vec::new()));
    }
    let folder = |which: Option<u32>| which.and_then(|i| checkpoints[i as usize].folder());
    let (like, tokenizer) = (folder(output.like), folder(output.tokenizer));
    let mut chosen = BTreeMap::new();
    let mut take = |from: Option<&Path>, wanted: &dyn Fn(&str) -> bool| -> Result<(), Error> {
        let Some(from) = from else { return Ok(()) };
        for entry in fs::read_dir(from).map_err(|e| Error::io("read the folder", from, &e))? {
            let entry = entry.map_err(|e| Error::io("read the folder", from, &e))?;
            if let Ok(name) = entry.file_name().into_string()
                && wanted(&name)
                && entry.path().is_file()
            {
                chosen.insert(name, Contents::CopyOf(entry.path()));
            }
        }
        Ok(())
    };
    // A tokenizer's files are taken from one place only: a mixture of two would be neither.
    take(like, &|name| is_model_file(name) || (output.tokenizer.is_none() && is_tokenizer_file(name)))?;
    take(tokenizer, &is_tokenizer_file)?;

    let mut notes = Vec::new();
    let config = match chosen.get(CONFIG) {
        Some(Contents::CopyOf(path)) => {
            let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, &e))?;
            let document = Document::new(text).map_err(|what| {
                Error::world(format!("cannot edit `{}`: {what}", path.display()))
                    .with_help("correct the file, or get it again from where the checkpoint comes from")
            })?;
            let like = output.like.map(|i| &checkpoints[i as usize].tensors);
            Some(edit(document, output, like, &mut notes))
        }
        _ if !output.config.is_empty() => {
            let mut document = Document::new("{}\n".to_owned()).map_err(Error::internal)?;
            for (key, json) in &output.config {
                document.set(&[key], json);
            }
            Some(Some(document))
        }
        _ => None,
    };
    if let Some(Some(document)) = config {
        chosen.insert(CONFIG.to_owned(), Contents::Bytes(document.text().as_bytes().to_vec()));
    }
    Ok((chosen.into_iter().map(|(name, contents)| SmallFile { name, contents }).collect(), notes))
}

/// Files that describe a model.
fn is_model_file(name: &str) -> bool {
    matches!(name, CONFIG | "generation_config.json") || name.ends_with("processor_config.json")
}

/// Files that belong to a tokenizer.
fn is_tokenizer_file(name: &str) -> bool {
    let text = [".json", ".txt", ".model", ".jinja"].iter().any(|e| name.ends_with(e));
    let starts = |word: &str| text && name.starts_with(word);
    starts("tokenizer")
        || starts("vocab")
        || starts("merges")
        || starts("chat_template")
        || starts("sentencepiece")
        || starts("spiece")
        || matches!(name, "special_tokens_map.json" | "added_tokens.json")
        || name.ends_with(".tiktoken")
        || name.ends_with(".spm")
}

/// The edited config, or none where nothing changed.
fn edit(
    mut config: Document,
    output: &Output,
    like: Option<&BTreeMap<String, TensorEntry>>,
    notes: &mut Vec<String>,
) -> Option<Document> {
    let mut changed = false;
    if let Some(like) = like {
        changed |= set_dtype(&mut config, output, like);
        changed |= set_layers(&mut config, output, like, notes);
    }
    for (key, json) in &output.config {
        changed |= config.set(&[key], json);
    }
    if config.get(&["auto_map"]).is_some() {
        notes.push(format!(
            "`{CONFIG}` names code of the model's own (`auto_map`), which is not copied; copy the `.py` files if you trust them"
        ));
    }
    changed.then_some(config)
}

/// Sets the dtype to the one that most bytes of the output have. A key that is missing is added only where
/// the dtype is another than the original's.
fn set_dtype(config: &mut Document, output: &Output, like: &BTreeMap<String, TensorEntry>) -> bool {
    let written = main_dtype(output.tensors.iter().map(|t| (t.dtype, t.bytes())));
    let before = main_dtype(like.values().map(|t| (t.dtype, t.bytes)));
    let Some(name) = written.and_then(DType::torch_name) else { return false };
    let mut changed = false;
    let mut found = false;
    for path in SECTIONS.iter().flat_map(|s| DTYPE_KEYS.map(|k| [*s, &[k]].concat())) {
        if let Some(serde_json::Value::String(old)) = config.get(&path) {
            found = true;
            if old.trim_start_matches("torch.") != name {
                changed |= config.set(&path, &format!("\"{name}\""));
            }
        }
    }
    if !found && written != before {
        changed |= config.set(&[DTYPE_KEYS[0]], &format!("\"{name}\""));
    }
    changed
}

/// The float dtype that most bytes have.
fn main_dtype(tensors: impl Iterator<Item = (DType, u64)>) -> Option<DType> {
    let mut bytes: BTreeMap<DType, u64> = BTreeMap::new();
    tensors.filter(|t| t.0.is_float()).for_each(|(dtype, n)| *bytes.entry(dtype).or_default() += n);
    bytes.into_iter().max_by_key(|(_, n)| *n).map(|(dtype, _)| dtype)
}

/// Sets the number of layers where it changed. A stack of layers is what the names' first numbers count;
/// the one that a key speaks of is recognised by having as many layers in the original as the key says.
fn set_layers(config: &mut Document, output: &Output, like: &BTreeMap<String, TensorEntry>, notes: &mut Vec<String>) -> bool {
    let before = stacks(like.keys().map(String::as_str));
    let after = stacks(output.tensors.iter().map(|t: &OutTensor| t.name.as_str()));
    let mut changed = false;
    for section in SECTIONS {
        for key in LAYER_KEYS {
            let path = [section, &[key]].concat();
            let Some(old) = config.get(&path).and_then(|v| v.as_u64()) else { continue };
            let counted = before.iter().filter(|(_, layers)| layers.len() as u64 == old);
            let now: BTreeSet<u64> =
                counted.filter_map(|(stack, _)| after.get(stack)).map(|layers| layers.len() as u64).collect();
            let new = match now.iter().collect::<Vec<_>>()[..] {
                [new] if *new != old => *new,
                [] | [_] => continue,
                _ => {
                    notes.push(format!(
                        "`{CONFIG}` says `{key}` is {old}, but stacks of layers now differ; set it in `save … {{ config: … }}`"
                    ));
                    continue;
                }
            };
            changed |= config.set(&path, &new.to_string());
            let recipe_sets = |k: &str| output.config.iter().any(|(key, _)| key == k);
            for (key, value) in config.entries(section) {
                if value.as_array().is_some_and(|a| old > 1 && a.len() as u64 == old) && !recipe_sets(&key) {
                    notes.push(format!("`{CONFIG}` has `{key}` for each of {old} layers, but {new} were written; set it in `save … {{ config: … }}`"));
                }
            }
        }
    }
    changed
}

/// Numbers that follow each prefix, taking the first number of a name.
fn stacks<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut stacks: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for name in names {
        let mut at = 0;
        for segment in name.split('.') {
            if !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit()) {
                stacks.entry(&name[..at]).or_default().insert(segment);
                break;
            }
            at += segment.len() + 1;
        }
    }
    stacks
}

#[cfg(test)]
#[path = "small_files_tests.rs"]
mod tests;
