//! Learned rounding of one layer: how far each weight is pushed before it is rounded, and where each group clips.
//!
//! Cheng et al. 2023, arXiv 2309.05516 (AutoRound), equations 3 and 4: `s * (clamp(round(w / s + V) + z, 0, max) - z)` with
//! `V` in [-0.5, 0.5], `s = (high * high_factor - low * low_factor) / max` and `z = round(-low * low_factor / s)`.

use super::{by_rows, each_row, places};
use crate::grid::{AffineGrid, Step};
use crate::solved::{Codes, Grid, Method, Solved};
use crate::tensor::Matrix;
use crate::train::values::{constant, floats, values_of};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use std::sync::Arc;

/// What one group covers when both factors are 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipRange {
    /// Weight of code 0.
    pub low: f32,
    /// Weight of the largest code.
    pub high: f32,
}

/// A layer whose rounding is learnt.
#[derive(Debug, Clone)]
pub struct OffsetGrid {
    weights: Arc<Matrix>,
    /// Steps at the start; zeros are whole numbers.
    start: Arc<AffineGrid>,
}

impl OffsetGrid {
    /// Starts where `start` stands: with offsets of 0 and factors of 1, `weights` `[out, in]` round to its grid.
    pub fn new(weights: Matrix, start: AffineGrid) -> Self {
        Self {
            weights: Arc::new(weights),
            start: Arc::new(start),
        }
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.start.rows, self.start.columns)
    }

    /// Groups of all rows.
    pub fn steps(&self) -> usize {
        self.start.scales.len()
    }

    /// The fake-quantized weights `[out, in]` of `offsets` `[out, in]` and `factors` `[out, groups]` each; all three get
    /// gradients. A symmetric grid takes the high factor only.
    pub fn weights(&self, offsets: &Tensor, low: &Tensor, high: &Tensor) -> Result<Tensor> {
        offsets.apply_op3(low, high, Offset(self.clone()))
    }

    /// The codes and the grid that `weights` shows.
    pub fn integers(&self, offsets: &[f32], low: &[f32], high: &[f32], method: Method) -> Solved {
        let (rows, columns) = self.shape();
        let mut grid = self.start.as_ref().clone();
        for group in 0..self.steps() {
            let step = self.step(group, low[group], high[group]).step;
            (grid.scales[group], grid.zeros[group]) = (step.scale, step.zero);
        }
        let codes = by_rows(rows, columns, |row, out| {
            for place in places(grid.groups(), row) {
                let step = self
                    .step(place.group, low[place.group], high[place.group])
                    .step;
                for column in place.columns {
                    let index = row * columns + column;
                    out[column] = self
                        .code(step, index, offsets[index])
                        .clamp(0.0, self.max_code());
                }
            }
        });
        Solved {
            method,
            codes: Codes {
                rows,
                columns,
                values: codes.into_iter().map(|code| code as u8).collect(),
            },
            grid: Grid::Affine(grid),
            mask: None,
            factors: None,
            loss: None,
            warnings: Vec::new(),
        }
    }

    fn max_code(&self) -> f32 {
        f32::from(self.start.config.max_code())
    }

    fn range(&self, group: usize) -> ClipRange {
        let (scale, zero) = (self.start.scales[group], self.start.zeros[group]);
        ClipRange {
            low: -zero * scale,
            high: (self.max_code() - zero) * scale,
        }
    }

    /// The stored step of one group, and its slopes.
    fn step(&self, group: usize, low_factor: f32, high_factor: f32) -> Sloped {
        let (config, max_code) = (self.start.config, self.max_code());
        if config.symmetric {
            let start = self.start.scales[group];
            return Sloped {
                step: Step {
                    scale: config.scale_dtype.snap_scale(start * high_factor),
                    zero: config.middle(),
                },
                scale: [0.0, start],
                zero: [0.0, 0.0],
            };
        }
        let range = self.range(group);
        let width = range.high * high_factor - range.low * low_factor;
        let scale = config.scale_dtype.snap_scale(width / max_code);
        let exact_zero = -range.low * low_factor / scale;
        let by = [-range.low / max_code, range.high / max_code];
        let zero_by_scale = -exact_zero / scale;
        Sloped {
            step: Step {
                scale,
                zero: exact_zero.round_ties_even().clamp(0.0, max_code),
            },
            scale: by,
            zero: [
                -range.low / scale + zero_by_scale * by[0],
                zero_by_scale * by[1],
            ],
        }
    }

    /// The code of one weight before it is clamped.
    fn code(&self, step: Step, index: usize, offset: f32) -> f32 {
        (self.weights.data()[index] / step.scale + step.zero + offset).round_ties_even()
    }

    fn forward(&self, offsets: &[f32], low: &[f32], high: &[f32]) -> Vec<f32> {
        let (rows, columns) = self.shape();
        by_rows(rows, columns, |row, out| {
            for place in places(self.start.groups(), row) {
                let step = self
                    .step(place.group, low[place.group], high[place.group])
                    .step;
                for column in place.columns {
                    let index = row * columns + column;
                    let code = self.code(step, index, offsets[index]);
                    out[column] = step.weight(code.clamp(0.0, self.max_code()));
                }
            }
        })
    }

    /// Slopes of one output over offset, scale and zero, rounding taken as the identity.
    fn slopes(&self, step: Step, index: usize, offset: f32) -> [f32; 3] {
        let code = self.code(step, index, offset);
        if (0.0..=self.max_code()).contains(&code) {
            let by_scale = code - step.zero - self.weights.data()[index] / step.scale;
            [step.scale, by_scale, 0.0]
        } else {
            [
                0.0,
                code.clamp(0.0, self.max_code()) - step.zero,
                -step.scale,
            ]
        }
    }
}

