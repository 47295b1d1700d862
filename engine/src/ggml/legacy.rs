//! Blocks of 32 values with one scale: Q8_0, Q4_0, Q5_0 around zero, Q4_1 and Q5_1 with a least value.
//!
//! ```text
//! Q8_0  d:2  32 codes                                   value = d code
//! Q4_0  d:2  16 bytes of codes                          value = d (code - 8)
//! Q4_1  d:2  m:2  16 bytes of codes                     value = d code + m
//! Q5_0  d:2  32 fifth bits  16 bytes of codes           value = d (code - 16)
//! Q5_1  d:2  m:2  32 fifth bits  16 bytes of codes      value = d code + m
//! ```
//! Byte j of the codes holds value j low and value 16 + j high; bit j of the fifth bits belongs to value j.

use super::GgmlType;
use super::plain::{half_at, put_half};
use super::search::{LANES, side_by_side, symmetric, thorough, with_min};
use super::super_block::{square_sum, weigh};

const VALUES: usize = 32;

type Codes = [u8; VALUES];

pub(super) fn decode_q8_0(block: &[u8; 34], values: &mut [f32; VALUES]) {
    let scale = half_at(block, 0);
    for (value, &code) in values.iter_mut().zip(&block[2..]) {
        *value = f32::from(code as i8) * scale;
    }
}

pub(super) fn decode_q4_0(block: &[u8; 18], values: &mut [f32; VALUES]) {
    let scale = half_at(block, 0);
    for (value, code) in values.iter_mut().zip(codes_at(&block[2..], None)) {
        *value = f32::from(code as i8 - 8) * scale;
    }
}

pub(super) fn decode_q4_1(block: &[u8; 20], values: &mut [f32; VALUES]) {
    let (scale, min) = (half_at(block, 0), half_at(block, 2));
    for (value, code) in values.iter_mut().zip(codes_at(&block[4..], None)) {
        *value = f32::from(code) * scale + min;
    }
}

pub(super) fn decode_q5_0(block: &[u8; 22], values: &mut [f32; VALUES]) {
    let scale = half_at(block, 0);
    for (value, code) in values
        .iter_mut()
        .zip(codes_at(&block[6..], Some(&block[2..6])))
    {
        *value = f32::from(code as i8 - 16) * scale;
    }
}

pub(super) fn decode_q5_1(block: &[u8; 24], values: &mut [f32; VALUES]) {
    let (scale, min) = (half_at(block, 0), half_at(block, 2));
    for (value, code) in values
        .iter_mut()
        .zip(codes_at(&block[8..], Some(&block[4..8])))
    {
        *value = f32::from(code) * scale + min;
    }
}

fn codes_at(low: &[u8], fifths: Option<&[u8]>) -> Codes {
    std::array::from_fn(|place| {
        let code = low[place % 16] >> (place / 16 * 4) & 15;
        match fifths {
            Some(fifths) => code | (fifths[place / 8] >> (place % 8) & 1) << 4,
            None => code,
        }
    })
}

fn put_codes(codes: &Codes, low: &mut [u8]) {
    for (place, byte) in low.iter_mut().enumerate() {
        *byte = (codes[place] & 15) | (codes[place + 16] & 15) << 4;
    }
}

fn put_fifths(codes: &Codes, fifths: &mut [u8]) {
    fifths.fill(0);
    for (place, code) in codes.iter().enumerate() {
        fifths[place / 8] |= (code >> 4) << (place % 8);
    }
}

pub(super) fn encode_q8_0(row: &[f32], bytes: &mut [u8]) {
    let (blocks, _) = bytes.as_chunks_mut::<34>();
    let (rows, _) = row.as_chunks::<VALUES>();
    for (block, values) in blocks.iter_mut().zip(rows) {
        let amount = values
            .iter()
            .fold(0.0f32, |amount, value| amount.max(value.abs()));
        let scale = amount / 127.0;
        let inverse = inverse_of(scale);
        put_half(block, 0, scale);
        for (byte, value) in block[2..].iter_mut().zip(values) {
            *byte = (value * inverse).round() as i8 as u8;
        }
    }
}

