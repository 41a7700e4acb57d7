//! Takes a recipe through the front end and the planner and collects every diagnostic.

use crate::{modules::FileModules, schemas::Headers, space::Checks, space::Start};
use merge_abi::Recipe;
use merge_base::{Diagnostic, FileId, Sources};
use merge_grammar::ast;
use merge_opt::Compiled;
use merge_runtime::{Error, checkpoint::Checkpoint};
use merge_sema::space::Answer;
use merge_sema::{Answers, Elaborated, Schema, Undecided, hir};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a user asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub file: PathBuf,
    /// `--set name=value`.
    pub set: Vec<(String, String)>,
    /// `--model name=PATH`.
    pub models: Vec<(String, PathBuf)>,
    /// What becomes of decisions that nothing answers.
    pub undecided: Undecided,
    /// The hash of the space whose candidates are made, for what is written beside them.
    pub space: Option<String>,
    /// The search whose candidate is made, in place of what the recipe saves.
    pub search: Option<String>,
    /// A checkpoint that parameters start from where name and shape agree, counted from the working folder.
    pub from: Option<PathBuf>,
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
    /// What was left to the candidates of a space, as sentences; see [`crate::space::OpenRecipe::notes`].
    pub notes: Vec<String>,
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

/// A recipe with its names resolved, which can be elaborated again and again with other answers.
pub(crate) struct Front {
    pub sources: Sources,
    pub entry: FileId,
    pub ast: ast::File,
    pub hir: hir::Program,
    /// Of parsing and names.
    pub diagnostics: Vec<Diagnostic>,
    /// Headers, each read once.
    pub headers: Headers,
    file: PathBuf,
    answers: Answers,
    /// The recipe's folder.
    absolute: PathBuf,
    space: Option<String>,
    /// What parameters start from.
    from: Option<Trained>,
}

/// A checkpoint that parameters start from where name and shape agree: its path and its header.
pub(crate) type Trained = (String, Arc<Schema>);

impl Front {
    /// Parses the recipe and the files it uses and resolves names.
    ///
    /// # Errors
    /// Only where the recipe's own file cannot be read, or the checkpoint that parameters shall start from.
    pub fn read(request: &Request) -> Result<Front, Error> {
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
        let headers = Headers { folder, known: HashMap::new(), without_weights: false };
        let answers = Answers {
            set: request.set.clone(),
            models: absolute_models(&request.models),
            undecided: request.undecided,
            ..Answers::default()
        };
        let from = request.from.as_deref().map(trained).transpose()?;
        let mut front = Front {
            sources,
            entry,
            ast,
            hir,
            diagnostics,
            headers,
            file: request.file.clone(),
            answers,
            absolute,
            space: request.space.clone(),
            from,
        };
        match &request.search {
            Some(name) => front.search_named(name)?,
            None => front.search_alone(),
        }
        Ok(front)
    }

    /// The graph of the recipe with these answers, which go before those of the request.
    pub fn elaborate(&mut self, assigned: &BTreeMap<String, Answer>, watch: bool) -> Elaborated {
        self.elaborate_answered(assigned.iter().map(|(id, a)| (id.clone(), a.clone())), watch)
    }

    /// [`Front::elaborate`] of answers that nobody else needs.
    pub fn elaborate_answered(&mut self, assigned: impl Iterator<Item = (String, Answer)>, watch: bool) -> Elaborated {
        let answers = Answers { assigned: assigned.collect(), watch, ..self.answers.clone() };
        let mut elaborated = merge_sema::elaborate(&self.hir, &self.sources, &mut self.headers, &answers);
        self.answers.definitions_are_fine |= elaborated.definitions_are_fine;
        for checkpoint in &mut elaborated.graph.checkpoints {
            checkpoint.path = self.absolute.join(&checkpoint.path).display().to_string();
        }
        for output in &mut elaborated.graph.outputs {
            output.path = self.absolute.join(&output.path).display().to_string();
        }
        if let Some((path, schema)) = &self.from {
            crate::transfer::take_over(&mut elaborated.graph, schema, path.clone());
        }
        elaborated
    }

