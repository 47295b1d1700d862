//! The contract of register tiles: what one call of a kernel reads and writes, whatever the instruction set.
//!
//! A tile is one or more neighbouring panels of weights times a few tokens, over a run of segments. For each segment
//! the kernel sums `code * activation` in 32-bit integers, exactly, then
//! `total = fma(scale * step, fma(-zero, Σ activation, Σ code * activation), total)` in f32, segments in order. Totals
//! begin at 0 (`first`) or with what is there. An instruction set is a `Kernel`: its sizes and two functions.

use super::activations::ActivationBits;
use super::layout::{QUAD, Segment};
use super::panels::{PANEL, Panels, Scales, Zeros};

/// Most tokens of a packed tile of activations; register tiles cut it further. Divisible by 2, 3, 4 and 6.
pub(crate) const TOKENS_OF_TILE: usize = 12;
/// Most tokens for which packed codes are unpacked in registers rather than into a slab of bytes.
pub(crate) const TOKENS_OF_STREAM: usize = 4;
/// Most panels of a tile.
pub(crate) const PANELS_OF_TILE: usize = 2;

/// One instruction set's tiles.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    /// Most tokens of a register tile.
    pub(crate) tokens: usize,
    /// Most panels of a register tile of whole bytes; of fewer bits it takes one.
    pub(crate) panels: usize,
    /// Whole bytes times activations of eight bits read `words` in place of `values`.
    pub(crate) wants_words: bool,
    /// Adds a tile's products to its output.
    ///
    /// # Safety
    /// The machine has the instruction set, and nobody else touches the output of the tile meanwhile.
    pub(crate) multiply: unsafe fn(&Tile<'_>),
    /// Unpacks units of codes of fewer than 8 bits to bytes: `[quad][16 rows][4]`.
    ///
    /// # Safety
    /// The machine has the instruction set.
    pub(crate) unpack: unsafe fn(bits: u8, packed: &[u8], bytes: &mut [u8]),
}

/// What a tile is.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    /// Codes of each panel, from the first unit of the first segment on.
    pub(crate) codes: [&'a [u8]; PANELS_OF_TILE],
    /// Bits of a code as it lies in `codes`.
    pub(crate) bits: u8,
    /// Bits that codes have: at most `bits`, fewer where they were unpacked to bytes.
    pub(crate) significant_bits: u8,
    /// Range of the activations.
    pub(crate) activation_bits: ActivationBits,
    /// Scales and zeros of each panel.
    pub(crate) steps_of_panels: [PanelSteps<'a>; PANELS_OF_TILE],
    /// How many panels there are.
    pub(crate) panels: usize,
    /// The segments, in order.
    pub(crate) segments: &'a [Segment],
    /// `[quad][stride]` quads of activations; the first `tokens` of each row count.
    pub(crate) values: &'a [i8],
    /// The same in 16 bits, even columns of a quad first; empty where the kernel does not want them.
    pub(crate) words: &'a [[i16; QUAD]],
    /// `[segment][stride]`.
    pub(crate) sums: &'a [f32],
    /// `[segment][stride]`.
    pub(crate) steps: &'a [f32],
    /// Tokens from one row of `values`, `sums` and `steps` to the next.
    pub(crate) stride: usize,
    /// Tokens of the tile.
    pub(crate) tokens: usize,
    /// Where totals go.
    pub(crate) totals: Totals,
}

/// Where the totals of a tile go.
#[derive(Clone, Copy)]
pub(crate) struct Totals {
    /// That of the first token and row.
    pub(crate) start: *mut f32,
    /// Floats from one token to the next.
    pub(crate) stride: usize,
    /// Rows of the tile that are no padding.
    pub(crate) rows: usize,
    /// They begin at 0.
    pub(crate) first: bool,
}

/// Scales and zeros of one panel, `[group][16]`.
#[derive(Clone, Copy)]
pub(crate) struct PanelSteps<'a> {
    pub(crate) scales: ScaleRow<'a>,
    pub(crate) zeros: ZeroRow<'a>,
}

#[derive(Clone, Copy)]
pub(crate) enum ScaleRow<'a> {
    F16(&'a [[half::f16; PANEL]]),
    F32(&'a [[f32; PANEL]]),
}

#[derive(Clone, Copy)]
pub(crate) enum ZeroRow<'a> {
    Same(f32),
    Bytes(&'a [[u8; PANEL]]),
    F32(&'a [[f32; PANEL]]),
}

impl<'a> PanelSteps<'a> {
    /// Those of one panel.
    pub(crate) fn of(weights: &'a Panels, panel: usize) -> Self {
        let groups = weights.shape().groups();
        Self::new(weights.scales(), weights.zeros(), groups, panel)
    }

    /// Those of one of `[panel][group][16]`.
    pub(crate) fn new(scales: &'a Scales, zeros: &'a Zeros, groups: usize, panel: usize) -> Self {
        let range = panel * groups..(panel + 1) * groups;
        Self {
            scales: match scales {
                Scales::F16(values) => ScaleRow::F16(&values.as_chunks().0[range.clone()]),
                Scales::F32(values) => ScaleRow::F32(&values.as_chunks().0[range.clone()]),
            },
            zeros: match zeros {
                Zeros::Same(value) => ZeroRow::Same(*value),
                Zeros::Bytes(values) => ZeroRow::Bytes(&values.as_chunks().0[range]),
                Zeros::F32(values) => ZeroRow::F32(&values.as_chunks().0[range]),
            },
        }
    }
}

impl PanelSteps<'_> {
    /// Scale and zero of a group and row of the panel.
    pub(crate) fn at(&self, group: usize, row: usize) -> (f32, f32) {
        let scale = match self.scales {
            ScaleRow::F16(scales) => scales[group][row].to_f32(),
            ScaleRow::F32(scales) => scales[group][row],
        };
        let zero = match self.zeros {
            ZeroRow::Same(zero) => zero,
            ZeroRow::Bytes(zeros) => f32::from(zeros[group][row]),
            ZeroRow::F32(zeros) => zeros[group][row],
        };
        (scale, zero)
    }
}

impl Tile<'_> {
    /// Panics unless every slice holds what a kernel reads of it.
    #[inline]
    pub(crate) fn check(&self) {
        let units: usize = self.segments.iter().map(|segment| segment.units).sum();
        let quads = units * super::panels::QUADS;
        for codes in &self.codes[..self.panels] {
            assert!(codes.len() >= units * usize::from(self.bits) * super::aligned::LINE);
        }
        let reached = |rows: usize| (rows * self.stride + self.tokens).saturating_sub(self.stride);
        assert!(self.tokens <= self.stride && self.totals.rows <= self.panels * PANEL);
        assert!(self.values.len() >= reached(quads) * QUAD);
        assert!(self.words.is_empty() || self.words.len() >= reached(quads));
        assert!(self.sums.len() >= reached(self.segments.len()));
        assert!(self.steps.len() >= reached(self.segments.len()));
    }
}
