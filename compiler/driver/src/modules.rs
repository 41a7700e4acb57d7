//! Finds the files that `use` names.

use merge_base::{Diagnostic, FileId, Sources, Span};
use merge_grammar::ast;
use merge_sema::{ModuleMissing, Modules};
use std::{collections::HashMap, path::PathBuf, rc::Rc};

/// `std.x` from the texts inside the compiler, `a.b` from `a/b.merge` beside the recipe.
pub struct FileModules<'a> {
    pub sources: &'a mut Sources,
    pub folder: PathBuf,
    /// What parsing the modules had to say.
    pub diagnostics: Vec<Diagnostic>,
    pub known: HashMap<Vec<String>, (FileId, Rc<ast::File>)>,
}

impl Modules for FileModules<'_> {
    fn text(&self, span: Span) -> String {
        self.sources.slice(span).to_owned()
    }

    fn module(&mut self, path: &[String]) -> Result<(FileId, Rc<ast::File>), ModuleMissing> {
        if let Some(found) = self.known.get(path) {
            return Ok(found.clone());
        }
        let (name, text) = match path {
            [std, module] if std == "std" => {
                let found = crate::library().iter().find(|(name, _)| name == module);
                let text = found.ok_or_else(|| ModuleMissing { known: known_modules() })?.1;
                (format!("std/{module}.merge"), text.to_owned())
            }
            _ => {
                let file = self.folder.join(path.join("/")).with_extension("merge");
                let text = std::fs::read_to_string(&file).map_err(|_| ModuleMissing { known: self.neighbours(path) })?;
                (file.display().to_string(), text)
            }
        };
        let id = self.sources.add(name, text);
        let (file, diagnostics) = merge_grammar::parse(id, &self.sources.get(id).text);
        self.diagnostics.extend(diagnostics);
        let found = (id, Rc::new(file));
        self.known.insert(path.to_vec(), found.clone());
        Ok(found)
    }
}

impl FileModules<'_> {
    /// Modules in the folder where `path` was looked for, and the library's.
    fn neighbours(&self, path: &[String]) -> Vec<String> {
        let parents = &path[..path.len().saturating_sub(1)];
        let entries = std::fs::read_dir(self.folder.join(parents.join("/"))).into_iter().flatten().flatten();
        let mut known: Vec<String> = entries
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|e| e == "merge"))
            .filter_map(|p| Some(p.file_stem()?.to_str()?.to_owned()))
            .map(|stem| parents.iter().cloned().chain([stem]).collect::<Vec<_>>().join("."))
            .collect();
        known.sort();
        known.extend(known_modules());
        known
    }
}

fn known_modules() -> Vec<String> {
    crate::library().iter().map(|(name, _)| format!("std.{name}")).collect()
}
