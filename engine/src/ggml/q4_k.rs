//! Q4_K: 256 values as 4-bit codes, each 32 with a 6-bit scale and a 6-bit least value.
//!
//! ```text
//! byte 0     2       4                    16                                       144
//!      | d   | dmin  | scales and mins    | codes: byte j of run r holds value 64r + j low, 64r + 32 + j high |
//! ```

use super::search::Range;
use super::super_block::{VALUES, encode_with_min, steps};

const BYTES: usize = 144;

const PLAIN: Range = Range {
    levels: 15.0,
    first: -1.0,
    step: 0.1,
    tries: 20,
};

pub(super) fn decode_q4_k(block: &[u8; BYTES], values: &mut [f32; VALUES]) {
    for (run, (values, codes)) in values
        .chunks_exact_mut(64)
        .zip(block[16..].chunks_exact(32))
        .enumerate()
    {
        let (low, high) = values.split_at_mut(32);
        let (scale, min) = steps(block, 2 * run);
        for (value, code) in low.iter_mut().zip(codes) {
            *value = scale * f32::from(code & 15) - min;
        }
        let (scale, min) = steps(block, 2 * run + 1);
        for (value, code) in high.iter_mut().zip(codes) {
            *value = scale * f32::from(code >> 4) - min;
        }
    }
}

pub(super) fn encode_q4_k(row: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
    let (blocks, _) = bytes.as_chunks_mut::<BYTES>();
    let (rows, _) = row.as_chunks::<VALUES>();
    for (index, (block, values)) in blocks.iter_mut().zip(rows).enumerate() {
        let importance = importance.map(|all| &all[index * VALUES..][..VALUES]);
        let codes = encode_with_min(values, importance, 15.0, &PLAIN, block);
        put_codes(&codes, block);
    }
}

pub(super) fn put_codes(codes: &[u8; VALUES], block: &mut [u8]) {
    for (output, codes) in block[16..].chunks_exact_mut(32).zip(codes.chunks_exact(64)) {
        for (place, byte) in output.iter_mut().enumerate() {
            *byte = codes[place] | codes[place + 32] << 4;
        }
    }
}

pub(super) fn codes_of(block: &[u8]) -> [u8; VALUES] {
    std::array::from_fn(|place| {
        block[16 + place / 64 * 32 + place % 32] >> (place / 32 % 2 * 4) & 15
    })
}
