//! What elaboration knows at any moment, and what values are to it.
//!
//! No arithmetic is done on buffers of ints: what is computed with passes through [`Cx::float`]. How nodes of tensors are made is
//! in `nodes`.

use super::adapter::Adapters;
use super::choices::Decided;
use super::domains::Offer;
use super::explore::Watch;
use super::files::Opened;
use super::findings::{CallSite, Findings};
use super::model::Model;
use super::names::{NameId, Names, Places};
use super::network::{Known, Starting};
use super::path::Path;
use super::scalars::Scalars;
use super::stand_ins::StandIns;
use super::{Answers, TestCase};
use crate::codes::types as codes;
use crate::degree::{Atom, Degree, Frac};
use crate::hir::{FnId, Program};
use crate::schema::Checkpoints;
use crate::space::{Taint, normalised};
use crate::value::{Reported, TensorVal, Value};
use merge_abi::{BinaryFn, RandomKey};
use merge_base::{Code, Diagnostic, Sources, Span};
use merge_ir::tir::{Graph, NodeId, Op};
use rustc_hash::{FxHashMap, FxHashSet};
use std::cell::RefCell;
use std::rc::Rc;

/// The state of one elaboration.
pub struct Cx<'p> {
    pub graph: Graph,
    pub sources: &'p Sources,
    pub(super) program: &'p Program,
    pub(super) checkpoints: &'p mut (dyn Checkpoints + 'p),
    pub(super) answers: &'p Answers,
    pub(super) names: Names,
    pub(super) opened: Vec<Opened>,
    pub(super) adapters: Adapters,
    pub(super) findings: Findings,
    pub(super) tests: Vec<TestCase>,
    pub(super) rules: Vec<super::RuleShare>,
    /// Buffers that the current item of the recipe was told not to blend.
    pub(super) blended: FxHashSet<NameId>,
    /// Values of the settings, in the order of [`Graph::settings`].
    pub(super) setting_values: Vec<f64>,
    /// The decisions that were reached.
    pub(super) decided: Vec<Decided>,
    pub(super) decided_by_id: Places,
    /// What decisions offer whose domains are written out, by where they stand.
    pub(super) offers: FxHashMap<Span, Rc<Offer>>,
    /// What `--set` says, by normalised id, and which of that was of use.
    pub(super) given: FxHashMap<String, String>,
    pub(super) used: FxHashSet<String>,
    /// The names that `let` gives to models, by the model.
    /// What depends on which decisions, if that is asked.
    pub(super) watch: Option<Box<Watch<'p>>>,
    pub(super) global_taints: Vec<Taint>,
    /// Whether a network is being made, so that there are layers, and `new` makes parameters.
    pub(super) in_network: bool,
    /// Whether what is saved is the model of a search.
    pub(super) of_search: bool,
    /// How often a parameter was asked for.
    pub(super) parameters_asked: u64,
    /// The keys in the rule at hand, and how many of them are those around it.
    pub(super) rule_keys: Option<(usize, Vec<String>)>,
    /// The parameters of the graph.
    pub(super) known_parameters: Known,
    /// The `new` tensor whose start value is evaluated.
    pub(super) starting: Option<Starting>,
    /// Entries of the parameters of the last network.
    pub(super) network_parameters: Option<u64>,
    /// What the candidate costs, as far as that is known.
    pub(super) price: Option<crate::space::Price>,
    pub(super) model_names: FxHashMap<*const Model, (Rc<Model>, String)>,
    /// The modules that rules around replace, innermost last.
    pub(super) called: Vec<super::modules::Called<'p>>,
    /// What a scalar is as a coefficient, where that is known better than "an atom of its own".
    fracs: FxHashMap<NodeId, Frac>,
    node_atoms: FxHashMap<NodeId, Atom>,
    pub(super) atoms: Vec<String>,
    zeros: FxHashSet<NodeId>,
    pub(super) scalars: RefCell<Scalars>,
    /// Top-level variables.
    pub(super) globals: Vec<Value>,
    /// The tensor that is being made, where a rule or a lifted function says so.
    pub(super) tensor: Option<NameId>,
    /// Turns of the loops around, outermost first.
    pub(super) turns: Vec<u32>,
    /// Lets and calls around, which name the decisions in them.
    pub(super) path: Path,
    /// Values of the captures and loop variables around, which tell turns of one decision apart.
    pub(super) keys: Vec<String>,
    pub(super) calls: Option<Rc<CallSite>>,
    /// Set while a function is tried with symbolic arguments: only faults that no argument can cure count.
    pub(super) symbolic: bool,
    /// The lengths that stand for its dims meanwhile.
    pub(super) stand_ins: StandIns,
    /// Faults already reported at the definition of a function.
    pub(super) broken: FxHashSet<(Code, Span)>,
    /// `as` promises seen, and whether each was proved already wherever it was reached.
    pub(super) promises: FxHashMap<Span, bool>,
    /// The promised expressions.
    pub(super) promise_values: FxHashMap<Span, (Span, crate::hir::Role)>,
    /// Sums and differences whose degree is neither 0 nor 1, with the degrees of their sides; the first says
    /// whether the second side is taken away.
    pub(super) sums: FxHashMap<Span, (bool, [(Span, Degree); 2])>,
    /// The name that the value being evaluated is bound to.
    pub(super) bound_to: Option<String>,
    pub(super) constraints_seen: FxHashSet<(NodeId, Span)>,
    /// For each node the dtype of the first tensor that it reads; as far as `save` has asked.
    pub(super) dtypes: Vec<Option<merge_abi::DType>>,
}

