//! Takes a recipe through the front end and the planner and collects every diagnostic.

use crate::{modules::FileModules, schemas::Headers};
use merge_abi::Recipe;
use merge_base::{Diagnostic, FileId, Sources};
use merge_grammar::ast;
use merge_opt::Compiled;
use merge_runtime::Error;
use merge_sema::{Answers, Elaborated, hir};
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

/// What a user asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub file: PathBuf,
    /// `--set name=value`.
    pub set: Vec<(String, String)>,
    /// `--model name=PATH`.
    pub models: Vec<(String, PathBuf)>,
}

/// A recipe after all stages that it survived.
pub struct Analysis {
    pub sources: Sources,
    pub entry: FileId,
    pub ast: ast::File,
    pub hir: hir::Program,
    pub elaborated: Elaborated,
    /// Absent where there are errors.
    pub compiled: Option<Compiled>,
    /// In the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether a `.schema` text stood in for weights.
    pub without_weights: bool,
}

impl Analysis {
    /// Whether the recipe is wrong.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// Whether all that is wrong is that checkpoints cannot be opened: the world's fault, not the recipe's.
    pub fn only_the_world_is_wrong(&self) -> bool {
        let unopened = merge_sema::codes::models::CANNOT_OPEN;
        self.has_errors() && self.diagnostics.iter().all(|d| !d.is_error() || d.code == unopened)
    }
}

/// Parses, resolves, elaborates and plans the recipe in `request.file`.
///
/// # Errors
/// Only where the recipe's own file cannot be read.
pub fn analyse(request: &Request) -> Result<Analysis, Error> {
    let text = read_recipe(&request.file)?;
    let folder = request.file.parent().map(Path::to_owned).unwrap_or_default();
    let mut sources = Sources::default();
    let entry = sources.add(request.file.display().to_string(), text);
    let (ast, mut diagnostics) = merge_grammar::parse(entry, &sources.get(entry).text);

    let mut modules =
        FileModules { sources: &mut sources, folder: folder.clone(), diagnostics: Vec::new(), known: HashMap::new() };
    let (hir, found) = merge_sema::resolve(entry, &ast, &mut modules);
    diagnostics.append(&mut modules.diagnostics);
    // What could not be parsed may well use a name that seems unused.
    let unparsed = diagnostics.iter().any(Diagnostic::is_error);
    diagnostics.extend(found.into_iter().filter(|d| !unparsed || d.is_error()));

    // Messages show paths as the user would write them; the plan has absolute ones.
    let absolute = std::path::absolute(&folder).unwrap_or(folder.clone());
    let mut headers = Headers { folder, known: HashMap::new(), without_weights: false };
    let answers = Answers { set: request.set.clone(), models: absolute_models(&request.models) };
    let mut elaborated = merge_sema::elaborate(&hir, &sources, &mut headers, &answers);
    diagnostics.append(&mut elaborated.diagnostics);
    for checkpoint in &mut elaborated.graph.checkpoints {
        checkpoint.path = absolute.join(&checkpoint.path).display().to_string();
    }
    for output in &mut elaborated.graph.outputs {
        output.path = absolute.join(&output.path).display().to_string();
    }

    let mut compiled = None;
    if !diagnostics.iter().any(Diagnostic::is_error) {
        let recipe = Recipe {
            name: request.file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            text: sources.get(entry).text.clone(),
            structural: elaborated.graph.structural.clone(),
        };
        let mut planned = merge_opt::compile(&elaborated.graph, recipe);
        diagnostics.append(&mut planned.diagnostics);
        compiled = (!diagnostics.iter().any(Diagnostic::is_error)).then_some(planned);
    }
    let mut seen = HashSet::new();
    diagnostics.retain(|d| seen.insert(d.clone()));
    diagnostics.sort_by_key(|d| d.primary_span().map(|s| (s.file, s.start, s.end)));
    Ok(Analysis { sources, entry, ast, hir, elaborated, compiled, diagnostics, without_weights: headers.without_weights })
}

/// Paths given on the command line count from the working folder, those in a recipe from the recipe's.
fn absolute_models(models: &[(String, PathBuf)]) -> Vec<(String, String)> {
    models
        .iter()
        .map(|(name, path)| (name.clone(), std::path::absolute(path).unwrap_or(path.clone()).display().to_string()))
        .collect()
}

fn read_recipe(file: &Path) -> Result<String, Error> {
    let bytes = std::fs::read(file).map_err(|e| {
        let help = match e.kind() {
            std::io::ErrorKind::NotFound => "check the path; recipes end in `.merge`".to_owned(),
            _ => "check that it is a file and that you may read it".to_owned(),
        };
        Error::world(format!("cannot read the recipe `{}`: {e}", file.display())).with_help(help)
    })?;
    String::from_utf8(bytes).map_err(|e| {
        Error::world(format!("`{}` is not text: byte {} is not UTF-8", file.display(), e.utf8_error().valid_up_to()))
            .with_help("a recipe is a UTF-8 text file")
    })
}
