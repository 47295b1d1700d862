//! The loops around register tiles: which panels, which columns, which tokens, on which thread.
//!
//! Few tokens: each panel is read once, from wherever it lies. Many tokens: columns are cut into blocks whose codes, as
//! bytes, stay in the first-level cache while tokens pass by that the second-level cache holds. Threads take
//! neighbouring panels; none shares a row of the result. What lies in a panel, and how it becomes bytes, is the affair
//! of `Weights`.

use super::activations::{Activations, TokenTile};
use super::layout::{LONGEST_SEGMENT, Segment, UNIT};
use super::panels::{PANEL, PanelShape};
use super::tile::{PANELS_OF_TILE, TOKENS_OF_STREAM, TOKENS_OF_TILE, Totals};
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

/// Weights of one form, with the tiles of one instruction set.
pub(super) trait Weights: Sync {
    /// Where panels are made ready for many tokens.
    type Slab;
    /// Panels over some segments as tiles read them.
    type Ready<'a>: Copy
    where
        Self: 'a;

    /// What the weights look like.
    fn shape(&self) -> &PanelShape;

    /// Most tokens and panels of a register tile.
    fn tile(&self) -> [usize; 2];

    /// An empty slab.
    fn slab(&self) -> Self::Slab;

    /// One panel over all columns, as few tokens take it; `None` where it has to be made ready as for many.
    fn stream(&self, panel: usize) -> Option<Self::Ready<'_>>;

    /// Some panels over some segments.
    fn ready<'a>(
        &'a self,
        panels: Range<usize>,
        segments: &[Segment],
        slab: &'a mut Self::Slab,
    ) -> Self::Ready<'a>;

    /// Adds the products of a tile to its output.
    ///
    /// # Safety
    /// The machine has the instruction set, and nobody else touches the output of the tile meanwhile.
    unsafe fn multiply(&self, ready: Self::Ready<'_>, tile: &Cut<'_>);
}

/// What one register tile is cut from: panels, segments, tokens and the place of their totals.
pub(super) struct Cut<'a> {
    /// The panels.
    pub(super) panels: Range<usize>,
    /// The segments, in order.
    pub(super) segments: &'a [Segment],
    /// The first of them among all.
    pub(super) first_segment: usize,
    /// The tile of activations.
    pub(super) tokens: TokenTile<'a>,
    /// Which of its tokens.
    pub(super) lanes: Range<usize>,
    /// Where totals go.
    pub(super) totals: Totals,
}

impl Cut<'_> {
    /// Where its quads of activations begin among those of the tile of activations.
    pub(super) fn first_quad(&self) -> usize {
        self.segments[0].first_unit * super::panels::QUADS * self.tokens.tokens + self.lanes.start
    }

    /// Where its sums and steps begin.
    pub(super) fn first_step(&self) -> usize {
        self.first_segment * self.tokens.tokens + self.lanes.start
    }
}

/// `output = weights * activations` with one instruction set's tiles.
///
/// # Safety
/// The machine has the instruction set of `weights`, and `output` is `[tokens, rows]`.
pub(super) unsafe fn multiply(
    output: &mut [f32],
    activations: &Activations,
    weights: &impl Weights,
) {
    let shape = weights.shape();
    if shape.columns == 0 {
        output.fill(0.0);
        return;
    }
    let product = Product {
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
struct Product<'a, W> {
    weights: &'a W,
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

impl<W: Weights> Product<'_, W> {
    fn piece(&self, panels: Range<usize>) {
        if self.activations.tokens() > TOKENS_OF_STREAM {
            return self.blocked(panels);
        }
        for panel in panels.clone() {
            let Some(ready) = self.weights.stream(panel) else {
                return self.blocked(panels);
            };
            self.stream(panel, ready);
        }
    }

    /// Few tokens: one panel with all its columns.
    fn stream(&self, panel: usize, ready: W::Ready<'_>) {
        for tile in 0..self.activations.tiles().count() {
            let block = Block {
                segments: self.activations.segments(),
                first_segment: 0,
            };
            let tokens = self.activations.tile(tile);
            self.tiles(
                panel..panel + 1,
                ready,
                &block,
                tokens,
                self.place(panel, 0),
            );
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
        let mut slab = self.weights.slab();
        let mut totals = vec![0.0; TILES_AT_HAND * TOKENS_OF_TILE * ROWS_OF_TILE];
        let tiles = self.activations.tiles().count();
        for first in (0..tiles).step_by(TILES_AT_HAND) {
            let tiles = first..(first + TILES_AT_HAND).min(tiles);
            let [_, wide] = self.weights.tile();
            for first in panels.clone().step_by(wide) {
                let panels = first..(first + wide).min(panels.end);
                self.tokens_at_hand(panels, tiles.clone(), &mut slab, &mut totals);
            }
        }
    }

    /// Some tiles of activations with one pair of panels. Totals of several blocks of columns are kept close together:
    /// in the output neighbouring tokens may be pages apart.
    fn tokens_at_hand(
        &self,
        panels: Range<usize>,
        tiles: Range<usize>,
        slab: &mut W::Slab,
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
            let ready = self.weights.ready(panels.clone(), block.segments, slab);
            for tile in tiles.clone() {
                let tokens = self.activations.tile(tile);
                self.tiles(panels.clone(), ready, &block, tokens, place);
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

    /// One tile of activations, cut into register tiles.
    fn tiles(
        &self,
        panels: Range<usize>,
        ready: W::Ready<'_>,
        block: &Block<'_>,
        tokens: TokenTile<'_>,
        place: Place,
    ) {
        let [high, _] = self.weights.tile();
        let pieces = tokens.tokens.div_ceil(high);
        for piece in 0..pieces {
            let lanes = piece * tokens.tokens / pieces..(piece + 1) * tokens.tokens / pieces;
            let first_token = tokens.first - place.first_token + lanes.start;
            let cut = Cut {
                panels: panels.clone(),
                segments: block.segments,
                first_segment: block.first_segment,
                tokens,
                lanes,
                totals: Totals {
                    start: place.start.wrapping_add(first_token * place.stride),
                    stride: place.stride,
                    rows: self.rows(&panels),
                    first: block.first_segment == 0,
                },
            };
            // SAFETY: `multiply`'s caller found the instruction set and gave the whole output; panels of one product
            // belong to one piece each.
            unsafe { self.weights.multiply(ready, &cut) };
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