fn inverse_of(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

pub(super) fn encode_q4_0(row: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
    each_around_zero::<18>(row, importance, 8.0, bytes, |block, scale, codes| {
        put_half(block, 0, scale);
        put_codes(codes, &mut block[2..]);
    });
}

pub(super) fn encode_q5_0(row: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
    each_around_zero::<22>(row, importance, 16.0, bytes, |block, scale, codes| {
        put_half(block, 0, scale);
        put_fifths(codes, &mut block[2..6]);
        put_codes(codes, &mut block[6..]);
    });
}

pub(super) fn encode_q4_1(row: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
    each_with_min::<20>(
        row,
        importance,
        15.0,
        bytes,
        |block, (scale, min), codes| {
            put_half(block, 0, scale);
            put_half(block, 2, min);
            put_codes(codes, &mut block[4..]);
        },
    );
}

pub(super) fn encode_q5_1(row: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
    each_with_min::<24>(
        row,
        importance,
        31.0,
        bytes,
        |block, (scale, min), codes| {
            put_half(block, 0, scale);
            put_half(block, 2, min);
            put_fifths(codes, &mut block[4..8]);
            put_codes(codes, &mut block[8..]);
        },
    );
}

/// One row of codes that were chosen elsewhere. `steps`: scale and least value of each block (the latter is nothing around
/// zero); codes are those of the type, bytes of Q8_0 in two's complement.
pub(super) fn pack(kind: GgmlType, steps: &[(f32, f32)], codes: &[u8], bytes: &mut [u8]) {
    let (codes, _) = codes.as_chunks::<VALUES>();
    let blocks = bytes.chunks_exact_mut(kind.block_bytes());
    for ((block, codes), &(scale, min)) in blocks.zip(codes).zip(steps) {
        put_half(block, 0, scale);
        match kind {
            GgmlType::Q4_0 => put_codes(codes, &mut block[2..]),
            GgmlType::Q4_1 => {
                put_half(block, 2, min);
                put_codes(codes, &mut block[4..]);
            }
            GgmlType::Q5_0 => {
                put_fifths(codes, &mut block[2..6]);
                put_codes(codes, &mut block[6..]);
            }
            GgmlType::Q5_1 => {
                put_half(block, 2, min);
                put_fifths(codes, &mut block[4..8]);
                put_codes(codes, &mut block[8..]);
            }
            _ => block[2..].copy_from_slice(codes),
        }
    }
}

/// Scale and what is added to `scale code`, and the codes of one block; those of Q8_0 run from 0 too.
pub(super) fn unpack(kind: GgmlType, block: &[u8]) -> ((f32, f32), Codes) {
    let (scale, second) = (half_at(block, 0), half_at(block, 2));
    match kind {
        GgmlType::Q4_0 => ((scale, -8.0 * scale), codes_at(&block[2..], None)),
        GgmlType::Q4_1 => ((scale, second), codes_at(&block[4..], None)),
        GgmlType::Q5_0 => (
            (scale, -16.0 * scale),
            codes_at(&block[6..], Some(&block[2..6])),
        ),
        GgmlType::Q5_1 => ((scale, second), codes_at(&block[8..], Some(&block[4..8]))),
        _ => {
            let codes = std::array::from_fn(|place| block[2 + place] ^ 0x80);
            ((scale, -128.0 * scale), codes)
        }
    }
}

/// Puts codes as `unpack` gives them in place of a block's own.
pub(super) fn replace(kind: GgmlType, codes: &Codes, block: &mut [u8]) {
    match kind {
        GgmlType::Q4_0 => put_codes(codes, &mut block[2..]),
        GgmlType::Q4_1 => put_codes(codes, &mut block[4..]),
        GgmlType::Q5_0 | GgmlType::Q5_1 => {
            let start = if kind == GgmlType::Q5_0 { 2 } else { 4 };
            put_fifths(codes, &mut block[start..start + 4]);
            put_codes(codes, &mut block[start + 4..]);
        }
        _ => block[2..].copy_from_slice(&codes.map(|code| code ^ 0x80)),
    }
}

/// Eight blocks of values and their weights at a time.
fn weighed(row: &[f32], importance: &[f32]) -> (Vec<f32>, usize) {
    let mut weights = vec![0.0; row.len()];
    let spread = square_sum(row) / row.len() as f32;
    weigh(row, importance, spread, &mut weights);
    (weights, LANES * VALUES)
}

fn each_around_zero<const BYTES: usize>(
    row: &[f32],
    importance: Option<&[f32]>,
    half: f32,
    bytes: &mut [u8],
    put: impl Fn(&mut [u8; BYTES], f32, &Codes),
) {
    let (blocks, _) = bytes.as_chunks_mut::<BYTES>();
    let Some(importance) = importance else {
        let (rows, _) = row.as_chunks::<VALUES>();
        for (block, values) in blocks.iter_mut().zip(rows) {
            let (scale, codes) = round_around_zero(values, half);
            put(block, scale, &codes);
        }
        return;
    };
    let (weights, batch) = weighed(row, importance);
    let batches = row.chunks(batch).zip(weights.chunks(batch));
    for (blocks, (values, weights)) in blocks.chunks_mut(LANES).zip(batches) {
        let found = symmetric::<VALUES>(&side_by_side(values), &side_by_side(weights), half);
        let (rows, _) = values.as_chunks::<VALUES>();
        for (lane, (block, values)) in blocks.iter_mut().zip(rows).enumerate() {
            put(
                block,
                found.scale[lane],
                &values.map(|value| found.code(lane, value)),
            );
        }
    }
}

fn each_with_min<const BYTES: usize>(
    row: &[f32],
    importance: Option<&[f32]>,
    levels: f32,
    bytes: &mut [u8],
    put: impl Fn(&mut [u8; BYTES], (f32, f32), &Codes),
) {
    let (blocks, _) = bytes.as_chunks_mut::<BYTES>();
    let Some(importance) = importance else {
        let (rows, _) = row.as_chunks::<VALUES>();
        for (block, values) in blocks.iter_mut().zip(rows) {
            let (steps, codes) = round_from_min(values, levels);
            put(block, steps, &codes);
        }
        return;
    };
    let (weights, batch) = weighed(row, importance);
    let batches = row.chunks(batch).zip(weights.chunks(batch));
    for (blocks, (values, weights)) in blocks.chunks_mut(LANES).zip(batches) {
        let (x, w) = (side_by_side(values), side_by_side(weights));
        let found = with_min::<VALUES, false>(&x, &w, &thorough(levels));
        let (rows, _) = values.as_chunks::<VALUES>();
        for (lane, (block, values)) in blocks.iter_mut().zip(rows).enumerate() {
            let steps = (found.scale[lane], -found.min[lane]);
            put(block, steps, &values.map(|value| found.code(lane, value)));
        }
    }
}

/// Scale and codes without a search: the largest value becomes code 0.
fn round_around_zero(values: &[f32; VALUES], half: f32) -> (f32, Codes) {
    let (mut amount, mut largest) = (0.0, 0.0);
    for &value in values {
        if amount < value.abs() {
            (amount, largest) = (value.abs(), value);
        }
    }
    let scale = largest / -half;
    let inverse = inverse_of(scale);
    let most = 2 * half as i8 - 1;
    let codes = values.map(|value| ((value * inverse + (half + 0.5)) as i8).min(most) as u8);
    (scale, codes)
}

/// Scale, least value and codes without a search.
fn round_from_min(values: &[f32; VALUES], levels: f32) -> ((f32, f32), Codes) {
    let (mut min, mut max) = (f32::MAX, -f32::MAX);
    for &value in values {
        min = if value < min { value } else { min };
        max = if value > max { value } else { max };
    }
    let scale = (max - min) / levels;
    let inverse = inverse_of(scale);
    let codes = values.map(|value| (((value - min) * inverse + 0.5) as u8).min(levels as u8));
    ((scale, min), codes)
}
