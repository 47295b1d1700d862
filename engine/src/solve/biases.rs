//! Grids of containers that keep `-scale * zero`, rounded to the dtype of scales, in the place of zeros.
//!
//! What comes back then are zeros that are real numbers, `-bias / scale`, beside the whole ones by up to half a unit in the
//! last place of the bias: a small part of a step where bits are few, half a step with 8 bits and biases of bf16. Codes are
//! chosen again where that matters, on the grid that comes back. Knows no container.

use super::{SolveError, move_codes};
use crate::grid::{AffineGrid, ScaleDtype, Step};
use crate::moments::Moments;
use crate::monitor::Monitor;
use crate::solved::{Grid, Method, Solved};
use crate::tensor::Matrix;
use half::{bf16, f16};
use rayon::prelude::*;

/// Steps by which a zero moves before codes are chosen again: more than half a unit in the last place of the biases of 4 bits
/// in bf16. Below, the whole zeros are kept with their codes, which other containers hold too: against the 1/12 of a step that
/// rounding makes of a squared error, a move of 1/16 adds one part in twenty.
const LEAST_MOVE: f32 = 1.0 / 16.0;

/// The layer as it comes back where biases are rounded to `dtype`: the same codes and scales, zeros that are real numbers.
/// `None` where it comes back as it is.
pub fn with_rounded_biases(solved: &Solved, dtype: ScaleDtype) -> Option<Solved> {
    let Grid::Affine(grid) = &solved.grid else {
        return None;
    };
    let rounded = rounded(grid, dtype);
    (rounded.zeros != grid.zeros).then(|| Solved {
        grid: Grid::Affine(rounded),
        ..solved.clone()
    })
}

/// The layer with codes for the grid that comes back: the nearest to `weights`, and where GPTQ chose them and `moments` are
/// there, moved until outputs are nearest.
pub fn chosen_for_biases(
    weights: &Matrix,
    solved: Solved,
    dtype: ScaleDtype,
    moments: Option<&Moments>,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    let Grid::Affine(grid) = &solved.grid else {
        return Ok(solved);
    };
    let rounded = rounded(grid, dtype);
    let zeros = rounded.zeros.iter().zip(&grid.zeros);
    let most = zeros.fold(0.0f32, |most, (one, other)| most.max((one - other).abs()));
    if most <= LEAST_MOVE || solved.mask.is_some() {
        return Ok(solved);
    }
    let mut chosen = solved;
    let rounded = round_again(weights, rounded, dtype, &mut chosen.codes.values);
    if let Some(moments) = moments.filter(|_| chosen.method == Method::Gptq) {
        let codes = chosen.codes;
        chosen.codes = move_codes(weights, codes, rounded.clone(), moments, monitor)?;
    }
    chosen.grid = Grid::Affine(rounded);
    chosen.loss = None;
    Ok(chosen)
}

/// The nearest code of each weight, on the best step near that of its group.
fn round_again(
    weights: &Matrix,
    mut grid: AffineGrid,
    dtype: ScaleDtype,
    codes: &mut [u8],
) -> AffineGrid {
    let columns = grid.columns.max(1);
    let (groups, max_code) = (grid.groups(), f32::from(grid.config.max_code()));
    let count = groups.count().max(1);
    codes
        .par_chunks_mut(columns)
        .zip(weights.data().par_chunks(columns))
        .zip(grid.scales.par_chunks_mut(count))
        .zip(grid.zeros.par_chunks_mut(count))
        .for_each(|(((codes, weights), scales), zeros)| {
            for group in 0..groups.count() {
                let (scale, zero) = (scales[group], zeros[group]);
                let weights = &weights[groups.range(group)];
                let step = best_step(weights, Step { scale, zero }, max_code, dtype);
                (scales[group], zeros[group]) = (step.scale, step.zero);
                let codes = codes[groups.range(group)].iter_mut();
                for (code, &weight) in codes.zip(weights) {
                    *code = step.code(weight, max_code) as u8;
                }
            }
        });
    grid
}

/// Of this step and those whose scale is one place larger, or whose bias lies one place beside, the one that errs least: a
/// zero that has moved cuts one end of the range off, and mostly not the one that matters.
fn best_step(weights: &[f32], first: Step, max_code: f32, dtype: ScaleDtype) -> Step {
    let mut best = (f32::INFINITY, first);
    for scale in [first.scale, beside(dtype, first.scale, 1)] {
        let bias = scale * first.zero;
        for places in [0, 1, -1] {
            let stored = beside(dtype, bias, places);
            let step = Step {
                scale,
                zero: stored / scale,
            };
            if !stored.is_finite() || !step.zero.is_finite() {
                continue;
            }
            let errors = weights.iter().map(|&weight| {
                let error = weight - step.weight(step.code(weight, max_code));
                error * error
            });
            let error = errors.sum();
            if error < best.0 {
                best = (error, step);
            }
        }
    }
    best.1
}

/// The number of `dtype` that lies so many places beyond `value`, counted from 0 outwards; 0 stays.
fn beside(dtype: ScaleDtype, value: f32, places: i16) -> f32 {
    let moved = |bits: u16| bits.wrapping_add_signed(places);
    match (dtype, dtype.snap(value)) {
        (_, 0.0) => 0.0,
        (ScaleDtype::F16, near) => f16::from_bits(moved(f16::from_f32(near).to_bits())).to_f32(),
        (ScaleDtype::BF16, near) => bf16::from_bits(moved(bf16::from_f32(near).to_bits())).to_f32(),
        (ScaleDtype::F32, near) => near,
    }
}

