//! What gives the codes of a packed layer their meaning, and the byte tensors that hold it.
//!
//! Knows no zeros and no factors: `stored` joins them.

use super::bits::row_bytes;
use crate::codebook::{BLOCKS_PER_OUTER_SCALE, Palettes};
use crate::grid::{GridConfig, ScaleDtype};
use crate::settings::{LayerSettings, Rank};
use crate::solved::{Grid, Method};
use crate::tensor::Dtype;
use serde::{Deserialize, Serialize};

/// What gives codes their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum CodeKind {
    /// `scale * (code - zero)`.
    Affine {
        /// Bits of a code.
        bits: u8,
        /// Weights per scale along the input; 0 = a whole row.
        group: usize,
        /// Every zero is `2^(bits-1)`, and none is stored.
        symmetric: bool,
        /// How scales (and fractional zeros) are stored.
        scale_dtype: ScaleDtype,
        /// Zeros are real numbers.
        fractional_zeros: bool,
    },
    /// `absmax * level[code]`.
    Nf4 {
        /// Weights per absmax along the input.
        block: usize,
        /// Absolute maxima are themselves quantized.
        double_quant: bool,
    },
    /// `palette[code]`.
    Palette {
        /// Bits of a code.
        bits: u8,
        /// Rows that share a palette; 0 = all.
        rows_per_palette: usize,
        /// How levels are stored.
        level_dtype: ScaleDtype,
    },
    /// No codes: the values themselves.
    Floats {
        /// How they are stored.
        dtype: Dtype,
    },
    /// No codes and no values: factors are all there is.
    Nothing,
}

/// One byte tensor of a packed layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSpec {
    /// Its name after the dense tensor's name and a dot.
    pub suffix: &'static str,
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<usize>,
    /// Bytes.
    pub size_bytes: u64,
}

impl CodeKind {
    /// The kind that settings ask for of weights that are `dtype`. `fractional_zeros` follows the method: HQQ's zeros are
    /// real numbers.
    pub fn of_settings(settings: &LayerSettings, dtype: Dtype) -> Self {
        match settings.method {
            Method::Nf4 => Self::Nf4 {
                block: settings.nf4_block(),
                double_quant: settings.double_quant,
            },
            Method::Palette => Self::Palette {
                bits: settings.bits,
                rows_per_palette: settings.palette_rows,
                level_dtype: settings.scale_dtype,
            },
            Method::Float if settings.rank != Rank::None && settings.prune.is_none() => {
                Self::Nothing
            }
            Method::Float => Self::Floats { dtype },
            Method::Hqq => Self::affine(settings.grid(), !settings.symmetric),
            Method::Rtn | Method::Gptq | Method::Awq | Method::None => {
                Self::affine(settings.grid(), false)
            }
        }
    }

    /// The kind of a solved layer.
    pub fn of_grid(grid: &Grid) -> Self {
        match grid {
            Grid::Affine(affine) => Self::affine(affine.config, affine.fractional_zeros),
            Grid::Codebook(codebook) => Self::Nf4 {
                block: codebook.block,
                double_quant: matches!(
                    codebook.scales,
                    crate::codebook::BlockScales::Double { .. }
                ),
            },
            Grid::Palette(palettes) => Self::Palette {
                bits: palettes.bits,
                rows_per_palette: palettes.rows_per_palette,
                level_dtype: palettes.level_dtype,
            },
            Grid::Floats(floats) => Self::Floats {
                dtype: floats.dtype,
            },
            Grid::Nothing => Self::Nothing,
        }
    }

    pub(super) fn affine(config: GridConfig, fractional_zeros: bool) -> Self {
        Self::Affine {
            bits: config.bits,
            group: config.group,
            symmetric: config.symmetric,
            scale_dtype: config.scale_dtype,
            fractional_zeros,
        }
    }

    /// Bits of a code; `None` where there are no codes.
    pub fn bits(&self) -> Option<u8> {
        match self {
            Self::Affine { bits, .. } | Self::Palette { bits, .. } => Some(*bits),
            Self::Nf4 { .. } => Some(4),
            Self::Floats { .. } | Self::Nothing => None,
        }
    }

