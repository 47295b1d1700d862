//! ggml's own bytes (`tests/interop/golden.py` prints them), and what must hold of any numbers.

#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

/// Sums of four draws of a linear congruence, exact in f32.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as i32 - 32768
    };
    (0..count)
        .map(|_| (0..4).map(|_| draw()).sum::<i32>() as f32 / 65536.0)
        .collect()
}

fn golden_values() -> (Vec<f32>, Vec<f32>) {
    let mut values = numbers(512, 1);
    values[96..128].fill(0.0);
    let importance = numbers(512, 2)
        .into_iter()
        .map(|value| value.abs() + 0.0625);
    (values, importance.collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn bytes_are_those_of_ggml() {
    let (values, importance) = golden_values();
    let mut seen = 0;
    for line in include_str!("tests/golden.txt").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [word, mode, expected] = words[..] else {
            panic!("three words in a line: {line}");
        };
        let kind = GgmlType::of_word(word).unwrap();
        let mut found = match mode {
            "plain" => encode(kind, 256, &values[..256], None),
            _ => encode(kind, 512, &values, Some(&importance)),
        };
        let mut expected = expected.to_owned();
        if (kind, mode) == (GgmlType::IQ4_NL, "plain") {
            // ggml leaves the codes of a block of zeros as they were in memory.
            found.drain(3 * 18 + 2..4 * 18);
            expected.replace_range(2 * (3 * 18 + 2)..2 * 4 * 18, "");
        }
        assert_eq!(hex(&found), expected, "{word} {mode}");
        seen += 1;
    }
    assert_eq!(seen, 24, "lines");
}

#[test]
fn words_and_numbers_come_back() {
    for kind in GgmlType::ALL {
        assert_eq!(GgmlType::of_word(kind.word()), Some(kind));
        assert_eq!(GgmlType::of_word(&kind.word().to_lowercase()), Some(kind));
        assert_eq!(GgmlType::of_number(kind.number()), Some(kind));
    }
    assert_eq!(GgmlType::of_number(4), None);
    assert_eq!(GgmlType::Q4_K.bytes_of(512), Some(288));
    assert_eq!(GgmlType::Q4_K.bytes_of(500), None);
    assert_eq!(GgmlType::F32.bytes_of(u64::MAX), None);
}

/// Largest error of a value in units of its block's largest amount, with room for quantized scales.
fn bound(kind: GgmlType) -> f32 {
    match kind {
        GgmlType::F32 => 0.0,
        GgmlType::F16 => 1e-3,
        GgmlType::BF16 => 1e-2,
        GgmlType::Q8_0 => 0.01,
        GgmlType::Q6_K => 0.1,
        GgmlType::Q5_0 | GgmlType::Q5_1 | GgmlType::Q5_K => 0.15,
        GgmlType::Q4_0 | GgmlType::Q4_1 | GgmlType::Q4_K | GgmlType::IQ4_NL => 0.35,
        GgmlType::Q3_K => 0.6,
        GgmlType::Q2_K => 1.1,
    }
}

fn round_trip(kind: GgmlType, values: &[f32], importance: Option<&[f32]>) -> Vec<f32> {
    let bytes = encode(kind, values.len(), values, importance);
    let mut back = vec![f32::NAN; values.len()];
    decode(kind, &bytes, &mut back);
    back
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn values_come_back_about_as_they_were(seed in any::<u32>(), scale in -6i32..6) {
        let scale = 2f32.powi(scale);
        let values: Vec<f32> = numbers(256, seed).iter().map(|value| value * scale).collect();
        let importance: Vec<f32> = numbers(256, !seed).iter().map(|value| value.abs()).collect();
        for kind in GgmlType::ALL {
            for importance in [None, Some(importance.as_slice())] {
                let back = round_trip(kind, &values, importance);
                for (block, (values, back)) in values.chunks(32).zip(back.chunks(32)).enumerate() {
                    let largest = values.iter().fold(1e-3 * scale, |most, value| value.abs().max(most));
                    for (value, back) in values.iter().zip(back) {
                        prop_assert!(
                            (value - back).abs() <= bound(kind) * 2.0 * largest + 1e-4 * scale,
                            "{kind} block {block}: {value} became {back} (largest {largest})"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn rows_do_not_know_of_each_other(seed in any::<u32>()) {
        let values = numbers(1024, seed);
        let importance: Vec<f32> = numbers(512, !seed).iter().map(|value| value.abs()).collect();
        for kind in GgmlType::ALL {
            let whole = encode(kind, 512, &values, Some(&importance));
            let row = encode(kind, 512, &values[512..], Some(&importance));
            prop_assert!(whole.ends_with(&row), "{kind}");
        }
    }
}

#[test]
fn zeros_constants_and_dead_inputs_stay_finite() {
    let dead = vec![0.0; 256];
    for kind in GgmlType::ALL {
        for values in [vec![0.0; 256], vec![1.0; 256], vec![-3.0; 256]] {
            for importance in [None, Some(dead.as_slice())] {
                let back = round_trip(kind, &values, importance);
                assert!(
                    back.iter().all(|value| value.is_finite()),
                    "{kind} of {}: {:?}",
                    values[0],
                    &back[..4]
                );
                if importance.is_none() {
                    let error = (back[7] - values[7]).abs();
                    assert!(
                        error <= 0.02 * values[7].abs(),
                        "{kind}: {} became {}",
                        values[7],
                        back[7]
                    );
                }
            }
        }
    }
}

#[test]
fn any_bytes_decode() {
    for kind in GgmlType::ALL {
        let bytes: Vec<u8> = (0..kind.bytes_of(256).unwrap())
            .map(|at| (at * 37 + 11) as u8)
            .collect();
        let mut values = vec![0.0; 256];
        decode(kind, &bytes, &mut values);
    }
}
