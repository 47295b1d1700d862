//! Products of weights of which at most two of every four are kept (2:4) with activations as signed bytes.
//!
//! `y[t][n] = Σ_segments scale[n] * step[t] * Σ_kept (code - zero[n]) * a`. Kept values are signed bytes, so that what is
//! not kept takes no part in any sum; an instruction picks the activations of each row's kept values out of eight.
//! Many tokens: panels are unpacked into a slab in the first-level cache, values beside controls. Few: in registers,
//! where an instruction set has a tile for that.
//! Integer sums are exact and the f32 epilogue has one order: the same bits on every instruction set and at any thread
//! count. Knows no masks but what `MaskedCodes` say.

mod float;
#[cfg(target_arch = "aarch64")]
mod neon;
mod panels;
mod portable;
mod tile;
mod unpack;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use float::multiply_sparse_float;
pub use panels::{MaskedCodes, SparsePanels};

use super::activations::{Activations, Offset};
use super::aligned::AlignedBytes;
use super::layout::{LONGEST_SEGMENT, Segment, UNIT};
use super::panels::{PANEL, PanelShape};
use super::product::{self, Cut, Weights};
use super::tile::{PANELS_OF_TILE, PanelSteps, TOKENS_OF_STREAM};
use crate::kernels::dispatch::{InstructionSet, instruction_set};
use panels::{OCTET, unit_bytes};
use std::ops::Range;
use tile::{SparseKernel, SparseTile};
use unpack::{UNPACKED, Unpack};

/// `output[token][row] = Σ_column weight * activation`, in the caller's rayon pool.
///
/// # Panics
/// If `output` is not `[tokens, rows]` or the activations were cut for another layout.
pub fn multiply_sparse(output: &mut [f32], activations: &Activations, weights: &SparsePanels) {
    let shape = weights.shape();
    assert_eq!(output.len(), activations.tokens() * shape.rows, "output");
    assert!(activations.fit(shape), "activations of another layout");
    let kernel = kernel();
    let streams = kernel.stream.is_some() && activations.tokens() <= TOKENS_OF_STREAM;
    let offset = match streams {
        true => Offset::None,
        false => (kernel.offset)(shape.bits, activations.bits()),
    };
    let weights = Sparse {
        kernel,
        weights,
        octets: activations.octets(offset),
        offset,
    };
    // SAFETY: `kernel` chose what this machine has; the output's length is asserted above.
    unsafe { product::multiply(output, activations, &weights) };
}

/// The tiles of this machine.
fn kernel() -> &'static SparseKernel {
    match instruction_set() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni => &x86::vnni512::KERNEL,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2Vnni => &x86::vnni256::KERNEL,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 | InstructionSet::Avx2 => &x86::avx2::KERNEL,
        #[cfg(target_arch = "aarch64")]
        InstructionSet::NeonI8mm | InstructionSet::NeonDot => &neon::SDOT,
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon => &neon::SMULL,
        _ => &portable::KERNEL,
    }
}

/// Panels with one instruction set's tiles and the activations they meet.
struct Sparse<'a> {
    kernel: &'a SparseKernel,
    weights: &'a SparsePanels,
    octets: &'a [u8],
    offset: Offset,
}

/// Panels made ready.
struct Slab {
    values: AlignedBytes,
    controls: AlignedBytes,
    /// `[panel][segment]`.
    corrections: [Vec<[i32; PANEL]>; PANELS_OF_TILE],
}

