//! Activations as signed bytes, in the order in which kernels broadcast them, with what the epilogue needs.
//!
//! Tokens are cut into tiles that a kernel holds in registers. A tile is `[quad][token][4 columns]`, so that one pass
//! over it reads memory in order; sums and steps are `[tile][segment][token]`. Made once per input, shared by all
//! matrices whose columns are cut alike.

use super::aligned::AlignedBytes;
use super::layout::{Columns, LONGEST_SEGMENT, QUAD, Segment};
use super::panels::PanelShape;
use crate::kernels::dispatch::per_instruction_set;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::OnceLock;

/// Which values share one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ActivationScale {
    /// All of a token.
    PerToken,
    /// This many neighbouring columns of a token, a multiple of 32, counted from the first of each group of weights.
    PerBlock(usize),
    /// Everything, whatever it holds: values beyond the range are clamped.
    Static(f32),
}

/// Range of the codes of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActivationBits {
    /// -127 to 127.
    Eight,
    /// -64 to 63: products with 8-bit weights never overflow the 16-bit sums of AVX2, which is faster there.
    Seven,
}

impl ActivationBits {
    /// Least and largest code.
    pub fn range(self) -> (i8, i8) {
        match self {
            Self::Eight => (-127, 127),
            Self::Seven => (-64, 63),
        }
    }

    /// Steps between 0 and the largest magnitude. In seven bits a largest value of positive sign is clamped by half a
    /// step, which is no more than rounding does.
    fn steps(self) -> f32 {
        match self {
            Self::Eight => 127.0,
            Self::Seven => 63.5,
        }
    }
}

/// Quantized activations of `tokens` rows.
#[derive(Debug, Clone)]
pub struct Activations {
    cut: Columns,
    tiles: Tiles,
    bits: ActivationBits,
    segments: Vec<Segment>,
    values: AlignedBytes,
    sums: Vec<f32>,
    steps: Vec<f32>,
    words: OnceLock<Vec<[i16; QUAD]>>,
    octets: [OnceLock<AlignedBytes>; Offset::ALL],
}

/// What is added to codes of activations where a kernel wants them unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offset {
    None,
    /// 64: those of seven bits become 0 to 127.
    Half,
    /// 128.
    Full,
}

impl Offset {
    const ALL: usize = 3;

    /// As a number.
    pub(crate) fn value(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Half => 64,
            Self::Full => 128,
        }
    }
}

/// How tokens are cut into tiles of nearly equal height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiles {
    tokens: usize,
    count: usize,
}

impl Tiles {
    pub(crate) fn new(tokens: usize, widest: usize) -> Self {
        Self {
            tokens,
            count: tokens.div_ceil(widest),
        }
    }

    pub(crate) fn count(self) -> usize {
        self.count
    }

    /// Tokens of one tile.
    pub(crate) fn range(self, tile: usize) -> Range<usize> {
        tile * self.tokens / self.count..(tile + 1) * self.tokens / self.count
    }
}

/// One tile as kernels read it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenTile<'a> {
    /// First token.
    pub(crate) first: usize,
    /// Tokens.
    pub(crate) tokens: usize,
    /// Where its quads begin among those of all tiles.
    pub(crate) first_quad: usize,
    /// `[quad][token][4]`.
    pub(crate) values: &'a [i8],
    /// `[segment][token]`: sum of the codes.
    pub(crate) sums: &'a [f32],
    /// `[segment][token]`: value of one step.
    pub(crate) steps: &'a [f32],
}

