//! The layout of layers that bitsandbytes quantized to 4 bits, as transformers saves it and vLLM loads it.
//!
//! ```text
//! weight                    u8  [out * in / 2, 1]   two codes to a byte, the first in the high half
//! weight.absmax             f32 [blocks]            blocks run over the whole tensor, row after row
//! weight.quant_map          f32 [16]                what the codes stand for
//! weight.quant_state.bitsandbytes__nf4   u8 [length]   JSON: quant_type, blocksize, dtype, shape
//!
//! doubly quantized:
//! weight.absmax             u8  [blocks]
//! weight.nested_absmax      f32 [blocks / 256]
//! weight.nested_quant_map   f32 [256]
//! quant_state               and nested_blocksize, nested_dtype, nested_offset
//! ```
//!
//! A weight is `absmax[index / blocksize] * quant_map[code]`; doubly quantized,
//! `absmax = nested_quant_map[code] * nested_absmax[block / 256] + nested_offset`.
//!
//! Blocks of ours end with their rows, so that the width must be a multiple of the block. Readers take the nested map from
//! the file: ours is `code / 127` for the signed codes that were solved, and nothing is rounded again but the order of
//! two roundings of f32. Of other programs any block is read, NF4 as codes where at least `LEAST_RUN` weights of a row
//! share a maximum, and all else (FP4) as floats. Dettmers et al. 2023, arXiv 2305.14314. Knows no file and no config.

mod read;
mod state;
mod unfit;

pub use read::unpack;
pub use state::{Nested, QuantType, State, parse_state};
pub use unfit::{BLOCKS, Unfit, nearest_block, unfit};

use super::kind::{CodeKind, PartSpec, bytes_of, specs_of};
use super::manifest::TOO_LARGE;
use super::{PackError, Part, floats};
use crate::codebook::{BLOCKS_PER_OUTER_SCALE, BlockCodebook, BlockScales, NF4_LEVELS};
use crate::grid::ScaleDtype;
use crate::mask::Mask;
use crate::solved::{Codes, Grid, Method, Solved};
use crate::tensor::Dtype;

/// Fewest weights of a row that share a maximum for which they are kept as codes.
pub const LEAST_RUN: usize = 16;

/// Codes of a doubly quantized maximum.
const NESTED_CODES: usize = 256;

/// The code of 0.
const ZERO_CODE: u8 = 7;

/// Names of the parts after the layer's.
pub mod suffixes {
    /// The codes.
    pub const WEIGHT: &str = "weight";
    /// Maxima of blocks.
    pub const ABSMAX: &str = "weight.absmax";
    /// Levels.
    pub const QUANT_MAP: &str = "weight.quant_map";
    /// Maxima of blocks of maxima.
    pub const NESTED_ABSMAX: &str = "weight.nested_absmax";
    /// Levels of maxima.
    pub const NESTED_QUANT_MAP: &str = "weight.nested_quant_map";
    /// The JSON of an NF4 layer.
    pub const STATE_NF4: &str = "weight.quant_state.bitsandbytes__nf4";
    /// The JSON of an FP4 layer.
    pub const STATE_FP4: &str = "weight.quant_state.bitsandbytes__fp4";
}

/// How a layer lies: all that decides its tensors and their sizes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layout {
    /// What codes stand for; only NF4 is written.
    pub quant_type: QuantType,
    /// Whether the file's levels are exactly those of NF4; others are read as floats.
    pub standard_levels: bool,
    /// Weights that share a maximum.
    pub block: usize,
    /// Weights of a row that surely share one: the greatest common divisor of block and width.
    pub run: usize,
    /// Maxima are themselves quantized.
    pub double_quant: bool,
    /// The dtype to which loaders turn the weights.
    pub dtype: Dtype,
}

impl Layout {
    /// NF4 of blocks that end with their rows, for a tensor that was `dtype`.
    pub fn nf4(block: usize, double_quant: bool, dtype: Dtype) -> Self {
        Self {
            quant_type: QuantType::Nf4,
            standard_levels: true,
            block,
            run: block,
            double_quant,
            dtype: match dtype {
                Dtype::F16 | Dtype::BF16 => dtype,
                _ => Dtype::F32,
            },
        }
    }

    /// As a stored layer tells it: its state and the bytes of its levels.
    pub fn of_state(state: &State, levels: &[u8]) -> Self {
        let standard = floats::to_bytes(&NF4_LEVELS, ScaleDtype::F32);
        Self {
            quant_type: state.quant_type,
            standard_levels: levels == standard,
            block: state.block,
            run: greatest_common_divisor(state.block, state.columns),
            double_quant: state.nested.is_some(),
            dtype: state.dtype,
        }
    }

    /// What a layer that was read is kept as.
    pub fn code_kind(&self) -> CodeKind {
        match self.keeps_codes() {
            true => CodeKind::Nf4 {
                block: self.run,
                double_quant: false,
            },
            false => CodeKind::Floats { dtype: Dtype::F32 },
        }
    }

    fn keeps_codes(&self) -> bool {
        self.quant_type == QuantType::Nf4 && self.standard_levels && self.run >= LEAST_RUN
    }

    fn state(&self, rows: usize, columns: usize, offset: f32) -> State {
        State {
            quant_type: self.quant_type,
            block: self.block,
            dtype: self.dtype,
            rows,
            columns,
            nested: self.double_quant.then_some(Nested {
                block: BLOCKS_PER_OUTER_SCALE,
                offset,
            }),
        }
    }
}

