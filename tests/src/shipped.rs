//! The spaces of `examples/spaces` as suites look at them: opened beside checkpoints, their sizes held against what the pages say.

use crate::{
    Folder, Random, Tensor, read_model, root, values, write_backbone, write_checkpoint, write_encoders, write_stand_ins,
};
use merge_abi::DType;
use merge_driver::{Analysis, Request, Undecided, space::Checks};
use merge_runtime::{Options, progress::Silent};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The answers of one candidate, by decision.
pub struct Answers(pub BTreeMap<String, String>);

impl Answers {
    /// What was answered.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no `{name}` among {:?}", self.0.keys()))
    }

    /// An int that was answered.
    pub fn int(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap()
    }

    /// Whether this was decided, and so.
    pub fn is(&self, name: &str, value: &str) -> bool {
        self.0.get(name).is_some_and(|v| v == value)
    }
}

/// Tensors by name.
pub type Model = BTreeMap<String, Tensor>;

/// A space in a folder of its own, with checkpoints beside it.
pub struct Shipped {
    pub file: PathBuf,
    pub open: merge_driver::space::OpenRecipe,
    pub folder: Folder,
}

impl Shipped {
    /// The space of `examples/spaces/NAME.merge`, beside small models of each kind.
    pub fn new(name: &str) -> Shipped {
        let folder = Folder::new("shipped");
        write_stand_ins(folder.path());
        write_backbone(folder.path());
        write_encoders(folder.path());
        Shipped::within(folder, name)
    }

    /// The same in a folder that has its checkpoints.
    pub fn within(folder: Folder, name: &str) -> Shipped {
        let text = std::fs::read_to_string(root().join("examples/spaces").join(format!("{name}.merge"))).unwrap();
        let file = folder.write(&format!("{name}.merge"), &text);
        let request = Request { file: file.clone(), ..Request::default() };
        let open = match merge_driver::space::open(&request, Checks::Left).unwrap() {
            Ok(open) => open,
            Err(analysis) => panic!("{name}: {}", said(&analysis)),
        };
        assert!(open.counted, "{name}: {:?}", open.notes);
        // The page and the file's own comment tell the size; real numbers, and what has too many digits, have words of their own in each.
        let page = std::fs::read_to_string(root().join("docs/spaces.md")).unwrap();
        assert!(page.contains(&format!("| `{name}` |")), "docs/spaces.md lacks `{name}`");
        if !open.size_text().contains("R^") && open.count_text().len() < 20 {
            let grouped = grouped(&open.count_text());
            assert!(text.contains(&grouped), "{name}.merge does not say that there are {grouped} candidates");
            assert!(
                page.contains(&format!("| `{name}` | {grouped} |")),
                "docs/spaces.md does not say that there are {grouped} of `{name}`"
            );
        }
        Shipped { file, open, folder }
    }

    /// The number of candidates.
    pub fn size(&self) -> String {
        self.open.count_text()
    }

    /// Some candidates, by their answers.
    pub fn samples(&self, number: u32, seed: u64) -> Vec<Vec<(String, String)>> {
        let answers = |c| self.open.to_choices(c).iter().map(|(k, v)| (k.clone(), text(v))).collect();
        self.open.sample(number, seed, false).iter().map(answers).collect()
    }

    /// The model that a candidate is, written by the recipe that it freezes into.
    pub fn written(&self, set: &[(String, String)]) -> Model {
        let request = Request { file: self.file.clone(), set: set.to_vec(), undecided: Undecided::Refused, ..Request::default() };
        let frozen = match merge_driver::freeze(&request).unwrap() {
            Ok(text) => text,
            Err(analysis) => panic!("{set:?}: {}", said(&analysis)),
        };
        let file = self.folder.write("frozen.merge", &frozen);
        let analysis = merge_driver::analyse(&Request { file, ..Request::default() }).unwrap();
        assert!(!analysis.has_errors(), "{frozen}\n{}", said(&analysis));
        merge_driver::run(&analysis, &Options::default(), &Silent).unwrap_or_else(|e| panic!("{}", e.message));
        read_model(Path::new(&analysis.elaborated.graph.outputs[0].path))
    }

    /// A model in its folder.
    pub fn model(&self, name: &str) -> Model {
        read_model(&self.folder.join(name))
    }

