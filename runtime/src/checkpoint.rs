//! Checkpoints on disk: which files belong to one, and where each tensor lies.
//!
//! A checkpoint is a safetensors file, or a folder as Hugging Face lays it out: `model.safetensors`, or
//! shards with `model.safetensors.index.json`, or an adapter's `adapter_model.safetensors`, or exactly one other
//! safetensors file. Only headers are read here. Invariants of a [`Checkpoint`] that opened: every tensor's byte range lies inside its file
//! and the ranges of a file tile its data exactly; each name occurs once over all files; no file lies
//! outside the folder that was asked for, other than through a symbolic link in it (as caches use).
//!
//! Deliberately not here: pickled weights, GGUF. They are recognised and answered with a
//! remedy.

use crate::{
    error::Error,
    header::{self, Header},
};
use merge_abi::{DType, Role};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::FileExt,
    path::{Component, Path, PathBuf},
};

/// The index of a sharded checkpoint.
pub const INDEX: &str = "model.safetensors.index.json";
/// The one file of a checkpoint that is not sharded.
pub const SINGLE: &str = "model.safetensors";
/// The one file of an adapter, as PEFT names it.
pub const ADAPTER: &str = "adapter_model.safetensors";
const EXTENSION: &str = "safetensors";

/// The metadata key under which a file that Merge wrote says what it holds.
pub const ROLE_KEY: &str = "merge.role";

/// One safetensors file of a checkpoint, kept open so that a rename underneath does not mix two versions.
#[derive(Debug)]
pub struct FileEntry {
    pub path: PathBuf,
    /// Bytes of the whole file.
    pub size: u64,
    /// What the header's `__metadata__` says.
    pub metadata: BTreeMap<String, String>,
    data_start: u64,
    handle: File,
}

/// Where a tensor lies and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Index into [`Checkpoint::files`].
    pub file: usize,
    pub dtype: DType,
    pub shape: Vec<u64>,
    /// Position of the first byte in the file, header included.
    pub offset: u64,
    /// Bytes of its data.
    pub bytes: u64,
}

/// An opened checkpoint: headers only.
#[derive(Debug)]
pub struct Checkpoint {
    /// The path that was asked for: a file or a folder.
    pub root: PathBuf,
    pub files: Vec<FileEntry>,
    pub tensors: BTreeMap<String, TensorEntry>,
    /// What the file says it holds, if Merge wrote it.
    pub role: Option<Role>,
}

