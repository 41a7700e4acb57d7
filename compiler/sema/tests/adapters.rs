//! Adapter files of any shape and config are answered: by a graph that its verifier takes, or by a diagnostic, never by
//! a panic.

mod support;

use merge_abi::DType;
use merge_sema::{Answers, Checkpoints, OpenError, Schema};
use std::sync::Arc;
use support::{Random, run_with, transformer};

/// A base, and an adapter with its config.
struct Files {
    base: Arc<Schema>,
    adapter: Arc<Schema>,
    config: String,
}

impl Checkpoints for Files {
    fn open(&mut self, path: &str) -> Result<Arc<Schema>, OpenError> {
        Ok(if path == "base" { self.base.clone() } else { self.adapter.clone() })
    }

    fn beside(&mut self, path: &str, _file: &str) -> Result<Option<String>, OpenError> {
        Ok((path != "base").then(|| self.config.clone()))
    }
}

/// A `peft_type`, a module of the base, and tensors that fit it; a part that starts with `!` belongs to all modules.
type Fitting = (&'static str, &'static str, &'static [(&'static str, &'static [u64])]);

const Q: &str = "model.layers.0.self_attn.q_proj";

const FITTING: [Fitting; 12] = [
    ("LORA", Q, &[("lora_A.weight", &[2, 4]), ("lora_B.weight", &[4, 2])]),
    ("LORA", "model.layers.1.mlp.up_proj", &[("lora_A.weight", &[2, 4]), ("lora_B.weight", &[6, 2])]),
    ("LORA", Q, &[("lora_A.weight", &[2, 4]), ("lora_B.weight", &[4, 2]), ("lora_magnitude_vector", &[4])]),
    ("LORA", "model.embed_tokens", &[("lora_embedding_A", &[2, 12]), ("lora_embedding_B", &[4, 2])]),
    ("LORA", "model.norm", &[("weight", &[4])]),
    ("ADALORA", Q, &[("lora_A", &[3, 4]), ("lora_B", &[4, 3]), ("lora_E", &[3, 1]), ("ranknum", &[1])]),
    ("LOHA", Q, &[("hada_w1_a", &[4, 2]), ("hada_w1_b", &[2, 4]), ("hada_w2_a", &[4, 2]), ("hada_w2_b", &[2, 4])]),
    (
        "LOHA",
        Q,
        &[("hada_w1_a", &[2, 4]), ("hada_w1_b", &[2, 4]), ("hada_t1", &[2, 2]), ("hada_w2_a", &[4, 2]), ("hada_w2_b", &[2, 4])],
    ),
    ("LOKR", Q, &[("lokr_w1", &[2, 2]), ("lokr_w2_a", &[2, 3]), ("lokr_w2_b", &[3, 2])]),
    ("LOKR", "model.layers.1.mlp.up_proj", &[("lokr_w1_a", &[3, 1]), ("lokr_w1_b", &[1, 2]), ("lokr_w2", &[2, 2])]),
    ("IA3", Q, &[("ia3_l", &[4, 1])]),
    ("VERA", Q, &[("vera_lambda_b", &[4]), ("vera_lambda_d", &[2]), ("!vera_A", &[2, 6]), ("!vera_B", &[6, 2])]),
];

/// The same in kohya's form; the kind does not count.
const KOHYA: [Fitting; 3] = [
    ("LORA", Q, &[("lora_down.weight", &[2, 4]), ("lora_up.weight", &[4, 2]), ("alpha", &[])]),
    (
        "LORA",
        Q,
        &[("lora_down.weight", &[2, 4]), ("lora_mid.weight", &[3, 2]), ("lora_up.weight", &[4, 3]), ("dora_scale", &[1, 4])],
    ),
    ("LORA", Q, &[("diff", &[4, 4])]),
];

#[test]
fn adapters_of_any_shape_are_answered() {
    let base = Arc::new(transformer(2, 4, 6, DType::F32));
    let (mut fit, mut misfit) = (0, 0);
    for seed in 1..3000u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let kohya = random.below(4) == 0;
        let all: &[Fitting] = if kohya { &KOHYA } else { &FITTING };
        let (kind, module, parts) = *random.pick(all);
        let mut tensors: Vec<(String, Vec<u64>)> = parts.iter().map(|(p, s)| ((*p).to_string(), s.to_vec())).collect();
        // Some stay as they are; others lose a tensor, an axis or a length, or take a part of another kind.
        for _ in 0..random.below(3) {
            let at = random.below(tensors.len());
            match random.below(5) {
                0 if tensors.len() > 1 => drop(tensors.remove(at)),
                1 => drop(tensors[at].1.pop()),
                2 => tensors[at].1.push(*random.pick(&[0, 1, 2])),
                3 => {
                    let other = random.pick(all).2;
                    tensors[at].0 = random.pick(other).0.to_string();
                }
                _ => tensors[at].1.iter_mut().for_each(|n| *n = *random.pick(&[*n, *n, 0, 1, 2, 3, 4, 8])),
            }
        }
        let named = tensors.into_iter().map(|(part, shape)| {
            let name = match part.strip_prefix('!') {
                Some(shared) => format!("base_model.{shared}"),
                None if kohya => format!("lora_unet_{}.{part}", module.replace('.', "_")),
                None => format!("base_model.model.{module}.{part}"),
            };
            (name, DType::F32, shape)
        });
        let adapter = Arc::new(Schema::new(named, None));
        let config = format!(
            "{{\"peft_type\": \"{kind}\", \"r\": {}, \"init_r\": 3, \"lora_alpha\": 4, \"alpha\": 2, \"use_dora\": {}, \"fan_in_fan_out\": {}}}",
            if random.below(8) == 0 { 3 } else { 2 },
            random.below(8) == 0,
            random.below(8) == 0
        );
        let mut files = Files { base: base.clone(), adapter, config };
        let recipe = "let base = checkpoint(\"base\")\nlet a = adapter(\"a\", on: base)\nsave base + a to \"x\"\nsave a to \"y\" as peft\n";
        let outcome = run_with(recipe, &mut files, &Answers::default());
        if outcome.codes().iter().all(|c| *c == "E3306") {
            fit += 1;
            let found = merge_ir::tir::verify(&outcome.elaborated.graph);
            assert!(found.is_empty(), "seed {seed}: {found:?}");
        } else {
            misfit += 1;
            assert!(outcome.diagnostics.iter().any(|d| d.is_error()), "seed {seed}: {}", outcome.said());
        }
    }
    assert!(fit > 500 && misfit > 500, "{fit} adapters fit and {misfit} do not: one side is hardly tried");
}
