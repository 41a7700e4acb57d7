//! Lists the library files and the error pages, so that nobody keeps a list of them by hand.

use std::{env, fs, path::Path};

fn main() {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../..");
    let table = |name: &str, folder: &str, extension: &str| {
        let folder = root.join(folder).canonicalize().expect("the folder is part of the repository");
        println!("cargo:rerun-if-changed={}", folder.display());
        let mut files: Vec<_> = fs::read_dir(&folder).expect("readable").map(|f| f.expect("readable").path()).collect();
        files.retain(|f| f.extension().is_some_and(|e| e == extension));
        files.sort();
        let rows: String =
            files.iter().map(|f| format!("    ({:?}, include_str!({:?})),\n", f.file_stem().expect("a file name"), f)).collect();
        format!("pub const {name}: &[(&str, &str)] = &[\n{rows}];\n")
    };
    let text = table("LIBRARY", "stdlib", "merge") + &table("ERROR_PAGES", "docs/errors", "md");
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("embedded.rs");
    fs::write(out, text).expect("the build folder is writable");
}
