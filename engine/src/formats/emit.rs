//! The bytes of a solved layer as a plan places it, and of dense values in the source's dtype.
//!
//! Knows no file: whoever writes asks for one layer at a time and drops its bytes when they are written.

use super::layout::{Placement, PlannedLayer};
use super::store::StoredLayer;
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::packed::{self, CodeKind, ExternalLayer, PackError, Part, Stored, floats};
use crate::solved::{Grid, Solved};
use crate::tensor::{Dtype, Matrix};
use half::{bf16, f16};
use rayon::prelude::*;

/// Values that are turned into bytes by one thread at a time.
const CHUNK_VALUES: usize = 1 << 16;

/// The tensors of a solved layer, in the order of `Content::Layer::part`.
pub fn layer_parts(layer: &PlannedLayer, stored: &StoredLayer) -> Result<Vec<Part>, PackError> {
    let solved = &stored.solved;
    match layer.placement {
        Placement::Source
        | Placement::Carried
        | Placement::Dense
        | Placement::Blocks(_)
        | Placement::Onnx(_) => Ok(vec![Part {
            suffix: String::new(),
            dtype: layer.tensor.dtype,
            shape: layer.tensor.shape.clone(),
            bytes: dense_bytes(solved, layer.tensor.transposed, layer.tensor.dtype),
        }]),
        Placement::Pare(planned, activations) => {
            let fitted = fitted(solved, planned.code);
            let solved = fitted.as_ref().unwrap_or(solved);
            let packed = packed::pack(
                &layer.name,
                layer.tensor.clone(),
                solved,
                &stored.activations,
            )?;
            let manifest = &packed.manifest;
            if same_parts(layer, manifest.stored, planned) && manifest.activations == activations {
                Ok(packed.parts)
            } else {
                Err(PackError {
                    layer: layer.name.clone(),
                    problem: format!(
                        "it was planned as {planned}, {activations} and solved as {}, {}",
                        manifest.stored, manifest.activations
                    ),
                })
            }
        }
        Placement::External(external) => {
            let grid = external.grid();
            let wider = grid.and_then(|grid| widened(solved, grid));
            let solved = wider.as_ref().unwrap_or(solved);
            let finer = grid.and_then(|grid| regrouped(solved, grid.group));
            let solved = finer.as_ref().unwrap_or(solved);
            external.pack(&layer.name, solved, &stored.activations)
        }
    }
}

/// The values that a container gives back of a layer that it does not hold exactly.
pub fn external_values(
    layer: &PlannedLayer,
    external: &ExternalLayer,
    stored: &StoredLayer,
) -> Result<Matrix, PackError> {
    let parts = layer_parts(layer, stored)?;
    let unpacked = external.unpack(layer.rows, layer.columns, &parts);
    let solved = unpacked.map_err(|problem| PackError {
        layer: layer.name.clone(),
        problem,
    })?;
    Ok(dense_values(&solved, layer.tensor.transposed))
}

/// The solved values as they lie in the dense tensor: its orientation, its dtype.
pub fn dense_bytes(solved: &Solved, transposed: bool, dtype: Dtype) -> Vec<u8> {
    to_bytes(dense_values(solved, transposed).data(), dtype)
}

/// The solved values in the dense tensor's orientation.
pub fn dense_values(solved: &Solved, transposed: bool) -> Matrix {
    let (rows, columns) = (solved.codes.rows, solved.codes.columns);
    let mut weights = Matrix::zeros(rows, columns);
    weights
        .data_mut()
        .par_chunks_mut(columns.max(1))
        .enumerate()
        .for_each(|(row, output)| solved.dequantize_row(row, output));
    if transposed {
        weights.transposed()
    } else {
        weights
    }
}

/// Values as little-endian bytes of a float dtype, rounded to nearest; what is out of range becomes the largest value
/// that the dtype holds, so that no infinity is written.
///
/// # Panics
/// If the dtype is no float dtype: only float tensors are ever solved or changed.
pub fn to_bytes(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F64 => spread(values, |value| f64::from(value).to_le_bytes()),
        Dtype::F32 => spread(values, f32::to_le_bytes),
        Dtype::F16 => spread(values, |value| {
            let largest = f16::MAX.to_f32();
            f16::from_f32(value.clamp(-largest, largest)).to_le_bytes()
        }),
        Dtype::BF16 => spread(values, |value| {
            let largest = bf16::MAX.to_f32();
            bf16::from_f32(value.clamp(-largest, largest)).to_le_bytes()
        }),
        other => panic!("weights are never stored as {other}"),
    }
}

/// Values as they come back from `to_bytes` of that dtype.
pub fn rounded(values: &[f32], dtype: Dtype) -> Vec<f32> {
    let bytes = to_bytes(values, dtype);
    match dtype {
        Dtype::F16 => floats::from_bytes(&bytes, ScaleDtype::F16),
        Dtype::BF16 => floats::from_bytes(&bytes, ScaleDtype::BF16),
        _ => values.to_vec(),
    }
}

fn spread<const SIZE: usize>(values: &[f32], encode: impl Fn(f32) -> [u8; SIZE] + Sync) -> Vec<u8> {
    let mut bytes = vec![0u8; values.len() * SIZE];
    bytes
        .par_chunks_mut(CHUNK_VALUES * SIZE)
        .zip(values.par_chunks(CHUNK_VALUES))
        .for_each(|(bytes, values)| {
            for (output, &value) in bytes.chunks_exact_mut(SIZE).zip(values) {
                output.copy_from_slice(&encode(value));
            }
        });
    bytes
}

