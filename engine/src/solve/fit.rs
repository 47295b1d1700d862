//! Which scale and zero suit one group of one row.
//!
//! Min-max including 0, then a search over shrunken ranges that weighs each squared error by the mean square of its input
//! (a shrunken range clips outliers and resolves the rest better) and over neighbouring zeros, then a finer look around the
//! best. Scales are snapped before errors are measured, and the least error wins, the widest range on ties.

use crate::grid::{GridConfig, Step};
use crate::kernels::quantize::{self, Candidates, LANES};

/// Blocks of candidates tried at once.
const BLOCKS: usize = 3;

/// How far the finer look goes around the best width, at least: with few weights per scale a grid a little wider than the
/// weights can be best, and a finer first search would not see it.
const FINE_REACH: f32 = 0.075;

/// Adding and subtracting this rounds a small number to the nearest integer.
const ROUNDER: f32 = 12_582_912.0;

/// Chooses scale and zero for one group of one row.
///
/// `importance` is the mean square of each input (any common factor); none means that all count the same.
/// `clip_search` is the number of grids tried first (rounded up to whole blocks); 0 takes the smallest and largest weight
/// as they are.
pub fn fit_step(
    weights: &[f32],
    importance: Option<&[f32]>,
    config: GridConfig,
    clip_search: u32,
) -> Step {
    let range = Range::of(weights, config);
    if clip_search == 0 {
        return range.min_max();
    }
    let mut best = Best {
        error: f64::INFINITY,
        width: 1.0,
        shift: 0.0,
        step: range.min_max(),
    };
    // Where the zero may move, each third of the candidates has its own.
    let shifts: &[f32] = if config.symmetric {
        &[0.0]
    } else {
        &[0.0, 1.0, -1.0]
    };
    let rounds = (clip_search as usize).div_ceil(LANES * shifts.len());
    let spacing = deepest_cut(config.bits) / (rounds * LANES) as f32;
    let total = rounds * shifts.len();
    for first in (0..total).step_by(BLOCKS) {
        let blocks: [Block; BLOCKS] = std::array::from_fn(|index| {
            let block = (first + index).min(total - 1);
            let (round, shift) = (block / shifts.len(), shifts[block % shifts.len()]);
            let widths = std::array::from_fn(|lane| 1.0 - spacing * (round * LANES + lane) as f32);
            range.block(widths, [shift; LANES])
        });
        best.consider(weights, importance, &blocks[..BLOCKS.min(total - first)]);
    }
    let reach = spacing.max(FINE_REACH);
    let (offsets, shifts) = if config.symmetric {
        FINE_SYMMETRIC
    } else {
        FINE_ASYMMETRIC
    };
    let widths = offsets.map(|offset| best.width + offset * reach);
    let shifts = shifts.map(|shift| best.shift + shift);
    best.consider(weights, importance, &[range.block(widths, shifts)]);
    best.step
}

/// The finer look: offsets of the width in units of the reach, and shifts of the zero.
const FINE_SYMMETRIC: ([f32; LANES], [f32; LANES]) =
    ([0.2, -0.2, 0.4, -0.4, 0.6, -0.6, 0.8, -0.8], [0.0; LANES]);
const FINE_ASYMMETRIC: ([f32; LANES], [f32; LANES]) = (
    [0.25, -0.25, 0.5, -0.5, 0.4, -0.4, 0.4, -0.4],
    [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, -1.0, -1.0],
);

/// Largest share of the range that the search cuts away: coarse grids gain from clipping far more.
fn deepest_cut(bits: u8) -> f32 {
    match bits {
        0..=2 => 0.8,
        3 => 0.7,
        4 => 0.6,
        _ => 0.5,
    }
}

/// The range of one group and the grid that is to cover it.
#[derive(Debug, Clone, Copy)]
struct Range {
    config: GridConfig,
    max_code: f32,
    /// Least weight, at most 0.
    low: f32,
    /// Distance between levels that covers everything, not snapped.
    full_scale: f32,
}

