//! Latent float weights on an affine grid whose scales and zeros are learnt too.

use super::{by_rows, each_row, places};
use crate::grid::{AffineGrid, GridConfig, Step};
use crate::kernels::quantize;
use crate::solved::{Codes, Grid, Method, Solved};
use crate::tensor::Matrix;
use crate::train::values::{constant, floats, values_of};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

/// How float weights, scales and zeros become codes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatentGrid {
    /// Bits, group, symmetry, scale dtype.
    pub config: GridConfig,
    /// Rows (outputs).
    pub rows: usize,
    /// Columns (inputs).
    pub columns: usize,
    /// Zeros are real numbers in the scale dtype, else they are rounded to codes.
    pub fractional_zeros: bool,
}

/// `scale * (clamp(round(w / scale + zero), 0, max) - zero)` of `weights` `[rows, columns]` with `scales` and `zeros`
/// `[rows, groups]`, scales and zeros first made what can be stored; all three get gradients.
pub fn fake_quantize(
    weights: &Tensor,
    scales: &Tensor,
    zeros: &Tensor,
    grid: LatentGrid,
) -> Result<Tensor> {
    weights.contiguous()?.apply_op3(scales, zeros, Fake(grid))
}

impl LatentGrid {
    /// The stored step that these values stand for.
    fn step(&self, scale: f32, zero: f32) -> Step {
        let scale = self.config.scale_dtype.snap_scale(scale);
        let zero = if self.config.symmetric {
            self.config.middle()
        } else if self.fractional_zeros {
            self.config.scale_dtype.snap(zero)
        } else {
            zero.round_ties_even().clamp(0.0, self.max_code())
        };
        Step { scale, zero }
    }

    fn max_code(&self) -> f32 {
        f32::from(self.config.max_code())
    }

    /// The codes and the grid that `fake_quantize` shows: its outputs are this layer's weights, to the last bit.
    pub fn integers(&self, weights: &[f32], scales: &[f32], zeros: &[f32]) -> Solved {
        let groups = self.config.groups(self.columns);
        let mut grid = AffineGrid::neutral(self.config, self.rows, self.columns);
        grid.fractional_zeros = self.fractional_zeros;
        for (index, (&scale, &zero)) in scales.iter().zip(zeros).enumerate() {
            let step = self.step(scale, zero);
            (grid.scales[index], grid.zeros[index]) = (step.scale, step.zero);
        }
        let mut codes = vec![0; weights.len()];
        let rows = codes.chunks_mut(self.columns.max(1));
        for (row, (codes, weights)) in rows.zip(weights.chunks(self.columns.max(1))).enumerate() {
            for place in places(groups, row) {
                let (scale, zero) = (grid.scales[place.group], grid.zeros[place.group]);
                let (weights, codes) = (&weights[place.columns.clone()], &mut codes[place.columns]);
                quantize::encode(weights, scale, zero, self.max_code(), codes);
            }
        }
        Solved {
            method: Method::Rtn,
            codes: Codes {
                rows: self.rows,
                columns: self.columns,
                values: codes,
            },
            grid: Grid::Affine(grid),
            mask: None,
            factors: None,
            loss: None,
            warnings: Vec::new(),
        }
    }

    /// The values that `fake_quantize` gives.
    pub fn values(&self, weights: &Matrix, scales: &[f32], zeros: &[f32]) -> Vec<f32> {
        forward(self, weights.data(), scales, zeros)
    }
}

fn forward(grid: &LatentGrid, weights: &[f32], scales: &[f32], zeros: &[f32]) -> Vec<f32> {
    let (columns, max_code) = (grid.columns, grid.max_code());
    let groups = grid.config.groups(columns);
    by_rows(grid.rows, columns, |row, out| {
        let weights = &weights[row * columns..(row + 1) * columns];
        for place in places(groups, row) {
            let step = grid.step(scales[place.group], zeros[place.group]);
            let pairs = out[place.columns.clone()].iter_mut();
            for (out, &weight) in pairs.zip(&weights[place.columns]) {
                *out = step.weight(step.code(weight, max_code));
            }
        }
    })
}

struct Fake(LatentGrid);

impl CustomOp3 for Fake {
    fn name(&self) -> &'static str {
        "fake-quantize"
    }

    fn cpu_fwd(
        &self,
        weights: &CpuStorage,
        weights_layout: &Layout,
        scales: &CpuStorage,
        scales_layout: &Layout,
        zeros: &CpuStorage,
        zeros_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let values = forward(
            &self.0,
            floats(weights, weights_layout)?,
            floats(scales, scales_layout)?,
            floats(zeros, zeros_layout)?,
        );
        Ok((CpuStorage::F32(values), weights_layout.shape().clone()))
    }

    fn bwd(
        &self,
        weights: &Tensor,
        scales: &Tensor,
        zeros: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (grid, columns) = (&self.0, self.0.columns);
        let (plain, scale_values) = (values_of(weights)?, values_of(scales)?);
        let (zero_values, gradient) = (values_of(zeros)?, values_of(gradient)?);
        let (groups, max_code) = (grid.config.groups(columns), grid.max_code());
        let of_row = |row: usize| &plain[row * columns..(row + 1) * columns];
        let gradient_of_row = |row: usize| &gradient[row * columns..(row + 1) * columns];
        let step = |group: usize| grid.step(scale_values[group], zero_values[group]);
        let of_weights = by_rows(grid.rows, columns, |row, out| {
            for place in places(groups, row) {
                let step = step(place.group);
                for column in place.columns {
                    let inside = is_inside(step, of_row(row)[column], max_code);
                    out[column] = if inside {
                        gradient_of_row(row)[column]
                    } else {
                        0.0
                    };
                }
            }
        });
        let of_steps = each_row(grid.rows, |row| {
            let sums = places(groups, row).map(|place| {
                let step = step(place.group);
                let weights = &of_row(row)[place.columns.clone()];
                let pairs = weights.iter().zip(&gradient_of_row(row)[place.columns]);
                pairs.fold((0.0, 0.0), |(of_scale, of_zero), (&weight, &gradient)| {
                    let (by_scale, by_zero) = slopes(step, weight, max_code);
                    (of_scale + gradient * by_scale, of_zero + gradient * by_zero)
                })
            });
            sums.collect()
        });
        let (of_scales, of_zeros): (Vec<f32>, Vec<f32>) = of_steps.into_iter().unzip();
        Ok((
            Some(constant(of_weights, weights.shape())?),
            Some(constant(of_scales, scales.shape())?),
            Some(constant(of_zeros, zeros.shape())?).filter(|_| !grid.config.symmetric),
        ))
    }
}