/// Whether parts of one kind can be read as the other: the same kind, or NF4 blocks of a whole row under two names.
fn same_parts(layer: &PlannedLayer, one: Stored, other: Stored) -> bool {
    let nf4 = |stored: Stored| matches!(stored.code, CodeKind::Nf4 { .. });
    let parts = |stored: Stored| stored.parts(layer.rows, layer.columns);
    one == other || (nf4(one) && nf4(other) && parts(one) == parts(other))
}

/// A layer whose zeros came out whole although fractional ones were planned (HQQ that fell back to rounding): its
/// zeros are stored in the scale dtype all the same, where every whole zero is exact.
fn fitted(solved: &Solved, planned: CodeKind) -> Option<Solved> {
    let CodeKind::Affine {
        fractional_zeros: true,
        ..
    } = planned
    else {
        return None;
    };
    let mut changed = solved.clone();
    match &mut changed.grid {
        Grid::Affine(grid) if !grid.fractional_zeros => grid.fractional_zeros = true,
        _ => return None,
    }
    Some(changed)
}

/// The same values in more bits: zeros keep their distance from codes. `None` where the bits are as planned, or cannot be.
fn widened(solved: &Solved, planned: GridConfig) -> Option<Solved> {
    let Grid::Affine(narrow) = &solved.grid else {
        return None;
    };
    let found = narrow.config;
    if found.bits >= planned.bits || (planned.symmetric && !found.symmetric) {
        return None;
    }
    // Symmetric grids have their zero in the middle, wherever that lies.
    let shift = match planned.symmetric {
        true => (planned.middle() - found.middle()) as u8,
        false => 0,
    };
    let mut wide = solved.clone();
    for code in &mut wide.codes.values {
        *code += shift;
    }
    let zeros = narrow.zeros.iter();
    wide.grid = Grid::Affine(AffineGrid {
        config: GridConfig {
            bits: planned.bits,
            symmetric: planned.symmetric,
            ..found
        },
        zeros: zeros.map(|zero| zero + f32::from(shift)).collect(),
        ..narrow.clone()
    });
    Some(wide)
}

/// The same values with smaller groups, whose scales and zeros repeat, or with one group under another length. `None` where the groups are as planned, or cannot be.
fn regrouped(solved: &Solved, group: usize) -> Option<Solved> {
    let Grid::Affine(coarse) = &solved.grid else {
        return None;
    };
    let config = GridConfig {
        group,
        ..coarse.config
    };
    let (old, planned) = (coarse.groups(), config.groups(coarse.columns));
    if old == planned || !old.are_cut_by(planned) {
        return None;
    }
    let mut fine = AffineGrid {
        fractional_zeros: coarse.fractional_zeros,
        ..AffineGrid::neutral(config, coarse.rows, coarse.columns)
    };
    let new = fine.groups();
    for row in 0..fine.rows {
        for index in 0..new.count() {
            fine.set_step(row, index, coarse.step(row, old.of(new.range(index).start)));
        }
    }
    Some(Solved {
        grid: Grid::Affine(fine),
        ..solved.clone()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_out_of_range_stay_finite() {
        let bytes = to_bytes(&[1e9, -1e9, 1.0], Dtype::F16);
        let values: Vec<f32> = bytes
            .chunks_exact(2)
            .map(|pair| f16::from_le_bytes(pair.try_into().unwrap()).to_f32())
            .collect();
        assert_eq!(values, [65504.0, -65504.0, 1.0]);
    }

    #[test]
    fn wider_codes_and_smaller_groups_are_the_same_values() {
        for (symmetric, planned_symmetric) in [(true, true), (true, false), (false, false)] {
            let config = |bits, group, symmetric| GridConfig {
                bits,
                group,
                symmetric,
                scale_dtype: crate::grid::ScaleDtype::F32,
            };
            let mut grid = AffineGrid::neutral(config(3, 4, symmetric), 2, 10);
            for (index, scale) in grid.scales.iter_mut().enumerate() {
                *scale = 0.5 + index as f32;
            }
            if !symmetric {
                grid.zeros = (0..6).map(|index| index as f32).collect();
            }
            let solved = Solved {
                method: crate::solved::Method::Rtn,
                codes: crate::solved::Codes {
                    rows: 2,
                    columns: 10,
                    values: (0..20).map(|index| index % 8).collect(),
                },
                grid: Grid::Affine(grid),
                mask: None,
                factors: None,
                loss: None,
                warnings: Vec::new(),
            };
            let planned = config(8, 2, planned_symmetric);
            let wide = widened(&solved, planned).unwrap();
            let fine = regrouped(&wide, 2).unwrap();
            // Groups of 4 in rows of 10 are no row.
            assert_eq!(regrouped(&wide, 0), None);
            assert_eq!(fine.dequantize(), solved.dequantize());
            let Grid::Affine(grid) = &fine.grid else {
                panic!("an affine layer")
            };
            assert_eq!(grid.config, planned);
        }
    }

    #[test]
    fn every_float_dtype_takes_its_own_width() {
        for dtype in [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16] {
            assert_eq!(
                to_bytes(&[0.5; 3], dtype).len(),
                3 * dtype.size_bytes(),
                "{dtype}"
            );
        }
    }
}
