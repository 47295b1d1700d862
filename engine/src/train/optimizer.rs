//! Optimizers with a state of their own, so that a run can be stored and go on with the same bytes.
//!
//! AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2, with bias correction) and sign descent (of rounding
//! offsets: Cheng et al. 2023, arXiv 2309.05516). Value by value, so that results do not depend on threads. Knows no
//! network, loss or schedule.

use super::error::TrainError;
use super::gradients::Gradients;
use super::learner::Variable;
use candle_core::{Device, Tensor};
use rayon::prelude::*;

/// Values that one task handles.
const TASK_VALUES: usize = 1 << 14;

/// How gradients change variables.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// `x -= rate (m̂ / (√v̂ + epsilon) + decay x)`.
    AdamW {
        /// How long the mean of gradients remembers.
        beta1: f64,
        /// How long the mean of squares remembers.
        beta2: f64,
        /// Keeps the quotient finite.
        epsilon: f64,
        /// Share of the value that goes in a step, times the rate.
        decay: f64,
    },
    /// `x -= rate sign(g)`.
    Sign,
}

/// Means of a variable's gradients and of their squares; empty before its first gradient, and where the rule needs none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Means {
    /// Of gradients.
    pub first: Vec<f32>,
    /// Of their squares.
    pub second: Vec<f32>,
}

/// A rule with its memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimizer {
    rule: Rule,
    /// Steps taken.
    steps: u64,
    means: Vec<Means>,
}

impl Optimizer {
    /// Remembers nothing yet about `variables`.
    pub fn new(rule: Rule, variables: usize) -> Self {
        Self {
            rule,
            steps: 0,
            means: vec![Means::default(); variables],
        }
    }

    /// Steps taken, and what is remembered of each variable.
    pub fn state(&self) -> (u64, &[Means]) {
        (self.steps, &self.means)
    }

    /// Goes on from a stored state.
    pub fn restore(&mut self, steps: u64, means: Vec<Means>) {
        self.steps = steps;
        self.means = means;
    }

    /// Changes `variables` by `factor` times their gradients (a factor below 1 clips). Those without a gradient stay.
    pub fn step(
        &mut self,
        variables: &[Variable],
        gradients: &Gradients,
        factor: f64,
        rate: f64,
    ) -> Result<(), TrainError> {
        self.steps += 1;
        for (place, variable) in variables.iter().enumerate() {
            let Some(mut gradient) = gradients.values(place)? else {
                continue;
            };
            let short = factor as f32;
            if short != 1.0 {
                gradient.iter_mut().for_each(|value| *value *= short);
            }
            let mut values = variable.var.flatten_all()?.to_vec1::<f32>()?;
            let rate = rate * variable.rate;
            self.change(place, &mut values, &gradient, (rate, variable.decay));
            let changed = Tensor::from_vec(values, variable.var.shape(), &Device::Cpu)?;
            variable.var.set(&changed)?;
        }
        Ok(())
    }

    fn change(
        &mut self,
        place: usize,
        values: &mut [f32],
        gradient: &[f32],
        (rate, decays): (f64, bool),
    ) {
        let Rule::AdamW {
            beta1,
            beta2,
            epsilon,
            decay,
        } = self.rule
        else {
            let changed = values.iter_mut().zip(gradient);
            // The sign of 0 is 0 here.
            changed
                .filter(|(_, slope)| **slope != 0.0)
                .for_each(|(value, slope)| *value -= rate as f32 * slope.signum());
            return;
        };
        let Means { first, second } = &mut self.means[place];
        first.resize(values.len(), 0.0);
        second.resize(values.len(), 0.0);
        let exponent = self.steps as f64;
        let correct = |beta: f64| 1.0 - beta.powf(exponent);
        let (correct1, correct2) = (correct(beta1), correct(beta2));
        let kept = 1.0 - if decays { rate * decay } else { 0.0 };
        let update = |((value, slope), (first, second)): Slots<'_>| {
            let slope = f64::from(*slope);
            let mean = beta1 * f64::from(*first) + (1.0 - beta1) * slope;
            let square = beta2 * f64::from(*second) + (1.0 - beta2) * slope * slope;
            (*first, *second) = (mean as f32, square as f32);
            let move_by = (mean / correct1) / ((square / correct2).sqrt() + epsilon);
            *value = (f64::from(*value) * kept - rate * move_by) as f32;
        };
        values
            .par_iter_mut()
            .zip(gradient)
            .zip(first.par_iter_mut().zip(second))
            .with_min_len(TASK_VALUES)
            .for_each(update);
    }
}

