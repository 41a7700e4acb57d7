//! Models with tensors to be trained: what they are saved as, and how trained tensors fold back.

use merge_abi::DType;
use merge_ir::tir::verify;
use merge_runtime::Options;
use merge_tests::{
    Folder, Random, Tensor, analyse_text, forward_on, mergec, read_model, read_tensors, run_text, values, write_checkpoint,
};
use std::collections::BTreeMap;

const BASE: &[(&str, &[usize])] = &[
    ("model.layers.0.self_attn.q_proj.weight", &[6, 4]),
    ("model.layers.0.self_attn.q_proj.bias", &[6]),
    ("model.layers.0.mlp.up_proj.weight", &[5, 4]),
    ("model.layers.1.self_attn.q_proj.weight", &[6, 4]),
    ("model.layers.1.self_attn.q_proj.bias", &[6]),
    ("model.layers.1.mlp.up_proj.weight", &[5, 4]),
    ("model.norm.weight", &[4]),
];

const LORA: &str = "let base = checkpoint(\"base\")
let tuned = from base {
    \"**.self_attn.q_proj.weight\"[o, i] => { new a[2, i] = kaiming()  new b[o, 2] = zeros()  base + (16.0 / 2) * b @ a }
    _ => base
} requires trainable(tuned) == 40 and params(tuned) == params(base)
";

fn random(random: &mut Random, shape: &[usize]) -> Tensor {
    Tensor { dtype: DType::F32, shape: shape.to_vec(), entries: values(random, shape.iter().product()) }
}

fn with_base() -> Folder {
    let folder = Folder::new("trained");
    let mut numbers = Random::new(7);
    let tensors: Vec<(&str, Tensor)> = BASE.iter().map(|(n, s)| (*n, random(&mut numbers, s))).collect();
    write_checkpoint(&folder.join("base"), tensors, &[]);
    folder
}

/// Writes random tensors of the names and shapes of `start` to `path`, as training would; gives them.
fn train(folder: &Folder, start: &str, path: &str) -> BTreeMap<String, Tensor> {
    let mut numbers = Random::new(11);
    let trained: BTreeMap<String, Tensor> =
        read_tensors(&folder.join(start)).into_iter().map(|(n, t)| (n, random(&mut numbers, &t.shape))).collect();
    write_checkpoint(&folder.join(path), trained.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
    read_tensors(&folder.join(path))
}

/// `x @ transpose(w)`, rows of `x` being inputs.
fn applied(x: &[f64], w: &Tensor) -> Vec<f64> {
    let [o, i] = w.shape[..] else { panic!("{:?}", w.shape) };
    let row = |x: &[f64], r: usize| (0..i).map(|k| x[k] * w.entries[r * i + k]).sum::<f64>();
    x.chunks(i).flat_map(|x| (0..o).map(move |r| row(x, r))).collect()
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() <= 1e-5 * y.abs().max(1.0), "{x} is not {y}");
    }
}

/// The messages and notes of the only diagnostic.
fn fault(folder: &Folder, recipe: &str) -> (String, String) {
    let analysis = analyse_text(folder, recipe);
    let [d] = analysis.diagnostics.as_slice() else {
        panic!("{:?}", analysis.diagnostics.iter().map(|d| &d.message).collect::<Vec<_>>())
    };
    (d.code.to_string(), format!("{} {:?} {:?}", d.message, d.notes, d.helps))
}

