//! The forms of packed weights that cases multiply, and the zeros of those that have some.

use crate::kernels::integer::{
    Activations, BlockPanels, MaskedCodes, PanelShape, Panels, SparsePanels, multiply_blocks,
    multiply_integer, multiply_sparse,
};
use crate::rng::Rng;

/// Which weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zeros {
    /// All.
    None,
    /// Two of every four, at random.
    TwoOfFour,
    /// Blocks of four columns, so many of a hundred, at random.
    Blocks(u64),
}

/// Codes, scales and zeros before they are packed.
#[derive(Default)]
pub(super) struct Codes {
    pub(super) codes: Vec<u8>,
    pub(super) scales: Vec<f32>,
    pub(super) zeros: Vec<f32>,
    /// Empty where all are kept.
    pub(super) keep: Vec<bool>,
}

/// Weights as kernels read them.
#[derive(Clone)]
pub(super) enum Packed {
    Dense(Panels),
    Sparse(SparsePanels),
    Blocks(BlockPanels),
}

impl Codes {
    /// Random codes of one shape. Zeros of what is not dense are in the middle: what kernels of kept codes hold exactly
    /// with any bits.
    pub(super) fn random(shape: PanelShape, zeros: Zeros) -> Self {
        let PanelShape {
            rows,
            columns,
            bits,
            ..
        } = shape;
        let mut rng = Rng::new(0, 1);
        let mask = ((1u16 << bits) - 1) as u8;
        let codes: Vec<u8> = (0..99_991).map(|_| rng.next_u64() as u8 & mask).collect();
        let count = rows * shape.groups();
        let odd = |index: usize| match zeros {
            Zeros::None => (index % 2) as u16,
            Zeros::TwoOfFour | Zeros::Blocks(_) => 0,
        };
        Self {
            codes: codes.into_iter().cycle().take(rows * columns).collect(),
            scales: (0..count)
                .map(|index| (index % 7 + 1) as f32 / 512.0)
                .collect(),
            zeros: (0..count)
                .map(|index| ((1u16 << (bits - 1)) - odd(index)).into())
                .collect(),
            keep: keep(&mut rng, rows, columns, zeros),
        }
    }

    /// As the kernels of `zeros` take them.
    pub(super) fn pack(&self, shape: PanelShape, zeros: Zeros) -> Packed {
        let held = "two of four, or whole blocks, with zeros in the middle are held exactly";
        match zeros {
            Zeros::None => {
                Packed::Dense(Panels::pack(shape, &self.codes, &self.scales, &self.zeros))
            }
            Zeros::TwoOfFour => {
                Packed::Sparse(SparsePanels::pack(&self.masked(shape)).expect(held))
            }
            Zeros::Blocks(_) => Packed::Blocks(BlockPanels::pack(&self.masked(shape)).expect(held)),
        }
    }

    /// Some rows with their mask.
    pub(super) fn masked(&self, shape: PanelShape) -> MaskedCodes<'_> {
        MaskedCodes {
            shape,
            codes: &self.codes,
            scales: &self.scales,
            zeros: &self.zeros,
            keep: &self.keep,
        }
    }

    /// One row alone.
    pub(super) fn row(&self, shape: PanelShape, row: usize) -> Self {
        let (columns, groups) = (shape.columns, shape.groups());
        let weights = row * columns..(row + 1) * columns;
        let steps = row * groups..(row + 1) * groups;
        Self {
            codes: self.codes[weights.clone()].to_vec(),
            scales: self.scales[steps.clone()].to_vec(),
            zeros: self.zeros[steps].to_vec(),
            keep: self.keep.get(weights).unwrap_or_default().to_vec(),
        }
    }
}

impl Packed {
    pub(super) fn size_bytes(&self) -> usize {
        match self {
            Self::Dense(panels) => panels.size_bytes(),
            Self::Sparse(panels) => panels.size_bytes(),
            Self::Blocks(panels) => panels.size_bytes(),
        }
    }

    pub(super) fn multiply(&self, output: &mut [f32], activations: &Activations) {
        match self {
            Self::Dense(panels) => multiply_integer(output, activations, panels),
            Self::Sparse(panels) => multiply_sparse(output, activations, panels),
            Self::Blocks(panels) => multiply_blocks(output, activations, panels),
        }
    }
}

fn keep(rng: &mut Rng, rows: usize, columns: usize, zeros: Zeros) -> Vec<bool> {
    const FOUR: usize = 4;
    if zeros == Zeros::None {
        return Vec::new();
    }
    let mut keep = vec![false; rows * columns];
    for row in keep.chunks_mut(columns.max(1)) {
        for four in row.chunks_mut(FOUR) {
            match zeros {
                Zeros::Blocks(share) => four.fill(rng.below(100) < share),
                Zeros::None | Zeros::TwoOfFour => {
                    let one = rng.below(FOUR as u64) as usize;
                    let other = (one + 1 + rng.below(FOUR as u64 - 1) as usize) % FOUR;
                    for place in [one, other] {
                        if let Some(keep) = four.get_mut(place) {
                            *keep = true;
                        }
                    }
                }
            }
        }
    }
    keep
}
