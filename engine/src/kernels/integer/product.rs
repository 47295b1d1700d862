//! The loops around register tiles: which panels, which columns, which tokens, on which thread.
//!
//! Few tokens: each panel is read once, from wherever it lies, unpacked in registers. Many tokens: columns are cut into
//! blocks whose codes, as bytes, stay in the first-level cache while tokens pass by that the second-level cache holds;
//! narrower codes are unpacked there. Threads take neighbouring panels; none shares a row of the result.

use super::activations::{ActivationBits, Activations, TokenTile};
use super::aligned::AlignedBytes;
use super::layout::{LONGEST_SEGMENT, QUAD, Segment, UNIT};
use super::panels::{PANEL, Panels, QUADS};
use super::tile::{Kernel, PANELS_OF_TILE, PanelSteps, TOKENS_OF_STREAM, TOKENS_OF_TILE, Tile};
use rayon::prelude::*;
use std::ops::Range;

/// Multiply-adds of integers that are worth waking another thread.
const LEAST_WORK: usize = 1 << 19;
/// Tiles of activations that stay in the second-level cache while panels pass by: of the longest segment 252 KiB.
const TILES_AT_HAND: usize = 21;
/// Most rows of a register tile.
const ROWS_OF_TILE: usize = PANELS_OF_TILE * PANEL;
/// Pieces per thread, so that a thread that is held up does not hold up all.
const PIECES_PER_THREAD: usize = 4;

/// `output = weights * activations` with one instruction set's tiles.
///
/// # Safety
/// The machine has the instruction set of `kernel`, and `output` is `[tokens, rows]`.
pub(super) unsafe fn multiply(
    output: &mut [f32],
    activations: &Activations,
    weights: &Panels,
    kernel: &Kernel,
) {
    let shape = weights.shape();
    if shape.columns == 0 {
        output.fill(0.0);
        return;
    }
    let product = Product {
        kernel,
        weights,
        activations,
        output: Output(output.as_mut_ptr()),
    };
    let work = output.len() * shape.columns;
    let pieces = pieces(shape.panels(), work);
    if pieces.len() == 1 {
        product.piece(0..shape.panels());
    } else {
        pieces
            .into_par_iter()
            .for_each(|panels| product.piece(panels));
    }
}

/// Neighbouring panels for each piece of work.
pub(super) fn pieces(panels: usize, work: usize) -> Vec<Range<usize>> {
    let wanted = (work / LEAST_WORK).clamp(1, PIECES_PER_THREAD * rayon::current_num_threads());
    let wanted = if rayon::current_num_threads() == 1 {
        1
    } else {
        wanted
    };
    let pairs = panels.div_ceil(PANELS_OF_TILE);
    let wanted = wanted.min(pairs).max(1);
    let cut = |piece: usize| (piece * pairs / wanted * PANELS_OF_TILE).min(panels);
    (0..wanted)
        .map(|piece| cut(piece)..cut(piece + 1))
        .collect()
}

#[derive(Clone, Copy)]
struct Output(*mut f32);

// SAFETY: pieces write to different rows of the output, which `multiply` borrows mutably.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

/// What all pieces share.
struct Product<'a> {
    kernel: &'a Kernel,
    weights: &'a Panels,
    activations: &'a Activations,
    output: Output,
}

/// Where totals go.
#[derive(Clone, Copy)]
struct Place {
    /// That of the first row of a panel and of `first_token`.
    start: *mut f32,
    /// Floats from one token to the next.
    stride: usize,
    first_token: usize,
}

/// Neighbouring segments whose codes are at hand as bytes.
struct Block<'a> {
    segments: &'a [Segment],
    first_segment: usize,
}

