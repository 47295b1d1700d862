//! The contract of register tiles of kept codes, and what one instruction set brings.
//!
//! For each segment the kernel sums `value * activation` in 32-bit integers, exactly, then
//! `total = fma(scale * step, sum, total)` in f32, segments in order. Activations may come with an offset that makes
//! them unsigned; `corrections` are what the sums begin with, so that the offset is taken off again.

use super::panels::{OCTET, OCTETS, unit_bytes};
use super::unpack::{UNPACKED, Unpack};
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
    /// Turns units into bytes and returns the sum of each row's values.
    ///
    /// # Safety
    /// The machine has the instruction set.
    pub(crate) unpack: unsafe fn(Unpack<'_>) -> [i32; PANEL],
    /// Adds a tile's products to its output.
    ///
    /// # Safety
    /// The machine has the instruction set, and nobody else touches the output of the tile meanwhile.
    pub(crate) multiply: unsafe fn(&SparseTile<'_>),
    /// The same of one panel and at most `TOKENS_OF_STREAM` tokens, whose activations come as they are, from units as
    /// they lie: nothing is stored between memory and sums.
    ///
    /// # Safety
    /// As `multiply`.
    pub(crate) stream: Option<unsafe fn(&SparseTile<'_>)>,
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
    /// Units of the first panel as they lie, where nothing was made ready.
    pub(crate) packed: &'a [u8],
    /// Bits of a packed code.
    pub(crate) bits: u8,
    /// What is added to activations.
    pub(crate) offset: Offset,
    /// Scales and zeros of each panel; zeros are in the values already.
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
        let ready = if self.packed.is_empty() {
            self.panels
        } else {
            assert!(self.panels == 1 && self.packed.len() >= units * unit_bytes(self.bits));
            0
        };
        for panel in 0..ready {
            assert!(self.values[panel].len() >= units * UNPACKED);
            assert!(self.controls[panel].len() >= units * UNPACKED);
            assert!(self.corrections[panel].len() >= self.segments.len());
        }
        let reached = |rows: usize| (rows * self.stride + self.tokens).saturating_sub(self.stride);
        assert!(self.tokens <= self.stride && self.totals.rows <= self.panels * PANEL);
        assert!(self.octets.len() >= reached(units * OCTETS) * OCTET);
        assert!(self.steps.len() >= reached(self.segments.len()));
    }
}
