//! `mergec search` from outside: budgets, processes that score, trials side by side, kills, edits, what it says and draws.

use merge_tests::{Folder, mergec, write_stand_ins};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Scores a weight: the nearer to 0.7 the better, and the better the larger the budget. Notes down whom it is asked about.
const SERVE: &str = r#"#!/bin/sh
while read -r line; do
    trial=$(printf %s "$line" | sed 's/.*"trial":\([0-9]*\).*/\1/')
    budget=$(printf %s "$line" | sed 's/.*"budget":\([0-9.]*\).*/\1/')
    t=$(printf %s "$line" | sed 's/.*"blend.t":\([0-9.e-]*\).*/\1/')
    model=$(printf %s "$line" | sed 's/.*"model":"\([^"]*\)".*/\1/')
    test -e "$model/model.safetensors" || exit 3
    echo "$trial" >> asked
    sleep 0.02
    awk -v t="$t" -v b="$budget" 'BEGIN { d = t - 0.7; printf "{\"score\": %.6f}\n", 1 - d * d + b / 1000 }'
done
"#;

fn folder(using: &str, evaluate: &str) -> Folder {
    let folder = Folder::new("search-cli");
    write_stand_ins(folder.path());
    folder.write("serve.sh", SERVE);
    folder.write("r.merge", &recipe(using, evaluate, "0.0..=1.0"));
    folder
}

fn recipe(using: &str, evaluate: &str, range: &str) -> String {
    format!(
        "let base = checkpoint(\"base\")[\"**.weight\"]\nlet math = checkpoint(\"math\")[\"**.weight\"]\n\
         let blend = like base {{ _ => lerp(base, math, choose t in {range}) }}\n\
         search blend {{ evaluate: {evaluate}, maximize: \"score\", using: {using}, trials: 40 }}\n"
    )
}

/// Records of a journal by trial, without what time changes.
fn journal(folder: &Path) -> BTreeMap<u64, Json> {
    let text = std::fs::read_to_string(folder.join("blend.trials.jsonl")).unwrap();
    let lines = text.lines().skip(1).filter_map(|line| serde_json::from_str::<Json>(line).ok());
    let mut found = BTreeMap::new();
    for mut line in lines.filter(|line| line["event"] == "trial") {
        let record = line.as_object_mut().unwrap();
        for key in ["seconds", "ended", "work"] {
            record.remove(key);
        }
        assert!(found.insert(line["trial"].as_u64().unwrap(), line).is_none(), "a trial is there once");
    }
    found
}

fn ran(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = mergec(folder, arguments).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned() + &err)
}

