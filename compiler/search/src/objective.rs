//! What scores a candidate: a command run for each, or a process that stays and is asked line by line.
//!
//! Whatever goes wrong (a crash, a timeout, no metric, a NaN) is a failure of that trial alone, with its reason. Commands run in a
//! process group of their own, which is killed as a whole, so that nothing of a trial outlives it.

use crate::engine::{Job, Metrics};
use crate::settings::Goal;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value as Json, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How candidates are scored.
#[derive(Clone, Debug, PartialEq)]
pub enum Evaluate {
    /// A shell command, `{model}`, `{budget}` and `{trial}` replaced; the last line it prints that is a number or a JSON object
    /// of numbers is the result.
    Command(String),
    /// A shell command whose process reads `{"trial": 3, "model": "path", "budget": 9.0, "choices": {..}}` line by line and
    /// prints a result for each.
    Process(String),
}

/// The lines of stderr that a failure shows.
const TAIL: usize = 8;
/// The longest line that is looked at; a longer one is cut.
const LINE: u64 = 1 << 20;
/// How often a running trial looks whether it is to stop.
const TICK: Duration = Duration::from_millis(50);

impl Evaluate {
    /// What is wrong with it, if anything.
    pub fn check(&self, uses_budget: bool) -> Result<(), String> {
        let Evaluate::Command(command) = self else { return Ok(()) };
        if !command.contains("{model}") && !command.contains("MERGE_MODEL") {
            return Err(format!("the command `{command}` does not say where the model goes: `{{model}}` stands for its path"));
        }
        if uses_budget && !command.contains("{budget}") && !command.contains("MERGE_BUDGET") {
            return Err(format!(
                "the algorithm deals out budgets, but the command `{command}` does not take one: `{{budget}}` stands for it"
            ));
        }
        Ok(())
    }
}

/// Scores candidates one after the other; each worker has one.
pub struct Objective<'a> {
    evaluate: &'a Evaluate,
    timeout: Option<Duration>,
    directory: Option<&'a Path>,
    /// The goals' metrics; a bare number is the first of them.
    goals: &'a [Goal],
    stop: &'a AtomicBool,
    process: Option<Running>,
}

/// A result, or why there is none. `Stopped`: the search was, the trial did not end.
#[derive(Clone, Debug, PartialEq)]
pub enum Scored {
    Metrics(Metrics),
    Failed(String),
    Stopped,
}

/// A child with its output being read.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Arc<Mutex<VecDeque<String>>>,
    /// Closed when stderr is.
    quiet: Receiver<()>,
}

