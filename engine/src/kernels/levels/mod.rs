//! Products with weights whose 4-bit codes name one of 16 levels, with one scale for each block of columns: NF4.
//!
//! A panel holds 16 rows, one in each 32-bit lane. Its blocks follow each other, a block being lines of 64 bytes:
//!
//! ```text
//! line 0        the block's scale of row 0 … row 15, f32
//! line 1        row 0 … row 15: a u32 holds columns 0..8 of the block, the first in the lowest four bits
//! line 2 …      columns 8..16, … ; what a last line has too much is code 0 and is not read
//! ```
//! So a lane's sum belongs to one row, nothing is added across lanes, and a panel is one stream from memory.
//! Few tokens look levels up in registers; many widen slabs to f32 and multiply these. Every sum of few tokens has one
//! order of fused multiply-adds: the same bits on every instruction set and at any thread count.
//! Knows no codebook and no double quantization: levels and scales come as plain numbers.

mod product;

pub use product::multiply_levels;

use super::lanes::LANES;
use rayon::prelude::*;

/// Rows of a panel.
const PANEL: usize = LANES;

/// Codes of one row in one line.
const CODES: usize = 8;

/// One line of memory: 16 scales as bits, or the codes of 8 columns of 16 rows.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
struct Line([u32; PANEL]);

/// What a matrix of codes into levels looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LevelShape {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Columns of a row that share one scale; the last block of a row may be shorter.
    pub block: usize,
}

impl LevelShape {
    /// Blocks of one row.
    pub fn blocks(&self) -> usize {
        self.columns.div_ceil(self.block)
    }

    fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Lines of a whole block.
    fn block_lines(&self) -> usize {
        1 + self.block.div_ceil(CODES)
    }

    /// Lines of one panel.
    fn panel_lines(&self) -> usize {
        match self.blocks() {
            0 => 0,
            blocks => {
                let last = self.columns - (blocks - 1) * self.block;
                (blocks - 1) * self.block_lines() + 1 + last.div_ceil(CODES)
            }
        }
    }
}

/// Tables of levels, and how many rows each of them serves.
#[derive(Debug, Clone, Copy)]
pub struct Levels<'a> {
    /// In the order of the rows.
    pub values: &'a [[f32; LevelPanels::MOST_LEVELS]],
    /// Rows of one table, a multiple of those of a panel; 0 = all.
    pub rows: usize,
}

/// Codes and scales as kernels read them.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelPanels {
    shape: LevelShape,
    levels: Vec<[f32; Self::MOST_LEVELS]>,
    /// Panels that one table of levels serves.
    panels_of_levels: usize,
    lines: Vec<Line>,
}

impl LevelPanels {
    /// Levels of a table: what four bits can name.
    pub const MOST_LEVELS: usize = 16;

    /// Whether so many rows can share a table of levels; 0 = all.
    pub fn serves(rows: usize) -> bool {
        rows.is_multiple_of(PANEL)
    }

    /// Packs row-major `codes` below 16, with `scales` `[rows, blocks]`: a weight is `scale * levels[code]`.
    ///
    /// # Panics
    /// If a slice does not fit the shape, a code is above 15 or panels share tables of levels.
    pub fn pack(shape: LevelShape, levels: Levels<'_>, codes: &[u8], scales: &[f32]) -> Self {
        assert!(shape.block > 0, "a block has columns");
        assert!(Self::serves(levels.rows), "a panel has one table of levels");
        let tables = match levels.rows {
            0 => 1,
            rows => shape.rows.div_ceil(rows),
        };
        assert!(levels.values.len() >= tables, "{tables} tables of levels");
        assert_eq!(codes.len(), shape.rows * shape.columns, "codes");
        assert_eq!(scales.len(), shape.rows * shape.blocks(), "scales");
        let largest = codes.iter().copied().max().unwrap_or(0);
        assert!(largest < 16, "code {largest} does not fit 4 bits");
        let mut lines = vec![Line([0; PANEL]); shape.panels() * shape.panel_lines()];
        lines
            .par_chunks_mut(shape.panel_lines().max(1))
            .enumerate()
            .for_each(|(panel, lines)| pack_panel(&shape, panel, codes, scales, lines));
        Self {
            shape,
            levels: levels.values.to_vec(),
            panels_of_levels: levels.rows / PANEL,
            lines,
        }
    }

    /// Its shape.
    pub fn shape(&self) -> LevelShape {
        self.shape
    }

    /// Bytes in memory.
    pub fn size_bytes(&self) -> usize {
        size_of_val(self.lines.as_slice()) + size_of_val(self.levels.as_slice())
    }

    /// The levels of a panel.
    fn levels(&self, panel: usize) -> &[f32; Self::MOST_LEVELS] {
        &self.levels[panel.checked_div(self.panels_of_levels).unwrap_or(0)]
    }

    fn panel(&self, panel: usize) -> &[Line] {
        &self.lines[panel * self.shape.panel_lines()..][..self.shape.panel_lines()]
    }

    /// Weights of one row into `output`.
    ///
    /// # Panics
    /// If `output` is not one row of columns.
    pub fn dequantize_row(&self, row: usize, output: &mut [f32]) {
        assert_eq!(output.len(), self.shape.columns, "one row");
        let lane = row % PANEL;
        let blocks = output.chunks_mut(self.shape.block);
        let lines = self.panel(row / PANEL).chunks(self.shape.block_lines());
        for (output, lines) in blocks.zip(lines) {
            widen_lane(output, lines, lane, self.levels(row / PANEL));
        }
    }
}

fn pack_panel(shape: &LevelShape, panel: usize, codes: &[u8], scales: &[f32], lines: &mut [Line]) {
    for row in panel * PANEL..((panel + 1) * PANEL).min(shape.rows) {
        let codes = &codes[row * shape.columns..][..shape.columns];
        let blocks = codes.chunks(shape.block);
        let lines = lines.chunks_mut(shape.block_lines());
        for (block, (codes, lines)) in blocks.zip(lines).enumerate() {
            let lane = row % PANEL;
            lines[0].0[lane] = scales[row * shape.blocks() + block].to_bits();
            for (line, codes) in lines[1..].iter_mut().zip(codes.chunks(CODES)) {
                for (place, &code) in codes.iter().enumerate() {
                    line.0[lane] |= u32::from(code) << (4 * place);
                }
            }
        }
    }
}

/// One row's columns of one block, or of a part of one that begins on a line: `lines[0]` has the scales.
fn widen_lane(output: &mut [f32], lines: &[Line], lane: usize, levels: &[f32; 16]) {
    let scale = f32::from_bits(lines[0].0[lane]);
    for (output, line) in output.chunks_mut(CODES).zip(&lines[1..]) {
        for (place, output) in output.iter_mut().enumerate() {
            *output = scale * levels[(line.0[lane] >> (4 * place) & 15) as usize];
        }
    }
}

#[cfg(test)]
mod tests;
