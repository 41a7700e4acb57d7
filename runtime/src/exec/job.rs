//! A step made ready, cut into tasks that any worker may take in any order.

use super::{
    call::CallJob,
    finite::count_non_finite,
    launch::Place,
    launch::{Launch, Setup},
    reader::Reader,
    select::SelectJob,
    temps::{Memory, Temps},
    tile::copied_at_once,
    view::write_view,
    work::{Bench, Totals},
};
use crate::{Error, output::Writer, scalars::Scalars};
use merge_abi::{Access, ReduceFn, Sink, StatId, Step, Target, View};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// What tasks of all steps share.
pub(crate) struct World<'r> {
    pub setup: &'r Setup<'r>,
    pub writer: &'r Writer,
    pub totals: &'r Totals,
}

/// What comes after the last task of a round.
pub(crate) enum Next {
    /// The step is done.
    Done(Found),
    /// So many tasks more.
    Round(u64),
}

/// What a step found.
#[derive(Default)]
pub(crate) struct Found {
    pub stats: Vec<(StatId, f64)>,
    /// Temporaries that a call gave.
    pub temps: Vec<(u32, Vec<f32>)>,
}

/// A step made ready.
pub(crate) enum Job<'p> {
    Copy(CopyJob),
    Map(Box<MapJob<'p>>),
    Reduce(ReduceJob<'p>),
    Select(Box<SelectJob<'p>>),
    Call(CallJob<'p>),
    /// A call whose result is computed where it is read.
    Nothing,
}

impl<'p> Job<'p> {
    /// None while a statistic that the step needs is unknown, or a temporary incomplete.
    ///
    /// # Errors
    /// Of the world, where the memory does not suffice.
    pub fn new(
        setup: &Setup<'p>,
        index: usize,
        scalars: &mut Scalars<'_>,
        temps: &mut Temps<'_>,
    ) -> Result<Option<Job<'p>>, Error> {
        let launches = |parts: &'p [merge_abi::Loop], scalars: &mut Scalars<'_>, temps: &Temps<'_>| {
            parts.iter().map(|part| Launch::new(setup, part, false, scalars, temps)).collect::<Result<Option<Vec<_>>, Error>>()
        };
        Ok(match &setup.plan.steps[index] {
            Step::Copy { from, to } => match Reader::new(setup, temps, from) {
                Some(read) => {
                    let size = read.dtype.size();
                    let each = copied_at_once(from, size, setup.wish, setup.most);
                    let look = setup.looks[index][0];
                    Some(Job::Copy(CopyJob { read, look, to: Destination::new(to, size, temps)?, len: from.view.len(), each }))
                }
                None => None,
            },
            Step::Map { body, to } => match Launch::new(setup, body, true, scalars, temps)? {
                Some(launch) => {
                    let size = launch.info.stores[0].size();
                    let once_a_row = body.once_a_row(to);
                    let looks = setup.looks[index].clone();
                    Some(Job::Map(Box::new(MapJob { launch, looks, once_a_row, to: Destination::new(to, size, temps)? })))
                }
                None => None,
            },
            Step::Reduce { parts, results } => {
                launches(parts, scalars, temps)?.map(|launches| Job::Reduce(ReduceJob::new(launches, results)))
            }
            Step::Call { .. } if temps.skips(index) => Some(Job::Nothing),
            Step::Call { routine, inputs, results, place } => {
                CallJob::new(setup, temps, routine, inputs, results, place).map(|job| {
                    temps.begin_call(index);
                    Job::Call(job)
                })
            }
            Step::Select { parts, selections } => match launches(parts, scalars, temps)? {
                Some(launches) => SelectJob::new(setup, launches, selections, scalars).map(|job| Job::Select(Box::new(job))),
                None => None,
            },
        })
    }

    /// Tasks of the first round.
    pub fn tasks(&self) -> u64 {
        match self {
            Job::Copy(job) => job.len.div_ceil(job.each),
            Job::Map(job) => job.launch.tiling.count(),
            Job::Reduce(job) => job.tiles.last().copied().unwrap_or(0),
            Job::Select(job) => job.first_round(),
            Job::Call(_) => 1,
            Job::Nothing => 0,
        }
    }

    /// Performs one task.
    ///
    /// # Errors
    /// Of the world.
    pub fn run(&self, world: &World<'_>, bench: &mut Bench, task: u64) -> Result<(), Error> {
        match self {
            Job::Copy(job) => job.run(world, bench, task),
            Job::Map(job) => job.run(world, bench, task),
            Job::Reduce(job) => job.run(world, bench, task),
            Job::Select(job) => job.run(world, bench, task),
            Job::Call(job) => job.run(world),
            Job::Nothing => Ok(()),
        }
    }

    /// Called by one worker when all tasks of a round are done.
    ///
    /// # Errors
    /// Of the world.
    pub fn finish(&self, world: &World<'_>, bench: &mut Bench) -> Result<Next, Error> {
        match self {
            Job::Copy(_) | Job::Map(_) | Job::Nothing => Ok(Next::Done(Found::default())),
            Job::Reduce(job) => Ok(Next::Done(Found { stats: job.results(), ..Found::default() })),
            Job::Select(job) => job.finish(world, bench),
            Job::Call(job) => Ok(Next::Done(Found { temps: job.results(), ..Found::default() })),
        }
    }
}

/// Where a step's results go.
pub(crate) struct Destination {
    into: Into,
    view: View,
    size: u64,
}

enum Into {
    Output { output: usize, tensor: usize },
    Temp(Arc<Memory>),
}

impl Destination {
    fn new(target: &Target, size: u64, temps: &mut Temps<'_>) -> Result<Destination, Error> {
        let into = match target.to {
            Sink::Output { output, tensor } => Into::Output { output: output as usize, tensor: tensor as usize },
            Sink::Temp(temp) => Into::Temp(temps.filling(temp)?),
        };
        Ok(Destination { into, view: target.view.simplified(), size })
    }

    fn write(&self, world: &World<'_>, start: u64, data: &[u8], span: &mut super::buffer::Buffer) -> Result<(), Error> {
        match &self.into {
            Into::Output { output, tensor } => {
                write_view(&self.view, self.size, start, data, span, &mut |entry, bytes| {
                    world.writer.write_at(*output, *tensor, entry * self.size, bytes)
                })?;
                Totals::add(&world.totals.written, data.len() as u64);
                Ok(())
            }
            Into::Temp(memory) => write_view(&self.view, self.size, start, data, span, &mut |entry, bytes| {
                // SAFETY: tiles of a step are disjoint, targets of a plan are, a view of a target visits no entry twice
                // (`check` looked), and nobody reads a temporary before the steps that write it are done.
                unsafe { memory.write(entry, bytes) };
                Ok(())
            }),
        }
    }
}

/// Bytes that go over unchanged.
pub(crate) struct CopyJob {
    read: Reader,
    /// See [`Setup::looks`].
    look: bool,
    to: Destination,
    len: u64,
    /// Entries of a task.
    each: u64,
}

impl CopyJob {
    fn run(&self, world: &World<'_>, bench: &mut Bench, task: u64) -> Result<(), Error> {
        let start = task * self.each;
        let bytes = (self.each.min(self.len - start) * self.to.size) as usize;
        bench.tile.reserve(bytes);
        bench.read += self.read.read(world.setup.inputs, start, bench.tile.bytes_mut(0, bytes), &mut bench.span)?;
        let data = bench.tile.bytes(0, bytes);
        if let (true, Some(source)) = (self.look, self.read.source()) {
            Totals::add(&world.totals.non_finite[source], count_non_finite(self.read.dtype, data));
        }
        self.to.write(world, start, data, &mut bench.span)
    }
}

/// A kernel whose store is written out.
pub(crate) struct MapJob<'p> {
    launch: Launch<'p>,
    /// See [`Setup::looks`].
    looks: Vec<bool>,
    /// See [`merge_abi::Loop::once_a_row`].
    once_a_row: bool,
    to: Destination,
}