    /// What contradicts itself, as the end of a sentence.
    pub(super) fn problem(&self) -> Option<String> {
        match self {
            Self::Affine { bits, .. } | Self::Palette { bits, .. } if !(2..=8).contains(bits) => {
                Some(format!("codes have 2 to 8 bits, not {bits}"))
            }
            Self::Floats { dtype } if !dtype.is_float() => {
                Some(format!("{dtype} values are no floats"))
            }
            _ => None,
        }
    }

    /// Shows `see` the parts beside the codes: scales, zeros, levels.
    pub(super) fn each_scale(
        &self,
        rows: usize,
        columns: usize,
        mut see: impl FnMut(&'static str, Dtype, &[usize]) -> Option<()>,
    ) -> Option<()> {
        match *self {
            Self::Affine {
                bits,
                group,
                symmetric,
                scale_dtype,
                fractional_zeros,
            } => {
                let dtype = dtype_of_scales(scale_dtype);
                let groups = group_count(columns, group);
                see("scales", dtype, &[rows, groups])?;
                if fractional_zeros {
                    see("zeros", dtype, &[rows, groups])?;
                } else if !symmetric {
                    see("zeros", Dtype::U8, &[rows, row_bytes(groups, bits)])?;
                }
            }
            Self::Nf4 {
                block,
                double_quant,
            } => {
                let blocks = group_count(columns, block);
                if double_quant {
                    let outer = rows.checked_mul(blocks)?.div_ceil(BLOCKS_PER_OUTER_SCALE);
                    see("absmax_codes", Dtype::I8, &[rows, blocks])?;
                    see("absmax_scales", Dtype::F32, &[outer])?;
                    see("absmax_offset", Dtype::F32, &[1])?;
                } else {
                    see("absmax", Dtype::F32, &[rows, blocks])?;
                }
            }
            Self::Palette {
                bits,
                rows_per_palette,
                level_dtype,
            } => {
                let palettes = Palettes::count(rows, rows_per_palette);
                let levels = 1usize.checked_shl(bits.into())?;
                see("levels", dtype_of_scales(level_dtype), &[palettes, levels])?;
            }
            Self::Floats { .. } | Self::Nothing => {}
        }
        Some(())
    }
}

impl PartSpec {
    /// A part of this shape. `None` where its size does not exist.
    pub(super) fn new(suffix: &'static str, dtype: Dtype, shape: &[usize]) -> Option<Self> {
        Some(Self {
            suffix,
            dtype,
            shape: shape.to_vec(),
            size_bytes: size_bytes(dtype, shape)?,
        })
    }
}

/// Is shown the suffix, dtype and shape of a part; `None` where its size does not exist.
pub(super) type SeePart<'a> = dyn FnMut(&'static str, Dtype, &[usize]) -> Option<()> + 'a;

/// The parts that `each` shows, in order. `None` where a size does not exist.
pub(super) fn specs_of(each: impl FnOnce(&mut SeePart<'_>) -> Option<()>) -> Option<Vec<PartSpec>> {
    let mut parts = Vec::new();
    each(&mut |suffix, dtype, shape| {
        parts.push(PartSpec::new(suffix, dtype, shape)?);
        Some(())
    })?;
    Some(parts)
}

/// Bytes of the parts that `each` shows. `None` where the number does not exist. Allocates nothing.
pub(super) fn bytes_of(each: impl FnOnce(&mut SeePart<'_>) -> Option<()>) -> Option<u64> {
    let mut total = 0u64;
    each(&mut |_, dtype, shape| {
        total = total.checked_add(size_bytes(dtype, shape)?)?;
        Some(())
    })?;
    Some(total)
}

/// How scales are written.
pub(super) fn dtype_of_scales(dtype: ScaleDtype) -> Dtype {
    match dtype {
        ScaleDtype::F16 => Dtype::F16,
        ScaleDtype::BF16 => Dtype::BF16,
        ScaleDtype::F32 => Dtype::F32,
    }
}

/// Groups of a row; `group` 0 = one.
fn group_count(columns: usize, group: usize) -> usize {
    if group == 0 {
        1
    } else {
        columns.div_ceil(group)
    }
}

/// Bytes of a tensor. `None` where the number does not exist.
pub(super) fn size_bytes(dtype: Dtype, shape: &[usize]) -> Option<u64> {
    let elements = shape
        .iter()
        .try_fold(1usize, |product, &dimension| product.checked_mul(dimension))?;
    Some(elements.checked_mul(dtype.size_bytes())? as u64)
}
