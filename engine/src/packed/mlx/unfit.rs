//! What the layout of MLX has no place for.

use crate::grid::GridConfig;
use crate::solved::Method;

/// Bits of a code that MLX multiplies with.
pub const BITS: [u8; 6] = [2, 3, 4, 5, 6, 8];

/// Weights per scale that MLX multiplies with.
pub const GROUPS: [usize; 3] = [32, 64, 128];

/// Why this layout cannot hold a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// 7 bits.
    #[error("mlx holds 2, 3, 4, 5, 6 or 8 bits, not {0}")]
    Bits(u8),
    /// NF4.
    #[error("mlx holds evenly spaced levels, not nf4")]
    Codebook,
    /// Palettes.
    #[error("mlx holds evenly spaced levels, not palettes")]
    Palette,
    /// Weights that stay floats.
    #[error("mlx holds codes, not floats")]
    Floats,
    /// Factors.
    #[error("mlx has no place for factors")]
    Factors,
    /// Zeros left out of a grid that is not symmetric.
    #[error("the biases of mlx keep zeros exact on symmetric grids only")]
    Zeros,
    /// A group that does not divide the inputs, or that MLX does not know.
    #[error("mlx holds groups of 32, 64 or 128 that divide the {columns} inputs, not {group}")]
    Group {
        /// Weights per scale.
        group: usize,
        /// Inputs.
        columns: usize,
    },
}

/// Why this layout cannot hold a layer solved by `method` on such a grid, if it cannot; `pruned`: with zeros left out.
pub fn unfit(method: Method, config: GridConfig, pruned: bool, columns: usize) -> Option<Unfit> {
    match method {
        Method::Nf4 => return Some(Unfit::Codebook),
        Method::Palette => return Some(Unfit::Palette),
        Method::Float => return Some(Unfit::Floats),
        _ => {}
    }
    if !BITS.contains(&config.bits) {
        Some(Unfit::Bits(config.bits))
    } else if pruned && !config.symmetric {
        Some(Unfit::Zeros)
    } else if !group_fits(config.group, columns) {
        Some(Unfit::Group {
            group: config.group,
            columns,
        })
    } else {
        None
    }
}

/// The fewest bits that MLX knows and that hold codes of `bits`.
pub fn nearest_bits(bits: u8) -> u8 {
    let found = BITS.into_iter().find(|&known| known >= bits);
    found.unwrap_or(8)
}

/// The largest group not above `group` (0 = a whole row) that the layout holds for this many inputs, or else the smallest
/// above it. `None` where no group divides the inputs.
pub fn nearest_group(group: usize, columns: usize) -> Option<usize> {
    let most = if group == 0 { columns } else { group };
    let mut fitting = GROUPS
        .into_iter()
        .filter(|&known| columns.is_multiple_of(known));
    let smallest = fitting.clone().next();
    fitting.rfind(|&known| known <= most).or(smallest)
}

fn group_fits(group: usize, columns: usize) -> bool {
    let group = if group == 0 { columns } else { group };
    GROUPS.contains(&group) && columns.is_multiple_of(group)
}
