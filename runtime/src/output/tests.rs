//! Whole outputs, written and read back, and everything that must be refused without leaving a trace.

use super::*;
use crate::{
    checkpoint::INDEX,
    testing::{Temp, good},
};
use merge_abi::{DType, OutTensor, Role};
use std::path::Path;

const MODEL: &[(&str, DType, &[u64])] =
    &[("a", DType::BF16, &[2, 3]), ("b", DType::F32, &[4]), ("c", DType::Bool, &[3]), ("d", DType::F32, &[0])];

pub(super) fn output(path: &Path, tensors: &[(&str, DType, &[u64])]) -> Output {
    Output {
        path: path.display().to_string(),
        role: Role::Weights,
        tensors: tensors.iter().map(|(n, d, s)| OutTensor { name: (*n).into(), dtype: *d, shape: s.to_vec() }).collect(),
        shard: None,
        like: None,
        tokenizer: None,
        config: Vec::new(),
        adapter: None,
        beside: merge_abi::Beside::default(),
        place: "recipe.merge:9:1".into(),
    }
}

fn provenance() -> Provenance {
    Provenance {
        recipe: "save base to \"out\"\n".into(),
        parameters: vec![("density".into(), 0.5.into()), ("seed".into(), 7.into())],
        inputs: vec![("base".into(), "0123".into())],
    }
}

/// Bytes of tensor `t` of an output in these tests.
fn data(output: &Output, t: usize) -> Vec<u8> {
    (0..output.tensors[t].bytes()).map(|i| (i as usize * 7 + t * 31 + 1) as u8).collect()
}

fn write_all(outputs: &[Output], checkpoints: &[Checkpoint]) -> Result<Vec<Written>, Error> {
    let writer = Writer::create(outputs, checkpoints, &[], &provenance())?;
    for (o, output) in outputs.iter().enumerate() {
        // Backwards and in pieces: order must not matter.
        for t in (0..output.tensors.len()).rev() {
            let bytes = data(output, t);
            let half = bytes.len() / 2;
            writer.write_at(o, t, half as u64, &bytes[half..])?;
            writer.write_at(o, t, 0, &bytes[..half])?;
        }
    }
    writer.finish()
}

/// Reads back every tensor.
fn matches(output: &Output) {
    let found = Checkpoint::open(Path::new(&output.path)).expect("it was written");
    assert_eq!(found.tensors.len(), output.tensors.len());
    for (t, tensor) in output.tensors.iter().enumerate() {
        let entry = &found.tensors[&tensor.name];
        assert_eq!((entry.dtype, &entry.shape), (tensor.dtype, &tensor.shape));
        assert_eq!(entry.offset % tensor.dtype.size(), 0, "aligned for readers that map the file");
        let mut bytes = vec![0; entry.bytes as usize];
        found.read_at(entry.file, entry.offset, &mut bytes).expect("in range");
        assert_eq!(bytes, data(output, t), "tensor {}", tensor.name);
    }
}

fn refused(temp: &Temp, outputs: &[Output], checkpoints: &[Checkpoint], exit: u8, says: &[&str]) {
    let before = temp.listing();
    let error = Writer::create(outputs, checkpoints, &[], &provenance()).expect_err("it must be refused");
    let all = error.to_string();
    says.iter().for_each(|s| assert!(all.contains(s), "`{all}` does not say `{s}`"));
    assert!(error.help.is_some(), "no remedy: {all}");
    assert_eq!(error.exit_code(), exit, "{all}");
    assert_eq!(temp.listing(), before, "nothing is written");
}

