//! The plan: what to read, compute and write, in which order.
//!
//! Made by `opt`, carried inside built executables (encoded with postcard), run by `runtime`.
//! Invariants (held by [`crate::Plan`]'s verifier in `opt`): every index is in range; a step uses only
//! statistics that earlier steps produce; the targets of all steps tile every output tensor and every temporary
//! exactly once; a step reads only temporaries that earlier steps have filled; views stay inside their tensors.
//!
//! Not here: file offsets. A plan names tensors; the runtime finds them in the headers when it starts, so
//! a checkpoint may be replaced by another of the same schema (`--model name=PATH`).

use crate::{DType, Routine, ScalarId, ScalarOp, SettingId, StatId};
use serde::{Deserialize, Serialize};

/// Everything a run needs but the kernels' code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub recipe: Recipe,
    pub checkpoints: Vec<Checkpoint>,
    pub sources: Vec<Source>,
    /// Tensors that live in memory between the step that fills them and the last that reads them.
    pub temps: Vec<Temp>,
    pub settings: Vec<Setting>,
    pub constraints: Vec<Constraint>,
    /// The scalar graph; operands come before their users.
    pub scalars: Vec<ScalarOp>,
    pub kernels: Vec<KernelInfo>,
    pub steps: Vec<Step>,
    /// By step, as far as it goes: a scalar that steps before it decide. Where it is not 0, nobody looks at what the step
    /// gives; it need not run then, and leaves zeros.
    pub unless: Vec<Option<ScalarId>>,
    /// How many [`StatId`]s the steps produce.
    pub stats: u32,
    pub outputs: Vec<Output>,
}

/// Where the plan comes from; recorded in the outputs' metadata.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// File name of the recipe, without folders.
    pub name: String,
    /// Its whole text.
    pub text: String,
    /// Choices that shaped the plan (ints, strings, arms) and can no longer change: name and value.
    pub structural: Vec<(String, String)>,
}

/// An input: a safetensors file, or a folder with one file or with shards and an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The name it is bound to in the recipe, which `--model name=PATH` replaces.
    pub name: String,
    /// Where the recipe says it is, already joined to the recipe's folder.
    pub path: String,
    /// Text of `adapter_config.json`, where this is an adapter that has one. Its scales are numbers of the plan, so what
    /// takes its place must have the same.
    pub config: Option<String>,
}

/// One tensor of a checkpoint that some step reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Index into [`Plan::checkpoints`].
    pub checkpoint: u32,
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<u64>,
}

/// A tensor of f32 in memory, row-major, made by one [`Step::Call`] or tiled by the maps of some steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Temp {
    pub shape: Vec<u64>,
}

impl Temp {
    /// Entries in it.
    pub fn len(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> u64 {
        4 * self.len()
    }
}

/// A launch scalar that `--set` changes without compiling anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    pub name: String,
    pub default: f64,
    /// Lowest and highest value allowed, both inclusive.
    pub range: Option<(f64, f64)>,
}

/// A condition on launch scalars, tried before anything is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constraint {
    /// Not 0 where the condition holds.
    pub scalar: ScalarId,
    /// What to say where it does not.
    pub message: String,
    /// `recipe.merge:3:14`.
    pub place: String,
}

/// How a kernel sees an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Access {
    /// One entry for each entry of the loop.
    Dense,
    /// One f32 for each row.
    PerRow,
    /// One entry for each column.
    PerCol,
}

/// How lanes, blocks and parts of a reduction are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ReduceFn {
    Sum,
    /// NaN if any entry is NaN.
    Min,
    /// NaN if any entry is NaN.
    Max,
}

impl ReduceFn {
    /// What a reduction starts from, and its value over nothing.
    pub const fn identity(self) -> f64 {
        match self {
            ReduceFn::Sum => 0.0,
            ReduceFn::Min => f64::INFINITY,
            ReduceFn::Max => f64::NEG_INFINITY,
        }
    }

    /// Joins two partial results. Of two equal ones (0 and -0) the second is taken, as kernels do: `f64::min`
    /// leaves that to the machine.
    pub fn combine(self, a: f64, b: f64) -> f64 {
        match self {
            ReduceFn::Sum => a + b,
            _ if a.is_nan() => a,
            ReduceFn::Min if a < b => a,
            ReduceFn::Max if a > b => a,
            ReduceFn::Min | ReduceFn::Max => b,
        }
    }
}

