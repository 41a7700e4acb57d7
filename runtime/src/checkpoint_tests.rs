//! Files, folders and shards, right and wrong. Every refusal leaves the folder as it was.

use super::*;
use crate::testing::{Temp, good};

const TWO: &[(&str, DType, &[u64])] = &[("a", DType::BF16, &[2, 3]), ("b", DType::F32, &[4])];

fn index(pairs: &[(&str, &str)]) -> String {
    let map: serde_json::Map<_, _> = pairs.iter().map(|(t, s)| ((*t).to_owned(), (*s).into())).collect();
    serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map }).to_string()
}

fn refused(temp: &Temp, path: &Path, says: &[&str]) -> Error {
    let before = temp.listing();
    let error = Checkpoint::open(path).expect_err("it is wrong");
    assert_eq!(error.exit_code(), 3);
    let all = error.to_string();
    says.iter().for_each(|s| assert!(all.contains(s), "`{all}` does not say `{s}`"));
    assert!(error.help.is_some(), "no remedy: {all}");
    assert_eq!(temp.listing(), before, "nothing is written");
    error
}

#[test]
fn a_file_and_its_folder_are_the_same_checkpoint() {
    let temp = Temp::new("cp-file");
    let path = temp.file("m/model.safetensors", good(TWO, &[(ROLE_KEY, "deltas")]));
    let (file, folder) = (Checkpoint::open(&path).expect("file"), Checkpoint::open(&temp.path().join("m")).expect("folder"));
    assert_eq!(file.tensors, folder.tensors);
    assert_eq!(file.role, Some(Role::Deltas));
    assert_eq!((file.folder(), folder.folder()), (None, Some(&*temp.path().join("m"))));
    assert_eq!(file.fingerprint().expect("readable"), folder.fingerprint().expect("readable"));
    let b = &file.tensors["b"];
    let mut bytes = [0; 4];
    file.read_at(b.file, b.offset + 2, &mut bytes).expect("in range");
    assert_eq!(bytes, [3, 4, 5, 6]);
}

#[test]
fn the_only_other_file_of_a_folder_is_taken_and_two_are_refused() {
    let temp = Temp::new("cp-other");
    temp.file("m/weights.safetensors", good(TWO, &[]));
    temp.file("m/config.json", "{}");
    assert_eq!(Checkpoint::open(&temp.path().join("m")).expect("one file").tensors.len(), 2);
    temp.file("m/more.safetensors", good(TWO, &[]));
    refused(&temp, &temp.path().join("m"), &["2 safetensors files", "`more.safetensors`", INDEX]);
}

#[test]
fn shards_are_opened_through_the_index() {
    let temp = Temp::new("cp-shards");
    temp.file("m/s1.safetensors", good(&TWO[..1], &[]));
    temp.file("m/s2.safetensors", good(&TWO[1..], &[]));
    temp.file("m/stray.safetensors", "not read");
    temp.file("m/model.safetensors.index.json", index(&[("a", "s1.safetensors"), ("b", "s2.safetensors")]));
    let found = Checkpoint::open(&temp.path().join("m")).expect("sharded");
    assert_eq!((found.files.len(), found.tensors["b"].file), (2, 1));
}

#[test]
fn an_index_and_its_shards_must_agree() {
    let temp = Temp::new("cp-index");
    let folder = temp.path().join("m");
    temp.file("m/s1.safetensors", good(&TWO[..1], &[]));
    temp.file("m/s2.safetensors", good(&TWO[1..], &[]));
    let with = |pairs: &[(&str, &str)], says: &[&str]| {
        temp.file("m/model.safetensors.index.json", index(pairs));
        refused(&temp, &folder, &[&[INDEX], says].concat());
    };
    with(
        &[("a", "s1.safetensors"), ("b", "s3.safetensors")],
        &["tensor `b`", "`s3.safetensors`, which is missing", "there is a `s1.safetensors`"],
    );
    with(
        &[("a", "s2.safetensors"), ("b", "s1.safetensors")],
        &["tensor `a`", "not in the shard `s2.safetensors` but in `s1.safetensors`"],
    );
    with(&[("a", "s1.safetensors"), ("b", "s2.safetensors"), ("c", "s2.safetensors")], &["tensor `c`", "nor in any other"]);
    with(&[("a", "s1.safetensors"), ("c", "s2.safetensors")], &["tensor `c`"]);
    temp.file("m/s1.safetensors", good(TWO, &[]));
    with(&[("a", "s1.safetensors")], &["tensor `b`", "s1.safetensors", "not in the index"]);
    temp.file("m/model.safetensors.index.json", index(&[("a", "s1.safetensors"), ("b", "s2.safetensors")]));
    refused(&temp, &folder, &["s2.safetensors", "tensor `b`", "in the shard `s1.safetensors` too"]);
}

#[test]
fn an_index_may_not_lead_out_of_its_folder() {
    let temp = Temp::new("cp-outside");
    let secret = temp.file("x.safetensors", good(TWO, &[]));
    for shard in ["../x.safetensors", "sub/../../x.safetensors", &secret.display().to_string(), ""] {
        temp.file("m/model.safetensors.index.json", index(&[("a", shard)]));
        refused(&temp, &temp.path().join("m"), &["tensor `a`", shard, "outside the folder"]);
    }
}

