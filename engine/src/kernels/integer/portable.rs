//! Tiles in plain loops, for machines without a file of their own.

use super::aligned::LINE;
use super::layout::QUAD;
use super::panels::{PANEL, QUADS};
use super::tile::{Kernel, PANELS_OF_TILE, Tile};

pub(super) const KERNEL: Kernel = Kernel {
    tokens: 12,
    panels: PANELS_OF_TILE,
    wants_words: false,
    multiply,
    unpack,
};

/// Bytes of a unit's codes, one each.
const UNIT_BYTES: usize = QUADS * LINE;

fn multiply(tile: &Tile<'_>) {
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
fn add(tile: &Tile<'_>, panel: usize, token: usize, totals: &mut [f32; PANEL]) {
    let mut units = tile.codes[panel].chunks(usize::from(tile.bits) * LINE);
    let mut quad = 0;
    for (index, segment) in tile.segments.iter().enumerate() {
        let mut products = [0i32; PANEL];
        for unit in units.by_ref().take(segment.units) {
            let mut bytes = [0; UNIT_BYTES];
            unpack(tile.bits, unit, &mut bytes);
            for codes in bytes.chunks(LINE) {
                let place = (quad * tile.stride + token) * QUAD;
                let values = &tile.values[place..place + QUAD];
                for (product, codes) in products.iter_mut().zip(codes.chunks(QUAD)) {
                    for (&code, &value) in codes.iter().zip(values) {
                        *product += i32::from(code) * i32::from(value);
                    }
                }
                quad += 1;
            }
        }
        let place = index * tile.stride + token;
        let (sum, step) = (tile.sums[place], tile.steps[place]);
        for (row, total) in totals.iter_mut().enumerate() {
            let (scale, zero) = tile.steps_of_panels[panel].at(segment.group, row);
            let centred = (-zero).mul_add(sum, products[row] as f32);
            *total = (scale * step).mul_add(centred, *total);
        }
    }
}

pub(super) fn unpack(bits: u8, packed: &[u8], bytes: &mut [u8]) {
    let units = packed.chunks(usize::from(bits) * LINE);
    for (unit, bytes) in units.zip(bytes.chunks_mut(UNIT_BYTES)) {
        if bits == 8 {
            bytes.copy_from_slice(unit);
            continue;
        }
        let (low, high) = match bits {
            3 => (2, 1),
            5 => (4, 1),
            6 => (4, 2),
            bits => (bits, 0),
        };
        bytes.fill(0);
        add_plane(low, 0, unit, bytes);
        if high > 0 {
            add_plane(high, low, &unit[usize::from(low) * LINE..], bytes);
        }
    }
}

/// Adds a plane of `bits` to codes, moved up by `shift`.
fn add_plane(bits: u8, shift: u8, lines: &[u8], bytes: &mut [u8]) {
    let per_line = usize::from(8 / bits);
    let mask = (1u8 << bits) - 1;
    for (quad, codes) in bytes.chunks_mut(LINE).enumerate() {
        let line = &lines[quad / per_line * LINE..];
        let down = (quad % per_line) as u8 * bits;
        for (code, &byte) in codes.iter_mut().zip(line) {
            *code |= (byte >> down & mask) << shift;
        }
    }
}
