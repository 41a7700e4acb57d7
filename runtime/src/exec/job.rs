//! A step made ready, cut into tasks that any worker may take in any order.

use super::{
    finite::count_non_finite,
    launch::Place,
    launch::{Launch, Setup},
    select::SelectJob,
    view::write_view,
    work::{Bench, Totals, read_tensor},
};
use crate::{Error, output::Writer, scalars::Scalars};
use merge_abi::{Access, BLOCK, Read, ReduceFn, StatId, Step, Target, View};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// What tasks of all steps share.
pub(crate) struct World<'r> {
    pub setup: &'r Setup<'r>,
    pub writer: &'r Writer,
    pub totals: &'r Totals,
}

/// What comes after the last task of a round.
pub(crate) enum Next {
    /// The step is done; these statistics are known now.
    Done(Vec<(StatId, f64)>),
    /// So many tasks more.
    Round(u64),
}

/// A step made ready.
pub(crate) enum Job<'p> {
    Copy(CopyJob<'p>),
    Map(Box<MapJob<'p>>),
    Reduce(ReduceJob<'p>),
    Select(Box<SelectJob<'p>>),
}

impl<'p> Job<'p> {
    /// None while a statistic that the step needs is unknown.
    ///
    /// # Errors
    /// Of the world, where the memory does not suffice.
    pub fn new(setup: &Setup<'p>, step: &'p Step, scalars: &mut Scalars<'_>) -> Result<Option<Job<'p>>, Error> {
        let launches = |parts: &'p [merge_abi::Loop], scalars: &mut Scalars<'_>| {
            parts.iter().map(|part| Launch::new(setup, part, false, scalars)).collect::<Result<Option<Vec<_>>, Error>>()
        };
        Ok(match step {
            Step::Copy { from, to } => {
                let size = setup.inputs.sources[from.source as usize].dtype.size();
                let each = (setup.wish / size).max(BLOCK);
                Some(Job::Copy(CopyJob {
                    from,
                    view: from.view.simplified(),
                    to: Destination::new(to, size),
                    len: from.view.len(),
                    each,
                }))
            }
            Step::Map { body, to } => Launch::new(setup, body, true, scalars)?.map(|launch| {
                let size = launch.info.stores[0].size();
                Job::Map(Box::new(MapJob { launch, to: Destination::new(to, size) }))
            }),
            Step::Reduce { parts, results } => {
                launches(parts, scalars)?.map(|launches| Job::Reduce(ReduceJob::new(launches, results)))
            }
            Step::Select { parts, selections } => match launches(parts, scalars)? {
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
        }
    }

    /// Called by one worker when all tasks of a round are done.
    ///
    /// # Errors
    /// Of the world.
    pub fn finish(&self, world: &World<'_>, bench: &mut Bench) -> Result<Next, Error> {
        match self {
            Job::Copy(_) | Job::Map(_) => Ok(Next::Done(Vec::new())),
            Job::Reduce(job) => Ok(Next::Done(job.results())),
            Job::Select(job) => job.finish(world, bench),
        }
    }
}

/// Where a step's results go.
pub(crate) struct Destination<'p> {
    target: &'p Target,
    view: View,
    size: u64,
}

impl<'p> Destination<'p> {
    fn new(target: &'p Target, size: u64) -> Destination<'p> {
        Destination { target, view: target.view.simplified(), size }
    }

    fn write(&self, world: &World<'_>, start: u64, data: &[u8], span: &mut super::buffer::Buffer) -> Result<(), Error> {
        let (output, tensor) = (self.target.output as usize, self.target.tensor as usize);
        write_view(&self.view, self.size, start, data, span, &mut |entry, bytes| {
            world.writer.write_at(output, tensor, entry * self.size, bytes)
        })?;
        Totals::add(&world.totals.written, data.len() as u64);
        Ok(())
    }
}

/// Bytes that go over unchanged.
pub(crate) struct CopyJob<'p> {
    from: &'p Read,
    view: View,
    to: Destination<'p>,
    len: u64,
    /// Entries of a task.
    each: u64,
}

impl CopyJob<'_> {
    fn run(&self, world: &World<'_>, bench: &mut Bench, task: u64) -> Result<(), Error> {
        let start = task * self.each;
        let bytes = (self.each.min(self.len - start) * self.to.size) as usize;
        bench.tile.reserve(bytes);
        let inputs = world.setup.inputs;
        bench.read += read_tensor(inputs, self.from, &self.view, start, bench.tile.bytes_mut(0, bytes), &mut bench.span)?;
        let data = bench.tile.bytes(0, bytes);
        let source = self.from.source as usize;
        Totals::add(&world.totals.non_finite[source], count_non_finite(inputs.sources[source].dtype, data));
        self.to.write(world, start, data, &mut bench.span)
    }
}

/// A kernel whose store is written out.
pub(crate) struct MapJob<'p> {
    launch: Launch<'p>,
    to: Destination<'p>,
}

impl MapJob<'_> {
    fn run(&self, world: &World<'_>, bench: &mut Bench, task: u64) -> Result<(), Error> {
        let launch = &self.launch;
        let tile = launch.tiling.tile(task);
        bench.load(world.setup.inputs, launch, &tile)?;
        for place in &launch.places {
            if let Place::Tensor { read, access: Access::Dense, at, .. } = place {
                let dtype = world.setup.inputs.sources[read.source as usize].dtype;
                let data = bench.tile.bytes(*at, (tile.len() * dtype.size()) as usize);
                Totals::add(&world.totals.non_finite[read.source as usize], count_non_finite(dtype, data));
            }
        }
        bench.run(launch, &tile);
        let data = bench.tile.bytes(launch.stores[0], (tile.len() * self.to.size) as usize);
        self.to.write(world, launch.tiling.first(&tile), data, &mut bench.span)
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
