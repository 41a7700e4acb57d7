//! Where outputs go: what may be replaced, temporary names, and the final rename.
//!
//! An output is written under a sibling name on the same file system and renamed when it is complete, so
//! that its final name never shows half a model. What exists is replaced only if Merge wrote all of it.

use super::layout::{FILES_KEY, RECIPE_KEY};
use crate::{
    checkpoint::{Checkpoint, INDEX},
    error::Error,
    header,
};
use merge_abi::Output;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::ErrorKind,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

/// Where one output goes.
#[derive(Debug)]
pub(crate) struct Target {
    /// As the user wrote it, for messages.
    pub shown: PathBuf,
    /// Absolute, without links.
    real: PathBuf,
    /// One safetensors file rather than a folder.
    pub is_file: bool,
}

impl Target {
    /// Finds where an output goes and whether it may go there.
    ///
    /// # Errors
    /// Of usage or of the world: a path that cannot be, an input in the way, something there that is not Merge's.
    pub fn check(output: &Output, checkpoints: &[Checkpoint]) -> Result<Target, Error> {
        let shown = PathBuf::from(&output.path);
        let is_file = shown.extension().is_some_and(|e| e == "safetensors");
        let target = Target { real: real_path(&shown)?, shown, is_file };
        for input in checkpoints {
            if let Some(path) = target.covers(input) {
                return Err(Error::usage(format!(
                    "the output `{}` would replace the input `{}`",
                    target.shown.display(),
                    path.display()
                ))
                .with_help("choose another name for the output, for example with `--out`"));
            }
        }
        target.check_existing()?;
        if is_file && output.adapter.is_some() {
            return Err(Error::recipe(format!(
                "{}: `{}` is a single file, and an adapter is two: its factors and their config",
                output.place, output.path
            ))
            .with_help("name a folder, without `.safetensors` at the end"));
        }
        if is_file && !output.config.is_empty() {
            return Err(Error::recipe(format!(
                "{}: `{}` is a single file, which has no `config.json` to set keys in",
                output.place, output.path
            ))
            .with_help("name a folder, without `.safetensors` at the end"));
        }
        Ok(target)
    }

    /// Whether both outputs cannot exist at once.
    pub fn collides(&self, other: &Target) -> bool {
        self.real.starts_with(&other.real) || other.real.starts_with(&self.real)
    }

