//! The command line of built executables.
//!
//! `mergec build` links a recipe's kernels, its encoded plan and this library; its `main` calls
//! [`merge_main`] with them. The flags are those of `mergec run` that need no compiler.

use crate::{Error, Options, decode_plan, interrupt, parse_size, progress, run};
use merge_abi::{KernelFn, Plan};
use std::{
    ffi::{CStr, c_char, c_int},
    path::PathBuf,
};

const FINE: c_int = 0;

/// What a built executable's `main` calls. Gives the exit code: 0 fine, 1 the recipe is wrong, 2 the usage
/// is, 3 the world is.
///
/// # Safety
/// `argv` holds `argc` C strings, `plan` points to `plan_len` bytes, and `kernels` to `count` kernels in
/// the order of the plan.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn merge_main(
    argc: c_int,
    argv: *const *const c_char,
    plan: *const u8,
    plan_len: usize,
    kernels: *const KernelFn,
    count: usize,
) -> c_int {
    let texts = (0..usize::try_from(argc).unwrap_or(0)).map(|i| {
        // SAFETY: the caller gives `argc` C strings.
        unsafe { CStr::from_ptr(*argv.add(i)) }.to_string_lossy().into_owned()
    });
    let arguments: Vec<String> = texts.collect();
    // SAFETY: the caller's promise. A recipe that only copies has no kernels, and perhaps no address of them.
    let plan = if plan_len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(plan, plan_len) } };
    // SAFETY: as above.
    let kernels = if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(kernels, count) } };
    let done = std::panic::catch_unwind(|| perform(&arguments, plan, kernels));
    match done {
        Ok(Ok(())) => FINE,
        Ok(Err(error)) => {
            eprintln!("{}: {error}", error.head());
            c_int::from(error.exit_code())
        }
        // The panic printed itself; it must not unwind into C.
        Err(_) => c_int::from(crate::Kind::Internal.exit_code()),
    }
}

fn perform(arguments: &[String], plan: &[u8], kernels: &[KernelFn]) -> Result<(), Error> {
    let plan = decode_plan(plan)?;
    let fixed: Vec<&str> = plan.recipe.structural.iter().map(|s| &*s.0).collect();
    let Some(options) = parse(arguments.get(1..).unwrap_or(&[]), &fixed)? else {
        let name = arguments.first().map_or("merge", |a| a.rsplit('/').next().unwrap_or(a));
        print!("{}", help(name, &plan));
        return Ok(());
    };
    interrupt::listen();
    let summary = run(&plan, kernels, &options, &*progress::for_terminal())?;
    println!("{}", summary.text());
    Ok(())
}

/// The options that some arguments say, or none where help is asked for. The settings in `fixed` were decided when
/// the recipe was compiled: naming one is an error whatever its value, which is not read here.
///
/// # Errors
/// Of the usage.
pub fn parse(arguments: &[String], fixed: &[&str]) -> Result<Option<Options>, Error> {
    const FLAGS: [&str; 7] = ["--set", "--model", "--out", "--threads", "--memory", "--seed", "--help"];
    let mut options = Options::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (flag, joined) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (&**argument, None),
        };
        if matches!(flag, "--help" | "-h") {
            return Ok(None);
        }
        if !FLAGS.contains(&flag) {
            let what = if flag.starts_with('-') { "flag" } else { "argument" };
            return Err(Error::usage(format!("unknown {what} `{argument}`")).with_help("`--help` lists the flags"));
        }
        let value = joined.or_else(|| rest.next().cloned());
        let value = value.ok_or_else(|| Error::usage(format!("`{flag}` wants a value")).with_help("`--help` shows which"))?;
        let wrong = |wants: &str| Error::usage(format!("`{flag} {value}` is wrong: {wants}"));
        let pair = || match value.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
            _ => Err(wrong("write NAME=VALUE")),
        };
        match flag {
            "--set" => {
                let (name, text) = pair()?;
                let number = match text.parse() {
                    Ok(number) => number,
                    Err(_) if fixed.contains(&&*name) => f64::NAN,
                    Err(_) => return Err(wrong(&format!("`{text}` is not a number"))),
                };
                options.settings.push((name, number));
            }
            "--model" => {
                let (name, path) = pair()?;
                options.models.push((name, PathBuf::from(path)));
            }
            "--out" => options.out = Some(PathBuf::from(&value)),
            "--threads" => match value.parse() {
                Ok(threads @ 1..) => options.threads = Some(threads),
                _ => return Err(wrong("write a number from 1 on")),
            },
            "--memory" => options.memory = parse_size(&value).ok_or_else(|| wrong("write a size, such as 512MB or 1GiB"))?,
            _ => options.seed = value.parse().map_err(|_| wrong("write a whole number"))?,
        }
    }
    Ok(Some(options))
}

/// What `--help` prints.
fn help(name: &str, plan: &Plan) -> String {
    let mut text = format!("{} compiled by Merge\n\nUsage: {name} [FLAGS]\n\n", plan.recipe.name);
    let mut flag = |flag: &str, what: &str| text.push_str(&format!("  {flag:<22} {what}\n"));
    flag("--set NAME=VALUE", "give a setting another value");
    flag("--model NAME=PATH", "take another checkpoint of the same shapes");
    flag("--out PATH", "save there");
    flag("--threads N", "use so many threads (default: all cores)");
    flag("--memory SIZE", "use so much memory (default: 1GiB)");
    flag("--seed N", "added to the seeds of the recipe (default: 0)");
    flag("--help", "print this");
    if !plan.settings.is_empty() {
        text.push_str("\nSettings:\n");
        for s in &plan.settings {
            let range = s.range.map_or(String::new(), |(low, high)| format!(", {low} to {high}"));
            text.push_str(&format!("  {:<22} default {}{range}\n", s.name, s.default));
        }
    }
    text.push_str("\nCheckpoints:\n");
    for c in &plan.checkpoints {
        text.push_str(&format!("  {:<22} {}\n", c.name, c.path));
    }
    text.push_str("\nSaves:\n");
    for o in &plan.outputs {
        text.push_str(&format!("  {} ({} tensors)\n", o.path, o.tensors.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn parse(text: &str) -> Result<Option<Options>, Error> {
        super::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), &["who"])
    }

    #[test]
    fn flags() {
        let options = parse("--set w=0.25 --model base=a/b --out=x --threads 3 --memory 2GiB --seed -7").unwrap().unwrap();
        assert_eq!(options.settings, [("w".to_owned(), 0.25)]);
        assert_eq!(options.models, [("base".to_owned(), PathBuf::from("a/b"))]);
        assert_eq!(options.out, Some(PathBuf::from("x")));
        assert_eq!((options.threads, options.memory, options.seed), (Some(3), 2 << 30, -7));
        assert!(parse("--set w=1 --help").unwrap().is_none());
        assert_eq!(parse("--set who=math").unwrap().unwrap().settings[0].0, "who");
    }

    #[test]
    fn wrong_flags_are_usage() {
        for wrong in
            ["--set w", "--set w=x", "--set =1", "--threads 0", "--memory big", "--seed 1.5", "--nonsense", "file", "--out"]
        {
            assert_eq!(parse(wrong).unwrap_err().kind, Kind::Usage, "{wrong}");
        }
    }

    #[test]
    fn a_plan_goes_through_its_bytes() {
        let plan = Plan { stats: 3, ..Plan::default() };
        assert_eq!(decode_plan(&crate::encode_plan(&plan)), Ok(plan));
        assert!(decode_plan(&[]).is_err());
    }
}
