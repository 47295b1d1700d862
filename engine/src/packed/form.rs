//! The form in which weights are held while a network runs, and its bytes.
//!
//! Says what `PackedMatrix` does, before there is one. Knows no device and no second.

use super::{CodeKind, FactorKind, Stored};
use crate::grid::ScaleDtype;
use crate::mask::SparsityPattern;
use crate::settings::{Activations, LayerSettings};
use crate::solved::Method;
use crate::tensor::Dtype;

/// Rows of the panels in which codes are held, and columns that are unpacked at once: multiples of them are stored.
const PANEL_ROWS: usize = 16;
const PANEL_UNIT: usize = 32;
/// Neighbours of which at most two are kept.
const FOUR: usize = 4;
/// Bits of the palettes that are tables.
const MOST_TABLE_BITS: u8 = 4;
/// Columns of a block of palettes, all of which have a scale.
const PALETTE_BLOCK: usize = 256;
/// Bytes of a value in floats, as Pare computes on processors.
pub const FLOAT_BYTES: u64 = 4;

/// How weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// As floats.
    Dense,
    /// Codes of a grid.
    Codes {
        /// Bits of a code, 2 to 8.
        bits: u8,
        /// Weights per scale; 0 = a row.
        group: usize,
        /// Bytes of a scale and its zero in the kernels' memory.
        group_bytes: u64,
        /// How inputs are rounded.
        activations: Activations,
    },
    /// Codes of a grid of those weights alone that are not zero: at most two of every four.
    Kept {
        /// Bits of a code, 2 to 8.
        bits: u8,
        /// Weights per scale; 0 = a row.
        group: usize,
        /// Bytes of a scale and its zero in the kernels' memory.
        group_bytes: u64,
        /// How inputs are rounded.
        activations: Activations,
    },
    /// Not at all: factors are all there is.
    Nothing,
    /// 4-bit codes into a table of levels, one f32 scale for each block of so many weights.
    Levels {
        /// Weights per scale.
        block: usize,
    },
}

impl Form {
    /// The form that these settings ask for.
    pub fn of(settings: &LayerSettings) -> Self {
        let pattern = (!settings.prune.is_none()).then_some(settings.prune.pattern);
        match settings.method {
            Method::None => Self::Dense,
            _ => {
                // The dtype of floats decides nothing here.
                let code = CodeKind::of_settings(settings, Dtype::F32);
                Self::of_code(code, pattern, settings.activations)
            }
        }
    }

    /// The form of packed weights whose inputs are rounded so; factors are told beside it.
    pub fn of_stored(stored: Stored, activations: Activations) -> Self {
        let pattern = stored.sparsity.map(|sparsity| sparsity.pattern);
        Self::of_code(stored.code, pattern, activations)
    }

    /// As `PackedMatrix` holds them.
    fn of_code(code: CodeKind, pattern: Option<SparsityPattern>, activations: Activations) -> Self {
        match code {
            CodeKind::Nothing => Self::Nothing,
            CodeKind::Floats { .. } => Self::Dense,
            CodeKind::Nf4 { block, .. } => Self::Levels { block },
            CodeKind::Palette { bits, .. } if bits <= MOST_TABLE_BITS && pattern.is_none() => {
                Self::Levels {
                    block: PALETTE_BLOCK,
                }
            }
            CodeKind::Palette { .. } => Self::Dense,
            CodeKind::Affine {
                fractional_zeros: true,
                ..
            } if pattern.is_some() => Self::Dense,
            CodeKind::Affine {
                bits,
                group,
                symmetric,
                scale_dtype,
                fractional_zeros,
            } => {
                // A kept code less its zero is a signed byte.
                let are_near = symmetric || bits < 8;
                let kept_alone =
                    pattern.is_some_and(is_two_of_four) && are_near && group.is_multiple_of(FOUR);
                let group_bytes = group_bytes(scale_dtype, symmetric, fractional_zeros);
                match kept_alone {
                    true => Self::Kept {
                        bits,
                        group,
                        group_bytes,
                        activations,
                    },
                    false => Self::Codes {
                        bits,
                        group,
                        group_bytes,
                        activations,
                    },
                }
            }
        }
    }

