//! A solved layer becomes bytes. Refuses what the bytes cannot hold: that is a solver's mistake.

use super::stored::Stored;
use super::{
    ActivationPlan, LayerManifest, OriginalTensor, PackError, PackedLayer, Part, bits,
    dtype_of_scales, floats, sparse,
};
use crate::codebook::{BlockCodebook, BlockScales, Palettes};
use crate::grid::{AffineGrid, ScaleDtype};
use crate::solved::{Codes, Grid, LowRank, Solved};

/// Packs a solved layer that stands for `tensor` and does to its inputs what `activations` says.
pub fn pack(
    name: &str,
    tensor: OriginalTensor,
    solved: &Solved,
    activations: &ActivationPlan,
) -> Result<PackedLayer, PackError> {
    let unfit = |problem: String| PackError {
        layer: name.to_owned(),
        problem,
    };
    let manifest = LayerManifest::of_solved(name, tensor, solved, activations.kind());
    let specs = manifest.parts().map_err(|error| unfit(error.to_string()))?;
    let bytes = weight_bytes(solved, &manifest.stored).map_err(unfit)?;
    let mut parts: Vec<Part> = specs
        .into_iter()
        .zip(bytes)
        .map(|(spec, bytes)| spec.filled(bytes))
        .collect();
    parts.extend(activations.parts().map_err(unfit)?);
    let written: u64 = parts.iter().map(|part| part.bytes.len() as u64).sum();
    if written != manifest.stored_bytes() {
        return Err(unfit(format!(
            "its scales do not fit its shape ({written} bytes instead of {})",
            manifest.stored_bytes()
        )));
    }
    Ok(PackedLayer { manifest, parts })
}

/// The bytes of the parts that hold weights, in the order of `Stored::parts`. The error is a clause.
fn weight_bytes(solved: &Solved, stored: &Stored) -> Result<Vec<Vec<u8>>, String> {
    let (rows, columns) = (solved.codes.rows, solved.codes.columns);
    if let Some(mask) = &solved.mask
        && (mask.columns != columns || mask.keep.len() != rows * columns)
    {
        return Err("its mask does not fit its shape".to_owned());
    }
    let mut bytes = Vec::new();
    match (stored.code.bits(), &solved.grid) {
        (Some(bits), _) => bytes.push(code_bytes(solved, stored, bits)?),
        (None, Grid::Floats(values)) => {
            if values.values.len() != rows * columns {
                return Err("the number of its values does not fit its shape".to_owned());
            }
            let kept = match &solved.mask {
                Some(mask) => &sparse::gather(&values.values, mask),
                None => &values.values,
            };
            bytes.push(floats::exact(kept, values.dtype)?);
        }
        (None, _) => {}
    }
    match &solved.grid {
        Grid::Affine(grid) => pack_affine(grid, &mut bytes)?,
        Grid::Codebook(codebook) => pack_codebook(codebook, &mut bytes),
        Grid::Palette(palettes) => bytes.push(pack_palettes(palettes)?),
        Grid::Floats(_) | Grid::Nothing => {}
    }
    if let Some(mask) = &solved.mask {
        bytes.push(sparse::pack_mask(mask)?);
    }
    if let Some(factors) = &solved.factors {
        bytes.extend(pack_factors(factors, rows, columns)?);
    }
    Ok(bytes)
}

fn code_bytes(solved: &Solved, stored: &Stored, bits: u8) -> Result<Vec<u8>, String> {
    check_codes(&solved.codes, bits)?;
    let Some(mask) = &solved.mask else {
        let codes = &solved.codes;
        return Ok(bits::pack_rows(&codes.values, codes.columns, bits));
    };
    let kept = sparse::gather(&solved.codes.values, mask);
    let of_row = stored.values_of_row(mask.columns);
    // What has no rows of one length is one row.
    Ok(bits::pack_rows(&kept, of_row.unwrap_or(kept.len()), bits))
}

