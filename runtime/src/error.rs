//! Errors of a run: what happened, to which file and tensor, and what to do.

use std::{fmt, io, path::Path};

/// Who has to act, and so which exit code a command ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Files, disk, memory.
    World,
    /// The recipe, found out only with the values of a run (a constraint on `--set`, a bad output).
    Recipe,
    /// Flags and arguments.
    Usage,
    /// The user pressed Ctrl-C. Not told apart from [`Kind::World`] by its exit code: nothing was written.
    Interrupted,
    /// A fault of Merge itself.
    Internal,
}

impl Kind {
    /// The exit code of a command that ends with such an error.
    pub const fn exit_code(self) -> u8 {
        match self {
            Kind::Recipe => 1,
            Kind::Usage => 2,
            Kind::World | Kind::Interrupted | Kind::Internal => 3,
        }
    }
}

/// One error: a sentence that names the file (and tensor and offset where there are any), and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    /// What a page of `docs/errors` is about, where there is one.
    pub code: Option<&'static str>,
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Error {
    /// An error of the given kind, without help.
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, code: None, message: message.into(), help: None }
    }

    /// Files, disk, memory.
    pub fn world(message: impl Into<String>) -> Error {
        Error::new(Kind::World, message)
    }

    /// The recipe is at fault, though only this run's values show it.
    pub fn recipe(message: impl Into<String>) -> Error {
        Error::new(Kind::Recipe, message)
    }

    /// A flag or an argument is at fault.
    pub fn usage(message: impl Into<String>) -> Error {
        Error::new(Kind::Usage, message)
    }

    /// A fault of Merge itself.
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(Kind::Internal, format!("internal error: {}", message.into()))
            .with_help("this is a fault of Merge, not of your recipe; please report it with the recipe")
    }

    /// The user asked to stop.
    pub fn interrupted() -> Error {
        Error::new(Kind::Interrupted, "interrupted; nothing was written under the final name")
    }

    /// An operating system error on a file: `cannot read `x`: permission denied`.
    pub fn io(doing: &str, path: &Path, error: &io::Error) -> Error {
        if is_disk_full(error) {
            return Error::disk_full(path);
        }
        let made = Error::world(format!("cannot {doing} `{}`: {}", path.display(), plain(error)));
        match error.raw_os_error() {
            Some(libc::EMFILE) => {
                made.with_help("too many files are open at once; raise the limit with `ulimit -n 65536` and run again")
            }
            Some(libc::EACCES | libc::EPERM) => made.with_help("check who owns it and which rights it has (`ls -ld`)"),
            Some(libc::EROFS) => made.with_help("the file system is mounted read-only; choose another output with `--out`"),
            _ => made,
        }
    }

    /// The disk that holds `path` filled up while it was written.
    pub fn disk_full(path: &Path) -> Error {
        Error::world(format!("the disk is full: no space left to write `{}`", path.display()))
            .with_help("the unfinished output was removed; free some space, or write to another disk with `--out`")
    }

    /// A file whose contents are wrong at a byte position.
    pub fn corrupt(path: &Path, offset: u64, what: impl fmt::Display) -> Error {
        Error::world(format!("`{}` is corrupt at byte {offset}: {what}", path.display()))
    }

    /// A file whose contents are wrong where a tensor is concerned.
    pub fn corrupt_tensor(path: &Path, offset: u64, tensor: &str, what: impl fmt::Display) -> Error {
        Error::corrupt(path, offset, format_args!("tensor `{tensor}`: {what}"))
    }

    /// The same error with a remedy.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Error {
        self.help = Some(help.into());
        self
    }

    /// The same error under a code.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Error {
        self.code = Some(code);
        self
    }

    /// `error`, with the code in brackets if there is one: what stands before the message.
    pub fn head(&self) -> String {
        self.code.map_or("error".into(), |code| format!("error[{code}]"))
    }

    /// The exit code of a command that ends with this error.
    pub const fn exit_code(&self) -> u8 {
        self.kind.exit_code()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Whether a write failed for want of space (the disk's or the user's quota).
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

/// The system's sentence without Rust's `(os error 2)`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_manual() {
        assert_eq!(Error::recipe("x").exit_code(), 1);
        assert_eq!(Error::usage("x").exit_code(), 2);
        assert_eq!(Error::world("x").exit_code(), 3);
        assert_eq!(Error::interrupted().exit_code(), 3);
        assert_eq!(Error::recipe("x").head(), "error");
        assert_eq!(Error::recipe("x").with_code("E6004").head(), "error[E6004]");
    }

    #[test]
    fn system_errors_are_sentences_and_a_full_disk_says_what_to_do() {
        let path = Path::new("a/model.safetensors");
        let missing = Error::io("read", path, &io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(missing.to_string(), "cannot read `a/model.safetensors`: no such file or directory");
        let full = Error::io("write", path, &io::Error::from_raw_os_error(libc::ENOSPC));
        assert!(full.message.contains("disk is full") && full.message.contains("a/model.safetensors"));
        assert!(full.help.is_some_and(|h| h.contains("--out")));
    }
}
