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

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::dispatch::{InstructionSet, instruction_set};
use super::gemm::Operand;
use super::prefetch::{AHEAD, prefetch};
use super::slabs::{Slab, for_each_slab};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a panel.
const PANEL: usize = 16;

/// Codes of one row in one line.
const CODES: usize = 8;

/// Sums that a row's block is spread over: column `c` of a block is added to sum `c % CHAINS`.
const CHAINS: usize = 4;

/// Tokens up to which levels are looked up in registers.
const FEW: usize = 8;

/// Panels that one task handles: at 2048 columns 64 KiB.
const SLAB_PANELS: usize = 4;

/// Panels and columns that are widened at once for a matrix product: 256 KiB of f32.
const WIDENED_PANELS: usize = 8;
const WIDENED_COLUMNS: usize = 512;

/// Weights above which the pool's threads share them.
const LEAST_PARALLEL_WEIGHTS: usize = 1 << 19;

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

/// Codes and scales as kernels read them.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelPanels {
    shape: LevelShape,
    levels: [f32; 16],
    lines: Vec<Line>,
}

impl LevelPanels {
    /// Packs row-major `codes` below 16, with `scales` `[rows, blocks]`: a weight is `scale * levels[code]`.
    ///
    /// # Panics
    /// If a slice does not fit the shape or a code is above 15.
    pub fn pack(shape: LevelShape, levels: &[f32; 16], codes: &[u8], scales: &[f32]) -> Self {
        assert!(shape.block > 0, "a block has columns");
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
            levels: *levels,
            lines,
        }
    }

    /// Its shape.
    pub fn shape(&self) -> LevelShape {
        self.shape
    }

    /// Bytes in memory.
    pub fn size_bytes(&self) -> usize {
        size_of_val(self.lines.as_slice()) + size_of_val(&self.levels)
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
            widen_lane(output, lines, lane, &self.levels);
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

/// `output[t][r] = Σ_c scale * levels[code[r][c]] * input[t][c]`, with `input` `[tokens, columns]`, `output`
/// `[tokens, rows]`. In the caller's rayon pool where the weights are worth it.
///
/// In each block, column `c` is added to sum `c % 4`; these are added in pairs, times the scale, block after block.
///
/// # Panics
/// If a slice does not fit its shape.
pub fn multiply_levels(output: &mut [f32], input: &[f32], tokens: usize, weights: &LevelPanels) {
    let shape = weights.shape;
    assert_eq!(output.len(), tokens * shape.rows, "output");
    assert_eq!(input.len(), tokens * shape.columns, "input");
    if tokens == 0 || shape.columns == 0 {
        output.fill(0.0);
        return;
    }
    let parallel = shape.rows * shape.columns * tokens.div_ceil(4) > LEAST_PARALLEL_WEIGHTS;
    let size = [tokens, shape.rows];
    if tokens <= FEW {
        let rows = SLAB_PANELS * PANEL;
        for_each_slab(
            output,
            size,
            rows,
            parallel,
            || (),
            |(), mut slab| {
                look_up(&mut slab, input, tokens, weights);
            },
        );
    } else {
        let rows = WIDENED_PANELS * PANEL;
        for_each_slab(
            output,
            size,
            rows,
            parallel,
            Vec::new,
            |scratch, mut slab| {
                widen_and_multiply(&mut slab, input, weights, scratch);
            },
        );
    }
}

/// Sums of one panel for `T` tokens, in registers.
type PanelSums<const T: usize> = [[f32; PANEL]; T];

/// One slab, four tokens or fewer at a pass.
fn look_up(slab: &mut Slab<'_>, input: &[f32], tokens: usize, weights: &LevelPanels) {
    let rows = slab.rows();
    for panel in rows.start / PANEL..rows.end.div_ceil(PANEL) {
        let mut token = 0;
        while token < tokens {
            let input = &input[token * weights.shape.columns..];
            token += match tokens - token {
                1 => look_up_panel::<1>(slab, token, panel, input, weights),
                2 => look_up_panel::<2>(slab, token, panel, input, weights),
                3 => look_up_panel::<3>(slab, token, panel, input, weights),
                _ => look_up_panel::<4>(slab, token, panel, input, weights),
            };
        }
    }
}

/// `T` tokens from the first of `input`. Returns `T`.
fn look_up_panel<const T: usize>(
    slab: &mut Slab<'_>,
    token: usize,
    panel: usize,
    input: &[f32],
    weights: &LevelPanels,
) -> usize {
    let columns = weights.shape.columns;
    let inputs: [&[f32]; T] = std::array::from_fn(|index| &input[index * columns..][..columns]);
    let sums = panel_sums(weights, panel, &inputs);
    let first = panel * PANEL - slab.rows().start;
    for (index, sums) in sums.iter().enumerate() {
        let output = &mut slab.token(token + index)[first..];
        for (output, sum) in output.iter_mut().zip(sums) {
            *output = *sum;
        }
    }
    T
}

fn panel_sums<const T: usize>(
    weights: &LevelPanels,
    panel: usize,
    inputs: &[&[f32]; T],
) -> PanelSums<T> {
    let (lines, levels, block) = (weights.panel(panel), &weights.levels, weights.shape.block);
    match instruction_set() {
        // SAFETY: `instruction_set` found the features on this machine.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => unsafe { x86::panel_avx512(lines, levels, block, inputs) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => unsafe { x86::panel_avx2(lines, levels, block, inputs) },
        #[cfg(target_arch = "aarch64")]
        _ => neon::panel(lines, levels, block, inputs),
        #[cfg(not(target_arch = "aarch64"))]
        _ => panel_portable(lines, levels, block, inputs),
    }
}

/// The blocks of a panel: their scales, their codes and their columns. Asks for memory ahead.
#[inline(always)]
fn blocks_of(
    lines: &[Line],
    block: usize,
    columns: usize,
) -> impl Iterator<Item = (&Line, &[Line], Range<usize>)> {
    let mut rest = lines;
    (0..columns).step_by(block).map(move |first| {
        let columns = first..(first + block).min(columns);
        let count = columns.len().div_ceil(CODES);
        for line in 0..=count {
            prefetch(rest, AHEAD + line * size_of::<Line>());
        }
        let (scales, after) = rest
            .split_first()
            .expect("a panel has lines for each block");
        let codes;
        (codes, rest) = after.split_at(count);
        (scales, codes, columns)
    })
}

/// What all variants mean.
#[cfg_attr(target_arch = "aarch64", allow(dead_code))] // tests compare with it
fn panel_portable<const T: usize>(
    lines: &[Line],
    levels: &[f32; 16],
    block: usize,
    inputs: &[&[f32]; T],
) -> PanelSums<T> {
    let mut totals = [[0.0; PANEL]; T];
    for (scales, codes, columns) in blocks_of(lines, block, inputs[0].len()) {
        let mut sums = [[[0.0f32; PANEL]; CHAINS]; T];
        for (line, first) in codes.iter().zip(columns.clone().step_by(CODES)) {
            for place in 0..CODES.min(columns.end - first) {
                for (sums, input) in sums.iter_mut().zip(inputs) {
                    let x = input[first + place];
                    for (sum, codes) in sums[place % CHAINS].iter_mut().zip(&line.0) {
                        let level = levels[(codes >> (4 * place) & 15) as usize];
                        *sum = level.mul_add(x, *sum);
                    }
                }
            }
        }
        for (totals, [a, b, c, d]) in totals.iter_mut().zip(&sums) {
            for (lane, total) in totals.iter_mut().enumerate() {
                let sum = (a[lane] + b[lane]) + (c[lane] + d[lane]);
                *total = sum.mul_add(f32::from_bits(scales.0[lane]), *total);
            }
        }
    }
    totals
}

/// One slab of many tokens: columns in stretches of whole blocks, each widened to f32 and multiplied.
fn widen_and_multiply(
    slab: &mut Slab<'_>,
    input: &[f32],
    weights: &LevelPanels,
    scratch: &mut Vec<f32>,
) {
    let LevelShape { columns, block, .. } = weights.shape;
    let stretch = (WIDENED_COLUMNS / block).max(1) * block;
    let rows = slab.rows();
    let mut keep = 0.0;
    for first in (0..columns).step_by(stretch) {
        let width = stretch.min(columns - first);
        scratch.resize(rows.len() * width, 0.0);
        for (row, output) in rows.clone().zip(scratch.chunks_mut(width)) {
            let lines = &weights.panel(row / PANEL)[first / block * weights.shape.block_lines()..];
            let lines = lines.chunks(weights.shape.block_lines());
            for (output, lines) in output.chunks_mut(block).zip(lines) {
                widen_lane(output, lines, row % PANEL, &weights.levels);
            }
        }
        let input = Operand::new(&input[first..], columns);
        slab.multiply(input, Operand::transposed(scratch, width), width, keep);
        keep = 1.0;
    }
}

#[cfg(test)]
mod tests;
