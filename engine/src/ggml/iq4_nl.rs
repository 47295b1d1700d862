//! IQ4_NL: 32 values as 4-bit numbers of a fixed table of levels, denser around zero, with one f16 scale.
//!
//! ```text
//! byte 0     2                                        18
//!      | d   | byte j: value j low, value 16 + j high |
//! ```

use super::plain::{half_at, put_half};
use super::super_block::{square_sum, weigh};

const BYTES: usize = 18;
const VALUES: usize = 32;

/// The levels, rising.
const LEVELS: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// Other scales that are tried to either side.
const TRIES: i8 = 7;

pub(super) fn decode_iq4_nl(block: &[u8; BYTES], values: &mut [f32; VALUES]) {
    let scale = half_at(block, 0);
    for (place, code) in block[2..].iter().enumerate() {
        values[place] = scale * f32::from(LEVELS[usize::from(code & 15)]);
        values[place + 16] = scale * f32::from(LEVELS[usize::from(code >> 4)]);
    }
}

pub(super) fn encode_iq4_nl(row: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
    let (blocks, _) = bytes.as_chunks_mut::<BYTES>();
    let (rows, _) = row.as_chunks::<VALUES>();
    for (index, (block, values)) in blocks.iter_mut().zip(rows).enumerate() {
        let importance = importance.map(|all| &all[index * VALUES..][..VALUES]);
        let (scale, inverse) = scale_of(values, importance);
        put_half(block, 0, scale);
        let codes = values.map(|value| nearest_level(inverse * value) as u8);
        for (place, byte) in block[2..].iter_mut().enumerate() {
            *byte = codes[place] | codes[place + 16] << 4;
        }
    }
}

/// The scale, and the factor that brings values to levels.
fn scale_of(values: &[f32; VALUES], importance: Option<&[f32]>) -> (f32, f32) {
    let mut weights = values.map(|value| value * value);
    if let Some(importance) = importance {
        let spread = square_sum(values) * (2.0 / VALUES as f32);
        weigh(values, importance, spread, &mut weights);
    }
    let (mut amount, mut largest) = (0.0, 0.0);
    for &value in values {
        if value.abs() > amount {
            (amount, largest) = (value.abs(), value);
        }
    }
    if amount < 1e-15 {
        return (0.0, 0.0);
    }
    let end = f32::from(LEVELS[0]);
    if importance.is_none() {
        let inverse = 1.0 / (largest / end);
        let (product, square) = projections(values, &weights, inverse);
        return (if square > 0.0 { product / square } else { 0.0 }, inverse);
    }
    let (product, square) = projections(values, &weights, 1.0 / (-largest / end));
    let mut scale = if square > 0.0 { product / square } else { 0.0 };
    let mut best = scale * product;
    for attempt in -TRIES..=TRIES {
        let inverse = (f32::from(attempt) + end) / largest;
        let (product, square) = projections(values, &weights, inverse);
        if square > 0.0 && product * product > best * square {
            scale = product / square;
            best = scale * product;
        }
    }
    (scale, if scale == 0.0 { 0.0 } else { 1.0 / scale })
}

/// Weighted sums of value times level, and of level squared.
fn projections(values: &[f32; VALUES], weights: &[f32; VALUES], inverse: f32) -> (f32, f32) {
    let (mut product, mut square) = (0.0, 0.0);
    for (&value, &weight) in values.iter().zip(weights) {
        let level = f32::from(LEVELS[nearest_level(inverse * value)]);
        product += weight * level * value;
        square += weight * level * level;
    }
    (product, square)
}

/// The number of the level nearest to `value`; of two that are as near, the upper one.
fn nearest_level(value: f32) -> usize {
    let above = LEVELS
        .iter()
        .filter(|&&level| f32::from(level) <= value)
        .count();
    if above == 0 {
        return 0;
    }
    if above == LEVELS.len() {
        return LEVELS.len() - 1;
    }
    let (low, high) = (f32::from(LEVELS[above - 1]), f32::from(LEVELS[above]));
    if value - low < high - value {
        above - 1
    } else {
        above
    }
}
