//! Panels of levels times activations: looked up in registers for few tokens, widened for many.

use super::{CODES, LevelPanels, LevelShape, Line, PANEL};
use crate::kernels::gemm::Operand;
use crate::kernels::lanes::{Lanes, OverLanes, with_lanes};
use crate::kernels::prefetch::{AHEAD, prefetch};
use crate::kernels::slabs::{FloatProduct, Slab, multiply_slabs};
use std::ops::Range;

/// Sums that a row's block is spread over: column `c` of a block is added to sum `c % CHAINS`.
const CHAINS: usize = 4;

/// Panels that one task handles: at 2048 columns 64 KiB.
const SLAB_PANELS: usize = 4;

/// Panels and columns that are widened at once for a matrix product: 256 KiB of f32.
const WIDENED_PANELS: usize = 8;
const WIDENED_COLUMNS: usize = 512;

/// `output[t][r] = Σ_c scale * levels[code[r][c]] * input[t][c]`, with `input` `[tokens, columns]`, `output`
/// `[tokens, rows]`. In the caller's rayon pool where the weights are worth it.
///
/// In each block, column `c` is added to sum `c % 4`; these are added in pairs, times the scale, block after block.
///
/// # Panics
/// If a slice does not fit its shape.
pub fn multiply_levels(output: &mut [f32], input: &[f32], tokens: usize, weights: &LevelPanels) {
    let shape = weights.shape;
    assert_eq!(input.len(), tokens * shape.columns, "input");
    let product = Product {
        input,
        tokens,
        weights,
    };
    multiply_slabs(output, [tokens, shape.rows, shape.columns], &product);
}

struct Product<'a> {
    input: &'a [f32],
    tokens: usize,
    weights: &'a LevelPanels,
}

impl FloatProduct for Product<'_> {
    const FEW_ROWS: usize = SLAB_PANELS * PANEL;
    const MANY_ROWS: usize = WIDENED_PANELS * PANEL;
    type Scratch = Vec<f32>;

    fn few(&self, slab: &mut Slab<'_>) {
        with_lanes(LookUp {
            slab,
            input: self.input,
            tokens: self.tokens,
            weights: self.weights,
        });
    }

    fn many(&self, slab: &mut Slab<'_>, scratch: &mut Vec<f32>) {
        widen_and_multiply(slab, self.input, self.weights, scratch);
    }
}

/// One slab of few tokens, two or one at a pass: more sums do not fit the registers of all machines.
struct LookUp<'a, 'b> {
    slab: &'a mut Slab<'b>,
    input: &'a [f32],
    tokens: usize,
    weights: &'a LevelPanels,
}

impl OverLanes for LookUp<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let rows = self.slab.rows();
        for panel in rows.start / PANEL..rows.end.div_ceil(PANEL) {
            for token in (0..self.tokens).step_by(2) {
                if token + 1 < self.tokens {
                    self.tokens_of_panel::<L, 2>(lanes, panel, token);
                } else {
                    self.tokens_of_panel::<L, 1>(lanes, panel, token);
                }
            }
        }
    }
}

impl LookUp<'_, '_> {
    #[inline(always)]
    fn tokens_of_panel<L: Lanes, const T: usize>(&mut self, lanes: L, panel: usize, token: usize) {
        let columns = self.weights.shape.columns;
        let mut inputs = [&self.input[..0]; T];
        for (index, input) in inputs.iter_mut().enumerate() {
            *input = &self.input[(token + index) * columns..][..columns];
        }
        let totals = panel_sums::<L, T>(lanes, self.weights, panel, inputs);
        let first = panel * PANEL - self.slab.rows().start;
        for (index, total) in totals.into_iter().enumerate() {
            let mut values = [0.0; PANEL];
            lanes.store(total, &mut values);
            let output = &mut self.slab.token(token + index)[first..];
            let rows = output.len().min(PANEL);
            output[..rows].copy_from_slice(&values[..rows]);
        }
    }
}

