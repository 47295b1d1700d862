//! Attention over cached keys against its slow twin, on every instruction set here.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::kernels::dispatch::same_on_every_instruction_set;
use crate::kernels::reference;
use half::f16;

/// Values near a bell curve, different for each seed.
fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..len)
        .map(|_| uniform() + uniform() + uniform() + uniform())
        .collect()
}

/// A cache `[kv_heads, positions, channels]` or, with `by_position`, `[positions, kv_heads, channels]`.
fn shape_of(
    (heads, kv_heads, channels): (usize, usize, usize),
    positions: usize,
    by_position: bool,
) -> AttentionShape {
    let (position_stride, head_stride) = if by_position {
        (kv_heads, 1)
    } else {
        (1, positions)
    };
    AttentionShape {
        heads,
        kv_heads,
        channels,
        query_scale: 1.7,
        softcap: None,
        position_stride,
        head_stride,
    }
}

const SHAPES: [(usize, usize, usize); 5] =
    [(1, 1, 1), (2, 1, 15), (4, 2, 16), (6, 2, 33), (7, 7, 64)];
const LENGTHS: [usize; 7] = [1, 2, 15, 31, 32, 33, 97];

/// Calls `check` with every shape, layout, softcap and window worth a test.
fn every_case(mut check: impl FnMut(AttentionShape, Range<usize>)) {
    for heads in SHAPES {
        for positions in LENGTHS {
            for (by_position, softcap) in [(false, None), (true, None), (true, Some(3.0))] {
                for start in [0, positions / 2] {
                    let mut shape = shape_of(heads, positions, by_position);
                    shape.softcap = softcap;
                    check(shape, start..positions);
                }
            }
        }
    }
}

fn run(
    queries: &[f32],
    caches: (CacheRows<'_>, CacheRows<'_>),
    shape: &AttentionShape,
    seen: &Range<usize>,
) -> Vec<f32> {
    let mut output = vec![f32::NAN; queries.len()];
    attend(
        &mut output,
        queries,
        caches,
        shape,
        seen.clone(),
        &mut Vec::new(),
    );
    output
}

#[test]
fn f32_is_within_rounding_of_its_f64_twin() {
    every_case(|shape, seen| {
        let queries = noise(shape.heads * shape.channels, 1);
        let len = shape.kv_heads * seen.end * shape.channels;
        let (keys, values) = (noise(len, 2), noise(len, 3));
        let caches = (CacheRows::F32(&keys), CacheRows::F32(&values));
        let found = run(&queries, caches, &shape, &seen);
        let expected = reference::attend(&queries, &keys, &values, &shape, seen.clone());
        for (found, expected) in found.iter().zip(&expected) {
            let error = (f64::from(*found) - expected).abs();
            // Scores are below 2^6 and rounded 64 times at most; values are below 2.
            assert!(
                error < 2e-5,
                "{found} is not {expected}: {shape:?} {seen:?}"
            );
        }
    });
}

#[test]
fn narrow_rows_give_what_their_values_give() {
    every_case(|shape, seen| {
        let queries = noise(shape.heads * shape.channels, 4);
        let len = shape.kv_heads * seen.end * shape.channels;
        let mut half = vec![f16::ZERO; len];
        store_f16(&mut half, &noise(len, 5));
        let mut widened = vec![0.0; len];
        load_f16(&mut widened, &half);
        let found = run(
            &queries,
            (CacheRows::F16(&half), CacheRows::F16(&half)),
            &shape,
            &seen,
        );
        let caches = (CacheRows::F32(&widened), CacheRows::F32(&widened));
        assert_eq!(found, run(&queries, caches, &shape, &seen), "f16 {shape:?}");

        let mut codes = vec![0; len];
        let mut scales = vec![0.0; len / shape.channels];
        store_int8(&mut codes, &mut scales, &noise(len, 6), shape.channels);
        load_int8(&mut widened, &codes, &scales, shape.channels);
        let rows = CacheRows::Int8 {
            codes: &codes,
            scales: &scales,
        };
        let found = run(&queries, (rows, rows), &shape, &seen);
        let expected = reference::attend(&queries, &widened, &widened, &shape, seen.clone());
        for (found, expected) in found.iter().zip(&expected) {
            let error = (f64::from(*found) - expected).abs();
            assert!(
                error < 2e-5,
                "i8: {found} is not {expected}: {shape:?} {seen:?}"
            );
        }
    });
}

