//! Accuracy of the quadrant networks of `examples/quadrants`, by an ndarray forward pass.
//!
//! Usage: `merge-evaluate DATA MODEL…`, each model a folder with `model.safetensors`. Prints one JSON
//! object a model: accuracy in per cent for each quadrant, and their mean. An example of the evaluator
//! a user brings along; not part of the product.

use ndarray::{Array1, Array2, Axis, Ix1, Ix2};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{error::Error, fs, path::Path};

const SIDE: usize = 28;
const DIGIT: usize = 14;
const QUADRANTS: [(&str, usize, usize); 4] = [("nw", 0, 0), ("ne", 0, DIGIT), ("sw", DIGIT, 0), ("se", DIGIT, DIGIT)];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [data, models @ ..] = args.as_slice() else {
        return Err("usage: merge-evaluate DATA MODEL...".into());
    };
    let data = fs::read(data)?;
    let data = Digits::read(&SafeTensors::deserialize(&data)?)?;
    for model in models {
        let bytes = fs::read(Path::new(model).join("model.safetensors"))?;
        let network = Network::read(&SafeTensors::deserialize(&bytes)?)?;
        let mut line = serde_json::Map::new();
        let mut total = 0.0;
        for (name, top, left) in QUADRANTS {
            let accuracy = 100.0 * data.accuracy(&network, top, left);
            total += accuracy;
            line.insert(name.into(), accuracy.into());
        }
        line.insert("mean".into(), (total / QUADRANTS.len() as f64).into());
        println!("{}", serde_json::Value::Object(line));
    }
    Ok(())
}

/// Test images `[n, 14, 14]` with their labels.
struct Digits {
    images: Vec<u8>,
    labels: Vec<u8>,
}

impl Digits {
    fn read(file: &SafeTensors) -> Result<Digits, Box<dyn Error>> {
        let images = file.tensor("images")?.data().to_vec();
        let labels = file.tensor("labels")?.data().to_vec();
        if images.len() != labels.len() * DIGIT * DIGIT {
            return Err("images and labels differ in number".into());
        }
        Ok(Digits { images, labels })
    }

    /// The share of images read right when each digit stands at (`top`, `left`) of the canvas.
    fn accuracy(&self, network: &Network, top: usize, left: usize) -> f64 {
        let mut canvas = Array2::<f64>::zeros((self.labels.len(), SIDE * SIDE));
        for (image, mut row) in self.images.chunks(DIGIT * DIGIT).zip(canvas.rows_mut()) {
            for (i, pixel) in image.iter().enumerate() {
                row[(top + i / DIGIT) * SIDE + left + i % DIGIT] = f64::from(*pixel) / 255.0;
            }
        }
        let logits = network.forward(canvas);
        let right = logits
            .rows()
            .into_iter()
            .zip(&self.labels)
            .filter(|(row, label)| {
                let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(i, _)| i);
                best == Some(usize::from(**label))
            })
            .count();
        right as f64 / self.labels.len() as f64
    }
}

/// `classifier(norm1(gelu(hidden(norm0(gelu(embed(x)))))))`.
struct Network {
    embed: Linear,
    norm_0: LayerNorm,
    hidden: Linear,
    norm_1: LayerNorm,
    classifier: Linear,
}

struct Linear {
    weight: Array2<f64>,
    bias: Array1<f64>,
}

struct LayerNorm {
    weight: Array1<f64>,
    bias: Array1<f64>,
}

impl Network {
    fn read(file: &SafeTensors) -> Result<Network, Box<dyn Error>> {
        let linear = |name: &str| -> Result<Linear, Box<dyn Error>> {
            Ok(Linear { weight: matrix(file, &format!("{name}.weight"))?, bias: vector(file, &format!("{name}.bias"))? })
        };
        let norm = |name: &str| -> Result<LayerNorm, Box<dyn Error>> {
            Ok(LayerNorm { weight: vector(file, &format!("{name}.weight"))?, bias: vector(file, &format!("{name}.bias"))? })
        };
        Ok(Network {
            embed: linear("embed")?,
            norm_0: norm("norm.0")?,
            hidden: linear("hidden")?,
            norm_1: norm("norm.1")?,
            classifier: linear("classifier")?,
        })
    }

    fn forward(&self, x: Array2<f64>) -> Array2<f64> {
        let h = self.norm_0.apply(gelu(self.embed.apply(&x)));
        let h = self.norm_1.apply(gelu(self.hidden.apply(&h)));
        self.classifier.apply(&h)
    }
}

impl Linear {
    fn apply(&self, x: &Array2<f64>) -> Array2<f64> {
        x.dot(&self.weight.t()) + &self.bias
    }
}

impl LayerNorm {
    fn apply(&self, mut x: Array2<f64>) -> Array2<f64> {
        for mut row in x.axis_iter_mut(Axis(0)) {
            let n = row.len() as f64;
            let mean = row.sum() / n;
            let variance = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
            let scale = 1.0 / (variance + 1e-5).sqrt();
            row.zip_mut_with(&self.weight, |v, w| *v = (*v - mean) * scale * w);
            row += &self.bias;
        }
        x
    }
}

/// The exact GELU, by the error function.
fn gelu(x: Array2<f64>) -> Array2<f64> {
    x.mapv(|v| v * 0.5 * (1.0 + libm::erf(v / std::f64::consts::SQRT_2)))
}

fn matrix(file: &SafeTensors, name: &str) -> Result<Array2<f64>, Box<dyn Error>> {
    let tensor = file.tensor(name)?;
    let shape = ndarray::IxDyn(tensor.shape());
    Ok(ndarray::ArrayD::from_shape_vec(shape, numbers(&tensor)?)?.into_dimensionality::<Ix2>()?)
}

fn vector(file: &SafeTensors, name: &str) -> Result<Array1<f64>, Box<dyn Error>> {
    let tensor = file.tensor(name)?;
    let shape = ndarray::IxDyn(tensor.shape());
    Ok(ndarray::ArrayD::from_shape_vec(shape, numbers(&tensor)?)?.into_dimensionality::<Ix1>()?)
}

fn numbers(tensor: &TensorView) -> Result<Vec<f64>, Box<dyn Error>> {
    let data = tensor.data();
    Ok(match tensor.dtype() {
        Dtype::F32 => data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect(),
        Dtype::BF16 => data.chunks_exact(2).map(|b| f64::from(f32::from_le_bytes([0, 0, b[0], b[1]]))).collect(),
        other => return Err(format!("the evaluator reads F32 and BF16, this is {other:?}").into()),
    })
}