/// Sums of one panel for `T` tokens.
#[inline(always)]
fn panel_sums<L: Lanes, const T: usize>(
    lanes: L,
    weights: &LevelPanels,
    panel: usize,
    inputs: [&[f32]; T],
) -> [L::Vector; T] {
    let levels = lanes.load_levels(weights.levels(panel));
    let zero = lanes.splat(0.0);
    let mut totals = [zero; T];
    let LevelShape { columns, block, .. } = weights.shape;
    for (scales, codes, columns) in blocks_of(weights.panel(panel), block, columns) {
        let mut sums = [[zero; CHAINS]; T];
        for (line, first) in codes.iter().zip(columns.clone().step_by(CODES)) {
            let codes = lanes.load_codes(&line.0);
            let mut padded = [[0.0; CODES]; T];
            let mut x = [&[0.0; CODES]; T];
            for ((x, padded), input) in x.iter_mut().zip(&mut padded).zip(inputs) {
                let input = &input[first..columns.end];
                *x = input.first_chunk().unwrap_or_else(|| {
                    padded[..input.len()].copy_from_slice(input);
                    padded
                });
            }
            for place in 0..CODES {
                let level = lanes.level(levels, codes, place);
                for (sums, x) in sums.iter_mut().zip(x) {
                    let sum = &mut sums[place % CHAINS];
                    *sum = lanes.multiply_add(level, lanes.splat(x[place]), *sum);
                }
            }
        }
        let scales = scales_of(lanes, scales);
        for (total, [a, b, c, d]) in totals.iter_mut().zip(sums) {
            let sum = lanes.add(lanes.add(a, b), lanes.add(c, d));
            *total = lanes.multiply_add(sum, scales, *total);
        }
    }
    totals
}

#[inline(always)]
fn scales_of<L: Lanes>(lanes: L, line: &Line) -> L::Vector {
    lanes.load(&line.0.map(f32::from_bits))
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

/// One slab of many tokens: columns in stretches of whole blocks, each widened to `[columns, rows]` and multiplied.
fn widen_and_multiply(
    slab: &mut Slab<'_>,
    input: &[f32],
    weights: &LevelPanels,
    scratch: &mut Vec<f32>,
) {
    let LevelShape { columns, block, .. } = weights.shape;
    let stretch = (WIDENED_COLUMNS / block).max(1) * block;
    let rows = slab.rows();
    let panels = rows.start / PANEL..rows.end.div_ceil(PANEL);
    let stride = panels.len() * PANEL;
    let mut keep = 0.0;
    for first in (0..columns).step_by(stretch) {
        let width = stretch.min(columns - first);
        scratch.resize(stride * width, 0.0);
        for (index, panel) in panels.clone().enumerate() {
            let lines = &weights.panel(panel)[first / block * weights.shape.block_lines()..];
            let target = &mut scratch[index * PANEL..];
            with_lanes(Widen {
                target,
                stride,
                lines,
                levels: weights.levels(panel),
                block,
                columns: width,
            });
        }
        let input = Operand::new(&input[first..], columns);
        slab.multiply(input, Operand::new(scratch, stride), width, keep);
        keep = 1.0;
    }
}

/// Weights of one panel's first columns: column `c` of row `r` to `target[c * stride + r]`.
struct Widen<'a> {
    target: &'a mut [f32],
    stride: usize,
    lines: &'a [Line],
    levels: &'a [f32; 16],
    block: usize,
    columns: usize,
}

impl OverLanes for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let levels = lanes.load_levels(self.levels);
        let mut targets = self.target.chunks_mut(self.stride);
        for (scales, codes, columns) in blocks_of(self.lines, self.block, self.columns) {
            let scales = scales_of(lanes, scales);
            for (line, first) in codes.iter().zip((0..columns.len()).step_by(CODES)) {
                let codes = lanes.load_codes(&line.0);
                for place in 0..CODES.min(columns.len() - first) {
                    let target = targets.next().expect("a row of the target for each column");
                    let target = target.first_chunk_mut().expect("a panel of rows");
                    lanes.store(
                        lanes.multiply(scales, lanes.level(levels, codes, place)),
                        target,
                    );
                }
            }
        }
    }
}
