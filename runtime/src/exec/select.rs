//! Exact selection over tensors that are never held: passes over tiles, as `crate::select` makes over keys.
//!
//! First a sample brackets the wanted key. One pass counts what lies above the bracket and collects what
//! lies inside; values that the sample shows to be frequent (stored numbers are coarse, so differences
//! of them repeat) are counted and not collected. If the key then turns out to lie elsewhere, or more was
//! inside than memory allows, histograms narrow the range down until a bracket holds. Every answer is
//! verified by the counts, so that it depends neither on the sample nor on threads, tiles or memory.
//! Steps of few entries hold all their keys and select among them.

use super::{
    job::{Found, Next, World, offsets},
    launch::{Launch, Setup},
    tile::Tile,
    work::Bench,
};
use crate::{
    Error,
    scalars::Scalars,
    select::{
        Rank, clamp_rank, entries, kth_largest, number,
        scan::{BINS, Bracket, Counts, HEAVY, count, histogram, nth_equal, scan, shift},
        threshold_and_cut, to_keys,
    },
};
use merge_abi::{BLOCK, Selection, StatId, Step};
use std::sync::{Arc, Mutex, PoisonError};

/// Keys of all selections that a worker computes at a time, so that they stay in the first cache.
const KEYS_AT_ONCE: u64 = 8192;
/// Steps of at most so many keys are selected from directly.
const DIRECT: u64 = 1 << 20;
/// Entries of a piece of the sample, and pieces of a task.
const PIECE: u64 = 64;
const PIECES_OF_TASK: u64 = 128;

/// Keys that a worker computes at a time for each of some selections.
pub(crate) fn chunk(selections: usize) -> u64 {
    (KEYS_AT_ONCE / selections.max(1) as u64).clamp(1024, BLOCK)
}

/// Most keys of a step that is selected from directly, with `most` bytes for a worker.
pub(crate) fn direct_keys(most: u64) -> u64 {
    DIRECT.min(most / 16)
}

/// What a round asks of the keys of one selection.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Nothing,
    Collect(Bracket),
    Histogram { lo: u32, hi: u32 },
}

#[derive(Debug)]
enum Round {
    Direct,
    Sample { pieces: u64 },
    Tiles(Vec<Ask>),
}

/// What the tasks of a round found for one selection.
#[derive(Default)]
struct Gathered {
    counts: Counts,
    /// Keys collected, and how many there would be if not too many.
    inside: Vec<u32>,
    inside_total: u64,
    /// Tile, start and end of each tile's keys in `inside`.
    spans: Vec<(u64, usize, usize)>,
    heavy: Vec<(u64, [u32; HEAVY])>,
    bins: Vec<u64>,
    /// Ends of the pieces of a sample in `inside`.
    pieces: Vec<usize>,
}

struct State {
    round: Arc<Round>,
    gathered: Vec<Gathered>,
    /// Threshold and cut.
    found: Vec<Option<(f32, i64)>>,
}

/// Takes the keys of a chunk, of each selection, with its first entry.
type OnKeys<'f> = dyn FnMut(&mut Bench, u64, &mut [&mut [f32]]) + 'f;

/// Selections over all parts together.
pub(crate) struct SelectJob<'p> {
    launches: Vec<Launch<'p>>,
    /// Entries and tiles before each part, and of all.
    entries: Vec<u64>,
    tiles: Vec<u64>,
    selections: &'p [Selection],
    ranks: Vec<Rank>,
    /// Most keys collected for one selection.
    most: usize,
    state: Mutex<State>,
}

/// What a count of keys says about a selection.
enum Verdict {
    /// The key, the `nth` of its equals that is the last one taken, and its place among the heavy values.
    Found {
        key: u32,
        nth: u64,
        heavy: Option<usize>,
    },
    Ask(Ask),
}