impl Activations {
    /// Rounds `input` `[tokens, columns]` to the nearest steps, ties to even, for matrices whose columns are cut as
    /// those of `layout`. A value that is not finite makes all that shares its step not a number.
    ///
    /// # Panics
    /// If `input` does not fit its shape or a block is not a multiple of 32.
    pub fn quantize(
        input: &[f32],
        tokens: usize,
        layout: &PanelShape,
        scale: ActivationScale,
        bits: ActivationBits,
    ) -> Self {
        assert_eq!(input.len(), tokens * layout.columns, "activations");
        let cut = layout.cut();
        let segments = cut.segments(match scale {
            ActivationScale::PerBlock(block) => block,
            ActivationScale::PerToken | ActivationScale::Static(_) => LONGEST_SEGMENT,
        });
        let tiles = Tiles::new(tokens, super::tile::TOKENS_OF_TILE);
        let mut values = AlignedBytes::zeroed(tokens * cut.padded());
        let mut sums = vec![0.0; tokens * segments.len()];
        let mut steps = vec![0.0; tokens * segments.len()];
        let work = Work {
            input,
            cut,
            segments: &segments,
            scale,
            bits,
        };
        let mut jobs = Vec::with_capacity(tiles.count());
        let (mut rest, mut rest_sums, mut rest_steps) =
            (values.as_mut_slice(), &mut sums[..], &mut steps[..]);
        for tile in 0..tiles.count() {
            let range = tiles.range(tile);
            let (values, sums, steps);
            (values, rest) = rest.split_at_mut(range.len() * cut.padded());
            (sums, rest_sums) = rest_sums.split_at_mut(range.len() * segments.len());
            (steps, rest_steps) = rest_steps.split_at_mut(range.len() * segments.len());
            jobs.push((range, values, sums, steps));
        }
        if input.len() < super::WORTH_THREADS {
            jobs.into_iter()
                .for_each(|(range, values, sums, steps)| work.tile(range, values, sums, steps));
        } else {
            jobs.into_par_iter()
                .for_each(|(range, values, sums, steps)| work.tile(range, values, sums, steps));
        }
        Self {
            cut,
            tiles,
            bits,
            segments,
            values,
            sums,
            steps,
            words: OnceLock::new(),
            octets: [const { OnceLock::new() }; Offset::ALL],
        }
    }

    /// Tokens.
    pub fn tokens(&self) -> usize {
        self.tiles.tokens
    }

    /// The values that the codes stand for, `[tokens, columns]`.
    pub fn dequantize(&self) -> Vec<f32> {
        let columns = self.cut.unpadded();
        let mut output = vec![0.0; self.tokens() * columns];
        for tile in (0..self.tiles.count()).map(|tile| self.tile(tile)) {
            for (index, segment) in self.segments.iter().enumerate() {
                let first = segment.first_unit * super::panels::QUADS;
                for lane in 0..tile.tokens {
                    let step = tile.steps[index * tile.tokens + lane];
                    let row = &mut output[(tile.first + lane) * columns..][..columns];
                    for (offset, value) in row[segment.range()].iter_mut().enumerate() {
                        let quad = (first + offset / QUAD) * tile.tokens + lane;
                        *value = step * f32::from(tile.values[quad * QUAD + offset % QUAD]);
                    }
                }
            }
        }
        output
    }

    /// Whether `layout` cuts its columns as these activations were cut.
    pub fn fit(&self, layout: &PanelShape) -> bool {
        self.cut == layout.cut()
    }

    pub(crate) fn bits(&self) -> ActivationBits {
        self.bits
    }

    /// Quads of a padded row.
    pub(crate) fn quads(&self) -> usize {
        self.cut.padded() / QUAD
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(crate) fn tiles(&self) -> Tiles {
        self.tiles
    }

    /// All values in 16 bits, of each quad the even columns first: `[tile][quad][token]`, made when first asked for.
    pub(crate) fn words(&self) -> &[[i16; QUAD]] {
        self.words.get_or_init(|| {
            let quads = self.values.as_slice().as_chunks::<QUAD>().0;
            let widened = |quad: &[u8; QUAD]| {
                let [a, b, c, d] = quad.map(|value| i16::from(value as i8));
                [a, c, b, d]
            };
            quads.iter().map(widened).collect()
        })
    }

    /// All values with `offset` added, eight columns of a token side by side: `[tile][octet][token][8]`, made when first
    /// asked for.
    pub(crate) fn octets(&self, offset: Offset) -> &[u8] {
        let octets = self.octets[offset as usize].get_or_init(|| {
            let mut bytes = AlignedBytes::zeroed(self.values.as_slice().len());
            let mut octets = bytes.as_mut_slice().as_chunks_mut::<{ 2 * QUAD }>().0;
            for tile in 0..self.tiles.count() {
                let width = self.tiles.range(tile).len();
                let first = self.tiles.range(tile).start * self.cut.padded();
                let values = &self.values.as_slice()[first..first + width * self.cut.padded()];
                let (quads, _) = values.as_chunks::<QUAD>();
                let (of_tile, rest) = octets.split_at_mut(quads.len() / 2);
                place_octets(of_tile, quads, width, offset.value());
                octets = rest;
            }
            bytes
        });
        octets.as_slice()
    }

    pub(crate) fn tile(&self, tile: usize) -> TokenTile<'_> {
        let range = self.tiles.range(tile);
        let (padded, segments) = (self.cut.padded(), self.segments.len());
        let bytes = &self.values.as_slice()[range.start * padded..range.end * padded];
        TokenTile {
            first: range.start,
            tokens: range.len(),
            first_quad: range.start * padded / QUAD,
            // SAFETY: the same memory; every byte is a valid `i8`.
            values: unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) },
            sums: &self.sums[range.start * segments..range.end * segments],
            steps: &self.steps[range.start * segments..range.end * segments],
        }
    }
}

