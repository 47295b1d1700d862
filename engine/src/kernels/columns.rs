//! Triangular recursions over columns, many rows at once: rows lie in SIMD lanes.
//!
//! A tile holds one matrix column per line: `tile[column * stride + lane]`, where a lane is a matrix row. Every step is
//! then one scalar of the triangle times a line of lanes. Choose strides that are no multiple of 4 KiB, or lines fall
//! onto the same cache sets.

use super::Element;
use super::dispatch::per_instruction_set;

/// Lanes that one pass holds in registers: four 512-bit or eight 256-bit vectors of f32.
const WIDE: usize = 64;
/// Lanes of the passes over what is left.
const NARROW: usize = 8;

/// Calls `$pass::<…, LANES>(…, first_lane)` over `0..$lanes`: wide passes first, then narrow ones, then single lanes.
macro_rules! over_lanes {
    ($lanes:expr, |$first:ident, $width:ident| $call:expr) => {{
        let lanes = $lanes;
        let mut $first = 0;
        while $first + WIDE <= lanes {
            const $width: usize = WIDE;
            $call;
            $first += WIDE;
        }
        while $first + NARROW <= lanes {
            const $width: usize = NARROW;
            $call;
            $first += NARROW;
        }
        while $first < lanes {
            const $width: usize = 1;
            $call;
            $first += 1;
        }
    }};
}

mod prune;

pub use prune::{Choice, LARGEST_CHOICE, PruneTile, prune_columns};

/// `L` lanes of one line.
#[inline(always)]
fn lanes_at<T, const L: usize>(tile: &[T], at: usize) -> &[T; L] {
    tile[at..at + L]
        .try_into()
        .expect("a slice of L values is an array of L values")
}

#[inline(always)]
fn lanes_at_mut<T, const L: usize>(tile: &mut [T], at: usize) -> &mut [T; L] {
    (&mut tile[at..at + L])
        .try_into()
        .expect("a slice of L values is an array of L values")
}

/// `sum += coefficients[i] * lines[i]`, in order.
#[inline(always)]
fn add_lines<T: Element, const L: usize>(
    sum: &mut [T; L],
    coefficients: &[T],
    lines: &[T],
    stride: usize,
    first: usize,
) {
    for (line, &coefficient) in lines.chunks_exact(stride).zip(coefficients) {
        let line: &[T; L] = lanes_at(line, first);
        for lane in 0..L {
            sum[lane] += coefficient * line[lane];
        }
    }
}

per_instruction_set! {
    /// Solves `factor * x = tile` in place, line by line from the first, for a unit lower triangle.
    ///
    /// `tile` is `[count, stride]`, `factor` is `[count, count]` row-major; its diagonal counts as 1 and is not read.
    ///
    /// # Panics
    /// If a slice does not fit its shape.
    pub fn substitute_forward<T: Element>(tile: &mut [T], stride: usize, lanes: usize, factor: &[T]) {
        let count = lines_of(tile.len(), stride, lanes, factor.len());
        over_lanes!(lanes, |first, WIDTH| forward::<T, WIDTH>(tile, stride, first, factor, count));
    }
}

#[inline(always)]
fn forward<T: Element, const L: usize>(
    tile: &mut [T],
    stride: usize,
    first: usize,
    factor: &[T],
    count: usize,
) {
    for line in 1..count {
        let (earlier, rest) = tile.split_at_mut(line * stride);
        let mut sum = [T::ZERO; L];
        add_lines(&mut sum, &factor[line * count..], earlier, stride, first);
        let target: &mut [T; L] = lanes_at_mut(rest, first);
        for lane in 0..L {
            target[lane] -= sum[lane];
        }
    }
}

per_instruction_set! {
    /// Solves `upper * x = tile` in place, line by line from the last, for an upper triangle with its diagonal.
    ///
    /// `tile` is `[count, stride]`, `upper` is `[count, count]` row-major.
    ///
    /// # Panics
    /// If a slice does not fit its shape.
    pub fn substitute_backward<T: Element>(tile: &mut [T], stride: usize, lanes: usize, upper: &[T]) {
        let count = lines_of(tile.len(), stride, lanes, upper.len());
        over_lanes!(lanes, |first, WIDTH| backward::<T, WIDTH>(tile, stride, first, upper, count));
    }
}

