//! What the tests of compiled code share: a random number generator, buffers for a kernel, a run.

use half::{bf16, f16};
use merge_abi::{Access, DType, KernelArgs};
use merge_ir::kir::Kernel;

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Mostly ordinary numbers, some that are special, some that are any bits at all.
    pub fn float(&mut self) -> f32 {
        match self.below(12) {
            0 => self.pick(&[
                0.0,
                -0.0,
                1.0,
                -1.0,
                f32::INFINITY,
                -f32::INFINITY,
                f32::NAN,
                1e-40,
                -1e38,
                65_520.0,
                65_519.9,
                6e-8,
            ]),
            1 => f32::from_bits(self.next() as u32),
            2 => (self.below(9) as f32 - 4.0) * 0.5,
            _ => ((self.next() >> 40) as f32 / 16_777_216.0 - 0.5) * self.pick(&[0.1, 1.0, 8.0, 300.0]),
        }
    }
}

/// A buffer aligned for any dtype.
#[derive(Clone, PartialEq)]
pub struct Bytes(Vec<u64>);

impl Bytes {
    /// Room for `len` bytes, filled with `fill`, and eight more that nobody should touch.
    pub fn new(len: usize, fill: u8) -> Bytes {
        Bytes(vec![u64::from_ne_bytes([fill; 8]); len.div_ceil(8) + 1])
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            let mut word = self.0[(at + i) / 8].to_ne_bytes();
            word[(at + i) % 8] = *byte;
            self.0[(at + i) / 8] = u64::from_ne_bytes(word);
        }
    }

    /// The first `len` bytes.
    #[allow(dead_code, reason = "one suite uses it")]
    pub fn first(&self, len: usize) -> Vec<u8> {
        self.0.iter().flat_map(|w| w.to_ne_bytes()).take(len).collect()
    }

    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }

    pub fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr().cast()
    }
}

/// `count` entries of `dtype`.
pub fn entries(rng: &mut Rng, dtype: DType, count: usize) -> Bytes {
    let size = dtype.size() as usize;
    let mut bytes = Bytes::new(count * size, 0);
    for i in 0..count {
        let x = rng.float();
        let bits = rng.next();
        let item = match dtype {
            DType::F64 => (f64::from(x) * 1.000_000_001).to_ne_bytes().to_vec(),
            DType::F32 => x.to_ne_bytes().to_vec(),
            DType::F16 => f16::from_f32(x).to_ne_bytes().to_vec(),
            DType::BF16 => bf16::from_f32(x).to_ne_bytes().to_vec(),
            // Any bits will do; wide integers of many magnitudes.
            DType::I64 => ((bits as i64) >> (bits % 64)).to_ne_bytes().to_vec(),
            DType::U64 => (bits >> (bits % 64)).to_ne_bytes().to_vec(),
            _ => bits.to_ne_bytes()[..size].to_vec(),
        };
        bytes.put(i * size, &item);
    }
    bytes
}

/// What a kernel is called with.
pub struct Call {
    pub rows: usize,
    pub cols: usize,
    pub first: u64,
    pub operands: Vec<Bytes>,
    pub params: Vec<f32>,
    pub keys: Vec<u64>,
    pub cuts: Vec<i64>,
}

impl Call {
    pub fn random(rng: &mut Rng, kernel: &Kernel, rows: usize, cols: usize, first: u64) -> Call {
        let count = |access| match access {
            Access::Dense => rows * cols,
            Access::PerRow => rows,
            Access::PerCol => cols,
        };
        let total = rows * cols;
        Call {
            rows,
            cols,
            first,
            operands: kernel.operands.iter().map(|o| entries(rng, o.dtype, count(o.access))).collect(),
            params: (0..kernel.params).map(|_| rng.float()).collect(),
            keys: (0..kernel.keys).map(|_| rng.next()).collect(),
            cuts: (0..kernel.cuts).map(|_| first as i64 + rng.below(total + 2) as i64 - 1).collect(),
        }
    }

    /// Runs `f` on fresh outputs: the stores and the bits of the partial results.
    pub fn run(&self, kernel: &Kernel, f: impl FnOnce(&KernelArgs)) -> (Vec<Bytes>, Vec<u64>) {
        let size = |dtype: DType| dtype.size() as usize * self.rows * self.cols;
        let mut stores: Vec<Bytes> = kernel.stores.iter().map(|s| Bytes::new(size(s.1), 0xA5)).collect();
        let mut partials = vec![-12345.0f64; self.rows * kernel.reductions.len() + 1];
        let operands: Vec<*const u8> = self.operands.iter().map(Bytes::as_ptr).collect();
        let outs: Vec<*mut u8> = stores.iter_mut().map(Bytes::as_mut_ptr).collect();
        f(&KernelArgs {
            operands: operands.as_ptr(),
            stores: outs.as_ptr(),
            partials: partials.as_mut_ptr(),
            params: self.params.as_ptr(),
            keys: self.keys.as_ptr(),
            cuts: self.cuts.as_ptr(),
            first: self.first,
            rows: self.rows as u64,
            cols: self.cols as u64,
        });
        (stores, partials.iter().map(|p| p.to_bits()).collect())
    }
}
