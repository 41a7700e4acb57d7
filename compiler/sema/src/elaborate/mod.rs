//! Elaboration: the recipe evaluated against the headers of its checkpoints.
//!
//! An abstract interpreter of the HIR. What is static is computed; tensors become nodes of the graph, with
//! shape and degree checked as they are made. A model is made lazily, name by name, so only the tensors
//! that a `save`, a rule or a `test` demands are looked at.
//!
//! | file | job |
//! |---|---|
//! | `context`, `nodes` | state, diagnostics; how tensors are made |
//! | `expressions` | the walk over expressions and blocks |
//! | `loops` | the turns of `for` and `fold` |
//! | `operators`, `index` | arithmetic with its degrees; indexing |
//! | `calls`, `types`, `require` | functions, primitives, `whole`; types and dims; conditions |
//! | `model`, `rules`, `restack` | lifting; `like` and `from`; models made of parts |
//! | `path`, `names` | what decisions and parameters are called; names as numbers |
//! | `files`, `save` | checkpoints; outputs |
//! | `save_adapter`, `fill` | what is to be trained, as an output; trained tensors in their places |
//! | `choices`, `domains` | decisions; what they may be answered with |
//! | `explore`, `axes`, `meet` | what depends on decisions, axis by axis; which of them meet in a check |
//! | `adapter` | adapters read as deltas, and deltas saved as adapters |
//! | `modules` | rules that replace modules |
//! | `network`, `costs`, `bills` | functions with `new` in them; what shapes alone cost; which decisions each part of that depends on |
//! | `definitions`, `stand_ins` | functions that nothing calls; lengths for their dims |
//!
//! Invariants: an expression that fails gives [`Value::Poison`] after exactly one diagnostic; nothing is
//! said about poison; equal inputs give equal graphs, in every order of demand.
//!
//! Not here: what each primitive computes (`primitives`), the algebra of degrees (`degree`).

mod adapter;
mod axes;
mod bills;
mod calls;
mod choices;
mod context;
mod costs;
mod definitions;
mod domains;
mod explore;
mod expressions;
mod files;
mod fill;
mod findings;
mod index;
mod loops;
mod meet;
mod model;
mod modules;
mod names;
mod network;
mod nodes;
mod operators;
mod path;
mod require;
mod restack;
mod rules;
mod save;
mod save_adapter;
mod scalars;
mod stand_ins;
mod trace;
mod types;
mod whole;

pub(crate) use adapter::{factor_pair, factors};
pub use choices::Undecided;
pub use context::{Cx, show_shape};
pub use model::Model;
pub use names::NameId;
pub(crate) use network::NewParameter;

use crate::hir::{Item, Program};
use crate::schema::Checkpoints;
use crate::space::{Answer, Decision, Exploration, Price};
use crate::value::Value;
use expressions::Frame;
use merge_base::{Diagnostic, Sources, Span};
use merge_ir::tir::{Graph, NodeId};
use rustc_hash::FxHashMap;

/// What the command line says about a recipe.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// `--set name=value`.
    pub set: Vec<(String, String)>,
    /// Answers by decision, which go before `set`; those that fit no decision are left alone.
    pub assigned: FxHashMap<String, Answer>,
    /// What becomes of decisions that nothing answers.
    pub undecided: Undecided,
    /// The search whose model is saved, in place of everything that the recipe saves.
    pub search: Option<String>,
    /// Whether to watch what depends on decisions; conditions of `let`s are then noted, not enforced.
    pub watch: bool,
    /// `--model name=PATH`; the paths are absolute.
    pub models: Vec<(String, String)>,
    /// Whether an elaboration of this program had [`Elaborated::definitions_are_fine`]: then its functions need not be tried again.
    pub definitions_are_fine: bool,
}

/// A `test` item: holds where `node` is 1 in every entry.
#[derive(Clone, Debug)]
pub struct TestCase {
    pub title: String,
    /// The tensor that this is about, where the condition is one on models: then there is a case for each.
    pub tensor: Option<String>,
    pub node: NodeId,
    pub span: Span,
}

/// How many tensors a rule covers.
#[derive(Clone, Copy, Debug)]
pub struct RuleShare {
    /// Of the rule.
    pub span: Span,
    pub tensors: usize,
}

