//! Packed layers against their dense weights.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::codebook::BlockScales;
use crate::codebook::{BlockCodebook, Palettes};
use crate::grid::AffineGrid;
use crate::grid::{GridConfig, ScaleDtype};
use crate::mask::{Mask, SparsityPattern};
use crate::rng::Rng;
use crate::solved::{Codes, Floats, Grid, LowRank, Method};
use crate::tensor::Dtype;

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

/// `of` weights of which `kept` stay, at places that differ from row to row.
fn mask(rows: usize, columns: usize, kept: u8, of: u8) -> Mask {
    let keep = (0..rows * columns).map(|index| {
        let (row, column) = (index / columns, index % columns);
        (column * 3 + row + column / usize::from(of)) % usize::from(of) < usize::from(kept)
    });
    Mask {
        pattern: SparsityPattern::NOfM { kept, of },
        columns,
        keep: keep.collect(),
    }
}

/// Keeps one of eight blocks of four columns.
fn eighth_of_blocks(mut solved: Solved) -> Solved {
    let columns = solved.codes.columns;
    if let Grid::Affine(grid) = &mut solved.grid {
        grid.zeros.fill(grid.config.middle());
    }
    let keep = (0..solved.codes.values.len()).map(|index| {
        let (row, column) = (index / columns, index % columns);
        (column / 4 + row).is_multiple_of(8)
    });
    solved.mask = Some(Mask {
        pattern: SparsityPattern::Block { width: 4 },
        columns,
        keep: keep.collect(),
    });
    solved
}

fn factors(rows: usize, columns: usize) -> LowRank {
    let value = |row: usize, column: usize| ((row * 5 + column * 3) % 7) as f32 / 8.0 - 0.375;
    LowRank {
        outer: Matrix::from_fn(rows, 3, value),
        inner: Matrix::from_fn(3, columns, value),
        dtype: ScaleDtype::F16,
    }
}

fn palette(bits: u8, rows_per_palette: usize, rows: usize, columns: usize) -> Solved {
    let size = 1usize << bits;
    let count = Palettes::count(rows, rows_per_palette);
    let levels = (0..count * size).map(|index| {
        let (palette, level) = (index / size, index % size);
        (level as f32 - (size / 2) as f32) * (palette + 1) as f32 / 16.0
    });
    Solved {
        method: Method::Palette,
        grid: Grid::Palette(Palettes {
            rows,
            columns,
            bits,
            rows_per_palette,
            level_dtype: ScaleDtype::F16,
            levels: levels.collect(),
        }),
        ..solved(bits, 0, rows, columns)
    }
}

/// One of every form, each with and without mask and factors.
fn every_form() -> Vec<Solved> {
    let (rows, columns) = (19, 72);
    let mut plain: Vec<Solved> = (2..=8)
        .map(|bits| solved(bits, 32, rows, columns))
        .collect();
    plain.push(solved_nf4(rows, columns));
    for (bits, shared) in [(2, 0), (4, 16), (4, 5), (8, 0)] {
        plain.push(palette(bits, shared, rows, columns));
    }
    let mut symmetric = solved(8, 32, rows, columns);
    let mut fractional = solved(4, 32, rows, columns);
    for (solved, zero) in [(&mut symmetric, 128.0), (&mut fractional, 7.25)] {
        let Grid::Affine(grid) = &mut solved.grid else {
            panic!("made with an affine grid");
        };
        grid.zeros.fill(zero);
    }
    plain.extend([symmetric, fractional]);
    for (grid, method) in [
        (Grid::Nothing, Method::Float),
        (
            Grid::Floats(Floats {
                dtype: Dtype::BF16,
                values: (0..rows * columns)
                    .map(|index| (index % 13) as f32 - 6.0)
                    .collect(),
            }),
            Method::Float,
        ),
    ] {
        let mut floats = solved(8, 0, rows, columns);
        (floats.grid, floats.method) = (grid, method);
        floats.codes.values.clear();
        plain.push(floats);
    }
    plain.push(eighth_of_blocks(solved(8, 32, rows, columns)));
    plain.push(eighth_of_blocks(solved(4, 0, rows, columns)));
    let masks = [None, Some((2, 4)), Some((4, 8)), Some((1, 2))];
    let mut all = Vec::new();
    for solved in plain {
        for kept in masks {
            for factored in [false, true] {
                all.push(Solved {
                    mask: kept.map_or(solved.mask.clone(), |(kept, of)| {
                        Some(mask(rows, columns, kept, of))
                    }),
                    factors: factored.then(|| factors(rows, columns)),
                    ..solved.clone()
                });
            }
        }
    }
    all
}

fn multiply_dense(output: &mut [f32], input: &[f32], tokens: usize, weights: &Matrix) {
    crate::kernels::matvec_f32(output, input, tokens, weights.data());
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
    for solved in every_form() {
        let matrix = PackedMatrix::new(&solved);
        let (found, expected) = (matrix.dequantize(), solved.dequantize());
        assert!(found == expected, "{:?}, {:?}", solved.grid, solved.mask);
        assert_eq!((matrix.rows(), matrix.columns()), (19, 72));
    }
}

#[test]
fn products_are_near_those_of_the_dense_weights() {
    let mut rng = Rng::new(3, 0);
    let input: Vec<f32> = (0..2 * 72).map(|_| rng.normal() as f32).collect();
    for solved in every_form() {
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
                "{:?}, {:?}, {plan:?}: {error} of {norm}",
                solved.grid,
                solved.mask
            );
        }
    }
}

#[test]
fn layers_take_the_form_that_suits_them() {
    let (rows, columns) = (32, 256);
    let masked = |solved: Solved, kept, of| Solved {
        mask: Some(mask(rows, columns, kept, of)),
        ..solved
    };
    let mut eight = solved(8, 0, rows, columns);
    if let Grid::Affine(grid) = &mut eight.grid {
        grid.zeros.fill(128.0);
    }
    let four = || solved(4, 64, rows, columns);
    let mut nothing = four();
    nothing.grid = Grid::Nothing;
    for (solved, most_bits) in [
        (eight.clone(), 8.1),
        (masked(eight.clone(), 2, 4), 5.1),
        (masked(eight, 4, 8), 8.1),
        (four(), 4.5),
        (masked(four(), 2, 4), 3.5),
        (eighth_of_blocks(solved(8, 0, rows, columns)), 1.9),
        (eighth_of_blocks(four()), 4.6),
        (palette(4, 16, rows, columns), 4.3),
        (masked(palette(3, 0, rows, columns), 2, 4), 4.3),
        (nothing, 0.0),
    ] {
        let bytes = PackedMatrix::new(&solved).size_bytes();
        let bits = bytes as f32 * 8.0 / (rows * columns) as f32;
        assert!(
            bits <= most_bits,
            "{bits} of {most_bits} bits: {:?}",
            solved.method
        );
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
