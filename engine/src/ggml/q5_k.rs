//! Q5_K: 256 values as 5-bit codes, each 32 with a 6-bit scale and a 6-bit least value.
//!
//! ```text
//! byte 0     2       4                    16                        48                        176
//!      | d   | dmin  | scales and mins    | fifth bits: bit r of    | low four bits, as Q4_K  |
//!                                         | byte j is value 32r + j |
//! ```

use super::search::Range;
use super::super_block::{VALUES, encode_with_min, steps};

const BYTES: usize = 176;

const PLAIN: Range = Range {
    levels: 31.0,
    first: -0.5,
    step: 0.1,
    tries: 15,
};

pub(super) fn decode_q5_k(block: &[u8; BYTES], values: &mut [f32; VALUES]) {
    let (fifths, codes) = block[16..].split_at(32);
    for (share, values) in values.chunks_exact_mut(32).enumerate() {
        let (scale, min) = steps(block, share);
        let codes = &codes[share / 2 * 32..][..32];
        for ((value, code), fifth) in values.iter_mut().zip(codes).zip(fifths) {
            let low = (code >> (share % 2 * 4)) & 15;
            *value = scale * f32::from(low | (fifth >> share & 1) << 4) - min;
        }
    }
}

pub(super) fn encode_q5_k(row: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
    let (blocks, _) = bytes.as_chunks_mut::<BYTES>();
    let (rows, _) = row.as_chunks::<VALUES>();
    for (index, (block, values)) in blocks.iter_mut().zip(rows).enumerate() {
        let importance = importance.map(|all| &all[index * VALUES..][..VALUES]);
        let codes = encode_with_min(values, importance, 31.0, &PLAIN, block);
        put_codes(&codes, block);
    }
}

pub(super) fn put_codes(codes: &[u8; VALUES], block: &mut [u8]) {
    let (fifths, output) = block[16..].split_at_mut(32);
    fifths.fill(0);
    for (share, codes) in codes.chunks_exact(32).enumerate() {
        for (fifth, code) in fifths.iter_mut().zip(codes) {
            *fifth |= (code >> 4) << share;
        }
    }
    for (output, codes) in output.chunks_exact_mut(32).zip(codes.chunks_exact(64)) {
        for (place, byte) in output.iter_mut().enumerate() {
            *byte = (codes[place] & 15) | (codes[place + 32] & 15) << 4;
        }
    }
}

pub(super) fn codes_of(block: &[u8]) -> [u8; VALUES] {
    std::array::from_fn(|place| {
        let low = block[48 + place / 64 * 32 + place % 32] >> (place / 32 % 2 * 4) & 15;
        low | (block[16 + place % 32] >> (place / 32) & 1) << 4
    })
}
