//! What the layout of gptq has no place for.

use crate::grid::{GridConfig, ScaleDtype};
use crate::solved::Method;

/// Inputs and outputs come in multiples of this: 32 codes of `bits` bits fill `bits` words exactly.
pub const WORD_CODES: usize = 32;

/// Weights per scale that all loaders accept, besides a whole row.
pub const GROUPS: [usize; 7] = [16, 32, 64, 128, 256, 512, 1024];

/// Why this layout cannot hold a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// 5 to 7 bits.
    #[error("gptq holds 2, 3, 4 or 8 bits, not {0}")]
    Bits(u8),
    /// A width that does not fill whole words.
    #[error("gptq needs widths that are multiples of 32, not {columns} inputs and {rows} outputs")]
    Widths {
        /// Outputs.
        rows: usize,
        /// Inputs.
        columns: usize,
    },
    /// NF4.
    #[error("gptq holds evenly spaced levels, not nf4")]
    Codebook,
    /// Palettes.
    #[error("gptq holds evenly spaced levels, not palettes")]
    Palette,
    /// Weights that stay floats.
    #[error("gptq holds codes, not floats")]
    Floats,
    /// Factors.
    #[error("gptq has no place for factors")]
    Factors,
    /// HQQ.
    #[error("gptq holds whole zeros, not the fractional ones of hqq")]
    FractionalZeros,
    /// A group that does not divide the inputs, or that loaders do not accept.
    #[error(
        "gptq holds groups of 16, 32, 64, 128, 256, 512 or 1024 that divide the {columns} inputs, not {group}"
    )]
    Group {
        /// Weights per scale.
        group: usize,
        /// Inputs.
        columns: usize,
    },
    /// Scales that are not f16.
    #[error("gptq holds f16 scales, not {}", super::super::dtype_of_scales(*.0))]
    Scales(ScaleDtype),
}

/// Why this layout cannot hold a layer solved by `method` on such a grid, if it cannot.
pub fn unfit(method: Method, config: GridConfig, rows: usize, columns: usize) -> Option<Unfit> {
    match method {
        Method::Nf4 => return Some(Unfit::Codebook),
        Method::Palette => return Some(Unfit::Palette),
        Method::Float => return Some(Unfit::Floats),
        Method::Hqq if !config.symmetric => return Some(Unfit::FractionalZeros),
        _ => {}
    }
    if !matches!(config.bits, 2 | 3 | 4 | 8) {
        Some(Unfit::Bits(config.bits))
    } else if !rows.is_multiple_of(WORD_CODES) || !columns.is_multiple_of(WORD_CODES) {
        Some(Unfit::Widths { rows, columns })
    } else if config.scale_dtype != ScaleDtype::F16 {
        Some(Unfit::Scales(config.scale_dtype))
    } else if !group_fits(config.group, columns) {
        Some(Unfit::Group {
            group: config.group,
            columns,
        })
    } else {
        None
    }
}

/// The largest group not above `group` that the layout holds for this many inputs. `None` where there is none.
pub fn nearest_group(group: usize, columns: usize) -> Option<usize> {
    let candidates = GROUPS.into_iter().rev();
    candidates
        .filter(|&candidate| candidate <= group)
        .find(|&candidate| columns.is_multiple_of(candidate))
}

fn group_fits(group: usize, columns: usize) -> bool {
    group == 0 || (GROUPS.contains(&group) && columns.is_multiple_of(group))
}