/// Pairs of quads of each token side by side.
fn place_octets(octets: &mut [[u8; 2 * QUAD]], quads: &[[u8; QUAD]], tokens: usize, offset: u8) {
    let pairs = quads.chunks_exact(2 * tokens);
    for (octets, pair) in octets.chunks_exact_mut(tokens).zip(pairs) {
        let (low, high) = pair.split_at(tokens);
        for (octet, (low, high)) in octets.iter_mut().zip(low.iter().zip(high)) {
            octet[..QUAD].copy_from_slice(&low.map(|value| value.wrapping_add(offset)));
            octet[QUAD..].copy_from_slice(&high.map(|value| value.wrapping_add(offset)));
        }
    }
}

/// What quantizing a tile needs.
struct Work<'a> {
    input: &'a [f32],
    cut: Columns,
    segments: &'a [Segment],
    scale: ActivationScale,
    bits: ActivationBits,
}

impl Work<'_> {
    fn tile(&self, tokens: Range<usize>, values: &mut [u8], sums: &mut [f32], steps: &mut [f32]) {
        let (width, columns) = (tokens.len(), self.cut.unpadded());
        let values = values.as_chunks_mut::<QUAD>().0;
        let mut codes = [[0; QUAD]; LONGEST_SEGMENT / QUAD];
        for (lane, token) in tokens.enumerate() {
            let row = &self.input[token * columns..(token + 1) * columns];
            let mut step = match self.scale {
                ActivationScale::Static(step) => finite_or_nan(step, largest_magnitude(row)),
                _ => self.step(row),
            };
            for (index, segment) in self.segments.iter().enumerate() {
                let part = &row[segment.range()];
                if matches!(self.scale, ActivationScale::PerBlock(_)) {
                    step = self.step(part);
                }
                let codes = &mut codes[..part.len().div_ceil(QUAD)];
                codes[codes.len() - 1] = [0; QUAD];
                let places = &mut codes.as_flattened_mut()[..part.len()];
                let sum = encode(part, step, self.bits.range(), places);
                sums[index * width + lane] = sum as f32;
                steps[index * width + lane] = step;
                let first = segment.first_unit * super::panels::QUADS * width + lane;
                let places = values[first..].iter_mut().step_by(width);
                for (value, &codes) in places.zip(codes.iter()) {
                    *value = codes;
                }
            }
        }
    }

    /// Step of the values that share it.
    fn step(&self, values: &[f32]) -> f32 {
        let largest = largest_magnitude(values);
        finite_or_nan(largest / self.bits.steps(), largest)
    }
}

fn finite_or_nan(step: f32, largest: f32) -> f32 {
    if largest.is_finite() { step } else { f32::NAN }
}

per_instruction_set! {
    /// Largest magnitude; not a number where one of `values` is not.
    fn largest_magnitude(values: &[f32]) -> f32 {
        // Magnitudes compare as their bits do, and anything that is no number is above infinity.
        let bits = values.iter().map(|value| value.abs().to_bits());
        f32::from_bits(bits.fold(0, u32::max))
    }
}

per_instruction_set! {
    /// Codes of `values` in two's complement, and their sum.
    fn encode(values: &[f32], step: f32, range: (i8, i8), codes: &mut [u8]) -> i32 {
        /// Adding and subtracting it rounds to the nearest whole number, ties to even.
        const ROUNDER: f32 = 12_582_912.0;
        let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
        let (low, high) = (f32::from(range.0), f32::from(range.1));
        let mut sum = 0;
        for (code, &value) in codes.iter_mut().zip(values) {
            let level = value * inverse;
            let level = if level > low { level } else { low };
            let level = if level < high { level } else { high };
            // The lowest bits of the sum are the code in two's complement.
            *code = (level + ROUNDER).to_bits() as u8;
            sum += i32::from(*code as i8);
        }
        sum
    }
}