#[test]
fn a_damaged_index() {
    let temp = Temp::new("cp-badindex");
    for (text, says) in [
        ("{", "not valid JSON"),
        ("{}", "no `weight_map`"),
        (r#"{"weight_map":{"a":3}}"#, "tensor `a` is mapped to 3"),
        ("[]", "no `weight_map`"),
    ] {
        temp.file("m/model.safetensors.index.json", text);
        refused(&temp, &temp.path().join("m"), &[INDEX, says]);
    }
}

#[test]
fn a_corrupt_shard_is_named_with_its_offset() {
    let temp = Temp::new("cp-cut");
    let bytes = good(TWO, &[]);
    temp.file("m/s1.safetensors", &bytes[..bytes.len() - 1]);
    temp.file("m/model.safetensors.index.json", index(&[("a", "s1.safetensors"), ("b", "s1.safetensors")]));
    refused(
        &temp,
        &temp.path().join("m"),
        &["s1.safetensors` is corrupt at byte", &format!("{}", bytes.len() - 1), "tensor `b`"],
    );
}

#[test]
fn other_formats_are_answered_with_a_remedy() {
    let temp = Temp::new("cp-formats");
    temp.file("bin/pytorch_model.bin", "x");
    refused(&temp, &temp.path().join("bin"), &["pickled", "save_pretrained"]);
    refused(&temp, &temp.path().join("bin/pytorch_model.bin"), &["pickled"]);
    temp.file("lora/adapter_model.bin", "x");
    refused(&temp, &temp.path().join("lora"), &["adapter", "pickled", "save_pretrained"]);
    refused(&temp, &temp.path().join("lora/adapter_model.bin"), &["adapter", "pickled"]);
    temp.file("gg/model.gguf", "x");
    refused(&temp, &temp.path().join("gg"), &["GGUF"]);
    temp.file("empty/notes.txt", "x");
    refused(&temp, &temp.path().join("empty"), &["no safetensors file"]);
    refused(&temp, &temp.path().join("empty/notes.txt"), &["not a safetensors file"]);
    temp.file("i/model.safetensors.index.json", "{}");
    refused(&temp, &temp.path().join("i/model.safetensors.index.json"), &["is an index", "name its folder"]);
}

#[test]
fn a_missing_path_offers_what_is_there() {
    let temp = Temp::new("cp-missing");
    temp.file("mistral-7b/model.safetensors", good(TWO, &[]));
    refused(&temp, &temp.path().join("mistrl-7b"), &["no checkpoint at", "did you mean", "mistral-7b"]);
    refused(&temp, &temp.path().join("llama"), &["the folder", "is there"]);
    refused(&temp, &temp.path().join("deep/er/llama"), &["is not there either", &temp.path().display().to_string()]);
    refused(&temp, &temp.path().join("mistral-7b/model.safetensors/x"), &["is a file, not a folder"]);
}

#[test]
fn a_file_that_shrinks_is_noticed() {
    let temp = Temp::new("cp-shrinks");
    let path = temp.file("model.safetensors", good(TWO, &[]));
    let checkpoint = Checkpoint::open(&path).expect("good");
    File::options().write(true).open(&path).and_then(|f| f.set_len(100)).expect("shrunk");
    let b = &checkpoint.tensors["b"];
    let error = checkpoint.read_at(b.file, b.offset, &mut [0; 16]).expect_err("gone");
    assert!(error.message.contains("model.safetensors") && error.message.contains("shrank while it was read"), "{error}");
    assert!(error.message.contains(&format!("bytes {} to {}", b.offset, b.offset + 16)), "{error}");
}

#[test]
fn the_fingerprint_sees_headers_ends_and_lengths() {
    let temp = Temp::new("cp-print");
    let of = |name: &str, bytes: &[u8]| Checkpoint::open(&temp.file(name, bytes)).and_then(|c| c.fingerprint()).expect("good");
    let bytes = good(&[("x", DType::U8, &[20_000])], &[]);
    let first = of("a.safetensors", &bytes);
    assert_eq!(first.len(), 64);
    assert_eq!(first, of("b.safetensors", &bytes), "a copy has the same one");
    let mut changed = bytes.clone();
    *changed.last_mut().expect("not empty") ^= 1;
    assert_ne!(first, of("c.safetensors", &changed));
    assert_ne!(first, of("d.safetensors", &good(&[("y", DType::U8, &[20_000])], &[])));
}

#[test]
fn roles_that_disagree_or_are_unknown() {
    let temp = Temp::new("cp-roles");
    temp.file("m/s1.safetensors", good(&TWO[..1], &[(ROLE_KEY, "deltas")]));
    temp.file("m/s2.safetensors", good(&TWO[1..], &[(ROLE_KEY, "weights")]));
    temp.file("m/model.safetensors.index.json", index(&[("a", "s1.safetensors"), ("b", "s2.safetensors")]));
    refused(&temp, &temp.path().join("m"), &["do not agree"]);
    let path = temp.file("n.safetensors", good(TWO, &[(ROLE_KEY, "dreams")]));
    refused(&temp, &path, &["`dreams`", "newer version"]);
}
