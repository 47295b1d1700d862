//! Weights of which at most two of every four are kept, in the memory order of the kernels: panels of 16 rows, of every
//! four columns two codes and two places.
//!
//! Columns are cut as those of dense panels. A unit of 32 columns is four octets of eight columns; of each octet a row
//! keeps four codes, two of each half, so that they fill the row's 32-bit lane. Codes of `b` bits (2, 4 or 8) take
//! `b / 2` lines of 64 bytes, of which line `l` holds octets `l * 8 / b + j` at bits `b * j`; one more line holds the
//! places of all four octets, 0 to 3 within their half, octet `j` at bits `2 * j`. Byte `4 * r + s` of a line belongs to
//! row `r` and to kept code `s` of the octet:
//!
//! ```text
//! unit, 4 bits:   line 0                            line 1            line 2
//!                 low nibbles: octet 0              octet 2           bits 0..2: places of octet 0
//!                 high nibbles: octet 1             octet 3           bits 2..4: octet 1, …
//! ```
//! So 8 bits take 5 per weight and 4 bits take 3. A code stands for `scale * (code - zero)`, where `code - zero` is a
//! whole number of a signed byte; where a row keeps fewer than two of four, and in padding, the code is the zero.

use crate::kernels::integer::aligned::{AlignedBytes, LINE};
use crate::kernels::integer::layout::{QUAD, UNIT};
use crate::kernels::integer::panels::{
    PANEL, PanelShape, Scales, Zeros, in_panels, index_in_panels,
};
use rayon::prelude::*;

/// Octets of a unit.
pub(crate) const OCTETS: usize = UNIT / OCTET;
/// Columns of an octet.
pub(crate) const OCTET: usize = 8;
/// Codes that a row keeps of a quad.
const KEPT: usize = 2;

/// Codes, scales and zeros of a matrix as a solver hands them over, and which of them are kept.
#[derive(Debug, Clone, Copy)]
pub struct MaskedCodes<'a> {
    /// Their shape; bits are those that codes have, 2 to 8.
    pub shape: PanelShape,
    /// `[rows, columns]`.
    pub codes: &'a [u8],
    /// `[rows, groups]`.
    pub scales: &'a [f32],
    /// `[rows, groups]`.
    pub zeros: &'a [f32],
    /// `[rows, columns]`: the others are weights of zero.
    pub keep: &'a [bool],
}

impl MaskedCodes<'_> {
    /// Whether every kept `code - zero` is a whole number that a signed byte holds, and every zero a code.
    pub(crate) fn are_signed_bytes(&self) -> bool {
        let fits = |row: usize, column: usize| {
            let index = row * self.shape.columns + column;
            let value = i32::from(self.codes[index]) - self.zero(row, column) as i32;
            !self.keep[index] || i8::try_from(value).is_ok()
        };
        self.zeros_are_codes()
            && (self.shape.bits < 8
                || (0..self.shape.rows)
                    .into_par_iter()
                    .all(|row| (0..self.shape.columns).all(|column| fits(row, column))))
    }

    /// The codes, with that of the zero where nothing is kept; `None` where a zero is no code.
    pub fn with_zeros(&self) -> Option<Vec<u8>> {
        let columns = self.shape.columns.max(1);
        let code = |(index, (&code, &keep)): (usize, (&u8, &bool))| match keep {
            true => code,
            false => self.zero(index / columns, index % columns) as u8,
        };
        let codes = self.codes.iter().zip(self.keep).enumerate();
        self.zeros_are_codes().then(|| codes.map(code).collect())
    }

    /// `code - zero` as a signed byte.
    pub(crate) fn value(&self, row: usize, column: usize) -> i8 {
        let code = self.codes[row * self.shape.columns + column];
        code.wrapping_sub(self.zero(row, column) as u8) as i8
    }

    fn zeros_are_codes(&self) -> bool {
        let largest = f32::from(((1u16 << self.shape.bits) - 1) as u8);
        let mut zeros = self.zeros.iter();
        zeros.all(|zero| zero.fract() == 0.0 && (0.0..=largest).contains(zero))
    }

    fn zero(&self, row: usize, column: usize) -> f32 {
        let group = column / self.shape.group_columns();
        self.zeros[row * self.shape.groups() + group]
    }

    /// # Panics
    /// If a slice does not fit the shape.
    pub(crate) fn check(&self) {
        let (weights, steps) = (
            self.shape.rows * self.shape.columns,
            self.shape.rows * self.shape.groups(),
        );
        assert_eq!(self.codes.len(), weights, "codes");
        assert_eq!(self.keep.len(), weights, "mask");
        assert_eq!(self.scales.len(), steps, "scales");
        assert_eq!(self.zeros.len(), steps, "zeros");
    }
}

