//! Quantization-aware training: float weights that a network sees only as the codes that they will become.
//!
//! Latent weights start at the original's values, scales at those of a compressed model; both are learnt through fake
//! quantization (`fake`). The gradient of scales is damped by `1 / sqrt(weights of a group * largest code)`: Esser et al.
//! 2020, arXiv 1902.08153, section 2.2: AdamW's steps do not depend on such a factor, but the length to which gradients are
//! clipped does. Scales are learnt as `start * (1 + v)`. What comes out is the integer form whose weights are those that
//! the network saw, to the last bit. Knows no file and no loss.

use super::beside::{Norms, in_order, rounded_inputs};
use super::error::TrainError;
use super::fake::{LatentGrid, fake_quantize};
use super::frozen::Frozen;
use super::learner::{Learner, Variable};
use super::scales::TrainedLayer;
use super::values::{constant, values_of, variable};
use crate::model::{Around, ChangedTensor, LayerInfo, Model, ModelError, Provider, Role};
use crate::packed::{ActivationPlan, PackedSource};
use crate::solved::{Grid, Method, Solved};
use candle_core::{Tensor, Var};
use std::collections::BTreeMap;

/// How much faster scales learn than weights: they are relative, weights are not.
const SCALE_RATE: f64 = 10.0;

/// A layer of latent weights.
struct Layer {
    index: usize,
    transposed: bool,
    method: Method,
    grid: LatentGrid,
    activations: ActivationPlan,
    weights: Var,
    /// Relative changes of `start_scales`.
    scales: Var,
    start_scales: Tensor,
    zeros: Tensor,
}

/// A network of latent weights; norms are trained with it, all else is frozen.
pub struct QatLearner {
    frozen: Frozen,
    layers: BTreeMap<String, Layer>,
    norms: Norms,
    variables: Vec<Variable>,
}

impl QatLearner {
    /// Over the layers that `packed` holds on affine grids; latent weights start at those of the model that `original`
    /// gives for a layer, else at what the codes stand for. `student` is the compressed model, dense.
    pub fn new<'a>(
        student: &'a Model,
        packed: &dyn PackedSource,
        original: &dyn Fn(usize) -> Option<&'a Model>,
    ) -> Result<Self, TrainError> {
        let mut learner = Self {
            frozen: Frozen::new(student.source().clone()),
            layers: BTreeMap::new(),
            norms: Norms::default(),
            variables: Vec::new(),
        };
        for (index, info) in student.layers().iter().enumerate() {
            if info.role == Role::Norm && info.dtype.is_float() {
                let norm = learner
                    .norms
                    .add(info, learner.frozen.values(&info.tensor)?)?;
                learner.variables.push(norm);
                continue;
            }
            let found = packed.solved(&info.tensor).map_err(ModelError::from)?;
            if let Some((solved, activations)) = found {
                let model = original(index).unwrap_or(student);
                learner.add_layer(index, info, model, &solved, activations)?;
            }
        }
        match learner.layers.is_empty() {
            false => Ok(learner),
            true => Err(TrainError::misuse(
                "the student has no layers on affine grids (methods rtn, gptq, awq, hqq); compress it with one of these first, or name a recipe that does",
            )),
        }
    }

    fn add(&mut self, name: &str, var: &Var, decay: bool, rate: f64) {
        self.variables.push(Variable {
            name: name.to_owned(),
            var: var.clone(),
            decay,
            rate,
        });
    }

    fn add_layer(
        &mut self,
        index: usize,
        info: &LayerInfo,
        model: &Model,
        solved: &Solved,
        activations: ActivationPlan,
    ) -> Result<(), TrainError> {
        let is_plain = solved.mask.is_none() && solved.factors.is_none();
        let Some(grid) = affine(&solved.grid).filter(|_| is_plain) else {
            return Ok(());
        };
        let latent = LatentGrid {
            config: grid.config,
            rows: grid.rows,
            columns: grid.columns,
            fractional_zeros: grid.fractional_zeros,
        };
        let weights = info
            .read(model.source().as_ref())
            .map_err(ModelError::from)?;
        let (shape, steps) = (
            (grid.rows, grid.columns),
            (grid.rows, grid.groups().count()),
        );
        let layer = Layer {
            index,
            transposed: info.transposed,
            method: solved.method,
            grid: latent,
            activations,
            weights: variable(weights.into_data(), shape)?,
            scales: variable(vec![0.0; steps.0 * steps.1], steps)?,
            start_scales: constant(grid.scales.clone(), steps)?,
            zeros: constant(grid.zeros.clone(), steps)?,
        };
        self.add(&info.tensor, &layer.weights, true, 1.0);
        self.add(
            &format!("{}.scales", info.tensor),
            &layer.scales,
            false,
            SCALE_RATE,
        );
        self.layers.insert(info.tensor.clone(), layer);
        Ok(())
    }

    /// Every layer in its integer form.
    pub fn layers(&self) -> Result<Vec<TrainedLayer>, TrainError> {
        in_order(self.layers.values().map(|layer| {
            let weights = values_of(&layer.weights)?;
            let scales = values_of(&layer.moved_scales()?)?;
            let integers = layer
                .grid
                .integers(&weights, &scales, &values_of(&layer.zeros)?);
            Ok(TrainedLayer {
                layer: layer.index,
                solved: Solved {
                    method: layer.method,
                    ..integers
                },
                activations: layer.activations,
            })
        }))
    }

    /// Norms as they were trained and will be stored.
    pub fn changed_tensors(&self) -> Result<Vec<ChangedTensor>, TrainError> {
        self.norms.changed()
    }
}

