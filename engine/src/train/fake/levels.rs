//! Frozen codes whose scales, zeros or levels are learnt: the exact slope, for nothing is rounded.

use super::{by_rows, each_row, places};
use crate::codebook::NF4_LEVELS;
use crate::grid::{GridConfig, Groups};
use crate::mask::Mask;
use crate::solved::Codes;
use crate::train::values::{constant, floats, values_of};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use std::sync::Arc;

/// `scale * (code - zero)` with `scales` and `zeros` `[rows, groups]`; pruned weights stay zero.
pub fn grid_weights(
    scales: &Tensor,
    zeros: &Tensor,
    codes: Arc<Codes>,
    config: GridConfig,
    mask: Option<Arc<Mask>>,
) -> Result<Tensor> {
    let op = OnGrid {
        groups: config.groups(codes.columns),
        codes,
        mask,
    };
    scales.contiguous()?.apply_op2(&zeros.contiguous()?, op)
}

/// `scale * NF4 level[code]` with `scales` `[rows, blocks]` of `block` weights each.
pub fn block_weights(
    scales: &Tensor,
    codes: Arc<Codes>,
    block: usize,
    mask: Option<Arc<Mask>>,
) -> Result<Tensor> {
    let config = GridConfig {
        bits: 4,
        group: block,
        symmetric: true,
        scale_dtype: crate::grid::ScaleDtype::F32,
    };
    let op = OnLevels {
        groups: config.groups(codes.columns),
        codes,
        mask,
    };
    scales.contiguous()?.apply_op1(op)
}

/// `levels[palette of the row][code]` with `levels` `[palettes, 2^bits]`; each palette serves `rows_per_palette` rows
/// (0 = all).
pub fn palette_weights(
    levels: &Tensor,
    codes: Arc<Codes>,
    rows_per_palette: usize,
    mask: Option<Arc<Mask>>,
) -> Result<Tensor> {
    let op = OnPalettes {
        size: levels.dim(1)?,
        rows_per_palette,
        codes,
        mask,
    };
    levels.contiguous()?.apply_op1(op)
}

/// `gradient` where weights are kept, zero elsewhere.
fn kept_gradient(gradient: &Tensor, mask: Option<&Mask>) -> Result<Vec<f32>> {
    let mut gradient = values_of(gradient)?;
    if let Some(mask) = mask {
        for (value, &keep) in gradient.iter_mut().zip(&mask.keep) {
            *value = if keep { *value } else { 0.0 };
        }
    }
    Ok(gradient)
}

/// Sets the pruned weights of one row to zero.
fn prune_row(out: &mut [f32], mask: Option<&Mask>, row: usize) {
    if let Some(mask) = mask {
        for (out, &keep) in out.iter_mut().zip(mask.row(row)) {
            *out = if keep { *out } else { 0.0 };
        }
    }
}

struct OnGrid {
    codes: Arc<Codes>,
    groups: Groups,
    mask: Option<Arc<Mask>>,
}

impl CustomOp2 for OnGrid {
    fn name(&self) -> &'static str {
        "grid-weights"
    }

    fn cpu_fwd(
        &self,
        scales: &CpuStorage,
        scales_layout: &Layout,
        zeros: &CpuStorage,
        zeros_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (scales, zeros) = (floats(scales, scales_layout)?, floats(zeros, zeros_layout)?);
        let (rows, columns) = (self.codes.rows, self.codes.columns);
        let values = by_rows(rows, columns, |row, out| {
            for place in places(self.groups, row) {
                let (scale, zero) = (scales[place.group], zeros[place.group]);
                for column in place.columns {
                    out[column] = scale * (f32::from(self.codes.row(row)[column]) - zero);
                }
            }
            prune_row(out, self.mask.as_deref(), row);
        });
        Ok((CpuStorage::F32(values), (rows, columns).into()))
    }

    fn bwd(
        &self,
        scales: &Tensor,
        zeros: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = kept_gradient(gradient, self.mask.as_deref())?;
        let (scale_values, zero_values) = (values_of(scales)?, values_of(zeros)?);
        let of_steps = each_row(self.codes.rows, |row| {
            let gradient = &gradient[row * self.codes.columns..];
            let sums = places(self.groups, row).map(|place| {
                let (scale, zero) = (scale_values[place.group], zero_values[place.group]);
                let codes = self.codes.row(row)[place.columns.clone()].iter();
                let pairs = codes.zip(&gradient[place.columns]);
                pairs.fold((0.0, 0.0), |(of_scale, of_zero), (&code, &gradient)| {
                    let by_scale = gradient * (f32::from(code) - zero);
                    (of_scale + by_scale, of_zero - gradient * scale)
                })
            });
            sums.collect()
        });
        let (of_scales, of_zeros): (Vec<f32>, Vec<f32>) = of_steps.into_iter().unzip();
        Ok((
            Some(constant(of_scales, scales.shape())?),
            Some(constant(of_zeros, zeros.shape())?),
        ))
    }
}

