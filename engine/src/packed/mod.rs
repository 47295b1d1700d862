//! Solved layers as bytes and back: `unpack(pack(x)) = x`.
//!
//! A packed layer is a `LayerManifest` and its named byte tensors (`Part`). They lie in a safetensors file as
//! `<dense tensor name>.<suffix>`, and the manifest of all layers is JSON in the file's `__metadata__` under `pare`:
//!
//! | suffix | dtype | shape | what |
//! | --- | --- | --- | --- |
//! | `codes` | u8 | `[out, ceil(in * bits / 8)]` | bit stream of each row, low bits first (`bits`) |
//! | `scales` | f16, bf16, f32 | `[out, groups]` | affine grids |
//! | `zeros` | u8 | `[out, ceil(groups * bits / 8)]` | bit stream of whole zeros; none for symmetric grids |
//! | `zeros` | as scales | `[out, groups]` | fractional zeros (HQQ) |
//! | `absmax` | f32 | `[out, blocks]` | NF4 |
//! | `absmax_codes`, `absmax_scales`, `absmax_offset` | i8, f32, f32 | `[out, blocks]`, `[ceil(out * blocks / 256)]`, `[1]` | NF4, double quantization |
//! | `activation_step` | f32 | `[1]` | inputs of a fixed scale: the value of one step of their 8 bits |
//!
//! A layer that rounds its inputs when it runs says so under `activations`: `{"mode": "dynamic8", "block": 32}` (a scale
//! for so many inputs of a token, 0 = all of them) or `{"mode": "static8"}`. Without the key inputs stay floats.
//!
//! The layout of other programs is in `gptq`. Knows no file: `checkpoint` reads and `formats` writes what is made here.

mod activations;
pub mod bits;
mod error;
pub mod floats;
pub mod gptq;
mod manifest;
mod matmul;
mod source;

pub use activations::{ActivationKind, ActivationPlan, unpack_activations};
pub use error::{PackError, UnpackError};
pub use manifest::{
    CodeKind, LayerManifest, MANIFEST_VERSION, METADATA_KEY, Manifest, Origin, OriginalTensor,
    PartSpec,
};
pub use matmul::{PackedMatrix, PreparedInput, multiply_all};
pub use source::PackedSource;

use crate::codebook::{BlockCodebook, BlockScales};
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::solved::{Codes, Grid, Solved};
use crate::tensor::Dtype;
use manifest::dtype_of_scales;

/// One byte tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name after the dense tensor's name and a dot.
    pub suffix: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<usize>,
    /// Little-endian bytes.
    pub bytes: Vec<u8>,
}

impl PartSpec {
    /// The part that these bytes make.
    pub fn filled(self, bytes: Vec<u8>) -> Part {
        Part {
            suffix: self.suffix.to_owned(),
            dtype: self.dtype,
            shape: self.shape,
            bytes,
        }
    }
}

/// A layer as bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedLayer {
    /// What the parts mean.
    pub manifest: LayerManifest,
    /// The byte tensors, in the order of `LayerManifest::parts`.
    pub parts: Vec<Part>,
}

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
    if solved.mask.is_some() || solved.factors.is_some() {
        return Err(unfit("masks and factors cannot be packed yet".into()));
    }
    let manifest = LayerManifest::of_solved(name, tensor, solved, activations.kind());
    let specs = manifest.parts().map_err(|error| unfit(error.to_string()))?;
    check_codes(&solved.codes, manifest.code.bits()).map_err(unfit)?;
    let mut bytes = vec![bits::pack_rows(
        &solved.codes.values,
        solved.codes.columns,
        manifest.code.bits(),
    )];
    match &solved.grid {
        Grid::Affine(grid) => pack_affine(grid, &mut bytes).map_err(unfit)?,
        Grid::Codebook(codebook) => pack_codebook(codebook, &mut bytes),
        Grid::Palette(_) | Grid::Floats(_) | Grid::Nothing => {
            return Err(unfit("its form cannot be packed yet".into()));
        }
    }
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

