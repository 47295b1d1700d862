//! The form that a solved layer takes in memory.
//!
//! | grid | mask | form |
//! | --- | --- | --- |
//! | affine | none | panels |
//! | affine | at most two of every four | panels of kept codes, where `code - zero` is a signed byte |
//! | affine | few blocks of four columns | rows of kept blocks, as above |
//! | affine | any other | panels whose masked codes are their zeros, where all zeros are codes |
//! | codebook, or palettes of at most 16 levels for whole panels | any | levels, where one of them is 0 or can be |
//! | anything else | any | floats |
//!
//! Panels pad every group to whole units; a matrix of such short groups that its panels would outgrow plain floats
//! (act-order of gptq, read as groups of one column) is held as floats. Knows no products.

use super::floats::FloatMatrix;
use crate::codebook::{BlockCodebook, NF4_LEVELS, Palettes};
use crate::grid::{AffineGrid, ScaleDtype};
use crate::kernels::integer::{BlockPanels, MaskedCodes, PanelShape, Panels, SparsePanels};
use crate::kernels::{LevelPanels, LevelShape, Levels};
use crate::mask::{Mask, SparsityPattern};
use crate::solved::{Grid, Solved};
use crate::tensor::{Dtype, Matrix};
use std::borrow::Cow;

/// Weights without their factors.
#[derive(Debug, Clone)]
pub(super) enum Form {
    /// Every weight has a code.
    Panels(Panels),
    /// At most two of every four have.
    Sparse(SparsePanels),
    /// Few blocks of four columns have.
    Blocks(BlockPanels),
    /// Codes name levels.
    Levels(LevelPanels),
    /// No codes.
    Floats(FloatForm),
    /// Zeros.
    Nothing { rows: usize, columns: usize },
}

/// Weights as floats.
#[derive(Debug, Clone)]
pub(super) struct FloatForm {
    pub(super) weights: FloatMatrix,
    /// Columns of a group, at whose ends blocks of inputs end too.
    pub(super) group: usize,
    /// Whether plans that round inputs mean this layer too.
    pub(super) rounds_inputs: bool,
}

impl Form {
    /// The one that takes least time and room.
    pub(super) fn of(solved: &Solved) -> Self {
        let (rows, columns) = (solved.codes.rows, solved.codes.columns);
        match &solved.grid {
            Grid::Affine(grid) => affine(solved, grid),
            Grid::Codebook(codebook) => nf4(solved, codebook),
            Grid::Palette(palettes) => palette(solved, palettes),
            Grid::Floats(floats) => {
                let dtype = match floats.dtype {
                    Dtype::F16 => ScaleDtype::F16,
                    Dtype::BF16 => ScaleDtype::BF16,
                    _ => ScaleDtype::F32,
                };
                as_floats(solved, dtype, 0, true)
            }
            Grid::Nothing => Self::Nothing { rows, columns },
        }
    }

