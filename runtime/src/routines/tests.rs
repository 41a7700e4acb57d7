//! Every routine against its definition.

use super::*;
use crate::rng;
use merge_abi::RandomKey;

const KEY: RandomKey = RandomKey { seed: Some(3), stream: 77 };

fn random(n: u64, stream: u64) -> Vec<f64> {
    (0..n).map(|i| f64::from(rng::normal(stream, i))).collect()
}

fn call<T: Entry>(routine: &Routine, inputs: &[(&[u64], &[T])]) -> Result<Outcome<T>, Fault> {
    let arrays: Vec<Array<'_, T>> = inputs.iter().map(|(shape, entries)| Array { shape, entries }).collect();
    let outcome = run(routine, &arrays, 5)?;
    let shapes: Vec<&[u64]> = inputs.iter().map(|i| i.0).collect();
    let lens: Vec<u64> = routine.results(&shapes).unwrap().iter().map(|s| s.iter().product()).collect();
    assert_eq!(outcome.results.iter().map(|r| r.len() as u64).collect::<Vec<_>>(), lens, "{routine:?}");
    Ok(outcome)
}

fn results(routine: &Routine, inputs: &[(&[u64], &[f64])]) -> Vec<Vec<f64>> {
    call(routine, inputs).unwrap().results
}

fn one(routine: &Routine, inputs: &[(&[u64], &[f64])]) -> Vec<f64> {
    results(routine, inputs).remove(0)
}

/// `a [m, k] b [k, n]`.
fn times(a: &[f64], b: &[f64], k: u64) -> Vec<f64> {
    let k = k as usize;
    let n = b.len().checked_div(k).unwrap_or(0);
    let m = a.len().checked_div(k).unwrap_or(0);
    let dot = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum::<f64>();
    (0..m * n).map(|at| dot(at / n, at % n)).collect()
}

fn turned(a: &[f64], cols: u64) -> Vec<f64> {
    let (rows, cols) = (a.len() / (cols as usize).max(1), cols as usize);
    (0..a.len()).map(|at| a[at % rows * cols + at / rows]).collect()
}

fn close(a: &[f64], b: &[f64], within: f64) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= within, "entry {i}: {a} and {b}");
    }
}

/// Whether the `n` columns are orthonormal.
fn orthonormal(a: &[f64], n: u64, within: f64) {
    let identity: Vec<f64> = (0..n * n).map(|i| f64::from(u8::from(i % n == i / n))).collect();
    let rows = (a.len() as u64).checked_div(n).unwrap_or(0);
    close(&times(&turned(a, n), a, rows), &identity[..if rows == 0 { 0 } else { identity.len() }], within);
}

/// Whether each column's largest entry is positive.
fn signed(a: &[f64], n: u64) {
    for j in 0..n as usize {
        let column: Vec<f64> = a.iter().skip(j).step_by(n as usize).copied().collect();
        let largest = column.iter().copied().fold(0.0, |m: f64, x| if x.abs() > m.abs() * (1.0 + 1e-5) { x } else { m });
        assert!(largest >= 0.0, "column {j}: {column:?}");
    }
}

/// Random matrices, square and not, with and without the way by the Gram matrix, and the odd ones: zero, constant, a
/// single entry, a row, a column, of low rank, badly scaled.
fn matrices() -> Vec<(u64, u64, Vec<f64>)> {
    let mut all: Vec<(u64, u64, Vec<f64>)> = [(7, 7), (5, 9), (12, 3), (80, 50), (40, 130), (1, 1), (1, 6), (6, 1), (64, 64)]
        .map(|(m, n)| (m, n, random(m * n, m * 100 + n)))
        .to_vec();
    all.push((6, 4, vec![0.0; 24]));
    all.push((50, 70, vec![0.0; 3500]));
    all.push((40, 36, vec![2.5; 1440]));
    all.push((3, 3, vec![1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 0.0, 0.0, 0.0]));
    all.push((60, 45, times(&random(60 * 4, 1), &random(4 * 45, 2), 4)));
    all.push((40, 40, random(1600, 9).iter().enumerate().map(|(i, x)| x * 0.5f64.powi(i as i32 % 40)).collect()));
    all.push((2, 2, vec![1.0, -1.0, -1.0, 1.0]));
    // Values that fall to 1e-3, 1e-4, .. 1e-8 of the largest, in bases of their own.
    for (i, last) in [3, 4, 5, 6, 8].into_iter().enumerate() {
        let basis = |stream| results(&Routine::Qr, &[(&[48, 48], &random(48 * 48, stream))]).remove(0);
        let (u, v) = (basis(31 + i as u64), basis(41 + i as u64));
        let us: Vec<f64> = (0..48 * 48).map(|at| u[at] * 10f64.powf(-f64::from(last) * (at % 48) as f64 / 47.0)).collect();
        all.push((48, 48, times(&us, &turned(&v, 48), 48)));
    }
    all
}