type Slots<'a> = ((&'a mut f32, &'a f32), (&'a mut f32, &'a mut f32));

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::Var;

    fn variable(values: &[f32], decay: bool) -> Variable {
        Variable {
            name: "x".to_owned(),
            var: Var::new(values, &Device::Cpu).unwrap(),
            decay,
            rate: 1.0,
        }
    }

    fn values(variable: &Variable) -> Vec<f32> {
        variable.var.to_vec1().unwrap()
    }

    fn gradients(variables: &[Variable], values: &[f32]) -> Gradients {
        let mut gradients = Gradients::new(variables);
        let gradient = Tensor::new(values, &Device::Cpu).unwrap();
        gradients.add(&variables[0].var, gradient).unwrap();
        gradients
    }

    #[test]
    fn two_adamw_steps_by_hand() {
        let variables = [variable(&[1.0, -2.0], true)];
        let rule = Rule::AdamW {
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            decay: 0.1,
        };
        let mut optimizer = Optimizer::new(rule, 1);
        let mut expected = [1.0f64, -2.0];
        let (mut first, mut second) = ([0.0f64; 2], [0.0f64; 2]);
        for (step, slopes) in [[0.5f32, -0.25], [-1.0, 0.0]].into_iter().enumerate() {
            optimizer
                .step(&variables, &gradients(&variables, &slopes), 1.0, 0.01)
                .unwrap();
            let exponent = step as i32 + 1;
            for index in 0..2 {
                let slope = f64::from(slopes[index]);
                first[index] = 0.9 * first[index] + 0.1 * slope;
                second[index] = 0.99 * second[index] + 0.01 * slope * slope;
                let mean = first[index] / (1.0 - 0.9f64.powi(exponent));
                let square = second[index] / (1.0 - 0.99f64.powi(exponent));
                expected[index] -= 0.01 * (mean / (square.sqrt() + 1e-8) + 0.1 * expected[index]);
            }
        }
        for (found, expected) in values(&variables[0]).into_iter().zip(expected) {
            assert!(
                (f64::from(found) - expected).abs() < 1e-6,
                "{found}, expected {expected}"
            );
        }
    }

    #[test]
    fn sign_descent_takes_equal_steps_and_leaves_what_has_no_slope() {
        let variables = [variable(&[1.0, 1.0, 1.0], false)];
        let mut optimizer = Optimizer::new(Rule::Sign, 1);
        let slopes = gradients(&variables, &[3.0, 0.0, -1e-9]);
        optimizer.step(&variables, &slopes, 1.0, 0.25).unwrap();
        assert_eq!(values(&variables[0]), [0.75, 1.0, 1.25]);
    }

    #[test]
    fn a_factor_shortens_the_gradient() {
        let (whole, short) = (variable(&[1.0], false), variable(&[1.0], false));
        let rule = Rule::AdamW {
            beta1: 0.0,
            beta2: 0.0,
            epsilon: 1.0,
            decay: 0.0,
        };
        for (variable, slope, factor) in [(&whole, 2.0, 0.5), (&short, 1.0, 1.0)] {
            let variables = std::slice::from_ref(variable);
            let mut optimizer = Optimizer::new(rule, 1);
            optimizer
                .step(variables, &gradients(variables, &[slope]), factor, 0.1)
                .unwrap();
        }
        assert_eq!(values(&whole), values(&short));
    }
}
