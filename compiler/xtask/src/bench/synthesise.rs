//! Checkpoints made up for the benchmark, with the shapes of real models.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

/// Width of an attention head.
const HEAD: u64 = 64;

/// Shapes of a Llama.
struct Llama {
    hidden: u64,
    layers: u64,
    intermediate: u64,
    kv: u64,
    vocabulary: u64,
}

impl Llama {
    /// Names and shapes in file order.
    fn tensors(&self) -> Vec<(String, Vec<u64>)> {
        let (h, m) = (self.hidden, self.intermediate);
        let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![self.vocabulary, h])];
        for l in 0..self.layers {
            let mut add = |name: &str, shape: Vec<u64>| tensors.push((format!("model.layers.{l}.{name}.weight"), shape));
            add("self_attn.q_proj", vec![h, h]);
            add("self_attn.k_proj", vec![self.kv, h]);
            add("self_attn.v_proj", vec![self.kv, h]);
            add("self_attn.o_proj", vec![h, h]);
            add("mlp.gate_proj", vec![m, h]);
            add("mlp.up_proj", vec![m, h]);
            add("mlp.down_proj", vec![h, m]);
            add("input_layernorm", vec![h]);
            add("post_attention_layernorm", vec![h]);
        }
        tensors.push(("model.norm.weight".to_owned(), vec![h]));
        tensors.push(("lm_head.weight".to_owned(), vec![self.vocabulary, h]));
        tensors
    }

    fn config(&self) -> String {
        format!(
            "{{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\",\n  \"hidden_size\": {},\n  \
             \"num_hidden_layers\": {},\n  \"intermediate_size\": {},\n  \"num_attention_heads\": {},\n  \
             \"num_key_value_heads\": {},\n  \"vocab_size\": {},\n  \"torch_dtype\": \"bfloat16\"\n}}\n",
            self.hidden,
            self.layers,
            self.intermediate,
            self.hidden / HEAD,
            self.kv / HEAD,
            self.vocabulary
        )
    }
}

/// The shapes of a 1.1B Llama, or a tenth of it: a base and three fine-tunes in bf16.
pub fn checkpoints(folder: &Path, quick: bool) -> Result<(), String> {
    let model = Llama {
        hidden: 2048,
        layers: if quick { 1 } else { 22 },
        intermediate: 5632,
        kv: 256,
        vocabulary: if quick { 16000 } else { 32000 },
    };
    fine_tunes(folder, &model)
}

/// A base and three fine-tunes with one layer of half the width, or an eighth: a decomposition's time grows with the third
/// power. Gives the shapes of the layer's matrices.
pub fn layer(folder: &Path, quick: bool) -> Result<Vec<(u64, u64)>, String> {
    let hidden = if quick { 256 } else { 1024 };
    let model = Llama { hidden, layers: 1, intermediate: hidden * 11 / 4, kv: hidden / 4, vocabulary: 1000 };
    fine_tunes(folder, &model)?;
    let tensors = model.tensors();
    let matrices = tensors.iter().filter(|(name, _)| name.starts_with("model.layers."));
    Ok(matrices.filter_map(|(_, shape)| if let [o, i] = shape[..] { Some((o, i)) } else { None }).collect())
}

fn fine_tunes(folder: &Path, model: &Llama) -> Result<(), String> {
    for (which, name) in ["base", "a", "b", "c"].into_iter().enumerate() {
        let file = folder.join(name);
        fs::create_dir_all(&file).map_err(|e| e.to_string())?;
        fs::write(file.join("config.json"), model.config()).map_err(|e| e.to_string())?;
        if file.join("model.safetensors").exists() {
            continue;
        }
        println!("making {}", file.display());
        let partial = file.join("model.partial");
        write_model(&partial, model, which as u64).map_err(|e| format!("{}: {e}", partial.display()))?;
        fs::rename(&partial, file.join("model.safetensors")).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// The headers of a 70B Llama over files without data (sparse), four of them.
pub fn headers_of_70b(folder: &Path) -> Result<(), String> {
    let model = Llama { hidden: 8192, layers: 80, intermediate: 28672, kv: 1024, vocabulary: 32000 };
    for name in ["base", "a", "b", "c"] {
        let file = folder.join(name);
        fs::create_dir_all(&file).map_err(|e| e.to_string())?;
        fs::write(file.join("config.json"), model.config()).map_err(|e| e.to_string())?;
        let (header, data) = header(&model);
        let mut out = File::create(file.join("model.safetensors")).map_err(|e| e.to_string())?;
        out.write_all(&header).map_err(|e| e.to_string())?;
        out.set_len(header.len() as u64 + data).map_err(|e| format!("no sparse files here: {e}"))?;
    }
    Ok(())
}

/// Header bytes, length included, and the number of data bytes.
fn header(model: &Llama) -> (Vec<u8>, u64) {
    let mut at = 0;
    let entries: Vec<String> = model
        .tensors()
        .iter()
        .map(|(name, shape)| {
            let start = at;
            at += 2 * shape.iter().product::<u64>();
            format!("\"{name}\":{{\"dtype\":\"BF16\",\"shape\":{shape:?},\"data_offsets\":[{start},{at}]}}")
        })
        .collect();
    let mut text = format!("{{{}}}", entries.join(","));
    while text.len() % 8 != 0 {
        text.push(' ');
    }
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    (bytes, at)
}

/// Entries of roughly normal distribution, standard deviation 0.02; fine-tunes move each by about a tenth of that.
fn write_model(path: &Path, model: &Llama, which: u64) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let (header, _) = header(model);
    out.write_all(&header)?;
    let mut chunk = vec![0u8; 1 << 16];
    for (t, (_, shape)) in model.tensors().iter().enumerate() {
        let entries: u64 = shape.iter().product();
        let mut base = Noise(0x9e37_79b9_7f4a_7c15 ^ ((t as u64) << 20));
        let mut own = Noise(0xd1b5_4a32_d192_ed03 ^ ((t as u64) << 20) ^ (which << 50));
        let mut left = entries;
        while left > 0 {
            let n = left.min(chunk.len() as u64 / 2) as usize;
            for pair in chunk[..2 * n].chunks_exact_mut(2) {
                let start = base.next() * 0.02;
                let value = if which == 0 { start } else { start + own.next() * 0.002 };
                pair.copy_from_slice(&bf16(value).to_le_bytes());
            }
            out.write_all(&chunk[..2 * n])?;
            left -= n as u64;
        }
    }
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_data()
}

fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// Numbers of mean 0 and standard deviation 1: sums of eight bytes of a xorshift generator.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let pairs = (self.0 & 0x00ff_00ff_00ff_00ff) + ((self.0 >> 8) & 0x00ff_00ff_00ff_00ff);
        let sum = pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48;
        // Eight uniform bytes: mean 1020, variance 8 * (256 * 256 - 1) / 12.
        (sum as f32 - 1020.0) / 209.0
    }
}
