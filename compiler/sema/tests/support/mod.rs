//! Recipes elaborated over checkpoints that exist only as headers.

#![allow(dead_code)]

use merge_abi::{DType, Role};
use merge_base::{Diagnostic, Sources};
use merge_sema::{Answers, Checkpoints, Elaborated, ModuleMissing, Modules, OpenError, Schema, elaborate, resolve};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// Headers by path.
#[derive(Default)]
pub struct Fake {
    pub files: BTreeMap<String, Arc<Schema>>,
}

impl Fake {
    pub fn with(mut self, path: &str, role: Option<Role>, tensors: &[(&str, DType, &[u64])]) -> Fake {
        let tensors = tensors.iter().map(|(n, d, s)| (n.to_string(), *d, s.to_vec()));
        self.files.insert(path.into(), Arc::new(Schema::new(tensors, role)));
        self
    }

    pub fn and(mut self, path: &str, schema: &Schema) -> Fake {
        self.files.insert(path.into(), Arc::new(schema.clone()));
        self
    }
}

impl Checkpoints for Fake {
    fn open(&mut self, path: &str) -> Result<Arc<Schema>, OpenError> {
        self.files.get(path).cloned().ok_or_else(|| OpenError { message: format!("there is no `{path}`"), help: None })
    }
}

/// A transformer of `layers` layers.
pub fn transformer(layers: usize, hidden: u64, inner: u64, dtype: DType) -> Schema {
    let mut tensors: Vec<(String, DType, Vec<u64>)> =
        vec![("model.embed_tokens.weight".into(), dtype, vec![12, hidden]), ("model.norm.weight".into(), dtype, vec![hidden])];
    for l in 0..layers {
        let layer = |name: &str, shape: Vec<u64>| (format!("model.layers.{l}.{name}.weight"), dtype, shape);
        tensors.push(layer("self_attn.q_proj", vec![hidden, hidden]));
        tensors.push(layer("self_attn.o_proj", vec![hidden, hidden]));
        tensors.push(layer("mlp.up_proj", vec![inner, hidden]));
        tensors.push(layer("mlp.down_proj", vec![hidden, inner]));
        tensors.push(layer("input_layernorm", vec![hidden]));
    }
    Schema::new(tensors, None)
}

/// The checkpoints that the error pages speak of.
pub fn stand_ins() -> Fake {
    let model = |inner: u64, buffer: bool, role: Option<Role>| {
        let mut tensors: Vec<(String, DType, Vec<u64>)> = vec![("model.embed_tokens.weight".into(), DType::F32, vec![12, 8])];
        for l in 0..4 {
            tensors.push((format!("model.layers.{l}.self_attn.q_proj.weight"), DType::F32, vec![8, 8]));
            tensors.push((format!("model.layers.{l}.mlp.up_proj.weight"), DType::F32, vec![inner, 8]));
            tensors.push((format!("model.layers.{l}.mlp.down_proj.weight"), DType::F32, vec![8, inner]));
            tensors.push((format!("model.layers.{l}.input_layernorm.weight"), DType::F32, vec![8]));
        }
        tensors.push(("model.norm.weight".into(), DType::F32, vec![8]));
        if buffer {
            tensors.push(("model.position_ids".into(), DType::I64, vec![4]));
        }
        Schema::new(tensors, role)
    };
    Fake::default()
        .and("base", &model(16, true, None))
        .and("math", &model(16, true, None))
        .and("code", &model(16, true, None))
        .and("wide", &model(24, true, None))
        .and("stats", &model(16, false, Some(Role::Statistics)))
}

/// The library, read from the repository.
pub struct Library<'a> {
    pub sources: &'a mut Sources,
    pub diagnostics: Vec<Diagnostic>,
}

impl Modules for Library<'_> {
    fn module(&mut self, path: &[String]) -> Result<(merge_base::FileId, Rc<merge_grammar::ast::File>), ModuleMissing> {
        let [std, name] = path else { return Err(ModuleMissing::default()) };
        let file = format!("{}/../../stdlib/{name}.merge", env!("CARGO_MANIFEST_DIR"));
        match std::fs::read_to_string(&file) {
            Ok(text) if std == "std" => {
                let id = self.sources.add(format!("std/{name}.merge"), text.clone());
                let (ast, found) = merge_grammar::parse(id, &text);
                self.diagnostics.extend(found);
                Ok((id, Rc::new(ast)))
            }
            _ => Err(ModuleMissing::default()),
        }
    }
}

/// What became of a recipe: all diagnostics of all stages, and the sources to show them.
pub struct Outcome {
    pub elaborated: Elaborated,
    pub diagnostics: Vec<Diagnostic>,
    pub sources: Sources,
}

pub fn run(recipe: &str, mut files: Fake, answers: &Answers) -> Outcome {
    run_with(recipe, &mut files, answers)
}

pub fn run_with(recipe: &str, files: &mut dyn Checkpoints, answers: &Answers) -> Outcome {
    let mut sources = Sources::default();
    let id = sources.add("test.merge", recipe);
    let (ast, mut diagnostics) = merge_grammar::parse(id, recipe);
    let mut library = Library { sources: &mut sources, diagnostics: Vec::new() };
    let (program, found) = resolve(id, &ast, &mut library);
    diagnostics.append(&mut library.diagnostics);
    diagnostics.extend(found);
    let mut elaborated = elaborate(&program, &sources, files, answers);
    diagnostics.append(&mut elaborated.diagnostics);
    Outcome { elaborated, diagnostics, sources }
}

impl Outcome {
    /// Codes in the order of the text.
    pub fn codes(&self) -> Vec<&'static str> {
        self.diagnostics.iter().map(|d| d.code.0).collect()
    }

    /// Everything that was said, for the message of a failing test.
    pub fn said(&self) -> String {
        let line = |d: &Diagnostic| {
            let labels: Vec<String> = d
                .labels
                .iter()
                .map(|l| {
                    let star = if l.primary { "*" } else { "" };
                    format!("  {star}{} `{}`: {}", self.sources.place(l.span), self.sources.slice(l.span), l.message)
                })
                .collect();
            format!("{} {}\n{}\n  notes {:?}\n  helps {:?}", d.code, d.message, labels.join("\n"), d.notes, d.helps)
        };
        self.diagnostics.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The outcome, if nothing was said.
    #[track_caller]
    pub fn clean(self) -> Elaborated {
        assert!(self.diagnostics.is_empty(), "{}", self.said());
        self.elaborated
    }

    /// That exactly these codes were given.
    #[track_caller]
    pub fn fails_with(self, codes: &[&str]) -> Outcome {
        assert_eq!(self.codes(), codes, "{}", self.said());
        self
    }
}

/// xorshift64* (Vigna 2016): enough to pick words and files, and the same on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// A recipe over the stand-ins, with `base`, `math`, `code`, `wide` and `stats` bound.
pub fn small(recipe: &str) -> Outcome {
    let head =
        [("base", "checkpoint"), ("math", "checkpoint"), ("code", "checkpoint"), ("wide", "checkpoint"), ("stats", "tensors")];
    let mut text = String::new();
    for (name, open) in head {
        let used = recipe.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == name);
        if used {
            text.push_str(&format!("let {name} = {open}(\"{name}\")\n"));
        }
    }
    text.push_str(recipe);
    run(&text, stand_ins(), &Answers::default())
}