#[inline(always)]
fn backward<T: Element, const L: usize>(
    tile: &mut [T],
    stride: usize,
    first: usize,
    upper: &[T],
    count: usize,
) {
    for line in (0..count).rev() {
        let (head, later) = tile.split_at_mut((line + 1) * stride);
        let row = &upper[line * count..(line + 1) * count];
        let mut sum = [T::ZERO; L];
        add_lines(&mut sum, &row[line + 1..], later, stride, first);
        let target: &mut [T; L] = lanes_at_mut(head, line * stride + first);
        for lane in 0..L {
            target[lane] = (target[lane] - sum[lane]) / row[line];
        }
    }
}

/// Number of lines of a tile, after checking the shapes.
fn lines_of(tile_len: usize, stride: usize, lanes: usize, triangle_len: usize) -> usize {
    assert!(lanes <= stride && stride > 0, "{lanes} lanes in {stride}");
    let count = tile_len / stride;
    assert_eq!(tile_len, count * stride, "whole lines");
    assert_eq!(triangle_len, count * count, "a triangle of {count} lines");
    count
}

/// One tile of the rounding recursion; see `round_columns`. Lines are columns, lanes are rows.
#[derive(Debug)]
pub struct RoundTile<'a> {
    /// Values between neighbouring lines, of every tile here.
    pub stride: usize,
    /// Lanes in use.
    pub lanes: usize,
    /// Unit lower triangle `[count, count]`: how the error of an earlier column moves a later one.
    pub factor: &'a [f32],
    /// What the errors of columns before this tile add to each column, `[count, stride]`.
    pub pending: &'a [f32],
    /// In: weights. Out: weight minus rounded weight. `[count, stride]`.
    pub errors: &'a mut [f32],
    /// Out: codes `[count, stride]`.
    pub codes: &'a mut [u8],
    /// Scales, one line per group.
    pub scales: &'a [f32],
    /// Zeros, one line per group.
    pub zeros: &'a [f32],
    /// The line of `scales` and `zeros` that each column obeys.
    pub group_of: &'a [usize],
    /// Largest code.
    pub max_code: f32,
    /// What a squared rounding error of each column costs.
    pub price: &'a [f64],
    /// In and out: cost so far of each lane.
    pub loss: &'a mut [f64],
}

per_instruction_set! {
    /// Rounds the columns of a tile in order, each moved by the errors of those before it.
    ///
    /// `t_j = w_j + pending_j + Σ_{i<j} factor[j, i] e_i`, `code_j = round(t_j / scale + zero)` clamped,
    /// `q_j = scale * (code_j - zero)`, `e_j = w_j - q_j`, `loss += price_j (t_j - q_j)²`.
    ///
    /// # Panics
    /// If a slice does not fit its shape.
    pub fn round_columns(tile: RoundTile<'_>) {
        let mut tile = tile;
        let count = lines_of(tile.errors.len(), tile.stride, tile.lanes, tile.factor.len());
        assert_eq!(tile.group_of.len(), count, "one group per column");
        over_lanes!(tile.lanes, |first, WIDTH| round_lanes::<WIDTH>(&mut tile, first, count));
    }
}

