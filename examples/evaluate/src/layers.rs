//! Layers as numpy would compute them, in f64.

use ndarray::{Array1, Array2, Axis, Ix1, Ix2};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::error::Error;

/// `x w^T + b`, with `w [out, in]`.
pub struct Linear {
    weight: Array2<f64>,
    bias: Array1<f64>,
}

/// Rows of mean 0 and deviation 1, then scaled and shifted.
pub struct LayerNorm {
    weight: Array1<f64>,
    bias: Array1<f64>,
    least: f64,
}

impl Linear {
    /// `NAME.weight` and `NAME.bias`.
    pub fn read(file: &SafeTensors, name: &str) -> Result<Linear, Box<dyn Error>> {
        Ok(Linear { weight: matrix(file, &format!("{name}.weight"))?, bias: vector(file, &format!("{name}.bias"))? })
    }

    /// The length of an output row.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Rows `[n, in]` to rows `[n, out]`.
    pub fn apply(&self, x: &Array2<f64>) -> Array2<f64> {
        x.dot(&self.weight.t()) + &self.bias
    }
}

impl LayerNorm {
    /// `NAME.weight` and `NAME.bias`; `least` is added to the variance.
    pub fn read(file: &SafeTensors, name: &str, least: f64) -> Result<LayerNorm, Box<dyn Error>> {
        Ok(LayerNorm { weight: vector(file, &format!("{name}.weight"))?, bias: vector(file, &format!("{name}.bias"))?, least })
    }

    /// Each row by itself.
    pub fn apply(&self, mut x: Array2<f64>) -> Array2<f64> {
        for mut row in x.axis_iter_mut(Axis(0)) {
            let n = row.len() as f64;
            let mean = row.sum() / n;
            let variance = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
            let scale = 1.0 / (variance + self.least).sqrt();
            row.zip_mut_with(&self.weight, |v, w| *v = (*v - mean) * scale * w);
            row += &self.bias;
        }
        x
    }
}

/// The exact GELU, by the error function.
pub fn erf_gelu(x: Array2<f64>) -> Array2<f64> {
    x.mapv(|v| v * 0.5 * (1.0 + libm::erf(v / std::f64::consts::SQRT_2)))
}

/// The percentage of rows whose largest entry stands at their label.
pub fn right(logits: &Array2<f64>, labels: &[u8]) -> f64 {
    let hits = logits.rows().into_iter().zip(labels).filter(|(row, label)| {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(i, _)| i);
        best == Some(usize::from(**label))
    });
    100.0 * hits.count() as f64 / labels.len() as f64
}

/// A tensor as a matrix: its first axis, and all others joined.
pub fn matrix(file: &SafeTensors, name: &str) -> Result<Array2<f64>, Box<dyn Error>> {
    let tensor = file.tensor(name)?;
    let rows = tensor.shape().first().copied().unwrap_or(1);
    let shape = ndarray::IxDyn(&[rows, tensor.shape().iter().product::<usize>() / rows.max(1)]);
    Ok(ndarray::ArrayD::from_shape_vec(shape, numbers(&tensor)?)?.into_dimensionality::<Ix2>()?)
}

/// A tensor with one axis.
pub fn vector(file: &SafeTensors, name: &str) -> Result<Array1<f64>, Box<dyn Error>> {
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
