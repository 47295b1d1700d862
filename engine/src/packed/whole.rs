//! What containers of evenly spaced levels with whole zeros take of a solved layer, and how they give it back.
//!
//! Knows no layout: each container orders codes, zeros and scales in its own way.

use super::pack::whole_zero;
use super::{PackError, Part, PartSpec};
use crate::grid::{AffineGrid, GridConfig};
use crate::solved::{Codes, Grid, Method, Solved};
use std::borrow::Cow;

/// Codes, zeros and scales of a layer; pruned weights have the code of their zero.
#[derive(Debug)]
pub(super) struct Whole<'solved> {
    /// `[rows, columns]`.
    pub(super) codes: Cow<'solved, Codes>,
    /// Scales `[rows, groups]`, and what the codes lie on.
    pub(super) grid: &'solved AffineGrid,
    /// `[rows, groups]`.
    pub(super) zeros: Vec<u8>,
}

impl<'solved> Whole<'solved> {
    /// What `solved` holds, where its grid is `planned`.
    pub(super) fn of(
        name: &str,
        solved: &'solved Solved,
        planned: GridConfig,
    ) -> Result<Self, PackError> {
        Self::find(solved, planned).map_err(|problem| PackError {
            layer: name.to_owned(),
            problem,
        })
    }

    fn find(solved: &'solved Solved, planned: GridConfig) -> Result<Self, String> {
        let Grid::Affine(grid) = &solved.grid else {
            return Err("it holds evenly spaced levels, and the layer has none".to_owned());
        };
        if solved.factors.is_some() {
            return Err("it has no place for factors".to_owned());
        }
        if grid.fractional_zeros {
            return Err("it holds whole zeros, not fractional ones".to_owned());
        }
        let found = grid.config;
        let is_planned = (found.bits, found.scale_dtype) == (planned.bits, planned.scale_dtype)
            && grid.groups() == planned.groups(grid.columns)
            && (found.symmetric || !planned.symmetric);
        if !is_planned {
            return Err(format!("it was planned as {planned} and solved as {found}"));
        }
        if let Some(scale) = grid
            .scales
            .iter()
            .find(|&&scale| found.scale_dtype.snap(scale) != scale)
        {
            return Err(format!("the scale {scale} is not exact in its dtype"));
        }
        let zeros = grid.zeros.iter();
        Ok(Self {
            codes: codes_with_zeros(solved, grid),
            grid,
            zeros: zeros
                .map(|&zero| whole_zero(zero, found.max_code()))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Codes with the zero of their group where the mask keeps nothing: zeros are whole, so that it stands for 0 exactly.
fn codes_with_zeros<'solved>(solved: &'solved Solved, grid: &AffineGrid) -> Cow<'solved, Codes> {
    let Some(mask) = &solved.mask else {
        return Cow::Borrowed(&solved.codes);
    };
    let groups = grid.groups();
    let mut codes = solved.codes.clone();
    for (index, (code, &keep)) in codes.values.iter_mut().zip(&mask.keep).enumerate() {
        let (row, column) = (index / mask.columns, index % mask.columns);
        if !keep {
            *code = grid.step(row, groups.of(column)).zero as u8;
        }
    }
    Cow::Owned(codes)
}

/// A layer as read: codes `[rows, columns]`, zeros and scales `[rows, groups]`. A grid whose zeros all lie in the middle
/// is symmetric, whatever was said of it. The error is the end of a sentence.
pub(super) fn solved(
    config: GridConfig,
    codes: Codes,
    zeros: Vec<f32>,
    scales: Vec<f32>,
) -> Result<Solved, String> {
    if let Some(scale) = scales.iter().find(|scale| !scale.is_finite()) {
        return Err(format!("its scales hold the value {scale}"));
    }
    let middle = config.middle();
    let config = GridConfig {
        symmetric: zeros.iter().all(|&zero| zero == middle),
        ..config
    };
    Ok(Solved {
        method: Method::Rtn,
        grid: Grid::Affine(AffineGrid {
            config,
            rows: codes.rows,
            columns: codes.columns,
            scales,
            zeros,
            fractional_zeros: false,
        }),
        codes,
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    })
}

/// The part of that kind: right type, shape and bytes. The error is the end of a sentence.
pub(super) fn checked<'parts>(
    spec: &PartSpec,
    parts: &'parts [Part],
) -> Result<&'parts [u8], String> {
    let part = super::external::part_of(parts, spec.suffix)?;
    if (part.dtype, &part.shape) != (spec.dtype, &spec.shape)
        || part.bytes.len() as u64 != spec.size_bytes
    {
        return Err(format!(
            "its {} is {} {:?} instead of {} {:?}",
            spec.suffix, part.dtype, part.shape, spec.dtype, spec.shape
        ));
    }
    Ok(&part.bytes)
}

/// Why a layer of this shape cannot be unpacked at all.
pub(super) fn check_shape(rows: usize, columns: usize) -> Result<(), String> {
    match rows.checked_mul(columns) {
        Some(weights) if weights > 0 => Ok(()),
        _ => Err(format!("it has {rows} x {columns} weights")),
    }
}

#[cfg(test)]
pub(super) mod testing {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Bytes of a text of hexadecimal digits.
    pub(in crate::packed) fn bytes_of_hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().collect();
        let pairs = digits.chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap())
            .collect()
    }

    /// A layer that other languages make too: code `7 r + 3 c`, zero `3 r + 5 g`, scale `(1 + g) / 2^(r mod 3)`.
    pub(in crate::packed) fn formula(config: GridConfig, rows: usize, columns: usize) -> Solved {
        let levels = 1 << config.bits;
        let groups = config.groups(columns).count();
        let codes =
            (0..rows * columns).map(|at| ((at / columns * 7 + at % columns * 3) % levels) as u8);
        let each = |of: &dyn Fn(usize, usize) -> f32| -> Vec<f32> {
            (0..rows * groups)
                .map(|at| of(at / groups, at % groups))
                .collect()
        };
        let zeros = each(&|row, group| match config.symmetric {
            true => config.middle(),
            false => ((3 * row + 5 * group) % levels) as f32,
        });
        let scales = each(&|row, group| (1 + group) as f32 / f32::from(1u8 << (row % 3)));
        let codes = Codes {
            rows,
            columns,
            values: codes.collect(),
        };
        solved(config, codes, zeros, scales).unwrap()
    }
}
