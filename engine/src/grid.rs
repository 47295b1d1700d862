//! Affine grids: `weight = scale * (code - zero)`, one scale and zero per row and group of columns.
//!
//! Codes are unsigned, `0..=2^bits - 1`. Symmetric grids have `zero = 2^(bits-1)`. Scales are snapped to the dtype in
//! which they will be stored *before* codes are chosen, so that a report tells of the values as reopened.
//! Knows no solver: which scale is best is `solve`'s question.

pub use crate::tensor::ScaleDtype;

use std::fmt;
use std::ops::Range;

/// What a grid is asked to be. No field has a hidden default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct GridConfig {
    /// Bits of a code, 2 to 8.
    pub bits: u8,
    /// Columns per scale; 0 = one scale per row. The last group of a row is shorter where this does not divide the width.
    pub group: usize,
    /// Whether the zero is fixed at `2^(bits-1)`.
    pub symmetric: bool,
    /// How scales are stored.
    pub scale_dtype: ScaleDtype,
}

impl GridConfig {
    /// Largest code.
    pub fn max_code(self) -> u8 {
        ((1u16 << self.bits) - 1) as u8
    }

    /// Zero point of a symmetric grid.
    pub fn middle(self) -> f32 {
        f32::from(1u8 << (self.bits - 1))
    }

    /// How `columns` are cut into groups.
    pub fn groups(self, columns: usize) -> Groups {
        Groups {
            columns,
            size: if self.group == 0 {
                columns.max(1)
            } else {
                self.group
            },
        }
    }
}

impl fmt::Display for GridConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zeros = if self.symmetric {
            "symmetric"
        } else {
            "asymmetric"
        };
        write!(formatter, "{} bits, {zeros}, ", self.bits)?;
        match self.group {
            0 => formatter.write_str("a scale for each row")?,
            group => write!(formatter, "groups of {group}")?,
        }
        write!(formatter, ", {} scales", self.scale_dtype)
    }
}

/// How one row's columns are cut into groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    columns: usize,
    size: usize,
}

impl Groups {
    /// Number of groups of a row.
    pub fn count(self) -> usize {
        self.columns.div_ceil(self.size)
    }

    /// Columns of one full group.
    pub fn size(self) -> usize {
        self.size
    }

    /// Whether every group of `finer` lies in one of these, so that scales and zeros may repeat there.
    pub fn are_cut_by(self, finer: Self) -> bool {
        // A row is one group under any length from its own on.
        let is_row = self.count() == 1 && finer.count() == 1;
        is_row || self.size.is_multiple_of(finer.size)
    }

    /// The group that holds `column`.
    pub fn of(self, column: usize) -> usize {
        column / self.size
    }

    /// Columns of group `group`.
    pub fn range(self, group: usize) -> Range<usize> {
        group * self.size..((group + 1) * self.size).min(self.columns)
    }
}

/// Scale and zero of one row and group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Distance between neighbouring levels, positive, already snapped.
    pub scale: f32,
    /// The code of weight 0; fractional in HQQ only.
    pub zero: f32,
}

impl Step {
    /// Nearest code of `weight`. NaN gives code 0.
    #[inline(always)]
    pub fn code(self, weight: f32, max_code: f32) -> f32 {
        (weight / self.scale + self.zero)
            .round_ties_even()
            .clamp(0.0, max_code)
    }

    /// The weight of `code`.
    #[inline(always)]
    pub fn weight(self, code: f32) -> f32 {
        self.scale * (code - self.zero)
    }
}

/// Scales and zeros of a whole layer.
#[derive(Debug, Clone, PartialEq)]
pub struct AffineGrid {
    /// Bits, group, symmetry, scale dtype.
    pub config: GridConfig,
    /// Rows (outputs).
    pub rows: usize,
    /// Columns (inputs).
    pub columns: usize,
    /// Snapped scales `[rows, groups]`.
    pub scales: Vec<f32>,
    /// Zeros `[rows, groups]`: whole numbers `0..=max_code`, except where `fractional_zeros`.
    pub zeros: Vec<f32>,
    /// Zeros are real numbers stored in the scale dtype (HQQ).
    pub fractional_zeros: bool,
}

impl AffineGrid {
    /// A grid with every scale 1 and every zero in the middle (symmetric) or 0.
    pub fn neutral(config: GridConfig, rows: usize, columns: usize) -> Self {
        let count = rows * config.groups(columns).count();
        let zero = if config.symmetric {
            config.middle()
        } else {
            0.0
        };
        Self {
            config,
            rows,
            columns,
            scales: vec![1.0; count],
            zeros: vec![zero; count],
            fractional_zeros: false,
        }
    }

    /// How columns are cut into groups.
    pub fn groups(&self) -> Groups {
        self.config.groups(self.columns)
    }

    /// Scale and zero of one row and group.
    pub fn step(&self, row: usize, group: usize) -> Step {
        let index = row * self.groups().count() + group;
        Step {
            scale: self.scales[index],
            zero: self.zeros[index],
        }
    }

    /// Sets scale and zero of one row and group.
    pub fn set_step(&mut self, row: usize, group: usize, step: Step) {
        let index = row * self.groups().count() + group;
        self.scales[index] = step.scale;
        self.zeros[index] = step.zero;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_group_of_a_row_is_shorter() {
        let config = GridConfig {
            bits: 4,
            group: 32,
            symmetric: false,
            scale_dtype: ScaleDtype::F16,
        };
        let groups = config.groups(70);
        assert_eq!((groups.count(), groups.of(69)), (3, 2));
        assert_eq!((groups.range(0), groups.range(2)), (0..32, 64..70));
        let whole = GridConfig { group: 0, ..config }.groups(70);
        assert_eq!((whole.count(), whole.range(0)), (1, 0..70));
        assert_eq!(config.groups(0).count(), 0);
    }
}
