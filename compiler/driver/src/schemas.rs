//! Names, dtypes and shapes of checkpoints, for the front end: headers only, or a `.schema` text.

use merge_runtime::checkpoint::Checkpoint;
use merge_sema::{Checkpoints, OpenError, Schema};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Opens checkpoints relative to a folder and remembers them.
pub struct Headers {
    pub folder: PathBuf,
    pub known: HashMap<String, Result<Arc<Schema>, OpenError>>,
    /// Whether some schema came from a `.schema` text, so that there is nothing to run on.
    pub without_weights: bool,
}

impl Checkpoints for Headers {
    fn open(&mut self, path: &str) -> Result<Arc<Schema>, OpenError> {
        if let Some(found) = self.known.get(path) {
            return found.clone();
        }
        let found = self.read(&self.folder.join(path));
        self.known.insert(path.to_owned(), found.clone());
        found
    }

    fn beside(&mut self, path: &str, file: &str) -> Result<Option<String>, OpenError> {
        let path = self.folder.join(path);
        let folder = if path.is_dir() { &*path } else { path.parent().unwrap_or(Path::new("")) };
        let file = folder.join(file);
        match std::fs::read_to_string(&file) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(OpenError { message: format!("cannot read `{}`: {e}", file.display()), help: None }),
        }
    }
}

impl Headers {
    fn read(&mut self, path: &Path) -> Result<Arc<Schema>, OpenError> {
        let is_schema = path.extension().is_some_and(|e| e == "schema");
        let beside = PathBuf::from(format!("{}.schema", path.display()));
        if is_schema || (!path.exists() && beside.exists()) {
            let file = if is_schema { path.to_owned() } else { beside };
            self.without_weights = true;
            let text = std::fs::read_to_string(&file)
                .map_err(|e| OpenError { message: format!("cannot read `{}`: {e}", file.display()), help: None })?;
            let parsed = merge_runtime::schema_text::parse(&text)
                .map_err(|e| OpenError { message: format!("{}: {}", file.display(), e.message), help: e.help })?;
            let tensors = parsed.tensors.into_iter();
            return Ok(Arc::new(Schema::new(tensors, parsed.role)));
        }
        let checkpoint = Checkpoint::open(path).map_err(|e| OpenError { message: e.message, help: e.help })?;
        let tensors = checkpoint.tensors.iter().map(|(name, t)| (name.clone(), t.dtype, t.shape.clone()));
        Ok(Arc::new(Schema::new(tensors, checkpoint.role)))
    }
}
