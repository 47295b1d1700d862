//! How a weight lies in an ONNX model: which tensors of which sizes, known before anything is solved.
//!
//! | form | tensors | operators |
//! | --- | --- | --- |
//! | values | `[in, out]` | `MatMul` |
//! | bytes | codes i8 or u8 `[in, out]`, scales `[out]` or `[groups, out]`, zeros u8 | `MatMulInteger`; `DequantizeLinear`, `MatMul` |
//! | blocks | codes u8 `[out, blocks, bytes]`, scales `[out, blocks]`, zeros | `MatMulNBits` of ONNX Runtime |
//!
//! Bytes are for inputs that are rounded row by row, which the runtime multiplies as integers, and for groups that no block
//! cuts. All else is blocks: of `DequantizeLinear` before a product of floats ONNX Runtime makes one operator that rounds
//! inputs to 8 bits unasked.
//!
//! A table of token vectors lies row by row: values and codes `[rows, width]`, scales and zeros `[rows, groups]`. Codes of
//! symmetric grids are stored about zero (bytes) or about the middle of their room (blocks), and then have no zeros.
//! Zeros of blocks are packed as codes are, or floats where the grid's are fractional (HQQ).

use super::element::Element;
use crate::grid::{GridConfig, Groups, ScaleDtype};
use crate::model::{LayerInfo, LayerKind};
use crate::packed::{ActivationKind, FactorKind, Stored};
use crate::settings::{Activations, LayerSettings};
use crate::solved::Method;
use crate::tensor::Dtype;

/// Sizes of blocks that `MatMulNBits` has fast paths for, largest first.
const BLOCKS: [usize; 5] = [256, 128, 64, 32, 16];

/// Bits of codes of which two share a byte.
pub(super) const NIBBLE_BITS: u8 = 4;

/// A weight's place in an ONNX model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OnnxWeight {
    /// Codes, values or nothing.
    pub form: OnnxForm,
    /// What is added to them.
    pub factors: Option<FactorKind>,
    /// How inputs are rounded.
    pub activations: ActivationKind,
    /// Whether it lies row by row, to be looked up in.
    pub is_table: bool,
}

/// What a weight is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OnnxForm {
    /// Values of this dtype.
    Values(Dtype),
    /// Codes of a byte; the grid's groups.
    Bytes(GridConfig),
    /// Packed codes in blocks of the input.
    Blocks {
        /// Bits that a code takes: 4 or 8.
        bits: u8,
        /// Inputs of a block.
        block: usize,
        /// What zeros are.
        zeros: BlockZeros,
        /// How scales, and zeros that are floats, are stored.
        scale_dtype: ScaleDtype,
    },
    /// Zeros: factors are all there is.
    Nothing,
}

/// The zeros of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockZeros {
    /// In the middle of the codes; none is stored.
    Middle,
    /// Packed like codes.
    Whole,
    /// Floats.
    Fractional,
}

/// One of the tensors that a weight becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartKind {
    /// The tensor as the checkpoint has it, with another order of dimensions or 1 added.
    Values {
        turned: bool,
        plus_one: bool,
    },
    Codes,
    Scales,
    Zeros,
    FactorInner,
    FactorOuter,
    Step,
}

/// A tensor's kind, type and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartShape {
    pub(super) kind: PartKind,
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
}

impl PartKind {
    /// What follows the tensor's name.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Values { .. } => "",
            Self::Codes => ".codes",
            Self::Scales => ".scales",
            Self::Zeros => ".zeros",
            Self::FactorInner => ".factor_inner",
            Self::FactorOuter => ".factor_outer",
            Self::Step => ".activation_step",
        }
    }
}

impl OnnxWeight {
    /// A weight that stays as it is.
    pub(in crate::formats) fn plain(layer: &LayerInfo) -> Self {
        Self {
            form: OnnxForm::Values(layer.dtype),
            factors: None,
            activations: ActivationKind::NONE,
            is_table: layer.kind == LayerKind::Embedding,
        }
    }