struct OnLevels {
    codes: Arc<Codes>,
    groups: Groups,
    mask: Option<Arc<Mask>>,
}

impl OnLevels {
    fn level(&self, row: usize, column: usize) -> f32 {
        NF4_LEVELS[usize::from(self.codes.row(row)[column] & 15)]
    }
}

impl CustomOp1 for OnLevels {
    fn name(&self) -> &'static str {
        "block-weights"
    }

    fn cpu_fwd(&self, scales: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let scales = floats(scales, layout)?;
        let (rows, columns) = (self.codes.rows, self.codes.columns);
        let values = by_rows(rows, columns, |row, out| {
            for place in places(self.groups, row) {
                for column in place.columns {
                    out[column] = scales[place.group] * self.level(row, column);
                }
            }
            prune_row(out, self.mask.as_deref(), row);
        });
        Ok((CpuStorage::F32(values), (rows, columns).into()))
    }

    fn bwd(&self, scales: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = kept_gradient(gradient, self.mask.as_deref())?;
        let columns = self.codes.columns;
        let of_scales = each_row(self.codes.rows, |row| {
            let sums = places(self.groups, row).map(|place| {
                let values = place.columns;
                values.fold(0.0, |sum, column| {
                    sum + gradient[row * columns + column] * self.level(row, column)
                })
            });
            sums.collect()
        });
        Ok(Some(constant(of_scales, scales.shape())?))
    }
}

struct OnPalettes {
    codes: Arc<Codes>,
    size: usize,
    rows_per_palette: usize,
    mask: Option<Arc<Mask>>,
}

impl OnPalettes {
    /// Where the levels of a row begin.
    fn first(&self, row: usize) -> usize {
        self.size * row.checked_div(self.rows_per_palette).unwrap_or(0)
    }

    fn index(&self, code: u8) -> usize {
        usize::from(code) & (self.size - 1)
    }
}

