//! Networks that read whole digits of 28 by 28 pixels: small transformers, mixtures of experts and perceptrons.
//!
//! Transformers are tried on the digits as they are, turned by 90 degrees, and mirrored with black and white exchanged;
//! the others on the digits as they are.

use crate::layers::{LayerNorm, Linear, matrix, right};
use ndarray::{Array2, Axis, concatenate, s};
use safetensors::SafeTensors;
use serde_json::Value;
use std::error::Error;

const SIDE: usize = 28;

/// The accuracy of a network for each way to show the digits, in per cent.
pub fn accuracies(data: &SafeTensors, network: &SafeTensors, config: &Value) -> Result<Vec<(&'static str, f64)>, Box<dyn Error>> {
    let images = data.tensor("images.plain")?.data();
    let labels = data.tensor("labels")?.data();
    if images.len() != labels.len() * SIDE * SIDE {
        return Err("images and labels differ in number".into());
    }
    let kind = config["model_type"].as_str().unwrap_or_default();
    let ways: &[(&str, Pixel)] = match kind {
        "vit-mini" => &[("plain", plain), ("rot90", turned), ("flip", flipped)],
        _ => &[("plain", plain)],
    };
    let mut found = Vec::new();
    for (name, pixel) in ways {
        let shown: Vec<u8> = images.chunks(SIDE * SIDE).flat_map(|image| show(image, *pixel)).collect();
        let logits = match kind {
            "mlp-mini" => perceptron(network, &shown)?,
            "moe-mini" => Transformer::experts(network, config)?.forward(&shown),
            _ => Transformer::vision(network, config)?.forward(&shown),
        };
        found.push((*name, right(&logits, labels)));
    }
    Ok(found)
}

/// What an image shows in a row and a column.
type Pixel = fn(&[u8], usize, usize) -> u8;

fn show(image: &[u8], pixel: Pixel) -> impl Iterator<Item = u8> + '_ {
    (0..SIDE * SIDE).map(move |i| pixel(image, i / SIDE, i % SIDE))
}

fn plain(image: &[u8], y: usize, x: usize) -> u8 {
    image[y * SIDE + x]
}

/// Counter-clockwise.
fn turned(image: &[u8], y: usize, x: usize) -> u8 {
    image[x * SIDE + SIDE - 1 - y]
}

fn flipped(image: &[u8], y: usize, x: usize) -> u8 {
    255 - image[y * SIDE + SIDE - 1 - x]
}

/// Linear layers with the positive part between them.
fn perceptron(file: &SafeTensors, images: &[u8]) -> Result<Array2<f64>, Box<dyn Error>> {
    let pixels = images.iter().map(|p| f64::from(*p) / 255.0).collect();
    let mut x = Array2::from_shape_vec((images.len() / (SIDE * SIDE), SIDE * SIDE), pixels)?;
    let layers = file.names().iter().filter(|n| n.ends_with(".weight")).count();
    for l in 0..layers {
        x = Linear::read(file, &format!("layers.{l}"))?.apply(&x);
        if l + 1 < layers {
            x.mapv_inplace(|v| v.max(0.0));
        }
    }
    Ok(x)
}

/// Blocks of attention and feed-forward layers over patches and one token of the class.
struct Transformer {
    patch: Linear,
    class: Array2<f64>,
    positions: Array2<f64>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
    heads: usize,
    size: usize,
}

struct Block {
    before: LayerNorm,
    /// Queries, keys, values, output.
    attention: [Linear; 4],
    after: LayerNorm,
    /// Layers up and down, whose outputs are averaged where there are several.
    experts: Vec<[Linear; 2]>,
    activation: fn(f64) -> f64,
}

impl Transformer {
    fn vision(file: &SafeTensors, config: &Value) -> Result<Transformer, Box<dyn Error>> {
        let names = Names {
            patch: "vit.embeddings.patch_embeddings",
            class: "vit.embeddings.cls_token",
            positions: "vit.embeddings.position_embeddings",
            block: "vit.encoder.layer",
            norms: ["layernorm_before", "layernorm_after"],
            norm: "vit.layernorm",
            head: "classifier",
        };
        let experts = |l: usize| vec![["up_proj", "down_proj"].map(|p| format!("vit.encoder.layer.{l}.mlp.{p}"))];
        Transformer::read(file, config, &names, &experts, tanh_gelu)
    }

    fn experts(file: &SafeTensors, config: &Value) -> Result<Transformer, Box<dyn Error>> {
        let names = Names {
            patch: "embed",
            class: "cls",
            positions: "pos",
            block: "block",
            norms: ["norm1", "norm2"],
            norm: "norm",
            head: "head",
        };
        let count = config["num_experts"].as_u64().unwrap_or(1) as usize;
        let stored = file.names();
        let experts = |l: usize| -> Vec<[String; 2]> {
            let merged = ["up", "down"].map(|p| format!("block.{l}.mlp.{p}"));
            if stored.iter().any(|n| n.starts_with(&merged[0])) {
                return vec![merged];
            }
            (0..count).map(|e| ["up", "down"].map(|p| format!("block.{l}.experts.{e}.{p}"))).collect()
        };
        Transformer::read(file, config, &names, &experts, |v| v.max(0.0))
    }

