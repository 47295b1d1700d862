//! One layer at one option: solved, and how far its outputs move.
//!
//! Sees the layer alone: original inputs, no earlier layer changed, no AWQ fold. Knows no file and no model.

use crate::distortion::{difference, output_energy, row_output_errors};
use crate::moments::{LayerStatistics, Moments};
use crate::monitor::Monitor;
use crate::settings::LayerSettings;
use crate::solve::{Factors, SolveError, solve_layer, solve_layer_sharing};
use crate::solved::Method;
use crate::tensor::{Dtype, Matrix, Symmetric};

/// What a layer sees.
#[derive(Debug, Clone, Copy)]
pub enum Inputs<'a> {
    /// Inputs whose moments are known; layers that share inputs should share this too.
    Known(&'a KnownInputs),
    /// An embedding: how often each row is looked up.
    Lookups(&'a [u64]),
}

/// A layer about to be judged at many options: what depends on none of them is computed once.
#[derive(Debug)]
pub struct Subject<'a> {
    weights: &'a Matrix,
    inputs: Inputs<'a>,
    gains: Option<&'a [f64]>,
    /// Energy of the outputs.
    signal: f64,
    /// How weights that stay floats are stored.
    dtype: Dtype,
}

/// What a layer's inputs are like, and what solvers made of it.
#[derive(Debug)]
pub struct KnownInputs {
    /// The statistics.
    statistics: LayerStatistics,
    factors: Factors,
}

impl KnownInputs {
    /// Inputs with these moments, as the original network makes them.
    pub fn new(moments: Moments) -> Self {
        Self {
            statistics: LayerStatistics {
                moments,
                cross: None,
                held_out: None,
            },
            factors: Factors::default(),
        }
    }

    fn gram(&self) -> &Symmetric {
        &self.statistics.moments.gram
    }
}

/// A layer solved.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The values that the codes stand for, `[out, in]`.
    pub values: Matrix,
    /// Method that gave the codes.
    pub method: Method,
    /// Mean squared error of the outputs, summed over outputs.
    pub output_error: f64,
    /// Its root over that of the outputs' energy; `None` where there is no signal.
    pub relative_output_error: Option<f64>,
    /// Half the errors of the outputs, each weighted by its gain.
    pub gradient_loss: Option<f64>,
}

impl<'a> Subject<'a> {
    /// `weights` `[out, in]`; `gains`, one for each output, weigh the errors of outputs.
    ///
    /// # Panics
    /// If inputs, gains and weights are of different sizes.
    pub fn new(weights: &'a Matrix, inputs: Inputs<'a>, gains: Option<&'a [f64]>) -> Self {
        if let Some(gains) = gains {
            assert_eq!(gains.len(), weights.rows(), "one gain for each output");
        }
        let signal = match inputs {
            Inputs::Known(known) => output_energy(weights, known.gram()),
            Inputs::Lookups(counts) => row_energies(weights, counts).iter().sum(),
        };
        Self {
            weights,
            inputs,
            gains,
            signal,
            dtype: Dtype::F32,
        }
    }

    /// The same where weights that stay floats are stored in `dtype`.
    pub fn stored_as(self, dtype: Dtype) -> Self {
        Self { dtype, ..self }
    }

    /// Solves the layer as `settings` say and judges the result.
    pub fn judge(
        &self,
        settings: &LayerSettings,
        monitor: &dyn Monitor,
    ) -> Result<Judged, SolveError> {
        let solved = match self.inputs {
            Inputs::Known(KnownInputs {
                statistics,
                factors,
            }) => {
                let statistics = Some(statistics);
                solve_layer_sharing(self.weights, statistics, settings, factors, monitor)?
            }
            Inputs::Lookups(_) => solve_layer(self.weights, None, settings, monitor)?,
        };
        monitor.check()?;
        let solved = solved.with_float_dtype(self.dtype);
        let values = solved.dequantize();
        let errors = match self.inputs {
            Inputs::Known(known) => row_output_errors(self.weights, &values, known.gram()),
            Inputs::Lookups(counts) => row_energies(&difference(self.weights, &values), counts),
        };
        let output_error: f64 = errors.iter().sum();
        let weighted = |gains: &[f64]| {
            let terms = gains.iter().zip(&errors).map(|(gain, error)| gain * error);
            0.5 * terms.sum::<f64>()
        };
        let has_signal = self.signal > 0.0;
        Ok(Judged {
            method: solved.method,
            output_error,
            relative_output_error: has_signal.then(|| (output_error / self.signal).sqrt()),
            gradient_loss: self.gains.map(weighted),
            values,
        })
    }
}

/// `|row|²` times the row's share of all look-ups.
fn row_energies(matrix: &Matrix, counts: &[u64]) -> Vec<f64> {
    assert_eq!(counts.len(), matrix.rows(), "one count for each row");
    let all = counts.iter().sum::<u64>().max(1) as f64;
    let energy = |(row, &count): (usize, &u64)| {
        let values = matrix.row(row).iter().map(|&value| f64::from(value));
        values.map(|value| value * value).sum::<f64>() * count as f64 / all
    };
    counts.iter().enumerate().map(energy).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::distortion::output_error;
    use crate::monitor::Unwatched;
    use crate::recipe::Recipe;
    use crate::rng::Rng;

    fn weights() -> Matrix {
        let mut rng = Rng::new(61, 0);
        Matrix::from_fn(6, 32, |_, _| rng.normal() as f32)
    }

    fn known() -> KnownInputs {
        KnownInputs::new(Moments {
            count: 9,
            gram: Symmetric::scaled_identity(32, 2.0),
            mean_square: vec![2.0; 32],
            mean_abs: vec![1.0; 32],
            abs_max: vec![3.0; 32],
        })
    }

    fn settings(method: Method, bits: u8) -> LayerSettings {
        LayerSettings {
            method,
            bits,
            group: 16,
            ..Recipe::default().default
        }
    }

    #[test]
    fn errors_are_those_of_the_values() {
        let known = known();
        let weights = weights();
        for method in [Method::Rtn, Method::Gptq] {
            let settings = settings(method, 3);
            let subject = Subject::new(&weights, Inputs::Known(&known), Some(&[1.0; 6]));
            let judged = subject.judge(&settings, &Unwatched).unwrap();
            let expected = output_error(&weights, &judged.values, known.gram());
            assert!((judged.output_error - expected).abs() < 1e-9 * expected);
            let half = judged.gradient_loss.unwrap();
            assert!((half - 0.5 * expected).abs() < 1e-9 * expected, "{half}");
            let relative = judged.relative_output_error.unwrap();
            assert!(relative > 0.0 && relative < 0.5, "{relative}");
            assert_eq!(judged.method, method);
        }
    }

    #[test]
    fn only_rows_that_are_looked_up_count() {
        let rtn = settings(Method::Rtn, 2);
        let weights = weights();
        let of = |counts: &[u64]| {
            let subject = Subject::new(&weights, Inputs::Lookups(counts), None);
            subject.judge(&rtn, &Unwatched).unwrap().output_error
        };
        let first = of(&[1, 0, 0, 0, 0, 0]);
        let second = of(&[0, 5, 0, 0, 0, 0]);
        let both = of(&[1, 3, 0, 0, 0, 0]);
        assert!(
            (both - (first + 3.0 * second) / 4.0).abs() < 1e-9,
            "{both} of {first} and {second}"
        );
        assert_eq!(of(&[0; 6]), 0.0);
    }
}
