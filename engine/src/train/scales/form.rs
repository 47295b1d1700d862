//! What gives frozen codes their meaning, as a function of few variables.

use crate::codebook::{BlockScales, Palettes};
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::mask::Mask;
use crate::solved::{Codes, Grid, Solved};
use crate::train::fake::{block_weights, grid_weights, palette_weights};
use crate::train::stored::{Stored, as_stored};
use crate::train::values::{constant, values_of};
use candle_core::{Result, Tensor, Var};
use std::sync::Arc;

/// A solved layer, cut into what stays and what is learnt.
pub(super) struct Form {
    /// All but the codes.
    solved: Solved,
    codes: Arc<Codes>,
    mask: Option<Arc<Mask>>,
    learnt: Learnt,
}

/// What is learnt, at its start.
enum Learnt {
    Scales {
        config: GridConfig,
        scales: Tensor,
        zeros: Tensor,
        fractional: bool,
    },
    Blocks {
        block: usize,
        scales: Tensor,
        double: bool,
    },
    Levels {
        levels: Tensor,
        /// Largest magnitude of each palette, over its levels.
        spread: Tensor,
        rows_per_palette: usize,
        dtype: ScaleDtype,
    },
}

impl Form {
    /// `None` where there are no scales: weights that stay floats, factors alone.
    pub(super) fn new(mut solved: Solved) -> Result<Option<Self>> {
        let rows = solved.codes.rows;
        let table = |values: &[f32]| {
            let width = values.len().checked_div(rows).unwrap_or(0);
            constant(values.to_vec(), (rows, width))
        };
        let learnt = match &solved.grid {
            Grid::Affine(grid) => Learnt::Scales {
                config: grid.config,
                scales: table(&grid.scales)?,
                zeros: table(&grid.zeros)?,
                fractional: grid.fractional_zeros,
            },
            Grid::Codebook(codebook) => {
                let count = rows * codebook.blocks_per_row();
                let scales: Vec<f32> = (0..count).map(|index| codebook.scale(index)).collect();
                Learnt::Blocks {
                    block: codebook.block,
                    scales: table(&scales)?,
                    double: matches!(codebook.scales, BlockScales::Double { .. }),
                }
            }
            Grid::Palette(palettes) => of_palettes(palettes)?,
            Grid::Floats(_) | Grid::Nothing => return Ok(None),
        };
        let nothing = Codes {
            rows,
            columns: solved.codes.columns,
            values: Vec::new(),
        };
        Ok(Some(Self {
            codes: Arc::new(std::mem::replace(&mut solved.codes, nothing)),
            mask: solved.mask.clone().map(Arc::new),
            solved,
            learnt,
        }))
    }

    /// Columns of a group of codes that multiply with rounded inputs (0 = a row); `None` = such codes never do.
    pub(super) fn integer_group(&self) -> Option<usize> {
        match &self.learnt {
            Learnt::Scales { config, .. } => Some(config.group),
            Learnt::Blocks { .. } | Learnt::Levels { .. } => None,
        }
    }

    /// Names and shapes of the variables, each of which starts at zero.
    pub(super) fn variables(&self) -> Vec<(&'static str, (usize, usize))> {
        let shape = |tensor: &Tensor| tensor.dims2().expect("made of two dimensions");
        match &self.learnt {
            Learnt::Scales {
                scales,
                zeros,
                fractional: true,
                ..
            } => vec![("scales", shape(scales)), ("zeros", shape(zeros))],
            Learnt::Scales { scales, .. } => vec![("scales", shape(scales))],
            Learnt::Blocks { scales, .. } => vec![("absmax", shape(scales))],
            Learnt::Levels { levels, .. } => vec![("levels", shape(levels))],
        }
    }

    /// The weights `[out, in]` as a function of `vars`, with what is learnt as it would be stored.
    pub(super) fn weights(&self, vars: &[Var]) -> Result<Tensor> {
        let (codes, mask) = (self.codes.clone(), self.mask.clone());
        let moved = self.moved(vars.iter().map(Var::as_tensor))?;
        match &self.learnt {
            Learnt::Scales { config, zeros, .. } => {
                let zeros = moved.get(1).unwrap_or(zeros);
                grid_weights(&moved[0], zeros, codes, *config, mask)
            }
            Learnt::Blocks { block, .. } => block_weights(&moved[0], codes, *block, mask),
            Learnt::Levels {
                rows_per_palette, ..
            } => palette_weights(&moved[0], codes, *rows_per_palette, mask),
        }
    }

