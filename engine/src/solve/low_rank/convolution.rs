//! Weights of convolutions as products of small ones: Tucker-2 over channels, and sums of outer products.
//!
//! Tucker-2: Kim et al. 2016, arXiv 1511.06530: a 1 x 1 convolution, a small core, a 1 x 1 convolution; factors from the
//! Gram matrices of two unfoldings, then by turns. Sums of outer products (CP): alternating least squares. Pure
//! functions of a tensor `[outputs, inputs, height, width]`; no network has such weights here yet.

use super::super::SolveError;
use crate::kernels::{Operand, Threads, gemm};
use crate::linalg::symmetric_eigen;
use crate::monitor::Monitor;
use crate::rng::Rng;

/// A tensor of four dimensions, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor4 {
    /// Outputs, inputs, height, width.
    pub shape: [usize; 4],
    /// The values.
    pub values: Vec<f64>,
}

/// A core between two factors over channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Tucker2 {
    /// `[outputs, rank of outputs]`, orthonormal columns.
    pub outputs: Vec<f64>,
    /// `[inputs, rank of inputs]`, orthonormal columns.
    pub inputs: Vec<f64>,
    /// `[rank of outputs, rank of inputs, height, width]`.
    pub core: Tensor4,
}

/// A sum of outer products: `Σ_r a_r b_r c_r d_r`.
#[derive(Debug, Clone, PartialEq)]
pub struct OuterProducts {
    /// Dimensions of the whole.
    pub shape: [usize; 4],
    /// For each dimension `[size, rank]`.
    pub factors: [Vec<f64>; 4],
    /// Number of products.
    pub rank: usize,
}

impl Tensor4 {
    /// The tensor as a matrix whose rows run along one dimension.
    fn unfold(&self, along: usize) -> (Vec<f64>, usize) {
        let [_, b, c, d] = self.shape;
        let strides = [b * c * d, c * d, d, 1];
        let size = self.shape[along];
        let rest: usize = self.values.len() / size.max(1);
        let mut rows = vec![0.0; self.values.len()];
        let mut filled = vec![0; size];
        for (index, &value) in self.values.iter().enumerate() {
            let row = index / strides[along] % size;
            rows[row * rest + filled[row]] = value;
            filled[row] += 1;
        }
        (rows, rest)
    }

    /// Multiplies one dimension by `factor` `[size, rank]` turned: what is left has `rank` there.
    fn project(&self, along: usize, factor: &[f64], rank: usize) -> Self {
        let mut shape = self.shape;
        shape[along] = rank;
        self.multiplied(along, shape, |row, column| factor[column * rank + row])
    }

    /// Multiplies one dimension by `factor` `[size, rank]`: undoes `project` where the factor spans everything.
    fn expand(&self, along: usize, factor: &[f64], size: usize) -> Self {
        let rank = self.shape[along];
        let mut shape = self.shape;
        shape[along] = size;
        self.multiplied(along, shape, |row, column| factor[row * rank + column])
    }

    fn multiplied(
        &self,
        along: usize,
        shape: [usize; 4],
        factor: impl Fn(usize, usize) -> f64,
    ) -> Self {
        let inner: usize = shape[along + 1..].iter().product();
        let outer: usize = shape[..along].iter().product();
        let (from, to) = (self.shape[along], shape[along]);
        let mut values = vec![0.0; outer * to * inner];
        for block in 0..outer {
            for row in 0..to {
                let target = &mut values[(block * to + row) * inner..][..inner];
                for column in 0..from {
                    let share = factor(row, column);
                    let source = &self.values[(block * from + column) * inner..][..inner];
                    for (target, value) in target.iter_mut().zip(source) {
                        *target += share * value;
                    }
                }
            }
        }
        Self { shape, values }
    }
}

/// The core and factors of these ranks that are nearest to `tensor`: factors of each side alone, then `rounds` by turns.
pub fn tucker2(
    tensor: &Tensor4,
    (rank_outputs, rank_inputs): (usize, usize),
    rounds: usize,
    monitor: &dyn Monitor,
) -> Result<Tucker2, SolveError> {
    let [of_outputs, of_inputs, ..] = tensor.shape;
    let (rank_outputs, rank_inputs) = (rank_outputs.min(of_outputs), rank_inputs.min(of_inputs));
    let mut outputs = leading(tensor, 0, rank_outputs, monitor)?;
    let mut inputs = leading(tensor, 1, rank_inputs, monitor)?;
    for _ in 0..rounds {
        let seen = tensor.project(1, &inputs, rank_inputs);
        outputs = leading(&seen, 0, rank_outputs, monitor)?;
        let seen = tensor.project(0, &outputs, rank_outputs);
        inputs = leading(&seen, 1, rank_inputs, monitor)?;
    }
    let core = tensor
        .project(0, &outputs, rank_outputs)
        .project(1, &inputs, rank_inputs);
    Ok(Tucker2 {
        outputs,
        inputs,
        core,
    })
}