/// A recipe as a graph.
#[derive(Clone, Debug, Default)]
pub struct Elaborated {
    pub graph: Graph,
    /// In the order of elaboration.
    pub rules: Vec<RuleShare>,
    pub tests: Vec<TestCase>,
    /// The decisions that were reached, in that order.
    pub decisions: Vec<Decision>,
    /// Of the last network that a search names: the entries of its parameters.
    pub parameters: Option<u64>,
    /// Whether the functions, tried as written, left nothing to say. No answer has a part in that.
    pub definitions_are_fine: bool,
    /// Of the last network, adapter or model that the recipe makes.
    pub price: Option<Price>,
    /// What [`Answers::watch`] asks for.
    pub exploration: Option<Exploration>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Stack of an elaboration, in bytes; only what is used is ever touched. A fold over models nests as deep as
/// it has turns when its last state is asked for a tensor, and once more when it is dropped.
const STACK: usize = 256 << 20;

/// Evaluates a recipe. The graph is complete where no diagnostic is an error.
pub fn elaborate(program: &Program, sources: &Sources, checkpoints: &mut dyn Checkpoints, answers: &Answers) -> Elaborated {
    on_large_stack(|| evaluate(program, sources, checkpoints, answers))
}

/// Runs something on the stack that an elaboration needs. Who elaborates often does it all in one such run, since elaborations in it
/// share the stack: each has to touch every page of its own for the first time otherwise.
pub fn on_large_stack<T>(body: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK - STACK / 8, STACK, body)
}

fn evaluate(program: &Program, sources: &Sources, checkpoints: &mut dyn Checkpoints, answers: &Answers) -> Elaborated {
    let mut cx = Cx::new(program, sources, checkpoints, answers);
    let mut definitions_are_fine = answers.definitions_are_fine;
    if answers.watch {
        cx.find_deciding();
    } else if !definitions_are_fine {
        cx.check_definitions();
        definitions_are_fine = cx.definitions_are_fine();
    }
    let mut frame = Frame::top(program.globals.len());
    for item in &program.items {
        cx.blended.clear();
        match item {
            Item::Let(l) => cx.let_(l, &mut frame),
            Item::Choose(c) => {
                let (value, taint) = cx.apart(|cx| cx.choose(c, &mut frame));
                cx.trace_next_last();
                cx.binding(taint, |cx| cx.bind_local(c.local, value, &mut frame));
            }
            Item::Save(_) if answers.search.is_some() => {}
            Item::Save(s) => cx.save(s, &mut frame),
            Item::Search(s) => cx.search(s, &mut frame),
            Item::Test(t) => {
                let mut inner = Frame::top(t.locals.len());
                inner.writes_globals = false;
                let value = cx.in_test(&t.title, |cx| cx.block(&t.body, &mut inner));
                cx.test(t, &value);
            }
        }
    }
    if let Some((id, span)) = cx.lone_network() {
        cx.network(id, span, None);
    }
    cx.note_weights(0);
    cx.check_answers();
    cx.report_promises();
    let exploration = cx.exploration();
    let decisions = cx.decided.into_iter().map(|d| d.decision).collect();
    Elaborated {
        graph: cx.graph,
        rules: cx.rules,
        tests: cx.tests,
        decisions,
        parameters: cx.network_parameters,
        definitions_are_fine,
        price: cx.price,
        exploration,
        diagnostics: cx.findings.finish(&cx.names),
    }
}

impl<'p> Cx<'p> {
    /// The model of a search is checked like one that is saved; it is an output for a trial alone.
    fn search(&mut self, search: &'p crate::hir::Search, frame: &mut Frame) {
        let Some(save) = &search.save else {
            if let Some(id) = search.network {
                let ours = self.answers.search.as_ref() == Some(&search.name);
                if ours || self.answers.search.is_none() {
                    self.network(id, search.name_span, ours.then_some(search.name.as_str()));
                }
            }
            return;
        };
        let (outputs, ours) = (self.graph.outputs.len(), self.answers.search.as_ref() == Some(&search.name));
        if ours || self.answers.search.is_none() {
            self.of_search = true;
            self.save(save, frame);
            self.of_search = false;
            self.note_weights(outputs);
        }
        if !ours {
            self.graph.outputs.truncate(outputs);
        }
    }
}

impl Cx<'_> {
    fn test(&mut self, test: &crate::hir::Test, value: &Value) {
        let span = test.body.span;
        let node = match value {
            Value::Model(m) => {
                // A condition on models holds where it holds for every tensor.
                let Ok(names) = m.names(self) else { return };
                for name in names.iter() {
                    if let Some(Ok(t)) = m.get(self, *name) {
                        let node = self.at_start(&[t.node], span)[0];
                        let tensor = Some(self.names.text(*name).to_string());
                        self.tests.push(TestCase { title: test.title.clone(), tensor, node, span: test.span });
                    }
                }
                return;
            }
            other => match self.tensor(other, span) {
                Ok(t) => self.at_start(&[t.node], span)[0],
                Err(_) => return,
            },
        };
        self.tests.push(TestCase { title: test.title.clone(), tensor: None, node, span: test.span });
    }
}