/// The signature of a compiled kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelInfo {
    pub symbol: String,
    pub operands: Vec<(DType, Access)>,
    pub stores: Vec<DType>,
    pub reductions: Vec<ReduceFn>,
    pub params: u32,
    pub keys: u32,
    pub cuts: u32,
}

/// An affine map from the row-major index of a loop (or of a smaller box that broadcasts into it) to
/// entries of a tensor. `dims` go from the outermost to the innermost; stride 0 repeats.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    pub offset: u64,
    /// Length and stride in entries.
    pub dims: Vec<(u64, u64)>,
}

impl View {
    /// The whole of a tensor of `entries` entries, in order.
    pub fn whole(entries: u64) -> View {
        View { offset: 0, dims: vec![(entries, 1)] }
    }

    /// Number of entries it visits.
    pub fn len(&self) -> u64 {
        self.dims.iter().map(|d| d.0).product()
    }

    /// Whether it visits nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same map with neighbouring dims joined where they are contiguous, and dims of length 1 gone.
    pub fn simplified(&self) -> View {
        let mut dims: Vec<(u64, u64)> = Vec::new();
        for &(len, stride) in self.dims.iter().filter(|d| d.0 != 1) {
            match dims.last_mut() {
                Some(outer) if outer.1 == len * stride => *outer = (outer.0 * len, stride),
                _ => dims.push((len, stride)),
            }
        }
        View { offset: self.offset, dims }
    }

    /// Whether consecutive indices are consecutive entries.
    pub fn is_contiguous(&self) -> bool {
        let s = self.simplified();
        s.is_empty() || s.dims.is_empty() || (s.dims.len() == 1 && s.dims[0].1 == 1)
    }
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Origin {
    /// An input tensor: index into [`Plan::sources`].
    Source(u32),
    /// Index into [`Plan::temps`]; its entries are f32.
    Temp(u32),
}

/// Entries of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Read {
    pub from: Origin,
    pub view: View,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sink {
    /// A tensor of an output: index into [`Plan::outputs`] and into [`Output::tensors`].
    Output { output: u32, tensor: u32 },
    /// Index into [`Plan::temps`]; its entries are f32.
    Temp(u32),
}

/// Where results go: entries of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub to: Sink,
    pub view: View,
}

/// One piece of work. Steps are listed in the order that is best for the disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// Bytes go over unchanged; both sides have the same dtype.
    Copy { from: Read, to: Target },
    /// The kernel's one store is written to the target. Where that has one entry for each row, see [`Loop::once_a_row`].
    Map { body: Loop, to: Target },
    /// Reductions over all parts together, combined in part order. `results[k]` belongs to the kernel's
    /// k-th reduction, which is the same in the kernel of every part.
    Reduce { parts: Vec<Loop>, results: Vec<StatId> },
    /// Exact selection over all parts together. The kernels' stores are f32 keys, one per selection.
    Select { parts: Vec<Loop>, selections: Vec<Selection> },
    /// A routine on whole temporaries. `results[k]` is where its k-th result goes, if anybody wants it.
    Call {
        routine: Routine,
        inputs: Vec<u32>,
        results: Vec<Option<u32>>,
        /// `recipe.merge:3:14`, for what the routine has to say.
        place: String,
    },
}

/// The k-th largest key over all parts of a step, NaN counting as the largest.
///
/// With `k` the scalar's value (rounded down, held within `0..=n`): exactly `k` entries have a key above
/// `threshold`, or equal to it and a flat index (over all parts, in order) not above `cut`.
/// `k = 0` gives `+inf` and `-1`. `k = n` gives the smallest key and the last index; where a cut is asked
/// for, any threshold that is not above the smallest key may stand for it, since all entries are meant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    pub k: ScalarId,
    pub threshold: StatId,
    /// Absent where nobody asks which of several equal entries are meant.
    pub cut: Option<StatId>,
}

