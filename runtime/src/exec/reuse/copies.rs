//! Bytes of earlier models brought into a new one, by the kernel of the system where it can.

use super::store::Found;
use crate::{Error, output::Writer};
use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::fs::FileExt},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Bytes of one task.
const PIECE: u64 = 32 << 20;

struct Copy {
    from: Arc<File>,
    offset: u64,
    to: Arc<File>,
    at: u64,
    bytes: u64,
}

/// The copies of a run, shared out among its workers.
pub(crate) struct Copies {
    all: Vec<Copy>,
    next: AtomicUsize,
    error: Mutex<Option<Error>>,
}

impl Copies {
    /// Neighbours in both files go together.
    pub fn new(tensors: &[Vec<Option<Found>>], writer: &Writer) -> Copies {
        let mut all: Vec<Copy> = Vec::new();
        let mut wanted: Vec<_> = tensors
            .iter()
            .enumerate()
            .flat_map(|(o, tensors)| tensors.iter().enumerate().map(move |(t, found)| (o, t, found)))
            .filter_map(|(output, tensor, found)| Some((output, writer.place(output, tensor), found.as_ref()?)))
            .collect();
        wanted.sort_by_key(|(output, place, _)| (*output, place.file, place.offset));
        for (output, place, found) in wanted {
            let to = writer.file(output, place.file);
            match all.last_mut() {
                Some(last)
                    if Arc::ptr_eq(&last.from, &found.file)
                        && Arc::ptr_eq(&last.to, to)
                        && last.offset + last.bytes == found.offset
                        && last.at + last.bytes == place.offset
                        && last.bytes < PIECE =>
                {
                    last.bytes += place.bytes;
                }
                _ => all.push(Copy {
                    from: found.file.clone(),
                    offset: found.offset,
                    to: to.clone(),
                    at: place.offset,
                    bytes: place.bytes,
                }),
            }
        }
        Copies { all, next: AtomicUsize::new(0), error: Mutex::new(None) }
    }

    /// Copies until nothing is left. Run by every worker.
    pub fn work(&self) {
        while let Some(copy) = self.all.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(e) = copy.run() {
                let error = Error::world(format!("cannot take over a tensor of an earlier model: {e}"));
                self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                self.next.store(self.all.len(), Ordering::Relaxed);
            }
        }
    }

    /// # Errors
    /// Of the world: what one of the copies failed with.
    pub fn outcome(self) -> Result<(), Error> {
        self.error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

impl Copy {
    fn run(&self) -> io::Result<()> {
        let mut done = in_kernel(self)?;
        let mut buffer = vec![0; (self.bytes - done).min(1 << 20) as usize];
        while done < self.bytes {
            let piece = (self.bytes - done).min(buffer.len() as u64) as usize;
            self.from.read_exact_at(&mut buffer[..piece], self.offset + done)?;
            self.to.write_all_at(&buffer[..piece], self.at + done)?;
            done += piece as u64;
        }
        Ok(())
    }
}

/// How many bytes the system copied; the rest is for the caller, where a file system cannot do it.
#[cfg(target_os = "linux")]
fn in_kernel(copy: &Copy) -> io::Result<u64> {
    let mut done = 0;
    while done < copy.bytes {
        let (mut from, mut to) = ((copy.offset + done) as libc::off64_t, (copy.at + done) as libc::off64_t);
        // SAFETY: both files are open, and the offsets are two variables of ours.
        let moved = unsafe {
            let bytes = (copy.bytes - done) as usize;
            libc::copy_file_range(copy.from.as_raw_fd(), &mut from, copy.to.as_raw_fd(), &mut to, bytes, 0)
        };
        match moved {
            1.. => done += moved as u64,
            0 => return Ok(done),
            _ => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e if e.kind() == io::ErrorKind::StorageFull => return Err(e),
                _ => return Ok(done),
            },
        }
    }
    Ok(done)
}

#[cfg(not(target_os = "linux"))]
fn in_kernel(_: &Copy) -> io::Result<u64> {
    Ok(0)
}