/// Kept codes, their places, scales and zeros of a matrix as kernels read them.
#[derive(Debug, Clone)]
pub struct SparsePanels {
    shape: PanelShape,
    units: AlignedBytes,
    scales: Scales,
    zeros: Zeros,
}

impl SparsePanels {
    /// Packs weights; `None` where panels cannot hold them exactly: three of four are kept somewhere, groups cut a
    /// four, or zeros are no whole numbers or too far from codes.
    ///
    /// # Panics
    /// If a slice does not fit the shape.
    pub fn pack(weights: &MaskedCodes<'_>) -> Option<Self> {
        weights.check();
        let shape = PanelShape {
            bits: match weights.shape.bits {
                0..=2 => 2,
                3 | 4 => 4,
                _ => 8,
            },
            ..weights.shape
        };
        let rows = weights.keep.par_chunks(shape.columns.max(1));
        let few = |row: &[bool]| row.chunks(QUAD).all(|four| kept(four).count() <= KEPT);
        let whole_fours = shape.groups() <= 1 || shape.group.is_multiple_of(QUAD);
        if !whole_fours || !weights.are_signed_bytes() || !rows.into_par_iter().all(few) {
            return None;
        }
        let bytes = panel_bytes(&shape);
        let mut units = AlignedBytes::zeroed(shape.panels() * bytes);
        units
            .as_mut_slice()
            .par_chunks_mut(bytes.max(1))
            .enumerate()
            .for_each(|(panel, bytes)| pack_panel(weights, shape.bits, panel, bytes));
        Some(Self {
            shape,
            units,
            scales: Scales::narrowest(in_panels(&shape, weights.scales)),
            zeros: Zeros::narrowest(weights.zeros, || in_panels(&shape, weights.zeros)),
        })
    }

    /// What was packed, with the bits that a code takes here.
    pub fn shape(&self) -> &PanelShape {
        &self.shape
    }

    /// Bytes of codes, places, scales and zeros.
    pub fn size_bytes(&self) -> usize {
        self.units.as_slice().len() + self.scales.size_bytes() + self.zeros.size_bytes()
    }

    /// Weights of one row into `output`.
    ///
    /// # Panics
    /// If `output` is not one row of columns.
    pub fn dequantize_row(&self, row: usize, output: &mut [f32]) {
        assert_eq!(output.len(), self.shape.columns, "one row");
        output.fill(0.0);
        let (cut, groups) = (self.shape.cut(), self.shape.groups());
        for group in 0..groups {
            let index = index_in_panels(groups, row, group);
            let (scale, zero) = (self.scales.at(index), self.zeros.at(index));
            let (columns, padded) = cut.group(group);
            let output = &mut output[columns];
            for octet in 0..output.len().div_ceil(OCTET) {
                for slot in 0..2 * KEPT {
                    let place = padded / OCTET + octet;
                    let (code, column) = self.at(row, place, slot);
                    let weight = scale * (f32::from(code) - zero);
                    if let (true, Some(output)) =
                        (weight != 0.0, output.get_mut(octet * OCTET + column))
                    {
                        *output = weight;
                    }
                }
            }
        }
    }

    /// Units of one panel.
    pub(crate) fn panel(&self, panel: usize) -> &[u8] {
        let bytes = panel_bytes(&self.shape);
        &self.units.as_slice()[panel * bytes..(panel + 1) * bytes]
    }

    pub(crate) fn scales(&self) -> &Scales {
        &self.scales
    }

