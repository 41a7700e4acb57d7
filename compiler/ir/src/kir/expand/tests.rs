//! Errors of the expansions against f64, in units in the last place of the f32 result.

use super::super::{Inst, Kernel, Operand, Val, interpret, verify};
use super::expand;
use merge_abi::{Access, BinaryFn, DType, KernelArgs, UnaryFn};

/// Runs a one-instruction kernel over columns of operands.
fn run(inst: Inst, operands: &[&[f32]]) -> Vec<f32> {
    let operand = Operand { dtype: DType::F32, access: Access::Dense };
    let count = operands.len() as u32;
    let kernel = Kernel {
        name: "k".into(),
        operands: vec![operand; operands.len()],
        params: 0,
        keys: 0,
        cuts: 0,
        body: (0..count).map(Inst::Load).chain([inst]).collect(),
        stores: vec![(Val(count), DType::F32)],
        reductions: vec![],
    };
    let expanded = expand(kernel.clone());
    assert_eq!(verify(&expanded), Vec::<String>::new());
    assert!(expanded.body.iter().all(|i| *i != inst), "{inst:?} is expanded");
    let mut out = vec![0.0f32; operands[0].len()];
    let pointers: Vec<*const u8> = operands.iter().map(|o| o.as_ptr().cast()).collect();
    let stores = [out.as_mut_ptr().cast()];
    let args = KernelArgs {
        operands: pointers.as_ptr(),
        stores: stores.as_ptr(),
        partials: std::ptr::null_mut(),
        params: std::ptr::null(),
        keys: std::ptr::null(),
        cuts: std::ptr::null(),
        first: 0,
        rows: 1,
        cols: out.len() as u64,
    };
    // SAFETY: operands and store have `cols` entries; the kernel uses nothing else.
    unsafe { interpret(&kernel, &args) };
    out
}

fn ulps(got: f32, want: f64) -> f64 {
    let rounded = want as f32;
    if got == rounded || got.is_nan() && rounded.is_nan() {
        return 0.0;
    }
    // The spacing of f32 at `want`; that of subnormals near 0.
    let spacing = 2f64.powi((want.abs().log2().floor() as i32).clamp(-126, 127) - 23);
    (f64::from(got) - want).abs() / spacing
}

/// The largest error on `low..=high`, sampled evenly in value and in the bits.
fn worst(f: UnaryFn, low: f32, high: f32) -> f64 {
    let even = (0..=20_000).map(|i| (f64::from(low) + (f64::from(high) - f64::from(low)) * f64::from(i) / 20_000.0) as f32);
    let bits = (0..20_000u32).map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761)));
    let xs: Vec<f32> = even.chain(bits).filter(|x| (low..=high).contains(x)).collect();
    let ys = run(Inst::Unary(f, Val(0)), &[&xs]);
    xs.iter().zip(ys).map(|(x, y)| ulps(y, f.eval(f64::from(*x)))).fold(0.0, f64::max)
}

#[test]
fn functions_of_one_number_are_accurate() {
    let cases = [
        (UnaryFn::Exp, -87.0, 88.7, 2.0),
        (UnaryFn::Exp, -110.0, 100.0, 2.0),
        (UnaryFn::Log, 0.0, 1e4, 2.0),
        (UnaryFn::Log, 1e-45, 3e38, 2.0),
        (UnaryFn::Log2, 0.0, 1e4, 2.0),
        (UnaryFn::Log2, 1e-45, 3e38, 2.0),
        (UnaryFn::Asin, -1.0, 1.0, 2.5),
        (UnaryFn::Acos, -1.0, 1.0, 2.5),
        (UnaryFn::Atan, -1e3, 1e3, 2.5),
        (UnaryFn::Atan, -3e38, 3e38, 2.5),
        (UnaryFn::Tanh, -10.0, 10.0, 2.5),
        (UnaryFn::Sigmoid, -80.0, 80.0, 2.5),
        (UnaryFn::Sin, -4.0, 4.0, 2.0),
        (UnaryFn::Cos, -4.0, 4.0, 2.0),
        (UnaryFn::Tan, -4.0, 4.0, 4.0),
        (UnaryFn::Sin, -1e4, 1e4, 2.5),
        (UnaryFn::Cos, -1e4, 1e4, 2.5),
        (UnaryFn::Sin, -1e5, 1e5, 4.0),
    ];
    let found: Vec<_> = cases.iter().map(|(f, low, high, most)| (f.name(), *low, *high, worst(*f, *low, *high), *most)).collect();
    assert!(found.iter().all(|(.., worst, most)| worst <= most), "{found:#?}");
}

