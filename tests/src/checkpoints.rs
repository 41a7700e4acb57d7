//! Small checkpoints, written with the `safetensors` crate: not with our own writer, which is under test.

use crate::Random;
use merge_abi::DType;
use merge_interp::decode;
use safetensors::{SafeTensors, tensor::TensorView};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

/// A tensor with its entries as f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub entries: Vec<f64>,
}

/// `count` values around 0.
pub fn values(random: &mut Random, count: usize) -> Vec<f64> {
    (0..count).map(|_| random.normal() * 0.25).collect()
}

/// Entries in the stored form of a dtype, rounded to nearest even.
pub fn encode(dtype: DType, entries: &[f64]) -> Vec<u8> {
    macro_rules! bytes {
        ($convert:expr) => {
            entries.iter().flat_map(|v| $convert(*v).to_le_bytes()).collect()
        };
    }
    match dtype {
        DType::F64 => bytes!(|v: f64| v),
        DType::F32 => bytes!(|v: f64| v as f32),
        DType::F16 => bytes!(half::f16::from_f64),
        DType::BF16 => bytes!(half::bf16::from_f64),
        DType::I64 => bytes!(|v: f64| v as i64),
        DType::I32 => bytes!(|v: f64| v as i32),
        DType::U8 | DType::Bool => bytes!(|v: f64| v as u8),
        // The small floats have no encoder in the project: any byte is a number or NaN, so take the entry as the byte.
        DType::F8E4M3 | DType::F8E5M2 => bytes!(|v: f64| ((v.abs() * 100.0) as u8) & 0x77),
        other => panic!("the tests write no {other}"),
    }
}

fn safetensors_dtype(dtype: DType) -> safetensors::Dtype {
    match dtype {
        DType::F64 => safetensors::Dtype::F64,
        DType::F32 => safetensors::Dtype::F32,
        DType::F16 => safetensors::Dtype::F16,
        DType::BF16 => safetensors::Dtype::BF16,
        DType::F8E4M3 => safetensors::Dtype::F8_E4M3,
        DType::F8E5M2 => safetensors::Dtype::F8_E5M2,
        DType::I64 => safetensors::Dtype::I64,
        DType::I32 => safetensors::Dtype::I32,
        DType::U8 => safetensors::Dtype::U8,
        DType::Bool => safetensors::Dtype::BOOL,
        other => panic!("the tests write no {other}"),
    }
}

/// Writes `folder/model.safetensors` and a small `config.json`, or the file itself where the path ends so.
pub fn write_checkpoint<'a>(path: &Path, tensors: impl IntoIterator<Item = (&'a str, Tensor)>, metadata: &[(&str, &str)]) {
    let tensors: Vec<(&str, Tensor, Vec<u8>)> =
        tensors.into_iter().map(|(name, t)| (name, t.clone(), encode(t.dtype, &t.entries))).collect();
    let views = tensors.iter().map(|(name, t, bytes)| {
        let view = TensorView::new(safetensors_dtype(t.dtype), t.shape.clone(), bytes).expect("sizes agree");
        (*name, view)
    });
    let metadata: HashMap<String, String> = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let bytes = safetensors::serialize(views, (!metadata.is_empty()).then_some(metadata)).expect("serialisable");
    if path.extension().is_some_and(|e| e == "safetensors") {
        std::fs::write(path, bytes).expect("writable");
    } else {
        std::fs::create_dir_all(path).expect("writable");
        std::fs::write(path.join("model.safetensors"), bytes).expect("writable");
        std::fs::write(path.join("config.json"), "{\n  \"model_type\": \"tiny\",\n  \"num_hidden_layers\": 4\n}\n")
            .expect("writable");
    }
}

/// Writes an adapter's folder: `adapter_model.safetensors`, and `adapter_config.json` where there is a text for it.
pub fn write_adapter(folder: &Path, config: &str, tensors: &[(String, Vec<usize>)]) {
    let mut random = Random::new(folder.to_string_lossy().len() as u64);
    std::fs::create_dir_all(folder).expect("writable");
    let made = tensors.iter().map(|(name, shape)| {
        let entries = values(&mut random, shape.iter().product());
        (name.as_str(), Tensor { dtype: DType::F32, shape: shape.clone(), entries })
    });
    write_checkpoint(&folder.join("adapter_model.safetensors"), made.collect::<Vec<_>>(), &[]);
    if !config.is_empty() {
        std::fs::write(folder.join("adapter_config.json"), config).expect("writable");
    }
}

