//! The quadrant networks: digits of 14 by 14 pixels that stand in one quadrant of the canvas.

use crate::layers::{LayerNorm, Linear, erf_gelu, right};
use ndarray::Array2;
use safetensors::SafeTensors;
use std::error::Error;

const SIDE: usize = 28;
const DIGIT: usize = 14;
const QUADRANTS: [(&str, usize, usize); 4] = [("nw", 0, 0), ("ne", 0, DIGIT), ("sw", DIGIT, 0), ("se", DIGIT, DIGIT)];

/// The accuracy of a network in each quadrant, in per cent.
pub fn accuracies(data: &SafeTensors, network: &SafeTensors) -> Result<Vec<(&'static str, f64)>, Box<dyn Error>> {
    let (data, network) = (Digits::read(data)?, Network::read(network)?);
    Ok(QUADRANTS.iter().map(|(name, top, left)| (*name, data.accuracy(&network, *top, *left))).collect())
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

    /// The percentage of images read right when each digit stands at (`top`, `left`) of the canvas.
    fn accuracy(&self, network: &Network, top: usize, left: usize) -> f64 {
        let mut canvas = Array2::<f64>::zeros((self.labels.len(), SIDE * SIDE));
        for (image, mut row) in self.images.chunks(DIGIT * DIGIT).zip(canvas.rows_mut()) {
            for (i, pixel) in image.iter().enumerate() {
                row[(top + i / DIGIT) * SIDE + left + i % DIGIT] = f64::from(*pixel) / 255.0;
            }
        }
        right(&network.forward(canvas), &self.labels)
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

impl Network {
    fn read(file: &SafeTensors) -> Result<Network, Box<dyn Error>> {
        Ok(Network {
            embed: Linear::read(file, "embed")?,
            norm_0: LayerNorm::read(file, "norm.0", 1e-5)?,
            hidden: Linear::read(file, "hidden")?,
            norm_1: LayerNorm::read(file, "norm.1", 1e-5)?,
            classifier: Linear::read(file, "classifier")?,
        })
    }

    fn forward(&self, x: Array2<f64>) -> Array2<f64> {
        let h = self.norm_0.apply(erf_gelu(self.embed.apply(&x)));
        let h = self.norm_1.apply(erf_gelu(self.hidden.apply(&h)));
        self.classifier.apply(&h)
    }
}
