//! Files for unit tests: temporary folders and safetensors bytes, right and wrong.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A folder that vanishes with the value.
pub(crate) struct Temp(tempfile::TempDir);

impl Temp {
    pub fn new(test: &str) -> Temp {
        Temp(tempfile::Builder::new().prefix(&format!("merge-{test}-")).tempdir().expect("a temporary folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, with its folders, and gives its path.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, bytes).expect("a file");
        path
    }

    /// Every path below, sorted.
    pub fn listing(&self) -> Vec<String> {
        fn walk(folder: &Path, top: &Path, all: &mut Vec<String>) {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                all.push(path.strip_prefix(top).expect("below").display().to_string());
                if path.is_dir() {
                    walk(&path, top, all);
                }
            }
        }
        let mut all = Vec::new();
        walk(self.path(), self.path(), &mut all);
        all.sort();
        all
    }
}

/// A file of a header's JSON and data, whatever they say.
pub(crate) fn raw(json: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.extend(data);
    bytes
}

/// A good file: name, dtype, shape; the data counts upwards from the tensor's index.
pub(crate) fn good(tensors: &[(&str, merge_abi::DType, &[u64])], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        let all: serde_json::Map<_, _> = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
        header.insert("__metadata__".into(), all.into());
    }
    let mut data = Vec::new();
    for (i, (name, dtype, shape)) in tensors.iter().enumerate() {
        let bytes = shape.iter().product::<u64>() * dtype.size();
        let begin = data.len() as u64;
        data.extend((0..bytes).map(|b| (b + i as u64) as u8));
        let entry =
            serde_json::json!({ "dtype": dtype.safetensors_name(), "shape": shape, "data_offsets": [begin, begin + bytes] });
        header.insert((*name).to_owned(), entry);
    }
    raw(&serde_json::Value::from(header).to_string(), &data)
}
