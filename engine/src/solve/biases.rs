//! Grids of containers that keep `-scale * zero`, rounded to the dtype of scales, in the place of zeros.
//!
//! What comes back then are zeros that are real numbers, `-bias / scale`, beside the whole ones by up to half a unit in the
//! last place of the bias: a small part of a step where bits are few, half a step with 8 bits and biases of bf16. Codes are
//! chosen again where that matters, on the grid that comes back. Knows no container.

use super::{SolveError, move_codes};
use crate::grid::{AffineGrid, ScaleDtype};
use crate::moments::Moments;
use crate::monitor::Monitor;
use crate::solved::{Grid, Method, Solved};
use crate::tensor::Matrix;
use rayon::prelude::*;

/// Steps by which a zero moves before codes are chosen again. Below, the whole zeros are kept with their codes, which other
/// containers hold too: the squared error grows by less than one part in a hundred.
const LEAST_MOVE: f32 = 1.0 / 32.0;

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
    round_again(weights, &rounded, &mut chosen.codes.values);
    if let Some(moments) = moments.filter(|_| chosen.method == Method::Gptq) {
        let codes = chosen.codes;
        chosen.codes = move_codes(weights, codes, rounded.clone(), moments, monitor)?;
    }
    chosen.grid = Grid::Affine(rounded);
    chosen.loss = None;
    Ok(chosen)
}

/// The nearest code of each weight.
fn round_again(weights: &Matrix, grid: &AffineGrid, codes: &mut [u8]) {
    let columns = grid.columns.max(1);
    let (groups, max_code) = (grid.groups(), f32::from(grid.config.max_code()));
    codes
        .par_chunks_mut(columns)
        .zip(weights.data().par_chunks(columns))
        .enumerate()
        .for_each(|(row, (codes, weights))| {
            for (column, (code, &weight)) in codes.iter_mut().zip(weights).enumerate() {
                *code = grid.step(row, groups.of(column)).code(weight, max_code) as u8;
            }
        });
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
        let config = RtnConfig {
            grid: GridConfig {
                bits,
                group: 64,
                symmetric: false,
                scale_dtype: dtype,
            },
            clip_search: 0,
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
        for (dtype, bits) in [
            (ScaleDtype::BF16, 8),
            (ScaleDtype::BF16, 6),
            (ScaleDtype::BF16, 4),
            (ScaleDtype::F16, 8),
            (ScaleDtype::F16, 4),
        ] {
            let plain = rounded_to_nearest(&weights, bits, dtype);
            let blind = with_rounded_biases(&plain, dtype).unwrap();
            let chosen =
                chosen_for_biases(&weights, plain.clone(), dtype, None, &Unwatched).unwrap();
            let stored = with_rounded_biases(&chosen, dtype).unwrap_or_else(|| chosen.clone());
            let share = |solved: &Solved| rms(&weights, solved) / rms(&weights, &plain);
            let (blind, found) = (share(&blind), share(&stored));
            assert!(
                found <= 1.01 && found <= blind,
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
            guided < 0.8 * blind,
            "{guided:.2e} with outputs, {blind:.2e} without"
        );
    }
}