/// A kernel over the entries of one tensor (or of a piece of one).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loop {
    /// Index into [`Plan::kernels`].
    pub kernel: u32,
    pub rows: u64,
    pub cols: u64,
    /// Whether a tile must hold whole rows: some operand is per row or per column, or there are phases.
    /// Otherwise `rows` is 1 and tiles may be cut anywhere at multiples of [`crate::BLOCK`].
    pub by_rows: bool,
    /// In the order of the kernel's operands.
    pub operands: Vec<Operand>,
    pub params: Vec<ScalarId>,
    pub keys: Vec<RandomKey>,
    pub cuts: Vec<Cut>,
    /// Added to the flat index: the place of this part in a vector that spans tensors.
    pub first: u64,
    /// Statistics of each row and places in it, found while the row is in memory, in order.
    pub phases: Vec<RowPhase>,
}

impl Loop {
    /// Whether the kernel of a [`Step::Map`] to this target runs once for each row, after its phases have seen the row: the
    /// target has one entry for each. All that the kernel itself reads is per row then, and it names no place in the row.
    pub fn once_a_row(&self, to: &Target) -> bool {
        self.by_rows && self.cols != 1 && to.view.len() == self.rows
    }
}

/// What a kernel of a loop reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operand {
    /// `rows * cols` entries.
    Dense(Read),
    /// `rows` entries, converted to f32.
    PerRow(Read),
    /// `cols` entries.
    PerCol(Read),
    /// A value that an earlier phase found, for each row or each entry: see [`RowPhaseKind::access`].
    RowValue { phase: u32, value: u32 },
}

/// A flat index of a [`Selection::cut`], seen from a part that starts at `minus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    pub stat: StatId,
    pub minus: u64,
}

/// A kernel run over the rows of a tile before the loop's own kernel, and what becomes of its results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowPhase {
    pub kernel: u32,
    /// Indices into [`Loop::operands`], in the order of this kernel's operands.
    pub operands: Vec<u32>,
    pub params: Vec<ScalarId>,
    pub keys: Vec<RandomKey>,
    pub kind: RowPhaseKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RowPhaseKind {
    /// Value `k` of a row is the kernel's k-th reduction over it.
    Reduce,
    /// The kernel stores f32 keys. Values `2 j` and `2 j + 1` of a row are threshold and cut (a column) of
    /// the j-th pick, as in [`Selection`].
    Select { picks: Vec<RowPick> },
    /// The kernel stores f32 keys. Value `j` of each entry is its place in its row by the keys of the j-th store, from 0: the
    /// largest comes first, NaN counting as the largest, and of equal ones the first.
    Rank,
}

impl RowPhaseKind {
    /// How many values a phase with this kernel finds.
    pub fn values(&self, kernel: &KernelInfo) -> usize {
        match self {
            RowPhaseKind::Reduce => kernel.reductions.len(),
            RowPhaseKind::Select { picks } => 2 * picks.len(),
            RowPhaseKind::Rank => kernel.stores.len(),
        }
    }

    /// How later kernels see the values, which are f32.
    pub fn access(&self) -> Access {
        match self {
            RowPhaseKind::Reduce | RowPhaseKind::Select { .. } => Access::PerRow,
            RowPhaseKind::Rank => Access::Dense,
        }
    }
}

/// The `k`-th largest of each row of the keys in a store; several picks may share the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPick {
    /// Of the phase's kernel.
    pub store: u32,
    pub k: ScalarId,
}

/// A stream of random numbers: from a seed and everything else that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RandomKey {
    /// The seed the recipe states; the run's `--seed` is added to it.
    pub seed: Option<i64>,
    /// Hash of loop turns and tensor name.
    pub stream: u64,
}

impl RandomKey {
    /// The Philox key of a stream: `mix(seed) xor stream`, where `mix` is the finaliser of splitmix64 and the
    /// seed is the recipe's (0 where it states none) plus the run's, so that `--seed` draws anew whatever a recipe says.
    ///
    /// The stream is a hash already, so it enters as it is; that keeps [`RandomKey::SECOND`] streams apart by a constant.
    pub fn keyed(self, run_seed: i64) -> u64 {
        let x = self.seed.unwrap_or(0).wrapping_add(run_seed) as u64;
        let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) ^ self.stream
    }

    /// The stream of the second number where a formula needs two of an entry. A normal number is
    /// `sqrt(-2 ln(1 - u)) * cos(2 pi v)` with `u` from a stream and `v` from its second.
    pub const fn second(self) -> RandomKey {
        RandomKey { seed: self.seed, stream: self.stream ^ RandomKey::SECOND }
    }

    /// What tells a second stream from the first.
    pub const SECOND: u64 = 0x9e37_79b9_7f4a_7c15;
}

