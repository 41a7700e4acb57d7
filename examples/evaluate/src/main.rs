//! Accuracy of the example networks, by an ndarray forward pass.
//!
//! Usage: `merge-evaluate DATA MODEL…`, each model a folder with `model.safetensors`. Prints one JSON
//! object a model: accuracy in per cent for each quadrant, or each way to show the digits, and their mean. What
//! network it is stands in its `config.json`. An example of the evaluator a user brings along; not part of the
//! product.

mod digits;
mod layers;
mod quadrants;

use safetensors::SafeTensors;
use std::{error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [data, models @ ..] = args.as_slice() else {
        return Err("usage: merge-evaluate DATA MODEL...".into());
    };
    let data = fs::read(data)?;
    let data = SafeTensors::deserialize(&data)?;
    for model in models {
        let folder = Path::new(model);
        let config: serde_json::Value = match fs::read(folder.join("config.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(_) => serde_json::Value::Null,
        };
        let bytes = fs::read(folder.join("model.safetensors"))?;
        let network = SafeTensors::deserialize(&bytes)?;
        let found = match config["model_type"].as_str() {
            Some("vit-mini" | "moe-mini" | "mlp-mini") => digits::accuracies(&data, &network, &config)?,
            _ => quadrants::accuracies(&data, &network)?,
        };
        let mut line: serde_json::Map<_, _> = found.iter().map(|(name, accuracy)| ((*name).into(), (*accuracy).into())).collect();
        line.insert("mean".into(), (found.iter().map(|(_, accuracy)| accuracy).sum::<f64>() / found.len() as f64).into());
        println!("{}", serde_json::Value::Object(line));
    }
    Ok(())
}