/// Eight candidates and their zeros.
#[derive(Debug, Clone, Copy)]
struct Block {
    candidates: Candidates,
    zeros: [f32; LANES],
    widths: [f32; LANES],
    shifts: [f32; LANES],
}

impl Range {
    fn of(weights: &[f32], config: GridConfig) -> Self {
        let (low, high) = quantize::range_with_zero(weights);
        let max_code = f32::from(config.max_code());
        let full_scale = if config.symmetric {
            high.max(-low) / (0.5 * max_code)
        } else {
            high / max_code - low / max_code
        };
        Self {
            config,
            max_code,
            low,
            full_scale,
        }
    }

    /// The grid that covers all weights.
    fn min_max(&self) -> Step {
        let scale = self.config.scale_dtype.snap_scale(self.full_scale);
        let zero = if self.config.symmetric {
            self.config.middle()
        } else {
            (-self.low / scale)
                .round_ties_even()
                .clamp(0.0, self.max_code)
        };
        Step { scale, zero }
    }

    /// Grids over `width` times the range, their zeros moved by `shift`.
    fn block(&self, widths: [f32; LANES], shifts: [f32; LANES]) -> Block {
        let dtype = self.config.scale_dtype;
        let scale: [f32; LANES] =
            std::array::from_fn(|lane| dtype.snap_scale(self.full_scale * widths[lane]));
        let inverse = scale.map(|scale| 1.0 / scale);
        let zeros = if self.config.symmetric {
            [self.config.middle(); LANES]
        } else {
            std::array::from_fn(|lane| {
                let zero = (-self.low * widths[lane]) * inverse[lane] + shifts[lane];
                (zero.clamp(0.0, self.max_code) + ROUNDER) - ROUNDER
            })
        };
        Block {
            candidates: Candidates {
                inverse,
                scale,
                low: zeros.map(|zero| -zero),
                high: zeros.map(|zero| self.max_code - zero),
            },
            zeros,
            widths,
            shifts,
        }
    }
}

/// The least error so far.
#[derive(Debug, Clone, Copy)]
struct Best {
    error: f64,
    width: f32,
    shift: f32,
    step: Step,
}

