//! Products of packed weights with f32 activations.
//!
//! Few tokens: codes become floats in registers; in each segment column `c` of every quad is added to sum `c` with
//! fused multiply-adds, the four sums in pairs, and `total = fma(scale, fma(-zero, Σ input, sums), total)`: one order on
//! every instruction set. Many tokens: slabs of weights are widened to f32 and multiplied by the `gemm` crate.
//! Either way the split into slabs depends on the shape alone.

use super::kernel;
use super::layout::{LONGEST_SEGMENT, QUAD, Segment, UNIT};
use super::panels::{PANEL, PanelShape, Panels};
use super::tile::{Kernel, PanelSteps};
use crate::kernels::dispatch::per_instruction_set;
use crate::kernels::gemm::Operand;
use crate::kernels::slabs::{FloatProduct, Slab, multiply_slabs};
use crate::kernels::{InstructionSet, instruction_set};

/// Bytes that are asked for ahead of their use.
pub(super) const AHEAD: usize = 5120;
/// Panels of a slab of few tokens.
const SLAB_PANELS: usize = 4;
/// Panels that are widened at once; with the longest segment 512 KiB of f32.
const WIDENED_PANELS: usize = 8;

/// One panel times `W` tokens.
pub(super) struct FloatTile<'a, const W: usize> {
    /// Codes of the panel.
    pub(super) codes: &'a [u8],
    /// Bits of a code.
    pub(super) bits: u8,
    /// Scales and zeros of the panel.
    pub(super) steps: PanelSteps<'a>,
    /// All segments.
    pub(super) segments: &'a [Segment],
    /// Padded inputs of each token.
    pub(super) inputs: [&'a [f32]; W],
    /// Sum of the inputs of each segment.
    pub(super) sums: [&'a [f32]; W],
}

impl<const W: usize> FloatTile<'_, W> {
    /// Panics unless every slice holds what a kernel reads of it.
    fn check(&self) {
        let units: usize = self.segments.iter().map(|segment| segment.units).sum();
        assert!(self.codes.len() >= units * usize::from(self.bits) * super::aligned::LINE);
        for (inputs, sums) in self.inputs.iter().zip(&self.sums) {
            assert!(inputs.len() >= units * UNIT && sums.len() >= self.segments.len());
        }
    }
}

/// `output[token][row] = Σ_column weight * input` with `input` `[tokens, columns]` as it is, in the caller's rayon pool.
///
/// # Panics
/// If a slice does not fit its shape.
pub fn multiply_float(output: &mut [f32], input: &[f32], tokens: usize, weights: &Panels) {
    let shape = weights.shape();
    assert_eq!(input.len(), tokens * shape.columns, "input");
    let product = Product {
        inputs: Inputs::new(input, tokens, shape),
        weights,
        set: instruction_set(),
        kernel: kernel(),
    };
    multiply_slabs(output, [tokens, shape.rows, shape.columns], &product);
}

struct Product<'a> {
    inputs: Inputs,
    weights: &'a Panels,
    set: InstructionSet,
    kernel: &'static Kernel,
}

impl FloatProduct for Product<'_> {
    const FEW_ROWS: usize = SLAB_PANELS * PANEL;
    const MANY_ROWS: usize = WIDENED_PANELS * PANEL;
    type Scratch = Scratch;

    fn few(&self, slab: &mut Slab<'_>) {
        few(slab, &self.inputs, self.weights, self.set);
    }

    fn many(&self, slab: &mut Slab<'_>, scratch: &mut Scratch) {
        many(slab, &self.inputs, self.weights, self.kernel, scratch);
    }
}

/// Inputs in the padded order of the weights.
pub(super) struct Inputs {
    pub(super) segments: Vec<Segment>,
    /// `[tokens, padded]`, and as many zeros as a vector that begins on the last columns reads beyond them.
    pub(super) values: Vec<f32>,
    pub(super) padded: usize,
    /// `[tokens, segments]`.
    sums: Vec<f32>,
    pub(super) tokens: usize,
}

