//! Compiled kernels and the interpreter give the same bits: random kernels over all dtypes, accesses and
//! awkward extents, on the CPU the tests run on and on the oldest that is supported.

mod common;

use common::{Call, Rng};
use merge_abi::{Access, BinaryFn, DType, KernelFn, ReduceFn, UnaryFn};
use merge_codegen::{Cpu, Jit, compile, default_cpu};
use merge_ir::kir::{Compare, Inst, IntOp, Kernel, Operand, Val, interpret, parse, print, verify};

const COMPARES: [Compare; 6] = [Compare::Eq, Compare::Ne, Compare::Lt, Compare::Le, Compare::Gt, Compare::Ge];

/// A well-formed kernel of about `size` instructions.
fn random_kernel(rng: &mut Rng, name: String, size: usize) -> Kernel {
    let accesses = [Access::Dense, Access::Dense, Access::Dense, Access::PerRow, Access::PerCol];
    let operands: Vec<Operand> = (0..1 + rng.below(4))
        .map(|_| {
            let access = rng.pick(&accesses);
            let dtype = if access == Access::PerRow { DType::F32 } else { rng.pick(&DType::ALL) };
            Operand { dtype, access }
        })
        .collect();
    let (params, keys, cuts) = (rng.below(3) as u32, rng.below(3) as u32, rng.below(2) as u32);
    let mut body: Vec<Inst> = (0..operands.len() as u32).map(Inst::Load).collect();
    let mut floats: Vec<Val> = (0..body.len() as u32).map(Val).collect();
    let mut masks = Vec::new();
    // Integers come from numbers that are never NaN, whose bits would be anyone's.
    let mut ints = Vec::new();
    body.push(Inst::ConstInt(rng.next() as i32));
    ints.push(Val(body.len() as u32 - 1));
    body.push(Inst::Compare(rng.pick(&COMPARES), Val(0), floats[floats.len() - 1]));
    masks.push(Val(body.len() as u32 - 1));
    while body.len() < size {
        let next = Val(body.len() as u32);
        let (a, b, c) = (rng.pick(&floats), rng.pick(&floats), rng.pick(&floats));
        let (m, n) = (rng.pick(&masks), rng.pick(&masks));
        let (i, j) = (rng.pick(&ints), rng.pick(&ints));
        use BinaryFn::*;
        let exact = [
            UnaryFn::Abs,
            UnaryFn::Neg,
            UnaryFn::Sign,
            UnaryFn::Sqrt,
            UnaryFn::Floor,
            UnaryFn::Ceil,
            UnaryFn::Round,
            UnaryFn::Trunc,
        ];
        let inst = match rng.below(24) {
            0 if params > 0 => Inst::Param(rng.below(params as usize) as u32),
            1 if keys > 0 => Inst::Uniform(rng.below(keys as usize) as u32),
            2 if cuts > 0 => Inst::IndexLe(rng.below(cuts as usize) as u32),
            3 => Inst::Const(rng.float()),
            4 | 5 => Inst::Unary(rng.pick(&exact), a),
            6 => Inst::Unary(rng.pick(&UnaryFn::ALL.map(|f| if f == UnaryFn::Not { UnaryFn::Neg } else { f })), a),
            7..=11 => Inst::Binary(rng.pick(&[Add, Sub, Mul, Div, Min, Max]), a, b),
            12 if rng.below(4) == 0 => Inst::Binary(Pow, a, b),
            13 => Inst::Compare(rng.pick(&COMPARES), a, b),
            14 => rng.pick(&[Inst::And(m, n), Inst::Or(m, n), Inst::Not(m)]),
            15 => Inst::Select(m, a, c),
            16 => rng.pick(&[Inst::Select(m, i, j), Inst::Select(m, m, n)]),
            17 => Inst::MaskToF32(m),
            18 => {
                let stride = rng.pick(&[1, 1, 3, 7, 16, 64, 4099, 1 << 33]);
                Inst::Coord { stride, len: rng.pick(&[1, 2, 5, 16, 31, 4096, (1 << 24) + 3, (1 << 31) + 5]) }
            }
            19 => Inst::Chosen { key: a, threshold: b, in_cut: m },
            20 => {
                use IntOp::*;
                Inst::Int(rng.pick(&[IntOp::Add, IntOp::Sub, And, Or, Xor, Shl, Shr, ShrZero]), i, j)
            }
            21 => Inst::CompareInt(rng.pick(&COMPARES), i, j),
            22 => Inst::FromInt(i),
            23 => match body.iter().position(|i| matches!(i, Inst::Uniform(_) | Inst::MaskToF32(_) | Inst::Coord { .. })) {
                Some(at) => rng.pick(&[Inst::Bits(Val(at as u32)), Inst::Bits(Val(at as u32))]),
                None => continue,
            },
            _ => continue,
        };
        body.push(inst);
        let kernel = Kernel { body, ..empty() };
        let class = match kernel.ty(next) {
            merge_ir::kir::Ty::F32 => &mut floats,
            merge_ir::kir::Ty::Mask => &mut masks,
            merge_ir::kir::Ty::I32 => &mut ints,
        };
        class.push(next);
        body = kernel.body;
    }
    let recent = |rng: &mut Rng| floats[floats.len() - 1 - rng.below(floats.len().min(4))];
    let mut stores: Vec<_> = (0..rng.below(3)).map(|_| (recent(rng), rng.pick(&DType::ALL))).collect();
    let reduced = [ReduceFn::Sum, ReduceFn::Min, ReduceFn::Max];
    let reductions: Vec<_> = (0..rng.below(3)).map(|_| (rng.pick(&reduced), recent(rng))).collect();
    if stores.is_empty() && reductions.is_empty() {
        stores.push((recent(rng), DType::BF16));
    }
    Kernel { name, operands, params, keys, cuts, body, stores, reductions }
}