/// Whether a weight lies on the grid and not beyond its ends.
fn is_inside(step: Step, weight: f32, max_code: f32) -> bool {
    let place = (weight / step.scale + step.zero).round_ties_even();
    (0.0..=max_code).contains(&place)
}

/// Slopes of one output over scale and zero.
fn slopes(step: Step, weight: f32, max_code: f32) -> (f32, f32) {
    let level = step.code(weight, max_code) - step.zero;
    if is_inside(step, weight, max_code) {
        (level - weight / step.scale, 0.0)
    } else {
        (level, -step.scale)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{check_gradient, matrix, random};
    use super::*;
    use crate::grid::ScaleDtype;
    use crate::train::values::variable;

    fn grid(bits: u8, group: usize, symmetric: bool, fractional_zeros: bool) -> LatentGrid {
        LatentGrid {
            config: GridConfig {
                bits,
                group,
                symmetric,
                scale_dtype: ScaleDtype::F16,
            },
            rows: 3,
            columns: 10,
            fractional_zeros,
        }
    }

    /// A grid with weights, scales and zeros.
    type Case = (LatentGrid, Vec<f32>, Vec<f32>, Vec<f32>);

    /// All kinds of grids, with weights some of which lie beyond the ends.
    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for (bits, group) in [(2, 4), (3, 0), (4, 10), (8, 3)] {
            for (symmetric, fractional) in [(true, false), (false, false), (false, true)] {
                let grid = grid(bits, group, symmetric, fractional);
                let steps = 3 * grid.config.groups(10).count();
                let spread = 2.2 / f32::from(grid.config.max_code());
                let scales = random(steps, 7)
                    .into_iter()
                    .map(|x| spread * (1.0 + 0.1 * x));
                let middle = grid.config.middle();
                let zeros = random(steps, 8).iter().map(|x| middle + 0.3 * x).collect();
                cases.push((grid, random(30, 9), scales.collect(), zeros));
            }
        }
        cases
    }

    #[test]
    fn outputs_are_the_weights_of_the_integer_form() {
        for (grid, weights, scales, zeros) in cases() {
            let found = grid.values(&matrix(3, 10, &weights), &scales, &zeros);
            let integers = grid.integers(&weights, &scales, &zeros);
            assert_eq!(found, integers.dequantize().data(), "{grid:?}");
        }
    }

    /// The same function with rounding frozen where it stands, in f64: what the gradient is the slope of.
    fn twin(
        grid: &LatentGrid,
        at: (&[f32], &[f32], &[f32]),
        moved: (&[f64], &[f64], &[f64]),
    ) -> Vec<f64> {
        let groups = grid.config.groups(grid.columns);
        let max_code = f64::from(grid.max_code());
        let mut output = Vec::new();
        for index in 0..grid.rows * grid.columns {
            let (row, column) = (index / grid.columns, index % grid.columns);
            let group = row * groups.count() + groups.of(column);
            let stored = grid.step(at.1[group], at.2[group]);
            let scale = moved.1[group] + f64::from(stored.scale - at.1[group]);
            let zero = match grid.config.symmetric {
                true => f64::from(stored.zero),
                false => moved.2[group] + f64::from(stored.zero - at.2[group]),
            };
            let exact = f64::from(at.0[index] / stored.scale + stored.zero);
            let rounded = exact.round_ties_even();
            let code = match (0.0..=max_code).contains(&rounded) {
                true => moved.0[index] / scale + zero + rounded - exact,
                false => rounded.clamp(0.0, max_code),
            };
            output.push(scale * (code - zero));
        }
        output
    }

    #[test]
    fn gradients_are_the_slopes_of_the_function_with_rounding_frozen() {
        for (grid, weights, scales, zeros) in cases() {
            let steps = scales.len() / 3;
            let variables = [
                variable(weights.clone(), (3, 10)).unwrap(),
                variable(scales.clone(), (3, steps)).unwrap(),
                variable(zeros.clone(), (3, steps)).unwrap(),
            ];
            let [w, s, z] = &variables;
            let output = fake_quantize(w, s, z, grid).unwrap();
            let twin = |moved: &[Vec<f64>]| {
                let moved = (&moved[0][..], &moved[1][..], &moved[2][..]);
                twin(&grid, (&weights, &scales, &zeros), moved)
            };
            check_gradient(&format!("{grid:?}"), &variables, &output, &twin);
        }
    }
}
