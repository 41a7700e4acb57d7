//! What a checkpoint holds, and how two differ, for people: `mergec inspect`.
//!
//! The data ([`Contents`], [`Difference`]) is apart from its text ([`listing`], [`difference`]). A tensor
//! that is tied to another (stored once, used twice) is told apart from one that is missing, as far as
//! `config.json` says.

use crate::{checkpoint::Checkpoint, config::Document, fold, output::human};
use merge_abi::{DType, Role};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

/// Tensors that differ in their numbers alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// Folded: `model.layers.{0..=31}.mlp.up_proj.weight`.
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<u64>,
    /// How many tensors these are.
    pub count: usize,
}

/// Sums over the tensors of one dtype, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    pub tensors: usize,
    /// Entries.
    pub parameters: u64,
    pub bytes: u64,
}

/// Where the output layer of a language model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// Stored, or nothing says that there should be one.
    Stored,
    /// Not stored: the embedding of this name serves as the output layer too.
    Tied(String),
    /// Not stored, and `config.json` says that it is not tied.
    Missing,
}

/// What a checkpoint holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    pub role: Option<Role>,
    pub files: usize,
    pub lines: Vec<Line>,
    pub by_dtype: BTreeMap<DType, Total>,
    pub total: Total,
    pub head: Head,
}

/// How two checkpoints differ; names are folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub only_left: Vec<Line>,
    pub only_right: Vec<Line>,
    /// Left line and the shape on the right.
    pub shapes: Vec<(Line, Vec<u64>)>,
    /// Left line and the dtype on the right.
    pub dtypes: Vec<(Line, DType)>,
    /// Tensors that agree in name, shape and dtype.
    pub same: usize,
}

impl Contents {
    /// Sums up an opened checkpoint.
    pub fn of(checkpoint: &Checkpoint) -> Contents {
        let mut by_dtype: BTreeMap<DType, Total> = BTreeMap::new();
        let mut total = Total::default();
        for t in checkpoint.tensors.values() {
            for sum in [&mut total, by_dtype.entry(t.dtype).or_default()] {
                sum.tensors += 1;
                sum.parameters += t.bytes / t.dtype.size();
                sum.bytes += t.bytes;
            }
        }
        let all = checkpoint.tensors.iter().map(|(name, t)| (name.as_str(), (t.dtype, t.shape.clone())));
        let lines = folded(all).into_iter().map(|(name, count, (dtype, shape))| Line { name, dtype, shape, count }).collect();
        Contents { role: checkpoint.role, files: checkpoint.files.len(), lines, by_dtype, total, head: head(checkpoint) }
    }
}

impl Difference {
    /// Compares names, shapes and dtypes; no weights are read.
    pub fn between(left: &Checkpoint, right: &Checkpoint) -> Difference {
        let mut same = 0;
        let (mut shapes, mut dtypes) = (Vec::new(), Vec::new());
        for (name, l) in &left.tensors {
            let Some(r) = right.tensors.get(name) else { continue };
            if l.shape != r.shape {
                shapes.push((name.as_str(), (l.dtype, l.shape.clone(), r.shape.clone())));
            }
            if l.dtype != r.dtype {
                dtypes.push((name.as_str(), (l.dtype, l.shape.clone(), r.dtype)));
            }
            same += usize::from(l.shape == r.shape && l.dtype == r.dtype);
        }
        let only = |a: &Checkpoint, b: &Checkpoint| {
            let rest = a.tensors.iter().filter(|(name, _)| !b.tensors.contains_key(*name));
            let rest = rest.map(|(name, t)| (name.as_str(), (t.dtype, t.shape.clone())));
            folded(rest).into_iter().map(|(name, count, (dtype, shape))| Line { name, dtype, shape, count }).collect()
        };
        let line = |name, count, dtype, shape| Line { name, dtype, shape, count };
        Difference {
            only_left: only(left, right),
            only_right: only(right, left),
            shapes: folded(shapes).into_iter().map(|(n, c, (d, s, other))| (line(n, c, d, s), other)).collect(),
            dtypes: folded(dtypes).into_iter().map(|(n, c, (d, s, other))| (line(n, c, d, s), other)).collect(),
            same,
        }
    }
}

