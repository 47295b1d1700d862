//! Units of kept codes as tiles read them: signed bytes, and where each finds its activation.

use super::panels::{OCTETS, lines_of_codes, unit_bytes};
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::layout::{LONGEST_SEGMENT, QUAD, UNIT};
use crate::kernels::integer::panels::PANEL;

/// Bytes of a unit's values, and of its controls.
pub(crate) const UNPACKED: usize = OCTETS * LINE;

/// Of each slot of a row's octet, the half that it belongs to.
pub(super) const HALVES_OF_ROW: [u8; QUAD] = [0, 0, QUAD as u8, QUAD as u8];

/// Units of a panel and where they go.
pub(crate) struct Unpack<'a> {
    /// Bits of a code as it is packed: 2, 4 or 8.
    pub(crate) bits: u8,
    /// At most 32 units.
    pub(crate) units: &'a [u8],
    /// Of each row.
    pub(crate) zeros: &'a [u8; PANEL],
    /// `[octet][16 rows][4]`: become `code - zero`.
    pub(crate) values: &'a mut [u8],
    /// `[octet][16 rows][4]`: become columns in the octet.
    pub(crate) controls: &'a mut [u8],
}

impl Unpack<'_> {
    /// How many units there are.
    ///
    /// # Panics
    /// If what they become does not fit.
    pub(super) fn check(&self) -> usize {
        let count = self.units.len() / unit_bytes(self.bits);
        assert!(count <= LONGEST_SEGMENT / UNIT);
        assert!(self.values.len() >= count * UNPACKED && self.controls.len() >= count * UNPACKED);
        count
    }

    /// The zero of each byte of a line.
    pub(super) fn zeros_of_line(&self) -> [u8; LINE] {
        let mut line = [0; LINE];
        for (bytes, &zero) in line.as_chunks_mut::<QUAD>().0.iter_mut().zip(self.zeros) {
            *bytes = (u32::from(zero) * 0x0101_0101).to_le_bytes();
        }
        line
    }
}

/// For machines without a file of their own. Returns the sum of each row's values.
pub(super) fn unpack(work: Unpack<'_>) -> [i32; PANEL] {
    work.check();
    let zeros = work.zeros_of_line();
    let sums = match work.bits {
        2 => unpack_units::<2>(work.units, &zeros, work.values, work.controls),
        4 => unpack_units::<4>(work.units, &zeros, work.values, work.controls),
        _ => unpack_units::<8>(work.units, &zeros, work.values, work.controls),
    };
    let mut rows = [0; PANEL];
    for (row, sums) in rows.iter_mut().zip(sums.as_chunks::<QUAD>().0) {
        *row = sums.iter().map(|&sum| i32::from(sum)).sum();
    }
    rows
}

/// Sums of each slot: of 128 octets no more than `128 * 128`.
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
                controls[byte] = (places[byte] >> (2 * octet) & 3) | HALVES_OF_ROW[byte % QUAD];
            }
        }
    }
    sums
}
