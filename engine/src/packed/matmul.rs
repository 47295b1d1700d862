//! Products with packed layers through the kernels.
//!
//! Panels pad every group to whole units; a matrix of such short groups that its panels would outgrow plain floats (act-order
//! of gptq, read as groups of one column) is held as floats, and rounded inputs are multiplied as what they stand for.
//! Knows no models: a linear layer holds a `PackedMatrix` and a plan.

use super::ActivationPlan;
use crate::codebook::{BlockCodebook, NF4_LEVELS};
use crate::grid::AffineGrid;
use crate::kernels::integer::{
    ActivationBits, ActivationScale, Activations, PanelShape, Panels, multiply_float,
    multiply_integer,
};
use crate::kernels::{LevelPanels, LevelShape, Operand, Threads, gemm, multiply_levels};
use crate::settings;
use crate::solved::{Codes, Grid, Solved};
use crate::tensor::Matrix;

/// Weights that stay packed while they multiply.
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    weights: Weights,
}

#[derive(Debug, Clone)]
enum Weights {
    Panels(Panels),
    Levels(LevelPanels),
    /// With the columns of a group, at whose ends blocks of inputs end too.
    Floats(Matrix, usize),
}

/// An input that matrices of one layout share, quantized once.
#[derive(Debug, Clone)]
pub struct PreparedInput<'a> {
    tokens: usize,
    kind: InputKind<'a>,
}

#[derive(Debug, Clone)]
enum InputKind<'a> {
    Float(&'a [f32]),
    Integer(Activations),
    /// What rounded inputs stand for.
    Rounded(Vec<f32>),
}

impl PackedMatrix {
    /// Packs a solved layer, of any bits; 7 take the room of 8.
    pub fn new(solved: &Solved) -> Self {
        let is_plain = solved.mask.is_none() && solved.factors.is_none();
        let weights = match &solved.grid {
            _ if !is_plain => Weights::Floats(solved.dequantize(), 0),
            Grid::Palette(_) | Grid::Floats(_) | Grid::Nothing => {
                Weights::Floats(solved.dequantize(), 0)
            }
            Grid::Affine(grid) => affine(solved, grid),
            Grid::Codebook(codebook) => Weights::Levels(levels(&solved.codes, codebook)),
        };
        Self { weights }
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        match &self.weights {
            Weights::Panels(panels) => panels.shape().rows,
            Weights::Levels(panels) => panels.shape().rows,
            Weights::Floats(matrix, _) => matrix.rows(),
        }
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        match &self.weights {
            Weights::Panels(panels) => panels.shape().columns,
            Weights::Levels(panels) => panels.shape().columns,
            Weights::Floats(matrix, _) => matrix.columns(),
        }
    }

    /// Bytes that a product reads.
    pub fn size_bytes(&self) -> usize {
        match &self.weights {
            Weights::Panels(panels) => panels.size_bytes(),
            Weights::Levels(panels) => panels.size_bytes(),
            Weights::Floats(matrix, _) => size_of_val(matrix.data()),
        }
    }

