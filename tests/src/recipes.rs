//! Running recipes: in this process through the driver, and as `mergec` does it.

use crate::{Folder, Tensor};
use merge_driver::{Analysis, Request};
use merge_interp::{Interpreter, decode};
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
    let read = |source: &merge_abi::Source| -> Result<Vec<f64>, String> {
        let path = &graph.checkpoints[source.checkpoint as usize].path;
        let checkpoint = Checkpoint::open(Path::new(path)).map_err(|e| e.message)?;
        let entry = &checkpoint.tensors[&source.name];
        let mut bytes = vec![0; entry.bytes as usize];
        checkpoint.read_at(entry.file, entry.offset, &mut bytes).map_err(|e| e.message)?;
        Ok(decode(source.dtype, &bytes))
    };
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
