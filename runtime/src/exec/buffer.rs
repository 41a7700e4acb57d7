//! Recycled, aligned memory of one worker.

/// One cache line, so that vectors of them are aligned for any kernel.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

const LINE: usize = 64;

/// A buffer that grows when it must and is never given back while a run lasts. A tile's operands, stores
/// and row values are carved out of one, so that what a worker holds is the largest sum over the steps.
#[derive(Default)]
pub(crate) struct Buffer {
    lines: Vec<Line>,
}

impl Buffer {
    /// Makes room for `bytes`.
    pub fn reserve(&mut self, bytes: usize) {
        let lines = bytes.div_ceil(LINE);
        if self.lines.len() < lines {
            // The old contents are of no use: freeing first keeps the peak low.
            self.lines = Vec::new();
            self.lines = vec![Line([0; LINE]); lines];
        }
    }

    pub fn as_ptr(&self) -> *const u8 {
        self.lines.as_ptr().cast()
    }

    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast()
    }

    /// Bytes from `at`.
    pub fn bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(at + len <= self.lines.len() * LINE, "inside the buffer");
        // SAFETY: the range lies inside, as was just checked, and every byte is initialised.
        unsafe { std::slice::from_raw_parts(self.as_ptr().add(at), len) }
    }

    /// Bytes from `at`.
    pub fn bytes_mut(&mut self, at: usize, len: usize) -> &mut [u8] {
        assert!(at + len <= self.lines.len() * LINE, "inside the buffer");
        // SAFETY: as in `bytes`.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr().add(at), len) }
    }

    /// Numbers from the byte `at`, which is a multiple of 4.
    pub fn floats_mut(&mut self, at: usize, len: usize) -> &mut [f32] {
        let bytes = self.bytes_mut(at, len * 4);
        assert!(bytes.as_ptr().cast::<f32>().is_aligned(), "aligned");
        // SAFETY: inside and aligned, as was just checked; any bits are an f32.
        unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), len) }
    }

    /// As [`Buffer::keys`], to be put in their place.
    pub fn keys_mut(&mut self, at: usize, len: usize) -> &mut [u32] {
        let bytes = self.bytes_mut(at, len * 4);
        assert!(bytes.as_ptr().cast::<u32>().is_aligned(), "aligned");
        // SAFETY: as in `floats_mut`; any bits are a u32.
        unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), len) }
    }

    /// The keys that [`crate::select::to_keys`] made of the numbers at the byte `at`.
    pub fn keys(&self, at: usize, len: usize) -> &[u32] {
        let bytes = self.bytes(at, len * 4);
        assert!(bytes.as_ptr().cast::<u32>().is_aligned(), "aligned");
        // SAFETY: inside and aligned, as was just checked; any bits are a u32.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), len) }
    }
}

/// Hands out places in a [`Buffer`], one after the other, each on a line of its own.
#[derive(Debug, Default)]
pub(crate) struct Carve {
    next: usize,
}

impl Carve {
    /// The place of `bytes` bytes.
    pub fn take(&mut self, bytes: u64) -> usize {
        let at = self.next;
        self.next += (bytes as usize).next_multiple_of(LINE);
        at
    }

    /// Bytes handed out.
    pub fn total(&self) -> usize {
        self.next
    }
}