impl Inputs {
    pub(super) fn new(input: &[f32], tokens: usize, shape: &PanelShape) -> Self {
        let cut = shape.cut();
        let (segments, padded) = (cut.segments(LONGEST_SEGMENT), cut.padded());
        let mut values = vec![0.0; tokens * padded + PANEL];
        let mut sums = Vec::with_capacity(tokens * segments.len());
        for token in 0..tokens {
            let input = &input[token * shape.columns..(token + 1) * shape.columns];
            let values = &mut values[token * padded..(token + 1) * padded];
            for segment in &segments {
                let part = &input[segment.range()];
                values[segment.first_unit * UNIT..][..part.len()].copy_from_slice(part);
                sums.push(sum(part));
            }
        }
        Self {
            segments,
            values,
            padded,
            sums,
            tokens,
        }
    }

    fn of(&self, token: usize) -> &[f32] {
        &self.values[token * self.padded..(token + 1) * self.padded]
    }

    fn sums_of(&self, token: usize) -> &[f32] {
        let count = self.segments.len();
        &self.sums[token * count..(token + 1) * count]
    }
}

/// Sum in the order in which products are summed.
pub(super) fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0; QUAD];
    for quad in values.chunks(QUAD) {
        for (sum, value) in sums.iter_mut().zip(quad) {
            *sum += value;
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}

/// One slab of few tokens.
fn few(slab: &mut Slab<'_>, inputs: &Inputs, weights: &Panels, set: InstructionSet) {
    let rows = slab.rows();
    for panel in rows.start / PANEL..rows.end.div_ceil(PANEL) {
        let mut token = 0;
        while token < inputs.tokens {
            token += match inputs.tokens - token {
                1 => some::<1>(slab, token, panel, inputs, weights, set),
                2 => some::<2>(slab, token, panel, inputs, weights, set),
                3 => some::<3>(slab, token, panel, inputs, weights, set),
                _ => some::<4>(slab, token, panel, inputs, weights, set),
            };
        }
    }
}

/// `W` tokens of one panel. Returns `W`.
fn some<const W: usize>(
    slab: &mut Slab<'_>,
    token: usize,
    panel: usize,
    inputs: &Inputs,
    weights: &Panels,
    set: InstructionSet,
) -> usize {
    let tile: FloatTile<'_, W> = FloatTile {
        codes: weights.panel(panel),
        bits: weights.shape().bits,
        steps: PanelSteps::of(weights, panel),
        segments: &inputs.segments,
        inputs: std::array::from_fn(|index| inputs.of(token + index)),
        sums: std::array::from_fn(|index| inputs.sums_of(token + index)),
    };
    tile.check();
    let first = panel * PANEL - slab.rows().start;
    for (index, totals) in add(&tile, set).iter().enumerate() {
        let output = &mut slab.token(token + index)[first..];
        for (output, total) in output.iter_mut().zip(totals) {
            *output = *total;
        }
    }
    W
}

fn add<const W: usize>(tile: &FloatTile<'_, W>, set: InstructionSet) -> [[f32; PANEL]; W] {
    match set {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni | InstructionSet::Avx512 => {
            // SAFETY: `instruction_set` found the features on this machine; `FloatTile::check` found the lengths.
            unsafe { super::x86::float512::add(tile) }
        }
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2Vnni | InstructionSet::Avx2 => {
            // SAFETY: as above.
            unsafe { super::x86::float256::add(tile) }
        }
        #[cfg(target_arch = "aarch64")]
        InstructionSet::NeonI8mm | InstructionSet::NeonDot | InstructionSet::Neon => {
            super::neon::float::add(tile)
        }
        _ => add_portable(tile),
    }
}

