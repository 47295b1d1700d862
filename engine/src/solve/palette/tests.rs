//! Palettes against plain searches, and what must not matter.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::mask::SparsityPattern;
use crate::monitor::Unwatched;
use crate::rng::Rng;

fn random_matrix(rows: usize, columns: usize, seed: u64) -> Matrix {
    let mut rng = Rng::new(seed, 4);
    Matrix::from_fn(rows, columns, |_, _| (rng.normal() * 0.05) as f32)
}

fn config(bits: u8, rows: usize) -> PaletteConfig {
    PaletteConfig {
        bits,
        rows,
        level_dtype: ScaleDtype::F16,
    }
}

fn solve(weights: &Matrix, config: &PaletteConfig) -> Solved {
    palette(weights, None, None, config, &Unwatched).unwrap()
}

fn palettes(solved: &Solved) -> &Palettes {
    match &solved.grid {
        Grid::Palette(palettes) => palettes,
        _ => panic!("palette gives palettes"),
    }
}

fn error(weights: &Matrix, solved: &Solved, importance: &[f32]) -> f64 {
    let found = solved.dequantize();
    let pairs = weights.data().iter().zip(found.data()).enumerate();
    pairs
        .map(|(index, (a, b))| {
            f64::from(importance[index % weights.columns()]) * f64::from(a - b).powi(2)
        })
        .sum()
}

#[test]
fn every_code_is_the_nearest_of_ascending_snapped_levels() {
    let weights = random_matrix(9, 70, 1);
    for (bits, rows) in [(2, 0), (3, 1), (5, 4), (8, 0)] {
        let solved = solve(&weights, &config(bits, rows));
        let found = palettes(&solved);
        assert_eq!(found.levels.len(), Palettes::count(9, rows) << bits);
        for row in 0..9 {
            let levels = found.of_row(row);
            assert!(levels.is_sorted());
            for (column, &weight) in weights.row(row).iter().enumerate() {
                let code = usize::from(solved.codes.row(row)[column]);
                let miss = (levels[code] - weight).abs();
                for &level in levels {
                    assert_eq!(ScaleDtype::F16.snap(level), level);
                    assert!(miss <= (level - weight).abs() + 1e-9);
                }
            }
        }
    }
}

/// Lloyd's steps from many random starts do not do better.
#[test]
fn no_random_start_leads_further_down() {
    let weights = random_matrix(12, 40, 2);
    let importance: Vec<f32> = (0..40).map(|column| 0.2 + (column % 7) as f32).collect();
    let asked = PaletteConfig {
        level_dtype: ScaleDtype::F32,
        ..config(3, 0)
    };
    let solved = palette(&weights, Some(&importance), None, &asked, &Unwatched).unwrap();
    let found = error(&weights, &solved, &importance);
    let mut rng = Rng::new(3, 0);
    for _ in 0..50 {
        let any = |rng: &mut Rng| weights.data()[rng.below(480) as usize];
        let mut levels: Vec<f32> = (0..8).map(|_| any(&mut rng)).collect();
        let sample = Sample {
            weights: &weights,
            importance: Some(&importance),
            mask: None,
            rows: 0..12,
        };
        let mut least = f64::INFINITY;
        for _ in 0..40 {
            levels.sort_by(f32::total_cmp);
            let (error, shares) = sample.assign(&levels);
            least = least.min(error);
            for (level, share) in levels.iter_mut().zip(shares) {
                if share.weight > 0.0 {
                    *level = (share.sum / share.weight) as f32;
                }
            }
        }
        assert!(found <= 1.02 * least, "found {found}, elsewhere {least}");
    }
}

#[test]
fn few_different_weights_are_exact() {
    let weights = Matrix::from_fn(4, 30, |row, column| ((row + column) % 4) as f32 - 1.5);
    let solved = solve(&weights, &config(2, 0));
    assert_eq!(solved.dequantize(), weights);
}

#[test]
fn weights_that_a_mask_drops_have_no_say() {
    let mut weights = random_matrix(3, 32, 5);
    let keep: Vec<bool> = (0..96).map(|index| index % 2 == 0).collect();
    let mask = Mask {
        pattern: SparsityPattern::Unstructured,
        columns: 32,
        keep,
    };
    let solved =
        |weights: &Matrix| palette(weights, None, Some(&mask), &config(3, 0), &Unwatched).unwrap();
    let before = solved(&weights);
    for value in weights.data_mut().iter_mut().skip(1).step_by(2) {
        *value = 1000.0;
    }
    assert_eq!(solved(&weights).grid, before.grid);
}

#[test]
fn thread_count_changes_nothing_and_odd_layers_are_solved() {
    let weights = random_matrix(100, 64, 6);
    let solve_on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| solve(&weights, &config(4, 0)))
    };
    assert!(solve_on(1) == solve_on(3));
    for weights in [
        Matrix::zeros(0, 5),
        Matrix::zeros(5, 0),
        Matrix::zeros(3, 8),
        Matrix::new(1, 2, vec![3e38, -3e38]),
    ] {
        let solved = solve(&weights, &config(8, 1));
        assert!(
            solved
                .dequantize()
                .data()
                .iter()
                .all(|value| value.is_finite())
        );
    }
}
