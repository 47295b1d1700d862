//! Rows of a cache as they are stored: f32, f16, or i8 with one scale for each row; into and out of them.

use super::AttentionShape;
use super::slab::Rows;
use crate::kernels::dispatch::per_instruction_set;
use crate::kernels::lanes::{Stored, narrow_to_f16, widen};
use half::f16;
use std::ops::Range;

/// Largest code of an i8 row; -128 is not used, so that both signs reach equally far.
const MAX_CODE: f32 = 127.0;

/// Adding and subtracting `1.5 * 2^23` rounds to the nearest integer, ties to even.
const ROUNDER: f32 = 12_582_912.0;

/// Keys or values of all positions and heads; a row is one head's channels at one position.
#[derive(Debug, Clone, Copy)]
pub enum CacheRows<'a> {
    /// As computed.
    F32(&'a [f32]),
    /// Rounded to half precision.
    F16(&'a [f16]),
    /// `value = scale * code`.
    Int8 {
        /// -127..=127.
        codes: &'a [i8],
        /// One for each row.
        scales: &'a [f32],
    },
}

impl<'a> CacheRows<'a> {
    /// Whole rows held.
    pub(super) fn count(&self, channels: usize) -> usize {
        match self {
            Self::F32(values) => values.len() / channels,
            Self::F16(values) => values.len() / channels,
            Self::Int8 { codes, scales } => scales.len().min(codes.len() / channels),
        }
    }

    /// The rows of `head` at `positions`, counted from position `start`; narrow ones are widened into `slab`.
    pub(super) fn widened<'b>(
        &self,
        shape: &AttentionShape,
        head: usize,
        start: usize,
        positions: &Range<usize>,
        slab: &'b mut [f32],
    ) -> Rows<'b>
    where
        'a: 'b,
    {
        let (channels, padded) = (shape.channels, shape.padded());
        let first = shape.row(head, start + positions.start);
        let stride = shape.position_stride;
        let mut rows = Rows {
            values: &[],
            stride: padded,
            padded,
            scales: None,
        };
        match *self {
            Self::F32(values) if padded == channels => {
                rows.stride = stride * channels;
                rows.values = &values[first * channels..];
                return rows;
            }
            Self::F32(values) => fill(slab, &values[first * channels..], shape, positions.len()),
            Self::F16(values) => fill(slab, &values[first * channels..], shape, positions.len()),
            Self::Int8 { codes, scales } => {
                fill(slab, &codes[first * channels..], shape, positions.len());
                rows.scales = Some((&scales[first..], stride));
            }
        }
        rows.values = slab;
        rows
    }
}

/// Widens `count` neighbouring positions from the first of `values` on; what pads them in `slab` stays zero.
fn fill<W: Stored>(slab: &mut [f32], values: &[W], shape: &AttentionShape, count: usize) {
    let stride = shape.position_stride * shape.channels;
    let targets = slab.chunks_mut(shape.padded()).take(count);
    for (index, target) in targets.enumerate() {
        let row = &values[index * stride..][..shape.channels];
        widen(&mut target[..shape.channels], row);
    }
}

/// Rounds to half precision, ties to even; beyond its range to infinity. NaN stays NaN.
///
/// # Panics
/// If the lengths differ.
pub fn store_f16(target: &mut [f16], source: &[f32]) {
    assert_eq!(target.len(), source.len(), "one f16 for each value");
    narrow_to_f16(target, source);
}

/// Exact.
///
/// # Panics
/// If the lengths differ.
pub fn load_f16(target: &mut [f32], source: &[f16]) {
    assert_eq!(target.len(), source.len(), "one value for each f16");
    widen(target, source);
}

/// Rounds each row of `channels` values to i8 codes: `scale = largest magnitude / 127`, ties to even.
///
/// A row of zeros has scale 0 and codes 0; a row with NaN or infinity has scale NaN, so that neither is hidden.
///
/// # Panics
/// If the lengths do not fit whole rows.
pub fn store_int8(codes: &mut [i8], scales: &mut [f32], source: &[f32], channels: usize) {
    assert_eq!(codes.len(), source.len(), "one code for each value");
    assert_eq!(
        source.len(),
        scales.len() * channels,
        "one scale for each row"
    );
    if channels == 0 {
        return;
    }
    let rows = codes.chunks_mut(channels).zip(source.chunks(channels));
    for (scale, (codes, row)) in scales.iter_mut().zip(rows) {
        *scale = store_row(codes, row);
    }
}

/// `scale * code` for each row of `channels` codes.
///
/// # Panics
/// If the lengths do not fit whole rows.
pub fn load_int8(target: &mut [f32], codes: &[i8], scales: &[f32], channels: usize) {
    assert_eq!(target.len(), codes.len(), "one value for each code");
    assert_eq!(
        codes.len(),
        scales.len() * channels,
        "one scale for each row"
    );
    if channels == 0 {
        return;
    }
    let rows = target.chunks_mut(channels).zip(codes.chunks(channels));
    for (scale, (target, codes)) in scales.iter().zip(rows) {
        widen(target, codes);
        target.iter_mut().for_each(|value| *value *= scale);
    }
}

per_instruction_set! {
    fn store_row(codes: &mut [i8], row: &[f32]) -> f32 {
        // Magnitudes compare as their bits do; NaN is above all of them.
        let largest = row.iter().fold(0, |largest, value| largest.max(value.to_bits() & 0x7fff_ffff));
        let largest = f32::from_bits(largest);
        if !largest.is_finite() {
            codes.fill(0);
            return f32::NAN;
        }
        let scale = largest / MAX_CODE;
        // Too small a row for a normal scale is a row of zeros.
        if !scale.is_normal() {
            codes.fill(0);
            return 0.0;
        }
        for (code, value) in codes.iter_mut().zip(row) {
            let level = (value / scale).clamp(-MAX_CODE, MAX_CODE);
            *code = ((level + ROUNDER).to_bits() as u8).cast_signed();
        }
        scale
    }
}