    /// `input` `[tokens, columns]` as this matrix takes it. Other matrices that `share_inputs` with it take it too.
    /// Inputs of codebooks stay as they are, whatever the plan.
    pub fn prepare<'a>(
        &self,
        input: &'a [f32],
        tokens: usize,
        plan: &ActivationPlan,
    ) -> PreparedInput<'a> {
        let quantize = |layout: &PanelShape, scale| {
            Activations::quantize(input, tokens, layout, scale, ActivationBits::Eight)
        };
        let kind = match (&self.weights, scale_of(plan)) {
            (Weights::Panels(panels), Some(scale)) => {
                InputKind::Integer(quantize(panels.shape(), scale))
            }
            (Weights::Floats(matrix, group), Some(scale)) => {
                let layout = PanelShape {
                    rows: 1,
                    columns: matrix.columns(),
                    bits: 8,
                    group: match scale {
                        ActivationScale::PerBlock(_) => *group,
                        ActivationScale::PerToken | ActivationScale::Static(_) => 0,
                    },
                };
                InputKind::Rounded(quantize(&layout, scale).dequantize())
            }
            _ => InputKind::Float(input),
        };
        PreparedInput { tokens, kind }
    }

    /// Whether an input that was prepared for one matrix and plan serves the other.
    pub fn share_inputs(one: (&Self, &ActivationPlan), other: (&Self, &ActivationPlan)) -> bool {
        let layout = |matrix: &Self| match &matrix.weights {
            Weights::Panels(panels) => {
                let shape = panels.shape();
                Some((true, shape.columns, shape.group))
            }
            Weights::Levels(_) => None,
            Weights::Floats(matrix, group) => Some((false, matrix.columns(), *group)),
        };
        let scales = (scale_of(one.1), scale_of(other.1));
        scales == (None, None) || (scales.0 == scales.1 && layout(one.0) == layout(other.0))
    }

    /// `[tokens, rows]` of a prepared input, in the caller's rayon pool.
    pub fn multiply_prepared(&self, input: &PreparedInput<'_>) -> Vec<f32> {
        let tokens = input.tokens;
        let mut output = vec![0.0; tokens * self.rows()];
        match (&self.weights, &input.kind) {
            (Weights::Panels(panels), InputKind::Integer(activations)) => {
                multiply_integer(&mut output, activations, panels);
            }
            (Weights::Panels(panels), InputKind::Float(input)) => {
                multiply_float(&mut output, input, tokens, panels);
            }
            (Weights::Levels(panels), InputKind::Float(input)) => {
                multiply_levels(&mut output, input, tokens, panels);
            }
            (Weights::Floats(matrix, _), InputKind::Float(input)) => {
                multiply_dense(&mut output, input, tokens, matrix);
            }
            (Weights::Floats(matrix, _), InputKind::Rounded(input)) => {
                multiply_dense(&mut output, input, tokens, matrix);
            }
            (Weights::Panels(_), InputKind::Rounded(_))
            | (Weights::Levels(_), InputKind::Integer(_) | InputKind::Rounded(_))
            | (Weights::Floats(..), InputKind::Integer(_)) => {
                unreachable!("inputs are shared only where `share_inputs` allows it")
            }
        }
        output
    }

    /// `[tokens, rows]` of `input` `[tokens, columns]`.
    pub fn multiply(&self, input: &[f32], tokens: usize, plan: &ActivationPlan) -> Vec<f32> {
        self.multiply_prepared(&self.prepare(input, tokens, plan))
    }

    /// The weights, equal to `Solved::dequantize`.
    pub fn dequantize(&self) -> Matrix {
        let panels = match &self.weights {
            Weights::Panels(panels) => panels,
            Weights::Levels(panels) => return dequantized_levels(panels),
            Weights::Floats(matrix, _) => return matrix.clone(),
        };
        let (codes, scales, zeros) = panels.unpack();
        let shape = panels.shape();
        let (groups, size) = (shape.groups(), group_size(shape));
        let weights = codes.iter().enumerate().map(|(index, &code)| {
            let (row, column) = (index / shape.columns, index % shape.columns);
            let group = row * groups + column / size;
            scales[group] * (f32::from(code) - zeros[group])
        });
        Matrix::new(shape.rows, shape.columns, weights.collect())
    }
}

