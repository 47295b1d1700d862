//! Weights in the memory order of the kernels: panels of 16 rows, planes of bits, scales and zeros beside them.
//!
//! A panel is cut along its columns into units of 32 columns. A plane of `b` bits (1, 2, 4 or 8) of a unit is `b`
//! lines of 64 bytes; line `l` holds the eight (`8 / b`) quads `l * 8 / b + j` at bits `b * j`, and byte `4 * r + c` of
//! a line belongs to row `r` and to column `c` of the quad:
//!
//! ```text
//! unit, 4 bits:   line 0                          line 1         line 2         line 3
//!                 row 0    row 1    …   row 15    (same)
//!                 c0c1c2c3 c0c1c2c3 …   c0c1c2c3
//!                 low nibbles: quad 0             quad 2         quad 4         quad 6
//!                 high nibbles: quad 1            quad 3         quad 5         quad 7
//! 3 bits = 2 lines of the low two bits, 1 line of the high bit; 5 = 4 + 1; 6 = 4 + 2; 8 = 8 lines.
//! ```
//! So every width is read by the same few shifts and masks, a quad fills one 512-bit or two 256-bit registers with a
//! row in each 32-bit lane, and a panel is one stream of `64 * bits` bytes per unit.
//! Scales are `[panel][group][16]`, f16 where that is exact; zeros likewise, one number where all are equal.
//! Rows and columns of padding have code 0; padded rows have scale 0.

use super::aligned::{AlignedBytes, LINE};
use super::layout::{Columns, QUAD, UNIT};
use rayon::prelude::*;

/// Rows of a panel: the 32-bit lanes of the widest vector.
pub(crate) const PANEL: usize = 16;
/// Quads of a unit.
pub(crate) const QUADS: usize = UNIT / QUAD;

/// What a matrix of codes looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PanelShape {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Bits of a code: 2, 3, 4, 5, 6 or 8.
    pub bits: u8,
    /// Columns per scale, counted from the first; 0 = a row.
    pub group: usize,
}

impl PanelShape {
    /// How columns are cut.
    pub(crate) fn cut(&self) -> Columns {
        Columns::new(self.columns, self.group)
    }

    /// Columns of a whole group.
    pub(crate) fn group_columns(&self) -> usize {
        match self.group {
            0 => self.columns.max(1),
            group => group,
        }
    }

    /// Scales of one row.
    pub fn groups(&self) -> usize {
        self.cut().groups()
    }

    /// Most bytes of one row in memory: codes in whole units, scales and zeros.
    pub fn most_row_bytes(&self) -> usize {
        const GROUP_BYTES: usize = 8;
        self.cut().padded() * usize::from(self.bits) / 8 + self.groups() * GROUP_BYTES
    }

    /// Panels, the last of which may be padded.
    pub(crate) fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Bits of each plane, lowest bits first.
    pub(crate) fn planes(&self) -> &'static [u8] {
        match self.bits {
            2 => &[2],
            3 => &[2, 1],
            4 => &[4],
            5 => &[4, 1],
            6 => &[4, 2],
            8 => &[8],
            bits => unreachable!("{bits} bits are refused when panels are packed"),
        }
    }

    /// Bytes of one unit of a panel.
    pub(crate) fn unit_bytes(&self) -> usize {
        usize::from(self.bits) * LINE
    }

    /// Bytes of one panel.
    pub(crate) fn panel_bytes(&self) -> usize {
        self.cut().units() * self.unit_bytes()
    }
}

/// Scales in their narrowest exact form.
#[derive(Debug, Clone)]
pub(crate) enum Scales {
    F16(Vec<half::f16>),
    F32(Vec<f32>),
}

/// Zeros in their narrowest exact form.
#[derive(Debug, Clone)]
pub(crate) enum Zeros {
    Same(f32),
    Bytes(Vec<u8>),
    F32(Vec<f32>),
}

/// Codes, scales and zeros of a matrix as kernels read them.
#[derive(Debug, Clone)]
pub struct Panels {
    shape: PanelShape,
    codes: AlignedBytes,
    scales: Scales,
    zeros: Zeros,
}

