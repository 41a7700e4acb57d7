//! Safetensors headers, read and checked without touching tensor data.
//!
//! A file is 8 bytes of header length (little-endian), that many bytes of JSON, then the data. What
//! [`read`] accepts holds: the entries' byte ranges tile the data exactly, in some order, and the file ends where
//! they end; every shape times its dtype's size equals its range, without overflow; names are unique and
//! not empty. The `safetensors` crate checks this only for a file held in memory whole, so it is done here.

use crate::error::Error;
use merge_abi::DType;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, MapAccess, Visitor},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    fmt,
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
};

/// Longest header accepted, as in the safetensors library: a hostile length must not cost memory.
pub const MAX_HEADER: u64 = 100_000_000;

/// The entry of a header that is not a tensor.
pub const METADATA: &str = "__metadata__";

/// Bytes before the header's JSON.
pub const PREFIX: u64 = 8;

/// A header that was checked against its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Ordered by place in the file.
    pub tensors: Vec<HeaderTensor>,
    pub metadata: BTreeMap<String, String>,
    /// Position of the first byte of data.
    pub data_start: u64,
}

/// One entry of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderTensor {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<u64>,
    /// Position of the first byte in the file.
    pub offset: u64,
    pub bytes: u64,
}

/// Reads and checks the header of an open file of `size` bytes; `path` serves messages only.
///
/// # Errors
/// Of the world, naming file, byte position and tensor.
pub fn read(file: &File, size: u64, path: &Path) -> Result<Header, Error> {
    let again = "the file is incomplete or is not a safetensors file; download or copy it again";
    if size < PREFIX {
        let what = format!("the file ends here, before the {PREFIX} bytes that hold the header's length");
        return Err(Error::corrupt(path, size, what).with_help(again));
    }
    let mut prefix = [0; PREFIX as usize];
    file.read_exact_at(&mut prefix, 0).map_err(|e| Error::io("read", path, &e))?;
    let length = u64::from_le_bytes(prefix);
    if length > size - PREFIX {
        let what = format!("the header claims {length} bytes, but only {} follow", size - PREFIX);
        return Err(Error::corrupt(path, 0, what).with_help(again));
    }
    if length > MAX_HEADER {
        let what = format!("the header claims {length} bytes; at most {MAX_HEADER} are allowed");
        return Err(
            Error::corrupt(path, 0, what).with_help("no real checkpoint has such a header; get the file from its source again")
        );
    }
    let mut json = vec![0; length as usize];
    file.read_exact_at(&mut json, PREFIX).map_err(|e| Error::io("read", path, &e))?;
    parse(&json, size, path)
}

/// Checks the JSON of a header against the size of its file.
fn parse(json: &[u8], size: u64, path: &Path) -> Result<Header, Error> {
    let again = "the header is damaged; get the file from its source again, or save it again with the `safetensors` library";
    let text = std::str::from_utf8(json)
        .map_err(|e| Error::corrupt(path, PREFIX + e.valid_up_to() as u64, "the header is not valid UTF-8").with_help(again))?;
    let current = RefCell::new(String::new());
    let mut source = serde_json::Deserializer::from_str(text);
    let read = Entries { current: &current }.deserialize(&mut source).and_then(|raw| source.end().map(|()| raw));
    let raw = read.map_err(|e| {
        let (offset, mut what) = (PREFIX + position(text, e.line(), e.column()), sentence(&e));
        if !e.is_data() {
            what = format!("the header is not valid JSON: {what}");
        }
        let name = current.take();
        match name.as_str() {
            "" => Error::corrupt(path, offset, what),
            METADATA => Error::corrupt(path, offset, format_args!("`{METADATA}`: {what}")),
            tensor => Error::corrupt_tensor(path, offset, tensor, what),
        }
        .with_help(again)
    })?;
    let header = Header { tensors: Vec::new(), metadata: raw.metadata, data_start: PREFIX + json.len() as u64 };
    place(raw.tensors, header, size, path)
}

