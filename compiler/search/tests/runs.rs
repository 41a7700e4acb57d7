//! Whole searches: journals, resumption, failures, parallel trials.

use merge_search::engine::{Job, Metrics};
use merge_search::journal::{self, Event, JournalError, Record, Status};
use merge_search::objective::Evaluate;
use merge_search::run::{End, Happening, Model, Models, Options, Outcome, SearchError, run_search};
use merge_search::{Algorithm, Assignment, Domain, Goal, Space, SpaceBuilder, Value};
use serde_json::Map;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

fn space(extra: Option<&str>) -> Space {
    let mut b = SpaceBuilder::new();
    let unit = b.unit();
    let d = b.decide("d", Domain::Real { low: 0.05, high: 1.0, log: false }, Some(Value::Real(0.5)));
    let k = b.decide("k", Domain::ordered(["4", "8", "16"]), None);
    let mut all = vec![b.arms("method", [("ties", d), ("keep", unit)], None), k];
    all.extend(extra.map(|name| b.decide(name, Domain::Int { low: 1, high: 9, log: false }, None)));
    let root = b.all(all);
    let root = b.scope("candidate", root);
    b.finish(root).unwrap()
}

/// Models are files that hold their choices.
struct Files<'a> {
    space: &'a Space,
    folder: PathBuf,
    made: Mutex<Vec<u64>>,
}

impl Models for Files<'_> {
    fn feasible(&self, candidate: &Assignment) -> Result<(), String> {
        let k = candidate.get(self.space.slot("candidate.k").unwrap());
        if k == Some(&Value::Member(2)) { Err("params are over the budget".into()) } else { Ok(()) }
    }

    fn materialise(&self, job: &Job) -> Result<Model, String> {
        self.made.lock().unwrap().push(job.number);
        if job.number == 5 {
            return Err("out of disk".into());
        }
        let path = self.folder.join(format!("model {}", job.number));
        let choices = self.space.to_json(&job.assignment);
        let d = choices.get("candidate.method.ties.d").and_then(|d| d.as_f64()).unwrap_or(0.0);
        std::fs::write(&path, format!("{d}\n")).map_err(|e| e.to_string())?;
        Ok(Model { path, costs: Metrics::from([("params".into(), 100.0 + d)]), work: None })
    }

    fn ended(&self, _: &Record, model: Option<&Model>, _: bool) {
        if let Some(model) = model {
            std::fs::remove_file(&model.path).unwrap();
        }
    }
}

fn folder(name: &str) -> TempDir {
    tempfile::Builder::new().prefix(&format!("merge-search-{name}-")).tempdir().unwrap()
}

