//! Products of kept weights with f32 activations.
//!
//! Few tokens: in each segment kept value `s` of every octet is added to sum `s` with fused multiply-adds, its
//! activation looked up in the octet; the four sums are added in pairs and `total = fma(scale, sums, total)`: one order
//! on every instruction set. Many tokens: slabs of weights are widened to f32, zeros and all, and multiplied by the
//! `gemm` crate.

use super::kernel;
use super::panels::{OCTET, SparsePanels, unit_bytes};
use super::tile::SparseKernel;
use super::unpack::{UNPACKED, Unpack};
use crate::kernels::gemm::Operand;
use crate::kernels::integer::float::Inputs;
use crate::kernels::integer::layout::{LONGEST_SEGMENT, QUAD, Segment, UNIT};
use crate::kernels::integer::panels::PANEL;
use crate::kernels::integer::tile::PanelSteps;
use crate::kernels::lanes::{LANES, Lanes, OverLanes, with_lanes};
use crate::kernels::slabs::{FloatProduct, Slab, multiply_slabs};

/// Panels of a slab of few tokens.
const SLAB_PANELS: usize = 4;
/// Panels that are widened at once; with the longest segment 512 KiB of f32.
const WIDENED_PANELS: usize = 8;

/// `output[token][row] = Σ_column weight * input` with `input` `[tokens, columns]` as it is, in the caller's rayon pool.
///
/// # Panics
/// If a slice does not fit its shape.
pub fn multiply_sparse_float(
    output: &mut [f32],
    input: &[f32],
    tokens: usize,
    weights: &SparsePanels,
) {
    let shape = weights.shape();
    assert_eq!(input.len(), tokens * shape.columns, "input");
    let product = Product {
        inputs: Inputs::new(input, tokens, shape),
        weights,
        kernel: kernel(),
    };
    multiply_slabs(output, [tokens, shape.rows, shape.columns], &product);
}

struct Product<'a> {
    inputs: Inputs,
    weights: &'a SparsePanels,
    kernel: &'static SparseKernel,
}

/// A segment of a panel, unpacked; and, where many tokens are widened, `[column][rows of the slab, padded]`.
struct Scratch {
    values: Vec<u8>,
    controls: Vec<u8>,
    widened: Vec<f32>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            values: vec![0; LONGEST_SEGMENT / UNIT * UNPACKED],
            controls: vec![0; LONGEST_SEGMENT / UNIT * UNPACKED],
            widened: Vec::new(),
        }
    }
}

impl FloatProduct for Product<'_> {
    const FEW_ROWS: usize = SLAB_PANELS * PANEL;
    const MANY_ROWS: usize = WIDENED_PANELS * PANEL;
    type Scratch = Scratch;

    fn few(&self, slab: &mut Slab<'_>) {
        let mut scratch = Scratch::default();
        let rows = slab.rows();
        for panel in rows.start / PANEL..rows.end.div_ceil(PANEL) {
            let mut totals = vec![[0.0; PANEL]; self.inputs.tokens];
            for segment in &self.inputs.segments {
                let scales = self.unpack(panel, segment, &mut scratch);
                let octets = segment.units * UNIT / OCTET;
                for (token, totals) in totals.iter_mut().enumerate() {
                    let first = token * self.inputs.padded + segment.first_unit * UNIT;
                    with_lanes(LookUp {
                        values: lines(&scratch.values, octets),
                        controls: lines(&scratch.controls, octets),
                        input: &self.inputs.values[first..],
                        scales: &scales,
                        totals,
                    });
                }
            }
            let first = panel * PANEL - rows.start;
            for (token, totals) in totals.iter().enumerate() {
                let output = &mut slab.token(token)[first..];
                for (output, total) in output.iter_mut().zip(totals) {
                    *output = *total;
                }
            }
        }
    }

    fn many(&self, slab: &mut Slab<'_>, scratch: &mut Scratch) {
        let rows = slab.rows();
        let panels = rows.start / PANEL..rows.end.div_ceil(PANEL);
        let stride = panels.len() * PANEL;
        for segment in &self.inputs.segments {
            let columns = segment.units * UNIT;
            scratch.widened.resize(columns * stride, 0.0);
            for (index, panel) in panels.clone().enumerate() {
                let scales = self.unpack(panel, segment, scratch);
                with_lanes(Widen {
                    values: lines(&scratch.values, columns / OCTET),
                    controls: lines(&scratch.controls, columns / OCTET),
                    scales: &scales,
                    target: &mut scratch.widened[index * PANEL..],
                    stride,
                });
            }
            let first = segment.first_unit * UNIT;
            slab.multiply(
                Operand::new(&self.inputs.values[first..], self.inputs.padded),
                Operand::new(&scratch.widened, stride),
                columns,
                if first == 0 { 0.0 } else { 1.0 },
            );
        }
    }
}

