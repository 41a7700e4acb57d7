//! Showing how far a run is.

use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::IsTerminal,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Is told how far a run is, from any thread.
pub trait Progress: Sync {
    /// The run takes about as long as to read and write so many bytes.
    fn start(&self, total: u64);
    /// So many more are done.
    fn advance(&self, bytes: u64);
    /// The run ended, well or not.
    fn finish(&self);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _total: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
}

/// A bar where standard error is a terminal, else a line every few seconds.
pub fn for_terminal() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(Bar::default()) } else { Box::new(Lines::default()) }
}

/// A bar on standard error.
#[derive(Debug, Default)]
pub struct Bar {
    bar: Mutex<Option<ProgressBar>>,
}

impl Bar {
    fn with(&self, f: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            f(bar);
        }
    }
}

impl Progress for Bar {
    fn start(&self, total: u64) {
        let style = ProgressStyle::with_template("{bar:40} {percent:>3}%  {elapsed} gone, {eta} to go")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = Some(ProgressBar::new(total).with_style(style));
    }

    fn advance(&self, bytes: u64) {
        self.with(|bar| bar.inc(bytes));
    }

    fn finish(&self) {
        self.with(ProgressBar::finish_and_clear);
    }
}

/// Lines on standard error, for logs.
#[derive(Debug)]
pub struct Lines {
    every: Duration,
    started: Instant,
    total: AtomicU64,
    done: AtomicU64,
    /// Milliseconds after `started` of the next line.
    next: AtomicU64,
}

impl Default for Lines {
    fn default() -> Lines {
        let every = Duration::from_secs(5);
        Lines { every, started: Instant::now(), total: AtomicU64::new(0), done: AtomicU64::new(0), next: AtomicU64::new(5000) }
    }
}

impl Progress for Lines {
    fn start(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let now = self.started.elapsed().as_millis() as u64;
        let next = self.next.load(Ordering::Relaxed);
        let after = now + self.every.as_millis() as u64;
        // Whoever moves the time of the next line prints this one.
        if now >= next && self.next.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let total = self.total.load(Ordering::Relaxed).max(done);
            let percent = done * 100 / total.max(1);
            eprintln!("{percent:3}%  {} s", now / 1000);
        }
    }

    fn finish(&self) {}
}