/// Products of one input with several matrices (queries, keys and values; gate and up): it is prepared once for all
/// that can share it.
pub fn multiply_all(
    matrices: &[(&PackedMatrix, &ActivationPlan)],
    input: &[f32],
    tokens: usize,
) -> Vec<Vec<f32>> {
    let mut prepared: Vec<(usize, PreparedInput<'_>)> = Vec::new();
    let mut outputs = Vec::with_capacity(matrices.len());
    for (index, &(matrix, plan)) in matrices.iter().enumerate() {
        let known = prepared
            .iter()
            .position(|&(first, _)| PackedMatrix::share_inputs(matrices[first], (matrix, plan)));
        let known = known.unwrap_or_else(|| {
            prepared.push((index, matrix.prepare(input, tokens, plan)));
            prepared.len() - 1
        });
        outputs.push(matrix.multiply_prepared(&prepared[known].1));
    }
    outputs
}

/// How kernels scale activations; `None`: not at all. Static steps that calibration did not fix are dynamic.
fn scale_of(plan: &ActivationPlan) -> Option<ActivationScale> {
    let dynamic = match plan.block {
        0 => ActivationScale::PerToken,
        block => ActivationScale::PerBlock(block),
    };
    match plan.mode {
        settings::Activations::None => None,
        settings::Activations::Dynamic8 => Some(dynamic),
        settings::Activations::Static8 => {
            Some(plan.static_step.map_or(dynamic, ActivationScale::Static))
        }
    }
}

fn group_size(shape: &PanelShape) -> usize {
    match shape.group {
        0 => shape.columns.max(1),
        group => group,
    }
}

/// Panels, or floats where those take less.
fn affine(solved: &Solved, grid: &AffineGrid) -> Weights {
    let (codes, columns) = (&solved.codes, solved.codes.columns);
    let bits = match grid.config.bits {
        7 => 8,
        bits => bits,
    };
    let shape = PanelShape {
        rows: codes.rows,
        columns: codes.columns,
        bits,
        group: grid.config.group,
    };
    if shape.most_row_bytes() > columns * size_of::<f32>() && grid.groups().count() > 1 {
        return Weights::Floats(solved.dequantize(), shape.group);
    }
    let panels = Panels::pack(shape, &codes.values, &grid.scales, &grid.zeros);
    Weights::Panels(panels)
}

fn multiply_dense(output: &mut [f32], input: &[f32], tokens: usize, weights: &Matrix) {
    let (rows, columns) = (weights.rows(), weights.columns());
    let operands = (
        Operand::new(input, columns),
        Operand::transposed(weights.data(), columns),
    );
    let shape = [tokens, rows, columns];
    gemm(output, rows, shape, operands, (1.0, 0.0), Threads::Pool);
}

fn levels(codes: &Codes, codebook: &BlockCodebook) -> LevelPanels {
    let shape = LevelShape {
        rows: codes.rows,
        columns: codes.columns,
        block: codebook.block,
    };
    let blocks = codebook.rows * codebook.blocks_per_row();
    let scales: Vec<f32> = (0..blocks).map(|index| codebook.scale(index)).collect();
    LevelPanels::pack(shape, &NF4_LEVELS, &codes.values, &scales)
}

fn dequantized_levels(panels: &LevelPanels) -> Matrix {
    let LevelShape { rows, columns, .. } = panels.shape();
    let mut matrix = Matrix::zeros(rows, columns);
    for (row, output) in matrix.data_mut().chunks_mut(columns.max(1)).enumerate() {
        panels.dequantize_row(row, output);
    }
    matrix
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codebook::BlockScales;
    use crate::grid::{GridConfig, ScaleDtype};
    use crate::rng::Rng;
    use crate::solved::Method;

    fn solved(bits: u8, group: usize, rows: usize, columns: usize) -> Solved {
        let mut rng = Rng::new(1, u64::from(bits));
        let config = GridConfig {
            bits,
            group,
            symmetric: false,
            scale_dtype: ScaleDtype::F16,
        };
        let mut grid = AffineGrid::neutral(config, rows, columns);
        for (scale, zero) in grid.scales.iter_mut().zip(&mut grid.zeros) {
            *scale = ScaleDtype::F16.snap_scale(0.01 + rng.normal().abs() as f32);
            *zero = rng.below(1 << bits) as f32;
        }
        Solved {
            method: Method::Rtn,
            codes: Codes {
                rows,
                columns,
                values: (0..rows * columns)
                    .map(|_| rng.below(1 << bits) as u8)
                    .collect(),
            },
            grid: Grid::Affine(grid),
            mask: None,
            factors: None,
            loss: None,
            warnings: Vec::new(),
        }
    }

    fn solved_nf4(rows: usize, columns: usize) -> Solved {
        let block = 64;
        let scales = (0..rows * columns.div_ceil(block)).map(|index| (index + 1) as f32 / 16.0);
        Solved {
            grid: Grid::Codebook(BlockCodebook {
                rows,
                columns,
                block,
                scales: BlockScales::double(&scales.collect::<Vec<f32>>()),
            }),
            ..solved(4, 64, rows, columns)
        }
    }

    const DYNAMIC: ActivationPlan = ActivationPlan {
        mode: settings::Activations::Dynamic8,
        block: 0,
        static_step: None,
    };

    #[test]
    fn groups_too_short_for_panels_take_no_more_than_floats() {
        let (rows, columns, tokens) = (20, 96, 3);
        let short = solved(4, 1, rows, columns);
        let matrix = PackedMatrix::new(&short);
        assert_eq!(matrix.size_bytes(), 4 * rows * columns);
        assert_eq!(matrix.dequantize(), short.dequantize());
        let mut rng = Rng::new(3, 0);
        let input: Vec<f32> = (0..tokens * columns).map(|_| rng.normal() as f32).collect();
        // The same weights as panels: rounded inputs must mean the same in both forms.
        let one_step = solved(8, 0, columns, columns);
        let prepared = matrix.prepare(&input, tokens, &DYNAMIC);
        let InputKind::Rounded(rounded) = &prepared.kind else {
            panic!("inputs are rounded: {:?}", prepared.kind);
        };
        let found = PackedMatrix::new(&one_step).multiply(&input, tokens, &DYNAMIC);
        let mut expected = vec![0.0; tokens * columns];
        multiply_dense(&mut expected, rounded, tokens, &one_step.dequantize());
        let largest = expected.iter().map(|value| value.abs()).fold(0.0, f32::max);
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() <= 1e-4 * largest,
                "expected {expected}, found {found}"
            );
        }
        let either = PackedMatrix::share_inputs(
            (&matrix, &DYNAMIC),
            (&PackedMatrix::new(&one_step), &DYNAMIC),
        );
        assert!(!either, "floats and panels take inputs in different forms");
    }

    #[test]
    fn weights_come_back_as_they_were_solved() {
        let grids = (2..=8).map(|bits| solved(bits, 32, 19, 70));
        for solved in grids.chain([solved_nf4(19, 70)]) {
            let matrix = PackedMatrix::new(&solved);
            assert_eq!(
                matrix.dequantize(),
                solved.dequantize(),
                "{:?}",
                solved.grid
            );
            assert_eq!((matrix.rows(), matrix.columns()), (19, 70));
            assert!(matrix.size_bytes() > 0);
        }
    }

    #[test]
    fn products_are_near_those_of_the_dense_weights() {
        let mut rng = Rng::new(3, 0);
        let input: Vec<f32> = (0..2 * 70).map(|_| rng.normal() as f32).collect();
        let grids = (2..=8).map(|bits| solved(bits, 32, 19, 70));
        for solved in grids.chain([solved_nf4(19, 70)]) {
            let matrix = PackedMatrix::new(&solved);
            let mut expected = vec![0.0; 2 * 19];
            multiply_dense(&mut expected, &input, 2, &solved.dequantize());
            let norm = expected.iter().map(|value| value * value).sum::<f32>();
            for (plan, share) in [(ActivationPlan::NONE, 1e-8), (DYNAMIC, 1e-3)] {
                let found = matrix.multiply(&input, 2, &plan);
                let error = found.iter().zip(&expected);
                let error = error
                    .map(|(found, expected)| (found - expected).powi(2))
                    .sum::<f32>();
                assert!(
                    error <= share * norm,
                    "{:?}, {plan:?}: {error} of {norm}",
                    solved.grid
                );
            }
        }
    }

    #[test]
    fn one_input_serves_several_matrices() {
        let mut rng = Rng::new(4, 0);
        let input: Vec<f32> = (0..3 * 70).map(|_| rng.normal() as f32).collect();
        let matrices = [(4, 32), (8, 32), (4, 64), (3, 0)]
            .map(|(bits, group)| PackedMatrix::new(&solved(bits, group, 9, 70)));
        let plans = [DYNAMIC, DYNAMIC, ActivationPlan::NONE, DYNAMIC];
        let pairs: Vec<_> = matrices.iter().zip(&plans).collect();
        let found = multiply_all(&pairs, &input, 3);
        for ((matrix, plan), found) in pairs.iter().zip(found) {
            assert_eq!(found, matrix.multiply(&input, 3, plan));
        }
    }
}