/// What a saved file holds; recorded in its metadata and checked when it is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    Weights,
    Deltas,
    Statistics,
}

impl Role {
    /// The word in the metadata.
    pub const fn word(self) -> &'static str {
        match self {
            Role::Weights => "weights",
            Role::Deltas => "deltas",
            Role::Statistics => "tensors",
        }
    }
}

/// One `save`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Folder, already joined to the recipe's folder; `--out` replaces it where there is one output.
    pub path: String,
    pub role: Role,
    /// In the order of the file.
    pub tensors: Vec<OutTensor>,
    /// Largest shard in bytes of tensor data; one file if absent.
    pub shard: Option<u64>,
    /// Checkpoint whose config and other small files are copied.
    pub like: Option<u32>,
    /// Checkpoint whose tokenizer files are taken instead of `like`'s.
    pub tokenizer: Option<u32>,
    /// Keys of `config.json` to set, with their JSON text.
    pub config: Vec<(String, String)>,
    /// Text of `adapter_config.json`, where the tensors are an adapter's factors: they are then named as PEFT wants
    /// it, and nothing else lies beside them.
    pub adapter: Option<String>,
    pub beside: Beside,
    /// `recipe.merge:3:1`.
    pub place: String,
}

/// What else lies in an output's folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// Tensors that are not the model's: start values of parameters.
    pub apart: Option<Apart>,
    pub files: Vec<OutFile>,
}

/// The last tensors of an output, in a file of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apart {
    pub file: String,
    /// How many; where that is all of them, the output has no other file of tensors.
    pub tensors: u64,
}

/// A file that is known when the plan is made, but for values of settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutFile {
    pub name: String,
    pub pieces: Vec<FilePiece>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FilePiece {
    Bytes(Vec<u8>),
    /// The value of a setting as text, such as `0.5`: the shortest that reads back as the same f64.
    Setting(SettingId),
    /// What some settings leave of 1, as text: the last part of a simplex, of which the others are settings.
    Rest(Vec<SettingId>),
    /// The value of a setting as the four bytes of an f32, the lowest first.
    SettingBytes(SettingId),
    /// Where the data of a tensor of the output begin in its file, in bytes: [`FilePiece::OFFSET_DIGITS`] decimal digits with
    /// zeros in front, so that the length of the file is known before the place.
    Offset {
        tensor: u32,
    },
}

impl FilePiece {
    /// As many as the largest u64 has.
    pub const OFFSET_DIGITS: usize = 20;
}

/// A tensor to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutTensor {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<u64>,
}

impl OutFile {
    /// The file where settings have these values, by [`SettingId`], and tensors of the output begin at `offsets` of their files.
    pub fn contents(&self, settings: &[f64], offsets: &[u64]) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in &self.pieces {
            match piece {
                FilePiece::Bytes(bytes) => all.extend_from_slice(bytes),
                FilePiece::Setting(id) => all.extend_from_slice(format!("{:?}", settings[id.0 as usize]).as_bytes()),
                FilePiece::Rest(parts) => {
                    let rest = parts.iter().fold(1.0, |rest, id| rest - settings[id.0 as usize]);
                    all.extend_from_slice(format!("{:?}", f64::max(rest, 0.0)).as_bytes());
                }
                FilePiece::SettingBytes(id) => all.extend_from_slice(&(settings[id.0 as usize] as f32).to_le_bytes()),
                FilePiece::Offset { tensor } => {
                    let digits = format!("{:0width$}", offsets[*tensor as usize], width = FilePiece::OFFSET_DIGITS);
                    all.extend_from_slice(digits.as_bytes());
                }
            }
        }
        all
    }
}

impl OutTensor {
    /// Bytes of its data.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().product::<u64>() * self.dtype.size()
    }
}

impl Plan {
    /// The setting under `id`.
    pub fn setting(&self, id: SettingId) -> &Setting {
        &self.settings[id.0 as usize]
    }
}