fn options(folder: &TempDir, algorithm: &str, trials: u64, parallel: usize) -> Options {
    Options {
        recipe: "test".into(),
        algorithm: Algorithm::parse(algorithm, Map::new()).unwrap(),
        seed: 7,
        goals: vec![Goal { metric: "accuracy".into(), maximize: true }],
        trials,
        parallel,
        evaluate: Evaluate::Command(r#"x=$(cat {model}); echo "{\"accuracy\": $x}""#.into()),
        timeout: Some(std::time::Duration::from_secs(60)),
        directory: None,
        journal: folder.path().join("test.trials.jsonl"),
        resume: false,
    }
}

fn run(space: &Space, options: &Options) -> (Result<Outcome, SearchError>, Vec<u64>) {
    let folder = options.journal.parent().unwrap().to_owned();
    let models = Files { space, folder, made: Mutex::new(vec![]) };
    let outcome = run_search(space, options, &models, &AtomicBool::new(false), &mut |_| {});
    (outcome, models.made.into_inner().unwrap())
}

/// What a journal says, without the times.
fn story(path: &Path) -> Vec<String> {
    let mut trials: Vec<(u64, String)> = vec![];
    let mut others = vec![];
    for event in journal::read(path).unwrap().1 {
        match event {
            Event::Trial(r) => trials.push((r.trial, format!("{} {:?} {:?} {:?}", r.choices, r.status, r.metrics, r.reason))),
            Event::RuledOut { choices, .. } => others.push(choices.to_string()),
            Event::Edited { space, .. } => others.push(space),
        }
    }
    trials.sort();
    trials.into_iter().map(|(_, text)| text).chain(others).collect()
}

#[test]
fn a_search_ends_with_the_best_and_everything_written_down() {
    let (space, folder) = (space(None), folder("whole"));
    let options = options(&folder, "tpe", 30, 1);
    let mut ended = vec![];
    let models = Files { space: &space, folder: folder.path().to_owned(), made: Mutex::new(vec![]) };
    let outcome = run_search(&space, &options, &models, &AtomicBool::new(false), &mut |happening| {
        if let Happening::Ended { record, progress } = happening {
            ended.push((record.trial, progress.best.as_ref().map(|best| best.metrics["accuracy"])));
        }
    });
    let outcome = outcome.unwrap();
    assert_eq!((outcome.end, outcome.progress.ended, outcome.progress.failed), (End::Trials, 30, 1));
    assert!(outcome.progress.ruled_out > 0);
    let (header, events) = journal::read(&options.journal).unwrap();
    assert_eq!(header.space, space.hash());
    let records: Vec<Record> = events.into_iter().filter_map(|e| if let Event::Trial(r) = e { Some(r) } else { None }).collect();
    assert_eq!(records.len(), 30);
    assert_eq!(records[0].choices["candidate.method.ties.d"], 0.5, "the defaults come first");
    let failed: Vec<&Record> = records.iter().filter(|r| r.status == Status::Failed).collect();
    assert_eq!((failed[0].trial, failed[0].reason.as_deref()), (5, Some("out of disk")));
    let best = records.iter().filter_map(|r| r.metrics.get("accuracy")).fold(0.0, |a: f64, b| a.max(*b));
    assert_eq!(outcome.front[0].metrics["accuracy"], best);
    assert_eq!(ended.last().unwrap().1, Some(best));
    assert!(best > 0.9, "{best}");
    assert!(outcome.front[0].metrics["params"] > 100.0, "costs known without trying are metrics too");
}

#[test]
fn a_search_goes_on_after_a_kill_at_any_moment_as_if_there_was_none() {
    let space = space(None);
    for (algorithm, parallel) in [("tpe", 1), ("mcts", 3), ("cmaes", 2), ("evolution", 1)] {
        let whole = folder(&format!("kill-whole-{algorithm}"));
        let all = options(&whole, algorithm, 24, parallel);
        run(&space, &all).0.unwrap();
        let text = std::fs::read_to_string(&all.journal).unwrap();
        let expected = story(&all.journal);
        for cut in [0, 40, text.find('\n').unwrap(), text.len() / 3, text.len() * 2 / 3, text.len() - 1] {
            let part = folder(&format!("kill-part-{algorithm}"));
            let mut rest = options(&part, algorithm, 24, parallel);
            rest.resume = true;
            std::fs::write(&rest.journal, &text[..cut]).unwrap();
            let kept = text[..cut].lines().filter(|l| l.contains("\"event\":\"trial\"") && l.ends_with('}')).count();
            let (outcome, made) = run(&space, &rest);
            let outcome = outcome.unwrap();
            assert_eq!(outcome.progress.ended, 24, "{algorithm} {cut} {outcome:?}");
            assert!(made.len() <= 24 - kept.saturating_sub(1), "{algorithm}: {kept} kept, {} made", made.len());
            assert_eq!(story(&rest.journal), expected, "{algorithm} cut at {cut}");
        }
    }
}

#[test]
fn parallel_trials_do_not_change_from_run_to_run() {
    let space = space(None);
    let stories: Vec<Vec<String>> = (0..3)
        .map(|i| {
            let folder = folder(&format!("parallel-{i}"));
            let options = options(&folder, "smbo", 24, 4);
            run(&space, &options).0.unwrap();
            story(&options.journal)
        })
        .collect();
    assert_eq!(stories[0], stories[1]);
    assert_eq!(stories[0], stories[2]);
}

#[test]
fn journals_that_do_not_fit_are_refused_with_the_reason() {
    let (one, folder) = (space(None), folder("journals"));
    let mut options = options(&folder, "random", 4, 1);
    run(&one, &options).0.unwrap();
    let refusal = |space: &Space, options: &Options| run(space, options).0.unwrap_err().to_string();
    assert!(refusal(&one, &options).contains("--resume"));
    options.resume = true;
    let mut seeded = options.clone();
    seeded.seed = 8;
    assert!(refusal(&one, &seeded).contains("the seed is 7 there and 8 here"));
    let mut wider = options.clone();
    wider.parallel = 2;
    assert!(refusal(&one, &wider).contains("side by side"));
    let text = std::fs::read_to_string(&options.journal).unwrap();
    std::fs::write(&options.journal, text.replacen("\"event\"", "\"evnt\"", 1)).unwrap();
    assert!(refusal(&one, &options).contains("jsonl:2:"));
    std::fs::write(&options.journal, text.replace("0.5,", "0.25,")).unwrap();
    assert!(refusal(&one, &options).contains("trial 0 is not the candidate"));
    std::fs::write(&options.journal, "hello\n").unwrap();
    assert!(refusal(&one, &options).contains("not a journal"));
    std::fs::write(&options.journal, text.replacen("\"merge_journal\":1", "\"merge_journal\":9", 1)).unwrap();
    assert!(matches!(run(&one, &options).0, Err(SearchError::Journal(JournalError::Version { found: 9, .. }))));
    // More trials are no other search.
    std::fs::write(&options.journal, text).unwrap();
    options.trials = 6;
    assert_eq!(run(&one, &options).1, [4, 5]);
}

/// A space that was edited: `k` has another member, `method` a default arm more, and there is a decision with a default.
fn edited(with_default: bool) -> Space {
    let mut b = SpaceBuilder::new();
    let unit = b.unit();
    let d = b.decide("d", Domain::Real { low: 0.05, high: 0.7, log: false }, Some(Value::Real(0.5)));
    let k = b.decide("k", Domain::ordered(["4", "8", "12"]), None);
    let default = with_default.then_some(Value::Int(2));
    let layers = b.decide("layers", Domain::Int { low: 1, high: 9, log: false }, default);
    let arms = b.arms("method", [("ties", d), ("keep", unit), ("lines", unit)], None);
    let root = b.all([arms, k, layers]);
    let root = b.scope("candidate", root);
    b.finish(root).unwrap()
}

#[test]
fn after_an_edit_the_trials_that_are_candidates_still_are_kept() {
    let (first, mut all_dropped) = (space(None), 0);
    for algorithm in ["tpe", "mcts", "smbo", "evolution", "random", "asha"] {
        let folder = folder(&format!("edit-{algorithm}"));
        let mut before = options(&folder, algorithm, 16, 2);
        before.evaluate = Evaluate::Command(r#"x=$(cat {model}); echo "{\"accuracy\": $x}" # {budget}"#.into());
        if algorithm != "asha" {
            before.evaluate = options(&folder, algorithm, 16, 2).evaluate;
        }
        run(&first, &before).0.unwrap();
        let records = |path: &Path| -> Vec<Record> {
            let events = journal::read(path).unwrap().1.into_iter();
            let mut all: Vec<Record> = events.filter_map(|e| if let Event::Trial(r) = e { Some(r) } else { None }).collect();
            all.sort_by_key(|r| r.trial);
            all
        };
        let old = records(&before.journal);
        let still = |r: &&Record| r.choices.get("candidate.method.ties.d").is_none_or(|d| d.as_f64().unwrap() <= 0.7);
        let mut keys: Vec<(String, Option<u64>)> =
            old.iter().filter(still).map(|r| (r.choices.to_string(), r.budget.map(f64::to_bits))).collect();
        keys.sort();
        keys.dedup();
        let kept = keys.len() as u64;
        assert!(kept > 2, "{algorithm}: {kept}");
        all_dropped += 16 - kept;

        let now = edited(true);
        let text = std::fs::read_to_string(&before.journal).unwrap();
        let go_on = |stop_after: Option<usize>| {
            let mut options = before.clone();
            (options.resume, options.trials) = (true, 30);
            let models = Files { space: &now, folder: folder.path().to_owned(), made: Mutex::new(vec![]) };
            let (stop, mut said, mut ended) = (AtomicBool::new(false), None, 0);
            let outcome = run_search(&now, &options, &models, &stop, &mut |happening| match happening {
                Happening::Edited { kept, dropped, differences } => said = Some((kept, dropped, differences.to_vec())),
                Happening::Ended { .. } => {
                    ended += 1;
                    if Some(ended) == stop_after {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                Happening::Resumed { .. } => {}
            });
            (outcome.unwrap(), said)
        };
        let (outcome, said) = go_on(None);
        let (k, dropped, differences) = said.unwrap();
        assert_eq!((k, dropped), (kept, 16 - kept), "{algorithm}");
        assert!(differences.iter().any(|d| d == "`candidate.layers` is new"), "{differences:?}");
        assert_eq!(outcome.progress.ended, 30, "{algorithm}");
        let all = records(&before.journal);
        assert_eq!(all.len() as u64, 16 + 30 - kept, "{algorithm}: those that are no candidates stay in the journal");
        let fresh = &all[16..];
        assert!(fresh.iter().all(|r| r.choices.get("candidate.layers").is_some()));
        let repeated = fresh.iter().filter(|r| r.budget.is_none()).any(|r| {
            let mut bare = r.choices.clone();
            let layers = bare.as_object_mut().unwrap().remove("candidate.layers").unwrap();
            layers == 2 && old.iter().any(|o| o.choices == bare)
        });
        assert!(!repeated, "{algorithm}: a kept trial is not proposed again");
        // Killed in between, the search of the edited space goes on as if it had not been.
        let whole = story(&before.journal);
        std::fs::write(&before.journal, &text).unwrap();
        go_on(Some(5));
        let (again, said) = go_on(None);
        assert_eq!((again.progress.ended, said.is_none()), (30, true), "{algorithm}");
        assert_eq!(story(&before.journal), whole, "{algorithm}");
    }
    assert!(all_dropped > 10, "{all_dropped}");
    // A decision without a default says nothing of trials that never met it, and then nothing is left of them.
    let folder = folder("edit-none");
    let mut options = options(&folder, "random", 6, 1);
    run(&first, &options).0.unwrap();
    let text = std::fs::read_to_string(&options.journal).unwrap();
    (options.resume, options.trials) = (true, 8);
    let refused = run(&edited(false), &options).0.unwrap_err().to_string();
    assert!(refused.contains("none of its trials is a candidate") && refused.contains("`candidate.layers` is new"), "{refused}");
    assert_eq!(std::fs::read_to_string(&options.journal).unwrap(), text, "a journal that is refused stays as it is");
}

#[test]
fn an_objective_without_the_metric_fails_its_trials_and_says_so() {
    let (space, folder) = (space(None), folder("metric"));
    let mut options = options(&folder, "random", 3, 1);
    options.evaluate = Evaluate::Command("true {model}; echo '{\"loss\": 1}'".into());
    let outcome = run(&space, &options).0.unwrap();
    assert_eq!((outcome.progress.failed, outcome.front.len()), (3, 0));
    let reason = story(&options.journal);
    assert!(reason[0].contains("no `accuracy` among the metrics (loss"), "{}", reason[0]);
}

#[test]
fn stopping_ends_running_trials_and_loses_nothing() {
    let (space, folder) = (space(None), folder("stop"));
    let mut options = options(&folder, "random", 8, 2);
    options.evaluate = Evaluate::Command("test $MERGE_TRIAL -ge 2 && sleep 30; echo 1 {model} >/dev/null; echo 1".into());
    let models = Files { space: &space, folder: folder.path().to_owned(), made: Mutex::new(vec![]) };
    let stop = AtomicBool::new(false);
    let begun = std::time::Instant::now();
    let outcome = run_search(&space, &options, &models, &stop, &mut |happening| {
        if let Happening::Ended { record, .. } = happening
            && record.trial == 1
        {
            stop.store(true, Ordering::Relaxed);
        }
    });
    let outcome = outcome.unwrap();
    assert_eq!(outcome.end, End::Stopped);
    assert!(outcome.progress.ended >= 1 && outcome.progress.ended <= 2, "{outcome:?}");
    assert!(begun.elapsed().as_secs() < 20);
    options.evaluate = Evaluate::Command("echo 1 # {model}".into());
    options.resume = true;
    assert_eq!(run(&space, &options).0.unwrap().progress.ended, 8);
}

#[test]
fn a_space_without_feasible_candidates_says_how_many_were_tried() {
    struct Never;
    impl Models for Never {
        fn feasible(&self, _: &Assignment) -> Result<(), String> {
            Err("trainable(petl) <= 0".into())
        }
        fn materialise(&self, _: &Job) -> Result<Model, String> {
            unreachable!()
        }
    }
    let (space, folder) = (space(None), folder("never"));
    let options = options(&folder, "random", 8, 1);
    let outcome = run_search(&space, &options, &Never, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert_eq!(outcome.end, End::Stuck { tried: 10_000 });
}