    /// Rows and columns.
    pub(super) fn size(&self) -> [usize; 2] {
        match self {
            Self::Panels(panels) => [panels.shape().rows, panels.shape().columns],
            Self::Sparse(panels) => [panels.shape().rows, panels.shape().columns],
            Self::Blocks(panels) => [panels.shape().rows, panels.shape().columns],
            Self::Levels(panels) => [panels.shape().rows, panels.shape().columns],
            Self::Floats(floats) => floats.weights.size(),
            Self::Nothing { rows, columns } => [*rows, *columns],
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        match self {
            Self::Panels(panels) => panels.size_bytes(),
            Self::Sparse(panels) => panels.size_bytes(),
            Self::Blocks(panels) => panels.size_bytes(),
            Self::Levels(panels) => panels.size_bytes(),
            Self::Floats(floats) => floats.weights.size_bytes(),
            Self::Nothing { .. } => 0,
        }
    }

    /// How rounded inputs are cut where they are multiplied as integers.
    pub(super) fn panel_shape(&self) -> Option<&PanelShape> {
        match self {
            Self::Panels(panels) => Some(panels.shape()),
            Self::Sparse(panels) => Some(panels.shape()),
            Self::Blocks(panels) => Some(panels.shape()),
            Self::Levels(_) | Self::Floats(_) | Self::Nothing { .. } => None,
        }
    }

    /// The weights.
    pub(super) fn dequantize(&self) -> Matrix {
        let [rows, columns] = self.size();
        match self {
            Self::Panels(panels) => dequantized_panels(panels),
            Self::Blocks(panels) => by_rows(rows, columns, |row, output| {
                panels.dequantize_row(row, output);
            }),
            Self::Sparse(panels) => by_rows(rows, columns, |row, output| {
                panels.dequantize_row(row, output);
            }),
            Self::Levels(panels) => by_rows(rows, columns, |row, output| {
                panels.dequantize_row(row, output);
            }),
            Self::Floats(floats) => floats.weights.to_matrix(),
            Self::Nothing { .. } => Matrix::zeros(rows, columns),
        }
    }
}

/// How many times smaller than panels rows of blocks must be to be faster.
const BLOCKS_PAY: usize = 3;

fn affine(solved: &Solved, grid: &AffineGrid) -> Form {
    let codes = &solved.codes;
    let shape = PanelShape {
        rows: codes.rows,
        columns: codes.columns,
        bits: match grid.config.bits {
            7 => 8,
            bits => bits,
        },
        group: grid.config.group,
    };
    let too_short = shape.most_row_bytes() > codes.columns * size_of::<f32>();
    if too_short && grid.groups().count() > 1 {
        return as_floats(solved, ScaleDtype::F32, shape.group, true);
    }
    let panels = |codes: &[u8]| Form::Panels(Panels::pack(shape, codes, &grid.scales, &grid.zeros));
    let Some(mask) = &solved.mask else {
        return panels(&codes.values);
    };
    let masked = MaskedCodes {
        shape: PanelShape {
            bits: grid.config.bits,
            ..shape
        },
        codes: &codes.values,
        scales: &grid.scales,
        zeros: &grid.zeros,
        keep: &mask.keep,
    };
    if let Some(panels) = SparsePanels::pack(&masked) {
        return Form::Sparse(panels);
    }
    if matches!(mask.pattern, SparsityPattern::Block { .. })
        && let Some(blocks) = BlockPanels::pack(&masked)
        && blocks.size_bytes() * BLOCKS_PAY <= shape.most_row_bytes() * codes.rows
    {
        return Form::Blocks(blocks);
    }
    match masked.with_zeros() {
        Some(codes) => panels(&codes),
        None => as_floats(solved, ScaleDtype::F32, shape.group, true),
    }
}

fn nf4(solved: &Solved, codebook: &BlockCodebook) -> Form {
    let shape = LevelShape {
        rows: solved.codes.rows,
        columns: solved.codes.columns,
        block: codebook.block,
    };
    let blocks = codebook.rows * codebook.blocks_per_row();
    let scales: Vec<f32> = (0..blocks).map(|index| codebook.scale(index)).collect();
    let zero = NF4_LEVELS.iter().position(|&level| level == 0.0);
    let zero = zero.expect("NF4 has a level of 0") as u8;
    let codes = with_code(solved, |_| zero);
    let levels = Levels {
        values: &[NF4_LEVELS],
        rows: 0,
    };
    Form::Levels(LevelPanels::pack(shape, levels, &codes, &scales))
}

/// Columns of a block of palettes, all of which have scale 1.
const PALETTE_BLOCK: usize = 256;

fn palette(solved: &Solved, palettes: &Palettes) -> Form {
    let (rows, columns) = (solved.codes.rows, solved.codes.columns);
    let floats = || as_floats(solved, ScaleDtype::F32, 0, false);
    let size = 1usize << palettes.bits;
    let [whole, mut tables] = [
        LevelPanels::serves(palettes.rows_per_palette),
        size <= LevelPanels::MOST_LEVELS,
    ];
    tables &= whole;
    if !tables {
        return floats();
    }
    let mut values = Vec::new();
    let mut zeros = Vec::new();
    for levels in palettes.levels.chunks(size) {
        let mut table = [0.0; LevelPanels::MOST_LEVELS];
        table[..size].copy_from_slice(levels);
        zeros.push(table.iter().position(|&level| level == 0.0));
        values.push(table);
    }
    let zero_of = |row: usize| zeros[row.checked_div(palettes.rows_per_palette).unwrap_or(0)];
    if solved.mask.is_some() && !zeros.iter().all(Option::is_some) {
        return floats();
    }
    let codes = with_code(solved, |row| zero_of(row).unwrap_or(0) as u8);
    let shape = LevelShape {
        rows,
        columns,
        block: PALETTE_BLOCK,
    };
    let scales = vec![1.0; rows * shape.blocks()];
    let levels = Levels {
        values: &values,
        rows: palettes.rows_per_palette,
    };
    Form::Levels(LevelPanels::pack(shape, levels, &codes, &scales))
}

/// Codes, with that of a row's zero where the mask keeps nothing.
fn with_code(solved: &Solved, zero: impl Fn(usize) -> u8) -> Cow<'_, [u8]> {
    let codes = &solved.codes;
    match &solved.mask {
        None => Cow::Borrowed(&codes.values),
        Some(Mask { keep, .. }) => {
            let kept = codes.values.iter().zip(keep).enumerate();
            let code = |(index, (&code, &keep)): (usize, (&u8, &bool))| match keep {
                true => code,
                false => zero(index / codes.columns.max(1)),
            };
            Cow::Owned(kept.map(code).collect())
        }
    }
}

/// The weights without factors as floats.
fn as_floats(solved: &Solved, dtype: ScaleDtype, group: usize, rounds_inputs: bool) -> Form {
    let weights = match solved.factors {
        None => solved.dequantize(),
        Some(_) => {
            let base = Solved {
                factors: None,
                ..solved.clone()
            };
            base.dequantize()
        }
    };
    Form::Floats(FloatForm {
        weights: FloatMatrix::new(&weights, dtype),
        group,
        rounds_inputs,
    })
}

fn dequantized_panels(panels: &Panels) -> Matrix {
    let (codes, scales, zeros) = panels.unpack();
    let shape = panels.shape();
    let (groups, size) = (shape.groups(), shape.group_columns());
    let weights = codes.iter().enumerate().map(|(index, &code)| {
        let (row, column) = (index / shape.columns, index % shape.columns);
        let group = row * groups + column / size;
        scales[group] * (f32::from(code) - zeros[group])
    });
    Matrix::new(shape.rows, shape.columns, weights.collect())
}

fn by_rows(rows: usize, columns: usize, row: impl Fn(usize, &mut [f32])) -> Matrix {
    let mut matrix = Matrix::zeros(rows, columns);
    let outputs = matrix.data_mut().chunks_mut(columns.max(1));
    outputs
        .enumerate()
        .for_each(|(index, output)| row(index, output));
    matrix
}