fn pack_factors(factors: &LowRank, rows: usize, columns: usize) -> Result<[Vec<u8>; 2], String> {
    let (outer, inner) = (&factors.outer, &factors.inner);
    if (outer.rows(), outer.columns()) != (rows, factors.rank()) || inner.columns() != columns {
        return Err("its factors do not fit its shape".to_owned());
    }
    Ok([
        finite(outer.data(), factors.dtype)?,
        finite(inner.data(), factors.dtype)?,
    ])
}

fn pack_palettes(palettes: &Palettes) -> Result<Vec<u8>, String> {
    let size = 1 << palettes.bits;
    let is_ascending = |levels: &[f32]| levels.is_sorted();
    if palettes.levels.len() != size * Palettes::count(palettes.rows, palettes.rows_per_palette) {
        return Err("the number of its levels does not fit its shape".to_owned());
    }
    if !palettes.levels.chunks(size).all(is_ascending) {
        return Err("the levels of a palette do not ascend".to_owned());
    }
    finite(&palettes.levels, palettes.level_dtype)
}

fn finite(values: &[f32], dtype: ScaleDtype) -> Result<Vec<u8>, String> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("{value} is no level and no factor")),
        None => exact_floats(values, dtype),
    }
}

fn check_codes(codes: &Codes, bits: u8) -> Result<(), String> {
    if codes.values.len() != codes.rows * codes.columns {
        return Err("the number of its codes does not fit its shape".into());
    }
    let max_code = ((1u16 << bits) - 1) as u8;
    match codes.values.iter().max() {
        Some(&largest) if largest > max_code => {
            Err(format!("code {largest} does not fit {bits} bits"))
        }
        _ => Ok(()),
    }
}

fn pack_affine(grid: &AffineGrid, bytes: &mut Vec<Vec<u8>>) -> Result<(), String> {
    let config = grid.config;
    bytes.push(exact_floats(&grid.scales, config.scale_dtype)?);
    if grid.fractional_zeros {
        bytes.push(exact_floats(&grid.zeros, config.scale_dtype)?);
        return Ok(());
    }
    let middle = config.middle();
    if config.symmetric {
        return match grid.zeros.iter().find(|&&zero| zero != middle) {
            Some(zero) => Err(format!("its grid is symmetric but has the zero {zero}")),
            None => Ok(()),
        };
    }
    let codes = grid
        .zeros
        .iter()
        .map(|&zero| whole_zero(zero, config.max_code()))
        .collect::<Result<Vec<u8>, _>>()?;
    bytes.push(bits::pack_rows(&codes, grid.groups().count(), config.bits));
    Ok(())
}

pub(super) fn whole_zero(zero: f32, max_code: u8) -> Result<u8, String> {
    let code = zero as u8;
    if f32::from(code) == zero && code <= max_code {
        Ok(code)
    } else {
        Err(format!("the zero {zero} is no code"))
    }
}

fn exact_floats(values: &[f32], dtype: ScaleDtype) -> Result<Vec<u8>, String> {
    match values.iter().find(|&&value| dtype.snap(value) != value) {
        Some(value) => Err(format!(
            "{value} is not exact in {}",
            dtype_of_scales(dtype)
        )),
        None => Ok(floats::to_bytes(values, dtype)),
    }
}

fn pack_codebook(codebook: &BlockCodebook, bytes: &mut Vec<Vec<u8>>) {
    match &codebook.scales {
        BlockScales::Plain(scales) => bytes.push(floats::to_bytes(scales, ScaleDtype::F32)),
        BlockScales::Double {
            inner,
            outer,
            offset,
        } => {
            bytes.push(inner.iter().map(|&code| code as u8).collect());
            bytes.push(floats::to_bytes(outer, ScaleDtype::F32));
            bytes.push(floats::to_bytes(&[*offset], ScaleDtype::F32));
        }
    }
}
