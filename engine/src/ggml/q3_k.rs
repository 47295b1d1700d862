//! Q3_K: 256 values as 3-bit codes around zero, each 16 with a 6-bit scale.
//!
//! ```text
//! byte 0                     32                  96                     108   110
//!      | third bits: bit r   | low two bits,     | 16 scales + 32,      | d   |
//!      | of byte j is value  | as Q2_K           | six bits each        |
//!      | 32r + j             |                   |                      |
//! ```

use super::plain::{half_at, put_half};
use super::q2_k::{pack_twos, unpack_twos};
use super::search::{nearest, side_by_side, symmetric};
use super::super_block::{VALUES, square_sum, weigh};

const BYTES: usize = 110;

/// Values that share a scale.
const SHARE: usize = 16;

pub(super) fn decode_q3_k(block: &[u8; BYTES], values: &mut [f32; VALUES]) {
    for (share, values) in values.chunks_exact_mut(SHARE).enumerate() {
        let scale = step(block, share);
        let shift = share % 8 / 2 * 2;
        let place = share % 2 * SHARE;
        let low = &block[32 + share / 8 * 32 + place..][..SHARE];
        let thirds = &block[place..][..SHARE];
        for ((value, low), third) in values.iter_mut().zip(low).zip(thirds) {
            let code = (low >> shift & 3) | (third >> (share / 2) & 1) << 2;
            *value = scale * f32::from(code as i8 - 4);
        }
    }
}

pub(super) fn step(block: &[u8], share: usize) -> f32 {
    half_at(block, 108) * f32::from(unpack_scale(&block[96..108], share))
}

fn unpack_scale(packed: &[u8], share: usize) -> i8 {
    let low = packed[share % 8] >> (share / 8 * 4) & 15;
    let high = packed[8 + share % 4] >> (share / 4 * 2) & 3;
    (low | high << 4) as i8 - 32
}

/// `codes`: scales + 32, 0 to 63.
fn pack_scales(codes: &[u8; 16], packed: &mut [u8]) {
    packed.fill(0);
    for (share, code) in codes.iter().enumerate() {
        packed[share % 8] |= (code & 15) << (share / 8 * 4);
        packed[8 + share % 4] |= (code >> 4) << (share / 4 * 2);
    }
}

pub(super) fn encode_q3_k(row: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
    let (blocks, _) = bytes.as_chunks_mut::<BYTES>();
    let (rows, _) = row.as_chunks::<VALUES>();
    for (index, (block, values)) in blocks.iter_mut().zip(rows).enumerate() {
        let mut codes = match importance {
            Some(all) => weighed(values, &all[index * VALUES..][..VALUES], block),
            None => plain(values, block),
        };
        for (place, code) in codes.iter_mut().enumerate() {
            let scale = step(block, place / SHARE);
            if scale != 0.0 {
                *code = (nearest(values[place] / scale).clamp(-4, 3) + 4) as u8;
            }
        }
        put_codes(&codes, block);
    }
}

pub(super) fn codes_of(block: &[u8]) -> [u8; VALUES] {
    let low = unpack_twos(&block[32..96]);
    std::array::from_fn(|place| low[place] | (block[place % 32] >> (place / 32) & 1) << 2)
}

pub(super) fn put_codes(codes: &[u8; VALUES], block: &mut [u8]) {
    let (thirds, low) = block[..96].split_at_mut(32);
    thirds.fill(0);
    for (run, codes) in codes.chunks_exact(32).enumerate() {
        for (third, code) in thirds.iter_mut().zip(codes) {
            *third |= (code >> 2) << run;
        }
    }
    pack_twos(&codes.map(|code| code & 3), low);
}