#[test]
fn every_instruction_set_and_thread_count_gives_the_same_bits() {
    let shape = shape_of((6, 3, 72), 1300, true);
    let len = shape.kv_heads * 1300 * shape.channels;
    let queries = noise(shape.heads * shape.channels, 7);
    let (keys, values) = (noise(len, 8), noise(len, 9));
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    };
    let caches = (CacheRows::F32(&keys), CacheRows::F32(&values));
    let one = pool(1).install(|| run(&queries, caches, &shape, &(0..1300)));
    let three = pool(3).install(|| run(&queries, caches, &shape, &(0..1300)));
    assert_eq!(one, three);

    // Short enough to stay on this thread, where the instruction set is chosen.
    same_on_every_instruction_set(|| {
        let mut half = vec![f16::ZERO; len];
        store_f16(&mut half, &keys);
        let mut codes = vec![0; len];
        let mut scales = vec![0.0; len / shape.channels];
        store_int8(&mut codes, &mut scales, &values, shape.channels);
        let rows = CacheRows::Int8 {
            codes: &codes,
            scales: &scales,
        };
        let mixed = run(&queries, (CacheRows::F16(&half), rows), &shape, &(3..200));
        let plain = run(&queries, caches, &shape, &(3..200));
        (half, codes, scales, mixed, plain)
    });
}

#[test]
fn nothing_seen_is_zero_and_one_position_is_its_value() {
    let shape = shape_of((4, 2, 5), 3, false);
    let queries = noise(20, 10);
    let values = noise(30, 11);
    let caches = (CacheRows::F32(&values), CacheRows::F32(&values));
    assert_eq!(run(&queries, caches, &shape, &(2..2)), [0.0; 20]);
    let found = run(&queries, caches, &shape, &(1..2));
    for head in 0..4 {
        let row = shape.row(head / 2, 1) * 5;
        assert_eq!(
            found[head * 5..][..5],
            values[row..][..5],
            "query head {head}"
        );
    }
}

#[test]
fn large_scores_stay_finite_and_nan_is_not_hidden() {
    let shape = shape_of((1, 1, 4), 40, false);
    let mut keys: Vec<f32> = noise(160, 12).iter().map(|x| x * 1e18).collect();
    let values = noise(160, 13);
    let queries = [1e18; 4];
    let found = run(
        &queries,
        (CacheRows::F32(&keys), CacheRows::F32(&values)),
        &shape,
        &(0..40),
    );
    assert!(found.iter().all(|value| value.is_finite()), "{found:?}");
    keys[7] = f32::NAN;
    let found = run(
        &queries,
        (CacheRows::F32(&keys), CacheRows::F32(&values)),
        &shape,
        &(0..40),
    );
    assert!(found.iter().all(|value| value.is_nan()), "{found:?}");
}

#[test]
fn f16_rows_are_rounded_as_the_half_crate_rounds() {
    let special = [
        0.0,
        -0.0,
        65504.0,
        65520.0,
        -1e9,
        6e-8,
        2.9e-8,
        1e-40,
        f32::INFINITY,
        f32::NAN,
    ];
    let mut values: Vec<f32> = noise(1000, 14).iter().map(|x| x * 1e-3).collect();
    values.extend(special);
    let mut half = vec![f16::ZERO; values.len()];
    store_f16(&mut half, &values);
    let mut back = vec![0.0; values.len()];
    load_f16(&mut back, &half);
    for ((value, half), back) in values.iter().zip(&half).zip(&back) {
        let expected = f16::from_f32(*value);
        assert!(
            half.to_bits() == expected.to_bits() || value.is_nan() && half.is_nan(),
            "{value}: {half}, not {expected}"
        );
        assert!(
            *back == expected.to_f32() || value.is_nan() && back.is_nan(),
            "{value}: {back}"
        );
    }
    let every: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let mut widened = vec![0.0; every.len()];
    load_f16(&mut widened, &every);
    for (half, found) in every.iter().zip(&widened) {
        assert!(
            found.to_bits() == half.to_f32().to_bits() || half.is_nan() && found.is_nan(),
            "{:#x}",
            half.to_bits()
        );
    }
}

#[test]
fn i8_rows_are_within_half_a_step() {
    for channels in [1, 7, 16, 33, 128] {
        let source = noise(channels * 5, 15);
        let mut codes = vec![0; source.len()];
        let mut scales = vec![0.0; 5];
        store_int8(&mut codes, &mut scales, &source, channels);
        let mut back = vec![0.0; source.len()];
        load_int8(&mut back, &codes, &scales, channels);
        for (index, (value, back)) in source.iter().zip(&back).enumerate() {
            let step = scales[index / channels];
            assert!(
                (value - back).abs() <= step * 0.50001,
                "{value} became {back} in steps of {step}"
            );
        }
    }
    let mut codes = [9; 4];
    let mut scales = [9.0; 2];
    store_int8(&mut codes, &mut scales, &[0.0, 0.0, 1.0, f32::NAN], 2);
    assert_eq!((codes, scales[0]), ([0; 4], 0.0));
    assert!(scales[1].is_nan());
}