    /// A file of the input, or its folder, that lies at or under this target.
    fn covers<'a>(&self, input: &'a Checkpoint) -> Option<&'a Path> {
        let under = |path: &Path| {
            let by_name = path
                .parent()
                .map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p })
                .and_then(|p| p.canonicalize().ok());
            let by_name = by_name.zip(path.file_name()).map(|(p, n)| p.join(n));
            [path.canonicalize().ok(), by_name].into_iter().flatten().any(|p| p.starts_with(&self.real))
        };
        std::iter::once(&*input.root).chain(input.files.iter().map(|f| &*f.path)).find(|p| under(p))
    }

    /// Whether what is there now may be replaced.
    fn check_existing(&self) -> Result<(), Error> {
        let other = "choose another name for the output (`--out`), or move that away first";
        let found = match fs::metadata(&self.real) {
            Ok(found) => found,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io("write", &self.shown, &e)),
        };
        let refuse =
            |what: String| Err(Error::world(format!("will not replace `{}`: {what}", self.shown.display())).with_help(other));
        if self.is_file {
            return match found.is_file() && small_files_of(&self.real).is_some() {
                true => Ok(()),
                false => refuse(format!("it is a {} that Merge did not write", if found.is_dir() { "folder" } else { "file" })),
            };
        }
        if !found.is_dir() {
            return refuse("it is a file, and the output is a folder".into());
        }
        let (mut ours, mut others) = (BTreeSet::from([INDEX.to_owned()]), Vec::new());
        for entry in fs::read_dir(&self.real).map_err(|e| Error::io("read the folder", &self.shown, &e))? {
            let entry = entry.map_err(|e| Error::io("read the folder", &self.shown, &e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            match small_files_of(&entry.path()) {
                Some(small) => ours.extend(small),
                None => others.push(name),
            }
        }
        others.retain(|name| !ours.contains(name));
        others.sort();
        match others.first() {
            None => Ok(()),
            Some(name) => refuse(format!("it holds `{name}`, which Merge did not write there")),
        }
    }

    /// Makes the folders above the target and a new temporary folder or file name beside it.
    pub fn make_temporary(&self) -> Result<Temporary, Error> {
        let parent = self.real.parent().unwrap_or(Path::new("/"));
        let made: Vec<PathBuf> = parent.ancestors().take_while(|p| !p.exists()).map(Path::to_owned).collect();
        fs::create_dir_all(parent).map_err(|e| Error::io("make the folder", parent, &e))?;
        let mut temporary = Temporary { path: PathBuf::new(), made, done: false };
        let name = self.real.file_name().unwrap_or_default().to_string_lossy();
        // The number tells several runs of one process apart, and what a killed process with this id left.
        for attempt in 0.. {
            let more = if attempt == 0 { String::new() } else { format!("-{attempt}") };
            let path = parent.join(format!(".{name}.partial-{}{more}", std::process::id()));
            let made = if self.is_file { File::create_new(&path).map(drop) } else { fs::create_dir(&path) };
            match made {
                Ok(()) => {
                    temporary.path = path;
                    break;
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists && attempt < 1000 => {}
                Err(e) => return Err(Error::io("write", &self.shown, &e)),
            }
        }
        Ok(temporary)
    }

    /// Moves a complete temporary to the final name. What was there goes aside first and comes back if
    /// that fails, so at each moment the old or the new output is whole.
    pub fn take_over(&self, temporary: &mut Temporary) -> Result<(), Error> {
        let failed = |e: std::io::Error| Error::io("move the finished output to", &self.shown, &e);
        if self.is_file || !self.real.exists() {
            fs::rename(&temporary.path, &self.real).map_err(failed)?;
            temporary.done = true;
            return Ok(());
        }
        let mut aside = temporary.path.clone().into_os_string();
        aside.push(".old");
        fs::rename(&self.real, &aside).map_err(failed)?;
        if let Err(e) = fs::rename(&temporary.path, &self.real) {
            let _ = fs::rename(&aside, &self.real);
            return Err(failed(e));
        }
        temporary.done = true;
        fs::remove_dir_all(&aside).map_err(|e| Error::io("remove the replaced output", Path::new(&aside), &e))
    }

    /// The nearest folder that exists, whose file system will hold the output.
    fn anchor(&self) -> &Path {
        self.real.ancestors().skip(1).find(|p| p.is_dir()).unwrap_or(Path::new("/"))
    }
}

/// A temporary folder or file, removed when dropped unless it was renamed.
#[derive(Debug)]
pub(crate) struct Temporary {
    pub path: PathBuf,
    /// Folders made for it, the innermost first.
    made: Vec<PathBuf>,
    done: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // Nothing can be reported from here; what cannot be removed has a name that says what it is.
        if !self.path.as_os_str().is_empty() {
            let _ = if self.path.is_dir() { fs::remove_dir_all(&self.path) } else { fs::remove_file(&self.path) };
        }
        for folder in &self.made {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Checks that each file system has room for what goes there.
///
/// # Errors
/// Of the world, with the bytes needed and free.
pub(crate) fn check_space(needs: &[(&Target, u64)]) -> Result<(), Error> {
    let mut systems: BTreeMap<u64, (u64, &Target)> = BTreeMap::new();
    for (target, bytes) in needs {
        let device = fs::metadata(target.anchor()).map_or(0, |m| m.dev());
        let entry = systems.entry(device).or_insert((0, target));
        entry.0 = entry.0.saturating_add(*bytes);
    }
    for (needed, target) in systems.into_values() {
        // A file system that does not tell its free space is tried: a full disk is an error of its own.
        if let Some(free) = free_space(target.anchor())
            && free < needed
        {
            let shown = target.shown.display();
            return Err(Error::world(format!(
                "not enough space for `{shown}`: it needs {}, and {} are free",
                human(needed),
                human(free)
            ))
            .with_help("free some space, write to another disk with `--out`, or save in a smaller dtype"));
        }
    }
    Ok(())
}

/// Bytes that this user may still write to the file system of `folder`.
fn free_space(folder: &Path) -> Option<u64> {
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends in NUL and `found` has room for one statvfs, which the call fills when it returns 0.
    let found = unsafe { (libc::statvfs(path.as_ptr(), found.as_mut_ptr()) == 0).then(|| found.assume_init()) }?;
    #[allow(clippy::unnecessary_cast)] // The fields' types differ between systems.
    let (blocks, size) = (found.f_bavail as u64, found.f_frsize as u64);
    // Some network file systems report no blocks at all.
    (found.f_blocks != 0).then(|| blocks.saturating_mul(size))
}

/// Bytes as people read them, in powers of 1000: `4.9 GB`.
pub fn human(bytes: u64) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"];
    let power = (0..units.len() - 1).find(|p| bytes < 1000u64.saturating_pow(*p as u32 + 1)).unwrap_or(units.len() - 1);
    match power {
        0 => format!("{bytes} bytes"),
        p => format!("{:.1} {}", bytes as f64 / 1000f64.powi(p as i32), units[p]),
    }
}

/// The names of the small files that Merge wrote beside a safetensors file, or none if Merge did not write it.
fn small_files_of(path: &Path) -> Option<Vec<String>> {
    if path.extension().is_none_or(|e| e != "safetensors") || !path.is_file() {
        return None;
    }
    let file = File::open(path).ok()?;
    let header = header::read(&file, file.metadata().ok()?.len(), path).ok()?;
    header.metadata.get(RECIPE_KEY)?;
    Some(header.metadata.get(FILES_KEY).and_then(|f| serde_json::from_str(f).ok()).unwrap_or_default())
}

/// An absolute path without links, for a path whose end may not exist yet.
fn real_path(path: &Path) -> Result<PathBuf, Error> {
    let nameless = || {
        Error::usage(format!("`{}` cannot be the name of an output", path.display())).with_help("name a folder, such as `merged`")
    };
    if let Ok(real) = path.canonicalize() {
        return if real.parent().is_some() { Ok(real) } else { Err(nameless()) };
    }
    let name = path.file_name().ok_or_else(nameless)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_symlink() {
        return Err(Error::world(format!("`{}` is a link to something that is not there", path.display()))
            .with_help("remove the link, or choose another name"));
    }
    if parent.exists() && !parent.is_dir() {
        return Err(Error::world(format!("cannot write `{}`: `{}` is a file", path.display(), parent.display()))
            .with_help("choose another name for the output"));
    }
    let parent = match parent.canonicalize() {
        Ok(real) => real,
        Err(e) if e.kind() == ErrorKind::NotFound => real_path(parent)?,
        Err(e) => return Err(Error::io("write", path, &e)),
    };
    Ok(parent.join(name))
}