    /// The place of a layer that is solved with these settings, which `hold` has settled.
    pub(in crate::formats) fn of_settings(layer: &LayerInfo, settings: &LayerSettings) -> Self {
        let stored = Stored::of_settings(settings, layer.rows, layer.columns, layer.dtype);
        let mut form = match settings.method {
            Method::None | Method::Nf4 | Method::Palette => OnnxForm::Values(layer.dtype),
            Method::Float if stored.code == crate::packed::CodeKind::Nothing => OnnxForm::Nothing,
            Method::Float => OnnxForm::Values(layer.dtype),
            method => {
                let is_integer = layer.kind != LayerKind::Embedding && by_rows(settings);
                codes(method, settings.grid(), layer.columns, is_integer)
            }
        };
        if let (OnnxForm::Blocks { scale_dtype, .. }, Activations::Dynamic8) =
            (&mut form, settings.activations)
        {
            // Where inputs are rounded, ONNX Runtime computes nonsense of scales that a cast makes.
            *scale_dtype = ScaleDtype::F32;
        }
        Self {
            form,
            factors: stored.factors,
            activations: ActivationKind::of_settings(settings),
            ..Self::plain(layer)
        }
    }

    /// Its tensors, of a weight of `rows` outputs and `columns` inputs.
    pub(super) fn parts(&self, rows: usize, columns: usize) -> Vec<PartShape> {
        let shape = |first: usize, second: usize| match self.is_table {
            true => vec![second, first],
            false => vec![first, second],
        };
        let part = |kind, element, shape| PartShape {
            kind,
            element,
            shape,
        };
        let mut parts = match self.form {
            OnnxForm::Nothing => Vec::new(),
            OnnxForm::Values(dtype) => {
                let kind = PartKind::Values {
                    turned: !self.is_table,
                    plus_one: false,
                };
                vec![part(kind, Element::of_weights(dtype), shape(columns, rows))]
            }
            OnnxForm::Bytes(grid) => {
                let scales = match (grid.group, self.is_table) {
                    (0, false) => vec![rows],
                    _ => shape(grid.groups(columns).count(), rows),
                };
                let codes = if grid.symmetric {
                    Element::I8
                } else {
                    Element::U8
                };
                let element = Element::of_scales(grid.scale_dtype);
                let mut parts = vec![
                    part(PartKind::Codes, codes, shape(columns, rows)),
                    part(PartKind::Scales, element, scales.clone()),
                ];
                if !grid.symmetric {
                    parts.push(part(PartKind::Zeros, Element::U8, scales));
                }
                parts
            }
            OnnxForm::Blocks {
                bits,
                block,
                zeros,
                scale_dtype,
            } => {
                let count = columns.div_ceil(block);
                let packed = |codes: usize| packed_bytes(codes, bits);
                let scales = Element::of_scales(scale_dtype);
                let mut parts = vec![
                    part(
                        PartKind::Codes,
                        Element::U8,
                        vec![rows, count, packed(block)],
                    ),
                    part(PartKind::Scales, scales, vec![rows, count]),
                ];
                parts.extend(match zeros {
                    BlockZeros::Middle => None,
                    BlockZeros::Whole => Some(part(
                        PartKind::Zeros,
                        Element::U8,
                        vec![rows, packed(count)],
                    )),
                    BlockZeros::Fractional => {
                        Some(part(PartKind::Zeros, scales, vec![rows, count]))
                    }
                });
                parts
            }
        };
        if let Some(FactorKind { rank, dtype }) = self.factors {
            let element = Element::of_scales(dtype);
            parts.push(part(PartKind::FactorInner, element, vec![columns, rank]));
            parts.push(part(PartKind::FactorOuter, element, vec![rank, rows]));
        }
        if self.activations.part().is_some() {
            parts.push(part(PartKind::Step, Element::F32, Vec::new()));
        }
        parts
    }

