//! Q6_K: 256 values as 6-bit codes around zero, each 16 with an 8-bit scale.
//!
//! ```text
//! byte 0                  128               192           208   210
//!      | low four bits    | high two bits   | 16 scales   | d   |
//! low:  byte 64h + j holds value 128h + j low, 128h + 64 + j high (j < 64)
//! high: bits 2s and 2s+1 of byte 32h + j are value 128h + 32s + j
//! ```

use super::plain::{half_at, put_half};
use super::search::{nearest, side_by_side, symmetric};
use super::super_block::VALUES;

const BYTES: usize = 210;

/// Values that share a scale.
const SHARE: usize = 16;

pub(super) fn decode_q6_k(block: &[u8; BYTES], values: &mut [f32; VALUES]) {
    for (share, values) in values.chunks_exact_mut(SHARE).enumerate() {
        let scale = step(block, share);
        let (half, run, place) = (share / 8, share % 8 / 2, share % 2 * SHARE);
        let low = &block[half * 64 + run % 2 * 32 + place..][..SHARE];
        let high = &block[128 + half * 32 + place..][..SHARE];
        for ((value, low), high) in values.iter_mut().zip(low).zip(high) {
            let code = (low >> (run / 2 * 4) & 15) | (high >> (2 * run) & 3) << 4;
            *value = scale * f32::from(code as i8 - 32);
        }
    }
}

pub(super) fn step(block: &[u8], share: usize) -> f32 {
    half_at(block, 208) * f32::from(block[192 + share] as i8)
}

pub(super) fn encode_q6_k(row: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
    let (blocks, _) = bytes.as_chunks_mut::<BYTES>();
    let (rows, _) = row.as_chunks::<VALUES>();
    for (index, (block, values)) in blocks.iter_mut().zip(rows).enumerate() {
        let importance = importance.map(|all| &all[index * VALUES..][..VALUES]);
        match codes_of(values, importance, block) {
            Some(codes) => put_codes(&codes, block),
            None => block.fill(0),
        }
    }
}

/// Fills the scales of `block` and gives the codes, 0 to 63; `None` where all values are zero.
fn codes_of(
    values: &[f32; VALUES],
    importance: Option<&[f32]>,
    block: &mut [u8],
) -> Option<[u8; VALUES]> {
    let mut squares = [0.0; VALUES];
    let weights = importance.unwrap_or_else(|| {
        squares = values.map(|value| value * value);
        &squares
    });
    let mut codes = [0; VALUES];
    let mut scales = [0.0f32; 16];
    for half in 0..2 {
        let part = half * 128..half * 128 + 128;
        let (x, w) = (
            side_by_side(&values[part.clone()]),
            side_by_side(&weights[part.clone()]),
        );
        let found = symmetric::<SHARE>(&x, &w, 32.0);
        scales[half * 8..half * 8 + 8].copy_from_slice(&found.scale);
        for (place, code) in codes[part.clone()].iter_mut().enumerate() {
            *code = found.code(place / SHARE, values[part.start + place]);
        }
    }
    let (mut amount, mut largest) = (0.0, 0.0);
    for scale in scales {
        if scale.abs() > amount {
            (amount, largest) = (scale.abs(), scale);
        }
    }
    if amount < 1e-15 {
        return None;
    }
    let inverse = -128.0 / largest;
    put_half(block, 208, 1.0 / inverse);
    for (byte, scale) in block[192..208].iter_mut().zip(scales) {
        *byte = nearest(inverse * scale).min(127) as u8;
    }
    for (place, code) in codes.iter_mut().enumerate() {
        let scale = step(block, place / SHARE);
        if scale != 0.0 {
            *code = (nearest(values[place] / scale).clamp(-32, 31) + 32) as u8;
        }
    }
    Some(codes)
}

pub(super) fn stored_codes(block: &[u8]) -> [u8; VALUES] {
    std::array::from_fn(|place| {
        let low = block[place / 128 * 64 + place % 64] >> (place / 64 % 2 * 4) & 15;
        let high = block[128 + place / 128 * 32 + place % 32] >> (place / 32 % 4 * 2) & 3;
        low | high << 4
    })
}

pub(super) fn put_codes(codes: &[u8; VALUES], block: &mut [u8]) {
    let (low, high) = block[..192].split_at_mut(128);
    for (half, codes) in codes.chunks_exact(128).enumerate() {
        for (place, byte) in low[half * 64..half * 64 + 64].iter_mut().enumerate() {
            *byte = (codes[place] & 15) | (codes[place + 64] & 15) << 4;
        }
        for (place, byte) in high[half * 32..half * 32 + 32].iter_mut().enumerate() {
            *byte = codes[place] >> 4
                | codes[place + 32] >> 4 << 2
                | codes[place + 64] >> 4 << 4
                | codes[place + 96] >> 4 << 6;
        }
    }
}