impl Product<'_> {
    /// One segment of one panel into the scratch; its scales.
    fn unpack(&self, panel: usize, segment: &Segment, scratch: &mut Scratch) -> [f32; PANEL] {
        let (weights, shape) = (self.weights, self.weights.shape());
        let steps = PanelSteps::new(weights.scales(), weights.zeros(), shape.groups(), panel);
        let unit = unit_bytes(shape.bits);
        let units = &weights.panel(panel)[segment.first_unit * unit..][..segment.units * unit];
        let steps: [_; PANEL] = std::array::from_fn(|row| steps.at(segment.group, row));
        let zeros = weights.zeros_of(panel, segment.group);
        let work = Unpack {
            bits: shape.bits,
            units,
            zeros: &zeros,
            values: &mut scratch.values,
            controls: &mut scratch.controls,
        };
        // SAFETY: `kernel` chose what this machine has.
        unsafe { (self.kernel.unpack)(work) };
        steps.map(|(scale, _)| scale)
    }
}

/// Lines of some octets: the four bytes of a row side by side.
fn lines(bytes: &[u8], octets: usize) -> &[[[u8; QUAD]; PANEL]] {
    &bytes.as_chunks::<QUAD>().0.as_chunks::<PANEL>().0[..octets]
}

#[inline(always)]
fn codes_of<L: Lanes>(lanes: L, line: &[[u8; QUAD]; PANEL]) -> L::Codes {
    lanes.load_codes(&line.map(u32::from_le_bytes))
}

/// One segment of one panel and token.
struct LookUp<'a> {
    values: &'a [[[u8; QUAD]; PANEL]],
    controls: &'a [[[u8; QUAD]; PANEL]],
    input: &'a [f32],
    scales: &'a [f32; LANES],
    totals: &'a mut [f32; LANES],
}

impl OverLanes for LookUp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let mut sums = [lanes.splat(0.0); QUAD];
        let lines = self.values.iter().zip(self.controls);
        for ((values, controls), first) in lines.zip((0..).step_by(OCTET)) {
            let (values, controls) = (codes_of(lanes, values), codes_of(lanes, controls));
            let octet = self.input[first..]
                .first_chunk()
                .expect("inputs are padded by a vector");
            let octet = lanes.load_levels(octet);
            for (slot, sum) in sums.iter_mut().enumerate() {
                let input = lanes.level(octet, controls, 2 * slot);
                *sum = lanes.multiply_add(lanes.signed_byte(values, slot), input, *sum);
            }
        }
        let [a, b, c, d] = sums;
        let sum = lanes.add(lanes.add(a, b), lanes.add(c, d));
        let total = lanes.multiply_add(lanes.load(self.scales), sum, lanes.load(self.totals));
        lanes.store(total, self.totals);
    }
}

/// One segment of one panel: column `c` of row `r` to `target[c * stride + r]`.
struct Widen<'a> {
    values: &'a [[[u8; QUAD]; PANEL]],
    controls: &'a [[[u8; QUAD]; PANEL]],
    scales: &'a [f32; LANES],
    target: &'a mut [f32],
    stride: usize,
}

impl OverLanes for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let scales = lanes.load(self.scales);
        let chosen: [_; OCTET] = std::array::from_fn(|column| {
            let mut levels = [0.0; 16];
            levels[column] = 1.0;
            lanes.load_levels(&levels)
        });
        let mut targets = self.target.chunks_mut(self.stride);
        for (values, controls) in self.values.iter().zip(self.controls) {
            let (values, controls) = (codes_of(lanes, values), codes_of(lanes, controls));
            let values: [_; QUAD] =
                std::array::from_fn(|slot| lanes.multiply(scales, lanes.signed_byte(values, slot)));
            for (column, &chosen) in chosen.iter().enumerate() {
                let slot = column / QUAD * 2;
                let (one, other) = (
                    lanes.level(chosen, controls, 2 * slot),
                    lanes.level(chosen, controls, 2 * slot + 2),
                );
                let weight = lanes.multiply(values[slot + 1], other);
                let weight = lanes.multiply_add(values[slot], one, weight);
                let target = targets.next().expect("a row of the target for each column");
                let target = target.first_chunk_mut().expect("a panel of rows");
                lanes.store(weight, target);
            }
        }
    }
}