impl<'a> Objective<'a> {
    pub fn new(
        evaluate: &'a Evaluate,
        timeout: Option<Duration>,
        directory: Option<&'a Path>,
        goals: &'a [Goal],
        stop: &'a AtomicBool,
    ) -> Objective<'a> {
        Objective { evaluate, timeout, directory, goals, stop, process: None }
    }

    pub fn score(&mut self, job: &Job, choices: &Json, model: &Path) -> Scored {
        match self.evaluate {
            Evaluate::Command(command) => self.run(&fill(command, job, model), job, model),
            Evaluate::Process(command) => self.ask(command, job, choices, model),
        }
    }

    fn start(&self, command: &str, asks: bool, job: Option<(&Job, &Path)>) -> Result<Running, String> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).process_group(0);
        shell.stdin(if asks { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(directory) = self.directory {
            shell.current_dir(directory);
        }
        if let Some((job, model)) = job {
            shell.env("MERGE_MODEL", model).env("MERGE_TRIAL", job.number.to_string());
            if let Some(budget) = job.budget {
                shell.env("MERGE_BUDGET", budget.to_string());
            }
        }
        let mut child = shell.spawn().map_err(|error| format!("`{command}` does not start: {error}"))?;
        let (sender, lines) = channel();
        let errors = Arc::new(Mutex::new(VecDeque::new()));
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let tail = errors.clone();
        let keep = move |line: String| {
            let mut tail = tail.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            tail.push_back(line);
            if tail.len() > TAIL {
                tail.pop_front();
            }
            true
        };
        std::thread::spawn(move || each_line(stdout, |line| sender.send(line).is_ok()));
        let (reading, quiet) = channel();
        std::thread::spawn(move || {
            let _ends_with_the_thread: Sender<()> = reading;
            each_line(stderr, keep);
        });
        Ok(Running { stdin: child.stdin.take(), child, lines, errors, quiet })
    }

    fn run(&self, command: &str, job: &Job, model: &Path) -> Scored {
        let mut running = match self.start(command, false, Some((job, model))) {
            Ok(running) => running,
            Err(reason) => return Scored::Failed(reason),
        };
        let begun = Instant::now();
        let mut result = None;
        loop {
            match running.lines.recv_timeout(TICK) {
                Ok(line) => result = metrics(&line, self.goals).or(result),
                // Output is closed; the exit follows.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(1)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            match running.child.try_wait() {
                Ok(Some(status)) => {
                    // What is still in the pipe.
                    while let Ok(line) = running.lines.recv_timeout(TICK) {
                        result = metrics(&line, self.goals).or(result);
                    }
                    running.kill();
                    return finish(status, result, &running);
                }
                Ok(None) => {}
                Err(error) => return Scored::Failed(error.to_string()),
            }
            if let Some(end) = self.interrupted(begun, &mut running) {
                return end;
            }
        }
    }

    /// Kills the process if its time is over or the search is to stop.
    fn interrupted(&self, begun: Instant, running: &mut Running) -> Option<Scored> {
        if self.stop.load(Ordering::Relaxed) {
            running.kill();
            return Some(Scored::Stopped);
        }
        let timeout = self.timeout.filter(|timeout| begun.elapsed() >= *timeout)?;
        running.kill();
        Some(Scored::Failed(running.with_tail(format!("it took longer than {} s", timeout.as_secs_f64()))))
    }

    fn ask(&mut self, command: &str, job: &Job, choices: &Json, model: &Path) -> Scored {
        // One that ended after its last answer owes nothing; another takes its place.
        let alive = self.process.take().and_then(|mut old| matches!(old.child.try_wait(), Ok(None)).then_some(old));
        let mut running = match alive.map_or_else(|| self.start(command, true, None), Ok) {
            Ok(running) => running,
            Err(reason) => return Scored::Failed(reason),
        };
        // What it wrote before it was asked is no answer.
        while running.lines.try_recv().is_ok() {}
        let question = json!({"trial": job.number, "model": model, "budget": job.budget, "choices": choices});
        let begun = Instant::now();
        let stdin = running.stdin.as_mut().expect("piped");
        // A process that is gone is noticed when its output ends.
        let _ = writeln!(stdin, "{question}").and_then(|()| stdin.flush());
        loop {
            match running.lines.recv_timeout(TICK) {
                Ok(line) => {
                    if let Some(result) = metrics(&line, self.goals).filter(|_| !of_another_trial(&line, job)) {
                        self.process = Some(running);
                        return result.map_or_else(Scored::Failed, Scored::Metrics);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    running.kill();
                    let how = running.child.wait().map_or_else(|error| error.to_string(), said);
                    return Scored::Failed(running.with_tail(format!("the process ended ({how})")));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(end) = self.interrupted(begun, &mut running) {
                return end;
            }
        }
    }
}

impl Running {
    fn kill(&mut self) {
        if let Some(group) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }

    fn with_tail(&self, reason: String) -> String {
        // What the process wrote last may still be on its way; a child of it that lives on must not hold this up.
        let _ = self.quiet.recv_timeout(Duration::from_secs(1));
        let tail = self.errors.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let tail: Vec<&str> = tail.iter().map(|line| line.trim_end()).filter(|line| !line.is_empty()).collect();
        if tail.is_empty() { reason } else { format!("{reason}; it said: {}", tail.join(" / ")) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A warm process ends when its input does; what it left behind goes with it.
        drop(self.stdin.take());
        for _ in 0..20 {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }
}

fn finish(status: ExitStatus, result: Option<Result<Metrics, String>>, running: &Running) -> Scored {
    if !status.success() {
        return Scored::Failed(running.with_tail(said(status)));
    }
    match result {
        Some(Ok(metrics)) => Scored::Metrics(metrics),
        Some(Err(reason)) => Scored::Failed(running.with_tail(reason)),
        None => Scored::Failed(running.with_tail("it printed no number and no JSON object of numbers".into())),
    }
}

fn said(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// Calls for each line, without its end, until the callback says no.
fn each_line(stream: impl Read, mut line_read: impl FnMut(String) -> bool) {
    let mut reader = BufReader::new(stream);
    let mut bytes = vec![];
    while reader.by_ref().take(LINE).read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        bytes.clear();
        if !line_read(line) {
            break;
        }
    }
}

/// The line as a result: none if it is neither a number nor an object of JSON; an error if a number in it is none.
fn metrics(line: &str, goals: &[Goal]) -> Option<Result<Metrics, String>> {
    let line = line.trim();
    let metric = goals.first().map_or("score", |goal| goal.metric.as_str());
    let json: Json = match serde_json::from_str(line) {
        Ok(json) => json,
        // What other languages print for numbers that JSON does not have.
        Err(_) if matches!(line, "nan" | "NaN" | "inf" | "-inf" | "Infinity" | "-Infinity") => {
            return Some(Err(format!("`{metric}` is {line}")));
        }
        Err(_) if line.starts_with('{') => {
            let patched = line.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null");
            serde_json::from_str(&patched).ok()?
        }
        Err(_) => return None,
    };
    match json {
        Json::Number(number) => Some(Ok(Metrics::from([(metric.to_owned(), number.as_f64()?)]))),
        Json::Object(object) => {
            if let Some(goal) = goals.iter().find(|goal| object.get(&goal.metric).is_some_and(Json::is_null)) {
                return Some(Err(format!("`{}` is not a finite number", goal.metric)));
            }
            let number = |value: &Json| value.as_f64().or_else(|| value.as_bool().map(|b| f64::from(u8::from(b))));
            let numbers = object.iter().filter_map(|(name, value)| Some((name.clone(), number(value)?)));
            Some(Ok(numbers.collect()))
        }
        _ => None,
    }
}

/// Does the line say that it is about another trial?
fn of_another_trial(line: &str, job: &Job) -> bool {
    let json: Option<Json> = serde_json::from_str(line).ok();
    json.and_then(|json| json.get("trial")?.as_u64()).is_some_and(|trial| trial != job.number)
}

/// The command with its places filled; paths with special characters are quoted.
fn fill(command: &str, job: &Job, model: &Path) -> String {
    let path = model.to_string_lossy();
    let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+=,:@".contains(c));
    let path = if plain { path.into_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) };
    let budget = job.budget.map_or_else(String::new, |budget| budget.to_string());
    command.replace("{model}", &path).replace("{budget}", &budget).replace("{trial}", &job.number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Assignment;

    fn job() -> Job {
        Job { number: 3, assignment: Assignment::default(), budget: Some(9.0) }
    }

    fn goals() -> Vec<Goal> {
        ["acc", "loss"].map(|metric| Goal { metric: metric.into(), maximize: true }).to_vec()
    }

    fn score(evaluate: &Evaluate, timeout: f64) -> Scored {
        let (stop, goals) = (AtomicBool::new(false), goals());
        let timeout = Some(Duration::from_secs_f64(timeout));
        let mut objective = Objective::new(evaluate, timeout, None, &goals, &stop);
        objective.score(&job(), &json!({"a": 1}), Path::new("/tmp/a model"))
    }

    fn command(text: &str) -> Scored {
        score(&Evaluate::Command(text.into()), 20.0)
    }

    fn failed(text: &str) -> String {
        match command(text) {
            Scored::Failed(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn numbers(pairs: &[(&str, f64)]) -> Scored {
        Scored::Metrics(pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
    }

    #[test]
    fn the_last_line_that_is_json_is_the_result() {
        assert_eq!(command("echo 0.25"), numbers(&[("acc", 0.25)]));
        let two = r#"echo '{"acc": 1}'; echo loading; echo '{"acc": 2, "ok": true, "note": "x"}'; echo bye; true {model}"#;
        assert_eq!(command(two), numbers(&[("acc", 2.0), ("ok", 1.0)]));
        assert_eq!(command("echo {budget}{trial}"), numbers(&[("acc", 93.0)]));
        assert_eq!(
            command("test {model} = '/tmp/a model' && test \"$MERGE_MODEL\" = {model} && echo 1"),
            numbers(&[("acc", 1.0)])
        );
        assert_eq!(command("printf 7"), numbers(&[("acc", 7.0)]), "no end of line");
    }

    #[test]
    fn what_goes_wrong_is_said() {
        assert!(failed("echo 1; echo oh no >&2; exit 3").contains("exit code 3; it said: oh no"));
        assert!(failed("kill -9 $$").contains("signal 9"));
        assert!(failed("true").contains("no number"));
        assert!(failed("echo nan").contains("`acc` is nan"));
        assert!(failed(r#"echo '{"acc": NaN}'"#).contains("not a finite"));
        let second = failed(r#"echo '{"acc": 1, "loss": NaN}'"#);
        assert!(second.contains("`loss` is not a finite number"), "{second}");
        assert!(failed("not_a_command_at_all").contains("exit code 127"));
    }

    #[test]
    fn a_timeout_kills_the_whole_group() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("alive");
        let text = format!("(sleep 2; touch {}) & sleep 30", marker.display());
        let begun = Instant::now();
        let Scored::Failed(reason) = score(&Evaluate::Command(text), 0.2) else { panic!() };
        assert!(reason.contains("longer than 0.2 s"), "{reason}");
        assert!(begun.elapsed() < Duration::from_secs(2));
        std::thread::sleep(Duration::from_millis(2300));
        assert!(!marker.exists(), "a child of the command lived on");
    }

    #[test]
    fn a_warm_process_is_asked_again_and_started_again() {
        let script = r#"n=0; while read line; do n=$((n+1)); test $n = 3 && exit 1; echo log; echo "{\"acc\": $n}"; done"#;
        let evaluate = Evaluate::Process(script.into());
        let (stop, goals) = (AtomicBool::new(false), goals());
        let mut objective = Objective::new(&evaluate, Some(Duration::from_secs(20)), None, &goals, &stop);
        let mut ask = || objective.score(&job(), &json!({}), Path::new("m"));
        assert_eq!(ask(), numbers(&[("acc", 1.0)]));
        assert_eq!(ask(), numbers(&[("acc", 2.0)]));
        assert!(matches!(ask(), Scored::Failed(reason) if reason.contains("ended (exit code 1)")));
        assert_eq!(ask(), numbers(&[("acc", 1.0)]), "a new process");
    }

    #[test]
    fn an_answer_belongs_to_its_question() {
        let asked = |script: &str| {
            let evaluate = Evaluate::Process(script.into());
            let (stop, goals) = (AtomicBool::new(false), goals());
            let mut objective = Objective::new(&evaluate, Some(Duration::from_secs(20)), None, &goals, &stop);
            [(), ()].map(|()| {
                let scored = objective.score(&job(), &json!({}), Path::new("m"));
                std::thread::sleep(Duration::from_millis(300));
                scored
            })
        };
        let one = || numbers(&[("acc", 1.0), ("trial", 3.0)]);
        let other = r#"while read line; do echo '{"trial": 2, "acc": 5}'; echo '{"trial": 3, "acc": 1}'; echo 7; done"#;
        assert_eq!(asked(other), [one(), one()], "of another trial, and more than was asked for");
        let once = r#"read line; echo '{"trial": 3, "acc": 1}'"#;
        assert_eq!(asked(once), [one(), one()], "it ends after each answer");
    }

    #[test]
    fn commands_without_a_place_for_the_model_are_refused() {
        assert!(Evaluate::Command("./score.sh".into()).check(false).unwrap_err().contains("{model}"));
        assert!(Evaluate::Command("./score.sh {model}".into()).check(true).unwrap_err().contains("{budget}"));
        assert!(Evaluate::Command("./score.sh {model} {budget}".into()).check(true).is_ok());
    }
}