impl Product<'_> {
    fn piece(&self, panels: Range<usize>) {
        if self.activations.tokens() <= TOKENS_OF_STREAM {
            self.stream(panels);
        } else {
            self.blocked(panels);
        }
    }

    /// Few tokens: every panel once, with all its columns.
    fn stream(&self, panels: Range<usize>) {
        let segments = self.activations.segments();
        for panel in panels {
            let codes = [self.weights.panel(panel), &[]];
            for tile in 0..self.activations.tiles().count() {
                let tokens = self.activations.tile(tile);
                let block = Block {
                    segments,
                    first_segment: 0,
                };
                let bits = self.weights.shape().bits;
                let place = self.place(panel, 0);
                self.tiles(panel..panel + 1, codes, bits, &block, tokens, place);
            }
        }
    }

    /// Where the totals of a panel and of the tokens from `first_token` on belong.
    fn place(&self, panel: usize, first_token: usize) -> Place {
        let stride = self.weights.shape().rows;
        let first = first_token * stride + panel * PANEL;
        Place {
            start: self.output.0.wrapping_add(first),
            stride,
            first_token,
        }
    }

    /// Many tokens: tokens that the second-level cache holds outside, then pairs of panels, blocks of columns, and
    /// register tiles innermost.
    fn blocked(&self, panels: Range<usize>) {
        let mut slab = AlignedBytes::zeroed(match self.weights.shape().bits {
            8 => 0,
            _ => PANELS_OF_TILE * PANEL * LONGEST_SEGMENT,
        });
        let mut totals = vec![0.0; TILES_AT_HAND * TOKENS_OF_TILE * ROWS_OF_TILE];
        let tiles = self.activations.tiles().count();
        for first in (0..tiles).step_by(TILES_AT_HAND) {
            let tiles = first..(first + TILES_AT_HAND).min(tiles);
            for first in panels.clone().step_by(self.kernel.panels) {
                let panels = first..(first + self.kernel.panels).min(panels.end);
                self.tokens_at_hand(panels, tiles.clone(), slab.as_mut_slice(), &mut totals);
            }
        }
    }

    /// Some tiles of activations with one pair of panels. Totals of several blocks of columns are kept close together:
    /// in the output neighbouring tokens may be pages apart.
    fn tokens_at_hand(
        &self,
        panels: Range<usize>,
        tiles: Range<usize>,
        slab: &mut [u8],
        totals: &mut [f32],
    ) {
        let segments = self.activations.segments();
        let all = self.activations.tiles();
        let tokens = all.range(tiles.start).start..all.range(tiles.end - 1).end;
        let output = self.place(panels.start, tokens.start);
        let in_one = end_of_block(segments, 0) == segments.len();
        let place = if in_one {
            output
        } else {
            Place {
                start: totals.as_mut_ptr(),
                stride: ROWS_OF_TILE,
                ..output
            }
        };
        let mut first_segment = 0;
        while first_segment < segments.len() {
            let end = end_of_block(segments, first_segment);
            let block = Block {
                segments: &segments[first_segment..end],
                first_segment,
            };
            let codes = self.bytes(panels.clone(), block.segments, slab);
            for tile in tiles.clone() {
                let tokens = self.activations.tile(tile);
                self.tiles(panels.clone(), codes, 8, &block, tokens, place);
            }
            first_segment = end;
        }
        if !in_one {
            let rows = self.rows(&panels);
            for (token, totals) in totals.chunks(ROWS_OF_TILE).take(tokens.len()).enumerate() {
                let start = output.start.wrapping_add(token * output.stride);
                // SAFETY: these rows of these tokens lie in the output and are this piece's alone.
                let output = unsafe { std::slice::from_raw_parts_mut(start, rows) };
                output.copy_from_slice(&totals[..rows]);
            }
        }
    }

    /// Rows of some panels that are no padding.
    fn rows(&self, panels: &Range<usize>) -> usize {
        (self.weights.shape().rows - panels.start * PANEL).min(panels.len() * PANEL)
    }

    /// Codes of some panels over some segments as bytes: as they lie, or unpacked into `slab`.
    fn bytes<'a>(
        &'a self,
        panels: Range<usize>,
        segments: &[Segment],
        slab: &'a mut [u8],
    ) -> [&'a [u8]; PANELS_OF_TILE] {
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
            return codes;
        }
        let slabs = slab.chunks_mut(PANEL * LONGEST_SEGMENT);
        for ((codes, panel), slab) in codes.iter_mut().zip(panels).zip(slabs) {
            let bytes = &mut slab[..units * UNIT * PANEL];
            // SAFETY: `multiply`'s caller found the instruction set.
            unsafe { (self.kernel.unpack)(shape.bits, packed(panel), bytes) };
            *codes = bytes;
        }
        codes
    }

    fn wants_words(&self) -> bool {
        self.kernel.wants_words
            && self.weights.shape().bits == 8
            && self.activations.bits() == ActivationBits::Eight
    }

    /// One tile of activations, cut into register tiles.
    fn tiles(
        &self,
        panels: Range<usize>,
        codes: [&[u8]; PANELS_OF_TILE],
        bits: u8,
        block: &Block<'_>,
        tokens: TokenTile<'_>,
        place: Place,
    ) {
        let shape = self.weights.shape();
        let last = panels.end - 1;
        let pieces = tokens.tokens.div_ceil(self.kernel.tokens);
        let words: &[_] = if self.wants_words() {
            self.activations.words()
        } else {
            &[]
        };
        for piece in 0..pieces {
            let lane = piece * tokens.tokens / pieces;
            let end = (piece + 1) * tokens.tokens / pieces;
            let first_quad = block.segments[0].first_unit * QUADS * tokens.tokens + lane;
            let first = block.first_segment * tokens.tokens + lane;
            let tile = Tile {
                codes,
                bits,
                significant_bits: shape.bits,
                activation_bits: self.activations.bits(),
                steps_of_panels: [panels.start, last]
                    .map(|panel| PanelSteps::of(self.weights, panel)),
                panels: panels.len(),
                segments: block.segments,
                values: &tokens.values[first_quad * QUAD..],
                words: match words.get(tokens.first_quad + first_quad..) {
                    Some(words) => words,
                    None => &[],
                },
                sums: &tokens.sums[first..],
                steps: &tokens.steps[first..],
                stride: tokens.tokens,
                tokens: end - lane,
                output: place
                    .start
                    .wrapping_add((tokens.first - place.first_token + lane) * place.stride),
                output_stride: place.stride,
                rows: self.rows(&panels),
                first: block.first_segment == 0,
            };
            tile.check();
            // SAFETY: `multiply`'s caller found the instruction set and gave the whole output; panels of one product
            // belong to one piece each.
            unsafe { (self.kernel.multiply)(&tile) };
        }
    }
}

/// End of the run of segments from `first` on that fit a block.
fn end_of_block(segments: &[Segment], first: usize) -> usize {
    let mut units = 0;
    let fits = segments[first..].iter().take_while(|segment| {
        units += segment.units;
        units * UNIT <= LONGEST_SEGMENT
    });
    first + fits.count().max(1)
}