    /// Bytes of its tensors; `None` where the number does not exist.
    pub(in crate::formats) fn stored_bytes(&self, rows: usize, columns: usize) -> Option<u64> {
        rows.checked_mul(columns)?.checked_mul(8)?;
        self.parts(rows, columns)
            .iter()
            .try_fold(0u64, |sum, part| {
                let elements = part
                    .shape
                    .iter()
                    .try_fold(1u64, |product, &size| product.checked_mul(size as u64))?;
                sum.checked_add(elements.checked_mul(part.element.size_bytes())?)
            })
    }
}

/// Whether inputs are rounded by one scale for all of a row, and weights are too.
fn by_rows(settings: &LayerSettings) -> bool {
    settings.group == 0
        && match settings.activations {
            Activations::None => false,
            Activations::Dynamic8 => settings.activation_block == 0,
            Activations::Static8 => true,
        }
}

/// The form of codes on such a grid; `is_integer`: where the runtime can multiply them as integers.
pub(super) fn codes(
    method: Method,
    grid: GridConfig,
    columns: usize,
    is_integer: bool,
) -> OnnxForm {
    let is_fractional = method == Method::Hqq;
    let bits = if grid.bits > NIBBLE_BITS {
        8
    } else {
        NIBBLE_BITS
    };
    let block = block_of(grid.groups(columns), columns, bits);
    if bits == 8 && (is_integer || block.is_none()) {
        return OnnxForm::Bytes(grid);
    }
    let zeros = match (is_fractional, grid.symmetric) {
        (true, _) => BlockZeros::Fractional,
        (false, true) => BlockZeros::Middle,
        (false, false) => BlockZeros::Whole,
    };
    OnnxForm::Blocks {
        bits,
        block: block.unwrap_or(BLOCKS[BLOCKS.len() - 1]),
        zeros,
        scale_dtype: grid.scale_dtype,
    }
}

/// Blocks that cut `columns` where groups do, so that scales repeat and no value changes; of groups as wide as a row the
/// blocks that waste least. `None` where there are none.
pub(super) fn block_of(groups: Groups, columns: usize, bits: u8) -> Option<usize> {
    // Codes, and scale and zero.
    let padded_bytes = |block: usize| columns.div_ceil(block) * (packed_bytes(block, bits) + 3);
    if groups.size() >= columns {
        return BLOCKS.into_iter().min_by_key(|&block| padded_bytes(block));
    }
    BLOCKS
        .into_iter()
        .find(|&block| groups.size().is_multiple_of(block))
}

/// Bytes of so many packed codes.
pub(super) fn packed_bytes(codes: usize, bits: u8) -> usize {
    (codes * usize::from(bits)).div_ceil(8)
}

/// The code of zero in blocks that store no zeros.
pub(super) fn middle(bits: u8) -> u8 {
    1 << (bits - 1)
}

/// The group nearest below `group` that blocks can have.
pub(super) fn nearest_group(group: usize) -> usize {
    let fitting = BLOCKS.into_iter().find(|&block| block <= group);
    fitting.unwrap_or(BLOCKS[BLOCKS.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(group: usize, columns: usize) -> Groups {
        GridConfig {
            bits: 4,
            group,
            symmetric: false,
            scale_dtype: ScaleDtype::F16,
        }
        .groups(columns)
    }

    #[test]
    fn blocks_cut_where_groups_do() {
        let rows = [
            (128, 512, Some(128)),
            (96, 512, Some(32)),
            (48, 512, Some(16)),
            (40, 512, None),
            (512, 4096, Some(256)),
            (8, 512, None),
        ];
        for (group, columns, expected) in rows {
            assert_eq!(
                block_of(groups(group, columns), columns, 4),
                expected,
                "{group} of {columns}"
            );
        }
    }

    #[test]
    fn whole_rows_have_the_blocks_that_waste_least() {
        for (columns, expected) in [(256, 256), (64, 64), (288, 32), (100, 128), (16, 16)] {
            let found = block_of(groups(0, columns), columns, 4);
            assert_eq!(found, Some(expected), "{columns}");
        }
    }
}