/// Turns `pack` around. Every length and range is checked, since both may come from any file.
pub fn unpack(manifest: &LayerManifest, parts: &[Part]) -> Result<Solved, UnpackError> {
    let specs = manifest.code_parts()?;
    let found = specs
        .iter()
        .map(|spec| find_part(manifest, spec, parts))
        .collect::<Result<Vec<_>, _>>()?;
    let (rows, columns) = (manifest.rows, manifest.columns);
    let values = bits::unpack_rows(found[0], columns, manifest.code.bits());
    let grid = match manifest.code {
        CodeKind::Affine {
            bits,
            group,
            symmetric,
            scale_dtype,
            fractional_zeros,
        } => {
            let config = GridConfig {
                bits,
                group,
                symmetric,
                scale_dtype,
            };
            let scales = floats::from_bytes(found[1], scale_dtype);
            check_scales(manifest, "scales", &scales, |scale| scale > 0.0)?;
            Grid::Affine(AffineGrid {
                config,
                rows,
                columns,
                zeros: unpack_zeros(manifest, config, fractional_zeros, found.get(2).copied())?,
                scales,
                fractional_zeros,
            })
        }
        CodeKind::Nf4 {
            block,
            double_quant,
        } => Grid::Codebook(BlockCodebook {
            rows,
            columns,
            block: if block == 0 { columns } else { block },
            scales: unpack_absmax(manifest, double_quant, &found[1..])?,
        }),
    };
    Ok(Solved {
        method: manifest.method(),
        codes: Codes {
            rows,
            columns,
            values,
        },
        grid,
        mask: None,
        factors: None,
        loss: parse_loss(manifest)?,
        warnings: manifest
            .origin
            .as_ref()
            .map_or_else(Vec::new, |origin| origin.warnings.clone()),
    })
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

fn whole_zero(zero: f32, max_code: u8) -> Result<u8, String> {
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

fn find_part<'a>(
    manifest: &LayerManifest,
    spec: &PartSpec,
    parts: &'a [Part],
) -> Result<&'a [u8], UnpackError> {
    let part = parts
        .iter()
        .find(|part| part.suffix == spec.suffix)
        .ok_or_else(|| UnpackError::MissingPart {
            layer: manifest.name.clone(),
            part: spec.suffix.to_owned(),
        })?;
    if part.dtype != spec.dtype || part.shape != spec.shape {
        let problem = format!(
            "is {} {:?}, but its manifest says {} {:?}",
            part.dtype, part.shape, spec.dtype, spec.shape
        );
        return Err(wrong_part(manifest, spec.suffix, problem));
    }
    if part.bytes.len() as u64 != spec.size_bytes {
        let problem = format!(
            "has {} bytes instead of {}",
            part.bytes.len(),
            spec.size_bytes
        );
        return Err(wrong_part(manifest, spec.suffix, problem));
    }
    Ok(&part.bytes)
}

fn unpack_zeros(
    manifest: &LayerManifest,
    config: GridConfig,
    fractional_zeros: bool,
    bytes: Option<&[u8]>,
) -> Result<Vec<f32>, UnpackError> {
    let groups = config.groups(manifest.columns).count();
    match bytes {
        None => Ok(vec![config.middle(); manifest.rows * groups]),
        Some(bytes) if fractional_zeros => {
            let zeros = floats::from_bytes(bytes, config.scale_dtype);
            check_scales(manifest, "zeros", &zeros, |_| true)?;
            Ok(zeros)
        }
        Some(bytes) => Ok(bits::unpack_rows(bytes, groups, config.bits)
            .into_iter()
            .map(f32::from)
            .collect()),
    }
}

fn unpack_absmax(
    manifest: &LayerManifest,
    double_quant: bool,
    parts: &[&[u8]],
) -> Result<BlockScales, UnpackError> {
    if !double_quant {
        let scales = floats::from_bytes(parts[0], ScaleDtype::F32);
        check_scales(manifest, "absmax", &scales, |scale| scale >= 0.0)?;
        return Ok(BlockScales::Plain(scales));
    }
    let outer = floats::from_bytes(parts[1], ScaleDtype::F32);
    let offset = floats::from_bytes(parts[2], ScaleDtype::F32);
    check_scales(manifest, "absmax_scales", &outer, |_| true)?;
    check_scales(manifest, "absmax_offset", &offset, |_| true)?;
    Ok(BlockScales::Double {
        inner: parts[0].iter().map(|&byte| byte as i8).collect(),
        outer,
        offset: offset[0],
    })
}

fn check_scales(
    manifest: &LayerManifest,
    part: &str,
    values: &[f32],
    in_range: impl Fn(f32) -> bool,
) -> Result<(), UnpackError> {
    match values
        .iter()
        .find(|&&value| !value.is_finite() || !in_range(value))
    {
        Some(value) => Err(wrong_part(
            manifest,
            part,
            format!("holds the value {value}"),
        )),
        None => Ok(()),
    }
}

fn parse_loss(manifest: &LayerManifest) -> Result<Option<f64>, UnpackError> {
    let loss = manifest
        .origin
        .as_ref()
        .and_then(|origin| origin.loss.as_ref());
    loss.map(|text| {
        text.parse()
            .map_err(|_| manifest.wrong(format!("its loss {text:?} is no number")))
    })
    .transpose()
}

fn wrong_part(manifest: &LayerManifest, part: &str, problem: String) -> UnpackError {
    UnpackError::Part {
        layer: manifest.name.clone(),
        part: part.to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests;
