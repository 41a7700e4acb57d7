//! What is exported says the same as the graph: by the schemas, by ONNX's checker, and computed by ONNX's reference evaluator.
//!
//! The graphs are texts in `cases`; `check.py` runs where `MERGE_TEST_PYTHON` names a Python with numpy, onnx and jsonschema, which
//! `cargo xtask test` prepares.

use merge_abi::{DType, FilePiece, OutFile, Role};
use merge_interp::Interpreter;
use merge_ir::tir::{Graph, Layer, NodeId, Op, OutTensor, Output, Trained, parse, verify};
use merge_package::{About, GRAPH, MANIFEST, STARTS, files};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A graph whose start values are an output, as elaboration makes one.
fn graph(name: &str) -> Graph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(format!("{name}.tir"));
    let mut graph = parse(&std::fs::read_to_string(path).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(verify(&graph), Vec::<String>::new(), "{name}");
    let starts = graph.parameters.iter().map(|p| OutTensor { name: p.name.clone(), node: p.start, dtype: DType::F32 });
    let tensors: Vec<OutTensor> = starts.collect();
    let span = graph.node(NodeId(0)).span;
    graph.outputs.push(Output {
        path: "out".into(),
        role: Role::Weights,
        trained: Some(Trained {
            networks: 0..graph.networks.len() as u32,
            reweighted: 0..graph.reweighted.len() as u32,
            starts: tensors.len() as u32,
            file: STARTS.into(),
        }),
        tensors,
        shard: None,
        like: None,
        tokenizer: None,
        config: Vec::new(),
        adapter: None,
        place: "t.merge:1:1".into(),
        span,
    });
    graph
}

fn exported(graph: &Graph) -> Vec<OutFile> {
    files(graph, &graph.outputs[0], About { space: Some("5eed"), place: &|_| "t.merge:1:1".to_owned() })
}

fn text(files: &[OutFile], name: &str, settings: &[f64]) -> String {
    let file = files.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no {name}"));
    String::from_utf8(file.contents(settings, &[])).unwrap()
}

/// Numbers of about -2 to 2 that never repeat soon; whole ones for ids.
fn numbers(name: &str, count: usize) -> Vec<f64> {
    let mut state = name.bytes().fold(17u64, |s, b| s.wrapping_mul(31).wrapping_add(u64::from(b)));
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // As f32 has them, so that nobody rounds.
        if name == "ids" { (state >> 33) as f64 % 11.0 } else { f64::from((state >> 40) as f32 / (1u64 << 22) as f32 - 2.0) }
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn entry(shape: &[u64], entries: Vec<f64>) -> Value {
    let entries: Vec<Value> =
        entries.into_iter().map(|x| if x.is_finite() { x.into() } else { Value::from(x.to_string()) }).collect();
    json!({ "shape": shape, "entries": entries })
}

/// Writes a package with its start values, and what the reference interpreter makes of random inputs.
fn write(graph: &Graph, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let settings: Vec<f64> = graph.settings.iter().map(|s| s.default).collect();
    let read = |s: &merge_abi::Source| Ok(numbers(&s.name, s.shape.iter().product::<u64>() as usize));
    let mut interpreter = Interpreter::new(graph, settings.clone(), 0, &read);

    let mut data = Vec::new();
    let mut header = Map::new();
    let mut offsets = Vec::new();
    for (tensor, p) in graph.outputs[0].tensors.iter().zip(&graph.parameters) {
        let start = interpreter.value(tensor.node).unwrap();
        let entries: u64 = p.shape.iter().product();
        offsets.push(data.len() as u64);
        data.extend(start.iter().cycle().take(entries as usize).flat_map(|x| (*x as f32).to_le_bytes()));
        header.insert(
            p.name.clone(),
            json!({ "dtype": "F32", "shape": &p.shape[..], "data_offsets": [offsets.last(), data.len()] }),
        );
    }
    let header = Value::Object(header).to_string();
    offsets.iter_mut().for_each(|o| *o += 8 + header.len() as u64);
    let starts = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    std::fs::write(folder.join(STARTS), starts).unwrap();
    for file in exported(graph) {
        std::fs::write(folder.join(&file.name), file.contents(&settings, &offsets)).unwrap();
    }

    let mut inputs = Map::new();
    for s in &graph.sources {
        inputs.insert(s.name.clone(), entry(&s.shape, read(s).unwrap()));
    }
    for (id, node) in graph.nodes() {
        let Op::Layer { layer, inputs: operands } = &node.op else { continue };
        match &**layer {
            Layer::Input { name } => {
                let entries = numbers(name, node.shape.iter().product::<u64>() as usize);
                inputs.insert(name.clone(), entry(&node.shape, entries.clone()));
                assume(&mut interpreter, id, &node.shape, entries);
            }
            Layer::Module { .. } => {
                let doubled = interpreter.value(operands[0]).unwrap().iter().map(|x| 2.0 * x).collect();
                assume(&mut interpreter, id, &node.shape, doubled);
            }
            _ => {}
        }
    }
    let mut outputs = Map::new();
    for n in &graph.networks {
        let value = interpreter.value(n.output).unwrap_or_else(|e| panic!("{}: {e}", n.name));
        outputs.insert(n.name.clone(), entry(graph.shape(n.output), value.iter().copied().collect()));
    }
    std::fs::write(folder.join("case.json"), json!({ "inputs": inputs, "outputs": outputs }).to_string()).unwrap();
}

fn assume(interpreter: &mut Interpreter<'_>, id: NodeId, shape: &[u64], entries: Vec<f64>) {
    let dims: Vec<usize> = shape.iter().map(|n| *n as usize).collect();
    interpreter.assume(id, ndarray::ArrayD::from_shape_vec(dims, entries).unwrap());
}

#[test]
fn onnx_computes_what_the_reference_interpreter_does() {
    let Some(python) = std::env::var_os("MERGE_TEST_PYTHON") else {
        println!("no Python with onnx was prepared; `cargo xtask test` does that");
        return;
    };
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("packages-{}", std::process::id()));
    let cases = ["image", "sequence", "operators", "adapter"];
    let folders: Vec<PathBuf> = cases.iter().map(|c| root.join(c)).collect();
    for (case, folder) in cases.iter().zip(&folders) {
        write(&graph(case), folder);
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = Command::new(&python)
        .args([here.join("tests/check.py"), here.join("../../docs/schemas")])
        .args(&folders)
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}");
    assert_eq!(said.matches("checked ").count(), 5, "{said}");
    std::fs::remove_dir_all(&root).unwrap();
}

