//! Vectors against the matrix they come from.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::monitor::Unwatched;
use crate::rng::Rng;

fn random_symmetric(order: usize, seed: u64) -> Vec<f64> {
    let mut rng = Rng::new(seed, 0);
    let mut matrix = vec![0.0; order * order];
    for row in 0..order {
        for column in 0..=row {
            let value = rng.normal();
            matrix[row * order + column] = value;
            matrix[column * order + row] = value;
        }
    }
    matrix
}

/// Largest errors of `A v = λ v` and of `vᵀ w = δ`.
fn errors(matrix: &[f64], order: usize, eigen: &Eigen) -> (f64, f64) {
    let (mut of_vectors, mut of_angles) = (0.0f64, 0.0f64);
    let rows: Vec<&[f64]> = eigen.vectors.chunks_exact(order).collect();
    for (index, vector) in rows.iter().enumerate() {
        for (row, line) in matrix.chunks_exact(order).enumerate() {
            let error = dot(line, vector) - eigen.values[index] * vector[row];
            of_vectors = of_vectors.max(error.abs());
        }
        for (other, rival) in rows.iter().enumerate() {
            let expected = if index == other { 1.0 } else { 0.0 };
            of_angles = of_angles.max((dot(vector, rival) - expected).abs());
        }
    }
    (of_vectors, of_angles)
}

#[test]
fn vectors_are_orthonormal_and_fit_their_values() {
    for order in [1, 2, 3, 10, 64, 65, 230] {
        let matrix = random_symmetric(order, order as u64);
        let eigen = symmetric_eigen(matrix.clone(), order, &Unwatched).unwrap();
        let (of_vectors, of_angles) = errors(&matrix, order, &eigen);
        assert!(
            of_vectors < 1e-11 && of_angles < 1e-11,
            "order {order}: {of_vectors}, {of_angles}"
        );
        assert!(eigen.values.is_sorted_by(|left, right| left >= right));
        let alone = symmetric_eigenvalues(matrix, order, &Unwatched).unwrap();
        assert_eq!(alone, eigen.values);
    }
}

#[test]
fn special_matrices_are_solved() {
    assert!(
        symmetric_eigen(Vec::new(), 0, &Unwatched)
            .unwrap()
            .values
            .is_empty()
    );
    let zero = symmetric_eigen(vec![0.0; 25], 5, &Unwatched).unwrap();
    assert_eq!(zero.values, [0.0; 5]);
    assert_eq!(errors(&[0.0; 25], 5, &zero), (0.0, 0.0));
    // Rank one, and of a size whose squares leave no digits beside 1.
    let matrix: Vec<f64> = (0..49)
        .map(|index| 1e-150 * ((index / 7 + 1) * (index % 7 + 1)) as f64)
        .collect();
    let eigen = symmetric_eigen(matrix.clone(), 7, &Unwatched).unwrap();
    assert!((eigen.values[0] / 140e-150 - 1.0).abs() < 1e-12);
    let (of_vectors, of_angles) = errors(&matrix, 7, &eigen);
    assert!(of_vectors < 1e-160 && of_angles < 1e-12);
}

#[test]
fn thread_count_changes_nothing() {
    let order = 260;
    let solve_on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap()
            .install(|| symmetric_eigen(random_symmetric(order, 3), order, &Unwatched).unwrap())
    };
    assert!(solve_on(1) == solve_on(3));
}