impl Checkpoint {
    /// Opens the headers of a checkpoint.
    ///
    /// # Errors
    /// Of the world: nothing there, no safetensors in it, or a file that breaks the format.
    pub fn open(path: &Path) -> Result<Checkpoint, Error> {
        let what = fs::metadata(path).map_err(|e| match e.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => missing(path),
            _ => Error::io("open", path, &e),
        })?;
        let mut checkpoint = Checkpoint { root: path.to_owned(), files: Vec::new(), tensors: BTreeMap::new(), role: None };
        if what.is_dir() {
            checkpoint.open_folder(path)?;
        } else {
            refuse_other_formats(path)?;
            checkpoint.add_file(path.to_owned())?;
        }
        checkpoint.find_role()?;
        Ok(checkpoint)
    }

    /// Fills `buf` with the bytes of a file from `offset`; any number of threads may read at once.
    ///
    /// # Errors
    /// Of the world, naming the file; a file that has become shorter since it was opened is told apart.
    pub fn read_at(&self, file: usize, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let entry = &self.files[file];
        entry.handle.read_exact_at(buf, offset).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => {
                let now = entry.handle.metadata().map_or(0, |m| m.len());
                Error::world(format!(
                    "`{}` shrank while it was read: it had {} bytes when it was opened and has {now} now, so bytes {offset} to {} are gone",
                    entry.path.display(),
                    entry.size,
                    offset + buf.len() as u64,
                ))
                .with_help("let the program that writes this file finish, then run again")
            }
            _ => Error::io("read", &entry.path, &e),
        })
    }

    /// Identifies the contents without reading gigabytes: the SHA-256, in hexadecimal, over each file's
    /// length (8 bytes, little-endian), its header with the 8 bytes before it, and the first and the last
    /// 4 KiB of each tensor (its bytes once where it has at most 4 KiB), in the order of the file. Files are
    /// taken in the order of their names; names and folders are left out, so that a copy has the same one.
    ///
    /// # Errors
    /// As [`Checkpoint::read_at`].
    pub fn fingerprint(&self) -> Result<String, Error> {
        const ENDS: u64 = 4096;
        let mut order: Vec<usize> = (0..self.files.len()).collect();
        order.sort_by(|a, b| self.files[*a].path.cmp(&self.files[*b].path));
        let mut hash = Sha256::new();
        let mut buffer = Vec::new();
        for file in order {
            let mut take = |offset, bytes: u64| {
                buffer.resize(bytes as usize, 0);
                self.read_at(file, offset, &mut buffer).map(|()| hash.update(&buffer))
            };
            let mut tensors: Vec<_> = self.tensors.values().filter(|t| t.file == file).collect();
            tensors.sort_by_key(|t| (t.offset, t.bytes));
            take(0, self.files[file].data_start)?;
            for t in tensors {
                take(t.offset, t.bytes.min(ENDS))?;
                if t.bytes > ENDS {
                    take(t.offset + t.bytes - ENDS, ENDS)?;
                }
            }
            hash.update(self.files[file].size.to_le_bytes());
        }
        Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
    }

    /// The folder whose `config.json` and tokenizer belong to this checkpoint: none where it was given as a
    /// file, since what lies beside a file may belong to anything.
    pub fn folder(&self) -> Option<&Path> {
        self.root.is_dir().then_some(&*self.root)
    }

    fn open_folder(&mut self, folder: &Path) -> Result<(), Error> {
        let names = file_names(folder)?;
        let has = |name: &str| names.iter().any(|n| n == name);
        if has(SINGLE) {
            self.add_file(folder.join(SINGLE))?;
            return Ok(());
        }
        if has(INDEX) {
            return self.open_shards(folder);
        }
        if has(ADAPTER) {
            return self.add_file(folder.join(ADAPTER)).map(drop);
        }
        if names.iter().any(|n| n.starts_with("adapter_model.")) {
            return Err(pickled_adapter(folder, "holds"));
        }
        let candidates: Vec<&String> =
            names.iter().filter(|n| Path::new(n).extension().is_some_and(|e| e == EXTENSION)).collect();
        match candidates[..] {
            [one] => self.add_file(folder.join(one)).map(drop),
            [] => Err(nothing_to_read(folder, &names)),
            _ => Err(Error::world(format!(
                "`{}` holds {} safetensors files but no `{INDEX}` that says which tensor is where: {}",
                folder.display(),
                candidates.len(),
                candidates.iter().take(4).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "),
            ))
            .with_help("name one of the files, or get the index from where the checkpoint comes from")),
        }
    }

    /// Opens the shards that the index names, and checks index and shards against each other.
    fn open_shards(&mut self, folder: &Path) -> Result<(), Error> {
        let index = folder.join(INDEX);
        let again =
            "the index and the shards are of different versions, or the download is incomplete; download the checkpoint again";
        let wrong = |what: String| Error::world(format!("`{}`: {what}", index.display())).with_help(again);
        let weight_map = read_index(&index)?;
        let mut opened: BTreeMap<&str, usize> = BTreeMap::new();
        for (tensor, shard) in &weight_map {
            if opened.contains_key(&**shard) {
                continue;
            }
            let inside =
                !shard.is_empty() && Path::new(shard).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
            if !inside {
                return Err(Error::world(format!("`{}`: tensor `{tensor}` is said to be in `{shard}`, outside the folder", index.display()))
                    .with_help("an index may name only files in its own folder; do not use this checkpoint unless you trust where it comes from"));
            }
            let path = folder.join(shard);
            if !path.is_file() {
                let beside = file_names(folder)?;
                let made = wrong(format!("tensor `{tensor}` is in the shard `{shard}`, which is missing"));
                return Err(match closest(shard, &beside) {
                    Some(near) => made.with_help(format!("there is a `{near}`; {again}")),
                    None => made,
                });
            }
            opened.insert(shard, self.add_file(path)?);
        }
        for (tensor, shard) in &weight_map {
            match self.tensors.get(tensor) {
                Some(entry) if entry.file == opened[&**shard] => {}
                Some(entry) => {
                    let found = self.files[entry.file].path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    return Err(wrong(format!("tensor `{tensor}` is not in the shard `{shard}` but in `{found}`")));
                }
                None => return Err(wrong(format!("tensor `{tensor}` is not in the shard `{shard}`, nor in any other"))),
            }
        }
        match self.tensors.iter().find(|(name, _)| !weight_map.contains_key(*name)) {
            None => Ok(()),
            Some((name, entry)) => {
                let path = &self.files[entry.file].path;
                Err(wrong(format!(
                    "tensor `{name}` is in the shard `{}` at byte {} but not in the index",
                    path.display(),
                    entry.offset
                )))
            }
        }
    }

    /// Opens a file, checks its header and adds its tensors; gives its number.
    fn add_file(&mut self, path: PathBuf) -> Result<usize, Error> {
        let handle = File::open(&path).map_err(|e| Error::io("open", &path, &e))?;
        let what = handle.metadata().map_err(|e| Error::io("open", &path, &e))?;
        if !what.is_file() {
            return Err(Error::world(format!("`{}` is not a file", path.display()))
                .with_help("name a safetensors file or a folder that holds one"));
        }
        let Header { tensors, metadata, data_start } = header::read(&handle, what.len(), &path)?;
        let file = self.files.len();
        for t in tensors {
            let entry = TensorEntry { file, dtype: t.dtype, shape: t.shape, offset: t.offset, bytes: t.bytes };
            if let Some(first) = self.tensors.insert(t.name.clone(), entry) {
                let other = self.files[first.file].path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                return Err(Error::corrupt_tensor(&path, t.offset, &t.name, format_args!("it is in the shard `{other}` too"))
                    .with_help("a tensor may be in one shard only; download the checkpoint again"));
            }
        }
        self.files.push(FileEntry { path, size: what.len(), metadata, data_start, handle });
        Ok(file)
    }

    /// Takes the role from the metadata; the files must agree.
    fn find_role(&mut self) -> Result<(), Error> {
        for file in &self.files {
            let Some(word) = file.metadata.get(ROLE_KEY) else { continue };
            let Some(role) = parse_role(word) else {
                return Err(Error::world(format!("`{}`: unknown `{ROLE_KEY}` `{word}` in its metadata", file.path.display()))
                    .with_help("the file was written by a newer version of Merge; update this one"));
            };
            if self.role.is_some_and(|r| r != role) {
                return Err(Error::world(format!("the shards of `{}` do not agree on what they hold", self.root.display()))
                    .with_help("shards of different outputs are mixed in this folder; write the checkpoint again"));
            }
            self.role = Some(role);
        }
        Ok(())
    }
}

