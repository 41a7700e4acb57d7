//! Running recipes: in this process through the driver, and as `mergec` does it.

use crate::{Folder, Tensor};
use merge_driver::{Analysis, Request};
use merge_interp::{Interpreter, decode};
use merge_ir::tir::{Layer, Op};
use merge_runtime::{Error, Options, Summary, checkpoint::Checkpoint};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

/// The analysis of a recipe written into `folder`, whose checkpoints it sees.
pub fn analyse_text(folder: &Folder, recipe: &str) -> Analysis {
    let file = folder.write("recipe.merge", recipe);
    merge_driver::analyse_all(&Request { file, ..Request::default() }).expect("the recipe was just written")
}

/// Runs a recipe written into `folder`; panics with its diagnostics where it is wrong.
pub fn run_text(folder: &Folder, recipe: &str, options: &Options) -> Result<Summary, Error> {
    let analysis = analyse_text(folder, recipe);
    let said: Vec<String> = analysis.diagnostics.iter().map(|d| format!("{}: {} {:?}", d.code, d.message, d.helps)).collect();
    assert!(!analysis.has_errors(), "{recipe}\n{}", said.join("\n"));
    merge_driver::run(&analysis, options, &merge_runtime::progress::Silent)
}

/// What the reference interpreter makes of the recipe's output number `output`, by tensor name.
pub fn interpret_output(analysis: &Analysis, output: usize, seed: i64) -> BTreeMap<String, Tensor> {
    let graph = &analysis.elaborated.graph;
    let read = |source: &merge_abi::Source| read_source(analysis, source);
    let settings = graph.settings.iter().map(|s| s.default).collect();
    let mut interpreter = Interpreter::new(graph, settings, seed, &read);
    graph.outputs[output]
        .tensors
        .iter()
        .map(|t| {
            let value = interpreter.value(t.node).unwrap_or_else(|e| panic!("{}: {e}", t.name));
            let shape = value.shape().to_vec();
            (t.name.clone(), Tensor { dtype: t.dtype, shape, entries: value.iter().copied().collect() })
        })
        .collect()
}

/// What a network of the recipe gives for these inputs, once it is trained: a search names it, or it replaces a module. Inputs go by
/// the names of the function's parameters, `parameters` by their paths; what is not among them has its start value. Entries are row-major.
///
/// # Panics
/// If there is no such network, input or parameter, or entries do not fill one.
pub fn forward(analysis: &Analysis, network: &str, inputs: &[(&str, Vec<f64>)], parameters: &[(&str, Vec<f64>)]) -> Tensor {
    forward_on(analysis, network, inputs, parameters, &|module, _| panic!("`{module}` is a module of the base"))
}

/// [`forward`] where modules of the base give this for their inputs.
///
/// # Panics
/// As [`forward`].
pub fn forward_on(
    analysis: &Analysis,
    network: &str,
    inputs: &[(&str, Vec<f64>)],
    parameters: &[(&str, Vec<f64>)],
    modules: &dyn Fn(&str, &Tensor) -> Vec<f64>,
) -> Tensor {
    let graph = &analysis.elaborated.graph;
    let read = |source: &merge_abi::Source| read_source(analysis, source);
    let settings = graph.settings.iter().map(|s| s.default).collect();
    let mut interpreter = Interpreter::new(graph, settings, 0, &read);
    let called: Vec<&str> = graph.networks.iter().map(|n| n.name.as_str()).collect();
    let network = graph.networks.iter().find(|n| n.name == network).unwrap_or_else(|| panic!("no `{network}` in {called:?}"));
    let mut left: Vec<&str> = inputs.iter().chain(parameters).map(|(name, _)| *name).collect();
    for (id, node) in graph.nodes() {
        let given = match &node.op {
            Op::Layer { layer, .. } if network.inputs.contains(&id) => match &**layer {
                Layer::Input { name } => inputs.iter().find(|(n, _)| n == name),
                _ => None,
            },
            Op::Parameter(p) => parameters.iter().find(|(n, _)| *n == graph.parameters[p.0 as usize].name),
            _ => None,
        };
        if let Some((name, entries)) = given {
            left.retain(|n| n != name);
            interpreter.assume_entries(id, entries.clone()).unwrap_or_else(|e| panic!("`{name}`: {e}"));
        }
    }
    assert!(left.is_empty(), "nothing is called {left:?} in {}", network.name);
    let needed = merge_ir::tir::needed(graph, &[network.output]);
    for (id, node) in graph.nodes().take(needed.len()).filter(|(id, _)| needed[id.0 as usize]) {
        if let Op::Layer { layer, inputs } = &node.op
            && let Layer::Module { name } = &**layer
        {
            let x = interpreter.value(inputs[0]).unwrap_or_else(|e| panic!("{name}: {e}"));
            let x = Tensor { dtype: merge_abi::DType::F64, shape: x.shape().to_vec(), entries: x.iter().copied().collect() };
            interpreter.assume_entries(id, modules(name, &x)).unwrap_or_else(|e| panic!("`{name}`: {e}"));
        }
    }
    let value = interpreter.value(network.output).unwrap_or_else(|e| panic!("{}: {e}", network.name));
    Tensor { dtype: merge_abi::DType::F64, shape: value.shape().to_vec(), entries: value.iter().copied().collect() }
}

/// The entries of a tensor of a checkpoint.
fn read_source(analysis: &Analysis, source: &merge_abi::Source) -> Result<Vec<f64>, String> {
    let path = &analysis.elaborated.graph.checkpoints[source.checkpoint as usize].path;
    let checkpoint = Checkpoint::open(Path::new(path)).map_err(|e| e.message)?;
    let entry = &checkpoint.tensors[&source.name];
    let mut bytes = vec![0; entry.bytes as usize];
    checkpoint.read_at(entry.file, entry.offset, &mut bytes).map_err(|e| e.message)?;
    Ok(decode(source.dtype, &bytes))
}

/// The folder of the executables that belong to this test: `target/debug` or `target/release`.
pub fn cargo_binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built: run the suite with `cargo xtask test`", path.display());
    path
}

/// `mergec` with arguments, in a folder, without colours.
pub fn mergec(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo_binary("mergec"));
    command.args(arguments).current_dir(folder).env("NO_COLOR", "1");
    command
}