#[test]
fn a_folder_with_one_file() {
    let temp = Temp::new("out-one");
    let o = output(&temp.path().join("new/er/out"), MODEL);
    let written = write_all(std::slice::from_ref(&o), &[]).expect("written");
    matches(&o);
    assert_eq!(temp.listing(), ["new", "new/er", "new/er/out", "new/er/out/model.safetensors"]);
    let file = temp.path().join("new/er/out/model.safetensors");
    assert_eq!(written[0].bytes, fs::metadata(&file).expect("there").len());
    let bytes = fs::read(file).expect("there");
    assert_eq!(u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) % 8, 0, "the header is padded");
    let found = Checkpoint::open(Path::new(&o.path)).expect("good");
    let metadata = &found.files[0].metadata;
    assert_eq!(metadata["format"], "pt");
    assert_eq!(metadata["merge.recipe"], "save base to \"out\"\n");
    assert_eq!(metadata["merge.parameters"], r#"{"density":0.5,"seed":7}"#);
    assert_eq!(metadata["merge.inputs"], r#"{"base":"0123"}"#);
    assert_eq!((metadata["merge.role"].as_str(), found.role), ("weights", Some(Role::Weights)));
}

#[test]
fn one_file_without_a_folder() {
    let temp = Temp::new("out-file");
    let o = output(&temp.path().join("out.safetensors"), MODEL);
    write_all(std::slice::from_ref(&o), &[]).expect("written");
    matches(&o);
    write_all(std::slice::from_ref(&o), &[]).expect("Merge's own file is replaced");
    assert_eq!(temp.listing(), ["out.safetensors"]);
    refused(&temp, &[Output { shard: Some(8), ..o.clone() }], &[], 1, &["recipe.merge:9:1", "cannot be cut into shards"]);
    refused(&temp, &[Output { config: vec![("a".into(), "1".into())], ..o }], &[], 1, &["no `config.json`"]);
    let foreign = temp.file("theirs.safetensors", good(MODEL, &[]));
    refused(&temp, &[output(&foreign, MODEL)], &[], 3, &["will not replace", "theirs.safetensors", "--out"]);
    fs::create_dir(temp.path().join("d.safetensors")).expect("made");
    refused(&temp, &[output(&temp.path().join("d.safetensors"), MODEL)], &[], 3, &["it is a folder that Merge did not write"]);
}

#[test]
fn shards_hold_the_same_tensors_and_an_index() {
    let temp = Temp::new("out-shards");
    for (most, files) in [(1, 4), (16, 3), (28, 2), (1000, 1)] {
        let o = Output { shard: Some(most), ..output(&temp.path().join(format!("out-{most}")), MODEL) };
        write_all(std::slice::from_ref(&o), &[]).expect("written");
        matches(&o);
        assert_eq!(Checkpoint::open(Path::new(&o.path)).expect("good").files.len(), files, "shards of {most}");
    }
    let index: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(temp.path().join("out-16").join(INDEX)).expect("there")).expect("JSON");
    assert_eq!(index["metadata"]["total_size"], 12 + 16 + 3);
    assert_eq!(index["weight_map"]["b"], "model-00002-of-00003.safetensors");
    assert!(!temp.path().join("out-1000").join(INDEX).exists());
}

#[test]
fn nothing_at_all_can_be_saved_too() {
    let temp = Temp::new("out-empty");
    let o = output(&temp.path().join("out"), &[]);
    write_all(std::slice::from_ref(&o), &[]).expect("written");
    matches(&o);
}

#[test]
fn threads_may_write_side_by_side() {
    let temp = Temp::new("out-threads");
    let o = output(&temp.path().join("out"), &[("x", DType::U8, &[40_000]), ("y", DType::U8, &[40_000])]);
    let writer = Writer::create(std::slice::from_ref(&o), &[], &[], &provenance()).expect("made");
    std::thread::scope(|s| {
        for part in 0..8 {
            let (writer, o) = (&writer, &o);
            s.spawn(move || {
                for t in 0..2 {
                    let range = part * 5000..(part + 1) * 5000;
                    writer.write_at(0, t, range.start as u64, &data(o, t)[range]).expect("written");
                }
            });
        }
    });
    writer.finish().expect("moved");
    matches(&o);
}