    fn read(
        file: &SafeTensors,
        config: &Value,
        names: &Names,
        experts: &dyn Fn(usize) -> Vec<[String; 2]>,
        activation: fn(f64) -> f64,
    ) -> Result<Transformer, Box<dyn Error>> {
        let number = |key: &str| config[key].as_u64().map(|n| n as usize).ok_or_else(|| format!("config.json has no `{key}`"));
        let least = config["layer_norm_eps"].as_f64().unwrap_or(1e-6);
        let mut blocks = Vec::new();
        for l in 0..number("num_hidden_layers")? {
            let at = format!("{}.{l}", names.block);
            let projection = |p: &str| Linear::read(file, &format!("{at}.attention.{p}_proj"));
            let mut pairs = Vec::new();
            for [up, down] in experts(l) {
                pairs.push([Linear::read(file, &up)?, Linear::read(file, &down)?]);
            }
            blocks.push(Block {
                before: LayerNorm::read(file, &format!("{at}.{}", names.norms[0]), least)?,
                attention: [projection("q")?, projection("k")?, projection("v")?, projection("o")?],
                after: LayerNorm::read(file, &format!("{at}.{}", names.norms[1]), least)?,
                experts: pairs,
                activation,
            });
        }
        let patch = Linear::read(file, names.patch)?;
        let width = patch.outputs();
        let rows = |name: &str| -> Result<Array2<f64>, Box<dyn Error>> {
            let all = matrix(file, name)?;
            let count = all.len() / width;
            Ok(all.into_shape_with_order((count, width))?)
        };
        Ok(Transformer {
            class: rows(names.class)?,
            positions: rows(names.positions)?,
            patch,
            blocks,
            norm: LayerNorm::read(file, names.norm, least)?,
            head: Linear::read(file, names.head)?,
            heads: number("num_attention_heads")?,
            size: number("patch_size")?,
        })
    }

    /// Logits of all images.
    fn forward(&self, images: &[u8]) -> Array2<f64> {
        let mut classes = Array2::zeros((0, self.class.ncols()));
        for image in images.chunks(SIDE * SIDE) {
            let patches = self.patch.apply(&patches(image, self.size));
            let mut x = concatenate![Axis(0), self.class, patches] + &self.positions;
            for block in &self.blocks {
                x = block.forward(x, self.heads);
            }
            classes.push_row(x.row(0)).expect("rows of one width");
        }
        self.head.apply(&self.norm.apply(classes))
    }
}

struct Names {
    patch: &'static str,
    class: &'static str,
    positions: &'static str,
    block: &'static str,
    norms: [&'static str; 2],
    norm: &'static str,
    head: &'static str,
}

impl Block {
    fn forward(&self, x: Array2<f64>, heads: usize) -> Array2<f64> {
        let normed = self.before.apply(x.clone());
        let [q, k, v, o] = &self.attention;
        let (q, k, v) = (q.apply(&normed), k.apply(&normed), v.apply(&normed));
        let width = q.ncols() / heads;
        let mut mixed = Array2::zeros(x.dim());
        for h in 0..heads {
            let part = s![.., h * width..(h + 1) * width];
            let scores = q.slice(part).dot(&k.slice(part).t()) / (width as f64).sqrt();
            mixed.slice_mut(part).assign(&softmax(scores).dot(&v.slice(part)));
        }
        let x = x + o.apply(&mixed);
        let normed = self.after.apply(x.clone());
        let share = 1.0 / self.experts.len() as f64;
        let outputs = self.experts.iter().map(|[up, down]| down.apply(&up.apply(&normed).mapv(self.activation)) * share);
        outputs.fold(x, |sum, y| sum + y)
    }
}

fn softmax(mut scores: Array2<f64>) -> Array2<f64> {
    for mut row in scores.rows_mut() {
        let top = row.fold(f64::NEG_INFINITY, |m, v| m.max(*v));
        row.mapv_inplace(|v| (v - top).exp());
        let total = row.sum();
        row /= total;
    }
    scores
}

/// Rows of pixels from -1 to 1, patch by patch.
fn patches(image: &[u8], size: usize) -> Array2<f64> {
    let across = SIDE / size;
    Array2::from_shape_fn((across * across, size * size), |(p, i)| {
        let (y, x) = (p / across * size + i / size, p % across * size + i % size);
        f64::from(image[y * SIDE + x]) / 127.5 - 1.0
    })
}

fn tanh_gelu(v: f64) -> f64 {
    0.5 * v * (1.0 + (0.797_884_560_802_865_4 * (v + 0.044_715 * v * v * v)).tanh())
}
