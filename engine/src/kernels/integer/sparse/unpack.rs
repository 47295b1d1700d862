//! Units of kept codes as tiles read them: signed bytes, and where each finds its activation.

use super::panels::{OCTETS, lines_of_codes, unit_bytes};
use crate::kernels::dispatch::per_instruction_set;
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::layout::QUAD;
use crate::kernels::integer::panels::PANEL;

/// Bytes of a unit's values, and of its controls.
pub(super) const UNPACKED: usize = OCTETS * LINE;

/// Of each slot of an octet, the half that it belongs to.
const HALVES: [u8; LINE] = {
    let mut halves = [0; LINE];
    let mut byte = 0;
    while byte < LINE {
        halves[byte] = if byte % QUAD < 2 { 0 } else { QUAD as u8 };
        byte += 1;
    }
    halves
};

per_instruction_set! {
    /// `values` `[octet][16 rows][4]` become `code - zero`, `controls` the columns in the octet. Returns the sum of each
    /// row's values. Of at most 128 octets.
    pub(super) fn unpack(
        bits: u8,
        units: &[u8],
        zeros: &[u8; PANEL],
        values: &mut [u8],
        controls: &mut [u8],
    ) -> [i32; PANEL] {
        let mut zeros_of_line = [0; LINE];
        for (quad, &zero) in zeros_of_line.as_chunks_mut::<QUAD>().0.iter_mut().zip(zeros) {
            *quad = [zero; QUAD];
        }
        let sums = match bits {
            2 => unpack_units::<2>(units, &zeros_of_line, values, controls),
            4 => unpack_units::<4>(units, &zeros_of_line, values, controls),
            _ => unpack_units::<8>(units, &zeros_of_line, values, controls),
        };
        let mut rows = [0; PANEL];
        for (row, sums) in rows.iter_mut().zip(sums.as_chunks::<QUAD>().0) {
            *row = sums.iter().map(|&sum| i32::from(sum)).sum();
        }
        rows
    }
}

/// Sums of each slot: of 128 octets no more than `128 * 128`.
#[inline(always)]
fn unpack_units<const BITS: usize>(
    units: &[u8],
    zeros: &[u8; LINE],
    values: &mut [u8],
    controls: &mut [u8],
) -> [i16; LINE] {
    let (mask, per_line) = (((1u16 << BITS) - 1) as u8, 8 / BITS);
    let mut sums = [0i16; LINE];
    let units = units.chunks_exact(unit_bytes(BITS as u8));
    let values = values.as_chunks_mut::<UNPACKED>().0;
    let controls = controls.as_chunks_mut::<UNPACKED>().0;
    for ((unit, values), controls) in units.zip(values).zip(controls) {
        let (lines, _) = unit.as_chunks::<LINE>();
        let places = &lines[lines_of_codes(BITS as u8)];
        for octet in 0..OCTETS {
            let (line, shift) = (&lines[octet / per_line], octet % per_line * BITS);
            let values = &mut values[octet * LINE..(octet + 1) * LINE];
            let controls = &mut controls[octet * LINE..(octet + 1) * LINE];
            for byte in 0..LINE {
                let value = (line[byte] >> shift & mask).wrapping_sub(zeros[byte]);
                values[byte] = value;
                sums[byte] += i16::from(value as i8);
                controls[byte] = (places[byte] >> (2 * octet) & 3) | HALVES[byte];
            }
        }
    }
    sums
}
