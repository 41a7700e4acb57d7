//! Corrupt and hostile checkpoints through the command line: the file and the place are named, the exit code
//! says that it is the world's fault, and nothing is written. Each fault by itself is tested in the runtime.

use merge_tests::{Folder, mergec, write_stand_ins};
use std::{fs, path::Path};

const RECIPE: &str = "let base = checkpoint(\"base\")\nlet math = checkpoint(\"math\")\n\
    save like base {\n    \"model.position_ids\" => base\n    _ => lerp(base, math, 0.5)\n} to \"out\"\n";

/// A file of this header and so many bytes of data.
fn file_of(json: &str, data: usize) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![0; data]].concat()
}

fn entry(name: &str, dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!("\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{begin},{end}]}}")
}

fn said(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = mergec(folder, arguments).output().expect("mergec starts");
    (output.status.code().expect("it ends by itself"), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// `mergec inspect` and `mergec run` both refuse the checkpoint `math`, in these words.
fn refused(folder: &Folder, what: &str, words: &[&str]) {
    let names = || {
        let mut all: Vec<_> = fs::read_dir(folder.path()).expect("there").map(|e| e.expect("there").file_name()).collect();
        all.sort();
        all
    };
    let before = names();
    let (code, inspect) = said(folder.path(), &["inspect", "math"]);
    assert_eq!(code, 3, "{what}: {inspect}");
    // A report may break its lines anywhere, and draws a rule beside them.
    let squeezed = inspect.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ");
    words.iter().for_each(|w| assert!(squeezed.contains(w), "{what}: no `{w}` in {squeezed}"));
    let (code, run) = said(folder.path(), &["run", "r.merge"]);
    assert_eq!(code, 3, "{what}: {run}");
    assert!(run.contains("math") && !run.contains("panicked"), "{what}: {run}");
    assert_eq!(names(), before, "{what}: nothing may be written");
}

fn folder() -> Folder {
    let folder = Folder::new("corrupt");
    write_stand_ins(folder.path());
    folder.write("r.merge", RECIPE);
    folder
}

#[test]
fn corrupt_files() {
    let folder = folder();
    let file = folder.join("math/model.safetensors");
    let good = fs::read(&file).expect("written");
    let two = |a: String, b: String, data| file_of(&format!("{{{a},{b}}}"), data);
    let one = |a: String, data| file_of(&format!("{{{a}}}"), data);
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("nothing", Vec::new(), &["corrupt at byte 0", "ends here"]),
        ("cut in the header", good[..40].to_vec(), &["corrupt at byte 0", "only 32 follow"]),
        ("cut in the data", good[..good.len() - 5].to_vec(), &["tensor `", "the file ends at byte"]),
        ("more data", [&good[..], b"more"].concat(), &["4 bytes that belong to no tensor"]),
        (
            "length beyond the file",
            [&u64::MAX.to_le_bytes()[..], &good[8..]].concat(),
            &["corrupt at byte 0", "18446744073709551615"],
        ),
        ("not JSON", file_of("{\"a\" 1}", 0), &["not valid JSON"]),
        ("unknown dtype", one(entry("x", "Q4", "[2]", 0, 1), 1), &["tensor `x`", "unknown dtype `Q4`"]),
        ("overflow", one(entry("x", "F32", "[4294967296, 4294967296]", 0, 0), 0), &["tensor `x`", "too large"]),
        ("wrong size", one(entry("x", "F32", "[3]", 0, 8), 8), &["tensor `x`", "takes 12 bytes"]),
        ("out of range", one(entry("x", "U8", "[9]", 0, 9), 3), &["tensor `x`", "the file ends"]),
        ("backwards", one(entry("x", "U8", "[2]", 2, 0), 2), &["tensor `x`", "run backwards"]),
        ("overlap", two(entry("x", "U8", "[4]", 0, 4), entry("y", "U8", "[4]", 2, 6), 6), &["tensor `y`", "overlaps with `x`"]),
        ("gap", two(entry("x", "U8", "[2]", 0, 2), entry("y", "U8", "[2]", 3, 5), 5), &["tensor `y`", "belong to no tensor"]),
        ("twice", two(entry("x", "U8", "[1]", 0, 1), entry("x", "U8", "[1]", 1, 2), 2), &["tensor `x`", "listed twice"]),
        ("zero with data", one(entry("x", "F32", "[0, 4]", 0, 4), 4), &["tensor `x`", "takes 0 bytes"]),
    ];
    for (what, bytes, words) in cases {
        fs::write(&file, bytes).expect("writable");
        refused(&folder, what, &[&["math/model.safetensors"], words].concat());
    }
}

#[test]
fn corrupt_folders() {
    let folder = folder();
    fs::rename(folder.join("math/model.safetensors"), folder.join("math/s1.safetensors")).expect("moved");
    let index = |map: &str| folder.write("math/model.safetensors.index.json", &format!("{{\"weight_map\": {map}}}"));
    let norm = "model.norm.weight";
    for (what, map, words) in [
        ("missing shard", format!("{{\"{norm}\": \"s9.safetensors\"}}"), &["`s9.safetensors`, which is missing"][..]),
        ("outside", format!("{{\"{norm}\": \"../base/model.safetensors\"}}"), &["outside the folder"]),
        ("absolute", format!("{{\"{norm}\": \"/etc/passwd\"}}"), &["outside the folder"]),
        ("unlisted", format!("{{\"{norm}\": \"s1.safetensors\"}}"), &["not in the index"]),
        ("not there", "{\"nothing\": \"s1.safetensors\"}".to_owned(), &["tensor `nothing`"]),
        ("no names", "7".to_owned(), &["no `weight_map`"]),
    ] {
        index(&map);
        refused(&folder, what, &[&["model.safetensors.index.json"], words].concat());
    }
    fs::remove_file(folder.join("math/model.safetensors.index.json")).expect("there");
    fs::remove_file(folder.join("math/s1.safetensors")).expect("there");
    refused(&folder, "no weights", &["holds no safetensors file"]);
    folder.write("math/pytorch_model.bin", "x");
    refused(&folder, "pickled", &["pickled", "save_pretrained"]);
}