/// The tensors of a layer that fits: suffix after the layer's name, dtype, shape, bytes. `None` where a size does not
/// exist.
pub fn parts(layout: Layout, rows: usize, columns: usize) -> Option<Vec<PartSpec>> {
    specs_of(|see| each_part(layout, rows, columns, see))
}

/// Bytes of these tensors. `None` where the number does not exist.
pub fn stored_bytes(layout: Layout, rows: usize, columns: usize) -> Option<u64> {
    bytes_of(|see| each_part(layout, rows, columns, see))
}

/// Shows `see` the suffix, dtype and shape of each tensor, in order.
fn each_part(
    layout: Layout,
    rows: usize,
    columns: usize,
    mut see: impl FnMut(&'static str, Dtype, &[usize]) -> Option<()>,
) -> Option<()> {
    let weights = rows.checked_mul(columns)?;
    let blocks = weights.div_ceil(layout.block.max(1));
    see(suffixes::WEIGHT, Dtype::U8, &[weights.div_ceil(2), 1])?;
    if layout.double_quant {
        let outer = blocks.div_ceil(BLOCKS_PER_OUTER_SCALE);
        see(suffixes::ABSMAX, Dtype::U8, &[blocks])?;
        see(suffixes::NESTED_ABSMAX, Dtype::F32, &[outer])?;
        see(suffixes::NESTED_QUANT_MAP, Dtype::F32, &[NESTED_CODES])?;
    } else {
        see(suffixes::ABSMAX, Dtype::F32, &[blocks])?;
    }
    see(suffixes::QUANT_MAP, Dtype::F32, &[NF4_LEVELS.len()])?;
    // As long whatever the offset.
    let length = layout.state(rows, columns, 0.0).to_json().len();
    see(suffixes::STATE_NF4, Dtype::U8, &[length])
}

/// Packs a solved layer that fits.
pub fn pack(name: &str, solved: &Solved, layout: Layout) -> Result<Vec<Part>, PackError> {
    let unfit_layer = |problem: String| PackError {
        layer: name.to_owned(),
        problem,
    };
    let codebook = fitting_codebook(solved, layout).map_err(unfit_layer)?;
    let (rows, columns) = (codebook.rows, codebook.columns);
    let mut bytes = vec![pack_codes(&kept_codes(&solved.codes, solved.mask.as_ref()))];
    let offset = match &codebook.scales {
        BlockScales::Plain(scales) => {
            bytes.push(floats::to_bytes(scales, ScaleDtype::F32));
            0.0
        }
        BlockScales::Double {
            inner,
            outer,
            offset,
        } => {
            bytes.push(inner.iter().map(|&code| nested_code(code)).collect());
            bytes.push(floats::to_bytes(outer, ScaleDtype::F32));
            bytes.push(floats::to_bytes(&nested_map(), ScaleDtype::F32));
            *offset
        }
    };
    bytes.push(floats::to_bytes(&NF4_LEVELS, ScaleDtype::F32));
    bytes.push(layout.state(rows, columns, offset).to_json().into_bytes());
    let specs = parts(layout, rows, columns).ok_or_else(|| unfit_layer(TOO_LARGE.to_owned()))?;
    Ok(specs
        .into_iter()
        .zip(bytes)
        .map(|(spec, bytes)| spec.filled(bytes))
        .collect())
}

/// The codebook of a layer that can be packed so.
fn fitting_codebook(solved: &Solved, layout: Layout) -> Result<&BlockCodebook, String> {
    let Grid::Codebook(codebook) = &solved.grid else {
        return Err(Unfit::Method(solved.method).to_string());
    };
    if solved.factors.is_some() {
        return Err(Unfit::Factors.to_string());
    }
    let is_double = matches!(codebook.scales, BlockScales::Double { .. });
    if codebook.block != layout.block || is_double != layout.double_quant {
        return Err("it was planned with other blocks".to_owned());
    }
    match unfit(Method::Nf4, codebook.block, codebook.columns) {
        Some(reason) => Err(reason.to_string()),
        None => Ok(codebook),
    }
}

/// Codes with that of 0 where the mask keeps nothing.
fn kept_codes(codes: &Codes, mask: Option<&Mask>) -> Vec<u8> {
    let mut values = codes.values.clone();
    if let Some(mask) = mask {
        let masked = values.iter_mut().zip(&mask.keep);
        masked
            .filter(|(_, keep)| !**keep)
            .for_each(|(code, _)| *code = ZERO_CODE);
    }
    values
}

fn pack_codes(codes: &[u8]) -> Vec<u8> {
    let pairs = codes.chunks(2);
    pairs
        .map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or_default())
        .collect()
}

/// The code of a signed one in `nested_map`.
fn nested_code(code: i8) -> u8 {
    (i16::from(code) + 128) as u8
}

/// What the codes of maxima stand for: evenly spaced levels.
fn nested_map() -> Vec<f32> {
    let codes = i8::MIN..=i8::MAX;
    codes.map(|code| f32::from(code) / 127.0).collect()
}

fn greatest_common_divisor(mut left: usize, mut right: usize) -> usize {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

#[cfg(test)]
mod tests;