    pub(crate) fn zeros(&self) -> &Zeros {
        &self.zeros
    }

    /// The codes of zero of a panel's rows.
    pub(crate) fn zeros_of(&self, panel: usize, group: usize) -> [u8; PANEL] {
        let place = panel * self.shape.groups() + group;
        match &self.zeros {
            Zeros::Same(zero) => [*zero as u8; PANEL],
            Zeros::Bytes(zeros) => zeros.as_chunks().0[place],
            Zeros::F32(zeros) => zeros.as_chunks().0[place].map(|zero: f32| zero as u8),
        }
    }

    /// Code and column in its octet of a row's kept code.
    fn at(&self, row: usize, octet: usize, slot: usize) -> (u8, usize) {
        let unit = &self.panel(row / PANEL)[octet / OCTETS * unit_bytes(self.shape.bits)..];
        let byte = row % PANEL * QUAD + slot;
        let (line, shift) = place_of_code(self.shape.bits, octet % OCTETS);
        let code = unit[line * LINE + byte] >> shift & mask(self.shape.bits);
        let places = unit[lines_of_codes(self.shape.bits) * LINE + byte];
        let column = places >> (2 * (octet % OCTETS)) & 3;
        (code, slot / KEPT * QUAD + usize::from(column))
    }
}

/// Lines of a unit's codes.
pub(crate) const fn lines_of_codes(bits: u8) -> usize {
    bits as usize / 2
}

/// Bytes of a unit.
pub(crate) const fn unit_bytes(bits: u8) -> usize {
    (lines_of_codes(bits) + 1) * LINE
}

fn panel_bytes(shape: &PanelShape) -> usize {
    shape.cut().units() * unit_bytes(shape.bits)
}

fn mask(bits: u8) -> u8 {
    ((1u16 << bits) - 1) as u8
}

/// Line and shift of an octet's codes.
fn place_of_code(bits: u8, octet: usize) -> (usize, u8) {
    let per_line = usize::from(8 / bits);
    (octet / per_line, (octet % per_line) as u8 * bits)
}

/// Which of four are kept.
fn kept(four: &[bool]) -> impl Iterator<Item = usize> {
    let places = four.iter().enumerate();
    places.filter_map(|(place, &keep)| keep.then_some(place))
}

fn pack_panel(weights: &MaskedCodes<'_>, bits: u8, panel: usize, bytes: &mut [u8]) {
    let (cut, shape) = (weights.shape.cut(), &weights.shape);
    let rows = PANEL.min(shape.rows - panel * PANEL);
    for (lane, row) in (panel * PANEL..panel * PANEL + rows).enumerate() {
        let first = row * shape.columns;
        let (codes, keep) = (
            &weights.codes[first..first + shape.columns],
            &weights.keep[first..first + shape.columns],
        );
        for group in 0..shape.groups() {
            let zero = weights.zeros[row * shape.groups() + group] as u8;
            let (columns, padded) = cut.group(group);
            let fours = codes[columns.clone()]
                .chunks(QUAD)
                .zip(keep[columns.clone()].chunks(QUAD))
                .map(Some);
            let padding = (columns.len().div_ceil(UNIT) * UNIT - columns.len()) / QUAD;
            let fours = fours.chain(std::iter::repeat_n(None, padding));
            for (index, four) in fours.enumerate() {
                let quad = padded / QUAD + index;
                let (codes, keep) = four.unwrap_or_default();
                let mut places = kept(keep).map(|place| (codes[place], place as u8));
                for slot in 0..KEPT {
                    let (code, place) = places.next().unwrap_or((zero, 0));
                    let (octet, slot) = (quad / 2, quad % 2 * KEPT + slot);
                    let unit = &mut bytes[octet / OCTETS * unit_bytes(bits)..];
                    let byte = lane * QUAD + slot;
                    let (line, shift) = place_of_code(bits, octet % OCTETS);
                    unit[line * LINE + byte] |= code << shift;
                    unit[lines_of_codes(bits) * LINE + byte] |= place << (2 * (octet % OCTETS));
                }
            }
        }
    }
}
