//! What the types with blocks of 256 values share: weights of errors, scales that are themselves quantized, the packing of
//! 6-bit scales, and the whole search of the two types that have a least value for each 32 values.

use super::plain::{half_at, put_half};
use super::search::{Lanes, Range, nearest, side_by_side, thorough, with_min};

/// Values of a block.
pub(super) const VALUES: usize = 256;

/// Values that share a scale and a least value in Q4_K and Q5_K.
const SHARE: usize = 32;

/// The weight of each value's error: its input's importance, more for values that are large themselves. `spread` is a mean of
/// squares.
pub(super) fn weigh(values: &[f32], importance: &[f32], spread: f32, weights: &mut [f32]) {
    for ((weight, &value), &importance) in weights.iter_mut().zip(values).zip(importance) {
        *weight = importance * (spread + value * value).sqrt();
    }
}

/// Sum of squares, in order.
pub(super) fn square_sum(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |sum, &value| sum + value * value)
}

/// One scale for values of 0 and more, and their codes from 0 to `levels`: a search, then single codes are changed while
/// that helps (`make_qp_quants`).
pub(super) fn quantize_scales<const N: usize>(
    values: &[f32; N],
    weights: &[f32; N],
    levels: i32,
) -> (f32, [u8; N]) {
    let max = values
        .iter()
        .fold(0.0, |max, &value| if max > value { max } else { value });
    if max < 1e-15 {
        return (0.0, [0; N]);
    }
    let inverse = best_inverse(values, weights, levels, max);
    let mut codes = values.map(|value| nearest(inverse * value).min(levels) as u8);
    let (mut product, mut square) = (0.0, 0.0);
    for ((&x, &w), &code) in values.iter().zip(weights).zip(&codes) {
        product += w * x * f32::from(code);
        square += w * f32::from(code) * f32::from(code);
    }
    for _ in 0..5 {
        let mut changed = false;
        for ((&x, &w), code) in values.iter().zip(weights).zip(&mut codes) {
            let old = f32::from(*code);
            let mut without_product = product - w * x * old;
            let mut without_square = square - w * old * old;
            if without_product <= 0.0 || without_square <= 0.0 {
                continue;
            }
            let wanted = nearest(x * without_square / without_product).min(levels);
            if wanted == i32::from(*code) {
                continue;
            }
            without_product += w * x * wanted as f32;
            without_square += w * wanted as f32 * wanted as f32;
            if without_product * without_product * square > product * product * without_square {
                *code = wanted as u8;
                (product, square) = (without_product, without_square);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let scale = if square > 0.0 { product / square } else { 0.0 };
    (scale, codes)
}

fn best_inverse<const N: usize>(
    values: &[f32; N],
    weights: &[f32; N],
    levels: i32,
    max: f32,
) -> f32 {
    let error = |inverse: f32, most: i32| {
        let scale = 1.0 / inverse;
        values.iter().zip(weights).fold(0.0, |sum, (&x, &w)| {
            let code = nearest(inverse * x).min(most);
            let difference = x - scale * code as f32;
            sum + w * difference * difference
        })
    };
    let mut best_inverse = levels as f32 / max;
    let mut best = error(best_inverse, i32::MAX);
    for attempt in (-4i8..=4).filter(|&attempt| attempt != 0) {
        let inverse = (0.1 * f32::from(attempt) + levels as f32) / max;
        let found = error(inverse, levels);
        if found < best {
            (best, best_inverse) = (found, inverse);
        }
    }
    best_inverse
}

/// Puts eight 6-bit scales and eight 6-bit least values into twelve bytes:
/// ```text
/// byte 0..4   high 2 bits of scale 4..8 | scale 0..4
/// byte 4..8   high 2 bits of min 4..8   | min 0..4
/// byte 8..12  low 4 bits of min 4..8    | low 4 bits of scale 4..8
/// ```
fn pack_sixes(scales: &[u8; 8], mins: &[u8; 8]) -> [u8; 12] {
    let mut packed = [0; 12];
    for index in 0..4 {
        let (scale, min) = (scales[index + 4], mins[index + 4]);
        packed[index] = scales[index] | (scale >> 4) << 6;
        packed[index + 4] = mins[index] | (min >> 4) << 6;
        packed[index + 8] = (scale & 15) | (min & 15) << 4;
    }
    packed
}

/// Scale and least value number `index` of the twelve bytes.
fn unpack_sixes(packed: &[u8], index: usize) -> (u8, u8) {
    if index < 4 {
        return (packed[index] & 63, packed[index + 4] & 63);
    }
    let (low, scale, min) = (packed[index + 4], packed[index - 4], packed[index]);
    ((low & 15) | (scale >> 6) << 4, (low >> 4) | (min >> 6) << 4)
}

/// Scale and least value of each 32 values of a Q4_K or Q5_K block.
pub(super) fn steps(block: &[u8], index: usize) -> (f32, f32) {
    let (scale, min) = unpack_sixes(&block[4..16], index);
    (
        half_at(block, 0) * f32::from(scale),
        half_at(block, 2) * f32::from(min),
    )
}

/// Fills the 16 bytes of scales of a Q4_K or Q5_K block and gives the codes, 0 to `levels`. `plain` is the search without
/// importance.
pub(super) fn encode_with_min(
    values: &[f32; VALUES],
    importance: Option<&[f32]>,
    levels: f32,
    plain: &Range,
    block: &mut [u8],
) -> [u8; VALUES] {
    let mut weights = [0.0; VALUES];
    let range = match importance {
        Some(importance) => {
            let spread = 2.0 * square_sum(values) / VALUES as f32;
            weigh(values, importance, spread, &mut weights);
            &thorough(levels)
        }
        None => {
            weigh_by_size(values, &mut weights);
            plain
        }
    };
    let found = with_min::<SHARE, false>(&side_by_side(values), &side_by_side(&weights), range);
    let (scale, min, scales, mins) = match importance {
        Some(_) => by_search(&found.scale, &found.min, &weights),
        None => by_largest(&found.scale, &found.min),
    };
    put_half(block, 0, scale);
    put_half(block, 2, min);
    block[4..16].copy_from_slice(&pack_sixes(&scales, &mins));
    let mut codes = [0; VALUES];
    let shares = codes
        .chunks_exact_mut(SHARE)
        .zip(values.chunks_exact(SHARE));
    for (lane, (codes, values)) in shares.enumerate() {
        let (scale, min) = steps(block, lane);
        for (code, &value) in codes.iter_mut().zip(values) {
            *code = match scale {
                0.0 => found.code(lane, value),
                _ => nearest((value + min) / scale).clamp(0, levels as i32) as u8,
            };
        }
    }
    codes
}

fn weigh_by_size(values: &[f32; VALUES], weights: &mut [f32; VALUES]) {
    let shares = values
        .chunks_exact(SHARE)
        .zip(weights.chunks_exact_mut(SHARE));
    for (values, weights) in shares {
        let mean = (square_sum(values) / SHARE as f32).sqrt();
        for (weight, value) in weights.iter_mut().zip(values) {
            *weight = mean + value.abs();
        }
    }
}

type Scales = (f32, f32, [u8; 8], [u8; 8]);

fn by_search(scales: &Lanes, mins: &Lanes, weights: &[f32; VALUES]) -> Scales {
    let mut sums = [0.0; 8];
    for (sum, weights) in sums.iter_mut().zip(weights.chunks_exact(SHARE)) {
        *sum = weights.iter().fold(0.0, |sum, weight| sum + weight);
    }
    let (scale, scale_codes) = quantize_scales(scales, &sums, 63);
    let (min, min_codes) = quantize_scales(mins, &sums, 63);
    (scale, min, scale_codes, min_codes)
}

fn by_largest(scales: &Lanes, mins: &Lanes) -> Scales {
    let codes = |values: &Lanes| {
        let max = values
            .iter()
            .fold(0.0, |max, &value| if value > max { value } else { max });
        let inverse = if max > 0.0 { 63.0 / max } else { 0.0 };
        (
            max / 63.0,
            values.map(|value| (nearest(inverse * value) as u8).min(63)),
        )
    };
    let ((scale, scale_codes), (min, min_codes)) = (codes(scales), codes(mins));
    (scale, min, scale_codes, min_codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixes_come_back() {
        let scales = [0, 1, 62, 63, 15, 16, 48, 63];
        let mins = [63, 0, 7, 33, 63, 0, 31, 32];
        let packed = pack_sixes(&scales, &mins);
        for index in 0..8 {
            assert_eq!(unpack_sixes(&packed, index), (scales[index], mins[index]));
        }
    }
}
