//! Merging the networks of `examples/quadrants`: mean accuracy over the four quadrants on 250 digits.

use crate::Problem;
use merge_search::{Assignment, Domain, Space, SpaceBuilder, TreeId, Value};
use ndarray::{Array1, Array2, Axis, s};
use safetensors::SafeTensors;
use std::collections::HashMap;
use std::path::Path;

const DIGIT: usize = 14;
const SIDE: usize = 28;
const DIGITS: usize = 250;
const MODELS: [&str; 4] = ["nw", "ne", "sw", "se"];
const CORNERS: [(usize, usize); 4] = [(0, 0), (0, DIGIT), (DIGIT, 0), (DIGIT, DIGIT)];
/// The classifier is the same in all five.
const GROUPS: [&str; 4] = ["embed", "norm.0", "hidden", "norm.1"];

fn weights_of(b: &mut SpaceBuilder) -> TreeId {
    let domain = Domain::Real { low: 0.0, high: 1.5, log: false };
    let each = MODELS.map(|model| b.decide(format!("w[{model}]"), domain.clone(), None));
    b.all(each)
}

/// For each group of tensors: a weight for each fine-tune.
pub fn weights(folder: &Path) -> Problem {
    let mut b = SpaceBuilder::new();
    let inner = weights_of(&mut b);
    let groups = GROUPS.map(|group| b.scope(group, inner));
    let root = b.all(groups);
    problem("quadrants, weights", b.finish(root).expect("a space"), folder, true)
}

/// For each group of tensors: weights, TIES with its density and lambda, or the base.
pub fn methods(folder: &Path) -> Problem {
    let mut b = SpaceBuilder::new();
    let (task, unit) = (weights_of(&mut b), b.unit());
    let ties = [
        b.decide("density", Domain::Real { low: 0.05, high: 1.0, log: false }, None),
        b.decide("lambda", Domain::Real { low: 0.0, high: 3.0, log: false }, None),
    ];
    let ties = b.all(ties);
    let groups = GROUPS.map(|group| {
        let arms = b.arms("method", [("task", task), ("ties", ties), ("base", unit)], None);
        b.scope(group, arms)
    });
    let root = b.all(groups);
    problem("quadrants, methods", b.finish(root).expect("a space"), folder, false)
}

fn problem(name: &'static str, space: Space, folder: &Path, reals: bool) -> Problem {
    let zoo = Zoo::read(folder);
    let score = move |space: &Space, assignment: &Assignment| zoo.accuracy(&zoo.merge(&space.named(assignment).collect()));
    Problem { name, space, score: Box::new(score), reals }
}

type Tensors = HashMap<String, Array2<f32>>;

struct Zoo {
    base: Tensors,
    /// What each fine-tune changed.
    deltas: Vec<Tensors>,
    /// The sizes of the changes, largest first.
    sizes: Vec<HashMap<String, Vec<f32>>>,
    /// `[digits, 196]`, from 0 to 1.
    images: Array2<f32>,
    labels: Vec<u8>,
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn tensors(path: &Path) -> Tensors {
    let bytes = read(path);
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let tensor = |(name, view): (&str, safetensors::tensor::TensorView)| {
        let numbers = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes")));
        let shape = match *view.shape() {
            [n] => (1, n),
            [m, n] => (m, n),
            _ => panic!("vectors and matrices"),
        };
        (name.to_owned(), Array2::from_shape_vec(shape, numbers.collect()).expect("as many numbers"))
    };
    file.iter().map(tensor).collect()
}

impl Zoo {
    fn read(folder: &Path) -> Zoo {
        let base = tensors(&folder.join("base/model.safetensors"));
        let delta = |model: &&str| {
            let tuned = tensors(&folder.join(model).join("model.safetensors"));
            tuned.into_iter().map(|(name, tensor)| (name.clone(), tensor - &base[&name])).collect()
        };
        let deltas: Vec<Tensors> = MODELS.iter().map(delta).collect();
        let sorted = |(name, delta): (&String, &Array2<f32>)| {
            let mut sizes: Vec<f32> = delta.iter().map(|x| x.abs()).collect();
            sizes.sort_by(|a, b| b.total_cmp(a));
            (name.clone(), sizes)
        };
        let sizes = deltas.iter().map(|delta| delta.iter().map(sorted).collect()).collect();
        let bytes = read(&folder.join("data/test.safetensors"));
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let images = file.tensor("images").expect("images").data()[..DIGITS * DIGIT * DIGIT].iter();
        let images = images.map(|pixel| f32::from(*pixel) / 255.0).collect();
        let images = Array2::from_shape_vec((DIGITS, DIGIT * DIGIT), images).expect("as many pixels");
        let labels = file.tensor("labels").expect("labels").data()[..DIGITS].to_vec();
        Zoo { base, deltas, sizes, images, labels }
    }