    /// Scales, zeros or levels where the variables are these, as they will be read back.
    fn moved<'a>(&self, vars: impl Iterator<Item = &'a Tensor>) -> Result<Vec<Tensor>> {
        let exact = self.exact(vars)?.into_iter().zip(self.storage());
        let moved = exact.map(|(values, how)| match how {
            Some(how) => as_stored(&values, how),
            None => Ok(values),
        });
        moved.collect()
    }

    /// How each variable's values are stored; `None` = as they are.
    fn storage(&self) -> Vec<Option<Stored>> {
        match &self.learnt {
            Learnt::Scales { config, .. } => vec![
                Some(Stored::Scale(config.scale_dtype)),
                Some(Stored::Value(config.scale_dtype)),
            ],
            Learnt::Blocks { double, .. } => vec![double.then_some(Stored::DoubleQuantized)],
            Learnt::Levels { dtype, .. } => vec![Some(Stored::Value(*dtype))],
        }
    }

    /// The same before they are stored.
    fn exact<'a>(&self, vars: impl Iterator<Item = &'a Tensor>) -> Result<Vec<Tensor>> {
        let vars: Vec<&Tensor> = vars.collect();
        let relative = |start: &Tensor, var: &Tensor| start + (start * var)?;
        Ok(match &self.learnt {
            Learnt::Scales {
                scales,
                zeros,
                fractional: true,
                ..
            } => vec![relative(scales, vars[0])?, (zeros + vars[1])?],
            Learnt::Scales { scales, .. } | Learnt::Blocks { scales, .. } => {
                vec![relative(scales, vars[0])?]
            }
            Learnt::Levels { levels, spread, .. } => {
                vec![(levels + spread.broadcast_mul(vars[0])?)?]
            }
        })
    }

    /// The layer where the variables hold these values.
    pub(super) fn solved(&self, values: &[Vec<f32>]) -> Result<Solved> {
        let shapes = self.variables();
        let vars = values.iter().zip(&shapes);
        let vars = vars.map(|(values, (_, shape))| constant(values.clone(), *shape));
        let vars = vars.collect::<Result<Vec<Tensor>>>()?;
        let plain = |tensors: Vec<Tensor>| -> Result<Vec<Vec<f32>>> {
            tensors.iter().map(values_of).collect()
        };
        let moved = plain(self.moved(vars.iter())?)?;
        let mut solved = self.solved.clone();
        solved.codes = self.codes.as_ref().clone();
        solved.loss = None;
        match &mut solved.grid {
            Grid::Affine(grid) => set_steps(grid, &moved),
            Grid::Codebook(codebook) => {
                codebook.scales = match codebook.scales {
                    BlockScales::Plain(_) => BlockScales::Plain(moved[0].clone()),
                    BlockScales::Double { .. } => {
                        BlockScales::double(&plain(self.exact(vars.iter())?)?[0])
                    }
                };
            }
            Grid::Palette(palettes) => sort_levels(palettes, &mut solved.codes, &moved[0]),
            Grid::Floats(_) | Grid::Nothing => {}
        }
        Ok(solved)
    }
}

fn of_palettes(palettes: &Palettes) -> Result<Learnt> {
    let size = 1 << palettes.bits;
    let count = palettes.levels.len() / size;
    let largest = palettes.levels.chunks(size).map(|levels| {
        let most = levels
            .iter()
            .fold(0.0f32, |most, level| most.max(level.abs()));
        most.max(f32::MIN_POSITIVE)
    });
    Ok(Learnt::Levels {
        levels: constant(palettes.levels.clone(), (count, size))?,
        spread: constant(largest.collect(), (count, 1))?,
        rows_per_palette: palettes.rows_per_palette,
        dtype: palettes.level_dtype,
    })
}

fn set_steps(grid: &mut AffineGrid, moved: &[Vec<f32>]) {
    grid.scales.clone_from(&moved[0]);
    if let Some(zeros) = moved.get(1) {
        grid.zeros.clone_from(zeros);
    }
}

/// Levels may have passed each other: palettes are ascending again, and codes follow.
fn sort_levels(palettes: &mut Palettes, codes: &mut Codes, levels: &[f32]) {
    let size = 1 << palettes.bits;
    let mut places = Vec::with_capacity(levels.len());
    palettes.levels.clear();
    for levels in levels.chunks(size) {
        let mut order: Vec<usize> = (0..size).collect();
        order.sort_by(|&left, &right| levels[left].total_cmp(&levels[right]));
        palettes
            .levels
            .extend(order.iter().map(|&level| levels[level]));
        let mut place = vec![0u8; size];
        for (new, &old) in order.iter().enumerate() {
            place[old] = new as u8;
        }
        places.extend(place);
    }
    let columns = codes.columns.max(1);
    for (row, codes) in codes.values.chunks_mut(columns).enumerate() {
        let palette = row.checked_div(palettes.rows_per_palette).unwrap_or(0);
        for code in codes {
            *code = places[palette * size + (usize::from(*code) & (size - 1))];
        }
    }
}
