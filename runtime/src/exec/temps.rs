//! Temporaries: tensors that live in memory from the first step that writes them to the last that reads them.
//!
//! A temporary that maps tile is made when the first of them starts, and workers then write disjoint parts of
//! it; what a call gives is taken over as it is. Nobody reads one before every step that writes it is done.
//! Temporaries are not part of `--memory`'s buffers, but a step that would make more of them waits while
//! those that live already fill that much, unless it is the front of the plan, which may always go on.

use super::{product::Factors, reader::reads};
use crate::{Error, output::human, routines};
use merge_abi::{Origin, Plan, Sink, Step, Temp};
use std::{
    alloc::{Layout, alloc_zeroed},
    cell::UnsafeCell,
    sync::Arc,
};

/// The entries of one temporary.
pub(crate) struct Memory {
    entries: Box<[UnsafeCell<f32>]>,
}

// SAFETY: entries are written only through `write`, whose callers promise that nobody else reads or writes the same
// ones, and read only when all writers are done; the schedule's lock lies between.
unsafe impl Sync for Memory {}

impl Memory {
    /// Zeros, which the system hands out page by page as they are touched.
    fn zeroed(temp: &Temp) -> Result<Memory, Error> {
        let too_large = || {
            Error::world(format!("{} of memory for a tensor {:?} are not to be had", human(temp.bytes()), temp.shape))
                .with_help("use a machine with more memory, or fewer threads, so that fewer tensors are worked on at once")
        };
        let len = usize::try_from(temp.len()).map_err(|_| too_large())?;
        let layout = Layout::array::<UnsafeCell<f32>>(len).map_err(|_| too_large())?;
        if len == 0 {
            return Ok(Memory { entries: Box::default() });
        }
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            return Err(too_large());
        }
        let all = std::ptr::slice_from_raw_parts_mut(start.cast::<UnsafeCell<f32>>(), len);
        // SAFETY: allocated with the layout that a box of this slice has; zero bits are an f32.
        Ok(Memory { entries: unsafe { Box::from_raw(all) } })
    }

    fn of(entries: Vec<f32>) -> Memory {
        let all = Box::into_raw(entries.into_boxed_slice()) as *mut [UnsafeCell<f32>];
        // SAFETY: a cell has the layout of what is in it, and the box was just taken apart.
        Memory { entries: unsafe { Box::from_raw(all) } }
    }

    /// Stores bytes from an entry on.
    ///
    /// # Safety
    /// Nobody may read or write these entries at the same time: the targets of a plan's steps are disjoint, and so are
    /// the tiles of a step.
    pub unsafe fn write(&self, entry: u64, bytes: &[u8]) {
        let (at, len) = (entry as usize, bytes.len() / 4);
        assert!(at + len <= self.entries.len(), "inside the temporary");
        let to = self.entries.as_ptr().cast::<u8>().cast_mut();
        // SAFETY: the range lies inside, as was just checked; the cells allow writing, and the caller promises that it
        // is ours.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.add(4 * at), 4 * len) };
    }

    /// All entries. Only the memory of complete temporaries is handed out to those who read.
    pub fn entries(&self) -> &[f32] {
        // SAFETY: all writers are done (see `Temps::filled`), and nobody writes any more.
        unsafe { std::slice::from_raw_parts(self.entries.as_ptr().cast(), self.entries.len()) }
    }

    /// The same as they would lie in a file.
    pub fn bytes(&self) -> &[u8] {
        let all = self.entries();
        // SAFETY: f32 has no bytes that are not initialised.
        unsafe { std::slice::from_raw_parts(all.as_ptr().cast(), 4 * all.len()) }
    }
}

/// Has the allocator give large blocks back to the system as soon as they are freed. What the GNU C library does of itself
/// is to keep more and more of them, for each thread its own, and a run with decompositions then holds several times
/// what lives at a time.
pub(crate) fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets a number of the allocator, under its lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// Temporaries that a step reads and writes, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    pub reads: Vec<u32>,
    pub writes: Vec<u32>,
    /// Bytes of memory that a call needs besides.
    pub scratch: u64,
    /// Whether it is a call whose result is not held.
    pub skipped: bool,
}