/// The role that a word of the metadata or of a `.schema` text means.
pub(crate) fn parse_role(word: &str) -> Option<Role> {
    [Role::Weights, Role::Deltas, Role::Statistics].into_iter().find(|r| r.word() == word)
}

/// The `weight_map` of an index: tensor name → shard.
fn read_index(index: &Path) -> Result<BTreeMap<String, String>, Error> {
    let again = "the index is damaged; get it again from where the checkpoint comes from";
    let size = fs::metadata(index).map_err(|e| Error::io("read", index, &e))?.len();
    if size > header::MAX_HEADER {
        let what = format!("`{}` has {size} bytes; an index has at most {}", index.display(), header::MAX_HEADER);
        return Err(Error::world(what).with_help(again));
    }
    let text = fs::read(index).map_err(|e| Error::io("read", index, &e))?;
    let wrong = |what: String| Error::world(format!("`{}`: {what}", index.display())).with_help(again);
    let json: serde_json::Value = serde_json::from_slice(&text).map_err(|e| wrong(format!("not valid JSON: {e}")))?;
    let map = json.get("weight_map").and_then(|m| m.as_object()).ok_or_else(|| wrong("it has no `weight_map`".into()))?;
    map.iter()
        .map(|(tensor, shard)| match shard.as_str() {
            Some(shard) => Ok((tensor.clone(), shard.to_owned())),
            None => Err(wrong(format!("tensor `{tensor}` is mapped to {shard}, not to the name of a shard"))),
        })
        .collect()
}

