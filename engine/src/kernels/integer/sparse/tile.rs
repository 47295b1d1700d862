//! The contract of register tiles of kept codes, and what one instruction set brings.
//!
//! For each segment the kernel sums `value * activation` in 32-bit integers, exactly, then
//! `total = fma(scale * step, sum, total)` in f32, segments in order. Activations may come with an offset that makes
//! them unsigned; `corrections` are what the sums begin with, so that the offset is taken off again.

use super::unpack::UNPACKED;
use crate::kernels::integer::activations::{ActivationBits, Offset};
use crate::kernels::integer::layout::Segment;
use crate::kernels::integer::panels::PANEL;
use crate::kernels::integer::tile::{PANELS_OF_TILE, PanelSteps, Totals};

/// One instruction set's tiles.
#[derive(Clone, Copy)]
pub(crate) struct SparseKernel {
    /// Most tokens of a register tile.
    pub(crate) tokens: usize,
    /// Most panels of a register tile.
    pub(crate) panels: usize,
    /// What activations come with, for weights of so many bits.
    pub(crate) offset: fn(bits: u8, activations: ActivationBits) -> Offset,
    /// Adds a tile's products to its output.
    ///
    /// # Safety
    /// The machine has the instruction set, and nobody else touches the output of the tile meanwhile.
    pub(crate) multiply: unsafe fn(&SparseTile<'_>),
}

/// What a tile is.
#[derive(Clone, Copy)]
pub(crate) struct SparseTile<'a> {
    /// Values of each panel, `[octet][16 rows][4]`, from the first octet of the first segment on.
    pub(crate) values: [&'a [u8]; PANELS_OF_TILE],
    /// Where in its octet each value finds its activation.
    pub(crate) controls: [&'a [u8]; PANELS_OF_TILE],
    /// Of each panel and segment.
    pub(crate) corrections: [&'a [[i32; PANEL]]; PANELS_OF_TILE],
    /// What is added to activations.
    pub(crate) offset: Offset,
    /// Scales of each panel; zeros are in the values.
    pub(crate) steps_of_panels: [PanelSteps<'a>; PANELS_OF_TILE],
    /// How many panels there are.
    pub(crate) panels: usize,
    /// The segments, in order.
    pub(crate) segments: &'a [Segment],
    /// `[octet][stride][8]` activations; the first `tokens` of each row count.
    pub(crate) octets: &'a [u8],
    /// `[segment][stride]`: values of one step.
    pub(crate) steps: &'a [f32],
    /// Tokens from one row of `octets` and `steps` to the next.
    pub(crate) stride: usize,
    /// Tokens of the tile.
    pub(crate) tokens: usize,
    /// Where totals go.
    pub(crate) totals: Totals,
}

impl SparseTile<'_> {
    /// Panics unless every slice holds what a kernel reads of it.
    #[inline]
    pub(crate) fn check(&self) {
        let units: usize = self.segments.iter().map(|segment| segment.units).sum();
        for panel in 0..self.panels {
            assert!(self.values[panel].len() >= units * UNPACKED);
            assert!(self.controls[panel].len() >= units * UNPACKED);
            assert!(self.corrections[panel].len() >= self.segments.len());
        }
        let reached = |rows: usize| (rows * self.stride + self.tokens).saturating_sub(self.stride);
        assert!(self.tokens <= self.stride && self.totals.rows <= self.panels * PANEL);
        assert!(self.octets.len() >= reached(units * super::panels::OCTETS) * super::panels::OCTET);
        assert!(self.steps.len() >= reached(self.segments.len()));
    }
}