impl<'p> Cx<'p> {
    pub(super) fn new(
        program: &'p Program,
        sources: &'p Sources,
        checkpoints: &'p mut (dyn Checkpoints + 'p),
        answers: &'p Answers,
    ) -> Cx<'p> {
        Cx {
            graph: Graph::default(),
            sources,
            program,
            checkpoints,
            answers,
            names: Names::default(),
            opened: Vec::new(),
            adapters: Adapters::default(),
            findings: Findings::default(),
            tests: Vec::new(),
            rules: Vec::new(),
            blended: FxHashSet::default(),
            setting_values: Vec::new(),
            decided: Vec::new(),
            decided_by_id: Places::default(),
            offers: FxHashMap::default(),
            given: answers.set.iter().map(|(id, text)| (normalised(id), text.clone())).collect(),
            used: FxHashSet::default(),
            watch: answers.watch.then(Box::default),
            in_network: false,
            of_search: false,
            parameters_asked: 0,
            rule_keys: None,
            known_parameters: Known::default(),
            starting: None,
            network_parameters: None,
            price: None,
            global_taints: vec![Taint::NONE; program.globals.len()],
            model_names: FxHashMap::default(),
            called: Vec::new(),
            fracs: FxHashMap::default(),
            node_atoms: FxHashMap::default(),
            atoms: Vec::new(),
            zeros: FxHashSet::default(),
            scalars: RefCell::default(),
            globals: vec![Value::Poison; program.globals.len()],
            tensor: None,
            turns: Vec::new(),
            path: Path::default(),
            keys: Vec::new(),
            calls: None,
            symbolic: false,
            stand_ins: StandIns::default(),
            broken: FxHashSet::default(),
            promises: FxHashMap::default(),
            promise_values: FxHashMap::default(),
            sums: FxHashMap::default(),
            bound_to: None,
            constraints_seen: FxHashSet::default(),
            dtypes: Vec::new(),
        }
    }

    /// Runs `body` on an empty graph, with nothing of it kept but its findings. It sees no model of this graph.
    pub(super) fn on_scratch_graph<T>(&mut self, body: impl FnOnce(&mut Cx<'p>) -> T) -> T {
        let graph = std::mem::take(&mut self.graph);
        let fracs = std::mem::take(&mut self.fracs);
        let node_atoms = std::mem::take(&mut self.node_atoms);
        let zeros = std::mem::take(&mut self.zeros);
        let scalars = std::mem::take(&mut self.scalars);
        let values = std::mem::take(&mut self.setting_values);
        let constraints = std::mem::take(&mut self.constraints_seen);
        let parameters = std::mem::take(&mut self.known_parameters);
        let opened = std::mem::take(&mut self.opened);
        let adapters = std::mem::take(&mut self.adapters);
        let owners = self.watch.as_mut().map(|w| w.ledger.set_owners(Vec::new()));
        let result = body(self);
        if let (Some(w), Some(owners)) = (&mut self.watch, owners) {
            w.ledger.set_owners(owners);
        }
        self.graph = graph;
        self.fracs = fracs;
        self.node_atoms = node_atoms;
        self.zeros = zeros;
        self.scalars = scalars;
        self.setting_values = values;
        self.constraints_seen = constraints;
        self.known_parameters = parameters;
        self.opened = opened;
        self.adapters = adapters;
        result
    }

    /// The text of the recipe under a span.
    pub fn text(&self, span: Span) -> &'p str {
        self.sources.slice(span)
    }

    /// A shape as messages write it: `[4096, 11008]`, and by the names of the dims in a function that is tried as written.
    pub fn show_shape(&self, shape: &[u64]) -> String {
        if self.stand_ins.is_empty() || shape.is_empty() { show_shape(shape) } else { self.stand_ins.shape(shape, self.tried()) }
    }

    /// The length of an axis as messages write it.
    pub fn show_length(&self, n: u64) -> String {
        if self.stand_ins.is_empty() { n.to_string() } else { self.stand_ins.words(n, self.tried()) }
    }

    /// The text of the file whose functions are tried.
    fn tried(&self) -> &'p str {
        self.program.entry.map_or("", |file| self.sources.get(file).text.as_str())
    }

    /// What to call an expression in a message: its text, if that is short enough to be read.
    pub fn describe(&self, span: Span) -> String {
        let text = self.text(span);
        if text.is_empty() || text.len() > 40 || text.contains('\n') { "this".into() } else { format!("`{text}`") }
    }

    /// The text of an argument, ready to be indexed, where it may be a model that a function is applied to name by name: in the
    /// recipe itself, and not under a rule that gave a tensor a name.
    pub fn model_at(&self, span: Span) -> Option<String> {
        let text = self.text(span);
        if self.tensor.is_none() || self.calls.is_some() || text.is_empty() || text.len() > 40 || text.contains('\n') {
            return None;
        }
        Some(if text.contains(' ') && !text.ends_with(')') { format!("({text})") } else { text.to_string() })
    }

    /// The function under `id`.
    pub(super) fn function(&self, id: FnId) -> &'p crate::hir::Fn {
        &self.program.fns[id.0 as usize]
    }

    /// Gives a diagnostic. Inside a function it is blamed on the call in the recipe, with the place in the
    /// function as a second label; a fault that the function itself was already blamed for stays silent.
    pub fn report(&mut self, mut d: Diagnostic) -> Reported {
        if self.symbolic {
            let counts = d.code.0.starts_with("E21")
                || d.code.0.starts_with("W21")
                || [codes::WRONG_KIND, codes::WRONG_ARGUMENTS, codes::SHAPES_DISAGREE, codes::NOT_STATIC].contains(&d.code);
            if !counts {
                return Reported;
            }
        }
        if let Some(site) = &self.calls {
            if d.primary_span().is_some_and(|s| self.broken.contains(&(d.code, s))) {
                return Reported;
            }
            let outermost = site.outermost();
            let (span, function, inner) = (outermost.span, outermost.function, site.function);
            let inner = self.function(inner).name.clone();
            for label in &mut d.labels {
                if label.primary && label.message.is_empty() {
                    label.message = format!("here, in `{inner}`");
                }
                label.primary = false;
            }
            let message = format!("in this call of `{}`", self.function(function).name);
            d.labels.insert(0, merge_base::Label { span, message, primary: true });
        } else if self.symbolic {
            self.broken.extend(d.primary_span().map(|s| (d.code, s)));
        }
        let tensor = if self.symbolic { None } else { self.tensor };
        self.findings.add(d, tensor);
        Reported
    }

    /// Shorthand for [`Cx::report`] with one place.
    pub fn error(&mut self, code: Code, message: impl Into<String>, span: Span, label: impl Into<String>) -> Reported {
        self.report(Diagnostic::new(code, message, span, label))
    }

    /// The shape of a tensor.
    pub fn shape(&self, t: &TensorVal) -> Rc<[u64]> {
        self.graph.shape(t.node).clone()
    }

    /// Whether it has no axes.
    pub fn is_scalar(&self, t: &TensorVal) -> bool {
        self.graph.shape(t.node).is_empty()
    }

    /// A known number as a scalar.
    pub fn number(&mut self, value: f64, span: Span) -> TensorVal {
        TensorVal::new(self.graph.constant(value, span), Degree::delta())
    }

    /// A new scalar that the compiler does not know the value of, under the name messages give it.
    pub(super) fn new_atom(&mut self, name: impl Into<String>) -> Atom {
        self.atoms.push(name.into());
        Atom(self.atoms.len() as u32 - 1)
    }

    /// The name of an atom in messages.
    pub fn atom_name(&self, atom: Atom) -> String {
        self.atoms[atom.0 as usize].clone()
    }

    /// A scalar as a coefficient of degrees: a number, a polynomial of settings, or an atom of its own.
    pub fn frac(&mut self, scalar: &TensorVal) -> Frac {
        if let Some(f) = self.fracs.get(&scalar.node) {
            return f.clone();
        }
        if let Op::Const(bits) = self.graph.node(scalar.node).op
            && let Some(f) = Frac::nearest_decimal(f64::from_bits(bits))
        {
            self.fracs.insert(scalar.node, f.clone());
            return f;
        }
        if let Some(atom) = self.node_atoms.get(&scalar.node) {
            return Frac::atom(*atom);
        }
        let text = self.text(self.graph.node(scalar.node).span).trim();
        let name = if text.is_empty() || text.len() > 30 || text.contains('\n') { "…".to_string() } else { text.to_string() };
        let atom = self.new_atom(name);
        self.node_atoms.insert(scalar.node, atom);
        Frac::atom(atom)
    }

    /// States what a scalar is as a coefficient.
    pub fn set_frac(&mut self, scalar: &TensorVal, frac: Frac) {
        self.fracs.entry(scalar.node).or_insert(frac);
    }

    /// A value as a tensor of floats: ints and bools become numbers. `span` is where it stands.
    ///
    /// # Errors
    /// Lists, strings and the like, and buffers of ints, are reported.
    pub fn tensor(&mut self, value: &Value, span: Span) -> Result<TensorVal, Reported> {
        match value {
            Value::Int(i) => Ok(self.number(*i as f64, span)),
            Value::Bool(b) => Ok(self.number(f64::from(*b), span)),
            Value::Tensor(t) => self.float(t, span),
            Value::Poison => Err(Reported),
            other => {
                let message = format!("a tensor or a number is wanted here, and this is {}", other.kind());
                Err(self.error(codes::WRONG_KIND, message, span, ""))
            }
        }
    }

    /// The tensor itself, if arithmetic may be done on it.
    pub fn float(&mut self, t: &TensorVal, span: Span) -> Result<TensorVal, Reported> {
        let Some(dtype) = t.buffer else { return Ok(t.clone()) };
        // An item that blends a buffer does so in every operand: one report is enough.
        if self.tensor.is_some_and(|n| !self.blended.insert(n)) {
            return Err(Reported);
        }
        let name = self.tensor.map(|n| self.names.text(n).to_string());
        let what = name.as_deref().map_or("this tensor".to_string(), |n| format!("`{n}`"));
        let last = name.as_deref().and_then(|n| n.rsplit('.').next()).unwrap_or("position_ids").to_string();
        Err(self.report(
            Diagnostic::new(
                codes::BUFFER_ARITHMETIC,
                format!("{what} holds {dtype}, not floats: it can be copied, but not blended"),
                span,
                "",
            )
            .help(format!("give it a rule of its own that copies it: \"**.{last}\" => base"))
            .help(format!("or leave it out: without(m, \"**.{last}\")")),
        ))
    }

    /// `recipe.merge:3:14` for what to blame when it runs: the span itself, or the call that leads into a library file.
    pub(super) fn place_in_recipe(&self, span: Span) -> String {
        let mut at = span;
        let mut site = self.calls.as_ref();
        while let (true, Some(s)) = (Some(at.file) != self.program.entry, site) {
            at = s.span;
            site = s.caller.as_ref();
        }
        self.sources.place(at)
    }

    /// The number that a node is, if the compiler knows it whatever the settings are.
    pub(super) fn constant_of(&self, node: NodeId) -> Option<f64> {
        match self.graph.node(node).op {
            Op::Const(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }

    /// Whether a node is the zeros that stand for a tensor that a model of deltas lacks.
    pub(super) fn is_zeros(&self, node: NodeId) -> bool {
        self.zeros.contains(&node)
    }

    /// Whether this stands for a tensor that a model of deltas lacks.
    pub fn counts_as_zero(&self, t: &TensorVal) -> bool {
        self.zeros.contains(&t.node)
    }

    /// A tensor of zeros.
    pub fn zeros(&mut self, shape: &Rc<[u64]>, span: Span) -> TensorVal {
        let zero = self.graph.constant(0.0, span);
        let node = if shape.is_empty() {
            zero
        } else {
            let coord = self.graph.add(Op::Coord { axis: 0 }, shape.clone(), span);
            self.graph.add(Op::Binary(BinaryFn::Mul, coord, zero), shape.clone(), span)
        };
        self.zeros.insert(node);
        TensorVal::new(node, Degree::delta())
    }

    /// The key of a random stream here: the seed, the turns of the loops around, the tensor's name. In a start value it is the
    /// parameter's name, which has the loops around in it.
    pub fn random_key(&self, seed: Option<i64>) -> RandomKey {
        let mut stream = Fnv::new();
        let turns = &self.turns[self.starting.as_ref().map_or(0, |s| s.turns)..];
        stream.write(&(turns.len() as u32).to_le_bytes());
        for turn in turns {
            stream.write(&turn.to_le_bytes());
        }
        match (&self.starting, self.tensor) {
            (Some(starting), _) => stream.write(starting.name.as_bytes()),
            (None, Some(name)) => stream.write(self.names.text(name).as_bytes()),
            (None, None) => {}
        }
        RandomKey { seed, stream: stream.0 }
    }
}

/// `[4096, 11008]`; `a number` for no axes.
pub fn show_shape(shape: &[u64]) -> String {
    if shape.is_empty() {
        return "no axes".into();
    }
    let dims: Vec<String> = shape.iter().map(u64::to_string).collect();
    format!("[{}]", dims.join(", "))
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): small, and the same on every machine and in every version.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = (self.0 ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
