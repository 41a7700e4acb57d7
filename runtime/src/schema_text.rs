//! The `.schema` text: what tensors a checkpoint has, without its weights, so that `mergec check` works on
//! a machine that does not hold them.
//!
//! One line per tensor: name, dtype, shape. Numbers fold as in `mergec inspect`, `#` starts a comment, and a
//! name that holds spaces, braces or such is quoted as in JSON. `role deltas` says what the tensors are.
//!
//! ```text
//! role weights
//! model.layers.{0..=31}.mlp.up_proj.weight  BF16  [11008, 4096]
//! ```

use crate::{
    checkpoint::{Checkpoint, parse_role},
    error::Error,
    fold,
};
use merge_abi::{DType, Role};
use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write,
};

/// A checkpoint without its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Name, dtype and shape, in the order of the text.
    pub tensors: Vec<(String, DType, Vec<u64>)>,
    /// What the tensors are, where the text says so.
    pub role: Option<Role>,
}

/// The text of a checkpoint's schema.
pub fn write(checkpoint: &Checkpoint) -> String {
    let tensors = checkpoint.tensors.iter().map(|(name, t)| (name.as_str(), t.dtype, t.shape.as_slice()));
    write_tensors(tensors, checkpoint.role)
}

/// The text of any list of tensors; names must differ.
pub fn write_tensors<'a>(tensors: impl IntoIterator<Item = (&'a str, DType, &'a [u64])>, role: Option<Role>) -> String {
    let mut groups: BTreeMap<(DType, &[u64]), Vec<&str>> = BTreeMap::new();
    let mut lines: Vec<(String, DType, &[u64])> = Vec::new();
    for (name, dtype, shape) in tensors {
        match is_plain(name) {
            true => groups.entry((dtype, shape)).or_default().push(name),
            false => lines.push((serde_json::Value::from(name).to_string(), dtype, shape)),
        }
    }
    for ((dtype, shape), names) in groups {
        lines.extend(fold::fold(names).into_iter().map(|f| (f.name, dtype, shape)));
    }
    lines.sort();
    let width = lines.iter().map(|l| l.0.chars().count()).max().unwrap_or(0);
    let mut text = String::from("# What `mergec check` needs to know of a checkpoint. Written by `mergec inspect`.\n");
    if let Some(role) = role {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "role {}", role.word());
    }
    for (name, dtype, shape) in lines {
        let _ = writeln!(text, "{name:width$}  {:5} {shape:?}", dtype.safetensors_name());
    }
    text
}

/// Reads a schema.
///
/// # Errors
/// Of the world, naming the line; the caller adds the file.
pub fn parse(text: &str) -> Result<Parsed, Error> {
    let mut parsed = Parsed { tensors: Vec::new(), role: None };
    let mut seen = HashSet::new();
    for (at, line) in text.lines().enumerate() {
        let wrong = |what: String| {
            Error::world(format!("line {}: {what}", at + 1))
                .with_help("a line is `NAME  DTYPE  [SHAPE]`, such as `model.norm.weight  BF16  [4096]`")
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (names, rest) = read_names(line).map_err(wrong)?;
        let rest = rest.split(" #").next().unwrap_or_default().trim();
        if let [role] = &names[..]
            && role == "role"
            && !rest.contains('[')
        {
            parsed.role =
                Some(parse_role(rest).ok_or_else(|| wrong(format!("unknown role `{rest}`; it is weights, deltas or tensors")))?);
            continue;
        }
        let (dtype, shape) = rest.split_once('[').ok_or_else(|| wrong("there is no shape".into()))?;
        let dtype = dtype.trim();
        let dtype = DType::from_safetensors(dtype)
            .or_else(|| DType::from_word(dtype))
            .ok_or_else(|| wrong(format!("unknown dtype `{dtype}`")))?;
        let shape = read_shape(shape).ok_or_else(|| wrong(format!("`[{shape}` is not a shape")))?;
        if shape.iter().filter(|d| **d != 0).try_fold(dtype.size(), |n, d| n.checked_mul(*d)).is_none() {
            return Err(wrong(format!("the shape {shape:?} is too large to count in 64 bits")));
        }
        for name in names {
            if !seen.insert(name.clone()) {
                return Err(wrong(format!("tensor `{name}` is listed twice")));
            }
            parsed.tensors.push((name, dtype, shape.clone()));
        }
    }
    Ok(parsed)
}

/// Whether a name needs no quotes.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '#' | '{' | '}' | '[' | ','))
}

