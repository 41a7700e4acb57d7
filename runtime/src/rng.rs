//! Random numbers by counter: the number of an entry depends on its stream and its flat index alone.
//!
//! Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). Compiled kernels
//! compute the same words in vectors; the functions here are their reference, one entry at a time.

use merge_abi::RandomKey;

/// The Philox key of a stream, see [`RandomKey::keyed`].
pub fn key(stream: RandomKey, run_seed: i64) -> u64 {
    stream.keyed(run_seed)
}

/// Uniform in `[0, 1)`: the upper 24 bits of the entry's word. Entry `i` is word `(i / 16) % 4` of block
/// `(i / 64) * 16 + i % 16`, which lets sixteen lanes use all four words of their blocks in turn.
pub fn uniform(key: u64, index: u64) -> f32 {
    let block = (index / 64) * 16 + index % 16;
    let word = philox(key, block)[(index / 16 % 4) as usize];
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// 64 random bits, for routines that draw one by one: the first two words of block `index`.
pub(crate) fn word(key: u64, index: u64) -> u64 {
    let [a, b, ..] = philox(key, index);
    u64::from(a) << 32 | u64::from(b)
}

/// Uniform in `[0, 1)` with 53 bits, from [`word`].
pub(crate) fn uniform_f64(key: u64, index: u64) -> f64 {
    (word(key, index) >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// Standard normal by Box and Muller, from the stream and its second (see [`RandomKey::second`]).
pub fn normal(key: u64, index: u64) -> f32 {
    let u = f64::from(uniform(key, index));
    let v = f64::from(uniform(key ^ RandomKey::SECOND, index));
    ((-2.0 * libm::log(1.0 - u)).sqrt() * libm::cos(std::f64::consts::TAU * v)) as f32
}

/// The four words of a block. The block is the counter's low 64 bits; the high 64 are 0.
fn philox(key: u64, block: u64) -> [u32; 4] {
    let mut c = [block as u32, (block >> 32) as u32, 0, 0];
    let (mut k0, mut k1) = (key as u32, (key >> 32) as u32);
    for _ in 0..10 {
        let p0 = u64::from(c[0]) * 0xd251_1f53;
        let p1 = u64::from(c[2]) * 0xcd9e_8d57;
        c = [(p1 >> 32) as u32 ^ c[1] ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k1, p0 as u32];
        k0 = k0.wrapping_add(0x9e37_79b9);
        k1 = k1.wrapping_add(0xbb67_ae85);
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_words() {
        // The first known answer of Random123's kat_vectors for philox4x32-10.
        assert_eq!(philox(0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    }

    #[test]
    fn numbers_are_spread_as_they_should_be() {
        let key = key(RandomKey { seed: None, stream: 7 }, 3);
        let n = 100_000;
        let mean = (0..n).map(|i| f64::from(uniform(key, i))).sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        let normals: Vec<f64> = (0..n).map(|i| f64::from(normal(key, i))).collect();
        let mean = normals.iter().sum::<f64>() / n as f64;
        let var = normals.iter().map(|x| x * x).sum::<f64>() / n as f64 - mean * mean;
        assert!(mean.abs() < 0.02 && (var - 1.0).abs() < 0.03, "{mean} {var}");
    }

    #[test]
    fn the_seed_of_the_run_is_added_to_the_stated_one() {
        let stated = RandomKey { seed: Some(1), stream: 9 };
        assert_ne!(key(stated, 5), key(stated, 6));
        let free = RandomKey { seed: None, stream: 9 };
        assert_eq!(key(free, 1), key(stated, 0));
        assert_ne!(key(free, 1), key(free, 2));
        assert_eq!(key(free.second(), 1), key(free, 1) ^ RandomKey::SECOND);
    }
}
