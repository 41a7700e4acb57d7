//! The corrupt corpus of single files. Each asserts what the message names: file, position, tensor, remedy.

use super::*;
use crate::testing::{Temp, good, raw};

fn open(test: &str, bytes: &[u8]) -> Result<Header, Error> {
    let temp = Temp::new(&format!("header-{test}"));
    let path = temp.file("model.safetensors", bytes);
    let found = read(&File::open(&path).expect("it was written"), bytes.len() as u64, &path);
    assert_eq!(temp.listing(), ["model.safetensors"], "reading writes nothing");
    found
}

/// The error names the file, the byte, and everything in `says`; it has a remedy.
fn refused(test: &str, bytes: &[u8], at: u64, says: &[&str]) {
    let error = open(test, bytes).expect_err("this file is corrupt");
    assert_eq!(error.exit_code(), 3, "{error}");
    assert!(error.help.is_some(), "no remedy: {error}");
    let place = format!("model.safetensors` is corrupt at byte {at}: ");
    for part in [place.as_str()].iter().chain(says) {
        assert!(error.message.contains(part), "`{}` does not say `{part}`", error.message);
    }
}

fn entry(name: &str, dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

fn file_of(entries: &[String], data: usize) -> (Vec<u8>, u64) {
    let json = format!("{{{}}}", entries.join(","));
    let bytes = raw(&json, &vec![0; data]);
    (bytes, 8 + json.len() as u64)
}

#[test]
fn a_good_file_is_read() {
    let bytes = good(&[("a", DType::BF16, &[2, 3]), ("b", DType::F32, &[]), ("c", DType::Bool, &[5])], &[("format", "pt")]);
    let header = open("good", &bytes).expect("it is good");
    assert_eq!(header.metadata["format"], "pt");
    let start = header.data_start;
    let found: Vec<_> =
        header.tensors.iter().map(|t| (t.name.as_str(), t.dtype, t.shape.clone(), t.offset - start, t.bytes)).collect();
    assert_eq!(
        found,
        [("a", DType::BF16, vec![2, 3], 0, 12), ("b", DType::F32, vec![], 12, 4), ("c", DType::Bool, vec![5], 16, 5)]
    );
}

#[test]
fn every_dtype_is_read() {
    for dtype in DType::ALL {
        let header = open(&format!("dtype-{dtype}"), &good(&[("x", dtype, &[3])], &[])).expect("it is good");
        assert_eq!((header.tensors[0].dtype, header.tensors[0].bytes), (dtype, 3 * dtype.size()));
    }
}

#[test]
fn entries_may_stand_in_any_order_and_the_header_may_be_padded() {
    let json = format!("{{{},{}}}    ", entry("b", "U8", "[2]", 1, 3), entry("a", "U8", "[1]", 0, 1));
    let header = open("order", &raw(&json, &[0; 3])).expect("it is good");
    assert_eq!(header.tensors.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn zero_size_tensors_are_fine_where_they_are_consistent() {
    let all: &[(&str, DType, &[u64])] = &[
        ("first", DType::F32, &[0, 4]),
        ("x", DType::F32, &[2]),
        ("between", DType::F32, &[0]),
        ("y", DType::U8, &[1]),
        ("last", DType::F16, &[3, 0]),
    ];
    let header = open("zero", &good(all, &[])).expect("it is good");
    assert_eq!(header.tensors.iter().filter(|t| t.bytes == 0).count(), 3);
    assert!(open("none", &raw("{}", &[])).expect("a file without tensors is consistent").tensors.is_empty());
    let (bytes, start) = file_of(&[entry("x", "F32", "[0, 4]", 0, 4)], 4);
    refused("zero-with-data", &bytes, start, &["tensor `x`", "takes 0 bytes", "hold 4"]);
}

#[test]
fn a_zero_size_tensor_inside_another_is_an_overlap() {
    let (bytes, start) = file_of(&[entry("x", "U8", "[4]", 0, 4), entry("z", "U8", "[0]", 2, 2)], 4);
    refused("zero-inside", &bytes, start + 2, &["tensor `z`", "overlaps with `x`"]);
}

#[test]
fn a_file_cut_before_or_inside_the_header() {
    refused("empty", &[], 0, &["the file ends here", "8 bytes"]);
    refused("short-prefix", &[1, 2, 3], 3, &["the file ends here"]);
    let bytes = good(&[("x", DType::F32, &[2])], &[]);
    refused("inside", &bytes[..20], 0, &["but only 12 follow"]);
}

#[test]
fn a_header_length_beyond_the_file_or_absurd() {
    let mut bytes = u64::MAX.to_le_bytes().to_vec();
    bytes.extend(b"{}");
    refused("length-max", &bytes, 0, &["18446744073709551615", "only 2 follow"]);
    // A sparse file really is that long, so only the cap stands between it and 200 MB of memory.
    let temp = Temp::new("header-absurd");
    let path = temp.file("model.safetensors", 200_000_000u64.to_le_bytes());
    let file = File::options().read(true).write(true).open(&path).expect("it was written");
    file.set_len(300_000_000).expect("a sparse file");
    let error = read(&file, 300_000_000, &path).expect_err("too long");
    assert!(error.message.contains("claims 200000000 bytes; at most 100000000"), "{error}");
}

#[test]
fn a_header_that_is_not_text_or_not_json() {
    let mut bytes = raw("{\"abc\": 1}", &[]);
    bytes[8 + 3] = 0xff;
    refused("utf8", &bytes, 11, &["not valid UTF-8"]);
    refused("json", &raw("{\"a\" 1}", &[]), 8 + 5, &["not valid JSON", "expected `:`"]);
    refused("eof", &raw("{\"a\":", &[]), 8 + 4, &["not valid JSON"]);
    refused("nothing", &raw("", &[]), 8, &["not valid JSON"]);
    refused("array", &raw("[1]", &[]), 8, &["an object that maps tensor names"]);
    refused("trailing", &raw("{} x", &[]), 8 + 3, &["not valid JSON", "trailing characters"]);
    let error = open("deep", &raw(&"[".repeat(100_000), &[])).expect_err("it nests");
    assert!(error.message.contains("corrupt"), "{error}");
}

#[test]
fn entries_that_are_not_entries_name_their_tensor() {
    let says = |json: &str, parts: &[&str]| {
        let error = open("entry", &raw(json, &[])).expect_err("it is wrong");
        parts.iter().for_each(|p| assert!(error.message.contains(p), "`{}` does not say `{p}`", error.message));
    };
    says(r#"{"x":{"dtype":"F32","shape":[1]}}"#, &["tensor `x`", "missing field `data_offsets`"]);
    says(r#"{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, &["tensor `x`", "-1"]);
    says(r#"{"x":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#, &["tensor `x`", "1.5"]);
    says(r#"{"x":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}"#, &["tensor `x`"]);
    says(r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}"#, &["tensor `x`"]);
    says(r#"{"x":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}"#, &["tensor `x`", "duplicate field `dtype`"]);
    says(r#"{"x":3}"#, &["tensor `x`"]);
    says(r#"{"__metadata__":{"a":1}}"#, &["`__metadata__`"]);
    says(r#"{"__metadata__":{"a":"1","a":"2"}}"#, &["`__metadata__`", "`a` is listed twice"]);
}

#[test]
fn a_name_listed_twice() {
    let (x, y) = (entry("x", "U8", "[1]", 0, 1), entry("x", "U8", "[1]", 1, 2));
    let at = 8 + 1 + x.len() as u64 + 1 + 2;
    refused("twice", &file_of(&[x, y], 2).0, at, &["tensor `x`: it is listed twice"]);
}

#[test]
fn an_empty_name() {
    refused("unnamed", &file_of(&[entry("", "U8", "[1]", 0, 1)], 1).0, 8, &["empty name"]);
}

#[test]
fn an_unknown_dtype_is_named() {
    refused("dtype", &file_of(&[entry("x", "F4", "[2]", 0, 1)], 1).0, 8, &["tensor `x`", "unknown dtype `F4`"]);
}

#[test]
fn a_shape_that_overflows() {
    for (i, shape) in ["[4294967296, 4294967296]", "[9223372036854775807, 3]", "[9223372036854775807, 9, 0]"].iter().enumerate() {
        let bytes = file_of(&[entry("x", "F32", shape, 0, 0)], 0).0;
        refused(&format!("overflow-{i}"), &bytes, 8, &["tensor `x`", "too large to count"]);
    }
}

#[test]
fn a_size_that_is_not_that_of_the_offsets() {
    let (bytes, start) = file_of(&[entry("x", "F32", "[3]", 0, 8)], 8);
    refused("size", &bytes, start, &["tensor `x`", "F32 [3] takes 12 bytes", "[0, 8] hold 8"]);
}

#[test]
fn offsets_that_overlap_leave_gaps_run_backwards_or_leave_the_file() {
    let (bytes, start) = file_of(&[entry("x", "U8", "[4]", 0, 4), entry("y", "U8", "[4]", 2, 6)], 6);
    refused("overlap", &bytes, start + 2, &["tensor `y`", "overlaps with `x`"]);
    let (bytes, start) = file_of(&[entry("x", "U8", "[4]", 0, 4), entry("y", "U8", "[4]", 0, 4)], 4);
    refused("same", &bytes, start, &["tensor `y`", "overlaps with `x`"]);
    let (bytes, start) = file_of(&[entry("x", "U8", "[2]", 0, 2), entry("y", "U8", "[2]", 3, 5)], 5);
    refused("gap", &bytes, start + 3, &["tensor `y`", "1 bytes before it belong to no tensor"]);
    let (bytes, start) = file_of(&[entry("x", "U8", "[2]", 1, 3)], 3);
    refused("late", &bytes, start + 1, &["tensor `x`", "the header ends at byte"]);
    refused("backwards", &file_of(&[entry("x", "U8", "[2]", 2, 0)], 2).0, 8, &["tensor `x`", "[2, 0] run backwards"]);
    let (bytes, start) = file_of(&[entry("x", "U8", "[8]", 0, 8)], 5);
    refused("beyond", &bytes, start + 5, &["tensor `x`", &format!("should reach byte {}", start + 8), "the file ends"]);
    let (bytes, start) = file_of(&[entry("x", "U8", "[8]", 18446744073709551607, 18446744073709551615)], 5);
    refused("far", &bytes, start + 5, &["tensor `x`", "the file ends"]);
}

#[test]
fn bytes_after_the_last_tensor() {
    let (bytes, start) = file_of(&[entry("x", "U8", "[2]", 0, 2)], 7);
    refused("tail", &bytes, start + 2, &["goes on for 5 bytes"]);
}

/// Every cut and every changed byte of a header is either refused in words, or leaves a header that keeps the invariants.
#[test]
fn no_cut_and_no_changed_byte_gets_past_the_checks() {
    let bytes = good(
        &[("a", DType::BF16, &[2, 3]), ("bc", DType::F32, &[]), ("d.0", DType::U8, &[0, 5])],
        &[("format", "pt"), ("k", "v")],
    );
    let temp = Temp::new("header-mutants");
    let path = temp.file("model.safetensors", []);
    let data = 16;
    let try_one = |mutant: &[u8], what: &str| {
        let size = mutant.len() as u64;
        // Files are slow to write, and only the length and cuts need one.
        let found = if mutant.len() == bytes.len() && mutant[..8] == bytes[..8] {
            parse(&mutant[8..mutant.len() - data], size, &path)
        } else {
            std::fs::write(&path, mutant).expect("writable");
            read(&File::open(&path).expect("there"), size, &path)
        };
        match found {
            Err(error) => {
                assert!(
                    error.message.contains("model.safetensors` is corrupt at byte") && error.help.is_some(),
                    "{what}: {error}"
                );
                assert_eq!(error.exit_code(), 3);
            }
            Ok(header) => {
                let mut reached = header.data_start;
                for t in &header.tensors {
                    assert_eq!(t.offset, reached, "{what}");
                    assert_eq!(t.bytes, t.shape.iter().product::<u64>() * t.dtype.size(), "{what}");
                    reached += t.bytes;
                }
                assert_eq!(reached, size, "{what}");
            }
        }
    };
    for length in 0..bytes.len() {
        try_one(&bytes[..length], &format!("cut to {length}"));
    }
    for at in 0..bytes.len() - data {
        for byte in [0, b'"', b'0', b'9', b'{', b'}', b',', b'\\', b'-', b'e', b' ', 0x80, 0xff] {
            let mut mutant = bytes.clone();
            mutant[at] = byte;
            try_one(&mutant, &format!("byte {at} set to {byte}"));
        }
    }
}