impl Best {
    fn consider(&mut self, weights: &[f32], importance: Option<&[f32]>, blocks: &[Block]) {
        let mut candidates = [blocks[0].candidates; BLOCKS];
        for (candidate, block) in candidates.iter_mut().zip(blocks) {
            *candidate = block.candidates;
        }
        let mut errors = [[0.0; LANES]; BLOCKS];
        let count = blocks.len();
        quantize::candidate_errors(weights, importance, &candidates[..count], &mut errors);
        for (block, errors) in blocks.iter().zip(&errors) {
            for (lane, &error) in errors.iter().enumerate() {
                if error < self.error {
                    *self = Self {
                        error,
                        width: block.widths[lane],
                        shift: block.shifts[lane],
                        step: Step {
                            scale: block.candidates.scale[lane],
                            zero: block.zeros[lane],
                        },
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::ScaleDtype;
    use crate::rng::Rng;
    use proptest::prelude::*;

    fn config(bits: u8, symmetric: bool, scale_dtype: ScaleDtype) -> GridConfig {
        GridConfig {
            bits,
            group: 0,
            symmetric,
            scale_dtype,
        }
    }

    fn error(weights: &[f32], importance: &[f32], step: Step, max_code: f32) -> f64 {
        let squares = weights.iter().zip(importance).map(|(&weight, &share)| {
            let rounded = step.weight(step.code(weight, max_code));
            f64::from(share) * (f64::from(weight) - f64::from(rounded)).powi(2)
        });
        squares.sum()
    }

    /// The slow twin: every width in steps of a thousandth, every zero.
    fn exhaustive(weights: &[f32], importance: &[f32], config: GridConfig) -> f64 {
        let range = Range::of(weights, config);
        let max_code = f32::from(config.max_code());
        let mut least = f64::INFINITY;
        for width in (50..1200).map(|thousandth| thousandth as f32 / 1000.0) {
            let scale = config.scale_dtype.snap_scale(range.full_scale * width);
            let zeros = if config.symmetric {
                vec![config.middle()]
            } else {
                (0..=config.max_code()).map(f32::from).collect()
            };
            for zero in zeros {
                let step = Step { scale, zero };
                least = least.min(error(weights, importance, step, max_code));
            }
        }
        least
    }

    #[test]
    fn the_search_comes_close_to_trying_everything() {
        for (stream, bits) in [(0, 2), (1, 3), (2, 4)] {
            for symmetric in [false, true] {
                let mut rng = Rng::new(3, stream);
                let (mut found, mut best, mut plain) = (0.0, 0.0, 0.0);
                for _ in 0..12 {
                    let weights: Vec<f32> = (0..64).map(|_| rng.normal() as f32).collect();
                    let importance: Vec<f32> =
                        (0..64).map(|_| rng.normal().powi(2) as f32).collect();
                    let config = config(bits, symmetric, ScaleDtype::F16);
                    let max_code = f32::from(config.max_code());
                    let of = |search| {
                        let step = fit_step(&weights, Some(&importance), config, search);
                        error(&weights, &importance, step, max_code)
                    };
                    found += of(20);
                    plain += of(0);
                    best += exhaustive(&weights, &importance, config);
                }
                assert!(
                    found <= 1.12 * best && found < 0.95 * plain,
                    "{bits} bits, symmetric {symmetric}: found {found}, best {best}, min-max {plain}"
                );
            }
        }
    }

    #[test]
    fn min_max_covers_the_range_and_zero() {
        let step = fit_step(&[1.0, 4.0], None, config(4, false, ScaleDtype::F32), 0);
        assert_eq!(
            step,
            Step {
                scale: 4.0 / 15.0,
                zero: 0.0
            }
        );
        let step = fit_step(&[-1.0, 2.0], None, config(2, false, ScaleDtype::F32), 0);
        assert_eq!(
            step,
            Step {
                scale: 1.0,
                zero: 1.0
            }
        );
        let step = fit_step(&[-3.0, 2.0], None, config(2, true, ScaleDtype::F32), 0);
        assert_eq!(
            step,
            Step {
                scale: 2.0,
                zero: 2.0
            }
        );
    }

    fn any_dtype() -> impl Strategy<Value = ScaleDtype> {
        prop_oneof![
            Just(ScaleDtype::F16),
            Just(ScaleDtype::BF16),
            Just(ScaleDtype::F32)
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_weights_get_a_finite_grid_no_worse_than_min_max(
            weights in prop::collection::vec(-100.0f32..100.0, 0..70),
            magnitude in -30i32..34,
            bits in 2u8..=8,
            symmetric: bool,
            dtype in any_dtype(),
            search in 0u32..50,
        ) {
            let weights: Vec<f32> =
                weights.iter().map(|weight| weight * 10f32.powi(magnitude)).collect();
            let config = config(bits, symmetric, dtype);
            let max_code = f32::from(config.max_code());
            let step = fit_step(&weights, None, config, search);
            prop_assert!(step.scale > 0.0 && step.scale.is_finite(), "{step:?}");
            prop_assert_eq!(dtype.snap_scale(step.scale), step.scale);
            prop_assert_eq!(step.zero, step.zero.round().clamp(0.0, max_code));
            let ones = vec![1.0; weights.len()];
            let (found, plain) = (
                error(&weights, &ones, step, max_code),
                error(&weights, &ones, fit_step(&weights, None, config, 0), max_code),
            );
            prop_assert!(found <= plain * 1.001 + 1e-30, "found {found}, min-max {plain}");
        }
    }
}