impl<'p> SelectJob<'p> {
    /// None while the rank of a selection is unknown.
    pub fn new(
        setup: &Setup<'p>,
        launches: Vec<Launch<'p>>,
        selections: &'p [Selection],
        scalars: &mut Scalars<'_>,
    ) -> Option<SelectJob<'p>> {
        let starts = offsets(launches.iter().map(|l| l.tiling.rows * l.tiling.cols));
        let tiles = offsets(launches.iter().map(|l| l.tiling.count()));
        let n = starts[launches.len()];
        let rank = |s: &Selection, k: f64| match clamp_rank(entries(k), n) {
            // Where the smallest key itself is asked for, it has to be found.
            Rank::All if s.cut.is_none() => Rank::Some(n),
            rank => rank,
        };
        let ranks: Vec<Rank> = selections.iter().map(|s| scalars.value(s.k).map(|k| rank(s, k))).collect::<Option<_>>()?;
        let found: Vec<Option<(f32, i64)>> = ranks
            .iter()
            .map(|rank| match rank {
                Rank::None => Some((f32::INFINITY, -1)),
                Rank::All => Some((f32::NEG_INFINITY, n as i64 - 1)),
                Rank::Some(_) => None,
            })
            .collect();
        let each = selections.len().max(1) as u64;
        let most = (setup.select_bytes / 8 / each).clamp(4096, 1 << 28) as usize;
        let round = if n * each <= direct_keys(setup.most) {
            Round::Direct
        } else if launches.iter().any(|l| !l.phases.is_empty()) {
            // A piece of a row has no row statistics, so there is no sample.
            let ask = |f: &Option<_>| if f.is_some() { Ask::Nothing } else { Ask::Histogram { lo: 0, hi: u32::MAX } };
            Round::Tiles(found.iter().map(ask).collect())
        } else {
            let wish = (n / 256).clamp(8192, 1 << 20).min(most as u64);
            Round::Sample { pieces: wish / PIECE }
        };
        let state = Mutex::new(State { round: Arc::new(round), gathered: fresh(selections.len()), found });
        Some(SelectJob { launches, entries: starts, tiles, selections, ranks, most, state })
    }

    /// Whether a step is a selection that holds collected keys between tasks, with `most` bytes for a worker.
    pub fn is_large(step: &Step, most: u64) -> bool {
        match step {
            Step::Select { parts, selections } => {
                parts.iter().map(|p| p.rows * p.cols).sum::<u64>() * selections.len().max(1) as u64 > direct_keys(most)
            }
            _ => false,
        }
    }

    /// Tasks of the first round.
    pub fn first_round(&self) -> u64 {
        if self.lock().found.iter().all(Option::is_some) { 0 } else { self.tasks() }
    }

    fn tasks(&self) -> u64 {
        match *self.round() {
            Round::Direct => 1,
            Round::Sample { pieces } => pieces.div_ceil(PIECES_OF_TASK),
            Round::Tiles(_) => self.tiles[self.launches.len()],
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn round(&self) -> Arc<Round> {
        self.lock().round.clone()
    }

    /// Performs one task of the present round.
    pub fn run(&self, world: &World<'_>, bench: &mut Bench, task: u64) -> Result<(), Error> {
        match &*self.round() {
            Round::Direct => self.select_directly(world, bench),
            Round::Sample { pieces } => {
                let end = pieces.min(&((task + 1) * PIECES_OF_TASK)).to_owned();
                (task * PIECES_OF_TASK..end).try_for_each(|piece| self.sample(world, bench, piece, *pieces))
            }
            Round::Tiles(asks) => self.visit(world, bench, task, asks),
        }
    }

    /// Loads tile `index`, counted over all parts.
    fn load(&self, world: &World<'_>, bench: &mut Bench, index: u64) -> Result<(usize, Tile), Error> {
        let part = self.tiles.partition_point(|t| *t <= index) - 1;
        let launch = &self.launches[part];
        let tile = launch.tiling.tile(index - self.tiles[part]);
        bench.load(world.setup.inputs, launch, &tile)?;
        Ok((part, tile))
    }

    /// Computes keys of a loaded tile, chunk by chunk, and hands them over with the chunk's first entry.
    fn for_keys(&self, bench: &mut Bench, part: usize, tile: &Tile, f: &mut OnKeys<'_>) {
        let launch = &self.launches[part];
        let most = chunk(self.selections.len());
        let mut keys = std::mem::take(&mut bench.keys);
        let stride = 4 * most as usize;
        keys.reserve(stride * self.selections.len());
        let mut entry = 0;
        while entry < tile.len() {
            let left = tile.len() - entry;
            // Whole rows while they are short, else a part of one.
            let (rows, cols) = match (tile.rows, entry % tile.cols) {
                (1, _) => (1, left.min(most)),
                (_, 0) if tile.cols <= most => ((most / tile.cols).min(left / tile.cols), tile.cols),
                (_, at) => (1, (tile.cols - at).min(most)),
            };
            let len = (rows * cols) as usize;
            // SAFETY: each selection has a stretch of the buffer of its own, long enough for `most` keys.
            let stores: Vec<*mut u8> = (0..self.selections.len()).map(|s| unsafe { keys.as_mut_ptr().add(s * stride) }).collect();
            // SAFETY: as above; a kernel of keys has no reductions, and has a store for each selection
            // (`check` looked).
            unsafe { bench.kernel(launch, tile, entry, rows, cols, &stores, &mut []) };
            let mut slices: Vec<&mut [f32]> = stores
                .iter()
                // SAFETY: the kernel just wrote `len` keys at each of the places, which do not overlap.
                .map(|s| unsafe { std::slice::from_raw_parts_mut(s.cast::<f32>(), len) })
                .collect();
            f(bench, entry, &mut slices);
            entry += len as u64;
        }
        bench.keys = keys;
    }

    fn select_directly(&self, world: &World<'_>, bench: &mut Bench) -> Result<(), Error> {
        let n = self.entries[self.launches.len()] as usize;
        let mut all: Vec<Vec<f32>> = self.selections.iter().map(|_| Vec::with_capacity(n)).collect();
        for index in 0..self.tiles[self.launches.len()] {
            let (part, tile) = self.load(world, bench, index)?;
            self.for_keys(bench, part, &tile, &mut |_, _, keys| {
                for (all, keys) in all.iter_mut().zip(keys) {
                    all.extend_from_slice(keys);
                }
            });
        }
        let mut state = self.lock();
        for ((keys, rank), found) in all.iter_mut().zip(&self.ranks).zip(&mut state.found) {
            if let Rank::Some(k) = rank {
                *found = Some(threshold_and_cut(to_keys(keys), *k, &mut bench.select));
            }
        }
        Ok(())
    }

    fn sample(&self, world: &World<'_>, bench: &mut Bench, piece: u64, pieces: u64) -> Result<(), Error> {
        let n = self.entries[self.launches.len()];
        let middle = ((u128::from(piece) * 2 + 1) * u128::from(n) / (u128::from(pieces) * 2)) as u64;
        let part = self.entries.partition_point(|e| *e <= middle) - 1;
        let launch = &self.launches[part];
        let entry = (middle - self.entries[part]) / PIECE * PIECE;
        let cols = launch.tiling.cols;
        let (row, col) = (entry / cols, entry % cols);
        let tile = Tile { row, rows: 1, col, cols: PIECE.min(cols - col) };
        bench.load(world.setup.inputs, launch, &tile)?;
        self.for_keys(bench, part, &tile, &mut |_, _, keys| {
            let mut state = self.lock();
            for (gathered, keys) in state.gathered.iter_mut().zip(keys) {
                gathered.inside.extend_from_slice(to_keys(keys));
                gathered.pieces.push(gathered.inside.len());
            }
        });
        Ok(())
    }

    fn visit(&self, world: &World<'_>, bench: &mut Bench, index: u64, asks: &[Ask]) -> Result<(), Error> {
        let (part, tile) = self.load(world, bench, index)?;
        let mut counts = vec![Counts::default(); asks.len()];
        let mut inside: Vec<Vec<u32>> = std::mem::take(&mut bench.inside);
        inside.resize_with(asks.len().max(inside.len()), Vec::new);
        inside.iter_mut().for_each(Vec::clear);
        let mut bins: Vec<Box<[u32; BINS]>> = asks
            .iter()
            .filter(|a| matches!(a, Ask::Histogram { .. }))
            .map(|_| vec![0; BINS].into_boxed_slice().try_into().expect("as many as there are bins"))
            .collect();
        self.for_keys(bench, part, &tile, &mut |_, _, keys| {
            let mut bins = bins.iter_mut();
            for (s, (ask, keys)) in asks.iter().zip(keys).enumerate() {
                match ask {
                    Ask::Nothing => {}
                    Ask::Collect(bracket) => counts[s].add(&scan(to_keys(keys), bracket, &mut inside[s])),
                    Ask::Histogram { lo, hi } => {
                        let bins = bins.next().expect("one for each histogram");
                        counts[s].above += histogram(to_keys(keys), *lo, *hi, bins);
                    }
                }
            }
        });
        let mut state = self.lock();
        let mut bins = bins.iter();
        for (s, ask) in asks.iter().enumerate() {
            let gathered = &mut state.gathered[s];
            gathered.counts.add(&counts[s]);
            match ask {
                Ask::Nothing => {}
                Ask::Collect(bracket) => {
                    gathered.keep(index, &inside[s], self.most);
                    if bracket.heavies > 0 {
                        gathered.heavy.push((index, counts[s].heavy.map(|c| c as u32)));
                    }
                }
                Ask::Histogram { .. } => {
                    gathered.bins.resize(BINS, 0);
                    let bins = bins.next().expect("one for each histogram");
                    gathered.bins.iter_mut().zip(bins.iter()).for_each(|(a, b)| *a += u64::from(*b));
                }
            }
        }
        drop(state);
        bench.inside = inside;
        Ok(())
    }

    /// Draws the conclusions of a round.
    pub fn finish(&self, world: &World<'_>, bench: &mut Bench) -> Result<Next, Error> {
        let (round, mut gathered, mut found) = {
            let mut state = self.lock();
            (state.round.clone(), std::mem::take(&mut state.gathered), state.found.clone())
        };
        let n = self.entries[self.launches.len()];
        let mut asks = vec![Ask::Nothing; found.len()];
        for s in 0..found.len() {
            let (None, Rank::Some(k)) = (found[s], self.ranks[s]) else { continue };
            let gathered = &mut gathered[s];
            let verdict = match &*round {
                Round::Direct => continue,
                Round::Sample { .. } => Verdict::Ask(self.after_sample(gathered, k, n, bench)),
                Round::Tiles(asks) => match asks[s] {
                    Ask::Nothing => continue,
                    Ask::Collect(bracket) => after_counts(gathered, &bracket, k, bench),
                    Ask::Histogram { lo, hi } => Verdict::Ask(self.after_histogram(gathered, lo, hi, k)),
                },
            };
            match verdict {
                Verdict::Ask(ask) => asks[s] = ask,
                Verdict::Found { key, nth, heavy } => {
                    let cut = match self.selections[s].cut {
                        Some(_) => self.locate(world, bench, gathered, s, key, nth, heavy)?,
                        None => -1,
                    };
                    found[s] = Some((number(key), cut));
                }
            }
        }
        let mut state = self.lock();
        state.found = found;
        if asks.iter().any(|a| !matches!(a, Ask::Nothing)) {
            state.gathered = fresh(asks.len());
            state.round = Arc::new(Round::Tiles(asks));
            drop(state);
            return Ok(Next::Round(self.tasks()));
        }
        Ok(Next::Done(Found { stats: self.results(&state), ..Found::default() }))
    }

    fn results(&self, state: &State) -> Vec<(StatId, f64)> {
        let mut results = Vec::new();
        for (selection, found) in self.selections.iter().zip(&state.found) {
            let (threshold, cut) = found.expect("every selection was found before the step ends");
            results.push((selection.threshold, f64::from(threshold)));
            results.extend(selection.cut.map(|stat| (stat, cut as f64)));
        }
        results
    }

    /// The bracket that a sample suggests for the `k`-th largest of `n`.
    fn after_sample(&self, gathered: &mut Gathered, k: u64, n: u64, bench: &mut Bench) -> Ask {
        let sample = &gathered.inside;
        let m = sample.len() as f64;
        let q = k as f64 / n as f64;
        let at = |share: f64| (share * m).floor() as i64;
        let key_at = |rank: i64, bench: &mut Bench| kth_largest(sample, rank as usize, &mut bench.select).key;
        let middle = key_at(at(q).clamp(1, sample.len() as i64), bench);
        // Neighbours are alike, so the pieces say how far the sample's share may be off, not the entries.
        let mut begin = 0;
        let mut spread = 0.0;
        for &end in &gathered.pieces {
            let (above, equal) = count(&sample[begin..end], middle);
            let share = (above as f64 + 0.5 * equal as f64) / (end - begin) as f64;
            spread += (share - q) * (share - q);
            begin = end;
        }
        let pieces = gathered.pieces.len() as f64;
        let sigma = (spread.sqrt() / pieces).max((q * (1.0 - q) / m).sqrt());
        let margin = 4.5 * sigma + 6.0 / m;
        let (first, last) = (at(q - margin), at(q + margin) + 1);
        let hi = if first < 1 { u32::MAX } else { key_at(first, bench) };
        let lo = if last > sample.len() as i64 { 0 } else { key_at(last, bench) };

        // Values with more than their share of the bracket are counted on their own.
        let mut inside = std::mem::take(&mut bench.sample);
        inside.clear();
        scan(sample, &Bracket::new(lo, hi), &mut inside);
        inside.sort_unstable();
        let often = (margin * m / 8.0).max(8.0);
        let mut heavy: Vec<(usize, u32)> =
            inside.chunk_by(|a, b| a == b).map(|same| (same.len(), same[0])).filter(|(len, _)| *len as f64 > often).collect();
        heavy.sort_unstable_by(|a, b| b.cmp(a));
        heavy.truncate(HEAVY);
        let light = inside.len() - heavy.iter().map(|h| h.0).sum::<usize>();
        bench.sample = inside;
        if light as f64 / m * n as f64 > 0.8 * self.most as f64 {
            return Ask::Histogram { lo, hi };
        }
        let mut bracket = Bracket::new(lo, hi);
        bracket.heavies = heavy.len();
        heavy.sort_unstable_by_key(|h| std::cmp::Reverse(h.1));
        for (to, (_, key)) in bracket.heavy.iter_mut().zip(&heavy) {
            *to = *key;
        }
        Ask::Collect(bracket)
    }

    /// The range that a histogram leaves.
    fn after_histogram(&self, gathered: &Gathered, lo: u32, hi: u32, k: u64) -> Ask {
        let mut above = gathered.counts.above;
        if k <= above {
            return Ask::Histogram { lo: hi + 1, hi: u32::MAX };
        }
        let shift = shift(lo, hi);
        for (bin, &inside) in gathered.bins.iter().enumerate().rev() {
            if k <= above + inside {
                let low = lo + ((bin as u32) << shift);
                let high = low.saturating_add((1 << shift) - 1).min(hi);
                return if low == high {
                    Ask::Collect(Bracket::value(low))
                } else if inside <= self.most as u64 {
                    Ask::Collect(Bracket::new(low, high))
                } else {
                    Ask::Histogram { lo: low, hi: high }
                };
            }
            above += inside;
        }
        Ask::Histogram { lo: 0, hi: lo - 1 }
    }

    /// The flat index of the `nth` entry whose key is `key`: by the tiles' counts, then in one tile.
    #[allow(clippy::too_many_arguments)] // One caller; a struct would only rename them.
    fn locate(
        &self,
        world: &World<'_>,
        bench: &mut Bench,
        gathered: &mut Gathered,
        selection: usize,
        key: u32,
        nth: u64,
        heavy: Option<usize>,
    ) -> Result<i64, Error> {
        let mut counts: Vec<(u64, u64)> = match heavy {
            Some(h) => gathered.heavy.iter().map(|(tile, counts)| (*tile, u64::from(counts[h]))).collect(),
            None => {
                let inside = &gathered.inside;
                gathered.spans.iter().map(|(tile, from, to)| (*tile, count(&inside[*from..*to], key).1 as u64)).collect()
            }
        };
        counts.sort_unstable();
        let mut left = nth;
        for (index, equal) in counts {
            if left > equal {
                left -= equal;
                continue;
            }
            let (part, tile) = self.load(world, bench, index)?;
            let mut place = None;
            self.for_keys(bench, part, &tile, &mut |_, entry, keys| {
                if place.is_none() {
                    let keys = to_keys(keys[selection]);
                    place = nth_equal(keys, key, left as usize).map(|at| entry + at as u64);
                    if place.is_none() {
                        left -= count(keys, key).1 as u64;
                    }
                }
            });
            if let Some(entry) = place {
                return Ok((self.entries[part] + self.launches[part].tiling.first(&tile) + entry) as i64);
            }
            break;
        }
        Err(Error::world("an input changed while it was read: a selection found other numbers the second time")
            .with_help("run again when nothing writes to the checkpoints"))
    }
}

impl Gathered {
    /// Keeps keys that a tile found, unless there are too many.
    fn keep(&mut self, tile: u64, keys: &[u32], most: usize) {
        self.inside_total += keys.len() as u64;
        if self.inside_total > most as u64 {
            self.inside = Vec::new();
            self.spans = Vec::new();
            return;
        }
        if !keys.is_empty() {
            let from = self.inside.len();
            self.inside.extend_from_slice(keys);
            self.spans.push((tile, from, self.inside.len()));
        }
    }
}

fn fresh(selections: usize) -> Vec<Gathered> {
    (0..selections).map(|_| Gathered::default()).collect()
}

/// Where the `k`-th largest lies, by the counts and keys of a bracket.
fn after_counts(gathered: &Gathered, bracket: &Bracket, k: u64, bench: &mut Bench) -> Verdict {
    let heavy = &gathered.counts.heavy[..bracket.heavies];
    let total = gathered.counts.above + gathered.inside_total + heavy.iter().sum::<u64>();
    if k <= gathered.counts.above {
        return Verdict::Ask(Ask::Histogram { lo: bracket.hi + 1, hi: u32::MAX });
    }
    if k > total {
        return Verdict::Ask(Ask::Histogram { lo: 0, hi: bracket.lo - 1 });
    }
    if gathered.inside.len() as u64 != gathered.inside_total {
        return Verdict::Ask(Ask::Histogram { lo: bracket.lo, hi: bracket.hi });
    }
    // Down through the heavy values, the collected keys between them.
    let mut above_heavies = gathered.counts.above;
    for (h, (&value, &equal)) in bracket.heavy[..bracket.heavies].iter().zip(heavy).enumerate() {
        let above = above_heavies + count(&gathered.inside, value).0 as u64;
        if k <= above {
            break;
        }
        if k <= above + equal {
            return Verdict::Found { key: value, nth: k - above, heavy: Some(h) };
        }
        above_heavies += equal;
    }
    let rank = k - above_heavies;
    let found = kth_largest(&gathered.inside, rank as usize, &mut bench.select);
    Verdict::Found { key: found.key, nth: rank - found.above as u64, heavy: None }
}