impl CustomOp1 for OnPalettes {
    fn name(&self) -> &'static str {
        "palette-weights"
    }

    fn cpu_fwd(&self, levels: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let levels = floats(levels, layout)?;
        let (rows, columns) = (self.codes.rows, self.codes.columns);
        let values = by_rows(rows, columns, |row, out| {
            let levels = &levels[self.first(row)..];
            for (out, &code) in out.iter_mut().zip(self.codes.row(row)) {
                *out = levels[self.index(code)];
            }
            prune_row(out, self.mask.as_deref(), row);
        });
        Ok((CpuStorage::F32(values), (rows, columns).into()))
    }

    /// Rows add up their levels' gradients alone; then rows are added in order, whatever the threads.
    fn bwd(&self, levels: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = kept_gradient(gradient, self.mask.as_deref())?;
        let columns = self.codes.columns;
        let by_row = each_row(self.codes.rows, |row| {
            let mut sums = vec![0.0f32; self.size];
            let pairs = self.codes.row(row).iter().zip(&gradient[row * columns..]);
            for (&code, gradient) in pairs {
                sums[self.index(code)] += gradient;
            }
            sums
        });
        let mut of_levels = vec![0.0; levels.elem_count()];
        for (row, sums) in by_row.chunks(self.size).enumerate() {
            let levels = &mut of_levels[self.first(row)..];
            levels
                .iter_mut()
                .zip(sums)
                .for_each(|(level, sum)| *level += sum);
        }
        Ok(Some(constant(of_levels, levels.shape())?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{check_gradient, random};
    use super::*;
    use crate::grid::ScaleDtype;
    use crate::mask::SparsityPattern;
    use crate::rng::Rng;
    use crate::train::values::variable;

    const ROWS: usize = 5;
    const COLUMNS: usize = 11;

    fn codes(bits: u8) -> Arc<Codes> {
        let mut rng = Rng::new(4, 0);
        let values = (0..ROWS * COLUMNS)
            .map(|_| rng.below(1 << bits) as u8)
            .collect();
        Arc::new(Codes {
            rows: ROWS,
            columns: COLUMNS,
            values,
        })
    }

    fn masks() -> [Option<Arc<Mask>>; 2] {
        let keep = (0..ROWS * COLUMNS).map(|index| index % 3 != 1).collect();
        let mask = Mask {
            pattern: SparsityPattern::Unstructured,
            columns: COLUMNS,
            keep,
        };
        [None, Some(Arc::new(mask))]
    }

    fn kept(mask: Option<&Arc<Mask>>, index: usize) -> f64 {
        mask.map_or(1.0, |mask| f64::from(u8::from(mask.keep[index])))
    }

    #[test]
    fn scales_and_zeros_of_frozen_codes_have_their_slopes() {
        for (mask, group) in masks().into_iter().zip([4, 0]) {
            let config = GridConfig {
                bits: 3,
                group,
                symmetric: false,
                scale_dtype: ScaleDtype::F32,
            };
            let (codes, groups) = (codes(3), config.groups(COLUMNS));
            let shape = (ROWS, groups.count());
            let steps = ROWS * groups.count();
            let variables = [
                variable(random(steps, 1), shape).unwrap(),
                variable(random(steps, 2), shape).unwrap(),
            ];
            let [scales, zeros] = &variables;
            let found = grid_weights(scales, zeros, codes.clone(), config, mask.clone()).unwrap();
            check_gradient("grid", &variables, &found, &|moved| {
                let value = |index: usize| {
                    let (row, column) = (index / COLUMNS, index % COLUMNS);
                    let group = row * groups.count() + groups.of(column);
                    let code = f64::from(codes.values[index]);
                    kept(mask.as_ref(), index) * moved[0][group] * (code - moved[1][group])
                };
                (0..ROWS * COLUMNS).map(value).collect()
            });
        }
    }

    #[test]
    fn block_scales_have_their_slopes() {
        for mask in masks() {
            let codes = codes(4);
            let variables = [variable(random(ROWS * 3, 1), (ROWS, 3)).unwrap()];
            let found = block_weights(&variables[0], codes.clone(), 4, mask.clone()).unwrap();
            check_gradient("blocks", &variables, &found, &|moved| {
                let value = |index: usize| {
                    let block = index / COLUMNS * 3 + index % COLUMNS / 4;
                    let level = f64::from(NF4_LEVELS[usize::from(codes.values[index])]);
                    kept(mask.as_ref(), index) * moved[0][block] * level
                };
                (0..ROWS * COLUMNS).map(value).collect()
            });
        }
    }

    #[test]
    fn levels_of_palettes_have_their_slopes() {
        for (mask, rows_per_palette) in masks().into_iter().zip([2, 0]) {
            let codes = codes(2);
            let palettes = if rows_per_palette == 0 { 1 } else { 3 };
            let variables = [variable(random(palettes * 4, 1), (palettes, 4)).unwrap()];
            let found =
                palette_weights(&variables[0], codes.clone(), rows_per_palette, mask.clone());
            check_gradient("palettes", &variables, &found.unwrap(), &|moved| {
                let value = |index: usize| {
                    let palette = (index / COLUMNS).checked_div(rows_per_palette).unwrap_or(0);
                    let code = usize::from(codes.values[index]);
                    kept(mask.as_ref(), index) * moved[0][palette * 4 + code]
                };
                (0..ROWS * COLUMNS).map(value).collect()
            });
        }
    }
}
