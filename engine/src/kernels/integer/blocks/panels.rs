//! Weights of which whole blocks of four columns are kept, row by row.
//!
//! Of each row the kept blocks follow each other in the order of their columns: four values `code - zero` as signed
//! bytes, and the number of the block's quad in a padded row. So a block takes six bytes however many bits its codes
//! had, and what is not kept takes nothing.

use crate::kernels::integer::layout::{LONGEST_SEGMENT, QUAD, Segment};
use crate::kernels::integer::panels::{PanelShape, QUADS, Scales};
use crate::kernels::integer::sparse::MaskedCodes;
use rayon::prelude::*;

/// Kept blocks, their places and scales of a matrix as kernels read them.
#[derive(Debug, Clone)]
pub struct BlockPanels {
    shape: PanelShape,
    /// How columns are cut where inputs share one step.
    segments: Vec<Segment>,
    /// First block of each row and segment, and the end of the last: `[rows, segments] + 1`.
    starts: Vec<u32>,
    /// Sum of the values of each row and segment.
    sums: Vec<i32>,
    /// Four values of each block, the first in the lowest byte.
    values: Vec<i32>,
    /// Quad of each block in its padded row.
    quads: Vec<u16>,
    /// `[rows, groups]`.
    scales: Scales,
}

/// Neighbouring kept blocks of one row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks<'a> {
    /// Four values of each.
    pub(super) values: &'a [i32],
    /// Their quads, ascending.
    pub(super) quads: &'a [u16],
}

impl BlockPanels {
    /// Packs weights of which blocks with anything kept are kept; `None` where they cannot be held exactly: groups cut a
    /// block, rows are too long, or zeros are no whole numbers or too far from codes.
    ///
    /// # Panics
    /// If a slice does not fit the shape.
    pub fn pack(weights: &MaskedCodes<'_>) -> Option<Self> {
        weights.check();
        let shape = weights.shape;
        let whole_blocks = shape.groups() <= 1 || shape.group.is_multiple_of(QUAD);
        let quads = shape.cut().padded() / QUAD;
        if !whole_blocks || quads > usize::from(u16::MAX) || !weights.are_signed_bytes() {
            return None;
        }
        let rows: Vec<(Vec<i32>, Vec<u16>)> = (0..shape.rows)
            .into_par_iter()
            .map(|row| pack_row(weights, row))
            .collect();
        let segments = shape.cut().segments(LONGEST_SEGMENT);
        let (mut starts, mut sums) = (vec![0], Vec::new());
        for (values, quads) in &rows {
            let first = starts[starts.len() - 1];
            let mut before = 0;
            for segment in &segments {
                let count = quads.partition_point(|&quad| usize::from(quad) < end_of(segment));
                sums.push(values[before..count].iter().map(|&four| sum_of(four)).sum());
                starts.push(first + u32::try_from(count).ok()?);
                before = count;
            }
        }
        let (values, quads): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        Some(Self {
            shape,
            segments,
            starts,
            sums,
            values: values.concat(),
            quads: quads.concat(),
            scales: Scales::narrowest(weights.scales.to_vec()),
        })
    }

    /// What was packed.
    pub fn shape(&self) -> &PanelShape {
        &self.shape
    }

    /// Bytes of values, places and scales.
    pub fn size_bytes(&self) -> usize {
        size_of_val(&self.values[..])
            + size_of_val(&self.quads[..])
            + size_of_val(&self.starts[..])
            + size_of_val(&self.sums[..])
            + self.scales.size_bytes()
    }

    /// Weights of one row into `output`.
    ///
    /// # Panics
    /// If `output` is not one row of columns.
    pub fn dequantize_row(&self, row: usize, output: &mut [f32]) {
        assert_eq!(output.len(), self.shape.columns, "one row");
        output.fill(0.0);
        for (index, segment) in self.segments.iter().enumerate() {
            let (blocks, _) = self.blocks(row, index);
            let first = segment.first_unit * QUADS;
            let output = &mut output[segment.range()];
            let scale = self.scale(row, segment.group);
            for (&values, &quad) in blocks.values.iter().zip(blocks.quads) {
                let output = &mut output[(usize::from(quad) - first) * QUAD..];
                for (output, value) in output.iter_mut().zip(values.to_le_bytes()) {
                    *output = scale * f32::from(value as i8);
                }
            }
        }
    }

    /// Kept blocks of a row and one of `segments`, and the sum of their values.
    pub(super) fn blocks(&self, row: usize, segment: usize) -> (Blocks<'_>, i32) {
        let index = row * self.segments.len() + segment;
        let range = self.starts[index] as usize..self.starts[index + 1] as usize;
        let blocks = Blocks {
            values: &self.values[range.clone()],
            quads: &self.quads[range],
        };
        (blocks, self.sums[index])
    }

    /// Kept blocks of a row and any segment, and the sum of their values.
    pub(super) fn blocks_of(&self, row: usize, segment: &Segment) -> (Blocks<'_>, i32) {
        let ends = [row, row + 1].map(|row| self.starts[row * self.segments.len()] as usize);
        let quads = &self.quads[ends[0]..ends[1]];
        let before = |end: usize| quads.partition_point(|&quad| usize::from(quad) < end);
        let range = before(segment.first_unit * QUADS)..before(end_of(segment));
        let values = &self.values[ends[0]..ends[1]][range.clone()];
        let blocks = Blocks {
            values,
            quads: &quads[range],
        };
        (blocks, values.iter().map(|&four| sum_of(four)).sum())
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(super) fn scale(&self, row: usize, group: usize) -> f32 {
        self.scales.at(row * self.shape.groups() + group)
    }
}

/// The quad behind a segment.
fn end_of(segment: &Segment) -> usize {
    (segment.first_unit + segment.units) * QUADS
}

/// Sum of four values.
fn sum_of(four: i32) -> i32 {
    let values = four.to_le_bytes();
    values.iter().map(|&value| i32::from(value as i8)).sum()
}

fn pack_row(weights: &MaskedCodes<'_>, row: usize) -> (Vec<i32>, Vec<u16>) {
    let (shape, cut) = (&weights.shape, weights.shape.cut());
    let (mut packed, mut quads) = (Vec::new(), Vec::new());
    for group in 0..shape.groups() {
        let (columns, padded) = cut.group(group);
        for (block, first) in columns.clone().step_by(QUAD).enumerate() {
            let mut values = [0; QUAD];
            let mut any = false;
            for (column, value) in (first..columns.end).zip(&mut values) {
                if weights.keep[row * shape.columns + column] {
                    (*value, any) = (weights.value(row, column), true);
                }
            }
            if any {
                packed.push(i32::from_le_bytes(values.map(|value: i8| value as u8)));
                quads.push((padded / QUAD + block) as u16);
            }
        }
    }
    (packed, quads)
}
