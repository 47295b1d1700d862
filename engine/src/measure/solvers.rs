//! Seconds and shares of the multiply-add bound of what solving a layer consists of, with zeros and without.

mod jobs;

use super::rulers::Bench;
use super::{BenchReport, BenchRow, machine};
use crate::kernels::{Operand, Threads, gemm, syrk_f32};
use crate::linalg::{FactorError, flipped_cholesky};
use crate::moments::Moments;
use crate::monitor::{Monitor, Silent};
use crate::rng::Rng;
use crate::settings::{ColumnOrder, PruneMethod};
use crate::solve::{
    Factors, Kept, RtnConfig, SolveError, Zeros, gptq, gptq_with_zeros, mask_by_score, rtn,
};
use crate::tensor::{Matrix, Symmetric};
use jobs::{GRID, JOBS, Job, Kind, asked_zeros, gptq_config};
use std::time::Instant;

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SolverBench {
    /// Outputs of the layer.
    pub rows: usize,
    /// Inputs of the layer.
    pub columns: usize,
    /// Tokens of the Gram matrix.
    pub tokens: usize,
    /// Times each job runs; the best counts.
    pub rounds: u32,
}

impl SolverBench {
    /// The layer that goals are stated for: 4096 x 4096.
    pub const SQUARE: Self = Self {
        rows: 4096,
        columns: 4096,
        tokens: 2048,
        rounds: 3,
    };
    /// The widest layer of a 7B model: 4096 x 11008. Takes 2.5 GB and minutes on two old cores.
    pub const WIDE: Self = Self {
        rows: 4096,
        columns: 11008,
        tokens: 1024,
        rounds: 1,
    };
}

/// Measures Gram accumulation, factorization, GPTQ, round-to-nearest, masks and SparseGPT, and the rulers between them.
pub fn bench_solvers(bench: SolverBench, monitor: &dyn Monitor) -> Result<BenchReport, SolveError> {
    let work = Work::new(bench);
    let mut rulers = Bench::new();
    let mut best = vec![f64::INFINITY; JOBS.len()];
    let total = u64::from(bench.rounds) * JOBS.len() as u64;
    for round in 0..bench.rounds {
        for (index, job) in JOBS.iter().enumerate() {
            monitor.check()?;
            rulers.take();
            let seconds = work.time(job.kind, &Silent(monitor))?;
            best[index] = best[index].min(seconds);
            monitor.step(
                u64::from(round) * JOBS.len() as u64 + index as u64 + 1,
                total,
            );
        }
    }
    let rulers = rulers.best();
    let rows = JOBS.iter().zip(best);
    Ok(BenchReport {
        machine: machine(),
        rulers,
        rows: rows
            .map(|(job, seconds)| work.row(job, seconds, rulers.fma_gflops))
            .collect(),
    })
}

/// What jobs work on, made once.
struct Work {
    bench: SolverBench,
    weights: Matrix,
    moments: Moments,
    inputs: Vec<f32>,
}

impl Work {
    fn new(bench: SolverBench) -> Self {
        // Normals repeat with an odd period: fast to make, and no two rows alike.
        let mut rng = Rng::new(0, 0);
        let normals: Vec<f32> = (0..99_991).map(|_| rng.normal() as f32).collect();
        let repeated =
            |len: usize| -> Vec<f32> { normals.iter().copied().cycle().take(len).collect() };
        let (rows, columns) = (bench.rows, bench.columns);
        Self {
            bench,
            weights: Matrix::new(rows, columns, repeated(rows * columns)),
            moments: correlated_moments(columns),
            inputs: repeated(bench.tokens * columns),
        }
    }