/// A step and its slopes over the low and the high factor.
struct Sloped {
    step: Step,
    scale: [f32; 2],
    zero: [f32; 2],
}

struct Offset(OffsetGrid);

impl CustomOp3 for Offset {
    fn name(&self) -> &'static str {
        "learned-rounding"
    }

    fn cpu_fwd(
        &self,
        offsets: &CpuStorage,
        offsets_layout: &Layout,
        low: &CpuStorage,
        low_layout: &Layout,
        high: &CpuStorage,
        high_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let values = self.0.forward(
            floats(offsets, offsets_layout)?,
            floats(low, low_layout)?,
            floats(high, high_layout)?,
        );
        Ok((CpuStorage::F32(values), offsets_layout.shape().clone()))
    }

    fn bwd(
        &self,
        offsets: &Tensor,
        low: &Tensor,
        high: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grid = &self.0;
        let (rows, columns) = grid.shape();
        let (offset_values, gradient) = (values_of(offsets)?, values_of(gradient)?);
        let (low_values, high_values) = (values_of(low)?, values_of(high)?);
        let step = |group: usize| grid.step(group, low_values[group], high_values[group]);
        let of_offsets = by_rows(rows, columns, |row, out| {
            for place in places(grid.start.groups(), row) {
                let step = step(place.group).step;
                for column in place.columns {
                    let index = row * columns + column;
                    let [by_offset, ..] = grid.slopes(step, index, offset_values[index]);
                    out[column] = gradient[index] * by_offset;
                }
            }
        });
        let of_factors = each_row(rows, |row| {
            let pairs = places(grid.start.groups(), row).map(|place| {
                let sloped = step(place.group);
                let mut sums = [0.0f32; 2];
                for column in place.columns {
                    let index = row * columns + column;
                    let [_, scale, zero] = grid.slopes(sloped.step, index, offset_values[index]);
                    sums[0] += gradient[index] * scale;
                    sums[1] += gradient[index] * zero;
                }
                let by = |side: usize| sums[0] * sloped.scale[side] + sums[1] * sloped.zero[side];
                (by(0), by(1))
            });
            pairs.collect()
        });
        let (of_low, of_high): (Vec<f32>, Vec<f32>) = of_factors.into_iter().unzip();
        Ok((
            Some(constant(of_offsets, offsets.shape())?),
            Some(constant(of_low, low.shape())?),
            Some(constant(of_high, high.shape())?),
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{check_gradient, matrix, random};
    use super::*;
    use crate::grid::{GridConfig, ScaleDtype};
    use crate::train::values::variable;

    const ROWS: usize = 3;
    const COLUMNS: usize = 10;

    /// A layer that clips some of its weights, and where its rounding stands.
    fn case(bits: u8, group: usize, symmetric: bool) -> (OffsetGrid, [Vec<f32>; 3]) {
        let config = GridConfig {
            bits,
            group,
            symmetric,
            scale_dtype: ScaleDtype::F16,
        };
        let mut grid = AffineGrid::neutral(config, ROWS, COLUMNS);
        let spread = 2.2 / f32::from(config.max_code());
        for (scale, x) in grid.scales.iter_mut().zip(random(99, 7)) {
            *scale = ScaleDtype::F16.snap_scale(spread * (1.0 + 0.1 * x));
        }
        if !symmetric {
            for (zero, x) in grid.zeros.iter_mut().zip(random(99, 8)) {
                let middle = f32::from(config.max_code()) / 2.0;
                *zero = (middle + 0.5 * x)
                    .round()
                    .clamp(0.0, f32::from(config.max_code()));
            }
        }
        let steps = grid.scales.len();
        let layer = OffsetGrid::new(matrix(ROWS, COLUMNS, &random(30, 9)), grid);
        let offsets = random(30, 10)
            .iter()
            .map(|x| (0.2 * x).clamp(-0.5, 0.5))
            .collect();
        let near_one = |seed| random(steps, seed).iter().map(|x| 1.0 + 0.05 * x).collect();
        (layer, [offsets, near_one(11), near_one(12)])
    }

    fn cases() -> impl Iterator<Item = (OffsetGrid, [Vec<f32>; 3])> {
        let kinds = [
            (2, 4, false),
            (2, 0, true),
            (3, 5, false),
            (4, 10, true),
            (4, 3, false),
        ];
        kinds
            .into_iter()
            .map(|(bits, group, symmetric)| case(bits, group, symmetric))
    }

    #[test]
    fn outputs_are_the_weights_of_the_integer_form() {
        for (layer, [offsets, low, high]) in cases() {
            let integers = layer.integers(&offsets, &low, &high, Method::Rtn);
            let found = layer.forward(&offsets, &low, &high);
            assert_eq!(found, integers.dequantize().data());
        }
    }

    #[test]
    fn without_offsets_and_at_factors_of_one_the_start_stands() {
        for (layer, [offsets, low, _]) in cases() {
            let (none, ones) = (vec![0.0; offsets.len()], vec![1.0; low.len()]);
            let integers = layer.integers(&none, &ones, &ones, Method::Rtn);
            let Grid::Affine(grid) = &integers.grid else {
                unreachable!("learned rounding gives affine grids");
            };
            assert_eq!(grid, layer.start.as_ref());
        }
    }

    /// `weights` with everything that is rounded frozen where it stands, in f64.
    fn twin(layer: &OffsetGrid, at: &[Vec<f32>; 3], moved: &[Vec<f64>]) -> Vec<f64> {
        let (groups, max) = (layer.start.groups(), f64::from(layer.max_code()));
        let symmetric = layer.start.config.symmetric;
        let value = |index: usize| {
            let group = index / COLUMNS * groups.count() + groups.of(index % COLUMNS);
            let range = layer.range(group);
            let (low, high) = (f64::from(range.low), f64::from(range.high));
            let stored = layer.step(group, at[1][group], at[2][group]).step;
            let exact_scale = |low_factor: f64, high_factor: f64| match symmetric {
                true => f64::from(layer.start.scales[group]) * high_factor,
                false => (high * high_factor - low * low_factor) / max,
            };
            let (was_low, was_high) = (f64::from(at[1][group]), f64::from(at[2][group]));
            let snapped = f64::from(stored.scale) - exact_scale(was_low, was_high);
            let scale = exact_scale(moved[1][group], moved[2][group]) + snapped;
            let zero = match symmetric {
                true => f64::from(stored.zero),
                false => {
                    let was = -low * was_low / f64::from(stored.scale);
                    -low * moved[1][group] / scale + (f64::from(stored.zero) - was)
                }
            };
            let weight = layer.weights.data()[index];
            let exact = f64::from(weight / stored.scale + stored.zero + at[0][index]);
            let rounded = exact.round_ties_even();
            let code = match (0.0..=max).contains(&rounded) {
                true => f64::from(weight) / scale + zero + moved[0][index] + rounded - exact,
                false => rounded.clamp(0.0, max),
            };
            scale * (code - zero)
        };
        (0..ROWS * COLUMNS).map(value).collect()
    }

    #[test]
    fn gradients_are_the_slopes_of_the_function_with_rounding_frozen() {
        for (layer, at) in cases() {
            let steps = at[1].len() / ROWS;
            let variables = [
                variable(at[0].clone(), (ROWS, COLUMNS)).unwrap(),
                variable(at[1].clone(), (ROWS, steps)).unwrap(),
                variable(at[2].clone(), (ROWS, steps)).unwrap(),
            ];
            let output = layer
                .weights(&variables[0], &variables[1], &variables[2])
                .unwrap();
            let label = format!("{:?}", layer.start.config);
            check_gradient(&label, &variables, &output, &|moved| {
                twin(&layer, &at, moved)
            });
        }
    }
}