impl Tucker2 {
    /// The tensor that this stands for.
    pub fn expand(&self) -> Tensor4 {
        let [rank_outputs, rank_inputs, ..] = self.core.shape;
        let outputs = self.outputs.len() / rank_outputs.max(1);
        let inputs = self.inputs.len() / rank_inputs.max(1);
        self.core
            .expand(0, &self.outputs, outputs)
            .expand(1, &self.inputs, inputs)
    }
}

/// The first left singular vectors of an unfolding, as columns `[size, rank]`.
fn leading(
    tensor: &Tensor4,
    along: usize,
    rank: usize,
    monitor: &dyn Monitor,
) -> Result<Vec<f64>, SolveError> {
    let size = tensor.shape[along];
    let (rows, _) = tensor.unfold(along);
    let vectors = symmetric_eigen(gram_of_rows(&rows, size), size, monitor)?.vectors;
    let columns = (0..size).flat_map(|row| {
        let vectors = &vectors;
        (0..rank).map(move |index| vectors[index * size + row])
    });
    Ok(columns.collect())
}

/// `rows rowsᵀ`.
fn gram_of_rows(rows: &[f64], count: usize) -> Vec<f64> {
    let width = rows.len() / count.max(1);
    let mut gram = vec![0.0; count * count];
    let operands = (Operand::new(rows, width), Operand::transposed(rows, width));
    let shape = [count, count, width];
    gemm(&mut gram, count, shape, operands, (1.0, 0.0), Threads::Pool);
    for row in 0..count {
        for column in 0..row {
            gram[row * count + column] = gram[column * count + row];
        }
    }
    gram
}

/// The sum of `rank` outer products that `rounds` of alternating least squares come to, from a fixed random start.
pub fn outer_products(
    tensor: &Tensor4,
    rank: usize,
    rounds: usize,
    monitor: &dyn Monitor,
) -> Result<OuterProducts, SolveError> {
    let mut rng = Rng::new(0, 1);
    let mut found = OuterProducts {
        shape: tensor.shape,
        factors: tensor
            .shape
            .map(|size| (0..size * rank).map(|_| rng.normal()).collect()),
        rank,
    };
    for _ in 0..rounds {
        for along in 0..4 {
            monitor.check()?;
            found.improve(tensor, along, monitor)?;
        }
    }
    Ok(found)
}

impl OuterProducts {
    /// The tensor that this stands for.
    pub fn expand(&self) -> Tensor4 {
        let mut values = vec![0.0; self.shape.iter().product()];
        for (index, value) in values.iter_mut().enumerate() {
            let places = self.places(index);
            let products = (0..self.rank).map(|one| self.product(places, one, None));
            *value = products.sum();
        }
        Tensor4 {
            shape: self.shape,
            values,
        }
    }

    /// Where the value `index` lies along each dimension.
    fn places(&self, index: usize) -> [usize; 4] {
        let [_, b, c, d] = self.shape;
        [
            index / (b * c * d),
            index / (c * d) % b,
            index / d % c,
            index % d,
        ]
    }

    /// One product at one place, without the factor of one dimension.
    fn product(&self, places: [usize; 4], one: usize, without: Option<usize>) -> f64 {
        let factors = self.factors.iter().zip(places).enumerate();
        factors
            .filter(|(dimension, _)| Some(*dimension) != without)
            .map(|(_, (factor, place))| factor[place * self.rank + one])
            .product()
    }

    /// The best factor of one dimension given the others.
    fn improve(
        &mut self,
        tensor: &Tensor4,
        along: usize,
        monitor: &dyn Monitor,
    ) -> Result<(), SolveError> {
        let rank = self.rank;
        let mut right = vec![0.0; self.factors[along].len()];
        for (index, value) in tensor.values.iter().enumerate() {
            let places = self.places(index);
            let target = &mut right[places[along] * rank..][..rank];
            for (one, target) in target.iter_mut().enumerate() {
                *target += value * self.product(places, one, Some(along));
            }
        }
        let mut normal = vec![1.0; rank * rank];
        for (_, factor) in self.factors.iter().enumerate().filter(|(d, _)| *d != along) {
            for (row, line) in normal.chunks_exact_mut(rank).enumerate() {
                for (column, value) in line.iter_mut().enumerate() {
                    let lines = factor.chunks_exact(rank);
                    *value *= lines.map(|line| line[row] * line[column]).sum::<f64>();
                }
            }
        }
        self.factors[along] = least_squares(&right, normal, rank, monitor)?;
        Ok(())
    }
}

