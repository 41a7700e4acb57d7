//! Programs with words swapped and dropped never make the front end panic: whatever stands there is answered.

mod support;

use merge_abi::DType;
use merge_sema::{Answers, Checkpoints, OpenError, Schema};
use std::sync::Arc;
use support::{Random, run_with, transformer};

/// Every path holds the same small model.
struct Anything(Arc<Schema>);

impl Checkpoints for Anything {
    fn open(&mut self, _path: &str) -> Result<Arc<Schema>, OpenError> {
        Ok(self.0.clone())
    }
}

/// Cuts a text into words and the signs between them.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    for (i, c) in text.char_indices() {
        let joined = c.is_alphanumeric() || c == '_';
        let before = text[..i].chars().next_back().is_some_and(|b| b.is_alphanumeric() || b == '_');
        if i > start && !(joined && before) {
            words.push(&text[start..i]);
            start = i;
        }
    }
    words.push(&text[start..]);
    words
}

#[test]
fn mutated_programs_are_answered() {
    let folder = format!("{}/../../tests/programs", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("there").map(|e| e.expect("readable").path()).collect();
    files.sort();
    let texts: Vec<String> = files.iter().map(|f| std::fs::read_to_string(f).expect("text")).collect();
    let mut schema = transformer(3, 8, 16, DType::BF16);
    schema.tensors.insert("model.scale".into(), merge_sema::TensorInfo { dtype: DType::F32, shape: vec![] });
    schema.tensors.insert("model.position_ids".into(), merge_sema::TensorInfo { dtype: DType::I64, shape: vec![4] });
    let schema = Arc::new(schema);
    let all: Vec<&str> = texts.iter().flat_map(|t| words(t)).filter(|w| !w.trim().is_empty()).collect();
    let seed = std::env::var("MERGE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_123);
    let rounds = std::env::var("MERGE_ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(6);
    println!("seed {seed}");
    let mut random = Random(seed);
    for text in &texts {
        for round in 0..rounds {
            let mut parts: Vec<&str> = words(text);
            for _ in 0..round {
                let at = random.below(parts.len());
                match random.below(3) {
                    0 => parts[at] = "",
                    1 => parts[at] = all[random.below(all.len())],
                    _ => {
                        let other = random.below(parts.len());
                        parts.swap(at, other);
                    }
                }
            }
            let mutated = parts.concat();
            let outcome = std::panic::catch_unwind(|| {
                run_with(&mutated, &mut Anything(schema.clone()), &Answers::default());
            });
            assert!(outcome.is_ok(), "seed {seed}: this recipe makes the compiler panic:\n{mutated}");
        }
    }
}