impl Uses {
    pub fn of(plan: &Plan, step: &Step) -> Uses {
        let mut uses = Uses::default();
        reads(step).into_iter().for_each(|(read, _)| uses.read(read.from));
        match step {
            Step::Copy { to, .. } | Step::Map { to, .. } => uses.write(to.to),
            Step::Reduce { .. } | Step::Select { .. } => {}
            Step::Call { routine, inputs, results, .. } => {
                inputs.iter().for_each(|t| uses.read(Origin::Temp(*t)));
                results.iter().flatten().for_each(|t| uses.write(Sink::Temp(*t)));
                let shapes: Vec<&[u64]> = inputs.iter().map(|t| &*plan.temps[*t as usize].shape).collect();
                uses.scratch = routines::scratch(routine, &shapes);
            }
        }
        uses.settle();
        uses
    }

    /// The same where some temporaries are products that are not held: who reads one reads its factors.
    fn without(mut self, products: &[Option<Factors>]) -> Uses {
        if self.writes.iter().any(|t| products[*t as usize].is_some()) {
            // The call that would make it, which has this one result.
            return Uses { skipped: true, ..Uses::default() };
        }
        let held = |t: &u32| products[*t as usize].map_or_else(|| vec![*t], |f| vec![f.left, f.right]);
        self.reads = self.reads.iter().flat_map(held).collect();
        self.settle();
        self
    }

    fn settle(&mut self) {
        for list in [&mut self.reads, &mut self.writes] {
            list.sort_unstable();
            list.dedup();
        }
    }

    fn read(&mut self, from: Origin) {
        if let Origin::Temp(t) = from {
            self.reads.push(t);
        }
    }

    fn write(&mut self, to: Sink) {
        if let Sink::Temp(t) = to {
            self.writes.push(t);
        }
    }
}

/// The temporaries of a run.
pub(crate) struct Temps<'p> {
    plan: &'p Plan,
    /// By step.
    uses: Vec<Uses>,
    all: Vec<Life>,
    /// By temporary that is not held.
    products: Vec<Option<Factors>>,
    /// Bytes of those that live, and of what calls need besides.
    live: u64,
    /// What look-ahead may fill.
    limit: u64,
}

struct Life {
    /// Steps that write and read it and are not done.
    writers: u32,
    readers: u32,
    memory: Option<Arc<Memory>>,
    counted: bool,
}