/// `right normal⁻¹`, with directions that the normal matrix hardly has left out.
fn least_squares(
    right: &[f64],
    normal: Vec<f64>,
    rank: usize,
    monitor: &dyn Monitor,
) -> Result<Vec<f64>, SolveError> {
    const NOISE: f64 = 1e-12;
    let eigen = symmetric_eigen(normal, rank, monitor)?;
    let least = NOISE * eigen.values.first().copied().unwrap_or(0.0);
    let mut solved = vec![0.0; right.len()];
    for (source, target) in right.chunks_exact(rank).zip(solved.chunks_exact_mut(rank)) {
        let vectors = eigen.vectors.chunks_exact(rank).zip(&eigen.values);
        for (vector, value) in vectors.filter(|(_, value)| **value > least) {
            let along: f64 = vector.iter().zip(source).map(|(a, b)| a * b).sum();
            for (target, part) in target.iter_mut().zip(vector) {
                *target += along / value * part;
            }
        }
    }
    Ok(solved)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::monitor::Unwatched;

    fn random_tensor(shape: [usize; 4], seed: u64) -> Tensor4 {
        let mut rng = Rng::new(seed, 2);
        let count = shape.iter().product();
        Tensor4 {
            shape,
            values: (0..count).map(|_| rng.normal()).collect(),
        }
    }

    fn error(left: &Tensor4, right: &Tensor4) -> f64 {
        let pairs = left.values.iter().zip(&right.values);
        pairs.map(|(a, b)| (a - b) * (a - b)).sum()
    }

    fn energy(tensor: &Tensor4) -> f64 {
        tensor.values.iter().map(|value| value * value).sum()
    }

    #[test]
    fn unfolding_puts_a_dimension_into_rows() {
        let tensor = Tensor4 {
            shape: [2, 3, 1, 2],
            values: (0..12).map(f64::from).collect(),
        };
        let (rows, rest) = tensor.unfold(1);
        assert_eq!((rows.len(), rest), (12, 4));
        assert_eq!(rows[..4], [0.0, 1.0, 6.0, 7.0]);
    }

    #[test]
    fn a_tensor_of_low_rank_is_found_again() {
        let core = random_tensor([2, 3, 3, 3], 1);
        let (outputs, inputs) = (
            random_tensor([8, 2, 1, 1], 2),
            random_tensor([6, 3, 1, 1], 3),
        );
        let tensor = core
            .expand(0, &outputs.values, 8)
            .expand(1, &inputs.values, 6);
        let found = tucker2(&tensor, (2, 3), 2, &Unwatched).unwrap();
        assert!(error(&found.expand(), &tensor) < 1e-18 * energy(&tensor));
    }

    #[test]
    fn rounds_and_ranks_never_cost() {
        let tensor = random_tensor([8, 6, 3, 3], 4);
        let error_of = |ranks, rounds| {
            let found = tucker2(&tensor, ranks, rounds, &Unwatched).unwrap();
            error(&found.expand(), &tensor)
        };
        assert!(error_of((3, 3), 4) <= error_of((3, 3), 0) * (1.0 + 1e-12));
        assert!(error_of((4, 4), 2) < error_of((3, 3), 2));
        assert!(error_of((8, 6), 0) < 1e-20 * energy(&tensor));
    }

    #[test]
    fn outer_products_are_found_again_and_rounds_help() {
        let mut rng = Rng::new(5, 3);
        let shape = [7, 5, 3, 3];
        let truth = OuterProducts {
            shape,
            factors: shape.map(|size| (0..size * 2).map(|_| rng.normal()).collect()),
            rank: 2,
        };
        let tensor = truth.expand();
        let error_after = |rounds| {
            let found = outer_products(&tensor, 2, rounds, &Unwatched).unwrap();
            error(&found.expand(), &tensor) / energy(&tensor)
        };
        let errors = [1, 3, 10, 200].map(error_after);
        assert!(
            errors.is_sorted_by(|left, right| *right <= left * (1.0 + 1e-9)),
            "{errors:?}"
        );
        assert!(errors[3] < 1e-6, "{errors:?}");
    }
}