/// The grid whose biases are exact in `dtype`; its zeros want the precision of f32. A bias that the dtype cannot hold stays:
/// whoever writes it says so.
fn rounded(grid: &AffineGrid, dtype: ScaleDtype) -> AffineGrid {
    let mut rounded = grid.clone();
    for (zero, &scale) in rounded.zeros.iter_mut().zip(&grid.scales) {
        let bias = scale * *zero;
        let stored = dtype.snap(bias);
        if stored != bias && stored.is_finite() {
            *zero = stored / scale;
        }
    }
    if rounded.zeros != grid.zeros {
        rounded.fractional_zeros = true;
        rounded.config.scale_dtype = ScaleDtype::F32;
    }
    rounded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::grid::GridConfig;
    use crate::monitor::Unwatched;
    use crate::rng::Rng;
    use crate::solve::{RtnConfig, rtn};
    use crate::tensor::Symmetric;

    fn weights(rows: usize, columns: usize) -> Matrix {
        let mut rng = Rng::new(5, 1);
        Matrix::from_fn(rows, columns, |_, _| rng.normal() as f32)
    }

    fn rounded_to_nearest(weights: &Matrix, bits: u8, dtype: ScaleDtype) -> Solved {
        searched(weights, bits, dtype, 0)
    }

    fn searched(weights: &Matrix, bits: u8, dtype: ScaleDtype, clip_search: u32) -> Solved {
        let config = RtnConfig {
            grid: GridConfig {
                bits,
                group: 64,
                symmetric: false,
                scale_dtype: dtype,
            },
            clip_search,
        };
        rtn(weights, None, &config, &Unwatched).unwrap()
    }

    fn rms(weights: &Matrix, solved: &Solved) -> f64 {
        let found = solved.dequantize();
        let pairs = weights.data().iter().zip(found.data());
        let squares: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
        (squares / weights.data().len() as f64).sqrt()
    }

    #[test]
    fn codes_chosen_for_rounded_biases_lose_nothing() {
        let weights = weights(128, 512);
        for (dtype, bits, search) in [
            (ScaleDtype::BF16, 8, 0),
            (ScaleDtype::BF16, 8, 20),
            (ScaleDtype::BF16, 6, 20),
            (ScaleDtype::BF16, 4, 20),
            (ScaleDtype::F16, 8, 20),
            (ScaleDtype::F16, 4, 20),
        ] {
            let plain = searched(&weights, bits, dtype, search);
            let blind = with_rounded_biases(&plain, dtype).unwrap();
            let chosen =
                chosen_for_biases(&weights, plain.clone(), dtype, None, &Unwatched).unwrap();
            let stored = with_rounded_biases(&chosen, dtype).unwrap_or_else(|| chosen.clone());
            let share = |solved: &Solved| rms(&weights, solved) / rms(&weights, &plain);
            let (blind, found) = (share(&blind), share(&stored));
            assert!(
                found <= 1.02 && found <= blind,
                "{dtype:?} {bits} bits: {found:.4} of the error, {blind:.4} with the codes as they were"
            );
            if (dtype, bits) == (ScaleDtype::BF16, 8) {
                assert!(blind > 1.1, "the case that this is for: {blind:.3}");
                assert_eq!(
                    with_rounded_biases(&stored, dtype),
                    None,
                    "what was chosen comes back as it is"
                );
            }
        }
    }

    #[test]
    fn numbers_beside() {
        assert_eq!(beside(ScaleDtype::BF16, 1.0, 1), 1.0078125);
        assert_eq!(beside(ScaleDtype::BF16, -2.0, -1), -1.9921875);
        assert_eq!(beside(ScaleDtype::F16, 1.0003, 0), 1.0);
        assert_eq!(beside(ScaleDtype::F16, 0.0, -1), 0.0);
        assert!(!beside(ScaleDtype::F16, 65504.0, 1).is_finite());
    }

    #[test]
    fn few_bits_keep_their_whole_zeros_and_codes() {
        let weights = weights(16, 128);
        for dtype in [ScaleDtype::F16, ScaleDtype::BF16, ScaleDtype::F32] {
            let plain = rounded_to_nearest(&weights, 4, dtype);
            let kept = chosen_for_biases(&weights, plain.clone(), dtype, None, &Unwatched);
            assert_eq!(kept.unwrap(), plain, "{dtype:?}");
        }
        let plain = rounded_to_nearest(&weights, 8, ScaleDtype::F32);
        assert_eq!(with_rounded_biases(&plain, ScaleDtype::F32), None);
    }

    #[test]
    fn outputs_decide_where_they_are_known() {
        let weights = weights(24, 64);
        // Inputs with a mean: a moved zero moves whole outputs.
        let mut upper = vec![1.0; Symmetric::stored_len(64)];
        let mut diagonal = 0;
        for row in 0..64 {
            upper[diagonal] = 2.0;
            diagonal += 64 - row;
        }
        let moments = Moments {
            count: 1000,
            gram: Symmetric::new(64, upper),
            mean_square: vec![2.0; 64],
            mean_abs: vec![1.0; 64],
            abs_max: vec![4.0; 64],
        };
        let mut plain = rounded_to_nearest(&weights, 8, ScaleDtype::BF16);
        plain.method = Method::Gptq;
        let of = |moments: Option<&Moments>| {
            let solved = plain.clone();
            chosen_for_biases(&weights, solved, ScaleDtype::BF16, moments, &Unwatched).unwrap()
        };
        let energy = |solved: &Solved| {
            crate::distortion::relative_output_error(&weights, &solved.dequantize(), &moments.gram)
                .unwrap()
        };
        let (guided, blind) = (energy(&of(Some(&moments))), energy(&of(None)));
        assert!(
            guided < 0.9 * blind,
            "{guided:.2e} with outputs, {blind:.2e} without"
        );
    }
}