#[test]
fn limits() {
    let inf = f32::INFINITY;
    let nan = f32::NAN;
    for (f, x, want) in [
        (UnaryFn::Exp, inf, inf),
        (UnaryFn::Exp, -inf, 0.0),
        (UnaryFn::Exp, nan, nan),
        (UnaryFn::Exp, 0.0, 1.0),
        (UnaryFn::Log, 0.0, -inf),
        (UnaryFn::Log, 1.0, 0.0),
        (UnaryFn::Log, inf, inf),
        (UnaryFn::Log, -1.0, nan),
        (UnaryFn::Log, nan, nan),
        (UnaryFn::Log2, 1024.0, 10.0),
        (UnaryFn::Log2, 0.0, -inf),
        (UnaryFn::Log2, inf, inf),
        (UnaryFn::Sin, 0.0, 0.0),
        (UnaryFn::Sin, inf, nan),
        (UnaryFn::Cos, nan, nan),
        (UnaryFn::Cos, 0.0, 1.0),
        (UnaryFn::Tan, -inf, nan),
        (UnaryFn::Asin, 1.5, nan),
        (UnaryFn::Acos, 1.0, 0.0),
        (UnaryFn::Acos, -1.5, nan),
        (UnaryFn::Atan, inf, std::f32::consts::FRAC_PI_2),
        (UnaryFn::Atan, nan, nan),
        (UnaryFn::Tanh, inf, 1.0),
        (UnaryFn::Tanh, -inf, -1.0),
        (UnaryFn::Tanh, nan, nan),
        (UnaryFn::Sigmoid, inf, 1.0),
        (UnaryFn::Sigmoid, -inf, 0.0),
        (UnaryFn::Sigmoid, nan, nan),
    ] {
        let got = run(Inst::Unary(f, Val(0)), &[&[x]])[0];
        assert!(got == want || got.is_nan() && want.is_nan(), "{} {x} = {got}, not {want}", f.name());
    }
}

#[test]
fn pow_is_accurate() {
    let bases: Vec<f32> = (1..400).map(|i| i as f32 * 0.013).chain([1e-30, 1e30, 1.000_000_1, 0.999_999_9, 1e-42]).collect();
    let exponents: Vec<f32> = (-40..40).map(|i| i as f32 * 0.37).chain([2.0, 3.0, 0.5, -1.0, 100.0, 1e6]).collect();
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    for x in &bases {
        for y in &exponents {
            xs.push(*x);
            ys.push(*y);
        }
    }
    let got = run(Inst::Binary(BinaryFn::Pow, Val(0), Val(1)), &[&xs, &ys]);
    for ((x, y), got) in xs.iter().zip(&ys).zip(got) {
        let want = BinaryFn::Pow.eval(f64::from(*x), f64::from(*y));
        assert!(ulps(got, want) <= 2.5, "{x} ^ {y} = {got}, not {want}: {} ulp", ulps(got, want));
    }
}

#[test]
fn pow_has_the_limits_of_c() {
    let inf = f32::INFINITY;
    let nan = f32::NAN;
    let interesting = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 2.5, -2.5, inf, -inf, nan, 1e30, -1e30, 1e-40];
    for x in interesting {
        for y in interesting {
            let got = run(Inst::Binary(BinaryFn::Pow, Val(0), Val(1)), &[&[x], &[y]])[0];
            let want = BinaryFn::Pow.eval(f64::from(x), f64::from(y)) as f32;
            let same = ulps(got, f64::from(want)) < 2.5 && (got == 0.0 || got.is_nan() || got.signum() == want.signum());
            assert!(same, "{x} ^ {y} = {got}, not {want}");
        }
    }
}
