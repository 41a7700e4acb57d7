//! What each command does. Every function gives the exit code.

use crate::{
    arguments::{Command, Format, Inputs, Ir, Limits},
    render, search,
    space::{self, Show},
};
use merge_base::did_you_mean;
use merge_driver::{Analysis, Request, Stage, Undecided, search::Flags};
use merge_runtime::{Error, Options, Summary, checkpoint::Checkpoint, inspect, schema_text};
use std::path::{Path, PathBuf};

pub const FINE: u8 = 0;
pub const RECIPE_WRONG: u8 = 1;
const USAGE_WRONG: u8 = 2;
const WORLD_WRONG: u8 = 3;

/// Performs a command.
pub fn perform(command: Command) -> u8 {
    let done = match command {
        Command::Check { files, format, inputs } => check(&files, format, &inputs),
        Command::Run { file, name, inputs, limits } => run(named(file, name, &inputs, Undecided::Refused), &limits),
        Command::Build { file, name, output, cpu, inputs } => {
            build(named(file, name, &inputs, Undecided::Refused), &output, cpu.as_deref())
        }
        Command::Plan { file, name, inputs, limits } => plan(named(file, name, &inputs, Undecided::First), &limits),
        Command::Space { file, sample, seed, uniform, unrank, contains, svg, format, inputs } => {
            let show = match (sample, unrank, contains, svg) {
                (Some(count), ..) => Show::Sample { count, seed, uniform },
                (_, Some(number), ..) => Show::Unrank(number),
                (_, _, Some(file), _) => Show::Contains(file),
                (_, _, _, true) => Show::Svg,
                _ => Show::Tree(format),
            };
            space::space(request(file, &inputs, Undecided::First), &show)
        }
        Command::Search { file, name, using, seed, trials, parallel, resume, keep, report, inputs } => {
            let flags = Flags { name, using, seed, trials, parallel: parallel.map(usize::from), resume, keep };
            search::search(request(file, &inputs, Undecided::First), &flags, report.as_deref())
        }
        Command::Freeze { file, inputs } => space::freeze(request(file, &inputs, Undecided::Refused)),
        Command::Inspect { checkpoint, other, schema } => inspect(&checkpoint, other.as_deref(), schema),
        Command::Emit { ir, file, inputs } => emit(ir, file, &inputs),
        Command::Test { files } => test(&files),
        Command::Explain { code } => explain(&code),
    };
    done.unwrap_or_else(|error| render::error(&error))
}

fn analyse(file: PathBuf, inputs: &Inputs, undecided: Undecided) -> Result<Analysis, Error> {
    merge_driver::analyse(&request(file, inputs, undecided)?)
}

fn request(file: PathBuf, inputs: &Inputs, undecided: Undecided) -> Result<Request, Error> {
    let models = inputs.models.iter().map(|(name, path)| (name.clone(), PathBuf::from(path))).collect();
    merge_driver::refuse_two_answers(&inputs.set)?;
    // The last answer to a decision counts.
    let mut set = inputs.with.as_deref().map_or(Ok(Vec::new()), merge_driver::read_choices)?;
    set.extend(inputs.set.iter().cloned());
    Ok(Request { file, set, models, undecided, from: inputs.from.clone(), ..Request::default() })
}

/// [`request`] for the candidate of a search.
fn named(file: PathBuf, name: Option<String>, inputs: &Inputs, undecided: Undecided) -> Result<Request, Error> {
    Ok(Request { search: name, ..request(file, inputs, undecided)? })
}

/// The analysis where the recipe has no errors, else the exit code; what it says is printed either way.
fn sound(request: Result<Request, Error>) -> Result<Result<Analysis, u8>, Error> {
    let analysis = merge_driver::analyse(&request?)?;
    render::human(&analysis.diagnostics, &analysis.sources);
    Ok(match exit_code(&analysis) {
        FINE => Ok(analysis),
        code => Err(code),
    })
}

pub fn exit_code(analysis: &Analysis) -> u8 {
    match analysis.has_errors() {
        false => FINE,
        true if analysis.only_the_world_is_wrong() => WORLD_WRONG,
        true => RECIPE_WRONG,
    }
}

fn check(files: &[PathBuf], format: Format, inputs: &Inputs) -> Result<u8, Error> {
    let mut code = FINE;
    for file in files {
        let all = request(file.clone(), inputs, Undecided::First).and_then(|r| merge_driver::analyse_all(&r));
        let analysis = match all {
            Ok(analysis) => analysis,
            // The other files are still worth checking.
            Err(error) => {
                code = code.max(render::error(&error));
                continue;
            }
        };
        match format {
            Format::Human => {
                render::human(&analysis.diagnostics, &analysis.sources);
                render::notes(&analysis.notes);
            }
            Format::Json => render::json(&analysis.diagnostics, &analysis.notes, &analysis.sources),
        }
        code = code.max(exit_code(&analysis));
    }
    Ok(code)
}