    fn merge(&self, choices: &HashMap<&str, &Value>) -> Tensors {
        let real = |path: String| match choices.get(path.as_str()) {
            Some(Value::Real(x)) => Some(*x as f32),
            _ => None,
        };
        let one = |(name, base): (&String, &Array2<f32>)| {
            let group = GROUPS.iter().find(|group| name.starts_with(**group));
            let Some(group) = group else { return (name.clone(), base.clone()) };
            let deltas: Vec<&Array2<f32>> = self.deltas.iter().map(|delta| &delta[name]).collect();
            let mut merged = base.clone();
            if let (Some(density), Some(lambda)) =
                (real(format!("{group}.method.ties.density")), real(format!("{group}.method.ties.lambda")))
            {
                let sizes: Vec<&[f32]> = self.sizes.iter().map(|sizes| sizes[name].as_slice()).collect();
                merged.scaled_add(lambda, &ties(&deltas, &sizes, density));
            }
            for (model, delta) in MODELS.iter().zip(deltas) {
                let weight = real(format!("{group}.w[{model}]")).or(real(format!("{group}.method.task.w[{model}]")));
                merged.scaled_add(weight.unwrap_or(0.0), delta);
            }
            (name.clone(), merged)
        };
        self.base.iter().map(one).collect()
    }

    fn accuracy(&self, model: &Tensors) -> f64 {
        let right: usize = CORNERS.iter().map(|corner| self.right(model, *corner)).sum();
        100.0 * right as f64 / (4 * DIGITS) as f64
    }

    /// Digits read right in one quadrant: only its inputs are not zero.
    fn right(&self, model: &Tensors, (top, left): (usize, usize)) -> usize {
        let whole = &model["embed.weight"];
        let mut embed = Array2::zeros((whole.nrows(), DIGIT * DIGIT));
        for row in 0..DIGIT {
            let from = (top + row) * SIDE + left;
            embed.slice_mut(s![.., row * DIGIT..(row + 1) * DIGIT]).assign(&whole.slice(s![.., from..from + DIGIT]));
        }
        let h = layer(&self.images, &embed, &model["embed.bias"]);
        let h = norm(h.mapv(gelu), model, "norm.0");
        let h = layer(&h, &model["hidden.weight"], &model["hidden.bias"]);
        let h = norm(h.mapv(gelu), model, "norm.1");
        let logits = layer(&h, &model["classifier.weight"], &model["classifier.bias"]);
        let best = |row: ndarray::ArrayView1<f32>| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(i, _)| i);
        logits.rows().into_iter().zip(&self.labels).filter(|(row, label)| best(*row) == Some(usize::from(**label))).count()
    }
}

/// TIES (arXiv 2306.01708): keep the largest changes, elect a sign by their sum, and average those that agree.
fn ties(deltas: &[&Array2<f32>], sizes: &[&[f32]], density: f32) -> Array2<f32> {
    let kept: Vec<Array2<f32>> = deltas
        .iter()
        .zip(sizes)
        .map(|(delta, sizes)| {
            let keep = ((density * sizes.len() as f32).round() as usize).clamp(1, sizes.len());
            let least = sizes[keep - 1];
            delta.mapv(|x| if x.abs() >= least { x } else { 0.0 })
        })
        .collect();
    let sum = kept.iter().fold(Array2::zeros(deltas[0].dim()), |sum: Array2<f32>, delta| sum + delta);
    let mut merged = Array2::zeros(sum.dim());
    let mut counts: Array2<f32> = Array2::zeros(sum.dim());
    for delta in &kept {
        ndarray::Zip::from(&mut merged).and(&mut counts).and(delta).and(&sum).for_each(|m, n, d, s| {
            if d * s > 0.0 {
                *m += d;
                *n += 1.0;
            }
        });
    }
    merged / counts.mapv(|n| n.max(1.0))
}

fn layer(x: &Array2<f32>, weight: &Array2<f32>, bias: &Array2<f32>) -> Array2<f32> {
    x.dot(&weight.t()) + bias.row(0)
}

fn norm(mut x: Array2<f32>, model: &Tensors, name: &str) -> Array2<f32> {
    let (weight, bias): (Array1<f32>, Array1<f32>) =
        (model[&format!("{name}.weight")].row(0).to_owned(), model[&format!("{name}.bias")].row(0).to_owned());
    for mut row in x.axis_iter_mut(Axis(0)) {
        let mean = row.sum() / row.len() as f32;
        let variance = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / row.len() as f32;
        let scale = 1.0 / (variance + 1e-5).sqrt();
        row.iter_mut().zip(weight.iter().zip(&bias)).for_each(|(v, (w, b))| *v = (*v - mean) * scale * w + b);
    }
    x
}

fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))
}