fn norm(a: &[f64]) -> f64 {
    a.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn a_product_is_one() {
    for (m, k, n) in [(1, 1, 1), (3, 4, 5), (17, 300, 9), (65, 1, 33), (2, 0, 3), (0, 4, 2), (4, 2, 0)] {
        let (a, b) = (random(m * k, 1), random(k * n, 2));
        let want: Vec<f64> = if k == 0 { vec![0.0; (m * n) as usize] } else { times(&a, &b, k) };
        close(&one(&Routine::MatMul, &[(&[m, k], &a), (&[k, n], &b)]), &want, 1e-12);
        let (a, b): (Vec<f32>, Vec<f32>) = (a.iter().map(|x| *x as f32).collect(), b.iter().map(|x| *x as f32).collect());
        let got = call(&Routine::MatMul, &[(&[m, k], &a), (&[k, n], &b)]).unwrap().results.remove(0);
        close(&got.iter().map(|x| f64::from(*x)).collect::<Vec<_>>(), &want, 1e-4);
    }
    let odd = one(&Routine::MatMul, &[(&[1, 2], &[f64::NAN, 0.0]), (&[2, 1], &[1.0, 1.0])]);
    assert!(odd[0].is_nan(), "a product hands on what it is given");
}

#[test]
fn a_product_in_parts_has_the_entries_of_the_whole() {
    for (m, k, n) in [(37, 16, 45), (9, 255, 20), (33, 600, 31)] {
        let a: Vec<f32> = random(m * k, 3).iter().map(|x| *x as f32).collect();
        let b: Vec<f32> = random(k * n, 4).iter().map(|x| *x as f32).collect();
        let whole = call(&Routine::MatMul, &[(&[m, k], &a), (&[k, n], &b)]).unwrap().results.remove(0);
        let [m, k, n] = [m, k, n].map(|x| x as usize);
        for (i, j, tall, wide) in [(0, 0, 1, 1), (5, 7, 1, 13), (8, 0, m - 8, n), (3, n - 9, 5, 9)] {
            let (mut part, mut turned) = (vec![0.0; tall * wide], vec![0.0; tall * wide]);
            Part { m: tall, k, n: wide, out: &mut part }.product((&a, i * k, (k, 1)), (&b, j, (n, 1)));
            Part { m: wide, k, n: tall, out: &mut turned }.product((&b, j, (1, n)), (&a, i * k, (1, k)));
            for (r, c) in (0..tall).flat_map(|r| (0..wide).map(move |c| (r, c))) {
                let want = whole[(i + r) * n + j + c].to_bits();
                assert_eq!((part[r * wide + c].to_bits(), turned[c * tall + r].to_bits()), (want, want));
            }
        }
    }
}

#[test]
fn singular_vectors_and_values() {
    for (m, n, x) in matrices() {
        let short = m.min(n);
        let full = results(&Routine::Svd { rank: short }, &[(&[m, n], &x)]);
        for rank in [0, 1, short / 3, short / 2, short] {
            let outcome = call(&Routine::Svd { rank }, &[(&[m, n], &x)]).unwrap();
            let [u, s, v] = &outcome.results[..] else { panic!("three results") };
            orthonormal_where_not_zero(u, s, rank);
            orthonormal_where_not_zero(v, s, rank);
            signed(u, rank);
            assert!(s.windows(2).all(|w| w[0] >= w[1]) && s.iter().all(|s| *s >= 0.0));
            close(s, &full[1][..rank as usize], 1e-9 * norm(&x));
            let us: Vec<f64> = u.iter().enumerate().map(|(i, u)| u * s[i % rank as usize]).collect();
            let kept = if rank == 0 { vec![0.0; x.len()] } else { times(&us, &turned(v, rank), rank) };
            let rest: Vec<f64> = x.iter().zip(&kept).map(|(x, k)| x - k).collect();
            let best = norm(&full[1][rank as usize..]);
            assert!((norm(&rest) - best).abs() <= 1e-9 * norm(&x) + 1e-300, "{m}x{n} rank {rank}: {} {best}", norm(&rest));
            match outcome.residual {
                None => assert_eq!(rank, short),
                Some(r) => assert!((r * norm(&x) - best).abs() <= 1e-7 * norm(&x) && rank < short),
            }
        }
        let [u, s, v] = &results(&Routine::FullSvd, &[(&[m, n], &x)])[..] else { panic!("three results") };
        orthonormal(u, m, 1e-12);
        orthonormal(v, n, 1e-12);
        signed(u, m);
        close(s, &full[1], 1e-12 * norm(&x));
        let us: Vec<f64> = (0..m * short).map(|i| u[(i / short * m + i % short) as usize] * s[(i % short) as usize]).collect();
        let vs: Vec<f64> = (0..n * short).map(|i| v[(i / short * n + i % short) as usize]).collect();
        close(&times(&us, &turned(&vs, short), short), &x, 1e-12 * norm(&x) + 1e-300);
    }
}

/// As the direct way gives orthonormal vectors whatever the values, so must the other.
fn orthonormal_where_not_zero(a: &[f64], s: &[f64], rank: u64) {
    assert_eq!(s.len() as u64, rank);
    orthonormal(a, rank, 1e-8);
}

#[test]
fn a_few_vectors_are_those_of_all() {
    // Large enough for the ways that find a few only: values that fall fast, slowly, and not at all after the third.
    let (m, n) = (330u64, 300u64);
    let basis = |rows: u64, stream| results(&Routine::Qr, &[(&[rows, n], &random(rows * n, stream))]).remove(0);
    let (u, v) = (basis(m, 51), basis(n, 52));
    let falls: [fn(f64) -> f64; 3] = [|i| 1.0 / (1.0 + i), |i| 1.0 - 1e-3 * i, |i| if i < 3.0 { 3.0 - i } else { 0.0 }];
    for fall in falls {
        let us: Vec<f64> = (0..m * n).map(|at| u[at as usize] * fall((at % n) as f64)).collect();
        let x = times(&us, &turned(&v, n), n);
        let all = results(&Routine::Svd { rank: n }, &[(&[m, n], &x)]);
        for (rows, cols, x, turn) in [(m, n, x.clone(), 0), (n, m, turned(&x, n), 2)] {
            let few = call(&Routine::Svd { rank: 3 }, &[(&[rows, cols], &x)]).unwrap();
            close(&few.results[1], &all[1][..3], 1e-12);
            let rest: f64 = (3..n).map(|i| fall(i as f64).powi(2)).sum::<f64>();
            assert!((few.residual.unwrap() - rest.sqrt() / norm(&x)).abs() < 1e-7);
            for (at, side) in [(0, turn), (2, 2 - turn)] {
                let leading: Vec<f64> = all[side].chunks(n as usize).flat_map(|row| row[..3].iter().copied()).collect();
                // The larger side settles the sign.
                let sign = |j: usize| {
                    (0..few.results[at].len() / 3).map(|i| leading[3 * i + j] * few.results[at][3 * i + j]).sum::<f64>()
                };
                let signed: Vec<f64> = leading.iter().enumerate().map(|(i, x)| x * sign(i % 3).signum()).collect();
                close(&few.results[at], &signed, 1e-8);
            }
        }
    }
}

#[test]
fn signs_do_not_hang_on_rounding() {
    // Entries of one size, whose first is the one that counts.
    for rank in [1, 2] {
        let u = &results(&Routine::Svd { rank }, &[(&[2, 2], &[-3.0, 3.0, 3.0, -3.0])])[0];
        assert!(u[0] > 0.7 && u[rank as usize] < -0.7, "{u:?}");
    }
}

#[test]
fn the_polar_factor_is_the_nearest_orthogonal_matrix() {
    for (m, n, x) in matrices() {
        let short = m.min(n);
        let p = one(&Routine::Polar, &[(&[m, n], &x)]);
        let [u, s, v] = &results(&Routine::Svd { rank: short }, &[(&[m, n], &x)])[..] else { panic!("three results") };
        let noise = f64::from(f32::EPSILON) * norm(&x) * ((m as f64).powf(-0.5) + (n as f64).powf(-0.5));
        let kept = s.iter().filter(|s| **s > noise).count() as u64;
        let cut =
            |a: &[f64]| -> Vec<f64> { a.chunks(short as usize).flat_map(|row| row[..kept as usize].iter().copied()).collect() };
        let want = if kept == 0 { vec![0.0; x.len()] } else { times(&cut(u), &turned(&cut(v), kept), kept) };
        close(&p, &want, 1e-8);
        if kept == short {
            let tall = if m < n { turned(&p, n) } else { p };
            orthonormal(&tall, short, 1e-8);
        }
    }
    let scaled = one(&Routine::Polar, &[(&[2, 2], &[0.0, -5.0, 3.0, 0.0])]);
    close(&scaled, &[0.0, -1.0, 1.0, 0.0], 1e-15);
}

#[test]
fn eigenvalues_rise_and_vectors_are_signed() {
    for n in [1u64, 2, 9, 70] {
        let half = random(n * n, n);
        let a: Vec<f64> = half.iter().zip(turned(&half, n)).map(|(a, b)| a + b).collect();
        let [values, vectors] = &results(&Routine::Eigh, &[(&[n, n], &a)])[..] else { panic!("two results") };
        assert!(values.windows(2).all(|w| w[0] <= w[1]));
        orthonormal(vectors, n, 1e-12);
        signed(vectors, n);
        let scaled: Vec<f64> = vectors.iter().enumerate().map(|(i, x)| x * values[i % n as usize]).collect();
        close(&times(&a, vectors, n), &scaled, 1e-11);
        // The upper triangle is not looked at.
        let lower: Vec<f64> = a.iter().enumerate().map(|(i, x)| if i as u64 % n > i as u64 / n { 9.0 } else { *x }).collect();
        assert_eq!(results(&Routine::Eigh, &[(&[n, n], &lower)]), [values.clone(), vectors.clone()]);
    }
}

#[test]
fn orthogonal_and_triangular_factors() {
    for (m, n, x) in matrices() {
        let short = m.min(n);
        let [q, r] = &results(&Routine::Qr, &[(&[m, n], &x)])[..] else { panic!("two results") };
        orthonormal(q, short, 1e-12);
        close(&times(q, r, short), &x, 1e-12 * norm(&x));
        for (i, j) in (0..short).flat_map(|i| (0..=i.min(n - 1)).map(move |j| (i, j))) {
            let entry = r[(i * n + j) as usize];
            assert!(if i == j { entry >= 0.0 } else { entry == 0.0 });
        }
    }
}

#[test]
fn empty_matrices_have_empty_factors() {
    for shape in [[0, 0], [0, 4], [3, 0]] {
        let empty: &[(&[u64], &[f64])] = &[(&shape, &[])];
        assert_eq!(call(&Routine::Svd { rank: 0 }, empty).unwrap().residual, None);
        for routine in [Routine::FullSvd, Routine::Qr, Routine::Polar] {
            results(&routine, empty);
        }
    }
    results(&Routine::Eigh, &[(&[0, 0], &[])]);
    results(&Routine::Solve, &[(&[0, 0], &[]), (&[0, 2], &[])]);
    results(&Routine::Solve, &[(&[1, 1], &[3.0]), (&[1, 0], &[])]);
    results(&Routine::Assignment { maximize: true }, &[(&[0, 0], &[])]);
}

#[test]
fn systems_are_solved_or_told_to_be_singular() {
    for (n, m) in [(1, 1), (3, 2), (40, 5), (7, 60)] {
        let a = random(n * n, 4 * n);
        let spd: Vec<f64> =
            times(&turned(&a, n), &a, n).iter().enumerate().map(|(i, x)| x + f64::from(i as u64 % n == i as u64 / n)).collect();
        let badly: Vec<f64> = a.iter().enumerate().map(|(i, x)| x * 10f64.powi((i as u64 / n % 7 * 3) as i32)).collect();
        let x = random(n * m, 5 * n);
        for a in [a, spd, badly] {
            let b = times(&a, &x, n);
            close(&one(&Routine::Solve, &[(&[n, n], &a), (&[n, m], &b)]), &x, 1e-8);
        }
    }
    let graded = one(&Routine::Solve, &[(&[2, 2], &[1.0, 0.0, 0.0, 1e-30]), (&[2, 1], &[1.0, 1.0])]);
    assert!(graded[0] == 1.0 && (graded[1] / 1e30 - 1.0).abs() < 1e-12, "small is not singular");
    let low = times(&random(12 * 3, 1), &turned(&random(12 * 3, 1), 3), 3);
    for a in [vec![0.0; 144], vec![1.0; 144], low] {
        let fault = call(&Routine::Solve, &[(&[12, 12], &a), (&[12, 1], &[1.0; 12])]).unwrap_err();
        assert!(fault.what.contains("singular") && fault.help.contains("diagonal"));
    }
}

#[test]
fn numbers_that_are_not_finite_are_told() {
    let square = [1.0, f64::NAN, f64::INFINITY, 2.0];
    for routine in [
        Routine::Svd { rank: 1 },
        Routine::FullSvd,
        Routine::Qr,
        Routine::Eigh,
        Routine::Polar,
        Routine::Assignment { maximize: false },
        Routine::KMeans { k: 2, key: KEY },
    ] {
        let fault = call(&routine, &[(&[2, 2], &square)]).unwrap_err();
        assert!(fault.what.contains("2 entries of its input are NaN or infinite"), "{routine:?} {fault:?}");
    }
    let good = [1.0, 0.0, 0.0, 1.0];
    for (a, b) in [(&square, &good), (&good, &square)] {
        assert!(call(&Routine::Solve, &[(&[2, 2], a), (&[2, 2], b)]).unwrap_err().what.contains("NaN"));
    }
}

#[test]
fn orders_along_the_last_axis() {
    let nan = f64::NAN;
    let x = [3.0, 1.0, 3.0, -0.0, 0.0, nan, -1.0, -1.0, 2.0, 2.0, 2.0, 5.0];
    let call = |routine: Routine| one(&routine, &[(&[2, 6], &x)]);
    let up = call(Routine::SortIndex { largest_first: false });
    assert_eq!(up, [3.0, 4.0, 1.0, 0.0, 2.0, 5.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let down = call(Routine::SortIndex { largest_first: true });
    assert_eq!(down, [5.0, 0.0, 2.0, 1.0, 3.0, 4.0, 5.0, 2.0, 3.0, 4.0, 0.0, 1.0]);
    for (largest_first, index) in [(false, up), (true, down)] {
        let sorted = call(Routine::Sort { largest_first });
        let rank = call(Routine::Rank { largest_first });
        for row in 0..2 {
            for i in 0..6 {
                let from = row * 6 + index[row * 6 + i] as usize;
                assert_eq!(sorted[row * 6 + i].to_bits(), x[from].to_bits());
                assert_eq!(rank[from], i as f64);
            }
        }
    }
    assert_eq!(call(Routine::ArgMax), [5.0, 5.0]);
    assert_eq!(one(&Routine::ArgMax, &[(&[2, 2], &[1.0, 1.0, -3.0, -2.0])]), [0.0, 1.0]);
    assert_eq!(one(&Routine::CumSum, &[(&[2, 3], &[1.0, 2.0, 3.0, 0.5, -0.5, 1.0])]), [1.0, 3.0, 6.0, 0.5, 0.0, 1.0]);
    assert!(one(&Routine::CumSum, &[(&[2, 0], &[])]).is_empty());
}

#[test]
fn slices_are_taken_and_put() {
    let x: Vec<f64> = (0..24).map(f64::from).collect();
    let shape = [2, 3, 4];
    for axis in 0..3u32 {
        let inner: u64 = shape[axis as usize + 1..].iter().product();
        let len = shape[axis as usize];
        let at: Vec<f64> = (0..len).rev().map(|i| i as f64).collect();
        let reversed = one(&Routine::Take { axis }, &[(&shape, &x), (&[len], &at)]);
        for i in 0..24u64 {
            let along = i / inner % len;
            let mirror = i - along * inner + (len - 1 - along) * inner;
            assert_eq!(reversed[i as usize], x[mirror as usize]);
        }
        assert_eq!(one(&Routine::Scatter { axis, len }, &[(&shape, &reversed), (&[len], &at)]), x);
    }
    let two = one(&Routine::Take { axis: 1 }, &[(&[1, 3], &[7.0, 8.0, 9.0]), (&[2], &[2.0, 2.0])]);
    assert_eq!(two, [9.0, 9.0]);
    let spread = one(&Routine::Scatter { axis: 0, len: 4 }, &[(&[2, 1], &[7.0, 8.0]), (&[2], &[3.0, 1.0])]);
    assert_eq!(spread, [0.0, 8.0, 0.0, 7.0]);
    assert_eq!(one(&Routine::TakeAlong, &[(&[2, 3], &x[..6]), (&[2], &[2.0, 0.0])]), [2.0, 3.0]);
    for wrong in [-1.0, 2.0, 0.5, f64::NAN] {
        let fault = call(&Routine::Take { axis: 0 }, &[(&[2], &[1.0, 2.0]), (&[1], &[wrong])]).unwrap_err();
        assert!(fault.what.contains("place"), "{fault:?}");
        assert!(call(&Routine::TakeAlong, &[(&[1, 2], &[1.0, 2.0]), (&[1], &[wrong])]).is_err());
        assert!(call(&Routine::Scatter { axis: 0, len: 2 }, &[(&[1], &[1.0]), (&[1], &[wrong])]).is_err());
    }
    let twice = call(&Routine::Scatter { axis: 0, len: 3 }, &[(&[2], &[1.0, 2.0]), (&[2], &[1.0, 1.0])]).unwrap_err();
    assert!(twice.what.contains("twice"));
}

#[test]
fn masks_are_packed_and_unpacked() {
    let mask = [0.0, 2.0, -0.0, f64::NAN, 1.0];
    assert_eq!(one(&Routine::Indices { count: 3 }, &[(&[5], &mask)]), [1.0, 3.0, 4.0]);
    assert!(call(&Routine::Indices { count: 2 }, &[(&[5], &mask)]).unwrap_err().what.contains("there are 3"));
    let values = [7.0, 8.0, 9.0];
    assert_eq!(one(&Routine::Unpack, &[(&[5], &mask), (&[3], &values)]), [0.0, 7.0, 0.0, 8.0, 9.0]);
    assert!(call(&Routine::Unpack, &[(&[5], &mask), (&[2], &values[..2])]).unwrap_err().what.contains("2 values for 3"));
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let insert = |p: Vec<usize>| (0..n).map(move |at| [&p[..at], &[n - 1], &p[at..]].concat());
    permutations(n - 1).into_iter().flat_map(insert).collect()
}

#[test]
fn assignments_are_best() {
    for n in 0..=7usize {
        let all = permutations(n);
        for case in 0..40u64 {
            // Few distinct costs make ties; some of them negative.
            let mut costs = random((n * n) as u64, case * 10 + n as u64);
            if case % 2 == 0 {
                costs.iter_mut().for_each(|c| *c = (*c * 2.0).round());
            }
            let sum = |p: &[usize]| p.iter().enumerate().map(|(i, j)| costs[i * n + j]).sum::<f64>();
            for (maximize, sign) in [(false, 1.0), (true, -1.0)] {
                let got = one(&Routine::Assignment { maximize }, &[(&[n as u64, n as u64], &costs)]);
                let got: Vec<usize> = got.into_iter().map(|j| j as usize).collect();
                let mut sorted = got.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..n).collect::<Vec<_>>());
                let best = all.iter().map(|p| sign * sum(p)).fold(f64::INFINITY, f64::min);
                assert!((sign * sum(&got) - best).abs() < 1e-12, "{n} {case} {maximize}");
            }
        }
    }
}

#[test]
fn clusters_are_found_and_numbered() {
    // Three clouds far from each other, in turns.
    let (n, d) = (90u64, 4u64);
    let noise = random(n * d, 8);
    let x: Vec<f64> = (0..n * d).map(|i| noise[i as usize] + f64::from((i / d % 3) as u32) * 50.0).collect();
    let [clusters, centres] = &results(&Routine::KMeans { k: 3, key: KEY }, &[(&[n, d], &x)])[..] else { panic!("two") };
    assert!(clusters.iter().enumerate().all(|(i, c)| *c == (i % 3) as f64), "{clusters:?}");
    for c in 0..3usize {
        for j in 0..4usize {
            let members = (0..90).filter(|i| i % 3 == c);
            let mean = members.map(|i| x[i * 4 + j]).sum::<f64>() / 30.0;
            assert!((centres[c * 4 + j] - mean).abs() < 1e-12);
        }
    }
    // More clusters than distinct rows: every one of them has a row.
    let [clusters, centres] = &results(&Routine::KMeans { k: 4, key: KEY }, &[(&[5, 1], &[2.0; 5])])[..] else { panic!("two") };
    let mut seen = clusters.clone();
    seen.dedup();
    assert!(clusters[0] == 0.0 && (0..4).all(|c| clusters.contains(&f64::from(c))) && *centres == [2.0; 4]);
    let [each, _] = &results(&Routine::KMeans { k: 6, key: KEY }, &[(&[6, 2], &random(12, 3))])[..] else { panic!("two") };
    assert_eq!(*each, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let [one, centre] = &results(&Routine::KMeans { k: 1, key: KEY }, &[(&[2, 2], &[0.0, 1.0, 2.0, 3.0])])[..] else {
        panic!("two")
    };
    assert_eq!((&one[..], &centre[..]), (&[0.0, 0.0][..], &[1.0, 2.0][..]));
    results(&Routine::KMeans { k: 2, key: KEY }, &[(&[3, 0], &[])]);
}

#[test]
fn clustering_never_ends_worse_than_its_neighbours() {
    // At a fixed point of Lloyd's iteration every row is nearest to its own centre.
    for case in 0..10 {
        let (n, d, k) = (60u64, 3u64, 7u64);
        let x = random(n * d, 200 + case);
        let [clusters, centres] = &results(&Routine::KMeans { k, key: KEY }, &[(&[n, d], &x)])[..] else { panic!("two") };
        for i in 0..n as usize {
            let to = |c: usize| (0..3).map(|j| (x[i * 3 + j] - centres[c * 3 + j]).powi(2)).sum::<f64>();
            let own = to(clusters[i] as usize);
            assert!((0..k as usize).all(|c| own <= to(c)), "{case} {i}");
        }
    }
}

#[test]
fn permutations_are_drawn_by_key_and_seed() {
    let draw = |n: u64, stream: u64, seed: i64| {
        let routine = Routine::Permutation { n, key: RandomKey { seed: None, stream } };
        run::<f64>(&routine, &[], seed).unwrap().results.remove(0)
    };
    let a = draw(1000, 1, 0);
    assert_eq!(a, draw(1000, 1, 0));
    assert!(a != draw(1000, 2, 0) && a != draw(1000, 1, 1));
    let mut sorted = a;
    sorted.sort_by(f64::total_cmp);
    assert!(sorted.iter().enumerate().all(|(i, x)| *x == i as f64));
    assert_eq!((draw(0, 1, 0), draw(1, 1, 0)), (vec![], vec![0.0]));
    // Each order of three about as often as any other.
    let mut counts = std::collections::BTreeMap::new();
    for stream in 0..6000 {
        *counts.entry(draw(3, stream, 0).iter().map(|x| *x as u8).collect::<Vec<_>>()).or_insert(0u32) += 1;
    }
    assert!(counts.len() == 6 && counts.values().all(|c| c.abs_diff(1000) < 150), "{counts:?}");
}

#[test]
fn indices_beyond_what_f32_counts_are_refused() {
    let fault = run::<f32>(&Routine::Permutation { n: (1 << 24) + 1, key: KEY }, &[], 0).unwrap_err();
    assert!(fault.what.contains("2^24"));
}

#[test]
fn f32_and_f64_agree() {
    let (m, n) = (60u64, 40u64);
    let narrow: Vec<f32> = random(m * n, 6).iter().map(|x| *x as f32).collect();
    let wide: Vec<f64> = narrow.iter().map(|x| f64::from(*x)).collect();
    for routine in [Routine::Svd { rank: 5 }, Routine::Svd { rank: 40 }, Routine::FullSvd, Routine::Qr, Routine::Polar] {
        let a = call(&routine, &[(&[m, n], &narrow)]).unwrap().results;
        let b = results(&routine, &[(&[m, n], &wide)]);
        for (a, b) in a.iter().zip(&b) {
            assert!(a.iter().zip(b).all(|(a, b)| *a == *b as f32), "{routine:?}");
        }
    }
}