/// Values, controls and corrections of each panel over some segments.
#[derive(Clone, Copy)]
struct Ready<'a> {
    values: [&'a [u8]; PANELS_OF_TILE],
    controls: [&'a [u8]; PANELS_OF_TILE],
    corrections: [&'a [[i32; PANEL]]; PANELS_OF_TILE],
    /// Units of one panel as they lie, where the rest is empty.
    packed: &'a [u8],
}

impl Ready<'_> {
    const NONE: Self = Self {
        values: [&[]; PANELS_OF_TILE],
        controls: [&[]; PANELS_OF_TILE],
        corrections: [&[]; PANELS_OF_TILE],
        packed: &[],
    };
}

/// Bytes of one panel's values in a slab.
const PANEL_BYTES: usize = LONGEST_SEGMENT / UNIT * UNPACKED;

impl Sparse<'_> {
    fn steps(&self, panel: usize) -> PanelSteps<'_> {
        let groups = self.shape().groups();
        PanelSteps::new(self.weights.scales(), self.weights.zeros(), groups, panel)
    }

    /// One panel over some segments.
    fn unpack(
        &self,
        panel: usize,
        segments: &[Segment],
        mut values: &mut [u8],
        mut controls: &mut [u8],
        corrections: &mut Vec<[i32; PANEL]>,
    ) {
        let bits = self.shape().bits;
        let mut units = &self.weights.panel(panel)[segments[0].first_unit * unit_bytes(bits)..];
        corrections.clear();
        for segment in segments {
            let zeros = self.weights.zeros_of(panel, segment.group);
            let (of_segment, rest) = units.split_at(segment.units * unit_bytes(bits));
            let (low, high) = values.split_at_mut(segment.units * UNPACKED);
            let (low_controls, high_controls) = controls.split_at_mut(segment.units * UNPACKED);
            let work = Unpack {
                bits,
                units: of_segment,
                zeros: &zeros,
                values: low,
                controls: low_controls,
            };
            // SAFETY: `kernel` chose what this machine has.
            let sums = unsafe { (self.kernel.unpack)(work) };
            corrections.push(sums.map(|sum| -sum * i32::from(self.offset.value())));
            (units, values, controls) = (rest, high, high_controls);
        }
    }
}

impl Weights for Sparse<'_> {
    type Slab = Slab;
    type Ready<'a>
        = Ready<'a>
    where
        Self: 'a;

    fn shape(&self) -> &PanelShape {
        self.weights.shape()
    }

    fn tile(&self) -> [usize; 2] {
        [self.kernel.tokens, self.kernel.panels]
    }

    fn slab(&self) -> Slab {
        Slab {
            values: AlignedBytes::zeroed(PANELS_OF_TILE * PANEL_BYTES),
            controls: AlignedBytes::zeroed(PANELS_OF_TILE * PANEL_BYTES),
            corrections: [const { Vec::new() }; PANELS_OF_TILE],
        }
    }

    fn stream(&self, panel: usize) -> Option<Ready<'_>> {
        self.kernel.stream.map(|_| Ready {
            packed: self.weights.panel(panel),
            ..Ready::NONE
        })
    }

    fn ready<'a>(
        &'a self,
        panels: Range<usize>,
        segments: &[Segment],
        slab: &'a mut Slab,
    ) -> Ready<'a> {
        let mut ready = Ready::NONE;
        let values = slab.values.as_mut_slice().chunks_mut(PANEL_BYTES);
        let controls = slab.controls.as_mut_slice().chunks_mut(PANEL_BYTES);
        let slabs = values.zip(controls).zip(&mut slab.corrections);
        for (index, (panel, ((values, controls), corrections))) in panels.zip(slabs).enumerate() {
            self.unpack(panel, segments, values, controls, corrections);
            ready.values[index] = values;
            ready.controls[index] = controls;
            ready.corrections[index] = corrections;
        }
        ready
    }

    unsafe fn multiply(&self, ready: Ready<'_>, cut: &Cut<'_>) {
        // Within an octet's row of tokens there are eight columns of each, where a quad's has four.
        let first = cut.tokens.first_quad * super::layout::QUAD;
        let unit = cut.segments[0].first_unit * UNIT * cut.tokens.tokens;
        let tile = SparseTile {
            values: ready.values,
            controls: ready.controls,
            corrections: ready.corrections,
            packed: ready.packed,
            bits: self.shape().bits,
            offset: self.offset,
            steps_of_panels: [cut.panels.start, cut.panels.end - 1].map(|panel| self.steps(panel)),
            panels: cut.panels.len(),
            segments: cut.segments,
            octets: &self.octets[first + unit + cut.lanes.start * OCTET..],
            steps: &cut.tokens.steps[cut.first_step()..],
            stride: cut.tokens.tokens,
            tokens: cut.lanes.len(),
            totals: cut.totals,
        };
        tile.check();
        let multiply = match self.kernel.stream {
            Some(stream) if !ready.packed.is_empty() => stream,
            _ => self.kernel.multiply,
        };
        // SAFETY: the caller's.
        unsafe { multiply(&tile) };
    }
}

#[cfg(test)]
mod tests;
