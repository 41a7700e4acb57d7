//! Structures of candidates with their kernels: what candidates that differ in arguments alone have in common.
//!
//! A structure is known by the answers that shape the graph. What answers are arguments of a plan instead (reals, weights, members of lists of
//! floats) is learnt from the first plans. Kernels are known by what they compute, so that a new structure compiles those alone that no
//! structure before it had.

use crate::analyse::{Front, Request, Trained};
use crate::execute::internal;
use merge_abi::{KernelFn, Plan};
use merge_base::Diagnostic;
use merge_codegen::{Cpu, Jit};
use merge_ir::kir::Kernel;
use merge_sema::space::Answer;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Structures that are kept.
const MOST: usize = 64;
/// Kernels that are kept for structures to come.
const MOST_KERNELS: usize = 8192;

/// A plan with its kernels, which are compiled when it is first run.
pub(super) struct Structure {
    pub plan: Plan,
    written: Vec<Kernel>,
    /// What each kernel computes.
    pub codes: Vec<[u8; 16]>,
    loaded: OnceLock<Vec<Loaded>>,
}

/// All structures that a search met, and readings of its recipe to make more.
pub(super) struct Structures<'a> {
    request: &'a Request,
    /// The name of the search.
    name: &'a str,
    /// Elaborating changes what is known of checkpoints, so each thread has a reading of its own for as long as it needs one.
    fronts: Mutex<Vec<Front>>,
    made: Mutex<Made>,
    kernels: Mutex<HashMap<[u8; 16], Loaded>>,
}

/// A kernel's function and the code it is in.
#[derive(Clone)]
struct Loaded {
    function: KernelFn,
    /// Held so that the function may be called.
    _code: Arc<Jit>,
}

#[derive(Default)]
struct Made {
    by_answers: BTreeMap<String, (u64, Arc<Structure>)>,
    /// Members that are arguments of the plans seen so far.
    arguments: BTreeSet<String>,
    /// Counts uses, so that the one longest unused is given up first.
    clock: u64,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The answers that shape the graph, as text.
fn key(answers: &BTreeMap<String, Answer>, arguments: &BTreeSet<String>) -> String {
    let shapes = |(id, answer): &(&String, &Answer)| match answer {
        Answer::Real(_) | Answer::Simplex(_) => false,
        Answer::Member(_) | Answer::Label(_) => !arguments.contains(*id),
        Answer::Int(_) | Answer::Order(_) | Answer::Subset(_) => true,
    };
    format!("{:?}", answers.iter().filter(shapes).collect::<Vec<_>>())
}

impl<'a> Structures<'a> {
    pub fn new(request: &'a Request, name: &'a str) -> Structures<'a> {
        Structures { request, name, fronts: Mutex::default(), made: Mutex::default(), kernels: Mutex::default() }
    }

    /// Calls `f` with a reading of the recipe.
    ///
    /// # Errors
    /// The recipe can be read no more.
    pub fn with_front<T>(&self, f: impl FnOnce(&mut Front) -> T) -> Result<T, String> {
        let known = lock(&self.fronts).pop();
        let mut front = match known {
            Some(front) => front,
            None => {
                let mut front = Front::read(self.request).map_err(|e| e.message)?;
                front.search(self.name);
                front
            }
        };
        let result = f(&mut front);
        lock(&self.fronts).push(front);
        Ok(result)
    }

    /// The plan of a candidate whose parameters start from what another trained. Such plans are not kept: hardly two trials start from one.
    ///
    /// # Errors
    /// A sentence: what is wrong with this candidate.
    pub fn starting_from(&self, from: Trained, answers: &BTreeMap<String, Answer>) -> Result<Structure, String> {
        self.with_front(|front| {
            let usual = front.start_from(Some(from));
            let made = make(front, answers);
            front.start_from(usual);
            made.map(|(structure, _)| structure)
        })?
    }

    /// The structure of a candidate.
    ///
    /// # Errors
    /// A sentence: what is wrong with this candidate.
    pub fn of(&self, answers: &BTreeMap<String, Answer>) -> Result<Arc<Structure>, String> {
        if let Some(known) = self.known(answers) {
            return Ok(known);
        }
        let (structure, members) = self.with_front(|front| make(front, answers))??;
        let structure = Arc::new(structure);
        let mut made = lock(&self.made);
        made.arguments.extend(members);
        while made.by_answers.len() >= MOST {
            let oldest = made.by_answers.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            oldest.map(|key| made.by_answers.remove(&key));
        }
        made.clock += 1;
        // Without its arguments where the plan has all of them: another plan may have fewer.
        let short = key(answers, &made.arguments);
        let entry = (made.clock, structure.clone());
        let key = if has_arguments(&structure.plan, answers, &made.arguments) { short } else { key(answers, &BTreeSet::new()) };
        made.by_answers.insert(key, entry);
        Ok(structure)
    }