/// The text for one checkpoint.
pub fn listing(checkpoint: &Checkpoint) -> String {
    let contents = Contents::of(checkpoint);
    let mut text = format!("{}\n", checkpoint.root.display());
    lines(&mut text, contents.lines.iter().map(|l| (l.name.clone(), described(l))));
    match &contents.head {
        Head::Stored => {}
        Head::Tied(to) => put(&mut text, format_args!("  lm_head.weight is tied to {to}, so it is not stored")),
        Head::Missing => {
            put(&mut text, format_args!("  lm_head.weight is missing: it is not stored, and config.json does not tie it"))
        }
    }
    text.push('\n');
    for (dtype, total) in &contents.by_dtype {
        put(&mut text, format_args!("  {:8}  {}", dtype.safetensors_name(), summed(total)));
    }
    if contents.by_dtype.len() != 1 {
        put(&mut text, format_args!("  {:8}  {}", "all", summed(&contents.total)));
    }
    if contents.files > 1 {
        put(&mut text, format_args!("  in {} shards", contents.files));
    }
    if let Some(role) = contents.role {
        put(&mut text, format_args!("  written by Merge, holds {}", role.word()));
    }
    text
}

/// The text for two checkpoints.
pub fn difference(left: &Checkpoint, right: &Checkpoint) -> String {
    let found = Difference::between(left, right);
    let (l, r) = (left.root.display(), right.root.display());
    let mut text = String::new();
    let whose = |missing: &[Line], head: Head, other: &dyn std::fmt::Display| match head {
        Head::Tied(to) if missing.iter().any(|m| m.name == "lm_head.weight") => {
            format!("  lm_head.weight is tied to {to} in {other}, so it is not stored there\n")
        }
        _ => String::new(),
    };
    for (only, this, other, head) in [(&found.only_left, &l, &r, head(right)), (&found.only_right, &r, &l, head(left))] {
        if !only.is_empty() {
            put(&mut text, format_args!("only in {this}"));
            lines(&mut text, only.iter().map(|line| (line.name.clone(), described(line))));
            text.push_str(&whose(only, head, other));
        }
    }
    if !found.shapes.is_empty() {
        put(&mut text, format_args!("other shapes: {l} → {r}"));
        lines(&mut text, found.shapes.iter().map(|(line, to)| (line.name.clone(), format!("{:?} → {to:?}", line.shape))));
    }
    if !found.dtypes.is_empty() {
        put(&mut text, format_args!("other dtypes: {l} → {r}"));
        lines(&mut text, found.dtypes.iter().map(|(line, to)| (line.name.clone(), format!("{} → {to}", line.dtype))));
    }
    if let (Some(a), Some(b)) = (left.role, right.role)
        && a != b
    {
        put(&mut text, format_args!("{l} holds {}, {r} holds {}", a.word(), b.word()));
    }
    match (text.is_empty(), found.same) {
        (true, n) => {
            put(&mut text, format_args!("no difference: the same {n} names, shapes and dtypes (weights were not compared)"))
        }
        (false, n) => {
            put(&mut text, format_args!("{n} tensor{} in name, shape and dtype", if n == 1 { " agrees" } else { "s agree" }))
        }
    }
    text
}

/// Whether a language model's output layer is stored, tied or missing. Without a `config.json` that says,
/// nothing is claimed.
pub fn head(checkpoint: &Checkpoint) -> Head {
    const EMBEDDINGS: [&str; 3] = ["embed_tokens.weight", "wte.weight", "embed_in.weight"];
    const HEADS: [&str; 3] = ["lm_head.weight", "embed_out.weight", "output.weight"];
    let ends = |ends: &[&str]| {
        checkpoint
            .tensors
            .keys()
            .find(|n| ends.iter().any(|e| n.strip_suffix(e).is_some_and(|b| b.is_empty() || b.ends_with('.'))))
    };
    let Some(embedding) = ends(&EMBEDDINGS) else { return Head::Stored };
    if ends(&HEADS).is_some() {
        return Head::Stored;
    }
    let config = checkpoint.folder().and_then(|f| fs::read_to_string(f.join("config.json")).ok());
    let Some(config) = config.and_then(|text| Document::new(text).ok()) else { return Head::Stored };
    let tied =
        [&["tie_word_embeddings"][..], &["text_config", "tie_word_embeddings"]].iter().find_map(|p| config.get(p)?.as_bool());
    let speaks = config.get(&["architectures"]).is_some_and(|a| {
        let names = a.as_array().cloned().unwrap_or_default();
        names.iter().filter_map(|n| n.as_str()).any(|n| n.ends_with("ForCausalLM") || n.ends_with("LMHeadModel"))
    });
    match tied {
        Some(true) => Head::Tied(embedding.clone()),
        Some(false) if speaks => Head::Missing,
        _ => Head::Stored,
    }
}

/// Folds names that agree in everything else. Sorted by name.
fn folded<'a, K: Ord + Clone>(all: impl IntoIterator<Item = (&'a str, K)>) -> Vec<(String, usize, K)> {
    let mut groups: BTreeMap<K, BTreeSet<&str>> = BTreeMap::new();
    for (name, key) in all {
        groups.entry(key).or_default().insert(name);
    }
    let mut lines: Vec<(String, usize, K)> = Vec::new();
    for (key, names) in groups {
        lines.extend(fold::fold(names).into_iter().map(|f| (f.name, f.count, key.clone())));
    }
    lines.sort();
    lines
}