/// Fills the scales of `block` and gives the codes of the search, 0 to 7.
fn weighed(values: &[f32; VALUES], importance: &[f32], block: &mut [u8]) -> [u8; VALUES] {
    let mut weights = [0.0; VALUES];
    let spread = 2.0 * square_sum(values) / VALUES as f32;
    weigh(values, importance, spread, &mut weights);
    let (mut scales, mut sums) = ([0.0; 16], [0.0; 16]);
    for (sum, weights) in sums.iter_mut().zip(weights.chunks_exact(SHARE)) {
        *sum = weights.iter().fold(0.0, |sum, weight| sum + weight);
    }
    let mut codes = [0; VALUES];
    for half in 0..2 {
        let part = half * 128..half * 128 + 128;
        let (x, w) = (
            side_by_side(&values[part.clone()]),
            side_by_side(&weights[part.clone()]),
        );
        let found = symmetric::<SHARE>(&x, &w, 4.0);
        scales[half * 8..half * 8 + 8].copy_from_slice(&found.scale);
        for (place, code) in codes[part.clone()].iter_mut().enumerate() {
            *code = found.code(place / SHARE, values[part.start + place]);
        }
    }
    let found = symmetric::<16>(&side_by_side(&scales), &side_by_side(&sums), 32.0);
    let scale_codes = scales.map(|scale| found.code(0, scale));
    pack_scales(&scale_codes, &mut block[96..108]);
    put_half(block, 108, found.scale[0]);
    codes
}

/// The same without importance.
fn plain(values: &[f32; VALUES], block: &mut [u8]) -> [u8; VALUES] {
    let mut codes = [0; VALUES];
    let mut scales = [0.0; 16];
    let (mut amount, mut largest) = (0.0, 0.0);
    for (share, scale) in scales.iter_mut().enumerate() {
        let part = share * SHARE..share * SHARE + SHARE;
        *scale = descend(&values[part.clone()], &mut codes[part]);
        if scale.abs() > amount {
            (amount, largest) = (scale.abs(), *scale);
        }
    }
    block[96..108].fill(0);
    if largest == 0.0 {
        put_half(block, 108, 0.0);
        return codes;
    }
    let inverse = -32.0 / largest;
    let scale_codes =
        scales.map(|scale| ((nearest(inverse * scale) as i8).clamp(-32, 31) + 32) as u8);
    pack_scales(&scale_codes, &mut block[96..108]);
    put_half(block, 108, 1.0 / inverse);
    codes
}

/// Rounds to -4..3, then changes single codes while the error, weighed by squares of values, falls (`make_q3_quants`).
fn descend(values: &[f32], output: &mut [u8]) -> f32 {
    let (mut amount, mut largest) = (0.0, 0.0);
    for &value in values {
        if value.abs() > amount {
            (amount, largest) = (value.abs(), value);
        }
    }
    if amount < 1e-15 {
        return 0.0;
    }
    let inverse = -4.0 / largest;
    let mut codes = [0i32; SHARE];
    let (mut product, mut square) = (0.0, 0.0);
    for (code, &x) in codes.iter_mut().zip(values) {
        *code = nearest(inverse * x).clamp(-4, 3);
        let w = x * x;
        product += w * x * *code as f32;
        square += w * *code as f32 * *code as f32;
    }
    for _ in 0..5 {
        let mut changed = false;
        for (code, &x) in codes.iter_mut().zip(values) {
            let w = x * x;
            let mut without_product = product - w * x * *code as f32;
            if without_product <= 0.0 {
                continue;
            }
            let mut without_square = square - w * *code as f32 * *code as f32;
            let wanted = nearest(x * without_square / without_product).clamp(-4, 3);
            if wanted == *code {
                continue;
            }
            without_product += w * x * wanted as f32;
            without_square += w * wanted as f32 * wanted as f32;
            if without_square > 0.0
                && without_product * without_product * square > product * product * without_square
            {
                *code = wanted;
                (product, square) = (without_product, without_square);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    for (output, code) in output.iter_mut().zip(codes) {
        *output = (code + 4) as u8;
    }
    if square > 0.0 { product / square } else { 0.0 }
}