    fn known(&self, answers: &BTreeMap<String, Answer>) -> Option<Arc<Structure>> {
        let mut made = lock(&self.made);
        made.clock += 1;
        let now = made.clock;
        let short = key(answers, &made.arguments);
        let Made { by_answers, arguments, .. } = &mut *made;
        if let Some((used, structure)) = by_answers.get_mut(&short)
            && has_arguments(&structure.plan, answers, arguments)
        {
            *used = now;
            return Some(structure.clone());
        }
        let (used, structure) = by_answers.get_mut(&key(answers, &BTreeSet::new()))?;
        *used = now;
        Some(structure.clone())
    }

    /// The functions of a structure's kernels, and how many of them had to be compiled. They may be called while it lives.
    ///
    /// # Errors
    /// Internal ones of code generation.
    pub fn load(&self, structure: &Structure) -> Result<(Vec<KernelFn>, u64), String> {
        let mut new = 0;
        if structure.loaded.get().is_none() {
            let (loaded, compiled) = self.compile(&structure.written, &structure.codes)?;
            // Another worker may have been quicker; both have the same kernels.
            new = structure.loaded.set(loaded).map_or(0, |()| compiled);
        }
        let loaded = structure.loaded.get().map(Vec::as_slice).unwrap_or_default();
        Ok((loaded.iter().map(|l| l.function).collect(), new))
    }

    fn compile(&self, kernels: &[Kernel], codes: &[[u8; 16]]) -> Result<(Vec<Loaded>, u64), String> {
        let mut found: HashMap<[u8; 16], Loaded> = HashMap::new();
        let mut missing: BTreeMap<[u8; 16], Kernel> = BTreeMap::new();
        {
            let known = lock(&self.kernels);
            for (kernel, code) in kernels.iter().zip(codes) {
                match known.get(code) {
                    Some(loaded) => drop(found.insert(*code, loaded.clone())),
                    None => drop(missing.insert(*code, kernel.clone())),
                }
            }
        }
        if !missing.is_empty() {
            let list: Vec<Kernel> = missing.values().cloned().collect();
            let code = Arc::new(Jit::compile(&list, &Cpu::Host).map_err(|e| internal(e).message)?);
            let mut known = lock(&self.kernels);
            if known.len() + missing.len() > MOST_KERNELS {
                known.clear();
            }
            for (identity, kernel) in &missing {
                let name = &kernel.name;
                let function = code.kernel(name).ok_or_else(|| format!("kernel `{name}` was not compiled"))?;
                let loaded = Loaded { function, _code: code.clone() };
                known.insert(*identity, loaded.clone());
                found.insert(*identity, loaded);
            }
        }
        let all = codes.iter().filter_map(|code| found.get(code).cloned()).collect();
        Ok((all, missing.len() as u64))
    }
}

/// Plans a candidate; gives the ids of members that are arguments of its plan as well.
fn make(front: &mut Front, answers: &BTreeMap<String, Answer>) -> Result<(Structure, Vec<String>), String> {
    let elaborated = front.elaborate(answers, false);
    fault(&elaborated.diagnostics)?;
    let compiled = front.plan(&elaborated);
    fault(&compiled.diagnostics)?;
    let members = elaborated.decisions.iter().filter(|d| !d.structural).map(|d| d.id.clone()).collect();
    let codes = compiled.kernels.iter().map(code_of).collect();
    Ok((Structure { plan: compiled.plan, written: compiled.kernels, codes, loaded: OnceLock::new() }, members))
}

/// Whether each member that is left out of a structure's key is a setting of its plan.
fn has_arguments(plan: &Plan, answers: &BTreeMap<String, Answer>, arguments: &BTreeSet<String>) -> bool {
    let left_out = |(id, a): &(&String, &Answer)| matches!(a, Answer::Member(_) | Answer::Label(_)) && arguments.contains(*id);
    answers.iter().filter(left_out).all(|(id, _)| plan.settings.iter().any(|s| s.name == *id))
}

/// What a kernel computes: its text without its name.
fn code_of(kernel: &Kernel) -> [u8; 16] {
    let nameless = Kernel { name: String::new(), ..kernel.clone() };
    let digest = Sha256::digest(merge_ir::kir::print(&nameless));
    std::array::from_fn(|i| digest[i])
}

fn fault(found: &[Diagnostic]) -> Result<(), String> {
    found.iter().find(|d| d.is_error()).map_or(Ok(()), |d| Err(d.message.clone()))
}