    /// Bytes in the memory order of the kernels.
    pub fn panel_bytes(self, rows: usize, columns: usize) -> u64 {
        let padded_rows = rows.next_multiple_of(PANEL_ROWS) as u64;
        match self {
            Self::Dense => FLOAT_BYTES * rows as u64 * columns as u64,
            Self::Nothing => 0,
            Self::Codes {
                bits,
                group,
                group_bytes,
                ..
            } => {
                // 7 bits take the room of 8.
                let bits = if bits == 7 { 8 } else { u64::from(bits) };
                let (padded, groups) = padded(columns, group);
                padded_rows * (padded * bits / 8 + groups * group_bytes)
            }
            Self::Kept {
                bits,
                group,
                group_bytes,
                ..
            } => {
                let bits: u64 = match bits {
                    0..=2 => 2,
                    3 | 4 => 4,
                    _ => 8,
                };
                let (padded, groups) = padded(columns, group);
                // Half of the codes, and a bit for the place of each weight.
                padded_rows * (padded * (bits / 2 + 1) / 8 + groups * group_bytes)
            }
            Self::Levels { block } => {
                let blocks = columns.div_ceil(block.max(1)) as u64;
                let padded = columns.next_multiple_of(PANEL_UNIT) as u64;
                padded_rows * (padded / 2 + blocks * FLOAT_BYTES)
            }
        }
    }
}

impl Stored {
    /// Bytes of a layer of this shape while it runs, in the memory order of the kernels, factors included.
    pub fn held_bytes(&self, rows: usize, columns: usize) -> u64 {
        // How inputs are rounded takes no room.
        let form = Form::of_stored(*self, Activations::None);
        let floats = Form::Dense.panel_bytes(rows, columns);
        form.panel_bytes(rows, columns).min(floats) + self.factor_bytes(rows, columns, None)
    }

    /// Bytes of a table of this shape whose rows are looked up: a byte for each code and each place of a mask, floats for
    /// all else.
    pub fn table_bytes(&self, rows: usize, columns: usize) -> u64 {
        let weights = rows as u64 * columns as u64;
        let values = self.sparsity.map_or(weights, |kept| kept.values as u64);
        let codes = match self.code {
            CodeKind::Floats { .. } => FLOAT_BYTES * values,
            CodeKind::Nothing => 0,
            CodeKind::Palette { .. } => weights,
            CodeKind::Affine { group, .. } => {
                let (_, groups) = padded(columns, group);
                weights + 2 * FLOAT_BYTES * rows as u64 * groups
            }
            CodeKind::Nf4 { block, .. } => {
                weights + FLOAT_BYTES * rows as u64 * columns.div_ceil(block.max(1)) as u64
            }
        };
        let mask = self.sparsity.map_or(0, |_| weights);
        codes + mask + self.factor_bytes(rows, columns, Some(FLOAT_BYTES))
    }

    fn factor_bytes(&self, rows: usize, columns: usize, value_bytes: Option<u64>) -> u64 {
        let of = |factors: FactorKind| {
            let own = match factors.dtype {
                ScaleDtype::F16 | ScaleDtype::BF16 => 2,
                ScaleDtype::F32 => FLOAT_BYTES,
            };
            factors.rank as u64 * (rows + columns) as u64 * value_bytes.unwrap_or(own)
        };
        self.factors.map_or(0, of)
    }
}

/// Whether a pattern keeps at most two of every four neighbours.
fn is_two_of_four(pattern: SparsityPattern) -> bool {
    match pattern {
        SparsityPattern::NOfM { kept, of } => {
            kept == 1 || (kept == 2 && usize::from(of).is_multiple_of(FOUR))
        }
        SparsityPattern::Unstructured | SparsityPattern::Block { .. } => false,
    }
}

/// Columns of a row with all groups padded, and the number of groups.
fn padded(columns: usize, group: usize) -> (u64, u64) {
    let group = match group {
        0 => columns,
        group => group.min(columns),
    }
    .max(1);
    let (whole, rest) = (columns / group, columns % group);
    let padded = whole * group.next_multiple_of(PANEL_UNIT) + rest.next_multiple_of(PANEL_UNIT);
    (padded as u64, columns.div_ceil(group) as u64)
}

/// Bytes of a scale and a zero as kernels keep them: each in its narrowest exact form.
fn group_bytes(scale_dtype: ScaleDtype, symmetric: bool, fractional_zeros: bool) -> u64 {
    let scale = match scale_dtype {
        ScaleDtype::F16 => 2,
        ScaleDtype::BF16 | ScaleDtype::F32 => FLOAT_BYTES,
    };
    let zero = match (fractional_zeros, symmetric) {
        (true, _) => FLOAT_BYTES,
        (false, true) => 0,
        (false, false) => 1,
    };
    scale + zero
}