impl MapJob<'_> {
    fn run(&self, world: &World<'_>, bench: &mut Bench, task: u64) -> Result<(), Error> {
        let launch = &self.launch;
        let tile = launch.tiling.tile(task);
        bench.load(world.setup.inputs, launch, &tile)?;
        for (place, look) in launch.places.iter().zip(&self.looks) {
            if let Place::Tensor { read, access: Access::Dense, at } = place
                && let (true, Some(source)) = (look, read.source())
            {
                let data = bench.tile.bytes(*at, (tile.len() * read.dtype.size()) as usize);
                Totals::add(&world.totals.non_finite[source], count_non_finite(read.dtype, data));
            }
        }
        let (cols, start) = if self.once_a_row { (1, tile.row) } else { (tile.cols, launch.tiling.first(&tile)) };
        bench.run(launch, &tile, cols);
        let data = bench.tile.bytes(launch.stores[0], (tile.rows * cols * self.to.size) as usize);
        self.to.write(world, start, data, &mut bench.span)
    }
}

/// Reductions over all parts together.
pub(crate) struct ReduceJob<'p> {
    launches: Vec<Launch<'p>>,
    /// Tiles before each part, and of all parts.
    tiles: Vec<u64>,
    results: &'p [StatId],
    combined: Mutex<Combined>,
}

