//! Tiles in plain loops, for machines without a file of their own.

use super::panels::{OCTET, OCTETS};
use super::tile::{SparseKernel, SparseTile};
use super::unpack::unpack;
use crate::kernels::integer::activations::Offset;
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::layout::QUAD;
use crate::kernels::integer::panels::PANEL;
use crate::kernels::integer::tile::PANELS_OF_TILE;

pub(super) const KERNEL: SparseKernel = SparseKernel {
    tokens: 12,
    panels: PANELS_OF_TILE,
    offset: |_, _| Offset::None,
    unpack,
    multiply,
    stream: None,
};

fn multiply(tile: &SparseTile<'_>) {
    for panel in 0..tile.panels {
        for token in 0..tile.tokens {
            let rows = tile.totals.rows.saturating_sub(panel * PANEL).min(PANEL);
            let start = tile
                .totals
                .start
                .wrapping_add(token * tile.totals.stride + panel * PANEL);
            // SAFETY: the rows of a tile lie in its output, which nobody else touches.
            let output = unsafe { std::slice::from_raw_parts_mut(start, rows) };
            let mut totals = [0.0; PANEL];
            if !tile.totals.first {
                totals[..rows].copy_from_slice(output);
            }
            add(tile, panel, token, &mut totals);
            output.copy_from_slice(&totals[..rows]);
        }
    }
}

/// All segments of one panel and token.
fn add(tile: &SparseTile<'_>, panel: usize, token: usize, totals: &mut [f32; PANEL]) {
    let mut lines = tile.values[panel]
        .chunks(LINE)
        .zip(tile.controls[panel].chunks(LINE));
    let mut octets = tile.octets.chunks(tile.stride * OCTET);
    for (index, segment) in tile.segments.iter().enumerate() {
        let mut sums = tile.corrections[panel][index];
        let lines = lines.by_ref().take(segment.units * OCTETS);
        for ((values, controls), octets) in lines.zip(octets.by_ref()) {
            let octet = &octets[token * OCTET..(token + 1) * OCTET];
            let rows = values.chunks(QUAD).zip(controls.chunks(QUAD));
            for (sum, (values, controls)) in sums.iter_mut().zip(rows) {
                for (&value, &control) in values.iter().zip(controls) {
                    let activation = octet[usize::from(control)] as i8;
                    *sum += i32::from(value as i8) * i32::from(activation);
                }
            }
        }
        let step = tile.steps[index * tile.stride + token];
        for (row, total) in totals.iter_mut().enumerate() {
            let (scale, _) = tile.steps_of_panels[panel].at(segment.group, row);
            *total = (scale * step).mul_add(sums[row] as f32, *total);
        }
    }
}