    /// Lets parameters start from another checkpoint, or from none; gives back what they started from.
    pub fn start_from(&mut self, from: Option<Trained>) -> Option<Trained> {
        std::mem::replace(&mut self.from, from)
    }

    /// Saves the model of this search, in place of what the recipe saves.
    pub fn search(&mut self, name: &str) {
        self.answers.search = Some(name.to_owned());
    }

    /// [`Front::search`] of a name that somebody gave.
    fn search_named(&mut self, name: &str) -> Result<(), Error> {
        let names = searches(&self.hir);
        if !names.contains(&name) {
            let error = Error::usage(format!("the recipe has no search `{name}`"));
            return Err(match names.is_empty() {
                true => error.with_help("it has no search at all; `--name` says which of several is meant"),
                false => error.with_help(format!("it has `{}`", names.join("` and `"))),
            });
        }
        self.search(name);
        Ok(())
    }

    /// [`Front::elaborate`] that watches what depends on decisions.
    pub fn watch(&mut self, assigned: &BTreeMap<String, Answer>) -> Elaborated {
        self.elaborate(assigned, true)
    }

    /// Makes the candidate of the search of a recipe that saves nothing else, where it is a network: such a recipe is for that.
    fn search_alone(&mut self) {
        let mut searches = self.hir.items.iter().filter_map(|i| if let hir::Item::Search(s) = i { Some(s) } else { None });
        if let (Some(search), None) = (searches.next(), searches.next())
            && search.network.is_some()
            && !self.hir.items.iter().any(|i| matches!(i, hir::Item::Save(_)))
        {
            self.answers.search = Some(search.name.clone());
        }
    }

    /// The plan of a graph.
    pub fn plan(&self, elaborated: &Elaborated) -> Compiled {
        let recipe = Recipe {
            name: self.file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            text: self.sources.get(self.entry).text.clone(),
            structural: elaborated.graph.structural.clone(),
        };
        let mut compiled = merge_opt::compile(&elaborated.graph, recipe);
        // Of a place the file's name, not the folder that it was called from: it is written.
        let place = |span| {
            let place = self.sources.place(span);
            place.rsplit('/').next().unwrap_or_default().to_owned()
        };
        let about = merge_package::About { space: self.space.as_deref(), place: &place };
        for (planned, output) in compiled.plan.outputs.iter_mut().zip(&elaborated.graph.outputs) {
            planned.beside.files = merge_package::files(&elaborated.graph, output, about);
        }
        compiled
    }
}

/// Parses, resolves, elaborates and plans the recipe in `request.file`.
///
/// # Errors
/// Only where the recipe's own file cannot be read.
pub fn analyse(request: &Request) -> Result<Analysis, Error> {
    let (front, seen) = look(Front::read(request)?)?;
    Ok(seen.into_analysis(front))
}

/// What one candidate of a recipe shows: the one that its defaults and the request's answers make.
pub(crate) struct Seen {
    elaborated: Elaborated,
    compiled: Option<Compiled>,
    pub diagnostics: Vec<Diagnostic>,
    pub notes: Vec<String>,
}

impl Seen {
    /// Whether the recipe is wrong.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    pub fn into_analysis(self, front: Front) -> Analysis {
        let Seen { elaborated, compiled, diagnostics, notes } = self;
        let Front { sources, entry, ast, hir, headers, .. } = front;
        let diagnostics = in_order(diagnostics);
        Analysis { sources, entry, ast, hir, elaborated, compiled, diagnostics, notes, without_weights: headers.without_weights }
    }
}