#[inline(always)]
fn round_lanes<const L: usize>(tile: &mut RoundTile<'_>, first: usize, count: usize) {
    let stride = tile.stride;
    let mut loss: [f64; L] = *lanes_at(tile.loss, first);
    for line in 0..count {
        let (earlier, rest) = tile.errors.split_at_mut(line * stride);
        let mut target: [f32; L] = *lanes_at(tile.pending, line * stride + first);
        let coefficients = &tile.factor[line * count..];
        add_lines(&mut target, coefficients, earlier, stride, first);

        let group = tile.group_of[line] * stride + first;
        let scale: &[f32; L] = lanes_at(tile.scales, group);
        let zero: &[f32; L] = lanes_at(tile.zeros, group);
        let error: &mut [f32; L] = lanes_at_mut(rest, first);
        let codes: &mut [u8; L] = lanes_at_mut(tile.codes, line * stride + first);
        let price = tile.price[line];
        for lane in 0..L {
            let wanted = error[lane] + target[lane];
            let code = (wanted / scale[lane] + zero[lane])
                .round_ties_even()
                .clamp(0.0, tile.max_code);
            let rounded = scale[lane] * (code - zero[lane]);
            let miss = wanted - rounded;
            error[lane] -= rounded;
            codes[lane] = code as u8;
            loss[lane] += price * f64::from(miss * miss);
        }
    }
    *lanes_at_mut(tile.loss, first) = loss;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::same_on_every_instruction_set;
    use crate::kernels::reference;

    fn triangle<T: Element>(count: usize) -> Vec<T> {
        (0..count * count)
            .map(|index| {
                let (row, column) = (index / count, index % count);
                let value = if row == column {
                    2.0
                } else {
                    (index % 3) as f64 - 1.0
                };
                T::from_f64(value)
            })
            .collect()
    }

    fn tile<T: Element>(len: usize) -> Vec<T> {
        (0..len)
            .map(|index| T::from_f64((index * 5 % 7) as f64 - 3.0))
            .collect()
    }

    #[test]
    fn substitutions_equal_their_slow_twins_around_lane_edges() {
        for lanes in [1, 7, 8, 9, 63, 64, 65, 137] {
            for count in [1, 2, 9] {
                let stride = lanes + 3;
                let factor = triangle::<f32>(count);
                let start = tile::<f32>(count * stride);
                let (mut found, mut expected) = (start.clone(), start.clone());
                substitute_forward(&mut found, stride, lanes, &factor);
                reference::substitute_forward(&mut expected, stride, lanes, &factor);
                assert_eq!(found, expected, "forward, {lanes} lanes, {count} lines");

                let factor = triangle::<f64>(count);
                let start = tile::<f64>(count * stride);
                let (mut found, mut expected) = (start.clone(), start);
                substitute_backward(&mut found, stride, lanes, &factor);
                reference::substitute_backward(&mut expected, stride, lanes, &factor);
                assert_eq!(found, expected, "backward, {lanes} lanes, {count} lines");
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let (lanes, count) = (77, 12);
        let noise =
            |len: usize| -> Vec<f32> { (0..len).map(|index| (index as f32 * 0.7).sin()).collect() };
        let pending = noise(count * lanes);
        let mut factor = noise(count * count);
        for line in 0..count {
            factor[line * count + line] = 1.5;
        }
        same_on_every_instruction_set(|| {
            let mut errors = noise(count * lanes);
            let mut codes = vec![0; count * lanes];
            let mut loss = vec![0.0; lanes];
            round_columns(RoundTile {
                stride: lanes,
                lanes,
                factor: &factor,
                pending: &pending,
                errors: &mut errors,
                codes: &mut codes,
                scales: &vec![0.13; lanes],
                zeros: &vec![7.0; lanes],
                group_of: &[0; 12],
                max_code: 15.0,
                price: &[1.0; 12],
                loss: &mut loss,
            });
            let mut forward = noise(count * lanes);
            substitute_forward(&mut forward, lanes, lanes, &factor);
            let mut backward = noise(count * lanes);
            substitute_backward(&mut backward, lanes, lanes, &factor);
            (errors, codes, loss, forward, backward)
        });
    }

    #[test]
    fn rounding_one_column_is_plain_rounding() {
        let lanes = 75;
        let weights: Vec<f32> = (0..lanes).map(|lane| lane as f32 * 0.31 - 9.0).collect();
        let (scales, zeros) = (vec![0.5f32; lanes], vec![8.0f32; lanes]);
        let mut errors = weights.clone();
        let mut codes = vec![0u8; lanes];
        let mut loss = vec![0.0; lanes];
        round_columns(RoundTile {
            stride: lanes,
            lanes,
            factor: &[1.0],
            pending: &vec![0.0; lanes],
            errors: &mut errors,
            codes: &mut codes,
            scales: &scales,
            zeros: &zeros,
            group_of: &[0],
            max_code: 15.0,
            price: &[2.0],
            loss: &mut loss,
        });
        for lane in 0..lanes {
            let code = (weights[lane] / 0.5 + 8.0)
                .round_ties_even()
                .clamp(0.0, 15.0);
            let miss = weights[lane] - 0.5 * (code - 8.0);
            assert_eq!(f32::from(codes[lane]), code, "lane {lane}");
            assert_eq!(errors[lane], miss, "lane {lane}");
            assert_eq!(loss[lane], 2.0 * f64::from(miss * miss), "lane {lane}");
        }
    }
}
