//! What is trained is what will be stored, in every form.
#![allow(clippy::unwrap_used)]

use super::form::Form;
use super::*;
use crate::codebook::{BlockCodebook, BlockScales, Palettes};
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::model::testing::{Pair, tiny_llama};
use crate::rng::Rng;
use crate::solved::{Codes, Grid, LowRank, Method};
use crate::tensor::Matrix;

const ROWS: usize = 6;
const COLUMNS: usize = 20;

fn solved(bits: u8, grid: Grid, method: Method) -> Solved {
    let mut rng = Rng::new(2, u64::from(bits));
    let values = (0..ROWS * COLUMNS).map(|_| rng.below(1 << bits) as u8);
    Solved {
        method,
        codes: Codes {
            rows: ROWS,
            columns: COLUMNS,
            values: values.collect(),
        },
        grid,
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    }
}

/// A layer of each form.
fn forms() -> Vec<(&'static str, Solved)> {
    let mut rng = Rng::new(7, 0);
    let mut uniform = |count: usize, dtype: ScaleDtype| -> Vec<f32> {
        (0..count)
            .map(|_| dtype.snap(0.1 + 0.2 * rng.uniform() as f32))
            .collect()
    };
    let affine = |symmetric, scale_dtype| {
        let config = GridConfig {
            bits: 3,
            group: 8,
            symmetric,
            scale_dtype,
        };
        AffineGrid::neutral(config, ROWS, COLUMNS)
    };
    let (mut whole, mut fractional) = (
        affine(true, ScaleDtype::F16),
        affine(false, ScaleDtype::BF16),
    );
    whole.scales = uniform(ROWS * 3, ScaleDtype::F16);
    fractional.scales = uniform(ROWS * 3, ScaleDtype::BF16);
    fractional.zeros = uniform(ROWS * 3, ScaleDtype::BF16);
    fractional.fractional_zeros = true;
    let blocks = |scales| {
        Grid::Codebook(BlockCodebook {
            rows: ROWS,
            columns: COLUMNS,
            block: 8,
            scales,
        })
    };
    let plain = BlockScales::Plain(uniform(ROWS * 3, ScaleDtype::F32));
    let double = BlockScales::double(&uniform(ROWS * 3, ScaleDtype::F32));
    let mut levels = uniform(3 * 4, ScaleDtype::F16);
    levels
        .chunks_mut(4)
        .for_each(|palette| palette.sort_by(f32::total_cmp));
    let palettes = Grid::Palette(Palettes {
        rows: ROWS,
        columns: COLUMNS,
        bits: 2,
        rows_per_palette: 2,
        level_dtype: ScaleDtype::F16,
        levels,
    });
    vec![
        ("whole zeros", solved(3, Grid::Affine(whole), Method::Gptq)),
        (
            "fractional zeros",
            solved(3, Grid::Affine(fractional), Method::Hqq),
        ),
        ("NF4", solved(4, blocks(plain), Method::Nf4)),
        ("NF4, double", solved(4, blocks(double), Method::Nf4)),
        ("palettes", solved(2, palettes, Method::Palette)),
    ]
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    let pairs = left.iter().zip(right);
    pairs
        .map(|(left, right)| (left - right).abs())
        .fold(0.0, f32::max)
}

#[test]
fn nothing_moved_is_nothing_changed_and_what_moves_is_what_is_stored() {
    for (label, solved) in forms() {
        let form = Form::new(solved.clone()).unwrap().unwrap();
        let vars = |spread: f32| -> Vec<Var> {
            let shapes = form.variables();
            let vars = shapes.iter().enumerate().map(|(index, (_, shape))| {
                let mut rng = Rng::new(9, index as u64);
                let values = (0..shape.0 * shape.1).map(|_| spread * rng.normal() as f32);
                variable(values.collect(), *shape).unwrap()
            });
            vars.collect()
        };
        for spread in [0.0, 0.3] {
            let vars = vars(spread);
            let shown = values_of(&form.weights(&vars).unwrap()).unwrap();
            let values: Vec<_> = vars.iter().map(|var| values_of(var).unwrap()).collect();
            let kept = form.solved(&values).unwrap();
            let error = largest_difference(&shown, kept.dequantize().data());
            assert!(error <= 1e-7, "{label}, moved by {spread}: {error}");
            let moved = largest_difference(&shown, solved.dequantize().data());
            // Scales that were quantized twice move a little when they are quantized again.
            assert_eq!(moved > 0.02, spread > 0.0, "{label}: moved by {moved}");
        }
    }
}

#[test]
fn every_layer_with_codes_is_learnt_and_shown_as_the_network_wants_it() {
    let pair = Pair::new(&tiny_llama(), ActivationPlan::NONE);
    let options = ScaleOptions { norms: true };
    let learner = ScaleLearner::new(&pair.model, &pair.codes, options).unwrap();
    assert_eq!(learner.layers().unwrap().len(), pair.codes.0.len());
    assert_eq!(learner.changed_tensors().unwrap().len(), 5);
    for info in pair.model.layers() {
        let shown = learner.tensor(&info.tensor, &info.shape).unwrap();
        let dense = pair.model.source().read_f32(&info.tensor).unwrap();
        assert_eq!(values_of(&shown).unwrap(), dense, "{}", info.tensor);
    }
    for layer in learner.layers().unwrap() {
        let name = &pair.model.layers()[layer.layer].tensor;
        assert_eq!(layer.solved, pair.codes.0[name].0, "{name}");
    }
}

#[test]
fn factors_are_added_and_stay() {
    let mut pair = Pair::new(&tiny_llama(), ActivationPlan::NONE);
    let (name, (stored, _)) = pair.codes.0.iter_mut().next().unwrap();
    let (rows, columns) = (stored.codes.rows, stored.codes.columns);
    stored.factors = Some(LowRank {
        outer: Matrix::from_fn(rows, 1, |row, _| row as f32),
        inner: Matrix::from_fn(1, columns, |_, column| column as f32),
        dtype: ScaleDtype::F16,
    });
    let expected = stored.dequantize();
    let name = name.clone();
    let learner = ScaleLearner::new(&pair.model, &pair.codes, ScaleOptions::default()).unwrap();
    let shown = learner.tensor(&name, &[rows, columns]).unwrap();
    let error = largest_difference(&values_of(&shown).unwrap(), expected.data());
    assert!(error <= 1e-4, "{name}: {error}");
}
