//! The layout of MLX's affine quantization, as mlx-lm saves and loads it.
//!
//! ```text
//! weight   u32 [out, in * bits / 32]   row `o` is one bit stream of codes along `in`, low bits first
//! scales   f16, bf16, f32 [out, in / group]
//! biases   as scales                   what code 0 stands for
//! ```
//!
//! A weight is `scale * code + bias`. Codes are 2, 3, 4, 5, 6 or 8 bits wide and cross the edges of words; groups are
//! 32, 64 or 128 inputs and divide the width. (MLX counts 3, 5 and 6 bits in bytes and the others in words, which on
//! little-endian machines is the same stream.)
//!
//! A grid `scale * (code - zero)` has the bias `-scale * zero`, rounded to the dtype of the scales: all weights of a group
//! move by at most half a unit in the last place of its bias. Whoever solves for this layout chooses codes after that
//! (`solve::chosen_for_biases`). A symmetric zero is a power of two, so that its bias is exact. Layers with zeros left out must be symmetric: only then is the weight of the
//! code that stands in their place 0, whatever the width in which it is computed.
//!
//! Scales of other programs may be negative; they are kept so. Knows no file and no config; `formats` writes those.

mod unfit;

pub use unfit::{BITS, GROUPS, Unfit, nearest_bits, nearest_group, unfit};

use super::kind::{PartSpec, bytes_of, dtype_of_scales, specs_of};
use super::manifest::TOO_LARGE;
use super::{PackError, Part, bits, floats};
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::solved::{Codes, Grid, Method, Solved};
use crate::tensor::Dtype;

/// Bits of a word.
const WORD_BITS: usize = 32;

/// The tensors of a layer that fits: suffix after the layer's name, dtype, shape, bytes. `None` where a size does not
/// exist.
pub fn parts(config: GridConfig, rows: usize, columns: usize) -> Option<Vec<PartSpec>> {
    specs_of(|see| each_part(config, rows, columns, see))
}

/// Bytes of these tensors. `None` where the number does not exist.
pub fn stored_bytes(config: GridConfig, rows: usize, columns: usize) -> Option<u64> {
    bytes_of(|see| each_part(config, rows, columns, see))
}

/// Shows `see` the suffix, dtype and shape of each tensor, in order. Allocates nothing.
fn each_part(
    config: GridConfig,
    rows: usize,
    columns: usize,
    mut see: impl FnMut(&'static str, Dtype, &[usize]) -> Option<()>,
) -> Option<()> {
    let words = columns.checked_mul(usize::from(config.bits))? / WORD_BITS;
    let groups = config.groups(columns).count();
    let dtype = dtype_of_scales(config.scale_dtype);
    see("biases", dtype, &[rows, groups])?;
    see("scales", dtype, &[rows, groups])?;
    see("weight", Dtype::U32, &[rows, words])
}

/// Packs a solved layer that fits into the layout that was planned: codes as wide as they were solved or wider, scales and
/// biases in the dtype planned. (A layer whose zeros want more precision than its scales is solved as f32.)
pub fn pack(name: &str, solved: &Solved, planned: GridConfig) -> Result<Vec<Part>, PackError> {
    let unfit_layer = |problem: String| PackError {
        layer: name.to_owned(),
        problem,
    };
    let bits = planned.bits;
    let grid = fitting_grid(solved, bits).map_err(unfit_layer)?;
    let config = GridConfig {
        bits,
        scale_dtype: planned.scale_dtype,
        ..grid.config
    };
    let biases = biases(grid, config.scale_dtype).map_err(unfit_layer)?;
    let codes = kept_codes(solved, grid);
    let bytes = [
        floats::to_bytes(&biases, config.scale_dtype),
        floats::to_bytes(&grid.scales, config.scale_dtype),
        bits::pack_rows(&codes.values, codes.columns, bits),
    ];
    let specs =
        parts(config, grid.rows, grid.columns).ok_or_else(|| unfit_layer(TOO_LARGE.to_owned()))?;
    Ok(specs
        .into_iter()
        .zip(bytes)
        .map(|(spec, bytes)| spec.filled(bytes))
        .collect())
}

/// The bytes of a stored layer's tensors.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// `weight`.
    pub weight: &'a [u8],
    /// `scales`.
    pub scales: &'a [u8],
    /// `biases`.
    pub biases: &'a [u8],
}

/// Reads a stored layer, whoever wrote it, as a grid with fractional zeros `-bias / scale`. The error says what does not
/// fit.
pub fn unpack(
    config: GridConfig,
    rows: usize,
    columns: usize,
    stored: Stored<'_>,
) -> Result<Solved, String> {
    check_layout(config, rows, columns, &stored)?;
    let mut values = bits::unpack_rows(stored.weight, columns, config.bits);
    let scales = finite("scales", stored.scales, config)?;
    let biases = finite("biases", stored.biases, config)?;
    let mut grid = AffineGrid {
        config: GridConfig {
            symmetric: false,
            ..config
        },
        rows,
        columns,
        zeros: zeros(&scales, &biases),
        scales,
        fractional_zeros: true,
    };
    spread_constants(&mut grid, &biases, &mut values);
    Ok(Solved {
        method: Method::Rtn,
        codes: Codes {
            rows,
            columns,
            values,
        },
        grid: Grid::Affine(grid),
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    })
}

