//! Measuring processes from outside.

use std::{
    ffi::CString,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// One run of a process.
pub struct Measured {
    /// Seconds.
    pub wall: f64,
    /// Seconds, user and system.
    pub cpu: f64,
    /// Peak of the process's anonymous resident memory, sampled every few milliseconds.
    pub anonymous_mb: f64,
}

impl Measured {
    /// The medians of several runs, figure by figure.
    pub fn median(runs: &[Measured]) -> Measured {
        let of = |f: fn(&Measured) -> f64| median(runs.iter().map(f).collect());
        Measured { wall: of(|m| m.wall), cpu: of(|m| m.cpu), anonymous_mb: of(|m| m.anonymous_mb) }
    }
}

/// Runs a process to its end; its output is thrown away.
pub fn measure(program: &Path, arguments: &[String]) -> Result<Measured, String> {
    let start = Instant::now();
    let child = spawn(program, arguments)?;
    let pid = child.id();
    let sampler = std::thread::spawn(move || peak_anonymous_kb(pid));
    let (status, cpu) = wait(&child)?;
    let wall = start.elapsed().as_secs_f64();
    let peak = sampler.join().map_err(|_| "the sampler panicked")?;
    if status != 0 {
        return Err(format!("`{} {}` failed", program.display(), arguments.join(" ")));
    }
    Ok(Measured { wall, cpu, anonymous_mb: peak as f64 / 1000.0 })
}

/// Wall seconds of one run.
pub fn wall_of(program: &Path, arguments: &[String]) -> Result<f64, String> {
    let start = Instant::now();
    let (status, _) = wait(&spawn(program, arguments)?)?;
    if status == 0 { Ok(start.elapsed().as_secs_f64()) } else { Err(format!("`{}` failed", arguments.join(" "))) }
}

/// Wall seconds until a run of `recipe` has the first block of output on its disk, or ends because the disk
/// is too small, which it finds out just before it writes. The run is then stopped.
pub fn first_byte(program: &Path, recipe: &str, out: &Path) -> Result<f64, String> {
    let parent = out.parent().ok_or("an output folder has a parent")?;
    let start = Instant::now();
    let mut child = spawn(program, &["run".into(), recipe.into(), "--out".into(), out.display().to_string()])?;
    let seconds = loop {
        if child.try_wait().map_err(|e| e.to_string())?.is_some() || has_written(parent) {
            break start.elapsed().as_secs_f64();
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    // SAFETY: a signal to our own child, which has not been waited for or has ended.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let _ = child.wait();
    Ok(seconds)
}

/// Whether a partial output (a hidden folder) holds a file with blocks of its own.
fn has_written(folder: &Path) -> bool {
    let list = |p: &Path| std::fs::read_dir(p).into_iter().flatten().flatten().collect::<Vec<_>>();
    let hidden = list(folder).into_iter().filter(|e| e.file_name().as_bytes().starts_with(b"."));
    hidden.flat_map(|e| list(&e.path())).any(|f| f.metadata().is_ok_and(|m| m.blocks() > 0))
}

fn spawn(program: &Path, arguments: &[String]) -> Result<Child, String> {
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("cannot start {}: {e}", program.display()))
}

/// Waits for a child; exit status and CPU seconds.
fn wait(child: &Child) -> Result<(i32, f64), String> {
    let mut status = 0;
    // SAFETY: `rusage` is plain data, and both pointers are to locals.
    let (pid, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(child.id() as i32, &mut status, 0, &mut usage), usage)
    };
    if pid < 0 {
        return Err("wait4 failed".to_owned());
    }
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    Ok((status, seconds(usage.ru_utime) + seconds(usage.ru_stime)))
}

fn peak_anonymous_kb(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/status");
    let mut peak = 0;
    while let Ok(text) = std::fs::read_to_string(&path) {
        let line = text.lines().find_map(|l| l.strip_prefix("RssAnon:"));
        // A process that has ended but was not waited for has no such line.
        let Some(kb) = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok()) else { break };
        peak = peak.max(kb);
        std::thread::sleep(Duration::from_millis(5));
    }
    peak
}

/// The middle value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n % 2 == 1 { values[n / 2] } else { (values[n / 2 - 1] + values[n / 2]) / 2.0 }
}

/// Free bytes of the file system that holds `path`.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: `statvfs` is plain data and the path is a C string.
    unsafe {
        let mut info: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &mut info) == 0).then(|| info.f_bavail * info.f_frsize)
    }
}
