//! Round trips, and layers that bitsandbytes 0.50.2 wrote.
#![allow(clippy::unwrap_used)]

use super::super::tests::nf4;
use super::*;
use crate::mask::SparsityPattern;
use proptest::prelude::*;

fn bytes_from(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .map(|digit| char::from(digit).to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn part(suffix: &str, dtype: Dtype, bytes: Vec<u8>) -> Part {
    Part {
        suffix: suffix.to_owned(),
        dtype,
        shape: vec![bytes.len() / dtype.size_bytes()],
        bytes,
    }
}

fn floats_of(values: &[f32]) -> Vec<u8> {
    floats::to_bytes(values, ScaleDtype::F32)
}

fn read(parts: &[Part]) -> Result<Solved, String> {
    let state = parts
        .iter()
        .find(|part| part.suffix.contains("quant_state"));
    let state = parse_state(&state.unwrap().bytes)?;
    let levels = parts.iter().find(|part| part.suffix == suffixes::QUANT_MAP);
    let levels = levels.map_or(&[][..], |part| &part.bytes);
    let layout = Layout::of_state(&state, levels);
    let solved = unpack(layout, state.rows, state.columns, parts)?;
    let kind = CodeKind::of_grid(&solved.grid);
    assert_eq!(kind, layout.code_kind(), "read as it is told");
    Ok(solved)
}

proptest! {
    #[test]
    fn what_is_packed_is_read_again(
        rows in 1usize..9,
        blocks in 1usize..5,
        block in prop::sample::select(vec![64usize, 128]),
        double: bool,
        masked: bool,
        seed: u64,
    ) {
        let columns = block * blocks;
        let mut solved = nf4(rows, columns, block, double, seed);
        solved.mask = masked.then(|| Mask {
            pattern: SparsityPattern::Unstructured,
            columns,
            keep: (0..rows * columns).map(|index| index % 3 > 0).collect(),
        });
        let layout = Layout::nf4(block, double, Dtype::F16);
        let parts = pack("layer", &solved, layout).unwrap();
        let written: u64 = parts.iter().map(|part| part.bytes.len() as u64).sum();
        prop_assert_eq!(Some(written), stored_bytes(layout, rows, columns));
        let found = read(&parts).unwrap().dequantize();
        for (found, expected) in found.data().iter().zip(solved.dequantize().data()) {
            // Doubly quantized maxima are put together in another order.
            let bound = if double { 1e-6 * (1.0 + expected.abs()) } else { 0.0 };
            prop_assert!((found - expected).abs() <= bound, "{found} instead of {expected}");
        }
    }

    #[test]
    fn a_text_has_one_length_and_says_what_it_was_told(bits: u32, rows in 1usize..9000, columns in 1usize..9000) {
        let offset = f32::from_bits(bits);
        prop_assume!(offset.is_finite());
        let layout = Layout::nf4(64, true, Dtype::BF16);
        let state = layout.state(rows, columns, offset);
        let text = state.to_json();
        prop_assert_eq!(text.len(), layout.state(rows, columns, 0.0).to_json().len());
        prop_assert_eq!(parse_state(text.as_bytes()).unwrap(), state);
    }

    #[test]
    fn any_cut_or_flip_is_an_error_or_another_layer(seed: u64, part in 0usize..6, place: prop::sample::Index, cut: bool) {
        let mut parts = pack("layer", &nf4(3, 128, 64, true, seed), Layout::nf4(64, true, Dtype::F32)).unwrap();
        let bytes = &mut parts[part].bytes;
        let place = place.index(bytes.len());
        if cut {
            bytes.truncate(place);
            prop_assert!(read(&parts).is_err());
        } else {
            bytes[place] ^= 0xff;
            let _ = read(&parts);
        }
    }
}

/// `quantize_4bit` of two rows of 64 values, blocks of 64, and values of `dequantize_4bit`.
#[test]
fn layers_that_bitsandbytes_wrote() {
    let codes = "2c5e93c6e93d6ea3d7fb4d7fb4e8fc5e92c5e93c6ea3d6fa4d7fb4e8fb5e82c5\
        e93c6e93d6ea3d7fb4d7fb4e8fc5e92c5e93c6ea3d6fa4d7fb4e8fb5e82c5e93";
    let map = part(suffixes::QUANT_MAP, Dtype::F32, floats_of(&NF4_LEVELS));
    let weight = part(suffixes::WEIGHT, Dtype::U8, bytes_from(codes));
    let plain = [
        weight.clone(),
        part(suffixes::ABSMAX, Dtype::F32, bytes_from("0000203f0000403e")),
        map.clone(),
        part(
            suffixes::STATE_NF4,
            Dtype::U8,
            br#"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [2, 64]}"#
                .to_vec(),
        ),
    ];
    let read_plain = read(&plain).unwrap();
    let again = pack("layer", &read_plain, Layout::nf4(64, false, Dtype::F32)).unwrap();
    let bytes =
        |parts: &[Part]| -> Vec<Vec<u8>> { parts.iter().map(|part| part.bytes.clone()).collect() };
    assert_eq!(bytes(&again), bytes(&plain), "written again");
    let first = [-0.328_170_66, 0.275_443_64, -0.115_483_396, 0.451_848_03];
    let last = [-0.034_645_017, 0.135_554_4, 0.030_174_412, -0.074_047_03];
    let last_double = [-0.034_929_216, 0.136_666_37, 0.030_421_937, -0.074_654_445];
    let mut nested_map = vec![0.0; 256];
    (nested_map[0], nested_map[255]) = (-0.992_968_74, 1.0);
    let double = [
        weight,
        part(suffixes::ABSMAX, Dtype::U8, vec![255, 0]),
        part(suffixes::NESTED_ABSMAX, Dtype::F32, bytes_from("0000603e")),
        part(suffixes::NESTED_QUANT_MAP, Dtype::F32, floats_of(&nested_map)),
        map,
        part(
            suffixes::STATE_NF4,
            Dtype::U8,
            br#"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [2, 64], "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.40625}"#.to_vec(),
        ),
    ];
    for (parts, last) in [(plain.as_slice(), last), (&double, last_double)] {
        let values = read(parts).unwrap().dequantize();
        assert_eq!(values.row(0)[..4], first);
        assert_eq!(values.row(1)[60..], last);
    }
}

#[test]
fn fp4_and_blocks_across_rows_come_as_they_are() {
    let levels: Vec<f32> = (0..16).map(|code| code as f32 / 8.0).collect();
    let weight: Vec<u8> = (0..96).map(|byte| byte as u8).collect();
    let layer = |quant_type: &str, columns: usize, levels: &[f32]| {
        let text = format!(
            r#"{{"quant_type": "{quant_type}", "blocksize": 64, "dtype": "float16", "shape": [{}, {columns}]}}"#,
            192 / columns
        );
        let suffix = format!("weight.quant_state.bitsandbytes__{quant_type}");
        [
            part(suffixes::WEIGHT, Dtype::U8, weight.clone()),
            part(suffixes::ABSMAX, Dtype::F32, floats_of(&[1.0, 2.0, 4.0])),
            part(suffixes::QUANT_MAP, Dtype::F32, floats_of(levels)),
            part(&suffix, Dtype::U8, text.into_bytes()),
        ]
    };
    let cases = [
        ("fp4", 96, levels.as_slice(), true),
        ("nf4", 96, &NF4_LEVELS, false),
        ("nf4", 12, &NF4_LEVELS, true),
        ("nf4", 96, levels.as_slice(), true),
    ];
    for (quant_type, columns, levels, as_floats) in cases {
        let parts = layer(quant_type, columns, levels);
        let solved = read(&parts).unwrap();
        assert_eq!(
            matches!(solved.grid, Grid::Floats(_)),
            as_floats,
            "{quant_type} {columns}"
        );
        let values = solved.dequantize();
        for (index, found) in values.data().iter().enumerate() {
            let code = weight[index / 2] >> (4 * (1 - index % 2)) & 15;
            let expected = levels[usize::from(code)] * [1.0, 2.0, 4.0][index / 64];
            assert_eq!(*found, expected, "{quant_type} {columns}, weight {index}");
        }
    }
}

#[test]
fn hostile_states_are_refused() {
    let cases = [
        (r#"{"quant_type": "nf4"}"#, "cannot be read"),
        ("[", "cannot be read"),
        (
            r#"{"quant_type": "int8", "blocksize": 64, "dtype": "float32", "shape": [2, 64]}"#,
            "int8",
        ),
        (
            r#"{"quant_type": "nf4", "blocksize": 0, "dtype": "float32", "shape": [2, 64]}"#,
            "blocks of",
        ),
        (
            r#"{"quant_type": "nf4", "blocksize": 64, "dtype": "int8", "shape": [2, 64]}"#,
            "dtype",
        ),
        (
            r#"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [2, 3, 64]}"#,
            "shape",
        ),
        (
            r#"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [0, 64]}"#,
            "0 x 64",
        ),
        (
            r#"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [9223372036854775807, 64]}"#,
            "weights",
        ),
        (
            r#"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [2, 64], "nested_blocksize": 256}"#,
            "half",
        ),
        (
            r#"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [2, 64], "nested_blocksize": 256, "nested_offset": 1e300}"#,
            "offset",
        ),
    ];
    for (text, expected) in cases {
        let error = parse_state(text.as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{error} instead of …{expected}…");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let cases = [
        (Method::Gptq, 64, 128, "not gptq"),
        (Method::Nf4, 32, 128, "not 32"),
        (Method::Nf4, 64, 96, "96 inputs, not 64"),
    ];
    for (method, block, columns, expected) in cases {
        let found = unfit(method, block, columns).unwrap().to_string();
        assert!(found.contains(expected), "{found} instead of …{expected}…");
    }
    assert_eq!(unfit(Method::Nf4, 64, 192), None);
    let nearest = [
        ((100, 256), Some(64)),
        ((32, 128), Some(64)),
        ((512, 384), Some(128)),
        ((64, 96), None),
    ];
    for ((block, columns), expected) in nearest {
        assert_eq!(
            nearest_block(block, columns),
            expected,
            "{block} of {columns}"
        );
    }
}