/// The grid of a layer that can be packed with codes of `bits`.
fn fitting_grid(solved: &Solved, bits: u8) -> Result<&AffineGrid, String> {
    let grid = match &solved.grid {
        Grid::Affine(grid) => grid,
        Grid::Codebook(_) => return Err(Unfit::Codebook.to_string()),
        Grid::Palette(_) => return Err(Unfit::Palette.to_string()),
        Grid::Floats(_) | Grid::Nothing => return Err(Unfit::Floats.to_string()),
    };
    if solved.factors.is_some() {
        return Err(Unfit::Factors.to_string());
    }
    if solved.mask.is_some() && !is_centred(grid) {
        return Err(Unfit::Zeros.to_string());
    }
    if bits < grid.config.bits {
        return Err(format!("{} bits do not fit {bits}", grid.config.bits));
    }
    let config = GridConfig {
        bits,
        ..grid.config
    };
    match unfit(Method::Rtn, config, false, grid.columns) {
        Some(reason) => Err(reason.to_string()),
        None => Ok(grid),
    }
}

fn is_centred(grid: &AffineGrid) -> bool {
    let middle = grid.config.middle();
    grid.zeros.iter().all(|&zero| zero == middle)
}

/// `-scale * zero` of each group in the dtype of the scales.
fn biases(grid: &AffineGrid, dtype: ScaleDtype) -> Result<Vec<f32>, String> {
    let steps = grid.scales.iter().zip(&grid.zeros);
    steps
        .map(|(&scale, &zero)| {
            // 0 and not -0 where the zero is 0.
            let bias = 0.0 - dtype.snap(scale * zero);
            let is_lost = !bias.is_finite() || !scale.is_finite();
            match is_lost {
                true => Err(format!(
                    "the bias {} does not fit {}",
                    scale * zero,
                    dtype_of_scales(dtype)
                )),
                false => Ok(bias),
            }
        })
        .collect()
}

fn zeros(scales: &[f32], biases: &[f32]) -> Vec<f32> {
    let steps = scales.iter().zip(biases);
    steps.map(|(&scale, &bias)| 0.0 - bias / scale).collect()
}

/// Groups whose scale is 0, or as good as 0 beside their bias, hold that whatever their codes: a scale of the bias, and
/// code 1 everywhere.
fn spread_constants(grid: &mut AffineGrid, biases: &[f32], codes: &mut [u8]) {
    let groups = grid.groups();
    for (index, &bias) in biases.iter().enumerate() {
        if grid.scales[index] != 0.0 && grid.zeros[index].is_finite() {
            continue;
        }
        let (row, group) = (index / groups.count(), index % groups.count());
        let range = groups.range(group);
        codes[row * grid.columns + range.start..row * grid.columns + range.end].fill(1);
        (grid.scales[index], grid.zeros[index]) = match bias == 0.0 {
            true => (1.0, 1.0),
            false => (bias, 0.0),
        };
    }
}

/// Codes with the zero of their group where the mask keeps nothing.
fn kept_codes(solved: &Solved, grid: &AffineGrid) -> Codes {
    let mut codes = solved.codes.clone();
    if let Some(mask) = &solved.mask {
        let masked = codes.values.iter_mut().zip(&mask.keep);
        for (code, _) in masked.filter(|(_, keep)| !**keep) {
            *code = grid.config.middle() as u8;
        }
    }
    codes
}

fn finite(part: &str, bytes: &[u8], config: GridConfig) -> Result<Vec<f32>, String> {
    let values = floats::from_bytes(bytes, config.scale_dtype);
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("its {part} hold the value {value}")),
        None => Ok(values),
    }
}

fn check_layout(
    config: GridConfig,
    rows: usize,
    columns: usize,
    stored: &Stored<'_>,
) -> Result<(), String> {
    if rows == 0 || columns == 0 || rows.checked_mul(columns).is_none() {
        return Err(format!("it has {rows} x {columns} weights"));
    }
    if let Some(reason) = unfit(Method::Rtn, config, false, columns) {
        return Err(reason.to_string());
    }
    let found = [stored.biases, stored.scales, stored.weight];
    let specs = parts(config, rows, columns).ok_or(TOO_LARGE)?;
    for (spec, found) in specs.iter().zip(found) {
        if found.len() as u64 != spec.size_bytes {
            return Err(format!(
                "its {} has {} bytes instead of {}",
                spec.suffix,
                found.len(),
                spec.size_bytes
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
