//! Q2_K: 256 values as 2-bit codes, each 16 with a 4-bit scale and a 4-bit least value.
//!
//! ```text
//! byte 0                          16                       80    82      84
//!      | min and scale of each 16 | codes                  | d   | dmin  |
//! codes: bits 2s and 2s+1 of byte 32h + j are value 128h + 32s + j
//! ```

use super::plain::{half_at, put_half};
use super::search::{Range, nearest, side_by_side, thorough, with_min};
use super::super_block::{VALUES, quantize_scales, square_sum, weigh};

const BYTES: usize = 84;

/// Values that share a scale.
const SHARE: usize = 16;

const PLAIN: Range = Range {
    levels: 3.0,
    first: -0.5,
    step: 0.1,
    tries: 15,
};

pub(super) fn decode_q2_k(block: &[u8; BYTES], values: &mut [f32; VALUES]) {
    for (share, values) in values.chunks_exact_mut(SHARE).enumerate() {
        let (scale, min) = steps(block, share);
        let shift = share % 8 / 2 * 2;
        let codes = &block[16 + share / 8 * 32 + share % 2 * SHARE..][..SHARE];
        for (value, code) in values.iter_mut().zip(codes) {
            *value = scale * f32::from(code >> shift & 3) - min;
        }
    }
}

pub(super) fn steps(block: &[u8], share: usize) -> (f32, f32) {
    let packed = block[share];
    (
        half_at(block, 80) * f32::from(packed & 15),
        half_at(block, 82) * f32::from(packed >> 4),
    )
}

pub(super) fn encode_q2_k(row: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
    let (blocks, _) = bytes.as_chunks_mut::<BYTES>();
    let (rows, _) = row.as_chunks::<VALUES>();
    for (index, (block, values)) in blocks.iter_mut().zip(rows).enumerate() {
        let importance = importance.map(|all| &all[index * VALUES..][..VALUES]);
        let codes = codes_of(values, importance, block);
        pack_twos(&codes, &mut block[16..80]);
    }
}

/// Puts codes of two bits into 64 bytes.
pub(super) fn pack_twos(codes: &[u8; VALUES], output: &mut [u8]) {
    for (output, codes) in output.chunks_exact_mut(32).zip(codes.chunks_exact(128)) {
        for (place, byte) in output.iter_mut().enumerate() {
            *byte = codes[place]
                | codes[place + 32] << 2
                | codes[place + 64] << 4
                | codes[place + 96] << 6;
        }
    }
}

/// Codes of two bits from 64 bytes.
pub(super) fn unpack_twos(packed: &[u8]) -> [u8; VALUES] {
    std::array::from_fn(|place| packed[place / 128 * 32 + place % 32] >> (place / 32 % 4 * 2) & 3)
}

/// Fills the scales of `block` and gives the codes.
fn codes_of(values: &[f32; VALUES], importance: Option<&[f32]>, block: &mut [u8]) -> [u8; VALUES] {
    let mut weights = [0.0; VALUES];
    match importance {
        Some(importance) => {
            let spread = square_sum(values) / VALUES as f32;
            weigh(values, importance, spread, &mut weights);
        }
        None => {
            for (weight, value) in weights.iter_mut().zip(values) {
                *weight = value.abs();
            }
        }
    }
    let (mut scales, mut mins) = ([0.0; 16], [0.0; 16]);
    let mut codes = [0; VALUES];
    for half in 0..2 {
        let part = half * 128..half * 128 + 128;
        let (x, w) = (
            side_by_side(&values[part.clone()]),
            side_by_side(&weights[part.clone()]),
        );
        let found = match importance {
            Some(_) => with_min::<SHARE, false>(&x, &w, &thorough(3.0)),
            None => with_min::<SHARE, true>(&x, &w, &PLAIN),
        };
        scales[half * 8..half * 8 + 8].copy_from_slice(&found.scale);
        mins[half * 8..half * 8 + 8].copy_from_slice(&found.min);
        for (place, code) in codes[part.clone()].iter_mut().enumerate() {
            *code = found.code(place / SHARE, values[part.start + place]);
        }
    }
    match importance {
        Some(_) => scales_by_search(&scales, &mins, &weights, block),
        None => scales_by_largest(&scales, &mins, block),
    }
    for (place, code) in codes.iter_mut().enumerate() {
        let (scale, min) = steps(block, place / SHARE);
        if scale != 0.0 {
            *code = nearest((values[place] + min) / scale).clamp(0, 3) as u8;
        }
    }
    codes
}

fn scales_by_search(
    scales: &[f32; 16],
    mins: &[f32; 16],
    weights: &[f32; VALUES],
    block: &mut [u8],
) {
    let mut sums = [0.0; 16];
    for (sum, weights) in sums.iter_mut().zip(weights.chunks_exact(SHARE)) {
        *sum = weights.iter().fold(0.0, |sum, weight| sum + weight);
    }
    let (scale, scale_codes) = quantize_scales(scales, &sums, 15);
    let (min, min_codes) = quantize_scales(mins, &sums, 15);
    for (share, byte) in block[..16].iter_mut().enumerate() {
        *byte = scale_codes[share] | min_codes[share] << 4;
    }
    put_half(block, 80, scale);
    put_half(block, 82, min);
}

fn scales_by_largest(scales: &[f32; 16], mins: &[f32; 16], block: &mut [u8]) {
    let codes = |values: &[f32; 16]| {
        let max = values
            .iter()
            .fold(0.0, |max, &value| if value > max { value } else { max });
        match max > 0.0 {
            true => (
                max / 15.0,
                values.map(|value| nearest(15.0 / max * value) as u8),
            ),
            false => (0.0, [0; 16]),
        }
    };
    let ((scale, scale_codes), (min, min_codes)) = (codes(scales), codes(mins));
    for (share, byte) in block[..16].iter_mut().enumerate() {
        *byte = scale_codes[share] | min_codes[share] << 4;
    }
    put_half(block, 80, scale);
    put_half(block, 82, min);
}