fn empty() -> Kernel {
    Kernel {
        name: String::new(),
        operands: vec![],
        params: 0,
        keys: 0,
        cuts: 0,
        body: vec![],
        stores: vec![],
        reductions: vec![],
    }
}

/// Compares a compiled kernel with the interpreter on several extents.
fn agree(kernel: &Kernel, compiled: &[(&str, KernelFn)], seed: u64, extents: &[(usize, usize, u64)]) {
    let mut rng = Rng(seed);
    for &(rows, cols, first) in extents {
        let call = Call::random(&mut rng, kernel, rows, cols, first);
        // SAFETY: the call's buffers have the extents of the kernel's signature.
        let expected = call.run(kernel, |args| unsafe { interpret(kernel, args) });
        for (cpu, f) in compiled {
            // SAFETY: as above.
            let got = call.run(kernel, |args| unsafe { f(args) });
            assert!(
                got.1 == expected.1,
                "{cpu}, {rows} x {cols} from {first}, seed {seed}: partials {:x?}, not {:x?}\n{}",
                got.1,
                expected.1,
                print(kernel)
            );
            for (i, (got, expected)) in got.0.iter().zip(&expected.0).enumerate() {
                assert!(got == expected, "{cpu}, {rows} x {cols} from {first}, seed {seed}: store {i}\n{}", print(kernel));
            }
        }
    }
}

fn load(kernels: &[Kernel], cpu: &Cpu) -> Jit {
    for kernel in kernels {
        assert_eq!(verify(kernel), Vec::<String>::new(), "{}", print(kernel));
    }
    Jit::load(&compile(kernels, cpu).unwrap()).unwrap()
}

const EXTENTS: [(usize, usize, u64); 16] = [
    (0, 0, 0),
    (1, 0, 0),
    (1, 1, 0),
    (1, 63, 64),
    (1, 64, 128),
    (1, 65, 0),
    (1, 127, 4096),
    (1, 200, 77),
    (1, 4096 + 101, 8192),
    (3, 0, 0),
    (5, 1, 3),
    (4, 7, 0),
    (3, 64, 64),
    (2, 192, 0),
    (3, 131, 1 << 40),
    (2, 67, (1 << 36) - 64),
];