fn run(request: Result<Request, Error>, limits: &Limits) -> Result<u8, Error> {
    let analysis = match sound(request)? {
        Ok(analysis) => analysis,
        Err(code) => return Ok(code),
    };
    if analysis.elaborated.graph.outputs.is_empty() {
        return Err(merge_driver::saves_nothing(&analysis));
    }
    merge_runtime::interrupt::listen();
    let progress = merge_runtime::progress::for_terminal();
    let summary = merge_driver::run(&analysis, &options(limits), &*progress)?;
    print_summary(&summary);
    if let Some(taken) = merge_driver::taken_over(&analysis.elaborated.graph) {
        println!("{taken}");
    }
    Ok(FINE)
}

/// Settings and other paths are part of the analysis already.
fn options(limits: &Limits) -> Options {
    Options {
        out: limits.out.clone(),
        threads: limits.threads.map(usize::from),
        memory: limits.memory,
        seed: limits.seed,
        ..Options::default()
    }
}

fn print_summary(summary: &Summary) {
    println!("{}", summary.text());
}

fn build(request: Result<Request, Error>, to: &Path, cpu: Option<&str>) -> Result<u8, Error> {
    let analysis = match sound(request)? {
        Ok(analysis) => analysis,
        Err(code) => return Ok(code),
    };
    if is_no_program(to) {
        return Err(Error::usage(format!("will not replace `{}`: it is no executable", to.display()))
            .with_help("name another file behind `-o`, or move that away first"));
    }
    merge_driver::build(&analysis, to, cpu)?;
    println!("wrote {}", to.display());
    Ok(FINE)
}

/// Whether this is a file that cannot be executed, such as the recipe itself.
fn is_no_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 == 0)
}

fn plan(request: Result<Request, Error>, limits: &Limits) -> Result<u8, Error> {
    let analysis = match sound(request)? {
        Ok(analysis) => analysis,
        Err(code) => return Ok(code),
    };
    let Some(compiled) = &analysis.compiled else { return Ok(RECIPE_WRONG) };
    print!("{}", merge_driver::describe_plan(&analysis, compiled, &options(limits))?);
    Ok(FINE)
}

fn inspect(path: &Path, other: Option<&Path>, schema: bool) -> Result<u8, Error> {
    let checkpoint = Checkpoint::open(path)?;
    let text = match other {
        Some(other) => inspect::difference(&checkpoint, &Checkpoint::open(other)?),
        None if schema => schema_text::write(&checkpoint),
        None => inspect::listing(&checkpoint),
    };
    print!("{text}");
    Ok(FINE)
}

fn emit(ir: Ir, file: PathBuf, inputs: &Inputs) -> Result<u8, Error> {
    let stage = match ir {
        Ir::Ast => Stage::Ast,
        Ir::Hir => Stage::Hir,
        Ir::Tir => Stage::Tir,
        Ir::Dispatch => Stage::Dispatch,
        Ir::Kir => Stage::Kir,
        Ir::Plan => Stage::Plan,
        Ir::Llvm => Stage::Llvm,
        Ir::Asm => Stage::Asm,
    };
    let analysis = analyse(file, inputs, Undecided::First)?;
    render::human(&analysis.diagnostics, &analysis.sources);
    match merge_driver::emit(&analysis, stage)? {
        Some(text) => print!("{text}"),
        None => return Ok(RECIPE_WRONG),
    }
    Ok(exit_code(&analysis))
}

fn test(files: &[PathBuf]) -> Result<u8, Error> {
    let (mut passed, mut failed) = (0, 0);
    for file in files {
        let analysis = match sound(request(file.clone(), &Inputs::default(), Undecided::First))? {
            Ok(analysis) => analysis,
            Err(code) => return Ok(code),
        };
        for result in merge_driver::run_tests(&analysis) {
            match &result.failure {
                None => passed += 1,
                Some(found) => {
                    failed += 1;
                    println!("FAILED {} ({}): {found}", result.title, analysis.sources.place(result.span));
                }
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed > 0 { RECIPE_WRONG } else { FINE })
}

fn explain(code: &str) -> Result<u8, Error> {
    if let Some(page) = merge_driver::error_page(code) {
        print!("{page}");
        return Ok(FINE);
    }
    let codes = merge_driver::error_pages().iter().map(|(code, _)| *code);
    let help = match did_you_mean(code, codes) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "codes look like E2003; `mergec check` prints them in brackets".to_owned(),
    };
    eprintln!("error: no diagnostic is called `{code}`\nhelp: {help}");
    Ok(USAGE_WRONG)
}