#[test]
fn the_graph_lists_each_node_once_and_settings_by_their_value() {
    let graph = graph("image");
    let made = exported(&graph);
    let parsed: Value = serde_json::from_str(&text(&made, GRAPH, &[0.125])).unwrap();
    assert_eq!(parsed["format"], "merge.graph/1");
    let nodes = parsed["nodes"].as_array().unwrap();
    // Without the nodes that are start values alone.
    let starts = 6;
    assert_eq!(nodes.len(), graph.len() - starts);
    let setting = nodes.iter().find(|n| n["attributes"]["setting"] == "slope").unwrap();
    assert_eq!((&setting["op"], &setting["attributes"]["value"]), (&json!("const"), &json!(0.125)));
    assert_eq!(
        parsed["parameters"][3],
        json!({ "name": "norm.mean", "shape": [4], "dtype": "F32", "trainable": false, "start": "constant(0.5)", "file": STARTS })
    );
    let params = 4 * 27 + 4 * 4 + 6 * 8 + 18 * 5 + 1;
    assert_eq!(parsed["costs"]["params"], params);
    assert_eq!(parsed["costs"]["trainable"], params - 8);
}

#[test]
fn the_manifest_names_the_candidate() {
    let made = exported(&graph("adapter"));
    let parsed: Value = serde_json::from_str(&text(&made, MANIFEST, &[])).unwrap();
    assert_eq!(parsed["space"], "5eed");
    assert_eq!(parsed["choices"], json!({ "adapter.rank": 2, "adapter.kind": "lora", "adapter.layers": [0, 1] }));
    let names: Vec<&Value> = parsed["tensors"].as_array().unwrap().iter().map(|t| &t["name"]).collect();
    assert_eq!(names, ["adapter.a", "adapter.b", "side"]);
    let onnx = parsed["onnx"].as_array().unwrap();
    assert_eq!(onnx[0], json!({ "network": "layers.0.q", "file": "layers.0.q.onnx" }));
    assert!(onnx[2]["file"].is_null() && onnx[2]["reason"].as_str().unwrap().contains("random"), "{onnx:?}");
    let with_settings: Value = serde_json::from_str(&text(&exported(&graph("operators")), MANIFEST, &[0.75])).unwrap();
    assert_eq!(with_settings["choices"], json!({ "half": 0.75 }));
}

#[test]
fn weights_are_named_by_their_places_in_the_file_of_start_values() {
    let made = exported(&graph("image"));
    let model = made.iter().find(|f| f.name == "model.onnx").unwrap();
    let offsets: Vec<u32> =
        model.pieces.iter().filter_map(|p| if let FilePiece::Offset { tensor } = p { Some(*tensor) } else { None }).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5, 6, 7]);
    let places: Vec<u64> = (0..8).map(|i| 1000 + i).collect();
    let bytes = model.contents(&[0.125], &places);
    let found = |wanted: &[u8]| bytes.windows(wanted.len()).filter(|w| *w == wanted).count();
    assert_eq!(found(b"00000000000000001005"), 1);
    assert_eq!(found(&0.125f32.to_le_bytes()), 1);
    // Nothing but numbers of the formula is in the model itself.
    assert!(bytes.len() < 4000, "{}", bytes.len());
}