/// The adapters that the pages speak of: two that fit `base`, and one for each thing that can be wrong.
fn write_stand_in_adapters(folder: &Path) {
    const LORA: &str = "{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 8, \"target_modules\": [\"q_proj\"]";
    let factors = |prefix: &str, module: &str, inputs: usize, parts: &[&str]| -> Vec<(String, Vec<usize>)> {
        let layers = (0..4).flat_map(|l| parts.iter().map(move |p| (l, *p)));
        let shape = |part: &str| match part {
            "lora_A.weight" => vec![4, inputs],
            "lora_B.weight" => vec![8, 4],
            _ => vec![8],
        };
        layers.map(|(l, part)| (format!("base_model.model.{prefix}.{l}.{module}.{part}"), shape(part))).collect()
    };
    let (both, q) = (&["lora_A.weight", "lora_B.weight"][..], "self_attn.q_proj");
    let lora = format!("{LORA}}}");
    for name in ["my-lora", "other-lora"] {
        write_adapter(&folder.join(name), &lora, &factors("model.layers", q, 8, both));
    }
    let dora = ["lora_A.weight", "lora_B.weight", "lora_magnitude_vector"];
    write_adapter(&folder.join("my-dora"), &format!("{LORA}, \"use_dora\": true}}"), &factors("model.layers", q, 8, &dora));
    write_adapter(&folder.join("bare-lora"), "", &factors("model.layers", q, 8, both));
    write_adapter(&folder.join("boft"), "{\"peft_type\": \"BOFT\"}", &factors("model.layers", q, 8, &["boft_R"]));
    write_adapter(&folder.join("gpt-lora"), &lora, &factors("transformer.h", "attn.c_attn", 8, both));
    write_adapter(&folder.join("wide-lora"), &lora, &factors("model.layers", "mlp.down_proj", 24, both));
    write_adapter(&folder.join("half-lora"), &lora, &factors("model.layers", q, 8, &both[..1]));
    write_adapter(&folder.join("new-lora"), &format!("{LORA}, \"use_tomorrow\": true}}"), &factors("model.layers", q, 8, both));
    let activated = format!("{LORA}, \"alora_invocation_tokens\": [1, 2]}}");
    write_adapter(&folder.join("activated-lora"), &activated, &factors("model.layers", q, 8, both));
    write_adapter(&folder.join("mixed-lora"), &lora.replace("\"r\": 4", "\"r\": 8"), &factors("model.layers", q, 8, both));
    let vera = "{\"peft_type\": \"VERA\", \"r\": 8, \"save_projection\": false}";
    write_adapter(&folder.join("bare-vera"), vera, &factors("model.layers", q, 8, &["vera_lambda_b", "vera_lambda_d"]));
}

