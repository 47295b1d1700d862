//! Panels whose every weight has a code, as the loops take them: bytes as they lie, narrower codes in planes for few
//! tokens and unpacked into a slab for many.

use super::activations::{ActivationBits, Activations};
use super::aligned::AlignedBytes;
use super::layout::{LONGEST_SEGMENT, QUAD, Segment, UNIT};
use super::panels::{PANEL, PanelShape, Panels};
use super::product::{Cut, Weights};
use super::tile::{Kernel, PANELS_OF_TILE, PanelSteps, Tile};
use std::ops::Range;

/// Panels with one instruction set's tiles and the activations they meet.
pub(super) struct Dense<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) weights: &'a Panels,
    pub(super) activations: &'a Activations,
}

/// Codes of each panel over some segments.
#[derive(Clone, Copy)]
pub(super) struct Codes<'a> {
    codes: [&'a [u8]; PANELS_OF_TILE],
    /// Bits of a code as it lies here.
    bits: u8,
}

impl Dense<'_> {
    fn wants_words(&self) -> bool {
        self.kernel.wants_words
            && self.weights.shape().bits == 8
            && self.activations.bits() == ActivationBits::Eight
    }
}

impl Weights for Dense<'_> {
    type Slab = AlignedBytes;
    type Ready<'a>
        = Codes<'a>
    where
        Self: 'a;

    fn shape(&self) -> &PanelShape {
        self.weights.shape()
    }

    fn tile(&self) -> [usize; 2] {
        [self.kernel.tokens, self.kernel.panels]
    }

    fn slab(&self) -> AlignedBytes {
        AlignedBytes::zeroed(match self.weights.shape().bits {
            8 => 0,
            _ => PANELS_OF_TILE * PANEL * LONGEST_SEGMENT,
        })
    }

    fn stream(&self, panel: usize) -> Option<Codes<'_>> {
        Some(Codes {
            codes: [self.weights.panel(panel), &[]],
            bits: self.weights.shape().bits,
        })
    }

    fn ready<'a>(
        &'a self,
        panels: Range<usize>,
        segments: &[Segment],
        slab: &'a mut AlignedBytes,
    ) -> Codes<'a> {
        let shape = self.weights.shape();
        let units: usize = segments.iter().map(|segment| segment.units).sum();
        let first = segments[0].first_unit * shape.unit_bytes();
        let packed =
            |panel: usize| &self.weights.panel(panel)[first..first + units * shape.unit_bytes()];
        let mut codes: [&[u8]; PANELS_OF_TILE] = [&[]; PANELS_OF_TILE];
        if shape.bits == 8 {
            for (codes, panel) in codes.iter_mut().zip(panels) {
                *codes = packed(panel);
            }
            return Codes { codes, bits: 8 };
        }
        let slabs = slab.as_mut_slice().chunks_mut(PANEL * LONGEST_SEGMENT);
        for ((codes, panel), slab) in codes.iter_mut().zip(panels).zip(slabs) {
            let bytes = &mut slab[..units * UNIT * PANEL];
            // SAFETY: `product::multiply`'s caller found the instruction set.
            unsafe { (self.kernel.unpack)(shape.bits, packed(panel), bytes) };
            *codes = bytes;
        }
        Codes { codes, bits: 8 }
    }

    unsafe fn multiply(&self, ready: Codes<'_>, cut: &Cut<'_>) {
        let (tokens, first_quad) = (&cut.tokens, cut.first_quad());
        let words: &[_] = if self.wants_words() {
            &self.activations.words()[tokens.first_quad + first_quad..]
        } else {
            &[]
        };
        let tile = Tile {
            codes: ready.codes,
            bits: ready.bits,
            significant_bits: self.weights.shape().bits,
            activation_bits: self.activations.bits(),
            steps_of_panels: [cut.panels.start, cut.panels.end - 1]
                .map(|panel| PanelSteps::of(self.weights, panel)),
            panels: cut.panels.len(),
            segments: cut.segments,
            values: &tokens.values[first_quad * QUAD..],
            words,
            sums: &tokens.sums[cut.first_step()..],
            steps: &tokens.steps[cut.first_step()..],
            stride: tokens.tokens,
            tokens: cut.lanes.len(),
            totals: cut.totals,
        };
        tile.check();
        // SAFETY: the caller's.
        unsafe { (self.kernel.multiply)(&tile) };
    }
}