/// The names at the start of a line, unfolded, and the rest of it.
fn read_names(line: &str) -> Result<(Vec<String>, &str), String> {
    if line.starts_with('"') {
        let mut strings = serde_json::Deserializer::from_str(line).into_iter::<String>();
        return match strings.next() {
            Some(Ok(name)) => {
                let rest = &line[strings.byte_offset()..];
                Ok((vec![name], rest))
            }
            _ => Err("the quoted name is not a JSON string".into()),
        };
    }
    // Spaces inside braces belong to the name.
    let mut depth = 0i32;
    let end = line.find(|c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth <= 0 && c.is_whitespace()
    });
    let (name, rest) = line.split_at(end.unwrap_or(line.len()));
    Ok((fold::unfold(name)?, rest))
}

/// `2, 3]` as numbers.
fn read_shape(text: &str) -> Option<Vec<u64>> {
    let inner = text.trim().strip_suffix(']')?.trim();
    if inner.is_empty() {
        return Some(Vec::new());
    }
    inner.split(',').map(|d| d.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut tensors: Vec<(String, DType, Vec<u64>)> =
            (0..24).map(|l| (format!("model.layers.{l}.w"), DType::BF16, vec![4, if l < 20 { 3 } else { 5 }])).collect();
        tensors.push(("scalar".into(), DType::F32, vec![]));
        tensors.push(("odd \"name\" {l} #1".into(), DType::F8E4M3, vec![0, 2]));
        tensors.push(("role".into(), DType::Bool, vec![1]));
        let text = write_tensors(tensors.iter().map(|(n, d, s)| (n.as_str(), *d, s.as_slice())), Some(Role::Deltas));
        assert!(text.contains("model.layers.{0..=19}.w") && text.contains("BF16  [4, 3]\n"), "{text}");
        let mut back = parse(&text).expect("it was written");
        back.tensors.sort();
        tensors.sort();
        assert_eq!((back.tensors, back.role), (tensors, Some(Role::Deltas)));
    }

    #[test]
    fn the_dtype_may_be_a_recipes_word_and_lines_may_have_comments() {
        let parsed = parse("# a comment\n\n a.{0, 2} bf16 [2,3] # two\nb\tF32\t[]").expect("good");
        assert_eq!(parsed.tensors.len(), 3);
        assert_eq!(parsed.tensors[1], ("a.2".into(), DType::BF16, vec![2, 3]));
        assert_eq!(parsed.role, None);
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, says) in [
            ("a F32", "line 1: there is no shape"),
            ("\na F99 [1]", "line 2: unknown dtype `F99`"),
            ("a F32 [x]", "line 1: `[x]` is not a shape"),
            ("a F32 [1] [2]", "line 1: `[1] [2]` is not a shape"),
            ("a F32 [-1]", "not a shape"),
            ("a F32 [1]\na F32 [1]", "line 2: tensor `a` is listed twice"),
            ("a.{0..=3 F32 [1]", "is not closed"),
            ("a.{0..3} F32 [1]", "not a set of numbers"),
            ("role dreams", "unknown role `dreams`"),
            ("\"a F32 [1]", "not a JSON string"),
            ("a F32 [9223372036854775807, 9]", "too large"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.message.contains(says), "{}", error.message);
        }
    }
}