#[test]
fn a_lora_starts_at_the_base_and_folds_back_as_the_adapter_that_it_is() {
    let folder = with_base();
    run_text(&folder, &format!("{LORA}save tuned to \"start\"\nsave tuned to \"lora\" as adapter"), &Options::default()).unwrap();
    let base = read_model(&folder.join("base"));
    assert_eq!(read_model(&folder.join("start")), base, "b starts as zeros");
    let config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("lora/adapter_config.json")).unwrap()).unwrap();
    assert_eq!((&config["r"], &config["lora_alpha"]), (&2.into(), &16.into()));
    assert_eq!(config["target_modules"], serde_json::json!(["q_proj"]));

    std::fs::create_dir(folder.join("trained")).unwrap();
    let trained = train(&folder, "lora/adapter_model.safetensors", "trained/adapter_model.safetensors");
    std::fs::copy(folder.join("lora/adapter_config.json"), folder.join("trained/adapter_config.json")).unwrap();
    let recipe = format!(
        "{LORA}save fill(tuned, tensors(\"trained\")) to \"filled\"\nsave base + adapter(\"trained\", on: base) to \"applied\""
    );
    run_text(&folder, &recipe, &Options::default()).unwrap();
    let filled = read_model(&folder.join("filled"));
    assert_eq!(filled, read_model(&folder.join("applied")));

    // The forward pass through base and adapter is that through the folded weight.
    let module = "model.layers.1.self_attn.q_proj";
    let (w, folded) = (&base[&format!("{module}.weight")], &filled[&format!("{module}.weight")]);
    let factor = |f: &str| &trained[&format!("base_model.model.{module}.lora_{f}.weight")];
    let x = values(&mut Random::new(3), 3 * 4);
    let low = applied(&applied(&x, factor("A")), factor("B"));
    let beside: Vec<f64> = applied(&x, w).iter().zip(low).map(|(y, d)| y + 8.0 * d).collect();
    close(&applied(&x, folded), &beside);
}