fn described(line: &Line) -> String {
    format!("{:5} {:?}", line.dtype.safetensors_name(), line.shape)
}

fn summed(total: &Total) -> String {
    let plural = if total.tensors == 1 { "" } else { "s" };
    format!("{} tensor{plural}, {} parameters, {}", total.tensors, grouped(total.parameters), human(total.bytes))
}

/// `7 241 732 096`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for at in (first..digits.len()).step_by(3) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&digits[at..at + 3]);
    }
    text
}

/// Two columns, indented.
fn lines(text: &mut String, all: impl Iterator<Item = (String, String)> + Clone) {
    let width = all.clone().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, rest) in all {
        put(text, format_args!("  {name:width$}  {rest}"));
    }
}

/// A line; writing to a string cannot fail.
fn put(text: &mut String, line: std::fmt::Arguments) {
    let _ = text.write_fmt(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Temp, good};

    fn model(temp: &Temp, name: &str, tensors: &[(&str, DType, &[u64])], config: Option<&str>) -> Checkpoint {
        temp.file(&format!("{name}/model.safetensors"), good(tensors, &[]));
        if let Some(config) = config {
            temp.file(&format!("{name}/config.json"), config);
        }
        Checkpoint::open(&temp.path().join(name)).expect("good")
    }

    const TIED: &[(&str, DType, &[u64])] = &[
        ("model.embed_tokens.weight", DType::BF16, &[1000, 2]),
        ("model.layers.0.up.weight", DType::BF16, &[3, 2]),
        ("model.layers.1.up.weight", DType::BF16, &[3, 2]),
        ("model.norm.weight", DType::F32, &[2]),
    ];
    const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": true}"#;

    #[test]
    fn a_listing_folds_layers_and_sums_up() {
        let temp = Temp::new("inspect-one");
        let m = model(&temp, "m", TIED, Some(CONFIG));
        let text = listing(&m);
        let expected = "
  model.embed_tokens.weight         BF16  [1000, 2]
  model.layers.{0, 1}.up.weight     BF16  [3, 2]
  model.norm.weight                 F32   [2]
  lm_head.weight is tied to model.embed_tokens.weight, so it is not stored

  F32       1 tensor, 2 parameters, 8 bytes
  BF16      3 tensors, 2 012 parameters, 4.0 kB
  all       4 tensors, 2 014 parameters, 4.0 kB
";
        let squeeze = |t: &str| t.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeeze(text.split_once('\n').expect("lines").1), squeeze(expected), "{text}");
    }

    #[test]
    fn tied_and_missing_are_told_apart() {
        let temp = Temp::new("inspect-tied");
        assert_eq!(head(&model(&temp, "a", TIED, Some(CONFIG))), Head::Tied("model.embed_tokens.weight".into()));
        assert_eq!(head(&model(&temp, "b", TIED, Some(&CONFIG.replace("true", "false")))), Head::Missing);
        assert_eq!(head(&model(&temp, "c", TIED, None)), Head::Stored, "nothing is claimed without a config");
        let stored = [TIED, &[("lm_head.weight", DType::BF16, &[1000, 2])]].concat();
        assert_eq!(head(&model(&temp, "d", &stored, Some(CONFIG))), Head::Stored);
    }

    #[test]
    fn differences_by_name_shape_and_dtype() {
        let temp = Temp::new("inspect-two");
        let a = model(&temp, "a", TIED, Some(CONFIG));
        let b = model(
            &temp,
            "b",
            &[
                ("model.embed_tokens.weight", DType::BF16, &[1001, 2]),
                ("model.layers.0.up.weight", DType::F16, &[3, 2]),
                ("model.layers.1.up.weight", DType::F16, &[3, 2]),
                ("model.norm.weight", DType::F32, &[2]),
                ("lm_head.weight", DType::BF16, &[1001, 2]),
            ],
            None,
        );
        let found = Difference::between(&a, &b);
        assert_eq!(
            (found.only_left.len(), found.only_right.len(), found.shapes.len(), found.dtypes.len(), found.same),
            (0, 1, 1, 1, 1)
        );
        assert_eq!((found.dtypes[0].0.name.as_str(), found.dtypes[0].0.count), ("model.layers.{0, 1}.up.weight", 2));
        let text = difference(&a, &b);
        for part in [
            "only in ",
            "lm_head.weight is tied to model.embed_tokens.weight in ",
            "[1000, 2] → [1001, 2]",
            "BF16 → F16",
            "1 tensor agrees",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(difference(&a, &a).starts_with("no difference: the same 4 names"));
    }
}