    /// Seconds of one run of a job.
    fn time(&self, kind: Kind, monitor: &dyn Monitor) -> Result<f64, SolveError> {
        let SolverBench {
            columns, tokens, ..
        } = self.bench;
        match kind {
            Kind::Syrk => {
                let mut gram = vec![0.0; columns * columns];
                let started = Instant::now();
                syrk_f32(&mut gram, &self.inputs, tokens, columns);
                Ok(started.elapsed().as_secs_f64())
            }
            Kind::FullGram => {
                let mut gram = vec![0.0; columns * columns];
                let operands = (
                    Operand::transposed(&self.inputs, columns),
                    Operand::new(&self.inputs, columns),
                );
                let shape = [columns, columns, tokens];
                let started = Instant::now();
                gemm(
                    &mut gram,
                    columns,
                    shape,
                    operands,
                    (1.0, 0.0),
                    Threads::Pool,
                );
                Ok(started.elapsed().as_secs_f64())
            }
            Kind::Factor => {
                let mut gram = self.moments.gram.to_matrix().into_data();
                let started = Instant::now();
                match flipped_cholesky(&mut gram, columns, monitor) {
                    Err(FactorError::Stopped) => Err(SolveError::Stopped),
                    // The bench's matrix is positive definite; a failure would show as an absurd time, not a wrong result.
                    Ok(()) | Err(FactorError::NotPositive { .. }) => {
                        Ok(started.elapsed().as_secs_f64())
                    }
                }
            }
            Kind::Mask { pattern, scope } => {
                let config = asked_zeros(PruneMethod::Wanda, pattern, scope);
                let squares = Some(&self.moments.mean_square[..]);
                let started = Instant::now();
                mask_by_score(&self.weights, squares, config)?;
                Ok(started.elapsed().as_secs_f64())
            }
            Kind::SparseGpt { pattern, scope } => {
                let asked = asked_zeros(PruneMethod::SparseGpt, pattern, scope);
                let zeros = (&Zeros::Chosen(asked), Kept::Codes);
                let config = gptq_config(ColumnOrder::None, 20);
                let factors = Factors::default();
                let (weights, moments) = (&self.weights, &self.moments);
                let started = Instant::now();
                gptq_with_zeros(weights, moments, &config, zeros, &factors, monitor)?;
                Ok(started.elapsed().as_secs_f64())
            }
            Kind::Gptq { order, clip_search } => {
                let config = gptq_config(order, clip_search);
                let started = Instant::now();
                gptq(&self.weights, &self.moments, &config, monitor)?;
                Ok(started.elapsed().as_secs_f64())
            }
            Kind::Rtn { clip_search } => {
                let config = RtnConfig {
                    grid: GRID,
                    clip_search,
                };
                let started = Instant::now();
                rtn(
                    &self.weights,
                    Some(&self.moments.mean_square),
                    &config,
                    monitor,
                )?;
                Ok(started.elapsed().as_secs_f64())
            }
        }
    }

    fn row(&self, job: &Job, seconds: f64, fma_gflops: f64) -> BenchRow {
        let SolverBench {
            rows,
            columns,
            tokens,
            ..
        } = self.bench;
        let (n, k, t) = (rows as f64, columns as f64, tokens as f64);
        let (shape, flops) = match job.kind {
            Kind::Syrk => (format!("{tokens} x {columns}"), Some(t * k * k)),
            Kind::FullGram => (format!("{tokens} x {columns}"), Some(2.0 * t * k * k)),
            Kind::Factor => (format!("{columns} x {columns}"), Some(k * k * k / 3.0)),
            Kind::Gptq { .. } | Kind::SparseGpt { .. } => (
                format!("{rows} x {columns}"),
                Some(k * k * k / 3.0 + n * k * k),
            ),
            Kind::Rtn { .. } | Kind::Mask { .. } => (format!("{rows} x {columns}"), None),
        };
        let gops = flops.unwrap_or(n * k) / seconds / 1e9;
        BenchRow {
            name: job.name.into(),
            shape,
            seconds,
            unit: if flops.is_some() { "flop" } else { "weight" }.into(),
            gops,
            of_bound: flops.map(|_| gops / fma_gflops),
        }
    }
}

/// Moments of inputs whose neighbours are alike and whose sizes differ, as real ones do; positive definite by construction.
fn correlated_moments(width: usize) -> Moments {
    const REACH: f32 = 40.0;
    let size = |column: usize| 0.5 + (column * 7919 % 64) as f32 / 16.0;
    let decay: Vec<f32> = (0..width)
        .map(|apart| (-(apart as f32) / REACH).exp())
        .collect();
    let mut upper = Vec::with_capacity(Symmetric::stored_len(width));
    for row in 0..width {
        upper.extend((row..width).map(|column| size(row) * size(column) * decay[column - row]));
    }
    let gram = Symmetric::new(width, upper);
    let mean_square = gram.diagonal();
    let root: Vec<f32> = mean_square.iter().map(|square| square.sqrt()).collect();
    Moments {
        count: width as u64,
        mean_square,
        mean_abs: root.clone(),
        abs_max: root,
        gram,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::monitor::Unwatched;

    #[test]
    fn a_small_bench_fills_every_row() {
        let bench = SolverBench {
            rows: 20,
            columns: 130,
            tokens: 9,
            rounds: 1,
        };
        let report = bench_solvers(bench, &Unwatched).unwrap();
        assert_eq!(report.rows.len(), JOBS.len());
        for row in &report.rows {
            assert!(row.seconds > 0.0 && row.gops.is_finite(), "{row:?}");
            assert_eq!(row.of_bound.is_some(), row.unit == "flop", "{row:?}");
        }
    }
}
