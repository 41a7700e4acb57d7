//! The floor: read the inputs, average, write. What any merge must at least do.

use std::{fs::File, os::unix::fs::FileExt, sync::atomic::AtomicU64, sync::atomic::Ordering};

/// Bytes a thread takes at a time; a buffer of this size a file stays in the cache.
const CHUNK: u64 = 1 << 19;

/// Averages bf16 files of one size entry by entry into `output`. The header bytes are averaged like the
/// rest: this is a measure of speed, not a merge.
pub fn run(threads: &str, output: &str, inputs: &[&str]) -> Result<(), String> {
    let threads: usize = threads.parse().map_err(|_| "threads: a number")?;
    let open = |path: &&str| File::open(path).map_err(|e| format!("{path}: {e}"));
    let inputs = inputs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let size = inputs.first().ok_or("no inputs")?.metadata().map_err(|e| e.to_string())?.len();
    let output = File::create(output).map_err(|e| format!("{output}: {e}"))?;
    output.set_len(size).map_err(|e| e.to_string())?;
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&inputs, &output, size, &next))).collect();
        workers.into_iter().try_for_each(|w| w.join().map_err(|_| "a thread panicked".to_owned())?)
    })
}

fn work(inputs: &[File], output: &File, size: u64, next: &AtomicU64) -> Result<(), String> {
    let mut buffers = vec![vec![0u8; CHUNK as usize]; inputs.len()];
    let mut result = vec![0u8; CHUNK as usize];
    let weight = 1.0 / inputs.len() as f32;
    loop {
        let at = next.fetch_add(CHUNK, Ordering::Relaxed);
        if at >= size {
            return Ok(());
        }
        let len = CHUNK.min(size - at) as usize;
        for (file, buffer) in inputs.iter().zip(&mut buffers) {
            file.read_exact_at(&mut buffer[..len], at).map_err(|e| e.to_string())?;
        }
        let result = if let [only] = buffers.as_slice() {
            &only[..len]
        } else {
            average(&buffers, weight, &mut result[..len]);
            &result[..len]
        };
        output.write_all_at(result, at).map_err(|e| e.to_string())?;
    }
}

fn average(inputs: &[Vec<u8>], weight: f32, result: &mut [u8]) {
    const STRIP: usize = 2048;
    let mut sums = [0f32; STRIP];
    for (i, out) in result.chunks_mut(2 * STRIP).enumerate() {
        let entries = out.len() / 2;
        sums[..entries].fill(0.0);
        for input in inputs {
            let bytes = &input[2 * STRIP * i..][..2 * entries];
            for (sum, b) in sums.iter_mut().zip(bytes.chunks_exact(2)) {
                *sum += weight * f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16);
            }
        }
        for (b, sum) in out.chunks_exact_mut(2).zip(&sums) {
            let bits = sum.to_bits();
            let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
            b.copy_from_slice(&(rounded as u16).to_le_bytes());
        }
    }
}