fn affine(grid: &Grid) -> Option<&crate::grid::AffineGrid> {
    match grid {
        Grid::Affine(grid) => Some(grid),
        _ => None,
    }
}

impl Layer {
    fn moved_scales(&self) -> candle_core::Result<Tensor> {
        let groups = self.start_scales.dim(1)?.max(1);
        let weights_of_group = self.grid.columns as f64 / groups as f64;
        let damping = 1.0 / (weights_of_group * f64::from(self.grid.config.max_code())).sqrt();
        let var = self.scales.as_tensor();
        // The value is `var`, its gradient `damping` times that.
        let damped = ((var * damping)? + (var.detach() * (1.0 - damping))?)?;
        &self.start_scales + (&self.start_scales * damped)?
    }

    fn shown(&self) -> candle_core::Result<Tensor> {
        let scales = self.moved_scales()?;
        let weights = fake_quantize(self.weights.as_tensor(), &scales, &self.zeros, self.grid)?;
        match self.transposed {
            true => weights.t(),
            false => Ok(weights),
        }
    }
}

impl std::fmt::Debug for QatLearner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("QatLearner")
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}

impl Provider for QatLearner {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        if let Some(layer) = self.layers.get(name) {
            return Ok(layer.shown()?);
        }
        match self.norms.tensor(name)? {
            Some(norm) => Ok(norm),
            None => self.frozen.tensor(name, shape),
        }
    }

    fn around(&self, name: &str) -> Result<Option<Around>, ModelError> {
        let layer = self.layers.get(name);
        Ok(layer.and_then(|layer| rounded_inputs(layer.activations, layer.grid.config.group)))
    }
}

impl Learner for QatLearner {
    fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn provider(&self) -> &(dyn Provider + Sync) {
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::testing::{Pair, Stored, tiny_llama};
    use crate::settings::Activations;
    use std::sync::Arc;

    const DYNAMIC: ActivationPlan = ActivationPlan {
        mode: Activations::Dynamic8,
        block: 0,
        static_step: None,
    };

    /// Logits of a network whose tensors come from `provider`.
    fn logits(model: &Model, provider: &dyn Provider, ids: &[u32]) -> Vec<f32> {
        let context = model.context(ids.len()).unwrap();
        let ends = model.build_ends(provider).unwrap();
        let mut hidden = ends.embed(ids, &context).unwrap();
        for index in 0..model.config().blocks {
            let block = model.build_block(index, provider).unwrap();
            hidden = block.forward(&hidden, &context, None).unwrap();
        }
        values_of(&ends.head(&hidden).unwrap()).unwrap()
    }

    #[test]
    fn the_integer_form_gives_the_outputs_that_were_trained() {
        for plan in [ActivationPlan::NONE, DYNAMIC] {
            let pair = Pair::new(&tiny_llama(), plan);
            let learner = QatLearner::new(&pair.model, &pair.codes, &|_| None).unwrap();
            // As after some training.
            for (place, variable) in learner.variables().iter().enumerate() {
                let mut rng = crate::rng::Rng::new(8, place as u64);
                let moved = values_of(&variable.var).unwrap().into_iter();
                let moved = moved
                    .map(|value| value + 0.05 * rng.normal() as f32)
                    .collect();
                variable
                    .var
                    .set(&constant(moved, variable.var.shape()).unwrap())
                    .unwrap();
            }
            let ids = pair.ids(9);
            let shown = logits(&pair.model, &learner, &ids);
            let mut codes: Stored = pair.codes.clone();
            for layer in learner.layers().unwrap() {
                let tensor = pair.model.layers()[layer.layer].tensor.clone();
                codes.0.insert(tensor, (layer.solved, layer.activations));
            }
            let norms = learner.changed_tensors().unwrap();
            let exported = pair.model.on_kernels(Arc::new(codes));
            let found = logits(
                &exported,
                &Exported {
                    norms,
                    model: exported.clone(),
                },
                &ids,
            );
            let largest = shown
                .iter()
                .fold(0.0f32, |most, value| most.max(value.abs()));
            let error = shown
                .iter()
                .zip(&found)
                .map(|(one, other)| (one - other).abs());
            let error = error.fold(0.0, f32::max) / largest;
            assert!(error <= 1e-3, "{plan:?}: {error} of {largest}");
        }
    }

    /// The exported model with trained norms, from codes.
    struct Exported {
        norms: Vec<ChangedTensor>,
        model: Model,
    }

    impl Provider for Exported {
        fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
            let norm = self.norms.iter().find(|(own, ..)| own == name);
            let values = match norm {
                Some((_, _, values)) => values.clone(),
                None => self.model.source().read_f32(name)?,
            };
            Ok(constant(values, shape)?)
        }

        fn packed(&self, name: &str) -> Result<Option<(Solved, ActivationPlan)>, ModelError> {
            self.model.codes_of(name)
        }
    }

    #[test]
    fn untrained_it_shows_the_nearest_codes_of_the_original() {
        let pair = Pair::new(&tiny_llama(), ActivationPlan::NONE);
        let learner = QatLearner::new(&pair.model, &pair.codes, &|_| None).unwrap();
        for layer in learner.layers().unwrap() {
            let tensor = &pair.model.layers()[layer.layer].tensor;
            assert_eq!(layer.solved, pair.codes.0[tensor].0, "{tensor}");
        }
    }
}