#[test]
fn every_new_tensor_is_named_by_its_path_and_the_tensor_of_its_rule() {
    let folder = with_base();
    let recipe = "let base = checkpoint(\"base\")
let tuned = from base {
    new shared[2, 4] = normal(0.0, 0.02)
    \"model.layers.{l}.self_attn.q_proj.weight\"[o, i] => choose form { vera => { new b[o, 2] = zeros()  base + b @ shared } }
    \"**.bias\" => { new bias[dim(base, 0)] = base  bias }
    _ => base
}
save tuned to \"tuned\" as adapter
save fill(tuned, tensors(\"trained.safetensors\")) to \"filled\"";
    let start = recipe.lines().take(8).collect::<Vec<_>>().join("\n");
    run_text(&folder, &start, &Options::default()).unwrap();
    let names: Vec<String> = read_tensors(&folder.join("tuned/start.safetensors")).into_keys().collect();
    let q = |l: u32| format!("model.layers.{l}.self_attn.q_proj");
    let bias = |l| format!("tuned.bias[{}.bias]", q(l));
    let b = |l| format!("tuned.form.vera.b[{}.weight]", q(l));
    assert_eq!(names, [bias(0), bias(1), b(0), b(1), "tuned.shared".into()]);
    let trained = train(&folder, "tuned/start.safetensors", "trained.safetensors");
    run_text(&folder, recipe, &Options::default()).unwrap();
    let (base, filled) = (read_model(&folder.join("base")), read_model(&folder.join("filled")));
    assert_eq!(filled[&format!("{}.bias", q(1))], trained[&bias(1)]);
    let w = &base[&format!("{}.weight", q(0))];
    let turned: Vec<f64> =
        (0..4).flat_map(|c| [trained["tuned.shared"].entries[c], trained["tuned.shared"].entries[4 + c]]).collect();
    let shared = Tensor { dtype: DType::F32, shape: vec![4, 2], entries: turned };
    let product = applied(&trained[&b(0)].entries, &shared);
    let want: Vec<f64> = w.entries.iter().zip(product).map(|(w, d)| w + d).collect();
    close(&filled[&format!("{}.weight", q(0))].entries, &want);
}

#[test]
fn a_parallel_linear_branch_is_a_folded_weight() {
    let folder = with_base();
    let recipe = "let base = checkpoint(\"base\")
let tuned = from base {
    \"model.layers.{l}.self_attn.q_proj\" as f(x: tensor[..t, i]) => {
        new a[i, 2] = kaiming()
        new b[2, 6] = normal(0.0, 0.3)
        f(x) + 0.5 * x @ a @ b
    }
    _ => base
} requires trainable(tuned) == 40 and params(tuned) == params(base) + 40
save tuned to \"tuned\" as adapter";
    run_text(&folder, recipe, &Options::default()).unwrap();
    let analysis = analyse_text(&folder, recipe);
    assert_eq!(verify(&analysis.elaborated.graph), Vec::<String>::new());
    let base = read_model(&folder.join("base"));
    let start = read_tensors(&folder.join("tuned/start.safetensors"));
    assert_eq!(start.len(), 4);
    let module = "model.layers.1.self_attn.q_proj";
    let graph = &analysis.elaborated.graph;
    let network = graph.networks.iter().find(|n| n.name == module).unwrap();
    let x = values(&mut Random::new(5), graph.shape(network.inputs[0]).iter().product::<u64>() as usize);
    let w = &base[&format!("{module}.weight")];
    let (a, b) = (&start[&format!("tuned.a[{module}]")], &start[&format!("tuned.b[{module}]")]);
    let given = [(format!("tuned.a[{module}]"), a.entries.clone()), (format!("tuned.b[{module}]"), b.entries.clone())];
    let given: Vec<(&str, Vec<f64>)> = given.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
    let y = forward_on(&analysis, module, &[("x", x.clone())], &given, &|name, x| {
        assert_eq!(name, module);
        applied(&x.entries, w)
    });
    let mut folded = w.clone();
    for (r, row) in folded.entries.chunks_mut(4).enumerate() {
        for (c, entry) in row.iter_mut().enumerate() {
            *entry += 0.5 * (0..2).map(|k| a.entries[c * 2 + k] * b.entries[k * 6 + r]).sum::<f64>();
        }
    }
    close(&y.entries, &applied(&x, &folded));
}

#[test]
fn a_file_that_is_not_of_the_model_is_told_what_is_wrong_with_it() {
    let folder = with_base();
    run_text(&folder, &format!("{LORA}save tuned to \"lora\" as adapter"), &Options::default()).unwrap();
    let mut trained = train(&folder, "lora/adapter_model.safetensors", "trained.safetensors");
    let recipe = format!("{LORA}save fill(tuned, tensors(\"trained.safetensors\")) to \"out\"");
    let rewrite = |trained: &BTreeMap<String, Tensor>| {
        write_checkpoint(&folder.join("trained.safetensors"), trained.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
    };
    let (first, tensor) = trained.pop_first().unwrap();
    trained.insert("base_model.model.other".into(), tensor.clone());
    rewrite(&trained);
    let (code, said) = fault(&folder, &recipe);
    assert!(code == "E3303" && said.contains(&first) && said.contains("base_model.model.other"), "{code} {said}");
    trained.remove("base_model.model.other");
    trained.insert(first.clone(), Tensor { shape: vec![1, 2], entries: vec![0.0; 2], dtype: DType::F32 });
    rewrite(&trained);
    let (code, said) = fault(&folder, &recipe);
    assert!(code == "E3304" && said.contains(&first) && said.contains("[1, 2]"), "{code} {said}");
    let (code, said) =
        fault(&folder, "let base = checkpoint(\"base\")\nsave fill(base, tensors(\"trained.safetensors\")) to \"out\"");
    assert!(code == "E2001" && said.contains("no `new` tensors"), "{code} {said}");
}

#[test]
fn whole_tensors_are_taken_while_they_fit() {
    let folder = with_base();
    let analysis = analyse_text(
        &folder,
        "let base = checkpoint(\"base\")
let some = within(names(base, \"**\"), base, params: 33)
test \"one that does not fit is passed over\" { len(some) == 3 and some[0] == \"model.layers.0.mlp.up_proj.weight\" and some[1] == \"model.layers.0.self_attn.q_proj.bias\" and some[2] == \"model.layers.1.self_attn.q_proj.bias\" }
test \"nothing fits nothing\" { len(within(names(base, \"**\"), base, params: 3)) == 0 }",
    );
    let said: Vec<&String> = analysis.diagnostics.iter().map(|d| &d.message).collect();
    assert!(!analysis.has_errors(), "{said:?}");
    assert_eq!(analysis.elaborated.tests.len(), 2);
    let file = folder.join("recipe.merge");
    let out = mergec(folder.path(), &["test", file.to_str().unwrap()]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}