/// The checkpoint `backbone` that spaces of `examples/spaces` read: four layers of a small transformer, and a small convolutional
/// network.
pub fn write_backbone(folder: &Path) {
    let parts = [("q", [64, 64]), ("k", [64, 64]), ("v", [64, 64]), ("o", [64, 64]), ("up", [128, 64]), ("down", [64, 128])];
    let layers = (0..4).flat_map(|l| parts.map(|(p, shape)| (format!("layers.{l}.{p}.weight"), shape.to_vec())));
    let others = [("one", vec![16, 3, 3, 3]), ("two", vec![32, 16, 3, 3]), ("head", vec![10, 32])];
    let others = others.into_iter().map(|(p, shape)| (format!("{p}.weight"), shape));
    let mut random = Random::new(9);
    let made: Vec<(String, Tensor)> = layers
        .chain(others)
        .map(|(name, shape)| {
            let entries = values(&mut random, shape.iter().product());
            (name, Tensor { dtype: DType::F32, shape, entries })
        })
        .collect();
    write_checkpoint(&folder.join("backbone"), made.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
}

/// The checkpoints `encoder` and `pruned` that spaces of adapters read: a transformer of four layers, with biases. A third of the
/// entries of its linear layers is 0.
pub fn write_encoders(folder: &Path) {
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("model.embed_tokens.weight".into(), vec![20, 16]),
        ("lm_head.weight".into(), vec![20, 16]),
        ("model.norm.weight".into(), vec![16]),
        ("model.norm.bias".into(), vec![16]),
    ];
    for l in 0..4 {
        let mut add = |part: &str, shape: Vec<usize>| {
            shapes.push((format!("model.layers.{l}.{part}.bias"), vec![shape[0]]));
            shapes.push((format!("model.layers.{l}.{part}.weight"), shape));
        };
        for part in ["q", "k", "v", "o"] {
            add(&format!("self_attn.{part}_proj"), vec![16, 16]);
        }
        add("mlp.up_proj", vec![32, 16]);
        add("mlp.down_proj", vec![16, 32]);
        add("input_layernorm", vec![16]);
        add("post_attention_layernorm", vec![16]);
    }
    let mut random = Random::new(11);
    let made: Vec<(String, Tensor)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let mut entries = values(&mut random, shape.iter().product());
            if name.contains("_proj.weight") {
                entries.iter_mut().step_by(3).for_each(|e| *e = 0.0);
            }
            (name, Tensor { dtype: DType::F32, shape, entries })
        })
        .collect();
    for name in ["encoder", "pruned"] {
        write_checkpoint(&folder.join(name), made.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
    }
}

/// The checkpoints that the error pages and the annotated recipes speak of: `base`, `math`, `code`, `wide`
/// (as `base`, with a wider mlp), the statistics file `stats`, and adapters.
pub fn write_stand_ins(folder: &Path) {
    write_stand_in_adapters(folder);
    std::fs::create_dir_all(folder.join("empty")).expect("the folder is writable");
    for (seed, name) in ["base", "math", "code", "wide", "stats"].into_iter().enumerate() {
        let mut random = Random::new(seed as u64 + 1);
        let wide = if name == "wide" { 24 } else { 16 };
        let mut shapes: Vec<(String, Vec<usize>)> = vec![("model.embed_tokens.weight".into(), vec![12, 8])];
        for l in 0..4 {
            shapes.push((format!("model.layers.{l}.input_layernorm.weight"), vec![8]));
            shapes.push((format!("model.layers.{l}.mlp.down_proj.weight"), vec![8, wide]));
            shapes.push((format!("model.layers.{l}.mlp.up_proj.weight"), vec![wide, 8]));
            shapes.push((format!("model.layers.{l}.self_attn.q_proj.weight"), vec![8, 8]));
        }
        shapes.push(("model.norm.weight".into(), vec![8]));
        let mut tensors: Vec<(String, Tensor)> = shapes
            .into_iter()
            .map(|(name, shape)| {
                let entries = values(&mut random, shape.iter().product());
                (name, Tensor { dtype: DType::F32, shape, entries })
            })
            .collect();
        if name != "stats" {
            let positions = Tensor { dtype: DType::I64, shape: vec![4], entries: vec![0.0, 1.0, 2.0, 3.0] };
            tensors.push(("model.position_ids".into(), positions));
        }
        let metadata: &[(&str, &str)] = if name == "stats" { &[("merge.role", "tensors")] } else { &[] };
        write_checkpoint(&folder.join(name), tensors.iter().map(|(n, t)| (n.as_str(), t.clone())), metadata);
    }
}

/// The tensors of a safetensors file, read with the `safetensors` crate.
pub fn read_tensors(file: &Path) -> BTreeMap<String, Tensor> {
    let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let parsed = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let tensor = |view: &TensorView| {
        let name = format!("{:?}", view.dtype());
        let dtype = DType::from_safetensors(&name).unwrap_or_else(|| panic!("unknown dtype {name}"));
        Tensor { dtype, shape: view.shape().to_vec(), entries: decode(dtype, view.data()) }
    };
    parsed.tensors().iter().map(|(name, view)| (name.clone(), tensor(view))).collect()
}

/// The tensors of a folder, over all its safetensors files.
pub fn read_model(folder: &Path) -> BTreeMap<String, Tensor> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files = entries.map(|e| e.expect("readable").path()).filter(|p| p.extension().is_some_and(|e| e == "safetensors"));
    files.flat_map(|f| read_tensors(&f)).collect()
}
