//! `mergec space` and `mergec freeze`.

use crate::arguments::Format;
use crate::commands::{FINE, RECIPE_WRONG, exit_code};
use crate::render;
use merge_driver::{Request, space::Checks};
use merge_runtime::Error;
use std::path::PathBuf;

/// What to print of a space.
pub enum Show {
    Tree(Format),
    Sample { count: u32, seed: u64, uniform: bool },
    Unrank(String),
    Contains(PathBuf),
    Svg,
}

/// Prints a space, or candidates of it.
pub fn space(request: Result<Request, Error>, show: &Show) -> Result<u8, Error> {
    let mut open = match merge_driver::space::open(&request?, Checks::Left)? {
        Ok(open) => open,
        Err(analysis) => {
            render::human(&analysis.diagnostics, &analysis.sources);
            return Ok(exit_code(&analysis).max(RECIPE_WRONG));
        }
    };
    render::human(&open.diagnostics, open.sources());
    render::notes(&open.notes);
    match show {
        Show::Tree(format) => {
            open.price();
            match format {
                Format::Human => print!("{}", open.describe()),
                Format::Json => println!("{}", open.to_json()),
            }
        }
        Show::Svg => print!("{}", open.svg()),
        Show::Sample { count, seed, uniform } => {
            for candidate in open.sample(*count, *seed, *uniform) {
                println!("{}", open.choices_text(&candidate));
            }
        }
        Show::Unrank(number) => {
            let candidate = open.unrank(number).ok_or_else(|| {
                Error::usage(format!("`{number}` is no number of a candidate"))
                    .with_help(format!("there are {}, numbered from 0", open.count_text()))
            })?;
            println!("{}", open.choices_text(&candidate));
        }
        Show::Contains(file) => {
            let choices = merge_driver::read_choices(file)?;
            match open.candidate(&choices) {
                Ok(candidate) => println!("yes, it is candidate {}", open.rank(&candidate).unwrap_or_default()),
                Err(reason) => {
                    println!("no: {reason}");
                    return Ok(RECIPE_WRONG);
                }
            }
        }
    }
    Ok(FINE)
}

/// Prints the recipe of one candidate.
pub fn freeze(request: Result<Request, Error>) -> Result<u8, Error> {
    match merge_driver::freeze(&request?)? {
        Ok(text) => {
            print!("{text}");
            Ok(FINE)
        }
        Err(analysis) => {
            render::human(&analysis.diagnostics, &analysis.sources);
            Ok(exit_code(&analysis))
        }
    }
}
