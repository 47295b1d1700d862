//! What the codes of one group can stand for, and which weights lie beyond.

use crate::codebook::NF4_LEVELS;
use crate::solved::{Grid, Solved};

/// The weights that the codes of one group can represent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reach {
    /// Smallest representable weight.
    pub(super) low: f32,
    /// Largest representable weight.
    pub(super) high: f32,
    /// Weights below are cut off at `low`: farther away than rounding ever moves a weight inside.
    pub(super) cut_below: f32,
    /// Weights above are cut off at `high`.
    pub(super) cut_above: f32,
}

impl Reach {
    /// The reach of group `group` of one row.
    pub(super) fn of(solved: &Solved, row: usize, group: usize) -> Self {
        match &solved.grid {
            Grid::Affine(grid) => {
                let step = grid.step(row, group);
                let max_code = f32::from(grid.config.max_code());
                let half = 0.5 * step.scale;
                Self::between(step.weight(0.0), step.weight(max_code), half, half)
            }
            Grid::Codebook(codebook) => {
                let scale = codebook
                    .scale(row * codebook.blocks_per_row() + group)
                    .abs();
                let [first, second, .., before_last, last] = NF4_LEVELS;
                let (low, high) = (scale * first, scale * last);
                let half = |gap: f32| 0.5 * scale * gap;
                Self::between(low, high, half(second - first), half(last - before_last))
            }
            Grid::Palette(palettes) => {
                let levels = palettes.of_row(row);
                let ends = (levels[0], levels[levels.len() - 1]);
                Self::between(ends.0, ends.1, f32::INFINITY, f32::INFINITY)
            }
            Grid::Floats(_) | Grid::Nothing => {
                let (least, most) = (f32::NEG_INFINITY, f32::INFINITY);
                Self::between(least, most, 0.0, 0.0)
            }
        }
    }

    fn between(low: f32, high: f32, half_below: f32, half_above: f32) -> Self {
        Self {
            low,
            high,
            cut_below: low - half_below,
            cut_above: high + half_above,
        }
    }

    /// How many of `weights` are cut off.
    pub(super) fn cut_off(&self, weights: &[f32]) -> u64 {
        let is_cut =
            |&weight: &f32| u64::from((weight < self.cut_below) | (weight > self.cut_above));
        weights.iter().map(is_cut).sum()
    }
}

/// Weights of one full group along a row.
pub(super) fn group_size(solved: &Solved) -> usize {
    match &solved.grid {
        Grid::Affine(grid) => grid.groups().size(),
        Grid::Codebook(codebook) => codebook.block,
        Grid::Palette(_) | Grid::Floats(_) | Grid::Nothing => solved.codes.columns.max(1),
    }
}