#[test]
fn searches_with_budgets_survive_kills_without_losing_or_repeating_a_trial() {
    for (using, parallel) in [
        ("hyperband(seed: 3, min: 1, max: 9)", "1"),
        ("asha(seed: 3, min: 1, max: 9)", "3"),
        ("halving(seed: 3, candidates: 12, min: 1, max: 9)", "2"),
    ] {
        let evaluate = "process(\"sh serve.sh\")";
        let whole = folder(using, evaluate);
        let (code, said) = ran(whole.path(), &["search", "r.merge", "--parallel", parallel]);
        assert_eq!(code, 0, "{said}");
        let expected = journal(whole.path());
        assert_eq!(expected.len(), 40, "{said}");
        assert!(expected.values().any(|r| r["budget"] == 9.0) && expected.values().any(|r| r["budget"] == 1.0));

        let killed = folder(using, evaluate);
        let mut kills = 0;
        loop {
            let resume = if kills > 0 { &["--resume"][..] } else { &[] };
            let mut child = mergec(killed.path(), &[&["search", "r.merge", "--parallel", parallel], resume].concat())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            // Killed when some trials more are there.
            let goal = 9 * (kills + 1);
            let lines = || std::fs::read_to_string(killed.path().join("blend.trials.jsonl")).map_or(0, |t| t.lines().count());
            let begun = Instant::now();
            while kills < 3 && lines() < goal && child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(120)
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            if kills == 3 {
                assert!(child.wait().unwrap().success());
                break;
            }
            assert!(child.try_wait().unwrap().is_none(), "{using}: it was still running");
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        assert_eq!(journal(killed.path()), expected, "{using}");
        // What was running when it was killed is asked about again, and nothing else is.
        let asked = std::fs::read_to_string(killed.join("asked")).unwrap();
        let most = 40 + 3 * parallel.parse::<usize>().unwrap();
        assert!(asked.lines().count() <= most, "{using}: {} asked", asked.lines().count());
        // One model stays, the best of those on the largest budget, and nothing half done.
        let left: Vec<String> = std::fs::read_dir(killed.join("blend.trials"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        let score = |r: &Json| r["metrics"]["score"].as_f64().unwrap();
        let best = expected.iter().filter(|(_, r)| r["budget"] == 9.0).max_by(|a, b| score(a.1).total_cmp(&score(b.1))).unwrap();
        assert_eq!(left, [best.0.to_string()], "{using}");
    }
}

#[test]
fn a_search_tells_how_it_goes_and_draws_its_page() {
    let folder = folder("asha(seed: 1, min: 1, max: 9)", "command(\"echo '{\\\"score\\\": '$(basename {model})'}' # {budget}\")");
    let (code, said) = ran(folder.path(), &["search", "r.merge", "--trials", "6"]);
    assert_eq!(code, 0, "{said}");
    let lines: Vec<&str> = said.lines().filter(|l| l.starts_with("trial ")).collect();
    assert_eq!(lines.len(), 6, "{said}");
    assert!(lines[0].contains("[1 of 6, 0 failed, best 0 in trial 0") && lines[0].contains(" left]"), "{}", lines[0]);
    assert!(!lines[5].contains(" left"), "{}", lines[5]);
    assert!(said.contains("all trials are made") && said.contains("\"blend.t\": "), "{said}");
    let (code, said) = ran(folder.path(), &["search", "r.merge", "--report", "page.html"]);
    assert_eq!(code, 0, "{said}");
    let page = std::fs::read_to_string(folder.join("page.html")).unwrap();
    for part in ["Search curve: score", "Best trials", "Tensors computed", "<svg"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn an_edited_recipe_keeps_its_trials_and_bad_input_is_told() {
    let folder = folder("random(seed: 1)", "command(\"echo $MERGE_TRIAL # {model}\")");
    ran(folder.path(), &["search", "r.merge", "--trials", "10"]);
    let old = journal(folder.path());
    let inside = old.values().filter(|r| r["choices"]["blend.t"].as_f64().unwrap() >= 0.3).count();
    folder.write("r.merge", &recipe("random(seed: 1)", "command(\"echo $MERGE_TRIAL # {model}\")", "0.3..=1.0"));
    let (code, said) = ran(folder.path(), &["search", "r.merge", "--trials", "12", "--resume"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("`blend.t` was 0.0..=1.0 and is 0.3..=1.0"), "{said}");
    assert!(said.contains(&format!("{inside} of its 10 trials are candidates still")), "{said}");
    assert_eq!(journal(folder.path()).len(), 10 + 12 - inside);

    // A journal of another space, of another search, and none.
    let other = recipe("random(seed: 1)", "command(\"echo 1 # {model}\")", "2.0..=3.0");
    folder.write("r.merge", &other);
    let (code, said) = ran(folder.path(), &["search", "r.merge", "--resume"]);
    assert!(code == 2 && said.contains("none of its trials is a candidate of this one"), "{code} {said}");
    let (code, said) = ran(folder.path(), &["search", "r.merge"]);
    assert!(code == 2 && said.contains("--resume goes on with it"), "{code} {said}");
    let (code, said) = ran(folder.path(), &["search", "r.merge", "--resume", "--seed", "9"]);
    assert!(code == 2 && said.contains("the seed is 1 there and 9 here"), "{code} {said}");

    // Scores that are none.
    for (printed, reason) in [
        ("echo '{\\\"loss\\\": 2}'", "no `score` among the metrics"),
        ("echo nan", "`score` is nan"),
        ("echo hello", "it printed no number"),
        ("exit 7", "7"),
    ] {
        let evaluate = format!("command(\"{printed} # {{model}}\")");
        let folder = self::folder("random(seed: 1)", &evaluate);
        let (code, said) = ran(folder.path(), &["search", "r.merge", "--trials", "2"]);
        assert!(
            code == 1 && said.contains("failed: ") && said.contains(reason) && said.contains("2 failed"),
            "{printed}: {code} {said}"
        );
    }
}

#[test]
fn where_nobody_reads_on_it_ends_quietly_and_goes_on_later() {
    let folder = folder("random(seed: 1)", "command(\"sleep 0.1; echo $MERGE_TRIAL # {model}\")");
    let deaf = |arguments: &[&str]| {
        let mut child = mergec(folder.path(), arguments)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(deaf(&["space", "r.merge"]), (Some(3), String::new()));
    assert_eq!(deaf(&["search", "r.merge", "--parallel", "2"]), (Some(0), String::new()));
    assert!(journal(folder.path()).len() < 40);
    let (code, said) = ran(folder.path(), &["search", "r.merge", "--parallel", "2", "--resume", "--trials", "4"]);
    assert!(code == 0 && said.contains("all trials are made"), "{said}");
}
