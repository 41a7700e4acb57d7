//! The command line as data. Stable: scripts depend on it.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Composes neural networks from recipes.
#[derive(Parser)]
#[command(name = "mergec", version, about, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Report everything that is wrong with recipes, reading headers only
    Check {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Text for people, or one JSON object a line for programs
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
        #[command(flatten)]
        inputs: Inputs,
    },
    /// Compile a recipe in memory and run it
    Run {
        file: PathBuf,
        /// Make the candidate of this search, in place of what the recipe saves
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        inputs: Inputs,
        #[command(flatten)]
        limits: Limits,
    },
    /// Make a native executable of a recipe, which takes the flags of `run`
    Build {
        file: PathBuf,
        /// Make the candidate of this search, in place of what the recipe saves
        #[arg(long)]
        name: Option<String>,
        /// The executable to write
        #[arg(short, long, value_name = "EXE")]
        output: PathBuf,
        /// The processor to compile for, as LLVM names it, or `native`
        #[arg(long, value_name = "NAME")]
        cpu: Option<String>,
        #[command(flatten)]
        inputs: Inputs,
    },
    /// Show what would run: tensors per rule, kernels, bytes, peak memory
    Plan {
        file: PathBuf,
        /// Make the candidate of this search, in place of what the recipe saves
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        inputs: Inputs,
        #[command(flatten)]
        limits: Limits,
    },
    /// Show what a recipe leaves open: its decisions, and how many candidates they make
    Space {
        file: PathBuf,
        /// Print this many candidates as files of choices, drawn decision by decision
        #[arg(long, value_name = "N", conflicts_with_all = ["unrank", "contains", "svg"])]
        sample: Option<u32>,
        /// Seed of the drawing
        #[arg(long, value_name = "N", default_value_t = 0)]
        seed: u64,
        /// Draw uniformly from all candidates instead of decision by decision
        #[arg(long, requires = "sample")]
        uniform: bool,
        /// Print the candidate of this number, counted from 0; real numbers have their defaults
        #[arg(long, value_name = "I", conflicts_with_all = ["contains", "svg"])]
        unrank: Option<String>,
        /// Say whether a file of choices is a candidate, and which number it has
        #[arg(long, value_name = "CHOICES", conflicts_with = "svg")]
        contains: Option<PathBuf>,
        /// Print the tree of decisions as a picture
        #[arg(long)]
        svg: bool,
        /// Text for people, or one JSON object for programs
        #[arg(long, value_enum, default_value_t = Format::Human, conflicts_with_all = ["sample", "unrank", "contains", "svg"])]
        format: Format,
        #[command(flatten)]
        inputs: Inputs,
    },
    /// Search the space of a recipe, as its `search` says
    Search {
        file: PathBuf,
        /// Which search, if the recipe has several
        #[arg(long)]
        name: Option<String>,
        /// Another algorithm than the file names, with its default settings
        #[arg(long, value_name = "ALGORITHM")]
        using: Option<String>,
        /// Another seed than the file names
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
        /// Trials in all
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        trials: Option<u64>,
        /// Trials side by side
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        parallel: Option<u16>,
        /// Go on with the journal, without losing or repeating a trial
        #[arg(long)]
        resume: bool,
        /// Keep the models of all trials, not only of the best
        #[arg(long)]
        keep: bool,
        /// Write a page about the journal to this file, instead of searching
        #[arg(long, value_name = "HTML")]
        report: Option<PathBuf>,
        #[command(flatten)]
        inputs: Inputs,
    },
    /// Print the recipe of one candidate, in which nothing is open
    Freeze {
        file: PathBuf,
        #[command(flatten)]
        inputs: Inputs,
    },
    /// List a checkpoint's tensors, or what differs between two
    Inspect {
        checkpoint: PathBuf,
        other: Option<PathBuf>,
        /// Print the text that stands in for the checkpoint where the weights are not at hand (NAME.schema)
        #[arg(long, conflicts_with = "other")]
        schema: bool,
    },
    /// Print a stage of the compiler as text
    Emit {
        #[arg(long, value_enum)]
        ir: Ir,
        file: PathBuf,
        #[command(flatten)]
        inputs: Inputs,
    },
    /// Run the `test` items of recipes on the reference interpreter
    Test {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Explain a diagnostic, with a failing and a fixed example
    Explain { code: String },
}

/// What fills in a recipe.
#[derive(Args, Clone, Default)]
pub struct Inputs {
    /// Set a setting of the recipe
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub set: Vec<(String, String)>,
    /// Take answers to decisions from a JSON file; `--set` goes first
    #[arg(long = "with", value_name = "CHOICES")]
    pub with: Option<PathBuf>,
    /// Read a checkpoint from another place than the recipe says
    #[arg(long = "model", value_name = "NAME=PATH", value_parser = name_and_value)]
    pub models: Vec<(String, String)>,
    /// Start parameters from these trained ones, where name and shape agree
    #[arg(long = "from", value_name = "CHECKPOINT")]
    pub from: Option<PathBuf>,
}

/// What a run may use, and where it writes.
#[derive(Args, Clone)]
pub struct Limits {
    /// Write to this folder instead of the recipe's
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Threads to compute with; all cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Memory to stay within, such as 512MB
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1GiB")]
    pub memory: u64,
    /// Added to the seeds of the recipe's random numbers
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub seed: i64,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Format {
    Human,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Ir {
    Ast,
    Hir,
    Tir,
    Dispatch,
    Kir,
    Plan,
    Llvm,
    Asm,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    merge_runtime::parse_size(text).ok_or_else(|| "write a number and a unit, such as 512MB or 1GiB".to_owned())
}