/// Turns raw entries into places in the file, checking that they tile it.
fn place(raw: Vec<(String, RawTensor)>, mut header: Header, size: u64, path: &Path) -> Result<Header, Error> {
    let save_again = "the file was written by a faulty program; save it again with the `safetensors` library";
    let data = size - header.data_start;
    for (name, entry) in raw {
        let wrong = |offset, what: String| Error::corrupt_tensor(path, offset, &name, what);
        let in_header = PREFIX;
        if name.is_empty() {
            return Err(Error::corrupt(path, in_header, "a tensor has an empty name").with_help(save_again));
        }
        let [begin, end] = entry.data_offsets;
        if begin > end {
            return Err(wrong(in_header, format!("its data_offsets [{begin}, {end}] run backwards")).with_help(save_again));
        }
        if end > data {
            let at = header.data_start.saturating_add(end);
            let what = format!("its data should reach byte {at}, but the file ends at byte {size}");
            return Err(wrong(size, what).with_help("the file is incomplete; download or copy it again"));
        }
        let Some(dtype) = DType::from_safetensors(&entry.dtype) else {
            let known = DType::ALL.map(DType::safetensors_name).join(", ");
            return Err(
                wrong(in_header, format!("unknown dtype `{}`", entry.dtype)).with_help(format!("known dtypes are {known}"))
            );
        };
        let shape = entry.shape;
        // Zero axes are left out of the product, so that [2^63, 2, 0] is refused like any other shape whose strides overflow.
        let entries = shape.iter().filter(|d| **d != 0).try_fold(dtype.size(), |n, d| n.checked_mul(*d));
        let Some(nonzero) = entries else {
            return Err(wrong(in_header, format!("its shape {shape:?} is too large to count in 64 bits")).with_help(save_again));
        };
        let bytes = if shape.contains(&0) { 0 } else { nonzero };
        if bytes != end - begin {
            let what =
                format!("{dtype} {shape:?} takes {bytes} bytes, but its data_offsets [{begin}, {end}] hold {}", end - begin);
            return Err(wrong(header.data_start + begin, what).with_help(save_again));
        }
        header.tensors.push(HeaderTensor { name, dtype, shape, offset: header.data_start + begin, bytes });
    }

    // Empty tensors share their offset with the next one and have to come first.
    header.tensors.sort_by_key(|t| (t.offset, t.bytes));
    let mut reached = header.data_start;
    let mut before: Option<&HeaderTensor> = None;
    for t in &header.tensors {
        if t.offset != reached {
            let last = before.map_or("the header".to_owned(), |b| format!("`{}`", b.name));
            let what = if t.offset < reached {
                format!("it overlaps with {last}, whose data ends at byte {reached}")
            } else {
                format!("{} bytes before it belong to no tensor ({last} ends at byte {reached})", t.offset - reached)
            };
            return Err(Error::corrupt_tensor(path, t.offset, &t.name, what).with_help(save_again));
        }
        reached += t.bytes;
        before = Some(t);
    }
    if reached != size {
        let what = format!("the file goes on for {} bytes that belong to no tensor", size - reached);
        return Err(Error::corrupt(path, reached, what).with_help(save_again));
    }
    Ok(header)
}

/// The sentence of a JSON error without its line and column, which mean nothing in a one-line header.
fn sentence(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

/// The byte that a line and column (both from 1) mean.
fn position(text: &str, line: usize, column: usize) -> u64 {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (start + column.saturating_sub(1)).min(text.len()) as u64
}

#[derive(Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

#[derive(Default)]
struct RawHeader {
    tensors: Vec<(String, RawTensor)>,
    metadata: BTreeMap<String, String>,
}

/// A JSON object of strings; a map of serde's would keep the last of two equal keys in silence.
struct Metadata(BTreeMap<String, String>);

/// Reads the outer object; `current` holds the name of the entry that is being read, for messages.
struct Entries<'a> {
    current: &'a RefCell<String>,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = RawHeader;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawHeader, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object that maps tensor names to dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut header = RawHeader::default();
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            self.current.replace(name.clone());
            if !seen.insert(name.clone()) {
                return Err(de::Error::custom("it is listed twice"));
            }
            if name == METADATA {
                header.metadata = map.next_value::<Metadata>()?.0;
            } else {
                header.tensors.push((name, map.next_value()?));
            }
            self.current.take();
        }
        Ok(header)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Metadata, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if all.insert(key.clone(), value).is_some() {
                        return Err(de::Error::custom(format!("key `{key}` is listed twice")));
                    }
                }
                Ok(Metadata(all))
            }
        }
        deserializer.deserialize_map(Strings)
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