/// Partial results go in by the order of the tiles, so that no thread changes the tree.
struct Combined {
    next: u64,
    early: BTreeMap<u64, Vec<f64>>,
    totals: Vec<(ReduceFn, f64)>,
}

impl<'p> ReduceJob<'p> {
    fn new(launches: Vec<Launch<'p>>, results: &'p [StatId]) -> ReduceJob<'p> {
        let functions = launches.first().map_or(&[][..], |l| &l.info.reductions[..]);
        let totals = functions.iter().map(|f| (*f, f.identity())).collect();
        let tiles = offsets(launches.iter().map(|l| l.tiling.count()));
        ReduceJob { launches, tiles, results, combined: Mutex::new(Combined { next: 0, early: BTreeMap::new(), totals }) }
    }

    fn run(&self, world: &World<'_>, bench: &mut Bench, task: u64) -> Result<(), Error> {
        let part = self.tiles.partition_point(|t| *t <= task) - 1;
        let launch = &self.launches[part];
        let tile = launch.tiling.tile(task - self.tiles[part]);
        bench.load(world.setup.inputs, launch, &tile)?;
        bench.reduce(launch, &tile);
        let mut combined = self.combined.lock().unwrap_or_else(PoisonError::into_inner);
        if combined.next != task {
            combined.early.insert(task, bench.partials.clone());
            return Ok(());
        }
        combined.take(&bench.partials);
        loop {
            let next = combined.next;
            let Some(partials) = combined.early.remove(&next) else { break };
            combined.take(&partials);
        }
        Ok(())
    }

    fn results(&self) -> Vec<(StatId, f64)> {
        let combined = self.combined.lock().unwrap_or_else(PoisonError::into_inner);
        self.results.iter().zip(&combined.totals).map(|(stat, (_, value))| (*stat, *value)).collect()
    }
}

impl Combined {
    fn take(&mut self, partials: &[f64]) {
        self.next += 1;
        for row in partials.chunks_exact(self.totals.len().max(1)) {
            for ((f, total), x) in self.totals.iter_mut().zip(row) {
                *total = f.combine(*total, *x);
            }
        }
    }
}

/// Where each of some lengths begins, and where the last ends.
pub(crate) fn offsets(lengths: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut all = vec![0];
    let mut end = 0;
    for len in lengths {
        end += len;
        all.push(end);
    }
    all
}
