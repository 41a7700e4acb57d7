//! `search`: the settings of the file and the flags made into a search (`settings`), and candidates made into models for it
//! (`candidates`, `costs`), of which those of one structure are planned and compiled once (`structures`), and which start from what
//! others trained where a search asks for it (`heritage`).

mod candidates;
mod costs;
mod heritage;
mod settings;
mod structures;

use crate::analyse::Request;
use crate::space::OpenRecipe;
use candidates::{Candidates, KEPT_MEMORY};
use heritage::Heritage;
use merge_runtime::{Error, Reuse};
use merge_search::run::{Happening, Options, Outcome, run_search};
use serde_json::Value as Json;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

pub(crate) use settings::check;
pub use settings::prepare;
use structures::Structures;

/// What the command line says in place of the file.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Which of several searches.
    pub name: Option<String>,
    pub using: Option<String>,
    pub seed: Option<u64>,
    pub trials: Option<u64>,
    pub parallel: Option<usize>,
    pub resume: bool,
    /// Keep the model of every trial, not of the best alone.
    pub keep: bool,
}

/// A search that can be run.
pub struct Prepared {
    open: OpenRecipe,
    request: Request,
    pub name: String,
    pub options: Options,
    keep: bool,
    /// Whether trials start from what others trained.
    transfer: bool,
    /// Where trials put their models.
    folder: PathBuf,
}

impl Prepared {
    /// Runs the search and tells `watch` what happens.
    ///
    /// # Errors
    /// Of the settings, or of the journal.
    pub fn run(&self, stop: &AtomicBool, watch: &mut dyn FnMut(Happening)) -> Result<Outcome, Error> {
        std::fs::create_dir_all(&self.folder)
            .map_err(|e| Error::world(format!("cannot make the folder `{}`: {e}", self.folder.display())))?;
        let candidates = Candidates {
            space: &self.open.space,
            domains: &self.open.domains,
            folder: &self.folder,
            keep: self.keep,
            resumed: self.options.resume,
            threads: std::thread::available_parallelism().map_or(1, usize::from).div_ceil(self.options.parallel.max(1)),
            structures: Structures::new(&self.request, &self.name),
            // The models of the trials under way, and two that candidates are likely to be near to: the last and the best.
            reuse: Reuse::new(KEPT_MEMORY, self.options.parallel.max(1) + 2),
            heritage: self.transfer.then(|| Heritage::new(self.folder.join("trained"), self.options.parallel)),
            best: Mutex::default(),
        };
        run_search(&self.open.space, &self.options, &candidates, stop, watch).map_err(|e| Error::usage(e.to_string()))
    }

    /// The space that is searched.
    pub fn open(&self) -> &OpenRecipe {
        &self.open
    }

    /// The choices of a trial as a file that `--with` takes; the journal counts the members of lists, such a file names them.
    pub fn choices_text(&self, choices: &Json) -> String {
        match self.open.space.from_json(choices) {
            Ok(candidate) => self.open.choices_text(&candidate),
            Err(_) => choices.to_string(),
        }
    }

    /// The page of the journal, as HTML.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn report(&self) -> Result<String, Error> {
        let (header, events) = merge_search::journal::read(&self.options.journal).map_err(|e| Error::world(e.to_string()))?;
        Ok(merge_search::report::page(&self.open.space, &header, &events))
    }
}