/// What all variants mean.
fn add_portable<const W: usize>(tile: &FloatTile<'_, W>) -> [[f32; PANEL]; W] {
    let mut totals = [[0.0f32; PANEL]; W];
    let unit_bytes = usize::from(tile.bits) * super::aligned::LINE;
    for (index, segment) in tile.segments.iter().enumerate() {
        let mut sums = [[[0.0f32; PANEL]; QUAD]; W];
        for unit in segment.first_unit..segment.first_unit + segment.units {
            let mut bytes = [0; UNIT * PANEL];
            let packed = &tile.codes[unit * unit_bytes..(unit + 1) * unit_bytes];
            super::portable::unpack(tile.bits, packed, &mut bytes);
            for (place, &code) in bytes.iter().enumerate() {
                let (quad, row, column) =
                    (place / (QUAD * PANEL), place / QUAD % PANEL, place % QUAD);
                for (sums, input) in sums.iter_mut().zip(tile.inputs) {
                    let value = input[unit * UNIT + quad * QUAD + column];
                    sums[column][row] = f32::from(code).mul_add(value, sums[column][row]);
                }
            }
        }
        for (token, (totals, [a, b, c, d])) in totals.iter_mut().zip(&sums).enumerate() {
            for (row, total) in totals.iter_mut().enumerate() {
                let products = (a[row] + b[row]) + (c[row] + d[row]);
                let (scale, zero) = tile.steps.at(segment.group, row);
                let centred = (-zero).mul_add(tile.sums[token][index], products);
                *total = scale.mul_add(centred, *total);
            }
        }
    }
    totals
}

/// What widening works in.
#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    /// `[column][rows of the slab, padded]`.
    weights: Vec<f32>,
}

/// One slab of many tokens: segment after segment is widened and multiplied.
fn many(
    slab: &mut Slab<'_>,
    inputs: &Inputs,
    weights: &Panels,
    kernel: &Kernel,
    scratch: &mut Scratch,
) {
    let shape = weights.shape();
    let rows = slab.rows();
    let panels = rows.start / PANEL..rows.end.div_ceil(PANEL);
    let stride = panels.len() * PANEL;
    for segment in &inputs.segments {
        let columns = segment.units * UNIT;
        scratch.weights.resize(columns * stride, 0.0);
        scratch.bytes.resize(columns * PANEL, 0);
        for (index, panel) in panels.clone().enumerate() {
            let first = segment.first_unit * shape.unit_bytes();
            let packed = &weights.panel(panel)[first..first + segment.units * shape.unit_bytes()];
            // SAFETY: `kernel` is of the instruction set that this machine has.
            unsafe { (kernel.unpack)(shape.bits, packed, &mut scratch.bytes) };
            let steps = PanelSteps::of(weights, panel);
            let steps: [(f32, f32); PANEL] =
                std::array::from_fn(|row| steps.at(segment.group, row));
            let weights = &mut scratch.weights[index * PANEL..];
            widen(
                &scratch.bytes,
                &steps.map(|step| step.0),
                &steps.map(|step| step.1),
                weights,
                stride,
            );
        }
        let first = segment.first_unit * UNIT;
        slab.multiply(
            Operand::new(&inputs.values[first..], inputs.padded),
            Operand::new(&scratch.weights, stride),
            columns,
            if first == 0 { 0.0 } else { 1.0 },
        );
    }
}

per_instruction_set! {
    /// `scale * (code - zero)` of one panel's bytes, 16 rows for each column, `stride` floats apart.
    fn widen(bytes: &[u8], scales: &[f32; PANEL], zeros: &[f32; PANEL], weights: &mut [f32], stride: usize) {
        let quads = bytes.as_chunks::<QUAD>().0.chunks_exact(PANEL);
        for (quad, codes) in quads.enumerate() {
            for column in 0..QUAD {
                let weights = &mut weights[(quad * QUAD + column) * stride..][..PANEL];
                for row in 0..PANEL {
                    let code = u32::from_le_bytes(codes[row]) >> (8 * column) & 0xFF;
                    weights[row] = scales[row] * (code as i32 as f32 - zeros[row]);
                }
            }
        }
    }
}
