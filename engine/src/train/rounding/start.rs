//! Where learned rounding starts, and the variables that it moves.

use crate::grid::AffineGrid;
use crate::model::{ModelError, Provider};
use crate::solved::{Grid, Method, Solved};
use crate::tensor::Matrix;
use crate::train::error::TrainError;
use crate::train::fake::OffsetGrid;
use crate::train::values::{constant, values_of, variable};
use candle_core::{Tensor, Var};
use std::collections::BTreeMap;

/// A layer at the start.
#[derive(Debug, Clone)]
pub struct StartLayer {
    /// Index into the model's list.
    pub layer: usize,
    /// Its tensor's name.
    pub tensor: String,
    /// Whether the tensor lies `[in, out]`.
    pub transposed: bool,
    /// The weights that codes should stand for, `[out, in]`; `None` = what the codes stand for.
    pub weights: Option<Matrix>,
    /// Codes and grid.
    pub solved: Solved,
}

/// How far clip factors may go from 1.
const LEAST_FACTOR: f64 = 0.5;
const MOST_FACTOR: f64 = 1.5;
/// How near to the next code the start may lie, in codes: nearer, and rounding errors of f32 could cross.
const MARGIN: f32 = 1e-3;

/// Values of one layer's variables.
#[derive(Debug, Clone)]
pub(super) struct Rounded([Vec<f32>; 3]);

struct Layer {
    index: usize,
    transposed: bool,
    method: Method,
    grid: OffsetGrid,
    /// Offsets, low factors, high factors.
    vars: [Var; 3],
}

/// The layers of one block whose rounding is learnt, and whatever gives all other tensors.
pub(super) struct RoundedLayers<'a> {
    layers: BTreeMap<String, Layer>,
    order: Vec<String>,
    rest: &'a (dyn Provider + Sync),
}

impl<'a> RoundedLayers<'a> {
    pub(super) fn new(
        layers: Vec<StartLayer>,
        rest: &'a (dyn Provider + Sync),
    ) -> Result<Self, TrainError> {
        let order = layers.iter().map(|layer| layer.tensor.clone()).collect();
        let layers = layers.into_iter().map(|start| {
            let tensor = start.tensor.clone();
            Ok((tensor, Layer::new(start)?))
        });
        Ok(Self {
            layers: layers.collect::<Result<_, TrainError>>()?,
            order,
            rest,
        })
    }

    /// Moves all variables by `rates` (of offsets, of clip factors) against the signs of their gradients.
    pub(super) fn step(
        &self,
        rates: [f64; 2],
        gradient: &dyn Fn(&Var) -> Option<Tensor>,
    ) -> Result<(), TrainError> {
        for layer in self.layers.values() {
            for (place, var) in layer.vars.iter().enumerate() {
                let Some(gradient) = gradient(var) else {
                    continue;
                };
                let (rate, low, high) = match place {
                    0 => (rates[0], -0.5, 0.5),
                    _ => (rates[1], LEAST_FACTOR, MOST_FACTOR),
                };
                let moved = (var.as_tensor().detach() - (gradient.sign()? * rate)?)?;
                var.set(&moved.clamp(low, high)?)?;
            }
        }
        Ok(())
    }

    /// The values of all variables.
    pub(super) fn snapshot(&self) -> Result<Vec<Rounded>, TrainError> {
        let values = self.order.iter().map(|name| {
            let [offsets, low, high] = &self.layers[name].vars;
            Ok(Rounded([
                values_of(offsets)?,
                values_of(low)?,
                values_of(high)?,
            ]))
        });
        values.collect()
    }

    /// The layers that these values make.
    pub(super) fn solved(&self, values: &[Rounded]) -> Vec<(usize, Solved)> {
        let layers = self.order.iter().map(|name| &self.layers[name]);
        let solved = layers
            .zip(values)
            .map(|(layer, Rounded([offsets, low, high]))| {
                (
                    layer.index,
                    layer.grid.integers(offsets, low, high, layer.method),
                )
            });
        solved.collect()
    }
}

impl Provider for RoundedLayers<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let Some(layer) = self.layers.get(name) else {
            return self.rest.tensor(name, shape);
        };
        let [offsets, low, high] = &layer.vars;
        let weights = layer.grid.weights(offsets, low, high)?;
        Ok(match layer.transposed {
            true => weights.t()?,
            false => weights,
        })
    }
}

impl Layer {
    fn new(start: StartLayer) -> Result<Self, TrainError> {
        let plain = start.solved.mask.is_none() && start.solved.factors.is_none();
        let grid = match &start.solved.grid {
            Grid::Affine(grid) if plain && !grid.fractional_zeros => grid.clone(),
            _ => {
                return Err(TrainError::misuse(format!(
                    "the rounding of {} cannot be learnt: it needs codes on a grid with whole zeros (methods rtn, gptq, awq), without zeros or factors beside them",
                    start.tensor
                )));
            }
        };
        let weights = near_codes(start.weights, &start.solved, &grid);
        let (rows, columns) = (grid.rows, grid.columns);
        let groups = grid.groups().count();
        let ones = || variable(vec![1.0; rows * groups], (rows, groups));
        Ok(Self {
            index: start.layer,
            transposed: start.transposed,
            method: start.solved.method,
            vars: [
                Var::from_tensor(&constant(vec![0.0; rows * columns], (rows, columns))?)?,
                ones()?,
                ones()?,
            ],
            grid: OffsetGrid::new(weights, grid),
        })
    }
}

/// `weights`, moved no farther than it takes to round to the codes of `solved`; where nothing is known of them, what the
/// codes stand for.
fn near_codes(weights: Option<Matrix>, solved: &Solved, grid: &AffineGrid) -> Matrix {
    let Some(mut weights) = weights else {
        return solved.dequantize();
    };
    let (groups, max_code) = (grid.groups(), f32::from(grid.config.max_code()));
    for row in 0..grid.rows {
        let codes = solved.codes.row(row);
        for (column, weight) in weights.row_mut(row).iter_mut().enumerate() {
            let (step, code) = (grid.step(row, groups.of(column)), f32::from(codes[column]));
            if step.code(*weight, max_code) != code {
                let place = *weight / step.scale + step.zero;
                let near = place.clamp(code - 0.5 + MARGIN, code + 0.5 - MARGIN);
                *weight = step.weight(near);
            }
        }
    }
    weights
}