    /// The recipe with these answers.
    pub fn candidate(&self, set: &[(String, String)]) -> Analysis {
        let request = Request { file: self.file.clone(), set: set.to_vec(), undecided: Undecided::Refused, ..Request::default() };
        let analysis = merge_driver::analyse(&request).unwrap();
        assert!(!analysis.has_errors(), "{set:?}: {}", said(&analysis));
        analysis
    }

    /// Sampled candidates of an adapter train as many numbers as `count` says, and not all the same number.
    pub fn trains(&self, count: impl Fn(&Answers) -> u64) {
        let mut seen = std::collections::BTreeSet::new();
        for set in [self.samples(12, 1), self.samples(12, 2)].concat() {
            let graph = self.candidate(&set).elaborated.graph;
            let sizes = graph.parameters.iter().filter(|p| p.trainable).map(|p| p.shape.iter().product::<u64>());
            let (found, wanted) = (sizes.sum::<u64>(), count(&Answers(set.iter().cloned().collect())));
            assert_eq!(found, wanted, "{set:?}");
            seen.insert(found);
        }
        assert!(seen.len() > 2, "{seen:?}");
    }

    /// A candidate with random numbers for what it trains, folded: the model, and the numbers by name.
    pub fn folded(&self, set: &[(String, String)], name: &str) -> (Model, Model) {
        let graph = self.candidate(set).elaborated.graph;
        let mut random = Random::new(21);
        let trained: Model = graph
            .parameters
            .iter()
            .map(|p| {
                let shape: Vec<usize> = p.shape.iter().map(|n| *n as usize).collect();
                let entries = values(&mut random, shape.iter().product());
                (p.name.clone(), Tensor { dtype: DType::F32, shape, entries })
            })
            .collect();
        let file = self.folder.join("trained.safetensors");
        write_checkpoint(&file, trained.iter().map(|(n, t)| (n.as_str(), t.clone())), &[]);
        let text = std::fs::read_to_string(&self.file).unwrap();
        let (before, _) = text.rsplit_once("save ").expect("it saves the adapter");
        let file = self
            .folder
            .write("folded.merge", &format!("{before}save fill({name}, tensors(\"trained.safetensors\")) to \"folded\"\n"));
        let request = Request { file, set: set.to_vec(), undecided: Undecided::Refused, ..Request::default() };
        let analysis = merge_driver::analyse(&request).unwrap();
        assert!(!analysis.has_errors(), "{}", said(&analysis));
        merge_driver::run(&analysis, &Options::default(), &Silent).unwrap_or_else(|e| panic!("{}", e.message));
        (self.model("folded"), trained)
    }

    /// Candidates drawn by decision and uniformly have as many parameters as `count` says, and not all the same number.
    pub fn counts(&self, count: impl Fn(&Answers) -> u64) {
        let mut seen = std::collections::BTreeSet::new();
        for candidate in [self.open.sample(10, 1, false), self.open.sample(10, 2, true)].concat() {
            let set: Vec<(String, String)> = self.open.to_choices(&candidate).iter().map(|(k, v)| (k.clone(), text(v))).collect();
            assert_eq!(self.open.candidate(&set).as_ref(), Ok(&candidate));
            let found = self.candidate(&set).elaborated.parameters.expect("it is a network");
            let wanted = count(&Answers(set.iter().cloned().collect()));
            assert_eq!(found, wanted, "{set:?}");
            seen.insert(found);
        }
        assert!(seen.len() > 2, "{seen:?}");
    }
}

/// What is wrong, a line each.
pub fn said(analysis: &Analysis) -> String {
    analysis.diagnostics.iter().map(|d| format!("{}: {} {:?}", d.code, d.message, d.notes)).collect::<Vec<_>>().join("\n")
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// 1234567 as 1,234,567.
fn grouped(digits: &str) -> String {
    let start = digits.len() % 3;
    let mut parts: Vec<&str> = if start > 0 { vec![&digits[..start]] } else { Vec::new() };
    parts.extend((start..digits.len()).step_by(3).map(|at| &digits[at..at + 3]));
    parts.join(",")
}

/// Answers as `--set` takes them.
pub fn set(answers: &[(&str, &str)]) -> Vec<(String, String)> {
    answers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}
