//! Gradients of all variables, added up in the order in which they are handed in.

use super::error::TrainError;
use super::learner::Variable;
use candle_core::{Tensor, TensorId};
use std::collections::HashMap;

/// One sum for each variable, in the variables' order.
#[derive(Debug)]
pub struct Gradients {
    places: HashMap<TensorId, usize>,
    sums: Vec<Option<Tensor>>,
}

impl Gradients {
    /// Nothing yet for each of `variables`.
    pub fn new<'a>(variables: impl IntoIterator<Item = &'a Variable>) -> Self {
        let numbered = variables.into_iter().enumerate();
        let places: HashMap<TensorId, usize> = numbered
            .map(|(place, variable)| (variable.var.id(), place))
            .collect();
        Self {
            sums: vec![None; places.len()],
            places,
        }
    }

    /// Adds to the sum of `variable`; what is no variable of this list is left out.
    pub fn add(&mut self, variable: &Tensor, gradient: Tensor) -> Result<(), TrainError> {
        let Some(&place) = self.places.get(&variable.id()) else {
            return Ok(());
        };
        let sum = &mut self.sums[place];
        *sum = Some(match sum.take() {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        });
        Ok(())
    }

    /// The sum of one variable; `None` where no loss depends on it.
    pub fn get(&self, place: usize) -> Option<&Tensor> {
        self.sums.get(place)?.as_ref()
    }

    /// Row-major values of one variable's sum.
    pub fn values(&self, place: usize) -> Result<Option<Vec<f32>>, TrainError> {
        let sum = self.get(place);
        Ok(sum
            .map(|sum| sum.flatten_all()?.to_vec1::<f32>())
            .transpose()?)
    }

    /// Euclidean length of all sums as one vector, in f64; not finite where a value is not.
    pub fn norm(&self) -> Result<f64, TrainError> {
        let mut squares = 0.0;
        for place in 0..self.sums.len() {
            let values = self.values(place)?.unwrap_or_default();
            squares += values
                .iter()
                .map(|&value| f64::from(value) * f64::from(value))
                .sum::<f64>();
        }
        Ok(squares.sqrt())
    }
}