#[test]
fn a_dropped_writer_leaves_nothing_and_the_old_output_stays() {
    let temp = Temp::new("out-drop");
    let o = output(&temp.path().join("new/out"), MODEL);
    let writer = Writer::create(std::slice::from_ref(&o), &[], &[], &provenance()).expect("made");
    assert!(temp.listing().iter().any(|p| p.starts_with("new/.out.partial-")), "{:?}", temp.listing());
    drop(writer);
    assert_eq!(temp.listing(), Vec::<String>::new());
    write_all(std::slice::from_ref(&o), &[]).expect("written");
    let before = temp.listing();
    drop(Writer::create(std::slice::from_ref(&o), &[], &[], &provenance()).expect("made"));
    assert_eq!(temp.listing(), before);
    matches(&o);
}

#[test]
fn an_output_of_merge_is_replaced_whole() {
    let temp = Temp::new("out-again");
    let path = temp.path().join("out");
    write_all(&[Output { shard: Some(1), config: vec![("a".into(), "1".into())], ..output(&path, MODEL) }], &[])
        .expect("written");
    assert!(path.join("config.json").exists() && path.join(INDEX).exists());
    let second = output(&path, &MODEL[..1]);
    write_all(std::slice::from_ref(&second), &[]).expect("replaced");
    matches(&second);
    assert_eq!(temp.listing(), ["out", "out/model.safetensors"], "no old shards, index or config stay");
}

#[test]
fn what_is_not_merges_is_not_replaced() {
    let temp = Temp::new("out-foreign");
    fs::create_dir(temp.path().join("empty")).expect("made");
    write_all(&[output(&temp.path().join("empty"), MODEL)], &[]).expect("an empty folder is filled");
    temp.file("model/model.safetensors", good(MODEL, &[]));
    refused(&temp, &[output(&temp.path().join("model"), MODEL)], &[], 3, &["will not replace", "`model.safetensors`"]);
    temp.file("empty/results.txt", "mine");
    refused(&temp, &[output(&temp.path().join("empty"), MODEL)], &[], 3, &["`results.txt`", "move that away"]);
    let file = temp.file("file", "x");
    refused(&temp, &[output(&file, MODEL)], &[], 3, &["it is a file"]);
    refused(&temp, &[output(&file.join("below"), MODEL)], &[], 3, &["is a file"]);
    refused(&temp, &[output(Path::new("/"), MODEL)], &[], 2, &["cannot be the name of an output"]);
}

#[test]
fn an_output_may_not_replace_an_input() {
    let temp = Temp::new("out-input");
    let file = temp.file("models/base/model.safetensors", good(MODEL, &[("merge.recipe", "x")]));
    let (models, base) = (temp.path().join("models"), temp.path().join("models/base"));
    std::os::unix::fs::symlink(&base, temp.path().join("link")).expect("linked");
    for input in [&base, &file, &temp.path().join("link")] {
        let inputs = [Checkpoint::open(input).expect("good")];
        for out in [&base, &models, &models.join("base/../base"), &temp.path().join("link")] {
            refused(&temp, &[output(out, MODEL)], &inputs, 2, &["would replace the input"]);
        }
    }
    let inputs = [Checkpoint::open(&file).expect("good")];
    refused(&temp, &[output(&file, MODEL)], &inputs, 2, &["would replace the input"]);
    write_all(&[output(&base.join("merged"), MODEL)], &inputs).expect("a folder inside an input's folder replaces nothing");
}

#[test]
fn two_outputs_need_two_places() {
    let temp = Temp::new("out-two");
    let (a, b) = (output(&temp.path().join("a"), MODEL), output(&temp.path().join("b"), &MODEL[..2]));
    write_all(&[a.clone(), b.clone()], &[]).expect("written");
    matches(&a);
    matches(&b);
    refused(&temp, &[a.clone(), output(&temp.path().join("./a"), MODEL)], &[], 1, &["cannot both be written"]);
    refused(&temp, &[a, output(&temp.path().join("a/in"), MODEL)], &[], 1, &["cannot both be written"]);
}