impl Panels {
    /// Packs row-major codes, with `scales` and `zeros` `[rows, groups]`.
    ///
    /// # Panics
    /// If a slice does not fit the shape, bits are not 2, 3, 4, 5, 6 or 8, or a code does not fit its bits.
    pub fn pack(shape: PanelShape, codes: &[u8], scales: &[f32], zeros: &[f32]) -> Self {
        assert!(
            matches!(shape.bits, 2..=6 | 8),
            "panels hold 2, 3, 4, 5, 6 or 8 bits, not {}",
            shape.bits
        );
        assert_eq!(codes.len(), shape.rows * shape.columns, "codes");
        assert_eq!(scales.len(), shape.rows * shape.groups(), "scales");
        assert_eq!(zeros.len(), shape.rows * shape.groups(), "zeros");
        let largest = codes.iter().copied().max().unwrap_or(0);
        assert!(
            u16::from(largest) < 1 << shape.bits,
            "code {largest} does not fit {} bits",
            shape.bits
        );
        let mut packed = AlignedBytes::zeroed(shape.panels() * shape.panel_bytes());
        packed
            .as_mut_slice()
            .par_chunks_mut(shape.panel_bytes().max(1))
            .enumerate()
            .for_each(|(panel, bytes)| pack_panel(&shape, codes, panel, bytes));
        Self {
            shape,
            codes: packed,
            scales: Scales::narrowest(in_panels(&shape, scales)),
            zeros: Zeros::narrowest(zeros, || in_panels(&shape, zeros)),
        }
    }

    /// What was packed.
    pub fn shape(&self) -> &PanelShape {
        &self.shape
    }

    /// Bytes of codes, scales and zeros.
    pub fn size_bytes(&self) -> usize {
        self.codes.as_slice().len() + self.scales.size_bytes() + self.zeros.size_bytes()
    }

    /// Turns `pack` around: codes, scales and zeros as they were handed in.
    pub fn unpack(&self) -> (Vec<u8>, Vec<f32>, Vec<f32>) {
        let shape = &self.shape;
        let mut codes = vec![0; shape.rows * shape.columns];
        codes
            .par_chunks_mut((PANEL * shape.columns).max(1))
            .enumerate()
            .for_each(|(panel, codes)| unpack_panel(shape, self.panel(panel), codes));
        let values = |value: &dyn Fn(usize) -> f32| {
            let groups = shape.groups();
            (0..shape.rows * groups)
                .map(|index| value(index_in_panels(groups, index / groups, index % groups)))
                .collect()
        };
        let scales = values(&|index| self.scales.at(index));
        let zeros = values(&|index| self.zeros.at(index));
        (codes, scales, zeros)
    }

    /// Codes of one panel.
    pub(crate) fn panel(&self, panel: usize) -> &[u8] {
        let bytes = self.shape.panel_bytes();
        &self.codes.as_slice()[panel * bytes..(panel + 1) * bytes]
    }

    pub(crate) fn scales(&self) -> &Scales {
        &self.scales
    }

    pub(crate) fn zeros(&self) -> &Zeros {
        &self.zeros
    }
}

impl Scales {
    pub(crate) fn narrowest(values: Vec<f32>) -> Self {
        let halves: Vec<_> = values
            .iter()
            .map(|&value| half::f16::from_f32(value))
            .collect();
        let exact = |(half, value): (&half::f16, &f32)| half.to_f32() == *value;
        if halves.iter().zip(&values).all(exact) {
            Self::F16(halves)
        } else {
            Self::F32(values)
        }
    }

    /// Bytes in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::F16(values) => 2 * values.len(),
            Self::F32(values) => 4 * values.len(),
        }
    }

    /// The scale at `[panel][group][row of the panel]`.
    pub(crate) fn at(&self, index: usize) -> f32 {
        match self {
            Self::F16(values) => values[index].to_f32(),
            Self::F32(values) => values[index],
        }
    }
}