/// `MERGE_TEST_SEED` tries other kernels.
fn random_kernels(seed: u64, count: usize, size: usize) {
    let seed = std::env::var("MERGE_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(seed);
    println!("seed {seed}");
    let mut rng = Rng(seed);
    let kernels: Vec<Kernel> = (0..count).map(|i| random_kernel(&mut rng, format!("k{i}"), 5 + i % size)).collect();
    let (host, old) = (load(&kernels, &Cpu::Host), load(&kernels, &default_cpu()));
    for (i, kernel) in kernels.iter().enumerate() {
        let compiled = [("host", host.kernel(&kernel.name).unwrap()), ("oldest", old.kernel(&kernel.name).unwrap())];
        agree(kernel, &compiled, seed + i as u64, &EXTENTS);
    }
}

#[test]
fn small_random_kernels() {
    random_kernels(20_260_729, 60, 12);
}

#[test]
fn large_random_kernels() {
    random_kernels(7, 24, 40);
}

/// Every storage dtype through the identity, over all of its bit patterns where there are at most 2¹⁶.
#[test]
fn conversions() {
    let mut kernels = Vec::new();
    for (i, from) in DType::ALL.into_iter().enumerate() {
        let text = format!(
            "kernel load{i}\noperand 0: {} dense\n%0 = load 0\nstore f32 %0\nstore f64 %0\nstore f16 %0\nstore bf16 %0",
            from.word()
        );
        kernels.push(parse(&text).unwrap());
    }
    let (host, old) = (load(&kernels, &Cpu::Host), load(&kernels, &default_cpu()));
    for kernel in &kernels {
        let compiled = [("host", host.kernel(&kernel.name).unwrap()), ("oldest", old.kernel(&kernel.name).unwrap())];
        agree(kernel, &compiled, 1, &[(1, 3001, 0)]);
        let dtype = kernel.operands[0].dtype;
        if dtype.size() > 2 {
            continue;
        }
        let count = 1usize << (8 * dtype.size());
        let mut all = common::Bytes::new(count * dtype.size() as usize, 0);
        for bits in 0..count {
            all.put(bits * dtype.size() as usize, &(bits as u16).to_le_bytes()[..dtype.size() as usize]);
        }
        let call = Call { rows: 1, cols: count, first: 0, operands: vec![all], params: vec![], keys: vec![], cuts: vec![] };
        // SAFETY: one operand of `count` entries.
        let expected = call.run(kernel, |args| unsafe { interpret(kernel, args) });
        for (cpu, f) in compiled {
            // SAFETY: as above.
            assert!(call.run(kernel, |args| unsafe { f(args) }) == expected, "{cpu}: {dtype}");
        }
    }
}

/// f32 near the ties of f16 and bf16, subnormals among them.
#[test]
fn rounding_to_halves() {
    let mut items = Vec::new();
    for half in 0..=0xffffu16 {
        for base in [half::f16::from_bits(half).to_f32().to_bits(), half::bf16::from_bits(half).to_f32().to_bits()] {
            // Half a place of either format, and its neighbours.
            for step in [0i32, 1, -1, 0xfff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001] {
                items.push(base.wrapping_add(step as u32));
            }
        }
    }
    stores_agree(&[DType::F16, DType::BF16], &items);
}

/// f32 at and beside the ties of 8-bit floats, which f16 can hold, and whole numbers and halves beside the limits of all
/// integers, which are powers of two.
#[test]
fn rounding_to_eight_bits_and_to_integers() {
    let mut items = Vec::new();
    for half in 0..=0xffffu16 {
        let (fine, wide) = (half::f16::from_bits(half).to_f32().to_bits(), half::bf16::from_bits(half).to_f32().to_bits());
        items.extend([fine, fine.wrapping_add(1), fine.wrapping_sub(1), wide, wide.wrapping_sub(1)]);
    }
    let rest = |d: &DType| !matches!(d, DType::F64 | DType::F32 | DType::F16 | DType::BF16);
    stores_agree(&DType::ALL.into_iter().filter(rest).collect::<Vec<_>>(), &items);
}

/// What one entry becomes, as far as it is written down somewhere.
#[test]
fn known_stores() {
    let of = |dtype: DType, x: f32| {
        let kernel = parse(&format!("kernel k\noperand 0: f32 dense\n%0 = load 0\nstore {} %0", dtype.word())).unwrap();
        let mut bytes = common::Bytes::new(4, 0);
        bytes.put(0, &x.to_ne_bytes());
        let call = Call { rows: 1, cols: 1, first: 0, operands: vec![bytes], params: vec![], keys: vec![], cuts: vec![] };
        // SAFETY: one operand of one entry.
        call.run(&kernel, |args| unsafe { interpret(&kernel, args) }).0[0].first(dtype.size() as usize)
    };
    // The largest of e4m3 is 448; a tie with what would follow goes to it, and what is above is NaN.
    for (x, byte) in
        [(448.0, 0x7e), (464.0, 0x7e), (464.1, 0x7f), (1.0, 0x38), (-0.0, 0x80), (2f32.powi(-10), 0), (2f32.powi(-9), 1)]
    {
        assert_eq!(of(DType::F8E4M3, x), [byte], "{x}");
    }
    for (x, byte) in [(57344.0, 0x7b), (61439.0, 0x7b), (61440.0, 0x7c), (f32::NAN, 0x7f), (1.125, 0x3c), (1.375, 0x3e)] {
        assert_eq!(of(DType::F8E5M2, x), [byte], "{x}");
    }
    assert_eq!(of(DType::I8, -1.9), [0xff]);
    assert_eq!(of(DType::I8, 1e9), [0x7f]);
    assert_eq!(of(DType::U8, -3.0), [0]);
    assert_eq!(of(DType::I32, f32::NAN), [0; 4]);
    assert_eq!(of(DType::U64, f32::INFINITY), [0xff; 8]);
    assert_eq!(of(DType::I64, 16_777_216.0), 16_777_216i64.to_le_bytes());
}

/// Compares what compiled kernels make of these entries with what the interpreter does.
fn stores_agree(dtypes: &[DType], items: &[u32]) {
    let stores: Vec<String> = dtypes.iter().map(|d| format!("store {} %0", d.word())).collect();
    let kernel = parse(&format!("kernel k\noperand 0: f32 dense\n%0 = load 0\n{}", stores.join("\n"))).unwrap();
    let (host, old) = (load(std::slice::from_ref(&kernel), &Cpu::Host), load(std::slice::from_ref(&kernel), &default_cpu()));
    let compiled = [("host", host.kernel("k").unwrap()), ("oldest", old.kernel("k").unwrap())];
    let mut bytes = common::Bytes::new(items.len() * 4, 0);
    for (i, bits) in items.iter().enumerate() {
        bytes.put(i * 4, &bits.to_ne_bytes());
    }
    let call = Call { rows: 1, cols: items.len(), first: 0, operands: vec![bytes], params: vec![], keys: vec![], cuts: vec![] };
    // SAFETY: one operand of as many entries as columns.
    let expected = call.run(&kernel, |args| unsafe { interpret(&kernel, args) });
    for (cpu, f) in compiled {
        // SAFETY: as above.
        let got = call.run(&kernel, |args| unsafe { f(args) });
        for ((dtype, got), expected) in dtypes.iter().zip(&got.0).zip(&expected.0) {
            assert!(got == expected, "{cpu}, {dtype}");
        }
    }
}

/// Tiles of a tensor give the bytes of the whole, wherever they are cut at multiples of the block.
#[test]
fn tiles_do_not_show() {
    let text = "kernel k\noperand 0: bf16 dense\nparams 0, keys 2, cuts 1\n\
        %0 = load 0\n%1 = uniform 0\n%2 = uniform 1\n%3 = cmp.lt %1, %2\n%4 = index_le 0\n%5 = mask.and %3, %4\n\
        %6 = coord 3 1000\n%7 = select %5, %0, %6\nstore f32 %7";
    let kernel = parse(text).unwrap();
    let jit = load(std::slice::from_ref(&kernel), &Cpu::Host);
    let f = jit.kernel("k").unwrap();
    let total = 3 * 4096 + 517;
    let call = Call::random(&mut Rng(3), &kernel, 1, total, 0);
    // SAFETY: the buffers are those of the call.
    let (whole, _) = call.run(&kernel, |args| unsafe { f(args) });
    for tile in [64usize, 192, 4096, 100] {
        let (parts, _) = call.run(&kernel, |args| {
            for at in (0..total).step_by(tile) {
                // SAFETY: a piece of the whole, which ends within it.
                unsafe {
                    let operands = [(*args.operands).add(2 * at)];
                    let stores = [(*args.stores).add(4 * at)];
                    f(&merge_abi::KernelArgs {
                        operands: operands.as_ptr(),
                        stores: stores.as_ptr(),
                        first: at as u64,
                        cols: tile.min(total - at) as u64,
                        ..*args
                    });
                }
            }
        });
        assert!(parts == whole, "tiles of {tile}");
    }
}