/// Files that hold weights in a form that is not read.
fn refuse_other_formats(path: &Path) -> Result<(), Error> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("adapter_model.")) && extension != EXTENSION {
        return Err(pickled_adapter(path, "is"));
    }
    match &*extension {
        EXTENSION => Ok(()),
        "bin" | "pt" | "pth" | "ckpt" => Err(pickled(path, "is")),
        "gguf" => Err(Error::world(format!("`{}` is a GGUF file, and these are not there yet", path.display()))
            .with_help("use the safetensors checkpoint that it was made from")),
        "json" if path.ends_with(INDEX) => {
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Err(Error::world(format!("`{}` is an index", path.display()))
                .with_help(format!("name its folder, `{}`", folder.display())))
        }
        _ => Err(Error::world(format!("`{}` is not a safetensors file", path.display()))
            .with_help("name a file that ends in `.safetensors`, or a folder that holds one")),
    }
}

fn pickled_adapter(path: &Path, verb: &str) -> Error {
    Error::world(format!(
        "`{}` {verb} an adapter in pickled form, which is not read because loading one can run any code",
        path.display()
    ))
    .with_help("load it with PEFT and save it again: `save_pretrained(TARGET, safe_serialization=True)`")
}

fn pickled(path: &Path, verb: &str) -> Error {
    Error::world(format!("`{}` {verb} a pickled PyTorch checkpoint, which is not read because loading one can run any code", path.display())).with_help(
        "convert it to safetensors: `AutoModelForCausalLM.from_pretrained(SOURCE).save_pretrained(TARGET, safe_serialization=True)` in Python",
    )
}

/// A folder without safetensors.
fn nothing_to_read(folder: &Path, names: &[String]) -> Error {
    let pickles = |n: &&String| [".bin", ".pt", ".pth", ".ckpt"].iter().any(|e| n.ends_with(e));
    if names.iter().any(|n| pickles(&n)) {
        return pickled(folder, "holds");
    }
    if names.iter().any(|n| n.ends_with(".gguf")) {
        return Error::world(format!("`{}` holds only GGUF files, and these are not there yet", folder.display()))
            .with_help("use the safetensors checkpoint that they were made from");
    }
    Error::world(format!("`{}` holds no safetensors file", folder.display()))
        .with_help("name a folder with `model.safetensors`, or with `model.safetensors.index.json` and its shards")
}

/// Nothing is at `path`: says how far the path leads, and what there is instead.
fn missing(path: &Path) -> Error {
    let made = Error::world(format!("there is no checkpoint at `{}`", path.display()));
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if parent.is_file() {
        return made.with_help(format!("`{}` is a file, not a folder", parent.display()));
    }
    if !parent.is_dir() {
        let there = parent.ancestors().skip(1).find(|p| p.is_dir() && !p.as_os_str().is_empty());
        return made.with_help(match there {
            Some(there) => format!("the folder `{}` is not there either; `{}` is", parent.display(), there.display()),
            None => format!("the folder `{}` is not there either", parent.display()),
        });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = fs::read_dir(parent).into_iter().flatten().flatten().map(|e| e.file_name().to_string_lossy().into_owned());
    match closest(&name, &beside.collect::<Vec<_>>()) {
        Some(near) => made.with_help(format!("did you mean `{}`?", parent.join(near).display())),
        None => made.with_help(format!(
            "the folder `{}` is there; paths in a recipe start from the recipe's folder, others from the current one",
            parent.display()
        )),
    }
}

/// Names of the files (and links) in a folder, sorted.
fn file_names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io("read the folder", folder, &e))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("read the folder", folder, &e))?;
        // What starts with a dot is an unfinished file of some program, or was hidden on purpose.
        match entry.file_name().into_string() {
            Ok(name) if !name.starts_with('.') && !entry.path().is_dir() => names.push(name),
            _ => {}
        }
    }
    names.sort();
    Ok(names)
}

/// The candidate that differs from `name` in at most a third of its characters, the closest one.
fn closest<'a>(name: &str, candidates: &'a [String]) -> Option<&'a str> {
    let limit = name.chars().count().max(3) / 3;
    let scored = candidates.iter().filter(|c| *c != name).map(|c| (distance(name, c), c));
    scored.filter(|(d, _)| *d <= limit).min_by_key(|(d, _)| *d).map(|(_, c)| &**c)
}

/// Edit distance, case aside. Compiler crates have one too; the runtime depends on none of them.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