/// Elaborates and plans one candidate of a recipe whose names are resolved. The front end comes back, for others.
pub(crate) fn look(mut front: Front) -> Result<(Front, Seen), Error> {
    let mut diagnostics = std::mem::take(&mut front.diagnostics);
    diagnostics.extend(crate::search::check(&front.hir));
    let mut elaborated = front.elaborate(&BTreeMap::new(), false);
    let open = |d: &merge_sema::space::Decision| d.default.is_none();
    if front.answers.undecided == Undecided::First && excluded(&elaborated.diagnostics) && elaborated.decisions.iter().any(open) {
        // Nobody chose this candidate: look at one that the conditions allow, if there is one.
        let (own, start) = match crate::space::explore(front, Checks::Left)? {
            Ok(found) => crate::space::start(found),
            Err(empty) => (empty.front, Start::Never(Box::new(empty.diagnostic))),
        };
        front = own;
        match start {
            Start::Candidate(answers) => elaborated = front.elaborate(&answers, false),
            Start::Unknown(tried) => {
                let note =
                    format!("no values of the open decisions that meet all conditions were found (structures tried: {tried})");
                for d in elaborated.diagnostics.iter_mut().filter(|d| d.is_error()) {
                    d.notes.push(note.clone());
                    d.helps.push("give the decisions defaults that meet them".into());
                }
            }
            Start::Never(diagnostic) => {
                elaborated.diagnostics.retain(|d| d.code != merge_sema::codes::types::REQUIRES_FAILED);
                diagnostics.push(*diagnostic);
            }
        }
    }
    diagnostics.append(&mut elaborated.diagnostics);
    let mut compiled = None;
    if !diagnostics.iter().any(Diagnostic::is_error) {
        let mut planned = front.plan(&elaborated);
        diagnostics.append(&mut planned.diagnostics);
        compiled = (!diagnostics.iter().any(Diagnostic::is_error)).then_some(planned);
    }
    Ok((front, Seen { elaborated, compiled, diagnostics, notes: Vec::new() }))
}

/// The names of the searches of a recipe.
pub(crate) fn searches(hir: &hir::Program) -> Vec<&str> {
    hir.items.iter().filter_map(|i| if let hir::Item::Search(s) = i { Some(s.name.as_str()) } else { None }).collect()
}

/// Whether all that is wrong is that a `requires` does not hold.
fn excluded(diagnostics: &[Diagnostic]) -> bool {
    let mut errors = diagnostics.iter().filter(|d| d.is_error()).peekable();
    errors.peek().is_some() && errors.all(|d| d.code == merge_sema::codes::types::REQUIRES_FAILED)
}

/// Each diagnostic once, in the order of the text.
pub(crate) fn in_order(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut seen = HashSet::new();
    diagnostics.retain(|d| seen.insert(d.clone()));
    diagnostics.sort_by_key(|d| d.primary_span().map(|s| (s.file, s.start, s.end)));
    diagnostics
}

/// Analyses a recipe and then looks at every value of its decisions: what `mergec check` does.
///
/// # Errors
/// As [`analyse`].
pub fn analyse_all(request: &Request) -> Result<Analysis, Error> {
    let (mut front, mut seen) = look(Front::read(request)?)?;
    if !seen.has_errors() && seen.elaborated.decisions.iter().any(|d| d.structural) {
        match crate::space::explore(front, Checks::Tried)? {
            Ok(found) => {
                seen.diagnostics.extend(found.diagnostics);
                seen.notes = found.notes;
                front = found.front;
            }
            Err(empty) => {
                seen.diagnostics.push(empty.diagnostic);
                front = empty.front;
            }
        }
    }
    Ok(seen.into_analysis(front))
}

/// Paths given on the command line count from the working folder, those in a recipe from the recipe's.
fn absolute_models(models: &[(String, PathBuf)]) -> Vec<(String, String)> {
    models
        .iter()
        .map(|(name, path)| (name.clone(), std::path::absolute(path).unwrap_or(path.clone()).display().to_string()))
        .collect()
}

/// The header of a checkpoint that parameters start from.
pub(crate) fn trained(path: &Path) -> Result<Trained, Error> {
    let checkpoint = Checkpoint::open(path)?;
    let tensors = checkpoint.tensors.iter().map(|(name, t)| (name.clone(), t.dtype, t.shape.clone()));
    let path = std::path::absolute(path).unwrap_or(path.to_owned()).display().to_string();
    Ok((path, Arc::new(Schema::new(tensors, checkpoint.role))))
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
