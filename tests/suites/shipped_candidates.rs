//! Candidates of every space of `examples/spaces`: drawn, numbered, found again by their answers, frozen, checked, and run where that takes little.

use merge_driver::{Request, Undecided};
use merge_runtime::{Options, progress::Silent};
use merge_tests::shipped::{Shipped, said};
use merge_tests::{mergec, root};
use std::path::Path;

/// Every space that is shipped, by name.
fn names() -> Vec<String> {
    let files = std::fs::read_dir(root().join("examples/spaces")).unwrap().map(|e| e.unwrap().path());
    let mut names: Vec<String> = files
        .filter(|f| f.extension().is_some_and(|e| e == "merge"))
        .map(|f| f.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 25, "{names:?}");
    names
}

/// Entries that are made in a test: what a candidate starts as is drawn at random, and that takes a while where there are millions.
const MOST_ENTRIES: u64 = 400_000;

/// What a candidate trains or saves, as files in a folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|f| f.extension().is_some_and(|e| e == "safetensors"))
        .map(|f| (f.file_name().unwrap().to_str().unwrap().to_owned(), data(&std::fs::read(f).unwrap())))
        .collect();
    found.sort();
    found
}

/// The data of a safetensors file, behind its header: that has the recipe's text in it.
fn data(file: &[u8]) -> Vec<u8> {
    let header = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    file[8 + header..].to_vec()
}

/// A candidate through `freeze`, `check` and `run`; whether it was run.
fn goes_through(space: &Shipped, answers: &[(String, String)]) -> bool {
    let set = answers.to_vec();
    let request = Request { file: space.file.clone(), set, undecided: Undecided::Refused, ..Request::default() };
    let frozen = match merge_driver::freeze(&request) {
        Ok(Ok(text)) => text,
        Ok(Err(analysis)) => panic!("{answers:?}: {}", said(&analysis)),
        Err(error) => panic!("{answers:?}: {}", error.message),
    };
    let file = space.folder.write("frozen.merge", &frozen);
    let frozen_file = file.clone();
    let plain = merge_driver::analyse(&Request { file, undecided: Undecided::Refused, ..Request::default() }).unwrap();
    assert!(!plain.has_errors(), "{frozen}\n{}", said(&plain));
    let text = std::fs::read_to_string(&space.file).unwrap();
    // What a recipe only searches, it saves once it is frozen.
    let searched = text.lines().find_map(|l| l.strip_prefix("search ")?.split([' ', '{']).next());
    let search = searched.filter(|_| !text.lines().any(|l| l.starts_with("save "))).map(str::to_owned);
    let candidate = merge_driver::analyse(&Request { search, ..request }).unwrap();
    let trained = |a: &merge_driver::Analysis| {
        a.elaborated.graph.parameters.iter().map(|p| (p.name.clone(), p.shape.to_vec(), p.trainable)).collect::<Vec<_>>()
    };
    assert_eq!(trained(&plain), trained(&candidate), "{answers:?}\n{frozen}");
    assert_eq!(plain.elaborated.price, candidate.elaborated.price, "{answers:?}\n{frozen}");
    if candidate.elaborated.price.is_none_or(|p| p.costs.params > MOST_ENTRIES) {
        return false;
    }
    // A table leaves its decisions to be changed, and a check looks at all of their values.
    let checked = merge_driver::analyse_all(&Request { file: frozen_file, ..Request::default() }).unwrap();
    assert!(!checked.has_errors(), "{frozen}\n{}", said(&checked));
    let written = |analysis: &merge_driver::Analysis, to: &str| {
        let options = Options { out: Some(space.folder.join(to)), ..Options::default() };
        merge_driver::run(analysis, &options, &Silent).unwrap_or_else(|e| panic!("{answers:?}: {}", e.message));
        files(&space.folder.join(to))
    };
    let (one, other) = (written(&candidate, "of-candidate"), written(&plain, "of-frozen"));
    assert!(one == other && !one.is_empty(), "{answers:?}\n{frozen}");
    true
}

#[test]
fn candidates_of_every_space_go_through_all_commands() {
    let mut run = 0;
    for name in names() {
        let space = Shipped::new(&name);
        let mut ran = false;
        for candidate in [space.open.sample(1, 5, false), space.open.sample(1, 6, true)].concat() {
            let text = space.open.choices_text(&candidate);
            let answers = merge_driver::parse_choices(&text).unwrap_or_else(|e| panic!("{name}: {e}\n{text}"));
            let found = space.open.candidate(&answers).unwrap_or_else(|e| panic!("{name}: {e}\n{text}"));
            assert_eq!(found, candidate, "{name}: {text}");
            // The number leads back to the candidate, but for its real numbers.
            let number = space.open.rank(&candidate).unwrap();
            let numbered = space.open.unrank(&number).unwrap();
            assert_eq!(space.open.rank(&numbered).as_ref(), Some(&number), "{name}");
            if space.open.space.is_finite() {
                assert_eq!(numbered, candidate, "{name}");
            }
            ran |= goes_through(&space, &answers);
        }
        run += usize::from(ran);
    }
    // Those of transformers of 768 channels are larger.
    assert!(run >= 12, "{run}");
}

/// The same through the command line, for some: what `--unrank` and `--sample` print, `--contains` knows under the same number.
#[test]
fn the_command_line_numbers_candidates() {
    for name in ["convnet", "deepconv", "flora", "genome", "data_flow", "autopeft", "parameter_space"] {
        let space = Shipped::new(name);
        let file = format!("{name}.merge");
        let said = |arguments: &[&str]| {
            let out = mergec(space.folder.path(), &[&["space", &file], arguments].concat()).output().unwrap();
            assert!(out.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap()
        };
        let drawn = space.open.sample(1, 3, true);
        let number = space.open.rank(&drawn[0]).unwrap();
        space.folder.write("choices.json", &said(&["--unrank", &number]));
        assert_eq!(said(&["--contains", "choices.json"]), format!("yes, it is candidate {number}\n"), "{name}");
        if name != "convnet" {
            continue;
        }
        assert_eq!(said(&["--sample", "1", "--seed", "3", "--uniform"]), space.open.choices_text(&drawn[0]) + "\n");
        let beyond = space.open.count_text();
        let out = mergec(space.folder.path(), &["space", &file, "--unrank", &beyond]).output().unwrap();
        assert_eq!(out.status.code(), Some(2));
        space.folder.write("choices.json", "{ \"no.such.decision\": 1 }");
        let out = mergec(space.folder.path(), &["space", &file, "--contains", "choices.json"]).output().unwrap();
        assert_eq!(out.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&out.stdout).starts_with("no: "));
    }
}
