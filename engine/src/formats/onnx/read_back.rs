//! The weights that the tensors of a layer stand for, as operators compute them: `codes` turned around, to hold a written file
//! against what was solved.

use super::weight::{BlockZeros, OnnxForm, OnnxWeight, PartKind, middle, packed_bytes};
use crate::packed::floats;
use crate::tensor::Matrix;

/// Tensors of a weight as a file holds them.
pub(super) trait StoredParts {
    /// The bytes of one.
    fn part(&self, kind: PartKind) -> Option<&[u8]>;
}

/// The weights `[out, in]` that codes stand for, as the operators compute them; without factors. `None` where a part is
/// missing or too short.
pub(super) fn weights(
    weight: &OnnxWeight,
    rows: usize,
    columns: usize,
    parts: &dyn StoredParts,
) -> Option<Matrix> {
    let codes = parts.part(PartKind::Codes)?;
    let scales = parts.part(PartKind::Scales)?;
    let zeros = parts.part(PartKind::Zeros);
    let mut matrix = Matrix::zeros(rows, columns);
    match weight.form {
        OnnxForm::Bytes(grid) => {
            let groups = grid.groups(columns);
            let scales = floats::from_bytes(scales, grid.scale_dtype);
            for row in 0..rows {
                for (column, value) in matrix.row_mut(row).iter_mut().enumerate() {
                    let group = groups.of(column);
                    let (at, of) = match weight.is_table {
                        true => (row * columns + column, row * groups.count() + group),
                        false => (column * rows + row, group * rows + row),
                    };
                    let code = *codes.get(at)?;
                    let code = match grid.symmetric {
                        true => f32::from(code as i8),
                        false => f32::from(code) - f32::from(*zeros?.get(of)?),
                    };
                    *value = scales.get(of)? * code;
                }
            }
        }
        OnnxForm::Blocks {
            bits,
            block,
            zeros: kind,
            scale_dtype,
        } => {
            let count = columns.div_ceil(block);
            let scales = floats::from_bytes(scales, scale_dtype);
            let fractions = match kind {
                BlockZeros::Fractional => floats::from_bytes(zeros?, scale_dtype),
                _ => Vec::new(),
            };
            let code_bytes = packed_bytes(count * block, bits);
            let zero_bytes = packed_bytes(count, bits);
            for row in 0..rows {
                for (column, value) in matrix.row_mut(row).iter_mut().enumerate() {
                    let group = column / block;
                    let zero = match kind {
                        BlockZeros::Middle => f32::from(middle(bits)),
                        BlockZeros::Whole => unpack(zeros?, row * zero_bytes, group, bits)?,
                        BlockZeros::Fractional => *fractions.get(row * count + group)?,
                    };
                    let code = unpack(codes, row * code_bytes, column, bits)?;
                    *value = scales.get(row * count + group)? * (code - zero);
                }
            }
        }
        OnnxForm::Values(_) | OnnxForm::Nothing => return None,
    }
    Some(matrix)
}

fn unpack(bytes: &[u8], start: usize, index: usize, bits: u8) -> Option<f32> {
    Some(f32::from(match bits {
        8 => *bytes.get(start + index)?,
        _ => bytes.get(start + index / 2)? >> (4 * (index % 2)) & 15,
    }))
}
