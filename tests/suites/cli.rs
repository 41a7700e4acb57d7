//! The command line as a user meets it: transcripts of commands, exit codes and what they leave behind.

use merge_tests::{Folder, mergec, read_model, write_stand_ins};
use std::path::Path;

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn run(folder: &Path, arguments: &[&str]) -> Said {
    let output = mergec(folder, arguments).output().expect("mergec starts");
    Said {
        code: output.status.code().expect("it ends by itself"),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn folder(recipe: &str) -> Folder {
    let folder = Folder::new("cli");
    write_stand_ins(folder.path());
    folder.write("r.merge", recipe);
    folder
}

const GOOD: &str = "let base = checkpoint(\"base\")\nlet math = checkpoint(\"math\")\nchoose t in 0.0..=1.0 = 0.25\n\
    save like base {\n    \"model.position_ids\" => base\n    _ => lerp(base, math, t)\n} to \"out\"\n";
const BAD: &str =
    "let base = checkpoint(\"base\")\nlet math = checkpoint(\"math\")\nsave base + math to \"out\"\nsave bse to \"b\"\n";

#[test]
fn check_is_silent_where_all_is_well() {
    let folder = folder(GOOD);
    let said = run(folder.path(), &["check", "r.merge"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", ""));
}

#[test]
fn check_names_every_error_and_exits_with_1() {
    let folder = folder(BAD);
    let said = run(folder.path(), &["check", "r.merge"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("E1001") && said.err.contains("did you mean") && said.err.contains("r.merge:4:6"), "{}", said.err);
    assert!(said.err.contains("E2101") && said.err.contains("r.merge:3:6"), "{}", said.err);
}

#[test]
fn check_writes_json_lines() {
    let folder = folder(BAD);
    let said = run(folder.path(), &["check", "--format", "json", "r.merge"]);
    assert_eq!(said.code, 1);
    let lines: Vec<serde_json::Value> = said.out.lines().map(|l| serde_json::from_str(l).expect("JSON lines")).collect();
    assert!(lines.len() >= 2, "{}", said.out);
    let unknown = lines.iter().find(|l| l["code"] == "E1001").expect("the unknown name");
    assert_eq!(unknown["file"], "r.merge");
    assert_eq!(unknown["severity"], "error");
    assert_eq!((&unknown["span"]["line_start"], &unknown["span"]["column_start"]), (&4.into(), &6.into()));
}

#[test]
fn what_is_left_to_the_candidates_is_said() {
    // 2^14 combinations are more than are tried beforehand.
    let recipe = "let base = checkpoint(\"base\")\nlet math = checkpoint(\"math\")\nchoose first in 1..=128\nchoose second in 1..=128\n\
        let size = len([i for i in 0..first if mod(i, second) == 0])\n\
        let blend = like base {\n    \"model.position_ids\" => base\n    _ => lerp(base, math, 1 / size)\n}\n\
        search blend { evaluate: command(\"test -e {model} && echo 1\"), maximize: \"score\", trials: 1 }\n";
    let folder = folder(recipe);
    let said = run(folder.path(), &["check", "r.merge"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{}", said.err);
    assert!(said.err.starts_with("note: ") && said.err.contains("more than 10000 combinations"), "{}", said.err);
    let said = run(folder.path(), &["check", "--format", "json", "r.merge"]);
    let note: serde_json::Value = serde_json::from_str(said.out.trim()).expect("one JSON object");
    assert_eq!((&note["severity"], &note["code"]), (&"note".into(), &serde_json::Value::Null));
    let said = run(folder.path(), &["search", "r.merge"]);
    assert_eq!((said.code, said.err.matches("more than 10000 combinations").count()), (0, 1), "{}", said.err);
}

#[test]
fn run_writes_the_model_and_its_config() {
    let folder = folder(GOOD);
    let said = run(folder.path(), &["run", "r.merge"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let (base, math, out) = (read_model(&folder.join("base")), read_model(&folder.join("math")), read_model(&folder.join("out")));
    let name = "model.layers.2.mlp.up_proj.weight";
    for i in 0..base[name].entries.len() {
        let want = 0.75 * base[name].entries[i] + 0.25 * math[name].entries[i];
        assert!((out[name].entries[i] - want).abs() < 1e-6);
    }
    assert_eq!(out["model.position_ids"], base["model.position_ids"]);
    let config = |m: &str| std::fs::read(folder.join(m).join("config.json")).unwrap();
    assert_eq!(config("out"), config("base"));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|n| !n.starts_with('.')), "left behind: {left:?}");
}

#[test]
fn set_and_model_and_out_change_a_run() {
    let folder = folder(GOOD);
    let said = run(folder.path(), &["run", "r.merge", "--set", "t=1", "--model", "math=code", "--out", "other"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let (code, out) = (read_model(&folder.join("code")), read_model(&folder.join("other")));
    assert_eq!(out["model.norm.weight"].entries, code["model.norm.weight"].entries);
    assert!(!folder.join("out").exists());
}

#[test]
fn an_answer_outside_the_domain_is_refused() {
    let folder = folder(GOOD);
    for (set, word) in [("t=2", "0"), ("tt=0.5", "did you mean"), ("t=x", "number")] {
        let said = run(folder.path(), &["run", "r.merge", "--set", set]);
        assert!(said.code == 1 || said.code == 2, "{set}: {} {}", said.code, said.err);
        assert!(said.err.contains(word), "{set}: {}", said.err);
        assert!(!folder.join("out").exists());
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let folder = folder(GOOD);
    for arguments in
        [&["run"][..], &["check"], &["bake", "r.merge"], &["run", "r.merge", "--memory", "lots"], &["explain", "E9999"]]
    {
        assert_eq!(run(folder.path(), arguments).code, 2, "{arguments:?}");
    }
}

#[test]
fn a_missing_recipe_is_an_error_of_the_world() {
    let folder = folder(GOOD);
    let said = run(folder.path(), &["run", "nowhere.merge"]);
    assert_eq!(said.code, 3);
    assert!(said.err.contains("nowhere.merge"), "{}", said.err);
}

#[test]
fn a_corrupt_checkpoint_is_named_and_nothing_is_written() {
    let folder = folder(GOOD);
    let file = folder.join("math/model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 7]).unwrap();
    let said = run(folder.path(), &["run", "r.merge"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("math"), "{}", said.err);
    assert!(!folder.join("out").exists());
}

#[test]
fn every_stage_prints() {
    let folder = folder(GOOD);
    for (ir, word) in [
        ("ast", "like base"),
        ("hir", "checkpoint"),
        ("tir", "load"),
        ("dispatch", "map"),
        ("kir", "load"),
        ("plan", "copy"),
        ("llvm", "define"),
        ("asm", "ret"),
    ] {
        let said = run(folder.path(), &["emit", "--ir", ir, "r.merge"]);
        assert_eq!(said.code, 0, "{ir}: {}", said.err);
        assert!(said.out.to_lowercase().contains(word), "{ir}:\n{}", said.out);
    }
}

#[test]
fn plan_tells_tensors_kernels_bytes_and_memory() {
    let folder = folder(GOOD);
    let said = run(folder.path(), &["plan", "r.merge"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for word in ["tensors", "kernel", "read", "write", "memory"] {
        assert!(said.out.contains(word), "no `{word}` in:\n{}", said.out);
    }
}

#[test]
fn inspect_folds_layers_and_tells_differences() {
    let folder = folder(GOOD);
    let one = run(folder.path(), &["inspect", "base"]);
    assert_eq!(one.code, 0, "{}", one.err);
    assert!(one.out.contains("{0..=3}") && one.out.contains("F32") && one.out.contains("[16, 8]"), "{}", one.out);
    let two = run(folder.path(), &["inspect", "base", "wide"]);
    assert!(two.out.contains("[24, 8]"), "{}", two.out);
}

#[test]
fn a_schema_text_stands_in_for_weights() {
    let folder = folder(GOOD);
    let schema = run(folder.path(), &["inspect", "math", "--schema"]);
    folder.write("math.schema", &schema.out);
    std::fs::remove_dir_all(folder.join("math")).unwrap();
    assert_eq!(run(folder.path(), &["check", "r.merge"]).code, 0);
    let said = run(folder.path(), &["run", "r.merge"]);
    assert_eq!(said.code, 3, "{}", said.err);
}

#[test]
fn explain_prints_the_page() {
    let folder = folder(GOOD);
    let said = run(folder.path(), &["explain", "e2003"]);
    assert_eq!(said.code, 0);
    assert!(said.out.starts_with("# E2003"), "{}", said.out);
}

#[test]
fn tests_in_recipes_run() {
    let folder = folder(
        "use std.merging.ties\ntest \"merging a model with itself gives it back\" {\n    let a = tensor([[1.0, 2.0], [3.0, 4.0]])\n    \
         mean([a, a]) == a\n}\ntest \"this one is wrong\" {\n    tensor([1.0]) == tensor([2.0])\n}\n",
    );
    let said = run(folder.path(), &["test", "r.merge"]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.out.contains("1 passed, 1 failed") && said.out.contains("this one is wrong"), "{}", said.out);
}

#[test]
fn a_test_on_models_is_one_test_and_names_the_tensor() {
    let folder = folder(
        "let base = without(checkpoint(\"base\"), \"**.position_ids\")\nlet math = without(checkpoint(\"math\"), \"**.position_ids\")\n\
         test \"same\" { base == base }\ntest \"other\" { base == math }\n",
    );
    let said = run(folder.path(), &["test", "r.merge"]);
    assert!(said.out.contains("1 passed, 1 failed"), "{}{}", said.out, said.err);
    assert!(said.out.contains("of `model.embed_tokens.weight`, and in 17 more tensors"), "{}", said.out);
}

#[test]
fn a_setting_of_strings_takes_them_as_written() {
    let folder = folder("choose who in [\"base\", \"math\"] = \"base\"\nsave checkpoint(who) to \"out\"\n");
    for set in ["who=math", "who=\"math\""] {
        assert_eq!(run(folder.path(), &["run", "r.merge", "--set", set]).code, 0, "{set}");
    }
    let said = run(folder.path(), &["run", "r.merge", "--set", "who=code"]);
    assert!(said.code == 1 && said.err.contains("one of `base` and `math`"), "{}", said.err);
}

#[test]
fn long_lines_are_not_drawn() {
    let folder = folder(&format!("let a = {}nope\nsave a to \"x\"\n", " ".repeat(5000)));
    let said = run(folder.path(), &["check", "r.merge"]);
    assert!(said.err.contains("E1001") && said.err.contains("r.merge:1:5009"), "{}", said.err);
    assert!(said.err.len() < 1000, "{} bytes", said.err.len());
}

#[test]
fn build_replaces_executables_only() {
    let folder = folder(GOOD);
    let said = run(folder.path(), &["build", "r.merge", "-o", "r.merge"]);
    assert!(said.code == 2 && said.err.contains("no executable"), "{} {}", said.code, said.err);
    assert_eq!(std::fs::read_to_string(folder.join("r.merge")).unwrap(), GOOD);
}

#[test]
fn differences_that_lack_a_buffer_leave_it_as_it_is() {
    let folder = folder(
        "let base = checkpoint(\"base\")\nlet rest = without(base, \"**.position_ids\")\n\
         save checkpoint(\"math\")[\"**.weight\"] - rest to \"d\"\n",
    );
    assert_eq!(run(folder.path(), &["run", "r.merge"]).code, 0);
    folder.write("r.merge", "save checkpoint(\"base\") + 0.5 * deltas(\"d\") to \"out\"\n");
    let said = run(folder.path(), &["run", "r.merge"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let (base, out) = (read_model(&folder.join("base")), read_model(&folder.join("out")));
    assert_eq!(base["model.position_ids"].entries, out["model.position_ids"].entries);
    assert_eq!(base.len(), out.len());
}

#[test]
fn a_built_executable_does_the_same() {
    let folder = folder(GOOD);
    let built = run(folder.path(), &["build", "r.merge", "-o", "blend"]);
    assert_eq!(built.code, 0, "{}", built.err);
    let exe = folder.join("blend");
    let go = |arguments: &[&str]| std::process::Command::new(&exe).args(arguments).current_dir(folder.path()).output().unwrap();
    assert_eq!(run(folder.path(), &["run", "r.merge", "--set", "t=0.5", "--out", "by-mergec"]).code, 0);
    let done = go(&["--set", "t=0.5", "--out", "by-itself", "--threads", "3", "--memory", "64MB"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let bytes = |m: &str| std::fs::read(folder.join(m).join("model.safetensors")).unwrap();
    assert!(bytes("by-mergec") == bytes("by-itself"), "the executable writes other bytes than mergec");
    // The recipe's own paths count from its folder, wherever the executable runs.
    let elsewhere = Folder::new("elsewhere");
    let done = std::process::Command::new(&exe).current_dir(elsewhere.path()).env_clear().output().unwrap();
    assert!(done.status.success() && folder.join("out").exists(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(go(&["--set", "t=7"]).status.code(), Some(1));
    assert_eq!(go(&["--frobnicate"]).status.code(), Some(2));
    assert_eq!(go(&["--model", "math=nowhere"]).status.code(), Some(3));
}