#[test]
fn a_disk_that_is_too_small_is_noticed_before_anything() {
    let temp = Temp::new("out-space");
    let huge = output(&temp.path().join("out"), &[("x", DType::U8, &[1 << 60])]);
    refused(&temp, &[huge], &[], 3, &["not enough space", "it needs 1.2 EB", "are free"]);
    let beyond = output(&temp.path().join("out"), &[("x", DType::F32, &[1 << 62, 2])]);
    let error = Writer::create(&[beyond], &[], &[], &provenance()).expect_err("too large");
    assert!(error.message.contains("too large to count"), "{error}");
}

#[test]
fn writes_beyond_a_tensor_are_refused() {
    let temp = Temp::new("out-beyond");
    let writer = Writer::create(&[output(&temp.path().join("out"), MODEL)], &[], &[], &provenance()).expect("made");
    assert!(writer.write_at(0, 0, 0, &[0; 13]).is_err() && writer.write_at(0, 0, 12, &[0]).is_err());
    assert!(writer.write_at(0, 0, u64::MAX, &[0]).is_err() && writer.write_at(0, 0, 12, &[]).is_ok());
}

#[test]
fn sizes_are_readable() {
    let shown: Vec<String> = [0, 999, 1000, 4_950_000_000, u64::MAX].map(human).into();
    assert_eq!(shown, ["0 bytes", "999 bytes", "1.0 kB", "5.0 GB", "18.4 EB"]);
}

#[test]
fn start_values_and_files_lie_beside_the_model() {
    let temp = Temp::new("beside");
    let mut o = output(&temp.path().join("out"), &[("a", DType::F32, &[2]), ("b", DType::F32, &[3]), ("a", DType::F32, &[4])]);
    o.beside.apart = Some(merge_abi::Apart { file: "start.safetensors".into(), tensors: 1 });
    let pieces = vec![
        merge_abi::FilePiece::Bytes(b"{\"gain\": ".to_vec()),
        merge_abi::FilePiece::Setting(merge_abi::SettingId(1)),
        merge_abi::FilePiece::Bytes(b"}".to_vec()),
    ];
    o.beside.files.push(merge_abi::OutFile { name: "graph.json".into(), pieces });
    let writer = Writer::create(std::slice::from_ref(&o), &[], &[0.0, 0.25], &provenance()).expect("made");
    for t in 0..3 {
        writer.write_at(0, t, 0, &data(&o, t)).expect("written");
    }
    writer.finish().expect("renamed");
    let folder = temp.path().join("out");
    assert_eq!(fs::read_to_string(folder.join("graph.json")).expect("there"), "{\"gain\": 0.25}");
    let open = |name: &str| Checkpoint::open(&folder.join(name)).expect("it was written");
    assert_eq!(open("model.safetensors").tensors.keys().collect::<Vec<_>>(), ["a", "b"]);
    let start = open("start.safetensors");
    let entry = &start.tensors["a"];
    let mut bytes = vec![0; entry.bytes as usize];
    start.read_at(entry.file, entry.offset, &mut bytes).expect("in range");
    assert_eq!(bytes, data(&o, 2), "one name in both files");
    assert_eq!(Checkpoint::open(&folder).expect("a model").tensors.len(), 2, "the folder is the model");

    // Where nothing of the model is written, there is no file of it.
    let mut alone = output(&temp.path().join("alone"), &[("a", DType::F32, &[2])]);
    alone.beside.apart = Some(merge_abi::Apart { file: "start.safetensors".into(), tensors: 1 });
    write_all(&[alone], &[]).expect("written");
    let names: Vec<_> = fs::read_dir(temp.path().join("alone")).expect("there").map(|e| e.expect("read").file_name()).collect();
    assert_eq!(names, ["start.safetensors"]);
}