impl Zeros {
    pub(crate) fn narrowest(values: &[f32], in_panels: impl FnOnce() -> Vec<f32>) -> Self {
        let first = values.first().copied().unwrap_or(0.0);
        if values.iter().all(|&value| value == first) {
            return Self::Same(first);
        }
        if values.iter().all(|&value| f32::from(value as u8) == value) {
            return Self::Bytes(in_panels().into_iter().map(|value| value as u8).collect());
        }
        Self::F32(in_panels())
    }

    /// Bytes in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::Same(_) => 0,
            Self::Bytes(values) => values.len(),
            Self::F32(values) => 4 * values.len(),
        }
    }

    /// The zero at `[panel][group][row of the panel]`.
    pub(crate) fn at(&self, index: usize) -> f32 {
        match self {
            Self::Same(value) => *value,
            Self::Bytes(values) => f32::from(values[index]),
            Self::F32(values) => values[index],
        }
    }
}

/// Where the value of a row and group lies in `[panel][group][16]`.
pub(crate) fn index_in_panels(groups: usize, row: usize, group: usize) -> usize {
    (row / PANEL * groups + group) * PANEL + row % PANEL
}

/// `[rows, groups]` as `[panel][group][16]`, padded with 0.
pub(crate) fn in_panels(shape: &PanelShape, values: &[f32]) -> Vec<f32> {
    let groups = shape.groups();
    let mut panels = vec![0.0; shape.panels() * groups * PANEL];
    for (index, &value) in values.iter().enumerate() {
        panels[index_in_panels(groups, index / groups, index % groups)] = value;
    }
    panels
}

/// Calls `visit(row of the panel, column, byte offset of its quad's bytes in a unit, quad)` for every code of a panel.
fn for_each_code(
    shape: &PanelShape,
    panel: usize,
    mut visit: impl FnMut(usize, usize, usize, usize),
) {
    let cut = shape.cut();
    let rows = PANEL.min(shape.rows - panel * PANEL);
    for group in 0..cut.groups() {
        let (columns, padded) = cut.group(group);
        for row in 0..rows {
            for column in columns.clone() {
                let place = padded + column - columns.start;
                visit(row, column, place / UNIT, place % UNIT);
            }
        }
    }
}

/// Byte and shift, inside a unit's plane of `bits`, of a row's column.
fn place(bits: u8, row: usize, column: usize) -> (usize, u8) {
    let (quad, per_line) = (column / QUAD, usize::from(8 / bits));
    let byte = quad / per_line * LINE + row * QUAD + column % QUAD;
    (byte, (quad % per_line) as u8 * bits)
}

fn pack_panel(shape: &PanelShape, codes: &[u8], panel: usize, bytes: &mut [u8]) {
    for_each_code(shape, panel, |row, column, unit, place_in_unit| {
        let mut code = codes[(panel * PANEL + row) * shape.columns + column];
        let mut first = unit * shape.unit_bytes();
        for &bits in shape.planes() {
            let (byte, shift) = place(bits, row, place_in_unit);
            let mask = ((1u16 << bits) - 1) as u8;
            bytes[first + byte] |= (code & mask) << shift;
            code = code.checked_shr(u32::from(bits)).unwrap_or(0);
            first += usize::from(bits) * LINE;
        }
    });
}

fn unpack_panel(shape: &PanelShape, bytes: &[u8], codes: &mut [u8]) {
    let part = PanelShape {
        rows: codes.len() / shape.columns.max(1),
        ..*shape
    };
    for_each_code(&part, 0, |row, column, unit, place_in_unit| {
        let mut first = unit * shape.unit_bytes();
        let (mut code, mut low) = (0, 0);
        for &bits in shape.planes() {
            let (byte, shift) = place(bits, row, place_in_unit);
            let mask = ((1u16 << bits) - 1) as u8;
            code |= (bytes[first + byte] >> shift & mask) << low;
            low += bits;
            first += usize::from(bits) * LINE;
        }
        codes[row * shape.columns + column] = code;
    });
}