impl<'p> Temps<'p> {
    /// Nothing lives yet. `limit` is in bytes.
    pub fn new(plan: &'p Plan, limit: u64) -> Temps<'p> {
        let products = Factors::find(plan);
        let uses: Vec<Uses> = plan.steps.iter().map(|s| Uses::of(plan, s).without(&products)).collect();
        let mut all: Vec<Life> =
            plan.temps.iter().map(|_| Life { writers: 0, readers: 0, memory: None, counted: false }).collect();
        for uses in &uses {
            uses.writes.iter().for_each(|t| all[*t as usize].writers += 1);
            uses.reads.iter().for_each(|t| all[*t as usize].readers += 1);
        }
        // One without entries may have nobody who writes it.
        for life in all.iter_mut().filter(|l| l.writers == 0) {
            life.memory = Some(Arc::new(Memory::of(Vec::new())));
        }
        Temps { plan, uses, all, products, live: 0, limit }
    }

    /// Some steps are not done, by step, and some temporaries are there already.
    pub fn leave_out(&mut self, done: &[bool], there: &[(u32, Arc<Memory>)]) {
        for step in (0..self.uses.len()).filter(|step| !done[*step]) {
            let uses = std::mem::take(&mut self.uses[step]);
            uses.writes.iter().for_each(|t| self.all[*t as usize].writers -= 1);
            uses.reads.iter().for_each(|t| self.all[*t as usize].readers -= 1);
        }
        for (temp, memory) in there {
            self.count(*temp);
            self.all[*temp as usize].memory = Some(memory.clone());
        }
    }

    /// Whether everything that a step reads is complete.
    pub fn ready(&self, step: usize) -> bool {
        self.uses[step].reads.iter().all(|t| self.filled(*t).is_some())
    }

    /// Whether a step may begin before the front of the plan is done.
    pub fn may_look_ahead(&self, step: usize) -> bool {
        let uses = &self.uses[step];
        let fresh = uses.writes.iter().filter(|t| !self.all[**t as usize].counted);
        let more = fresh.map(|t| self.plan.temps[*t as usize].bytes()).sum::<u64>() + uses.scratch;
        more == 0 || self.live + more <= self.limit
    }

    /// What to compute a temporary from that is not held.
    pub fn factors(&self, temp: u32) -> Option<Factors> {
        self.products[temp as usize]
    }

    /// Whether a step is a call that nobody needs.
    pub fn skips(&self, step: usize) -> bool {
        self.uses[step].skipped
    }

    /// A temporary that is complete.
    pub fn filled(&self, temp: u32) -> Option<Arc<Memory>> {
        let life = &self.all[temp as usize];
        if life.writers == 0 { life.memory.clone() } else { None }
    }

    /// The memory of a temporary that maps write.
    ///
    /// # Errors
    /// Of the world, where there is no memory for it.
    pub fn filling(&mut self, temp: u32) -> Result<Arc<Memory>, Error> {
        self.count(temp);
        if let Some(memory) = &self.all[temp as usize].memory {
            return Ok(memory.clone());
        }
        let memory = Arc::new(Memory::zeroed(&self.plan.temps[temp as usize])?);
        self.all[temp as usize].memory = Some(memory.clone());
        Ok(memory)
    }

    /// A call begins.
    pub fn begin_call(&mut self, step: usize) {
        self.live += self.uses[step].scratch;
        for at in 0..self.uses[step].writes.len() {
            self.count(self.uses[step].writes[at]);
        }
    }

    /// A step ends without having run: what it would fill is 0.
    ///
    /// # Errors
    /// Of the world, where there is no memory for it.
    pub fn stand_idle(&mut self, step: usize) -> Result<(), Error> {
        self.live += self.uses[step].scratch;
        for at in 0..self.uses[step].writes.len() {
            self.filling(self.uses[step].writes[at])?;
        }
        Ok(())
    }

    fn count(&mut self, temp: u32) {
        if !std::mem::replace(&mut self.all[temp as usize].counted, true) {
            self.live += self.plan.temps[temp as usize].bytes();
        }
    }

    /// A step is done, with what its call gave. Whether some temporary is complete by that.
    pub fn end(&mut self, step: usize, results: Vec<(u32, Vec<f32>)>) -> bool {
        self.end_telling(step, results, &|_, _| ())
    }

    /// The same; `told` hears which temporaries are complete.
    pub fn end_telling(&mut self, step: usize, results: Vec<(u32, Vec<f32>)>, told: &dyn Fn(u32, &Arc<Memory>)) -> bool {
        for (temp, entries) in results {
            self.all[temp as usize].memory = Some(Arc::new(Memory::of(entries)));
        }
        let Uses { reads, writes, scratch, .. } = std::mem::take(&mut self.uses[step]);
        self.live -= scratch;
        let mut complete = false;
        for temp in &writes {
            let life = &mut self.all[*temp as usize];
            life.writers -= 1;
            if life.writers == 0 {
                complete = true;
                life.memory.iter().for_each(|memory| told(*temp, memory));
            }
        }
        for temp in &reads {
            self.all[*temp as usize].readers -= 1;
        }
        for temp in reads.iter().chain(&writes) {
            let life = &mut self.all[*temp as usize];
            if life.writers == 0 && life.readers == 0 && life.memory.take().is_some() {
                self.live -= self.plan.temps[*temp as usize].bytes();
            }
        }
        complete
    }
}

/// About the most bytes of temporaries, and of what calls need besides, that live at a time: the peak of the steps done
/// one after the other, as often as there are threads that each work on a tensor of their own, so far as `limit` allows.
pub(crate) fn peak(plan: &Plan, threads: u64, limit: u64) -> u64 {
    let one = peak_in_order(plan);
    one.saturating_mul(threads).min(one.saturating_add(limit))
}

fn peak_in_order(plan: &Plan) -> u64 {
    let mut temps = Temps::new(plan, u64::MAX);
    let mut peak = 0;
    for step in 0..plan.steps.len() {
        let uses = &temps.uses[step];
        let writes = uses.writes.clone();
        temps.live += uses.scratch;
        for temp in writes {
            temps.count(temp);
            // Memory that is never touched, so that the end finds something to free.
            temps.all[temp as usize].memory.get_or_insert_with(|| Arc::new(Memory::of(Vec::new())));
        }
        peak = peak.max(temps.live);
        temps.end(step, Vec::new());
    }
    peak
}
